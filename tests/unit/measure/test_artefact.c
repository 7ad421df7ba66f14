/* What lies at a path: format, runtime, files, precision, digest; and what is refused, by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/file.h"
#include "flow/convert.h"
#include "measure/artefact.h"
#include "runner/fixture.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static fixture f;

static const char *at(const char *name)
{
    const char *p = hone_arena_printf(&f.a, "%s/%s", f.dir, name);
    assert_non_null(p);
    return p;
}

static void put(const char *name, const char *text)
{
    hone_err err = { 0 };
    if (hone_out_put(at(name), text, strlen(text), &err) != HONE_OK) fail_msg("%s", err.cause);
}

static void every_format_that_convert_writes_is_known(void **state)
{
    static const struct { const char *quant, *format, *backend, *precision, *deployed; } made[] = {
        { "gguf=f32", "gguf", "llamacpp", "f32", NULL },         { "gguf=bf16", "gguf", "llamacpp", "bf16", NULL },
        { "gguf=q4_0", "gguf", "llamacpp", "quantised", NULL },  { "mlx=bf16", "mlx", "mlx", "bf16", "mlx_lm" },
        { "mlx=int4", "mlx", "mlx", "quantised", "mlx_lm" },     { "onnx=f32", "onnx", "onnxruntime", "f32", "onnxruntime-genai" },
        { "onnx=f16", "onnx", "onnxruntime", "f16", "onnxruntime-genai" }, { "onnx=int4", "onnx", "onnxruntime", "quantised", "onnxruntime-genai" },
        { "openvino=f16", "openvino", "openvino", "f16", "openvino-genai" }, { "openvino=int8", "openvino", "openvino", "quantised", "openvino-genai" },
    };
    enum { N = HONE_COUNT(made) };
    const char         *quants[N];
    hone_err            err = { 0 };
    hone_model          m = { 0 };
    hone_convert_result res = { 0 };
    (void)state;
    for (size_t i = 0; i < N; i++) quants[i] = made[i].quant;
    if (hone_model_open(&f.ctx, HONE_TEST_SOURCE_DIR "/tests/golden/tiny/llama", &m, &err) != HONE_OK) fail_msg("%s", err.cause);
    const hone_convert_options opt = { .quants = quants, .n_quants = N, .out_dir = at("made"), .name = "m" };
    if (hone_convert(&f.ctx, &m, &opt, &res, &err) != HONE_OK) fail_msg("%s", err.cause);
    for (size_t i = 0; i < N; i++) {
        hone_artefact x;
        char          precision[16], hex[65];
        hone_facts    facts;
        bool          known, encoder = true;
        if (hone_artefact_open(res.outputs[i].path, &f.a, &x, &err) != HONE_OK) fail_msg("%s: %s", made[i].quant, err.cause);
        assert_string_equal(x.format, made[i].format);
        assert_string_equal(x.backend, made[i].backend);
        if (made[i].deployed) assert_string_equal(x.deployed, made[i].deployed);
        else assert_null(x.deployed);
        assert_int_equal(hone_artefact_precision(&x, precision, sizeof precision, &err), HONE_OK);
        assert_string_equal(precision, made[i].precision);
        assert_int_equal(x.bytes, res.outputs[i].bytes);
        assert_int_equal(hone_artefact_digest(&x, hex, &err), HONE_OK);
        assert_string_equal(hex, res.outputs[i].sha256); /* convert and measure mean the same files */
        assert_int_equal(hone_artefact_facts(&x, &f.a, &facts, &known, &err), HONE_OK);
        assert_int_equal(known, x.folder != NULL);
        if (known) assert_int_equal(facts.vocab, m.facts.vocab);
        assert_int_equal(hone_artefact_encoder(&x, &encoder, &err), HONE_OK);
        assert_false(encoder);
    }
    hone_convert_result_release(&res);
    hone_model_close(&m);
}

static void what_is_no_artefact_is_refused_by_name(void **state)
{
    static const struct { const char *path; hone_code code; const char *cause; } tried[] = {
        { "nothing", HONE_EINPUT, "there is no '" },
        { "notes.txt", HONE_EUNSUPPORTED, "no runtime opens '" },
        { "empty", HONE_EUNSUPPORTED, "is a folder, not an artefact" },
        { "several", HONE_EINPUT, "holds 2 .onnx files" },
        { "ggufs", HONE_EINPUT, "holds 2 .gguf files" },
    };
    hone_err      err = { 0 };
    hone_artefact x = { .n_files = 77 };
    (void)state;
    for (size_t i = 2; i < HONE_COUNT(tried); i++) assert_int_equal(mkdir(at(tried[i].path), 0755), 0);
    put("notes.txt", "x");
    put("several/a.onnx", "x");
    put("several/b.onnx", "x");
    put("ggufs/a.gguf", "x");
    put("ggufs/b.gguf", "x");
    for (size_t i = 0; i < HONE_COUNT(tried); i++) {
        assert_int_equal(hone_artefact_open(at(tried[i].path), &f.a, &x, &err), tried[i].code);
        if (!strstr(err.cause, tried[i].cause)) fail_msg("%s: %s", tried[i].path, err.cause);
        assert_int_equal(x.n_files, 77);
    }
    assert_int_equal(hone_artefact_open(HONE_TEST_SOURCE_DIR "/tests/golden/tiny/llama", &f.a, &x, &err), HONE_EUNSUPPORTED);
    assert_non_null(strstr(err.cause, "is a checkpoint, not an artefact"));
}

static void the_model_that_genai_config_names_is_taken(void **state)
{
    hone_err      err = { 0 };
    hone_artefact x;
    (void)state;
    put("several/genai_config.json", "{\"model\":{\"decoder\":{\"filename\":\"b.onnx\"}}}");
    assert_int_equal(hone_artefact_open(at("several"), &f.a, &x, &err), HONE_OK);
    assert_string_equal(x.model, at("several/b.onnx"));
    assert_string_equal(x.folder, at("several"));
    assert_int_equal(x.n_files, 3);
    put("lone.onnx", "x");
    put("lone.onnx.data", "xy");
    assert_int_equal(hone_artefact_open(at("lone.onnx"), &f.a, &x, &err), HONE_OK);
    assert_int_equal(x.bytes, 3); /* its weights lie beside it */
    assert_int_equal(hone_artefact_open(at("several/b.onnx"), &f.a, &x, &err), HONE_OK);
    assert_int_equal(x.n_files, 1);
}

static void names_for_people_leave_out_what_says_nothing(void **state)
{
    static const char *const pairs[][2] = { { "out/m-q4_0.gguf", "m-q4_0" }, { "out/m-int4-onnx/", "m-int4-onnx" }, { "out/m-int4-onnx/model.onnx", "m-int4-onnx" },
                                            { "m/openvino_model.xml", "m" }, { "model.onnx", "model" }, { "x\n", "x\\x0a" } };
    char buf[80];
    (void)state;
    for (size_t i = 0; i < HONE_COUNT(pairs); i++) assert_string_equal(hone_artefact_name(pairs[i][0], buf, sizeof buf), pairs[i][1]);
}

static int open_all(void **state)
{
    (void)state;
    fixture_open(&f);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    fixture_close(&f);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_format_that_convert_writes_is_known), cmocka_unit_test(what_is_no_artefact_is_refused_by_name),
        cmocka_unit_test(the_model_that_genai_config_names_is_taken), cmocka_unit_test(names_for_people_leave_out_what_says_nothing),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
