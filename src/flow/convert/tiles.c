/* tiles.c - reads a tile of rows once, encodes it for every output, and writes each row at its place.
 * Memory is tiles x threads: no tensor is ever held whole, so peak RSS does not grow with the model. */
#include "base/clock.h"
#include "flow/convert/conversion.h"
#include "quant/codec.h"
#include "quant/weight.h"
#include <stdlib.h>
#include <unistd.h>

/* Floats in a tile.  1 MiB of source at two bytes a weight: large enough to keep system calls rare, small enough that two
 * tiles for each thread stay in the outer caches.  Measured flat between 256 Ki and 2 Mi floats. */
#define TILE_ELEMS (256u * 1024u)

/* Weights of a few rows share a job: a model may have thousands of them.  Far below a tile, so that a small model still has jobs for all threads. */
#define JOB_ELEMS (TILE_ELEMS / 8)

typedef struct tile { const hone_item *it; uint64_t row0, n_rows; } tile;

/* ---- rows in streams ---- */

/* Bytes that n_rows rows take in a stream. */
static size_t stream_bytes(const hone_planned *p, uint32_t stream, uint64_t n_rows) { return (size_t)((n_rows * p->at[stream].row_bits + 7) / 8); }

uint64_t hone_planned_bytes(const hone_planned *p, uint64_t n_rows)
{
    uint64_t n = 0;
    for (uint32_t s = 0; s < p->n_streams; s++) n += stream_bytes(p, s, n_rows);
    return n;
}

/* Runs of rows begin at multiples of this: at a whole byte in every stream.  Rows are whole nibbles or larger. */
static uint64_t align_of(const hone_planned *p)
{
    for (uint32_t s = 0; s < p->n_streams; s++)
        if (p->at[s].row_bits % 8) return 2;
    return 1;
}

/* ---- what is read once ---- */

static bool same_slices(const hone_weight *a, const hone_weight *b)
{
    if (a->values || b->values || a->n_slices != b->n_slices || a->n_dims != b->n_dims) return false;
    for (uint32_t d = 0; d < a->n_dims; d++)
        if (a->dims[d] != b->dims[d]) return false;
    for (size_t i = 0; i < a->n_slices; i++) {
        const hone_slice *x = &a->slices[i], *y = &b->slices[i];
        if (x->tensor != y->tensor || x->row0 != y->row0 || x->n_rows != y->n_rows || x->transposed != y->transposed || x->row_map != y->row_map)
            return false;
    }
    return true;
}

/* A weight whose rows are stored in another order is read in the stored one; to[stored row] is where the row belongs.
 * Rows that are left out or repeated cannot be told that way: then w stays as it is. */
static hone_code stored_order(hone_weight *w, const uint32_t **to, hone_arena *a, hone_err *err)
{
    const hone_slice *s = w->slices;
    *to = NULL;
    if (w->n_dims < 2 || w->n_slices != 1 || s->transposed || !s->row_map || s->n_rows != hone_weight_rows(w)) return HONE_OK;
    uint32_t *inverse = HONE_ARENA_NEW(a, uint32_t, s->n_rows);
    if (!inverse) return HONE_NOMEM(err, "a row order");
    memset(inverse, 0xff, s->n_rows * sizeof *inverse);
    for (uint64_t i = 0; i < s->n_rows; i++) {
        uint32_t from = s->row_map[i];
        if (from >= s->n_rows || inverse[from] != UINT32_MAX) return HONE_OK;
        inverse[from] = (uint32_t)i;
    }
    hone_slice *plain = HONE_ARENA_NEW(a, hone_slice, 1);
    if (!plain) return HONE_NOMEM(err, "a row order");
    *plain = *s;
    plain->row_map = NULL;
    w->slices = plain;
    *to = inverse;
    return HONE_OK;
}

/* Items by what they read: index of the item + 1, or 0.  slots is a power of two, more than twice the items. */
typedef struct finder { uint32_t *slots; size_t n; } finder;

