/* cmd_verify.c - hone verify: is an artefact what its source and its recipe give? */
#include "base/text.h"
#include "cli/cli.h"
#include "flow/verify.h"

static const hone_opt opts[] = {
    { "source", 0, HONE_OPT_TEXT, "SRC", NULL, "the checkpoint (or GGUF file, MLX or ONNX folder) that it was made from" },
    { "calibration", 0, HONE_OPT_TEXT, "FILE", NULL, "the statistics of activations that it was made with, where its recipe names some" },
};

static hone_code run(hone_cli *c, json_t *doc, hone_err *err)
{
    hone_verify_options o = { .artefact = c->args[0], .source = hone_cli_text(c, "source", NULL), .calibration = hone_cli_text(c, "calibration", NULL) };
    json_t             *found = NULL;
    if (!o.source) return HONE_FAIL(err, HONE_EUSAGE, "add --source SRC", "hone verify needs the source that '%s' was made from", o.artefact);
    hone_code code = hone_verify(&c->ctx, &o, &found, err);
    if (found && json_object_update(doc, found) != 0) code = HONE_NOMEM(err, "the result");
    json_decref(found);
    return code;
}

static void print_lists(hone_cli *c, const json_t *differ)
{
    size_t  i;
    json_t *r;
    if (json_array_size(json_object_get(differ, "files"))) hone_say_head(c, "Files");
    json_array_foreach(json_object_get(differ, "files"), i, r) {
        char have[32], want[32];
        hone_say_field(c, hone_doc_str(r, "what", ""), "%s (%s, expected %s)", hone_doc_str(r, "file", ""),
                       hone_doc_has_num(r, "found_bytes") ? hone_text_bytes((uint64_t)hone_doc_num(r, "found_bytes", 0), have, sizeof have) : "not there",
                       hone_doc_has_num(r, "expected_bytes") ? hone_text_bytes((uint64_t)hone_doc_num(r, "expected_bytes", 0), want, sizeof want) : "none");
    }
    if (json_array_size(json_object_get(differ, "keys")) == 0) return;
    hone_say_head(c, "Metadata");
    hone_table *t = hone_table_new(c, 4);
    hone_table_col(t, 0, "file", "", false);
    hone_table_col(t, 1, "key", "", false);
    hone_table_col(t, 2, "expected", "", false);
    hone_table_col(t, 3, "found", "", false);
    json_array_foreach(json_object_get(differ, "keys"), i, r) {
        hone_table_cell(t, i, 0, HONE_DIM, "%s", hone_doc_str(r, "file", ""));
        hone_table_cell(t, i, 1, HONE_BOLD, "%s", hone_doc_str(r, "key", ""));
        hone_table_cell(t, i, 2, HONE_PLAIN, "%.60s", hone_doc_str(r, "expected", "-"));
        hone_table_cell(t, i, 3, HONE_PLAIN, "%.60s", hone_doc_str(r, "found", "-"));
    }
    hone_table_fold(t);
    hone_table_print(c, t);
}

static void print_first(hone_cli *c, const json_t *first)
{
    const json_t *values = json_object_get(first, "values");
    if (!json_is_object(first)) return;
    hone_say_head(c, "First difference");
    hone_say_field(c, "file", "%s, byte %.0f", hone_doc_str(first, "file", ""), hone_doc_num(first, "offset", 0));
    if (hone_doc_has_num(first, "row"))
        hone_say_field(c, "tensor", "%s (%s), row %.0f, block %.0f of the %s", hone_doc_str(first, "tensor", ""), hone_doc_str(first, "encoding", ""),
                       hone_doc_num(first, "row", 0), hone_doc_num(first, "block", 0), hone_doc_str(first, "stream", ""));
    if (*hone_doc_str(first, "expected", "") || *hone_doc_str(first, "found", "")) {
        hone_say_field(c, "expected", "%s", hone_doc_str(first, "expected", ""));
        hone_say_field(c, "found", "%s", hone_doc_str(first, "found", ""));
    }
    if (json_is_object(values))
        hone_say_field(c, "as numbers", "column %.0f is %.9g, expected %.9g", hone_doc_num(values, "column", 0), hone_doc_num(values, "found", 0), hone_doc_num(values, "expected", 0));
}

static void print(hone_cli *c, const json_t *doc)
{
    const json_t *compared = json_object_get(doc, "compared"), *differ = json_object_get(doc, "differences");
    bool          good = json_is_true(json_object_get(doc, "identical")), whole = strcmp(hone_doc_str(doc, "metadata", ""), "compared") == 0;
    char          bytes[32];
    if (!*hone_doc_str(doc, "quantization", "")) { /* the error says how it is damaged */
        hone_say(c, HONE_RED, "different");
        hone_say(c, HONE_PLAIN, ": %s; nothing was compared, for its recipe is not to be trusted\n", hone_doc_str(doc, "artefact", ""));
        return;
    }
    hone_say(c, good ? HONE_GREEN : HONE_RED, "%s", !good ? "different" : whole ? "identical" : "the same tensors");
    hone_say(c, HONE_PLAIN, ": %s, %s as %s\n", hone_doc_str(doc, "artefact", ""), hone_doc_str(doc, "quantization", ""), hone_doc_str(doc, "format", ""));
    (void)hone_text_bytes((uint64_t)hone_doc_num(compared, "bytes", 0), bytes, sizeof bytes);
    hone_say_field(c, "compared", "%.0f file%s, %.0f tensors, %.0f blocks, %s in %.2f s", hone_doc_num(compared, "files", 0), hone_doc_num(compared, "files", 0) == 1 ? "" : "s",
                   hone_doc_num(compared, "tensors", 0), hone_doc_num(compared, "blocks", 0), bytes, hone_doc_num(doc, "seconds", 0));
    if (!whole) hone_say_field(c, "not compared", "metadata: another program wrote it, so its tensors were taken by name, in the types that they have");
    if (good) hone_say_field(c, "sha256", "%s", hone_doc_str(doc, "sha256", ""));
    else hone_say_field(c, "differ", "%.0f tensors, %.0f blocks, %.0f bytes", hone_doc_num(differ, "tensors", 0), hone_doc_num(differ, "blocks", 0), hone_doc_num(differ, "bytes", 0));
    print_lists(c, differ);
    print_first(c, json_object_get(doc, "first"));
}

const hone_cmd hone_cmd_verify = {
    .name = "verify",
    .summary = "prove that an artefact is what its source and its recipe give",
    .args = "ARTEFACT",
    .about = "Every output of hone convert holds the recipe that it was made with: the key hone.recipe of a GGUF file, hone.json of a folder. hone verify runs that very "
             "conversion of SRC again and compares every byte of every file with what would be written; it writes nothing. Exit 0: identical. Exit 1: it is not, and the "
             "first tensor, row, block and byte that differ are shown. A GGUF file of another program is compared tensor by tensor, in the types that it has.",
    .example = "hone verify out/model-q4_k_m.gguf --source model\nhone verify out/model-int4-mlx --source model --json",
    .opts = opts, .n_opts = HONE_COUNT(opts), .min_args = 1, .max_args = 1, .run = run, .print = print,
};
