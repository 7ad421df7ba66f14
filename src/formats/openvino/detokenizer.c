/* detokenizer.c - from ids back to text. */
#include "formats/openvino/pieces.h"

/* Ids that disappear: openvino_genai switches this off by cutting the constant to nothing. */
static hone_code skipped(hone_ov_ir *ir, const hone_tokenizer *t, hone_arena *a, hone_ov_port *out, hone_err *err)
{
    int32_t *ids = HONE_ARENA_NEW(a, int32_t, t->n_tokens + 1);
    size_t   n = 0;
    if (!ids) return HONE_NOMEM(err, "the special tokens");
    for (size_t i = 0; i < t->n_tokens; i++)
        if (t->tokens[i].special) ids[n++] = (int32_t)i;
    if (n == 0) ids[n++] = -1; /* nothing to leave out is an id that never comes */
    *out = hone_ov_i32(ir, ids, n);
    return HONE_OK;
}

/* The spaces that transformers' clean_up_tokenization removes. */
static const char CLEAN[] = "(?| ([.?!,])| ('[ms])| (') | ('[rv]e)| (n't))";

hone_code hone_ov_detokenizer(const hone_tokenizer *t, const hone_ov_vocab *v, hone_arena *a, hone_ov_ir **out, hone_err *err)
{
    const hone_ov_shape matrix = { HONE_OV_I64, 2, { HONE_OV_DYN, HONE_OV_DYN }, "token_ids" };
    const hone_ov_shape matrix32 = { HONE_OV_I32, 2, { HONE_OV_DYN, HONE_OV_DYN }, NULL };
    const hone_ov_shape text = { HONE_OV_STRING, 1, { HONE_OV_DYN }, "string_output" };
    hone_ov_ir         *ir = hone_ov_new(a, "detokenizer");
    if (!ir) return HONE_NOMEM(err, "the detokenizer");
    hone_ov_port in[5] = { hone_ov_parameter(ir, "token_ids", &matrix) };
    in[0] = hone_ov_op(ir, NULL, "Convert", "opset1", in, 1, &matrix32, "destination_type", "i32", NULL);
    HONE_TRY(hone_ov_strings(ir, a, v->decode, v->n, &in[1], err));
    HONE_TRY(skipped(ir, t, a, &in[4], err));
    const hone_ov_shape decoded[] = { hone_ov_vec_i32, hone_ov_vec_i32, hone_ov_vec_i32, hone_ov_vec_i32, hone_ov_vec_u8 };
    const hone_ov_attr  none[] = { { "skip_tokens", "" } };
    /* openvino_genai takes the vocabulary from the layer whose name holds VocabDecoder. */
    uint32_t d = hone_ov_add(ir, &(hone_ov_layer){ .type = "VocabDecoder", .version = "extension", .attrs = none, .n_attrs = 1, .in = in, .n_in = 5,
                                                   .out = decoded, .n_out = 5 });
    const hone_ov_port  ranges[] = { { d, 0 }, { d, 1 }, { d, 2 }, { d, 3 } };
    const hone_ov_shape fused[] = { hone_ov_vec_i32, hone_ov_vec_i32 };
    uint32_t            f = hone_ov_add(ir, &(hone_ov_layer){ .type = "FuzeRagged", .version = "extension", .in = ranges, .n_in = 4, .out = fused, .n_out = 2 });
    hone_ov_pieces      p = { .begins = { f, 0 }, .ends = { f, 1 }, .chars = { d, 4 } };
    if (t->add_space_prefix || t->kind == HONE_TOK_WORDPIECE) hone_ov_replace(ir, &p, "^ ()", "$1", true);
    const hone_ov_attr replace[] = { { "replace_mode", "true" } };
    hone_ov_on_pieces(ir, "UTF8Validate", false, replace, 1, NULL, 0, &p);
    if (t->clean_spaces == 1 && (t->kind == HONE_TOK_WORDPIECE || t->kind == HONE_TOK_UNIGRAM)) hone_ov_replace(ir, &p, CLEAN, "$1", true);
    hone_ov_port packed = hone_ov_op(ir, NULL, "StringTensorPack", "opset15", (hone_ov_port[]){ p.begins, p.ends, p.chars }, 3, &text, NULL);
    (void)hone_ov_result(ir, NULL, packed);
    *out = ir;
    return HONE_OK;
}
