#include "measure/layers.h"
#include "base/file.h"
#include "base/text.h"
#include "measure/check/parts.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IDS = 64, MOST_IDS = 512, MAX_LAYERS = 4096 };

typedef struct seen { /* what one runtime showed */
    float   *values; /* [n_layers, n, width], owned, grown layer by layer */
    size_t   n, width, room;
    uint32_t n_layers;
    hone_err err;
} seen;

static void on_layer(void *user, uint32_t layer, const float *values, size_t n, size_t width)
{
    seen *s = user;
    if (s->err.code != HONE_OK) return;
    if (layer != s->n_layers || n != s->n || width == 0 || (s->width && width != s->width) || layer >= MAX_LAYERS) {
        (void)HONE_FAIL(&s->err, HONE_ERUNTIME, "", "layer %u came as %zu x %zu values, expected layer %u with %zu x %zu", layer, n, width, s->n_layers, s->n, s->width);
        return;
    }
    s->width = width;
    if (s->n_layers == s->room) {
        size_t room = s->room ? s->room * 2 : 16;
        float *more = reallocarray(s->values, room, n * width * sizeof *more);
        if (!more) {
            (void)HONE_NOMEM(&s->err, "the layers");
            return;
        }
        s->values = more;
        s->room = room;
    }
    memcpy(s->values + (size_t)layer * n * width, values, n * width * sizeof *values);
    s->n_layers++;
}

static hone_code look(const hone_ctx *ctx, const hone_layers_options *opt, const char *path, const int32_t *ids, seen *s, char *runtime, size_t cap, hone_err *err)
{
    hone_child        c = { 0 };
    hone_backend_open how = { .path = path, .device = opt->device ? opt->device : "cpu", .threads = opt->threads ? opt->threads : 1,
                              .context = s->n < 256 ? 256 : (uint32_t)s->n, .exact = true };
    hone_arena        a = { 0 };
    hone_artefact     x;
    hone_code         code = hone_artefact_open(path, &a, &x, err);
    if (code == HONE_OK) code = hone_artefact_encoder(&x, &how.embeddings, err);
    hone_arena_release(&a);
    HONE_TRY(code);
    hone_event_step(ctx, "layers of %s", path);
    HONE_TRY(hone_child_open(ctx, NULL, &how, &c, err));
    (void)snprintf(runtime, cap, "%s", c.info.runtime);
    code = hone_runner_layers(c.runner, ids, s->n, on_layer, s, err);
    hone_child_close(&c);
    if (code == HONE_OK && s->err.code != HONE_OK) {
        if (err) *err = s->err;
        code = s->err.code;
    }
    if (code == HONE_OK && s->n_layers == 0) code = HONE_FAIL(err, HONE_EUNSUPPORTED, "convert the checkpoint with hone: its files name their layers", "%s showed no layer of it", runtime);
    return code == HONE_OK ? code : hone_err_wrap(err, "'%s'", path);
}

/* The ids that both compute: of a text, or random ones; n of them. */
static hone_code choose_ids(const hone_ctx *ctx, const hone_layers_options *opt, hone_arena *a, int32_t **out, size_t *n, hone_err *err)
{
    hone_child    c = { 0 };
    hone_artefact x;
    hone_facts    f = { 0 };
    bool          known;
    hone_bytes    text;
    HONE_TRY(hone_artefact_open(opt->artefact, a, &x, err));
    HONE_TRY(hone_artefact_facts(&x, a, &f, &known, err));
    *n = opt->n_ids ? opt->n_ids : IDS;
    if (!opt->n_ids && f.window && 2 * f.window > *n) *n = 2 * f.window < MOST_IDS ? 2 * f.window : MOST_IDS;
    if (!opt->n_ids && f.rope.original_context + IDS > *n && f.rope.scaling == HONE_ROPE_SCALE_LONGROPE) *n = f.rope.original_context + IDS < MOST_IDS ? f.rope.original_context + IDS : MOST_IDS;
    if (f.context && *n > f.context) *n = f.context;
    hone_backend_open how = { .path = opt->artefact, .device = "cpu", .threads = 1, .context = 256 };
    HONE_TRY(hone_artefact_encoder(&x, &how.embeddings, err));
    HONE_TRY(hone_child_open(ctx, NULL, &how, &c, err));
    hone_code code = HONE_OK;
    if (!opt->text) {
        *out = HONE_ARENA_NEW(a, int32_t, *n);
        if (!*out) code = HONE_NOMEM(err, "the ids");
        else hone_check_random_ids(*out, *n, c.info.n_vocab);
    } else {
        size_t have = 0;
        code = hone_file_slurp(opt->text, 256u << 20, a, &text, err);
        if (code == HONE_OK) code = hone_child_words(ctx, opt->artefact, &c, err);
        /* Few bytes hold few ids: the head of the text is enough, cut where a character begins. */
        if (code == HONE_OK && text.len > 16 * *n) {
            text.len = 16 * *n;
            while (text.len && (text.ptr[text.len] & 0xc0) == 0x80) text.len--;
        }
        if (code == HONE_OK) code = hone_runner_tokenize(c.words, (const char *)text.ptr, text.len, true, true, a, out, &have, err);
        if (code == HONE_OK && have == 0) code = HONE_FAIL(err, HONE_EINPUT, "give a text that is not empty", "'%s' becomes no token", opt->text);
        if (have < *n) *n = have;
    }
    hone_child_close(&c);
    return code;
}

