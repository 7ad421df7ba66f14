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

/* Ones when nothing is known. */
static void diagonal_only(hone_curve *c, const float *diagonal, size_t stride)
{
    double mean = mean_of(diagonal, c->n, stride);
    for (size_t i = 0; i < c->n; i++) c->alone[i] = mean > 0 ? (float)((double)usual(diagonal[i * stride]) / mean) : 1.0f;
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

/* H with `damping` on its diagonal, and its triangle. */
static bool try_damping(hone_curve *c, const float *h, double mean, double damping)
{
    size_t n = c->n;
    for (size_t i = 0; i < n * n; i++) c->h[i] = (float)((double)h[i] / mean);
    for (size_t i = 0; i < n; i++) c->h[i * n + i] = usual(c->h[i * n + i]) + (float)damping;
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

hone_code hone_curve_make(hone_curve *c, size_t n, const float *h, double damping, hone_err *err)
{
    uint64_t cells;
    *c = (hone_curve){ .n = n };
    if (!hone_size_mul(n, n, &cells) || cells > SIZE_MAX / 16) return HONE_NOMEM(err, "a Hessian");
    c->h = malloc((size_t)cells * sizeof *c->h);
    c->ahead = malloc(triangle(n) * sizeof *c->ahead);
    c->alone = malloc(n * sizeof *c->alone);
    if (!c->h || !c->ahead || !c->alone) {
        hone_curve_release(c);
        return HONE_NOMEM(err, "a Hessian");
    }
    double mean = mean_of(h, n, n + 1);
    bool   good = mean > 0 && all_finite(h, (size_t)cells);
    for (int tries = 0; good && tries < 4; tries++, damping *= 10)
        if (try_damping(c, h, mean, damping)) return HONE_OK;
    diagonal_only(c, h, n + 1);
    return HONE_OK;
}

hone_code hone_curve_make_diagonal(hone_curve *c, size_t n, const float *sum_sq, hone_err *err)
{
    *c = (hone_curve){ .n = n, .alone = malloc(n * sizeof *c->alone) };
    if (!c->alone) return HONE_NOMEM(err, "an importance");
    diagonal_only(c, sum_sq, 1);
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
