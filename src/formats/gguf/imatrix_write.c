/* imatrix_write.c - writes what calibration saw as llama.cpp's importance matrix in GGUF, with hone's additions.
 * Source: llama.cpp tools/imatrix/imatrix.cpp, save_imatrix. */
#include "formats/gguf/imatrix.h"
#include "formats/gguf/names.h"
#include <stdlib.h>

typedef struct put { /* one tensor of the file */
    const hone_input_stats *in;
    const float            *values; /* NULL: counts, or Hessians */
    bool                    counts;
} put;

typedef struct job {
    const hone_stats        *s;
    const hone_stats_origin *origin;
    hone_arena               arena;
    put                     *puts; /* [n_puts] in the order of the file */
    size_t                   n_puts;
    uint64_t                *offsets, total;
    hone_bytes               head;
} job;

static uint64_t triangle(uint64_t n) { return n * (n + 1) / 2; }

/* Whether the Hessian of input i stands under its own name: nobody before it shares its input. */
static bool own_hessian(const hone_stats *s, size_t i)
{
    const hone_input_stats *in = &s->inputs[i];
    for (size_t k = 0; k < i; k++)
        if (s->inputs[k].hessian && s->inputs[k].layer == in->layer && hone_role_shares_input(s->inputs[k].role, in->role) &&
            s->inputs[k].n_cols == in->n_cols && s->inputs[k].n_mats == in->n_mats)
            return false;
    return in->hessian;
}

static hone_code put_one(job *j, hone_gguf_writer *w, const hone_input_stats *in, const char *suffix, const float *values, uint64_t cols, hone_err *err)
{
    char           stem[HONE_GGUF_NAME], name[2 * HONE_GGUF_NAME];
    const uint64_t dims[2] = { in->n_mats, cols };
    hone_role      role = in->role == HONE_R_OUTPUT && j->origin->tied ? HONE_R_TOK_EMBD : in->role;
    HONE_TRY(hone_gguf_tensor_name(role, HONE_PART_WEIGHT, in->layer, stem, sizeof stem, err));
    (void)snprintf(name, sizeof name, "%s%s", stem, suffix);
    HONE_TRY(hone_gguf_put_tensor(w, name, HONE_DTYPE_F32, 2, dims, err));
    j->puts[j->n_puts++] = (put){ .in = in, .values = values, .counts = strcmp(suffix, ".counts") == 0 };
    return HONE_OK;
}

static hone_code put_tensors(job *j, hone_gguf_writer *w, hone_err *err)
{
    j->puts = HONE_ARENA_NEW(&j->arena, put, 6 * j->s->n_inputs);
    if (!j->puts) return HONE_NOMEM(err, "the list of statistics");
    for (size_t i = 0; i < j->s->n_inputs; i++) {
        const hone_input_stats *in = &j->s->inputs[i];
        HONE_TRY(put_one(j, w, in, ".in_sum2", in->sum_sq, in->n_cols, err));
        HONE_TRY(put_one(j, w, in, ".counts", NULL, 1, err));
        if (in->sum_abs) HONE_TRY(put_one(j, w, in, ".in_abs", in->sum_abs, in->n_cols, err));
        if (in->max_abs) HONE_TRY(put_one(j, w, in, ".in_max", in->max_abs, in->n_cols, err));
        if (in->sum) HONE_TRY(put_one(j, w, in, ".in_sum", in->sum, in->n_cols, err));
    }
    for (size_t i = 0; i < j->s->n_inputs; i++)
        if (own_hessian(j->s, i)) HONE_TRY(put_one(j, w, &j->s->inputs[i], ".hessian", NULL, triangle(j->s->inputs[i].n_cols), err));
    return HONE_OK;
}

static hone_code put_keys(job *j, hone_gguf_writer *w, hone_err *err)
{
    const hone_stats_origin *o = j->origin;
    hone_gguf_str           *paths = HONE_ARENA_NEW(&j->arena, hone_gguf_str, o->n_texts), *names = HONE_ARENA_NEW(&j->arena, hone_gguf_str, o->n_texts);
    uint64_t                *tokens = HONE_ARENA_NEW(&j->arena, uint64_t, o->n_texts);
    if (!paths || !names || !tokens) return HONE_NOMEM(err, "names of texts");
    for (size_t i = 0; i < o->n_texts; i++) {
        const char *name = o->texts[i].name ? o->texts[i].name : "";
        paths[i] = (hone_gguf_str){ o->texts[i].path, strlen(o->texts[i].path) };
        names[i] = (hone_gguf_str){ name, strlen(name) };
        tokens[i] = o->texts[i].tokens;
    }
    HONE_TRY(hone_gguf_put_str(w, "general.type", "imatrix", err));
    HONE_TRY(hone_gguf_put_array(w, "imatrix.datasets", HONE_GGUF_STRING, paths, o->n_texts, err));
    HONE_TRY(hone_gguf_put_u32(w, "imatrix.chunk_count", o->chunk_count, err));
    HONE_TRY(hone_gguf_put_u32(w, "imatrix.chunk_size", o->chunk_size, err));
    HONE_TRY(hone_gguf_put_array(w, "hone.calibration.names", HONE_GGUF_STRING, names, o->n_texts, err));
    return hone_gguf_put_array(w, "hone.calibration.tokens", HONE_GGUF_U64, tokens, o->n_texts, err);
}

