/* watch.c - what llama.cpp shows of a model while it computes, through the callback of its scheduler: the inputs of every weight matrix
 * (summed, or row by row), and the residual stream behind every layer. */
#include "backends/llamacpp/model.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- activation statistics ------------------------------------------------------------------------------------------------------ */
typedef struct matrix { /* one weight matrix, or one tensor of expert matrices */
    char     *name;
    int64_t   n_cols, n_mats;
    double   *sum_sq; /* [n_mats, n_cols] */
    uint64_t *counts; /* [n_mats]: rows seen */
} matrix;

typedef struct capture_state {
    matrix *list;
    size_t  n, cap;
    char    why[200]; /* first failure; the callback cannot return one */
    int     code;
} capture_state;

static bool capture_failed(capture_state *c, int code, const char *what, const char *name)
{
    if (c->code == OK) {
        c->code = code;
        (void)snprintf(c->why, sizeof c->why, "%s '%s'", what, name);
    }
    return false;
}

/* "CUDA0#blk.0.ffn_up.weight#0" -> "blk.0.ffn_up.weight": the scheduler renames copies (ggml-backend.cpp, "%s#%s#%d"). */
static void plain_name(const char *name, char *out, size_t cap)
{
    const char *from = strchr(name, '#');
    from = from ? from + 1 : name;
    const char *to = strchr(from, '#');
    size_t      n = to ? (size_t)(to - from) : strlen(from);
    if (n >= cap) n = cap - 1;
    memcpy(out, from, n);
    out[n] = '\0';
}

/* Weights only: the products of attention scores and values have no weight among their sources. */
static bool is_weight(const struct ggml_tensor *t)
{
    char name[GGML_MAX_NAME];
    plain_name(t->name, name, sizeof name);
    size_t n = strlen(name);
    return n > 7 && strcmp(name + n - 7, ".weight") == 0;
}

static matrix *find_matrix(capture_state *c, const char *name, int64_t n_cols, int64_t n_mats)
{
    for (size_t i = 0; i < c->n; i++) {
        matrix *m = &c->list[i];
        if (strcmp(m->name, name) != 0) continue;
        if (m->n_cols != n_cols || m->n_mats != n_mats) {
            (void)capture_failed(c, RUNTIME, "two shapes of the input of", name);
            return NULL;
        }
        return m;
    }
    if (c->n == c->cap) {
        size_t  cap = c->cap ? 2 * c->cap : 64;
        matrix *more = realloc(c->list, cap * sizeof *more);
        if (!more) goto out_of_memory;
        c->list = more;
        c->cap = cap;
    }
    matrix m = { .name = strdup(name), .n_cols = n_cols, .n_mats = n_mats };
    m.sum_sq = calloc((size_t)n_mats, (size_t)n_cols * sizeof *m.sum_sq);
    m.counts = calloc((size_t)n_mats, sizeof *m.counts);
    if (m.name && m.sum_sq && m.counts) {
        c->list[c->n] = m;
        return &c->list[c->n++];
    }
    free(m.name);
    free(m.sum_sq);
    free(m.counts);
out_of_memory:
    (void)capture_failed(c, RESOURCE, "out of memory for the statistics of", name);
    return NULL;
}

static const char *host_data(capture_state *c, const struct ggml_tensor *t, char **owned)
{
    *owned = NULL;
    if (ggml_backend_buffer_is_host(t->buffer)) return t->data;
    size_t n = ggml_nbytes(t);
    char  *copy = malloc(n);
    if (!copy) {
        (void)capture_failed(c, RESOURCE, "out of memory for a copy of", t->name);
        return NULL;
    }
    ggml_backend_tensor_get(t, copy, 0, n);
    return *owned = copy;
}

static void add_row(matrix *m, int64_t mat, const char *row)
{
    const float *x = (const float *)(const void *)row;
    double      *acc = m->sum_sq + mat * m->n_cols;
    for (int64_t j = 0; j < m->n_cols; j++) acc[j] += (double)x[j] * (double)x[j];
    m->counts[mat]++;
}

