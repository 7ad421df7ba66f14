/* again.c - the blocks once more, exactly: each code is moved to where e H e^T is least with all others fixed (QuantEase, Behdin et al. 2023,
 * arXiv:2309.01885), and each step, offset, S, M, d and m by least squares for the codes as they are; a move that does not lower the cost is not
 * made.  t: H e of the panel's columns, kept up to date. */
#include "quant/treat/solve/rows.h"

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
void hone_solve_again(const hone_task *k, hone_bundle *b)
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
