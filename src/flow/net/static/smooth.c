/* smooth.c - factors that even out the channels of what layers read, by running the float model over samples; as JSON, and from it. */
#include "flow/net/static/run.h"
#include "passes/net_smooth.h"
#include <math.h>

/* ---- from samples ---- */

typedef struct largest { /* magnitudes of the places' values, channel by channel */
    const hone_smooth_plan *plan;
    float                 **of; /* [n_places] each [channels] */
    const char             *odd; /* a value of another shape than its place's; NULL: none */
} largest;

static void see(void *user, size_t name, const float *x, uint64_t samples, size_t per_sample, const hone_backend_value *v)
{
    largest                 *l = user;
    const hone_smooth_place *p = &l->plan->places[name];
    size_t                   outer = 1, inner = 1;
    (void)samples;
    (void)per_sample;
    if (v->rank < p->from_end || (uint64_t)v->dims[v->rank - p->from_end] != p->channels) {
        l->odd = p->value;
        return;
    }
    for (uint32_t d = 0; d < v->rank - p->from_end; d++) outer *= (size_t)v->dims[d];
    for (uint32_t d = v->rank - p->from_end + 1; d < v->rank; d++) inner *= (size_t)v->dims[d];
    for (size_t o = 0; o < outer; o++)
        for (size_t c = 0; c < p->channels; c++)
            for (size_t i = 0; i < inner; i++, x++) {
                float a = fabsf(*x);
                if (isfinite(a) && a > l->of[name][c]) l->of[name][c] = a;
            }
}

static hone_code measure(hone_static_run *r, const hone_smooth_plan *p, largest *out, hone_err *err)
{
    const char **names = HONE_ARENA_NEW(&r->a, const char *, p->n_places + 1);
    *out = (largest){ .plan = p, .of = HONE_ARENA_NEW(&r->a, float *, p->n_places + 1) };
    if (!names || !out->of) return HONE_NOMEM(err, "magnitudes");
    for (size_t i = 0; i < p->n_places; i++) {
        names[i] = p->places[i].value;
        if (!(out->of[i] = HONE_ARENA_NEW(&r->a, float, p->places[i].channels))) return HONE_NOMEM(err, "magnitudes");
    }
    if (p->n_places == 0) return HONE_OK;
    hone_event_step(r->ctx, "looking at the channels of %zu value%s on %llu samples", p->n_places, p->n_places == 1 ? "" : "s", (unsigned long long)r->samples);
    HONE_TRY(hone_static_walk(r, r->float_path, names, p->n_places, "samples", see, out, err));
    return out->odd ? HONE_FAIL(err, HONE_ERUNTIME, "leave --method smooth away", "'%.80s' has other channels than the weights that read it", out->odd) : HONE_OK;
}

/* ---- as JSON ---- */

static json_t *factors_json(const char *value, const float *by, uint64_t n)
{
    json_t *list = json_array(), *o = NULL;
    bool    good = list != NULL;
    for (uint64_t i = 0; good && i < n; i++) good = json_array_append_new(list, hone_json_real((double)by[i])) == 0;
    if (good) o = json_pack("{s:s,s:O}", "value", value, "factors", list);
    json_decref(list);
    return o;
}

static json_t *report_json(hone_static_run *r, const hone_smooth_plan *p)
{
    json_t     *notes = json_array(), *o = NULL;
    const char *first = "nothing is smoothed: no value that a layer reads can be";
    if (p->n_places) first = hone_arena_printf(&r->a, "smoothed: %zu of the %zu values that layers read", p->n_places, p->n_places + p->n_left);
    bool        good = notes && first && json_array_append_new(notes, json_string(first)) == 0;
    for (size_t i = 0; good && i < p->n_why; i++) good = json_array_append_new(notes, json_string(p->why[i])) == 0;
    if (good) o = json_pack("{s:I,s:I,s:O}", "places", (json_int_t)p->n_places, "left", (json_int_t)p->n_left, "notes", notes);
    json_decref(notes);
    return o;
}

