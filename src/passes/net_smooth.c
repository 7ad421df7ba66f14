#include "passes/net_smooth.h"
#include "base/text.h"
#include "passes/net_quant.h"
#include "passes/net_scaled.h"
#include <math.h>
#include <stdlib.h>

enum { MOST_PARTS = 16 };

typedef struct search { /* for one value */
    hone_net   *net;
    uint64_t    channels;
    uint32_t    from_end;
    int32_t     rank; /* of the value at hand; -1: unknown */
    hone_smooth_part parts[MOST_PARTS];
    size_t      n_parts;
    const char *why;  /* it cannot be; NULL: so far it can */
} search;

static bool because(search *s, const char *fmt, const char *op)
{
    char shown[64];
    s->why = hone_arena_printf(&s->net->arena, fmt, hone_text_show(op, strlen(op), shown, sizeof shown));
    if (!s->why) s->why = fmt;
    return false;
}

static const hone_net_tensor *floats(const hone_net_value *v)
{
    const hone_net_tensor *t = v ? hone_net_constant(v) : NULL;
    return t && t->type == HONE_NET_F32 && t->n > 0 ? t : NULL;
}

static bool add_part(search *s, hone_net_node *n, uint32_t slot, uint64_t outer, uint64_t channels, uint64_t inner, uint64_t period)
{
    if (s->n_parts == MOST_PARTS) return false;
    s->parts[s->n_parts++] = (hone_smooth_part){ n, slot, outer, channels, inner, period };
    return true;
}

/* ---- who reads ---- */

typedef struct reader { uint64_t channels; uint32_t from_end; int32_t rank; hone_smooth_part part; } reader;

/* A layer whose weights have a row, or a slice, per channel of its input; false: it is none. */
static bool reader_of(hone_net_node *n, reader *r)
{
    const hone_net_tensor *w = floats(hone_net_in(n, 1));
    uint64_t               rest = 1;
    if (!w || !hone_net_in(n, 0) || hone_net_constant(n->in[0])) return false;
    if (hone_net_is_op(n, "Conv")) {
        int64_t group = hone_net_attr_int(n, "group", 1);
        if (w->n_dims < 3 || group < 1 || w->dims[0] % (uint64_t)group) return false;
        for (uint32_t d = 2; d < w->n_dims; d++) rest *= w->dims[d];
        *r = (reader){ w->dims[1] * (uint64_t)group, w->n_dims - 1, (int32_t)w->n_dims, { n, 1, w->dims[0], w->dims[1], rest, w->dims[0] / (uint64_t)group } };
        return true;
    }
    if (hone_net_is_op(n, "Gemm")) {
        bool turned = hone_net_attr_int(n, "transB", 0);
        if (w->n_dims != 2 || hone_net_attr_int(n, "transA", 0)) return false;
        *r = (reader){ w->dims[turned], 1, 2, turned ? (hone_smooth_part){ n, 1, w->dims[0], w->dims[1], 1, 0 } : (hone_smooth_part){ n, 1, 1, w->dims[0], w->dims[1], 0 } };
        return true;
    }
    if (!hone_net_is_op(n, "MatMul") || w->n_dims < 2) return false;
    uint64_t rows = w->dims[w->n_dims - 2], columns = w->dims[w->n_dims - 1];
    *r = (reader){ rows, 1, n->in[0]->n_dims, { n, 1, w->n / rows / columns, rows, columns, 0 } };
    return true;
}

static bool is_layer(const hone_net_node *n)
{
    return hone_net_is_op(n, "Conv") || hone_net_is_op(n, "Gemm") || hone_net_is_op(n, "MatMul");
}

