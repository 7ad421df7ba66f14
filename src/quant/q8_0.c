/* q8_0.c - 32 numbers, one scale, a signed byte each: x = d * q.  8.5 bits per weight.
 *
 *   0    2                     34
 *   +----+---------------------+
 *   | d  | 32 signed bytes     |   d: binary16
 *   +----+---------------------+
 * Source: ggml src/ggml-quants.c quantize_row_q8_0_ref, dequantize_row_q8_0. */
#include "quant/codec.h"
#include "quant/lanes.h"
#include "quant/round.h"

typedef struct block {
    uint8_t d[2], qs[32];
} block;
_Static_assert(sizeof(block) == 34, "q8_0 block");

/* *nan is set when there is one: then elements may be larger than the peak. */
static float peak(const float *x, bool *nan)
{
    uint32_t most = 0; /* magnitudes are ordered as their bits are */
    for (int j = 0; j < 32; j++) {
        uint32_t a = hone_f32_bits(x[j]) & 0x7fffffffu;
        most = most > a ? most : a;
    }
    if (most <= 0x7f800000u) return hone_f32_of(most);
    *nan = true;
    float size = 0; /* the comparison is this way round so that a NaN is forgotten at the next element, as in ggml */
    for (int j = 0; j < 32; j++) size = size > fabsf(x[j]) ? size : fabsf(x[j]);
    return size;
}

/* Of as many blocks as there are lanes, one lane each; false when there is a NaN among them, which lanes would not forget as peak() does. */
static bool peaks(const float *x, hone_lanes *out)
{
    hone_lanes  most[HONE_LANES];
    hone_ilanes nan = { 0 };
    for (int b = 0; b < HONE_LANES; b++, x += 32) {
        most[b] = hone_lanes_abs(hone_lanes_load(x));
        nan |= (hone_ilanes)most[b] > 0x7f800000;
        for (int j = HONE_LANES; j < 32; j += HONE_LANES) {
            hone_lanes v = hone_lanes_abs(hone_lanes_load(x + j));
            nan |= (hone_ilanes)v > 0x7f800000;
            most[b] = hone_lanes_max(v, most[b]);
        }
    }
    *out = hone_lanes_mosts(most);
    return !hone_lanes_any(nan);
}

/* The bytes of a block whose products with inverse are far inside int32: hone_round without its test. */
static void put_near(const float *restrict x, float inverse, uint8_t *restrict qs)
{
    hone_ilanes q[32 / HONE_LANES];
    for (int j = 0; j < 32 / HONE_LANES; j++) {
        hone_lanes  v = hone_lanes_load(x + HONE_LANES * j) * inverse;
        hone_ilanes half = ((hone_ilanes)v & INT32_MIN) | (int32_t)0x3effffff; /* 0x1.fffffep-2, with the sign of v */
        q[j] = __builtin_convertvector(v + (hone_lanes)half, hone_ilanes);
    }
    for (int j = 0; j < 32 / HONE_LANES; j += 4) hone_ilanes_bytes(HONE_LANES > 8 ? 2 : 4, q + j, qs + HONE_LANES * j);
}

/* Blocks side by side where they do not meet: count is 1..HONE_LANES. */
static void encode_blocks(const float *x, block *restrict b, int count)
{
    float      d[HONE_LANES] = { 0 }, inverse[HONE_LANES];
    hone_lanes size;
    bool       nan = false;
    if (count < HONE_LANES || !peaks(x, &size)) {
        for (int k = 0; k < count; k++) d[k] = peak(x + 32 * k, &nan);
        size = hone_lanes_load(d);
    }
    hone_lanes  scale = size / 127, one = hone_lanes_all(1);
    hone_ilanes some = (hone_ilanes)(scale != 0), far = (hone_ilanes)(size > 1e30f) | ((hone_ilanes)(size < 1e-30f) & some) | (hone_ilanes)(size != size);
    hone_lanes  times = hone_lanes_pick(some, one / hone_lanes_pick(some, scale, one), hone_lanes_all(0));
    memcpy(d, &scale, sizeof scale);
    memcpy(inverse, &times, sizeof times);
    bool near = !nan && !hone_lanes_any(far);
    for (int k = 0; k < count; k++, x += 32) {
        hone_f16_store(b[k].d, d[k]);
        hone_ahead(x, 32);
        if (near) put_near(x, inverse[k], b[k].qs);
        else
            for (int j = 0; j < 32; j++) b[k].qs[j] = (uint8_t)hone_round(x[j] * inverse[k]);
    }
}

static void encode(const float *x, void *out, size_t n_cols, const float *importance)
{
    (void)importance;
    block *restrict b = out;
    for (size_t i = 0; i < n_cols; i += 32 * HONE_LANES) {
        int count = n_cols - i < 32 * HONE_LANES ? (int)((n_cols - i) / 32) : HONE_LANES;
        encode_blocks(x + i, b + i / 32, count);
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

static const hone_codec codecs[] = { { HONE_DTYPE_Q8_0, encode, decode, false, NULL } };
HONE_CODEC_FAMILY(q8_0, codecs);
