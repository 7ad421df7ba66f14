/* cmd_convert.c - hone convert: one read of a checkpoint, every requested output. */
#include "base/text.h"
#include "cli/cli.h"
#include "flow/convert.h"
#include "formats/mlx.h"
#include "passes/mix.h"

static const hone_opt opts[] = {
    { "to", 0, HONE_OPT_LIST, "FORMAT", "gguf", "output formats, all from one read: gguf (a file), mlx (a folder that mlx_lm loads)" },
    { "quant", 'Q', HONE_OPT_LIST, "Q", NULL, "encodings, one output each. gguf: f32 f16 bf16 q8_0 q6_k q5_k_m q4_k_m q4_k_s q4_0 q3_k_m iq4_xs ...; "
                                             "mlx: f32 f16 bf16 int8 int6 int5 int4 int3 int2. FORMAT=Q is for that format only; in gguf int4 "
                                             "and int8 mean q4_k_m and q8_0; 'auto' is int4 (default auto)" },
    { "group", 0, HONE_OPT_COUNT, "N", NULL, "mlx: columns that share a scale: 32, 64 or 128 (default 64)" },
    { "output", 'o', HONE_OPT_TEXT, "DIR", NULL, "folder for the files (made when missing)" },
    { "name", 0, HONE_OPT_TEXT, "STEM", NULL, "file name before -Q.gguf (default: the model folder's name)" },
    { "keep", 0, HONE_OPT_LIST, "GLOB=TYPE", NULL, "give output tensors that match GLOB this type: --keep 'blk.*.ffn_down.weight=f16'" },
    { "split-bytes", 0, HONE_OPT_BYTES, "SIZE", NULL, "gguf: no file longer than SIZE (as 2G): what would be becomes a folder of parts, all of "
                                                     "which a runtime finds by the first" },
    { "dry-run", 'n', HONE_OPT_FLAG, NULL, NULL, "show the plan and its cost in bytes, memory and disk; write nothing" },
};

/* How the options spell the formats; --quant names are checked here so that a misspelt one costs nothing. */
typedef struct format {
    const char *name;
    struct { const char *alias, *name; } alias[3]; /* "auto" first */
    bool (*knows)(const char *quant);
    void (*list)(char *out, size_t size);
} format;

static bool gguf_knows(const char *q) { return hone_mix_find(q) != NULL; }
static bool mlx_knows(const char *q) { return hone_mlx_quant_find(q) != NULL; }

static void gguf_list(char *out, size_t size)
{
    for (size_t i = 0, at = 0; i < hone_mix_count && at + 12 < size; i++)
        at += (size_t)snprintf(out + at, size - at, "%s ", hone_mix_list[i].name);
}

static void mlx_list(char *out, size_t size)
{
    for (size_t i = 0, at = 0; i < hone_mlx_quant_count && at + 12 < size; i++)
        at += (size_t)snprintf(out + at, size - at, "%s ", hone_mlx_quants[i].name);
}

static const format formats[] = {
    { "gguf", { { "auto", "q4_k_m" }, { "int4", "q4_k_m" }, { "int8", "q8_0" } }, gguf_knows, gguf_list },
    { "mlx", { { "auto", "int4" } }, mlx_knows, mlx_list },
};

static const format *find_format(const char *name, size_t n)
{
    for (size_t i = 0; i < HONE_COUNT(formats); i++)
        if (strlen(formats[i].name) == n && memcmp(formats[i].name, name, n) == 0) return &formats[i];
    return NULL;
}

/* "int4" of format gguf becomes "gguf=q4_k_m". */
static hone_code quant_of(hone_cli *c, const format *f, const char *given, const char **out, hone_err *err)
{
    for (size_t i = 0; i < HONE_COUNT(f->alias) && f->alias[i].alias; i++)
        if (strcmp(given, f->alias[i].alias) == 0) given = f->alias[i].name;
    if (!f->knows(given)) {
        char remedy[200] = "known: ", shown[64];
        f->list(remedy + strlen(remedy), sizeof remedy - strlen(remedy));
        return HONE_FAIL(err, HONE_EUSAGE, remedy, "%s has no encoding '%s'", f->name, hone_text_show(given, strlen(given), shown, sizeof shown));
    }
    *out = hone_arena_printf(&c->arena, "%s=%s", f->name, given);
    return *out ? HONE_OK : HONE_NOMEM(err, "the command line");
}

typedef struct targets {
    const format *to[HONE_COUNT(formats)];
    size_t        n_to;
    const char   *quants[HONE_MAX_OUTPUTS]; /* as hone_convert wants them */
    size_t        n;
} targets;

static hone_code read_formats(hone_cli *c, targets *t, hone_err *err)
{
    size_t       n;
    const char **to = hone_cli_list(c, "to", &n);
    if (!to) return HONE_NOMEM(err, "the command line");
    if (n == 0) t->to[t->n_to++] = &formats[0];
    for (size_t i = 0; i < n; i++) {
        const format *f = find_format(to[i], strlen(to[i]));
        if (!f) return HONE_FAIL(err, HONE_EUNSUPPORTED, "use --to gguf, --to mlx or both", "hone cannot write '%.40s' files", to[i]);
        for (size_t k = 0; k < t->n_to; k++)
            if (t->to[k] == f) return HONE_FAIL(err, HONE_EUSAGE, "name it once", "--to names '%s' twice", f->name);
        t->to[t->n_to++] = f;
    }
    return HONE_OK;
}

