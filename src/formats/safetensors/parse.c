/* parse.c - the JSON header of one safetensors file, with every promise of the format checked.
 * Source: huggingface/safetensors README "Format"; safetensors/src/tensor.rs for what the reference reader refuses. */
#include "base/json.h"
#include "formats/files.h"
#include "formats/safetensors.h"
#include "formats/safetensors/head.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

static const char AGAIN[] = "download it again and compare its sha256 with the publisher's";

static const struct {
    const char *name;
    hone_dtype  dtype;
} dtypes[] = {
    { "F32", HONE_DTYPE_F32 },         { "F16", HONE_DTYPE_F16 },         { "BF16", HONE_DTYPE_BF16 },
    { "F64", HONE_DTYPE_F64 },         { "BOOL", HONE_DTYPE_BOOL },       { "U8", HONE_DTYPE_U8 },
    { "I8", HONE_DTYPE_I8 },           { "U16", HONE_DTYPE_U16 },         { "I16", HONE_DTYPE_I16 },
    { "U32", HONE_DTYPE_U32 },         { "I32", HONE_DTYPE_I32 },         { "U64", HONE_DTYPE_U64 },
    { "I64", HONE_DTYPE_I64 },         { "C64", HONE_DTYPE_C64 },         { "F8_E4M3", HONE_DTYPE_F8_E4M3 },
    { "F8_E5M2", HONE_DTYPE_F8_E5M2 }, { "F8_E8M0", HONE_DTYPE_F8_E8M0 }, { "F8_E4M3FNUZ", HONE_DTYPE_F8_E4M3FNUZ },
    { "F8_E5M2FNUZ", HONE_DTYPE_F8_E5M2FNUZ }, { "F4", HONE_DTYPE_F4 },   { "F6_E2M3", HONE_DTYPE_F6_E2M3 },
    { "F6_E3M2", HONE_DTYPE_F6_E3M2 },
};

static bool dtype_of(const char *name, hone_dtype *out)
{
    for (size_t i = 0; i < HONE_COUNT(dtypes); i++)
        if (strcmp(dtypes[i].name, name) == 0) {
            *out = dtypes[i].dtype;
            return true;
        }
    return false;
}

/* A whole number 0..2^63-1.  When one number of the document is beyond 64 bits all of them arrive as reals (base/json.h);
 * those below 2^53 are still exact. */
static bool whole(const json_t *v, uint64_t *out)
{
    if (json_is_integer(v)) {
        json_int_t i = json_integer_value(v);
        if (i < 0) return false;
        *out = (uint64_t)i;
        return true;
    }
    if (!json_is_real(v)) return false;
    double d = json_real_value(v);
    if (!(d >= 0 && d <= 9007199254740992.0 && floor(d) == d)) return false;
    *out = (uint64_t)d;
    return true;
}

static hone_code parse_shape(const json_t *shape, const char *shown, hone_tensor *t, hone_err *err)
{
    if (!json_is_array(shape)) return HONE_FAIL(err, HONE_EINPUT, AGAIN, "tensor '%s' has no array \"shape\"", shown);
    size_t n = json_array_size(shape);
    if (n > HONE_MAX_DIMS)
        return HONE_FAIL(err, HONE_EUNSUPPORTED, "", "tensor '%s' has %zu dimensions, hone reads up to %d", shown, n, HONE_MAX_DIMS);
    t->n_dims = (uint32_t)n;
    for (size_t i = 0; i < n; i++)
        if (!whole(json_array_get(shape, i), &t->dims[i]))
            return HONE_FAIL(err, HONE_EINPUT, AGAIN, "tensor '%s': \"shape\"[%zu] is not a whole number below 2^63", shown, i);
    return HONE_OK;
}

static hone_code parse_tensor(const char *key, const json_t *v, uint64_t data_len, hone_arena *a, hone_tensor *t, hone_err *err)
{
    char        buf[HONE_SHOWN], word[HONE_SHOWN];
    const char *shown = hone_shown(key, strlen(key), buf);
    if (!json_is_object(v)) return HONE_FAIL(err, HONE_EINPUT, AGAIN, "entry of tensor '%s' is not an object", shown);
    const json_t *dtype = json_object_get(v, "dtype");
    if (!json_is_string(dtype)) return HONE_FAIL(err, HONE_EINPUT, AGAIN, "tensor '%s' has no string \"dtype\"", shown);
    if (!dtype_of(json_string_value(dtype), &t->dtype))
        return HONE_FAIL(err, HONE_EUNSUPPORTED, "look for a newer hone that knows this type", "tensor '%s' has unknown dtype '%s'", shown,
                         hone_shown(json_string_value(dtype), json_string_length(dtype), word));
    HONE_TRY(parse_shape(json_object_get(v, "shape"), shown, t, err));

    const json_t *range = json_object_get(v, "data_offsets");
    uint64_t      begin, end;
    if (!json_is_array(range) || json_array_size(range) != 2 || !whole(json_array_get(range, 0), &begin) || !whole(json_array_get(range, 1), &end))
        return HONE_FAIL(err, HONE_EINPUT, AGAIN, "tensor '%s': \"data_offsets\" is not a pair of whole numbers below 2^63", shown);
    if (begin > end || end > data_len)
        return HONE_FAIL(err, HONE_EINPUT, AGAIN, "tensor '%s' lies at %" PRIu64 "..%" PRIu64 ", the data has %" PRIu64 " bytes", shown, begin, end,
                         data_len);
    uint64_t elems = 1, bytes = 0;
    bool     fits = true, empty = false;
    for (uint32_t i = 0; i < t->n_dims; i++) empty = empty || t->dims[i] == 0; /* [0, 2^62, 2^62] has no elements and is fine */
    for (uint32_t i = 0; i < t->n_dims && fits && !empty; i++) fits = hone_size_mul(elems, t->dims[i], &elems);
    if (empty) elems = 0;
    const hone_dtype_info *info = hone_dtype_get(t->dtype);
    if (fits && elems % info->block_elems != 0)
        return HONE_FAIL(err, HONE_EINPUT, AGAIN, "tensor '%s' has %" PRIu64 " elements, %s needs a multiple of %u", shown, elems, info->name,
                         info->block_elems);
    fits = fits && hone_dtype_bytes(t->dtype, elems, &bytes);
    if (!fits) return HONE_FAIL(err, HONE_EINPUT, AGAIN, "tensor '%s': its shape needs more than 2^64 bytes", shown);
    if (bytes != end - begin)
        return HONE_FAIL(err, HONE_EINPUT, AGAIN, "tensor '%s' has %" PRIu64 " bytes of data, its shape and dtype need %" PRIu64, shown, end - begin,
                         bytes);
    t->offset = begin;
    t->bytes = bytes;
    if (!(t->name = hone_arena_strdup(a, key))) return HONE_NOMEM(err, "a tensor name");
    return HONE_OK;
}

