/* weights.c - weight-only int8 and int4.
 * int8: one scale per output channel, symmetric, behind DequantizeLinear (opset 13); of a table the gathered rows are dequantised, not the table.
 * int4: products in MatMulNBits of com.microsoft, or blocked DequantizeLinear (opset 21) with zero points; convolutions of at least 16 input channels per
 * group blocked along these; what has no rows long enough is int8. */
#include "base/text.h"
#include "passes/net_quant/shared.h"
#include "quant/grouped.h"
#include <stdlib.h>

typedef struct done { const hone_net_value *weight; hone_net_value *as; uint32_t axis; } done;

typedef struct job {
    hone_net                     *net;
    const hone_net_quant_options *opt;
    hone_net_quanted             *q;
    done                         *list; /* weights that several nodes read */
    size_t                        n, cap;
    bool                          blocks; /* the opset has blocked DequantizeLinear */
    hone_err                     *err;
} job;

static hone_net_value *found(const job *j, const hone_net_value *weight, uint32_t axis)
{
    for (size_t i = 0; i < j->n; i++)
        if (j->list[i].weight == weight && j->list[i].axis == axis) return j->list[i].as;
    return NULL;
}

static bool remember(job *j, const hone_net_value *weight, uint32_t axis, hone_net_value *as)
{
    if (j->n == j->cap) {
        size_t cap = j->cap ? 2 * j->cap : 32;
        done  *more = HONE_ARENA_NEW(&j->net->arena, done, cap);
        if (!more) return false;
        if (j->n) memcpy(more, j->list, j->n * sizeof *more);
        j->list = more;
        j->cap = cap;
    }
    j->list[j->n++] = (done){ weight, as, axis };
    return true;
}

static const char *named(job *j, const hone_net_value *v, const char *tail) { return hone_arena_printf(&j->net->arena, "%s.%s", v->name, tail); }

/* The node reads codes behind a DequantizeLinear. */
static hone_code behind_dequantize(job *j, const hone_net_weight *w, hone_net_value *codes, hone_net_value *scale, hone_net_value *zero, uint32_t axis, int64_t block)
{
    hone_net       *net = j->net;
    const char     *stem = named(j, w->value, "float");
    hone_net_value *out = stem ? hone_net_value_new(net, stem, HONE_NET_F32) : NULL;
    hone_net_node  *dq = out ? hone_net_node_new(net, w->node, "DequantizeLinear", "", (hone_net_value *const[]){ codes, scale, zero }, zero ? 3 : 2, &out, 1) : NULL;
    bool            good = dq && hone_net_attr_set_int(net, dq, "axis", axis) && (!block || hone_net_attr_set_int(net, dq, "block_size", block)) &&
                hone_net_value_shape(net, out, HONE_NET_F32, w->value->dims, w->value->n_dims) && remember(j, w->value, w->axis, out) &&
                hone_net_set_in(net, w->node, w->slot, out);
    return good ? HONE_OK : HONE_NOMEM(j->err, "a quantised weight");
}

/* Rows of a table: Gather of codes, Gather of scales, and their product. */
static hone_code table8(job *j, const hone_net_weight *w, const float *scale)
{
    hone_net        *net = j->net;
    hone_net_node   *n = w->node;
    hone_net_value  *y = n->out[0], *codes = hone_net_codes8(net, w, scale, HONE_NET_I8);
    const uint64_t   dims[2] = { w->channels, 1 };
    const char      *stem = named(j, w->value, "scale");
    hone_net_value  *scales = stem ? hone_net_floats_new(net, stem, dims, 2, scale) : NULL;
    hone_net_value  *c = hone_net_value_new(net, "codes", HONE_NET_I8), *f = hone_net_value_new(net, "codes", HONE_NET_F32), *s = hone_net_value_new(net, "scale", HONE_NET_F32);
    if (!y || !codes || !scales || !c || !f || !s) return HONE_NOMEM(j->err, "a quantised table");
    hone_net_node *rows = hone_net_node_new(net, n->next, "Gather", "", (hone_net_value *const[]){ scales, n->in[1] }, 2, &s, 1);
    bool           good = rows && hone_net_set_in(net, n, 0, codes) && hone_net_set_out(net, n, 0, NULL) && hone_net_set_out(net, n, 0, c);
    hone_net_node *cast = good ? hone_net_node_new(net, rows->next, "Cast", "", &c, 1, &f, 1) : NULL;
    good = cast && hone_net_attr_set_int(net, cast, "to", HONE_NET_F32) &&
           hone_net_node_new(net, cast->next, "Mul", "", (hone_net_value *const[]){ f, s }, 2, &y, 1);
    return good ? HONE_OK : HONE_NOMEM(j->err, "a quantised table");
}

