#include "measure/artefact/precision.h"
#include "base/arena.h"
#include "base/file.h"
#include "formats/gguf.h"
#include "formats/safetensors.h"
#include <string.h>

const char *hone_loss_name(hone_loss l)
{
    static const char *const names[] = { "f32", "f16", "bf16", "quantised" };
    return names[l];
}

static void raise_to(hone_loss *out, hone_loss l)
{
    if (l > *out) *out = l;
}

static void of_tensors(const hone_source *s, hone_loss *out)
{
    for (size_t i = 0; i < s->n_tensors; i++) {
        const hone_tensor *t = &s->tensors[i];
        if (t->n_dims < 2) continue;
        raise_to(out, t->dtype == HONE_DTYPE_F32 || t->dtype == HONE_DTYPE_F64 ? HONE_LOSS_NONE
                      : t->dtype == HONE_DTYPE_F16                             ? HONE_LOSS_F16
                      : t->dtype == HONE_DTYPE_BF16                            ? HONE_LOSS_BF16
                                                                               : HONE_LOSS_QUANTISED);
    }
}

hone_code hone_loss_gguf(const char *path, hone_loss *out, hone_err *err)
{
    hone_arena a = { 0 };
    hone_gguf  g;
    hone_code  code = hone_gguf_open(path, &a, &g, err);
    if (code == HONE_OK) {
        of_tensors(g.source, out);
        g.source->close(g.source);
    }
    hone_arena_release(&a);
    return code;
}

hone_code hone_loss_mlx(const char *folder, hone_loss *out, hone_err *err)
{
    hone_arena   a = { 0 };
    hone_source *s;
    hone_code    code = hone_safetensors_open(folder, &a, &s, err);
    if (code == HONE_OK) {
        of_tensors(s, out); /* codes are packed into u32, so a quantised matrix is neither of the floats */
        s->close(s);
    }
    hone_arena_release(&a);
    return code;
}

/* ---- ONNX: a walk over the wire format, into graph and initializers only ---- */

typedef struct wire { /* one field */
    uint32_t   field, type; /* type: 0 varint, 1 fixed64, 2 bytes, 5 fixed32 */
    uint64_t   number;      /* of a varint */
    hone_bytes bytes;
} wire;

static const char BROKEN[] = "write the model again, or check that it is an .onnx file";

static hone_code varint(hone_bytes *in, uint64_t *out, hone_err *err)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < 10; i++) {
        if (in->len == 0) return HONE_FAIL(err, HONE_EINPUT, BROKEN, "the model ends inside a number");
        uint8_t b = *in->ptr++;
        in->len--;
        v |= i < 9 || b < 2 ? (uint64_t)(b & 0x7f) << 7 * i : 0;
        if (!(b & 0x80)) {
            *out = v;
            return HONE_OK;
        }
    }
    return HONE_FAIL(err, HONE_EINPUT, BROKEN, "a number of the model has more than 10 bytes");
}

static hone_code next(hone_bytes *in, wire *w, hone_err *err)
{
    uint64_t key, n;
    HONE_TRY(varint(in, &key, err));
    *w = (wire){ .field = (uint32_t)(key >> 3), .type = (uint32_t)(key & 7) };
    if (w->type == 0) return varint(in, &w->number, err);
    if (w->type == 1) n = 8;
    else if (w->type == 5) n = 4;
    else if (w->type == 2) HONE_TRY(varint(in, &n, err));
    else return HONE_FAIL(err, HONE_EINPUT, BROKEN, "field %u of the model has the wire type %u", w->field, w->type);
    if (n > in->len) return HONE_FAIL(err, HONE_EINPUT, BROKEN, "field %u of the model has %llu bytes, %zu are left", w->field, (unsigned long long)n, in->len);
    w->bytes = (hone_bytes){ in->ptr, (size_t)n };
    in->ptr += n;
    in->len -= (size_t)n;
    return HONE_OK;
}

/* TensorProto.data_type, onnx.proto: 1 float, 2 uint8, 3 int8, 10 float16, 11 double, 16 bfloat16, 17..20 float8, 21 uint4, 22 int4, 23 float4. */
static hone_loss of_onnx_type(uint64_t type)
{
    if (type == 10) return HONE_LOSS_F16;
    if (type == 16) return HONE_LOSS_BF16;
    return type == 2 || type == 3 || (type >= 17 && type <= 23) ? HONE_LOSS_QUANTISED : HONE_LOSS_NONE; /* floats; whole numbers are no weights */
}

