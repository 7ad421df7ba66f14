#include "measure/measure.h"
#include "base/file.h"
#include "base/pool.h"
#include "base/text.h"
#include "measure/eval/parts.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_TEXT (256u << 20)

_Static_assert(sizeof(((hone_task_score *)0)->name) == HONE_TASK_NAME, "a task's name fits its result");

typedef struct work {
    const hone_ctx          *ctx;
    const hone_eval_options *opt;
    hone_arena      a;
    hone_child      ref;
    hone_protocol   protocol;
    hone_eval_text  text;     /* windows NULL: no artefact was opened yet */
    const char     *text_of;  /* the artefact whose ids they are */
    int32_t         bos;
    hone_tasks      tasks;
    hone_eval_side *sides;
    size_t          n, shards, items_in_all; /* shards: of each side's items */
    unsigned        threads;
    double          start;
    atomic_size_t   items_done;
    hone_eval_done  done; void *user;
    pthread_mutex_t lock; /* one call of done at a time; guards opt->keep too */
} work;

static double now_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Opens the artefact so that windows and items fit; what the model was trained for bounds both. */
static hone_code open_artefact(work *w, hone_eval_side *s, hone_err *err)
{
    const hone_eval_options *opt = w->opt;
    s->how.device = opt->device ? opt->device : "cpu";
    s->how.threads = opt->threads ? opt->threads : 1;
    s->how.context = opt->text ? w->protocol.window + 1 : HONE_WINDOW_DEFAULT + 1;
    hone_artefact x;
    bool          encoder;
    HONE_TRY(hone_artefact_open(s->how.path, &s->a, &x, err));
    (void)snprintf(s->res->format, sizeof s->res->format, "%s", x.format);
    HONE_TRY(hone_artefact_encoder(&x, &encoder, err));
    if (encoder)
        return HONE_FAIL(err, HONE_EUNSUPPORTED, "hone check compares its embeddings, hone bench measures its speed",
                         "'%s' is an encoder: it foretells no token, so there is no perplexity and no choice by likelihood", s->how.path);
    hone_event_step(w->ctx, "opening %s", s->how.path);
    HONE_TRY(hone_child_open(w->ctx, NULL, &s->how, &s->child, err));
    memcpy(s->res->runtime, s->child.info.runtime, sizeof s->res->runtime);
    memcpy(s->res->version, s->child.info.version, sizeof s->res->version);
    memcpy(s->res->device, s->child.info.device, sizeof s->res->device);
    memcpy(s->res->fallback, s->child.fallback, sizeof s->res->fallback);
    uint32_t room = s->child.info.n_ctx_train, most = room - (s->child.info.bos >= 0);
    if (!opt->text || !room || w->protocol.window <= most) return HONE_OK;
    if (opt->window || w->protocol.stated || w->text.windows)
        return HONE_FAIL(err, opt->window ? HONE_EUSAGE : HONE_EINPUT, "ask for a shorter window",
                         "windows of %u ids are too long: the model was trained with %u", w->protocol.window, room);
    w->protocol.window = most;
    if (w->protocol.stride > most) w->protocol.stride = most;
    return HONE_OK;
}

/* Bytes that are no text would be read by each runtime in its own way. */
static hone_code check_text(hone_bytes text, const char *path, hone_err *err)
{
    const char *p = (const char *)text.ptr, *end = p + text.len;
    for (size_t line = 1; p < end; line++) {
        const char *nl = memchr(p, '\n', (size_t)(end - p)), *to = nl ? nl + 1 : end;
        if (!hone_utf8_valid(p, (size_t)(to - p)))
            return HONE_FAIL(err, HONE_EINPUT, "give a text in UTF-8", "line %zu of '%s' is no UTF-8", line, path);
        p = to;
    }
    return HONE_OK;
}

