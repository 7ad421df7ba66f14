/* solve.c - codes, steps and offsets for HONE_SIDE rows side by side.
 * For each block in turn: steps and offsets are fitted to what is wanted of its columns, weighed by what their errors cost; then column by
 * column the nearest code, whose error the columns after it are asked to make up for (curve.h).  Then the blocks again, exactly: each code
 * is moved to where e H e^T is least with all others fixed (QuantEase, Behdin et al. 2023, arXiv:2309.01885), and each step, offset, S, M,
 * d and m by least squares for the codes as they are; a move that does not lower the cost is not made. */
#include "quant/treat/solve.h"
#include "quant/grouped/scheme.h"
#include "quant/lanes.h"
#include <float.h>

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
static void dots(const hone_curve *c, size_t first, size_t count, size_t at, size_t m, const float *e, float *t)
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

static const float *ahead_row(const hone_curve *c, size_t j) { return c->ahead + j * (j + 1) / 2; }

/* What the errors of columns before m ask of columns first .. first+count, m <= first. */
static void asked(const hone_curve *c, size_t first, size_t count, size_t m, const float *e, float *t)
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
static void times_block(const hone_curve *c, size_t at, size_t m, const float *u, float *out)
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
static float held(hone_dtype t, float v)
{
    if (!(v == v)) return 0;
    if (t == HONE_DTYPE_F16) v = v > 65504.0f ? 65504.0f : v < -65504.0f ? -65504.0f : v;
    else v = v > 1e38f ? 1e38f : v < -1e38f ? -1e38f : v;
    return hone_scale_seen(t, v);
}

static float whole(float v, float lo, float hi)
{
    v = v > lo ? v : lo;
    v = v < hi ? v : hi;
    return (float)hone_nearest(v);
}

/* ---- a first fit ---- */

typedef struct fit { /* of one sub-block */
    lane step, low, mass; /* x ~ step * L + low; mass: sum of weights * L^2 */
} fit;

/* Least squares of x ~ step * L for the candidate 1/inverse; keeps it where it beats score. */
static void try_symmetric(const hone_layout *y, size_t n, const float *x, const float *w, const lane inverse, float *restrict score, fit *f)
{
    static const lane none = { 0 };
    lane              base, lx = { 0 }, l2 = { 0 }, code, L;
    EACH base[l] = y->table || inverse[l] == 0 ? 0 : -(float)y->half / inverse[l];
    for (size_t i = 0; i < n; i++) {
        nearest(y, x + i * R, y->table ? none : base, inverse, code);
        unit(y, code, L);
        EACH lx[l] += w[i] * x[i * R + l] * L[l];
        EACH l2[l] += w[i] * L[l] * L[l];
    }
    EACH {
        float got = l2[l] > 0 ? lx[l] * lx[l] / l2[l] : 0;
        bool  hit = got > score[l];
        f->step[l] = hit ? lx[l] / l2[l] : f->step[l];
        f->mass[l] = hit ? l2[l] : f->mass[l];
        score[l] = hit ? got : score[l];
    }
}

/* The largest magnitude lands near one end of the codes, on either side, at 19 scales: more than ggml's make_qx_quants tries. */
static void fit_symmetric(const hone_layout *y, bool search, size_t n, const float *x, const float *w, fit *f)
{
    lane  peak = { 0 }, inverse, score = { 0 };
    float end = y->table ? 127.0f : (float)y->half;
    *f = (fit){ 0 };
    for (size_t i = 0; i < n; i++) EACH peak[l] = fabsf(x[i * R + l]) > fabsf(peak[l]) ? x[i * R + l] : peak[l];
    int reach = search ? (end > 64 && !y->table ? 2 : 9) : 0;
    for (int side = 0; side < (search ? 2 : 1); side++)
        for (int k = -reach; k <= reach; k++) {
            float by = end + (y->table ? 1.0f : 0.1f) * (float)k;
            EACH inverse[l] = fabsf(peak[l]) > 1e-30f ? (side ? by : -by) / peak[l] : 0;
            try_symmetric(y, n, x, w, inverse, score, f);
        }
}

typedef struct sums { lane w, x, x2; } sums; /* weights; weights * x, * x^2: of x - mean, for the digits' sake */

