/* mxfp4.c - 32 numbers of E2M1, one power-of-two scale (E8M0): x = 2^(e-127) * v.  4.25 bits per weight.  Decode only.
 *
 *   0    1                      17
 *   +----+----------------------+
 *   | e  | 16 bytes of nibbles  |   byte j = q[j] | q[j+16] << 4
 *   +----+----------------------+
 * e = 255 is NaN in the OCP specification; ggml reads it as 2^128, as is done here, so that both show the same numbers.
 * Source: ggml src/ggml-quants.c dequantize_row_mxfp4; src/ggml-impl.h ggml_e8m0_to_fp32_half. */
#include "quant/codec.h"
#include "quant/fp4.h"
#include "quant/half.h"

typedef struct block {
    uint8_t e, qs[16];
} block;
_Static_assert(sizeof(block) == 17, "mxfp4 block");

static void decode(const void *in, float *x, size_t n_cols)
{
    const block *restrict b = in;
    for (size_t i = 0; i < n_cols; i += 32, b++, x += 32) {
        /* 2^(e-128): half the scale, as the values are doubled; subnormal for e < 2 */
        float d = hone_f32_of(b->e < 2 ? 0x00200000u << b->e : (uint32_t)(b->e - 1) << 23);
        for (int j = 0; j < 16; j++) {
            x[j] = (float)hone_fp4_doubled[b->qs[j] & 15] * d;
            x[j + 16] = (float)hone_fp4_doubled[b->qs[j] >> 4] * d;
        }
    }
}

static const hone_codec codecs[] = { { HONE_DTYPE_MXFP4, NULL, decode, false, NULL } };
HONE_CODEC_FAMILY(mxfp4, codecs);
