#include "passes/fold.h"
#include "base/pool.h"
#include "passes/fold/site.h"

typedef enum place { NORM_ATTENTION, NORM_FFN, UP_DOWN, VALUE_OUT, PLACES } place;

static const char *const place_names[PLACES] = { "norm -> q, k, v", "norm -> gate, up", "up -> down", "v -> o" };

typedef struct folder {
    const hone_model *m;
    hone_fold_method  method;
    const hone_stats *stats;
    hone_arena       *a;
    hone_change      *changes;
    hone_fold_site   *sites;  /* [n_layers, PLACES]; no consumers: scales cannot move there */
    const char       *why[PLACES]; /* for the first layer where they cannot */
} folder;

static const hone_weight *weight_of(const folder *d, hone_role role, uint32_t layer) { return hone_model_find(d->m, role, HONE_PART_WEIGHT, (int32_t)layer); }

static hone_change *change_of(const folder *d, hone_role role, hone_part part, uint32_t layer)
{
    const hone_weight *w = hone_model_find(d->m, role, part, (int32_t)layer);
    return w ? &d->changes[w - d->m->weights] : NULL;
}

/* ---- where scales can move ---- */

static void add_consumers(const folder *d, hone_fold_site *s, const hone_role *roles, size_t n, uint32_t layer)
{
    for (size_t i = 0; i < n; i++) {
        const hone_weight *w = weight_of(d, roles[i], layer);
        if (w) s->consumers[s->n_consumers++] = w;
    }
}

static const hone_role ATTENTION[] = { HONE_R_ATTN_Q, HONE_R_ATTN_K, HONE_R_ATTN_V, HONE_R_ATTN_QKV };
static const hone_role FFN[] = { HONE_R_FFN_GATE, HONE_R_FFN_UP, HONE_R_FFN_GATE_UP, HONE_R_FFN_GATE_EXPS, HONE_R_FFN_UP_EXPS };

/* The norm in front of a half, and all that read it; the router does too, but is not quantised: it follows, and has no say. */
static const char *site_of_norm(const folder *d, hone_fold_site *s, place at, uint32_t layer)
{
    const hone_facts *f = &d->m->facts;
    bool              shared = f->parallel_residual && f->parallel_shared_norm;
    if (at == NORM_FFN && shared) return "the norm is the attention's";
    if (!weight_of(d, at == NORM_ATTENTION ? HONE_R_ATTN_NORM : HONE_R_FFN_NORM, layer)) return "there is no norm in front";
    if (at == NORM_ATTENTION) add_consumers(d, s, ATTENTION, HONE_COUNT(ATTENTION), layer);
    if (at == NORM_FFN || shared) add_consumers(d, s, FFN, HONE_COUNT(FFN), layer);
    return s->n_consumers ? NULL : "nothing reads the norm";
}

static const char *site_of_up(const folder *d, hone_fold_site *s, uint32_t layer)
{
    const hone_weight *down = weight_of(d, HONE_R_FFN_DOWN_EXPS, layer);
    if (d->method == HONE_FOLD_SMOOTH) return "SmoothQuant scales norms only";
    if (!d->m->facts.ffn_gated && d->m->facts.act != HONE_ACT_RELU) return "the activation between them is no product";
    s->mats = down ? (uint32_t)down->dims[0] : 1;
    if (!down) down = weight_of(d, HONE_R_FFN_DOWN, layer);
    if (!down) return "there is no such matrix";
    s->consumers[s->n_consumers++] = down;
    return NULL;
}

static const char *site_of_value(const folder *d, hone_fold_site *s, uint32_t layer)
{
    const hone_facts *f = &d->m->facts;
    if (d->method == HONE_FOLD_SMOOTH) return "SmoothQuant scales norms only";
    add_consumers(d, s, (const hone_role[]){ HONE_R_ATTN_OUT }, 1, layer);
    s->share = f->n_heads / f->n_kv_heads;
    s->width = f->head_dim;
    return s->n_consumers ? NULL : "there is no such matrix";
}

/* Statistics of any of the consumers' input. */
static const hone_input_stats *stats_of(const folder *d, const hone_fold_site *s)
{
    for (size_t i = 0; i < s->n_consumers; i++) {
        const hone_input_stats *in = hone_stats_find(d->stats, s->consumers[i]->role, s->consumers[i]->layer);
        if (in && in->n_cols == s->cols && (s->mats == 1 || in->n_mats == s->mats)) return in;
    }
    return NULL;
}

