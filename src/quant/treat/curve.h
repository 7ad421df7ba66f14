/* curve.h - how much the error of a layer's output rises with errors of its weights: (w - q) H (w - q)^T for a row w, where H is the
 * mean of x x^T over the inputs x; and H = U U^T with U upper triangular, which tells what a column's rounding asks of the columns after it.
 * Rounding one column after the other and handing its error on through U is GPTQ (Frantar et al. 2022, arXiv:2210.17323) in the form of
 * LDLQ (Chee et al. 2023, arXiv:2307.13304, theorem 6: the same numbers), which needs no inverse. */
#ifndef HONE_QUANT_TREAT_CURVE_H
#define HONE_QUANT_TREAT_CURVE_H
#include "base/err.h"
#include <stddef.h>

typedef struct hone_curve {
    size_t n;      /* columns */
    float *h;      /* [n, n] H, damped, with a mean of 1 on the diagonal; NULL: only the diagonal is known */
    float *ahead;  /* row j: j + 1 floats from j * (j + 1) / 2 on, U[i][j] / U[j][j] for i <= j; NULL with h */
    float *alone;  /* [n] U[j][j]^2: what an error of column j costs when the later columns make up for it; the diagonal when h is NULL */
} hone_curve;

/* Bytes that hone_curve_make holds, also while it works. */
size_t hone_curve_bytes(size_t n);
/* From sums of x x^T (h: [n, n], symmetric, n > 0; any numbers, also NaN), which is taken over: c's from now on, also on failure, and from
 * malloc.  damping: what is added to the diagonal, as a part of its mean (0.01 is usual); more is added where that is not enough.  Where nothing
 * helps, only the diagonal is kept.  Same result on every CPU.  hone_curve_release after.  HONE_ERESOURCE. */
hone_code hone_curve_make(hone_curve *c, size_t n, float *h, double damping, hone_err *err);
/* From sums of squares: only the diagonal; what is not a positive number counts as 0. */
hone_code hone_curve_make_diagonal(hone_curve *c, size_t n, const float *sum_sq, hone_err *err);
void      hone_curve_release(hone_curve *c);
#endif
