/* test_sources.c - sources that are no checkpoint, when memory runs out: allocations fail in turn, the answer is HONE_ERESOURCE, nothing leaks and
 * nothing half-open stays.  What they hold is judged in tests/cli/sources.sh.   ctest: wrap-memory */
#include "flow/convert.h"
#include "formats/scratch.h"
#include "failing_memory.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static void convert(const char *family, const char *quant, const scratch *out, char path[1100])
{
    hone_ctx             ctx = { 0 };
    hone_err             err = { 0 };
    hone_model           m = { 0 };
    hone_convert_result  res = { 0 };
    hone_convert_options opt = { .quants = &quant, .n_quants = 1, .out_dir = out->dir, .name = family };
    char                 from[512];
    (void)snprintf(from, sizeof from, HONE_TEST_SOURCE_DIR "/tests/golden/tiny/%s", family);
    if (hone_model_open(&ctx, from, &m, &err) != HONE_OK || hone_convert(&ctx, &m, &opt, &res, &err) != HONE_OK) fail_msg("%s %s: %s", family, quant, err.cause);
    (void)snprintf(path, 1100, "%s", res.outputs[0].path);
    hone_convert_result_release(&res);
    hone_model_close(&m);
}

/* A vocabulary of bytes, of words, of pieces; experts in one piece, apart, and inside codes. */
static void memory_that_runs_out_is_told(void **state)
{
    static const struct { const char *family, *quant; } sources[] = {
        { "llama", "gguf=q8_0" }, { "bert", "gguf=f16" }, { "gemma2", "gguf=f32" }, { "gpt_neox", "gguf=bf16" }, { "qwen3_moe", "mlx=int4" }, { "qwen3_moe", "onnx=int4" },
    };
    const scratch *s = *state;
    for (size_t i = 0; i < HONE_COUNT(sources); i++) {
        hone_ctx  ctx = { 0 };
        hone_code code = HONE_ERESOURCE;
        char      path[1100];
        convert(sources[i].family, sources[i].quant, s, path);
        for (fail_at = 1; code != HONE_OK; fail_at += 1 + fail_at / 16) {
            hone_model m = { 0 };
            hone_err   e = { 0 };
            count = 0;
            armed = true;
            code = hone_model_open(&ctx, path, &m, &e);
            armed = false;
            if (code != HONE_OK && (code != HONE_ERESOURCE || !e.cause[0] || m.source))
                fail_msg("%s %s: allocation %u fails and the answer is %d: %s", sources[i].family, sources[i].quant, fail_at, (int)code, e.cause);
            if (code == HONE_OK && fail_at <= count) fail_msg("%s %s: allocation %u of %u fails and nobody says so", sources[i].family, sources[i].quant, fail_at, count);
            hone_model_close(&m);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test_setup_teardown(memory_that_runs_out_is_told, scratch_setup, scratch_teardown) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
