/* make.h - a plan for a target: `hone plan`, and `hone convert --target-...`. */
#ifndef HONE_FLOW_PLAN_MAKE_H
#define HONE_FLOW_PLAN_MAKE_H
#include "flow/plan.h"
#include "flow/plan/sense.h"

typedef enum hone_plan_how { HONE_PLAN_AUTO, HONE_PLAN_PROXY, HONE_PLAN_MEASURED } hone_plan_how;

typedef struct hone_plan_request {
    const hone_convert_options *as; /* formats and bases (quants), groups, statistics and method of the conversion that is to come */
    uint64_t      target_bytes, max_ram; /* one of these four, the others 0: bytes of all files of an output; */
    double        target_bpw, target_kld; /* of all tensors; KLD against the unquantised model */
    uint32_t      context;    /* max_ram: tokens of KV cache; 0: the model's own */
    hone_plan_how how;        /* AUTO: measured where there is a text and the weights take 8 GB at most */
    const char   *text;       /* calibration text; NULL: nothing is measured */
    uint32_t      max_tokens; /* of it; 0: 4096 */
    const char   *work_dir;
    bool          judge;      /* measure the KLD of each plan as a whole (flow/plan/whole.h); for target_kld that is always done */
} hone_plan_request;

typedef struct hone_plan_made {
    hone_plan       plan;  /* arena */
    hone_plan_about about;
    hone_sense      sense;
    size_t          tried; /* measurements of sensitivity; 0: guessed */
    const uint8_t  *chosen[HONE_PLAN_FORMATS]; /* [sense.n] options */
} hone_plan_made;

/* The best plan for each format of r->as: the least predicted KLD under the limit, or the fewest bytes under the KLD, which is measured on the plan as a
 * whole where the runtime is here, and predicted elsewhere, with a warning.
 * Errors: HONE_EUSAGE for targets that make no sense; HONE_ENO when no plan meets the target, with the nearest; those of hone_sense_measure. */
hone_code hone_plan_make(const hone_ctx *ctx, const hone_model *m, const hone_plan_request *r, hone_arena *a, hone_plan_made *out, hone_err *err);
#endif
