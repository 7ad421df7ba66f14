/* From records to a decision: limits, the Pareto front, scores, the strategy of the target, gates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "flow/optimize/judge.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static hone_optimize_options opt;
static hone_ctx              ctx;

static hone_opt_state *state_new(void)
{
    opt = (hone_optimize_options){ .min_accuracy = 0.95, .prefer_speed = 0.5, .prefer_accuracy = 0.3, .prefer_memory = 0.2, .gate_speed = 2, .gate_memory = 0.5,
                                   .gate_variation = 0.2 };
    hone_opt_state *s = hone_opt_state_new(&ctx, &opt);
    assert_non_null(s);
    s->threads = 1;
    return s;
}

/* half: of the speed's 95 % interval.  accuracy or kld below 0: not measured. */
static hone_candidate *add(hone_opt_state *s, const char *quant, double speed, double half, double memory, double accuracy, double kld)
{
    hone_candidate *c = &s->c[s->n];
    *c = (hone_candidate){ .quant = quant, .path = "x.gguf", .sha256 = "00", .role = s->n ? HONE_OPT_CANDIDATE : HONE_OPT_BASELINE, .bytes = (uint64_t)memory };
    c->bench = json_pack("{s:f,s:f,s:i,s:i,s:f,s:{s:[f,f]}}", "decode_tok_s", speed, "weights_bytes", memory, "kv_bytes", 0, "compute_bytes", 0, "cv", 0.05, "ci",
                         "decode_tok_s", speed - half, speed + half);
    c->eval = json_object();
    assert_non_null(c->bench);
    assert_non_null(c->eval);
    if (accuracy >= 0) (void)json_object_set_new(c->eval, "accuracy", json_real(accuracy));
    if (kld >= 0) (void)json_object_set_new(c->eval, "kld_mean", json_real(kld));
    s->n++;
    return c;
}

/* Items of one task: right ones first. */
static void answer(hone_candidate *c, size_t n, size_t right)
{
    char *items = calloc(n + 1, 1);
    assert_non_null(items);
    for (size_t i = 0; i < n; i++) items[i] = i < right ? '1' : '0';
    (void)json_object_set_new(c->eval, "tasks", json_pack("{s:{s:f,s:I,s:s}}", "t", "accuracy", (double)right / (double)n, "n", (json_int_t)n, "items", items));
    (void)json_object_set_new(c->eval, "accuracy", json_real((double)right / (double)n));
    free(items);
}

static const json_t *gate_of(const json_t *gates, const char *name)
{
    size_t  i;
    json_t *g;
    json_array_foreach((json_t *)(uintptr_t)gates, i, g)
        if (strcmp(json_string_value(json_object_get(g, "name")), name) == 0) return g;
    fail_msg("no gate '%s'", name);
    return NULL;
}

/* The verdict of one gate when c is chosen and both final benchmarks are those of stage 3. */
static const char *verdict(hone_opt_state *s, hone_candidate *c, const char *name, bool *all)
{
    static char out[32];
    hone_err    err = { 0 };
    json_t     *gates = NULL;
    bool        pass = false;
    json_decref(s->final_base);
    json_decref(s->final_chosen);
    s->chosen = c;
    s->final_base = json_incref(s->c[0].bench);
    s->final_chosen = json_incref(c->bench);
    assert_int_equal(hone_opt_gates(s, &gates, &pass, &err), HONE_OK);
    (void)snprintf(out, sizeof out, "%s", json_string_value(json_object_get(gate_of(gates, name), "verdict")));
    if (all) *all = pass;
    json_decref(gates);
    return out;
}

static void the_front_holds_what_nothing_dominates(void **state)
{
    (void)state;
    hone_opt_state *s = state_new();
    hone_candidate *base = add(s, "bf16", 100, 1, 1000, 0.90, -1), *wide = add(s, "q8_0", 150, 1, 600, 0.90, 0.001), *mid = add(s, "q5_0", 140, 1, 500, 0.88, 0.01);
    hone_candidate *worse = add(s, "q5_1", 139, 1, 500, 0.88, 0.02), *twin = add(s, "q5_k", 140, 1, 500, 0.88, 0.01), *small = add(s, "q2_k", 200, 1, 300, 0.70, 0.3);
    hone_opt_choose(s);
    assert_false(base->pareto); /* q8_0 is as accurate, faster and smaller */
    assert_true(wide->pareto);
    assert_true(mid->pareto);
    assert_false(worse->pareto);
    assert_true(twin->pareto); /* equals do not dominate each other */
    assert_true(small->pareto);
    hone_opt_state_release(s);
}

