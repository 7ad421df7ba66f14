/* aware.c - accuracy first: layers go back to floats, the one whose return brings most first, until the accuracy gate holds on labelled samples.
 * As NNCF's quantize_with_accuracy_control: ranked once, each by itself, then put back together one by one. */
#include "flow/net/static/run.h"
#include <math.h>
#include <stdlib.h>

enum { RANK_SAMPLES = 300 };

typedef struct ranked { const char *node; double square; } ranked; /* mean square difference from the float model when it alone is put back */

static hone_code score(const hone_static_run *r, const char *path, bool compared, hone_network_scores *out, hone_err *err)
{
    const hone_network_eval e = { .artefact = path, .how = { .backend = "onnxruntime", .threads = 1 /* which layers go back must not depend on it */ }, .reference = compared ? r->float_path : NULL,
                                  .data = r->how->accuracy, .image = r->how->image, .max_samples = compared ? RANK_SAMPLES : 0 };
    return hone_network_score(r->ctx, &e, out, err);
}

/* The name as a glob that matches itself only. */
static const char *literal(hone_arena *a, const char *name)
{
    char *out = hone_arena_alloc(a, 2 * strlen(name) + 1), *p = out;
    if (!out) return NULL;
    for (; *name; name++) {
        if (strchr("*?[]\\", *name)) *p++ = '\\';
        *p++ = *name;
    }
    return out;
}

static hone_code exclude(hone_static_run *r, const char **list, size_t n, const char *node, hone_err *err)
{
    if (!(list[n] = literal(&r->a, node))) return HONE_NOMEM(err, "names");
    r->codes.exclude = list;
    r->codes.n_exclude = n + 1;
    return HONE_OK;
}

static int by_square(const void *x, const void *y)
{
    const ranked *a = x, *b = y;
    return a->square < b->square ? -1 : a->square > b->square ? 1 : strcmp(a->node, b->node);
}

static hone_code rank(hone_static_run *r, const char **list, size_t given, ranked *out, hone_err *err)
{
    hone_event_step(r->ctx, "finding the layers that cost most accuracy, %zu of them", r->plan.n_layers);
    for (size_t i = 0; i < r->plan.n_layers; i++) {
        hone_network_scores s;
        out[i].node = r->plan.layers[i].node;
        HONE_TRY(exclude(r, list, given, out[i].node, err));
        out[i].square = INFINITY;
        if (r->plan.n_layers > 1) {
            HONE_TRY(hone_static_write(r, err));
            HONE_TRY(score(r, r->int8_path, true, &s, err));
            if (hone_metric_known(&s.mean_square)) out[i].square = s.mean_square.value;
        }
        hone_event_progress(r->ctx, "layers", i + 1, r->plan.n_layers);
    }
    qsort(out, r->plan.n_layers, sizeof *out, by_square);
    return HONE_OK;
}

static json_t *outcome(const hone_network_scores *f, const hone_network_scores *q, double max_drop, const ranked *order, size_t n_back)
{
    json_t *back = json_array(), *doc = NULL;
    bool    good = back != NULL;
    for (size_t i = 0; good && i < n_back; i++) good = json_array_append_new(back, json_string(order[i].node)) == 0;
    if (good)
        doc = json_pack("{s:f,s:f,s:f,s:I,s:O}", "float", f->accuracy.value, "int8", q->accuracy.value, "max_drop", max_drop, "samples", (json_int_t)q->samples, "put_back", back);
    json_decref(back);
    return doc;
}

hone_code hone_static_put_back(hone_static_run *r, json_t **doc, hone_err *err)
{
    size_t              given = r->codes.n_exclude, back = 0, n = r->plan.n_layers;
    const char        **list = HONE_ARENA_NEW(&r->a, const char *, given + n + 1);
    ranked             *order = HONE_ARENA_NEW(&r->a, ranked, n);
    hone_network_scores f, q;
    if (!list || !order) return HONE_NOMEM(err, "a ranking of layers");
    for (size_t i = 0; i < given; i++) list[i] = r->codes.exclude[i];
    HONE_TRY(score(r, r->float_path, false, &f, err));
    if (!hone_metric_known(&f.accuracy)) return HONE_FAIL(err, HONE_EINPUT, "add an int64 array 'labels'", "'%s' has no labels to judge accuracy by", r->how->accuracy);
    HONE_TRY(hone_static_write(r, err));
    HONE_TRY(score(r, r->int8_path, false, &q, err));
    if (f.accuracy.value - q.accuracy.value > r->how->max_drop) {
        HONE_TRY(rank(r, list, given, order, err));
        r->codes.n_exclude = given;
    }
    while (f.accuracy.value - q.accuracy.value > r->how->max_drop) {
        if (back + 1 >= n)
            return HONE_FAIL(err, HONE_ENO, "give more or better calibration samples, or a larger --max-drop", "with all but one layer put back the accuracy is %.4f, the float model's %.4f",
                             q.accuracy.value, f.accuracy.value);
        HONE_TRY(exclude(r, list, given + back, order[back].node, err));
        back++;
        HONE_TRY(hone_static_write(r, err));
        HONE_TRY(score(r, r->int8_path, false, &q, err));
        hone_event_note(r->ctx, "with %zu layers put back: accuracy %.4f, float %.4f", back, q.accuracy.value, f.accuracy.value);
    }
    *doc = outcome(&f, &q, r->how->max_drop, order, back);
    return *doc ? HONE_OK : HONE_NOMEM(err, "the report");
}
