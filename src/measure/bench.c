#include "measure/measure.h"
#include "base/file.h"
#include "base/text.h"
#include "hw/energy.h"
#include "hw/hw.h"
#include "measure/child.h"
#include "measure/metric/rng.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LOADS 3 /* counted ones; the first of all only brings the file into the page cache */

typedef struct samples { /* growing; rounds x tokens are known beforehand */
    double *x;
    size_t  n;
} samples;

typedef struct candidate {
    hone_bench_result *res;
    const char        *backend;
    hone_backend_open  how;
    hone_child         child;
    bool               open;
    samples            load_ms, ttft_ms, token_ms, prefill_tok_s, decode_tok_s;
    double             cpu_s, wall_s, joules, spent_s;
    uint32_t           rounds; /* counted ones */
    uint64_t           generated, peak_rss;
    hone_err           err; /* of a failed one */
} candidate;

typedef struct bench {
    const hone_ctx *ctx;
    uint32_t        prompt, gen, rounds, warmup, context, seed;
    candidate      *all;
    size_t          n;
    bool            reopen;
    double          budget_s;
    hone_energy    *energy;
    char            no_energy[120];
    int32_t        *ids, *out; /* [prompt], [gen] */
    double         *token_ms;  /* [gen] */
} bench;

static void add(samples *s, double x) { s->x[s->n++] = x; }

static hone_code room_for(candidate *c, const bench *b)
{
    size_t loads = LOADS + b->rounds, tokens = (size_t)b->rounds * b->gen;
    c->load_ms.x = calloc(loads, sizeof(double));
    c->ttft_ms.x = calloc(b->rounds, sizeof(double));
    c->token_ms.x = calloc(tokens, sizeof(double));
    c->prefill_tok_s.x = calloc(b->rounds, sizeof(double));
    c->decode_tok_s.x = calloc(b->rounds, sizeof(double));
    return c->load_ms.x && c->ttft_ms.x && c->token_ms.x && c->prefill_tok_s.x && c->decode_tok_s.x ? HONE_OK : HONE_ERESOURCE;
}

static void candidate_release(candidate *c)
{
    hone_child_close(&c->child);
    free(c->load_ms.x);
    free(c->ttft_ms.x);
    free(c->token_ms.x);
    free(c->prefill_tok_s.x);
    free(c->decode_tok_s.x);
}

static void close_child(candidate *c)
{
    hone_runner_usage u;
    if (c->open && hone_runner_usage_get(c->child.runner, &u, NULL) == HONE_OK && u.peak_rss_bytes > c->peak_rss) c->peak_rss = u.peak_rss_bytes;
    hone_child_close(&c->child);
    c->open = false;
}

/* One failed candidate with its reason; the others go on.  Only an interruption ends the whole. */
static hone_code failed(const bench *b, candidate *c, hone_err *err)
{
    if (hone_ctx_cancelled(b->ctx)) {
        if (err) *err = c->err;
        return HONE_INTERRUPTED(err);
    }
    close_child(c);
    c->res->failed = true;
    (void)snprintf(c->res->failure, sizeof c->res->failure, "%s", c->err.cause);
    (void)snprintf(c->res->remedy, sizeof c->res->remedy, "%s", c->err.remedy);
    c->res->code = c->err.code;
    hone_event_warn(b->ctx, c->err.remedy[0] ? c->err.remedy : NULL, "%s: %s", c->res->path, c->err.cause);
    return HONE_OK;
}

static hone_code open_child(const bench *b, candidate *c, bool counted)
{
    hone_code code = hone_child_open(b->ctx, c->backend, &c->how, &c->child, &c->err);
    if (code != HONE_OK) return code;
    c->open = true;
    if (counted) add(&c->load_ms, c->child.load_ms);
    const hone_backend_info *i = &c->child.info;
    hone_bench_result       *r = c->res;
    memcpy(r->runtime, i->runtime, sizeof r->runtime);
    memcpy(r->version, i->version, sizeof r->version);
    memcpy(r->device, i->device, sizeof r->device);
    memcpy(r->fallback, c->child.fallback, sizeof r->fallback);
    r->weights_bytes = i->weights_bytes;
    r->kv_bytes = i->kv_bytes;
    r->compute_bytes = i->compute_bytes;
    r->n_params = i->n_params;
    if (i->n_vocab == 0) return HONE_FAIL(&c->err, HONE_ERUNTIME, "", "the runtime reports an empty vocabulary");
    return HONE_OK;
}

