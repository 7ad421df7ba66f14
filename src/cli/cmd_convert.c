/* cmd_convert.c - hone convert: one read of a checkpoint, every requested output. */
#include "base/file.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/outputs.h"
#include "cli/planned.h"
#include "cli/net.h"
#include "flow/calibrate.h"
#include "flow/convert/output.h"
#include "flow/net.h"
#include "flow/plan.h"
#include "formats/gguf/imatrix.h"
#include "ir/stats.h"
#include "quant/treat.h"
#include <stdlib.h>

static const hone_opt opts[] = {
    { "to", 0, HONE_OPT_LIST, "FORMAT", "gguf|onnx|openvino|mlx", "output formats, all from one read: gguf (a file), onnx (a folder for ONNX Runtime and onnxruntime-genai), openvino "
                                               "(a folder for OpenVINO GenAI), mlx (a folder that mlx_lm loads) (default: those that all of --quant name, else gguf)" },
    { "quant", 'Q', HONE_OPT_LIST, "Q", NULL, "encodings, one output each. Every format: f32 f16 bf16 int8 int4, as far as it has them; gguf: q8_0 q6_k q5_k_m q4_k_m "
                                             "q4_k_s q4_0 q3_k_m iq4_xs ... (int4 and int8 mean q4_k_m and q8_0); mlx: int6 int5 int3 int2 mxfp4 nvfp4 "
                                             "mxfp8. FORMAT=Q is for that format only; 'auto' is int4 (default auto). Networks without tokens: f32 f16 int8 int8-dynamic int8-weights int4-weights" },
    { "group", 0, HONE_OPT_TEXT, "N", NULL, "columns that share a scale: 32, 64 or 128; onnx: 16 to 256; openvino also 'row', the whole row (default: mlx 64, onnx 32, "
                                           "openvino 128)" },
    { "sym", 0, HONE_OPT_FLAG, NULL, NULL, "onnx, openvino: symmetric codes, without zero points" },
    { "ratio", 0, HONE_OPT_TEXT, "R", NULL, "openvino int4: the part of the weights that gets 4 bits, above 0 and up to 1; the others get 8 (default 1)" },
    { "onnx-ops", 0, HONE_OPT_TEXT, "SET", NULL, "onnx: 'genai' uses ONNX Runtime's own operators, 'standard' only those that any consumer has (default genai)" },
    { "output", 'o', HONE_OPT_TEXT, "DIR", NULL, "folder for the files (made when missing)" },
    { "name", 0, HONE_OPT_TEXT, "STEM", NULL, "file name before -Q.gguf (default: the model folder's name)" },
    { "keep", 0, HONE_OPT_LIST, "GLOB=TYPE", NULL, "gguf, mlx: give output tensors that match GLOB this type: --keep 'blk.*.ffn_down.weight=f16'" },
    { "plan", 0, HONE_OPT_TEXT, "FILE", NULL, "which encoding each weight gets in each format: a file that hone plan made, or you (docs/PLAN.md); what it leaves out is "
                                             "encoded as --quant says" },
    { "prune", 0, HONE_OPT_TEXT, "SHARE", NULL, "leave out the SHARE (above 0, below 1) of the model that matters least, before it is encoded (docs/PRUNING.md)" },
    { "prune-method", 0, HONE_OPT_TEXT, "M", "magnitude|wanda|2:4|heads|ffn|layers|experts", "what leaves: single weights become zero by magnitude, by wanda (needs statistics) "
                                             "or two of every four (2:4, half of all); heads, ffn channels, layers or experts leave whole, and files and time shrink (default magnitude)" },
    { "calibration", 0, HONE_OPT_TEXT, "FILE", NULL, "statistics that hone calibrate has written, or a text to make them from first (kept as NAME-stats.gguf beside the outputs): "
                                                    "rounding then costs least where it counts (docs/METHODS.md)" },
    { "imatrix", 0, HONE_OPT_TEXT, "FILE", NULL, "an importance matrix of llama-imatrix or of hone calibrate, used as llama-quantize --imatrix uses it" },
    { "method", 0, HONE_OPT_LIST, "M", NULL, "how numbers are rounded: rtn (to the nearest), search, hqq, scale or gptq (default: with --imatrix search, with --calibration gptq "
                                            "if there are Hessians, else search; without statistics rtn); awq or smooth beside it move scales between layers first. Networks without tokens: smooth, before int8 and int8-dynamic (docs/INT8.md)" },
    { "bias-correction", 0, HONE_OPT_FLAG, NULL, NULL, "biases take up what rounding their matrices does to the mean output; needs --calibration (docs/METHODS.md)" },
    HONE_OPT_TARGETS,
    { "split-bytes", 0, HONE_OPT_BYTES, "SIZE", NULL, "gguf: no file longer than SIZE (as 2G): what would be becomes a folder of parts, all of "
                                                     "which a runtime finds by the first" },
    { "dry-run", 'n', HONE_OPT_FLAG, NULL, NULL, "show the plan and its cost in bytes, memory and disk; write nothing" },
    HONE_OPT_NET,
};

