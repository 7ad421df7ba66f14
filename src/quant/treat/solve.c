/* solve.c - codes, steps and offsets for HONE_SIDE rows side by side.
 * For each block in turn: steps and offsets are fitted (solve/first.c); then column by column the nearest code, whose error the columns after it
 * are asked to make up for (curve.h).  Then the blocks again, exactly (solve/again.c). */
#include "quant/treat/solve/rows.h"

/* Codes of columns at .. at+n (of one block, first of its columns: block0), from t: what is wanted of them but for the errors of each other. */
static void round_columns(const hone_task *k, hone_bundle *b, size_t block0, size_t sub0, size_t at, size_t n)
{
    const hone_layout *y = k->layout;
    lane               inverse, code, more;
    size_t             last = SIZE_MAX;
    for (size_t i = at; i < at + n; i++) {
        size_t sub = sub0 + (i - block0) / y->sub;
        float *t = b->t + (i - at) * R;
        if (sub != last) invert(b->step + sub * R, inverse);
        last = sub;
        if (k->hand_on && i > at) {
            const float *row = ahead_row(k->curve, i) + at;
            dots_of(1, &row, i - at, b->e + at * R, more);
            EACH t[l] += more[l];
        }
        nearest(y, t, b->base + sub * R, inverse, code);
        put_code(y, b, i, sub, code);
    }
}

/* t = what is wanted of columns at .. at+n: themselves, and what the errors before them ask for. */
static void want(const hone_task *k, hone_bundle *b, size_t at, size_t n)
{
    if (k->hand_on) asked(k->curve, at, n, at, b->e, b->t);
    else memset(b->t, 0, n * sizeof(lane));
    for (size_t i = 0; i < n; i++) EACH b->t[i * R + l] += b->w[(at + i) * R + l];
}

static void first_pass(const hone_task *k, hone_bundle *b)
{
    const hone_layout *y = k->layout;
    size_t             n = k->curve->n;
    for (size_t at = 0, block = 0; at < n; at += y->width, block++) {
        size_t len = n - at < y->width ? n - at : y->width, subs = y->width / y->sub;
        /* A block that is longer than a panel is fitted to the numbers as they are, for its steps have to be known at its first column. */
        if (len > HONE_PANEL) hone_solve_fit(k, b, block, at, len, b->w + at * R, b->e + at * R); /* e is not in use there yet */
        for (size_t from = 0; from < len; from += HONE_PANEL) {
            size_t part = len - from < HONE_PANEL ? len - from : HONE_PANEL;
            want(k, b, at + from, part);
            if (len <= HONE_PANEL) hone_solve_fit(k, b, block, at, len, b->t, b->v);
            round_columns(k, b, at, block * subs, at + from, part);
        }
    }
}

static void solve(const hone_task *k, hone_bundle *b)
{
    first_pass(k, b);
    for (int i = 0; i < k->sweeps; i++) hone_solve_again(k, b);
}

static void cost(const hone_curve *c, const float *e, float *t, float *out)
{
    EACH out[l] = 0;
    for (size_t at = 0; at < c->n; at += HONE_PANEL) {
        size_t n = c->n - at < HONE_PANEL ? c->n - at : HONE_PANEL;
        if (c->h) dots(c, at, n, 0, c->n, e, t);
        else times_block(c, at, n, e + at * R, t);
        for (size_t i = 0; i < n; i++) EACH out[l] += e[(at + i) * R + l] * t[i * R + l];
    }
}

extern const hone_solver HONE_LANED(hone_row_solver);
const hone_solver        HONE_LANED(hone_row_solver) = { .solve = solve, .cost = cost, .factor = hone_factor };
