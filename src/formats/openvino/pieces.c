#include "formats/openvino/pieces.h"
#include <string.h>

const hone_ov_shape hone_ov_vec_i32 = { HONE_OV_I32, 1, { HONE_OV_DYN }, NULL };
const hone_ov_shape hone_ov_vec_u8 = { HONE_OV_U8, 1, { HONE_OV_DYN }, NULL };
const hone_ov_shape hone_ov_vec_bool = { HONE_OV_BOOL, 1, { HONE_OV_DYN }, NULL };
const hone_ov_shape hone_ov_one_i32 = { HONE_OV_I32, 0, { 0 }, NULL };
const hone_ov_shape hone_ov_one_i64 = { HONE_OV_I64, 0, { 0 }, NULL };
const hone_ov_shape hone_ov_one_bool = { HONE_OV_BOOL, 0, { 0 }, NULL };

hone_ov_port hone_ov_string(hone_ov_ir *ir, const char *s, size_t len)
{
    return hone_ov_const(ir, NULL, &(hone_ov_shape){ HONE_OV_U8, 1, { (int64_t)len }, NULL }, s, len);
}

hone_ov_port hone_ov_i32(hone_ov_ir *ir, const int32_t *v, size_t n)
{
    return hone_ov_const(ir, NULL, &(hone_ov_shape){ HONE_OV_I32, 1, { (int64_t)n }, NULL }, v, n * sizeof *v);
}

hone_code hone_ov_strings(hone_ov_ir *ir, hone_arena *a, const hone_bytes *s, size_t n, hone_ov_port *out, hone_err *err)
{
    uint64_t total = 0;
    for (size_t i = 0; i < n; i++)
        if (!hone_size_add(total, s[i].len, &total) || total > INT32_MAX)
            return HONE_FAIL(err, HONE_EUNSUPPORTED, "", "the texts of the first %zu tokens have more than 2^31 bytes together", i + 1);
    int32_t *begins = HONE_ARENA_NEW(a, int32_t, n), *ends = HONE_ARENA_NEW(a, int32_t, n);
    char    *chars = hone_arena_alloc(a, total);
    if (!begins || !ends || !chars) return HONE_NOMEM(err, "the vocabulary");
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        begins[i] = (int32_t)at;
        if (s[i].len) memcpy(chars + at, s[i].ptr, s[i].len);
        at += s[i].len;
        ends[i] = (int32_t)at;
    }
    out[0] = hone_ov_i32(ir, begins, n);
    out[1] = hone_ov_i32(ir, ends, n);
    out[2] = hone_ov_string(ir, chars, total);
    return HONE_OK;
}

void hone_ov_quote(hone_text *pattern, const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c < 0x20 || c == 0x7f) hone_text_addf(pattern, "\\x{%02x}", c);
        else if (c < 0x80 && !(c >= '0' && c <= '9') && !((c | 32) >= 'a' && (c | 32) <= 'z')) hone_text_addf(pattern, "\\%c", c);
        else hone_text_add_bytes(pattern, &c, 1);
    }
}

void hone_ov_on_pieces(hone_ov_ir *ir, const char *type, bool with_rows, const hone_ov_attr *attrs, size_t n_attrs, const hone_ov_port *more, size_t n_more,
                       hone_ov_pieces *p)
{
    hone_ov_port  in[12];
    hone_ov_shape out[6];
    size_t        n_in = 0, n_out = 0;
    bool          rows = with_rows && p->has_rows;
    if (rows) in[n_in++] = p->row_begins, in[n_in++] = p->row_ends;
    in[n_in++] = p->begins;
    in[n_in++] = p->ends;
    in[n_in++] = p->chars;
    if (p->has_skips) in[n_in++] = p->skips;
    for (size_t i = 0; i < n_more; i++) in[n_in++] = more[i];
    if (rows) out[n_out++] = hone_ov_vec_i32, out[n_out++] = hone_ov_vec_i32;
    out[n_out++] = hone_ov_vec_i32;
    out[n_out++] = hone_ov_vec_i32;
    out[n_out++] = hone_ov_vec_u8;
    if (p->has_skips) out[n_out++] = hone_ov_vec_bool;
    uint32_t layer = hone_ov_add(ir, &(hone_ov_layer){ .type = type, .version = "extension", .attrs = attrs, .n_attrs = n_attrs, .in = in, .n_in = n_in,
                                                       .out = out, .n_out = n_out });
    uint32_t k = 0;
    if (rows) p->row_begins = (hone_ov_port){ layer, k++ }, p->row_ends = (hone_ov_port){ layer, k++ };
    p->begins = (hone_ov_port){ layer, k++ };
    p->ends = (hone_ov_port){ layer, k++ };
    p->chars = (hone_ov_port){ layer, k++ };
    if (p->has_skips) p->skips = (hone_ov_port){ layer, k };
}

void hone_ov_replace(hone_ov_ir *ir, hone_ov_pieces *p, const char *pattern, const char *replacement, bool everywhere)
{
    const hone_ov_port more[] = { hone_ov_string(ir, pattern, strlen(pattern)), hone_ov_string(ir, replacement, strlen(replacement)) };
    const hone_ov_attr attrs[] = { { "global_replace", everywhere ? "true" : "false" } };
    hone_ov_on_pieces(ir, "RegexNormalization", false, attrs, 1, more, 2, p);
}

void hone_ov_split(hone_ov_ir *ir, hone_ov_pieces *p, const char *pattern, size_t len, const char *behaviour)
{
    const hone_ov_port more[] = { hone_ov_string(ir, pattern, len) };
    const hone_ov_attr attrs[] = { { "behaviour", behaviour }, { "invert", "false" }, { "max_splits", "-1" } };
    hone_ov_on_pieces(ir, "RegexSplit", true, attrs, 3, more, 1, p);
}

void hone_ov_add_rows(hone_ov_ir *ir, hone_ov_pieces *p)
{
    const hone_ov_shape vec1 = { HONE_OV_I64, 1, { 1 }, NULL };
    hone_ov_port        shape = hone_ov_op(ir, NULL, "ShapeOf", "opset3", &p->begins, 1, &vec1, "output_type", "i64", NULL);
    hone_ov_port        zero = hone_ov_scalar_i64(ir, 0), one = hone_ov_scalar_i64(ir, 1);
    hone_ov_port        n = hone_ov_op(ir, NULL, "Gather", "opset8", (hone_ov_port[]){ shape, zero, zero }, 3, &hone_ov_one_i64, "batch_dims", "0", NULL);
    hone_ov_port        end = hone_ov_op(ir, NULL, "Add", "opset1", (hone_ov_port[]){ n, one }, 2, &hone_ov_one_i64, "auto_broadcast", "numpy", NULL);
    p->row_begins = hone_ov_op(ir, NULL, "Range", "opset4", (hone_ov_port[]){ zero, n, one }, 3, &hone_ov_vec_i32, "output_type", "i32", NULL);
    p->row_ends = hone_ov_op(ir, NULL, "Range", "opset4", (hone_ov_port[]){ one, end, one }, 3, &hone_ov_vec_i32, "output_type", "i32", NULL);
    p->has_rows = true;
}
