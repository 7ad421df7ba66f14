/* Every test model, converted to f32, is the same model in llama.cpp; and what is not the same model is found out.
 * ctest: timeout 600 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/file.h"
#include "measure/measure.h"
#include "runner/fixture.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static fixture f;

static hone_check_result check(const char *artefact, hone_check_options o)
{
    hone_check_result r;
    hone_err          err = { 0 };
    o.artefact = artefact;
    if (hone_check(&f.ctx, &o, &r, &err) != HONE_OK) fail_msg("%s: %s", artefact, err.cause);
    return r;
}

typedef struct model {
    const char *dir;
    unsigned    excused;            /* comparisons of ids that a known limit explains: with and without special tokens, and of chats */
    unsigned    positions, skipped; /* of logits; vectors of an encoder */
    bool        greedy;
    unsigned    decoded;            /* texts that are decoded otherwise: the limit "wordpiece" */
    unsigned    behind, context;    /* positions behind a limit of llama.cpp, where it is wrong; texts up to this length leave them out */
} model;

#define TINY "tests/golden/tiny/"
static const model models[] = {
    { TINY "llama", 0, 48, 0, true, 0, 0, 0 },       { TINY "mistral", 60, 16, 32, false, 0, 32, 8 }, { TINY "qwen2", 8, 48, 0, true, 0, 0, 0 },
    { TINY "qwen3", 8, 48, 0, true, 0, 0, 0 },       { TINY "phi3", 10, 192, 0, true, 0, 48, 0 },     { TINY "gemma2", 0, 48, 0, true, 0, 0, 0 },
    { TINY "gemma3", 0, 48, 0, true, 0, 0, 0 },      { TINY "smollm3", 0, 48, 0, true, 0, 0, 0 },    { TINY "olmo2", 0, 48, 0, true, 0, 0, 0 },
    { TINY "granite", 0, 48, 0, true, 0, 0, 0 },     { TINY "stablelm", 8, 48, 0, true, 0, 0, 0 },   { TINY "starcoder2", 0, 32, 16, false, 0, 16, 16 },
    { TINY "gpt2", 0, 48, 0, true, 0, 0, 0 },        { TINY "gpt_neox", 8, 48, 0, true, 0, 0, 0 },   { TINY "mixtral", 0, 48, 0, true, 0, 0, 0 },
    { TINY "qwen3_moe", 8, 48, 0, true, 0, 0, 0 },   { TINY "olmoe", 8, 48, 0, true, 0, 0, 0 },      { TINY "bert", 10, 42, 0, false, 171, 0, 0 },
    { "examples/models/tale-8m", 0, 128, 0, true, 0, 0, 0 }, { "tests/golden/tale-moe", 0, 128, 0, true, 0, 0, 0 },
};

static void the_f32_artefact_is_the_same_model(void **state)
{
    const model      *m = *state;
    const char       *path = fixture_gguf(&f, m->dir, "f32");
    hone_check_result r = check(path, (hone_check_options){ .source = m->dir, .context = m->context });
    const bool wrong = m->behind && !m->context; /* no length of text is safe: llama.cpp's contexts are never as short as this model's switch */
    if (r.ok == wrong) print_error("%s: %s\n", m->dir, r.why);
    assert_true(r.ok != wrong);
    assert_string_equal(r.precision, "f32");
    assert_string_equal(r.runtime, "llama.cpp");
    assert_string_equal(r.logits_reference, "file");
    assert_in_range(r.tok_cases, 200, 400);
    assert_int_equal(r.tok_mismatches, 0);
    assert_int_equal(r.tok_excused, m->excused);
    assert_int_equal(r.tpl_mismatches, 0);
    assert_in_range(r.decode_cases, 200, 400);
    assert_int_equal(r.decode_mismatches, m->decoded);
    assert_int_equal(r.positions, m->positions);
    assert_int_equal(r.positions_skipped, m->skipped);
    assert_int_equal(r.skipped_why[0] != 0, m->skipped > 0);
    assert_int_equal(r.beyond.positions, wrong ? m->behind : 0);
    if (hone_metric_known(&r.cosine)) assert_true(r.cosine.value > 1 - 1e-6 && r.max_abs.value < 0.01);
    else {
        assert_true(hone_metric_known(&r.kld_mean) && r.kld_mean.value <= 1e-5);
        assert_true(r.top1_decided > 10 && r.top1_wrong == 0);
        assert_int_equal(hone_metric_known(&r.greedy_steps), m->greedy);
        if (m->greedy) assert_true(r.greedy_decided > 20 && r.greedy_wrong == 0);
    }
    (void)unlink(path);
}

