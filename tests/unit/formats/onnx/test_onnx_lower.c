/* test_onnx_lower.c - every family in both sets of operators at every precision: a model that the reader finds whole, weights that do not share
 * a byte, places beyond 2^31 elements and 2^32 bytes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "flow/tiny_graph.h"
#include "formats/onnx.h"
#include <stdio.h>
#include <stdlib.h>

typedef struct range { uint64_t begin, end; } range;

static int by_begin(const void *a, const void *b)
{
    uint64_t x = ((const range *)a)->begin, y = ((const range *)b)->begin;
    return (x > y) - (x < y);
}

/* Rows of different weights never lie on the same bytes, and none behind the end. */
static void places_are_apart(const hone_onnx_model *m)
{
    range *r = calloc(3 * m->n_stored + 1, sizeof *r);
    size_t n = 0;
    assert_non_null(r);
    for (size_t i = 0; i < m->n_stored; i++)
        for (uint32_t s = 0; s < m->stored[i].n_streams; s++) {
            const hone_onnx_stored *x = &m->stored[i];
            uint64_t                rows = hone_weight_rows(&x->w), end = x->offset[s] + (((rows - 1) * x->step + 1) * x->row_bits[s] + 7) / 8;
            assert_true(end <= m->data_bytes);
            if (x->step == 1) r[n++] = (range){ x->offset[s], end }; /* those in turns are side by side on purpose */
        }
    qsort(r, n, sizeof *r, by_begin);
    for (size_t i = 1; i < n; i++) assert_true(r[i].begin >= r[i - 1].end);
    free(r);
}

static hone_onnx_model lower(tiny_graph *f, const char *quant, bool standard, bool sym, hone_onnx_file *read)
{
    hone_err          err = { 0 };
    hone_onnx_model   m;
    hone_onnx_options o = { .quant = hone_onnx_quant_find(quant), .group = 32, .sym = sym, .standard = standard };
    if (hone_onnx_lower(&f->g, &o, &f->a, &m, &err) != HONE_OK) fail_msg("%s: %s", quant, err.cause);
    if (hone_onnx_read(m.topology, &f->a, read, &err) != HONE_OK) fail_msg("%s: %s", quant, err.cause);
    return m;
}

static void one_model(tiny_graph *f, const char *quant, bool standard, size_t *n_stored)
{
    hone_onnx_file  read;
    hone_onnx_model m = lower(f, quant, standard, false, &read), again = lower(f, quant, standard, false, &read);
    assert_int_equal(m.topology.len, again.topology.len);
    assert_memory_equal(m.topology.ptr, again.topology.ptr, m.topology.len);
    places_are_apart(&m);
    assert_int_equal(read.opset, 21);
    assert_int_equal(read.ir_version, 10);
    assert_int_equal(read.opset_ms, standard ? 0 : 1);
    if (standard) assert_int_equal(read.n_foreign, 0);
    else assert_true(read.n_foreign > 0);
    for (size_t i = 0; i < read.n_tensors; i++) {
        const hone_onnx_tensor *t = &read.tensors[i];
        if (!t->location) continue;
        assert_string_equal(t->location, "model.onnx.data");
        assert_true(t->offset + t->length <= m.data_bytes);
        if (t->length >= 1u << 20 && !strstr(t->name, "experts")) assert_int_equal(t->offset % 65536, 0);
    }
    /* What several encodings of a conversion share must be in one order. */
    if (*n_stored) assert_int_equal(m.n_stored, *n_stored);
    *n_stored = m.n_stored;
    assert_true(m.topology.len < 400000);
}

