/* formats.c - which artefacts are tried: GGUF encodings, and the nearest ones of the other formats whose runtimes are here. */
#include "base/text.h"
#include "flow/assess.h"
#include "flow/convert/output.h"
#include "flow/optimize/state.h"
#include "passes/mix.h"
#include "runner/runner.h"
#include <stdio.h>

/* Widest first.  Ten encodings span 3 to 8.5 bits, which shows the whole trade; the measured baseline and f16 join them. */
static const char *const default_gguf[] = { "q8_0", "q6_k", "q5_k_m", "q5_k_s", "q4_k_m", "q4_k_s", "iq4_xs", "q4_0", "q3_k_m", "q2_k" };
/* Of the others, what the frameworks' own tools make. */
static const struct { const char *format, *encoding; } default_others[] = {
    { "onnx", "int8" }, { "onnx", "int4" }, { "openvino", "int8" }, { "openvino", "int4" }, { "mlx", "int4" },
};
/* And with part of the model left out first. */
static const struct { const char *quant, *encoding; double prune; } default_pruned[] = { { "q8_0+prune0.1", "q8_0", 0.1 }, { "q4_k_m+prune0.2", "q4_k_m", 0.2 } };
static const struct { const char *format, *backend; } runs[] = { { "onnx", "onnxruntime" }, { "openvino", "openvino" }, { "mlx", "mlx" } };

static hone_candidate *find(hone_opt_state *s, const char *quant)
{
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->c[i].quant, quant) == 0) return &s->c[i];
    return NULL;
}

static bool is_of(const hone_candidate *c, const char *format) { return c->format && strcmp(c->format, format) == 0; }

/* format NULL: GGUF.  One that is there already (the baseline's own type asked for as a candidate) stays what it is. */
static hone_code add(hone_opt_state *s, const char *format, const char *encoding, hone_opt_role role, hone_err *err)
{
    const char *quant = format ? hone_arena_printf(&s->arena, "%s=%s", format, encoding) : encoding;
    if (!quant) return HONE_NOMEM(err, "the candidates");
    if (find(s, quant)) return HONE_OK;
    if (s->n == HONE_MAX_OUTPUTS) return HONE_FAIL(err, HONE_EUSAGE, "ask for fewer", "more than %d encodings", HONE_MAX_OUTPUTS);
    s->c[s->n++] = (hone_candidate){ .quant = quant, .format = format, .encoding = format ? strchr(quant, '=') + 1 : encoding, .role = role };
    return HONE_OK;
}

/* "q4_k_m", "onnx=int4", or "int4": the nearest of every format. */
static hone_code add_asked(hone_opt_state *s, const char *word, hone_err *err)
{
    static const char  LIST[] = "hone convert --help lists them";
    const char        *eq = strchr(word, '='), *encoding = eq ? eq + 1 : word, *gguf = hone_opt_gguf_quant(encoding);
    const hone_format *f = eq ? hone_convert_format_find(word, (size_t)(eq - word)) : NULL;
    if (eq && !f) return HONE_FAIL(err, HONE_EUSAGE, "as in onnx=int4", "there is no format '%.40s'", word);
    if (f && f != &hone_format_gguf) {
        if (!hone_format_knows(f, encoding)) return HONE_FAIL(err, HONE_EUSAGE, LIST, "%s has no encoding '%.40s'", f->name, encoding);
        return add(s, f->name, encoding, HONE_OPT_CANDIDATE, err);
    }
    if (!gguf) return HONE_FAIL(err, HONE_EUSAGE, LIST, "gguf has no encoding '%.40s'", encoding);
    HONE_TRY(add(s, NULL, gguf, HONE_OPT_CANDIDATE, err));
    if (f || hone_mix_find(word)) return HONE_OK;
    for (size_t i = 0; hone_convert_format(i); i++) {
        const hone_format *each = hone_convert_format(i);
        if (each != &hone_format_gguf && hone_format_knows(each, encoding)) HONE_TRY(add(s, each->name, encoding, HONE_OPT_CANDIDATE, err));
    }
    return HONE_OK;
}

/* The source's own type in this format; where it has none, f16, which takes the same room as bf16, then f32. */
static hone_code add_runtime_base(hone_opt_state *s, const hone_format *f, hone_err *err)
{
    const char *const tried[] = { s->c[0].quant, "f16", "f32" };
    for (size_t i = 0; i < HONE_COUNT(tried); i++) {
        if (!hone_format_knows(f, tried[i])) continue;
        const char *quant = hone_arena_printf(&s->arena, "%s=%s", f->name, tried[i]);
        if (!quant) return HONE_NOMEM(err, "the candidates");
        HONE_TRY(add(s, f->name, tried[i], HONE_OPT_RUNTIME_BASE, err));
        find(s, quant)->role = HONE_OPT_RUNTIME_BASE; /* also when it was asked for as a candidate */
        return HONE_OK;
    }
    return HONE_OK;
}

static void mark_absent(hone_opt_state *s, const char *format, const hone_err *why)
{
    char shown[sizeof why->cause];
    (void)hone_text_show(why->cause, strlen(why->cause), shown, sizeof shown);
    for (size_t i = 0; i < s->n; i++) {
        if (!is_of(&s->c[i], format)) continue;
        s->c[i].absent = true;
        (void)snprintf(s->c[i].failure, sizeof s->c[i].failure, "%.400s%s%.80s%s", shown, why->remedy[0] ? " (" : "", why->remedy, why->remedy[0] ? ")" : "");
    }
    hone_event_warn(s->ctx, why->remedy[0] ? why->remedy : NULL, "%s is not measured: %s", format, shown);
}