/* x: [cols, rows, ...] times a weight of one matrix (or n_mats by broadcasting, which no family here has). */
static void add_dense(matrix *m, const struct ggml_tensor *w, const struct ggml_tensor *x, const char *data)
{
    for (int64_t i3 = 0; i3 < x->ne[3]; i3++)
        for (int64_t i2 = 0; i2 < x->ne[2]; i2++)
            for (int64_t i1 = 0; i1 < x->ne[1]; i1++)
                add_row(m, (i3 % w->ne[3]) * w->ne[2] + i2 % w->ne[2],
                        data + (size_t)i1 * x->nb[1] + (size_t)i2 * x->nb[2] + (size_t)i3 * x->nb[3]);
}

/* x: [cols, 1 or used, tokens], ids: [used, tokens] (ggml.h, ggml_mul_mat_id). */
static void add_experts(capture_state *c, matrix *m, const struct ggml_tensor *x, const char *data, const struct ggml_tensor *ids,
                        const char *picks)
{
    for (int64_t token = 0; token < ids->ne[1]; token++) {
        for (int64_t k = 0; k < ids->ne[0]; k++) {
            int32_t expert;
            memcpy(&expert, picks + (size_t)token * ids->nb[1] + (size_t)k * ids->nb[0], sizeof expert);
            if (expert < 0 || expert >= m->n_mats) {
                (void)capture_failed(c, RUNTIME, "an expert that does not exist in", m->name);
                return;
            }
            add_row(m, expert, data + (size_t)(k % x->ne[1]) * x->nb[1] + (size_t)token * x->nb[2]);
        }
    }
}

/* Called twice for each node of the graph (ggml-backend.h, ggml_backend_sched_eval_callback): whether we want it, then with its data.
 * The mechanism is that of llama.cpp's tools/imatrix/imatrix.cpp. */
static bool on_node(struct ggml_tensor *t, bool ask, void *user)
{
    capture_state            *c = user;
    const struct ggml_tensor *w = t->src[0], *x = t->src[1];
    bool                      experts = t->op == GGML_OP_MUL_MAT_ID;
    bool                      ours = (experts || t->op == GGML_OP_MUL_MAT) && is_weight(w) && x->type == GGML_TYPE_F32;
    if (ask || !ours) return ask ? ours : true;
    char name[GGML_MAX_NAME], *own_x = NULL, *own_ids = NULL;
    plain_name(w->name, name, sizeof name);
    matrix     *m = find_matrix(c, name, x->ne[0], w->ne[2] * w->ne[3]);
    const char *data = m ? host_data(c, x, &own_x) : NULL;
    if (data && experts) {
        const char *picks = host_data(c, t->src[2], &own_ids);
        if (picks) add_experts(c, m, x, data, t->src[2], picks);
    } else if (data) {
        add_dense(m, w, x, data);
    }
    free(own_x);
    free(own_ids);
    return c->code == OK; /* false stops the evaluation */
}

static int emit_matrix(const matrix *m, void (*sink)(void *, const char *, const float *, size_t, size_t, const uint64_t *), void *user,
                       hone_backend_error *e)
{
    size_t n = (size_t)(m->n_mats * m->n_cols);
    float *sums = malloc(n * sizeof *sums);
    if (!sums) return hone_llamacpp_fail(e, RESOURCE, "out of memory for the statistics of '%s'", m->name);
    for (size_t i = 0; i < n; i++) sums[i] = (float)m->sum_sq[i];
    sink(user, m->name, sums, (size_t)m->n_mats, (size_t)m->n_cols, m->counts);
    free(sums);
    return OK;
}