/* Least squares of x ~ step * code + low for codes at (x - origin) * inverse. */
static void try_offset(const hone_layout *y, size_t n, const float *x, const float *w, const lane origin, const lane inverse, const sums *of,
                       const float *restrict centre, bool positive, float *restrict best, fit *f)
{
    lane l1 = { 0 }, l2 = { 0 }, xl = { 0 }, code;
    for (size_t i = 0; i < n; i++) {
        nearest(y, x + i * R, origin, inverse, code);
        EACH l1[l] += w[i] * code[l];
        EACH l2[l] += w[i] * code[l] * code[l];
        EACH xl[l] += w[i] * code[l] * (x[i * R + l] - centre[l]);
    }
    EACH {
        float det = of->w[l] * l2[l] - l1[l] * l1[l];
        bool  good = det > 1e-6f * of->w[l] * l2[l];
        float step = good ? (of->w[l] * xl[l] - of->x[l] * l1[l]) / det : 0, low = good ? (l2[l] * of->x[l] - l1[l] * xl[l]) / det : of->x[l] / of->w[l];
        float err = of->x2[l] - step * xl[l] - low * of->x[l];
        low += centre[l];
        if (positive && low > 0) { /* M is not negative: the offset stays at zero */
            float all = xl[l] + centre[l] * l1[l];
            step = l2[l] > 0 ? all / l2[l] : 0;
            low = -centre[l];
            err = of->x2[l] - 2 * step * xl[l] - 2 * low * of->x[l] + step * step * l2[l] + 2 * step * low * l1[l] + low * low * of->w[l];
            low = 0;
        }
        bool hit = err < best[l];
        best[l] = hit ? err : best[l];
        f->step[l] = hit ? step : f->step[l];
        f->low[l] = hit ? low : f->low[l];
        f->mass[l] = hit ? l2[l] : f->mass[l];
    }
}

/* The range as it is, then 37 steps around it (the grid of ggml's make_qkx3_quants), then the best again with its own least squares. */
static void fit_offset(const hone_layout *y, bool search, size_t n, const float *x, const float *w, fit *f)
{
    lane lo, hi, centre, inverse, best, origin;
    sums of = { 0 };
    bool positive = y->m_max > 0 && y->offset == HONE_OFFSET_OWN;
    EACH lo[l] = hi[l] = x[l];
    for (size_t i = 1; i < n; i++) {
        EACH lo[l] = x[i * R + l] < lo[l] ? x[i * R + l] : lo[l];
        EACH hi[l] = x[i * R + l] > hi[l] ? x[i * R + l] : hi[l];
    }
    EACH centre[l] = 0.5f * lo[l] + 0.5f * hi[l];
    for (size_t i = 0; i < n; i++)
        EACH {
            float v = x[i * R + l] - centre[l];
            of.w[l] += w[i];
            of.x[l] += w[i] * v;
            of.x2[l] += w[i] * v * v;
        }
    EACH {
        if (y->offset == HONE_OFFSET_ZERO || positive) lo[l] = lo[l] < 0 ? lo[l] : 0;
        if (y->offset == HONE_OFFSET_ZERO) hi[l] = hi[l] > 0 ? hi[l] : 0;
        float range = hi[l] - lo[l];
        best[l] = INFINITY;
        f->step[l] = range / (float)y->top;
        f->low[l] = lo[l];
        f->mass[l] = of.w[l];
    }
    if (!search) return;
    for (int k = -1; k <= 36; k++) {
        float by = (float)y->top + (k < 0 ? 0 : -0.9f + 0.05f * (float)k);
        EACH inverse[l] = hi[l] - lo[l] > 1e-30f ? by / (hi[l] - lo[l]) : 0;
        try_offset(y, n, x, w, lo, inverse, &of, centre, positive, best, f);
    }
    for (int k = 0; k < 3; k++) {
        EACH origin[l] = f->low[l];
        invert(f->step, inverse);
        try_offset(y, n, x, w, origin, inverse, &of, centre, positive, best, f);
    }
}

/* Half-quadratic zero points (Badri & Shaji 2023, mobiusml.github.io/hqq_blog): without data, the offset that leaves many small errors and
 * a few large ones.  Errors are measured in steps, and the norm is 3/4 instead of their 0.7: roots are the same on every CPU, powers are not. */
