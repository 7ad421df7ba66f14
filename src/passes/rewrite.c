#include "passes/rewrite.h"
#include "quant/weight.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

hone_change hone_change_none(const hone_weight *from)
{
    hone_change c = { .from = from, .layer = from->layer };
    memcpy(c.dims, from->dims, sizeof c.dims);
    return c;
}

bool hone_change_values(const hone_change *c)
{
    return c->mask != HONE_MASK_NONE || c->rows || c->cols || c->row_factor || c->col_factor;
}

const char *hone_rewrite_name(hone_role role, hone_part part, int32_t layer, char buf[HONE_REWRITE_NAME])
{
    (void)snprintf(buf, HONE_REWRITE_NAME, "%s.%d.%s", hone_role_name(role), (int)layer, part == HONE_PART_BIAS ? "bias" : "weight");
    return buf;
}

static uint64_t new_cols(const hone_change *c) { return c->dims[c->from->n_dims - 1]; }

static uint64_t new_rows(const hone_change *c)
{
    uint64_t n = 1;
    for (uint32_t d = 0; d + 1 < c->from->n_dims; d++) n *= c->dims[d];
    return n;
}

/* Rows of one matrix: all of them unless the weight is a stack. */
static uint64_t rows_of_one(uint32_t n_dims, const uint64_t *dims, uint64_t rows) { return n_dims == 3 && dims[0] ? rows / dims[0] : rows; }

/* ---- masks ---- */

/* The order of magnitudes is that of the bits of floats that are not negative. */
static uint32_t key_of(float x, float importance)
{
    float    v = fabsf(x) * importance;
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits & 0x7fffffffu;
}

/* The k-th smallest key, k from 0: byte by byte from the top; *before: how many are smaller. */
static uint32_t select_key(const uint32_t *keys, size_t n, size_t k, size_t *before)
{
    uint32_t prefix = 0, mask = 0;
    *before = 0;
    for (int shift = 24; shift >= 0; shift -= 8) {
        size_t count[256] = { 0 }, at = 0;
        for (size_t i = 0; i < n; i++)
            if ((keys[i] & mask) == prefix) count[keys[i] >> shift & 255]++;
        while (k - *before >= count[at]) *before += count[at++];
        prefix |= (uint32_t)at << shift;
        mask |= 0xffu << shift;
    }
    return prefix;
}

/* The k least are zero; among equals those that come first. */
static void mask_row(float *x, size_t n, double share, const float *importance, uint32_t *keys)
{
    size_t k = (size_t)(share * (double)n + 0.5), before;
    if (k > n) k = n;
    if (k == 0) return;
    for (size_t i = 0; i < n; i++) keys[i] = key_of(x[i], importance ? importance[i] : 1.0f);
    uint32_t edge = select_key(keys, n, k - 1, &before);
    size_t   equal = k - before;
    for (size_t i = 0; i < n; i++)
        if (keys[i] < edge) x[i] = 0;
        else if (keys[i] == edge && equal) {
            x[i] = 0;
            equal--;
        }
}

static void mask_2_4(float *x, size_t n, const float *importance)
{
    for (size_t i = 0; i + 4 <= n; i += 4) {
        uint32_t keys[4];
        for (size_t k = 0; k < 4; k++) keys[k] = key_of(x[i + k], importance ? importance[i + k] : 1.0f);
        for (int zeros = 0; zeros < 2; zeros++) {
            size_t least = 0;
            for (size_t k = 1; k < 4; k++)
                if (keys[k] < keys[least]) least = k;
            x[i + least] = 0;
            keys[least] = UINT32_MAX;
        }
    }
}

/* ---- rows ---- */

#define CHUNK_ELEMS 65536u /* of the weight below, read at once */

typedef struct desk {
    float    *rows; /* of the weight below */
    uint32_t *keys; /* one row's */
    void     *scratch;
    uint64_t  chunk; /* rows that fit */
} desk;