/* The first artefact's ids are the group's; the others must read the text in the same way. */
static hone_code prepare_text(work *w, hone_eval_side *s, hone_err *err)
{
    const hone_eval_options *opt = w->opt;
    hone_arena              *a = w->text.windows ? &s->a : &w->a;
    hone_bytes               bytes;
    int32_t                 *ids;
    size_t                   n;
    hone_window             *windows;
    hone_event_step(w->ctx, "tokenising %s", opt->text);
    HONE_TRY(hone_child_words(w->ctx, s->how.path, &s->child, err));
    (void)snprintf(s->res->words_by, sizeof s->res->words_by, "%s", s->child.words_by);
    HONE_TRY(hone_file_slurp(opt->text, MAX_TEXT, a, &bytes, err));
    HONE_TRY(check_text(bytes, opt->text, err));
    HONE_TRY(hone_runner_tokenize(s->child.words, (const char *)bytes.ptr, bytes.len, false, true, a, &ids, &n, err));
    if (n == 0) return HONE_FAIL(err, HONE_EINPUT, "give a text that is not empty", "'%s' becomes no token", opt->text);
    if (opt->max_tokens && n > opt->max_tokens) n = opt->max_tokens;
    bool bos = s->child.info.bos >= 0;
    if (!w->text.windows) {
        HONE_TRY(hone_protocol_windows(&w->protocol, n, bos, a, &windows, &w->text.n_windows, err));
        if (w->text.n_windows == 0) return HONE_FAIL(err, HONE_EINPUT, "give a longer text", "'%s' becomes one token: nothing stands before it", opt->text);
        w->text.ids = ids;
        w->text.n_ids = n;
        w->text.windows = windows;
        w->text_of = s->how.path;
        w->bos = s->child.info.bos;
    } else if (n != w->text.n_ids || memcmp(ids, w->text.ids, n * sizeof *ids) != 0 || s->child.info.bos != w->bos)
        return HONE_FAIL(err, HONE_EINPUT, "evaluate artefacts of one checkpoint together", "it reads '%s' as other token ids than '%s'", opt->text, w->text_of);
    if (!opt->tasks) hone_child_words_close(&s->child);
    hone_protocol_words(&w->protocol, bos, opt->max_tokens, s->res->protocol, sizeof s->res->protocol);
    return HONE_OK;
}

static hone_code prepare_items(work *w, hone_eval_side *s, hone_err *err)
{
    size_t longest;
    HONE_TRY(hone_child_words(w->ctx, s->how.path, &s->child, err));
    if (!s->res->words_by[0]) (void)snprintf(s->res->words_by, sizeof s->res->words_by, "%s", s->child.words_by);
    HONE_TRY(hone_eval_items(w->ctx, &s->child, &w->tasks, w->opt->tasks, w->opt->max_items, &s->a, &s->items, &s->n_items, &longest, err));
    int32_t bos = s->child.info.bos;
    hone_child_words_close(&s->child);
    if (longest <= s->child.info.n_ctx) return HONE_OK;
    if (s->child.info.n_ctx_train && longest > s->child.info.n_ctx_train)
        return HONE_FAIL(err, HONE_EINPUT, "leave out the long items", "%s: an item has %zu tokens, the model was trained with %u", w->opt->tasks,
                         longest, s->child.info.n_ctx_train);
    s->how.context = (uint32_t)longest;
    hone_child_close(&s->child);
    HONE_TRY(hone_child_open(w->ctx, NULL, &s->how, &s->child, err));
    s->child.info.bos = bos; /* the tokenizer's word */
    return HONE_OK;
}

/* Hands the result, or the failure, to the caller. */
static hone_code finish(work *w, size_t i, hone_err *err)
{
    hone_eval_side   *s = &w->sides[i];
    hone_eval_result *r = s->res;
    hone_code         code = HONE_OK;
    hone_child_close(&s->child);
    (void)pthread_mutex_lock(&w->lock);
    r->seconds = now_s() - w->start;
    for (size_t t = 0; s->err.code == HONE_OK && t < r->n_tasks; t++) {
        r->tasks[t].outcomes = w->opt->keep ? hone_arena_strdup(w->opt->keep, r->tasks[t].outcomes) : NULL;
        if (w->opt->keep && !r->tasks[t].outcomes) code = HONE_NOMEM(err, "the outcomes");
    }
    if (r->windows) { /* they are in the side's arena, which ends before the caller's results do */
        bool              wanted = w->opt->keep && w->opt->windows;
        hone_eval_window *kept = wanted ? hone_arena_calloc(w->opt->keep, r->n_windows, sizeof *kept) : NULL;
        if (kept) memcpy(kept, r->windows, r->n_windows * sizeof *kept);
        else if (wanted) code = HONE_NOMEM(err, "the windows");
        r->windows = kept;
    }
    if (code == HONE_OK) code = w->done(w->user, i, s->err.code == HONE_OK ? r : NULL, s->err.code == HONE_OK ? NULL : &s->err, err);
    (void)pthread_mutex_unlock(&w->lock);
    return code;
}

