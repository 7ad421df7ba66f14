/* graph.h - the model as operators: what one pass over the tokens computes, once for all runtimes.  formats/onnx and formats/openvino
 * write it down in their own operators, backends/mlx executes it.  Knows no file, no encoding.
 * Attention and experts are one operator each here: every runtime has its own way to fuse them; all else is elementary.
 * Activations are [batch, seq, width] until the end.  The numbers are those of transformers' modeling_<family>.py. */
#ifndef HONE_IR_GRAPH_H
#define HONE_IR_GRAPH_H
#include "ir/model.h"

/* X(enumerator, name, number of inputs that are nodes) */
#define HONE_OPS(X)                                                                                                                     \
    X(IDS, "ids", 0)             /* i64 [batch, seq]: the token ids */                                                                    \
    X(MASK, "mask", 0)           /* i64 [batch, total]: 1 for tokens, 0 for padding; total = past + seq (encoder: seq) */                 \
    X(POSITIONS, "positions", 0) /* i64 [batch, seq]: place of each token in its text, from 0 */                                          \
    X(TYPES, "types", 0)         /* i64 [batch, seq]: segment of each token (BERT; all 0 unless given) */                                 \
    X(EMBED, "embed", 1)         /* rows of weight by index in[0] -> [batch, seq, width] */                                               \
    X(LINEAR, "linear", 1)       /* in[0] . weight^T + bias; weight [width, k] */                                                         \
    X(NORM, "norm", 1)           /* norm.kind over groups of norm.group elements of the last dimension, times weight (+1 when             \
                                    norm.plus_one), plus bias; weight has norm.group elements, or as many as the row (each group its own) */ \
    X(ADD, "add", 2)             /* in[0] + in[1], same shape */                                                                          \
    X(MUL, "mul", 2)             /* in[0] * in[1], same shape */                                                                          \
    X(SCALE, "scale", 1)         /* in[0] * number */                                                                                     \
    X(ACT, "act", 1)             /* act(in[0]) */                                                                                         \
    X(SOFTCAP, "softcap", 1)     /* number * tanh(in[0] / number) */                                                                      \
    X(SLICE, "slice", 1)         /* elements first .. first + width of the last dimension */                                              \
    X(ROPE, "rope", 2)           /* rotates in[0] [batch, seq, heads * head_dim] at positions in[1] by rope */                            \
    X(ATTENTION, "attention", 4) /* q, k, v, mask -> [batch, seq, heads * head_dim] by attn; keeps k (rotated) and v in the cache */      \
    X(EXPERTS, "experts", 1)     /* router and chosen experts by moe; weight is the router */                                            \
    X(POOL, "pool", 2)           /* in[0] over the tokens of mask in[1] -> [batch, width] by pool */                                      \
    X(UNIT, "unit", 1)           /* in[0] / its L2 norm over the last dimension */

typedef enum hone_op {
#define HONE_X(e, name, n) HONE_OP_##e,
    HONE_OPS(HONE_X)
#undef HONE_X
        HONE_OP_COUNT
} hone_op;

/* Dimensions are numbers or one of these. */
enum { HONE_DIM_BATCH = -1, HONE_DIM_SEQ = -2, HONE_DIM_TOTAL = -3 /* past + seq */ };

/* What HONE_OP_ROPE needs: angle of pair i (elements i and i + dim/2 of each head's first dim elements) at position p is p * inv_freq[i];
 * cos and sin are then multiplied by `scale`.  Computed in float32, as transformers does. */
typedef struct hone_graph_rope {
    uint32_t     heads, head_dim, dim; /* the head_dim - dim elements behind are left alone */
    const float *inv_freq;             /* [dim/2] */
    const float *inv_freq_long;        /* longrope: used instead, for all tokens of a call, when its last position + 1 > long_from; else NULL */
    uint32_t     long_from;
    float        scale;                /* attention factor of yarn and longrope, else 1 */
    uint32_t     id;                   /* nodes whose tables are equal share it: 0, 1, ... */
} hone_graph_rope;

typedef struct hone_graph_attn {
    uint32_t heads, kv_heads, head_dim;
    double   scale;   /* multiplies q.k */
    double   softcap; /* of the scores; 0: none */
    uint32_t window;  /* key j is seen from i when i - j < window; 0: none */
    bool     causal;  /* key j is seen from i when j <= i (decoder); else all keys of the mask (encoder) */
    uint32_t slot;    /* number of this layer's cache */
} hone_graph_attn;

typedef struct hone_graph_moe { /* p = softmax(x . router^T); the `used` largest p (first among equals); renormalised to sum 1 if norm_topk;
                                 * y = sum of p_e * down_e(act(gate_e x) * up_e x) */
    uint32_t           experts, used, width; /* width of an expert's hidden layer */
    bool               norm_topk;
    hone_act           act;
    const hone_weight *gate, *up, *down; /* [experts, width, hidden], the same, [experts, hidden, width] */
} hone_graph_moe;

typedef struct hone_node {
    hone_op            op;
    const char        *name;  /* unique, for people and for the runtimes' own files: "layers.3.attn.q" */
    int32_t            layer; /* -1: of no layer */
    uint32_t           in[4]; /* numbers of earlier nodes */
    uint32_t           n_in;
    int64_t            dims[3]; /* shape of what it gives, outermost first: numbers or HONE_DIM_* */
    uint32_t           n_dims;
    const hone_weight *weight, *bias; /* of the model, logical; NULL: none */
    union {
        struct { hone_norm_kind kind; double eps; bool plus_one; uint32_t group; } norm;
        hone_act        act;
        double          number;
        uint32_t        first;
        hone_graph_rope rope;
        hone_graph_attn attn;
        hone_graph_moe  moe;
        hone_pooling    pool;
    } u;
} hone_node;

typedef struct hone_graph {
    const hone_model *model;
    hone_node        *nodes; /* [n_nodes] in an order in which they can be computed */
    size_t            n_nodes;
    uint32_t          output; /* decoder: logits [batch, seq, vocab]; encoder: last hidden state [batch, seq, hidden] */
    uint32_t          pooled; /* encoder that pools: [batch, hidden], normalised if the model says so; else = output */
    uint32_t         *layers; /* [n_layers] the node that is layer i's result (the residual stream behind it) */
    uint32_t          n_caches;
    uint32_t          n_ropes; /* different rope tables */
} hone_graph;

const char *hone_op_name(hone_op op);

/* The graph of a bound model, decoder or encoder, from its facts and its weights (which say whether q, k and v are one matrix).  Lives in the arena; weights are borrowed from m.
 * HONE_EUNSUPPORTED names what no runtime has an operator for.  HONE_EBUG: a weight the facts promise is not there. */
hone_code hone_graph_build(const hone_model *m, hone_arena *a, hone_graph *out, hone_err *err);

/* Inverse frequencies of rope in float32 (out, and out_long where the scaling has a second table: then *has_long), and the factor of
 * cos and sin.  local: the table of sliding-window layers, which have a base of their own and no scaling (Gemma 3).  out, out_long: [dim/2].
 * Dynamic scaling begins behind the model's context; up to there the table is the unscaled one.
 * Source: transformers modeling_rope_utils.py. */
void hone_rope_table(const hone_rope *r, bool local, float *out, float *out_long, bool *has_long, float *scale);
#endif
