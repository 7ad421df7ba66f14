/* cmd_bench.c - hone bench: how fast, side by side. */
#include "base/file.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/measured.h"
#include "cli/networks.h"
#include "cli/scored.h"
#include <limits.h>

static const hone_opt opts[] = {
    { "prompt", 'p', HONE_OPT_COUNT, "N", NULL, "prompt tokens (default 128)" },
    { "gen", 'g', HONE_OPT_COUNT, "N", NULL, "generated tokens (default 32)" },
    { "repeat", 'n', HONE_OPT_COUNT, "N", NULL, "measured rounds (default 10)" },
    { "warmup", 0, HONE_OPT_COUNT, "N", NULL, "rounds that are run first and not counted (default 1)" },
    { "context", 0, HONE_OPT_COUNT, "N", NULL, "context in tokens (default: prompt + gen, rounded up to 256)" },
    { "seed", 0, HONE_OPT_COUNT, "N", NULL, "seed of the random prompt (default 0)" },
    { "reopen", 0, HONE_OPT_FLAG, NULL, NULL, "open each artefact anew in each round (done anyway when memory would be short)" },
    { "against", 'a', HONE_OPT_TEXT, "SRC", NULL, "the checkpoint's folder: proof and quality beside speed (hone check; its eval/heldout.txt and eval/tasks.jsonl)" },
    { "text", 0, HONE_OPT_TEXT, "FILE", NULL, "quality too: perplexity of this text, and the distance from the reference" },
    { "tasks", 0, HONE_OPT_TEXT, "FILE", NULL, "quality too: multiple-choice items" },
    { "reference", 'r', HONE_OPT_TEXT, "ARTEFACT", NULL, "unquantised artefact for the distance (default: the widest unquantised one that is named)" },
    { "max-tokens", 0, HONE_OPT_COUNT, "N", NULL, "use the first N ids of the text only (default 8192; 0: all)" },
    { "max-items", 0, HONE_OPT_COUNT, "N", NULL, "use the first N items of each task only (default: all)" },
    { "prefer", 0, HONE_OPT_TEXT, "WEIGHTS", NULL, "of the balance, as speed=.5,accuracy=.3,memory=.2 (the default)" },
    HONE_OPT_DATA,
    { "network", 0, HONE_OPT_FLAG, NULL, NULL, "the artefacts are networks without tokens, as .onnx files that hone did not make of a language model are anyway; without --data on numbers made up" },
    { "batch", 0, HONE_OPT_COUNT, "N", NULL, "of networks: samples of one run (default 1)" },
    HONE_OPT_IMAGES,
    HONE_OPT_DEVICE,
    HONE_OPT_HTML,
};

typedef struct wishes { /* what is wanted beside speed */
    const char *source, *text, *tasks, *reference;
    double      speed, accuracy, memory;
} wishes;

static hone_code read_wishes(hone_cli *c, wishes *w, hone_err *err)
{
    *w = (wishes){ hone_cli_text(c, "against", NULL), hone_cli_text(c, "text", NULL), hone_cli_text(c, "tasks", NULL), hone_cli_text(c, "reference", NULL), 0, 0, 0 };
    if (w->source) {
        const char *text = hone_arena_printf(&c->arena, "%s/eval/heldout.txt", w->source), *tasks = hone_arena_printf(&c->arena, "%s/eval/tasks.jsonl", w->source);
        if (!text || !tasks) return HONE_NOMEM(err, "a path");
        if (!w->text && hone_file_exists(text)) w->text = text;
        if (!w->tasks && hone_file_exists(tasks)) w->tasks = tasks;
    }
    return hone_cli_preferences(c, &w->speed, &w->accuracy, &w->memory, err);
}

static hone_code measure(hone_cli *c, const hone_bench_options *o, const wishes *w, hone_scorecard *s, hone_err *err)
{
    HONE_TRY(hone_scorecard_open(&c->ctx, c->args, c->n_args, s, err));
    if (w->source) HONE_TRY(hone_scorecard_check(&c->ctx, &(hone_check_options){ .source = w->source, .device = o->device, .threads = o->threads }, s, err));
    HONE_TRY(hone_scorecard_bench(&c->ctx, o, s, err));
    if (w->text || w->tasks)
        HONE_TRY(hone_scorecard_eval(&c->ctx, &(hone_eval_options){ .text = w->text, .tasks = w->tasks, .device = o->device, .threads = o->threads,
                                                                    .reference = !w->text ? NULL : w->reference ? w->reference : hone_scorecard_reference(s),
                                                                    .max_tokens = hone_cli_count(c, "max-tokens", 8192), .max_items = hone_cli_count(c, "max-items", 0) },
                                     s, err));
    return hone_scorecard_judge(s, w->speed, w->accuracy, w->memory, err);
}

