/* iq4_nl.c - 32 numbers, one scale, 4-bit indexes of uneven levels: x = d * V[q].  4.5 bits per weight.
 *
 *   0    2                      18
 *   +----+----------------------+
 *   | d  | 16 bytes of nibbles  |   d: binary16; byte j = q[j] | q[j+16] << 4; V: hone_iq4_values
 *   +----+----------------------+
 * Source: ggml src/ggml-quants.c quantize_iq4_nl, dequantize_row_iq4_nl. */
#include "quant/codec.h"
#include "quant/iq4.h"

typedef struct block {
    uint8_t d[2], qs[16];
} block;
_Static_assert(sizeof(block) == 18, "iq4_nl block");

static void encode(const float *x, void *out, size_t n_cols, const float *importance)
{
    block *restrict b = out;
    for (size_t i = 0; i < n_cols;) {
        float w[32 * HONE_BLOCKS32], d[HONE_BLOCKS32];
        int count = hone_block32_count(n_cols - i);
        for (int k = 0; k < count; k++) {
            const float *xk = x + 32 * k;
            hone_iq4_weigh(xk, importance ? importance + i + 32 * (size_t)k : NULL, hone_iq4_spread(32, xk), w + 32 * k);
        }
        hone_iq4_fits(count, x, w, d);
        for (int k = 0; k < count; k++, i += 32, b++, x += 32) {
            uint8_t level[32];
            float inverse = d[k] != 0 ? 1 / d[k] : 0;
            for (int j = 0; j < 32; j++) level[j] = hone_iq4_index(inverse * x[j]);
            hone_f16_store(b->d, d[k]);
            hone_block32_pack(level, b->qs);
        }
    }
}

static void decode(const void *in, float *x, size_t n_cols)
{
    const block *restrict b = in;
    for (size_t i = 0; i < n_cols; i += 32, b++, x += 32) {
        float d = hone_f16_load(b->d);
        for (int j = 0; j < 16; j++) {
            x[j] = d * (float)hone_iq4_values[b->qs[j] & 15];
            x[j + 16] = d * (float)hone_iq4_values[b->qs[j] >> 4];
        }
    }
}

static const hone_codec codecs[] = { { HONE_DTYPE_IQ4_NL, encode, decode, true, NULL } };
HONE_CODEC_FAMILY(iq4_nl, codecs);
