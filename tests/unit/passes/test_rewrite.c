/* test_rewrite.c - the wrapping source against a plain recomputation of each weight in memory, at byte ranges of any kind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "passes/rewrite.h"
#include "quant/codec.h"
#include "quant/grouped.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- a model in memory: one f32 tensor a weight ---- */

enum { ROWS = 23, COLS = 37, MATS = 3 };
static float matrix[ROWS * COLS], stack[MATS * ROWS * COLS], vector[COLS];

static hone_code read_memory(const hone_source *s, const hone_tensor *t, uint64_t off, void *buf, size_t n, hone_err *err)
{
    static const float *const blobs[] = { matrix, stack, vector };
    (void)s;
    (void)err;
    assert_true(off <= t->bytes && n <= t->bytes - off);
    memcpy(buf, (const uint8_t *)blobs[t->file] + off, n);
    return HONE_OK;
}

static hone_tensor tensors[] = {
    { .name = "m", .dtype = HONE_DTYPE_F32, .n_dims = 2, .dims = { ROWS, COLS }, .file = 0, .bytes = sizeof matrix },
    { .name = "s", .dtype = HONE_DTYPE_F32, .n_dims = 3, .dims = { MATS, ROWS, COLS }, .file = 1, .bytes = sizeof stack },
    { .name = "v", .dtype = HONE_DTYPE_F32, .n_dims = 1, .dims = { COLS }, .file = 2, .bytes = sizeof vector },
};
static const hone_slice slices[] = { { .tensor = &tensors[0], .n_rows = ROWS }, { .tensor = &tensors[1], .n_rows = (uint64_t)MATS * ROWS }, { .tensor = &tensors[2], .n_rows = COLS } };
static const hone_weight weights[] = {
    { .role = HONE_R_FFN_DOWN, .layer = 0, .n_dims = 2, .dims = { ROWS, COLS }, .slices = &slices[0], .n_slices = 1, .scale = 1, .dtype = HONE_DTYPE_F32 },
    { .role = HONE_R_FFN_DOWN_EXPS, .layer = 0, .n_dims = 3, .dims = { MATS, ROWS, COLS }, .slices = &slices[1], .n_slices = 1, .scale = 1, .dtype = HONE_DTYPE_F32 },
    { .role = HONE_R_FFN_NORM, .layer = 0, .n_dims = 1, .dims = { COLS }, .slices = &slices[2], .n_slices = 1, .scale = 1, .dtype = HONE_DTYPE_F32 },
};
static hone_source source = { .read = read_memory, .tensors = tensors, .n_tensors = 3 };

static uint32_t seed;
static uint32_t next(void) { return seed = seed * 1664525u + 1013904223u; }
static float    number(void) { return (float)(int32_t)next() / 0x1p31f; }

static int fill(void **state)
{
    (void)state;
    seed = 7;
    for (size_t i = 0; i < HONE_COUNT(matrix); i++) matrix[i] = number();
    for (size_t i = 0; i < HONE_COUNT(stack); i++) stack[i] = number();
    for (size_t i = 0; i < HONE_COUNT(vector); i++) vector[i] = number();
    return 0;
}

/* The only tensor of a source made of c, read whole into out, which has n floats; then in 300 pieces that begin and end anywhere. */
static void read_all_ways(const hone_change *c, float *out, size_t n)
{
    hone_model   m = { .source = &source };
    hone_arena   a = { 0 };
    hone_source *s = NULL;
    hone_err     err = { 0 };
    assert_int_equal(hone_rewrite_source(&m, c, 1, &a, &s, &err), HONE_OK);
    const hone_tensor *t = &s->tensors[0];
    assert_int_equal(t->bytes, n * sizeof *out);
    assert_int_equal(s->read(s, t, 0, out, n * sizeof *out, &err), HONE_OK);
    for (int i = 0; i < 300; i++) {
        size_t   from = next() % t->bytes, len = next() % (t->bytes - from + 1);
        uint8_t *piece = malloc(len + 1);
        assert_non_null(piece);
        assert_int_equal(s->read(s, t, from, piece, len, &err), HONE_OK);
        assert_memory_equal(piece, (const uint8_t *)out + from, len);
        free(piece);
    }
    hone_arena_release(&a);
}

