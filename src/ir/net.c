/* net.c - looking at a net: names, attributes, the bytes of constants. */
#include "ir/net.h"
#include <assert.h>
#include <math.h>
#include <stdlib.h>

static const struct { const char *name; uint32_t bits; } types[] = {
    { "unknown", 0 }, { "f32", 32 }, { "u8", 8 },   { "i8", 8 },   { "u16", 16 }, { "i16", 16 },  { "i32", 32 },     { "i64", 64 },
    { "string", 0 },  { "bool", 8 }, { "f16", 16 }, { "f64", 64 }, { "u32", 32 }, { "u64", 64 },  { "c64", 64 },     { "c128", 128 },
    { "bf16", 16 },   { "f8_e4m3", 8 }, { "f8_e4m3fnuz", 8 }, { "f8_e5m2", 8 }, { "f8_e5m2fnuz", 8 }, { "u4", 4 }, { "i4", 4 }, { "f4", 4 },
};

const char *hone_net_type_name(int32_t type) { return type > 0 && (size_t)type < HONE_COUNT(types) ? types[type].name : "unknown"; }
uint32_t    hone_net_type_bits(int32_t type) { return type > 0 && (size_t)type < HONE_COUNT(types) ? types[type].bits : 0; }

void hone_net_close(hone_net *net)
{
    if (!net) return;
    if (net->close) net->close(net->self);
    hone_arena a = net->arena;
    *net = (hone_net){ 0 };
    hone_arena_release(&a);
}

/* ---- names ---- */

static uint64_t hash(const char *name)
{
    uint64_t h = 1469598103934665603u; /* FNV-1a */
    for (const char *p = name; *p; p++) h = (h ^ (uint8_t)*p) * 1099511628211u;
    return h ^ h >> 29;
}

static size_t slot_of(const hone_net *net, const char *name)
{
    size_t i = (size_t)hash(name) & (net->values.cap - 1);
    while (net->values.at[i] && strcmp(net->values.at[i]->name, name) != 0) i = (i + 1) & (net->values.cap - 1);
    return i;
}

static bool grow(hone_net *net)
{
    size_t           old_cap = net->values.cap, cap = old_cap ? 2 * old_cap : 256;
    hone_net_value **old = net->values.at, **at = HONE_ARENA_NEW(&net->arena, hone_net_value *, cap);
    if (!at) return false;
    net->values.at = at;
    net->values.cap = cap;
    for (size_t i = 0; i < old_cap; i++)
        if (old[i]) at[slot_of(net, old[i]->name)] = old[i];
    return true;
}

hone_net_value *hone_net_value_get(hone_net *net, const char *name)
{
    if (2 * net->values.n >= net->values.cap && !grow(net)) return NULL;
    size_t i = slot_of(net, name);
    if (net->values.at[i]) return net->values.at[i];
    hone_net_value *v = HONE_ARENA_NEW(&net->arena, hone_net_value, 1);
    if (!v || !(v->name = hone_arena_strdup(&net->arena, name))) return NULL;
    v->n_dims = -1;
    net->values.at[i] = v;
    net->values.n++;
    return v;
}

hone_net_value *hone_net_find(const hone_net *net, const char *name)
{
    hone_net_value *v = net->values.cap ? net->values.at[slot_of(net, name)] : NULL;
    return v && (v->from || v->tensor || v->input || v->sparse) ? v : NULL;
}

int64_t hone_net_opset_of(const hone_net *net, const char *domain)
{
    for (size_t i = 0; i < net->n_opsets; i++)
        if (strcmp(net->opsets[i].domain, domain) == 0) return net->opsets[i].version;
    return 0;
}

/* ---- attributes ---- */

const hone_net_attr *hone_net_attr_find(const hone_net_node *n, const char *name)
{
    for (uint32_t i = 0; i < n->n_attrs; i++)
        if (strcmp(n->attrs[i].name, name) == 0) return &n->attrs[i];
    return NULL;
}

int64_t hone_net_attr_int(const hone_net_node *n, const char *name, int64_t otherwise)
{
    const hone_net_attr *a = hone_net_attr_find(n, name);
    return a && a->kind == HONE_NET_ATTR_INT ? a->i : otherwise;
}

double hone_net_attr_float(const hone_net_node *n, const char *name, double otherwise)
{
    const hone_net_attr *a = hone_net_attr_find(n, name);
    return a && a->kind == HONE_NET_ATTR_FLOAT ? (double)a->f : otherwise;
}

const char *hone_net_attr_str(const hone_net_node *n, const char *name, const char *otherwise)
{
    const hone_net_attr *a = hone_net_attr_find(n, name);
    return a && a->kind == HONE_NET_ATTR_STRING ? (const char *)a->strings[0].ptr : otherwise;
}

bool hone_net_is_op(const hone_net_node *n, const char *op) { return n && !*n->domain && strcmp(n->op, op) == 0; }

hone_net_tensor *hone_net_constant(const hone_net_value *v)
{
    if (!v) return NULL;
    if (v->tensor) return v->input ? NULL : v->tensor;
    if (!hone_net_is_op(v->from, "Constant")) return NULL;
    for (uint32_t i = 0; i < v->from->n_attrs; i++)
        if (v->from->attrs[i].t) return v->from->attrs[i].t;
    return NULL;
}

hone_net_node *hone_net_only_reader(const hone_net_value *v)
{
    return v->n_uses == 1 && v->n_captures == 0 && !v->output ? v->uses[0].node : NULL;
}

