/* cmd_eval.c - hone eval: how good is an artefact, and how far from its reference? */
#include "cli/cli.h"
#include "cli/measured.h"
#include "cli/networks.h"
#include "cli/scored.h"
#include <limits.h>

static const hone_opt opts[] = {
    { "text", 0, HONE_OPT_TEXT, "FILE", NULL, "text for perplexity, and for the distance from the reference" },
    { "tasks", 0, HONE_OPT_TEXT, "FILE", NULL, "multiple-choice items, one JSON object a line: id, task, context, choices, answer" },
    { "reference", 'r', HONE_OPT_TEXT, "ARTEFACT", NULL, "unquantised artefact of the same checkpoint: KL divergence and top-1 agreement over the text" },
    { "window", 0, HONE_OPT_COUNT, "N", NULL, "ids per window (default: as reference.json beside the text states, else 511)" },
    { "stride", 0, HONE_OPT_COUNT, "N", NULL, "ids from one window to the next (default: as stated there, else the window, or 256 for the default window)" },
    { "max-tokens", 0, HONE_OPT_COUNT, "N", NULL, "use the first N ids of the text only" },
    { "max-items", 0, HONE_OPT_COUNT, "N", NULL, "use the first N items of each task only" },
    HONE_OPT_DATA,
    HONE_OPT_IMAGES,
    HONE_OPT_DEVICE,
    HONE_OPT_HTML,
};

static hone_code run(hone_cli *c, json_t *doc, hone_err *err)
{
    if (hone_cli_has(c, "data")) return hone_cli_networks_page(c, doc, hone_cli_networks_eval(c, hone_cli_text(c, "reference", NULL), doc, err), err);
    HONE_TRY(hone_cli_networks_need_data(c, err));
    hone_scorecard          s = { 0 };
    const hone_eval_options o = { .text = hone_cli_text(c, "text", NULL),
                                  .tasks = hone_cli_text(c, "tasks", NULL),
                                  .reference = hone_cli_text(c, "reference", NULL),
                                  .window = hone_cli_count(c, "window", 0),
                                  .stride = hone_cli_count(c, "stride", 0),
                                  .max_tokens = hone_cli_count(c, "max-tokens", 0),
                                  .max_items = hone_cli_count(c, "max-items", 0),
                                  .device = hone_cli_text(c, "device", "cpu"),
                                  .threads = c->ctx.threads,
                                  .windows = true };
    hone_code code = hone_scorecard_open(&c->ctx, c->args, c->n_args, &s, err);
    if (code == HONE_OK) code = hone_scorecard_eval(&c->ctx, &o, &s, err);
    if (code == HONE_OK && c->n_args > 1) code = hone_scorecard_judge(&s, .5, .3, .2, err);
    return hone_scored_finish(c, &s, "eval", doc, code, err);
}

static void print_tasks(hone_cli *c, const json_t *results)
{
    size_t      i, row = 0, n = json_array_size(results), shown = n < 6 ? n : 6;
    json_t     *first = json_object_get(json_array_get(results, 0), "tasks"), *task;
    const char *name;
    char        head[100];
    if (json_object_size(first) == 0) return;
    hone_say(c, HONE_PLAIN, "\n");
    hone_table *t = hone_table_new(c, 2 + shown);
    hone_table_col(t, 0, "task", "", false);
    hone_table_col(t, 1, "items", "", true);
    for (i = 0; i < shown; i++) {
        const char *title = hone_arena_strdup(&c->arena, hone_measured_name(json_array_get(results, i), head, sizeof head));
        hone_table_col(t, 2 + i, n == 1 || !title ? "accuracy" : title, "%", true);
    }
    json_object_foreach(first, name, task) {
        hone_table_cell(t, row, 0, HONE_PLAIN, "%s", name);
        hone_table_cell(t, row, 1, HONE_PLAIN, "%.0f", hone_doc_num(task, "n", 0));
        for (i = 0; i < shown; i++) {
            const json_t *x = json_object_get(json_object_get(json_array_get(results, i), "tasks"), name), *ci = json_object_get(x, "ci");
            double        v = hone_doc_num(x, "accuracy", -1), lo = json_number_value(json_array_get(ci, 0)), hi = json_number_value(json_array_get(ci, 1));
            if (v < 0) hone_table_cell(t, row, 2 + i, HONE_DIM, "-");
            else if (n == 1) hone_table_cell(t, row, 2 + i, HONE_PLAIN, "%.1f (%.1f to %.1f)", 100 * v, 100 * lo, 100 * hi);
            else hone_table_cell(t, row, 2 + i, HONE_PLAIN, "%.1f", 100 * v);
        }
        row++;
    }
    hone_table_fold(t);
    hone_table_print(c, t);
}

