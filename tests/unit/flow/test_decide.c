#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "flow/assess/decide.h"
#include "hw/profile.h"
#include "hw/target.h"
#include <string.h>

static const hone_ctx ctx = { .data_dir = HONE_TEST_SOURCE_DIR };
static json_t        *data;

static int load(void **state)
{
    hone_err err = { 0 };
    (void)state;
    assert_int_equal(hone_decision_load(&ctx, &data, &err), HONE_OK);
    return 0;
}
static int unload(void **state)
{
    (void)state;
    json_decref(data);
    return 0;
}

static hone_decision decide(hone_arena *a, hone_case c)
{
    hone_decision d = { 0 };
    hone_err      err = { 0 };
    assert_int_equal(hone_decide(data, &c, a, &d, &err), HONE_OK);
    return d;
}

static void every_named_target_has_the_answer_of_the_matrices(void **state)
{
    static const struct { const char *target, *small, *large, *quantization; } rows[] = {
        { "ios", "mlx", "mlx", "int4" },
        { "apple-m-series", "mlx", "mlx", "int4" },
        { "intel-core", "openvino", "openvino", "int8" },
        { "intel-xeon", "openvino", "openvino", "int8" },
        { "intel-npu", "openvino", "openvino", "int8" },
        { "nvidia-gpu", "olive", "olive", "int4" },
        { "jetson-orin", "olive", "olive", "int4" },
        { "jetson-agx-orin", "olive", "olive", "int4" },
        { "edge-tpu", "openvino", "olive", "int8" },
        { "android-arm64", "llama.cpp", "olive", "q4_k_m" },
        { "android-entry", "llama.cpp", "olive", "q4_k_m" },
        { "android-flagship", "llama.cpp", "olive", "q4_k_m" },
        { "raspberry-pi-5", "llama.cpp", "olive", "q4_k_m" },
        { "embedded-arm", "llama.cpp", "olive", "q4_k_m" },
        { "browser", "llama.cpp", "olive", "q4_k_m" },
        { "cloud-edge", "llama.cpp", "olive", "q4_k_m" },
        { "amd-ryzen", "llama.cpp", "olive", "q4_k_m" },
    };
    json_t    *list = NULL;
    hone_arena a = { 0 };
    hone_err   err = { 0 };
    (void)state;
    assert_int_equal(hone_profile_list(&ctx, &list, &err), HONE_OK);
    assert_int_equal(json_array_size(list), HONE_COUNT(rows)); /* a new target joins this table */
    json_decref(list);
    for (size_t i = 0; i < HONE_COUNT(rows); i++) {
        json_t     *doc = NULL;
        hone_target t;
        assert_int_equal(hone_profile_load(&ctx, rows[i].target, &doc, &err), HONE_OK);
        assert_int_equal(hone_target_read(doc, &t, &err), HONE_OK);
        hone_case     c = { .vendor = t.vendor, .platform = t.platform, .kind = "llm", .parameters = 1000000000 };
        hone_decision d = decide(&a, c);
        assert_string_equal(d.framework, rows[i].small);
        assert_string_equal(d.quantization, rows[i].quantization);
        assert_string_equal(d.gguf_quantization, "q4_k_m");
        /* the profile's own default is the same answer */
        assert_string_equal(t.format, d.format);
        assert_string_equal(t.quantization, d.quantization);
        /* tree and platform matrix never contradict each other for a small text model */
        if (d.primary) assert_string_equal(d.primary, d.framework);
        c.parameters = 8030261248;
        d = decide(&a, c);
        assert_string_equal(d.framework, rows[i].large);
        json_decref(doc);
    }
    hone_arena_release(&a);
}

static void the_strategy_goes_by_vendor_and_then_by_seven_billion_parameters(void **state)
{
    static const struct { const char *vendor; uint64_t parameters; const char *strategy; } rows[] = {
        { "apple", 70000000000, "apple" },         { "intel", 70000000000, "intel" },
        { "arm", 7000000000, "lightweight" },      { "arm", 7000000001, "enterprise" },
        { "generic", 1, "lightweight" },           { "nvidia", 8000000000, "enterprise" },
    };
    hone_arena a = { 0 };
    (void)state;
    for (size_t i = 0; i < HONE_COUNT(rows); i++)
        assert_string_equal(
            decide(&a, (hone_case){ .vendor = rows[i].vendor, .platform = "generic", .kind = "llm", .parameters = rows[i].parameters }).strategy,
            rows[i].strategy);
    hone_arena_release(&a);
}

static void the_facts_that_made_the_rule_hold_are_said(void **state)
{
    hone_arena    a = { 0 };
    (void)state;
    hone_decision d = decide(&a, (hone_case){ .vendor = "intel", .platform = "intel", .kind = "llm" });
    assert_string_equal(d.facts, "vendor is intel");
    assert_string_equal(d.rule, "intel");
    d = decide(&a, (hone_case){ .vendor = "arm", .platform = "arm_mobile", .kind = "llm", .parameters = 8000000000 });
    assert_string_equal(d.facts, "strategy is enterprise");
    d = decide(&a, (hone_case){ .vendor = "amd", .platform = "generic", .kind = "table" });
    assert_string_equal(d.rule, "other");
    assert_string_equal(d.facts, "");
    hone_arena_release(&a);
}

