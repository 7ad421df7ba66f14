/* onnxruntime.c - ONNX Runtime as a runtime of hone: folders with a model.onnx, in the layout of onnxruntime-genai or without its config.
 * Written against the C interface of 1.31 (deps/onnxruntime.sh).
 * Choices that matter for what is measured:
 *   session   all optimisations of the graph, one operator after another, threads that sleep while they wait
 *   KV cache  what the graph says (f32 or f16), bound to buffers of ours: in place where past and present may be one buffer
 *             (GroupQueryAttention), else two that change places
 *   batch     at most 512 tokens in one call, or what open asks for, and 256 MiB of logits
 * `exact` changes nothing: precision is written in the model. */
#include "backends/onnxruntime/api.h"
#include "backends/onnxruntime/cache.h"
#include "backends/onnxruntime/folder.h"
#include "backends/onnxruntime/network.h"
#include "backends/onnxruntime/session.h"
#include "base/file.h"
#include "formats/onnx.h"
#include "formats/onnx/reveal.h"
#include "quant/half.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH_DEFAULT = 512, LOGIT_BYTES = 256 << 20 /* held at once */, ROWS_MIN = 32, EMBED_TOKENS_MAX = 8192 };

struct hone_backend_model {
    hone_arena           a;
    const hone_ort      *o;
    hone_ort_folder      f;
    hone_ort_session     s;
    hone_ort_cache       cache;
    OrtIoBinding        *binding;
    const hone_ort_port *result;     /* logits, or embeddings */
    bool                 embeddings; /* of an encoder: every text stands alone */
    bool                 pooled;     /* one row per text */
    uint32_t             n_ctx, n_batch, n_row; /* n_row: values of a row of the result */
    uint32_t             threads, past;
    int64_t             *ids, *positions, *ones, *zeros; /* [n_batch], [n_batch], [n_ones], [n_batch] */
    size_t               n_ones; /* grows with what is held */
    void                *values; /* [n_batch, n_row] of the result's type */
    float               *row;    /* [n_row] when that type is not f32 */
    hone_ort_network    *net;    /* opened as a network: nothing of the above */
};

static int probe(char *version, size_t version_cap, char *devices, size_t devices_cap, hone_backend_error *e)
{
    const hone_ort *o = NULL;
    int             rc = hone_ort_load(&o, e);
    if (rc != HONE_OK) return rc;
    (void)snprintf(version, version_cap, "%s", o->version);
    return hone_ort_devices(o, devices, devices_cap, e);
}

/* --- open and close -------------------------------------------------------------------------------------------------- */
static void close_model(hone_backend_model *m)
{
    if (!m) return;
    hone_ort_network_close(m->net);
    if (m->binding) m->o->ReleaseIoBinding(m->binding);
    hone_ort_cache_close(&m->cache);
    hone_ort_session_close(&m->s);
    free(m->ids);
    free(m->positions);
    free(m->ones);
    free(m->zeros);
    free(m->values);
    free(m->row);
    hone_arena_release(&m->a);
    free(m);
}

/* The result of rank 2 that an encoder has when it pools. */
static const hone_ort_port *pooled_output(const hone_ort_session *s)
{
    for (size_t i = 0; i < s->n_out; i++)
        if (s->out[i].rank == 2 && s->out[i].dims[1] > 0) return &s->out[i];
    return NULL;
}

