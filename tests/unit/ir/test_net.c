/* test_net.c - edits of a net keep uses, makers and the names that subgraphs read; shapes are what numpy and the standard say. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "formats/onnx/net.h"
#include "passes/net_fold.h"
#include "passes/net_quant.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void open_golden(const char *name, hone_net *net)
{
    char     path[512];
    hone_err err = { 0 };
    (void)snprintf(path, sizeof path, HONE_TEST_SOURCE_DIR "/tests/golden/net/%s.onnx", name);
    if (hone_onnx_net_open(path, net, &err) != HONE_OK) fail_msg("%s", err.cause);
}

static hone_net_node *node_of(const hone_net *net, const char *op)
{
    for (hone_net_node *n = net->first; n; n = n->next)
        if (strcmp(n->op, op) == 0) return n;
    fail_msg("no %s", op);
    return NULL;
}

static void what_a_subgraph_reads_is_known_and_keeps_its_name(void **state)
{
    hone_net net;
    (void)state;
    open_golden("control", &net);
    hone_net_node  *branch = node_of(&net, "If"), *loop = node_of(&net, "Loop");
    hone_net_value *scale = hone_net_find(&net, "scale"), *c = hone_net_find(&net, "c");
    assert_true(branch->subgraphs && loop->subgraphs);
    assert_int_equal(branch->n_captures, 3); /* n1, scale, c */
    assert_int_equal(loop->n_captures, 1);
    assert_int_equal(scale->n_captures, 2);
    assert_int_equal(c->n_captures, 1);
    assert_null(hone_net_only_reader(c));
    assert_false(hone_net_redirect(&net, c, hone_net_find(&net, "x")));
    assert_int_equal(c->n_uses, 2);
    assert_null(hone_net_find(&net, "inner")); /* a value inside a subgraph is none of the graph's ... */
    assert_string_equal(hone_net_fresh(&net, "inner"), "inner.1"); /* ... but its name is taken */
    hone_net_folded f;
    hone_err        err = { 0 };
    assert_int_equal(hone_net_fold(&net, &f, &err), HONE_OK);
    assert_int_equal(f.left, 1); /* the Conv's result is read by a subgraph */
    assert_non_null(strstr(f.why, "read elsewhere"));
    hone_net_close(&net);
}

static void a_node_that_goes_takes_its_uses_along(void **state)
{
    hone_net net;
    (void)state;
    open_golden("mlp", &net);
    hone_net_node  *add = node_of(&net, "Add"), *relu = node_of(&net, "Relu");
    hone_net_value *sum = add->out[0], *x = add->in[0], *bias = add->in[1];
    size_t          nodes = net.n_nodes;
    assert_ptr_equal(hone_net_only_reader(sum), relu);
    assert_true(hone_net_redirect(&net, sum, x));
    hone_net_node_remove(&net, add);
    assert_int_equal(net.n_nodes, nodes - 1);
    assert_ptr_equal(relu->in[0], x);
    assert_int_equal(bias->n_uses, 0);
    assert_null(sum->from);
    hone_net_sweep(&net);
    assert_null(bias->tensor);
    assert_null(hone_net_find(&net, "b1"));
    hone_net_close(&net);
}

static void new_names_are_free_and_the_same_every_time(void **state)
{
    hone_net a, b;
    (void)state;
    open_golden("block", &a);
    open_golden("block", &b);
    for (int i = 0; i < 5; i++) assert_string_equal(hone_net_fresh(&a, "y"), hone_net_fresh(&b, "y"));
    const char *y = hone_net_fresh(&a, "y");
    assert_string_not_equal(y, "y");
    assert_string_not_equal(hone_net_fresh(&a, y), y);
    hone_net_close(&a);
    hone_net_close(&b);
}

static void shape_is(const hone_net *net, const char *value, const char *want)
{
    const hone_net_value *v = hone_net_find(net, value);
    char                  text[128] = "";
    if (!v) fail_msg("no value '%s'", value);
    for (int32_t d = 0; d < v->n_dims; d++) {
        size_t at = strlen(text);
        if (v->dims[d].n >= 0) (void)snprintf(text + at, sizeof text - at, "%s%lld", d ? " " : "", (long long)v->dims[d].n);
        else (void)snprintf(text + at, sizeof text - at, "%s%s", d ? " " : "", v->dims[d].name ? v->dims[d].name : "?");
    }
    assert_string_equal(text, want);
}

