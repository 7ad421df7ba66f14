#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/text.h"
#include <string.h>

static void a_long_path_leaves_room_for_what_happened_to_it(void **state)
{
    hone_err err = { 0 };
    char     path[3000];
    (void)state;
    memset(path, 'a', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    assert_int_equal(HONE_FAIL(&err, HONE_ERESOURCE, "", "cannot create '%s': No space left on device", path), HONE_ERESOURCE);
    assert_int_equal(strlen(err.cause), sizeof err.cause - 1);
    assert_ptr_equal(strstr(err.cause, "cannot create 'aaa"), err.cause);
    assert_non_null(strstr(err.cause, "aaa...aaa"));
    assert_non_null(strstr(err.cause, "aaa': No space left on device"));
}

static void a_cause_is_never_cut_inside_a_character(void **state)
{
    hone_err err = { 0 };
    char     path[2001];
    (void)state;
    for (size_t shift = 0; shift < 3; shift++) {
        memset(path, 'x', shift);
        for (size_t i = shift; i + 3 < sizeof path; i += 3) memcpy(path + i, "\u20ac", 4);
        (void)HONE_FAIL(&err, HONE_EINPUT, "", "there is no '%s'", path);
        assert_true(hone_utf8_valid(err.cause, strlen(err.cause)));
        assert_non_null(strstr(err.cause, "..."));
    }
}

static void a_long_context_does_not_swallow_the_cause(void **state)
{
    hone_err err = { 0 };
    char     path[3000];
    (void)state;
    memset(path, 'a', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    (void)HONE_FAIL(&err, HONE_EINPUT, "", "header length 7 is outside 1..5");
    assert_int_equal(hone_err_wrap(&err, "'%s/model.safetensors'", path), HONE_EINPUT);
    assert_non_null(strstr(err.cause, "/model.safetensors': header length 7 is outside 1..5"));
    (void)HONE_FAIL(&err, HONE_EINPUT, "", "is empty");
    assert_int_equal(hone_err_wrap(&err, "'%s'", "short"), HONE_EINPUT);
    assert_string_equal(err.cause, "'short': is empty");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_long_path_leaves_room_for_what_happened_to_it),
        cmocka_unit_test(a_cause_is_never_cut_inside_a_character),
        cmocka_unit_test(a_long_context_does_not_swallow_the_cause),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