static hone_item *item_of(hone_conversion *j, const finder *f, const hone_weight *w)
{
    uint64_t at = w->n_slices ? ((uint64_t)(uintptr_t)w->slices->tensor / 8 + w->slices->row0 * 31) * 0x9e3779b97f4a7c15u >> 20 : 0;
    for (; w->n_slices; at++) {
        uint32_t *slot = &f->slots[at & (f->n - 1)];
        if (*slot && same_slices(&j->items[*slot - 1].w, w)) return &j->items[*slot - 1];
        if (*slot) continue;
        *slot = (uint32_t)j->n_items + 1;
        break;
    }
    j->items[j->n_items].w = *w;
    return &j->items[j->n_items++];
}

static hone_code add_use(hone_conversion *j, const finder *f, uint32_t output, uint32_t weight, hone_err *err)
{
    hone_weight w = j->outputs[output].weights[weight];
    hone_use        *u = HONE_ARENA_NEW(&j->arena, hone_use, 1);
    if (!u) return HONE_NOMEM(err, "the plan");
    *u = (hone_use){ .output = output, .weight = weight };
    w.scale = 1;
    w.add = 0;
    /* Rows that share a byte with their neighbours are read in the order in which they are wanted. */
    if (align_of(&j->outputs[output].plan[weight]) == 1) HONE_TRY(stored_order(&w, &u->to, &j->arena, err));
    hone_use **end = &item_of(j, f, &w)->uses;
    while (*end) end = &(*end)->next;
    *end = u;
    return HONE_OK;
}

static hone_code plan_items(hone_conversion *j, hone_err *err)
{
    size_t most = 0;
    for (size_t k = 0; k < j->n_outputs; k++) most += j->outputs[k].n_weights;
    j->items = HONE_ARENA_NEW(&j->arena, hone_item, most + 1);
    finder f = { .n = 4 };
    while (f.n < 2 * most + 2) f.n *= 2;
    f.slots = HONE_ARENA_NEW(&j->arena, uint32_t, f.n);
    if (!j->items || !f.slots) return HONE_NOMEM(err, "the plan");
    for (uint32_t k = 0; k < j->n_outputs; k++)
        for (uint32_t i = 0; i < j->outputs[k].n_weights; i++) HONE_TRY(add_use(j, &f, k, i, err));
    return HONE_OK;
}

/* ---- tiles ---- */

static const hone_planned *planned(const hone_conversion *j, const hone_use *u) { return &j->outputs[u->output].plan[u->weight]; }
static const hone_weight  *wanted(const hone_conversion *j, const hone_use *u) { return &j->outputs[u->output].weights[u->weight]; }

static size_t whole_lines(uint64_t n) { return (size_t)((n + 63) & ~(uint64_t)63); }
static void   at_least(size_t *n, size_t v) { *n = *n < v ? v : *n; }

/* Nothing here wraps: check_size has seen to it. */
static void plan_tiles(hone_conversion *j)
{
    for (size_t i = 0; i < j->n_items; i++) {
        hone_item    *it = &j->items[i];
        uint64_t rows = hone_weight_rows(&it->w), cols = hone_weight_cols(&it->w), step = cols && cols < TILE_ELEMS ? TILE_ELEMS / cols : 1;
        if (cols == 0) rows = 0;
        for (const hone_use *u = it->uses; u; u = u->next)
            if (align_of(planned(j, u)) > 1) step = (step + 1) / 2 * 2;
        if (step > rows) step = rows ? rows : 1;
        it->first = j->n_tiles;
        it->step = step;
        j->n_tiles += (size_t)((rows + step - 1) / step);
        if (rows == 0) continue;
        at_least(&j->floats_bytes, whole_lines(step * cols * sizeof(float)));
        at_least(&j->read_bytes, whole_lines(hone_weight_scratch(&it->w, step)));
        for (const hone_use *u = it->uses; u; u = u->next) {
            if (!hone_weight_is_plain(wanted(j, u)) || u->corrected) at_least(&j->form_bytes, whole_lines(step * cols * sizeof(float)));
            if (u->rounded) at_least(&j->back_bytes, whole_lines(step * cols * sizeof(float)));
            if (u->to) at_least(&j->order_bytes, whole_lines(step * sizeof(uint64_t)));
            size_t bytes = whole_lines(hone_planned_bytes(planned(j, u), step) + 64 * HONE_STREAMS);
            at_least(&j->tile_bytes, bytes);
            if (u->known) at_least(&j->treat_bytes, hone_treatments_scratch(j->treat, planned(j, u), cols));
            if (u->known || u->rounded) at_least(&j->treated_bytes, bytes);
        }
    }
    j->scratch_each = j->floats_bytes + j->form_bytes + j->back_bytes + j->read_bytes + j->order_bytes + j->treat_bytes + j->treated_bytes + 2 * j->tile_bytes;
}

