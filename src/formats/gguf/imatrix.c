/* imatrix.c - reads what calibration saw: llama.cpp's importance matrices in GGUF and in the form before it, and hone's own additions.
 * Source: llama.cpp common/imatrix-loader.cpp. */
#include "formats/gguf/imatrix.h"
#include "base/text.h"
#include "formats/files.h"
#include "formats/gguf/names.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

static const char AGAIN[] = "make it again with `hone calibrate` or llama-imatrix";

#define LEGACY_MAX ((uint64_t)4 << 30) /* bytes; a file of the old form is read whole */
#define EXACT_MAX 9007199254740992.0f  /* 2^53: no count of rows is larger */

typedef struct imatrix { /* hone_stats.self */
    hone_source        *source;   /* NULL: nothing is open */
    bool                owned;    /* hone_stats_close closes it */
    const hone_tensor **hessians; /* [n_inputs]; NULL: that input has none, or that of one it shares its input with */
    hone_stats_origin   origin;
} imatrix;

typedef struct row { /* while the list of inputs is not sorted yet */
    hone_input_stats   in;
    const hone_tensor *hessian;
    bool               embedding; /* the OUTPUT that token_embd.weight stands for */
} row;

typedef struct list {
    row     *rows;
    size_t   n;
    bool     legacy;
    imatrix *self;
} list;

/* --- from rows to statistics ----------------------------------------------------------------------------------------- */
static row *find_row(list *l, hone_role role, int32_t layer)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->rows[i].in.role == role && l->rows[i].in.layer == layer) return &l->rows[i];
    return NULL;
}

/* In the old form, and in a GGUF that llama-imatrix made from it, experts stand behind each other as one matrix with one count.  How many they are can
 * be told by the width of the layer's other inputs. */
static hone_code split_experts(list *l, hone_arena *a, hone_err *err)
{
    for (size_t i = 0; i < l->n; i++) {
        hone_input_stats *in = &l->rows[i].in;
        uint32_t          n_mats = 1;
        bool              wide = in->role == HONE_R_FFN_GATE_EXPS || in->role == HONE_R_FFN_UP_EXPS;
        if ((!wide && in->role != HONE_R_FFN_DOWN_EXPS) || in->n_mats != 1) continue;
        const row *router = find_row(l, HONE_R_FFN_ROUTER, in->layer);
        const row *like = router ? router : find_row(l, HONE_R_ATTN_Q, in->layer);
        const row *up = find_row(l, HONE_R_FFN_UP_EXPS, in->layer);
        if (wide && like) n_mats = in->n_cols % like->in.n_cols == 0 ? in->n_cols / like->in.n_cols : 1;
        if (!wide && like && up) { /* whether up was split before or comes later */
            uint32_t all = up->in.n_mats > 1 ? up->in.n_mats : up->in.n_cols % like->in.n_cols == 0 ? up->in.n_cols / like->in.n_cols : 1;
            n_mats = in->n_cols % all == 0 ? all : 1;
        }
        if (n_mats <= 1) continue;
        uint64_t *counts = HONE_ARENA_NEW(a, uint64_t, n_mats);
        if (!counts) return HONE_NOMEM(err, "counts of experts");
        for (uint32_t k = 0; k < n_mats; k++) counts[k] = in->counts[0];
        in->counts = counts;
        in->n_cols /= n_mats;
        in->n_mats = n_mats;
        l->rows[i].hessian = NULL; /* one of all experts side by side: none of it is an expert's */
    }
    return HONE_OK;
}

static int by_place(const void *x, const void *y)
{
    const hone_input_stats *a = &((const row *)x)->in, *b = &((const row *)y)->in;
    if (a->layer != b->layer) return a->layer < b->layer ? -1 : 1;
    return (a->role > b->role) - (a->role < b->role);
}

/* The Hessian of an input, its own or that of one it shares the input with; NULL when there is none. */
static const hone_tensor *hessian_of(const list *l, size_t i)
{
    const hone_input_stats *in = &l->rows[i].in;
    if (l->rows[i].hessian) return l->rows[i].hessian;
    for (size_t k = 0; k < l->n; k++) {
        const hone_input_stats *other = &l->rows[k].in;
        if (l->rows[k].hessian && other->layer == in->layer && hone_role_shares_input(other->role, in->role) && other->n_cols == in->n_cols &&
            other->n_mats == in->n_mats)
            return l->rows[k].hessian;
    }
    return NULL;
}

