/* Side by side: what is measured, what is not and why, and that one candidate's death is its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/file.h"
#include "measure/measure.h"
#include "runner/fixture.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static fixture     f;
static const char *f32, *q8_0;

static const char *file_of(const char *name, const char *content)
{
    const char *path = hone_arena_printf(&f.a, "%s/%s", f.dir, name);
    assert_int_equal(hone_out_put(path, content, strlen(content), NULL), HONE_OK);
    return path;
}

static void every_number_is_there_or_says_why(void **state)
{
    const char       *paths[] = { f32, q8_0 };
    hone_bench_result r[2];
    hone_err          err = { 0 };
    (void)state;
    const hone_bench_options o = { .artefacts = paths, .n_artefacts = 2, .prompt = 32, .gen = 12, .repeat = 10, .threads = 1 };
    if (hone_bench(&f.ctx, &o, r, &err) != HONE_OK) fail_msg("%s", err.cause);
    for (int i = 0; i < 2; i++) {
        assert_false(r[i].failed);
        assert_string_equal(r[i].path, paths[i]);
        assert_string_equal(r[i].runtime, "llama.cpp");
        assert_int_equal(r[i].load_ms.n, 3);
        assert_true(r[i].load_ms.value > 0);
        assert_int_equal(r[i].ttft_p50.state, HONE_MEASURED); /* ten rounds: enough for p50 only */
        assert_int_equal(r[i].ttft_p95.state, HONE_UNRESOLVED);
        assert_string_equal(r[i].ttft_p95.why, "10 samples, p95 needs 100");
        assert_int_equal(r[i].latency_p50.n, 110);
        assert_int_equal(r[i].latency_p95.state, HONE_MEASURED);
        assert_int_equal(r[i].latency_p99.state, HONE_UNRESOLVED);
        assert_true(r[i].latency_p50.value <= r[i].latency_p95.value);
        assert_true(r[i].prefill_tok_s.value > 0 && r[i].prefill_tok_s.n == 10 && hone_metric_has_ci(&r[i].prefill_tok_s));
        assert_true(r[i].decode_tok_s.value > 0 && hone_metric_has_ci(&r[i].decode_tok_s));
        assert_true(r[i].cv.state == HONE_MEASURED && r[i].cv.value >= 0);
        assert_true(r[i].peak_rss_bytes.value > 1e6);
        assert_true(r[i].cpu_utilization.value > 0 && r[i].cpu_utilization.value < 1.5);
        assert_true(r[i].energy_j_per_token.state == HONE_MEASURED || r[i].energy_j_per_token.why[0]);
        assert_true(r[i].file_bytes > 0 && r[i].weights_bytes > 0 && r[i].kv_bytes > 0 && r[i].n_params > 7000000);
        assert_int_equal(r[i].context, 256);
        assert_false(r[i].reopened);
    }
    assert_true(r[0].weights_bytes > 3 * r[1].weights_bytes);
}

static void reopening_gives_the_same_kind_of_result(void **state)
{
    const char       *paths[] = { q8_0 };
    hone_bench_result r[1];
    hone_err          err = { 0 };
    (void)state;
    const hone_bench_options o = { .artefacts = paths, .n_artefacts = 1, .prompt = 8, .gen = 1, .repeat = 3, .reopen = true };
    if (hone_bench(&f.ctx, &o, r, &err) != HONE_OK) fail_msg("%s", err.cause);
    assert_true(r[0].reopened && r[0].prefill_tok_s.value > 0 && r[0].peak_rss_bytes.value > 1e6);
    assert_string_equal(r[0].decode_tok_s.why, "one generated token: nothing follows the first");
    assert_string_equal(r[0].ttft_p50.why, "3 samples, p50 needs 10");
}

