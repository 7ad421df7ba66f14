/* net_tensor.c - reads TensorProto: where the bytes of a constant are, and that they are as many as its shape needs. */
#include "base/text.h"
#include "formats/onnx/net_parts.h"
#include <inttypes.h>
#include <stdlib.h>

typedef struct parts { /* of one TensorProto, before they are put together */
    hone_net_gather dims, typed, kept;
    hone_wire_field raw;
    uint32_t        typed_field; /* float_data, int32_data, ...; 0: none */
    hone_wire_field packed;      /* the only run of typed data, when there is just one and it is packed */
    size_t          n_typed;     /* fields of it */
    bool            has_raw, external;
    const char     *name, *location;
    uint64_t        offset, length;
    bool            has_length;
} parts;

static hone_code gather(hone_net_reader *r, hone_net_gather *g, const void *p, size_t n)
{
    if (n > g->cap - g->n) {
        size_t   cap = g->cap ? g->cap : 64;
        while (cap - g->n < n) {
            if (cap > SIZE_MAX / 2) return HONE_NOMEM(r->err, "a part of the model");
            cap *= 2;
        }
        uint8_t *more = hone_arena_alloc(r->a, cap);
        if (!more) return HONE_NOMEM(r->err, "a part of the model");
        if (g->n) memcpy(more, g->p, g->n);
        g->p = more;
        g->cap = cap;
    }
    if (n) memcpy(g->p + g->n, p, n);
    g->n += n;
    return HONE_OK;
}

hone_code hone_net_keep(hone_net_reader *r, const hone_wire *w, const hone_wire_field *f, hone_net_gather *g)
{
    hone_bytes b;
    HONE_TRY(hone_wire_bytes(w, f->start, f->at + f->len - f->start, false, r->a, &b, r->err));
    return gather(r, g, b.ptr, b.len);
}

static hone_code add_dim(hone_net_reader *r, parts *p, uint64_t v)
{
    if (v > INT64_MAX) return HONE_FAIL(r->err, HONE_EINPUT, HONE_ONNX_AGAIN, "a dimension of a constant is negative");
    return gather(r, &p->dims, &v, sizeof v);
}

/* One run of numbers of the typed fields, each to its own bytes: width bytes, low ones first. */
static hone_code add_typed(hone_net_reader *r, hone_wire w, const hone_wire_field *f, parts *p, uint32_t width)
{
    uint8_t  b[8];
    uint64_t v;
    if (p->typed_field && p->typed_field != f->number) return HONE_FAIL(r->err, HONE_EINPUT, HONE_ONNX_AGAIN, "a constant has data of two kinds");
    p->typed_field = f->number;
    p->n_typed++;
    bool fixed = f->number == 4 || f->number == 10;
    if (fixed && f->wire == 2) {
        p->packed = *f;
        if (p->n_typed == 1) return HONE_OK; /* its bytes are the elements */
    }
    hone_wire in = f->wire == 2 ? hone_wire_in(&w, f) : (hone_wire){ w.place, f->at, f->at + f->len };
    while (in.pos < in.end) {
        if (fixed) {
            hone_bytes x;
            size_t     each = f->number == 4 ? 4 : 8;
            if (in.end - in.pos < each) return HONE_FAIL(r->err, HONE_EINPUT, HONE_ONNX_AGAIN, "the data of a constant is cut");
            HONE_TRY(hone_wire_bytes(&in, in.pos, each, false, r->a, &x, r->err));
            in.pos += each;
            HONE_TRY(gather(r, &p->typed, x.ptr, each));
            continue;
        }
        if (!hone_wire_varint(&in, &v)) return HONE_FAIL(r->err, HONE_EINPUT, HONE_ONNX_AGAIN, "the data of a constant is broken");
        hone_put_le64(b, v);
        HONE_TRY(gather(r, &p->typed, b, width));
    }
    return HONE_OK;
}

/* A second run of packed floats: the first is taken in after all. */
static hone_code take_packed(hone_net_reader *r, const hone_wire *w, parts *p, const hone_wire_field *first)
{
    hone_bytes b;
    HONE_TRY(hone_wire_bytes(w, first->at, first->len, false, r->a, &b, r->err));
    return gather(r, &p->typed, b.ptr, b.len);
}

static hone_code number_of(hone_net_reader *r, const char *s, const char *what, uint64_t *out)
{
    char *end = NULL;
    if (*s >= '0' && *s <= '9' && strlen(s) <= 19) *out = strtoull(s, &end, 10);
    if (end && !*end) return HONE_OK;
    return HONE_FAIL(r->err, HONE_EINPUT, HONE_ONNX_AGAIN, "the %s of a constant's external data is no number", what);
}

