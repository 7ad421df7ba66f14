/* q8_0.c - 32 numbers, one scale, a signed byte each: x = d * q.  8.5 bits per weight.
 *
 *   0    2                     34
 *   +----+---------------------+
 *   | d  | 32 signed bytes     |   d: binary16
 *   +----+---------------------+
 * Source: ggml src/ggml-quants.c quantize_row_q8_0_ref, dequantize_row_q8_0. */
#include "quant/codec.h"
#include "quant/round.h"

typedef struct block {
    uint8_t d[2], qs[32];
} block;
_Static_assert(sizeof(block) == 34, "q8_0 block");

static float peak(const float *x)
{
    uint32_t most = 0; /* magnitudes are ordered as their bits are */
    for (int j = 0; j < 32; j++) {
        uint32_t a = hone_f32_bits(x[j]) & 0x7fffffffu;
        most = most > a ? most : a;
    }
    if (most <= 0x7f800000u) return hone_f32_of(most);
    float size = 0; /* the comparison is this way round so that a NaN is forgotten at the next element, as in ggml */
    for (int j = 0; j < 32; j++) size = size > fabsf(x[j]) ? size : fabsf(x[j]);
    return size;
}

static void encode(const float *x, void *out, size_t n_cols, const float *importance)
{
    (void)importance;
    block *restrict b = out;
    for (size_t i = 0; i < n_cols; i += 32, b++, x += 32) {
        float size = peak(x);
        float d = size / 127, inverse = d != 0 ? 1.0f / d : 0.0f;
        hone_f16_store(b->d, d);
        for (int j = 0; j < 32; j++) b->qs[j] = (uint8_t)hone_round(x[j] * inverse);
    }
}

static void decode(const void *in, float *x, size_t n_cols)
{
    const block *restrict b = in;
    for (size_t i = 0; i < n_cols; i += 32, b++, x += 32) {
        float d = hone_f16_load(b->d);
        for (int j = 0; j < 32; j++) x[j] = (float)(int8_t)b->qs[j] * d;
    }
}

static const hone_codec codecs[] = { { HONE_DTYPE_Q8_0, encode, decode, false } };
HONE_CODEC_FAMILY(q8_0, codecs);
