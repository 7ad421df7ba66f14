#include "flow/net/optimize.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/tree.h"
#include "flow/history.h"
#include "flow/net.h"
#include "flow/probe.h"
#include "formats/onnx/net.h"
#include "hw/target.h"
#include "measure/network.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { MOST = 16, CALIBRATORS = 3, MEDIAN_ROUNDS = 10 /* measure/metric.h: below, a median is not resolved */ };

typedef struct candidate {
    const char *name, *format, *path, *sha256, *opened;
    hone_net_quant quant;
    int         calibrator; /* -1: none */
    uint64_t    bytes;
    json_t     *eval, *bench; /* records; NULL: none */
    const char *outcomes;     /* of eval */
    char        failure[300], excluded[200];
    double      accuracy, ms, rss, score; /* -1: not known */
    bool        pareto, chosen;
} candidate;

typedef struct state {
    const hone_ctx                  *ctx;
    const hone_net_optimize_options *opt;
    hone_arena    a;
    hone_history *history;
    int64_t       run;
    json_t       *machine, *target_doc;
    hone_target   target;
    const char   *source; /* the .onnx file */
    char          data_sha[65], source_sha[65], tool_sha[65];
    candidate     c[MOST]; /* c[0]: the baseline */
    size_t        n;
    candidate    *chosen;
    uint64_t      max_bytes;
    double        stage_s[4];
    size_t        measured, reused;
    bool          fresh; /* nothing is taken from history */
} state;

static const hone_range_method calibrators[CALIBRATORS] = { HONE_RANGE_MINMAX, HONE_RANGE_PERCENTILE, HONE_RANGE_MSE };

/* --- the artefacts -------------------------------------------------------------------------------------------------------- */
static hone_code name_one(state *s, candidate *c, hone_err *err)
{
    const char *ranges = c->calibrator >= 0 ? hone_range_name(calibrators[c->calibrator]) : "";
    c->name = hone_arena_printf(&s->a, "%s %s%s%s", c->format, hone_net_quant_name(c->quant), *ranges ? " " : "", ranges);
    c->accuracy = c->ms = c->rss = c->score = -1;
    return c->name ? HONE_OK : HONE_NOMEM(err, "a candidate");
}

static hone_code keep_output(state *s, candidate *c, const hone_net_output *o, hone_err *err)
{
    c->path = hone_arena_strdup(&s->a, o->path);
    c->opened = hone_arena_strdup(&s->a, o->opened);
    c->sha256 = hone_arena_strdup(&s->a, o->sha256);
    c->bytes = o->bytes;
    return c->path && c->opened && c->sha256 ? HONE_OK : HONE_NOMEM(err, "a candidate");
}

/* One encoding in n formats, from one calibration.  What cannot be made is out, the others go on. */
static hone_code make_some(state *s, const char *const *formats, size_t n, hone_net_quant quant, int calibrator, hone_err *err)
{
    hone_static_how          statics = s->opt->statics;
    hone_net_target          targets[2];
    hone_net_convert_options o = { .targets = targets, .n_targets = n, .keep = statics.codes.exclude, .n_keep = statics.codes.n_exclude };
    hone_net_convert_result  res = { 0 };
    hone_err                 why = { 0 };
    candidate               *first = &s->c[s->n];
    const char              *ranges = calibrator >= 0 ? hone_range_name(calibrators[calibrator]) : "";
    for (size_t i = 0; i < n; i++) {
        targets[i] = (hone_net_target){ formats[i], quant };
        first[i] = (candidate){ .format = formats[i], .quant = quant, .calibrator = calibrator };
        HONE_TRY(name_one(s, &first[i], err));
    }
    s->n += n;
    o.out_dir = hone_arena_printf(&s->a, "%s/candidates%s%s", s->opt->out_dir, *ranges ? "/" : "", ranges);
    if (!o.out_dir) return HONE_NOMEM(err, "a candidate");
    if (calibrator >= 0) statics.method = calibrators[calibrator];
    if (statics.calibration) o.statics = &statics; /* f16 looks for values beyond it in the same samples */
    hone_code code = hone_net_convert(s->ctx, s->source, &o, &res, &why);
    if (code == HONE_ERESOURCE || code == HONE_EBUG || code == HONE_EUSAGE || hone_ctx_cancelled(s->ctx)) { /* no other candidate would fare better */
        if (err) *err = why;
        return code;
    }
    for (size_t i = 0; i < n && code != HONE_OK; i++) {
        (void)snprintf(first[i].failure, sizeof first[i].failure, "%s", why.cause);
        hone_event_warn(s->ctx, why.remedy[0] ? why.remedy : NULL, "%s is out: %s", first[i].name, why.cause);
    }
    if (code != HONE_OK) return HONE_OK;
    for (size_t i = 0; i < n && code == HONE_OK; i++) code = keep_output(s, &first[i], &res.outputs[i], err);
    hone_net_convert_result_release(&res);
    return code;
}

