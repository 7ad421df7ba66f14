/* scheme.h - what the schemes of grouped.c share: scales as bytes, codes packed at any place.  Knows no tensor name, no file. */
#ifndef HONE_QUANT_GROUPED_SCHEME_H
#define HONE_QUANT_GROUPED_SCHEME_H
#include "quant/affine.h"
#include "quant/grouped.h"
#include "quant/lanes.h"

/* The files that encode rows are compiled for 4, 8 and 16 lanes, as the codecs of wide.def are; the plain names are those of 4. */
#if !defined(HONE_LANES_WIDTH) || HONE_LANES_WIDTH == 4
#define HONE_LANED(name) name
#elif HONE_LANES_WIDTH == 8
#define HONE_LANED(name) name##_x8
#else
#define HONE_LANED(name) name##_x16
#endif

/* Scale i of a stream, little-endian. */
static inline void hone_scale_store(hone_dtype t, uint8_t *to, uint64_t i, float v)
{
    if (t == HONE_DTYPE_F32) hone_put_le32(to + 4 * i, hone_f32_bits(v));
    else hone_put_le16(to + 2 * i, t == HONE_DTYPE_F16 ? hone_f16_from_f32(v) : hone_bf16_from_f32(v));
}
/* n of them, the first of them scale i. */
static inline void hone_scales_store(hone_dtype t, uint8_t *to, uint64_t i, const float *restrict v, size_t n)
{
    to += i * (t == HONE_DTYPE_F32 ? 4 : 2);
    if (t == HONE_DTYPE_F32)
        for (size_t k = 0; k < n; k++) hone_put_le32(to + 4 * k, hone_f32_bits(v[k]));
    else if (t == HONE_DTYPE_F16)
        for (size_t k = 0; k < n; k++) hone_put_le16(to + 2 * k, hone_f16_from_f32(v[k]));
    else
        for (size_t k = 0; k < n; k++) hone_put_le16(to + 2 * k, hone_bf16_from_f32(v[k]));
}
static inline float hone_scale_load(hone_dtype t, const uint8_t *from, uint64_t i)
{
    if (t == HONE_DTYPE_F32) return hone_f32_of(hone_le32(from + 4 * i));
    return t == HONE_DTYPE_F16 ? hone_f32_from_f16(hone_le16(from + 2 * i)) : hone_f32_from_bf16(hone_le16(from + 2 * i));
}
/* hone_f32_from_f16(hone_f16_from_f32(v)) in fewer steps, for numbers (no NaN). */
static inline float hone_seen_f16(float v)
{
    uint32_t w = hone_f32_bits(v), sign = w & 0x80000000u, a = w ^ sign;
    uint32_t usual = (a + 0xfffu + (a >> 13 & 1u)) & ~0x1fffu, small = hone_f32_bits((hone_f32_of(a) + 0.5f) - 0.5f);
    uint32_t r = (int32_t)a < 0x38800000 ? small : usual; /* 2^-14, the smallest normal */
    return hone_f32_of(sign | ((int32_t)a >= 0x477ff000 ? 0x7f800000u : r)); /* 65520 and above: infinity */
}
/* The same of bfloat16. */
static inline float hone_seen_bf16(float v)
{
    uint32_t w = hone_f32_bits(v);
    return hone_f32_of((w + 0x7fffu + (w >> 16 & 1u)) & 0xffff0000u);
}
/* The number that is left of v in type t. */
static inline float hone_scale_seen(hone_dtype t, float v)
{
    if (t == HONE_DTYPE_F32) return v;
    return t == HONE_DTYPE_F16 ? hone_seen_f16(v) : hone_f32_from_bf16(hone_bf16_from_f32(v));
}
static inline void hone_scale_round(hone_dtype t, const float *restrict x, float *restrict out, size_t n)
{
    if (t == HONE_DTYPE_BF16)
        for (size_t i = 0; i < n; i++) out[i] = hone_seen_bf16(x[i]);
    else if (t == HONE_DTYPE_F16)
        for (size_t i = 0; i < n; i++) out[i] = hone_seen_f16(x[i]);
    else memcpy(out, x, n * sizeof *out);
}

/* Codes of 4 or 8 bits go to place `at` (in codes) and the following ones.  Writing goes upwards: the first code of a byte clears the rest. */
static inline void hone_codes_put(uint8_t *restrict out, uint64_t at, const uint8_t *restrict q, size_t n, uint32_t bits)
{
    if (bits == 8) {
        memcpy(out + at, q, n);
        return;
    }
    size_t i = 0;
    if (n && at % 2) out[at / 2] = (uint8_t)((out[at / 2] & 15) | (q[i++] & 15) << 4);
    uint8_t *restrict to = out + (at + i) / 2;
    size_t pairs = (n - i) / 2;
    for (size_t k = 0; k < pairs; k++) to[k] = (uint8_t)((q[i + 2 * k] & 15) | (q[i + 2 * k + 1] & 15) << 4);
    if ((n - i) % 2) to[pairs] = q[n - 1] & 15;
}
/* The codes of n vectors, 1, 2 or 4, are the i-th and the following ones of those that begin at `to`, at a whole byte. */
HONE_FIT_INLINE void hone_codes_put_lanes(uint8_t *to, size_t i, int n, const hone_ilanes *v, uint32_t bits)
{
    if (bits == 4) hone_ilanes_nibbles(n, v, to + i / 2);
    else hone_ilanes_bytes(n, v, to + i);
}
/* The same of four vectors of any integers, clamped to 0..top, each then xor flip. */
HONE_FIT_INLINE void hone_codes_put_clamped(uint8_t *to, size_t i, const hone_ilanes *v, uint8_t top, uint8_t flip, uint32_t bits)
{
    if (bits == 4) hone_ilanes_clamped_nibbles(v, top, flip, to + i / 2);
    else hone_ilanes_clamped_bytes(v, top, flip, to + i);
}
/* code = rint(clamp((x - minus) / scale + plus, lo, hi)) of n vectors, 1, 2 or 4; lo and hi are whole numbers, so that clamping first
 * changes nothing. */