static void rows_columns_and_factors_are_those_of_a_plain_loop(void **state)
{
    const uint32_t rows[] = { 0, 1, 5, 6, 7, 20, 22 }, cols[] = { 1, 2, 3, 17, 36 };
    float          by_row[7], by_col[5], out[35];
    (void)state;
    for (int i = 0; i < 7; i++) by_row[i] = 1.5f + number();
    for (int i = 0; i < 5; i++) by_col[i] = 1.5f + number();
    hone_change c = hone_change_none(&weights[0]);
    assert_false(hone_change_values(&c));
    c.rows = rows;
    c.cols = cols;
    c.row_factor = by_row;
    c.col_factor = by_col;
    c.dims[0] = 7;
    c.dims[1] = 5;
    assert_true(hone_change_values(&c));
    read_all_ways(&c, out, 35);
    for (int r = 0; r < 7; r++)
        for (int k = 0; k < 5; k++) assert_true(out[r * 5 + k] == matrix[rows[r] * COLS + cols[k]] * by_row[r] * by_col[k]);
}

static void matrices_of_a_stack_have_factors_of_their_own_or_share_them(void **state)
{
    float *out = malloc(sizeof stack), by_col[2 * COLS];
    uint32_t rows[2 * ROWS];
    (void)state;
    assert_non_null(out);
    for (int i = 0; i < 2 * COLS; i++) by_col[i] = 1.5f + number();
    for (uint32_t i = 0; i < 2 * ROWS; i++) rows[i] = (i / ROWS ? 2u : 0u) * ROWS + i % ROWS; /* the first and the last expert */
    hone_change c = hone_change_none(&weights[1]);
    c.rows = rows;
    c.col_factor = by_col;
    c.dims[0] = 2;
    for (int shared = 0; shared < 2; shared++) {
        c.shared_factor = shared;
        read_all_ways(&c, out, (size_t)2 * ROWS * COLS);
        for (int i = 0; i < 2 * ROWS * COLS; i++)
            assert_true(out[i] == stack[(i / (ROWS * COLS) ? 2 : 0) * ROWS * COLS + i % (ROWS * COLS)] * by_col[(shared ? 0 : i / (ROWS * COLS) * COLS) + i % COLS]);
    }
    free(out);
}

static void factors_of_a_norm_stored_minus_one_act_on_the_norm(void **state)
{
    float by_col[COLS], out[COLS];
    (void)state;
    for (int i = 0; i < COLS; i++) by_col[i] = 1.5f + number();
    hone_change c = hone_change_none(&weights[2]);
    c.col_factor = by_col;
    c.plus_one = true;
    read_all_ways(&c, out, COLS);
    for (int i = 0; i < COLS; i++) assert_float_equal(out[i], (vector[i] + 1) * by_col[i] - 1, 1e-6);
}

