#include "quant/weight.h"
#include "quant/codec.h"
#include "quant/half.h"
#include <float.h>
#include <inttypes.h>
#include <math.h>

static const char BAD_VALUE[] = "the checkpoint is damaged or was saved mid-training: fetch it again";

/* Elements that make one unit of row0/n_rows/row_map: a whole row, or one element of a 1-D weight. */
static uint64_t unit_elems(const hone_weight *w) { return w->n_dims == 1 ? 1 : hone_weight_cols(w); }

static uint64_t bytes_of(hone_dtype t, uint64_t elems)
{
    const hone_dtype_info *i = hone_dtype_get(t);
    return (elems + i->block_elems - 1) / i->block_elems * i->block_bytes;
}

size_t hone_weight_scratch(const hone_weight *w, uint64_t n_rows)
{
    size_t most = 0;
    for (size_t i = 0; i < w->n_slices; i++) {
        size_t n = (size_t)bytes_of(w->slices[i].tensor->dtype, n_rows * hone_weight_cols(w));
        if (n > most) most = n;
    }
    /* A transposed tile is decoded into floats before it is turned. */
    return most + (size_t)(n_rows * hone_weight_cols(w)) * sizeof(float) + 64;
}

typedef struct reader {
    const hone_source *source;
    const hone_weight *w;
    uint8_t           *raw;  /* scratch: stored bytes */
    float             *turn; /* scratch: a decoded tile of a transposed tensor */
    uint32_t           end;  /* bits of the first magnitude that is refused */
    bool               odd;  /* such a one, or NaN, was read */
    hone_err          *err;
} reader;

#define INFINITE 0x7f800000u

/* Magnitudes are in the order of their bits, NaN behind infinity. */
static bool any_odd(const float *x, size_t n, uint32_t end)
{
    uint32_t odd = 0;
    for (size_t k = 0; k < n; k++) odd |= (int32_t)(hone_f32_bits(x[k]) & 0x7fffffffu) >= (int32_t)end;
    return odd;
}

/* Halfway between the largest f16 and what would come next, rounding goes to infinity. */
static uint32_t end_of(const hone_weight *w) { return w->most > 0 ? hone_f32_bits(w->most * (65520.0f / 65504.0f)) : INFINITE; }

static hone_code refuse(const reader *r, const hone_tensor *t, float v, uint64_t row, uint64_t col)
{
    if (fabsf(v) <= FLT_MAX)
        return HONE_FAIL(r->err, HONE_EUNSUPPORTED, "choose an encoding whose range is that of f32: bf16 or f32, for this tensor (--keep) or for all",
                         "tensor '%s' holds %g at row %" PRIu64 ", column %" PRIu64 ", more than the %g that f16 leaves room for", t->name, (double)v, row, col, (double)r->w->most);
    return HONE_FAIL(r->err, HONE_EINPUT, BAD_VALUE, "tensor '%s' holds %s at row %" PRIu64 ", column %" PRIu64, t->name, isnan(v) ? "NaN" : "Inf", row, col);
}

static hone_code decode(reader *r, const hone_tensor *t, const uint8_t *raw, float *out, uint64_t rows, uint64_t cols)
{
    const hone_codec *c = hone_codec_find(t->dtype);
    if (!c || !c->decode_row)
        return HONE_FAIL(r->err, HONE_EUNSUPPORTED, "convert the checkpoint to bf16, f16 or f32 first",
                         "tensor '%s' is stored as %s, which hone cannot decode", t->name, hone_dtype_name(t->dtype));
    uint64_t stride = bytes_of(t->dtype, cols);
    for (uint64_t i = 0; i < rows; i++) { /* looked at while the row is near */
        c->decode_row(raw + i * stride, out + i * cols, (size_t)cols);
        r->odd |= c->largest ? c->largest(raw + i * stride, (size_t)cols) >= r->end : any_odd(out + i * cols, (size_t)cols, r->end);
    }
    return HONE_OK;
}

/* Stored units [first, first+n) lie one after another. */
static hone_code read_run(reader *r, const hone_tensor *t, uint64_t first, uint64_t n, float *out)
{
    uint64_t unit = unit_elems(r->w);
    uint64_t size = bytes_of(t->dtype, unit);
    uint32_t block = hone_dtype_get(t->dtype)->block_elems;
    if (unit % block != 0) /* a block would lie in two units */
        return HONE_FAIL(r->err, HONE_EUNSUPPORTED, "convert the checkpoint to bf16, f16 or f32 first",
                         "tensor '%s' is %s in units of %" PRIu64 ", needs a multiple of %u", t->name, hone_dtype_name(t->dtype), unit, block);
    HONE_TRY(r->source->read(r->source, t, first * size, r->raw, (size_t)(n * size), r->err));
    return unit == 1 ? decode(r, t, r->raw, out, 1, n) : decode(r, t, r->raw, out, n, unit);
}

