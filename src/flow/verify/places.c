/* places.c - which weight a byte belongs to, which bytes belong to none, and where a GGUF artefact of another header has its tensors. */
#include "base/text.h"
#include "flow/verify/parts.h"
#include "quant/codec.h"
#include <inttypes.h>
#include <stdlib.h>

static const hone_output *output(const hone_comparison *c) { return &c->j->outputs[0]; }

/* ---- bytes and weights ---- */

uint64_t hone_comparison_block_bits(const hone_planned *p, uint32_t stream, uint64_t cols)
{
    const hone_grouped *g = &p->grouped;
    if (g->scheme == HONE_SCHEME_NONE) return 8 * (uint64_t)hone_dtype_get(p->dtype)->block_bytes;
    if (stream == HONE_STREAM_CODES) return g->group ? (uint64_t)g->group * g->bits : p->at[stream].row_bits;
    return p->at[stream].row_bits / hone_grouped_groups(g, cols);
}

bool hone_comparison_place(const hone_comparison *c, size_t file, uint64_t offset, size_t *weight, uint32_t *stream, uint64_t *row, uint64_t *block)
{
    for (size_t i = 0; i < output(c)->n_weights; i++) {
        const hone_planned *p = &output(c)->plan[i];
        uint64_t            rows = hone_weight_rows(&output(c)->weights[i]), cols = hone_weight_cols(&output(c)->weights[i]);
        for (uint32_t s = 0; s < p->n_streams; s++) {
            const hone_place *at = &p->at[s];
            if (at->file != file || offset < at->offset || at->row_bits == 0) continue;
            uint64_t bit = 8 * (offset - at->offset), pace = at->row_bits * (p->step > 1 ? p->step : 1);
            if (bit / pace >= rows || bit % pace >= at->row_bits) continue;
            *weight = i;
            *stream = s;
            *row = bit / pace;
            *block = bit % pace / hone_comparison_block_bits(p, s, cols);
            return true;
        }
    }
    return false;
}

typedef struct span { uint64_t begin, end; } span;

static int by_begin(const void *a, const void *b)
{
    const span *x = a, *y = b;
    return x->begin < y->begin ? -1 : x->begin > y->begin;
}

/* Spans of rows in one file.  Rows in turns with those of other weights count as one run: the others fill what lies between. */
static size_t list_spans(const hone_comparison *c, size_t file, span *out)
{
    const hone_output *o = output(c);
    size_t             n = 0;
    for (size_t i = 0; i < o->n_weights; i++)
        for (uint32_t s = 0; s < o->plan[i].n_streams; s++) {
            const hone_place *at = &o->plan[i].at[s];
            uint64_t          rows = hone_weight_rows(&o->weights[i]), step = o->plan[i].step > 1 ? o->plan[i].step : 1;
            if (at->file != file || rows == 0 || at->row_bits == 0) continue;
            out[n++] = (span){ at->offset, at->offset + (((rows - 1) * step + 1) * at->row_bits + 7) / 8 };
        }
    return n;
}

static hone_code check_zero(hone_comparison *c, size_t file, uint64_t begin, uint64_t end, hone_err *err)
{
    static const uint8_t zeros[4096];
    for (uint64_t at = begin; at < end; at += sizeof zeros)
        HONE_TRY(hone_out_write(&c->j->outputs[0].files[file].out, at, zeros, end - at < sizeof zeros ? (size_t)(end - at) : sizeof zeros, err));
    return HONE_OK;
}

