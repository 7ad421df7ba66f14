/* factor.c - H = U U^T, from the last column to the first. */
#include "quant/treat/solve/rows.h"
#include <float.h>

static float *row_of(float *a, size_t j) { return a + j * (j + 1) / 2; }

/* Rows [from, to) are done: their part is taken out of columns 0 .. j of every row j before from. */
static void take_out(float *a, size_t from, size_t to)
{
    enum { STRIP = 4 * HONE_LANES, TOGETHER = 2 };
    for (size_t i0 = 0; i0 < from; i0 += STRIP)
        for (size_t j = i0; j < from; j++) { /* row j has columns 0 .. j */
            size_t n = j + 1 - i0 < STRIP ? j + 1 - i0 : STRIP;
            float *c = row_of(a, j) + i0;
            if (n == STRIP) {
                hone_lanes sum[4];
                memcpy(sum, c, sizeof sum);
                for (size_t k = from; k < to; k++) {
                    const float *r = row_of(a, k);
                    float        f = r[j];
                    for (int p = 0; p < 4; p++) sum[p] -= f * hone_lanes_load(r + i0 + (size_t)p * HONE_LANES);
                }
                memcpy(c, sum, sizeof sum);
                continue;
            }
            for (size_t k = from; k < to; k++) {
                const float *r = row_of(a, k);
                for (size_t i = 0; i < n; i++) c[i] -= r[j] * r[i0 + i];
            }
        }
}

bool hone_factor(float *a, size_t n)
{
    enum { PANEL = 96 };
    for (size_t to = n; to > 0;) {
        size_t from = to > PANEL ? to - PANEL : 0;
        for (size_t j = to; j-- > from;) {
            float *r = row_of(a, j), pivot = r[j];
            if (!(pivot > 0) || !(pivot <= FLT_MAX)) return false;
            float root = sqrtf(pivot), by = 1 / root;
            for (size_t i = 0; i < j; i++) r[i] *= by;
            r[j] = root;
            for (size_t k = from; k < j; k++) {
                float *restrict c = row_of(a, k), f = r[k];
                for (size_t i = 0; i <= k; i++) c[i] -= f * r[i];
            }
        }
        take_out(a, from, to);
        to = from;
    }
    return true;
}
