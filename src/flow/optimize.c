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
#include "passes/mix.h"
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

/* Widest first.  Ten encodings span 3 to 8.5 bits, which shows the whole trade; the measured baseline and f16 join them. */
static const char *const default_quants[] = { "q8_0", "q6_k", "q5_k_m", "q5_k_s", "q4_k_m", "q4_k_s", "iq4_xs", "q4_0", "q3_k_m", "q2_k" };

static double now_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The type that holds most of the weights: what "the source at its own dtype" means. */
static hone_code own_dtype(const hone_model *m, const char **quant, hone_err *err)
{
    uint64_t bytes[HONE_DTYPE_COUNT] = { 0 };
    size_t   best = 0;
    for (size_t i = 0; i < m->source->n_tensors; i++) bytes[m->source->tensors[i].dtype] += m->source->tensors[i].bytes;
    for (size_t i = 1; i < HONE_DTYPE_COUNT; i++)
        if (bytes[i] > bytes[best]) best = i;
    *quant = hone_dtype_name((hone_dtype)best);
    /* Weights in other float types (f64, f8) are held exactly, or as near as llama.cpp can run them, by f32 and f16. */
    if (best == HONE_DTYPE_F64) *quant = "f32";
    if (best == HONE_DTYPE_F8_E4M3 || best == HONE_DTYPE_F8_E5M2) *quant = "f16";
    if (!hone_mix_find(*quant)) return HONE_FAIL(err, HONE_EUNSUPPORTED, "", "most weights are %s, which has no unquantised GGUF form", *quant);
    return HONE_OK;
}

static hone_code add_candidate(hone_opt_state *s, const char *quant, hone_opt_role role, hone_err *err)
{
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->c[i].quant, quant) == 0) return HONE_OK; /* the baseline's own type is asked for as a candidate too */
    if (s->n == HONE_MAX_OUTPUTS) return HONE_FAIL(err, HONE_EUSAGE, "ask for fewer", "more than %d encodings", HONE_MAX_OUTPUTS);
    s->c[s->n++] = (hone_candidate){ .quant = quant, .role = role };
    return HONE_OK;
}

/* One digest over what decides the bytes of every artefact: the source files and the encodings. */
static hone_code source_digest(hone_opt_state *s, hone_err *err)
{
    hone_text t = { 0 };
    char      hex[65];
    hone_code code = HONE_OK;
    for (size_t i = 0; code == HONE_OK && i < s->model.source->n_files; i++) {
        code = hone_sha256_file(s->model.source->files[i], hex, err);
        hone_text_addf(&t, "%s\n", hex);
    }
    static const char *const small[] = { "config.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "generation_config.json",
                                         "special_tokens_map.json", "vocab.txt", "chat_template.jinja" };
    for (size_t i = 0; code == HONE_OK && i < HONE_COUNT(small); i++) {
        const char *p = hone_arena_printf(&s->arena, "%s/%s", s->model.path, small[i]);
        if (!p) code = HONE_NOMEM(err, "a path");
        else if (hone_file_exists(p)) {
            code = hone_sha256_file(p, hex, err);
            hone_text_addf(&t, "%s %s\n", small[i], hex);
        }
    }
    if (code == HONE_OK && t.failed) code = HONE_NOMEM(err, "a digest");
    if (code == HONE_OK) code = hone_sha256((hone_bytes){ (const uint8_t *)t.ptr, t.len }, s->source_sha256, err);
    hone_text_release(&t);
    return code;
}

/* ---- artefacts: all from one read, or taken from an earlier run when their digests still hold ---- */

static bool artefacts_hold(hone_opt_state *s, const json_t *record)
{
    for (size_t i = 0; i < s->n; i++) {
        const json_t *o = json_object_get(record, s->c[i].quant);
        const char   *path = json_string_value(json_object_get(o, "path")), *sha = json_string_value(json_object_get(o, "sha256"));
        char          hex[65];
        if (!path || !sha || !hone_file_exists(path) || hone_sha256_file(path, hex, NULL) != HONE_OK || strcmp(hex, sha) != 0) return false;
    }
    return true;
}

