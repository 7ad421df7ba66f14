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
HONE_FIT_INLINE void pack(const uint8_t *restrict q, size_t n, uint32_t bits, uint8_t *restrict out)
{
    for (size_t i = 0; i < n; i += 8, out += bits) {
        uint64_t word = 0;
#if HONE_LANES_WIDTH > 4
        memcpy(&word, q + i, sizeof word);
        word = _pext_u64(word, 0x0101010101010101u * ((1u << bits) - 1));
        /* What is written beyond these eight codes, the next ones overwrite; behind the last of the n nothing is written. */
        if ((n - i) / 8 * bits >= sizeof word) memcpy(out, &word, sizeof word);
        else memcpy(out, &word, bits);
#else
        for (uint32_t k = 0; k < 8; k++) word |= (uint64_t)q[i + k] << (k * bits);
        for (uint32_t b = 0; b < bits; b++) out[b] = (uint8_t)(word >> (8 * b));
#endif
    }
}

typedef struct fits { float scale[HONE_LANES], bias[HONE_LANES]; } fits; /* of as many groups as there are lanes */

/* The end of larger magnitude is met exactly (code 0 or, through a negative scale, the top code lands on it), so that outliers survive;
 * where zero falls on a code it is exact as well. */
HONE_FIT_INLINE void fit_groups(float n_bins, hone_lanes low, hone_lanes high, fits *f)
{
    hone_ilanes from_low = (hone_ilanes)(hone_lanes_abs(low) > hone_lanes_abs(high));
    hone_lanes  edge = hone_lanes_pick(from_low, low, high), scale = hone_lanes_max((high - low) / n_bins, hone_lanes_all(1e-7f));
    scale = hone_lanes_pick(from_low, scale, -scale);
    hone_lanes  steps = hone_lanes_rint(edge / scale);
    hone_ilanes some = (hone_ilanes)(steps != 0);
    scale = hone_lanes_pick(some, edge / hone_lanes_pick(some, steps, hone_lanes_all(1)), scale);
    edge = hone_lanes_pick(some, edge, hone_lanes_all(0));
    scale = hone_lanes_pick((hone_ilanes)(scale == scale), scale, hone_lanes_all(hone_one_nan(NAN))); /* a range without end makes it NaN */
    memcpy(f->scale, &scale, sizeof scale);
    memcpy(f->bias, &edge, sizeof edge);
}

HONE_FIT_INLINE void encode_group(uint32_t bits, uint32_t group, float scale, float bias, const float *restrict x, uint8_t *restrict out)
{
    float   n_bins = (float)((1u << bits) - 1);
    uint8_t q[GROUP_MAX];
    bool    direct = bits == 4 || bits == 8;
    hone_ahead(x, group);
    const uint32_t n = group >= 4 * HONE_LANES ? 4 : 2; /* groups have 32 numbers at least */
    for (uint32_t i = 0; i < group; i += n * HONE_LANES) {
        hone_ilanes code[4];
        hone_quotients((int)n, x + i, bias, scale, -0.0f, 0, n_bins, code); /* -0: adds nothing to any number */
        if (direct) hone_codes_put_lanes(out, i, (int)n, code, bits);
        else hone_ilanes_bytes((int)n, code, q + i);
    }
    if (!direct) pack(q, group, bits, out);
}

/* The numbers as type t keeps them, and their ranges: x itself where nothing is lost, as with a bfloat16 source, else in buf.  Rounding keeps
 * the order, so the ends may be rounded by themselves. */
HONE_FIT_INLINE const float *seen(hone_dtype t, const float *restrict x, size_t group, size_t n, float *restrict buf, hone_lanes *low, hone_lanes *high)
{
    float       ends[2 * HONE_LANES], rounded[2 * HONE_LANES];
    hone_ilanes bits;
    hone_ranges(x, group, n, low, high, &bits);
    if (t == HONE_DTYPE_F32 || (t == HONE_DTYPE_BF16 && !hone_lanes_any(bits & 0xffff))) return x;
    memcpy(ends, low, sizeof *low);
    memcpy(ends + HONE_LANES, high, sizeof *high);
    buf[0] = x[0]; /* gcc does not see that there are groups */
    hone_scale_round(t, x, buf, n * group);
    hone_scale_round(t, ends, rounded, 2 * HONE_LANES);
    *low = hone_lanes_load(rounded);
    *high = hone_lanes_load(rounded + HONE_LANES);
    return buf;
}

/* Groups first..first + n - 1 of row r, side by side where they do not meet: n is at most HONE_LANES.
 * bits and group are constants where the caller knows them: a known number of steps is worth a third of the time. */
HONE_FIT_INLINE void encode_groups(uint32_t bits, uint32_t group, hone_dtype seen_as, const float *restrict from, size_t n, uint64_t first,
                                   uint8_t *restrict codes, uint8_t *const out[HONE_STREAMS])
{
    float        buf[HONE_LANES * GROUP_MAX];
    hone_lanes   low, high;
    const float *x = seen(seen_as, from, group, n, buf, &low, &high);
    fits         f;
    fit_groups((float)((1u << bits) - 1), low, high, &f);
    for (size_t k = 0; k < n; k++) encode_group(bits, group, f.scale[k], f.bias[k], x + k * group, codes + k * (group / 8) * bits);
    hone_scales_store(seen_as, out[HONE_STREAM_SCALES], first, f.scale, n);
    hone_scales_store(seen_as, out[HONE_STREAM_ZEROS], first, f.bias, n);
}

void HONE_LANED(hone_affine_encode)(const hone_grouped *s, const float *x, uint64_t r, uint64_t n_cols, uint8_t *const out[HONE_STREAMS])
{
    hone_affine a = { .bits = s->bits, .group = s->group, .dtype = s->scale };
    uint64_t    groups = n_cols / a.group;
    uint8_t    *codes = out[HONE_STREAM_CODES] + r * hone_affine_code_bytes(&a, (size_t)n_cols);
    for (uint64_t g = 0; g < groups; g += HONE_LANES) {
        size_t       n = groups - g < HONE_LANES ? (size_t)(groups - g) : HONE_LANES;
        const float *from = x + g * a.group;
        uint8_t     *to = codes + g * (a.group / 8) * a.bits;
        bool usual = a.group == 64 && a.dtype == HONE_DTYPE_BF16;
        if (usual && a.bits == 2) encode_groups(2, 64, HONE_DTYPE_BF16, from, n, r * groups + g, to, out);
        else if (usual && a.bits == 3) encode_groups(3, 64, HONE_DTYPE_BF16, from, n, r * groups + g, to, out);
        else if (usual && a.bits == 4) encode_groups(4, 64, HONE_DTYPE_BF16, from, n, r * groups + g, to, out);
        else if (usual && a.bits == 5) encode_groups(5, 64, HONE_DTYPE_BF16, from, n, r * groups + g, to, out);
        else if (usual && a.bits == 6) encode_groups(6, 64, HONE_DTYPE_BF16, from, n, r * groups + g, to, out);
        else if (usual) encode_groups(8, 64, HONE_DTYPE_BF16, from, n, r * groups + g, to, out);
        else if (a.group == 64) encode_groups(a.bits, 64, a.dtype, from, n, r * groups + g, to, out);
        else encode_groups(a.bits, a.group, a.dtype, from, n, r * groups + g, to, out);
    }
}
