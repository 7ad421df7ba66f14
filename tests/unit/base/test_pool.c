/* ctest: threads */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/pool.h"
#include <stdatomic.h>

typedef struct tally {
    atomic_int           runs[500], workers[8];
    size_t               fails_at;
    volatile sig_atomic_t *cancel;
} tally;

static hone_code count(void *user, size_t i, unsigned worker, hone_err *err)
{
    tally *t = user;
    atomic_fetch_add(&t->runs[i], 1);
    atomic_fetch_add(&t->workers[worker], 1);
    if (t->cancel && i == 10) *t->cancel = 1;
    return i >= t->fails_at ? HONE_FAIL(err, HONE_EINPUT, "", "job %zu", i) : HONE_OK;
}

static void every_job_runs_once_on_any_number_of_threads(void **state)
{
    (void)state;
    for (unsigned threads = 0; threads <= 8; threads++) {
        tally    t = { .fails_at = SIZE_MAX };
        hone_ctx ctx = { .threads = threads };
        hone_err err = { 0 };
        assert_int_equal(hone_pool_run(&ctx, 500, count, &t, &err), HONE_OK);
        for (int i = 0; i < 500; i++) assert_int_equal(t.runs[i], 1);
        for (unsigned w = threads ? threads : 1; w < 8; w++) assert_int_equal(t.workers[w], 0);
    }
}

static void the_lowest_failure_is_reported_and_the_rest_stops(void **state)
{
    (void)state;
    for (unsigned threads = 1; threads <= 8; threads++) {
        tally    t = { .fails_at = 100 };
        hone_ctx ctx = { .threads = threads };
        hone_err err = { 0 };
        assert_int_equal(hone_pool_run(&ctx, 500, count, &t, &err), HONE_EINPUT);
        assert_string_equal(err.cause, "job 100");
        assert_int_equal(t.runs[499], 0);
    }
}

static void an_interrupt_ends_the_run(void **state)
{
    volatile sig_atomic_t flag = 0;
    tally                 t = { .fails_at = SIZE_MAX, .cancel = &flag };
    hone_ctx              ctx = { .threads = 1, .cancel = &flag };
    hone_err              err = { 0 };
    (void)state;
    assert_int_equal(hone_pool_run(&ctx, 500, count, &t, &err), HONE_ERESOURCE);
    assert_string_equal(err.cause, "interrupted");
    assert_int_equal(t.runs[10], 1);
    assert_int_equal(t.runs[11], 0);
}

static void no_jobs_is_fine(void **state)
{
    (void)state;
    assert_int_equal(hone_pool_run(NULL, 0, count, NULL, NULL), HONE_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_job_runs_once_on_any_number_of_threads),
        cmocka_unit_test(the_lowest_failure_is_reported_and_the_rest_stops),
        cmocka_unit_test(an_interrupt_ends_the_run),
        cmocka_unit_test(no_jobs_is_fine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
