/* experts.c - a mixture of experts as batched matrix products over all experts, weighted by a dense routing matrix: the form from which
 * OpenVINO makes products with the chosen experts only (ConvertTiledMoeBlockTo3GatherMatmuls).
 * Source: batched_mm_experts_forward_patched of optimum-intel. */
#include "formats/openvino/lower.h"

/* Probabilities of the chosen experts [tokens, used], and which they are. */
static void choose(hone_ov_lowering *l, const hone_node *n, hone_ov_port x, hone_ov_port *weights, hone_ov_port *chosen, hone_ov_port *all)
{
    const hone_graph_moe *m = &n->u.moe;
    hone_ov_shape         s = HONE_OV_SHAPE(HONE_OV_F32, HONE_OV_DYN, m->experts);
    hone_ov_port          scores = hone_ov_matmul(l, hone_ov_name(l, n, "router"), x, hone_ov_weight_f32(l, n->weight, false, 0), true);
    *all = hone_ov_op(l->ir, NULL, "SoftMax", "opset8", &scores, 1, &s, "axis", "1", NULL);
    hone_ov_shape       out[] = { HONE_OV_SHAPE(HONE_OV_F32, HONE_OV_DYN, m->used), HONE_OV_SHAPE(HONE_OV_I64, HONE_OV_DYN, m->used) };
    const hone_ov_attr  attrs[] = { { "axis", "-1" }, { "mode", "max" }, { "sort", "value" }, { "index_element_type", "i64" }, { "stable", "true" } };
    const hone_ov_port  in[] = { *all, hone_ov_scalar_i64(l->ir, m->used) };
    const hone_ov_layer layer = { .name = hone_ov_name(l, n, "top"), .type = "TopK", .version = "opset11", .attrs = attrs, .n_attrs = HONE_COUNT(attrs),
                                  .in = in, .n_in = 2, .out = out, .n_out = 2 };
    uint32_t            top = hone_ov_add(l->ir, &layer);
    *weights = (hone_ov_port){ top, 0 };
    *chosen = (hone_ov_port){ top, 1 };
    if (m->norm_topk) *weights = hone_ov_binary(l, NULL, "Divide", *weights, hone_ov_reduce(l, "ReduceSum", *weights, -1, true));
}

static hone_ov_port shape_of(hone_ov_lowering *l, hone_ov_port x)
{
    hone_ov_shape s = HONE_OV_SHAPE(HONE_OV_I64, hone_ov_shape_of(l->ir, x)->n_dims);
    return hone_ov_op(l->ir, NULL, "ShapeOf", "opset3", &x, 1, &s, "output_type", "i64", NULL);
}

/* The probabilities of all experts, zero for those not chosen: [experts, b, s, 1]. */
static hone_ov_port routing(hone_ov_lowering *l, const hone_node *n, hone_ov_port x)
{
    const hone_graph_moe *m = &n->u.moe;
    hone_ov_port          weights, chosen, all;
    choose(l, n, x, &weights, &chosen, &all);
    hone_ov_shape dense = HONE_OV_SHAPE(HONE_OV_F32, HONE_OV_DYN, m->experts), four = HONE_OV_SHAPE(HONE_OV_I64, 3);
    hone_ov_port  zero = hone_ov_number(l, 0, 0), axis = hone_ov_scalar_i64(l->ir, 1);
    hone_ov_port  zeros = hone_ov_op(l->ir, NULL, "Broadcast", "opset3", HONE_OV_IN(zero, shape_of(l, all)), &dense, "mode", "numpy", NULL);
    hone_ov_port  p = hone_ov_op(l->ir, NULL, "ScatterElementsUpdate", "opset12", HONE_OV_IN(zeros, chosen, weights, axis), &dense, "reduction", "none",
                                 "use_init_val", "true", NULL);
    p = hone_ov_transpose(l, NULL, p, (const int64_t[]){ 1, 0 }, 2);
    hone_ov_port  target = hone_ov_concat(l, NULL, HONE_OV_IN(HONE_OV_VECTOR(l, m->experts), l->batch, HONE_OV_VECTOR(l, -1)), 0, &four);
    hone_ov_shape s = HONE_OV_SHAPE(HONE_OV_F32, m->experts, HONE_OV_DYN, HONE_OV_DYN);
    return hone_ov_unsqueeze(l, hone_ov_reshape(l, NULL, p, target, &s), 3);
}

static hone_ov_port product(hone_ov_lowering *l, const hone_node *n, const char *what, hone_ov_port x, const hone_weight *w)
{
    return hone_ov_matmul(l, hone_ov_name(l, n, what), x, hone_ov_weight_f32(l, w, false, 0), true);
}

void hone_ov_lower_experts(hone_ov_lowering *l, uint32_t at)
{
    const hone_node      *n = &l->g->nodes[at];
    const hone_graph_moe *m = &n->u.moe;
    hone_ov_port          x = hone_ov_flat(l, n->in[0]);
    int64_t               hidden = hone_ov_shape_of(l->ir, x)->dims[2], experts = m->experts;
    hone_ov_shape         rows = HONE_OV_SHAPE(HONE_OV_F32, HONE_OV_DYN, hidden), each = HONE_OV_SHAPE(HONE_OV_F32, experts, HONE_OV_DYN, hidden);
    hone_ov_shape         back = HONE_OV_SHAPE(HONE_OV_F32, experts, HONE_OV_DYN, HONE_OV_DYN, hidden), four = HONE_OV_SHAPE(HONE_OV_I64, 4);
    hone_ov_port          flat = hone_ov_reshape(l, NULL, x, HONE_OV_VECTOR(l, -1, hidden), &rows);
    hone_ov_port          route = routing(l, n, flat);
    hone_ov_port y = hone_ov_op(l->ir, NULL, "Tile", "opset1", HONE_OV_IN(flat, HONE_OV_VECTOR(l, experts, 1)), &rows, NULL);
    y = hone_ov_reshape(l, NULL, y, HONE_OV_VECTOR(l, experts, -1, hidden), &each);
    hone_ov_port gate = product(l, n, "gate", y, m->gate), up = product(l, n, "up", y, m->up);
    y = product(l, n, "down", hone_ov_binary(l, NULL, "Multiply", hone_ov_activate(l, NULL, m->act, gate), up), m->down);
    hone_ov_port target = hone_ov_concat(l, NULL, HONE_OV_IN(HONE_OV_VECTOR(l, experts), shape_of(l, x)), 0, &four);
    y = hone_ov_binary(l, NULL, "Multiply", hone_ov_reshape(l, NULL, y, target, &back), route);
    l->values[at] = (hone_ov_value){ .flat = hone_ov_reduce(l, "ReduceSum", y, 0, false), .has_flat = true };
}