static hone_code tokenise_items(void *user, size_t i, unsigned worker, hone_err *err)
{
    work           *w = user;
    hone_eval_side *s = &w->sides[i];
    (void)worker;
    if (s->err.code != HONE_OK) return HONE_OK;
    hone_code code = prepare_items(w, s, &s->err);
    if (code == HONE_OK && !(s->correct = calloc(s->n_items + 1, sizeof *s->correct))) code = HONE_NOMEM(&s->err, "the tasks");
    return code != HONE_OK && hone_ctx_cancelled(w->ctx) ? HONE_INTERRUPTED(err) : HONE_OK;
}

static void failed(work *w, hone_eval_side *s, const hone_err *why)
{
    (void)pthread_mutex_lock(&w->lock);
    if (s->err.code == HONE_OK) s->err = *why;
    (void)pthread_mutex_unlock(&w->lock);
}

/* One shard of one side's items.  Where there are more cores than sides, a side's items are shared out among several children; whoever
 * finishes last sums up. */
static hone_code answer_items(void *user, size_t job, unsigned worker, hone_err *err)
{
    work           *w = user;
    size_t          i = job / w->shards, k = job % w->shards;
    hone_eval_side *s = &w->sides[i];
    hone_child      more = { 0 }, *c = k ? &more : &s->child;
    hone_err        why = { 0 };
    (void)worker;
    if (s->n_items && s->correct) { /* nothing is changed from here on but err, under the lock */
        size_t    lo = s->n_items * k / w->shards, hi = s->n_items * (k + 1) / w->shards;
        hone_code code = k && hi > lo ? hone_child_open(w->ctx, NULL, &s->how, &more, &why) : HONE_OK;
        if (code == HONE_OK && hi > lo) code = hone_eval_choices(w->ctx, c, s->items + lo, hi - lo, s->correct + lo, &w->items_done, w->items_in_all, &why);
        hone_child_close(&more);
        if (code != HONE_OK && hone_ctx_cancelled(w->ctx)) return HONE_INTERRUPTED(err);
        if (code != HONE_OK) failed(w, s, &why);
    }
    if (atomic_fetch_sub(&s->shards, 1) != 1) return HONE_OK;
    if (s->err.code == HONE_OK && w->opt->tasks) (void)hone_eval_choices_sum(s, &w->tasks, &s->err);
    return finish(w, i, err);
}

/* How many items all artefacts together will be asked. */
static size_t count_items(const work *w)
{
    size_t taken[HONE_MAX_TASKS] = { 0 }, n = 0;
    for (size_t i = 0; i < w->tasks.n_items; i++) {
        size_t *of = &taken[w->tasks.items[i].task];
        if (w->opt->max_items && *of == w->opt->max_items) continue;
        (*of)++;
        n++;
    }
    return n * w->n;
}

