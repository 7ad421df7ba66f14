/* runner_main.c - hone-runner: the child process that a runtime lives in.  Loads hone-backend-NAME.so from a folder, then answers
 * the requests of protocol.h on the socket it was given, one after another, until the other side goes away.
 * Usage (by runner.c only): hone-runner --backend NAME --dir FOLDER --fd N
 * It may crash, be killed or hang at any time inside the plug-in; nothing here tries to survive that. */
#include "base/clock.h"
#include "hone/backend.h"
#include "runner/protocol.h"
#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FLUSH_BYTES = 256 * 1024, LAYER_BYTES = 1 << 20 /* in one frame */, BEAT_MS = 1000 };

typedef struct host {
    int                 fd;
    const char         *name;
    const hone_backend *b;
    hone_backend_model *m;    /* NULL: nothing is open */
    bool                vocab_only, graph;
    hone_backend_info   info;
    hone_packer         out;
    uint64_t            id;   /* of the request being answered */
    double              sent_ms; /* when something was last sent */
    double              away_ms; /* time spent in callbacks and sending, not in the runtime */
    hone_err            err;  /* first failure inside a callback */
} host;

static double now_ms(void) { return hone_now_s() * 1e3; }

/* The other side is gone or this process is of no use any more. */
static _Noreturn void leave(int status) { _exit(status); }

static void flush(host *h)
{
    size_t at = 0;
    while (at < h->out.len) {
        ssize_t n = send(h->fd, h->out.ptr + at, h->out.len - at, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) leave(0);
        at += (size_t)n;
    }
    hone_pack_clear(&h->out);
    h->sent_ms = now_ms();
}

static void finish_frame(host *h)
{
    if (hone_pack_end(&h->out, h->err.code ? NULL : &h->err) != HONE_OK) return;
    if (h->out.len >= FLUSH_BYTES || now_ms() - h->sent_ms > BEAT_MS) flush(h);
}

static void beat(host *h)
{
    if (now_ms() - h->sent_ms <= BEAT_MS) return;
    hone_pack_begin(&h->out, HONE_MSG_BEAT, h->id);
    finish_frame(h);
}

static void fail(host *h, int code, const char *why)
{
    hone_pack_begin(&h->out, HONE_MSG_FAIL, h->id);
    hone_pack_u32(&h->out, (uint32_t)code);
    hone_pack_bytes(&h->out, why, strnlen(why, sizeof((hone_backend_error *)0)->why));
    if (hone_pack_end(&h->out, NULL) != HONE_OK) leave(HONE_ERESOURCE);
    flush(h);
}

static void fail_with(host *h, int code, const hone_backend_error *e)
{
    const char *none = code == HONE_ERESOURCE ? "out of memory" : "the plug-in gives no reason";
    fail(h, code, e->why[0] || code == HONE_ENO ? e->why : none);
}

/* Ends an answer that was begun with HONE_MSG_DONE. */
static void done(host *h)
{
    hone_err err = { 0 };
    if (hone_pack_end(&h->out, &err) != HONE_OK) {
        fail(h, (int)err.code, err.cause);
        return;
    }
    flush(h);
}

static void answer_empty(host *h)
{
    hone_pack_begin(&h->out, HONE_MSG_DONE, h->id);
    done(h);
}

/* Ids of a request as an aligned array, to be freed; NULL (and answered) when memory is gone.  Never NULL for n = 0. */
static int32_t *copy_ids(host *h, hone_bytes raw, size_t *n)
{
    int32_t *ids = malloc(raw.len ? raw.len : 4);
    *n = raw.len / 4;
    if (!ids) {
        fail(h, HONE_ERESOURCE, "out of memory for token ids");
        return NULL;
    }
    hone_get_u32s(raw, (uint32_t *)ids);
    return ids;
}

static bool check_ids(host *h, const int32_t *ids, size_t n)
{
    if (n == 0) {
        fail(h, HONE_EBUG, "no token ids");
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (ids[i] >= 0 && (uint32_t)ids[i] < h->info.n_vocab) continue;
        char why[128];
        (void)snprintf(why, sizeof why, "token id %d at %zu is outside the vocabulary of %u", ids[i], i, h->info.n_vocab);
        fail(h, HONE_EINPUT, why);
        return false;
    }
    return true;
}

static bool need_model(host *h, bool weights)
{
    if (!h->m)
        fail(h, HONE_EBUG, "no model is open");
    else if (weights && h->graph)
        fail(h, HONE_EUNSUPPORTED, "the model is open as a network without tokens");
    else if (weights && h->vocab_only)
        fail(h, HONE_EBUG, "the model is open for its vocabulary only");
    else
        return true;
    return false;
}

/* --- requests --------------------------------------------------------------------------------------------------- */
static void do_probe(host *h)
{
    char               version[256] = "", devices[1024] = "";
    hone_backend_error e = { "" };
    int                rc = h->b->probe(version, sizeof version, devices, sizeof devices, &e);
    if (rc) {
        fail_with(h, rc, &e);
        return;
    }
    hone_pack_begin(&h->out, HONE_MSG_DONE, h->id);
    hone_pack_bytes(&h->out, version, strnlen(version, sizeof version));
    hone_pack_bytes(&h->out, devices, strnlen(devices, sizeof devices));
    done(h);
}