HONE_FIT_INLINE void hone_quotients(int n, const float *restrict x, float minus, float scale, float plus, float lo, float hi, hone_ilanes *restrict code)
{
    for (int k = 0; k < n; k++) {
        hone_lanes v = (hone_lanes_load(x + k * HONE_LANES) - minus) / scale + plus;
        code[k] = hone_lanes_whole(hone_lanes_min(hone_lanes_max(v, hone_lanes_all(lo)), hone_lanes_all(hi)));
    }
}

static inline uint32_t hone_code_get(const uint8_t *in, uint64_t at, uint32_t bits)
{
    return bits == 8 ? in[at] : (uint32_t)in[at / 2] >> (at % 2 * 4) & 15u;
}

/* Smallest and largest of n numbers, n > 0; of zeros of two signs any.  NaN does not count; where there is nothing else, lo is above hi. */
static inline void hone_range(const float *x, size_t n, float *lo, float *hi)
{
    hone_lanes low = hone_lanes_all(INFINITY), high = hone_lanes_all(-INFINITY);
    size_t     i = 0;
    for (; i + HONE_LANES <= n; i += HONE_LANES) {
        hone_lanes v = hone_lanes_load(x + i);
        low = hone_lanes_min(v, low);
        high = hone_lanes_max(v, high);
    }
    *lo = hone_lanes_least(low);
    *hi = hone_lanes_most(high);
    for (; i < n; i++) {
        *lo = x[i] < *lo ? x[i] : *lo;
        *hi = x[i] > *hi ? x[i] : *hi;
    }
}

/* The same of `groups` groups of n numbers, 1..HONE_LANES of them, one after another: lane k is group k's; the lanes beyond are any numbers.
 * bits, if not NULL: all their bits ored together; then n is a multiple of HONE_LANES. */
HONE_FIT_INLINE void hone_ranges(const float *x, size_t n, size_t groups, hone_lanes *lo, hone_lanes *hi, hone_ilanes *bits)
{
    hone_lanes  low[HONE_LANES], high[HONE_LANES];
    hone_ilanes all = { 0 };
    if (groups < HONE_LANES || n % HONE_LANES) {
        float l[HONE_LANES] = { 0 }, h[HONE_LANES] = { 0 };
        for (size_t k = 0; k < groups; k++) hone_range(x + k * n, n, &l[k], &h[k]);
        for (size_t i = 0; bits && i < groups * n; i += HONE_LANES) all |= (hone_ilanes)hone_lanes_load(x + i);
        *lo = hone_lanes_load(l);
        *hi = hone_lanes_load(h);
        if (bits) *bits = all;
        return;
    }
    for (size_t k = 0; k < HONE_LANES; k++, x += n) {
        low[k] = hone_lanes_all(INFINITY);
        high[k] = hone_lanes_all(-INFINITY);
        for (size_t i = 0; i < n; i += HONE_LANES) {
            hone_lanes v = hone_lanes_load(x + i);
            low[k] = hone_lanes_min(v, low[k]);
            high[k] = hone_lanes_max(v, high[k]);
            if (bits) all |= (hone_ilanes)v;
        }
    }
    *lo = hone_lanes_leasts(low);
    *hi = hone_lanes_mosts(high);
    if (bits) *bits = all;
}

/* One row, number r of a run: out and in are where the run begins in each stream. */
typedef void hone_encode_grouped_row(const hone_grouped *g, const float *x, uint64_t r, uint64_t n_cols, uint8_t *const out[HONE_STREAMS]);
typedef void hone_decode_grouped_row(const hone_grouped *g, const uint8_t *const in[HONE_STREAMS], uint64_t r, uint64_t n_cols, float *x);
typedef struct hone_grouped_rows { hone_encode_grouped_row *affine, *nbits, *nncf, *mlx_float; hone_decode_grouped_row *mlx_float_decode; } hone_grouped_rows;
extern const hone_grouped_rows hone_grouped_rows_plain, hone_grouped_rows_plain_x8, hone_grouped_rows_plain_x16;

hone_encode_grouped_row HONE_LANED(hone_affine_encode), HONE_LANED(hone_nbits_encode), HONE_LANED(hone_nncf_encode), HONE_LANED(hone_mlx_float_encode);
hone_decode_grouped_row HONE_LANED(hone_mlx_float_decode);
#endif