static hone_code loads(bench *b, candidate *c)
{
    for (int i = 0; i <= LOADS; i++) {
        close_child(c);
        HONE_TRY(open_child(b, c, i > 0));
    }
    uint32_t trained = c->child.info.n_ctx_train;
    if (!c->res->encoder && trained && b->prompt + b->gen > trained)
        hone_event_warn(b->ctx, "the speed is as measured, but the model knows no text of that length", "%u + %u tokens are more than the %u that '%s' was trained for",
                        b->prompt, b->gen, trained, c->res->path);
    if (b->reopen) close_child(c);
    return HONE_OK;
}

static double cpu_seconds(candidate *c)
{
    hone_runner_usage u = { 0 };
    return hone_runner_usage_get(c->child.runner, &u, NULL) == HONE_OK ? u.cpu_user_s + u.cpu_sys_s : 0;
}

static void no_row(void *user, size_t index, const float *values, size_t n)
{
    (void)user;
    (void)index;
    (void)values;
    (void)n;
}

/* An encoder reads the whole text at once: that is its only figure. */
static hone_code one_embedding(bench *b, candidate *c, bool counted)
{
    uint32_t n = b->prompt, most = c->child.info.n_ctx_train;
    double   ms = 0, cpu = cpu_seconds(c);
    if (most && n > most)
        return HONE_FAIL(&c->err, HONE_EUSAGE, "ask for a shorter --prompt", "a text of %u tokens is longer than the %u that the model reads", n, most);
    HONE_TRY(hone_runner_forward(c->child.runner, b->ids, n, 0, NULL, no_row, NULL, &ms, &c->err));
    if (!counted || !(ms > 0)) return HONE_OK;
    c->cpu_s += cpu_seconds(c) - cpu;
    c->wall_s += ms / 1000;
    add(&c->ttft_ms, ms);
    add(&c->prefill_tok_s, n / (ms / 1000));
    return HONE_OK;
}

static hone_code one_run(bench *b, candidate *c, bool counted)
{
    double   joules[2] = { 0, 0 };
    hone_err energy_err = { 0 };
    if (b->reopen) HONE_TRY(open_child(b, c, false));
    hone_rng rng = hone_rng_seeded(b->seed);
    for (uint32_t i = 0; i < b->prompt; i++) b->ids[i] = (int32_t)hone_rng_below(&rng, c->child.info.n_vocab);
    if (c->res->encoder) {
        HONE_TRY(one_embedding(b, c, counted));
        if (b->reopen) close_child(c);
        return HONE_OK;
    }
    hone_generate g = { .prompt = b->ids, .n_prompt = b->prompt, .max_new = b->gen, .out = b->out, .token_ms = b->token_ms };
    double        cpu = cpu_seconds(c);
    if (b->energy && hone_energy_read(b->energy, &joules[0], &energy_err) != HONE_OK) goto no_counter;
    HONE_TRY(hone_runner_generate(c->child.runner, &g, &c->err));
    if (b->energy && hone_energy_read(b->energy, &joules[1], &energy_err) != HONE_OK) goto no_counter;
counted:
    if (g.n_out != b->gen)
        return HONE_FAIL(&c->err, HONE_ERUNTIME, "", "the runtime generated %zu of %u tokens", g.n_out, b->gen);
    if (counted) {
        c->cpu_s += cpu_seconds(c) - cpu;
        c->wall_s += (g.prefill_ms + g.decode_ms) / 1000;
        c->joules += joules[1] - joules[0];
        c->generated += g.n_out;
        add(&c->ttft_ms, b->token_ms[0]);
        if (g.prefill_ms > 0) add(&c->prefill_tok_s, b->prompt / (g.prefill_ms / 1000));
        if (b->gen > 1 && g.decode_ms > 0) add(&c->decode_tok_s, (b->gen - 1) / (g.decode_ms / 1000));
        for (uint32_t i = 1; i < b->gen; i++) add(&c->token_ms, b->token_ms[i]);
    }
    if (b->reopen) close_child(c);
    return HONE_OK;
no_counter: /* it went away: no energy for anybody, the speeds stand */
    (void)snprintf(b->no_energy, sizeof b->no_energy, "%.*s", (int)sizeof b->no_energy - 1, energy_err.cause);
    hone_energy_close(b->energy);
    b->energy = NULL;
    if (g.n_out == 0) HONE_TRY(hone_runner_generate(c->child.runner, &g, &c->err));
    goto counted;
}