/* All that read v take the factors, along the same dimension; their weights become out[*n], which has room for all uses of v. */
static bool readers_take(search *s, const hone_net_value *v, hone_smooth_part *out, size_t *n)
{
    reader r, first = { 0 };
    s->why = v->output ? "outputs of the network stay as they are" : v->n_captures ? "a subgraph reads it" : NULL;
    for (size_t i = 0; !s->why && i < v->n_uses; i++) {
        hone_net_node *node = v->uses[i].node;
        if (v->uses[i].slot != 0 || !reader_of(node, &r)) {
            because(s, v->uses[i].slot == 0 && is_layer(node) ? "the weights of a %s that reads it are of another form" : "%s reads it too", node->op);
            break;
        }
        if (*n == 0) first = r;
        if (r.channels != first.channels || r.from_end != first.from_end) s->why = "its readers multiply along different dimensions";
        out[(*n)++] = r.part;
    }
    if (s->why) return false;
    s->channels = first.channels;
    s->from_end = first.from_end;
    s->rank = first.rank >= 0 ? first.rank : v->n_dims;
    return true;
}

/* ---- who makes ---- */

/* The constant has one number per channel where the value has them: outer x channels x inner. */
static bool take_constant(search *s, hone_net_node *n, uint32_t slot, uint32_t from_end)
{
    const hone_net_tensor *t = floats(hone_net_in(n, slot));
    uint64_t               inner = 1;
    if (!t || t->n_dims < from_end || (s->rank >= 0 && (int32_t)t->n_dims > s->rank) || t->dims[t->n_dims - from_end] != s->channels) return false;
    for (uint32_t d = t->n_dims - from_end + 1; d < t->n_dims; d++) inner *= t->dims[d];
    return add_part(s, n, slot, t->n / inner / s->channels, s->channels, inner, 0);
}

/* Conv, Gemm and MatMul: the channels are those of their output. */
static bool take_layer(search *s, hone_net_node *n)
{
    const hone_net_tensor *w = floats(hone_net_in(n, 1));
    bool                   conv = hone_net_is_op(n, "Conv"), rows = conv || (hone_net_is_op(n, "Gemm") && hone_net_attr_int(n, "transB", 0));
    if (!w || w->n_dims < (conv ? 3u : 2u) || (hone_net_in(n, 0) && hone_net_constant(n->in[0]))) return false;
    if (s->from_end != (conv ? w->n_dims - 1 : 1)) return false;
    if (w->dims[rows ? 0 : w->n_dims - 1] != s->channels) return false;
    uint64_t others = w->n / s->channels;
    if (!add_part(s, n, 1, rows ? 1 : others, s->channels, rows ? others : 1, 0)) return false;
    return !hone_net_in(n, 2) || take_constant(s, n, 2, 1);
}

/* Operators that multiply by a constant per channel and add another, behind all else that they do. */
static bool take_norm(search *s, hone_net_node *n)
{
    bool    layer = hone_net_is_op(n, "LayerNormalization") || hone_net_is_op(n, "RMSNormalization");
    int64_t axis = hone_net_attr_int(n, "axis", -1);
    if (layer && (s->from_end != 1 || (axis != -1 && (s->rank < 0 || axis != s->rank - 1)))) return false;
    if (!layer && (s->rank < 2 || s->from_end != (uint32_t)s->rank - 1)) return false;
    const hone_net_tensor *scale = floats(hone_net_in(n, 1));
    return scale && scale->n_dims == 1 && take_constant(s, n, 1, 1) && (!hone_net_in(n, 2) || take_constant(s, n, 2, 1));
}

static bool is_norm(const hone_net_node *n)
{
    static const char *const ops[] = { "LayerNormalization", "RMSNormalization", "BatchNormalization", "InstanceNormalization" };
    for (size_t i = 0; i < HONE_COUNT(ops); i++)
        if (hone_net_is_op(n, ops[i])) return true;
    return false;
}

/* f(x / s) = f(x) / s for s > 0, element by element, or within a channel. */
static bool lets_through(const search *s, const hone_net_node *n)
{
    static const char *const each[] = { "Relu", "LeakyRelu", "PRelu", "Identity" }, *const pools[] = { "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool" };
    for (uint32_t i = 1; i < n->n_out; i++)
        if (n->out[i]) return false;
    for (size_t i = 0; i < HONE_COUNT(each); i++)
        if (hone_net_is_op(n, each[i])) return true;
    for (size_t i = 0; i < HONE_COUNT(pools); i++)
        if (hone_net_is_op(n, pools[i])) return s->rank >= 3 && s->from_end == (uint32_t)s->rank - 1;
    return false;
}

