#include "passes/net_fold.h"
#include "passes/net_scaled.h"
#include <math.h>
#include <stdlib.h>

size_t hone_net_demote_inputs(hone_net *net)
{
    size_t kept = 0, gone = 0;
    if (net->ir_version >= 4) return 0;
    for (size_t i = 0; i < net->n_inputs; i++) {
        hone_net_value *v = net->inputs[i];
        if (!v->tensor) {
            net->inputs[kept++] = v;
            continue;
        }
        v->input = false;
        v->told = false; /* its shape is its constant's */
        gone++;
    }
    net->n_inputs = kept;
    if (gone) net->ir_version = 4;
    return gone;
}

/* ---- Identity, Dropout ---- */

static bool is_false(const hone_net *net, const hone_net_value *v)
{
    const hone_net_tensor *t = hone_net_constant(v);
    int64_t                x;
    size_t                 n;
    return t && hone_net_tensor_ints(net, t, &x, 1, &n) && n == 1 && x == 0;
}

static bool passes_through(const hone_net *net, const hone_net_node *n)
{
    if (hone_net_is_op(n, "Identity")) return n->n_in == 1 && n->n_out == 1;
    if (!hone_net_is_op(n, "Dropout")) return false;
    const hone_net_value *mask = hone_net_out(n, 1);
    if (mask && (mask->n_uses || mask->output)) return false;
    return !hone_net_in(n, 2) || is_false(net, n->in[2]); /* training_mode */
}

static bool pass_over(hone_net *net, hone_net_node *n)
{
    hone_net_value *x = n->in[0], *y = n->out[0];
    if (!x || !y) return false;
    if (!y->output && !y->n_captures) {
        if (!hone_net_redirect(net, y, x)) return false;
        hone_net_node_remove(net, n);
        return true;
    }
    /* y keeps its name: who makes x makes y. */
    if (!x->from || x->output || x->n_captures || x->from->subgraphs) return false;
    hone_net_node *maker = x->from;
    uint32_t       slot = x->from_slot;
    hone_net_node_remove(net, n);
    if (!hone_net_set_out(net, maker, slot, NULL) || !hone_net_set_out(net, maker, slot, y)) return false;
    return hone_net_redirect(net, x, y);
}

/* ---- one factor and one addend per channel ---- */

typedef struct affine { double *a, *b; uint64_t n; } affine; /* y = a x + b; in the arena */

static hone_code floats_of(const hone_net *net, const hone_net_value *v, uint64_t want, float **out, hone_err *err)
{
    const hone_net_tensor *t = hone_net_constant(v);
    *out = NULL;
    if (!t || t->type != HONE_NET_F32 || (want && t->n != want)) return HONE_OK;
    return hone_net_tensor_floats(net, t, out, err);
}

static bool affine_new(hone_net *net, affine *f, uint64_t n)
{
    *f = (affine){ HONE_ARENA_NEW(&net->arena, double, n), HONE_ARENA_NEW(&net->arena, double, n), n };
    return f->a && f->b;
}

static bool all_finite(const affine *f)
{
    for (uint64_t i = 0; i < f->n; i++)
        if (!isfinite(f->a[i]) || !isfinite(f->b[i]) || fabs(f->a[i]) > 3e38 || fabs(f->b[i]) > 3e38) return false;
    return true;
}

/* *why NULL and f->n 0 when it is none. */
static hone_code of_batch_norm(hone_net *net, const hone_net_node *n, uint64_t channels, affine *f, const char **why, hone_err *err)
{
    float    *p[4] = { 0 };
    hone_code code = HONE_OK;
    double    eps = hone_net_attr_float(n, "epsilon", 1e-5);
    bool      plain = n->n_in == 5 && hone_net_attr_int(n, "training_mode", 0) == 0 && hone_net_attr_int(n, "spatial", 1) == 1;
    for (uint32_t i = 1; i < n->n_out; i++) plain = plain && !n->out[i];
    *why = plain ? NULL : "it learns, or normalises each element";
    for (uint32_t i = 0; i < 4 && code == HONE_OK && plain; i++) {
        code = floats_of(net, n->in[i + 1], channels, &p[i], err);
        if (!p[i]) *why = "its numbers are no constants of type f32, one per channel";
    }
    if (code == HONE_OK && !*why) {
        if (!affine_new(net, f, channels)) code = HONE_NOMEM(err, "batch norms");
        for (uint64_t i = 0; code == HONE_OK && i < channels; i++) {
            f->a[i] = (double)p[0][i] / sqrt((double)p[3][i] + eps);
            f->b[i] = (double)p[1][i] - (double)p[2][i] * f->a[i];
        }
        if (code == HONE_OK && !all_finite(f)) {
            *why = "its factors are not finite";
            f->n = 0;
        }
    }
    for (uint32_t i = 0; i < 4; i++) free(p[i]);
    return code;
}

