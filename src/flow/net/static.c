#include "flow/net/static.h"
#include "base/file.h"
#include "flow/net/static/run.h"
#include "formats/onnx/net.h"
#include "passes/net_fold.h"
#include "passes/net_quant.h"
#include <stdio.h>
#include <stdlib.h>

/* --- a folder of our own ------------------------------------------------------------------------------------------------- */
static hone_code make_dir(hone_static_run *r, hone_err *err)
{
    HONE_TRY(hone_temp_open(NULL, "hone-static-", &r->dir, err));
    (void)snprintf(r->float_path, sizeof r->float_path, "%s/float.onnx", r->dir.path);
    (void)snprintf(r->int8_path, sizeof r->int8_path, "%s/int8.onnx", r->dir.path);
    return HONE_OK;
}

/* --- the networks ---------------------------------------------------------------------------------------------------------- */
hone_code hone_static_open_float(const char *path, bool no_fold, hone_net *out, hone_err *err)
{
    HONE_TRY(hone_onnx_net_open(path, out, err));
    hone_net_folded folded;
    (void)hone_net_demote_inputs(out);
    hone_code code = no_fold ? HONE_OK : hone_net_fold(out, &folded, err);
    if (code == HONE_OK) code = hone_net_infer(out, err);
    /* QuantizeLinear came with opset 10, its scales per channel with 13: older models are rewritten to what they mean there, or refused by node; those of 10
     * to 12 that cannot be have one scale a weight (passes/net_static.h). */
    hone_err why = { 0 };
    if (code == HONE_OK) code = hone_net_raise(out, 13, &why);
    if (code == HONE_EUNSUPPORTED && hone_net_opset_of(out, "") >= 10) code = HONE_OK;
    else if (code != HONE_OK && why.code && err) *err = why;
    if (code == HONE_OK) code = hone_net_infer(out, err);
    if (code != HONE_OK) hone_net_close(out);
    return code;
}

static hone_code write_net(const hone_static_run *r, const hone_net *net, const char *file, hone_err *err)
{
    hone_onnx_net_written w;
    return hone_onnx_net_write(r->ctx, net, r->dir.path, file, HONE_ONNX_INLINE_MAX, &w, err);
}

hone_code hone_static_build(const hone_static_run *r, hone_net *out, hone_err *err)
{
    size_t             n = 0;
    hone_static_shift *shifts = calloc(r->plan.n_layers + 1, sizeof *shifts);
    if (!shifts) return HONE_NOMEM(err, "corrections");
    for (size_t i = 0; r->shift && i < r->plan.n_layers; i++)
        if (r->shift[i]) shifts[n++] = (hone_static_shift){ r->plan.layers[i].output, r->shift[i] };
    hone_code code = hone_static_open_float(r->path, r->how->no_fold, out, err);
    if (code == HONE_OK) {
        if (r->smooth) code = hone_net_smooth_again(out, r->smooth, err);
        if (code == HONE_OK) code = hone_static_apply(out, &r->codes, r->ranges, r->n_ranges, shifts, n, err);
        if (code != HONE_OK) hone_net_close(out);
    }
    free(shifts);
    return code;
}

hone_code hone_static_write(const hone_static_run *r, hone_err *err)
{
    hone_net  net;
    HONE_TRY(hone_static_build(r, &net, err));
    hone_code code = write_net(r, &net, "int8.onnx", err);
    hone_net_close(&net);
    return code;
}

/* --- running with values shown ----------------------------------------------------------------------------------------------- */
typedef struct watch {
    const char *const *names;
    size_t             n;
    uint64_t           count; /* samples of this batch */
    hone_static_see    see;
    void              *user;
    float             *x;
    size_t             cap;
    bool               full;
} watch;

static void look(void *user, const hone_backend_value *v)
{
    watch *w = user;
    size_t at = 0, n = hone_value_elems(v);
    while (at < w->n && strcmp(w->names[at], v->name) != 0) at++;
    if (at == w->n || n == 0 || w->full) return;
    if (n > w->cap) {
        free(w->x);
        w->x = malloc(n * sizeof *w->x);
        w->cap = w->x ? n : 0;
        w->full = !w->x;
    }
    if (w->full || !hone_value_floats(v, w->x, n)) return;
    bool by_sample = v->rank > 0 && v->dims[0] == (int64_t)w->count;
    w->see(w->user, at, w->x, by_sample ? w->count : 1, by_sample ? n / (size_t)w->count : n, v);
}

