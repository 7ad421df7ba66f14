#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "hw/energy.h"
#include "hw/fake.h"

static int setup(void **state)
{
    (void)state;
    fake_open();
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    fake_close();
    return 0;
}

#define ZONE "sys/class/powercap/intel-rapl:"

static void package(const char *zone, const char *name, const char *energy, const char *range)
{
    char path[128];
    (void)snprintf(path, sizeof path, "sys/class/powercap/%s/name", zone);
    fake_put(path, name);
    (void)snprintf(path, sizeof path, "sys/class/powercap/%s/energy_uj", zone);
    fake_put(path, energy);
    (void)snprintf(path, sizeof path, "sys/class/powercap/%s/max_energy_range_uj", zone);
    fake_put(path, range);
}

static void packages_are_added_up_and_their_parts_are_not(void **state)
{
    hone_energy *e = NULL;
    double       j = -1;
    hone_err     err = { 0 };
    (void)state;
    package("intel-rapl:0", "package-0\n", "1000000\n", "262143328850\n");
    package("intel-rapl:0:0", "core\n", "900000\n", "262143328850\n");
    package("intel-rapl:1", "package-1\n", "5000000\n", "262143328850\n");
    package("intel-rapl-mmio:0", "package-0\n", "1000000\n", "262143328850\n");
    assert_int_equal(hone_energy_open(fake_roots(), &e, &err), HONE_OK);
    assert_string_equal(hone_energy_what(e), "package-0 + package-1");
    assert_int_equal(hone_energy_read(e, &j, &err), HONE_OK);
    assert_true(j == 0);
    fake_put(ZONE "0/energy_uj", "3500000\n");
    fake_put(ZONE "1/energy_uj", "6000000\n");
    assert_int_equal(hone_energy_read(e, &j, &err), HONE_OK);
    assert_true(j > 3.499999 && j < 3.500001);
    hone_energy_close(e);
}

static void a_counter_that_wrapped_is_put_right(void **state)
{
    hone_energy *e = NULL;
    double       j = -1;
    hone_err     err = { 0 };
    (void)state;
    package("intel-rapl:0", "package-0\n", "262143000000\n", "262143328850\n");
    assert_int_equal(hone_energy_open(fake_roots(), &e, &err), HONE_OK);
    fake_put(ZONE "0/energy_uj", "671150\n");
    assert_int_equal(hone_energy_read(e, &j, &err), HONE_OK);
    assert_true(j > 0.999999 && j < 1.000001); /* 328850 up to the end, 671150 after it */
    fake_put(ZONE "0/energy_uj", "2671150\n");
    assert_int_equal(hone_energy_read(e, &j, &err), HONE_OK);
    assert_true(j > 2.999999 && j < 3.000001);
    hone_energy_close(e);
}

static void a_step_back_without_a_range_is_an_error(void **state)
{
    hone_energy *e = NULL;
    double       j = -1;
    hone_err     err = { 0 };
    (void)state;
    package("intel-rapl:0", "package-0\n", "500\n", "100\n");
    assert_int_equal(hone_energy_open(fake_roots(), &e, &err), HONE_OK);
    fake_put(ZONE "0/energy_uj", "400\n");
    assert_int_equal(hone_energy_read(e, &j, &err), HONE_ERUNTIME);
    assert_string_equal(err.cause, "energy counter 'intel-rapl:0' went from 500 to 400 microjoules");
    assert_true(j == -1);
    hone_energy_close(e);
}

static void the_platform_counter_serves_where_no_package_has_one(void **state)
{
    hone_energy *e = NULL;
    hone_err     err = { 0 };
    (void)state;
    package("intel-rapl:1", "psys\n", "10\n", "1000\n");
    assert_int_equal(hone_energy_open(fake_roots(), &e, &err), HONE_OK);
    assert_string_equal(hone_energy_what(e), "psys");
    hone_energy_close(e);
}

static void the_reason_for_no_counter_is_said(void **state)
{
    hone_energy *e = NULL;
    hone_err     err = { 0 };
    char         want[512];
    (void)state;
    assert_int_equal(hone_energy_open(fake_roots(), &e, &err), HONE_EUNSUPPORTED);
    (void)snprintf(want, sizeof want, "no energy counter: %s/class/powercap does not exist", fake_roots()->sys);
    assert_string_equal(err.cause, want);
    fake_put("sys/class/powercap/dtpm/name", "dtpm\n");
    assert_int_equal(hone_energy_open(fake_roots(), &e, &err), HONE_EUNSUPPORTED);
    (void)snprintf(want, sizeof want, "no energy counter: %s/class/powercap has no package zone", fake_roots()->sys);
    assert_string_equal(err.cause, want);
    /* A folder where the counter should be cannot be read, not even by root. */
    fake_put(ZONE "0/name", "package-0\n");
    fake_put(ZONE "0/energy_uj/x", "");
    assert_int_equal(hone_energy_open(fake_roots(), &e, &err), HONE_EUNSUPPORTED);
    assert_string_equal(err.cause, "energy counters exist but may not be read by this user");
    assert_null(e);
}

static void a_counter_that_vanishes_is_an_error(void **state)
{
    hone_energy *e = NULL;
    double       j = 7;
    hone_err     err = { 0 };
    (void)state;
    package("intel-rapl:0", "package-0\n", "10\n", "1000\n");
    assert_int_equal(hone_energy_open(fake_roots(), &e, &err), HONE_OK);
    fake_put(ZONE "0/energy_uj", "gone\n");
    assert_int_equal(hone_energy_read(e, &j, &err), HONE_ERUNTIME);
    assert_string_equal(err.cause, "energy counter 'intel-rapl:0' can no longer be read");
    assert_true(j == 7);
    hone_energy_close(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(packages_are_added_up_and_their_parts_are_not, setup, teardown),
        cmocka_unit_test_setup_teardown(a_counter_that_wrapped_is_put_right, setup, teardown),
        cmocka_unit_test_setup_teardown(a_step_back_without_a_range_is_an_error, setup, teardown),
        cmocka_unit_test_setup_teardown(the_platform_counter_serves_where_no_package_has_one, setup, teardown),
        cmocka_unit_test_setup_teardown(the_reason_for_no_counter_is_said, setup, teardown),
        cmocka_unit_test_setup_teardown(a_counter_that_vanishes_is_an_error, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
