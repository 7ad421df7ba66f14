/* test_mlx_layout.c - what mlx_lm's modules hold, and what mlx_lm cannot run. */
#include "passes/mlx_layout.h"
#include "arch/tiny.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static void gpt_neox_keeps_its_qkv_as_the_checkpoint_has_it(void **state)
{
    tiny         t = { 0 };
    hone_arena   a = { 0 };
    hone_err     err = { 0 };
    hone_weight *w;
    size_t       n, seen = 0;
    (void)state;
    tiny_open(&t, "gpt_neox");
    assert_int_equal(tiny_bind(&t, &err), HONE_OK);
    assert_int_equal(hone_mlx_rewrite(&t.m, &a, &w, &n, &err), HONE_OK);
    assert_int_equal(n, t.m.n_weights);
    for (size_t i = 0; i < n; i++) {
        if (w[i].role != HONE_R_ATTN_QKV) continue;
        for (uint32_t r = 0; r < 3 * t.m.facts.hidden; r++) assert_int_equal(w[i].slices[0].row_map[r], r);
        seen++;
    }
    assert_int_equal(seen, 4); /* two layers, weight and bias */
    hone_arena_release(&a);
    tiny_close(&t);
}

static void quantised_are_linear_and_embedding_modules(void **state)
{
    (void)state;
    assert_true(hone_mlx_is_module(&(hone_weight){ .role = HONE_R_TOK_EMBD, .n_dims = 2 }));
    assert_true(hone_mlx_is_module(&(hone_weight){ .role = HONE_R_FFN_UP_EXPS, .n_dims = 3 }));
    assert_false(hone_mlx_is_module(&(hone_weight){ .role = HONE_R_ATTN_NORM, .n_dims = 1 }));
    assert_false(hone_mlx_is_module(&(hone_weight){ .role = HONE_R_ATTN_Q_NORM, .n_dims = 2 }));
    assert_false(hone_mlx_is_module(&(hone_weight){ .role = HONE_R_ATTN_Q, .part = HONE_PART_BIAS, .n_dims = 1 }));
}

/* Facts that the tiny model of a family has not, one by one. */
static void refused(const char *name, const char *key, const char *json, const char *cause)
{
    tiny       t = { 0 };
    hone_err   err = { 0 };
    hone_facts f;
    tiny_open(&t, name);
    tiny_set(&t, key, json);
    const hone_arch *arch;
    assert_int_equal(hone_arch_find(t.config, &arch, &err), HONE_OK);
    if (hone_arch_facts(arch, t.config, &t.m.arena, &f, &err) != HONE_OK) fail_msg("%s: %s", name, err.cause);
    assert_int_equal(hone_mlx_can(&f, &err), HONE_EUNSUPPORTED);
    assert_string_equal(err.cause, cause);
    tiny_close(&t);
}

static void what_mlx_lm_cannot_run_is_refused_by_name(void **state)
{
    (void)state;
    refused("gpt2", "tie_word_embeddings", "false", "the output head is not tied to the embedding, mlx_lm's 'gpt2' always ties it");
    refused("gpt2", "n_inner", "512", "the feed-forward is 512 wide, mlx_lm's 'gpt2' takes 4 times 256 for granted");
    refused("gpt2", "scale_attn_weights", "false", "attention is scaled by 1, mlx_lm's 'gpt2' has 1/sqrt(64) built in");
    refused("mixtral", "rope_scaling", "{\"rope_type\":\"linear\",\"factor\":2.0}",
            "the rotation is scaled (\"rope_scaling\"), mlx_lm's 'mixtral' does not scale it that way");
    refused("gemma3", "final_logit_softcapping", "30.0", "attention or logits are soft-capped, mlx_lm's 'gemma3_text' does otherwise");
    refused("bert", "hidden_act", "\"gelu\"", "mlx_lm does not know the family bert");
    refused("qwen3", "attention_bias", "true", "q, k or v have a bias, mlx_lm's 'qwen3' has none");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gpt_neox_keeps_its_qkv_as_the_checkpoint_has_it),
        cmocka_unit_test(quantised_are_linear_and_embedding_modules),
        cmocka_unit_test(what_mlx_lm_cannot_run_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
