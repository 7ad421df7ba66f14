/* q6_k.c - 256 numbers in 16 sub-blocks of 16, 6 bits each: x = d * S * (q - 32).  6.5625 bits per weight.
 *
 *   0                       128                     192          208  210
 *   +-----------------------+-----------------------+------------+----+
 *   | 128 bytes, low 4 bits | 64 bytes, high 2 bits | 16 x S(i8) | d  |   d: binary16
 *   +-----------------------+-----------------------+------------+----+
 * Order of the bits: hone_super_pack6.
 * Source: ggml src/ggml-quants.c quantize_row_q6_K_ref, quantize_row_q6_K_impl, dequantize_row_q6_K. */
#include "quant/codec.h"
#include "quant/superblock.h"

typedef struct block {
    uint8_t low[128], high[64], scales[16], d[2];
} block;
_Static_assert(sizeof(block) == 210, "q6_k block");

static void encode(const float *x, void *out, size_t n_cols, const float *importance)
{
    block *restrict b = out;
    for (size_t i = 0; i < n_cols; i += HONE_SUPER, b++, x += HONE_SUPER) {
        uint8_t level[HONE_SUPER];
        float scale[16];
        if (importance) hone_fits_symmetric(16, 32, 16, x, importance + i, level, scale);
        else hone_fits_symmetric(16, 32, 16, x, NULL, level, scale);
        float peak = hone_peak(16, scale);
        if (fabsf(peak) < HONE_FIT_EPS) {
            memset(b, 0, sizeof *b);
            continue;
        }
        float inverse = -128.0f / peak;
        hone_f16_store(b->d, 1 / inverse);
        float d = hone_f16_load(b->d);
        for (int j = 0; j < 16; j++) {
            int32_t s = hone_nearest(inverse * scale[j]);
            b->scales[j] = (uint8_t)(s < 127 ? s : 127);
            hone_super_levels(16, x + 16 * j, d * (float)(int8_t)b->scales[j], 0, -32, 31, level + 16 * j);
        }
        hone_super_pack6(level, b->low, b->high);
    }
}

static void decode(const void *in, float *x, size_t n_cols)
{
    const block *restrict b = in;
    for (size_t i = 0; i < n_cols; i += HONE_SUPER, b++) {
        float d = hone_f16_load(b->d);
        for (int j = 0; j < 16; j++) {
            int h = j / 8, quarter = j % 8 / 2, at = 16 * (j % 2);
            const uint8_t *low = b->low + 64 * h + 32 * (quarter % 2) + at, *high = b->high + 32 * h + at;
            float scale = d * (float)(int8_t)b->scales[j];
            for (int l = 0; l < 16; l++) {
                int q = (low[l] >> (4 * (quarter / 2)) & 15) | (high[l] >> (2 * quarter) & 3) << 4;
                *x++ = scale * (float)(q - 32);
            }
        }
    }
}

static const hone_codec codecs[] = { { HONE_DTYPE_Q6_K, encode, decode, true, NULL } };
HONE_CODEC_FAMILY(q6_k, codecs);
