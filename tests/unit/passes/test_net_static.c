/* Static int8 as a pass, on the network of tests/golden/digits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "formats/onnx/net.h"
#include "passes/net_fold.h"
#include "passes/net_static.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char MODEL[] = HONE_TEST_SOURCE_DIR "/tests/golden/digits/model.onnx";
static const hone_static_options plain = { .weight_max = 127 };

static void open_net(hone_net *net)
{
    hone_err        err = { 0 };
    hone_net_folded folded;
    if (hone_onnx_net_open(MODEL, net, &err) != HONE_OK) fail_msg("%s", err.cause);
    if (hone_net_fold(net, &folded, &err) != HONE_OK || hone_net_infer(net, &err) != HONE_OK) fail_msg("%s", err.cause);
}

static size_t count(const hone_net *net, const char *op)
{
    size_t n = 0;
    for (const hone_net_node *k = net->first; k; k = k->next) n += hone_net_is_op(k, op);
    return n;
}

/* Ranges as they might have been measured. */
static hone_static_range *ranges_for(hone_net *net, const hone_static_plan *p)
{
    hone_static_range *r = HONE_ARENA_NEW(&net->arena, hone_static_range, p->n_values);
    assert_non_null(r);
    for (size_t i = 0; i < p->n_values; i++) r[i] = (hone_static_range){ p->values[i], fmaxf(-2, p->clip_lo[i]), fminf(8, p->clip_hi[i]) };
    return r;
}

static void quantise(hone_net *net, const hone_static_options *opt, const hone_static_shift *shifts, size_t n)
{
    hone_static_plan p;
    hone_err         err = { 0 };
    if (hone_static_plan_make(net, opt, &p, &err) != HONE_OK) fail_msg("%s", err.cause);
    if (hone_static_apply(net, opt, ranges_for(net, &p), p.n_values, shifts, n, &err) != HONE_OK) fail_msg("%s", err.cause);
}

static void the_plan_has_every_layer_and_the_bounds_of_its_activation(void **state)
{
    hone_net         net;
    hone_static_plan p;
    hone_err         err = { 0 };
    (void)state;
    open_net(&net);
    assert_int_equal(hone_static_plan_make(&net, &plain, &p, &err), HONE_OK);
    assert_int_equal(p.n_layers, 11);
    assert_int_equal(p.n_other, 4); /* two Adds, the pool, Flatten */
    assert_int_equal(p.n_values, 14);
    assert_string_equal(p.values[0], "input");
    assert_string_equal(p.layers[0].node, "stem");
    assert_true(isinf(p.clip_lo[0]) && isinf(p.clip_hi[0]));
    assert_string_equal(p.values[1], "stem.relu6.out");
    assert_true(p.clip_lo[1] == 0 && p.clip_hi[1] == 6);
    for (size_t i = 0; i < p.n_values; i++) assert_string_not_equal(p.values[i], "logits"); /* outputs stay floats */
    hone_net_close(&net);
}

static void pairs_stand_where_runtimes_make_integers_of_them(void **state)
{
    hone_net net;
    (void)state;
    open_net(&net);
    quantise(&net, &plain, NULL, 0);
    assert_int_equal(count(&net, "QuantizeLinear"), 15); /* 14 ranges; Flatten moves one of them */
    assert_int_equal(count(&net, "DequantizeLinear"), 15 + 22); /* weights and biases */
    assert_int_equal(count(&net, "Clip"), 0); /* the codes end where they did */
    assert_int_equal(count(&net, "Relu"), 0);
    for (const hone_net_node *n = net.first; n; n = n->next) {
        if (!hone_net_is_op(n, "Conv") && !hone_net_is_op(n, "Add") && !hone_net_is_op(n, "Gemm")) continue;
        for (uint32_t i = 0; i < n->n_in; i++) assert_true(n->in[i]->from && hone_net_is_op(n->in[i]->from, "DequantizeLinear"));
    }
    /* a range of 0..6 in codes of 0..255 */
    const hone_net_value *zero = hone_net_find(&net, "stem.relu6.out.zero"), *scale = hone_net_find(&net, "stem.relu6.out.scale");
    assert_non_null(zero);
    assert_int_equal(zero->tensor->type, HONE_NET_U8);
    assert_int_equal(zero->tensor->data[0], 0);
    float s;
    memcpy(&s, scale->tensor->data, sizeof s);
    assert_true(fabsf(s - 6.0f / 255) < 1e-7f);
    hone_net_close(&net);
}

