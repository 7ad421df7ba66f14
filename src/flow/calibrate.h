/* calibrate.h - runs text through a model in its real engine and writes down what the weight matrices were given: `hone calibrate`.
 * Always llama.cpp: no other runtime shows the inputs of its matrices.  A source that is no GGUF becomes an unquantised one for that time. */
#ifndef HONE_FLOW_CALIBRATE_H
#define HONE_FLOW_CALIBRATE_H
#include "base/ctx.h"
#include "base/json.h"

typedef struct hone_calibrate_text {
    const char *name; /* a language, say; NULL: none was given */
    const char *path;
} hone_calibrate_text;

typedef struct hone_calibrate_options {
    const char                *source; /* what hone_model_open takes */
    const hone_calibrate_text *texts;  /* [n_texts] plain text, UTF-8 */
    size_t                     n_texts;
    const char                *out;
    bool                       hessian;
    uint32_t                   context;    /* tokens in a chunk; 0: 512, less where the model has less */
    uint32_t                   max_tokens; /* of each text; 0: all */
    uint32_t                   cold_rows;  /* an expert that saw fewer rows is called cold; 0: 100 */
    uint64_t                   ram_bytes;  /* for Hessians: what does not fit is computed in further passes over the text; 0: half of what is available */
} hone_calibrate_options;

/* Each text is tokenised as llama-imatrix does it and cut into chunks of `context` tokens, the first of which is replaced by BOS where the model wants
 * one; the rest behind the last whole chunk is left out, unless it is all there is.  doc gets the keys of docs/schema/calibrate.json.
 * Errors: HONE_EINPUT for texts and models that cannot be read, HONE_EUNSUPPORTED without llama.cpp or for a family it does not run, HONE_ERUNTIME,
 * HONE_ERESOURCE for disk, memory, interruption. */
hone_code hone_calibrate(const hone_ctx *ctx, const hone_calibrate_options *opt, json_t *doc, hone_err *err);
#endif
