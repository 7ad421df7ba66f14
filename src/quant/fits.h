/* fits.h - the searches of fit.h for many blocks that follow one another.
 * Four lanes: one block after the other, a lane a candidate scale.  Wider: a lane is a block, which goes through its candidates
 * in fit.h's order with fit.h's operations, so the bytes are the same and no candidate is tried in vain. */
#ifndef HONE_QUANT_FITS_H
#define HONE_QUANT_FITS_H
#include "quant/fit.h"

/* hone_fit_symmetric and hone_fit_offset for count blocks of n.  x, w, level: [count*n], the weights NULL for x^2;
 * scale, minus: [count]. */
#if HONE_LANES_WIDTH == 4
HONE_FIT_INLINE void hone_fits_symmetric(int n, int nmax, int count, const float *restrict x, const float *restrict w,
                                         uint8_t *restrict level, float *restrict scale)
{
    for (int b = 0; b < count; b++) scale[b] = hone_fit_symmetric(n, nmax, x + n * b, w ? w + n * b : NULL, level + n * b);
}
HONE_FIT_INLINE void hone_fits_offset(int n, int nmax, int count, const float *restrict x, const float *restrict w,
                                      uint8_t *restrict level, float *restrict scale, float *restrict minus, float first,
                                      float delta, int n_steps, bool mad)
{
    for (int b = 0; b < count; b++)
        scale[b] = hone_fit_offset(n, nmax, x + n * b, w + n * b, level + n * b, &minus[b], first, delta, n_steps, mad);
}
#else

/* Eight rows of eight become eight columns. */
HONE_FIT_INLINE void hone_turn8(const float *const row[8], int at, __m256 out[8])
{
    __m256 t[8], u[8];
    for (int k = 0; k < 8; k += 2) {
        __m256 a = _mm256_loadu_ps(row[k] + at), b = _mm256_loadu_ps(row[k + 1] + at);
        t[k] = _mm256_unpacklo_ps(a, b);
        t[k + 1] = _mm256_unpackhi_ps(a, b);
    }
    for (int k = 0; k < 8; k += 4) {
        u[k] = _mm256_shuffle_ps(t[k], t[k + 2], 0x44);
        u[k + 1] = _mm256_shuffle_ps(t[k], t[k + 2], 0xee);
        u[k + 2] = _mm256_shuffle_ps(t[k + 1], t[k + 3], 0x44);
        u[k + 3] = _mm256_shuffle_ps(t[k + 1], t[k + 3], 0xee);
    }
    for (int k = 0; k < 4; k++) {
        out[k] = _mm256_permute2f128_ps(u[k], u[k + 4], 0x20);
        out[k + 4] = _mm256_permute2f128_ps(u[k], u[k + 4], 0x31);
    }
}
/* out[i]: element i of each of count blocks; lanes beyond count repeat the last one. */
HONE_FIT_INLINE void hone_lanes_turn(int n, int count, const float *restrict x, hone_lanes *restrict out)
{
    const float *row[HONE_LANES];
    for (int k = 0; k < HONE_LANES; k++) row[k] = x + n * (k < count ? k : count - 1);
    for (int i = 0; i < n; i += 8) {
        __m256 low[8];
        hone_turn8(row, i, low);
#if HONE_LANES_WIDTH == 16
        __m256 high[8];
        hone_turn8(row + 8, i, high);
        for (int k = 0; k < 8; k++)
            out[i + k] = (hone_lanes)_mm512_insertf32x8(_mm512_castps256_ps512(low[k]), high[k], 1);
#else
        for (int k = 0; k < 8; k++) out[i + k] = (hone_lanes)low[k];
#endif
    }
}

/* Every lane's hone_peak; *finite: false when an element of any lane is infinite or NaN. */
HONE_FIT_INLINE hone_lanes hone_lanes_peak(int n, const hone_lanes *restrict x, bool *finite)
{
    hone_lanes peak = { 0 }, size = { 0 };
    hone_ilanes odd = { 0 };
    for (int i = 0; i < n; i++) {
        hone_lanes a = (hone_lanes)((hone_ilanes)x[i] & 0x7fffffff);
        peak = hone_lanes_pick((hone_ilanes)(a > size), x[i], peak);
        size = hone_lanes_max(a, size);
        odd |= (hone_ilanes)a >= 0x7f800000;
    }
    *finite = !hone_lanes_any(odd);
    return peak;
}

