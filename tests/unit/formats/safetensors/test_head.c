#include "formats/safetensors/head.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void refused(const uint8_t *f, size_t n, uint64_t size, const char *cause)
{
    hone_err     err = { 0 };
    hone_st_head h = { .data_off = 77 };
    assert_int_equal(hone_st_head_find((hone_bytes){ f, n }, size, &h, &err), HONE_EINPUT);
    assert_string_equal(err.cause, cause);
    assert_int_equal(h.data_off, 77); /* out is untouched on failure */
    assert_int_equal(hone_st_head_find((hone_bytes){ f, n }, size, &h, NULL), HONE_EINPUT);
}

static void length_past_the_end_names_both_numbers(void **state)
{
    const uint8_t f[] = { 200, 0, 0, 0, 0, 0, 0, 0, '{', '}' };
    (void)state;
    refused(f, sizeof f, sizeof f, "header ends at byte 208, file has 10");
}

static void a_file_too_short_for_any_header_is_refused(void **state)
{
    const uint8_t f[] = { 2, 0, 0, 0, 0, 0, 0, 0 };
    (void)state;
    refused(f, sizeof f, sizeof f, "file has 8 bytes, needs 9");
    refused(f, 0, 0, "file has 0 bytes, needs 9");
}

static void length_zero_and_beyond_the_limit_are_refused(void **state)
{
    uint8_t f[] = { 0, 0, 0, 0, 0, 0, 0, 0, '{', '}' };
    (void)state;
    refused(f, sizeof f, sizeof f, "header length 0 is outside 1..100000000");
    f[7] = 0xff;
    refused(f, sizeof f, UINT64_MAX, "header length 18374686479671623680 is outside 1..100000000");
}

static void another_format_is_recognised_by_its_first_byte(void **state)
{
    const uint8_t f[] = { 2, 0, 0, 0, 0, 0, 0, 0, '[', ']' };
    (void)state;
    refused(f, sizeof f, sizeof f, "header begins with 0x5b, not with '{'");
}

static void the_data_begins_behind_the_json(void **state)
{
    const uint8_t f[] = { 2, 0, 0, 0, 0, 0, 0, 0, '{', '}', 1, 2, 3 };
    hone_st_head  h;
    hone_err      err = { 0 };
    (void)state;
    assert_int_equal(hone_st_head_find((hone_bytes){ f, 9 }, sizeof f, &h, &err), HONE_OK);
    assert_int_equal(h.json_len, 2);
    assert_int_equal(h.data_off, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(length_past_the_end_names_both_numbers),
        cmocka_unit_test(a_file_too_short_for_any_header_is_refused),
        cmocka_unit_test(length_zero_and_beyond_the_limit_are_refused),
        cmocka_unit_test(another_format_is_recognised_by_its_first_byte),
        cmocka_unit_test(the_data_begins_behind_the_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
