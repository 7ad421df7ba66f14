/* cmd_check.c - hone check: is an artefact still the same model? */
#include "cli/cli.h"
#include "cli/measured.h"
#include "measure/measure.h"

static const hone_opt opts[] = {
    { "against", 'a', HONE_OPT_TEXT, "SRC", NULL, "the checkpoint's folder; its tokenizer_cases.json and reference.safetensors are used when they lie there" },
    { "reference", 'r', HONE_OPT_TEXT, "FILE", NULL, "input_ids and logits made by another implementation (.safetensors), or an unquantised artefact (.gguf)" },
    { "cases", 0, HONE_OPT_TEXT, "FILE", NULL, "tokenizer and chat cases (default: tokenizer_cases.json of SRC)" },
    { "max-kld", 0, HONE_OPT_REAL, "X", NULL, "largest mean KL divergence that passes (default: by precision; f32 1e-5, f16 and bf16 1e-3, quantised none)" },
    { "min-gap", 0, HONE_OPT_REAL, "X", NULL, "the best token must agree where the reference's lead is over X (default: f32 0.01, f16 0.03, others 0.1)" },
};

static hone_code run(hone_cli *c, json_t *doc, hone_err *err)
{
    hone_check_result *r = HONE_ARENA_NEW(&c->arena, hone_check_result, 1);
    if (!r) return HONE_NOMEM(err, "the result");
    const hone_check_options o = { .artefact = c->args[0],
                                   .source = hone_cli_text(c, "against", NULL),
                                   .reference = hone_cli_text(c, "reference", NULL),
                                   .cases = hone_cli_text(c, "cases", NULL),
                                   .max_kld = hone_cli_real(c, "max-kld", 0),
                                   .min_gap = hone_cli_real(c, "min-gap", 0),
                                   .threads = c->ctx.threads };
    if (!o.source && !o.reference && !o.cases)
        return HONE_FAIL(err, HONE_EUSAGE, "add --against SRC, the checkpoint's folder", "hone check needs something to check against");
    HONE_TRY(hone_check(&c->ctx, &o, r, err));
    json_t *j = hone_check_json(r);
    int     bad = j ? json_object_update(doc, j) : -1;
    json_decref(j);
    if (bad) return HONE_NOMEM(err, "the result");
    if (r->ok) return HONE_OK;
    return HONE_FAIL(err, HONE_ENO, "", "%s: %s", r->verdict == HONE_VERDICT_FAIL ? "not the same model" : "not proven", r->why);
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

static void print(hone_cli *c, const json_t *doc)
{
    const json_t *tok = json_object_get(doc, "tokenizer"), *dec = json_object_get(tok, "decoding");
    const char   *verdict = hone_doc_str(doc, "verdict", "");
    char          name[200];
    hone_say_head(c, "%s (%s) in %s %s", hone_measured_name(doc, name, sizeof name), hone_doc_str(doc, "precision", ""),
                  hone_doc_str(doc, "runtime", ""), hone_doc_str(doc, "version", ""));
    count_line(c, "token ids", tok, "cases");
    if (hone_doc_num(dec, "mismatches", 0) > 0) count_line(c, "decoding", dec, "texts");
    count_line(c, "chat template", json_object_get(doc, "template"), "chats");
    print_logits(c, json_object_get(doc, "logits"));
    size_t        i;
    const json_t *l;
    json_array_foreach(json_object_get(doc, "limits"), i, l) {
        char line[700];
        if (i == 0) hone_say_head(c, "known limits of %s", hone_doc_str(doc, "runtime", "the runtime"));
        (void)snprintf(line, sizeof line, "%s (%s)", hone_doc_str(l, "consequence", ""), hone_doc_str(l, "cause", ""));
        hone_say_wrapped(c, 2, line);
    }
    if (strcmp(verdict, "pass") == 0) hone_say(c, HONE_GREEN, "\nsame model\n");
}

const hone_cmd hone_cmd_check = {
    .name = "check",
    .summary = "prove that an artefact is still the same model, in its real runtime",
    .args = "ARTEFACT",
    .about = "Compares what the runtime does with the artefact to what the checkpoint's own program did: token ids of every case, rendered chat templates, "
             "logits, and the greedy continuation. A known limit of the runtime leaves positions out by name. An unquantised artefact must meet the bounds "
             "for its precision; a quantised one is no proof of a conversion: its distance is shown, and tokenizer, template and finite logits decide. "
             "Encoders are compared by their embeddings (1 - cosine takes the place of the KL divergence). Exit 0: same model; 1: not, or not proven.",
    .example = "hone check out/tale-8m-f32.gguf --against examples/models/tale-8m",
    .opts = opts, .n_opts = HONE_COUNT(opts), .min_args = 1, .max_args = 1, .run = run, .print = print,
};