/* Tiles in their order, those of small weights together. */
static hone_code plan_jobs(hone_conversion *j, hone_err *err)
{
    uint64_t elems = 0;
    size_t   at = 0;
    bool     cut = false; /* no job has tiles of both kinds */
    j->jobs = HONE_ARENA_NEW(&j->arena, size_t, j->n_tiles + 1);
    if (!j->jobs) return HONE_NOMEM(err, "the plan");
    for (size_t i = 0; i < j->n_items; i++) {
        const hone_item *it = &j->items[i];
        uint64_t         each = it->step * hone_weight_cols(&it->w);
        size_t           end = i + 1 < j->n_items ? (size_t)j->items[i + 1].first : j->n_tiles;
        if (i == j->late_item) {
            j->late_job = j->n_jobs;
            cut = true;
        }
        for (; at < end; at++) {
            if (at == 0 || cut || elems + each > JOB_ELEMS) {
                cut = false;
                j->jobs[j->n_jobs++] = at;
                elems = 0;
            }
            elems += each;
        }
    }
    j->jobs[j->n_jobs] = j->n_tiles;
    if (j->late_item == j->n_items) j->late_job = j->n_jobs;
    if (j->threads > j->n_jobs) j->threads = j->n_jobs ? (unsigned)j->n_jobs : 1;
    j->kept = HONE_ARENA_NEW(&j->arena, hone_kept_tiles, j->threads);
    return j->kept ? HONE_OK : HONE_NOMEM(err, "the plan");
}

/* A quantised source's rows that are wanted in the type they have are taken as they are: encoding them again would change them. */
static bool is_copy(const hone_conversion *j, const hone_use *u, const hone_weight *stored)
{
    const hone_planned *p = planned(j, u);
    return stored->n_slices == 1 && !stored->values && !stored->slices->transposed && !stored->slices->row_map && stored->n_dims > 1 &&
           hone_weight_is_plain(wanted(j, u)) && p->grouped.scheme == HONE_SCHEME_NONE && p->dtype == stored->slices->tensor->dtype &&
           hone_dtype_get(p->dtype)->block_elems > 1;
}

/* What calibration knows of every weight that is to be encoded. */
static hone_code plan_treatments(hone_conversion *j, const hone_convert_options *opt, hone_err *err)
{
    HONE_TRY(hone_treatments_new(opt, j->m, j->threads, &j->arena, &j->treat, err));
    for (size_t i = 0; j->treat && i < j->n_items; i++)
        for (hone_use *u = j->items[i].uses; u; u = u->next)
            if (!is_copy(j, u, &j->items[i].w)) HONE_TRY(hone_treatments_add(j->treat, wanted(j, u), planned(j, u), &u->known, err));
    return HONE_OK;
}

hone_code hone_conversion_tiles(hone_conversion *j, const hone_convert_options *opt, hone_err *err)
{
    j->threads = hone_ctx_threads(j->ctx);
    HONE_TRY(plan_items(j, err));
    HONE_TRY(hone_corrections_plan(j, opt, err));
    HONE_TRY(plan_treatments(j, opt, err));
    plan_tiles(j);
    return plan_jobs(j, err);
}

/* The item that a tile belongs to is the last one that begins at or before it (empty ones begin where the next does). */
static tile tile_at(const hone_conversion *j, uint64_t index)
{
    size_t lo = 0, hi = j->n_items;
    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;
        if (j->items[mid].first <= index) lo = mid;
        else hi = mid;
    }
    const hone_item *it = &j->items[lo];
    uint64_t    row0 = (index - it->first) * it->step, left = hone_weight_rows(&it->w) - row0;
    return (tile){ it, row0, left < it->step ? left : it->step };
}

typedef struct desk { /* one worker's part of the scratch */
    float    *x, *y, *back;
    uint8_t  *raw, *enc[2], *treat, *treated;
    uint64_t *order;
    hone_kept_tiles *kept;
} desk;

