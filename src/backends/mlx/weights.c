/* weights.c - logical weights as MLX arrays: codes stay codes, rows are gathered where the folder has them in another order. */
#include "backends/mlx/model.h"
#include <limits.h>
#include <stdlib.h>

static const char *mode_of(hone_scheme s)
{
    switch (s) {
    case HONE_SCHEME_MLX_MXFP4: return "mxfp4";
    case HONE_SCHEME_MLX_NVFP4: return "nvfp4";
    case HONE_SCHEME_MLX_MXFP8: return "mxfp8";
    default: return "affine";
    }
}

static const hone_tensor *stream_of(const hone_mlx_part *p, int stream)
{
    return stream == HONE_STREAM_CODES ? p->weight : stream == HONE_STREAM_SCALES ? p->scales : p->biases;
}

typedef struct loader {
    hone_backend_model *m;
    const hone_weight  *w;
    int                 stream;
    hone_err           *err;
} loader;

static const hone_tensor *tensor_of(const loader *l, size_t slice, const hone_mlx_part **part)
{
    *part = hone_mlx_part_of(l->m->model.source, l->w->slices[slice].tensor);
    return stream_of(*part, l->stream);
}

/* Elements of one unit of a slice (ir/model.h): a row as this stream stores it, or one element of a 1-D weight. */
static uint64_t unit_of(const loader *l, const hone_tensor *t, bool transposed)
{
    if (l->w->n_dims == 1) return 1;
    return transposed ? t->dims[0] : t->dims[t->n_dims - 1];
}

/* Units [first, first + n) of t, by the slice's map when it has one. */
static hone_mx take_run(const loader *l, const hone_slice *slice, const hone_tensor *t, uint64_t first, uint64_t n)
{
    hone_mx_session *s = l->m->s;
    hone_mx          x = hone_mx_file_tensor(s, t->name);
    uint64_t         unit = unit_of(l, t, slice->transposed), elems = 1;
    for (uint32_t d = 0; d < t->n_dims; d++) elems *= t->dims[d];
    if (slice->transposed) x = hone_mx_transpose(s, x, (const int[]){ 1, 0 }, 2);
    x = hone_mx_reshape(s, x, (const int[]){ (int)(elems / unit), (int)unit }, 2);
    if (!slice->row_map) return n == elems / unit ? x : hone_mx_slice(s, x, 0, (int)first, (int)(first + n));
    int32_t *rows = malloc(n * sizeof *rows);
    if (!rows) return 0;
    for (uint64_t i = 0; i < n; i++) rows[i] = (int32_t)(first + slice->row_map[i]);
    x = hone_mx_take(s, x, hone_mx_i32(s, rows, (const int[]){ (int)n }, 1), 0);
    free(rows);
    return x;
}

/* All slices of one stream, one behind the other, in the weight's shape. */
static hone_code assemble(const loader *l, hone_mx *out)
{
    const hone_weight *w = l->w;
    hone_mx_session   *s = l->m->s;
    size_t             n = 0;
    uint64_t           unit = 0;
    hone_mx           *runs = calloc(w->n_slices, sizeof *runs);
    if (!runs) return HONE_NOMEM(l->err, "a weight");
    for (size_t i = 0; i < w->n_slices;) {
        const hone_slice    *slice = &w->slices[i];
        const hone_mlx_part *part, *next;
        const hone_tensor   *t = tensor_of(l, i, &part);
        uint64_t             first = part->row0 + slice->row0, rows = slice->n_rows;
        unit = unit_of(l, t, slice->transposed);
        /* Matrices of one stack follow each other. */
        for (i++; i < w->n_slices && !slice->row_map && !w->slices[i].row_map; i++) {
            if (tensor_of(l, i, &next) != t || next->row0 + w->slices[i].row0 != first + rows) break;
            rows += w->slices[i].n_rows;
        }
        runs[n++] = take_run(l, slice, t, first, rows);
    }
    hone_mx x = n == 1 ? runs[0] : hone_mx_concat(s, runs, n, 0);
    int     dims[4];
    for (uint32_t d = 0; d < w->n_dims; d++) dims[d] = (int)w->dims[d];
    if (w->n_dims > 1) dims[w->n_dims - 1] = (int)unit;
    *out = hone_mx_reshape(s, x, dims, w->n_dims);
    free(runs);
    return HONE_OK;
}

