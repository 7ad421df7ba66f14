/* cmd_convert.c - hone convert: one read of a checkpoint, every requested output. */
#include "base/text.h"
#include "cli/cli.h"
#include "flow/convert.h"
#include "passes/mix.h"

static const hone_opt opts[] = {
    { "to", 0, HONE_OPT_LIST, "FORMAT", "gguf", "output formats (gguf)" },
    { "quant", 'Q', HONE_OPT_LIST, "Q", NULL, "encodings, one file each: f32 f16 bf16 q8_0 q6_k q5_k_m q4_k_m q4_k_s q4_0 q3_k_m iq4_xs ... or "
                                             "gguf=Q; int4 and int8 mean q4_k_m and q8_0; 'auto' is q4_k_m (default auto)" },
    { "output", 'o', HONE_OPT_TEXT, "DIR", NULL, "folder for the files (made when missing)" },
    { "name", 0, HONE_OPT_TEXT, "STEM", NULL, "file name before -Q.gguf (default: the model folder's name)" },
    { "keep", 0, HONE_OPT_LIST, "GLOB=TYPE", NULL, "give output tensors that match GLOB this type: --keep 'blk.*.ffn_down.weight=f16'" },
    { "dry-run", 'n', HONE_OPT_FLAG, NULL, NULL, "show the plan and its cost in bytes, memory and disk; write nothing" },
};

static hone_code quant_name(const char *given, const char **out, hone_err *err)
{
    static const struct { const char *alias, *name; } alias[] = { { "auto", "q4_k_m" }, { "int4", "q4_k_m" }, { "int8", "q8_0" } };
    if (strncmp(given, "gguf=", 5) == 0) given += 5;
    for (size_t i = 0; i < HONE_COUNT(alias); i++)
        if (strcmp(given, alias[i].alias) == 0) given = alias[i].name;
    if (!hone_mix_find(given)) {
        char        remedy[200] = "known: ", shown[64];
        size_t      at = strlen(remedy);
        for (size_t i = 0; i < hone_mix_count && at + 12 < sizeof remedy; i++)
            at += (size_t)snprintf(remedy + at, sizeof remedy - at, "%s ", hone_mix_list[i].name);
        return HONE_FAIL(err, HONE_EUSAGE, remedy, "gguf has no encoding '%s'", hone_text_show(given, strlen(given), shown, sizeof shown));
    }
    *out = given;
    return HONE_OK;
}

static hone_code run(hone_cli *c, json_t *doc, hone_err *err)
{
    size_t       n_to, n_quant, n_keep;
    const char **to = hone_cli_list(c, "to", &n_to), **given = hone_cli_list(c, "quant", &n_quant), **kept = hone_cli_list(c, "keep", &n_keep);
    if (!to || !given || !kept) return HONE_NOMEM(err, "the command line");
    for (size_t i = 0; i < n_to; i++)
        if (strcmp(to[i], "gguf") != 0)
            return HONE_FAIL(err, HONE_EUNSUPPORTED, "use --to gguf", "hone cannot write '%.40s' files; it writes gguf", to[i]);
    if (n_quant == 0) given[n_quant++] = "auto";
    if (n_quant > HONE_MAX_OUTPUTS)
        return HONE_FAIL(err, HONE_EUSAGE, "", "%zu encodings asked, at most %d in one run", n_quant, HONE_MAX_OUTPUTS);
    for (size_t i = 0; i < n_quant; i++) HONE_TRY(quant_name(given[i], &given[i], err));
    hone_keep *keep = hone_arena_calloc(&c->arena, n_keep + 1, sizeof *keep);
    if (!keep) return HONE_NOMEM(err, "the command line");
    for (size_t i = 0; i < n_keep; i++) {
        const char *eq = strrchr(kept[i], '=');
        hone_dtype  t;
        if (!eq || eq == kept[i] || !hone_dtype_from_name(eq + 1, &t))
            return HONE_FAIL(err, HONE_EUSAGE, "as in --keep 'output.weight=q8_0'", "--keep is '%.80s', needs GLOB=TYPE", kept[i]);
        keep[i].pattern = hone_arena_strndup(&c->arena, kept[i], (size_t)(eq - kept[i]));
        keep[i].dtype = eq + 1;
        if (!keep[i].pattern) return HONE_NOMEM(err, "the command line");
    }
    bool        dry = hone_cli_has(c, "dry-run");
    const char *out_dir = hone_cli_text(c, "output", dry ? "." : NULL);
    if (!out_dir) return HONE_FAIL(err, HONE_EUSAGE, "add -o DIR, or --dry-run to see the plan", "hone convert needs an output folder");

    hone_model          m = { 0 };
    hone_convert_result res = { 0 };
    hone_code           code = hone_model_open(&c->ctx, c->args[0], &m, err);
    if (code == HONE_OK)
        code = hone_convert(&c->ctx, &m,
                            &(hone_convert_options){ .quants = given, .n_quants = n_quant, .out_dir = out_dir,
                                                     .name = hone_cli_text(c, "name", NULL), .keep = keep, .n_keep = n_keep,
                                                     .dry_run = dry },
                            &res, err);
    if (code == HONE_OK) {
        bool    good = true;
        json_t *outputs = json_array();
        for (size_t i = 0; outputs && i < res.n_outputs; i++) {
            const hone_convert_output *o = &res.outputs[i];
            json_t                    *j = json_pack("{s:s,s:s,s:s,s:I,s:f,s:s?}", "format", o->format, "quantization", o->quantization, "path",
                                                     o->path, "bytes", (json_int_t)o->bytes, "bpw", o->bpw, "sha256", o->sha256[0] ? o->sha256 : NULL);
            good = good && j && json_array_append_new(outputs, j) == 0;
        }
        good = good && hone_json_put(doc, "source", json_string(c->args[0])) && hone_json_put(doc, "outputs", outputs) &&
               hone_json_put(doc, "dry_run", json_boolean(dry)) && hone_json_put(doc, "seconds", hone_json_real(res.seconds)) &&
               hone_json_put(doc, "read_bytes", json_integer((json_int_t)res.read_bytes)) &&
               hone_json_put(doc, "peak_rss_bytes", json_integer((json_int_t)res.peak_rss_bytes)) &&
               hone_json_put(doc, "disk_needed_bytes", json_integer((json_int_t)res.disk_needed)) &&
               hone_json_put(doc, "ram_needed_bytes", json_integer((json_int_t)res.ram_needed)) &&
               hone_json_put(doc, "estimated_seconds", dry ? hone_json_real(res.estimated_s) : json_null()) && hone_json_put(doc, "warnings", json_incref(res.warnings)) && hone_json_put(doc, "plan", json_incref(res.plan));
        if (!good) code = HONE_NOMEM(err, "the result");
    }
    hone_convert_result_release(&res);
    hone_model_close(&m);
    return code;
}

