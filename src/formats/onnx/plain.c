/* plain.c - every operator of the graph in those of ai.onnx, opset 21: any consumer runs them. */
#include "formats/onnx/lower.h"
#include <math.h>

#define TYPE(l) ((l)->w.type)
static const char *number(hone_onnx_lowering *l, double v) { return hone_onnx_number(&l->w, TYPE(l), v); }

/* ---- matrices ---- */

/* The type of a stream as ai.onnx spells it. */
static int32_t code_type(const hone_grouped *g)
{
    if (g->bits == 4) return g->sym ? HONE_ONNX_I4 : HONE_ONNX_U4;
    return g->sym ? HONE_ONNX_I8 : HONE_ONNX_U8;
}

typedef struct codes { const char *codes, *scales, *zeros; } codes;

static codes code_views(hone_onnx_lowering *l, hone_onnx_region *r, const char *name, uint64_t row0, uint64_t n)
{
    uint64_t groups = hone_grouped_groups(&r->grouped, r->cols);
    int32_t  type = code_type(&r->grouped);
    codes    c = { .zeros = "" };
    c.codes = hone_onnx_view_new(l, name, r, HONE_STREAM_CODES, row0, n, type, (const uint64_t[]){ n, r->cols }, 2);
    c.scales = hone_onnx_view_new(l, hone_onnx_name(&l->w, "%s.scales", name), r, HONE_STREAM_SCALES, row0, n, HONE_ONNX_F32,
                                  (const uint64_t[]){ n, groups }, 2);
    if (!r->grouped.sym)
        c.zeros = hone_onnx_view_new(l, hone_onnx_name(&l->w, "%s.zeros", name), r, HONE_STREAM_ZEROS, row0, n, type, (const uint64_t[]){ n, groups }, 2);
    return c;
}

static const char *dequantized(hone_onnx_lowering *l, const char *out, const codes *c, const hone_grouped *g, int64_t axis)
{
    const char *y = OP(&l->w, "DequantizeLinear", out, c->codes, c->scales, c->zeros);
    hone_onnx_attr_i(&l->w, "axis", axis);
    hone_onnx_attr_i(&l->w, "block_size", g->group);
    return y;
}

const char *hone_onnx_linear(hone_onnx_lowering *l, const char *out, const char *x, hone_onnx_region *r, const char *name, uint64_t row0,
                             uint64_t n, const char *bias)
{
    if (!r) return "";
    if (!l->opt->standard && hone_onnx_fused_linear(l, out, x, r, name, row0, n, bias)) return out;
    const char *w;
    if (r->grouped.scheme == HONE_SCHEME_NONE) {
        w = hone_onnx_view_new(l, name, r, 0, row0, n, TYPE(l), (const uint64_t[]){ n, r->cols }, 2);
    } else {
        codes c = code_views(l, r, name, row0, n);
        w = dequantized(l, NULL, &c, &r->grouped, 1);
    }
    w = TRANSPOSE(&l->w, w, 1, 0);
    if (!*bias) return OP(&l->w, "MatMul", out, x, w);
    return OP(&l->w, "Add", out, OP(&l->w, "MatMul", NULL, x, w), bias);
}

const char *hone_onnx_embed(hone_onnx_lowering *l, const char *out, const char *index, hone_onnx_region *r)
{
    if (!r) return "";
    if (!l->opt->standard && hone_onnx_fused_embed(l, out, index, r)) return out;
    if (r->grouped.scheme == HONE_SCHEME_NONE)
        return OP(&l->w, "Gather", out, hone_onnx_view_new(l, r->name, r, 0, 0, r->rows, TYPE(l), (const uint64_t[]){ r->rows, r->cols }, 2), index);
    /* The rows that are wanted are taken first, and only they become floats. */
    codes c = code_views(l, r, r->name, 0, r->rows), rows = { .zeros = "" };
    rows.codes = OP(&l->w, "Gather", NULL, c.codes, index);
    rows.scales = OP(&l->w, "Gather", NULL, c.scales, index);
    if (*c.zeros) rows.zeros = OP(&l->w, "Gather", NULL, c.zeros, index);
    return dequantized(l, out, &rows, &r->grouped, 2);
}

/* ---- elementwise ---- */

