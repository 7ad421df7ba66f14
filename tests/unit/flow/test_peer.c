/* test_peer.c - our files against those of llama.cpp's converter and quantiser: the same keys, types, shapes and bytes.
 * tests/golden/peer was written by tests/judges/peer.py. */
#include "base/file.h"
#include "flow/convert.h"
#include "formats/gguf.h"
#include "formats/scratch.h"
#include <dirent.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define PEER HONE_TEST_SOURCE_DIR "/tests/golden/peer"

typedef struct hasher {
    EVP_MD_CTX *ctx;
} hasher;

static hasher hash_begin(void)
{
    hasher h = { EVP_MD_CTX_new() };
    assert_non_null(h.ctx);
    assert_int_equal(EVP_DigestInit_ex(h.ctx, EVP_sha256(), NULL), 1);
    return h;
}

static void hash_add(hasher *h, const void *p, size_t n) { assert_int_equal(EVP_DigestUpdate(h->ctx, p, n), 1); }

static const char *hash_end(hasher *h, char hex[65])
{
    uint8_t  sum[32];
    unsigned n = 0;
    assert_int_equal(EVP_DigestFinal_ex(h->ctx, sum, &n), 1);
    EVP_MD_CTX_free(h->ctx);
    for (unsigned i = 0; i < 32; i++) snprintf(hex + 2 * i, 3, "%02x", sum[i]);
    return hex;
}

static size_t scalar_bytes(hone_gguf_type t)
{
    switch (t) {
    case HONE_GGUF_U8: case HONE_GGUF_I8: case HONE_GGUF_BOOL: return 1;
    case HONE_GGUF_U16: case HONE_GGUF_I16: return 2;
    case HONE_GGUF_U32: case HONE_GGUF_I32: case HONE_GGUF_F32: return 4;
    default: return 8;
    }
}

/* Whether our value is the golden one; arrays by count and hash of their packed values. */
static bool value_is(const hone_gguf_value *v, const json_t *want)
{
    switch (v->type) {
    case HONE_GGUF_STRING:
        return json_is_string(want) && json_string_length(want) == v->as.s.len && memcmp(json_string_value(want), v->as.s.ptr, v->as.s.len) == 0;
    case HONE_GGUF_BOOL: return json_is_boolean(want) && json_is_true(want) == v->as.b;
    case HONE_GGUF_F32:
    case HONE_GGUF_F64: return json_is_number(want) && (float)json_number_value(want) == (float)v->as.f;
    case HONE_GGUF_ARRAY: break;
    case HONE_GGUF_I8: case HONE_GGUF_I16: case HONE_GGUF_I32: case HONE_GGUF_I64:
        return json_is_integer(want) && json_integer_value(want) == v->as.i;
    default: return json_is_integer(want) && (uint64_t)json_integer_value(want) == v->as.u;
    }
    char   hex[65];
    hasher h = hash_begin();
    if (v->elem == HONE_GGUF_STRING) {
        const hone_gguf_str *s = v->as.array;
        for (uint64_t i = 0; i < v->n; i++) {
            uint8_t len[8];
            hone_put_le64(len, s[i].len);
            hash_add(&h, len, 8);
            hash_add(&h, s[i].ptr, s[i].len);
        }
    } else
        hash_add(&h, v->as.array, v->n * scalar_bytes(v->elem));
    hash_end(&h, hex);
    return (uint64_t)json_integer_value(json_object_get(want, "n")) == v->n &&
           strcmp(hex, json_string_value(json_object_get(want, "sha256"))) == 0;
}

static bool tensor_is(const hone_source *s, const hone_tensor *t, const json_t *want)
{
    const json_t *dims = json_array_get(want, 1);
    if (strcmp(hone_dtype_name(t->dtype), json_string_value(json_array_get(want, 0))) != 0 || json_array_size(dims) != t->n_dims) return false;
    for (uint32_t i = 0; i < t->n_dims; i++)
        if ((uint64_t)json_integer_value(json_array_get(dims, i)) != t->dims[i]) return false;
    hone_err err = { 0 };
    char     hex[65];
    void    *p = malloc((size_t)t->bytes + 1);
    assert_non_null(p);
    assert_int_equal(s->read(s, t, 0, p, (size_t)t->bytes, &err), HONE_OK);
    hasher h = hash_begin();
    hash_add(&h, p, (size_t)t->bytes);
    free(p);
    return strcmp(hash_end(&h, hex), json_string_value(json_array_get(want, 2))) == 0;
}

