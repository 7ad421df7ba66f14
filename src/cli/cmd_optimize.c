/* cmd_optimize.c - hone optimize: the main job, from a checkpoint to a chosen, gated artefact and its report. */
#include "base/text.h"
#include "cli/cli.h"
#include "cli/networks.h"
#include "flow/net.h"
#include "flow/optimize.h"
#include "flow/optimize/state.h"
#include <stdlib.h>

static const hone_opt opts[] = {
    { "target", 'T', HONE_OPT_TEXT, "NAME", NULL, "named target profile, as android or raspberry-pi-5; 'host' is this machine (default host)" },
    { "output", 'o', HONE_OPT_TEXT, "DIR", NULL, "folder for candidates, report.json, report.html and history.db" },
    { "quant", 'Q', HONE_OPT_LIST, "Q", NULL, "candidate encodings, as q4_k_m, onnx=int4, or int4 for every format (default: ten of GGUF from q8_0 down to q2_k, int8 and int4 of onnx, openvino, mlx)" },
    { "text", 0, HONE_OPT_TEXT, "FILE", NULL, "held-out text for perplexity and KLD (default: SRC/eval/heldout.txt)" },
    { "tasks", 0, HONE_OPT_TEXT, "FILE", NULL, "multiple-choice items for accuracy (default: SRC/eval/tasks.jsonl)" },
    { "max-ram", 0, HONE_OPT_BYTES, "SIZE", NULL, "most memory for weights, KV cache and buffers (default: the target's own limit)" },
    { "max-bytes", 0, HONE_OPT_BYTES, "SIZE", NULL, "largest file (default: the target's package budget)" },
    { "min-accuracy", 0, HONE_OPT_REAL, "SHARE", NULL, "least share of the baseline's accuracy to keep (default 0.95)" },
    { "prefer", 0, HONE_OPT_TEXT, "WEIGHTS", NULL, "what matters, as speed=.5,accuracy=.3,memory=.2 (the default)" },
    { "gates", 0, HONE_OPT_TEXT, "LIMITS", NULL, "thresholds of the other gates, as speed=2,memory=.5,variation=.2 (the default)" },
    { "prompt", 0, HONE_OPT_COUNT, "N", NULL, "prompt tokens in the benchmark (default 128)" },
    { "gen", 0, HONE_OPT_COUNT, "N", NULL, "tokens generated in the benchmark (default 32)" },
    { "repeat", 0, HONE_OPT_COUNT, "N", NULL, "benchmark rounds (default 10)" },
    { "seed", 0, HONE_OPT_COUNT, "N", NULL, "seed of the benchmark's prompt tokens (default 1)" },
    { "max-tokens", 0, HONE_OPT_COUNT, "N", NULL, "use at most N tokens of the text (default 16384; 0: all)" },
    { "max-items", 0, HONE_OPT_COUNT, "N", NULL, "use at most N items of each task (default: all)" },
    { "calibration", 0, HONE_OPT_TEXT, "FILE", NULL, "of a network without tokens: samples from which static int8 learns its ranges (without: no such candidates), and f16 which operators stay f32" },
    { "exclude", 0, HONE_OPT_LIST, "GLOB", NULL, "of a network: nodes or operators that stay floats" },
    HONE_OPT_DATA,
    HONE_OPT_IMAGES,
    { "fresh", 0, HONE_OPT_FLAG, NULL, NULL, "measure again what history.db already holds" },
};

