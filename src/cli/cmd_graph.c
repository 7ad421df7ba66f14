/* cmd_graph.c - hone graph: what one pass over the tokens computes, as a table, a document or a picture. */
#include "base/file.h"
#include "cli/cli.h"
#include "cli/net.h"
#include "flow/convert.h"
#include "flow/graph.h"
#include "flow/net.h"
#include <string.h>

static const hone_opt opts[] = {
    { "svg", 0, HONE_OPT_TEXT, "FILE", NULL, "draw it" },
    { "all", 0, HONE_OPT_FLAG, NULL, NULL, "show every layer, not one of each kind" },
};

static hone_code draw(const hone_graph *g, const char *path, hone_err *err)
{
    hone_text t = { 0 };
    hone_code code = hone_graph_svg(g, &t, err);
    if (code == HONE_OK) code = hone_out_put(path, t.ptr, t.len, err);
    hone_text_release(&t);
    return code;
}

static hone_code run(hone_cli *c, json_t *doc, hone_err *err)
{
    const char *svg = hone_cli_text(c, "svg", NULL);
    hone_model  m = { 0 };
    hone_graph  g;
    json_t     *found = NULL;
    if (hone_net_is(c->args[0])) return hone_cli_net_graph(c, doc, err);
    hone_code   code = hone_model_open(&c->ctx, c->args[0], &m, err);
    if (code == HONE_OK) code = hone_graph_build(&m, &c->arena, &g, err);
    if (code == HONE_OK) code = hone_graph_document(&g, &found, err);
    if (code == HONE_OK && svg) code = draw(&g, svg, err);
    if (code == HONE_OK && (json_object_update(doc, found) != 0 || !hone_json_put(doc, "source", json_string(c->args[0])) ||
                            !hone_json_put(doc, "svg", svg ? json_string(svg) : json_null())))
        code = HONE_NOMEM(err, "the graph");
    json_decref(found);
    hone_model_close(&m);
    return code;
}

/* "layers.3.attn.q" is "attn.q" in the table of layer 3. */
static const char *short_name(const char *name, json_int_t layer)
{
    char own[40];
    int  n = snprintf(own, sizeof own, "layers.%lld.", (long long)layer);
    return layer >= 0 && strncmp(name, own, (size_t)n) == 0 ? name + n : name;
}

/* "256 x 1024 bf16, with bias" */
static void how_cell(hone_table *t, size_t row, const json_t *n)
{
    const json_t *w = json_object_get(n, "weight"), *dims = json_object_get(w, "dims");
    const char   *detail = hone_doc_str(n, "detail", "");
    char          text[96] = "";
    size_t        i, at = 0;
    json_t       *d;
    json_array_foreach((json_t *)(uintptr_t)dims, i, d) {
        int k = snprintf(text + at, sizeof text - at, "%s%lld", i ? " x " : "", (long long)json_integer_value(d));
        if (k < 0 || (at += (size_t)k) >= sizeof text) break;
    }
    if (json_is_object(w) && json_array_size(dims) > 1)
        hone_table_cell(t, row, 4, HONE_DIM, "%s %s%s%s", text, hone_doc_str(w, "dtype", ""), *detail ? ", " : "", detail);
    else hone_table_cell(t, row, 4, HONE_DIM, "%s", detail);
}

static void shape_cell(hone_table *t, size_t row, const json_t *shape)
{
    char    text[96] = "";
    size_t  i, at = 0;
    json_t *d;
    json_array_foreach(shape, i, d) {
        int n = json_is_string(d) ? snprintf(text + at, sizeof text - at, "%s%s", i ? " x " : "", json_string_value(d))
                                  : snprintf(text + at, sizeof text - at, "%s%lld", i ? " x " : "", (long long)json_integer_value(d));
        if (n < 0 || (at += (size_t)n) >= sizeof text) break;
    }
    hone_table_cell(t, row, 2, HONE_DIM, "%s", text);
}

