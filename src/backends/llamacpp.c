/* llamacpp.c - llama.cpp as a runtime of hone: GGUF files on the CPU and on the devices that this build of ggml has.
 * Written against llama.h of the pinned package (deps/llamacpp.sh); places in it are named beside the code.
 * Choices that matter for what is measured:
 *   weights   mapped (llama.cpp's own default), repacked by ggml for this CPU where it can; not repacked with `exact`
 *   KV cache  f16 on all layers, sliding windows kept whole (swa_full, so that rewind works); f32 with `exact`
 *   attention flash attention where ggml decides so (AUTO); off with `exact`
 *   batch     at most 512 tokens in one graph, or what open asks for */
#include "hone/backend.h"
#include "backends/jinja/render.h"
#include "backends/llamacpp/model.h"
#include "backends/llamacpp/shim.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { BATCH_DEFAULT = 512, EMBED_TOKENS_MAX = 8192 /* in one graph, unless open says a context */ };
enum { OUTPUT_BYTES = 64 << 20 /* logits held at once */, OUTPUT_ROWS_MIN = 32 };

/* --- errors --------------------------------------------------------------------------------------------------------- */
int hone_llamacpp_fail(hone_backend_error *e, int code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(e->why, sizeof e->why, fmt, ap);
    va_end(ap);
    return code;
}

/* What llama.cpp complained of since the last clear_log: for telling causes apart.  People see it through stderr, which the parent
 * keeps the end of.  A global, because the logger is one (llama.h, llama_log_set: "the logger state is global"). */
static char complaints[2048];

static void clear_log(void) { complaints[0] = '\0'; }

static void on_log(enum ggml_log_level level, const char *text, void *user)
{
    static bool continues;
    (void)user;
    bool wanted = level == GGML_LOG_LEVEL_ERROR || (level == GGML_LOG_LEVEL_CONT && continues);
    continues = wanted;
    if (!wanted) return;
    (void)fputs(text, stderr);
    size_t have = strlen(complaints);
    (void)snprintf(complaints + have, sizeof complaints - have, "%s", text);
}

static void start_llama(void)
{
    static bool started;
    if (started) return;
    started = true;
    llama_log_set(on_log, NULL);
    llama_backend_init();
}

/* --- what is there ---------------------------------------------------------------------------------------------------- */
static int probe(char *version, size_t version_cap, char *devices, size_t devices_cap, hone_backend_error *e)
{
    (void)e;
    start_llama();
    (void)snprintf(version, version_cap, "%s", llama_version());
    size_t at = 0;
    if (devices_cap) devices[0] = '\0';
    for (size_t i = 0; i < ggml_backend_dev_count() && at < devices_cap; i++) {
        ggml_backend_dev_t dev = ggml_backend_dev_get(i);
        int n = snprintf(devices + at, devices_cap - at, "%s%s: %s", i ? "; " : "", ggml_backend_dev_name(dev), ggml_backend_dev_description(dev));
        if (n > 0) at += (size_t)n;
    }
    return OK;
}

static bool have_gpu(void)
{
    return ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_GPU) || ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_IGPU);
}

/* --- open and close ----------------------------------------------------------------------------------------------------- */
static void close_model(hone_backend_model *m)
{
    if (!m) return;
    if (m->batch.token) llama_batch_free(m->batch);
    if (m->ctx) llama_free(m->ctx);
    if (m->model) llama_model_free(m->model);
    free(m);
}

