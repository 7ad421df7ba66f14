/* opset.c - a model of an older ai.onnx opset as one of a newer: what changed in form is rewritten, what changed in meaning and cannot be is refused.
 * Source: docs/Changelog.md of onnx, versions 8 to 21; onnx/version_converter/adapters tell the same. */
#include "base/text.h"
#include "passes/net_quant/shared.h"

typedef struct change { /* nodes of op, in models below `since` when the opset becomes at least that */
    const char *op;
    int64_t     since;
    /* False with *why set: it cannot be rewritten; without: no memory.  dry: only say whether. */
    bool (*rewrite)(hone_net *net, hone_net_node *n, bool dry, const char **why);
} change;

/* An attribute with a list of integers becomes input `slot`. */
static bool ints_to_input(hone_net *net, hone_net_node *n, const char *attr, uint32_t slot)
{
    const hone_net_attr *a = hone_net_attr_find(n, attr);
    uint8_t              raw[8 * 64];
    if (!a || (a->kind != HONE_NET_ATTR_INTS && a->kind != HONE_NET_ATTR_INT)) return true;
    uint64_t count = a->kind == HONE_NET_ATTR_INT ? 1 : a->n;
    if (count > 64) return false;
    for (uint64_t i = 0; i < count; i++) hone_put_le64(raw + 8 * i, (uint64_t)(a->kind == HONE_NET_ATTR_INT ? a->i : a->ints[i]));
    hone_net_value *v = hone_net_constant_new(net, attr, HONE_NET_I64, &count, 1, raw);
    while (v && n->n_in < slot)
        if (!hone_net_set_in(net, n, n->n_in, NULL)) return false;
    return v && hone_net_set_in(net, n, slot, v) && hone_net_attr_remove(n, attr);
}

static bool float_to_input(hone_net *net, hone_net_node *n, const char *attr, uint32_t slot)
{
    const hone_net_attr *a = hone_net_attr_find(n, attr);
    if (!a || a->kind != HONE_NET_ATTR_FLOAT) return true;
    hone_net_value *v = hone_net_floats_new(net, attr, NULL, 0, (const float[]){ a->f });
    while (v && n->n_in < slot)
        if (!hone_net_set_in(net, n, n->n_in, NULL)) return false;
    return v && hone_net_set_in(net, n, slot, v) && hone_net_attr_remove(n, attr);
}

static bool axes_input(hone_net *net, hone_net_node *n, bool dry, const char **why)
{
    (void)why;
    return dry || ints_to_input(net, n, "axes", 1);
}

static bool slice10(hone_net *net, hone_net_node *n, bool dry, const char **why)
{
    (void)why;
    return dry || (ints_to_input(net, n, "starts", 1) && ints_to_input(net, n, "ends", 2) && ints_to_input(net, n, "axes", 3));
}

static bool topk10(hone_net *net, hone_net_node *n, bool dry, const char **why)
{
    (void)why;
    return dry || ints_to_input(net, n, "k", 1);
}

static bool f32_only(const hone_net_node *n, const char **why)
{
    if (hone_net_type_name(n->in[0] ? n->in[0]->type : 0) && n->in[0] && n->in[0]->type == HONE_NET_F32) return true;
    *why = "its bounds are told in another type than f32";
    return false;
}

static bool clip11(hone_net *net, hone_net_node *n, bool dry, const char **why)
{
    if (!hone_net_attr_find(n, "min") && !hone_net_attr_find(n, "max")) return true;
    if (!f32_only(n, why)) return false;
    return dry || (float_to_input(net, n, "min", 1) && float_to_input(net, n, "max", 2));
}

static bool pad11(hone_net *net, hone_net_node *n, bool dry, const char **why)
{
    if (!f32_only(n, why)) return false;
    return dry || (ints_to_input(net, n, "pads", 1) && float_to_input(net, n, "value", 2));
}

static bool split13(hone_net *net, hone_net_node *n, bool dry, const char **why)
{
    (void)why;
    return dry || ints_to_input(net, n, "split", 1);
}