static float shrink(float e, float beta)
{
    float a = fabsf(e), by = a > 1e-20f ? 1.0f / (beta * sqrtf(sqrtf(a))) : INFINITY;
    return a > by ? copysignf(a - by, e) : 0;
}
static void half_quadratic(const hone_layout *y, size_t n, const float *x, fit *f)
{
    lane inverse, code, base, L;
    float beta = 10;
    for (int round = 0; round < 20; round++, beta *= 1.01f) {
        lane low = { 0 }, lx = { 0 }, l2 = { 0 };
        invert(f->step, inverse);
        EACH base[l] = y->offset == HONE_OFFSET_NONE && !y->table ? -(float)y->half * f->step[l] : f->low[l];
        for (size_t i = 0; i < n; i++) {
            nearest(y, x + i * R, base, inverse, code);
            unit(y, code, L);
            EACH {
                float v = f->step[l] * L[l] + f->low[l], keep = f->step[l] * shrink((x[i * R + l] - v) * inverse[l], beta);
                low[l] += x[i * R + l] - keep - f->step[l] * L[l];
                lx[l] += (x[i * R + l] - keep) * L[l];
                l2[l] += L[l] * L[l];
            }
        }
        if (y->offset == HONE_OFFSET_NONE) EACH f->step[l] = l2[l] > 0 ? lx[l] / l2[l] : f->step[l];
        else EACH f->low[l] = low[l] / (float)n;
        EACH f->mass[l] = y->offset == HONE_OFFSET_NONE ? l2[l] : (float)n;
    }
    if (y->offset == HONE_OFFSET_OWN && y->m_max > 0) EACH f->low[l] = f->low[l] < 0 ? f->low[l] : 0;
}

/* ---- numbers that bytes can hold ---- */

/* step and base of a sub-block from d, m, S and M. */
static void grid(const hone_layout *y, const hone_bundle *b, size_t block, size_t sub)
{
    const float *d = b->d + block * R, *m = b->m + block * R, *s = b->s + sub * R, *z = b->z + sub * R;
    float       *step = b->step + sub * R, *base = b->base + sub * R, half = (float)y->half;
    EACH step[l] = d[l] * s[l];
    if (y->offset == HONE_OFFSET_OWN) EACH base[l] = 0 - m[l] * z[l];
    else if (y->offset == HONE_OFFSET_ZERO) EACH base[l] = 0 - d[l] * z[l];
    else EACH base[l] = y->table ? 0 : 0 - half * step[l];
}

/* d and whole numbers 0.. or s_min..s_max with d * s ~ want, errors weighed by mass.  want, mass, s: [n][R] */
static void share(hone_dtype type, float s_min, float s_max, size_t n, const float *want, const float *mass, float *d, float *s)
{
    EACH {
        float peak = 0, best = INFINITY, got = 0;
        for (size_t k = 0; k < n; k++) peak = fabsf(want[k * R + l]) > fabsf(peak) ? want[k * R + l] : peak;
        for (int t = -6; t <= 6 && peak != 0; t++)
            for (int side = 0; side < (s_min < 0 ? 2 : 1); side++) {
                float end = side ? s_min : s_max, by = end * (1 + 0.01f * (float)t), trial = held(type, peak / by);
                float sd = 0, s2 = 0, err = 0;
                if (trial == 0) continue;
                for (size_t k = 0; k < n; k++) {
                    float q = whole(want[k * R + l] / trial, s_min, s_max);
                    sd += mass[k * R + l] * q * want[k * R + l];
                    s2 += mass[k * R + l] * q * q;
                }
                trial = s2 > 0 ? held(type, sd / s2) : trial;
                if (trial == 0) continue;
                for (size_t k = 0; k < n; k++) {
                    float q = whole(want[k * R + l] / trial, s_min, s_max), diff = want[k * R + l] - trial * q;
                    err += mass[k * R + l] * diff * diff;
                }
                got = err < best ? trial : got;
                best = err < best ? err : best;
            }
        d[l] = got;
        for (size_t k = 0; k < n; k++) s[k * R + l] = got != 0 ? whole(want[k * R + l] / got, s_min, s_max) : whole(0, s_min, s_max);
    }
}

enum { MOST_SUBS = 16 };

/* The weights of columns at .. at+n for a fit: what their errors cost; ones when none costs anything. */
static void weights_of(const hone_curve *c, size_t at, size_t n, float *w)
{
    float sum = 0;
    for (size_t i = 0; i < n; i++) sum += w[i] = c->alone[at + i];
    for (size_t i = 0; !(sum > 0) && i < n; i++) w[i] = 1;
}

