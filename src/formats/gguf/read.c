#include "formats/gguf/read.h"
#include "base/text.h"
#include "formats/files.h"
#include <inttypes.h>
#include <stdlib.h>

static const char AGAIN[] = "download it again and compare its sha256 with the publisher's";

#define KEY_MAX_BYTES 65535u /* docs/gguf.md */
#define NAME_MAX_BYTES 64u   /* docs/gguf.md; ggml itself stops at 63 */
#define MAX_RANK 4u          /* GGML_MAX_DIMS */
#define DEFAULT_ALIGNMENT 32u

/* A walk through the first bytes of a file.  All arithmetic is subtraction on our side: at <= len <= size always. */
typedef struct cursor {
    const uint8_t *p;
    uint64_t       len, size, at; /* bytes given, bytes of the file, position */
    uint64_t       need;          /* set when the walk left what was given but not the file */
} cursor;

static hone_code take(cursor *c, uint64_t n, const char *what, const uint8_t **out, hone_err *err)
{
    if (n > c->size - c->at)
        return HONE_FAIL(err, HONE_EINPUT, AGAIN, "%s at byte %" PRIu64 " needs %" PRIu64 " bytes, the file ends after %" PRIu64, what, c->at, n,
                         c->size - c->at);
    if (n > c->len - c->at) {
        c->need = c->at + n;
        return HONE_FAIL(err, HONE_EINPUT, AGAIN, "%s at byte %" PRIu64 " needs %" PRIu64 " bytes, only %" PRIu64 " were given", what, c->at, n,
                         c->len - c->at);
    }
    *out = c->p + c->at;
    c->at += n;
    return HONE_OK;
}

static hone_code take32(cursor *c, const char *what, uint32_t *out, hone_err *err)
{
    const uint8_t *b;
    HONE_TRY(take(c, 4, what, &b, err));
    *out = hone_le32(b);
    return HONE_OK;
}

static hone_code take64(cursor *c, const char *what, uint64_t *out, hone_err *err)
{
    const uint8_t *b;
    HONE_TRY(take(c, 8, what, &b, err));
    *out = hone_le64(b);
    return HONE_OK;
}

static hone_code take_str(cursor *c, const char *what, hone_gguf_str *out, hone_err *err)
{
    const uint8_t *b;
    uint64_t       n;
    HONE_TRY(take64(c, what, &n, err));
    HONE_TRY(take(c, n, what, &b, err));
    *out = (hone_gguf_str){ (const char *)b, n };
    return HONE_OK;
}

/* "key 'x'": how the thing at hand is called in messages. */
#define LABEL (HONE_SHOWN + 16)
static const char *label(char out[LABEL], const char *kind, const hone_gguf_str *name, char shown[HONE_SHOWN])
{
    (void)snprintf(out, LABEL, "%s '%s'", kind, hone_shown(name->ptr, (size_t)name->len, shown));
    return out;
}

/* Names and keys are shown, compared and handed on as C strings: text without NUL. */
static hone_code check_text(const hone_gguf_str *s, uint64_t max, const char *what, uint64_t index, hone_err *err)
{
    char buf[HONE_SHOWN];
    if (s->len == 0 || s->len > max)
        return HONE_FAIL(err, HONE_EINPUT, AGAIN, "%s %" PRIu64 " has %" PRIu64 " bytes, GGUF holds 1..%" PRIu64, what, index, s->len, max);
    if (memchr(s->ptr, 0, (size_t)s->len) || !hone_utf8_valid(s->ptr, (size_t)s->len))
        return HONE_FAIL(err, HONE_EINPUT, AGAIN, "%s %" PRIu64 " '%s' is not text", what, index, hone_shown(s->ptr, (size_t)s->len, buf));
    return HONE_OK;
}

typedef struct preamble {
    uint32_t version;
    uint64_t n_tensors, n_kv;
} preamble;

