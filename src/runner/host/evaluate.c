/* evaluate.c - token ids through the model: rows of logits, likelihoods, generation. */
#include "runner/host/host.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static void send_row(void *user, size_t index, const float *values, size_t n_values)
{
    hone_host *h = user;
    double     from = hone_host_now_ms();
    hone_pack_begin(&h->out, HONE_MSG_ROW, h->id);
    hone_pack_u64(&h->out, index);
    hone_pack_f32s(&h->out, values, n_values);
    hone_host_end_frame(h);
    h->away_ms += hone_host_now_ms() - from;
}

void hone_host_forward(hone_host *h, hone_unpacker *u)
{
    uint32_t   pos = hone_unpack_u32(u);
    hone_bytes raw = hone_unpack_ids(u);
    hone_bytes want = hone_unpack_bytes(u);
    if (!hone_unpack_done(u) || (want.len && want.len != raw.len / 4)) hone_host_leave(HONE_EBUG);
    if (!hone_host_need_model(h, true)) return;
    size_t   n;
    int32_t *ids = hone_host_copy_ids(h, raw, &n);
    if (!ids) return;
    if (hone_host_check_ids(h, ids, n)) {
        hone_backend_error e = { "" };
        double             from = hone_host_now_ms();
        int                rc = h->b->forward(h->m, ids, n, pos, want.len ? want.ptr : NULL, send_row, h, &e);
        double             ms = hone_host_now_ms() - from - h->away_ms;
        hone_host_done_timed(h, rc, &e, ms);
    }
    free(ids);
}

typedef struct nll_sink {
    hone_host     *h;
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
    hone_host_beat(s->h);
}

void hone_host_nll(hone_host *h, hone_unpacker *u)
{
    hone_bytes raw = hone_unpack_ids(u);
    if (!hone_unpack_done(u)) hone_host_leave(HONE_EBUG);
    if (!hone_host_need_model(h, true)) return;
    size_t   n;
    int32_t *ids = hone_host_copy_ids(h, raw, &n);
    if (!ids) return;
    float   *out = calloc(n ? n : 1, sizeof *out);
    uint8_t *want = malloc(n ? n : 1);
    if (!out || !want) {
        hone_host_fail(h, HONE_ERESOURCE, "out of memory for likelihoods");
    } else if (hone_host_check_ids(h, ids, n)) {
        hone_backend_error e = { "" };
        nll_sink           s = { h, ids, out };
        memset(want, 1, n);
        want[n - 1] = 0; /* nothing follows the last one */
        int rc = n > 1 ? h->b->forward(h->m, ids, n, 0, want, take_nll, &s, &e) : 0;
        if (rc) {
            hone_host_fail_with(h, rc, &e);
        } else {
            hone_pack_begin(&h->out, HONE_MSG_DONE, h->id);
            hone_pack_u64(&h->out, n - 1);
            hone_pack_f32s(&h->out, out, n - 1);
            hone_host_done(h);
        }
    }
    free(want);
    free(out);
    free(ids);
}

void hone_host_rewind(hone_host *h, hone_unpacker *u)
{
    uint32_t pos = hone_unpack_u32(u);
    if (!hone_unpack_done(u)) hone_host_leave(HONE_EBUG);
    if (!hone_host_need_model(h, true)) return;
    hone_backend_error e = { "" };
    int                rc = h->b->rewind(h->m, pos, &e);
    if (rc)
        hone_host_fail_with(h, rc, &e);
    else
        hone_host_done_empty(h);
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

typedef struct generation {
    uint32_t max_new;
    bool     stop; /* at the end of text or of a turn */
    uint64_t count;
    double   prefill_ms, decode_ms;
} generation;

static void send_token(hone_host *h, int32_t id, double ms)
{
    hone_pack_begin(&h->out, HONE_MSG_TOKEN, h->id);
    hone_pack_u32(&h->out, (uint32_t)id);
    hone_pack_f64(&h->out, ms);
    hone_host_end_frame(h);
    hone_host_flush(h);
}

/* The tokens after ids, each sent as it comes; want: [n] flags, the last one set. */
static int generate(hone_host *h, const int32_t *ids, size_t n, const uint8_t *want, generation *g, hone_backend_error *e)
{
    greedy next = { -1 };
    for (size_t pos = 0; g->count < g->max_new; g->count++) {
        /* The clock runs while the runtime works and while we choose, not while the answer is on its way. */
        double from = hone_host_now_ms();
        int    rc = g->count == 0 ? h->b->forward(h->m, ids, n, 0, want, take_greedy, &next, e)
                                  : h->b->forward(h->m, &next.id, 1, (uint32_t)pos, NULL, take_greedy, &next, e);
        double ms = hone_host_now_ms() - from;
        if (rc == 0 && next.id < 0) {
            rc = HONE_ERUNTIME;
            (void)snprintf(e->why, sizeof e->why, "a logit after %zu tokens is not a number", n + (size_t)g->count);
        }
        if (rc) return rc;
        pos = n + (size_t)g->count;
        *(g->count == 0 ? &g->prefill_ms : &g->decode_ms) += ms;
        send_token(h, next.id, ms);
        if ((g->stop && (next.id == h->info.eos || next.id == h->info.eot)) || pos >= h->info.n_ctx) {
            g->count++;
            break;
        }
    }
    return 0;
}

void hone_host_generate(hone_host *h, hone_unpacker *u)
{
    generation g = { 0 };
    hone_bytes raw = hone_unpack_ids(u);
    g.max_new = hone_unpack_u32(u);
    g.stop = hone_unpack_u8(u);
    if (!hone_unpack_done(u)) hone_host_leave(HONE_EBUG);
    if (!hone_host_need_model(h, true)) return;
    size_t   n;
    int32_t *ids = hone_host_copy_ids(h, raw, &n);
    if (!ids) return;
    uint8_t *want = calloc(n ? n : 1, 1);
    if (!want) {
        hone_host_fail(h, HONE_ERESOURCE, "out of memory for flags");
    } else if (hone_host_check_ids(h, ids, n)) {
        hone_backend_error e = { "" };
        want[n - 1] = 1;
        int rc = generate(h, ids, n, want, &g, &e);
        if (rc) {
            hone_host_fail_with(h, rc, &e);
        } else {
            hone_pack_begin(&h->out, HONE_MSG_DONE, h->id);
            hone_pack_u64(&h->out, g.count);
            hone_pack_f64(&h->out, g.prefill_ms);
            hone_pack_f64(&h->out, g.decode_ms);
            hone_host_done(h);
        }
    }
    free(want);
    free(ids);
}
