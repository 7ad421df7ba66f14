#include "formats/gguf/names.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static void is(hone_role r, hone_part part, int32_t layer, const char *want)
{
    char     name[HONE_GGUF_NAME];
    hone_err err = { 0 };
    if (hone_gguf_tensor_name(r, part, layer, name, sizeof name, &err) != HONE_OK) fail_msg("%s", err.cause);
    assert_string_equal(name, want);
}

static void roles_have_the_names_llama_cpp_reads(void **state)
{
    (void)state;
    is(HONE_R_TOK_EMBD, HONE_PART_WEIGHT, -1, "token_embd.weight");
    is(HONE_R_TOK_EMBD_NORM, HONE_PART_BIAS, -1, "token_embd_norm.bias");
    is(HONE_R_OUTPUT, HONE_PART_WEIGHT, -1, "output.weight");
    is(HONE_R_ROPE_FREQS, HONE_PART_WEIGHT, -1, "rope_freqs.weight");
    is(HONE_R_ROPE_FACTORS_LONG, HONE_PART_WEIGHT, -1, "rope_factors_long.weight");
    is(HONE_R_ATTN_OUT, HONE_PART_WEIGHT, 0, "blk.0.attn_output.weight");
    is(HONE_R_ATTN_POST_NORM, HONE_PART_WEIGHT, 31, "blk.31.post_attention_norm.weight");
    is(HONE_R_FFN_POST_NORM, HONE_PART_WEIGHT, 2, "blk.2.post_ffw_norm.weight");
    is(HONE_R_FFN_GATE_UP, HONE_PART_WEIGHT, 2, "blk.2.ffn_up.weight");
    is(HONE_R_FFN_GATE_EXPS, HONE_PART_WEIGHT, 2, "blk.2.ffn_gate_exps.weight");
    is(HONE_R_FFN_ROUTER, HONE_PART_WEIGHT, 2, "blk.2.ffn_gate_inp.weight");
    is(HONE_R_ATTN_OUT_NORM, HONE_PART_BIAS, 5, "blk.5.attn_output_norm.bias");
    is(HONE_R_LAYER_OUT_NORM, HONE_PART_WEIGHT, 5, "blk.5.layer_output_norm.weight");
    is(HONE_R_TOKEN_TYPES, HONE_PART_WEIGHT, -1, "token_types.weight");
}

static void every_role_but_pooler_and_ignored_has_a_name(void **state)
{
    (void)state;
    for (int r = 0; r < HONE_R_COUNT; r++) {
        char      name[HONE_GGUF_NAME];
        hone_code code = hone_gguf_tensor_name((hone_role)r, HONE_PART_WEIGHT, hone_role_per_layer((hone_role)r) ? INT32_MAX : -1, name, sizeof name, NULL);
        assert_int_equal(code, r == HONE_R_POOLER || r == HONE_R_IGNORED ? HONE_EBUG : HONE_OK);
    }
}

static void a_layer_where_none_belongs_is_our_bug(void **state)
{
    char     name[HONE_GGUF_NAME] = "untouched";
    hone_err err = { 0 };
    (void)state;
    assert_int_equal(hone_gguf_tensor_name(HONE_R_OUTPUT, HONE_PART_WEIGHT, 3, name, sizeof name, &err), HONE_EBUG);
    assert_string_equal(err.cause, "role output came with layer 3");
    assert_int_equal(hone_gguf_tensor_name(HONE_R_ATTN_Q, HONE_PART_WEIGHT, -1, name, sizeof name, &err), HONE_EBUG);
    assert_string_equal(err.cause, "role attn_q came with layer -1");
    assert_int_equal(hone_gguf_tensor_name(HONE_R_POOLER, HONE_PART_WEIGHT, -1, name, sizeof name, &err), HONE_EBUG);
    assert_string_equal(err.cause, "GGUF has no tensor for the role pooler");
    assert_string_equal(name, "untouched");
}

static void a_name_leads_back_to_its_role(void **state)
{
    static const char *const others[] = { "", "blk.", "blk.0", "blk.0.", "blk.01.attn_q.weight", "blk.-1.attn_q.weight", "blk.1234567.attn_q.weight", "blk.0.attn_q", "blk.0.attn_q.weight.x",
                                          "blk.0.output.weight", "attn_q.weight", "blk.0.attn_qq.weight", "blk.0.attn_.weight", "output.scale", ".weight" };
    hone_role                role;
    hone_part                part;
    int32_t                  layer;
    (void)state;
    for (int r = 0; r < HONE_R_COUNT; r++) {
        char name[HONE_GGUF_NAME];
        for (int p = HONE_PART_WEIGHT; p <= HONE_PART_BIAS; p++) {
            if (hone_gguf_tensor_name((hone_role)r, (hone_part)p, hone_role_per_layer((hone_role)r) ? 120 : -1, name, sizeof name, NULL) != HONE_OK) continue;
            if (!hone_gguf_tensor_role(name, &role, &part, &layer)) fail_msg("'%s' is not known", name);
            assert_int_equal(role, r == HONE_R_FFN_GATE_UP ? HONE_R_FFN_UP : r);
            assert_int_equal(part, p);
            assert_int_equal(layer, hone_role_per_layer((hone_role)r) ? 120 : -1);
        }
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (hone_gguf_tensor_role(others[i], &role, &part, &layer)) fail_msg("'%s' is known", others[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(roles_have_the_names_llama_cpp_reads),
        cmocka_unit_test(every_role_but_pooler_and_ignored_has_a_name),
        cmocka_unit_test(a_name_leads_back_to_its_role),
        cmocka_unit_test(a_layer_where_none_belongs_is_our_bug),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