static hone_code take_preamble(cursor *c, preamble *out, hone_err *err)
{
    static const char NEWER[] = "convert the model again with a current program";
    const uint8_t    *magic;
    char              buf[HONE_SHOWN];
    HONE_TRY(take(c, 4, "the magic", &magic, err));
    if (memcmp(magic, "GGUF", 4) != 0)
        return HONE_FAIL(err, HONE_EINPUT, "check that this is a .gguf file", "file begins with '%s', not with 'GGUF'", hone_shown((const char *)magic, 4, buf));
    HONE_TRY(take32(c, "the version", &out->version, err));
    if (out->version != 0 && (out->version & 0xffff) == 0) /* 3 as the other byte order writes it; ggml tells it the same way */
        return HONE_FAIL(err, HONE_EUNSUPPORTED, "get or make the little-endian form of this file", "the file is big-endian (version reads as 0x%08x)", out->version);
    if (out->version != 2 && out->version != 3)
        return HONE_FAIL(err, HONE_EUNSUPPORTED, NEWER, "the file is GGUF version %u, hone reads 2 and 3", out->version);
    HONE_TRY(take64(c, "the number of tensors", &out->n_tensors, err));
    HONE_TRY(take64(c, "the number of keys", &out->n_kv, err));
    /* The shortest key takes 8 + 1 + 4 + 1 bytes, the shortest tensor 8 + 1 + 4 + 4 + 8: so counts cannot ask for more memory
     * than a few times the file's size. */
    if (out->n_kv > (c->size - c->at) / 14 || out->n_tensors > (c->size - c->at) / 25)
        return HONE_FAIL(err, HONE_EINPUT, AGAIN, "the header announces %" PRIu64 " keys and %" PRIu64 " tensors, the file has %" PRIu64 " bytes", out->n_kv,
                         out->n_tensors, c->size);
    return HONE_OK;
}

static size_t scalar_size(uint32_t type) /* 0: not a scalar */
{
    static const uint8_t size[] = { 1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8 };
    return type < sizeof size ? size[type] : 0;
}

static hone_code check_bools(const uint8_t *b, uint64_t n, const char *key, hone_err *err)
{
    for (uint64_t i = 0; i < n; i++)
        if (b[i] > 1) return HONE_FAIL(err, HONE_EINPUT, AGAIN, "%s holds the truth value %u", key, b[i]);
    return HONE_OK;
}

static hone_code take_scalar(cursor *c, uint32_t type, const char *key, hone_gguf_value *v, hone_err *err)
{
    const uint8_t *b;
    HONE_TRY(take(c, scalar_size(type), key, &b, err));
    float    f;
    uint32_t bits;
    uint64_t wide;
    switch ((hone_gguf_type)type) {
    case HONE_GGUF_U8: v->as.u = b[0]; break;
    case HONE_GGUF_I8: v->as.i = (int8_t)b[0]; break;
    case HONE_GGUF_U16: v->as.u = hone_le16(b); break;
    case HONE_GGUF_I16: v->as.i = (int16_t)hone_le16(b); break;
    case HONE_GGUF_U32: v->as.u = hone_le32(b); break;
    case HONE_GGUF_I32: v->as.i = (int32_t)hone_le32(b); break;
    case HONE_GGUF_U64: v->as.u = hone_le64(b); break;
    case HONE_GGUF_I64: v->as.i = (int64_t)hone_le64(b); break;
    case HONE_GGUF_F32:
        bits = hone_le32(b);
        memcpy(&f, &bits, sizeof f);
        v->as.f = (double)f;
        break;
    case HONE_GGUF_F64:
        wide = hone_le64(b);
        memcpy(&v->as.f, &wide, sizeof wide);
        break;
    case HONE_GGUF_BOOL:
        HONE_TRY(check_bools(b, 1, key, err));
        v->as.b = b[0] != 0;
        break;
    case HONE_GGUF_STRING:
    case HONE_GGUF_ARRAY: break; /* not reached: they have no scalar size */
    }
    return HONE_OK;
}

