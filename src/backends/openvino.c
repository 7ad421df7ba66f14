/* openvino.c - OpenVINO as a runtime of hone: IR (openvino_model.xml and .bin) on the processor and on the devices OpenVINO finds.
 * An artefact is a folder as optimum-intel and openvino-genai lay it out, or an .xml file in one.
 * Choices that matter for what is measured:
 *   precision  the runtime's own: what the artefact's runtime_options say, else the device's default (on a processor f32, or bf16 where
 *              it has the instructions; activations of compressed weights quantised in groups, KV cache u8); all f32 with `exact`
 *   logits     of the wanted rows only, as openvino-genai computes them
 *   batch      at most 2048 tokens in one call, or what open asks for
 *   threads    those asked for, not pinned, one stream */
#include "arch/arch.h"
#include "backends/jinja/render.h"
#include "backends/openvino/shim.h"
#include "base/file.h"
#include "base/json.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { OK = 0, INPUT = 3, UNSUPPORTED = 4, RUNTIME = 5, RESOURCE = 6, BUG = 70 };
enum { BATCH_DEFAULT = 2048, CONTEXT_DEFAULT = 4096 /* where the folder does not say */, PATH_CAP = 4096 };
enum { OUTPUT_BYTES = 64 << 20 /* logits held at once */, OUTPUT_ROWS_MIN = 32 };

struct hone_backend_model {
    hone_ovrt_model *model; /* NULL: vocabulary only */
    hone_ovrt_facts  facts;
    hone_ovrt_kind   kind;
    hone_pooling     pooling; /* done here, over the rows the graph gives */
    bool             pooled;
    hone_ovrt_text  *text; /* NULL: no tokenizer in the folder */
    char            *template, *bos_text, *eos_text; /* NULL: none */
    uint32_t         n_ctx, n_batch, n_past, width; /* width: of sum */
    int32_t         *past;  /* [n_ctx] the tokens that are remembered, for states that cannot be cut */
    int64_t         *rows;  /* [n_batch] */
    float           *sum;   /* [width] of pooling */
    hone_ovrt_net   *net;   /* opened as a network: nothing of the above */
};

typedef struct folder { /* of one artefact */
    char    dir[PATH_CAP], xml[PATH_CAP];
    json_t *config, *generation, *tokenizer; /* config.json, generation_config.json, tokenizer_config.json; NULL: not there */
} folder;

