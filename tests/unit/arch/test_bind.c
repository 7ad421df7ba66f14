/* test_bind.c - every tensor finds its role or the reader is told which one did not. */
#include "arch/tiny.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static void every_family_binds_its_tiny_checkpoint(void **state)
{
    (void)state;
    for (size_t i = 0; i < tiny_count; i++) {
        tiny     t;
        hone_err err = { 0 };
        tiny_open(&t, tiny_names[i]);
        if (tiny_bind(&t, &err) != HONE_OK) fail_msg("%s: %s", tiny_names[i], err.cause);
        assert_string_equal(t.m.facts.family, tiny_names[i]);
        assert_true(t.m.n_weights > 0);
        /* Every tensor is in some weight, except those that a rule calls ignored: none of ours. */
        uint64_t bound = 0, stored = 0;
        for (size_t k = 0; k < t.m.n_weights; k++) {
            bound += hone_weight_elems(&t.m.weights[k]);
            uint64_t sliced = 0, cols = hone_weight_cols(&t.m.weights[k]);
            for (size_t s = 0; s < t.m.weights[k].n_slices; s++) sliced += t.m.weights[k].slices[s].n_rows;
            assert_int_equal(sliced * (t.m.weights[k].n_dims == 1 ? 1 : cols), hone_weight_elems(&t.m.weights[k]));
        }
        for (size_t k = 0; k < t.n_tensors; k++) {
            uint64_t n = 1;
            for (uint32_t d = 0; d < t.tensors[k].n_dims; d++) n *= t.tensors[k].dims[d];
            stored += n;
        }
        assert_int_equal(bound, stored);
        tiny_close(&t);
    }
}

/* ---- what is refused, word for word ---- */

static void refused(tiny *t, hone_code code, const char *cause)
{
    hone_err err = { 0 };
    assert_int_equal(tiny_bind(t, &err), code);
    assert_string_equal(err.cause, cause);
    assert_null(t->m.weights); /* out is untouched on failure */
    tiny_close(t);
}

static void a_missing_tensor_is_named(void **state)
{
    tiny t;
    (void)state;
    tiny_open(&t, "llama");
    tiny_remove(&t, "model.layers.1.mlp.up_proj.weight");
    refused(&t, HONE_EINPUT, "tensor 'model.layers.1.mlp.up_proj.weight' is missing (a llama model has it)");
    tiny_open(&t, "mixtral");
    tiny_remove(&t, "model.layers.0.block_sparse_moe.experts.3.w2.weight");
    refused(&t, HONE_EINPUT, "tensor 'model.layers.0.block_sparse_moe.experts.3.w2.weight' is missing (a mixtral model has it)");
    tiny_open(&t, "llama");
    tiny_remove(&t, "lm_head.weight");
    refused(&t, HONE_EINPUT, "tensor 'lm_head.weight' is missing (a llama model has it)");
    tiny_open(&t, "gpt2");
    t.n_tensors = t.m.source->n_tensors = 0;
    refused(&t, HONE_EINPUT, "tensor 'transformer.wte.weight' is missing (a gpt2 model has it)");
}

static void a_surplus_tensor_is_named(void **state)
{
    const uint64_t dims[] = { 256 };
    tiny           t;
    (void)state;
    tiny_open(&t, "llama");
    tiny_add(&t, "model.layers.0.self_attn.q_norm.weight", 1, dims);
    refused(&t, HONE_EINPUT, "tensor 'model.layers.0.self_attn.q_norm.weight' has no place in a llama model with this config.json");
    /* A layer more than config.json says. */
    tiny_open(&t, "qwen2");
    tiny_set(&t, "num_hidden_layers", "1");
    refused(&t, HONE_EINPUT, "tensor 'model.layers.1.input_layernorm.weight' has no place in a qwen2 model with this config.json (and 11 more)");
    /* A bias that config.json denies. */
    tiny_open(&t, "llama");
    tiny_add(&t, "model.layers.0.self_attn.q_proj.bias", 1, dims);
    refused(&t, HONE_EINPUT, "tensor 'model.layers.0.self_attn.q_proj.bias' has no place in a llama model with this config.json");
    /* Names are made safe to show. */
    tiny_open(&t, "llama");
    tiny_add(&t, "\x1b[31mred", 1, dims);
    refused(&t, HONE_EINPUT, "tensor '\\x1b[31mred' has no place in a llama model with this config.json");
}