HONE_FIT_INLINE void hone_fits_symmetric_group(int n, int nmax, int count, const float *restrict x, const float *restrict weights,
                                               uint8_t *restrict level, float *restrict scale_out)
{
    hone_lanes xt[HONE_FIT_MAX], w[HONE_FIT_MAX], wx[HONE_FIT_MAX];
    hone_lanes_turn(n, count, x, xt);
    if (weights) hone_lanes_turn(n, count, weights, w);
    for (int i = 0; i < n; i++) {
        if (!weights) w[i] = xt[i] * xt[i];
        wx[i] = w[i] * xt[i];
    }
    bool near;
    hone_lanes peak = hone_lanes_peak(n, xt, &near), inverse = { 0 }, scale = { 0 }, best = { 0 };
    hone_lanes size = (hone_lanes)((hone_ilanes)peak & 0x7fffffff);
    for (int t = 0; t < 19; t++) {
        int step = t == 0 ? 0 : t < 10 ? t - 10 : t - 9; /* 0, -9 .. -1, 1 .. 9 */
        hone_lanes inv = -((float)nmax + 0.1f * (float)step) / peak, lx = { 0 }, l2 = { 0 };
        for (int i = 0; i < n; i++) {
            hone_lanes v = inv * xt[i];
            hone_lanes l = near ? hone_lanes_level_near(v, -nmax, nmax - 1) : hone_lanes_level(v, -nmax, nmax - 1);
            lx += wx[i] * l;
            l2 += w[i] * l * l;
        }
        hone_lanes sc = lx / l2;
        if (t == 0) {
            sc = hone_lanes_pick((hone_ilanes)(l2 == 0.0f), hone_lanes_all(0), sc);
            inverse = inv;
            scale = sc;
            best = sc * lx;
            continue;
        }
        hone_ilanes hit = (hone_ilanes)(l2 > 0.0f) & (hone_ilanes)(lx * lx > best * l2);
        inverse = hone_lanes_pick(hit, inv, inverse);
        scale = hone_lanes_pick(hit, sc, scale);
        best = hone_lanes_pick(hit, sc * lx, best);
    }
    for (int b = 0; b < count; b++) {
        bool zeros = size[b] < HONE_FIT_EPS;
        scale_out[b] = zeros ? 0 : scale[b];
        if (zeros) memset(level + n * b, 0, (size_t)n);
        else hone_levels(n, x + n * b, 0, inverse[b], false, -nmax, nmax - 1, level + n * b);
    }
}
HONE_FIT_INLINE void hone_fits_symmetric(int n, int nmax, int count, const float *restrict x, const float *restrict w,
                                         uint8_t *restrict level, float *restrict scale)
{
    for (int b = 0; b < count; b += HONE_LANES)
        hone_fits_symmetric_group(n, nmax, count - b < HONE_LANES ? count - b : HONE_LANES, x + n * b, w ? w + n * b : NULL,
                                  level + n * b, scale + b);
}

/* One candidate of every lane: levels and the sums of least squares. */
typedef struct hone_fits_sums {
    hone_lanes l, l2, xl;
} hone_fits_sums;
HONE_FIT_INLINE hone_fits_sums hone_fits_offset_sums(int n, int nmax, bool near, hone_lanes inverse, hone_lanes lo,
                                                     const hone_lanes *restrict x, const hone_lanes *restrict w,
                                                     hone_lanes *restrict level)
{
    hone_fits_sums sum = { .l = { 0 } };
    for (int i = 0; i < n; i++) {
        hone_lanes v = inverse * (x[i] - lo);
        hone_lanes l = near ? hone_lanes_level_near(v, 0, nmax) : hone_lanes_level(v, 0, nmax);
        hone_lanes wl = w[i] * l;
        level[i] = l;
        sum.l += wl;
        sum.l2 += wl * l;
        sum.xl += wl * x[i];
    }
    return sum;
}

