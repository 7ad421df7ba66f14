#include "cli/networks.h"
#include "base/file.h"
#include "base/text.h"
#include "cli/measured.h"
#include "cli/scored.h"
#include "flow/net.h"
#include "flow/net/optimize.h"
#include "flow/net/page.h"
#include <math.h>
#include <stdlib.h>

/* --- images --------------------------------------------------------------------------------------------------------- */
static hone_code read_channels(hone_cli *c, const char *name, float otherwise, bool positive, float out[3], hone_err *err)
{
    const char *text = hone_cli_text(c, name, NULL);
    size_t      n = 0;
    for (size_t i = 0; i < 3; i++) out[i] = otherwise;
    for (const char *p = text; p && *p;) {
        char  *end = NULL;
        double v = strtod(p, &end);
        if (end == p || n == 3 || (*end && *end != ',') || !isfinite(v) || (positive && !(v > 0)))
            return HONE_FAIL(err, HONE_EUSAGE, "as in .485,.456,.406", "--%s is '%.40s', needs one or three numbers%s", name, text, positive ? " above 0" : "");
        out[n++] = (float)v;
        p = *end ? end + 1 : end;
    }
    if (n == 2) return HONE_FAIL(err, HONE_EUSAGE, "as in .485,.456,.406", "--%s is '%.40s', needs one or three numbers", name, text);
    if (n == 1) out[1] = out[2] = out[0];
    return HONE_OK;
}

hone_code hone_cli_images(hone_cli *c, hone_image_how *out, hone_err *err)
{
    const char    *layout = hone_cli_text(c, "layout", NULL), *size = hone_cli_text(c, "size", NULL);
    hone_image_how how = { .channels_last = layout && strcmp(layout, "nhwc") == 0 };
    HONE_TRY(read_channels(c, "mean", 0, false, how.mean, err));
    HONE_TRY(read_channels(c, "std", 1, true, how.std, err));
    if (size) {
        char *end = NULL;
        how.width = (uint32_t)strtoul(size, &end, 10);
        if (*end == 'x') how.height = (uint32_t)strtoul(end + 1, &end, 10);
        if (*end || how.width == 0 || how.height == 0 || how.width > 16384 || how.height > 16384)
            return HONE_FAIL(err, HONE_EUSAGE, "as in 224x224", "--size is '%.40s', needs WIDTHxHEIGHT", size);
    }
    *out = how;
    return HONE_OK;
}

hone_code hone_cli_static(hone_cli *c, const char *calibration, const char *const *exclude, size_t n_exclude, hone_static_how *out, hone_err *err)
{
    const char     *method = hone_cli_text(c, "calibrator", "minmax"), *codes = hone_cli_text(c, "activations", "u8");
    uint32_t        bits = hone_cli_count(c, "weight-bits", 8);
    hone_static_how how = { .calibration = calibration, .max_samples = hone_cli_count(c, "samples", 0), .percentile = hone_cli_real(c, "percentile", 0.9999),
                            .correct_bias = !hone_cli_has(c, "no-bias-correction"), .accuracy = hone_cli_text(c, "accuracy", NULL), .max_drop = hone_cli_real(c, "max-drop", 0.01) };
    if (!hone_range_find(method, &how.method)) return HONE_FAIL(err, HONE_EUSAGE, "known: minmax average percentile entropy mse", "there is no calibrator '%.40s'", method);
    if (!(how.percentile > 0.5 && how.percentile <= 1)) return HONE_FAIL(err, HONE_EUSAGE, "as in 0.9999", "--percentile is %g, needs a share above 0.5 and up to 1", how.percentile);
    if (!(how.max_drop >= 0 && how.max_drop < 1)) return HONE_FAIL(err, HONE_EUSAGE, "as in 0.01", "--max-drop is %g, needs a share from 0 and below 1", how.max_drop);
    if (hone_cli_has(c, "max-drop") && !how.accuracy) return HONE_FAIL(err, HONE_EUSAGE, "add --accuracy FILE", "--max-drop needs labelled samples to be judged by");
    if (bits != 7 && bits != 8) return HONE_FAIL(err, HONE_EUSAGE, "7 or 8", "--weight-bits is %u", bits);
    how.codes = (hone_static_options){ .per_tensor = hone_cli_has(c, "per-tensor"), .sym = strstr(codes, "sym") != NULL, .signed_codes = codes[0] == 's',
                                       .weight_max = bits == 7 ? 63 : 127, .exclude = exclude, .n_exclude = n_exclude };
    HONE_TRY(hone_cli_images(c, &how.image, err));
    *out = how;
    return HONE_OK;
}

