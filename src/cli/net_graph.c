/* net_graph.c - hone graph of an ONNX model that is no language model. */
#include "cli/net.h"
#include "flow/net.h"
#include <string.h>

hone_code hone_cli_net_graph(hone_cli *c, json_t *doc, hone_err *err)
{
    json_t *nodes = NULL;
    if (hone_cli_has(c, "svg"))
        return HONE_FAIL(err, HONE_EUNSUPPORTED, "leave --svg out: the table and --json have every operator", "pictures are drawn of language models, whose layers are alike");
    HONE_TRY(hone_net_graph(&c->ctx, c->args[0], &nodes, err));
    return hone_json_put(doc, "source", json_string(c->args[0])) && hone_json_put(doc, "network", nodes) ? HONE_OK : HONE_NOMEM(err, "the graph");
}

static void shape_cell(hone_table *t, size_t row, const json_t *shape)
{
    char    text[160] = "";
    size_t  i, at = 0;
    json_t *x;
    json_array_foreach((json_t *)(uintptr_t)shape, i, x) {
        int n = json_is_integer(x) ? snprintf(text + at, sizeof text - at, "%s%lld", i ? " x " : "", (long long)json_integer_value(x))
                                   : snprintf(text + at, sizeof text - at, "%s%s", i ? " x " : "", json_is_string(x) ? json_string_value(x) : "-");
        if (n < 0 || (at += (size_t)n) >= sizeof text) break;
    }
    hone_table_cell(t, row, 2, HONE_DIM, "%s", text);
}

/* As many names as `room` columns hold, the first of them anyway, and how many more there are. */
static void reads_cell(hone_table *t, size_t row, const json_t *inputs, size_t room)
{
    enum { MORE = 10 }; /* ", 12 more" */
    char    text[160] = "";
    size_t  i, at = 0, count = json_array_size(inputs);
    json_t *x;
    json_array_foreach((json_t *)(uintptr_t)inputs, i, x) {
        const char *name = json_is_string(x) ? json_string_value(x) : "-";
        size_t      needs = at + (i ? 2 : 0) + hone_display_width(name) + (i + 1 < count ? MORE : 0);
        if (i && (needs > room || at + strlen(name) + 2 + MORE >= sizeof text)) {
            (void)snprintf(text + at, sizeof text - at, ", %zu more", count - i);
            break;
        }
        int n = snprintf(text + at, sizeof text - at, "%s%s", i ? ", " : "", name);
        if (n < 0 || (at += (size_t)n) >= sizeof text) break;
    }
    hone_table_cell(t, row, 3, HONE_PLAIN, "%s", text);
}

/* What a line has left for the names that an operator reads, beside its own. */
static size_t room_for_reads(const hone_cli *c, const json_t *network)
{
    enum { LEAST = 30, GAPS = 4 };
    size_t  i, widest = 0, width = c->width > 0 ? (size_t)c->width : 0;
    json_t *n;
    json_array_foreach((json_t *)(uintptr_t)network, i, n) {
        size_t w = hone_display_width(hone_doc_str(n, "name", ""));
        if (w > widest) widest = w;
    }
    return width > widest + GAPS + LEAST ? width - widest - GAPS : LEAST;
}

void hone_cli_net_graph_print(hone_cli *c, const json_t *doc)
{
    static const char *const titles[] = { "operator", "kind", "shape", "reads", "MACs" };
    hone_table              *t = hone_table_new(c, 5);
    size_t                   i, room = room_for_reads(c, json_object_get(doc, "network"));
    json_t                  *n;
    for (size_t k = 0; k < 5; k++) hone_table_col(t, k, titles[k], "", k == 4);
    json_array_foreach(json_object_get(doc, "network"), i, n) {
        hone_table_cell(t, i, 0, HONE_BOLD, "%s", hone_doc_str(n, "name", ""));
        hone_table_cell(t, i, 1, HONE_CYAN, "%s", hone_doc_str(n, "op", ""));
        shape_cell(t, i, json_object_get(n, "shape"));
        reads_cell(t, i, json_object_get(n, "inputs"), room);
        if (hone_doc_has_num(n, "macs")) hone_table_cell(t, i, 4, HONE_PLAIN, "%.0f", hone_doc_num(n, "macs", 0));
        else hone_table_cell(t, i, 4, HONE_YELLOW, "not known");
    }
    hone_table_fold(t);
    hone_table_print(c, t);
    hone_say(c, HONE_PLAIN, "\n%zu operators\n", json_array_size(json_object_get(doc, "network")));
}
