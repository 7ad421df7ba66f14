/* text.c - text to token ids and back, by the runtime's own tokenizer; chat templates. */
#include "runner/host/host.h"
#include <stdlib.h>

/* have: the plug-in has the function that is asked for. */
static bool need_text(hone_host *h, bool have, const char *missing)
{
    if (!hone_host_need_model(h, false)) return false;
    if (have && h->info.text) return true;
    hone_host_fail(h, HONE_EUNSUPPORTED, missing);
    return false;
}

void hone_host_tokenize(hone_host *h, hone_unpacker *u)
{
    bool       add = hone_unpack_u8(u), parse = hone_unpack_u8(u);
    hone_bytes text = hone_unpack_bytes(u);
    if (!hone_unpack_done(u)) hone_host_leave(HONE_EBUG);
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
        hone_host_fail_with(h, rc, &e);
    } else {
        hone_pack_begin(&h->out, HONE_MSG_DONE, h->id);
        hone_pack_ids(&h->out, ids, n);
        hone_host_done(h);
    }
    free(ids);
}

static void answer_text(hone_host *h, int rc, const char *text, size_t len, const hone_backend_error *e)
{
    if (rc) {
        hone_host_fail_with(h, rc, e);
        return;
    }
    hone_pack_begin(&h->out, HONE_MSG_DONE, h->id);
    hone_pack_bytes(&h->out, text, len);
    hone_host_done(h);
}

void hone_host_detokenize(hone_host *h, hone_unpacker *u)
{
    bool       remove = hone_unpack_u8(u), unparse = hone_unpack_u8(u);
    hone_bytes raw = hone_unpack_ids(u);
    if (!hone_unpack_done(u)) hone_host_leave(HONE_EBUG);
    if (!need_text(h, h->b->detokenize, "this runtime has no tokenizer")) return;
    size_t   n;
    int32_t *ids = hone_host_copy_ids(h, raw, &n);
    if (!ids) return;
    if (n > 0 && !hone_host_check_ids(h, ids, n)) {
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

void hone_host_render(hone_host *h, hone_unpacker *u)
{
    hone_bytes m = hone_unpack_bytes(u), o = hone_unpack_bytes(u);
    if (!hone_unpack_done(u)) hone_host_leave(HONE_EBUG);
    if (!need_text(h, h->b->render, "this runtime renders no chat templates")) return;
    char              *messages = hone_host_copy_text(m), *options = o.len ? hone_host_copy_text(o) : NULL, *text = NULL;
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