/* What goes into the network is among the samples already. */
static hone_code look_at_inputs(const hone_static_run *r, const hone_network *net, const hone_feed *f, uint64_t first, uint64_t count, watch *w, hone_err *err)
{
    for (size_t i = 0; i < net->sig.n_in; i++) {
        const hone_samples_array *from = f->from[i];
        hone_backend_value        v = { .name = net->sig.in[i].name, .type = from->type, .rank = from->rank };
        size_t                    bytes = (size_t)(from->sample_bytes * count);
        void                     *room = malloc(bytes + 1);
        if (!room) return HONE_NOMEM(err, "a batch of samples");
        hone_code code = hone_samples_read(&r->data, from, first, count, room, err);
        memcpy(v.dims, from->dims, sizeof v.dims);
        v.dims[0] = (int64_t)count;
        v.data = room;
        v.bytes = bytes;
        if (code == HONE_OK) look(w, &v);
        free(room);
        HONE_TRY(code);
    }
    return HONE_OK;
}

/* How many samples at once, so that all values that are shown take a quarter of a gigabyte or less. */
static uint64_t batch_for(const hone_static_run *r, const char *const *names, size_t n)
{
    uint64_t bytes = 1;
    for (size_t i = 0; i < n; i++) {
        const hone_net_value *v = hone_net_find(&r->net, names[i]);
        if (v) bytes += 4 * hone_net_elems(v, 1);
    }
    uint64_t batch = (256u << 20) / bytes;
    return batch > 32 ? 32 : batch ? batch : 1;
}

hone_code hone_static_walk(const hone_static_run *r, const char *path, const char *const *names, size_t n_names, const char *what, hone_static_see see, void *user,
                           hone_err *err)
{
    hone_arena   a = { 0 };
    hone_network net = { 0 };
    hone_feed    feed;
    watch        w = { .names = names, .n = n_names, .see = see, .user = user };
    const char **inner = HONE_ARENA_NEW(&a, const char *, n_names + 1);
    size_t       n_inner = 0;
    if (!inner) return HONE_NOMEM(err, "names");
    for (size_t i = 0; i < n_names; i++) {
        const hone_net_value *v = hone_net_find(&r->net, names[i]);
        if (v && !v->input && !v->output) inner[n_inner++] = names[i];
    }
    /* One thread: with several, sums come in another order and ranges and biases depend on their number. */
    hone_network_how how = { .backend = "onnxruntime", .threads = 1, .outputs = inner, .n_outputs = n_inner };
    hone_code        code = hone_network_open(r->ctx, path, &how, &net, err);
    if (code == HONE_OK) code = hone_feed_make(&net, &r->data, batch_for(r, names, n_names), &a, &feed, err);
    for (uint64_t at = 0; code == HONE_OK && at < r->samples; at += feed.batch) {
        w.count = r->samples - at < feed.batch ? r->samples - at : feed.batch;
        code = look_at_inputs(r, &net, &feed, at, w.count, &w, err);
        if (code == HONE_OK) code = hone_network_run(&net, &r->data, &feed, at, w.count, look, &w, NULL, err);
        if (code == HONE_OK && w.full) code = HONE_NOMEM(err, "values of a network");
        hone_event_progress(r->ctx, what, at + w.count, r->samples);
    }
    free(w.x);
    hone_network_close(&net);
    hone_arena_release(&a);
    return code;
}

/* --- all of it ------------------------------------------------------------------------------------------------------------------ */
static hone_code open_samples(hone_static_run *r, hone_err *err)
{
    hone_network   net = { 0 };
    hone_image_how image = r->how->image;
    HONE_TRY(hone_network_open(r->ctx, r->float_path, &(hone_network_how){ .backend = "onnxruntime" }, &net, err));
    r->pictures = hone_network_image(&net, &image);
    hone_code code = hone_samples_open(r->how->calibration, r->pictures ? &image : NULL, &r->a, &r->data, err);
    hone_network_close(&net);
    if (code == HONE_OK) r->samples = r->how->max_samples && r->how->max_samples < r->data.n ? r->how->max_samples : r->data.n;
    return code;
}

hone_code hone_static_start(hone_static_run *r, hone_err *err)
{
    HONE_TRY(make_dir(r, err));
    HONE_TRY(write_net(r, &r->net, "float.onnx", err));
    return open_samples(r, err);
}

void hone_static_end(hone_static_run *r)
{
    json_decref(r->smooth);
    json_decref(r->smooth_report);
    hone_samples_close(&r->data);
    hone_net_close(&r->net);
    hone_temp_close(&r->dir);
    hone_arena_release(&r->a);
}

/* What is smoothed is the float model from then on: ranges, corrections and what the accuracy gate compares with are its. */
static hone_code prepare(hone_static_run *r, hone_err *err)
{
    HONE_TRY(hone_static_open_float(r->path, r->how->no_fold, &r->net, err));
    HONE_TRY(hone_static_plan_make(&r->net, &r->codes, &r->plan, err));
    HONE_TRY(hone_static_start(r, err));
    if (!r->how->smooth) return HONE_OK;
    HONE_TRY(hone_static_smooth(r, err));
    return json_array_size(r->smooth) ? write_net(r, &r->net, "float.onnx", err) : HONE_OK;
}