/* [n, channels, 1, ...] becomes [n, channels], whose channels are the last dimension. */
static bool only_flattens(search *s, const hone_net_node *n)
{
    const hone_net_value *x = hone_net_in(n, 0), *y = hone_net_out(n, 0);
    if (!(hone_net_is_op(n, "Flatten") || hone_net_is_op(n, "Reshape") || hone_net_is_op(n, "Squeeze")) || !x || !y) return false;
    if (y->n_dims != 2 || x->n_dims < 3 || x->dims[1].n != (int64_t)s->channels || y->dims[1].n != (int64_t)s->channels) return false;
    for (int32_t d = 2; d < x->n_dims; d++)
        if (x->dims[d].n != 1) return false;
    s->rank = x->n_dims;
    s->from_end = (uint32_t)x->n_dims - 1;
    return true;
}

/* Add or Mul of a constant per channel: *other is what it is added to. */
static bool take_affine(search *s, hone_net_node *n, hone_net_value **other)
{
    for (uint32_t i = 0; i < 2 && n->n_in == 2; i++)
        if (n->in[i] && n->in[1 - i] && hone_net_constant(n->in[i]) && !hone_net_constant(n->in[1 - i])) {
            *other = n->in[1 - i];
            return take_constant(s, n, i, s->from_end);
        }
    return false;
}

/* From the value to where its channels are made; all between is read by nothing else. */
static bool find_makers(search *s, hone_net_value *v)
{
    for (const hone_net_node *behind = NULL; v && v->from && !hone_net_is_op(v->from, "Constant");) {
        hone_net_node *n = v->from;
        if (behind && !hone_net_only_reader(v)) return because(s, "what %s in front of it reads is read elsewhere too", behind->op);
        if (v != hone_net_out(n, 0)) return because(s, "%s in front of it gives it beside its result", n->op);
        if (is_layer(n) || is_norm(n)) return (is_norm(n) ? take_norm(s, n) : take_layer(s, n)) || because(s, "the constants of %s in front of it are of another form", n->op);
        behind = n;
        if (hone_net_is_op(n, "Add") || hone_net_is_op(n, "Mul")) {
            if (!take_affine(s, n, &v)) return because(s, "%s is in front of it, and has no constant per channel", n->op);
            if (hone_net_is_op(n, "Mul")) return true;
            s->rank = v->n_dims;
        } else if (lets_through(s, n) || only_flattens(s, n)) {
            v = n->in[0];
        } else {
            return because(s, "%s is in front of it, which no factor gets through", n->op);
        }
    }
    s->why = "it comes from outside, or from a constant";
    return false;
}

/* ---- all of them ---- */

typedef struct row { const char *why, *first; size_t n; } row;

typedef struct rows { row at[32]; size_t n; } rows;

static void count_left(rows *r, const char *why, const char *value)
{
    size_t i = 0;
    while (i < r->n && strcmp(r->at[i].why, why) != 0) i++;
    if (i == HONE_COUNT(r->at)) return;
    if (i == r->n) r->at[r->n++] = (row){ why, value, 0 };
    r->at[i].n++;
}

static hone_code tell_left(hone_net *net, const rows *r, hone_smooth_plan *p, hone_err *err)
{
    if (!(p->why = HONE_ARENA_NEW(&net->arena, const char *, r->n + 1))) return HONE_NOMEM(err, "places to smooth");
    for (size_t i = 0; i < r->n; i++) {
        char        shown[96];
        const char *name = hone_text_show(r->at[i].first, strlen(r->at[i].first), shown, sizeof shown);
        p->why[i] = r->at[i].n == 1 ? hone_arena_printf(&net->arena, "'%s' is not smoothed: %s", name, r->at[i].why)
                                    : hone_arena_printf(&net->arena, "%zu are not smoothed, the first is '%s': %s", r->at[i].n, name, r->at[i].why);
        if (!p->why[i]) return HONE_NOMEM(err, "places to smooth");
    }
    p->n_why = r->n;
    return HONE_OK;
}

static bool is_excluded(const hone_smooth_part *p, size_t n, const char *const *exclude, size_t n_exclude)
{
    for (size_t i = 0; i < n; i++)
        if (hone_net_matches(p[i].node, exclude, n_exclude)) return true;
    return false;
}

