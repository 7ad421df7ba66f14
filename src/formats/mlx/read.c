#include "formats/mlx/read.h"
#include "formats/files.h"
#include "formats/mlx.h"
#include "formats/safetensors/head.h"
#include "quant/codec.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define TILE_BYTES 65536 /* of decoded floats held at once, or one row */

static const char AGAIN[] = "fetch the folder again, or write it again from the checkpoint";

typedef struct entry {
    hone_tensor   tensor;
    hone_mlx_part part;
} entry;

typedef struct view {
    hone_source   *raw;
    hone_mlx_part *parts; /* [n_tensors] */
} view;

/* --- names ---------------------------------------------------------------------------------------------------- */
/* The checkpoint's name of an mlx name, "%" for the expert: the rename with the longest text that leads back to name. */
static hone_code unrename(const hone_mlx_arch *m, const char *name, hone_arena *a, const char **out, hone_err *err)
{
    size_t best = 0;
    *out = name;
    for (size_t i = 0; m && m->model && i < HONE_COUNT(m->renames) && m->renames[i].from; i++) {
        const hone_mlx_rename *r = &m->renames[i];
        const char            *at = strstr(name, r->to);
        char                   back[512];
        if (!at || strlen(r->to) <= best) continue;
        const char *candidate = hone_arena_printf(a, "%.*s%s%s", (int)(at - name), name, r->from, at + strlen(r->to));
        if (!candidate) return HONE_NOMEM(err, "the list of tensors");
        if (hone_mlx_name(m, candidate, back, sizeof back, NULL) != HONE_OK || strcmp(back, name) != 0) continue;
        best = strlen(r->to);
        *out = candidate;
    }
    return HONE_OK;
}

static const char *with_tail(hone_arena *a, const char *weight_name, const char *tail)
{
    return hone_arena_printf(a, "%.*s%s", (int)(strlen(weight_name) - strlen("weight")), weight_name, tail);
}

static bool ends_in(const char *s, const char *tail)
{
    size_t n = strlen(s), k = strlen(tail);
    return n >= k && strcmp(s + n - k, tail) == 0;
}

/* --- how a module is quantised ---------------------------------------------------------------------------------- */
static const struct {
    const char *mode;
    hone_scheme scheme;
} modes[] = {
    { "affine", HONE_SCHEME_MLX_AFFINE },
    { "mxfp4", HONE_SCHEME_MLX_MXFP4 },
    { "nvfp4", HONE_SCHEME_MLX_NVFP4 },
    { "mxfp8", HONE_SCHEME_MLX_MXFP8 },
};

static hone_code read_settings(const json_t *q, const char *shown, hone_grouped *g, hone_err *err)
{
    const char *mode = "affine";
    char        word[HONE_SHOWN];
    if (hone_json_need_u32(q, "bits", &g->bits, err) != HONE_OK || hone_json_need_u32(q, "group_size", &g->group, err) != HONE_OK ||
        hone_json_str(q, "mode", &mode, err) != HONE_OK)
        return hone_err_wrap(err, "config.json: \"quantization\" of %s", shown);
    for (size_t i = 0; i < HONE_COUNT(modes); i++)
        if (strcmp(modes[i].mode, mode) == 0) g->scheme = modes[i].scheme;
    if (g->scheme != HONE_SCHEME_NONE) return HONE_OK;
    return HONE_FAIL(err, HONE_EUNSUPPORTED, "known are affine, mxfp4, nvfp4 and mxfp8", "module '%s' is quantised in mode \"%s\"", shown,
                     hone_shown(mode, strlen(mode), word));
}