static int load_weights(hone_backend_model *m, const hone_backend_open *how, bool gpu, hone_backend_error *e)
{
    static ggml_backend_dev_t no_devices[] = { NULL };
    struct llama_model_params p = llama_model_default_params();
    struct stat               st;
    if (stat(how->path, &st) != 0) return hone_llamacpp_fail(e, INPUT, "no file '%s'", how->path);
    if (!S_ISREG(st.st_mode)) return hone_llamacpp_fail(e, INPUT, "'%s' is not a regular file", how->path);
    p.vocab_only = how->vocab_only;
    p.use_extra_bufts = !how->exact;
    p.n_gpu_layers = gpu ? 9999 : 0;
    if (!gpu) p.devices = no_devices;
    clear_log();
    m->model = llama_model_load_from_file(how->path, p);
    if (m->model) return OK;
    if (strstr(complaints, "unknown model architecture") || strstr(complaints, "unknown pre-tokenizer") ||
        strstr(complaints, "unknown tokenizer"))
        return hone_llamacpp_fail(e, UNSUPPORTED, "llama.cpp does not know the model of '%s'", how->path);
    if (strstr(complaints, "allocate")) return hone_llamacpp_fail(e, RESOURCE, "llama.cpp has no memory for '%s'", how->path);
    return hone_llamacpp_fail(e, INPUT, "llama.cpp cannot load '%s'", how->path);
}

static int make_context(hone_backend_model *m, const hone_backend_open *how, hone_backend_error *e)
{
    struct llama_context_params p = llama_context_default_params();
    p.n_ctx = how->context;
    p.n_batch = how->batch ? how->batch : BATCH_DEFAULT;
    if (how->embeddings) {
        /* Pooling and attention in both directions want the whole text in one graph. */
        uint32_t all = how->context ? how->context : (uint32_t)llama_model_n_ctx_train(m->model);
        if (!how->context && all > EMBED_TOKENS_MAX) all = p.n_ctx = EMBED_TOKENS_MAX;
        if (p.n_batch < all) p.n_batch = all;
        p.embeddings = true;
        p.pooling_type = how->hidden ? LLAMA_POOLING_TYPE_NONE : LLAMA_POOLING_TYPE_UNSPECIFIED;
    }
    p.n_ubatch = p.n_batch;
    p.n_seq_max = 1;
    p.n_threads = p.n_threads_batch = (int32_t)(how->threads ? how->threads : 1);
    p.no_perf = false;
    if (how->exact) {
        p.type_k = p.type_v = GGML_TYPE_F32;
        p.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    }
    clear_log();
    m->ctx = llama_init_from_model(m->model, p);
    if (!m->ctx) {
        if (strstr(complaints, "allocate") || strstr(complaints, "buffer"))
            return hone_llamacpp_fail(e, RESOURCE, "llama.cpp has no memory for a context of %u tokens", how->context);
        return hone_llamacpp_fail(e, RUNTIME, "llama.cpp cannot make a context of %u tokens", how->context);
    }
    /* llama_get_logits_ith of an encoder gives memory that nobody has written (llama-context.cpp, encode: t_logits is null). */
    if (!how->embeddings && !llama_get_memory(m->ctx) && !llama_model_is_diffusion(m->model))
        return hone_llamacpp_fail(e, UNSUPPORTED, "'%s' is an encoder: it has embeddings but no logits", how->path);
    p.n_ctx = llama_n_ctx(m->ctx);
    m->params = p;
    m->n_batch = llama_n_batch(m->ctx);
    m->embeddings = how->embeddings;
    m->pooled = how->embeddings && llama_pooling_type(m->ctx) != LLAMA_POOLING_TYPE_NONE;
    m->batch = llama_batch_init((int32_t)m->n_batch, 0, 1);
    if (!m->batch.token) return hone_llamacpp_fail(e, RESOURCE, "out of memory for a batch");
    return OK;
}

