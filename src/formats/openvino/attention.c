/* attention.c - rotation, masks, the cache as state, attention itself.  The shapes of these subgraphs are those that optimum-intel's exports have:
 * RoPEFusion, StatefulSDPAFusion (CPU) and SDPAToPagedAttention (openvino-genai) look for them. */
#include "formats/openvino/lower.h"

#define HIDDEN (-65504.0) /* what a score that must not be seen gets: the least float16, as exports have it; a row with nothing to see stays finite */

/* ---- rotation ---- */

/* Tokens of the longest text up to now: the largest position and one. */
static hone_ov_port longest(hone_ov_lowering *l)
{
    hone_ov_shape scalar = { .type = HONE_OV_I64 };
    hone_ov_port  last = hone_ov_op(l->ir, NULL, "ReduceMax", "opset1", HONE_OV_IN(l->positions, HONE_OV_VECTOR(l, 0, 1)), &scalar, "keep_dims", "false", NULL);
    return hone_ov_binary(l, NULL, "Add", last, hone_ov_scalar_i64(l->ir, 1));
}

/* Dynamic NTK: with n tokens, more than the context, the base is multiplied by g^(dim/(dim-2)), g = factor * n / context - (factor - 1);
 * so the frequency of pair i is multiplied by g^(-2i/(dim-2)).  Source: transformers modeling_rope_utils.py, _compute_dynamic_ntk_parameters. */
static hone_ov_port stretched(hone_ov_lowering *l, const hone_graph_rope *r, hone_ov_port table, const hone_ov_shape *s)
{
    const hone_facts *f = &l->g->model->facts;
    uint32_t          pairs = r->dim / 2;
    float            *powers = HONE_ARENA_NEW(l->a, float, pairs);
    if (!powers || pairs < 2) {
        if (!powers && l->code == HONE_OK) l->code = HONE_NOMEM(l->err, "a rope table");
        return table;
    }
    for (uint32_t i = 0; i < pairs; i++) powers[i] = (float)(-2.0 * i / ((double)r->dim - 2));
    hone_ov_port n = hone_ov_binary(l, NULL, "Maximum", hone_ov_convert(l, NULL, longest(l), HONE_OV_F32), hone_ov_number(l, f->context, 0));
    hone_ov_port g = hone_ov_binary(l, NULL, "Multiply", n, hone_ov_number(l, f->rope.factor / f->context, 0));
    g = hone_ov_binary(l, NULL, "Subtract", g, hone_ov_number(l, f->rope.factor - 1, 0));
    hone_ov_port exponents = hone_ov_const(l->ir, NULL, s, powers, pairs * sizeof *powers);
    return hone_ov_binary(l, NULL, "Multiply", table, hone_ov_binary(l, NULL, "Power", g, exponents));
}

/* inv_freq as [1, 1, dim/2]; of two tables the one that the last position asks for. */
static hone_ov_port frequencies(hone_ov_lowering *l, const hone_graph_rope *r)
{
    hone_ov_shape s = HONE_OV_SHAPE(HONE_OV_F32, 1, 1, r->dim / 2);
    size_t        bytes = r->dim / 2 * sizeof(float);
    hone_ov_port  shorter = hone_ov_const(l->ir, NULL, &s, r->inv_freq, bytes);
    if (l->g->model->facts.rope.scaling == HONE_ROPE_SCALE_DYNAMIC) return stretched(l, r, shorter, &s);
    if (!r->inv_freq_long) return shorter;
    hone_ov_port longer = hone_ov_const(l->ir, NULL, &s, r->inv_freq_long, bytes);
    hone_ov_port is_long = hone_ov_binary(l, NULL, "Greater", longest(l), hone_ov_scalar_i64(l->ir, r->long_from));
    return hone_ov_op(l->ir, NULL, "Select", "opset1", HONE_OV_IN(is_long, longer, shorter), &s, "auto_broadcast", "numpy", NULL);
}