static hone_code take_artefacts(hone_opt_state *s, const json_t *record, hone_err *err)
{
    for (size_t i = 0; i < s->n; i++) {
        const json_t   *o = json_object_get(record, s->c[i].quant);
        hone_candidate *c = &s->c[i];
        c->path = hone_arena_strdup(&s->arena, json_string_value(json_object_get(o, "path")));
        c->sha256 = hone_arena_strdup(&s->arena, json_string_value(json_object_get(o, "sha256")));
        c->bytes = (uint64_t)json_integer_value(json_object_get(o, "bytes"));
        c->bpw = json_number_value(json_object_get(o, "bpw"));
        if (!c->path || !c->sha256) return HONE_NOMEM(err, "a path");
    }
    return HONE_OK;
}

static hone_code make_artefacts(hone_opt_state *s, hone_err *err)
{
    const char *quants[HONE_MAX_OUTPUTS], *dir = hone_arena_printf(&s->arena, "%s/candidates", s->opt->out_dir);
    char        key[65];
    hone_text   what = { 0 };
    json_t     *record = NULL;
    double      begin = now_s();
    if (!dir) return HONE_NOMEM(err, "a path");
    for (size_t i = 0; i < s->n; i++) {
        quants[i] = s->c[i].quant;
        hone_text_addf(&what, "%s,", quants[i]);
    }
    hone_code code = hone_opt_key(s, "convert", s->source_sha256, what.ptr ? what.ptr : "", key, err);
    hone_text_release(&what);
    if (code == HONE_OK && !s->opt->fresh) code = hone_history_find(s->history, key, &record, err);
    if (code == HONE_OK && record && artefacts_hold(s, record)) {
        hone_event_note(s->ctx, "%zu artefacts from an earlier run, digests hold", s->n);
        code = take_artefacts(s, record, err);
        s->reused++;
        json_decref(record);
        s->convert_seconds = now_s() - begin;
        return code;
    }
    json_decref(record);
    hone_convert_result res = { 0 };
    if (code == HONE_OK)
        code = hone_convert(s->ctx, &s->model, &(hone_convert_options){ .quants = quants, .n_quants = s->n, .out_dir = dir }, &res, err);
    if (code != HONE_OK) return code;
    record = json_object();
    bool good = record != NULL;
    for (size_t i = 0; good && i < res.n_outputs; i++)
        good = hone_json_put(record, res.outputs[i].quantization,
                             json_pack("{s:s,s:s,s:I,s:f}", "path", res.outputs[i].path, "sha256", res.outputs[i].sha256, "bytes",
                                       (json_int_t)res.outputs[i].bytes, "bpw", res.outputs[i].bpw));
    good = good && hone_json_put(s->warnings, "convert", json_incref(res.warnings));
    s->convert_seconds = res.seconds;
    s->convert_rss = res.peak_rss_bytes;
    hone_convert_result_release(&res);
    if (!good) code = HONE_NOMEM(err, "a record");
    if (code == HONE_OK) code = take_artefacts(s, record, err);
    if (code == HONE_OK) code = hone_history_add(s->history, s->run_id, key, "convert", dir, s->source_sha256, record, err);
    json_decref(record);
    return code;
}

/* ---- one measurement: from history, or done now and written there at once ---- */

static bool recall(hone_opt_state *s, const char *key, json_t **out, hone_code *code, hone_err *err)
{
    *out = NULL;
    if (s->opt->fresh) return false;
    *code = hone_history_find(s->history, key, out, err);
    if (*code == HONE_OK && *out) s->reused++;
    return *code != HONE_OK || *out;
}

/* A runtime that fails costs its candidate, not the run; lack of disk, an interrupt and our own bugs end the run. */
static bool costs_candidate(hone_code code) { return code == HONE_ERUNTIME || code == HONE_EUNSUPPORTED || code == HONE_EINPUT; }

static void drop(hone_opt_state *s, hone_candidate *c, const hone_err *err)
{
    (void)snprintf(c->failure, sizeof c->failure, "%s", err->cause);
    hone_event_warn(s->ctx, NULL, "%s is out: %s", c->quant, err->cause);
}

static hone_code run_check(hone_opt_state *s, hone_candidate *c, hone_err *err)
{
    char              key[65];
    hone_check_result r;
    hone_err          why = { 0 };
    hone_code         code = hone_opt_key(s, "check", c->sha256, s->source_sha256, key, err);
    if (code != HONE_OK || recall(s, key, &c->check, &code, err)) return code;
    hone_event_step(s->ctx, "check %s: token ids, chat template, logits", c->quant);
    code = hone_check(s->ctx, &(hone_check_options){ .artefact = c->path, .source = s->model.path, .threads = 1 }, &r, &why);
    if (code != HONE_OK) {
        if (costs_candidate(code)) {
            drop(s, c, &why);
            return HONE_OK;
        }
        if (err) *err = why;
        return code;
    }
    if (!(c->check = hone_check_json(&r))) return HONE_NOMEM(err, "a record");
    return hone_history_add(s->history, s->run_id, key, "check", c->path, c->sha256, c->check, err);
}