static int choose_result(hone_backend_model *m, const hone_backend_open *how, hone_backend_error *e)
{
    const hone_ort_port *logits = hone_ort_find(m->s.out, m->s.n_out, m->f.logits), *hidden = hone_ort_find(m->s.out, m->s.n_out, m->f.hidden);
    const hone_ort_port *pooled = pooled_output(&m->s);
    if (!how->embeddings && !logits && hidden)
        return hone_ort_fail(e, HONE_EUNSUPPORTED, "'%s' is an encoder: it has embeddings but no logits", m->f.model);
    m->result = how->embeddings ? (pooled && !how->hidden ? pooled : hidden) : logits;
    m->embeddings = how->embeddings;
    m->pooled = m->result && m->result == pooled;
    if (!m->result)
        return hone_ort_fail(e, HONE_EUNSUPPORTED, "'%s' has no output '%s'", m->f.model, how->embeddings ? m->f.hidden : m->f.logits);
    const hone_ort_port *r = m->result;
    int64_t              width = r->rank ? r->dims[r->rank - 1] : 0;
    if (r->rank != (m->pooled ? 2u : 3u) || !hone_ort_size(r->type) || r->type == ORT_I32 || r->type == ORT_I64)
        return hone_ort_fail(e, HONE_EUNSUPPORTED, "'%s' of '%s' is not [batch, tokens, width] of floats", r->name, m->f.model);
    if (!m->pooled && r->dims[1] == 1)
        return hone_ort_fail(e, HONE_EUNSUPPORTED, "'%s' gives logits of the last token only", m->f.model);
    if (width <= 0) width = how->embeddings ? m->f.width : m->f.vocab;
    if (width <= 0 || width > INT32_MAX)
        return hone_ort_fail(e, HONE_EINPUT, "'%s' does not say how wide '%s' is", m->f.model, r->name);
    m->n_row = (uint32_t)width;
    if (!how->embeddings) m->f.vocab = m->n_row;
    if (m->f.vocab == 0) return hone_ort_fail(e, HONE_EINPUT, "neither '%s' nor a config.json beside it says how many tokens there are", m->f.model);
    return HONE_OK;
}

/* Every input must be one that we can fill. */
static int check_inputs(const hone_backend_model *m, hone_backend_error *e)
{
    if (!hone_ort_find(m->s.in, m->s.n_in, m->f.ids)) return hone_ort_fail(e, HONE_EUNSUPPORTED, "'%s' has no input '%s'", m->f.model, m->f.ids);
    for (size_t i = 0; i < m->s.n_in; i++) {
        const hone_ort_port *p = &m->s.in[i];
        bool                 cached = false;
        for (size_t k = 0; k < m->cache.n; k++) cached |= strcmp(m->cache.t[k].past, p->name) == 0;
        if (cached) continue;
        const char *const known[] = { m->f.ids, m->f.mask, m->f.positions, m->f.types };
        bool              ours = false;
        for (size_t k = 0; k < HONE_COUNT(known); k++) ours |= strcmp(known[k], p->name) == 0;
        if (!ours) return hone_ort_fail(e, HONE_EUNSUPPORTED, "'%s' wants an input '%s', which is not known", m->f.model, p->name);
        if (p->type != ORT_I64 || p->rank != 2)
            return hone_ort_fail(e, HONE_EUNSUPPORTED, "input '%s' of '%s' is not [batch, tokens] of int64", p->name, m->f.model);
    }
    return HONE_OK;
}

static int choose_sizes(hone_backend_model *m, const hone_backend_open *how, hone_backend_error *e)
{
    /* Tables of positions end where the model's context ends. */
    uint32_t own = m->f.context;
    m->n_ctx = how->context && (own == 0 || how->context < own) ? how->context : own;
    if (m->n_ctx == 0 || m->n_ctx > INT32_MAX)
        return hone_ort_fail(e, HONE_EINPUT, "neither genai_config.json nor config.json beside '%s' says how many tokens fit", m->f.model);
    m->n_batch = how->batch ? how->batch : BATCH_DEFAULT;
    uint64_t rows = LOGIT_BYTES / ((uint64_t)m->n_row * hone_ort_size(m->result->type));
    if (rows < ROWS_MIN) rows = ROWS_MIN;
    if (m->n_batch > rows) m->n_batch = (uint32_t)rows;
    /* Attention in both directions wants the whole text in one call. */
    if (m->embeddings) {
        if (m->n_ctx > EMBED_TOKENS_MAX && !how->context) m->n_ctx = EMBED_TOKENS_MAX;
        m->n_batch = m->n_ctx;
    }
    if (m->n_batch > m->n_ctx) m->n_batch = m->n_ctx;
    return HONE_OK;
}

