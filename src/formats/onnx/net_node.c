/* net_node.c - reads NodeProto and AttributeProto, and finds which values of the graph a subgraph takes from outside. */
#include "base/text.h"
#include "formats/onnx/net_parts.h"
#include <stdlib.h>

#define MAX_NESTING 64

/* ---- subgraphs: If, Loop, Scan ---- */

typedef struct scope { /* names made inside; open addressing over pointers, as each name has one value */
    const struct scope    *outer;
    const hone_net_value **at;
    size_t                 n, cap;
} scope;

static size_t scope_slot(const scope *s, const hone_net_value *v)
{
    size_t i = (size_t)(((uintptr_t)v >> 4) * 0x9e3779b97f4a7c15u >> 20) & (s->cap - 1);
    while (s->at[i] && s->at[i] != v) i = (i + 1) & (s->cap - 1);
    return i;
}

static bool scope_has(const scope *s, const hone_net_value *v)
{
    for (; s; s = s->outer)
        if (s->cap && s->at[scope_slot(s, v)]) return true;
    return false;
}

static hone_code scope_add(hone_net_reader *r, scope *s, hone_net_value *v)
{
    if (2 * s->n >= s->cap) {
        scope old = *s;
        s->cap = old.cap ? 2 * old.cap : 32;
        s->at = HONE_ARENA_NEW(r->a, const hone_net_value *, s->cap);
        if (!s->at) return HONE_NOMEM(r->err, "the names in a subgraph");
        for (size_t i = 0; i < old.cap; i++)
            if (old.at[i]) s->at[scope_slot(s, old.at[i])] = old.at[i];
    }
    size_t i = scope_slot(s, v);
    s->n += !s->at[i];
    s->at[i] = v;
    if (!v->from && !v->tensor && !v->input && !v->sparse) v->inner = true;
    return HONE_OK;
}

static hone_code value_of(hone_net_reader *r, const hone_wire *w, const hone_wire_field *f, hone_net_value **out)
{
    const char *name;
    HONE_TRY(hone_wire_text(w, f, r->a, &name, r->err));
    *out = *name ? hone_net_value_get(r->net, name) : NULL;
    return *out || !*name ? HONE_OK : HONE_NOMEM(r->err, "a name");
}

/* A constant that stays bytes: whether these lie in another file. */
static hone_code note_place(hone_net_reader *r, hone_wire w)
{
    hone_wire_field f;
    bool            more;
    for (;;) {
        HONE_TRY(hone_wire_next(&w, &f, &more, "description of a constant", r->err));
        if (!more) return HONE_OK;
        if (f.number == 14 && f.wire == 0 && f.value == 1) r->net->elsewhere = true;
    }
}

/* The name of a message that has it as field `number`: ValueInfoProto 1, TensorProto 8; of a SparseTensorProto that of its values. */
static hone_code add_named(hone_net_reader *r, hone_wire w, uint32_t number, scope *s)
{
    hone_wire_field f;
    hone_net_value *v;
    bool            more;
    for (;;) {
        HONE_TRY(hone_wire_next(&w, &f, &more, "subgraph", r->err));
        if (!more) return HONE_OK;
        if (f.number != number) continue;
        HONE_TRY(value_of(r, &w, &f, &v));
        if (v) HONE_TRY(scope_add(r, s, v));
    }
}

static hone_code add_sparse(hone_net_reader *r, hone_wire w, scope *s)
{
    hone_wire_field f;
    bool            more;
    for (;;) {
        HONE_TRY(hone_wire_next(&w, &f, &more, "subgraph", r->err));
        if (!more) return HONE_OK;
        if (f.number == 1 && f.wire == 2) HONE_TRY(add_named(r, hone_wire_in(&w, &f), 8, s));
    }
}

static hone_code capture(hone_net_reader *r, hone_net_node *n, hone_net_value *v, size_t *cap)
{
    for (size_t i = 0; i < n->n_captures; i++)
        if (n->captures[i] == v) return HONE_OK;
    if (n->n_captures == *cap) {
        size_t           more_cap = *cap ? 2 * *cap : 8;
        hone_net_value **more = HONE_ARENA_NEW(r->a, hone_net_value *, more_cap);
        if (!more) return HONE_NOMEM(r->err, "the names in a subgraph");
        if (n->n_captures) memcpy(more, n->captures, n->n_captures * sizeof *more);
        n->captures = more;
        *cap = more_cap;
    }
    n->captures[n->n_captures++] = v;
    return HONE_OK;
}

