/* mlx.c - MLX as a runtime of hone: folders of mlx_lm, run by our own operator graph on libmlx.
 * Not mlx_lm: windows, rope scalings and soft-caps that mlx_lm's modules leave out are computed here (docs/BACKENDS.md).
 * Choices that matter for what is measured:
 *   weights   as they lie in the folder; quantised ones stay codes (quantized_matmul).  With `exact` everything that is not a code is float32
 *   activations  in the folder's own type, sums of norms, softmax and activation functions in float32; all float32 with `exact`
 *   KV cache  in the type of activations, for the context that open asks for, or growing 256 tokens at a time; windows kept whole
 *   threads   MLX on the CPU computes in one thread, whatever open asks for
 * Text is not MLX's business: tokenize, detokenize and render are left to the caller. */
#include "backends/mlx/model.h"
#include "arch/arch.h"
#include "formats/hf.h"
#include "formats/safetensors.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { BATCH_DEFAULT = 512, OUTPUT_BYTES = 64 << 20 /* logits computed at once */ };

static int fail(hone_backend_error *e, hone_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int fail(hone_backend_error *e, hone_code code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(e->why, sizeof e->why, fmt, ap);
    va_end(ap);
    return (int)code;
}

static int mlx_failed(const hone_backend_model *m, hone_backend_error *e, const char *what)
{
    bool        memory = false;
    const char *why = hone_mx_failure(m->s, &memory);
    if (!why) return fail(e, HONE_ERESOURCE, "out of memory to %s", what);
    return fail(e, memory ? HONE_ERESOURCE : HONE_ERUNTIME, "MLX cannot %s: %s", what, why);
}

static int probe(char *version, size_t version_cap, char *devices, size_t devices_cap, hone_backend_error *e)
{
    char gpu[128];
    (void)e;
    (void)snprintf(version, version_cap, "%s", hone_mx_version());
    (void)snprintf(devices, devices_cap, "CPU%s%s", hone_mx_gpu(gpu, sizeof gpu) ? "; GPU: " : "", hone_mx_gpu(gpu, sizeof gpu) ? gpu : "");
    return 0;
}

/* --- open and close ------------------------------------------------------------------------------------------------ */
static void close_model(hone_backend_model *m)
{
    if (!m) return;
    if (m->s) hone_mx_close(m->s);
    hone_model_close(&m->model);
    free(m);
}

/* The folder with its family's roles.  One that mlx_lm did not write is read as the checkpoint it is. */
static hone_code bind(hone_model *m, const char *dir, json_t *config, hone_err *err)
{
    const hone_arch *arch;
    hone_source     *raw = NULL;
    HONE_TRY(hone_arch_find(config, &arch, err));
    HONE_TRY(hone_safetensors_open(dir, &m->arena, &raw, err));
    bool      ours = hone_mlx_is(raw, config);
    hone_code code = hone_mlx_view(raw, config, ours ? &arch->mlx : NULL, &m->arena, &m->source, err);
    if (code != HONE_OK) {
        raw->close(raw);
        return code;
    }
    if (ours) hone_mlx_config_plain(config);
    HONE_TRY(hone_arch_bind(arch, config, m, err));
    return m->facts.kind == HONE_KIND_ENCODER ? hone_hf_pooling_load(dir, hone_arch_pooling, &m->facts, err) : HONE_OK;
}

static hone_code open_folder(hone_model *m, const char *dir, hone_err *err)
{
    json_t *config = NULL;
    m->path = hone_arena_strdup(&m->arena, dir);
    if (!m->path) return HONE_NOMEM(err, "a path");
    hone_code code = hone_hf_config_load(dir, &config, err);
    if (code == HONE_OK) code = bind(m, m->path, config, err);
    json_decref(config);
    return code;
}

/* The type of the norms is the one that mlx_lm.convert gave all that is not quantised. */
static hone_mx_type folder_type(const hone_model *m)
{
    const hone_weight *w = hone_model_find(m, HONE_R_OUTPUT_NORM, HONE_PART_WEIGHT, -1);
    if (!w) w = hone_model_find(m, HONE_R_TOK_EMBD_NORM, HONE_PART_WEIGHT, -1);
    if (w && w->dtype == HONE_DTYPE_BF16) return HONE_MX_BF16;
    return w && w->dtype == HONE_DTYPE_F16 ? HONE_MX_F16 : HONE_MX_F32;
}

static hone_code lay_out(hone_backend_model *m, hone_err *err)
{
    hone_graph *g = &m->graph;
    hone_arena *a = &m->model.arena;
    HONE_TRY(hone_graph_build(&m->model, a, g, err));
    m->periods = HONE_ARENA_NEW(a, hone_mx, 2 * g->n_ropes + 1);
    m->cache = HONE_ARENA_NEW(a, hone_mx, 2 * g->n_caches + 1);
    m->last_use = HONE_ARENA_NEW(a, uint32_t, g->n_nodes);
    if (!m->periods || !m->cache || !m->last_use) return HONE_NOMEM(err, "the graph");
    for (uint32_t i = 0; i < g->n_nodes; i++)
        for (uint32_t k = 0; k < g->nodes[i].n_in; k++) m->last_use[g->nodes[i].in[k]] = i;
    return HONE_OK;
}

/* MLX wants what a pair's angle is divided by. */
static hone_mx periods_of(hone_backend_model *m, const float *inv_freq, uint32_t n)
{
    float *v = malloc((n + 1) * sizeof *v);
    if (!v) return 0;
    for (uint32_t i = 0; i < n; i++) v[i] = 1.0f / inv_freq[i];
    hone_mx x = hone_mx_keep(m->s, hone_mx_f32(m->s, v, (const int[]){ (int)n }, 1));
    free(v);
    return x;
}

static int prepare(hone_backend_model *m, hone_backend_error *e)
{
    hone_mx *all = m->cache;
    for (size_t i = 0; i < m->graph.n_nodes; i++) {
        const hone_graph_rope *t = &m->graph.nodes[i].u.rope;
        if (m->graph.nodes[i].op != HONE_OP_ROPE || m->periods[2 * t->id]) continue;
        m->periods[2 * t->id] = periods_of(m, t->inv_freq, t->dim / 2);
        if (t->inv_freq_long) m->periods[2 * t->id + 1] = periods_of(m, t->inv_freq_long, t->dim / 2);
    }
    for (size_t i = 0; m->n_room && i < m->graph.n_nodes; i++) {
        const hone_graph_attn *t = &m->graph.nodes[i].u.attn;
        if (m->graph.nodes[i].op != HONE_OP_ATTENTION || !t->causal) continue;
        const int dims[] = { 1, (int)t->kv_heads, (int)m->n_room, (int)t->head_dim };
        for (int k = 0; k < 2; k++) all[2 * t->slot + (uint32_t)k] = hone_mx_keep(m->s, hone_mx_zeros(m->s, dims, 4, m->type));
    }
    hone_mx_eval(m->s, all, 2 * m->graph.n_caches);
    hone_mx_sweep(m->s);
    bool memory;
    return hone_mx_failure(m->s, &memory) ? mlx_failed(m, e, "make the caches") : 0;
}

static void choose_sizes(hone_backend_model *m, const hone_backend_open *how)
{
    const hone_weight *places = hone_model_find(&m->model, HONE_R_POS_EMBD, HONE_PART_WEIGHT, -1);
    m->n_ctx = how->context ? how->context : m->model.facts.context;
    if (places && m->n_ctx > places->dims[0]) m->n_ctx = (uint32_t)places->dims[0];
    /* The graph has dynamic NTK as far as it changes nothing (ir/graph.h). */
    if (m->model.facts.rope.scaling == HONE_ROPE_SCALE_DYNAMIC && m->n_ctx > m->model.facts.context) m->n_ctx = m->model.facts.context;
    m->n_batch = how->batch ? how->batch : BATCH_DEFAULT;
    m->n_room = how->context ? m->n_ctx : 0;
    m->embeddings = how->embeddings;
    m->hidden = how->hidden;
}

static uint64_t count_parameters(const hone_model *m)
{
    uint64_t n = 0;
    for (size_t i = 0; i < m->n_weights; i++) n += hone_weight_elems(&m->weights[i]);
    return n;
}

static int evaluate(hone_backend_model *m, const hone_mlx_pass *pass, hone_mx *out, hone_backend_error *e);

/* Sets *gpu; a device that is not here is the processor, with the reason. */
static int choose_device(const hone_backend_open *how, hone_backend_info *info, bool *gpu, hone_backend_error *e)
{
    char name[128] = "";
    bool have = hone_mx_gpu(name, sizeof name), any = strcmp(how->device, "auto") == 0;
    if (strcmp(how->device, "gpu") == 0) {
        if (!have) (void)snprintf(info->fallback, sizeof info->fallback, "MLX finds no GPU here, or this is its package for the processor only");
    } else if (strcmp(how->device, "npu") == 0) {
        (void)snprintf(info->fallback, sizeof info->fallback, "MLX does not drive NPUs");
    } else if (!any && strcmp(how->device, "cpu") != 0) {
        return fail(e, HONE_EUNSUPPORTED, "MLX has no device '%s'", how->device);
    }
    *gpu = have && (any || strcmp(how->device, "gpu") == 0);
    (void)snprintf(info->device, sizeof info->device, "%s", *gpu ? "gpu" : "cpu");
    return 0;
}

static void fill_info(const hone_backend_model *m, hone_backend_info *info)
{
    const hone_facts *f = &m->model.facts;
    static const char *const types[] = { "float32", "float16", "bfloat16" };
    info->n_vocab = f->vocab;
    info->n_embd = f->hidden;
    info->n_ctx = m->n_ctx;
    info->n_ctx_train = f->context;
    info->n_params = count_parameters(&m->model);
    info->bos = f->bos < INT32_MAX ? (int32_t)f->bos : -1;
    info->eos = f->eos < INT32_MAX ? (int32_t)f->eos : -1;
    info->eot = -1;
    (void)snprintf(info->runtime, sizeof info->runtime, "mlx");
    (void)snprintf(info->version, sizeof info->version, "%s", hone_mx_version());
    (void)snprintf(info->description, sizeof info->description, "%s, hone's graph in %s", f->family, types[m->type]);
}

/* One token: whatever MLX prepares at first use belongs to opening. */
static int warm_up(hone_backend_model *m, hone_backend_error *e)
{
    const int32_t       id = 0;
    const hone_mlx_pass pass = { .ids = &id, .n = 1, .target = m->graph.output };
    hone_mx             out;
    int                 rc = evaluate(m, &pass, &out, e);
    hone_mx_sweep(m->s);
    return rc;
}

/* The folder, its graph and its weights. */
static hone_code load(hone_backend_model *m, const hone_backend_open *how, bool gpu, hone_err *err)
{
    m->s = hone_mx_open(gpu);
    if (!m->s) return HONE_NOMEM(err, "MLX");
    HONE_TRY(open_folder(&m->model, how->path, err));
    bool encoder = m->model.facts.kind == HONE_KIND_ENCODER;
    if (encoder != how->embeddings)
        return HONE_FAIL(err, HONE_EUNSUPPORTED, "", "'%s' is %s", how->path,
                         encoder ? "an encoder: it has embeddings but no logits" : "a decoder: it has logits, and no embeddings here");
    m->type = how->exact ? HONE_MX_F32 : folder_type(&m->model);
    m->gather = gpu || m->type == HONE_MX_F32;
    HONE_TRY(lay_out(m, err));
    choose_sizes(m, how);
    return hone_mlx_load(m, err);
}

static int open_model(const hone_backend_open *how, hone_backend_model **out, hone_backend_info *info, hone_backend_error *e)
{
    hone_err err = { 0 };
    bool     gpu = false;
    int      rc = choose_device(how, info, &gpu, e);
    if (rc != 0) return rc;
    if (how->vocab_only) return fail(e, HONE_EUNSUPPORTED, "MLX has no tokenizer: a vocabulary alone cannot be opened");
    hone_backend_model *m = calloc(1, sizeof *m);
    if (!m) return fail(e, HONE_ERESOURCE, "out of memory");
    uint64_t  before = hone_mx_memory_of(false).active;
    hone_code code = load(m, how, gpu, &err);
    if (code != HONE_OK) {
        close_model(m);
        return fail(e, code, "%s", err.cause);
    }
    info->weights_bytes = hone_mx_memory_of(false).active - before;
    rc = prepare(m, e);
    uint64_t ready = hone_mx_memory_of(true).active;
    info->kv_bytes = ready - before - info->weights_bytes;
    if (rc == 0) rc = warm_up(m, e);
    if (rc != 0) {
        close_model(m);
        return rc;
    }
    uint64_t peak = hone_mx_memory_of(false).peak;
    info->compute_bytes = peak > ready ? peak - ready : 0;
    fill_info(m, info);
    *out = m;
    return 0;
}

/* --- evaluation ---------------------------------------------------------------------------------------------------------- */
static void forget_all(hone_backend_model *m)
{
    m->n_past = 0;
    for (uint32_t i = 0; i < 2 * m->graph.n_caches; i++) {
        hone_mx_drop(m->s, m->cache[i]);
        m->cache[i] = 0;
    }
    m->n_room = 0;
}

/* Computes the target and what the caches hold. */
static int evaluate(hone_backend_model *m, const hone_mlx_pass *pass, hone_mx *out, hone_backend_error *e)
{
    bool memory;
    *out = hone_mlx_run(m, pass);
    if (*out) {
        hone_mx_eval(m->s, out, 1);
        hone_mx_eval(m->s, m->cache, 2 * m->graph.n_caches);
    }
    if (*out && !hone_mx_failure(m->s, &memory)) return 0;
    int rc = mlx_failed(m, e, "evaluate");
    hone_mx_sweep(m->s);
    hone_mx_forget_failure(m->s);
    forget_all(m);
    return rc;
}

static int check_ids(const hone_backend_model *m, const int32_t *ids, size_t n, size_t pos, hone_backend_error *e)
{
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || (uint32_t)ids[i] >= m->model.facts.vocab)
            return fail(e, HONE_EINPUT, "token id %d is outside of 0..%u", ids[i], m->model.facts.vocab - 1);
    if (pos + n > m->n_ctx) return fail(e, HONE_EINPUT, "no room in the context of %u tokens for %zu at %zu", m->n_ctx, n, pos);
    return 0;
}

