#include "formats/openvino/lower.h"
#include <stdio.h>

/* ---- which weights there are ---- */

typedef struct list { hone_ov_slot *slots; size_t n, cap; } list;

static void take(list *to, const hone_weight *w, bool plus_one, unsigned use)
{
    if (!w) return;
    for (size_t i = 0; i < to->n; i++)
        if (to->slots[i].source == w && to->slots[i].plus_one == plus_one) {
            to->slots[i].use |= use;
            return;
        }
    hone_ov_slot *s = &to->slots[to->n++];
    *s = (hone_ov_slot){ .weight = *w, .source = w, .plus_one = plus_one, .use = use, .dtype = HONE_DTYPE_F32 };
    if (plus_one) s->weight.add += 1.0f;
}

static void take_node(list *to, const hone_node *n, bool last)
{
    switch (n->op) {
    case HONE_OP_EMBED: take(to, n->weight, false, HONE_OV_EMBEDDING | HONE_OV_MATRIX); break;
    case HONE_OP_LINEAR: take(to, n->weight, false, last ? HONE_OV_HEAD | HONE_OV_MATRIX : HONE_OV_MATRIX); break;
    case HONE_OP_EXPERTS:
        take(to, n->weight, false, HONE_OV_MATRIX);
        take(to, n->u.moe.gate, false, HONE_OV_MATRIX);
        take(to, n->u.moe.up, false, HONE_OV_MATRIX);
        take(to, n->u.moe.down, false, HONE_OV_MATRIX);
        break;
    default: take(to, n->weight, n->op == HONE_OP_NORM && n->u.norm.plus_one, HONE_OV_PLAIN); break;
    }
    take(to, n->bias, false, HONE_OV_PLAIN);
}

hone_code hone_ov_slots(const hone_graph *g, hone_arena *a, hone_ov_slot **out, size_t *n, hone_err *err)
{
    list l = { .slots = HONE_ARENA_NEW(a, hone_ov_slot, 5 * g->n_nodes + 1) };
    if (!l.slots) return HONE_NOMEM(err, "the weights");
    size_t last = g->n_nodes; /* matrix product: a decoder's logits, an encoder's last layer */
    while (last > 0 && g->nodes[last - 1].op != HONE_OP_LINEAR) last--;
    for (size_t i = 0; i < g->n_nodes; i++) take_node(&l, &g->nodes[i], i + 1 == last);
    *out = l.slots;
    *n = l.n;
    return HONE_OK;
}

/* ---- elementary operators ---- */

static hone_ov_port add_bias(hone_ov_lowering *l, const hone_node *n, hone_ov_port x)
{
    if (!n->bias) return x;
    hone_ov_port bias = hone_ov_weight_f32(l, n->bias, false, hone_ov_shape_of(l->ir, x)->n_dims);
    return hone_ov_binary(l, hone_ov_name(l, n, "bias"), "Add", x, bias);
}

static hone_ov_port embed(hone_ov_lowering *l, const hone_node *n)
{
    hone_ov_port  index = hone_ov_convert(l, NULL, hone_ov_flat(l, n->in[0]), HONE_OV_I32), w = hone_ov_weight_f32(l, n->weight, false, 0);
    hone_ov_shape i = *hone_ov_shape_of(l->ir, index), s = HONE_OV_SHAPE(HONE_OV_F32, i.dims[0], i.dims[1], n->dims[2]);
    return hone_ov_op(l->ir, hone_ov_name(l, n, "gather"), "Gather", "opset8", HONE_OV_IN(w, index, hone_ov_scalar_i32(l->ir, 0)), &s,
                      "batch_dims", "0", NULL);
}

/* x / sqrt(mean(x^2) + eps), as RMSFusion looks for it. */
static hone_ov_port rms(hone_ov_lowering *l, const hone_node *n, hone_ov_port x)
{
    uint32_t     dims = hone_ov_shape_of(l->ir, x)->n_dims;
    hone_ov_port mean = hone_ov_reduce(l, "ReduceMean", hone_ov_binary(l, NULL, "Power", x, hone_ov_number(l, 2, dims)), -1, true);
    hone_ov_port root = hone_ov_unary(l, NULL, "Sqrt", "opset1", hone_ov_binary(l, NULL, "Add", mean, hone_ov_number(l, n->u.norm.eps, dims)));
    return hone_ov_binary(l, NULL, "Multiply", x, hone_ov_binary(l, NULL, "Divide", hone_ov_number(l, 1, dims), root));
}