/* Others' language models are ONNX files too: a config.json tells them. */
bool hone_cli_is_network(const char *path)
{
    static const char *const configs[] = { "config.json", "genai_config.json" };
    const char              *slash = strrchr(path, '/');
    char                     beside[4200];
    for (size_t i = 0; i < HONE_COUNT(configs); i++) {
        if (hone_dir_exists(path)) (void)snprintf(beside, sizeof beside, "%s/%s", path, configs[i]);
        else (void)snprintf(beside, sizeof beside, "%.*s/%s", slash ? (int)(slash - path) : 1, slash ? path : ".", configs[i]);
        if (hone_file_exists(beside)) return false;
    }
    return hone_net_is(path);
}

hone_code hone_cli_networks_need_data(const hone_cli *c, hone_err *err)
{
    char shown[200];
    if (!hone_cli_is_network(c->args[0])) return HONE_OK;
    return HONE_FAIL(err, HONE_EUSAGE, "add --data FILE with samples of its inputs", "'%s' is a network without tokens: it is judged on samples",
                     hone_text_show(c->args[0], strlen(c->args[0]), shown, sizeof shown));
}

hone_code hone_cli_networks_refuse(const hone_cli *c, const char *instead, hone_err *err)
{
    char shown[200];
    if (!hone_cli_is_network(c->args[0])) return HONE_OK;
    return HONE_FAIL(err, HONE_EUNSUPPORTED, instead, "'%s' is a network without tokens: hone %s is for language models", hone_text_show(c->args[0], strlen(c->args[0]), shown, sizeof shown),
                     c->cmd->name);
}

bool hone_cli_networks_doc(const json_t *doc) { return strcmp(hone_doc_str(doc, "kind", ""), "network") == 0; }

hone_code hone_cli_networks_page(hone_cli *c, json_t *doc, hone_code code, hone_err *err)
{
    const char *html = hone_cli_text(c, "html", NULL);
    hone_text   command = { 0 };
    hone_err    why = { 0 }; /* err keeps the answer "no" */
    if (!html || (code != HONE_OK && code != HONE_ENO)) return code;
    hone_code done = hone_cli_command(c, &command, &why);
    const hone_net_page_about about = { .verb = c->cmd->name, .command = command.ptr, .answer = code == HONE_ENO && err ? err->cause : NULL };
    if (done == HONE_OK) done = hone_net_page_write(&c->ctx, doc, &about, html, &why);
    if (done == HONE_OK && !hone_json_put(doc, "html", json_string(html))) done = HONE_NOMEM(&why, "the result");
    hone_text_release(&command);
    if (done != HONE_OK && err) *err = why;
    return done == HONE_OK ? code : done;
}

static void say_page(hone_cli *c, const json_t *doc)
{
    if (hone_doc_str(doc, "html", "")[0]) hone_say(c, HONE_PLAIN, "\npage  %s\n", hone_doc_str(doc, "html", ""));
}

/* Ends a document: kind, results (stolen), data. */
static hone_code finish(json_t *doc, json_t *results, const char *data, hone_err *err)
{
    bool good = hone_json_put(doc, "kind", json_string("network")) && hone_json_put(doc, "data", data ? json_string(data) : json_null());
    good = hone_json_put(doc, "results", results) && good;
    return good ? HONE_OK : HONE_NOMEM(err, "the result");
}

/* --- tables ------------------------------------------------------------------------------------------------------------ */
typedef struct figure { const char *path, *title, *unit; double scale; int digits; bool ci; } figure;

/* A row for each result: what it is, where it ran, the bytes of its files (under this key), figures. */
static void say_results(hone_cli *c, const json_t *results, const char *bytes, const figure *cols, size_t n)
{
    size_t      i;
    json_t     *r;
    char        size[32];
    hone_table *t = hone_table_new(c, 3 + n);
    hone_table_col(t, 0, "artefact", "", false);
    hone_table_col(t, 1, "runtime", "", false);
    hone_table_col(t, 2, "size", "", true);
    for (size_t k = 0; k < n; k++) hone_table_col(t, 3 + k, cols[k].title, cols[k].unit, true);
    json_array_foreach(results, i, r) {
        hone_table_cell(t, i, 0, HONE_BOLD, "%s", hone_doc_str(r, "path", ""));
        hone_table_cell(t, i, 1, HONE_PLAIN, "%s", hone_doc_str(r, "runtime", ""));
        hone_table_cell(t, i, 2, HONE_PLAIN, "%s", hone_text_bytes((uint64_t)hone_doc_num(r, bytes, 0), size, sizeof size));
        for (size_t k = 0; k < n; k++) hone_measured_cell(t, i, 3 + k, r, cols[k].path, cols[k].scale, cols[k].digits, cols[k].ci);
    }
    hone_table_fold(t);
    hone_table_print(c, t);
}