static int make_buffers(hone_backend_model *m, hone_backend_error *e)
{
    const size_t size = hone_ort_size(m->result->type), rows = m->pooled ? 1 : m->n_batch;
    m->ids = calloc(m->n_batch, sizeof *m->ids);
    m->positions = calloc(m->n_batch, sizeof *m->positions);
    m->zeros = calloc(m->n_batch, sizeof *m->zeros);
    m->values = calloc(rows, m->n_row * size);
    m->row = calloc(m->n_row, sizeof *m->row);
    if (!m->ids || !m->positions || !m->zeros || !m->values || !m->row)
        return hone_ort_fail(e, HONE_ERESOURCE, "out of memory for a batch of %u tokens", m->n_batch);
    return hone_ort_check(m->o, m->o->CreateIoBinding(m->s.s, &m->binding), e, "a binding of '%s'", m->f.model);
}

static void fill_info(const hone_backend_model *m, hone_backend_info *info)
{
    info->n_vocab = m->f.vocab;
    info->n_ctx = m->n_ctx;
    info->n_embd = m->embeddings ? m->n_row : m->f.width;
    info->n_ctx_train = m->f.context;
    info->weights_bytes = m->f.weights_bytes;
    info->kv_bytes = m->cache.bytes;
    info->bos = m->f.bos;
    info->eos = m->f.eos;
    info->eot = m->f.eot;
    (void)snprintf(info->runtime, sizeof info->runtime, "ONNX Runtime");
    (void)snprintf(info->version, sizeof info->version, "%s", m->o->version);
    (void)snprintf(info->device, sizeof info->device, "%s", m->s.device);
    (void)snprintf(info->description, sizeof info->description, "%s%s", m->s.provider,
                   m->cache.n == 0 ? "" : m->cache.shared ? ", cache in place" : ", cache copied by the graph");
}

static int open_all(hone_backend_model *m, const hone_backend_open *how, hone_backend_info *info, hone_backend_error *e)
{
    int rc = hone_ort_load(&m->o, e);
    if (rc == HONE_OK) rc = hone_ort_folder_read(how->path, &m->a, &m->f, e);
    if (rc == HONE_OK)
        rc = hone_ort_session_open(m->o, m->f.model, how->device, how->threads, &m->a, &m->s, info->fallback, sizeof info->fallback, e);
    if (rc == HONE_OK) rc = choose_result(m, how, e);
    if (rc == HONE_OK) rc = choose_sizes(m, how, e);
    if (rc == HONE_OK) rc = hone_ort_cache_open(&m->s, &m->f, m->n_ctx, &m->a, &m->cache, e);
    if (rc == HONE_OK && !m->embeddings && m->cache.n == 0)
        rc = hone_ort_fail(e, HONE_EUNSUPPORTED, "'%s' has no input '%s': it keeps no cache", m->f.model, m->f.past_key);
    if (rc == HONE_OK) rc = check_inputs(m, e);
    if (rc == HONE_OK) rc = make_buffers(m, e);
    return rc;
}

static int open_model(const hone_backend_open *how, hone_backend_model **out, hone_backend_info *info, hone_backend_error *e)
{
    if (how->vocab_only) return hone_ort_fail(e, HONE_EUNSUPPORTED, "ONNX Runtime has no tokenizer");
    hone_backend_model *m = calloc(1, sizeof *m);
    if (!m) return hone_ort_fail(e, HONE_ERESOURCE, "out of memory");
    m->threads = how->threads;
    int rc = how->graph ? hone_ort_network_open(how, &m->net, info, e) : open_all(m, how, info, e);
    if (rc != HONE_OK) {
        close_model(m);
        return rc;
    }
    if (!how->graph) fill_info(m, info);
    *out = m;
    return HONE_OK;
}

