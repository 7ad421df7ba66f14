#include "passes/net_static.h"
#include "base/text.h"
#include "passes/net_quant.h"
#include "passes/net_static/choice.h"
#include "passes/net_static/weights.h"
#include "quant/range.h"
#include <math.h>
#include <stdlib.h>

static const char EXPORT[] = "export the model anew with opset 13 or later";

/* --- what would be quantised ------------------------------------------------------------------------------------------- */
static bool has_value(const hone_static_plan *p, const char *name)
{
    for (size_t i = 0; i < p->n_values; i++)
        if (strcmp(p->values[i], name) == 0) return true;
    return false;
}

static void add_value(const hone_static_choice *c, const hone_net_value *v, hone_static_plan *p)
{
    if (!v || !hone_static_wanted(c, v)) return;
    const hone_net_value *root = hone_static_root(c, v);
    const hone_static_op *maker = hone_static_maker(c, root);
    if (has_value(p, root->name)) return;
    p->values[p->n_values] = root->name;
    p->clip_lo[p->n_values] = maker ? maker->lo : -INFINITY;
    p->clip_hi[p->n_values] = maker ? maker->hi : INFINITY;
    p->n_values++;
}

static void add_layer(const hone_static_op *op, hone_static_plan *p)
{
    const hone_net_node *n = op->node;
    bool                 conv = hone_net_is_op(n, "Conv"), gemm = hone_net_is_op(n, "Gemm");
    p->layers[p->n_layers++] = (hone_static_layer){ .node = hone_static_name(n), .op = n->op, .output = n->out[0]->name, .axis = conv || gemm ? 1 : UINT32_MAX,
                                                    .channels = hone_net_constant(op->weight)->dims[op->weight_axis], .can_correct = conv || gemm };
}

typedef struct left { const char *op, *why, *first; size_t n; } left;

static bool is_chosen(const hone_static_choice *c, const hone_net_node *n)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->ops[i].node == n) return true;
    return false;
}

/* One sentence for all nodes of an operator that stay for the same reason. */
static hone_code tell_left(hone_net *net, const hone_static_options *opt, const hone_static_choice *c, hone_static_plan *p, hone_err *err)
{
    left   rows[32];
    size_t n_rows = 0, i;
    for (const hone_net_node *n = net->first; n; n = n->next) {
        const char *why = hone_static_why_float(n);
        if (!why || is_chosen(c, n) || hone_net_matches(n, opt->exclude, opt->n_exclude)) continue;
        i = 0;
        while (i < n_rows && (strcmp(rows[i].op, n->op) != 0 || strcmp(rows[i].why, why) != 0)) i++;
        if (i == HONE_COUNT(rows)) continue;
        if (i == n_rows) rows[n_rows++] = (left){ n->op, why, hone_static_name(n), 0 };
        rows[i].n++;
    }
    if (!(p->left = HONE_ARENA_NEW(&net->arena, const char *, n_rows + 1))) return HONE_NOMEM(err, "the plan of a quantisation");
    for (i = 0; i < n_rows; i++) {
        char        shown[96];
        const char *name = hone_text_show(rows[i].first, strlen(rows[i].first), shown, sizeof shown);
        p->left[i] = rows[i].n == 1 ? hone_arena_printf(&net->arena, "%s '%s' stays float: %s", rows[i].op, name, rows[i].why)
                                    : hone_arena_printf(&net->arena, "%zu %s stay floats, the first is '%s': %s", rows[i].n, rows[i].op, name, rows[i].why);
        if (!p->left[i]) return HONE_NOMEM(err, "the plan of a quantisation");
    }
    p->n_left = n_rows;
    return HONE_OK;
}

/* Layers are told apart by name, in options, reports and recipes: those that share one are called as their outputs are. */
static void tell_apart(hone_static_plan *p)
{
    for (bool changed = true; changed;) {
        changed = false;
        for (size_t i = 0; i < p->n_layers; i++)
            for (size_t k = 0; k < i; k++) {
                hone_static_layer *a = &p->layers[i], *b = &p->layers[k];
                if (strcmp(a->node, b->node) != 0) continue;
                a->node = a->output;
                b->node = b->output;
                changed = true;
            }
    }
}

static hone_code check_opset(const hone_net *net, hone_err *err)
{
    int64_t opset = hone_net_opset_of(net, "");
    if (opset >= 10) return HONE_OK;
    return HONE_FAIL(err, HONE_EUNSUPPORTED, EXPORT, "the model is of opset %lld, QuantizeLinear came with opset 10", (long long)opset);
}

