/* test_correction.c - corrected biases: over the very rows that calibration saw, each channel of each linear layer gives in the mean what the float layer
 * gives, whatever the format, the encoding and the method; and what is refused.
 * ctest: threads */
#include "flow/convert.h"
#include "flow/variant.h"
#include "formats/scratch.h"
#include "ir/stats.h"
#include "quant/weight.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#define TINY(family) HONE_TEST_SOURCE_DIR "/tests/golden/tiny/" family

enum { ROWS = 24 };

/* What calibration would have seen: ROWS rows before every matrix that has a bias, a few columns far from zero in the mean, as behind a ReLU or a norm's
 * bias.  They are kept, to be multiplied. */
typedef struct seen {
    hone_arena        a;
    hone_input_stats *in;
    float           **x; /* [n] each [ROWS, n_cols] */
    hone_stats        s;
} seen;

static float noise(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (float)(*seed >> 8) / 8388608.0f - 1.0f;
}

static const hone_weight *bias_of(const hone_model *m, const hone_weight *w)
{
    return w->part == HONE_PART_WEIGHT && w->n_dims == 2 && w->role != HONE_R_POOLER /* no output has it */ ? hone_model_find(m, w->role, HONE_PART_BIAS, w->layer) : NULL;
}

static hone_code unit_hessian(const hone_stats *s, const hone_input_stats *in, uint32_t mat, float *out, hone_err *err)
{
    (void)s, (void)mat, (void)err;
    for (size_t i = 0; i < in->n_cols; i++)
        for (size_t j = 0; j < in->n_cols; j++) out[i * in->n_cols + j] = i == j ? ROWS : 0.1f;
    return HONE_OK;
}

static void sum_up(seen *k, hone_input_stats *in, const float *x)
{
    const size_t n = in->n_cols;
    float       *sums[3]; /* of squares, of magnitudes, with signs */
    uint64_t    *count = HONE_ARENA_NEW(&k->a, uint64_t, 1);
    assert_non_null(count);
    for (size_t i = 0; i < 3; i++) assert_non_null(sums[i] = HONE_ARENA_NEW(&k->a, float, n));
    for (size_t j = 0; j < n; j++) {
        double sq = 0, mag = 0, sum = 0;
        for (size_t r = 0; r < ROWS; r++) {
            double v = (double)x[r * n + j];
            sq += v * v;
            mag += fabs(v);
            sum += v;
        }
        sums[0][j] = (float)sq;
        sums[1][j] = (float)mag;
        sums[2][j] = (float)sum;
    }
    *count = ROWS;
    in->sum_sq = sums[0];
    in->sum_abs = sums[1];
    in->sum = sums[2];
    in->counts = count;
}

static void see(const hone_model *m, seen *k)
{
    uint32_t seed = 7;
    *k = (seen){ 0 };
    k->in = HONE_ARENA_NEW(&k->a, hone_input_stats, m->n_weights);
    k->x = HONE_ARENA_NEW(&k->a, float *, m->n_weights);
    assert_true(k->in && k->x);
    for (size_t i = 0; i < m->n_weights; i++) {
        const hone_weight *w = &m->weights[i];
        if (!bias_of(m, w)) continue;
        hone_input_stats *in = &k->in[k->s.n_inputs];
        const size_t      n = (size_t)hone_weight_cols(w);
        *in = (hone_input_stats){ .role = w->role, .layer = w->layer, .n_mats = 1, .n_cols = (uint32_t)n, .hessian = true };
        float *x = HONE_ARENA_NEW(&k->a, float, ROWS * n);
        assert_non_null(x);
        for (size_t j = 0; j < n; j++) {
            float mean = j % 11 == 0 ? 3.0f : 0.3f * noise(&seed);
            for (size_t r = 0; r < ROWS; r++) x[r * n + j] = mean + noise(&seed);
        }
        /* q, k and v of a layer are given the same rows */
        for (size_t o = 0; o < k->s.n_inputs; o++)
            if (k->in[o].layer == in->layer && hone_role_shares_input(k->in[o].role, in->role)) x = k->x[o];
        k->x[k->s.n_inputs++] = x;
        sum_up(k, in, x);
    }
    assert_true(k->s.n_inputs > 0);
    k->s.inputs = k->in;
    k->s.hessian = unit_hessian;
    memset(k->s.sha256, 'a', 64);
}

static float *numbers(const hone_model *m, const hone_weight *w)
{
    hone_err err = { 0 };
    uint64_t rows = w->n_dims == 1 ? 1 : hone_weight_rows(w);
    float   *x = malloc((size_t)hone_weight_elems(w) * sizeof *x);
    void    *room = malloc(hone_weight_scratch(w, rows) + 1);
    assert_true(x && room);
    if (hone_weight_read(m->source, w, 0, rows, x, room, &err) != HONE_OK) fail_msg("%s", err.cause);
    free(room);
    return x;
}

typedef struct worst { double before, after, unit; size_t layers; } worst; /* mean output errors, in parts of what a bias is rounded to */