static hone_code make_all(state *s, hone_err *err)
{
    static const char *const     formats[] = { "onnx", "openvino" };
    static const hone_net_quant  plain[] = { HONE_NETQ_F32, HONE_NETQ_F16, HONE_NETQ_INT8_DYNAMIC };
    for (size_t q = 0; q < HONE_COUNT(plain); q++)
        for (size_t f = 0; f < HONE_COUNT(formats); f++)
            if (plain[q] != HONE_NETQ_INT8_DYNAMIC || f == 0) HONE_TRY(make_some(s, &formats[f], 1, plain[q], -1, err));
    for (int k = 0; s->opt->statics.calibration && k < CALIBRATORS; k++) HONE_TRY(make_some(s, formats, HONE_COUNT(formats), HONE_NETQ_INT8, k, err));
    if (s->c[0].failure[0]) return HONE_FAIL(err, HONE_ERUNTIME, "", "the baseline cannot be made: %s", s->c[0].failure);
    return HONE_OK;
}

/* --- records ------------------------------------------------------------------------------------------------------------------ */
static hone_code key_of(const state *s, const char *kind, const candidate *c, const char *what, char key[65], hone_err *err)
{
    hone_text t = { 0 };
    hone_text_addf(&t, "%s\n%s\n%s\n%s\n%s\n%s\n%u\n", kind, c->sha256, s->source_sha, s->data_sha, what, s->tool_sha, hone_ctx_threads(s->ctx));
    hone_code code = t.failed ? HONE_NOMEM(err, "a key") : hone_sha256((hone_bytes){ (const uint8_t *)t.ptr, t.len }, key, err);
    hone_text_release(&t);
    return code;
}

static hone_code no_labels(const state *s, hone_err *err)
{
    return HONE_FAIL(err, HONE_EINPUT, "add an int64 array 'labels'", "'%s' has no labels to judge accuracy by", s->opt->data);
}

/* The source on one sample, before minutes go into candidates: data that does not fit, or has no labels, is said at once. */
static hone_code try_data(const state *s, hone_err *err)
{
    hone_network_scores     r;
    const hone_network_eval e = { .artefact = s->source, .data = s->opt->data, .image = s->opt->statics.image, .max_samples = 1 };
    HONE_TRY(hone_network_score(s->ctx, &e, &r, err));
    return hone_metric_known(&r.accuracy) ? HONE_OK : no_labels(s, err);
}

static hone_code evaluate(state *s, candidate *c, hone_err *err)
{
    char                    key[65];
    hone_network_scores     r;
    hone_err                why = { 0 };
    const hone_network_eval e = { .artefact = c->opened, .how = { .threads = hone_ctx_threads(s->ctx) }, .reference = s->source, .data = s->opt->data,
                                  .image = s->opt->statics.image, .keep = &s->a };
    HONE_TRY(key_of(s, "eval", c, "", key, err));
    if (!s->fresh) HONE_TRY(hone_history_find(s->history, key, &c->eval, err));
    if (c->eval) s->reused++;
    if (!c->eval) {
        hone_code code = hone_network_score(s->ctx, &e, &r, &why);
        if (code != HONE_OK) {
            if (hone_ctx_cancelled(s->ctx)) return HONE_INTERRUPTED(err);
            (void)snprintf(c->failure, sizeof c->failure, "%s", why.cause);
            hone_event_warn(s->ctx, why.remedy[0] ? why.remedy : NULL, "%s is out: %s", c->name, why.cause);
            return HONE_OK;
        }
        c->eval = hone_network_scores_json(&r);
        if (!c->eval || (r.outcomes && !hone_json_put(c->eval, "outcomes", json_string(r.outcomes)))) return HONE_NOMEM(err, "a record");
        s->measured++;
        HONE_TRY(hone_history_add(s->history, s->run, key, "eval", c->path, c->sha256, c->eval, err));
    }
    c->outcomes = json_string_value(json_object_get(c->eval, "outcomes"));
    const json_t *acc = json_object_get(c->eval, "accuracy");
    c->accuracy = json_is_number(acc) ? json_number_value(acc) : -1;
    if (c->accuracy < 0) return no_labels(s, err);
    hone_event_note(s->ctx, "%-26s accuracy %.2f %%, same answer as the float model %.2f %%", c->name, 100 * c->accuracy, 100 * json_number_value(json_object_get(c->eval, "top1")));
    return HONE_OK;
}

