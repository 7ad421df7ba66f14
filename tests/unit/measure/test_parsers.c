#include "measure/check/cases.h"
#include "measure/check/reference.h"
#include "measure/eval/protocol.h"
#include "measure/eval/tasks.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

/* ---- tasks.jsonl ---- */

static hone_code tasks(const char *text, hone_arena *a, hone_tasks *out, hone_err *err)
{
    return hone_tasks_parse((hone_bytes){ (const uint8_t *)text, strlen(text) }, "t.jsonl", 2, a, out, err);
}

static void items_keep_their_order_and_tasks_their_first_appearance(void **state)
{
    hone_arena a = { 0 };
    hone_tasks t = { 0 };
    (void)state;
    assert_int_equal(tasks("{\"task\":\"b\",\"context\":\"c\",\"choices\":[\"x\",\"yy\"],\"answer\":1}\n \r\n"
                           "{\"task\":\"a\",\"context\":\"\",\"choices\":[\"x\",\"y\",\"z\"],\"answer\":0}\n"
                           "{\"task\":\"b\",\"context\":\"d\",\"choices\":[\"x\",\"a\\u0000b\"],\"answer\":0}",
                           &a, &t, NULL),
                     HONE_OK);
    assert_int_equal(t.n_items, 3);
    assert_int_equal(t.n_names, 2);
    assert_string_equal(t.names[0], "b");
    assert_string_equal(t.names[1], "a");
    assert_int_equal(t.items[0].answer, 1);
    assert_int_equal(t.items[1].task, 1);
    assert_int_equal(t.items[1].n_choices, 3);
    assert_int_equal(t.items[2].line, 4);
    assert_int_equal(t.items[2].choices[1].len, 3); /* a NUL is text like any other */
    hone_arena_release(&a);
}

static void a_bad_line_is_named_with_what_is_wrong(void **state)
{
    static const struct { const char *text, *cause; } bad[] = {
        { "", "t.jsonl holds no items" },
        { "\n[]\n", "t.jsonl: line 2 is no object" },
        { "{\"task\":\"a\",\"choices\":[\"x\",\"y\"],\"answer\":0}", "t.jsonl: line 1: \"context\" is missing" },
        { "{\"task\":\"a\",\"context\":3,\"choices\":[\"x\",\"y\"],\"answer\":0}", "t.jsonl: line 1: \"context\" is no string" },
        { "{\"task\":\"a\",\"context\":\"c\",\"answer\":0}", "t.jsonl: line 1: \"choices\" is missing" },
        { "{\"task\":\"a\",\"context\":\"c\",\"choices\":\"xy\",\"answer\":0}", "t.jsonl: line 1: \"choices\" is no array" },
        { "{\"task\":\"a\",\"context\":\"c\",\"choices\":[\"x\"],\"answer\":0}", "t.jsonl: line 1: 1 choices, needs 2..256" },
        { "{\"task\":\"a\",\"context\":\"c\",\"choices\":[\"x\",\"\"],\"answer\":0}", "t.jsonl: line 1: choice 1 is no text" },
        { "{\"task\":\"a\",\"context\":\"c\",\"choices\":[7,\"x\"],\"answer\":0}", "t.jsonl: line 1: choice 0 is no text" },
        { "{\"task\":\"a\",\"context\":\"c\",\"choices\":[\"x\",\"y\"]}", "t.jsonl: line 1: \"answer\" is missing" },
        { "{\"task\":\"a\",\"context\":\"c\",\"choices\":[\"x\",\"y\"],\"answer\":\"0\"}", "t.jsonl: line 1: \"answer\" is no whole number" },
        { "{\"task\":\"a\",\"context\":\"c\",\"choices\":[\"x\",\"y\"],\"answer\":2}", "t.jsonl: line 1: \"answer\" is 2, there are 2 choices" },
        { "{\"task\":\"a\",\"context\":\"c\",\"choices\":[\"x\",\"y\"],\"answer\":-1}", "t.jsonl: line 1: \"answer\" is -1, there are 2 choices" },
        { "{\"context\":\"c\",\"choices\":[\"x\",\"y\"],\"answer\":0}", "t.jsonl: line 1: \"task\" is missing" },
        { "{\"task\":\"\",\"context\":\"c\",\"choices\":[\"x\",\"y\"],\"answer\":0}", "t.jsonl: line 1: \"task\" has 0 bytes, needs 1..47" },
        { "{\"task\":\"a\",\"context\":\"c\",\"choices\":[\"x\",\"y\"],\"answer\":0}\n"
          "{\"task\":\"b\",\"context\":\"c\",\"choices\":[\"x\",\"y\"],\"answer\":0}\n"
          "{\"task\":\"c\",\"context\":\"c\",\"choices\":[\"x\",\"y\"],\"answer\":0}",
          "t.jsonl: line 3: task 'c' is number 3, at most 2" },
    };
    (void)state;
    for (size_t i = 0; i < HONE_COUNT(bad); i++) {
        hone_arena a = { 0 };
        hone_tasks t = { .n_items = 77 };
        hone_err   err = { 0 };
        assert_int_equal(tasks(bad[i].text, &a, &t, &err), HONE_EINPUT);
        assert_string_equal(err.cause, bad[i].cause);
        assert_int_equal(t.n_items, 77); /* out is untouched on failure */
        hone_arena_release(&a);
    }
}

