/* assess.h - before anything is converted: what the model is, which encodings it can have, what fits the target, what to use:
 * `hone assess`.  Bytes are exact, computed from the plan of every encoding; speeds are estimates and say so. */
#ifndef HONE_FLOW_ASSESS_H
#define HONE_FLOW_ASSESS_H
#include "base/ctx.h"
#include "base/json.h"
#include "ir/model.h"

typedef struct hone_assess_options {
    const char *target;   /* as hone_probe; NULL: this machine */
    const char *workflow; /* "prototype", "enterprise", or NULL */
    uint32_t    context;  /* tokens of KV cache; 0: the target's policy, at most the model's own */
    uint64_t    max_ram;  /* bytes; 0: what the target has available */
    bool        explain;  /* adds decision{}: every rule with the facts it was judged by, and the matrices */
    bool        quick;    /* this machine's memory bandwidth is not measured; speeds are then not estimated */
} hone_assess_options;

/* *out (owned): source, target{}, model{}, context, compatibility[{format,encoding,ok,reason}],
 * fit[{format,encoding,bpw,weights_bytes,file_bytes,kv_bytes,compute_bytes,ram_bytes,est_decode_tok_s,fits,fits_package}],
 * recommendation{framework,format,quantization,writable,now{},because[]}, warnings[], estimates[].
 * Errors: those of hone_probe; HONE_EUSAGE when the context is over the model's. */
hone_code hone_assess(const hone_ctx *ctx, const hone_model *m, const hone_assess_options *opt, json_t **out, hone_err *err);
#endif