/* Of every linear layer with a bias, for every channel: the mean over the rows of (Q x + b') - (W x + b), with b' as stored and with b in its place. */
static void measure(const hone_model *m, const hone_model *a, const seen *k, double rounding, worst *out)
{
    *out = (worst){ 0 };
    for (size_t i = 0; i < k->s.n_inputs; i++) {
        const hone_input_stats *in = &k->in[i];
        const hone_weight      *w = hone_model_find(m, in->role, HONE_PART_WEIGHT, in->layer), *q = hone_model_find(a, in->role, HONE_PART_WEIGHT, in->layer);
        const hone_weight      *b = bias_of(m, w), *c = q ? bias_of(a, q) : NULL;
        if (!c) fail_msg("the artefact has no bias of %s", hone_role_name(in->role));
        float       *W = numbers(m, w), *Q = numbers(a, q), *B = numbers(m, b), *C = numbers(a, c);
        const size_t n = in->n_cols;
        for (size_t o = 0; o < hone_weight_rows(w); o++) {
            double plain = 0, size = 0;
            for (size_t r = 0; r < ROWS; r++)
                for (size_t j = 0; j < n; j++) {
                    plain += ((double)Q[o * n + j] - (double)W[o * n + j]) * (double)k->x[i][r * n + j] / ROWS;
                    size += fabs((double)W[o * n + j] * (double)k->x[i][r * n + j]) / ROWS;
                }
            double fixed = plain + (double)C[o] - (double)B[o], unit = rounding * fabs((double)C[o]) + 1e-6 * size + 1e-12;
            out->before = fmax(out->before, fabs(plain) / unit);
            out->after = fmax(out->after, fabs(fixed) / unit);
        }
        out->layers++;
        free(W), free(Q), free(B), free(C);
    }
}

static hone_code convert(const hone_model *m, const char *quant, const hone_stats *s, const char *method, bool correct, unsigned threads, const char *dir,
                         hone_convert_result *res, hone_err *err)
{
    hone_ctx             ctx = { .threads = threads };
    hone_convert_options opt = { .quants = &quant, .n_quants = 1, .group = strchr(quant, '=') ? 32 : 0, .stats = s, .method = method, .bias_correction = correct,
                                 .out_dir = dir, .name = "m" };
    return hone_convert(&ctx, m, &opt, res, err);
}

static void check(const scratch *s, const hone_model *m, const seen *k, const char *quant, const char *method, double rounding)
{
    hone_err            err = { 0 };
    hone_ctx            ctx = { .threads = 2 };
    hone_convert_result res;
    hone_model          a;
    worst               w;
    char                dir[256], plain[65], one[65];
    if (convert(m, quant, &k->s, method, false, 3, scratch_path(s, "plain", dir), &res, &err) != HONE_OK) fail_msg("%s: %s", quant, err.cause);
    memcpy(plain, res.outputs[0].sha256, sizeof plain);
    hone_convert_result_release(&res);
    if (convert(m, quant, &k->s, method, true, 1, scratch_path(s, "one", dir), &res, &err) != HONE_OK) fail_msg("%s: %s", quant, err.cause);
    memcpy(one, res.outputs[0].sha256, sizeof one);
    hone_convert_result_release(&res);
    if (convert(m, quant, &k->s, method, true, 3, scratch_path(s, "three", dir), &res, &err) != HONE_OK) fail_msg("%s: %s", quant, err.cause);
    assert_string_equal(one, res.outputs[0].sha256);
    assert_string_not_equal(one, plain);
    if (strncmp(quant, "openvino", 8) != 0) { /* hone opens no IR as a source */
        if (hone_model_open(&ctx, res.outputs[0].path, &a, &err) != HONE_OK) fail_msg("%s: %s", quant, err.cause);
        measure(m, &a, k, rounding, &w);
        hone_model_close(&a);
        if (!(w.after <= 1 && w.before > 10)) fail_msg("%s by %s: mean errors are %.3g of a rounding, were %.3g", quant, method, w.after, w.before);
        assert_int_equal(w.layers, k->s.n_inputs);
    }
    hone_convert_result_release(&res);
}

/* path: of a folder that is made for it, as long as the model is open. */
static void open_source(const scratch *s, const char *folder, char path[256], hone_model *m)
{
    static const char variant[] = "variants/";
    hone_ctx          ctx = { .threads = 2 };
    hone_err          err = { 0 };
    if (strncmp(folder, variant, sizeof variant - 1) == 0) {
        scratch_path(s, folder + sizeof variant - 1, path);
        if (access(path, F_OK) != 0) variant_assemble(folder + sizeof variant - 1, path);
        folder = path;
    }
    if (hone_model_open(&ctx, folder, m, &err) != HONE_OK) fail_msg("%s", err.cause);
}

/* Of llama-bias, llama.cpp has the rows of q and k in another order than the checkpoint.
 * A float32 bias is rounded by 2^-24 of itself, one in bf16 (MLX, whose folders keep the checkpoint's type) by 2^-8. */
