/* dynamic.c - dynamic int8, as onnxruntime.quantization.quantize_dynamic has it: x -> DynamicQuantizeLinear -> MatMulInteger or ConvInteger -> Cast ->
 * times both scales (-> + bias).  Weights have a scale per output channel.  Their codes are u8 around 128: products of u8 with i8 saturate on x86
 * without VNNI (onnxruntime, docs "Quantize ONNX models", U8S8), and ConvInteger of ONNX Runtime takes no i8. */
#include "base/text.h"
#include "passes/net_quant/shared.h"

typedef struct dynamic_input { const hone_net_value *x; hone_net_value *codes, *scale, *zero; } dynamic_input;

typedef struct job {
    hone_net         *net;
    hone_net_quanted *q;
    dynamic_input    *list;
    size_t            n, cap;
    hone_net_value   *middle; /* the weights' zero point */
    hone_err         *err;
} job;

static bool quantised_input(job *j, hone_net_node *before, hone_net_value *x, dynamic_input *out)
{
    for (size_t i = 0; i < j->n; i++)
        if (j->list[i].x == x) {
            *out = j->list[i];
            return true;
        }
    hone_net   *net = j->net;
    const char *stem = hone_arena_printf(&net->arena, "%s.quantized", x->name);
    if (!stem) return false;
    *out = (dynamic_input){ x, hone_net_value_new(net, stem, HONE_NET_U8), hone_net_value_new(net, stem, HONE_NET_F32), hone_net_value_new(net, stem, HONE_NET_U8) };
    if (!out->codes || !out->scale || !out->zero ||
        !hone_net_node_new(net, before, "DynamicQuantizeLinear", "", &x, 1, (hone_net_value *const[]){ out->codes, out->scale, out->zero }, 3))
        return false;
    if (j->n == j->cap) {
        size_t         cap = j->cap ? 2 * j->cap : 32;
        dynamic_input *more = HONE_ARENA_NEW(&net->arena, dynamic_input, cap);
        if (!more) return false;
        if (j->n) memcpy(more, j->list, j->n * sizeof *more);
        j->list = more;
        j->cap = cap;
    }
    j->list[j->n++] = *out;
    return true;
}

/* [channels] numbers as [1, channels, 1, ...] for a convolution's result. */
static hone_net_value *spread(job *j, const hone_net_weight *w, const char *tail, const float *x)
{
    uint64_t    dims[HONE_NET_CONV_DIMS] = { 1, w->channels, 1, 1, 1, 1, 1, 1 };
    const char *stem = hone_arena_printf(&j->net->arena, "%s.%s", w->value->name, tail);
    bool        conv = w->kind == HONE_NETW_CONV;
    return stem ? hone_net_floats_new(j->net, stem, conv ? dims : &w->channels, conv ? w->t->n_dims : 1, x) : NULL;
}

/* The bias in the form that is added behind; *out NULL: there is none. */
static bool bias_of(job *j, const hone_net_weight *w, hone_net_value **out)
{
    hone_net_value *b = w->kind == HONE_NETW_MATMUL ? NULL : hone_net_in(w->node, 2);
    *out = b;
    if (!b || w->kind != HONE_NETW_CONV) return true;
    uint8_t     raw[8 * HONE_NET_CONV_DIMS];
    uint64_t    rank = w->t->n_dims;
    const char *stem = hone_arena_printf(&j->net->arena, "%s.spread", b->name);
    for (uint64_t d = 0; d < rank; d++) hone_put_le64(raw + 8 * d, d == 1 ? w->channels : 1);
    hone_net_value *shape = hone_net_constant_new(j->net, "shape", HONE_NET_I64, &rank, 1, raw);
    *out = stem ? hone_net_value_new(j->net, stem, HONE_NET_F32) : NULL;
    return shape && *out && hone_net_node_new(j->net, w->node, "Reshape", "", (hone_net_value *const[]){ b, shape }, 2, out, 1);
}

/* ConvInteger knows the same attributes as Conv. */
static bool copy_attrs(hone_net *net, const hone_net_node *from, hone_net_node *to)
{
    to->attrs = HONE_ARENA_NEW(&net->arena, hone_net_attr, (size_t)from->n_attrs + 1);
    if (!to->attrs) return false;
    if (from->n_attrs) memcpy(to->attrs, from->attrs, from->n_attrs * sizeof *to->attrs);
    to->n_attrs = from->n_attrs;
    return true;
}

/* A Gemm's weight as [in, out]. */
static hone_net_value *upright(job *j, const hone_net_weight *w, hone_net_value *codes)
{
    if (w->kind != HONE_NETW_GEMM || w->axis == 1) return codes;
    hone_net_value *t = hone_net_value_new(j->net, codes->name, HONE_NET_U8);
    hone_net_node  *n = t ? hone_net_node_new(j->net, w->node, "Transpose", "", &codes, 1, &t, 1) : NULL;
    return n && hone_net_attr_set_ints(j->net, n, "perm", (const int64_t[]){ 1, 0 }, 2) ? t : NULL;
}