/* A constant that has one number, or one per channel at axis 1 of `rank` dimensions. */
static bool per_channel(const hone_net_tensor *t, int32_t rank, uint64_t channels)
{
    if (t->n == 1) return (int32_t)t->n_dims <= rank;
    if ((int32_t)t->n_dims > rank || t->n != channels) return false;
    int32_t at = 1 - (rank - (int32_t)t->n_dims); /* of the channels */
    return at >= 0 && t->dims[at] == channels;
}

static hone_code of_constant(hone_net *net, const hone_net_node *n, const hone_net_value *x, uint64_t channels, affine *f, hone_err *err)
{
    const hone_net_value  *other = n->n_in == 2 ? n->in[n->in[0] == x] : NULL;
    const hone_net_tensor *t = hone_net_constant(other);
    float                 *c;
    bool                   mul = strcmp(n->op, "Mul") == 0;
    if (!t || n->in[0] == n->in[1] || x->n_dims < 2 || !per_channel(t, x->n_dims, channels)) return HONE_OK;
    HONE_TRY(floats_of(net, other, 0, &c, err));
    if (!c) return HONE_OK;
    hone_code code = affine_new(net, f, channels) ? HONE_OK : HONE_NOMEM(err, "constants per channel");
    for (uint64_t i = 0; code == HONE_OK && i < channels; i++) {
        double v = (double)c[t->n == 1 ? 0 : i];
        f->a[i] = mul ? v : 1;
        f->b[i] = mul ? 0 : v;
    }
    if (code == HONE_OK && !all_finite(f)) f->n = 0;
    free(c);
    return code;
}

/* ---- into the weights ---- */

typedef struct layer { hone_net_value *w, *bias; uint64_t channels; hone_net_scaled how; double beta; } layer;

/* A Conv, ConvTranspose or Gemm whose weights are constants; false: it is none, or not a plain one. */
static bool layer_of(hone_net_node *n, layer *l)
{
    bool             conv = hone_net_is_op(n, "Conv"), deconv = hone_net_is_op(n, "ConvTranspose"), gemm = hone_net_is_op(n, "Gemm");
    hone_net_tensor *w = conv || deconv || gemm ? hone_net_constant(hone_net_in(n, 1)) : NULL;
    uint64_t         group = (uint64_t)hone_net_attr_int(n, "group", 1), rest = 1;
    if (!w || w->type != HONE_NET_F32 || w->n == 0 || (gemm ? w->n_dims != 2 : w->n_dims < 3)) return false;
    for (uint32_t d = 2; d < w->n_dims; d++) rest *= w->dims[d];
    *l = (layer){ .w = n->in[1], .bias = hone_net_in(n, 2), .beta = 1 };
    bool rows = conv || (gemm && hone_net_attr_int(n, "transB", 0));
    if (rows) l->how = (hone_net_scaled){ .of = w, .outer = 1, .channels = w->dims[0], .inner = w->n / w->dims[0] };
    else if (gemm) l->how = (hone_net_scaled){ .of = w, .outer = w->dims[0], .channels = w->dims[1], .inner = 1 };
    else {
        if (group == 0 || w->dims[0] % group) return false;
        l->how = (hone_net_scaled){ .of = w, .outer = w->dims[0], .channels = w->dims[1], .inner = rest, .period = w->dims[0] / group };
    }
    l->channels = deconv ? l->how.channels * group : l->how.channels;
    if (gemm) l->beta = hone_net_attr_float(n, "beta", 1);
    const hone_net_tensor *b = hone_net_constant(l->bias);
    return !l->bias || (b && b->type == HONE_NET_F32 && (b->n == l->channels || (gemm && b->n == 1)) && (b->n_dims <= 1 || (gemm && b->dims[0] == 1)));
}

