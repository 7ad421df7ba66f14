/* lower.c - the walk over the graph: inputs, outputs, and for every node the operator that does it. */
#include "formats/onnx/lower.h"

static bool encoder(const hone_onnx_lowering *l) { return l->g->model->facts.kind == HONE_KIND_ENCODER; }

/* ---- values that many nodes need ---- */

const char *hone_onnx_last_dim1(hone_onnx_lowering *l)
{
    hone_onnx_writer *w = &l->w;
    if (l->total1) return l->total1;
    const char *prefix = w->prefix;
    w->prefix = "mask";
    l->total1 = OP(w, "Shape", NULL, HONE_ONNX_MASK);
    hone_onnx_attr_i(w, "start", 1);
    w->prefix = prefix;
    return l->total1;
}

/* Counted in the mask, so that padding may be anywhere; the last seq of them are those of the tokens at hand. */
const char *hone_onnx_positions(hone_onnx_lowering *l)
{
    hone_onnx_writer *w = &l->w;
    if (l->positions) return l->positions;
    const char *prefix = w->prefix;
    w->prefix = "positions";
    const char *count = OP(w, "Sub", NULL, OP(w, "CumSum", NULL, HONE_ONNX_MASK, hone_onnx_i64(w, 1)), hone_onnx_i64(w, 1));
    l->all_positions = OP(w, "Max", NULL, count, hone_onnx_i64(w, 0));
    const char *seq = OP(w, "Shape", NULL, HONE_ONNX_IDS);
    hone_onnx_attr_i(w, "start", 1);
    l->positions = OP(w, "Slice", "positions", l->all_positions, OP(w, "Neg", NULL, seq), INTS(w, INT64_MAX), INTS(w, 1));
    w->prefix = prefix;
    return l->positions;
}

/* ---- nodes ---- */

static const char *lower_linear(hone_onnx_lowering *l, const char *out, const hone_node *n)
{
    const hone_weight *m = n->weight;
    hone_onnx_region  *r = hone_onnx_region_find(l, m);
    const char        *bias = "", *name;
    if (!r) {
        /* GPT-2's Conv1D and the like are [out, in] already here. */
        r = hone_onnx_region_new(l, hone_onnx_name(&l->w, "%s.weight", n->name), m, HONE_ONNX_MATRIX, hone_weight_rows(m), hone_weight_cols(m));
        hone_onnx_keep(l, r, m, 0, 0, 1);
    }
    if (!r) return out;
    name = r->name;
    if (n->bias) bias = hone_onnx_vector(l, hone_onnx_name(&l->w, "%s.bias", n->name), n->bias, 0);
    return hone_onnx_linear(l, out, hone_onnx_in(l, n, 0), r, name, 0, r->rows, bias);
}

static const char *lower_embed(hone_onnx_lowering *l, const char *out, const hone_node *n)
{
    bool              tokens = l->g->nodes[n->in[0]].op == HONE_OP_IDS;
    hone_onnx_region *r = hone_onnx_region_new(l, hone_onnx_name(&l->w, "%s.weight", n->name), n->weight, tokens ? HONE_ONNX_EMBEDDING : HONE_ONNX_PLAIN,
                                               hone_weight_rows(n->weight), hone_weight_cols(n->weight));
    hone_onnx_keep(l, r, n->weight, 0, 0, 1);
    return hone_onnx_embed(l, out, hone_onnx_in(l, n, 0), r);
}

static const char *lower_slice(hone_onnx_lowering *l, const char *out, const hone_node *n)
{
    hone_onnx_writer *w = &l->w;
    int64_t           first = n->u.first, width = n->dims[n->n_dims - 1];
    return OP(w, "Slice", out, hone_onnx_in(l, n, 0), INTS(w, first), INTS(w, first + width), INTS(w, -1));
}

static const char *lower_softcap(hone_onnx_lowering *l, const char *out, const hone_node *n)
{
    hone_onnx_writer *w = &l->w;
    const char       *cap = hone_onnx_number(w, w->type, n->u.number);
    return OP(w, "Mul", out, OP(w, "Tanh", NULL, OP(w, "Div", NULL, hone_onnx_in(l, n, 0), cap)), cap);
}

