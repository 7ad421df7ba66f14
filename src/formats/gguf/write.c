/* write.c - builds the header of a GGUF file and fixes where each tensor goes.  Shares nothing with read.c: the reader is
 * what checks this file's work before an artefact gets its name.
 * Source: ggml docs/gguf.md; ggml/src/gguf.cpp (readers there demand that each tensor begins where the one before ends,
 * rounded up, and read the last one's padding too, so the file has it). */
#include "formats/gguf.h"
#include <inttypes.h>

#define ALIGNMENT 32u /* GGUF_DEFAULT_ALIGNMENT: a file that keeps it needs no general.alignment */
#define NAME_MAX_BYTES 63u /* GGML_MAX_NAME less the NUL */

typedef struct put_kv {
    const char    *key;
    size_t         key_len;
    hone_gguf_type type;
    const uint8_t *bytes; /* the value as in the file, behind its type */
    size_t         len;
} put_kv;

typedef struct put_tensor {
    const char *name;
    size_t      name_len;
    uint32_t    gguf_id, n_dims;
    uint64_t    dims[4]; /* outermost first */
    uint64_t    bytes;
} put_tensor;

struct hone_gguf_writer {
    hone_arena *arena;
    put_kv     *kv;
    size_t      n_kv, kv_cap;
    put_tensor *tensors;
    size_t      n_tensors, tensor_cap;
    size_t     *slots; /* hash of tensor names: index + 1, 0 is free */
    size_t      n_slots; /* power of two, at least twice tensor_cap */
};

hone_code hone_gguf_writer_new(hone_arena *a, hone_gguf_writer **out, hone_err *err)
{
    hone_gguf_writer *w = HONE_ARENA_NEW(a, hone_gguf_writer, 1);
    if (!w) return HONE_NOMEM(err, "a GGUF header");
    w->arena = a;
    *out = w;
    return HONE_OK;
}

/* Room for one more: the arena has no realloc, so the old list stays behind in it; doubling bounds that to the list's size. */
static void *grown(hone_arena *a, void *list, size_t n, size_t *cap, size_t size)
{
    if (n < *cap) return list;
    size_t more = *cap ? 2 * *cap : 64;
    void  *p = hone_arena_calloc(a, more, size);
    if (!p) return NULL;
    if (n) memcpy(p, list, n * size);
    *cap = more;
    return p;
}

static hone_code put(hone_gguf_writer *w, const char *key, hone_gguf_type type, const uint8_t *bytes, size_t len, hone_err *err)
{
    size_t  key_len = strlen(key);
    put_kv *at = NULL;
    for (size_t i = 0; i < w->n_kv && !at; i++)
        if (w->kv[i].key_len == key_len && memcmp(w->kv[i].key, key, key_len) == 0) at = &w->kv[i];
    if (!at) {
        put_kv     *list = grown(w->arena, w->kv, w->n_kv, &w->kv_cap, sizeof *list);
        const char *copy = hone_arena_strndup(w->arena, key, key_len);
        if (list) w->kv = list;
        if (!list || !copy) return HONE_NOMEM(err, "a GGUF key");
        at = &w->kv[w->n_kv++];
        at->key = copy;
        at->key_len = key_len;
    }
    at->type = type;
    at->bytes = bytes;
    at->len = len;
    return HONE_OK;
}

static hone_code put_scalar(hone_gguf_writer *w, const char *key, hone_gguf_type type, uint64_t bits, size_t len, hone_err *err)
{
    uint8_t *p = hone_arena_alloc(w->arena, 8);
    if (!p) return HONE_NOMEM(err, "a GGUF value");
    hone_put_le64(p, bits); /* little-endian: the first len bytes are the value */
    return put(w, key, type, p, len, err);
}

