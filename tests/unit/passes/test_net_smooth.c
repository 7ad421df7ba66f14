/* Channels that are evened out: which places can be, what becomes of their constants, and that ONNX Runtime computes the same of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "formats/onnx/net.h"
#include "measure/network.h"
#include "passes/net_smooth.h"
#include "runner/fixture.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- small networks ---- */

static uint32_t seed;

static float noise(void) /* -1 .. 1 */
{
    seed = seed * 1664525u + 1013904223u;
    return (float)(seed >> 8) / 8388608.0f - 1;
}

#define DIMS(...) (const int64_t[]){ __VA_ARGS__ }, sizeof((const int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)

static hone_net_value *constant(hone_net *net, const char *name, const int64_t *shape, size_t rank)
{
    uint64_t dims[8], n = 1;
    for (size_t i = 0; i < rank; i++) n *= dims[i] = (uint64_t)shape[i];
    float *x = malloc(n * sizeof *x);
    assert_non_null(x);
    for (uint64_t i = 0; i < n; i++) x[i] = noise();
    hone_net_value *v = hone_net_constant_new(net, name, HONE_NET_F32, dims, (uint32_t)rank, x);
    free(x);
    assert_non_null(v);
    return v;
}

static hone_net_value *value(hone_net *net, const char *name, const int64_t *shape, size_t rank)
{
    hone_net_value *v = hone_net_value_get(net, name);
    hone_net_dim   *dims = HONE_ARENA_NEW(&net->arena, hone_net_dim, rank + 1);
    assert_true(v && dims);
    for (size_t i = 0; i < rank; i++) dims[i] = (hone_net_dim){ shape[i], NULL };
    assert_true(hone_net_value_shape(net, v, HONE_NET_F32, dims, (int32_t)rank));
    return v;
}

static hone_net_value *begin(hone_net *net, const int64_t *shape, size_t rank)
{
    *net = (hone_net){ .ir_version = 8, .name = "smooth", .producer = "test", .path = "memory" };
    seed = 7;
    assert_true(hone_net_opset_set(net, "", 17));
    hone_net_value *x = value(net, "x", shape, rank);
    x->input = true;
    net->inputs = HONE_ARENA_NEW(&net->arena, hone_net_value *, 1);
    assert_non_null(net->inputs);
    net->inputs[net->n_inputs++] = x;
    return x;
}

static void finish(hone_net *net, hone_net_value *y)
{
    hone_err err = { 0 };
    y->output = true;
    net->outputs = HONE_ARENA_NEW(&net->arena, hone_net_value *, 1);
    assert_non_null(net->outputs);
    net->outputs[net->n_outputs++] = y;
    if (hone_net_infer(net, &err) != HONE_OK) fail_msg("%s", err.cause);
}

static hone_net_node *node(hone_net *net, const char *op, hone_net_value *a, hone_net_value *b, hone_net_value *c, const char *out)
{
    hone_net_value *in[3] = { a, b, c }, *y = hone_net_value_get(net, out);
    assert_true(y && !y->tensor && !y->from);
    hone_net_node  *n = hone_net_node_new(net, NULL, op, "", in, c ? 3 : b ? 2 : 1, &y, 1);
    assert_non_null(n);
    return n;
}

static hone_net_value *put(hone_net *net, const char *op, hone_net_value *a, hone_net_value *b, hone_net_value *c, const char *out)
{
    return node(net, op, a, b, c, out)->out[0];
}

static hone_net_value *conv(hone_net *net, hone_net_value *x, int64_t out, int64_t in, int64_t k, int64_t group, bool bias, const char *name)
{
    hone_net_node *n = node(net, "Conv", x, constant(net, "conv.w", DIMS(out, in, k, k)), bias ? constant(net, "conv.b", DIMS(out)) : NULL, name);
    assert_true(hone_net_attr_set_int(net, n, "group", group));
    assert_true(hone_net_attr_set_ints(net, n, "pads", (const int64_t[]){ k / 2, k / 2, k / 2, k / 2 }, 4));
    return n->out[0];
}