/* The parts of a weight must be quantised alike; sizes must be what MLX can count. */
static hone_code check(const loader *l, const hone_mlx_part **part)
{
    static const char AGAIN[] = "convert the checkpoint that the folder was made from again";
    const hone_weight *w = l->w;
    if (w->n_slices == 0 || w->values || !hone_weight_is_plain(w))
        return HONE_FAIL(l->err, HONE_EBUG, "", "%s of layer %d is not as the folder has it", hone_role_name(w->role), (int)w->layer);
    for (size_t i = 0; i < w->n_slices; i++) {
        const hone_mlx_part *p = hone_mlx_part_of(l->m->model.source, w->slices[i].tensor);
        if (i == 0) *part = p;
        const hone_grouped *a = &p->grouped, *b = &(*part)->grouped;
        if (a->scheme != b->scheme || a->bits != b->bits || a->group != b->group || a->scale != b->scale)
            return HONE_FAIL(l->err, HONE_EUNSUPPORTED, AGAIN, "the parts of %s of layer %d are quantised differently", hone_role_name(w->role), (int)w->layer);
        hone_dtype t = p->weight->dtype;
        if (!p->scales && t != HONE_DTYPE_F32 && t != HONE_DTYPE_F16 && t != HONE_DTYPE_BF16)
            return HONE_FAIL(l->err, HONE_EUNSUPPORTED, "", "tensor '%s' is stored as %s, MLX has kernels for f32, f16 and bf16", p->weight->name, hone_dtype_name(t));
        if (p->scales && (w->n_dims == 1 || w->slices[i].transposed))
            return HONE_FAIL(l->err, HONE_EUNSUPPORTED, AGAIN, "%s of layer %d is quantised, which it cannot be", hone_role_name(w->role), (int)w->layer);
    }
    for (uint32_t d = 0; d < w->n_dims; d++)
        if (w->dims[d] > INT_MAX)
            return HONE_FAIL(l->err, HONE_EUNSUPPORTED, "use another format: hone convert --to gguf", "%s of layer %d is larger than MLX counts", hone_role_name(w->role), (int)w->layer);
    return HONE_OK;
}

static bool is_norm(const hone_graph *g, const hone_weight *w, bool *plus_one)
{
    for (size_t i = 0; i < g->n_nodes; i++)
        if (g->nodes[i].op == HONE_OP_NORM && (g->nodes[i].weight == w || g->nodes[i].bias == w)) {
            *plus_one = g->nodes[i].u.norm.plus_one && g->nodes[i].weight == w;
            return true;
        }
    return false;
}

static hone_code load_one(hone_backend_model *m, const hone_weight *w, hone_mx_matrix *out, hone_err *err)
{
    loader               l = { .m = m, .w = w, .err = err };
    const hone_mlx_part *part = NULL;
    hone_mx_session     *s = m->s;
    hone_mx_matrix       x = { .mode = "affine" };
    bool                 plus_one = false, norm = is_norm(&m->graph, w, &plus_one);
    HONE_TRY(check(&l, &part));
    HONE_TRY(assemble(&l, &x.w));
    if (part->scales) {
        x.bits = (int)part->grouped.bits;
        x.group = (int)part->grouped.group;
        x.mode = mode_of(part->grouped.scheme);
        l.stream = HONE_STREAM_SCALES;
        HONE_TRY(assemble(&l, &x.scales));
        l.stream = HONE_STREAM_ZEROS;
        if (part->biases) {
            HONE_TRY(assemble(&l, &x.biases));
            x.biases = hone_mx_cast(s, x.biases, m->type);
            x.scales = hone_mx_cast(s, x.scales, m->type);
        }
    } else if (!norm) {
        x.w = hone_mx_cast(s, x.w, m->type);
    }
    /* Added in float32: next to 1 a bf16 has few digits left. */
    if (plus_one) x.w = hone_mx_offset(s, hone_mx_cast(s, x.w, HONE_MX_F32), 1);
    x.w = hone_mx_keep(s, x.w);
    if (x.scales) x.scales = hone_mx_keep(s, x.scales);
    if (x.biases) x.biases = hone_mx_keep(s, x.biases);
    hone_mx_eval(s, (const hone_mx[]){ x.w, x.scales, x.biases }, 3);
    hone_mx_sweep(s);
    *out = x;
    return HONE_OK;
}

static hone_code failure(hone_mx_session *s, hone_err *err)
{
    bool        memory = false;
    const char *why = hone_mx_failure(s, &memory);
    if (!why) return HONE_OK;
    return HONE_FAIL(err, memory ? HONE_ERESOURCE : HONE_ERUNTIME, memory ? "free memory, or use a smaller encoding" : "", "MLX cannot load the weights: %s", why);
}

/* Only what a node reads: a pooler that nothing uses stays in its file. */
static void mark(bool *used, const hone_model *model, const hone_weight *w)
{
    if (w) used[w - model->weights] = true;
}

static hone_code load_all(hone_backend_model *m, const bool *used, hone_err *err)
{
    const hone_source *files = hone_mlx_raw(m->model.source);
    for (size_t i = 0; i < files->n_files; i++) hone_mx_file_open(m->s, files->files[i]);
    for (size_t i = 0; i < m->model.n_weights; i++) {
        if (used[i]) HONE_TRY(load_one(m, &m->model.weights[i], &m->weights[i], err));
        HONE_TRY(failure(m->s, err));
    }
    hone_mx_files_close(m->s);
    return HONE_OK;
}

hone_code hone_mlx_load(hone_backend_model *m, hone_err *err)
{
    const hone_graph *g = &m->graph;
    m->weights = HONE_ARENA_NEW(&m->model.arena, hone_mx_matrix, m->model.n_weights + 1);
    bool *used = HONE_ARENA_NEW(&m->model.arena, bool, m->model.n_weights + 1);
    if (!m->weights || !used) return HONE_NOMEM(err, "the weight list");
    for (size_t i = 0; i < g->n_nodes; i++) {
        const hone_node *n = &g->nodes[i];
        mark(used, &m->model, n->weight);
        mark(used, &m->model, n->bias);
        if (n->op != HONE_OP_EXPERTS) continue;
        mark(used, &m->model, n->u.moe.gate);
        mark(used, &m->model, n->u.moe.up);
        mark(used, &m->model, n->u.moe.down);
    }
    return load_all(m, used, err);
}