static void without_tasks_the_divergence_is_the_accuracy_of_the_front(void **state)
{
    (void)state;
    hone_opt_state *s = state_new();
    hone_candidate *base = add(s, "bf16", 100, 1, 1000, -1, -1), *a = add(s, "q8_0", 150, 1, 600, -1, 0.001), *b = add(s, "q6_k", 140, 1, 600, -1, 0.002);
    hone_opt_choose(s);
    assert_true(base->pareto); /* nothing is closer to the baseline than itself */
    assert_true(a->pareto);
    assert_false(b->pareto);
    assert_ptr_equal(s->chosen, a);
    assert_true(fabs(a->score - (0.5 + 0.3 * exp(-0.001) + 0.2)) < 1e-9);
    hone_opt_state_release(s);
}

static void the_score_weighs_speed_accuracy_and_memory(void **state)
{
    (void)state;
    hone_opt_state *s = state_new();
    hone_candidate *base = add(s, "bf16", 100, 1, 1000, 0.80, -1), *a = add(s, "q8_0", 200, 1, 500, 0.84, 0.01), *b = add(s, "q4_0", 160, 1, 250, 0.78, 0.1);
    hone_opt_choose(s);
    assert_true(fabs(base->score - (0.5 * 0.5 + 0.3 + 0.2 * 0.25)) < 1e-9);
    assert_true(fabs(a->score - (0.5 + 0.3 + 0.2 * 0.5)) < 1e-9); /* more accurate than the baseline counts as 1 */
    assert_true(fabs(b->score - (0.5 * 0.8 + 0.3 * 0.78 / 0.80 + 0.2)) < 1e-9);
    assert_ptr_equal(s->chosen, a);
    opt.prefer_speed = 0.1;
    opt.prefer_memory = 0.6;
    hone_opt_choose(s);
    assert_ptr_equal(s->chosen, b);
    hone_opt_state_release(s);
}

static void limits_exclude_with_both_numbers_and_where_they_come_from(void **state)
{
    (void)state;
    hone_opt_state *s = state_new();
    s->max_ram = 700;
    s->max_ram_from = "what the target has available";
    s->max_bytes = 450;
    s->max_bytes_from = "--max-bytes";
    add(s, "bf16", 100, 1, 1000, 0.80, -1);
    hone_candidate *big = add(s, "q8_0", 200, 1, 800, 0.80, 0), *heavy = add(s, "q6_k", 200, 1, 500, 0.80, 0), *poor = add(s, "q2_k", 300, 1, 200, 0.70, 1);
    hone_candidate *dead = add(s, "q4_0", 200, 1, 300, 0.80, 0), *slow = add(s, "q4_k", 0, 0, 300, 0.80, 0), *good = add(s, "q4_1", 150, 1, 300, 0.79, 0);
    (void)snprintf(dead->failure, sizeof dead->failure, "killed by signal 9");
    hone_opt_choose(s);
    assert_string_equal(s->c[0].excluded, "needs 1.00 kB of memory, the limit is 700 B (what the target has available)");
    assert_string_equal(big->excluded, "needs 800 B of memory, the limit is 700 B (what the target has available)");
    assert_string_equal(heavy->excluded, "the file has 500 B, the limit is 450 B (--max-bytes)");
    assert_string_equal(poor->excluded, "keeps 87.5 % of the baseline's accuracy, needed 95.0 %");
    assert_string_equal(dead->excluded, "failed: killed by signal 9");
    assert_string_equal(slow->excluded, "speed or memory not measured");
    assert_string_equal(good->excluded, "");
    assert_ptr_equal(s->chosen, good);
    assert_false(dead->pareto);
    (void)json_object_set_new(good->eval, "accuracy", json_real(0.1));
    hone_opt_choose(s);
    assert_null(s->chosen);
    hone_opt_state_release(s);
}

static void other_token_ids_exclude_whatever_the_speed(void **state)
{
    (void)state;
    hone_opt_state *s = state_new();
    add(s, "bf16", 100, 1, 1000, 0.80, -1);
    hone_candidate *a = add(s, "q8_0", 300, 1, 500, 0.80, 0), *b = add(s, "q6_k", 200, 1, 500, 0.80, 0);
    hone_opt_choose(s);
    assert_ptr_equal(s->chosen, a);
    a->check = json_pack("{s:{s:i,s:i}}", "tokenizer", "cases", 10, "mismatches", 1);
    hone_opt_choose(s);
    assert_ptr_equal(s->chosen, b);
    assert_string_equal(a->excluded, "token ids or chat template differ from the source");
    hone_opt_state_release(s);
}