/* The bias that is left: a (beta b) + what the affine adds. */
static hone_code new_bias(hone_net *net, hone_net_node *n, const layer *l, const affine *f, hone_err *err)
{
    float    *old = NULL;
    uint64_t  has = l->bias ? hone_net_constant(l->bias)->n : 0;
    if (l->bias) HONE_TRY(hone_net_tensor_floats(net, hone_net_constant(l->bias), &old, err));
    uint8_t *raw = malloc((size_t)l->channels * 4);
    for (uint64_t i = 0; raw && i < l->channels; i++) {
        double   b = has ? l->beta * (double)old[has == 1 ? 0 : i] : 0;
        float    v = (float)(b * f->a[i] + f->b[i]);
        uint32_t bits;
        memcpy(&bits, &v, 4);
        hone_put_le32(raw + 4 * i, bits);
    }
    const char     *stem = hone_arena_printf(&net->arena, "%s.folded", l->bias ? l->bias->name : l->w->name);
    hone_net_value *v = raw && stem ? hone_net_constant_new(net, stem, HONE_NET_F32, &l->channels, 1, raw) : NULL;
    free(old);
    free(raw);
    if (!v || !hone_net_set_in(net, n, 2, v)) return HONE_NOMEM(err, "a folded bias");
    if (l->beta != 1) (void)hone_net_attr_remove(n, "beta");
    return HONE_OK;
}

static hone_code into_layer(hone_net *net, hone_net_node *n, const layer *l, const affine *f, hone_err *err)
{
    bool weights = false;
    for (uint64_t i = 0; i < f->n; i++) weights = weights || f->a[i] != 1;
    if (weights) {
        hone_net_scaled how = l->how;
        how.a = f->a;
        hone_net_value *v = hone_net_scaled_new(net, hone_arena_printf(&net->arena, "%s.folded", l->w->name), &how);
        if (!v || !hone_net_set_in(net, n, 1, v)) return HONE_NOMEM(err, "folded weights");
    }
    return new_bias(net, n, l, f, err);
}

/* The node behind n takes part when it is an affine and n's result goes nowhere else. */
static hone_code fold_behind(hone_net *net, hone_net_node *n, bool *done, hone_net_folded *out, hone_err *err)
{
    layer          l;
    affine         f = { 0 };
    const char    *why = NULL;
    hone_net_value *x = hone_net_out(n, 0);
    hone_net_node  *next = x ? hone_net_only_reader(x) : NULL;
    *done = false;
    if (!next || !layer_of(n, &l)) return HONE_OK;
    bool norm = hone_net_is_op(next, "BatchNormalization") && next->in[0] == x;
    if (norm) HONE_TRY(of_batch_norm(net, next, l.channels, &f, &why, err));
    else if (hone_net_is_op(next, "Add") || hone_net_is_op(next, "Mul")) HONE_TRY(of_constant(net, next, x, l.channels, &f, err));
    if (f.n == 0) return HONE_OK;
    hone_net_value *y = next->out[0];
    HONE_TRY(into_layer(net, n, &l, &f, err));
    hone_net_node_remove(net, next);
    if (!hone_net_set_out(net, n, 0, NULL) || !hone_net_set_out(net, n, 0, y)) return HONE_NOMEM(err, "a folded node");
    *(norm ? &out->batch_norms : &out->affines) += 1;
    *done = true;
    return HONE_OK;
}

static hone_code count_left(hone_net *net, hone_net_folded *out, hone_err *err)
{
    for (const hone_net_node *n = net->first; n; n = n->next) {
        affine      f = { 0 };
        const char *why = NULL;
        if (!hone_net_is_op(n, "BatchNormalization")) continue;
        const hone_net_value *x = hone_net_in(n, 0), *s = hone_net_in(n, 1);
        if (s && s->n_dims == 1 && s->dims[0].n > 0) HONE_TRY(of_batch_norm(net, n, (uint64_t)s->dims[0].n, &f, &why, err));
        if (!why) why = x && x->from && hone_net_only_reader(x) ? "what is before it has no constant weights" : "what is before it is read elsewhere too";
        if (!out->left++ && !(out->why = hone_arena_printf(&net->arena, "'%s' stays: %s", *n->name ? n->name : n->out[0] ? n->out[0]->name : "", why)))
            return HONE_NOMEM(err, "a reason");
    }
    return HONE_OK;
}

hone_code hone_net_fold(hone_net *net, hone_net_folded *out, hone_err *err)
{
    *out = (hone_net_folded){ 0 };
    HONE_TRY(hone_net_infer(net, err)); /* ranks */
    for (hone_net_node *n = net->first, *next; n; n = next) {
        next = n->next;
        if (passes_through(net, n)) out->gone += pass_over(net, n);
    }
    for (hone_net_node *n = net->first; n; n = n->next)
        for (bool done = true; done;) HONE_TRY(fold_behind(net, n, &done, out, err));
    hone_net_sweep(net);
    return count_left(net, out, err);
}
