/* convert.c - the pipeline: read a tile of rows once, encode it for every output, write each at its place.
 * Memory is tiles x threads: no tensor is ever held whole, so peak RSS does not grow with the model. */
#include "flow/convert.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/pool.h"
#include "base/text.h"
#include "flow/convert/output.h"
#include "hw/hw.h"
#include "passes/limits.h"
#include "quant/codec.h"
#include "quant/weight.h"
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

/* Floats in a tile.  1 MiB of source at two bytes a weight: large enough to keep system calls rare, small enough that two
 * tiles for each thread stay in the outer caches.  Measured flat between 256 Ki and 2 Mi floats. */
#define TILE_ELEMS (512u * 1024u)
#define COPY_BYTES (1u << 20)

static const hone_format *const formats[] = { &hone_format_gguf, &hone_format_onnx, &hone_format_openvino, &hone_format_mlx };

const hone_format *hone_convert_format(size_t i) { return i < HONE_COUNT(formats) ? formats[i] : NULL; }

const hone_format *hone_convert_format_find(const char *name, size_t n)
{
    for (size_t i = 0; i < HONE_COUNT(formats); i++)
        if (strlen(formats[i]->name) == n && memcmp(formats[i]->name, name, n) == 0) return formats[i];
    return NULL;
}

bool hone_format_knows(const hone_format *f, const char *quant)
{
    const char *name;
    for (size_t i = 0; (name = f->quant(i)); i++)
        if (strcmp(name, quant) == 0) return true;
    return false;
}

/* What one output does with a row that was read: row r of the item becomes row to[r] (NULL: r) of weight `weight` of output `output`. */
typedef struct use {
    uint32_t        output, weight;
    const uint32_t *to;
    struct use     *next;
} use;

/* Rows that are read once, in the order in which they are stored, for all outputs that want them in whatever order and scale. */
typedef struct item {
    hone_weight w; /* plain */
    use        *uses;
    uint64_t    first, step; /* its first tile among all, and rows in a full tile */
} item;

typedef struct tile { const item *it; uint64_t row0, n_rows; } tile;

typedef struct job {
    const hone_ctx    *ctx;
    const hone_model  *m;
    hone_arena         arena;
    hone_output        outputs[HONE_MAX_OUTPUTS];
    hone_folder        folders[HONE_MAX_OUTPUTS]; /* of outputs that are folders */
    size_t             n_outputs;
    item              *items;
    size_t             n_items;
    size_t             n_tiles; /* of all items */
    unsigned           threads; /* no more than there are tiles */
    uint8_t           *scratch; /* [threads][scratch_each]: floats as read, floats as an output wants them, bytes read, order of rows, bytes to write */
    size_t             scratch_each, floats_bytes, form_bytes, read_bytes, order_bytes;
    uint64_t           source_bytes;
    _Atomic uint64_t   done;
} job;

/* ---- rows in streams ---- */

/* Bytes that n_rows rows take in a stream. */
static size_t stream_bytes(const hone_planned *p, uint32_t stream, uint64_t n_rows) { return (size_t)((n_rows * p->at[stream].row_bits + 7) / 8); }

static uint64_t bytes_of(const hone_planned *p, uint64_t n_rows)
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

static hone_code add_use(job *j, uint32_t output, uint32_t weight, hone_err *err)
{
    hone_weight w = j->outputs[output].weights[weight];
    use        *u = HONE_ARENA_NEW(&j->arena, use, 1);
    size_t      i = 0;
    if (!u) return HONE_NOMEM(err, "the plan");
    *u = (use){ .output = output, .weight = weight };
    w.scale = 1;
    w.add = 0;
    /* Rows that share a byte with their neighbours are read in the order in which they are wanted. */
    if (align_of(&j->outputs[output].plan[weight]) == 1) HONE_TRY(stored_order(&w, &u->to, &j->arena, err));
    while (i < j->n_items && !same_slices(&j->items[i].w, &w)) i++;
    if (i == j->n_items) j->items[j->n_items++].w = w;
    use **end = &j->items[i].uses;
    while (*end) end = &(*end)->next;
    *end = u;
    return HONE_OK;
}

