/* Which statistics are a weight's, and whether they are this model's at all. */
#include "ir/stats.h"
#include "ir/model.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

enum { COLS = 4 };

static void weights_that_share_an_input_stand_in_for_each_other(void **state)
{
    const hone_input_stats list[] = { { .role = HONE_R_ATTN_K, .layer = 1 }, { .role = HONE_R_ATTN_V, .layer = 1 }, { .role = HONE_R_FFN_UP, .layer = 1 }, { .role = HONE_R_OUTPUT, .layer = -1 } };
    const hone_stats       s = { .inputs = list, .n_inputs = 4 };
    (void)state;
    assert_ptr_equal(hone_stats_find(&s, HONE_R_ATTN_V, 1), &list[1]);
    assert_ptr_equal(hone_stats_find(&s, HONE_R_ATTN_QKV, 1), &list[0]);
    assert_ptr_equal(hone_stats_find(&s, HONE_R_FFN_GATE_UP, 1), &list[2]);
    assert_ptr_equal(hone_stats_find(&s, HONE_R_OUTPUT, -1), &list[3]);
    assert_null(hone_stats_find(&s, HONE_R_ATTN_Q, 0));
    assert_null(hone_stats_find(&s, HONE_R_FFN_DOWN, 1));
    assert_null(hone_stats_find(&s, HONE_R_FFN_UP_EXPS, 1));
    assert_null(hone_stats_find(NULL, HONE_R_OUTPUT, -1));
    assert_true(hone_role_shares_input(HONE_R_ATTN_Q, HONE_R_ATTN_V) && hone_role_shares_input(HONE_R_OUTPUT, HONE_R_OUTPUT));
    assert_false(hone_role_shares_input(HONE_R_ATTN_Q, HONE_R_FFN_UP) || hone_role_shares_input(HONE_R_OUTPUT, HONE_R_FFN_DOWN));
}

static void statistics_of_another_model_are_told(void **state)
{
    hone_weight weights[] = { { .role = HONE_R_TOK_EMBD, .layer = -1, .n_dims = 2, .dims = { 9, COLS } },
                              { .role = HONE_R_ATTN_Q, .layer = 0, .n_dims = 2, .dims = { 8, COLS } },
                              { .role = HONE_R_FFN_DOWN_EXPS, .layer = 0, .n_dims = 3, .dims = { 3, COLS, 6 } } };
    const hone_model        m = { .facts = { .n_layers = 1 }, .weights = weights, .n_weights = 3 };
    const hone_input_stats  right[] = { { .role = HONE_R_OUTPUT, .layer = -1, .n_mats = 1, .n_cols = COLS }, { .role = HONE_R_ATTN_K, .layer = 0, .n_mats = 1, .n_cols = COLS },
                                        { .role = HONE_R_FFN_DOWN_EXPS, .layer = 0, .n_mats = 3, .n_cols = 6 } };
    const hone_input_stats  wide = { .role = HONE_R_ATTN_Q, .layer = 0, .n_mats = 1, .n_cols = 5 }, few = { .role = HONE_R_FFN_DOWN_EXPS, .layer = 0, .n_mats = 2, .n_cols = 6 },
                            tied = { .role = HONE_R_OUTPUT, .layer = -1, .n_mats = 1, .n_cols = 7 }, deep = { .role = HONE_R_ATTN_Q, .layer = 1, .n_mats = 1, .n_cols = COLS },
                            other = { .role = HONE_R_FFN_DOWN, .layer = 0, .n_mats = 1, .n_cols = 6 };
    const struct { const hone_input_stats *in; const char *cause; } wrong[] = {
        { &wide, "the statistics have 1 x 5 inputs for attn_q of layer 0, the model has 1 x 4" },
        { &few, "the statistics have 2 x 6 inputs for ffn_down_exps of layer 0, the model has 3 x 6" },
        { &tied, "the statistics have 1 x 7 inputs for tok_embd of layer -1, the model has 1 x 4" },
        { &deep, "the statistics have a layer 1, the model has 1 layers" },
        { &other, "the statistics have ffn_down of layer 0, the model has no such weight" },
    };
    hone_err err = { 0 };
    (void)state;
    assert_int_equal(hone_stats_check(&(hone_stats){ .inputs = right, .n_inputs = 3 }, &m, &err), HONE_OK);
    for (size_t i = 0; i < HONE_COUNT(wrong); i++) {
        assert_int_equal(hone_stats_check(&(hone_stats){ .inputs = wrong[i].in, .n_inputs = 1 }, &m, &err), HONE_EINPUT);
        assert_string_equal(err.cause, wrong[i].cause);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(weights_that_share_an_input_stand_in_for_each_other), cmocka_unit_test(statistics_of_another_model_are_told) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
