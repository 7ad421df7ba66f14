/* prune.h - which weights, heads, channels, layers or experts of a model matter least, as a list of changes (passes/rewrite.h).
 * Sources: magnitude, Han et al. 2015 (arXiv:1506.02626); Wanda, Sun et al. 2023 (arXiv:2306.11695); 2:4, Mishra et al. 2021
 * (arXiv:2104.08378); channels and heads by the energy that they add to the output; layers by relative magnitude, Men et al. 2024
 * (ShortGPT, arXiv:2403.03853, section 4). */
#ifndef HONE_PASSES_PRUNE_H
#define HONE_PASSES_PRUNE_H
#include "passes/rewrite.h"

typedef enum hone_prune_method {
    HONE_PRUNE_MAGNITUDE, /* in each row of each matrix of a layer the smallest weights are zero */
    HONE_PRUNE_WANDA,     /* the same by |w| times the norm of what it multiplies; needs statistics */
    HONE_PRUNE_2_4,       /* two of every four columns are zero; by Wanda's scores where there are statistics */
    HONE_PRUNE_HEADS,     /* whole key-value groups leave */
    HONE_PRUNE_FFN,       /* channels of the feed-forward leave */
    HONE_PRUNE_LAYERS,    /* whole layers leave */
    HONE_PRUNE_EXPERTS,   /* experts leave, with their rows of the router */
    HONE_PRUNE_COUNT
} hone_prune_method;

const char *hone_prune_name(hone_prune_method m);
bool        hone_prune_find(const char *name, hone_prune_method *out);
static inline bool hone_prune_is_structural(hone_prune_method m) { return m >= HONE_PRUNE_HEADS; }

typedef struct hone_pruned {
    hone_change *changes; /* [n] one for each weight that stays, in the order of the model's */
    size_t       n;
    uint32_t     n_layers, n_heads, n_kv_heads, ffn, n_experts; /* new */
    const uint32_t *layers; /* [n_layers] which of the old ones */
    uint32_t     was, is;  /* of what the method cuts: heads (of keys and values), channels, layers, experts; 0: it cuts none */
    double       share;    /* cut: of the weights of the matrices that may be, or of heads, channels, ... */
    const char  *note;     /* what had to be rounded, or NULL */
} hone_pruned;

/* share: above 0, below 1; 2:4 ignores it.  stats: NULL without.  Structured methods read the weights once, layer by layer on all threads.
 * HONE_EUNSUPPORTED names why a cut is not possible in this model; HONE_EUSAGE when the share comes to nothing; HONE_EINPUT for Wanda without
 * statistics of a matrix. */
hone_code hone_prune(const hone_ctx *ctx, const hone_model *m, hone_prune_method method, double share, const hone_stats *stats, hone_arena *a,
                     hone_pruned *out, hone_err *err);
#endif
