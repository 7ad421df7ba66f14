/* parts.h - the parts of eval, each filling its own fields of the result. */
#ifndef HONE_MEASURE_EVAL_PARTS_H
#define HONE_MEASURE_EVAL_PARTS_H
#include "measure/child.h"
#include "measure/eval/protocol.h"
#include "measure/eval/tasks.h"
#include "measure/measure.h"

#define HONE_EVAL_SEED 0x686f6e65u /* of every bootstrap: results repeat to the bit */

typedef struct hone_eval_text { /* tokenised, cut into windows; arena */
    const int32_t     *ids; size_t n_ids;
    const hone_window *windows; size_t n_windows;
} hone_eval_text;

/* Perplexity of the open artefact; and, when ref is given (open, same vocabulary), KLD and top-1 against it in lockstep: of one window's
 * chunk at a time both sides' rows are computed, only the reference's are kept.
 * at_once: the two children compute at the same time (the machine has cores for both). */
hone_code hone_eval_perplexity(const hone_ctx *ctx, hone_child *c, hone_child *ref, bool at_once, const hone_eval_text *text,
                               hone_eval_result *res, hone_err *err);

typedef struct hone_eval_item { /* a tokenised item; arena */
    const int32_t        *context; size_t n_context; /* with BOS */
    const int32_t *const *choices; const size_t *n_ids; size_t n_choices; /* ids of each choice */
    size_t                task, answer;
} hone_eval_item;

/* Tokenises the items: [BOS] + context and choice apart, special tokens written in them recognised, none added.  At most max_items of
 * each task (0: all).  *longest: ids of the longest context with its longest choice. */
hone_code hone_eval_items(const hone_ctx *ctx, const hone_child *c, const hone_tasks *tasks, const char *what, uint32_t max_items, hone_arena *a,
                          hone_eval_item **out, size_t *n, size_t *longest, hone_err *err);
/* Accuracy by task and in the mean. */
hone_code hone_eval_choices(const hone_ctx *ctx, hone_child *c, const hone_tasks *tasks, const hone_eval_item *items, size_t n,
                            hone_eval_result *res, hone_err *err);
#endif
