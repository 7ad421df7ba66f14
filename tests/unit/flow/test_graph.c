/* test_graph.c - the operator graph of every family: what every lowering relies on without looking. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "flow/tiny_graph.h"
#include "ir/graph.h"
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const hone_node *find(const hone_graph *g, const char *name)
{
    for (size_t i = 0; i < g->n_nodes; i++)
        if (strcmp(g->nodes[i].name, name) == 0) return &g->nodes[i];
    return NULL;
}

static uint64_t width(const hone_node *n) { return (uint64_t)n->dims[n->n_dims - 1]; }

static void node_is_sound(const hone_graph *g, const hone_node *n)
{
    for (uint32_t i = 0; i < n->n_in; i++) assert_true(n->in[i] < (size_t)(n - g->nodes));
    const hone_node *x = n->n_in ? &g->nodes[n->in[0]] : n;
    switch (n->op) {
    case HONE_OP_LINEAR:
        assert_int_equal(hone_weight_cols(n->weight), width(x));
        assert_int_equal(hone_weight_rows(n->weight), width(n));
        if (n->bias) assert_int_equal(hone_weight_elems(n->bias), width(n));
        break;
    case HONE_OP_NORM:
        assert_int_equal(width(n) % n->u.norm.group, 0);
        assert_true(hone_weight_elems(n->weight) == n->u.norm.group || hone_weight_elems(n->weight) == width(n));
        assert_true(n->u.norm.eps > 0);
        break;
    case HONE_OP_ADD:
    case HONE_OP_MUL: assert_memory_equal(n->dims, g->nodes[n->in[1]].dims, sizeof n->dims); break;
    case HONE_OP_SLICE: assert_true(n->u.first + width(n) <= width(x)); break;
    case HONE_OP_ROPE:
        assert_int_equal((uint64_t)n->u.rope.heads * n->u.rope.head_dim, width(n));
        assert_true(n->u.rope.dim <= n->u.rope.head_dim && n->u.rope.dim % 2 == 0 && n->u.rope.id < g->n_ropes);
        assert_true(n->u.rope.inv_freq[0] > 0 && n->u.rope.inv_freq[0] <= 1);
        break;
    case HONE_OP_ATTENTION:
        assert_int_equal((uint64_t)n->u.attn.heads * n->u.attn.head_dim, width(n));
        for (int i = 1; i < 3; i++) assert_int_equal((uint64_t)n->u.attn.kv_heads * n->u.attn.head_dim, width(&g->nodes[n->in[i]]));
        assert_int_equal(g->nodes[n->in[3]].op, HONE_OP_MASK);
        break;
    case HONE_OP_EXPERTS:
        assert_int_equal(hone_weight_rows(n->weight), n->u.moe.experts);
        assert_int_equal(n->u.moe.gate->dims[1], n->u.moe.width);
        assert_int_equal(n->u.moe.down->dims[1], width(n));
        break;
    default: break;
    }
}

/* Every weight of the model is in the graph: nothing is computed without it. */
static void every_weight_is_used(const tiny_graph *f, const char *family)
{
    for (size_t i = 0; i < f->m.n_weights; i++) {
        const hone_weight *w = &f->m.weights[i];
        bool               used = w->role == HONE_R_POOLER || w->role == HONE_R_IGNORED;
        for (size_t k = 0; k < f->g.n_nodes && !used; k++) {
            const hone_node *n = &f->g.nodes[k];
            used = n->weight == w || n->bias == w;
            if (n->op == HONE_OP_EXPERTS) used = used || n->u.moe.gate == w || n->u.moe.up == w || n->u.moe.down == w;
        }
        if (!used) fail_msg("%s: weight %s of layer %d is not in the graph", family, hone_role_name(w->role), w->layer);
    }
}

static void every_familys_graph_is_whole(void **state)
{
    (void)state;
    DIR *d = opendir(HONE_TEST_SOURCE_DIR "/tests/golden/tiny");
    int  seen = 0;
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.' || strchr(e->d_name, '.')) continue;
        tiny_graph f;
        tiny_graph_open(&f, e->d_name);
        const hone_facts *facts = &f.m.facts;
        for (size_t i = 0; i < f.g.n_nodes; i++) {
            node_is_sound(&f.g, &f.g.nodes[i]);
            assert_ptr_equal(find(&f.g, f.g.nodes[i].name), &f.g.nodes[i]); /* names are unique */
        }
        every_weight_is_used(&f, e->d_name);
        for (uint32_t i = 0; i < facts->n_layers; i++) assert_int_equal(f.g.nodes[f.g.layers[i]].layer, (int)i);
        assert_int_equal(width(&f.g.nodes[f.g.output]), facts->kind == HONE_KIND_DECODER ? facts->vocab : facts->hidden);
        assert_int_equal(f.g.n_caches, facts->kind == HONE_KIND_DECODER ? facts->n_layers : 0);
        tiny_graph_close(&f);
        seen++;
    }
    closedir(d);
    assert_int_equal(seen, 18);
}

