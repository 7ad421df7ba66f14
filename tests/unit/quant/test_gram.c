/* Sums of x x^T: against a plain double sum, and the same bits for any number of threads. */
#include "quant/gram.h"
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static float next(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (float)(int32_t)(*seed >> 32) / 2147483648.0f;
}

/* The sum over `rows` random rows of n columns; plain: the same in double, or NULL. */
static void sum(uint32_t n, size_t rows, unsigned threads, float *out, double *plain)
{
    hone_ctx  ctx = { .threads = threads };
    hone_err  err = { 0 };
    hone_gram g = { 0 };
    uint64_t  seed = n;
    float    *x = calloc(n, sizeof *x);
    assert_non_null(x);
    assert_int_equal(hone_gram_init(&g, n, &err), HONE_OK);
    for (size_t r = 0; r < rows; r++) {
        for (uint32_t j = 0; j < n; j++) x[j] = next(&seed);
        assert_int_equal(hone_gram_add(&g, &ctx, x, &err), HONE_OK);
        for (size_t i = 0; plain && i < n; i++)
            for (size_t j = 0; j < n; j++) plain[i * n + j] += (double)x[i] * (double)x[j];
    }
    assert_int_equal(hone_gram_take(&g, &ctx, out, &err), HONE_OK);
    assert_int_equal(g.rows, rows);
    hone_gram_release(&g);
    free(x);
}

static void sums_are_right_for_every_width(void **state)
{
    static const uint32_t widths[] = { 1, 3, 15, 16, 17, 40, 65 };
    static const size_t   rows[] = { 1, 63, 64, 65, 256, 257, 700 };
    (void)state;
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
        const uint32_t n = widths[w];
        const size_t   r = rows[w];
        float         *out = calloc((size_t)n * n, sizeof *out);
        double        *plain = calloc((size_t)n * n, sizeof *plain);
        assert_true(out && plain);
        sum(n, r, 1, out, plain);
        for (size_t i = 0; i < (size_t)n * n; i++)
            if (fabs((double)out[i] - plain[i]) > 2e-5 * sqrt((double)r)) fail_msg("%u columns, %zu rows, element %zu: %g, should be %g", n, r, i, (double)out[i], plain[i]);
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < i; j++) assert_true(out[i * n + j] == out[j * n + i]);
        free(out);
        free(plain);
    }
}

static void threads_do_not_show(void **state)
{
    const uint32_t n = 530; /* wide enough that threads are used */
    float         *one = calloc((size_t)n * n, sizeof *one), *three = calloc((size_t)n * n, sizeof *three);
    (void)state;
    assert_true(one && three);
    sum(n, 300, 1, one, NULL);
    sum(n, 300, 3, three, NULL);
    assert_memory_equal(one, three, (size_t)n * n * sizeof *one);
    free(one);
    free(three);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(sums_are_right_for_every_width), cmocka_unit_test(threads_do_not_show) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
