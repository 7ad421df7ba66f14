#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/json.h"
#include <math.h>

static hone_code parse(const char *text, json_t **out, hone_err *err)
{
    return hone_json_parse((hone_bytes){ (const uint8_t *)text, strlen(text) }, "t.json", out, err);
}

static void bad_json_names_file_line_and_column(void **state)
{
    json_t  *j = NULL;
    hone_err err = { 0 };
    (void)state;
    assert_int_equal(parse("{\n  \"a\": nope}", &j, &err), HONE_EINPUT);
    assert_non_null(strstr(err.cause, "t.json: line 2, column 11:"));
    assert_null(j);
}

static void duplicate_keys_are_refused(void **state)
{
    json_t  *j = NULL;
    hone_err err = { 0 };
    (void)state;
    assert_int_equal(parse("{\"a\":1,\"a\":2}", &j, &err), HONE_EINPUT);
    assert_non_null(strstr(err.cause, "duplicate object key"));
}

static void nesting_has_a_limit_that_brackets_in_strings_do_not_reach(void **state)
{
    char     deep[1400];
    json_t  *j = NULL;
    hone_err err = { 0 };
    (void)state;
    memset(deep, '[', 600);
    memset(deep + 600, ']', 600);
    deep[1200] = '\0';
    assert_int_equal(parse(deep, &j, &err), HONE_EINPUT);
    assert_string_equal(err.cause, "t.json: JSON is nested more than 512 levels deep");
    deep[0] = '"';
    memset(deep + 1, '[', 600);
    deep[601] = '\\';
    deep[602] = '"';
    deep[603] = '"';
    deep[604] = '\0';
    char wrapped[1500];
    (void)snprintf(wrapped, sizeof wrapped, "{\"a\":%s}", deep);
    assert_int_equal(parse(wrapped, &j, &err), HONE_OK);
    json_decref(j);
}

static void a_huge_integer_becomes_a_real(void **state)
{
    json_t  *j = NULL;
    hone_err err = { 0 };
    double   d = 0;
    (void)state;
    assert_int_equal(parse("{\"model_max_length\": 1000000000000000019884624838656, \"n\": 4096}", &j, &err), HONE_OK);
    assert_int_equal(hone_json_f64(j, "model_max_length", &d, &err), HONE_OK);
    assert_true(d == 1e30);
    uint32_t n = 0;
    assert_int_equal(hone_json_u32(j, "n", &n, &err), HONE_OK);
    assert_int_equal(n, 4096);
    assert_int_equal(hone_json_u32(j, "model_max_length", &n, &err), HONE_EINPUT);
    assert_int_equal(n, 4096);
    json_decref(j);
}

static void wrong_types_and_ranges_name_the_key(void **state)
{
    json_t     *j = NULL;
    hone_err    err = { 0 };
    uint32_t    n = 7;
    bool        b = true;
    const char *s = "kept";
    (void)state;
    assert_int_equal(parse("{\"s\":\"x\",\"neg\":-1,\"big\":4294967296,\"null\":null,\"list\":[]}", &j, &err), HONE_OK);
    assert_int_equal(hone_json_u32(j, "s", &n, &err), HONE_EINPUT);
    assert_string_equal(err.cause, "\"s\" is a string, needs a whole number");
    assert_int_equal(hone_json_u32(j, "neg", &n, &err), HONE_EINPUT);
    assert_string_equal(err.cause, "\"neg\" is -1, needs 0..4294967295");
    assert_int_equal(hone_json_u32(j, "big", &n, &err), HONE_EINPUT);
    assert_int_equal(hone_json_u32(j, "null", &n, &err), HONE_OK);
    assert_int_equal(hone_json_need_u32(j, "null", &n, &err), HONE_EINPUT);
    assert_string_equal(err.cause, "\"null\" is missing");
    assert_int_equal(n, 7);
    assert_int_equal(hone_json_bool(j, "list", &b, &err), HONE_EINPUT);
    assert_string_equal(err.cause, "\"list\" is an array, needs true or false");
    assert_int_equal(hone_json_str(j, "neg", &s, &err), HONE_EINPUT);
    assert_string_equal(s, "kept");
    json_decref(j);
}

static void numbers_that_json_cannot_hold_become_null(void **state)
{
    (void)state;
    json_t *a = hone_json_real(NAN), *b = hone_json_real(1.5);
    assert_true(json_is_null(a));
    assert_true(json_real_value(b) == 1.5);
    json_decref(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_json_names_file_line_and_column),
        cmocka_unit_test(duplicate_keys_are_refused),
        cmocka_unit_test(nesting_has_a_limit_that_brackets_in_strings_do_not_reach),
        cmocka_unit_test(a_huge_integer_becomes_a_real),
        cmocka_unit_test(wrong_types_and_ranges_name_the_key),
        cmocka_unit_test(numbers_that_json_cannot_hold_become_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
