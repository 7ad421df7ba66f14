/* test_mlx.c - names, shards and config.json as mlx_lm has them. */
#include "formats/mlx.h"
#include "base/arena.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static void names_change_where_the_module_is_called_otherwise(void **state)
{
    static const hone_mlx_arch moe = { .renames = { { "experts.%.w1.", "switch_mlp.gate_proj." }, { "experts.%.w2.", "switch_mlp.down_proj." } } };
    static const hone_mlx_arch plain = { .model = "llama" };
    char                       out[64], tiny[8];
    hone_err                   err = { 0 };
    (void)state;
    assert_int_equal(hone_mlx_name(&moe, "model.layers.3.moe.experts.%.w2.weight", out, sizeof out, &err), HONE_OK);
    assert_string_equal(out, "model.layers.3.moe.switch_mlp.down_proj.weight");
    assert_int_equal(hone_mlx_name(&plain, "lm_head.weight", out, sizeof out, &err), HONE_OK);
    assert_string_equal(out, "lm_head.weight");
    assert_int_equal(hone_mlx_name(&plain, "lm_head.weight", tiny, sizeof tiny, &err), HONE_EBUG);
    assert_string_equal(err.cause, "the name of 'lm_head.weight' in MLX has 14 bytes, 7 fit");
}

static void a_new_shard_begins_where_the_next_tensor_would_pass_the_limit(void **state)
{
    const uint64_t bytes[] = { 4, 6, 1, 20, 3, 7, 1 };
    uint32_t       shard[7];
    hone_arena     a = { 0 };
    (void)state;
    assert_int_equal(hone_mlx_shards(bytes, 7, 10, shard), 5);
    const uint32_t want[] = { 0, 0, 1, 2, 3, 3, 4 }; /* 20 is over the limit: a shard of its own */
    assert_memory_equal(shard, want, sizeof want);
    assert_int_equal(hone_mlx_shards(bytes, 7, UINT64_MAX, shard), 1);
    assert_int_equal(hone_mlx_shards(bytes, 0, 10, shard), 0);
    assert_string_equal(hone_mlx_shard_name(&a, 0, 1), "model.safetensors");
    assert_string_equal(hone_mlx_shard_name(&a, 1, 5), "model-00002-of-00005.safetensors");
    assert_true(hone_mlx_owns("model-00002-of-00005.safetensors"));
    assert_true(hone_mlx_owns("config.json") && hone_mlx_owns("tokenizer.model"));
    assert_false(hone_mlx_owns("model-00002-of-00005.safetensors.bak") || hone_mlx_owns("model-2-of-5.safetensors") || hone_mlx_owns("notes.txt"));
    hone_arena_release(&a);
}

static json_t *spelled(const char *json, const hone_facts *f)
{
    hone_err err = { 0 };
    json_t  *config = json_loads(json, 0, NULL);
    assert_non_null(config);
    if (hone_mlx_config(config, f, &err) != HONE_OK) fail_msg("%s", err.cause);
    return config;
}

static void rope_parameters_are_spelled_flat_as_well(void **state)
{
    static const hone_mlx_arch arch = { .model = "llama", .keys = "rope_theta head_dim tie_word_embeddings" };
    hone_facts f = { .mlx = &arch, .head_dim = 64, .rope = { .base = 500000, .factor = 8, .scaling = HONE_ROPE_SCALE_LLAMA3, .original_context = 256 } };
    (void)state;
    json_t *c = spelled("{\"model_type\":\"llama\",\"head_dim\":null,\"_name_or_path\":\"/x\",\"rope_parameters\":{\"rope_type\":\"llama3\",\"rope_theta\":"
                        "500000.0,\"factor\":8.0}}", &f);
    json_t *want = json_loads("{\"model_type\":\"llama\",\"head_dim\":64,\"rope_theta\":500000.0,\"tie_word_embeddings\":false,\"rope_scaling\":"
                              "{\"rope_type\":\"llama3\",\"type\":\"llama3\",\"factor\":8.0,\"original_max_position_embeddings\":256},"
                              "\"rope_parameters\":{\"rope_type\":\"llama3\",\"rope_theta\":500000.0,\"factor\":8.0}}", 0, NULL);
    assert_true(json_equal(c, want));
    json_decref(c);
    json_decref(want);
}

