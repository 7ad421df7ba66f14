/* experts.c - mixtures of experts: com.microsoft's MoE and QMoE where the CPU provider of onnxruntime 1.31 computes them right, else every expert as
 * a small network of its own over the tokens that chose it.
 * What was tried there: MoE is right with normalize_routing_weights 1; with 0 it clears its input first when input and output are one buffer, which
 * gives zeros.  QMoE with four bits is right, but renormalises always unless it is given the weights (router_weights); with eight bits it is
 * off by 2 %.  Both know SwiGLU only, with the rows of gate and up in turns. */
#include "formats/onnx/lower.h"

typedef struct mixture {
    const hone_node      *n;
    const hone_graph_moe *m;
    const char           *x;      /* [batch, seq, hidden] */
    const char           *scores; /* of the router, [tokens, experts] */
    uint64_t              hidden;
} mixture;

static void route(hone_onnx_lowering *l, mixture *x)
{
    hone_onnx_writer *w = &l->w;
    const hone_node  *n = x->n;
    const char       *name = hone_onnx_name(w, "%s.router", n->name);
    hone_onnx_region *r = hone_onnx_region_new(l, name, n->weight, HONE_ONNX_PLAIN, x->m->experts, x->hidden);
    if (!r) return;
    hone_onnx_keep(l, r, n->weight, 0, 0, 1);
    const char *scores = hone_onnx_linear(l, hone_onnx_name(w, "%s/scores", n->name), x->x, r, name, 0, x->m->experts, "");
    x->scores = RESHAPE(w, NULL, scores, -1, x->m->experts);
}

static const char *probabilities(hone_onnx_lowering *l, const mixture *x)
{
    const char *p = OP(&l->w, "Softmax", NULL, x->scores);
    hone_onnx_attr_i(&l->w, "axis", -1);
    return p;
}

/* ---- one operator ---- */

/* All three as floats, or all in the same four bits: QMoE is told once. */
static bool one_operator(hone_onnx_lowering *l, const mixture *x)
{
    const hone_weight *src[3] = { x->m->gate, x->m->up, x->m->down };
    hone_grouped       g[3] = { 0 };
    size_t             codes = 0;
    for (size_t i = 0; i < 3; i++) {
        codes += hone_onnx_choose(l, src[i], HONE_ONNX_MATRIX, hone_weight_rows(src[i]), hone_weight_cols(src[i]), &g[i]);
        if (g[i].bits != g[0].bits || g[i].group != g[0].group || g[i].sym != g[0].sym) return false;
    }
    return !l->opt->standard && x->m->act == HONE_ACT_SILU && (g[0].scheme == HONE_SCHEME_NONE || (g[0].bits == 4 && codes == 3));
}

static void expert_views(hone_onnx_lowering *l, const mixture *x, hone_onnx_region *r, const char *name, uint64_t rows, const char *out[3])
{
    uint64_t e = x->m->experts;
    out[1] = out[2] = "";
    if (!r) {
        out[0] = "";
        return;
    }
    if (r->grouped.scheme == HONE_SCHEME_NONE) {
        out[0] = hone_onnx_view_new(l, name, r, 0, 0, r->rows, l->w.type, (const uint64_t[]){ e, rows, r->cols }, 3);
        return;
    }
    out[0] = hone_onnx_view_new(l, hone_onnx_name(&l->w, "%s.codes", name), r, HONE_STREAM_CODES, 0, r->rows, HONE_ONNX_U8,
                                (const uint64_t[]){ e, rows, r->row_bits[HONE_STREAM_CODES] / 8 }, 3);
    out[1] = hone_onnx_view_new(l, hone_onnx_name(&l->w, "%s.scales", name), r, HONE_STREAM_SCALES, 0, r->rows, HONE_ONNX_F32,
                                (const uint64_t[]){ e, rows, hone_grouped_groups(&r->grouped, r->cols) }, 3);
    if (!r->grouped.sym)
        out[2] = hone_onnx_view_new(l, hone_onnx_name(&l->w, "%s.zeros", name), r, HONE_STREAM_ZEROS, 0, r->rows, HONE_ONNX_U8,
                                    (const uint64_t[]){ e, rows, r->row_bits[HONE_STREAM_ZEROS] / 8 }, 3);
}