hone_code hone_comparison_gaps(hone_comparison *c, hone_err *err)
{
    const hone_output *o = output(c);
    span              *spans = HONE_ARENA_NEW(c->a, span, o->n_weights * HONE_STREAMS + 1);
    if (!spans) return HONE_NOMEM(err, "the comparison");
    for (size_t k = 0; k < o->n_files; k++) {
        const hone_planned_file *f = &o->files[k];
        size_t                   n = list_spans(c, k, spans);
        uint64_t                 reach = f->copy ? f->total : f->head.len;
        qsort(spans, n, sizeof *spans, by_begin);
        for (size_t i = 0; i < n; i++) {
            if (spans[i].begin > reach) HONE_TRY(check_zero(c, k, reach, spans[i].begin, err));
            if (spans[i].end > reach) reach = spans[i].end;
        }
        HONE_TRY(check_zero(c, k, reach, f->total, err));
    }
    return HONE_OK;
}

/* ---- GGUF by names ---- */

static bool same_head(const hone_comparison *c, size_t file, hone_err *err, hone_code *code)
{
    const hone_bytes head = output(c)->files[file].head;
    hone_file        f = HONE_FILE_CLOSED;
    uint8_t         *buf = NULL;
    bool             same = false;
    *code = HONE_OK;
    if (!hone_file_exists(c->paths[file])) return false;
    *code = hone_file_open(c->paths[file], &f, err);
    if (*code == HONE_OK && f.size >= head.len) {
        buf = malloc(head.len);
        *code = buf ? hone_file_read(&f, 0, buf, head.len, err) : HONE_NOMEM(err, "a GGUF header");
        same = *code == HONE_OK && memcmp(buf, head.ptr, head.len) == 0;
    }
    free(buf);
    hone_file_close(&f);
    return same;
}

static hone_code same_heads(const hone_comparison *c, bool *out, hone_err *err)
{
    hone_code code = HONE_OK;
    *out = true;
    for (size_t i = 0; code == HONE_OK && *out && i < output(c)->n_files; i++) *out = same_head(c, i, err, &code);
    return code;
}

static bool same_shape(const hone_weight *w, const hone_tensor *t)
{
    bool same = w->n_dims == t->n_dims;
    for (uint32_t d = 0; same && d < w->n_dims; d++) same = w->dims[d] == t->dims[d];
    return same;
}

static size_t count_moved(const hone_output *o, const hone_gguf *g)
{
    size_t moved = g->source->n_tensors > o->n_weights ? g->source->n_tensors - o->n_weights : 0;
    for (size_t i = 0; i < o->n_weights; i++) {
        const hone_tensor *t = hone_source_find(g->source, o->plan[i].name);
        bool               other = !t || t->dtype != o->plan[i].dtype;
        moved += other || !same_shape(&o->weights[i], t) || t->offset != o->plan[i].at[0].offset || t->file != o->plan[i].at[0].file;
    }
    return moved;
}

static const char *shape_text(hone_arena *a, const char *type, uint32_t n, const uint64_t *dims)
{
    hone_text t = { 0 };
    hone_text_addf(&t, "%s [", type);
    for (uint32_t d = 0; d < n; d++) hone_text_addf(&t, "%s%" PRIu64, d ? ", " : "", dims[d]);
    hone_text_add(&t, "]");
    const char *s = t.failed ? NULL : hone_arena_strdup(a, t.ptr);
    hone_text_release(&t);
    return s;
}

/* A tensor that is not what the source gives. */
static hone_code note_shape(hone_comparison *c, const hone_weight *w, const hone_planned *p, const hone_tensor *t, const char *name, hone_err *err)
{
    const char     *want = w ? shape_text(c->a, hone_dtype_name(p->dtype), w->n_dims, w->dims) : NULL;
    const char     *found = t ? shape_text(c->a, hone_dtype_name(t->dtype), t->n_dims, t->dims) : NULL;
    const char     *key = hone_arena_printf(c->a, "tensor %s", name), *file = hone_comparison_file(c, 0);
    hone_difference d = { .kind = HONE_DIFFERS_SHAPE, .file = file };
    if (!key || (w && !want) || (t && !found)) return HONE_NOMEM(err, "the comparison");
    hone_comparison_note(c, &d);
    return hone_metadata_add(c, file, key, want, found, err);
}

