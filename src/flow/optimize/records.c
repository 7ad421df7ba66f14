/* records.c - one measurement, one record: taken from history, or made now and stored there before the next begins. */
#include "base/text.h"
#include "flow/optimize/state.h"
#include "measure/measure.h"
#include <stdlib.h>

/* Evaluations that share one pass of the reference.  A killed run loses at most these. */
#define GROUP 4
#define BENCH_S 12 /* a candidate that took so long in a benchmark has shown that it is slow */

/* A runtime that fails costs its candidate, not the run. */
static bool costs_candidate(hone_code code) { return code == HONE_ERUNTIME || code == HONE_EUNSUPPORTED || code == HONE_EINPUT; }

/* *out NULL: there is none.  A failure is evidence, but no result: a failed candidate is tried again. */
static hone_code recall(hone_opt_state *s, const char *key, json_t **out, hone_err *err)
{
    *out = NULL;
    if (s->opt->fresh) return HONE_OK;
    HONE_TRY(hone_history_find(s->history, key, out, err));
    if (json_is_true(json_object_get(*out, "failed"))) {
        json_decref(*out);
        *out = NULL;
    }
    if (*out) s->reused++;
    return HONE_OK;
}

static hone_code store(hone_opt_state *s, const char *key, const char *kind, const hone_candidate *c, const json_t *record, hone_err *err)
{
    s->measured++;
    return record ? hone_history_add(s->history, s->run_id, key, kind, c->path, c->sha256, record, err) : HONE_NOMEM(err, "a record");
}

/* The candidate is out; history keeps why. */
static hone_code drop(hone_opt_state *s, hone_candidate *c, const char *key, const char *kind, const hone_err *why, hone_err *err)
{
    char shown[sizeof c->failure];
    if (hone_ctx_cancelled(s->ctx)) return HONE_INTERRUPTED(err); /* the same Ctrl-C reached the runtime first */
    (void)snprintf(c->failure, sizeof c->failure, "%s", hone_text_show(why->cause, strlen(why->cause), shown, sizeof shown));
    hone_event_warn(s->ctx, why->remedy[0] ? why->remedy : NULL, "%s is out: %s", c->quant, c->failure);
    json_t   *record = json_pack("{s:b,s:s,s:s}", "failed", 1, "failure", c->failure, "code", hone_code_name(why->code));
    hone_code code = store(s, key, kind, c, record, err);
    json_decref(record);
    return code;
}

static void say_check(const hone_opt_state *s, const hone_candidate *c, const hone_check_result *r)
{
    const char *found = r->verdict == HONE_VERDICT_FAIL ? "differs from the source: " : "not proven: ";
    if (r->verdict != HONE_VERDICT_PASS) hone_event_note(s->ctx, "%-13s %s%s", c->quant, found, r->why);
    else if (strcmp(r->precision, "quantised") == 0) hone_event_note(s->ctx, "%-13s is sound: token ids and chat template agree, logits are finite", c->quant);
    else hone_event_note(s->ctx, "%-13s is the same model: token ids, chat template and logits agree", c->quant);
}

hone_code hone_opt_check(hone_opt_state *s, hone_candidate *c, hone_err *err)
{
    char              key[65];
    hone_check_result r;
    hone_err          why = { 0 };
    if (c->check) return HONE_OK;
    char what[100];
    if (c->failure[0]) return HONE_OK;
    (void)snprintf(what, sizeof what, "%s context=%u", s->proof_sha256, s->context);
    HONE_TRY(hone_opt_key(s, "check", c->sha256, what, key, err));
    HONE_TRY(recall(s, key, &c->check, err));
    if (c->check) return HONE_OK;
    hone_code code = hone_check(&s->inner, &(hone_check_options){ .artefact = c->path, .source = s->model.path, .context = s->context, .threads = 1 }, &r, &why);
    if (code == HONE_OK) {
        c->check = hone_check_json(&r);
        if (c->check) say_check(s, c, &r);
        return store(s, key, "check", c, c->check, err);
    }
    if (costs_candidate(code)) return drop(s, c, key, "check", &why, err);
    if (err) *err = why;
    return code;
}