typedef struct rows { /* where rows go */
    void (*row)(void *user, size_t index, const float *values, size_t n_values);
    void          *user;
    const uint8_t *want;
} rows;

/* How many of n tokens go into one pass: a batch, and no more wanted rows than may be held. */
static uint32_t next_piece(const hone_backend_model *m, const uint8_t *want, size_t n)
{
    size_t   most = OUTPUT_BYTES / (sizeof(float) * m->model.facts.vocab), rows_in = 0;
    uint32_t k = 0;
    for (; k < n && k < m->n_batch; k++) {
        if (!want || want[k]) rows_in++;
        if (rows_in > most && k > 0) break;
    }
    return k;
}

static int one_pass(hone_backend_model *m, const int32_t *ids, uint32_t n, size_t base, const rows *to, hone_backend_error *e)
{
    int32_t *wanted = malloc(n * sizeof *wanted);
    if (!wanted) return fail(e, HONE_ERESOURCE, "out of memory for %u tokens", n);
    hone_mlx_pass pass = { .ids = ids, .n = n, .target = m->graph.output, .rows = wanted };
    for (uint32_t i = 0; i < n; i++)
        if (!to->want || to->want[base + i]) wanted[pass.n_rows++] = (int32_t)i;
    if (pass.n_rows == n) pass.rows = NULL;
    if (pass.n_rows == 0) { /* nothing behind the last layer is asked for */
        pass.rows = NULL;
        pass.target = m->graph.layers[m->model.facts.n_layers - 1];
    }
    hone_mx out;
    int     rc = evaluate(m, &pass, &out, e);
    if (rc == 0) {
        const float *values = pass.n_rows ? hone_mx_read(m->s, out) : NULL;
        m->n_past += n;
        for (uint32_t i = 0; values && i < pass.n_rows; i++)
            to->row(to->user, base + (size_t)wanted[i], values + (size_t)i * m->model.facts.vocab, m->model.facts.vocab);
        if (pass.n_rows && !values) rc = mlx_failed(m, e, "give its results");
    }
    hone_mx_sweep(m->s);
    free(wanted);
    return rc;
}

