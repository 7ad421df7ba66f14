/* judge.h - from records to a decision: constraints, Pareto front, score, gates. */
#ifndef HONE_FLOW_OPTIMIZE_JUDGE_H
#define HONE_FLOW_OPTIMIZE_JUDGE_H
#include "flow/optimize/state.h"

/* Fills speed, accuracy, kld, memory, excluded, pareto and score of every candidate; s->chosen is the eligible one with the best score, or
 * NULL.  The strategy's encoding is overruled only by a score whose lead is larger than the uncertainty of the speeds behind it; strategy and
 * strategy_why say what came of it.  May be called again when a record was added. */
void hone_opt_choose(hone_opt_state *s);
/* The gates of MISSION 3.5 for the chosen configuration: [{name, verdict, blocking, value, threshold, unit, why}]; owned by the caller. */
hone_code hone_opt_gates(const hone_opt_state *s, json_t **gates, bool *all_pass, hone_err *err);
/* {gate: verdict} of a candidate in stage 3, on one thread; owned by the caller, NULL when memory is gone. */
json_t   *hone_opt_candidate_gates(const hone_opt_state *s, const hone_candidate *c);
/* HONE_ENO with the gates that failed in the cause. */
hone_code hone_opt_verdict(const hone_opt_state *s, const json_t *doc, hone_err *err);
#endif
