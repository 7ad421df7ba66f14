/* rewrite.h - the model that --prune, --method awq and --method smooth ask for: bound anew to its family, with its own config.json, so that
 * planners, graphs and formats see a model like any other. */
#ifndef HONE_FLOW_REWRITE_H
#define HONE_FLOW_REWRITE_H
#include "flow/convert.h"
#include "ir/stats.h"

/* True when the options ask for a rewrite. */
bool hone_rewrite_wanted(const hone_convert_options *opt);

typedef struct hone_rewritten { /* zero-initialise */
    const hone_model *m;     /* the source when nothing is asked for */
    const hone_stats *stats; /* of that model; NULL when there are none */
    json_t           *done;  /* array of objects {rewrite, ..., notes}: docs/schema/convert.json; owned; NULL when nothing was asked for */
    hone_model        steps[2];
    hone_stats        step_stats[2];
    size_t            n_steps;
} hone_rewritten;

/* m and opt->stats are borrowed and outlive out.  Prunes first, then folds scales.
 * Errors as hone_prune and hone_fold; HONE_EUNSUPPORTED when the family cannot be told of the new sizes. */
hone_code hone_model_rewrite(const hone_ctx *ctx, const hone_model *m, const hone_convert_options *opt, hone_rewritten *out, hone_err *err);
void      hone_rewritten_release(hone_rewritten *r);
#endif
