#include "backends/onnxruntime/cache.h"
#include <stdlib.h>
#include <string.h>

int hone_ort_tensor(const hone_ort *o, void *data, int type, const int64_t *dims, size_t rank, OrtValue **out, hone_backend_error *e)
{
    size_t bytes = hone_ort_size(type);
    for (size_t i = 0; i < rank; i++) bytes *= (size_t)dims[i]; /* sizes of buffers that exist */
    return hone_ort_check(o, o->CreateTensorWithDataAsOrtValue(o->cpu, data, bytes, dims, rank, type, out), e, "a tensor of the session");
}

/* --- opening ----------------------------------------------------------------------------------------------------------- */
/* The tensor that is called past and gives present; out is untouched when the model has no such input. */
static int find_one(const hone_ort_session *s, const hone_ort_folder *f, const char *past, const char *present, hone_ort_cache_tensor *out, bool *found,
                    hone_backend_error *e)
{
    if (!past || !present) return hone_ort_fail(e, HONE_ERESOURCE, "out of memory for names");
    const hone_ort_port *p = hone_ort_find(s->in, s->n_in, past), *q = hone_ort_find(s->out, s->n_out, present);
    *found = p != NULL;
    if (!p) return HONE_OK;
    if (!q) return hone_ort_fail(e, HONE_EINPUT, "the model reads '%s' but does not give '%s'", past, present);
    /* The genai builder writes some of these as names; its config then has the numbers. */
    int64_t heads = p->rank == 4 && p->dims[1] > 0 ? p->dims[1] : f->kv_heads, head_dim = p->rank == 4 && p->dims[3] > 0 ? p->dims[3] : f->head_dim;
    if (p->rank != 4 || q->rank != 4 || heads <= 0 || head_dim <= 0 || heads > 1 << 16 || head_dim > 1 << 16 || p->type != q->type ||
        (p->type != ORT_F32 && p->type != ORT_F16 && p->type != ORT_BF16))
        return hone_ort_fail(e, HONE_EUNSUPPORTED, "'%s' is not [batch, heads, tokens, head size] of floats", past);
    *out = (hone_ort_cache_tensor){ .past = p->name, .present = q->name, .type = p->type, .heads = heads, .head_dim = head_dim };
    return HONE_OK;
}

static int find_all(hone_ort_cache *c, const hone_ort_folder *f, hone_arena *a, hone_backend_error *e)
{
    c->t = HONE_ARENA_NEW(a, hone_ort_cache_tensor, c->s->n_in + 2);
    if (!c->t) return hone_ort_fail(e, HONE_ERESOURCE, "out of memory for names");
    for (uint32_t layer = 0; c->n + 2 <= c->s->n_in + 2; layer++) {
        bool key = false, value = false;
        int  rc = find_one(c->s, f, hone_ort_name(a, f->past_key, layer), hone_ort_name(a, f->present_key, layer), &c->t[c->n], &key, e);
        if (rc == HONE_OK && !key) break;
        if (rc == HONE_OK)
            rc = find_one(c->s, f, hone_ort_name(a, f->past_value, layer), hone_ort_name(a, f->present_value, layer), &c->t[c->n + 1], &value, e);
        if (rc == HONE_OK && !value) rc = hone_ort_fail(e, HONE_EINPUT, "the model reads '%s' but no values of layer %u", c->t[c->n].past, layer);
        if (rc != HONE_OK) return rc;
        c->n += 2;
        if (strstr(f->past_key, "%d") == NULL) break;
    }
    return HONE_OK;
}

/* Bytes of context tokens; 0 when that is more than any memory. */
static uint64_t tensor_bytes(const hone_ort_cache *c, const hone_ort_cache_tensor *t)
{
    uint64_t n;
    if (!hone_size_mul((uint64_t)t->heads * (uint64_t)t->head_dim * hone_ort_size(t->type), c->context, &n) || n > SIZE_MAX / 4) return 0;
    return n;
}

