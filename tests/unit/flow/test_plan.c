/* test_plan.c - plan files: what is read, written and refused; which line holds for a weight; sensitivities by themselves. */
#include "arch/arch.h"
#include "flow/convert/output.h"
#include "flow/plan/sense.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

enum { GGUF, ONNX, OPENVINO, MLX };

static hone_bytes text_of(const char *s) { return (hone_bytes){ (const uint8_t *)s, strlen(s) }; }

static hone_plan plan_of(const char *text, hone_arena *a)
{
    hone_plan p = { 0 };
    hone_err  err = { 0 };
    if (hone_plan_parse(text_of(text), "plan", a, &p, &err) != HONE_OK) fail_msg("%s", err.cause);
    return p;
}

#define HEAD "schema: hone.plan_file/1\n"

static void what_is_written_reads_back(void **state)
{
    static const char all[] =
        HEAD "made_by: somebody\nformats:\n  gguf: {base: q4_k_m}\n  mlx:\nweights:\n- bits: 4\n- {role: attn_q, layer: 3, gguf: q6_k, mlx: int4 g64}\n"
             "- {role: ffn_down, layer: 0-7, bits: 8, openvino: int4 sym per row}\n- {tensor: 'model.*.weight', onnx: \"int8 asym g32\"}\n- {layer: 2, bits: 16}\n";
    hone_arena a = { 0 };
    hone_plan  p = plan_of(all, &a);
    hone_text  t = { 0 };
    (void)state;
    assert_int_equal(p.n_lines, 5);
    assert_true(p.named[GGUF] && p.named[MLX] && !p.named[ONNX] && !p.named[OPENVINO]);
    assert_string_equal(p.base[GGUF], "q4_k_m");
    assert_null(p.base[MLX]);
    assert_int_equal(hone_plan_write(&p, NULL, &t, NULL), HONE_OK);
    hone_plan q = plan_of(t.ptr, &a);
    assert_int_equal(q.n_lines, p.n_lines);
    for (size_t i = 0; i < p.n_lines; i++) {
        const hone_plan_line *x = &p.lines[i], *y = &q.lines[i];
        assert_true(x->role == y->role && x->first == y->first && x->last == y->last && x->bits == y->bits);
        assert_true(!x->tensor == !y->tensor && (!x->tensor || strcmp(x->tensor, y->tensor) == 0));
        for (int f = 0; f < HONE_PLAN_FORMATS; f++) assert_true(!x->word[f] == !y->word[f] && (!x->word[f] || strcmp(x->word[f], y->word[f]) == 0));
    }
    assert_string_equal(q.base[GGUF], "q4_k_m");
    hone_text_release(&t);
    hone_arena_release(&a);
}

/* The recipe of an output holds what its format takes, and nothing of the file's looks. */
static void a_recipe_holds_the_lines_of_its_format(void **state)
{
    hone_arena a = { 0 };
    hone_plan  p = plan_of(HEAD "weights:\n\n# a remark\n- {role: attn_q, layer: 0-3, gguf: q6_k}\n- {bits: 4, gguf: q5_k}\n- {role: output, mlx: int8 g32}\n", &a), q;
    json_t    *doc = NULL;
    (void)state;
    assert_int_equal(hone_plan_document(&p, GGUF, &doc, NULL), HONE_OK);
    char *text = json_dumps(doc, JSON_SORT_KEYS | JSON_COMPACT);
    assert_string_equal(text, "{\"weights\":[{\"gguf\":\"q6_k\",\"layer\":\"0-3\",\"role\":\"attn_q\"},{\"gguf\":\"q5_k\"}]}");
    assert_int_equal(hone_plan_from_document(doc, &a, &q, NULL), HONE_OK);
    assert_int_equal(q.n_lines, 2);
    assert_int_equal(q.lines[0].last, 3);
    free(text);
    json_decref(doc);
    hone_arena_release(&a);
}

