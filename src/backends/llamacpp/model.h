/* model.h - an open model of the llama.cpp plug-in, for the files of its folder. */
#ifndef HONE_BACKENDS_LLAMACPP_MODEL_H
#define HONE_BACKENDS_LLAMACPP_MODEL_H
#include "hone/backend.h"
#include "llama.h"

enum { OK = 0, INPUT = 3, UNSUPPORTED = 4, RUNTIME = 5, RESOURCE = 6, BUG = 70 };

struct hone_backend_model {
    struct llama_model         *model;
    const struct llama_vocab   *vocab;
    struct llama_context       *ctx; /* NULL: vocabulary only */
    struct llama_batch          batch;
    struct llama_context_params params; /* as ctx was made, for the capturing twin */
    uint32_t                    n_batch, n_vocab, n_embd, n_past;
    bool                        embeddings, pooled;
};

/* Fills e->why and returns code. */
int hone_llamacpp_fail(hone_backend_error *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Empties the cache of ctx. */
void hone_llamacpp_forget(hone_backend_model *m, struct llama_context *ctx);
/* Evaluates ids in a context of its own, made with p, from position 0 on; *at: where the batch that runs begins. */
int hone_llamacpp_aside(hone_backend_model *m, struct llama_context_params p, const int32_t *ids, size_t n, size_t *at, hone_backend_error *e);

/* As in hone/backend.h. */
int hone_llamacpp_capture(hone_backend_model *m, const int32_t *ids, size_t n,
                          void (*sink)(void *user, const char *name, const float *sum_sq, size_t n_mats, size_t n_cols, const uint64_t *counts),
                          void *user, hone_backend_error *e);
int hone_llamacpp_inputs(hone_backend_model *m, const int32_t *ids, size_t n, const char *const *names, size_t n_names,
                         void (*sink)(void *user, size_t name, const float *rows, size_t n_rows, size_t n_cols, size_t n_mats, const uint32_t *mats), void *user,
                         hone_backend_error *e);
int hone_llamacpp_layers(hone_backend_model *m, const int32_t *ids, size_t n,
                         void (*sink)(void *user, uint32_t layer, const float *values, size_t n, size_t n_embd), void *user, hone_backend_error *e);
#endif
