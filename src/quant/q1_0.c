/* q1_0.c - 128 signs and one scale: x = d or -d.  1.125 bits per weight.  Decode only.
 *
 *   0    2             18
 *   +----+-------------+
 *   | d  | 16 bytes    |   d: binary16; bit j%8 of byte j/8 belongs to element j, set: positive
 *   +----+-------------+
 * Source: ggml src/ggml-quants.c dequantize_row_q1_0. */
#include "quant/codec.h"
#include "quant/half.h"

typedef struct block {
    uint8_t d[2], qs[16];
} block;
_Static_assert(sizeof(block) == 18, "q1_0 block");

static void decode(const void *in, float *x, size_t n_cols)
{
    const block *restrict b = in;
    for (size_t i = 0; i < n_cols; i += 128, b++, x += 128) {
        float d = hone_f16_load(b->d);
        for (int j = 0; j < 128; j++) x[j] = b->qs[j / 8] >> (j % 8) & 1 ? d : -d;
    }
}

static const hone_codec codecs[] = { { HONE_DTYPE_Q1_0, NULL, decode, false, NULL } };
HONE_CODEC_FAMILY(q1_0, codecs);