static hone_code look_at(hone_net *net, hone_net_value *v, const char *const *exclude, size_t n_exclude, hone_smooth_plan *p, rows *left, hone_err *err)
{
    search             s = { .net = net };
    hone_smooth_place *to = &p->places[p->n_places];
    *to = (hone_smooth_place){ .value = v->name, .multiplied = HONE_ARENA_NEW(&net->arena, hone_smooth_part, v->n_uses + 1) };
    if (!to->multiplied) return HONE_NOMEM(err, "places to smooth");
    bool good = readers_take(&s, v, to->multiplied, &to->n_multiplied);
    to->channels = s.channels;
    to->from_end = s.from_end;
    good = good && find_makers(&s, v);
    if (good && (is_excluded(s.parts, s.n_parts, exclude, n_exclude) || is_excluded(to->multiplied, to->n_multiplied, exclude, n_exclude))) {
        s.why = "it would change an operator that is excluded";
        good = false;
    }
    if (!good) {
        p->n_left++;
        count_left(left, s.why, v->name);
        return HONE_OK;
    }
    to->n_divided = s.n_parts;
    if (!(to->divided = HONE_ARENA_NEW(&net->arena, hone_smooth_part, s.n_parts))) return HONE_NOMEM(err, "places to smooth");
    memcpy(to->divided, s.parts, s.n_parts * sizeof *to->divided);
    p->n_places++;
    return HONE_OK;
}

hone_code hone_smooth_plan_make(hone_net *net, const char *const *exclude, size_t n_exclude, hone_smooth_plan *out, hone_err *err)
{
    hone_smooth_plan       p = { .places = HONE_ARENA_NEW(&net->arena, hone_smooth_place, net->n_nodes + 1) };
    const hone_net_value **seen = HONE_ARENA_NEW(&net->arena, const hone_net_value *, net->n_nodes + 1);
    rows                   left = { .n = 0 };
    size_t                 n_seen = 0, i;
    if (!p.places || !seen) return HONE_NOMEM(err, "places to smooth");
    for (hone_net_node *n = net->first; n; n = n->next) {
        hone_net_value *v = hone_net_in(n, 0);
        if (!is_layer(n) || !floats(hone_net_in(n, 1)) || !v || hone_net_constant(v) || hone_net_matches(n, exclude, n_exclude)) continue;
        for (i = 0; i < n_seen && seen[i] != v; i++) {}
        if (i < n_seen) continue;
        seen[n_seen++] = v;
        HONE_TRY(look_at(net, v, exclude, n_exclude, &p, &left, err));
    }
    HONE_TRY(tell_left(net, &left, &p, err));
    *out = p;
    return HONE_OK;
}

/* ---- factors ---- */

enum { DIGITS = 20 };

/* x to the power of n / 2^DIGITS as a product of square roots, which IEEE 754 rounds alike everywhere; pow() is not the same on every processor. */
static double power(double x, uint32_t n)
{
    double y = 1, root = x;
    if (n >> DIGITS) return x;
    for (uint32_t bit = 1u << (DIGITS - 1); bit; bit /= 2) {
        root = sqrt(root);
        if (n & bit) y *= root;
    }
    return y;
}

/* Largest magnitudes of a part by channel, into the larger of both; NaN and infinity become infinity. */
static hone_code see_part(const hone_net *net, const hone_smooth_part *p, double *largest, hone_err *err)
{
    float *w;
    HONE_TRY(hone_net_tensor_floats(net, hone_net_constant(p->node->in[p->slot]), &w, err));
    for (uint64_t o = 0, k = 0; o < p->outer; o++)
        for (uint64_t c = 0; c < p->channels; c++) {
            double *to = &largest[(p->period ? o / p->period * p->channels : 0) + c];
            for (uint64_t i = 0; i < p->inner; i++, k++) {
                double a = isfinite(w[k]) ? fabs((double)w[k]) : INFINITY;
                if (a > *to) *to = a;
            }
        }
    free(w);
    return HONE_OK;
}

