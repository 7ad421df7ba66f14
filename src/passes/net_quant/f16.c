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
                                       "MatMulInteger", "ConvInteger", "ConstantOfShape", "Celu" };

/* Inputs and outputs whose type is f32 whatever the others are. */
static bool always_f32(const hone_net_node *n, uint32_t slot)
{
    return strcmp(n->op, "Resize") == 0 && slot > 0;
}

static bool gives_always_f32(const hone_net_node *n, uint32_t slot)
{
    return strcmp(n->op, "LayerNormalization") == 0 && slot > 0; /* mean and deviation: stash_type */
}

typedef struct pair { hone_net_value *f32, *f16; } pair; /* the same numbers in both types, where there are both */

typedef struct job {
    hone_net                     *net;
    const hone_net_quant_options *opt;
    hone_net_quanted             *q;
    pair                         *pairs; /* open addressing by either value */
    size_t                        n, cap;
    uint64_t                      over, under; /* numbers beyond f16 */
    const hone_net_value        **wide;        /* [opt->n_wide], NULL where the net has no such value */
    hone_err                     *err;
} job;

/* ---- what stays f32 ---- */

static bool is_wide(const job *j, const hone_net_value *v)
{
    for (size_t i = 0; i < j->opt->n_wide; i++)
        if (j->wide[i] == v) return true;
    return false;
}

/* What a node that nothing is known of computes is left alone, with all that it reads and gives. */
static bool of_unknown_type(const hone_net_node *n)
{
    for (uint32_t i = 0; i < n->n_in; i++)
        if (n->in[i] && !n->in[i]->type) return true;
    for (uint32_t i = 0; i < n->n_out; i++)
        if (n->out[i] && !n->out[i]->type && (n->out[i]->n_uses || n->out[i]->output)) return true;
    return false;
}

static bool knows_no_f16(const job *j, const hone_net_node *n)
{
    for (size_t i = 0; i < HONE_COUNT(f32_ops); i++)
        if (strcmp(n->op, f32_ops[i]) == 0) return true;
    return strcmp(n->op, "IsInf") == 0 && hone_net_opset_of(j->net, "") < 20;
}

/* NULL: it becomes f16. */
static const char *why_f32(const job *j, const hone_net_node *n)
{
    if (n->subgraphs) return "it has subgraphs";
    if (*n->domain) return "it is no operator of ai.onnx";
    if (knows_no_f16(j, n)) return "ONNX or ONNX Runtime have it in f32 only";
    if (hone_net_matches(n, j->opt->exclude, j->opt->n_exclude)) return "it is excluded";
    for (uint32_t i = 0; i < n->n_in; i++)
        if (is_wide(j, n->in[i])) return "the samples had values in it that f16 has no room for";
    for (uint32_t i = 0; i < n->n_out; i++)
        if (is_wide(j, n->out[i])) return "the samples had values in it that f16 has no room for";
    return of_unknown_type(n) ? "the type of what it reads or gives is not known" : NULL;
}

static hone_code find_wide(job *j)
{
    const hone_net_quant_options *o = j->opt;
    j->wide = HONE_ARENA_NEW(&j->net->arena, const hone_net_value *, o->n_wide + 1);
    if (!j->wide) return HONE_NOMEM(j->err, "values beyond f16");
    for (size_t i = 0; i < o->n_wide; i++) j->wide[i] = hone_net_find(j->net, o->wide[i]);
    return HONE_OK;
}

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
        if (n->out[i] && n->out[i]->type == HONE_NET_F32 && !gives_always_f32(n, i)) HONE_TRY(output_f16(j, n, i));
    return HONE_OK;
}

/* One note for all nodes of an operator that stay for the same reason; those with values beyond f16 by name. */
static void tell_f32(job *j, const hone_net_node *n, const char *why)
{
    char        shown[96];
    const char *name = hone_net_called(n);
    bool        wide = strncmp(why, "the samples", 11) == 0;
    j->q->left++;
    if (wide) hone_net_note(j->net, j->q, "%s '%s' stays f32: %s", n->op, hone_text_show(name, strlen(name), shown, sizeof shown), why);
    else if (strcmp(why, "it is excluded") != 0) hone_net_note(j->net, j->q, "%s stays f32: %s", n->op, why);
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
    HONE_TRY(find_wide(&j));
    while (j.cap < 4 * net->values.n) j.cap *= 2;
    if (!(j.pairs = HONE_ARENA_NEW(&net->arena, pair, j.cap))) return HONE_NOMEM(err, "values of f16");
    for (hone_net_node *n = net->first, *next; n; n = next) {
        next = n->next;
        bool touches = reads_f32(n) || gives_f32(n);
        if (!touches || hone_net_is_op(n, "Constant")) continue;
        const char *why = why_f32(&j, n);
        if (why) tell_f32(&j, n, why);
        else HONE_TRY(node_f16(&j, n));
    }
    if (opt->keep_io) HONE_TRY(ports_f16(&j));
    join_casts(net);
    hone_net_sweep(net);
    if (j.over) hone_net_note(net, out, "%llu constants are beyond 65504, the largest f16, and became that", (unsigned long long)j.over);
    if (j.under) hone_net_note(net, out, "%llu constants are nearer to 0 than the smallest f16 and became 0", (unsigned long long)j.under);
    if (!out->changed) return HONE_FAIL(err, HONE_EUNSUPPORTED, "convert it to f32", "the model has no constants of f32 that could be f16");
    return HONE_OK;
}