static void where_the_runtime_is_silently_wrong_the_check_fails(void **state)
{
    (void)state;
    for (size_t i = 0; i < HONE_COUNT(models); i++) {
        const model *m = &models[i];
        if (!m->behind) continue;
        const char       *path = fixture_gguf(&f, m->dir, "f32");
        hone_check_result r = check(path, (hone_check_options){ .source = m->dir });
        assert_int_equal(r.verdict, HONE_VERDICT_FAIL);
        assert_int_equal(r.beyond.positions, m->behind);
        assert_int_equal(r.positions_skipped, 0);
        assert_true(r.beyond.differs && r.beyond.kld_mean.value > 0.1 && r.beyond.wrong > 0);
        assert_true(r.kld_mean.value <= 1e-5 && r.top1_wrong == 0); /* before the limit it is the same model */
        assert_true(r.up_to > 0 && r.deployed_up_to == r.up_to);
        assert_memory_equal(r.why, "llama.cpp gives other answers behind a known limit (facts:", 58);
        (void)unlink(path);
        /* A quantised artefact has no bound of its own: it is measured against what it does before the limit. */
        path = fixture_gguf(&f, m->dir, "q8_0");
        r = check(path, (hone_check_options){ .source = m->dir });
        assert_true(r.verdict == HONE_VERDICT_FAIL && r.beyond.differs);
        (void)unlink(path);
    }
}

static void bounds_follow_the_precision(void **state)
{
    static const struct { const char *quant, *precision; double max_kld; } tried[] = {
        { "f16", "f16", 1e-3 }, { "bf16", "bf16", 1e-3 }, { "q8_0", "quantised", 0 }
    };
    (void)state;
    for (size_t i = 0; i < HONE_COUNT(tried); i++) {
        hone_check_result r = check(fixture_gguf(&f, TINY "qwen3", tried[i].quant), (hone_check_options){ .source = TINY "qwen3" });
        assert_true(r.ok);
        assert_string_equal(r.precision, tried[i].precision);
        assert_true(r.max_kld == tried[i].max_kld);
        assert_true(hone_metric_known(&r.kld_mean) && r.kld_mean.value > 1e-7); /* shown for a quantised one too */
    }
    /* A quantised artefact is no proof of a conversion, unless a bound is asked for. */
    hone_check_result r = check(fixture_gguf(&f, TINY "qwen3", "q8_0"), (hone_check_options){ .source = TINY "qwen3", .max_kld = 1e-5 });
    assert_int_equal(r.verdict, HONE_VERDICT_FAIL);
    assert_non_null(strstr(r.why, "mean KLD is "));
}

static void another_tokenizer_is_found_out_by_its_first_token(void **state)
{
    (void)state;
    hone_check_result r = check(fixture_gguf(&f, TINY "llama", "f32"),
                                (hone_check_options){ .source = TINY "llama", .cases = TINY "olmo2/tokenizer_cases.json" });
    assert_int_equal(r.verdict, HONE_VERDICT_FAIL);
    assert_true(r.tok_mismatches > 100);
    assert_string_equal(r.tok_first, "case 0 '' (special added): 1 ids in the runtime, 0 in the reference");
    assert_int_equal(r.tpl_mismatches, 12);
    assert_non_null(strstr(r.tpl_first, "chat 0: from byte 2 on 'begin_of_text|>"));
    assert_non_null(strstr(r.why, "strings get other token ids"));
}

static void write_at_the_middle(const char *path, int byte, size_t n)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    long middle = ftell(file) / 2 & ~3l;
    assert_int_equal(fseek(file, middle, SEEK_SET), 0);
    for (size_t i = 0; i < n; i++) assert_int_equal(fputc(byte, file), byte);
    assert_int_equal(fclose(file), 0);
}

static void damaged_weights_are_found_out(void **state)
{
    (void)state;
    const char *path = fixture_gguf(&f, TINY "gpt2", "f32");
    write_at_the_middle(path, 0, 4096);
    hone_check_result r = check(path, (hone_check_options){ .source = TINY "gpt2" });
    assert_int_equal(r.verdict, HONE_VERDICT_FAIL);
    assert_int_equal(r.tok_mismatches, 0);
    assert_true(r.kld_mean.value > 1e-5);
    assert_non_null(strstr(r.why, "the bound for f32 is 1e-05"));

    write_at_the_middle(path, 0xff, 4096); /* NaN */
    r = check(path, (hone_check_options){ .source = TINY "gpt2" });
    assert_int_equal(r.verdict, HONE_VERDICT_FAIL);
    assert_true(r.not_finite > 0);
    assert_non_null(strstr(r.why, "rows hold NaN or infinity"));
    (void)unlink(path);
}

