#include "formats/openvino/ir.h"
#include "base/text.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>

/* Weights begin at a multiple of this in the .bin, so that a mapped file gives aligned loads. */
#define WEIGHT_ALIGN 64u

typedef struct layer {
    const char    *name, *type, *version;
    hone_ov_attr  *attrs, *info;
    size_t         n_attrs, n_info;
    hone_ov_port  *in;
    size_t         n_in;
    hone_ov_shape *out;
    size_t         n_out;
    const uint8_t *bytes;        /* of a constant that is known */
    uint64_t       offset, size; /* of a constant; offset is set by hone_ov_finish */
    bool           constant, later;
    uint32_t       id;           /* number in the file, set by hone_ov_finish; UNSEEN: nothing needs it, it is left out */
} layer;

#define UNSEEN UINT32_MAX
#define BEGUN  (UINT32_MAX - 1)

typedef struct info {
    const char  *name, *value;
    struct info *next, *child, *last;
} info;

struct hone_ov_ir {
    hone_arena *a;
    const char *name;
    layer      *layers; /* [n] */
    size_t      n, cap;
    uint64_t    later;  /* bytes of weights */
    uint32_t   *order;  /* [n_order] the layers of the file */
    size_t      n_order;
    info        root;
    hone_code   trouble;
    hone_err    err; /* of the first trouble */
};

static const struct { const char *attribute, *precision; uint32_t bits; } types[] = {
#define HONE_X(e, attribute, precision, bits) { attribute, precision, bits },
    HONE_OV_TYPES(HONE_X)
#undef HONE_X
};

const char *hone_ov_type_name(hone_ov_type t) { return types[t].attribute; }

hone_ov_ir *hone_ov_new(hone_arena *a, const char *name)
{
    hone_ov_ir *ir = HONE_ARENA_NEW(a, hone_ov_ir, 1);
    if (!ir) return NULL;
    ir->a = a;
    ir->name = hone_arena_strdup(a, name);
    return ir->name ? ir : NULL;
}

static void lost(hone_ov_ir *ir)
{
    if (ir->trouble == HONE_OK) ir->trouble = HONE_NOMEM(&ir->err, "the OpenVINO graph");
}

static const char *copy(hone_ov_ir *ir, const char *s)
{
    char  shown[80];
    char *c = s ? hone_arena_strdup(ir->a, s) : NULL;
    if (s && !c) lost(ir);
    if (c && ir->trouble == HONE_OK && !hone_ov_spells(c))
        ir->trouble = HONE_FAIL(&ir->err, HONE_EBUG, "", "'%s' holds what XML cannot", hone_text_show(c, strlen(c), shown, sizeof shown));
    return c;
}

static hone_ov_attr *copy_attrs(hone_ov_ir *ir, const hone_ov_attr *from, size_t n)
{
    hone_ov_attr *to = HONE_ARENA_NEW(ir->a, hone_ov_attr, n);
    if (!to) lost(ir);
    for (size_t i = 0; to && i < n; i++) to[i] = (hone_ov_attr){ copy(ir, from[i].key), copy(ir, from[i].value) };
    return to;
}

static layer *new_layer(hone_ov_ir *ir)
{
    if (ir->n == ir->cap) {
        size_t cap = ir->cap ? 2 * ir->cap : 256;
        layer *more = HONE_ARENA_NEW(ir->a, layer, cap);
        if (!more) return NULL;
        if (ir->n) memcpy(more, ir->layers, ir->n * sizeof *more);
        ir->layers = more;
        ir->cap = cap;
    }
    return &ir->layers[ir->n++];
}