typedef struct walk { hone_net_node *node; size_t cap; unsigned depth; } walk;
static hone_code subgraph(hone_net_reader *r, hone_wire w, const scope *outer, walk *k);

static hone_code inner_attribute(hone_net_reader *r, hone_wire w, const scope *s, walk *k)
{
    hone_wire_field f;
    bool            more;
    for (;;) {
        HONE_TRY(hone_wire_next(&w, &f, &more, "attribute", r->err));
        if (!more) return HONE_OK;
        if ((f.number == 6 || f.number == 11) && f.wire == 2) HONE_TRY(subgraph(r, hone_wire_in(&w, &f), s, k));
        if ((f.number == 5 || f.number == 10) && f.wire == 2) HONE_TRY(note_place(r, hone_wire_in(&w, &f)));
    }
}

/* Inputs first: a node does not read what it makes. */
static hone_code inner_node(hone_net_reader *r, hone_wire w, scope *s, walk *k)
{
    hone_wire_field f;
    hone_net_value *v;
    bool            more;
    for (hone_wire again = w;;) {
        HONE_TRY(hone_wire_next(&again, &f, &more, "node of a subgraph", r->err));
        if (!more) break;
        if (f.number == 1) {
            HONE_TRY(value_of(r, &w, &f, &v));
            if (v && !scope_has(s, v)) HONE_TRY(capture(r, k->node, v, &k->cap));
        }
        if (f.number == 5 && f.wire == 2) HONE_TRY(inner_attribute(r, hone_wire_in(&w, &f), s, k));
    }
    for (;;) {
        HONE_TRY(hone_wire_next(&w, &f, &more, "node of a subgraph", r->err));
        if (!more) return HONE_OK;
        if (f.number != 2) continue;
        HONE_TRY(value_of(r, &w, &f, &v));
        if (v) HONE_TRY(scope_add(r, s, v));
    }
}

static hone_code inner_output(hone_net_reader *r, hone_wire w, const scope *s, walk *k)
{
    hone_wire_field f;
    hone_net_value *v;
    bool            more;
    for (;;) {
        HONE_TRY(hone_wire_next(&w, &f, &more, "output of a subgraph", r->err));
        if (!more) return HONE_OK;
        if (f.number != 1) continue;
        HONE_TRY(value_of(r, &w, &f, &v));
        if (v && !scope_has(s, v)) HONE_TRY(capture(r, k->node, v, &k->cap));
    }
}

static hone_code subgraph(hone_net_reader *r, hone_wire w, const scope *outer, walk *k)
{
    scope           s = { .outer = outer };
    hone_wire_field f;
    bool            more;
    if (++k->depth > MAX_NESTING) return HONE_FAIL(r->err, HONE_EUNSUPPORTED, "", "subgraphs are nested more than %d deep", MAX_NESTING);
    for (unsigned round = 0; round < 3; round++) /* what is there from the start; nodes in their order; what goes out */
        for (hone_wire again = w;;) {
            HONE_TRY(hone_wire_next(&again, &f, &more, "subgraph", r->err));
            if (!more) break;
            if (f.wire != 2) continue;
            hone_wire in = hone_wire_in(&w, &f);
            if (round == 0 && (f.number == 5 || f.number == 11)) HONE_TRY(add_named(r, in, f.number == 5 ? 8 : 1, &s));
            if (round == 0 && f.number == 5) HONE_TRY(note_place(r, in));
            if (round == 0 && f.number == 15) HONE_TRY(add_sparse(r, in, &s));
            if (round == 1 && f.number == 1) HONE_TRY(inner_node(r, in, &s, k));
            if (round == 2 && f.number == 12) HONE_TRY(inner_output(r, in, &s, k));
        }
    k->depth--;
    return HONE_OK;
}

/* ---- attributes ---- */

typedef struct lists { hone_net_gather ints, floats, strings; } lists; /* strings: hone_bytes each */

static hone_code push(hone_net_reader *r, hone_net_gather *g, const void *p, size_t n)
{
    if (n > g->cap - g->n) {
        size_t   cap = 2 * g->cap + n;
        uint8_t *more = hone_arena_alloc(r->a, cap);
        if (!more) return HONE_NOMEM(r->err, "an attribute");
        if (g->n) memcpy(more, g->p, g->n);
        g->p = more;
        g->cap = cap;
    }
    memcpy(g->p + g->n, p, n);
    g->n += n;
    return HONE_OK;
}

static float float_of(uint64_t bits)
{
    uint32_t w = (uint32_t)bits;
    float    f;
    memcpy(&f, &w, 4);
    return f;
}