static hone_code read_preferences(hone_cli *c, hone_optimize_options *o, hone_err *err)
{
    const char *gates = hone_cli_text(c, "gates", NULL);
    const hone_cli_word limits[] = { { "speed", &o->gate_speed }, { "memory", &o->gate_memory }, { "variation", &o->gate_variation } };
    HONE_TRY(hone_cli_preferences(c, &o->prefer_speed, &o->prefer_accuracy, &o->prefer_memory, err));
    if (!gates) return HONE_OK;
    o->gate_speed = 2;
    o->gate_memory = 0.5;
    o->gate_variation = 0.2;
    HONE_TRY(hone_cli_words(c, "gates", "as in --gates speed=2,memory=.5,variation=.2", gates, limits, HONE_COUNT(limits), err));
    for (size_t i = 0; i < HONE_COUNT(limits); i++)
        if (!(*limits[i].to > 0)) return HONE_FAIL(err, HONE_EUSAGE, "give it a number above 0", "--gates %s=0 can never be met", limits[i].name);
    return HONE_OK;
}

static hone_code optimize(hone_cli *c, json_t *doc, hone_err *err)
{
    size_t                n;
    const char          **quants = hone_cli_list(c, "quant", &n);
    hone_text             command = { 0 };
    hone_optimize_options o = { .source = c->args[0], .target = hone_cli_text(c, "target", "host"), .out_dir = hone_cli_text(c, "output", NULL),
                                .quants = quants, .n_quants = n, .text = hone_cli_text(c, "text", NULL), .tasks = hone_cli_text(c, "tasks", NULL),
                                .max_ram = hone_cli_bytes(c, "max-ram", 0), .max_bytes = hone_cli_bytes(c, "max-bytes", 0),
                                .min_accuracy = hone_cli_real(c, "min-accuracy", 0.95), .prompt = hone_cli_count(c, "prompt", 0),
                                .gen = hone_cli_count(c, "gen", 0), .repeat = hone_cli_count(c, "repeat", 0), .seed = hone_cli_count(c, "seed", 1),
                                .max_tokens = hone_cli_count(c, "max-tokens", 16384), .max_items = hone_cli_count(c, "max-items", 0),
                                .fresh = hone_cli_has(c, "fresh") };
    if (!quants) return HONE_NOMEM(err, "the command line");
    if (!o.out_dir) return HONE_FAIL(err, HONE_EUSAGE, "add -o DIR", "hone optimize needs an output folder");
    if (!(o.min_accuracy > 0 && o.min_accuracy <= 1))
        return HONE_FAIL(err, HONE_EUSAGE, "as in 0.95", "--min-accuracy is %g, needs a share above 0 and up to 1", o.min_accuracy);
    HONE_TRY(read_preferences(c, &o, err));
    if (hone_net_is(c->args[0])) return hone_cli_networks_optimize(c, o.gate_speed, o.gate_memory, o.gate_variation, doc, err);
    static const char *const networks[] = { "data", "calibration", "exclude", "mean", "std", "layout", "size" };
    for (size_t i = 0; i < HONE_COUNT(networks); i++)
        if (hone_cli_has(c, networks[i])) return HONE_FAIL(err, HONE_EUSAGE, "leave it out", "--%s is for networks without tokens (.onnx), '%.60s' is none", networks[i], c->args[0]);
    hone_code code = hone_cli_command(c, &command, err);
    o.command = command.ptr;
    if (code == HONE_OK) code = hone_optimize(&c->ctx, &o, doc, err);
    hone_text_release(&command);
    return code;
}

static hone_code run(hone_cli *c, json_t *doc, hone_err *err)
{
    hone_code code = optimize(c, doc, err);
    if (code == HONE_ERESOURCE && hone_ctx_cancelled(&c->ctx)) hone_err_set_remedy(err, "run the same command again: finished measurements are kept");
    return code;
}

static void cell_num(hone_table *t, size_t row, size_t col, hone_style s, const json_t *from, const char *path, int digits, double times)
{
    double v = hone_doc_number(from, path, -1);
    if (v < 0) hone_table_cell(t, row, col, HONE_DIM, "-");
    else hone_table_cell(t, row, col, s, "%.*f", digits, v * times);
}

