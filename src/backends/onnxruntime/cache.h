/* cache.h - keys and values of the tokens seen so far, in the buffers that the session reads and writes.
 * Shared: one buffer per tensor, as long as the context, that is past and present at once (GroupQueryAttention writes the new rows in
 * place).  Else two per tensor that change places after every call: the graph itself copies the past into the present then. */
#ifndef HONE_BACKENDS_ONNXRUNTIME_CACHE_H
#define HONE_BACKENDS_ONNXRUNTIME_CACHE_H
#include "backends/onnxruntime/folder.h"
#include "backends/onnxruntime/session.h"

typedef struct hone_ort_cache_tensor {
    const char *past, *present; /* names */
    int         type;
    int64_t     heads, head_dim;
    OrtValue   *shared; /* [1, heads, context, head_dim] */
    char       *buffer[2]; /* [heads, tokens, head_dim], packed; owned */
} hone_ort_cache_tensor;

typedef struct hone_ort_cache {
    hone_ort_session      *s; /* borrowed */
    hone_ort_cache_tensor *t; /* [n]; n = 0: the model keeps nothing */
    size_t                 n;
    uint32_t               context, past; /* tokens: room, and held */
    bool                   shared;
    bool                   bound;   /* shared: the binding has them already */
    int                    current; /* which buffer holds the past */
    uint64_t               bytes;
    OrtAllocator          *device; /* of shared values that are not in processor memory */
} hone_ort_cache;

/* Finds the cache's tensors among the session's inputs; context tokens get room. */
int  hone_ort_cache_open(hone_ort_session *s, const hone_ort_folder *f, uint32_t context, hone_arena *a, hone_ort_cache *out, hone_backend_error *e);
void hone_ort_cache_close(hone_ort_cache *c);
/* Binds past and present for a call of n tokens behind the past. */
int hone_ort_cache_bind(hone_ort_cache *c, OrtIoBinding *b, size_t n, hone_backend_error *e);
/* The call went well: the past is n tokens longer. */
void hone_ort_cache_advance(hone_ort_cache *c, size_t n);
/* Forgets tokens from pos on; pos <= past. */
void hone_ort_cache_rewind(hone_ort_cache *c, uint32_t pos);
/* An OrtValue over our own memory, on the processor. */
int hone_ort_tensor(const hone_ort *o, void *data, int type, const int64_t *dims, size_t rank, OrtValue **out, hone_backend_error *e);
#endif
