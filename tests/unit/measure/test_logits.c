#include "measure/logits.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void near(double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance)) fail_msg("got %.12g, want %.12g +- %g", got, want, tolerance);
}

static void a_row_knows_its_sum_best_and_lead(void **state)
{
    static const float x[] = { 1, 3, 2, 3 };
    (void)state;
    hone_row r = hone_row_scan(x, 4);
    assert_true(r.finite);
    near(r.lse, log(exp(1) + 2 * exp(3) + exp(2)), 1e-12);
    assert_int_equal(r.best, 1); /* the first of equals */
    near(r.gap, 0, 0);
    near(hone_row_scan(x, 3).gap, 1, 0);
}

static void large_logits_do_not_overflow(void **state)
{
    static const float x[] = { 3e38f, 3e38f }, y[] = { -3e38f, -3e38f };
    (void)state;
    near(hone_row_scan(x, 2).lse / 3e38, 1, 1e-6);
    near(hone_row_scan(y, 2).lse / 3e38, -1, 1e-6);
}

static void nan_and_infinity_are_seen_but_minus_infinity_is_a_token_that_cannot_come(void **state)
{
    const float nan_row[] = { 1, NAN, 2 }, inf_row[] = { 1, INFINITY }, none[] = { -INFINITY, -INFINITY }, one[] = { -INFINITY, 4 };
    (void)state;
    assert_false(hone_row_scan(nan_row, 3).finite);
    assert_false(hone_row_scan(inf_row, 2).finite);
    assert_false(hone_row_scan(none, 2).finite);
    assert_true(hone_row_scan(one, 2).finite);
    near(hone_row_scan(one, 2).lse, 4, 1e-15);
}

static hone_row_diff compare(const float *p, const float *q, size_t n)
{
    hone_row r = hone_row_scan(p, n), o = hone_row_scan(q, n);
    return hone_row_compare(p, &r, q, &o, n);
}

static void kld_is_the_textbook_one(void **state)
{
    /* p = (1/2, 1/4, 1/4), q = (1/4, 1/4, 1/2): sum p ln(p/q) = ln(2)/2 - ln(2)/4 */
    const float   p[] = { logf(0.5f), logf(0.25f), logf(0.25f) }, q[] = { logf(0.25f), logf(0.25f), logf(0.5f) };
    hone_row_diff d = compare(p, q, 3);
    (void)state;
    near(d.kld, log(2) / 4, 1e-7);
    near(d.max_abs, log(2), 1e-6);
}

static void equal_rows_and_shifted_rows_are_no_distance_apart(void **state)
{
    static const float p[] = { 1, 2, 3, -80 }, shifted[] = { 101, 102, 103, 20 };
    (void)state;
    near(compare(p, p, 4).kld, 0, 0);
    near(compare(p, p, 4).max_abs, 0, 0);
    near(compare(p, shifted, 4).kld, 0, 1e-12);
    near(compare(p, shifted, 4).max_abs, 100, 0);
}

static void a_token_that_only_the_reference_allows_is_infinitely_far(void **state)
{
    const float p[] = { 0, 0 }, q[] = { 0, -INFINITY };
    (void)state;
    assert_true(isinf(compare(p, q, 2).kld));
    near(compare(q, p, 2).kld, log(2), 1e-12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_knows_its_sum_best_and_lead),
        cmocka_unit_test(large_logits_do_not_overflow),
        cmocka_unit_test(nan_and_infinity_are_seen_but_minus_infinity_is_a_token_that_cannot_come),
        cmocka_unit_test(kld_is_the_textbook_one),
        cmocka_unit_test(equal_rows_and_shifted_rows_are_no_distance_apart),
        cmocka_unit_test(a_token_that_only_the_reference_allows_is_infinitely_far),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