static void summarise(const bench *b, candidate *c)
{
    hone_bench_result *r = c->res;
    hone_metric       *all[] = { &r->load_ms,     &r->ttft_p50,      &r->ttft_p95,     &r->ttft_p99, &r->latency_p50,    &r->latency_p95,     &r->latency_p99,
                                 &r->prefill_tok_s, &r->decode_tok_s, &r->cv,       &r->peak_rss_bytes, &r->cpu_utilization, &r->energy_j_per_token };
    if (r->failed) {
        for (size_t i = 0; i < HONE_COUNT(all); i++) *all[i] = hone_metric_none(r->failure);
        return;
    }
    r->rounds = c->rounds;
    r->load_ms = hone_metric_mean(c->load_ms.x, c->load_ms.n);
    r->ttft_p50 = hone_metric_percentile(c->ttft_ms.x, c->ttft_ms.n, 0.50);
    r->ttft_p95 = hone_metric_percentile(c->ttft_ms.x, c->ttft_ms.n, 0.95);
    r->ttft_p99 = hone_metric_percentile(c->ttft_ms.x, c->ttft_ms.n, 0.99);
    r->prefill_tok_s = hone_metric_mean(c->prefill_tok_s.x, c->prefill_tok_s.n);
    if (r->encoder)
        r->latency_p50 = r->latency_p95 = r->latency_p99 = r->decode_tok_s = r->cv = hone_metric_none("an encoder generates no tokens");
    else if (b->gen > 1) {
        r->latency_p50 = hone_metric_percentile(c->token_ms.x, c->token_ms.n, 0.50);
        r->latency_p95 = hone_metric_percentile(c->token_ms.x, c->token_ms.n, 0.95);
        r->latency_p99 = hone_metric_percentile(c->token_ms.x, c->token_ms.n, 0.99);
        r->decode_tok_s = hone_metric_mean(c->decode_tok_s.x, c->decode_tok_s.n);
        r->cv = hone_metric_cv(c->decode_tok_s.x, c->decode_tok_s.n);
    } else
        r->latency_p50 = r->latency_p95 = r->latency_p99 = r->decode_tok_s = r->cv =
            hone_metric_none("one generated token: nothing follows the first");
    r->peak_rss_bytes = c->peak_rss ? hone_metric_of((double)c->peak_rss, 1) : hone_metric_none("the system did not report the child's memory");
    r->cpu_utilization = c->wall_s > 0 && c->cpu_s > 0 ? hone_metric_of(c->cpu_s / c->wall_s / r->threads, c->rounds)
                                                       : hone_metric_none("the system reported no CPU time of the child");
    if (!b->energy) r->energy_j_per_token = hone_metric_none(b->no_energy);
    else if (r->encoder) r->energy_j_per_token = hone_metric_none("an encoder generates no tokens");
    else if (!(c->joules > 0)) r->energy_j_per_token = hone_metric_unresolved(c->rounds, "the counter did not move while tokens were made");
    else r->energy_j_per_token = hone_metric_of(c->joules / (double)c->generated, c->rounds);
}

/* The sum of all files against half of what is available. */
static bool too_much_at_once(const bench *b)
{
    uint64_t sum = 0;
    json_t  *memory = NULL;
    for (size_t i = 0; i < b->n; i++) sum += b->all[i].res->file_bytes;
    if (hone_hw_memory(&(hone_hw_query){ .ctx = b->ctx, .roots = &hone_hw_machine }, &memory, NULL) != HONE_OK) return true;
    const json_t *v = json_object_get(memory, "available_bytes");
    bool          much = !json_is_integer(v) || sum > (uint64_t)json_integer_value(v) / 2;
    json_decref(memory);
    return much;
}

static hone_code each(bench *b, hone_code (*step)(bench *, candidate *, bool), bool flag, size_t first, hone_err *err)
{
    for (size_t i = 0; i < b->n; i++) {
        candidate *c = &b->all[(first + i) % b->n];
        if (hone_ctx_cancelled(b->ctx)) return HONE_INTERRUPTED(err);
        if (!c->res->failed && step(b, c, flag) != HONE_OK) HONE_TRY(failed(b, c, err));
    }
    return HONE_OK;
}

