/* A group of artefacts measured against one pass of the reference gives each the numbers that it gets alone; who fails, fails alone.
 * ctest: threads
 * ctest: runtime */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "measure/measure.h"
#include "runner/fixture.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TINY "tests/golden/tiny/llama"
#define EVAL "examples/models/tale-8m/eval/"

static fixture     f;
static const char *bf16, *q8_0, *q4_k_m, *gpt2;

typedef struct taken {
    hone_eval_result res[4];
    hone_err         err[4];
    unsigned         calls[4], inside;
    hone_code        stop; /* what done returns */
} taken;

static hone_code take(void *user, size_t i, const hone_eval_result *res, const hone_err *failed, hone_err *err)
{
    taken *t = user;
    assert_int_equal(t->inside++, 0); /* one call at a time */
    t->calls[i]++;
    if (res) t->res[i] = *res;
    else t->err[i] = *failed;
    t->inside--;
    return t->stop ? HONE_FAIL(err, t->stop, "", "enough") : HONE_OK;
}

static const hone_eval_options common = { .text = EVAL "heldout.txt", .tasks = EVAL "tasks.jsonl", .max_tokens = 700, .max_items = 3 };

static void same(const hone_metric *a, const hone_metric *b, const char *what)
{
    if (a->state != b->state || a->value != b->value || a->lo != b->lo || a->hi != b->hi || a->n != b->n)
        fail_msg("%s: %.17g [%g, %g] n %llu in a group, %.17g [%g, %g] n %llu alone", what, a->value, a->lo, a->hi, (unsigned long long)a->n, b->value, b->lo, b->hi,
                 (unsigned long long)b->n);
}

static void as_alone(const hone_eval_result *in_group, const char *path, const char *reference)
{
    hone_err          err = { 0 };
    hone_eval_result  alone;
    hone_eval_options o = common;
    o.artefact = path;
    o.reference = reference;
    o.at_once = 1;
    if (hone_eval(&f.ctx, &o, &alone, &err) != HONE_OK) fail_msg("%s: %s", path, err.cause);
    assert_string_equal(in_group->path, path);
    assert_string_equal(in_group->protocol, alone.protocol);
    assert_int_equal(in_group->tokens, alone.tokens);
    same(&in_group->perplexity, &alone.perplexity, "perplexity");
    same(&in_group->kld_mean, &alone.kld_mean, "kld_mean");
    same(&in_group->kld_p99, &alone.kld_p99, "kld_p99");
    same(&in_group->top1, &alone.top1, "top1");
    same(&in_group->accuracy, &alone.accuracy, "accuracy");
    assert_int_equal(in_group->n_tasks, alone.n_tasks);
    for (size_t t = 0; t < alone.n_tasks; t++) {
        same(&in_group->tasks[t].accuracy, &alone.tasks[t].accuracy, alone.tasks[t].name);
        assert_null(alone.tasks[t].outcomes); /* nobody asked to keep them */
    }
}

static void each_gets_the_numbers_it_gets_alone(void **state)
{
    (void)state;
    const char       *paths[] = { q8_0, q4_k_m };
    hone_eval_options o = common;
    hone_err          err = { 0 };
    hone_arena        keep = { 0 };
    o.reference = bf16;
    o.keep = &keep;
    for (unsigned at_once = 1; at_once <= 5; at_once += 2) { /* 5: more than artefacts, so items are shared out */
        taken t = { 0 };
        o.at_once = at_once;
        if (hone_eval_group(&f.ctx, &o, paths, 2, take, &t, &err) != HONE_OK) fail_msg("%s", err.cause);
        for (size_t i = 0; i < 2; i++) {
            assert_int_equal(t.calls[i], 1);
            assert_int_equal(t.err[i].code, HONE_OK);
            as_alone(&t.res[i], paths[i], bf16);
            for (size_t k = 0; k < t.res[i].n_tasks; k++) {
                const hone_task_score *s = &t.res[i].tasks[k];
                size_t                 right = 0;
                assert_non_null(s->outcomes);
                assert_int_equal(strlen(s->outcomes), s->accuracy.n);
                for (const char *c = s->outcomes; *c; c++) right += *c == '1';
                assert_true((double)right / (double)s->accuracy.n == s->accuracy.value);
            }
        }
    }
    hone_arena_release(&keep);
}

static void without_a_reference_they_are_alone_together(void **state)
{
    (void)state;
    taken             t = { 0 };
    hone_err          err = { 0 };
    hone_eval_options o = common;
    o.at_once = 2;
    if (hone_eval_group(&f.ctx, &o, (const char *[]){ q8_0, bf16 }, 2, take, &t, &err) != HONE_OK) fail_msg("%s", err.cause);
    as_alone(&t.res[0], q8_0, NULL);
    as_alone(&t.res[1], bf16, NULL);
    assert_int_equal(t.res[0].kld_mean.state, HONE_NOT_MEASURED);
}

static void who_fails_fails_alone(void **state)
{
    (void)state;
    taken             t = { 0 };
    hone_err          err = { 0 };
    hone_eval_options o = common;
    const char       *paths[] = { "no such file.gguf", q8_0, gpt2, q4_k_m };
    o.reference = bf16;
    if (hone_eval_group(&f.ctx, &o, paths, 4, take, &t, &err) != HONE_OK) fail_msg("%s", err.cause);
    for (size_t i = 0; i < 4; i++) assert_int_equal(t.calls[i], 1);
    assert_int_equal(t.err[0].code, HONE_EINPUT);
    assert_non_null(strstr(t.err[0].cause, "no such file.gguf"));
    assert_int_equal(t.err[2].code, HONE_EINPUT); /* another model: it reads the text as other ids */
    assert_non_null(strstr(t.err[2].cause, "as other token ids than"));
    as_alone(&t.res[1], q8_0, bf16);
    as_alone(&t.res[3], q4_k_m, bf16);
}

static void the_whole_ends_with_its_reference_or_its_caller(void **state)
{
    (void)state;
    taken             t = { 0 };
    hone_err          err = { 0 };
    hone_eval_options o = common;
    o.reference = "no such reference.gguf";
    assert_int_equal(hone_eval_group(&f.ctx, &o, (const char *[]){ q8_0 }, 1, take, &t, &err), HONE_EINPUT);
    assert_non_null(strstr(err.cause, "no such reference.gguf"));
    assert_int_equal(t.calls[0], 0);
    o.reference = NULL;
    o.at_once = 1;
    t.stop = HONE_ERESOURCE;
    assert_int_equal(hone_eval_group(&f.ctx, &o, (const char *[]){ q8_0, q4_k_m }, 2, take, &t, &err), HONE_ERESOURCE);
    assert_string_equal(err.cause, "enough");
    assert_int_equal(t.calls[0] + t.calls[1], 1);
}

int main(void)
{
    fixture_open(&f);
    if (!fixture_have(&f, "llamacpp")) {
        fixture_close(&f);
        return 77;
    }
    bf16 = fixture_gguf(&f, TINY, "bf16");
    q8_0 = fixture_gguf(&f, TINY, "q8_0");
    q4_k_m = fixture_gguf(&f, TINY, "q4_k_m");
    gpt2 = fixture_gguf(&f, "tests/golden/tiny/gpt2", "q8_0");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_gets_the_numbers_it_gets_alone),
        cmocka_unit_test(without_a_reference_they_are_alone_together),
        cmocka_unit_test(who_fails_fails_alone),
        cmocka_unit_test(the_whole_ends_with_its_reference_or_its_caller),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    fixture_close(&f);
    return rc;
}