static hone_code to_int8(job *j, const hone_net_weight *w, bool *changed)
{
    float *scale;
    *changed = false;
    HONE_TRY(hone_net_channel_scales(j->net, w, &scale, j->err));
    if (!scale) {
        char shown[96];
        hone_net_note(j->net, j->q, "weight '%s' has numbers that are not finite", hone_text_show(w->value->name, strlen(w->value->name), shown, sizeof shown));
        return HONE_OK;
    }
    *changed = true;
    if (w->kind == HONE_NETW_TABLE) return table8(j, w, scale);
    const char     *stem = named(j, w->value, "scale");
    hone_net_value *codes = hone_net_codes8(j->net, w, scale, HONE_NET_I8), *s = stem ? hone_net_floats_new(j->net, stem, &w->channels, 1, scale) : NULL;
    if (!codes || !s) return HONE_NOMEM(j->err, "a quantised weight");
    return behind_dequantize(j, w, codes, s, NULL, w->axis, 0);
}

/* ---- int4 ---- */

typedef struct blocked { /* rows along one axis: outer x len x inner elements; row (o, i) has len */
    const hone_net_tensor *t;
    uint64_t               outer, len, inner;
    hone_grouped           g;
    uint32_t               stream;
    bool                   in_place; /* streams are written in the order of the tensor (DequantizeLinear), else row by row (MatMulNBits) */
} blocked;

static void gather_row(const blocked *b, const float *x, uint64_t r, float *row)
{
    uint64_t o = r / b->inner, i = r % b->inner;
    for (uint64_t k = 0; k < b->len; k++) row[k] = x[(o * b->len + k) * b->inner + i];
}

/* Entries of one row of a stream, to their places in the tensor. */
static void scatter_row(const blocked *b, const uint8_t *from, uint64_t r, uint8_t *out)
{
    uint64_t o = r / b->inner, i = r % b->inner, n = b->stream == HONE_STREAM_CODES ? b->len : hone_grouped_groups(&b->g, b->len);
    for (uint64_t k = 0; k < n; k++) {
        uint64_t at = (o * n + k) * b->inner + i;
        if (b->stream == HONE_STREAM_SCALES) memcpy(out + 4 * at, from + 4 * k, 4);
        else out[at / 2] = (uint8_t)(out[at / 2] | (from[k / 2] >> 4 * (k % 2) & 15) << 4 * (at % 2));
    }
}

static hone_code make_stream(const hone_net *net, const hone_net_tensor *t, uint8_t *out, hone_err *err)
{
    const blocked *b = t->from;
    float         *x = NULL, *row = malloc((size_t)b->len * sizeof *row);
    uint64_t       bytes[HONE_STREAMS] = { 0 }, each;
    uint8_t       *parts[HONE_STREAMS] = { NULL };
    hone_code      code = row ? hone_net_tensor_floats(net, b->t, &x, err) : HONE_NOMEM(err, "a row");
    for (uint32_t s = 0; s < HONE_STREAMS && code == HONE_OK; s++) {
        bytes[s] = hone_grouped_bytes(&b->g, s, 1, b->len);
        if (!(parts[s] = malloc((size_t)bytes[s] + 1))) code = HONE_NOMEM(err, "a row");
    }
    each = bytes[b->stream];
    if (code == HONE_OK) memset(out, 0, (size_t)t->bytes);
    for (uint64_t r = 0; code == HONE_OK && r < b->outer * b->inner; r++) {
        gather_row(b, x, r, row);
        hone_grouped_encode(&b->g, row, 1, b->len, parts);
        if (b->in_place) scatter_row(b, parts[b->stream], r, out);
        else memcpy(out + r * each, parts[b->stream], (size_t)each);
    }
    for (uint32_t s = 0; s < HONE_STREAMS; s++) free(parts[s]);
    free(row);
    free(x);
    return code;
}

static hone_net_value *stream_new(job *j, const hone_net_weight *w, const blocked *how, uint32_t stream, const char *tail, int32_t type, const uint64_t *dims, uint32_t n_dims)
{
    blocked        *b = HONE_ARENA_NEW(&j->net->arena, blocked, 1);
    const char     *stem = named(j, w->value, tail);
    hone_net_value *had = stem ? hone_net_find(j->net, stem) : NULL;
    const blocked  *of = had && had->tensor && had->tensor->make == make_stream ? had->tensor->from : NULL;
    if (of && of->t == how->t && of->outer == how->outer && of->len == how->len && of->inner == how->inner && of->in_place == how->in_place && of->stream == stream &&
        of->g.group == how->g.group)
        return had; /* for another node that reads the weight */
    hone_net_value *v = b && stem ? hone_net_constant_new(j->net, stem, type, dims, n_dims, NULL) : NULL;
    if (!v) return NULL;
    *b = *how;
    b->stream = stream;
    v->tensor->make = make_stream;
    v->tensor->from = b;
    return v;
}