static hone_code run_eval(hone_opt_state *s, hone_candidate *c, hone_err *err)
{
    const hone_candidate *base = &s->c[0];
    char                  key[65], what[256];
    hone_err              why = { 0 };
    hone_eval_result     *r = calloc(1, sizeof *r);
    if (!r) return HONE_NOMEM(err, "an evaluation");
    (void)snprintf(what, sizeof what, "text=%s tasks=%s tokens=%u items=%u ref=%s", s->text_sha256, s->tasks_sha256, s->opt->max_tokens,
                   s->opt->max_items, c == base ? "-" : base->sha256);
    hone_code code = hone_opt_key(s, "eval", c->sha256, what, key, err);
    if (code == HONE_OK && !recall(s, key, &c->eval, &code, err)) {
        hone_event_step(s->ctx, "evaluate %s: perplexity, tasks%s", c->quant, c == base ? "" : ", KLD against the baseline");
        code = hone_eval(s->ctx,
                         &(hone_eval_options){ .artefact = c->path, .text = s->text, .tasks = s->tasks, .reference = c == base ? NULL : base->path,
                                               .max_tokens = s->opt->max_tokens, .max_items = s->opt->max_items, .threads = 1 },
                         r, &why);
        if (code == HONE_OK) {
            c->eval = hone_eval_json(r);
            code = c->eval ? hone_history_add(s->history, s->run_id, key, "eval", c->path, c->sha256, c->eval, err) : HONE_NOMEM(err, "a record");
        } else if (costs_candidate(code)) {
            drop(s, c, &why);
            code = HONE_OK;
        } else if (err) *err = why;
    }
    free(r);
    return code;
}

/* Benches which[0..n) together, interleaved.  Results land in out[i] (json, owned); a failed one costs its candidate. */
static hone_code run_bench(hone_opt_state *s, hone_candidate **which, size_t n, unsigned threads, uint32_t repeat, const char *stage, json_t **out,
                           hone_err *err)
{
    const char        *paths[HONE_MAX_OUTPUTS];
    char               keys[HONE_MAX_OUTPUTS][65];
    hone_text          what = { 0 };
    hone_code          code = HONE_OK;
    size_t             have = 0;
    hone_bench_result *r = calloc(n, sizeof *r);
    if (!r) return HONE_NOMEM(err, "a benchmark");
    /* Interleaved runs belong together: the set is part of what was measured. */
    for (size_t i = 0; i < n; i++) {
        hone_text_addf(&what, "%s,", which[i]->sha256);
        paths[i] = which[i]->path;
        out[i] = NULL;
    }
    hone_text_addf(&what, "threads=%u prompt=%u gen=%u repeat=%u seed=%u stage=%s", threads, s->opt->prompt, s->opt->gen, repeat, s->opt->seed, stage);
    for (size_t i = 0; code == HONE_OK && i < n; i++) {
        code = hone_opt_key(s, "bench", which[i]->sha256, what.ptr ? what.ptr : "", keys[i], err);
        if (code == HONE_OK && recall(s, keys[i], &out[i], &code, err)) have += out[i] != NULL;
    }
    hone_text_release(&what);
    if (code == HONE_OK && have < n) {
        hone_event_step(s->ctx, "benchmark %s: %zu artefact%s, %u thread%s, %u rounds", stage, n, n == 1 ? "" : "s", threads, threads == 1 ? "" : "s",
                        repeat);
        code = hone_bench(s->ctx,
                          &(hone_bench_options){ .artefacts = paths, .n_artefacts = n, .prompt = s->opt->prompt, .gen = s->opt->gen, .repeat = repeat,
                                                 .threads = threads, .warmup = 1, .seed = s->opt->seed },
                          r, err);
        for (size_t i = 0; code == HONE_OK && i < n; i++) {
            json_decref(out[i]);
            out[i] = hone_bench_json(&r[i]);
            if (!out[i]) code = HONE_NOMEM(err, "a record");
            else if (r[i].failed) (void)snprintf(which[i]->failure, sizeof which[i]->failure, "%s", r[i].failure);
            else code = hone_history_add(s->history, s->run_id, keys[i], "bench", which[i]->path, which[i]->sha256, out[i], err);
        }
    }
    free(r);
    return code;
}