/* All that are still in race together; a record says how many were in the race, so that it is not mistaken for another's. */
static hone_code race(state *s, hone_err *err)
{
    const char         *paths[MOST];
    hone_network_speed *r = HONE_ARENA_NEW(&s->a, hone_network_speed, MOST);
    candidate          *who[MOST];
    size_t              n = 0;
    char                key[65];
    if (!r) return HONE_NOMEM(err, "the benchmark");
    for (size_t i = 0; i < s->n; i++)
        if (!s->c[i].failure[0]) {
            who[n] = &s->c[i];
            paths[n++] = s->c[i].opened;
        }
    const hone_network_bench_options o = { .artefacts = paths, .n_artefacts = n, .data = s->opt->data, .image = s->opt->statics.image, .repeat = s->opt->repeat,
                                           .threads = hone_ctx_threads(s->ctx) };
    char what[64];
    (void)snprintf(what, sizeof what, "%zu in turns, %u rounds", n, s->opt->repeat);
    bool all = !s->fresh;
    for (size_t i = 0; i < n && all; i++) {
        HONE_TRY(key_of(s, "bench", who[i], what, key, err));
        HONE_TRY(hone_history_find(s->history, key, &who[i]->bench, err));
        all = who[i]->bench != NULL;
    }
    if (!all) HONE_TRY(hone_network_bench(s->ctx, &o, r, err));
    for (size_t i = 0; i < n; i++) {
        candidate *c = who[i];
        if (!all) {
            json_decref(c->bench);
            if (!(c->bench = hone_network_speed_json(&r[i]))) return HONE_NOMEM(err, "a record");
            HONE_TRY(key_of(s, "bench", c, what, key, err));
            HONE_TRY(hone_history_add(s->history, s->run, key, "bench", c->path, c->sha256, c->bench, err));
            s->measured++;
        } else s->reused++;
        if (json_is_true(json_object_get(c->bench, "failed"))) (void)snprintf(c->failure, sizeof c->failure, "%s", json_string_value(json_object_get(c->bench, "failure")));
        const json_t *ms = json_object_get(json_object_get(c->bench, "latency_ms"), "p50"), *rss = json_object_get(c->bench, "peak_rss_bytes");
        c->ms = json_is_number(ms) ? json_number_value(ms) : -1;
        c->rss = json_is_number(rss) ? json_number_value(rss) : -1;
    }
    return HONE_OK;
}

/* --- judgement ------------------------------------------------------------------------------------------------------------------- */
static bool is_in(const candidate *c) { return !c->failure[0] && !c->excluded[0] && c->ms > 0 && c->accuracy >= 0; }

