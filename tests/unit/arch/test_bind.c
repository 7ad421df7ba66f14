/* test_bind.c - every tensor finds its role or the reader is told which one did not. */
#include "arch/tiny.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static void every_family_binds_its_tiny_checkpoint(void **state)
{
    (void)state;
    for (size_t i = 0; i < tiny_count; i++) {
        tiny     t;
        hone_err err = { 0 };
        tiny_open(&t, tiny_names[i]);
        if (tiny_bind(&t, &err) != HONE_OK) fail_msg("%s: %s", tiny_names[i], err.cause);
        assert_string_equal(t.m.facts.family, tiny_names[i]);
        assert_true(t.m.n_weights > 0);
        /* Every tensor is in some weight, except those that a rule calls ignored: none of ours. */
        uint64_t bound = 0, stored = 0;
        for (size_t k = 0; k < t.m.n_weights; k++) {
            bound += hone_weight_elems(&t.m.weights[k]);
            uint64_t sliced = 0, cols = hone_weight_cols(&t.m.weights[k]);
            for (size_t s = 0; s < t.m.weights[k].n_slices; s++) sliced += t.m.weights[k].slices[s].n_rows;
            assert_int_equal(sliced * (t.m.weights[k].n_dims == 1 ? 1 : cols), hone_weight_elems(&t.m.weights[k]));
        }
        for (size_t k = 0; k < t.n_tensors; k++) {
            uint64_t n = 1;
            for (uint32_t d = 0; d < t.tensors[k].n_dims; d++) n *= t.tensors[k].dims[d];
            stored += n;
        }
        assert_int_equal(bound, stored);
        tiny_close(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_family_binds_its_tiny_checkpoint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
