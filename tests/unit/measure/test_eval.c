/* tale-8m in llama.cpp is as good as its reference says: perplexity within 0.5 %, each task within its interval.
 * ctest: timeout 900
 * ctest: plain */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/file.h"
#include "measure/measure.h"
#include "runner/fixture.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TALE "examples/models/tale-8m"
#define EVAL TALE "/eval/"

static fixture     f;
static const char *f32, *bf16;

static hone_eval_result eval(hone_eval_options o)
{
    hone_eval_result r;
    hone_err         err = { 0 };
    if (hone_eval(&f.ctx, &o, &r, &err) != HONE_OK) fail_msg("%s: %s", o.artefact, err.cause);
    return r;
}

static double number(const json_t *o, const char *key) { return json_number_value(json_object_get(o, key)); }

static void against_the_reference(const hone_eval_result *r)
{
    hone_err err = { 0 };
    json_t  *ref = NULL;
    assert_int_equal(hone_json_load(EVAL "reference.json", &ref, &err), HONE_OK);
    const json_t *text = json_object_get(json_object_get(ref, "perplexity"), "heldout");
    assert_string_equal(r->protocol, "windows of 511 ids behind BOS, without overlap, every id scored (as reference.json states)");
    assert_int_equal(r->perplexity.state, HONE_MEASURED);
    assert_int_equal(r->tokens, (uint64_t)number(text, "ids_scored"));
    printf("%s: perplexity %.5f, reference %.5f\n", r->path, r->perplexity.value, number(text, "value"));
    assert_true(fabs(r->perplexity.value / number(text, "value") - 1) <= 0.005);
    assert_true(r->perplexity.lo < r->perplexity.value && r->perplexity.value < r->perplexity.hi);
    const json_t *tasks = json_object_get(ref, "tasks");
    assert_int_equal(r->n_tasks, json_object_size(tasks));
    for (size_t i = 0; i < r->n_tasks; i++) {
        const hone_metric *m = &r->tasks[i].accuracy;
        const json_t      *t = json_object_get(tasks, r->tasks[i].name);
        double             want = number(t, "accuracy");
        assert_non_null(t);
        assert_int_equal(m->n, (uint64_t)number(t, "items"));
        if (!(m->lo <= want + 5e-5 && want - 5e-5 <= m->hi)) /* the reference is rounded to four digits */
            fail_msg("%s: accuracy %.4f, interval %.4f to %.4f, reference %.4f", r->tasks[i].name, m->value, m->lo, m->hi, want);
    }
    assert_true(r->accuracy.lo <= number(ref, "accuracy_all") && number(ref, "accuracy_all") <= r->accuracy.hi);
    assert_true(fabs(r->accuracy.value - number(ref, "accuracy_all")) < 0.005);
    json_decref(ref);
}

static void f32_is_as_good_as_its_reference(void **state)
{
    (void)state;
    hone_eval_result r = eval((hone_eval_options){ .artefact = f32, .text = EVAL "heldout.txt", .tasks = EVAL "tasks.jsonl" });
    against_the_reference(&r);
    assert_int_equal(r.kld_mean.state, HONE_NOT_MEASURED);
    assert_string_equal(r.kld_mean.why, "no reference artefact was given");
    assert_string_equal(r.reference_kind, "none");
}

static void bf16_is_as_good_as_its_reference_and_close_to_f32(void **state)
{
    (void)state;
    hone_eval_result r = eval((hone_eval_options){ .artefact = bf16, .text = EVAL "heldout.txt", .tasks = EVAL "tasks.jsonl", .reference = f32 });
    against_the_reference(&r);
    assert_true(r.kld_mean.value > 0 && r.kld_mean.value < 1e-4 && r.kld_mean.lo < r.kld_mean.value);
    assert_true(r.kld_p99.value > r.kld_mean.value);
    assert_true(r.top1.value > 0.99 && r.top1.value < 1);
    assert_string_equal(r.reference_kind, "self_converted");
}

static void a_model_is_no_distance_from_itself_and_its_perplexity_is_the_same_either_way(void **state)
{
    (void)state;
    hone_eval_options o = { .artefact = f32, .text = EVAL "heldout.txt", .reference = f32, .max_tokens = 1500 };
    hone_eval_result  r = eval(o);
    assert_true(r.kld_mean.value == 0 && r.kld_p99.value == 0 && r.top1.value == 1);
    assert_int_equal(r.tokens, 1500);
    assert_int_equal(r.accuracy.state, HONE_NOT_MEASURED);
    o.reference = NULL;
    hone_eval_result plain = eval(o);
    assert_true(fabs(plain.perplexity.value / r.perplexity.value - 1) < 1e-5); /* computed in the child in float, here in double */
}

static void coarser_is_farther(void **state)
{
    (void)state;
    const char       *quants[] = { "q8_0", "q4_0", "q3_k_m" };
    double            before = 0;
    for (size_t i = 0; i < HONE_COUNT(quants); i++) {
        hone_eval_result r = eval((hone_eval_options){ .artefact = fixture_gguf(&f, TALE, quants[i]), .text = EVAL "heldout.txt", .reference = bf16, .max_tokens = 2044 });
        assert_true(r.kld_mean.value > 2 * before);
        before = r.kld_mean.value;
    }
    assert_true(before > 1e-3);
}