/* Of the plan those weights that the artefact has in the same shape (and type, unless it is foreign), at the places where it has them. */
static hone_code relocate(hone_comparison *c, const hone_gguf *g, hone_err *err)
{
    hone_output  *o = &c->j->outputs[0];
    hone_weight  *weights = HONE_ARENA_NEW(c->a, hone_weight, o->n_weights + 1);
    hone_planned *plan = HONE_ARENA_NEW(c->a, hone_planned, o->n_weights + 1);
    size_t        n = 0;
    if (!weights || !plan) return HONE_NOMEM(err, "the comparison");
    for (size_t i = 0; i < o->n_weights; i++) {
        const hone_planned *p = &o->plan[i];
        const hone_tensor  *t = hone_source_find(g->source, p->name);
        if (!t || !same_shape(&o->weights[i], t) || (!c->foreign && t->dtype != p->dtype)) {
            HONE_TRY(note_shape(c, &o->weights[i], p, t, p->name, err));
            continue;
        }
        const hone_codec *codec = hone_codec_find(t->dtype);
        if (!codec || !codec->encode_row)
            return HONE_FAIL(err, HONE_EUNSUPPORTED, "verify it with the program that made it", "tensor '%s' is %s, which hone does not write", p->name, hone_dtype_name(t->dtype));
        weights[n] = o->weights[i];
        plan[n] = *p;
        plan[n].dtype = t->dtype;
        plan[n].encoding = hone_dtype_name(t->dtype);
        plan[n++].at[0] = (hone_place){ t->file, t->offset, 8 * hone_row_bytes(t->dtype, hone_weight_cols(&o->weights[i])) };
    }
    for (size_t k = 0; k < g->source->n_tensors; k++) {
        bool known = false;
        for (size_t i = 0; !known && i < o->n_weights; i++) known = strcmp(o->plan[i].name, g->source->tensors[k].name) == 0;
        if (!known) HONE_TRY(note_shape(c, NULL, NULL, &g->source->tensors[k], g->source->tensors[k].name, err));
    }
    o->weights = weights;
    o->plan = plan;
    o->n_weights = n;
    return HONE_OK;
}

/* The output's files become those that the artefact has; their headers are not written, so not compared. */
static hone_code adopt_files(hone_comparison *c, const hone_gguf *g, hone_err *err)
{
    hone_output       *o = &c->j->outputs[0];
    size_t             n = g->source->n_files;
    hone_planned_file *files = HONE_ARENA_NEW(c->a, hone_planned_file, n);
    const char       **paths = HONE_ARENA_NEW(c->a, const char *, n);
    if (!files || !paths) return HONE_NOMEM(err, "the comparison");
    for (size_t i = 0; i < n; i++) {
        paths[i] = hone_arena_strdup(c->a, g->source->files[i]);
        const char *slash = paths[i] ? strrchr(paths[i], '/') : NULL;
        files[i] = (hone_planned_file){ .name = c->found->dir ? slash ? slash + 1 : paths[i] : NULL, .out = { .fd = -1 } };
        if (!paths[i]) return HONE_NOMEM(err, "a path");
    }
    o->files = files;
    o->n_files = n;
    c->paths = paths;
    return HONE_OK;
}

