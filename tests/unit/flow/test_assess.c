#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "flow/assess.h"
#include "flow/convert.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const hone_ctx ctx = { .data_dir = HONE_TEST_SOURCE_DIR };

#define TALE HONE_TEST_SOURCE_DIR "/examples/models/tale-8m"
#define MOE HONE_TEST_SOURCE_DIR "/tests/golden/tale-moe"
#define TINY HONE_TEST_SOURCE_DIR "/tests/golden/tiny/"

static json_t *assess(const char *model, hone_assess_options opt)
{
    hone_model m = { 0 };
    json_t    *doc = NULL;
    hone_err   err = { 0 };
    assert_int_equal(hone_model_open(&ctx, model, &m, &err), HONE_OK);
    hone_code code = hone_assess(&ctx, &m, &opt, &doc, &err);
    if (code != HONE_OK) print_error("%s\n", err.cause);
    assert_int_equal(code, HONE_OK);
    hone_model_close(&m);
    return doc;
}

static const json_t *row(const json_t *doc, const char *list, const char *encoding)
{
    size_t  i;
    json_t *r;
    json_array_foreach(json_object_get(doc, list), i, r)
        if (strcmp(json_string_value(json_object_get(r, "encoding")), encoding) == 0) return r;
    return NULL;
}

static double num(const json_t *o, const char *key)
{
    assert_true(json_is_number(json_object_get(o, key)));
    return json_number_value(json_object_get(o, key));
}

static const char *str(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    assert_non_null(s);
    return s;
}

static void bytes_are_those_that_convert_would_write(void **state)
{
    static const char *const models[] = { TALE, MOE, TINY "gemma3", TINY "olmoe", TINY "bert" };
    static const char *const quants[] = { "f32", "q8_0", "q4_k_m", "q3_k_l", "iq4_xs" };
    (void)state;
    for (size_t i = 0; i < HONE_COUNT(models); i++) {
        hone_model          m = { 0 };
        hone_convert_result res = { 0 };
        hone_err            err = { 0 };
        json_t             *doc = assess(models[i], (hone_assess_options){ .target = "android" });
        assert_int_equal(hone_model_open(&ctx, models[i], &m, &err), HONE_OK);
        hone_convert_options opt = { .quants = quants, .n_quants = HONE_COUNT(quants), .out_dir = ".", .dry_run = true };
        assert_int_equal(hone_convert(&ctx, &m, &opt, &res, &err), HONE_OK);
        for (size_t k = 0; k < res.n_outputs; k++) {
            const json_t *f = row(doc, "fit", quants[k]);
            assert_int_equal((uint64_t)num(f, "file_bytes"), res.outputs[k].bytes);
            assert_true(fabs(num(f, "bpw") - res.outputs[k].bpw) < 1e-9);
        }
        hone_convert_result_release(&res);
        hone_model_close(&m);
        json_decref(doc);
    }
}

static void the_example_model_has_its_known_facts_and_costs(void **state)
{
    (void)state;
    json_t       *doc = assess(TALE, (hone_assess_options){ .target = "raspberry-pi-5" });
    const json_t *m = json_object_get(doc, "model"), *f = row(doc, "fit", "f16");
    assert_string_equal(str(m, "architecture"), "llama");
    assert_string_equal(str(m, "kind"), "llm");
    assert_string_equal(str(m, "dtype"), "bf16");
    assert_int_equal((uint64_t)num(m, "parameters"), 7344384);
    /* one row of the embedding instead of 2048 */
    assert_int_equal((uint64_t)num(m, "parameters_per_token"), 7344384 - 2047 * 256);
    assert_int_equal((uint64_t)num(m, "bytes"), 2 * 7344384);
    assert_int_equal((uint64_t)num(doc, "context"), 512); /* the policy says 2048, the model has 512 */
    /* 8 layers, 4 heads of 32, keys and values, two bytes */
    assert_int_equal((uint64_t)num(f, "kv_bytes"), 512 * 8 * 4 * 32 * 2 * 2);
    assert_int_equal((uint64_t)num(f, "ram_bytes"),
                     (uint64_t)(num(f, "weights_bytes") + num(f, "kv_bytes") + num(f, "compute_bytes")));
    /* what llama.cpp reported for this model at this context, within a fifth */
    assert_true(fabs(num(f, "compute_bytes") - 7354368) < 0.2 * 7354368);
    /* 60 % of 17.1 GB/s; norms stay f32 */
    double bytes = num(f, "weights_bytes") - 2047 * 256 * 2 + num(f, "kv_bytes") / 2, s = bytes / (0.6 * 17.1e9) + 8 * 50e-6;
    assert_true(fabs(num(f, "est_decode_tok_s") * s - 1) < 1e-6);
    json_decref(doc);
}