static hone_ov_port layer_norm(hone_ov_lowering *l, const hone_node *n, hone_ov_port x)
{
    hone_ov_shape s = *hone_ov_shape_of(l->ir, x);
    char          eps[40];
    (void)snprintf(eps, sizeof eps, "%.9g", n->u.norm.eps);
    s.names = NULL;
    return hone_ov_op(l->ir, NULL, "MVN", "opset6", HONE_OV_IN(x, HONE_OV_VECTOR(l, -1)), &s, "eps", eps, "normalize_variance", "true",
                      "eps_mode", "INSIDE_SQRT", NULL);
}

/* Groups smaller than the row are heads: the result stays split into them. */
static void norm(hone_ov_lowering *l, uint32_t at)
{
    const hone_node *n = &l->g->nodes[at];
    uint32_t         group = n->u.norm.group, heads = (uint32_t)(n->dims[n->n_dims - 1] / group);
    hone_ov_port     x = heads > 1 ? hone_ov_heads(l, n->in[0], heads, group) : hone_ov_flat(l, n->in[0]);
    uint32_t         dims = hone_ov_shape_of(l->ir, x)->n_dims;
    hone_ov_port     y = n->u.norm.kind == HONE_NORM_RMS ? rms(l, n, x) : layer_norm(l, n, x);
    hone_ov_port     w = hone_ov_weight_f32(l, n->weight, n->u.norm.plus_one, dims);
    hone_ov_port     b = n->bias ? hone_ov_weight_f32(l, n->bias, false, dims) : w;
    hone_ov_port    *each[] = { &w, &b };
    for (size_t i = 0; heads > 1 && i < HONE_COUNT(each); i++) {
        const hone_ov_shape *s = hone_ov_shape_of(l->ir, *each[i]);
        int64_t              target[] = { 1, 1, heads, group };
        hone_ov_shape        out = HONE_OV_SHAPE(HONE_OV_F32, target[0], target[1], target[2], target[3]);
        if (s->dims[s->n_dims - 1] == group || (i == 1 && !n->bias)) continue; /* one row for all heads */
        *each[i] = hone_ov_reshape(l, NULL, *each[i], hone_ov_i64(l->ir, target, 4), &out);
    }
    y = hone_ov_binary(l, hone_ov_name(l, n, "weight"), "Multiply", w, y);
    if (n->bias) y = hone_ov_binary(l, hone_ov_name(l, n, "bias"), "Add", y, b);
    if (heads > 1) l->values[at] = (hone_ov_value){ .split = y, .has_split = true, .heads = heads, .head_dim = group };
    else l->values[at] = (hone_ov_value){ .flat = y, .has_flat = true };
}

static hone_ov_port softcap(hone_ov_lowering *l, const hone_node *n, hone_ov_port x)
{
    x = hone_ov_binary(l, NULL, "Divide", x, hone_ov_number(l, n->u.number, 3));
    return hone_ov_binary(l, NULL, "Multiply", hone_ov_unary(l, NULL, "Tanh", "opset1", x), hone_ov_number(l, n->u.number, 3));
}

/* ---- the walk ---- */

static void set(hone_ov_lowering *l, uint32_t at, hone_ov_port p) { l->values[at] = (hone_ov_value){ .flat = p, .has_flat = true }; }

/* The others ask for the form that suits them. */
static bool takes_flat(hone_op op)
{
    return op == HONE_OP_LINEAR || op == HONE_OP_ADD || op == HONE_OP_MUL || op == HONE_OP_SCALE || op == HONE_OP_ACT || op == HONE_OP_SOFTCAP ||
           op == HONE_OP_SLICE;
}