static void ignore_row(void *user, size_t index, const float *values, size_t n_values)
{
    (void)user;
    (void)index;
    (void)values;
    (void)n_values;
}

static void close_model(host *h)
{
    if (h->m) h->b->close(h->m);
    h->m = NULL;
}

/* A NUL-terminated copy of text from a request; NULL when memory is gone. */
static char *copy_text(hone_bytes b)
{
    char *s = malloc(b.len + 1);
    if (!s) return NULL;
    if (b.len) memcpy(s, b.ptr, b.len);
    s[b.len] = '\0';
    return s;
}

/* The names behind the flags of open; *out is owned with its strings (free_names).  False when memory is gone. */
static bool unpack_names(hone_unpacker *u, char ***out, size_t *n)
{
    uint32_t count = hone_unpack_u32(u);
    *n = 0;
    *out = NULL;
    if (count > u->left / 8) leave(HONE_EBUG);
    if (count == 0) return true;
    *out = calloc(count, sizeof **out);
    for (uint32_t i = 0; *out && i < count; i++) {
        hone_bytes name = hone_unpack_bytes(u);
        (*out)[i] = copy_text(name);
        if (!(*out)[i]) return false;
        (*n)++;
    }
    return *out != NULL;
}

static void free_names(char **names, size_t n)
{
    for (size_t i = 0; names && i < n; i++) free(names[i]);
    free(names);
}

static void do_open(host *h, hone_unpacker *u)
{
    char              *path = copy_text(hone_unpack_bytes(u));
    char              *device = copy_text(hone_unpack_bytes(u));
    hone_backend_open  how = { .path = path, .device = device };
    hone_backend_error e = { "" };
    how.threads = hone_unpack_u32(u);
    how.context = hone_unpack_u32(u);
    how.batch = hone_unpack_u32(u);
    uint32_t flags = hone_unpack_u32(u);
    how.vocab_only = flags & 1;
    how.embeddings = flags & 2;
    how.hidden = flags & 4;
    how.exact = flags & 8;
    how.graph = flags & 16;
    char **names = NULL;
    bool   room = unpack_names(u, &names, &how.n_outputs);
    how.outputs = (const char *const *)names;
    if (room && !hone_unpack_done(u)) leave(HONE_EBUG);
    close_model(h);
    memset(&h->info, 0, sizeof h->info);
    h->info.bos = h->info.eos = h->info.eot = -1;
    double from = now_ms();
    int    rc = HONE_ERESOURCE;
    if (how.graph && !h->b->infer) {
        rc = HONE_EUNSUPPORTED;
        (void)snprintf(e.why, sizeof e.why, "this runtime takes language models only");
    } else if (path && device && room) {
        rc = h->b->open(&how, &h->m, &h->info, &e);
    }
    if (rc == 0 && !how.vocab_only && !how.graph) {
        /* The first evaluation builds graphs and reads the weights: it is part of what loading costs. */
        int32_t first = h->info.bos >= 0 ? h->info.bos : 0;
        rc = h->b->forward(h->m, &first, 1, 0, NULL, ignore_row, NULL, &e);
        if (rc == 0) rc = h->b->rewind(h->m, 0, &e);
    }
    double ms = now_ms() - from;
    free(path);
    free(device);
    free_names(names, how.n_outputs);
    if (rc) {
        close_model(h);
        fail_with(h, rc, &e);
        return;
    }
    h->vocab_only = how.vocab_only;
    h->graph = how.graph;
    const hone_backend_info *i = &h->info;
    hone_pack_begin(&h->out, HONE_MSG_DONE, h->id);
    hone_pack_f64(&h->out, ms);
    const uint32_t small[] = { i->n_vocab, i->n_ctx, i->n_embd, i->n_ctx_train };
    for (size_t k = 0; k < HONE_COUNT(small); k++) hone_pack_u32(&h->out, small[k]);
    const uint64_t big[] = { i->n_params, i->weights_bytes, i->kv_bytes, i->compute_bytes };
    for (size_t k = 0; k < HONE_COUNT(big); k++) hone_pack_u64(&h->out, big[k]);
    const int32_t ids[] = { i->bos, i->eos, i->eot };
    for (size_t k = 0; k < HONE_COUNT(ids); k++) hone_pack_u32(&h->out, (uint32_t)ids[k]);
    hone_pack_u8(&h->out, i->add_bos);
    hone_pack_u8(&h->out, i->add_eos);
    hone_pack_bytes(&h->out, i->runtime, strnlen(i->runtime, sizeof i->runtime));
    hone_pack_bytes(&h->out, i->version, strnlen(i->version, sizeof i->version));
    hone_pack_bytes(&h->out, i->device, strnlen(i->device, sizeof i->device));
    hone_pack_bytes(&h->out, i->description, strnlen(i->description, sizeof i->description));
    hone_pack_bytes(&h->out, i->fallback, strnlen(i->fallback, sizeof i->fallback));
    hone_pack_u8(&h->out, i->text);
    done(h);
}

