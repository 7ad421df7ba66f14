#include "flow/graph.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const acts[] = { [HONE_ACT_SILU] = "silu", [HONE_ACT_GELU] = "gelu", [HONE_ACT_GELU_TANH] = "gelu_tanh", [HONE_ACT_RELU] = "relu" };
static const char *const pools[] = { [HONE_POOL_NONE] = "none", [HONE_POOL_MEAN] = "mean", [HONE_POOL_CLS] = "first token", [HONE_POOL_LAST] = "last token" };

static void rope_detail(const hone_graph_rope *r, char *out, size_t cap)
{
    int n = snprintf(out, cap, "table %u", r->id);
    if (n > 0 && r->dim < r->head_dim) n += snprintf(out + n, cap - (size_t)n, ", %u of %u", r->dim, r->head_dim);
    if (n > 0 && r->inv_freq_long) n += snprintf(out + n, cap - (size_t)n, ", another over %u tokens", r->long_from);
    if (n > 0 && r->scale != 1) (void)snprintf(out + n, cap - (size_t)n, ", times %.4g", (double)r->scale);
}

static void attn_detail(const hone_graph_attn *t, char *out, size_t cap)
{
    int n = snprintf(out, cap, "%u heads of %u", t->heads, t->head_dim);
    if (n > 0 && t->kv_heads != t->heads) n += snprintf(out + n, cap - (size_t)n, " over %u", t->kv_heads);
    if (n > 0 && !t->causal) n += snprintf(out + n, cap - (size_t)n, ", both ways");
    if (n > 0 && t->window) n += snprintf(out + n, cap - (size_t)n, ", window %u", t->window);
    if (n > 0 && t->softcap > 0) (void)snprintf(out + n, cap - (size_t)n, ", cap %g", t->softcap);
}

const char *hone_graph_detail(const hone_node *n, char *out, size_t cap)
{
    if (cap) *out = '\0';
    switch (n->op) {
    case HONE_OP_NORM:
        if (n->u.norm.group != (uint64_t)n->dims[n->n_dims - 1])
            (void)snprintf(out, cap, "%s, groups of %u", n->u.norm.kind == HONE_NORM_RMS ? "rms" : "layer", n->u.norm.group);
        else (void)snprintf(out, cap, "%s", n->u.norm.kind == HONE_NORM_RMS ? "rms" : "layer");
        break;
    case HONE_OP_SCALE:
    case HONE_OP_SOFTCAP: (void)snprintf(out, cap, "%.6g", n->u.number); break;
    case HONE_OP_ACT: (void)snprintf(out, cap, "%s", acts[n->u.act]); break;
    case HONE_OP_SLICE: (void)snprintf(out, cap, "from %u", n->u.first); break;
    case HONE_OP_ROPE: rope_detail(&n->u.rope, out, cap); break;
    case HONE_OP_ATTENTION: attn_detail(&n->u.attn, out, cap); break;
    case HONE_OP_EXPERTS:
        (void)snprintf(out, cap, "%u of %u, width %u, %s%s", n->u.moe.used, n->u.moe.experts, n->u.moe.width, acts[n->u.moe.act],
                       n->u.moe.norm_topk ? ", weights sum to 1" : "");
        break;
    case HONE_OP_POOL: (void)snprintf(out, cap, "%s", pools[n->u.pool]); break;
    case HONE_OP_LINEAR: (void)snprintf(out, cap, "%s", n->bias ? "with bias" : ""); break;
    default: break;
    }
    return out;
}

static const char *dim_name(int64_t d, char *out, size_t cap)
{
    if (d == HONE_DIM_BATCH) return "batch";
    if (d == HONE_DIM_SEQ) return "seq";
    if (d == HONE_DIM_TOTAL) return "total";
    (void)snprintf(out, cap, "%" PRId64, d);
    return out;
}

const char *hone_graph_shape(const hone_node *n, char *out, size_t cap)
{
    size_t at = 0;
    char   number[24];
    if (cap) *out = '\0';
    for (uint32_t i = 0; i < n->n_dims && at < cap; i++) {
        int k = snprintf(out + at, cap - at, "%s%s", i ? " x " : "", dim_name(n->dims[i], number, sizeof number));
        at += k > 0 ? (size_t)k : 0;
    }
    return out;
}

/* ---- kinds of layers ---- */

/* Everything that makes two layers differ to a reader: operators, shapes, details, and which nodes of the layer they read. */
static hone_code signature(const hone_graph *g, uint32_t layer, hone_text *out, hone_err *err)
{
    size_t first = 0;
    char   detail[160], shape[96];
    hone_text_clear(out);
    while (first < g->n_nodes && g->nodes[first].layer != (int32_t)layer) first++;
    for (size_t i = first; i < g->n_nodes && g->nodes[i].layer == (int32_t)layer; i++) {
        const hone_node *n = &g->nodes[i];
        hone_text_addf(out, "%s %s %s", hone_op_name(n->op), hone_graph_shape(n, shape, sizeof shape), hone_graph_detail(n, detail, sizeof detail));
        for (uint32_t k = 0; k < n->n_in; k++) hone_text_addf(out, " %lld", n->in[k] >= first ? (long long)(n->in[k] - first) : -1LL);
        hone_text_add(out, "\n");
    }
    return out->failed ? HONE_NOMEM(err, "the graph's text") : HONE_OK;
}

