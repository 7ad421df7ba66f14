/* test_treatment.c - statistics in a conversion: the bytes of llama-quantize --imatrix, the same bytes for any number of threads, cold experts,
 * refusals.  ctest: threads */
#include "base/file.h"
#include "flow/convert.h"
#include "flow/convert/treatment.h"
#include "formats/gguf.h"
#include "formats/gguf/imatrix.h"
#include "formats/scratch.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define TALE    HONE_TEST_SOURCE_DIR "/examples/models/tale-8m"
#define IMATRIX HONE_TEST_SOURCE_DIR "/tests/golden/imatrix/tale-8m.gguf"
#define TINY    HONE_TEST_SOURCE_DIR "/tests/golden/tiny/llama"
#define EXPERTS HONE_TEST_SOURCE_DIR "/tests/golden/tiny/mixtral"

static hone_code convert(const char *source, const char *const *quants, size_t n, const hone_stats *stats, const char *method, unsigned threads, const char *dir,
                         hone_convert_result *res, hone_err *err)
{
    hone_ctx             ctx = { .threads = threads };
    hone_model           m;
    hone_convert_options opt = { .quants = quants, .n_quants = n, .stats = stats, .method = method, .out_dir = dir, .name = "m" };
    hone_code            code = hone_model_open(&ctx, source, &m, err);
    if (code != HONE_OK) return code;
    code = hone_convert(&ctx, &m, &opt, res, err);
    hone_model_close(&m);
    return code;
}

/* sha256 over the bytes of all tensors, by name. */
static void digest(const char *path, char hex[65])
{
    hone_arena a = { 0 };
    hone_gguf  g;
    hone_err   err = { 0 };
    size_t     total = 0, at = 0;
    if (hone_gguf_open(path, &a, &g, &err) != HONE_OK) fail_msg("%s", err.cause);
    for (size_t i = 0; i < g.source->n_tensors; i++) total += g.source->tensors[i].bytes;
    uint8_t *all = malloc(total);
    assert_non_null(all);
    for (size_t i = 0; i < g.source->n_tensors; i++) {
        const hone_tensor *t = &g.source->tensors[i];
        assert_int_equal(g.source->read(g.source, t, 0, all + at, (size_t)t->bytes, &err), HONE_OK);
        at += t->bytes;
    }
    assert_int_equal(hone_sha256((hone_bytes){ all, total }, hex, &err), HONE_OK);
    free(all);
    g.source->close(g.source);
    hone_arena_release(&a);
}

static void importance_gives_the_bytes_of_llama_quantize(void **state)
{
    static const struct { const char *quant, *sha256; } golden[] = {
        { "q4_k_m", "2a81d03401904d0d866f6d966f9d3439633464a918759bedbfc199bf62d6ae18" },
        { "q3_k_m", "f6564968cb1d41022f7418c9791923914c0752d758f1e0515da2c467ea009cea" },
        { "q2_k", "e64fa8a26e1f91239148b598daaaab397012ce67b2e2f76c1bc5a39ddc76d384" },
        { "iq4_xs", "4fa679340f2fb300215c83ded5f07077c0c237d8f5ac096d94d6e0407aefe792" },
    };
    const scratch      *s = *state;
    const char         *quants[4];
    hone_err            err = { 0 };
    hone_arena          a = { 0 };
    hone_stats          stats;
    hone_convert_result res;
    char                hex[65];
    for (size_t i = 0; i < 4; i++) quants[i] = golden[i].quant;
    assert_int_equal(hone_stats_open(IMATRIX, &a, &stats, &err), HONE_OK);
    if (convert(TALE, quants, 4, &stats, NULL, 2, s->dir, &res, &err) != HONE_OK) fail_msg("%s", err.cause);
    for (size_t i = 0; i < 4; i++) {
        digest(res.outputs[i].path, hex);
        assert_string_equal(hex, golden[i].sha256);
    }
    hone_convert_result_release(&res);
    hone_stats_close(&stats);
    hone_arena_release(&a);
}

/* ---- statistics that were never a file ---- */

enum { WIDE = 512, MATS = 4 };
static float    squares[MATS * WIDE];
static uint64_t counts[MATS], cold[MATS];

static float together(size_t i, size_t j) { return i == j ? 2.0f + (float)(i % 7) : 1.5f / (1.0f + (float)(i > j ? i - j : j - i)); }

static hone_code made_up(const hone_stats *s, const hone_input_stats *in, uint32_t mat, float *out, hone_err *err)
{
    (void)s;
    (void)err;
    for (size_t i = 0; i < in->n_cols; i++)
        for (size_t j = 0; j < in->n_cols; j++) out[i * in->n_cols + j] = together(i, j) * (float)in->counts[mat];
    return HONE_OK;
}

static hone_code refused(const hone_stats *s, const hone_input_stats *in, uint32_t mat, float *out, hone_err *err)
{
    (void)s;
    (void)in;
    (void)mat;
    (void)out;
    return HONE_FAIL(err, HONE_EINPUT, "", "the file of statistics is cut");
}

