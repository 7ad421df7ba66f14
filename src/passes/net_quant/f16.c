/* f16.c - floats of 16 bits: constants are rounded, values change their type, and Casts stand where an operator stays f32.  What a subgraph reads from
 * outside keeps its name and its type.  Source of the operators that stay: docs/Operators.md of onnx (type constraints), onnxruntime,
 * onnxruntime/python/tools/transformers/float16.py (DEFAULT_OP_BLOCK_LIST). */
#include "base/text.h"
#include "passes/net_quant/shared.h"
#include "quant/half.h"
#include <math.h>
#include <stdlib.h>

static const char *const f32_ops[] = { "If", "Loop", "Scan", "Optional", "OptionalGetElement", "SequenceConstruct", "SequenceAt", "SequenceInsert", "SplitToSequence", "ConcatFromSequence",
                                       "NonMaxSuppression", "RoiAlign", "DynamicQuantizeLinear", "QuantizeLinear", "DequantizeLinear", "Range", "CumSum", "Upsample", "Multinomial",
                                       "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "StringNormalizer", "TfIdfVectorizer",
                                       "HannWindow", "HammingWindow", "BlackmanWindow", "MelWeightMatrix", "DFT", "STFT", "EyeLike", "ImageDecoder", "QLinearConv", "QLinearMatMul",
                                       "MatMulInteger", "ConvInteger", "ConstantOfShape" };

/* Inputs whose type is f32 whatever the others are. */
static bool always_f32(const hone_net_node *n, uint32_t slot)
{
    return strcmp(n->op, "Resize") == 0 && slot > 0;
}

static bool stays(const hone_net_node *n, const hone_net_quant_options *opt)
{
    if (*n->domain || n->subgraphs || hone_net_matches(n, opt->exclude, opt->n_exclude)) return true;
    for (size_t i = 0; i < HONE_COUNT(f32_ops); i++)
        if (strcmp(n->op, f32_ops[i]) == 0) return true;
    return false;
}

typedef struct pair { hone_net_value *f32, *f16; } pair; /* the same numbers in both types, where there are both */

typedef struct job {
    hone_net                     *net;
    const hone_net_quant_options *opt;
    hone_net_quanted             *q;
    pair                         *pairs; /* open addressing by either value */
    size_t                        n, cap;
    uint64_t                      over, under; /* numbers beyond f16 */
    hone_err                     *err;
} job;

/* ---- the two forms of a value ---- */

static pair *pair_of(job *j, hone_net_value *v)
{
    for (size_t i = ((uintptr_t)v >> 4) * 0x9e3779b97f4a7c15u >> 24 & (j->cap - 1);; i = (i + 1) & (j->cap - 1))
        if (!j->pairs[i].f32 || j->pairs[i].f32 == v) {
            if (!j->pairs[i].f32) {
                j->pairs[i].f32 = v;
                j->n++;
            }
            return &j->pairs[i];
        }
}

static hone_net_value *cast(job *j, hone_net_node *before, hone_net_value *x, hone_net_value *y, int32_t to)
{
    const char *stem = hone_arena_printf(&j->net->arena, "%s.%s", x->name, hone_net_type_name(to));
    if (!y && (!stem || !(y = hone_net_value_new(j->net, stem, to)))) return NULL;
    hone_net_node *n = hone_net_node_new(j->net, before, "Cast", "", &x, 1, &y, 1);
    return n && hone_net_attr_set_int(j->net, n, "to", to) && hone_net_value_shape(j->net, y, to, x->dims, x->n_dims) ? y : NULL;
}

/* ---- constants ---- */

static hone_code make_f16(const hone_net *net, const hone_net_tensor *t, uint8_t *out, hone_err *err)
{
    float *x;
    HONE_TRY(hone_net_tensor_floats(net, t->from, &x, err));
    for (uint64_t i = 0; i < t->n; i++) {
        /* Beyond the range of f16: its largest number, not infinity, which a sum would not survive.  Infinities stay (masks). */
        float v = isfinite(x[i]) && fabsf(x[i]) > 65504.0f ? copysignf(65504.0f, x[i]) : x[i];
        hone_put_le16(out + 2 * i, hone_f16_from_f32(v));
    }
    free(x);
    return HONE_OK;
}

static hone_code count_range(job *j, const hone_net_tensor *t)
{
    float *x;
    HONE_TRY(hone_net_tensor_floats(j->net, t, &x, j->err));
    for (uint64_t i = 0; i < t->n; i++) {
        float a = fabsf(x[i]);
        j->over += isfinite(a) && a > 65504.0f;
        j->under += a > 0 && a < 0x1p-25f;
    }
    free(x);
    return HONE_OK;
}