static void fill_info(const hone_backend_model *m, bool gpu, hone_backend_info *info)
{
    info->n_vocab = m->n_vocab;
    info->n_embd = m->n_embd;
    info->n_ctx_train = (uint32_t)llama_model_n_ctx_train(m->model);
    info->n_params = llama_model_n_params(m->model);
    info->bos = llama_vocab_bos(m->vocab);
    info->eos = llama_vocab_eos(m->vocab);
    info->eot = llama_vocab_eot(m->vocab);
    info->add_bos = llama_vocab_get_add_bos(m->vocab);
    info->add_eos = llama_vocab_get_add_eos(m->vocab);
    info->text = true;
    (void)snprintf(info->runtime, sizeof info->runtime, "llama.cpp");
    (void)snprintf(info->version, sizeof info->version, "%s", llama_version());
    (void)snprintf(info->device, sizeof info->device, "%s", gpu ? "gpu" : "cpu");
    (void)llama_model_desc(m->model, info->description, sizeof info->description);
    if (!m->ctx) return;
    hone_llamacpp_memory mem = hone_llamacpp_memory_of(m->ctx);
    info->n_ctx = llama_n_ctx(m->ctx);
    /* Each tensor once: the runtime's own sum counts a mapped file and its repacked copy as two. */
    info->weights_bytes = llama_model_size(m->model);
    info->kv_bytes = mem.context;
    info->compute_bytes = mem.compute;
}

/* Whether to use a GPU.  why: what stands in the way of the device that was asked for, "" when nothing does. */
static int choose_device(const char *device, bool *gpu, char *why, size_t cap, hone_backend_error *e)
{
    bool wants_gpu = strcmp(device, "gpu") == 0, wants_npu = strcmp(device, "npu") == 0, any = strcmp(device, "auto") == 0;
    if (!wants_gpu && !wants_npu && !any && strcmp(device, "cpu") != 0)
        return hone_llamacpp_fail(e, UNSUPPORTED, "llama.cpp has no device '%s': known are cpu, gpu, npu and auto", device);
    *gpu = (wants_gpu || any) && have_gpu();
    why[0] = '\0';
    if (wants_gpu && !*gpu) (void)snprintf(why, cap, "this build of llama.cpp has found no GPU");
    if (wants_npu) (void)snprintf(why, cap, "llama.cpp drives no NPU");
    return OK;
}

static int open_on(const hone_backend_open *how, bool gpu, hone_backend_model **out, hone_backend_error *e)
{
    hone_backend_model *m = calloc(1, sizeof *m);
    if (!m) return hone_llamacpp_fail(e, RESOURCE, "out of memory");
    int rc = load_weights(m, how, gpu, e);
    if (rc == OK) {
        m->vocab = llama_model_get_vocab(m->model);
        m->n_vocab = (uint32_t)llama_vocab_n_tokens(m->vocab);
        m->n_embd = how->vocab_only ? 0 : (uint32_t)llama_model_n_embd_out(m->model);
        if (llama_vocab_type(m->vocab) == LLAMA_VOCAB_TYPE_NONE) rc = hone_llamacpp_fail(e, UNSUPPORTED, "'%s' has no tokenizer", how->path);
    }
    if (rc == OK && !how->vocab_only) rc = make_context(m, how, e);
    if (rc != OK) {
        close_model(m);
        return rc;
    }
    *out = m;
    return OK;
}

static int open_model(const hone_backend_open *how, hone_backend_model **out, hone_backend_info *info, hone_backend_error *e)
{
    start_llama();
    bool gpu = false;
    char why[sizeof info->fallback];
    int  rc = choose_device(how->device, &gpu, why, sizeof why, e);
    if (rc == OK) rc = open_on(how, gpu, out, e);
    if (rc >= RUNTIME && gpu) { /* the GPU's driver or memory: the processor may still do */
        (void)snprintf(why, sizeof why, "the GPU did not: %s", e->why);
        gpu = false;
        rc = open_on(how, gpu, out, e);
    }
    if (rc != OK) return rc;
    fill_info(*out, gpu, info);
    (void)snprintf(info->fallback, sizeof info->fallback, "%s", why);
    return OK;
}