static hone_code plan_items(job *j, hone_err *err)
{
    size_t most = 0;
    for (size_t k = 0; k < j->n_outputs; k++) most += j->outputs[k].n_weights;
    j->items = HONE_ARENA_NEW(&j->arena, item, most + 1);
    if (!j->items) return HONE_NOMEM(err, "the plan");
    for (uint32_t k = 0; k < j->n_outputs; k++)
        for (uint32_t i = 0; i < j->outputs[k].n_weights; i++) HONE_TRY(add_use(j, k, i, err));
    return HONE_OK;
}

/* ---- tiles ---- */

static const hone_planned *planned(const job *j, const use *u) { return &j->outputs[u->output].plan[u->weight]; }
static const hone_weight  *wanted(const job *j, const use *u) { return &j->outputs[u->output].weights[u->weight]; }

static size_t whole_lines(uint64_t n) { return (size_t)((n + 63) & ~(uint64_t)63); }
static void   at_least(size_t *n, size_t v) { *n = *n < v ? v : *n; }

/* Nothing here wraps: check_size has seen to it. */
static void plan_tiles(job *j)
{
    size_t out = 0;
    for (size_t i = 0; i < j->n_items; i++) {
        item    *it = &j->items[i];
        uint64_t rows = hone_weight_rows(&it->w), cols = hone_weight_cols(&it->w), step = cols && cols < TILE_ELEMS ? TILE_ELEMS / cols : 1;
        if (cols == 0) rows = 0;
        for (const use *u = it->uses; u; u = u->next)
            if (align_of(planned(j, u)) > 1) step = (step + 1) / 2 * 2;
        if (step > rows) step = rows ? rows : 1;
        it->first = j->n_tiles;
        it->step = step;
        j->n_tiles += (size_t)((rows + step - 1) / step);
        if (rows == 0) continue;
        at_least(&j->floats_bytes, whole_lines(step * cols * sizeof(float)));
        at_least(&j->read_bytes, whole_lines(hone_weight_scratch(&it->w, step)));
        for (const use *u = it->uses; u; u = u->next) {
            if (!hone_weight_is_plain(wanted(j, u))) at_least(&j->form_bytes, whole_lines(step * cols * sizeof(float)));
            if (u->to) at_least(&j->order_bytes, whole_lines(step * sizeof(uint64_t)));
            at_least(&out, whole_lines(bytes_of(planned(j, u), step) + 64 * HONE_STREAMS));
        }
    }
    j->scratch_each = j->floats_bytes + j->form_bytes + j->read_bytes + j->order_bytes + out;
    j->threads = hone_ctx_threads(j->ctx);
    if (j->threads > j->n_tiles) j->threads = j->n_tiles ? (unsigned)j->n_tiles : 1;
}

/* The item that a tile belongs to is the last one that begins at or before it (empty ones begin where the next does). */
static tile tile_at(const job *j, uint64_t index)
{
    size_t lo = 0, hi = j->n_items;
    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;
        if (j->items[mid].first <= index) lo = mid;
        else hi = mid;
    }
    const item *it = &j->items[lo];
    uint64_t    row0 = (index - it->first) * it->step, left = hone_weight_rows(&it->w) - row0;
    return (tile){ it, row0, left < it->step ? left : it->step };
}

typedef struct desk { /* one worker's part of the scratch */
    float    *x, *y;
    uint8_t  *raw, *enc;
    uint64_t *order;
} desk;