static hone_opt_state *with_strategy(double rival_speed, double half)
{
    hone_opt_state *s = state_new();
    s->target = (hone_target){ .name = "phone", .format = "gguf", .quantization = "q4_k_m" };
    s->strategy_quant = "q4_k_m";
    add(s, "bf16", 100, 1, 1000, 0.80, -1);
    add(s, "q4_k_m", 200, half, 300, 0.80, 0.01);
    add(s, "q4_0", rival_speed, half, 300, 0.80, 0.02);
    hone_opt_choose(s);
    return s;
}

static void the_strategy_is_confirmed_by_the_best_score(void **state)
{
    (void)state;
    hone_opt_state *s = with_strategy(190, 1);
    assert_int_equal(s->strategy, HONE_OPT_CONFIRMED);
    assert_string_equal(s->chosen->quant, "q4_k_m");
    assert_string_equal(s->strategy_why, "the strategy for phone, q4_k_m in gguf, is confirmed by measurement: no eligible encoding scores higher");
    hone_opt_state_release(s);
}

static void the_strategy_stands_when_the_lead_is_noise(void **state)
{
    (void)state;
    hone_opt_state *s = with_strategy(204, 10);
    assert_int_equal(s->strategy, HONE_OPT_CONFIRMED);
    assert_string_equal(s->chosen->quant, "q4_k_m");
    assert_non_null(strstr(s->strategy_why, "stands: the lead of q4_0 (score 1.000 against 0.990) is within the uncertainty of the speeds (0.035)"));
    hone_opt_state_release(s);
}

static void the_strategy_is_overruled_by_a_clear_lead(void **state)
{
    (void)state;
    hone_opt_state *s = with_strategy(250, 5);
    assert_int_equal(s->strategy, HONE_OPT_OVERRULED);
    assert_string_equal(s->chosen->quant, "q4_0");
    assert_non_null(strstr(s->strategy_why, "is overruled by measurement: q4_0 scores 1.000 against 0.900, with 1.25 x the speed and 100 % of the memory, at 80.0 % task accuracy against 80.0 %"));
    hone_opt_state_release(s);
}

static void a_strategy_outside_the_limits_says_so(void **state)
{
    (void)state;
    hone_opt_state *s = with_strategy(190, 1);
    s->target.quantization = "int4"; /* of another format: q4_k_m is only the nearest */
    s->target.format = "onnx";
    s->max_bytes = 299;
    s->max_bytes_from = "--max-bytes";
    s->c[2].bytes = 200;
    hone_opt_choose(s);
    assert_int_equal(s->strategy, HONE_OPT_IMPOSSIBLE);
    assert_string_equal(s->chosen->quant, "q4_0");
    assert_string_equal(s->strategy_why,
                        "q4_k_m, the GGUF encoding nearest to the strategy for phone (int4 in onnx), is ruled out: the file has 300 B, the limit is 299 B (--max-bytes)");
    hone_opt_state_release(s);
}

static void the_accuracy_gate_compares_the_same_items(void **state)
{
    (void)state;
    hone_opt_state *s = state_new();
    hone_candidate *base = add(s, "bf16", 100, 1, 1000, 0, -1), *c = add(s, "q4_0", 300, 1, 300, 0, 0.01);
    answer(base, 1000, 900);
    answer(c, 1000, 890); /* ten items lost, none won: 98.9 % +- 0.7 % */
    hone_opt_choose(s);
    assert_string_equal(verdict(s, c, "accuracy", NULL), "pass");
    answer(c, 1000, 850); /* 94.4 % +- 1.5 % holds 95 % */
    hone_opt_choose(s);
    assert_string_equal(verdict(s, c, "accuracy", NULL), "unresolved");
    answer(c, 1000, 700);
    hone_opt_choose(s);
    assert_string_equal(verdict(s, c, "accuracy", NULL), "fail");
    answer(base, 20, 18); /* all agree, but twenty items cannot exclude a loss of 5 % */
    answer(c, 20, 18);
    hone_opt_choose(s);
    assert_string_equal(verdict(s, c, "accuracy", NULL), "unresolved");
    hone_opt_state_release(s);
}

