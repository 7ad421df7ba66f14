/* optimize.c - the main job, stage by stage.  Everything measured is read back from its JSON record, so that a resumed run
 * and a fresh one go through the same code; every record reaches history.db before the next measurement begins. */
#include "flow/optimize.h"
#include "base/file.h"
#include "flow/convert.h"
#include "flow/history.h"
#include "flow/optimize/judge.h"
#include "flow/optimize/state.h"
#include "flow/probe.h"
#include "flow/report.h"
#include "measure/measure.h"
#include <stdlib.h>
#include <time.h>

static double now_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- stage 4: the chosen encoding on 1, 2, ... threads; the fastest decode wins, fewer threads on a tie ---- */

static hone_code accelerate(hone_opt_state *s, hone_err *err)
{
    unsigned most = hone_ctx_threads(s->ctx);
    uint32_t rounds = s->opt->repeat > 6 ? s->opt->repeat / 2 : 3; /* to find the peak; stage 5 measures it */
    s->threads = 1;
    for (unsigned t = 1; t <= most; t = t * 2 > most && t < most ? most : t * 2) {
        json_t *r = NULL;
        HONE_TRY(hone_opt_bench(s, (hone_candidate *[]){ s->chosen }, 1, t, rounds, "threads", &r, err));
        double decode = hone_doc_number(r, "decode_tok_s", 0), best = hone_doc_number(s->sweep_best, "decode_tok_s", 0);
        hone_event_note(s->ctx, "%u thread%s  decode %.0f tokens/s", t, t == 1 ? " " : "s", decode);
        json_t *row = json_pack("{s:I,s:O}", "threads", (json_int_t)t, "bench", r);
        if (!row || json_array_append_new(s->sweep, row) != 0) {
            json_decref(r);
            return HONE_NOMEM(err, "a record");
        }
        /* Within 3 % fewer threads are the better neighbour on a device that does other things too. */
        if (!s->sweep_best || decode > best * 1.03) {
            json_decref(s->sweep_best);
            s->sweep_best = json_incref(r);
            s->threads = t;
        }
        json_decref(r);
    }
    return HONE_OK;
}

static hone_code find_texts(hone_opt_state *s, hone_err *err)
{
    const char *text = hone_arena_printf(&s->arena, "%s/eval/heldout.txt", s->model.path);
    const char *tasks = hone_arena_printf(&s->arena, "%s/eval/tasks.jsonl", s->model.path);
    if (!text || !tasks) return HONE_NOMEM(err, "a path");
    s->text = s->opt->text ? s->opt->text : hone_file_exists(text) ? text : NULL;
    s->tasks = s->opt->tasks ? s->opt->tasks : hone_file_exists(tasks) ? tasks : NULL;
    if (!s->text)
        return HONE_FAIL(err, HONE_EUSAGE, "name a text with --text FILE: held-out text of the kind the model will meet",
                         "there is no text to judge quality on: '%s' is missing", text);
    if (!s->tasks)
        hone_event_warn(s->ctx, "name multiple-choice items with --tasks FILE", "no tasks: KL divergence alone stands for accuracy, and the accuracy gate stays not measured");
    return HONE_OK;
}

static hone_code prepare(hone_opt_state *s, hone_err *err)
{
    const char *db = hone_arena_printf(&s->arena, "%s/history.db", s->opt->out_dir);
    if (!db) return HONE_NOMEM(err, "a path");
    HONE_TRY(hone_model_open(&s->inner, s->opt->source, &s->model, err));
    if (s->model.facts.kind != HONE_KIND_DECODER)
        return HONE_FAIL(err, HONE_EUNSUPPORTED, "hone convert and hone check work on encoders", "'%s' is an encoder: optimize measures text generation",
                         s->opt->source);
    HONE_TRY(hone_dir_make(s->opt->out_dir, err));
    HONE_TRY(hone_opt_lock(s, err));
    HONE_TRY(hone_opt_target(s, err));
    HONE_TRY(hone_opt_candidates(s, err));
    HONE_TRY(find_texts(s, err));
    HONE_TRY(hone_opt_digests(s, err));
    HONE_TRY(hone_history_open(db, &s->history, err));
    HONE_TRY(hone_probe(s->ctx, NULL, false, &s->machine, err));
    return hone_history_begin(s->history, s->opt->command, s->opt->source, s->opt->target, s->machine, &s->run_id, err);
}

static void stage_begin(hone_opt_state *s, int n, double *since, const char *what)
{
    double now = now_s();
    if (n > 1) s->stage_s[n - 2] = now - *since;
    *since = now;
    if (what) hone_event_step(s->ctx, "stage %d of 5: %s", n, what);
}

static uint64_t size_of(const char *path)
{
    hone_file f;
    uint64_t  n = 0;
    if (path && hone_file_open(path, &f, NULL) == HONE_OK) {
        n = f.size;
        hone_file_close(&f);
    }
    return n;
}

/* How many tokens there is time for: 0 is all of them.  A runtime that is made for another processor may take hours for what others do in seconds;
 * it cannot win on speed here, and a short text shows whether it is still the model. */
