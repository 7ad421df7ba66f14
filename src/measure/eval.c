#include "measure/measure.h"
#include "base/file.h"
#include "measure/eval/parts.h"
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_TEXT (256u << 20)

_Static_assert(sizeof(((hone_task_score *)0)->name) == HONE_TASK_NAME, "a task's name fits its result");

typedef struct work {
    hone_arena     a;
    hone_child     ours, ref;
    hone_protocol  protocol;
    hone_eval_text text;
    hone_tasks     tasks;
    hone_eval_item *items;
    size_t         n_items, longest;
    hone_backend_open how;
} work;

static double now_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Opens the artefact so that windows and items fit; what the model was trained for bounds both. */
static hone_code open_artefact(const hone_ctx *ctx, const hone_eval_options *opt, work *w, hone_err *err)
{
    w->how = (hone_backend_open){ .path = opt->artefact, .device = "cpu", .threads = opt->threads ? opt->threads : 1 };
    w->how.context = opt->text ? w->protocol.window + 1 : HONE_WINDOW_DEFAULT + 1;
    HONE_TRY(hone_child_open(ctx, NULL, &w->how, &w->ours, err));
    uint32_t room = w->ours.info.n_ctx_train;
    if (!opt->text || !room || w->protocol.window + (w->ours.info.bos >= 0) <= room) return HONE_OK;
    uint32_t most = room - (w->ours.info.bos >= 0);
    if (opt->window || w->protocol.stated)
        return HONE_FAIL(err, opt->window ? HONE_EUSAGE : HONE_EINPUT, "ask for a shorter window",
                         "windows of %u ids are too long: the model was trained with %u", w->protocol.window, room);
    w->protocol.window = most;
    if (w->protocol.stride > most) w->protocol.stride = most;
    return HONE_OK;
}

static hone_code prepare_text(const hone_ctx *ctx, const hone_eval_options *opt, work *w, hone_err *err)
{
    hone_bytes   bytes;
    int32_t     *ids;
    hone_window *windows;
    hone_event_step(ctx, "tokenising %s", opt->text);
    HONE_TRY(hone_file_slurp(opt->text, MAX_TEXT, &w->a, &bytes, err));
    HONE_TRY(hone_runner_tokenize(w->ours.runner, (const char *)bytes.ptr, bytes.len, false, true, &w->a, &ids, &w->text.n_ids, err));
    if (w->text.n_ids == 0) return HONE_FAIL(err, HONE_EINPUT, "give a text that is not empty", "'%s' becomes no token", opt->text);
    if (opt->max_tokens && w->text.n_ids > opt->max_tokens) w->text.n_ids = opt->max_tokens;
    w->text.ids = ids;
    bool bos = w->ours.info.bos >= 0;
    HONE_TRY(hone_protocol_windows(&w->protocol, w->text.n_ids, bos, &w->a, &windows, &w->text.n_windows, err));
    if (w->text.n_windows == 0) return HONE_FAIL(err, HONE_EINPUT, "give a longer text", "'%s' becomes one token: nothing stands before it", opt->text);
    w->text.windows = windows;
    return HONE_OK;
}

static hone_code prepare_tasks(const hone_ctx *ctx, const hone_eval_options *opt, work *w, hone_err *err)
{
    hone_bytes bytes;
    HONE_TRY(hone_file_slurp(opt->tasks, MAX_TEXT, &w->a, &bytes, err));
    HONE_TRY(hone_tasks_parse(bytes, opt->tasks, HONE_MAX_TASKS, &w->a, &w->tasks, err));
    HONE_TRY(hone_eval_items(ctx, &w->ours, &w->tasks, opt->tasks, opt->max_items, &w->a, &w->items, &w->n_items, &w->longest, err));
    if (w->longest <= w->ours.info.n_ctx) return HONE_OK;
    if (w->ours.info.n_ctx_train && w->longest > w->ours.info.n_ctx_train)
        return HONE_FAIL(err, HONE_EINPUT, "leave out the long items", "%s: an item has %zu tokens, the model was trained with %u", opt->tasks,
                         w->longest, w->ours.info.n_ctx_train);
    w->how.context = (uint32_t)w->longest;
    return hone_runner_open(w->ours.runner, &w->how, &w->ours.info, &w->ours.load_ms, err);
}