uint32_t hone_ov_add(hone_ov_ir *ir, const hone_ov_layer *l)
{
    for (size_t i = 0; i < l->n_in && ir->trouble == HONE_OK; i++)
        if (l->in[i].layer >= ir->n || l->in[i].output >= ir->layers[l->in[i].layer].n_out)
            ir->trouble = HONE_FAIL(&ir->err, HONE_EBUG, "", "%s '%s' takes output %" PRIu32 " of layer %" PRIu32 ", which is not there", l->type,
                                    l->name ? l->name : "", l->in[i].output, l->in[i].layer);
    layer *n = ir->trouble == HONE_OK ? new_layer(ir) : NULL;
    if (!n) {
        lost(ir);
        return 0;
    }
    uint32_t number = (uint32_t)(ir->n - 1);
    n->id = UNSEEN;
    n->name = copy(ir, l->name);
    n->type = copy(ir, l->type);
    n->version = copy(ir, l->version);
    n->attrs = copy_attrs(ir, l->attrs, n->n_attrs = l->n_attrs);
    n->info = copy_attrs(ir, l->info, n->n_info = l->n_info);
    n->in = HONE_ARENA_NEW(ir->a, hone_ov_port, n->n_in = l->n_in);
    n->out = HONE_ARENA_NEW(ir->a, hone_ov_shape, n->n_out = l->n_out);
    if (!n->in || !n->out) {
        lost(ir);
        n->n_in = n->n_out = 0;
        return number;
    }
    if (l->n_in) memcpy(n->in, l->in, l->n_in * sizeof *n->in);
    for (size_t i = 0; i < l->n_out; i++) {
        n->out[i] = l->out[i];
        n->out[i].names = copy(ir, l->out[i].names);
    }
    return number;
}

const hone_ov_shape *hone_ov_shape_of(const hone_ov_ir *ir, hone_ov_port p)
{
    static const hone_ov_shape none = { .n_dims = 3 }; /* after trouble: so that what looks at its last dimensions stays inside */
    return p.layer < ir->n && p.output < ir->layers[p.layer].n_out ? &ir->layers[p.layer].out[p.output] : &none;
}

void hone_ov_set_names(hone_ov_ir *ir, hone_ov_port p, const char *names)
{
    if (p.layer < ir->n && p.output < ir->layers[p.layer].n_out) ir->layers[p.layer].out[p.output].names = copy(ir, names);
}

static void put_dims(hone_text *t, const hone_ov_shape *s)
{
    for (uint32_t d = 0; d < s->n_dims; d++) hone_text_addf(t, "%s%" PRId64, d ? "," : "", s->dims[d]);
}

/* "2,?,64": how attributes spell a shape, partly unknown or not. */
static const char *spell_dims(hone_ov_ir *ir, const hone_ov_shape *s)
{
    hone_text t = { 0 };
    for (uint32_t d = 0; d < s->n_dims; d++)
        if (s->dims[d] < 0) hone_text_addf(&t, "%s?", d ? "," : "");
        else hone_text_addf(&t, "%s%" PRId64, d ? "," : "", s->dims[d]);
    const char *c = t.failed ? NULL : hone_arena_strndup(ir->a, t.ptr ? t.ptr : "", t.len);
    hone_text_release(&t);
    if (!c) lost(ir);
    return c ? c : "";
}

hone_ov_port hone_ov_parameter(hone_ov_ir *ir, const char *name, const hone_ov_shape *shape)
{
    hone_ov_shape out = *shape;
    if (!out.names) out.names = name;
    const hone_ov_attr attrs[] = { { "shape", spell_dims(ir, shape) }, { "element_type", types[shape->type].attribute } };
    return (hone_ov_port){ hone_ov_add(ir, &(hone_ov_layer){ .name = name, .type = "Parameter", .version = "opset1", .attrs = attrs,
                                                             .n_attrs = HONE_COUNT(attrs), .out = &out, .n_out = 1 }), 0 };
}

uint32_t hone_ov_result(hone_ov_ir *ir, const char *name, hone_ov_port p)
{
    return hone_ov_add(ir, &(hone_ov_layer){ .name = name, .type = "Result", .version = "opset1", .in = &p, .n_in = 1 });
}

hone_ov_port hone_ov_op(hone_ov_ir *ir, const char *name, const char *type, const char *version, const hone_ov_port *in, size_t n_in,
                        const hone_ov_shape *out, ...)
{
    hone_ov_attr attrs[24];
    size_t       n = 0;
    va_list      ap;
    va_start(ap, out);
    for (const char *key; n < HONE_COUNT(attrs) && (key = va_arg(ap, const char *)) != NULL; n++) {
        attrs[n].key = key;
        attrs[n].value = va_arg(ap, const char *);
    }
    va_end(ap);
    return (hone_ov_port){ hone_ov_add(ir, &(hone_ov_layer){ .name = name, .type = type, .version = version, .attrs = attrs, .n_attrs = n, .in = in,
                                                             .n_in = n_in, .out = out, .n_out = 1 }), 0 };
}

