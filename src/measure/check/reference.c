#include "measure/check/reference.h"
#include "base/file.h"
#include "formats/safetensors.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char AGAIN[] = "compute the reference again with a program that the checkpoint's publisher trusts";
#define MAX_ROWS 4096u /* rows x columns stay small: a reference proves, it does not benchmark */

static hone_code want_f32(const hone_tensor *t, uint32_t n_dims, const char *path, hone_err *err)
{
    if (t->dtype != HONE_DTYPE_F32)
        return HONE_FAIL(err, HONE_EINPUT, AGAIN, "%s: \"%s\" is %s, needs f32", path, t->name, hone_dtype_name(t->dtype));
    if (t->n_dims != n_dims)
        return HONE_FAIL(err, HONE_EINPUT, AGAIN, "%s: \"%s\" has %u dimensions, needs %u", path, t->name, t->n_dims, n_dims);
    return HONE_OK;
}

/* [rows, cols] of whole numbers, i64 or i32. */
static hone_code read_ints(const hone_source *s, const hone_tensor *t, const char *path, hone_arena *a, int64_t **out, hone_err *err)
{
    bool wide = t->dtype == HONE_DTYPE_I64;
    if (!wide && t->dtype != HONE_DTYPE_I32)
        return HONE_FAIL(err, HONE_EINPUT, AGAIN, "%s: \"%s\" is %s, needs i64 or i32", path, t->name, hone_dtype_name(t->dtype));
    if (t->n_dims != 2)
        return HONE_FAIL(err, HONE_EINPUT, AGAIN, "%s: \"%s\" has %u dimensions, needs 2", path, t->name, t->n_dims);
    if (t->dims[0] == 0 || t->dims[1] == 0 || t->dims[0] > MAX_ROWS || t->dims[1] > MAX_ROWS)
        return HONE_FAIL(err, HONE_EINPUT, AGAIN, "%s: \"%s\" is %" PRIu64 " x %" PRIu64 ", each must be 1..%u", path, t->name,
                         t->dims[0], t->dims[1], MAX_ROWS);
    size_t   n = (size_t)(t->dims[0] * t->dims[1]), each = wide ? 8 : 4;
    int64_t *v = HONE_ARENA_NEW(a, int64_t, n);
    uint8_t *raw = hone_arena_calloc(a, n, each);
    if (!v || !raw) return HONE_NOMEM(err, "the reference");
    HONE_TRY(s->read(s, t, 0, raw, n * each, err));
    for (size_t i = 0; i < n; i++) v[i] = wide ? (int64_t)hone_le64(raw + 8 * i) : (int32_t)hone_le32(raw + 4 * i);
    *out = v;
    return HONE_OK;
}

static hone_code bind(hone_reference *r, const char *path, hone_arena *a, hone_err *err)
{
    const hone_tensor *ids = hone_source_find(r->source, "input_ids"), *mask = hone_source_find(r->source, "attention_mask");
    int64_t           *v, *m;
    if (!ids) return HONE_FAIL(err, HONE_EINPUT, AGAIN, "%s: tensor \"input_ids\" is missing", path);
    HONE_TRY(read_ints(r->source, ids, path, a, &v, err));
    r->rows = (size_t)ids->dims[0];
    r->cols = (size_t)ids->dims[1];
    int32_t *narrow = HONE_ARENA_NEW(a, int32_t, r->rows * r->cols);
    size_t  *counts = HONE_ARENA_NEW(a, size_t, r->rows);
    if (!narrow || !counts) return HONE_NOMEM(err, "the reference");
    for (size_t i = 0; i < r->rows * r->cols; i++) {
        if (v[i] < 0 || v[i] > INT32_MAX)
            return HONE_FAIL(err, HONE_EINPUT, AGAIN, "%s: input_ids[%zu, %zu] is %" PRId64, path, i / r->cols, i % r->cols, v[i]);
        narrow[i] = (int32_t)v[i];
    }
    for (size_t i = 0; i < r->rows; i++) counts[i] = r->cols;
    if (mask) {
        if (mask->n_dims != 2 || mask->dims[0] != ids->dims[0] || mask->dims[1] != ids->dims[1])
            return HONE_FAIL(err, HONE_EINPUT, AGAIN, "%s: \"attention_mask\" has another shape than \"input_ids\"", path);
        HONE_TRY(read_ints(r->source, mask, path, a, &m, err));
        for (size_t i = 0; i < r->rows; i++) {
            for (counts[i] = 0; counts[i] < r->cols && m[i * r->cols + counts[i]]; counts[i]++) continue;
            for (size_t k = counts[i]; k < r->cols; k++)
                if (m[i * r->cols + k] || counts[i] == 0)
                    return HONE_FAIL(err, HONE_EINPUT, AGAIN, "%s: attention_mask row %zu does not pad at its end only", path, i);
        }
    }
    r->ids = narrow;
    r->counts = counts;

    r->logits = hone_source_find(r->source, "logits");
    r->embeddings = hone_source_find(r->source, "embeddings");
    r->hidden = hone_source_find(r->source, "last_hidden_state");
    const hone_tensor *by_col[] = { r->logits, r->hidden };
    if (!r->logits && !r->embeddings)
        return HONE_FAIL(err, HONE_EINPUT, AGAIN, "%s: neither \"logits\" nor \"embeddings\" is there", path);
    for (size_t i = 0; i < HONE_COUNT(by_col); i++) {
        const hone_tensor *t = by_col[i];
        if (!t) continue;
        HONE_TRY(want_f32(t, 3, path, err));
        if (t->dims[0] != r->rows || t->dims[1] != r->cols)
            return HONE_FAIL(err, HONE_EINPUT, AGAIN, "%s: \"%s\" is for %" PRIu64 " x %" PRIu64 " ids, input_ids has %zu x %zu", path,
                             t->name, t->dims[0], t->dims[1], r->rows, r->cols);
    }
    if (r->embeddings) {
        HONE_TRY(want_f32(r->embeddings, 2, path, err));
        if (r->embeddings->dims[0] != r->rows)
            return HONE_FAIL(err, HONE_EINPUT, AGAIN, "%s: \"embeddings\" has %" PRIu64 " rows, input_ids has %zu", path,
                             r->embeddings->dims[0], r->rows);
        if (r->hidden && r->hidden->dims[2] != r->embeddings->dims[1])
            return HONE_FAIL(err, HONE_EINPUT, AGAIN, "%s: last_hidden_state is %" PRIu64 " wide, embeddings %" PRIu64, path,
                             r->hidden->dims[2], r->embeddings->dims[1]);
    }
    r->width = (size_t)(r->logits ? r->logits->dims[2] : r->embeddings->dims[1]);
    if (r->width == 0) return HONE_FAIL(err, HONE_EINPUT, AGAIN, "%s: its vectors are empty", path);
    return HONE_OK;
}