static hone_code evaluate(const hone_ctx *ctx, const hone_eval_options *opt, work *w, hone_eval_result *res, hone_err *err)
{
    if (opt->text) HONE_TRY(hone_protocol_find(ctx, opt->text, opt->window, opt->stride, &w->protocol, err));
    hone_event_step(ctx, "opening %s", opt->artefact);
    HONE_TRY(open_artefact(ctx, opt, w, err));
    memcpy(res->runtime, w->ours.info.runtime, sizeof res->runtime);
    memcpy(res->version, w->ours.info.version, sizeof res->version);
    if (opt->text) HONE_TRY(prepare_text(ctx, opt, w, err));
    if (opt->tasks) HONE_TRY(prepare_tasks(ctx, opt, w, err));

    if (opt->text) {
        hone_child *ref = NULL;
        long        cores = sysconf(_SC_NPROCESSORS_ONLN);
        hone_protocol_words(&w->protocol, w->ours.info.bos >= 0, opt->max_tokens, res->protocol, sizeof res->protocol);
        if (opt->reference) {
            hone_backend_open how = w->how;
            how.path = opt->reference;
            hone_event_step(ctx, "opening the reference %s", opt->reference);
            HONE_TRY(hone_child_open(ctx, NULL, &how, &w->ref, err));
            ref = &w->ref;
        }
        hone_event_step(ctx, ref ? "perplexity, and distance from the reference" : "perplexity");
        HONE_TRY(hone_eval_perplexity(ctx, &w->ours, ref, cores >= (long)(2 * w->how.threads), &w->text, res, err));
        hone_child_close(&w->ref);
    }
    if (opt->tasks) {
        hone_event_step(ctx, "%zu items of %zu tasks", w->n_items, w->tasks.n_names);
        HONE_TRY(hone_eval_choices(ctx, &w->ours, &w->tasks, w->items, w->n_items, res, err));
    }
    return HONE_OK;
}

hone_code hone_eval(const hone_ctx *ctx, const hone_eval_options *opt, hone_eval_result *out, hone_err *err)
{
    if (!opt->text && !opt->tasks) return HONE_FAIL(err, HONE_EUSAGE, "give --text FILE, --tasks FILE or both", "nothing to evaluate with");
    if (opt->reference && !opt->text)
        return HONE_FAIL(err, HONE_EUSAGE, "add --text FILE", "the distance from a reference is measured over a text, and there is none");
    work             w = { 0 };
    hone_eval_result res = { 0 };
    double           start = now_s();
    (void)snprintf(res.path, sizeof res.path, "%s", opt->artefact);
    (void)snprintf(res.reference_kind, sizeof res.reference_kind, "%s", opt->reference ? "self_converted" : "none");
    if (opt->reference) (void)snprintf(res.reference_path, sizeof res.reference_path, "%s", opt->reference);
    res.perplexity = hone_metric_none("no text was given");
    res.kld_mean = res.kld_p99 = res.top1 = hone_metric_none(opt->text ? "no reference artefact was given" : "no text was given");
    res.accuracy = hone_metric_none("no tasks were given");
    hone_code code = evaluate(ctx, opt, &w, &res, err);
    hone_child_close(&w.ours);
    hone_child_close(&w.ref);
    hone_arena_release(&w.a);
    res.seconds = now_s() - start;
    if (code == HONE_OK) *out = res;
    return code;
}

json_t *hone_eval_json(const hone_eval_result *r)
{
    json_t *o = json_object(), *tasks = json_object();
    bool    good = o && tasks && hone_metric_put_text(o, "path", r->path) && hone_metric_put_text(o, "runtime", r->runtime) &&
                hone_metric_put_text(o, "version", r->version) && hone_metric_put(o, "perplexity", &r->perplexity) &&
                hone_json_put(o, "ppl_ci", hone_metric_has_ci(&r->perplexity) ? json_pack("[f,f]", r->perplexity.lo, r->perplexity.hi) : json_null()) &&
                hone_metric_put(o, "kld_mean", &r->kld_mean) && hone_metric_put(o, "kld_p99", &r->kld_p99) && hone_metric_put(o, "top1", &r->top1) &&
                hone_metric_put(o, "accuracy", &r->accuracy) && hone_metric_put_text(o, "protocol", r->protocol) &&
                hone_metric_put_text(o, "reference", r->reference_kind) && hone_metric_put_text(o, "reference_path", r->reference_path) &&
                hone_json_put(o, "tokens", json_integer((json_int_t)r->tokens)) && hone_json_put(o, "seconds", hone_json_real(r->seconds));
    for (size_t i = 0; good && i < r->n_tasks; i++) {
        const hone_metric *m = &r->tasks[i].accuracy;
        good = hone_json_put(tasks, r->tasks[i].name,
                             json_pack("{s:o,s:I,s:o}", "accuracy", hone_metric_known(m) ? hone_json_real(m->value) : json_null(), "n",
                                       (json_int_t)m->n, "ci", hone_metric_has_ci(m) ? json_pack("[f,f]", m->lo, m->hi) : json_null()));
    }
    good = good && hone_json_put(o, "tasks", json_incref(tasks));
    json_decref(tasks);
    if (good) return o;
    json_decref(o);
    return NULL;
}