static hone_code attr_ints(hone_net_reader *r, const hone_wire *w, const hone_wire_field *f, lists *l)
{
    if (f->wire == 0) {
        int64_t v = (int64_t)f->value;
        return push(r, &l->ints, &v, sizeof v);
    }
    for (hone_wire in = hone_wire_in(w, f); in.pos < in.end;) {
        uint64_t u;
        if (!hone_wire_varint(&in, &u)) return HONE_FAIL(r->err, HONE_EINPUT, HONE_ONNX_AGAIN, "the numbers of an attribute are broken");
        int64_t v = (int64_t)u;
        HONE_TRY(push(r, &l->ints, &v, sizeof v));
    }
    return HONE_OK;
}

static hone_code attr_floats(hone_net_reader *r, const hone_wire *w, const hone_wire_field *f, lists *l)
{
    hone_bytes b;
    float      v = float_of(f->value);
    if (f->wire == 5) return push(r, &l->floats, &v, sizeof v);
    if (f->wire != 2 || f->len % 4) return HONE_FAIL(r->err, HONE_EINPUT, HONE_ONNX_AGAIN, "the numbers of an attribute are broken");
    HONE_TRY(hone_wire_bytes(w, f->at, f->len, false, r->a, &b, r->err));
    for (size_t i = 0; i < b.len; i += 4) {
        v = float_of(hone_le32(b.ptr + i));
        HONE_TRY(push(r, &l->floats, &v, sizeof v));
    }
    return HONE_OK;
}

static hone_code attr_string(hone_net_reader *r, const hone_wire *w, const hone_wire_field *f, lists *l)
{
    hone_bytes b;
    if (f->wire != 2) return HONE_FAIL(r->err, HONE_EINPUT, HONE_ONNX_AGAIN, "a text of an attribute is broken");
    HONE_TRY(hone_wire_bytes(w, f->at, f->len, true, r->a, &b, r->err));
    return push(r, &l->strings, &b, sizeof b);
}

static hone_code attr_tensor(hone_net_reader *r, const hone_wire *w, const hone_wire_field *f, hone_net_attr *a)
{
    const char *name;
    if (f->wire != 2) return HONE_FAIL(r->err, HONE_EINPUT, HONE_ONNX_AGAIN, "a constant of an attribute is broken");
    if (!(a->t = HONE_ARENA_NEW(r->a, hone_net_tensor, 1))) return HONE_NOMEM(r->err, "an attribute");
    return hone_net_read_tensor(r, hone_wire_in(w, f), &name, a->t);
}

/* AttributeProto.type; files before IR version 2 leave it out: then what is there says it. */
static hone_net_kind kind_of(uint64_t type, unsigned seen)
{
    static const hone_net_kind kinds[] = { HONE_NET_ATTR_KEPT, HONE_NET_ATTR_FLOAT, HONE_NET_ATTR_INT, HONE_NET_ATTR_STRING, HONE_NET_ATTR_TENSOR,
                                           HONE_NET_ATTR_KEPT, HONE_NET_ATTR_FLOATS, HONE_NET_ATTR_INTS, HONE_NET_ATTR_STRINGS };
    if (type) return type < HONE_COUNT(kinds) ? kinds[type] : HONE_NET_ATTR_KEPT;
    return seen & 1u << 2   ? HONE_NET_ATTR_FLOAT
           : seen & 1u << 3 ? HONE_NET_ATTR_INT
           : seen & 1u << 4 ? HONE_NET_ATTR_STRING
           : seen & 1u << 5 ? HONE_NET_ATTR_TENSOR
           : seen & 1u << 7 ? HONE_NET_ATTR_FLOATS
           : seen & 1u << 8 ? HONE_NET_ATTR_INTS
           : seen & 1u << 9 ? HONE_NET_ATTR_STRINGS
                            : HONE_NET_ATTR_KEPT;
}

static hone_code settle(hone_net_reader *r, hone_net_attr *a, const lists *l, uint64_t type, unsigned seen)
{
    a->kind = kind_of(type, seen);
    a->ints = (const int64_t *)(const void *)l->ints.p;
    a->floats = (const float *)(const void *)l->floats.p;
    a->strings = (const hone_bytes *)(const void *)l->strings.p;
    a->n = a->kind == HONE_NET_ATTR_INTS ? l->ints.n / 8 : a->kind == HONE_NET_ATTR_FLOATS ? l->floats.n / 4 : l->strings.n / sizeof(hone_bytes);
    if (a->kind == HONE_NET_ATTR_TENSOR && !a->t) return HONE_FAIL(r->err, HONE_EINPUT, HONE_ONNX_AGAIN, "an attribute has no constant");
    if (a->kind == HONE_NET_ATTR_STRING && a->n == 0) { /* an empty one may be left out */
        hone_bytes empty = { (const uint8_t *)"", 0 }, *s = HONE_ARENA_NEW(r->a, hone_bytes, 1);
        if (!s) return HONE_NOMEM(r->err, "an attribute");
        *s = empty;
        a->strings = s;
        a->n = 1;
    }
    if (a->kind != HONE_NET_ATTR_TENSOR) a->t = NULL;
    if (a->t && a->t->in_file && a->t->file) a->raw = (hone_bytes){ 0 }; /* the file that it names is not there where the net is written */
    return HONE_OK;
}

