/* scores.h - what each unit of a layer (a head, a channel, an expert, the layer itself) adds to the model. */
#ifndef HONE_PASSES_PRUNE_SCORES_H
#define HONE_PASSES_PRUNE_SCORES_H
#include "passes/prune.h"

/* Units of one layer under a method. */
uint32_t hone_prune_units(const hone_facts *f, hone_prune_method method);
/* out: [n_layers, units]: expected energy (sum of squares) that the unit adds, per token, to the output of its half of the layer; without
 * statistics the energy of the input is taken from the norms of the rows that make it.  Read on all threads; same numbers on any number. */
hone_code hone_prune_scores(const hone_ctx *ctx, const hone_model *m, hone_prune_method method, const hone_stats *stats, hone_arena *a, double **out,
                            hone_err *err);
#endif