/* "int4" of format gguf becomes "gguf=q4_k_m"; names are checked here so that a misspelt one costs nothing. */
static hone_code quant_of(hone_cli *c, const hone_format *f, const char *given, const char **out, hone_err *err)
{
    for (size_t i = 0; i < HONE_COUNT(f->plain) && f->plain[i].word; i++)
        if (strcmp(given, f->plain[i].word) == 0) given = f->plain[i].means;
    if (!hone_format_knows(f, given)) {
        char        remedy[200] = "known:", shown[64];
        const char *name;
        for (size_t i = 0, at = strlen(remedy); (name = f->quant(i)) && at + 12 < sizeof remedy; i++)
            at += (size_t)snprintf(remedy + at, sizeof remedy - at, " %s", name);
        return HONE_FAIL(err, HONE_EUSAGE, remedy, "%s has no encoding '%s'", f->name, hone_text_show(given, strlen(given), shown, sizeof shown));
    }
    *out = hone_arena_printf(&c->arena, "%s=%s", f->name, given);
    return *out ? HONE_OK : HONE_NOMEM(err, "the command line");
}

typedef struct targets {
    const hone_format *to[8];
    size_t             n_to;
    unsigned           takes; /* what at least one of them takes */
    const char        *quants[HONE_MAX_OUTPUTS]; /* as hone_convert wants them */
    size_t             n;
    const hone_plan   *plan; /* --plan, or NULL */
} targets;

/* The format that "mlx=int4" begins with; NULL for an encoding without one, or when there is no such format. */
static const hone_format *prefix_of(const char *quant)
{
    const char *eq = strchr(quant, '=');
    return eq ? hone_convert_format_find(quant, (size_t)(eq - quant)) : NULL;
}

/* Without --to, encodings that all name their format name the formats. */
static bool to_from_quants(const char **given, size_t n, targets *t)
{
    for (size_t i = 0; i < n; i++)
        if (!prefix_of(given[i])) return false;
    for (size_t i = 0; i < n; i++) {
        const hone_format *f = prefix_of(given[i]);
        bool               known = false;
        for (size_t k = 0; k < t->n_to; k++) known = known || t->to[k] == f;
        if (!known) t->to[t->n_to++] = f; /* each once, so there is room */
    }
    return n > 0;
}

static size_t number_of(const hone_format *f)
{
    size_t i = 0;
    while (hone_convert_format(i) != f) i++;
    return i;
}

/* Without --to and --quant, those that the plan names. */
static bool to_from_plan(targets *t)
{
    for (size_t i = 0; t->plan && i < HONE_PLAN_FORMATS; i++)
        if (t->plan->named[i]) t->to[t->n_to++] = hone_convert_format(i);
    return t->n_to > 0;
}

