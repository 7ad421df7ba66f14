#include "measure/metric.h"
#include "measure/metric/rng.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static void near(double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance)) fail_msg("got %.12g, want %.12g +- %g", got, want, tolerance);
}

/* R 4: qt(0.975, df), printed in every table of the t distribution. */
static void student_quantiles_equal_the_tables(void **state)
{
    (void)state;
    near(hone_student_quantile(0.975, 1), 12.706204736, 1e-8);
    near(hone_student_quantile(0.975, 2), 4.302652730, 1e-8);
    near(hone_student_quantile(0.975, 9), 2.262157163, 1e-8);
    near(hone_student_quantile(0.975, 30), 2.042272456, 1e-8);
    near(hone_student_quantile(0.975, 1000), 1.962339081, 1e-8);
    near(hone_student_quantile(0.025, 9), -2.262157163, 1e-8);
    near(hone_student_quantile(0.5, 5), 0, 0);
}

static void mean_has_the_t_interval(void **state)
{
    static const double x[] = { 1, 2, 3, 4, 5 };
    (void)state;
    hone_metric m = hone_metric_mean(x, 5); /* sd 1.5811, t(4) 2.7764: 3 +- 1.9632 */
    assert_int_equal(m.state, HONE_MEASURED);
    near(m.value, 3, 0);
    near(m.lo, 1.036756838522439, 1e-10);
    near(m.hi, 4.963243161477561, 1e-10);
    assert_int_equal(m.n, 5);
}

static void one_sample_has_no_interval_and_none_is_not_measured(void **state)
{
    static const double x[] = { 7 };
    (void)state;
    hone_metric m = hone_metric_mean(x, 1);
    assert_int_equal(m.state, HONE_MEASURED);
    assert_false(hone_metric_has_ci(&m));
    m = hone_metric_mean(x, 0);
    assert_int_equal(m.state, HONE_NOT_MEASURED);
    assert_string_equal(m.why, "no samples");
}

static void a_sum_that_cancels_keeps_its_small_part(void **state)
{
    static const double x[] = { 1, 1e100, 1, -1e100 };
    (void)state;
    near(hone_metric_mean(x, 4).value, 0.5, 0);
}

static void wilson_equals_known_values(void **state)
{
    (void)state;
    hone_metric m = hone_metric_share(8, 10); /* statsmodels proportion_confint(8, 10, method="wilson") */
    near(m.value, 0.8, 1e-15);
    near(m.lo, 0.49016247153664183, 1e-9);
    near(m.hi, 0.9433178485456247, 1e-9);
    m = hone_metric_share(0, 10);
    near(m.lo, 0, 0);
    near(m.hi, 0.27753279986288926, 1e-9);
    m = hone_metric_share(10, 10);
    near(m.lo, 0.7224672001371107, 1e-9);
    near(m.hi, 1, 0);
    assert_int_equal(hone_metric_share(0, 0).state, HONE_NOT_MEASURED);
}

static void percentiles_need_five_samples_beyond_them(void **state)
{
    double x[500];
    (void)state;
    for (int i = 0; i < 500; i++) x[i] = 499 - i;
    assert_int_equal(hone_metric_percentile(x, 10, 0.5).state, HONE_MEASURED);
    assert_int_equal(hone_metric_percentile(x, 9, 0.5).state, HONE_UNRESOLVED);
    assert_int_equal(hone_metric_percentile(x, 100, 0.95).state, HONE_MEASURED);
    assert_int_equal(hone_metric_percentile(x, 500, 0.99).state, HONE_MEASURED);
    hone_metric m = hone_metric_percentile(x, 99, 0.95);
    assert_int_equal(m.state, HONE_UNRESOLVED);
    assert_int_equal(m.n, 99);
    assert_string_equal(m.why, "99 samples, p95 needs 100");
    assert_string_equal(hone_metric_percentile(x, 499, 0.99).why, "499 samples, p99 needs 500");
}

static void percentile_interpolates_between_ranks_of_unsorted_samples(void **state)
{
    static const double x[] = { 9, 1, 8, 2, 7, 3, 6, 4, 5, 0 };
    (void)state;
    hone_metric m = hone_metric_percentile(x, 10, 0.5);
    near(m.value, 4.5, 1e-15);
    assert_true(m.lo < m.value && m.value < m.hi);
    near(x[0], 9, 0); /* the caller's samples keep their order */
}