static void shapes_are_inferred_and_the_unknown_stays_unknown(void **state)
{
    hone_net net;
    hone_err err = { 0 };
    uint64_t macs;
    (void)state;
    open_golden("old7", &net);
    assert_int_equal(hone_net_infer(&net, &err), HONE_OK);
    shape_is(&net, "p", "n 3 10 10");
    shape_is(&net, "c", "n 16 4 4");
    shape_is(&net, "sq", "n 16");
    shape_is(&net, "up", "n 16 2 2");
    shape_is(&net, "r", "? 64"); /* -1 of a batch that is not known */
    assert_true(hone_net_macs(node_of(&net, "Conv"), &macs));
    assert_int_equal(macs, 16 * 4 * 4 * 3 * 3 * 3);
    hone_net_close(&net);
    open_golden("block", &net);
    assert_int_equal(hone_net_infer(&net, &err), HONE_OK);
    shape_is(&net, "e", "n t 64");
    shape_is(&net, "k", "n 4 16 t");
    shape_is(&net, "s2", "n 4 t t");
    hone_net_close(&net);
    open_golden("upconv", &net);
    assert_int_equal(hone_net_infer(&net, &err), HONE_OK);
    shape_is(&net, "u", "n 6 12 12");
    hone_net_close(&net);
    open_golden("control", &net);
    assert_int_equal(hone_net_infer(&net, &err), HONE_OK);
    assert_int_equal(hone_net_find(&net, "branch")->n_dims, -1);
    assert_false(hone_net_macs(node_of(&net, "If"), &macs));
    hone_net_close(&net);
}

static void inputs_that_are_constants_are_constants_only(void **state)
{
    hone_net net;
    (void)state;
    open_golden("old7", &net);
    assert_int_equal(net.n_inputs, 9);
    assert_null(hone_net_constant(hone_net_find(&net, "w")));
    assert_int_equal(hone_net_demote_inputs(&net), 8);
    assert_int_equal(net.n_inputs, 1);
    assert_int_equal(net.ir_version, 4);
    assert_non_null(hone_net_constant(hone_net_find(&net, "w")));
    hone_net_close(&net);
}

static void an_older_opset_becomes_a_newer_or_says_why_not(void **state)
{
    hone_net net;
    hone_err err = { 0 };
    (void)state;
    open_golden("old7", &net);
    (void)hone_net_demote_inputs(&net);
    assert_int_equal(hone_net_infer(&net, &err), HONE_OK);
    assert_int_equal(hone_net_raise(&net, 13, &err), HONE_OK);
    assert_int_equal(hone_net_opset_of(&net, ""), 13);
    assert_int_equal(node_of(&net, "Clip")->n_in, 3);
    assert_int_equal(node_of(&net, "Resize")->n_in, 3);
    assert_int_equal(node_of(&net, "Squeeze")->n_in, 2);
    assert_null(hone_net_attr_find(node_of(&net, "Slice"), "starts"));
    hone_net_close(&net);
    open_golden("control", &net);
    assert_int_equal(hone_net_raise(&net, 21, &err), HONE_EUNSUPPORTED);
    assert_string_equal(err.cause, "If 'branch' of opset 13 cannot be one of opset 21: the operators of its subgraphs are kept as they are");
    assert_int_equal(hone_net_opset_of(&net, ""), 13);
    hone_net_close(&net);
}

static void numbers_beyond_f16_become_its_largest_and_are_told(void **state)
{
    const float            big[4] = { 1e6f, -1e6f, 1e-9f, 2.0f };
    hone_net               net;
    hone_net_quant_options o = { 0 };
    hone_net_quanted       q;
    hone_err               err = { 0 };
    float                 *x;
    (void)state;
    open_golden("mlp", &net);
    assert_int_equal(hone_net_infer(&net, &err), HONE_OK);
    hone_net_value *c = hone_net_constant_new(&net, "big", HONE_NET_F32, (const uint64_t[]){ 4 }, 1, big), *y = hone_net_value_new(&net, "more", HONE_NET_F32);
    assert_non_null(hone_net_node_new(&net, NULL, "Identity", "", &c, 1, &y, 1));
    y->output = true;
    assert_int_equal(hone_net_to_f16(&net, &o, &q, &err), HONE_OK);
    assert_int_equal(q.n_notes, 2);
    assert_string_equal(q.notes[0], "2 constants are beyond 65504, the largest f16, and became that");
    assert_string_equal(q.notes[1], "1 constants are nearer to 0 than the smallest f16 and became 0");
    const hone_net_value *h = hone_net_find(&net, "big.f16");
    assert_non_null(h);
    assert_int_equal(hone_net_tensor_floats(&net, h->tensor, &x, &err), HONE_OK);
    assert_true(x[0] == 65504.0f && x[1] == -65504.0f && x[2] == 0 && x[3] == 2);
    free(x);
    hone_net_close(&net);
}

