/* cmd_plan.c - hone plan: which encoding each weight should get, for a size, a KLD or a memory. */
#include "cli/networks.h"
#include "cli/planned.h"
#include "flow/convert/treatment.h"
#include "formats/gguf/imatrix.h"

static const hone_opt opts[] = {
    { "to", 0, HONE_OPT_LIST, "FORMAT", "gguf|onnx|openvino|mlx", "formats that the plan is for (default: gguf)" },
    HONE_OPT_TARGETS,
    { "calibration", 0, HONE_OPT_TEXT, "FILE", NULL, "statistics of hone calibrate: errors are weighed by them, and trials encoded as hone convert does with them" },
    { "imatrix", 0, HONE_OPT_TEXT, "FILE", NULL, "the same of llama-imatrix" },
    { "method", 0, HONE_OPT_TEXT, "M", "rtn|search|hqq|scale|gptq", "how trials are rounded (default: as hone convert)" },
    { "output", 'o', HONE_OPT_TEXT, "FILE", NULL, "the plan, a file for hone convert --plan; files for measurements lie in its folder meanwhile" },
};

static hone_code read_quants(hone_cli *c, hone_convert_options *o, hone_err *err)
{
    static const char *const usual[] = { "gguf" };
    size_t       n;
    const char **to = hone_cli_list(c, "to", &n);
    if (!to) return HONE_NOMEM(err, "the command line");
    const char *const *names = n ? (const char *const *)to : usual;
    size_t             count = n ? n : 1;
    const char       **quants = HONE_ARENA_NEW(&c->arena, const char *, count);
    if (!quants) return HONE_NOMEM(err, "the command line");
    for (size_t i = 0; i < count; i++) {
        const hone_format *f = hone_convert_format_find(names[i], strlen(names[i]));
        if (!f) return HONE_FAIL(err, HONE_EUNSUPPORTED, "known: gguf onnx openvino mlx", "hone cannot write '%.40s' files", names[i]);
        quants[i] = hone_arena_printf(&c->arena, "%s=%s", f->name, f->plain[0].means);
        if (!quants[i]) return HONE_NOMEM(err, "the command line");
    }
    o->quants = quants;
    o->n_quants = count;
    return HONE_OK;
}

static hone_code read_stats(hone_cli *c, hone_convert_options *o, hone_stats *stats, hone_err *err)
{
    const char *imatrix = hone_cli_text(c, "imatrix", NULL), *path = hone_cli_text(c, "calibration", imatrix);
    if (imatrix && path != imatrix) return HONE_FAIL(err, HONE_EUSAGE, "give one of them", "--imatrix and --calibration both name statistics");
    if (path) HONE_TRY(hone_stats_open(path, &c->arena, stats, err));
    if (path) o->stats = stats;
    o->method = hone_cli_text(c, "method", imatrix ? "search" : NULL);
    return HONE_OK;
}

/* The folder that path lies in. */
static const char *folder_of(hone_cli *c, const char *path)
{
    const char *slash = path ? strrchr(path, '/') : NULL;
    if (!slash) return ".";
    return slash == path ? "/" : hone_arena_strndup(&c->arena, path, (size_t)(slash - path));
}

static hone_code run(hone_cli *c, json_t *doc, hone_err *err)
{
    const char          *path = hone_cli_text(c, "output", NULL), *dir = folder_of(c, path);
    hone_convert_options o = { .out_dir = dir };
    hone_model           m = { 0 };
    hone_stats           stats = { 0 };
    hone_plan_made       made;
    if (!dir) return HONE_NOMEM(err, "the command line");
    HONE_TRY(hone_cli_networks_refuse(c, "hone convert --quant int8 --accuracy FILE chooses the layers of networks that stay floats", err));
    HONE_TRY(read_quants(c, &o, err));
    if (!hone_cli_has_target(c))
        return HONE_FAIL(err, HONE_EUSAGE, "as in --target-bytes 4.5M", "a plan needs a target: --target-bytes, --target-bpw, --target-kld or --max-ram");
    hone_code code = hone_model_open(&c->ctx, c->args[0], &m, err);
    if (code == HONE_OK) code = read_stats(c, &o, &stats, err);
    if (code == HONE_OK) code = hone_cli_make_plan(c, &m, &o, path, dir, true, &made, err);
    if (code == HONE_OK && !hone_json_put(doc, "source", json_string(c->args[0]))) code = HONE_NOMEM(err, "the result");
    if (code == HONE_OK) code = hone_cli_put_plan(doc, &made, path, true, err);
    hone_stats_close(&stats);
    hone_model_close(&m);
    return code;
}

static void print(hone_cli *c, const json_t *doc)
{
    if (!json_object_get(doc, "formats")) return; /* the answer is no, and the error says why */
    hone_cli_say_plan(c, doc);
    if (hone_doc_str(doc, "path", "")[0]) hone_say(c, HONE_PLAIN, "\nread it, edit it, and apply it: hone convert %s --plan %s -o DIR\n", hone_doc_str(doc, "source", ""), hone_doc_str(doc, "path", ""));
}

const hone_cmd hone_cmd_plan = {
    .name = "plan",
    .summary = "choose an encoding for each weight, for a size, a KLD or a memory",
    .args = "SRC",
    .about = "Finds out what each encoding of each weight costs in bytes and in KL divergence, and chooses the best for a target, for every format from one pass. Errors of "
             "all encodings come from one read of the weights; how much the model suffers from them is measured in llama.cpp, one weight after the other. The plan is a file "
             "that a person can read and edit.",
    .example = "hone plan examples/models/tale-8m --to gguf,mlx --target-bpw 4.5 -o plan.yaml",
    .opts = opts, .n_opts = HONE_COUNT(opts), .min_args = 1, .max_args = 1, .run = run, .print = print,
};