static void a_wrong_shape_names_both(void **state)
{
    tiny t;
    (void)state;
    tiny_open(&t, "llama");
    tiny_tensor(&t, "model.layers.0.self_attn.k_proj.weight")->dims[0] = 256;
    refused(&t, HONE_EINPUT, "tensor 'model.layers.0.self_attn.k_proj.weight' is [256, 256], config.json makes it [128, 256]");
    tiny_open(&t, "gpt2"); /* the stored order is shown, not the logical one */
    tiny_tensor(&t, "transformer.h.0.attn.c_attn.weight")->dims[0] = 257;
    refused(&t, HONE_EINPUT, "tensor 'transformer.h.0.attn.c_attn.weight' is [257, 768], config.json makes it [256, 768]");
    tiny_open(&t, "llama");
    tiny_tensor(&t, "model.norm.weight")->n_dims = 0;
    refused(&t, HONE_EINPUT, "tensor 'model.norm.weight' is [], config.json makes it [256]");
    tiny_open(&t, "llama");
    tiny_set(&t, "vocab_size", "513");
    refused(&t, HONE_EINPUT, "tensor 'model.embed_tokens.weight' is [512, 256], config.json makes it [513, 256]");
}

static void experts_of_several_dtypes_are_refused(void **state)
{
    tiny t;
    (void)state;
    tiny_open(&t, "olmoe");
    tiny_tensor(&t, "model.layers.1.mlp.experts.5.up_proj.weight")->dtype = HONE_DTYPE_F16;
    refused(&t, HONE_EUNSUPPORTED, "tensor 'model.layers.1.mlp.experts.5.up_proj.weight' is f16, its siblings are bf16");
}

/* ---- what is taken ---- */

static void a_tied_head_that_was_saved_is_passed_over(void **state)
{
    const uint64_t dims[] = { 704, 256 };
    hone_err       err = { 0 };
    tiny           t;
    (void)state;
    tiny_open(&t, "qwen2");
    tiny_add(&t, "lm_head.weight", 2, dims);
    assert_int_equal(tiny_bind(&t, &err), HONE_OK);
    assert_null(hone_model_find(&t.m, HONE_R_OUTPUT, HONE_PART_WEIGHT, -1));
    tiny_close(&t);
}

static void buffers_of_old_versions_are_passed_over(void **state)
{
    const uint64_t dims[] = { 32 };
    hone_err       err = { 0 };
    tiny           t;
    (void)state;
    tiny_open(&t, "llama");
    size_t n = t.m.source->n_tensors;
    tiny_add(&t, "model.layers.0.self_attn.rotary_emb.inv_freq", 1, dims);
    assert_int_equal(tiny_bind(&t, &err), HONE_OK);
    assert_int_equal(t.m.n_weights, n);
    tiny_close(&t);
}

static void a_base_model_without_its_prefix_is_taken(void **state)
{
    static const char *const names[] = { "llama", "gpt2", "gpt_neox", "bert" };
    (void)state;
    for (size_t i = 0; i < HONE_COUNT(names); i++) {
        tiny     t;
        hone_err err = { 0 };
        tiny_open(&t, names[i]);
        const char *prefix = strcmp(names[i], "gpt2") == 0 ? "transformer." : strcmp(names[i], "gpt_neox") == 0 ? "gpt_neox." : "model.";
        for (size_t k = 0; k < t.n_tensors; k++) {
            if (strcmp(names[i], "bert") == 0) t.tensors[k].name = hone_arena_printf(&t.m.arena, "bert.%s", t.tensors[k].name);
            else if (strncmp(t.tensors[k].name, prefix, strlen(prefix)) == 0) t.tensors[k].name += strlen(prefix);
        }
        for (size_t a = 1; a < t.n_tensors; a++) /* sorted again */
            for (size_t b = a; b > 0 && strcmp(t.tensors[b - 1].name, t.tensors[b].name) > 0; b--) {
                hone_tensor x = t.tensors[b];
                t.tensors[b] = t.tensors[b - 1];
                t.tensors[b - 1] = x;
            }
        if (tiny_bind(&t, &err) != HONE_OK) fail_msg("%s: %s", names[i], err.cause);
        tiny_close(&t);
    }
}

