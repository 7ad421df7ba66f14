/* fit.h - searches for the scale (and offset) of one small block that leave the least weighted error.
 * Each is the algorithm of a function in ggml src/ggml-quants.c, with the same float operations in the same order, so the
 * bytes are the same.  Why they are searches: rounding makes the error a jagged function of the scale, hence a handful of
 * candidate scales, each refined by least squares for the levels it produced.
 * All are inlined: block length n and top level nmax are constants at every call. */
#ifndef HONE_QUANT_FIT_H
#define HONE_QUANT_FIT_H
#include "quant/lanes.h"

enum { HONE_FIT_MAX = 32 };      /* longest block */
#define HONE_FIT_EPS 1e-15f      /* a block whose largest magnitude is below this is a block of zeros (GROUP_MAX_EPS) */

#if HONE_LANES_WIDTH == 4 /* wider: quant/fits.h */
/* One group of candidates of hone_fit_symmetric: the two sums of least squares.  near: hone_lanes_level_near will do. */
HONE_FIT_INLINE void hone_fit_symmetric_sums(int n, int nmax, bool near, hone_lanes inverse, const float *restrict x,
                                             const float *restrict w, const float *restrict wx, hone_lanes *lx, hone_lanes *l2)
{
    hone_lanes sum_lx = { 0 }, sum_l2 = { 0 };
    for (int i = 0; i < n; i++) {
        hone_lanes v = inverse * x[i];
        hone_lanes l = near ? hone_lanes_level_near(v, -nmax, nmax - 1) : hone_lanes_level(v, -nmax, nmax - 1);
        sum_lx += wx[i] * l;
        sum_l2 += w[i] * l * l;
    }
    *lx = sum_lx;
    *l2 = sum_l2;
}

/* x[i] ~ scale * (level[i] - nmax), level in 0..2*nmax-1.  importance: weights, NULL for x[i]^2.  Returns scale.
 * 19 scales around peak/-nmax: the peak gets the longer, negative side of the range.  (make_qx_quants, rmse_type 1) */
HONE_FIT_INLINE float hone_fit_symmetric(int n, int nmax, const float *restrict x, const float *restrict importance,
                                         uint8_t *restrict level)
{
    float peak = hone_peak(n, x);
    if (fabsf(peak) < HONE_FIT_EPS) {
        memset(level, 0, (size_t)n);
        return 0;
    }
    float w[HONE_FIT_MAX], wx[HONE_FIT_MAX];
    for (int i = 0; i < n; i++) {
        w[i] = importance ? importance[i] : x[i] * x[i];
        wx[i] = w[i] * x[i];
    }
    static const float step[][HONE_LANES] = {
        { 0, -9, -8, -7 }, { -6, -5, -4, -3 }, { -2, -1, 1, 2 }, { 3, 4, 5, 6 }, { 7, 8, 9, 9 }, /* the repeat never wins */
    };
    bool near = hone_all_finite(n, x); /* then |x / peak| <= 1 */
    float inverse = 0, scale = 0, best = 0;
    for (size_t s = 0; s < HONE_COUNT(step); s++) {
        hone_lanes inv = -((float)nmax + 0.1f * hone_lanes_load(step[s])) / peak, lx, l2;
        if (near) hone_fit_symmetric_sums(n, nmax, true, inv, x, w, wx, &lx, &l2);
        else hone_fit_symmetric_sums(n, nmax, false, inv, x, w, wx, &lx, &l2);
        for (int k = 0; k < HONE_LANES; k++) {
            bool start = s == 0 && k == 0;
            if (start || (l2[k] > 0 && lx[k] * lx[k] > best * l2[k])) {
                inverse = inv[k];
                scale = start && l2[k] == 0 ? 0 : lx[k] / l2[k];
                best = scale * lx[k];
            }
        }
    }
    hone_levels(n, x, 0, inverse, false, -nmax, nmax - 1, level);
    return scale;
}

#endif

/* x[i] ~ scale * level[i] - minus, level in 0..nmax, minus >= 0, level[i] = nearest((x[i] - origin) * inverse): hone_offset_levels.  Blocks
 * side by side.  flat: all numbers equal, then inverse is 0. */
typedef struct hone_offset_fits {
    float scale[HONE_FIT_MAX], minus[HONE_FIT_MAX], origin[HONE_FIT_MAX], inverse[HONE_FIT_MAX];
} hone_offset_fits;
HONE_FIT_INLINE void hone_offset_levels(int n, int nmax, const hone_offset_fits *fit, int b, const float *restrict x, uint8_t *restrict level)
{
    hone_levels(n, x, -fit->origin[b], fit->inverse[b], false, 0, nmax, level);
}

