/* The page: everything from the document is text, what is missing is said, and a document without its sections is our bug. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "flow/report.h"
#include "flow/report/page.h"
#include <string.h>

#define EVIL "<script>alert(1)</script>\"'&"
#define TAMED "&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;"

/* The smallest document that hone_report_html takes; name stands wherever a name can come from outside. */
static json_t *document(const char *name)
{
    json_t *doc = json_pack(
        "{s:{s:s,s:s,s:s,s:i,s:i,s:i},s:{s:s},s:{},s:s,s:{s:f,s:f,s:f},s:[{s:s,s:s,s:b,s:b,s:n,s:i,s:f,s:i,s:f,s:{s:s},s:{s:s,s:s,s:f},s:{s:f,s:f,s:{s:{s:f,s:i}}}}],"
        "s:[{s:i,s:s,s:s,s:f,s:n},{s:i,s:s,s:s,s:f,s:{s:i}}],s:[{s:s,s:s,s:b,s:f,s:f,s:s,s:b,s:s}],s:[s],s:[{s:s,s:s,s:f,s:s,s:s}],s:{s:i},s:{s:s,s:i,s:[s]},s:b}",
        "source", "name", name, "architecture", name, "dtype", "f16", "parameters", 1000, "bytes", 2000, "layers", 2, "target", "name", name, "machine", "command", name,
        "preferences", "speed", 0.5, "accuracy", 0.3, "memory", 0.2, "candidates", "quantization", name, "role", name, "pareto", 1, "chosen", 1, "excluded", "bytes", 500, "bpw",
        4.5, "ram_bytes", 900, "score", 0.9, "gates", name, "pass", "bench", "runtime", name, "version", name, "decode_tok_s", 10.0, "eval", "kld_mean", 0.01, "accuracy", 0.5,
        "tasks", name, "accuracy", 0.5, "n", 10, "stages", "stage", 1, "name", name, "what", name, "seconds", 1.0, "figures", "stage", 2, "name", name, "what", name, "seconds", 1.0,
        "figures", "bytes", 500, "gates", "name", name, "verdict", name, "blocking", 0, "value", 1.0, "threshold", 2.0, "unit", name, "at_most", 0, "why", name, "guidance", name,
        "monitoring", "metric", name, "rule", name, "threshold", 1.0, "unit", name, "why", name, "settings", "prompt", 1, "chosen", "quantization", name, "threads", 1, "because",
        name, "gates_pass", 0);
    assert_non_null(doc);
    return doc;
}

static void names_stay_text_wherever_they_stand(void **state)
{
    (void)state;
    hone_err  err = { 0 };
    hone_text page = { 0 };
    json_t   *doc = document(EVIL);
    assert_int_equal(hone_report_html(doc, &page, &err), HONE_OK);
    if (strstr(page.ptr, "<script")) fail_msg("a script got through: %.80s", strstr(page.ptr, "<script"));
    assert_null(strstr(page.ptr, EVIL));
    size_t n = 0;
    for (const char *p = page.ptr; (p = strstr(p, TAMED)); p++) n++;
    assert_true(n > 20);
    hone_text_release(&page);
    json_decref(doc);
}

static void a_missing_section_is_our_bug_and_named(void **state)
{
    (void)state;
    static const char *const needed[] = { "source", "candidates", "stages", "gates", "guidance", "monitoring", "settings" };
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        hone_err  err = { 0 };
        hone_text page = { 0 };
        char      cause[80];
        json_t   *doc = document("m");
        assert_int_equal(json_object_del(doc, needed[i]), 0);
        assert_int_equal(hone_report_html(doc, &page, &err), HONE_EBUG);
        (void)snprintf(cause, sizeof cause, "the report document has no \"%s\"", needed[i]);
        assert_string_equal(err.cause, cause);
        hone_text_release(&page);
        json_decref(doc);
    }
}

static void a_dash_holds_its_reason(void **state)
{
    (void)state;
    hone_text t = { 0 };
    json_t   *o = json_pack("{s:n,s:n,s:f,s:{s:{s:s,s:s},s:{s:s,s:s}}}", "a", "b", "c", 1.25, "states", "a", "state", "not_measured", "reason", "no \"counter\"", "b", "state",
                            "unresolved", "reason", "9 samples");
    hone_page_num(&t, o, "a", "%.1f", 1);
    assert_string_equal(t.ptr, "<span class=soft title=\"no &quot;counter&quot;\">&ndash;</span>");
    hone_text_clear(&t);
    hone_page_num(&t, o, "b", "%.1f", 1);
    assert_string_equal(t.ptr, "<span class=soft title=\"9 samples\">unresolved</span>");
    hone_text_clear(&t);
    hone_page_bytes(&t, o, "never heard of");
    assert_string_equal(t.ptr, "<span class=soft title=\"not measured\">&ndash;</span>");
    hone_text_clear(&t);
    hone_page_num(&t, o, "c", "%.1f", 10);
    assert_string_equal(t.ptr, "12.5");
    hone_text_release(&t);
    json_decref(o);
}

