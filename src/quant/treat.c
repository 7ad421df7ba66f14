#include "quant/treat.h"
#include "quant/codec.h"
#include "quant/treat/solve.h"
#include <math.h>

static const char *const names[HONE_METHOD_COUNT] = { "rtn", "search", "hqq", "scale", "gptq" };

const char *hone_method_name(hone_method m) { return m < HONE_METHOD_COUNT ? names[m] : "?"; }

bool hone_method_from_name(const char *name, hone_method *out)
{
    for (unsigned i = 0; i < HONE_METHOD_COUNT; i++)
        if (strcmp(names[i], name) == 0) {
            *out = (hone_method)i;
            return true;
        }
    return false;
}

bool hone_treat_by_codec(hone_method m, const hone_encoding *e)
{
    hone_layout l;
    if (e->grouped.scheme != HONE_SCHEME_NONE) return false;
    if (m != HONE_METHOD_SCALE && m != HONE_METHOD_GPTQ) return m == HONE_METHOD_SEARCH;
    const hone_codec *c = hone_codec_find(e->dtype);
    return c && c->wants_importance && !hone_layout_of(e, hone_dtype_get(e->dtype)->block_elems, &l);
}

bool hone_treat_applies(hone_method method, const hone_encoding *e, uint64_t n_cols)
{
    hone_layout l;
    if (method == HONE_METHOD_RTN) return false;
    if (hone_treat_by_codec(method, e)) {
        const hone_codec *c = hone_codec_find(e->dtype);
        return c && c->wants_importance;
    }
    return hone_layout_of(e, n_cols, &l);
}

/* ---- scratch ---- */

typedef struct desk {
    hone_bundle b;
    float      *plain, *row, *t;     /* [n][HONE_SIDE] what the plain encoder leaves; [n]; [HONE_PANEL][HONE_SIDE] */
    uint8_t    *bytes[HONE_STREAMS]; /* one row, encoded plainly */
    size_t      total;
} desk;

static uint8_t *take(uint8_t *base, size_t *at, size_t bytes)
{
    uint8_t *p = base ? base + *at : NULL;
    *at += (bytes + 63) / 64 * 64;
    return p;
}
static float *take_floats(uint8_t *base, size_t *at, size_t n) { return (float *)(void *)take(base, at, n * sizeof(float)); }

/* base NULL: only the total. */
static desk desk_of(const hone_encoding *e, const hone_layout *l, size_t n, uint8_t *base)
{
    size_t blocks = (n + l->width - 1) / l->width, subs = blocks * (l->width / l->sub), at = 0;
    desk   d = { .total = 0 };
    d.b.w = take_floats(base, &at, n * HONE_SIDE);
    d.b.e = take_floats(base, &at, n * HONE_SIDE);
    d.b.code = take(base, &at, n * HONE_SIDE);
    d.b.d = take_floats(base, &at, blocks * HONE_SIDE);
    d.b.m = take_floats(base, &at, blocks * HONE_SIDE);
    d.b.s = take_floats(base, &at, subs * HONE_SIDE);
    d.b.z = take_floats(base, &at, subs * HONE_SIDE);
    d.b.step = take_floats(base, &at, subs * HONE_SIDE);
    d.b.base = take_floats(base, &at, subs * HONE_SIDE);
    d.b.t = take_floats(base, &at, HONE_PANEL * HONE_SIDE);
    d.b.u = take_floats(base, &at, HONE_PANEL * HONE_SIDE);
    d.b.v = take_floats(base, &at, HONE_PANEL * HONE_SIDE);
    d.plain = take_floats(base, &at, n * HONE_SIDE);
    d.row = take_floats(base, &at, n);
    d.t = d.b.t;
    bool one = e->grouped.scheme == HONE_SCHEME_NONE;
    for (uint32_t s = 0; s < HONE_STREAMS && (!one || s == 0); s++) {
        uint64_t bytes = one ? n / l->width * hone_dtype_get(e->dtype)->block_bytes
                             : s < hone_grouped_streams(&e->grouped) ? hone_grouped_bytes(&e->grouped, s, 1, n) : 0;
        d.bytes[s] = take(base, &at, (size_t)bytes);
    }
    d.total = at;
    return d;
}

size_t hone_treat_scratch(hone_method method, const hone_encoding *e, uint64_t n_cols)
{
    hone_layout l;
    if (hone_treat_by_codec(method, e) || !hone_treat_applies(method, e, n_cols) || !hone_layout_of(e, n_cols, &l)) return 64;
    return desk_of(e, &l, (size_t)n_cols, NULL).total;
}

/* ---- the encoder as it is ---- */

/* Row r of a run. */
static void encode_plain(const hone_encoding *e, const float *importance, const float *x, uint64_t r, uint64_t n_cols, uint8_t *const out[HONE_STREAMS])
{
    if (e->grouped.scheme != HONE_SCHEME_NONE) {
        hone_grouped_encode_row(&e->grouped, x, r, n_cols, out);
        return;
    }
    const hone_codec      *c = hone_codec_find(e->dtype);
    const hone_dtype_info *i = hone_dtype_get(e->dtype);
    c->encode_row(x, out[0] + r * (n_cols / i->block_elems * i->block_bytes), (size_t)n_cols, c->wants_importance ? importance : NULL);
}