#if HONE_LANES_WIDTH == 4
/* One group of candidates of hone_fit_offset: levels and the sums of least squares. */
typedef struct hone_fit_sums {
    hone_lanes l, l2, xl;
} hone_fit_sums;
HONE_FIT_INLINE hone_fit_sums hone_fit_offset_sums(int n, int nmax, bool near, hone_lanes inverse, float lo,
                                                   const float *restrict x, const float *restrict w, hone_lanes *restrict level)
{
    hone_fit_sums sum = { .l = { 0 } };
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

/* Fits block b of fit to x.
 * The scale range/nmax as it is, then n_steps+1 scales range/(first + delta*step + nmax), each refined by least squares in
 * scale and offset; the error is the weighted sum of squares, or of magnitudes when `mad`.
 * (make_qkx2_quants, make_qkx3_quants)
 * A better offset moves the origin of the later candidates, so four are tried ahead and those after a hit are tried again. */
HONE_FIT_INLINE void hone_fit_offset(int n, int nmax, const float *restrict x, const float *restrict w, hone_offset_fits *restrict fit, int b,
                                     float first, float delta, int n_steps, bool mad)
{
    float lo = x[0], hi = x[0], sum_w = w[0], sum_x = sum_w * x[0];
    for (int i = 1; i < n; i++) {
        if (x[i] < lo) lo = x[i];
        if (x[i] > hi) hi = x[i];
        sum_w += w[i];
        sum_x += w[i] * x[i];
    }
    const float lowest = lo;
    if (lo > 0) lo = 0;
    if (hi == lo) {
        fit->scale[b] = fit->origin[b] = fit->inverse[b] = 0;
        fit->minus[b] = -lo;
        return;
    }
    const float top = (float)nmax;
    const bool finite = hone_all_finite(n, x);
    float inverse = 0, origin = lo, scale = 0, best = 0;
    for (int is = -1; is <= n_steps;) {
        hone_lanes step = { (float)is, (float)(is + 1), (float)(is + 2), (float)(is + 3) };
        hone_lanes inv = (first + delta * step + top) / (hi - lo);
        if (is < 0) inv[0] = top / (hi - lo);
        /* |first + delta*step| stays below 4: the products stay far inside 2^22 unless the origin moved next to hi. */
        float range = fabsf(hi - lo), below = fabsf(lowest - lo), span = range > below ? range : below;
        hone_lanes l[HONE_FIT_MAX];
        hone_fit_sums sum = finite && range > 1e-30f && (top + 4) * span < 4e6f * range
                                ? hone_fit_offset_sums(n, nmax, true, inv, lo, x, w, l)
                                : hone_fit_offset_sums(n, nmax, false, inv, lo, x, w, l);
        hone_lanes det = sum_w * sum.l2 - sum.l * sum.l;
        hone_lanes sc = (sum_w * sum.xl - sum_x * sum.l) / det, off = (sum.l2 * sum_x - sum.l * sum.xl) / det;
        hone_ilanes above = (hone_ilanes)(off > 0.0f);
        sc = hone_lanes_pick(above, sum.xl / sum.l2, sc);
        off = hone_lanes_pick(above, hone_lanes_all(0), off);
        if (is < 0) {
            sc[0] = 1 / inv[0];
            off[0] = lo;
        }
        hone_lanes err = { 0 };
        for (int i = 0; i < n; i++) {
            hone_lanes diff = sc * l[i] + off - x[i];
            diff = mad ? (hone_lanes)((hone_ilanes)diff & 0x7fffffff) : diff * diff;
            err += w[i] * diff;
        }
        int tried = 0;
        for (bool moved = false; tried < HONE_LANES && is + tried <= n_steps && !moved; tried++) {
            bool start = is + tried < 0;
            if (start || (det[tried] > 0 && err[tried] < best)) {
                best = err[tried];
                inverse = inv[tried];
                origin = lo;
                scale = sc[tried];
                moved = off[tried] != lo;
                lo = off[tried];
            }
        }
        is += tried;
    }
    fit->scale[b] = scale;
    fit->minus[b] = -lo;
    fit->origin[b] = origin;
    fit->inverse[b] = inverse;
}
#endif

/* x[i] ~ scale * level[i] for x[i] >= 0 (the scales of sub-blocks), level in 0..nmax.  Returns scale.
 * Nine scales, then up to five sweeps that move one level at a time.  (make_qp_quants)
 * A level is stored in a byte without a check below zero, as there: a negative x[i] wraps. */
HONE_FIT_INLINE float hone_fit_positive(int n, int nmax, const float *restrict x, uint8_t *restrict level,
                                        const float *restrict w)
{
    float max = 0;
    for (int i = 0; i < n; i++) max = max > x[i] ? max : x[i];
    if (max < HONE_FIT_EPS) {
        memset(level, 0, (size_t)n);
        return 0;
    }
    float top = (float)nmax, inverse = top / max, scale = 1 / inverse, best = 0;
    for (int i = 0; i < n; i++) {
        float diff = x[i] - scale * (float)(uint8_t)hone_nearest(inverse * x[i]);
        best += w[i] * diff * diff;
    }
    for (int is = -4; is <= 4; is++) {
        if (is == 0) continue;
        float inv = (0.1f * (float)is + top) / max, sc = 1 / inv, err = 0;
        for (int i = 0; i < n; i++) {
            int32_t l = hone_nearest(inv * x[i]);
            float diff = x[i] - sc * (float)(l < nmax ? l : nmax);
            err += w[i] * diff * diff;
        }
        if (err < best) {
            best = err;
            inverse = inv;
        }
    }
    float sum_lx = 0, sum_l2 = 0;
    for (int i = 0; i < n; i++) {
        int32_t l = hone_nearest(inverse * x[i]);
        l = l < nmax ? l : nmax;
        level[i] = (uint8_t)l;
        sum_lx += w[i] * x[i] * (float)l;
        sum_l2 += w[i] * (float)l * (float)l;
    }
    for (int sweep = 0; sweep < 5; sweep++) {
        bool changed = false;
        for (int i = 0; i < n; i++) {
            float old = (float)level[i], lx = sum_lx - w[i] * x[i] * old, l2 = sum_l2 - w[i] * old * old;
            if (!(lx > 0 && l2 > 0)) continue;
            int32_t l = hone_nearest(x[i] * l2 / lx);
            l = l < nmax ? l : nmax;
            if (l == level[i]) continue;
            lx += w[i] * x[i] * (float)l;
            l2 += w[i] * (float)l * (float)l;
            if (lx * lx * sum_l2 > sum_lx * sum_lx * l2) {
                level[i] = (uint8_t)l;
                sum_lx = lx;
                sum_l2 = l2;
                changed = true;
            }
        }
        if (!changed) break;
    }
    return sum_l2 > 0 ? sum_lx / sum_l2 : 0.0f;
}
#endif
