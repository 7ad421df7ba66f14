/* bias.c - what quantisation adds to a layer's mean output on the calibration samples is taken off its bias: Nagel et al., arXiv:1906.04721, 4.2, measured and
 * not derived.  Layers are corrected from the first to the last, since a layer's error has those before it in it; a few at a time, so that deep
 * networks take a bounded number of walks. */
#include "flow/net/static/run.h"

enum { WALKS = 12 };

typedef struct means { /* of some layers' outputs */
    const hone_static_layer *layers; /* [n] */
    double                 **sum;    /* [n] each [channels] */
    uint64_t                *count;  /* [n] numbers a channel */
    bool                     odd;    /* an output of another shape than its layer's */
} means;

static void add(void *user, size_t name, const float *x, uint64_t samples, size_t per_sample, const hone_backend_value *v)
{
    means                   *m = user;
    const hone_static_layer *l = &m->layers[name];
    (void)samples;
    (void)per_sample;
    if (l->axis >= v->rank || (uint64_t)v->dims[l->axis] != l->channels) {
        m->odd = true;
        return;
    }
    size_t outer = 1, inner = 1, channels = (size_t)l->channels;
    for (uint32_t d = 0; d < l->axis; d++) outer *= (size_t)v->dims[d];
    for (uint32_t d = l->axis + 1; d < v->rank; d++) inner *= (size_t)v->dims[d];
    for (size_t o = 0; o < outer; o++)
        for (size_t c = 0; c < channels; c++) {
            const float *from = x + (o * channels + c) * inner;
            double       s = 0;
            for (size_t i = 0; i < inner; i++) s += (double)from[i];
            m->sum[name][c] += s;
        }
    m->count[name] += outer * inner;
}

static hone_code measure(const hone_static_run *r, const char *path, const hone_static_layer *layers, size_t n, hone_arena *a, means *out, hone_err *err)
{
    const char **names = HONE_ARENA_NEW(a, const char *, n);
    *out = (means){ .layers = layers, .sum = HONE_ARENA_NEW(a, double *, n), .count = HONE_ARENA_NEW(a, uint64_t, n) };
    if (!names || !out->sum || !out->count) return HONE_NOMEM(err, "means");
    for (size_t i = 0; i < n; i++) {
        names[i] = layers[i].output;
        if (!(out->sum[i] = HONE_ARENA_NEW(a, double, layers[i].channels))) return HONE_NOMEM(err, "means");
    }
    HONE_TRY(hone_static_walk(r, path, names, n, "samples", add, out, err));
    return out->odd ? HONE_FAIL(err, HONE_ERUNTIME, "leave the correction away", "a layer's output has other channels than its weights") : HONE_OK;
}

hone_code hone_static_correct(hone_static_run *r, hone_err *err)
{
    hone_arena         a = { 0 };
    size_t             n = 0, all = r->plan.n_layers, *at = HONE_ARENA_NEW(&r->a, size_t, all + 1);
    hone_static_layer *layers = HONE_ARENA_NEW(&r->a, hone_static_layer, all + 1);
    means              before, after;
    r->shift = HONE_ARENA_NEW(&r->a, double *, all + 1);
    if (!layers || !r->shift || !at) return HONE_NOMEM(err, "corrections");
    for (size_t i = 0; i < all; i++) {
        if (!r->plan.layers[i].can_correct) continue;
        at[n] = i;
        layers[n++] = r->plan.layers[i];
    }
    if (n == 0) return HONE_OK;
    size_t step = (n + WALKS - 1) / WALKS;
    hone_event_step(r->ctx, "correcting the biases of %zu layers", n);
    hone_code code = measure(r, r->float_path, layers, n, &a, &before, err);
    for (size_t i = 0; code == HONE_OK && i < n; i += step) {
        size_t k = n - i < step ? n - i : step;
        code = hone_static_write(r, err);
        if (code == HONE_OK) code = measure(r, r->int8_path, layers + i, k, &a, &after, err);
        for (size_t j = 0; code == HONE_OK && j < k; j++) {
            double *shift = HONE_ARENA_NEW(&r->a, double, layers[i + j].channels);
            if (!shift) code = HONE_NOMEM(err, "corrections");
            for (uint64_t c = 0; shift && after.count[j] && before.count[i + j] && c < layers[i + j].channels; c++)
                shift[c] = before.sum[i + j][c] / (double)before.count[i + j] - after.sum[j][c] / (double)after.count[j];
            r->shift[at[i + j]] = shift;
        }
    }
    hone_arena_release(&a);
    return code;
}
