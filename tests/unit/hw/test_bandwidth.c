/* ctest: threads */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "hw/bandwidth.h"

static void memory_is_read_with_one_thread_and_with_two(void **state)
{
    hone_bandwidth b = { 0 };
    hone_err       err = { 0 };
    (void)state;
    assert_int_equal(hone_bandwidth_measure(NULL, 1 << 20, (uint64_t)8 << 30, 2, &b, &err), HONE_OK);
    assert_true(b.one_gb_s > 0.01 && b.all_gb_s > 0.01);
    assert_int_equal(b.threads, 2);
    assert_int_equal(b.buffer_bytes, 64 << 20);
    assert_true(b.beyond_cache);
}

static void a_buffer_that_a_large_cache_could_hold_is_said(void **state)
{
    hone_bandwidth b = { 0 };
    hone_err       err = { 0 };
    (void)state;
    assert_int_equal(hone_bandwidth_measure(NULL, (uint64_t)16 << 20, (uint64_t)8 << 30, 1, &b, &err), HONE_OK);
    assert_int_equal(b.buffer_bytes, 80 << 20);
    assert_true(b.beyond_cache);
    assert_int_equal(hone_bandwidth_measure(NULL, 0, (uint64_t)8 << 30, 1, &b, &err), HONE_OK);
    assert_false(b.beyond_cache); /* the cache's size is not known */
}

static void a_machine_without_room_is_not_measured(void **state)
{
    hone_bandwidth b = { .threads = 77 };
    hone_err       err = { 0 };
    (void)state;
    assert_int_equal(hone_bandwidth_measure(NULL, 1 << 20, 100000000, 1, &b, &err), HONE_ERESOURCE);
    assert_string_equal(err.cause, "the buffer of 67108864 bytes is over a quarter of the 100000000 bytes available");
    assert_int_equal(b.threads, 77);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_read_with_one_thread_and_with_two),
        cmocka_unit_test(a_buffer_that_a_large_cache_could_hold_is_said),
        cmocka_unit_test(a_machine_without_room_is_not_measured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