static hone_code external_entry(hone_net_reader *r, hone_wire w, parts *p)
{
    const char     *key = "", *value = "";
    hone_wire_field f;
    bool            more;
    for (;;) {
        HONE_TRY(hone_wire_next(&w, &f, &more, "place of external data", r->err));
        if (!more) break;
        if (f.number == 1) HONE_TRY(hone_wire_text(&w, &f, r->a, &key, r->err));
        if (f.number == 2) HONE_TRY(hone_wire_text(&w, &f, r->a, &value, r->err));
    }
    if (strcmp(key, "location") == 0) p->location = value;
    if (strcmp(key, "offset") == 0) return number_of(r, value, "offset", &p->offset);
    if (strcmp(key, "length") != 0) return HONE_OK;
    p->has_length = true;
    return number_of(r, value, "length", &p->length);
}

/* Bytes of an element in the typed fields; ONNX packs two 4-bit ones into each number. */
static uint32_t typed_width(int32_t type)
{
    uint32_t bits = hone_net_type_bits(type);
    return bits < 8 ? 1 : bits == 128 ? 8 : type == HONE_NET_C64 ? 4 : bits / 8;
}

static hone_code shape_of(hone_net_reader *r, const parts *p, hone_net_tensor *t, const char *shown)
{
    uint64_t bits;
    t->n_dims = (uint32_t)(p->dims.n / 8);
    uint64_t *dims = HONE_ARENA_NEW(r->a, uint64_t, (size_t)t->n_dims + 1);
    if (!dims) return HONE_NOMEM(r->err, "a shape");
    if (p->dims.n) memcpy(dims, p->dims.p, p->dims.n);
    t->dims = dims;
    t->n = 1;
    bool fits = t->n_dims <= 64;
    for (uint32_t d = 0; d < t->n_dims && fits; d++) fits = hone_size_mul(t->n, dims[d], &t->n);
    fits = fits && hone_size_mul(t->n, hone_net_type_bits(t->type), &bits) && hone_size_add(bits, 7, &bits);
    if (!fits) return HONE_FAIL(r->err, HONE_EINPUT, HONE_ONNX_AGAIN, "the shape of constant '%s' is larger than any memory", shown);
    t->bytes = bits / 8;
    return HONE_OK;
}

static hone_code file_number(hone_net_reader *r, const char *location, uint32_t *out)
{
    hone_net_files *files = r->files;
    const char     *path;
    for (size_t i = 1; i < files->n; i++)
        if (strcmp(files->name[i], location) == 0) {
            *out = (uint32_t)i;
            return HONE_OK;
        }
    if (files->n == HONE_NET_MAX_FILES) return HONE_FAIL(r->err, HONE_EUNSUPPORTED, "", "the constants lie in more than %d files", HONE_NET_MAX_FILES);
    HONE_TRY(hone_path_inside(r->a, r->dir, location, &path, r->err));
    HONE_TRY(hone_file_open(path, &files->file[files->n], r->err));
    files->name[files->n] = location;
    *out = (uint32_t)files->n++;
    return HONE_OK;
}

static hone_code place_external(hone_net_reader *r, const parts *p, hone_net_tensor *t, const char *shown)
{
    if (!p->location || !*p->location) return HONE_FAIL(r->err, HONE_EINPUT, HONE_ONNX_AGAIN, "constant '%s' lies in another file, which is not named", shown);
    if (p->has_length && p->length != t->bytes)
        return HONE_FAIL(r->err, HONE_EINPUT, HONE_ONNX_AGAIN, "constant '%s' has %" PRIu64 " bytes, its shape needs %" PRIu64, shown, p->length, t->bytes);
    t->in_file = true;
    t->offset = p->offset;
    if (!r->files) return HONE_OK; /* from memory: there is no folder to look in */
    if (file_number(r, p->location, &t->file) != HONE_OK) return hone_err_wrap(r->err, "constant '%s'", shown);
    uint64_t size = r->files->file[t->file].size;
    if (p->offset > size || t->bytes > size - p->offset)
        return HONE_FAIL(r->err, HONE_EINPUT, "copy the model again with all files beside it", "constant '%s' ends at byte %" PRIu64 " of a file of %" PRIu64, shown,
                         p->offset + t->bytes, size);
    return HONE_OK;
}

/* Payload of a field of the model itself: in memory when it was read from there. */
static void place_inside(const hone_wire *w, const hone_wire_field *f, hone_net_tensor *t)
{
    if (w->place->file) {
        t->in_file = true;
        t->offset = f->at;
    } else t->data = w->place->mem.ptr + f->at;
}