static int fail(hone_backend_error *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int fail(hone_backend_error *e, int code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(e->why, sizeof e->why, fmt, ap);
    va_end(ap);
    return code;
}

static int fail_as(hone_backend_error *e, const hone_err *err) { return fail(e, (int)err->code, "%s", err->cause); }

static int probe(char *version, size_t version_cap, char *devices, size_t devices_cap, hone_backend_error *e)
{
    return hone_ovrt_probe(version, version_cap, devices, devices_cap, e);
}

/* --- the folder ------------------------------------------------------------------------------------------------------- */
static bool join(char *out, const char *dir, const char *name) { return snprintf(out, PATH_CAP, "%s/%s", dir, name) < PATH_CAP; }

static int locate(folder *f, const char *path, hone_backend_error *e)
{
    struct stat st;
    size_t      n = strlen(path);
    if (n + 64 > PATH_CAP) return fail(e, INPUT, "the path of %zu bytes is too long", n);
    if (stat(path, &st) != 0) return fail(e, INPUT, "no file '%s'", path);
    if (S_ISDIR(st.st_mode)) {
        (void)snprintf(f->dir, sizeof f->dir, "%s", path);
        (void)join(f->xml, path, "openvino_model.xml");
        if (!hone_file_exists(f->xml)) return fail(e, INPUT, "there is no openvino_model.xml in '%s'", path);
        return OK;
    }
    if (n < 5 || strcmp(path + n - 4, ".xml") != 0) return fail(e, INPUT, "'%s' is neither a folder nor an .xml file", path);
    const char *slash = strrchr(path, '/');
    (void)snprintf(f->xml, sizeof f->xml, "%s", path);
    (void)snprintf(f->dir, sizeof f->dir, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
    return OK;
}

static int read_small(folder *f, const char *name, json_t **out, hone_backend_error *e)
{
    char     path[PATH_CAP];
    hone_err err = { 0 };
    if (!join(path, f->dir, name) || !hone_file_exists(path)) return OK;
    if (hone_json_load(path, out, &err) != HONE_OK) return fail_as(e, &err);
    return OK;
}

static void folder_release(folder *f)
{
    json_decref(f->config);
    json_decref(f->generation);
    json_decref(f->tokenizer);
}

static int folder_open(folder *f, const char *path, hone_backend_error *e)
{
    int rc = locate(f, path, e);
    if (rc == OK) rc = read_small(f, "config.json", &f->config, e);
    if (rc == OK) rc = read_small(f, "generation_config.json", &f->generation, e);
    if (rc == OK) rc = read_small(f, "tokenizer_config.json", &f->tokenizer, e);
    return rc;
}

/* A number of config.json by the first of its names (NULL at the end), 0 when it is not said. */
static uint32_t config_number(const folder *f, const char *const *names)
{
    const json_t *all[] = { f->config, json_object_get(f->config, "text_config") };
    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; names[i]; i++) {
            json_int_t v = json_integer_value(json_object_get(all[k], names[i]));
            if (v > 0 && v <= INT32_MAX) return (uint32_t)v;
        }
    return 0;
}

/* --- text ------------------------------------------------------------------------------------------------------------------ */
static int tokenize(hone_backend_model *m, const char *text, size_t len, bool add_special, bool parse_special, int32_t *ids, size_t cap,
                    size_t *n, hone_backend_error *e)
{
    const int64_t *got = NULL;
    if (!m->text) return fail(e, UNSUPPORTED, "there is no openvino_tokenizer.xml beside the model");
    int rc = hone_ovrt_tokenize(m->text, text, len, add_special, parse_special, &got, n, e);
    if (rc != OK || *n > cap) return rc;
    for (size_t i = 0; i < *n; i++) ids[i] = (int32_t)got[i];
    return OK;
}

/* What stands around a text is left out with all other control tokens; the detokenizer knows of no other way. */
static int detokenize(hone_backend_model *m, const int32_t *ids, size_t n, bool remove_special, bool unparse_special, char *text, size_t cap,
                      size_t *len, hone_backend_error *e)
{
    const char *got = NULL;
    if (!m->text) return fail(e, UNSUPPORTED, "there is no openvino_detokenizer.xml beside the model");
    int rc = hone_ovrt_detokenize(m->text, ids, n, unparse_special && !remove_special, &got, len, e);
    if (rc == OK && *len <= cap && *len) memcpy(text, got, *len);
    return rc;
}

static int render(hone_backend_model *m, const char *messages, const char *options, char *text, size_t cap, size_t *len, hone_backend_error *e)
{
    return hone_jinja_render(m->template, messages, options, m->bos_text, m->eos_text, text, cap, len, e->why, sizeof e->why);
}

static int copy(char **out, const char *s, hone_backend_error *e)
{
    if (!s) return OK;
    *out = strdup(s);
    return *out ? OK : fail(e, RESOURCE, "out of memory");
}

/* chat_template.jinja, tokenizer_config.json, the tokenizer's rt_info: in this order, as transformers and openvino-genai have it. */
static int find_template(hone_backend_model *m, const folder *f, hone_backend_error *e)
{
    char          path[PATH_CAP];
    hone_err      err = { 0 };
    const json_t *v = json_object_get(f->tokenizer, "chat_template"), *item;
    size_t        i;
    if (join(path, f->dir, "chat_template.jinja") && hone_file_exists(path)) {
        hone_arena a = { 0 };
        hone_bytes b = { 0 };
        int        rc = hone_file_slurp(path, 16u << 20, &a, &b, &err) == HONE_OK ? OK : fail_as(e, &err);
        if (rc == OK && !(m->template = strndup((const char *)b.ptr, b.len))) rc = fail(e, RESOURCE, "out of memory");
        hone_arena_release(&a);
        return rc;
    }
    if (json_is_string(v)) return copy(&m->template, json_string_value(v), e);
    json_array_foreach(v, i, item) {
        const char *name = json_string_value(json_object_get(item, "name"));
        if (name && strcmp(name, "default") == 0) return copy(&m->template, json_string_value(json_object_get(item, "template")), e);
    }
    return m->text ? copy(&m->template, hone_ovrt_text_info(m->text, "chat_template"), e) : OK;
}

/* As the template calls it: the name in tokenizer_config.json, or, where that file is missing, what the id is written as. */
static int find_name(hone_backend_model *m, const folder *f, const char *key, int32_t id, char **out, hone_backend_error *e)
{
    const json_t *v = json_object_get(f->tokenizer, key);
    const char   *text = NULL;
    size_t        len = 0;
    if (json_is_object(v)) v = json_object_get(v, "content");
    if (f->tokenizer) return copy(out, json_string_value(v), e);
    if (!m->text || id < 0) return OK;
    int rc = hone_ovrt_detokenize(m->text, &id, 1, true, &text, &len, e);
    if (rc == OK && !(*out = strndup(text, len))) rc = fail(e, RESOURCE, "out of memory");
    return rc;
}

/* key from the tokenizer's rt_info, generation_config.json, config.json; -1: nobody says.  A list gives its first. */
static int32_t find_id(const hone_backend_model *m, const folder *f, const char *key)
{
    const char   *s = m->text ? hone_ovrt_text_info(m->text, key) : NULL;
    const json_t *all[] = { json_object_get(f->generation, key), json_object_get(f->config, key) };
    char         *end = NULL;
    long          v = s ? strtol(s, &end, 10) : -1;
    if (s && end != s && v >= 0 && v <= INT32_MAX) return (int32_t)v;
    for (size_t i = 0; i < 2; i++) {
        const json_t *j = json_is_array(all[i]) ? json_array_get(all[i], 0) : all[i];
        if (json_is_integer(j) && json_integer_value(j) >= 0 && json_integer_value(j) <= INT32_MAX) return (int32_t)json_integer_value(j);
    }
    return -1;
}

/* The first other token that generation_config.json lets end a text. */
static int32_t find_eot(const folder *f, int32_t eos)
{
    const json_t *list = json_object_get(f->generation, "eos_token_id"), *v;
    size_t        i;
    json_array_foreach(list, i, v)
        if (json_is_integer(v) && json_integer_value(v) >= 0 && json_integer_value(v) <= INT32_MAX && json_integer_value(v) != eos)
            return (int32_t)json_integer_value(v);
    return -1;
}

/* What is put around a text is what stands around none. */
static int find_around(hone_backend_model *m, hone_backend_info *info, hone_backend_error *e)
{
    const int64_t *ids = NULL;
    size_t         bare = 0, n = 0;
    int            rc = hone_ovrt_tokenize(m->text, "", 0, false, true, &ids, &bare, e);
    if (rc == OK) rc = hone_ovrt_tokenize(m->text, "", 0, true, true, &ids, &n, e);
    if (rc != OK || n <= bare) return rc;
    info->add_bos = ids[0] == info->bos;
    info->add_eos = ids[n - 1] == info->eos && (n - bare > 1 || !info->add_bos);
    return OK;
}

static int open_text(hone_backend_model *m, const folder *f, hone_backend_info *info, hone_backend_error *e)
{
    char tokenizer[PATH_CAP], detokenizer[PATH_CAP];
    int  rc = OK;
    if (join(tokenizer, f->dir, "openvino_tokenizer.xml") && hone_file_exists(tokenizer) && join(detokenizer, f->dir, "openvino_detokenizer.xml") &&
        hone_file_exists(detokenizer))
        rc = hone_ovrt_text_open(tokenizer, detokenizer, &m->text, e);
    info->bos = find_id(m, f, "bos_token_id");
    info->eos = find_id(m, f, "eos_token_id");
    info->eot = find_eot(f, info->eos);
    if (rc == OK && m->text) rc = find_around(m, info, e);
    if (rc == OK) rc = find_template(m, f, e);
    if (rc == OK) rc = find_name(m, f, "bos_token", info->bos, &m->bos_text, e);
    if (rc == OK) rc = find_name(m, f, "eos_token", info->eos, &m->eos_text, e);
    info->text = m->text && hone_jinja_here();
    return rc;
}

/* --- open and close ----------------------------------------------------------------------------------------------------- */
static void close_model(hone_backend_model *m)
{
    if (!m) return;
    hone_ovrt_net_free(m->net);
    hone_ovrt_free(m->model);
    hone_ovrt_text_free(m->text);
    free(m->template);
    free(m->bos_text);
    free(m->eos_text);
    free(m->past);
    free(m->rows);
    free(m->sum);
    free(m);
}

/* How sentence-transformers says that this folder pools. */
static int find_pooling(hone_backend_model *m, const folder *f, hone_backend_error *e)
{
    char       path[PATH_CAP];
    json_t    *doc = NULL;
    hone_err   err = { 0 };
    hone_facts facts = { .pooling = HONE_POOL_NONE };
    if (!join(path, f->dir, "1_Pooling/config.json") || !hone_file_exists(path)) return OK;
    hone_code code = hone_json_load(path, &doc, &err);
    if (code == HONE_OK) code = hone_arch_pooling(doc, NULL, &facts, &err);
    json_decref(doc);
    m->pooling = facts.pooling;
    return code == HONE_OK ? OK : fail_as(e, &err);
}

static int choose_kind(hone_backend_model *m, const hone_backend_open *how, const folder *f, hone_backend_error *e)
{
    int rc = OK;
    m->kind = HONE_OVRT_LOGITS;
    if (!how->embeddings) {
        if (!m->facts.logits) return fail(e, UNSUPPORTED, "'%s' is an encoder: it has embeddings but no logits", how->path);
        return OK;
    }
    m->kind = !how->hidden && m->facts.pooled ? HONE_OVRT_POOLED : HONE_OVRT_HIDDEN;
    if (m->kind == HONE_OVRT_HIDDEN && !m->facts.hidden) return fail(e, UNSUPPORTED, "'%s' does not show its hidden states", how->path);
    if (m->kind == HONE_OVRT_HIDDEN && !how->hidden) rc = find_pooling(m, f, e);
    m->pooled = m->kind == HONE_OVRT_POOLED || m->pooling != HONE_POOL_NONE;
    return rc;
}

/* What remembers nothing, and what is averaged, wants the whole text in one call. */
static bool in_pieces(const hone_backend_model *m) { return m->facts.cached && !m->pooled; }

static int load(hone_backend_model *m, const hone_backend_open *how, const folder *f, hone_backend_info *info, hone_backend_error *e)
{
    static const char *const context_names[] = { "max_position_embeddings", "n_positions", "n_ctx", "max_sequence_length", "seq_length", NULL };
    static const char *const vocab_names[] = { "vocab_size", NULL }, *const width_names[] = { "hidden_size", "n_embd", "d_model", NULL };
    int                      rc = hone_ovrt_read(f->xml, &m->model, &m->facts, e);
    if (rc == OK && !how->vocab_only) rc = choose_kind(m, how, f, e);
    if (rc != OK) return rc;
    info->n_ctx_train = config_number(f, context_names);
    info->n_vocab = m->facts.n_vocab ? m->facts.n_vocab : config_number(f, vocab_names);
    info->n_embd = m->facts.width ? m->facts.width : config_number(f, width_names);
    if (info->n_vocab == 0) return fail(e, INPUT, "neither '%s' nor config.json beside it says how many tokens there are", f->xml);
    (void)snprintf(info->runtime, sizeof info->runtime, "OpenVINO");
    m->n_ctx = info->n_ctx = how->context ? how->context : info->n_ctx_train ? info->n_ctx_train : CONTEXT_DEFAULT;
    if (how->vocab_only) {
        hone_ovrt_free(m->model);
        m->model = NULL;
        (void)snprintf(info->device, sizeof info->device, "cpu");
        return hone_ovrt_probe(info->version, sizeof info->version, (char[1]){ "" }, 1, e);
    }
    if (info->n_embd == 0) return fail(e, INPUT, "neither '%s' nor config.json beside it says how wide the model is", f->xml);
    info->weights_bytes = m->facts.weights_bytes;
    m->width = info->n_embd;
    m->n_batch = !in_pieces(m) ? m->n_ctx : how->batch ? how->batch : BATCH_DEFAULT;
    m->past = malloc(m->n_ctx * sizeof *m->past);
    m->rows = malloc(m->n_batch * sizeof *m->rows);
    m->sum = malloc(info->n_embd * sizeof *m->sum);
    if (!m->past || !m->rows || !m->sum) return fail(e, RESOURCE, "out of memory for a context of %u tokens", m->n_ctx);
    hone_ovrt_how to = { .kind = m->kind, .device = how->device, .threads = how->threads, .exact = how->exact };
    return hone_ovrt_compile(m->model, &to, info, e);
}

static int open_model(const hone_backend_open *how, hone_backend_model **out, hone_backend_info *info, hone_backend_error *e)
{
    static const char *const devices[] = { "cpu", "gpu", "npu", "auto" };
    bool                     known = false;
    folder                   f = { .dir = "" };
    for (size_t i = 0; i < 4; i++) known |= strcmp(how->device, devices[i]) == 0;
    if (!known) return fail(e, UNSUPPORTED, "OpenVINO has no device '%s'", how->device);
    hone_backend_model *m = calloc(1, sizeof *m);
    if (!m) return fail(e, RESOURCE, "out of memory");
    int rc = how->graph ? hone_ovrt_net_open(how, &m->net, info, e) : folder_open(&f, how->path, e);
    if (rc == OK && how->graph) {
        (void)snprintf(info->runtime, sizeof info->runtime, "OpenVINO");
        *out = m;
        return OK;
    }
    if (rc == OK) rc = load(m, how, &f, info, e);
    if (rc == OK) rc = open_text(m, &f, info, e);
    if (rc == OK && how->vocab_only && !info->text) rc = fail(e, UNSUPPORTED, "there is no openvino_tokenizer.xml beside '%s'", how->path);
    folder_release(&f);
    if (rc != OK) {
        close_model(m);
        return rc;
    }
    *out = m;
    return OK;
}

/* --- evaluation -------------------------------------------------------------------------------------------------------------- */
typedef void row_sink(void *user, size_t index, const float *values, size_t n_values);

static void forget_all(hone_backend_model *m)
{
    if (m->n_past) hone_ovrt_reset(m->model);
    m->n_past = 0;
}

/* How many of the n tokens go into the next call: at most a batch, and at most as many rows of logits as OUTPUT_BYTES holds. */
static size_t next_piece(const hone_backend_model *m, const uint8_t *want, size_t n)
{
    size_t rows = OUTPUT_BYTES / sizeof(float) / (m->facts.n_vocab ? m->facts.n_vocab : 1), took = 0, i;
    if (!in_pieces(m)) return n;
    if (rows < OUTPUT_ROWS_MIN) rows = OUTPUT_ROWS_MIN;
    for (i = 0; i < n && i < m->n_batch; i++) {
        if ((!want || want[i]) && took++ == rows) break;
    }
    return i;
}

static int emit_pooled(hone_backend_model *m, size_t n, row_sink *row, void *user, hone_backend_error *e)
{
    size_t       width = 0;
    const float *v = hone_ovrt_row(m->model, m->pooling == HONE_POOL_LAST ? n - 1 : 0, &width);
    if (m->pooling == HONE_POOL_MEAN) {
        if (width != m->width) return fail(e, INPUT, "the model gives rows of %zu numbers, its graph or config.json says %u", width, m->width);
        memset(m->sum, 0, width * sizeof *m->sum);
        for (size_t i = 0; i < n; i++) {
            v = hone_ovrt_row(m->model, i, &width);
            for (size_t k = 0; k < width; k++) m->sum[k] += v[k] / (float)n;
        }
        v = m->sum;
    }
    row(user, n - 1, v, width);
    return OK;
}

/* Evaluates ids[0..n) at n_past in one call and gives the wanted rows, whose numbers begin at base. */
static int evaluate(hone_backend_model *m, const int32_t *ids, size_t n, size_t base, const uint8_t *want, row_sink *row, void *user,
                    hone_backend_error *e)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        if (m->pooled || !want || want[i]) m->rows[k++] = (int64_t)i;
    bool none = k == 0; /* a product of no rows is not something to rely on */
    if (none) m->rows[k++] = (int64_t)n - 1;
    int rc = hone_ovrt_run(m->model, ids, n, m->n_past, m->rows, k, e);
    if (rc != OK) {
        hone_ovrt_reset(m->model);
        m->n_past = 0;
        return rc;
    }
    if (m->facts.cached) {
        memcpy(m->past + m->n_past, ids, n * sizeof *ids);
        m->n_past += (uint32_t)n;
    }
    if (m->pooled) return emit_pooled(m, n, row, user, e);
    for (size_t i = 0; i < k && !none; i++) {
        size_t       width = 0;
        const float *v = hone_ovrt_row(m->model, i, &width);
        row(user, base + (size_t)m->rows[i], v, width);
    }
    return OK;
}