static void broken_json_names_its_line(void **state)
{
    hone_arena a = { 0 };
    hone_tasks t;
    hone_err   err = { 0 };
    (void)state;
    assert_int_equal(tasks("\n\n{\"task\":", &a, &t, &err), HONE_EINPUT);
    assert_non_null(strstr(err.cause, "t.jsonl: line 3: "));
    hone_arena_release(&a);
}

/* ---- tokenizer cases ---- */

static hone_code cases(const char *text, hone_arena *a, hone_cases *out, hone_err *err)
{
    json_t *root;
    assert_int_equal(hone_json_parse((hone_bytes){ (const uint8_t *)text, strlen(text) }, "c.json", &root, err), HONE_OK);
    hone_code code = hone_cases_parse(root, "c.json", a, out, err);
    json_decref(root);
    return code;
}

static void cases_keep_texts_ids_and_template_options(void **state)
{
    hone_arena a = { 0 };
    hone_cases c = { 0 };
    (void)state;
    assert_int_equal(cases("{\"cases\":[{\"text\":\"a\\u0000b\",\"ids\":[5,0],\"ids_with_special\":[1,5,0],\"decoded\":\"ab\"}],"
                           "\"chat\":[{\"messages\":[{\"role\":\"user\"}],\"add_generation_prompt\":true,\"tools\":[1],\"rendered\":\"x\",\"ids\":[7]},"
                           "{\"messages\":[],\"error\":\"no system\"}]}",
                           &a, &c, NULL),
                     HONE_OK);
    assert_int_equal(c.n_tokens, 1);
    assert_int_equal(c.tokens[0].text.len, 3);
    assert_int_equal(c.tokens[0].with_special.n, 3);
    assert_null(c.tokens[0].decoded_skip.ptr);
    assert_int_equal(c.n_chats, 2);
    assert_string_equal(c.chats[0].messages, "[{\"role\":\"user\"}]");
    assert_string_equal(c.chats[0].options, "{\"add_generation_prompt\":true,\"tools\":[1]}");
    assert_int_equal(c.chats[0].ids.ptr[0], 7);
    assert_string_equal(c.chats[1].error.ptr, "no system");
    hone_arena_release(&a);
}