static hone_code desk_open(const hone_change *c, uint64_t most, desk *d, hone_err *err)
{
    uint64_t cols = hone_weight_cols(c->from);
    d->chunk = cols && cols < CHUNK_ELEMS ? CHUNK_ELEMS / cols : 1;
    if (d->chunk > most) d->chunk = most ? most : 1;
    size_t floats = (size_t)(d->chunk * cols * sizeof(float) + 63) & ~(size_t)63, keys = (size_t)(cols * sizeof(uint32_t) + 63) & ~(size_t)63;
    d->rows = aligned_alloc(64, (floats + keys + hone_weight_scratch(c->from, d->chunk) + 127) & ~(size_t)63);
    if (!d->rows) return HONE_NOMEM(err, "rows of a weight");
    d->keys = (uint32_t *)(void *)((uint8_t *)d->rows + floats);
    d->scratch = (uint8_t *)d->keys + keys;
    return HONE_OK;
}

static void finish_row(const hone_change *c, uint64_t row, const float *x, float *y)
{
    uint64_t     n = new_cols(c), mat = c->shared_factor ? 0 : row / rows_of_one(c->from->n_dims, c->dims, new_rows(c));
    const float *f = c->col_factor ? c->col_factor + mat * n : NULL;
    float        r = c->row_factor ? c->row_factor[row] : 1.0f;
    for (uint64_t j = 0; j < n; j++) y[j] = x[c->cols ? c->cols[j] : j];
    if (!f && !c->row_factor) return;
    if (c->plus_one)
        for (uint64_t j = 0; j < n; j++) y[j] = (float)(((double)y[j] + 1.0) * (double)r * (f ? (double)f[j] : 1.0) - 1.0);
    else
        for (uint64_t j = 0; j < n; j++) y[j] = y[j] * r * (f ? f[j] : 1.0f);
}

static void change_row(const hone_change *c, uint64_t row, uint64_t old, float *x, float *y, uint32_t *keys)
{
    uint64_t     cols = hone_weight_cols(c->from), mat = old / rows_of_one(c->from->n_dims, c->from->dims, hone_weight_rows(c->from));
    const float *importance = c->importance ? c->importance + mat * cols : NULL;
    if (c->mask == HONE_MASK_ROW) mask_row(x, (size_t)cols, c->share, importance, keys);
    if (c->mask == HONE_MASK_2_4) mask_2_4(x, (size_t)cols, importance);
    finish_row(c, row, x, y);
}

static uint64_t old_row(const hone_change *c, uint64_t row) { return c->rows ? c->rows[row] : row; }

static hone_code read_with(const hone_source *base, const hone_change *c, uint64_t row0, uint64_t n, float *out, desk *d, hone_err *err)
{
    uint64_t cols = hone_weight_cols(c->from), end = row0 + n;
    for (uint64_t row = row0; row < end;) {
        uint64_t first = old_row(c, row), run = 1;
        while (run < d->chunk && row + run < end && old_row(c, row + run) == first + run) run++;
        HONE_TRY(hone_weight_read(base, c->from, first, run, d->rows, d->scratch, err));
        for (uint64_t i = 0; i < run; i++)
            change_row(c, row + i, first + i, d->rows + i * cols, out + (row + i - row0) * new_cols(c), d->keys);
        row += run;
    }
    return HONE_OK;
}

hone_code hone_change_read(const hone_source *base, const hone_change *c, uint64_t row0, uint64_t n, float *out, hone_err *err)
{
    desk d;
    HONE_TRY(desk_open(c, n, &d, err));
    hone_code code = read_with(base, c, row0, n, out, &d, err);
    free(d.rows);
    return code;
}

/* ---- the source ---- */

typedef struct view {
    const hone_source *base;
    const hone_change **changes; /* [n_tensors], in the order of the tensors */
} view;

/* A weight that is one whole tensor as it is stored: its bytes can be handed on. */
static const hone_tensor *whole_tensor(const hone_change *c)
{
    const hone_weight *w = c->from;
    if (hone_change_values(c) || w->values || w->n_slices != 1 || !hone_weight_is_plain(w)) return NULL;
    const hone_slice *s = w->slices;
    uint64_t          bytes;
    if (s->transposed || s->row_map || s->row0 || !hone_dtype_bytes(s->tensor->dtype, hone_weight_elems(w), &bytes)) return NULL;
    return bytes == s->tensor->bytes ? s->tensor : NULL;
}

