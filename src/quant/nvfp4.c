/* nvfp4.c - 64 numbers of E2M1 in four sub-blocks of 16, each with an unsigned E4M3 scale.  4.5 bits per weight.  Decode only.
 *
 *   0           4                      36
 *   +-----------+----------------------+
 *   | 4 x E4M3  | 32 bytes of nibbles  |   in sub-block s byte l = q[16*s + l] | q[16*s + l + 8] << 4  (l < 8)
 *   +-----------+----------------------+
 * The tensor's second, float32 scale is a tensor of its own in the file, not part of the block.
 * Source: ggml src/ggml-quants.c dequantize_row_nvfp4; src/ggml-impl.h ggml_ue4m3_to_fp32 (0x7f reads as 0, bit 7 is ignored). */
#include "quant/codec.h"
#include "quant/fp4.h"
#include "quant/half.h"
#include <math.h>

typedef struct block {
    uint8_t d[4], qs[32];
} block;
_Static_assert(sizeof(block) == 36, "nvfp4 block");

/* Half the scale, as the values are doubled. */
static float half_scale(uint8_t code)
{
    if (code == 0x7f) return 0;
    int exp = code >> 3 & 15, man = code & 7;
    return exp ? ldexpf((float)(8 + man), exp - 11) : ldexpf((float)man, -10);
}

static void decode(const void *in, float *x, size_t n_cols)
{
    const block *restrict b = in;
    for (size_t i = 0; i < n_cols; i += 64, b++)
        for (int s = 0; s < 4; s++, x += 16) {
            float d = half_scale(b->d[s]);
            for (int l = 0; l < 8; l++) {
                x[l] = (float)hone_fp4_doubled[b->qs[8 * s + l] & 15] * d;
                x[l + 8] = (float)hone_fp4_doubled[b->qs[8 * s + l] >> 4] * d;
            }
        }
}

static const hone_codec codecs[] = { { HONE_DTYPE_NVFP4, NULL, decode, false, NULL } };
HONE_CODEC_FAMILY(nvfp4, codecs);
