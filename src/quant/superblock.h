/* superblock.h - what the encodings of 256 numbers (q2_k ... q6_k) have in common: eight or sixteen sub-blocks whose own
 * scales are small integers times one binary16 scale.
 * Source: ggml src/ggml-quants.c quantize_row_q?_K_ref and quantize_row_q?_K_impl. */
#ifndef HONE_QUANT_SUPERBLOCK_H
#define HONE_QUANT_SUPERBLOCK_H
#include "quant/block32.h"

enum { HONE_SUPER = 256 };

/* Two bits each: byte 32*h + l holds elements 128*h + l, + l+32, + l+64, + l+96 from its low bits up (levels 0..3). */
static inline void hone_super_pack2(const uint8_t *restrict level, uint8_t *restrict qs)
{
    for (int h = 0; h < 2; h++)
        for (int l = 0; l < 32; l++) {
            const uint8_t *from = level + 128 * h + l;
            qs[32 * h + l] = (uint8_t)(from[0] | from[32] << 2 | from[64] << 4 | from[96] << 6);
        }
}

/* Four bits each: byte 32*g + l holds elements 64*g + l (low half) and 64*g + l + 32; bits above the fourth are dropped. */
static inline void hone_super_pack4(const uint8_t *restrict level, uint8_t *restrict qs)
{
    for (int g = 0; g < 4; g++)
        for (int l = 0; l < 32; l++) {
            const uint8_t *from = level + 64 * g + l;
            qs[32 * g + l] = (uint8_t)((from[0] & 15) | (from[32] & 15) << 4);
        }
}

/* Fifth bits of q5_k, third bits of q3_k: bit g of byte l belongs to element 32*g + l; `bit` is its place in the level. */
static inline void hone_super_pack_bit(const uint8_t *restrict level, int bit, uint8_t *restrict high)
{
    memset(high, 0, 32);
    for (int g = 0; g < 8; g++)
        for (int l = 0; l < 32; l++) high[l] = (uint8_t)(high[l] | (level[32 * g + l] >> bit & 1) << g);
}

/* Six bits each, for q6_k: low four, high two.  In each half of 128 elements low byte l holds elements l | l+64 << 4, low byte l+32
 * holds l+32 | l+96 << 4, high byte l holds l, l+32, l+64, l+96 from its low bits up (l < 32). */
static inline void hone_super_pack6(const uint8_t *restrict level, uint8_t *restrict low, uint8_t *restrict high)
{
    for (int h = 0; h < 2; h++)
        for (int l = 0; l < 32; l++) {
            const uint8_t *q = level + 128 * h + l;
            low[64 * h + l] = (uint8_t)((q[0] & 15) | (q[64] & 15) << 4);
            low[64 * h + l + 32] = (uint8_t)((q[32] & 15) | (q[96] & 15) << 4);
            high[32 * h + l] = (uint8_t)(q[0] >> 4 | (q[32] >> 4) << 2 | (q[64] >> 4) << 4 | (q[96] >> 4) << 6);
        }
}

/* Sixteen 6-bit scales of q3_k in twelve bytes: byte j of the twelve holds the low 4 bits of S[j] and of S[j+8] above them (j < 8);
 * byte 8 + j%4 holds bits 4-5 of S[j] at bit 2*(j/4). */
static inline void hone_scales3_pack(const uint8_t s[16], uint8_t out[12])
{
    memset(out, 0, 12);
    for (int j = 0; j < 8; j++) out[j] = (uint8_t)((s[j] & 15) | (s[j + 8] & 15) << 4);
    for (int j = 0; j < 16; j++) out[8 + j % 4] = (uint8_t)(out[8 + j % 4] | (s[j] >> 4) << (2 * (j / 4)));
}

/* Eight 6-bit scales S and eight 6-bit minimums M in twelve bytes:
 *   byte 0..3    S[j]   bits 0-5, S[j+4] bits 4-5 on top
 *   byte 4..7    M[j]   bits 0-5, M[j+4] bits 4-5 on top
 *   byte 8..11   S[j+4] bits 0-3, M[j+4] bits 0-3 on top
 * Values above 63 do not occur; if one did, its upper bits would land where ggml puts them. */
static inline void hone_scales6_pack(const uint8_t *restrict s, const uint8_t *restrict m, uint8_t *restrict out)
{
    for (int j = 0; j < 4; j++) {
        out[j] = (uint8_t)(s[j] | (s[j + 4] >> 4) << 6);
        out[j + 4] = (uint8_t)(m[j] | (m[j + 4] >> 4) << 6);
        out[j + 8] = (uint8_t)((s[j + 4] & 15) | (m[j + 4] & 15) << 4);
    }
}
static inline void hone_scales6_unpack(const uint8_t *restrict in, uint8_t *restrict s, uint8_t *restrict m)
{
    for (int j = 0; j < 4; j++) {
        s[j] = in[j] & 63;
        m[j] = in[j + 4] & 63;
        s[j + 4] = (uint8_t)((in[j + 8] & 15) | (in[j] >> 6) << 4);
        m[j + 4] = (uint8_t)(in[j + 8] >> 4 | (in[j + 4] >> 6) << 4);
    }
}