hone_code hone_smooth_factors(const hone_net *net, const hone_smooth_place *place, const float *largest, double alpha, float *by, hone_err *err)
{
    uint32_t  whole = 1u << DIGITS, n = (uint32_t)nearbyint(fmin(fmax(alpha, 0), 1) * whole);
    double   *weight = calloc((size_t)place->channels, sizeof *weight);
    hone_code code = weight ? HONE_OK : HONE_NOMEM(err, "factors of channels");
    for (size_t i = 0; i < place->n_multiplied && code == HONE_OK; i++) code = see_part(net, &place->multiplied[i], weight, err);
    for (uint64_t c = 0; c < place->channels && code == HONE_OK; c++) {
        bool  usable = largest[c] > 0 && isfinite(largest[c]) && weight[c] > 0 && isfinite(weight[c]);
        float s = usable ? (float)(power((double)largest[c], n) / power(weight[c], whole - n)) : 1;
        by[c] = fminf(fmaxf(s, HONE_SMOOTH_LEAST), HONE_SMOOTH_MOST);
    }
    free(weight);
    return code;
}

/* ---- doing it ---- */

static hone_code scale_part(hone_net *net, const hone_smooth_part *p, const double *a, hone_err *err)
{
    hone_net_value       *old = p->node->in[p->slot];
    const hone_net_scaled how = { hone_net_constant(old), a, p->outer, p->channels, p->inner, p->period };
    hone_net_value       *v = hone_net_scaled_new(net, hone_arena_printf(&net->arena, "%s.smooth", old->name), &how);
    return v && hone_net_set_in(net, p->node, p->slot, v) ? HONE_OK : HONE_NOMEM(err, "smoothed weights");
}

static size_t find_place(const hone_smooth_plan *p, const hone_smooth_scale *s)
{
    size_t i = 0;
    while (i < p->n_places && strcmp(p->places[i].value, s->value) != 0) i++;
    return i;
}

static hone_code apply_one(hone_net *net, const hone_smooth_plan *plan, const hone_smooth_scale *s, bool *done, hone_err *err)
{
    const size_t             at = find_place(plan, s);
    const hone_smooth_place *p = &plan->places[at];
    if (at == plan->n_places) return HONE_FAIL(err, HONE_EINPUT, "", "'%.80s' cannot be smoothed", s->value);
    if (done[at]) return HONE_FAIL(err, HONE_EINPUT, "", "'%.80s' has factors twice", s->value);
    done[at] = true;
    if (p->channels != s->n) return HONE_FAIL(err, HONE_EINPUT, "", "'%.80s' has %llu channels, and factors for %llu", s->value, (unsigned long long)p->channels, (unsigned long long)s->n);
    double *up = HONE_ARENA_NEW(&net->arena, double, s->n), *down = HONE_ARENA_NEW(&net->arena, double, s->n);
    if (!up || !down) return HONE_NOMEM(err, "factors of channels");
    for (uint64_t c = 0; c < s->n; c++) {
        if (!(s->by[c] >= HONE_SMOOTH_LEAST && s->by[c] <= HONE_SMOOTH_MOST))
            return HONE_FAIL(err, HONE_EINPUT, "", "a factor of '%.80s' is %g, outside %g..%g", s->value, (double)s->by[c], (double)HONE_SMOOTH_LEAST, (double)HONE_SMOOTH_MOST);
        up[c] = (double)s->by[c];
        down[c] = 1 / up[c];
    }
    for (size_t i = 0; i < p->n_divided; i++) HONE_TRY(scale_part(net, &p->divided[i], down, err));
    for (size_t i = 0; i < p->n_multiplied; i++) HONE_TRY(scale_part(net, &p->multiplied[i], up, err));
    return HONE_OK;
}

hone_code hone_smooth_apply(hone_net *net, const hone_smooth_plan *plan, const hone_smooth_scale *scales, size_t n, hone_err *err)
{
    bool *done = HONE_ARENA_NEW(&net->arena, bool, plan->n_places + 1); /* each place once: products of products would grow with the list */
    if (!done) return HONE_NOMEM(err, "factors of channels");
    for (size_t i = 0; i < n; i++) HONE_TRY(apply_one(net, plan, &scales[i], done, err));
    hone_net_sweep(net);
    return HONE_OK;
}