static void compare_row(const float *ours, const float *theirs, size_t width, double *max_abs, double *diff, double *norm, double *cosine)
{
    double ab = 0, aa = 0, bb = 0, dd = 0;
    for (size_t i = 0; i < width; i++) {
        double x = (double)ours[i], y = (double)theirs[i], d = x - y;
        ab += x * y;
        aa += x * x;
        bb += y * y;
        dd += d * d;
        if (fabs(d) > *max_abs || isnan(d)) *max_abs = isnan(d) ? INFINITY : fabs(d);
    }
    *diff = dd;
    *norm = bb;
    *cosine = aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : aa == bb ? 1 : 0;
}

static double ratio(double diff, double norm) { return norm > 0 ? sqrt(diff / norm) : diff > 0 ? INFINITY : 0; }

static void compare_layers(const seen *ours, const seen *theirs, hone_layers_result *r)
{
    const size_t n = ours->n, width = ours->width;
    for (uint32_t l = 0; l < r->n_layers; l++) {
        hone_layer *y = &r->layers[l];
        double      diff = 0, norm = 0, worst = -1;
        *y = (hone_layer){ .cosine = 1 };
        for (size_t i = 0; i < n; i++) {
            size_t at = ((size_t)l * n + i) * width;
            double d, m, c;
            compare_row(ours->values + at, theirs->values + at, width, &y->max_abs, &d, &m, &c);
            double here = ratio(d, m);
            if (!(here <= worst)) {
                worst = here;
                y->worst = (uint32_t)i;
            }
            if (!(c >= y->cosine)) y->cosine = c;
            r->heat[(size_t)l * n + i] = (float)here;
            diff += d;
            norm += m;
        }
        y->relative = ratio(diff, norm);
    }
}

static void find_parting(hone_layers_result *r)
{
    double most = 0;
    r->parts_at = r->parts_at_position = -1;
    for (uint32_t l = 0; l < r->n_layers; l++) {
        double x = r->layers[l].relative, before = l ? r->layers[l - 1].relative : 0;
        if (r->bound > 0) {
            bool over = !(x <= r->bound);
            for (uint32_t i = 0; !over && i < r->n_ids; i++) over = !((double)r->heat[(size_t)l * r->n_ids + i] <= 10 * r->bound);
            if (over) {
                r->parts_at = (int32_t)l;
                break;
            }
        } else if (x - before > most) {
            most = x - before;
            r->parts_at = (int32_t)l;
        }
    }
    for (uint32_t i = 0; r->bound > 0 && r->parts_at >= 0 && i < r->n_ids; i++)
        if (!((double)r->heat[(size_t)r->parts_at * r->n_ids + i] <= r->bound)) {
            r->parts_at_position = (int32_t)i;
            break;
        }
}

/* What rounding alone explains; measured on the test models: f32 in two runtimes 1e-6 to 1e-5, f16 1e-3, bf16 1e-2 of the norm. */
static hone_code bound_of(const char *path, double *bound, hone_err *err)
{
    static const struct { const char *precision; double bound; } bounds[] = { { "f32", 1e-3 }, { "f16", 2e-2 }, { "bf16", 1e-1 }, { "quantised", 0 } };
    hone_arena    a = { 0 };
    hone_artefact x;
    char          precision[16];
    hone_code     code = hone_artefact_open(path, &a, &x, err);
    if (code == HONE_OK) code = hone_artefact_precision(&x, precision, sizeof precision, err);
    for (size_t i = 0; code == HONE_OK && i < HONE_COUNT(bounds); i++)
        if (strcmp(precision, bounds[i].precision) == 0) *bound = *bound > 0 && bounds[i].bound > 0 ? fmax(*bound, bounds[i].bound) : 0;
    hone_arena_release(&a);
    return code;
}

