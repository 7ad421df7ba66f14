/* llamacpp.c - llama.cpp as a runtime of hone: GGUF files on the CPU and on the devices that this build of ggml has.
 * Written against llama.h of the pinned package (deps/llamacpp.sh); places in it are named beside the code.
 * Choices that matter for what is measured:
 *   weights   mapped (llama.cpp's own default), repacked by ggml for this CPU where it can; not repacked with `exact`
 *   KV cache  f16 on all layers, sliding windows kept whole (swa_full, so that rewind works); f32 with `exact`
 *   attention flash attention where ggml decides so (AUTO); off with `exact`
 *   batch     at most 512 tokens in one graph, or what open asks for */
#include "hone/backend.h"
#include "backends/jinja/render.h"
#include "backends/llamacpp/shim.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { OK = 0, INPUT = 3, UNSUPPORTED = 4, RUNTIME = 5, RESOURCE = 6, BUG = 70 };
enum { BATCH_DEFAULT = 512, EMBED_TOKENS_MAX = 8192 /* in one graph, unless open says a context */ };
enum { OUTPUT_BYTES = 64 << 20 /* logits held at once */, OUTPUT_ROWS_MIN = 32 };

struct hone_backend_model {
    struct llama_model         *model;
    const struct llama_vocab   *vocab;
    struct llama_context       *ctx; /* NULL: vocabulary only */
    struct llama_batch          batch;
    struct llama_context_params params; /* as ctx was made, for the capturing twin */
    uint32_t                    n_batch, n_vocab, n_embd, n_past;
    bool                        embeddings, pooled;
};

/* --- errors --------------------------------------------------------------------------------------------------------- */
static int fail(hone_backend_error *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int fail(hone_backend_error *e, int code, const char *fmt, ...)
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
    if (stat(how->path, &st) != 0) return fail(e, INPUT, "no file '%s'", how->path);
    if (!S_ISREG(st.st_mode)) return fail(e, INPUT, "'%s' is not a regular file", how->path);
    p.vocab_only = how->vocab_only;
    p.use_extra_bufts = !how->exact;
    p.n_gpu_layers = gpu ? 9999 : 0;
    if (!gpu) p.devices = no_devices;
    clear_log();
    m->model = llama_model_load_from_file(how->path, p);
    if (m->model) return OK;
    if (strstr(complaints, "unknown model architecture") || strstr(complaints, "unknown pre-tokenizer") ||
        strstr(complaints, "unknown tokenizer"))
        return fail(e, UNSUPPORTED, "llama.cpp does not know the model of '%s'", how->path);
    if (strstr(complaints, "allocate")) return fail(e, RESOURCE, "llama.cpp has no memory for '%s'", how->path);
    return fail(e, INPUT, "llama.cpp cannot load '%s'", how->path);
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
            return fail(e, RESOURCE, "llama.cpp has no memory for a context of %u tokens", how->context);
        return fail(e, RUNTIME, "llama.cpp cannot make a context of %u tokens", how->context);
    }
    /* llama_get_logits_ith of an encoder gives memory that nobody has written (llama-context.cpp, encode: t_logits is null). */
    if (!how->embeddings && !llama_get_memory(m->ctx) && !llama_model_is_diffusion(m->model))
        return fail(e, UNSUPPORTED, "'%s' is an encoder: it has embeddings but no logits", how->path);
    p.n_ctx = llama_n_ctx(m->ctx);
    m->params = p;
    m->n_batch = llama_n_batch(m->ctx);
    m->embeddings = how->embeddings;
    m->pooled = how->embeddings && llama_pooling_type(m->ctx) != LLAMA_POOLING_TYPE_NONE;
    m->batch = llama_batch_init((int32_t)m->n_batch, 0, 1);
    if (!m->batch.token) return fail(e, RESOURCE, "out of memory for a batch");
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
        return fail(e, UNSUPPORTED, "llama.cpp has no device '%s': known are cpu, gpu, npu and auto", device);
    *gpu = (wants_gpu || any) && have_gpu();
    why[0] = '\0';
    if (wants_gpu && !*gpu) (void)snprintf(why, cap, "this build of llama.cpp has found no GPU");
    if (wants_npu) (void)snprintf(why, cap, "llama.cpp drives no NPU");
    return OK;
}

