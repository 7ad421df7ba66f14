/* test_limits.c - the user hears what the consumer cannot do, with the model's own numbers. */
#include "passes/limits.h"
#include "arch/arch.h"
#include "formats/scratch.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static size_t limits(const hone_facts *f, hone_arena *a, const hone_limit **out)
{
    hone_err err = { 0 };
    size_t   n = 77;
    if (hone_limits_for(HONE_TEST_SOURCE_DIR, "llama.cpp", f, NULL, a, out, &n, &err) != HONE_OK) fail_msg("%s", err.cause);
    return n;
}

static void a_window_that_the_graph_lacks_is_told_with_its_size(void **state)
{
    hone_gguf_arch    plain = { .name = "llama" }, windows = { .name = "gemma3", .flags = HONE_GGUF_WINDOW };
    hone_facts        f = { .gguf = &plain, .window = 4096 };
    hone_arena        a = { 0 };
    const hone_limit *l;
    (void)state;
    assert_int_equal(limits(&f, &a, &l), 1);
    assert_string_equal(l[0].feature, "attention looks back 4096 tokens (sliding window)");
    assert_non_null(strstr(l[0].consequence, "texts of up to 4096 tokens"));
    assert_non_null(strstr(l[0].cause, "src/models/llama.cpp:119"));
    f.gguf = &windows;
    assert_int_equal(limits(&f, &a, &l), 0);
    f = (hone_facts){ .gguf = &plain };
    assert_int_equal(limits(&f, &a, &l), 0);
    hone_arena_release(&a);
}

static void longrope_and_dynamic_rope_are_told(void **state)
{
    hone_facts        f = { .context = 2048, .rope = { .scaling = HONE_ROPE_SCALE_LONGROPE, .original_context = 512 } };
    hone_arena        a = { 0 };
    const hone_limit *l;
    (void)state;
    assert_int_equal(limits(&f, &a, &l), 1);
    assert_string_equal(l[0].condition, "facts:longrope");
    assert_non_null(strstr(l[0].feature, "over 512 tokens"));
    f.rope.scaling = HONE_ROPE_SCALE_DYNAMIC;
    assert_int_equal(limits(&f, &a, &l), 1);
    assert_non_null(strstr(l[0].consequence, "up to 2048 tokens"));
    hone_arena_release(&a);
}

static void rows_of_other_consumers_are_left_out(void **state)
{
    hone_facts        f = { .rope = { .scaling = HONE_ROPE_SCALE_LONGROPE } };
    hone_arena        a = { 0 };
    hone_err          err = { 0 };
    const hone_limit *l;
    size_t            n = 5;
    (void)state;
    assert_int_equal(hone_limits_for(HONE_TEST_SOURCE_DIR, "nobody", &f, NULL, &a, &l, &n, &err), HONE_OK);
    assert_int_equal(n, 0);
    hone_arena_release(&a);
}

static void bad(const char *json, const char *tail)
{
    scratch           s;
    hone_facts        f = { 0 };
    hone_arena        a = { 0 };
    hone_err          err = { 0 };
    const hone_limit *l = NULL;
    size_t            n = 5;
    scratch_open(&s);
    scratch_put(&s, "data/limits.json", json, strlen(json));
    assert_int_equal(hone_limits_for(s.dir, "llama.cpp", &f, NULL, &a, &l, &n, &err), HONE_EINPUT);
    assert_true(strlen(err.cause) >= strlen(tail));
    assert_string_equal(err.cause + strlen(err.cause) - strlen(tail), tail);
    assert_null(l);
    assert_int_equal(n, 5);
    hone_arena_release(&a);
    scratch_close(&s);
}

#define ROW(condition) "[{\"consumer\":\"c\",\"version\":\"v\",\"condition\":\"" condition "\",\"feature\":\"f\",\"cause\":\"c\",\"consequence\":\"q\",\"test\":\"t\"}]"

static void a_bad_file_is_an_error(void **state)
{
    (void)state;
    bad("{}", "/data/limits.json': the document is no array");
    bad("[{\"consumer\":\"c\"}]", "/data/limits.json': row 0: \"version\" is missing");
    bad(ROW("facts:moon"), "/data/limits.json': row 0: condition \"facts:moon\" is not known");
    bad(ROW("moon"), "/data/limits.json': row 0: condition \"moon\" is not known");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_window_that_the_graph_lacks_is_told_with_its_size),
        cmocka_unit_test(longrope_and_dynamic_rope_are_told),
        cmocka_unit_test(rows_of_other_consumers_are_left_out),
        cmocka_unit_test(a_bad_file_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
