#include "formats/onnx/write.h"
#include "quant/half.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define OPSET 21
#define IR_VERSION 10

void hone_onnx_nomem(hone_onnx_writer *w)
{
    if (w->code == HONE_OK) w->code = HONE_NOMEM(w->err, "the ONNX graph");
}

void *hone_onnx_push(hone_onnx_writer *w, hone_onnx_list *l, void *item)
{
    if (w->code != HONE_OK) return NULL;
    if (!item) {
        hone_onnx_nomem(w);
        return NULL;
    }
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 8;
        void **at = HONE_ARENA_NEW(w->a, void *, cap);
        if (!at) {
            hone_onnx_nomem(w);
            return NULL;
        }
        if (l->n) memcpy(at, l->at, l->n * sizeof *at);
        l->at = at;
        l->cap = cap;
    }
    l->at[l->n++] = item;
    return item;
}

/* The generated structs hold char *, and never write through them. */
static char *str(const char *s)
{
    union { const char *in; char *out; } u = { s };
    return u.out;
}

const char *hone_onnx_name(hone_onnx_writer *w, const char *fmt, ...)
{
    char    text[512];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    char *s = n >= 0 && (size_t)n < sizeof text ? hone_arena_strdup(w->a, text) : NULL;
    if (!s) hone_onnx_nomem(w);
    return s ? s : "";
}

#define NEW(w, type, init) new_message(w, &(const type)init, sizeof(type))
static void *new_message(hone_onnx_writer *w, const void *init, size_t size)
{
    void *p = hone_arena_alloc(w->a, size);
    if (p) memcpy(p, init, size);
    else hone_onnx_nomem(w);
    return p;
}

/* ---- nodes ---- */

static Onnx__NodeProto *last(hone_onnx_writer *w) { return w->code == HONE_OK && w->nodes.n ? w->nodes.at[w->nodes.n - 1] : NULL; }

/* Appends to one of the lists inside a message, which grow by one each time: they are short. */
static bool append(hone_onnx_writer *w, void ***list, size_t *n, void *item)
{
    void **at = item ? HONE_ARENA_NEW(w->a, void *, *n + 1) : NULL;
    if (!at) {
        hone_onnx_nomem(w);
        return false;
    }
    if (*n) memcpy(at, *list, *n * sizeof *at);
    at[(*n)++] = item;
    *list = at;
    return true;
}

const char *hone_onnx_op(hone_onnx_writer *w, const char *op, const char *out, const char *const *in, size_t n_in)
{
    if (!out) out = hone_onnx_name(w, "%s/%s.%u", w->prefix, op, w->serial++);
    Onnx__NodeProto *n = NEW(w, Onnx__NodeProto, ONNX__NODE_PROTO__INIT);
    char           **args = HONE_ARENA_NEW(w->a, char *, n_in + 1), **results = HONE_ARENA_NEW(w->a, char *, 1);
    if (!n || !args || !results) {
        hone_onnx_nomem(w);
        return out;
    }
    for (size_t i = 0; i < n_in; i++) args[i] = str(in[i]);
    while (n_in > 0 && !*args[n_in - 1]) n_in--;
    results[0] = str(out);
    n->op_type = str(op);
    n->name = str(out);
    n->input = args;
    n->n_input = n_in;
    n->output = results;
    n->n_output = 1;
    (void)hone_onnx_push(w, &w->nodes, n);
    return out;
}

void hone_onnx_ms(hone_onnx_writer *w)
{
    if (last(w)) last(w)->domain = str("com.microsoft");
}

const char *hone_onnx_result(hone_onnx_writer *w, const char *out)
{
    Onnx__NodeProto *n = last(w);
    if (!n) return "";
    if (!out) out = hone_onnx_name(w, "%s/%s.%u", w->prefix, n->op_type, w->serial++);
    void **list = (void **)(void *)n->output;
    if (append(w, &list, &n->n_output, str(out))) n->output = (char **)(void *)list;
    return out;
}

static Onnx__AttributeProto *attribute(hone_onnx_writer *w, const char *name, Onnx__AttributeProto__AttributeType type)
{
    Onnx__NodeProto      *n = last(w);
    Onnx__AttributeProto *a = n ? NEW(w, Onnx__AttributeProto, ONNX__ATTRIBUTE_PROTO__INIT) : NULL;
    if (!a) return NULL;
    a->name = str(name);
    a->has_type = true;
    a->type = type;
    void **list = (void **)(void *)n->attribute;
    if (!append(w, &list, &n->n_attribute, a)) return NULL;
    n->attribute = (Onnx__AttributeProto **)(void *)list;
    return a;
}