/* One round of one, unless it has had its time. */
static hone_code round_step(bench *b, candidate *c, bool counted)
{
    struct timespec t0, t1;
    if (b->budget_s > 0 && c->rounds >= 3 && c->spent_s > b->budget_s) return HONE_OK;
    (void)clock_gettime(CLOCK_MONOTONIC, &t0);
    HONE_TRY(one_run(b, c, counted));
    (void)clock_gettime(CLOCK_MONOTONIC, &t1);
    c->spent_s += (double)(t1.tv_sec - t0.tv_sec) + 1e-9 * (double)(t1.tv_nsec - t0.tv_nsec);
    c->rounds += counted;
    return HONE_OK;
}

static hone_code loads_step(bench *b, candidate *c, bool flag)
{
    (void)flag;
    return loads(b, c);
}

static hone_code rounds(bench *b, hone_err *err)
{
    hone_event_step(b->ctx, "loading %zu artefact%s", b->n, b->n == 1 ? "" : "s");
    HONE_TRY(each(b, loads_step, false, 0, err));
    hone_event_step(b->ctx, "%u warm-up and %u measured rounds of %u + %u tokens", b->warmup, b->rounds, b->prompt, b->gen);
    for (uint32_t r = 0; r < b->warmup + b->rounds; r++) {
        HONE_TRY(each(b, round_step, r >= b->warmup, r % b->n, err));
        hone_event_progress(b->ctx, "rounds", r + 1, b->warmup + b->rounds);
    }
    return HONE_OK;
}

/* Size, format and kind, before anything is started. */
static hone_code look_at(const char *path, candidate *c)
{
    hone_arena    a = { 0 };
    hone_artefact x;
    hone_file     f;
    if (c->backend) { /* who opens it is decided: anything that is a file */
        HONE_TRY(hone_file_open(path, &f, &c->err));
        c->res->file_bytes = f.size;
        hone_file_close(&f);
        return HONE_OK;
    }
    hone_code code = hone_artefact_open(path, &a, &x, &c->err);
    if (code == HONE_OK) {
        c->res->file_bytes = x.bytes;
        (void)snprintf(c->res->format, sizeof c->res->format, "%s", x.format);
        /* A file that cannot be read is its runtime's to refuse: the cause is then in the runtime's words. */
        if (hone_artefact_encoder(&x, &c->res->encoder, NULL) == HONE_OK) c->how.embeddings = c->res->encoder;
    }
    hone_arena_release(&a);
    return code;
}

static hone_code setup(bench *b, const hone_bench_options *opt, hone_bench_result *results, hone_err *err)
{
    b->ids = calloc(b->prompt, sizeof *b->ids);
    b->out = calloc(b->gen, sizeof *b->out);
    b->token_ms = calloc(b->gen, sizeof *b->token_ms);
    b->all = calloc(opt->n_artefacts, sizeof *b->all);
    if (!b->ids || !b->out || !b->token_ms || !b->all) return HONE_NOMEM(err, "the benchmark");
    b->n = opt->n_artefacts;
    for (size_t i = 0; i < b->n; i++) {
        candidate         *c = &b->all[i];
        hone_bench_result *r = &results[i];
        *r = (hone_bench_result){ .prompt = b->prompt, .gen = b->gen, .rounds = b->rounds, .context = b->context,
                                  .threads = opt->threads ? opt->threads : 1 };
        (void)snprintf(r->path, sizeof r->path, "%s", opt->artefacts[i]);
        c->res = r;
        c->backend = opt->backends ? opt->backends[i] : NULL;
        c->how = (hone_backend_open){ .path = opt->artefacts[i], .device = opt->device ? opt->device : "cpu", .threads = r->threads, .context = b->context };
        if (room_for(c, b) != HONE_OK) return HONE_NOMEM(err, "the samples");
        if (look_at(opt->artefacts[i], c) != HONE_OK) HONE_TRY(failed(b, c, err));
    }
    b->budget_s = opt->budget_s;
    b->reopen = opt->reopen || too_much_at_once(b);
    for (size_t i = 0; i < b->n; i++) results[i].reopened = b->reopen;
    hone_err why = { 0 };
    if (hone_energy_open(NULL, &b->energy, &why) != HONE_OK) (void)snprintf(b->no_energy, sizeof b->no_energy, "%.*s", (int)sizeof b->no_energy - 1, why.cause);
    return HONE_OK;
}

