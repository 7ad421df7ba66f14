/* nbits.c - the codes of ONNX Runtime's block-wise quantiser, for MatMulNBits and GatherBlockQuantized.
 * Source: onnxruntime 1.31, onnxruntime/core/mlas/lib/q4_dq.cpp, range2scale(), range2scalezp(), BlockwiseQuantizer; and
 * python/tools/quantization/matmul_nbits_quantizer.py, DefaultWeightOnlyQuantizer (bfloat16: quantised in float32, then the scales rounded).
 * Columns beyond the row's end have code 0, a zero point that fills the last byte is 8, as there. */
#include "quant/grouped/scheme.h"

enum { BLOCK_MAX = 256 };

typedef struct fit { float scale, inverse, zero; } fit;

static fit fit_of(const hone_grouped *g, const float *x, size_t n)
{
    float lo, hi, top = (float)((1u << g->bits) - 1), half = (float)(1u << (g->bits - 1));
    fit   f = { .zero = half };
    if (n == 32) hone_range(x, 32, &lo, &hi);
    else hone_range(x, n, &lo, &hi);
    if (g->sym) {
        float end = fabsf(hi) > fabsf(lo) ? hi : lo;
        f.scale = -(end != 0 ? end : x[0]) / half; /* of zeros of two signs the first, as there */
    }
    else {
        lo = lo < 0 ? lo : 0;
        hi = hi > 0 ? hi : 0;
        f.scale = (hi - lo) / top;
        f.zero = f.scale != 0 ? (float)hone_round(0.0f - lo / f.scale) : 0;
        f.zero = f.zero > top ? top : f.zero;
    }
    if (g->scale == HONE_DTYPE_F16) f.scale = hone_scale_seen(HONE_DTYPE_F16, f.scale);
    f.inverse = f.scale != 0 ? 1.0f / f.scale : 0;
    return f;
}

/* Halves away from zero; the bounds are whole numbers, so clamping first changes nothing.  sign: q - half, in two's complement. */
HONE_FIT_INLINE hone_ilanes codes_of_lanes(const float *x, fit f, float top, uint8_t sign)
{
    hone_lanes  v = hone_lanes_load(x) * f.inverse + f.zero;
    v = hone_lanes_min(hone_lanes_max(v, hone_lanes_all(0)), hone_lanes_all(top));
    hone_ilanes whole = __builtin_convertvector(v, hone_ilanes);
    whole -= (hone_ilanes)(v - __builtin_convertvector(whole, hone_lanes) >= 0.5f);
    return whole ^ (int32_t)sign;
}
static uint8_t code_of(float x, fit f, float top, uint8_t sign)
{
    float v = x * f.inverse + f.zero;
    v = v > 0.0f ? v : 0.0f;
    v = v < top ? v : top;
    int32_t whole = (int32_t)v;
    return (uint8_t)((whole + (v - (float)whole >= 0.5f)) ^ sign);
}

/* A whole block of 32, as most are, from a whole byte on: its steps are known to the compiler. */
HONE_FIT_INLINE void put_32(const float *x, fit f, uint32_t bits, uint8_t sign, uint8_t *to)
{
    for (size_t i = 0; i < 32; i += HONE_LANES) hone_codes_put_lanes(to, i, codes_of_lanes(x + i, f, (float)((1u << bits) - 1), sign), bits);
}

/* n codes, and code 0 for the columns from there to `whole`, at place `at`. */
static void put_block(const float *x, size_t n, size_t whole, fit f, uint32_t bits, uint8_t sign, uint8_t *out, uint64_t at)
{
    uint8_t q[BLOCK_MAX];
    for (size_t i = 0; i < n; i++) q[i] = code_of(x[i], f, (float)((1u << bits) - 1), sign);
    memset(q + n, 0, whole - n);
    hone_codes_put(out, at, q, whole, bits);
}

void HONE_LANED(hone_nbits_encode)(const hone_grouped *g, const float *x, uint64_t r, uint64_t n_cols, uint8_t *const out[HONE_STREAMS])
{
    uint64_t groups = hone_grouped_groups(g, n_cols), row = hone_grouped_row_bits(g, HONE_STREAM_CODES, n_cols) / g->bits;
    uint64_t zeros = g->sym ? 0 : hone_grouped_row_bits(g, HONE_STREAM_ZEROS, n_cols) / g->bits;
    float    seen[BLOCK_MAX];
    uint8_t  unused = 8, sign = g->sym && g->flat ? (uint8_t)(1u << (g->bits - 1)) : 0, *codes = out[HONE_STREAM_CODES];
    for (uint64_t k = 0; k < groups; k++) {
        size_t       left = (size_t)(n_cols - k * g->group), n = left < g->group ? left : g->group, whole = g->flat ? n : g->group;
        uint64_t     at = r * row + k * g->group;
        const float *from = x + k * g->group;
        if (g->scale == HONE_DTYPE_F16) {
            hone_scale_round(HONE_DTYPE_F16, from, seen, n);
            from = seen;
        }
        fit f = fit_of(g, from, n);
        if (n == 32 && whole == 32 && at % 2 == 0 && g->bits == 4) put_32(from, f, 4, sign, codes + at / 2);
        else if (n == 32 && whole == 32 && g->bits == 8) put_32(from, f, 8, sign, codes + at);
        else put_block(from, n, whole, f, g->bits, sign, codes, at);
        hone_scale_store(g->scale, out[HONE_STREAM_SCALES], r * groups + k, f.scale);
        uint8_t zero = (uint8_t)f.zero;
        if (!g->sym) hone_codes_put(out[HONE_STREAM_ZEROS], r * zeros + k, &zero, 1, g->bits);
        if (!g->sym && k + 1 == groups && zeros > groups) hone_codes_put(out[HONE_STREAM_ZEROS], r * zeros + groups, &unused, 1, g->bits);
    }
}
