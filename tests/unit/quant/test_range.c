/* Ranges of quantisers, beside numpy's (tests/golden/ranges.py). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "quant/range.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = 20000, SAMPLES = 100 };

typedef struct golden { double lo, hi, mean_lo, mean_hi, percentile_lo, percentile_hi, entropy_lo, entropy_hi, least_square; } golden;
#include "range_golden.inc"

static float x[N];

static void make_numbers(int shape)
{
    for (int64_t i = 0; i < N; i++) {
        double u = (double)((i * 7919 + 13) % 10007 + (i * 104729 + 7) % 10009 + (i * 1299709 + 5) % 10037 - 15026) / 5000.0;
        if (shape == 0) x[i] = (float)(u * u * u / 4 + u);
        if (shape == 1) x[i] = fmaxf((float)(u * u * u), 0);
        if (shape == 2) x[i] = (float)(u / 8 + 3);
    }
    if (shape == 2) x[N / 2] = -9.5f;
}

static hone_range_seen *walk(void)
{
    hone_range_seen *r = calloc(1, sizeof *r);
    assert_non_null(r);
    for (size_t i = 0; i < SAMPLES; i++) hone_range_see(r, x + i * (N / SAMPLES), N / SAMPLES);
    for (size_t i = 0; i < SAMPLES; i++) hone_range_count(r, x + i * (N / SAMPLES), N / SAMPLES);
    return r;
}

static void near(double a, double b, double within)
{
    if (fabs(a - b) > within) fail_msg("%.9g is not %.9g within %g", a, b, within);
}

static double real_square(float lo, float hi)
{
    double  sum = 0;
    float   scale;
    int32_t zero;
    hone_range_codes(lo, hi, 0, 255, false, &scale, &zero);
    for (size_t i = 0; i < N; i++) {
        double q = fmin(fmax(nearbyint((double)x[i] / (double)scale) + zero, 0), 255), d = (q - zero) * (double)scale - (double)x[i];
        sum += d * d;
    }
    return sum / N;
}

static void ranges_are_those_of_numpy(void **state)
{
    (void)state;
    for (int shape = 0; shape < 3; shape++) {
        const golden *g = &goldens[shape];
        float         lo, hi;
        make_numbers(shape);
        hone_range_seen *r = walk();
        double           bin = (g->hi - g->lo) / HONE_RANGE_BINS;
        hone_range_choose(r, HONE_RANGE_MINMAX, 1, 256, &lo, &hi);
        near((double)lo, fmin(g->lo, 0), 1e-6);
        near((double)hi, fmax(g->hi, 0), 1e-6);
        hone_range_choose(r, HONE_RANGE_AVERAGE, 1, 256, &lo, &hi);
        near((double)lo, fmin(g->mean_lo, 0), 1e-5);
        near((double)hi, g->mean_hi, 1e-5);
        hone_range_choose(r, HONE_RANGE_PERCENTILE, 0.999, 256, &lo, &hi);
        near((double)lo, fmin(g->percentile_lo, 0), 1.5 * bin);
        near((double)hi, g->percentile_hi, 1.5 * bin);
        hone_range_choose(r, HONE_RANGE_ENTROPY, 1, 256, &lo, &hi);
        near((double)lo, g->entropy_lo, 1e-5);
        near((double)hi, g->entropy_hi, 1e-5);
        hone_range_choose(r, HONE_RANGE_MSE, 1, 256, &lo, &hi);
        near(real_square(lo, hi) / g->least_square, 1, 0.15); /* numpy's grid is another */
        free(r);
    }
}

static void clipping_by_error_beats_the_whole_range_where_there_is_an_outlier(void **state)
{
    float lo, hi, all_lo, all_hi;
    (void)state;
    make_numbers(2);
    for (size_t i = 0; i < N; i++) x[i] -= 3; /* around zero */
    x[7] = 60;
    hone_range_seen *r = walk();
    hone_range_choose(r, HONE_RANGE_MINMAX, 1, 256, &all_lo, &all_hi);
    hone_range_choose(r, HONE_RANGE_MSE, 1, 256, &lo, &hi);
    assert_true(hi < all_hi);
    assert_true(real_square(lo, hi) <= real_square(all_lo, all_hi));
    free(r);
}

static void what_is_not_finite_counts_for_nothing(void **state)
{
    hone_range_seen *r = calloc(1, sizeof *r);
    const float      odd[] = { 1, NAN, -2, INFINITY, -INFINITY };
    float            lo, hi;
    (void)state;
    assert_non_null(r);
    hone_range_see(r, odd + 1, 1);
    hone_range_choose(r, HONE_RANGE_MINMAX, 1, 256, &lo, &hi);
    assert_true(lo == 0 && hi == 0);
    hone_range_see(r, odd, 5);
    hone_range_count(r, odd, 5);
    assert_int_equal(r->strange, 4);
    for (int m = 0; m < HONE_RANGE_COUNT; m++) {
        hone_range_choose(r, (hone_range_method)m, 0.99, 256, &lo, &hi);
        assert_true(lo >= -2 && lo <= 0 && hi >= 0 && hi <= 1);
    }
    free(r);
}

static void zero_is_always_a_code(void **state)
{
    static const float ranges[][2] = { { -1, 3 }, { 0, 6 }, { -4, 0 }, { 0, 0 }, { -1e-40f, 1e-40f }, { -3e38f, 3e38f } };
    (void)state;
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        for (int sym = 0; sym < 2; sym++)
            for (int32_t qmin = -128; qmin <= 0; qmin += 128) {
                float   scale = 0;
                int32_t zero = 999;
                hone_range_codes(ranges[i][0], ranges[i][1], qmin, qmin + 255, sym, &scale, &zero);
                assert_true(isfinite(scale) && scale > 0);
                assert_true(zero >= qmin && zero <= qmin + 255);
            }
    float   scale;
    int32_t zero;
    hone_range_codes(0, 6, 0, 255, false, &scale, &zero);
    assert_int_equal(zero, 0);
    near((double)scale, 6.0 / 255, 1e-9);
    hone_range_codes(-2, 1, -128, 127, true, &scale, &zero);
    assert_int_equal(zero, 0);
    near((double)scale, 2.0 / 127, 1e-9);
}

static void methods_have_names(void **state)
{
    hone_range_method m;
    (void)state;
    for (int i = 0; i < HONE_RANGE_COUNT; i++) {
        assert_true(hone_range_find(hone_range_name((hone_range_method)i), &m));
        assert_int_equal(m, i);
    }
    assert_false(hone_range_find("best", &m));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_are_those_of_numpy),           cmocka_unit_test(clipping_by_error_beats_the_whole_range_where_there_is_an_outlier),
        cmocka_unit_test(what_is_not_finite_counts_for_nothing), cmocka_unit_test(zero_is_always_a_code),
        cmocka_unit_test(methods_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