const char *hone_onnx_act(hone_onnx_lowering *l, const char *out, const char *x, hone_act act)
{
    switch (act) {
    case HONE_ACT_SILU: return OP(&l->w, "Mul", out, x, OP(&l->w, "Sigmoid", NULL, x));
    case HONE_ACT_RELU: return OP(&l->w, "Relu", out, x);
    case HONE_ACT_GELU:
    case HONE_ACT_GELU_TANH:
        out = OP(&l->w, "Gelu", out, x);
        hone_onnx_attr_s(&l->w, "approximate", act == HONE_ACT_GELU ? "none" : "tanh");
        return out;
    }
    return "";
}

/* ---- norms ---- */

void hone_onnx_norm_weights(hone_onnx_lowering *l, const hone_node *n, const char **weight, const char **bias)
{
    *weight = *bias = NULL;
    if (n->weight) *weight = hone_onnx_vector(l, hone_onnx_name(&l->w, "%s.weight", n->name), n->weight, n->u.norm.plus_one ? 1.0f : 0.0f);
    if (n->bias) *bias = hone_onnx_vector(l, hone_onnx_name(&l->w, "%s.bias", n->name), n->bias, 0);
}

/* x / sqrt(mean(x^2) + eps), in float32 whatever the activations are. */
static const char *rms(hone_onnx_lowering *l, const char *x, double eps)
{
    hone_onnx_writer *w = &l->w;
    bool              half = TYPE(l) == HONE_ONNX_F16;
    if (half) x = hone_onnx_cast(w, x, HONE_ONNX_F32);
    const char *mean = OP(w, "ReduceMean", NULL, OP(w, "Pow", NULL, x, hone_onnx_number(w, HONE_ONNX_F32, 2)), INTS(w, -1));
    const char *root = OP(w, "Sqrt", NULL, OP(w, "Add", NULL, mean, hone_onnx_number(w, HONE_ONNX_F32, eps)));
    const char *y = OP(w, "Div", NULL, x, root);
    return half ? hone_onnx_cast(w, y, HONE_ONNX_F16) : y;
}

const char *hone_onnx_norm(hone_onnx_lowering *l, const char *out, const char *x, const hone_node *n)
{
    hone_onnx_writer *w = &l->w;
    uint64_t          row = (uint64_t)n->dims[n->n_dims - 1], group = n->u.norm.group;
    bool              split = group != row, own = n->weight && hone_weight_elems(n->weight) != group; /* every group has weights of its own */
    const char       *weight, *bias, *y = NULL;
    if (!l->opt->standard && !own && hone_onnx_fused_norm(l, out, x, n)) return out;
    hone_onnx_norm_weights(l, n, &weight, &bias);
    if (split) x = RESHAPE(w, NULL, x, 0, 0, (int64_t)(row / group), (int64_t)group);
    if (n->u.norm.kind == HONE_NORM_LAYER) {
        bool inside = weight && !own;
        y = OP(w, "LayerNormalization", split || (!inside && weight) ? NULL : out, x, inside ? weight : hone_onnx_filled(w, 1, group),
               inside && bias ? bias : "");
        hone_onnx_attr_i(w, "axis", -1);
        hone_onnx_attr_f(w, "epsilon", n->u.norm.eps);
        if (inside) weight = bias = NULL;
    } else {
        y = rms(l, x, n->u.norm.eps);
        if (weight && !own) {
            y = OP(w, "Mul", split || bias ? NULL : out, y, weight);
            weight = NULL;
        }
    }
    if (split) y = RESHAPE(w, weight || bias ? NULL : out, y, 0, 0, (int64_t)row);
    if (weight) y = OP(w, "Mul", bias ? NULL : out, y, weight);
    if (bias) y = OP(w, "Add", out, y, bias);
    return y;
}

/* ---- rotation ---- */