#define INPUT(r, l, mats, cols, seen) { .role = HONE_R_##r, .layer = l, .n_mats = mats, .n_cols = cols, .sum_sq = squares, .counts = seen, .hessian = true }
static const hone_input_stats dense[] = {
    INPUT(OUTPUT, -1, 1, 256, counts), INPUT(ATTN_Q, 0, 1, 256, counts),   INPUT(ATTN_OUT, 0, 1, 256, counts), INPUT(FFN_GATE, 0, 1, 256, counts),
    INPUT(FFN_DOWN, 0, 1, 512, counts), INPUT(ATTN_Q, 1, 1, 256, counts), INPUT(FFN_UP, 1, 1, 256, counts),   INPUT(FFN_DOWN, 1, 1, 512, counts),
};
static hone_stats of(const hone_input_stats *in, size_t n)
{
    hone_stats s = { .inputs = in, .n_inputs = n, .hessian = made_up };
    memset(s.sha256, 'a', 64);
    return s;
}

static int fill(void **state)
{
    for (size_t m = 0; m < MATS; m++) {
        counts[m] = 1000;
        cold[m] = m == 2 ? 0 : 500;
        for (size_t i = 0; i < WIDE; i++) squares[m * WIDE + i] = 1000 * together(i, i);
    }
    return scratch_setup(state);
}

static const char *const every_format[] = { "gguf=q4_k_m", "gguf=q2_k", "mlx=int3", "onnx=int4", "openvino=int4" };

/* The digests of the outputs, one line each. */
static void outputs_of(const char *source, const hone_stats *s, const char *method, unsigned threads, const char *dir, char hex[5][65])
{
    hone_err            err = { 0 };
    hone_convert_result res;
    if (convert(source, every_format, 5, s, method, threads, dir, &res, &err) != HONE_OK) fail_msg("%s, %s: %s", source, method, err.cause);
    for (size_t i = 0; i < 5; i++) memcpy(hex[i], res.outputs[i].sha256, 65);
    hone_convert_result_release(&res);
}

static void bytes_do_not_depend_on_threads(void **state)
{
    static const char *const methods[] = { "scale", "gptq" };
    const scratch           *s = *state;
    hone_stats               stats = of(dense, sizeof dense / sizeof *dense);
    char                     plain[5][65], one[5][65], three[5][65], dir[256];
    outputs_of(TINY, &stats, "rtn", 3, scratch_path(s, "rtn", dir), plain);
    for (size_t m = 0; m < sizeof methods / sizeof *methods; m++) {
        outputs_of(TINY, &stats, methods[m], 1, scratch_path(s, "one", dir), one);
        outputs_of(TINY, &stats, methods[m], 3, scratch_path(s, "three", dir), three);
        for (size_t i = 0; i < 5; i++) {
            assert_string_equal(one[i], three[i]);
            if (strcmp(one[i], plain[i]) == 0) fail_msg("%s by %s is what rtn gives", every_format[i], methods[m]);
        }
    }
}

static void a_cold_expert_is_encoded_by_what_the_others_saw(void **state)
{
    static const hone_input_stats experts[] = { INPUT(FFN_GATE_EXPS, 0, MATS, 256, cold) };
    const scratch                *s = *state;
    hone_stats                    stats = of(experts, 1);
    char                          one[5][65], three[5][65], dir[256];
    outputs_of(EXPERTS, &stats, NULL, 1, scratch_path(s, "cold1", dir), one);
    outputs_of(EXPERTS, &stats, NULL, 3, scratch_path(s, "cold3", dir), three);
    for (size_t i = 0; i < 5; i++) assert_string_equal(one[i], three[i]);
}

static void statistics_that_cannot_be_read_end_the_conversion(void **state)
{
    const scratch      *s = *state;
    hone_stats          stats = of(dense, sizeof dense / sizeof *dense);
    hone_err            err = { 0 };
    hone_convert_result res;
    char                dir[256];
    stats.hessian = refused;
    assert_int_equal(convert(TINY, every_format, 1, &stats, "gptq", 3, scratch_path(s, "none", dir), &res, &err), HONE_EINPUT);
    assert_string_equal(err.cause, "the file of statistics is cut");
}

static void methods_are_chosen_by_what_is_known(void **state)
{
    (void)state;
    hone_stats  stats = of(dense, 2);
    hone_err    err = { 0 };
    const char *name = NULL;
    assert_int_equal(hone_method_choose(NULL, NULL, &name, &err), HONE_OK);
    assert_string_equal(name, "rtn");
    assert_int_equal(hone_method_choose(NULL, &stats, &name, &err), HONE_OK);
    assert_string_equal(name, "gptq");
    hone_input_stats plain = dense[0];
    plain.hessian = false;
    stats = of(&plain, 1);
    assert_int_equal(hone_method_choose(NULL, &stats, &name, &err), HONE_OK);
    assert_string_equal(name, "search");
    assert_int_equal(hone_method_choose("gptq", &stats, &name, &err), HONE_EINPUT);
    assert_string_equal(err.cause, "method gptq needs Hessians, and there are none");
    assert_int_equal(hone_method_choose("gptq", NULL, &name, &err), HONE_EUSAGE);
    assert_int_equal(hone_method_choose("best", &stats, &name, &err), HONE_EUSAGE);
    assert_string_equal(err.cause, "there is no method 'best'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(importance_gives_the_bytes_of_llama_quantize, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(bytes_do_not_depend_on_threads, fill, scratch_teardown),
        cmocka_unit_test_setup_teardown(a_cold_expert_is_encoded_by_what_the_others_saw, fill, scratch_teardown),
        cmocka_unit_test_setup_teardown(statistics_that_cannot_be_read_end_the_conversion, fill, scratch_teardown),
        cmocka_unit_test(methods_are_chosen_by_what_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