static void what_config_json_says_already_stays(void **state)
{
    static const hone_mlx_arch arch = { .model = "qwen3", .keys = "rope_theta tie_word_embeddings" };
    hone_facts f = { .mlx = &arch, .rope = { .base = 1 } };
    (void)state;
    const char *text = "{\"model_type\":\"qwen3\",\"rope_theta\":10000.0,\"tie_word_embeddings\":true,\"rope_scaling\":null}";
    json_t     *c = spelled(text, &f), *want = json_loads(text, 0, NULL);
    assert_true(json_equal(c, want));
    json_decref(c);
    json_decref(want);
}

static void layer_types_tell_of_windows_only_where_one_layer_has_none(void **state)
{
    static const hone_mlx_arch arch = { .model = "llama", .flags = HONE_MLX_WINDOW_TYPES, .keys = "" };
    const bool mixed[] = { true, false }, all[] = { true, true };
    hone_facts f = { .mlx = &arch, .n_layers = 2, .window = 9, .windowed = mixed };
    (void)state;
    json_t *c = spelled("{}", &f);
    assert_string_equal(json_string_value(json_array_get(json_object_get(c, "layer_types"), 0)), "sliding_attention");
    assert_string_equal(json_string_value(json_array_get(json_object_get(c, "layer_types"), 1)), "full_attention");
    assert_int_equal(json_integer_value(json_object_get(c, "sliding_window")), 9);
    assert_string_equal(json_string_value(json_object_get(c, "model_type")), "llama");
    json_decref(c);
    f.windowed = all;
    c = spelled("{\"layer_types\":[\"sliding_attention\",\"sliding_attention\"]}", &f);
    assert_null(json_object_get(c, "layer_types"));
    json_decref(c);
}

static void partial_rotation_is_never_cut_short_by_rounding(void **state)
{
    static const hone_mlx_arch arch = { .model = "stablelm", .keys = "partial_rotary_factor" };
    (void)state;
    for (uint32_t head = 2; head <= 256; head++)
        for (uint32_t dim = 2; dim <= head; dim += 2) {
            hone_facts f = { .mlx = &arch, .head_dim = head, .rope = { .dim = dim } };
            json_t    *c = spelled("{}", &f);
            double     v = json_number_value(json_object_get(c, "partial_rotary_factor"));
            assert_int_equal((uint32_t)(v * head), dim);
            json_decref(c);
        }
}

static void an_unknown_word_is_our_bug(void **state)
{
    static const hone_mlx_arch arch = { .model = "llama", .keys = "rope_theta colour" };
    hone_facts f = { .mlx = &arch, .rope = { .base = 1 } };
    hone_err   err = { 0 };
    json_t    *c = json_object();
    (void)state;
    assert_int_equal(hone_mlx_config(c, &f, &err), HONE_EBUG);
    assert_string_equal(err.cause, "there is no fact for \"colour\"");
    json_decref(c);
}

static void numbers_are_written_with_the_fewest_digits_that_read_back(void **state)
{
    hone_arena a = { 0 };
    hone_bytes out;
    (void)state;
    json_t *doc = json_loads("{\"b\":1e-05,\"a\":999999.4420358813,\"c\":[0.1,3]}", 0, NULL);
    assert_int_equal(hone_mlx_dump(doc, true, &a, &out, NULL), HONE_OK);
    assert_string_equal((const char *)out.ptr, "{\n    \"a\": 999999.4420358813,\n    \"b\": 1e-5,\n    \"c\": [\n        0.1,\n        3\n    ]\n}\n");
    json_decref(doc);
    hone_arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_change_where_the_module_is_called_otherwise),
        cmocka_unit_test(a_new_shard_begins_where_the_next_tensor_would_pass_the_limit),
        cmocka_unit_test(rope_parameters_are_spelled_flat_as_well),
        cmocka_unit_test(what_config_json_says_already_stays),
        cmocka_unit_test(layer_types_tell_of_windows_only_where_one_layer_has_none),
        cmocka_unit_test(partial_rotation_is_never_cut_short_by_rounding),
        cmocka_unit_test(an_unknown_word_is_our_bug),
        cmocka_unit_test(numbers_are_written_with_the_fewest_digits_that_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