/* Is the runtime here, and can the format hold the model? */
static hone_code try_format(hone_opt_state *s, const char *format, const char *backend, hone_err *err)
{
    const char          *first = NULL;
    hone_runner         *r = NULL;
    hone_err             why = { 0 };
    hone_convert_result  res = { 0 };
    for (size_t i = 0; !first && i < s->n; i++)
        if (is_of(&s->c[i], format)) first = s->c[i].quant;
    if (!first) return HONE_OK;
    hone_code code = hone_runner_start(&s->inner, &(hone_runner_options){ .backend = backend }, &r, &why);
    hone_runner_stop(r);
    if (code == HONE_OK) {
        code = hone_convert(&s->inner, &s->model, &(hone_convert_options){ .quants = &first, .n_quants = 1, .out_dir = s->opt->out_dir, .dry_run = true }, &res, &why);
        hone_convert_result_release(&res);
    }
    if (code == HONE_OK) return HONE_OK;
    if (hone_ctx_cancelled(s->ctx)) return HONE_INTERRUPTED(err);
    if (code == HONE_EUNSUPPORTED || code == HONE_ERUNTIME) {
        mark_absent(s, format, &why);
        return HONE_OK;
    }
    if (err) *err = why;
    return code;
}

/* What hone assess would take for the target, found among the candidates. */
static hone_code find_tree(hone_opt_state *s, const json_t *recommendation, hone_err *err)
{
    const char *format = json_string_value(json_object_get(recommendation, "format")), *quant = json_string_value(json_object_get(recommendation, "quantization"));
    const char *title = json_string_value(json_object_get(recommendation, "framework_title"));
    const hone_format *f = format ? hone_convert_format_find(format, strlen(format)) : NULL;
    (void)snprintf(s->tree_pick, sizeof s->tree_pick, "%.80s (%.30s in %.30s)", title ? title : "?", quant ? quant : "?", format ? format : "?");
    bool ours = f && quant && (f == &hone_format_gguf ? hone_mix_find(quant) != NULL : hone_format_knows(f, quant));
    if (!ours) { /* a framework that hone does not drive: the nearest that it does */
        f = &hone_format_gguf;
        quant = json_string_value(json_object_get(json_object_get(recommendation, "now"), "quantization"));
        if (!quant) return HONE_OK;
    }
    const char *encoding = f == &hone_format_gguf && hone_mix_find(quant) ? hone_mix_find(quant)->name : hone_arena_strdup(&s->arena, quant);
    const char *word = f == &hone_format_gguf ? encoding : hone_arena_printf(&s->arena, "%s=%s", f->name, quant);
    if (!encoding || !word) return HONE_NOMEM(err, "the candidates");
    /* Whoever asks for certain encodings gets those: the tree's pick is then judged only when it is one of them. */
    if (!s->opt->n_quants) HONE_TRY(add(s, f == &hone_format_gguf ? NULL : f->name, encoding, HONE_OPT_CANDIDATE, err));
    s->tree = find(s, word);
    return HONE_OK;
}

static hone_code add_tree(hone_opt_state *s, hone_err *err)
{
    json_t *doc = NULL;
    HONE_TRY(hone_assess(&s->inner, &s->model, &(hone_assess_options){ .target = s->opt->target, .max_ram = s->opt->max_ram, .quick = true }, &doc, err));
    hone_code code = find_tree(s, json_object_get(doc, "recommendation"), err);
    json_decref(doc);
    return code;
}

hone_code hone_opt_candidates(hone_opt_state *s, hone_err *err)
{
    const char *own;
    HONE_TRY(hone_opt_own_dtype(&s->model, &own, err));
    HONE_TRY(add(s, NULL, own, HONE_OPT_BASELINE, err));
    HONE_TRY(add(s, NULL, "f16", HONE_OPT_FORMAT, err));
    for (size_t i = 0; i < s->opt->n_quants; i++) HONE_TRY(add_asked(s, s->opt->quants[i], err));
    for (size_t i = 0; !s->opt->n_quants && i < HONE_COUNT(default_gguf); i++) HONE_TRY(add(s, NULL, default_gguf[i], HONE_OPT_CANDIDATE, err));
    /* What the target's policy says is measured in any case: it is what measurement confirms or overrules. */
    if (s->strategy_quant) HONE_TRY(add(s, NULL, s->strategy_quant, HONE_OPT_CANDIDATE, err));
    for (size_t i = 0; !s->opt->n_quants && i < HONE_COUNT(default_others); i++)
        HONE_TRY(add(s, default_others[i].format, default_others[i].encoding, HONE_OPT_CANDIDATE, err));
    HONE_TRY(add_tree(s, err));
    for (size_t i = 0; i < HONE_COUNT(runs); i++) {
        bool wanted = false;
        for (size_t k = 0; k < s->n; k++) wanted = wanted || is_of(&s->c[k], runs[i].format);
        const hone_format *f = wanted ? hone_convert_format_find(runs[i].format, strlen(runs[i].format)) : NULL;
        if (!f) continue;
        HONE_TRY(add_runtime_base(s, f, err));
        HONE_TRY(try_format(s, f->name, runs[i].backend, err));
    }
    for (size_t i = 0; !s->opt->n_quants && i < HONE_COUNT(default_pruned); i++) { /* last: they are made in runs of their own */
        HONE_TRY(add(s, NULL, default_pruned[i].quant, HONE_OPT_CANDIDATE, err));
        s->c[s->n - 1].made_as = default_pruned[i].encoding;
        s->c[s->n - 1].prune = default_pruned[i].prune;
    }
    return HONE_OK;
}