static hone_code read_formats(hone_cli *c, const char **given, size_t n_given, targets *t, hone_err *err)
{
    size_t       n;
    const char **to = hone_cli_list(c, "to", &n);
    if (!to) return HONE_NOMEM(err, "the command line");
    if (n == 0 && hone_cli_text(c, "to", NULL)) return HONE_FAIL(err, HONE_EUSAGE, "as in --to gguf,onnx", "--to names no format");
    if (n == 0 && !to_from_quants(given, n_given, t) && !to_from_plan(t)) t->to[t->n_to++] = hone_convert_format(0);
    for (size_t i = 0; i < n; i++) {
        const hone_format *f = hone_convert_format_find(to[i], strlen(to[i]));
        if (!f) {
            char known[80] = "known:";
            for (size_t k = 0; hone_convert_format(k); k++)
                (void)snprintf(known + strlen(known), sizeof known - strlen(known), " %s", hone_convert_format(k)->name);
            return HONE_FAIL(err, HONE_EUNSUPPORTED, known, "hone cannot write '%.40s' files", to[i]);
        }
        for (size_t k = 0; k < t->n_to; k++)
            if (t->to[k] == f) return HONE_FAIL(err, HONE_EUSAGE, "name it once", "--to names '%s' twice", f->name);
        t->to[t->n_to++] = f; /* each once, so there is room */
    }
    for (size_t i = 0; i < t->n_to; i++) t->takes |= t->to[i]->takes;
    return HONE_OK;
}

/* Encoding `given` for format f, or for every chosen format when f is NULL. */
static hone_code add_targets(hone_cli *c, targets *t, const hone_format *f, const char *given, hone_err *err)
{
    for (size_t i = 0; i < t->n_to; i++) {
        if (f && t->to[i] != f) continue;
        if (t->n == HONE_MAX_OUTPUTS) return HONE_FAIL(err, HONE_EUSAGE, "ask for some of them in another run", "more than %d outputs asked of one run", HONE_MAX_OUTPUTS);
        HONE_TRY(quant_of(c, t->to[i], given, &t->quants[t->n], err));
        t->n++;
    }
    return HONE_OK;
}

/* What a format gets when nothing is said: the plan's base, or its usual encoding. */
static hone_code add_usual(hone_cli *c, targets *t, const hone_format *f, hone_err *err)
{
    const char *base = t->plan ? t->plan->base[number_of(f)] : NULL;
    return add_targets(c, t, f, base ? base : "auto", err);
}

static hone_code read_targets(hone_cli *c, targets *t, hone_err *err)
{
    size_t       n;
    const char **given = hone_cli_list(c, "quant", &n);
    if (!given) return HONE_NOMEM(err, "the command line");
    if (n == 0 && hone_cli_text(c, "quant", NULL)) return HONE_FAIL(err, HONE_EUSAGE, "as in --quant int8,int4", "--quant names no encoding");
    HONE_TRY(read_formats(c, given, n, t, err));
    for (size_t i = 0; i < n; i++) {
        const char        *eq = strchr(given[i], '=');
        const hone_format *f = prefix_of(given[i]);
        bool               chosen = !eq;
        for (size_t k = 0; k < t->n_to; k++) chosen = chosen || t->to[k] == f;
        if (!chosen) return HONE_FAIL(err, HONE_EUSAGE, "add the format to --to", "--quant '%.60s' is for a format that --to does not name", given[i]);
        HONE_TRY(add_targets(c, t, f, eq ? eq + 1 : given[i], err));
    }
    for (size_t i = 0; i < t->n_to; i++) {
        bool   has = false;
        size_t len = strlen(t->to[i]->name);
        for (size_t k = 0; k < t->n; k++) has = has || (strncmp(t->quants[k], t->to[i]->name, len) == 0 && t->quants[k][len] == '=');
        if (!has) HONE_TRY(add_usual(c, t, t->to[i], err));
    }
    return HONE_OK;
}