hone_code hone_gguf_put_strn(hone_gguf_writer *w, const char *key, const char *value, size_t len, hone_err *err)
{
    uint8_t *p = len <= SIZE_MAX - 8 ? hone_arena_alloc(w->arena, 8 + len) : NULL;
    if (!p) return HONE_NOMEM(err, "a GGUF string");
    hone_put_le64(p, len);
    if (len) memcpy(p + 8, value, len);
    return put(w, key, HONE_GGUF_STRING, p, 8 + len, err);
}

hone_code hone_gguf_put_str(hone_gguf_writer *w, const char *key, const char *value, hone_err *err)
{
    return hone_gguf_put_strn(w, key, value, strlen(value), err);
}

hone_code hone_gguf_put_u16(hone_gguf_writer *w, const char *key, uint16_t v, hone_err *err) { return put_scalar(w, key, HONE_GGUF_U16, v, 2, err); }

hone_code hone_gguf_put_u32(hone_gguf_writer *w, const char *key, uint32_t v, hone_err *err) { return put_scalar(w, key, HONE_GGUF_U32, v, 4, err); }

hone_code hone_gguf_put_u64(hone_gguf_writer *w, const char *key, uint64_t v, hone_err *err) { return put_scalar(w, key, HONE_GGUF_U64, v, 8, err); }

hone_code hone_gguf_put_i32(hone_gguf_writer *w, const char *key, int32_t v, hone_err *err)
{
    return put_scalar(w, key, HONE_GGUF_I32, (uint32_t)v, 4, err);
}

hone_code hone_gguf_put_f32(hone_gguf_writer *w, const char *key, float v, hone_err *err)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return put_scalar(w, key, HONE_GGUF_F32, bits, 4, err);
}

hone_code hone_gguf_put_bool(hone_gguf_writer *w, const char *key, bool v, hone_err *err)
{
    return put_scalar(w, key, HONE_GGUF_BOOL, v ? 1 : 0, 1, err);
}

/* Bytes per element; 0 for what is no scalar. */
static size_t scalar_bytes(hone_gguf_type t)
{
    switch (t) {
    case HONE_GGUF_U8:
    case HONE_GGUF_I8:
    case HONE_GGUF_BOOL: return 1;
    case HONE_GGUF_U16:
    case HONE_GGUF_I16: return 2;
    case HONE_GGUF_U32:
    case HONE_GGUF_I32:
    case HONE_GGUF_F32: return 4;
    case HONE_GGUF_U64:
    case HONE_GGUF_I64:
    case HONE_GGUF_F64: return 8;
    case HONE_GGUF_STRING:
    case HONE_GGUF_ARRAY: break;
    }
    return 0;
}

/* Native scalars to little-endian ones. */
static void pack(uint8_t *to, const uint8_t *from, size_t size, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++, to += size, from += size) {
        uint16_t two;
        uint32_t four;
        uint64_t eight;
        switch (size) {
        case 1: *to = *from; break;
        case 2:
            memcpy(&two, from, 2);
            hone_put_le16(to, two);
            break;
        case 4:
            memcpy(&four, from, 4);
            hone_put_le32(to, four);
            break;
        default:
            memcpy(&eight, from, 8);
            hone_put_le64(to, eight);
            break;
        }
    }
}

static bool strings_bytes(const hone_gguf_str *s, uint64_t n, uint64_t *out)
{
    uint64_t total;
    if (!hone_size_mul(n, 8, &total)) return false;
    for (uint64_t i = 0; i < n; i++)
        if (!hone_size_add(total, s[i].len, &total)) return false;
    *out = total;
    return true;
}