static void bad_files_are_refused_with_line_and_cause(void **state)
{
    static const struct { const char *text, *cause; } bad[] = {
        { "", "plan: the file is empty" },
        { "a: [1, 2", "plan: line 2: did not find expected ',' or ']'" },
        { "weights: []\n", "plan: line 1: 'schema' is '', wanted is 'hone.plan_file/1'" },
        { "schema: hone.plan_file/9\nweights: []\n", "plan: line 1: 'schema' is 'hone.plan_file/9', wanted is 'hone.plan_file/1'" },
        { HEAD, "plan: there are no 'weights'" },
        { HEAD "weights: {}\n", "plan: line 1: 'weights' is no list" },
        { HEAD "weights:\n- {role: atn_q, bits: 4}\n", "plan: line 3: there is no role 'atn_q'" },
        { HEAD "weights:\n- {role: attn_q}\n", "plan: line 3: it says which weights, and nothing about them" },
        { HEAD "weights:\n- {bits: 7}\n", "plan: line 3: 'bits' is none of the widths that a plan knows" },
        { HEAD "weights:\n- {bits: four}\n", "plan: line 3: 'bits' is none of the widths that a plan knows" },
        { HEAD "weights:\n- {layer: 3-1, bits: 4}\n", "plan: line 3: 'layer' is no layer and no range of layers" },
        { HEAD "weights:\n- {layer: -1, bits: 4}\n", "plan: line 3: 'layer' is no layer and no range of layers" },
        { HEAD "weights:\n- {role: output, layer: 1, bits: 4}\n", "plan: line 3: output is of no layer" },
        { HEAD "weights:\n- {tensor: x, role: output, bits: 4}\n", "plan: line 3: 'tensor' stands beside 'role' or 'layer'" },
        { HEAD "weights:\n- {role: output, bit: 4}\n", "plan: line 3: there is no key 'bit'" },
        { HEAD "weights:\n- {bits: 4, bits: 5}\n", "plan: line 3: 'bits' stands twice" },
        { HEAD "weights:\n- {gguf: [q4_k]}\n", "plan: line 3: 'gguf' names no encoding" },
        { HEAD "weights:\n- nothing\n", "plan: line 1: 'weights' holds something that is no line of keys" },
        { HEAD "formats: {tflite: {}}\nweights: []\n", "plan: line 2: hone writes no format 'tflite'" },
        { HEAD "colour: red\nweights: []\n", "plan: line 1: there is no key 'colour'" },
        { HEAD "weights: &x []\n", "plan: line 2: anchors, aliases and tags are not taken" },
        { HEAD "weights: []\n---\nmore: 1\n", "plan: line 3: a second document begins" },
        { HEAD "weights: [\"\\0\"]\n", "plan: line 2: a text holds NUL or is no UTF-8" },
    };
    (void)state;
    for (size_t i = 0; i < HONE_COUNT(bad); i++) {
        hone_arena a = { 0 };
        hone_plan  p = { .n_lines = 77 };
        hone_err   err = { 0 };
        assert_int_equal(hone_plan_parse(text_of(bad[i].text), "plan", &a, &p, &err), HONE_EINPUT);
        assert_string_equal(err.cause, bad[i].cause);
        assert_int_equal(p.n_lines, 77);
        hone_arena_release(&a);
    }
}

/* ---- against a model ---- */

typedef struct fixture { hone_model m; hone_arena a; } fixture;

static int setup(void **state)
{
    static fixture f;
    hone_err       err = { 0 };
    hone_ctx       ctx = { 0 };
    f = (fixture){ 0 };
    *state = &f;
    return hone_model_open(&ctx, HONE_TEST_SOURCE_DIR "/tests/golden/tiny/llama", &f.m, &err) == HONE_OK ? 0 : -1;
}

static int teardown(void **state)
{
    fixture *f = *state;
    hone_model_close(&f->m);
    hone_arena_release(&f->a);
    return 0;
}

static const char *said(const fixture *f, const hone_plan *p, hone_role role, int32_t layer, size_t format, char *out)
{
    hone_plan_said s;
    hone_err       err = { 0 };
    hone_code      code = hone_plan_find(p, &f->m, hone_model_find(&f->m, role, HONE_PART_WEIGHT, layer), format, &s, &err);
    (void)snprintf(out, 600, "%s", code != HONE_OK ? err.cause : !s.line ? "-" : s.word ? s.word : s.line->bits == 4 ? "4 bits" : "other bits");
    return out;
}

