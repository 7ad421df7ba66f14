/* site.h - one place of one layer where scales can move, and the search for them. */
#ifndef HONE_PASSES_FOLD_SITE_H
#define HONE_PASSES_FOLD_SITE_H
#include "passes/fold.h"

#define HONE_FOLD_CONSUMERS 6

typedef struct hone_fold_site {
    const hone_weight      *consumers[HONE_FOLD_CONSUMERS]; /* their columns are multiplied */
    size_t                  n_consumers;
    const hone_input_stats *in;
    uint32_t                mats;  /* matrices with scales of their own (experts); 1: one set for all consumers */
    uint32_t                cols;
    uint32_t                share, width; /* runs of `width` columns: `share` of them one after another have the same scales (1: none) */
    float                  *scale; /* [mats, cols] */
    bool                    moved; /* some scale is not 1 */
} hone_fold_site;

/* Fills scale and moved.  Thread-safe. */
hone_code hone_fold_awq(const hone_model *m, hone_fold_site *s, hone_err *err);
hone_code hone_fold_smooth(const hone_model *m, hone_fold_site *s, hone_err *err);
#endif
