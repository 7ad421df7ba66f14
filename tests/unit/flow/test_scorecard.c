/* The scorecard: who wins and why, rows that failed, and a page in which every name stays text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "flow/scorecard.h"
#include <string.h>

#define EVIL "<script>alert(1)</script>\"'&"
#define TAMED "&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;"

/* A row as the parts leave it.  kv below 0: the runtime does not say. */
static json_t *row(const char *name, double speed, double half, int weights, int kv, double rss, double accuracy, double kld, const char *verdict)
{
    json_t *r = json_pack("{s:s,s:s,s:s,s:s,s:s,s:i}", "path", name, "name", name, "label", name, "format", "onnx", "precision", "f32", "bytes", weights);
    json_t *b = json_pack("{s:s,s:s,s:s,s:f,s:f,s:i,s:i,s:f,s:{s:[f,f]},s:{s:i}}", "runtime", name, "version", name, "device", "cpu", "decode_tok_s", speed, "prefill_tok_s",
                          10 * speed, "weights_bytes", weights, "compute_bytes", 1, "peak_rss_bytes", rss, "ci", "decode_tok_s", speed - half, speed + half, "run", "rounds", 3);
    json_t *e = json_pack("{s:f,s:f,s:s}", "accuracy", accuracy, "kld_mean", kld, "protocol", name);
    assert_true(r && b && e);
    (void)json_object_set_new(b, "kv_bytes", kv < 0 ? json_null() : json_integer(kv));
    (void)json_object_set_new(r, "bench", b);
    (void)json_object_set_new(r, "eval", e);
    if (verdict) (void)json_object_set_new(r, "check", json_pack("{s:s,s:s,s:{s:i,s:i,s:s},s:[{s:s,s:s,s:s}]}", "verdict", verdict, "why", name, "tokenizer", "cases", 2,
                                                               "mismatches", 1, "first", name, "limits", "consumer", name, "consequence", name, "cause", name));
    return r;
}

static const char *winner(const hone_scorecard *s, const char *what) { return json_string_value(json_object_get(json_object_get(s->winners, what), "path")); }
static bool        clear(const hone_scorecard *s, const char *what) { return json_is_true(json_object_get(json_object_get(s->winners, what), "clear")); }

static void each_preference_has_its_winner(void **state)
{
    hone_scorecard s = { .rows = json_array() };
    hone_err       err = { 0 };
    (void)state;
    (void)json_array_append_new(s.rows, row("wide", 100, 1, 4000, 100, 9000, 0.90, 0, "pass"));
    (void)json_array_append_new(s.rows, row("fast", 300, 5, 1500, 100, 8000, 0.85, 0.02, "pass"));
    (void)json_array_append_new(s.rows, row("lean", 200, 5, 1000, 100, 7000, 0.85, 0.01, "pass"));
    (void)json_array_append_new(s.rows, row("wrong", 900, 5, 10, 1, 10, 0.99, 0, "fail"));
    assert_int_equal(hone_scorecard_judge(&s, .5, .3, .2, &err), HONE_OK);
    assert_string_equal(winner(&s, "speed"), "fast"); /* what failed its proof wins nothing */
    assert_true(clear(&s, "speed"));
    assert_string_equal(winner(&s, "memory"), "lean");
    assert_string_equal(winner(&s, "accuracy"), "wide");
    assert_string_equal(winner(&s, "balanced"), "fast");
    assert_null(json_object_get(json_array_get(s.rows, 3), "score"));
    assert_string_equal(json_string_value(json_object_get(json_array_get(s.rows, 0), "memory_basis")), "reported");
    /* Speeds whose intervals overlap: said. */
    (void)json_array_append_new(s.rows, row("near", 301, 20, 5000, 100, 9500, 0.85, 0.02, "pass"));
    /* One runtime that does not report its cache: all are compared by the peak of the process. */
    (void)json_array_append_new(s.rows, row("mute", 50, 1, 100, -1, 6000, 0.9, 0.001, NULL));
    assert_int_equal(hone_scorecard_judge(&s, 0, 0, 1, &err), HONE_OK);
    assert_string_equal(winner(&s, "speed"), "near");
    assert_false(clear(&s, "speed"));
    assert_string_equal(winner(&s, "memory"), "mute");
    assert_string_equal(winner(&s, "balanced"), "mute");
    assert_string_equal(winner(&s, "accuracy"), "wide"); /* of equals the closest to the reference */
    assert_string_equal(json_string_value(json_object_get(json_array_get(s.rows, 0), "memory_basis")), "peak_rss");
    hone_scorecard_release(&s);
}