static int forward(hone_backend_model *m, const int32_t *ids, size_t n, uint32_t pos, const uint8_t *want, row_sink *row, void *user,
                   hone_backend_error *e)
{
    if (!m->model) return fail(e, BUG, "the model is open for its vocabulary only");
    if (pos == 0) forget_all(m);
    if (pos > 0 && !m->facts.cached) return fail(e, UNSUPPORTED, "the model keeps no states, so that a text cannot be continued");
    if (pos != m->n_past) return fail(e, BUG, "the cache holds %u tokens, not %u", m->n_past, pos);
    if (n > m->n_ctx || pos > m->n_ctx - n) return fail(e, INPUT, "%zu tokens at %u do not fit the context of %u", n, pos, m->n_ctx);
    for (size_t at = 0; at < n;) {
        const uint8_t *w = want ? want + at : NULL;
        size_t         k = next_piece(m, w, n - at);
        int            rc = evaluate(m, ids + at, k, at, w, row, user, e);
        if (rc != OK) return rc;
        at += k;
    }
    return OK;
}

static int rewind_to(hone_backend_model *m, uint32_t pos, hone_backend_error *e)
{
    if (!m->model) return fail(e, BUG, "the model is open for its vocabulary only");
    if (pos == 0) {
        forget_all(m);
        return OK;
    }
    if (pos > m->n_past) return fail(e, BUG, "the cache holds %u tokens, not %u", m->n_past, pos);
    if (pos == m->n_past) return OK;
    if (hone_ovrt_trim(m->model, pos, m->n_past, e) == OK) {
        m->n_past = pos;
        return OK;
    }
    /* A state without a place for each token: what is to stay is evaluated again. */
    forget_all(m);
    for (size_t at = 0; at < pos;) {
        size_t k = pos - at < m->n_batch ? pos - at : m->n_batch;
        int    rc = hone_ovrt_run(m->model, m->past + at, k, at, (int64_t[]){ (int64_t)k - 1 }, 1, e);
        if (rc != OK) {
            hone_ovrt_reset(m->model);
            m->n_past = 0;
            return rc;
        }
        at += k;
        m->n_past = (uint32_t)at;
    }
    return OK;
}