/* Where the two headers part. */
static hone_code note_head(hone_comparison *c, const hone_gguf *g, hone_bytes head, hone_err *err)
{
    hone_gguf       want;
    hone_tensor    *tensors;
    size_t          n;
    hone_difference d = { .kind = HONE_DIFFERS_HEADER, .file = hone_comparison_file(c, 0) };
    uint8_t         some[8192];
    hone_file       f = HONE_FILE_CLOSED;
    HONE_TRY(hone_file_open(c->paths[0], &f, err));
    hone_code code = HONE_OK;
    uint64_t  both = f.size < head.len ? f.size : head.len;
    bool      same = true;
    while (code == HONE_OK && same && d.offset < both) {
        size_t part = both - d.offset < sizeof some ? (size_t)(both - d.offset) : sizeof some, i = 0;
        code = hone_file_read(&f, d.offset, some, part, err);
        while (code == HONE_OK && i < part && some[i] == head.ptr[d.offset + i]) i++;
        same = i == part;
        d.offset += i;
        if (!same) d.found[0] = some[i];
    }
    hone_file_close(&f);
    HONE_TRY(code);
    d.n_want = d.offset < head.len ? 1 : 0;
    d.n_found = same ? 0 : 1; /* the file ends there */
    d.want[0] = d.n_want ? head.ptr[d.offset] : 0;
    hone_comparison_note(c, &d);
    HONE_TRY(hone_gguf_parse(head, output(c)->files[0].total, c->a, &want, &tensors, &n, err));
    return hone_metadata_gguf(c, d.file, &want, g, err);
}

static hone_code by_name(hone_comparison *c, const hone_gguf *g, hone_err *err)
{
    hone_bytes head = output(c)->files[0].head;
    size_t     moved = count_moved(output(c), g);
    c->foreign = !c->recipe;
    if (moved == 0 && !c->foreign) return HONE_OK; /* all is where it should be: bytes will tell */
    c->by_name = true;
    if (!c->foreign) HONE_TRY(note_head(c, g, head, err));
    HONE_TRY(adopt_files(c, g, err));
    return relocate(c, g, err);
}

hone_code hone_comparison_gguf(hone_comparison *c, hone_err *err)
{
    bool      same;
    hone_gguf g;
    hone_err  e = { 0 };
    HONE_TRY(same_heads(c, &same, err));
    if (same) return HONE_OK;
    if (!hone_file_exists(c->paths[0])) return HONE_OK;
    if (hone_gguf_open(c->paths[0], c->a, &g, &e) != HONE_OK) {
        if (e.code == HONE_EINPUT || e.code == HONE_EUNSUPPORTED) return HONE_OK; /* byte by byte, then */
        if (err) *err = e;
        return e.code;
    }
    hone_code code = by_name(c, &g, err);
    g.source->close(g.source);
    return code;
}

/* ---- numbers ---- */

typedef struct capture { /* rows that a tile would write, instead of writing them */
    hone_comparison *c;
    size_t           weight;
    uint64_t         row;
    uint8_t         *row_of[HONE_STREAMS];
    bool             have[HONE_STREAMS];
} capture;

static void take_row(void *user, const hone_out *o, uint64_t off, const uint8_t *want, const uint8_t *found, size_t n, size_t n_found)
{
    capture            *k = user;
    const hone_planned *p = &output(k->c)->plan[k->weight];
    (void)found;
    (void)n_found;
    for (uint32_t s = 0; s < p->n_streams; s++) {
        uint64_t bytes = p->at[s].row_bits / 8, begin = p->at[s].offset + k->row * (p->step > 1 ? p->step : 1) * bytes;
        if (&output(k->c)->files[p->at[s].file].out != o || begin < off || begin + bytes > off + n) continue;
        memcpy(k->row_of[s], want + (begin - off), (size_t)bytes);
        k->have[s] = true;
    }
}

/* The tile that gives row `row` of weight `weight`. */
static bool tile_of(const hone_conversion *j, size_t weight, uint64_t row, size_t *tile)
{
    for (size_t i = 0; i < j->n_items; i++)
        for (const hone_use *u = j->items[i].uses; u; u = u->next) {
            if (u->weight != weight) continue;
            uint64_t from = row, rows = hone_weight_rows(&j->items[i].w);
            for (from = u->to ? 0 : row; u->to && from < rows && u->to[from] != row; from++) {}
            *tile = (size_t)(j->items[i].first + from / j->items[i].step);
            return from < rows;
        }
    return false;
}