/* Angles of the tokens at hand, [batch, seq, 1, dim/2]: computed in float32 each time, so that there is no table and no longest text. */
static void angles(hone_onnx_lowering *l, const hone_graph_rope *r)
{
    hone_onnx_writer *w = &l->w;
    uint32_t          id = r->id & 1;
    if (l->cos[id]) return;
    const char *prefix = w->prefix;
    w->prefix = hone_onnx_name(w, "rope.%u", id);
    if (!l->positions_f32) l->positions_f32 = hone_onnx_unsqueeze(w, hone_onnx_cast(w, hone_onnx_positions(l), HONE_ONNX_F32), 2);
    const char *freq = hone_onnx_floats(w, hone_onnx_name(w, "rope.%u.inv_freq", id), r->inv_freq, r->dim / 2);
    if (r->inv_freq_long) {
        const char *far = hone_onnx_floats(w, hone_onnx_name(w, "rope.%u.inv_freq_long", id), r->inv_freq_long, r->dim / 2);
        const char *last = OP(w, "ReduceMax", NULL, hone_onnx_positions(l));
        hone_onnx_attr_i(w, "keepdims", 0);
        freq = OP(w, "Where", NULL, OP(w, "GreaterOrEqual", NULL, last, hone_onnx_i64(w, r->long_from)), far, freq);
    }
    const char *angle = OP(w, "Mul", NULL, l->positions_f32, freq);
    for (int i = 0; i < 2; i++) {
        const char *y = OP(w, i ? "Sin" : "Cos", NULL, angle);
        if (r->scale != 1.0f) y = OP(w, "Mul", NULL, y, hone_onnx_number(w, HONE_ONNX_F32, r->scale));
        if (TYPE(l) == HONE_ONNX_F16) y = hone_onnx_cast(w, y, HONE_ONNX_F16);
        *(i ? &l->sin[id] : &l->cos[id]) = hone_onnx_unsqueeze(w, y, 2);
    }
    w->prefix = prefix;
}

const char *hone_onnx_rope(hone_onnx_lowering *l, const char *out, const char *x, const hone_graph_rope *r)
{
    hone_onnx_writer *w = &l->w;
    int64_t           half = r->dim / 2, rest = (int64_t)r->head_dim - (int64_t)r->dim;
    angles(l, r);
    const char *c = l->cos[r->id & 1], *s = l->sin[r->id & 1];
    x = RESHAPE(w, NULL, x, 0, 0, r->heads, r->head_dim);
    const char *a = OP(w, "Split", NULL, x, rest ? INTS(w, half, half, rest) : INTS(w, half, half));
    hone_onnx_attr_i(w, "axis", -1);
    const char *b = hone_onnx_result(w, NULL), *tail = rest ? hone_onnx_result(w, NULL) : "";
    const char *first = OP(w, "Sub", NULL, OP(w, "Mul", NULL, a, c), OP(w, "Mul", NULL, b, s));
    const char *second = OP(w, "Add", NULL, OP(w, "Mul", NULL, b, c), OP(w, "Mul", NULL, a, s));
    const char *y = OP(w, "Concat", NULL, first, second, tail);
    hone_onnx_attr_i(w, "axis", -1);
    return RESHAPE(w, out, y, 0, 0, (int64_t)r->heads * r->head_dim);
}

/* ---- attention ---- */

static double lowest(const hone_onnx_lowering *l) { return TYPE(l) == HONE_ONNX_F16 ? -30000 : -1e30; }

static const char *mask_bool(hone_onnx_lowering *l)
{
    if (!l->mask_bool) l->mask_bool = hone_onnx_cast(&l->w, HONE_ONNX_MASK, HONE_ONNX_BOOL);
    return l->mask_bool;
}

/* What is added to the scores, [batch, 1, seq, total]: key j is seen when it is a token, no later than i, and nearer than the window.  Places in
 * the text decide, not places in the cache: padding may be left, right or in between. */
static const char *causal_bias(hone_onnx_lowering *l, uint32_t window)
{
    hone_onnx_writer *w = &l->w;
    for (size_t i = 0; i < l->n_causal; i++)
        if (l->causal[i].window == window) return l->causal[i].bias;
    const char *prefix = w->prefix;
    w->prefix = window ? hone_onnx_name(w, "mask.%u", window) : "mask";
    const char *from = hone_onnx_unsqueeze(w, hone_onnx_positions(l), 2), *to = hone_onnx_unsqueeze(w, l->all_positions, 1);
    const char *back = OP(w, "Sub", NULL, from, to);
    const char *seen = OP(w, "And", NULL, OP(w, "GreaterOrEqual", NULL, back, hone_onnx_i64(w, 0)), hone_onnx_unsqueeze(w, mask_bool(l), 1));
    if (window) seen = OP(w, "And", NULL, seen, OP(w, "Less", NULL, back, hone_onnx_i64(w, window)));
    const char *bias = hone_onnx_unsqueeze(w, OP(w, "Where", NULL, seen, number(l, 0), number(l, lowest(l))), 1);
    w->prefix = prefix;
    if (l->n_causal < HONE_ONNX_MAX_WINDOWS) {
        l->causal[l->n_causal].window = window;
        l->causal[l->n_causal++].bias = bias;
    }
    return bias;
}