static hone_code place(hone_net_reader *r, const hone_wire *w, parts *p, hone_net_tensor *t)
{
    char     shown[96];
    uint64_t have;
    (void)hone_text_show(p->name, strlen(p->name), shown, sizeof shown);
    HONE_TRY(shape_of(r, p, t, shown));
    if (t->type == HONE_NET_STRING && p->external) return HONE_FAIL(r->err, HONE_EINPUT, HONE_ONNX_AGAIN, "constant '%s' has its texts in another file", shown);
    if (t->type == HONE_NET_STRING) return HONE_OK;
    if (hone_net_type_bits(t->type) == 0)
        return HONE_FAIL(r->err, HONE_EUNSUPPORTED, "export the model with a type that hone knows", "constant '%s' has elements of type %d", shown, (int)t->type);
    if (p->external) return place_external(r, p, t, shown);
    bool packed = !p->has_raw && p->typed_field && p->n_typed == 1 && (p->typed_field == 4 || p->typed_field == 10) && p->packed.wire == 2;
    if (p->has_raw || packed) {
        place_inside(w, p->has_raw ? &p->raw : &p->packed, t);
        have = p->has_raw ? p->raw.len : p->packed.len;
    } else {
        t->data = p->typed.p ? p->typed.p : hone_arena_alloc(r->a, 1);
        if (!t->data) return HONE_NOMEM(r->err, "a constant");
        have = p->typed.n;
    }
    if (have != t->bytes)
        return HONE_FAIL(r->err, HONE_EINPUT, HONE_ONNX_AGAIN, "constant '%s' has %" PRIu64 " bytes, its shape needs %" PRIu64, shown, have, t->bytes);
    return HONE_OK;
}

static hone_code typed_field(hone_net_reader *r, const hone_wire *w, const hone_wire_field *f, const hone_net_tensor *t, parts *p)
{
    hone_wire_field first = p->packed;
    if (p->n_typed == 1 && first.wire == 2 && first.number == f->number) HONE_TRY(take_packed(r, w, p, &first));
    return add_typed(r, *w, f, p, typed_width(t->type));
}

static hone_code field_of(hone_net_reader *r, const hone_wire *w, const hone_wire_field *f, parts *p)
{
    uint64_t  v;
    hone_wire in = hone_wire_in(w, f);
    switch (f->number) {
    case 1:
        if (f->wire == 0) return add_dim(r, p, f->value);
        while (in.pos < in.end) {
            if (!hone_wire_varint(&in, &v)) return HONE_FAIL(r->err, HONE_EINPUT, HONE_ONNX_AGAIN, "the shape of a constant is broken");
            HONE_TRY(add_dim(r, p, v));
        }
        return HONE_OK;
    case 2: case 4: case 5: case 7: case 10: case 11: return HONE_OK; /* type and typed data: the caller's */
    case 8: return hone_wire_text(w, f, r->a, &p->name, r->err);
    case 9:
        p->raw = *f;
        p->has_raw = true;
        return f->wire == 2 ? HONE_OK : HONE_FAIL(r->err, HONE_EINPUT, HONE_ONNX_AGAIN, "the data of a constant is no bytes");
    case 13: return f->wire == 2 ? external_entry(r, in, p) : HONE_FAIL(r->err, HONE_EINPUT, HONE_ONNX_AGAIN, "the place of external data is broken");
    case 14: p->external = f->value == 1; return HONE_OK;
    default: return hone_net_keep(r, w, f, &p->kept);
    }
}

hone_code hone_net_read_tensor(hone_net_reader *r, hone_wire w, const char **name, hone_net_tensor *t)
{
    parts           p = { .name = "" };
    hone_wire_field f;
    bool            more;
    *t = (hone_net_tensor){ 0 };
    for (hone_wire again = w;;) { /* the type may stand behind the data */
        HONE_TRY(hone_wire_next(&again, &f, &more, "description of a constant", r->err));
        if (!more) break;
        if (f.number == 2 && f.wire == 0) t->type = f.value <= INT32_MAX ? (int32_t)f.value : 0;
        HONE_TRY(field_of(r, &w, &f, &p));
    }
    for (hone_wire again = w; !p.has_raw && !p.external;) {
        HONE_TRY(hone_wire_next(&again, &f, &more, "data of a constant", r->err));
        if (!more) break;
        if (f.number == 4 || f.number == 5 || f.number == 7 || f.number == 10 || f.number == 11) HONE_TRY(typed_field(r, &w, &f, t, &p));
    }
    *name = p.name;
    HONE_TRY(place(r, &w, &p, t));
    t->kept = hone_net_gathered(&p.kept);
    return HONE_OK;
}