/* The mean over the tokens, the first token, or the last. */
static const char *lower_pool(hone_onnx_lowering *l, const char *out, const hone_node *n)
{
    hone_onnx_writer *w = &l->w;
    const char       *x = hone_onnx_in(l, n, 0);
    if (n->u.pool == HONE_POOL_CLS) return OP(w, "Gather", out, x, hone_onnx_i64(w, 0)), hone_onnx_attr_i(w, "axis", 1), out;
    if (n->u.pool == HONE_POOL_LAST) {
        const char *last = OP(w, "ArgMax", NULL, OP(w, "CumSum", NULL, HONE_ONNX_MASK, hone_onnx_i64(w, 1)));
        hone_onnx_attr_i(w, "axis", 1);
        out = OP(w, "GatherND", out, x, last);
        hone_onnx_attr_i(w, "batch_dims", 1);
        return out;
    }
    const char *mask = hone_onnx_unsqueeze(w, hone_onnx_cast(w, HONE_ONNX_MASK, w->type), 2);
    const char *sum = OP(w, "ReduceSum", NULL, OP(w, "Mul", NULL, x, mask), INTS(w, 1));
    hone_onnx_attr_i(w, "keepdims", 0);
    const char *count = OP(w, "ReduceSum", NULL, mask, INTS(w, 1));
    hone_onnx_attr_i(w, "keepdims", 0);
    return OP(w, "Div", out, sum, OP(w, "Max", NULL, count, hone_onnx_number(w, w->type, 1e-6)));
}

static const char *lower_unit(hone_onnx_lowering *l, const char *out, const hone_node *n)
{
    hone_onnx_writer *w = &l->w;
    const char       *x = hone_onnx_in(l, n, 0);
    return OP(w, "Div", out, x, OP(w, "Max", NULL, OP(w, "ReduceL2", NULL, x, INTS(w, -1)), hone_onnx_number(w, w->type, 1e-7)));
}

static void lower_node(hone_onnx_lowering *l, uint32_t i)
{
    hone_onnx_writer *w = &l->w;
    const hone_node  *n = &l->g->nodes[i];
    const char       *out = l->value[i] ? l->value[i] : (l->value[i] = n->name), *x = n->n_in ? hone_onnx_in(l, n, 0) : "";
    w->prefix = n->name;
    w->serial = 0;
    switch (n->op) {
    case HONE_OP_IDS: l->value[i] = HONE_ONNX_IDS; break;
    case HONE_OP_MASK: l->value[i] = HONE_ONNX_MASK; break;
    case HONE_OP_TYPES: l->value[i] = HONE_ONNX_TYPES; break;
    case HONE_OP_POSITIONS: break; /* when a node reads them */
    case HONE_OP_EMBED:
        if (l->g->nodes[n->in[0]].op == HONE_OP_POSITIONS) (void)hone_onnx_positions(l);
        (void)lower_embed(l, out, n);
        break;
    case HONE_OP_LINEAR: (void)lower_linear(l, out, n); break;
    case HONE_OP_NORM: (void)hone_onnx_norm(l, out, x, n); break;
    case HONE_OP_ADD:
        if (l->opt->standard || !hone_onnx_fused_add(l, i)) (void)OP(w, "Add", out, x, hone_onnx_in(l, n, 1));
        break;
    case HONE_OP_MUL: (void)OP(w, "Mul", out, x, hone_onnx_in(l, n, 1)); break;
    case HONE_OP_SCALE: (void)OP(w, "Mul", out, x, hone_onnx_number(w, w->type, n->u.number)); break;
    case HONE_OP_ACT: (void)hone_onnx_act(l, out, x, n->u.act); break;
    case HONE_OP_SOFTCAP: (void)lower_softcap(l, out, n); break;
    case HONE_OP_SLICE: (void)lower_slice(l, out, n); break;
    case HONE_OP_ROPE: (void)hone_onnx_rope(l, out, x, &n->u.rope); break;
    case HONE_OP_ATTENTION: (void)hone_onnx_attention(l, out, n); break;
    case HONE_OP_EXPERTS: (void)hone_onnx_experts(l, out, n); break;
    case HONE_OP_POOL: (void)lower_pool(l, out, n); break;
    case HONE_OP_UNIT: (void)lower_unit(l, out, n); break;
    case HONE_OP_COUNT: break;
    }
}

