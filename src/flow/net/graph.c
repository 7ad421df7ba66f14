/* graph.c - the operators of a network, in order, for people and for programs. */
#include "flow/net.h"
#include <stdlib.h>

static json_t *names(hone_net_value *const *v, uint32_t n)
{
    json_t *list = json_array();
    for (uint32_t i = 0; list && i < n; i++)
        if (json_array_append_new(list, v[i] ? json_string(v[i]->name) : json_null()) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static json_t *shape_of(const hone_net_value *v)
{
    json_t *list = v && v->n_dims >= 0 ? json_array() : json_null();
    for (int32_t d = 0; v && list && d < v->n_dims; d++)
        (void)json_array_append_new(list, v->dims[d].n >= 0 ? json_integer(v->dims[d].n) : v->dims[d].name ? json_string(v->dims[d].name) : json_string("?"));
    return list;
}

static json_t *node_json(const hone_net_node *n)
{
    const hone_net_value *out = hone_net_out(n, 0);
    uint64_t              macs, parameters = 0;
    bool                  known = hone_net_macs(n, &macs);
    json_t               *o = json_object();
    for (uint32_t i = 0; i < n->n_in; i++) parameters += n->in[i] && n->in[i]->tensor ? n->in[i]->tensor->n : 0;
    bool good = o && hone_json_put(o, "name", json_string(*n->name ? n->name : out ? out->name : n->op)) && hone_json_put(o, "op", json_string(n->op)) &&
                hone_json_put(o, "domain", json_string(n->domain)) && hone_json_put(o, "inputs", names(n->in, n->n_in)) && hone_json_put(o, "outputs", names(n->out, n->n_out)) &&
                hone_json_put(o, "captures", names(n->captures, (uint32_t)n->n_captures)) && hone_json_put(o, "type", json_string(hone_net_type_name(out ? out->type : 0))) &&
                hone_json_put(o, "shape", shape_of(out)) && hone_json_put(o, "parameters", json_integer((json_int_t)parameters)) &&
                hone_json_put(o, "macs", known ? json_integer((json_int_t)macs) : json_null());
    if (good) return o;
    json_decref(o);
    return NULL;
}

hone_code hone_net_graph(const hone_ctx *ctx, const char *path, json_t **out, hone_err *err)
{
    hone_net net;
    HONE_TRY(hone_net_load(ctx, path, &net, err));
    json_t *list = json_array();
    bool    good = list != NULL;
    for (const hone_net_node *n = net.first; good && n; n = n->next) good = json_array_append_new(list, node_json(n)) == 0;
    hone_net_close(&net);
    if (good) *out = list;
    else json_decref(list);
    return good ? HONE_OK : HONE_NOMEM(err, "the operators");
}