/* cos and sin of all positions, [b, 1, s, dim]: made once for all layers that share the table. */
static void make_rope(hone_ov_lowering *l, const hone_graph_rope *r)
{
    if (l->has_rope[r->id]) return;
    hone_ov_port  where = hone_ov_unsqueeze(l, hone_ov_convert(l, NULL, l->positions, HONE_OV_F32), 2);
    hone_ov_port  half = hone_ov_binary(l, NULL, "Multiply", where, frequencies(l, r));
    hone_ov_shape s = HONE_OV_SHAPE(HONE_OV_F32, HONE_OV_DYN, HONE_OV_DYN, r->dim);
    hone_ov_port  angles = hone_ov_concat(l, NULL, HONE_OV_IN(half, half), -1, &s);
    hone_ov_port  out[2];
    for (int i = 0; i < 2; i++) {
        out[i] = hone_ov_unary(l, NULL, i ? "Sin" : "Cos", "opset1", angles);
        if (r->scale != 1.0f) out[i] = hone_ov_binary(l, NULL, "Multiply", out[i], hone_ov_number(l, (double)r->scale, 3));
        out[i] = hone_ov_unsqueeze(l, out[i], 1);
    }
    l->cos[r->id] = out[0];
    l->sin[r->id] = out[1];
    l->has_rope[r->id] = true;
}

void hone_ov_lower_rope(hone_ov_lowering *l, uint32_t at)
{
    const hone_node       *n = &l->g->nodes[at];
    const hone_graph_rope *r = &n->u.rope;
    int64_t                half = r->dim / 2;
    make_rope(l, r);
    hone_ov_port whole = hone_ov_turned(l, n->in[0], r->heads, r->head_dim), x = whole;
    if (r->dim < r->head_dim) x = hone_ov_slice_last(l, NULL, whole, 0, r->dim);
    hone_ov_shape s = HONE_OV_SHAPE(HONE_OV_F32, HONE_OV_DYN, r->heads, HONE_OV_DYN, r->dim);
    hone_ov_port  minus = hone_ov_binary(l, NULL, "Multiply", hone_ov_slice_last(l, NULL, x, half, r->dim), hone_ov_number(l, -1, 4));
    hone_ov_port  rotated = hone_ov_concat(l, NULL, HONE_OV_IN(minus, hone_ov_slice_last(l, NULL, x, 0, half)), -1, &s);
    hone_ov_port  by_cos = hone_ov_binary(l, NULL, "Multiply", x, l->cos[r->id]), by_sin = hone_ov_binary(l, NULL, "Multiply", rotated, l->sin[r->id]);
    hone_ov_port  y = hone_ov_binary(l, hone_ov_name(l, n, "rotated"), "Add", by_cos, by_sin);
    if (r->dim < r->head_dim) {
        s.dims[3] = r->head_dim;
        y = hone_ov_concat(l, NULL, HONE_OV_IN(y, hone_ov_slice_last(l, NULL, whole, r->dim, r->head_dim)), -1, &s);
    }
    l->values[at] = (hone_ov_value){ .turned = y, .has_turned = true, .heads = r->heads, .head_dim = r->head_dim };
}

/* ---- masks ---- */

static hone_ov_port and(hone_ov_lowering *l, hone_ov_port x, hone_ov_port y) { return hone_ov_binary(l, NULL, "BitwiseAnd", x, y); }

static hone_ov_port range(hone_ov_lowering *l, hone_ov_port from, hone_ov_port to)
{
    hone_ov_shape s = HONE_OV_SHAPE(HONE_OV_I64, HONE_OV_DYN), scalar = { .type = HONE_OV_I64 };
    hone_ov_port  ends[] = { from, to }, zero = HONE_OV_VECTOR(l, 0);
    for (size_t i = 0; i < HONE_COUNT(ends); i++)
        ends[i] = hone_ov_op(l->ir, NULL, "Squeeze", "opset1", HONE_OV_IN(ends[i], zero), &scalar, NULL);
    return hone_ov_op(l->ir, NULL, "Range", "opset4", HONE_OV_IN(ends[0], ends[1], hone_ov_scalar_i64(l->ir, 1)), &s, "output_type", "i64", NULL);
}

/* true where a key is seen, [b, 1, s, total].  The order of the conjunctions of a window, and that its width is an added constant, are what
 * SDPAToPagedAttention reads the window from (gpt-oss's mask). */
