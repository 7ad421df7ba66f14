/* cmd_bench.c - hone bench: how fast, side by side. */
#include "base/text.h"
#include "cli/cli.h"
#include "cli/measured.h"
#include "measure/measure.h"
#include <limits.h>

static const hone_opt opts[] = {
    { "prompt", 'p', HONE_OPT_COUNT, "N", NULL, "prompt tokens (default 128)" },
    { "gen", 'g', HONE_OPT_COUNT, "N", NULL, "generated tokens (default 32)" },
    { "repeat", 'n', HONE_OPT_COUNT, "N", NULL, "measured rounds (default 10)" },
    { "warmup", 0, HONE_OPT_COUNT, "N", NULL, "rounds that are run first and not counted (default 1)" },
    { "context", 0, HONE_OPT_COUNT, "N", NULL, "context in tokens (default: prompt + gen, rounded up to 256)" },
    { "seed", 0, HONE_OPT_COUNT, "N", NULL, "seed of the random prompt (default 0)" },
    { "reopen", 0, HONE_OPT_FLAG, NULL, NULL, "open each artefact anew in each round (done anyway when memory would be short)" },
};

static hone_code run(hone_cli *c, json_t *doc, hone_err *err)
{
    hone_bench_result *r = HONE_ARENA_NEW(&c->arena, hone_bench_result, c->n_args);
    json_t            *results = json_array();
    if (!r || !results || !hone_json_put(doc, "results", results)) return HONE_NOMEM(err, "the result");
    static const char *const whole[] = { "prompt", "gen", "repeat", "warmup" };
    for (size_t i = 0; i < HONE_COUNT(whole); i++)
        if (hone_cli_has(c, whole[i]) && hone_cli_count(c, whole[i], 0) == 0)
            return HONE_FAIL(err, HONE_EUSAGE, "leave it out for the default", "--%s is 0, needs at least 1", whole[i]);
    const hone_bench_options o = { .artefacts = c->args,
                                   .n_artefacts = c->n_args,
                                   .prompt = hone_cli_count(c, "prompt", 0),
                                   .gen = hone_cli_count(c, "gen", 0),
                                   .repeat = hone_cli_count(c, "repeat", 0),
                                   .context = hone_cli_count(c, "context", 0),
                                   .threads = c->ctx.threads,
                                   .warmup = hone_cli_count(c, "warmup", 0),
                                   .seed = hone_cli_count(c, "seed", 0),
                                   .reopen = hone_cli_has(c, "reopen") };
    HONE_TRY(hone_bench(&c->ctx, &o, r, err));
    for (unsigned i = 0; i < c->n_args; i++) {
        json_t *j = hone_bench_json(&r[i]);
        if (!j || json_array_append_new(results, j) != 0) return HONE_NOMEM(err, "the result");
    }
    return HONE_OK;
}

static void print(hone_cli *c, const json_t *doc)
{
    static const struct { const char *path, *title, *unit; double scale; int digits; bool ci; } cols[] = {
        { "load_ms", "load", "ms", 1, 1, false },
        { "ttft_ms.p50", "TTFT p50", "ms", 1, 1, false },
        { "prefill_tok_s", "prefill", "tok/s", 1, 0, true },
        { "decode_tok_s", "decode", "tok/s", 1, 1, true },
        { "latency_ms.p50", "p50", "ms/tok", 1, 2, false },
        { "latency_ms.p95", "p95", "ms/tok", 1, 2, false },
        { "latency_ms.p99", "p99", "ms/tok", 1, 2, false },
        { "cv", "cv", "%", 100, 1, false },
        { "cpu_utilization", "CPU", "%", 100, 0, false },
        { "peak_rss_bytes", "RSS", "MB", 1e-6, 0, false },
    };
    const json_t *results = json_object_get(doc, "results");
    size_t        i;
    json_t       *r;
    char          name[100], line[300];
    hone_table   *t = hone_table_new(c, 1 + HONE_COUNT(cols));
    hone_table_col(t, 0, "artefact", "", false);
    for (size_t k = 0; k < HONE_COUNT(cols); k++) hone_table_col(t, 1 + k, cols[k].title, cols[k].unit, true);
    json_array_foreach(results, i, r) {
        hone_table_cell(t, i, 0, json_is_true(json_object_get(r, "failed")) ? HONE_RED : HONE_BOLD, "%s", hone_measured_name(r, name, sizeof name));
        for (size_t k = 0; k < HONE_COUNT(cols); k++) hone_measured_cell(t, i, 1 + k, r, cols[k].path, cols[k].scale, cols[k].digits, cols[k].ci);
    }
    hone_table_print(c, t);
    const json_t *first = json_array_get(results, 0), *how = json_object_get(first, "run");
    double        threads = hone_doc_num(how, "threads", 0);
    hone_say(c, HONE_PLAIN, "\n");
    (void)snprintf(line, sizeof line, "%.0f rounds of %.0f + %.0f tokens, interleaved, %.0f thread%s, context %.0f; %s %s; ± is half of the 95 %% interval",
                   hone_doc_num(how, "rounds", 0), hone_doc_num(how, "prompt", 0), hone_doc_num(how, "gen", 0), threads, threads == 1 ? "" : "s",
                   hone_doc_num(how, "context", 0), hone_doc_str(first, "runtime", ""), hone_doc_str(first, "version", ""));
    hone_say_wrapped(c, 2, line);
    hone_measured_reasons(c, results, "ttft_ms.p95 ttft_ms.p99");
}

const hone_cmd hone_cmd_bench = {
    .name = "bench",
    .summary = "measure speed and memory of artefacts side by side",
    .args = "ARTEFACT...",
    .about = "Each artefact runs in a child process of its own; rounds visit all of them in turn, so that what drifts on the machine drifts for all. The prompt is "
             "made of random tokens, the same for all. A percentile is shown only when at least five samples lie beyond it ('few' otherwise). A candidate whose "
             "runtime dies is one failed row with its reason.",
    .example = "hone bench out/tale-8m-bf16.gguf out/tale-8m-q4_k_m.gguf",
    .opts = opts, .n_opts = HONE_COUNT(opts), .min_args = 1, .max_args = UINT_MAX, .run = run, .print = print,
};