/* What config.json says of the module with these codes; an entry of its own goes before the settings of all. */
static hone_code find_settings(const json_t *config, const char *name, hone_grouped *g, hone_err *err)
{
    const json_t *all = json_object_get(config, "quantization");
    size_t        stem = strlen(name) - strlen(".weight");
    char          shown[HONE_SHOWN];
    const char   *module = hone_shown(name, stem, shown);
    if (!json_is_object(all)) return HONE_FAIL(err, HONE_EINPUT, AGAIN, "module '%s' has scales, but config.json has no \"quantization\"", module);
    const json_t *own = json_object_getn(all, name, stem);
    if (own && !json_is_object(own) && !json_is_true(own))
        return HONE_FAIL(err, HONE_EINPUT, AGAIN, "module '%s' has scales, but config.json says it is not quantised", module);
    return read_settings(json_is_object(own) ? own : all, module, g, err);
}

static hone_code check_codes(hone_mlx_part *p, uint64_t *cols, hone_err *err)
{
    const hone_tensor *w = p->weight, *s = p->scales;
    hone_grouped      *g = &p->grouped;
    bool               affine = g->scheme == HONE_SCHEME_MLX_AFFINE, same = s->n_dims == w->n_dims;
    char               shown[HONE_SHOWN];
    const char        *name = hone_shown(w->name, strlen(w->name), shown);
    bool               scale_type = affine ? s->dtype == HONE_DTYPE_F32 || s->dtype == HONE_DTYPE_F16 || s->dtype == HONE_DTYPE_BF16 : s->dtype == HONE_DTYPE_U8;
    if (!scale_type) return HONE_FAIL(err, HONE_EINPUT, AGAIN, "the scales of '%s' are %s", name, hone_dtype_name(s->dtype));
    g->scale = affine ? s->dtype : HONE_DTYPE_F32;
    if (!hone_grouped_valid(g)) return HONE_FAIL(err, HONE_EINPUT, AGAIN, "tensor '%s' has codes of %u bits in groups of %u", name, g->bits, g->group);
    if (w->n_dims < 2 || w->n_dims > 3) return HONE_FAIL(err, HONE_EINPUT, AGAIN, "tensor '%s' has codes in %u dimensions, needs 2 or 3", name, w->n_dims);
    uint64_t words = w->dims[w->n_dims - 1], wide;
    if (!hone_size_mul(words, 32, &wide) || wide % g->bits || wide / g->bits % g->group)
        return HONE_FAIL(err, HONE_EINPUT, AGAIN, "a row of '%s' has %" PRIu64 " words, no whole groups of %u codes of %u bits", name, words, g->group, g->bits);
    *cols = wide / g->bits;
    for (uint32_t d = 0; same && d + 1 < w->n_dims; d++) same = s->dims[d] == w->dims[d];
    if (!same || s->dims[s->n_dims - 1] != *cols / g->group)
        return HONE_FAIL(err, HONE_EINPUT, AGAIN, "tensor '%s' has %" PRIu64 " scales in a row, needs %" PRIu64 " (%" PRIu64 " columns in groups of %u)", name,
                         s->n_dims ? s->dims[s->n_dims - 1] : 0, *cols / g->group, *cols, g->group);
    if (!affine) return p->biases ? HONE_FAIL(err, HONE_EINPUT, AGAIN, "tensor '%s' has biases, which its mode has not", name) : HONE_OK;
    const hone_tensor *b = p->biases;
    if (!b) return HONE_FAIL(err, HONE_EINPUT, AGAIN, "tensor '%s' has scales, but no biases", name);
    same = b->dtype == s->dtype && b->n_dims == s->n_dims;
    for (uint32_t d = 0; same && d < s->n_dims; d++) same = b->dims[d] == s->dims[d];
    return same ? HONE_OK : HONE_FAIL(err, HONE_EINPUT, AGAIN, "scales and biases of '%s' differ in type or shape", name);
}

/* --- the list ---------------------------------------------------------------------------------------------------- */
typedef struct builder {
    const hone_source   *raw;
    const json_t        *config;
    const hone_mlx_arch *m;
    hone_arena          *a;
    entry               *list; /* [room] */
    size_t               n, room;
    hone_err            *err;
} builder;