/* have: the plug-in has the function that is asked for. */
static bool need_text(host *h, bool have, const char *missing)
{
    if (!need_model(h, false)) return false;
    if (have && h->info.text) return true;
    fail(h, HONE_EUNSUPPORTED, missing);
    return false;
}

static void do_tokenize(host *h, hone_unpacker *u)
{
    bool       add = hone_unpack_u8(u), parse = hone_unpack_u8(u);
    hone_bytes text = hone_unpack_bytes(u);
    if (!hone_unpack_done(u)) leave(HONE_EBUG);
    if (!need_text(h, h->b->tokenize, "this runtime has no tokenizer")) return;
    hone_backend_error e = { "" };
    int32_t           *ids = NULL;
    size_t             n = text.len + 8, cap = 0;
    int                rc = 0;
    while (rc == 0 && n > cap) { /* the plug-in says how much room it wants; twice is enough, and more does no harm */
        free(ids);
        cap = n;
        ids = calloc(cap, sizeof *ids);
        rc = ids ? h->b->tokenize(h->m, text.len ? (const char *)text.ptr : "", text.len, add, parse, ids, cap, &n, &e)
                 : HONE_ERESOURCE;
    }
    if (rc) {
        fail_with(h, rc, &e);
    } else {
        hone_pack_begin(&h->out, HONE_MSG_DONE, h->id);
        hone_pack_ids(&h->out, ids, n);
        done(h);
    }
    free(ids);
}

static void answer_text(host *h, int rc, const char *text, size_t len, const hone_backend_error *e)
{
    if (rc) {
        fail_with(h, rc, e);
        return;
    }
    hone_pack_begin(&h->out, HONE_MSG_DONE, h->id);
    hone_pack_bytes(&h->out, text, len);
    done(h);
}

static void do_detokenize(host *h, hone_unpacker *u)
{
    bool       remove = hone_unpack_u8(u), unparse = hone_unpack_u8(u);
    hone_bytes raw = hone_unpack_ids(u);
    if (!hone_unpack_done(u)) leave(HONE_EBUG);
    if (!need_text(h, h->b->detokenize, "this runtime has no tokenizer")) return;
    size_t   n;
    int32_t *ids = copy_ids(h, raw, &n);
    if (!ids) return;
    if (n > 0 && !check_ids(h, ids, n)) {
        free(ids);
        return;
    }
    hone_backend_error e = { "" };
    char              *text = NULL;
    size_t             len = n * 8 + 64, cap = 0;
    int                rc = 0;
    while (rc == 0 && len > cap) {
        free(text);
        cap = len;
        text = malloc(cap);
        rc = text ? h->b->detokenize(h->m, ids, n, remove, unparse, text, cap, &len, &e) : HONE_ERESOURCE;
    }
    answer_text(h, rc, text, len, &e);
    free(text);
    free(ids);
}

static void do_render(host *h, hone_unpacker *u)
{
    hone_bytes m = hone_unpack_bytes(u), o = hone_unpack_bytes(u);
    if (!hone_unpack_done(u)) leave(HONE_EBUG);
    if (!need_text(h, h->b->render, "this runtime renders no chat templates")) return;
    char              *messages = copy_text(m), *options = o.len ? copy_text(o) : NULL, *text = NULL;
    hone_backend_error e = { "" };
    size_t             len = 4096, cap = 0;
    int                rc = messages && (options || !o.len) ? 0 : HONE_ERESOURCE;
    while (rc == 0 && len > cap) {
        free(text);
        cap = len;
        text = malloc(cap);
        rc = text ? h->b->render(h->m, messages, options, text, cap, &len, &e) : HONE_ERESOURCE;
    }
    answer_text(h, rc, text, len, &e);
    free(text);
    free(messages);
    free(options);
}

static void send_row(void *user, size_t index, const float *values, size_t n_values)
{
    host  *h = user;
    double from = now_ms();
    hone_pack_begin(&h->out, HONE_MSG_ROW, h->id);
    hone_pack_u64(&h->out, index);
    hone_pack_f32s(&h->out, values, n_values);
    finish_frame(h);
    h->away_ms += now_ms() - from;
}

/* The end of an evaluation: its failure, that of a row on the way, or how long it took. */
static void answer_timed(host *h, int rc, const hone_backend_error *e, double ms)
{
    if (rc) {
        fail_with(h, rc, e);
    } else if (h->err.code) {
        fail(h, (int)h->err.code, h->err.cause);
    } else {
        hone_pack_begin(&h->out, HONE_MSG_DONE, h->id);
        hone_pack_f64(&h->out, ms);
        done(h);
    }
}

static void do_forward(host *h, hone_unpacker *u)
{
    uint32_t   pos = hone_unpack_u32(u);
    hone_bytes raw = hone_unpack_ids(u);
    hone_bytes want = hone_unpack_bytes(u);
    if (!hone_unpack_done(u) || (want.len && want.len != raw.len / 4)) leave(HONE_EBUG);
    if (!need_model(h, true)) return;
    size_t   n;
    int32_t *ids = copy_ids(h, raw, &n);
    if (!ids) return;
    if (check_ids(h, ids, n)) {
        hone_backend_error e = { "" };
        double             from = now_ms();
        int                rc = h->b->forward(h->m, ids, n, pos, want.len ? want.ptr : NULL, send_row, h, &e);
        double             ms = now_ms() - from - h->away_ms;
        answer_timed(h, rc, &e, ms);
    }
    free(ids);
}