static void only_the_experts_that_are_used_count_for_a_token(void **state)
{
    (void)state;
    json_t       *doc = assess(MOE, (hone_assess_options){ .target = "raspberry-pi-5" });
    const json_t *m = json_object_get(doc, "model");
    /* 4 layers of 8 experts, 2 used: 6 of 8 are left out, of three matrices each */
    uint64_t per_expert = 3 * (uint64_t)256 * 256, total = (uint64_t)num(m, "parameters"), active = (uint64_t)num(m, "parameters_per_token");
    assert_int_equal((uint64_t)num(m, "experts"), 8);
    assert_int_equal((uint64_t)num(m, "experts_used"), 2);
    assert_int_equal(total - active, 4 * 6 * per_expert + 2047 * 256);
    json_decref(doc);
}

static void the_widest_encoding_that_fits_is_taken_when_the_default_does_not(void **state)
{
    (void)state;
    json_t *doc = assess(TALE, (hone_assess_options){ .target = "android" });
    assert_string_equal(str(json_object_get(json_object_get(doc, "recommendation"), "now"), "quantization"), "q4_k_m");
    assert_string_equal(str(json_object_get(doc, "recommendation"), "framework"), "llama.cpp");
    double need = num(row(doc, "fit", "q4_k_m"), "ram_bytes");
    json_decref(doc);
    doc = assess(TALE, (hone_assess_options){ .target = "android", .max_ram = (uint64_t)need - 1 });
    const json_t *now = json_object_get(json_object_get(doc, "recommendation"), "now");
    assert_string_equal(str(now, "quantization"), "q4_k_s");
    assert_true(json_is_true(json_object_get(now, "fits")));
    assert_true(json_is_false(json_object_get(row(doc, "fit", "q4_k_m"), "fits")));
    json_decref(doc);
    doc = assess(TALE, (hone_assess_options){ .target = "android", .max_ram = 1000000 });
    now = json_object_get(json_object_get(doc, "recommendation"), "now");
    assert_string_equal(str(now, "quantization"), "iq2_xxs");
    assert_true(json_is_false(json_object_get(now, "fits")));
    json_decref(doc);
}

static void another_framework_is_said_beside_what_the_sizes_are_of(void **state)
{
    (void)state;
    json_t       *doc = assess(TALE, (hone_assess_options){ .target = "intel-core", .explain = true });
    const json_t *r = json_object_get(doc, "recommendation"), *c = NULL;
    assert_string_equal(str(r, "framework"), "openvino");
    assert_string_equal(str(r, "format"), "openvino");
    assert_string_equal(str(r, "quantization"), "int8");
    assert_true(json_is_true(json_object_get(r, "writable")));
    assert_string_equal(str(json_object_get(r, "now"), "format"), "gguf");
    size_t  i, said = 0;
    json_t *v;
    json_array_foreach(json_object_get(r, "because"), i, v)
        said += strcmp(json_string_value(v), "hone convert --to openvino writes it; the sizes below are those of GGUF in llama.cpp") == 0;
    assert_int_equal(said, 1);
    json_array_foreach(json_object_get(doc, "compatibility"), i, v)
        if (strcmp(str(v, "format"), "openvino") == 0) c = v;
    assert_non_null(c);
    assert_true(json_is_true(json_object_get(c, "ok")));
    assert_true(json_is_object(json_object_get(doc, "decision")));
    json_decref(doc);
}