/* Convolutions of every kind one after another, to a product. */
static void convolutions(hone_net *net)
{
    hone_net_value *v = begin(net, DIMS(3, 4, 6, 6));
    v = put(net, "Relu", conv(net, v, 8, 4, 3, 1, true, "a"), NULL, NULL, "relu");
    v = conv(net, v, 6, 4, 3, 2, false, "grouped");
    v = put(net, "PRelu", conv(net, v, 12, 1, 3, 6, true, "depthwise"), constant(net, "slope", DIMS(12, 1, 1)), NULL, "prelu");
    hone_net_node *pool = node(net, "MaxPool", v, NULL, NULL, "pool");
    assert_true(hone_net_attr_set_ints(net, pool, "kernel_shape", (const int64_t[]){ 2, 2 }, 2));
    v = put(net, "Add", conv(net, pool->out[0], 5, 12, 1, 1, false, "b"), constant(net, "plus", DIMS(1, 5, 1, 1)), NULL, "add");
    v = put(net, "Flatten", put(net, "GlobalAveragePool", v, NULL, NULL, "average"), NULL, NULL, "flat");
    hone_net_node *fc = node(net, "Gemm", v, constant(net, "fc.w", DIMS(7, 5)), constant(net, "fc.b", DIMS(7)), "fc");
    assert_true(hone_net_attr_set_int(net, fc, "transB", 1));
    v = put(net, "LeakyRelu", fc->out[0], NULL, NULL, "leaky");
    finish(net, put(net, "MatMul", v, constant(net, "last", DIMS(7, 3)), NULL, "y"));
}

/* What transformers have: a norm as one operator, and the end of one that was taken apart. */
static void tokens(hone_net *net)
{
    hone_net_value *x = begin(net, DIMS(3, 5, 12)), *v = put(net, "LayerNormalization", x, constant(net, "ln", DIMS(12)), constant(net, "ln.b", DIMS(12)), "n");
    hone_net_value *q = put(net, "MatMul", v, constant(net, "q.w", DIMS(12, 16)), NULL, "q0"), *k = put(net, "MatMul", v, constant(net, "k.w", DIMS(3, 12, 16)), NULL, "k0");
    hone_net_value *g = put(net, "Mul", put(net, "Sigmoid", q, NULL, NULL, "s"), constant(net, "gain", DIMS(16)), NULL, "gained");
    hone_net_value *r = put(net, "Relu", put(net, "Add", k, constant(net, "k.b", DIMS(1, 1, 16)), NULL, "k1"), NULL, NULL, "k2");
    g = put(net, "Add", g, constant(net, "offset", DIMS(16)), NULL, "moved");
    g = put(net, "MatMul", g, constant(net, "g.w", DIMS(16, 12)), NULL, "g0");
    r = put(net, "MatMul", r, constant(net, "r.w", DIMS(16, 12)), NULL, "r0");
    finish(net, put(net, "Add", g, r, NULL, "y"));
}

/* A BatchNormalization that nothing is in front of, read by two convolutions. */
static void norm_into(hone_net *net, int64_t out)
{
    hone_net_value *x = begin(net, DIMS(3, 4, 6, 6)), *var = hone_net_constant_new(net, "var", HONE_NET_F32, (const uint64_t[]){ 4 }, 1, (const float[]){ 1, 2, 3, 4 });
    hone_net_value *in[5] = { x, constant(net, "scale", DIMS(4)), constant(net, "shift", DIMS(4)), constant(net, "mean", DIMS(4)), var }, *y = hone_net_value_get(net, "bn");
    assert_non_null(hone_net_node_new(net, NULL, "BatchNormalization", "", in, 5, &y, 1));
    y = put(net, "Relu", y, NULL, NULL, "relu");
    hone_net_value *one = conv(net, y, out, 2, 3, 2, true, "one"), *other = conv(net, y, out, 4, 1, 1, true, "other");
    finish(net, put(net, "Add", one, other, NULL, "y"));
}

static void norm_first(hone_net *net) { norm_into(net, 6); }

static hone_smooth_plan plan_of(hone_net *net)
{
    hone_smooth_plan p;
    hone_err         err = { 0 };
    if (hone_smooth_plan_make(net, NULL, 0, &p, &err) != HONE_OK) fail_msg("%s", err.cause);
    return p;
}

static bool has_place(const hone_smooth_plan *p, const char *value)
{
    for (size_t i = 0; i < p->n_places; i++)
        if (strcmp(p->places[i].value, value) == 0) return true;
    return false;
}

