#include "quant/treat/curve.h"
#include "base/arena.h"
#include "base/bytes.h"
#include "quant/treat/solve.h"
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static size_t triangle(size_t n) { return n * (n + 1) / 2; }

size_t hone_curve_bytes(size_t n) { return (n * n + triangle(n) + n) * sizeof(float); }

static float usual(float v) { return v > 0 && v <= FLT_MAX ? v : 0; }

/* Numbers on the diagonal get a mean of 1: products stay far from the ends of float.  0: there is nothing. */
static double mean_of(const float *diagonal, size_t n, size_t stride)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)usual(diagonal[i * stride]);
    return sum / (double)n;
}

/* Ones when nothing is known.  `diagonal` may be c->alone. */
static void diagonal_only(hone_curve *c, const float *diagonal)
{
    double mean = mean_of(diagonal, c->n, 1);
    for (size_t i = 0; i < c->n; i++) c->alone[i] = mean > 0 ? (float)((double)usual(diagonal[i]) / mean) : 1.0f;
    free(c->h);
    free(c->ahead);
    c->h = c->ahead = NULL;
}

static bool all_finite(const float *h, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(h[i]) <= FLT_MAX)) return false;
    return true;
}

/* `more` onto the diagonal of H, and its triangle.  False: still not positive. */
static bool try_damping(hone_curve *c, float more)
{
    size_t n = c->n;
    for (size_t i = 0; i < n; i++) c->h[i * n + i] += more;
    for (size_t j = 0; j < n; j++) memcpy(c->ahead + triangle(j), c->h + j * n, (j + 1) * sizeof *c->h);
    if (!hone_solver_find()->factor(c->ahead, n)) return false;
    for (size_t j = 0; j < n; j++) {
        float *row = c->ahead + triangle(j), by = 1 / row[j];
        c->alone[j] = row[j] * row[j];
        for (size_t i = 0; i <= j; i++) row[i] *= by;
        if (!all_finite(row, j + 1)) return false;
    }
    return true;
}

/* c->h with a mean of 1 on its diagonal; false when it is no Hessian. */
static bool normalise(hone_curve *c)
{
    size_t n = c->n;
    double mean = mean_of(c->h, n, n + 1);
    if (!(mean > 0)) return false;
    for (size_t i = 0; i < n * n; i++) c->h[i] = (float)((double)c->h[i] / mean);
    for (size_t i = 0; i < n; i++) c->h[i * n + i] = usual(c->h[i * n + i]);
    return all_finite(c->h, n * n);
}

hone_code hone_curve_make(hone_curve *c, size_t n, float *h, double damping, hone_err *err)
{
    *c = (hone_curve){ .n = n, .h = h, .ahead = malloc(triangle(n) * sizeof *c->ahead), .alone = malloc(n * sizeof *c->alone) };
    if (!c->ahead || !c->alone) {
        hone_curve_release(c);
        return HONE_NOMEM(err, "a Hessian");
    }
    bool   good = normalise(c);
    double more = damping;
    for (int tries = 0; good && tries < 4; tries++, more *= 10) /* each adds its part */
        if (try_damping(c, (float)more)) return HONE_OK;
    for (size_t i = 0; i < n; i++) c->alone[i] = c->h[i * n + i];
    diagonal_only(c, c->alone);
    return HONE_OK;
}

hone_code hone_curve_make_diagonal(hone_curve *c, size_t n, const float *sum_sq, hone_err *err)
{
    *c = (hone_curve){ .n = n, .alone = malloc(n * sizeof *c->alone) };
    if (!c->alone) return HONE_NOMEM(err, "an importance");
    diagonal_only(c, sum_sq);
    return HONE_OK;
}

void hone_curve_release(hone_curve *c)
{
    if (!c) return;
    free(c->h);
    free(c->ahead);
    free(c->alone);
    *c = (hone_curve){ 0 };
}