static void an_apple_target_is_told_that_mlx_can_be_written(void **state)
{
    (void)state;
    json_t       *doc = assess(TALE, (hone_assess_options){ .target = "apple-m-series" }), *v;
    const json_t *r = json_object_get(doc, "recommendation");
    size_t        i, said = 0, rows = 0;
    assert_string_equal(str(r, "format"), "mlx");
    assert_string_equal(str(r, "quantization"), "int4");
    assert_int_equal((int)num(r, "group"), 64);
    assert_true(json_is_true(json_object_get(r, "writable")));
    json_array_foreach(json_object_get(r, "because"), i, v)
        said += strcmp(json_string_value(v), "hone convert --to mlx writes it; the sizes below are those of GGUF in llama.cpp") == 0;
    assert_int_equal(said, 1);
    json_array_foreach(json_object_get(doc, "compatibility"), i, v) {
        if (strcmp(str(v, "format"), "mlx") != 0) continue;
        assert_true(json_is_true(json_object_get(v, "ok")));
        assert_string_equal(str(v, "reason"), "");
        rows++;
    }
    assert_int_equal(rows, 2);
    json_decref(doc);
    doc = assess(TINY "bert", (hone_assess_options){ .target = "apple-m-series" });
    json_array_foreach(json_object_get(doc, "compatibility"), i, v)
        if (strcmp(str(v, "format"), "mlx") == 0) assert_true(json_is_false(json_object_get(v, "ok")) && str(v, "reason")[0]);
    json_decref(doc);
}

static void fallbacks_of_odd_widths_are_counted(void **state)
{
    (void)state;
    json_t       *doc = assess(TINY "olmoe", (hone_assess_options){ .target = "android" });
    const json_t *c = row(doc, "compatibility", "q4_k_m");
    assert_true(json_is_true(json_object_get(c, "ok")));
    assert_int_equal((int)num(c, "fallbacks"), 2);
    assert_string_equal(str(c, "reason"), "2 of 18 matrices kept wider: their rows are no multiple of the block");
    c = row(doc, "compatibility", "q2_k_s");
    assert_true(json_is_false(json_object_get(c, "ok")));
    assert_string_equal(str(c, "reason"), "q2_k_s needs an importance matrix");
    assert_null(row(doc, "fit", "q2_k_s"));
    json_decref(doc);
}