static void judge(state *s)
{
    const candidate *base = &s->c[0];
    double           best_ms = INFINITY, best_acc = 0, best_bytes = INFINITY;
    for (size_t i = 0; i < s->n; i++) {
        candidate *c = &s->c[i];
        if (c->failure[0]) continue;
        if (s->max_bytes && c->bytes > s->max_bytes) (void)snprintf(c->excluded, sizeof c->excluded, "its files have %.2f MB, %.2f MB are allowed", (double)c->bytes * 1e-6, (double)s->max_bytes * 1e-6);
        else if (c->accuracy < s->opt->min_accuracy * base->accuracy)
            (void)snprintf(c->excluded, sizeof c->excluded, "%.2f %% right is less than %.3g of the baseline's %.2f %%", 100 * c->accuracy, s->opt->min_accuracy, 100 * base->accuracy);
        else if (!(c->ms > 0)) (void)snprintf(c->excluded, sizeof c->excluded, "its speed is not known: a median needs %d rounds", MEDIAN_ROUNDS);
        if (!is_in(c)) continue;
        best_ms = fmin(best_ms, c->ms);
        best_acc = fmax(best_acc, c->accuracy);
        best_bytes = fmin(best_bytes, (double)c->bytes);
    }
    double all = s->opt->prefer_speed + s->opt->prefer_accuracy + s->opt->prefer_memory;
    for (size_t i = 0; i < s->n; i++) {
        candidate *c = &s->c[i];
        if (!is_in(c)) continue;
        c->score = (s->opt->prefer_speed * best_ms / c->ms + s->opt->prefer_accuracy * (best_acc > 0 ? c->accuracy / best_acc : 0) +
                    s->opt->prefer_memory * best_bytes / (double)c->bytes) / (all > 0 ? all : 1);
        c->pareto = true;
        for (size_t k = 0; k < s->n; k++) {
            const candidate *d = &s->c[k];
            if (is_in(d) && d->ms <= c->ms && d->accuracy >= c->accuracy && d->bytes <= c->bytes && (d->ms < c->ms || d->accuracy > c->accuracy || d->bytes < c->bytes))
                c->pareto = false;
        }
        if (!s->chosen || c->score > s->chosen->score) s->chosen = c;
    }
    if (s->chosen) s->chosen->chosen = true;
}

static const char *verdict(bool known, bool at_most, double threshold, double v, double lo, double hi)
{
    if (!known) return "not_measured";
    if (lo < hi && lo < threshold && threshold < hi) return "unresolved";
    return (at_most ? v <= threshold : v >= threshold) ? "pass" : "fail";
}

static bool put_gate(json_t *gates, bool *all_pass, const char *name, const char *unit, bool at_most, double threshold, bool known, double v, double lo, double hi, const char *why)
{
    const char *is = verdict(known, at_most, threshold, v, lo, hi);
    if (strcmp(is, "pass") != 0) *all_pass = false;
    json_t *g = json_pack("{s:s,s:s,s:b,s:o,s:f,s:s,s:b,s:s}", "name", name, "verdict", is, "blocking", 1, "value", known ? hone_json_real(v) : json_null(), "threshold", threshold,
                          "unit", unit, "at_most", at_most, "why", why);
    if (g && known && lo < hi && !hone_json_put(g, "ci", json_pack("[f,f]", lo, hi))) return false;
    return g && json_array_append_new(gates, g) == 0;
}

/* The same samples in pairs: the mean difference of right answers. */
static hone_metric paired(const candidate *c, const candidate *b)
{
    size_t  n = c->outcomes && b->outcomes ? strlen(c->outcomes) : 0;
    double *x = calloc(2 * n + 1, sizeof *x);
    if (!x || n == 0 || strlen(b->outcomes) != n) {
        free(x);
        return hone_metric_none("outcomes were not kept");
    }
    for (size_t i = 0; i < n; i++) {
        x[i] = c->outcomes[i] == '1';
        x[n + i] = b->outcomes[i] == '1';
    }
    hone_metric m = hone_metric_paired(x, x + n, n, 1);
    free(x);
    return m;
}

static bool interval(const json_t *o, const char *path, double *lo, double *hi)
{
    const json_t *ci = json_object_get(json_object_get(o, "ci"), path);
    if (json_array_size(ci) != 2) return false;
    *lo = json_number_value(json_array_get(ci, 0));
    *hi = json_number_value(json_array_get(ci, 1));
    return true;
}

