/* layers.h - the hidden state behind every layer, of an artefact and of a reference artefact of the same checkpoint: where do they part? */
#ifndef HONE_MEASURE_LAYERS_H
#define HONE_MEASURE_LAYERS_H
#include "measure/artefact.h"
#include "measure/metric.h"
#include "runner/runner.h"

typedef struct hone_layers_options {
    const char *artefact, *reference; /* any formats, any runtimes that let one look */
    const char *text;      /* whose first ids are used; NULL: seeded random ids */
    const char *device;    /* NULL: "cpu" */
    uint32_t    n_ids;     /* 0: 64, or longer where the model's attention has a window or a switch (up to 512) */
    unsigned    threads;   /* 0: 1 */
} hone_layers_options;

typedef struct hone_layer {
    double   max_abs, relative; /* largest difference; norm of the difference over norm of the reference */
    double   cosine;            /* smallest over positions */
    uint32_t worst;             /* position with the largest relative error */
} hone_layer;

typedef struct hone_layers_result { /* layers and heat live in the arena given */
    char        path[1024], reference_path[1024], runtime[64], reference_runtime[64];
    uint32_t    n_layers, n_ids, n_embd;
    hone_layer *layers;      /* [n_layers] */
    float      *heat;        /* [n_layers, n_ids] relative error of each position */
    double      bound;       /* relative error that the rougher of both precisions explains: 1e-3, f16 2e-2, bf16 1e-1, quantised none (0) */
    int32_t     parts_at;    /* first layer over the bound; without a bound, the one with the largest growth over the layer before; -1: none */
    int32_t     parts_at_position; /* first position there that is over the bound; -1 */
} hone_layers_result;

/* Errors: those of both runtimes; HONE_EUNSUPPORTED when one cannot show its layers; HONE_EINPUT when the two are not of one shape. */
hone_code hone_layers(const hone_ctx *ctx, const hone_layers_options *opt, hone_arena *a, hone_layers_result *out, hone_err *err);
json_t   *hone_layers_json(const hone_layers_result *r);
#endif
