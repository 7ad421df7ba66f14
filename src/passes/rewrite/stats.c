/* stats.c - what the same calibration would have seen of a rewritten model. */
#include "passes/rewrite.h"

typedef struct origin { /* of one input */
    const hone_input_stats *in;
    const uint32_t         *cols; /* [n_cols] of the input below; NULL: all */
    const float            *factor; /* [n_mats, n_cols] what the new input is divided by; NULL: 1 */
    size_t                  stride; /* from one matrix's factors to the next's; 0: they share them */
    const uint32_t         *mats; /* [n_mats] of the input below; NULL: all */
} origin;

typedef struct view {
    const hone_stats *below;
    const origin     *from; /* [n_inputs] */
} view;

static const hone_change *change_of(const hone_input_stats *in, const hone_change *list, size_t n)
{
    for (int exact = 1; exact >= 0; exact--)
        for (size_t i = 0; i < n; i++) {
            const hone_weight *w = list[i].from;
            if (w->part == HONE_PART_WEIGHT && w->n_dims > 1 && w->layer == in->layer && (w->role == in->role || (!exact && hone_role_shares_input(w->role, in->role))))
                return &list[i];
        }
    return NULL;
}

/* Which matrices stay, from the first row of each. */
static hone_code which_mats(const hone_change *c, hone_arena *a, const uint32_t **out, hone_err *err)
{
    *out = NULL;
    if (!c->rows || c->from->n_dims != 3) return HONE_OK;
    uint32_t *mats = HONE_ARENA_NEW(a, uint32_t, c->dims[0] + 1);
    if (!mats) return HONE_NOMEM(err, "statistics");
    for (uint64_t e = 0; e < c->dims[0]; e++) mats[e] = (uint32_t)(c->rows[e * c->dims[1]] / c->from->dims[1]);
    *out = mats;
    return HONE_OK;
}

static hone_code select_numbers(const origin *o, const hone_input_stats *to, const float *x, int power, hone_arena *a, const float **out, hone_err *err)
{
    *out = NULL;
    if (!x) return HONE_OK;
    float *y = HONE_ARENA_NEW(a, float, (size_t)to->n_mats * to->n_cols);
    if (!y) return HONE_NOMEM(err, "statistics");
    for (uint32_t e = 0; e < to->n_mats; e++)
        for (uint32_t j = 0; j < to->n_cols; j++) {
            double v = x[(size_t)(o->mats ? o->mats[e] : e) * o->in->n_cols + (o->cols ? o->cols[j] : j)];
            for (int p = 0; o->factor && p < power; p++) v /= o->factor[e * o->stride + j];
            y[(size_t)e * to->n_cols + j] = (float)v;
        }
    *out = y;
    return HONE_OK;
}

static hone_code rewrite_one(const hone_input_stats *in, const hone_change *c, hone_arena *a, origin *o, hone_input_stats *to, hone_err *err)
{
    *o = (origin){ .in = in };
    *to = *in;
    to->layer = c->layer;
    if (!hone_change_values(c)) return HONE_OK;
    bool stack = c->from->n_dims == 3 && in->n_mats == c->from->dims[0];
    if (hone_weight_cols(c->from) != in->n_cols || (in->n_mats > 1 && !stack))
        return HONE_FAIL(err, HONE_EINPUT, "calibrate this model: hone calibrate", "the statistics of %s of layer %d are of %u columns, the weight has %llu",
                         hone_role_name(in->role), (int)in->layer, in->n_cols, (unsigned long long)hone_weight_cols(c->from));
    o->cols = c->cols;
    o->factor = c->col_factor;
    o->stride = c->shared_factor ? 0 : (size_t)c->dims[c->from->n_dims - 1];
    if (stack) HONE_TRY(which_mats(c, a, &o->mats, err));
    to->n_cols = (uint32_t)c->dims[c->from->n_dims - 1];
    to->n_mats = stack ? (uint32_t)c->dims[0] : in->n_mats;
    HONE_TRY(select_numbers(o, to, in->sum_sq, 2, a, &to->sum_sq, err));
    HONE_TRY(select_numbers(o, to, in->sum_abs, 1, a, &to->sum_abs, err));
    HONE_TRY(select_numbers(o, to, in->max_abs, 1, a, &to->max_abs, err));
    HONE_TRY(select_numbers(o, to, in->sum, 1, a, &to->sum, err));
    uint64_t *counts = HONE_ARENA_NEW(a, uint64_t, to->n_mats + 1u);
    if (!counts) return HONE_NOMEM(err, "statistics");
    for (uint32_t e = 0; e < to->n_mats; e++) counts[e] = in->counts[o->mats ? o->mats[e] : e];
    to->counts = counts;
    return HONE_OK;
}

/* In place: the kept columns ascend, so nothing is overwritten before it is read. */
static hone_code view_hessian(const hone_stats *s, const hone_input_stats *in, uint32_t mat, float *out, hone_err *err)
{
    const view   *v = s->self;
    const origin *o = &v->from[in - s->inputs];
    size_t        old = o->in->n_cols, n = in->n_cols;
    hone_arena    a = { 0 };
    float        *all = old == n ? out : HONE_ARENA_NEW(&a, float, old * old);
    if (!all) return HONE_NOMEM(err, "a Hessian");
    hone_code code = v->below->hessian(v->below, o->in, o->mats ? o->mats[mat] : mat, all, err);
    for (size_t i = 0; code == HONE_OK && i < n; i++)
        for (size_t j = 0; j < n; j++) {
            double h = all[(o->cols ? o->cols[i] : i) * old + (o->cols ? o->cols[j] : j)];
            if (o->factor) h /= (double)o->factor[mat * o->stride + i] * (double)o->factor[mat * o->stride + j];
            out[i * n + j] = (float)h;
        }
    hone_arena_release(&a);
    return code;
}

hone_code hone_rewrite_stats(const hone_stats *in, const hone_change *list, size_t n, hone_arena *a, hone_stats *out, hone_err *err)
{
    hone_input_stats *inputs = HONE_ARENA_NEW(a, hone_input_stats, in->n_inputs + 1);
    origin           *from = HONE_ARENA_NEW(a, origin, in->n_inputs + 1);
    view             *v = HONE_ARENA_NEW(a, view, 1);
    size_t            count = 0;
    if (!inputs || !from || !v) return HONE_NOMEM(err, "statistics");
    for (size_t i = 0; i < in->n_inputs; i++) {
        const hone_change *c = change_of(&in->inputs[i], list, n);
        if (!c && in->inputs[i].layer >= 0) continue; /* of a layer that is gone */
        if (c) HONE_TRY(rewrite_one(&in->inputs[i], c, a, &from[count], &inputs[count], err));
        else {
            from[count] = (origin){ .in = &in->inputs[i] };
            inputs[count] = in->inputs[i];
        }
        count++;
    }
    *v = (view){ .below = in, .from = from };
    *out = *in;
    out->inputs = inputs;
    out->n_inputs = count;
    out->hessian = in->hessian ? view_hessian : NULL;
    out->self = v;
    return HONE_OK;
}
