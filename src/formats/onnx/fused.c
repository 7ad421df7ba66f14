/* fused.c - what one operator of com.microsoft does, and what its CPU provider refuses.  Limits: onnxruntime 1.31 (tried), sources
 * contrib_ops/cpu/bert/group_query_attention_helper.h, quantization/matmul_nbits.cc, quantization/gather_block_quantized.cc. */
#include "formats/onnx/lower.h"

#define MIN_TABLE 1024 /* rows: a rotation goes on behind the context of a model that was made small */

/* ---- matrices ---- */

static const char *zeros_view(hone_onnx_lowering *l, hone_onnx_region *r, const char *name, uint64_t row0, uint64_t n)
{
    uint64_t bytes = r->row_bits[HONE_STREAM_ZEROS] / 8;
    if (r->grouped.sym) return "";
    return hone_onnx_view_new(l, hone_onnx_name(&l->w, "%s.zeros", name), r, HONE_STREAM_ZEROS, row0, n, HONE_ONNX_U8, (const uint64_t[]){ n, bytes }, 2);
}

static const char *scales_view(hone_onnx_lowering *l, hone_onnx_region *r, const char *name, uint64_t row0, uint64_t n)
{
    return hone_onnx_view_new(l, hone_onnx_name(&l->w, "%s.scales", name), r, HONE_STREAM_SCALES, row0, n, HONE_ONNX_F32,
                              (const uint64_t[]){ n, hone_grouped_groups(&r->grouped, r->cols) }, 2);
}

bool hone_onnx_fused_linear(hone_onnx_lowering *l, const char *out, const char *x, hone_onnx_region *r, const char *name, uint64_t row0,
                            uint64_t n, const char *bias)
{
    hone_onnx_writer *w = &l->w;
    if (r->grouped.scheme == HONE_SCHEME_NONE) { /* the matrix stays as checkpoints have it: no transposed copy of it is made when it is loaded */
        const char *m = hone_onnx_view_new(l, name, r, 0, row0, n, w->type, (const uint64_t[]){ n, r->cols }, 2);
        const char *y = OP(w, "FusedMatMul", *bias ? NULL : out, x, m);
        hone_onnx_ms(w);
        hone_onnx_attr_i(w, "transB", 1);
        if (*bias) (void)OP(w, "Add", out, y, bias);
        return true;
    }
    uint64_t    groups = hone_grouped_groups(&r->grouped, r->cols), blob = (uint64_t)r->grouped.group * r->grouped.bits / 8;
    const char *codes = hone_onnx_view_new(l, hone_onnx_name(w, "%s.codes", name), r, HONE_STREAM_CODES, row0, n, HONE_ONNX_U8,
                                           (const uint64_t[]){ n, groups, blob }, 3);
    (void)OP(w, "MatMulNBits", out, x, codes, scales_view(l, r, name, row0, n), zeros_view(l, r, name, row0, n), "", bias);
    hone_onnx_ms(w);
    hone_onnx_attr_i(w, "K", (int64_t)r->cols);
    hone_onnx_attr_i(w, "N", (int64_t)n);
    hone_onnx_attr_i(w, "bits", r->grouped.bits);
    hone_onnx_attr_i(w, "block_size", r->grouped.group);
    hone_onnx_attr_i(w, "accuracy_level", 4); /* activations in eight bits, as onnxruntime-genai's builder for CPUs */
    return true;
}

bool hone_onnx_fused_embed(hone_onnx_lowering *l, const char *out, const char *index, hone_onnx_region *r)
{
    hone_onnx_writer *w = &l->w;
    if (r->grouped.scheme == HONE_SCHEME_NONE) return false;
    const char *codes = hone_onnx_view_new(l, hone_onnx_name(w, "%s.rows", r->name), r, HONE_STREAM_CODES, 0, r->rows, HONE_ONNX_U8,
                                           (const uint64_t[]){ r->rows, r->row_bits[HONE_STREAM_CODES] / 8 }, 2);
    (void)OP(w, "GatherBlockQuantized", out, codes, index, scales_view(l, r, r->name, 0, r->rows), zeros_view(l, r, r->name, 0, r->rows));
    hone_onnx_ms(w);
    hone_onnx_attr_i(w, "bits", r->grouped.bits);
    hone_onnx_attr_i(w, "block_size", r->grouped.group);
    hone_onnx_attr_i(w, "gather_axis", 0);
    hone_onnx_attr_i(w, "quantize_axis", 1);
    return true;
}

