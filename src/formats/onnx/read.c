/* read.c - reads the wire format of a ModelProto directly: the writer's library descends into whatever it finds, as deep as a file says, and
 * copies every tensor; this goes four known levels down and borrows.  Source: protobuf.dev/programming-guides/encoding, onnx/onnx.proto. */
#include "base/text.h"
#include "formats/onnx.h"
#include <stdio.h>
#include <stdlib.h>

static const char AGAIN[] = "it is no ONNX model, or it was cut: convert or download it again";

#define MAX_ITEMS (1u << 20) /* nodes, tensors: far above any model, far below what would fill memory from a small file */

/* ---- the wire ---- */

typedef struct field {
    uint32_t   number, wire; /* wire: 0 varint, 1 eight bytes, 2 bytes, 5 four bytes */
    uint64_t   value;
    hone_bytes bytes;
} field;

static bool varint(hone_bytes *b, uint64_t *out)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < 10 && i < b->len; i++) {
        v |= (uint64_t)(b->ptr[i] & 0x7f) << (7 * i);
        if (b->ptr[i] & 0x80) continue;
        b->ptr += i + 1;
        b->len -= i + 1;
        *out = v;
        return true;
    }
    return false;
}

/* The next field of the message in *b; false at its end and when it is broken (then b->len is not 0). */
static bool next(hone_bytes *b, field *f)
{
    uint64_t   key;
    hone_bytes left = *b;
    if (b->len == 0 || !varint(&left, &key)) return false;
    *f = (field){ .number = (uint32_t)(key >> 3 & 0x1fffffff), .wire = (uint32_t)(key & 7) };
    uint64_t n = f->wire == 1 ? 8 : f->wire == 5 ? 4 : 0;
    if (f->wire == 0 && !varint(&left, &f->value)) return false;
    if (f->wire == 2 && !varint(&left, &n)) return false;
    if (f->wire == 3 || f->wire == 4 || f->wire > 5 || key >> 3 == 0 || n > left.len) return false;
    f->bytes = (hone_bytes){ left.ptr, (size_t)n };
    *b = (hone_bytes){ left.ptr + n, left.len - (size_t)n };
    return true;
}

#define BROKEN(err, what, b) HONE_FAIL(err, HONE_EINPUT, AGAIN, "the %s is broken, %zu bytes before its end", what, (b).len)

/* ---- names ---- */

typedef struct names { /* open addressing; entries are borrowed */
    const char **at;
    size_t       n, cap;
} names;

static size_t slot(const names *s, const char *name)
{
    uint64_t h = 1469598103934665603u; /* FNV-1a */
    for (const char *p = name; *p; p++) h = (h ^ (uint8_t)*p) * 1099511628211u;
    size_t i = (size_t)h & (s->cap - 1);
    while (s->at[i] && strcmp(s->at[i], name) != 0) i = (i + 1) & (s->cap - 1);
    return i;
}

static bool names_have(const names *s, const char *name) { return s->cap && s->at[slot(s, name)]; }

static bool names_add(names *s, const char *name)
{
    if (2 * s->n >= s->cap) {
        names old = *s;
        s->cap = old.cap ? 2 * old.cap : 256;
        s->at = calloc(s->cap, sizeof *s->at);
        if (!s->at) {
            *s = old;
            return false;
        }
        for (size_t i = 0; i < old.cap; i++)
            if (old.at[i]) s->at[slot(s, old.at[i])] = old.at[i];
        free(old.at);
    }
    size_t i = slot(s, name);
    s->n += !s->at[i];
    s->at[i] = name;
    return true;
}

typedef struct reader {
    hone_arena     *a;
    hone_onnx_file *out;
    names           known;
    hone_err       *err;
    bool            no_memory;
} reader;

/* A string of the file; NULL when it is none, or when memory is gone (then that is what is said in the end). */
static const char *text(reader *r, const field *f)
{
    if (f->wire != 2 || memchr(f->bytes.ptr, 0, f->bytes.len)) return NULL;
    const char *s = hone_arena_strndup(r->a, (const char *)f->bytes.ptr, f->bytes.len);
    if (!s) r->no_memory = true;
    return s;
}

/* ---- messages ---- */

uint32_t hone_onnx_type_bits(int32_t type)
{
    static const uint8_t bits[] = { 0, 32, 8, 8, 16, 16, 32, 64, 0, 8, 16, 64, 32, 64, 64, 128, 16, 8, 8, 8, 8, 4, 4, 4 };
    return type >= 0 && (size_t)type < HONE_COUNT(bits) ? bits[type] : 0;
}

static hone_code number_of(const char *s, const char *what, uint64_t *out, hone_err *err)
{
    char *end = NULL;
    if (s && *s >= '0' && *s <= '9' && strlen(s) <= 19) *out = strtoull(s, &end, 10);
    if (end && !*end) return HONE_OK;
    return HONE_FAIL(err, HONE_EINPUT, AGAIN, "the %s of a tensor's external data is no number", what);
}

