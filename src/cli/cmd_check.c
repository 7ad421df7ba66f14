/* cmd_check.c - hone check: is an artefact still the same model? */
#include "cli/cli.h"
#include "cli/measured.h"
#include "cli/networks.h"
#include "cli/scored.h"
#include <limits.h>

static const hone_opt opts[] = {
    { "against", 'a', HONE_OPT_TEXT, "SRC", NULL, "the checkpoint's folder; its tokenizer_cases.json and reference.safetensors are used when they lie there" },
    { "reference", 'r', HONE_OPT_TEXT, "FILE", NULL, "input_ids and logits made by another implementation (.safetensors), or an unquantised artefact of any format" },
    { "cases", 0, HONE_OPT_TEXT, "FILE", NULL, "tokenizer and chat cases (default: tokenizer_cases.json of SRC)" },
    { "max-kld", 0, HONE_OPT_REAL, "X", NULL, "largest mean KL divergence that passes (default: by precision; f32 1e-5, f16 and bf16 1e-3, quantised none)" },
    { "min-gap", 0, HONE_OPT_REAL, "X", NULL, "the best token must agree where the reference's lead is over X (default: f32 0.01, f16 0.03, others 0.1)" },
    { "context", 0, HONE_OPT_COUNT, "N", NULL, "texts are at most N tokens long: what a runtime does differently behind that is no failure" },
    { "layers", 0, HONE_OPT_FLAG, NULL, NULL, "compare the hidden state behind every layer, with the artefact of --reference or with the first one named" },
    { "text", 0, HONE_OPT_TEXT, "FILE", NULL, "text whose first tokens go through the layers (default: random tokens)" },
    HONE_OPT_DATA,
    HONE_OPT_IMAGES,
    { "min-same", 0, HONE_OPT_REAL, "X", NULL, "of networks with --data: least share of samples that get the same answer (default 0.95)" },
    { "min-cosine", 0, HONE_OPT_REAL, "X", NULL, "of networks with --data: least cosine of a sample's numbers, on the mean (default 0.95)" },
    HONE_OPT_DEVICE,
    HONE_OPT_HTML,
};

/* A reference that is an artefact, for the layers. */
static const char *layer_reference(const char *reference)
{
    size_t n = reference ? strlen(reference) : 0;
    return n > 12 && strcmp(reference + n - 12, ".safetensors") == 0 ? NULL : reference;
}

/* The answer over all artefacts; one that gave no result is not proven. */
static hone_code answer(const hone_scorecard *s, hone_err *err)
{
    size_t        i, bad = 0, n = json_array_size(s->rows);
    json_t       *row;
    const json_t *first = NULL, *first_failure = NULL;
    json_array_foreach(s->rows, i, row) {
        const json_t *c = json_object_get(row, "check"), *f = json_object_get(row, "failure");
        if (!f && strcmp(hone_doc_str(c, "verdict", ""), "pass") == 0) continue;
        bad++;
        if (!first && c) first = c;
        if (!first_failure && f) first_failure = f;
    }
    if (bad == 0) return HONE_OK;
    const char *what = first ? strcmp(hone_doc_str(first, "verdict", ""), "fail") == 0 ? "not the same model" : "not proven" : "no result";
    const char *why = first ? hone_doc_str(first, "why", "") : hone_doc_str(first_failure, "cause", "");
    if (n == 1) return HONE_FAIL(err, HONE_ENO, "", "%s: %s", what, why);
    return HONE_FAIL(err, HONE_ENO, "", "%zu of %zu artefacts are not proven to be the same model; the first: %s: %s", bad, n, what, why);
}

static hone_code run_all(hone_cli *c, const hone_check_options *o, hone_scorecard *s, hone_err *err)
{
    const bool check = o->source || o->reference || o->cases, layers = hone_cli_has(c, "layers");
    HONE_TRY(hone_scorecard_open(&c->ctx, c->args, c->n_args, s, err));
    /* With --layers an artefact of ours is for those; what proves the conversion is the source's own reference. */
    hone_check_options proof = *o;
    if (layers && o->source && layer_reference(o->reference)) proof.reference = NULL;
    if (check) HONE_TRY(hone_scorecard_check(&c->ctx, &proof, s, err));
    if (layers)
        HONE_TRY(hone_scorecard_layers(&c->ctx, &(hone_layers_options){ .reference = layer_reference(o->reference), .text = hone_cli_text(c, "text", NULL), .device = o->device,
                                                                        .threads = c->ctx.threads }, s, err));
    return check ? answer(s, err) : HONE_OK;
}