static hone_code run(hone_cli *c, json_t *doc, hone_err *err)
{
    hone_scorecard s = { 0 };
    wishes         w;
    static const char *const whole[] = { "prompt", "gen", "repeat", "warmup" };
    for (size_t i = 0; i < HONE_COUNT(whole); i++)
        if (hone_cli_has(c, whole[i]) && hone_cli_count(c, whole[i], 0) == 0)
            return HONE_FAIL(err, HONE_EUSAGE, "leave it out for the default", "--%s is 0, needs at least 1", whole[i]);
    if (hone_cli_has(c, "data") || hone_cli_has(c, "network") || hone_cli_is_network(c->args[0])) return hone_cli_networks_bench(c, doc, err);
    HONE_TRY(read_wishes(c, &w, err));
    const hone_bench_options o = { .prompt = hone_cli_count(c, "prompt", 0),
                                   .gen = hone_cli_count(c, "gen", 0),
                                   .repeat = hone_cli_count(c, "repeat", 0),
                                   .context = hone_cli_count(c, "context", 0),
                                   .device = hone_cli_text(c, "device", "cpu"),
                                   .threads = c->ctx.threads,
                                   .warmup = hone_cli_count(c, "warmup", 0),
                                   .seed = hone_cli_count(c, "seed", 0),
                                   .reopen = hone_cli_has(c, "reopen") };
    return hone_scored_finish(c, &s, "bench", doc, measure(c, &o, &w, &s, err), err);
}

/* Quality beside speed, when it was measured. */
static void print_quality(hone_cli *c, const json_t *results)
{
    static const struct { const char *path, *title, *unit; double scale; int digits; } cols[] = {
        { "perplexity", "perplexity", "", 1, 3 }, { "kld_mean", "KLD", "nat/1000", 1000, 2 }, { "top1", "top-1", "%", 100, 2 }, { "accuracy", "tasks", "%", 100, 1 },
    };
    size_t        i;
    const json_t *r;
    bool          any = false;
    json_array_foreach(results, i, r) any = any || json_object_get(r, "eval") || json_object_get(r, "check");
    if (!any) return;
    hone_say(c, HONE_PLAIN, "\n");
    hone_table *t = hone_table_new(c, 4 + HONE_COUNT(cols));
    hone_table_col(t, 0, "artefact", "", false);
    hone_table_col(t, 1, "proof", "", false);
    for (size_t k = 0; k < HONE_COUNT(cols); k++) hone_table_col(t, 2 + k, cols[k].title, cols[k].unit, true);
    hone_table_col(t, 2 + HONE_COUNT(cols), "size", "MB", true);
    hone_table_col(t, 3 + HONE_COUNT(cols), "score", "", true);
    json_array_foreach(results, i, r) {
        const json_t *e = json_object_get(r, "eval");
        const char   *verdict = hone_doc_str(json_object_get(r, "check"), "verdict", "");
        hone_table_cell(t, i, 0, HONE_BOLD, "%s", hone_doc_str(r, "label", "?"));
        if (strcmp(verdict, "pass") == 0) hone_table_cell(t, i, 1, HONE_GREEN, "same");
        else if (strcmp(verdict, "fail") == 0) hone_table_cell(t, i, 1, HONE_RED, "differs");
        else hone_table_cell(t, i, 1, HONE_DIM, verdict[0] ? "unproven" : "-");
        for (size_t k = 0; k < HONE_COUNT(cols); k++) hone_measured_cell(t, i, 2 + k, e, cols[k].path, cols[k].scale, cols[k].digits, k != 2);
        if (hone_doc_has_num(r, "bytes")) hone_table_cell(t, i, 2 + HONE_COUNT(cols), HONE_PLAIN, "%.1f", hone_doc_num(r, "bytes", 0) / 1e6);
        if (hone_doc_has_num(r, "score")) hone_table_cell(t, i, 3 + HONE_COUNT(cols), HONE_PLAIN, "%.3f", hone_doc_num(r, "score", 0));
        else hone_table_cell(t, i, 3 + HONE_COUNT(cols), HONE_DIM, "-");
    }
    hone_table_fold(t);
    hone_table_print(c, t);
    json_array_foreach(results, i, r) {
        const char *why = hone_doc_str(json_object_get(r, "check"), "why", "");
        char        line[700];
        if (!why[0]) continue;
        (void)snprintf(line, sizeof line, "%s: %s", hone_doc_str(r, "label", "?"), why);
        hone_say_wrapped(c, 2, line);
    }
}

