/* edit.c - changing a net: uses and makers stay right with every step. */
#include "ir/net/build.h"
#include <assert.h>

bool hone_net_use_add(hone_net *net, hone_net_value *v, hone_net_node *n, uint32_t slot)
{
    if (v->n_uses == v->cap_uses) {
        size_t        cap = v->cap_uses ? 2 * v->cap_uses : 2;
        hone_net_use *uses = HONE_ARENA_NEW(&net->arena, hone_net_use, cap);
        if (!uses) return false;
        if (v->n_uses) memcpy(uses, v->uses, v->n_uses * sizeof *uses);
        v->uses = uses;
        v->cap_uses = cap;
    }
    v->uses[v->n_uses++] = (hone_net_use){ n, slot };
    v->n_captures += slot == HONE_NET_CAPTURE;
    return true;
}

static void use_drop(hone_net_value *v, const hone_net_node *n, uint32_t slot)
{
    for (size_t i = 0; i < v->n_uses; i++) {
        if (v->uses[i].node != n || v->uses[i].slot != slot) continue;
        v->uses[i] = v->uses[--v->n_uses];
        v->n_captures -= slot == HONE_NET_CAPTURE;
        return;
    }
    assert(false && "a use that was never added");
}

const char *hone_net_fresh(hone_net *net, const char *stem)
{
    const char *name = *stem ? stem : "value";
    for (stem = name; name; name = hone_arena_printf(&net->arena, "%s.%u", stem, ++net->serial)) {
        /* Every name of the file was given to hone_net_value_get when it was read: one that is new to it is free. */
        size_t                known = net->values.n;
        const hone_net_value *v = hone_net_value_get(net, name);
        if (!v || net->values.n > known) return v ? v->name : NULL;
    }
    return NULL;
}

hone_net_value *hone_net_value_new(hone_net *net, const char *stem, int32_t type)
{
    const char     *name = hone_net_fresh(net, stem);
    hone_net_value *v = name ? hone_net_value_get(net, name) : NULL;
    if (v) v->type = type;
    return v;
}

static bool name_used(const hone_net *net, const char *name)
{
    for (const hone_net_node *n = net->first; n; n = n->next)
        if (strcmp(n->name, name) == 0) return true;
    return false;
}

static const char *node_name(hone_net *net, const char *stem)
{
    const char *name = stem;
    while (name && name_used(net, name)) name = hone_arena_printf(&net->arena, "%s.%u", stem, ++net->serial);
    return name;
}

void hone_net_node_link(hone_net *net, hone_net_node *n, hone_net_node *before)
{
    n->next = before;
    n->prev = before ? before->prev : net->last;
    if (n->prev) n->prev->next = n;
    else net->first = n;
    if (before) before->prev = n;
    else net->last = n;
    net->n_nodes++;
}

hone_net_node *hone_net_node_new(hone_net *net, hone_net_node *before, const char *op, const char *domain, hone_net_value *const *in, size_t n_in,
                                 hone_net_value *const *out, size_t n_out)
{
    hone_net_node *n = HONE_ARENA_NEW(&net->arena, hone_net_node, 1);
    const char    *stem = n_out && out[0] ? hone_arena_printf(&net->arena, "%s/%s", out[0]->name, op) : op;
    if (!n || !stem || !(n->op = hone_arena_strdup(&net->arena, op)) || !(n->domain = hone_arena_strdup(&net->arena, domain)) ||
        !(n->name = node_name(net, stem)))
        return NULL;
    for (size_t i = 0; i < n_in; i++)
        if (!hone_net_set_in(net, n, (uint32_t)i, in[i])) return NULL;
    for (size_t i = 0; i < n_out; i++)
        if (!hone_net_set_out(net, n, (uint32_t)i, out[i])) return NULL;
    hone_net_node_link(net, n, before);
    return n;
}

void hone_net_node_remove(hone_net *net, hone_net_node *n)
{
    for (uint32_t i = 0; i < n->n_in; i++)
        if (n->in[i]) use_drop(n->in[i], n, i);
    for (size_t i = 0; i < n->n_captures; i++) use_drop(n->captures[i], n, HONE_NET_CAPTURE);
    for (uint32_t i = 0; i < n->n_out; i++)
        if (n->out[i]) n->out[i]->from = NULL;
    n->n_in = n->n_out = 0;
    n->n_captures = 0;
    if (n->prev) n->prev->next = n->next;
    else net->first = n->next;
    if (n->next) n->next->prev = n->prev;
    else net->last = n->prev;
    net->n_nodes--;
}

/* Room for one more in a list of values. */
static bool room(hone_net *net, hone_net_value ***list, uint32_t *n, uint32_t slot)
{
    assert(slot <= *n);
    if (slot < *n) return true;
    hone_net_value **more = HONE_ARENA_NEW(&net->arena, hone_net_value *, (size_t)*n + 1);
    if (!more) return false;
    if (*n) memcpy(more, *list, *n * sizeof *more);
    *list = more;
    (*n)++;
    return true;
}