/* exact: powers of two, which change no digit. */
static void smooth_all(hone_net *net, const hone_smooth_plan *p, bool exact)
{
    hone_smooth_scale *s = HONE_ARENA_NEW(&net->arena, hone_smooth_scale, p->n_places + 1);
    hone_err           err = { 0 };
    assert_non_null(s);
    for (size_t i = 0; i < p->n_places; i++) {
        float *by = HONE_ARENA_NEW(&net->arena, float, p->places[i].channels);
        assert_non_null(by);
        for (uint64_t c = 0; c < p->places[i].channels; c++) by[c] = exact ? ldexpf(1, (int)(c % 7) - 3) : expf(3 * noise());
        s[i] = (hone_smooth_scale){ p->places[i].value, by, p->places[i].channels };
    }
    if (hone_smooth_apply(net, p, s, p->n_places, &err) != HONE_OK) fail_msg("%s", err.cause);
}

static float *floats_at(const hone_net *net, const char *out, uint32_t slot)
{
    float   *w = NULL;
    hone_err err = { 0 };
    if (hone_net_tensor_floats(net, hone_net_constant(hone_net_find(net, out)->from->in[slot]), &w, &err) != HONE_OK) fail_msg("%s", err.cause);
    return w;
}

/* ---- which ---- */

static void every_place_of_convolutions_is_found(void **state)
{
    static const char *const values[] = { "relu", "grouped", "pool", "flat", "leaky" };
    hone_net                 net;
    (void)state;
    convolutions(&net);
    hone_smooth_plan p = plan_of(&net);
    for (size_t i = 0; i < HONE_COUNT(values); i++) assert_true(has_place(&p, values[i]));
    assert_int_equal(p.n_places, HONE_COUNT(values));
    assert_int_equal(p.n_left, 1);
    assert_string_equal(p.why[0], "'x' is not smoothed: it comes from outside, or from a constant");
    hone_net_close(&net);
}

static void all_readers_of_a_norm_take_the_factors(void **state)
{
    hone_net net;
    (void)state;
    tokens(&net);
    hone_smooth_plan p = plan_of(&net);
    assert_int_equal(p.n_places, 3);
    assert_string_equal(p.places[0].value, "n");
    assert_int_equal(p.places[0].n_multiplied, 2);
    assert_int_equal(p.places[0].n_divided, 2); /* scale and bias */
    assert_true(has_place(&p, "moved") && has_place(&p, "k2"));
    for (size_t i = 1; i < 3; i++) assert_int_equal(p.places[i].n_divided, 2); /* the Mul and the Add; the weights and the Add */
    hone_net_close(&net);
}

/* Each network has one value that the layer "y" reads and that cannot be smoothed. */
static void refused(hone_net *net, hone_net_value *y, const char *why)
{
    finish(net, y);
    hone_smooth_plan p = plan_of(net);
    for (size_t i = 0; i < p.n_why; i++)
        if (strstr(p.why[i], why)) {
            assert_int_equal(p.n_places, 0);
            hone_net_close(net);
            return;
        }
    fail_msg("'%s' is not among %zu reasons, the last is '%s'; %zu places", why, p.n_why, p.n_why ? p.why[p.n_why - 1] : "", p.n_places);
}