static json_t *gates(const state *s, bool *all_pass)
{
    const candidate *c = s->chosen, *b = &s->c[0];
    json_t          *list = json_array();
    *all_pass = c != NULL;
    if (!c || !list) return list;
    double      speed = s->opt->gate_speed > 0 ? s->opt->gate_speed : 2, memory = s->opt->gate_memory > 0 ? s->opt->gate_memory : .5;
    double      variation = s->opt->gate_variation > 0 ? s->opt->gate_variation : .2, cl, ch, bl, bh, lo = 0, hi = 0;
    hone_metric d = paired(c, b);
    char        why[240];
    bool        has = hone_metric_has_ci(&d);
    (void)snprintf(why, sizeof why, "%.2f %% of %zu samples right, the baseline %.2f %%; the interval is of the same samples in pairs", 100 * c->accuracy,
                   c->outcomes ? strlen(c->outcomes) : 0, 100 * b->accuracy);
    bool good = put_gate(list, all_pass, "accuracy", "of the baseline", false, s->opt->min_accuracy, b->accuracy > 0, c->accuracy / b->accuracy,
                         has ? (b->accuracy + d.lo) / b->accuracy : 0, has ? (b->accuracy + d.hi) / b->accuracy : 0, why);
    if (interval(c->bench, "latency_ms.p50", &cl, &ch) && interval(b->bench, "latency_ms.p50", &bl, &bh) && cl > 0 && ch > 0) {
        lo = bl / ch;
        hi = bh / cl;
    }
    (void)snprintf(why, sizeof why, "%.3f ms a run at the median, the baseline %.3f ms, in turns on this machine", c->ms, b->ms);
    good = good && put_gate(list, all_pass, "speed", "times the baseline", false, speed, c->ms > 0 && b->ms > 0, b->ms / c->ms, lo, hi, why);
    (void)snprintf(why, sizeof why, "files of %.3f MB, the baseline's have %.3f MB; peak memory of the process %.1f and %.1f MB", (double)c->bytes * 1e-6, (double)b->bytes * 1e-6,
                   c->rss * 1e-6, b->rss * 1e-6);
    good = good && put_gate(list, all_pass, "memory", "of the baseline's files", true, memory, b->bytes > 0, (double)c->bytes / (double)b->bytes, 0, 0, why);
    const json_t *cv = json_object_get(c->bench, "cv");
    good = good && put_gate(list, all_pass, "consistent latency", "coefficient of variation", true, variation, json_is_number(cv), json_number_value(cv), 0, 0,
                            "over the rounds of the benchmark");
    if (good) return list;
    json_decref(list);
    return NULL;
}

/* --- the document ------------------------------------------------------------------------------------------------------------------ */
static json_t *known(double v) { return v >= 0 ? hone_json_real(v) : json_null(); }

static json_t *candidate_json(const candidate *c, bool base)
{
    json_t *eval = c->eval ? json_deep_copy(c->eval) : NULL;
    if (eval) (void)json_object_del(eval, "outcomes");
    return json_pack("{s:s,s:s,s:s,s:s?,s:s?,s:s?,s:I,s:s,s:o,s:o,s:o,s:s?,s:s?,s:b,s:b}", "name", c->name, "format", c->format, "quantization", hone_net_quant_name(c->quant),
                     "calibrator", c->calibrator >= 0 ? hone_range_name(calibrators[c->calibrator]) : NULL, "path", c->path, "sha256", c->sha256, "bytes", (json_int_t)c->bytes,
                     "role", base ? "baseline" : "candidate", "score", known(c->score), "eval", eval ? eval : json_null(), "bench", c->bench ? json_incref(c->bench) : json_null(),
                     "failure", c->failure[0] ? c->failure : NULL, "excluded", c->excluded[0] ? c->excluded : NULL, "pareto", c->pareto, "chosen", c->chosen);
}

static json_t *stages_json(const state *s)
{
    static const char *const names[] = { "candidates", "accuracy", "speed", "judgement" };
    static const char *const what[] = { "float and quantised artefacts in both formats, static int8 by several calibrators", "right answers and agreement with the float model, sample by sample",
                                        "latency in turns, load, memory of each process", "constraints, Pareto front, score, gates" };
    json_t *list = json_array();
    for (size_t i = 0; list && i < HONE_COUNT(names); i++)
        (void)json_array_append_new(list, json_pack("{s:s,s:s,s:f}", "name", names[i], "what", what[i], "seconds", s->stage_s[i]));
    return list;
}