typedef struct nll_sink {
    host          *h;
    const int32_t *ids;
    float         *out;
} nll_sink;

/* -ln softmax(values)[target], summed in double and shifted by the largest so that nothing overflows. */
static double surprise(const float *values, size_t n, size_t target)
{
    float top = values[0];
    for (size_t i = 1; i < n; i++)
        if (values[i] > top) top = values[i];
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += exp((double)values[i] - (double)top);
    return log(sum) + (double)top - (double)values[target];
}

static void take_nll(void *user, size_t index, const float *values, size_t n_values)
{
    nll_sink *s = user;
    s->out[index] = (float)surprise(values, n_values, (size_t)s->ids[index + 1]);
    beat(s->h);
}

static void do_nll(host *h, hone_unpacker *u)
{
    hone_bytes raw = hone_unpack_ids(u);
    if (!hone_unpack_done(u)) leave(HONE_EBUG);
    if (!need_model(h, true)) return;
    size_t   n;
    int32_t *ids = copy_ids(h, raw, &n);
    if (!ids) return;
    float   *out = calloc(n ? n : 1, sizeof *out);
    uint8_t *want = malloc(n ? n : 1);
    if (!out || !want) {
        fail(h, HONE_ERESOURCE, "out of memory for likelihoods");
    } else if (check_ids(h, ids, n)) {
        hone_backend_error e = { "" };
        nll_sink           s = { h, ids, out };
        memset(want, 1, n);
        want[n - 1] = 0; /* nothing follows the last one */
        int rc = n > 1 ? h->b->forward(h->m, ids, n, 0, want, take_nll, &s, &e) : 0;
        if (rc) {
            fail_with(h, rc, &e);
        } else {
            hone_pack_begin(&h->out, HONE_MSG_DONE, h->id);
            hone_pack_u64(&h->out, n - 1);
            hone_pack_f32s(&h->out, out, n - 1);
            done(h);
        }
    }
    free(want);
    free(out);
    free(ids);
}

static void do_rewind(host *h, hone_unpacker *u)
{
    uint32_t pos = hone_unpack_u32(u);
    if (!hone_unpack_done(u)) leave(HONE_EBUG);
    if (!need_model(h, true)) return;
    hone_backend_error e = { "" };
    int                rc = h->b->rewind(h->m, pos, &e);
    if (rc)
        fail_with(h, rc, &e);
    else
        answer_empty(h);
}

typedef struct greedy {
    int32_t id; /* largest value, lowest id among equals; -1: a value is no number */
} greedy;

static void take_greedy(void *user, size_t index, const float *values, size_t n_values)
{
    greedy *g = user;
    size_t  best = 0;
    bool    bad = isnan(values[0]);
    (void)index;
    for (size_t i = 1; i < n_values; i++) {
        if (values[i] > values[best]) best = i;
        bad |= isnan(values[i]);
    }
    g->id = bad ? -1 : (int32_t)best;
}

static void do_generate(host *h, hone_unpacker *u)
{
    hone_bytes raw = hone_unpack_ids(u);
    uint32_t   max_new = hone_unpack_u32(u);
    bool       stop = hone_unpack_u8(u);
    if (!hone_unpack_done(u)) leave(HONE_EBUG);
    if (!need_model(h, true)) return;
    size_t   n;
    int32_t *ids = copy_ids(h, raw, &n);
    if (!ids) return;
    uint8_t *want = calloc(n ? n : 1, 1);
    if (!want) {
        fail(h, HONE_ERESOURCE, "out of memory for flags");
        free(ids);
        return;
    }
    if (!check_ids(h, ids, n)) {
        free(want);
        free(ids);
        return;
    }
    hone_backend_error e = { "" };
    greedy             g = { -1 };
    double             prefill_ms = 0, decode_ms = 0;
    uint64_t           count = 0;
    int                rc = 0;
    want[n - 1] = 1;
    for (size_t pos = 0; count < max_new; count++) {
        /* The clock runs while the runtime works and while we choose, not while the answer is on its way. */
        double from = now_ms();
        if (count == 0)
            rc = h->b->forward(h->m, ids, n, 0, want, take_greedy, &g, &e);
        else
            rc = h->b->forward(h->m, &g.id, 1, (uint32_t)pos, NULL, take_greedy, &g, &e);
        double ms = now_ms() - from;
        if (rc == 0 && g.id < 0) {
            rc = HONE_ERUNTIME;
            (void)snprintf(e.why, sizeof e.why, "a logit after %zu tokens is not a number", n + (size_t)count);
        }
        if (rc) break;
        pos = n + (size_t)count;
        if (count == 0)
            prefill_ms = ms;
        else
            decode_ms += ms;
        hone_pack_begin(&h->out, HONE_MSG_TOKEN, h->id);
        hone_pack_u32(&h->out, (uint32_t)g.id);
        hone_pack_f64(&h->out, ms);
        finish_frame(h);
        flush(h);
        bool last = (stop && (g.id == h->info.eos || g.id == h->info.eot)) || pos >= h->info.n_ctx;
        if (last) {
            count++;
            break;
        }
    }
    if (rc) {
        fail_with(h, rc, &e);
    } else {
        hone_pack_begin(&h->out, HONE_MSG_DONE, h->id);
        hone_pack_u64(&h->out, count);
        hone_pack_f64(&h->out, prefill_ms);
        hone_pack_f64(&h->out, decode_ms);
        done(h);
    }
    free(want);
    free(ids);
}

