/* parts.h - what the files of calibrate/ share: one run of `hone calibrate`. */
#ifndef HONE_FLOW_CALIBRATE_PARTS_H
#define HONE_FLOW_CALIBRATE_PARTS_H
#include "flow/calibrate.h"
#include "formats/gguf/imatrix.h"
#include "ir/model.h"
#include "base/temp.h"
#include "measure/child.h"
#include "quant/gram.h"

typedef struct hone_calib_text {
    const char *name, *path; /* name NULL: none */
    uint64_t    bytes;
    int32_t    *ids;         /* [n_ids] all of it */
    size_t      n_ids, used; /* used: of the chunks together */
    uint32_t    n_chunks;
} hone_calib_text;

typedef struct hone_calib_input { /* rows that one or more weight matrices of a layer are multiplied with */
    const char *name;             /* of the first of those weights, as the runtime calls it */
    hone_role   role;             /* of that weight */
    int32_t     layer;
    uint32_t    n_mats, n_cols;
    size_t      unit0;            /* the first of its n_mats units: a unit is one Hessian */
    double     *sum_sq, *sum_abs, *sum; /* [n_mats, n_cols] */
    float      *max_abs;
    uint64_t   *counts;           /* [n_mats] */
    uint64_t   *by_text;          /* [n_texts, n_mats] */
} hone_calib_input;

typedef struct hone_calib_weight {
    const char     *name;
    hone_role       role;
    int32_t         layer;
    uint32_t        n_mats, n_cols;
    const float    *probe;  /* [n_mats, n_cols] sums over the first few tokens: what shares an input has the same ones */
    const uint64_t *probe_counts;
    size_t          input;
} hone_calib_weight;

typedef struct hone_calib {
    const hone_ctx               *ctx;
    const hone_calibrate_options *opt;
    hone_arena                    arena;
    hone_model                    model;
    hone_child                    child;
    const char                   *gguf;   /* what the runtime opened */
    const char                   *dtype;  /* of the GGUF's weights */
    hone_temp                     folder; /* for the model as GGUF */
    uint32_t                      context;
    hone_calib_text              *texts;  /* [opt->n_texts] */
    hone_calib_weight            *weights; /* [n_weights] in the order of layers and roles */
    size_t                        n_weights, weights_cap;
    hone_calib_input             *inputs; /* [n_inputs] in the order of their first weights */
    size_t                        n_inputs, n_units;
    bool                          tied;
    uint64_t                      budget; /* bytes for Hessians */
    unsigned                      passes, passes_expected;

    /* the pass that runs */
    bool                          summing;
    size_t                       *asked;  /* [n_inputs] inputs whose rows come, in the order they are asked for */
    size_t                        n_asked, text; /* text: whose chunk it is */
    size_t                        unit_from, unit_to; /* Hessians that are held */
    hone_gram                    *grams;  /* [unit_to - unit_from] */
    hone_err                      failed; /* the first failure while rows came; code HONE_OK: none */
} hone_calib;

/* --- source.c --- */
/* Opens the model, makes a GGUF of it when it is none, opens that in the runtime, reads and tokenises the texts. */
hone_code hone_calib_open(hone_calib *c, hone_err *err);
void      hone_calib_close(hone_calib *c);

/* --- seen.c --- */
/* Finds out which weights are multiplied and which of them share an input. */
hone_code hone_calib_discover(hone_calib *c, hone_err *err);
/* The texts once: sums, and with opt->hessian as many Hessians as fit. */
hone_code hone_calib_run(hone_calib *c, hone_err *err);
/* What was seen; Hessians are computed when they are asked for, in further passes where they did not fit the first. */
hone_code hone_calib_stats(hone_calib *c, hone_stats *out, hone_err *err);
/* Bytes of all Hessians in the file. */
uint64_t  hone_calib_hessian_bytes(const hone_calib *c);

/* --- coverage.c --- */
/* Adds "texts", "coverage" and "warnings" to doc, and tells the context's events what the user should act on. */
hone_code hone_calib_coverage(const hone_calib *c, json_t *doc, hone_err *err);
#endif
