/* whole.h - what a whole plan does to a model: the format's float32 artefact beside what the plan makes of it, in the format's own runtime.
 * MLX is slow on a processor, and sums there in the folder's own type (docs/PLAN.md): its plans are measured by their weights, as float32 in
 * llama.cpp. */
#ifndef HONE_FLOW_PLAN_WHOLE_H
#define HONE_FLOW_PLAN_WHOLE_H
#include "flow/plan/trial.h"
#include "measure/metric.h"

typedef struct hone_whole { /* zeroed: closed */
    const hone_ctx         *ctx;
    const hone_model       *m;
    const hone_sense_trial *t;
    size_t                  format;
    hone_temp               dir;
    char                    reference[1200], by[80]; /* by: where the last measurement was made, for people */
} hone_whole;

/* Makes the reference of a format (by number).  What is borrowed must live until the close. */
hone_code hone_whole_open(const hone_ctx *ctx, const hone_model *m, const hone_sense_trial *t, size_t format, hone_whole *out, hone_err *err);
/* The KLD of a plan over t's text, with its interval.  quant: as for --quant, what the plan leaves out.  HONE_EUNSUPPORTED when the runtime is not here. */
hone_code hone_whole_measure(hone_whole *w, const hone_plan *p, const char *quant, hone_metric *kld, hone_err *err);
/* Removes all files; NULL and zeroed ones are fine. */
void      hone_whole_close(hone_whole *w);
#endif