static void what_cannot_be_smoothed_says_why(void **state)
{
    hone_net        net;
    hone_net_value *x, *v, *w;
    (void)state;
    x = begin(&net, DIMS(3, 5, 12));
    v = put(&net, "LayerNormalization", x, constant(&net, "ln", DIMS(12)), NULL, "n");
    w = put(&net, "MatMul", v, constant(&net, "w", DIMS(12, 12)), NULL, "m");
    refused(&net, put(&net, "Add", w, v, NULL, "y"), "'n' is not smoothed: Add reads it too");

    x = begin(&net, DIMS(3, 4, 6, 6));
    v = put(&net, "Clip", conv(&net, x, 4, 4, 1, 1, true, "a"), hone_net_constant_new(&net, "zero", HONE_NET_F32, NULL, 0, (const float[]){ 0 }),
            hone_net_constant_new(&net, "six", HONE_NET_F32, NULL, 0, (const float[]){ 6 }), "clip");
    refused(&net, conv(&net, v, 4, 4, 1, 1, true, "y"), "'clip' is not smoothed: Clip is in front of it, which no factor gets through");

    x = begin(&net, DIMS(3, 12));
    v = put(&net, "MatMul", x, constant(&net, "w", DIMS(12, 12)), NULL, "m");
    w = put(&net, "Add", v, put(&net, "Relu", v, NULL, NULL, "r"), NULL, "sum");
    refused(&net, put(&net, "MatMul", put(&net, "MatMul", hone_net_find(&net, "r"), constant(&net, "w2", DIMS(12, 12)), NULL, "m2"), w, NULL, "y"), "'r' is not smoothed: Add reads it too");

    x = begin(&net, DIMS(3, 12));
    v = put(&net, "Relu", put(&net, "MatMul", x, constant(&net, "w", DIMS(12, 12)), NULL, "m"), NULL, NULL, "r");
    w = put(&net, "MatMul", v, constant(&net, "w2", DIMS(12, 12)), NULL, "m2");
    refused(&net, put(&net, "Add", w, hone_net_find(&net, "m"), NULL, "y"), "'r' is not smoothed: what Relu in front of it reads is read elsewhere too");

    x = begin(&net, DIMS(3, 4, 6, 6)); /* the product is along the width, not the channels */
    v = put(&net, "Relu", conv(&net, x, 6, 4, 1, 1, true, "a"), NULL, NULL, "r");
    refused(&net, put(&net, "MatMul", v, constant(&net, "w", DIMS(6, 6)), NULL, "y"), "'r' is not smoothed: the constants of Conv in front of it are of another form");

    x = begin(&net, DIMS(3, 4, 6, 6));
    v = put(&net, "Relu", conv(&net, x, 6, 4, 1, 1, true, "a"), NULL, NULL, "r");
    w = put(&net, "MatMul", v, constant(&net, "w", DIMS(6, 6)), NULL, "m");
    refused(&net, put(&net, "Add", conv(&net, v, 6, 6, 1, 1, true, "b"), w, NULL, "y"), "'r' is not smoothed: its readers multiply along different dimensions");

    x = begin(&net, DIMS(3, 12)); /* PRelu with itself as the slope squares what is below 0 */
    v = put(&net, "MatMul", x, constant(&net, "w", DIMS(12, 12)), NULL, "m");
    v = put(&net, "PRelu", v, v, NULL, "p");
    refused(&net, put(&net, "MatMul", v, constant(&net, "w2", DIMS(12, 12)), NULL, "y"), "'p' is not smoothed: what PRelu in front of it reads is read elsewhere too");

    x = begin(&net, DIMS(12, 3)); /* a first factor that is turned */
    v = put(&net, "Relu", put(&net, "MatMul", x, constant(&net, "w", DIMS(3, 12)), NULL, "m"), NULL, NULL, "r");
    hone_net_node *g = node(&net, "Gemm", v, constant(&net, "w2", DIMS(12, 4)), NULL, "y");
    assert_true(hone_net_attr_set_int(&net, g, "transA", 1));
    refused(&net, g->out[0], "'r' is not smoothed: the weights of a Gemm that reads it are of another form");

    x = begin(&net, DIMS(3, 4, 2, 2)); /* pixels become rows */
    v = put(&net, "Relu", conv(&net, x, 4, 4, 1, 1, true, "a"), NULL, NULL, "relu");
    v = put(&net, "Reshape", v, hone_net_constant_new(&net, "shape", HONE_NET_I64, (const uint64_t[]){ 2 }, 1, (const int64_t[]){ -1, 4 }), NULL, "r");
    refused(&net, put(&net, "MatMul", v, constant(&net, "w", DIMS(4, 4)), NULL, "y"), "'r' is not smoothed: Reshape is in front of it, which no factor gets through");

    x = begin(&net, DIMS(3, 5, 12)); /* a pool over the channels */
    hone_net_node *pool = node(&net, "MaxPool", put(&net, "LayerNormalization", x, constant(&net, "ln", DIMS(12)), NULL, "n"), NULL, NULL, "p");
    assert_true(hone_net_attr_set_ints(&net, pool, "kernel_shape", (const int64_t[]){ 3 }, 1) && hone_net_attr_set_ints(&net, pool, "pads", (const int64_t[]){ 1, 1 }, 2));
    refused(&net, put(&net, "MatMul", pool->out[0], constant(&net, "w", DIMS(12, 12)), NULL, "y"), "'p' is not smoothed: MaxPool is in front of it, which no factor gets through");

    x = begin(&net, DIMS(3, 12)); /* what is added behind a product */
    v = put(&net, "Relu", put(&net, "MatMul", x, constant(&net, "w", DIMS(12, 12)), NULL, "m"), NULL, NULL, "r");
    w = put(&net, "MatMul", v, constant(&net, "w2", DIMS(12, 12)), NULL, "m2");
    refused(&net, put(&net, "Gemm", put(&net, "Sigmoid", w, NULL, NULL, "s"), constant(&net, "w3", DIMS(12, 12)), v, "y"), "'r' is not smoothed: Gemm reads it too");

    x = begin(&net, DIMS(3, 12));
    v = put(&net, "Relu", put(&net, "MatMul", x, constant(&net, "w", DIMS(12, 12)), NULL, "m"), NULL, NULL, "r");
    v->output = true;
    refused(&net, put(&net, "MatMul", v, constant(&net, "w2", DIMS(12, 12)), NULL, "y"), "'r' is not smoothed: outputs of the network stay as they are");

    x = begin(&net, DIMS(3, 12)); /* one number added to all channels */
    v = put(&net, "Add", put(&net, "MatMul", x, constant(&net, "w", DIMS(12, 12)), NULL, "m"), constant(&net, "one", DIMS(1)), NULL, "a");
    refused(&net, put(&net, "MatMul", v, constant(&net, "w2", DIMS(12, 12)), NULL, "y"), "'a' is not smoothed: Add is in front of it, and has no constant per channel");

    x = begin(&net, DIMS(3, 12, 1)); /* what a norm says beside its result does not follow its scale */
    g = node(&net, "LayerNormalization", x, constant(&net, "ln", DIMS(1)), NULL, "n");
    assert_true(hone_net_set_out(&net, g, 1, value(&net, "mean", DIMS(3, 12, 1))));
    w = put(&net, "MatMul", g->out[1], constant(&net, "w", DIMS(1, 4)), NULL, "m");
    refused(&net, put(&net, "Add", w, g->out[0], NULL, "y"), "'mean' is not smoothed: LayerNormalization in front of it gives it beside its result");

    norm_into(&net, 3); /* 3 outputs in 2 groups */
    hone_smooth_plan p = plan_of(&net);
    assert_int_equal(p.n_places, 0);
    assert_string_equal(p.why[0], "'relu' is not smoothed: the weights of a Conv that reads it are of another form");
    hone_net_close(&net);
}