static void cell_bytes(hone_table *t, size_t row, size_t col, hone_style s, const json_t *from, const char *path)
{
    char   b[32];
    double v = hone_doc_number(from, path, -1);
    if (v < 0) hone_table_cell(t, row, col, HONE_DIM, "-");
    else hone_table_cell(t, row, col, s, "%s", hone_text_bytes((uint64_t)v, b, sizeof b));
}

/* One sign for each gate of a candidate: + pass, - fail, ? not known. */
static void cell_gates(hone_table *t, size_t row, size_t col, hone_style s, const json_t *gates)
{
    static const char *const name[] = { "accuracy", "speed", "memory", "consistent latency" };
    char sign[HONE_COUNT(name)];
    for (size_t i = 0; i < HONE_COUNT(name); i++) {
        const char *v = hone_doc_str(gates, name[i], "");
        sign[i] = strcmp(v, "pass") == 0 ? '+' : strcmp(v, "fail") == 0 ? '-' : '?';
    }
    if (json_is_object(gates)) hone_table_cell(t, row, col, s, "%c%c%c%c", sign[0], sign[1], sign[2], sign[3]);
    else hone_table_cell(t, row, col, HONE_DIM, "ref");
}

static void print_candidates(hone_cli *c, const json_t *doc)
{
    size_t      i;
    json_t     *o;
    const struct { const char *title, *unit; } cols[] = { { "", "" }, { "encoding", "" }, { "file", "MB" }, { "bits", "/w" }, { "RAM", "MB" }, { "load", "ms" },
                                                          { "TTFT", "ms" }, { "prefill", "tok/s" }, { "decode", "tok/s" }, { "p95", "ms" }, { "ppl", "" },
                                                          { "KLD", "/1000" }, { "acc", "%" }, { "score", "" }, { "gates", "asmv" } };
    hone_table *t = hone_table_new(c, HONE_COUNT(cols));
    for (size_t k = 0; k < HONE_COUNT(cols); k++) hone_table_col(t, k, cols[k].title, cols[k].unit, k > 1 && k != 14);
    json_array_foreach(json_object_get(doc, "candidates"), i, o) {
        const json_t *b = json_object_get(o, "bench"), *e = json_object_get(o, "eval");
        bool          win = json_is_true(json_object_get(o, "chosen")), out = json_is_string(json_object_get(o, "excluded"));
        bool          base = strcmp(hone_doc_str(o, "role", ""), "baseline") == 0, runtime_base = strcmp(hone_doc_str(o, "role", ""), "runtime_baseline") == 0;
        hone_style    s = win ? HONE_GREEN : out ? HONE_DIM : HONE_PLAIN;
        hone_table_cell(t, i, 0, s, "%s", win ? ">" : base || runtime_base ? "=" : out ? "x" : json_is_true(json_object_get(o, "pareto")) ? "*" : "");
        hone_table_cell(t, i, 1, win ? HONE_GREEN : HONE_BOLD, "%s", hone_doc_str(o, "quantization", ""));
        cell_num(t, i, 2, s, o, "bytes", 2, 1e-6);
        cell_num(t, i, 3, s, o, "bpw", 1, 1);
        cell_num(t, i, 4, s, o, "ram_bytes", 1, 1e-6);
        cell_num(t, i, 5, s, b, "load_ms", 0, 1);
        cell_num(t, i, 6, s, b, "ttft_ms.p50", 1, 1);
        cell_num(t, i, 7, s, b, "prefill_tok_s", 0, 1);
        cell_num(t, i, 8, s, b, "decode_tok_s", 0, 1);
        cell_num(t, i, 9, s, b, "latency_ms.p95", 2, 1);
        if (hone_doc_has_num(o, "brief_tokens")) hone_table_cell(t, i, 10, HONE_DIM, "-"); /* of other text than the others' */
        else cell_num(t, i, 10, s, e, "perplexity", hone_doc_number(e, "perplexity", 0) < 100 ? 3 : 1, 1);
        if (base) hone_table_cell(t, i, 11, HONE_DIM, "ref");
        else cell_num(t, i, 11, s, e, "kld_mean", hone_doc_number(e, "kld_mean", 0) < 0.1 ? 2 : 0, 1000);
        cell_num(t, i, 12, s, e, "accuracy", 1, 100);
        cell_num(t, i, 13, s, o, "score", 3, 1);
        cell_gates(t, i, 14, s, json_object_get(o, "gates"));
    }
    hone_say_head(c, "Candidates  (1 thread, interleaved rounds, KV cache of %.0f tokens)", hone_doc_num(json_object_get(doc, "settings"), "context", 0));
    hone_table_print(c, t);
    hone_say(c, HONE_DIM, "  > chosen   * on the Pareto front   = baseline   x out   RAM: %s\n"
                          "  gates on accuracy, speed, memory, variation: + pass   - fail   ? not known\n",
             strcmp(hone_doc_str(doc, "memory_basis", ""), "peak_rss") == 0 ? "peak of the process" : "weights + KV cache + buffers");
    json_array_foreach(json_object_get(doc, "candidates"), i, o) {
        char        line[600];
        const char *why = hone_doc_str(o, "excluded", NULL);
        if (!why) continue;
        (void)snprintf(line, sizeof line, "%s is out: %s", hone_doc_str(o, "quantization", ""), why);
        hone_say_wrapped(c, 2, line);
    }
}