bool hone_net_set_in(hone_net *net, hone_net_node *n, uint32_t slot, hone_net_value *v)
{
    if (!room(net, &n->in, &n->n_in, slot)) return false;
    if (n->in[slot]) use_drop(n->in[slot], n, slot);
    n->in[slot] = v;
    return !v || hone_net_use_add(net, v, n, slot);
}

bool hone_net_set_out(hone_net *net, hone_net_node *n, uint32_t slot, hone_net_value *v)
{
    if (!room(net, &n->out, &n->n_out, slot)) return false;
    if (n->out[slot] == v) return true;
    if (n->out[slot]) n->out[slot]->from = NULL;
    n->out[slot] = v;
    if (!v) return true;
    assert(!v->from);
    v->from = n;
    v->from_slot = slot;
    return true;
}

void hone_net_trim(hone_net *net)
{
    for (hone_net_node *n = net->first; n; n = n->next)
        while (!n->subgraphs && n->n_in && !n->in[n->n_in - 1]) n->n_in--;
}

bool hone_net_redirect(hone_net *net, hone_net_value *v, hone_net_value *w)
{
    if (v->output || v->n_captures) return false;
    while (v->n_uses) {
        hone_net_use u = v->uses[v->n_uses - 1];
        if (!hone_net_set_in(net, u.node, u.slot, w)) return false;
    }
    return true;
}

/* ---- attributes ---- */

static hone_net_attr *attr_slot(hone_net *net, hone_net_node *n, const char *name)
{
    for (uint32_t i = 0; i < n->n_attrs; i++)
        if (strcmp(n->attrs[i].name, name) == 0) {
            n->attrs[i] = (hone_net_attr){ .name = n->attrs[i].name };
            return &n->attrs[i];
        }
    hone_net_attr *more = HONE_ARENA_NEW(&net->arena, hone_net_attr, (size_t)n->n_attrs + 1);
    char          *copy = hone_arena_strdup(&net->arena, name);
    if (!more || !copy) return NULL;
    if (n->n_attrs) memcpy(more, n->attrs, n->n_attrs * sizeof *more);
    n->attrs = more;
    more[n->n_attrs] = (hone_net_attr){ .name = copy };
    return &more[n->n_attrs++];
}

bool hone_net_attr_set_int(hone_net *net, hone_net_node *n, const char *name, int64_t v)
{
    hone_net_attr *a = attr_slot(net, n, name);
    if (!a) return false;
    a->kind = HONE_NET_ATTR_INT;
    a->i = v;
    return true;
}

bool hone_net_attr_set_float(hone_net *net, hone_net_node *n, const char *name, float v)
{
    hone_net_attr *a = attr_slot(net, n, name);
    if (!a) return false;
    a->kind = HONE_NET_ATTR_FLOAT;
    a->f = v;
    return true;
}

bool hone_net_attr_set_str(hone_net *net, hone_net_node *n, const char *name, const char *v)
{
    hone_bytes    *s = HONE_ARENA_NEW(&net->arena, hone_bytes, 1);
    char          *copy = hone_arena_strdup(&net->arena, v);
    hone_net_attr *a = s && copy ? attr_slot(net, n, name) : NULL;
    if (!a) return false;
    *s = (hone_bytes){ (const uint8_t *)copy, strlen(copy) };
    a->kind = HONE_NET_ATTR_STRING;
    a->strings = s;
    a->n = 1;
    return true;
}

bool hone_net_attr_set_ints(hone_net *net, hone_net_node *n, const char *name, const int64_t *v, size_t count)
{
    int64_t       *copy = HONE_ARENA_NEW(&net->arena, int64_t, count);
    hone_net_attr *a = copy ? attr_slot(net, n, name) : NULL;
    if (!a) return false;
    if (count) memcpy(copy, v, count * sizeof *copy);
    a->kind = HONE_NET_ATTR_INTS;
    a->ints = copy;
    a->n = count;
    return true;
}

bool hone_net_attr_remove(hone_net_node *n, const char *name)
{
    for (uint32_t i = 0; i < n->n_attrs; i++) {
        if (strcmp(n->attrs[i].name, name) != 0) continue;
        memmove(&n->attrs[i], &n->attrs[i + 1], (n->n_attrs - i - 1) * sizeof n->attrs[0]);
        n->n_attrs--;
        return true;
    }
    return false;
}

/* ---- constants, shapes ---- */

bool hone_net_constant_list(hone_net *net, hone_net_value *v)
{
    if (net->n_constants == net->cap_constants) {
        size_t           cap = net->cap_constants ? 2 * net->cap_constants : 64;
        hone_net_value **more = HONE_ARENA_NEW(&net->arena, hone_net_value *, cap);
        if (!more) return false;
        if (net->n_constants) memcpy(more, net->constants, net->n_constants * sizeof *more);
        net->constants = more;
        net->cap_constants = cap;
    }
    net->constants[net->n_constants++] = v;
    return true;
}