static void without_measurements_nobody_wins(void **state)
{
    hone_scorecard s = { .rows = json_array() };
    hone_err       err = { 0 };
    (void)state;
    (void)json_array_append_new(s.rows, json_pack("{s:s,s:s,s:s,s:{s:s,s:s,s:i,s:s,s:n}}", "path", "a", "name", "a", "label", "a", "failure", "part", "open", "code", "bad_input", "exit", 3,
                                                  "cause", "there is no 'a'", "remedy"));
    assert_int_equal(hone_scorecard_judge(&s, .5, .3, .2, &err), HONE_OK);
    assert_null(winner(&s, "speed"));
    assert_null(winner(&s, "balanced"));
    json_t *results = hone_scorecard_results(&s, "bench"), *only = json_array_get(results, 0);
    assert_true(json_is_true(json_object_get(only, "failed")) && json_is_null(json_object_get(only, "decode_tok_s")));
    assert_string_equal(json_string_value(json_object_get(only, "failure")), "there is no 'a'");
    assert_string_equal(json_string_value(json_object_get(only, "path")), "a");
    json_decref(results);
    hone_scorecard_release(&s);
}

static void names_stay_text_on_the_page(void **state)
{
    hone_scorecard s = { .rows = json_array() };
    hone_err       err = { 0 };
    hone_text      page = { 0 };
    json_t        *about = json_pack("{s:s,s:s,s:s,s:{s:{s:s,s:i}}}", "verb", EVIL, "command", EVIL, "hone", EVIL, "machine", "cpu", "model", EVIL, "cores", 2);
    json_t        *r = row(EVIL, 100, 1, 4000, 100, 9000, 0.9, 0.01, "fail"), *one;
    (void)state;
    one = json_pack("{s:s,s:s,s:s,s:s,s:i,s:i,s:f,s:i,s:i,s:[{s:i,s:f,s:f,s:f,s:i,s:[f,f]}]}", "path", EVIL, "reference", EVIL, "runtime", EVIL, "reference_runtime", EVIL, "ids", 2, "width",
                    4, "bound", 1e-3, "parts_at", 0, "parts_at_position", 1, "layers", "layer", 0, "max_abs", 1.0, "relative", 0.5, "cosine", 0.9, "worst_position", 1, "by_position", 1e-6, 0.7);
    assert_non_null(one);
    (void)json_object_set_new(r, "layers", one);
    (void)json_object_set_new(r, "layers_missing", json_string(EVIL));
    (void)json_array_append_new(s.rows, r);
    (void)json_array_append_new(s.rows, row("b" EVIL, 50, 1, 4000, 100, 9000, 0.9, 0.02, NULL));
    (void)json_array_append_new(s.rows, json_pack("{s:s,s:s,s:s,s:{s:s,s:s,s:i,s:s,s:s}}", "path", EVIL, "name", EVIL, "label", EVIL, "failure", "part", "open", "code", "bad_input", "exit", 3,
                                                  "cause", EVIL, "remedy", EVIL));
    assert_int_equal(hone_scorecard_judge(&s, .5, .3, .2, &err), HONE_OK);
    assert_int_equal(hone_scorecard_html(&s, about, &page, &err), HONE_OK);
    if (strstr(page.ptr, "<script")) fail_msg("a script got through: %.80s", strstr(page.ptr, "<script"));
    size_t n = 0;
    for (const char *p = page.ptr; (p = strstr(p, TAMED)); p++) n++;
    assert_true(n > 20);
    assert_non_null(strstr(page.ptr, "They part at layer 0, position 1."));
    assert_null(strstr(page.ptr, "nan"));
    hone_text_release(&page);
    json_decref(about);
    hone_scorecard_release(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_preference_has_its_winner),
        cmocka_unit_test(without_measurements_nobody_wins),
        cmocka_unit_test(names_stay_text_on_the_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