hone_code hone_static_plan_make(hone_net *net, const hone_static_options *opt, hone_static_plan *out, hone_err *err)
{
    hone_static_choice c;
    hone_static_plan   p = { .n_other = 0 };
    size_t             most = 1;
    HONE_TRY(check_opset(net, err));
    HONE_TRY(hone_static_choose(net, opt, &c, err));
    for (size_t i = 0; i < c.n; i++) most += c.ops[i].n_data + 1;
    p.values = HONE_ARENA_NEW(&net->arena, const char *, most);
    p.clip_lo = HONE_ARENA_NEW(&net->arena, float, most);
    p.clip_hi = HONE_ARENA_NEW(&net->arena, float, most);
    p.layers = HONE_ARENA_NEW(&net->arena, hone_static_layer, c.n + 1);
    if (!p.values || !p.clip_lo || !p.clip_hi || !p.layers) return HONE_NOMEM(err, "the plan of a quantisation");
    for (size_t i = 0; i < c.n; i++) {
        const hone_static_op *op = &c.ops[i];
        for (uint32_t k = 0; k < op->n_data; k++) add_value(&c, op->data[k], &p);
        add_value(&c, op->out, &p);
        if (op->kind == HONE_STATIC_WEIGHTS) add_layer(op, &p);
        else p.n_other++;
    }
    if (p.n_layers == 0)
        return HONE_FAIL(err, HONE_EUNSUPPORTED, "convert it to f16 or f32", "no Conv, Gemm or MatMul with constant float weights is left to be quantised");
    tell_apart(&p);
    HONE_TRY(tell_left(net, opt, &c, &p, err));
    *out = p;
    return HONE_OK;
}

/* --- doing it ---------------------------------------------------------------------------------------------------------------- */
typedef struct codes { /* of one root value */
    const hone_net_value *root;
    hone_net_value       *scale, *zero;
    float                 step;
    int32_t               zero_code;
} codes;

typedef struct work {
    hone_net                  *net;
    const hone_static_options *opt;
    const hone_static_range   *ranges;
    size_t                     n_ranges;
    hone_static_choice         c;
    codes                     *known; /* [n_known] */
    size_t                     n_known;
    hone_net_value           **done; /* [n_done] values that have their pair */
    size_t                     n_done;
} work;

/* Where a layer before it went back to floats, a value that was only moved is its own root; its range is still that of what was moved. */
static hone_code find_range(const work *w, const hone_net_value *v, float *lo, float *hi, hone_err *err)
{
    for (const hone_net_value *at = v; at; at = at->from && hone_static_moves(at->from) ? hone_net_in(at->from, 0) : NULL)
        for (size_t i = 0; i < w->n_ranges; i++) {
            if (strcmp(w->ranges[i].value, at->name) != 0) continue;
            *lo = w->ranges[i].lo;
            *hi = w->ranges[i].hi;
            return HONE_OK;
        }
    return HONE_FAIL(err, HONE_EINPUT, "calibrate again", "no range is known for '%.80s'", v->name);
}

static hone_code codes_of(work *w, const hone_net_value *v, const codes **out, hone_err *err)
{
    const hone_net_value *root = hone_static_root(&w->c, v);
    float                 lo = 0, hi = 0;
    for (size_t i = 0; i < w->n_known; i++)
        if (w->known[i].root == root) {
            *out = &w->known[i];
            return HONE_OK;
        }
    HONE_TRY(find_range(w, root, &lo, &hi, err));
    codes   *c = &w->known[w->n_known];
    bool     sign = w->opt->signed_codes;
    hone_range_codes(lo, hi, sign ? -128 : 0, sign ? 127 : 255, w->opt->sym, &c->step, &c->zero_code);
    uint8_t zero = (uint8_t)(c->zero_code & 0xff); /* two's complement for int8 */
    c->root = root;
    c->scale = hone_net_constant_new(w->net, hone_arena_printf(&w->net->arena, "%s.scale", root->name), HONE_NET_F32, NULL, 0, &c->step);
    c->zero = hone_net_constant_new(w->net, hone_arena_printf(&w->net->arena, "%s.zero", root->name), sign ? HONE_NET_I8 : HONE_NET_U8, NULL, 0, &zero);
    if (!c->scale || !c->zero) return HONE_NOMEM(err, "constants of a quantiser");
    w->n_known++;
    *out = c;
    return HONE_OK;
}

/* The activation in front of a quantiser whose codes end where it does has nothing left to do. */
static void drop_activation(work *w, const hone_static_op *maker, const codes *c, hone_net_node *quantise)
{
    int32_t qmin = w->opt->signed_codes ? -128 : 0, qmax = qmin + 255;
    double  lo = (double)c->step * (qmin - c->zero_code), hi = (double)c->step * (qmax - c->zero_code), slack = 1e-6 * (hi - lo);
    if (!maker || !maker->activation || lo < (double)maker->lo - slack || hi > (double)maker->hi + slack) return;
    if (maker->out->output || maker->out->n_captures || maker->out->n_uses != 1) return;
    if (!hone_net_set_in(w->net, quantise, 0, maker->node->out[0])) return;
    hone_net_node_remove(w->net, maker->activation);
}

static bool is_integer_reader(const work *w, const hone_net_use *u)
{
    for (size_t i = 0; i < w->c.n; i++)
        if (w->c.ops[i].node == u->node) return u->slot < w->c.ops[i].n_data;
    return false;
}

