/* bench.c - how fast networks are, in turns, one child each. */
#include "base/clock.h"
#include "base/file.h"
#include "measure/metric/rng.h"
#include "measure/network.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

enum { LOADS = 3, ROUNDS = 500, WARMUP = 10, ROUNDS_LEAST = 20 };

typedef struct racer {
    hone_network_speed *res;
    const char         *backend;
    hone_network        net;
    hone_arena          a;
    hone_samples        data; /* n_arrays 0: made up */
    hone_feed           feed;
    hone_backend_value *made; /* [n_in] */
    double              load[LOADS], first[LOADS], *ms, spent_s, cpu_s;
    size_t              n_loads, n;
    hone_err            err;
} racer;

typedef struct race {
    const hone_ctx                   *ctx;
    const hone_network_bench_options *opt;
    racer                            *all;
    size_t                            n;
    uint32_t                          rounds, warmup;
} race;

/* --- sizes --------------------------------------------------------------------------------------------------------------- */
static uint64_t size_of(const char *path)
{
    hone_file f;
    if (hone_file_open(path, &f, NULL) != HONE_OK) return 0;
    uint64_t n = f.size;
    hone_file_close(&f);
    return n;
}

uint64_t hone_network_file_bytes(const char *path)
{
    char     other[4200];
    size_t   n = strlen(path);
    uint64_t sum = 0;
    if (hone_dir_exists(path)) {
        DIR           *d = opendir(path);
        struct dirent *e;
        while (d && (e = readdir(d))) {
            if (snprintf(other, sizeof other, "%s/%s", path, e->d_name) < (int)sizeof other && hone_file_exists(other) && strcmp(e->d_name, "hone.json") != 0) sum += size_of(other);
        }
        if (d) (void)closedir(d);
        return sum;
    }
    sum = size_of(path);
    if (n > 4 && strcmp(path + n - 4, ".xml") == 0) (void)snprintf(other, sizeof other, "%.*s.bin", (int)n - 4, path);
    else (void)snprintf(other, sizeof other, "%s.data", path);
    return sum + (hone_file_exists(other) ? size_of(other) : 0);
}

/* --- inputs ----------------------------------------------------------------------------------------------------------------- */
/* Numbers of a fixed seed from -1 to 1, or zeros for what is no float. */
static hone_code make_up(racer *r, uint64_t batch)
{
    hone_rng rng = hone_rng_seeded(1);
    r->made = HONE_ARENA_NEW(&r->a, hone_backend_value, r->net.sig.n_in);
    if (!r->made) return HONE_NOMEM(&r->err, "inputs");
    for (size_t i = 0; i < r->net.sig.n_in; i++) {
        const hone_backend_port *p = &r->net.sig.in[i];
        hone_backend_value      *v = &r->made[i];
        uint64_t                 bytes = 0;
        *v = (hone_backend_value){ .name = p->name, .type = p->type, .rank = p->rank };
        for (uint32_t d = 0; d < p->rank; d++) {
            v->dims[d] = p->dims[d] >= 0 ? p->dims[d] : d == 0 ? (int64_t)batch : -1;
            if (v->dims[d] < 0) return HONE_FAIL(&r->err, HONE_EUSAGE, "add --data FILE with samples", "the input '%.60s' has a dimension %u of no fixed size", p->name, d);
        }
        if (!hone_backend_value_bytes(v->type, v->dims, v->rank, &bytes) || bytes > 1u << 30)
            return HONE_FAIL(&r->err, HONE_EUNSUPPORTED, "add --data FILE with samples", "no numbers can be made up for the input '%.60s'", p->name);
        float *x = hone_arena_alloc(&r->a, (size_t)bytes + 8);
        if (!x) return HONE_NOMEM(&r->err, "inputs");
        for (size_t k = 0; v->type == HONE_BACKEND_F32 && k < bytes / 4; k++) x[k] = (float)hone_rng_below(&rng, 20001) / 10000.0f - 1.0f;
        v->data = x;
        v->bytes = (size_t)bytes;
    }
    r->res->batch = r->net.sig.n_in && r->made[0].rank ? (uint64_t)r->made[0].dims[0] : 1;
    return HONE_OK;
}

