#include "flow/scorecard.h"
#include "base/file.h"
#include "flow/optimize/state.h" /* hone_doc_number */
#include "flow/probe.h"
#include <math.h>
#include <stdlib.h>

static const char *str(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static const char *path_of(const json_t *row) { return str(row, "path"); }

static bool failed(const json_t *row) { return json_object_get(row, "failure") != NULL; }

/* The row is out: why, in words for people and scripts. */
static hone_code fail_row(const hone_ctx *ctx, const hone_scorecard *s, json_t *row, const char *part, const hone_err *why, hone_err *err)
{
    char shown[sizeof why->cause];
    (void)hone_text_show(why->cause, strlen(why->cause), shown, sizeof shown);
    if (json_array_size(s->rows) > 1) hone_event_warn(ctx, why->remedy[0] ? why->remedy : NULL, "%s: %s", str(row, "name"), shown);
    json_t *f = json_object();
    bool    good = f && hone_json_put(f, "part", json_string(part)) && hone_json_put(f, "code", json_string(hone_code_name(why->code))) &&
                hone_json_put(f, "exit", json_integer((int)why->code)) && hone_metric_put_text(f, "cause", why->cause) &&
                hone_metric_put_text(f, "remedy", why->remedy);
    if (good && json_object_set(row, "failure", f) != 0) good = false;
    json_decref(f);
    return good ? HONE_OK : HONE_NOMEM(err, "the result");
}

/* When nothing has a result, the first failure speaks for all. */
static hone_code any_left(const hone_scorecard *s, hone_err *err)
{
    size_t        i;
    json_t       *row;
    const json_t *f = NULL;
    json_array_foreach(s->rows, i, row) {
        if (!failed(row)) return HONE_OK;
        if (!f) f = json_object_get(row, "failure");
    }
    hone_code code = (hone_code)json_integer_value(json_object_get(f, "exit"));
    return HONE_FAIL(err, code, str(f, "remedy"), "%s", str(f, "cause"));
}

/* ---- rows ---- */

static hone_code describe(const hone_ctx *ctx, const hone_scorecard *s, json_t *row, hone_err *err)
{
    hone_arena    a = { 0 };
    hone_artefact x;
    hone_err      why = { 0 };
    char          precision[16] = "";
    hone_code     code = hone_artefact_open(path_of(row), &a, &x, &why);
    if (code == HONE_OK) code = hone_artefact_precision(&x, precision, sizeof precision, &why);
    bool good = true;
    if (code == HONE_OK)
        good = hone_json_put(row, "format", json_string(x.format)) && hone_json_put(row, "backend", json_string(x.backend)) &&
               hone_json_put(row, "bytes", json_integer((json_int_t)x.bytes)) && hone_json_put(row, "precision", json_string(precision));
    hone_arena_release(&a);
    if (!good) return HONE_NOMEM(err, "the result");
    return code == HONE_OK ? HONE_OK : fail_row(ctx, s, row, "open", &why, err);
}

/* "tale-8m-q4_k_m" and "tale-8m-int4-onnx" are "q4_k_m" and "int4-onnx" beside each other. */
static bool put_labels(json_t *rows)
{
    const char *first = NULL;
    size_t      common = 0, cut = 0, i, n = 0;
    json_t     *row;
    json_array_foreach(rows, i, row) {
        const char *name = str(row, "name");
        size_t      k = 0;
        if (failed(row)) continue;
        if (n++ == 0) common = strlen(first = name);
        while (k < common && name[k] == first[k]) k++;
        common = k;
        if (!name[k] && k) common = k - 1; /* something must be left of each */
    }
    for (size_t k = 0; k < common; k++)
        if (first[k] == '-') cut = k + 1;
    bool good = true;
    json_array_foreach(rows, i, row) good = good && hone_json_put(row, "label", json_string(str(row, "name") + (n > 1 && !failed(row) ? cut : 0)));
    return good;
}

hone_code hone_scorecard_open(const hone_ctx *ctx, const char *const *paths, size_t n, hone_scorecard *s, hone_err *err)
{
    char name[200];
    if (n == 0) return HONE_FAIL(err, HONE_EUSAGE, "name at least one artefact", "nothing to measure");
    s->rows = json_array();
    for (size_t i = 0; i < n; i++) { /* all of them first: how many there are decides what is said */
        json_t *row = json_object();
        bool    good = row && hone_metric_put_text(row, "path", paths[i]) && hone_json_put(row, "name", json_string(hone_artefact_name(paths[i], name, sizeof name)));
        if (json_array_append_new(s->rows, row) != 0 || !good) return HONE_NOMEM(err, "the result");
    }
    for (size_t i = 0; i < n; i++) HONE_TRY(describe(ctx, s, json_array_get(s->rows, i), err));
    if (!put_labels(s->rows)) return HONE_NOMEM(err, "the result");
    return any_left(s, err);
}

void hone_scorecard_release(hone_scorecard *s)
{
    json_decref(s->rows);
    json_decref(s->winners);
    hone_arena_release(&s->arena);
    *s = (hone_scorecard){ 0 };
}

/* ---- parts ---- */

hone_code hone_scorecard_check(const hone_ctx *ctx, const hone_check_options *like, hone_scorecard *s, hone_err *err)
{
    size_t             i;
    json_t            *row;
    hone_check_result *r = HONE_ARENA_NEW(&s->arena, hone_check_result, 1);
    if (!r) return HONE_NOMEM(err, "the result");
    json_array_foreach(s->rows, i, row) {
        hone_check_options o = *like;
        hone_err           why = { 0 };
        if (failed(row)) continue;
        o.artefact = path_of(row);
        hone_code code = hone_check(ctx, &o, r, &why);
        if (code != HONE_OK && hone_ctx_cancelled(ctx)) return HONE_INTERRUPTED(err);
        if (code != HONE_OK) HONE_TRY(fail_row(ctx, s, row, "check", &why, err));
        else if (!hone_json_put(row, "check", hone_check_json(r))) return HONE_NOMEM(err, "the result");
    }
    return any_left(s, err);
}

typedef struct evals {
    const hone_ctx       *ctx;
    const hone_scorecard *s;
    json_t        **rows;
} evals;

static hone_code evaluated(void *user, size_t i, const hone_eval_result *res, const hone_err *why, hone_err *err)
{
    const evals *e = user;
    if (!res) return fail_row(e->ctx, e->s, e->rows[i], "eval", why, err);
    return hone_json_put(e->rows[i], "eval", hone_eval_json(res)) ? HONE_OK : HONE_NOMEM(err, "the result");
}

hone_code hone_scorecard_eval(const hone_ctx *ctx, const hone_eval_options *like, hone_scorecard *s, hone_err *err)
{
    size_t             i, n = 0, most = json_array_size(s->rows);
    json_t            *row, **rows = HONE_ARENA_NEW(&s->arena, json_t *, most);
    const char       **paths = HONE_ARENA_NEW(&s->arena, const char *, most);
    hone_eval_options  o = *like;
    if (!rows || !paths) return HONE_NOMEM(err, "the result");
    json_array_foreach(s->rows, i, row) {
        if (failed(row)) continue;
        rows[n] = row;
        paths[n++] = path_of(row);
    }
    if (!o.keep) o.keep = &s->arena;
    if (n) HONE_TRY(hone_eval_group(ctx, &o, paths, n, evaluated, &(evals){ ctx, s, rows }, err));
    return any_left(s, err);
}

hone_code hone_scorecard_bench(const hone_ctx *ctx, const hone_bench_options *like, hone_scorecard *s, hone_err *err)
{
    size_t             i, n = 0, most = json_array_size(s->rows);
    json_t            *row, **rows = HONE_ARENA_NEW(&s->arena, json_t *, most);
    const char       **paths = HONE_ARENA_NEW(&s->arena, const char *, most);
    hone_bench_result *r = HONE_ARENA_NEW(&s->arena, hone_bench_result, most);
    hone_bench_options o = *like;
    hone_err           why = { 0 };
    if (!rows || !paths || !r) return HONE_NOMEM(err, "the result");
    json_array_foreach(s->rows, i, row) {
        if (failed(row)) continue;
        rows[n] = row;
        paths[n++] = path_of(row);
    }
    if (n == 0) return any_left(s, err);
    o.artefacts = paths;
    o.n_artefacts = n;
    hone_code code = hone_bench(ctx, &o, r, &why);
    bool      all = true;
    for (i = 0; i < n; i++) all = all && r[i].failed;
    if (code != HONE_OK && !all) { /* what concerns all of them, or an interruption */
        if (err) *err = why;
        return code;
    }
    for (i = 0; i < n; i++) {
        if (!hone_json_put(rows[i], "bench", hone_bench_json(&r[i]))) return HONE_NOMEM(err, "the result");
        if (!r[i].failed) continue;
        json_t *f = json_pack("{s:s,s:s,s:i}", "part", "bench", "code", hone_code_name(r[i].code), "exit", (int)r[i].code);
        bool    good = f && hone_metric_put_text(f, "cause", r[i].failure) && hone_metric_put_text(f, "remedy", r[i].remedy) && json_object_set(rows[i], "failure", f) == 0;
        json_decref(f);
        if (!good) return HONE_NOMEM(err, "the result");
    }
    return any_left(s, err);
}

hone_code hone_scorecard_layers(const hone_ctx *ctx, const hone_layers_options *like, hone_scorecard *s, hone_err *err)
{
    size_t      i;
    json_t     *row;
    const char *reference = like->reference ? like->reference : path_of(json_array_get(s->rows, 0));
    json_array_foreach(s->rows, i, row) {
        hone_layers_options o = *like;
        hone_layers_result  r;
        hone_err            why = { 0 };
        if (failed(row) || strcmp(path_of(row), reference) == 0) continue;
        o.artefact = path_of(row);
        o.reference = reference;
        hone_code code = hone_layers(ctx, &o, &s->arena, &r, &why);
        if (code != HONE_OK && hone_ctx_cancelled(ctx)) return HONE_INTERRUPTED(err);
        if (code == HONE_OK ? !hone_json_put(row, "layers", hone_layers_json(&r)) : !hone_metric_put_text(row, "layers_missing", why.cause))
            return HONE_NOMEM(err, "the result");
        if (code != HONE_OK && json_array_size(s->rows) > 1) hone_event_warn(ctx, why.remedy[0] ? why.remedy : NULL, "%s: no layers: %s", str(row, "name"), why.cause);
    }
    return HONE_OK;
}

/* ---- who wins ---- */

const char *hone_scorecard_reference(const hone_scorecard *s)
{
    static const char *const order[] = { "f32", "bf16", "f16" };
    for (size_t k = 0; k < HONE_COUNT(order); k++) {
        size_t  i;
        json_t *row;
        json_array_foreach(s->rows, i, row)
            if (!failed(row) && strcmp(str(row, "precision"), order[k]) == 0) return path_of(row);
    }
    return NULL;
}

typedef struct player { /* what a row brings to the judgement; NAN: not measured */
    json_t     *row;
    double      speed, speed_half; /* tokens/s of decode, of an encoder of the prompt; half of the interval */
    double      reported, rss, memory;
    double      accuracy, kld, perplexity;
    double      score;
} player;

static double half_of(const json_t *part, const char *path)
{
    double lo, hi;
    return hone_doc_interval(part, path, &lo, &hi) ? (hi - lo) / 2 : 0;
}

static bool gather(const hone_scorecard *s, player *p, size_t *count)
{
    size_t  i, n = 0;
    json_t *row;
    bool    all_reported = true;
    json_array_foreach(s->rows, i, row) {
        const json_t *b = json_object_get(row, "bench"), *e = json_object_get(row, "eval"), *c = json_object_get(row, "check");
        const char   *speed = json_is_true(json_object_get(b, "encoder")) ? "prefill_tok_s" : "decode_tok_s";
        if (failed(row) || strcmp(str(c, "verdict"), "fail") == 0) continue;
        player *x = &p[n++];
        double  w = hone_doc_number(b, "weights_bytes", NAN), kv = hone_doc_number(b, "kv_bytes", NAN), buffers = hone_doc_number(b, "compute_bytes", NAN);
        if (json_is_true(json_object_get(b, "encoder"))) kv = 0; /* it keeps none */
        *x = (player){ .row = row, .speed = hone_doc_number(b, speed, NAN), .speed_half = half_of(b, speed), .reported = w + kv + buffers,
                       .rss = hone_doc_number(b, "peak_rss_bytes", NAN), .accuracy = hone_doc_number(e, "accuracy", NAN),
                       .kld = hone_doc_number(e, "kld_mean", NAN), .perplexity = hone_doc_number(e, "perplexity", NAN) };
        if (b && isnan(x->reported)) all_reported = false;
    }
    /* Runtimes that report nothing are compared by what the system saw; then all are. */
    *count = n;
    for (i = 0; i < n; i++) {
        p[i].memory = all_reported ? p[i].reported : p[i].rss;
        if (isnan(p[i].memory)) continue;
        if (!hone_json_put(p[i].row, "memory_bytes", hone_json_real(p[i].memory)) ||
            !hone_json_put(p[i].row, "memory_basis", json_string(all_reported ? "reported" : "peak_rss")))
            return false;
    }
    return true;
}

/* More is better; the first of equals. */
static const player *best_by(const player *p, size_t n, double (*value)(const player *))
{
    const player *best = NULL;
    for (size_t i = 0; i < n; i++) {
        double v = value(&p[i]);
        if (!isnan(v) && (!best || v > value(best))) best = &p[i];
    }
    return best;
}

static double by_speed(const player *p) { return p->speed; }
static double by_memory(const player *p) { return -p->memory; }
static double by_accuracy(const player *p) { return p->accuracy; }
static double by_kld(const player *p) { return -p->kld; }
static double by_perplexity(const player *p) { return -p->perplexity; }
static double by_score(const player *p) { return p->score; }

static json_t *winner(const player *w, double value, const char *unit, bool clear, const char *why)
{
    if (!w) return json_pack("{s:n,s:s}", "path", "reason", why);
    json_t *o = json_object();
    bool    good = o && hone_metric_put_text(o, "path", path_of(w->row)) && hone_json_put(o, "name", json_string(str(w->row, "name"))) && hone_json_put(o, "label", json_string(str(w->row, "label"))) &&
                hone_json_put(o, "value", hone_json_real(value)) && hone_json_put(o, "unit", json_string(unit)) &&
                hone_json_put(o, "clear", json_boolean(clear)) && hone_metric_put_text(o, "why", why);
    if (good) return o;
    json_decref(o);
    return NULL;
}

static const player *runner_up(const player *p, size_t n, const player *first, double (*value)(const player *))
{
    const player *second = NULL;
    for (size_t i = 0; i < n; i++)
        if (&p[i] != first && !isnan(value(&p[i])) && (!second || value(&p[i]) > value(second))) second = &p[i];
    return second;
}

static json_t *speed_winner(const player *p, size_t n)
{
    const player *w = best_by(p, n, by_speed), *second = w ? runner_up(p, n, w, by_speed) : NULL;
    char          why[400];
    if (!w) return winner(NULL, 0, "", false, "no speed was measured");
    bool clear = !second || w->speed - w->speed_half > second->speed + second->speed_half;
    if (!second) (void)snprintf(why, sizeof why, "the only one measured");
    else if (clear) (void)snprintf(why, sizeof why, "%.2f x the next, %s", w->speed / second->speed, str(second->row, "label"));
    else (void)snprintf(why, sizeof why, "not clear: the intervals of it and %s (%.0f) overlap", str(second->row, "label"), second->speed);
    return winner(w, w->speed, "tokens/s", clear, why);
}

static json_t *memory_winner(const player *p, size_t n)
{
    const player *w = best_by(p, n, by_memory), *second = w ? runner_up(p, n, w, by_memory) : NULL;
    char          why[400], b[32];
    if (!w) return winner(NULL, 0, "", false, "no memory was measured");
    bool reported = w->memory == w->reported;
    (void)snprintf(why, sizeof why, "%s%s%s%s%s", reported ? "weights, KV cache and buffers as the runtimes report them" : "peak resident memory: not every runtime reports its buffers",
                   second ? "; next is " : "", second ? str(second->row, "label") : "", second ? " with " : "",
                   second ? hone_text_bytes((uint64_t)second->memory, b, sizeof b) : "");
    return winner(w, w->memory, "bytes", !second || w->memory < second->memory, why);
}

/* Tasks where all have them; else closeness to the reference; else perplexity.  Shared items make task accuracies comparable, but not to the last one. */
static json_t *accuracy_winner(const player *p, size_t n)
{
    char          why[400];
    const player *w = best_by(p, n, by_accuracy), *k = best_by(p, n, by_kld);
    if (w) {
        size_t equal = 0;
        for (size_t i = 0; i < n; i++) equal += !isnan(p[i].accuracy) && p[i].accuracy == w->accuracy;
        if (equal > 1) { /* the closer to the reference among equals */
            for (size_t i = 0; i < n; i++)
                if (p[i].accuracy == w->accuracy && !isnan(p[i].kld) && (isnan(w->kld) || p[i].kld < w->kld)) w = &p[i];
            (void)snprintf(why, sizeof why, "%zu answer as many tasks rightly; of them the closest to the reference", equal);
            return winner(w, w->accuracy, "share of tasks", false, why);
        }
        const player *second = runner_up(p, n, w, by_accuracy);
        const json_t *e = json_object_get(w->row, "eval");
        double        half = half_of(e, "accuracy");
        bool          clear = !second || w->accuracy - half > second->accuracy;
        if (!second) (void)snprintf(why, sizeof why, "the only one measured");
        else (void)snprintf(why, sizeof why, "%s%.1f %% of the tasks; next is %s with %.1f %%", clear ? "" : "not clear (within the 95 % interval): ", 100 * w->accuracy,
                            str(second->row, "label"), 100 * second->accuracy);
        return winner(w, w->accuracy, "share of tasks", clear, why);
    }
    if (k) return winner(k, k->kld, "nat per token", true, "smallest KL divergence from the reference; no tasks were given");
    if ((k = best_by(p, n, by_perplexity))) return winner(k, k->perplexity, "perplexity", false, "lowest perplexity; neither tasks nor a reference were given");
    return winner(NULL, 0, "", false, "no quality was measured: give a text (--text), tasks (--tasks) or both");
}

/* What each keeps of the best, weighed; as hone optimize does. */
static json_t *balanced_winner(player *p, size_t n, double speed, double accuracy, double memory)
{
    const player *fast = best_by(p, n, by_speed), *lean = best_by(p, n, by_memory), *good = best_by(p, n, by_accuracy);
    double        sum = speed + accuracy + memory;
    bool          quality = good || best_by(p, n, by_kld);
    char          why[400];
    if (!fast || !lean || !(sum > 0)) return winner(NULL, 0, "", false, "speed and memory were not both measured");
    for (size_t i = 0; i < n; i++) {
        player *x = &p[i];
        double  kept = good && !isnan(x->accuracy) ? x->accuracy / good->accuracy : !isnan(x->kld) ? exp(-x->kld) : quality ? NAN : 1;
        x->score = (speed * x->speed / fast->speed + accuracy * kept + memory * lean->memory / x->memory) / sum;
        if (!isnan(x->score) && !hone_json_put(x->row, "score", hone_json_real(x->score))) return NULL;
    }
    const player *w = best_by(p, n, by_score), *second = w ? runner_up(p, n, w, by_score) : NULL;
    if (!w) return winner(NULL, 0, "", false, "no row has speed, memory and quality");
    double noise = second ? speed / sum * hypot(w->speed_half, second->speed_half) / fast->speed : 0;
    bool   clear = !second || w->score - second->score > noise;
    (void)snprintf(why, sizeof why, "%s%s%s%s", clear ? "" : "not clear: the lead is within the uncertainty of the speeds; ", second ? "next is " : "the only one measured",
                   second ? str(second->row, "label") : "", quality ? "" : "; without quality, which was not measured");
    return winner(w, w->score, "score", clear, why);
}

/* As good everywhere and better somewhere, in speed, memory and closeness (or tasks).  What was not measured dominates nothing. */
static bool dominates(const player *a, const player *b)
{
    if (isnan(a->speed) || isnan(a->memory)) return false;
    double x = !isnan(a->kld) && !isnan(b->kld) ? b->kld - a->kld : !isnan(a->accuracy) && !isnan(b->accuracy) ? a->accuracy - b->accuracy : 0;
    if (a->speed < b->speed || a->memory > b->memory || x < 0) return false;
    return a->speed > b->speed || a->memory < b->memory || x > 0;
}

static bool put_front(const player *p, size_t n)
{
    bool good = true;
    for (size_t i = 0; good && i < n; i++) {
        bool front = !isnan(p[i].speed) && !isnan(p[i].memory);
        for (size_t k = 0; front && k < n; k++) front = k == i || !dominates(&p[k], &p[i]);
        good = isnan(p[i].speed) || hone_json_put(p[i].row, "pareto", json_boolean(front));
    }
    return good;
}

hone_code hone_scorecard_judge(hone_scorecard *s, double speed, double accuracy, double memory, hone_err *err)
{
    player *p = HONE_ARENA_NEW(&s->arena, player, json_array_size(s->rows) + 1);
    if (!p) return HONE_NOMEM(err, "the result");
    size_t n = 0;
    if (!gather(s, p, &n) || !put_front(p, n)) return HONE_NOMEM(err, "the winners");
    json_decref(s->winners);
    s->winners = json_object();
    bool good = s->winners && hone_json_put(s->winners, "speed", speed_winner(p, n)) && hone_json_put(s->winners, "accuracy", accuracy_winner(p, n)) &&
                hone_json_put(s->winners, "memory", memory_winner(p, n)) &&
                hone_json_put(s->winners, "balanced", balanced_winner(p, n, speed, accuracy, memory)) &&
                hone_json_put(s->winners, "weights", json_pack("{s:f,s:f,s:f}", "speed", speed, "accuracy", accuracy, "memory", memory));
    return good ? HONE_OK : HONE_NOMEM(err, "the winners");
}

/* ---- documents ---- */

static bool failed_entry(json_t *o, const json_t *row)
{
    const json_t *f = json_object_get(row, "failure");
    if (!f) return json_object_get(o, "failed") || hone_json_put(o, "failed", json_false());
    return hone_json_put(o, "failed", json_true()) && hone_json_put(o, "failure", json_string(str(f, "cause"))) && hone_metric_put_text(o, "remedy", str(f, "remedy")) &&
           hone_json_put(o, "failure_code", json_string(str(f, "code")));
}

/* What a verb's entry looks like when nothing was measured: every figure with the reason. */
static json_t *blank(const char *part, const json_t *row)
{
    const char *why = str(json_object_get(row, "failure"), "cause");
    if (strcmp(part, "bench") == 0) {
        hone_bench_result r = { .failed = true };
        hone_metric      *all[] = { &r.load_ms, &r.ttft_p50, &r.ttft_p95, &r.ttft_p99, &r.latency_p50, &r.latency_p95, &r.latency_p99, &r.prefill_tok_s,
                                    &r.decode_tok_s, &r.cv, &r.peak_rss_bytes, &r.cpu_utilization, &r.energy_j_per_token };
        for (size_t i = 0; i < HONE_COUNT(all); i++) *all[i] = hone_metric_none(why);
        return hone_bench_json(&r);
    }
    if (strcmp(part, "eval") == 0) {
        hone_eval_result r = { .reference_kind = "none" };
        r.perplexity = r.kld_mean = r.kld_p99 = r.top1 = r.accuracy = hone_metric_none(why);
        return hone_eval_json(&r);
    }
    return json_object();
}

json_t *hone_scorecard_results(const hone_scorecard *s, const char *part)
{
    static const char *const parts[] = { "check", "eval", "bench", "layers", "layers_missing", "score", "pareto" };
    static const char *const about[] = { "path", "name", "label", "format", "precision", "bytes", "memory_bytes", "memory_basis" };
    json_t *list = json_array();
    size_t  i;
    json_t *row;
    bool    good = list != NULL;
    json_array_foreach(s->rows, i, row) {
        const json_t *own = json_object_get(row, part);
        json_t       *o = own ? json_copy((json_t *)(uintptr_t)own) : failed(row) ? blank(part, row) : json_object();
        for (size_t k = 0; good && k < HONE_COUNT(about); k++)
            if (json_object_get(row, about[k]) && (!json_object_get(o, about[k]) || json_is_null(json_object_get(o, about[k])))) good = json_object_set(o, about[k], json_object_get(row, about[k])) == 0;
        for (size_t k = 0; good && k < HONE_COUNT(parts); k++)
            if (strcmp(parts[k], part) != 0 && json_object_get(row, parts[k])) good = json_object_set(o, parts[k], json_object_get(row, parts[k])) == 0;
        good = good && o && failed_entry(o, row);
        if (json_array_append_new(list, o) != 0) good = false;
    }
    if (good) return list;
    json_decref(list);
    return NULL;
}

hone_code hone_scorecard_write(const hone_ctx *ctx, const hone_scorecard *s, const char *verb, const char *command, const char *path, hone_err *err)
{
    json_t   *machine = NULL, *about = NULL;
    hone_text page = { 0 };
    hone_code code = hone_probe_facts(ctx, NULL, NULL, 0, &machine, err);
    if (code == HONE_OK && (!(about = json_pack("{s:s,s:s,s:O}", "verb", verb, "hone", HONE_VERSION, "machine", machine)) || !hone_metric_put_text(about, "command", command))) code = HONE_NOMEM(err, "the page");
    if (code == HONE_OK) code = hone_scorecard_html(s, about, &page, err);
    if (code == HONE_OK) code = hone_out_put(path, page.ptr, page.len, err);
    hone_text_release(&page);
    json_decref(about);
    json_decref(machine);
    return code;
}