static void what_is_excluded_is_not_changed(void **state)
{
    static const char *const maker[] = { "a" }, *const reader[] = { "grouped" };
    hone_net                 net;
    hone_smooth_plan         p;
    hone_err                 err = { 0 };
    (void)state;
    convolutions(&net);
    assert_int_equal(hone_smooth_plan_make(&net, maker, 1, &p, &err), HONE_OK);
    assert_false(has_place(&p, "relu"));
    assert_int_equal(p.n_places, 4);
    assert_string_equal(p.why[0], "'relu' is not smoothed: it would change an operator that is excluded"); /* what comes in is read by nobody else */
    assert_int_equal(p.n_left, 1);
    assert_int_equal(hone_smooth_plan_make(&net, reader, 1, &p, &err), HONE_OK);
    assert_int_equal(p.n_places, 3); /* nor what it makes for the next */
    assert_false(has_place(&p, "relu") || has_place(&p, "grouped"));
    hone_net_close(&net);
}

/* ---- how ---- */

static void factors_go_from_the_makers_channels_to_the_readers_groups(void **state)
{
    hone_net net, was;
    (void)state;
    convolutions(&net);
    convolutions(&was);
    hone_smooth_plan p = plan_of(&net);
    p.n_places = 1; /* a -> relu -> grouped */
    smooth_all(&net, &p, true);
    float *w = floats_at(&was, "a", 1), *w2 = floats_at(&net, "a", 1), *b = floats_at(&was, "a", 2), *b2 = floats_at(&net, "a", 2);
    float *g = floats_at(&was, "grouped", 1), *g2 = floats_at(&net, "grouped", 1);
    for (size_t c = 0; c < 8; c++) {
        float s = ldexpf(1, (int)(c % 7) - 3);
        assert_true(b2[c] == b[c] / s);
        for (size_t i = 0; i < 36; i++) assert_true(w2[c * 36 + i] == w[c * 36 + i] / s);
        for (size_t m = 0; m < 3; m++)     /* [6, 4, 3, 3]: the first three read channels 0 to 3, the others 4 to 7 */
            for (size_t i = 0; i < 9; i++) {
                size_t at = ((c / 4 * 3 + m) * 4 + c % 4) * 9 + i;
                assert_true(g2[at] == g[at] * s);
            }
    }
    free(w), free(w2), free(b), free(b2), free(g), free(g2);
    w = floats_at(&was, "depthwise", 1);
    w2 = floats_at(&net, "depthwise", 1);
    assert_memory_equal(w, w2, 12 * 9 * sizeof *w);
    free(w), free(w2);
    hone_net_close(&net);
    hone_net_close(&was);
}

