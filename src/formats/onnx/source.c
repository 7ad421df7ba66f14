#include "formats/onnx/source.h"
#include "formats/files.h"
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#define TILE_BYTES 65536u /* of decoded floats held at once, or one row */

static const char AGAIN[] = "write the folder again from the checkpoint";

enum { ONNX_FLOAT = 1, ONNX_UINT8 = 2, ONNX_INT8 = 3, ONNX_FLOAT16 = 10, ONNX_BFLOAT16 = 16, ONNX_UINT4 = 21, ONNX_INT4 = 22 };

typedef struct part { /* how one tensor lies in the data file */
    const hone_onnx_tensor *stream[HONE_STREAMS];
    hone_grouped            grouped; /* scheme HONE_SCHEME_NONE: floats */
    uint64_t                rows, row0, step, block; /* of each `block` stored rows, `rows` are taken */
} part;

typedef struct source {
    hone_source *files;
    part        *parts; /* [n_tensors], in the order of the tensors */
} source;

static const hone_onnx_tensor *find(const hone_onnx_file *f, const char *name, const char *tail)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < f->n_tensors; i++)
        if (strncmp(f->tensors[i].name, name, n) == 0 && strcmp(f->tensors[i].name + n, tail) == 0) return &f->tensors[i];
    return NULL;
}

static const hone_onnx_tensor *find_any(const hone_onnx_file *f, const char *name)
{
    static const char *const tails[] = { "", ".codes", ".rows" };
    const hone_onnx_tensor  *t = NULL;
    for (size_t i = 0; i < HONE_COUNT(tails) && !t; i++) t = find(f, name, tails[i]);
    return t;
}

bool hone_onnx_holds(const hone_onnx_file *f, const char *of) { return find_any(f, of) != NULL; }

static bool float_type(int32_t type, hone_dtype *out)
{
    *out = type == ONNX_FLOAT ? HONE_DTYPE_F32 : type == ONNX_FLOAT16 ? HONE_DTYPE_F16 : HONE_DTYPE_BF16;
    return type == ONNX_FLOAT || type == ONNX_FLOAT16 || type == ONNX_BFLOAT16;
}

static uint64_t product(const hone_onnx_tensor *t, uint32_t n)
{
    uint64_t v = 1;
    for (uint32_t d = 0; d < n; d++) v *= t->dims[d]; /* the reader has seen that it fits */
    return v;
}

/* The bits and the group of codes whose rows have cols numbers: from how many scales and bytes a row has. */
static hone_code settle(part *p, uint64_t cols, uint64_t rows, const char *name, hone_err *err)
{
    const hone_onnx_tensor *c = p->stream[0], *s = p->stream[1], *z = p->stream[2];
    hone_grouped           *g = &p->grouped;
    hone_dtype              scale = HONE_DTYPE_F32;
    char                    shown[HONE_SHOWN];
    hone_shown(name, strlen(name), shown);
    if (!s || !float_type(s->type, &scale) || rows == 0 || cols == 0)
        return HONE_FAIL(err, HONE_EINPUT, AGAIN, "the codes of '%s' have no scales that are floats", shown);
    uint64_t scales = product(s, s->n_dims), numbers;
    if (cols > UINT64_MAX / 512 || !hone_size_mul(rows, cols + 256, &numbers) || numbers > UINT64_MAX / 64) /* so that nothing below wraps */
        return HONE_FAIL(err, HONE_EINPUT, AGAIN, "the codes of '%s' are those of %" PRIu64 " rows of %" PRIu64, shown, rows, cols);
    bool     flat = c->type == ONNX_UINT4 || c->type == ONNX_INT4 || c->type == ONNX_INT8 || (strcmp(c->name, name) == 0);
    *g = (hone_grouped){ .scheme = HONE_SCHEME_ONNX, .scale = scale, .sym = !z, .flat = flat };
    for (uint32_t group = 16; group <= 256 && !g->group; group *= 2)
        if ((cols + group - 1) / group * rows == scales) g->group = group;
    for (uint32_t bits = 4; g->group && bits <= 8 && !g->bits; bits += 4) {
        g->bits = bits;
        if ((hone_grouped_row_bits(g, 0, cols) * rows + 7) / 8 != c->length) g->bits = 0;
    }
    if (!g->bits || !hone_grouped_valid(g) || (z && hone_grouped_bytes(g, HONE_STREAM_ZEROS, rows, cols) != z->length))
        return HONE_FAIL(err, HONE_EINPUT, AGAIN, "'%s' has %" PRIu64 " bytes of codes and %" PRIu64 " scales for %" PRIu64 " rows of %" PRIu64, shown, c->length,
                         scales, rows, cols);
    return HONE_OK;
}