/* ---- norms ---- */

bool hone_onnx_fused_norm(hone_onnx_lowering *l, const char *out, const char *x, const hone_node *n)
{
    hone_onnx_writer *w = &l->w;
    uint64_t          row = (uint64_t)n->dims[n->n_dims - 1], group = n->u.norm.group;
    const char       *weight, *bias;
    if (n->u.norm.kind != HONE_NORM_RMS || !n->weight || n->bias) return false;
    hone_onnx_norm_weights(l, n, &weight, &bias);
    if (group != row) x = RESHAPE(w, NULL, x, 0, 0, (int64_t)(row / group), (int64_t)group);
    const char *y = OP(w, "SimplifiedLayerNormalization", group != row ? NULL : out, x, weight); /* of ai.onnx by name, though no standard has it */
    hone_onnx_attr_i(w, "axis", -1);
    hone_onnx_attr_f(w, "epsilon", n->u.norm.eps);
    hone_onnx_attr_i(w, "stash_type", 1);
    if (group != row) (void)RESHAPE(w, out, y, 0, 0, (int64_t)row);
    return true;
}

/* The first norm of the whole row that reads the sum. */
static const hone_node *norm_behind(const hone_onnx_lowering *l, uint32_t index)
{
    for (size_t i = index + 1; i < l->g->n_nodes; i++) {
        const hone_node *n = &l->g->nodes[i];
        if (n->op != HONE_OP_NORM || n->in[0] != index) continue;
        uint64_t row = hone_onnx_width(l->g, (uint32_t)i);
        if (n->weight && n->u.norm.group == row && hone_weight_elems(n->weight) == row && (n->u.norm.kind == HONE_NORM_LAYER || !n->bias)) return n;
    }
    return NULL;
}

bool hone_onnx_fused_add(hone_onnx_lowering *l, uint32_t index)
{
    hone_onnx_writer *w = &l->w;
    const hone_node  *sum = &l->g->nodes[index], *n = norm_behind(l, index);
    const char       *weight, *bias;
    if (!n) return false;
    size_t at = (size_t)(n - l->g->nodes);
    hone_onnx_norm_weights(l, n, &weight, &bias);
    bool        layer = n->u.norm.kind == HONE_NORM_LAYER;
    const char *norm = l->value[at] ? l->value[at] : n->name;
    (void)OP(w, layer ? "SkipLayerNormalization" : "SkipSimplifiedLayerNormalization", norm, hone_onnx_in(l, sum, 0), hone_onnx_in(l, sum, 1), weight,
             bias ? bias : "");
    hone_onnx_ms(w);
    hone_onnx_attr_f(w, "epsilon", n->u.norm.eps);
    for (int i = 0; i < 2; i++) (void)hone_onnx_result(w, "");
    (void)hone_onnx_result(w, l->value[index]);
    l->skip[at] = true;
    return true;
}

/* ---- attention ---- */

typedef struct gqa { /* how GroupQueryAttention is fed */
    bool             rotary; /* it rotates */
    uint32_t         q, k, v; /* nodes that give them, before the rotation */
    enum { APART, LINEARS /* three matrices that become one */, SLICES /* of one result */ } from;
    const hone_graph_rope *rope;
} gqa;

static const hone_node *node(const hone_onnx_lowering *l, uint32_t i) { return &l->g->nodes[i]; }

