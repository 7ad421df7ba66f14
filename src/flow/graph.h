/* graph.h - the operator graph for people and for programs: `hone graph SRC`. */
#ifndef HONE_FLOW_GRAPH_H
#define HONE_FLOW_GRAPH_H
#include "base/json.h"
#include "base/text.h"
#include "ir/graph.h"

/* Layers that compute the same in the same shapes are one kind: kinds[i] is the kind of layer i, numbered in order of appearance.
 * kinds: [n_layers], in the arena. */
hone_code hone_graph_kinds(const hone_graph *g, hone_arena *a, uint32_t **kinds, uint32_t *n_kinds, hone_err *err);
/* What a node does beyond its operator, in a few words: "rms, groups of 64", "8 heads of 64 over 2, window 512".  Returns out. */
const char *hone_graph_detail(const hone_node *n, char *out, size_t cap);
/* "batch x seq x 2048".  Returns out. */
const char *hone_graph_shape(const hone_node *n, char *out, size_t cap);

/* The document of docs/schema/graph.json, less schema and ok; owned by the caller. */
hone_code hone_graph_document(const hone_graph *g, json_t **out, hone_err *err);
/* One picture: what comes before the layers, one layer of each kind, what comes behind them.  A self-contained SVG, light or dark as the reader's setting. */
hone_code hone_graph_svg(const hone_graph *g, hone_text *out, hone_err *err);
#endif
