/* regions.c - which weights lie where in model.onnx.data, in which encoding. */
#include "formats/onnx/lower.h"

#define PAGE 4096u
#define BIG (1u << 20) /* tensors of this size begin at the allocation granularity of every system, so that they can be mapped */
#define GRANULARITY 65536u

static hone_dtype float_type(const hone_onnx_lowering *l) { return l->opt->quant->dtype; }

/* Matrices have the bits that were asked for.  The embedding has eight: looking up a row costs nothing, and its error is in every later
 * layer.  A head that is tied to it shares its bytes.  */
bool hone_onnx_choose(hone_onnx_lowering *l, const hone_weight *w, hone_onnx_use use, uint64_t rows, uint64_t cols, hone_grouped *out)
{
    const hone_onnx_options *o = l->opt;
    bool         given = false;
    hone_grouped g = { .scheme = HONE_SCHEME_ONNX, .bits = use == HONE_ONNX_EMBEDDING ? 8 : o->quant->bits, .group = o->group,
                       .scale = HONE_DTYPE_F32, .sym = o->sym, .flat = o->standard };
    if (use == HONE_ONNX_PLAIN) return false;
    if (o->choose && l->w.code == HONE_OK) l->w.code = o->choose(o->self, w, &given, &g, l->w.err);
    if (given) {
        g.scale = HONE_DTYPE_F32;
        g.flat = o->standard;
    }
    if (given ? g.scheme == HONE_SCHEME_NONE : !o->quant->bits) return false;
    *out = g;
    return cols % g.group == 0 && rows % hone_grouped_align(&g, cols) == 0;
}

hone_onnx_region *hone_onnx_region_new(hone_onnx_lowering *l, const char *name, const hone_weight *w, hone_onnx_use use, uint64_t rows, uint64_t cols)
{
    hone_onnx_region *r = hone_onnx_push(&l->w, &l->regions, HONE_ARENA_NEW(l->w.a, hone_onnx_region, 1));
    if (!r) return NULL;
    r->name = name;
    r->rows = rows;
    r->cols = cols;
    r->dtype = float_type(l);
    r->n_streams = 1;
    if (hone_onnx_choose(l, w, use, rows, cols, &r->grouped)) {
        r->n_streams = hone_grouped_streams(&r->grouped);
        for (uint32_t s = 0; s < r->n_streams; s++) r->row_bits[s] = hone_grouped_row_bits(&r->grouped, s, cols);
        return r;
    }
    if (r->grouped.scheme != HONE_SCHEME_NONE) l->fallbacks++;
    r->grouped = (hone_grouped){ .scheme = HONE_SCHEME_NONE };
    r->row_bits[0] = 8 * cols * hone_dtype_get(r->dtype)->block_bytes;
    return r;
}

void hone_onnx_keep(hone_onnx_lowering *l, hone_onnx_region *r, const hone_weight *src, float add, uint64_t row0, uint32_t step)
{
    hone_onnx_kept *k = r ? HONE_ARENA_NEW(l->w.a, hone_onnx_kept, 1) : NULL;
    if (!hone_onnx_push(&l->w, &l->kept, k)) return;
    *k = (hone_onnx_kept){ .source = src, .w = *src, .region = r, .row0 = row0, .step = step };
    k->w.add += add;
}

hone_onnx_region *hone_onnx_region_find(const hone_onnx_lowering *l, const hone_weight *src)
{
    for (size_t i = 0; i < l->kept.n; i++) {
        const hone_onnx_kept *k = l->kept.at[i];
        if (k->source == src && k->row0 == 0 && k->step == 1 && k->region->rows == hone_weight_rows(src)) return k->region;
    }
    return NULL;
}

