/* calibrate.c - ranges of activations, from one walk over the samples or two. */
#include "flow/net/static/run.h"
#include <math.h>

static void see_extremes(void *user, size_t name, const float *x, uint64_t samples, size_t per_sample, const hone_backend_value *v)
{
    hone_static_run *r = user;
    (void)v;
    for (uint64_t i = 0; i < samples; i++) hone_range_see(&r->seen[name], x + i * per_sample, per_sample);
}

static void see_counts(void *user, size_t name, const float *x, uint64_t samples, size_t per_sample, const hone_backend_value *v)
{
    hone_static_run *r = user;
    (void)v;
    hone_range_count(&r->seen[name], x, samples * per_sample);
}

/* What comes in when it is deployed goes beyond what calibration saw, and first at the nearer end: an input that is cut off there is lost, while a
 * symmetric range costs less than one of its eight bits.  (digits-cnn under noise: 0.81 right with the range as seen, 0.91 so; peers' presets that are
 * symmetric all over have the same advantage, 0.87.) */
static void widen_input(const hone_static_run *r, hone_static_range *to)
{
    const hone_net_value *v = hone_net_find(&r->net, to->value);
    if (!v || !v->input || !(to->lo < 0 && to->hi > 0)) return;
    to->hi = fmaxf(to->hi, -to->lo);
    to->lo = -to->hi;
}

hone_code hone_static_calibrate(hone_static_run *r, hone_err *err)
{
    const hone_static_plan *p = &r->plan;
    r->seen = HONE_ARENA_NEW(&r->a, hone_range_seen, p->n_values);
    r->ranges = HONE_ARENA_NEW(&r->a, hone_static_range, p->n_values);
    if (!r->seen || !r->ranges) return HONE_NOMEM(err, "histograms");
    r->n_ranges = p->n_values;
    hone_event_step(r->ctx, "calibrating %zu values on %llu samples (%s)", p->n_values, (unsigned long long)r->samples, hone_range_name(r->how->method));
    HONE_TRY(hone_static_walk(r, r->float_path, p->values, p->n_values, "samples", see_extremes, r, err));
    if (hone_range_needs_histogram(r->how->method)) HONE_TRY(hone_static_walk(r, r->float_path, p->values, p->n_values, "samples", see_counts, r, err));
    for (size_t i = 0; i < p->n_values; i++) {
        const hone_range_seen *s = &r->seen[i];
        hone_static_range     *to = &r->ranges[i];
        to->value = p->values[i];
        if (s->n == 0)
            return HONE_FAIL(err, HONE_EINPUT, "leave it out with --exclude", "the samples never gave a number for '%.80s'", p->values[i]);
        if (s->strange)
            hone_event_warn(r->ctx, "look at the samples, or leave it out with --exclude", "'%s' had %llu numbers that are not finite", p->values[i], (unsigned long long)s->strange);
        hone_range_choose(s, r->how->method, r->how->percentile > 0 ? r->how->percentile : 0.9999, 256, &to->lo, &to->hi);
        widen_input(r, to);
        to->lo = fmaxf(to->lo, p->clip_lo[i]);
        to->hi = fminf(to->hi, p->clip_hi[i]);
    }
    return HONE_OK;
}