static desk desk_of(const job *j, unsigned worker)
{
    uint8_t *p = j->scratch + worker * j->scratch_each;
    uint8_t *raw = p + j->floats_bytes + j->form_bytes, *order = raw + j->read_bytes;
    return (desk){ (float *)(void *)p, (float *)(void *)(p + j->floats_bytes), raw, order + j->order_bytes, (uint64_t *)(void *)order };
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

/* n encoded rows of a stream, the first of them row `first` of the weight. */
static hone_code write_rows(hone_output *o, const hone_planned *p, uint32_t stream, uint64_t first, uint64_t n, const uint8_t *rows, hone_err *err)
{
    const hone_place *at = &p->at[stream];
    hone_out         *out = &o->files[at->file].out;
    size_t            one = (size_t)(at->row_bits / 8);
    if (p->step < 2) return hone_out_write(out, at->offset + first * at->row_bits / 8, rows, stream_bytes(p, stream, n), err);
    for (uint64_t r = 0; r < n; r++) HONE_TRY(hone_out_write(out, at->offset + (first + r) * p->step * one, rows + r * one, one, err));
    return HONE_OK;
}

/* A quantised source's rows that are wanted in the type they have are taken as they are: encoding them again would change them. */
static bool is_copy(const job *j, const use *u, const hone_weight *stored)
{
    const hone_planned *p = planned(j, u);
    return stored->n_slices == 1 && !stored->values && !stored->slices->transposed && !stored->slices->row_map && stored->n_dims > 1 &&
           hone_weight_is_plain(wanted(j, u)) && p->grouped.scheme == HONE_SCHEME_NONE && p->dtype == stored->slices->tensor->dtype &&
           hone_dtype_get(p->dtype)->block_elems > 1;
}

/* The tile's rows as they are stored. */
static hone_code read_stored(const job *j, const hone_weight *w, const tile *t, uint64_t row_bytes, uint8_t *out, hone_err *err)
{
    const hone_slice *s = w->slices;
    return j->m->source->read(j->m->source, s->tensor, (s->row0 + t->row0) * row_bytes, out, (size_t)(t->n_rows * row_bytes), err);
}

static int by_place(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Rows of the tile that follow each other in the output are encoded side by side and written in one go.  stored: rows to copy instead, or NULL. */
static hone_code put_rows(job *j, const use *u, const tile *t, const desk *d, const float *x, const uint8_t *stored, size_t cols, hone_err *err)
{
    hone_output        *o = &j->outputs[u->output];
    const hone_planned *p = planned(j, u);
    uint8_t            *base[HONE_STREAMS] = { 0 }, *enc = d->enc;
    for (uint32_t s = 0; s < p->n_streams; s++) {
        base[s] = enc;
        enc += whole_lines(stream_bytes(p, s, t->n_rows));
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
            if (stored) memcpy(out[0], stored + row * (p->at[0].row_bits / 8), (size_t)(p->at[0].row_bits / 8));
            else encode_rows(p, x + row * cols, 1, cols, out);
        }
        if (!u->to && stored) memcpy(base[0], stored, stream_bytes(p, 0, n));
        else if (!u->to) encode_rows(p, x, n, cols, base);
        for (uint32_t s = 0; s < p->n_streams; s++) HONE_TRY(write_rows(o, p, s, first, n, base[s], err));
        begin += n;
    }
    return HONE_OK;
}

static hone_code run_tile(void *user, size_t index, unsigned worker, hone_err *err)
{
    job               *j = user;
    tile               t = tile_at(j, index);
    const hone_weight *w = &t.it->w;
    desk               d = desk_of(j, worker);
    uint64_t           cols = hone_weight_cols(w);
    /* Rows that will be copied as they are stored are read as numbers too: this is where NaN and Inf are refused. */
    HONE_TRY(hone_weight_read(j->m->source, w, t.row0, t.n_rows, d.x, d.raw, err));
    for (const use *u = t.it->uses; u; u = u->next) {
        if (is_copy(j, u, w)) {
            HONE_TRY(read_stored(j, w, &t, planned(j, u)->at[0].row_bits / 8, d.raw, err));
            HONE_TRY(put_rows(j, u, &t, &d, NULL, d.raw, (size_t)cols, err));
            continue;
        }
        const hone_weight *form = wanted(j, u);
        const float       *x = d.x;
        if (!hone_weight_is_plain(form)) {
            hone_weight_finish(form, d.x, d.y, (size_t)(t.n_rows * cols));
            x = d.y;
        }
        HONE_TRY(put_rows(j, u, &t, &d, x, NULL, (size_t)cols, err));
    }
    uint64_t done = atomic_fetch_add(&j->done, t.n_rows * cols) + t.n_rows * cols;
    /* Source bytes, near enough for a bar: computed weights (rope factors) are a few hundred bytes. */
    uint64_t esize = hone_dtype_get(w->dtype)->block_bytes / hone_dtype_get(w->dtype)->block_elems;
    hone_event_progress(j->ctx, "bytes", done * (esize ? esize : 1) < j->source_bytes ? done * (esize ? esize : 1) : j->source_bytes,
                        j->source_bytes);
    return HONE_OK;
}

/* ---- the plan ---- */

static bool first_of_its_format(const job *j, size_t k)
{
    for (size_t i = 0; i < k; i++)
        if (j->outputs[i].format == j->outputs[k].format) return false;
    return true;
}

static bool put_row(const job *j, size_t k, size_t i, json_t *plan)
{
    const hone_output *o = &j->outputs[k];
    const hone_weight *w = &o->weights[i];
    json_t            *row = json_object(), *dims = json_array(), *enc = json_object();
    bool               good = row && dims && enc;
    for (uint32_t d = 0; good && d < w->n_dims; d++) good = json_array_append_new(dims, json_integer((json_int_t)w->dims[d])) == 0;
    for (size_t q = k; good && q < j->n_outputs; q++)
        if (j->outputs[q].format == o->format) good = hone_json_put(enc, j->outputs[q].quant, json_string(j->outputs[q].plan[i].encoding));
    good = good && hone_json_put(row, "format", json_string(o->format->name)) && hone_json_put(row, "name", json_string(o->plan[i].name)) &&
           hone_json_put(row, "role", json_string(hone_role_name(w->role))) && hone_json_put(row, "dims", json_incref(dims)) &&
           hone_json_put(row, "encodings", json_incref(enc)) && json_array_append(plan, row) == 0;
    json_decref(dims);
    json_decref(enc);
    json_decref(row);
    return good;
}

static bool put_plan(const job *j, json_t *plan)
{
    for (size_t k = 0; k < j->n_outputs; k++)
        for (size_t i = 0; first_of_its_format(j, k) && i < j->outputs[k].n_weights; i++)
            if (!put_row(j, k, i, plan)) return false;
    return true;
}

/* What the consumer cannot do with this model: the user hears it before the work, and finds it in the result. */
static hone_code warn_of_limits(job *j, const char *consumer, json_t *warnings, hone_err *err)
{
    const hone_limit *limits = NULL;
    size_t            n = 0;
    if (!j->ctx->data_dir) return HONE_OK;
    HONE_TRY(hone_limits_for(j->ctx->data_dir, consumer, &j->m->facts, &j->m->tokenizer, &j->arena, &limits, &n, err));
    for (size_t i = 0; i < n; i++) {
        const char *text = hone_arena_printf(&j->arena, "in %s: %s: %s (%s)", consumer, limits[i].feature, limits[i].consequence, limits[i].cause);
        if (!text || json_array_append_new(warnings, json_string(text)) != 0) return HONE_NOMEM(err, "the warnings");
        if (limits[i].harmless) hone_event_note(j->ctx, "%s", text);
        else hone_event_warn(j->ctx, NULL, "%s", text);
    }
    return HONE_OK;
}

/* "q4_k_m" and "gguf=q4_k_m" are GGUF, "mlx=int4" is MLX. */
static hone_code find_format(const char *asked, const hone_format **format, const char **quant, hone_err *err)
{
    const char *eq = strchr(asked, '=');
    *format = &hone_format_gguf;
    *quant = asked;
    if (!eq) return HONE_OK;
    *format = hone_convert_format_find(asked, (size_t)(eq - asked));
    *quant = eq + 1;
    if (*format) return HONE_OK;
    return HONE_FAIL(err, HONE_EUSAGE, "as in mlx=int4", "hone cannot write the format of '%.60s'", asked);
}

/* Weights that have been rounded once are rounded again on another grid. */
static hone_code warn_of_quantized(job *j, json_t *warnings, hone_err *err)
{
    if (!j->m->quantized) return HONE_OK;
    const char *text = hone_arena_printf(&j->arena, "the source is quantised (%s): what is quantised again from it loses quality twice; convert the checkpoint that "
                                                    "it was made from if you have it", j->m->quantized);
    if (!text || json_array_append_new(warnings, json_string(text)) != 0) return HONE_NOMEM(err, "the warnings");
    hone_event_warn(j->ctx, NULL, "%s", text);
    return HONE_OK;
}

static hone_code warn_of_outputs(const job *j, json_t *warnings, hone_err *err)
{
    for (size_t k = 0; k < j->n_outputs; k++) {
        const hone_output *o = &j->outputs[k];
        if (!o->warning || !first_of_its_format(j, k)) continue;
        if (json_array_append_new(warnings, json_string(o->warning)) != 0) return HONE_NOMEM(err, "the warnings");
        hone_event_warn(j->ctx, NULL, "%s", o->warning);
    }
    return HONE_OK;
}

static hone_code plan_output(job *j, const hone_convert_options *opt, hone_err *err)
{
    hone_output       *o = &j->outputs[j->n_outputs];
    const hone_output *like = NULL;
    const char        *quant;
    HONE_TRY(find_format(opt->quants[j->n_outputs], &o->format, &quant, err));
    for (size_t k = 0; k < j->n_outputs; k++) {
        if (j->outputs[k].format != o->format) continue;
        like = &j->outputs[k];
        if (strcmp(like->quant, quant) == 0)
            return HONE_FAIL(err, HONE_EUSAGE, "name it once", "encoding '%s' is asked for twice", opt->quants[j->n_outputs]);
    }
    o->ctx = j->ctx;
    hone_code code = o->format->plan(j->m, opt, quant, like, &j->arena, o, err);
    if (code == HONE_EUNSUPPORTED && opt->n_quants > 1 && err) { /* nothing is written: fewer formats than asked for are not what was asked for */
        char remedy[128];
        (void)snprintf(remedy, sizeof remedy, "leave %s out of --to to get the other formats; nothing was written", o->format->name);
        hone_err_set_remedy(err, remedy);
    }
    j->n_outputs += code == HONE_OK;
    return code;
}

static hone_code describe(const job *j, size_t k, hone_convert_output *r, hone_err *err)
{
    const hone_output *o = &j->outputs[k];
    uint64_t           bytes = 0, elems = 0;
    (void)snprintf(r->format, sizeof r->format, "%s", o->format->name);
    (void)snprintf(r->quantization, sizeof r->quantization, "%s", o->quant);
    const char *path = o->opened ? o->opened : o->path;
    if ((size_t)snprintf(r->path, sizeof r->path, "%s", path) >= sizeof r->path)
        return HONE_FAIL(err, HONE_EUSAGE, "use a shorter folder", "output path has %zu bytes, %zu fit", strlen(path), sizeof r->path - 1);
    r->parts = o->opened ? (uint32_t)o->n_files : 1;
    r->bytes = o->total;
    for (size_t i = 0; i < o->n_weights; i++) {
        bytes += bytes_of(&o->plan[i], hone_weight_rows(&o->weights[i]));
        elems += hone_weight_elems(&o->weights[i]);
    }
    r->bpw = elems ? 8.0 * (double)bytes / (double)elems : 0;
    if (o->fallbacks)
        hone_event_note(j->ctx, "%s: %zu tensor%s kept wider, %s", o->quant, o->fallbacks, o->fallbacks == 1 ? "" : "s", o->fallback_reason);
    return HONE_OK;
}

/* Sizes are the file's word (and a file may be mostly holes).  With this many weights at most, no product below wraps: a weight takes at
 * most 8 bytes in a file and 32 in all buffers of a thread, and there are at most 1024 threads. */
#define MAX_WEIGHTS ((uint64_t)1 << 48)
static hone_code check_size(const hone_model *m, hone_err *err)
{
    uint64_t elems = 0;
    for (size_t i = 0; i < m->n_weights; i++) {
        const hone_weight *w = &m->weights[i];
        uint64_t           n = 1;
        bool               fits = true;
        for (uint32_t d = 0; fits && d < w->n_dims; d++) fits = hone_size_mul(n, w->dims[d], &n);
        if (!fits || n > MAX_WEIGHTS || elems + n > MAX_WEIGHTS)
            return HONE_FAIL(err, HONE_EUNSUPPORTED, "", "the model has more than 2^48 weights with %s of layer %d", hone_role_name(w->role),
                             (int)w->layer);
        elems += n;
    }
    return HONE_OK;
}

/* The file's name comes from --name or from the folder's; it stays inside the output folder. */
static hone_code choose_stem(const hone_model *m, const hone_convert_options *opt, const char **stem, hone_err *err)
{
    *stem = opt->name ? opt->name : m->facts.name;
    if (strchr(*stem, '/'))
        return HONE_FAIL(err, HONE_EUSAGE, "name a folder with -o DIR", "the file name '%s' has a '/'", *stem);
    if (!**stem) *stem = "model";
    return HONE_OK;
}

/* A pattern means the tensors of one format or of several: it has to match somewhere. */
static hone_code count_keeps(job *j, hone_convert_options *opt, hone_err *err)
{
    hone_keep *keep = HONE_ARENA_NEW(&j->arena, hone_keep, opt->n_keep + 1);
    size_t    *hits = HONE_ARENA_NEW(&j->arena, size_t, opt->n_keep + 1);
    if (!keep || !hits) return HONE_NOMEM(err, "the plan");
    for (size_t i = 0; i < opt->n_keep; i++) keep[i] = (hone_keep){ opt->keep[i].pattern, opt->keep[i].dtype, &hits[i] };
    opt->keep = keep;
    return HONE_OK;
}

static hone_code check_keeps(const hone_convert_options *opt, hone_err *err)
{
    for (size_t i = 0; i < opt->n_keep; i++)
        if (*opt->keep[i].hits == 0)
            return HONE_FAIL(err, HONE_EUSAGE, "--dry-run --json lists the tensor names", "--keep '%s' matches no tensor", opt->keep[i].pattern);
    return HONE_OK;
}

static hone_code prepare(job *j, const hone_convert_options *asked, hone_convert_result *res, hone_err *err)
{
    hone_convert_options named = *asked, *opt = &named;
    HONE_TRY(check_size(j->m, err));
    HONE_TRY(choose_stem(j->m, asked, &named.name, err));
    for (size_t i = 0; i < j->m->source->n_tensors; i++) j->source_bytes += j->m->source->tensors[i].bytes;
    HONE_TRY(count_keeps(j, &named, err));
    while (j->n_outputs < opt->n_quants) HONE_TRY(plan_output(j, opt, err));
    HONE_TRY(check_keeps(opt, err));
    HONE_TRY(plan_items(j, err));
    plan_tiles(j);
    res->plan = json_array();
    res->warnings = json_array();
    if (!res->plan || !res->warnings || !put_plan(j, res->plan)) return HONE_NOMEM(err, "the plan");
    HONE_TRY(warn_of_quantized(j, res->warnings, err));
    HONE_TRY(warn_of_outputs(j, res->warnings, err));
    for (size_t k = 0; k < j->n_outputs; k++) {
        const hone_format *f = j->outputs[k].format;
        if (!first_of_its_format(j, k)) continue;
        HONE_TRY(warn_of_limits(j, f->consumer, res->warnings, err));
        if (f->words_by) HONE_TRY(warn_of_limits(j, f->words_by, res->warnings, err));
    }
    for (size_t k = 0; k < j->n_outputs; k++) {
        HONE_TRY(describe(j, k, &res->outputs[k], err));
        res->disk_needed += j->outputs[k].total;
    }
    res->n_outputs = j->n_outputs;
    res->ram_needed = j->threads * j->scratch_each + j->arena.total + j->m->arena.total;
    res->read_bytes = j->source_bytes;
    return HONE_OK;
}

/* An encoding's cost is that of its codec, whatever the format. */
#define N_KINDS (HONE_DTYPE_COUNT + 8 * 9)
static size_t kind_of(const hone_planned *p)
{
    return p->grouped.scheme == HONE_SCHEME_NONE ? p->dtype : (size_t)HONE_DTYPE_COUNT + 9 * ((size_t)p->grouped.scheme - 1) + p->grouped.bits;
}

static double time_rows(const hone_planned *p, const desk *d, uint64_t rows, uint64_t cols)
{
    uint8_t *out[HONE_STREAMS] = { d->enc };
    for (uint32_t s = 1; s < p->n_streams; s++) out[s] = out[s - 1] + whole_lines(stream_bytes(p, s - 1, rows));
    double t0 = hone_now_s();
    encode_rows(p, d->x, rows, (size_t)cols, out);
    return hone_now_s() - t0;
}

/* What --dry-run says about time: one tile of every encoding in use is read and encoded here and now, the rest is arithmetic. */
static hone_code estimate_time(job *j, double *seconds, hone_err *err)
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
        for (const use *u = j->items[i].uses; u && hone_weight_elems(w); u = u->next) {
            double *cost = &per_elem[kind_of(planned(j, u))];
            if (*cost > 0) continue;
            double t0 = hone_now_s();
            if (!have) HONE_TRY(hone_weight_read(j->m->source, w, 0, rows, d.x, d.raw, err));
            if (!have) read_elems += (double)(rows * cols);
            if (!have) read_s += hone_now_s() - t0;
            have = true;
            *cost = time_rows(planned(j, u), &d, rows, cols) / (double)(rows * cols);
        }
    }
    for (size_t i = 0; i < j->n_items; i++) {
        double n = (double)hone_weight_elems(&j->items[i].w);
        total += read_elems > 0 ? n * read_s / read_elems : 0;
        for (const use *u = j->items[i].uses; u; u = u->next) total += n * per_elem[kind_of(planned(j, u))];
    }
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    *seconds = total / (cores > 0 && (unsigned long)cores < j->threads ? (double)cores : (double)j->threads);
    return HONE_OK;
}

