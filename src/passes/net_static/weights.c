#include "passes/net_static/weights.h"
#include <float.h>
#include <math.h>
#include <stdlib.h>

enum { FEW = 4096 };

typedef struct coding {
    const hone_net_tensor *t;
    uint64_t               channels, inner; /* inner: elements from one channel's first to the next channel's */
    float                 *w, *b;  /* b: [channels] with the shift; NULL: no bias */
    float                 *step;   /* [channels], all alike for one scale */
    int8_t                *codes;  /* [t->n] */
    int32_t               *bias;   /* [channels] */
} coding;

static uint64_t channel_of(const coding *c, uint64_t i) { return i / c->inner % c->channels; }

static hone_code read_constants(hone_net *net, const hone_static_op *op, const hone_static_weights_how *how, coding *c, hone_err *err)
{
    c->t = hone_net_constant(op->weight);
    c->channels = c->t->dims[op->weight_axis];
    c->inner = 1;
    for (uint32_t d = op->weight_axis + 1; d < c->t->n_dims; d++) c->inner *= c->t->dims[d];
    c->step = calloc(c->channels, sizeof *c->step);
    c->codes = malloc(c->t->n);
    c->bias = calloc(c->channels, sizeof *c->bias);
    if (!c->step || !c->codes || !c->bias) return HONE_NOMEM(err, "codes of weights");
    HONE_TRY(hone_net_tensor_floats(net, c->t, &c->w, err));
    if (op->bias) HONE_TRY(hone_net_tensor_floats(net, hone_net_constant(op->bias), &c->b, err));
    else if (how->shift && !(c->b = calloc(c->channels, sizeof *c->b))) return HONE_NOMEM(err, "a bias");
    for (uint64_t i = 0; how->shift && i < c->channels; i++) c->b[i] = (float)((double)c->b[i] + how->shift[i]);
    return HONE_OK;
}

static hone_code check_finite(const coding *c, const hone_static_op *op, hone_err *err)
{
    for (uint64_t i = 0; i < c->t->n; i++)
        if (!isfinite(c->w[i])) return HONE_FAIL(err, HONE_EINPUT, "leave it out with --exclude", "the weights of '%.80s' hold a number that is not finite", hone_static_name(op->node));
    for (uint64_t i = 0; c->b && i < c->channels; i++)
        if (!isfinite(c->b[i])) return HONE_FAIL(err, HONE_EINPUT, "leave it out with --exclude", "the bias of '%.80s' holds a number that is not finite", hone_static_name(op->node));
    return HONE_OK;
}

/* Sum of squares of what rounding to this step costs the weights of one channel (all: of every channel). */
static double square_error(const coding *c, uint64_t channel, bool all, double step, double most)
{
    double   sum = 0;
    uint64_t run = all ? c->t->n : c->inner, pace = c->channels * c->inner;
    for (uint64_t at = all ? 0 : channel * c->inner; at < c->t->n; at += all ? c->t->n : pace) {
        for (uint64_t i = at; i < at + run; i++) {
            double d = (double)c->w[i] - step * fmin(fmax(nearbyint((double)c->w[i] / step), -most), most);
            sum += d * d;
        }
    }
    return sum;
}

/* Of steps around the one that gives the largest weight the largest code, that with the least error: with the few weights of a channel it matters how well
 * they fall on the codes; with many of them, every step is as good as the next. */
static float best_step(const coding *c, uint64_t channel, bool all, float largest, double most)
{
    double best = INFINITY;
    float  step = (float)((double)largest / most);
    if (!((double)step >= 0x1p-120) || c->t->n / (all ? 1 : c->channels) > FEW) return step;
    for (int k = 0; k <= 80; k++) { /* the first is the plain one: it wins among equals */
        double s = (double)(float)((double)largest / (most * (1 + (k % 2 ? 1 : -1) * (k + 1) / 2 * 0.005))), e;
        if (k == 0) s = (double)step;
        e = square_error(c, channel, all, s, most);
        if (e >= best) continue;
        best = e;
        step = (float)s;
    }
    return step;
}

/* The largest weight gets the largest code, or nearly so; the step is wider where the bias would not fit into 31 bits. */
static void choose_steps(coding *c, const hone_static_weights_how *how)
{
    for (uint64_t i = 0; i < c->t->n; i++) {
        uint64_t k = channel_of(c, i);
        c->step[k] = fmaxf(c->step[k], fabsf(c->w[i]));
    }
    float all = 0;
    for (uint64_t k = 0; k < c->channels; k++) all = fmaxf(all, c->step[k]);
    float shared = how->per_channel ? 0 : best_step(c, 0, true, all, (double)how->most);
    for (uint64_t k = 0; k < c->channels; k++) {
        double s = (double)(how->per_channel ? best_step(c, k, false, c->step[k], (double)how->most) : shared);
        double least = c->b ? fabs((double)c->b[k]) / (double)how->input_step / 0x1p30 : 0;
        if (s < least) s = least;
        c->step[k] = s < (double)FLT_MIN ? FLT_MIN : (float)s;
        if (all == 0 && least == 0) c->step[k] = 1;
    }
    if (how->per_channel) return;
    for (uint64_t k = 0; k < c->channels; k++) c->step[0] = fmaxf(c->step[0], c->step[k]);
    for (uint64_t k = 1; k < c->channels; k++) c->step[k] = c->step[0];
}