/* --- evaluation ---------------------------------------------------------------------------------------------------------- */
/* Binds dims of our own memory to name, where the session knows that name. */
static int bind_input(hone_backend_model *m, const char *name, int64_t *data, size_t n, hone_backend_error *e)
{
    const int64_t dims[] = { 1, (int64_t)n };
    OrtValue     *v = NULL;
    if (!hone_ort_find(m->s.in, m->s.n_in, name)) return HONE_OK;
    int rc = hone_ort_tensor(m->o, data, ORT_I64, dims, 2, &v, e);
    if (rc == HONE_OK) rc = hone_ort_check(m->o, m->o->BindInput(m->binding, name, v), e, "'%s'", name);
    if (v) m->o->ReleaseValue(v); /* the binding holds its own reference */
    return rc;
}

static int bind_result(hone_backend_model *m, size_t n, hone_backend_error *e)
{
    const int64_t rows[] = { 1, (int64_t)n, m->n_row }, one[] = { 1, m->n_row };
    OrtValue     *v = NULL;
    int           rc = hone_ort_tensor(m->o, m->values, m->result->type, m->pooled ? one : rows, m->pooled ? 2 : 3, &v, e);
    if (rc == HONE_OK) rc = hone_ort_check(m->o, m->o->BindOutput(m->binding, m->result->name, v), e, "'%s'", m->result->name);
    if (v) m->o->ReleaseValue(v);
    return rc;
}

/* A mask of n ones.  What config.json says of a context is its word: memory is taken as far as tokens come. */
static int want_ones(hone_backend_model *m, size_t n, hone_backend_error *e)
{
    size_t cap = m->n_ones < BATCH_DEFAULT ? BATCH_DEFAULT : m->n_ones;
    if (n <= m->n_ones) return HONE_OK;
    while (cap < n) cap *= 2;
    int64_t *more = realloc(m->ones, cap * sizeof *more);
    if (!more) return hone_ort_fail(e, HONE_ERESOURCE, "out of memory for a mask of %zu tokens", cap);
    for (size_t i = m->n_ones; i < cap; i++) more[i] = 1;
    m->ones = more;
    m->n_ones = cap;
    return HONE_OK;
}

/* One call of the session. */
static int evaluate(hone_backend_model *m, const int32_t *ids, size_t n, hone_backend_error *e)
{
    for (size_t i = 0; i < n; i++) {
        m->ids[i] = ids[i];
        m->positions[i] = (int64_t)(m->past + i);
    }
    int rc = want_ones(m, m->past + n, e);
    if (rc == HONE_OK) rc = bind_input(m, m->f.ids, m->ids, n, e);
    if (rc == HONE_OK) rc = bind_input(m, m->f.mask, m->ones, m->past + n, e);
    if (rc == HONE_OK) rc = bind_input(m, m->f.positions, m->positions, n, e);
    if (rc == HONE_OK) rc = bind_input(m, m->f.types, m->zeros, n, e);
    if (rc == HONE_OK) rc = bind_result(m, n, e);
    if (rc == HONE_OK) rc = hone_ort_cache_bind(&m->cache, m->binding, n, e);
    if (rc == HONE_OK)
        rc = hone_ort_check(m->o, m->o->RunWithBinding(m->s.s, NULL, m->binding), e, "ONNX Runtime cannot evaluate %zu tokens at %u", n, m->past);
    if (rc != HONE_OK) return rc;
    hone_ort_cache_advance(&m->cache, n);
    m->past += (uint32_t)n;
    return HONE_OK;
}

/* n values at `from` of an ORT type as floats: in place, or in to. */
static const float *as_floats(const void *from, int type, size_t n, float *to)
{
    const uint8_t *b = from;
    if (type == ORT_F32) return from;
    for (size_t i = 0; i < n; i++) to[i] = type == ORT_F16 ? hone_f16_load(b + 2 * i) : hone_f32_from_bf16(hone_le16(b + 2 * i));
    return to;
}

