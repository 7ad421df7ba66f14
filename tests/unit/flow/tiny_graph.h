/* tiny_graph.h - the operator graph of a checkpoint of tests/golden/tiny. */
#ifndef HONE_TEST_FLOW_TINY_GRAPH_H
#define HONE_TEST_FLOW_TINY_GRAPH_H
#include "flow/convert.h"
#include "ir/graph.h"

typedef struct tiny_graph {
    hone_model m;
    hone_arena a;
    hone_graph g;
} tiny_graph;

/* A failure is a failed test. */
void tiny_graph_open(tiny_graph *t, const char *family);
void tiny_graph_close(tiny_graph *t);
#endif