/* What the plain encoder leaves of row x, into lane of e. */
static void plain_rest(const hone_encoding *e, const hone_treatment *t, const desk *d, const float *x, size_t n, size_t lane)
{
    encode_plain(e, t->importance, x, 0, n, d->bytes);
    if (e->grouped.scheme == HONE_SCHEME_NONE) hone_codec_find(e->dtype)->decode_row(d->bytes[0], d->row, n);
    else hone_grouped_decode(&e->grouped, (const uint8_t *const *)d->bytes, 1, n, d->row);
    for (size_t i = 0; i < n; i++) d->plain[i * HONE_SIDE + lane] = x[i] - d->row[i];
}

/* ---- rows ---- */

static hone_task task_of(const hone_treatment *t, const hone_layout *l)
{
    hone_task k = { .layout = l, .curve = t->curve, .start = HONE_START_SEARCH, .sweeps = 2 };
    switch (t->method) {
    case HONE_METHOD_HQQ:
        k.start = HONE_START_HALF_QUADRATIC;
        k.sweeps = 0;
        break;
    case HONE_METHOD_SCALE: k.start = HONE_START_RANGE; break;
    case HONE_METHOD_GPTQ:
        k.hand_on = t->curve->h != NULL;
        if (k.hand_on) k.sweeps = 4;
        break;
    default: break;
    }
    return k;
}

/* Up to HONE_SIDE rows, from row r of the run; lanes beyond them repeat the last. */
static void treat_bundle(const hone_solver *s, const hone_encoding *e, const hone_layout *l, const hone_treatment *t, const desk *d, const float *x,
                         uint64_t r, size_t rows, uint64_t n_cols, uint8_t *const out[HONE_STREAMS])
{
    hone_task   k = task_of(t, l);
    hone_bundle b = d->b;
    float       before[HONE_SIDE], after[HONE_SIDE];
    size_t      n = (size_t)n_cols;
    for (size_t lane = 0; lane < HONE_SIDE; lane++) {
        const float *from = x + (lane < rows ? lane : rows - 1) * n;
        for (size_t i = 0; i < n; i++) b.w[i * HONE_SIDE + lane] = from[i];
    }
    s->solve(&k, &b);
    if (t->method != HONE_METHOD_HQQ) { /* its measure is another one: nothing to compare by */
        for (size_t lane = 0; lane < HONE_SIDE; lane++) plain_rest(e, t, d, x + (lane < rows ? lane : rows - 1) * n, n, lane);
        s->cost(t->curve, d->plain, d->t, before);
        s->cost(t->curve, b.e, d->t, after);
    }
    for (size_t lane = 0; lane < rows; lane++) {
        hone_numbers v = { b.d + lane, b.m + lane, b.s + lane, b.z + lane, b.code + lane, HONE_SIDE };
        bool         better = t->method == HONE_METHOD_HQQ || after[lane] <= before[lane] || (isnan(before[lane]) && !isnan(after[lane]));
        if (better) hone_layout_pack(e, l, &v, r + lane, n_cols, out);
        else encode_plain(e, t->importance, x + lane * n, r + lane, n_cols, out);
    }
}

static void treat(const hone_solver *s, const hone_encoding *e, const hone_treatment *t, const float *x, uint64_t n_rows, uint64_t n_cols,
                  uint8_t *const out[HONE_STREAMS], void *scratch)
{
    hone_layout l;
    bool        applies = hone_treat_applies(t->method, e, n_cols);
    if (!applies || hone_treat_by_codec(t->method, e) || !t->curve || !hone_layout_of(e, n_cols, &l)) {
        const float *importance = t->method == HONE_METHOD_RTN || t->method == HONE_METHOD_HQQ ? NULL : t->importance;
        for (uint64_t r = 0; r < n_rows; r++) encode_plain(e, importance, x + r * n_cols, r, n_cols, out);
        return;
    }
    desk d = desk_of(e, &l, (size_t)n_cols, scratch);
    for (uint64_t r = 0; r < n_rows; r += HONE_SIDE) {
        size_t rows = n_rows - r < HONE_SIDE ? (size_t)(n_rows - r) : HONE_SIDE;
        treat_bundle(s, e, &l, t, &d, x + r * n_cols, r, rows, n_cols, out);
    }
}

void hone_treat_rows(const hone_encoding *e, const hone_treatment *t, const float *x, uint64_t n_rows, uint64_t n_cols, uint8_t *const out[HONE_STREAMS],
                     void *scratch)
{
    treat(hone_solver_find(), e, t, x, n_rows, n_cols, out, scratch);
}

bool hone_treat_rows_width(int width, const hone_encoding *e, const hone_treatment *t, const float *x, uint64_t n_rows, uint64_t n_cols,
                           uint8_t *const out[HONE_STREAMS], void *scratch)
{
    const hone_solver *s = hone_solver_find_width(width);
    if (s) treat(s, e, t, x, n_rows, n_cols, out, scratch);
    return s;
}