static void variation_needs_three_samples(void **state)
{
    static const double x[] = { 9, 10, 11 };
    (void)state;
    near(hone_metric_cv(x, 3).value, 0.1, 1e-15);
    assert_int_equal(hone_metric_cv(x, 2).state, HONE_UNRESOLVED);
    assert_string_equal(hone_metric_cv(x, 2).why, "2 samples, a variation needs 3");
}

static void equal_clusters_give_the_mean_of_their_means(void **state)
{
    static const double num[] = { 10, 20, 30, 40, 50 }, den[] = { 10, 10, 10, 10, 10 }, means[] = { 1, 2, 3, 4, 5 };
    (void)state;
    hone_metric r = hone_metric_ratio(num, den, 5, 50), m = hone_metric_mean(means, 5);
    near(r.value, m.value, 1e-15);
    near(r.lo, m.lo, 1e-12);
    near(r.hi, m.hi, 1e-12);
    assert_int_equal(r.n, 50);
}

static void a_short_cluster_weighs_less(void **state)
{
    static const double num[] = { 100, 9 }, den[] = { 100, 1 };
    (void)state;
    near(hone_metric_ratio(num, den, 2, 101).value, 109.0 / 101, 1e-15);
}

/* The sequences of the authors' splitmix64.c and xoshiro256starstar.c. */
static void the_generator_is_the_published_one(void **state)
{
    uint64_t s = 1234567;
    (void)state;
    assert_true(hone_splitmix64(&s) == 6457827717110365317u);
    assert_true(hone_splitmix64(&s) == 3203168211198807973u);
    assert_true(hone_splitmix64(&s) == 9817491932198370423u);
    hone_rng r = { { 1, 2, 3, 4 } };
    assert_true(hone_rng_next(&r) == 11520u);
    assert_true(hone_rng_next(&r) == 0u);
    assert_true(hone_rng_next(&r) == 1509978240u);
    assert_true(hone_rng_next(&r) == 1215971899390074240u);
}

static void draws_stay_below_and_reach_every_value(void **state)
{
    hone_rng r = hone_rng_seeded(1);
    unsigned seen[7] = { 0 };
    (void)state;
    for (int i = 0; i < 7000; i++) {
        uint64_t x = hone_rng_below(&r, 7);
        assert_true(x < 7);
        seen[x]++;
    }
    for (int i = 0; i < 7; i++) assert_in_range(seen[i], 880, 1120);
}

static void group_mean_weighs_groups_alike_and_repeats_itself(void **state)
{
    static const double x[] = { 1, 1, 1, 1, 0, 0, 1, 0 };
    static const size_t sizes[] = { 4, 4 };
    (void)state;
    hone_metric m = hone_metric_groups(x, sizes, 2, 42), again = hone_metric_groups(x, sizes, 2, 42);
    near(m.value, 0.625, 1e-15);
    assert_true(m.lo < 0.625 && m.hi > 0.625 && m.lo >= 0.5 && m.hi <= 1); /* the first group never varies */
    near(again.lo, m.lo, 0);
    near(again.hi, m.hi, 0);
}

/* The bootstrap interval of a mean of 400 uniform values agrees with the one from theory within its own noise. */
static void paired_interval_agrees_with_theory(void **state)
{
    double   a[400], b[400], d[400];
    hone_rng r = hone_rng_seeded(3);
    (void)state;
    for (int i = 0; i < 400; i++) {
        a[i] = (double)hone_rng_below(&r, 1000) / 1000;
        b[i] = a[i] - (double)hone_rng_below(&r, 1000) / 1000;
        d[i] = a[i] - b[i];
    }
    hone_metric boot = hone_metric_paired(a, b, 400, 9), t = hone_metric_mean(d, 400);
    near(boot.value, t.value, 1e-12);
    near(boot.lo, t.lo, 0.1 * (t.hi - t.lo));
    near(boot.hi, t.hi, 0.1 * (t.hi - t.lo));
}

static void equal_pairs_differ_by_nothing(void **state)
{
    static const double a[] = { 0, 1, 1, 0 };
    (void)state;
    hone_metric m = hone_metric_paired(a, a, 4, 1);
    near(m.value, 0, 0);
    near(m.lo, 0, 0);
    near(m.hi, 0, 0);
}