/* Encoding `given` for format f, or for every chosen format when f is NULL. */
static hone_code add_targets(hone_cli *c, targets *t, const format *f, const char *given, hone_err *err)
{
    for (size_t i = 0; i < t->n_to; i++) {
        if (f && t->to[i] != f) continue;
        if (t->n == HONE_MAX_OUTPUTS) return HONE_FAIL(err, HONE_EUSAGE, "", "more than %d outputs asked of one run", HONE_MAX_OUTPUTS);
        HONE_TRY(quant_of(c, t->to[i], given, &t->quants[t->n], err));
        t->n++;
    }
    return HONE_OK;
}

static hone_code read_targets(hone_cli *c, targets *t, hone_err *err)
{
    size_t       n;
    const char **given = hone_cli_list(c, "quant", &n);
    if (!given) return HONE_NOMEM(err, "the command line");
    HONE_TRY(read_formats(c, t, err));
    if (n == 0) return add_targets(c, t, NULL, "auto", err);
    for (size_t i = 0; i < n; i++) {
        const char   *eq = strchr(given[i], '=');
        const format *f = eq ? find_format(given[i], (size_t)(eq - given[i])) : NULL;
        bool          chosen = !eq;
        for (size_t k = 0; k < t->n_to; k++) chosen = chosen || t->to[k] == f;
        if (!chosen) return HONE_FAIL(err, HONE_EUSAGE, "add the format to --to", "--quant '%.60s' is for a format that --to does not name", given[i]);
        HONE_TRY(add_targets(c, t, f, eq ? eq + 1 : given[i], err));
    }
    for (size_t i = 0; i < t->n_to; i++) {
        bool has = false;
        for (size_t k = 0; k < t->n; k++) has = has || strncmp(t->quants[k], t->to[i]->name, strlen(t->to[i]->name)) == 0;
        if (!has) HONE_TRY(add_targets(c, t, t->to[i], "auto", err));
    }
    return HONE_OK;
}

static hone_code run(hone_cli *c, json_t *doc, hone_err *err)
{
    targets      t = { 0 };
    uint32_t     group = hone_cli_count(c, "group", 0);
    size_t       n_keep;
    const char **kept = hone_cli_list(c, "keep", &n_keep);
    if (!kept) return HONE_NOMEM(err, "the command line");
    HONE_TRY(read_targets(c, &t, err));
    bool gguf = false, mlx = false;
    for (size_t i = 0; i < t.n_to; i++) *(t.to[i] == &formats[0] ? &gguf : &mlx) = true;
    if (hone_cli_has(c, "group") && !mlx) return HONE_FAIL(err, HONE_EUSAGE, "add --to mlx", "--group says nothing about gguf, whose blocks are fixed");
    if (hone_cli_has(c, "group") && group != 32 && group != 64 && group != 128)
        return HONE_FAIL(err, HONE_EUSAGE, "mlx knows 32, 64 and 128", "--group is %u", group);
    if (hone_cli_has(c, "split-bytes") && !gguf) return HONE_FAIL(err, HONE_EUSAGE, "add --to gguf", "--split-bytes is about gguf files");
    if (n_keep && !gguf) return HONE_FAIL(err, HONE_EUSAGE, "add --to gguf", "--keep names gguf tensors");
    hone_keep *keep = hone_arena_calloc(&c->arena, n_keep + 1, sizeof *keep);
    if (!keep) return HONE_NOMEM(err, "the command line");
    for (size_t i = 0; i < n_keep; i++) {
        const char *eq = strrchr(kept[i], '=');
        hone_dtype  type;
        if (!eq || eq == kept[i] || !hone_dtype_from_name(eq + 1, &type))
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
                            &(hone_convert_options){ .quants = t.quants, .n_quants = t.n, .group = group, .out_dir = out_dir,
                                                     .name = hone_cli_text(c, "name", NULL), .keep = keep, .n_keep = n_keep,
                                                     .split_bytes = hone_cli_bytes(c, "split-bytes", 0),
                                                     .dry_run = dry },
                            &res, err);
    if (code == HONE_OK) {
        bool    good = true;
        json_t *outputs = json_array();
        for (size_t i = 0; outputs && i < res.n_outputs; i++) {
            const hone_convert_output *o = &res.outputs[i];
            json_t                    *j = json_pack("{s:s,s:s,s:s,s:I,s:i,s:f,s:s?}", "format", o->format, "quantization", o->quantization, "path",
                                                     o->path, "bytes", (json_int_t)o->bytes, "parts", (int)o->parts, "bpw", o->bpw, "sha256", o->sha256[0] ? o->sha256 : NULL);
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
        double more = hone_doc_num(o, "parts", 1) - 1;
        if (more > 0) hone_table_cell(t, i, 3, HONE_PLAIN, "%s and %.0f more", hone_doc_str(o, "path", ""), more);
        else hone_table_cell(t, i, 3, HONE_PLAIN, "%s", hone_doc_str(o, "path", ""));
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
    .about = "Reads a Hugging Face checkpoint folder once and writes one GGUF file or MLX folder per encoding. Memory is bounded by tiles, not by the model; no "
             "intermediate file is made; each output is written under a temporary name, read back by an independent reader and only then gets its "
             "name. The bytes are the same for any number of threads and on any processor.",
    .example = "hone convert examples/models/tale-8m --quant q8_0,q4_k_m -o out",
    .opts = opts, .n_opts = HONE_COUNT(opts), .min_args = 1, .max_args = 1, .run = run, .print = print,
};
