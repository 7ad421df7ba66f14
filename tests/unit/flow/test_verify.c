/* test_verify.c - hone verify finds any bit that is not what source and recipe give: bits flipped at random places of every file of every format,
 * files cut, lengthened, removed and added, keys changed.  The seed is fixed. */
#include "base/file.h"
#include "flow/convert.h"
#include "flow/recipe.h"
#include "flow/verify.h"
#include "formats/scratch.h"
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define SOURCE HONE_TEST_SOURCE_DIR "/tests/golden/tiny/llama"
#define EXPERTS HONE_TEST_SOURCE_DIR "/tests/golden/tiny/mixtral"

static uint64_t seed = 0x9e3779b97f4a7c15u;

static uint64_t draw(uint64_t n) /* 0..n-1 */
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % n;
}

static void convert_to(const char *source, const char *quant, const hone_convert_options *how, const char *dir, char path[1024])
{
    hone_err             err = { 0 };
    hone_ctx             ctx = { .threads = 2 };
    hone_model           m;
    hone_convert_result  res = { 0 };
    hone_convert_options opt = *how;
    if (hone_model_open(&ctx, source, &m, &err) != HONE_OK) fail_msg("%s: %s", source, err.cause);
    opt.quants = &quant;
    opt.n_quants = 1;
    opt.out_dir = dir;
    opt.name = "m";
    if (hone_convert(&ctx, &m, &opt, &res, &err) != HONE_OK) fail_msg("%s: %s", quant, err.cause);
    snprintf(path, 1024, "%s", res.outputs[0].path);
    hone_convert_result_release(&res);
    hone_model_close(&m);
}

static hone_code verify_with(const char *path, const char *source, json_t **doc, hone_err *err)
{
    hone_ctx ctx = { .threads = 2 };
    *doc = NULL;
    return hone_verify(&ctx, &(hone_verify_options){ .artefact = path, .source = source }, doc, err);
}

static void is_identical(const char *path, const char *source)
{
    hone_err err = { 0 };
    json_t  *doc;
    if (verify_with(path, source, &doc, &err) != HONE_OK) fail_msg("%s: %s", path, err.cause);
    assert_true(json_is_true(json_object_get(doc, "identical")));
    json_decref(doc);
}

/* The number of bytes that differ; the code is HONE_ENO. */
static long long differing(const char *path, const char *source, char cause[512])
{
    hone_err  err = { 0 };
    json_t   *doc;
    hone_code code = verify_with(path, source, &doc, &err);
    if (code != HONE_ENO) fail_msg("%s: code %d: %s", path, (int)code, err.cause);
    assert_true(json_is_false(json_object_get(doc, "identical")));
    assert_true(json_is_object(json_object_get(doc, "first")));
    long long n = json_integer_value(json_object_get(json_object_get(doc, "differences"), "bytes"));
    if (cause) snprintf(cause, 512, "%s", err.cause);
    json_decref(doc);
    return n;
}

static void flip(const char *path, uint64_t bit)
{
    uint8_t byte;
    int     fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, (off_t)(bit / 8)), 1);
    byte ^= (uint8_t)(1u << bit % 8);
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)(bit / 8)), 1);
    close(fd);
}

static uint64_t size_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return (uint64_t)st.st_size;
}

typedef struct files { char path[32][1100]; size_t n; uint64_t bytes; } files;

static void list(const char *path, files *f)
{
    DIR *d = opendir(path);
    *f = (files){ 0 };
    if (!d) snprintf(f->path[f->n++], sizeof f->path[0], "%s", path);
    for (struct dirent *e; d && (e = readdir(d));)
        if (e->d_name[0] != '.') snprintf(f->path[f->n++], sizeof f->path[0], "%s/%s", path, e->d_name);
    if (d) closedir(d);
    for (size_t i = 0; i < f->n; i++) f->bytes += size_of(f->path[i]);
}

/* The bytes that only single flips are drawn from: what tells how the rest is to be read. */
static uint64_t head_of(const char *path)
{
    if (strstr(path, "hone.json")) return size_of(path);
    return strstr(path, ".gguf") ? 60000 : 0;
}