static hone_code check_metadata(const json_t *meta, hone_err *err)
{
    if (!json_is_object(meta)) return HONE_FAIL(err, HONE_EINPUT, AGAIN, "\"__metadata__\" is not an object");
    const char *key;
    json_t     *v;
    json_object_foreach((json_t *)(uintptr_t)meta, key, v)
    {
        char buf[HONE_SHOWN];
        if (!json_is_string(v))
            return HONE_FAIL(err, HONE_EINPUT, AGAIN, "\"__metadata__\" holds a value that is not a string under '%s'",
                             hone_shown(key, strlen(key), buf));
    }
    return HONE_OK;
}

static int by_place(const void *x, const void *y)
{
    const hone_tensor *a = x, *b = y;
    if (a->offset != b->offset) return a->offset < b->offset ? -1 : 1;
    if (a->bytes != b->bytes) return a->bytes < b->bytes ? -1 : 1; /* empty ones first: they touch nobody */
    return strcmp(a->name, b->name);
}

/* The data must be covered without holes and without overlap: a hole can hide what a scanner should have seen. */
static hone_code check_cover(const hone_tensor *t, size_t n, uint64_t data_len, hone_err *err)
{
    uint64_t at = 0;
    char     one[HONE_SHOWN], two[HONE_SHOWN];
    for (size_t i = 0; i < n; i++) {
        const char *shown = hone_shown(t[i].name, strlen(t[i].name), one);
        if (t[i].offset < at)
            return HONE_FAIL(err, HONE_EINPUT, AGAIN, "tensors '%s' and '%s' overlap at byte %" PRIu64 " of the data",
                             hone_shown(t[i - 1].name, strlen(t[i - 1].name), two), shown, t[i].offset);
        if (t[i].offset > at)
            return HONE_FAIL(err, HONE_EINPUT, AGAIN, "no tensor covers bytes %" PRIu64 "..%" PRIu64 " of the data, before '%s'", at, t[i].offset,
                             shown);
        at += t[i].bytes;
    }
    if (at != data_len)
        return HONE_FAIL(err, HONE_EINPUT, AGAIN, "tensors end at byte %" PRIu64 " of the data, it has %" PRIu64, at, data_len);
    return HONE_OK;
}

static hone_code parse_object(const json_t *root, const hone_st_head *head, uint64_t data_len, hone_arena *a, hone_tensor **tensors, size_t *n,
                              hone_err *err)
{
    const json_t *meta = json_object_get(root, "__metadata__");
    if (meta) HONE_TRY(check_metadata(meta, err));
    size_t       count = json_object_size(root) - (meta ? 1 : 0), i = 0;
    hone_tensor *list = HONE_ARENA_NEW(a, hone_tensor, count);
    if (!list) return HONE_NOMEM(err, "the list of tensors");
    const char *key;
    json_t     *v;
    json_object_foreach((json_t *)(uintptr_t)root, key, v)
    {
        if (v == meta) continue;
        HONE_TRY(parse_tensor(key, v, data_len, a, &list[i], err));
        i++;
    }
    if (count) qsort(list, count, sizeof *list, by_place);
    HONE_TRY(check_cover(list, count, data_len, err));
    for (i = 0; i < count; i++) list[i].offset += head->data_off; /* from now on: in the file */
    *tensors = list;
    *n = count;
    return HONE_OK;
}

hone_code hone_safetensors_parse(hone_bytes head, uint64_t file_size, hone_arena *a, hone_tensor **tensors, size_t *n, hone_err *err)
{
    hone_st_head h;
    HONE_TRY(hone_st_head_find(head, file_size, &h, err));
    if (h.data_off > head.len)
        return HONE_FAIL(err, HONE_EINPUT, AGAIN, "header ends at byte %" PRIu64 ", only %zu were given", h.data_off, head.len);
    json_t *root = NULL;
    HONE_TRY(hone_json_parse((hone_bytes){ head.ptr + 8, (size_t)h.json_len }, "header", &root, err));
    hone_code code = parse_object(root, &h, file_size - h.data_off, a, tensors, n, err);
    json_decref(root);
    return code;
}