static hone_ov_port seen(hone_ov_lowering *l, uint32_t window, hone_ov_port padding)
{
    hone_ov_port past = hone_ov_binary(l, NULL, "Subtract", l->total, l->seq);
    hone_ov_port keys = range(l, HONE_OV_VECTOR(l, 0), l->total), queries = range(l, past, l->total);
    keys = hone_ov_unsqueeze(l, hone_ov_unsqueeze(l, hone_ov_unsqueeze(l, keys, 0), 0), 0);
    queries = hone_ov_unsqueeze(l, hone_ov_unsqueeze(l, hone_ov_unsqueeze(l, queries, 0), 0), 3);
    hone_ov_port before = hone_ov_binary(l, NULL, "LessEqual", keys, queries);
    if (!window) return and(l, before, padding);
    int64_t       width = -(int64_t)window;
    hone_ov_shape one = { .type = HONE_OV_BOOL };
    hone_ov_port  near = hone_ov_binary(l, NULL, "Greater", keys, hone_ov_binary(l, NULL, "Add", queries, hone_ov_scalar_i64(l->ir, width)));
    hone_ov_port  yes = hone_ov_const(l->ir, NULL, &one, (const uint8_t[]){ 1 }, 1);
    return and(l, and(l, yes, and(l, and(l, yes, near), before)), padding);
}

static hone_ov_port scores_mask(hone_ov_lowering *l, hone_ov_port allowed, const hone_ov_shape *s)
{
    return hone_ov_op(l->ir, NULL, "Select", "opset1", HONE_OV_IN(allowed, hone_ov_number(l, 0, 0), hone_ov_number(l, HIDDEN, 0)), s,
                      "auto_broadcast", "numpy", NULL);
}

/* What is added to the scores; one mask for all layers of the same window. */
static hone_ov_port make_mask(hone_ov_lowering *l, const hone_graph_attn *t)
{
    size_t i = t->window != 0;
    if (l->masks[i].made && l->masks[i].window == t->window) return l->masks[i].port;
    hone_ov_port  padding = hone_ov_unsqueeze(l, hone_ov_unsqueeze(l, hone_ov_convert(l, NULL, l->mask, HONE_OV_BOOL), 1), 1);
    hone_ov_shape s = HONE_OV_SHAPE(HONE_OV_F32, HONE_OV_DYN, 1, HONE_OV_DYN, HONE_OV_DYN), b = s;
    hone_ov_port  m;
    if (t->causal) {
        hone_ov_shape four = HONE_OV_SHAPE(HONE_OV_I64, 4);
        hone_ov_port  one = HONE_OV_VECTOR(l, 1);
        hone_ov_port  target = hone_ov_concat(l, NULL, HONE_OV_IN(l->batch, one, l->seq, l->total), 0, &four);
        b.type = HONE_OV_BOOL;
        m = hone_ov_op(l->ir, NULL, "Broadcast", "opset3", HONE_OV_IN(seen(l, t->window, padding), target), &b, "mode", "bidirectional", NULL);
        m = scores_mask(l, m, &s);
        m = hone_ov_op(l->ir, t->window ? "window_mask" : "causal_mask", "Slice", "opset8",
                       HONE_OV_IN(m, HONE_OV_VECTOR(l, 0), l->total, one, HONE_OV_VECTOR(l, 3)), &s, NULL);
    } else {
        s.dims[2] = 1;
        m = scores_mask(l, padding, &s);
    }
    l->masks[i].made = true;
    l->masks[i].window = t->window;
    l->masks[i].port = m;
    return m;
}

/* ---- cache ---- */

/* All keys (or values) up to now, [b, kv_heads, total, head_dim]: those kept, of the beams that go on, and the new ones; kept again. */
static hone_ov_port cached(hone_ov_lowering *l, const hone_graph_attn *t, const char *what, hone_ov_port now)
{
    const char   *id = hone_arena_printf(l->a, "past_key_values.%u.%spresent.%u.%s", t->slot, what, t->slot, what);
    const char   *shape = hone_arena_printf(l->a, "?,%u,?,%u", t->kv_heads, t->head_dim);
    hone_ov_shape s = HONE_OV_SHAPE(HONE_OV_F32, HONE_OV_DYN, t->kv_heads, HONE_OV_DYN, t->head_dim);
    hone_ov_shape four = HONE_OV_SHAPE(HONE_OV_I64, 4);
    if (!id || !shape) {
        if (l->code == HONE_OK) l->code = HONE_NOMEM(l->err, "a name");
        return now;
    }
    hone_ov_port heads = HONE_OV_VECTOR(l, t->kv_heads), size = HONE_OV_VECTOR(l, t->head_dim), axis = hone_ov_scalar_i64(l->ir, 0);
    hone_ov_port empty = hone_ov_concat(l, NULL, HONE_OV_IN(l->batch, heads, HONE_OV_VECTOR(l, 0), size), 0, &four);
    hone_ov_port none = hone_ov_op(l->ir, NULL, "Broadcast", "opset3", HONE_OV_IN(hone_ov_number(l, 0, 0), empty), &s, "mode", "numpy", NULL);
    hone_ov_port kept = hone_ov_op(l->ir, NULL, "ReadValue", "opset6", HONE_OV_IN(none), &s, "variable_id", id, "variable_type", "f32",
                                   "variable_shape", shape, NULL);
    hone_ov_port past = hone_ov_op(l->ir, NULL, "Gather", "opset8", HONE_OV_IN(kept, l->beam, axis), &s, "batch_dims", "0", NULL);
    hone_ov_port all = hone_ov_concat(l, NULL, HONE_OV_IN(past, now), 2, &s);
    (void)hone_ov_op(l->ir, NULL, "Assign", "opset6", HONE_OV_IN(all), &s, "variable_id", id, "variable_type", "f32", "variable_shape", shape, NULL);
    return all;
}