const char *hone_onnx_view_new(hone_onnx_lowering *l, const char *name, hone_onnx_region *r, uint32_t stream, uint64_t row0, uint64_t n_rows,
                               int32_t type, const uint64_t *dims, size_t n_dims)
{
    bool whole = r && row0 == 0 && n_rows == r->rows;
    for (size_t i = 0; whole && i < r->views.n; i++)
        if (strcmp(((const hone_onnx_view *)r->views.at[i])->tensor->name, name) == 0) return name;
    hone_onnx_view    *v = r ? HONE_ARENA_NEW(l->w.a, hone_onnx_view, 1) : NULL;
    Onnx__TensorProto *t = hone_onnx_external(&l->w, name, type, dims, n_dims);
    if (!t || !hone_onnx_push(&l->w, &l->views, v)) return name;
    *v = (hone_onnx_view){ t, r, stream, row0, n_rows };
    if (whole) (void)hone_onnx_push(&l->w, &r->views, v);
    return name;
}

const char *hone_onnx_vector(hone_onnx_lowering *l, const char *name, const hone_weight *src, float add)
{
    uint64_t          n = hone_weight_elems(src), cols = src->n_dims == 1 ? 1 : hone_weight_cols(src);
    hone_onnx_region *r = hone_onnx_region_new(l, name, src, HONE_ONNX_PLAIN, n / cols, cols);
    if (!r) return name;
    hone_onnx_keep(l, r, src, add, 0, 1);
    return hone_onnx_view_new(l, name, r, 0, 0, r->rows, l->w.type, &n, 1);
}

static uint64_t bytes_of(const hone_onnx_region *r, uint32_t stream, uint64_t rows) { return (rows * r->row_bits[stream] + 7) / 8; }

static hone_code place(hone_onnx_lowering *l, uint64_t *end)
{
    *end = 0;
    for (size_t i = 0; i < l->regions.n; i++) {
        hone_onnx_region *r = l->regions.at[i];
        for (uint32_t s = 0; s < r->n_streams; s++) {
            uint64_t bits, n, align;
            if (!hone_size_mul(r->rows, r->row_bits[s], &bits)) bits = UINT64_MAX;
            n = bits / 8 + (bits % 8 != 0);
            align = n >= BIG ? GRANULARITY : n >= PAGE ? PAGE : 64;
            if (bits == UINT64_MAX || !hone_size_align(*end, align, &r->offset[s]) || !hone_size_add(r->offset[s], n, end) || *end > INT64_MAX)
                return HONE_FAIL(l->w.err, HONE_EINPUT, "", "the weights do not fit into one file");
        }
    }
    return HONE_OK;
}

hone_code hone_onnx_regions_place(hone_onnx_lowering *l, hone_onnx_model *out)
{
    if (l->w.code != HONE_OK) return l->w.code;
    HONE_TRY(place(l, &out->data_bytes));
    for (size_t i = 0; i < l->views.n; i++) {
        const hone_onnx_view *v = l->views.at[i];
        hone_onnx_place(&l->w, v->tensor, HONE_ONNX_DATA, v->region->offset[v->stream] + v->row0 * v->region->row_bits[v->stream] / 8,
                        bytes_of(v->region, v->stream, v->n_rows));
    }
    out->stored = HONE_ARENA_NEW(l->w.a, hone_onnx_stored, l->kept.n + 1);
    if (!out->stored) return HONE_NOMEM(l->w.err, "the plan");
    for (size_t i = 0; i < l->kept.n; i++) {
        const hone_onnx_kept   *k = l->kept.at[i];
        const hone_onnx_region *r = k->region;
        hone_onnx_stored       *s = &out->stored[out->n_stored++];
        *s = (hone_onnx_stored){ .w = k->w, .name = r->name, .dtype = r->dtype, .grouped = r->grouped, .n_streams = r->n_streams, .step = k->step };
        for (uint32_t j = 0; j < r->n_streams; j++) {
            s->offset[j] = r->offset[j] + k->row0 * r->row_bits[j] / 8;
            s->row_bits[j] = k->w.n_dims == 1 ? r->row_bits[j] * hone_weight_elems(&k->w) : r->row_bits[j];
        }
    }
    return HONE_OK;
}