/* --- text ------------------------------------------------------------------------------------------------------------------ */
static int tokenize(hone_backend_model *m, const char *text, size_t len, bool add_special, bool parse_special, int32_t *ids, size_t cap,
                    size_t *n, hone_backend_error *e)
{
    if (len > INT32_MAX) return hone_llamacpp_fail(e, INPUT, "a text of %zu bytes is too long", len);
    int32_t room = cap > INT32_MAX ? INT32_MAX : (int32_t)cap;
    int32_t got = llama_tokenize(m->vocab, text, (int32_t)len, ids, room, add_special, parse_special);
    if (got == INT32_MIN) return hone_llamacpp_fail(e, INPUT, "a text of %zu bytes gives too many tokens", len);
    *n = (size_t)(got < 0 ? -got : got);
    return OK;
}

/* Joins the pieces, as a server does that streams them: llama_detokenize would remove spaces before punctuation for byte-level BPE
 * (llama-vocab.cpp, clean_spaces), which is true to some tokenizers only and to no stream. */
static int64_t join_pieces(const hone_backend_model *m, const int32_t *ids, int32_t n, bool special, char *text, int32_t room)
{
    char    prefix[8] = "", none[1];
    int64_t total = 0;
    (void)llama_model_meta_val_str(m->model, "tokenizer.ggml.add_space_prefix", prefix, sizeof prefix);
    for (int32_t i = 0; i < n; i++) {
        int32_t left = total < room ? room - (int32_t)total : 0;
        int32_t got = llama_token_to_piece(m->vocab, ids[i], left ? text + total : none, left, i == 0 && strcmp(prefix, "true") == 0, special);
        total += got < 0 ? -(int64_t)got : got;
    }
    return total;
}

static int detokenize(hone_backend_model *m, const int32_t *ids, size_t n, bool remove_special, bool unparse_special, char *text, size_t cap,
                      size_t *len, hone_backend_error *e)
{
    if (n > INT32_MAX) return hone_llamacpp_fail(e, INPUT, "%zu tokens are too many", n);
    int32_t room = cap > INT32_MAX ? INT32_MAX : (int32_t)cap;
    /* By our own hand: behind a first token that it removes itself, llama_detokenize keeps the space that the tokenizer put there. */
    if (remove_special && n && llama_vocab_get_add_bos(m->vocab) && ids[0] == llama_vocab_bos(m->vocab)) {
        ids++;
        n--;
    }
    if (remove_special && n && llama_vocab_get_add_eos(m->vocab) && ids[n - 1] == llama_vocab_eos(m->vocab)) n--;
    if (llama_vocab_type(m->vocab) == LLAMA_VOCAB_TYPE_BPE) {
        int64_t total = join_pieces(m, ids, (int32_t)n, unparse_special, text, room);
        if (total > INT32_MAX) return hone_llamacpp_fail(e, INPUT, "%zu tokens give too long a text", n);
        *len = (size_t)total;
        return OK;
    }
    int32_t got = llama_detokenize(m->vocab, ids, (int32_t)n, text, room, false, unparse_special);
    if (got == INT32_MIN) return hone_llamacpp_fail(e, INPUT, "%zu tokens give too long a text", n);
    *len = (size_t)(got < 0 ? -got : got);
    return OK;
}

/* The text of a special token, or NULL when the model has none. */
static const char *token_text(const hone_backend_model *m, llama_token id, char *buf, size_t cap)
{
    if (id < 0) return NULL;
    int32_t n = llama_token_to_piece(m->vocab, id, buf, (int32_t)cap - 1, 0, true);
    if (n < 0) return NULL;
    buf[n] = '\0';
    return buf;
}

static int render(hone_backend_model *m, const char *messages, const char *options, char *text, size_t cap, size_t *len, hone_backend_error *e)
{
    char bos[256], eos[256];
    return hone_jinja_render(llama_model_chat_template(m->model, NULL), messages, options,
                             token_text(m, llama_vocab_bos(m->vocab), bos, sizeof bos),
                             token_text(m, llama_vocab_eos(m->vocab), eos, sizeof eos), text, cap, len, e->why, sizeof e->why);
}

