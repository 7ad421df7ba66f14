/* optimize.h - the main job: five progressive stages, candidates, constraints, Pareto front, gates, report: `hone optimize`. */
#ifndef HONE_FLOW_OPTIMIZE_H
#define HONE_FLOW_OPTIMIZE_H
#include "base/ctx.h"
#include "base/json.h"

typedef struct hone_optimize_options {
    const char *source, *target, *out_dir;
    const char *command;      /* the command line, for the record */
    const char *const *quants; size_t n_quants; /* candidates; 0: the default set (at least 8) */
    const char *text, *tasks; /* NULL: SRC/eval/heldout.txt, SRC/eval/tasks.jsonl when there */
    uint64_t    max_ram, max_bytes; /* bytes, 0: the target's own limit */
    double      min_accuracy;       /* share of the baseline's accuracy, default 0.95 */
    double      prefer_speed, prefer_accuracy, prefer_memory; /* weights, normalised; default .5 .3 .2 */
    double      gate_speed, gate_memory, gate_variation; /* thresholds: at least x the baseline's speed, at most this share of its memory, at most
                                                          * this coefficient of variation; 0: the mission's 2, .5, .2 */
    uint32_t    prompt, gen, repeat, seed; /* bench settings; 0: defaults */
    uint32_t    max_tokens, max_items;     /* eval cuts, 0: all */
    bool        fresh; /* measure again what history holds */
} hone_optimize_options;

/* Runs or resumes.  doc (an object) gets stages[], candidates[], pareto[], chosen, gates[], report and what report.html shows; DIR/report.json and
 * DIR/report.html are written, every measurement goes to DIR/history.db the moment it is finished.
 * HONE_ENO (with the document whole) when a blocking gate is not `pass`. */
hone_code hone_optimize(const hone_ctx *ctx, const hone_optimize_options *opt, json_t *doc, hone_err *err);
#endif
