/* runner_protocol.c - plays a runtime's process that sends anything: the first byte picks the request, the second how much was asked
 * for, the rest is a stream of frames as it comes from the socket.  Nothing may be read or written outside, nothing may leak, and
 * what is accepted must be what was asked for. */
#include "runner/reply.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct seen {
    size_t rows, row_len, last;
    float  sum; /* reads every value, so that a sanitizer sees them */
} seen;

static void on_row(void *user, size_t index, const float *values, size_t n_values)
{
    seen *s = user;
    if ((s->rows && index <= s->last) || n_values != s->row_len) abort();
    s->last = index;
    s->rows++;
    for (size_t i = 0; i < n_values; i++) s->sum += values[i];
}

static void on_stat(void *user, const char *name, const float *sum_sq, size_t n_mats, size_t n_cols, const uint64_t *counts)
{
    seen *s = user;
    s->sum += (float)strlen(name);
    for (size_t i = 0; i < n_mats * n_cols; i++) s->sum += sum_sq[i];
    for (size_t i = 0; i < n_mats; i++) s->sum += (float)counts[i];
}

static void on_layer(void *user, uint32_t layer, const float *values, size_t n, size_t n_embd)
{
    seen *s = user;
    s->sum += (float)layer;
    for (size_t i = 0; i < n * n_embd; i++) s->sum += values[i];
}

static void on_rows(void *user, size_t name, const float *rows, size_t n_rows, size_t n_cols, size_t n_mats, const uint32_t *mats)
{
    seen *s = user;
    if (name >= 2 || (n_mats > 1) != (mats != NULL)) abort();
    for (size_t i = 0; i < n_rows * n_cols; i++) s->sum += rows[i];
    for (size_t i = 0; mats && i < n_rows; i++)
        if (mats[i] >= n_mats) abort();
}

static void on_value(void *user, const hone_backend_value *v)
{
    seen    *s = user;
    uint64_t bytes = 0;
    if (!v->name || !hone_backend_value_bytes(v->type, v->dims, v->rank, &bytes) || bytes != v->bytes) abort();
    for (size_t i = 0; i < v->bytes; i++) s->sum += (float)((const uint8_t *)v->data)[i];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const hone_msg ops[] = { HONE_MSG_PROBE,    HONE_MSG_OPEN,   HONE_MSG_TOKENIZE, HONE_MSG_DETOKENIZE, HONE_MSG_FORWARD, HONE_MSG_NLL,
                                    HONE_MSG_GENERATE, HONE_MSG_RENDER, HONE_MSG_CAPTURE,  HONE_MSG_USAGE,      HONE_MSG_REWIND,  HONE_MSG_HELLO,
                                    HONE_MSG_LAYERS,   HONE_MSG_INPUTS, HONE_MSG_SIGNATURE, HONE_MSG_INFER };
    if (size < 2) return 0;
    size_t   n = data[1] % 16u + 1;
    seen     s = { .row_len = 3 };
    char     version[8], devices[8];
    int32_t *out = malloc(n * sizeof *out); /* exactly as large as promised */
    double  *ms = malloc(n * sizeof *ms);
    float   *nll = malloc(n * sizeof *nll);
    if (!out || !ms || !nll) abort();
    hone_arena    a = { 0 };
    hone_generate g = { .max_new = (uint32_t)n, .out = out, .token_ms = ms };
    hone_reply    r = { .op = ops[data[0] % HONE_COUNT(ops)], .id = 1, .arena = &a, .n = n, .row_len = s.row_len, .row = on_row, .sink = on_stat, .layer = on_layer,
                        .rows = on_rows, .value = on_value, .n_names = 2, .user = &s, .gen = &g, .nll = nll, .version = version, .devices = devices, .version_cap = sizeof version,
                        .devices_cap = sizeof devices };
    hone_bytes in = { data + 2, size - 2 };
    hone_err   err = { 0 };
    while (!r.done) {
        hone_frame f;
        size_t     used, need;
        if (hone_frame_take(in, &f, &used, &need, &err) != HONE_OK || used == 0) break;
        if (used > in.len || f.payload.len != used - HONE_FRAME_HEAD) abort();
        if (hone_reply_take(&r, &f, &err) != HONE_OK) break;
        in.ptr += used;
        in.len -= used;
    }
    if (s.rows > n || g.n_out > n) abort();
    if (r.done && r.op == HONE_MSG_TOKENIZE)
        for (size_t i = 0; i < r.n_ids; i++)
            if (r.ids[i] < 0) abort();
    if (r.done && (r.op == HONE_MSG_RENDER || r.op == HONE_MSG_DETOKENIZE) && r.text[r.text_len] != '\0') abort();
    if (memchr(err.cause, 0, sizeof err.cause) == NULL) abort();
    hone_reply_release(&r);
    hone_arena_release(&a);
    free(out);
    free(ms);
    free(nll);
    return 0;
}