static void emit_rows(const hone_backend_model *m, size_t base, size_t n, const uint8_t *want,
                      void (*row)(void *user, size_t index, const float *values, size_t n_values), void *user)
{
    const size_t   bytes = m->n_row * hone_ort_size(m->result->type);
    const uint8_t *values = m->values;
    if (m->pooled) {
        row(user, base + n - 1, as_floats(values, m->result->type, m->n_row, m->row), m->n_row);
        return;
    }
    for (size_t i = 0; i < n; i++)
        if (!want || want[i]) row(user, base + i, as_floats(values + i * bytes, m->result->type, m->n_row, m->row), m->n_row);
}

static void forget_all(hone_backend_model *m)
{
    hone_ort_cache_rewind(&m->cache, 0);
    m->past = 0;
}

static int forward(hone_backend_model *m, const int32_t *ids, size_t n, uint32_t pos, const uint8_t *want,
                   void (*row)(void *user, size_t index, const float *values, size_t n_values), void *user, hone_backend_error *e)
{
    if (pos == 0) forget_all(m);
    if (pos != m->past) return hone_ort_fail(e, HONE_EBUG, "the cache holds %u tokens, not %u", m->past, pos);
    if (n > m->n_ctx || pos > m->n_ctx - n)
        return hone_ort_fail(e, HONE_EINPUT, "%zu tokens at %u do not fit the context of %u", n, pos, m->n_ctx);
    for (size_t at = 0; at < n;) {
        size_t k = n - at < m->n_batch ? n - at : m->n_batch;
        int    rc = evaluate(m, ids + at, k, e);
        if (rc != HONE_OK) {
            forget_all(m);
            return rc;
        }
        emit_rows(m, at, k, want ? want + at : NULL, row, user);
        at += k;
    }
    if (m->cache.n == 0) m->past = 0; /* nothing is kept */
    return HONE_OK;
}

static int rewind_to(hone_backend_model *m, uint32_t pos, hone_backend_error *e)
{
    if (pos > m->past) return hone_ort_fail(e, HONE_EBUG, "the cache holds %u tokens, not %u", m->past, pos);
    hone_ort_cache_rewind(&m->cache, pos);
    m->past = pos;
    return HONE_OK;
}

/* --- behind every layer ---------------------------------------------------------------------------------------------------- */
/* A session whose outputs are the residual stream, and what goes in and comes out of one call of it. */
typedef struct reveal {
    hone_arena       a;
    hone_ort_session s;
    const char     **names; /* [n_layers] */
    uint32_t         n_layers;
    const char     **in_names;
    OrtValue       **in; /* [s.n_in] */
    OrtValue       **out; /* [n_layers] */
} reveal;

static int from_hone(hone_backend_error *e, const char *path, const hone_err *err)
{
    return hone_ort_fail(e, (int)err->code, "'%s': %s", path, err->cause);
}