static uint32_t time_for(const hone_opt_state *s, const hone_candidate *c)
{
    enum { PATIENCE_S = 60, SHORT_S = 12, LEAST = 64, MOST = 1022, BYTES_PER_TOKEN = 3 };
    double speed = hone_doc_number(c->bench, "prefill_tok_s", 0), tokens = (double)size_of(s->text) / BYTES_PER_TOKEN;
    if (s->opt->max_tokens && tokens > s->opt->max_tokens) tokens = s->opt->max_tokens;
    if (!s->opt->max_items) tokens += (double)size_of(s->tasks) / BYTES_PER_TOKEN;
    if (!(speed > 0) || tokens / speed <= PATIENCE_S) return 0;
    double some = speed * SHORT_S;
    return some < LEAST ? LEAST : some > MOST ? MOST : (uint32_t)some;
}

#define BASE_TOKENS 1022

/* Quality of the other formats' artefacts, now that their speeds are known. */
static hone_code evaluate_others(hone_opt_state *s, hone_err *err)
{
    hone_candidate *which[HONE_MAX_OUTPUTS];
    size_t          n = 0;
    for (size_t i = 1; i < s->n; i++) {
        hone_candidate *c = &s->c[i];
        if (!c->format || c->failure[0]) continue;
        c->brief = time_for(s, c);
        if (c->role == HONE_OPT_RUNTIME_BASE && !c->brief) c->brief = BASE_TOKENS; /* it cannot be chosen: is it still the model? */
        if (!c->brief) which[n++] = c;
    }
    HONE_TRY(hone_opt_eval(s, which, n, 0, err));
    for (size_t i = 1; i < s->n; i++) {
        hone_candidate *c = &s->c[i];
        if (c->brief) HONE_TRY(hone_opt_eval(s, &c, 1, c->brief, err));
    }
    return HONE_OK;
}

/* Stages 1 to 3: every candidate made, proven, evaluated and benchmarked; one is chosen, or none. */
static hone_code measure_candidates(hone_opt_state *s, double *since, hone_err *err)
{
    hone_candidate *base = &s->c[0], *format = base, *which[HONE_MAX_OUTPUTS];
    json_t         *bench[HONE_MAX_OUTPUTS];
    size_t          n = 0;
    stage_begin(s, 1, since, "baseline: the source in its own type");
    HONE_TRY(hone_opt_artefacts(s, err));
    for (size_t i = 0; i < s->n; i++) n += !s->c[i].absent;
    hone_event_note(s->ctx, "%zu artefacts in %s/candidates", n, s->opt->out_dir);
    n = 0;
    HONE_TRY(hone_opt_eval(s, &base, 1, 0, err));
    if (base->failure[0]) return HONE_FAIL(err, HONE_ERUNTIME, "", "the baseline cannot be evaluated: %s", base->failure);

    stage_begin(s, 2, since, "format conversion, proven against the source");
    for (size_t i = 1; i < s->n; i++)
        if (s->c[i].role == HONE_OPT_FORMAT) format = &s->c[i];
    HONE_TRY(hone_opt_check(s, base, err));
    HONE_TRY(hone_opt_check(s, format, err));
    for (size_t i = 1; i < s->n; i++)
        if (s->c[i].role == HONE_OPT_RUNTIME_BASE) HONE_TRY(hone_opt_check(s, &s->c[i], err));
    if (format != base) HONE_TRY(hone_opt_eval(s, &format, 1, 0, err));

    stage_begin(s, 3, since, "quantisation");
    for (size_t i = 1; i < s->n; i++)
        if (s->c[i].role == HONE_OPT_CANDIDATE && !s->c[i].format) which[n++] = &s->c[i];
    HONE_TRY(hone_opt_eval(s, which, n, 0, err));
    n = 0;
    for (size_t i = 0; i < s->n; i++)
        if (!s->c[i].failure[0]) which[n++] = &s->c[i];
    hone_event_note(s->ctx, "benchmark of %zu artefacts, %u interleaved rounds on 1 thread", n, s->opt->repeat);
    hone_code code = hone_opt_bench(s, which, n, 1, s->opt->repeat, "encodings", bench, err);
    for (size_t i = 0; i < n; i++) which[i]->bench = bench[i];
    if (code != HONE_OK) return code;
    if (base->failure[0]) return HONE_FAIL(err, HONE_ERUNTIME, "", "the baseline cannot be benchmarked: %s", base->failure);
    HONE_TRY(evaluate_others(s, err));
    hone_opt_choose(s);
    return HONE_OK;
}