static void a_bad_case_is_named_with_its_key(void **state)
{
    static const struct { const char *text, *cause; } bad[] = {
        { "{}", "c.json: \"cases\" is missing" },
        { "{\"cases\":7}", "c.json: \"cases\" is no array" },
        { "{\"cases\":[],\"chat\":{}}", "c.json: \"chat\" is no array" },
        { "{\"cases\":[7]}", "c.json: case 0 is no object" },
        { "{\"cases\":[{\"ids\":[]}]}", "c.json: case 0: \"text\" is missing" },
        { "{\"cases\":[{\"text\":\"\",\"ids\":[]},{\"text\":\"\"}]}", "c.json: case 1: \"ids\" is missing" },
        { "{\"cases\":[{\"text\":\"\",\"ids\":[1.5]}]}", "c.json: case 0: \"ids\" holds something that is no token id" },
        { "{\"cases\":[{\"text\":\"\",\"ids\":[2147483648]}]}", "c.json: case 0: \"ids\" holds something that is no token id" },
        { "{\"cases\":[],\"chat\":[{\"rendered\":\"\"}]}", "c.json: chat 0: \"messages\" is missing" },
        { "{\"cases\":[],\"chat\":[{\"messages\":[]}]}", "c.json: chat 0: \"rendered\" is missing, and so is \"error\"" },
        { "{\"cases\":[],\"chat\":[{\"messages\":[],\"rendered\":\"\",\"error\":\"\"}]}", "c.json: chat 0: \"rendered\" and \"error\" are both given" },
    };
    (void)state;
    for (size_t i = 0; i < HONE_COUNT(bad); i++) {
        hone_arena a = { 0 };
        hone_cases c = { .n_tokens = 77 };
        hone_err   err = { 0 };
        assert_int_equal(cases(bad[i].text, &a, &c, &err), HONE_EINPUT);
        assert_string_equal(err.cause, bad[i].cause);
        assert_int_equal(c.n_tokens, 77);
        hone_arena_release(&a);
    }
}

/* ---- the greedy part of reference.json ---- */

static void greedy_rows_must_fit_the_ids(void **state)
{
    static const struct { const char *text, *cause; } bad[] = {
        { "{\"greedy\":[[1]]}", "r.json: \"greedy\" has 1 rows, input_ids has 2" },
        { "{\"greedy\":[[1],[2]],\"greedy_top2_gap\":[[0.5]]}", "r.json: \"greedy_top2_gap\" has 1 rows, \"greedy\" has 2" },
        { "{\"greedy\":[[1],[2,3]],\"greedy_top2_gap\":[[0.5],[0.5]]}", "r.json: greedy row 1 has 2 ids and 1 gaps, needs 1" },
        { "{\"greedy\":[[1],[-2]],\"greedy_top2_gap\":[[0.5],[0.5]]}", "r.json: greedy row 1, step 0 is no token id with a gap" },
    };
    hone_arena a = { 0 };
    (void)state;
    for (size_t i = 0; i < HONE_COUNT(bad); i++) {
        hone_reference r = { .rows = 2, .cols = 4 };
        hone_err       err = { 0 };
        json_t        *root = json_loads(bad[i].text, 0, NULL);
        assert_int_equal(hone_reference_greedy(root, "r.json", &a, &r, &err), HONE_EINPUT);
        assert_string_equal(err.cause, bad[i].cause);
        assert_int_equal(r.greedy_n, 0);
        json_decref(root);
    }
    hone_reference r = { .rows = 2, .cols = 4 };
    json_t        *root = json_loads("{\"greedy\":[[1,2],[3,4]],\"greedy_top2_gap\":[[0.5,1],[0.25,2]]}", 0, NULL);
    assert_int_equal(hone_reference_greedy(root, "r.json", &a, &r, NULL), HONE_OK);
    assert_int_equal(r.greedy_n, 2);
    assert_int_equal(r.greedy[2], 3);
    assert_true(r.gaps[2] == 0.25);
    json_decref(root);
    hone_arena_release(&a);
}

/* ---- windows ---- */