/* An option that none of the chosen formats takes is a mistake. */
static hone_code check_taken(hone_cli *c, const targets *t, hone_err *err)
{
    static const struct { const char *option; unsigned takes; } rows[] = {
        { "group", HONE_TAKES_GROUP }, { "sym", HONE_TAKES_SYM },     { "ratio", HONE_TAKES_RATIO },
        { "keep", HONE_TAKES_KEEP },   { "split-bytes", HONE_TAKES_SPLIT }, { "onnx-ops", HONE_TAKES_OPS },
    };
    for (size_t i = 0; i < HONE_COUNT(rows); i++) {
        if (!hone_cli_has(c, rows[i].option) || t->takes & rows[i].takes) continue;
        char formats[60] = "", remedy[80] = "";
        for (size_t k = 0; k < t->n_to; k++) (void)snprintf(formats + strlen(formats), sizeof formats - strlen(formats), "%s%s", k ? ", " : "", t->to[k]->name);
        for (size_t k = 0; hone_convert_format(k); k++)
            if (hone_convert_format(k)->takes & rows[i].takes)
                (void)snprintf(remedy + strlen(remedy), sizeof remedy - strlen(remedy), "%s%s", *remedy ? " or " : "add --to ", hone_convert_format(k)->name);
        return HONE_FAIL(err, HONE_EUSAGE, remedy, "--%s says nothing about %s", rows[i].option, formats);
    }
    return HONE_OK;
}

static hone_code read_group(hone_cli *c, const targets *t, hone_convert_options *o, hone_err *err)
{
    const char *text = hone_cli_text(c, "group", NULL);
    if (!text) return HONE_OK;
    if (strcmp(text, "row") == 0) {
        o->per_row = true;
        return t->takes & HONE_TAKES_ROW ? HONE_OK : HONE_FAIL(err, HONE_EUSAGE, "as in 64", "only openvino has a scale for a whole row");
    }
    size_t n = strspn(text, "0123456789");
    if (n == 0 || n > 5 || text[n] || (o->group = (uint32_t)strtoul(text, NULL, 10)) == 0)
        return HONE_FAIL(err, HONE_EUSAGE, "as in 64", "--group is '%.40s', needs a number of columns", text);
    return HONE_OK;
}

static hone_code read_ratio(hone_cli *c, hone_convert_options *o, hone_err *err)
{
    const char *text = hone_cli_text(c, "ratio", NULL);
    char       *end = NULL;
    if (!text) return HONE_OK;
    o->ratio = strtod(text, &end);
    return end != text && *end == 0 && o->ratio > 0 && o->ratio <= 1 ? HONE_OK
                                                                     : HONE_FAIL(err, HONE_EUSAGE, "as in 0.8", "--ratio is '%.40s', needs a number above 0 and up to 1", text);
}

static hone_code read_ops(hone_cli *c, hone_convert_options *o, hone_err *err)
{
    const char *text = hone_cli_text(c, "onnx-ops", "genai");
    o->onnx_standard = strcmp(text, "standard") == 0;
    if (o->onnx_standard || strcmp(text, "genai") == 0) return HONE_OK;
    return HONE_FAIL(err, HONE_EUSAGE, "genai or standard", "--onnx-ops is '%.40s'", text);
}

