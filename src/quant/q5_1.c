/* q5_1.c - 32 numbers, a scale and a minimum, 5 bits each: x = d * q + m.  6 bits per weight.
 *
 *   0    2    4         8                      24
 *   +----+----+---------+----------------------+
 *   | d  | m  | qh: u32 | 16 bytes of nibbles  |   d, m: binary16; bit j of qh is the fifth bit of q[j]
 *   +----+----+---------+----------------------+   byte j = low halves of q[j] | q[j+16] << 4
 * Source: ggml src/ggml-quants.c quantize_row_q5_1_ref, quantize_row_q5_1_impl, dequantize_row_q5_1. */
#include "quant/block32.h"
#include "quant/codec.h"

typedef struct block {
    uint8_t d[2], m[2], qh[4], qs[16];
} block;
_Static_assert(sizeof(block) == 24, "q5_1 block");

static void encode(const float *x, void *out, size_t n_cols, const float *importance)
{
    block *restrict b = out;
    float mean_square = importance ? hone_row_mean_square(x, n_cols) : 0;
    for (size_t i = 0; i < n_cols;) {
        uint8_t level[32 * HONE_BLOCKS32];
        float d[HONE_BLOCKS32], min[HONE_BLOCKS32];
        int count = hone_block32_count(n_cols - i);
        hone_block32_offset(31, count, x, importance ? importance + i : NULL, mean_square, level, d, min);
        for (int k = 0; k < count; k++, i += 32, b++, x += 32) {
            hone_f16_store(b->d, d[k]);
            hone_f16_store(b->m, min[k]);
            hone_block32_pack(level + 32 * k, b->qs);
            hone_block32_pack_high(level + 32 * k, b->qh);
        }
    }
}

static void decode(const void *in, float *x, size_t n_cols)
{
    const block *restrict b = in;
    for (size_t i = 0; i < n_cols; i += 32, b++, x += 32) {
        float d = hone_f16_load(b->d), m = hone_f16_load(b->m);
        uint32_t high = hone_le32(b->qh);
        for (int j = 0; j < 16; j++) {
            x[j] = (float)((b->qs[j] & 15) | (high >> j & 1) << 4) * d + m;
            x[j + 16] = (float)((b->qs[j] >> 4) | (high >> (j + 16) & 1) << 4) * d + m;
        }
    }
}

static const hone_codec codecs[] = { { HONE_DTYPE_Q5_1, encode, decode, true, NULL } };
HONE_CODEC_FAMILY(q5_1, codecs);