static void weights_that_are_not_finite_stay_floats(void **state)
{
    hone_net               net;
    hone_net_quant_options o = { .bits = 8 };
    hone_net_quanted       q;
    hone_err               err = { 0 };
    (void)state;
    open_golden("mlp", &net);
    hone_net_value *w = hone_net_find(&net, "w1");
    uint8_t        *raw = hone_arena_alloc(&net.arena, (size_t)w->tensor->bytes);
    assert_int_equal(hone_net_tensor_read(&net, w->tensor, 0, raw, (size_t)w->tensor->bytes, &err), HONE_OK);
    hone_put_le32(raw + 40, 0x7f800000); /* infinity */
    w->tensor->data = raw;
    assert_int_equal(hone_net_infer(&net, &err), HONE_OK);
    assert_int_equal(hone_net_weights(&net, &o, &q, &err), HONE_OK);
    assert_int_equal(q.changed, 1);
    assert_int_equal(q.left, 1);
    assert_string_equal(q.notes[0], "weight 'w1' has numbers that are not finite");
    hone_net_close(&net);
}

static void large_constants_go_into_a_file_of_their_own_and_come_back(void **state)
{
    char                  dir[] = "/tmp/hone-net-XXXXXX", file[64], data[64];
    hone_net              a, b;
    hone_err              err = { 0 };
    hone_onnx_net_written w;
    (void)state;
    assert_non_null(mkdtemp(dir));
    open_golden("block", &a);
    assert_int_equal(hone_onnx_net_write(&(hone_ctx){ 0 }, &a, dir, "m.onnx", 0, &w, &err), HONE_OK);
    assert_true(w.external);
    (void)snprintf(file, sizeof file, "%s/m.onnx", dir);
    (void)snprintf(data, sizeof data, "%s/m.onnx.data", dir);
    if (hone_onnx_net_open(file, &b, &err) != HONE_OK) fail_msg("%s", err.cause);
    assert_int_equal(a.n_constants, b.n_constants);
    for (size_t i = 0; i < a.n_constants; i++) {
        const hone_net_tensor *x = a.constants[i]->tensor, *y = b.constants[i]->tensor;
        assert_string_equal(a.constants[i]->name, b.constants[i]->name);
        assert_int_equal(x->bytes, y->bytes);
        assert_int_equal(y->file, x->bytes >= 1024 ? 1 : 0);
        if (y->file) assert_int_equal(y->offset % 4096, 0);
        uint8_t *p = malloc((size_t)x->bytes + 1), *q = malloc((size_t)x->bytes + 1);
        assert_int_equal(hone_net_tensor_read(&a, x, 0, p, (size_t)x->bytes, &err), HONE_OK);
        assert_int_equal(hone_net_tensor_read(&b, y, 0, q, (size_t)x->bytes, &err), HONE_OK);
        assert_memory_equal(p, q, x->bytes);
        free(p);
        free(q);
    }
    hone_net_close(&a);
    hone_net_close(&b);
    assert_int_equal(unlink(file), 0);
    assert_int_equal(unlink(data), 0);
    assert_int_equal(rmdir(dir), 0);
}

static void damaged_files_are_refused_by_their_cause(void **state)
{
    static const struct { const char *file, *cause; } rows[] = {
        { "plain-made-twice", "constant 'm' is there twice" },
        { "plain-no-graph", "the file has no graph" },
        { "plain-negative-dimension", "a dimension of a constant is negative" },
        { "plain-two-graphs", "the file has two graphs, which stand for one" },
        { "plain-huge-shape", "the shape of constant 'w' is larger than any memory" },
    };
    (void)state;
    for (size_t i = 0; i < HONE_COUNT(rows); i++) {
        char     path[512];
        hone_net net;
        hone_err err = { 0 };
        (void)snprintf(path, sizeof path, HONE_TEST_SOURCE_DIR "/tests/golden/fuzz/onnx_net/%s", rows[i].file);
        if (hone_onnx_net_open(path, &net, &err) == HONE_OK) fail_msg("%s is read", rows[i].file);
        if (!strstr(err.cause, rows[i].cause)) fail_msg("%s: %s", rows[i].file, err.cause);
    }
}