static desk desk_of(const hone_conversion *j, unsigned worker)
{
    uint8_t *p = j->scratch + worker * j->scratch_each;
    uint8_t *back = p + j->floats_bytes + j->form_bytes, *raw = back + j->back_bytes, *order = raw + j->read_bytes, *treat = order + j->order_bytes, *treated = treat + j->treat_bytes;
    uint8_t *enc = treated + j->treated_bytes;
    return (desk){ .x = (float *)(void *)p, .y = (float *)(void *)(p + j->floats_bytes), .back = (float *)(void *)back, .raw = raw, .enc = { enc, enc + j->tile_bytes },
                   .treat = treat, .treated = treated, .order = (uint64_t *)(void *)order, .kept = &j->kept[worker] };
}

/* Rows that follow each other in x and in every stream. */
static void encode_rows(const hone_planned *p, const float *x, uint64_t rows, size_t cols, uint8_t *const out[HONE_STREAMS])
{
    if (p->grouped.scheme != HONE_SCHEME_NONE) {
        hone_grouped_encode(&p->grouped, x, rows, cols, out);
        return;
    }
    const hone_codec *codec = hone_codec_find(p->dtype);
    for (uint64_t r = 0; r < rows; r++) codec->encode_row(x + r * cols, out[0] + r * (p->at[0].row_bits / 8), cols, NULL);
}

/* n encoded rows of a stream, the first of them row `first` of the weight; p->step is none. */
static hone_piece piece_of(hone_output *o, const hone_planned *p, uint32_t stream, uint64_t first, uint64_t n, const uint8_t *rows)
{
    const hone_place *at = &p->at[stream];
    return (hone_piece){ &o->files[at->file].out, at->offset + first * at->row_bits / 8, rows, stream_bytes(p, stream, n) };
}

static hone_code put_piece(const hone_piece *p, hone_err *err) { return hone_out_write(p->out, p->offset, p->bytes, p->n, err); }

static hone_code write_rows(hone_output *o, const hone_planned *p, uint32_t stream, uint64_t first, uint64_t n, const uint8_t *rows, hone_err *err)
{
    const hone_place *at = &p->at[stream];
    size_t            one = (size_t)(at->row_bits / 8);
    hone_piece        whole = piece_of(o, p, stream, first, n, rows);
    if (p->step < 2) return put_piece(&whole, err);
    for (uint64_t r = 0; r < n; r++) HONE_TRY(hone_out_write(whole.out, at->offset + (first + r) * p->step * one, rows + r * one, one, err));
    return HONE_OK;
}

/* ---- tiles that are kept while their file is busy ---- */

/* wait: all of it; else the pieces whose file can be entered.  Those of one file go together, so that its digest finds no gaps. */
static hone_code put_kept(hone_kept *k, bool wait, hone_err *err)
{
    while (k->n) {
        hone_out *out = k->piece[k->n - 1].out;
        bool      entered = hone_out_enter(out);
        hone_code code = HONE_OK;
        if (!entered && !wait) return HONE_OK;
        while (code == HONE_OK && k->n && k->piece[k->n - 1].out == out) {
            code = put_piece(&k->piece[k->n - 1], err);
            k->n -= code == HONE_OK;
        }
        if (entered) hone_out_leave(out);
        HONE_TRY(code);
    }
    return HONE_OK;
}

hone_code hone_conversion_put_kept(hone_conversion *j, hone_err *err)
{
    for (unsigned i = 0; i < j->threads; i++)
        for (int k = 0; k < 2; k++) HONE_TRY(put_kept(&j->kept[i].tile[k], true, err));
    return HONE_OK;
}

/* Where this worker may encode a tile: the buffer it used last, which is in its caches, or the other one; when both are kept, the elder is written first. */
static hone_code take_buffer(const desk *d, hone_kept **kept, uint8_t **buf, hone_err *err)
{
    if (d->kept->tile[d->kept->last].n) d->kept->last ^= 1;
    *kept = &d->kept->tile[d->kept->last];
    *buf = d->enc[d->kept->last];
    return put_kept(*kept, true, err);
}

/* The tile's rows as they are stored. */
static hone_code read_stored(const hone_conversion *j, const hone_weight *w, const tile *t, uint64_t row_bytes, uint8_t *out, hone_err *err)
{
    const hone_slice *s = w->slices;
    return j->m->source->read(j->m->source, s->tensor, (s->row0 + t->row0) * row_bytes, out, (size_t)(t->n_rows * row_bytes), err);
}