static hone_code read_mapped(reader *r, const hone_slice *s, uint64_t first, uint64_t n, float *out)
{
    const uint32_t *map = s->row_map + first;
    uint64_t        unit = unit_elems(r->w);
    for (uint64_t i = 0; i < n;) {
        uint64_t run = 1;
        while (i + run < n && map[i + run] == map[i] + run) run++;
        HONE_TRY(read_run(r, s->tensor, s->row0 + map[i], run, out + i * unit));
        i += run;
    }
    return HONE_OK;
}

/* Stored [in, out]; logical rows are stored columns.  One strip of n elements is read from each stored row, then turned. */
static hone_code read_transposed(reader *r, const hone_slice *s, uint64_t first, uint64_t n, float *out)
{
    const hone_tensor *t = s->tensor;
    uint64_t           in = t->dims[0], width = t->dims[1], esize = hone_dtype_get(t->dtype)->block_bytes;
    uint64_t           at = s->row0 + first;
    if (hone_dtype_get(t->dtype)->block_elems != 1 || s->row_map)
        return HONE_FAIL(r->err, HONE_EUNSUPPORTED, "convert the checkpoint to bf16, f16 or f32 first", "tensor '%s' is %s and would have to be transposed", t->name,
                         hone_dtype_name(t->dtype));
    if (n == width) {
        HONE_TRY(r->source->read(r->source, t, 0, r->raw, (size_t)(in * width * esize), r->err));
    } else
        for (uint64_t i = 0; i < in; i++)
            HONE_TRY(r->source->read(r->source, t, (i * width + at) * esize, r->raw + i * n * esize, (size_t)(n * esize), r->err));
    HONE_TRY(decode(r, t, r->raw, r->turn, in, n));
    for (uint64_t i = 0; i < in; i++)
        for (uint64_t j = 0; j < n; j++) out[j * in + i] = r->turn[i * n + j];
    return HONE_OK;
}

hone_code hone_weight_read(const hone_source *source, const hone_weight *w, uint64_t row0, uint64_t n_rows, float *out, void *scratch,
                           hone_err *err)
{
    uint64_t cols = hone_weight_cols(w), unit = unit_elems(w);
    uint64_t begin = row0 * cols / unit, end = (row0 + n_rows) * cols / unit; /* in units */
    uint64_t elems = n_rows * cols;
    if (w->values) {
        memcpy(out, w->values + row0 * cols, (size_t)elems * sizeof *out);
        return HONE_OK;
    }
    /* The float strip comes first: it needs the alignment that scratch has. */
    reader   r = { .source = source, .w = w, .turn = scratch, .raw = (uint8_t *)scratch + elems * sizeof(float), .end = end_of(w), .err = err };
    uint64_t at = 0;
    for (size_t i = 0; i < w->n_slices && at < end; i++) {
        const hone_slice *s = &w->slices[i];
        uint64_t          lo = begin > at ? begin : at, hi = end < at + s->n_rows ? end : at + s->n_rows;
        if (lo < hi) {
            float   *to = out + (lo - begin) * unit;
            uint64_t first = lo - at, n = hi - lo;
            if (s->transposed) HONE_TRY(read_transposed(&r, s, first, n, to));
            else if (s->row_map) HONE_TRY(read_mapped(&r, s, first, n, to));
            else HONE_TRY(read_run(&r, s->tensor, s->row0 + first, n, to));
            for (uint64_t k = 0; r.odd && k < n * unit; k++)
                if (any_odd(to + k, 1, r.end))
                    return refuse(&r, s->tensor, to[k], unit == 1 ? 0 : s->row0 + first + k / unit, unit == 1 ? first + k : k % unit);
        }
        at += s->n_rows;
    }
    if (at < end)
        return HONE_FAIL(err, HONE_EBUG, "", "weight %s of layer %d has %" PRIu64 " rows in its slices, needs %" PRIu64,
                         hone_role_name(w->role), (int)w->layer, at, end);
    if (!hone_weight_is_plain(w)) hone_weight_finish(w, out, out, (size_t)elems);
    return HONE_OK;
}

void hone_weight_soon(const hone_source *source, const hone_weight *w, uint64_t row0, uint64_t n_rows)
{
    uint64_t cols = hone_weight_cols(w), unit = unit_elems(w), at = 0;
    uint64_t begin = row0 * cols / unit, end = (row0 + n_rows) * cols / unit;
    for (size_t i = 0; source->soon && !w->values && i < w->n_slices && at < end; i++) {
        const hone_slice *s = &w->slices[i];
        uint64_t          lo = begin > at ? begin : at, hi = end < at + s->n_rows ? end : at + s->n_rows, size = bytes_of(s->tensor->dtype, unit);
        uint64_t          off = (s->row0 + lo - at) * size;
        if (lo < hi && !s->transposed && !s->row_map && off <= s->tensor->bytes)
            source->soon(source, s->tensor, off, (hi - lo) * size < s->tensor->bytes - off ? (hi - lo) * size : s->tensor->bytes - off);
        at += s->n_rows;
    }
}

void hone_weight_finish(const hone_weight *w, const float *x, float *y, size_t n)
{
    for (size_t k = 0; k < n; k++) y[k] = x[k] * w->scale + w->add;
}