static void the_closest_line_holds(void **state)
{
    fixture  *f = *state;
    hone_plan p = plan_of(HEAD "weights:\n- bits: 4\n- {role: ffn_down, gguf: q6_k}\n- {layer: 1, gguf: q8_0}\n- {role: ffn_down, layer: 0-1, gguf: q5_k}\n"
                            "- {role: ffn_down, layer: 1, gguf: q3_k}\n- {tensor: 'model.layers.0.*', mlx: int6 g64}\n"
                            "- {tensor: model.layers.0.self_attn.q_proj.weight, gguf: q2_k}\n", &f->a);
    char out[600];
    assert_string_equal(said(f, &p, HONE_R_OUTPUT, -1, GGUF, out), "4 bits");
    assert_string_equal(said(f, &p, HONE_R_FFN_DOWN, 0, GGUF, out), "q5_k");
    assert_string_equal(said(f, &p, HONE_R_FFN_DOWN, 1, GGUF, out), "q3_k");
    assert_string_equal(said(f, &p, HONE_R_FFN_UP, 1, GGUF, out), "q8_0");
    assert_string_equal(said(f, &p, HONE_R_FFN_UP, 0, GGUF, out), "4 bits");
    assert_string_equal(said(f, &p, HONE_R_FFN_UP, 0, MLX, out), "int6 g64");
    assert_string_equal(said(f, &p, HONE_R_ATTN_Q, 0, GGUF, out), "q2_k");
    assert_string_equal(said(f, &p, HONE_R_ATTN_NORM, 0, GGUF, out), "-");
    assert_int_equal(hone_plan_check(&p, &f->m, NULL), HONE_OK);
}

static void two_lines_that_disagree_are_both_named(void **state)
{
    fixture  *f = *state;
    hone_plan p = plan_of(HEAD "weights:\n- {role: attn_q, layer: 0, gguf: q4_k}\n- {role: attn_q, layer: 0, gguf: q6_k}\n", &f->a),
              q = plan_of(HEAD "weights:\n- {role: attn_q, layer: 0, gguf: q4_k}\n- {role: attn_q, layer: 0, gguf: q4_k, mlx: int4 g32}\n", &f->a);
    char      out[600];
    assert_string_equal(said(f, &p, HONE_R_ATTN_Q, 0, GGUF, out),
                        "the plan: lines 3 and 4 disagree about 'model.layers.0.self_attn.q_proj.weight' in gguf: q4_k and q6_k");
    assert_string_equal(said(f, &q, HONE_R_ATTN_Q, 0, GGUF, out), "q4_k");
}

static void lines_that_name_nothing_are_refused(void **state)
{
    static const struct { const char *line, *cause, *remedy; } bad[] = {
        { "{tensor: model.layers.0.self_attn.q_prj.weight, bits: 4}", "the plan: line 3: the model has no weight 'tensor: model.layers.0.self_attn.q_prj.weight'",
          "did you mean model.layers.0.self_attn.q_proj.weight?" },
        { "{role: attn_q, layer: 2, bits: 4}", "the plan: line 3: the model has no weight 'role: attn_q, layer: 2'", "hone convert --dry-run --json lists the weights" },
        { "{role: attn_norm, bits: 4}", "the plan: line 3: 'role: attn_norm' names no matrix: norms and biases stay as they are", "leave the line out" },
    };
    fixture *f = *state;
    for (size_t i = 0; i < HONE_COUNT(bad); i++) {
        char     text[300];
        hone_err err = { 0 };
        (void)snprintf(text, sizeof text, HEAD "weights:\n- %s\n", bad[i].line);
        hone_plan p = plan_of(text, &f->a);
        assert_int_equal(hone_plan_check(&p, &f->m, &err), HONE_EINPUT);
        assert_string_equal(err.cause, bad[i].cause);
        assert_string_equal(err.remedy, bad[i].remedy);
    }
}

static void words_that_a_format_or_a_width_has_not_are_refused(void **state)
{
    static const struct { const char *format, *word, *cause; } bad[] = {
        { "gguf", "int4 g32", "gguf has no encoding 'int4 g32'" },
        { "gguf", "i8", "gguf has no encoding 'i8'" },
        { "mlx", "int7 g64", "mlx has no encoding 'int7 g64'" },
        { "mlx", "int4 g48", "mlx has no encoding 'int4 g48'" },
        { "mlx", "int4 sym g64", "mlx has no encoding 'int4 sym g64'" },
        { "onnx", "int4 per row", "onnx has no encoding 'int4 per row'" },
        { "onnx", "bf16", "onnx has no encoding 'bf16'" },
        { "openvino", "int3 asym g32", "openvino has no encoding 'int3 asym g32'" },
        { "openvino", "int4 asym g512", "int4 asym g512 in openvino: rows have 256 columns, needs a multiple of 512" },
    };
    fixture *f = *state;
    for (size_t i = 0; i < HONE_COUNT(bad); i++) {
        char              text[300], want[400];
        hone_err          err = { 0 };
        hone_choice       c;
        bool              given, by_name;
        const hone_usual  u = { .group = 64, .plain = HONE_DTYPE_F32 };
        const hone_format *format = hone_convert_format_find(bad[i].format, strlen(bad[i].format));
        (void)snprintf(text, sizeof text, HEAD "weights:\n- {role: attn_q, layer: 1, %s: %s}\n", bad[i].format, bad[i].word);
        (void)snprintf(want, sizeof want, "the plan: line 3: role: attn_q, layer: 1: %s", bad[i].cause);
        hone_plan p = plan_of(text, &f->a);
        assert_int_equal(hone_choice_planned(&p, &f->m, format, hone_model_find(&f->m, HONE_R_ATTN_Q, HONE_PART_WEIGHT, 1), &u, &c, &given, &by_name, &err), HONE_EINPUT);
        assert_string_equal(err.cause, want);
    }
}