static void what_was_not_measured_never_passes(void **state)
{
    (void)state;
    bool            all = true;
    hone_opt_state *s = state_new();
    add(s, "bf16", 100, 1, 1000, -1, -1);
    hone_candidate *c = add(s, "q4_0", 300, 1, 300, -1, 0.01);
    hone_opt_choose(s);
    assert_string_equal(verdict(s, c, "accuracy", &all), "not_measured");
    assert_false(all);
    (void)json_object_del(c->bench, "cv");
    (void)json_object_del(c->bench, "weights_bytes");
    (void)json_object_del(c->bench, "decode_tok_s");
    assert_string_equal(verdict(s, c, "consistent latency", NULL), "not_measured");
    assert_string_equal(verdict(s, c, "memory", NULL), "not_measured");
    assert_string_equal(verdict(s, c, "speed", &all), "not_measured");
    assert_false(all);
    hone_opt_state_release(s);
}

static void gates_pass_fail_or_stay_unresolved(void **state)
{
    (void)state;
    bool            all = false;
    hone_opt_state *s = state_new();
    hone_candidate *base = add(s, "bf16", 100, 1, 1000, 0, -1), *c = add(s, "q4_0", 300, 3, 300, 0, 0.01);
    answer(base, 1000, 900);
    answer(c, 1000, 900);
    c->check = json_pack("{s:{s:i,s:i},s:{s:i,s:i}}", "tokenizer", "cases", 10, "mismatches", 0, "template", "cases", 0, "mismatches", 0);
    hone_opt_choose(s);
    assert_string_equal(verdict(s, c, "speed", &all), "pass");
    assert_true(all); /* no template to compare is said, and not held against the model */
    assert_string_equal(verdict(s, c, "template parity", NULL), "not_measured");
    assert_string_equal(verdict(s, c, "token parity", NULL), "pass");
    assert_string_equal(verdict(s, c, "memory", NULL), "pass");
    (void)json_object_set_new(c->bench, "weights_bytes", json_real(501));
    assert_string_equal(verdict(s, c, "memory", &all), "fail");
    assert_false(all);
    (void)json_object_set_new(c->bench, "weights_bytes", json_real(500)); /* the threshold itself is enough */
    assert_string_equal(verdict(s, c, "memory", NULL), "pass");
    opt.gate_memory = 0.4; /* thresholds are the user's */
    assert_string_equal(verdict(s, c, "memory", NULL), "fail");
    (void)json_object_set_new(c->bench, "cv", json_real(0.21));
    assert_string_equal(verdict(s, c, "consistent latency", NULL), "fail");
    (void)json_object_set_new(c->bench, "decode_tok_s", json_real(150));
    assert_string_equal(verdict(s, c, "speed", NULL), "fail");
    (void)json_object_set_new(c->bench, "decode_tok_s", json_real(201)); /* 2.01 +- 0.04 */
    assert_string_equal(verdict(s, c, "speed", &all), "unresolved");
    assert_false(all);
    hone_opt_state_release(s);
}

static void the_verdict_names_the_gates_that_do_not_pass(void **state)
{
    (void)state;
    hone_err        err = { 0 };
    bool            all;
    json_t         *gates = NULL, *doc = json_object();
    hone_opt_state *s = state_new();
    assert_int_equal(hone_opt_verdict(s, doc, &err), HONE_ENO);
    assert_string_equal(err.cause, "no encoding meets the constraints");
    add(s, "bf16", 100, 1, 1000, -1, -1);
    s->chosen = add(s, "q4_0", 150, 1, 300, -1, 0.01);
    hone_candidate *c = s->chosen;
    hone_opt_choose(s);
    s->chosen = c;
    s->final_base = json_incref(s->c[0].bench);
    s->final_chosen = json_incref(c->bench);
    assert_int_equal(hone_opt_gates(s, &gates, &all, &err), HONE_OK);
    (void)json_object_set_new(doc, "gates", gates);
    assert_int_equal(hone_opt_verdict(s, doc, &err), HONE_ENO);
    assert_string_equal(err.cause, "q4_0 does not pass: accuracy (not_measured), speed (fail)");
    json_decref(doc);
    hone_opt_state_release(s);
}

static void names_of_other_formats_have_a_nearest_gguf_encoding(void **state)
{
    (void)state;
    assert_string_equal(hone_opt_gguf_quant("int8"), "q8_0");
    assert_string_equal(hone_opt_gguf_quant("int4"), "q4_k_m");
    assert_string_equal(hone_opt_gguf_quant("q4_k_m"), "q4_k_m");
    assert_null(hone_opt_gguf_quant("int3"));
}

