/* test_gguf_layout.c - the rewrites, number by number, and what llama.cpp cannot run. */
#include "passes/gguf_layout.h"
#include "arch/tiny.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

typedef struct rewritten {
    tiny         t;
    hone_arena   a;
    hone_weight *w;
    size_t       n;
} rewritten;

static void rewrite(rewritten *r, const char *name)
{
    hone_err err = { 0 };
    r->a = (hone_arena){ 0 };
    if (!r->t.config) tiny_open(&r->t, name);
    if (tiny_bind(&r->t, &err) != HONE_OK) fail_msg("%s: %s", name, err.cause);
    if (hone_gguf_rewrite(&r->t.m, &r->a, &r->w, &r->n, &err) != HONE_OK) fail_msg("%s: %s", name, err.cause);
}

static const hone_weight *find(const rewritten *r, hone_role role, hone_part part, int32_t layer)
{
    for (size_t i = 0; i < r->n; i++)
        if (r->w[i].role == role && r->w[i].part == part && r->w[i].layer == layer) return &r->w[i];
    return NULL;
}

static void done(rewritten *r)
{
    hone_arena_release(&r->a);
    tiny_close(&r->t);
}

static void q_and_k_rows_are_put_side_by_side(void **state)
{
    rewritten r = { 0 };
    (void)state;
    rewrite(&r, "llama");
    const hone_weight *q = find(&r, HONE_R_ATTN_Q, HONE_PART_WEIGHT, 0), *k = find(&r, HONE_R_ATTN_K, HONE_PART_WEIGHT, 0);
    const hone_weight *v = find(&r, HONE_R_ATTN_V, HONE_PART_WEIGHT, 0);
    assert_true(q && k && v);
    const uint32_t *m = q->slices[0].row_map;
    assert_int_equal(m[0], 0);
    assert_int_equal(m[1], 32); /* the partner of element 0 in a head of 64 */
    assert_int_equal(m[2], 1);
    assert_int_equal(m[63], 63);
    assert_int_equal(m[64], 64);
    assert_int_equal(m[3 * 64 + 5], 3 * 64 + 32 + 2);
    assert_int_equal(k->slices[0].row_map[64 + 1], 64 + 32);
    assert_null(v->slices[0].row_map);
    assert_null(hone_model_find(&r.t.m, HONE_R_ATTN_Q, HONE_PART_WEIGHT, 0)->slices[0].row_map); /* the model is not changed */
    done(&r);
}

static void families_that_rotate_halves_keep_their_rows(void **state)
{
    rewritten r = { 0 };
    (void)state;
    rewrite(&r, "qwen3");
    assert_null(find(&r, HONE_R_ATTN_Q, HONE_PART_WEIGHT, 1)->slices[0].row_map);
    done(&r);
}

static void gemma_norms_get_their_one(void **state)
{
    rewritten r = { 0 };
    (void)state;
    rewrite(&r, "gemma2");
    assert_true(find(&r, HONE_R_OUTPUT_NORM, HONE_PART_WEIGHT, -1)->add == 1);
    assert_true(find(&r, HONE_R_FFN_POST_NORM, HONE_PART_WEIGHT, 1)->add == 1);
    assert_true(find(&r, HONE_R_FFN_DOWN, HONE_PART_WEIGHT, 1)->add == 0);
    done(&r);
}

static void the_query_scale_goes_into_q_or_its_norm(void **state)
{
    rewritten r = { 0 };
    (void)state;
    rewrite(&r, "gemma2"); /* query_pre_attn_scalar 96, heads of 64 */
    float want = (float)sqrt(64.0 / 96.0);
    assert_true(find(&r, HONE_R_ATTN_Q, HONE_PART_WEIGHT, 0)->scale == want);
    assert_true(find(&r, HONE_R_ATTN_K, HONE_PART_WEIGHT, 0)->scale == 1);
    done(&r);
    r = (rewritten){ 0 };
    tiny_open(&r.t, "gemma3");
    tiny_set(&r.t, "query_pre_attn_scalar", "256");
    rewrite(&r, "gemma3");
    const hone_weight *n = find(&r, HONE_R_ATTN_Q_NORM, HONE_PART_WEIGHT, 0);
    assert_true(n->scale == 0.5f && n->add == 0.5f); /* (w + 1) / 2 */
    assert_true(find(&r, HONE_R_ATTN_Q, HONE_PART_WEIGHT, 0)->scale == 1);
    done(&r);
    r = (rewritten){ 0 };
    rewrite(&r, "granite"); /* told by attention.scale */
    assert_true(find(&r, HONE_R_ATTN_Q, HONE_PART_WEIGHT, 0)->scale == 1);
    done(&r);
}