static hone_code add(builder *b, const entry *e)
{
    if (b->n == b->room) {
        size_t room = 2 * b->room + 64;
        entry *more = HONE_ARENA_NEW(b->a, entry, room);
        if (!more) return HONE_NOMEM(b->err, "the list of tensors");
        if (b->n) memcpy(more, b->list, b->n * sizeof *more);
        b->list = more;
        b->room = room;
    }
    b->list[b->n++] = *e;
    return HONE_OK;
}

/* The stack's first dimension counts what the second "%" of the family's names counts. */
static hone_code take_apart(builder *b, const entry *stack)
{
    const char *slot = strchr(stack->tensor.name, '%');
    uint64_t    n = stack->tensor.n_dims ? stack->tensor.dims[0] : 0, rows = 1;
    char        shown[HONE_SHOWN];
    const char *name = hone_shown(stack->part.weight->name, strlen(stack->part.weight->name), shown);
    if (stack->tensor.n_dims < 2 || n == 0 || n > HONE_MLX_EXPERTS_MAX || stack->tensor.bytes % n)
        return HONE_FAIL(b->err, HONE_EINPUT, AGAIN, "tensor '%s' is no stack of 1 to %d matrices", name, HONE_MLX_EXPERTS_MAX);
    for (uint32_t d = 1; d + 1 < stack->tensor.n_dims; d++) rows *= stack->tensor.dims[d];
    for (uint64_t i = 0; i < n; i++) {
        entry e = *stack;
        e.tensor.name = hone_arena_printf(b->a, "%.*s%" PRIu64 "%s", (int)(slot - stack->tensor.name), stack->tensor.name, i, slot + 1);
        if (!e.tensor.name) return HONE_NOMEM(b->err, "the list of tensors");
        e.tensor.n_dims--;
        memmove(e.tensor.dims, e.tensor.dims + 1, e.tensor.n_dims * sizeof *e.tensor.dims);
        e.tensor.bytes /= n;
        e.part.row0 = i * rows;
        if (!e.part.scales) e.tensor.offset += i * e.tensor.bytes;
        HONE_TRY(add(b, &e));
    }
    return HONE_OK;
}

static hone_code add_tensor(builder *b, const hone_tensor *t)
{
    entry       e = { .tensor = *t, .part = { .weight = t } };
    const char *scales = ends_in(t->name, ".weight") ? with_tail(b->a, t->name, "scales") : "";
    const char *biases = ends_in(t->name, ".weight") ? with_tail(b->a, t->name, "biases") : "";
    if (!scales || !biases) return HONE_NOMEM(b->err, "the list of tensors");
    if (t->dtype == HONE_DTYPE_U32) e.part.scales = hone_source_find(b->raw, scales);
    HONE_TRY(unrename(b->m, t->name, b->a, &e.tensor.name, b->err));
    if (e.part.scales) {
        uint64_t cols = 0, elems = 4;
        e.part.biases = hone_source_find(b->raw, biases);
        HONE_TRY(find_settings(b->config, t->name, &e.part.grouped, b->err));
        HONE_TRY(check_codes(&e.part, &cols, b->err));
        e.tensor.dims[t->n_dims - 1] = cols;
        e.tensor.dtype = HONE_DTYPE_F32;
        for (uint32_t d = 0; d < t->n_dims; d++)
            if (!hone_size_mul(elems, e.tensor.dims[d], &elems)) elems = 0;
        char shown[HONE_SHOWN];
        if (elems == 0) return HONE_FAIL(b->err, HONE_EINPUT, AGAIN, "tensor '%s' has no size", hone_shown(t->name, strlen(t->name), shown));
        e.tensor.bytes = elems;
    }
    return strchr(e.tensor.name, '%') && e.tensor.name != t->name ? take_apart(b, &e) : add(b, &e);
}

/* Scales and biases that stand beside codes are part of them. */
static bool belongs_to_codes(const hone_source *raw, const hone_tensor *t, const char *tail, hone_arena *a, bool *nomem)
{
    if (!ends_in(t->name, tail)) return false;
    const char *weight = hone_arena_printf(a, "%.*sweight", (int)(strlen(t->name) - strlen(tail) + 1), t->name);
    if (!weight) {
        *nomem = true;
        return false;
    }
    const hone_tensor *w = hone_source_find(raw, weight);
    return w && w->dtype == HONE_DTYPE_U32;
}

