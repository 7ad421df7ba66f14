/* network.c - networks without tokens: what goes in and comes out, a run; models of other formats. */
#include "runner/host/host.h"
#include <stdlib.h>

static bool need_graph(hone_host *h)
{
    if (h->m && h->graph) return true;
    hone_host_fail(h, HONE_EBUG, "no network is open");
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

void hone_host_signature(hone_host *h)
{
    const hone_backend_port *in = NULL, *out = NULL;
    size_t                   n_in = 0, n_out = 0;
    hone_backend_error       e = { "" };
    if (!need_graph(h)) return;
    int rc = h->b->signature ? h->b->signature(h->m, &in, &n_in, &out, &n_out, &e) : HONE_EUNSUPPORTED;
    if (rc) {
        hone_host_fail_with(h, rc, &e);
        return;
    }
    hone_pack_begin(&h->out, HONE_MSG_DONE, h->id);
    pack_ports(&h->out, in, n_in);
    pack_ports(&h->out, out, n_out);
    hone_host_done(h);
}

static void send_value(void *user, const hone_backend_value *v)
{
    hone_host *h = user;
    double     from = hone_host_now_ms();
    hone_pack_begin(&h->out, HONE_MSG_VALUE, h->id);
    hone_pack_bytes(&h->out, v->name, strlen(v->name));
    hone_pack_u32(&h->out, (uint32_t)v->type);
    hone_pack_u32(&h->out, v->rank);
    for (uint32_t k = 0; k < v->rank; k++) hone_pack_u64(&h->out, (uint64_t)v->dims[k]);
    hone_pack_u64(&h->out, v->bytes);
    hone_host_end_frame(h);
    for (size_t at = 0; at < v->bytes;) {
        size_t n = v->bytes - at < HONE_HOST_CHUNK ? v->bytes - at : HONE_HOST_CHUNK;
        hone_pack_begin(&h->out, HONE_MSG_CHUNK, h->id);
        hone_pack_u64(&h->out, at);
        hone_pack_raw(&h->out, (const uint8_t *)v->data + at, n);
        hone_host_end_frame(h);
        at += n;
    }
    h->away_ms += hone_host_now_ms() - from;
}

/* The values of a request, their data copied so that it is aligned: *room is one block, owned.  False: memory is gone. */
static bool unpack_values(hone_unpacker *u, hone_backend_value **out, size_t *n, uint8_t **room)
{
    uint32_t count = hone_unpack_u32(u);
    if (count > u->left / 24) hone_host_leave(HONE_EBUG);
    hone_backend_value *v = calloc(count ? count : 1, sizeof *v);
    size_t              used = 0, name_used = 0, data_cap = u->left + 64u * ((size_t)count + 1); /* data, each at 64 bytes; then names */
    *room = malloc(data_cap + u->left + count + 1);
    if (!v || !*room) {
        free(v);
        free(*room);
        *room = NULL;
        return false;
    }
    char *text = (char *)*room + data_cap;
    for (uint32_t i = 0; i < count; i++) {
        hone_bytes name = hone_unpack_bytes(u);
        v[i].type = (int)hone_unpack_u32(u);
        v[i].rank = hone_unpack_u32(u);
        if (v[i].rank > HONE_BACKEND_RANK_MAX) hone_host_leave(HONE_EBUG);
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

void hone_host_infer(hone_host *h, hone_unpacker *u)
{
    hone_backend_value *in = NULL;
    uint8_t            *room = NULL;
    size_t              n = 0;
    hone_backend_error  e = { "" };
    if (!need_graph(h)) return;
    if (!unpack_values(u, &in, &n, &room)) {
        hone_host_fail(h, HONE_ERESOURCE, "out of memory for the inputs of a network");
        return;
    }
    if (!hone_unpack_done(u)) hone_host_leave(HONE_EBUG);
    double from = hone_host_now_ms();
    int    rc = h->b->infer(h->m, in, n, send_value, h, &e);
    double ms = hone_host_now_ms() - from - h->away_ms;
    hone_host_done_timed(h, rc, &e, ms);
    free(in);
    free(room);
}

void hone_host_translate(hone_host *h, hone_unpacker *u)
{
    hone_bytes a = hone_unpack_bytes(u), b = hone_unpack_bytes(u);
    bool       f16 = hone_unpack_u8(u);
    if (!hone_unpack_done(u)) hone_host_leave(HONE_EBUG);
    if (!h->b->translate) {
        hone_host_fail(h, HONE_EUNSUPPORTED, "this runtime reads no other formats");
        return;
    }
    char              *from = hone_host_copy_text(a), *to = hone_host_copy_text(b);
    hone_backend_error e = { "" };
    int                rc = from && to ? h->b->translate(from, to, f16, &e) : HONE_ERESOURCE;
    free(from);
    free(to);
    if (rc)
        hone_host_fail_with(h, rc, &e);
    else
        hone_host_done_empty(h);
}
