#include "quant/affine.h"
#include "quant/grouped/scheme.h"

#define GROUP_MAX 128

#if !defined(HONE_LANES_WIDTH) || HONE_LANES_WIDTH == 4
bool hone_affine_valid(const hone_affine *a)
{
    bool bits = a->bits == 2 || a->bits == 3 || a->bits == 4 || a->bits == 5 || a->bits == 6 || a->bits == 8;
    bool group = a->group == 32 || a->group == 64 || a->group == GROUP_MAX;
    return bits && group && (a->dtype == HONE_DTYPE_F32 || a->dtype == HONE_DTYPE_F16 || a->dtype == HONE_DTYPE_BF16);
}

void hone_affine_decode_row(const hone_affine *a, const uint8_t *codes, const uint8_t *scales, const uint8_t *biases, float *x, size_t n_cols)
{
    for (size_t i = 0; i < n_cols; i++) {
        size_t   bit = i * a->bits;
        uint32_t pair = codes[bit / 8];
        if (bit % 8 + a->bits > 8) pair |= (uint32_t)codes[bit / 8 + 1] << 8;
        uint32_t q = (pair >> (bit % 8)) & ((1u << a->bits) - 1);
        x[i] = (float)q * hone_scale_load(a->dtype, scales, i / a->group) + hone_scale_load(a->dtype, biases, i / a->group);
    }
}
#endif

/* n codes of `bits` bits each, n a multiple of 8. */
static void pack(const uint8_t *restrict q, size_t n, uint32_t bits, uint8_t *restrict out)
{
    if (bits == 4 || bits == 8) {
        hone_codes_put(out, 0, q, n, bits);
        return;
    }
    for (size_t i = 0; bits == 2 && i < n / 4; i++) out[i] = (uint8_t)(q[4 * i] | q[4 * i + 1] << 2 | q[4 * i + 2] << 4 | q[4 * i + 3] << 6);
    for (size_t i = 0; bits != 2 && i < n; i += 8, out += bits) {
        uint64_t word = 0;
        for (uint32_t k = 0; k < 8; k++) word |= (uint64_t)q[i + k] << (k * bits);
        for (uint32_t b = 0; b < bits; b++) out[b] = (uint8_t)(word >> (8 * b));
    }
}

/* The end of larger magnitude is met exactly (code 0 or, through a negative scale, the top code lands on it), so that outliers survive;
 * where zero falls on a code it is exact as well. */
static void encode_group(const hone_affine *a, const float *restrict x, uint8_t *restrict q, float *scale_out, float *bias_out)
{
    float n_bins = (float)((1u << a->bits) - 1), low, high;
    hone_range(x, a->group, &low, &high);
    bool  from_low = fabsf(low) > fabsf(high);
    float scale = (high - low) / n_bins, bias = 0, edge = from_low ? low : high;
    scale = scale < 1e-7f ? 1e-7f : scale;
    scale = from_low ? scale : -scale;
    float steps = rintf(edge / scale);
    if (steps != 0) {
        scale = edge / steps;
        bias = edge;
    }
    for (uint32_t i = 0; i < a->group; i++) {
        float v = (x[i] - bias) / scale;
        v = v > 0.0f ? v : 0.0f; /* clamped first: the bounds are integers, so rounding cannot leave them */
        v = v < n_bins ? v : n_bins;
        q[i] = (uint8_t)hone_f32_bits(v + 12582912.0f); /* 1.5 * 2^23: the adder rounds to nearest even, the integer is in the low bits */
    }
    *scale_out = scale;
    *bias_out = bias;
}

void HONE_LANED(hone_affine_encode)(const hone_grouped *s, const float *x, uint64_t r, uint64_t n_cols, uint8_t *const out[HONE_STREAMS])
{
    hone_affine a = { .bits = s->bits, .group = s->group, .dtype = s->scale };
    uint64_t    groups = n_cols / a.group;
    float       seen[GROUP_MAX], scale, bias;
    uint8_t     q[GROUP_MAX], *codes = out[HONE_STREAM_CODES] + r * hone_affine_code_bytes(&a, (size_t)n_cols);
    for (uint64_t g = 0; g < groups; g++) {
        hone_scale_round(a.dtype, x + g * a.group, seen, a.group);
        encode_group(&a, seen, q, &scale, &bias);
        pack(q, a.group, a.bits, codes + g * (a.group / 8) * a.bits);
        hone_scale_store(a.dtype, out[HONE_STREAM_SCALES], r * groups + g, scale);
        hone_scale_store(a.dtype, out[HONE_STREAM_ZEROS], r * groups + g, bias);
    }
}
