#include "passes/net_static/choice.h"
#include "passes/net_quant.h"
#include <math.h>

static const char *const moves[] = { "MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Identity", "DepthToSpace", "SpaceToDepth" };

const char *hone_static_name(const hone_net_node *n)
{
    if (n->name[0]) return n->name;
    return n->n_out && n->out[0] ? n->out[0]->name : n->op;
}

bool hone_static_moves(const hone_net_node *n)
{
    for (size_t i = 0; i < HONE_COUNT(moves); i++)
        if (hone_net_is_op(n, moves[i])) return true;
    return false;
}

static bool is_activation_value(const hone_net_value *v) { return v && !hone_net_constant(v) && !v->inner && (v->type == HONE_NET_F32 || v->type == 0); }

/* A float constant of that rank, as weights are. */
static bool is_weight(const hone_net_value *v, uint32_t least_rank, uint32_t most_rank)
{
    const hone_net_tensor *t = v ? hone_net_constant(v) : NULL;
    return t && t->type == HONE_NET_F32 && t->n_dims >= least_rank && t->n_dims <= most_rank && t->n > 0;
}

static bool is_bias(const hone_net_value *v, uint64_t channels)
{
    const hone_net_tensor *t = v ? hone_net_constant(v) : NULL;
    return t && t->type == HONE_NET_F32 && t->n == channels && t->n_dims >= 1 && t->dims[t->n_dims - 1] == channels;
}

static bool plain_gemm(const hone_net_node *n)
{
    return hone_net_attr_float(n, "alpha", 1) == 1 && hone_net_attr_float(n, "beta", 1) == 1 && hone_net_attr_int(n, "transA", 0) == 0;
}

/* Conv, Gemm and MatMul whose weights are constants. */
static bool weighted(const hone_net_node *n, hone_static_op *op)
{
    hone_net_value *w = hone_net_in(n, 1), *b = hone_net_in(n, 2);
    uint32_t        axis = 0;
    if (!is_activation_value(hone_net_in(n, 0)) || n->n_out != 1 || !n->out[0]) return false;
    if (hone_net_is_op(n, "Conv")) {
        if (!is_weight(w, 3, 5)) return false;
    } else if (hone_net_is_op(n, "Gemm")) {
        if (!is_weight(w, 2, 2) || !plain_gemm(n)) return false;
        axis = hone_net_attr_int(n, "transB", 0) ? 0 : 1;
    } else if (hone_net_is_op(n, "MatMul")) {
        if (!is_weight(w, 2, 2)) return false;
        axis = 1;
    } else {
        return false;
    }
    if (b && !is_bias(b, hone_net_constant(w)->dims[axis])) return false;
    *op = (hone_static_op){ .kind = HONE_STATIC_WEIGHTS, .n_data = 1, .weight = w, .bias = b, .weight_axis = axis };
    return true;
}

const char *hone_static_why_float(const hone_net_node *n)
{
    static const char *const others[] = { "ConvTranspose", "Einsum", "LSTM", "GRU", "RNN", "DeformConv" };
    bool                     gemm = hone_net_is_op(n, "Gemm"), product = gemm || hone_net_is_op(n, "MatMul");
    const hone_net_value    *x = hone_net_in(n, 0), *w = hone_net_in(n, 1);
    for (size_t i = 0; i < HONE_COUNT(others); i++)
        if (hone_net_is_op(n, others[i])) return "runtimes have no integer form of it";
    if (!product && !hone_net_is_op(n, "Conv")) return NULL;
    if (!w || !hone_net_constant(w)) return product && x && !hone_net_constant(x) ? "both factors are activations" : "its weights are not the second factor";
    if (hone_net_constant(w)->type != HONE_NET_F32) return "its weights are of another type than f32";
    if (hone_net_constant(w)->n_dims < 2 || (product && hone_net_constant(w)->n_dims > 2)) return "its weights are a vector, or a stack of matrices";
    if (gemm && !plain_gemm(n)) return "it has alpha, beta or a turned first factor";
    return "its weights, its bias or its input are not of the usual form";
}

/* The bounds of a Clip, its inputs or, before opset 11, its attributes. */
static bool clip_bounds(const hone_net *net, const hone_net_node *n, float *lo, float *hi)
{
    float *const to[2] = { lo, hi };
    *lo = (float)hone_net_attr_float(n, "min", -INFINITY);
    *hi = (float)hone_net_attr_float(n, "max", INFINITY);
    for (uint32_t i = 0; i < 2; i++) {
        const hone_net_value  *v = hone_net_in(n, i + 1);
        const hone_net_tensor *t = v ? hone_net_constant(v) : NULL;
        if (!v) continue;
        if (!t || t->type != HONE_NET_F32 || t->n != 1 || hone_net_tensor_read(net, t, 0, to[i], sizeof(float), NULL) != HONE_OK) return false;
    }
    return *lo <= 0 && *hi > 0;
}

/* The Relu or Clip that alone reads what op makes: quantisation behind it does its work too. */
static void find_activation(const hone_net *net, hone_static_op *op)
{
    hone_net_value *v = op->node->out[0];
    hone_net_node  *next = hone_net_only_reader(v);
    op->out = v;
    op->lo = -INFINITY;
    op->hi = INFINITY;
    if (!next || next->n_out != 1 || !next->out[0] || hone_net_in(next, 0) != v) return;
    bool relu = hone_net_is_op(next, "Relu");
    if (!relu && !(hone_net_is_op(next, "Clip") && clip_bounds(net, next, &op->lo, &op->hi))) {
        op->lo = -INFINITY;
        op->hi = INFINITY;
        return;
    }
    if (relu) op->lo = 0;
    op->activation = next;
    op->out = next->out[0];
}