/* Each kv head stands for heads / kv_heads query heads. */
static hone_ov_port repeat_heads(hone_ov_lowering *l, const hone_graph_attn *t, hone_ov_port x)
{
    int64_t times = t->heads / t->kv_heads, heads = t->heads, size = t->head_dim;
    if (times <= 1) return x;
    hone_ov_shape five = HONE_OV_SHAPE(HONE_OV_F32, HONE_OV_DYN, t->kv_heads, times, HONE_OV_DYN, size);
    hone_ov_shape four = HONE_OV_SHAPE(HONE_OV_F32, HONE_OV_DYN, heads, HONE_OV_DYN, size);
    hone_ov_port  wide = hone_ov_op(l->ir, NULL, "Broadcast", "opset3",
                                    HONE_OV_IN(hone_ov_unsqueeze(l, x, 2), HONE_OV_VECTOR(l, 1, 1, times, 1, 1)), &five, "mode",
                                    "bidirectional", NULL);
    return hone_ov_reshape(l, NULL, wide, HONE_OV_VECTOR(l, 0, heads, -1, size), &four);
}

/* ---- attention ---- */

/* Scores that are soft-capped have no operator: written out. */
static hone_ov_port capped(hone_ov_lowering *l, const hone_node *n, hone_ov_port q, hone_ov_port k, hone_ov_port v, hone_ov_port mask)
{
    const hone_graph_attn *t = &n->u.attn;
    hone_ov_port           scores = hone_ov_matmul(l, NULL, q, k, true);
    scores = hone_ov_binary(l, NULL, "Multiply", scores, hone_ov_number(l, t->scale, 4));
    scores = hone_ov_binary(l, NULL, "Divide", scores, hone_ov_number(l, t->softcap, 4));
    scores = hone_ov_binary(l, NULL, "Multiply", hone_ov_unary(l, NULL, "Tanh", "opset1", scores), hone_ov_number(l, t->softcap, 4));
    scores = hone_ov_binary(l, NULL, "Add", scores, mask);
    hone_ov_shape s = *hone_ov_shape_of(l->ir, scores);
    hone_ov_port  p = hone_ov_op(l->ir, NULL, "SoftMax", "opset8", &scores, 1, &s, "axis", "-1", NULL);
    return hone_ov_matmul(l, hone_ov_name(l, n, "sdpa"), p, v, false);
}

void hone_ov_lower_attention(hone_ov_lowering *l, uint32_t at)
{
    const hone_node       *n = &l->g->nodes[at];
    const hone_graph_attn *t = &n->u.attn;
    hone_ov_port           q = hone_ov_turned(l, n->in[0], t->heads, t->head_dim), k = hone_ov_turned(l, n->in[1], t->kv_heads, t->head_dim),
                 v = hone_ov_turned(l, n->in[2], t->kv_heads, t->head_dim), mask = make_mask(l, t), y;
    if (t->causal) {
        k = cached(l, t, "key", k);
        v = cached(l, t, "value", v);
    }
    k = repeat_heads(l, t, k);
    v = repeat_heads(l, t, v);
    if (t->softcap > 0) y = capped(l, n, q, k, v, mask);
    else {
        hone_ov_shape s = *hone_ov_shape_of(l->ir, q);
        s.names = NULL;
        y = hone_ov_op(l->ir, hone_ov_name(l, n, "sdpa"), "ScaledDotProductAttention", "opset13",
                       HONE_OV_IN(q, k, v, mask, hone_ov_number(l, t->scale, 0)), &s, "causal", "false", NULL);
    }
    l->values[at] = (hone_ov_value){ .turned = y, .has_turned = true, .heads = t->heads, .head_dim = t->head_dim };
}