/* ---- evaluations ---- */

typedef struct evaluations {
    hone_opt_state  *s;
    hone_candidate **which;
    char           (*keys)[65];
} evaluations;

static void tell(const hone_opt_state *s, const hone_candidate *c, bool earlier)
{
    double ppl = hone_doc_number(c->eval, "perplexity", -1), kld = hone_doc_number(c->eval, "kld_mean", -1), acc = hone_doc_number(c->eval, "accuracy", -1);
    char   a[40] = "", k[40] = "";
    if (kld >= 0) (void)snprintf(k, sizeof k, "   KLD %.4f", kld);
    if (acc >= 0) (void)snprintf(a, sizeof a, "   accuracy %.1f %%", 100 * acc);
    hone_event_note(s->ctx, "%-13s perplexity %.3f%s%s%s", c->quant, ppl, k, a, earlier ? "   (from an earlier run)" : "");
}

static hone_code evaluated(void *user, size_t i, const hone_eval_result *res, const hone_err *failed, hone_err *err)
{
    const evaluations *e = user;
    hone_candidate    *c = e->which[i];
    if (res) {
        c->eval = hone_eval_json(res);
        HONE_TRY(store(e->s, e->keys[i], "eval", c, c->eval, err));
        tell(e->s, c, false);
        return HONE_OK;
    }
    if (costs_candidate(failed->code)) return drop(e->s, c, e->keys[i], "eval", failed, err);
    if (err) *err = *failed;
    return failed->code;
}

/* As many as may lie in memory beside the baseline: half of what is available, as in a benchmark.  *at_once: children at the same time. */
static size_t group_size(const hone_opt_state *s, hone_candidate *const *which, size_t n, unsigned *at_once)
{
    double   half = hone_doc_number(json_object_get(s->machine, "memory"), "available_bytes", 0) / 2;
    uint64_t sum = s->c[0].bytes;
    size_t   k = 0;
    while (k < n && k < GROUP) {
        sum += which[k]->bytes;
        if (k && half > 0 && (double)sum > half) break;
        k++;
    }
    double room = half > 0 ? half / (double)(s->c[0].bytes + 1) : 1;
    *at_once = room < 1 ? 1 : room < hone_ctx_threads(s->ctx) ? (unsigned)room : hone_ctx_threads(s->ctx);
    return k;
}

hone_code hone_opt_eval(hone_opt_state *s, hone_candidate *const *which, size_t n, uint32_t brief, hone_err *err)
{
    hone_candidate *todo[HONE_MAX_OUTPUTS];
    const char     *paths[HONE_MAX_OUTPUTS];
    char            keys[HONE_MAX_OUTPUTS][65], what[320];
    hone_arena      keep = { 0 };
    size_t          left = 0;
    hone_code       code = HONE_OK;
    const char     *reference = NULL;
    for (size_t i = 0; code == HONE_OK && i < n; i++) {
        hone_candidate *c = which[i];
        if (c->failure[0]) continue;
        if (c != &s->c[0]) reference = s->c[0].path;
        (void)snprintf(what, sizeof what, "text=%s tasks=%s tokens=%u items=%u ref=%s", s->text_sha256, brief ? "-" : s->tasks_sha256, brief ? brief : s->opt->max_tokens,
                       brief ? 0 : s->opt->max_items, c == &s->c[0] ? "-" : s->c[0].sha256);
        code = hone_opt_key(s, "eval", c->sha256, what, keys[left], err);
        if (code == HONE_OK) code = recall(s, keys[left], &c->eval, err);
        if (code != HONE_OK) break;
        if (c->eval) tell(s, c, true);
        else {
            paths[left] = c->path;
            todo[left++] = c;
        }
    }
    for (size_t at = 0, k; code == HONE_OK && at < left; at += k) {
        unsigned at_once;
        k = group_size(s, todo + at, left - at, &at_once);
        evaluations e = { s, todo + at, keys + at };
        code = hone_eval_group(&s->inner,
                               &(hone_eval_options){ .text = s->text, .tasks = brief ? NULL : s->tasks, .reference = reference, .max_tokens = brief ? brief : s->opt->max_tokens,
                                                     .max_items = s->opt->max_items, .threads = 1, .at_once = at_once, .keep = &keep },
                               paths + at, k, evaluated, &e, err);
    }
    hone_arena_release(&keep);
    return code;
}