/* Every encoding has one word, and the word means it. */
static void words_and_encodings_go_both_ways(void **state)
{
    fixture *f = *state;
    for (size_t k = 0; hone_convert_format(k); k++) {
        const hone_usual u = { .group = 32, .plain = k == ONNX ? HONE_DTYPE_F32 : HONE_DTYPE_F16 };
        hone_choice      c, d;
        size_t           n = 0;
        for (size_t i = 0; hone_choice_at(hone_convert_format(k), i, &u, &c); i++, n++) {
            const char *word = hone_choice_word(hone_convert_format(k), &c, &f->a);
            assert_non_null(word);
            assert_int_equal(hone_choice_parse(hone_convert_format(k), word, &u, &d, NULL), HONE_OK);
            assert_true(hone_choice_same(&c, &d));
        }
        assert_true(n > 10);
        for (uint32_t bits = 2; bits <= 32; bits++) {
            c = hone_choice_of_bits(hone_convert_format(k), bits, &u, 96);
            assert_int_equal(hone_choice_fits(&c, 96, NULL), HONE_OK);
        }
    }
}

static void sensitivities_are_those_of_any_number_of_threads_and_fall_with_bits(void **state)
{
    fixture           *f = *state;
    hone_sense_request r = { .formats = { [GGUF] = true, [OPENVINO] = true } };
    hone_sense         one = { 0 }, three = { 0 };
    hone_ctx           ctx = { .threads = 3 };
    for (size_t k = 0; k < HONE_PLAN_FORMATS; k++) r.usual[k] = (hone_usual){ .group = 32, .plain = k == ONNX ? HONE_DTYPE_F32 : HONE_DTYPE_F16 };
    assert_int_equal(hone_sense_errors(NULL, &f->m, &r, &f->a, &one, NULL), HONE_OK);
    assert_int_equal(hone_sense_errors(&ctx, &f->m, &r, &f->a, &three, NULL), HONE_OK);
    assert_int_equal(one.n, 2 * 7 + 2);
    assert_int_equal(one.n, three.n);
    for (size_t i = 0; i < one.n; i++) {
        const hone_sense_weight *x = &one.weights[i], *y = &three.weights[i];
        assert_true(x->power > 0 && x->power == y->power && x->coarse.error == y->coarse.error);
        for (size_t k = 0; k < HONE_PLAN_FORMATS; k++) {
            assert_int_equal(x->n[k], y->n[k]);
            assert_true((x->n[k] > 0) == (k == GGUF || k == OPENVINO));
            if (x->n[k] == 0) continue;
            for (size_t j = 0; j < x->n[k]; j++) assert_true(x->of[k][j].error == y->of[k][j].error && x->of[k][j].error < x->power);
            assert_true(x->of[k][0].error > 10 * x->of[k][x->n[k] - 1].error);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(a_recipe_holds_the_lines_of_its_format),
        cmocka_unit_test(bad_files_are_refused_with_line_and_cause),
        cmocka_unit_test_setup_teardown(the_closest_line_holds, setup, teardown),
        cmocka_unit_test_setup_teardown(two_lines_that_disagree_are_both_named, setup, teardown),
        cmocka_unit_test_setup_teardown(lines_that_name_nothing_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(words_that_a_format_or_a_width_has_not_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(words_and_encodings_go_both_ways, setup, teardown),
        cmocka_unit_test_setup_teardown(sensitivities_are_those_of_any_number_of_threads_and_fall_with_bits, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
