/* The page of --html of networks: words from outside stay text, what is missing says so, failures are rows, the answer no is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "flow/net/page.h"
#include <string.h>

#define EVIL "<script>alert(1)</script>\"'&"

static hone_text page_of(const json_t *doc, const char *verb, const char *answer)
{
    hone_text                 page = { 0 };
    hone_err                  err = { 0 };
    const hone_net_page_about about = { .verb = verb, .command = EVIL, .answer = answer };
    assert_non_null(doc);
    assert_int_equal(hone_net_page_html(doc, &about, &page, &err), HONE_OK);
    assert_null(strstr(page.ptr, "<script"));
    assert_non_null(strstr(page.ptr, "</main></body></html>"));
    return page;
}

static void names_stay_text(void **state)
{
    (void)state;
    json_t   *doc = json_pack("{s:s,s:s,s:[{s:s,s:s,s:s,s:s,s:f,s:i,s:{s:[f,f]}},{s:s,s:s}]}", "data", EVIL, "reference", EVIL, "results", "path", EVIL, "runtime", EVIL, "version", EVIL,
                              "device", EVIL, "accuracy", 0.98, "bytes", 1234, "ci", "accuracy", 0.93, 0.99, "path", EVIL, "runtime", EVIL);
    hone_text page = page_of(doc, "eval", NULL);
    assert_non_null(strstr(page.ptr, "98.00 <small class=soft>[93.0, 99.0]"));
    assert_non_null(strstr(page.ptr, "2 artefacts side by side"));
    hone_text_release(&page);
    json_decref(doc);
}

static void the_answer_no_is_told(void **state)
{
    (void)state;
    json_t   *doc = json_pack("{s:[{s:s,s:f}],s:f,s:f}", "results", "path", "out/a.onnx", "top1", 0.5, "min_same", 0.9, "min_cosine", 0.8);
    hone_text page = page_of(doc, "check", "it is another model");
    assert_non_null(strstr(page.ptr, "badge fail"));
    assert_non_null(strstr(page.ptr, "it is another model"));
    assert_non_null(strstr(page.ptr, "90.00 % of the samples"));
    hone_text_release(&page);
    page = page_of(doc, "check", NULL);
    assert_non_null(strstr(page.ptr, "badge pass"));
    hone_text_release(&page);
    json_decref(doc);
}

static void a_failure_is_a_row_with_its_reason(void **state)
{
    (void)state;
    json_t *doc = json_pack("{s:[{s:s,s:b,s:s,s:s},{s:s,s:s,s:{s:f,s:n},s:{s:{s:s,s:s}}}]}", "results", "path", "a.onnx", "failed", 1, "failure", "no plug-in", "remedy", "make deps", "path",
                            "b.onnx", "runtime", "OpenVINO", "latency_ms", "p50", 0.25, "p95", "states", "latency_ms.p95", "state", "unresolved", "reason", "20 samples, p95 needs 100");
    hone_text page = page_of(doc, "bench", NULL);
    assert_non_null(strstr(page.ptr, "no plug-in <small>(make deps)"));
    assert_non_null(strstr(page.ptr, "0.250"));
    assert_non_null(strstr(page.ptr, "20 samples, p95 needs 100"));
    hone_text_release(&page);
    json_decref(doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_stay_text),
        cmocka_unit_test(the_answer_no_is_told),
        cmocka_unit_test(a_failure_is_a_row_with_its_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