static bool can_rotate(const hone_onnx_lowering *l, const hone_node *q, const hone_node *k, const hone_node *n)
{
    return q->op == HONE_OP_ROPE && k->op == HONE_OP_ROPE && q->u.rope.id == k->u.rope.id && q->in[1] == k->in[1] && q->u.rope.dim / 2 % 8 == 0 &&
           l->readers[n->in[0]] == 1 && l->readers[n->in[1]] == 1;
}

static bool one_source(const hone_onnx_lowering *l, const gqa *p, hone_op op)
{
    const hone_node *q = node(l, p->q), *k = node(l, p->k), *v = node(l, p->v);
    return q->op == op && k->op == op && v->op == op && q->in[0] == k->in[0] && q->in[0] == v->in[0] && l->readers[p->q] == 1 && l->readers[p->k] == 1 &&
           l->readers[p->v] == 1;
}

/* One matrix has one encoding. */
static bool one_encoding(hone_onnx_lowering *l, const gqa *p)
{
    const hone_weight *w[3] = { node(l, p->q)->weight, node(l, p->k)->weight, node(l, p->v)->weight };
    hone_grouped       g[3] = { 0 };
    for (int i = 0; l->opt->choose && i < 3; i++) {
        (void)hone_onnx_choose(l, w[i], HONE_ONNX_MATRIX, hone_weight_rows(w[i]), hone_weight_cols(w[i]), &g[i]);
        if (g[i].scheme != g[0].scheme || g[i].bits != g[0].bits || g[i].group != g[0].group || g[i].sym != g[0].sym) return false;
    }
    return true;
}

static bool plan_gqa(hone_onnx_lowering *l, const hone_node *n, gqa *p)
{
    const hone_graph_attn *a = &n->u.attn;
    const hone_node       *q = node(l, n->in[0]), *k = node(l, n->in[1]);
    *p = (gqa){ .q = n->in[0], .k = n->in[1], .v = n->in[2] };
    if (!a->causal || a->head_dim % 16 || a->heads % a->kv_heads) return false;
    p->rotary = can_rotate(l, q, k, n);
    if (p->rotary) {
        p->rope = &q->u.rope;
        p->q = q->in[0];
        p->k = k->in[0];
    }
    q = node(l, p->q);
    k = node(l, p->k);
    const hone_node *v = node(l, p->v);
    uint64_t         wq = hone_onnx_width(l->g, p->q), wkv = hone_onnx_width(l->g, p->k);
    if (one_source(l, p, HONE_OP_LINEAR) && !q->bias == !k->bias && !q->bias == !v->bias && one_encoding(l, p)) p->from = LINEARS;
    if (one_source(l, p, HONE_OP_SLICE) && q->u.first == 0 && k->u.first == wq && v->u.first == wq + wkv &&
        hone_onnx_width(l->g, q->in[0]) == wq + 2 * wkv)
        p->from = SLICES;
    return true;
}

void hone_onnx_fuse(hone_onnx_lowering *l)
{
    l->shared_buffer = true;
    for (uint32_t i = 0; i < l->g->n_nodes; i++) {
        const hone_node *n = node(l, i);
        gqa              p;
        if (n->op != HONE_OP_ATTENTION) continue;
        if (!plan_gqa(l, n, &p)) {
            l->shared_buffer = false;
            continue;
        }
        if (p.rotary) l->skip[n->in[0]] = l->skip[n->in[1]] = true;
        if (p.from != APART) l->skip[p.q] = l->skip[p.k] = l->skip[p.v] = true;
    }
}