static void encode(coding *c, const hone_static_weights_how *how)
{
    double most = (double)how->most;
    for (uint64_t i = 0; i < c->t->n; i++) {
        double q = nearbyint((double)c->w[i] / (double)c->step[channel_of(c, i)]);
        c->codes[i] = (int8_t)fmin(fmax(q, -most), most);
    }
    for (uint64_t k = 0; c->b && k < c->channels; k++) {
        /* The runtime multiplies two floats for this step, so do we. */
        double q = nearbyint((double)c->b[k] / (double)(how->input_step * c->step[k]));
        c->bias[k] = (int32_t)fmin(fmax(q, -0x1p31 + 1), 0x1p31 - 1);
    }
}

static const char *named(hone_net *net, const char *stem, const char *what) { return hone_arena_printf(&net->arena, "%s.%s", stem, what); }

/* codes, one or many steps -> DequantizeLinear before op's node, as its input number slot. */
static hone_code put(hone_net *net, const hone_static_op *op, uint32_t slot, const char *stem, hone_net_value *codes, const float *steps, uint64_t n_steps, bool per_channel,
                     int64_t axis, hone_err *err)
{
    bool            zero_too = hone_net_constant(codes)->type == HONE_NET_I8;
    uint8_t        *zeros = calloc(n_steps, 1);
    uint32_t        rank = per_channel ? 1 : 0;
    hone_net_value *scale = hone_net_constant_same(net, named(net, stem, "scale"), HONE_NET_F32, &n_steps, rank, steps);
    hone_net_value *zero = zero_too && zeros ? hone_net_constant_same(net, named(net, stem, "zero"), HONE_NET_I8, &n_steps, rank, zeros) : NULL;
    hone_net_value *again = hone_net_value_new(net, named(net, stem, "again"), HONE_NET_F32);
    free(zeros);
    if (!scale || !again || (zero_too && !zero)) return HONE_NOMEM(err, "constants of a quantiser");
    hone_net_node *back = hone_net_node_new(net, op->node, "DequantizeLinear", "", (hone_net_value *[]){ codes, scale, zero }, zero ? 3 : 2, &again, 1);
    bool           good = back && hone_net_set_in(net, op->node, slot, again);
    if (good && per_channel) good = hone_net_attr_set_int(net, back, "axis", axis);
    return good ? HONE_OK : HONE_NOMEM(err, "a quantiser");
}

static hone_code put_all(hone_net *net, const hone_static_op *op, const hone_static_weights_how *how, const coding *c, hone_err *err)
{
    const char     *stem = op->weight->name, *bias_stem = op->bias ? op->bias->name : named(net, stem, "bias");
    uint64_t        n = how->per_channel ? c->channels : 1, bias_dims[1] = { c->channels };
    hone_net_value *codes = hone_net_constant_same(net, named(net, stem, "codes"), HONE_NET_I8, c->t->dims, c->t->n_dims, c->codes);
    if (!codes) return HONE_NOMEM(err, "codes of weights");
    HONE_TRY(put(net, op, 1, stem, codes, c->step, n, how->per_channel, op->weight_axis, err));
    if (!c->b) return HONE_OK;
    float *steps = malloc(n * sizeof *steps);
    hone_net_value *bias = hone_net_constant_new(net, named(net, bias_stem, "codes"), HONE_NET_I32, bias_dims, 1, c->bias);
    for (uint64_t k = 0; steps && k < n; k++) steps[k] = how->input_step * c->step[k];
    hone_code code = steps && bias ? put(net, op, 2, bias_stem, bias, steps, n, how->per_channel, 0, err) : HONE_NOMEM(err, "codes of a bias");
    free(steps);
    return code;
}

hone_code hone_static_weights(hone_net *net, const hone_static_op *op, const hone_static_weights_how *how, hone_err *err)
{
    coding    c = { 0 };
    hone_code code = read_constants(net, op, how, &c, err);
    if (code == HONE_OK) code = check_finite(&c, op, err);
    if (code == HONE_OK) {
        choose_steps(&c, how);
        encode(&c, how);
        code = put_all(net, op, how, &c, err);
    }
    free(c.w);
    free(c.b);
    free(c.step);
    free(c.codes);
    free(c.bias);
    return code;
}