static void every_family_is_whole_in_both_sets_of_operators(void **state)
{
    static const char *const families[] = { "bert", "gemma2", "gemma3", "gpt2", "gpt_neox", "granite", "llama", "mistral", "mixtral",
                                            "olmo2", "olmoe", "phi3", "qwen2", "qwen3", "qwen3_moe", "smollm3", "stablelm", "starcoder2" };
    (void)state;
    for (size_t i = 0; i < HONE_COUNT(families); i++)
        for (int standard = 0; standard < 2; standard++) {
            tiny_graph f;
            size_t  n = 0;
            tiny_graph_open(&f, families[i]);
            for (size_t q = 0; q < hone_onnx_quant_count; q++) one_model(&f, hone_onnx_quants[q].name, standard, &n);
            tiny_graph_close(&f);
        }
}

static void a_tied_head_shares_the_bytes_of_the_embedding(void **state)
{
    tiny_graph         f;
    hone_onnx_file  read;
    (void)state;
    tiny_graph_open(&f, "qwen2");
    hone_onnx_model m = lower(&f, "int4", false, true, &read);
    size_t          n = 0;
    uint64_t        at[2] = { 1, 2 };
    for (size_t i = 0; i < read.n_tensors; i++) {
        if (strcmp(read.tensors[i].name, "embed.weight.rows") == 0) at[n++] = read.tensors[i].offset;
        if (strcmp(read.tensors[i].name, "embed.weight.codes") == 0) at[n++] = read.tensors[i].offset;
    }
    assert_int_equal(n, 2);
    assert_int_equal(at[0], at[1]);
    assert_int_equal(m.stored[0].grouped.bits, 8);
    assert_int_equal(m.fallbacks, 0);
    tiny_graph_close(&f);
}

static void rows_that_are_no_multiple_of_the_group_stay_floats(void **state)
{
    tiny_graph           f;
    hone_err          err = { 0 };
    hone_onnx_model   m;
    hone_onnx_options o = { .quant = hone_onnx_quant_find("int4"), .group = 256 };
    (void)state;
    tiny_graph_open(&f, "qwen3"); /* attention gives 4 heads of 96 */
    assert_int_equal(hone_onnx_lower(&f.g, &o, &f.a, &m, &err), HONE_OK);
    assert_int_equal(m.fallbacks, f.m.facts.n_layers);
    tiny_graph_close(&f);
}

/* The embedding grows to 2^33 elements: only numbers are made, nothing is read. */
static void places_go_on_behind_two_and_four_gigabytes(void **state)
{
    tiny_graph f;
    (void)state;
    tiny_graph_open(&f, "llama");
    f.m.facts.vocab = 1u << 25;
    for (size_t i = 0; i < f.m.n_weights; i++)
        if (f.m.weights[i].role == HONE_R_TOK_EMBD || f.m.weights[i].role == HONE_R_OUTPUT) f.m.weights[i].dims[0] = 1u << 25;
    for (size_t q = 0; q < hone_onnx_quant_count; q++)
        for (int standard = 0; standard < 2; standard++) {
            hone_onnx_file  read;
            hone_onnx_model m = lower(&f, hone_onnx_quants[q].name, standard, true, &read);
            uint64_t        longest = 0, last = 0;
            places_are_apart(&m);
            for (size_t i = 0; i < read.n_tensors; i++) {
                const hone_onnx_tensor *t = &read.tensors[i];
                if (t->location && t->length > longest) longest = t->length;
                if (t->location && t->offset > last) last = t->offset;
            }
            assert_true(longest >= (1ull << 33) * (hone_onnx_quants[q].bits == 4 ? 8 : hone_onnx_quants[q].bits == 8 ? 8 : hone_onnx_quants[q].dtype == HONE_DTYPE_F16 ? 16 : 32) / 8);
            assert_true(last > 1ull << 33);
            assert_true(m.topology.len < 100000);
        }
    tiny_graph_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_family_is_whole_in_both_sets_of_operators),
        cmocka_unit_test(a_tied_head_shares_the_bytes_of_the_embedding),
        cmocka_unit_test(rows_that_are_no_multiple_of_the_group_stay_floats),
        cmocka_unit_test(places_go_on_behind_two_and_four_gigabytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
