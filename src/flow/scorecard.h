/* scorecard.h - artefacts of any formats side by side: proof, quality, speed, memory, size and load in one list of rows, with the winner for each
 * preference.  The parts of check, eval and bench; one page for all of them. */
#ifndef HONE_FLOW_SCORECARD_H
#define HONE_FLOW_SCORECARD_H
#include "base/text.h"
#include "measure/layers.h"
#include "measure/measure.h"

typedef struct hone_scorecard { /* zero-initialise; hone_scorecard_release */
    hone_arena arena;
    json_t    *rows;    /* [{path, name, format, runtime, bytes, precision, check, eval, bench, layers, failure{part,code,exit,cause,remedy}}]: a part that was
                         * not run is absent, and one that failed leaves failure; owned */
    json_t    *winners; /* {speed, accuracy, memory, balanced}: {path, name, value, unit, clear, why} or null with "reason"; owned */
} hone_scorecard;

/* A row for each path: what lies there.  One that holds no artefact is a failed row. */
hone_code hone_scorecard_open(const hone_ctx *ctx, const char *const *paths, size_t n, hone_scorecard *s, hone_err *err);
/* Each fills its part of every row; like gives all but the artefact.  A row whose runtime is missing, refuses or dies is one failure and a warning;
 * the others go on.  Errors: an interruption, lack of memory, what concerns all (a bad text, a bad reference), and, when no row has a result, the
 * failure of the first. */
hone_code hone_scorecard_check(const hone_ctx *ctx, const hone_check_options *like, hone_scorecard *s, hone_err *err);
hone_code hone_scorecard_eval(const hone_ctx *ctx, const hone_eval_options *like, hone_scorecard *s, hone_err *err);
hone_code hone_scorecard_bench(const hone_ctx *ctx, const hone_bench_options *like, hone_scorecard *s, hone_err *err);
/* Every row against like->reference, or against the first row when that is NULL. */
hone_code hone_scorecard_layers(const hone_ctx *ctx, const hone_layers_options *like, hone_scorecard *s, hone_err *err);
/* The widest unquantised artefact among the rows, first of equals; NULL: there is none. */
const char *hone_scorecard_reference(const hone_scorecard *s);
/* Fills winners, and score in every row that can win.  A row that failed, or whose check failed, wins nothing.  Weights: any sum. */
hone_code hone_scorecard_judge(hone_scorecard *s, double speed, double accuracy, double memory, hone_err *err);
/* results[] of a verb: the part's fields at the top of each entry, the other parts beside them under their names; owned. */
json_t   *hone_scorecard_results(const hone_scorecard *s, const char *part);
void      hone_scorecard_release(hone_scorecard *s);

/* The page: self-contained, light and dark.  about: {command, machine{}, verb}; machine NULL is left out. */
hone_code hone_scorecard_html(const hone_scorecard *s, const json_t *about, hone_text *out, hone_err *err);
/* The same into a file. */
hone_code hone_scorecard_write(const hone_ctx *ctx, const hone_scorecard *s, const char *verb, const char *command, const char *path, hone_err *err);
#endif