static void windows_cover_each_id_once(void **state)
{
    static const struct { uint32_t window, stride; size_t n; bool bos; size_t scored; } tried[] = {
        { 511, 511, 31114, true, 31114 }, { 511, 256, 1000, true, 1000 }, { 511, 256, 1000, false, 999 }, { 4, 4, 9, true, 9 },
        { 4, 4, 9, false, 6 } /* 3 + 3 of full windows; the last holds one id alone */, { 4, 2, 9, false, 8 }, { 8, 3, 1, true, 1 },
        { 8, 3, 1, false, 0 }, { 8, 8, 16, true, 16 }, { 1, 1, 5, true, 5 },
    };
    (void)state;
    for (size_t i = 0; i < HONE_COUNT(tried); i++) {
        hone_arena    a = { 0 };
        hone_window  *w;
        size_t        n, scored = 0, next = 0;
        hone_protocol p = { .window = tried[i].window, .stride = tried[i].stride };
        assert_int_equal(hone_protocol_windows(&p, tried[i].n, tried[i].bos, &a, &w, &n, NULL), HONE_OK);
        for (size_t k = 0; k < n; k++) {
            assert_true(w[k].len <= p.window && w[k].len <= w[0].len && w[k].skip < w[k].len);
            assert_true(w[k].start + w[k].skip >= next); /* never twice */
            next = w[k].start + w[k].len;
            scored += w[k].len - w[k].skip;
        }
        assert_int_equal(scored, tried[i].scored);
        assert_true(next <= tried[i].n);
        hone_arena_release(&a);
    }
}

static void the_stated_protocol_is_taken_and_an_unknown_one_is_not(void **state)
{
    hone_protocol p = { .window = 3 };
    json_t       *known = json_pack("{s:i,s:s}", "context", 512, "perplexity_protocol",
                                    "windows of ctx-1 = 511 ids, one after another without overlap; input = [BOS] + window; ...");
    json_t *other = json_pack("{s:i,s:s}", "context", 512, "perplexity_protocol", "sliding windows, half of each scored");
    (void)state;
    assert_false(hone_protocol_from(other, &p));
    assert_int_equal(p.window, 3);
    assert_true(hone_protocol_from(known, &p));
    assert_int_equal(p.window, 511);
    assert_int_equal(p.stride, 511);
    char words[200];
    hone_protocol_words(&p, true, 1000, words, sizeof words);
    assert_string_equal(words, "windows of 511 ids behind BOS, without overlap, every id scored; the first 1000 ids of the text (as reference.json states)");
    json_decref(known);
    json_decref(other);
}

static void a_stride_longer_than_the_window_is_refused(void **state)
{
    hone_protocol p;
    hone_err      err = { 0 };
    (void)state;
    assert_int_equal(hone_protocol_find(NULL, "nowhere/x.txt", 8, 9, &p, &err), HONE_EUSAGE);
    assert_string_equal(err.cause, "stride 9 is longer than the window of 8 ids");
    assert_int_equal(hone_protocol_find(NULL, "nowhere/x.txt", 0, 0, &p, &err), HONE_OK);
    assert_int_equal(p.window, 511);
    assert_int_equal(p.stride, 256);
    assert_int_equal(hone_protocol_find(NULL, "nowhere/x.txt", 100, 0, &p, &err), HONE_OK);
    assert_int_equal(p.stride, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_keep_their_order_and_tasks_their_first_appearance),
        cmocka_unit_test(a_bad_line_is_named_with_what_is_wrong),
        cmocka_unit_test(broken_json_names_its_line),
        cmocka_unit_test(cases_keep_texts_ids_and_template_options),
        cmocka_unit_test(a_bad_case_is_named_with_its_key),
        cmocka_unit_test(greedy_rows_must_fit_the_ids),
        cmocka_unit_test(windows_cover_each_id_once),
        cmocka_unit_test(the_stated_protocol_is_taken_and_an_unknown_one_is_not),
        cmocka_unit_test(a_stride_longer_than_the_window_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