hone_code hone_graph_kinds(const hone_graph *g, hone_arena *a, uint32_t **kinds, uint32_t *n_kinds, hone_err *err)
{
    uint32_t     n_layers = g->model->facts.n_layers;
    const char **seen = HONE_ARENA_NEW(a, const char *, (size_t)n_layers + 1);
    hone_text    s = { 0 };
    hone_code    code = HONE_OK;
    *n_kinds = 0;
    *kinds = HONE_ARENA_NEW(a, uint32_t, (size_t)n_layers + 1);
    if (!seen || !*kinds) return HONE_NOMEM(err, "the layers");
    for (uint32_t i = 0; i < n_layers && code == HONE_OK; i++) {
        uint32_t k = 0;
        code = signature(g, i, &s, err);
        while (code == HONE_OK && k < *n_kinds && strcmp(seen[k], s.ptr) != 0) k++;
        if (code == HONE_OK && k == *n_kinds && !(seen[(*n_kinds)++] = hone_arena_strdup(a, s.ptr))) code = HONE_NOMEM(err, "the layers");
        (*kinds)[i] = k;
    }
    hone_text_release(&s);
    return code;
}

/* ---- the document ---- */

static json_t *weight_json(const hone_weight *w)
{
    if (!w) return json_null();
    json_t *dims = json_array();
    bool    good = dims != NULL;
    for (uint32_t d = 0; good && d < w->n_dims; d++) good = json_array_append_new(dims, json_integer((json_int_t)w->dims[d])) == 0;
    if (!good) {
        json_decref(dims);
        return NULL;
    }
    return json_pack("{s:s,s:o,s:s}", "role", hone_role_name(w->role), "dims", dims, "dtype", hone_dtype_name(w->dtype));
}

static json_t *shape_json(const hone_node *n)
{
    json_t *shape = json_array();
    char    number[24];
    bool    good = shape != NULL;
    for (uint32_t i = 0; good && i < n->n_dims; i++)
        good = json_array_append_new(shape, n->dims[i] < 0 ? json_string(dim_name(n->dims[i], number, sizeof number)) : json_integer(n->dims[i])) == 0;
    if (good) return shape;
    json_decref(shape);
    return NULL;
}

static json_t *node_json(const hone_graph *g, const hone_node *n)
{
    char    detail[160];
    json_t *o = json_object(), *in = json_array();
    bool    good = o && in;
    for (uint32_t i = 0; good && i < n->n_in; i++) good = json_array_append_new(in, json_string(g->nodes[n->in[i]].name)) == 0;
    good = good && hone_json_put(o, "name", json_string(n->name)) && hone_json_put(o, "op", json_string(hone_op_name(n->op))) &&
           hone_json_put(o, "layer", n->layer < 0 ? json_null() : json_integer(n->layer)) && hone_json_put(o, "inputs", json_incref(in)) &&
           hone_json_put(o, "shape", shape_json(n)) && hone_json_put(o, "weight", weight_json(n->weight)) &&
           hone_json_put(o, "bias", json_boolean(n->bias)) && hone_json_put(o, "detail", json_string(hone_graph_detail(n, detail, sizeof detail)));
    json_decref(in);
    if (good) return o;
    json_decref(o);
    return NULL;
}

static bool put_kinds(const hone_graph *g, const uint32_t *kinds, uint32_t n_kinds, json_t *doc)
{
    json_t *list = json_array();
    bool    good = list != NULL;
    for (uint32_t k = 0; good && k < n_kinds; k++) {
        json_t *layers = json_array();
        good = layers && json_array_append_new(list, layers) == 0;
        for (uint32_t i = 0; good && i < g->model->facts.n_layers; i++)
            if (kinds[i] == k) good = json_array_append_new(layers, json_integer(i)) == 0;
    }
    good = good && hone_json_put(doc, "layer_kinds", json_incref(list));
    json_decref(list);
    return good;
}

hone_code hone_graph_document(const hone_graph *g, json_t **out, hone_err *err)
{
    const hone_facts *f = &g->model->facts;
    hone_arena        a = { 0 };
    uint32_t         *kinds, n_kinds;
    json_t           *doc = json_object(), *nodes = json_array();
    hone_code         code = hone_graph_kinds(g, &a, &kinds, &n_kinds, err);
    bool              good = code == HONE_OK && doc && nodes;
    for (size_t i = 0; good && i < g->n_nodes; i++) {
        json_t *n = node_json(g, &g->nodes[i]);
        good = n && json_array_append_new(nodes, n) == 0;
    }
    good = good && hone_json_put(doc, "family", json_string(f->family)) &&
           hone_json_put(doc, "kind", json_string(f->kind == HONE_KIND_DECODER ? "decoder" : "encoder")) &&
           hone_json_put(doc, "layers", json_integer(f->n_layers)) && hone_json_put(doc, "caches", json_integer(g->n_caches)) &&
           hone_json_put(doc, "output", json_string(g->nodes[g->output].name)) &&
           hone_json_put(doc, "pooled", g->pooled == g->output ? json_null() : json_string(g->nodes[g->pooled].name)) &&
           put_kinds(g, kinds, n_kinds, doc) && hone_json_put(doc, "nodes", json_incref(nodes));
    json_decref(nodes);
    hone_arena_release(&a);
    if (good) *out = doc;
    else json_decref(doc);
    if (code != HONE_OK) return code;
    return good ? HONE_OK : HONE_NOMEM(err, "the graph's document");
}
