/* net_convert.c - hone convert of an ONNX model that is no language model. */
#include "base/text.h"
#include "cli/net.h"
#include "cli/outputs.h"
#include "flow/net.h"
#include <stdlib.h>

static const hone_opt net_opts[] = { HONE_OPT_NET };

hone_code hone_cli_net_only(const hone_cli *c, hone_err *err)
{
    for (size_t i = 0; i < HONE_COUNT(net_opts); i++)
        if (hone_cli_has(c, net_opts[i].name))
            return HONE_FAIL(err, HONE_EUSAGE, "leave it out", "--%s is for ONNX models that are no language models", net_opts[i].name);
    return HONE_OK;
}

static hone_code refuse_others(const hone_cli *c, hone_err *err)
{
    static const char *const others[] = { "ratio", "keep", "plan", "prune", "prune-method", "imatrix", "bias-correction", "split-bytes", "sym",
                                           "target-bytes", "target-bpw", "target-kld", "max-ram", "context", "sensitivity", "text", "tokens" };
    for (size_t i = 0; i < HONE_COUNT(others); i++)
        if (hone_cli_has(c, others[i])) return HONE_FAIL(err, HONE_EUSAGE, "leave it out", "--%s is for language models", others[i]);
    return HONE_OK;
}

static hone_code format_of(const char *name, const char **out, hone_err *err)
{
    if (strcmp(name, "onnx") == 0) *out = "onnx";
    else if (strcmp(name, "openvino") == 0) *out = "openvino";
    else
        return HONE_FAIL(err, HONE_EUNSUPPORTED, "--to onnx,openvino", "a network cannot become '%.20s': %s", name,
                         strcmp(name, "gguf") == 0  ? "llama.cpp runs language models that it knows by name"
                         : strcmp(name, "mlx") == 0 ? "mlx_lm runs language models that it knows by name"
                                                    : "hone has no such format");
    return HONE_OK;
}

static hone_code quant_of(const char *name, hone_net_quant *out, hone_err *err)
{
    if (strcmp(name, "auto") == 0) *out = HONE_NETQ_F32;
    else if (strcmp(name, "int4") == 0) *out = HONE_NETQ_INT4_WEIGHTS;
    else if (!hone_net_quant_find(name, out))
        return HONE_FAIL(err, HONE_EUSAGE, "known: f32 f16 int8 int8-dynamic int8-weights int4-weights", "networks have no encoding '%.40s'", name);
    return HONE_OK;
}

static bool quantises_activations(hone_net_quant q) { return q == HONE_NETQ_INT8 || q == HONE_NETQ_INT8_DYNAMIC; }

typedef struct wanted { hone_net_target t[HONE_NET_MAX_TARGETS]; size_t n; } wanted;

static hone_code add(wanted *w, const char *format, const char *quant, hone_err *err)
{
    hone_net_target t = { .format = format };
    HONE_TRY(quant_of(quant, &t.quant, err));
    for (size_t i = 0; i < w->n; i++)
        if (strcmp(w->t[i].format, t.format) == 0 && w->t[i].quant == t.quant) return HONE_OK;
    if (w->n == HONE_NET_MAX_TARGETS) return HONE_FAIL(err, HONE_EUSAGE, "ask for some of them in another run", "more than %d outputs asked of one run", HONE_NET_MAX_TARGETS);
    w->t[w->n++] = t;
    return HONE_OK;
}

static hone_code read_targets(hone_cli *c, wanted *w, hone_err *err)
{
    size_t       n_to, n_quant;
    const char **to = hone_cli_list(c, "to", &n_to), **quant = hone_cli_list(c, "quant", &n_quant), *usual[] = { "onnx" }, *as_it_is[] = { "auto" };
    bool         named = n_quant > 0; /* every encoding names its format */
    if (!to || !quant) return HONE_NOMEM(err, "the command line");
    for (size_t i = 0; i < n_quant; i++) named = named && strchr(quant[i], '=');
    if (n_to == 0 && !named) to = usual, n_to = 1;
    if (n_quant == 0) quant = as_it_is, n_quant = 1;
    for (size_t q = 0; q < n_quant; q++) {
        const char *eq = strchr(quant[q], '='), *format;
        if (eq) {
            char name[24] = "";
            (void)snprintf(name, sizeof name, "%.*s", (int)(eq - quant[q] < 20 ? eq - quant[q] : 20), quant[q]);
            HONE_TRY(format_of(name, &format, err));
            HONE_TRY(add(w, format, eq + 1, err));
            continue;
        }
        for (size_t i = 0; i < n_to; i++) {
            HONE_TRY(format_of(to[i], &format, err));
            HONE_TRY(add(w, format, quant[q], err));
        }
    }
    return HONE_OK;
}

