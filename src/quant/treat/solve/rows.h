/* rows.h - what the parts of the solver do with HONE_SIDE rows side by side: sums over columns, codes, numbers that bytes can hold.
 * Private to solve.c and solve/, which are compiled once for each width of lanes. */
#ifndef HONE_QUANT_TREAT_SOLVE_ROWS_H
#define HONE_QUANT_TREAT_SOLVE_ROWS_H
#include "quant/grouped/scheme.h"
#include "quant/lanes.h"
#include "quant/treat/solve.h"

#define R HONE_SIDE
typedef float lane[R];
#define EACH for (size_t l = 0; l < R; l++)

/* ---- sums over columns ---- */

enum { ROWS_AT_ONCE = HONE_LANES == 4 ? 2 : 4, PARTS = R / HONE_LANES };

/* t[c] = sum over i of row[c][i] * e[i], for `rows` rows; every sum in the order of i. */
HONE_FIT_INLINE void dots_of(int rows, const float *const *row, size_t m, const float *e, float *t)
{
    hone_lanes sum[ROWS_AT_ONCE][PARTS];
    memset(sum, 0, sizeof sum);
    for (size_t i = 0; i < m; i++)
        for (int p = 0; p < PARTS; p++) {
            hone_lanes v = hone_lanes_load(e + i * R + p * HONE_LANES);
            for (int c = 0; c < rows; c++) sum[c][p] += row[c][i] * v;
        }
    for (int c = 0; c < rows; c++) memcpy(t + c * R, sum[c], sizeof sum[c]);
}

/* Rows first .. first+count of h, each from column `at` on, m columns. */
static inline void dots(const hone_curve *c, size_t first, size_t count, size_t at, size_t m, const float *e, float *t)
{
    const float *row[ROWS_AT_ONCE];
    size_t       k = 0;
    for (; k + ROWS_AT_ONCE <= count; k += ROWS_AT_ONCE) {
        for (size_t i = 0; i < ROWS_AT_ONCE; i++) row[i] = c->h + (first + k + i) * c->n + at;
        dots_of(ROWS_AT_ONCE, row, m, e, t + k * R);
    }
    for (; k < count; k++) {
        row[0] = c->h + (first + k) * c->n + at;
        dots_of(1, row, m, e, t + k * R);
    }
}

static inline const float *ahead_row(const hone_curve *c, size_t j) { return c->ahead + j * (j + 1) / 2; }

/* What the errors of columns before m ask of columns first .. first+count, m <= first. */
static inline void asked(const hone_curve *c, size_t first, size_t count, size_t m, const float *e, float *t)
{
    const float *row[ROWS_AT_ONCE];
    size_t       k = 0;
    for (; k + ROWS_AT_ONCE <= count; k += ROWS_AT_ONCE) {
        for (size_t i = 0; i < ROWS_AT_ONCE; i++) row[i] = ahead_row(c, first + k + i);
        dots_of(ROWS_AT_ONCE, row, m, e, t + k * R);
    }
    for (; k < count; k++) {
        row[0] = ahead_row(c, first + k);
        dots_of(1, row, m, e, t + k * R);
    }
}

/* out = (the part of H that belongs to columns at .. at+m) u */
static inline void times_block(const hone_curve *c, size_t at, size_t m, const float *u, float *out)
{
    if (c->h) {
        dots(c, at, m, at, m, u, out);
        return;
    }
    for (size_t i = 0; i < m; i++) EACH out[i * R + l] = c->alone[at + i] * u[i * R + l];
}

/* ---- codes ---- */

/* The code whose number is nearest to (t - base) / step, as a float. */
static inline void nearest(const hone_layout *y, const float *restrict t, const float *restrict base, const float *restrict inverse, float *restrict code)
{
    const float top = (float)y->top;
    if (y->table) {
        EACH {
            float v = t[l] * inverse[l], n = 0;
            for (int k = 0; k < 15; k++) n += v >= 0.5f * (float)(y->table[k] + y->table[k + 1]) ? 1.0f : 0.0f;
            code[l] = n;
        }
        return;
    }
    EACH {
        float v = (t[l] - base[l]) * inverse[l];
        v = v > 0.0f ? v : 0.0f;
        v = v < top ? v : top;
        code[l] = (v + 12582912.0f) - 12582912.0f;
    }
}

/* L of a code: what d * S multiplies. */
static inline void unit(const hone_layout *y, const float *restrict code, float *restrict out)
{
    if (y->table) EACH out[l] = (float)y->table[(int)code[l]];
    else {
        const float half = (float)y->half;
        EACH out[l] = code[l] - half;
    }
}
static inline void unit_of(const hone_layout *y, const uint8_t *restrict code, float *restrict out)
{
    lane c;
    EACH c[l] = (float)code[l];
    unit(y, c, out);
}

static inline void invert(const float *restrict step, float *restrict inverse)
{
    EACH inverse[l] = fabsf(step[l]) > 1e-37f ? 1.0f / step[l] : 0.0f;
}

/* The number that a type can hold; what is too large becomes its largest. */
static inline float held(hone_dtype t, float v)
{
    if (!(v == v)) return 0;
    if (t == HONE_DTYPE_F16) v = v > 65504.0f ? 65504.0f : v < -65504.0f ? -65504.0f : v;
    else v = v > 1e38f ? 1e38f : v < -1e38f ? -1e38f : v;
    return hone_scale_seen(t, v);
}

static inline float whole(float v, float lo, float hi)
{
    v = v > lo ? v : lo;
    v = v < hi ? v : hi;
    return (float)hone_nearest(v);
}

/* step and base of a sub-block from d, m, S and M. */
static inline void grid(const hone_layout *y, const hone_bundle *b, size_t block, size_t sub)
{
    const float *d = b->d + block * R, *m = b->m + block * R, *s = b->s + sub * R, *z = b->z + sub * R;
    float       *step = b->step + sub * R, *base = b->base + sub * R, half = (float)y->half;
    EACH step[l] = d[l] * s[l];
    if (y->offset == HONE_OFFSET_OWN) EACH base[l] = 0 - m[l] * z[l];
    else if (y->offset == HONE_OFFSET_ZERO) EACH base[l] = 0 - d[l] * z[l];
    else EACH base[l] = y->table ? 0 : 0 - half * step[l];
}

static inline void put_code(const hone_layout *y, hone_bundle *b, size_t i, size_t sub, const float *code)
{
    lane         L;
    const float *step = b->step + sub * R, *base = b->base + sub * R, *w = b->w + i * R;
    float       *e = b->e + i * R, low = y->table ? 0 : (float)y->half;
    unit(y, code, L);
    /* base holds -half * step of the layouts that have a half */
    EACH b->code[i * R + l] = (uint8_t)code[l];
    if (y->table) EACH e[l] = w[l] - step[l] * L[l];
    else EACH e[l] = w[l] - (step[l] * (L[l] + low) + base[l]);
}

/* ---- the parts ---- */

#define hone_solve_fit   HONE_LANED(hone_solve_fit)
#define hone_solve_again HONE_LANED(hone_solve_again)
#define hone_factor      HONE_LANED(hone_factor)

/* first.c: the numbers of block `block`, columns at .. at+n; x: what is wanted of them.  w: [n] scratch */
void hone_solve_fit(const hone_task *k, hone_bundle *b, size_t block, size_t at, size_t n, const float *x, float *w);
/* again.c: one sweep over all blocks. */
void hone_solve_again(const hone_task *k, hone_bundle *b);
/* factor.c: as hone_solver.factor. */
bool hone_factor(float *a, size_t n);
#endif