static void factors_are_the_papers(void **state)
{
    hone_net net;
    hone_err err = { 0 };
    float    largest[12] = { 16, 4, 0, INFINITY, 1e30f, 1e-30f, 2 }, by[12];
    (void)state;
    hone_net_value *x = begin(&net, DIMS(3, 12)), *w2;
    x = put(&net, "LayerNormalization", x, constant(&net, "ln", DIMS(12)), NULL, "n");
    float w[12][2] = { { .25f, -.0625f }, { -1, 0 }, { 1, 1 }, { 1, 1 }, { 1, 1 }, { 1, 1 }, { 0, 0 } };
    w2 = hone_net_constant_new(&net, "w", HONE_NET_F32, (const uint64_t[]){ 12, 2 }, 2, w);
    finish(&net, put(&net, "MatMul", x, w2, NULL, "y"));
    hone_smooth_plan p = plan_of(&net);
    assert_int_equal(p.n_places, 1);
    assert_int_equal(hone_smooth_factors(&net, &p.places[0], largest, 0.5, by, &err), HONE_OK);
    assert_true(by[0] == 8 && by[1] == 2);
    assert_true(by[2] == 1 && by[3] == 1 && by[6] == 1 && by[7] == 1); /* nothing came, or too much, or nothing reads it */
    assert_true(by[4] == HONE_SMOOTH_MOST && by[5] == HONE_SMOOTH_LEAST);
    assert_int_equal(hone_smooth_factors(&net, &p.places[0], largest, 1, by, &err), HONE_OK);
    assert_true(by[0] == 16 && by[1] == 4);
    assert_int_equal(hone_smooth_factors(&net, &p.places[0], largest, 0, by, &err), HONE_OK);
    assert_true(by[0] == 4 && by[1] == 1);
    assert_int_equal(hone_smooth_factors(&net, &p.places[0], largest, 0.3, by, &err), HONE_OK);
    assert_true(fabs((double)by[0] - pow(16, 0.3) / pow(0.25, 0.7)) < 1e-4);
    hone_net_close(&net);
}

static void factors_that_are_none_are_refused(void **state)
{
    static const float good[8] = { 1, 1, 1, 1, 1, 1, 1, 1 }, bad[8] = { 1, 1, 0 }, nan[8] = { NAN, 1, 1, 1, 1, 1, 1, 1 };
    static const struct { hone_smooth_scale s; const char *cause; } rows[] = {
        { { "x", good, 8 }, "'x' cannot be smoothed" },
        { { "relu", good, 7 }, "'relu' has 8 channels, and factors for 7" },
        { { "relu", bad, 8 }, "a factor of 'relu' is 0, outside 1.52588e-05..65536" },
        { { "relu", nan, 8 }, "a factor of 'relu' is nan, outside 1.52588e-05..65536" },
    };
    hone_net net;
    (void)state;
    convolutions(&net);
    hone_smooth_plan p = plan_of(&net);
    for (size_t i = 0; i < HONE_COUNT(rows); i++) {
        hone_err err = { 0 };
        assert_int_equal(hone_smooth_apply(&net, &p, &rows[i].s, 1, &err), HONE_EINPUT);
        assert_string_equal(err.cause, rows[i].cause);
    }
    const hone_smooth_scale twice[2] = { { "relu", good, 8 }, { "relu", good, 8 } };
    hone_err                err = { 0 };
    assert_int_equal(hone_smooth_apply(&net, &p, twice, 2, &err), HONE_EINPUT);
    assert_string_equal(err.cause, "'relu' has factors twice");
    hone_net_close(&net);
}

/* ---- the same numbers in ONNX Runtime ---- */

enum { SAMPLES = 3 };