static void send_stat(void *user, const char *name, const float *sum_sq, size_t n_mats, size_t n_cols, const uint64_t *counts)
{
    host *h = user;
    hone_pack_begin(&h->out, HONE_MSG_STAT, h->id);
    hone_pack_bytes(&h->out, name, strlen(name));
    hone_pack_u64(&h->out, n_mats);
    hone_pack_u64(&h->out, n_cols);
    hone_pack_f32s(&h->out, sum_sq, n_mats * n_cols);
    for (size_t i = 0; i < n_mats; i++) hone_pack_u64(&h->out, counts[i]);
    finish_frame(h);
}

/* What do_capture and do_layers have in common: ids in, frames on the way, an empty answer at the end. */
static void do_observe(host *h, hone_unpacker *u, bool can, const char *cannot, int (*observe)(host *, const int32_t *, size_t, hone_backend_error *))
{
    hone_bytes raw = hone_unpack_ids(u);
    if (!hone_unpack_done(u)) leave(HONE_EBUG);
    if (!need_model(h, true)) return;
    if (!can) {
        fail(h, HONE_EUNSUPPORTED, cannot);
        return;
    }
    size_t   n;
    int32_t *ids = copy_ids(h, raw, &n);
    if (!ids) return;
    if (check_ids(h, ids, n)) {
        hone_backend_error e = { "" };
        int                rc = observe(h, ids, n, &e);
        if (rc)
            fail_with(h, rc, &e);
        else if (h->err.code)
            fail(h, (int)h->err.code, h->err.cause);
        else
            answer_empty(h);
    }
    free(ids);
}

static int observe_inputs(host *h, const int32_t *ids, size_t n, hone_backend_error *e) { return h->b->capture(h->m, ids, n, send_stat, h, e); }

static void do_capture(host *h, hone_unpacker *u) { do_observe(h, u, h->b->capture != NULL, "this runtime shows no activations", observe_inputs); }

/* A layer in as many frames as it takes. */
static void send_layer(void *user, uint32_t layer, const float *values, size_t n, size_t n_embd)
{
    host  *h = user;
    size_t rows = LAYER_BYTES / sizeof *values / n_embd;
    if (rows == 0) rows = 1;
    for (size_t at = 0; at < n; at += rows) {
        if (rows > n - at) rows = n - at;
        hone_pack_begin(&h->out, HONE_MSG_LAYER, h->id);
        hone_pack_u32(&h->out, layer);
        hone_pack_u64(&h->out, at);
        hone_pack_u64(&h->out, n_embd);
        hone_pack_f32s(&h->out, values + at * n_embd, rows * n_embd);
        finish_frame(h);
    }
}

static int observe_layers(host *h, const int32_t *ids, size_t n, hone_backend_error *e) { return h->b->layers(h->m, ids, n, send_layer, h, e); }

static void do_layers(host *h, hone_unpacker *u)
{
    do_observe(h, u, h->b->layers != NULL, "this runtime does not show what is behind each layer", observe_layers);
}

/* --- networks without tokens -------------------------------------------------------------------------------------- */
static bool need_graph(host *h)
{
    if (h->m && h->graph) return true;
    fail(h, HONE_EBUG, "no network is open");
    return false;
}

static void pack_ports(hone_packer *p, const hone_backend_port *ports, size_t n)
{
    hone_pack_u32(p, (uint32_t)n);
    for (size_t i = 0; i < n; i++) {
        hone_pack_bytes(p, ports[i].name, strlen(ports[i].name));
        hone_pack_u32(p, (uint32_t)ports[i].type);
        hone_pack_u32(p, ports[i].rank);
        for (uint32_t k = 0; k < ports[i].rank; k++) {
            const char *symbol = ports[i].symbols[k] ? ports[i].symbols[k] : "";
            hone_pack_u64(p, (uint64_t)ports[i].dims[k]);
            hone_pack_bytes(p, symbol, strlen(symbol));
        }
    }
}

static void do_signature(host *h)
{
    const hone_backend_port *in = NULL, *out = NULL;
    size_t                   n_in = 0, n_out = 0;
    hone_backend_error       e = { "" };
    if (!need_graph(h)) return;
    int rc = h->b->signature ? h->b->signature(h->m, &in, &n_in, &out, &n_out, &e) : HONE_EUNSUPPORTED;
    if (rc) {
        fail_with(h, rc, &e);
        return;
    }
    hone_pack_begin(&h->out, HONE_MSG_DONE, h->id);
    pack_ports(&h->out, in, n_in);
    pack_ports(&h->out, out, n_out);
    done(h);
}