static hone_code read_group(hone_cli *c, uint32_t *out, hone_err *err)
{
    const char *text = hone_cli_text(c, "group", NULL);
    uint32_t    v = text ? (uint32_t)strtoul(text, NULL, 10) : 0;
    if (text && (v < 16 || v > 256 || (v & (v - 1)))) return HONE_FAIL(err, HONE_EUSAGE, "as in 32", "--group is '%.20s', needs 16, 32, 64, 128 or 256", text);
    *out = v;
    return HONE_OK;
}

/* --method smooth; other methods are for language models. */
static hone_code read_smooth(hone_cli *c, const wanted *w, hone_static_how *how, bool *out, hone_err *err)
{
    size_t       n;
    const char **names = hone_cli_list(c, "method", &n);
    bool         heard = false;
    how->smooth_alpha = hone_cli_real(c, "smooth-alpha", 0.5);
    *out = n > 0;
    if (!names) return HONE_NOMEM(err, "the command line");
    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i], "smooth") != 0) return HONE_FAIL(err, HONE_EUSAGE, "leave it out, or take --method smooth", "--method %.40s is for language models", names[i]);
    if (n == 0 && hone_cli_has(c, "smooth-alpha")) return HONE_FAIL(err, HONE_EUSAGE, "leave it out, or add --method smooth", "--smooth-alpha is about another method");
    if (!(how->smooth_alpha >= 0 && how->smooth_alpha <= 1)) return HONE_FAIL(err, HONE_EUSAGE, "as in 0.5", "--smooth-alpha is %g, needs a number from 0 to 1", how->smooth_alpha);
    for (size_t i = 0; i < w->n; i++) heard = heard || quantises_activations(w->t[i].quant);
    if (n && !heard) return HONE_FAIL(err, HONE_EUSAGE, "leave it out, or add --quant int8", "--method smooth is about int8 and int8-dynamic, and neither is asked for");
    if (n && !hone_cli_has(c, "calibration")) return HONE_FAIL(err, HONE_EUSAGE, "add --calibration FILE", "--method smooth needs samples to see the channels of activations");
    return HONE_OK;
}

/* f16 of ONNX looks at samples too, and so does smoothing. */
static bool is_of_samples(const char *option)
{
    static const char *const list[] = { "calibration", "samples", "mean", "std", "layout", "size" };
    for (size_t i = 0; i < HONE_COUNT(list); i++)
        if (strcmp(option, list[i]) == 0) return true;
    return false;
}

/* An option that says nothing about any of the encodings is a mistake. */
static hone_code refuse_idle(const hone_cli *c, const wanted *w, bool smooth, hone_err *err)
{
    static const struct { const char *option, *what; hone_net_quant of; } rows[] = {
        { "keep-io", "f16", HONE_NETQ_F16 },           { "group", "int4-weights", HONE_NETQ_INT4_WEIGHTS }, { "onnx-ops", "int4-weights", HONE_NETQ_INT4_WEIGHTS },
        { "calibration", "int8", HONE_NETQ_INT8 },     { "calibrator", "int8", HONE_NETQ_INT8 },            { "percentile", "int8", HONE_NETQ_INT8 },
        { "per-tensor", "int8", HONE_NETQ_INT8 },      { "activations", "int8", HONE_NETQ_INT8 },           { "weight-bits", "int8", HONE_NETQ_INT8 },
        { "accuracy", "int8", HONE_NETQ_INT8 },        { "max-drop", "int8", HONE_NETQ_INT8 },              { "samples", "int8", HONE_NETQ_INT8 },
        { "no-bias-correction", "int8", HONE_NETQ_INT8 }, { "mean", "int8", HONE_NETQ_INT8 },               { "std", "int8", HONE_NETQ_INT8 },
        { "layout", "int8", HONE_NETQ_INT8 },          { "size", "int8", HONE_NETQ_INT8 },
    };
    for (size_t i = 0; i < HONE_COUNT(rows); i++) {
        bool heard = false;
        char remedy[80];
        for (size_t k = 0; k < w->n; k++)
            heard = heard || w->t[k].quant == rows[i].of ||
                    (is_of_samples(rows[i].option) && ((w->t[k].quant == HONE_NETQ_F16 && strcmp(w->t[k].format, "onnx") == 0) || (smooth && quantises_activations(w->t[k].quant))));
        (void)snprintf(remedy, sizeof remedy, "leave it out, or add --quant %s", rows[i].what);
        if (!heard && hone_cli_has(c, rows[i].option)) return HONE_FAIL(err, HONE_EUSAGE, remedy, "--%s is about %s, and that is not asked for", rows[i].option, rows[i].what);
    }
    if (hone_cli_has(c, "percentile") && strcmp(hone_cli_text(c, "calibrator", ""), "percentile") != 0)
        return HONE_FAIL(err, HONE_EUSAGE, "leave it out, or add --calibrator percentile", "--percentile is about another calibrator");
    return HONE_OK;
}