static hone_code find_inputs(const race *x, racer *r)
{
    hone_image_how image = x->opt->image;
    uint64_t       batch = x->opt->batch ? x->opt->batch : 1;
    if (!x->opt->data) return make_up(r, batch);
    bool pictures = hone_network_image(&r->net, &image);
    HONE_TRY(hone_samples_open(x->opt->data, pictures ? &image : NULL, &r->a, &r->data, &r->err));
    HONE_TRY(hone_feed_make(&r->net, &r->data, batch, &r->a, &r->feed, &r->err));
    if (!r->feed.fixed && r->feed.batch > r->data.n) r->feed.batch = r->data.n;
    r->res->batch = r->feed.batch;
    return HONE_OK;
}

static hone_code run_once(racer *r, uint64_t round, double *ms)
{
    if (r->made) return hone_runner_infer(r->net.runner, r->made, r->net.sig.n_in, NULL, NULL, ms, &r->err);
    uint64_t places = r->data.n / r->feed.batch ? r->data.n / r->feed.batch : 1, count = r->data.n < r->feed.batch ? r->data.n : r->feed.batch;
    return hone_network_run(&r->net, &r->data, &r->feed, round % places * r->feed.batch, count, NULL, NULL, ms, &r->err);
}

/* --- one racer ------------------------------------------------------------------------------------------------------------------ */
static void close_inputs(racer *r)
{
    hone_network_close(&r->net);
    hone_samples_close(&r->data);
    hone_arena_release(&r->a);
    r->made = NULL;
}

static hone_code failed(const race *x, racer *r, hone_err *err)
{
    close_inputs(r);
    if (hone_ctx_cancelled(x->ctx)) return HONE_INTERRUPTED(err);
    r->res->failed = true;
    r->res->code = r->err.code;
    (void)snprintf(r->res->failure, sizeof r->res->failure, "%s", r->err.cause);
    (void)snprintf(r->res->remedy, sizeof r->res->remedy, "%s", r->err.remedy);
    hone_event_warn(x->ctx, r->err.remedy[0] ? r->err.remedy : NULL, "%s: %s", r->res->path, r->err.cause);
    return HONE_OK;
}

/* Opened LOADS + 1 times, of which the first only brings the files into the page cache. */
static hone_code load(const race *x, racer *r)
{
    hone_network_how how = { .backend = r->backend, .device = x->opt->device, .threads = r->res->threads };
    for (int i = 0; i <= LOADS; i++) {
        double ms = 0;
        close_inputs(r);
        HONE_TRY(hone_network_open(x->ctx, r->res->path, &how, &r->net, &r->err));
        HONE_TRY(find_inputs(x, r));
        HONE_TRY(run_once(r, 0, &ms));
        if (i == 0) continue;
        r->load[r->n_loads] = r->net.load_ms;
        r->first[r->n_loads++] = ms;
    }
    memcpy(r->res->runtime, r->net.info.runtime, sizeof r->res->runtime);
    memcpy(r->res->version, r->net.info.version, sizeof r->res->version);
    memcpy(r->res->device, r->net.info.device, sizeof r->res->device);
    memcpy(r->res->fallback, r->net.info.fallback, sizeof r->res->fallback);
    r->res->weights_bytes = r->net.info.weights_bytes;
    return HONE_OK;
}

static double cpu_seconds(racer *r)
{
    hone_runner_usage u = { 0 };
    return hone_runner_usage_get(r->net.runner, &u, NULL) == HONE_OK ? u.cpu_user_s + u.cpu_sys_s : 0;
}