/* a is NULL on the walk that only measures. */
static hone_code take_array(cursor *c, const char *key, hone_arena *a, hone_gguf_value *v, hone_err *err)
{
    uint32_t       elem;
    uint64_t       n, bytes;
    const uint8_t *b;
    HONE_TRY(take32(c, key, &elem, err));
    HONE_TRY(take64(c, key, &n, err));
    if (elem == HONE_GGUF_ARRAY) return HONE_FAIL(err, HONE_EUNSUPPORTED, "", "%s is an array of arrays", key);
    if (elem != HONE_GGUF_STRING && scalar_size(elem) == 0)
        return HONE_FAIL(err, HONE_EINPUT, AGAIN, "%s is an array of the unknown type %u", key, elem);
    v->elem = (hone_gguf_type)elem;
    v->n = n;
    if (elem != HONE_GGUF_STRING) {
        if (!hone_size_mul(n, scalar_size(elem), &bytes))
            return HONE_FAIL(err, HONE_EINPUT, AGAIN, "%s is an array of %" PRIu64 " elements, more than 2^64 bytes", key, n);
        HONE_TRY(take(c, bytes, key, &b, err));
        v->as.array = b;
        return elem == HONE_GGUF_BOOL ? check_bools(b, n, key, err) : HONE_OK;
    }
    if (n > (c->size - c->at) / 8)
        return HONE_FAIL(err, HONE_EINPUT, AGAIN, "%s is an array of %" PRIu64 " strings, the file ends after %" PRIu64 " bytes", key, n,
                         c->size - c->at);
    hone_gguf_str *list = a ? HONE_ARENA_NEW(a, hone_gguf_str, n) : NULL, one;
    if (a && !list) return HONE_NOMEM(err, "the strings of a GGUF key");
    for (uint64_t i = 0; i < n; i++) HONE_TRY(take_str(c, key, list ? &list[i] : &one, err));
    v->as.array = list;
    return HONE_OK;
}

static hone_code take_kv(cursor *c, uint64_t index, hone_arena *a, hone_gguf_kv *kv, hone_err *err)
{
    char     shown[HONE_SHOWN], text[LABEL];
    uint32_t type;
    *kv = (hone_gguf_kv){ 0 };
    (void)snprintf(text, sizeof text, "key %" PRIu64, index);
    HONE_TRY(take_str(c, text, &kv->key, err));
    HONE_TRY(check_text(&kv->key, KEY_MAX_BYTES, "key", index, err));
    const char *key = label(text, "key", &kv->key, shown);
    HONE_TRY(take32(c, key, &type, err));
    kv->value.type = (hone_gguf_type)type;
    if (type == HONE_GGUF_STRING) return take_str(c, key, &kv->value.as.s, err);
    if (type == HONE_GGUF_ARRAY) return take_array(c, key, a, &kv->value, err);
    if (scalar_size(type) == 0) return HONE_FAIL(err, HONE_EINPUT, AGAIN, "%s has the unknown type %u", key, type);
    return take_scalar(c, type, key, &kv->value, err);
}

/* out->offset is as in the file: relative to the data. */
static hone_code take_tensor(cursor *c, uint64_t index, hone_arena *a, hone_tensor *out, hone_err *err)
{
    char           shown[HONE_SHOWN], text[LABEL];
    hone_gguf_str  name;
    uint32_t       type;
    const uint8_t *b;
    *out = (hone_tensor){ 0 };
    (void)snprintf(text, sizeof text, "tensor %" PRIu64, index);
    HONE_TRY(take_str(c, text, &name, err));
    HONE_TRY(check_text(&name, NAME_MAX_BYTES, "the name of tensor", index, err));
    const char *me = label(text, "tensor", &name, shown);
    HONE_TRY(take32(c, me, &out->n_dims, err));
    if (out->n_dims > MAX_RANK)
        return HONE_FAIL(err, HONE_EINPUT, AGAIN, "%s has %u dimensions, GGUF holds up to %u", me, out->n_dims, MAX_RANK);
    HONE_TRY(take(c, 8 * (uint64_t)out->n_dims, me, &b, err));
    for (uint32_t d = 0; d < out->n_dims; d++) out->dims[d] = hone_le64(b + 8 * (size_t)(out->n_dims - 1 - d)); /* GGUF: fastest first */
    HONE_TRY(take32(c, me, &type, err));
    HONE_TRY(take64(c, me, &out->offset, err));
    if (!hone_dtype_from_gguf(type, &out->dtype))
        return HONE_FAIL(err, HONE_EUNSUPPORTED, "look for a newer hone that knows this type", "%s has the unknown type %u", me, type);

    const hone_dtype_info *info = hone_dtype_get(out->dtype);
    uint64_t               elems = 1, cols = out->n_dims ? out->dims[out->n_dims - 1] : 1;
    bool                   fits = true, empty = false;
    if (cols % info->block_elems != 0)
        return HONE_FAIL(err, HONE_EINPUT, AGAIN, "%s has %" PRIu64 " columns, %s needs a multiple of %u", me, cols, info->name,
                         info->block_elems);
    for (uint32_t d = 0; d < out->n_dims; d++) empty = empty || out->dims[d] == 0;
    for (uint32_t d = 0; d < out->n_dims && fits && !empty; d++) fits = hone_size_mul(elems, out->dims[d], &elems);
    fits = fits && hone_dtype_bytes(out->dtype, empty ? 0 : elems, &out->bytes);
    if (!fits) return HONE_FAIL(err, HONE_EINPUT, AGAIN, "%s: its shape needs more than 2^64 bytes", me);
    if (a && !(out->name = hone_arena_strndup(a, name.ptr, (size_t)name.len))) return HONE_NOMEM(err, "a tensor name");
    return HONE_OK;
}