static void special_ways_of_families_are_in_it(void **state)
{
    (void)state;
    tiny_graph f;
    tiny_graph_open(&f, "gemma3"); /* two ropes, one with another base; local layers have the window */
    assert_int_equal(f.g.n_ropes, 2);
    const hone_node *local = find(&f.g, "layers.0.attn.q_rope"), *global = find(&f.g, "layers.5.attn.q_rope");
    assert_int_not_equal(local->u.rope.id, global->u.rope.id);
    assert_true(find(&f.g, "layers.0.attn.core")->u.attn.window > 0);
    assert_int_equal(find(&f.g, "layers.5.attn.core")->u.attn.window, 0);
    assert_true(find(&f.g, "layers.0.attn.q_norm")->u.norm.plus_one);
    assert_int_equal(f.g.nodes[find(&f.g, "layers.0.attn.q_rope")->in[0]].op, HONE_OP_NORM);
    tiny_graph_close(&f);
    tiny_graph_open(&f, "phi3"); /* two tables in one */
    const hone_graph_rope *r = &find(&f.g, "layers.0.attn.q_rope")->u.rope;
    assert_non_null(r->inv_freq_long);
    assert_int_equal(r->long_from, f.m.facts.rope.original_context);
    assert_true(r->scale > 1);
    tiny_graph_close(&f);
    tiny_graph_open(&f, "smollm3"); /* every fourth layer is not rotated */
    assert_non_null(find(&f.g, "layers.0.attn.q_rope"));
    assert_null(find(&f.g, "layers.3.attn.q_rope"));
    tiny_graph_close(&f);
    tiny_graph_open(&f, "gpt_neox"); /* side by side, part of each head */
    assert_non_null(find(&f.g, "layers.0.halves"));
    assert_true(find(&f.g, "layers.0.attn.q_rope")->u.rope.dim < f.m.facts.head_dim);
    tiny_graph_close(&f);
}

/* The formulas of modeling_rope_utils.py at Llama 3.1's and at a YaRN setting, spelled once more for single pairs. */
static void tables_are_those_of_transformers(void **state)
{
    (void)state;
    hone_rope r = { .kind = HONE_ROPE_HALVES, .dim = 128, .base = 500000, .scaling = HONE_ROPE_SCALE_LLAMA3, .factor = 8, .low_freq = 1,
                    .high_freq = 4, .original_context = 8192 };
    float t[64], l[64], scale;
    bool  longer;
    hone_rope_table(&r, false, t, l, &longer, &scale);
    assert_false(longer);
    assert_true(scale == 1 && t[0] == 1);
    assert_true(fabsf(t[63] / (float)(pow(500000, -126.0 / 128) / 8) - 1) < 1e-6f);
    float plain = (float)pow(500000, -58.0 / 128); /* between the two wavelengths: a mixture */
    float smooth = (8192 * plain / 6.2831853f - 1) / 3;
    assert_true(smooth > 0 && smooth < 1);
    assert_true(fabsf(t[29] / ((1 - smooth) * plain / 8 + smooth * plain) - 1) < 1e-6f);
    r = (hone_rope){ .kind = HONE_ROPE_HALVES, .dim = 64, .base = 10000, .scaling = HONE_ROPE_SCALE_YARN, .factor = 4, .beta_fast = 32,
                     .beta_slow = 1, .original_context = 2048 };
    hone_rope_table(&r, false, t, l, &longer, &scale);
    assert_true(fabsf(scale - 1.1386294f) < 1e-6f);
    assert_true(t[0] == 1); /* fast pairs stay */
    assert_true(fabsf(t[31] / (float)(pow(10000, -62.0 / 64) / 4) - 1) < 1e-6f); /* slow ones are stretched */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_familys_graph_is_whole),
        cmocka_unit_test(special_ways_of_families_are_in_it),
        cmocka_unit_test(tables_are_those_of_transformers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
