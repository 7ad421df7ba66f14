/* cmd_history.c - hone history: what was measured, when, with what verdict. */
#include "base/file.h"
#include "base/text.h"
#include "cli/cli.h"
#include "flow/history.h"

static const hone_opt opts[] = {
    { "last", 'n', HONE_OPT_COUNT, "N", NULL, "show the last N runs (default 20)" },
    { "full", 0, HONE_OPT_FLAG, NULL, NULL, "with --json: the results of every measurement too" },
};

static hone_code run(hone_cli *c, json_t *doc, hone_err *err)
{
    const char   *given = c->args[0], *path = given;
    hone_history *h = NULL;
    json_t       *list = NULL;
    if (hone_dir_exists(given) && !(path = hone_arena_printf(&c->arena, "%s/history.db", given))) return HONE_NOMEM(err, "a path");
    if (!hone_file_exists(path))
        return HONE_FAIL(err, HONE_EINPUT, "name the -o folder of hone optimize", "there is no history at '%s'", path);
    HONE_TRY(hone_history_read(path, &h, err));
    hone_code code = hone_history_list(h, hone_cli_count(c, "last", 20), hone_cli_has(c, "full"), &list, err);
    hone_history_close(h);
    if (code == HONE_OK && json_object_update(doc, list) != 0) code = HONE_NOMEM(err, "the history");
    json_decref(list);
    return code;
}

static void print(hone_cli *c, const json_t *doc)
{
    size_t      i;
    json_t     *r;
    hone_table *t = hone_table_new(c, 6);
    hone_table_col(t, 0, "run", "", true);
    hone_table_col(t, 1, "began (UTC)", "", false);
    hone_table_col(t, 2, "verdict", "", false);
    hone_table_col(t, 3, "chosen", "", false);
    hone_table_col(t, 4, "measured", "", true);
    hone_table_col(t, 5, "source", "", false);
    if (json_array_size(json_object_get(doc, "runs")) == 0) {
        hone_say(c, HONE_PLAIN, "no runs yet\n");
        return;
    }
    json_array_foreach(json_object_get(doc, "runs"), i, r) {
        const char *v = hone_doc_str(r, "verdict", "unfinished"), *at = hone_doc_str(r, "started", "");
        hone_table_cell(t, i, 0, HONE_BOLD, "%.0f", hone_doc_num(r, "id", 0));
        hone_table_cell(t, i, 1, HONE_PLAIN, "%.10s %.8s", at, strlen(at) > 11 ? at + 11 : "");
        hone_table_cell(t, i, 2, strcmp(v, "pass") == 0 ? HONE_GREEN : strcmp(v, "no") == 0 ? HONE_RED : HONE_YELLOW, "%s",
                        strcmp(v, "no") == 0 ? "gate failed" : v);
        hone_table_cell(t, i, 3, HONE_PLAIN, "%s", hone_doc_str(json_object_get(r, "summary"), "quantization", "-"));
        hone_table_cell(t, i, 4, HONE_PLAIN, "%zu", json_array_size(json_object_get(r, "measurements")));
        hone_table_cell(t, i, 5, HONE_PLAIN, "%s", hone_doc_str(r, "source", ""));
    }
    hone_table_print(c, t);
    const json_t *last = json_array_get(json_object_get(doc, "runs"), 0);
    size_t        n = json_array_size(json_object_get(last, "measurements"));
    if (n == 0) return;
    hone_say_head(c, "Measurements of run %.0f", hone_doc_num(last, "id", 0));
    hone_table *m = hone_table_new(c, 3);
    hone_table_col(m, 0, "at (UTC)", "", false);
    hone_table_col(m, 1, "kind", "", false);
    hone_table_col(m, 2, "artefact", "", false);
    json_array_foreach(json_object_get(last, "measurements"), i, r) {
        const char *at = hone_doc_str(r, "at", "");
        hone_table_cell(m, i, 0, HONE_DIM, "%.8s", strlen(at) > 11 ? at + 11 : "");
        hone_table_cell(m, i, 1, HONE_PLAIN, "%s", hone_doc_str(r, "kind", ""));
        hone_table_cell(m, i, 2, HONE_PLAIN, "%s", hone_doc_str(r, "artefact", ""));
    }
    hone_table_print(c, m);
}

const hone_cmd hone_cmd_history = {
    .name = "history",
    .summary = "show the measurements that optimize stored",
    .args = "DIR",
    .about = "Reads DIR/history.db, where hone optimize stores every finished measurement: each run with its command, verdict and chosen encoding, and "
             "what the newest run measured. The file is plain SQLite.",
    .example = "hone history out/android\nhone history out/android --json --full",
    .opts = opts, .n_opts = HONE_COUNT(opts), .min_args = 1, .max_args = 1, .run = run, .print = print,
};