uint64_t hone_net_elems(const hone_net_value *v, uint64_t unknown)
{
    uint64_t n = 1;
    if (v->n_dims < 0) return 0;
    for (int32_t d = 0; d < v->n_dims; d++)
        if (!hone_size_mul(n, v->dims[d].n < 0 ? unknown : (uint64_t)v->dims[d].n, &n)) return 0;
    return n;
}

/* ---- bytes ---- */

static hone_code read_made(const hone_net *net, const hone_net_tensor *t, uint64_t off, void *buf, size_t n, hone_err *err)
{
    if (off == 0 && n == t->bytes) return t->make(net, t, buf, err);
    uint8_t *all = malloc(t->bytes ? (size_t)t->bytes : 1);
    if (!all) return HONE_NOMEM(err, "a constant");
    hone_code code = t->make(net, t, all, err);
    if (code == HONE_OK && n) memcpy(buf, all + off, n);
    free(all);
    return code;
}

hone_code hone_net_tensor_read(const hone_net *net, const hone_net_tensor *t, uint64_t off, void *buf, size_t n, hone_err *err)
{
    assert(off <= t->bytes && n <= t->bytes - off);
    if (n == 0) return HONE_OK;
    if (t->data) {
        memcpy(buf, t->data + off, n);
        return HONE_OK;
    }
    if (t->make) return read_made(net, t, off, buf, n, err);
    if (!t->in_file || !net->read) return HONE_FAIL(err, HONE_EINPUT, "open the model from its folder", "a constant lies in a file that is not open");
    return net->read(net->self, t->file, t->offset + off, buf, n, err);
}

/* IEEE 754-2019 3.4; quant/half.h is right of this room. */
static float half(uint16_t h)
{
    int   e = h >> 10 & 31, m = h & 1023;
    float v = e == 31 ? (m ? NAN : INFINITY) : e ? ldexpf((float)(m + 1024), e - 25) : ldexpf((float)m, -24);
    return h & 0x8000 ? -v : v;
}

static float brain(uint16_t h)
{
    uint32_t w = (uint32_t)h << 16;
    float    f;
    memcpy(&f, &w, 4);
    return f;
}

/* Element i of bytes p; the type is one that element_known() accepts. */
static double element(int32_t type, const uint8_t *p, uint64_t i)
{
    uint32_t w;
    uint64_t d;
    float    f;
    double   v;
    switch (type) {
    case HONE_NET_F32: w = hone_le32(p + 4 * i); memcpy(&f, &w, 4); return (double)f;
    case HONE_NET_F64: d = hone_le64(p + 8 * i); memcpy(&v, &d, 8); return v;
    case HONE_NET_F16: return (double)half(hone_le16(p + 2 * i));
    case HONE_NET_BF16: return (double)brain(hone_le16(p + 2 * i));
    case HONE_NET_U8: case HONE_NET_BOOL: return p[i];
    case HONE_NET_I8: return (int8_t)p[i];
    case HONE_NET_U16: return hone_le16(p + 2 * i);
    case HONE_NET_I16: return (int16_t)hone_le16(p + 2 * i);
    case HONE_NET_I32: return (int32_t)hone_le32(p + 4 * i);
    case HONE_NET_U32: return hone_le32(p + 4 * i);
    case HONE_NET_I64: return (double)(int64_t)hone_le64(p + 8 * i);
    case HONE_NET_U64: return (double)hone_le64(p + 8 * i);
    case HONE_NET_U4: return p[i / 2] >> 4 * (i % 2) & 15;
    default: return ((p[i / 2] >> 4 * (i % 2) & 15) ^ 8) - 8; /* I4 */
    }
}

static bool element_known(int32_t type)
{
    return (type >= HONE_NET_F32 && type <= HONE_NET_U64 && type != HONE_NET_STRING) || type == HONE_NET_BF16 || type == HONE_NET_U4 || type == HONE_NET_I4;
}

hone_code hone_net_tensor_floats(const hone_net *net, const hone_net_tensor *t, float **out, hone_err *err)
{
    if (!element_known(t->type)) return HONE_FAIL(err, HONE_EUNSUPPORTED, "", "a constant of type %s is no list of numbers", hone_net_type_name(t->type));
    float   *x = t->n <= SIZE_MAX / 8 ? malloc((size_t)t->n * sizeof *x + 1) : NULL;
    uint8_t *raw = t->bytes < SIZE_MAX ? malloc((size_t)t->bytes + 1) : NULL;
    hone_code code = x && raw ? hone_net_tensor_read(net, t, 0, raw, (size_t)t->bytes, err) : HONE_NOMEM(err, "a constant");
    for (uint64_t i = 0; code == HONE_OK && i < t->n; i++) x[i] = (float)element(t->type, raw, i);
    free(raw);
    if (code == HONE_OK) *out = x;
    else free(x);
    return code;
}

bool hone_net_tensor_ints(const hone_net *net, const hone_net_tensor *t, int64_t *out, size_t max, size_t *n)
{
    uint8_t raw[8];
    bool    wide = t->type == HONE_NET_I64 || t->type == HONE_NET_U64, known = wide || t->type == HONE_NET_I32 || t->type == HONE_NET_U32 ||
                t->type == HONE_NET_U8 || t->type == HONE_NET_I8 || t->type == HONE_NET_BOOL || t->type == HONE_NET_I16 || t->type == HONE_NET_U16;
    if (!known || t->n > max) return false;
    size_t each = hone_net_type_bits(t->type) / 8;
    for (uint64_t i = 0; i < t->n; i++) {
        if (hone_net_tensor_read(net, t, i * each, raw, each, NULL) != HONE_OK) return false;
        out[i] = wide ? (int64_t)hone_le64(raw) : (int64_t)element(t->type, raw, 0);
    }
    *n = (size_t)t->n;
    return true;
}
