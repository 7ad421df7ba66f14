/* write.c - the header of a safetensors file that is about to be written.  Shares no code with the reader that checks it. */
#include "base/json.h"
#include "formats/safetensors.h"
#include <ctype.h>
#include <stdlib.h>

/* The names of the format are ours in capitals: f32 -> F32. */
static void dtype_name(hone_dtype t, char out[16])
{
    const char *s = hone_dtype_name(t);
    size_t      i = 0;
    for (; s[i] && i < 15; i++) out[i] = (char)toupper((unsigned char)s[i]);
    out[i] = '\0';
}

static hone_code put(json_t *head, const hone_st_entry *e, uint64_t at, hone_err *err)
{
    char name[16];
    dtype_name(e->dtype, name);
    json_t *shape = json_array(), *row = json_object();
    bool    good = shape && row;
    for (uint32_t d = 0; good && d < e->n_dims; d++) good = json_array_append_new(shape, json_integer((json_int_t)e->dims[d])) == 0;
    good = good && hone_json_put(row, "dtype", json_string(name)) && hone_json_put(row, "shape", json_incref(shape)) &&
           hone_json_put(row, "data_offsets", json_pack("[I,I]", (json_int_t)at, (json_int_t)(at + e->bytes))) &&
           hone_json_put(head, e->name, json_incref(row));
    json_decref(shape);
    json_decref(row);
    return good ? HONE_OK : HONE_NOMEM(err, "a safetensors header");
}

static hone_code measure(hone_st_entry *e, hone_err *err)
{
    uint64_t elems = 1;
    bool     fits = true;
    for (uint32_t d = 0; d < e->n_dims; d++) fits = fits && hone_size_mul(elems, e->dims[d], &elems);
    fits = fits && hone_size_mul(elems, hone_dtype_get(e->dtype)->block_bytes, &e->bytes);
    return fits ? HONE_OK : HONE_FAIL(err, HONE_EBUG, "", "tensor '%s' does not fit into a file", e->name);
}

/* True when tensors that follow each other in the order given all begin at a multiple of their elements' size. */
static bool aligned_in_order(const hone_st_entry *e, size_t n)
{
    uint64_t at = 0; /* may wrap: sizes are powers of two, and place() refuses what is too long */
    for (size_t i = 0; i < n; at += e[i++].bytes)
        if (at % hone_dtype_get(e[i].dtype)->block_bytes) return false;
    return true;
}

static hone_code place(hone_st_entry *e, json_t *head, uint64_t *at, hone_err *err)
{
    uint64_t end = 0;
    if (!hone_size_add(*at, e->bytes, &end) || end > INT64_MAX)
        return HONE_FAIL(err, HONE_EBUG, "", "tensor '%s' does not fit into a file", e->name);
    HONE_TRY(put(head, e, *at, err));
    e->offset = *at;
    *at = end;
    return HONE_OK;
}

/* Data offsets count from the end of the header.  Tensors lie in the order given, so that what is made together lies together; when one would not be
 * aligned there, those of wide elements come first, after which all are, whatever their shapes (as prepare() of safetensors/src/tensor.rs does). */
static hone_code fill(hone_st_entry *e, size_t n, json_t *head, uint64_t *data_bytes, hone_err *err)
{
    *data_bytes = 0;
    for (size_t i = 0; i < n; i++) HONE_TRY(measure(&e[i], err));
    if (aligned_in_order(e, n)) {
        for (size_t i = 0; i < n; i++) HONE_TRY(place(&e[i], head, data_bytes, err));
        return HONE_OK;
    }
    for (uint32_t size = 8; size; size /= 2)
        for (size_t i = 0; i < n; i++)
            if (hone_dtype_get(e[i].dtype)->block_bytes == size) HONE_TRY(place(&e[i], head, data_bytes, err));
    return HONE_OK;
}

hone_code hone_safetensors_layout(hone_st_entry *e, size_t n, const char *format, hone_arena *a, hone_bytes *head, uint64_t *total, hone_err *err)
{
    json_t   *doc = json_object();
    uint64_t  data = 0;
    hone_code code = HONE_OK;
    if (!doc || !hone_json_put(doc, "__metadata__", json_pack("{s:s}", "format", format))) code = HONE_NOMEM(err, "a safetensors header");
    for (size_t i = 0; code == HONE_OK && i < n; i++)
        if (hone_dtype_get(e[i].dtype)->block_elems != 1)
            code = HONE_FAIL(err, HONE_EBUG, "", "tensor '%s' is %s, which has no elements of whole bytes", e[i].name, hone_dtype_name(e[i].dtype));
    if (code == HONE_OK) code = fill(e, n, doc, &data, err);
    char *text = code == HONE_OK ? json_dumps(doc, JSON_COMPACT) : NULL;
    json_decref(doc);
    if (code != HONE_OK) return code;
    size_t   len = text ? strlen(text) : 0, padded = (len + 7) / 8 * 8;
    uint8_t *out = text ? hone_arena_alloc(a, 8 + padded) : NULL;
    if (!out) {
        free(text);
        return HONE_NOMEM(err, "a safetensors header");
    }
    hone_put_le64(out, padded);
    memset(out + 8, ' ', padded);
    memcpy(out + 8, text, len);
    free(text);
    for (size_t i = 0; i < n; i++) e[i].offset += 8 + padded;
    *head = (hone_bytes){ out, 8 + padded };
    *total = 8 + padded + data;
    return HONE_OK;
}