static int layers(hone_backend_model *m, const int32_t *ids, size_t n,
                  void (*sink)(void *user, uint32_t layer, const float *values, size_t n, size_t n_embd), void *user, hone_backend_error *e)
{
    if (!m->model) return fail(e, BUG, "the model is open for its vocabulary only");
    if (n == 0 || n > m->n_ctx) return fail(e, INPUT, "%zu tokens do not fit the context of %u", n, m->n_ctx);
    forget_all(m);
    return hone_ovrt_layers(m->model, ids, n, sink, user, e);
}

/* --- networks without tokens ----------------------------------------------------------------------------------------------------- */
static int signature(hone_backend_model *m, const hone_backend_port **in, size_t *n_in, const hone_backend_port **out, size_t *n_out,
                     hone_backend_error *e)
{
    if (!m->net) return fail(e, BUG, "the model is open as a language model");
    hone_ovrt_net_signature(m->net, in, n_in, out, n_out);
    return OK;
}

static int infer(hone_backend_model *m, const hone_backend_value *in, size_t n_in, void (*sink)(void *user, const hone_backend_value *value),
                 void *user, hone_backend_error *e)
{
    if (!m->net) return fail(e, BUG, "the model is open as a language model");
    return hone_ovrt_net_infer(m->net, in, n_in, sink, user, e);
}

__attribute__((visibility("default"))) const hone_backend *hone_backend_entry(void)
{
    static const hone_backend table = {
        .abi = HONE_BACKEND_ABI,
        .name = "openvino",
        .probe = probe,
        .open = open_model,
        .close = close_model,
        .tokenize = tokenize,
        .detokenize = detokenize,
        .forward = forward,
        .rewind = rewind_to,
        .render = render,
        .layers = layers,
        .signature = signature,
        .infer = infer,
        .translate = hone_ovrt_translate,
    };
    return &table;
}
