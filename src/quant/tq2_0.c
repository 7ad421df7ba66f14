/* tq2_0.c - 256 numbers of {-d, 0, d}, 2 bits each.  2.0625 bits per weight.  Decode only.
 *
 *   0                    64   66
 *   +--------------------+----+
 *   | 64 bytes, 4 q each | d  |   d: binary16; byte 32*h + l holds elements 128*h + l, + l+32, + l+64, + l+96
 *   +--------------------+----+
 * Source: ggml src/ggml-quants.c dequantize_row_tq2_0. */
#include "quant/codec.h"
#include "quant/half.h"

typedef struct block {
    uint8_t qs[64], d[2];
} block;
_Static_assert(sizeof(block) == 66, "tq2_0 block");

static void decode(const void *in, float *x, size_t n_cols)
{
    const block *restrict b = in;
    for (size_t i = 0; i < n_cols; i += 256, b++) {
        float d = hone_f16_load(b->d);
        for (int j = 0; j < 8; j++)
            for (int l = 0; l < 32; l++) *x++ = (float)((b->qs[32 * (j / 4) + l] >> (2 * (j % 4)) & 3) - 1) * d;
    }
}

static const hone_codec codecs[] = { { HONE_DTYPE_TQ2_0, NULL, decode, false, NULL } };
HONE_CODEC_FAMILY(tq2_0, codecs);