static bool split18(hone_net *net, hone_net_node *n, bool dry, const char **why)
{
    (void)why;
    return dry || hone_net_in(n, 1) || hone_net_attr_find(n, "split") || hone_net_attr_set_int(net, n, "num_outputs", n->n_out);
}

/* Before 13 all dimensions from axis on were one: the same when axis is the last. */
static bool softmax13(hone_net *net, hone_net_node *n, bool dry, const char **why)
{
    const hone_net_value *x = n->in[0];
    int64_t               axis = hone_net_attr_int(n, "axis", 1);
    if (!x || x->n_dims < 1 || (axis != -1 && axis != x->n_dims - 1)) {
        *why = "it runs over several dimensions, or over how many is not known";
        return false;
    }
    return dry || hone_net_attr_set_int(net, n, "axis", -1);
}

static bool drop_attr(hone_net_node *n, const char *name)
{
    (void)hone_net_attr_remove(n, name);
    return true;
}

static bool batch_norm9(hone_net *net, hone_net_node *n, bool dry, const char **why)
{
    (void)net;
    if (hone_net_attr_int(n, "spatial", 1) != 1) *why = "it normalises each element";
    return !*why && (dry || drop_attr(n, "spatial"));
}

static bool batch_norm14(hone_net *net, hone_net_node *n, bool dry, const char **why)
{
    (void)net, (void)dry;
    for (uint32_t i = 1; i < n->n_out; i++)
        if (n->out[i]) *why = "it learns";
    return !*why;
}

static bool dropout12(hone_net *net, hone_net_node *n, bool dry, const char **why)
{
    (void)net, (void)why;
    return dry || drop_attr(n, "ratio"); /* it does nothing when a model is used */
}

static bool scatter11(hone_net *net, hone_net_node *n, bool dry, const char **why)
{
    (void)why;
    if (!dry) n->op = hone_arena_strdup(&net->arena, "ScatterElements");
    return n->op != NULL;
}

static bool upsample10(hone_net *net, hone_net_node *n, bool dry, const char **why)
{
    const hone_net_attr *a = hone_net_attr_find(n, "scales");
    if (dry) return true;
    (void)why;
    if (a && a->kind == HONE_NET_ATTR_FLOATS) { /* opset 7 */
        uint64_t        count = a->n;
        hone_net_value *v = hone_net_floats_new(net, "scales", &count, 1, a->floats);
        if (!v || !hone_net_set_in(net, n, 1, v)) return false;
        (void)hone_net_attr_remove(n, "scales");
    }
    n->op = hone_arena_strdup(&net->arena, "Resize");
    return n->op != NULL;
}

/* Resize of opset 10 took no region and rounded down: docs/Changelog.md, Resize-10 and Upsample-9. */
static bool resize11(hone_net *net, hone_net_node *n, bool dry, const char **why)
{
    (void)why;
    if (dry) return true;
    hone_net_value *scales = hone_net_in(n, 1);
    uint64_t        none = 0;
    hone_net_value *region = hone_net_floats_new(net, "roi", &none, 1, NULL);
    return region && hone_net_set_in(net, n, 1, region) && hone_net_set_in(net, n, 2, scales) &&
           hone_net_attr_set_str(net, n, "coordinate_transformation_mode", "asymmetric") && hone_net_attr_set_str(net, n, "nearest_mode", "floor");
}

static bool roi_align16(hone_net *net, hone_net_node *n, bool dry, const char **why)
{
    (void)why;
    return dry || hone_net_attr_find(n, "coordinate_transformation_mode") || hone_net_attr_set_str(net, n, "coordinate_transformation_mode", "output_half_pixel");
}

static bool grid_sample20(hone_net *net, hone_net_node *n, bool dry, const char **why)
{
    const char *mode = hone_net_attr_str(n, "mode", "bilinear");
    (void)why;
    return dry || hone_net_attr_set_str(net, n, "mode", strcmp(mode, "bicubic") == 0 ? "cubic" : strcmp(mode, "bilinear") == 0 ? "linear" : mode);
}

static bool never(hone_net *net, hone_net_node *n, bool dry, const char **why)
{
    (void)net, (void)n, (void)dry;
    *why = "its meaning changed";
    return false;
}

