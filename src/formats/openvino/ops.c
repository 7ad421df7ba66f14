/* ops.c - OpenVINO's elementary operations with the shapes of what they give. */
#include "formats/openvino/lower.h"
#include <stdio.h>

const char *hone_ov_name(hone_ov_lowering *l, const hone_node *n, const char *what)
{
    char *s = hone_arena_printf(l->a, "%s/%s", n->name, what);
    if (!s && l->code == HONE_OK) l->code = HONE_NOMEM(l->err, "a name");
    return s;
}

static hone_ov_shape shape_of(const hone_ov_lowering *l, hone_ov_port p)
{
    hone_ov_shape s = *hone_ov_shape_of(l->ir, p);
    s.names = NULL;
    return s;
}

/* Dimensions of x op y by NumPy's rules; an unknown one against 1 stays unknown, against a number is the number. */
static hone_ov_shape broadcast(const hone_ov_shape *x, const hone_ov_shape *y)
{
    hone_ov_shape out = { .type = x->type, .n_dims = x->n_dims > y->n_dims ? x->n_dims : y->n_dims };
    for (uint32_t d = 0; d < out.n_dims; d++) {
        uint32_t back = out.n_dims - d; /* from the end */
        int64_t  a = back <= x->n_dims ? x->dims[x->n_dims - back] : 1, b = back <= y->n_dims ? y->dims[y->n_dims - back] : 1;
        out.dims[d] = a == 1 ? b : b == 1 || a >= 0 ? a : b;
    }
    return out;
}

hone_ov_port hone_ov_unary(hone_ov_lowering *l, const char *name, const char *type, const char *version, hone_ov_port x)
{
    hone_ov_shape out = shape_of(l, x);
    return hone_ov_op(l->ir, name, type, version, &x, 1, &out, NULL);
}

hone_ov_port hone_ov_binary(hone_ov_lowering *l, const char *name, const char *type, hone_ov_port x, hone_ov_port y)
{
    static const char *const compares[] = { "LessEqual", "Greater" };
    const char              *version = strcmp(type, "BitwiseAnd") == 0 ? "opset13" : "opset1";
    hone_ov_shape            out = broadcast(hone_ov_shape_of(l->ir, x), hone_ov_shape_of(l->ir, y));
    for (size_t i = 0; i < HONE_COUNT(compares); i++)
        if (strcmp(type, compares[i]) == 0) out.type = HONE_OV_BOOL;
    return hone_ov_op(l->ir, name, type, version, HONE_OV_IN(x, y), &out, "auto_broadcast", "numpy", NULL);
}

hone_ov_port hone_ov_convert(hone_ov_lowering *l, const char *name, hone_ov_port x, hone_ov_type to)
{
    hone_ov_shape out = shape_of(l, x);
    out.type = to;
    return hone_ov_op(l->ir, name, "Convert", "opset1", &x, 1, &out, "destination_type", hone_ov_type_name(to), NULL);
}

hone_ov_port hone_ov_reshape(hone_ov_lowering *l, const char *name, hone_ov_port x, hone_ov_port target, const hone_ov_shape *out)
{
    return hone_ov_op(l->ir, name, "Reshape", "opset1", HONE_OV_IN(x, target), out, "special_zero", "true", NULL);
}

hone_ov_port hone_ov_transpose(hone_ov_lowering *l, const char *name, hone_ov_port x, const int64_t *order, uint32_t n)
{
    hone_ov_shape in = shape_of(l, x), out = in; /* after trouble x may have another number of dimensions than order */
    out.n_dims = n;
    for (uint32_t d = 0; d < n; d++) out.dims[d] = in.dims[order[d]];
    return hone_ov_op(l->ir, name, "Transpose", "opset1", HONE_OV_IN(x, hone_ov_i64(l->ir, order, n)), &out, NULL);
}

hone_ov_port hone_ov_concat(hone_ov_lowering *l, const char *name, const hone_ov_port *in, size_t n, int axis, const hone_ov_shape *out)
{
    char text[16];
    (void)snprintf(text, sizeof text, "%d", axis);
    return hone_ov_op(l->ir, name, "Concat", "opset1", in, n, out, "axis", text, NULL);
}

hone_ov_port hone_ov_unsqueeze(hone_ov_lowering *l, hone_ov_port x, int64_t axis)
{
    hone_ov_shape in = shape_of(l, x), out = { .type = in.type, .n_dims = in.n_dims + 1 };
    uint32_t      at = axis < 0 ? in.n_dims : (uint32_t)axis;
    for (uint32_t d = 0; d < out.n_dims; d++) out.dims[d] = d == at ? 1 : in.dims[d < at ? d : d - 1];
    return hone_ov_op(l->ir, NULL, "Unsqueeze", "opset1", HONE_OV_IN(x, hone_ov_scalar_i64(l->ir, axis)), &out, NULL);
}