/* Tiles are all we hold, so this fails only where there is hardly any memory, or with very many threads. */
static hone_code check_memory(const job *j, uint64_t needed, const char *folder, hone_err *err)
{
    json_t *memory = NULL;
    HONE_TRY(hone_hw_memory(&(hone_hw_query){ .ctx = j->ctx, .roots = &hone_hw_machine, .folder = folder }, &memory, err));
    const json_t *v = json_object_get(memory, "available_bytes");
    uint64_t      have = json_is_integer(v) ? (uint64_t)json_integer_value(v) : 0;
    json_decref(memory);
    if (have && needed > have)
        return HONE_FAIL(err, HONE_ERESOURCE, "use fewer --threads, or free memory", "the conversion needs %" PRIu64 " bytes of memory, %" PRIu64
                         " are available", needed, have);
    return HONE_OK;
}

/* ---- writing ---- */

/* Opens one file of output k, takes its bytes on disk, and writes what is not rows of weights. */
static hone_code begin_file(job *j, size_t k, hone_planned_file *f, hone_err *err)
{
    const hone_output *o = &j->outputs[k];
    const char        *path = f->name ? hone_arena_printf(&j->arena, "%s/%s", j->folders[k].tmp, f->name) : o->path;
    if (!path) return HONE_NOMEM(err, "a path");
    HONE_TRY(hone_out_open(path, f->total, &f->out, err));
    HONE_TRY(hone_out_write(&f->out, 0, f->head.ptr, f->head.len, err));
    if (!f->copy) return HONE_OK;
    hone_file in = HONE_FILE_CLOSED;
    HONE_TRY(hone_file_open(f->copy, &in, err));
    uint8_t  *buf = malloc(COPY_BYTES);
    hone_code code = buf ? HONE_OK : HONE_NOMEM(err, "a copy");
    for (uint64_t at = 0; code == HONE_OK && at < f->total; at += COPY_BYTES) {
        size_t n = f->total - at < COPY_BYTES ? (size_t)(f->total - at) : COPY_BYTES;
        code = hone_file_read(&in, at, buf, n, err);
        if (code == HONE_OK) code = hone_out_write(&f->out, at, buf, n, err);
    }
    free(buf);
    hone_file_close(&in);
    return code;
}