hone_code hone_gguf_put_array(hone_gguf_writer *w, const char *key, hone_gguf_type elem, const void *values, uint64_t n, hone_err *err)
{
    size_t   size = scalar_bytes(elem);
    uint64_t bytes;
    if (elem == HONE_GGUF_ARRAY) return HONE_FAIL(err, HONE_EBUG, "", "key '%s': arrays of arrays are not written", key);
    bool fits = elem == HONE_GGUF_STRING ? strings_bytes(values, n, &bytes) : hone_size_mul(n, size, &bytes);
    fits = fits && hone_size_add(bytes, 12, &bytes) && bytes <= SIZE_MAX;
    uint8_t *p = fits ? hone_arena_alloc(w->arena, (size_t)bytes) : NULL;
    if (!p) return HONE_NOMEM(err, "a GGUF array");
    hone_put_le32(p, (uint32_t)elem);
    hone_put_le64(p + 4, n);
    if (elem == HONE_GGUF_STRING) {
        const hone_gguf_str *s = values;
        uint8_t             *at = p + 12;
        for (uint64_t i = 0; i < n; i++) {
            hone_put_le64(at, s[i].len);
            if (s[i].len) memcpy(at + 8, s[i].ptr, (size_t)s[i].len);
            at += 8 + s[i].len;
        }
    } else
        pack(p + 12, values, size, n);
    return put(w, key, HONE_GGUF_ARRAY, p, (size_t)bytes, err);
}

static size_t hash(const char *s, size_t n) /* FNV-1a */
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++) h = (h ^ (uint8_t)s[i]) * 0x100000001b3u;
    return (size_t)(h ^ (h >> 32));
}

/* The slot of name: of the tensor that has it, or the free one where it would go. */
static size_t *slot_of(const hone_gguf_writer *w, const char *name, size_t len)
{
    for (size_t i = hash(name, len) & (w->n_slots - 1);; i = (i + 1) & (w->n_slots - 1)) {
        size_t k = w->slots[i];
        if (k == 0 || (w->tensors[k - 1].name_len == len && memcmp(w->tensors[k - 1].name, name, len) == 0)) return &w->slots[i];
    }
}

static bool make_room(hone_gguf_writer *w)
{
    size_t      cap = w->tensor_cap;
    put_tensor *list = grown(w->arena, w->tensors, w->n_tensors, &w->tensor_cap, sizeof *list);
    if (!list) return false;
    w->tensors = list;
    if (cap == w->tensor_cap && w->slots) return true;
    size_t *slots = HONE_ARENA_NEW(w->arena, size_t, 2 * w->tensor_cap);
    if (!slots) {
        w->tensor_cap = cap; /* so that a later call tries again rather than overfill the old table */
        return false;
    }
    w->slots = slots;
    w->n_slots = 2 * w->tensor_cap;
    for (size_t i = 0; i < w->n_tensors; i++) *slot_of(w, w->tensors[i].name, w->tensors[i].name_len) = i + 1;
    return true;
}

hone_code hone_gguf_put_tensor(hone_gguf_writer *w, const char *name, hone_dtype t, uint32_t n_dims, const uint64_t *dims, hone_err *err)
{
    size_t                 len = strlen(name);
    const hone_dtype_info *info = hone_dtype_get(t);
    uint64_t               elems = 1, bytes;
    if (len == 0 || len > NAME_MAX_BYTES)
        return HONE_FAIL(err, HONE_EBUG, "", "tensor name '%.80s' has %zu bytes, GGUF holds 1..%u", name, len, NAME_MAX_BYTES);
    if (info->gguf_id < 0) return HONE_FAIL(err, HONE_EBUG, "", "tensor '%s' is %s, which GGUF does not have", name, info->name);
    if (n_dims == 0 || n_dims > 4) return HONE_FAIL(err, HONE_EBUG, "", "tensor '%s' has %u dimensions, GGUF holds 1..4", name, n_dims);
    if (dims[n_dims - 1] % info->block_elems != 0)
        return HONE_FAIL(err, HONE_EBUG, "", "tensor '%s' has %" PRIu64 " columns, %s needs a multiple of %u", name, dims[n_dims - 1], info->name,
                         info->block_elems);
    for (uint32_t i = 0; i < n_dims; i++)
        if (!hone_size_mul(elems, dims[i], &elems)) return HONE_FAIL(err, HONE_EBUG, "", "tensor '%s' has more than 2^64 elements", name);
    if (!hone_dtype_bytes(t, elems, &bytes)) return HONE_FAIL(err, HONE_EBUG, "", "tensor '%s' has more than 2^64 bytes", name);
    if (!make_room(w)) return HONE_NOMEM(err, "the list of tensors");
    size_t *slot = slot_of(w, name, len);
    if (*slot) return HONE_FAIL(err, HONE_EBUG, "", "tensor '%s' is declared twice", name);
    const char *copy = hone_arena_strndup(w->arena, name, len);
    if (!copy) return HONE_NOMEM(err, "a tensor name");
    put_tensor *p = &w->tensors[w->n_tensors];
    *p = (put_tensor){ .name = copy, .name_len = len, .gguf_id = (uint32_t)info->gguf_id, .n_dims = n_dims, .bytes = bytes };
    memcpy(p->dims, dims, n_dims * sizeof *dims);
    *slot = ++w->n_tensors;
    return HONE_OK;
}