static hone_code read_options(hone_cli *c, wanted *w, hone_static_how *how, hone_net_convert_options *o, hone_err *err)
{
    const char *ops = hone_cli_text(c, "onnx-ops", "genai"), *calibration = hone_cli_text(c, "calibration", NULL);
    hone_static_how asked = { 0 };
    bool            smooth = false;
    *o = (hone_net_convert_options){ .out_dir = hone_cli_text(c, "output", hone_cli_has(c, "dry-run") ? "." : NULL), .name = hone_cli_text(c, "name", NULL),
                                     .keep_io = hone_cli_has(c, "keep-io"), .standard = strcmp(ops, "standard") == 0, .no_fold = hone_cli_has(c, "no-fold"),
                                     .dry_run = hone_cli_has(c, "dry-run") };
    HONE_TRY(refuse_others(c, err));
    HONE_TRY(read_targets(c, w, err));
    HONE_TRY(read_smooth(c, w, &asked, &smooth, err));
    HONE_TRY(refuse_idle(c, w, smooth, err));
    HONE_TRY(read_group(c, &o->group, err));
    if (!o->standard && strcmp(ops, "genai") != 0) return HONE_FAIL(err, HONE_EUSAGE, "genai or standard", "--onnx-ops is '%.40s'", ops);
    if (!o->out_dir) return HONE_FAIL(err, HONE_EUSAGE, "add -o DIR, or --dry-run to see what would be written", "hone convert needs an output folder");
    o->targets = w->t;
    o->n_targets = w->n;
    const char **keep = hone_cli_list(c, "exclude", &o->n_keep);
    if (!keep) return HONE_NOMEM(err, "the command line");
    o->keep = keep;
    if (calibration) {
        HONE_TRY(hone_cli_static(c, calibration, keep, o->n_keep, how, err));
        how->smooth = smooth;
        how->smooth_alpha = asked.smooth_alpha;
        o->statics = how;
    }
    return HONE_OK;
}

static bool put(const hone_cli *c, const hone_net_convert_options *o, const hone_net_convert_result *r, json_t *doc)
{
    json_t *outputs = json_array();
    bool    good = outputs != NULL;
    for (size_t i = 0; good && i < r->n_outputs; i++) {
        const hone_net_output *x = &r->outputs[i];
        double                 bpw = r->parameters ? (double)x->bytes * 8 / (double)r->parameters : 0;
        good = json_array_append_new(outputs, json_pack("{s:s,s:s,s:s,s:I,s:i,s:f,s:s?}", "format", x->format, "quantization", x->quant, "path", x->path, "bytes",
                                                        (json_int_t)x->bytes, "parts", 1, "bpw", bpw, "sha256", x->sha256[0] ? x->sha256 : NULL)) == 0;
    }
    return hone_json_put(doc, "source", json_string(c->args[0])) && hone_json_put(doc, "outputs", outputs) && good &&
           hone_json_put(doc, "dry_run", json_boolean(o->dry_run)) && hone_json_put(doc, "seconds", hone_json_real(r->seconds)) &&
           hone_json_put(doc, "read_bytes", json_integer((json_int_t)r->read_bytes)) && hone_json_put(doc, "peak_rss_bytes", json_integer((json_int_t)r->peak_rss_bytes)) &&
           hone_json_put(doc, "disk_needed_bytes", json_integer((json_int_t)r->disk_needed)) && hone_json_put(doc, "ram_needed_bytes", json_integer((json_int_t)r->ram_needed)) &&
           hone_json_put(doc, "estimated_seconds", json_null()) && hone_json_put(doc, "warnings", json_incref(r->warnings)) && hone_json_put(doc, "plan", json_array()) &&
           hone_json_put(doc, "passes", json_incref(r->passes)) && hone_json_put(doc, "static", json_incref(r->statics));
}