static hone_code read_external(reader *r, hone_bytes b, hone_onnx_tensor *t)
{
    const char *key = "", *value = "";
    field       f;
    while (next(&b, &f)) {
        if (f.number == 1) key = text(r, &f);
        if (f.number == 2) value = text(r, &f);
        if (!key || !value) return HONE_FAIL(r->err, HONE_EINPUT, AGAIN, "a tensor's external data is told in no text");
    }
    if (b.len) return BROKEN(r->err, "place of external data", b);
    if (strcmp(key, "location") == 0) t->location = value;
    if (strcmp(key, "offset") == 0) return number_of(value, "offset", &t->offset, r->err);
    if (strcmp(key, "length") == 0) return number_of(value, "length", &t->length, r->err);
    return HONE_OK;
}

static hone_code add_dim(hone_onnx_tensor *t, uint64_t v, hone_err *err)
{
    if (t->n_dims == HONE_MAX_DIMS) return HONE_FAIL(err, HONE_EINPUT, "convert the checkpoint that it was made from", "a tensor has more than %d dimensions", HONE_MAX_DIMS);
    if (v > INT64_MAX) return HONE_FAIL(err, HONE_EINPUT, AGAIN, "a dimension of a tensor is negative");
    t->dims[t->n_dims++] = v;
    return HONE_OK;
}

static hone_code check_tensor(const hone_onnx_tensor *t, bool external, bool raw, hone_err *err)
{
    char     shown[96];
    uint64_t n = 1, bits = hone_onnx_type_bits(t->type);
    bool     fits = true;
    (void)hone_text_show(t->name ? t->name : "", t->name ? strlen(t->name) : 0, shown, sizeof shown);
    if (!t->name || !*t->name) return HONE_FAIL(err, HONE_EINPUT, AGAIN, "a tensor has no name");
    for (uint32_t d = 0; d < t->n_dims; d++) fits = fits && hone_size_mul(n, t->dims[d], &n);
    fits = fits && hone_size_mul(n, bits, &n) && hone_size_add(n, 7, &n);
    if (!fits) return HONE_FAIL(err, HONE_EINPUT, AGAIN, "the shape of tensor '%s' is larger than any memory", shown);
    if (external && !t->location) return HONE_FAIL(err, HONE_EINPUT, AGAIN, "tensor '%s' lies in another file, which is not named", shown);
    uint64_t have = external ? t->length : t->data.len;
    if ((external || raw) && bits && have != n / 8)
        return HONE_FAIL(err, HONE_EINPUT, AGAIN, "tensor '%s' has %llu bytes, its shape needs %llu", shown, (unsigned long long)have,
                         (unsigned long long)(n / 8));
    return HONE_OK;
}

static hone_code read_tensor(reader *r, hone_bytes b, hone_onnx_tensor *t)
{
    bool  external = false, raw = false;
    field f;
    while (next(&b, &f)) {
        uint64_t v;
        if (f.number == 1 && f.wire == 0) HONE_TRY(add_dim(t, f.value, r->err));
        if (f.number == 1 && f.wire == 2) { /* packed */
            while (f.bytes.len && varint(&f.bytes, &v)) HONE_TRY(add_dim(t, v, r->err));
            if (f.bytes.len) return BROKEN(r->err, "shape of a tensor", f.bytes);
        }
        if (f.number == 2 && f.wire == 0) t->type = f.value <= INT32_MAX ? (int32_t)f.value : 0;
        if (f.number == 8) t->name = text(r, &f);
        if (f.number == 9 && f.wire == 2) {
            t->data = f.bytes;
            raw = true;
        }
        if (f.number == 13 && f.wire == 2) HONE_TRY(read_external(r, f.bytes, t));
        if (f.number == 14 && f.wire == 0) external = f.value == 1;
    }
    if (b.len) return BROKEN(r->err, "description of a tensor", b);
    if (!external) t->location = NULL;
    return check_tensor(t, external, raw, r->err);
}

static hone_code define(reader *r, const char *name)
{
    char shown[96];
    if (!name) return HONE_FAIL(r->err, HONE_EINPUT, AGAIN, "a value has no name");
    if (names_have(&r->known, name))
        return HONE_FAIL(r->err, HONE_EINPUT, AGAIN, "value '%s' is made twice", hone_text_show(name, strlen(name), shown, sizeof shown));
    return names_add(&r->known, name) ? HONE_OK : HONE_NOMEM(r->err, "the names of values");
}

static hone_code read_node(reader *r, hone_bytes b)
{
    char       shown[96];
    hone_bytes again = b;
    field      f;
    bool       foreign = false;
    while (next(&b, &f)) {
        const char *name = f.number == 1 || f.number == 7 ? text(r, &f) : "";
        if (!name) return HONE_FAIL(r->err, HONE_EINPUT, AGAIN, "a node reads a value without a name");
        if (f.number == 7) foreign = *name && strcmp(name, "ai.onnx") != 0;
        if (f.number == 1 && *name && !names_have(&r->known, name))
            return HONE_FAIL(r->err, HONE_EINPUT, AGAIN, "a node reads '%s', which nothing before it makes", hone_text_show(name, strlen(name), shown, sizeof shown));
    }
    if (b.len) return BROKEN(r->err, "description of a node", b);
    while (next(&again, &f)) {
        const char *name = f.number == 2 ? text(r, &f) : "";
        if (!name || *name) HONE_TRY(define(r, name));
    }
    r->out->n_nodes++;
    r->out->n_foreign += foreign;
    return HONE_OK;
}