/* A tiny model with one of its files changed. */
static json_t *assess_changed(const char *model, const char *file, void change(json_t *))
{
    static char          dir[] = "/tmp/hone-assess-XXXXXX";
    static const char *const files[] = { "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors" };
    char                 path[256];
    hone_err             err = { 0 };
    memcpy(dir + sizeof dir - 7, "XXXXXX", 6);
    assert_non_null(mkdtemp(dir));
    for (size_t i = 0; i < HONE_COUNT(files); i++) {
        (void)snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        char from[512];
        (void)snprintf(from, sizeof from, TINY "%s/%s", model, files[i]);
        if (strcmp(files[i], file) != 0) {
            assert_int_equal(symlink(from, path), 0);
            continue;
        }
        json_t *o = NULL;
        assert_int_equal(hone_json_load(from, &o, &err), HONE_OK);
        change(o);
        assert_int_equal(json_dump_file(o, path, 0), 0);
        json_decref(o);
    }
    json_t *doc = assess(dir, (hone_assess_options){ .target = "android" });
    for (size_t i = 0; i < HONE_COUNT(files); i++) {
        (void)snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(rmdir(dir), 0);
    return doc;
}

static void with_gelu(json_t *config) { assert_int_equal(json_object_set_new(config, "hidden_act", json_string("gelu")), 0); }

/* "##\u2581a" becomes what "a" becomes: a continuation loses its mark, a beginning gets one. */
static void with_two_tokens_of_one_text(json_t *tokenizer)
{
    json_t     *vocab = json_object_get(json_object_get(tokenizer, "model"), "vocab");
    const char *last = NULL, *key;
    json_t     *v;
    assert_non_null(json_object_get(vocab, "a"));
    json_object_foreach(vocab, key, v) if (strncmp(key, "##", 2) == 0 && strlen(key) > 3) last = key;
    assert_non_null(last);
    json_t *id = json_incref(json_object_get(vocab, last));
    assert_int_equal(json_object_del(vocab, last), 0);
    assert_int_equal(json_object_set_new(vocab, "##\xe2\x96\x81""a", id), 0);
}

static void a_model_that_llamacpp_cannot_run_has_no_encoding_and_says_why(void **state)
{
    static const char why[] = "the activation is gelu, llama.cpp's 'llama' has silu built in";
    (void)state;
    json_t *doc = assess_changed("llama", "config.json", with_gelu), *v;
    size_t  i, n = 0;
    json_array_foreach(json_object_get(doc, "compatibility"), i, v) {
        if (strcmp(str(v, "format"), "gguf") != 0) continue;
        assert_true(json_is_false(json_object_get(v, "ok")));
        assert_string_equal(str(v, "reason"), why);
        n++;
    }
    assert_true(n > 15);
    assert_int_equal(json_array_size(json_object_get(doc, "fit")), 0);
    const json_t *r = json_object_get(doc, "recommendation");
    assert_true(json_is_null(json_object_get(r, "now")));
    v = json_array_get(json_object_get(r, "because"), json_array_size(json_object_get(r, "because")) - 1);
    assert_memory_equal(json_string_value(v), "llama.cpp cannot run this model: ", 33);
    assert_string_equal(json_string_value(v) + 33, why);
    json_decref(doc);
}

static void a_tokenizer_that_a_file_cannot_hold_is_a_reason_too(void **state)
{
    (void)state;
    json_t *doc = assess_changed("bert", "tokenizer.json", with_two_tokens_of_one_text);
    const json_t *c = row(doc, "compatibility", "f16");
    assert_true(json_is_false(json_object_get(c, "ok")));
    assert_non_null(strstr(str(c, "reason"), " are both '\xe2\x96\x81""a' in GGUF"));
    assert_int_equal(json_array_size(json_object_get(doc, "fit")), 0);
    json_decref(doc);
}

static void an_encoder_has_no_cache_and_no_decode_speed(void **state)
{
    (void)state;
    json_t       *doc = assess(TINY "bert", (hone_assess_options){ .target = "android" });
    const json_t *f = row(doc, "fit", "q8_0");
    assert_int_equal((int)num(f, "kv_bytes"), 0);
    assert_true(json_is_null(json_object_get(f, "est_decode_tok_s")));
    assert_string_equal(str(json_object_get(doc, "model"), "kind"), "embedding");
    assert_string_equal(str(json_object_get(json_object_get(doc, "recommendation"), "now"), "quantization"), "q8_0");
    json_decref(doc);
}

static void without_a_bandwidth_there_is_no_speed(void **state)
{
    (void)state;
    json_t *doc = assess(TALE, (hone_assess_options){ .target = "cloud-edge" });
    assert_true(json_is_null(json_object_get(row(doc, "fit", "q4_k_m"), "est_decode_tok_s")));
    assert_string_equal(str(json_object_get(doc, "target"), "read_gb_s_basis"), "not measured");
    json_decref(doc);
}

static void a_context_over_the_models_own_is_refused(void **state)
{
    hone_model m = { 0 };
    json_t    *doc = NULL;
    hone_err   err = { 0 };
    (void)state;
    assert_int_equal(hone_model_open(&ctx, TALE, &m, &err), HONE_OK);
    assert_int_equal(hone_assess(&ctx, &m, &(hone_assess_options){ .target = "android", .context = 513 }, &doc, &err), HONE_EUSAGE);
    assert_string_equal(err.cause, "a context of 513 tokens was asked for, the model has 512");
    assert_null(doc);
    hone_model_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_those_that_convert_would_write),
        cmocka_unit_test(the_example_model_has_its_known_facts_and_costs),
        cmocka_unit_test(only_the_experts_that_are_used_count_for_a_token),
        cmocka_unit_test(the_widest_encoding_that_fits_is_taken_when_the_default_does_not),
        cmocka_unit_test(another_framework_is_said_beside_what_the_sizes_are_of),
        cmocka_unit_test(an_apple_target_is_told_that_mlx_can_be_written),
        cmocka_unit_test(fallbacks_of_odd_widths_are_counted),
        cmocka_unit_test(a_model_that_llamacpp_cannot_run_has_no_encoding_and_says_why),
        cmocka_unit_test(a_tokenizer_that_a_file_cannot_hold_is_a_reason_too),
        cmocka_unit_test(an_encoder_has_no_cache_and_no_decode_speed),
        cmocka_unit_test(without_a_bandwidth_there_is_no_speed),
        cmocka_unit_test(a_context_over_the_models_own_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