/* Bytes of a shape whose dimensions are all known. */
static bool bytes_of(const hone_ov_shape *s, uint64_t *bytes)
{
    uint64_t bits = types[s->type].bits;
    for (uint32_t d = 0; d < s->n_dims; d++)
        if (s->dims[d] < 0 || !hone_size_mul(bits, (uint64_t)s->dims[d], &bits)) return false;
    *bytes = bits / 8 + (bits % 8 != 0);
    return true;
}

static layer *add_const(hone_ov_ir *ir, const char *name, const hone_ov_shape *shape)
{
    size_t before = ir->n;
    (void)hone_ov_add(ir, &(hone_ov_layer){ .name = name, .type = "Const", .version = "opset1", .out = shape, .n_out = 1 });
    if (ir->n == before) return NULL;
    ir->layers[before].constant = true;
    return &ir->layers[before];
}

hone_ov_port hone_ov_const(hone_ov_ir *ir, const char *name, const hone_ov_shape *shape, const void *bytes, size_t n)
{
    layer   *l = add_const(ir, name, shape);
    uint64_t size;
    if (!l) return (hone_ov_port){ 0, 0 };
    uint8_t *c = hone_arena_alloc(ir->a, n);
    if (!c) lost(ir);
    else if (n) memcpy(c, bytes, n);
    if (shape->type != HONE_OV_STRING && (!bytes_of(shape, &size) || size != n) && ir->trouble == HONE_OK)
        ir->trouble = HONE_FAIL(&ir->err, HONE_EBUG, "", "constant '%s' has %zu bytes, not those of its shape", name ? name : "", n);
    l->bytes = c;
    l->size = n;
    return (hone_ov_port){ (uint32_t)(ir->n - 1), 0 };
}

hone_ov_port hone_ov_i64(hone_ov_ir *ir, const int64_t *values, size_t n)
{
    return hone_ov_const(ir, NULL, &(hone_ov_shape){ .type = HONE_OV_I64, .n_dims = 1, .dims = { (int64_t)n } }, values, n * sizeof *values);
}

hone_ov_port hone_ov_scalar_i64(hone_ov_ir *ir, int64_t v)
{
    return hone_ov_const(ir, NULL, &(hone_ov_shape){ .type = HONE_OV_I64 }, &v, sizeof v);
}

hone_ov_port hone_ov_scalar_i32(hone_ov_ir *ir, int32_t v)
{
    return hone_ov_const(ir, NULL, &(hone_ov_shape){ .type = HONE_OV_I32 }, &v, sizeof v);
}

hone_ov_port hone_ov_scalar_f32(hone_ov_ir *ir, float v)
{
    return hone_ov_const(ir, NULL, &(hone_ov_shape){ .type = HONE_OV_F32 }, &v, sizeof v);
}

hone_ov_port hone_ov_weight(hone_ov_ir *ir, const char *name, const hone_ov_shape *shape)
{
    layer *l = add_const(ir, name, shape);
    if (!l) return (hone_ov_port){ 0, 0 };
    l->later = true;
    if ((!bytes_of(shape, &l->size) || !hone_size_add(ir->later, l->size, &ir->later) || !hone_size_align(ir->later, WEIGHT_ALIGN, &ir->later)) &&
        ir->trouble == HONE_OK)
        ir->trouble = HONE_FAIL(&ir->err, HONE_EUNSUPPORTED, "", "the weights up to '%s' have more bytes than 64 bits can count", name ? name : "");
    return (hone_ov_port){ (uint32_t)(ir->n - 1), 0 };
}

static info *find_info(hone_ov_ir *ir, info *parent, const char *name, size_t len)
{
    for (info *c = parent->child; c; c = c->next)
        if (strlen(c->name) == len && memcmp(c->name, name, len) == 0) return c;
    info *c = HONE_ARENA_NEW(ir->a, info, 1);
    if (c) c->name = hone_arena_strndup(ir->a, name, len);
    if (!c || !c->name) {
        lost(ir);
        return NULL;
    }
    if (parent->last) parent->last->next = c;
    else parent->child = c;
    return parent->last = c;
}