/* Rows i = 0, 1, ... of a lower triangle, packed at the front of m [n, n], to their places and their mirror images. */
static void unpack_triangle(float *m, size_t n)
{
    for (size_t i = n; i-- > 1;) memmove(m + i * n, m + i * (i + 1) / 2, (i + 1) * sizeof *m);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++) m[j * n + i] = m[i * n + j];
}

static hone_code read_hessian(const hone_stats *s, const hone_input_stats *in, uint32_t mat, float *out, hone_err *err)
{
    const imatrix     *x = s->self;
    size_t             i = (size_t)(in - s->inputs);
    const size_t       n = in->n_cols, packed = n * (n + 1) / 2;
    const hone_tensor *t = i < s->n_inputs ? x->hessians[i] : NULL;
    if (!t || mat >= in->n_mats) return HONE_FAIL(err, HONE_EBUG, "", "no Hessian of %s %u in layer %d", hone_role_name(in->role), mat, (int)in->layer);
    char shown[HONE_SHOWN];
    HONE_TRY(x->source->read(x->source, t, (uint64_t)mat * packed * sizeof *out, out, packed * sizeof *out, err));
    for (size_t k = 0; k < packed; k++)
        if (!isfinite(out[k])) return HONE_FAIL(err, HONE_EINPUT, AGAIN, "tensor '%s' holds a value that is not finite", hone_shown(t->name, strlen(t->name), shown));
    unpack_triangle(out, n);
    return HONE_OK;
}

/* Drops the embedding's row when there is an output of its own, sorts, fills *out. */
static hone_code finish(list *l, hone_arena *a, hone_stats *out, hone_err *err)
{
    const row *output = NULL;
    size_t     n = 0;
    for (size_t i = 0; i < l->n; i++)
        if (l->rows[i].in.role == HONE_R_OUTPUT && !l->rows[i].embedding) output = &l->rows[i];
    for (size_t i = 0; i < l->n; i++) {
        if (l->rows[i].embedding && output) continue;
        if (l->rows[i].embedding) l->self->origin.tied = true;
        l->rows[n++] = l->rows[i];
    }
    l->n = n;
    if (n == 0)
        return HONE_FAIL(err, HONE_EINPUT, "check that it was made from a language model that hone knows", "the file has statistics of no weight that hone knows");
    HONE_TRY(split_experts(l, a, err));
    qsort(l->rows, n, sizeof *l->rows, by_place);
    hone_input_stats   *inputs = HONE_ARENA_NEW(a, hone_input_stats, n);
    const hone_tensor **hessians = HONE_ARENA_NEW(a, const hone_tensor *, n);
    if (!inputs || !hessians) return HONE_NOMEM(err, "statistics");
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        inputs[i] = l->rows[i].in;
        hessians[i] = hessian_of(l, i);
        inputs[i].hessian = hessians[i] != NULL;
        any = any || inputs[i].hessian;
    }
    l->self->hessians = hessians;
    l->self->origin.legacy = l->legacy;
    *out = (hone_stats){ .inputs = inputs, .n_inputs = n, .hessian = any ? read_hessian : NULL, .self = l->self };
    return HONE_OK;
}

/* --- values ----------------------------------------------------------------------------------------------------------- */
static hone_code check_values(const char *name, const float *v, uint64_t n, bool with_sign, hone_err *err)
{
    char shown[HONE_SHOWN];
    for (uint64_t i = 0; i < n; i++)
        if (!isfinite(v[i]) || (v[i] < 0 && !with_sign))
            return HONE_FAIL(err, HONE_EINPUT, AGAIN, "'%s' holds %g at %" PRIu64 ", needs a finite number%s", hone_shown(name, strlen(name), shown), (double)v[i], i,
                             with_sign ? "" : " that is not negative");
    return HONE_OK;
}

static uint64_t elems(const hone_tensor *t)
{
    return t->dtype == HONE_DTYPE_F32 ? t->bytes / 4 : 0;
}