/* hone-runner, the real plug-in, and one that does what a file's name says when it computes: one folder. */
static void one_death_is_one_failed_row(void **state)
{
    char        from[5000], to[5000];
    const char *links[][2] = { { "hone-runner", "hone-runner" },
                               { "hone-backend-llamacpp.so", "hone-backend-llamacpp.so" },
                               { "tests/plugins/hone-backend-bad.so", "hone-backend-bad.so" } };
    const char *paths[] = { file_of("x:abort", "x"), q8_0, file_of("bad.gguf", "not a model"), "/no/such.gguf", file_of("x:kill", "x"),
                            file_of("model.bin", "x") };
    const char *backends[] = { "bad", "llamacpp", "llamacpp", "llamacpp", "bad", NULL };
    enum { N = HONE_COUNT(paths) };
    hone_bench_result r[N];
    hone_err          err = { 0 };
    hone_ctx          ctx = f.ctx;
    (void)state;
    for (size_t i = 0; i < HONE_COUNT(links); i++) {
        (void)snprintf(from, sizeof from, "%s/%s", f.ctx.libexec_dir, links[i][0]);
        (void)snprintf(to, sizeof to, "%s/%s", f.dir, links[i][1]);
        assert_int_equal(symlink(from, to), 0);
    }
    ctx.libexec_dir = f.dir;
    const hone_bench_options o = { .artefacts = paths, .n_artefacts = N, .backends = backends, .prompt = 8, .gen = 4, .repeat = 3 };
    if (hone_bench(&ctx, &o, r, &err) != HONE_OK) fail_msg("%s", err.cause);
    static const char *const causes[N] = { "killed by signal 6", NULL, "bad.gguf", "/no/such.gguf", "killed by signal 9", "no runtime opens" };
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(r[i].failed, causes[i] != NULL);
        if (!causes[i]) {
            assert_true(r[i].decode_tok_s.value > 0);
            continue;
        }
        if (!strstr(r[i].failure, causes[i])) fail_msg("%s: %s", paths[i], r[i].failure);
        assert_int_equal(r[i].decode_tok_s.state, HONE_NOT_MEASURED);
        assert_true(r[i].decode_tok_s.why[0] && r[i].peak_rss_bytes.state == HONE_NOT_MEASURED);
    }
    json_t *j = hone_bench_json(&r[0]);
    assert_true(json_is_true(json_object_get(j, "failed")));
    assert_true(json_is_null(json_object_get(j, "decode_tok_s")));
    assert_non_null(json_object_get(json_object_get(j, "states"), "decode_tok_s"));
    json_decref(j);
}

static void all_failed_is_a_failure(void **state)
{
    const char       *paths[] = { "/no/such.gguf" };
    hone_bench_result r[1];
    hone_err          err = { 0 };
    (void)state;
    const hone_bench_options o = { .artefacts = paths, .n_artefacts = 1 };
    assert_int_equal(hone_bench(&f.ctx, &o, r, &err), HONE_EINPUT);
    assert_true(strstr(err.cause, "/no/such.gguf") && r[0].failed);
}

static void impossible_runs_are_refused(void **state)
{
    hone_bench_result r[1];
    hone_err          err = { 0 };
    (void)state;
    assert_int_equal(hone_bench(&f.ctx, &(hone_bench_options){ .n_artefacts = 0 }, r, &err), HONE_EUSAGE);
    assert_int_equal(hone_bench(&f.ctx, &(hone_bench_options){ .artefacts = &q8_0, .n_artefacts = 1, .context = 64 }, r, &err), HONE_EUSAGE);
    assert_string_equal(err.cause, "a context of 64 does not hold 128 prompt and 32 generated tokens");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_number_is_there_or_says_why), cmocka_unit_test(reopening_gives_the_same_kind_of_result),
        cmocka_unit_test(one_death_is_one_failed_row),       cmocka_unit_test(all_failed_is_a_failure),
        cmocka_unit_test(impossible_runs_are_refused),
    };
    fixture_open(&f);
    int rc = 77;
    if (fixture_have(&f, "llamacpp")) {
        f32 = fixture_gguf(&f, "examples/models/tale-8m", "f32");
        q8_0 = fixture_gguf(&f, "examples/models/tale-8m", "q8_0");
        rc = cmocka_run_group_tests(tests, NULL, NULL);
    }
    fixture_close(&f);
    return rc;
}