static hone_code read_prune(hone_cli *c, hone_convert_options *o, hone_err *err)
{
    const char *text = hone_cli_text(c, "prune", NULL);
    char       *end = NULL;
    o->prune_method = hone_cli_text(c, "prune-method", NULL);
    bool half = o->prune_method && strcmp(o->prune_method, "2:4") == 0;
    if (half) o->prune = 0.5;
    if (half && text && strcmp(text, "0.5") != 0) return HONE_FAIL(err, HONE_EUSAGE, "leave --prune out", "2:4 prunes one half, not '%.40s'", text);
    if (half) return HONE_OK;
    if (!text) return o->prune_method ? HONE_FAIL(err, HONE_EUSAGE, "add --prune 0.1", "--prune-method without --prune: how much should leave?") : HONE_OK;
    o->prune = strtod(text, &end);
    return end != text && *end == 0 && o->prune > 0 && o->prune < 1 ? HONE_OK
                                                                    : HONE_FAIL(err, HONE_EUSAGE, "as in 0.1", "--prune is '%.40s', needs a number above 0 and below 1", text);
}

static hone_code read_keep(hone_cli *c, hone_convert_options *o, hone_err *err)
{
    size_t       n;
    const char **kept = hone_cli_list(c, "keep", &n);
    hone_keep   *keep = kept ? hone_arena_calloc(&c->arena, n + 1, sizeof *keep) : NULL;
    if (!keep) return HONE_NOMEM(err, "the command line");
    for (size_t i = 0; i < n; i++) {
        const char *eq = strrchr(kept[i], '=');
        if (!eq || eq == kept[i] || !eq[1]) return HONE_FAIL(err, HONE_EUSAGE, "as in --keep 'output.weight=q8_0'", "--keep is '%.80s', needs GLOB=TYPE", kept[i]);
        keep[i].pattern = hone_arena_strndup(&c->arena, kept[i], (size_t)(eq - kept[i]));
        keep[i].dtype = eq + 1;
        if (!keep[i].pattern) return HONE_NOMEM(err, "the command line");
    }
    o->keep = keep;
    o->n_keep = n;
    return HONE_OK;
}

static hone_code read_method(hone_cli *c, hone_convert_options *o, hone_err *err)
{
    size_t       n;
    const char **names = hone_cli_list(c, "method", &n);
    hone_method  m;
    if (!names) return HONE_NOMEM(err, "the command line");
    for (size_t i = 0; i < n; i++) {
        if (strcmp(names[i], "awq") == 0 || strcmp(names[i], "smooth") == 0) { /* of the model, before it is rounded */
            o->fold = names[i];
            continue;
        }
        if (!hone_method_from_name(names[i], &m)) return HONE_FAIL(err, HONE_EUSAGE, "known: rtn search hqq scale gptq, and before them awq or smooth", "there is no method '%.40s'", names[i]);
        if (o->method) return HONE_FAIL(err, HONE_EUSAGE, "name one of them", "numbers are rounded by '%s' or by '%s', not by both", o->method, names[i]);
        o->method = names[i];
    }
    return HONE_OK;
}

/* A text becomes statistics first: beside the outputs, for whoever checks them has to have them. */
static hone_code make_stats(hone_cli *c, const hone_model *m, const hone_convert_options *o, const char *text, const char **path, hone_err *err)
{
    const char         *stem = o->name ? o->name : m->facts.name && *m->facts.name ? m->facts.name : "model";
    json_t             *doc = json_object();
    hone_calibrate_text t = { .path = text };
    if (o->dry_run) return HONE_FAIL(err, HONE_EUSAGE, "run hone calibrate first, or leave out --dry-run", "--dry-run makes no statistics from '%.80s'", text);
    *path = hone_arena_printf(&c->arena, "%s/%s-stats.gguf", o->out_dir, stem);
    hone_calibrate_options k = { .source = c->args[0], .texts = &t, .n_texts = 1, .out = *path, .hessian = true };
    if (!doc || !*path) {
        json_decref(doc);
        return HONE_NOMEM(err, "the command line");
    }
    hone_code code = hone_dir_make(o->out_dir, err);
    if (code == HONE_OK) code = hone_calibrate(&c->ctx, &k, doc, err);
    json_decref(doc);
    return code;
}

