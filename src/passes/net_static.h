/* net_static.h - static int8: a float network gets QuantizeLinear and DequantizeLinear where ONNX Runtime and OpenVINO turn them into integer
 * operators.  Codes of weights are symmetric, per output channel or per tensor; activations have one scale per value.
 * Where the pairs stand: before every input of a quantised operator and behind its output, behind the Relu or Clip that follows it at once (its bounds
 * become the range's), around operators that move values and change none.  Outputs of the graph stay floats.
 * Sources: onnx, docs/Operators.md (QuantizeLinear); onnxruntime, core/optimizer/qdq_transformer/selectors_actions/qdq_selectors.cc and
 * clip_quantizelinear.cc (what is fused); Nagel et al., arXiv:1906.04721, 4.2 (correction of biases).
 * Knows no file and no runtime. */
#ifndef HONE_PASSES_NET_STATIC_H
#define HONE_PASSES_NET_STATIC_H
#include "ir/net.h"

typedef struct hone_static_options {
    bool     per_tensor;   /* weights: one scale for all channels */
    bool     sym;          /* activations: the zero point is the middle of the codes */
    bool     signed_codes; /* activations: int8, else uint8 */
    uint32_t weight_max;   /* largest code of a weight: 127, or 63 for processors whose 8-bit products saturate (x86 without VNNI) */
    const char *const *exclude; /* [n_exclude] globs over names of nodes and of operators ("Add"): these stay floats */
    size_t             n_exclude;
} hone_static_options;

typedef struct hone_static_layer { /* an operator with weights: something that can be put back, or corrected */
    const char *node;     /* its name, or that of its output where it has none or another layer is called so */
    const char *op;
    const char *output;   /* what its sum is called: before the activation */
    uint32_t    axis;     /* of the channels in that output */
    uint64_t    channels; /* entries of its bias */
    bool        can_correct;
} hone_static_layer;

typedef struct hone_static_plan { /* in the net's arena; names are those of the net it was made of */
    const char       **values; /* [n_values] whose ranges must be known */
    float             *clip_lo, *clip_hi; /* [n_values] bounds that the operator behind has; -INFINITY, INFINITY: none */
    size_t             n_values;
    hone_static_layer *layers; /* [n_layers] in the order of execution */
    size_t             n_layers;
    size_t             n_other; /* quantised operators without weights */
    const char       **left;    /* [n_left] sentences: which operators with weights, and which products, stay floats although nobody asked for it, and why */
    size_t             n_left;
} hone_static_plan;

/* What would be quantised.  HONE_EUNSUPPORTED: nothing can be, or the opset is below 10, which has no QuantizeLinear. */
hone_code hone_static_plan_make(hone_net *net, const hone_static_options *opt, hone_static_plan *out, hone_err *err);

typedef struct hone_static_range { const char *value; float lo, hi; } hone_static_range; /* 0 is within */
typedef struct hone_static_shift { const char *output; /* of the layer: unlike names of nodes, there is one of each */ const double *add; /* [channels] onto the bias */ } hone_static_shift;

/* Does it: the net becomes the quantised one.  ranges: of all values of the plan made with the same options; shifts: of some layers, or none.
 * HONE_EINPUT: a weight that is not finite, or a range that is missing. */
hone_code hone_static_apply(hone_net *net, const hone_static_options *opt, const hone_static_range *ranges, size_t n_ranges, const hone_static_shift *shifts,
                            size_t n_shifts, hone_err *err);
#endif
