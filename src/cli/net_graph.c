/* net_graph.c - hone graph of an ONNX model that is no language model. */
#include "cli/net.h"
#include "flow/net.h"

hone_code hone_cli_net_graph(hone_cli *c, json_t *doc, hone_err *err)
{
    json_t *nodes = NULL;
    if (hone_cli_has(c, "svg"))
        return HONE_FAIL(err, HONE_EUNSUPPORTED, "leave --svg out: the table and --json have every operator", "pictures are drawn of language models, whose layers are alike");
    HONE_TRY(hone_net_graph(&c->ctx, c->args[0], &nodes, err));
    return hone_json_put(doc, "source", json_string(c->args[0])) && hone_json_put(doc, "network", nodes) ? HONE_OK : HONE_NOMEM(err, "the graph");
}

static void list_cell(hone_table *t, size_t row, size_t col, const json_t *list, const char *between)
{
    char    text[160] = "";
    size_t  i, at = 0;
    json_t *x;
    json_array_foreach((json_t *)(uintptr_t)list, i, x) {
        int n = json_is_integer(x) ? snprintf(text + at, sizeof text - at, "%s%lld", i ? between : "", (long long)json_integer_value(x))
                                   : snprintf(text + at, sizeof text - at, "%s%s", i ? between : "", json_is_string(x) ? json_string_value(x) : "-");
        if (n < 0 || (at += (size_t)n) >= sizeof text) break;
    }
    hone_table_cell(t, row, col, col == 2 ? HONE_DIM : HONE_PLAIN, "%s", text);
}

void hone_cli_net_graph_print(hone_cli *c, const json_t *doc)
{
    static const char *const titles[] = { "operator", "kind", "shape", "reads", "MACs" };
    hone_table              *t = hone_table_new(c, 5);
    size_t                   i;
    json_t                  *n;
    for (size_t k = 0; k < 5; k++) hone_table_col(t, k, titles[k], "", k == 4);
    json_array_foreach(json_object_get(doc, "network"), i, n) {
        hone_table_cell(t, i, 0, HONE_BOLD, "%s", hone_doc_str(n, "name", ""));
        hone_table_cell(t, i, 1, HONE_CYAN, "%s", hone_doc_str(n, "op", ""));
        list_cell(t, i, 2, json_object_get(n, "shape"), " x ");
        list_cell(t, i, 3, json_object_get(n, "inputs"), ", ");
        if (hone_doc_has_num(n, "macs")) hone_table_cell(t, i, 4, HONE_PLAIN, "%.0f", hone_doc_num(n, "macs", 0));
        else hone_table_cell(t, i, 4, HONE_YELLOW, "not known");
    }
    hone_table_print(c, t);
    hone_say(c, HONE_PLAIN, "\n%zu operators\n", json_array_size(json_object_get(doc, "network")));
}