static hone_code one_round(const race *x, racer *r, uint64_t round, bool counted)
{
    double ms = 0, budget = x->opt->budget_s > 0 ? x->opt->budget_s : 10, from = hone_now_s();
    if (counted && r->n >= ROUNDS_LEAST && r->spent_s > budget) return HONE_OK;
    HONE_TRY(run_once(r, round, &ms));
    if (!counted) return HONE_OK;
    r->ms[r->n++] = ms;
    r->spent_s += hone_now_s() - from;
    return HONE_OK;
}

static void summarise(racer *r)
{
    hone_network_speed *s = r->res;
    hone_runner_usage   u = { 0 };
    const hone_metric   none = hone_metric_none("the artefact did not run");
    hone_metric *const  all[] = { &s->load_ms, &s->first_ms, &s->latency_p50, &s->latency_p95, &s->latency_p99, &s->samples_s, &s->cv, &s->peak_rss_bytes, &s->cpu_utilization };
    double              wall_ms = 0;
    for (size_t i = 0; i < HONE_COUNT(all); i++) *all[i] = none;
    if (s->failed) return;
    for (size_t i = 0; i < r->n; i++) wall_ms += r->ms[i];
    s->rounds = (uint32_t)r->n;
    s->load_ms = hone_metric_mean(r->load, r->n_loads);
    s->first_ms = hone_metric_mean(r->first, r->n_loads);
    s->latency_p50 = hone_metric_percentile(r->ms, r->n, .5);
    s->latency_p95 = hone_metric_percentile(r->ms, r->n, .95);
    s->latency_p99 = hone_metric_percentile(r->ms, r->n, .99);
    s->cv = hone_metric_cv(r->ms, r->n);
    for (size_t i = 0; i < r->n; i++) r->ms[i] = r->ms[i] > 0 ? 1e3 * (double)s->batch / r->ms[i] : 0;
    s->samples_s = hone_metric_mean(r->ms, r->n);
    if (wall_ms > 0) s->cpu_utilization = hone_metric_of(r->cpu_s / (wall_ms / 1e3 * s->threads), r->n);
    if (hone_runner_usage_get(r->net.runner, &u, NULL) == HONE_OK) s->peak_rss_bytes = hone_metric_of((double)u.peak_rss_bytes, 1);
}

/* --- all ---------------------------------------------------------------------------------------------------------------------------- */
static hone_code all_rounds(race *x, hone_err *err)
{
    double *cpu = calloc(x->n, sizeof *cpu);
    if (!cpu) return HONE_NOMEM(err, "the benchmark");
    hone_code code = HONE_OK;
    for (uint32_t k = 0; code == HONE_OK && k < x->warmup + x->rounds; k++) {
        for (size_t i = 0; code == HONE_OK && i < x->n; i++) { /* who begins changes from round to round */
            racer *r = &x->all[(i + k) % x->n];
            if (r->res->failed) continue;
            if (k == x->warmup) cpu[(i + k) % x->n] = cpu_seconds(r);
            if (one_round(x, r, k, k >= x->warmup) != HONE_OK) code = failed(x, r, err);
        }
        hone_event_progress(x->ctx, "rounds", k + 1, x->warmup + x->rounds);
        if (code == HONE_OK && hone_ctx_cancelled(x->ctx)) code = HONE_INTERRUPTED(err);
    }
    for (size_t i = 0; i < x->n; i++)
        if (!x->all[i].res->failed) x->all[i].cpu_s = cpu_seconds(&x->all[i]) - cpu[i];
    free(cpu);
    return code;
}

static hone_code prepare(race *x, hone_network_speed *results, hone_err *err)
{
    for (size_t i = 0; i < x->n; i++) {
        racer      *r = &x->all[i];
        const char *backend = NULL;
        results[i] = (hone_network_speed){ .threads = x->opt->threads ? x->opt->threads : 1, .batch = 1, .file_bytes = hone_network_file_bytes(x->opt->artefacts[i]) };
        (void)snprintf(results[i].path, sizeof results[i].path, "%s", x->opt->artefacts[i]);
        (void)hone_network_kind(results[i].path, &backend);
        (void)snprintf(results[i].format, sizeof results[i].format, "%s", strcmp(backend, "openvino") == 0 ? "openvino" : "onnx");
        r->res = &results[i];
        r->backend = x->opt->backends ? x->opt->backends[i] : NULL;
        if (!(r->ms = calloc(x->rounds, sizeof *r->ms))) return HONE_NOMEM(err, "the benchmark");
        if (load(x, r) != HONE_OK) HONE_TRY(failed(x, r, err));
    }
    return HONE_OK;
}