/* ---- the model's inputs and outputs ---- */

static void ports(hone_onnx_lowering *l)
{
    hone_onnx_writer *w = &l->w;
    const hone_facts *f = &l->g->model->facts;
    const char       *kv = hone_onnx_name(w, "%u", f->n_kv_heads), *dim = hone_onnx_name(w, "%u", f->head_dim);
    const char       *total = encoder(l) ? "sequence_length" : "total_sequence_length";
    (void)INPUT(w, HONE_ONNX_IDS, HONE_ONNX_I64, "batch_size", "sequence_length");
    (void)INPUT(w, HONE_ONNX_MASK, HONE_ONNX_I64, "batch_size", total);
    for (size_t i = 0; i < l->g->n_nodes; i++)
        if (l->g->nodes[i].op == HONE_OP_TYPES && l->readers[i]) (void)INPUT(w, HONE_ONNX_TYPES, HONE_ONNX_I64, "batch_size", "sequence_length");
    if (encoder(l)) {
        const char *hidden = hone_onnx_name(w, "%u", f->hidden);
        (void)OUTPUT(w, l->value[l->g->output], w->type, "batch_size", "sequence_length", hidden);
        if (l->g->pooled != l->g->output) (void)OUTPUT(w, l->value[l->g->pooled], w->type, "batch_size", hidden);
        return;
    }
    (void)OUTPUT(w, l->value[l->g->output], w->type, "batch_size", "sequence_length", hone_onnx_name(w, "%u", f->vocab));
    for (uint32_t i = 0; i < l->g->n_caches; i++)
        for (int v = 0; v < 2; v++) {
            (void)INPUT(w, hone_onnx_name(w, "past_key_values.%u.%s", i, v ? "value" : "key"), w->type, "batch_size", kv, "past_sequence_length", dim);
            (void)OUTPUT(w, hone_onnx_name(w, "present.%u.%s", i, v ? "value" : "key"), w->type, "batch_size", kv, "total_sequence_length", dim);
        }
}

static void name_outputs(hone_onnx_lowering *l)
{
    const hone_graph *g = l->g;
    for (size_t i = 0; i < g->n_nodes; i++)
        if (strcmp(g->nodes[i].name, "logits") == 0) l->value[i] = "logits/MatMul"; /* what follows it may be the output */
    l->value[g->output] = encoder(l) ? "last_hidden_state" : "logits";
    if (g->pooled != g->output) l->value[g->pooled] = "sentence_embedding";
}

hone_code hone_onnx_lower(const hone_graph *g, const hone_onnx_options *opt, hone_arena *a, hone_onnx_model *out, hone_err *err)
{
    hone_onnx_lowering l = { .g = g, .opt = opt };
    l.w = (hone_onnx_writer){ .a = a, .err = err, .prefix = "", .type = opt->quant->dtype == HONE_DTYPE_F16 ? HONE_ONNX_F16 : HONE_ONNX_F32 };
    l.value = HONE_ARENA_NEW(a, const char *, g->n_nodes + 1);
    l.readers = HONE_ARENA_NEW(a, uint32_t, g->n_nodes + 1);
    l.skip = HONE_ARENA_NEW(a, bool, g->n_nodes + 1);
    if (!l.value || !l.readers || !l.skip) return HONE_NOMEM(err, "the ONNX graph");
    for (size_t i = 0; i < g->n_nodes; i++)
        for (uint32_t k = 0; k < g->nodes[i].n_in; k++) l.readers[g->nodes[i].in[k]]++;
    name_outputs(&l);
    if (!opt->standard) hone_onnx_fuse(&l);
    for (uint32_t i = 0; i < g->n_nodes && l.w.code == HONE_OK; i++) {
        if (!l.skip[i]) lower_node(&l, i);
        else if (!l.value[i]) l.value[i] = g->nodes[i].name;
    }
    ports(&l);
    *out = (hone_onnx_model){ .fallbacks = l.fallbacks, .shared_buffer = l.shared_buffer };
    HONE_TRY(hone_onnx_regions_place(&l, out));
    return hone_onnx_pack(&l.w, g->model->facts.family, &out->topology);
}
