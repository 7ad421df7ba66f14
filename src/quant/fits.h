/* fits.h - the searches of fit.h for many blocks that follow one another.
 * Four lanes: one block after the other, a lane a candidate scale.  Wider: a lane is a block, which goes through its candidates
 * in fit.h's order with fit.h's operations, so the bytes are the same and no candidate is tried in vain. */
#ifndef HONE_QUANT_FITS_H
#define HONE_QUANT_FITS_H
#include "quant/fit.h"

/* hone_fit_symmetric and hone_fit_offset for count blocks of n.  x, w, level: [count*n], scale: [count].  Without weights w: x^2, and for
 * the offset |x| + the block's root mean square. */
#if HONE_LANES_WIDTH == 4
HONE_FIT_INLINE void hone_fits_symmetric(int n, int nmax, int count, const float *restrict x, const float *restrict w,
                                         uint8_t *restrict level, float *restrict scale)
{
    for (int b = 0; b < count; b++) scale[b] = hone_fit_symmetric(n, nmax, x + n * b, w ? w + n * b : NULL, level + n * b);
}
HONE_FIT_INLINE void hone_fits_offset(int n, int nmax, int count, const float *restrict x, const float *restrict w, hone_offset_fits *restrict fit,
                                      float first, float delta, int n_steps, bool mad)
{
    for (int b = 0; b < count; b++) {
        float own[HONE_FIT_MAX];
        if (!w) {
            float sum = 0;
            for (int i = 0; i < n; i++) sum += x[n * b + i] * x[n * b + i];
            float typical = sqrtf(sum / (float)n);
            for (int i = 0; i < n; i++) own[i] = typical + fabsf(x[n * b + i]);
        }
        hone_fit_offset(n, nmax, x + n * b, w ? w + n * b : own, fit, b, first, delta, n_steps, mad);
    }
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
/* out[i * apart]: element i of each of count blocks; lanes beyond count repeat the last one. */
HONE_FIT_INLINE void hone_lanes_turn(int n, int count, int apart, const float *restrict x, hone_lanes *restrict out)
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
            out[(i + k) * apart] = (hone_lanes)_mm512_insertf32x8(_mm512_castps256_ps512(low[k]), high[k], 1);
#else
        for (int k = 0; k < 8; k++) out[(i + k) * apart] = (hone_lanes)low[k];
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
    hone_lanes_turn(n, count, 1, x, xt);
    if (weights) hone_lanes_turn(n, count, 1, weights, w);
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

/* hone_fits_offset goes through its candidates one after another, since each may move the offset that the next begins with: the
 * processor waits for the ends of sums.  So two vectors of blocks go side by side. */
enum { HONE_FITS_SIDE = 2 };

/* What one vector of blocks has come to: least and largest element, sums that no candidate changes, the best candidate so far.
 * lo: the offset that the next candidate begins with. */
typedef struct hone_fits_best {
    hone_lanes  lo, hi, lowest, at_first, sum_w, sum_x, inverse, origin, scale, err;
    hone_ilanes odd, flat;
} hone_fits_best;

HONE_FIT_INLINE hone_fits_best hone_fits_offset_begin(int n, int side, const hone_lanes *restrict x, const hone_lanes *restrict w)
{
    const hone_lanes zero = { 0 };
    hone_fits_best   f = { .lo = x[0], .hi = x[0], .sum_w = w[0], .sum_x = w[0] * x[0] };
    f.odd = ((hone_ilanes)x[0] & 0x7f800000) == 0x7f800000;
    for (int i = side; i < n * side; i += side) {
        f.lo = hone_lanes_min(x[i], f.lo);
        f.hi = hone_lanes_max(x[i], f.hi);
        f.odd |= ((hone_ilanes)x[i] & 0x7f800000) == 0x7f800000;
        f.sum_w += w[i];
        f.sum_x += w[i] * x[i];
    }
    f.lowest = f.lo;
    f.lo = hone_lanes_pick((hone_ilanes)(f.lo > 0.0f), zero, f.lo);
    f.at_first = f.origin = f.lo;
    f.flat = (hone_ilanes)(f.hi == f.lo);
    return f;
}

/* The test of hone_fit_offset in every lane that counts: where it fails, levels may wrap around. */
HONE_FIT_INLINE bool hone_fits_near(const hone_fits_best *f, float top)
{
    hone_lanes  range = hone_lanes_abs(f->hi - f->lo), below = hone_lanes_abs(f->lowest - f->lo);
    hone_lanes  span = hone_lanes_pick((hone_ilanes)(range > below), range, below);
    hone_ilanes near = (hone_ilanes)(range > 1e-30f) & (hone_ilanes)((top + 4) * span < 4e6f * range) & ~f->odd;
    return !hone_lanes_any(~near & ~f->flat);
}

/* near: hone_lanes_level_near will do.  capped: no element comes out above nmax. */
HONE_FIT_INLINE hone_lanes hone_fits_level(hone_lanes v, int nmax, bool near, bool capped)
{
    if (!near) return hone_lanes_level(v, 0, nmax);
    hone_lanes l = hone_lanes_max(hone_lanes_rint(v), hone_lanes_all(0));
    return capped ? l : hone_lanes_min(l, hone_lanes_all((float)nmax));
}

/* One candidate of every block: levels and the sums of least squares. */
typedef struct hone_fits_sums {
    hone_lanes l[HONE_FITS_SIDE], l2[HONE_FITS_SIDE], xl[HONE_FITS_SIDE];
} hone_fits_sums;
HONE_FIT_INLINE void hone_fits_offset_sums(int n, int nmax, int side, bool near, bool capped, const hone_lanes *restrict inverse,
                                           const hone_fits_best *restrict f, const hone_lanes *restrict x, const hone_lanes *restrict w,
                                           hone_lanes *restrict level, hone_fits_sums *restrict out)
{
    hone_fits_sums sum = { .l = { { 0 } } };
    for (int i = 0; i < n * side; i += side) {
#pragma GCC unroll 2
        for (int g = 0; g < side; g++) {
            hone_lanes l = hone_fits_level(inverse[g] * (x[i + g] - f[g].lo), nmax, near, capped), wl = w[i + g] * l;
            level[i + g] = l;
            sum.l[g] += wl;
            sum.l2[g] += wl * l;
            sum.xl[g] += wl * x[i + g];
        }
    }
    *out = sum;
}

HONE_FIT_INLINE void hone_fits_offset_errors(int n, int side, bool mad, const hone_lanes *restrict scale, const hone_lanes *restrict off,
                                             const hone_lanes *restrict x, const hone_lanes *restrict w,
                                             const hone_lanes *restrict level, hone_lanes *restrict out)
{
    hone_lanes err[HONE_FITS_SIDE] = { { 0 } };
    for (int i = 0; i < n * side; i += side) {
#pragma GCC unroll 2
        for (int g = 0; g < side; g++) {
            hone_lanes diff = scale[g] * level[i + g] + off[g] - x[i + g];
            diff = mad ? hone_lanes_abs(diff) : diff * diff;
            err[g] += w[i + g] * diff;
        }
    }
    for (int g = 0; g < side; g++) out[g] = err[g];
}

/* Candidate `is` of side vectors of blocks; -1: the range as it is. */
HONE_FIT_INLINE void hone_fits_offset_try(int n, int nmax, int side, int is, float step, bool mad, const hone_lanes *restrict x,
                                          const hone_lanes *restrict w, hone_fits_best *restrict f)
{
    const hone_lanes zero = { 0 };
    const float      top = (float)nmax;
    hone_lanes       level[HONE_FIT_MAX * HONE_FITS_SIDE], inv[HONE_FITS_SIDE], sc[HONE_FITS_SIDE], off[HONE_FITS_SIDE], err[HONE_FITS_SIDE];
    hone_ilanes      solved[HONE_FITS_SIDE];
    hone_fits_sums   sum;
    bool             near = true, capped = is < 0 || step < 0.4f; /* the largest comes to top + step, unless the offset is beyond it */
    for (int g = 0; g < side; g++) {
        capped = capped && !hone_lanes_any((hone_ilanes)(f[g].hi < f[g].lo));
        inv[g] = (is < 0 ? top : step + top) / (f[g].hi - f[g].lo);
        near = near && hone_fits_near(&f[g], top);
    }
    if (!near) hone_fits_offset_sums(n, nmax, side, false, false, inv, f, x, w, level, &sum);
    else if (capped) hone_fits_offset_sums(n, nmax, side, true, true, inv, f, x, w, level, &sum);
    else hone_fits_offset_sums(n, nmax, side, true, false, inv, f, x, w, level, &sum);
    for (int g = 0; g < side; g++) {
        hone_lanes det = f[g].sum_w * sum.l2[g] - sum.l[g] * sum.l[g];
        solved[g] = (hone_ilanes)(det > 0.0f);
        sc[g] = (f[g].sum_w * sum.xl[g] - f[g].sum_x * sum.l[g]) / det;
        off[g] = (sum.l2[g] * f[g].sum_x - sum.l[g] * sum.xl[g]) / det;
        hone_ilanes above = (hone_ilanes)(off[g] > 0.0f);
        sc[g] = is < 0 ? 1 / inv[g] : hone_lanes_pick(above, sum.xl[g] / sum.l2[g], sc[g]);
        off[g] = is < 0 ? f[g].lo : hone_lanes_pick(above, zero, off[g]);
    }
    hone_fits_offset_errors(n, side, mad, sc, off, x, w, level, err);
    for (int g = 0; g < side; g++) {
        hone_ilanes hit = is < 0 ? ~(hone_ilanes)zero : solved[g] & (hone_ilanes)(err[g] < f[g].err);
        f[g].err = hone_lanes_pick(hit, err[g], f[g].err);
        f[g].inverse = hone_lanes_pick(hit, inv[g], f[g].inverse);
        f[g].origin = hone_lanes_pick(hit, f[g].lo, f[g].origin);
        f[g].scale = hone_lanes_pick(hit, sc[g], f[g].scale);
        f[g].lo = hone_lanes_pick(hit, off[g], f[g].lo);
    }
}

/* The weights that hone_fits_offset takes by itself. */
HONE_FIT_INLINE void hone_fits_typical(int n, int side, const hone_lanes *restrict x, hone_lanes *restrict w)
{
    hone_lanes sum = { 0 }, typical;
    for (int i = 0; i < n * side; i += side) sum += x[i] * x[i];
    sum /= (float)n;
#if HONE_LANES_WIDTH == 16
    typical = (hone_lanes)_mm512_sqrt_ps((__m512)sum);
#else
    typical = (hone_lanes)_mm256_sqrt_ps((__m256)sum);
#endif
    for (int i = 0; i < n * side; i += side) w[i] = typical + hone_lanes_abs(x[i]);
}

/* Blocks at, at + 1, ..: count of them, 1 to side * HONE_LANES, the last vector at least one. */
HONE_FIT_INLINE void hone_fits_offset_group(int n, int nmax, int side, int at, int count, const float *restrict x, const float *restrict weights,
                                            hone_offset_fits *restrict fit, float first, float delta, int n_steps, bool mad)
{
    hone_lanes     xt[HONE_FIT_MAX * HONE_FITS_SIDE], w[HONE_FIT_MAX * HONE_FITS_SIDE];
    hone_fits_best f[HONE_FITS_SIDE];
    for (int g = 0; g < side; g++) {
        int from = at + HONE_LANES * g, left = count - HONE_LANES * g < HONE_LANES ? count - HONE_LANES * g : HONE_LANES;
        hone_lanes_turn(n, left, side, x + n * from, xt + g);
        if (weights) hone_lanes_turn(n, left, side, weights + n * from, w + g);
        else hone_fits_typical(n, side, xt + g, w + g);
        f[g] = hone_fits_offset_begin(n, side, xt + g, w + g);
    }
    for (int is = -1; is <= n_steps; is++) hone_fits_offset_try(n, nmax, side, is, first + delta * (float)is, mad, xt, w, f);
    for (int b = 0; b < count; b++) {
        const hone_fits_best *of = &f[b / HONE_LANES];
        const int             k = b % HONE_LANES;
        const bool            flat = of->flat[k];
        fit->scale[at + b] = flat ? 0 : of->scale[k];
        fit->minus[at + b] = flat ? -of->at_first[k] : -of->lo[k];
        fit->origin[at + b] = flat ? 0 : of->origin[k];
        fit->inverse[at + b] = flat ? 0 : of->inverse[k];
    }
}
HONE_FIT_INLINE void hone_fits_offset(int n, int nmax, int count, const float *restrict x, const float *restrict w, hone_offset_fits *restrict fit,
                                      float first, float delta, int n_steps, bool mad)
{
    const int most = HONE_FITS_SIDE * HONE_LANES;
    for (int b = 0; b < count; b += most) {
        int left = count - b < most ? count - b : most;
        if (left > HONE_LANES) hone_fits_offset_group(n, nmax, HONE_FITS_SIDE, b, left, x, w, fit, first, delta, n_steps, mad);
        else hone_fits_offset_group(n, nmax, 1, b, left, x, w, fit, first, delta, n_steps, mad);
    }
}
#endif
#endif