int hone_llamacpp_capture(hone_backend_model *m, const int32_t *ids, size_t n,
                          void (*sink)(void *user, const char *name, const float *sum_sq, size_t n_mats, size_t n_cols, const uint64_t *counts),
                          void *user, hone_backend_error *e)
{
    /* A context of its own: with a callback the scheduler runs node by node, which the other requests should not pay for. */
    capture_state               c = { .code = OK };
    struct llama_context_params p = m->params;
    size_t                      at = 0;
    p.cb_eval = on_node;
    p.cb_eval_user_data = &c;
    int rc = hone_llamacpp_aside(m, p, ids, n, &at, e);
    if (c.code != OK) rc = hone_llamacpp_fail(e, c.code, "%s", c.why);
    for (size_t i = 0; i < c.n; i++) {
        if (rc == OK) rc = emit_matrix(&c.list[i], sink, user, e);
        free(c.list[i].name);
        free(c.list[i].sum_sq);
        free(c.list[i].counts);
    }
    free(c.list);
    return rc;
}

/* --- the rows themselves ---------------------------------------------------------------------------------------------------------- */
typedef struct inputs_state {
    capture_state      c; /* for failures only */
    const char *const *names;
    size_t             n_names;
    bool              *seen; /* [n_names] */
    float             *rows; /* gathered: [n, n_cols] */
    uint32_t          *mats;
    size_t             rows_cap, mats_cap; /* elements */
    void (*sink)(void *user, size_t name, const float *rows, size_t n_rows, size_t n_cols, size_t n_mats, const uint32_t *mats);
    void              *user;
} inputs_state;

/* The index of the name of a weight, or n_names. */
static size_t index_of(const inputs_state *s, const struct ggml_tensor *w)
{
    char   name[GGML_MAX_NAME];
    size_t i = 0;
    plain_name(w->name, name, sizeof name);
    while (i < s->n_names && strcmp(s->names[i], name) != 0) i++;
    return i;
}

static bool gather_room(inputs_state *s, size_t n_rows, size_t n_cols, const char *name)
{
    if (n_rows * n_cols > s->rows_cap) {
        float *more = realloc(s->rows, n_rows * n_cols * sizeof *more);
        if (!more) return capture_failed(&s->c, RESOURCE, "out of memory for the inputs of", name);
        s->rows = more;
        s->rows_cap = n_rows * n_cols;
    }
    if (n_rows > s->mats_cap) {
        uint32_t *more = realloc(s->mats, n_rows * sizeof *more);
        if (!more) return capture_failed(&s->c, RESOURCE, "out of memory for the inputs of", name);
        s->mats = more;
        s->mats_cap = n_rows;
    }
    return true;
}

/* As add_dense, row after row. */
static void show_dense(inputs_state *s, size_t index, const struct ggml_tensor *w, const struct ggml_tensor *x, const char *data)
{
    const size_t n_cols = (size_t)x->ne[0], n_rows = (size_t)ggml_nrows(x), n_mats = (size_t)(w->ne[2] * w->ne[3]);
    size_t       at = 0;
    if (n_mats == 1 && ggml_is_contiguous(x)) {
        s->sink(s->user, index, (const float *)(const void *)data, n_rows, n_cols, 1, NULL);
        return;
    }
    if (!gather_room(s, n_rows, n_cols, w->name)) return;
    for (int64_t i3 = 0; i3 < x->ne[3]; i3++)
        for (int64_t i2 = 0; i2 < x->ne[2]; i2++)
            for (int64_t i1 = 0; i1 < x->ne[1]; i1++, at++) {
                memcpy(s->rows + at * n_cols, data + (size_t)i1 * x->nb[1] + (size_t)i2 * x->nb[2] + (size_t)i3 * x->nb[3], n_cols * sizeof *s->rows);
                s->mats[at] = (uint32_t)((i3 % w->ne[3]) * w->ne[2] + i2 % w->ne[2]);
            }
    s->sink(s->user, index, s->rows, n_rows, n_cols, n_mats, n_mats > 1 ? s->mats : NULL);
}

