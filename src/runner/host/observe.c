/* observe.c - what the model computes on its way: inputs of its matrices, summed or row by row, and what is behind each layer. */
#include "runner/host/host.h"
#include <stdlib.h>

static void send_stat(void *user, const char *name, const float *sum_sq, size_t n_mats, size_t n_cols, const uint64_t *counts)
{
    hone_host *h = user;
    hone_pack_begin(&h->out, HONE_MSG_STAT, h->id);
    hone_pack_bytes(&h->out, name, strlen(name));
    hone_pack_u64(&h->out, n_mats);
    hone_pack_u64(&h->out, n_cols);
    hone_pack_f32s(&h->out, sum_sq, n_mats * n_cols);
    for (size_t i = 0; i < n_mats; i++) hone_pack_u64(&h->out, counts[i]);
    hone_host_end_frame(h);
}

/* Ids in, frames on the way, an empty answer at the end. */
static void answer_observed(hone_host *h, hone_unpacker *u, bool can, const char *cannot, int (*observe)(hone_host *, const int32_t *, size_t, hone_backend_error *))
{
    hone_bytes raw = hone_unpack_ids(u);
    if (!hone_unpack_done(u)) hone_host_leave(HONE_EBUG);
    if (!hone_host_need_model(h, true)) return;
    if (!can) {
        hone_host_fail(h, HONE_EUNSUPPORTED, cannot);
        return;
    }
    size_t   n;
    int32_t *ids = hone_host_copy_ids(h, raw, &n);
    if (!ids) return;
    if (hone_host_check_ids(h, ids, n)) {
        hone_backend_error e = { "" };
        int                rc = observe(h, ids, n, &e);
        hone_host_done_plain(h, rc, &e);
    }
    free(ids);
}

static int observe_inputs(hone_host *h, const int32_t *ids, size_t n, hone_backend_error *e) { return h->b->capture(h->m, ids, n, send_stat, h, e); }

void hone_host_capture(hone_host *h, hone_unpacker *u) { answer_observed(h, u, h->b->capture != NULL, "this runtime shows no activations", observe_inputs); }

/* How many of the rows that are left one frame takes. */
static size_t rows_of_frame(size_t n_cols, size_t left)
{
    size_t n = HONE_HOST_CHUNK / sizeof(float) / n_cols;
    if (n == 0) n = 1;
    return n < left ? n : left;
}

/* A layer in as many frames as it takes. */
static void send_layer(void *user, uint32_t layer, const float *values, size_t n, size_t n_embd)
{
    hone_host *h = user;
    for (size_t at = 0, rows; at < n; at += rows) {
        rows = rows_of_frame(n_embd, n - at);
        hone_pack_begin(&h->out, HONE_MSG_LAYER, h->id);
        hone_pack_u32(&h->out, layer);
        hone_pack_u64(&h->out, at);
        hone_pack_u64(&h->out, n_embd);
        hone_pack_f32s(&h->out, values + at * n_embd, rows * n_embd);
        hone_host_end_frame(h);
    }
}

static int observe_layers(hone_host *h, const int32_t *ids, size_t n, hone_backend_error *e) { return h->b->layers(h->m, ids, n, send_layer, h, e); }

void hone_host_layers(hone_host *h, hone_unpacker *u)
{
    answer_observed(h, u, h->b->layers != NULL, "this runtime does not show what is behind each layer", observe_layers);
}

/* Rows in as many frames as it takes. */
static void send_rows(void *user, size_t name, const float *rows, size_t n_rows, size_t n_cols, size_t n_mats, const uint32_t *mats)
{
    hone_host *h = user;
    for (size_t at = 0, k; at < n_rows; at += k) {
        k = rows_of_frame(n_cols, n_rows - at);
        hone_pack_begin(&h->out, HONE_MSG_ROWS, h->id);
        hone_pack_u32(&h->out, (uint32_t)name);
        hone_pack_u64(&h->out, k);
        hone_pack_u64(&h->out, n_cols);
        hone_pack_u64(&h->out, n_mats);
        for (size_t i = 0; n_mats > 1 && i < k; i++) hone_pack_u32(&h->out, mats[at + i]);
        hone_pack_f32s(&h->out, rows + at * n_cols, k * n_cols);
        hone_host_end_frame(h);
    }
}

/* The names of a request, in one piece to be freed; NULL when memory is gone. */
static char **copy_names(hone_unpacker *u, uint32_t n, size_t room)
{
    char **names = malloc((size_t)n * sizeof *names + room + n + 1);
    char  *at = (char *)(names + n);
    for (uint32_t i = 0; names && i < n; i++) {
        hone_bytes b = hone_unpack_bytes(u);
        if (b.len > room) hone_host_leave(HONE_EBUG);
        names[i] = at;
        if (b.len) memcpy(at, b.ptr, b.len);
        at[b.len] = '\0';
        at += b.len + 1;
        room -= b.len;
    }
    return names;
}

void hone_host_inputs(hone_host *h, hone_unpacker *u)
{
    hone_bytes raw = hone_unpack_ids(u);
    uint32_t   n_names = hone_unpack_u32(u);
    if (u->bad || n_names > u->left / 8) hone_host_leave(HONE_EBUG);
    char **names = copy_names(u, n_names, u->left);
    size_t n;
    if (!names) {
        hone_host_fail(h, HONE_ERESOURCE, "out of memory for names");
        return;
    }
    if (!hone_unpack_done(u)) hone_host_leave(HONE_EBUG);
    int32_t *ids = NULL;
    if (hone_host_need_model(h, true)) {
        if (!h->b->inputs) hone_host_fail(h, HONE_EUNSUPPORTED, "this runtime does not show the inputs of weight matrices");
        else ids = hone_host_copy_ids(h, raw, &n);
    }
    if (ids && hone_host_check_ids(h, ids, n)) {
        hone_backend_error e = { "" };
        int                rc = h->b->inputs(h->m, ids, n, (const char *const *)names, n_names, send_rows, h, &e);
        hone_host_done_plain(h, rc, &e);
    }
    free(ids);
    free(names);
}