static int by_size(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void a_share_of_each_row_is_zero_and_it_is_the_least(void **state)
{
    static float out[ROWS * COLS];
    float        importance[COLS];
    (void)state;
    for (int i = 0; i < COLS; i++) importance[i] = fabsf(number());
    for (int pass = 0; pass < 4; pass++) {
        double      share = pass % 2 ? 0.5 : 0.1;
        size_t      zeros = (size_t)(share * COLS + 0.5);
        hone_change c = hone_change_none(&weights[0]);
        c.mask = HONE_MASK_ROW;
        c.share = share;
        c.importance = pass < 2 ? NULL : importance;
        read_all_ways(&c, out, ROWS * COLS);
        for (int r = 0; r < ROWS; r++) {
            float  sizes[COLS];
            size_t n = 0;
            for (int k = 0; k < COLS; k++) sizes[k] = fabsf(matrix[r * COLS + k]) * (pass < 2 ? 1 : importance[k]);
            float sorted[COLS];
            memcpy(sorted, sizes, sizeof sorted);
            qsort(sorted, COLS, sizeof *sorted, by_size);
            for (int k = 0; k < COLS; k++) {
                n += out[r * COLS + k] == 0;
                assert_true(out[r * COLS + k] == (sizes[k] <= sorted[zeros - 1] ? 0 : matrix[r * COLS + k]));
            }
            assert_int_equal(n, zeros);
        }
    }
}

static void of_equal_weights_the_first_go(void **state)
{
    float out[ROWS * COLS];
    (void)state;
    for (int k = 0; k < COLS; k++) matrix[k] = k % 2 ? 0.5f : -0.5f;
    hone_change c = hone_change_none(&weights[0]);
    c.mask = HONE_MASK_ROW;
    c.share = 10.0 / COLS;
    read_all_ways(&c, out, ROWS * COLS);
    for (int k = 0; k < COLS; k++) assert_true(out[k] == (k < 10 ? 0 : matrix[k]));
    c.share = 1e-9; /* less than one */
    read_all_ways(&c, out, ROWS * COLS);
    assert_memory_equal(out, matrix, sizeof out);
}

static void two_of_four_columns_stay(void **state)
{
    float out[ROWS * COLS];
    (void)state;
    hone_change c = hone_change_none(&weights[0]);
    c.mask = HONE_MASK_2_4;
    read_all_ways(&c, out, ROWS * COLS);
    for (int r = 0; r < ROWS; r++) {
        for (int k = 0; k + 4 <= COLS; k += 4) {
            const float *x = matrix + r * COLS + k, *y = out + r * COLS + k;
            int          zeros = 0;
            float        gone = 0, stays = 2;
            for (int i = 0; i < 4; i++) {
                zeros += y[i] == 0;
                assert_true(y[i] == 0 || y[i] == x[i]);
                if (y[i] == 0) gone = fmaxf(gone, fabsf(x[i]));
                else stays = fminf(stays, fabsf(x[i]));
            }
            assert_int_equal(zeros, 2);
            assert_true(gone <= stays);
        }
        assert_true(out[r * COLS + COLS - 1] == matrix[r * COLS + COLS - 1]);
    }
}

static void an_untouched_tensor_keeps_type_and_bytes(void **state)
{
    hone_model   m = { .source = &source };
    hone_arena   a = { 0 };
    hone_source *s = NULL;
    hone_err     err = { 0 };
    (void)state;
    tensors[0].dtype = HONE_DTYPE_BF16;
    tensors[0].bytes = sizeof matrix / 2;
    hone_change c = hone_change_none(&weights[0]);
    c.layer = 4;
    assert_int_equal(hone_rewrite_source(&m, &c, 1, &a, &s, &err), HONE_OK);
    assert_string_equal(s->tensors[0].name, "ffn_down.4.weight");
    assert_int_equal(s->tensors[0].dtype, HONE_DTYPE_BF16);
    uint8_t piece[100];
    assert_int_equal(s->read(s, &s->tensors[0], 333, piece, sizeof piece, &err), HONE_OK);
    assert_memory_equal(piece, (const uint8_t *)matrix + 333, sizeof piece);
    tensors[0].dtype = HONE_DTYPE_F32;
    tensors[0].bytes = sizeof matrix;
    hone_arena_release(&a);
}

/* ---- zeros in codes ---- */

/* Half of 256 numbers are zero; how many of those are still zero after a way there and back. */
static int zeros_left(hone_dtype t, const hone_grouped *g)
{
    static uint8_t bytes[HONE_STREAMS][4096];
    float          x[256], y[256];
    int            left = 0;
    for (int i = 0; i < 256; i++) x[i] = i % 2 ? number() + 0.2f : 0;
    if (g) {
        uint8_t *const       out[HONE_STREAMS] = { bytes[0], bytes[1], bytes[2] };
        const uint8_t *const in[HONE_STREAMS] = { bytes[0], bytes[1], bytes[2] };
        hone_grouped_encode(g, x, 1, 256, out);
        hone_grouped_decode(g, in, 1, 256, y);
    } else {
        hone_codec_find(t)->encode_row(x, bytes[0], 256, NULL);
        hone_codec_find(t)->decode_row(bytes[0], y, 256);
    }
    for (int i = 0; i < 256; i += 2) left += y[i] == 0;
    return left;
}

/* docs/PRUNING.md, "Zeros in codes" */
static void pruned_weights_stay_zero_in_codes_that_have_a_zero(void **state)
{
    static const hone_dtype exact[] = { HONE_DTYPE_F16, HONE_DTYPE_BF16, HONE_DTYPE_Q8_0, HONE_DTYPE_Q4_0, HONE_DTYPE_Q5_0, HONE_DTYPE_Q6_K, HONE_DTYPE_Q3_K };
    static const hone_dtype not_exact[] = { HONE_DTYPE_Q4_K, HONE_DTYPE_Q5_K, HONE_DTYPE_Q2_K, HONE_DTYPE_Q4_1, HONE_DTYPE_IQ4_NL, HONE_DTYPE_IQ4_XS };
    const hone_grouped      grouped[] = { { .scheme = HONE_SCHEME_ONNX, .bits = 4, .group = 32, .scale = HONE_DTYPE_F32 },
                                          { .scheme = HONE_SCHEME_NNCF, .bits = 4, .group = 64, .scale = HONE_DTYPE_F16 },
                                          { .scheme = HONE_SCHEME_NNCF, .bits = 8, .scale = HONE_DTYPE_F16, .sym = true },
                                          { .scheme = HONE_SCHEME_MLX_MXFP4, .bits = 4, .group = 32, .scale = HONE_DTYPE_BF16 } };
    (void)state;
    for (size_t i = 0; i < HONE_COUNT(exact); i++)
        if (zeros_left(exact[i], NULL) != 128) fail_msg("%s: %d of 128 zeros are left", hone_dtype_name(exact[i]), zeros_left(exact[i], NULL));
    for (size_t i = 0; i < HONE_COUNT(grouped); i++)
        if (zeros_left(HONE_DTYPE_F32, &grouped[i]) != 128) fail_msg("scheme %zu: %d of 128 zeros are left", i, zeros_left(HONE_DTYPE_F32, &grouped[i]));
    for (size_t i = 0; i < HONE_COUNT(not_exact); i++)
        if (zeros_left(not_exact[i], NULL) == 128) fail_msg("%s keeps zeros: say so in docs/PRUNING.md", hone_dtype_name(not_exact[i]));
    printf("mlx affine int4 g64 keeps %d of 128 zeros\n",
           zeros_left(HONE_DTYPE_F32, &(hone_grouped){ .scheme = HONE_SCHEME_MLX_AFFINE, .bits = 4, .group = 64, .scale = HONE_DTYPE_F32 }));
}

/* ---- statistics ---- */

static float hessian_of(int i, int j) { return (float)(1 + i * 3 + j * 3); }

static hone_code read_hessian(const hone_stats *s, const hone_input_stats *in, uint32_t mat, float *out, hone_err *err)
{
    (void)s;
    (void)mat;
    (void)err;
    for (int i = 0; i < (int)in->n_cols; i++)
        for (int j = 0; j < (int)in->n_cols; j++) out[i * (int)in->n_cols + j] = hessian_of(i, j);
    return HONE_OK;
}

static void statistics_follow_the_columns_and_their_factors(void **state)
{
    float            sum_sq[COLS], most[COLS], sum[COLS];
    const uint64_t   count = 9;
    const uint32_t   cols[] = { 4, 8, 30 };
    const float      factor[] = { 2, 4, 0.5f };
    hone_input_stats in[] = { { .role = HONE_R_FFN_DOWN, .layer = 0, .n_mats = 1, .n_cols = COLS, .sum_sq = sum_sq, .max_abs = most, .sum = sum, .counts = &count, .hessian = true },
                              { .role = HONE_R_ATTN_Q, .layer = 7, .n_mats = 1, .n_cols = COLS, .sum_sq = sum_sq, .counts = &count } };
    hone_stats       below = { .inputs = in, .n_inputs = 2, .hessian = read_hessian, .sha256 = "abc" }, above;
    hone_arena       a = { 0 };
    hone_err         err = { 0 };
    float            h[9];
    (void)state;
    for (int i = 0; i < COLS; i++) most[i] = (float)i, sum_sq[i] = (float)(i * i), sum[i] = 5.0f - (float)i;
    hone_change c = hone_change_none(&weights[0]);
    c.layer = 3;
    c.cols = cols;
    c.col_factor = factor;
    c.shared_factor = true;
    c.dims[1] = 3;
    assert_int_equal(hone_rewrite_stats(&below, &c, 1, &a, &above, &err), HONE_OK);
    assert_string_equal(above.sha256, "abc");
    assert_int_equal(above.n_inputs, 1); /* layer 7 is gone */
    const hone_input_stats *x = hone_stats_find(&above, HONE_R_FFN_DOWN, 3);
    assert_non_null(x);
    assert_int_equal(x->n_cols, 3);
    assert_int_equal(x->counts[0], 9);
    assert_null(x->sum_abs);
    for (int i = 0; i < 3; i++) {
        assert_float_equal(x->sum_sq[i], sum_sq[cols[i]] / factor[i] / factor[i], 1e-4);
        assert_float_equal(x->max_abs[i], most[cols[i]] / factor[i], 1e-5);
        assert_float_equal(x->sum[i], sum[cols[i]] / factor[i], 1e-5);
    }
    assert_int_equal(above.hessian(&above, x, 0, h, &err), HONE_OK);
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) assert_float_equal(h[i * 3 + j], hessian_of((int)cols[i], (int)cols[j]) / factor[i] / factor[j], 1e-4);
    hone_arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(rows_columns_and_factors_are_those_of_a_plain_loop, fill),
        cmocka_unit_test_setup(matrices_of_a_stack_have_factors_of_their_own_or_share_them, fill),
        cmocka_unit_test_setup(factors_of_a_norm_stored_minus_one_act_on_the_norm, fill),
        cmocka_unit_test_setup(a_share_of_each_row_is_zero_and_it_is_the_least, fill),
        cmocka_unit_test_setup(of_equal_weights_the_first_go, fill),
        cmocka_unit_test_setup(two_of_four_columns_stay, fill),
        cmocka_unit_test_setup(an_untouched_tensor_keeps_type_and_bytes, fill),
        cmocka_unit_test_setup(pruned_weights_stay_zero_in_codes_that_have_a_zero, fill),
        cmocka_unit_test_setup(statistics_follow_the_columns_and_their_factors, fill),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