#define AT_ONCE 16
/* Many flips in one run, each in another byte, all of them found: every file in its turn, so that small ones are not left out. */
static size_t flip_many(const char *path, const char *source, const files *f, size_t runs)
{
    size_t done = 0;
    for (size_t run = 0; run < runs; run++) {
        struct { const char *path; uint64_t bit; } at[AT_ONCE];
        size_t n = 0;
        for (size_t i = 0; i < AT_ONCE; i++) {
            const char *file = f->path[(run * AT_ONCE + i) % f->n];
            uint64_t    begin = head_of(file), size = size_of(file), bit;
            bool        taken = false;
            if (begin >= size) continue;
            bit = 8 * begin + draw(8 * (size - begin));
            for (size_t k = 0; k < n; k++) taken = taken || (at[k].path == file && at[k].bit / 8 == bit / 8);
            if (taken) continue;
            at[n].path = file;
            at[n++].bit = bit;
            flip(file, bit);
        }
        long long found = differing(path, source, NULL);
        if (found != (long long)n) fail_msg("%s: %zu bits were flipped, %lld bytes differ", path, n, found);
        for (size_t i = 0; i < n; i++) flip(at[i].path, at[i].bit);
        done += n;
    }
    return done;
}

static size_t flip_heads(const char *path, const char *source, const files *f, size_t times)
{
    size_t done = 0;
    for (size_t i = 0; i < f->n; i++)
        for (size_t t = 0; head_of(f->path[i]) && t < times; t++, done++) {
            uint64_t bit = draw(8 * head_of(f->path[i]));
            flip(f->path[i], bit);
            (void)differing(path, source, NULL);
            flip(f->path[i], bit);
        }
    return done;
}

static void any_bit(const char *source, const char *quant, const hone_convert_options *how)
{
    scratch out;
    char    path[1024];
    files   f;
    scratch_open(&out);
    convert_to(source, quant, how, out.dir, path);
    if (how->split_bytes) *strrchr(path, '/') = '\0';
    is_identical(path, source);
    list(path, &f);
    size_t many = flip_many(path, source, &f, 4), heads = flip_heads(path, source, &f, 12);
    is_identical(path, source);
    printf("%-32s %2zu files, %8llu bytes: %zu flips found\n", quant, f.n, (unsigned long long)f.bytes, many + heads);
    scratch_close(&out);
}

static void a_flipped_bit_is_found_anywhere(void **state)
{
    (void)state;
    any_bit(SOURCE, "gguf=q4_k_m", &(hone_convert_options){ 0 });
    any_bit(SOURCE, "gguf=q8_0", &(hone_convert_options){ .split_bytes = 700000 });
    any_bit(SOURCE, "mlx=int4", &(hone_convert_options){ .group = 32 });
    any_bit(SOURCE, "onnx=int4", &(hone_convert_options){ 0 });
    any_bit(SOURCE, "openvino=int4", &(hone_convert_options){ .group = 64, .ratio = 0.6 });
    any_bit(EXPERTS, "onnx=int4", &(hone_convert_options){ 0 }); /* experts lie in turns */
    any_bit(EXPERTS, "openvino=int4", &(hone_convert_options){ .group = 32, .sym = true });
}

static void the_first_difference_is_named(void **state)
{
    scratch out;
    char    path[1024], cause[512];
    (void)state;
    scratch_open(&out);
    convert_to(SOURCE, "gguf=q8_0", &(hone_convert_options){ 0 }, out.dir, path);
    uint64_t size = size_of(path);
    flip(path, 8 * (size - 40)); /* the last block of the last tensor ends at size, or within 32 bytes of it */
    assert_int_equal(differing(path, SOURCE, cause), 1);
    assert_non_null(strstr(cause, "tensor 'blk."));
    assert_non_null(strstr(cause, "1 of "));
    assert_non_null(strstr(cause, " and 1 blocks differ"));
    flip(path, 8 * (size - 40));
    assert_int_equal(truncate(path, (off_t)size - 100), 0);
    assert_true(differing(path, SOURCE, cause) >= 60);
    assert_non_null(strstr(cause, "' ends after "));
    assert_int_equal(truncate(path, (off_t)size), 0);
    (void)differing(path, SOURCE, NULL);
    convert_to(SOURCE, "gguf=q8_0", &(hone_convert_options){ 0 }, out.dir, path);
    assert_int_equal(truncate(path, (off_t)size + 1), 0);
    (void)differing(path, SOURCE, cause);
    assert_non_null(strstr(cause, "bytes, source and recipe give"));
    scratch_close(&out);
}