static hone_code attribute(hone_net_reader *r, hone_wire w, hone_net_attr *a, walk *k)
{
    hone_wire_field f;
    lists           l = { 0 };
    uint64_t        type = 0;
    unsigned        seen = 0;
    bool            more;
    a->name = "";
    HONE_TRY(hone_wire_bytes(&w, w.pos, w.end - w.pos, false, r->a, &a->raw, r->err));
    for (;;) {
        HONE_TRY(hone_wire_next(&w, &f, &more, "attribute", r->err));
        if (!more) break;
        if (f.number < 32) seen |= 1u << f.number;
        switch (f.number) {
        case 1: HONE_TRY(hone_wire_text(&w, &f, r->a, &a->name, r->err)); break;
        case 2: a->f = float_of(f.value); break;
        case 3: a->i = (int64_t)f.value; break;
        case 4: case 9: HONE_TRY(attr_string(r, &w, &f, &l)); break;
        case 5: HONE_TRY(attr_tensor(r, &w, &f, a)); break;
        case 6: case 11:
            if (f.wire != 2) return HONE_FAIL(r->err, HONE_EINPUT, HONE_ONNX_AGAIN, "a subgraph is broken");
            k->node->subgraphs = true;
            HONE_TRY(subgraph(r, hone_wire_in(&w, &f), NULL, k));
            break;
        case 10: if (f.wire == 2) HONE_TRY(note_place(r, hone_wire_in(&w, &f))); break;
        case 7: HONE_TRY(attr_floats(r, &w, &f, &l)); break;
        case 8: HONE_TRY(attr_ints(r, &w, &f, &l)); break;
        case 20: type = f.value; break;
        default: break; /* in raw */
        }
    }
    return settle(r, a, &l, type, seen);
}

/* ---- nodes ---- */

/* The numbers of a Constant that has no tensor (opset 12): as one. */
static hone_code constant_numbers(hone_net_reader *r, hone_net_node *n)
{
    for (uint32_t i = 0; i < n->n_attrs; i++) {
        hone_net_attr *a = &n->attrs[i];
        bool           one = a->kind == HONE_NET_ATTR_INT || a->kind == HONE_NET_ATTR_FLOAT, whole = a->kind == HONE_NET_ATTR_INT || a->kind == HONE_NET_ATTR_INTS;
        bool           known = (strcmp(a->name, "value_int") == 0 && a->kind == HONE_NET_ATTR_INT) || (strcmp(a->name, "value_ints") == 0 && a->kind == HONE_NET_ATTR_INTS) ||
                     (strcmp(a->name, "value_float") == 0 && a->kind == HONE_NET_ATTR_FLOAT) || (strcmp(a->name, "value_floats") == 0 && a->kind == HONE_NET_ATTR_FLOATS);
        if (!known) continue;
        size_t           count = one ? 1 : a->n, each = whole ? 8 : 4;
        uint8_t         *data = HONE_ARENA_NEW(r->a, uint8_t, count * each);
        uint64_t        *dims = HONE_ARENA_NEW(r->a, uint64_t, 1);
        hone_net_tensor *t = HONE_ARENA_NEW(r->a, hone_net_tensor, 1);
        if (!data || !dims || !t) return HONE_NOMEM(r->err, "a constant");
        for (size_t k = 0; k < count; k++) {
            float    x = whole ? 0 : one ? a->f : a->floats[k];
            uint32_t bits;
            memcpy(&bits, &x, 4);
            if (whole) hone_put_le64(data + 8 * k, (uint64_t)(one ? a->i : a->ints[k]));
            else hone_put_le32(data + 4 * k, bits);
        }
        dims[0] = count;
        *t = (hone_net_tensor){ .type = whole ? HONE_NET_I64 : HONE_NET_F32, .n_dims = !one, .dims = dims, .n = count, .bytes = count * each, .data = data };
        a->t = t;
    }
    return HONE_OK;
}