/* Where the inputs of a weight are: what a group of codes runs along. */
static blocked rows_of(const job *j, const hone_net_weight *w)
{
    blocked b = { .t = w->t, .g = { .scheme = HONE_SCHEME_ONNX, .bits = 4, .group = j->opt->group, .scale = HONE_DTYPE_F32 } };
    if (w->kind == HONE_NETW_CONV) b.outer = w->t->dims[0], b.len = w->t->dims[1], b.inner = w->t->n / (w->t->dims[0] * w->t->dims[1]);
    else if (w->axis == 0) b.outer = w->t->dims[0], b.len = w->t->dims[1], b.inner = 1;
    else b.outer = 1, b.len = w->t->dims[0], b.inner = w->t->dims[1];
    return b;
}

/* Groups that a runtime takes: all of them whole where it wants that. */
static uint32_t group_of(const job *j, uint64_t len)
{
    uint32_t group = j->opt->group;
    while (group > 16 && (group > len || (j->opt->whole_groups && len % group))) group /= 2;
    return group;
}

static bool fits_blocks(job *j, const hone_net_weight *w)
{
    blocked b = rows_of(j, w);
    if (!j->opt->whole_groups || b.len % group_of(j, b.len) == 0) return true;
    hone_net_note(j->net, j->q, "weights whose inputs are no multiple of 16 are int8: OpenVINO takes whole groups only");
    return false;
}

static hone_code in_blocks(job *j, const hone_net_weight *w)
{
    blocked  b = rows_of(j, w);
    uint32_t axis = w->kind == HONE_NETW_CONV || w->axis == 0 ? 1 : 0;
    uint64_t dims[16];
    b.g.group = group_of(j, b.len);
    b.in_place = true;
    memcpy(dims, w->t->dims, w->t->n_dims * sizeof *dims);
    dims[axis] = hone_grouped_groups(&b.g, b.len);
    hone_net_value *codes = stream_new(j, w, &b, HONE_STREAM_CODES, "codes", HONE_NET_U4, w->t->dims, w->t->n_dims);
    hone_net_value *scale = stream_new(j, w, &b, HONE_STREAM_SCALES, "scale", HONE_NET_F32, dims, w->t->n_dims);
    hone_net_value *zero = stream_new(j, w, &b, HONE_STREAM_ZEROS, "zero", HONE_NET_U4, dims, w->t->n_dims);
    if (!codes || !scale || !zero) return HONE_NOMEM(j->err, "a quantised weight");
    return behind_dequantize(j, w, codes, scale, zero, axis, b.g.group);
}

/* MatMul, or a Gemm without frills: y = x . W (+ bias). */
static hone_code in_nbits(job *j, const hone_net_weight *w)
{
    hone_net       *net = j->net;
    hone_net_node  *n = w->node;
    blocked         b = rows_of(j, w);
    uint64_t        rows = b.outer * b.inner, groups = hone_grouped_groups(&b.g, b.len);
    const uint64_t  code_dims[3] = { rows, groups, b.g.group / 2 }, flat[2] = { rows * groups, rows * ((groups + 1) / 2) };
    hone_net_value *codes = stream_new(j, w, &b, HONE_STREAM_CODES, "codes", HONE_NET_U8, code_dims, 3);
    hone_net_value *scale = stream_new(j, w, &b, HONE_STREAM_SCALES, "scale", HONE_NET_F32, &flat[0], 1);
    hone_net_value *zero = stream_new(j, w, &b, HONE_STREAM_ZEROS, "zero", HONE_NET_U8, &flat[1], 1);
    hone_net_value *y = n->out[0], *bias = w->kind == HONE_NETW_GEMM ? hone_net_in(n, 2) : NULL, *product = y;
    if (!codes || !scale || !zero || (bias && !(product = hone_net_value_new(net, "product", HONE_NET_F32)))) return HONE_NOMEM(j->err, "a quantised weight");
    hone_net_node *before = n->next;
    hone_net_value *x = n->in[0];
    hone_net_node_remove(net, n);
    hone_net_node *m = hone_net_node_new(net, before, "MatMulNBits", "com.microsoft", (hone_net_value *const[]){ x, codes, scale, zero }, 4, &product, 1);
    bool good = m && hone_net_attr_set_int(net, m, "K", (int64_t)b.len) && hone_net_attr_set_int(net, m, "N", (int64_t)rows) && hone_net_attr_set_int(net, m, "bits", 4) &&
                hone_net_attr_set_int(net, m, "block_size", b.g.group) &&
                (hone_net_opset_of(net, "com.microsoft") || hone_net_opset_set(net, "com.microsoft", 1));
    if (good && bias) good = hone_net_node_new(net, before, "Add", "", (hone_net_value *const[]){ product, bias }, 2, &y, 1) != NULL;
    return good ? HONE_OK : HONE_NOMEM(j->err, "a quantised weight");
}