/* --- eval -------------------------------------------------------------------------------------------------------------- */
hone_code hone_cli_networks_eval(hone_cli *c, const char *reference, json_t *doc, hone_err *err)
{
    hone_network_eval e = { .how = { .device = hone_cli_text(c, "device", "cpu"), .threads = hone_ctx_threads(&c->ctx) }, .reference = reference,
                            .data = hone_cli_text(c, "data", NULL) };
    HONE_TRY(hone_cli_images(c, &e.image, err));
    json_t   *results = json_array();
    hone_code code = results ? HONE_OK : HONE_NOMEM(err, "the result");
    for (unsigned i = 0; code == HONE_OK && i < c->n_args; i++) {
        hone_network_scores s;
        e.artefact = c->args[i];
        code = hone_network_score(&c->ctx, &e, &s, err);
        json_t *row = code == HONE_OK ? hone_network_scores_json(&s) : NULL;
        if (code == HONE_OK && (!row || !hone_json_put(row, "bytes", json_integer((json_int_t)hone_network_file_bytes(c->args[i]))) || json_array_append(results, row) != 0))
            code = HONE_NOMEM(err, "the result");
        json_decref(row);
    }
    if (code == HONE_OK && !hone_json_put(doc, "reference", reference ? json_string(reference) : json_null())) code = HONE_NOMEM(err, "the result");
    if (code == HONE_OK) return finish(doc, results, e.data, err);
    json_decref(results);
    return code;
}

void hone_cli_networks_eval_print(hone_cli *c, const json_t *doc)
{
    static const figure cols[] = {
        { "accuracy", "accuracy", "%", 100, 2, true },  { "top1", "same answer", "%", 100, 2, true },          { "max_abs", "largest error", "", 1, 4, false },
        { "mean_abs", "mean error", "", 1, 4, false }, { "cosine_min", "least cosine", "", 1, 5, false },
    };
    const json_t *results = json_object_get(doc, "results");
    say_results(c, results, "bytes", cols, HONE_COUNT(cols));
    hone_say(c, HONE_PLAIN, "\n  %.0f samples of %s", hone_doc_num(json_array_get(results, 0), "samples", 0), hone_doc_str(doc, "data", ""));
    if (hone_doc_str(doc, "reference", "")[0]) hone_say(c, HONE_PLAIN, ", errors against %s", hone_doc_str(doc, "reference", ""));
    hone_say(c, HONE_PLAIN, "\n");
    hone_measured_reasons(c, results, "mean_square cosine_mean");
    hone_scored_devices(c, results);
    say_page(c, doc);
}

/* --- bench --------------------------------------------------------------------------------------------------------------- */
hone_code hone_cli_networks_bench(hone_cli *c, json_t *doc, hone_err *err)
{
    hone_network_bench_options o = { .n_artefacts = 0, .data = hone_cli_text(c, "data", NULL), .device = hone_cli_text(c, "device", "cpu"),
                                     .batch = hone_cli_count(c, "batch", 0), .repeat = hone_cli_count(c, "repeat", 0), .warmup = hone_cli_count(c, "warmup", 0),
                                     .threads = hone_ctx_threads(&c->ctx) };
    HONE_TRY(hone_cli_images(c, &o.image, err));
    /* A .onnx file is what both runtimes open: each gets its turn. */
    const char **paths = HONE_ARENA_NEW(&c->arena, const char *, 2 * c->n_args), **by = HONE_ARENA_NEW(&c->arena, const char *, 2 * c->n_args);
    if (!paths || !by) return HONE_NOMEM(err, "the benchmark");
    for (unsigned i = 0; i < c->n_args; i++) {
        const char *backend = NULL;
        bool        known = hone_network_kind(c->args[i], &backend);
        paths[o.n_artefacts] = c->args[i];
        by[o.n_artefacts++] = known ? backend : NULL;
        if (!known || strcmp(backend, "onnxruntime") != 0) continue;
        paths[o.n_artefacts] = c->args[i];
        by[o.n_artefacts++] = "openvino";
    }
    o.artefacts = paths;
    o.backends = by;
    hone_network_speed *s = HONE_ARENA_NEW(&c->arena, hone_network_speed, o.n_artefacts);
    json_t             *results = json_array();
    hone_code           code = s && results ? hone_network_bench(&c->ctx, &o, s, err) : HONE_NOMEM(err, "the benchmark");
    for (size_t i = 0; code == HONE_OK && i < o.n_artefacts; i++)
        if (json_array_append_new(results, hone_network_speed_json(&s[i])) != 0) code = HONE_NOMEM(err, "the result");
    if (code == HONE_OK) return hone_cli_networks_page(c, doc, finish(doc, results, o.data, err), err);
    json_decref(results);
    return code;
}