/* Keys and tensors of one file; those that differ on purpose must differ.  Returns how many things are wrong. */
static int compare(const char *what, const char *path, const json_t *want, const json_t *on_purpose)
{
    hone_arena    a = { 0 };
    hone_err      err = { 0 };
    hone_gguf     g;
    int           bad = 0;
    const char   *key;
    const json_t *v;
    if (hone_gguf_open(path, &a, &g, &err) != HONE_OK) fail_msg("%s: %s", path, err.cause);
    json_object_foreach(json_object_get(want, "metadata"), key, v)
    {
        const hone_gguf_value *ours = hone_gguf_find(&g, key);
        bool                   exempt = json_object_get(on_purpose, key) != NULL;
        if ((ours && value_is(ours, v)) == exempt) {
            printf("%s: key '%s' %s\n", what, key, exempt ? "no longer differs" : ours ? "differs" : "is missing");
            bad++;
        }
    }
    size_t n = json_object_size(json_object_get(want, "tensors"));
    if (n != g.source->n_tensors) {
        printf("%s: %zu tensors, the peer has %zu\n", what, g.source->n_tensors, n);
        bad++;
    }
    json_object_foreach(json_object_get(want, "tensors"), key, v)
    {
        const hone_tensor *ours = hone_source_find(g.source, key);
        bool               exempt = json_object_get(on_purpose, key) != NULL;
        if ((ours && tensor_is(g.source, ours, v)) == exempt) {
            printf("%s: tensor '%s' %s\n", what, key, exempt ? "no longer differs" : ours ? "differs" : "is missing");
            bad++;
        }
    }
    g.source->close(g.source);
    hone_arena_release(&a);
    return bad;
}

static int check_model(const char *golden)
{
    char         path[512];
    json_error_t e;
    snprintf(path, sizeof path, PEER "/%s", golden);
    json_t *doc = json_load_file(path, 0, &e);
    assert_non_null(doc);
    const json_t *files = json_object_get(doc, "files");
    const char   *quants[32], *mix;
    json_t       *want;
    size_t        n = 0;
    int           bad = 0;
    json_object_foreach((json_t *)(uintptr_t)files, mix, want) quants[n++] = mix;

    scratch    out;
    hone_err   err = { 0 };
    hone_ctx   ctx = { .threads = 2 };
    hone_model m;
    scratch_open(&out);
    snprintf(path, sizeof path, "%s/%s", HONE_TEST_SOURCE_DIR, json_string_value(json_object_get(doc, "source")));
    if (hone_model_open(&ctx, path, &m, &err) != HONE_OK) fail_msg("%s: %s", path, err.cause);
    for (size_t at = 0; at < n; at += HONE_MAX_OUTPUTS) {
        size_t               some = n - at < HONE_MAX_OUTPUTS ? n - at : HONE_MAX_OUTPUTS;
        hone_convert_result  res = { 0 };
        hone_convert_options opt = { .quants = quants + at, .n_quants = some, .out_dir = out.dir, .name = "model" };
        if (hone_convert(&ctx, &m, &opt, &res, &err) != HONE_OK) fail_msg("%s: %s", path, err.cause);
        for (size_t i = 0; i < some; i++) {
            char what[128];
            snprintf(what, sizeof what, "%s %s", golden, quants[at + i]);
            bad += compare(what, res.outputs[i].path, json_object_get(files, quants[at + i]), json_object_get(doc, "different_on_purpose"));
        }
        hone_convert_result_release(&res);
    }
    printf("%-20s %zu files, %zu tensors each: %s\n", golden, n, json_object_size(json_object_get(json_object_iter_value(json_object_iter((json_t *)(uintptr_t)files)), "tensors")),
           bad ? "DIFFERENT" : "equal");
    hone_model_close(&m);
    scratch_close(&out);
    json_decref(doc);
    return bad;
}

static void files_are_those_of_the_peer(void **state)
{
    int  bad = 0, n = 0;
    DIR *d = opendir(PEER);
    (void)state;
    assert_non_null(d);
    for (struct dirent *f; (f = readdir(d));) {
        if (f->d_name[0] == '.' || strcmp(f->d_name, "mix.json") == 0) continue;
        bad += check_model(f->d_name);
        n++;
    }
    closedir(d);
    assert_int_equal(bad, 0);
    assert_int_equal(n, 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_those_of_the_peer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