/* y was made with weights that sum to 1; those wanted sum to what the chosen experts' probabilities do. */
static void undo_normalisation(hone_onnx_lowering *l, const char *out, const char *y, const mixture *x)
{
    hone_onnx_writer *w = &l->w;
    const char       *best = OP(w, "TopK", NULL, probabilities(l, x), INTS(w, x->m->used));
    hone_onnx_attr_i(w, "axis", -1);
    (void)hone_onnx_result(w, NULL);
    const char *share = OP(w, "ReduceSum", NULL, best, INTS(w, -1));
    const char *rows = OP(w, "Mul", NULL, RESHAPE(w, NULL, y, -1, (int64_t)x->hidden), share);
    (void)OP(w, "Reshape", out, rows, OP(w, "Shape", NULL, x->x));
}

static void all_at_once(hone_onnx_lowering *l, const char *out, const mixture *x)
{
    hone_onnx_writer     *w = &l->w;
    const hone_graph_moe *m = x->m;
    const char           *gu = hone_onnx_name(w, "%s.gate_up", x->n->name), *dn = hone_onnx_name(w, "%s.down", x->n->name), *a[3], *b[3];
    hone_onnx_region     *fc1 = hone_onnx_region_new(l, gu, m->gate, HONE_ONNX_MATRIX, 2ull * m->experts * m->width, x->hidden);
    hone_onnx_region     *fc2 = hone_onnx_region_new(l, dn, m->down, HONE_ONNX_MATRIX, (uint64_t)m->experts * x->hidden, m->width);
    if (!fc1 || !fc2) return;
    hone_onnx_keep(l, fc1, m->gate, 0, 0, 2);
    hone_onnx_keep(l, fc1, m->up, 0, 1, 2);
    hone_onnx_keep(l, fc2, m->down, 0, 0, 1);
    expert_views(l, x, fc1, gu, 2ull * m->width, a);
    expert_views(l, x, fc2, dn, x->hidden, b);
    bool        floats = fc1->grouped.scheme == HONE_SCHEME_NONE, rescale = floats && !m->norm_topk;
    const char *y = out;
    if (floats) {
        y = OP(w, "MoE", rescale ? NULL : out, x->x, x->scores, a[0], "", b[0]);
        hone_onnx_ms(w);
    } else {
        const char *p = m->norm_topk ? "" : probabilities(l, x);
        (void)OP(w, "QMoE", out, x->x, x->scores, a[0], a[1], "", b[0], b[1], "", "", "", "", a[2], b[2], "", p);
        hone_onnx_ms(w);
        hone_onnx_attr_i(w, "expert_weight_bits", fc1->grouped.bits);
        hone_onnx_attr_i(w, "block_size", fc1->grouped.group);
    }
    hone_onnx_attr_i(w, "k", m->used);
    hone_onnx_attr_i(w, "normalize_routing_weights", floats || m->norm_topk);
    hone_onnx_attr_s(w, "activation_type", "swiglu");
    hone_onnx_attr_i(w, "swiglu_fusion", 1);
    hone_onnx_attr_f(w, "activation_alpha", 1);
    hone_onnx_attr_f(w, "activation_beta", 0);
    if (rescale) undo_normalisation(l, out, y, x);
}

/* ---- expert by expert ---- */

/* [tokens, experts]: the weight of each expert for each token, 0 where it was not chosen. */
static const char *weights(hone_onnx_lowering *l, const mixture *x)
{
    hone_onnx_writer *w = &l->w;
    const char       *p = probabilities(l, x), *best = OP(w, "TopK", NULL, p, INTS(w, x->m->used));
    hone_onnx_attr_i(w, "axis", -1);
    const char *index = hone_onnx_result(w, NULL);
    if (x->m->norm_topk) best = OP(w, "Div", NULL, best, OP(w, "ReduceSum", NULL, best, INTS(w, -1)));
    const char *none = OP(w, "Sub", NULL, p, p);
    const char *y = OP(w, "ScatterElements", NULL, none, index, best);
    hone_onnx_attr_i(w, "axis", 1);
    return y;
}

