/* wide.c - which values of a network f16 has no room for, by running the float model over samples. */
#include "flow/net/static/run.h"
#include "formats/onnx/net.h"
#include "passes/net_fold.h"
#include <math.h>

/* Half of the largest f16: what comes in the field goes beyond what the samples have. */
static const float ROOM = 65504.0f / 2;

typedef struct largest { float *of; } largest; /* magnitude, by value */

static void see(void *user, size_t name, const float *x, uint64_t samples, size_t per_sample, const hone_backend_value *v)
{
    largest *l = user;
    (void)v;
    for (size_t i = 0; i < samples * per_sample; i++) {
        float a = fabsf(x[i]);
        if (isfinite(a) && a > l->of[name]) l->of[name] = a; /* what is infinite in f32 is no worse in f16 */
    }
}

hone_code hone_static_open_folded(hone_static_run *r, hone_err *err)
{
    hone_net_folded folded;
    HONE_TRY(hone_onnx_net_open(r->path, &r->net, err));
    (void)hone_net_demote_inputs(&r->net);
    if (!r->how->no_fold) HONE_TRY(hone_net_fold(&r->net, &folded, err));
    return hone_net_infer(&r->net, err);
}

/* All values of f32 that a node makes or that come in. */
static hone_code list_values(hone_static_run *r, const char ***out, size_t *n, hone_err *err)
{
    size_t       most = r->net.n_inputs + 1;
    const char **names;
    for (const hone_net_node *k = r->net.first; k; k = k->next) most += k->n_out;
    if (!(names = HONE_ARENA_NEW(&r->a, const char *, most))) return HONE_NOMEM(err, "names");
    for (size_t i = 0; i < r->net.n_inputs; i++)
        if (r->net.inputs[i]->type == HONE_NET_F32 && !r->net.inputs[i]->tensor) names[(*n)++] = r->net.inputs[i]->name;
    for (const hone_net_node *k = r->net.first; k; k = k->next)
        for (uint32_t i = 0; i < k->n_out && !hone_net_is_op(k, "Constant"); i++)
            if (k->out[i] && k->out[i]->type == HONE_NET_F32) names[(*n)++] = k->out[i]->name;
    *out = names;
    return HONE_OK;
}

static hone_code measure(hone_static_run *r, json_t **out, hone_err *err)
{
    const char **names = NULL;
    size_t       n = 0;
    HONE_TRY(hone_static_open_folded(r, err));
    HONE_TRY(hone_static_start(r, err));
    HONE_TRY(list_values(r, &names, &n, err));
    largest l = { .of = HONE_ARENA_NEW(&r->a, float, n + 1) };
    if (!l.of) return HONE_NOMEM(err, "magnitudes");
    hone_event_step(r->ctx, "looking for values beyond f16 on %llu samples", (unsigned long long)r->samples);
    HONE_TRY(hone_static_walk(r, r->float_path, names, n, "samples", see, &l, err));
    json_t *list = json_array();
    bool    good = list != NULL;
    for (size_t i = 0; good && i < n; i++)
        if (l.of[i] > ROOM) good = json_array_append_new(list, json_string(names[i])) == 0;
    if (good) *out = list;
    else json_decref(list);
    return good ? HONE_OK : HONE_NOMEM(err, "values beyond f16");
}

hone_code hone_net_wide(const hone_ctx *ctx, const char *path, const hone_static_how *how, json_t **out, hone_err *err)
{
    hone_static_run r = { .ctx = ctx, .how = how, .path = path };
    hone_code       code = measure(&r, out, err);
    hone_static_end(&r);
    return code;
}
