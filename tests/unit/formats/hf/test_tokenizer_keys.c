/* test_tokenizer_keys.c - the tokenizer.* keys we write are those of llama.cpp's own converter.
 * Judge: tests/golden/hf/converter_keys.json, made by tests/golden/make/converter_keys.py with conversion/ of the pinned llama.cpp.
 * Where ours differ on purpose, the difference is a row here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../scratch.h"
#include "base/file.h"
#include "formats/gguf.h"
#include "formats/hf.h"

/* Runs of spaces are pieces like others, with the scores of tokenizer.model, and not words looked for in the raw text: the converter's way gives
 * other ids for U+2581 in a text than tokenizer.json does. */
static const char *const gemma_runs[] = { "tokenizer.ggml.tokens", "tokenizer.ggml.scores", "tokenizer.ggml.token_type" };
/* Said where the converter leaves llama.cpp to its default or to guess by the text. */
static const char *const said_by_us[] = { "tokenizer.ggml.add_sep_token", "tokenizer.ggml.add_space_prefix", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.pre" };

static bool among(const char *const *list, size_t n, const char *key)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i], key) == 0) return true;
    return false;
}

static void digest(const hone_gguf_value *v, char hex[65])
{
    blob                 b = { 0 };
    hone_err             err = { 0 };
    const hone_gguf_str *s = v->as.array;
    if (v->elem == HONE_GGUF_STRING)
        for (uint64_t i = 0; i < v->n; i++) {
            blob_u64(&b, s[i].len);
            blob_bytes(&b, s[i].ptr, (size_t)s[i].len);
        }
    else blob_bytes(&b, v->as.array, (size_t)v->n * 4); /* f32 and i32 */
    assert_int_equal(hone_sha256((hone_bytes){ b.ptr, b.len }, hex, &err), HONE_OK);
    free(b.ptr);
}

static bool equal(const hone_gguf_value *v, const json_t *want)
{
    char hex[65];
    switch (v->type) {
    case HONE_GGUF_STRING: return json_is_string(want) && v->as.s.len == json_string_length(want) && memcmp(v->as.s.ptr, json_string_value(want), (size_t)v->as.s.len) == 0;
    case HONE_GGUF_BOOL: return json_is_boolean(want) && v->as.b == json_is_true(want);
    case HONE_GGUF_U32: return json_is_integer(want) && v->as.u == (uint64_t)json_integer_value(want);
    case HONE_GGUF_ARRAY: digest(v, hex); return v->n == (uint64_t)json_integer_value(json_object_get(want, "n")) && strcmp(hex, json_string_value(json_object_get(want, "sha256"))) == 0;
    default: return false;
    }
}

static void the_keys_are_those_of_the_converter(void **state)
{
    json_t     *golden = NULL, *keys;
    hone_err    err = { 0 };
    const char *dir;
    size_t      n = 0;
    (void)state;
    assert_int_equal(hone_json_load("tests/golden/hf/converter_keys.json", &golden, &err), HONE_OK);
    json_object_foreach(golden, dir, keys) {
        hone_arena        a = { 0 };
        hone_tokenizer    t;
        json_t           *config = NULL, *want;
        uint32_t          vocab = 0;
        hone_gguf_writer *w = NULL;
        uint64_t          none = 0, total = 0;
        hone_bytes        head;
        hone_gguf         g;
        scratch           s;
        char              path[256];
        const char       *key;
        bool              gemma = strstr(dir, "gemma") != NULL;
        scratch_open(&s);
        assert_int_equal(hone_hf_config_load(dir, &config, &err), HONE_OK);
        assert_int_equal(hone_json_need_u32(config, "vocab_size", &vocab, &err), HONE_OK);
        assert_int_equal(hone_hf_tokenizer_load(dir, vocab, &a, &t, &err), HONE_OK);
        assert_int_equal(hone_gguf_writer_new(&a, &w, &err), HONE_OK);
        assert_int_equal(hone_gguf_put_tokenizer(w, &t, vocab, &err), HONE_OK);
        assert_int_equal(hone_gguf_put_str(w, "general.architecture", "llama", &err), HONE_OK);
        assert_int_equal(hone_gguf_layout(w, &none, &total, &head, &err), HONE_OK);
        assert_int_equal(hone_out_put(scratch_path(&s, "t.gguf", path), head.ptr, head.len, &err), HONE_OK);
        assert_int_equal(hone_gguf_open(path, &a, &g, &err), HONE_OK);
        json_object_foreach(keys, key, want) {
            const hone_gguf_value *v = hone_gguf_find(&g, key);
            bool                   ours = gemma && among(gemma_runs, HONE_COUNT(gemma_runs), key);
            if (!v || equal(v, want) == ours) print_error("%s: %s\n", dir, key);
            assert_non_null(v);
            assert_int_equal(equal(v, want), !ours);
        }
        for (size_t i = 0; i < g.n_kv; i++) { /* nothing more but what is said above */
            char name[96];
            (void)snprintf(name, sizeof name, "%.*s", (int)g.kv[i].key.len, g.kv[i].key.ptr);
            if (strncmp(name, "tokenizer.", 10) != 0 || json_object_get(keys, name)) continue;
            if (!among(said_by_us, HONE_COUNT(said_by_us), name)) print_error("%s: %s\n", dir, name);
            assert_true(among(said_by_us, HONE_COUNT(said_by_us), name));
        }
        g.source->close(g.source);
        json_decref(config);
        hone_arena_release(&a);
        scratch_close(&s);
        n++;
    }
    assert_int_equal(n, 20);
    json_decref(golden);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(the_keys_are_those_of_the_converter) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