static hone_code read_changed(const view *v, const hone_change *c, uint64_t off, uint8_t *buf, size_t n, hone_err *err)
{
    uint64_t row_bytes = new_cols(c) * sizeof(float), end = off + n;
    uint64_t row = off / row_bytes, last = (end + row_bytes - 1) / row_bytes, some = CHUNK_ELEMS / new_cols(c) + 1;
    if (some > last - row) some = last - row;
    desk      d;
    float    *rows = malloc((size_t)(some * row_bytes));
    hone_code code = rows ? desk_open(c, some, &d, err) : HONE_NOMEM(err, "rows of a weight");
    if (code != HONE_OK) {
        free(rows);
        return code;
    }
    for (; code == HONE_OK && row < last; row += some) {
        uint64_t count = last - row < some ? last - row : some, lo = row * row_bytes, hi = (row + count) * row_bytes;
        code = read_with(v->base, c, row, count, rows, &d, err);
        if (code != HONE_OK) break;
        uint64_t from = lo < off ? off : lo, to = hi > end ? end : hi;
        memcpy(buf + (from - off), (const uint8_t *)rows + (from - lo), (size_t)(to - from));
    }
    free(d.rows);
    free(rows);
    return code;
}

static hone_code view_read(const hone_source *s, const hone_tensor *t, uint64_t off, void *buf, size_t n, hone_err *err)
{
    const view        *v = s->self;
    const hone_change *c = v->changes[t - s->tensors];
    const hone_tensor *same = whole_tensor(c);
    if (same) return v->base->read(v->base, same, off, buf, n, err);
    return n ? read_changed(v, c, off, buf, n, err) : HONE_OK;
}

static hone_code describe(const hone_change *c, hone_arena *a, hone_tensor *t, hone_err *err)
{
    char               name[HONE_REWRITE_NAME];
    const hone_tensor *same = whole_tensor(c);
    uint64_t           elems = new_rows(c) * new_cols(c);
    *t = (hone_tensor){ .dtype = same ? same->dtype : HONE_DTYPE_F32, .n_dims = c->from->n_dims };
    memcpy(t->dims, c->dims, sizeof c->dims);
    t->name = hone_arena_strdup(a, hone_rewrite_name(c->from->role, c->from->part, c->layer, name));
    if (!t->name) return HONE_NOMEM(err, "the weight list");
    if (!hone_size_mul(elems, sizeof(float), &t->bytes)) return HONE_FAIL(err, HONE_EUNSUPPORTED, "", "%s does not fit in memory's numbers", t->name);
    if (same) t->bytes = same->bytes;
    return HONE_OK;
}

typedef struct named { hone_tensor t; const hone_change *c; } named;

static int by_name(const void *x, const void *y) { return strcmp(((const named *)x)->t.name, ((const named *)y)->t.name); }

hone_code hone_rewrite_source(const hone_model *m, const hone_change *list, size_t n, hone_arena *a, hone_source **out, hone_err *err)
{
    hone_source *s = HONE_ARENA_NEW(a, hone_source, 1);
    view        *v = HONE_ARENA_NEW(a, view, 1);
    named       *all = HONE_ARENA_NEW(a, named, n + 1);
    hone_tensor *tensors = HONE_ARENA_NEW(a, hone_tensor, n + 1);
    if (!s || !v || !all || !tensors) return HONE_NOMEM(err, "the weight list");
    for (size_t i = 0; i < n; i++) {
        all[i].c = &list[i];
        HONE_TRY(describe(&list[i], a, &all[i].t, err));
    }
    qsort(all, n, sizeof *all, by_name);
    v->base = m->source;
    v->changes = HONE_ARENA_NEW(a, const hone_change *, n + 1);
    if (!v->changes) return HONE_NOMEM(err, "the weight list");
    for (size_t i = 0; i < n; i++) {
        tensors[i] = all[i].t;
        v->changes[i] = all[i].c;
    }
    *s = (hone_source){ .read = view_read, .tensors = tensors, .n_tensors = n, .files = m->source->files, .n_files = m->source->n_files, .upright = true, .self = v };
    *out = s;
    return HONE_OK;
}
