/* cmd_calibrate.c - hone calibrate: what the weight matrices of a model are given while text runs through it. */
#include "base/file.h"
#include "cli/cli.h"
#include "cli/networks.h"
#include "flow/calibrate.h"
#include <ctype.h>
#include <string.h>

static const hone_opt opts[] = {
    { "data", 'd', HONE_OPT_LIST, "[LANG=]FILE", NULL, "plain text to run, UTF-8; LANG is a word of yours, and the report says what each of them reached" },
    { "output", 'o', HONE_OPT_TEXT, "FILE", NULL, "where the statistics go: a GGUF file that llama-quantize takes with --imatrix" },
    { "hessian", 0, HONE_OPT_FLAG, NULL, NULL, "collect the sums of x x^T too, which --method gptq needs (large: one matrix of columns x columns per input)" },
    { "max-tokens", 0, HONE_OPT_COUNT, "N", NULL, "run at most the first N tokens of each text (default: all)" },
    { "context", 0, HONE_OPT_COUNT, "N", NULL, "tokens in a chunk (default 512, as llama-imatrix has it; less where the model has less)" },
    { "cold", 0, HONE_OPT_COUNT, "N", NULL, "call an expert cold that was given fewer than N rows (default 100)" },
    { "max-ram", 0, HONE_OPT_BYTES, "SIZE", NULL, "memory for Hessians; what does not fit is collected in further passes over the text (default: half of what is free)" },
};

/* "de=text.txt" has a name, "a=b.txt" too, unless there is a file of that name. */
static hone_code split(hone_cli *c, const char *given, hone_calibrate_text *out, hone_err *err)
{
    const char *eq = strchr(given, '=');
    size_t      n = eq ? (size_t)(eq - given) : 0;
    bool        word = n > 0 && n <= 32;
    for (size_t i = 0; word && i < n; i++) word = isalnum((unsigned char)given[i]) || given[i] == '_' || given[i] == '-';
    *out = (hone_calibrate_text){ .path = given };
    if (!word || hone_file_exists(given)) return HONE_OK;
    out->name = hone_arena_strndup(&c->arena, given, n);
    out->path = eq + 1;
    if (!*out->path) return HONE_FAIL(err, HONE_EUSAGE, "write --data LANG=FILE", "--data '%s' names no file", given);
    return out->name ? HONE_OK : HONE_NOMEM(err, "the command line");
}

static hone_code run(hone_cli *c, json_t *doc, hone_err *err)
{
    size_t                 n = 0;
    const char           **data = hone_cli_list(c, "data", &n);
    hone_calibrate_text   *texts = HONE_ARENA_NEW(&c->arena, hone_calibrate_text, n);
    hone_calibrate_options o = { .source = c->args[0],
                                 .texts = texts,
                                 .n_texts = n,
                                 .out = hone_cli_text(c, "output", NULL),
                                 .hessian = hone_cli_has(c, "hessian"),
                                 .context = hone_cli_count(c, "context", 0),
                                 .max_tokens = hone_cli_count(c, "max-tokens", 0),
                                 .cold_rows = hone_cli_count(c, "cold", 0),
                                 .ram_bytes = hone_cli_bytes(c, "max-ram", 0) };
    if ((!data && n) || !texts) return HONE_NOMEM(err, "the command line");
    HONE_TRY(hone_cli_networks_refuse(c, "hone convert --quant int8 --calibration SAMPLES calibrates networks", err));
    if (n == 0) return HONE_FAIL(err, HONE_EUSAGE, "add --data FILE, a plain text of the kind that the model is for", "hone calibrate needs a text");
    if (!o.out) return HONE_FAIL(err, HONE_EUSAGE, "add -o FILE.gguf", "hone calibrate needs an output file");
    for (size_t i = 0; i < n; i++) HONE_TRY(split(c, data[i], &texts[i], err));
    HONE_TRY(hone_out_try(o.out, err));
    return hone_calibrate(&c->ctx, &o, doc, err);
}

static const char *name_of(const json_t *text)
{
    const char *name = hone_doc_str(text, "name", NULL);
    return name ? name : hone_doc_str(text, "path", "");
}