static void overlapping_windows_lower_the_perplexity(void **state)
{
    (void)state;
    hone_eval_options o = { .artefact = f32, .text = EVAL "heldout.txt", .window = 64, .max_tokens = 2000 };
    hone_eval_result  apart = eval(o);
    o.stride = 16;
    hone_eval_result over = eval(o);
    assert_int_equal(apart.tokens, 2000);
    assert_int_equal(over.tokens, 2000);
    assert_true(over.perplexity.value < apart.perplexity.value); /* more context for each id */
    assert_string_equal(over.protocol, "windows of 64 ids behind BOS, stride 16, each id scored once, in the first window that holds it; "
                                       "the first 2000 ids of the text");
}

static void items_can_be_limited_and_repeat_to_the_bit(void **state)
{
    (void)state;
    hone_eval_options o = { .artefact = bf16, .tasks = EVAL "tasks.jsonl", .max_items = 5 };
    hone_eval_result  r = eval(o), again = eval(o);
    assert_int_equal(r.n_tasks, 14);
    assert_int_equal(r.accuracy.n, 70);
    assert_int_equal(r.tasks[3].accuracy.n, 5);
    assert_true(r.accuracy.lo == again.accuracy.lo && r.accuracy.hi == again.accuracy.hi && r.accuracy.value == again.accuracy.value);
    assert_string_equal(r.perplexity.why, "no text was given");
}

static void what_cannot_be_evaluated_is_refused_with_its_reason(void **state)
{
    const struct { hone_eval_options o; hone_code code; const char *cause; } tried[] = {
        { { .artefact = f32 }, HONE_EUSAGE, "nothing to evaluate with" },
        { { .artefact = f32, .tasks = EVAL "tasks.jsonl", .reference = bf16 }, HONE_EUSAGE,
          "the distance from a reference is measured over a text, and there is none" },
        { { .artefact = f32, .text = EVAL "heldout.txt", .window = 1000 }, HONE_EUSAGE, "windows of 1000 ids are too long: the model was trained with 512" },
        { { .artefact = f32, .text = "/dev/null/x" }, HONE_EINPUT, NULL },
        { { .artefact = f32, .text = TALE "/model.safetensors" }, HONE_EINPUT, "line 1 of '" TALE "/model.safetensors' is no UTF-8" },
        { { .artefact = f32, .tasks = EVAL "heldout.txt" }, HONE_EINPUT, NULL },
    };
    (void)state;
    for (size_t i = 0; i < HONE_COUNT(tried); i++) {
        hone_eval_result r = { .tokens = 77 };
        hone_err         err = { 0 };
        assert_int_equal(hone_eval(&f.ctx, &tried[i].o, &r, &err), tried[i].code);
        if (tried[i].cause) assert_string_equal(err.cause, tried[i].cause);
        assert_true(err.cause[0]);
        assert_int_equal(r.tokens, 77);
    }
}

static void weights_that_are_no_numbers_give_no_result(void **state)
{
    (void)state;
    char       path[512];
    hone_arena a = { 0 };
    hone_bytes b;
    hone_err   err = { 0 };
    (void)snprintf(path, sizeof path, "%s.nan.gguf", bf16);
    assert_int_equal(hone_file_slurp(bf16, 1 << 24, &a, &b, NULL), HONE_OK);
    memset((uint8_t *)(uintptr_t)b.ptr + b.len - 200000, 0xff, 100000);
    assert_int_equal(hone_out_put(path, b.ptr, b.len, NULL), HONE_OK);
    hone_arena_release(&a);
    const hone_eval_options tried[] = { { .artefact = path, .text = EVAL "heldout.txt", .max_tokens = 600 },
                                        { .artefact = path, .text = EVAL "heldout.txt", .max_tokens = 600, .reference = bf16 },
                                        { .artefact = path, .tasks = EVAL "tasks.jsonl", .max_items = 1 } };
    for (size_t i = 0; i < HONE_COUNT(tried); i++) {
        hone_eval_result r = { .tokens = 77 };
        assert_int_equal(hone_eval(&f.ctx, &tried[i], &r, &err), HONE_ERUNTIME);
        assert_non_null(strstr(err.cause, "gives logits that are NaN or infinite"));
        assert_int_equal(r.tokens, 77);
    }
    (void)unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f32_is_as_good_as_its_reference),
        cmocka_unit_test(bf16_is_as_good_as_its_reference_and_close_to_f32),
        cmocka_unit_test(a_model_is_no_distance_from_itself_and_its_perplexity_is_the_same_either_way),
        cmocka_unit_test(coarser_is_farther),
        cmocka_unit_test(overlapping_windows_lower_the_perplexity),
        cmocka_unit_test(items_can_be_limited_and_repeat_to_the_bit),
        cmocka_unit_test(what_cannot_be_evaluated_is_refused_with_its_reason),
        cmocka_unit_test(weights_that_are_no_numbers_give_no_result),
    };
    fixture_open(&f);
    f.ctx.data_dir = HONE_TEST_SOURCE_DIR;
    int rc = 77;
    if (fixture_have(&f, "llamacpp")) {
        f32 = fixture_gguf(&f, TALE, "f32");
        bf16 = fixture_gguf(&f, TALE, "bf16");
        rc = cmocka_run_group_tests(tests, NULL, NULL);
    }
    fixture_close(&f);
    return rc;
}
