/* recipe.c - what a static quantisation found out, as JSON, and the quantisation again from that: no samples, no runtime. */
#include "base/tree.h"
#include "flow/net/static/run.h"

/* ---- to JSON ---- */

static const char *const activations[2][2] = { { "u8", "u8-sym" }, { "s8", "s8-sym" } }; /* as --activations has it */

static json_t *globs(const hone_static_options *o, size_t from, size_t to)
{
    json_t *list = json_array();
    for (size_t i = from; list && i < to; i++)
        if (json_array_append_new(list, json_string(o->exclude[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static json_t *ranges_json(const hone_static_run *r)
{
    json_t *list = json_array();
    bool    good = list != NULL;
    for (size_t i = 0; good && i < r->n_ranges; i++) {
        const hone_static_range *x = &r->ranges[i];
        good = json_array_append_new(list, json_pack("{s:s,s:o,s:o}", "value", x->value, "low", hone_json_real((double)x->lo), "high", hone_json_real((double)x->hi))) == 0;
    }
    if (good) return list;
    json_decref(list);
    return NULL;
}

static json_t *shift_json(const hone_static_layer *l, const double *shift)
{
    json_t *add = json_array(), *o = NULL;
    bool    good = add != NULL;
    for (uint64_t i = 0; good && i < l->channels; i++) good = json_array_append_new(add, hone_json_real(shift[i])) == 0;
    if (good) o = json_pack("{s:s,s:O}", "layer", l->node, "add", add);
    json_decref(add);
    return o;
}

static json_t *shifts_json(const hone_static_run *r)
{
    json_t *list = json_array();
    bool    good = list != NULL;
    for (size_t i = 0; good && r->shift && i < r->plan.n_layers; i++)
        if (r->shift[i]) good = json_array_append_new(list, shift_json(&r->plan.layers[i], r->shift[i])) == 0;
    if (good) return list;
    json_decref(list);
    return NULL;
}

/* Where it all came from: for people, and for who wants to calibrate again. */
static json_t *origin_json(const hone_static_run *r, const char *sha256)
{
    const hone_static_how *h = r->how;
    const hone_image_how  *im = &h->image;
    json_t *o = json_pack("{s:s,s:I,s:s,s:b}", "sha256", sha256, "samples", (json_int_t)r->samples, "calibrator", hone_range_name(h->method), "bias_correction", h->correct_bias);
    bool    good = o != NULL;
    if (good && h->method == HONE_RANGE_PERCENTILE) good = hone_json_put(o, "percentile", hone_json_real(h->percentile > 0 ? h->percentile : 0.9999));
    if (good && h->smooth) good = hone_json_put(o, "smooth_alpha", hone_json_real(h->smooth_alpha));
    if (good && r->pictures)
        good = hone_json_put(o, "images", json_pack("{s:s,s:i,s:i,s:[f,f,f],s:[f,f,f]}", "layout", im->channels_last ? "nhwc" : "nchw", "width", (int)im->width, "height",
                                                    (int)im->height, "mean", (double)im->mean[0], (double)im->mean[1], (double)im->mean[2], "std", (double)im->std[0],
                                                    (double)im->std[1], (double)im->std[2]));
    if (good) return o;
    json_decref(o);
    return NULL;
}

static bool put_accuracy(json_t *doc, const hone_static_run *r, hone_code *code, hone_err *err)
{
    char hex[65];
    if (!r->how->accuracy) return true;
    *code = hone_sha256_tree(r->how->accuracy, hex, err);
    return *code == HONE_OK && hone_json_put(doc, "accuracy", json_pack("{s:s,s:f}", "sha256", hex, "max_drop", r->how->max_drop)) &&
           hone_json_put(doc, "put_back", globs(&r->codes, r->how->codes.n_exclude, r->codes.n_exclude));
}

hone_code hone_static_recipe(const hone_static_run *r, json_t **out, hone_err *err)
{
    const hone_static_options *o = &r->codes;
    char                       hex[65];
    HONE_TRY(hone_sha256_tree(r->how->calibration, hex, err));
    hone_code code = HONE_OK;
    json_t   *doc = json_object();
    bool      good = doc && hone_json_put(doc, "activations", json_string(activations[o->signed_codes][o->sym])) &&
                hone_json_put(doc, "weight_max", json_integer((json_int_t)o->weight_max)) && (!o->per_tensor || hone_json_put(doc, "per_tensor", json_true())) &&
                hone_json_put(doc, "exclude", globs(o, 0, r->how->codes.n_exclude)) && hone_json_put(doc, "ranges", ranges_json(r)) &&
                hone_json_put(doc, "bias", shifts_json(r)) && hone_json_put(doc, "calibration", origin_json(r, hex)) && (!r->smooth || hone_json_put(doc, "smooth", json_incref(r->smooth))) &&
                put_accuracy(doc, r, &code, err);
    if (good) *out = doc;
    else json_decref(doc);
    return good ? HONE_OK : code != HONE_OK ? code : HONE_NOMEM(err, "a recipe");
}

/* ---- and back ---- */

static hone_code broken(const char *key, hone_err *err) { return HONE_FAIL(err, HONE_EINPUT, "", "the recipe's static.%s is not what it should be", key); }

/* Globs of the user's and layers put back are the same to who quantises. */
static hone_code read_globs(const json_t *doc, hone_arena *a, hone_static_options *o, hone_err *err)
{
    static const char *const keys[] = { "exclude", "put_back" };
    size_t                   n = json_array_size(json_object_get(doc, keys[0])) + json_array_size(json_object_get(doc, keys[1]));
    const char             **list = HONE_ARENA_NEW(a, const char *, n + 1);
    if (!list) return HONE_NOMEM(err, "a recipe");
    for (size_t k = 0; k < HONE_COUNT(keys); k++) {
        size_t  i;
        json_t *v;
        json_array_foreach(json_object_get(doc, keys[k]), i, v)
            if (!(list[o->n_exclude++] = json_string_value(v))) return broken(keys[k], err);
    }
    o->exclude = list;
    return HONE_OK;
}

static hone_code read_codes(const json_t *doc, hone_arena *a, hone_static_options *o, hone_err *err)
{
    const char *said = NULL;
    bool        found = false;
    HONE_TRY(hone_json_str(doc, "activations", &said, err));
    for (int s = 0; said && s < 2; s++)
        for (int m = 0; m < 2; m++)
            if (strcmp(said, activations[s][m]) == 0) {
                o->signed_codes = s;
                o->sym = m;
                found = true;
            }
    if (!found) return broken("activations", err);
    HONE_TRY(hone_json_need_u32(doc, "weight_max", &o->weight_max, err));
    if (o->weight_max != 127 && o->weight_max != 63) return broken("weight_max", err);
    HONE_TRY(hone_json_bool(doc, "per_tensor", &o->per_tensor, err));
    return read_globs(doc, a, o, err);
}

static hone_code read_ranges(const json_t *doc, hone_arena *a, hone_static_range **out, size_t *n, hone_err *err)
{
    const json_t      *list = json_object_get(doc, "ranges");
    hone_static_range *r = HONE_ARENA_NEW(a, hone_static_range, json_array_size(list) + 1);
    if (!r) return HONE_NOMEM(err, "a recipe");
    if (!json_is_array(list)) return broken("ranges", err);
    for (*n = 0; *n < json_array_size(list); (*n)++) {
        const json_t *x = json_array_get(list, *n), *lo = json_object_get(x, "low"), *hi = json_object_get(x, "high");
        r[*n] = (hone_static_range){ json_string_value(json_object_get(x, "value")), (float)json_number_value(lo), (float)json_number_value(hi) };
        if (!r[*n].value || !json_is_number(lo) || !json_is_number(hi) || !(r[*n].lo <= 0 && r[*n].hi >= 0)) return broken("ranges", err);
    }
    *out = r;
    return HONE_OK;
}

static const hone_static_layer *find_layer(const hone_static_plan *p, const char *node)
{
    for (size_t i = 0; node && i < p->n_layers; i++)
        if (strcmp(p->layers[i].node, node) == 0) return &p->layers[i];
    return NULL;
}

/* plan: of everything that could be quantised, so that layers put back are in it; a correction must have the channels of its layer. */
static hone_code read_shifts(const json_t *doc, const hone_static_plan *p, hone_arena *a, hone_static_shift **out, size_t *n, hone_err *err)
{
    const json_t      *list = json_object_get(doc, "bias");
    hone_static_shift *s = HONE_ARENA_NEW(a, hone_static_shift, json_array_size(list) + 1);
    if (!s) return HONE_NOMEM(err, "a recipe");
    for (*n = 0; *n < json_array_size(list); (*n)++) {
        const json_t            *x = json_array_get(list, *n), *add = json_object_get(x, "add");
        const hone_static_layer *l = find_layer(p, json_string_value(json_object_get(x, "layer")));
        size_t                   channels = json_array_size(add);
        if (!l || l->channels != channels) return broken("bias", err);
        double *v = HONE_ARENA_NEW(a, double, channels + 1);
        if (!v) return HONE_NOMEM(err, "a recipe");
        for (size_t i = 0; i < channels; i++) {
            if (!json_is_number(json_array_get(add, i))) return broken("bias", err);
            v[i] = json_number_value(json_array_get(add, i));
        }
        s[*n] = (hone_static_shift){ l->output, v };
    }
    *out = s;
    return HONE_OK;
}

static hone_code apply(hone_net *net, const json_t *doc, hone_arena *a, hone_err *err)
{
    hone_static_options codes = { 0 }, all;
    hone_static_plan    plan;
    hone_static_range  *ranges = NULL;
    hone_static_shift  *shifts = NULL;
    size_t              n_ranges = 0, n_shifts = 0;
    HONE_TRY(read_codes(doc, a, &codes, err));
    HONE_TRY(read_ranges(doc, a, &ranges, &n_ranges, err));
    all = codes;
    all.n_exclude = json_array_size(json_object_get(doc, "exclude")); /* they come first */
    HONE_TRY(hone_static_plan_make(net, &all, &plan, err));
    HONE_TRY(read_shifts(doc, &plan, a, &shifts, &n_shifts, err));
    return hone_static_apply(net, &codes, ranges, n_ranges, shifts, n_shifts, err);
}

hone_code hone_net_static_again(const char *path, const json_t *known, bool no_fold, hone_net *out, hone_err *err)
{
    hone_arena a = { 0 };
    HONE_TRY(hone_static_open_float(path, no_fold, out, err));
    const json_t *smooth = json_object_get(known, "smooth");
    hone_code     code = smooth ? hone_net_smooth_again(out, smooth, err) : HONE_OK;
    if (code == HONE_OK) code = apply(out, known, &a, err);
    if (code != HONE_OK) hone_net_close(out);
    hone_arena_release(&a);
    return code;
}