hone_ov_port hone_ov_reduce(hone_ov_lowering *l, const char *type, hone_ov_port x, int64_t axis, bool keep)
{
    hone_ov_shape in = shape_of(l, x), out = { .type = in.type };
    uint32_t      at = axis < 0 ? in.n_dims - 1 : (uint32_t)axis;
    for (uint32_t d = 0; d < in.n_dims; d++)
        if (d != at) out.dims[out.n_dims++] = in.dims[d];
        else if (keep) out.dims[out.n_dims++] = 1;
    return hone_ov_op(l->ir, NULL, type, "opset1", HONE_OV_IN(x, hone_ov_i64(l->ir, &axis, 1)), &out, "keep_dims",
                      keep ? "true" : "false", NULL);
}

hone_ov_port hone_ov_matmul(hone_ov_lowering *l, const char *name, hone_ov_port x, hone_ov_port y, bool transpose_y)
{
    hone_ov_shape a = shape_of(l, x), b = shape_of(l, y), out = a;
    if (b.n_dims > a.n_dims) out = b;
    out.dims[out.n_dims - 2] = a.dims[a.n_dims - 2];
    out.dims[out.n_dims - 1] = b.dims[b.n_dims - (transpose_y ? 2 : 1)];
    return hone_ov_op(l->ir, name, "MatMul", "opset1", HONE_OV_IN(x, y), &out, "transpose_a", "false", "transpose_b",
                      transpose_y ? "true" : "false", NULL);
}

hone_ov_port hone_ov_slice_last(hone_ov_lowering *l, const char *name, hone_ov_port x, int64_t first, int64_t end)
{
    hone_ov_shape out = shape_of(l, x);
    int64_t       axis = (int64_t)out.n_dims - 1;
    out.dims[axis] = end - first;
    return hone_ov_op(l->ir, name, "Slice", "opset8",
                      HONE_OV_IN(x, HONE_OV_VECTOR(l, first), HONE_OV_VECTOR(l, end), HONE_OV_VECTOR(l, 1), HONE_OV_VECTOR(l, axis)), &out, NULL);
}

hone_ov_port hone_ov_number(hone_ov_lowering *l, double v, uint32_t n_dims)
{
    hone_ov_shape s = { .type = HONE_OV_F32, .n_dims = n_dims };
    float         x = (float)v;
    for (uint32_t d = 0; d < n_dims; d++) s.dims[d] = 1;
    return hone_ov_const(l->ir, NULL, &s, &x, sizeof x);
}

hone_ov_port hone_ov_activate(hone_ov_lowering *l, const char *name, hone_act act, hone_ov_port x)
{
    hone_ov_shape out = shape_of(l, x);
    if (act == HONE_ACT_SILU) return hone_ov_unary(l, name, "Swish", "opset4", x);
    if (act == HONE_ACT_RELU) return hone_ov_unary(l, name, "ReLU", "opset1", x);
    return hone_ov_op(l->ir, name, "Gelu", "opset7", &x, 1, &out, "approximation_mode", act == HONE_ACT_GELU ? "ERF" : "TANH", NULL);
}

/* ---- forms of a value ---- */

hone_ov_port hone_ov_flat(hone_ov_lowering *l, uint32_t node)
{
    hone_ov_value *v = &l->values[node];
    if (v->has_flat) return v->flat;
    if (!v->has_split) {
        v->split = hone_ov_transpose(l, NULL, v->turned, (const int64_t[]){ 0, 2, 1, 3 }, 4);
        v->has_split = true;
    }
    int64_t       width = (int64_t)v->heads * v->head_dim, target[] = { 0, 0, width };
    hone_ov_shape out = HONE_OV_SHAPE(HONE_OV_F32, HONE_OV_DYN, HONE_OV_DYN, width);
    v->flat = hone_ov_reshape(l, NULL, v->split, hone_ov_i64(l->ir, target, HONE_COUNT(target)), &out);
    v->has_flat = true;
    return v->flat;
}

hone_ov_port hone_ov_heads(hone_ov_lowering *l, uint32_t node, uint32_t heads, uint32_t head_dim)
{
    hone_ov_value *v = &l->values[node];
    if (v->has_split && v->head_dim == head_dim) return v->split;
    int64_t       target[] = { 0, 0, heads, head_dim };
    hone_ov_shape out = HONE_OV_SHAPE(HONE_OV_F32, HONE_OV_DYN, HONE_OV_DYN, heads, head_dim);
    hone_ov_port  flat = hone_ov_flat(l, node);
    v->split = hone_ov_reshape(l, NULL, flat, hone_ov_i64(l->ir, target, HONE_COUNT(target)), &out);
    v->heads = heads;
    v->head_dim = head_dim;
    v->has_split = true;
    v->has_turned = false;
    return v->split;
}

hone_ov_port hone_ov_turned(hone_ov_lowering *l, uint32_t node, uint32_t heads, uint32_t head_dim)
{
    hone_ov_value *v = &l->values[node];
    if (v->has_turned && v->head_dim == head_dim) return v->turned;
    hone_ov_port split = hone_ov_heads(l, node, heads, head_dim);
    v->turned = hone_ov_transpose(l, NULL, split, (const int64_t[]){ 0, 2, 1, 3 }, 4);
    v->has_turned = true;
    return v->turned;
}