/* Nodes begin .. end of one layer, or of none (-1). */
static void print_nodes(hone_cli *c, const json_t *nodes, json_int_t layer, size_t begin, size_t end)
{
    static const char *const titles[] = { "operator", "kind", "shape", "reads", "how" };
    hone_table              *t = hone_table_new(c, 5);
    size_t                   row = 0;
    for (size_t i = 0; i < 5; i++) hone_table_col(t, i, titles[i], "", false);
    for (size_t i = begin; i < end; i++) {
        const json_t *n = json_array_get(nodes, i), *in = json_object_get(n, "inputs"), *of = json_object_get(n, "layer"), *name;
        char          reads[128] = "";
        size_t        k, at = 0;
        if (layer < 0 ? !json_is_null(of) : json_integer_value(of) != layer || json_is_null(of)) continue;
        json_array_foreach((json_t *)(uintptr_t)in, k, name) {
            int w = snprintf(reads + at, sizeof reads - at, "%s%s", k ? ", " : "", short_name(json_string_value(name), layer));
            if (w < 0 || (at += (size_t)w) >= sizeof reads) break;
        }
        hone_table_cell(t, row, 0, HONE_BOLD, "%s", short_name(hone_doc_str(n, "name", ""), layer));
        hone_table_cell(t, row, 1, HONE_CYAN, "%s", hone_doc_str(n, "op", ""));
        shape_cell(t, row, json_object_get(n, "shape"));
        hone_table_cell(t, row, 3, HONE_PLAIN, "%s", reads);
        how_cell(t, row, n);
        row++;
    }
    hone_table_print(c, t);
}

static void print_layers(hone_cli *c, const json_t *doc, const json_t *nodes)
{
    size_t  i, k, n = json_array_size(nodes);
    json_t *kind, *layer;
    json_array_foreach(json_object_get(doc, "layer_kinds"), i, kind) {
        size_t members = json_array_size(kind);
        json_array_foreach(kind, k, layer) {
            json_int_t at = json_integer_value(layer);
            if (k > 0 && !hone_cli_has(c, "all")) break;
            if (hone_cli_has(c, "all")) hone_say_head(c, "Layer %lld", (long long)at);
            else if (members == 1) hone_say_head(c, "Layer %lld", (long long)at);
            else hone_say_head(c, "Layer %lld, and %zu more like it", (long long)at, members - 1);
            print_nodes(c, nodes, at, 0, n);
        }
    }
}

static void print(hone_cli *c, const json_t *doc)
{
    if (hone_cli_net_doc(doc)) {
        hone_cli_net_graph_print(c, doc);
        return;
    }
    const json_t *nodes = json_object_get(doc, "nodes");
    size_t        n = json_array_size(nodes), tail = n;
    while (tail > 0 && json_is_null(json_object_get(json_array_get(nodes, tail - 1), "layer"))) tail--;
    hone_say_head(c, "Before the layers");
    print_nodes(c, nodes, -1, 0, tail);
    print_layers(c, doc, nodes);
    if (tail < n) hone_say_head(c, "Behind the layers");
    if (tail < n) print_nodes(c, nodes, -1, tail, n);
    double n_layers = hone_doc_num(doc, "layers", 0);
    hone_say(c, HONE_PLAIN, "\n%zu operators in %.0f layer%s of %zu kind%s; result: %s\n", n, n_layers, n_layers == 1 ? "" : "s",
             json_array_size(json_object_get(doc, "layer_kinds")), json_array_size(json_object_get(doc, "layer_kinds")) == 1 ? "" : "s",
             hone_doc_str(doc, "pooled", hone_doc_str(doc, "output", "")));
    const char *svg = hone_doc_str(doc, "svg", NULL);
    if (svg) hone_say_field(c, "picture", "%s", svg);
}

const hone_cmd hone_cmd_graph = {
    .name = "graph",
    .summary = "show what the model computes, operator by operator",
    .args = "SRC",
    .about = "Builds the operator graph that the ONNX and OpenVINO outputs are written from and that the MLX runtime executes: from the facts of config.json and the "
             "weights that are there, without reading a weight's bytes. Layers that compute the same are shown once.",
    .example = "hone graph examples/models/tale-8m\nhone graph examples/models/tale-8m --svg graph.svg",
    .opts = opts, .n_opts = HONE_COUNT(opts), .min_args = 1, .max_args = 1, .run = run, .print = print,
};