static hone_code constant_f16(job *j, hone_net_value *v, hone_net_value **out)
{
    hone_net_tensor *t = hone_net_constant(v);
    const char      *stem = hone_arena_printf(&j->net->arena, "%s.f16", v->name);
    HONE_TRY(count_range(j, t));
    hone_net_value *c = stem ? hone_net_constant_new(j->net, stem, HONE_NET_F16, t->dims, t->n_dims, NULL) : NULL;
    if (!c) return HONE_NOMEM(j->err, "a constant of f16");
    c->tensor->make = make_f16;
    c->tensor->from = t;
    j->q->changed++;
    *out = c;
    return HONE_OK;
}

/* ---- nodes ---- */

/* What a node that computes in f16 reads instead of v, which is f32. */
static hone_code input_f16(job *j, hone_net_node *n, hone_net_value *v, hone_net_value **out)
{
    pair *p = pair_of(j, v);
    *out = p->f16;
    if (p->f16) return HONE_OK;
    if (hone_net_constant(v)) HONE_TRY(constant_f16(j, v, out));
    else {
        hone_net_node *before = v->from ? v->from->next : j->net->first; /* where it is made: all that read it come later */
        if (!(*out = cast(j, before, v, NULL, HONE_NET_F16))) return HONE_NOMEM(j->err, "a Cast");
        (void)n;
    }
    pair_of(j, v)->f16 = *out;
    return HONE_OK;
}

/* Its result is f16 now; who wants f32 reads a Cast, which has the old name when outputs of the graph or subgraphs know that name. */
static hone_code output_f16(job *j, hone_net_node *n, uint32_t slot)
{
    hone_net       *net = j->net;
    hone_net_value *v = n->out[slot];
    const char     *stem = hone_arena_printf(&net->arena, "%s.f16", v->name);
    hone_net_value *h = stem ? hone_net_value_new(net, stem, HONE_NET_F16) : NULL;
    if (!h || !hone_net_value_shape(net, h, HONE_NET_F16, v->dims, v->n_dims) || !hone_net_set_out(net, n, slot, NULL) || !hone_net_set_out(net, n, slot, h))
        return HONE_NOMEM(j->err, "a value of f16");
    pair_of(j, v)->f16 = h;
    if (!cast(j, n->next, h, v, HONE_NET_F32)) return HONE_NOMEM(j->err, "a Cast"); /* swept when nobody reads it */
    return HONE_OK;
}

static bool gives_f32(const hone_net_node *n)
{
    for (uint32_t i = 0; i < n->n_out; i++)
        if (n->out[i] && n->out[i]->type == HONE_NET_F32) return true;
    return false;
}

static bool reads_f32(const hone_net_node *n)
{
    for (uint32_t i = 0; i < n->n_in; i++)
        if (n->in[i] && n->in[i]->type == HONE_NET_F32) return true;
    return false;
}

static hone_code node_f16(job *j, hone_net_node *n)
{
    hone_net_value *h;
    if (hone_net_is_op(n, "Cast") && !hone_net_out(n, 0)) return HONE_OK;
    if (hone_net_is_op(n, "Cast")) { /* from whatever to f32: to f16 at once */
        if (hone_net_attr_int(n, "to", 0) == HONE_NET_F32 && n->out[0]->type == HONE_NET_F32 && n->in[0] && n->in[0]->type != HONE_NET_F64) {
            if (!hone_net_attr_set_int(j->net, n, "to", HONE_NET_F16)) return HONE_NOMEM(j->err, "a Cast");
            return output_f16(j, n, 0);
        }
        return HONE_OK; /* from f32 to integers or f64: no number is rounded twice */
    }
    for (uint32_t i = 0; i < n->n_in; i++)
        if (n->in[i] && n->in[i]->type == HONE_NET_F32 && !always_f32(n, i)) {
            HONE_TRY(input_f16(j, n, n->in[i], &h));
            if (!hone_net_set_in(j->net, n, i, h)) return HONE_NOMEM(j->err, "an input of f16");
        }
    for (uint32_t i = 0; i < n->n_out; i++)
        if (n->out[i] && n->out[i]->type == HONE_NET_F32) HONE_TRY(output_f16(j, n, i));
    return HONE_OK;
}

static hone_code check_types(const job *j)
{
    char shown[96];
    for (const hone_net_node *n = j->net->first; n; n = n->next)
        for (uint32_t i = 0; i < n->n_out; i++) {
            const hone_net_value *v = n->out[i];
            if (!v || v->type || stays(n, j->opt) || (v->n_uses == 0 && !v->output)) continue;
            return HONE_FAIL(j->err, HONE_EUNSUPPORTED, "give the model value_info: onnx.shape_inference.infer_shapes", "the type of '%s', which %s makes, is not known",
                             hone_text_show(v->name, strlen(v->name), shown, sizeof shown), n->op);
        }
    return HONE_OK;
}