const hone_static_op *hone_static_maker(const hone_static_choice *c, const hone_net_value *v)
{
    for (size_t i = c->n; i-- > 0;)
        if (c->ops[i].out == v) return &c->ops[i];
    return NULL;
}

/* Operators without weights compute in integers when everything they read comes out of integers. */
static bool from_integers(const hone_static_choice *c, const hone_net_node *n, uint32_t n_data)
{
    for (uint32_t i = 0; i < n_data; i++)
        if (!is_activation_value(hone_net_in(n, i)) || !hone_static_maker(c, hone_net_in(n, i))) return false;
    return n_data > 0;
}

static bool unweighted(const hone_static_choice *c, const hone_net_node *n, hone_static_op *op)
{
    bool     all = hone_net_is_op(n, "Add") || hone_net_is_op(n, "Concat");
    bool     one = hone_net_is_op(n, "AveragePool") || hone_net_is_op(n, "GlobalAveragePool"), moved = hone_static_moves(n);
    uint32_t n_data = all ? n->n_in : 1;
    if (!(all || one || moved) || n->n_out != 1 || !n->out[0] || n->subgraphs || !from_integers(c, n, n_data)) return false;
    *op = (hone_static_op){ .kind = moved ? HONE_STATIC_MOVES : HONE_STATIC_VALUES, .n_data = n_data };
    return true;
}

hone_code hone_static_choose(hone_net *net, const hone_static_options *opt, hone_static_choice *out, hone_err *err)
{
    hone_static_choice c = { .ops = HONE_ARENA_NEW(&net->arena, hone_static_op, net->n_nodes) };
    if (!c.ops) return HONE_NOMEM(err, "the choice of operators");
    for (hone_net_node *n = net->first; n; n = n->next) {
        hone_static_op op;
        if (hone_net_matches(n, opt->exclude, opt->n_exclude) || (!weighted(n, &op) && !unweighted(&c, n, &op))) continue;
        op.node = n;
        op.activation = NULL;
        op.data = HONE_ARENA_NEW(&net->arena, hone_net_value *, op.n_data);
        if (!op.data) return HONE_NOMEM(err, "the choice of operators");
        for (uint32_t k = 0; k < op.n_data; k++) op.data[k] = n->in[k];
        if (op.kind == HONE_STATIC_MOVES) {
            op.out = n->out[0];
            op.lo = -INFINITY;
            op.hi = INFINITY;
        } else {
            find_activation(net, &op);
        }
        c.ops[c.n++] = op;
    }
    *out = c;
    return HONE_OK;
}

/* An integer operator that does more than move values reads v, at once or behind such that move it. */
static bool is_read(const hone_static_choice *c, const hone_net_value *v)
{
    for (size_t i = 0; i < c->n; i++)
        for (uint32_t k = 0; k < c->ops[i].n_data; k++)
            if (c->ops[i].data[k] == v && (c->ops[i].kind != HONE_STATIC_MOVES || is_read(c, c->ops[i].out))) return true;
    return false;
}

/* Behind operators that move values, a subgraph reads it: ONNX Runtime 1.31 dies when it takes DequantizeLinear past these.  steps:
 * uses that are still looked at, for a graph may have more ways than anybody can go; after the last the answer is the careful one. */
static bool moves_into_subgraph(const hone_net_value *v, unsigned *steps)
{
    static const char *const more[] = { "Slice", "Gather", "Expand", "Split", "Pad", "Concat" };
    for (size_t i = 0; i < v->n_uses; i++) {
        const hone_net_node *n = v->uses[i].node;
        if ((*steps)-- == 0) {
            *steps = 0;
            return true;
        }
        bool moved = v->uses[i].slot != HONE_NET_CAPTURE && n->n_out && n->out[0] && hone_static_moves(n);
        for (size_t k = 0; k < HONE_COUNT(more) && v->uses[i].slot != HONE_NET_CAPTURE; k++) moved = moved || (n->n_out && n->out[0] && hone_net_is_op(n, more[k]));
        if (moved && (n->out[0]->n_captures || moves_into_subgraph(n->out[0], steps))) return true;
    }
    return false;
}

bool hone_static_wanted(const hone_static_choice *c, const hone_net_value *v)
{
    const hone_static_op *maker = hone_static_maker(c, v);
    unsigned              steps = 4096;
    if (is_read(c, v)) return true;
    /* Products of matrices may give floats out of integers; the others need codes behind them to be computed in integers. */
    return maker && maker->kind != HONE_STATIC_MOVES && !v->output && !moves_into_subgraph(v, &steps) && !hone_net_is_op(maker->node, "MatMul") && !hone_net_is_op(maker->node, "Gemm");
}

const hone_net_value *hone_static_root(const hone_static_choice *c, const hone_net_value *v)
{
    const hone_static_op *maker = hone_static_maker(c, v);
    while (maker && maker->kind == HONE_STATIC_MOVES) {
        v = maker->data[0];
        maker = hone_static_maker(c, v);
    }
    return v;
}