/* Networks without tokens: the outputs on the samples, with the float model beside. */
static hone_code run_networks(hone_cli *c, json_t *doc, hone_err *err)
{
    const char *against = hone_cli_text(c, "against", NULL);
    double      same = hone_cli_real(c, "min-same", .95), cosine = hone_cli_real(c, "min-cosine", .95);
    size_t      i;
    json_t     *r;
    if (!against) return HONE_FAIL(err, HONE_EUSAGE, "add --against MODEL, the float model", "hone check needs something to check against");
    HONE_TRY(hone_cli_networks_eval(c, against, doc, err));
    if (!hone_json_put(doc, "min_same", hone_json_real(same)) || !hone_json_put(doc, "min_cosine", hone_json_real(cosine))) return HONE_NOMEM(err, "the result");
    json_array_foreach(json_object_get(doc, "results"), i, r) {
        double has_same = hone_doc_num(r, "top1", 0), has_cosine = hone_doc_num(r, "cosine_mean", 0), strange = hone_doc_num(r, "not_finite", 0);
        if (strange > 0) return HONE_FAIL(err, HONE_ENO, "", "'%s' gives %.0f numbers that are not finite", hone_doc_str(r, "path", ""), strange);
        if (has_same < same) return HONE_FAIL(err, HONE_ENO, "", "'%s' gives the same answer to %.2f %% of the samples, the bound is %.2f %%", hone_doc_str(r, "path", ""), 100 * has_same, 100 * same);
        if (has_cosine < cosine) return HONE_FAIL(err, HONE_ENO, "", "'%s' has a mean cosine of %.4f with the float model, the bound is %.4f", hone_doc_str(r, "path", ""), has_cosine, cosine);
    }
    return HONE_OK;
}

static hone_code run(hone_cli *c, json_t *doc, hone_err *err)
{
    if (hone_cli_has(c, "data")) return hone_cli_networks_page(c, doc, run_networks(c, doc, err), err);
    HONE_TRY(hone_cli_networks_need_data(c, err));
    hone_scorecard           s = { 0 };
    const hone_check_options o = { .source = hone_cli_text(c, "against", NULL),
                                   .reference = hone_cli_text(c, "reference", NULL),
                                   .cases = hone_cli_text(c, "cases", NULL),
                                   .max_kld = hone_cli_real(c, "max-kld", 0),
                                   .min_gap = hone_cli_real(c, "min-gap", 0),
                                   .context = hone_cli_count(c, "context", 0),
                                   .device = hone_cli_text(c, "device", "cpu"),
                                   .threads = c->ctx.threads };
    const bool layers = hone_cli_has(c, "layers");
    if (layers && c->n_args < 2 && !layer_reference(o.reference))
        return HONE_FAIL(err, HONE_EUSAGE, "name a second artefact, or one with --reference; `hone convert SRC --quant f32` makes the best one",
                         "--layers needs something to compare with");
    if (!o.source && !o.reference && !o.cases && !layers)
        return HONE_FAIL(err, HONE_EUSAGE, "add --against SRC, the checkpoint's folder", "hone check needs something to check against");
    hone_code code = run_all(c, &o, &s, err);
    code = hone_scored_finish(c, &s, "check", doc, code, err);
    if (c->n_args != 1 || (code != HONE_OK && code != HONE_ENO)) return code;
    /* Of one artefact the findings stand at the top. */
    size_t        i = 0;
    const char   *key;
    json_t       *v;
    const json_t *only = json_array_get(json_object_get(doc, "results"), i);
    json_object_foreach((json_t *)(uintptr_t)only, key, v)
        if (json_object_set(doc, key, v) != 0) return HONE_NOMEM(err, "the result");
    return code;
}

/* A quantised artefact that passes agrees in all that must be equal, and is as far off as its KLD says: it is not the same model. */
static bool is_quantised(const json_t *r) { return strcmp(hone_doc_str(r, "precision", ""), "quantised") == 0; }

static void print_pass(const hone_cli *c, const json_t *r)
{
    const json_t *l = json_object_get(r, "logits");
    double        v;
    if (!is_quantised(r)) hone_say(c, HONE_GREEN, "\nsame model\n");
    else if (hone_measured(l, "cosine", &v)) hone_say(c, HONE_GREEN, "\nsound, quantised: token ids agree, embeddings are finite; cosine %.4f at least\n", v);
    else if (hone_measured(l, "kld_mean", &v)) hone_say(c, HONE_GREEN, "\nsound, quantised: token ids and chats agree, logits are finite; mean KLD %.3g\n", v);
    else hone_say(c, HONE_GREEN, "\nsound, quantised: token ids and chats agree, logits are finite\n");
}