hone_code hone_reference_greedy(const json_t *root, const char *what, hone_arena *a, hone_reference *r, hone_err *err)
{
    const json_t *greedy = json_object_get(root, "greedy"), *gaps = json_object_get(root, "greedy_top2_gap");
    if (!greedy) return HONE_OK;
    if (!json_is_array(greedy) || json_array_size(greedy) != r->rows)
        return HONE_FAIL(err, HONE_EINPUT, AGAIN, "%s: \"greedy\" has %zu rows, input_ids has %zu", what, json_array_size(greedy), r->rows);
    if (!json_is_array(gaps) || json_array_size(gaps) != r->rows)
        return HONE_FAIL(err, HONE_EINPUT, AGAIN, "%s: \"greedy_top2_gap\" has %zu rows, \"greedy\" has %zu", what, json_array_size(gaps), r->rows);
    size_t n = json_array_size(json_array_get(greedy, 0));
    if (n > MAX_ROWS) return HONE_FAIL(err, HONE_EINPUT, AGAIN, "%s: \"greedy\" has %zu steps, at most %u", what, n, MAX_ROWS);
    int32_t *ids = HONE_ARENA_NEW(a, int32_t, r->rows * n);
    double  *gap = HONE_ARENA_NEW(a, double, r->rows * n);
    if (!ids || !gap) return HONE_NOMEM(err, "the greedy continuation");
    for (size_t i = 0; i < r->rows; i++) {
        const json_t *gi = json_array_get(greedy, i), *gg = json_array_get(gaps, i);
        if (json_array_size(gi) != n || json_array_size(gg) != n)
            return HONE_FAIL(err, HONE_EINPUT, AGAIN, "%s: greedy row %zu has %zu ids and %zu gaps, needs %zu", what, i, json_array_size(gi),
                             json_array_size(gg), n);
        for (size_t k = 0; k < n; k++) {
            const json_t *id = json_array_get(gi, k), *g = json_array_get(gg, k);
            if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) > INT32_MAX || !json_is_number(g))
                return HONE_FAIL(err, HONE_EINPUT, AGAIN, "%s: greedy row %zu, step %zu is no token id with a gap", what, i, k);
            ids[i * n + k] = (int32_t)json_integer_value(id);
            gap[i * n + k] = json_number_value(g);
        }
    }
    r->greedy = ids;
    r->gaps = gap;
    r->greedy_n = n;
    return HONE_OK;
}

hone_code hone_reference_open(const char *path, hone_arena *a, hone_reference *out, hone_err *err)
{
    hone_reference r = { 0 };
    HONE_TRY(hone_safetensors_open(path, a, &r.source, err));
    hone_code code = bind(&r, path, a, err);
    size_t    stem = strlen(path);
    if (stem > 12 && strcmp(path + stem - 12, ".safetensors") == 0) stem -= 12;
    const char *beside = code == HONE_OK ? hone_arena_printf(a, "%.*s.json", (int)stem, path) : NULL;
    if (code == HONE_OK && !beside) code = HONE_NOMEM(err, "the reference");
    if (code == HONE_OK && hone_file_exists(beside)) {
        json_t *root;
        code = hone_json_load(beside, &root, err);
        if (code == HONE_OK) {
            code = hone_reference_greedy(root, beside, a, &r, err);
            json_decref(root);
        }
    }
    if (code == HONE_OK) *out = r;
    else r.source->close(r.source);
    return code;
}

hone_code hone_reference_read(const hone_reference *r, const hone_tensor *t, size_t row, size_t col, float *out, hone_err *err)
{
    if (!t) {
        size_t every = r->every > 1 ? r->every : 1;
        memcpy(out, r->memory + (row * r->cols + col) / every * r->width, r->width * sizeof *out);
        return HONE_OK;
    }
    size_t per_row = t->n_dims == 3 ? r->cols : 1;
    HONE_TRY(r->source->read(r->source, t, (row * per_row + col) * r->width * 4, out, r->width * 4, err));
    for (size_t i = 0; i < r->width; i++) { /* safetensors is little-endian, whatever we are */
        uint32_t bits = hone_le32((const uint8_t *)out + 4 * i);
        memcpy(&out[i], &bits, 4);
    }
    return HONE_OK;
}

void hone_reference_close(hone_reference *r)
{
    if (!r) return;
    if (r->source) r->source->close(r->source);
    free(r->memory);
    *r = (hone_reference){ 0 };
}
