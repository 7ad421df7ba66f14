#include "formats/onnx/reveal.h"

enum { MODEL_GRAPH = 7, GRAPH_OUTPUT = 12, VALUE_NAME = 1, VALUE_TYPE = 2, TYPE_TENSOR = 1, TENSOR_ELEM = 1 };
enum { VARINT = 0, BYTES = 2 };

static size_t varint_size(uint64_t v)
{
    size_t n = 1;
    while (v >= 0x80) v >>= 7, n++;
    return n;
}

static uint8_t *put_varint(uint8_t *p, uint64_t v)
{
    while (v >= 0x80) {
        *p++ = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    *p++ = (uint8_t)v;
    return p;
}

/* Key and length of a field of bytes; all numbers of fields here are below 16, so a key is one byte. */
static uint8_t *put_head(uint8_t *p, unsigned field, size_t n)
{
    *p++ = (uint8_t)(field << 3 | BYTES);
    return put_varint(p, n);
}
static size_t sized(size_t n) { return 1 + varint_size(n) + n; }

/* ValueInfoProto { name, type { tensor_type { elem_type } } }: without a shape, which the runtime infers; type 0: without a type too. */
static size_t info_size(const char *name, int32_t type)
{
    return sized(strlen(name)) + (type ? sized(sized(1 + varint_size((uint32_t)type))) : 0);
}

static uint8_t *put_info(uint8_t *p, const char *name, int32_t type)
{
    size_t n = strlen(name), elem = 1 + varint_size((uint32_t)type);
    p = put_head(p, VALUE_NAME, n);
    memcpy(p, name, n);
    p += n;
    if (type == 0) return p;
    p = put_head(p, VALUE_TYPE, sized(elem));
    p = put_head(p, TYPE_TENSOR, elem);
    *p++ = TENSOR_ELEM << 3 | VARINT;
    return put_varint(p, (uint32_t)type);
}

hone_code hone_onnx_reveal(hone_bytes file, const char *const *names, uint32_t n, int32_t type, hone_arena *a, hone_bytes *out, hone_err *err)
{
    size_t graph = 0;
    for (uint32_t i = 0; i < n; i++) graph += sized(info_size(names[i], type));
    uint8_t *to = hone_arena_alloc(a, file.len + sized(graph)), *p = to;
    if (!to) return HONE_NOMEM(err, "a copy of the model");
    memcpy(p, file.ptr, file.len);
    p = put_head(p + file.len, MODEL_GRAPH, graph);
    for (uint32_t i = 0; i < n; i++) {
        p = put_head(p, GRAPH_OUTPUT, info_size(names[i], type));
        p = put_info(p, names[i], type);
    }
    *out = (hone_bytes){ to, (size_t)(p - to) };
    return HONE_OK;
}