static void block_percentile_is_wider_when_blocks_differ(void **state)
{
    double   same[1000], apart[1000];
    size_t   sizes[10];
    hone_rng r = hone_rng_seeded(5);
    (void)state;
    for (int i = 0; i < 10; i++) sizes[i] = 100;
    for (int i = 0; i < 1000; i++) {
        double v = (double)hone_rng_below(&r, 1000000);
        same[i] = v;
        apart[i] = v + 1e6 * (i / 100);
    }
    hone_metric s = hone_metric_block_percentile(same, sizes, 10, 0.95, 1);
    hone_metric a = hone_metric_block_percentile(apart, sizes, 10, 0.95, 1);
    near(s.value, hone_metric_percentile(same, 1000, 0.95).value, 0);
    assert_true(s.lo < s.value && s.value < s.hi);
    assert_true(a.hi - a.lo > 5 * (s.hi - s.lo));
    assert_int_equal(hone_metric_block_percentile(same, sizes, 4, 0.99, 1).state, HONE_UNRESOLVED);
}

static void infinity_is_not_a_measurement(void **state)
{
    (void)state;
    assert_int_equal(hone_metric_of(INFINITY, 3).state, HONE_NOT_MEASURED);
    assert_string_equal(hone_metric_of(NAN, 3).why, "the result is not a finite number");
    hone_metric m = hone_metric_ci(1, -INFINITY, 2, 3);
    assert_int_equal(m.state, HONE_MEASURED);
    assert_false(hone_metric_has_ci(&m));
}

static void result_shape_is_number_or_null_with_its_reason_beside(void **state)
{
    json_t     *o = json_object();
    hone_metric known = hone_metric_ci(2, 1, 3, 9), few = hone_metric_unresolved(4, "4 samples, p95 needs 100");
    hone_metric never = hone_metric_none("no energy counter");
    (void)state;
    assert_true(hone_metric_put(o, "ttft_ms.p50", &known));
    assert_true(hone_metric_put(o, "ttft_ms.p95", &few));
    assert_true(hone_metric_put(o, "energy", &never));
    char *text = json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS);
    assert_string_equal(text, "{\"ci\":{\"ttft_ms.p50\":[1.0,3.0]},\"energy\":null,\"n\":{\"ttft_ms.p50\":9},"
                              "\"states\":{\"energy\":{\"reason\":\"no energy counter\",\"state\":\"not_measured\"},"
                              "\"ttft_ms.p95\":{\"reason\":\"4 samples, p95 needs 100\",\"state\":\"unresolved\"}},"
                              "\"ttft_ms\":{\"p50\":2.0,\"p95\":null}}");
    free(text);
    json_decref(o);

    json_t *j = hone_metric_json(&few);
    assert_string_equal(json_string_value(json_object_get(j, "state")), "unresolved");
    assert_null(json_object_get(j, "value"));
    json_decref(j);
    j = hone_metric_json(&known);
    assert_true(json_real_value(json_object_get(j, "value")) == 2);
    assert_int_equal(json_array_size(json_object_get(j, "ci")), 2);
    json_decref(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(student_quantiles_equal_the_tables),
        cmocka_unit_test(mean_has_the_t_interval),
        cmocka_unit_test(one_sample_has_no_interval_and_none_is_not_measured),
        cmocka_unit_test(a_sum_that_cancels_keeps_its_small_part),
        cmocka_unit_test(wilson_equals_known_values),
        cmocka_unit_test(percentiles_need_five_samples_beyond_them),
        cmocka_unit_test(percentile_interpolates_between_ranks_of_unsorted_samples),
        cmocka_unit_test(variation_needs_three_samples),
        cmocka_unit_test(equal_clusters_give_the_mean_of_their_means),
        cmocka_unit_test(a_short_cluster_weighs_less),
        cmocka_unit_test(the_generator_is_the_published_one),
        cmocka_unit_test(draws_stay_below_and_reach_every_value),
        cmocka_unit_test(group_mean_weighs_groups_alike_and_repeats_itself),
        cmocka_unit_test(paired_interval_agrees_with_theory),
        cmocka_unit_test(equal_pairs_differ_by_nothing),
        cmocka_unit_test(block_percentile_is_wider_when_blocks_differ),
        cmocka_unit_test(infinity_is_not_a_measurement),
        cmocka_unit_test(result_shape_is_number_or_null_with_its_reason_beside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
