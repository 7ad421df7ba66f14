/* cmd_assess.c - hone assess: what a model is, what fits the target, what to use and why. */
#include "base/text.h"
#include "cli/cli.h"
#include "cli/net.h"
#include "flow/assess.h"
#include "flow/convert.h"
#include "flow/net.h"

static const hone_opt opts[] = {
    { "target", 't', HONE_OPT_TEXT, "T", NULL, "a named target (hone probe --list) or FILE.json; default: host, this machine" },
    { "context", 0, HONE_OPT_COUNT, "N", NULL, "tokens of KV cache (default: the target's policy, at most the model's)" },
    { "max-ram", 0, HONE_OPT_BYTES, "BYTES", NULL, "memory a model may take (default: what the target has available)" },
    { "workflow", 0, HONE_OPT_TEXT, "W", "prototype|enterprise", "what the deployment is for" },
    { "explain", 0, HONE_OPT_FLAG, NULL, NULL, "show every rule of the decision, what it was judged by, and the matrices" },
    { "quick", 0, HONE_OPT_FLAG, NULL, NULL, "do not measure this machine's memory bandwidth (no speed estimates then); of a network ask no runtime" },
};

static hone_code run(hone_cli *c, json_t *doc, hone_err *err)
{
    const char *workflow = hone_cli_text(c, "workflow", NULL);
    if (workflow && strcmp(workflow, "prototype") != 0 && strcmp(workflow, "enterprise") != 0)
        return HONE_FAIL(err, HONE_EUSAGE, "", "--workflow is '%.40s', needs prototype or enterprise", workflow);
    if (hone_net_is(c->args[0])) return hone_cli_net_assess(c, doc, err);
    hone_model m = { 0 };
    json_t    *got = NULL;
    hone_code  code = hone_model_open(&c->ctx, c->args[0], &m, err);
    if (code == HONE_OK)
        code = hone_assess(&c->ctx, &m,
                           &(hone_assess_options){ .target = hone_cli_text(c, "target", NULL), .workflow = workflow,
                                                   .context = hone_cli_count(c, "context", 0), .max_ram = hone_cli_bytes(c, "max-ram", 0),
                                                   .explain = hone_cli_has(c, "explain"), .quick = hone_cli_has(c, "quick") },
                           &got, err);
    if (code == HONE_OK && json_object_update(doc, got) != 0) code = HONE_NOMEM(err, "the assessment");
    json_decref(got);
    hone_model_close(&m);
    return code;
}

static const char *bytes_at(const json_t *o, const char *key, char *out, size_t cap)
{
    return hone_text_bytes((uint64_t)hone_doc_num(o, key, 0), out, cap);
}

/* 7.28 M, 8.03 B */
static const char *count_at(const json_t *o, const char *key, char *out, size_t cap)
{
    double v = hone_doc_num(o, key, 0);
    if (v >= 1e9) (void)snprintf(out, cap, "%.3g B", v / 1e9);
    else if (v >= 1e6) (void)snprintf(out, cap, "%.3g M", v / 1e6);
    else (void)snprintf(out, cap, "%.0f", v);
    return out;
}

