/* q4_0.c - 32 numbers, one scale, 4 bits each: x = d * (q - 8).  4.5 bits per weight.
 *
 *   0    2                      18
 *   +----+----------------------+
 *   | d  | 16 bytes of nibbles  |   d: binary16; byte j = q[j] | q[j+16] << 4
 *   +----+----------------------+
 * Source: ggml src/ggml-quants.c quantize_row_q4_0_ref, quantize_row_q4_0_impl, dequantize_row_q4_0. */
#include "quant/block32.h"
#include "quant/codec.h"

typedef struct block {
    uint8_t d[2], qs[16];
} block;
_Static_assert(sizeof(block) == 18, "q4_0 block");

static void encode(const float *x, void *out, size_t n_cols, const float *importance)
{
    block *restrict b = out;
    float mean_square = importance ? hone_row_mean_square(x, n_cols) : 0;
    for (size_t i = 0; i < n_cols;) {
        uint8_t level[32 * HONE_BLOCKS32];
        float d[HONE_BLOCKS32];
        int count = hone_block32_count(n_cols - i);
        hone_block32_symmetric(8, count, x, importance ? importance + i : NULL, mean_square, level, d);
        for (int k = 0; k < count; k++, i += 32, b++, x += 32) {
            hone_f16_store(b->d, d[k]);
            hone_block32_pack(level + 32 * k, b->qs);
        }
    }
}

static void decode(const void *in, float *x, size_t n_cols)
{
    const block *restrict b = in;
    for (size_t i = 0; i < n_cols; i += 32, b++, x += 32) {
        float d = hone_f16_load(b->d);
        for (int j = 0; j < 16; j++) {
            x[j] = (float)((b->qs[j] & 15) - 8) * d;
            x[j + 16] = (float)((b->qs[j] >> 4) - 8) * d;
        }
    }
}

static const hone_codec codecs[] = { { HONE_DTYPE_Q4_0, encode, decode, true, NULL } };
HONE_CODEC_FAMILY(q4_0, codecs);