hone_net_value *hone_net_constant_new(hone_net *net, const char *stem, int32_t type, const uint64_t *dims, uint32_t n_dims, const void *data)
{
    hone_net_value  *v = hone_net_value_new(net, stem, type);
    hone_net_tensor *t = HONE_ARENA_NEW(&net->arena, hone_net_tensor, 1);
    uint64_t        *kept = HONE_ARENA_NEW(&net->arena, uint64_t, (size_t)n_dims + 1), n = 1, bits;
    hone_net_dim    *shape = HONE_ARENA_NEW(&net->arena, hone_net_dim, (size_t)n_dims + 1);
    if (!v || !t || !kept || !shape) return NULL;
    for (uint32_t d = 0; d < n_dims; d++) {
        if (!hone_size_mul(n, dims[d], &n) || dims[d] > INT64_MAX) return NULL;
        kept[d] = dims[d];
        shape[d] = (hone_net_dim){ .n = (int64_t)dims[d] };
    }
    if (!hone_size_mul(n, hone_net_type_bits(type), &bits) || !hone_size_add(bits, 7, &bits)) return NULL;
    if (net->ir_version < 4) net->ir_version = 4; /* before that, every constant had to be an input too */
    *t = (hone_net_tensor){ .type = type, .n_dims = n_dims, .dims = kept, .n = n, .bytes = bits / 8 };
    if (data) {
        uint8_t *copy = hone_arena_alloc(&net->arena, (size_t)t->bytes);
        if (!copy) return NULL;
        if (t->bytes) memcpy(copy, data, (size_t)t->bytes);
        t->data = copy;
    }
    v->tensor = t;
    v->dims = shape;
    v->n_dims = (int32_t)n_dims;
    return hone_net_constant_list(net, v) ? v : NULL;
}

hone_net_value *hone_net_constant_same(hone_net *net, const char *stem, int32_t type, const uint64_t *dims, uint32_t n_dims, const void *data)
{
    hone_net_value        *v = stem ? hone_net_find(net, stem) : NULL;
    const hone_net_tensor *t = v && !v->input && !v->from ? v->tensor : NULL;
    bool                   same = t && t->data && t->type == type && t->n_dims == n_dims;
    for (uint32_t d = 0; same && d < n_dims; d++) same = t->dims[d] == dims[d];
    if (same && memcmp(t->data, data, (size_t)t->bytes) == 0) return v;
    return stem ? hone_net_constant_new(net, stem, type, dims, n_dims, data) : NULL;
}

bool hone_net_value_shape(hone_net *net, hone_net_value *v, int32_t type, const hone_net_dim *dims, int32_t n_dims)
{
    hone_net_dim *copy = HONE_ARENA_NEW(&net->arena, hone_net_dim, n_dims > 0 ? (size_t)n_dims : 1);
    if (!copy) return false;
    if (n_dims > 0) memcpy(copy, dims, (size_t)n_dims * sizeof *copy);
    v->type = type;
    v->n_dims = n_dims;
    v->dims = copy;
    v->info = (hone_bytes){ 0 };
    return true;
}

bool hone_net_opset_set(hone_net *net, const char *domain, int64_t version)
{
    for (size_t i = 0; i < net->n_opsets; i++)
        if (strcmp(net->opsets[i].domain, domain) == 0) {
            net->opsets[i].version = version;
            return true;
        }
    hone_net_opset *more = HONE_ARENA_NEW(&net->arena, hone_net_opset, net->n_opsets + 1);
    char           *copy = hone_arena_strdup(&net->arena, domain);
    if (!more || !copy) return false;
    if (net->n_opsets) memcpy(more, net->opsets, net->n_opsets * sizeof *more);
    more[net->n_opsets] = (hone_net_opset){ copy, version };
    net->opsets = more;
    net->n_opsets++;
    return true;
}

static bool needed(const hone_net_node *n)
{
    for (uint32_t i = 0; i < n->n_out; i++)
        if (n->out[i] && (n->out[i]->n_uses || n->out[i]->output)) return true;
    return n->n_out == 0;
}

void hone_net_sweep(hone_net *net)
{
    for (hone_net_node *n = net->last, *prev; n; n = prev) { /* users come behind makers: one walk back finds all */
        prev = n->prev;
        if (!needed(n)) hone_net_node_remove(net, n);
    }
    for (size_t i = 0; i < net->n_constants; i++) {
        hone_net_value *v = net->constants[i];
        if (!v || v->n_uses || v->output || v->input) continue;
        v->tensor = NULL;
        net->constants[i] = NULL;
    }
}