hone_code hone_bench(const hone_ctx *ctx, const hone_bench_options *opt, hone_bench_result *results, hone_err *err)
{
    bench b = { .ctx = ctx, .prompt = opt->prompt ? opt->prompt : 128, .gen = opt->gen ? opt->gen : 32, .rounds = opt->repeat ? opt->repeat : 10,
                .warmup = opt->warmup ? opt->warmup : 1, .seed = opt->seed };
    uint64_t need = (uint64_t)b.prompt + b.gen;
    if (opt->n_artefacts == 0) return HONE_FAIL(err, HONE_EUSAGE, "name at least one artefact", "nothing to measure");
    if (need > 1u << 24 || b.rounds > 100000 || b.warmup > 100000)
        return HONE_FAIL(err, HONE_EUSAGE, "ask for less", "%u + %u tokens in %u rounds is more than a benchmark", b.prompt, b.gen, b.rounds);
    if (opt->context && opt->context < need)
        return HONE_FAIL(err, HONE_EUSAGE, "ask for a larger --context", "a context of %u does not hold %u prompt and %u generated tokens", opt->context,
                         b.prompt, b.gen);
    b.context = opt->context ? opt->context : (uint32_t)((need + 255) / 256 * 256);
    hone_code code = setup(&b, opt, results, err);
    if (code == HONE_OK) code = rounds(&b, err);
    size_t n_failed = 0;
    for (size_t i = 0; i < b.n; i++) {
        close_child(&b.all[i]);
        if (code == HONE_OK) summarise(&b, &b.all[i]);
        n_failed += results[i].failed;
    }
    if (code == HONE_OK && n_failed == b.n) {
        if (err) *err = b.all[0].err;
        code = b.all[0].err.code;
    }
    for (size_t i = 0; i < b.n; i++) candidate_release(&b.all[i]);
    hone_energy_close(b.energy);
    free(b.all);
    free(b.ids);
    free(b.out);
    free(b.token_ms);
    return code;
}

static bool put_count(json_t *o, const char *key, uint64_t n) { return hone_json_put(o, key, n ? json_integer((json_int_t)n) : json_null()); }

json_t *hone_bench_json(const hone_bench_result *r)
{
    json_t *o = json_object();
    bool    good = o && hone_metric_put_text(o, "path", r->path) && hone_metric_put_text(o, "runtime", r->runtime) &&
                hone_metric_put_text(o, "version", r->version) && hone_metric_put_text(o, "device", r->device) && hone_metric_put_text(o, "format", r->format) &&
                hone_metric_put_text(o, "fallback", r->fallback) && hone_json_put(o, "encoder", json_boolean(r->encoder)) &&
                hone_json_put(o, "failed", json_boolean(r->failed)) && hone_metric_put_text(o, "failure", r->failure) &&
                hone_metric_put_text(o, "remedy", r->remedy) &&
                hone_metric_put(o, "load_ms", &r->load_ms) && hone_metric_put(o, "ttft_ms.p50", &r->ttft_p50) &&
                hone_metric_put(o, "ttft_ms.p95", &r->ttft_p95) && hone_metric_put(o, "ttft_ms.p99", &r->ttft_p99) &&
                hone_metric_put(o, "prefill_tok_s", &r->prefill_tok_s) && hone_metric_put(o, "decode_tok_s", &r->decode_tok_s) &&
                hone_metric_put(o, "latency_ms.p50", &r->latency_p50) && hone_metric_put(o, "latency_ms.p95", &r->latency_p95) &&
                hone_metric_put(o, "latency_ms.p99", &r->latency_p99) && hone_metric_put(o, "cv", &r->cv) &&
                hone_metric_put(o, "peak_rss_bytes", &r->peak_rss_bytes) && hone_metric_put(o, "cpu_utilization", &r->cpu_utilization) &&
                hone_metric_put(o, "energy_j_per_token", &r->energy_j_per_token) && put_count(o, "file_bytes", r->file_bytes) &&
                put_count(o, "weights_bytes", r->weights_bytes) && put_count(o, "kv_bytes", r->kv_bytes) &&
                put_count(o, "compute_bytes", r->compute_bytes) && put_count(o, "n_params", r->n_params) &&
                hone_json_put(o, "run",
                              json_pack("{s:I,s:I,s:I,s:I,s:I,s:b}", "prompt", (json_int_t)r->prompt, "gen", (json_int_t)r->gen, "rounds",
                                        (json_int_t)r->rounds, "context", (json_int_t)r->context, "threads", (json_int_t)r->threads, "reopened",
                                        (int)r->reopened));
    if (good) return o;
    json_decref(o);
    return NULL;
}
