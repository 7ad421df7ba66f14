/* test_ov_lower.c - the lowering of the operator graph when memory runs out: every allocation fails in turn and the answer is HONE_ERESOURCE.
 * What the lowered models compute is judged by OpenVINO itself (tests/judges/ov_folders.py).   ctest: wrap-memory */
#include "flow/convert.h"
#include "formats/openvino.h"
#include "failing_memory.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static hone_code lower(const hone_model *m, hone_arena *a, hone_ov_files *out, hone_err *err)
{
    static const char *const info[] = { "a/b", "1", NULL };
    hone_graph    g;
    hone_ov_slot *slots;
    size_t        n;
    HONE_TRY(hone_graph_build(m, a, &g, err));
    HONE_TRY(hone_ov_slots(&g, a, &slots, &n, err));
    for (size_t i = 0; i < n; i++) {
        slots[i].name = hone_arena_printf(a, "w%zu", i);
        if (!slots[i].name) return HONE_NOMEM(err, "a name");
        if (slots[i].use & HONE_OV_MATRIX) slots[i].grouped = (hone_grouped){ .scheme = HONE_SCHEME_NNCF, .bits = 4, .group = i % 2 ? 32 : 0, .scale = HONE_DTYPE_F16 };
    }
    return hone_ov_lower(&g, slots, n, info, a, out, err);
}

/* One that has a window, one with experts and norms of heads, one that is soft-capped and adds one to its norms, one with two rope tables, an encoder. */
static void memory_that_runs_out_is_told(void **state)
{
    static const char *const families[] = { "mistral", "qwen3_moe", "gemma2", "phi3", "bert" };
    (void)state;
    for (size_t i = 0; i < HONE_COUNT(families); i++) {
        char       path[256];
        hone_ctx   ctx = { 0 };
        hone_model m = { 0 };
        hone_err   err = { 0 };
        (void)snprintf(path, sizeof path, HONE_TEST_SOURCE_DIR "/tests/golden/tiny/%s", families[i]);
        assert_int_equal(hone_model_open(&ctx, path, &m, &err), HONE_OK);
        hone_code code = HONE_ERESOURCE;
        for (fail_at = 1; code != HONE_OK; fail_at++) { /* some four thousand times */
            hone_arena    a = { 0 };
            hone_ov_files files = { .bin_total = 77 };
            hone_err      e = { 0 };
            count = 0;
            armed = true;
            code = lower(&m, &a, &files, &e);
            armed = false;
            if (code != HONE_OK) {
                assert_int_equal(code, HONE_ERESOURCE);
                assert_true(e.cause[0] && files.bin_total == 77);
            } else if (fail_at <= count || files.xml.len < 10000) fail_msg("%s: allocation %u of %u fails and nobody says so", families[i], fail_at, count);
            hone_arena_release(&a);
        }
        hone_model_close(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(memory_that_runs_out_is_told) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
