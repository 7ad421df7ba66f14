/* fit.h - what every GGUF encoding of a model costs: bytes of weights (exact), KV cache, compute buffers, and the time to read them. */
#ifndef HONE_FLOW_ASSESS_FIT_H
#define HONE_FLOW_ASSESS_FIT_H
#include "ir/model.h"
#include "passes/mix.h"

typedef struct hone_counts {
    uint64_t parameters;        /* of the checkpoint, a tied head once */
    uint64_t parameters_active; /* used for one token: the chosen experts only; one row of the embedding tables */
} hone_counts;

typedef struct hone_fit_inputs {
    uint32_t context;                                   /* tokens */
    uint64_t ram_bytes, storage_bytes, package_bytes;   /* 0: unknown or no limit */
    double   gb_s;                                      /* what decoding reaches, 10^9 bytes/s; 0: unknown */
    double   layer_overhead_us;
    /* filled by hone_fit_all */
    hone_counts counts;
    uint32_t    context_padded, batch;
    uint64_t    kv_bytes, kv_windowed_bytes, compute_bytes;
} hone_fit_inputs;

typedef struct hone_fit {
    const hone_mix *mix;
    bool            ok;
    char            why[512];  /* when not ok */
    size_t          n_matrices, fallbacks;
    double          bpw;       /* bits per weight over all tensors */
    uint64_t        weights_bytes, file_bytes, kv_bytes, compute_bytes, ram_bytes;
    uint64_t        touched_bytes; /* weights read for one token */
    double          decode_tok_s;  /* estimate; 0: none */
    int             fits, fits_package, fits_storage; /* 1, 0, or -1: unknown or no limit */
} hone_fit;

/* One entry per row of hone_mix_list, in its order, in the arena.  A model that llama.cpp cannot run gives entries that are not ok, with
 * the reason.  Errors: HONE_ERESOURCE, HONE_EBUG. */
hone_code hone_fit_all(const hone_model *m, hone_arena *a, hone_fit_inputs *in, hone_fit **out, size_t *n, hone_err *err);
#endif