/* q's rows, then k's, then v's. */
static const char *packed(hone_onnx_lowering *l, const hone_node *n, const gqa *p)
{
    hone_onnx_writer *w = &l->w;
    const hone_node  *part[3] = { node(l, p->q), node(l, p->k), node(l, p->v) };
    uint64_t          rows = 0, at = 0;
    const char       *name = hone_onnx_name(w, "layers.%d.attn.qkv", (int)n->layer), *bias = "";
    if (p->from == SLICES) return hone_onnx_in(l, part[0], 0);
    for (int i = 0; i < 3; i++) rows += hone_weight_rows(part[i]->weight);
    hone_onnx_region *m = hone_onnx_region_new(l, hone_onnx_name(w, "%s.weight", name), part[0]->weight, HONE_ONNX_MATRIX, rows, hone_weight_cols(part[0]->weight));
    for (int i = 0; m && i < 3; i++) {
        hone_onnx_keep(l, m, part[i]->weight, 0, at, 1);
        at += hone_weight_rows(part[i]->weight);
    }
    if (part[0]->bias) {
        bias = hone_onnx_name(w, "%s.bias", name);
        hone_onnx_region *b = hone_onnx_region_new(l, bias, part[0]->bias, HONE_ONNX_PLAIN, rows, 1);
        at = 0;
        for (int i = 0; b && i < 3; i++) {
            hone_onnx_keep(l, b, part[i]->bias, 0, at, 1);
            at += hone_weight_elems(part[i]->bias);
        }
        (void)hone_onnx_view_new(l, bias, b, 0, 0, rows, w->type, &rows, 1);
    }
    return hone_onnx_linear(l, name, hone_onnx_in(l, part[0], 0), m, hone_onnx_name(w, "%s.weight", name), 0, rows, bias);
}

/* cos and sin of every position, [rows, dim/2]: operators on constants, which the runtime computes once when it loads the model, so that
 * model and file do not hold them. */
static void table(hone_onnx_lowering *l, const hone_graph_rope *r)
{
    hone_onnx_writer *w = &l->w;
    uint32_t          id = r->id & 1, context = l->g->model->facts.context;
    int64_t           rows = context > MIN_TABLE ? context : MIN_TABLE;
    if (l->cos_table[id]) return;
    const char *prefix = w->prefix, *angle[2] = { NULL, NULL };
    w->prefix = hone_onnx_name(w, "rope.%u", id);
    for (int i = 0; i < (r->inv_freq_long ? 2 : 1); i++) {
        const char *freq = hone_onnx_floats(w, hone_onnx_name(w, "rope.%u.inv_freq%s", id, i ? "_long" : ""), i ? r->inv_freq_long : r->inv_freq, r->dim / 2);
        const char *at = OP(w, "Range", NULL, hone_onnx_i64(w, 0), hone_onnx_i64(w, r->inv_freq_long && i == 0 ? r->long_from : rows), hone_onnx_i64(w, 1));
        angle[i] = OP(w, "Mul", NULL, hone_onnx_unsqueeze(w, hone_onnx_cast(w, at, HONE_ONNX_F32), 1), freq);
    }
    const char *all = angle[0];
    if (angle[1]) { /* positions of texts that are too long for the first table count on behind it: gqa_positions() */
        all = OP(w, "Concat", NULL, angle[0], angle[1]);
        hone_onnx_attr_i(w, "axis", 0);
    }
    for (int i = 0; i < 2; i++) {
        const char *y = OP(w, i ? "Sin" : "Cos", NULL, all);
        if (r->scale != 1.0f) y = OP(w, "Mul", NULL, y, hone_onnx_number(w, HONE_ONNX_F32, r->scale));
        if (w->type == HONE_ONNX_F16) y = hone_onnx_cast(w, y, HONE_ONNX_F16);
        *(i ? &l->sin_table[id] : &l->cos_table[id]) = y;
    }
    w->prefix = prefix;
}

static const char *gqa_positions(hone_onnx_lowering *l, const hone_graph_rope *r)
{
    hone_onnx_writer *w = &l->w;
    if (!r->inv_freq_long) return "";
    if (l->gqa_positions) return l->gqa_positions;
    const char *prefix = w->prefix;
    w->prefix = "rope";
    const char *last = OP(w, "ReduceMax", NULL, hone_onnx_positions(l));
    hone_onnx_attr_i(w, "keepdims", 0);
    const char *far = OP(w, "GreaterOrEqual", NULL, last, hone_onnx_i64(w, r->long_from));
    const char *skip = OP(w, "Where", NULL, far, hone_onnx_i64(w, r->long_from), hone_onnx_i64(w, 0));
    l->gqa_positions = OP(w, "Add", NULL, hone_onnx_positions(l), skip);
    w->prefix = prefix;
    return l->gqa_positions;
}