static void print_model(hone_cli *c, const json_t *doc)
{
    const json_t *m = json_object_get(doc, "model"), *t = json_object_get(doc, "target");
    char          a[32], b[32];
    hone_say(c, HONE_BOLD, "%s on %s\n", hone_doc_str(m, "name", "?"), hone_doc_str(t, "title", "?"));
    hone_say_head(c, "Model");
    hone_say_field(c, "architecture", "%s (%s), %s", hone_doc_str(m, "architecture", "?"), hone_doc_str(m, "class", "?"),
                   strcmp(hone_doc_str(m, "kind", ""), "embedding") == 0 ? "makes embeddings" : "generates text");
    if (hone_doc_num(m, "experts", 0) > 0)
        hone_say_field(c, "parameters", "%s, %s of them used for a token (%.0f of %.0f experts)", count_at(m, "parameters", a, sizeof a),
                       count_at(m, "parameters_per_token", b, sizeof b), hone_doc_num(m, "experts_used", 0), hone_doc_num(m, "experts", 0));
    else hone_say_field(c, "parameters", "%s", count_at(m, "parameters", a, sizeof a));
    hone_say_field(c, "size", "%s in %s, %.0f file%s", bytes_at(m, "bytes", a, sizeof a), hone_doc_str(m, "dtype", "?"), hone_doc_num(m, "files", 1),
                   hone_doc_num(m, "files", 1) == 1 ? "" : "s");
    hone_say_field(c, "shape", "%.0f layers of %.0f, %.0f heads of %.0f (%.0f for K and V), feed-forward %.0f", hone_doc_num(m, "layers", 0),
                   hone_doc_num(m, "hidden", 0), hone_doc_num(m, "heads", 0), hone_doc_num(m, "head_dim", 0), hone_doc_num(m, "kv_heads", 0),
                   hone_doc_num(m, "ffn", 0));
    hone_say_field(c, "vocabulary", "%.0f tokens, %s", hone_doc_num(m, "vocab", 0), hone_doc_str(m, "tokenizer", "?"));
    if (hone_doc_has_num(m, "window"))
        hone_say_field(c, "context", "%.0f tokens, %.0f of %.0f layers see %.0f only", hone_doc_num(m, "context", 0),
                       hone_doc_num(m, "windowed_layers", 0), hone_doc_num(m, "layers", 0), hone_doc_num(m, "window", 0));
    else hone_say_field(c, "context", "%.0f tokens", hone_doc_num(m, "context", 0));
    hone_say_head(c, "Target");
    if (hone_doc_has_num(t, "ram_bytes")) hone_say_field(c, "memory", "%s for a model", bytes_at(t, "ram_bytes", a, sizeof a));
    else hone_say_field(c, "memory", "not known");
    if (hone_doc_has_num(t, "read_gb_s"))
        hone_say_field(c, "read", "%.1f GB/s (%s)", hone_doc_num(t, "read_gb_s", 0), hone_doc_str(t, "read_gb_s_basis", "?"));
    else hone_say_field(c, "read", "%s", "not measured");
    if (hone_doc_has_num(t, "package_bytes")) hone_say_field(c, "package", "at most %s", bytes_at(t, "package_bytes", a, sizeof a));
}

static void fit_cell(hone_table *table, size_t row, size_t col, const json_t *v)
{
    if (json_is_boolean(v)) hone_table_cell(table, row, col, json_is_true(v) ? HONE_GREEN : HONE_RED, "%s", json_is_true(v) ? "yes" : "no");
    else hone_table_cell(table, row, col, HONE_DIM, "-");
}