hone_code hone_layers(const hone_ctx *ctx, const hone_layers_options *opt, hone_arena *a, hone_layers_result *out, hone_err *err)
{
    hone_layers_result r = { .bound = 1e-3 };
    int32_t           *ids = NULL;
    size_t             n = 0;
    HONE_TRY(bound_of(opt->artefact, &r.bound, err));
    HONE_TRY(bound_of(opt->reference, &r.bound, err));
    HONE_TRY(choose_ids(ctx, opt, a, &ids, &n, err));
    seen ours = { .n = n }, theirs = { .n = n };
    (void)snprintf(r.path, sizeof r.path, "%s", opt->artefact);
    (void)snprintf(r.reference_path, sizeof r.reference_path, "%s", opt->reference);
    hone_code code = look(ctx, opt, opt->reference, ids, &theirs, r.reference_runtime, sizeof r.reference_runtime, err);
    if (code == HONE_OK) code = look(ctx, opt, opt->artefact, ids, &ours, r.runtime, sizeof r.runtime, err);
    if (code == HONE_OK && (ours.n_layers != theirs.n_layers || ours.width != theirs.width))
        code = HONE_FAIL(err, HONE_EINPUT, "compare artefacts of one checkpoint", "the artefact shows %u layers of %zu numbers, the reference %u of %zu", ours.n_layers,
                         ours.width, theirs.n_layers, theirs.width);
    if (code == HONE_OK) {
        r.n_layers = ours.n_layers;
        r.n_ids = (uint32_t)n;
        r.n_embd = (uint32_t)ours.width;
        r.layers = HONE_ARENA_NEW(a, hone_layer, r.n_layers);
        r.heat = HONE_ARENA_NEW(a, float, r.n_layers * n);
        if (!r.layers || !r.heat) code = HONE_NOMEM(err, "the layers");
    }
    if (code == HONE_OK) {
        compare_layers(&ours, &theirs, &r);
        find_parting(&r);
        *out = r;
    }
    free(ours.values);
    free(theirs.values);
    return code;
}

json_t *hone_layers_json(const hone_layers_result *r)
{
    json_t *o = json_object(), *layers = json_array();
    bool    good = o && layers && hone_metric_put_text(o, "path", r->path) && hone_metric_put_text(o, "reference", r->reference_path) &&
                hone_metric_put_text(o, "runtime", r->runtime) && hone_metric_put_text(o, "reference_runtime", r->reference_runtime) &&
                hone_json_put(o, "ids", json_integer(r->n_ids)) && hone_json_put(o, "width", json_integer(r->n_embd)) &&
                hone_json_put(o, "bound", r->bound > 0 ? json_real(r->bound) : json_null()) &&
                hone_json_put(o, "parts_at", r->parts_at >= 0 ? json_integer(r->parts_at) : json_null()) &&
                hone_json_put(o, "parts_at_position", r->parts_at_position >= 0 ? json_integer(r->parts_at_position) : json_null());
    for (uint32_t l = 0; good && l < r->n_layers; l++) {
        const hone_layer *y = &r->layers[l];
        json_t           *heat = json_array(), *one = json_object();
        for (uint32_t i = 0; heat && i < r->n_ids; i++)
            if (json_array_append_new(heat, hone_json_real((double)r->heat[(size_t)l * r->n_ids + i])) != 0) good = false;
        good = good && heat && one && hone_json_put(one, "layer", json_integer(l)) && hone_json_put(one, "max_abs", hone_json_real(y->max_abs)) &&
               hone_json_put(one, "relative", hone_json_real(y->relative)) && hone_json_put(one, "cosine", hone_json_real(y->cosine)) &&
               hone_json_put(one, "worst_position", json_integer(y->worst)) && json_object_set(one, "by_position", heat) == 0;
        json_decref(heat);
        if (json_array_append_new(layers, one) != 0) good = false;
    }
    good = good && hone_json_put(o, "layers", json_incref(layers));
    json_decref(layers);
    if (good) return o;
    json_decref(o);
    return NULL;
}
