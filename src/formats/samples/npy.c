#include "formats/samples/npy.h"
#include "base/text.h"
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>

static const char AGAIN[] = "write it again with numpy.save";

/* What follows "'key':" in the dict of the header, blanks skipped; NULL when it has no such key. */
static const char *value_of(const char *dict, const char *key)
{
    char        quoted[32];
    const char *at = NULL;
    for (const char *q = "'\""; *q && !at; q++) {
        (void)snprintf(quoted, sizeof quoted, "%c%s%c", *q, key, *q);
        at = strstr(dict, quoted);
        if (at) at += strlen(quoted);
    }
    if (!at) return NULL;
    while (*at == ' ') at++;
    if (*at != ':') return NULL;
    at++;
    while (*at == ' ') at++;
    return at;
}

static hone_code read_type(const char *dict, int *type, hone_err *err)
{
    static const struct { const char *code; int type; } rows[] = {
        { "f4", HONE_BACKEND_F32 }, { "f2", HONE_BACKEND_F16 }, { "f8", HONE_BACKEND_F64 }, { "i8", HONE_BACKEND_I64 }, { "i4", HONE_BACKEND_I32 },
        { "i2", HONE_BACKEND_I16 }, { "i1", HONE_BACKEND_I8 },  { "u1", HONE_BACKEND_U8 },  { "u2", HONE_BACKEND_U16 }, { "u4", HONE_BACKEND_U32 },
        { "u8", HONE_BACKEND_U64 }, { "b1", HONE_BACKEND_BOOL },
    };
    const char *v = value_of(dict, "descr");
    if (!v) return HONE_FAIL(err, HONE_EINPUT, AGAIN, "the header says no 'descr'");
    if (*v != '\'' && *v != '"') return HONE_FAIL(err, HONE_EUNSUPPORTED, "save plain arrays", "the elements are records");
    size_t n = strcspn(v + 1, "'\"");
    char   shown[24];
    if (n == 3 && v[1] == '>') return HONE_FAIL(err, HONE_EUNSUPPORTED, "save it as little-endian", "the elements are big-endian");
    if (n == 3 && strchr("<|=", v[1]))
        for (size_t i = 0; i < HONE_COUNT(rows); i++)
            if (strncmp(v + 2, rows[i].code, 2) == 0) {
                *type = rows[i].type;
                return HONE_OK;
            }
    return HONE_FAIL(err, HONE_EUNSUPPORTED, "save it as numbers", "elements of type '%s' are not known", hone_text_show(v + 1, n > 20 ? 20 : n, shown, sizeof shown));
}

static hone_code read_shape(const char *dict, hone_samples_array *out, hone_err *err)
{
    const char *v = value_of(dict, "shape");
    if (!v || *v != '(') return HONE_FAIL(err, HONE_EINPUT, AGAIN, "the header says no 'shape'");
    v++;
    out->rank = 0;
    for (;;) {
        uint64_t d = 0;
        while (*v == ' ' || *v == ',') v++;
        if (*v == ')') break;
        if (!isdigit((unsigned char)*v)) return HONE_FAIL(err, HONE_EINPUT, AGAIN, "the shape has a character %d that is no digit", *v);
        if (out->rank == HONE_BACKEND_RANK_MAX)
            return HONE_FAIL(err, HONE_EUNSUPPORTED, "reshape it", "the array has more than %d dimensions", HONE_BACKEND_RANK_MAX);
        for (; isdigit((unsigned char)*v); v++)
            if (!hone_size_mul(d, 10, &d) || !hone_size_add(d, (uint64_t)(*v - '0'), &d) || d > INT64_MAX)
                return HONE_FAIL(err, HONE_EINPUT, AGAIN, "a dimension does not fit 63 bits");
        out->dims[out->rank++] = (int64_t)d;
    }
    if (out->rank == 0) return HONE_FAIL(err, HONE_EUNSUPPORTED, "the first dimension counts samples", "the array has no dimensions");
    return HONE_OK;
}

/* Where the dict is: magic, u8 major, u8 minor, u16 (version 1) or u32 length. */
static hone_code find_dict(hone_bytes head, size_t *at, size_t *len, hone_err *err)
{
    if (head.len < 12 || memcmp(head.ptr, "\x93NUMPY", 6) != 0) return HONE_FAIL(err, HONE_EINPUT, AGAIN, "it does not begin as a .npy");
    if (head.ptr[6] < 1 || head.ptr[6] > 3) return HONE_FAIL(err, HONE_EUNSUPPORTED, AGAIN, "version %d of .npy is not known", head.ptr[6]);
    *at = head.ptr[6] == 1 ? 10 : 12;
    *len = head.ptr[6] == 1 ? hone_le16(head.ptr + 8) : hone_le32(head.ptr + 8);
    if (*len > head.len - *at) return HONE_FAIL(err, HONE_EINPUT, AGAIN, "the header has %zu bytes, %zu are there", *len, head.len - *at);
    return HONE_OK;
}

hone_code hone_npy_parse(hone_bytes head, uint64_t size, hone_samples_array *out, uint64_t *data_off, hone_err *err)
{
    hone_arena         a = { 0 };
    hone_samples_array r = { .name = "" };
    size_t             at = 0, len = 0;
    uint64_t           bytes = 0;
    HONE_TRY(find_dict(head, &at, &len, err));
    const char *dict = hone_arena_strndup(&a, (const char *)head.ptr + at, len);
    hone_code   code = dict ? HONE_OK : HONE_NOMEM(err, "the header of an array");
    if (code == HONE_OK) code = read_type(dict, &r.type, err);
    if (code == HONE_OK) code = read_shape(dict, &r, err);
    const char *order = code == HONE_OK ? value_of(dict, "fortran_order") : NULL;
    if (code == HONE_OK && (!order || (strncmp(order, "False", 5) != 0 && r.rank > 1)))
        code = HONE_FAIL(err, HONE_EUNSUPPORTED, "save numpy.ascontiguousarray of it", "the array is in Fortran order");
    hone_arena_release(&a);
    if (code != HONE_OK) return code;
    bytes = hone_backend_type_size(r.type);
    for (uint32_t i = 1; i < r.rank; i++)
        if (!hone_size_mul(bytes, (uint64_t)r.dims[i], &bytes)) return HONE_FAIL(err, HONE_EINPUT, AGAIN, "the size of the array does not fit 64 bits");
    r.sample_bytes = bytes;
    if (!hone_size_mul(bytes, (uint64_t)r.dims[0], &bytes) || bytes > size - at - len)
        return HONE_FAIL(err, HONE_EINPUT, AGAIN, "the shape needs %" PRIu64 " bytes, the file has %" PRIu64 " behind its header", bytes, size - at - len);
    *out = r;
    *data_off = at + len;
    return HONE_OK;
}