static void mean_errors_vanish(void **state)
{
    static const struct { const char *family, *quant, *method; double rounding; } rows[] = {
        { TINY("gpt2"), "q4_0", "rtn", 1e-7 },          { TINY("gpt2"), "openvino=int4", "rtn", 1e-7 },  { TINY("qwen2"), "q4_k_m", "rtn", 1e-7 },
        { TINY("qwen2"), "onnx=int4", "rtn", 1e-7 },    { TINY("gpt_neox"), "q4_0", "rtn", 1e-7 },       { TINY("gpt_neox"), "mlx=int2", "rtn", 1.0 / 256 },
        { TINY("starcoder2"), "q8_0", "rtn", 1e-7 },    { TINY("stablelm"), "onnx=int8", "rtn", 1e-7 },  { TINY("bert"), "q4_0", "rtn", 1e-7 },
        { "variants/llama-bias", "q4_0", "gptq", 1e-7 }, { "variants/llama-bias", "q4_0", "hqq", 1e-7 }, { "variants/llama-bias", "onnx=int4", "search", 1e-7 },
        { "variants/llama-bias", "mlx=int3", "scale", 1.0 / 256 },
    };
    for (size_t i = 0; i < HONE_COUNT(rows); i++) {
        hone_model m;
        seen       k;
        char       path[256];
        open_source(*state, rows[i].family, path, &m);
        see(&m, &k);
        check(*state, &m, &k, rows[i].quant, rows[i].method, rows[i].rounding);
        hone_arena_release(&k.a);
        hone_model_close(&m);
    }
}

static void refuse(const scratch *s, const char *source, seen *k, const hone_stats *stats, hone_code code, const char *cause)
{
    hone_ctx            ctx = { .threads = 1 };
    hone_err            err = { 0 };
    hone_model          m;
    hone_convert_result res;
    char                dir[256];
    assert_int_equal(hone_model_open(&ctx, source, &m, &err), HONE_OK);
    if (k) {
        see(&m, k);
        if (stats == &k->s) k->in[1].sum = NULL;
    }
    assert_int_equal(convert(&m, "q4_0", stats, "rtn", true, 1, scratch_path(s, "no", dir), &res, &err), code);
    assert_string_equal(err.cause, cause);
    if (k) hone_arena_release(&k->a);
    hone_model_close(&m);
}

static void what_cannot_be_corrected_is_refused(void **state)
{
    static float            squares[256];
    static const uint64_t   counts = 9;
    const hone_input_stats  in = { .role = HONE_R_ATTN_Q, .layer = 0, .n_mats = 1, .n_cols = 256, .sum_sq = squares, .sum = squares, .counts = &counts };
    const hone_input_stats  head = { .role = HONE_R_OUTPUT, .layer = -1, .n_mats = 1, .n_cols = 256, .sum_sq = squares, .sum = squares, .counts = &counts };
    const hone_stats        some = { .inputs = &in, .n_inputs = 1 }, other = { .inputs = &head, .n_inputs = 1 };
    seen                    k;
    refuse(*state, TINY("gpt2"), NULL, NULL, HONE_EUSAGE, "biases are corrected by the means of the activations, and there are no statistics");
    refuse(*state, TINY("gpt2"), &k, &k.s, HONE_EINPUT, "the statistics have no means (.in_sum) of the input of attn_out in layer 0, and biases are corrected by means");
    refuse(*state, TINY("gpt2"), NULL, &other, HONE_EINPUT, "the statistics say nothing of the inputs of matrices that have biases");
    refuse(*state, TINY("llama"), NULL, &some, HONE_EUNSUPPORTED, "no matrix of this llama model has a bias that could take up what rounding does");
}

/* Sums at the end of f32 are no means of anything, and no infinity may come of them. */
static void a_bias_has_an_end(void **state)
{
    static const uint64_t one = 1;
    hone_ctx            ctx = { .threads = 2 };
    hone_err            err = { 0 };
    hone_convert_result res;
    hone_model          m;
    seen                k;
    char                dir[256];
    assert_int_equal(hone_model_open(&ctx, TINY("gpt2"), &m, &err), HONE_OK);
    see(&m, &k);
    for (size_t i = 0; i < k.s.n_inputs; i++) {
        float *sum = HONE_ARENA_NEW(&k.a, float, k.in[i].n_cols);
        assert_non_null(sum);
        for (size_t c = 0; c < k.in[i].n_cols; c++) sum[c] = 3.4e38f;
        k.in[i].sum = sum;
        k.in[i].counts = &one;
    }
    assert_int_equal(convert(&m, "mlx=int2", &k.s, "rtn", true, 1, scratch_path(*state, "end", dir), &res, &err), HONE_EINPUT);
    assert_non_null(strstr(err.cause, "by these statistics entry "));
    assert_non_null(strstr(err.cause, "and bf16 ends at 3.38953e+38"));
    hone_arena_release(&k.a);
    hone_model_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(mean_errors_vanish, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_corrected_is_refused, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(a_bias_has_an_end, scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