static void files_that_are_missing_or_do_not_belong_there(void **state)
{
    scratch out;
    char    path[1024], cause[512], file[1100], other[1200];
    (void)state;
    scratch_open(&out);
    convert_to(SOURCE, "mlx=int8", &(hone_convert_options){ 0 }, out.dir, path);
    snprintf(file, sizeof file, "%s/tokenizer_config.json", path);
    snprintf(other, sizeof other, "%s/another.json", path);
    assert_int_equal(rename(file, other), 0);
    (void)differing(path, SOURCE, cause);
    assert_non_null(strstr(cause, "'another.json' does not belong there"));
    assert_int_equal(unlink(other), 0);
    (void)differing(path, SOURCE, cause);
    assert_non_null(strstr(cause, "'tokenizer_config.json' is missing"));
    scratch_close(&out);
}

static void another_source_is_told(void **state)
{
    scratch  out;
    char     path[1024], cause[512];
    hone_err err = { 0 };
    json_t  *doc;
    (void)state;
    scratch_open(&out);
    convert_to(SOURCE, "gguf=q8_0", &(hone_convert_options){ 0 }, out.dir, path);
    assert_int_equal(verify_with(path, HONE_TEST_SOURCE_DIR "/tests/golden/tiny/qwen2", &doc, &err), HONE_ENO);
    assert_string_equal(err.remedy, "is this the source that it was made from?");
    json_decref(doc);
    (void)differing(path, HONE_TEST_SOURCE_DIR "/examples/models/tale-8m", cause);
    scratch_close(&out);
}

static void a_recipe_comes_back_as_it_was(void **state)
{
    hone_arena           a = { 0 };
    hone_err             err = { 0 };
    hone_bytes           text, again;
    hone_recipe          r;
    size_t               hits[] = { 1, 0, 2 };
    hone_keep            keep[] = { { "a=b*", "f16", &hits[0] }, { "none", "f16", &hits[1] }, { "*.c", "q8_0", &hits[2] } };
    hone_model           m = { .facts = { .name = "m\xc3\xbc" } };
    hone_convert_options opt = { .group = 32, .keep = keep, .n_keep = 3, .split_bytes = 1ull << 40, .ratio = 0.3, .sym = true };
    const struct hone_format *f = hone_convert_format(0);
    (void)state;
    assert_int_equal(hone_recipe_text(&m, &opt, f, "q4_k_m", true, &a, &text, &err), HONE_OK);
    assert_int_equal(hone_recipe_read(text, &a, &r, &err), HONE_OK);
    assert_ptr_equal(r.format, f);
    assert_string_equal(r.quant, "q4_k_m");
    assert_string_equal(r.model, "m\xc3\xbc");
    assert_int_equal(r.options.split_bytes, 1ull << 40);
    assert_int_equal(r.options.group, 0); /* GGUF takes none */
    assert_int_equal(r.options.n_keep, 2);
    assert_string_equal(r.options.keep[0].pattern, "a=b*");
    assert_string_equal(r.options.keep[1].dtype, "q8_0");
    assert_int_equal(hone_recipe_text(&m, &r.options, f, r.quant, true, &a, &again, &err), HONE_OK);
    assert_string_equal((const char *)again.ptr, (const char *)text.ptr);
    hone_recipe_release(&r);
    for (size_t i = 0; i < text.len; i++) /* damage is never taken for another recipe */
        for (unsigned bit = 0; bit < 8; bit += 3) {
            uint8_t *p = (uint8_t *)(uintptr_t)text.ptr;
            p[i] ^= (uint8_t)(1u << bit);
            hone_code code = hone_recipe_read(text, &a, &r, &err);
            if (code != HONE_ENO) fail_msg("byte %zu, bit %u: code %d: %s", i, bit, (int)code, err.cause);
            p[i] ^= (uint8_t)(1u << bit);
        }
    hone_arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_recipe_comes_back_as_it_was),
        cmocka_unit_test(a_flipped_bit_is_found_anywhere),
        cmocka_unit_test(the_first_difference_is_named),
        cmocka_unit_test(files_that_are_missing_or_do_not_belong_there),
        cmocka_unit_test(another_source_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