/* One fit of n columns, which may be many: weights are taken by the panel. */
static void fit_one(const hone_task *k, size_t at, size_t n, const float *x, float *w, fit *f)
{
    const hone_layout *y = k->layout;
    weights_of(k->curve, at, n, w);
    if (y->offset == HONE_OFFSET_NONE) fit_symmetric(y, k->start == HONE_START_SEARCH, n, x, w, f);
    else fit_offset(y, k->start == HONE_START_SEARCH, n, x, w, f);
    if (k->start == HONE_START_HALF_QUADRATIC) half_quadratic(y, n, x, f);
}

/* d, m, S and M of a block from the fits of its sub-blocks. */
static void settle(const hone_layout *y, hone_bundle *b, size_t block, size_t sub0, size_t subs, const fit *f, const float *heft)
{
    float *d = b->d + block * R, *m = b->m + block * R, *s = b->s + sub0 * R, *z = b->z + sub0 * R;
    float  want[MOST_SUBS * R], mass[MOST_SUBS * R];
    EACH m[l] = 0;
    for (size_t k = 0; k < subs; k++) EACH s[k * R + l] = z[k * R + l] = 1;
    for (size_t k = 0; k < subs; k++) EACH want[k * R + l] = f[k].step[l];
    for (size_t k = 0; k < subs; k++) EACH mass[k * R + l] = f[k].mass[l];
    if (y->s_max > 1) share(y->d, (float)y->s_min, (float)y->s_max, subs, want, mass, d, s);
    else EACH d[l] = held(y->d, f[0].step[l]);
    if (y->offset == HONE_OFFSET_ZERO) {
        EACH z[l] = d[l] != 0 ? whole((0 - f[0].low[l]) / d[l], 0, (float)y->m_max) : 0;
    } else if (y->offset == HONE_OFFSET_OWN && y->m_max == 0) {
        EACH m[l] = held(y->d, 0 - f[0].low[l]);
    } else if (y->offset == HONE_OFFSET_OWN) {
        for (size_t k = 0; k < subs; k++) EACH want[k * R + l] = 0 - f[k].low[l];
        for (size_t k = 0; k < subs; k++) EACH mass[k * R + l] = heft[k];
        share(y->d, 0, (float)y->m_max, subs, want, mass, m, z);
    } else
        for (size_t k = 0; k < subs; k++) EACH z[k * R + l] = 0;
    for (size_t k = 0; k < subs; k++) grid(y, b, block, sub0 + k);
}

/* The numbers of block `block`, columns at .. at+n; x: what is wanted of them.  w: [n] */
static void fit_block(const hone_task *k, hone_bundle *b, size_t block, size_t at, size_t n, const float *x, float *w)
{
    const hone_layout *y = k->layout;
    size_t             subs = y->width / y->sub, sub0 = block * subs;
    fit                f[MOST_SUBS];
    float              heft[MOST_SUBS];
    for (size_t s = 0; s < subs; s++) {
        size_t from = s * y->sub, len = n - from < y->sub ? n - from : y->sub;
        fit_one(k, at + from, len, x + from * R, w, &f[s]);
        heft[s] = 0;
        for (size_t i = 0; i < len; i++) heft[s] += w[i];
    }
    settle(y, b, block, sub0, subs, f, heft);
}

/* ---- one column after the other ---- */

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
        if (len > HONE_PANEL) fit_block(k, b, block, at, len, b->w + at * R, b->e + at * R); /* e is not in use there yet */
        for (size_t from = 0; from < len; from += HONE_PANEL) {
            size_t part = len - from < HONE_PANEL ? len - from : HONE_PANEL;
            want(k, b, at + from, part);
            if (len <= HONE_PANEL) fit_block(k, b, block, at, len, b->t, b->v);
            round_columns(k, b, at, block * subs, at + from, part);
        }
    }
}

/* ---- again, exactly.  t: H e of the panel's columns, kept up to date ---- */

/* q of columns rises by delta[i]: e falls, and so does H e. */
static void shift(const hone_task *k, hone_bundle *b, size_t at, size_t n, size_t i, const float *restrict delta)
{
    float *e = b->e + i * R;
    EACH e[l] -= delta[l];
    if (!k->curve->h) {
        float h = k->curve->alone[i], *t = b->t + (i - at) * R;
        EACH t[l] -= h * delta[l];
        return;
    }
    const float *row = k->curve->h + i * k->curve->n + at;
    for (size_t j = 0; j < n; j++) {
        float *restrict t = b->t + j * R;
        EACH t[l] -= row[j] * delta[l];
    }
}

