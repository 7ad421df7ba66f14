/* weights.c - a weight in the graph: constants in the .bin, and how they become float32.
 *
 *   f16:   Const f16 -> Convert f32, marked as decompression: the plug-in keeps it narrow
 *   codes: Const u8|u4 -> Convert f16 -> Subtract(Const zero -> Convert f16) -> Multiply(Const f16 scale) [-> Reshape] -> Convert f32
 *          i8|i4: without the Subtract.  Groups: [rows, groups, group] against [rows, groups, 1], reshaped back.
 * Source: NNCF nncf/quantization/algorithms/weight_compression/openvino_backend.py (transform_model), and exports of optimum-cli. */
#include "formats/openvino/lower.h"

static size_t slot_of(const hone_ov_lowering *l, const hone_weight *w, bool plus_one)
{
    size_t i = 0;
    while (i < l->n_slots && (l->slots[i].source != w || l->slots[i].plus_one != plus_one)) i++;
    return i;
}

static const char *suffixed(hone_ov_lowering *l, const char *name, const char *suffix)
{
    char *s = hone_arena_printf(l->a, "%s/%s", name, suffix);
    if (!s && l->code == HONE_OK) l->code = HONE_NOMEM(l->err, "a name");
    return s;
}

static hone_ov_port decompress(hone_ov_lowering *l, const char *name, hone_ov_port x)
{
    hone_ov_shape      s = *hone_ov_shape_of(l->ir, x);
    const hone_ov_attr to = { "destination_type", "f32" }, mark = { "decompression", NULL };
    s.type = HONE_OV_F32;
    s.names = NULL;
    const hone_ov_layer convert = { .name = name, .type = "Convert", .version = "opset1", .attrs = &to, .n_attrs = 1, .in = &x, .n_in = 1,
                                    .out = &s, .n_out = 1, .info = &mark, .n_info = 1 };
    return (hone_ov_port){ hone_ov_add(l->ir, &convert), 0 };
}

static hone_ov_port plain(hone_ov_lowering *l, size_t at, uint32_t n_dims)
{
    hone_ov_slot      *slot = &l->slots[at];
    const hone_weight *w = &slot->weight;
    hone_ov_shape      s = { .type = slot->dtype == HONE_DTYPE_F16 ? HONE_OV_F16 : HONE_OV_F32 };
    while (s.n_dims + w->n_dims < n_dims) s.dims[s.n_dims++] = 1;
    for (uint32_t d = 0; d < w->n_dims; d++) s.dims[s.n_dims++] = (int64_t)w->dims[d];
    hone_ov_port p = l->streams[at][0] = hone_ov_weight(l->ir, slot->name, &s);
    slot->n_streams = 1;
    return s.type == HONE_OV_F16 ? decompress(l, suffixed(l, slot->name, "f32"), p) : p;
}

static hone_ov_port compressed(hone_ov_lowering *l, size_t at)
{
    hone_ov_slot       *slot = &l->slots[at];
    const hone_weight  *w = &slot->weight;
    const hone_grouped *q = &slot->grouped;
    hone_ov_type        type = q->bits == 4 ? (q->sym ? HONE_OV_I4 : HONE_OV_U4) : (q->sym ? HONE_OV_I8 : HONE_OV_U8);
    hone_ov_shape       codes = { .type = type, .n_dims = w->n_dims }, whole, scales;
    int64_t             cols = (int64_t)hone_weight_cols(w), shape[HONE_OV_MAX_DIMS];
    for (uint32_t d = 0; d < w->n_dims; d++) shape[d] = codes.dims[d] = (int64_t)w->dims[d];
    whole = codes;
    whole.type = HONE_OV_F16;
    if (q->group) {
        codes.dims[codes.n_dims - 1] = cols / q->group;
        codes.dims[codes.n_dims++] = q->group;
    }
    scales = codes;
    scales.dims[scales.n_dims - 1] = 1;
    scales.type = HONE_OV_F16;
    l->streams[at][HONE_STREAM_CODES] = hone_ov_weight(l->ir, slot->name, &codes);
    hone_ov_port x = hone_ov_convert(l, suffixed(l, slot->name, "f16"), l->streams[at][HONE_STREAM_CODES], HONE_OV_F16);
    if (!q->sym) {
        hone_ov_shape zeros = scales;
        zeros.type = type;
        l->streams[at][HONE_STREAM_ZEROS] = hone_ov_weight(l->ir, suffixed(l, slot->name, "zero_point"), &zeros);
        hone_ov_port z = hone_ov_convert(l, suffixed(l, slot->name, "zero_point/f16"), l->streams[at][HONE_STREAM_ZEROS], HONE_OV_F16);
        x = hone_ov_binary(l, suffixed(l, slot->name, "zero_point/subtract"), "Subtract", x, z);
    }
    l->streams[at][HONE_STREAM_SCALES] = hone_ov_weight(l->ir, suffixed(l, slot->name, "scale"), &scales);
    x = hone_ov_binary(l, suffixed(l, slot->name, "fq_weights_1"), "Multiply", x, l->streams[at][HONE_STREAM_SCALES]);
    if (q->group)
        x = hone_ov_op(l->ir, suffixed(l, slot->name, "fq_weights_1/reshape"), "Reshape", "opset1",
                       HONE_OV_IN(x, hone_ov_i64(l->ir, shape, w->n_dims)), &whole, "special_zero", "false", NULL);
    slot->n_streams = hone_grouped_streams(q);
    return hone_ov_convert(l, suffixed(l, slot->name, "fq_weights_1/convert"), x, HONE_OV_F32);
}

hone_ov_port hone_ov_weight_f32(hone_ov_lowering *l, const hone_weight *w, bool plus_one, uint32_t n_dims)
{
    size_t at = slot_of(l, w, plus_one);
    if (at == l->n_slots) {
        if (l->code == HONE_OK) l->code = HONE_FAIL(l->err, HONE_EBUG, "", "a weight of the graph is not among those of the output");
        return (hone_ov_port){ 0, 0 };
    }
    if (!l->has_weight[at]) l->weights[at] = l->slots[at].grouped.scheme ? compressed(l, at) : plain(l, at, n_dims);
    l->has_weight[at] = true;
    return l->weights[at];
}