static hone_code link_input(hone_net_reader *r, hone_net_node *n, hone_net_value *v, uint32_t slot)
{
    char shown[96];
    if (!v->from && !v->tensor && !v->input && !v->sparse)
        return HONE_FAIL(r->err, HONE_EINPUT, "it was cut, or its nodes are not in the order of execution: sort them (onnxruntime.transformers.onnx_model, topological_sort)",
                         "a node %s '%s', which nothing before it makes", slot == HONE_NET_CAPTURE ? "has a subgraph that reads" : "reads",
                         hone_text_show(v->name, strlen(v->name), shown, sizeof shown));
    return hone_net_use_add(r->net, v, n, slot) ? HONE_OK : HONE_NOMEM(r->err, "a node");
}

static hone_code link_node(hone_net_reader *r, hone_net_node *n)
{
    char shown[96];
    for (uint32_t i = 0; i < n->n_in; i++)
        if (n->in[i]) HONE_TRY(link_input(r, n, n->in[i], i));
    for (size_t i = 0; i < n->n_captures; i++) HONE_TRY(link_input(r, n, n->captures[i], HONE_NET_CAPTURE));
    for (uint32_t i = 0; i < n->n_out; i++) {
        hone_net_value *v = n->out[i];
        if (!v) continue;
        if (v->from || v->tensor || v->input || v->sparse)
            return HONE_FAIL(r->err, HONE_EINPUT, HONE_ONNX_AGAIN, "value '%s' is made twice", hone_text_show(v->name, strlen(v->name), shown, sizeof shown));
        v->from = n;
        v->from_slot = i;
    }
    hone_net_node_link(r->net, n, NULL);
    return HONE_OK;
}

static hone_code count_node(hone_net_reader *r, hone_wire w, hone_net_node *n)
{
    hone_wire_field f;
    bool            more;
    uint32_t        in = 0, out = 0, attrs = 0;
    for (;;) {
        HONE_TRY(hone_wire_next(&w, &f, &more, "node", r->err));
        if (!more) break;
        in += f.number == 1;
        out += f.number == 2;
        attrs += f.number == 5;
    }
    n->in = HONE_ARENA_NEW(r->a, hone_net_value *, (size_t)in + 1);
    n->out = HONE_ARENA_NEW(r->a, hone_net_value *, (size_t)out + 1);
    n->attrs = HONE_ARENA_NEW(r->a, hone_net_attr, (size_t)attrs + 1);
    return n->in && n->out && n->attrs ? HONE_OK : HONE_NOMEM(r->err, "a node");
}

hone_code hone_net_read_node(hone_net_reader *r, hone_wire w)
{
    hone_net_node  *n = HONE_ARENA_NEW(r->a, hone_net_node, 1);
    walk            k = { .node = n };
    hone_net_gather kept = { 0 };
    hone_wire_field f;
    bool            more;
    if (!n) return HONE_NOMEM(r->err, "a node");
    n->op = n->domain = n->name = "";
    HONE_TRY(count_node(r, w, n));
    for (;;) {
        HONE_TRY(hone_wire_next(&w, &f, &more, "node", r->err));
        if (!more) break;
        switch (f.number) {
        case 1: HONE_TRY(value_of(r, &w, &f, &n->in[n->n_in++])); break;
        case 2: HONE_TRY(value_of(r, &w, &f, &n->out[n->n_out++])); break;
        case 3: HONE_TRY(hone_wire_text(&w, &f, r->a, &n->name, r->err)); break;
        case 4: HONE_TRY(hone_wire_text(&w, &f, r->a, &n->op, r->err)); break;
        case 5:
            if (f.wire != 2) return HONE_FAIL(r->err, HONE_EINPUT, HONE_ONNX_AGAIN, "an attribute is broken");
            HONE_TRY(attribute(r, hone_wire_in(&w, &f), &n->attrs[n->n_attrs++], &k));
            break;
        case 7: HONE_TRY(hone_wire_text(&w, &f, r->a, &n->domain, r->err)); break;
        default: HONE_TRY(hone_net_keep(r, &w, &f, &kept));
        }
    }
    n->kept = hone_net_gathered(&kept);
    if (strcmp(n->domain, "ai.onnx") == 0) n->domain = "";
    if (!*n->op) return HONE_FAIL(r->err, HONE_EINPUT, HONE_ONNX_AGAIN, "a node has no operator");
    if (hone_net_is_op(n, "Constant")) HONE_TRY(constant_numbers(r, n));
    return link_node(r, n);
}