/* ---- benchmarks ---- */

static hone_code bench_key(hone_opt_state *s, hone_candidate *const *which, size_t n, unsigned threads, uint32_t repeat, const char *stage, size_t i,
                           char key[65], hone_err *err)
{
    hone_text what = { 0 };
    /* Interleaved runs belong together: the set is part of what was measured. */
    for (size_t k = 0; k < n; k++) hone_text_addf(&what, "%s,", which[k]->sha256);
    hone_text_addf(&what, "threads=%u prompt=%u gen=%u repeat=%u seed=%u context=%u stage=%s", threads, s->opt->prompt, s->opt->gen, repeat, s->opt->seed,
                   s->context, stage);
    hone_code code = what.failed ? HONE_NOMEM(err, "a key") : hone_opt_key(s, "bench", which[i]->sha256, what.ptr, key, err);
    hone_text_release(&what);
    return code;
}

hone_code hone_opt_bench(hone_opt_state *s, hone_candidate *const *which, size_t n, unsigned threads, uint32_t repeat, const char *stage, json_t **out,
                         hone_err *err)
{
    const char *paths[HONE_MAX_OUTPUTS];
    size_t      todo[HONE_MAX_OUTPUTS], left = 0;
    char        keys[HONE_MAX_OUTPUTS][65];
    hone_err    why = { 0 };
    for (size_t i = 0; i < n; i++) out[i] = NULL;
    for (size_t i = 0; i < n; i++) {
        HONE_TRY(bench_key(s, which, n, threads, repeat, stage, i, keys[i], err));
        HONE_TRY(recall(s, keys[i], &out[i], err));
        if (out[i]) continue;
        paths[left] = which[i]->path;
        todo[left++] = i;
    }
    if (left == 0) return HONE_OK;
    hone_bench_result *r = calloc(left, sizeof *r);
    if (!r) return HONE_NOMEM(err, "a benchmark");
    /* Only a candidate that failed leaves a gap in a set: it is tried again without measuring the others twice. */
    hone_code code = hone_bench(&s->inner,
                                &(hone_bench_options){ .artefacts = paths, .n_artefacts = left, .prompt = s->opt->prompt, .gen = s->opt->gen,
                                                       .repeat = repeat, .threads = threads, .warmup = 1, .budget_s = BENCH_S, .seed = s->opt->seed, .context = s->context },
                                r, &why);
    if (code != HONE_OK && costs_candidate(code) && !hone_ctx_cancelled(s->ctx)) { /* all failed, each with its reason */
        for (size_t k = 0; k < left; k++)
            if (!r[k].failed) {
                r[k].failed = true;
                (void)snprintf(r[k].failure, sizeof r[k].failure, "%s", why.cause);
            }
        code = HONE_OK;
    } else if (code != HONE_OK && err) *err = why;
    bool held = code == HONE_OK && (code = hone_history_hold(s->history, err)) == HONE_OK; /* the set is stored whole or not at all */
    for (size_t k = 0; code == HONE_OK && k < left; k++) {
        hone_candidate *c = which[todo[k]];
        out[todo[k]] = hone_bench_json(&r[k]);
        if (r[k].failed) (void)snprintf(c->failure, sizeof c->failure, "%s", r[k].failure);
        code = store(s, keys[todo[k]], "bench", c, out[todo[k]], err);
    }
    if (held) code = hone_history_settle(s->history, code, err);
    free(r);
    return code;
}