static int allocate_one(hone_ort_cache *c, hone_ort_cache_tensor *t, hone_backend_error *e)
{
    const hone_ort *o = c->s->o;
    uint64_t        bytes = tensor_bytes(c, t);
    const int64_t   dims[] = { 1, t->heads, c->context, t->head_dim };
    c->bytes += c->shared ? bytes : 2 * bytes;
    if (c->shared && c->device)
        return hone_ort_check(o, o->CreateTensorAsOrtValue(c->device, dims, 4, t->type, &t->shared), e, "memory for the cache of %u tokens", c->context);
    /* calloc: pages that no token has reached are not resident. */
    for (int i = 0; i < (c->shared ? 1 : 2); i++) {
        t->buffer[i] = bytes ? calloc(1, (size_t)bytes) : NULL;
        if (!t->buffer[i]) return hone_ort_fail(e, HONE_ERESOURCE, "out of memory for the cache of %u tokens", c->context);
    }
    return c->shared ? hone_ort_tensor(o, t->buffer[0], t->type, dims, 4, &t->shared, e) : HONE_OK;
}

int hone_ort_cache_open(hone_ort_session *s, const hone_ort_folder *f, uint32_t context, hone_arena *a, hone_ort_cache *out, hone_backend_error *e)
{
    hone_ort_cache c = { .s = s, .context = context, .shared = f->shared };
    int            rc = find_all(&c, f, a, e);
    if (rc == HONE_OK && c.n && c.shared && s->memory)
        rc = hone_ort_check(s->o, s->o->CreateAllocator(s->s, s->memory, &c.device), e, "memory of '%s'", s->provider);
    for (size_t i = 0; rc == HONE_OK && i < c.n; i++) rc = allocate_one(&c, &c.t[i], e);
    if (rc == HONE_OK) *out = c;
    else hone_ort_cache_close(&c);
    return rc;
}

void hone_ort_cache_close(hone_ort_cache *c)
{
    if (!c || !c->s) return;
    for (size_t i = 0; i < c->n; i++) {
        if (c->t[i].shared) c->s->o->ReleaseValue(c->t[i].shared);
        free(c->t[i].buffer[0]);
        free(c->t[i].buffer[1]);
    }
    if (c->device) c->s->o->ReleaseAllocator(c->device);
    *c = (hone_ort_cache){ 0 };
}

/* --- use ------------------------------------------------------------------------------------------------------------------ */
static int bind_one(hone_ort_cache *c, OrtIoBinding *b, const hone_ort_cache_tensor *t, size_t n, hone_backend_error *e)
{
    const hone_ort *o = c->s->o;
    const int64_t   past[] = { 1, t->heads, c->past, t->head_dim }, present[] = { 1, t->heads, (int64_t)(c->past + n), t->head_dim };
    OrtValue       *in = t->shared, *out = t->shared;
    int             rc = HONE_OK;
    if (!c->shared) {
        rc = hone_ort_tensor(o, t->buffer[c->current], t->type, past, 4, &in, e);
        if (rc == HONE_OK) rc = hone_ort_tensor(o, t->buffer[!c->current], t->type, present, 4, &out, e);
    }
    if (rc == HONE_OK) rc = hone_ort_check(o, o->BindInput(b, t->past, in), e, "'%s'", t->past);
    if (rc == HONE_OK) rc = hone_ort_check(o, o->BindOutput(b, t->present, out), e, "'%s'", t->present);
    if (!c->shared) { /* the binding holds its own reference */
        if (in) o->ReleaseValue(in);
        if (out) o->ReleaseValue(out);
    }
    return rc;
}

int hone_ort_cache_bind(hone_ort_cache *c, OrtIoBinding *b, size_t n, hone_backend_error *e)
{
    int rc = HONE_OK;
    if (c->shared && c->bound) return HONE_OK;
    for (size_t i = 0; rc == HONE_OK && i < c->n; i++) rc = bind_one(c, b, &c->t[i], n, e);
    c->bound = rc == HONE_OK;
    return rc;
}

void hone_ort_cache_advance(hone_ort_cache *c, size_t n)
{
    if (c->n == 0) return;
    c->past += (uint32_t)n;
    if (!c->shared) c->current = !c->current;
}

void hone_ort_cache_rewind(hone_ort_cache *c, uint32_t pos)
{
    /* Packed heads: each moves up to where it begins with pos tokens. */
    for (size_t i = 0; !c->shared && pos > 0 && pos < c->past && i < c->n; i++) {
        const hone_ort_cache_tensor *t = &c->t[i];
        size_t                       row = (size_t)t->head_dim * hone_ort_size(t->type);
        char                        *p = t->buffer[c->current];
        for (int64_t h = 1; h < t->heads; h++) memmove(p + (size_t)h * pos * row, p + (size_t)h * c->past * row, pos * row);
    }
    if (pos < c->past) c->past = pos;
}