/* Three formats: what is absent, brief, wrong in long texts or a mere baseline is never chosen, and each is measured against the source in its own runtime. */
static void other_formats_win_only_on_what_was_measured(void **state)
{
    hone_opt_state *s = state_new();
    (void)state;
    s->context = 512;
    add(s, "bf16", 100, 1, 1000, 0.9, -1);
    hone_candidate *q = add(s, "q4_0", 200, 1, 400, 0.9, 0.01), *o = add(s, "onnx=int4", 400, 1, 400, 0.9, 0.01), *b = add(s, "onnx=f16", 500, 1, 100, 0.9, 0);
    hone_candidate *gone = add(s, "mlx=int4", 900, 1, 100, 0.9, 0);
    o->format = b->format = "onnx";
    gone->format = "mlx";
    b->role = HONE_OPT_RUNTIME_BASE;
    gone->absent = true;
    (void)snprintf(gone->failure, sizeof gone->failure, "runtime 'mlx' is not installed");
    hone_opt_choose(s);
    assert_ptr_equal(s->chosen, o);
    assert_string_equal(gone->excluded, "not measured: runtime 'mlx' is not installed");
    assert_ptr_equal(hone_opt_base_of(s, o), b);
    assert_ptr_equal(hone_opt_base_of(s, q), &s->c[0]);
    assert_string_equal(s->memory_basis, "reported");

    s->tree = q;
    hone_opt_choose(s);
    assert_int_equal(s->tree_verdict, HONE_OPT_OVERRULED);
    assert_non_null(strstr(s->tree_why, "is overruled by measurement: onnx=int4 scores"));
    s->tree = o;
    hone_opt_choose(s);
    assert_int_equal(s->tree_verdict, HONE_OPT_CONFIRMED);
    s->tree = gone;
    hone_opt_choose(s);
    assert_int_equal(s->tree_verdict, HONE_OPT_IMPOSSIBLE);

    o->brief = 64;
    hone_opt_choose(s);
    assert_ptr_equal(s->chosen, q);
    assert_non_null(strstr(o->excluded, "too slow here to measure its quality"));
    o->brief = 0;
    b->check = json_pack("{s:s,s:{s:b,s:s}}", "runtime", "ONNX Runtime", "beyond", "differs", 1, "why", "facts:window: attention looks back 8 tokens");
    hone_opt_choose(s);
    assert_ptr_equal(s->chosen, q);
    assert_non_null(strstr(o->excluded, "wrong in ONNX Runtime for texts that the target must hold (512 tokens): facts:window"));
    json_decref(b->check);
    b->check = json_pack("{s:s,s:{s:b,s:i}}", "runtime", "ONNX Runtime", "beyond", "differs", 0, "deployed_up_to", 8);
    hone_opt_choose(s);
    assert_non_null(strstr(o->excluded, "is right for texts of up to 8 tokens only"));
    json_decref(b->check);
    b->check = json_pack("{s:s,s:{s:b,s:i}}", "runtime", "ONNX Runtime", "beyond", "differs", 0, "deployed_up_to", 4096);
    hone_opt_choose(s);
    assert_ptr_equal(s->chosen, o);

    /* One runtime that does not report its buffers: all are compared by what the system saw. */
    (void)json_object_set_new(o->bench, "compute_bytes", json_null());
    for (size_t i = 0; i < s->n; i++) (void)json_object_set_new(s->c[i].bench, "peak_rss_bytes", json_real(7000 + 1000 * (double)i));
    hone_opt_choose(s);
    assert_string_equal(s->memory_basis, "peak_rss");
    assert_true(o->memory == 9000 && q->memory == 8000);
    hone_opt_state_release(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(other_formats_win_only_on_what_was_measured),
        cmocka_unit_test(the_front_holds_what_nothing_dominates),
        cmocka_unit_test(without_tasks_the_divergence_is_the_accuracy_of_the_front),
        cmocka_unit_test(the_score_weighs_speed_accuracy_and_memory),
        cmocka_unit_test(limits_exclude_with_both_numbers_and_where_they_come_from),
        cmocka_unit_test(other_token_ids_exclude_whatever_the_speed),
        cmocka_unit_test(the_strategy_is_confirmed_by_the_best_score),
        cmocka_unit_test(the_strategy_stands_when_the_lead_is_noise),
        cmocka_unit_test(the_strategy_is_overruled_by_a_clear_lead),
        cmocka_unit_test(a_strategy_outside_the_limits_says_so),
        cmocka_unit_test(the_accuracy_gate_compares_the_same_items),
        cmocka_unit_test(what_was_not_measured_never_passes),
        cmocka_unit_test(gates_pass_fail_or_stay_unresolved),
        cmocka_unit_test(the_verdict_names_the_gates_that_do_not_pass),
        cmocka_unit_test(names_of_other_formats_have_a_nearest_gguf_encoding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