static void print_fit(hone_cli *c, const json_t *doc)
{
    size_t      i, rows = 0;
    json_t     *f, *w;
    char        a[32];
    const char *chosen = hone_doc_str(json_object_get(json_object_get(doc, "recommendation"), "now"), "quantization", "");
    bool        package = hone_doc_has_num(json_object_get(doc, "target"), "package_bytes"), speed = false;
    json_array_foreach(json_object_get(doc, "fit"), i, f) speed = speed || hone_doc_has_num(f, "est_decode_tok_s");
    hone_say_head(c, "What fits, at %.0f tokens of context", hone_doc_num(doc, "context", 0));
    /* An encoder generates nothing, and without a bandwidth there is no estimate: then the column is left out. */
    size_t      at_fits = speed ? 6 : 5;
    hone_table *t = hone_table_new(c, at_fits + 1 + package);
    hone_table_col(t, 0, "encoding", "gguf", false);
    hone_table_col(t, 1, "bits", "/weight", true);
    hone_table_col(t, 2, "weights", "", true);
    hone_table_col(t, 3, "KV", "", true);
    hone_table_col(t, 4, "memory", "est.", true);
    if (speed) hone_table_col(t, 5, "decode", "est. tok/s", true);
    hone_table_col(t, at_fits, "fits", "memory", false);
    if (package) hone_table_col(t, at_fits + 1, "fits", "package", false);
    json_array_foreach(json_object_get(doc, "fit"), i, f) {
        bool mine = strcmp(hone_doc_str(f, "encoding", ""), chosen) == 0;
        hone_table_cell(t, i, 0, mine ? HONE_BOLD : HONE_PLAIN, "%s%s", hone_doc_str(f, "encoding", "?"), mine ? " <" : "");
        hone_table_cell(t, i, 1, HONE_PLAIN, "%.2f", hone_doc_num(f, "bpw", 0));
        hone_table_cell(t, i, 2, HONE_PLAIN, "%s", bytes_at(f, "weights_bytes", a, sizeof a));
        hone_table_cell(t, i, 3, HONE_PLAIN, "%s", bytes_at(f, "kv_bytes", a, sizeof a));
        hone_table_cell(t, i, 4, HONE_PLAIN, "%s", bytes_at(f, "ram_bytes", a, sizeof a));
        double v = hone_doc_num(f, "est_decode_tok_s", 0);
        if (speed) hone_table_cell(t, i, 5, HONE_PLAIN, v < 10 ? "%.1f" : "%.0f", v);
        fit_cell(t, i, at_fits, json_object_get(f, "fits"));
        if (package) fit_cell(t, i, at_fits + 1, json_object_get(f, "fits_package"));
        rows++;
    }
    if (rows) hone_table_print(c, t);
    else hone_say(c, HONE_YELLOW, "  no encoding is possible\n");
    const char *said = "";
    json_array_foreach(json_object_get(doc, "compatibility"), i, f) {
        const char *why = hone_doc_str(f, "reason", "");
        if (strcmp(hone_doc_str(f, "format", ""), "gguf") != 0 || !why[0] || (!rows && strcmp(why, said) == 0)) continue;
        char        text[640];
        const char *name = hone_doc_str(f, "encoding", "?");
        bool        named = !rows || strncmp(why, name, strlen(name)) == 0; /* without rows the reason is the model's, told once */
        (void)snprintf(text, sizeof text, "%s%s%s", named ? "" : name, named ? "" : ": ", why);
        hone_say_wrapped(c, 2, text);
        said = why;
    }
    json_array_foreach(json_object_get(doc, "warnings"), i, w) {
        hone_say(c, HONE_YELLOW, "  warning\n");
        hone_say_wrapped(c, 4, json_string_value(w));
    }
}

static void print_recommendation(hone_cli *c, const json_t *doc)
{
    const json_t *r = json_object_get(doc, "recommendation"), *now = json_object_get(r, "now");
    char          a[32];
    size_t        i;
    json_t       *b;
    hone_say_head(c, "Recommendation");
    char group[24] = "";
    if (hone_doc_has_num(r, "group")) (void)snprintf(group, sizeof group, ", groups of %.0f", hone_doc_num(r, "group", 0));
    hone_say_field(c, "framework", "%s, %s %s%s", hone_doc_str(r, "framework_title", "?"), hone_doc_str(r, "format", "?"),
                   hone_doc_str(r, "quantization", "?"), group);
    if (json_is_object(now)) {
        bool fits = json_is_true(json_object_get(now, "fits"));
        hone_say_field(c, "now", "%s %s %s, file %s, %s", hone_doc_str(now, "framework", "?"), hone_doc_str(now, "format", "?"),
                       hone_doc_str(now, "quantization", "?"), bytes_at(now, "file_bytes", a, sizeof a), fits ? "fits" : "does not fit");
    } else hone_say_field(c, "now", "nothing that hone can write runs this model");
    hone_say(c, HONE_DIM, "  because\n");
    json_array_foreach(json_object_get(r, "because"), i, b) {
        char line[640];
        (void)snprintf(line, sizeof line, "- %s", json_string_value(b));
        hone_say_wrapped(c, 4, line);
    }
    hone_say(c, HONE_DIM, "  how the numbers came about\n");
    json_array_foreach(json_object_get(doc, "estimates"), i, b) {
        char line[640];
        (void)snprintf(line, sizeof line, "- %s", json_string_value(b));
        hone_say_wrapped(c, 4, line);
    }
}