static void the_27b_gemma_has_its_own_built_in_scale(void **state)
{
    /* gemma2.cpp:25: 46 layers mean 1/sqrt(hidden/heads). */
    hone_gguf_arch g = { .name = "gemma2", .wide_scale_layers = 46 };
    hone_facts     f = { .gguf = &g, .n_layers = 46, .hidden = 4608, .n_heads = 32, .head_dim = 128, .attn_scale = 1 / sqrt(144.0) };
    (void)state;
    assert_true(hone_gguf_query_scale(&f) == 1);
    f.n_layers = 42;
    assert_true(fabs(hone_gguf_query_scale(&f) - sqrt(128.0 / 144.0)) < 1e-12);
}

static void llama3_divisors_are_computed(void **state)
{
    rewritten r = { 0 };
    (void)state;
    rewrite(&r, "llama"); /* theta 500000, factor 8, low 1, high 4, original 256 */
    const hone_weight *w = find(&r, HONE_R_ROPE_FREQS, HONE_PART_WEIGHT, -1);
    assert_non_null(w);
    assert_ptr_equal(w, &r.w[0]);
    assert_int_equal(w->dims[0], 32);
    assert_true(w->values[0] == 1 && w->values[5] == 1 && w->values[10] == 8 && w->values[31] == 8);
    assert_true(w->values[7] > 1.97f && w->values[7] < 1.98f);
    done(&r);
}

static void longrope_brings_two_sets_of_factors(void **state)
{
    rewritten r = { 0 };
    (void)state;
    rewrite(&r, "phi3");
    const hone_weight *l = find(&r, HONE_R_ROPE_FACTORS_LONG, HONE_PART_WEIGHT, -1), *s = find(&r, HONE_R_ROPE_FACTORS_SHORT, HONE_PART_WEIGHT, -1);
    assert_true(l && s);
    assert_true(l->values[1] == 1.21f && s->values[1] == 1.015f);
    done(&r);
}

static void a_tied_head_is_written_twice_where_the_loader_insists(void **state)
{
    rewritten r = { 0 };
    (void)state;
    tiny_open(&r.t, "olmo2");
    tiny_set(&r.t, "tie_word_embeddings", "true");
    rewrite(&r, "olmo2");
    const hone_weight *o = find(&r, HONE_R_OUTPUT, HONE_PART_WEIGHT, -1), *e = find(&r, HONE_R_TOK_EMBD, HONE_PART_WEIGHT, -1);
    assert_true(o && e);
    assert_ptr_equal(o->slices, e->slices);
    done(&r);
    r = (rewritten){ 0 };
    rewrite(&r, "qwen2");
    assert_null(find(&r, HONE_R_OUTPUT, HONE_PART_WEIGHT, -1));
    done(&r);
}

static void the_pooler_of_bert_is_left_out(void **state)
{
    rewritten r = { 0 };
    (void)state;
    rewrite(&r, "bert");
    assert_null(find(&r, HONE_R_POOLER, HONE_PART_WEIGHT, -1));
    assert_int_equal(r.n, r.t.m.n_weights - 2);
    done(&r);
}

/* ---- what llama.cpp cannot run ---- */

static void cannot(const char *name, const char *key, const char *json, const char *cause)
{
    hone_err         err = { 0 };
    hone_arena       a = { 0 };
    hone_facts       f;
    tiny             t;
    const hone_arch *arch = NULL;
    tiny_open(&t, name);
    assert_int_equal(hone_arch_find(t.config, &arch, &err), HONE_OK);
    assert_int_equal(hone_arch_facts(arch, t.config, &a, &f, &err), HONE_OK);
    assert_int_equal(hone_gguf_can(&f, &err), HONE_OK);
    tiny_set(&t, key, json);
    if (hone_arch_facts(arch, t.config, &a, &f, &err) != HONE_OK) fail_msg("%s: %s", name, err.cause);
    assert_int_equal(hone_gguf_can(&f, &err), HONE_EUNSUPPORTED);
    assert_string_equal(err.cause, cause);
    hone_arena_release(&a);
    tiny_close(&t);
}