static int by_name(const void *x, const void *y) { return strcmp(((const entry *)x)->tensor.name, ((const entry *)y)->tensor.name); }

static hone_code build(builder *b)
{
    bool nomem = false;
    char shown[HONE_SHOWN];
    for (size_t i = 0; i < b->raw->n_tensors; i++) {
        const hone_tensor *t = &b->raw->tensors[i];
        bool               taken = belongs_to_codes(b->raw, t, ".scales", b->a, &nomem) || belongs_to_codes(b->raw, t, ".biases", b->a, &nomem);
        if (nomem) return HONE_NOMEM(b->err, "the list of tensors");
        if (!taken) HONE_TRY(add_tensor(b, t));
    }
    if (b->n) qsort(b->list, b->n, sizeof *b->list, by_name);
    for (size_t i = 1; i < b->n; i++)
        if (strcmp(b->list[i - 1].tensor.name, b->list[i].tensor.name) == 0)
            return HONE_FAIL(b->err, HONE_EINPUT, AGAIN, "tensor '%s' is there twice, stacked and apart",
                             hone_shown(b->list[i].tensor.name, strlen(b->list[i].tensor.name), shown));
    return HONE_OK;
}

/* --- the source ---------------------------------------------------------------------------------------------------- */
typedef struct tile { /* scratch: n_rows of each stream, and decoded */
    uint64_t n_rows;
    uint8_t *stream[HONE_STREAMS];
    float   *x;
} tile;

/* Rows [row, row + n) of the raw tensors into t->x. */
static hone_code decode_rows(const view *v, const hone_mlx_part *p, uint64_t cols, uint64_t row, uint64_t n, tile *t, hone_err *err)
{
    const hone_tensor *raw[HONE_STREAMS] = { p->weight, p->scales, p->biases };
    for (uint32_t s = 0; s < hone_grouped_streams(&p->grouped); s++) {
        uint64_t stride = hone_grouped_bytes(&p->grouped, s, 1, cols);
        HONE_TRY(v->raw->read(v->raw, raw[s], (p->row0 + row) * stride, t->stream[s], (size_t)(n * stride), err));
    }
    hone_grouped_decode(&p->grouped, (const uint8_t *const *)t->stream, n, cols, t->x);
    return HONE_OK;
}

static hone_code read_codes(const view *v, const hone_mlx_part *p, uint64_t cols, uint64_t off, uint8_t *buf, size_t n, hone_err *err)
{
    uint64_t row_bytes = 4 * cols, end = off + n, bytes = 0;
    tile     t = { .n_rows = TILE_BYTES / row_bytes ? TILE_BYTES / row_bytes : 1 };
    if (t.n_rows > (end + row_bytes - 1) / row_bytes - off / row_bytes) t.n_rows = (end + row_bytes - 1) / row_bytes - off / row_bytes;
    for (uint32_t s = 0; s < HONE_STREAMS; s++)
        bytes += s < hone_grouped_streams(&p->grouped) ? t.n_rows * hone_grouped_bytes(&p->grouped, s, 1, cols) : 0;
    uint8_t *block = malloc((size_t)(t.n_rows * row_bytes + bytes));
    if (!block) return HONE_NOMEM(err, "decoding a tensor");
    t.x = (float *)(void *)block;
    t.stream[0] = block + t.n_rows * row_bytes;
    for (uint32_t s = 1; s < hone_grouped_streams(&p->grouped); s++)
        t.stream[s] = t.stream[s - 1] + t.n_rows * hone_grouped_bytes(&p->grouped, s - 1, 1, cols);
    hone_code code = HONE_OK;
    while (code == HONE_OK && off < end) {
        uint64_t row = off / row_bytes, skip = off % row_bytes, rows = (end + row_bytes - 1) / row_bytes - row;
        if (rows > t.n_rows) rows = t.n_rows;
        code = decode_rows(v, p, cols, row, rows, &t, err);
        uint64_t have = rows * row_bytes - skip, take = have < end - off ? have : end - off;
        if (code == HONE_OK) memcpy(buf, block + skip, (size_t)take);
        buf += take;
        off += take;
    }
    free(block);
    return code;
}