static int open_reveal(const hone_backend_model *m, reveal *r, hone_backend_error *e)
{
    hone_err   err = { 0 };
    hone_bytes file, open;
    uint32_t   n = m->f.n_stream;
    if (n == 0) return hone_ort_fail(e, HONE_EUNSUPPORTED, "'%s' does not name what is behind its layers: hone's own models do", m->f.model);
    if (hone_file_slurp(m->f.model, ORT_MODEL_FILE_MAX, &r->a, &file, &err) != HONE_OK) return from_hone(e, m->f.model, &err);
    r->names = HONE_ARENA_NEW(&r->a, const char *, n + 1);
    for (uint32_t i = 0; r->names && i < n; i++)
        if (!(r->names[i] = hone_arena_printf(&r->a, HONE_ONNX_STREAM, i))) r->names = NULL;
    if (!r->names) return hone_ort_fail(e, HONE_ERESOURCE, "out of memory for names");
    int type = m->cache.n ? m->cache.t[0].type : m->result->type; /* of activations */
    if (hone_onnx_reveal(file, r->names, n, type, &r->a, &open, &err) != HONE_OK) return from_hone(e, m->f.model, &err);
    /* An encoder's last layer is its output and has that name. */
    if (m->embeddings) r->names[n++] = m->f.hidden;
    r->n_layers = n;
    int rc = hone_ort_session_open_bytes(m->o, open, m->f.dir, m->f.model, m->threads, &r->a, &r->s, e);
    r->in_names = HONE_ARENA_NEW(&r->a, const char *, r->s.n_in);
    r->in = HONE_ARENA_NEW(&r->a, OrtValue *, r->s.n_in);
    r->out = HONE_ARENA_NEW(&r->a, OrtValue *, r->n_layers);
    if (rc == HONE_OK && (!r->in_names || !r->in || !r->out)) rc = hone_ort_fail(e, HONE_ERESOURCE, "out of memory for layers");
    return rc;
}

/* Ids, mask, positions, and a past of no tokens. */
static int fill_inputs(const hone_backend_model *m, reveal *r, const int32_t *ids, size_t n, hone_backend_error *e)
{
    int64_t *data = HONE_ARENA_NEW(&r->a, int64_t, 4 * n + 1);
    if (!data) return hone_ort_fail(e, HONE_ERESOURCE, "out of memory for %zu tokens", n);
    for (size_t i = 0; i < n; i++) {
        data[i] = ids[i];
        data[n + i] = 1;
        data[2 * n + i] = (int64_t)i;
    }
    const struct { const char *name; int64_t *data; } ours[] = {
        { m->f.ids, data }, { m->f.mask, data + n }, { m->f.positions, data + 2 * n }, { m->f.types, data + 3 * n },
    };
    int rc = HONE_OK;
    for (size_t i = 0; rc == HONE_OK && i < r->s.n_in; i++) {
        const hone_ort_port *p = &r->s.in[i];
        int64_t              tokens[] = { 1, (int64_t)n }, nothing[] = { 1, 0, 0, 0 };
        int64_t             *values = data;
        for (size_t k = 0; k < HONE_COUNT(ours); k++)
            if (strcmp(ours[k].name, p->name) == 0) values = ours[k].data;
        for (size_t k = 0; k < m->cache.n; k++) {
            if (strcmp(m->cache.t[k].past, p->name) != 0) continue;
            nothing[1] = m->cache.t[k].heads;
            nothing[3] = m->cache.t[k].head_dim;
        }
        r->in_names[i] = p->name;
        rc = hone_ort_tensor(m->o, values, p->type, p->rank == 4 ? nothing : tokens, p->rank, &r->in[i], e);
    }
    return rc;
}

/* Hands one layer to the sink after a look at its shape. */
static int emit_layer(reveal *r, uint32_t layer, size_t n, size_t width, float *room,
                      void (*sink)(void *user, uint32_t layer, const float *values, size_t n, size_t n_embd), void *user, hone_backend_error *e)
{
    const hone_ort            *o = r->s.o;
    OrtTensorTypeAndShapeInfo *shape = NULL;
    int64_t                    dims[3] = { 0, 0, 0 };
    size_t                     rank = 0;
    int                        type = 0;
    void                      *data = NULL;
    int                        rc = hone_ort_check(o, o->GetTensorTypeAndShape(r->out[layer], &shape), e, "layer %u", layer);
    if (rc == HONE_OK) rc = hone_ort_check(o, o->GetDimensionsCount(shape, &rank), e, "layer %u", layer);
    if (rc == HONE_OK && rank == 3) rc = hone_ort_check(o, o->GetDimensions(shape, dims, 3), e, "layer %u", layer);
    if (rc == HONE_OK) rc = hone_ort_check(o, o->GetTensorElementType(shape, &type), e, "layer %u", layer);
    if (rc == HONE_OK) rc = hone_ort_check(o, o->GetTensorMutableData(r->out[layer], &data), e, "layer %u", layer);
    if (shape) o->ReleaseTensorTypeAndShapeInfo(shape);
    if (rc != HONE_OK) return rc;
    if (rank != 3 || dims[0] != 1 || (uint64_t)dims[1] != n || (uint64_t)dims[2] != width || (type != ORT_F32 && type != ORT_F16 && type != ORT_BF16))
        return hone_ort_fail(e, HONE_ERUNTIME, "what is behind layer %u is not [1, %zu, %zu] of floats", layer, n, width);
    sink(user, layer, as_floats(data, type, n * width, room), n, width);
    return HONE_OK;
}