/* Name of a ValueInfoProto. */
static const char *port_name(reader *r, hone_bytes b)
{
    const char *name = NULL;
    field       f;
    while (next(&b, &f))
        if (f.number == 1) name = text(r, &f);
    return b.len ? NULL : name;
}

static hone_code count_graph(hone_bytes b, size_t n[16], hone_err *err)
{
    field f;
    while (next(&b, &f))
        if (f.number < 16 && f.wire == 2 && n[f.number]++ > MAX_ITEMS) return HONE_FAIL(err, HONE_EINPUT, AGAIN, "the graph has over %u parts", MAX_ITEMS);
    return b.len ? BROKEN(err, "graph", b) : HONE_OK;
}

/* Layers whose residual stream has a name. */
static uint32_t count_stream(const names *known)
{
    for (uint32_t i = 0;; i++) {
        char name[40];
        (void)snprintf(name, sizeof name, HONE_ONNX_STREAM, i);
        if (!names_have(known, name)) return i;
    }
}

/* Inputs and initializers may stand behind the nodes that read them. */
static hone_code read_graph(reader *r, hone_bytes graph)
{
    hone_onnx_file *o = r->out;
    size_t          n[16] = { 0 };
    hone_bytes      b = graph;
    field           f;
    HONE_TRY(count_graph(graph, n, r->err));
    o->tensors = HONE_ARENA_NEW(r->a, hone_onnx_tensor, n[5] + 1);
    o->inputs = HONE_ARENA_NEW(r->a, const char *, n[11] + 1);
    o->outputs = HONE_ARENA_NEW(r->a, const char *, n[12] + 1);
    if (!o->tensors || !o->inputs || !o->outputs) return HONE_NOMEM(r->err, "the model");
    while (next(&b, &f)) {
        if (f.wire != 2 || (f.number != 5 && f.number != 11)) continue;
        if (f.number == 5) {
            hone_onnx_tensor *t = &o->tensors[o->n_tensors];
            HONE_TRY(read_tensor(r, f.bytes, t));
            HONE_TRY(define(r, t->name));
            o->n_tensors++;
        } else {
            const char *name = port_name(r, f.bytes);
            if (!name || !names_have(&r->known, name)) HONE_TRY(define(r, name)); /* old files list initializers here too */
            o->inputs[o->n_inputs++] = name;
        }
    }
    for (b = graph; next(&b, &f);)
        if (f.wire == 2 && f.number == 1) HONE_TRY(read_node(r, f.bytes));
    o->n_stream = count_stream(&r->known);
    for (b = graph; next(&b, &f);) {
        if (f.wire != 2 || f.number != 12) continue;
        const char *name = port_name(r, f.bytes);
        if (!name || !names_have(&r->known, name)) return HONE_FAIL(r->err, HONE_EINPUT, AGAIN, "an output of the model is made by no node");
        o->outputs[o->n_outputs++] = name;
    }
    return HONE_OK;
}

static hone_code read_import(reader *r, hone_bytes b)
{
    const char *domain = "";
    int64_t     version = 0;
    field       f;
    while (next(&b, &f)) {
        if (f.number == 1) domain = text(r, &f);
        if (f.number == 2 && f.wire == 0) version = (int64_t)f.value;
        if (!domain) return HONE_FAIL(r->err, HONE_EINPUT, AGAIN, "an operator set has no name");
    }
    if (b.len) return BROKEN(r->err, "import of an operator set", b);
    if (!*domain || strcmp(domain, "ai.onnx") == 0) r->out->opset = version;
    if (strcmp(domain, "com.microsoft") == 0) r->out->opset_ms = version;
    return HONE_OK;
}

static hone_code read_model(reader *r, hone_bytes b)
{
    field f;
    bool  graph = false;
    while (next(&b, &f)) {
        if (f.number == 1 && f.wire == 0) r->out->ir_version = (int64_t)f.value;
        if (f.number == 8 && f.wire == 2) HONE_TRY(read_import(r, f.bytes));
        if (f.number != 7 || f.wire != 2) continue;
        if (graph) return HONE_FAIL(r->err, HONE_EINPUT, AGAIN, "the model has two graphs");
        graph = true;
        HONE_TRY(read_graph(r, f.bytes));
    }
    if (b.len) return BROKEN(r->err, "model", b);
    if (!graph) return HONE_FAIL(r->err, HONE_EINPUT, AGAIN, "the model has no graph");
    return HONE_OK;
}

hone_code hone_onnx_read(hone_bytes file, hone_arena *a, hone_onnx_file *out, hone_err *err)
{
    hone_onnx_file f = { 0 };
    reader         r = { .a = a, .out = &f, .err = err };
    hone_code      code = read_model(&r, file);
    free(r.known.at);
    if (r.no_memory) code = HONE_NOMEM(err, "the names of values");
    if (code == HONE_OK) *out = f;
    return code;
}