static void send_value(void *user, const hone_backend_value *v)
{
    host  *h = user;
    double from = now_ms();
    hone_pack_begin(&h->out, HONE_MSG_VALUE, h->id);
    hone_pack_bytes(&h->out, v->name, strlen(v->name));
    hone_pack_u32(&h->out, (uint32_t)v->type);
    hone_pack_u32(&h->out, v->rank);
    for (uint32_t k = 0; k < v->rank; k++) hone_pack_u64(&h->out, (uint64_t)v->dims[k]);
    hone_pack_u64(&h->out, v->bytes);
    finish_frame(h);
    for (size_t at = 0; at < v->bytes;) {
        size_t n = v->bytes - at < LAYER_BYTES ? v->bytes - at : LAYER_BYTES;
        hone_pack_begin(&h->out, HONE_MSG_CHUNK, h->id);
        hone_pack_u64(&h->out, at);
        hone_pack_raw(&h->out, (const uint8_t *)v->data + at, n);
        finish_frame(h);
        at += n;
    }
    h->away_ms += now_ms() - from;
}

/* The values of a request, their data copied so that it is aligned: *room is one block, owned.  False: memory is gone. */
static bool unpack_values(hone_unpacker *u, hone_backend_value **out, size_t *n, uint8_t **room)
{
    uint32_t count = hone_unpack_u32(u);
    if (count > u->left / 24) leave(HONE_EBUG);
    hone_backend_value *v = calloc(count ? count : 1, sizeof *v);
    size_t              used = 0, name_used = 0, data_cap = u->left + 64u * ((size_t)count + 1); /* data, each at 64 bytes; then names */
    *room = malloc(data_cap + u->left + count + 1);
    if (!v || !*room) {
        free(v);
        return false;
    }
    char *text = (char *)*room + data_cap;
    for (uint32_t i = 0; i < count; i++) {
        hone_bytes name = hone_unpack_bytes(u);
        v[i].type = (int)hone_unpack_u32(u);
        v[i].rank = hone_unpack_u32(u);
        if (v[i].rank > HONE_BACKEND_RANK_MAX) leave(HONE_EBUG);
        for (uint32_t k = 0; k < v[i].rank; k++) v[i].dims[k] = (int64_t)hone_unpack_u64(u);
        hone_bytes data = hone_unpack_bytes(u);
        if (name.len) memcpy(text + name_used, name.ptr, name.len);
        text[name_used + name.len] = '\0';
        v[i].name = text + name_used;
        name_used += name.len + 1;
        if (data.len) memcpy(*room + used, data.ptr, data.len);
        v[i].data = *room + used;
        v[i].bytes = data.len;
        used += (data.len + 63) / 64 * 64;
    }
    *out = v;
    *n = count;
    return true;
}

static void do_infer(host *h, hone_unpacker *u)
{
    hone_backend_value *in = NULL;
    uint8_t            *room = NULL;
    size_t              n = 0;
    hone_backend_error  e = { "" };
    if (!need_graph(h)) return;
    if (!unpack_values(u, &in, &n, &room)) {
        fail(h, HONE_ERESOURCE, "out of memory for the inputs of a network");
        return;
    }
    if (!hone_unpack_done(u)) leave(HONE_EBUG);
    double from = now_ms();
    int    rc = h->b->infer(h->m, in, n, send_value, h, &e);
    double ms = now_ms() - from - h->away_ms;
    answer_timed(h, rc, &e, ms);
    free(in);
    free(room);
}

static void do_translate(host *h, hone_unpacker *u)
{
    hone_bytes a = hone_unpack_bytes(u), b = hone_unpack_bytes(u);
    bool       f16 = hone_unpack_u8(u);
    if (!hone_unpack_done(u)) leave(HONE_EBUG);
    if (!h->b->translate) {
        fail(h, HONE_EUNSUPPORTED, "this runtime reads no other formats");
        return;
    }
    char              *from = copy_text(a), *to = copy_text(b);
    hone_backend_error e = { "" };
    int                rc = from && to ? h->b->translate(from, to, f16, &e) : HONE_ERESOURCE;
    free(from);
    free(to);
    if (rc)
        fail_with(h, rc, &e);
    else
        answer_empty(h);
}

/* Rows in as many frames as it takes. */
static void send_rows(void *user, size_t name, const float *rows, size_t n_rows, size_t n_cols, size_t n_mats, const uint32_t *mats)
{
    host  *h = user;
    size_t k = LAYER_BYTES / sizeof *rows / n_cols;
    if (k == 0) k = 1;
    for (size_t at = 0; at < n_rows; at += k) {
        if (k > n_rows - at) k = n_rows - at;
        hone_pack_begin(&h->out, HONE_MSG_ROWS, h->id);
        hone_pack_u32(&h->out, (uint32_t)name);
        hone_pack_u64(&h->out, k);
        hone_pack_u64(&h->out, n_cols);
        hone_pack_u64(&h->out, n_mats);
        for (size_t i = 0; n_mats > 1 && i < k; i++) hone_pack_u32(&h->out, mats[at + i]);
        hone_pack_f32s(&h->out, rows + at * n_cols, k * n_cols);
        finish_frame(h);
    }
}