/* As add_experts, row after row. */
static void show_experts(inputs_state *s, size_t index, const struct ggml_tensor *w, const struct ggml_tensor *x, const char *data,
                         const struct ggml_tensor *ids, const char *picks)
{
    const size_t n_cols = (size_t)x->ne[0], n_rows = (size_t)(ids->ne[0] * ids->ne[1]), n_mats = (size_t)(w->ne[2] * w->ne[3]);
    size_t       at = 0;
    if (!gather_room(s, n_rows, n_cols, w->name)) return;
    for (int64_t token = 0; token < ids->ne[1]; token++) {
        for (int64_t k = 0; k < ids->ne[0]; k++, at++) {
            int32_t expert;
            memcpy(&expert, picks + (size_t)token * ids->nb[1] + (size_t)k * ids->nb[0], sizeof expert);
            if (expert < 0 || (size_t)expert >= n_mats) {
                (void)capture_failed(&s->c, RUNTIME, "an expert that does not exist in", w->name);
                return;
            }
            memcpy(s->rows + at * n_cols, data + (size_t)(k % x->ne[1]) * x->nb[1] + (size_t)token * x->nb[2], n_cols * sizeof *s->rows);
            s->mats[at] = (uint32_t)expert;
        }
    }
    s->sink(s->user, index, s->rows, n_rows, n_cols, n_mats, n_mats > 1 ? s->mats : NULL);
}

static bool on_input(struct ggml_tensor *t, bool ask, void *user)
{
    inputs_state             *s = user;
    const struct ggml_tensor *w = t->src[0], *x = t->src[1];
    bool                      experts = t->op == GGML_OP_MUL_MAT_ID;
    if ((!experts && t->op != GGML_OP_MUL_MAT) || x->type != GGML_TYPE_F32) return !ask;
    const size_t index = index_of(s, w);
    if (ask || index == s->n_names) return ask ? index < s->n_names : true;
    char       *own_x = NULL, *own_ids = NULL;
    const char *data = host_data(&s->c, x, &own_x);
    if (data && experts) {
        const char *picks = host_data(&s->c, t->src[2], &own_ids);
        if (picks) show_experts(s, index, w, x, data, t->src[2], picks);
    } else if (data) {
        show_dense(s, index, w, x, data);
    }
    free(own_x);
    free(own_ids);
    s->seen[index] = true;
    return s->c.code == OK;
}

int hone_llamacpp_inputs(hone_backend_model *m, const int32_t *ids, size_t n, const char *const *names, size_t n_names,
                         void (*sink)(void *user, size_t name, const float *rows, size_t n_rows, size_t n_cols, size_t n_mats, const uint32_t *mats), void *user,
                         hone_backend_error *e)
{
    inputs_state s = { .names = names, .n_names = n_names, .sink = sink, .user = user };
    int          rc = OK;
    if (m->ctx) hone_llamacpp_forget(m, m->ctx);
    s.seen = calloc(n_names ? n_names : 1, sizeof *s.seen);
    if (!s.seen) {
        rc = hone_llamacpp_fail(e, RESOURCE, "out of memory for %zu names", n_names);
    } else {
        struct llama_context_params p = m->params;
        size_t                      at = 0;
        p.cb_eval = on_input;
        p.cb_eval_user_data = &s;
        rc = hone_llamacpp_aside(m, p, ids, n, &at, e);
    }
    if (s.c.code != OK) rc = hone_llamacpp_fail(e, s.c.code, "%s", s.c.why);
    for (size_t i = 0; rc == OK && i < n_names; i++)
        if (!s.seen[i]) rc = hone_llamacpp_fail(e, INPUT, "no weight '%s' is multiplied with rows of f32", names[i]);
    free(s.seen);
    free(s.rows);
    free(s.mats);
    return rc;
}

/* --- behind every layer ------------------------------------------------------------------------------------------------------------ */
typedef struct layer_state {
    float   *values; /* [n_layers, n, n_embd] */
    size_t   n, at;  /* tokens in all, and before the batch that runs */
    int64_t  n_embd;
    uint32_t n_layers;
    size_t  *seen;   /* [n_layers]: rows */
    char     why[200];
    int      code;
} layer_state;