/* Every code to the best place for it; true when one has moved. */
static bool move_codes(const hone_task *k, hone_bundle *b, size_t block0, size_t sub0, size_t at, size_t n)
{
    const hone_layout *y = k->layout;
    lane               inverse, code, old_unit, new_unit, to, delta;
    bool               any = false;
    for (size_t i = at; i < at + n; i++) {
        size_t       sub = sub0 + (i - block0) / y->sub;
        float        h = k->curve->h ? k->curve->h[i * k->curve->n + i] : k->curve->alone[i], by = h > 0 ? 1 / h : 0;
        const float *step = b->step + sub * R, *base = b->base + sub * R, *t = b->t + (i - at) * R;
        uint8_t     *q = b->code + i * R;
        if (!(h > 0)) continue;
        invert(step, inverse);
        unit_of(y, q, old_unit);
        if (y->table) EACH to[l] = step[l] * old_unit[l] + t[l] * by;
        else {
            float half = (float)y->half;
            EACH to[l] = step[l] * (old_unit[l] + half) + base[l] + t[l] * by;
        }
        nearest(y, to, base, inverse, code);
        unit(y, code, new_unit);
        int moved = 0;
        EACH {
            delta[l] = step[l] * (new_unit[l] - old_unit[l]);
            /* Only what lowers the cost: -2 delta t + delta^2 h < 0. */
            bool good = delta[l] * (delta[l] * h - 2 * t[l]) < 0;
            delta[l] = good ? delta[l] : 0;
            q[l] = good ? (uint8_t)code[l] : q[l];
            moved += good;
        }
        if (moved) shift(k, b, at, n, i, delta);
        any = any || moved;
    }
    return any;
}

/* Sums of a sub-block's or block's least squares: of u (per d * S) and of ones or M (per m). */
typedef struct normal { lane uu, uv, vv, ut, vt; } normal;

/* S and M of one sub-block, d and m fixed; true when one has moved. */
static bool move_whole(const hone_task *k, hone_bundle *b, size_t block, size_t sub, size_t at, size_t n, size_t from, size_t len)
{
    const hone_layout *y = k->layout;
    float             *s = b->s + sub * R, *z = b->z + sub * R, *u = b->u, *hu = b->v;
    const float       *d = b->d + block * R, *m = b->m + block * R, *t = b->t + (from - at) * R;
    normal             q = { 0 };
    lane               ds = { 0 }, db = { 0 };
    bool               own = y->offset == HONE_OFFSET_OWN;
    for (size_t i = 0; i < len; i++) unit_of(y, b->code + (from + i) * R, u + i * R);
    times_block(k->curve, from, len, u, hu);
    for (size_t i = 0; i < len; i++) {
        float ones = k->curve->h ? 0 : k->curve->alone[from + i];
        for (size_t j = 0; k->curve->h && j < len; j++) ones += k->curve->h[(from + i) * k->curve->n + from + j];
        EACH {
            q.uu[l] += u[i * R + l] * hu[i * R + l];
            q.uv[l] += u[i * R + l] * ones;
            q.vv[l] += ones;
            q.ut[l] += u[i * R + l] * t[i * R + l];
            q.vt[l] += t[i * R + l];
        }
    }
    int moved = 0;
    EACH {
        float det = q.uu[l] * q.vv[l] - q.uv[l] * q.uv[l], best = 0, to_s = s[l], to_z = z[l];
        bool  both = own && m[l] != 0 && det > 1e-6f * q.uu[l] * q.vv[l];
        float aim = both ? (q.ut[l] * q.vv[l] - q.vt[l] * q.uv[l]) / det : q.ut[l] / q.uu[l];
        for (int c = -1; c <= 1 && d[l] != 0 && q.uu[l] > 0; c++) {
            float ns = whole(s[l] + aim / d[l] + (float)c, (float)y->s_min, (float)y->s_max), x = d[l] * (ns - s[l]), nz = z[l];
            if (own && m[l] != 0 && q.vv[l] > 0) nz = whole(z[l] - (q.vt[l] - x * q.uv[l]) / (q.vv[l] * m[l]), 0, (float)y->m_max);
            float o = own ? 0 - m[l] * (nz - z[l]) : 0;
            float gain = -2 * (x * q.ut[l] + o * q.vt[l]) + x * x * q.uu[l] + 2 * x * o * q.uv[l] + o * o * q.vv[l];
            if (!(gain < best)) continue;
            best = gain;
            to_s = ns;
            to_z = nz;
            ds[l] = x;
            db[l] = o;
        }
        moved += best < 0;
        s[l] = to_s;
        z[l] = to_z;
    }
    if (!moved) return false;
    grid(y, b, block, sub);
    for (size_t i = 0; i < len; i++) {
        lane delta;
        EACH delta[l] = ds[l] * u[i * R + l] + db[l];
        shift(k, b, at, n, from + i, delta);
    }
    return true;
}

