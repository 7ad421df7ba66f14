/* q2_0.c - 64 numbers, one scale, 2 bits each: x = d * (q - 1).  2.25 bits per weight.  Decode only.
 *
 *   0    2             18
 *   +----+-------------+
 *   | d  | 16 bytes    |   d: binary16; element j is at bit 2*(j%4) of byte j/4
 *   +----+-------------+
 * Source: ggml src/ggml-quants.c dequantize_row_q2_0. */
#include "quant/codec.h"
#include "quant/half.h"

typedef struct block {
    uint8_t d[2], qs[16];
} block;
_Static_assert(sizeof(block) == 18, "q2_0 block");

static void decode(const void *in, float *x, size_t n_cols)
{
    const block *restrict b = in;
    for (size_t i = 0; i < n_cols; i += 64, b++, x += 64) {
        float d = hone_f16_load(b->d);
        for (int j = 0; j < 64; j++) x[j] = (float)((b->qs[j / 4] >> (2 * (j % 4)) & 3) - 1) * d;
    }
}

static const hone_codec codecs[] = { { HONE_DTYPE_Q2_0, NULL, decode, false, NULL } };
HONE_CODEC_FAMILY(q2_0, codecs);
