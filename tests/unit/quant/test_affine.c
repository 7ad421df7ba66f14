/* test_affine.c - MLX's affine codes against the worked example, mlx's own bytes, and the bound that rounding promises.
 * Golden hashes: tests/golden/mlx/affine.py made them by mx.quantize of mlx 0.32.4 on the CPU, over the rows of hash_row.h. */
#include "base/file.h"
#include "quant/affine.h"
#include "quant/grouped.h"
#include "quant/half.h"
#include "quant/hash_row.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

enum { ROWS = 24, COLS = 384 };

static const struct {
    uint32_t    bits, group;
    hone_dtype  dtype;
    const char *sha256;
} golden[] = {
#include "quant/affine_golden.inc"
};

static void encode_row(const hone_affine *a, const float *x, size_t n_cols, uint8_t *codes, uint8_t *scales, uint8_t *biases)
{
    hone_grouped g = { .scheme = HONE_SCHEME_MLX_AFFINE, .bits = a->bits, .group = a->group, .scale = a->dtype };
    hone_grouped_encode(&g, x, 1, n_cols, (uint8_t *const[HONE_STREAMS]){ codes, scales, biases });
}

static void bytes_are_those_of_mlx(void **state)
{
    (void)state;
    int bad = 0;
    for (size_t g = 0; g < HONE_COUNT(golden); g++) {
        hone_affine a = { golden[g].bits, golden[g].group, golden[g].dtype };
        size_t      n_code = hone_affine_code_bytes(&a, COLS), n_scale = hone_affine_scale_bytes(&a, COLS);
        uint8_t    *out = calloc(ROWS, n_code + 2 * n_scale), *scales = out + ROWS * n_code, *biases = scales + ROWS * n_scale;
        float       x[COLS];
        char        hex[65];
        assert_true(hone_affine_valid(&a));
        for (uint32_t r = 0; r < ROWS; r++) {
            hash_row(r, COLS, x);
            encode_row(&a, x, COLS, out + r * n_code, scales + r * n_scale, biases + r * n_scale);
        }
        assert_int_equal(hone_sha256((hone_bytes){ out, ROWS * (n_code + 2 * n_scale) }, hex, NULL), HONE_OK);
        if (strcmp(hex, golden[g].sha256) != 0) {
            printf("int%u group %u %s: %s\n", a.bits, a.group, hone_dtype_name(a.dtype), hex);
            bad++;
        }
        free(out);
    }
    assert_int_equal(bad, 0);
}

static void nothing_is_further_than_half_a_step_and_the_larger_end_is_exact(void **state)
{
    (void)state;
    static const uint32_t widths[] = { 2, 3, 4, 5, 6, 8 };
    for (size_t k = 0; k < HONE_COUNT(widths); k++)
        for (uint32_t r = 0; r < ROWS; r++) {
            hone_affine a = { widths[k], 64, HONE_DTYPE_F32 };
            uint8_t     codes[COLS], scales[COLS / 64 * 4], biases[COLS / 64 * 4];
            float       x[COLS], y[COLS];
            hash_row(r, COLS, x);
            encode_row(&a, x, COLS, codes, scales, biases);
            hone_affine_decode_row(&a, codes, scales, biases, y, COLS);
            for (size_t g = 0; g < COLS; g += 64) {
                float step = fabsf(hone_f32_of(hone_le32(scales + g / 64 * 4))), low = 0, high = 0;
                for (size_t i = g; i < g + 64; i++) {
                    low = fminf(low, x[i]);
                    high = fmaxf(high, x[i]);
                }
                for (size_t i = g; i < g + 64; i++) {
                    /* The step is stretched so that zero falls on a code: the far end may be out of reach by up to half a step more. */
                    if (fabsf(x[i] - y[i]) > step * 1.0001f + 1e-7f) fail_msg("int%u row %u column %zu: %g became %g, step %g", widths[k], r, i, (double)x[i], (double)y[i], (double)step);
                    if (x[i] == (-low > high ? low : high) && step > 1e-6f) assert_true(fabsf(x[i] - y[i]) <= 1e-6f * fabsf(x[i]));
                }
            }
        }
}

static void codes_are_one_bit_stream_from_the_lowest_bit(void **state)
{
    (void)state;
    /* Values 0..7 times 1: with the larger end at 7 the scale is -1 and the bias 7, so the codes run 7, 6 .. 0. */
    hone_affine a = { 3, 32, HONE_DTYPE_F32 };
    float       x[32];
    uint8_t     codes[12], scale[4], bias[4];
    for (int i = 0; i < 32; i++) x[i] = (float)(i % 8);
    encode_row(&a, x, 32, codes, scale, bias);
    assert_true(hone_f32_of(hone_le32(scale)) == -1.0f);
    assert_true(hone_f32_of(hone_le32(bias)) == 7.0f);
    static const uint8_t want[3] = { 0x77, 0x39, 0x05 }; /* 7 6 5 4 3 2 1 0 in threes: 0x053977 */
    for (int g = 0; g < 4; g++) assert_memory_equal(codes + 3 * g, want, 3);
}

static void other_widths_groups_and_types_are_not_valid(void **state)
{
    (void)state;
    assert_false(hone_affine_valid(&(hone_affine){ 7, 64, HONE_DTYPE_F32 }));
    assert_false(hone_affine_valid(&(hone_affine){ 0, 64, HONE_DTYPE_F32 }));
    assert_false(hone_affine_valid(&(hone_affine){ 4, 48, HONE_DTYPE_F32 }));
    assert_false(hone_affine_valid(&(hone_affine){ 4, 64, HONE_DTYPE_I8 }));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_those_of_mlx),
        cmocka_unit_test(nothing_is_further_than_half_a_step_and_the_larger_end_is_exact),
        cmocka_unit_test(codes_are_one_bit_stream_from_the_lowest_bit),
        cmocka_unit_test(other_widths_groups_and_types_are_not_valid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