static hone_code load(const hone_gguf *g, const hone_tensor *t, bool with_sign, hone_arena *a, const float **out, hone_err *err)
{
    float *v = hone_arena_alloc(a, (size_t)t->bytes);
    if (!v) return HONE_NOMEM(err, "statistics");
    HONE_TRY(g->source->read(g->source, t, 0, v, (size_t)t->bytes, err));
    HONE_TRY(check_values(t->name, v, t->bytes / 4, with_sign, err));
    *out = v;
    return HONE_OK;
}

static const hone_tensor *sibling(const hone_gguf *g, const char *stem, const char *suffix)
{
    char name[2 * HONE_GGUF_NAME];
    int  n = snprintf(name, sizeof name, "%s%s", stem, suffix);
    return n > 0 && (size_t)n < sizeof name ? hone_source_find(g->source, name) : NULL;
}

/* Something of hone's that is as large as the sums, or is not there. */
static hone_code load_like(const hone_gguf *g, const char *stem, const char *suffix, uint64_t n, bool with_sign, hone_arena *a, const float **out, hone_err *err)
{
    const hone_tensor *t = sibling(g, stem, suffix);
    char               shown[HONE_SHOWN];
    if (!t) return HONE_OK;
    if (elems(t) != n)
        return HONE_FAIL(err, HONE_EINPUT, AGAIN, "tensor '%s' has %" PRIu64 " values of f32, needs %" PRIu64, hone_shown(t->name, strlen(t->name), shown), elems(t), n);
    return load(g, t, with_sign, a, out, err);
}

static hone_code load_counts(const hone_gguf *g, const hone_tensor *t, hone_arena *a, uint64_t **out, hone_err *err)
{
    const float *v = NULL;
    HONE_TRY(load(g, t, false, a, &v, err));
    uint64_t *counts = HONE_ARENA_NEW(a, uint64_t, (size_t)elems(t));
    if (!counts) return HONE_NOMEM(err, "counts");
    for (uint64_t i = 0; i < elems(t); i++) {
        char shown[HONE_SHOWN];
        if (v[i] > EXACT_MAX) return HONE_FAIL(err, HONE_EINPUT, AGAIN, "'%s' counts %g rows", hone_shown(t->name, strlen(t->name), shown), (double)v[i]);
        counts[i] = (uint64_t)llroundf(v[i]);
    }
    *out = counts;
    return HONE_OK;
}

static hone_code find_hessian(const hone_gguf *g, const char *stem, row *r, hone_err *err)
{
    const hone_tensor *t = sibling(g, stem, ".hessian");
    char               shown[HONE_SHOWN];
    uint64_t           n = r->in.n_cols, want = 0;
    if (!t) return HONE_OK;
    if (!hone_size_mul(n * (n + 1) / 2, r->in.n_mats, &want) || elems(t) != want) /* n is a uint32_t: the first product fits */
        return HONE_FAIL(err, HONE_EINPUT, AGAIN, "tensor '%s' has %" PRIu64 " values of f32, %u triangles of %" PRIu64 " columns need %" PRIu64,
                         hone_shown(t->name, strlen(t->name), shown), elems(t), r->in.n_mats, n, want);
    r->hessian = t;
    return HONE_OK;
}

/* Which weight a name stands for; false: none that hone has a role for. */
static bool place(const char *stem, row *r)
{
    hone_part part;
    if (!hone_gguf_tensor_role(stem, &r->in.role, &part, &r->in.layer) || part != HONE_PART_WEIGHT) return false;
    r->embedding = r->in.role == HONE_R_TOK_EMBD; /* it is multiplied only where it stands for the output */
    if (r->embedding) r->in.role = HONE_R_OUTPUT;
    return true;
}