void hone_ov_info(hone_ov_ir *ir, const char *path, const char *value)
{
    info *at = &ir->root;
    for (const char *p = path; at && *p; p += *p == '/') {
        size_t n = strcspn(p, "/");
        at = find_info(ir, at, p, n);
        p += n;
    }
    if (at) at->value = copy(ir, value);
}

/* ---- writing ---- */

bool hone_ov_spells(const char *s)
{
    uint32_t c;
    for (size_t n = strlen(s), k; n; s += k, n -= k) {
        if ((k = hone_utf8_decode(s, n, &c)) == 0 || c == 0xfffe || c == 0xffff) return false;
        if (c < ' ' && c != '\n' && c != '\r' && c != '\t') return false;
    }
    return true;
}

/* Attribute text: what XML keeps for itself, and white space that a reader would turn into blanks, as references (XML 1.0, 3.3.3). */
static void put_escaped(hone_text *t, const char *s)
{
    for (size_t n; *s; s += n) {
        n = strcspn(s, "&<>\"\n\r\t");
        hone_text_add_bytes(t, s, n);
        if (!s[n]) return;
        unsigned char c = (unsigned char)s[n++];
        if (c == '&') hone_text_add(t, "&amp;");
        else if (c == '<') hone_text_add(t, "&lt;");
        else if (c == '>') hone_text_add(t, "&gt;");
        else if (c == '"') hone_text_add(t, "&quot;");
        else hone_text_addf(t, "&#%u;", c);
    }
}

static void put_attr(hone_text *t, const char *key, const char *value)
{
    hone_text_addf(t, " %s=\"", key);
    put_escaped(t, value);
    hone_text_add(t, "\"");
}

static void put_port(hone_text *t, size_t id, const hone_ov_shape *s, bool out)
{
    hone_text_addf(t, "\t\t\t\t<port id=\"%zu\" precision=\"%s\"", id, types[s->type].precision);
    if (out && s->names) put_attr(t, "names", s->names);
    if (s->n_dims == 0) {
        hone_text_add(t, " />\n");
        return;
    }
    hone_text_add(t, ">\n");
    for (uint32_t d = 0; d < s->n_dims; d++) hone_text_addf(t, "\t\t\t\t\t<dim>%" PRId64 "</dim>\n", s->dims[d]);
    hone_text_add(t, "\t\t\t\t</port>\n");
}

static void put_data(hone_text *t, const layer *l)
{
    if (!l->constant && l->n_attrs == 0) return;
    hone_text_add(t, "\t\t\t<data");
    for (size_t i = 0; i < l->n_attrs; i++) put_attr(t, l->attrs[i].key, l->attrs[i].value);
    if (l->constant) {
        hone_text_addf(t, " element_type=\"%s\" shape=\"", types[l->out->type].attribute);
        put_dims(t, l->out);
        hone_text_addf(t, "\" offset=\"%" PRIu64 "\" size=\"%" PRIu64 "\"", l->offset, l->size);
    }
    hone_text_add(t, " />\n");
}

static void put_layer_info(hone_text *t, const layer *l)
{
    if (l->n_info == 0) return;
    hone_text_add(t, "\t\t\t<rt_info>\n");
    for (size_t i = 0; i < l->n_info; i++) {
        hone_text_addf(t, "\t\t\t\t<attribute name=\"%s\" version=\"0\"", l->info[i].key);
        if (l->info[i].value) put_attr(t, "value", l->info[i].value);
        hone_text_add(t, " />\n");
    }
    hone_text_add(t, "\t\t\t</rt_info>\n");
}