static void print(hone_cli *c, const json_t *doc)
{
    char        a[32], b[32], r[32];
    const char *dry = json_is_true(json_object_get(doc, "dry_run")) ? "would write" : "wrote";
    size_t      i;
    json_t     *o;
    hone_table *t = hone_table_new(c, 4);
    hone_table_col(t, 0, "encoding", "", false);
    hone_table_col(t, 1, "size", "", true);
    hone_table_col(t, 2, "bits/weight", "", true);
    hone_table_col(t, 3, "file", "", false);
    json_array_foreach(json_object_get(doc, "outputs"), i, o) {
        hone_table_cell(t, i, 0, HONE_BOLD, "%s", hone_doc_str(o, "quantization", ""));
        hone_table_cell(t, i, 1, HONE_PLAIN, "%s", hone_text_bytes((uint64_t)hone_doc_num(o, "bytes", 0), a, sizeof a));
        hone_table_cell(t, i, 2, HONE_PLAIN, "%.2f", hone_doc_num(o, "bpw", 0));
        hone_table_cell(t, i, 3, HONE_PLAIN, "%s", hone_doc_str(o, "path", ""));
    }
    hone_table_print(c, t);
    double s = hone_doc_num(doc, "seconds", 0), read = hone_doc_num(doc, "read_bytes", 0);
    if (json_is_true(json_object_get(doc, "dry_run")))
        hone_say(c, HONE_PLAIN, "\n%s %zu file%s: disk %s, memory about %s, time about %.2g s (estimated from one tile of each encoding)\n", dry, i,
                 i == 1 ? "" : "s", hone_text_bytes((uint64_t)hone_doc_num(doc, "disk_needed_bytes", 0), a, sizeof a),
                 hone_text_bytes((uint64_t)hone_doc_num(doc, "ram_needed_bytes", 0), b, sizeof b), hone_doc_num(doc, "estimated_seconds", 0));
    else
        hone_say(c, HONE_PLAIN, "\n%s %zu file%s from one read of %s in %.2f s (%s/s), peak memory %s\n", dry, i, i == 1 ? "" : "s",
                 hone_text_bytes((uint64_t)read, a, sizeof a), s, hone_text_bytes((uint64_t)(s > 0 ? read / s : 0), r, sizeof r),
                 hone_text_bytes((uint64_t)hone_doc_num(doc, "peak_rss_bytes", 0), b, sizeof b));
}

const hone_cmd hone_cmd_convert = {
    .name = "convert",
    .summary = "turn a checkpoint into deployable files, all from one read",
    .args = "SRC",
    .about = "Reads a Hugging Face checkpoint folder once and writes one file per encoding. Memory is bounded by tiles, not by the model; no "
             "intermediate file is made; each file is written under a temporary name, read back by an independent reader and only then gets its "
             "name. The bytes are the same for any number of threads and on any processor.",
    .example = "hone convert examples/models/tale-8m --quant q8_0,q4_k_m -o out",
    .opts = opts, .n_opts = HONE_COUNT(opts), .min_args = 1, .max_args = 1, .run = run, .print = print,
};