static uint8_t *add32(uint8_t *p, uint32_t v)
{
    hone_put_le32(p, v);
    return p + 4;
}
static uint8_t *add64(uint8_t *p, uint64_t v)
{
    hone_put_le64(p, v);
    return p + 8;
}
static uint8_t *add_bytes(uint8_t *p, const void *b, size_t n)
{
    if (n) memcpy(p, b, n);
    return p + n;
}

hone_code hone_gguf_layout(hone_gguf_writer *w, uint64_t *offsets, uint64_t *total, hone_bytes *head, hone_err *err)
{
    uint64_t size = 4 + 4 + 8 + 8;
    bool     fits = true;
    for (size_t i = 0; i < w->n_kv; i++) fits = fits && hone_size_add(size, 8 + w->kv[i].key_len + 4 + (uint64_t)w->kv[i].len, &size);
    for (size_t i = 0; i < w->n_tensors; i++)
        fits = fits && hone_size_add(size, 8 + w->tensors[i].name_len + 4 + 8 * (uint64_t)w->tensors[i].n_dims + 4 + 8, &size);
    fits = fits && hone_size_align(size, ALIGNMENT, &size);
    uint64_t end = size;
    for (size_t i = 0; i < w->n_tensors; i++) {
        uint64_t padded = 0;
        fits = fits && hone_size_align(w->tensors[i].bytes, ALIGNMENT, &padded);
        fits = fits && hone_size_add(end, padded, &end);
    }
    if (!fits || end > INT64_MAX) return HONE_FAIL(err, HONE_EBUG, "", "the GGUF file would have more than 2^63 bytes");
    uint8_t *start = hone_arena_alloc(w->arena, (size_t)size); /* zeroed: the padding */
    if (!start) return HONE_NOMEM(err, "a GGUF header");

    uint8_t *p = add_bytes(start, "GGUF", 4);
    p = add32(p, 3);
    p = add64(p, w->n_tensors);
    p = add64(p, w->n_kv);
    for (size_t i = 0; i < w->n_kv; i++) {
        const put_kv *kv = &w->kv[i];
        p = add_bytes(add64(p, kv->key_len), kv->key, kv->key_len);
        p = add_bytes(add32(p, (uint32_t)kv->type), kv->bytes, kv->len);
    }
    uint64_t at = 0; /* from the first tensor on */
    for (size_t i = 0; i < w->n_tensors; i++) {
        const put_tensor *t = &w->tensors[i];
        p = add_bytes(add64(p, t->name_len), t->name, t->name_len);
        p = add32(p, t->n_dims);
        for (uint32_t d = 0; d < t->n_dims; d++) p = add64(p, t->dims[t->n_dims - 1 - d]); /* GGUF: fastest first */
        p = add64(add32(p, t->gguf_id), at);
        offsets[i] = size + at;
        (void)hone_size_align(at + t->bytes, ALIGNMENT, &at); /* fits: summed above */
    }
    *total = end;
    *head = (hone_bytes){ start, (size_t)size };
    return HONE_OK;
}