static void put_layer(hone_text *t, const hone_ov_ir *ir, const layer *l)
{
    hone_text_addf(t, "\t\t<layer id=\"%" PRIu32 "\"", l->id);
    put_attr(t, "name", l->name);
    put_attr(t, "type", l->type);
    put_attr(t, "version", l->version);
    hone_text_add(t, ">\n");
    put_data(t, l);
    put_layer_info(t, l);
    if (l->n_in) {
        hone_text_add(t, "\t\t\t<input>\n");
        for (size_t i = 0; i < l->n_in; i++) put_port(t, i, hone_ov_shape_of(ir, l->in[i]), false);
        hone_text_add(t, "\t\t\t</input>\n");
    }
    if (l->n_out) {
        hone_text_add(t, "\t\t\t<output>\n");
        for (size_t i = 0; i < l->n_out; i++) put_port(t, l->n_in + i, &l->out[i], true);
        hone_text_add(t, "\t\t\t</output>\n");
    }
    hone_text_add(t, "\t\t</layer>\n");
}

static void put_edges(hone_text *t, const hone_ov_ir *ir)
{
    hone_text_add(t, "\t<edges>\n");
    for (size_t i = 0; i < ir->n_order; i++) {
        const layer *l = &ir->layers[ir->order[i]];
        for (size_t k = 0; k < l->n_in; k++) {
            const layer *from = &ir->layers[l->in[k].layer];
            hone_text_addf(t, "\t\t<edge from-layer=\"%" PRIu32 "\" from-port=\"%zu\" to-layer=\"%" PRIu32 "\" to-port=\"%zu\" />\n", from->id,
                           from->n_in + l->in[k].output, l->id, k);
        }
    }
    hone_text_add(t, "\t</edges>\n");
}

#define MAX_NESTING 8 /* of information: ours is 3 deep */
static void put_info(hone_text *t, const info *at, int depth)
{
    static const char tabs[] = "\t\t\t\t\t\t\t\t\t\t";
    for (const info *c = at->child; c; c = c->next) {
        hone_text_addf(t, "%.*s<%s", depth, tabs, c->name);
        if (c->value) put_attr(t, "value", c->value);
        if (!c->child || depth >= MAX_NESTING) {
            hone_text_add(t, " />\n");
            continue;
        }
        hone_text_add(t, ">\n");
        put_info(t, c, depth + 1);
        hone_text_addf(t, "%.*s</%s>\n", depth, tabs, c->name);
    }
}

/* ---- the order of the file ---- */

/* A layer behind all that it needs, in the order of its inputs. */
static void visit(hone_ov_ir *ir, uint32_t root, hone_ov_port *stack)
{
    size_t depth = 0;
    if (ir->layers[root].id != UNSEEN) return;
    ir->layers[root].id = BEGUN;
    stack[depth++] = (hone_ov_port){ root, 0 }; /* output: the input to look at next */
    while (depth) {
        hone_ov_port *top = &stack[depth - 1];
        layer        *l = &ir->layers[top->layer];
        if (top->output < l->n_in) {
            uint32_t from = l->in[top->output++].layer;
            if (ir->layers[from].id != UNSEEN) continue;
            ir->layers[from].id = BEGUN;
            stack[depth++] = (hone_ov_port){ from, 0 };
            continue;
        }
        l->id = (uint32_t)ir->n_order;
        ir->order[ir->n_order++] = top->layer;
        depth--;
    }
}

static bool is_type(const layer *l, const char *type) { return strcmp(l->type, type) == 0; }

/* The order in which layers were added depends on the order in which the compiler evaluates arguments; this one does not: inputs, then what results and
 * assignments need.  What nothing needs is left out. */
static hone_code number(hone_ov_ir *ir, hone_err *err)
{
    hone_ov_port *stack = HONE_ARENA_NEW(ir->a, hone_ov_port, ir->n);
    ir->order = HONE_ARENA_NEW(ir->a, uint32_t, ir->n);
    if (!stack || !ir->order) return HONE_NOMEM(err, "the OpenVINO graph");
    for (uint32_t i = 0; i < ir->n; i++)
        if (is_type(&ir->layers[i], "Parameter")) visit(ir, i, stack);
    for (uint32_t i = 0; i < ir->n; i++)
        if (is_type(&ir->layers[i], "Result") || is_type(&ir->layers[i], "Assign")) visit(ir, i, stack);
    return HONE_OK;
}