static void print_gates(hone_cli *c, const json_t *doc)
{
    size_t      i;
    json_t     *g;
    hone_table *t = hone_table_new(c, 5);
    if (json_array_size(json_object_get(doc, "gates")) == 0) return;
    hone_table_col(t, 0, "gate", "", false);
    hone_table_col(t, 1, "verdict", "", false);
    hone_table_col(t, 2, "measured", "", true);
    hone_table_col(t, 3, "needed", "", true);
    hone_table_col(t, 4, "on what", "", false);
    json_array_foreach(json_object_get(doc, "gates"), i, g) {
        char        why[256];
        const char *v = hone_doc_str(g, "verdict", "");
        bool        pass = strcmp(v, "pass") == 0, fail = strcmp(v, "fail") == 0, count = strcmp(hone_doc_str(g, "unit", ""), "mismatches") == 0;
        hone_table_cell(t, i, 0, HONE_BOLD, "%s", hone_doc_str(g, "name", ""));
        hone_table_cell(t, i, 1, pass ? HONE_GREEN : fail ? HONE_RED : HONE_YELLOW, "%s", strcmp(v, "not_measured") == 0 ? "not measured" : v);
        cell_num(t, i, 2, HONE_PLAIN, g, "value", count ? 0 : 3, 1);
        hone_table_cell(t, i, 3, HONE_PLAIN, "%s %.*f", json_is_true(json_object_get(g, "at_most")) ? "<=" : ">=", count ? 0 : 2, hone_doc_num(g, "threshold", 0));
        (void)snprintf(why, sizeof why, "%s", hone_doc_str(g, "why", ""));
        size_t room = c->width > 60 ? (size_t)c->width - 50 : 40;
        if (strlen(why) > room) memcpy(why + room - 3, "...", 4);
        hone_table_cell(t, i, 4, HONE_DIM, "%s", why);
    }
    hone_say_head(c, "Gates");
    hone_table_print(c, t);
}

