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

/* Magnitudes are in the order of their bits, so the largest is found in the stored type. */
static uint32_t largest_f32(const void *in, size_t n_cols)
{
    const uint8_t *restrict from = in;
    int32_t most = 0;
    for (size_t i = 0; i < n_cols; i++) {
        int32_t v = (int32_t)(hone_le32(from + 4 * i) & 0x7fffffffu);
        most = most < v ? v : most;
    }
    return (uint32_t)most;
}
static uint16_t largest_half(const uint8_t *restrict from, size_t n)
{
    int16_t most = 0;
    for (size_t i = 0; i < n; i++) {
        int16_t v = (int16_t)(hone_le16(from + 2 * i) & 0x7fff);
        most = most < v ? v : most;
    }
    return (uint16_t)most;
}
static uint32_t largest_f16(const void *in, size_t n_cols) { return hone_f32_bits(hone_f32_from_f16(largest_half(in, n_cols))) & 0x7fffffffu; }
static uint32_t largest_bf16(const void *in, size_t n_cols) { return (uint32_t)largest_half(in, n_cols) << 16; }

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
    { HONE_DTYPE_F32, encode_f32, decode_f32, false, largest_f32 },
    { HONE_DTYPE_F16, encode_f16, decode_f16, false, largest_f16 },
    { HONE_DTYPE_BF16, encode_bf16, decode_bf16, false, largest_bf16 },
#if !defined(HONE_LANES_WIDTH) || HONE_LANES_WIDTH == 4
    { HONE_DTYPE_F64, NULL, decode_f64, false, NULL },
#endif
};
HONE_CODEC_FAMILY(plain, codecs);
