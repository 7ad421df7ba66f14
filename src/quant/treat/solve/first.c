/* first.c - a block's steps and offsets, fitted to what is wanted of its columns, weighed by what their errors cost. */
#include "quant/treat/solve/rows.h"

/* ---- one sub-block ---- */

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

/* ---- a block: numbers that bytes can hold ---- */

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

void hone_solve_fit(const hone_task *k, hone_bundle *b, size_t block, size_t at, size_t n, const float *x, float *w)
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