static void a_multimodal_model_is_a_comparison_and_an_embedding_is_q8_0(void **state)
{
    hone_arena    a = { 0 };
    (void)state;
    hone_decision d = decide(&a, (hone_case){ .vendor = "arm", .platform = "arm_mobile", .kind = "multimodal" });
    assert_int_equal(d.n_compare, 2);
    assert_string_equal(d.compare[0], "openvino");
    assert_string_equal(d.compare[1], "olive");
    d = decide(&a, (hone_case){ .vendor = "arm", .platform = "arm_mobile", .kind = "embedding" });
    assert_string_equal(d.framework, "llama.cpp");
    assert_string_equal(d.quantization, "q8_0");
    hone_arena_release(&a);
}

static void the_workflow_counts_where_no_vendor_rule_does(void **state)
{
    hone_arena    a = { 0 };
    (void)state;
    hone_decision d = decide(&a, (hone_case){ .vendor = "amd", .platform = "generic", .kind = "llm", .workflow = "enterprise" });
    assert_string_equal(d.framework, "olive");
    assert_string_equal(d.workflow_first, "olive");
    d = decide(&a, (hone_case){ .vendor = "apple", .platform = "apple_silicon", .kind = "llm", .workflow = "enterprise" });
    assert_string_equal(d.framework, "mlx");
    d = decide(&a, (hone_case){ .vendor = "amd", .platform = "generic", .kind = "llm", .workflow = "prototype" });
    assert_string_equal(d.framework, "llama.cpp");
    assert_string_equal(d.workflow_first, "llama.cpp");
    hone_arena_release(&a);
}

static void the_explanation_takes_one_rule_of_each_list(void **state)
{
    static const char *const names[] = { "strategy", "tree", "quantization" };
    hone_arena    a = { 0 };
    hone_err      err = { 0 };
    json_t       *doc = NULL, *r;
    (void)state;
    hone_case     c = { .vendor = "arm", .platform = "arm_mobile", .kind = "llm", .parameters = 1 };
    hone_decision d = decide(&a, c);
    assert_int_equal(hone_decision_explain(data, &c, &d, &doc, &err), HONE_OK);
    for (size_t l = 0; l < HONE_COUNT(names); l++) {
        size_t i, taken = 0;
        json_array_foreach(json_object_get(doc, names[l]), i, r) {
            taken += json_is_true(json_object_get(r, "taken"));
            if (json_is_true(json_object_get(r, "taken"))) assert_true(json_is_true(json_object_get(r, "holds")));
        }
        assert_int_equal(taken, 1);
    }
    assert_int_equal(json_array_size(json_object_get(json_object_get(doc, "requirement_matrix"), "rows")), 6);
    assert_int_equal(json_array_size(json_object_get(doc, "platform_matrix")), 6);
    assert_int_equal(json_array_size(json_object_get(doc, "workflows")), 2);
    json_decref(doc);
    hone_arena_release(&a);
}

/* The shipped file with one thing spoiled; steals v. */
static void spoiled(const char *list, size_t at, const char *key, json_t *v, const char *cause)
{
    json_t  *copy = json_deep_copy(data), *out = NULL;
    hone_err err = { 0 };
    json_t  *entry = json_array_get(json_object_get(copy, list), at);
    if (v) assert_int_equal(json_object_set_new(entry, key, v), 0);
    else assert_int_equal(json_object_del(entry, key), 0);
    char *text = json_dumps(copy, 0);
    assert_int_equal(hone_decision_parse((hone_bytes){ (uint8_t *)text, strlen(text) }, "d", &out, &err), HONE_EINPUT);
    assert_string_equal(err.cause, cause);
    assert_null(out);
    free(text);
    json_decref(copy);
}

static void bad_rules_are_refused_by_place(void **state)
{
    (void)state;
    spoiled("tree", 1, "framework", json_string("tensorrt"), "'d': tree[1] names the framework 'tensorrt', which \"frameworks\" does not have");
    spoiled("tree", 0, "when", json_pack("{s:[s]}", "colour", "red"), "'d': tree[0] has the unknown condition 'colour'");
    spoiled("tree", 0, "when", json_pack("{s:s}", "vendor", "apple"), "'d': tree[0]: condition 'vendor' is not a list of words");
    spoiled("strategy", 3, "when", json_pack("{s:[s]}", "vendor", "amd"), "'d': strategy[3] is the last entry and does not always hold");
    spoiled("strategy", 2, "when", json_pack("{s:s}", "parameters_over", "7B"), "'d': strategy[2]: parameters_over is not a whole number");
    spoiled("tree", 2, "because", NULL, "'d': tree[2] has no \"because\"");
    spoiled("quantization", 0, "quantization", NULL, "'d': quantization[0] has no quantization");
    spoiled("platform_matrix", 0, "primary", json_string("x"), "'d': platform_matrix[0] names the framework 'x', which \"frameworks\" does not have");
    spoiled("workflows", 1, "ranking", json_array(), "'d': workflows[1] has no workflow, no title or no ranking");
    spoiled("frameworks", 0, "title", NULL, "'d': frameworks[0] needs name, title and format");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_named_target_has_the_answer_of_the_matrices),
        cmocka_unit_test(the_strategy_goes_by_vendor_and_then_by_seven_billion_parameters),
        cmocka_unit_test(the_facts_that_made_the_rule_hold_are_said),
        cmocka_unit_test(a_multimodal_model_is_a_comparison_and_an_embedding_is_q8_0),
        cmocka_unit_test(the_workflow_counts_where_no_vendor_rule_does),
        cmocka_unit_test(the_explanation_takes_one_rule_of_each_list),
        cmocka_unit_test(bad_rules_are_refused_by_place),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