static void print(hone_cli *c, const json_t *doc)
{
    if (hone_cli_networks_doc(doc)) {
        hone_cli_networks_bench_print(c, doc);
        return;
    }
    static const struct { const char *path, *title, *unit; double scale; int digits; bool ci; } cols[] = {
        { "load_ms", "load", "ms", 1, 1, false },
        { "ttft_ms.p50", "TTFT p50", "ms", 1, 1, false },
        { "prefill_tok_s", "prefill", "tok/s", 1, 0, true },
        { "decode_tok_s", "decode", "tok/s", 1, 1, true },
        { "latency_ms.p50", "p50", "ms/tok", 1, 2, false },
        { "latency_ms.p95", "p95", "ms/tok", 1, 2, false },
        { "cv", "cv", "%", 100, 1, false },
        { "peak_rss_bytes", "RSS", "MB", 1e-6, 0, false },
    };
    const json_t *results = json_object_get(doc, "results");
    size_t        i;
    json_t       *r;
    char          name[100], line[300];
    bool          several = json_array_size(results) > 1;
    hone_table   *t = hone_table_new(c, 2 + HONE_COUNT(cols));
    hone_table_col(t, 0, "artefact", "", false);
    hone_table_col(t, 1 + HONE_COUNT(cols), "runtime", "", false);
    for (size_t k = 0; k < HONE_COUNT(cols); k++) hone_table_col(t, 1 + k, cols[k].title, cols[k].unit, true);
    json_array_foreach(results, i, r) {
        hone_table_cell(t, i, 0, json_is_true(json_object_get(r, "failed")) ? HONE_RED : HONE_BOLD, "%s", several ? hone_doc_str(r, "label", "?") : hone_measured_name(r, name, sizeof name));
        for (size_t k = 0; k < HONE_COUNT(cols); k++) hone_measured_cell(t, i, 1 + k, r, cols[k].path, cols[k].scale, cols[k].digits, cols[k].ci);
        const char *device = hone_doc_str(r, "device", "");
        hone_table_cell(t, i, 1 + HONE_COUNT(cols), HONE_DIM, "%s%s%s", hone_doc_str(r, "runtime", "-"), strcmp(device, "cpu") == 0 ? "" : " ", strcmp(device, "cpu") == 0 ? "" : device);
    }
    hone_table_fold(t);
    hone_table_print(c, t);
    print_quality(c, results);
    const json_t *first = NULL;
    json_array_foreach(results, i, r)
        if (!first && !json_is_true(json_object_get(r, "failed"))) first = r;
    const json_t *how = json_object_get(first, "run");
    double        threads = hone_doc_num(how, "threads", 0);
    hone_say(c, HONE_PLAIN, "\n");
    (void)snprintf(line, sizeof line, "%.0f rounds of %.0f + %.0f tokens, interleaved, %.0f thread%s, context %.0f; ± is half of the 95 %% interval",
                   hone_doc_num(how, "rounds", 0), hone_doc_num(how, "prompt", 0), hone_doc_num(how, "gen", 0), threads, threads == 1 ? "" : "s",
                   hone_doc_num(how, "context", 0));
    hone_say_wrapped(c, 2, line);
    hone_measured_reasons(c, results, "ttft_ms.p95 ttft_ms.p99 latency_ms.p99");
    hone_scored_failures(c, results);
    hone_scored_devices(c, results);
    if (several) hone_scored_winners(c, json_object_get(doc, "winners"));
    const char *html = hone_doc_str(doc, "html", "");
    if (html[0]) hone_say(c, HONE_PLAIN, "\npage  %s\n", html);
}

const hone_cmd hone_cmd_bench = {
    .name = "bench",
    .summary = "measure speed and memory of artefacts side by side",
    .args = "ARTEFACT...",
    .about = "Artefacts of all formats may be named together; with --against SRC, or --text and --tasks, proof and quality stand beside speed, and the winner of each "
             "preference is named. Each artefact runs in a child process of its own; rounds visit all of them in turn, so that what drifts on the machine drifts for all. The prompt is "
             "made of random tokens, the same for all. A percentile is shown only when at least five samples lie beyond it ('few' otherwise). A candidate whose "
             "runtime dies is one failed row with its reason.",
    .example = "hone bench out/tale-8m-bf16.gguf out/tale-8m-q4_k_m.gguf\n"
               "hone bench out/* --against examples/models/tale-8m --html out/scorecard.html",
    .opts = opts, .n_opts = HONE_COUNT(opts), .min_args = 1, .max_args = UINT_MAX, .run = run, .print = print,
};