static hone_code in_integers(job *j, const hone_net_weight *w, const float *scale)
{
    hone_net       *net = j->net;
    hone_net_node  *n = w->node, *next = n->next;
    hone_net_value *y = n->out[0], *bias, *sum = hone_net_value_new(net, "sum", HONE_NET_I32), *f = hone_net_value_new(net, "sum", HONE_NET_F32),
                   *both = hone_net_value_new(net, "scale", HONE_NET_F32), *product = y;
    dynamic_input   x;
    hone_net_value *codes = hone_net_codes8(net, w, scale, HONE_NET_U8), *s = spread(j, w, "scale", scale);
    if (!j->middle) j->middle = hone_net_constant_new(net, "middle", HONE_NET_U8, NULL, 0, (const uint8_t[]){ 128 });
    bool good = sum && f && both && codes && s && j->middle && quantised_input(j, n, n->in[0], &x) && bias_of(j, w, &bias) && (codes = upright(j, w, codes));
    if (good && bias) good = (product = hone_net_value_new(net, "product", HONE_NET_F32)) != NULL;
    hone_net_node *mul = good ? hone_net_node_new(net, n, w->kind == HONE_NETW_CONV ? "ConvInteger" : "MatMulInteger", "",
                                                  (hone_net_value *const[]){ x.codes, codes, x.zero, j->middle }, 4, &sum, 1)
                              : NULL;
    if (mul && w->kind == HONE_NETW_CONV) good = copy_attrs(net, n, mul);
    if (!mul || !good) return HONE_NOMEM(j->err, "integer operators");
    hone_net_node_remove(net, n);
    hone_net_node *cast = hone_net_node_new(net, next, "Cast", "", &sum, 1, &f, 1);
    good = cast && hone_net_attr_set_int(net, cast, "to", HONE_NET_F32) && hone_net_node_new(net, next, "Mul", "", (hone_net_value *const[]){ x.scale, s }, 2, &both, 1) &&
           hone_net_node_new(net, next, "Mul", "", (hone_net_value *const[]){ f, both }, 2, &product, 1) &&
           (!bias || hone_net_node_new(net, next, "Add", "", (hone_net_value *const[]){ product, bias }, 2, &y, 1));
    return good ? HONE_OK : HONE_NOMEM(j->err, "integer operators");
}

/* NULL: it can be. */
static const char *why_not(const hone_net_weight *w)
{
    const hone_net_node *n = w->node;
    if (w->kind != HONE_NETW_CONV && w->kind != HONE_NETW_MATMUL && w->kind != HONE_NETW_GEMM) return "no integer operator for it";
    if (n->in[0] && n->in[0]->type != HONE_NET_F32) return "its input is no f32";
    if (w->kind == HONE_NETW_CONV && w->t->n_dims > HONE_NET_CONV_DIMS) return "too many dimensions";
    if (w->kind == HONE_NETW_MATMUL && w->t->n_dims != 2) return "its weights are a stack of matrices";
    bool gemm = w->kind == HONE_NETW_GEMM;
    if (gemm && (hone_net_attr_int(n, "transA", 0) || hone_net_attr_float(n, "alpha", 1) != 1 || hone_net_attr_float(n, "beta", 1) != 1)) return "a Gemm with factors";
    return NULL;
}

hone_code hone_net_dynamic(hone_net *net, const hone_net_quant_options *opt, hone_net_quanted *out, hone_err *err)
{
    job             j = { .net = net, .q = out, .err = err };
    hone_net_weight w;
    char            shown[96];
    *out = (hone_net_quanted){ 0 };
    HONE_TRY(hone_net_raise(net, 11, err));
    for (hone_net_node *n = net->first, *next; n; n = next) {
        float *scale = NULL;
        next = n->next;
        if (!n->n_out || !n->out[0] || hone_net_matches(n, opt->exclude, opt->n_exclude) || !hone_net_weight_of(n, 1, &w)) continue;
        const char *why = why_not(&w);
        if (!why) HONE_TRY(hone_net_channel_scales(net, &w, &scale, err));
        if (!why && !scale) why = "its weights are not finite";
        if (why) {
            const char *name = hone_net_called(n);
            hone_net_note(net, out, "%s '%s' stays f32: %s", n->op, hone_text_show(name, strlen(name), shown, sizeof shown), why);
            out->left++;
            continue;
        }
        HONE_TRY(in_integers(&j, &w, scale));
        out->changed++;
    }
    hone_net_sweep(net);
    if (!out->changed) return HONE_FAIL(err, HONE_EUNSUPPORTED, "use f16 or f32", "no operator of the model can compute in int8: it has no Conv, MatMul or Gemm with constant weights");
    return HONE_OK;
}
