/* mlx_float.c - MLX's codes that are small floats: mxfp4, nvfp4, mxfp8.
 * Source: mlx 0.32.4, mlx/ops.cpp, fp_quantize() and fp_dequantize() as they run on the CPU: arithmetic in the type of the weights,
 * one rounding after each step; mlx/backend/cpu/unary_ops.h, ToFP8 and FromFP8 (E4M3, saturating). */
#include "quant/grouped/scheme.h"
#include <float.h>

enum { GROUP_MAX = 32 };

/* float -> E4M3, to nearest even; beyond 448 (and half a step) it is 448. */
static uint8_t e4m3_of(float v)
{
    uint32_t w = hone_f32_bits(v), sign = w >> 24 & 0x80u, a = w & 0x7fffffffu;
    uint32_t small = hone_f32_bits(hone_f32_of(a) + 16384.0f) - 0x46800000u; /* an ulp of 2^-9, the smallest subnormal: the adder rounds */
    uint32_t usual = (a - 0x3c000000u + 0x7ffffu + (a >> 20 & 1u)) >> 20;
    uint32_t code = a < 0x3c800000u ? small : usual;                       /* 2^-6, the smallest normal */
    return (uint8_t)(sign | (a >= 543u << 21 ? 0x7eu : code & 0xffu));
}

static float e4m3_value(uint8_t c)
{
    uint32_t e = c >> 3 & 15u, m = c & 7u;
    float    a = (c & 0x7f) == 0x7f ? 480.0f : e ? hone_f32_of((e + 120u) << 23 | m << 20) : (float)m * 0x1p-9f; /* mlx has no NaN here */
    return c & 0x80 ? -a : a;
}

/* E2M1, to nearest, ties to the smaller magnitude; what rounds to zero has no sign. */
static uint8_t e2m1_of(float v)
{
    float   a = fabsf(v);
    uint8_t code = (uint8_t)((a > 0.25f) + (a > 0.75f) + (a > 1.25f) + (a > 1.75f) + (a > 2.5f) + (a > 3.5f) + (a > 5.0f));
    return (uint8_t)(code | (v < 0 && code ? 8 : 0));
}

static float power_of_two(int e) { return e < -126 ? hone_f32_of(0x00400000u) : e > 127 ? INFINITY : hone_f32_of((uint32_t)(e + 127) << 23); }

/* The scale's byte, and the number that the codes are divided by. */
static uint8_t scale_of(const hone_grouped *g, float peak, float *divisor)
{
    float s = hone_scale_seen(g->scale, peak / (g->bits == 4 ? 6.0f : 448.0f));
    if (g->scheme == HONE_SCHEME_MLX_NVFP4) {
        uint8_t code = e4m3_of(s);
        *divisor = e4m3_value(code);
        return code;
    }
    /* The next power of two that is not below s: nothing is cut off. */
    uint32_t bits = hone_f32_bits(s == 0 ? 1.0f : s), e = (bits >> 23) + ((bits & 0x7fffffu) != 0);
    *divisor = power_of_two((int)e - 127);
    return (uint8_t)e;
}

void HONE_LANED(hone_mlx_float_encode)(const hone_grouped *g, const float *x, uint64_t r, uint64_t n_cols, uint8_t *const out[HONE_STREAMS])
{
    uint64_t groups = n_cols / g->group;
    float    seen[GROUP_MAX], part[GROUP_MAX], lo, hi, divisor;
    uint8_t  q[GROUP_MAX];
    for (uint64_t k = 0; k < groups; k++) {
        size_t n = g->group;
        hone_scale_round(g->scale, x + k * n, seen, n);
        hone_range(seen, n, &lo, &hi);
        out[HONE_STREAM_SCALES][r * groups + k] = scale_of(g, fmaxf(fabsf(lo), fabsf(hi)), &divisor);
        /* nvfp4's scale can be 0: mlx divides, and takes the first of 16 equally far values for infinity and NaN. */
        for (size_t i = 0; i < n; i++) part[i] = divisor != 0 ? seen[i] / divisor : 0;
        for (size_t i = 0; i < n && divisor > FLT_MAX; i++) part[i] = hone_one_nan(part[i]); /* infinity among the numbers makes it infinite */
        hone_scale_round(g->scale, part, seen, n);
        if (g->bits == 4)
            for (size_t i = 0; i < n; i++) q[i] = e2m1_of(seen[i]);
        else
            for (size_t i = 0; i < n; i++) q[i] = e4m3_of(seen[i]);
        hone_codes_put(out[HONE_STREAM_CODES], r * n_cols + k * n, q, n, g->bits);
    }
}

void HONE_LANED(hone_mlx_float_decode)(const hone_grouped *g, const uint8_t *const in[HONE_STREAMS], uint64_t r, uint64_t n_cols, float *x)
{
    static const float e2m1[16] = { 0, 0.5f, 1, 1.5f, 2, 3, 4, 6, -0.0f, -0.5f, -1, -1.5f, -2, -3, -4, -6 };
    for (uint64_t i = 0; i < n_cols; i++) {
        uint8_t  scale = in[HONE_STREAM_SCALES][r * (n_cols / g->group) + i / g->group];
        uint32_t code = hone_code_get(in[HONE_STREAM_CODES], r * n_cols + i, g->bits);
        float    s = g->scheme == HONE_SCHEME_MLX_NVFP4 ? e4m3_value(scale) : power_of_two((int)scale - 127);
        x[i] = (g->bits == 4 ? e2m1[code] : e4m3_value((uint8_t)code)) * s;
    }
}