static void lower_node(hone_ov_lowering *l, uint32_t at)
{
    const hone_node *n = &l->g->nodes[at];
    hone_ov_port     x = takes_flat(n->op) ? hone_ov_flat(l, n->in[0]) : (hone_ov_port){ 0, 0 };
    const char      *name = hone_ov_name(l, n, hone_op_name(n->op));
    switch (n->op) {
    case HONE_OP_IDS: set(l, at, l->ids); break;
    case HONE_OP_MASK: set(l, at, l->mask); break;
    case HONE_OP_POSITIONS: set(l, at, l->positions); break;
    case HONE_OP_TYPES: set(l, at, l->types); break;
    case HONE_OP_EMBED: set(l, at, embed(l, n)); break;
    case HONE_OP_LINEAR: set(l, at, add_bias(l, n, hone_ov_matmul(l, name, x, hone_ov_weight_f32(l, n->weight, false, 0), true))); break;
    case HONE_OP_NORM: norm(l, at); break;
    case HONE_OP_ADD: set(l, at, hone_ov_binary(l, name, "Add", x, hone_ov_flat(l, n->in[1]))); break;
    case HONE_OP_MUL: set(l, at, hone_ov_binary(l, name, "Multiply", x, hone_ov_flat(l, n->in[1]))); break;
    case HONE_OP_SCALE: set(l, at, hone_ov_binary(l, name, "Multiply", x, hone_ov_number(l, n->u.number, n->n_dims))); break;
    case HONE_OP_ACT: set(l, at, hone_ov_activate(l, name, n->u.act, x)); break;
    case HONE_OP_SOFTCAP: set(l, at, softcap(l, n, x)); break;
    case HONE_OP_SLICE: set(l, at, hone_ov_slice_last(l, name, x, n->u.first, n->u.first + n->dims[n->n_dims - 1])); break;
    case HONE_OP_ROPE: hone_ov_lower_rope(l, at); break;
    case HONE_OP_ATTENTION: hone_ov_lower_attention(l, at); break;
    case HONE_OP_EXPERTS: hone_ov_lower_experts(l, at); break;
    case HONE_OP_POOL: /* told, not computed: tell_pooling */
    case HONE_OP_UNIT:
    case HONE_OP_COUNT: break;
    }
}

static hone_ov_port dim_of(hone_ov_lowering *l, hone_ov_port x, int64_t which)
{
    hone_ov_shape two = HONE_OV_SHAPE(HONE_OV_I64, 2), one = HONE_OV_SHAPE(HONE_OV_I64, 1);
    hone_ov_port  shape = hone_ov_op(l->ir, NULL, "ShapeOf", "opset3", &x, 1, &two, "output_type", "i64", NULL);
    return hone_ov_op(l->ir, NULL, "Gather", "opset8", HONE_OV_IN(shape, HONE_OV_VECTOR(l, which), hone_ov_scalar_i64(l->ir, 0)), &one,
                      "batch_dims", "0", NULL);
}

static bool uses(const hone_graph *g, hone_op op)
{
    for (size_t i = 0; i < g->n_nodes; i++)
        for (uint32_t k = 0; k < g->nodes[i].n_in; k++)
            if (g->nodes[g->nodes[i].in[k]].op == op) return true;
    return false;
}

/* 0, 1, 2 ... for the tokens of the call. */
static hone_ov_port count_up(hone_ov_lowering *l)
{
    hone_ov_shape scalar = { .type = HONE_OV_I64 }, s = HONE_OV_SHAPE(HONE_OV_I64, HONE_OV_DYN);
    hone_ov_port  end = hone_ov_op(l->ir, NULL, "Squeeze", "opset1", HONE_OV_IN(l->seq, HONE_OV_VECTOR(l, 0)), &scalar, NULL);
    hone_ov_port  r = hone_ov_op(l->ir, NULL, "Range", "opset4", HONE_OV_IN(hone_ov_scalar_i64(l->ir, 0), end, hone_ov_scalar_i64(l->ir, 1)), &s,
                                 "output_type", "i64", NULL);
    return hone_ov_unsqueeze(l, r, 0);
}

static void add_inputs(hone_ov_lowering *l)
{
    bool          decoder = l->g->model->facts.kind == HONE_KIND_DECODER;
    hone_ov_shape two = HONE_OV_SHAPE(HONE_OV_I64, HONE_OV_DYN, HONE_OV_DYN), beam = HONE_OV_SHAPE(HONE_OV_I32, HONE_OV_DYN);
    l->ids = hone_ov_parameter(l->ir, "input_ids", &two);
    l->mask = hone_ov_parameter(l->ir, "attention_mask", &two);
    if (decoder) {
        l->positions = hone_ov_parameter(l->ir, "position_ids", &two);
        l->beam = hone_ov_parameter(l->ir, "beam_idx", &beam);
    } else if (uses(l->g, HONE_OP_TYPES)) l->types = hone_ov_parameter(l->ir, "token_type_ids", &two);
    l->batch = dim_of(l, l->ids, 0);
    l->seq = dim_of(l, l->ids, 1);
    l->total = dim_of(l, l->mask, 1);
    if (!decoder) l->positions = count_up(l);
}