/* d and m of a block, S and M fixed; at .. at+n are its columns. */
static void normal_of(const hone_task *k, hone_bundle *b, size_t sub0, size_t at, size_t n, normal *q, float *hv)
{
    const hone_layout *y = k->layout;
    float             *u = b->u, *hu = b->v;
    for (size_t i = 0; i < n; i++) {
        const float *s = b->s + (sub0 + i / y->sub) * R;
        unit_of(y, b->code + (at + i) * R, u + i * R);
        EACH u[i * R + l] *= s[l];
    }
    times_block(k->curve, at, n, u, hu);
    for (size_t i = 0; i < n; i++) EACH {
            q->uu[l] += u[i * R + l] * hu[i * R + l];
            q->ut[l] += u[i * R + l] * b->t[i * R + l];
        }
    if (y->offset == HONE_OFFSET_NONE) return;
    /* hv: of M (or of ones) */
    float *v = hv + n * R;
    for (size_t i = 0; i < n; i++) {
        const float *z = b->z + (sub0 + i / y->sub) * R;
        EACH v[i * R + l] = y->offset == HONE_OFFSET_OWN ? z[l] : 1;
    }
    times_block(k->curve, at, n, v, hv);
    for (size_t i = 0; i < n; i++) EACH {
            q->uv[l] += v[i * R + l] * hu[i * R + l];
            q->vv[l] += v[i * R + l] * hv[i * R + l];
            q->vt[l] += v[i * R + l] * b->t[i * R + l];
        }
}

/* Change of cost when q rises by x * u + o * v. */
static float change(const normal *q, size_t l, float x, float o)
{
    return -2 * (x * q->ut[l] + o * q->vt[l]) + x * x * q->uu[l] + 2 * x * o * q->uv[l] + o * o * q->vv[l];
}

/* One lane's best d and m: by how much q rises along u and along v; 0 and 0 when nothing is gained. */
static void best_floats(const hone_layout *y, const normal *q, size_t l, float *d, float *m, float *x, float *o)
{
    float det = q->uu[l] * q->vv[l] - q->uv[l] * q->uv[l];
    bool  own = y->offset == HONE_OFFSET_OWN, both = own && det > 1e-6f * q->uu[l] * q->vv[l];
    float aim = both ? (q->ut[l] * q->vv[l] - q->vt[l] * q->uv[l]) / det : q->ut[l] / q->uu[l];
    *x = *o = 0;
    if (!(q->uu[l] > 0)) aim = 0;
    float nd = held(y->d, *d + aim), nm = *m;
    if (own && q->vv[l] > 0) nm = held(y->d, *m - (q->vt[l] - (nd - *d) * q->uv[l]) / q->vv[l]);
    float dx = nd - *d, dm = own ? *m - nm : 0; /* q = d u - m v */
    if (!(change(q, l, dx, dm) < 0)) return;
    *d = nd;
    *m = nm;
    *x = dx;
    *o = dm;
}

/* With a zero point: each of the whole numbers next to it, with the scale that suits it.  q = d (code - z): u is the code, v is 1. */
static void best_zero(const hone_layout *y, const normal *q, size_t l, float *d, float *z, float *x, float *o)
{
    float best = 0, nd = *d, nz = *z;
    *x = *o = 0;
    for (int c = -1; c <= 1; c++) {
        float to = *z + (float)c;
        if (to < 0 || to > (float)y->m_max) continue;
        float vv = q->uu[l] - 2 * to * q->uv[l] + to * to * q->vv[l], vt = q->ut[l] - to * q->vt[l];
        float vq = *d * (q->uu[l] - (*z + to) * q->uv[l] + *z * to * q->vv[l]);
        if (!(vv > 0)) continue;
        float s = held(y->d, (vt + vq) / vv), dx = s - *d, dm = *d * *z - s * to, gain = change(q, l, dx, dm);
        if (!(gain < best)) continue;
        best = gain;
        nd = s;
        nz = to;
        *x = dx;
        *o = dm;
    }
    *d = nd;
    *z = nz;
}

