/* nncf.c - the codes that NNCF gives OpenVINO's weights without data: int8 and int4, with and without zero points.
 * Source: nncf 3.4.0, nncf/openvino/optimized_functions/models.py, _build_integer_quantization_model(): float32 throughout, a true
 * division, rounding to even; the scale is rounded to its type only when it is stored (openvino_backend.py). */
#include "quant/grouped/scheme.h"

#define EPS 0x1p-23f /* numpy.finfo(float32).eps: no scale is smaller */

typedef struct fit { float scale, zero; } fit;

static fit fit_of(const hone_grouped *g, const float *x, size_t n)
{
    float lo, hi, top = (float)((1u << g->bits) - 1), half = (float)(1u << (g->bits - 1));
    fit   f = { 0 };
    hone_range(x, n, &lo, &hi);
    if (g->sym) { /* the end of larger magnitude lands on -half, whichever sign it has */
        f.scale = (fabsf(lo) >= hi ? fabsf(lo) : -hi) / half;
        f.scale = fabsf(f.scale) < EPS ? EPS : f.scale;
        return f;
    }
    lo = lo < 0 ? lo : 0;
    hi = hi > 0 ? hi : 0;
    f.scale = (hi - lo) / top;
    f.scale = fabsf(f.scale) < EPS ? EPS : f.scale;
    f.zero = -rintf(lo / f.scale);
    f.zero = f.zero < 0 ? 0 : f.zero > top ? top : f.zero;
    return f;
}

/* n codes from place `at` on.  1.5 * 2^23 leaves the rounded integer in the low bits. */
HONE_FIT_INLINE void put_group(const float *restrict x, size_t n, fit f, bool sym, uint32_t bits, uint8_t *out, uint64_t at)
{
    float    half = (float)(1u << (bits - 1)), lo = sym ? -half : 0, hi = lo + 2 * half - 1;
    bool     whole_byte = bits == 8 || at % 2 == 0;
    uint8_t *to = out + (bits == 8 ? at : at / 2);
    size_t   i = 0;
    for (; whole_byte && i + 4 * HONE_LANES <= n; i += 4 * HONE_LANES) {
        hone_ilanes q[4];
        hone_ahead(x + i, 4 * HONE_LANES);
        hone_quotients(4, x + i, 0, f.scale, f.zero, lo, hi, q);
        hone_codes_put_lanes(to, i, 4, q, bits);
    }
    for (; whole_byte && i + HONE_LANES <= n; i += HONE_LANES) {
        hone_ilanes q;
        hone_quotients(1, x + i, 0, f.scale, f.zero, lo, hi, &q);
        hone_codes_put_lanes(to, i, 1, &q, bits);
    }
    for (; i < n; i++) {
        float v = x[i] / f.scale + f.zero;
        v = v > lo ? v : lo;
        v = v < hi ? v : hi;
        uint8_t q = (uint8_t)hone_f32_bits(v + 12582912.0f);
        hone_codes_put(out, at + i, &q, 1, bits);
    }
}

void HONE_LANED(hone_nncf_encode)(const hone_grouped *g, const float *x, uint64_t r, uint64_t n_cols, uint8_t *const out[HONE_STREAMS])
{
    uint64_t groups = hone_grouped_groups(g, n_cols);
    size_t   group = (size_t)(g->group ? g->group : n_cols);
    for (uint64_t k = 0; k < groups; k++) {
        fit f = fit_of(g, x + k * group, group);
        if (g->bits == 4) put_group(x + k * group, group, f, g->sym, 4, out[HONE_STREAM_CODES], r * n_cols + k * group);
        else put_group(x + k * group, group, f, g->sym, 8, out[HONE_STREAM_CODES], r * n_cols + k * group);
        hone_scale_store(g->scale, out[HONE_STREAM_SCALES], r * groups + k, f.scale);
        uint8_t zero = (uint8_t)f.zero;
        if (!g->sym) hone_codes_put(out[HONE_STREAM_ZEROS], r * groups + k, &zero, 1, g->bits);
    }
}