static int by_name(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

static hone_code name_all(hone_ov_ir *ir, hone_err *err)
{
    const char **names = HONE_ARENA_NEW(ir->a, const char *, ir->n);
    if (!names) return HONE_NOMEM(err, "the OpenVINO graph");
    for (size_t i = 0; i < ir->n_order; i++) {
        layer *l = &ir->layers[ir->order[i]];
        if (!l->name) l->name = hone_arena_printf(ir->a, "%s_%" PRIu32, l->type, l->id);
        if (!l->name) return HONE_NOMEM(err, "the OpenVINO graph");
        names[i] = l->name;
    }
    qsort(names, ir->n_order, sizeof *names, by_name);
    for (size_t i = 1; i < ir->n_order; i++)
        if (strcmp(names[i - 1], names[i]) == 0) return HONE_FAIL(err, HONE_EBUG, "", "two layers are called '%s'", names[i]);
    return HONE_OK;
}

/* Known constants one after another, then weights, each at a multiple of WEIGHT_ALIGN.  Nothing wraps: the weights were counted as they came. */
static hone_code place(hone_ov_ir *ir, hone_bytes *bin, uint64_t *total, hone_err *err)
{
    uint64_t known = 0, at;
    for (size_t i = 0; i < ir->n_order; i++) {
        layer *l = &ir->layers[ir->order[i]];
        if (!l->constant || l->later) continue;
        l->offset = known;
        known += l->size;
    }
    at = ir->later ? known + (WEIGHT_ALIGN - known % WEIGHT_ALIGN) % WEIGHT_ALIGN : known;
    if (!hone_size_add(at, ir->later, &(uint64_t){ 0 }))
        return HONE_FAIL(err, HONE_EUNSUPPORTED, "", "the weights have more bytes than 64 bits can count");
    uint8_t *b = hone_arena_alloc(ir->a, (size_t)at);
    if (!b) return HONE_NOMEM(err, "constants");
    *bin = (hone_bytes){ b, (size_t)at };
    *total = at;
    for (size_t i = 0; i < ir->n_order; i++) {
        layer *l = &ir->layers[ir->order[i]];
        if (l->constant && !l->later && l->size) memcpy(b + l->offset, l->bytes, (size_t)l->size);
        if (!l->later) continue;
        l->offset = at;
        *total = at + l->size;
        at = *total + (WEIGHT_ALIGN - *total % WEIGHT_ALIGN) % WEIGHT_ALIGN;
    }
    return HONE_OK;
}

hone_code hone_ov_finish(hone_ov_ir *ir, hone_bytes *xml, hone_bytes *bin, uint64_t *bin_total, hone_err *err)
{
    hone_bytes front = { 0 };
    uint64_t   total = 0;
    hone_text  t = { 0 };
    if (ir->trouble != HONE_OK) {
        if (err) *err = ir->err;
        return ir->trouble;
    }
    HONE_TRY(number(ir, err));
    HONE_TRY(name_all(ir, err));
    HONE_TRY(place(ir, &front, &total, err));
    hone_text_add(&t, "<?xml version=\"1.0\"?>\n<net");
    put_attr(&t, "name", ir->name);
    hone_text_add(&t, " version=\"11\">\n\t<layers>\n");
    for (size_t i = 0; i < ir->n_order; i++) put_layer(&t, ir, &ir->layers[ir->order[i]]);
    hone_text_add(&t, "\t</layers>\n");
    put_edges(&t, ir);
    hone_text_add(&t, "\t<rt_info>\n");
    put_info(&t, &ir->root, 2);
    hone_text_add(&t, "\t</rt_info>\n</net>\n");
    char *text = t.failed ? NULL : hone_arena_strndup(ir->a, t.ptr, t.len);
    size_t len = t.len;
    hone_text_release(&t);
    if (!text) return HONE_NOMEM(err, "the OpenVINO graph");
    *xml = (hone_bytes){ (const uint8_t *)text, len };
    *bin = front;
    *bin_total = total;
    return HONE_OK;
}

uint64_t hone_ov_const_offset(const hone_ov_ir *ir, hone_ov_port p) { return ir->layers[p.layer].offset; }

uint64_t hone_ov_const_bytes(const hone_ov_ir *ir, hone_ov_port p) { return ir->layers[p.layer].size; }