/* --- evaluation -------------------------------------------------------------------------------------------------------------- */
void hone_llamacpp_forget(hone_backend_model *m, struct llama_context *ctx)
{
    llama_memory_t mem = llama_get_memory(ctx);
    if (mem) llama_memory_clear(mem, false); /* an encoder has none */
    if (ctx == m->ctx) m->n_past = 0;
}

/* Evaluates ids[0..n) at pos in one batch; want: NULL for all. */
static int decode(hone_backend_model *m, struct llama_context *ctx, const int32_t *ids, size_t n, uint32_t pos, const uint8_t *want,
                  hone_backend_error *e)
{
    struct llama_batch *b = &m->batch;
    b->n_tokens = (int32_t)n;
    for (size_t i = 0; i < n; i++) {
        b->token[i] = ids[i];
        b->pos[i] = (llama_pos)(pos + i);
        b->n_seq_id[i] = 1;
        b->seq_id[i][0] = 0;
        b->logits[i] = !want || want[i];
    }
    clear_log();
    int32_t rc = llama_decode(ctx, *b);
    if (rc == 0) return OK;
    hone_llamacpp_forget(m, ctx);
    if (rc == 1) return hone_llamacpp_fail(e, INPUT, "no room in the context of %u tokens for %zu at %u", llama_n_ctx(ctx), n, pos);
    if (strstr(complaints, "allocate")) return hone_llamacpp_fail(e, RESOURCE, "llama.cpp has no memory to evaluate %zu tokens", n);
    return hone_llamacpp_fail(e, RUNTIME, "llama.cpp cannot evaluate %zu tokens at %u (llama_decode gave %d)", n, pos, rc);
}

static int emit_rows(hone_backend_model *m, size_t base, size_t n, const uint8_t *want,
                     void (*row)(void *user, size_t index, const float *values, size_t n_values), void *user, hone_backend_error *e)
{
    if (m->pooled) {
        const float *v = llama_get_embeddings_seq(m->ctx, 0);
        if (!v) return hone_llamacpp_fail(e, RUNTIME, "llama.cpp gives no pooled embedding");
        row(user, base + n - 1, v, m->n_embd);
        return OK;
    }
    for (size_t i = 0; i < n; i++) {
        if (want && !want[i]) continue;
        const float *v = m->embeddings ? llama_get_embeddings_ith(m->ctx, (int32_t)i) : llama_get_logits_ith(m->ctx, (int32_t)i);
        if (!v) return hone_llamacpp_fail(e, RUNTIME, "llama.cpp gives no %s of token %zu", m->embeddings ? "embedding" : "logits", base + i);
        row(user, base + i, v, m->embeddings ? m->n_embd : m->n_vocab);
    }
    return OK;
}

/* How many of the n tokens go into the next graph: at most a batch, and at most as many rows of logits as OUTPUT_BYTES holds. */
static size_t next_piece(const hone_backend_model *m, const uint8_t *want, size_t n)
{
    size_t rows = OUTPUT_BYTES / sizeof(float) / m->n_vocab, took = 0, i;
    if (rows < OUTPUT_ROWS_MIN) rows = OUTPUT_ROWS_MIN;
    for (i = 0; i < n && i < m->n_batch; i++) {
        if ((!want || want[i]) && took++ == rows) break;
    }
    return i;
}