/* True when one has moved. */
static bool move_floats(const hone_task *k, hone_bundle *b, size_t block, size_t sub0, size_t at, size_t n)
{
    const hone_layout *y = k->layout;
    size_t             subs = (n + y->sub - 1) / y->sub;
    float              hv[2 * HONE_PANEL * R];
    normal             q = { 0 };
    lane               x, o;
    int                moved = 0;
    normal_of(k, b, sub0, at, n, &q, hv);
    EACH {
        float *d = &b->d[block * R + l], *m = &b->m[block * R + l], *z = &b->z[sub0 * R + l];
        if (y->offset == HONE_OFFSET_ZERO) best_zero(y, &q, l, d, z, &x[l], &o[l]);
        else best_floats(y, &q, l, d, m, &x[l], &o[l]);
        moved += x[l] != 0 || o[l] != 0;
    }
    if (!moved) return false;
    for (size_t s = 0; s < subs; s++) grid(y, b, block, sub0 + s);
    for (size_t i = 0; i < n; i++) {
        float       *t = b->t + i * R, *e = b->e + (at + i) * R;
        const float *u = b->u + i * R, *hu = b->v + i * R, *h1 = hv + i * R, *v = hv + (n + i) * R;
        if (y->offset == HONE_OFFSET_NONE) {
            EACH e[l] -= x[l] * u[l];
            EACH t[l] -= x[l] * hu[l];
            continue;
        }
        EACH e[l] -= x[l] * u[l] + o[l] * v[l];
        EACH t[l] -= x[l] * hu[l] + o[l] * h1[l];
    }
    return true;
}

/* What rounding has left in e over many small moves is taken out. */
static void refresh(const hone_layout *y, hone_bundle *b, size_t block0, size_t sub0, size_t at, size_t n)
{
    lane code;
    for (size_t i = at; i < at + n; i++) {
        EACH code[l] = (float)b->code[i * R + l];
        put_code(y, b, i, sub0 + (i - block0) / y->sub, code);
    }
}

enum { ROUNDS = 4 };
static void again(const hone_task *k, hone_bundle *b)
{
    const hone_layout *y = k->layout;
    size_t             n = k->curve->n, subs = y->width / y->sub;
    for (size_t at = 0, block = 0; at < n; at += y->width, block++) {
        size_t len = n - at < y->width ? n - at : y->width;
        for (size_t from = at; from < at + len; from += HONE_PANEL) {
            size_t part = at + len - from < HONE_PANEL ? at + len - from : HONE_PANEL;
            if (k->curve->h) dots(k->curve, from, part, 0, n, b->e, b->t);
            else times_block(k->curve, from, part, b->e + from * R, b->t);
            for (int round = 0; round < ROUNDS; round++) {
                bool moved = move_codes(k, b, at, block * subs, from, part);
                if (len > HONE_PANEL) break;
                for (size_t s = 0; s < subs && y->s_max > 1; s++)
                    if (move_whole(k, b, block, block * subs + s, at, len, at + s * y->sub, y->sub)) moved = true;
                if (move_floats(k, b, block, block * subs, at, len)) moved = true;
                /* Nothing has moved in any lane, nothing ever will: what a lane does here does not depend on the others. */
                if (!moved) break;
            }
            (void)move_codes(k, b, at, block * subs, from, part);
            refresh(y, b, at, block * subs, from, part);
        }
    }
}

static void solve(const hone_task *k, hone_bundle *b)
{
    first_pass(k, b);
    for (int i = 0; i < k->sweeps; i++) again(k, b);
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

/* ---- H = U U^T ---- */

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

static bool factor(float *a, size_t n)
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

#if HONE_LANES_WIDTH == 4
#define SOLVER hone_solver_x4
#elif HONE_LANES_WIDTH == 8
#define SOLVER hone_solver_x8
#else
#define SOLVER hone_solver_x16
#endif
extern const hone_solver SOLVER;
const hone_solver        SOLVER = { .solve = solve, .cost = cost, .factor = factor };