static void what_cannot_be_proved_is_not_called_the_same(void **state)
{
    (void)state;
    const char       *path = fixture_gguf(&f, TINY "llama", "f32"), *cases = TINY "llama/tokenizer_cases.json";
    hone_check_result r = check(path, (hone_check_options){ .cases = cases });
    assert_false(r.ok);
    assert_int_equal(r.verdict, HONE_VERDICT_NOT_MEASURED);
    assert_string_equal(r.logits_reference, "none");
    assert_string_equal(r.why, "no reference logits: put reference.safetensors into the checkpoint's folder or name it with --reference");
    r = check(path, (hone_check_options){ .reference = TINY "llama/reference.safetensors" });
    assert_int_equal(r.verdict, HONE_VERDICT_NOT_MEASURED);
    assert_string_equal(r.tokenizer_source, "none");
    assert_non_null(strstr(r.why, "no tokenizer cases"));
    r = check(path, (hone_check_options){ .cases = cases, .reference = path });
    assert_int_equal(r.verdict, HONE_VERDICT_NOT_MEASURED);
    assert_string_equal(r.logits_reference, "self_converted");
    assert_true(r.max_abs.value == 0 && r.kld_mean.value == 0 && r.top1.value == 1); /* a model agrees with itself */
}

static void another_models_reference_is_refused(void **state)
{
    hone_check_result r = { .positions = 77 };
    hone_err          err = { 0 };
    const char       *path = fixture_gguf(&f, TINY "llama", "f32");
    (void)state;
    hone_check_options o = { .artefact = path, .reference = TINY "qwen2/reference.safetensors" };
    assert_int_equal(hone_check(&f.ctx, &o, &r, &err), HONE_EINPUT);
    assert_string_equal(err.cause, "the reference has logits of 704 tokens, the artefact of 512");
    assert_int_equal(r.positions, 77); /* out is untouched on failure */
    char       copy[512];
    hone_arena a = { 0 };
    hone_bytes whole;
    (void)snprintf(copy, sizeof copy, "%s.reference.safetensors", path);
    assert_int_equal(hone_file_slurp(TINY "llama/reference.safetensors", 1 << 24, &a, &whole, NULL), HONE_OK);
    assert_int_equal(hone_out_put(copy, whole.ptr, whole.len, NULL), HONE_OK);
    hone_arena_release(&a);
    write_at_the_middle(copy, 0xff, 4); /* NaN */
    o.reference = copy;
    assert_int_equal(hone_check(&f.ctx, &o, &r, &err), HONE_EINPUT);
    assert_memory_equal(err.cause, "the reference's logits[", 23);
    assert_non_null(strstr(err.cause, "] hold NaN or infinity"));
    (void)unlink(copy);
    o.reference = TINY "llama/model.safetensors";
    assert_int_equal(hone_check(&f.ctx, &o, &r, &err), HONE_EINPUT);
    assert_string_equal(err.cause, TINY "llama/model.safetensors: tensor \"input_ids\" is missing");
    o = (hone_check_options){ .artefact = path, .source = "tests/golden/no-such" };
    assert_int_equal(hone_check(&f.ctx, &o, &r, &err), HONE_EINPUT);
    assert_string_equal(err.cause, "'tests/golden/no-such' is no folder");
}

int main(void)
{
    enum { N = HONE_COUNT(models) };
    struct CMUnitTest tests[N + 7];
    fixture_open(&f);
    f.ctx.data_dir = HONE_TEST_SOURCE_DIR;
    int rc = 77;
    if (fixture_have(&f, "llamacpp")) {
        for (size_t i = 0; i < N; i++)
            tests[i] = (struct CMUnitTest){ .name = models[i].dir, .test_func = the_f32_artefact_is_the_same_model, .initial_state = (void *)(uintptr_t)&models[i] };
        tests[N] = (struct CMUnitTest)cmocka_unit_test(bounds_follow_the_precision);
        tests[N + 1] = (struct CMUnitTest)cmocka_unit_test(another_tokenizer_is_found_out_by_its_first_token);
        tests[N + 2] = (struct CMUnitTest)cmocka_unit_test(damaged_weights_are_found_out);
        tests[N + 3] = (struct CMUnitTest)cmocka_unit_test(what_cannot_be_proved_is_not_called_the_same);
        tests[N + 4] = (struct CMUnitTest)cmocka_unit_test(another_models_reference_is_refused);
        tests[N + 5] = (struct CMUnitTest)cmocka_unit_test(where_the_runtime_is_silently_wrong_the_check_fails);
        tests[N + 6] = (struct CMUnitTest){ 0 };
        rc = _cmocka_run_group_tests("check", tests, N + 6, NULL, NULL);
    }
    fixture_close(&f);
    return rc;
}