static hone_code is_gguf(const char *path, bool *out, hone_err *err)
{
    hone_file f;
    char      magic[4] = "";
    HONE_TRY(hone_file_open(path, &f, err));
    hone_code code = f.size < sizeof magic ? HONE_OK : hone_file_read(&f, 0, magic, sizeof magic, err);
    hone_file_close(&f);
    *out = memcmp(magic, "GGUF", sizeof magic) == 0;
    return code;
}

/* --imatrix and --calibration. */
static hone_code read_stats(hone_cli *c, const hone_model *m, hone_convert_options *o, hone_stats *stats, hone_err *err)
{
    const char *imatrix = hone_cli_text(c, "imatrix", NULL), *path = hone_cli_text(c, "calibration", imatrix);
    if (!path) return HONE_OK;
    if (imatrix && path != imatrix) return HONE_FAIL(err, HONE_EUSAGE, "give one of them", "--imatrix and --calibration both name statistics");
    bool ready = imatrix;
    if (!imatrix) HONE_TRY(is_gguf(path, &ready, err));
    if (!ready) HONE_TRY(make_stats(c, m, o, path, &path, err));
    HONE_TRY(hone_stats_open(path, &c->arena, stats, err));
    if (imatrix && !o->method) o->method = "search";
    o->stats = stats;
    return HONE_OK;
}

/* --target-...: the plan is made here, kept beside the outputs, and applied. */
static hone_code make_plan(hone_cli *c, const hone_model *m, hone_convert_options *o, json_t *doc, hone_err *err)
{
    const char     *stem = o->name ? o->name : m->facts.name && *m->facts.name ? m->facts.name : "model", *path = NULL;
    const char     *temporary = getenv("TMPDIR"), *work = o->dry_run ? temporary ? temporary : "/tmp" : o->out_dir;
    hone_plan_made *made = HONE_ARENA_NEW(&c->arena, hone_plan_made, 1);
    json_t         *said = json_object();
    if (!made || !said) {
        json_decref(said);
        return HONE_NOMEM(err, "the plan");
    }
    hone_code code = o->dry_run ? HONE_OK : hone_dir_make(o->out_dir, err);
    if (code == HONE_OK && !o->dry_run && !(path = hone_arena_printf(&c->arena, "%s/%s-plan.yaml", o->out_dir, stem))) code = HONE_NOMEM(err, "a path");
    if (code == HONE_OK) code = hone_cli_make_plan(c, m, o, path, work, false, made, err);
    if (code == HONE_OK) code = hone_cli_put_plan(said, made, path, false, err);
    if (code == HONE_OK && !hone_json_put(doc, "made_plan", json_incref(said))) code = HONE_NOMEM(err, "the result");
    json_decref(said);
    o->lines = &made->plan;
    return code;
}

static hone_code check_target(const hone_cli *c, hone_err *err)
{
    static const char *const only[] = { "context", "sensitivity", "text", "tokens" }, *const not_with[] = { "plan", "prune", "keep", "ratio" };
    bool target = hone_cli_has_target(c);
    for (size_t i = 0; !target && i < HONE_COUNT(only); i++)
        if (hone_cli_has(c, only[i]))
            return HONE_FAIL(err, HONE_EUSAGE, "add --target-bytes, --target-bpw, --target-kld or --max-ram", "--%s is about making a plan, and none is made", only[i]);
    for (size_t i = 0; target && i < HONE_COUNT(not_with); i++)
        if (hone_cli_has(c, not_with[i]))
            return HONE_FAIL(err, HONE_EUSAGE, "make the plan first: hone plan; edit it; hone convert --plan", "a target and --%s both decide about encodings", not_with[i]);
    return HONE_OK;
}

static hone_code read_plan(hone_cli *c, targets *t, hone_err *err)
{
    HONE_TRY(check_target(c, err));
    const char *path = hone_cli_text(c, "plan", NULL);
    hone_plan  *plan = path ? HONE_ARENA_NEW(&c->arena, hone_plan, 1) : NULL;
    if (!path) return HONE_OK;
    if (!plan) return HONE_NOMEM(err, "the plan");
    t->plan = plan;
    return hone_plan_load(path, &c->arena, plan, err);
}