/* Runtimes refuse some graphs that are right, or fall over them: that is found before anything is made of the ranges. */
static hone_code try_it(const hone_static_run *r, hone_err *err)
{
    hone_network net = { 0 };
    hone_err     why = { 0 };
    HONE_TRY(hone_static_write(r, err));
    hone_code code = hone_network_open(r->ctx, r->int8_path, &(hone_network_how){ .backend = "onnxruntime", .threads = hone_ctx_threads(r->ctx) }, &net, &why);
    hone_network_close(&net);
    if (code == HONE_OK || hone_ctx_cancelled(r->ctx)) return code == HONE_OK ? HONE_OK : HONE_INTERRUPTED(err);
    if (code == HONE_ERESOURCE && err) *err = why;
    if (code == HONE_ERESOURCE) return code;
    return HONE_FAIL(err, HONE_EUNSUPPORTED, r->codes.signed_codes ? "take --activations u8, or leave layers out with --exclude" : "leave layers out with --exclude",
                     "ONNX Runtime does not load what static int8 makes of the model: %.160s", why.cause);
}

static json_t *range_json(const hone_static_run *r, size_t i)
{
    const hone_range_seen *s = &r->seen[i];
    return json_pack("{s:s,s:o,s:o,s:o,s:o}", "value", r->ranges[i].value, "low", hone_json_real((double)r->ranges[i].lo), "high",
                     hone_json_real((double)r->ranges[i].hi), "seen_low", s->n ? hone_json_real((double)s->lo) : json_null(), "seen_high",
                     s->n ? hone_json_real((double)s->hi) : json_null());
}

static json_t *report_of(const hone_static_run *r, json_t *aware)
{
    json_t *ranges = json_array(), *left = json_array(), *doc = json_object();
    size_t  corrected = 0;
    bool    good = ranges && left && doc;
    for (size_t i = 0; good && i < r->plan.n_left; i++) good = json_array_append_new(left, json_string(r->plan.left[i])) == 0;
    for (size_t i = 0; good && i < r->plan.n_values; i++) good = json_array_append_new(ranges, range_json(r, i)) == 0;
    for (size_t i = 0; r->shift && i < r->plan.n_layers; i++) corrected += r->shift[i] != NULL;
    good = good && hone_json_put(doc, "calibration", json_string(r->how->calibration)) && hone_json_put(doc, "samples", json_integer((json_int_t)r->samples)) &&
           hone_json_put(doc, "calibrator", json_string(hone_range_name(r->how->method))) && hone_json_put(doc, "layers", json_integer((json_int_t)r->plan.n_layers)) &&
           hone_json_put(doc, "other_operators", json_integer((json_int_t)r->plan.n_other)) && hone_json_put(doc, "biases_corrected", json_integer((json_int_t)corrected)) &&
           hone_json_put(doc, "weights", json_string(r->codes.per_tensor || hone_net_opset_of(&r->net, "") < 13 ? "int8, one scale" : "int8, a scale per channel")) &&
           hone_json_put(doc, "activations", json_string(r->codes.signed_codes ? "int8" : "uint8")) && hone_json_put(doc, "ranges", json_incref(ranges)) && hone_json_put(doc, "left", json_incref(left)) &&
           hone_json_put(doc, "accuracy", aware ? json_incref(aware) : json_null()) && (!r->smooth || hone_json_put(doc, "smooth", json_incref(r->smooth_report)));
    json_decref(ranges);
    json_decref(left);
    if (good) return doc;
    json_decref(doc);
    return NULL;
}

hone_code hone_net_static(const hone_ctx *ctx, const char *path, const hone_static_how *how, hone_net *out, json_t **report, json_t **known, hone_err *err)
{
    hone_static_run r = { .ctx = ctx, .how = how, .path = path, .codes = how->codes };
    json_t         *aware = NULL, *doc = NULL, *recipe = NULL;
    hone_net        net;
    if (!how->calibration) return HONE_FAIL(err, HONE_EUSAGE, "add --calibration FILE", "static int8 needs samples to learn the ranges of activations from");
    if (r.codes.weight_max == 0) r.codes.weight_max = 127;
    hone_code code = prepare(&r, err);
    if (code == HONE_OK) code = hone_static_calibrate(&r, err);
    if (code == HONE_OK) code = try_it(&r, err);
    if (code == HONE_OK && how->correct_bias) code = hone_static_correct(&r, err);
    if (code == HONE_OK && how->accuracy) code = hone_static_put_back(&r, &aware, err);
    if (code == HONE_OK) code = hone_static_build(&r, &net, err);
    if (code == HONE_OK) {
        code = hone_static_recipe(&r, &recipe, err);
        if (code == HONE_OK && !(doc = report_of(&r, aware))) code = HONE_NOMEM(err, "the report");
        if (code != HONE_OK) hone_net_close(&net);
    }
    if (code == HONE_OK) {
        *out = net;
        *report = doc;
        *known = recipe;
    } else json_decref(recipe);
    json_decref(aware);
    hone_static_end(&r);
    return code;
}
