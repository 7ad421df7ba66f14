/* parts.h - the parts of eval, each filling its own fields of the result. */
#ifndef HONE_MEASURE_EVAL_PARTS_H
#define HONE_MEASURE_EVAL_PARTS_H
#include "measure/child.h"
#include "measure/eval/protocol.h"
#include "measure/eval/tasks.h"
#include "measure/measure.h"
#include <stdatomic.h>

#define HONE_EVAL_SEED 0x686f6e65u /* of every bootstrap: results repeat to the bit */

typedef struct hone_eval_text { /* tokenised, cut into windows; arena */
    const int32_t     *ids; size_t n_ids;
    const hone_window *windows; size_t n_windows;
} hone_eval_text;

typedef struct hone_eval_item { /* a tokenised item; arena */
    const int32_t        *context; size_t n_context; /* with BOS */
    const int32_t *const *choices; const size_t *n_ids; size_t n_choices; /* ids of each choice */
    size_t                task, answer;
} hone_eval_item;

typedef struct hone_eval_side { /* one artefact of a group */
    hone_child        child;
    hone_backend_open how;
    hone_arena        a;
    hone_eval_item   *items; size_t n_items;
    bool             *correct; /* [n_items], heap, owned */
    atomic_uint       shards;  /* of the items, not finished yet */
    hone_eval_result *res;     /* heap, owned */
    hone_err          err;     /* code != 0: it failed; the others go on */
} hone_eval_side;

/* Perplexity of every open side that has not failed; and, when ref is given (open, same vocabulary), KLD and top-1 against it in lockstep:
 * of one window's chunk at a time the reference's rows are computed once and kept, and compared with each side's as they come.
 * threads: children that compute at the same time.  Errors: those of the whole; a side's own is in its err. */
hone_code hone_eval_perplexity(const hone_ctx *ctx, hone_eval_side *sides, size_t n, hone_child *ref, unsigned threads,
                               const hone_eval_text *text, hone_err *err);


/* Tokenises the items: [BOS] + context and choice apart, special tokens written in them recognised, none added.  At most max_items of
 * each task (0: all).  *longest: ids of the longest context with its longest choice. */
hone_code hone_eval_items(const hone_ctx *ctx, const hone_child *c, const hone_tasks *tasks, const char *what, uint32_t max_items, hone_arena *a,
                          hone_eval_item **out, size_t *n, size_t *longest, hone_err *err);
/* Asks items[0..n) of c and fills correct[0..n).  asked counts items over all that ask, of total, for the progress. */
hone_code hone_eval_choices(const hone_ctx *ctx, hone_child *c, const hone_eval_item *items, size_t n, bool *correct, atomic_size_t *asked, size_t total,
                            hone_err *err);
/* From the side's items and correct: accuracy by task and in the mean; outcomes in the side's arena. */
hone_code hone_eval_choices_sum(hone_eval_side *side, const hone_tasks *tasks, hone_err *err);
#endif