/* Inputs and outputs of f32 become f16, under their names. */
static hone_code ports_f16(job *j)
{
    hone_net *net = j->net;
    for (size_t i = 0; i < net->n_inputs; i++) {
        hone_net_value *v = net->inputs[i];
        if (v->type != HONE_NET_F32 || v->tensor) continue;
        const char     *stem = hone_arena_printf(&net->arena, "%s.f32", v->name);
        hone_net_value *wide = stem ? hone_net_value_new(net, stem, HONE_NET_F32) : NULL;
        if (!wide || v->n_captures || v->output)
            return wide ? HONE_FAIL(j->err, HONE_EUNSUPPORTED, "leave --keep-io out", "a subgraph reads the input '%.80s' as f32", v->name) : HONE_NOMEM(j->err, "an input of f16");
        if (!hone_net_redirect(net, v, wide) || !hone_net_value_shape(net, v, HONE_NET_F16, v->dims, v->n_dims) || !cast(j, net->first, v, wide, HONE_NET_F32))
            return HONE_NOMEM(j->err, "an input of f16");
    }
    for (size_t i = 0; i < net->n_outputs; i++) {
        hone_net_value *v = net->outputs[i];
        if (v->type != HONE_NET_F32 || v->n_captures || !v->from) continue;
        const char     *stem = hone_arena_printf(&net->arena, "%s.f32", v->name);
        hone_net_value *wide = stem ? hone_net_value_new(net, stem, HONE_NET_F32) : NULL;
        hone_net_node  *maker = v->from;
        uint32_t        slot = v->from_slot;
        v->output = false; /* so that its readers can be told */
        bool good = wide && hone_net_set_out(net, maker, slot, NULL) && hone_net_set_out(net, maker, slot, wide) && hone_net_redirect(net, v, wide) &&
                    hone_net_value_shape(net, wide, HONE_NET_F32, v->dims, v->n_dims) && hone_net_value_shape(net, v, HONE_NET_F16, v->dims, v->n_dims) &&
                    cast(j, NULL, wide, v, HONE_NET_F16);
        v->output = true;
        if (!good) return HONE_NOMEM(j->err, "an output of f16");
    }
    return HONE_OK;
}

/* f16 -> Cast -> f32 -> Cast -> f16, as the steps above leave them: the second goes. */
static void join_casts(hone_net *net)
{
    for (hone_net_node *n = net->first, *next; n; n = next) {
        next = n->next;
        if (!hone_net_is_op(n, "Cast") || hone_net_attr_int(n, "to", 0) != HONE_NET_F16 || !n->in[0] || !n->in[0]->from) continue;
        hone_net_node  *wide = n->in[0]->from;
        hone_net_value *x = hone_net_is_op(wide, "Cast") && hone_net_attr_int(wide, "to", 0) == HONE_NET_F32 ? wide->in[0] : NULL, *y = n->out[0];
        if (!x || x->type != HONE_NET_F16) continue;
        if (hone_net_redirect(net, y, x)) {
            hone_net_node_remove(net, n);
            continue;
        }
        if (!y->output || y->n_captures || !x->from || x->output || x->n_captures || x->from->subgraphs) continue;
        hone_net_node *maker = x->from; /* y is an output: who makes x makes it */
        uint32_t       slot = x->from_slot;
        hone_net_node_remove(net, n);
        if (hone_net_set_out(net, maker, slot, NULL) && hone_net_set_out(net, maker, slot, y)) (void)hone_net_redirect(net, x, y);
    }
}

hone_code hone_net_to_f16(hone_net *net, const hone_net_quant_options *opt, hone_net_quanted *out, hone_err *err)
{
    job j = { .net = net, .opt = opt, .q = out, .err = err, .cap = 256 };
    *out = (hone_net_quanted){ 0 };
    HONE_TRY(check_types(&j));
    while (j.cap < 4 * net->values.n) j.cap *= 2;
    if (!(j.pairs = HONE_ARENA_NEW(&net->arena, pair, j.cap))) return HONE_NOMEM(err, "values of f16");
    for (hone_net_node *n = net->first, *next; n; n = next) {
        next = n->next;
        bool touches = reads_f32(n) || gives_f32(n);
        if (!touches || hone_net_is_op(n, "Constant")) continue;
        if (stays(n, opt)) {
            out->left++;
            if (!*n->domain && !n->subgraphs) hone_net_note(net, out, "%s stays f32", n->op);
            else hone_net_note(net, out, "%s stays f32: it %s", n->op, n->subgraphs ? "has subgraphs" : "is no operator of ai.onnx");
            continue;
        }
        HONE_TRY(node_f16(&j, n));
    }
    if (opt->keep_io) HONE_TRY(ports_f16(&j));
    join_casts(net);
    hone_net_sweep(net);
    if (j.over) hone_net_note(net, out, "%llu constants are beyond 65504, the largest f16, and became that", (unsigned long long)j.over);
    if (j.under) hone_net_note(net, out, "%llu constants are nearer to 0 than the smallest f16 and became 0", (unsigned long long)j.under);
    if (!out->changed) return HONE_FAIL(err, HONE_EUNSUPPORTED, "convert it to f32", "the model has no constants of f32 that could be f16");
    return HONE_OK;
}