static void print(hone_cli *c, const json_t *doc)
{
    if (hone_cli_networks_doc(doc)) {
        hone_cli_networks_optimize_print(c, doc);
        return;
    }
    size_t        i;
    json_t       *s;
    const json_t *src = json_object_get(doc, "source"), *chosen = json_object_get(doc, "chosen");
    hone_say(c, HONE_BOLD, "%s", hone_doc_str(src, "name", ""));
    hone_say(c, HONE_PLAIN, "  %s, %.3g M parameters, %s, for %s\n", hone_doc_str(src, "architecture", ""), hone_doc_num(src, "parameters", 0) / 1e6,
             hone_doc_str(src, "dtype", ""), hone_doc_str(json_object_get(doc, "target"), "name", "this machine"));
    print_candidates(c, doc);
    hone_table *t = hone_table_new(c, 8);
    const struct { const char *title, *unit; } cols[] = { { "stage", "" }, { "encoding", "" }, { "file", "" }, { "RAM", "" }, { "decode", "tok/s" },
                                                          { "speed", "x base" }, { "KLD", "/1000" }, { "time", "s" } };
    for (size_t k = 0; k < HONE_COUNT(cols); k++) hone_table_col(t, k, cols[k].title, cols[k].unit, k > 1);
    json_array_foreach(json_object_get(doc, "stages"), i, s) {
        const json_t *f = json_object_get(s, "figures");
        hone_table_cell(t, i, 0, HONE_PLAIN, "%.0f %s", hone_doc_num(s, "stage", 0), hone_doc_str(s, "name", ""));
        hone_table_cell(t, i, 1, HONE_BOLD, "%s", hone_doc_str(f, "quantization", "-"));
        cell_bytes(t, i, 2, HONE_PLAIN, f, "bytes");
        cell_bytes(t, i, 3, HONE_PLAIN, f, "ram_bytes");
        cell_num(t, i, 4, HONE_PLAIN, f, "decode_tok_s", 0, 1);
        cell_num(t, i, 5, HONE_PLAIN, f, "speed_ratio", 2, 1);
        cell_num(t, i, 6, HONE_PLAIN, f, "kld_mean", 2, 1000);
        cell_num(t, i, 7, HONE_DIM, s, "seconds", 1, 1);
    }
    hone_say_head(c, "Stages");
    hone_table_print(c, t);
    print_gates(c, doc);
    if (json_is_object(chosen)) {
        hone_say_head(c, "Chosen: %s on %.0f thread%s", hone_doc_str(chosen, "quantization", ""), hone_doc_num(chosen, "threads", 0),
                      hone_doc_num(chosen, "threads", 0) > 1 ? "s" : "");
        json_array_foreach(json_object_get(chosen, "because"), i, s) hone_say_bullet(c, json_string_value(s));
        hone_say(c, HONE_PLAIN, "  %s\n", hone_doc_str(chosen, "path", ""));
    } else {
        hone_say_head(c, "Nothing chosen: no encoding meets the constraints");
        json_array_foreach(json_object_get(doc, "guidance"), i, s) hone_say_bullet(c, json_string_value(s));
    }
    hone_say(c, HONE_PLAIN, "\nreport  ");
    hone_say(c, HONE_CYAN, "%s", hone_doc_str(doc, "report", ""));
    hone_say(c, HONE_DIM, "  (%.0f s; %.0f records made, %.0f from earlier runs)\n", hone_doc_num(doc, "seconds", 0), hone_doc_num(doc, "measured", 0),
             hone_doc_num(doc, "reused", 0));
}

const hone_cmd hone_cmd_optimize = {
    .name = "optimize",
    .summary = "find the best encoding for a target, measured, gated and reported",
    .args = "SRC",
    .about = "Tries all four formats, each in its own runtime. Goes through five measured stages: the baseline (the source in its own type), format conversion with proof, quantisation into a set of "
             "candidates, hardware acceleration, and production validation against the gates. Every candidate runs in its real runtime, in a process of its "
             "own. Each finished measurement is stored at once: after an interruption the same command goes on where it was. Exit code 1 says that a "
             "blocking gate did not pass; the report and the artefacts are there all the same.",
    .example = "hone optimize examples/models/tale-8m --target android -o out/android\n"
               "hone optimize MODEL -o out --max-ram 600M --prefer accuracy=.7,memory=.3",
    .opts = opts, .n_opts = HONE_COUNT(opts), .min_args = 1, .max_args = 1, .run = run, .print = print,
};