hone_code hone_gguf_head_len(hone_bytes head, uint64_t file_size, uint64_t *len, uint64_t *need, hone_err *err)
{
    cursor    c = { .p = head.ptr, .len = head.len < file_size ? head.len : file_size, .size = file_size };
    preamble  pre;
    hone_code code = take_preamble(&c, &pre, err);
    for (uint64_t i = 0; code == HONE_OK && i < pre.n_kv; i++) {
        hone_gguf_kv kv;
        code = take_kv(&c, i, NULL, &kv, err);
    }
    for (uint64_t i = 0; code == HONE_OK && i < pre.n_tensors; i++) {
        hone_tensor t;
        code = take_tensor(&c, i, NULL, &t, err);
    }
    *need = code == HONE_OK ? 0 : c.need;
    if (code == HONE_OK) *len = c.at;
    return c.need ? HONE_OK : code;
}

static int compare_str(const hone_gguf_str *a, const hone_gguf_str *b)
{
    uint64_t n = a->len < b->len ? a->len : b->len;
    int      c = memcmp(a->ptr, b->ptr, (size_t)n);
    return c ? c : (a->len > b->len) - (a->len < b->len);
}

static int by_key(const void *x, const void *y)
{
    return compare_str(&(*(const hone_gguf_kv *const *)x)->key, &(*(const hone_gguf_kv *const *)y)->key);
}

static int by_tensor_name(const void *x, const void *y) { return strcmp((*(const hone_tensor *const *)x)->name, (*(const hone_tensor *const *)y)->name); }

static int by_place(const void *x, const void *y)
{
    const hone_tensor *a = *(const hone_tensor *const *)x, *b = *(const hone_tensor *const *)y;
    if (a->offset != b->offset) return a->offset < b->offset ? -1 : 1;
    if (a->bytes != b->bytes) return a->bytes < b->bytes ? -1 : 1; /* empty ones first: they touch nobody */
    return strcmp(a->name, b->name);
}

static hone_code check_keys(const hone_gguf *g, const void **order, hone_err *err)
{
    char shown[HONE_SHOWN];
    for (size_t i = 0; i < g->n_kv; i++) order[i] = &g->kv[i];
    if (g->n_kv) qsort(order, g->n_kv, sizeof *order, by_key);
    for (size_t i = 1; i < g->n_kv; i++) {
        const hone_gguf_kv *kv = order[i];
        if (by_key(&order[i - 1], &order[i]) == 0)
            return HONE_FAIL(err, HONE_EINPUT, AGAIN, "key '%s' stands twice", hone_shown(kv->key.ptr, (size_t)kv->key.len, shown));
    }
    return HONE_OK;
}

static hone_code find_alignment(hone_gguf *g, hone_err *err)
{
    const hone_gguf_value *v = hone_gguf_find(g, "general.alignment");
    g->alignment = DEFAULT_ALIGNMENT;
    if (!v) return HONE_OK;
    if (v->type != HONE_GGUF_U32) return HONE_FAIL(err, HONE_EINPUT, AGAIN, "key 'general.alignment' is of type %u, needs u32 (%u)", v->type, HONE_GGUF_U32);
    if (v->as.u < 8 || (v->as.u & (v->as.u - 1)) != 0)
        return HONE_FAIL(err, HONE_EINPUT, AGAIN, "alignment %" PRIu64 " is not a power of two from 8", v->as.u);
    g->alignment = (uint32_t)v->as.u;
    return HONE_OK;
}