/* An encoder's text is one pass, and nothing is kept of it. */
static int embed(hone_backend_model *m, const int32_t *ids, size_t n, const rows *to, hone_backend_error *e)
{
    const hone_facts   *f = &m->model.facts;
    bool                pooled = !m->hidden && m->graph.pooled != m->graph.output;
    const hone_mlx_pass pass = { .ids = ids, .n = (uint32_t)n, .target = pooled ? m->graph.pooled : m->graph.output };
    hone_mx             out;
    /* Not normalised (backend.h): the last node is left out. */
    hone_mlx_pass plain = pass;
    if (pooled && m->graph.nodes[pass.target].op == HONE_OP_UNIT) plain.target = m->graph.nodes[pass.target].in[0];
    int rc = evaluate(m, &plain, &out, e);
    if (rc != 0) return rc;
    const float *values = hone_mx_read(m->s, out);
    if (values && pooled) {
        if (!to->want || to->want[n - 1]) to->row(to->user, n - 1, values, f->hidden);
    } else
        for (size_t i = 0; values && i < n; i++)
            if (!to->want || to->want[i]) to->row(to->user, i, values + i * f->hidden, f->hidden);
    if (!values) rc = mlx_failed(m, e, "give its results");
    hone_mx_sweep(m->s);
    return rc;
}