static void count_line(const hone_cli *c, const char *name, const json_t *o, const char *unit)
{
    double n = hone_doc_num(o, "cases", 0), wrong = hone_doc_num(o, "mismatches", 0);
    double excused = hone_doc_num(o, "excused", 0);
    if (n == 0) hone_say_field(c, name, "no cases");
    else if (wrong == 0 && excused > 0) hone_say_field(c, name, "%.0f of %.0f %s agree; known limits explain the others", n - excused, n, unit);
    else if (wrong == 0) hone_say_field(c, name, "%.0f %s agree", n, unit);
    else hone_say_field(c, name, "%.0f of %.0f %s differ: %s", wrong, n, unit, hone_doc_str(o, "first", ""));
}

static void print_logits(const hone_cli *c, const json_t *l)
{
    double      v, v2;
    const char *ref = hone_doc_str(l, "reference", "none");
    if (strcmp(ref, "none") == 0) {
        hone_say_field(c, "logits", "finite at %.0f of %.0f positions; no reference to compare with",
                       hone_doc_num(l, "positions", 0) - hone_doc_num(l, "not_finite", 0), hone_doc_num(l, "positions", 0));
        return;
    }
    hone_say_field(c, "reference", "%s (%s)", hone_doc_str(l, "reference_path", ""),
                   strcmp(ref, "file") == 0 ? "another implementation" : "our own artefact: proves what quantisation did, not the conversion");
    if (hone_measured(l, "kld_mean", &v) && hone_measured(l, "kld_max", &v2)) {
        if (hone_doc_has_num(l, "max_kld")) hone_say_field(c, "mean KLD", "%.3g (largest %.3g), bound %.3g", v, v2, hone_doc_num(l, "max_kld", 0));
        else hone_say_field(c, "mean KLD", "%.3g (largest %.3g), no bound for a quantised artefact", v, v2);
    }
    if (hone_measured(l, "cosine", &v)) hone_say_field(c, "cosine", "%.8f at least", v);
    if (hone_measured(l, "max_abs", &v)) hone_say_field(c, "largest error", "%.3g", v);
    if (hone_measured(l, "top1", &v))
        hone_say_field(c, "best token", "agrees at %.2f %% of %.0f positions; %.0f of %.0f differ where the lead is over %g", 100 * v,
                       hone_doc_num(l, "positions", 0), hone_doc_num(l, "top1_wrong", 0), hone_doc_num(l, "top1_decided", 0),
                       hone_doc_num(l, "min_gap", 0));
    if (hone_measured(l, "greedy", &v))
        hone_say_field(c, "continuation", "%.2f %% of greedy steps agree; %.0f of %.0f differ where the lead is over %g", 100 * v,
                       hone_doc_num(l, "greedy_wrong", 0), hone_doc_num(l, "greedy_decided", 0), hone_doc_num(l, "min_gap", 0));
    if (hone_doc_num(l, "positions_skipped", 0) > 0)
        hone_say_field(c, "left out", "%.0f positions: %s", hone_doc_num(l, "positions_skipped", 0), hone_doc_str(l, "skipped_why", ""));
}

static void print_limits(hone_cli *c, const json_t *r)
{
    size_t        i;
    const json_t *l;
    const char   *before = "";
    json_array_foreach(json_object_get(r, "limits"), i, l) {
        char        line[700];
        const char *consumer = hone_doc_str(l, "consumer", "the runtime");
        if (strcmp(consumer, before) != 0) hone_say_head(c, "known limits of %s", consumer);
        before = consumer;
        (void)snprintf(line, sizeof line, "%s (%s)", hone_doc_str(l, "consequence", ""), hone_doc_str(l, "cause", ""));
        hone_say_wrapped(c, 2, line);
    }
}

