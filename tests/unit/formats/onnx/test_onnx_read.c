/* test_onnx_read.c - model.onnx from bytes nobody promised anything about: what is said of each kind of damage.  The files are the seeds of
 * the fuzz target, made by onnx 1.23.2 and by hand. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/file.h"
#include "formats/onnx.h"
#include <stdio.h>

typedef struct opened {
    hone_arena     a;
    hone_bytes     bytes;
    hone_onnx_file f;
    hone_err       err;
} opened;

static hone_code open_seed(opened *o, const char *name)
{
    char path[512];
    *o = (opened){ 0 };
    snprintf(path, sizeof path, "%s/tests/golden/fuzz/onnx/%s", HONE_TEST_SOURCE_DIR, name);
    assert_int_equal(hone_file_slurp(path, 1u << 20, &o->a, &o->bytes, &o->err), HONE_OK);
    o->f.n_nodes = 77;
    return hone_onnx_read(o->bytes, &o->a, &o->f, &o->err);
}

static void a_model_by_onnx_is_read_as_it_was_made(void **state)
{
    opened o;
    (void)state;
    if (open_seed(&o, "by-onnx") != HONE_OK) fail_msg("%s", o.err.cause);
    assert_int_equal(o.f.ir_version, 10);
    assert_int_equal(o.f.opset, 21);
    assert_int_equal(o.f.opset_ms, 1);
    assert_int_equal(o.f.n_nodes, 1);
    assert_int_equal(o.f.n_foreign, 0);
    assert_int_equal(o.f.n_tensors, 3);
    assert_string_equal(o.f.inputs[0], "x");
    assert_string_equal(o.f.outputs[0], "y");
    const hone_onnx_tensor *m = &o.f.tensors[0], *w = &o.f.tensors[1], *q = &o.f.tensors[2];
    assert_null(m->location);
    assert_int_equal(m->data.len, 64);
    assert_string_equal(w->location, "model.onnx.data");
    assert_int_equal(w->offset, 64);
    assert_int_equal(w->length, 64);
    assert_int_equal(w->dims[1], 4);
    assert_int_equal(q->length, 5); /* nine values of four bits */
    hone_arena_release(&o.a);
}

static void what_is_wrong_is_said(void **state)
{
    static const struct { const char *file, *cause; } bad[] = {
        { "shape-lies", "tensor 'w' has 64 bytes, its shape needs 80" },
        { "huge-shape", "the shape of tensor 'w' is larger than any memory" },
        { "offset-no-number", "the offset of a tensor's external data is no number" },
        { "no-location", "tensor 'w' lies in another file, which is not named" },
        { "made-twice", "value 'm' is made twice" },
        { "reads-nothing", "a node reads 'z', which nothing before it makes" },
        { "output-of-none", "an output of the model is made by no node" },
        { "two-graphs", "the model has two graphs" },
        { "no-graph", "the model has no graph" },
        { "negative-dimension", "a dimension of a tensor is negative" },
        { "nul-in-name", "a tensor has no name" },
        { "cut", "the model is broken, 10 bytes before its end" },
        { "varint-too-long", "the model is broken, 12 bytes before its end" },
        { "groups", "the model is broken, 2 bytes before its end" },
        { "length-past-the-end", "the model is broken, 6 bytes before its end" },
    };
    (void)state;
    for (size_t i = 0; i < HONE_COUNT(bad); i++) {
        opened o;
        assert_int_equal(open_seed(&o, bad[i].file), HONE_EINPUT);
        assert_string_equal(o.err.cause, bad[i].cause);
        assert_int_equal(o.f.n_nodes, 77); /* out is untouched */
        hone_arena_release(&o.a);
    }
}

static void nesting_costs_nothing(void **state)
{
    opened o;
    (void)state;
    assert_int_equal(open_seed(&o, "deep"), HONE_OK); /* thousands of graphs in graphs: the outermost is read */
    assert_int_equal(o.f.n_nodes, 1);
    hone_arena_release(&o.a);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(a_model_by_onnx_is_read_as_it_was_made), cmocka_unit_test(what_is_wrong_is_said),
                                        cmocka_unit_test(nesting_costs_nothing) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
