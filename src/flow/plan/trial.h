/* trial.h - files that are written to be measured and then removed again. */
#ifndef HONE_FLOW_PLAN_TRIAL_H
#define HONE_FLOW_PLAN_TRIAL_H
#include "base/temp.h"
#include "flow/plan/sense.h"

/* "f32", "bf16" or "f16": what most of the weights are stored in. */
const char *hone_trial_plain(const hone_model *m);

/* One output of m in dir under a name, with t's statistics and method: what p says, quant (as for --quant) where p says nothing.  p NULL: all in quant,
 * untreated.  path: where it is.  Errors: those of hone_convert. */
hone_code hone_trial_file(const hone_ctx *ctx, const hone_model *m, const hone_sense_trial *t, const hone_temp *dir, const char *name, const char *quant, const hone_plan *p,
                          char *path, size_t cap, hone_err *err);
/* Removes such a file, or the folder of files that it is; an empty path is fine. */
void      hone_trial_drop(char *path);
#endif