void hone_onnx_attr_i(hone_onnx_writer *w, const char *name, int64_t v)
{
    Onnx__AttributeProto *a = attribute(w, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);
    if (!a) return;
    a->has_i = true;
    a->i = v;
}

void hone_onnx_attr_f(hone_onnx_writer *w, const char *name, double v)
{
    Onnx__AttributeProto *a = attribute(w, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);
    if (!a) return;
    a->has_f = true;
    a->f = (float)v;
}

static ProtobufCBinaryData bytes_of(hone_onnx_writer *w, const void *p, size_t n)
{
    uint8_t *copy = hone_arena_alloc(w->a, n);
    if (!copy) {
        hone_onnx_nomem(w);
        return (ProtobufCBinaryData){ 0 };
    }
    memcpy(copy, p, n);
    return (ProtobufCBinaryData){ .len = n, .data = copy };
}

void hone_onnx_attr_s(hone_onnx_writer *w, const char *name, const char *v)
{
    Onnx__AttributeProto *a = attribute(w, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING);
    if (!a) return;
    a->has_s = true;
    a->s = bytes_of(w, v, strlen(v));
}

void hone_onnx_attr_is(hone_onnx_writer *w, const char *name, const int64_t *v, size_t n)
{
    Onnx__AttributeProto *a = attribute(w, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);
    int64_t              *copy = a ? HONE_ARENA_NEW(w->a, int64_t, n) : NULL;
    if (!copy) {
        hone_onnx_nomem(w);
        return;
    }
    memcpy(copy, v, n * sizeof *copy);
    a->ints = copy;
    a->n_ints = n;
}

/* ---- tensors ---- */

static Onnx__TensorProto *tensor(hone_onnx_writer *w, const char *name, int32_t type, const uint64_t *dims, size_t n)
{
    Onnx__TensorProto *t = NEW(w, Onnx__TensorProto, ONNX__TENSOR_PROTO__INIT);
    int64_t           *d = HONE_ARENA_NEW(w->a, int64_t, n + 1);
    if (!t || !d) {
        hone_onnx_nomem(w);
        return NULL;
    }
    for (size_t i = 0; i < n; i++) d[i] = (int64_t)dims[i];
    t->name = str(name);
    t->has_data_type = true;
    t->data_type = type;
    t->dims = d;
    t->n_dims = n;
    return hone_onnx_push(w, &w->tensors, t);
}

static bool have_constant(const hone_onnx_writer *w, const char *name)
{
    for (size_t i = 0; i < w->constants.n; i++)
        if (strcmp(((const Onnx__TensorProto *)w->constants.at[i])->name, name) == 0) return true;
    return false;
}

static const char *constant(hone_onnx_writer *w, const char *name, int32_t type, bool scalar, size_t n, const void *data, size_t bytes)
{
    if (have_constant(w, name)) return name;
    Onnx__TensorProto *t = tensor(w, name, type, (const uint64_t[]){ n }, scalar ? 0 : 1);
    if (!t) return name;
    t->has_raw_data = true;
    t->raw_data = bytes_of(w, data, bytes);
    (void)hone_onnx_push(w, &w->constants, t);
    return name;
}

const char *hone_onnx_i64(hone_onnx_writer *w, int64_t v)
{
    uint8_t raw[8];
    hone_put_le64(raw, (uint64_t)v);
    return constant(w, hone_onnx_name(w, "const/i64/%lld", (long long)v), HONE_ONNX_I64, true, 1, raw, sizeof raw);
}

const char *hone_onnx_i64s(hone_onnx_writer *w, const int64_t *v, size_t n)
{
    char    name[256];
    uint8_t raw[16 * 8];
    int     at = snprintf(name, sizeof name, "const/i64/[");
    if (n > 16) {
        w->code = HONE_FAIL(w->err, HONE_EBUG, "", "a list of %zu integers", n);
        return "";
    }
    for (size_t i = 0; i < n; i++) {
        at += snprintf(name + at, sizeof name - (size_t)at, "%s%lld", i ? "," : "", (long long)v[i]);
        hone_put_le64(raw + 8 * i, (uint64_t)v[i]);
    }
    return constant(w, hone_onnx_name(w, "%s]", name), HONE_ONNX_I64, false, n, raw, 8 * n);
}