static hone_code add(const hone_onnx_file *f, const hone_onnx_piece *want, uint64_t data_bytes, hone_tensor *t, part *p, hone_err *err)
{
    const hone_onnx_tensor *w = find_any(f, want->of);
    hone_dtype              dtype = HONE_DTYPE_F32;
    char                    shown[HONE_SHOWN];
    hone_shown(want->of, strlen(want->of), shown);
    if (!w || w->n_dims == 0 || w->n_dims > 3) return HONE_FAIL(err, HONE_EINPUT, AGAIN, "there is no matrix or vector '%s'", shown);
    bool coded = !float_type(w->type, &dtype), blocks = coded && strcmp(w->name + strlen(want->of), ".codes") == 0;
    *p = (part){ .stream = { w } };
    /* MatMulNBits holds [rows, groups, bytes], QMoE [experts, rows, bytes]. */
    const hone_onnx_tensor *s = coded ? find(f, want->of, ".scales") : NULL;
    bool                    stacked = w->n_dims == 3 && !(blocks && s && s->n_dims == 2);
    uint64_t                per = w->n_dims == 1 ? w->dims[0] : stacked ? w->dims[1] : w->dims[0], count = stacked ? w->dims[0] : 1;
    uint64_t                cols = w->n_dims == 1 ? 1 : coded ? want->cols : w->dims[w->n_dims - 1];
    p->stream[1] = s;
    p->stream[2] = coded ? find(f, want->of, ".zeros") : NULL;
    for (uint32_t k = 0; k < HONE_STREAMS; k++)
        if (p->stream[k] && (!p->stream[k]->location || strcmp(p->stream[k]->location, HONE_ONNX_DATA) != 0 || p->stream[k]->offset > data_bytes ||
                             p->stream[k]->length > data_bytes - p->stream[k]->offset))
            return HONE_FAIL(err, HONE_EINPUT, AGAIN, "'%s' does not lie inside '%s'", shown, HONE_ONNX_DATA);
    if (coded) {
        HONE_TRY(settle(p, cols, per * count, want->of, err));
        dtype = HONE_DTYPE_F32;
    }
    p->rows = want->rows ? want->rows : per;
    p->row0 = want->row0;
    p->step = want->step ? want->step : 1;
    p->block = per;
    if (p->rows == 0 || p->row0 >= per || (per - 1 - p->row0) / p->step + 1 < p->rows)
        return HONE_FAIL(err, HONE_EINPUT, AGAIN, "'%s' has %" PRIu64 " rows, %" PRIu64 " from row %" PRIu64 " on were expected", shown, per, p->rows, p->row0);
    *t = (hone_tensor){ .name = want->name, .dtype = dtype };
    if (stacked) t->dims[t->n_dims++] = count;
    t->dims[t->n_dims++] = p->rows;
    if (w->n_dims > 1) t->dims[t->n_dims++] = cols;
    t->bytes = count * p->rows * cols * hone_dtype_get(dtype)->block_bytes;
    return HONE_OK;
}

/* ---- reading ---- */