static hone_code view_read(const hone_source *s, const hone_tensor *t, uint64_t off, void *buf, size_t n, hone_err *err)
{
    const view          *v = s->self;
    const hone_mlx_part *p = hone_mlx_part_of(s, t);
    assert(off <= t->bytes && n <= t->bytes - off);
    if (n == 0) return HONE_OK;
    if (p->scales) return read_codes(v, p, t->dims[t->n_dims - 1], off, buf, n, err);
    return v->raw->read(v->raw, t, off, buf, n, err);
}

static void view_close(hone_source *s)
{
    view *v = s->self;
    if (v->raw) v->raw->close(v->raw);
    v->raw = NULL;
}

hone_code hone_mlx_view(hone_source *raw, const json_t *config, const hone_mlx_arch *m, hone_arena *a, hone_source **out, hone_err *err)
{
    builder b = { .raw = raw, .config = config, .m = m, .a = a, .err = err };
    HONE_TRY(build(&b));
    hone_source   *s = HONE_ARENA_NEW(a, hone_source, 1);
    view          *v = HONE_ARENA_NEW(a, view, 1);
    hone_tensor   *tensors = HONE_ARENA_NEW(a, hone_tensor, b.n);
    hone_mlx_part *parts = HONE_ARENA_NEW(a, hone_mlx_part, b.n);
    if (!s || !v || !tensors || !parts) return HONE_NOMEM(err, "the list of tensors");
    for (size_t i = 0; i < b.n; i++) {
        tensors[i] = b.list[i].tensor;
        parts[i] = b.list[i].part;
    }
    *v = (view){ .raw = raw, .parts = parts };
    *s = (hone_source){ .read = view_read, .close = view_close, .tensors = tensors, .n_tensors = b.n, .files = raw->files, .n_files = raw->n_files,
                        .upright = m && m->model, .self = v };
    *out = s;
    return HONE_OK;
}

const hone_mlx_part *hone_mlx_part_of(const hone_source *s, const hone_tensor *t)
{
    const view *v = s->self;
    assert(s->read == view_read && t >= s->tensors && t < s->tensors + s->n_tensors);
    return &v->parts[t - s->tensors];
}

const hone_source *hone_mlx_raw(const hone_source *s)
{
    assert(s->read == view_read);
    return ((const view *)s->self)->raw;
}

bool hone_mlx_is(const hone_source *raw, const json_t *config)
{
    if (json_is_object(json_object_get(config, "quantization"))) return true;
    if (raw->n_files == 0) return false;
    const hone_file *f = hone_files_get(raw, 0);
    uint8_t          first[9] = { 0 };
    hone_st_head     h;
    json_t          *head = NULL;
    bool             found = false;
    if (f->size < sizeof first || hone_file_read(f, 0, first, sizeof first, NULL) != HONE_OK ||
        hone_st_head_find((hone_bytes){ first, sizeof first }, f->size, &h, NULL) != HONE_OK)
        return false;
    uint8_t *text = malloc((size_t)h.json_len);
    if (text && hone_file_read(f, 8, text, (size_t)h.json_len, NULL) == HONE_OK &&
        hone_json_parse((hone_bytes){ text, (size_t)h.json_len }, "header", &head, NULL) == HONE_OK) {
        const char *format = json_string_value(json_object_get(json_object_get(head, "__metadata__"), "format"));
        found = format && strcmp(format, "mlx") == 0;
    }
    json_decref(head);
    free(text);
    return found;
}

void hone_mlx_config_plain(json_t *config)
{
    (void)json_object_del(config, "quantization");
    (void)json_object_del(config, "quantization_config");
}
