#include "ir/graph.h"
#include "ir/graph/build.h"
#include <string.h>

/* The largest layer (four norms, q and k norms, fused projections, residual scales) has 27 nodes, what is outside of layers 12. */
#define LAYER_NODES 32
#define OTHER_NODES 16

const char *hone_op_name(hone_op op)
{
    static const char *const names[] = {
#define HONE_X(e, name, n) name,
        HONE_OPS(HONE_X)
#undef HONE_X
    };
    return (unsigned)op < HONE_OP_COUNT ? names[op] : "?";
}

static hone_code fail(hone_graph_builder *b, hone_code code)
{
    if (b->code == HONE_OK) b->code = code;
    return code;
}

hone_node *hone_graph_last(hone_graph_builder *b) { return &b->g->nodes[b->g->n_nodes ? b->g->n_nodes - 1 : 0]; }

const hone_weight *hone_graph_weight(const hone_graph_builder *b, hone_role role, hone_part part)
{
    return hone_model_find(b->m, role, part, hone_role_per_layer(role) ? b->layer : -1);
}

static hone_node *next(hone_graph_builder *b, hone_op op, const char *name)
{
    if (b->code != HONE_OK) return NULL;
    if (b->g->n_nodes == b->room) {
        (void)fail(b, HONE_FAIL(b->err, HONE_EBUG, "", "the graph has more than %zu nodes", b->room));
        return NULL;
    }
    hone_node *n = &b->g->nodes[b->g->n_nodes];
    *n = (hone_node){ .op = op, .layer = b->layer };
    n->name = b->layer < 0 ? hone_arena_strdup(b->a, name) : hone_arena_printf(b->a, "layers.%d.%s", (int)b->layer, name);
    if (!n->name) {
        (void)fail(b, HONE_NOMEM(b->err, "the graph"));
        return NULL;
    }
    b->g->n_nodes++;
    return n;
}

uint32_t hone_graph_input(hone_graph_builder *b, hone_op op, int64_t last)
{
    hone_node *n = next(b, op, hone_op_name(op));
    if (!n) return 0;
    n->n_dims = 2;
    n->dims[0] = HONE_DIM_BATCH;
    n->dims[1] = last;
    return (uint32_t)(n - b->g->nodes);
}

uint32_t hone_graph_add(hone_graph_builder *b, hone_op op, const char *name, uint64_t width, const uint32_t *in, uint32_t n_in)
{
    hone_node *n = next(b, op, name);
    if (!n) return 0;
    const hone_node *x = &b->g->nodes[in[0]];
    n->n_in = n_in;
    n->n_dims = x->n_dims;
    memcpy(n->in, in, n_in * sizeof *in);
    memcpy(n->dims, x->dims, sizeof n->dims);
    if (width) n->dims[n->n_dims - 1] = (int64_t)width;
    return (uint32_t)(n - b->g->nodes);
}

/* The weight that a node cannot do without. */
static const hone_weight *need(hone_graph_builder *b, hone_role role, uint32_t n_dims)
{
    const hone_weight *w = b->code == HONE_OK ? hone_graph_weight(b, role, HONE_PART_WEIGHT) : NULL;
    if (w && w->n_dims >= n_dims) return w;
    if (b->code == HONE_OK) (void)fail(b, HONE_FAIL(b->err, HONE_EBUG, "", "the model has no weight %s in layer %d", hone_role_name(role), (int)b->layer));
    return NULL;
}

uint32_t hone_graph_embed(hone_graph_builder *b, const char *name, hone_role role, uint32_t index)
{
    const hone_weight *w = need(b, role, 2);
    uint32_t           at = w ? hone_graph_add(b, HONE_OP_EMBED, name, 0, &index, 1) : 0;
    if (b->code != HONE_OK) return 0;
    hone_node *n = hone_graph_last(b);
    n->weight = w;
    n->n_dims = 3;
    n->dims[2] = (int64_t)hone_weight_cols(w);
    return at;
}

uint32_t hone_graph_linear(hone_graph_builder *b, const char *name, hone_role role, uint32_t x)
{
    const hone_weight *w = need(b, role, 2);
    uint32_t           at = w ? hone_graph_add(b, HONE_OP_LINEAR, name, hone_weight_rows(w), &x, 1) : 0;
    if (b->code != HONE_OK) return 0;
    hone_node *n = hone_graph_last(b);
    n->weight = w;
    n->bias = hone_graph_weight(b, role, HONE_PART_BIAS);
    return at;
}

uint32_t hone_graph_norm(hone_graph_builder *b, const char *name, hone_role role, uint32_t x, uint32_t group)
{
    const hone_facts  *f = &b->m->facts;
    const hone_weight *w = need(b, role, 1);
    uint32_t           at = w ? hone_graph_add(b, HONE_OP_NORM, name, 0, &x, 1) : 0;
    if (b->code != HONE_OK) return 0;
    hone_node *n = hone_graph_last(b);
    n->weight = w;
    n->bias = hone_graph_weight(b, role, HONE_PART_BIAS);
    n->u.norm.kind = f->norm;
    n->u.norm.eps = f->norm_eps;
    n->u.norm.plus_one = f->norm_plus_one;
    n->u.norm.group = group ? group : (uint32_t)n->dims[n->n_dims - 1];
    return at;
}

uint32_t hone_graph_two(hone_graph_builder *b, hone_op op, const char *name, uint32_t x, uint32_t y)
{
    return hone_graph_add(b, op, name, 0, (const uint32_t[]){ x, y }, 2);
}

static uint32_t with_number(hone_graph_builder *b, hone_op op, const char *name, uint32_t x, double number)
{
    uint32_t at = hone_graph_add(b, op, name, 0, &x, 1);
    if (b->code == HONE_OK) hone_graph_last(b)->u.number = number;
    return at;
}

uint32_t hone_graph_scale(hone_graph_builder *b, const char *name, uint32_t x, double number)
{
    return number == 1 ? x : with_number(b, HONE_OP_SCALE, name, x, number);
}

uint32_t hone_graph_softcap(hone_graph_builder *b, const char *name, uint32_t x, double number)
{
    return number > 0 ? with_number(b, HONE_OP_SOFTCAP, name, x, number) : x;
}

hone_code hone_graph_build(const hone_model *m, hone_arena *a, hone_graph *out, hone_err *err)
{
    const hone_facts  *f = &m->facts;
    hone_graph_builder b = { .m = m, .a = a, .g = out, .layer = -1, .err = err, .room = (size_t)f->n_layers * LAYER_NODES + OTHER_NODES };
    *out = (hone_graph){ .model = m };
    out->nodes = HONE_ARENA_NEW(a, hone_node, b.room);
    out->layers = HONE_ARENA_NEW(a, uint32_t, (size_t)f->n_layers + 1);
    if (!out->nodes || !out->layers) return HONE_NOMEM(err, "the graph");
    if (f->kind == HONE_KIND_ENCODER) hone_graph_encoder(&b);
    else hone_graph_decoder(&b);
    return b.code;
}