static hone_code begin_output(job *j, size_t k, hone_err *err)
{
    hone_output *o = &j->outputs[k];
    if (o->folder) HONE_TRY(hone_folder_open(o->path, o->format->owns, &j->folders[k], err));
    for (size_t i = 0; i < o->n_files; i++) HONE_TRY(begin_file(j, k, &o->files[i], err));
    return HONE_OK;
}

/* The reader shares no code with the writer: what it finds under the temporary name must be what was planned. */
static hone_code reread(void *user, const char *tmp, hone_err *err)
{
    const hone_output *o = user;
    if (o->format->reread(o, tmp, err) == HONE_OK) return HONE_OK;
    hone_err_wrap(err, "the file just written cannot be read back");
    if (err) err->code = HONE_EBUG;
    return HONE_EBUG;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const hone_planned_file *)a)->name, ((const hone_planned_file *)b)->name);
}

/* A folder's digest is that of its list of digests: `sha256sum * | sha256sum` in the folder, names in byte order. */
static hone_code digest_folder(hone_output *o, char hex[65], hone_err *err)
{
    hone_text list = { 0 };
    hone_code code = HONE_OK;
    qsort(o->files, o->n_files, sizeof *o->files, by_name);
    for (size_t i = 0; code == HONE_OK && i < o->n_files; i++) {
        char      one[65];
        hone_text path = { 0 };
        hone_text_addf(&path, "%s/%s", o->path, o->files[i].name);
        code = path.failed ? HONE_NOMEM(err, "a path") : hone_sha256_file(path.ptr, one, err);
        if (code == HONE_OK) hone_text_addf(&list, "%s  %s\n", one, o->files[i].name);
        hone_text_release(&path);
    }
    if (code == HONE_OK && list.failed) code = HONE_NOMEM(err, "a digest");
    if (code == HONE_OK) code = hone_sha256((hone_bytes){ (const uint8_t *)list.ptr, list.len }, hex, err);
    hone_text_release(&list);
    return code;
}