static size_t put_number(int32_t type, double v, uint8_t *raw)
{
    if (type == HONE_ONNX_F16) {
        hone_put_le16(raw, hone_f16_from_f32((float)v));
        return 2;
    }
    hone_put_le32(raw, hone_f32_bits((float)v));
    return 4;
}

const char *hone_onnx_number(hone_onnx_writer *w, int32_t type, double v)
{
    uint8_t raw[4];
    size_t  n = put_number(type, v, raw);
    return constant(w, hone_onnx_name(w, "const/%s/%.9g", type == HONE_ONNX_F16 ? "f16" : "f32", v), type, true, 1, raw, n);
}

const char *hone_onnx_filled(hone_onnx_writer *w, double v, size_t n)
{
    const char *name = hone_onnx_name(w, "const/%s/%zux%.9g", w->type == HONE_ONNX_F16 ? "f16" : "f32", n, v);
    uint8_t    *raw = hone_arena_alloc(w->a, 4 * n);
    size_t      each = 0;
    if (!raw) {
        hone_onnx_nomem(w);
        return name;
    }
    for (size_t i = 0; i < n; i++) each = put_number(w->type, v, raw + i * each);
    return constant(w, name, w->type, false, n, raw, n * each);
}

const char *hone_onnx_floats(hone_onnx_writer *w, const char *name, const float *v, size_t n)
{
    uint8_t *raw = hone_arena_alloc(w->a, 4 * n);
    if (!raw) {
        hone_onnx_nomem(w);
        return name;
    }
    for (size_t i = 0; i < n; i++) hone_put_le32(raw + 4 * i, hone_f32_bits(v[i]));
    return constant(w, name, HONE_ONNX_F32, false, n, raw, 4 * n);
}

/* ---- operators that are used everywhere ---- */

const char *hone_onnx_cast(hone_onnx_writer *w, const char *x, int32_t type)
{
    const char *y = OP(w, "Cast", NULL, x);
    hone_onnx_attr_i(w, "to", type);
    return y;
}

const char *hone_onnx_reshape(hone_onnx_writer *w, const char *out, const char *x, const int64_t *dims, size_t n)
{
    return OP(w, "Reshape", out, x, hone_onnx_i64s(w, dims, n));
}

const char *hone_onnx_transpose(hone_onnx_writer *w, const char *x, const int64_t *perm, size_t n)
{
    const char *y = OP(w, "Transpose", NULL, x);
    hone_onnx_attr_is(w, "perm", perm, n);
    return y;
}

const char *hone_onnx_unsqueeze(hone_onnx_writer *w, const char *x, int64_t axis) { return OP(w, "Unsqueeze", NULL, x, INTS(w, axis)); }

/* ---- the model around it ---- */

static Onnx__TypeProto *tensor_type(hone_onnx_writer *w, int32_t type, const char *const *dims, size_t n)
{
    Onnx__TypeProto         *p = NEW(w, Onnx__TypeProto, ONNX__TYPE_PROTO__INIT);
    Onnx__TypeProto__Tensor *t = NEW(w, Onnx__TypeProto__Tensor, ONNX__TYPE_PROTO__TENSOR__INIT);
    Onnx__TensorShapeProto  *s = NEW(w, Onnx__TensorShapeProto, ONNX__TENSOR_SHAPE_PROTO__INIT);
    if (!p || !t || !s) return NULL;
    s->dim = HONE_ARENA_NEW(w->a, Onnx__TensorShapeProto__Dimension *, n + 1);
    if (!s->dim) return NULL;
    for (size_t i = 0; i < n; i++) {
        Onnx__TensorShapeProto__Dimension *d = NEW(w, Onnx__TensorShapeProto__Dimension, ONNX__TENSOR_SHAPE_PROTO__DIMENSION__INIT);
        if (!d) return NULL;
        bool number = dims[i][0] >= '0' && dims[i][0] <= '9';
        d->value_case = number ? ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE : ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
        if (number) d->dim_value = strtoll(dims[i], NULL, 10);
        else d->dim_param = str(dims[i]);
        s->dim[s->n_dim++] = d;
    }
    t->has_elem_type = true;
    t->elem_type = type;
    t->shape = s;
    p->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    p->tensor_type = t;
    return p;
}