static bool plain_product(const hone_net_weight *w)
{
    const hone_net_node *n = w->node;
    if (w->kind == HONE_NETW_MATMUL) return w->t->n_dims == 2 && n->in[0] && n->in[0]->type == HONE_NET_F32;
    return w->kind == HONE_NETW_GEMM && !hone_net_attr_int(n, "transA", 0) && hone_net_attr_float(n, "alpha", 1) == 1 && hone_net_attr_float(n, "beta", 1) == 1;
}

static hone_code to_int4(job *j, const hone_net_weight *w, bool *changed)
{
    float *finite;
    bool   product = (w->kind == HONE_NETW_GEMM || w->kind == HONE_NETW_MATMUL) && w->t->n_dims == 2;
    bool   conv = w->kind == HONE_NETW_CONV && w->t->dims[1] >= 16 && w->t->n_dims <= 16;
    product = product && (w->axis == 0 ? w->t->dims[1] : w->t->dims[0]) >= 16;
    bool nbits = product && !j->opt->standard && plain_product(w);
    if (!nbits && (product || conv) && !fits_blocks(j, w)) return to_int8(j, w, changed);
    if (!nbits && !(j->blocks && (product || conv))) {
        hone_net_note(j->net, j->q, "%s", !product && !conv ? "weights whose groups of inputs would be shorter than 16, tables and recurrent weights are int8"
                                                           : "some weights are int8: int4 outside of MatMulNBits needs an opset of 21");
        return to_int8(j, w, changed);
    }
    HONE_TRY(hone_net_channel_scales(j->net, w, &finite, j->err));
    if (!finite) return to_int8(j, w, changed); /* which says why not */
    *changed = true;
    return nbits ? in_nbits(j, w) : in_blocks(j, w);
}

/* Worth it: codes and scales are smaller. */
static bool pays(const hone_net_weight *w) { return w->t->n >= 64 && w->t->n * 3 > w->channels * 4 + 64; }

static hone_code one_node(job *j, hone_net_node *n)
{
    hone_net_weight w;
    for (uint32_t slot = 0; slot < 3 && slot < n->n_in; slot++) {
        bool changed = false;
        if (!hone_net_weight_of(n, slot, &w) || !pays(&w)) continue;
        hone_net_value *before = found(j, w.value, w.axis);
        if (before && w.kind != HONE_NETW_TABLE) {
            if (!hone_net_set_in(j->net, n, slot, before)) return HONE_NOMEM(j->err, "a quantised weight");
            continue;
        }
        HONE_TRY(j->opt->bits == 4 ? to_int4(j, &w, &changed) : to_int8(j, &w, &changed));
        *(changed ? &j->q->changed : &j->q->left) += 1;
        if (changed && !n->n_in) return HONE_OK; /* it was replaced */
    }
    return HONE_OK;
}

hone_code hone_net_weights(hone_net *net, const hone_net_quant_options *opt, hone_net_quanted *out, hone_err *err)
{
    job      j = { .net = net, .opt = opt, .q = out, .err = err };
    hone_err why = { 0 };
    *out = (hone_net_quanted){ 0 };
    if (opt->bits == 4) {
        hone_code code = hone_net_raise(net, 21, &why);
        j.blocks = code == HONE_OK;
        if (!j.blocks && (opt->standard || code != HONE_EUNSUPPORTED)) {
            if (err) *err = why;
            return code;
        }
        if (!j.blocks) hone_net_note(net, out, "%s", why.cause);
    }
    if (!j.blocks) HONE_TRY(hone_net_raise(net, 13, err));
    for (hone_net_node *n = net->first, *next; n; n = next) {
        next = n->next;
        if (hone_net_matches(n, opt->exclude, opt->n_exclude)) continue;
        HONE_TRY(one_node(&j, n));
    }
    hone_net_sweep(net);
    if (!out->changed) return HONE_FAIL(err, HONE_EUNSUPPORTED, "use f16 or f32", "no operator has weights that can be int%u", opt->bits);
    return HONE_OK;
}