static void lengths(hone_onnx_lowering *l)
{
    hone_onnx_writer *w = &l->w;
    if (l->seqlens) return;
    const char *prefix = w->prefix;
    w->prefix = "mask";
    const char *sum = OP(w, "ReduceSum", NULL, HONE_ONNX_MASK, INTS(w, 1));
    hone_onnx_attr_i(w, "keepdims", 0);
    l->seqlens = hone_onnx_cast(w, OP(w, "Sub", NULL, sum, hone_onnx_i64(w, 1)), HONE_ONNX_I32);
    l->total = hone_onnx_cast(w, OP(w, "Squeeze", NULL, hone_onnx_last_dim1(l)), HONE_ONNX_I32);
    w->prefix = prefix;
}

/* Encoders: all tokens see each other. */
static bool multi_head(hone_onnx_lowering *l, const char *out, const hone_node *n)
{
    hone_onnx_writer      *w = &l->w;
    const hone_graph_attn *a = &n->u.attn;
    if (a->causal || a->heads != a->kv_heads || a->softcap > 0 || a->window) return false;
    if (!l->mask_i32) l->mask_i32 = hone_onnx_cast(w, HONE_ONNX_MASK, HONE_ONNX_I32);
    (void)OP(w, "MultiHeadAttention", out, hone_onnx_in(l, n, 0), hone_onnx_in(l, n, 1), hone_onnx_in(l, n, 2), "", l->mask_i32);
    hone_onnx_ms(w);
    hone_onnx_attr_i(w, "num_heads", a->heads);
    hone_onnx_attr_f(w, "scale", a->scale);
    hone_onnx_attr_f(w, "mask_filter_value", w->type == HONE_ONNX_F16 ? -30000 : -1e30);
    return true;
}

bool hone_onnx_fused_attention(hone_onnx_lowering *l, const char *out, const hone_node *n)
{
    hone_onnx_writer      *w = &l->w;
    const hone_graph_attn *a = &n->u.attn;
    gqa                    p;
    const char            *q, *k = "", *v = "", *cos = "", *sin = "", *at = "";
    if (!plan_gqa(l, n, &p)) return multi_head(l, out, n);
    if (p.from != APART) {
        q = packed(l, n, &p);
    } else {
        q = l->value[p.q];
        k = l->value[p.k];
        v = l->value[p.v];
    }
    lengths(l);
    if (p.rotary) {
        table(l, p.rope);
        cos = l->cos_table[p.rope->id & 1];
        sin = l->sin_table[p.rope->id & 1];
        at = gqa_positions(l, p.rope);
    }
    (void)OP(w, "GroupQueryAttention", out, q, k, v, hone_onnx_name(w, "past_key_values.%u.key", a->slot), hone_onnx_name(w, "past_key_values.%u.value", a->slot),
             l->seqlens, l->total, cos, sin, at);
    hone_onnx_ms(w);
    (void)hone_onnx_result(w, hone_onnx_name(w, "present.%u.key", a->slot));
    (void)hone_onnx_result(w, hone_onnx_name(w, "present.%u.value", a->slot));
    hone_onnx_attr_i(w, "num_heads", a->heads);
    hone_onnx_attr_i(w, "kv_num_heads", a->kv_heads);
    hone_onnx_attr_f(w, "scale", a->scale);
    hone_onnx_attr_i(w, "do_rotary", p.rotary);
    if (a->window) hone_onnx_attr_i(w, "local_window_size", a->window);
    if (a->softcap > 0) hone_onnx_attr_f(w, "softcap", a->softcap);
    return true;
}