static hone_code fill(state *s, json_t *doc, bool *all_pass, hone_err *err)
{
    json_t *list = json_array(), *front = json_array(), *g = gates(s, all_pass);
    bool    good = list && front && g;
    for (size_t i = 0; good && i < s->n; i++) {
        good = json_array_append_new(list, candidate_json(&s->c[i], i == 0)) == 0;
        if (s->c[i].pareto) good = good && json_array_append_new(front, json_string(s->c[i].name)) == 0;
    }
    good = good && hone_json_put(doc, "kind", json_string("network")) && hone_json_put(doc, "command", json_string(s->opt->command ? s->opt->command : "")) &&
           hone_json_put(doc, "hone", json_string(HONE_VERSION)) && hone_json_put(doc, "source", json_pack("{s:s,s:s}", "path", s->source, "sha256", s->source_sha)) &&
           hone_json_put(doc, "target", json_pack("{s:s,s:b}", "name", s->target.name, "host", s->target.host)) && hone_json_put(doc, "machine", json_incref(s->machine)) &&
           hone_json_put(doc, "data", json_string(s->opt->data)) && hone_json_put(doc, "calibration", s->opt->statics.calibration ? json_string(s->opt->statics.calibration) : json_null()) &&
           hone_json_put(doc, "threads", json_integer(hone_ctx_threads(s->ctx))) && hone_json_put(doc, "max_bytes", s->max_bytes ? json_integer((json_int_t)s->max_bytes) : json_null()) &&
           hone_json_put(doc, "min_accuracy", hone_json_real(s->opt->min_accuracy)) && hone_json_put(doc, "stages", stages_json(s)) &&
           hone_json_put(doc, "candidates", json_incref(list)) && hone_json_put(doc, "pareto", json_incref(front)) && hone_json_put(doc, "gates", json_incref(g)) &&
           hone_json_put(doc, "gates_pass", json_boolean(*all_pass)) &&
           hone_json_put(doc, "chosen", s->chosen ? json_pack("{s:s,s:s,s:s}", "name", s->chosen->name, "path", s->chosen->path, "sha256", s->chosen->sha256) : json_null()) &&
           hone_json_put(doc, "measured", json_integer((json_int_t)s->measured)) && hone_json_put(doc, "reused", json_integer((json_int_t)s->reused));
    json_decref(list);
    json_decref(front);
    json_decref(g);
    return good ? HONE_OK : HONE_NOMEM(err, "the document");
}

static hone_code write_report(const state *s, json_t *doc, hone_err *err)
{
    hone_text   page = { 0 };
    const char *json_path = hone_arena_printf((hone_arena *)(uintptr_t)&s->a, "%s/report.json", s->opt->out_dir);
    const char *html_path = hone_arena_printf((hone_arena *)(uintptr_t)&s->a, "%s/report.html", s->opt->out_dir);
    if (!json_path || !html_path || !hone_json_put(doc, "report", json_string(html_path))) return HONE_NOMEM(err, "the report");
    char     *text = json_dumps(doc, JSON_INDENT(1));
    hone_code code = text ? hone_out_put(json_path, text, strlen(text), err) : HONE_NOMEM(err, "the report");
    free(text);
    if (code == HONE_OK) code = hone_net_report_html(doc, &page, err);
    if (code == HONE_OK) code = hone_out_put(html_path, page.ptr, page.len, err);
    hone_text_release(&page);
    return code;
}

/* --- the run -------------------------------------------------------------------------------------------------------------------------- */
/* With the data beside it. */
static hone_code source_digest(state *s, hone_err *err)
{
    hone_net net;
    HONE_TRY(hone_onnx_net_open(s->source, &net, err));
    hone_code code = hone_onnx_net_sha256(&net, s->source_sha, err);
    hone_net_close(&net);
    return code;
}

static hone_code digests(state *s, hone_err *err)
{
    static const char *const parts[] = { "hone-runner", "hone-backend-onnxruntime.so", "hone-backend-openvino.so" };
    hone_text t = { 0 };
    char      hex[65];
    HONE_TRY(source_digest(s, err));
    HONE_TRY(hone_sha256_tree(s->opt->data, s->data_sha, err));
    hone_text_addf(&t, "%s\n%s\n", HONE_VERSION, hone_sha256_file("/proc/self/exe", hex, NULL) == HONE_OK ? hex : "?");
    for (size_t i = 0; i < HONE_COUNT(parts); i++) {
        const char *p = hone_arena_printf(&s->a, "%s/%s", s->ctx->libexec_dir ? s->ctx->libexec_dir : ".", parts[i]);
        hone_text_addf(&t, "%s\n", p && hone_sha256_file(p, hex, NULL) == HONE_OK ? hex : "none");
    }
    hone_code code = t.failed ? HONE_NOMEM(err, "a key") : hone_sha256((hone_bytes){ (const uint8_t *)t.ptr, t.len }, s->tool_sha, err);
    hone_text_release(&t);
    return code;
}

