/* open.c - a model, in the runtime of this process. */
#include "runner/host/host.h"
#include <stdio.h>
#include <stdlib.h>

static void ignore_row(void *user, size_t index, const float *values, size_t n_values)
{
    (void)user;
    (void)index;
    (void)values;
    (void)n_values;
}

static void close_model(hone_host *h)
{
    if (h->m) h->b->close(h->m);
    h->m = NULL;
}

/* The names behind the flags of open; *out is owned with its strings (free_names).  False when memory is gone. */
static bool unpack_names(hone_unpacker *u, char ***out, size_t *n)
{
    uint32_t count = hone_unpack_u32(u);
    *n = 0;
    *out = NULL;
    if (count > u->left / 8) hone_host_leave(HONE_EBUG);
    if (count == 0) return true;
    *out = calloc(count, sizeof **out);
    for (uint32_t i = 0; *out && i < count; i++) {
        hone_bytes name = hone_unpack_bytes(u);
        (*out)[i] = hone_host_copy_text(name);
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

/* What was asked for; the strings are owned (release_open).  False: memory is gone. */
static bool unpack_open(hone_unpacker *u, hone_backend_open *how)
{
    how->path = hone_host_copy_text(hone_unpack_bytes(u));
    how->device = hone_host_copy_text(hone_unpack_bytes(u));
    how->threads = hone_unpack_u32(u);
    how->context = hone_unpack_u32(u);
    how->batch = hone_unpack_u32(u);
    uint32_t flags = hone_unpack_u32(u);
    how->vocab_only = flags & 1;
    how->embeddings = flags & 2;
    how->hidden = flags & 4;
    how->exact = flags & 8;
    how->graph = flags & 16;
    char **names = NULL;
    bool   room = unpack_names(u, &names, &how->n_outputs);
    how->outputs = (const char *const *)names;
    if (room && !hone_unpack_done(u)) hone_host_leave(HONE_EBUG);
    return room && how->path && how->device;
}

static void release_open(hone_backend_open *how)
{
    free((char *)how->path);
    free((char *)how->device);
    free_names((char **)how->outputs, how->n_outputs);
}

static int open_model(hone_host *h, const hone_backend_open *how, hone_backend_error *e)
{
    if (how->graph && !h->b->infer) {
        (void)snprintf(e->why, sizeof e->why, "this runtime takes language models only");
        return HONE_EUNSUPPORTED;
    }
    int rc = h->b->open(how, &h->m, &h->info, e);
    if (rc || how->vocab_only || how->graph) return rc;
    /* The first evaluation builds graphs and reads the weights: it is part of what loading costs. */
    int32_t first = h->info.bos >= 0 ? h->info.bos : 0;
    rc = h->b->forward(h->m, &first, 1, 0, NULL, ignore_row, NULL, e);
    return rc ? rc : h->b->rewind(h->m, 0, e);
}

static void pack_info(hone_packer *p, const hone_backend_info *i)
{
    const uint32_t small[] = { i->n_vocab, i->n_ctx, i->n_embd, i->n_ctx_train };
    for (size_t k = 0; k < HONE_COUNT(small); k++) hone_pack_u32(p, small[k]);
    const uint64_t big[] = { i->n_params, i->weights_bytes, i->kv_bytes, i->compute_bytes };
    for (size_t k = 0; k < HONE_COUNT(big); k++) hone_pack_u64(p, big[k]);
    const int32_t ids[] = { i->bos, i->eos, i->eot };
    for (size_t k = 0; k < HONE_COUNT(ids); k++) hone_pack_u32(p, (uint32_t)ids[k]);
    hone_pack_u8(p, i->add_bos);
    hone_pack_u8(p, i->add_eos);
    hone_pack_bytes(p, i->runtime, strnlen(i->runtime, sizeof i->runtime));
    hone_pack_bytes(p, i->version, strnlen(i->version, sizeof i->version));
    hone_pack_bytes(p, i->device, strnlen(i->device, sizeof i->device));
    hone_pack_bytes(p, i->description, strnlen(i->description, sizeof i->description));
    hone_pack_bytes(p, i->fallback, strnlen(i->fallback, sizeof i->fallback));
    hone_pack_u8(p, i->text);
}

void hone_host_open(hone_host *h, hone_unpacker *u)
{
    hone_backend_open  how = { 0 };
    hone_backend_error e = { "" };
    bool               room = unpack_open(u, &how);
    close_model(h);
    memset(&h->info, 0, sizeof h->info);
    h->info.bos = h->info.eos = h->info.eot = -1;
    double from = hone_host_now_ms();
    int    rc = room ? open_model(h, &how, &e) : HONE_ERESOURCE;
    double ms = hone_host_now_ms() - from;
    h->vocab_only = how.vocab_only;
    h->graph = how.graph;
    release_open(&how);
    if (rc) {
        close_model(h);
        hone_host_fail_with(h, rc, &e);
        return;
    }
    hone_pack_begin(&h->out, HONE_MSG_DONE, h->id);
    hone_pack_f64(&h->out, ms);
    pack_info(&h->out, &h->info);
    hone_host_done(h);
}