static int open_on(const hone_backend_open *how, bool gpu, hone_backend_model **out, hone_backend_error *e)
{
    hone_backend_model *m = calloc(1, sizeof *m);
    if (!m) return fail(e, RESOURCE, "out of memory");
    int rc = load_weights(m, how, gpu, e);
    if (rc == OK) {
        m->vocab = llama_model_get_vocab(m->model);
        m->n_vocab = (uint32_t)llama_vocab_n_tokens(m->vocab);
        m->n_embd = how->vocab_only ? 0 : (uint32_t)llama_model_n_embd_out(m->model);
        if (llama_vocab_type(m->vocab) == LLAMA_VOCAB_TYPE_NONE) rc = fail(e, UNSUPPORTED, "'%s' has no tokenizer", how->path);
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
    if (len > INT32_MAX) return fail(e, INPUT, "a text of %zu bytes is too long", len);
    int32_t room = cap > INT32_MAX ? INT32_MAX : (int32_t)cap;
    int32_t got = llama_tokenize(m->vocab, text, (int32_t)len, ids, room, add_special, parse_special);
    if (got == INT32_MIN) return fail(e, INPUT, "a text of %zu bytes gives too many tokens", len);
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
    if (n > INT32_MAX) return fail(e, INPUT, "%zu tokens are too many", n);
    int32_t room = cap > INT32_MAX ? INT32_MAX : (int32_t)cap;
    /* By our own hand: behind a first token that it removes itself, llama_detokenize keeps the space that the tokenizer put there. */
    if (remove_special && n && llama_vocab_get_add_bos(m->vocab) && ids[0] == llama_vocab_bos(m->vocab)) {
        ids++;
        n--;
    }
    if (remove_special && n && llama_vocab_get_add_eos(m->vocab) && ids[n - 1] == llama_vocab_eos(m->vocab)) n--;
    if (llama_vocab_type(m->vocab) == LLAMA_VOCAB_TYPE_BPE) {
        int64_t total = join_pieces(m, ids, (int32_t)n, unparse_special, text, room);
        if (total > INT32_MAX) return fail(e, INPUT, "%zu tokens give too long a text", n);
        *len = (size_t)total;
        return OK;
    }
    int32_t got = llama_detokenize(m->vocab, ids, (int32_t)n, text, room, false, unparse_special);
    if (got == INT32_MIN) return fail(e, INPUT, "%zu tokens give too long a text", n);
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
static void forget_all(hone_backend_model *m, struct llama_context *ctx)
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
    forget_all(m, ctx);
    if (rc == 1) return fail(e, INPUT, "no room in the context of %u tokens for %zu at %u", llama_n_ctx(ctx), n, pos);
    if (strstr(complaints, "allocate")) return fail(e, RESOURCE, "llama.cpp has no memory to evaluate %zu tokens", n);
    return fail(e, RUNTIME, "llama.cpp cannot evaluate %zu tokens at %u (llama_decode gave %d)", n, pos, rc);
}

static int emit_rows(hone_backend_model *m, size_t base, size_t n, const uint8_t *want,
                     void (*row)(void *user, size_t index, const float *values, size_t n_values), void *user, hone_backend_error *e)
{
    if (m->pooled) {
        const float *v = llama_get_embeddings_seq(m->ctx, 0);
        if (!v) return fail(e, RUNTIME, "llama.cpp gives no pooled embedding");
        row(user, base + n - 1, v, m->n_embd);
        return OK;
    }
    for (size_t i = 0; i < n; i++) {
        if (want && !want[i]) continue;
        const float *v = m->embeddings ? llama_get_embeddings_ith(m->ctx, (int32_t)i) : llama_get_logits_ith(m->ctx, (int32_t)i);
        if (!v) return fail(e, RUNTIME, "llama.cpp gives no %s of token %zu", m->embeddings ? "embedding" : "logits", base + i);
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
    if (!m->ctx) return fail(e, BUG, "the model is open for its vocabulary only");
    if (pos == 0) forget_all(m, m->ctx);
    if (pos != m->n_past) return fail(e, BUG, "the cache holds %u tokens, not %u", m->n_past, pos);
    uint32_t n_ctx = llama_n_ctx(m->ctx);
    if (n > n_ctx || pos > n_ctx - n) return fail(e, INPUT, "%zu tokens at %u do not fit the context of %u", n, pos, n_ctx);
    if (m->embeddings && n > m->n_batch) return fail(e, INPUT, "%zu tokens do not fit the batch of %u", n, m->n_batch);
    for (size_t at = 0; at < n;) {
        const uint8_t *w = want ? want + at : NULL;
        size_t         k = m->embeddings ? n : next_piece(m, w, n - at);
        int            rc = decode(m, m->ctx, ids + at, k, pos + (uint32_t)at, w, e);
        if (rc == OK) rc = emit_rows(m, at, k, w, row, user, e);
        if (rc != OK) {
            forget_all(m, m->ctx);
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
    if (!m->ctx) return fail(e, BUG, "the model is open for its vocabulary only");
    if (pos == 0) {
        forget_all(m, m->ctx);
        return OK;
    }
    if (pos > m->n_past) return fail(e, BUG, "the cache holds %u tokens, not %u", m->n_past, pos);
    if (!llama_memory_seq_rm(llama_get_memory(m->ctx), 0, (llama_pos)pos, -1))
        return fail(e, UNSUPPORTED, "the memory of this model cannot forget its last tokens only");
    m->n_past = pos;
    return OK;
}

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
    if (!sums) return fail(e, RESOURCE, "out of memory for the statistics of '%s'", m->name);
    for (size_t i = 0; i < n; i++) sums[i] = (float)m->sum_sq[i];
    sink(user, m->name, sums, (size_t)m->n_mats, (size_t)m->n_cols, m->counts);
    free(sums);
    return OK;
}

/* Evaluates ids in a context of its own, made with p, from position 0 on. */
static int evaluate_aside(hone_backend_model *m, struct llama_context_params p, const int32_t *ids, size_t n, size_t *at, hone_backend_error *e)
{
    clear_log();
    struct llama_context *ctx = llama_init_from_model(m->model, p);
    if (!ctx) return fail(e, RESOURCE, "llama.cpp cannot make a second context of %u tokens", p.n_ctx);
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

static int fits_aside(const hone_backend_model *m, size_t n, hone_backend_error *e)
{
    if (!m->ctx) return fail(e, BUG, "the model is open for its vocabulary only");
    if (n > m->params.n_ctx) return fail(e, INPUT, "%zu tokens do not fit the context of %u", n, m->params.n_ctx);
    if (m->embeddings && n > m->n_batch) return fail(e, INPUT, "%zu tokens do not fit the batch of %u", n, m->n_batch);
    return OK;
}

static int capture(hone_backend_model *m, const int32_t *ids, size_t n,
                   void (*sink)(void *user, const char *name, const float *sum_sq, size_t n_mats, size_t n_cols, const uint64_t *counts),
                   void *user, hone_backend_error *e)
{
    int rc = fits_aside(m, n, e);
    if (rc != OK) return rc;
    /* A context of its own: with a callback the scheduler runs node by node, which the other requests should not pay for. */
    capture_state               c = { .code = OK };
    struct llama_context_params p = m->params;
    size_t                      at = 0;
    p.cb_eval = on_node;
    p.cb_eval_user_data = &c;
    rc = evaluate_aside(m, p, ids, n, &at, e);
    if (c.code != OK) rc = fail(e, c.code, "%s", c.why);
    for (size_t i = 0; i < c.n; i++) {
        if (rc == OK) rc = emit_matrix(&c.list[i], sink, user, e);
        free(c.list[i].name);
        free(c.list[i].sum_sq);
        free(c.list[i].counts);
    }
    free(c.list);
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

static int layers(hone_backend_model *m, const int32_t *ids, size_t n,
                  void (*sink)(void *user, uint32_t layer, const float *values, size_t n, size_t n_embd), void *user, hone_backend_error *e)
{
    int rc = fits_aside(m, n, e);
    if (rc != OK) return rc;
    forget_all(m, m->ctx);
    layer_state s = { .n = n, .n_embd = llama_model_n_embd(m->model), .n_layers = (uint32_t)llama_model_n_layer(m->model) };
    s.values = calloc((size_t)s.n_layers * n, (size_t)s.n_embd * sizeof *s.values);
    s.seen = calloc(s.n_layers, sizeof *s.seen);
    if (!s.values || !s.seen) {
        rc = fail(e, RESOURCE, "out of memory for %zu tokens behind %u layers", n, s.n_layers);
    } else {
        struct llama_context_params p = m->params;
        p.cb_eval = on_layer;
        p.cb_eval_user_data = &s;
        rc = evaluate_aside(m, p, ids, n, &s.at, e);
    }
    if (s.code != OK) rc = fail(e, s.code, "%s", s.why);
    for (uint32_t i = 0; rc == OK && i < s.n_layers; i++)
        if (s.seen[i] != n) rc = fail(e, UNSUPPORTED, "llama.cpp does not name what is behind layer %u of this model", i);
    for (uint32_t i = 0; rc == OK && i < s.n_layers; i++) sink(user, i, s.values + (size_t)i * n * (size_t)s.n_embd, n, (size_t)s.n_embd);
    free(s.values);
    free(s.seen);
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
        .capture = capture,
        .layers = layers,
    };
    return &table;
}