static void stacked_experts_are_cut_into_gate_and_up(void **state)
{
    static const char *const parts[] = { "gate_proj", "up_proj", "down_proj" };
    const uint64_t           gate_up[] = { 8, 128, 256 }, down[] = { 8, 256, 64 };
    tiny                     t;
    hone_err                 err = { 0 };
    char                     name[128];
    (void)state;
    tiny_open(&t, "qwen3_moe");
    for (int layer = 0; layer < 2; layer++) {
        for (int e = 0; e < 8; e++)
            for (int p = 0; p < 3; p++) {
                snprintf(name, sizeof name, "model.layers.%d.mlp.experts.%d.%s.weight", layer, e, parts[p]);
                tiny_remove(&t, name);
            }
        tiny_add(&t, layer ? "model.layers.1.mlp.experts.gate_up_proj" : "model.layers.0.mlp.experts.gate_up_proj", 3, gate_up);
        tiny_add(&t, layer ? "model.layers.1.mlp.experts.down_proj" : "model.layers.0.mlp.experts.down_proj", 3, down);
    }
    if (tiny_bind(&t, &err) != HONE_OK) fail_msg("%s", err.cause);
    const hone_weight *gate = hone_model_find(&t.m, HONE_R_FFN_GATE_EXPS, HONE_PART_WEIGHT, 1);
    const hone_weight *up = hone_model_find(&t.m, HONE_R_FFN_UP_EXPS, HONE_PART_WEIGHT, 1);
    const hone_weight *out = hone_model_find(&t.m, HONE_R_FFN_DOWN_EXPS, HONE_PART_WEIGHT, 1);
    assert_true(gate && up && out);
    assert_int_equal(gate->n_dims, 3);
    assert_int_equal(gate->dims[0], 8);
    assert_int_equal(gate->dims[1], 64);
    assert_int_equal(gate->dims[2], 256);
    assert_int_equal(gate->n_slices, 8);
    assert_int_equal(gate->slices[3].row0, 3 * 128);
    assert_int_equal(up->slices[3].row0, 3 * 128 + 64);
    assert_int_equal(up->slices[3].n_rows, 64);
    assert_int_equal(out->n_slices, 1);
    assert_int_equal(out->slices[0].n_rows, 8 * 256);
    tiny_close(&t);
}

static void weights_come_globals_first_then_by_layer(void **state)
{
    tiny     t;
    hone_err err = { 0 };
    (void)state;
    tiny_open(&t, "gemma3");
    assert_int_equal(tiny_bind(&t, &err), HONE_OK);
    for (size_t i = 1; i < t.m.n_weights; i++) {
        const hone_weight *a = &t.m.weights[i - 1], *b = &t.m.weights[i];
        assert_true(a->layer < b->layer || (a->layer == b->layer && (a->role < b->role || (a->role == b->role && a->part < b->part))));
    }
    tiny_close(&t);
}

static void neox_qkv_is_put_in_order(void **state)
{
    tiny     t;
    hone_err err = { 0 };
    (void)state;
    tiny_open(&t, "gpt_neox");
    assert_int_equal(tiny_bind(&t, &err), HONE_OK);
    for (int part = 0; part < 2; part++) {
        const hone_weight *w = hone_model_find(&t.m, HONE_R_ATTN_QKV, (hone_part)part, 0);
        assert_non_null(w);
        const uint32_t *map = w->slices[0].row_map;
        assert_int_equal(map[0], 0);              /* q of head 0 */
        assert_int_equal(map[64], 3 * 64);        /* q of head 1: stored [heads, 3, 64] */
        assert_int_equal(map[256 + 5], 64 + 5);   /* k of head 0 */
        assert_int_equal(map[512 + 64 + 7], 3 * 64 + 2 * 64 + 7); /* v of head 1 */
    }
    tiny_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_family_binds_its_tiny_checkpoint),
        cmocka_unit_test(a_missing_tensor_is_named),
        cmocka_unit_test(a_surplus_tensor_is_named),
        cmocka_unit_test(a_wrong_shape_names_both),
        cmocka_unit_test(experts_of_several_dtypes_are_refused),
        cmocka_unit_test(a_tied_head_that_was_saved_is_passed_over),
        cmocka_unit_test(buffers_of_old_versions_are_passed_over),
        cmocka_unit_test(a_base_model_without_its_prefix_is_taken),
        cmocka_unit_test(stacked_experts_are_cut_into_gate_and_up),
        cmocka_unit_test(weights_come_globals_first_then_by_layer),
        cmocka_unit_test(neox_qkv_is_put_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