static hone_code read_options(hone_cli *c, targets *t, hone_convert_options *o, hone_err *err)
{
    HONE_TRY(read_plan(c, t, err));
    HONE_TRY(read_targets(c, t, err));
    HONE_TRY(check_taken(c, t, err));
    *o = (hone_convert_options){ .quants = t->quants, .n_quants = t->n, .lines = t->plan, .sym = hone_cli_has(c, "sym"), .name = hone_cli_text(c, "name", NULL),
                                 .bias_correction = hone_cli_has(c, "bias-correction"), .split_bytes = hone_cli_bytes(c, "split-bytes", 0), .dry_run = hone_cli_has(c, "dry-run") };
    HONE_TRY(read_group(c, t, o, err));
    HONE_TRY(read_ratio(c, o, err));
    HONE_TRY(read_ops(c, o, err));
    HONE_TRY(read_prune(c, o, err));
    HONE_TRY(read_method(c, o, err));
    HONE_TRY(read_keep(c, o, err));
    o->out_dir = hone_cli_text(c, "output", o->dry_run ? "." : NULL);
    return o->out_dir ? HONE_OK : HONE_FAIL(err, HONE_EUSAGE, "add -o DIR, or --dry-run to see the plan", "hone convert needs an output folder");
}

static bool put_outputs(json_t *doc, const hone_convert_result *res)
{
    bool    good = true;
    json_t *outputs = json_array();
    for (size_t i = 0; outputs && i < res->n_outputs; i++) {
        const hone_convert_output *o = &res->outputs[i];
        json_t *j = json_pack("{s:s,s:s,s:s,s:I,s:i,s:f,s:s?}", "format", o->format, "quantization", o->quantization, "path", o->path, "bytes",
                              (json_int_t)o->bytes, "parts", (int)o->parts, "bpw", o->bpw, "sha256", o->sha256[0] ? o->sha256 : NULL);
        good = good && j && json_array_append_new(outputs, j) == 0;
    }
    return hone_json_put(doc, "outputs", outputs) && good;
}

static hone_code convert(hone_cli *c, json_t *doc, hone_err *err)
{
    targets              t = { 0 };
    hone_convert_options o;
    hone_model           m = { 0 };
    hone_stats           stats = { 0 };
    hone_convert_result  res = { 0 };
    if (hone_net_is(c->args[0])) return hone_cli_net_convert(c, doc, err);
    HONE_TRY(hone_cli_net_only(c, err));
    HONE_TRY(read_options(c, &t, &o, err));
    hone_code code = hone_model_open(&c->ctx, c->args[0], &m, err);
    if (code == HONE_OK) code = read_stats(c, &m, &o, &stats, err);
    if (code == HONE_OK && hone_cli_has_target(c)) code = make_plan(c, &m, &o, doc, err);
    if (code == HONE_OK) code = hone_convert(&c->ctx, &m, &o, &res, err);
    if (code == HONE_OK) {
        bool good = hone_json_put(doc, "source", json_string(c->args[0])) && put_outputs(doc, &res) && hone_json_put(doc, "dry_run", json_boolean(o.dry_run)) &&
                    hone_json_put(doc, "seconds", hone_json_real(res.seconds)) && hone_json_put(doc, "read_bytes", json_integer((json_int_t)res.read_bytes)) &&
                    hone_json_put(doc, "peak_rss_bytes", json_integer((json_int_t)res.peak_rss_bytes)) &&
                    hone_json_put(doc, "disk_needed_bytes", json_integer((json_int_t)res.disk_needed)) &&
                    hone_json_put(doc, "ram_needed_bytes", json_integer((json_int_t)res.ram_needed)) &&
                    hone_json_put(doc, "estimated_seconds", o.dry_run ? hone_json_real(res.estimated_s) : json_null()) &&
                    hone_json_put(doc, "rewrites", res.rewrites ? json_incref(res.rewrites) : json_array()) && hone_json_put(doc, "warnings", json_incref(res.warnings)) && hone_json_put(doc, "plan", json_incref(res.plan));
        if (!good) code = HONE_NOMEM(err, "the result");
    }
    hone_convert_result_release(&res);
    hone_stats_close(&stats);
    hone_model_close(&m);
    return code;
}