static const char *padding_bias(hone_onnx_lowering *l)
{
    hone_onnx_writer *w = &l->w;
    if (l->padding_bias) return l->padding_bias;
    const char *prefix = w->prefix;
    w->prefix = "mask";
    const char *bias = OP(w, "Where", NULL, mask_bool(l), number(l, 0), number(l, lowest(l)));
    l->padding_bias = OP(w, "Unsqueeze", NULL, bias, INTS(w, 1, 2));
    w->prefix = prefix;
    return l->padding_bias;
}

/* [batch, seq, heads * dim] to [batch, heads, seq, dim]. */
static const char *by_head(hone_onnx_lowering *l, const char *x, uint32_t heads, uint32_t dim)
{
    return TRANSPOSE(&l->w, RESHAPE(&l->w, NULL, x, 0, 0, heads, dim), 0, 2, 1, 3);
}

static const char *cached(hone_onnx_lowering *l, const char *x, const hone_graph_attn *a, const char *what)
{
    hone_onnx_writer *w = &l->w;
    if (!a->causal) return x;
    x = OP(w, "Concat", hone_onnx_name(w, "present.%u.%s", a->slot, what), hone_onnx_name(w, "past_key_values.%u.%s", a->slot, what), x);
    hone_onnx_attr_i(w, "axis", 2);
    return x;
}

const char *hone_onnx_attention(hone_onnx_lowering *l, const char *out, const hone_node *n)
{
    hone_onnx_writer      *w = &l->w;
    const hone_graph_attn *a = &n->u.attn;
    if (!l->opt->standard && hone_onnx_fused_attention(l, out, n)) return out;
    bool        grouped = a->heads != a->kv_heads; /* queries that share a key lie side by side, so a reshape puts them into one matrix */
    const char *q = by_head(l, hone_onnx_in(l, n, 0), a->heads, a->head_dim);
    const char *k = cached(l, by_head(l, hone_onnx_in(l, n, 1), a->kv_heads, a->head_dim), a, "key");
    const char *v = cached(l, by_head(l, hone_onnx_in(l, n, 2), a->kv_heads, a->head_dim), a, "value");
    const char *bias = a->causal ? causal_bias(l, a->window) : padding_bias(l);
    q = OP(w, "Mul", NULL, q, number(l, a->scale));
    if (grouped) q = RESHAPE(w, NULL, q, 0, a->kv_heads, -1, a->head_dim);
    const char *scores = OP(w, "MatMul", NULL, q, TRANSPOSE(w, k, 0, 1, 3, 2));
    if (a->softcap > 0) scores = OP(w, "Mul", NULL, OP(w, "Tanh", NULL, OP(w, "Div", NULL, scores, number(l, a->softcap))), number(l, a->softcap));
    if (grouped) {
        const char *shape = OP(w, "Concat", NULL, INTS(w, 0, a->heads, -1), hone_onnx_last_dim1(l));
        hone_onnx_attr_i(w, "axis", 0);
        scores = OP(w, "Reshape", NULL, scores, shape);
    }
    const char *p = OP(w, "Softmax", NULL, OP(w, "Add", NULL, scores, bias));
    hone_onnx_attr_i(w, "axis", -1);
    if (grouped) {
        const char *shape = OP(w, "Concat", NULL, INTS(w, 0, a->kv_heads, -1), hone_onnx_last_dim1(l));
        hone_onnx_attr_i(w, "axis", 0);
        p = OP(w, "Reshape", NULL, p, shape);
    }
    const char *y = OP(w, "MatMul", NULL, p, v);
    if (grouped) y = RESHAPE(w, NULL, y, 0, a->heads, -1, a->head_dim);
    return RESHAPE(w, out, TRANSPOSE(w, y, 0, 2, 1, 3), 0, 0, (int64_t)a->heads * a->head_dim);
}