/* n stored rows from `row` on, as the tensor's numbers. */
static hone_code read_run(const source *v, const part *p, const hone_tensor *t, uint64_t row, uint64_t n, uint8_t *buf, hone_err *err)
{
    const hone_file    *file = hone_files_get(v->files, 0);
    const hone_grouped *g = &p->grouped;
    uint64_t            cols = t->n_dims == 1 ? 1 : t->dims[t->n_dims - 1], wide = cols * hone_dtype_get(t->dtype)->block_bytes;
    if (g->scheme == HONE_SCHEME_NONE) return hone_file_read(file, p->stream[0]->offset + row * wide, buf, (size_t)(n * wide), err);
    uint64_t align = hone_grouped_align(g, cols), first = row / align * align, lead = row - first, at[HONE_STREAMS] = { 0 }, total = 0;
    for (uint32_t s = 0; s < hone_grouped_streams(g); s++) {
        at[s] = total;
        total += (hone_grouped_bytes(g, s, lead + n, cols) + 63) / 64 * 64;
    }
    uint8_t *raw = malloc((size_t)total);
    float   *x = malloc((size_t)((lead + n) * cols) * sizeof *x);
    hone_code code = raw && x ? HONE_OK : HONE_NOMEM(err, "rows of codes");
    for (uint32_t s = 0; code == HONE_OK && s < hone_grouped_streams(g); s++)
        code = hone_file_read(file, p->stream[s]->offset + first * hone_grouped_row_bits(g, s, cols) / 8, raw + at[s],
                              (size_t)hone_grouped_bytes(g, s, lead + n, cols), err);
    if (code == HONE_OK) {
        hone_grouped_decode(g, (const uint8_t *const[HONE_STREAMS]){ raw + at[0], raw + at[1], raw + at[2] }, lead + n, cols, x);
        for (uint64_t i = 0; i < n * cols; i++) {
            uint32_t bits;
            memcpy(&bits, &x[lead * cols + i], 4);
            hone_put_le32(buf + 4 * i, bits);
        }
    }
    free(raw);
    free(x);
    return code;
}

static hone_code source_read(const hone_source *s, const hone_tensor *t, uint64_t off, void *buf, size_t n, hone_err *err)
{
    const source *v = s->self;
    const part   *p = &v->parts[t - s->tensors];
    uint64_t      wide = (t->n_dims == 1 ? 1 : t->dims[t->n_dims - 1]) * hone_dtype_get(t->dtype)->block_bytes;
    assert(off <= t->bytes && n <= t->bytes - off && off % wide == 0 && n % wide == 0);
    uint64_t most = TILE_BYTES / wide ? TILE_BYTES / wide : 1;
    for (uint64_t r = off / wide, end = (off + n) / wide; r < end;) {
        uint64_t in = r % p->rows, from = r / p->rows * p->block + p->row0 + in * p->step, run = p->step == 1 ? p->rows - in : 1;
        run = run < end - r ? run : end - r;
        run = run < most ? run : most;
        HONE_TRY(read_run(v, p, t, from, run, (uint8_t *)buf + (r * wide - off), err));
        r += run;
    }
    return HONE_OK;
}

static void source_close(hone_source *s)
{
    const source *v = s->self;
    v->files->close(v->files);
}

static int by_name(const void *a, const void *b) { return strcmp(((const hone_onnx_piece *)a)->name, ((const hone_onnx_piece *)b)->name); }

hone_code hone_onnx_source(const hone_onnx_file *f, const char *data, const hone_onnx_piece *pieces, size_t n, hone_arena *a, hone_source **out,
                           uint32_t *quantized, hone_err *err)
{
    hone_source     *s = HONE_ARENA_NEW(a, hone_source, 1);
    source          *v = HONE_ARENA_NEW(a, source, 1);
    hone_tensor     *tensors = HONE_ARENA_NEW(a, hone_tensor, n + 1);
    hone_onnx_piece *sorted = HONE_ARENA_NEW(a, hone_onnx_piece, n + 1);
    uint64_t         bytes[9] = { 0 };
    if (!s || !v || !tensors || !sorted || !(v->parts = HONE_ARENA_NEW(a, part, n + 1))) return HONE_NOMEM(err, "the list of tensors");
    if (n) memcpy(sorted, pieces, n * sizeof *sorted);
    if (n) qsort(sorted, n, sizeof *sorted, by_name);
    HONE_TRY(hone_files_open(a, &data, 1, &v->files, err));
    for (size_t i = 0; i < n; i++) {
        hone_code code = add(f, &sorted[i], hone_files_get(v->files, 0)->size, &tensors[i], &v->parts[i], err);
        if (code != HONE_OK) {
            v->files->close(v->files);
            return code;
        }
        bytes[v->parts[i].grouped.bits] += tensors[i].bytes;
    }
    *quantized = bytes[4] > bytes[8] ? 4 : bytes[8] ? 8 : 0;
    *s = (hone_source){ .read = source_read, .close = source_close, .tensors = tensors, .n_tensors = n, .files = v->files->files, .n_files = v->files->n_files,
                        .upright = true, .self = v };
    *out = s;
    return HONE_OK;
}