static hone_code plan_site(folder *d, place at, uint32_t layer, hone_err *err)
{
    hone_fold_site *s = &d->sites[(size_t)layer * PLACES + at];
    *s = (hone_fold_site){ .mats = 1, .share = 1, .width = 1 };
    const char *why = at == UP_DOWN ? site_of_up(d, s, layer) : at == VALUE_OUT ? site_of_value(d, s, layer) : site_of_norm(d, s, at, layer);
    if (!why) {
        s->cols = (uint32_t)hone_weight_cols(s->consumers[0]);
        s->in = stats_of(d, s);
        if (!s->in) why = "there are no statistics of the input";
        else if (d->method == HONE_FOLD_SMOOTH && !s->in->max_abs) why = "the statistics have no maxima";
    }
    if (why) {
        s->n_consumers = 0;
        if (!d->why[at]) d->why[at] = why;
        return HONE_OK;
    }
    s->scale = HONE_ARENA_NEW(d->a, float, (size_t)s->mats * s->cols);
    return s->scale ? HONE_OK : HONE_NOMEM(err, "scales");
}

/* ---- moving them ---- */

static hone_code inverse(const folder *d, const float *scale, size_t n, float **out, hone_err *err)
{
    *out = HONE_ARENA_NEW(d->a, float, n);
    if (!*out) return HONE_NOMEM(err, "scales");
    for (size_t i = 0; i < n; i++) (*out)[i] = 1.0f / scale[i];
    return HONE_OK;
}

static void multiply_columns(hone_change *c, const float *factor, bool shared)
{
    c->col_factor = factor;
    c->shared_factor = shared;
}

static hone_code divide_norm(const folder *d, const hone_fold_site *s, place at, uint32_t layer, hone_err *err)
{
    hone_role    role = at == NORM_ATTENTION ? HONE_R_ATTN_NORM : HONE_R_FFN_NORM;
    hone_change *norm = change_of(d, role, HONE_PART_WEIGHT, layer), *bias = change_of(d, role, HONE_PART_BIAS, layer);
    hone_change *router = change_of(d, HONE_R_FFN_ROUTER, HONE_PART_WEIGHT, layer);
    float       *less;
    HONE_TRY(inverse(d, s->scale, s->cols, &less, err));
    multiply_columns(norm, less, true);
    norm->plus_one = d->m->facts.norm_plus_one;
    if (bias) multiply_columns(bias, less, true);
    bool read_by_router = at == NORM_FFN || (d->m->facts.parallel_residual && d->m->facts.parallel_shared_norm);
    if (router && read_by_router) multiply_columns(router, s->scale, true);
    return HONE_OK;
}

/* Rows first .. first+n of what makes the input, and their biases. */
static hone_code divide_rows(const folder *d, hone_role role, uint32_t layer, uint64_t first, const float *scale, uint64_t n, hone_err *err)
{
    for (int part = 0; part < 2; part++) {
        hone_change *c = change_of(d, role, (hone_part)part, layer);
        if (!c) continue;
        uint64_t rows = c->from->n_dims == 1 ? c->from->dims[0] : hone_weight_rows(c->from);
        float   *f = HONE_ARENA_NEW(d->a, float, rows);
        if (!f) return HONE_NOMEM(err, "scales");
        if (first + n > rows) return HONE_FAIL(err, HONE_EBUG, "", "%s of layer %u has too few rows for its scales", hone_role_name(role), layer);
        for (uint64_t i = 0; i < rows; i++) f[i] = i >= first && i < first + n ? 1.0f / scale[i - first] : 1.0f;
        if (c->from->n_dims == 1) multiply_columns(c, f, true);
        else c->row_factor = f;
    }
    return HONE_OK;
}

static hone_code divide_up(const folder *d, const hone_fold_site *s, uint32_t layer, hone_err *err)
{
    uint64_t n = (uint64_t)s->mats * s->cols;
    if (weight_of(d, HONE_R_FFN_UP_EXPS, layer)) return divide_rows(d, HONE_R_FFN_UP_EXPS, layer, 0, s->scale, n, err);
    if (weight_of(d, HONE_R_FFN_GATE_UP, layer)) return divide_rows(d, HONE_R_FFN_GATE_UP, layer, n, s->scale, n, err);
    return divide_rows(d, HONE_R_FFN_UP, layer, 0, s->scale, n, err);
}

