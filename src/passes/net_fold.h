/* net_fold.h - what a network computes more than it must: BatchNormalization, and Add and Mul of constants per channel, go into the weights before
 * them; Identity and Dropout go away.  Source: Jacob et al., arXiv:1712.05877, 3.2, and docs/Operators.md of onnx. */
#ifndef HONE_PASSES_NET_FOLD_H
#define HONE_PASSES_NET_FOLD_H
#include "ir/net.h"

typedef struct hone_net_folded {
    size_t batch_norms, affines /* Add, Mul */, gone /* Identity, Dropout */, left; /* left: BatchNormalizations that stay ... */
    const char *why; /* ... and why the first of them does; NULL: none.  In the arena */
} hone_net_folded;

/* Before ir_version 4 constants had to be inputs too: they become constants only.  Returns how many. */
size_t    hone_net_demote_inputs(hone_net *net);
/* HONE_ERESOURCE, or what reading a constant fails with. */
hone_code hone_net_fold(hone_net *net, hone_net_folded *out, hone_err *err);
#endif