hone_code hone_network_bench(const hone_ctx *ctx, const hone_network_bench_options *opt, hone_network_speed *results, hone_err *err)
{
    race x = { .ctx = ctx, .opt = opt, .n = opt->n_artefacts, .rounds = opt->repeat ? opt->repeat : ROUNDS, .warmup = opt->warmup ? opt->warmup : WARMUP };
    if (x.n == 0) return HONE_FAIL(err, HONE_EUSAGE, "name at least one artefact", "nothing to measure");
    if (x.rounds > 1000000 || x.warmup > 1000000) return HONE_FAIL(err, HONE_EUSAGE, "ask for less", "%u rounds are more than a benchmark", x.rounds);
    if (!(x.all = calloc(x.n, sizeof *x.all))) return HONE_NOMEM(err, "the benchmark");
    hone_event_step(ctx, "loading %zu network%s, then up to %u rounds", x.n, x.n == 1 ? "" : "s", x.rounds);
    hone_code code = prepare(&x, results, err);
    if (code == HONE_OK) code = all_rounds(&x, err);
    size_t bad = 0;
    for (size_t i = 0; i < x.n; i++) {
        if (code == HONE_OK) summarise(&x.all[i]);
        bad += code == HONE_OK && results[i].failed;
    }
    if (code == HONE_OK && bad == x.n) {
        code = x.all[0].err.code;
        if (err) *err = x.all[0].err;
    }
    for (size_t i = 0; i < x.n; i++) {
        close_inputs(&x.all[i]);
        free(x.all[i].ms);
    }
    free(x.all);
    return code;
}

json_t *hone_network_speed_json(const hone_network_speed *r)
{
    json_t *j = json_object();
    bool    good = j && hone_json_put(j, "kind", json_string("network")) && hone_metric_put_text(j, "path", r->path) && hone_metric_put_text(j, "format", r->format) &&
                hone_metric_put_text(j, "runtime", r->runtime) && hone_metric_put_text(j, "version", r->version) && hone_metric_put_text(j, "device", r->device) &&
                hone_metric_put_text(j, "fallback", r->fallback) && hone_json_put(j, "failed", json_boolean(r->failed)) && hone_metric_put_text(j, "failure", r->failure) &&
                hone_metric_put_text(j, "remedy", r->remedy) && hone_metric_put(j, "load_ms", &r->load_ms) && hone_metric_put(j, "first_ms", &r->first_ms) &&
                hone_metric_put(j, "latency_ms.p50", &r->latency_p50) && hone_metric_put(j, "latency_ms.p95", &r->latency_p95) &&
                hone_metric_put(j, "latency_ms.p99", &r->latency_p99) && hone_metric_put(j, "samples_s", &r->samples_s) && hone_metric_put(j, "cv", &r->cv) &&
                hone_metric_put(j, "peak_rss_bytes", &r->peak_rss_bytes) && hone_metric_put(j, "cpu_utilization", &r->cpu_utilization) &&
                hone_json_put(j, "file_bytes", json_integer((json_int_t)r->file_bytes)) && hone_json_put(j, "weights_bytes", json_integer((json_int_t)r->weights_bytes)) &&
                hone_json_put(j, "run", json_pack("{s:I,s:I,s:I}", "batch", (json_int_t)r->batch, "rounds", (json_int_t)r->rounds, "threads", (json_int_t)r->threads));
    if (good) return j;
    json_decref(j);
    return NULL;
}
