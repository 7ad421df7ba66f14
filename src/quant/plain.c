/* plain.c - one number, one float: f32 f16 bf16 f64. */
#include "quant/codec.h"
#include "quant/half.h"

static bool host_is_le(void) { return hone_le16(&(uint16_t){ 1 }) == 1; }

static void encode_f32(const float *x, void *out, size_t n_cols, const float *importance)
{
    (void)importance;
    const float *restrict from = x;
    uint8_t *restrict to = out;
    if (host_is_le()) memcpy(to, from, 4 * n_cols);
    else
        for (size_t i = 0; i < n_cols; i++) hone_put_le32(to + 4 * i, hone_f32_bits(from[i]));
}
static void decode_f32(const void *in, float *x, size_t n_cols)
{
    const uint8_t *restrict from = in;
    if (host_is_le()) memcpy(x, from, 4 * n_cols);
    else
        for (size_t i = 0; i < n_cols; i++) x[i] = hone_f32_of(hone_le32(from + 4 * i));
}

static void encode_f16(const float *x, void *out, size_t n_cols, const float *importance)
{
    (void)importance;
    const float *restrict from = x;
    uint8_t *restrict to = out;
    for (size_t i = 0; i < n_cols; i++) hone_put_le16(to + 2 * i, hone_f16_from_f32(from[i]));
}
static void decode_f16(const void *in, float *x, size_t n_cols)
{
    const uint8_t *restrict from = in;
    float *restrict to = x;
    for (size_t i = 0; i < n_cols; i++) to[i] = hone_f16_load(from + 2 * i);
}

static void encode_bf16(const float *x, void *out, size_t n_cols, const float *importance)
{
    (void)importance;
    const float *restrict from = x;
    uint8_t *restrict to = out;
    for (size_t i = 0; i < n_cols; i++) hone_put_le16(to + 2 * i, hone_bf16_from_f32(from[i]));
}
static void decode_bf16(const void *in, float *x, size_t n_cols)
{
    const uint8_t *restrict from = in;
    float *restrict to = x;
    for (size_t i = 0; i < n_cols; i++) to[i] = hone_f32_from_bf16(hone_le16(from + 2 * i));
}

#if !defined(HONE_LANES_WIDTH) || HONE_LANES_WIDTH == 4
/* Beyond float32 becomes infinity, as IEEE 754 rounds (C17 annex F). */
static void decode_f64(const void *in, float *x, size_t n_cols)
{
    const uint8_t *restrict from = in;
    for (size_t i = 0; i < n_cols; i++) {
        uint64_t bits = hone_le64(from + 8 * i);
        double d;
        memcpy(&d, &bits, sizeof d);
        x[i] = (float)d;
    }
}
#endif

static const hone_codec codecs[] = {
    { HONE_DTYPE_F32, encode_f32, decode_f32, false },
    { HONE_DTYPE_F16, encode_f16, decode_f16, false },
    { HONE_DTYPE_BF16, encode_bf16, decode_bf16, false },
#if !defined(HONE_LANES_WIDTH) || HONE_LANES_WIDTH == 4
    { HONE_DTYPE_F64, NULL, decode_f64, false },
#endif
};
HONE_CODEC_FAMILY(plain, codecs);