static void close_reveal(reveal *r)
{
    for (size_t i = 0; r->in && i < r->s.n_in; i++)
        if (r->in[i]) r->s.o->ReleaseValue(r->in[i]);
    for (size_t i = 0; r->out && i < r->n_layers; i++)
        if (r->out[i]) r->s.o->ReleaseValue(r->out[i]);
    hone_ort_session_close(&r->s);
    hone_arena_release(&r->a);
}

static int layers(hone_backend_model *m, const int32_t *ids, size_t n,
                  void (*sink)(void *user, uint32_t layer, const float *values, size_t n, size_t n_embd), void *user, hone_backend_error *e)
{
    size_t width = m->f.width ? m->f.width : m->n_row;
    reveal r = { .n_layers = 0 };
    forget_all(m);
    if (n > m->n_ctx) return hone_ort_fail(e, HONE_EINPUT, "%zu tokens do not fit the context of %u", n, m->n_ctx);
    int    rc = open_reveal(m, &r, e);
    float *values = rc == HONE_OK ? hone_arena_calloc(&r.a, n * width, sizeof *values) : NULL;
    if (rc == HONE_OK && !values) rc = hone_ort_fail(e, HONE_ERESOURCE, "out of memory for %zu tokens", n);
    if (rc == HONE_OK) rc = fill_inputs(m, &r, ids, n, e);
    if (rc == HONE_OK)
        rc = hone_ort_check(m->o, m->o->Run(r.s.s, NULL, r.in_names, (const OrtValue *const *)r.in, r.s.n_in, r.names, r.n_layers, r.out), e,
                            "ONNX Runtime cannot show the layers of '%s'", m->f.model);
    for (uint32_t i = 0; rc == HONE_OK && i < r.n_layers; i++) rc = emit_layer(&r, i, n, width, values, sink, user, e);
    close_reveal(&r);
    return rc;
}

/* --- networks without tokens ------------------------------------------------------------------------------------------------ */
static int signature(hone_backend_model *m, const hone_backend_port **in, size_t *n_in, const hone_backend_port **out, size_t *n_out,
                     hone_backend_error *e)
{
    if (!m->net) return hone_ort_fail(e, HONE_EBUG, "the model is open as a language model");
    hone_ort_network_signature(m->net, in, n_in, out, n_out);
    return HONE_OK;
}

static int infer(hone_backend_model *m, const hone_backend_value *in, size_t n_in, void (*sink)(void *user, const hone_backend_value *value),
                 void *user, hone_backend_error *e)
{
    if (!m->net) return hone_ort_fail(e, HONE_EBUG, "the model is open as a language model");
    return hone_ort_network_infer(m->net, in, n_in, sink, user, e);
}

__attribute__((visibility("default"))) const hone_backend *hone_backend_entry(void)
{
    static const hone_backend table = {
        .abi = HONE_BACKEND_ABI,
        .name = "onnxruntime",
        .probe = probe,
        .open = open_model,
        .close = close_model,
        .forward = forward,
        .rewind = rewind_to,
        .layers = layers,
        .signature = signature,
        .infer = infer,
    };
    return &table;
}