static hone_code load_row(const hone_gguf *g, const hone_tensor *sums, const char *stem, hone_arena *a, list *l, hone_err *err)
{
    char               shown[HONE_SHOWN];
    const char        *label = hone_shown(stem, strlen(stem), shown);
    const hone_tensor *counts = sibling(g, stem, ".counts");
    uint64_t           n = elems(sums), n_mats = counts ? elems(counts) : 0;
    uint64_t          *rows = NULL;
    row                r = { 0 };
    if (!counts) return HONE_FAIL(err, HONE_EINPUT, AGAIN, "'%s' has sums but no counts", label);
    if (n == 0 || n_mats == 0 || n % n_mats != 0 || n / n_mats > UINT32_MAX || n_mats > UINT32_MAX)
        return HONE_FAIL(err, HONE_EINPUT, AGAIN, "'%s' has %" PRIu64 " sums and %" PRIu64 " counts of f32", label, n, n_mats);
    if (!place(stem, &r)) return HONE_OK;
    HONE_TRY(load_counts(g, counts, a, &rows, err));
    r.in.n_mats = (uint32_t)n_mats;
    r.in.n_cols = (uint32_t)(n / n_mats);
    r.in.counts = rows;
    HONE_TRY(load(g, sums, false, a, &r.in.sum_sq, err));
    HONE_TRY(load_like(g, stem, ".in_abs", n, false, a, &r.in.sum_abs, err));
    HONE_TRY(load_like(g, stem, ".in_max", n, false, a, &r.in.max_abs, err));
    HONE_TRY(load_like(g, stem, ".in_sum", n, true, a, &r.in.sum, err));
    HONE_TRY(find_hessian(g, stem, &r, err));
    l->rows[l->n++] = r;
    return HONE_OK;
}

/* --- where it comes from ------------------------------------------------------------------------------------------------ */
static uint32_t number(const hone_gguf *g, const char *key)
{
    const hone_gguf_value *v = hone_gguf_find(g, key);
    return v && v->type == HONE_GGUF_U32 ? (uint32_t)v->as.u : 0;
}

/* What is empty or no text stays as *out was. */
static hone_code text_of(const hone_gguf_value *v, size_t i, hone_arena *a, const char **out, hone_err *err)
{
    const hone_gguf_str *s = (const hone_gguf_str *)v->as.array + i;
    if (!s->len || memchr(s->ptr, 0, (size_t)s->len) || !hone_utf8_valid(s->ptr, (size_t)s->len)) return HONE_OK;
    const char *copy = hone_arena_strndup(a, s->ptr, (size_t)s->len);
    if (!copy) return HONE_NOMEM(err, "the name of a text");
    *out = copy;
    return HONE_OK;
}

static hone_code load_origin(const hone_gguf *g, hone_arena *a, hone_stats_origin *out, hone_err *err)
{
    const hone_gguf_value *paths = hone_gguf_find(g, "imatrix.datasets"), *names = hone_gguf_find(g, "hone.calibration.names"),
                          *tokens = hone_gguf_find(g, "hone.calibration.tokens");
    out->chunk_count = number(g, "imatrix.chunk_count");
    out->chunk_size = number(g, "imatrix.chunk_size");
    if (!paths || paths->type != HONE_GGUF_ARRAY || paths->elem != HONE_GGUF_STRING || paths->n == 0) return HONE_OK;
    const size_t     n = (size_t)paths->n; /* each took bytes of a header that was read */
    hone_stats_text *texts = HONE_ARENA_NEW(a, hone_stats_text, n);
    if (!texts) return HONE_NOMEM(err, "names of texts");
    if (names && (names->type != HONE_GGUF_ARRAY || names->elem != HONE_GGUF_STRING || names->n != n)) names = NULL;
    if (tokens && (tokens->type != HONE_GGUF_ARRAY || tokens->elem != HONE_GGUF_U64 || tokens->n != n)) tokens = NULL;
    for (size_t i = 0; i < n; i++) {
        texts[i].path = "";
        HONE_TRY(text_of(paths, i, a, &texts[i].path, err));
        if (names) HONE_TRY(text_of(names, i, a, &texts[i].name, err));
        if (tokens) texts[i].tokens = hone_le64((const uint8_t *)tokens->as.array + 8 * i);
    }
    out->texts = texts;
    out->n_texts = n;
    return HONE_OK;
}

static bool is_imatrix(const hone_gguf *g)
{
    const hone_gguf_value *type = hone_gguf_find(g, "general.type");
    if (type) return type->type == HONE_GGUF_STRING && type->as.s.len == 7 && memcmp(type->as.s.ptr, "imatrix", 7) == 0;
    return hone_gguf_find(g, "imatrix.chunk_size") != NULL;
}