static int by_place(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Where the streams of n rows begin in a buffer. */
static void lay_out(const hone_planned *p, uint64_t n_rows, uint8_t *at, uint8_t *out[HONE_STREAMS])
{
    for (uint32_t s = 0; s < HONE_STREAMS; s++) {
        out[s] = s < p->n_streams ? at : NULL;
        if (out[s]) at += whole_lines(stream_bytes(p, s, n_rows));
    }
}

/* Rows of the tile that follow each other in the output are encoded side by side and written in one go.  stored: rows to copy instead, or NULL. */
static hone_code put_runs(hone_conversion *j, const hone_use *u, const tile *t, const desk *d, const float *x, uint8_t *const stored[HONE_STREAMS], size_t cols,
                          hone_err *err)
{
    hone_output        *o = &j->outputs[u->output];
    const hone_planned *p = planned(j, u);
    uint8_t            *base[HONE_STREAMS], *buf = NULL;
    hone_kept          *kept;
    if (u->to || !stored) {
        HONE_TRY(take_buffer(d, &kept, &buf, err));
        lay_out(p, t->n_rows, buf, base);
    }
    /* place in the upper half, row of the tile in the lower */
    for (uint64_t r = 0; u->to && r < t->n_rows; r++) d->order[r] = (uint64_t)u->to[t->row0 + r] << 32 | r;
    if (u->to) qsort(d->order, (size_t)t->n_rows, sizeof *d->order, by_place);
    for (uint64_t begin = 0; begin < t->n_rows;) {
        uint64_t first = u->to ? d->order[begin] >> 32 : t->row0, n = u->to ? 0 : t->n_rows;
        while (u->to && begin + n < t->n_rows && d->order[begin + n] >> 32 == first + n) n++;
        for (uint64_t r = 0; u->to && r < n; r++) {
            uint8_t *out[HONE_STREAMS] = { 0 };
            for (uint32_t s = 0; s < p->n_streams; s++) out[s] = base[s] + r * (p->at[s].row_bits / 8);
            uint64_t row = d->order[begin + r] & UINT32_MAX;
            for (uint32_t s = 0; stored && s < p->n_streams; s++) memcpy(out[s], stored[s] + row * (p->at[s].row_bits / 8), (size_t)(p->at[s].row_bits / 8));
            if (!stored) encode_rows(p, x + row * cols, 1, cols, out);
        }
        if (!u->to && !stored) encode_rows(p, x, n, cols, base);
        for (uint32_t s = 0; s < p->n_streams; s++) HONE_TRY(write_rows(o, p, s, first, n, stored && !u->to ? stored[s] : base[s], err));
        begin += n;
    }
    return HONE_OK;
}

/* A tile whose rows follow each other in every stream, as most do: it is written when nobody else writes to the file, the next one is encoded meanwhile. */
static hone_code put_tile(hone_conversion *j, const hone_use *u, const tile *t, const desk *d, const float *x, size_t cols, hone_err *err)
{
    const hone_planned *p = planned(j, u);
    uint8_t            *base[HONE_STREAMS], *buf;
    hone_kept          *kept;
    HONE_TRY(take_buffer(d, &kept, &buf, err));
    lay_out(p, t->n_rows, buf, base);
    encode_rows(p, x, t->n_rows, cols, base);
    for (uint32_t s = p->n_streams; s-- > 0;) /* the last piece is the first to be written */
        kept->piece[kept->n++] = piece_of(&j->outputs[u->output], p, s, t->row0, t->n_rows, base[s]);
    HONE_TRY(put_kept(&d->kept->tile[d->kept->last ^ 1], false, err));
    return put_kept(kept, false, err);
}

static hone_code put_rows(hone_conversion *j, const hone_use *u, const tile *t, const desk *d, const float *x, uint8_t *const stored[HONE_STREAMS], size_t cols,
                          hone_err *err)
{
    if (!u->to && !stored && planned(j, u)->step < 2) return put_tile(j, u, t, d, x, cols, err);
    for (int k = 0; k < 2; k++) HONE_TRY(put_kept(&d->kept->tile[k], false, err)); /* what is kept is not held up by tiles of this kind */
    return put_runs(j, u, t, d, x, stored, cols, err);
}

/* The tile's numbers as an output wants them. */
static hone_code form_of(const hone_conversion *j, const hone_use *u, const tile *t, const desk *d, uint64_t cols, const float **out, hone_err *err)
{
    const hone_weight *form = wanted(j, u);
    *out = d->x;
    if (!hone_weight_is_plain(form)) {
        hone_weight_finish(form, d->x, d->y, (size_t)(t->n_rows * cols));
        *out = d->y;
    }
    if (!u->corrected) return HONE_OK;
    HONE_TRY(hone_correction_add(u->corrected, form, planned(j, u)->dtype, *out, cols, d->y, err)); /* a bias is one row */
    *out = d->y;
    return HONE_OK;
}

static void see_rounding(const hone_conversion *j, const hone_use *u, const tile *t, const desk *d, const float *x, uint8_t *const encoded[HONE_STREAMS], uint64_t cols)
{
    const uint8_t *in[HONE_STREAMS] = { encoded[0], encoded[1], encoded[2] };
    hone_planned_decode(planned(j, u), in, t->n_rows, cols, d->back);
    hone_correction_see(u->rounded, x, d->back, t->row0, u->to, t->n_rows, cols);
}

hone_code hone_conversion_run_tile(void *user, size_t index, unsigned worker, hone_err *err)
{
    hone_conversion               *j = user;
    tile               t = tile_at(j, index);
    const hone_weight *w = &t.it->w;
    desk               d = desk_of(j, worker);
    uint64_t           cols = hone_weight_cols(w);
    /* Rows that will be copied as they are stored are read as numbers too: this is where NaN and Inf are refused. */
    HONE_TRY(hone_weight_read(j->m->source, w, t.row0, t.n_rows, d.x, d.raw, err));
    for (const hone_use *u = t.it->uses; u; u = u->next) {
        if (is_copy(j, u, w)) {
            HONE_TRY(read_stored(j, w, &t, planned(j, u)->at[0].row_bits / 8, d.raw, err));
            uint8_t *stored[HONE_STREAMS] = { d.raw };
            HONE_TRY(put_rows(j, u, &t, &d, NULL, stored, (size_t)cols, err));
            continue;
        }
        const float *x;
        uint8_t     *treated[HONE_STREAMS];
        HONE_TRY(form_of(j, u, &t, &d, cols, &x, err));
        lay_out(planned(j, u), t.n_rows, d.treated, treated);
        if (u->known)
            HONE_TRY(hone_treatments_rows(j->treat, u->known, planned(j, u), x, t.row0, u->to, t.n_rows, cols, treated, d.treat, err));
        else if (u->rounded) encode_rows(planned(j, u), x, t.n_rows, (size_t)cols, treated);
        if (u->rounded) see_rounding(j, u, &t, &d, x, treated, cols);
        HONE_TRY(put_rows(j, u, &t, &d, x, u->known || u->rounded ? treated : NULL, (size_t)cols, err));
    }
    (void)atomic_fetch_add(&j->done, t.n_rows * cols);
    return HONE_OK;
}

/* The source may fetch a later job's rows while this one computes: as far ahead as every thread has one to do in between. */
static void read_ahead(const hone_conversion *j, size_t job)
{
    for (size_t i = j->jobs[job]; i < j->jobs[job + 1]; i++) {
        tile t = tile_at(j, i);
        hone_weight_soon(j->m->source, &t.it->w, t.row0, t.n_rows);
    }
}

hone_code hone_conversion_run_job(void *user, size_t index, unsigned worker, hone_err *err)
{
    hone_conversion *j = user;
    size_t           last = index + 2 * (size_t)j->threads, first = index ? last : 1; /* the first job asks for the first few at once */
    for (size_t k = first; k <= last && k < j->n_jobs; k++) read_ahead(j, k);
    for (size_t i = j->jobs[index]; i < j->jobs[index + 1]; i++) HONE_TRY(hone_conversion_run_tile(j, i, worker, err));
    const hone_weight *w = &tile_at(j, j->jobs[index]).it->w;
    uint64_t           done = atomic_load(&j->done);
    /* Source bytes, near enough for a bar: computed weights (rope factors) are a few hundred bytes. */
    uint64_t esize = hone_dtype_get(w->dtype)->block_bytes / hone_dtype_get(w->dtype)->block_elems;
    hone_event_progress(j->ctx, "bytes", done * (esize ? esize : 1) < j->source_bytes ? done * (esize ? esize : 1) : j->source_bytes,
                        j->source_bytes);
    return HONE_OK;
}

typedef struct part { hone_conversion *j; hone_job run; size_t first; } part; /* of the jobs */

static hone_code run_part(void *user, size_t index, unsigned worker, hone_err *err)
{
    const part *p = user;
    return p->run(p->j, p->first + index, worker, err);
}

hone_code hone_conversion_run(hone_conversion *j, hone_job run, hone_err *err)
{
    HONE_TRY(hone_pool_run(j->ctx, j->late_job, run_part, &(part){ j, run, 0 }, err));
    return hone_pool_run(j->ctx, j->n_jobs - j->late_job, run_part, &(part){ j, run, j->late_job }, err);
}

/* ---- time ---- */


/* An encoding's cost is that of its codec, whatever the format. */
#define N_KINDS (HONE_DTYPE_COUNT + 8 * 9)
static size_t kind_of(const hone_planned *p)
{
    return p->grouped.scheme == HONE_SCHEME_NONE ? p->dtype : (size_t)HONE_DTYPE_COUNT + 9 * ((size_t)p->grouped.scheme - 1) + p->grouped.bits;
}

/* Of treated rows a few are enough; what comes before the first of them (a Hessian) is counted with the weight's. */
#define TREATED_ROWS 16
static hone_code time_rows(const hone_conversion *j, const hone_use *u, const desk *d, uint64_t rows, uint64_t all_rows, uint64_t cols, double *per_elem, hone_err *err)
{
    const hone_planned *p = planned(j, u);
    uint8_t            *out[HONE_STREAMS];
    uint64_t            n = u->known && rows > TREATED_ROWS ? TREATED_ROWS : rows;
    double              t0 = hone_now_s(), before = 0;
    lay_out(p, rows, d->enc[0], out);
    if (u->known) {
        HONE_TRY(hone_treatments_rows(j->treat, u->known, p, d->x, 0, u->to, n, cols, out, d->treat, err));
        before = hone_now_s() - t0;
        t0 = hone_now_s();
        HONE_TRY(hone_treatments_rows(j->treat, u->known, p, d->x, 0, u->to, n, cols, out, d->treat, err));
        before -= hone_now_s() - t0;
    } else encode_rows(p, d->x, n, (size_t)cols, out);
    double each = (hone_now_s() - t0) / (double)(n * cols);
    *per_elem = each + (before > 0 ? before : 0) / (double)(all_rows * cols);
    return HONE_OK;
}

hone_code hone_conversion_estimate(hone_conversion *j, double *seconds, hone_err *err)
{
    double per_elem[N_KINDS] = { 0 }, read_s = 0, read_elems = 0, total = 0;
    *seconds = 0;
    if (j->n_tiles == 0) return HONE_OK;
    j->scratch = aligned_alloc(64, j->scratch_each);
    if (!j->scratch) return HONE_NOMEM(err, "a tile");
    desk d = desk_of(j, 0);
    for (size_t i = 0; i < j->n_items; i++) {
        const hone_weight *w = &j->items[i].w;
        uint64_t           cols = hone_weight_cols(w), rows = j->items[i].step; /* its first tile */
        bool               have = false;
        for (const hone_use *u = j->items[i].uses; u && hone_weight_elems(w); u = u->next) {
            double *cost = &per_elem[kind_of(planned(j, u))];
            if (*cost > 0) continue;
            double t0 = hone_now_s();
            if (!have) HONE_TRY(hone_weight_read(j->m->source, w, 0, rows, d.x, d.raw, err));
            if (!have) read_elems += (double)(rows * cols);
            if (!have) read_s += hone_now_s() - t0;
            have = true;
            HONE_TRY(time_rows(j, u, &d, rows, hone_weight_rows(w), cols, cost, err));
        }
    }
    for (size_t i = 0; i < j->n_items; i++) {
        double n = (double)hone_weight_elems(&j->items[i].w);
        total += read_elems > 0 ? n * read_s / read_elems : 0;
        for (const hone_use *u = j->items[i].uses; u; u = u->next) total += n * per_elem[kind_of(planned(j, u))];
    }
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    *seconds = total / (cores > 0 && (unsigned long)cores < j->threads ? (double)cores : (double)j->threads);
    return HONE_OK;
}
