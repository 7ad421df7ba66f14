/* q2_k.c - 256 numbers in 16 sub-blocks of 16, 2 bits each: x = d * S * q - dmin * M.  2.625 bits per weight.
 *
 *   0                 16                   80   82     84
 *   +-----------------+--------------------+----+------+
 *   | 16 x (S | M<<4) | 64 bytes, 4 q each | d  | dmin |   d, dmin: binary16; S, M: 4 bits
 *   +-----------------+--------------------+----+------+   order of the q: hone_super_pack2
 * Source: ggml src/ggml-quants.c quantize_row_q2_K_ref, quantize_row_q2_K_impl, dequantize_row_q2_K. */
#include "quant/codec.h"
#include "quant/superblock.h"

typedef struct block {
    uint8_t scales[16], qs[64], d[2], dmin[2];
} block;
_Static_assert(sizeof(block) == 84, "q2_k block");

/* Scales and minimums by the largest one: without importance. */
static void scales_by_peak(const float *value, uint8_t out[16], uint8_t half[2])
{
    float max = 0;
    for (int j = 0; j < 16; j++)
        if (value[j] > max) max = value[j];
    float inverse = max > 0 ? 15.0f / max : 0.0f;
    for (int j = 0; j < 16; j++) out[j] = max > 0 ? (uint8_t)hone_nearest(inverse * value[j]) : 0;
    hone_f16_store(half, max > 0 ? max / 15.0f : 0.0f);
}

static void encode(const float *x, void *out, size_t n_cols, const float *importance)
{
    block *restrict b = out;
    for (size_t i = 0; i < n_cols; i += HONE_SUPER, b++, x += HONE_SUPER) {
        uint8_t level[HONE_SUPER], s[16], m[16];
        float sum_w[16], w[HONE_SUPER], mean_square = 0;
        hone_offset_fits fit;
        if (importance) {
            for (int l = 0; l < HONE_SUPER; l++) mean_square += x[l] * x[l];
            mean_square /= HONE_SUPER;
            hone_weigh(HONE_SUPER, x, importance + i, mean_square, w);
            for (int j = 0; j < 16; j++) {
                sum_w[j] = 0;
                for (int l = 0; l < 16; l++) sum_w[j] += w[16 * j + l];
            }
            hone_fits_offset(16, 3, 16, x, w, &fit, -0.9f, 0.05f, 36, false);
        } else {
            for (int l = 0; l < HONE_SUPER; l++) w[l] = fabsf(x[l]);
            hone_fits_offset(16, 3, 16, x, w, &fit, -0.5f, 0.1f, 15, true);
        }
        if (importance) {
            hone_f16_store(b->d, hone_fit_positive(16, 15, fit.scale, s, sum_w));
            hone_f16_store(b->dmin, hone_fit_positive(16, 15, fit.minus, m, sum_w));
        } else {
            scales_by_peak(fit.scale, s, b->d);
            scales_by_peak(fit.minus, m, b->dmin);
        }
        for (int j = 0; j < 16; j++) b->scales[j] = (uint8_t)(s[j] | m[j] << 4);
        float d = hone_f16_load(b->d), dmin = hone_f16_load(b->dmin);
        for (int j = 0; j < 16; j++) {
            float step = d * (float)(b->scales[j] & 15);
            if (step != 0) hone_super_levels(16, x + 16 * j, step, dmin * (float)(b->scales[j] >> 4), 0, 3, level + 16 * j);
            else hone_offset_levels(16, 3, &fit, j, x + 16 * j, level + 16 * j);
        }
        hone_super_pack2(level, b->qs);
    }
}

static void decode(const void *in, float *x, size_t n_cols)
{
    const block *restrict b = in;
    for (size_t i = 0; i < n_cols; i += HONE_SUPER, b++) {
        float d = hone_f16_load(b->d), dmin = hone_f16_load(b->dmin);
        for (int j = 0; j < 16; j++) {
            const uint8_t *q = b->qs + 32 * (j / 8) + 16 * (j % 2);
            int shift = 2 * (j % 8 / 2);
            float scale = d * (float)(b->scales[j] & 15), minus = dmin * (float)(b->scales[j] >> 4);
            for (int l = 0; l < 16; l++) *x++ = scale * (float)(q[l] >> shift & 3) - minus;
        }
    }
}

static const hone_codec codecs[] = { { HONE_DTYPE_Q2_K, encode, decode, true, NULL } };
HONE_CODEC_FAMILY(q2_k, codecs);