static void print_one(hone_cli *c, const json_t *r)
{
    const json_t *tok = json_object_get(r, "tokenizer"), *dec = json_object_get(tok, "decoding"), *be = json_object_get(r, "beyond");
    const char   *by = hone_doc_str(tok, "by", ""), *fallback = hone_doc_str(r, "fallback", "");
    char          name[200];
    double        v;
    hone_say_head(c, "%s (%s) in %s %s%s%s", hone_measured_name(r, name, sizeof name), hone_doc_str(r, "precision", ""), hone_doc_str(r, "runtime", ""),
                  hone_doc_str(r, "version", ""), strcmp(hone_doc_str(r, "device", "cpu"), "cpu") == 0 ? "" : " on ",
                  strcmp(hone_doc_str(r, "device", "cpu"), "cpu") == 0 ? "" : hone_doc_str(r, "device", ""));
    if (fallback[0]) hone_say_field(c, "device", "%s: %s", hone_doc_str(r, "device", ""), fallback);
    if (by[0]) hone_say_field(c, "tokenizer", "%s, from %s", by, hone_doc_str(tok, "from", ""));
    count_line(c, "token ids", tok, "cases");
    if (hone_doc_num(dec, "mismatches", 0) > 0) count_line(c, "decoding", dec, "texts");
    count_line(c, "chat template", json_object_get(r, "template"), "chats");
    print_logits(c, json_object_get(r, "logits"));
    if (hone_measured(be, "kld_mean", &v))
        hone_say_field(c, "behind limits", "mean KLD %.3g at %.0f positions; %.0f of %.0f differ where the lead is over %g", v, hone_doc_num(be, "positions", 0),
                       hone_doc_num(be, "wrong", 0), hone_doc_num(be, "decided", 0), hone_doc_num(json_object_get(r, "logits"), "min_gap", 0));
    print_limits(c, r);
}

enum { ARTEFACT, PRECISION, RUNTIME, TOKENIZER, IDS, CHATS, KLD, BEST, VERDICT, BEHIND, COLUMNS };

static void put_measured(hone_table *t, size_t i, const json_t *r)
{
    const json_t *tok = json_object_get(r, "tokenizer"), *tpl = json_object_get(r, "template"), *lg = json_object_get(r, "logits"), *be = json_object_get(r, "beyond");
    const char   *by = hone_doc_str(tok, "by", "-"), *lent = "llama.cpp";
    double        v;
    bool          own = strcmp(by, "-") != 0 && (strcmp(by, lent) != 0 || strcmp(hone_doc_str(r, "runtime", ""), lent) == 0);
    hone_table_cell(t, i, TOKENIZER, HONE_PLAIN, "%s", own ? "its own" : by);
    hone_table_cell(t, i, IDS, HONE_PLAIN, "%.0f/%.0f", hone_doc_num(tok, "cases", 0) - hone_doc_num(tok, "mismatches", 0) - hone_doc_num(tok, "excused", 0),
                    hone_doc_num(tok, "cases", 0));
    hone_table_cell(t, i, CHATS, HONE_PLAIN, "%.0f/%.0f", hone_doc_num(tpl, "cases", 0) - hone_doc_num(tpl, "mismatches", 0), hone_doc_num(tpl, "cases", 0));
    if (hone_measured(lg, "cosine", &v)) hone_table_cell(t, i, KLD, HONE_PLAIN, "%.2g", 1 - v);
    else if (hone_measured(lg, "kld_mean", &v)) hone_table_cell(t, i, KLD, HONE_PLAIN, "%.2g", v);
    else hone_table_cell(t, i, KLD, HONE_DIM, "-");
    hone_table_cell(t, i, BEST, HONE_PLAIN, "%.0f/%.0f", hone_doc_num(lg, "top1_decided", 0) - hone_doc_num(lg, "top1_wrong", 0), hone_doc_num(lg, "top1_decided", 0));
    if (hone_measured(be, "kld_mean", &v)) hone_table_cell(t, i, BEHIND, json_is_true(json_object_get(be, "differs")) ? HONE_RED : HONE_PLAIN, "%.2g", v);
}

