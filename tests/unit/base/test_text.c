#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/arena.h"
#include "base/text.h"
#include <stdio.h>

static void control_bytes_and_bidi_overrides_are_shown_as_hex(void **state)
{
    char out[64];
    (void)state;
    assert_string_equal(hone_text_show("a\033[31mb", 7, out, sizeof out), "a\\x1b[31mb");
    assert_string_equal(hone_text_show("x\xe2\x80\xaey", 5, out, sizeof out), "x\\xe2\\x80\\xaey");
    assert_string_equal(hone_text_show("\xc3\xa9", 2, out, sizeof out), "\xc3\xa9");
    assert_string_equal(hone_text_show("\xff", 1, out, sizeof out), "\\xff");
}

static void a_long_name_is_cut_inside_its_buffer(void **state)
{
    char out[12];
    (void)state;
    assert_string_equal(hone_text_show("abcdefghijklmnop", 16, out, sizeof out), "abcdefgh...");
    char one[1];
    assert_string_equal(hone_text_show("abc", 3, one, sizeof one), "");
}

static void utf8_refuses_surrogates_overlong_forms_and_cut_ends(void **state)
{
    (void)state;
    assert_true(hone_utf8_valid("h\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 10));
    assert_false(hone_utf8_valid("\xed\xa0\x80", 3));
    assert_false(hone_utf8_valid("\xc0\x80", 2));
    assert_false(hone_utf8_valid("\xe0\x80\x80", 3));
    assert_false(hone_utf8_valid("\xf4\x90\x80\x80", 4));
    assert_false(hone_utf8_valid("\xe2\x82", 2));
}

static void every_code_point_survives_encoding(void **state)
{
    (void)state;
    for (uint32_t cp = 0; cp <= 0x10ffff; cp++) {
        char     b[4];
        uint32_t back = 0;
        size_t   n = hone_utf8_encode(cp, b);
        if (cp >= 0xd800 && cp <= 0xdfff) {
            assert_int_equal(n, 0);
            continue;
        }
        assert_int_equal(hone_utf8_decode(b, n, &back), n);
        assert_int_equal(back, cp);
    }
    char b[4];
    assert_int_equal(hone_utf8_encode(0x110000, b), 0);
}

static void bytes_read_as_people_write_them(void **state)
{
    char b[32];
    (void)state;
    assert_string_equal(hone_text_bytes(0, b, sizeof b), "0 B");
    assert_string_equal(hone_text_bytes(999, b, sizeof b), "999 B");
    assert_string_equal(hone_text_bytes(1000, b, sizeof b), "1.00 kB");
    assert_string_equal(hone_text_bytes(14754048, b, sizeof b), "14.8 MB");
    assert_string_equal(hone_text_bytes(999950, b, sizeof b), "1.00 MB");
    assert_string_equal(hone_text_bytes(UINT64_MAX, b, sizeof b), "18.4 EB");
}

static void distance_counts_edits(void **state)
{
    (void)state;
    assert_int_equal(hone_text_distance("convert", "convert"), 0);
    assert_int_equal(hone_text_distance("covnert", "convert"), 2);
    assert_int_equal(hone_text_distance("", "abc"), 3);
    assert_int_equal(hone_text_distance("bench", "benhc"), 2);
}

static void text_grows_and_stays_terminated(void **state)
{
    hone_text t = { 0 };
    (void)state;
    for (int i = 0; i < 1000; i++) hone_text_addf(&t, "%d,", i);
    assert_int_equal(t.len, 10 * 2 + 90 * 3 + 900 * 4);
    assert_int_equal(t.ptr[t.len], '\0');
    assert_false(t.failed);
    hone_text_clear(&t);
    assert_string_equal(t.ptr, "");
    hone_text_release(&t);
    hone_text_release(NULL);
}

static void arena_memory_is_zeroed_aligned_and_apart(void **state)
{
    hone_arena a = { 0 };
    uint8_t   *last = NULL;
    (void)state;
    for (size_t n = 0; n < 400; n++) {
        uint8_t *p = hone_arena_alloc(&a, n * 300);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (size_t i = 0; i < n * 300; i++) assert_int_equal(p[i], 0);
        if (n) memset(p, 0xaa, n * 300);
        assert_ptr_not_equal(p, last);
        last = p;
    }
    assert_null(hone_arena_calloc(&a, SIZE_MAX / 2, 3));
    assert_null(hone_arena_alloc(&a, SIZE_MAX - 8));
    assert_string_equal(hone_arena_printf(&a, "%d-%s", 7, "x"), "7-x");
    hone_arena_release(&a);
    assert_int_equal(a.total, 0);
    hone_arena_release(NULL);
}

static void sizes_fail_instead_of_wrapping(void **state)
{
    uint64_t v = 77;
    (void)state;
    assert_false(hone_size_mul(UINT64_C(1) << 32, UINT64_C(1) << 32, &v));
    assert_false(hone_size_add(UINT64_MAX, 1, &v));
    assert_false(hone_size_align(UINT64_MAX - 3, 32, &v));
    assert_int_equal(v, 77);
    assert_true(hone_size_mul(0, UINT64_MAX, &v));
    assert_int_equal(v, 0);
    assert_true(hone_size_align(33, 32, &v));
    assert_int_equal(v, 64);
}

static void wrapped_errors_keep_the_cause(void **state)
{
    hone_err err = { 0 };
    char     longer[2000];
    (void)state;
    assert_int_equal(HONE_FAIL(&err, HONE_EINPUT, "look again", "%d is not %d", 1, 2), HONE_EINPUT);
    assert_int_equal(hone_err_wrap(&err, "'%s'", "a.json"), HONE_EINPUT);
    assert_string_equal(err.cause, "'a.json': 1 is not 2");
    assert_string_equal(err.remedy, "look again");
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    (void)hone_err_wrap(&err, "%s", longer);
    assert_non_null(strstr(err.cause, ": 'a.json': 1 is not 2"));
    assert_int_equal(HONE_FAIL(NULL, HONE_ERESOURCE, "", "nobody listens"), HONE_ERESOURCE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(control_bytes_and_bidi_overrides_are_shown_as_hex),
        cmocka_unit_test(a_long_name_is_cut_inside_its_buffer),
        cmocka_unit_test(utf8_refuses_surrogates_overlong_forms_and_cut_ends),
        cmocka_unit_test(every_code_point_survives_encoding),
        cmocka_unit_test(bytes_read_as_people_write_them),
        cmocka_unit_test(distance_counts_edits),
        cmocka_unit_test(text_grows_and_stays_terminated),
        cmocka_unit_test(arena_memory_is_zeroed_aligned_and_apart),
        cmocka_unit_test(sizes_fail_instead_of_wrapping),
        cmocka_unit_test(wrapped_errors_keep_the_cause),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