static hone_code finish_output(job *j, size_t k, char hex[65], hone_err *err)
{
    hone_output *o = &j->outputs[k];
    if (!o->folder) {
        HONE_TRY(hone_out_commit(&o->files->out, reread, o, err));
        return hone_sha256_file(o->path, hex, err);
    }
    for (size_t i = 0; i < o->n_files; i++) HONE_TRY(hone_out_commit(&o->files[i].out, NULL, NULL, err));
    HONE_TRY(reread(o, j->folders[k].tmp, err));
    HONE_TRY(hone_folder_commit(&j->folders[k], err));
    return digest_folder(o, hex, err);
}

static hone_code write_all(job *j, const hone_convert_options *opt, hone_convert_result *res, hone_err *err)
{
    uint64_t have;
    HONE_TRY(check_memory(j, res->ram_needed, opt->out_dir, err));
    HONE_TRY(hone_dir_make(opt->out_dir, err));
    HONE_TRY(hone_disk_free(opt->out_dir, &have, err));
    if (have < res->disk_needed)
        return HONE_FAIL(err, HONE_ERESOURCE, "free disk space, choose another folder or fewer encodings",
                         "the output needs %" PRIu64 " bytes, '%s' has %" PRIu64 " free", res->disk_needed, opt->out_dir, have);
    j->scratch = aligned_alloc(64, j->threads * j->scratch_each);
    if (!j->scratch) return HONE_NOMEM(err, "tiles");
    for (size_t k = 0; k < j->n_outputs; k++) HONE_TRY(begin_output(j, k, err));
    HONE_TRY(hone_pool_run(j->ctx, j->n_tiles, run_tile, j, err));
    for (size_t k = 0; k < j->n_outputs; k++) HONE_TRY(finish_output(j, k, res->outputs[k].sha256, err));
    return HONE_OK;
}