static hone_code of_initializer(hone_bytes in, hone_loss *out, hone_err *err)
{
    uint64_t type = 0, dims = 0;
    wire     w;
    while (in.len) {
        HONE_TRY(next(&in, &w, err));
        if (w.field == 2 && w.type == 0) type = w.number;
        if (w.field == 1 && w.type == 0) dims++;
        for (hone_bytes packed = w.bytes; w.field == 1 && w.type == 2 && packed.len; dims++) HONE_TRY(varint(&packed, &w.number, err));
    }
    if (dims >= 2) raise_to(out, of_onnx_type(type));
    return HONE_OK;
}

hone_code hone_loss_onnx_of(hone_bytes model, hone_loss *out, hone_err *err)
{
    wire w, g;
    bool graph = false;
    while (model.len) {
        HONE_TRY(next(&model, &w, err));
        if (w.field != 7 || w.type != 2) continue;
        graph = true;
        while (w.bytes.len) {
            HONE_TRY(next(&w.bytes, &g, err));
            if (g.field == 5 && g.type == 2) HONE_TRY(of_initializer(g.bytes, out, err));
        }
    }
    return graph ? HONE_OK : HONE_FAIL(err, HONE_EINPUT, BROKEN, "the model has no graph");
}

/* ---- OpenVINO ---- */

/* The value of attribute name="..." inside one tag; NULL when it is not there. */
static const char *attribute(hone_bytes tag, const char *name, size_t *len)
{
    const char *p = (const char *)tag.ptr, *end = p + tag.len;
    size_t      n = strlen(name);
    while (p < end && (p = memmem(p, (size_t)(end - p), name, n))) {
        bool begins = p > (const char *)tag.ptr && (p[-1] == ' ' || p[-1] == '\t' || p[-1] == '\n');
        p += n;
        if (!begins || end - p < 2 || p[0] != '=' || p[1] != '"') continue;
        const char *close = memchr(p + 2, '"', (size_t)(end - p) - 2);
        if (!close) return NULL;
        *len = (size_t)(close - p) - 2;
        return p + 2;
    }
    return NULL;
}

static bool is(const char *v, size_t len, const char *word) { return v && len == strlen(word) && memcmp(v, word, len) == 0; }

static hone_loss of_ir_type(const char *v, size_t n)
{
    static const char *const whole[] = { "i32", "i64", "u32", "u64", "i16", "u16", "boolean", "string", "f32", "f64" };
    if (is(v, n, "f16")) return HONE_LOSS_F16;
    if (is(v, n, "bf16")) return HONE_LOSS_BF16;
    for (size_t i = 0; i < HONE_COUNT(whole); i++)
        if (is(v, n, whole[i])) return HONE_LOSS_NONE;
    return HONE_LOSS_QUANTISED;
}

hone_code hone_loss_openvino_of(hone_bytes xml, hone_loss *out, hone_err *err)
{
    const char *p = (const char *)xml.ptr, *end = p + xml.len;
    bool        layer = false, constant = false;
    while (p < end && (p = memchr(p, '<', (size_t)(end - p)))) {
        const char *close = memchr(p, '>', (size_t)(end - p));
        if (!close) return HONE_FAIL(err, HONE_EINPUT, "write the model again", "the XML ends inside a tag");
        hone_bytes  tag = { (const uint8_t *)p, (size_t)(close - p) };
        size_t      n = 0, k = 0;
        if (tag.len > 7 && memcmp(p, "<layer ", 7) == 0) {
            const char *type = attribute(tag, "type", &n);
            layer = true;
            constant = is(type, n, "Const");
        } else if (constant && tag.len > 6 && memcmp(p, "<data ", 6) == 0) {
            const char *type = attribute(tag, "element_type", &n), *shape = attribute(tag, "shape", &k);
            if (type && shape && memchr(shape, ',', k)) raise_to(out, of_ir_type(type, n));
            constant = false;
        }
        p = close + 1;
    }
    return layer ? HONE_OK : HONE_FAIL(err, HONE_EINPUT, "give an openvino_model.xml", "the XML has no layer");
}

typedef hone_code (*look)(hone_bytes, hone_loss *, hone_err *);

static hone_code of_file(const char *path, look f, hone_loss *out, hone_err *err)
{
    hone_arena a = { 0 };
    hone_bytes b;
    hone_code  code = hone_file_slurp(path, 0x80000000u, &a, &b, err); /* protobuf's own limit is 2 GiB */
    if (code == HONE_OK) {
        code = f(b, out, err);
        if (code != HONE_OK) (void)hone_err_wrap(err, "'%s'", path);
    }
    hone_arena_release(&a);
    return code;
}

hone_code hone_loss_onnx(const char *path, hone_loss *out, hone_err *err) { return of_file(path, hone_loss_onnx_of, out, err); }
hone_code hone_loss_openvino(const char *path, hone_loss *out, hone_err *err) { return of_file(path, hone_loss_openvino_of, out, err); }