/* A folder that this call made, and put nothing into, goes when it fails. */
static hone_code run(hone_cli *c, json_t *doc, hone_err *err)
{
    const char *out = hone_cli_text(c, "output", NULL);
    size_t      missing = out ? hone_dir_missing(out) : 0;
    hone_code   code = convert(c, doc, err);
    if (code != HONE_OK && missing) hone_dir_unmake(out, missing);
    return code;
}

static void print(hone_cli *c, const json_t *doc)
{
    if (!json_object_get(doc, "outputs")) return; /* the answer is no, and the error says why */
    if (hone_cli_net_doc(doc)) {
        hone_cli_net_convert_print(c, doc);
        return;
    }
    char   a[32], b[32], r[32];
    size_t i = json_array_size(json_object_get(doc, "outputs"));
    if (json_object_get(doc, "made_plan")) {
        hone_cli_say_plan(c, json_object_get(doc, "made_plan"));
        hone_say(c, HONE_PLAIN, "\n");
    }
    hone_say_outputs(c, json_object_get(doc, "outputs"), HONE_OUTPUTS_ENCODING | HONE_OUTPUTS_FILE);
    double s = hone_doc_num(doc, "seconds", 0), read = hone_doc_num(doc, "read_bytes", 0);
    char   line[240];
    if (json_is_true(json_object_get(doc, "dry_run")))
        (void)snprintf(line, sizeof line, "would write %zu %s: disk %s, memory about %s, time about %.2g s (estimated from one tile of each encoding)", i, i == 1 ? "output" : "outputs",
                       hone_text_bytes((uint64_t)hone_doc_num(doc, "disk_needed_bytes", 0), a, sizeof a),
                       hone_text_bytes((uint64_t)hone_doc_num(doc, "ram_needed_bytes", 0), b, sizeof b), hone_doc_num(doc, "estimated_seconds", 0));
    else
        (void)snprintf(line, sizeof line, "wrote %zu %s from one read of %s in %.2f s (%s/s), peak memory %s", i, i == 1 ? "output" : "outputs",
                       hone_text_bytes((uint64_t)read, a, sizeof a), s, hone_text_bytes((uint64_t)(s > 0 ? read / s : 0), r, sizeof r),
                       hone_text_bytes((uint64_t)hone_doc_num(doc, "peak_rss_bytes", 0), b, sizeof b));
    hone_say(c, HONE_PLAIN, "\n");
    hone_say_wrapped(c, 0, line);
}

const hone_cmd hone_cmd_convert = {
    .name = "convert",
    .summary = "turn a checkpoint into deployable files, all from one read",
    .args = "SRC",
    .about = "Reads a Hugging Face checkpoint folder once (or a GGUF file, an MLX folder, an ONNX folder of hone's, or any other ONNX model: docs/NETWORKS.md) and writes one GGUF file, or one folder for ONNX Runtime, OpenVINO or MLX, per encoding. Memory is bounded by tiles, not by the model; no "
             "intermediate file is made; each output is written under a temporary name, read back by an independent reader and only then gets its "
             "name. The bytes are the same for any number of threads and on any processor.",
    .example = "hone convert examples/models/tale-8m --quant q8_0,q4_k_m -o out",
    .opts = opts, .n_opts = HONE_COUNT(opts), .min_args = 1, .max_args = 1, .run = run, .print = print,
};