static hone_code divide_values(const folder *d, const hone_fold_site *s, uint32_t layer, hone_err *err)
{
    const hone_facts *f = &d->m->facts;
    uint64_t          n = (uint64_t)f->n_kv_heads * f->head_dim;
    float            *scale = HONE_ARENA_NEW(d->a, float, n);
    if (!scale) return HONE_NOMEM(err, "scales");
    for (uint64_t i = 0; i < n; i++) scale[i] = s->scale[i / s->width * s->share * s->width + i % s->width];
    if (weight_of(d, HONE_R_ATTN_V, layer)) return divide_rows(d, HONE_R_ATTN_V, layer, 0, scale, n, err);
    return divide_rows(d, HONE_R_ATTN_QKV, layer, (f->n_heads + (uint64_t)f->n_kv_heads) * f->head_dim, scale, n, err);
}

static hone_code move(const folder *d, place at, uint32_t layer, hone_err *err)
{
    const hone_fold_site *s = &d->sites[(size_t)layer * PLACES + at];
    for (size_t i = 0; i < s->n_consumers; i++) multiply_columns(&d->changes[s->consumers[i] - d->m->weights], s->scale, s->mats == 1);
    if (at == UP_DOWN) return divide_up(d, s, layer, err);
    return at == VALUE_OUT ? divide_values(d, s, layer, err) : divide_norm(d, s, at, layer, err);
}

/* ---- all of them ---- */

static hone_code run(void *user, size_t index, unsigned worker, hone_err *err)
{
    folder         *d = user;
    hone_fold_site *s = &d->sites[index];
    (void)worker;
    if (!s->n_consumers) return HONE_OK;
    return d->method == HONE_FOLD_AWQ ? hone_fold_awq(d->m, s, err) : hone_fold_smooth(d->m, s, err);
}

static hone_code summarise(const folder *d, const uint32_t moved[PLACES], hone_folded *out, hone_err *err)
{
    const char **notes = HONE_ARENA_NEW(d->a, const char *, PLACES);
    if (!notes) return HONE_NOMEM(err, "a note");
    for (int at = 0; at < PLACES; at++) {
        if (d->method == HONE_FOLD_SMOOTH && (at == UP_DOWN || at == VALUE_OUT)) continue;
        notes[out->n_notes] = d->why[at] && !moved[at] ? hone_arena_printf(d->a, "scales stay at %s: %s", place_names[at], d->why[at])
                                                       : hone_arena_printf(d->a, "scales moved at %s in %u of %u layers", place_names[at], moved[at], d->m->facts.n_layers);
        if (!notes[out->n_notes++]) return HONE_NOMEM(err, "a note");
    }
    out->notes = notes;
    return HONE_OK;
}

hone_code hone_fold(const hone_ctx *ctx, const hone_model *m, hone_fold_method method, const hone_stats *stats, hone_arena *a, hone_folded *out, hone_err *err)
{
    folder   d = { .m = m, .method = method, .stats = stats, .a = a };
    uint32_t layers = m->facts.n_layers, moved[PLACES] = { 0 }, known = 0;
    *out = (hone_folded){ .n = m->n_weights };
    d.changes = out->changes = HONE_ARENA_NEW(a, hone_change, m->n_weights + 1);
    d.sites = HONE_ARENA_NEW(a, hone_fold_site, (size_t)layers * PLACES + 1);
    if (!d.changes || !d.sites) return HONE_NOMEM(err, "the weight list");
    for (size_t i = 0; i < m->n_weights; i++) d.changes[i] = hone_change_none(&m->weights[i]);
    for (uint32_t l = 0; l < layers; l++)
        for (int at = 0; at < PLACES; at++) {
            HONE_TRY(plan_site(&d, (place)at, l, err));
            known += d.sites[(size_t)l * PLACES + (size_t)at].n_consumers > 0;
        }
    if (!known) {
        bool lacks = d.why[0] && strstr(d.why[0], "statistics");
        return HONE_FAIL(err, lacks ? HONE_EINPUT : HONE_EUNSUPPORTED, lacks ? "make them with hone calibrate on this model" : "quantise it without",
                         "scales cannot move anywhere: %s: %s", place_names[0], d.why[0] ? d.why[0] : "no layers");
    }
    HONE_TRY(hone_pool_run(ctx, (size_t)layers * PLACES, run, &d, err));
    for (uint32_t l = 0; l < layers; l++)
        for (int at = 0; at < PLACES; at++) {
            if (!d.sites[(size_t)l * PLACES + (size_t)at].moved) continue;
            HONE_TRY(move(&d, (place)at, l, err));
            moved[at]++;
        }
    for (int at = 0; at < PLACES; at++) out->n_folds += moved[at];
    out->n_skipped = layers * PLACES - out->n_folds;
    return summarise(&d, moved, out, err);
}