HONE_FIT_INLINE void hone_fits_offset_group(int n, int nmax, int count, const float *restrict x, const float *restrict weights,
                                            uint8_t *restrict level, float *restrict scale_out, float *restrict minus,
                                            float first, float delta, int n_steps, bool mad)
{
    hone_lanes xt[HONE_FIT_MAX], w[HONE_FIT_MAX], l[HONE_FIT_MAX];
    hone_lanes_turn(n, count, x, xt);
    hone_lanes_turn(n, count, weights, w);
    hone_lanes lo = xt[0], hi = xt[0], sum_w = w[0], sum_x = sum_w * xt[0];
    hone_ilanes odd = ((hone_ilanes)xt[0] & 0x7f800000) == 0x7f800000;
    for (int i = 1; i < n; i++) {
        lo = hone_lanes_min(xt[i], lo);
        hi = hone_lanes_max(xt[i], hi);
        odd |= ((hone_ilanes)xt[i] & 0x7f800000) == 0x7f800000;
        sum_w += w[i];
        sum_x += w[i] * xt[i];
    }
    const hone_lanes lowest = lo, zero = { 0 };
    lo = hone_lanes_pick((hone_ilanes)(lo > 0.0f), zero, lo);
    const hone_lanes at_first = lo;
    const hone_ilanes flat = (hone_ilanes)(hi == lo);
    const float top = (float)nmax;
    hone_lanes inverse = zero, origin = lo, scale = zero, best = zero;
    for (int is = -1; is <= n_steps; is++) {
        hone_lanes range = hi - lo, inv = (is < 0 ? top : first + delta * (float)is + top) / range;
        /* The test of hone_fit_offset in every lane that counts: where it fails, levels may wrap around. */
        hone_lanes below = (hone_lanes)((hone_ilanes)(lowest - lo) & 0x7fffffff);
        range = (hone_lanes)((hone_ilanes)range & 0x7fffffff);
        hone_lanes span = hone_lanes_pick((hone_ilanes)(range > below), range, below);
        hone_ilanes near = (hone_ilanes)(range > 1e-30f) & (hone_ilanes)((top + 4) * span < 4e6f * range) & ~odd;
        hone_fits_sums sum = hone_lanes_any(~near & ~flat) ? hone_fits_offset_sums(n, nmax, false, inv, lo, xt, w, l)
                                                           : hone_fits_offset_sums(n, nmax, true, inv, lo, xt, w, l);
        hone_lanes det = sum_w * sum.l2 - sum.l * sum.l;
        hone_lanes sc = (sum_w * sum.xl - sum_x * sum.l) / det, off = (sum.l2 * sum_x - sum.l * sum.xl) / det;
        hone_ilanes above = (hone_ilanes)(off > 0.0f);
        sc = is < 0 ? 1 / inv : hone_lanes_pick(above, sum.xl / sum.l2, sc);
        off = is < 0 ? lo : hone_lanes_pick(above, zero, off);
        hone_lanes err = zero;
        for (int i = 0; i < n; i++) {
            hone_lanes diff = sc * l[i] + off - xt[i];
            diff = mad ? (hone_lanes)((hone_ilanes)diff & 0x7fffffff) : diff * diff;
            err += w[i] * diff;
        }
        hone_ilanes hit = (hone_ilanes)(det > 0.0f) & (hone_ilanes)(err < best);
        if (is < 0) hit = ~(hone_ilanes)zero;
        best = hone_lanes_pick(hit, err, best);
        inverse = hone_lanes_pick(hit, inv, inverse);
        origin = hone_lanes_pick(hit, lo, origin);
        scale = hone_lanes_pick(hit, sc, scale);
        lo = hone_lanes_pick(hit, off, lo);
    }
    for (int b = 0; b < count; b++) {
        scale_out[b] = flat[b] ? 0 : scale[b];
        minus[b] = flat[b] ? -at_first[b] : -lo[b];
        if (flat[b]) memset(level + n * b, 0, (size_t)n);
        else hone_levels(n, x + n * b, -origin[b], inverse[b], false, 0, nmax, level + n * b);
    }
}
HONE_FIT_INLINE void hone_fits_offset(int n, int nmax, int count, const float *restrict x, const float *restrict w,
                                      uint8_t *restrict level, float *restrict scale, float *restrict minus, float first,
                                      float delta, int n_steps, bool mad)
{
    for (int b = 0; b < count; b += HONE_LANES)
        hone_fits_offset_group(n, nmax, count - b < HONE_LANES ? count - b : HONE_LANES, x + n * b, w + n * b, level + n * b,
                               scale + b, minus + b, first, delta, n_steps, mad);
}
#endif
#endif