static hone_code plan(job *j, hone_err *err)
{
    hone_gguf_writer *w = NULL;
    HONE_TRY(hone_gguf_writer_new(&j->arena, &w, err));
    HONE_TRY(put_keys(j, w, err));
    HONE_TRY(put_tensors(j, w, err));
    j->offsets = HONE_ARENA_NEW(&j->arena, uint64_t, j->n_puts);
    if (!j->offsets) return HONE_NOMEM(err, "offsets");
    return hone_gguf_layout(w, j->offsets, &j->total, &j->head, err);
}

/* As they lie in memory: every machine that hone is built for is little-endian, as GGUF is. */
static hone_code write_floats(hone_out *out, uint64_t off, const float *v, uint64_t n, hone_err *err)
{
    return hone_out_write(out, off, v, (size_t)n * sizeof *v, err);
}

static hone_code write_counts(job *j, hone_out *out, uint64_t off, const hone_input_stats *in, hone_err *err)
{
    float *v = HONE_ARENA_NEW(&j->arena, float, in->n_mats);
    if (!v) return HONE_NOMEM(err, "counts");
    for (uint32_t k = 0; k < in->n_mats; k++) v[k] = (float)in->counts[k]; /* exact to 2^24 rows: the format's own limit */
    return write_floats(out, off, v, in->n_mats, err);
}

/* The lower triangle of m [n, n], row after row, at its front. */
static void pack_triangle(float *m, size_t n)
{
    for (size_t i = 1; i < n; i++) memmove(m + i * (i + 1) / 2, m + i * n, (i + 1) * sizeof *m);
}

static hone_code write_hessians(const job *j, hone_out *out, uint64_t off, const hone_input_stats *in, float *room, hone_err *err)
{
    const uint64_t packed = triangle(in->n_cols);
    for (uint32_t mat = 0; mat < in->n_mats; mat++) {
        HONE_TRY(j->s->hessian(j->s, in, mat, room, err));
        pack_triangle(room, in->n_cols);
        HONE_TRY(write_floats(out, off + mat * packed * sizeof *room, room, packed, err));
    }
    return HONE_OK;
}

static hone_code write_all(job *j, hone_out *out, hone_err *err)
{
    uint64_t widest = 0, bytes = 0;
    HONE_TRY(hone_out_write(out, 0, j->head.ptr, j->head.len, err));
    for (size_t i = 0; i < j->s->n_inputs; i++)
        if (j->s->inputs[i].hessian && j->s->inputs[i].n_cols > widest) widest = j->s->inputs[i].n_cols;
    if (!hone_size_mul(widest * widest, sizeof(float), &bytes) || bytes > SIZE_MAX) return HONE_NOMEM(err, "a Hessian");
    float *room = malloc(bytes ? (size_t)bytes : 1);
    if (!room) return HONE_NOMEM(err, "a Hessian");
    hone_code code = HONE_OK;
    for (size_t i = 0; code == HONE_OK && i < j->n_puts; i++) {
        const put *p = &j->puts[i];
        if (p->values) code = write_floats(out, j->offsets[i], p->values, (uint64_t)p->in->n_mats * p->in->n_cols, err);
        else if (p->counts) code = write_counts(j, out, j->offsets[i], p->in, err);
        else code = write_hessians(j, out, j->offsets[i], p->in, room, err);
    }
    free(room);
    return code;
}

static bool same(const float *a, const float *b, size_t n)
{
    if (!a || !b) return a == b;
    return memcmp(a, b, n * sizeof *a) == 0;
}

/* What was written, read again. */
static hone_code check(void *user, const char *tmp, hone_err *err)
{
    job       *j = user;
    hone_stats back = { 0 };
    HONE_TRY(hone_stats_open(tmp, &j->arena, &back, err));
    bool ok = back.n_inputs == j->s->n_inputs;
    for (size_t i = 0; ok && i < j->s->n_inputs; i++) {
        const hone_input_stats *a = &j->s->inputs[i], *b = hone_stats_find(&back, a->role, a->layer);
        const size_t            n = (size_t)a->n_mats * a->n_cols;
        ok = b && b->role == a->role && b->n_mats == a->n_mats && b->n_cols == a->n_cols && same(a->sum_sq, b->sum_sq, n) && same(a->sum_abs, b->sum_abs, n) &&
             same(a->max_abs, b->max_abs, n) && same(a->sum, b->sum, n) && a->hessian == b->hessian;
    }
    hone_stats_close(&back);
    return ok ? HONE_OK : HONE_FAIL(err, HONE_EBUG, "", "the statistics read back differently from what was written");
}

hone_code hone_stats_write(const char *path, const hone_stats *s, const hone_stats_origin *origin, hone_err *err)
{
    job       j = { .s = s, .origin = origin };
    hone_out  out = { .fd = -1 };
    hone_code code = plan(&j, err);
    if (code == HONE_OK) code = hone_out_open(path, j.total, &out, err);
    if (code == HONE_OK) code = write_all(&j, &out, err);
    if (code == HONE_OK) code = hone_out_commit(&out, check, &j, err);
    hone_out_discard(&out);
    hone_arena_release(&j.arena);
    return code;
}