/* The number of the layer whose result t is, or -1.  Decoders call it "l_out-N" (src/models: cb(cur, "l_out", il)); BERT's last step
 * has no name, but adds a bias that has one (src/models/bert.cpp, layer_out_norm). */
static int32_t layer_of(const struct ggml_tensor *t)
{
    static const char tail[] = ".layer_output_norm.bias";
    char              name[GGML_MAX_NAME], *end = NULL;
    long              n = -1;
    if (strncmp(t->name, "l_out-", 6) == 0) {
        n = strtol(t->name + 6, &end, 10);
        return *end == '\0' && n <= INT32_MAX ? (int32_t)n : -1;
    }
    if (t->op != GGML_OP_ADD || !t->src[1]) return -1;
    plain_name(t->src[1]->name, name, sizeof name);
    if (strncmp(name, "blk.", 4) != 0) return -1;
    n = strtol(name + 4, &end, 10);
    return strcmp(end, tail) == 0 && n <= INT32_MAX ? (int32_t)n : -1;
}

static bool on_layer(struct ggml_tensor *t, bool ask, void *user)
{
    layer_state *s = user;
    int32_t      layer = layer_of(t);
    if (ask || layer < 0) return ask ? layer >= 0 : true;
    if ((uint32_t)layer >= s->n_layers || t->type != GGML_TYPE_F32 || t->ne[0] != s->n_embd || !ggml_is_contiguous(t) || t->ne[1] < 1 ||
        (size_t)t->ne[1] > s->n - s->at || ggml_nrows(t) != t->ne[1]) {
        s->code = RUNTIME;
        (void)snprintf(s->why, sizeof s->why, "llama.cpp's '%s' has %lld values in %lld rows, not %lld in at most %zu", t->name,
                       (long long)t->ne[0], (long long)ggml_nrows(t), (long long)s->n_embd, s->n - s->at);
        return false;
    }
    ggml_backend_tensor_get(t, s->values + ((size_t)layer * s->n + s->at) * (size_t)s->n_embd, 0, ggml_nbytes(t));
    s->seen[layer] += (size_t)t->ne[1];
    return true;
}

int hone_llamacpp_layers(hone_backend_model *m, const int32_t *ids, size_t n,
                         void (*sink)(void *user, uint32_t layer, const float *values, size_t n, size_t n_embd), void *user, hone_backend_error *e)
{
    int rc = OK;
    if (m->ctx) hone_llamacpp_forget(m, m->ctx);
    layer_state s = { .n = n, .n_embd = llama_model_n_embd(m->model), .n_layers = (uint32_t)llama_model_n_layer(m->model) };
    s.values = calloc((size_t)s.n_layers * n, (size_t)s.n_embd * sizeof *s.values);
    s.seen = calloc(s.n_layers, sizeof *s.seen);
    if (!s.values || !s.seen) {
        rc = hone_llamacpp_fail(e, RESOURCE, "out of memory for %zu tokens behind %u layers", n, s.n_layers);
    } else {
        struct llama_context_params p = m->params;
        p.cb_eval = on_layer;
        p.cb_eval_user_data = &s;
        rc = hone_llamacpp_aside(m, p, ids, n, &s.at, e);
    }
    if (s.code != OK) rc = hone_llamacpp_fail(e, s.code, "%s", s.why);
    for (uint32_t i = 0; rc == OK && i < s.n_layers; i++)
        if (s.seen[i] != n) rc = hone_llamacpp_fail(e, UNSUPPORTED, "llama.cpp does not name what is behind layer %u of this model", i);
    for (uint32_t i = 0; rc == OK && i < s.n_layers; i++) sink(user, i, s.values + (size_t)i * n * (size_t)s.n_embd, n, (size_t)s.n_embd);
    free(s.values);
    free(s.seen);
    return rc;
}