/* The names of a request, in one piece to be freed; NULL when memory is gone. */
static char **copy_names(hone_unpacker *u, uint32_t n, size_t room)
{
    char **names = malloc((size_t)n * sizeof *names + room + n + 1);
    char  *at = (char *)(names + n);
    for (uint32_t i = 0; names && i < n; i++) {
        hone_bytes b = hone_unpack_bytes(u);
        if (b.len > room) leave(HONE_EBUG);
        names[i] = at;
        if (b.len) memcpy(at, b.ptr, b.len);
        at[b.len] = '\0';
        at += b.len + 1;
        room -= b.len;
    }
    return names;
}

static void do_inputs(host *h, hone_unpacker *u)
{
    hone_bytes raw = hone_unpack_ids(u);
    uint32_t   n_names = hone_unpack_u32(u);
    if (u->bad || n_names > u->left / 8) leave(HONE_EBUG);
    char **names = copy_names(u, n_names, u->left);
    size_t n;
    if (!names) {
        fail(h, HONE_ERESOURCE, "out of memory for names");
        return;
    }
    if (!hone_unpack_done(u)) leave(HONE_EBUG);
    int32_t *ids = NULL;
    if (need_model(h, true)) {
        if (!h->b->inputs) fail(h, HONE_EUNSUPPORTED, "this runtime does not show the inputs of weight matrices");
        else ids = copy_ids(h, raw, &n);
    }
    if (ids && check_ids(h, ids, n)) {
        hone_backend_error e = { "" };
        int                rc = h->b->inputs(h->m, ids, n, (const char *const *)names, n_names, send_rows, h, &e);
        if (rc) fail_with(h, rc, &e);
        else if (h->err.code) fail(h, (int)h->err.code, h->err.cause);
        else answer_empty(h);
    }
    free(ids);
    free(names);
}

static void do_usage(host *h)
{
    struct rusage r = { 0 };
    (void)getrusage(RUSAGE_SELF, &r);
    hone_pack_begin(&h->out, HONE_MSG_DONE, h->id);
    hone_pack_f64(&h->out, (double)r.ru_utime.tv_sec + (double)r.ru_utime.tv_usec / 1e6);
    hone_pack_f64(&h->out, (double)r.ru_stime.tv_sec + (double)r.ru_stime.tv_usec / 1e6);
    done(h);
}

static void answer(host *h, const hone_frame *f)
{
    hone_unpacker u = hone_unpack(f->payload);
    h->id = f->id;
    h->sent_ms = now_ms();
    h->away_ms = 0;
    h->err = (hone_err){ 0 };
    switch (f->type) {
    case HONE_MSG_PROBE: do_probe(h); break;
    case HONE_MSG_OPEN: do_open(h, &u); break;
    case HONE_MSG_TOKENIZE: do_tokenize(h, &u); break;
    case HONE_MSG_DETOKENIZE: do_detokenize(h, &u); break;
    case HONE_MSG_FORWARD: do_forward(h, &u); break;
    case HONE_MSG_NLL: do_nll(h, &u); break;
    case HONE_MSG_REWIND: do_rewind(h, &u); break;
    case HONE_MSG_GENERATE: do_generate(h, &u); break;
    case HONE_MSG_RENDER: do_render(h, &u); break;
    case HONE_MSG_CAPTURE: do_capture(h, &u); break;
    case HONE_MSG_USAGE: do_usage(h); break;
    case HONE_MSG_LAYERS: do_layers(h, &u); break;
    case HONE_MSG_INPUTS: do_inputs(h, &u); break;
    case HONE_MSG_SIGNATURE: do_signature(h); break;
    case HONE_MSG_INFER: do_infer(h, &u); break;
    case HONE_MSG_TRANSLATE: do_translate(h, &u); break;
    default: leave(HONE_EBUG);
    }
}

/* --- the process ------------------------------------------------------------------------------------------------- */
/* PR_SET_PDEATHSIG would do this job only as long as the parent's *thread* that started us lives (prctl(2)), and hone starts
 * runners from worker threads.  A socket whose other end is gone says the same of the process. */
static void *watch_parent(void *arg)
{
    struct pollfd p = { .fd = *(const int *)arg, .events = POLLRDHUP };
    for (;;) {
        int n = poll(&p, 1, -1);
        if (n > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL))) leave(0);
    }
    return NULL;
}

static void read_exactly(int fd, uint8_t *to, size_t n)
{
    while (n > 0) {
        ssize_t got = recv(fd, to, n, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) leave(0);
        to += got;
        n -= (size_t)got;
    }
}