hone_code hone_stats_from_gguf(const hone_gguf *g, hone_arena *a, hone_stats *out, hone_err *err)
{
    static const char sums[] = ".in_sum2", counts[] = ".counts";
    if (!is_imatrix(g))
        return HONE_FAIL(err, HONE_EINPUT, "give a file that `hone calibrate` or llama-imatrix has written", "this GGUF is no importance matrix (general.type is not \"imatrix\")");
    imatrix *self = HONE_ARENA_NEW(a, imatrix, 1);
    list     l = { .rows = HONE_ARENA_NEW(a, row, g->source->n_tensors), .self = self };
    if (!self || !l.rows) return HONE_NOMEM(err, "statistics");
    self->source = g->source;
    HONE_TRY(load_origin(g, a, &self->origin, err));
    for (size_t i = 0; i < g->source->n_tensors; i++) {
        const hone_tensor *t = &g->source->tensors[i];
        size_t             len = strlen(t->name);
        char               shown[HONE_SHOWN];
        if (len > sizeof counts - 1 && strcmp(t->name + len - (sizeof counts - 1), counts) == 0) {
            const char *stem = hone_arena_strndup(a, t->name, len - (sizeof counts - 1));
            if (!stem) return HONE_NOMEM(err, "a name");
            if (!sibling(g, stem, sums)) return HONE_FAIL(err, HONE_EINPUT, AGAIN, "'%s' has counts but no sums", hone_shown(stem, strlen(stem), shown));
        }
        if (len <= sizeof sums - 1 || strcmp(t->name + len - (sizeof sums - 1), sums) != 0) continue;
        const char *stem = hone_arena_strndup(a, t->name, len - (sizeof sums - 1));
        if (!stem) return HONE_NOMEM(err, "a name");
        HONE_TRY(load_row(g, t, stem, a, &l, err));
    }
    return finish(&l, a, out, err);
}

/* --- the form before GGUF ------------------------------------------------------------------------------------------------- */
/* i32 entries; each: i32 length, name, i32 calls, i32 values, f32 values (means times calls); then i32 chunks, i32 length, name of the text. */
typedef struct cursor { const uint8_t *p; size_t left; } cursor;

static bool take(cursor *c, size_t n, const uint8_t **out)
{
    if (n > c->left) return false;
    *out = c->p;
    c->p += n;
    c->left -= n;
    return true;
}

/* A number that may not be negative. */
static bool take_count(cursor *c, uint32_t *out)
{
    const uint8_t *b;
    if (!take(c, 4, &b) || hone_le32(b) > INT32_MAX) return false;
    *out = hone_le32(b);
    return true;
}

static hone_code legacy_row(cursor *c, uint32_t index, hone_arena *a, list *l, hone_err *err)
{
    const uint8_t *name, *raw;
    uint32_t       len, calls, n;
    row            r = { 0 };
    if (!take_count(c, &len) || len == 0 || len > 255 || !take(c, len, &name) || memchr(name, 0, len) || !hone_utf8_valid((const char *)name, len) ||
        !take_count(c, &calls) || !take_count(c, &n) || n == 0 || n > c->left / 4 || !take(c, 4 * (size_t)n, &raw))
        return HONE_FAIL(err, HONE_EINPUT, AGAIN, "entry %u of the old form of an importance matrix is damaged", index);
    const char *stem = hone_arena_strndup(a, (const char *)name, len);
    float      *sums = HONE_ARENA_NEW(a, float, n);
    uint64_t   *counts = HONE_ARENA_NEW(a, uint64_t, 1);
    if (!stem || !sums || !counts) return HONE_NOMEM(err, "statistics");
    for (uint32_t i = 0; i < n; i++) {
        uint32_t bits = hone_le32(raw + 4 * (size_t)i);
        memcpy(&sums[i], &bits, sizeof bits);
    }
    HONE_TRY(check_values(stem, sums, n, false, err));
    counts[0] = calls ? calls : 1; /* imatrix-loader.cpp, quantize.cpp: without calls the values are the means */
    if (!place(stem, &r)) return HONE_OK;
    const row *twin = find_row(l, r.in.role, r.in.layer);
    if (twin && twin->embedding == r.embedding)
        return HONE_FAIL(err, HONE_EINPUT, AGAIN, "'%s' stands twice in the old form of an importance matrix", stem);
    r.in.n_mats = 1;
    r.in.n_cols = n;
    r.in.counts = counts;
    r.in.sum_sq = sums;
    l->rows[l->n++] = r;
    return HONE_OK;
}