static hone_code find_factors(hone_static_run *r, const hone_smooth_plan *p, const largest *l, json_t *list, hone_err *err)
{
    for (size_t i = 0; i < p->n_places; i++) {
        const hone_smooth_place *place = &p->places[i];
        float                   *by = HONE_ARENA_NEW(&r->a, float, place->channels);
        if (!by) return HONE_NOMEM(err, "factors of channels");
        HONE_TRY(hone_smooth_factors(&r->net, place, l->of[i], r->how->smooth_alpha, by, err));
        if (json_array_append_new(list, factors_json(place->value, by, place->channels)) != 0) return HONE_NOMEM(err, "factors of channels");
    }
    return HONE_OK;
}

hone_code hone_static_smooth(hone_static_run *r, hone_err *err)
{
    hone_smooth_plan p;
    largest          l;
    HONE_TRY(hone_smooth_plan_make(&r->net, r->how->codes.exclude, r->how->codes.n_exclude, &p, err));
    HONE_TRY(measure(r, &p, &l, err));
    r->smooth = json_array();
    r->smooth_report = report_json(r, &p);
    if (!r->smooth || !r->smooth_report) return HONE_NOMEM(err, "factors of channels");
    HONE_TRY(find_factors(r, &p, &l, r->smooth, err));
    return hone_net_smooth_again(&r->net, r->smooth, err);
}

hone_code hone_net_smooth(const hone_ctx *ctx, const char *path, const hone_static_how *how, json_t **out, json_t **report, hone_err *err)
{
    hone_static_run r = { .ctx = ctx, .how = how, .path = path };
    hone_code       code = hone_static_open_folded(&r, err);
    if (code == HONE_OK) code = hone_static_start(&r, err);
    if (code == HONE_OK) code = hone_static_smooth(&r, err);
    if (code == HONE_OK) {
        *out = json_incref(r.smooth);
        *report = json_incref(r.smooth_report);
    }
    hone_static_end(&r);
    return code;
}

/* ---- and back ---- */

static hone_code broken(hone_err *err) { return HONE_FAIL(err, HONE_EINPUT, "", "the recipe's factors of channels (\"smooth\") are not what they should be"); }

static hone_code read_factors(const json_t *list, hone_arena *a, hone_smooth_scale **out, hone_err *err)
{
    size_t             n = json_array_size(list);
    hone_smooth_scale *s = HONE_ARENA_NEW(a, hone_smooth_scale, n + 1);
    if (!s) return HONE_NOMEM(err, "a recipe");
    if (!json_is_array(list)) return broken(err);
    for (size_t i = 0; i < n; i++) {
        const json_t *x = json_array_get(list, i), *by = json_object_get(x, "factors");
        float        *v = HONE_ARENA_NEW(a, float, json_array_size(by) + 1);
        s[i] = (hone_smooth_scale){ json_string_value(json_object_get(x, "value")), v, json_array_size(by) };
        if (!v) return HONE_NOMEM(err, "a recipe");
        if (!s[i].value) return broken(err);
        for (size_t k = 0; k < s[i].n; k++) {
            if (!json_is_number(json_array_get(by, k))) return broken(err);
            v[k] = (float)json_number_value(json_array_get(by, k));
        }
    }
    *out = s;
    return HONE_OK;
}

hone_code hone_net_smooth_again(hone_net *net, const json_t *factors, hone_err *err)
{
    hone_smooth_plan   plan;
    hone_smooth_scale *s = NULL;
    hone_arena         a = { 0 };
    hone_code          code = read_factors(factors, &a, &s, err);
    /* No exclusions: they decided what has factors, and what has some is here. */
    if (code == HONE_OK) code = hone_smooth_plan_make(net, NULL, 0, &plan, err);
    if (code == HONE_OK) code = hone_smooth_apply(net, &plan, s, json_array_size(factors), err);
    hone_arena_release(&a);
    return code;
}
