/* tq1_0.c - 256 numbers of {-d, 0, d}, five to a byte in base 3.  1.6875 bits per weight.  Decode only.
 *
 *   0                       48             52   54
 *   +-----------------------+--------------+----+
 *   | 48 bytes, 5 trits each| 4, 4 trits   | d  |   d: binary16
 *   +-----------------------+--------------+----+
 * A byte holds ceil(256 * t / 243) for the number t of five trits, first trit most significant; multiplied by 3^n (mod 256)
 * its leading trit is trit n.  Bytes 0-31: trit n of byte m is element 32*n + m; bytes 32-47: element 160 + 16*n + m;
 * bytes 48-51: element 240 + 4*n + m.
 * Source: ggml src/ggml-quants.c dequantize_row_tq1_0. */
#include "quant/codec.h"
#include "quant/half.h"

typedef struct block {
    uint8_t qs[48], qh[4], d[2];
} block;
_Static_assert(sizeof(block) == 54, "tq1_0 block");

static float *trits(const uint8_t *restrict from, int n_bytes, int n_trits, float d, float *restrict x)
{
    static const uint8_t pow3[5] = { 1, 3, 9, 27, 81 };
    for (int n = 0; n < n_trits; n++)
        for (int m = 0; m < n_bytes; m++) {
            uint8_t rest = (uint8_t)(from[m] * pow3[n]);
            *x++ = (float)((rest * 3 >> 8) - 1) * d;
        }
    return x;
}

static void decode(const void *in, float *x, size_t n_cols)
{
    const block *restrict b = in;
    for (size_t i = 0; i < n_cols; i += 256, b++) {
        float d = hone_f16_load(b->d);
        x = trits(b->qs, 32, 5, d, x);
        x = trits(b->qs + 32, 16, 5, d, x);
        x = trits(b->qh, 4, 4, d, x);
    }
}

static const hone_codec codecs[] = { { HONE_DTYPE_TQ1_0, NULL, decode, false, NULL } };
HONE_CODEC_FAMILY(tq1_0, codecs);