hone_code hone_cli_net_convert(hone_cli *c, json_t *doc, hone_err *err)
{
    wanted                   w = { 0 };
    hone_static_how          how = { 0 };
    hone_net_convert_options o;
    hone_net_convert_result  r;
    HONE_TRY(read_options(c, &w, &how, &o, err));
    HONE_TRY(hone_net_convert(&c->ctx, c->args[0], &o, &r, err));
    bool good = put(c, &o, &r, doc);
    hone_net_convert_result_release(&r);
    return good ? HONE_OK : HONE_NOMEM(err, "the result");
}

bool hone_cli_net_doc(const json_t *doc) { return json_object_get(doc, "passes") || json_object_get(doc, "network"); }

/* What --accuracy has found. */
static void say_accuracy(hone_cli *c, const json_t *statics)
{
    size_t  i, k;
    json_t *s, *name;
    json_array_foreach(statics, i, s) {
        const json_t *a = json_object_get(s, "accuracy"), *back = json_object_get(a, "put_back");
        if (!json_is_object(a)) continue;
        hone_say(c, HONE_PLAIN, "  int8: %.1f %% right, as floats %.1f %%, of %.0f samples; ", 100 * hone_doc_num(a, "int8", 0),
                 100 * hone_doc_num(a, "float", 0), hone_doc_num(a, "samples", 0));
        hone_say(c, HONE_PLAIN, json_array_size(back) ? "floats again:" : "no layer put back");
        json_array_foreach(back, k, name) hone_say(c, HONE_PLAIN, " %s", json_string_value(name));
        hone_say(c, HONE_PLAIN, "\n");
    }
}

void hone_cli_net_convert_print(hone_cli *c, const json_t *doc)
{
    size_t  i;
    json_t *o;
    char    a[32];
    hone_say_outputs(c, json_object_get(doc, "outputs"), HONE_OUTPUTS_FORMAT | HONE_OUTPUTS_ENCODING | HONE_OUTPUTS_FOLDER);
    json_array_foreach(json_object_get(doc, "passes"), i, o) {
        double changed = hone_doc_num(o, "changed", 0);
        if (changed > 0 && strcmp(hone_doc_str(o, "pass", ""), "static") != 0)
            hone_say(c, HONE_DIM, "  %s: %s changed %.0f\n", hone_doc_str(o, "output", ""), hone_doc_str(o, "pass", ""), changed);
    }
    say_accuracy(c, json_object_get(doc, "static"));
    bool dry = json_is_true(json_object_get(doc, "dry_run"));
    json_array_foreach(json_object_get(doc, "warnings"), i, o) hone_say_wrapped(c, 2, json_string_value(o));
    if (dry) {
        char b[32];
        hone_say(c, HONE_PLAIN, "\nneeds %s of disk", hone_text_bytes((uint64_t)hone_doc_num(doc, "disk_needed_bytes", 0), a, sizeof a));
        hone_say(c, HONE_PLAIN, " and up to %s of memory", hone_text_bytes((uint64_t)hone_doc_num(doc, "ram_needed_bytes", 0), b, sizeof b));
    }
    hone_say(c, HONE_PLAIN, "\n%s %zu folder%s in %.2f s\n", dry ? "would write" : "wrote",
             json_array_size(json_object_get(doc, "outputs")), json_array_size(json_object_get(doc, "outputs")) == 1 ? "" : "s", hone_doc_num(doc, "seconds", 0));
}
