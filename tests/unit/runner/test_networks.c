/* Networks without tokens in their runtimes: what every plug-in with `infer` must do, asked of those that are here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "runner/fixture.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { IMAGES = 100, PIXELS = 32 * 32, CLASSES = 10 };

static fixture      f;
static const char  *backend, *model;
static const float *inputs, *logits;
static bool         openvino;

typedef struct seen {
    float    values[IMAGES * CLASSES];
    char     names[4][64];
    size_t   n, inner;
    int64_t  batch;
} seen;

static void look(void *user, const hone_backend_value *v)
{
    seen *s = user;
    assert_true(s->n < 4);
    (void)snprintf(s->names[s->n++], sizeof s->names[0], "%s", v->name);
    uint64_t bytes = 0;
    assert_true(hone_backend_value_bytes(v->type, v->dims, v->rank, &bytes));
    assert_int_equal(bytes, v->bytes);
    if (s->n > 1) {
        s->inner = v->bytes;
        return;
    }
    assert_int_equal(v->type, HONE_BACKEND_F32);
    assert_int_equal(v->rank, 2);
    assert_int_equal(v->dims[1], CLASSES);
    s->batch = v->dims[0];
    memcpy(s->values, v->data, v->bytes);
}

static hone_backend_value image(const char *name, int64_t n)
{
    return (hone_backend_value){ .name = name, .type = HONE_BACKEND_F32, .rank = 4, .dims = { n, 1, 32, 32 }, .data = inputs, .bytes = (size_t)n * PIXELS * sizeof(float) };
}

static hone_runner *start(hone_backend_open how)
{
    hone_backend_info info;
    how.path = model;
    how.graph = how.exact = true;
    return fixture_run(&f, backend, how, &info);
}

static void the_signature_says_names_types_and_shapes(void **state)
{
    hone_arena     a = { 0 };
    hone_signature s;
    hone_err       err = { 0 };
    hone_runner   *r = start((hone_backend_open){ 0 });
    (void)state;
    assert_int_equal(hone_runner_signature(r, &a, &s, &err), HONE_OK);
    assert_int_equal(s.n_in, 1);
    assert_int_equal(s.n_out, 1);
    assert_string_equal(s.in[0].name, "input");
    assert_string_equal(s.out[0].name, "logits");
    assert_int_equal(s.in[0].type, HONE_BACKEND_F32);
    assert_int_equal(s.in[0].rank, 4);
    assert_int_equal(s.in[0].dims[0], -1);
    assert_int_equal(s.in[0].dims[3], 32);
    if (!openvino) assert_string_equal(s.in[0].symbols[0], "batch");
    hone_runner_stop(r);
    hone_arena_release(&a);
}

static void every_batch_gives_the_reference_s_logits(void **state)
{
    hone_err     err = { 0 };
    hone_runner *r = start((hone_backend_open){ 0 });
    (void)state;
    for (int64_t n = 1; n <= IMAGES; n = n < 7 ? 7 : n < IMAGES ? IMAGES : IMAGES + 1) {
        seen               s = { .n = 0 };
        hone_backend_value in = image("input", n);
        double             ms = -1;
        if (hone_runner_infer(r, &in, 1, look, &s, &ms, &err) != HONE_OK) fail_msg("%s", err.cause);
        assert_int_equal(s.n, 1);
        assert_int_equal(s.batch, n);
        assert_true(ms >= 0);
        for (int64_t i = 0; i < n * CLASSES; i++) assert_true(fabsf(s.values[i] - logits[i]) < 1e-3f);
    }
    hone_runner_stop(r);
}

static void a_value_inside_is_shown_behind_the_outputs(void **state)
{
    static const char *const names[] = { "r1.out" };
    hone_err                 err = { 0 };
    hone_runner             *r = start((hone_backend_open){ .outputs = names, .n_outputs = 1 });
    seen                     s = { .n = 0 };
    hone_backend_value       in = image("input", 2);
    (void)state;
    if (hone_runner_infer(r, &in, 1, look, &s, NULL, &err) != HONE_OK) fail_msg("%s", err.cause);
    assert_int_equal(s.n, 2);
    assert_string_equal(s.names[0], "logits");
    assert_string_equal(s.names[1], "r1.out");
    assert_true(s.inner > 0);
    hone_runner_stop(r);
}

/* The child lives on after each. */
static void what_does_not_fit_is_refused_by_name(void **state)
{
    hone_err           err = { 0 };
    hone_runner       *r = start((hone_backend_open){ 0 });
    hone_backend_value other = image("other", 1), type = image("input", 1), shape = image("input", 1), good = image("input", 1);
    const int32_t      ids[] = { 1 };
    seen               s = { .n = 0 };
    (void)state;
    type.type = HONE_BACKEND_I32;
    shape.dims[2] = 16;
    shape.bytes /= 2;
    assert_int_equal(hone_runner_infer(r, &other, 1, look, &s, NULL, &err), HONE_EINPUT);
    assert_non_null(strstr(err.cause, "nothing is given for the input 'input'"));
    assert_int_equal(hone_runner_infer(r, &type, 1, look, &s, NULL, &err), HONE_EINPUT);
    assert_non_null(strstr(err.cause, "'input'"));
    assert_int_not_equal(hone_runner_infer(r, &shape, 1, look, &s, NULL, &err), HONE_OK);
    assert_int_equal(hone_runner_forward(r, ids, 1, 0, NULL, NULL, NULL, NULL, &err), HONE_EUNSUPPORTED);
    assert_int_equal(hone_runner_infer(r, &good, 1, look, &s, NULL, &err), HONE_OK);
    hone_runner_stop(r);
}