static void write_samples(const char *path, const hone_net_value *x)
{
    char     head[128] = "", shape[80] = "";
    uint64_t n = 1;
    for (int32_t d = 0; d < x->n_dims; d++) {
        (void)snprintf(shape + strlen(shape), sizeof shape - strlen(shape), "%lld, ", (long long)x->dims[d].n);
        n *= (uint64_t)x->dims[d].n;
    }
    (void)snprintf(head, sizeof head, "{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }", shape);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    (void)fprintf(f, "\x93NUMPY%c%c%c%c%-117s\n", 1, 0, 118, 0, head);
    for (uint64_t i = 0; i < n; i++) {
        float v = 2 * noise();
        assert_int_equal(fwrite(&v, sizeof v, 1, f), 1);
    }
    assert_int_equal(fclose(f), 0);
}

typedef struct numbers { float x[4096]; size_t n; } numbers;

static void take(void *user, const hone_backend_value *v)
{
    numbers *y = user;
    y->n = hone_value_elems(v);
    assert_true(y->n <= HONE_COUNT(y->x) && hone_value_floats(v, y->x, y->n));
}

static void run(const hone_ctx *ctx, const char *path, const char *samples, numbers *y)
{
    hone_network net = { 0 };
    hone_samples s = { 0 };
    hone_arena   a = { 0 };
    hone_feed    feed;
    hone_err     err = { 0 };
    hone_code    code = hone_samples_open(samples, NULL, &a, &s, &err);
    if (code == HONE_OK) code = hone_network_open(ctx, path, &(hone_network_how){ .backend = "onnxruntime", .threads = 1, .exact = true }, &net, &err);
    if (code == HONE_OK) code = hone_feed_make(&net, &s, SAMPLES, &a, &feed, &err);
    if (code == HONE_OK) code = hone_network_run(&net, &s, &feed, 0, SAMPLES, take, y, NULL, &err);
    if (code != HONE_OK) fail_msg("%s: %s", path, err.cause);
    hone_network_close(&net);
    hone_samples_close(&s);
    hone_arena_release(&a);
}

static void write_net(const fixture *f, const hone_net *net, const char *file)
{
    hone_onnx_net_written w;
    hone_err              err = { 0 };
    if (hone_onnx_net_write(&f->ctx, net, f->dir, file, 1u << 30, &w, &err) != HONE_OK) fail_msg("%s", err.cause);
}

static void the_runtime_computes_the_same(void **state)
{
    static const struct { void (*make)(hone_net *net); const char *name; size_t places; } rows[] = { { convolutions, "convolutions", 5 }, { tokens, "tokens", 3 }, { norm_first, "norm first", 1 } };
    static numbers y, z;
    fixture        f;
    (void)state;
    fixture_open(&f);
    if (!fixture_have(&f, "onnxruntime")) {
        fixture_close(&f);
        skip();
    }
    for (size_t i = 0; i < HONE_COUNT(rows); i++) {
        char     before[4200], after[4200], samples[4200];
        hone_net net;
        rows[i].make(&net);
        (void)snprintf(before, sizeof before, "%s/before.onnx", f.dir);
        (void)snprintf(after, sizeof after, "%s/after.onnx", f.dir);
        (void)snprintf(samples, sizeof samples, "%s/samples.npy", f.dir);
        write_samples(samples, net.inputs[0]);
        write_net(&f, &net, "before.onnx");
        hone_smooth_plan p = plan_of(&net);
        assert_int_equal(p.n_places, rows[i].places);
        smooth_all(&net, &p, false);
        write_net(&f, &net, "after.onnx");
        run(&f.ctx, before, samples, &y);
        run(&f.ctx, after, samples, &z);
        double largest = 0, off = 0;
        assert_true(y.n == z.n && y.n > 0);
        for (size_t k = 0; k < y.n; k++) {
            largest = fmax(largest, fabs((double)y.x[k]));
            off = fmax(off, fabs((double)y.x[k] - (double)z.x[k]));
        }
        if (!(off < 1e-5 * largest)) fail_msg("%s: off by %g of %g", rows[i].name, off, largest);
        hone_net_close(&net);
    }
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_place_of_convolutions_is_found), cmocka_unit_test(all_readers_of_a_norm_take_the_factors),
        cmocka_unit_test(what_cannot_be_smoothed_says_why),     cmocka_unit_test(what_is_excluded_is_not_changed),
        cmocka_unit_test(factors_go_from_the_makers_channels_to_the_readers_groups),
        cmocka_unit_test(factors_are_the_papers),               cmocka_unit_test(factors_that_are_none_are_refused),
        cmocka_unit_test(the_runtime_computes_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