void hone_cli_networks_bench_print(hone_cli *c, const json_t *doc)
{
    static const figure cols[] = {
        { "latency_ms.p50", "p50", "ms", 1, 3, false },         { "latency_ms.p95", "p95", "ms", 1, 3, false }, { "latency_ms.p99", "p99", "ms", 1, 3, false },
        { "samples_s", "throughput", "samples/s", 1, 0, false }, { "load_ms", "load", "ms", 1, 1, false },       { "first_ms", "first run", "ms", 1, 2, false },
        { "peak_rss_bytes", "memory", "MB", 1e-6, 1, false },
    };
    const json_t *results = json_object_get(doc, "results"), *run = json_object_get(json_array_get(results, 0), "run");
    say_results(c, results, "file_bytes", cols, HONE_COUNT(cols));
    hone_say(c, HONE_PLAIN, "\n  batch %.0f, %.0f threads, %.0f rounds in turns\n", hone_doc_num(run, "batch", 1), hone_doc_num(run, "threads", 1), hone_doc_num(run, "rounds", 0));
    hone_measured_reasons(c, results, "");
    hone_scored_failures(c, results);
    hone_scored_devices(c, results);
    say_page(c, doc);
}

/* --- optimize -------------------------------------------------------------------------------------------------------------- */
hone_code hone_cli_networks_optimize(hone_cli *c, double gate_speed, double gate_memory, double gate_variation, json_t *doc, hone_err *err)
{
    hone_net_optimize_options o = { .source = c->args[0], .target = hone_cli_text(c, "target", "host"), .out_dir = hone_cli_text(c, "output", NULL), .data = hone_cli_text(c, "data", NULL),
                                    .min_accuracy = hone_cli_real(c, "min-accuracy", 0.95), .gate_speed = gate_speed, .gate_memory = gate_memory, .gate_variation = gate_variation,
                                    .max_bytes = hone_cli_bytes(c, "max-bytes", 0), .repeat = hone_cli_count(c, "repeat", 0), .fresh = hone_cli_has(c, "fresh") };
    static const char *const words[] = { "quant", "text", "tasks", "max-ram", "prompt", "gen", "max-tokens", "max-items" };
    for (size_t i = 0; i < HONE_COUNT(words); i++)
        if (hone_cli_has(c, words[i])) return HONE_FAIL(err, HONE_EUSAGE, "leave it out", "--%s says nothing about a network without tokens", words[i]);
    size_t    n = 0;
    hone_text command = { 0 };
    o.statics = (hone_static_how){ .calibration = hone_cli_text(c, "calibration", NULL), .correct_bias = true, .codes = { .weight_max = 127 } };
    o.statics.codes.exclude = hone_cli_list(c, "exclude", &n);
    o.statics.codes.n_exclude = n;
    if (!o.statics.codes.exclude) return HONE_NOMEM(err, "the command line");
    HONE_TRY(hone_cli_images(c, &o.statics.image, err));
    HONE_TRY(hone_cli_preferences(c, &o.prefer_speed, &o.prefer_accuracy, &o.prefer_memory, err));
    hone_code code = hone_cli_command(c, &command, err);
    o.command = command.ptr;
    if (code == HONE_OK) code = hone_net_optimize(&c->ctx, &o, doc, err);
    hone_text_release(&command);
    return code;
}