static int forward(hone_backend_model *m, const int32_t *ids, size_t n, uint32_t pos, const uint8_t *want,
                   void (*row)(void *user, size_t index, const float *values, size_t n_values), void *user, hone_backend_error *e)
{
    if (!m->ctx) return hone_llamacpp_fail(e, BUG, "the model is open for its vocabulary only");
    if (pos == 0) hone_llamacpp_forget(m, m->ctx);
    if (pos != m->n_past) return hone_llamacpp_fail(e, BUG, "the cache holds %u tokens, not %u", m->n_past, pos);
    uint32_t n_ctx = llama_n_ctx(m->ctx);
    if (n > n_ctx || pos > n_ctx - n) return hone_llamacpp_fail(e, INPUT, "%zu tokens at %u do not fit the context of %u", n, pos, n_ctx);
    if (m->embeddings && n > m->n_batch) return hone_llamacpp_fail(e, INPUT, "%zu tokens do not fit the batch of %u", n, m->n_batch);
    for (size_t at = 0; at < n;) {
        const uint8_t *w = want ? want + at : NULL;
        size_t         k = m->embeddings ? n : next_piece(m, w, n - at);
        int            rc = decode(m, m->ctx, ids + at, k, pos + (uint32_t)at, w, e);
        if (rc == OK) rc = emit_rows(m, at, k, w, row, user, e);
        if (rc != OK) {
            hone_llamacpp_forget(m, m->ctx);
            return rc;
        }
        at += k;
        m->n_past += (uint32_t)k;
    }
    if (m->embeddings && !llama_get_memory(m->ctx)) m->n_past = 0; /* nothing is kept */
    /* Without an output llama_decode returns before the work is done; the caller's clock wants it done. */
    llama_synchronize(m->ctx);
    return OK;
}

static int rewind_to(hone_backend_model *m, uint32_t pos, hone_backend_error *e)
{
    if (!m->ctx) return hone_llamacpp_fail(e, BUG, "the model is open for its vocabulary only");
    if (pos == 0) {
        hone_llamacpp_forget(m, m->ctx);
        return OK;
    }
    if (pos > m->n_past) return hone_llamacpp_fail(e, BUG, "the cache holds %u tokens, not %u", m->n_past, pos);
    if (!llama_memory_seq_rm(llama_get_memory(m->ctx), 0, (llama_pos)pos, -1))
        return hone_llamacpp_fail(e, UNSUPPORTED, "the memory of this model cannot forget its last tokens only");
    m->n_past = pos;
    return OK;
}

/* --- for watch.c -------------------------------------------------------------------------------------------------- */
int hone_llamacpp_aside(hone_backend_model *m, struct llama_context_params p, const int32_t *ids, size_t n, size_t *at, hone_backend_error *e)
{
    if (!m->ctx) return hone_llamacpp_fail(e, BUG, "the model is open for its vocabulary only");
    if (n > m->params.n_ctx) return hone_llamacpp_fail(e, INPUT, "%zu tokens do not fit the context of %u", n, m->params.n_ctx);
    if (m->embeddings && n > m->n_batch) return hone_llamacpp_fail(e, INPUT, "%zu tokens do not fit the batch of %u", n, m->n_batch);
    clear_log();
    struct llama_context *ctx = llama_init_from_model(m->model, p);
    if (!ctx) return hone_llamacpp_fail(e, RESOURCE, "llama.cpp cannot make a second context of %u tokens", p.n_ctx);
    int rc = OK;
    for (*at = 0; *at < n && rc == OK;) {
        /* All rows are asked for: else the last layer is computed for those only that are (llama-graph.cpp, inp_out_ids). */
        size_t k = m->embeddings ? n : next_piece(m, NULL, n - *at);
        rc = decode(m, ctx, ids + *at, k, (uint32_t)*at, NULL, e);
        *at += k;
    }
    llama_free(ctx);
    return rc;
}

__attribute__((visibility("default"))) const hone_backend *hone_backend_entry(void)
{
    static const hone_backend table = {
        .abi = HONE_BACKEND_ABI,
        .name = "llamacpp",
        .probe = probe,
        .open = open_model,
        .close = close_model,
        .tokenize = tokenize,
        .detokenize = detokenize,
        .forward = forward,
        .rewind = rewind_to,
        .render = render,
        .capture = hone_llamacpp_capture,
        .layers = hone_llamacpp_layers,
        .inputs = hone_llamacpp_inputs,
    };
    return &table;
}
