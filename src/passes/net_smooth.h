/* net_smooth.h - SmoothQuant for networks: where one channel of a layer's input is much larger than the others, a step that has room for it is too wide for
 * them.  Each channel is divided by a factor where it is made and multiplied by it in the weights that read it, so that the network computes the same, and
 * what has to be quantised is flatter.
 * Where it can be done without a new node: LayerNormalization and others that multiply by a constant per channel, Conv, Gemm and MatMul with constant weights,
 * behind them what lets a positive factor through (Relu, LeakyRelu, PRelu, pools, an Add of a constant); all readers are Conv, Gemm or MatMul.
 * Sources: Xiao et al., arXiv:2211.10438, (4) and 4.2; Nagel et al., arXiv:1906.04721, 4.1 (through a Relu, from layer to layer). */
#ifndef HONE_PASSES_NET_SMOOTH_H
#define HONE_PASSES_NET_SMOOTH_H
#include "ir/net.h"

#define HONE_SMOOTH_LEAST 0x1p-16f /* of a factor */
#define HONE_SMOOTH_MOST  0x1p16f

typedef struct hone_smooth_part { /* a constant that takes the factors: outer x channels x inner, as hone_net_scaled has it */
    hone_net_node *node;
    uint32_t       slot;
    uint64_t       outer, channels, inner, period;
} hone_smooth_part;

typedef struct hone_smooth_place {
    const char       *value;    /* that is smoothed: what the layers read */
    uint64_t          channels;
    uint32_t          from_end; /* its channels are dimension rank - from_end */
    hone_smooth_part *divided, *multiplied;
    size_t            n_divided, n_multiplied;
} hone_smooth_place;

typedef struct hone_smooth_plan { /* in the net's arena */
    hone_smooth_place *places; /* [n_places] in the order of execution */
    size_t             n_places;
    size_t             n_left; /* values that layers read and that nothing can be moved from */
    const char       **why;    /* [n_why] sentences: which, and why */
    size_t             n_why;
} hone_smooth_plan;

/* exclude: globs over nodes, which are not changed; a value that only such read is not looked at.  Shapes must have been inferred. */
hone_code hone_smooth_plan_make(hone_net *net, const char *const *exclude, size_t n_exclude, hone_smooth_plan *out, hone_err *err);

typedef struct hone_smooth_scale { const char *value; const float *by; uint64_t n; } hone_smooth_scale; /* by: [n] one a channel */

/* by[c] = largest[c]^alpha / (largest weight of channel c)^(1 - alpha); 1 where one of them is 0 or not finite.
 *   largest  [place->channels] magnitudes of the value      alpha  0..1, to 20 binary digits
 *   by       [place->channels] each LEAST..MOST.  The same on every processor. */
hone_code hone_smooth_factors(const hone_net *net, const hone_smooth_place *place, const float *largest, double alpha, float *by, hone_err *err);
/* Does it: the constants of the net become products.  plan: of this net.  HONE_EINPUT: factors of a value that is no place or has some
 * already, too many or few, out of bounds. */
hone_code hone_smooth_apply(hone_net *net, const hone_smooth_plan *plan, const hone_smooth_scale *scales, size_t n, hone_err *err);
#endif