static void print_texts(hone_cli *c, const json_t *texts, bool experts)
{
    hone_table *t = hone_table_new(c, experts ? 4 : 3);
    size_t      i;
    json_t     *x;
    hone_table_col(t, 0, "text", "", false);
    hone_table_col(t, 1, "tokens", "", true);
    hone_table_col(t, 2, "chunks", "", true);
    if (experts) hone_table_col(t, 3, "experts unseen", "", true);
    json_array_foreach((json_t *)(uintptr_t)texts, i, x) {
        hone_table_cell(t, i, 0, HONE_PLAIN, "%s", name_of(x));
        hone_table_cell(t, i, 1, HONE_PLAIN, "%.0f of %.0f", hone_doc_num(x, "tokens", 0), hone_doc_num(x, "tokens_in_text", 0));
        hone_table_cell(t, i, 2, HONE_PLAIN, "%.0f", hone_doc_num(x, "chunks", 0));
        if (experts) hone_table_cell(t, i, 3, hone_doc_num(x, "experts_unseen", 0) > 0 ? HONE_YELLOW : HONE_PLAIN, "%.0f", hone_doc_num(x, "experts_unseen", 0));
    }
    hone_table_print(c, t);
}

/* Rows of the fewest and the most, and the share of an expert that had its part of 1/n. */
static void print_layer(hone_table *t, size_t row, const json_t *layer, double cold)
{
    const json_t *experts = json_object_get(layer, "experts"), *e;
    size_t        i, below = 0, least = 0, most = 0, n = json_array_size(experts);
    double        lo = 0, hi = 0;
    for (i = 0; i < n; i++) {
        e = json_array_get(experts, i);
        double rows = hone_doc_num(e, "rows", 0);
        if (i == 0 || rows < lo) lo = rows, least = i;
        if (i == 0 || rows > hi) hi = rows, most = i;
        if (rows < cold) below++;
    }
    hone_table_cell(t, row, 0, HONE_PLAIN, "%.0f", hone_doc_num(layer, "layer", 0));
    hone_table_cell(t, row, 1, HONE_PLAIN, "%zu: %.0f rows", least, lo);
    hone_table_cell(t, row, 2, HONE_PLAIN, "%zu: %.0f rows", most, hi);
    hone_table_cell(t, row, 3, below ? HONE_YELLOW : HONE_PLAIN, "%zu of %zu", below, n);
}

static void print_experts(hone_cli *c, const json_t *coverage)
{
    const double cold = hone_doc_num(coverage, "cold_rows", 0);
    hone_table  *t = hone_table_new(c, 4);
    size_t       i;
    json_t      *l;
    hone_say_head(c, "experts");
    hone_table_col(t, 0, "layer", "", true);
    hone_table_col(t, 1, "least used", "", true);
    hone_table_col(t, 2, "most used", "", true);
    hone_table_col(t, 3, "cold", "", true);
    json_array_foreach(json_object_get(coverage, "layers"), i, l) print_layer(t, i, l, cold);
    hone_table_print(c, t);
}

static void print(hone_cli *c, const json_t *doc)
{
    const json_t *coverage = json_object_get(doc, "coverage"), *out = json_object_get(doc, "output"), *h = json_object_get(doc, "hessians");
    char          bytes[32];
    const bool    experts = json_is_object(coverage);
    hone_say_head(c, "calibration");
    print_texts(c, json_object_get(doc, "texts"), experts);
    if (experts) print_experts(c, coverage);
    hone_say_field(c, "seen", "%.0f tokens at %.0f weights, by %s", hone_doc_num(doc, "tokens", 0), hone_doc_num(doc, "weights", 0),
                   hone_doc_str(json_object_get(doc, "runtime"), "name", ""));
    if (json_is_object(h))
        hone_say_field(c, "Hessians", "%.0f, in %.0f pass%s", hone_doc_num(h, "matrices", 0), hone_doc_num(doc, "passes", 0), hone_doc_num(doc, "passes", 0) > 1 ? "es" : "");
    hone_say_field(c, "file", "%s, %s", hone_doc_str(out, "path", ""), hone_text_bytes((uint64_t)hone_doc_num(out, "bytes", 0), bytes, sizeof bytes));
    hone_say_field(c, "took", "%.1f s", hone_doc_num(doc, "seconds", 0));
}

const hone_cmd hone_cmd_calibrate = {
    .name = "calibrate",
    .summary = "run text through a model and keep what its weights were given",
    .args = "SRC",
    .about = "Runs text through the unquantised model in llama.cpp and writes, for every weight matrix, the sums, sums of squares and of magnitudes, and the maxima of its "
             "inputs, per expert where there are experts. The file is an importance matrix that llama-quantize takes too. What the text did not reach is said.",
    .example = "hone calibrate models/tale-8m --data de=german.txt,en=english.txt -o tale.imatrix.gguf",
    .opts = opts,
    .n_opts = HONE_COUNT(opts),
    .min_args = 1,
    .max_args = 1,
    .run = run,
    .print = print,
};