static void print(hone_cli *c, const json_t *doc)
{
    if (hone_cli_networks_doc(doc)) {
        hone_cli_networks_eval_print(c, doc);
        return;
    }
    static const struct { const char *path, *title, *unit; double scale; int digits; } cols[] = {
        { "perplexity", "perplexity", "", 1, 3 }, { "kld_mean", "KLD mean", "nat/1000", 1000, 2 }, { "kld_p99", "p99", "nat/1000", 1000, 1 },
        { "top1", "top-1", "%", 100, 2 },         { "accuracy", "accuracy", "%", 100, 1 },
    };
    const json_t *results = json_object_get(doc, "results"), *first = json_array_get(results, 0);
    size_t        i;
    json_t       *r;
    char          name[100];
    hone_table   *t = hone_table_new(c, 1 + HONE_COUNT(cols));
    hone_table_col(t, 0, "artefact", "", false);
    for (size_t k = 0; k < HONE_COUNT(cols); k++) hone_table_col(t, 1 + k, cols[k].title, cols[k].unit, true);
    json_array_foreach(results, i, r) {
        hone_table_cell(t, i, 0, HONE_BOLD, "%s", hone_measured_name(r, name, sizeof name));
        for (size_t k = 0; k < HONE_COUNT(cols); k++) hone_measured_cell(t, i, 1 + k, r, cols[k].path, cols[k].scale, cols[k].digits, k != 2);
    }
    hone_table_fold(t);
    hone_table_print(c, t);
    print_tasks(c, results);
    hone_say(c, HONE_PLAIN, "\n");
    char line[400];
    if (json_object_get(first, "protocol") && hone_doc_str(first, "protocol", "")[0]) {
        (void)snprintf(line, sizeof line, "perplexity: %s; ± is half of the 95 %% interval", hone_doc_str(first, "protocol", ""));
        hone_say_wrapped(c, 2, line);
    }
    hone_measured_reasons(c, results, "");
    hone_scored_failures(c, results);
    hone_scored_devices(c, results);
    const json_t *best = json_object_get(json_object_get(doc, "winners"), "accuracy");
    if (hone_doc_str(best, "label", "")[0]) hone_say(c, HONE_PLAIN, "\n  most accurate: %s (%s)\n", hone_doc_str(best, "label", ""), hone_doc_str(best, "why", ""));
    const char *html = hone_doc_str(doc, "html", "");
    if (html[0]) hone_say(c, HONE_PLAIN, "\npage  %s\n", html);
}

const hone_cmd hone_cmd_eval = {
    .name = "eval",
    .summary = "perplexity, tasks, and the distance from the unquantised model",
    .args = "ARTEFACT...",
    .about = "Measures each artefact in its real runtime, artefacts of all formats on the same token ids: perplexity of a text by the protocol that reference.json beside it states, accuracy on multiple-choice "
             "tasks by likelihood, and, with --reference, the KL divergence and the top-1 agreement over the same text, both models computing in lockstep. "
             "Every number comes with its 95 % confidence interval.",
    .example = "hone eval out/tale-8m-q4_k_m.gguf --text examples/models/tale-8m/eval/heldout.txt --tasks examples/models/tale-8m/eval/tasks.jsonl "
               "--reference out/tale-8m-bf16.gguf",
    .opts = opts, .n_opts = HONE_COUNT(opts), .min_args = 1, .max_args = UINT_MAX, .run = run, .print = print,
};