static hone_code evaluate(work *w, hone_err *err)
{
    const hone_eval_options *opt = w->opt;
    hone_bytes               bytes;
    hone_eval_side          *any = NULL;
    if (opt->text) HONE_TRY(hone_protocol_find(w->ctx, opt->text, opt->window, opt->stride, &w->protocol, err));
    if (opt->tasks) {
        HONE_TRY(hone_file_slurp(opt->tasks, MAX_TEXT, &w->a, &bytes, err));
        HONE_TRY(hone_tasks_parse(bytes, opt->tasks, HONE_MAX_TASKS, &w->a, &w->tasks, err));
        w->items_in_all = count_items(w);
    }
    for (size_t i = 0; i < w->n; i++) {
        hone_eval_side *s = &w->sides[i];
        hone_code       code = open_artefact(w, s, &s->err);
        if (code == HONE_OK && opt->text) code = prepare_text(w, s, &s->err);
        if (code != HONE_OK && hone_ctx_cancelled(w->ctx)) return HONE_INTERRUPTED(err);
        if (code == HONE_OK && !any) any = s;
    }
    if (opt->text && any) {
        hone_child *ref = NULL;
        if (opt->reference) {
            hone_backend_open how = any->how;
            how.path = opt->reference;
            hone_event_step(w->ctx, "opening the reference %s", opt->reference);
            HONE_TRY(hone_child_open(w->ctx, NULL, &how, &w->ref, err));
            ref = &w->ref;
            HONE_TRY(hone_child_words(w->ctx, opt->reference, ref, err));
            hone_child_words_close(ref);
            if (ref->info.bos != w->bos)
                return HONE_FAIL(err, HONE_EINPUT, "give the unquantised artefact of the same checkpoint", "artefact and reference begin a text with different tokens");
        }
        hone_event_step(w->ctx, ref ? "perplexity, and distance from the reference" : "perplexity");
        HONE_TRY(hone_eval_perplexity(w->ctx, w->sides, w->n, ref, w->threads, &w->text, err));
        hone_child_close(&w->ref);
    }
    if (opt->tasks && any) hone_event_step(w->ctx, "%zu items of %zu tasks", w->items_in_all / w->n, w->tasks.n_names);
    hone_ctx all = w->ctx ? *w->ctx : (hone_ctx){ 0 };
    all.threads = w->threads;
    if (opt->tasks) HONE_TRY(hone_pool_run(&all, w->n, tokenise_items, w, err));
    size_t alive = 0;
    for (size_t i = 0; i < w->n; i++) alive += w->sides[i].err.code == HONE_OK;
    w->shards = opt->tasks && alive && w->threads > alive ? w->threads / alive : 1;
    for (size_t i = 0; i < w->n; i++) atomic_init(&w->sides[i].shards, (unsigned)w->shards);
    return hone_pool_run(&all, w->n * w->shards, answer_items, w, err);
}

static hone_code make_sides(work *w, const char *const *artefacts, hone_err *err)
{
    const hone_eval_options *opt = w->opt;
    w->sides = calloc(w->n, sizeof *w->sides);
    if (!w->sides) return HONE_NOMEM(err, "the evaluation");
    for (size_t i = 0; i < w->n; i++) {
        hone_eval_result *r = w->sides[i].res = calloc(1, sizeof *r);
        if (!r) return HONE_NOMEM(err, "the evaluation");
        w->sides[i].how.path = artefacts[i];
        (void)snprintf(r->path, sizeof r->path, "%s", artefacts[i]);
        (void)snprintf(r->reference_kind, sizeof r->reference_kind, "%s", opt->reference ? "self_converted" : "none");
        if (opt->reference) (void)snprintf(r->reference_path, sizeof r->reference_path, "%s", opt->reference);
        r->perplexity = hone_metric_none("no text was given");
        r->kld_mean = r->kld_p99 = r->top1 = hone_metric_none(opt->text ? "no reference artefact was given" : "no text was given");
        r->accuracy = hone_metric_none("no tasks were given");
    }
    return HONE_OK;
}

hone_code hone_eval_group(const hone_ctx *ctx, const hone_eval_options *opt, const char *const *artefacts, size_t n, hone_eval_done done,
                          void *user, hone_err *err)
{
    if (!opt->text && !opt->tasks) return HONE_FAIL(err, HONE_EUSAGE, "give --text FILE, --tasks FILE or both", "nothing to evaluate with");
    if (opt->reference && !opt->text)
        return HONE_FAIL(err, HONE_EUSAGE, "add --text FILE", "the distance from a reference is measured over a text, and there is none");
    work     w = { .ctx = ctx, .opt = opt, .n = n, .start = now_s(), .done = done, .user = user };
    unsigned each = opt->threads ? opt->threads : 1, all = hone_ctx_threads(ctx);
    w.threads = opt->at_once ? opt->at_once : all > each ? all / each : 1;
    if (pthread_mutex_init(&w.lock, NULL) != 0) return HONE_FAIL(err, HONE_ERESOURCE, "", "cannot make a lock");
    hone_code code = make_sides(&w, artefacts, err);
    if (code == HONE_OK) code = evaluate(&w, err);
    hone_child_close(&w.ref);
    for (size_t i = 0; w.sides && i < n; i++) {
        hone_child_close(&w.sides[i].child);
        hone_arena_release(&w.sides[i].a);
        free(w.sides[i].correct);
        free(w.sides[i].res);
    }
    free(w.sides);
    hone_arena_release(&w.a);
    (void)pthread_mutex_destroy(&w.lock);
    return code;
}