/* ---- stage 4: the chosen encoding on 1, 2, ... threads; the fastest decode wins, fewer threads on a tie ---- */

static hone_code accelerate(hone_opt_state *s, hone_err *err)
{
    unsigned most = hone_ctx_threads(s->ctx);
    s->threads = 1;
    for (unsigned t = 1; t <= most; t = t * 2 > most && t < most ? most : t * 2) {
        json_t *r = NULL;
        HONE_TRY(run_bench(s, (hone_candidate *[]){ s->chosen }, 1, t, s->opt->repeat, "threads", &r, err));
        double decode = hone_doc_number(r, "decode_tok_s", 0), best = hone_doc_number(s->sweep_best, "decode_tok_s", 0);
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

static hone_code digest_or_dash(const char *path, char hex[65], hone_err *err)
{
    if (path) return hone_sha256_file(path, hex, err);
    memcpy(hex, "-", 2);
    return HONE_OK;
}

static hone_code prepare(hone_opt_state *s, hone_err *err)
{
    const char *own;
    HONE_TRY(hone_dir_make(s->opt->out_dir, err));
    HONE_TRY(hone_model_open(s->ctx, s->opt->source, &s->model, err));
    if (s->model.facts.kind != HONE_KIND_DECODER)
        return HONE_FAIL(err, HONE_EUNSUPPORTED, "hone convert and hone check work on encoders", "'%s' is an encoder: optimize measures text generation",
                         s->opt->source);
    HONE_TRY(own_dtype(&s->model, &own, err));
    HONE_TRY(add_candidate(s, own, HONE_OPT_BASELINE, err));
    HONE_TRY(add_candidate(s, "f16", HONE_OPT_FORMAT, err));
    for (size_t i = 0; i < (s->opt->n_quants ? s->opt->n_quants : HONE_COUNT(default_quants)); i++)
        HONE_TRY(add_candidate(s, s->opt->n_quants ? s->opt->quants[i] : default_quants[i], HONE_OPT_CANDIDATE, err));

    const char *text = hone_arena_printf(&s->arena, "%s/eval/heldout.txt", s->model.path);
    const char *tasks = hone_arena_printf(&s->arena, "%s/eval/tasks.jsonl", s->model.path);
    const char *db = hone_arena_printf(&s->arena, "%s/history.db", s->opt->out_dir);
    if (!text || !tasks || !db) return HONE_NOMEM(err, "a path");
    s->text = s->opt->text ? s->opt->text : hone_file_exists(text) ? text : NULL;
    s->tasks = s->opt->tasks ? s->opt->tasks : hone_file_exists(tasks) ? tasks : NULL;
    if (!s->text)
        return HONE_FAIL(err, HONE_EUSAGE, "name a text with --text FILE: held-out text of the kind the model will meet",
                         "there is no text to judge quality on: '%s' is missing", text);
    if (!s->tasks) hone_event_warn(s->ctx, "name multiple-choice items with --tasks FILE", "no tasks: the accuracy gate stays not measured");
    HONE_TRY(digest_or_dash(s->text, s->text_sha256, err));
    HONE_TRY(digest_or_dash(s->tasks, s->tasks_sha256, err));
    HONE_TRY(source_digest(s, err));
    HONE_TRY(hone_history_open(db, &s->history, err));
    HONE_TRY(hone_probe(s->ctx, NULL, false, &s->machine, err));
    HONE_TRY(hone_opt_target(s, err));
    return hone_history_begin(s->history, s->opt->command, s->opt->source, s->opt->target, s->machine, &s->run_id, err);
}

static hone_code measure_all(hone_opt_state *s, hone_err *err)
{
    hone_candidate *which[HONE_MAX_OUTPUTS];
    json_t         *bench[HONE_MAX_OUTPUTS];
    size_t          n = 0;
    double          t0 = now_s(), t1;

    hone_event_step(s->ctx, "stage 1 of 5: baseline (%s, the source's own type) and artefacts", s->c[0].quant);
    HONE_TRY(make_artefacts(s, err));
    HONE_TRY(run_eval(s, &s->c[0], err));
    if (s->c[0].failure[0]) return HONE_FAIL(err, HONE_ERUNTIME, "", "the baseline cannot be evaluated: %s", s->c[0].failure);
    s->stage_s[0] = (t1 = now_s()) - t0;

    hone_event_step(s->ctx, "stage 2 of 5: format conversion, proven");
    HONE_TRY(run_check(s, &s->c[0], err));
    for (size_t i = 1; i < s->n; i++)
        if (s->c[i].role == HONE_OPT_FORMAT) {
            HONE_TRY(run_check(s, &s->c[i], err));
            if (!s->c[i].failure[0]) HONE_TRY(run_eval(s, &s->c[i], err));
        }
    s->stage_s[1] = now_s() - t1;
    t1 = now_s();

    hone_event_step(s->ctx, "stage 3 of 5: quantisation, %zu encodings", s->n);
    for (size_t i = 1; i < s->n; i++)
        if (s->c[i].role == HONE_OPT_CANDIDATE && !s->c[i].failure[0]) HONE_TRY(run_eval(s, &s->c[i], err));
    for (size_t i = 0; i < s->n; i++)
        if (!s->c[i].failure[0]) which[n++] = &s->c[i];
    hone_code code = run_bench(s, which, n, 1, s->opt->repeat, "encodings", bench, err);
    for (size_t i = 0; i < n; i++) which[i]->bench = bench[i];
    if (code != HONE_OK) return code;
    if (s->c[0].failure[0]) return HONE_FAIL(err, HONE_ERUNTIME, "", "the baseline cannot be benchmarked: %s", s->c[0].failure);
    HONE_TRY(hone_opt_choose(s, err));
    s->stage_s[2] = now_s() - t1;
    t1 = now_s();
    if (!s->chosen) return HONE_OK;

    hone_event_step(s->ctx, "stage 4 of 5: hardware acceleration of %s", s->chosen->quant);
    HONE_TRY(accelerate(s, err));
    s->stage_s[3] = now_s() - t1;
    t1 = now_s();

    hone_event_step(s->ctx, "stage 5 of 5: production validation of %s on %u thread%s", s->chosen->quant, s->threads, s->threads == 1 ? "" : "s");
    HONE_TRY(run_check(s, s->chosen, err));
    json_t *pair[2];
    /* Twice the rounds: the tail of the latency distribution is what the gates and alerts rest on. */
    code = run_bench(s, (hone_candidate *[]){ &s->c[0], s->chosen }, 2, s->threads, 2 * s->opt->repeat, "validation", pair, err);
    s->final_base = pair[0];
    s->final_chosen = pair[1];
    s->stage_s[4] = now_s() - t1;
    return code;
}

static hone_code write_reports(hone_opt_state *s, json_t *doc, hone_err *err)
{
    const char *html = hone_arena_printf(&s->arena, "%s/report.html", s->opt->out_dir);
    const char *json = hone_arena_printf(&s->arena, "%s/report.json", s->opt->out_dir);
    if (!html || !json) return HONE_NOMEM(err, "a path");
    if (!hone_json_put(doc, "report", json_string(html))) return HONE_NOMEM(err, "the report");
    json_t *whole = json_pack("{s:s,s:b}", "schema", "hone.optimize/1", "ok", json_is_true(json_object_get(doc, "gates_pass")));
    char   *text = whole && json_object_update(whole, doc) == 0
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

    hone_opt_state *s = calloc(1, sizeof *s);
    if (!s) return HONE_NOMEM(err, "the run");
    s->ctx = ctx;
    s->opt = &opt;
    s->sweep = json_array();
    s->warnings = json_object();
    double    begin = now_s();
    hone_code code = s->sweep && s->warnings ? prepare(s, err) : HONE_NOMEM(err, "the run");
    if (code == HONE_OK) code = measure_all(s, err);
    s->seconds = now_s() - begin;
    if (code == HONE_OK) code = hone_opt_document(s, doc, err);
    if (code == HONE_OK) code = write_reports(s, doc, err);
    if (s->history && s->run_id) {
        const char *verdict = code != HONE_OK ? "failed" : json_is_true(json_object_get(doc, "gates_pass")) ? "pass" : "no";
        hone_code   ended = hone_history_end(s->history, s->run_id, verdict, json_object_get(doc, "chosen"), code == HONE_OK ? err : NULL);
        if (code == HONE_OK) code = ended;
    }
    if (code == HONE_OK && !json_is_true(json_object_get(doc, "gates_pass"))) code = hone_opt_verdict(s, doc, err);
    hone_opt_state_release(s);
    return code;
}