static hone_code measure_all(hone_opt_state *s, hone_err *err)
{
    char   what[120];
    double since = 0;
    HONE_TRY(measure_candidates(s, &since, err));
    /* The chosen file must be the same model too; one that is not makes way for the next. */
    while (s->chosen) {
        hone_candidate *c = s->chosen;
        HONE_TRY(hone_opt_check(s, c, err));
        hone_opt_choose(s);
        if (c == s->chosen) break;
    }
    if (!s->chosen) {
        stage_begin(s, 4, &since, NULL);
        return HONE_OK;
    }
    (void)snprintf(what, sizeof what, "hardware acceleration of %s", s->chosen->quant);
    stage_begin(s, 4, &since, what);
    HONE_TRY(accelerate(s, err));

    (void)snprintf(what, sizeof what, "production validation of %s on %u thread%s", s->chosen->quant, s->threads, s->threads == 1 ? "" : "s");
    stage_begin(s, 5, &since, what);
    json_t *pair[2] = { NULL, NULL };
    /* Twice the rounds: the tail of the latency distribution is what the gates and alerts rest on. */
    hone_candidate *base = &s->c[hone_opt_base_of(s, s->chosen) - s->c]; /* ratios are taken in the same runtime */
    hone_code code = hone_opt_bench(s, (hone_candidate *[]){ base, s->chosen }, 2, s->threads, 2 * s->opt->repeat, "validation", pair, err);
    s->final_base = pair[0];
    s->final_chosen = pair[1];
    stage_begin(s, 6, &since, NULL);
    return code;
}

static hone_code write_reports(hone_opt_state *s, json_t *doc, hone_err *err)
{
    const char *html = hone_arena_printf(&s->arena, "%s/report.html", s->opt->out_dir);
    const char *json = hone_arena_printf(&s->arena, "%s/report.json", s->opt->out_dir);
    if (!html || !json) return HONE_NOMEM(err, "a path");
    if (!hone_json_put(doc, "report", json_string(html))) return HONE_NOMEM(err, "the report");
    hone_err no = { 0 };
    bool     pass = json_is_true(json_object_get(doc, "gates_pass"));
    json_t  *whole = json_pack("{s:s,s:b}", "schema", "hone.optimize/1", "ok", pass);
    if (!pass && hone_opt_verdict(s, doc, &no) != HONE_OK && whole &&
        !hone_json_put(whole, "error", json_pack("{s:s,s:i,s:s,s:s}", "code", hone_code_name(no.code), "exit", (int)no.code, "cause", no.cause, "remedy", no.remedy))) {
        json_decref(whole);
        whole = NULL;
    }
    char *text = whole && json_object_update(whole, doc) == 0
                       ? json_dumps(whole, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(12)) : NULL;
    json_decref(whole);
    hone_text page = { 0 };
    hone_code code = text ? hone_out_put(json, text, strlen(text), err) : HONE_NOMEM(err, "the report");
    free(text);
    if (code == HONE_OK) code = hone_report_html(doc, &page, err);
    if (code == HONE_OK) code = hone_out_put(html, page.ptr, page.len, err);
    hone_text_release(&page);
    return code;
}

hone_code hone_optimize(const hone_ctx *ctx, const hone_optimize_options *given, json_t *doc, hone_err *err)
{
    hone_optimize_options opt = *given;
    if (!opt.repeat) opt.repeat = 10;
    if (!opt.prompt) opt.prompt = 128;
    if (!opt.gen) opt.gen = 32;
    if (!(opt.min_accuracy > 0)) opt.min_accuracy = 0.95;
    if (!(opt.gate_speed > 0)) opt.gate_speed = 2;
    if (!(opt.gate_memory > 0)) opt.gate_memory = 0.5;
    if (!(opt.gate_variation > 0)) opt.gate_variation = 0.2;
    double sum = opt.prefer_speed + opt.prefer_accuracy + opt.prefer_memory;
    if (!(sum > 0)) {
        opt.prefer_speed = 0.5;
        opt.prefer_accuracy = 0.3;
        opt.prefer_memory = 0.2;
        sum = 1;
    }
    opt.prefer_speed /= sum;
    opt.prefer_accuracy /= sum;
    opt.prefer_memory /= sum;

    hone_opt_state *s = hone_opt_state_new(ctx, &opt);
    if (!s) return HONE_NOMEM(err, "the run");
    double    begin = now_s();
    hone_code code = prepare(s, err);
    if (code == HONE_OK) code = measure_all(s, err);
    if (code != HONE_OK && hone_ctx_cancelled(ctx)) code = HONE_INTERRUPTED(err); /* whoever noticed, and in whatever words */
    s->seconds = now_s() - begin;
    if (code == HONE_OK) code = hone_opt_document(s, doc, err);
    if (code == HONE_OK) code = write_reports(s, doc, err);
    if (s->history && s->run_id) {
        const char *verdict = code != HONE_OK ? hone_ctx_cancelled(ctx) ? "interrupted" : "failed" : json_is_true(json_object_get(doc, "gates_pass")) ? "pass" : "no";
        hone_code   ended = hone_history_end(s->history, s->run_id, verdict, json_object_get(doc, "chosen"), code == HONE_OK ? err : NULL);
        if (code == HONE_OK) code = ended;
    }
    if (code == HONE_OK && !json_is_true(json_object_get(doc, "gates_pass"))) code = hone_opt_verdict(s, doc, err);
    hone_opt_state_release(s);
    return code;
}