static void decode_row(const hone_planned *p, uint8_t *const in[HONE_STREAMS], size_t cols, float *x)
{
    const uint8_t *rows[HONE_STREAMS] = { in[0], in[1], in[2] };
    if (p->grouped.scheme != HONE_SCHEME_NONE) hone_grouped_decode(&p->grouped, rows, 1, cols, x);
    else hone_codec_find(p->dtype)->decode_row(in[0], x, cols);
}

static hone_code read_found(hone_comparison *c, const hone_planned *p, uint64_t row, uint8_t *const out[HONE_STREAMS], bool *all, hone_err *err)
{
    hone_err e = { 0 };
    *all = true;
    for (uint32_t s = 0; *all && s < p->n_streams; s++) {
        hone_file f = HONE_FILE_CLOSED;
        uint64_t  bytes = p->at[s].row_bits / 8;
        if (hone_file_open(c->paths[p->at[s].file], &f, &e) == HONE_OK)
            *all = hone_file_read(&f, p->at[s].offset + row * (p->step > 1 ? p->step : 1) * bytes, out[s], (size_t)bytes, &e) == HONE_OK;
        else *all = false;
        hone_file_close(&f);
    }
    (void)err;
    return HONE_OK;
}

static hone_code show_values(hone_comparison *c, const hone_planned *p, uint8_t *const want[HONE_STREAMS], uint8_t *const found[HONE_STREAMS], size_t cols,
                             hone_err *err)
{
    float *x = HONE_ARENA_NEW(c->a, float, cols), *y = HONE_ARENA_NEW(c->a, float, cols);
    if (!x || !y) return HONE_NOMEM(err, "a row");
    decode_row(p, want, cols, x);
    decode_row(p, found, cols, y);
    for (size_t i = 0; i < cols; i++) {
        if (memcmp(&x[i], &y[i], sizeof *x) == 0) continue;
        c->values = json_pack("{s:I,s:o,s:o}", "column", (json_int_t)i, "expected", hone_json_real((double)x[i]), "found", hone_json_real((double)y[i]));
        return c->values ? HONE_OK : HONE_NOMEM(err, "the comparison");
    }
    return HONE_OK; /* other bytes, the same numbers */
}

hone_code hone_comparison_values(hone_comparison *c, hone_err *err)
{
    hone_output           *o = &c->j->outputs[0];
    const hone_difference *d = &c->first;
    if (d->kind != HONE_DIFFERS_TENSOR || d->n_found == 0) return HONE_OK;
    const hone_planned *p = &o->plan[d->weight];
    size_t              cols = (size_t)hone_weight_cols(&o->weights[d->weight]), tile;
    capture             k = { .c = c, .weight = d->weight, .row = d->row };
    hone_out_judge      sink = { take_row, &k };
    uint8_t            *found[HONE_STREAMS] = { 0 };
    bool                all;
    if (!tile_of(c->j, d->weight, d->row, &tile) || (!p->grouped.scheme && !hone_codec_find(p->dtype)->decode_row)) return HONE_OK;
    for (uint32_t s = 0; s < p->n_streams; s++) {
        if (p->at[s].row_bits % 8) return HONE_OK; /* a row that begins inside a byte is not shown */
        k.row_of[s] = hone_arena_alloc(c->a, (size_t)(p->at[s].row_bits / 8));
        found[s] = hone_arena_alloc(c->a, (size_t)(p->at[s].row_bits / 8));
        if (!k.row_of[s] || !found[s]) return HONE_NOMEM(err, "a row");
    }
    for (size_t i = 0; i < o->n_files; i++) { /* closed: then every write is told to the judge */
        hone_out_discard(&o->files[i].out);
        HONE_TRY(hone_out_compare("", &sink, &o->files[i].out, err));
    }
    HONE_TRY(hone_conversion_run_tile(c->j, tile, 0, err));
    for (uint32_t s = 0; s < p->n_streams; s++)
        if (!k.have[s]) return HONE_OK;
    HONE_TRY(read_found(c, p, d->row, found, &all, err));
    return all ? show_values(c, p, k.row_of, found, cols, err) : HONE_OK;
}