/* All readers of v go to `to`; only the integer ones where v itself was made by floats. */
static bool rewire(work *w, hone_net_value *v, hone_net_value *to, bool all, const hone_net_node *quantise)
{
    size_t        n = v->n_uses;
    hone_net_use *uses = malloc((n + 1) * sizeof *uses);
    bool          good = uses != NULL;
    for (size_t i = 0; good && i < n; i++) uses[i] = v->uses[i];
    for (size_t i = 0; good && i < n; i++) {
        if (uses[i].slot == HONE_NET_CAPTURE || uses[i].node == quantise) continue;
        if (all || is_integer_reader(w, &uses[i])) good = hone_net_set_in(w->net, uses[i].node, uses[i].slot, to);
    }
    free(uses);
    return good;
}

static hone_code put_pair(work *w, hone_net_value *v, hone_err *err)
{
    const hone_static_op *maker = hone_static_maker(&w->c, v);
    const codes          *c = NULL;
    for (size_t i = 0; i < w->n_done; i++)
        if (w->done[i] == v) return HONE_OK;
    w->done[w->n_done++] = v;
    HONE_TRY(codes_of(w, v, &c, err));
    hone_net_node  *before = v->from ? v->from->next : w->net->first;
    hone_net_value *q = hone_net_value_new(w->net, hone_arena_printf(&w->net->arena, "%s.codes", v->name), w->opt->signed_codes ? HONE_NET_I8 : HONE_NET_U8);
    hone_net_value *d = hone_net_value_new(w->net, hone_arena_printf(&w->net->arena, "%s.again", v->name), HONE_NET_F32);
    if (!q || !d) return HONE_NOMEM(err, "a quantiser");
    hone_net_node *quantise = hone_net_node_new(w->net, before, "QuantizeLinear", "", (hone_net_value *[]){ v, c->scale, c->zero }, 3, &q, 1);
    hone_net_node *back = hone_net_node_new(w->net, before, "DequantizeLinear", "", (hone_net_value *[]){ q, c->scale, c->zero }, 3, &d, 1);
    bool           good = quantise && back && rewire(w, v, d, maker != NULL, quantise);
    if (good && v->n_dims >= 0)
        good = hone_net_value_shape(w->net, q, q->type, v->dims, v->n_dims) && hone_net_value_shape(w->net, d, HONE_NET_F32, v->dims, v->n_dims);
    if (!good) return HONE_NOMEM(err, "a quantiser");
    drop_activation(w, maker, c, quantise);
    return HONE_OK;
}

static hone_code put_pairs(work *w, hone_err *err)
{
    for (size_t i = 0; i < w->c.n; i++) {
        const hone_static_op *op = &w->c.ops[i];
        for (uint32_t k = 0; k < op->n_data; k++)
            if (hone_static_wanted(&w->c, op->data[k])) HONE_TRY(put_pair(w, op->data[k], err));
        if (hone_static_wanted(&w->c, op->out)) HONE_TRY(put_pair(w, op->out, err));
    }
    return HONE_OK;
}

static const double *shift_of(const hone_static_shift *shifts, size_t n, const char *output)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(shifts[i].output, output) == 0) return shifts[i].add;
    return NULL;
}

/* Weights and biases of every operator that has some; the scale of its input is known by now. */
static hone_code put_weights(work *w, const hone_static_shift *shifts, size_t n_shifts, hone_err *err)
{
    hone_static_weights_how how = { .per_channel = !w->opt->per_tensor && hone_net_opset_of(w->net, "") >= 13, .most = w->opt->weight_max };
    for (size_t i = 0; i < w->c.n; i++) {
        hone_static_op *op = &w->c.ops[i];
        const codes    *in = NULL;
        if (op->kind != HONE_STATIC_WEIGHTS) continue;
        HONE_TRY(codes_of(w, op->data[0], &in, err));
        how.input_step = in->step;
        how.shift = shift_of(shifts, n_shifts, op->node->out[0]->name);
        HONE_TRY(hone_static_weights(w->net, op, &how, err));
    }
    return HONE_OK;
}

hone_code hone_static_apply(hone_net *net, const hone_static_options *opt, const hone_static_range *ranges, size_t n_ranges, const hone_static_shift *shifts,
                            size_t n_shifts, hone_err *err)
{
    work   w = { .net = net, .opt = opt, .ranges = ranges, .n_ranges = n_ranges };
    size_t most = 1;
    HONE_TRY(check_opset(net, err));
    HONE_TRY(hone_static_choose(net, opt, &w.c, err));
    for (size_t i = 0; i < w.c.n; i++) most += w.c.ops[i].n_data + 1;
    w.known = HONE_ARENA_NEW(&net->arena, codes, most);
    w.done = HONE_ARENA_NEW(&net->arena, hone_net_value *, most);
    if (!w.known || !w.done) return HONE_NOMEM(err, "a quantisation");
    HONE_TRY(put_pairs(&w, err));
    HONE_TRY(put_weights(&w, shifts, n_shifts, err));
    hone_net_sweep(net);
    return HONE_OK;
}