const char *hone_onnx_port(hone_onnx_writer *w, bool input, const char *name, int32_t type, const char *const *dims, size_t n)
{
    Onnx__ValueInfoProto *v = NEW(w, Onnx__ValueInfoProto, ONNX__VALUE_INFO_PROTO__INIT);
    Onnx__TypeProto      *t = tensor_type(w, type, dims, n);
    if (!v || !t) {
        hone_onnx_nomem(w);
        return name;
    }
    v->name = str(name);
    v->type = t;
    (void)hone_onnx_push(w, input ? &w->inputs : &w->outputs, v);
    return name;
}

Onnx__TensorProto *hone_onnx_external(hone_onnx_writer *w, const char *name, int32_t type, const uint64_t *dims, size_t n)
{
    Onnx__TensorProto *t = tensor(w, name, type, dims, n);
    if (!t) return NULL;
    t->has_data_location = true;
    t->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    return t;
}

void hone_onnx_place(hone_onnx_writer *w, Onnx__TensorProto *t, const char *file, uint64_t offset, uint64_t length)
{
    const char *pairs[3][2] = { { "location", file },
                                { "offset", hone_onnx_name(w, "%llu", (unsigned long long)offset) },
                                { "length", hone_onnx_name(w, "%llu", (unsigned long long)length) } };
    t->external_data = HONE_ARENA_NEW(w->a, Onnx__StringStringEntryProto *, HONE_COUNT(pairs));
    t->n_external_data = 0;
    for (size_t i = 0; t->external_data && i < HONE_COUNT(pairs); i++) {
        Onnx__StringStringEntryProto *e = NEW(w, Onnx__StringStringEntryProto, ONNX__STRING_STRING_ENTRY_PROTO__INIT);
        if (!e) return;
        e->key = str(pairs[i][0]);
        e->value = str(pairs[i][1]);
        t->external_data[t->n_external_data++] = e;
    }
    if (!t->external_data) hone_onnx_nomem(w);
}

static bool needs_ms(const hone_onnx_writer *w)
{
    for (size_t i = 0; i < w->nodes.n; i++) {
        const char *domain = ((const Onnx__NodeProto *)w->nodes.at[i])->domain;
        if (domain && *domain) return true;
    }
    return false;
}

hone_code hone_onnx_pack(hone_onnx_writer *w, const char *graph_name, hone_bytes *out)
{
    if (w->code != HONE_OK) return w->code;
    Onnx__OperatorSetIdProto  sets[2] = { ONNX__OPERATOR_SET_ID_PROTO__INIT, ONNX__OPERATOR_SET_ID_PROTO__INIT };
    Onnx__OperatorSetIdProto *imports[2] = { &sets[0], &sets[1] };
    Onnx__GraphProto          g = ONNX__GRAPH_PROTO__INIT;
    Onnx__ModelProto          m = ONNX__MODEL_PROTO__INIT;
    sets[0].domain = str("");
    sets[0].has_version = true;
    sets[0].version = OPSET;
    sets[1].domain = str("com.microsoft");
    sets[1].has_version = true;
    sets[1].version = 1;
    g.name = str(graph_name);
    g.node = (Onnx__NodeProto **)(void *)w->nodes.at;
    g.n_node = w->nodes.n;
    g.initializer = (Onnx__TensorProto **)(void *)w->tensors.at;
    g.n_initializer = w->tensors.n;
    g.input = (Onnx__ValueInfoProto **)(void *)w->inputs.at;
    g.n_input = w->inputs.n;
    g.output = (Onnx__ValueInfoProto **)(void *)w->outputs.at;
    g.n_output = w->outputs.n;
    m.has_ir_version = true;
    m.ir_version = IR_VERSION;
    m.producer_name = str("hone");
    m.producer_version = str(HONE_VERSION);
    m.opset_import = imports;
    m.n_opset_import = needs_ms(w) ? 2 : 1;
    m.graph = &g;
    size_t   n = onnx__model_proto__get_packed_size(&m);
    uint8_t *p = hone_arena_alloc(w->a, n);
    if (!p) return HONE_NOMEM(w->err, "model.onnx");
    *out = (hone_bytes){ p, onnx__model_proto__pack(&m, p) };
    return HONE_OK;
}