static void print_gates(hone_cli *c, const json_t *doc)
{
    size_t      i;
    json_t     *g;
    hone_table *t = hone_table_new(c, 4);
    hone_table_col(t, 0, "gate", "", false);
    hone_table_col(t, 1, "verdict", "", false);
    hone_table_col(t, 2, "measured", "", true);
    hone_table_col(t, 3, "needed", "", false);
    json_array_foreach(json_object_get(doc, "gates"), i, g) {
        const char *v = hone_doc_str(g, "verdict", "");
        hone_table_cell(t, i, 0, HONE_PLAIN, "%s", hone_doc_str(g, "name", ""));
        hone_table_cell(t, i, 1, strcmp(v, "pass") == 0 ? HONE_GREEN : strcmp(v, "fail") == 0 ? HONE_RED : HONE_YELLOW, "%s", v);
        if (hone_doc_has_num(g, "value")) hone_table_cell(t, i, 2, HONE_PLAIN, "%.3f", hone_doc_num(g, "value", 0));
        else hone_table_cell(t, i, 2, HONE_DIM, "-");
        hone_table_cell(t, i, 3, HONE_PLAIN, "%s %.2f %s", json_is_true(json_object_get(g, "at_most")) ? "at most" : "at least", hone_doc_num(g, "threshold", 0), hone_doc_str(g, "unit", ""));
    }
    hone_say_head(c, "Gates");
    hone_table_print(c, t);
}

void hone_cli_networks_optimize_print(hone_cli *c, const json_t *doc)
{
    static const struct { const char *path, *title, *unit; double scale; int digits, rec; } cols[] = {
        { "accuracy", "right", "%", 100, 2, 0 },  { "top1", "same", "%", 100, 2, 0 },       { "mean_abs", "mean error", "", 1, 4, 0 },
        { "latency_ms.p50", "p50", "ms", 1, 3, 1 }, { "latency_ms.p95", "p95", "ms", 1, 3, 1 }, { "peak_rss_bytes", "memory", "MB", 1e-6, 1, 1 },
    };
    size_t      i;
    json_t     *o;
    char        size[32];
    hone_table *t = hone_table_new(c, 4 + HONE_COUNT(cols));
    hone_table_col(t, 0, "", "", false);
    hone_table_col(t, 1, "artefact", "", false);
    hone_table_col(t, 2, "files", "", true);
    for (size_t k = 0; k < HONE_COUNT(cols); k++) hone_table_col(t, 3 + k, cols[k].title, cols[k].unit, true);
    hone_table_col(t, 3 + HONE_COUNT(cols), "score", "", true);
    json_array_foreach(json_object_get(doc, "candidates"), i, o) {
        bool win = json_is_true(json_object_get(o, "chosen")), out = hone_doc_str(o, "failure", "")[0] || hone_doc_str(o, "excluded", "")[0];
        hone_table_cell(t, i, 0, HONE_PLAIN, "%s", win ? ">" : i == 0 ? "=" : out ? "x" : json_is_true(json_object_get(o, "pareto")) ? "*" : "");
        hone_table_cell(t, i, 1, win ? HONE_GREEN : out ? HONE_DIM : HONE_BOLD, "%s", hone_doc_str(o, "name", ""));
        hone_table_cell(t, i, 2, HONE_PLAIN, "%s", hone_text_bytes((uint64_t)hone_doc_num(o, "bytes", 0), size, sizeof size));
        for (size_t k = 0; k < HONE_COUNT(cols); k++)
            hone_measured_cell(t, i, 3 + k, json_object_get(o, cols[k].rec ? "bench" : "eval"), cols[k].path, cols[k].scale, cols[k].digits, false);
        if (hone_doc_has_num(o, "score")) hone_table_cell(t, i, 3 + HONE_COUNT(cols), HONE_PLAIN, "%.3f", hone_doc_num(o, "score", 0));
        else hone_table_cell(t, i, 3 + HONE_COUNT(cols), HONE_DIM, "-");
    }
    hone_say_head(c, "Candidates");
    hone_table_print(c, t);
    hone_say(c, HONE_DIM, "  > chosen   * on the Pareto front   = baseline   x out\n");
    json_array_foreach(json_object_get(doc, "candidates"), i, o) {
        const char *why = hone_doc_str(o, "failure", hone_doc_str(o, "excluded", ""));
        if (why[0]) hone_say(c, HONE_DIM, "  %s: %s\n", hone_doc_str(o, "name", ""), why);
    }
    if (json_array_size(json_object_get(doc, "gates"))) print_gates(c, doc);
    const json_t *chosen = json_object_get(doc, "chosen");
    hone_say(c, HONE_PLAIN, "\n");
    if (json_is_object(chosen)) hone_say(c, HONE_PLAIN, "chosen  %s\n", hone_doc_str(chosen, "path", ""));
    hone_say(c, HONE_PLAIN, "report  %s\n", hone_doc_str(doc, "report", ""));
}
