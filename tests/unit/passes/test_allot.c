/* test_allot.c - the knapsack against all choices there are, and its edges. */
#include "passes/allot.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { MAX_ITEMS = 7, MAX_OPTIONS = 5 };

typedef struct puzzle {
    hone_allot_option options[MAX_ITEMS][MAX_OPTIONS];
    hone_allot_item   items[MAX_ITEMS];
    size_t            n;
} puzzle;

static uint32_t next(uint64_t *s) /* xorshift64* */
{
    *s ^= *s >> 12;
    *s ^= *s << 25;
    *s ^= *s >> 27;
    return (uint32_t)((*s * 2685821657736338717ull) >> 33);
}

static void make(puzzle *p, uint64_t *seed, uint32_t unit)
{
    p->n = 1 + next(seed) % MAX_ITEMS;
    for (size_t i = 0; i < p->n; i++) {
        p->items[i] = (hone_allot_item){ p->options[i], 1 + next(seed) % MAX_OPTIONS };
        for (size_t k = 0; k < p->items[i].n; k++)
            p->options[i][k] = (hone_allot_option){ (uint64_t)unit * (1 + next(seed) % 40), (double)(next(seed) % 1000) / 64 };
    }
}

static double cost_of(const puzzle *p, const uint32_t *chosen, uint64_t *bytes)
{
    double cost = 0;
    *bytes = 0;
    for (size_t i = 0; i < p->n; i++) {
        assert_true(chosen[i] < p->items[i].n);
        cost += p->options[i][chosen[i]].cost;
        *bytes += p->options[i][chosen[i]].bytes;
    }
    return cost;
}

/* Every choice. */
static double brute(const puzzle *p, uint64_t budget, double most, uint64_t *fewest)
{
    uint32_t at[MAX_ITEMS] = { 0 };
    double   best = INFINITY;
    *fewest = UINT64_MAX;
    for (;;) {
        uint64_t bytes;
        double   cost = cost_of(p, at, &bytes);
        if (bytes <= budget && cost < best) best = cost;
        if (cost <= most && bytes < *fewest) *fewest = bytes;
        size_t i = 0;
        while (i < p->n && ++at[i] == p->items[i].n) at[i++] = 0;
        if (i == p->n) return best;
    }
}

static void small_cases_are_solved_as_well_as_by_trying_all(void **state)
{
    uint64_t seed = 88172645463325252ull;
    size_t   solved = 0;
    (void)state;
    for (int round = 0; round < 400; round++) {
        puzzle   p;
        uint32_t chosen[MAX_ITEMS];
        uint64_t bytes, fewest, budget;
        hone_err err = { 0 };
        make(&p, &seed, round % 2 ? 1 : 4608);
        budget = (round % 2 ? 1u : 4608u) * (next(&seed) % (40 * p.n)) + (unsigned)round % 3u;
        double    best = brute(&p, budget, 0, &fewest);
        hone_code code = hone_allot(p.items, p.n, budget, chosen, &err);
        if (isinf(best)) {
            assert_int_equal(code, HONE_ENO);
            continue;
        }
        assert_int_equal(code, HONE_OK);
        assert_true(fabs(cost_of(&p, chosen, &bytes) - best) < 1e-9);
        assert_true(bytes <= budget);
        solved++;
    }
    assert_true(solved > 200);
}

static void the_fewest_bytes_for_a_cost(void **state)
{
    uint64_t seed = 1234567;
    size_t   solved = 0;
    (void)state;
    for (int round = 0; round < 400; round++) {
        puzzle   p;
        uint32_t chosen[MAX_ITEMS];
        uint64_t bytes, fewest;
        double   most = (double)(next(&seed) % 4000) / 64;
        hone_err err = { 0 };
        make(&p, &seed, 1 + (uint32_t)round % 5);
        (void)brute(&p, 0, most, &fewest);
        hone_code code = hone_allot_cost(p.items, p.n, most, chosen, &err);
        if (fewest == UINT64_MAX) {
            assert_int_equal(code, HONE_ENO);
            continue;
        }
        assert_int_equal(code, HONE_OK);
        assert_true(cost_of(&p, chosen, &bytes) <= most + 1e-9);
        assert_int_equal(bytes, fewest);
        solved++;
    }
    assert_true(solved > 200);
}

/* Sizes that have nothing in common: steps are rounded up, the budget holds, and little of it is left. */
static void huge_sizes_keep_the_budget_and_use_it(void **state)
{
    enum { N = 40, K = 6 };
    static hone_allot_option o[N][K];
    hone_allot_item          items[N];
    uint32_t                 chosen[N];
    uint64_t                 seed = 99, budget = 0, used = 0;
    (void)state;
    for (size_t i = 0; i < N; i++) {
        uint64_t base = 1000003 + (uint64_t)next(&seed) * 4096;
        items[i] = (hone_allot_item){ o[i], K };
        for (size_t k = 0; k < K; k++) o[i][k] = (hone_allot_option){ base * (k + 2) + k, 100.0 / (double)((k + 1) * (k + 1)) };
        budget += base * 4;
    }
    assert_int_equal(hone_allot(items, N, budget, chosen, NULL), HONE_OK);
    for (size_t i = 0; i < N; i++) used += o[i][chosen[i]].bytes;
    assert_true(used <= budget);
    assert_true((double)used > 0.99 * (double)budget);
}

static void too_small_a_budget_names_both_numbers(void **state)
{
    const hone_allot_option o[] = { { 100, 2 }, { 200, 1 } };
    const hone_allot_item   items[] = { { o, 2 }, { o, 2 } };
    uint32_t                chosen[2] = { 7, 7 };
    hone_err                err = { 0 };
    (void)state;
    assert_int_equal(hone_allot(items, 2, 199, chosen, &err), HONE_ENO);
    assert_string_equal(err.cause, "the narrowest encodings take 200 bytes, 199 are allowed");
    assert_int_equal(chosen[0], 7);
    assert_int_equal(hone_allot_cost(items, 2, 1.5, chosen, &err), HONE_ENO);
    assert_string_equal(err.cause, "the widest encodings cost 2, 1.5 is allowed");
    assert_int_equal(hone_allot(items, 0, 0, chosen, &err), HONE_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_cases_are_solved_as_well_as_by_trying_all),
        cmocka_unit_test(the_fewest_bytes_for_a_cost),
        cmocka_unit_test(huge_sizes_keep_the_budget_and_use_it),
        cmocka_unit_test(too_small_a_budget_names_both_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