static hone_code prepare(state *s, hone_err *err)
{
    HONE_TRY(hone_net_path(s->opt->source, &s->a, &s->source, err));
    HONE_TRY(try_data(s, err));
    HONE_TRY(hone_dir_make(s->opt->out_dir, err));
    HONE_TRY(hone_probe_facts(s->ctx, s->opt->target, s->opt->out_dir, 0, &s->target_doc, err));
    HONE_TRY(hone_target_read(s->target_doc, &s->target, err));
    HONE_TRY(hone_probe_facts(s->ctx, "host", s->opt->out_dir, 0, &s->machine, err));
    s->max_bytes = s->opt->max_bytes ? s->opt->max_bytes : s->target.package_bytes;
    HONE_TRY(digests(s, err));
    const char *db = hone_arena_printf(&s->a, "%s/history.db", s->opt->out_dir);
    if (!db) return HONE_NOMEM(err, "a path");
    HONE_TRY(hone_history_open(db, &s->history, err));
    return hone_history_begin(s->history, s->opt->command ? s->opt->command : "", s->source, s->opt->target, s->machine, &s->run, err);
}

static hone_code stages(state *s, hone_err *err)
{
    double from = hone_now_s();
    hone_event_step(s->ctx, "making the candidates of %s", s->source);
    HONE_TRY(make_all(s, err));
    s->stage_s[0] = hone_now_s() - from;
    from = hone_now_s();
    hone_event_step(s->ctx, "judging %zu candidates on %s", s->n, s->opt->data);
    for (size_t i = 0; i < s->n; i++)
        if (!s->c[i].failure[0]) HONE_TRY(evaluate(s, &s->c[i], err));
    if (s->c[0].failure[0]) return HONE_FAIL(err, HONE_ERUNTIME, "", "the baseline does not run: %s", s->c[0].failure);
    s->stage_s[1] = hone_now_s() - from;
    from = hone_now_s();
    HONE_TRY(race(s, err));
    s->stage_s[2] = hone_now_s() - from;
    judge(s);
    return HONE_OK;
}

static void release(state *s)
{
    for (size_t i = 0; i < s->n; i++) {
        json_decref(s->c[i].eval);
        json_decref(s->c[i].bench);
    }
    json_decref(s->machine);
    json_decref(s->target_doc);
    hone_history_close(s->history);
    hone_arena_release(&s->a);
}

hone_code hone_net_optimize(const hone_ctx *ctx, const hone_net_optimize_options *opt, json_t *doc, hone_err *err)
{
    state s = { .ctx = ctx, .opt = opt, .fresh = opt->fresh };
    bool  pass = false;
    if (!opt->data) return HONE_FAIL(err, HONE_EUSAGE, "add --data FILE with inputs and 'labels'", "a network is judged on labelled samples");
    if (opt->repeat && opt->repeat < MEDIAN_ROUNDS)
        return HONE_FAIL(err, HONE_EUSAGE, "allow more rounds, or leave --repeat out", "the median that decides needs %d rounds, %u are allowed", MEDIAN_ROUNDS, opt->repeat);
    hone_code code = prepare(&s, err);
    if (code == HONE_OK) code = stages(&s, err);
    if (code == HONE_OK) code = fill(&s, doc, &pass, err);
    if (code == HONE_OK) code = write_report(&s, doc, err);
    if (code == HONE_OK) code = hone_history_end(s.history, s.run, pass ? "pass" : "fail", json_object_get(doc, "chosen"), err);
    if (code == HONE_OK && !pass)
        code = HONE_FAIL(err, HONE_ENO, s.chosen ? "the report says which; --gates and --min-accuracy set the bounds" : "allow more bytes or less accuracy",
                         s.chosen ? "not every blocking gate passes" : "no candidate meets the constraints");
    release(&s);
    return code;
}