static void onnx_becomes_ir_that_computes_the_same(void **state)
{
    hone_err           err = { 0 };
    hone_runner       *r = start((hone_backend_open){ 0 });
    seen               s = { .n = 0 };
    hone_backend_value in = image("input", 3);
    char               xml[5000];
    (void)state;
    (void)snprintf(xml, sizeof xml, "%s/digits.xml", f.dir);
    hone_code code = hone_runner_translate(r, model, xml, false, &err);
    if (!openvino) {
        assert_int_equal(code, HONE_EUNSUPPORTED);
        hone_runner_stop(r);
        return;
    }
    if (code != HONE_OK) fail_msg("%s", err.cause);
    hone_runner_stop(r);
    hone_backend_info info;
    r = fixture_run(&f, backend, (hone_backend_open){ .path = xml, .graph = true, .exact = true }, &info);
    if (hone_runner_infer(r, &in, 1, look, &s, NULL, &err) != HONE_OK) fail_msg("%s", err.cause);
    for (size_t i = 0; i < 3 * CLASSES; i++) assert_true(fabsf(s.values[i] - logits[i]) < 1e-3f);
    hone_runner_stop(r);
}

int main(void)
{
    static const char *const backends[] = { "onnxruntime", "openvino" };
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(the_signature_says_names_types_and_shapes), cmocka_unit_test(every_batch_gives_the_reference_s_logits),
        cmocka_unit_test(a_value_inside_is_shown_behind_the_outputs), cmocka_unit_test(what_does_not_fit_is_refused_by_name),
        cmocka_unit_test(onnx_becomes_ir_that_computes_the_same),
    };
    int failed = 0, ran = 0;
    fixture_open(&f);
    const char *data = HONE_TEST_SOURCE_DIR "/tests/golden/digits/test.safetensors";
    model = HONE_TEST_SOURCE_DIR "/tests/golden/digits/model.onnx";
    inputs = fixture_tensor(&f, data, "inputs", (size_t)IMAGES * PIXELS, 4);
    logits = fixture_tensor(&f, data, "logits", (size_t)IMAGES * CLASSES, 4);
    for (size_t i = 0; i < 2; i++) {
        backend = backends[i];
        openvino = i == 1;
        if (!fixture_have(&f, backend)) continue;
        ran++;
        failed += cmocka_run_group_tests_name(backend, tests, NULL, NULL);
    }
    fixture_close(&f);
    return failed ? 1 : ran ? 0 : 77;
}