static void print_rules(hone_cli *c, const char *title, const json_t *rules, bool questions)
{
    size_t  i;
    json_t *r;
    hone_say_head(c, "%s", title);
    json_array_foreach((json_t *)(uintptr_t)rules, i, r) {
        bool taken = json_is_true(json_object_get(r, "taken")), yes = json_is_true(json_object_get(r, "holds"));
        hone_say(c, taken ? HONE_GREEN : HONE_DIM, "  %s %s%s%s\n", taken ? "->" : "  ", hone_doc_str(r, questions ? "question" : "id", "?"),
                 questions ? (yes ? "  yes" : "  no") : "", taken || !yes ? "" : "  (an earlier rule was taken)");
        if (taken) hone_say_wrapped(c, 5, hone_doc_str(r, "because", ""));
    }
}

static void print_decision(hone_cli *c, const json_t *d)
{
    size_t        i, k;
    json_t       *r, *v;
    const json_t *m = json_object_get(d, "requirement_matrix"), *columns = json_object_get(m, "columns");
    print_rules(c, "Strategy by target and size", json_object_get(d, "strategy"), false);
    print_rules(c, "Decision tree", json_object_get(d, "tree"), true);
    print_rules(c, "Quantisation", json_object_get(d, "quantization"), false);
    hone_say_head(c, "What each framework is good at");
    hone_table *t = hone_table_new(c, 1 + json_array_size(columns));
    hone_table_col(t, 0, "", "", false);
    json_array_foreach((json_t *)(uintptr_t)columns, k, v) hone_table_col(t, k + 1, json_string_value(v), "", false);
    json_array_foreach(json_object_get(m, "rows"), i, r) {
        hone_table_cell(t, i, 0, HONE_BOLD, "%s", hone_doc_str(r, "requirement", "?"));
        json_array_foreach(json_object_get(r, "ratings"), k, v) hone_table_cell(t, i, k + 1, HONE_PLAIN, "%s", json_string_value(v));
    }
    hone_table_print(c, t);
    hone_say_wrapped(c, 2, hone_doc_str(m, "note", ""));
    hone_say_head(c, "Which framework on which platform");
    hone_table *p = hone_table_new(c, 3);
    hone_table_col(p, 0, "platform", "", false);
    hone_table_col(p, 1, "first", "", false);
    hone_table_col(p, 2, "second", "", false);
    json_array_foreach(json_object_get(d, "platform_matrix"), i, r) {
        hone_table_cell(p, i, 0, HONE_BOLD, "%s", hone_doc_str(r, "title", "?"));
        hone_table_cell(p, i, 1, HONE_PLAIN, "%s", hone_doc_str(r, "primary", "?"));
        hone_table_cell(p, i, 2, HONE_PLAIN, "%s", hone_doc_str(r, "secondary", "?"));
    }
    hone_table_print(c, p);
    hone_say_head(c, "Rankings by workflow");
    json_array_foreach(json_object_get(d, "workflows"), i, r) {
        hone_text order = { 0 };
        json_array_foreach(json_object_get(r, "ranking"), k, v) hone_text_addf(&order, "%s%s", k ? " > " : "", json_string_value(v));
        hone_say(c, HONE_BOLD, "  %s\n", hone_doc_str(r, "title", "?"));
        hone_say(c, HONE_PLAIN, "    %s\n", order.len ? order.ptr : "");
        hone_text_release(&order);
    }
}

static void print(hone_cli *c, const json_t *doc)
{
    if (hone_cli_net_doc(doc)) {
        hone_cli_net_assess_print(c, doc);
        return;
    }
    print_model(c, doc);
    print_fit(c, doc);
    print_recommendation(c, doc);
    if (json_object_get(doc, "decision")) print_decision(c, json_object_get(doc, "decision"));
}

const hone_cmd hone_cmd_assess = {
    .name = "assess",
    .summary = "say what a model is, what fits the target, and what to use",
    .args = "SRC",
    .about = "Reads a checkpoint's facts (no weights), computes for every encoding what it weighs and needs in memory on the target, estimates "
             "the decode speed from the target's memory bandwidth, and recommends framework, format and encoding by rules that are data "
             "(data/decision.json), with the facts that led to each answer. Byte counts are exact; speeds are estimates and labelled so.",
    .example = "hone assess examples/models/tale-8m --target raspberry-pi-5\nhone assess examples/models/tale-8m --target intel-npu --explain",
    .opts = opts, .n_opts = HONE_COUNT(opts), .min_args = 1, .max_args = 1, .run = run, .print = print,
};
