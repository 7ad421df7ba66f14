/* net_quant.h - weights of a network in fewer bits: f16 (activations too), weight-only int8 and int4, dynamic int8; and the opsets that they need.
 * Sources: docs/Operators.md of onnx (DequantizeLinear 13 and 21, DynamicQuantizeLinear, MatMulInteger, ConvInteger), docs/ContribOperators.md of
 * onnxruntime (MatMulNBits). */
#ifndef HONE_PASSES_NET_QUANT_H
#define HONE_PASSES_NET_QUANT_H
#include "ir/net.h"

typedef struct hone_net_quant_options {
    uint32_t           bits;     /* weight-only: 8 or 4 */
    uint32_t           group;    /* int4: inputs that share a scale, 16..256, a power of two */
    bool               standard; /* int4: operators of ai.onnx only, no MatMulNBits */
    bool               whole_groups; /* int4: no weight whose inputs are no multiple of a group (OpenVINO, src/frontends/onnx/frontend/src/op/dequantize_linear.cpp) */
    bool               keep_io;  /* f16: inputs and outputs become f16 too */
    const char *const *wide; size_t n_wide; /* f16: names of values that f16 has no room for: nodes that read or give them stay f32 */
    const char *const *exclude; size_t n_exclude; /* globs over names of nodes and of operators: these stay as they are */
} hone_net_quant_options;

typedef struct hone_net_quanted { /* strings in the net's arena */
    size_t             changed, left; /* weights (f16: constants) that did, and that could not */
    const char *const *notes; /* [n_notes] why some did not, and what a user should know */
    size_t             n_notes;
} hone_net_quanted;

/* Floats become f16.  Operators that know no f16, that are not ai.onnx's or that have subgraphs stay f32 between Casts; so do inputs and outputs
 * unless keep_io, and operators of values whose type is not known.  HONE_EUNSUPPORTED: nothing can become f16. */
hone_code hone_net_to_f16(hone_net *net, const hone_net_quant_options *opt, hone_net_quanted *out, hone_err *err);
/* Weights of products, convolutions, recurrent layers and tables as integers behind DequantizeLinear, or in MatMulNBits. */
hone_code hone_net_weights(hone_net *net, const hone_net_quant_options *opt, hone_net_quanted *out, hone_err *err);
/* Products and convolutions in integers, activations quantised as they come. */
hone_code hone_net_dynamic(hone_net *net, const hone_net_quant_options *opt, hone_net_quanted *out, hone_err *err);

/* The ai.onnx opset becomes at least `want`: nodes are rewritten to what they mean there.  HONE_EUNSUPPORTED names the node that cannot be; then
 * nothing was changed. */
hone_code hone_net_raise(hone_net *net, int64_t want, hone_err *err);
/* The node's name, operator or first output matches one of these globs. */
bool      hone_net_matches(const hone_net_node *n, const char *const *globs, size_t count);
#endif