/* What a failed run leaves: nothing under a temporary name. */
static void discard(job *j)
{
    for (size_t k = 0; k < HONE_MAX_OUTPUTS; k++) {
        for (size_t i = 0; i < j->outputs[k].n_files; i++) hone_out_discard(&j->outputs[k].files[i].out);
        hone_folder_discard(&j->folders[k]);
    }
}

hone_code hone_convert(const hone_ctx *ctx, const hone_model *m, const hone_convert_options *opt, hone_convert_result *res, hone_err *err)
{
    double begin = hone_now_s();
    job   *j = calloc(1, sizeof *j);
    if (!j) return HONE_NOMEM(err, "the conversion");
    j->ctx = ctx;
    j->m = m;
    *res = (hone_convert_result){ 0 };
    hone_code code = prepare(j, opt, res, err);
    if (code == HONE_OK) code = opt->dry_run ? estimate_time(j, &res->estimated_s, err) : write_all(j, opt, res, err);
    discard(j);
    free(j->scratch);
    hone_arena_release(&j->arena);
    free(j);
    struct rusage ru;
    if (getrusage(RUSAGE_SELF, &ru) == 0) res->peak_rss_bytes = (uint64_t)ru.ru_maxrss * 1024u;
    res->seconds = hone_now_s() - begin;
    if (code != HONE_OK) hone_convert_result_release(res);
    return code;
}

void hone_convert_result_release(hone_convert_result *r)
{
    if (!r) return;
    json_decref(r->plan);
    json_decref(r->warnings);
    r->plan = r->warnings = NULL;
}