static const char *one_expert(hone_onnx_lowering *l, const mixture *x, hone_onnx_region *const r[3], const char *xs, const char *share, uint32_t e)
{
    hone_onnx_writer *w = &l->w;
    const char       *part[3];
    uint64_t          width = x->m->width;
    static const char *const names[] = { "gate", "up", "down" };
    for (int i = 0; i < 3; i++) part[i] = hone_onnx_name(w, "%s.%s.%u", x->n->name, names[i], e);
    const char *gate = hone_onnx_linear(l, hone_onnx_name(w, "%s/gate.%u", x->n->name, e), xs, r[0], part[0], e * width, width, "");
    const char *up = hone_onnx_linear(l, hone_onnx_name(w, "%s/up.%u", x->n->name, e), xs, r[1], part[1], e * width, width, "");
    const char *h = OP(w, "Mul", NULL, hone_onnx_act(l, NULL, gate, x->m->act), up);
    const char *y = hone_onnx_linear(l, hone_onnx_name(w, "%s/down.%u", x->n->name, e), h, r[2], part[2], e * x->hidden, x->hidden, "");
    return OP(w, "Mul", NULL, y, share);
}

static const char *joined(hone_onnx_lowering *l, const char *const *list, size_t n)
{
    const char *y = hone_onnx_op(&l->w, "Concat", NULL, list, n);
    hone_onnx_attr_i(&l->w, "axis", 0);
    return y;
}

static void one_by_one(hone_onnx_lowering *l, const char *out, const mixture *x)
{
    hone_onnx_writer     *w = &l->w;
    const hone_graph_moe *m = x->m;
    const hone_weight    *src[3] = { m->gate, m->up, m->down };
    hone_onnx_region     *r[3];
    const char          **ys = HONE_ARENA_NEW(w->a, const char *, m->experts), **at = HONE_ARENA_NEW(w->a, const char *, m->experts);
    static const char *const names[] = { "gate", "up", "down" };
    for (int i = 0; i < 3; i++) {
        r[i] = hone_onnx_region_new(l, hone_onnx_name(w, "%s.%s", x->n->name, names[i]), src[i], HONE_ONNX_MATRIX, hone_weight_rows(src[i]), hone_weight_cols(src[i]));
        if (!r[i]) return;
        hone_onnx_keep(l, r[i], src[i], 0, 0, 1);
    }
    if (!ys || !at) {
        hone_onnx_nomem(w);
        return;
    }
    const char *tokens = RESHAPE(w, NULL, x->x, -1, (int64_t)x->hidden), *all = TRANSPOSE(w, weights(l, x), 1, 0);
    for (uint32_t e = 0; e < m->experts; e++) {
        const char *row = OP(w, "Gather", NULL, all, hone_onnx_i64(w, e)); /* [tokens] */
        at[e] = TRANSPOSE(w, OP(w, "NonZero", NULL, row), 1, 0);            /* [n, 1] */
        const char *index = OP(w, "Squeeze", NULL, at[e], INTS(w, 1));
        const char *share = hone_onnx_unsqueeze(w, OP(w, "Gather", NULL, row, index), 1);
        ys[e] = one_expert(l, x, r, OP(w, "Gather", NULL, tokens, index), share, e);
    }
    const char *where = joined(l, at, m->experts), *what = joined(l, ys, m->experts), *none = OP(w, "Sub", NULL, tokens, tokens);
    bool        half = w->type == HONE_ONNX_F16; /* which the CPU provider does not add up */
    if (half) {
        what = hone_onnx_cast(w, what, HONE_ONNX_F32);
        none = hone_onnx_cast(w, none, HONE_ONNX_F32);
    }
    const char *sum = OP(w, "ScatterND", NULL, none, where, what);
    hone_onnx_attr_s(w, "reduction", "add");
    if (half) sum = hone_onnx_cast(w, sum, HONE_ONNX_F16);
    (void)OP(w, "Reshape", out, sum, OP(w, "Shape", NULL, x->x));
}

const char *hone_onnx_experts(hone_onnx_lowering *l, const char *out, const hone_node *n)
{
    mixture x = { .n = n, .m = &n->u.moe, .x = hone_onnx_in(l, n, 0), .hidden = (uint64_t)n->dims[n->n_dims - 1] };
    route(l, &x);
    if (l->w.code != HONE_OK) return out;
    if (one_operator(l, &x)) all_at_once(l, out, &x);
    else one_by_one(l, out, &x);
    return out;
}