static void nothing_chosen_is_a_page_too(void **state)
{
    (void)state;
    hone_err  err = { 0 };
    hone_text page = { 0 };
    json_t   *doc = document("m"), *c = json_array_get(json_object_get(doc, "candidates"), 0);
    (void)json_object_set_new(c, "chosen", json_false());
    (void)json_object_set_new(c, "excluded", json_string("too <large>"));
    (void)json_object_set_new(c, "bench", json_null());
    (void)json_object_set_new(c, "eval", json_null());
    (void)json_object_set_new(c, "score", json_null());
    (void)json_object_set_new(c, "ram_bytes", json_null());
    (void)json_object_set_new(doc, "chosen", json_null());
    (void)json_object_set_new(doc, "gates", json_array());
    (void)json_object_set_new(doc, "monitoring", json_array());
    assert_int_equal(hone_report_html(doc, &page, &err), HONE_OK);
    assert_non_null(strstr(page.ptr, "no candidate meets the constraints"));
    assert_non_null(strstr(page.ptr, "too &lt;large&gt;"));
    assert_non_null(strstr(page.ptr, "No candidate met the constraints, so no gate was applied."));
    assert_non_null(strstr(page.ptr, "<p>not measured</p>"));
    assert_null(strstr(page.ptr, "nan"));
    hone_text_release(&page);
    json_decref(doc);
}

static size_t count(const char *text, const char *word)
{
    size_t n = 0;
    for (const char *p = text; (p = strstr(p, word)); p += strlen(word)) n++;
    return n;
}

/* x and y of the label that says name. */
static void label_at(const char *page, const char *name, double *x, double *y)
{
    char        end[40];
    const char *p, *from;
    (void)snprintf(end, sizeof end, ">%s</text></g>", name);
    p = strstr(page, end);
    assert_non_null(p);
    for (from = p; strncmp(from, "<text", 5) != 0; from--) assert_true(from > page);
    from = strstr(from, " x=");
    assert_int_equal(sscanf(from, " x=%lf y=%lf", x, y), 2);
}

static void labels_of_near_dots_do_not_lie_on_each_other(void **state)
{
    (void)state;
    hone_text page = { 0 };
    json_t   *doc = json_object(), *list = json_array();
    char      names[10][8];
    double    x[10], y[10];
    for (int i = 0; i < 10; i++) {
        (void)snprintf(names[i], sizeof names[i], "enc_%c", 'a' + i);
        (void)json_array_append_new(list, json_pack("{s:s,s:s,s:i,s:i,s:{s:f}}", "quantization", names[i], "role", "candidate", "ram_bytes", 1000000 + 20000 * (i % 3), "bytes",
                                                    1000000, "bench", "decode_tok_s", 100.0 + 0.2 * i));
    }
    (void)json_array_append_new(list, json_pack("{s:s,s:s,s:i,s:i,s:{s:f}}", "quantization", "far", "role", "baseline", "ram_bytes", 9000000, "bytes", 1, "bench", "decode_tok_s", 10.0));
    (void)json_object_set_new(doc, "candidates", list);
    hone_chart_pareto(&page, doc);
    assert_int_equal(count(page.ptr, "<circle "), 11);
    for (int i = 0; i < 10; i++) label_at(page.ptr, names[i], &x[i], &y[i]);
    for (int i = 0; i < 10; i++) {
        assert_true(x[i] > 0 && x[i] < 430 && y[i] > 0 && y[i] < 330);
        for (int k = 0; k < i; k++)
            if (x[i] - x[k] < 30 && x[k] - x[i] < 30 && y[i] - y[k] < 10 && y[k] - y[i] < 10)
                fail_msg("%s (%.0f, %.0f) lies on %s (%.0f, %.0f)", names[i], x[i], y[i], names[k], x[k], y[k]);
    }
    hone_text_release(&page);
    json_decref(doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_stay_text_wherever_they_stand),
        cmocka_unit_test(a_missing_section_is_our_bug_and_named),
        cmocka_unit_test(a_dash_holds_its_reason),
        cmocka_unit_test(nothing_chosen_is_a_page_too),
        cmocka_unit_test(labels_of_near_dots_do_not_lie_on_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