/* What a crash of a vendor library may do to the machine. */
static void tame(void)
{
    /* 1 and not 0: a core_pattern that is a pipe ignores 0 but takes 1 as "none" (fs/coredump.c). */
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){ 1, 1 });
    /* When memory runs out, this process goes before the one that can report it. */
    char now[16] = "";
    int  fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
    if (fd >= 0) {
        if (read(fd, now, sizeof now - 1) > 0 && strtol(now, NULL, 10) < 500 && pwrite(fd, "500", 3, 0) != 3)
            (void)fputs("oom_score_adj cannot be raised\n", stderr);
        (void)close(fd);
    }
    /* ggml_abort starts a debugger otherwise (ggml/src/ggml.c, ggml_print_backtrace). */
    (void)setenv("GGML_NO_BACKTRACE", "1", 1);
    /* A thread that waits at a barrier spins this often, then sleeps.  libgomp's own 300000 (libgomp env.c) is milliseconds: on a machine
     * that does other things too, two threads then ran a hundred times slower than one.  What the user set wins. */
    (void)setenv("GOMP_SPINCOUNT", "20000", 0);
    /* What the library prints before it dies must not die in a buffer. */
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
}

static bool load(host *h, const char *dir)
{
    char path[4096], why[sizeof path + 160];
    if (snprintf(path, sizeof path, "%s/hone-backend-%s.so", dir, h->name) >= (int)sizeof path) {
        fail(h, HONE_EUNSUPPORTED, "the path of the plug-in is too long");
        return false;
    }
    void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!lib) {
        const char *e = dlerror();
        (void)snprintf(why, sizeof why, "cannot load the plug-in: %s", e ? e : path);
        fail(h, HONE_EUNSUPPORTED, why);
        return false;
    }
    void                 *sym = dlsym(lib, "hone_backend_entry");
    hone_backend_entry_fn entry = NULL;
    memcpy(&entry, &sym, sizeof entry); /* POSIX allows what ISO C calls a conversion */
    h->b = entry ? entry() : NULL;
    if (!h->b) {
        (void)snprintf(why, sizeof why, "'%s' is not a plug-in of hone", path);
    } else if (h->b->abi != HONE_BACKEND_ABI) {
        (void)snprintf(why, sizeof why, "'%s' was built for version %u of the plug-in interface, this is version %d", path, h->b->abi,
                       HONE_BACKEND_ABI);
    } else if (!h->b->probe || !h->b->open || !h->b->close || !h->b->forward || !h->b->rewind) {
        (void)snprintf(why, sizeof why, "'%s' lacks a function that every plug-in has", path);
    } else {
        /* A runtime whose library is not there says so now, and not with the first model.  No room for devices: they need not be looked for. */
        char               version[256], devices[1];
        hone_backend_error e = { "" };
        int                rc = h->b->probe(version, sizeof version, devices, sizeof devices, &e);
        if (rc == 0) return true;
        fail_with(h, rc, &e);
        return false;
    }
    fail(h, HONE_EUNSUPPORTED, why);
    return false;
}

static bool good_name(const char *s)
{
    for (; *s; s++)
        if (!isalnum((unsigned char)*s) && *s != '_' && *s != '-') return false;
    return true;
}

int main(int argc, char **argv)
{
    host        h = { .fd = -1 };
    const char *dir = NULL;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--backend") == 0) h.name = argv[i + 1];
        if (strcmp(argv[i], "--dir") == 0) dir = argv[i + 1];
        if (strcmp(argv[i], "--fd") == 0) h.fd = (int)strtol(argv[i + 1], NULL, 10);
    }
    if (!h.name || !*h.name || !good_name(h.name) || !dir || h.fd < 3 || fcntl(h.fd, F_SETFD, FD_CLOEXEC) != 0) {
        (void)fputs("hone-runner is started by hone and not meant to be run by hand\n", stderr);
        return HONE_EUSAGE;
    }
    tame();
    pthread_t watcher;
    if (pthread_create(&watcher, NULL, watch_parent, &h.fd) != 0) return HONE_ERESOURCE;
    if (!load(&h, dir)) return 0;
    const char *name = h.b->name ? h.b->name : h.name;
    hone_pack_begin(&h.out, HONE_MSG_HELLO, 0);
    hone_pack_u32(&h.out, HONE_PROTOCOL_VERSION);
    hone_pack_bytes(&h.out, name, strnlen(name, 64));
    done(&h);

    uint8_t *payload = NULL;
    size_t   room = 0;
    for (;;) {
        uint8_t    head[HONE_FRAME_HEAD];
        hone_frame f = { 0 };
        size_t     used, need;
        read_exactly(h.fd, head, sizeof head);
        uint32_t n = hone_le32(head);
        if (n > HONE_FRAME_MAX) leave(HONE_EBUG);
        need = (size_t)HONE_FRAME_HEAD + n;
        if (need > room) {
            uint8_t *more = realloc(payload, need);
            if (!more) leave(HONE_ERESOURCE);
            payload = more;
            room = need;
        }
        memcpy(payload, head, sizeof head);
        read_exactly(h.fd, payload + sizeof head, n);
        if (hone_frame_take((hone_bytes){ payload, need }, &f, &used, &need, NULL) != HONE_OK || used == 0) leave(HONE_EBUG);
        answer(&h, &f);
    }
}
