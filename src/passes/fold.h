/* fold.h - scales that move from activations into weights: what comes before a matrix is divided by them, the matrix's columns are multiplied.
 * The model computes the same; what a quantiser rounds is different.
 *   AWQ          Lin et al. 2023 (arXiv:2306.00978): s = mean|x|^alpha, alpha by search on the error of int4 in groups of 64 columns
 *   SmoothQuant  Xiao et al. 2022 (arXiv:2211.10438): s = max|x|^0.5 / max|w|^0.5, for runtimes that quantise activations
 * Where scales can go (AWQ all, SmoothQuant the norms):
 *   norm -> q, k, v      norm -> gate, up (or router and experts)      up -> down, if nothing but a product or ReLU lies between
 *   v -> o; heads that share a value head share its scales */
#ifndef HONE_PASSES_FOLD_H
#define HONE_PASSES_FOLD_H
#include "passes/rewrite.h"

typedef enum hone_fold_method { HONE_FOLD_AWQ, HONE_FOLD_SMOOTH } hone_fold_method;

typedef struct hone_folded {
    hone_change       *changes; /* [n], in the order of the model's weights */
    size_t             n;
    uint32_t           n_folds, n_skipped; /* places whose scales moved; places where they may not, cannot (no statistics) or need not */
    const char *const *notes; /* [n_notes] for people */
    size_t             n_notes;
} hone_folded;

/* Reads samples of the matrices, layer by layer on all threads; the same scales on any number of threads and any processor.
 * HONE_EINPUT when the statistics have none of this model's inputs, or SmoothQuant lacks maxima; HONE_EUNSUPPORTED when the family has no place. */
hone_code hone_fold(const hone_ctx *ctx, const hone_model *m, hone_fold_method method, const hone_stats *stats, hone_arena *a, hone_folded *out, hone_err *err);
#endif