static void what_llamacpp_cannot_run_is_refused_by_fact(void **state)
{
    (void)state;
    cannot("llama", "hidden_act", "\"gelu\"", "the activation is gelu, llama.cpp's 'llama' has silu built in");
    cannot("gpt2", "activation_function", "\"relu\"", "the activation is relu, llama.cpp's 'gpt2' has gelu_tanh built in");
    cannot("qwen3", "attention_bias", "true", "the attention output has a bias, llama.cpp's 'qwen3' loads none");
    cannot("smollm3", "mlp_bias", "true", "the feed-forward has biases, llama.cpp's 'smollm3' loads none");
    cannot("qwen2", "head_dim", "32", "4 heads of 32 elements are not the hidden size 256, llama.cpp's 'qwen2' takes that for granted");
    cannot("olmoe", "num_key_value_heads", "2", "4 heads share 2 key-value heads, llama.cpp's 'olmoe' wants one each");
    cannot("olmoe", "norm_topk_prob", "true", "the chosen experts' weights are renormalised, llama.cpp's 'olmoe' does otherwise");
    cannot("qwen3_moe", "norm_topk_prob", "false", "the chosen experts' weights are not renormalised, llama.cpp's 'qwen3moe' does otherwise");
    cannot("gemma2", "tie_word_embeddings", "false", "the output head is not tied to the embedding, llama.cpp's 'gemma2' always ties it");
    cannot("gemma2", "attn_logit_softcapping", "null", "attention is not soft-capped, llama.cpp's 'gemma2' does otherwise");
    cannot("gemma2", "final_logit_softcapping", "null", "logits are not soft-capped, llama.cpp's 'gemma2' does otherwise");
    cannot("gemma3", "attn_logit_softcapping", "50", "attention is soft-capped, llama.cpp's 'gemma3' does otherwise");
    cannot("gemma2", "sliding_window", "null",
           "no layer has a sliding window, llama.cpp's 'gemma2' gives every second one a window of its own");
    cannot("llama", "partial_rotary_factor", "0.5", "32 of 64 elements of a head are rotated, llama.cpp's 'llama' rotates all");
    cannot("qwen2", "rope_scaling", "{\"type\":\"llama3\",\"factor\":8,\"low_freq_factor\":1,\"high_freq_factor\":4}",
           "rope scaling is llama3, llama.cpp's 'qwen2' does not load rope_freqs.weight");
    cannot("llama", "rope_scaling", "{\"type\":\"yarn\",\"factor\":8,\"beta_fast\":24}",
           "yarn has beta_fast 24 and beta_slow 1, llama.cpp's 'llama' has 32 and 1 built in");
    cannot("smollm3", "no_rope_layers", "[1,0,1,0]", "layer 1 is not rotated, llama.cpp's 'smollm3' decides otherwise (every 4-th layer is not)");
    cannot("starcoder2", "use_bias", "false", "a projection has no bias, llama.cpp's 'starcoder2' insists on all of them");
    cannot("llama", "num_hidden_layers", "513", "the model has 513 layers, llama.cpp holds up to 512");
    cannot("olmoe", "num_experts", "1025", "the model has 1025 experts, llama.cpp holds up to 1024");
    cannot("gpt_neox", "attention_bias", "false", "a projection has no bias, llama.cpp's 'gptneox' insists on all of them");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(q_and_k_rows_are_put_side_by_side),
        cmocka_unit_test(families_that_rotate_halves_keep_their_rows),
        cmocka_unit_test(gemma_norms_get_their_one),
        cmocka_unit_test(the_query_scale_goes_into_q_or_its_norm),
        cmocka_unit_test(the_27b_gemma_has_its_own_built_in_scale),
        cmocka_unit_test(llama3_divisors_are_computed),
        cmocka_unit_test(longrope_brings_two_sets_of_factors),
        cmocka_unit_test(a_tied_head_is_written_twice_where_the_loader_insists),
        cmocka_unit_test(the_pooler_of_bert_is_left_out),
        cmocka_unit_test(what_llamacpp_cannot_run_is_refused_by_fact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