/* The levels once the scale as stored, d, is known: nearest of (x + m) / d.  d == 0: the levels stay those of the search. */
HONE_FIT_INLINE void hone_super_levels(int n, const float *restrict x, float d, float m, int lo, int hi,
                                       uint8_t *restrict level)
{
    if (d != 0) hone_levels(n, x, m, d, true, lo, hi, level);
}

/* The search that q4_k and q5_k share: 8 sub-blocks of 32, x = d*S[j]*q - dmin*M[j], q in 0..nmax.  As many blocks at once as
 * fill the lanes; their sub-blocks follow one another. */
enum { HONE_SUPERS = HONE_LANES > 4 ? HONE_LANES / 4 : 1 }; /* two vectors: quant/fits.h */
typedef struct hone_super_fit {
    int              supers;  /* 1..HONE_SUPERS */
    bool             weighed; /* by importance */
    float            sum_w[8 * HONE_SUPERS];
    hone_offset_fits sub;
} hone_super_fit;
_Static_assert(8 * HONE_SUPERS <= HONE_FIT_MAX, "sub-blocks that are fitted at once");

/* Fits the first of the n_left numbers at x.  first, delta, n_steps: of hone_fit_offset, without importance (with it they are
 * the same for both). */
HONE_FIT_INLINE void hone_super_offset_search(size_t n_left, const float *restrict x, const float *restrict importance, int nmax,
                                              float first, float delta, int n_steps, hone_super_fit *restrict fit)
{
    float w[HONE_SUPER * HONE_SUPERS];
    int supers = n_left / HONE_SUPER < (size_t)HONE_SUPERS ? (int)(n_left / HONE_SUPER) : HONE_SUPERS;
    fit->supers = supers;
    fit->weighed = importance;
    for (int p = 0; p < supers && importance; p++) {
        float mean_square = 0;
        for (int l = 0; l < HONE_SUPER; l++) mean_square += x[HONE_SUPER * p + l] * x[HONE_SUPER * p + l];
        mean_square = 2 * mean_square / HONE_SUPER;
        hone_weigh(HONE_SUPER, x + HONE_SUPER * p, importance + HONE_SUPER * p, mean_square, w + HONE_SUPER * p);
    }
    for (int j = 0; j < 8 * supers && importance; j++) {
        fit->sum_w[j] = 0;
        for (int l = 0; l < 32; l++) fit->sum_w[j] += w[32 * j + l];
    }
    if (importance) hone_fits_offset(32, nmax, 8 * supers, x, w, &fit->sub, -0.9f, 0.05f, 36, false);
    else hone_fits_offset(32, nmax, 8 * supers, x, NULL, &fit->sub, first, delta, n_steps, false);
}

/* Scales and final levels of block p of a fit; x: that block's. */
HONE_FIT_INLINE void hone_super_offset_encode(const hone_super_fit *restrict fit, int p, const float *restrict x, int nmax,
                                              uint8_t *restrict d, uint8_t *restrict dmin, uint8_t *restrict scales, uint8_t *restrict level)
{
    const float *sub_scale = fit->sub.scale + 8 * p, *sub_minus = fit->sub.minus + 8 * p;
    uint8_t s[8], m[8];
    if (fit->weighed) {
        hone_f16_store(d, hone_fit_positive(8, 63, sub_scale, s, fit->sum_w + 8 * p));
        hone_f16_store(dmin, hone_fit_positive(8, 63, sub_minus, m, fit->sum_w + 8 * p));
    } else {
        float max_scale = 0, max_minus = 0;
        for (int j = 0; j < 8; j++) {
            if (sub_scale[j] > max_scale) max_scale = sub_scale[j];
            if (sub_minus[j] > max_minus) max_minus = sub_minus[j];
        }
        float inverse_scale = max_scale > 0 ? 63 / max_scale : 0, inverse_minus = max_minus > 0 ? 63 / max_minus : 0;
        for (int j = 0; j < 8; j++) {
            s[j] = (uint8_t)hone_nearest(inverse_scale * sub_scale[j]);
            m[j] = (uint8_t)hone_nearest(inverse_minus * sub_minus[j]);
            if (s[j] > 63) s[j] = 63;
            if (m[j] > 63) m[j] = 63;
        }
        hone_f16_store(d, max_scale / 63);
        hone_f16_store(dmin, max_minus / 63);
    }
    /* With importance ggml clamps to 63 for q5_K only; hone_fit_positive never exceeds it for the scales that
     * hone_fit_offset returns, but a wrapped negative would, and must be packed as there. */
    for (int j = 0; j < 8 && fit->weighed && nmax == 31; j++) {
        if (s[j] > 63) s[j] = 63;
        if (m[j] > 63) m[j] = 63;
    }
    hone_scales6_pack(s, m, scales);
    hone_scales6_unpack(scales, s, m);
    float scale = hone_f16_load(d), minus = hone_f16_load(dmin);
    for (int j = 0; j < 8; j++) {
        float step = scale * (float)s[j];
        if (step != 0) hone_super_levels(32, x + 32 * j, step, minus * (float)m[j], 0, nmax, level + 32 * j);
        else hone_offset_levels(32, nmax, &fit->sub, 8 * p + j, x + 32 * j, level + 32 * j);
    }
}
#endif