static const change changes[] = { /* by version: what one makes, a later one may take up */
    { "BatchNormalization", 9, batch_norm9 }, { "Upsample", 10, upsample10 }, { "Slice", 10, slice10 },     { "TopK", 10, topk10 },
    { "Clip", 11, clip11 },         { "Pad", 11, pad11 },           { "Resize", 11, resize11 },     { "Scatter", 11, scatter11 },
    { "Dropout", 12, dropout12 },   { "Squeeze", 13, axes_input },  { "Unsqueeze", 13, axes_input }, { "ReduceSum", 13, axes_input },
    { "Softmax", 13, softmax13 },   { "LogSoftmax", 13, softmax13 }, { "Hardmax", 13, softmax13 },  { "Split", 13, split13 },
    { "BatchNormalization", 14, batch_norm14 }, { "RoiAlign", 16, roi_align16 }, { "ReduceMean", 18, axes_input }, { "ReduceMax", 18, axes_input },
    { "ReduceMin", 18, axes_input }, { "ReduceProd", 18, axes_input }, { "ReduceL1", 18, axes_input }, { "ReduceL2", 18, axes_input },
    { "ReduceLogSum", 18, axes_input }, { "ReduceLogSumExp", 18, axes_input }, { "ReduceSumSquare", 18, axes_input }, { "Split", 18, split18 },
    { "GridSample", 20, grid_sample20 }, { "DFT", 20, never },      { "GroupNormalization", 21, never },
};

static bool concerns(const change *c, const hone_net_node *n, int64_t have, int64_t want)
{
    if (have >= c->since || want < c->since || *n->domain) return false;
    if (strcmp(n->op, c->op) == 0) return true;
    return strcmp(n->op, "Upsample") == 0 && strcmp(c->op, "Resize") == 0 && want >= 11; /* it becomes one */
}

static hone_code refuse(const hone_net_node *n, int64_t have, int64_t want, const char *why, hone_err *err)
{
    char shown[96];
    const char *name = hone_net_called(n);
    return HONE_FAIL(err, HONE_EUNSUPPORTED, "export the model with a newer opset, or pass it through onnx.version_converter",
                     "%s '%s' of opset %lld cannot be one of opset %lld: %s", n->op, hone_text_show(name, strlen(name), shown, sizeof shown), (long long)have,
                     (long long)want, why);
}

static int64_t ir_version_of(int64_t opset) { return opset >= 21 ? 10 : opset >= 19 ? 9 : opset >= 15 ? 8 : opset >= 13 ? 7 : opset >= 11 ? 6 : 4; }

hone_code hone_net_raise(hone_net *net, int64_t want, hone_err *err)
{
    int64_t have = hone_net_opset_of(net, "");
    if (have >= want) return HONE_OK;
    if (net->functions)
        return HONE_FAIL(err, HONE_EUNSUPPORTED, "export the model with a newer opset, or inline its functions: onnx.inliner.inline_local_functions",
                         "the model is of opset %lld and cannot be one of opset %lld: its functions are kept as they are", (long long)have, (long long)want);
    for (hone_net_node *n = net->first; n; n = n->next) {
        const char *why = NULL;
        if (n->subgraphs) return refuse(n, have, want, "the operators of its subgraphs are kept as they are", err);
        for (size_t i = 0; i < HONE_COUNT(changes); i++)
            if (concerns(&changes[i], n, have, want) && !changes[i].rewrite(net, n, true, &why)) return refuse(n, have, want, why ? why : "it is not known", err);
    }
    for (size_t i = 0; i < HONE_COUNT(changes); i++)
        for (hone_net_node *n = net->first; n; n = n->next) {
            const char *why = NULL;
            bool        mine = have < changes[i].since && want >= changes[i].since && hone_net_is_op(n, changes[i].op);
            if (mine && !changes[i].rewrite(net, n, false, &why)) return HONE_NOMEM(err, "a newer opset");
        }
    if (net->ir_version < ir_version_of(want)) net->ir_version = ir_version_of(want);
    return hone_net_opset_set(net, "", want) ? HONE_OK : HONE_NOMEM(err, "a newer opset");
}