static void weights_come_back_within_half_a_step(void **state)
{
    hone_net a, b;
    hone_err err = { 0 };
    float   *w = NULL;
    (void)state;
    open_net(&a);
    open_net(&b);
    quantise(&b, &plain, NULL, 0);
    const hone_net_tensor *from = NULL;
    for (const hone_net_node *n = a.first; n; n = n->next)
        if (strcmp(n->name, "fc") == 0) from = hone_net_constant(hone_net_in(n, 1));
    assert_non_null(from);
    const hone_net_value *codes = hone_net_find(&b, "fc.weight.codes"), *scale = hone_net_find(&b, "fc.weight.scale");
    assert_non_null(codes);
    assert_int_equal(hone_net_tensor_floats(&a, from, &w, &err), HONE_OK);
    uint64_t inner = from->dims[1], channels = scale->tensor->n;
    assert_int_equal(channels, 10);
    for (uint64_t i = 0; i < from->n; i++) {
        float s, worst;
        memcpy(&s, scale->tensor->data + 4 * (channels == from->dims[0] ? i / inner : i % inner), sizeof s);
        int8_t q = (int8_t)codes->tensor->data[i];
        assert_int_not_equal(q, -128);
        worst = q == 127 || q == -127 ? 30 * s : s * 0.5001f; /* the largest may be cut by a better step */
        assert_true(fabsf((float)q * s - w[i]) <= worst);
    }
    free(w);
    hone_net_close(&a);
    hone_net_close(&b);
}

static void what_is_excluded_stays_as_it_was(void **state)
{
    static const char *const  globs[] = { "stem", "Add", "r2.*" };
    const hone_static_options opt = { .weight_max = 127, .exclude = globs, .n_exclude = 3 };
    hone_net                  net;
    (void)state;
    open_net(&net);
    quantise(&net, &opt, NULL, 0);
    for (const hone_net_node *n = net.first; n; n = n->next) {
        bool out = strcmp(n->name, "stem") == 0 || strcmp(n->op, "Add") == 0 || strncmp(n->name, "r2.", 3) == 0;
        if (out && hone_net_is_op(n, "Conv")) assert_null(hone_net_in(n, 1)->from);
        if (!out && hone_net_is_op(n, "Conv")) assert_non_null(hone_net_in(n, 1)->from);
    }
    assert_null(hone_net_find(&net, "input.codes"));
    hone_net_close(&net);
}

static void a_shift_moves_the_bias_and_makes_one_where_there_was_none(void **state)
{
    static const double     add[128] = { 0.5 };
    const hone_static_shift shift = { "logits", add };
    hone_net                a, b;
    (void)state;
    open_net(&a);
    open_net(&b);
    quantise(&a, &plain, NULL, 0);
    quantise(&b, &plain, &shift, 1);
    const hone_net_tensor *x = hone_net_find(&a, "fc.bias.codes")->tensor, *y = hone_net_find(&b, "fc.bias.codes")->tensor;
    assert_int_equal(x->type, HONE_NET_I32);
    int32_t before = (int32_t)hone_le32(x->data), after = (int32_t)hone_le32(y->data);
    assert_true(after > before);
    assert_memory_equal(x->data + 4, y->data + 4, 4 * 9);
    hone_net_close(&a);
    hone_net_close(&b);
}

static void seven_bits_signed_codes_and_one_scale_are_what_they_say(void **state)
{
    const hone_static_options opt = { .weight_max = 63, .per_tensor = true, .signed_codes = true, .sym = true };
    hone_net                  net;
    (void)state;
    open_net(&net);
    quantise(&net, &opt, NULL, 0);
    const hone_net_tensor *codes = hone_net_find(&net, "fc.weight.codes")->tensor, *zero = hone_net_find(&net, "input.zero")->tensor;
    for (uint64_t i = 0; i < codes->n; i++) assert_true(abs((int8_t)codes->data[i]) <= 63);
    assert_int_equal(hone_net_find(&net, "fc.weight.scale")->tensor->n_dims, 0);
    assert_int_equal(zero->type, HONE_NET_I8);
    assert_int_equal(zero->data[0], 0);
    hone_net_close(&net);
}

static void what_cannot_be_done_says_why(void **state)
{
    static const char *const  all[] = { "*" };
    const hone_static_options nothing = { .weight_max = 127, .exclude = all, .n_exclude = 1 };
    hone_net                  net;
    hone_static_plan          p;
    hone_err                  err = { 0 };
    (void)state;
    open_net(&net);
    assert_int_equal(hone_static_plan_make(&net, &nothing, &p, &err), HONE_EUNSUPPORTED);
    assert_string_equal(err.cause, "no Conv, Gemm or MatMul with constant float weights is left to be quantised");
    assert_int_equal(hone_static_apply(&net, &plain, NULL, 0, NULL, 0, &err), HONE_EINPUT);
    assert_string_equal(err.cause, "no range is known for 'input'");
    hone_net_close(&net);
    open_net(&net);
    assert_true(hone_net_opset_set(&net, "", 9));
    assert_int_equal(hone_static_plan_make(&net, &plain, &p, &err), HONE_EUNSUPPORTED);
    assert_string_equal(err.cause, "the model is of opset 9, QuantizeLinear came with opset 10");
    hone_net_close(&net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_plan_has_every_layer_and_the_bounds_of_its_activation), cmocka_unit_test(pairs_stand_where_runtimes_make_integers_of_them),
        cmocka_unit_test(weights_come_back_within_half_a_step),                      cmocka_unit_test(what_is_excluded_stays_as_it_was),
        cmocka_unit_test(a_shift_moves_the_bias_and_makes_one_where_there_was_none), cmocka_unit_test(seven_bits_signed_codes_and_one_scale_are_what_they_say),
        cmocka_unit_test(what_cannot_be_done_says_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
