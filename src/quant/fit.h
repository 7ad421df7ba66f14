/* fit.h - searches for the scale (and offset) of one small block that leave the least weighted error.
 * Each is the algorithm of a function in ggml src/ggml-quants.c, with the same float operations in the same order, so the
 * bytes are the same.  Why they are searches: rounding makes the error a jagged function of the scale, hence a handful of
 * candidate scales, each refined by least squares for the levels it produced.
 * All are inlined: block length n and top level nmax are constants at every call. */
#ifndef HONE_QUANT_FIT_H
#define HONE_QUANT_FIT_H
#include "quant/lanes.h"

#define HONE_FIT_INLINE static inline __attribute__((always_inline))

enum { HONE_FIT_MAX = 32 };      /* longest block */
#define HONE_FIT_EPS 1e-15f      /* a block whose largest magnitude is below this is a block of zeros (GROUP_MAX_EPS) */

/* The element of largest magnitude, sign kept; 0 when all are zero (or NaN). */
HONE_FIT_INLINE float hone_fit_peak(int n, const float *x)
{
    float peak = 0, size = 0;
    for (int i = 0; i < n; i++) {
        float a = fabsf(x[i]);
        if (a > size) {
            size = a;
            peak = x[i];
        }
    }
    return peak;
}

/* x[i] ~ scale * (level[i] - nmax), level in 0..2*nmax-1.  w: weights, NULL for x[i]^2.  Returns scale.
 * 19 scales around peak/-nmax: the peak gets the longer, negative side of the range.  (make_qx_quants, rmse_type 1) */
HONE_FIT_INLINE float hone_fit_symmetric(int n, int nmax, const float *restrict x, const float *restrict w,
                                         uint8_t *restrict level)
{
    float peak = hone_fit_peak(n, x);
    if (fabsf(peak) < HONE_FIT_EPS) {
        memset(level, 0, (size_t)n);
        return 0;
    }
    float wi[HONE_FIT_MAX], wx[HONE_FIT_MAX];
    for (int i = 0; i < n; i++) {
        wi[i] = w ? w[i] : x[i] * x[i];
        wx[i] = wi[i] * x[i];
    }
    float inverse = (float)-nmax / peak, sum_lx = 0, sum_l2 = 0;
    for (int i = 0; i < n; i++) {
        float l = (float)hone_clamp(hone_nearest(inverse * x[i]), -nmax, nmax - 1);
        sum_lx += wx[i] * l;
        sum_l2 += wi[i] * l * l;
    }
    float scale = sum_l2 != 0 ? sum_lx / sum_l2 : 0.0f, best = scale * sum_lx;

    static const float step[][HONE_LANES] = {
        { -9, -8, -7, -6 }, { -5, -4, -3, -2 }, { -1, 1, 2, 3 }, { 4, 5, 6, 7 }, { 8, 9, 9, 9 }, /* the repeats never win */
    };
    for (size_t s = 0; s < HONE_COUNT(step); s++) {
        hone_lanes is, lx = { 0 }, l2 = { 0 };
        memcpy(&is, step[s], sizeof is);
        hone_lanes inv = -((float)nmax + 0.1f * is) / peak;
        for (int i = 0; i < n; i++) {
            hone_lanes l = hone_lanes_level(inv * x[i], -nmax, nmax - 1);
            lx += wx[i] * l;
            l2 += wi[i] * l * l;
        }
        for (int k = 0; k < HONE_LANES; k++)
            if (l2[k] > 0 && lx[k] * lx[k] > best * l2[k]) {
                inverse = inv[k];
                scale = lx[k] / l2[k];
                best = scale * lx[k];
            }
    }
    for (int i = 0; i < n; i++) level[i] = (uint8_t)(nmax + hone_clamp(hone_nearest(inverse * x[i]), -nmax, nmax - 1));
    return scale;
}

/* x[i] ~ scale * level[i] - *minus, level in 0..nmax, *minus >= 0.  Returns scale.
 * n_steps+1 scales (first + delta*step + nmax)/range, each refined by least squares in scale and offset; error is the
 * weighted sum of squares, or of magnitudes when `mad`.  (make_qkx2_quants, make_qkx3_quants)
 * A better offset moves the origin of the later candidates, so four are tried ahead and those after a hit are tried again. */
HONE_FIT_INLINE float hone_fit_offset(int n, int nmax, const float *restrict x, const float *restrict w,
                                      uint8_t *restrict level, float *restrict minus, float first, float delta, int n_steps,
                                      bool mad)
{
    float lo = x[0], hi = x[0], sum_w = w[0], sum_x = sum_w * x[0];
    for (int i = 1; i < n; i++) {
        if (x[i] < lo) lo = x[i];
        if (x[i] > hi) hi = x[i];
        sum_w += w[i];
        sum_x += w[i] * x[i];
    }
    if (lo > 0) lo = 0;
    if (hi == lo) {
        memset(level, 0, (size_t)n);
        *minus = -lo;
        return 0;
    }
    float top = (float)nmax, inverse = top / (hi - lo), origin = lo, scale = 1 / inverse, best = 0;
    for (int i = 0; i < n; i++) {
        float l = (float)hone_clamp(hone_nearest(inverse * (x[i] - lo)), 0, nmax);
        float diff = scale * l + lo - x[i];
        diff = mad ? fabsf(diff) : diff * diff;
        best += w[i] * diff;
    }
    for (int is = 0; is <= n_steps;) {
        hone_lanes step = { (float)is, (float)(is + 1), (float)(is + 2), (float)(is + 3) };
        hone_lanes inv = (first + delta * step + top) / (hi - lo);
        hone_lanes sum_l = { 0 }, sum_l2 = { 0 }, sum_xl = { 0 }, l[HONE_FIT_MAX];
        for (int i = 0; i < n; i++) {
            l[i] = hone_lanes_level(inv * (x[i] - lo), 0, nmax);
            hone_lanes wl = w[i] * l[i];
            sum_l += wl;
            sum_l2 += wl * l[i];
            sum_xl += wl * x[i];
        }
        hone_lanes det = sum_w * sum_l2 - sum_l * sum_l;
        hone_lanes sc = (sum_w * sum_xl - sum_x * sum_l) / det, off = (sum_l2 * sum_x - sum_l * sum_xl) / det;
        hone_ilanes above = (hone_ilanes)(off > 0.0f);
        sc = hone_lanes_pick(above, sum_xl / sum_l2, sc);
        off = hone_lanes_pick(above, hone_lanes_all(0), off);
        hone_lanes err = { 0 };
        for (int i = 0; i < n; i++) {
            hone_lanes diff = sc * l[i] + off - x[i];
            diff = mad ? (hone_lanes)((hone_ilanes)diff & 0x7fffffff) : diff * diff;
            err += w[i] * diff;
        }
        int tried = 0;
        for (bool moved = false; tried < HONE_LANES && is + tried <= n_steps && !moved; tried++)
            if (det[tried] > 0 && err[tried] < best) {
                best = err[tried];
                inverse = inv[tried];
                origin = lo;
                scale = sc[tried];
                moved = off[tried] != lo;
                lo = off[tried];
            }
        is += tried;
    }
    for (int i = 0; i < n; i++) level[i] = (uint8_t)hone_clamp(hone_nearest(inverse * (x[i] - origin)), 0, nmax);
    *minus = -lo;
    return scale;
}

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