static hone_code take_one(void *user, size_t i, const hone_eval_result *res, const hone_err *failed, hone_err *err)
{
    (void)i;
    if (res) {
        *(hone_eval_result *)user = *res;
        return HONE_OK;
    }
    if (err) *err = *failed;
    return failed->code;
}

hone_code hone_eval(const hone_ctx *ctx, const hone_eval_options *opt, hone_eval_result *out, hone_err *err)
{
    return hone_eval_group(ctx, opt, &opt->artefact, 1, take_one, out, err);
}

static bool put_windows(json_t *o, const hone_eval_result *r)
{
    if (!r->windows) return true;
    json_t *ids = json_array(), *kld = json_array();
    bool    good = ids && kld;
    for (size_t i = 0; good && i < r->n_windows; i++)
        good = json_array_append_new(ids, json_integer((json_int_t)r->windows[i].ids)) == 0 && json_array_append_new(kld, hone_json_real(r->windows[i].kld)) == 0;
    json_t *both = good ? json_pack("{s:O,s:O}", "ids", ids, "kld", kld) : NULL;
    json_decref(ids);
    json_decref(kld);
    return hone_json_put(o, "windows", both);
}

json_t *hone_eval_json(const hone_eval_result *r)
{
    json_t *o = json_object(), *tasks = json_object();
    bool    good = o && tasks && hone_metric_put_text(o, "path", r->path) && hone_metric_put_text(o, "runtime", r->runtime) &&
                hone_metric_put_text(o, "version", r->version) && hone_metric_put_text(o, "format", r->format) &&
                hone_metric_put_text(o, "device", r->device) && hone_metric_put_text(o, "fallback", r->fallback) &&
                hone_metric_put_text(o, "tokenizer", r->words_by) && hone_metric_put(o, "perplexity", &r->perplexity) &&
                hone_json_put(o, "ppl_ci", hone_metric_has_ci(&r->perplexity) ? json_pack("[f,f]", r->perplexity.lo, r->perplexity.hi) : json_null()) &&
                hone_metric_put(o, "kld_mean", &r->kld_mean) && hone_metric_put(o, "kld_p99", &r->kld_p99) && hone_metric_put(o, "top1", &r->top1) &&
                hone_metric_put(o, "accuracy", &r->accuracy) && hone_metric_put_text(o, "protocol", r->protocol) &&
                hone_metric_put_text(o, "reference", r->reference_kind) && hone_metric_put_text(o, "reference_path", r->reference_path) &&
                hone_json_put(o, "tokens", json_integer((json_int_t)r->tokens)) && hone_json_put(o, "seconds", hone_json_real(r->seconds));
    for (size_t i = 0; good && i < r->n_tasks; i++) {
        const hone_metric *m = &r->tasks[i].accuracy;
        good = hone_json_put(tasks, r->tasks[i].name,
                             json_pack("{s:o,s:I,s:o,s:s*}", "accuracy", hone_metric_known(m) ? hone_json_real(m->value) : json_null(), "n",
                                       (json_int_t)m->n, "ci", hone_metric_has_ci(m) ? json_pack("[f,f]", m->lo, m->hi) : json_null(), "items",
                                       r->tasks[i].outcomes));
    }
    good = good && put_windows(o, r) && hone_json_put(o, "tasks", json_incref(tasks));
    json_decref(tasks);
    if (good) return o;
    json_decref(o);
    return NULL;
}