static hone_code check_tensors(hone_tensor *t, size_t n, uint64_t data_off, uint64_t file_size, uint32_t alignment, const void **order, hone_err *err)
{
    char     one[HONE_SHOWN], two[HONE_SHOWN];
    if (n && data_off > file_size)
        return HONE_FAIL(err, HONE_EINPUT, AGAIN, "the data begins at byte %" PRIu64 ", the file has %" PRIu64, data_off, file_size);
    uint64_t data_len = n ? file_size - data_off : 0;
    for (size_t i = 0; i < n; i++) {
        const char *shown = hone_shown(t[i].name, strlen(t[i].name), one);
        if (t[i].offset % alignment != 0)
            return HONE_FAIL(err, HONE_EINPUT, AGAIN, "tensor '%s' lies at %" PRIu64 ", not a multiple of the alignment %u", shown, t[i].offset, alignment);
        if (t[i].offset > data_len || t[i].bytes > data_len - t[i].offset)
            return HONE_FAIL(err, HONE_EINPUT, AGAIN, "tensor '%s' has %" PRIu64 " bytes at %" PRIu64 ", the data has %" PRIu64 " bytes", shown, t[i].bytes,
                             t[i].offset, data_len);
        order[i] = &t[i];
    }
    if (n) qsort(order, n, sizeof *order, by_tensor_name);
    for (size_t i = 1; i < n; i++)
        if (by_tensor_name(&order[i - 1], &order[i]) == 0) {
            const hone_tensor *twin = order[i];
            return HONE_FAIL(err, HONE_EINPUT, AGAIN, "tensor '%s' stands twice", hone_shown(twin->name, strlen(twin->name), one));
        }
    if (n) qsort(order, n, sizeof *order, by_place);
    for (size_t i = 1; i < n; i++) {
        const hone_tensor *a = order[i - 1], *b = order[i];
        if (a->bytes && b->offset - a->offset < a->bytes)
            return HONE_FAIL(err, HONE_EINPUT, AGAIN, "tensors '%s' and '%s' overlap at byte %" PRIu64 " of the data", hone_shown(a->name, strlen(a->name), one),
                             hone_shown(b->name, strlen(b->name), two), b->offset);
    }
    for (size_t i = 0; i < n; i++) t[i].offset += data_off; /* from now on: in the file */
    return HONE_OK;
}

hone_code hone_gguf_parse(hone_bytes head, uint64_t file_size, hone_arena *a, hone_gguf *out, hone_tensor **tensors, size_t *n, hone_err *err)
{
    cursor    c = { .p = head.ptr, .len = head.len < file_size ? head.len : file_size, .size = file_size };
    preamble  pre;
    hone_gguf g = { 0 };
    uint64_t  data_off;
    HONE_TRY(take_preamble(&c, &pre, err));
    /* The counts fit: each announced thing takes at least 14 bytes of a file that has been opened. */
    size_t       most = (size_t)(pre.n_kv > pre.n_tensors ? pre.n_kv : pre.n_tensors);
    hone_tensor *list = HONE_ARENA_NEW(a, hone_tensor, (size_t)pre.n_tensors);
    const void **order = HONE_ARENA_NEW(a, const void *, most);
    g.kv = HONE_ARENA_NEW(a, hone_gguf_kv, (size_t)pre.n_kv);
    if (!list || !order || !g.kv) return HONE_NOMEM(err, "a GGUF header");
    g.version = pre.version;
    for (; g.n_kv < pre.n_kv; g.n_kv++) HONE_TRY(take_kv(&c, g.n_kv, a, &g.kv[g.n_kv], err));
    HONE_TRY(check_keys(&g, order, err));
    HONE_TRY(find_alignment(&g, err));
    for (size_t i = 0; i < pre.n_tensors; i++) HONE_TRY(take_tensor(&c, i, a, &list[i], err));
    if (!hone_size_align(c.at, g.alignment, &data_off)) return HONE_FAIL(err, HONE_EINPUT, AGAIN, "the data would begin past 2^64");
    HONE_TRY(check_tensors(list, (size_t)pre.n_tensors, data_off, file_size, g.alignment, order, err));
    *out = g;
    *tensors = list;
    *n = (size_t)pre.n_tensors;
    return HONE_OK;
}

const hone_gguf_value *hone_gguf_find(const hone_gguf *g, const char *key)
{
    size_t n = strlen(key);
    for (size_t i = 0; i < g->n_kv; i++)
        if (g->kv[i].key.len == n && memcmp(g->kv[i].key.ptr, key, n) == 0) return &g->kv[i].value;
    return NULL;
}
