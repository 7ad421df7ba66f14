/* q3_k.c - 256 numbers in 16 sub-blocks of 16, 3 bits each: x = d * (S - 32) * (q - 4).  3.4375 bits per weight.
 *
 *   0                     32                   96          108  110
 *   +---------------------+--------------------+-----------+----+
 *   | 32 bytes: third bit | 64 bytes, 4 q each | 16 x S(6) | d  |   d: binary16
 *   +---------------------+--------------------+-----------+----+
 * Third bits: bit g of byte l belongs to element 32*g + l.  Low bits: hone_super_pack2.
 * S: hone_scales3_pack.
 * Source: ggml src/ggml-quants.c quantize_row_q3_K_ref, make_q3_quants, quantize_row_q3_K_impl, dequantize_row_q3_K. */
#include "quant/codec.h"
#include "quant/superblock.h"

typedef struct block {
    uint8_t high[32], qs[64], scales[12], d[2];
} block;
_Static_assert(sizeof(block) == 110, "q3_k block");

/* x[i] ~ scale * (level[i] - 4), weights x^2: rounding to the peak's scale, then up to five sweeps that move one level at a
 * time towards the least squares fit.  Returns scale.  (make_q3_quants; a block of zeros gets level 0, not 4, as there) */
static float fit(const float *restrict x, uint8_t *restrict level)
{
    float peak = hone_peak(16, x);
    if (fabsf(peak) < HONE_FIT_EPS) {
        memset(level, 0, 16);
        return 0;
    }
    int32_t l[16];
    float w[16], wx[16], inverse = -4.0f / peak, sum_lx = 0, sum_l2 = 0;
    for (int i = 0; i < 16; i++) {
        l[i] = hone_clamp(hone_nearest(inverse * x[i]), -4, 3);
        w[i] = x[i] * x[i];
        wx[i] = w[i] * x[i];
        sum_lx += wx[i] * (float)l[i];
        sum_l2 += w[i] * (float)l[i] * (float)l[i];
    }
    for (int sweep = 0; sweep < 5; sweep++) {
        bool changed = false;
        for (int i = 0; i < 16; i++) {
            float lx = sum_lx - wx[i] * (float)l[i];
            if (!(lx > 0)) continue;
            float l2 = sum_l2 - w[i] * (float)l[i] * (float)l[i];
            int32_t moved = hone_clamp(hone_nearest(x[i] * l2 / lx), -4, 3);
            if (moved == l[i]) continue;
            lx += wx[i] * (float)moved;
            l2 += w[i] * (float)moved * (float)moved;
            if (l2 > 0 && lx * lx * sum_l2 > sum_lx * sum_lx * l2) {
                l[i] = moved;
                sum_lx = lx;
                sum_l2 = l2;
                changed = true;
            }
        }
        if (!changed) break;
    }
    for (int i = 0; i < 16; i++) level[i] = (uint8_t)(l[i] + 4);
    return sum_l2 > 0 ? sum_lx / sum_l2 : 0.0f;
}

static int scale_at(const uint8_t in[12], int j)
{
    int low = j < 8 ? in[j] & 15 : in[j - 8] >> 4;
    return (low | (in[8 + j % 4] >> (2 * (j / 4)) & 3) << 4) - 32;
}

static void encode(const float *x, void *out, size_t n_cols, const float *importance)
{
    block *restrict b = out;
    for (size_t i = 0; i < n_cols; i += HONE_SUPER, b++, x += HONE_SUPER) {
        uint8_t level[HONE_SUPER], s[16];
        float scale[16];
        if (importance) {
            float w[HONE_SUPER], sum_w[16], mean_square = 0;
            for (int l = 0; l < HONE_SUPER; l++) mean_square += x[l] * x[l];
            mean_square = 2 * mean_square / HONE_SUPER;
            hone_weigh(HONE_SUPER, x, importance + i, mean_square, w);
            for (int j = 0; j < 16; j++) {
                sum_w[j] = 0;
                for (int l = 0; l < 16; l++) sum_w[j] += w[16 * j + l];
            }
            hone_fits_symmetric(16, 4, 16, x, w, level, scale);
            float d;
            hone_fits_symmetric(16, 32, 1, scale, sum_w, s, &d);
            hone_f16_store(b->d, d);
            hone_scales3_pack(s, b->scales);
        } else {
            for (int j = 0; j < 16; j++) scale[j] = fit(x + 16 * j, level + 16 * j);
            float peak = hone_peak(16, scale), inverse = -32.0f / peak;
            memset(b->scales, 0, sizeof b->scales);
            if (peak != 0) {
                for (int j = 0; j < 16; j++)
                    s[j] = (uint8_t)(hone_clamp((int8_t)(uint8_t)hone_nearest(inverse * scale[j]), -32, 31) + 32);
                hone_scales3_pack(s, b->scales);
            }
            hone_f16_store(b->d, peak != 0 ? 1 / inverse : 0.0f);
        }
        float d = hone_f16_load(b->d);
        for (int j = 0; j < 16; j++)
            hone_super_levels(16, x + 16 * j, d * (float)scale_at(b->scales, j), 0, -4, 3, level + 16 * j);

        hone_super_pack_bit(level, 2, b->high);
        for (int l = 0; l < HONE_SUPER; l++) level[l] &= 3;
        hone_super_pack2(level, b->qs);
    }
}

static void decode(const void *in, float *x, size_t n_cols)
{
    const block *restrict b = in;
    for (size_t i = 0; i < n_cols; i += HONE_SUPER, b++) {
        float d = hone_f16_load(b->d);
        for (int j = 0; j < 16; j++) {
            const uint8_t *q = b->qs + 32 * (j / 8) + 16 * (j % 2), *high = b->high + 16 * (j % 2);
            int shift = 2 * (j % 8 / 2);
            float scale = d * (float)scale_at(b->scales, j);
            for (int l = 0; l < 16; l++) *x++ = scale * (float)((q[l] >> shift & 3) + 4 * (high[l] >> (j / 2) & 1) - 4);
        }
    }
}

static const hone_codec codecs[] = { { HONE_DTYPE_Q3_K, encode, decode, true, NULL } };
HONE_CODEC_FAMILY(q3_k, codecs);