static void add_result(hone_ov_lowering *l, const char *name, uint32_t node)
{
    hone_ov_port x = hone_ov_flat(l, node);
    hone_ov_set_names(l->ir, x, name);
    const char *result = hone_arena_printf(l->a, "%s/result", name);
    if (!result && l->code == HONE_OK) l->code = HONE_NOMEM(l->err, "a name");
    (void)hone_ov_result(l->ir, result, x);
}

/* openvino-genai takes encoders that give their last hidden state and nothing else, and pools itself: how this model does it is noted. */
static void tell_pooling(hone_ov_lowering *l)
{
    static const char *const names[] = { [HONE_POOL_MEAN] = "mean", [HONE_POOL_CLS] = "cls", [HONE_POOL_LAST] = "last" };
    for (size_t i = 0; i < l->g->n_nodes; i++)
        if (l->g->nodes[i].op == HONE_OP_POOL) hone_ov_info(l->ir, "hone/pooling", names[l->g->nodes[i].u.pool]);
        else if (l->g->nodes[i].op == HONE_OP_UNIT) hone_ov_info(l->ir, "hone/normalize", "True");
}

static hone_code begin(hone_ov_lowering *l, hone_err *err)
{
    const hone_graph *g = l->g;
    l->ir = hone_ov_new(l->a, "Model0");
    l->weights = HONE_ARENA_NEW(l->a, hone_ov_port, l->n_slots + 1);
    l->has_weight = HONE_ARENA_NEW(l->a, bool, l->n_slots + 1);
    l->streams = hone_arena_calloc(l->a, l->n_slots + 1, sizeof *l->streams);
    l->values = HONE_ARENA_NEW(l->a, hone_ov_value, g->n_nodes + 1);
    l->cos = HONE_ARENA_NEW(l->a, hone_ov_port, g->n_ropes + 1);
    l->sin = HONE_ARENA_NEW(l->a, hone_ov_port, g->n_ropes + 1);
    l->has_rope = HONE_ARENA_NEW(l->a, bool, g->n_ropes + 1);
    bool have = l->ir && l->weights && l->has_weight && l->streams && l->values && l->cos && l->sin && l->has_rope;
    return have ? HONE_OK : HONE_NOMEM(err, "the OpenVINO graph");
}

hone_code hone_ov_lower(const hone_graph *g, hone_ov_slot *slots, size_t n_slots, const char *const *info, hone_arena *a, hone_ov_files *out,
                        hone_err *err)
{
    hone_ov_lowering l = { .g = g, .a = a, .slots = slots, .n_slots = n_slots, .err = err };
    hone_ov_files    files = { 0 };
    HONE_TRY(begin(&l, err));
    add_inputs(&l);
    for (uint32_t i = 0; i < g->n_nodes && l.code == HONE_OK; i++) lower_node(&l, i);
    if (g->model->facts.kind == HONE_KIND_DECODER) add_result(&l, "logits", g->output);
    else add_result(&l, "last_hidden_state", g->output);
    tell_pooling(&l);
    for (size_t i = 0; info && info[i]; i += 2) hone_ov_info(l.ir, info[i], info[i + 1]);
    if (l.code != HONE_OK) return l.code;
    HONE_TRY(hone_ov_finish(l.ir, &files.xml, &files.bin, &files.bin_total, err));
    for (size_t i = 0; i < n_slots; i++)
        for (uint32_t s = 0; l.has_weight[i] && s < slots[i].n_streams; s++) {
            slots[i].offset[s] = hone_ov_const_offset(l.ir, l.streams[i][s]);
            slots[i].bytes[s] = hone_ov_const_bytes(l.ir, l.streams[i][s]);
        }
    *out = files;
    return HONE_OK;
}
