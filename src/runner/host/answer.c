/* answer.c - what every request to a runtime's child process needs: frames on their way, failures, arguments. */
#include "runner/host/host.h"
#include "base/clock.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FLUSH_BYTES = 256 * 1024, BEAT_MS = 1000 };

double hone_host_now_ms(void) { return hone_now_s() * 1e3; }

_Noreturn void hone_host_leave(int status) { _exit(status); }

void hone_host_flush(hone_host *h)
{
    size_t at = 0;
    while (at < h->out.len) {
        ssize_t n = send(h->fd, h->out.ptr + at, h->out.len - at, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) hone_host_leave(0);
        at += (size_t)n;
    }
    hone_pack_clear(&h->out);
    h->sent_ms = hone_host_now_ms();
}

void hone_host_end_frame(hone_host *h)
{
    if (hone_pack_end(&h->out, h->err.code ? NULL : &h->err) != HONE_OK) return;
    if (h->out.len >= FLUSH_BYTES || hone_host_now_ms() - h->sent_ms > BEAT_MS) hone_host_flush(h);
}

void hone_host_beat(hone_host *h)
{
    if (hone_host_now_ms() - h->sent_ms <= BEAT_MS) return;
    hone_pack_begin(&h->out, HONE_MSG_BEAT, h->id);
    hone_host_end_frame(h);
}

void hone_host_fail(hone_host *h, int code, const char *why)
{
    hone_pack_begin(&h->out, HONE_MSG_FAIL, h->id);
    hone_pack_u32(&h->out, (uint32_t)code);
    hone_pack_bytes(&h->out, why, strnlen(why, sizeof((hone_backend_error *)0)->why));
    if (hone_pack_end(&h->out, NULL) != HONE_OK) hone_host_leave(HONE_ERESOURCE);
    hone_host_flush(h);
}

void hone_host_fail_with(hone_host *h, int code, const hone_backend_error *e)
{
    const char *none = code == HONE_ERESOURCE ? "out of memory" : "the plug-in gives no reason";
    hone_host_fail(h, code, e->why[0] || code == HONE_ENO ? e->why : none);
}

void hone_host_done(hone_host *h)
{
    hone_err err = { 0 };
    if (hone_pack_end(&h->out, &err) != HONE_OK) {
        hone_host_fail(h, (int)err.code, err.cause);
        return;
    }
    hone_host_flush(h);
}

void hone_host_done_empty(hone_host *h)
{
    hone_pack_begin(&h->out, HONE_MSG_DONE, h->id);
    hone_host_done(h);
}

/* False: a failure was answered. */
static bool succeeded(hone_host *h, int rc, const hone_backend_error *e)
{
    if (rc)
        hone_host_fail_with(h, rc, e);
    else if (h->err.code)
        hone_host_fail(h, (int)h->err.code, h->err.cause);
    else
        return true;
    return false;
}

void hone_host_done_plain(hone_host *h, int rc, const hone_backend_error *e)
{
    if (succeeded(h, rc, e)) hone_host_done_empty(h);
}

void hone_host_done_timed(hone_host *h, int rc, const hone_backend_error *e, double ms)
{
    if (!succeeded(h, rc, e)) return;
    hone_pack_begin(&h->out, HONE_MSG_DONE, h->id);
    hone_pack_f64(&h->out, ms);
    hone_host_done(h);
}

int32_t *hone_host_copy_ids(hone_host *h, hone_bytes raw, size_t *n)
{
    int32_t *ids = malloc(raw.len ? raw.len : 4);
    *n = raw.len / 4;
    if (!ids) {
        hone_host_fail(h, HONE_ERESOURCE, "out of memory for token ids");
        return NULL;
    }
    hone_get_u32s(raw, (uint32_t *)ids);
    return ids;
}

bool hone_host_check_ids(hone_host *h, const int32_t *ids, size_t n)
{
    if (n == 0) {
        hone_host_fail(h, HONE_EBUG, "no token ids");
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (ids[i] >= 0 && (uint32_t)ids[i] < h->info.n_vocab) continue;
        char why[128];
        (void)snprintf(why, sizeof why, "token id %d at %zu is outside the vocabulary of %u", ids[i], i, h->info.n_vocab);
        hone_host_fail(h, HONE_EINPUT, why);
        return false;
    }
    return true;
}

bool hone_host_need_model(hone_host *h, bool weights)
{
    if (!h->m)
        hone_host_fail(h, HONE_EBUG, "no model is open");
    else if (weights && h->graph)
        hone_host_fail(h, HONE_EUNSUPPORTED, "the model is open as a network without tokens");
    else if (weights && h->vocab_only)
        hone_host_fail(h, HONE_EBUG, "the model is open for its vocabulary only");
    else
        return true;
    return false;
}

char *hone_host_copy_text(hone_bytes b)
{
    char *s = malloc(b.len + 1);
    if (!s) return NULL;
    if (b.len) memcpy(s, b.ptr, b.len);
    s[b.len] = '\0';
    return s;
}