/* Several: one line each; what differs, and where, follows. */
static void print_table(hone_cli *c, const json_t *results)
{
    static const struct { const char *title, *below; bool right; } cols[COLUMNS] = {
        [ARTEFACT] = { "artefact", "", false }, [PRECISION] = { "precision", "", false }, [RUNTIME] = { "runtime", "", false }, [TOKENIZER] = { "tokenizer", "", false },
        [IDS] = { "ids", "", true }, [CHATS] = { "chats", "", true }, [KLD] = { "mean", "KLD", true }, [BEST] = { "best", "token", true }, [VERDICT] = { "verdict", "", false },
        [BEHIND] = { "behind limits,", "mean KLD", true },
    };
    size_t        i;
    const json_t *r;
    bool          behind = false;
    double        v;
    json_array_foreach(results, i, r) behind = behind || hone_measured(json_object_get(r, "beyond"), "kld_mean", &v);
    const size_t n = behind ? COLUMNS : BEHIND;
    hone_table  *t = hone_table_new(c, n);
    for (size_t k = 0; k < n; k++) hone_table_col(t, k, cols[k].title, cols[k].below, cols[k].right);
    hone_table_fold(t);
    json_array_foreach(results, i, r) {
        const char *verdict = hone_doc_str(r, "verdict", "");
        bool        pass = strcmp(verdict, "pass") == 0, fail = strcmp(verdict, "fail") == 0;
        hone_table_cell(t, i, ARTEFACT, HONE_BOLD, "%s", hone_doc_str(r, "label", "?"));
        hone_table_cell(t, i, PRECISION, HONE_PLAIN, "%s", hone_doc_str(r, "precision", ""));
        hone_table_cell(t, i, RUNTIME, HONE_PLAIN, "%s", hone_doc_str(r, "runtime", ""));
        hone_table_cell(t, i, VERDICT, pass ? HONE_GREEN : fail ? HONE_RED : HONE_YELLOW, "%s",
                        pass ? is_quantised(r) ? "sound" : "same model" : fail ? "differs" : json_is_true(json_object_get(r, "failed")) ? "no result" : "not proven");
        if (behind) hone_table_cell(t, i, BEHIND, HONE_DIM, "-");
        if (verdict[0]) put_measured(t, i, r);
    }
    hone_table_print(c, t);
    json_array_foreach(results, i, r) {
        const char *why = hone_doc_str(r, "why", "");
        char        line[900];
        if (!why[0]) continue;
        (void)snprintf(line, sizeof line, "%s: %s", hone_doc_str(r, "label", "?"), why);
        hone_say_wrapped(c, 2, line);
    }
}

/* Ids that are fewer than the cases in the table of an artefact that passes need a word. */
static void print_excused(const hone_cli *c, const json_t *results)
{
    size_t        i, n = 0;
    const json_t *r;
    json_array_foreach(results, i, r) n += hone_doc_num(json_object_get(r, "tokenizer"), "excused", 0) > 0;
    if (n > 0) hone_say(c, HONE_PLAIN, "\n  ids: known limits explain what differs in %zu of %zu artefacts; hone check of one names them\n", n, i);
}

static void print(hone_cli *c, const json_t *doc)
{
    if (hone_cli_networks_doc(doc)) {
        hone_cli_networks_eval_print(c, doc);
        return;
    }
    const json_t *results = json_object_get(doc, "results"), *first = json_array_get(results, 0);
    bool          checked = json_object_get(first, "verdict") != NULL;
    if (json_array_size(results) == 1 && checked) print_one(c, first);
    else if (hone_cli_has(c, "against") || hone_cli_has(c, "reference") || hone_cli_has(c, "cases")) print_table(c, results);
    if (json_array_size(results) > 1) print_excused(c, results);
    hone_scored_failures(c, results);
    if (json_array_size(results) > 1) hone_scored_devices(c, results);
    hone_scored_layers(c, results);
    const char *html = hone_doc_str(doc, "html", "");
    if (html[0]) hone_say(c, HONE_PLAIN, "\npage  %s\n", html);
    if (json_array_size(results) == 1 && strcmp(hone_doc_str(first, "verdict", ""), "pass") == 0) print_pass(c, first);
}

const hone_cmd hone_cmd_check = {
    .name = "check",
    .summary = "prove that an artefact is still the same model, in its real runtime",
    .args = "ARTEFACT...",
    .about = "Compares what the runtime does with the artefact to what the checkpoint's own program did: token ids of every case, rendered chat templates, "
             "logits, and the greedy continuation. Artefacts of all formats may be named together. A runtime without a tokenizer is given llama.cpp's, on the tokenizer files of "
             "the artefact's folder. Positions behind a known limit of the runtime (a sliding window that it ignores) are compared apart, and a difference there is a failure "
             "unless --context says that texts are shorter. An unquantised artefact must meet the bounds "
             "for its precision; a quantised one is no proof of a conversion: its distance is shown, and tokenizer, template and finite logits decide. "
             "Encoders are compared by their embeddings (1 - cosine takes the place of the KL divergence). Exit 0: same model (quantised: sound, and as far off as shown); 1: not, or not proven.",
    .example = "hone check out/tale-8m-f32.gguf --against examples/models/tale-8m\n"
               "hone check out/tale-8m-f32.gguf out/tale-8m-f32-mlx --against examples/models/tale-8m --layers --html out/check.html",
    .opts = opts, .n_opts = HONE_COUNT(opts), .min_args = 1, .max_args = UINT_MAX, .run = run, .print = print,
};