static int forward(hone_backend_model *m, const int32_t *ids, size_t n, uint32_t pos, const uint8_t *want,
                   void (*row)(void *user, size_t index, const float *values, size_t n_values), void *user, hone_backend_error *e)
{
    const rows to = { .row = row, .user = user, .want = want };
    int        rc = 0;
    if (pos == 0) m->n_past = 0;
    if (pos != m->n_past) return fail(e, HONE_EBUG, "the cache holds %u tokens, not %u", m->n_past, pos);
    rc = check_ids(m, ids, n, pos, e);
    if (n == 0 || rc != 0) return rc;
    if (m->embeddings) return embed(m, ids, n, &to, e);
    for (size_t at = 0; at < n && rc == 0;) {
        uint32_t k = next_piece(m, want ? want + at : NULL, n - at);
        rc = one_pass(m, ids + at, k, at, &to, e);
        at += k;
    }
    return rc;
}

static int rewind_to(hone_backend_model *m, uint32_t pos, hone_backend_error *e)
{
    if (pos > m->n_past) return fail(e, HONE_EBUG, "the cache holds %u tokens, cannot keep %u", m->n_past, pos);
    m->n_past = pos;
    return 0;
}

static int layers(hone_backend_model *m, const int32_t *ids, size_t n,
                  void (*sink)(void *user, uint32_t layer, const float *values, size_t n, size_t n_embd), void *user, hone_backend_error *e)
{
    uint32_t n_layers = m->model.facts.n_layers;
    m->n_past = 0;
    int rc = check_ids(m, ids, n, 0, e);
    if (n == 0 || rc != 0) return rc;
    hone_mx      *nodes = calloc(n_layers, sizeof *nodes), out;
    hone_mlx_pass pass = { .ids = ids, .n = (uint32_t)n, .target = m->graph.layers[n_layers - 1], .layers = nodes };
    if (!nodes) return fail(e, HONE_ERESOURCE, "out of memory for %u layers", n_layers);
    rc = evaluate(m, &pass, &out, e);
    for (uint32_t i = 0; rc == 0 && i < n_layers; i++) {
        const float *values = hone_mx_read(m->s, nodes[i]);
        if (values) sink(user, i, values, n, m->model.facts.hidden);
        else rc = mlx_failed(m, e, "give a layer");
    }
    hone_mx_sweep(m->s);
    free(nodes);
    return rc;
}

__attribute__((visibility("default"))) const hone_backend *hone_backend_entry(void)
{
    static const hone_backend table = {
        .abi = HONE_BACKEND_ABI,
        .name = "mlx",
        .probe = probe,
        .open = open_model,
        .close = close_model,
        .forward = forward,
        .rewind = rewind_to,
        .layers = layers,
    };
    return &table;
}
