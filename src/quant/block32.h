/* block32.h - what the five encodings of 32 numbers (q4_0 q4_1 q5_0 q5_1 q8_0) have in common.
 * Source: ggml src/ggml-quants.c quantize_row_q?_?_ref and quantize_row_q?_?_impl. */
#ifndef HONE_QUANT_BLOCK32_H
#define HONE_QUANT_BLOCK32_H
#include "quant/fits.h"

/* Nibbles: byte j holds element j in its low half, element j+16 in its high half. */
static inline void hone_block32_pack(const uint8_t *restrict level, uint8_t *restrict qs)
{
    for (int j = 0; j < 16; j++) qs[j] = (uint8_t)((level[j] & 15) | (level[j + 16] & 15) << 4);
}
/* The fifth bits: bit j of a little-endian word belongs to element j. */
static inline void hone_block32_pack_high(const uint8_t *restrict level, uint8_t *restrict qh)
{
    uint32_t bits = 0;
    for (int j = 0; j < 32; j++) bits |= (uint32_t)(level[j] >> 4 & 1) << j;
    hone_put_le32(qh, bits);
}

/* The weight of an element under an importance matrix: importance * sqrt(mean square + x^2), the mean over the whole row. */
static inline float hone_row_mean_square(const float *x, size_t n_cols)
{
    float sum = 0;
    for (size_t i = 0; i < n_cols; i++) sum += x[i] * x[i];
    return sum / (float)n_cols;
}
static inline void hone_weigh(int n, const float *restrict x, const float *restrict importance, float mean_square,
                              float *restrict w)
{
    for (int i = 0; i < n; i++) w[i] = importance[i] * sqrtf(mean_square + x[i] * x[i]);
}

/* Smallest and largest, of zeros the first; a block of NaN leaves FLT_MAX and -FLT_MAX, as in ggml. */
static inline void hone_block32_range(const float *x, float *lo, float *hi)
{
    hone_lanes least = hone_lanes_all(0x1.fffffep127f), most = -least;
    for (int j = 0; j < 32; j += HONE_LANES) {
        hone_lanes v = hone_lanes_load(x + j);
        hone_ilanes number = (hone_ilanes)(v == v);
        least = hone_lanes_min(hone_lanes_pick(number, v, least), least);
        most = hone_lanes_max(hone_lanes_pick(number, v, most), most);
    }
    *lo = least[0];
    *hi = most[0];
    for (int k = 1; k < HONE_LANES; k++) {
        if (least[k] < *lo) *lo = least[k];
        if (most[k] > *hi) *hi = most[k];
    }
    for (int j = 31; j >= 0 && (*lo == 0 || *hi == 0); j--) { /* -0 and 0 are equal, but not stored alike */
        if (*lo == 0 && x[j] == 0) *lo = x[j];
        if (*hi == 0 && x[j] == 0) *hi = x[j];
    }
}

/* level = floor(x * inverse + half), at most top.  The conversion to a signed byte first is ggml's: it shows on NaN only. */
HONE_FIT_INLINE void hone_block32_levels(const float *restrict x, float minus, float inverse, float half, int top,
                                         uint8_t *restrict level)
{
    for (int j = 0; j < 32; j++) {
        int32_t l = (int8_t)(uint8_t)hone_trunc((x[j] - minus) * inverse + half);
        level[j] = (uint8_t)(l < top ? l : top);
    }
}

/* How many of the blocks that are left are filled at once: a lane each. */
enum { HONE_BLOCKS32 = HONE_LANES > 4 ? HONE_LANES : 1 };
static inline int hone_block32_count(size_t n_left)
{
    return n_left / 32 < (size_t)HONE_BLOCKS32 ? (int)(n_left / 32) : HONE_BLOCKS32;
}

/* The two ways to fill some blocks in a row, each with and without importance (that of these numbers, or NULL).
 * Symmetric: x = d * (level - half), levels 0 .. 2 half - 1.  Offset: x = d * level + min, levels 0 .. top. */
HONE_FIT_INLINE void hone_block32_symmetric(int half, int count, const float *restrict x, const float *importance,
                                            float mean_square, uint8_t *restrict level, float *restrict d)
{
    if (importance) {
        float w[32 * HONE_BLOCKS32];
        hone_weigh(32 * count, x, importance, mean_square, w);
        hone_fits_symmetric(32, half, count, x, w, level, d);
        return;
    }
    for (int b = 0; b < count; b++) {
        d[b] = hone_peak(32, x + 32 * b) / (float)-half;
        hone_block32_levels(x + 32 * b, 0, d[b] != 0 ? 1.0f / d[b] : 0.0f, (float)half + 0.5f, 2 * half - 1, level + 32 * b);
    }
}
HONE_FIT_INLINE void hone_block32_offset(int top, int count, const float *restrict x, const float *importance,
                                         float mean_square, uint8_t *restrict level, float *restrict d, float *restrict min)
{
    if (importance) {
        float w[32 * HONE_BLOCKS32];
        hone_weigh(32 * count, x, importance, mean_square, w);
        hone_offset_fits fit;
        hone_fits_offset(32, top, count, x, w, &fit, -0.9f, 0.05f, 36, false);
        for (int b = 0; b < count; b++) {
            d[b] = fit.scale[b];
            min[b] = -fit.minus[b];
            hone_offset_levels(32, top, &fit, b, x + 32 * b, level + 32 * b);
        }
        return;
    }
    for (int b = 0; b < count; b++) {
        float max;
        hone_block32_range(x + 32 * b, &min[b], &max);
        d[b] = (max - min[b]) / (float)top;
        hone_block32_levels(x + 32 * b, min[b], d[b] != 0 ? 1.0f / d[b] : 0.0f, 0.5f, top, level + 32 * b);
    }
}
#endif