static void equal_constants_of_one_name_are_one_and_left_out_inputs_at_the_end_go(void **state)
{
    static const uint8_t bytes[4] = { 1, 2, 3, 4 }, others[4] = { 1, 2, 3, 5 };
    const uint64_t       line = 4, square[2] = { 2, 2 };
    hone_net             net;
    (void)state;
    open_golden("odd", &net);
    hone_net_value *a = hone_net_constant_same(&net, "codes", HONE_NET_I8, &line, 1, bytes);
    assert_non_null(a);
    assert_ptr_equal(hone_net_constant_same(&net, "codes", HONE_NET_I8, &line, 1, bytes), a);
    assert_ptr_not_equal(hone_net_constant_same(&net, "codes", HONE_NET_I8, &line, 1, others), a);
    assert_ptr_not_equal(hone_net_constant_same(&net, "codes", HONE_NET_I8, square, 2, bytes), a);
    assert_ptr_not_equal(hone_net_constant_same(&net, "codes", HONE_NET_U8, &line, 1, bytes), a);
    hone_net_node *gemm = node_of(&net, "Gemm"); /* its bias is "" */
    assert_int_equal(gemm->n_in, 3);
    hone_net_trim(&net);
    assert_int_equal(gemm->n_in, 2);
    hone_net_close(&net);
}

static void functions_keep_their_opset_and_value_info_says_nothing_of_outputs(void **state)
{
    hone_net net;
    hone_err err = { 0 };
    (void)state;
    open_golden("odd", &net);
    assert_true(net.functions);
    assert_int_equal(hone_net_raise(&net, 21, &err), HONE_EUNSUPPORTED);
    assert_string_equal(err.cause, "the model is of opset 17 and cannot be one of opset 21: its functions are kept as they are");
    assert_int_equal(hone_net_opset_of(&net, ""), 17);
    assert_int_equal(net.outputs[0]->dims[1].n, 6); /* value_info has it without */
    hone_net_close(&net);
}

static void operators_that_know_no_f16_or_that_nothing_is_known_of_stay_f32(void **state)
{
    static const char *const     wide[] = { "m" };
    const hone_net_quant_options plain = { .bits = 8 }, told = { .bits = 8, .wide = wide, .n_wide = 1 };
    hone_net                     a, b;
    hone_net_quanted             q;
    hone_err                     err = { 0 };
    (void)state;
    open_golden("odd", &a);
    open_golden("wide", &b);
    assert_int_equal(hone_net_infer(&a, &err), HONE_OK);
    assert_int_equal(hone_net_infer(&b, &err), HONE_OK);
    assert_int_equal(hone_net_to_f16(&a, &plain, &q, &err), HONE_OK);
    assert_int_equal(node_of(&a, "Celu")->in[0]->type, HONE_NET_F32);
    assert_int_equal(node_of(&a, "IsInf")->in[0]->type, HONE_NET_F32);
    assert_int_equal(node_of(&a, "LayerNormalization")->out[0]->type, HONE_NET_F16);
    assert_int_equal(node_of(&a, "LayerNormalization")->out[2]->type, HONE_NET_F32);
    assert_int_equal(hone_net_to_f16(&b, &told, &q, &err), HONE_OK);
    assert_int_equal(node_of(&b, "Sqrt")->in[0]->type, HONE_NET_F32); /* its result is beyond f16 */
    assert_int_equal(node_of(&b, "MatMul")->in[1]->type, HONE_NET_F32); /* what Loop gives has no known type */
    assert_int_equal(node_of(&b, "Conv")->in[1]->type, HONE_NET_F16);
    hone_net_close(&a);
    hone_net_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_subgraph_reads_is_known_and_keeps_its_name),
        cmocka_unit_test(a_node_that_goes_takes_its_uses_along),
        cmocka_unit_test(new_names_are_free_and_the_same_every_time),
        cmocka_unit_test(shapes_are_inferred_and_the_unknown_stays_unknown),
        cmocka_unit_test(inputs_that_are_constants_are_constants_only),
        cmocka_unit_test(an_older_opset_becomes_a_newer_or_says_why_not),
        cmocka_unit_test(numbers_beyond_f16_become_its_largest_and_are_told),
        cmocka_unit_test(weights_that_are_not_finite_stay_floats),
        cmocka_unit_test(large_constants_go_into_a_file_of_their_own_and_come_back),
        cmocka_unit_test(damaged_files_are_refused_by_their_cause),
        cmocka_unit_test(equal_constants_of_one_name_are_one_and_left_out_inputs_at_the_end_go),
        cmocka_unit_test(functions_keep_their_opset_and_value_info_says_nothing_of_outputs),
        cmocka_unit_test(operators_that_know_no_f16_or_that_nothing_is_known_of_stay_f32),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