hone_code hone_stats_from_legacy(hone_bytes file, hone_arena *a, hone_stats *out, hone_err *err)
{
    cursor         c = { file.ptr, file.len };
    uint32_t       n = 0, len = 0;
    const uint8_t *path;
    imatrix       *self = HONE_ARENA_NEW(a, imatrix, 1);
    if (!self) return HONE_NOMEM(err, "statistics");
    if (!take_count(&c, &n) || n == 0 || n > c.left / 17) /* the shortest entry */
        return HONE_FAIL(err, HONE_EINPUT, "give a file that `hone calibrate` or llama-imatrix has written", "this is neither GGUF nor the old form of an importance matrix");
    list l = { .rows = HONE_ARENA_NEW(a, row, n), .legacy = true, .self = self };
    if (!l.rows) return HONE_NOMEM(err, "statistics");
    for (uint32_t i = 0; i < n; i++) HONE_TRY(legacy_row(&c, i, a, &l, err));
    /* The rest is optional there as well. */
    if (take_count(&c, &self->origin.chunk_count) && take_count(&c, &len) && len && take(&c, len, &path) && !memchr(path, 0, len) &&
        hone_utf8_valid((const char *)path, len)) {
        hone_stats_text *text = HONE_ARENA_NEW(a, hone_stats_text, 1);
        if (!text) return HONE_NOMEM(err, "the name of a text");
        text->path = hone_arena_strndup(a, (const char *)path, len);
        if (!text->path) return HONE_NOMEM(err, "the name of a text");
        self->origin.texts = text;
        self->origin.n_texts = 1;
    }
    return finish(&l, a, out, err);
}

/* --- files ------------------------------------------------------------------------------------------------------------------ */
static hone_code open_gguf(const char *path, hone_arena *a, hone_stats *out, hone_err *err)
{
    hone_gguf g = { 0 };
    HONE_TRY(hone_gguf_open(path, a, &g, err));
    hone_code code = hone_stats_from_gguf(&g, a, out, err);
    if (code != HONE_OK) {
        g.source->close(g.source);
        return code;
    }
    ((imatrix *)out->self)->owned = true;
    return HONE_OK;
}

static hone_code open_any(const char *path, hone_arena *a, hone_stats *out, hone_err *err)
{
    hone_file  f = HONE_FILE_CLOSED;
    uint8_t    magic[4] = { 0 };
    hone_bytes all;
    HONE_TRY(hone_file_open(path, &f, err));
    hone_code code = f.size < sizeof magic ? HONE_OK : hone_file_read(&f, 0, magic, sizeof magic, err);
    hone_file_close(&f);
    HONE_TRY(code);
    if (memcmp(magic, "GGUF", sizeof magic) == 0) return open_gguf(path, a, out, err);
    HONE_TRY(hone_file_slurp(path, LEGACY_MAX, a, &all, err));
    return hone_stats_from_legacy(all, a, out, err);
}

hone_code hone_stats_open(const char *path, hone_arena *a, hone_stats *out, hone_err *err)
{
    hone_stats s = { 0 };
    char       sha256[65];
    HONE_TRY(hone_sha256_file(path, sha256, err));
    hone_code code = open_any(path, a, &s, err);
    if (code == HONE_OK) {
        s.path = hone_arena_strdup(a, path);
        if (!s.path) {
            hone_stats_close(&s);
            return HONE_NOMEM(err, "a path");
        }
        memcpy(s.sha256, sha256, sizeof sha256);
        *out = s;
    }
    if (code == HONE_EINPUT && err && !strstr(err->cause, path)) (void)hone_err_wrap(err, "'%s'", path);
    return code;
}

void hone_stats_close(hone_stats *s)
{
    if (!s || !s->self) return;
    imatrix *x = s->self;
    if (x->owned && x->source) x->source->close(x->source);
    x->source = NULL;
    *s = (hone_stats){ 0 };
}

const hone_stats_origin *hone_stats_origin_of(const hone_stats *s) { return &((const imatrix *)s->self)->origin; }
