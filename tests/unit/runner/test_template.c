/* Chat templates rendered by the runtime's Jinja engine against jinja2's own output, for every checkpoint of ours that has one.
 * The expected texts were written by tests/golden/make with transformers' apply_chat_template. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/file.h"
#include "base/json.h"
#include "runner/fixture.h"
#include <stdio.h>
#include <stdlib.h>

static const char *const MODELS[] = {
    "examples/models/tale-8m",   "tests/golden/tale-moe",        "tests/golden/tiny/llama",    "tests/golden/tiny/mistral",
    "tests/golden/tiny/qwen2",   "tests/golden/tiny/qwen3",      "tests/golden/tiny/phi3",     "tests/golden/tiny/gemma2",
    "tests/golden/tiny/gemma3",  "tests/golden/tiny/smollm3",    "tests/golden/tiny/olmo2",    "tests/golden/tiny/granite",
    "tests/golden/tiny/mixtral", "tests/golden/tiny/qwen3_moe",  "tests/golden/tiny/olmoe",    "tests/golden/tiny/stablelm",
};

static fixture      f;
static hone_runner *r;

/* A token in tokenizer_config.json: a string, or an object with "content". */
static json_t *token(const json_t *config, const char *key)
{
    const json_t *t = json_object_get(config, key);
    if (json_is_object(t)) t = json_object_get(t, "content");
    return json_is_string(t) ? json_copy((json_t *)(uintptr_t)t) : json_null();
}

/* The template and tokens of a checkpoint as options for render. */
static json_t *options_of(const char *dir, hone_err *err)
{
    json_t    *config = NULL, *o = json_object();
    hone_bytes text;
    assert_int_equal(hone_json_load(hone_arena_printf(&f.a, "%s/tokenizer_config.json", dir), &config, err), HONE_OK);
    const char *file = hone_arena_printf(&f.a, "%s/chat_template.jinja", dir);
    if (hone_file_exists(file)) {
        assert_int_equal(hone_file_slurp(file, 1 << 20, &f.a, &text, err), HONE_OK);
        (void)json_object_set_new(o, "template", json_stringn((const char *)text.ptr, text.len));
    } else {
        (void)json_object_set(o, "template", json_object_get(config, "chat_template"));
    }
    assert_true(json_is_string(json_object_get(o, "template")));
    (void)json_object_set_new(o, "bos_token", token(config, "bos_token"));
    (void)json_object_set_new(o, "eos_token", token(config, "eos_token"));
    json_decref(config);
    return o;
}

static void every_chat_renders_as_jinja2_does(void **state)
{
    (void)state;
    hone_err err = { 0 };
    size_t   rendered = 0, refused = 0;
    for (size_t i = 0; i < HONE_COUNT(MODELS); i++) {
        json_t *cases = NULL, *one, *o;
        size_t  k;
        if (hone_json_load(hone_arena_printf(&f.a, "%s/tokenizer_cases.json", MODELS[i]), &cases, &err) != HONE_OK)
            fail_msg("%s", err.cause);
        o = options_of(MODELS[i], &err);
        assert_true(json_array_size(json_object_get(cases, "chat")) > 0);
        json_array_foreach (json_object_get(cases, "chat"), k, one) {
            char       *messages = json_dumps(json_object_get(one, "messages"), JSON_COMPACT), *text = NULL;
            size_t      len = 0;
            const char *want = json_string_value(json_object_get(one, "rendered"));
            const char *refusal = json_string_value(json_object_get(one, "error"));
            (void)json_object_set(o, "add_generation_prompt", json_object_get(one, "add_generation_prompt"));
            char     *opts = json_dumps(o, JSON_COMPACT);
            hone_code code = hone_runner_render(r, messages, opts, &f.a, &text, &len, &err);
            if (refusal) {
                if (code != HONE_ENO) fail_msg("%s, chat %zu: code %d instead of a refusal", MODELS[i], k, (int)code);
                assert_string_equal(err.cause, refusal);
                refused++;
            } else {
                if (code != HONE_OK) fail_msg("%s, chat %zu: %s", MODELS[i], k, err.cause);
                assert_int_equal(len, json_string_length(json_object_get(one, "rendered")));
                assert_string_equal(text, want);
                rendered++;
            }
            free(messages);
            free(opts);
        }
        json_decref(o);
        json_decref(cases);
    }
    assert_true(rendered > 100);
    assert_true(refused > 3);
}

static const char HELLO[] = "[{\"role\":\"user\",\"content\":\"Hi\"}]";

static void expect(const char *options, hone_code code, const char *text_or_cause)
{
    hone_err err = { 0 };
    char    *text = NULL;
    size_t   len = 0;
    hone_code got = hone_runner_render(r, HELLO, options, &f.a, &text, &len, &err);
    if (got != code) fail_msg("%s: code %d, expected %d: %s", options, (int)got, (int)code, got ? err.cause : text);
    assert_string_equal(got ? err.cause : text, text_or_cause);
}

static void variables_are_those_of_transformers(void **state)
{
    (void)state;
    expect("{\"template\":\"{{ tools is none }} {{ documents is none }} {{ add_generation_prompt }}\"}", HONE_OK, "True True False");
    expect("{\"template\":\"{{ bos_token }}{{ eos_token }}\"}", HONE_OK, "<|endoftext|><|endoftext|>");
    expect("{\"template\":\"{{ bos_token is defined }}\",\"bos_token\":null}", HONE_OK, "False");
    expect("{\"template\":\"{{ colour }}\",\"colour\":\"red\"}", HONE_OK, "red");
    expect("{\"template\":\"{{ tools[0].name }} {{ tools | tojson }}\",\"tools\":[{\"name\":\"f\",\"b\":1,\"a\":true}]}", HONE_OK,
           "f [{\"name\": \"f\", \"b\": 1, \"a\": true}]");
    expect("{\"template\":\"{{ strftime_now('%Y') | length }}\"}", HONE_OK, "4");
}

static void a_refusal_is_the_templates_own_words(void **state)
{
    (void)state;
    expect("{\"template\":\"{{ raise_exception('No\\\\nway, \\u00e9!') }}\"}", HONE_ENO, "No\nway, \xc3\xa9!");
    expect("{\"template\":\"{% if messages[0].role == 'user' %}{{ raise_exception('') }}{% endif %}\"}", HONE_ENO, "");
}

static void a_broken_template_is_an_error(void **state)
{
    (void)state;
    hone_err err = { 0 };
    char    *text = NULL;
    size_t   len = 0;
    assert_int_equal(hone_runner_render(r, HELLO, "{\"template\":\"{% for x in %}\"}", &f.a, &text, &len, &err), HONE_EINPUT);
    assert_non_null(strstr(err.cause, "the chat template does not parse: "));
    assert_int_equal(hone_runner_render(r, HELLO, "{\"template\":\"{{ 1 + messages }}\"}", &f.a, &text, &len, &err), HONE_EINPUT);
    assert_non_null(strstr(err.cause, "the chat template fails: "));
    assert_int_equal(hone_runner_render(r, "[", NULL, &f.a, &text, &len, &err), HONE_EINPUT);
    assert_non_null(strstr(err.cause, "messages are no JSON: "));
    assert_int_equal(hone_runner_render(r, "{}", NULL, &f.a, &text, &len, &err), HONE_EINPUT);
    assert_string_equal(err.cause, "messages are no JSON array");
    assert_int_equal(hone_runner_render(r, HELLO, NULL, &f.a, &text, &len, &err), HONE_EUNSUPPORTED);
    assert_string_equal(err.cause, "the model has no chat template");
    /* The same process answers the next request. */
    expect("{\"template\":\"{{ messages[0].content }}\"}", HONE_OK, "Hi");
}

int main(void)
{
    const char *llamacpp = getenv("HONE_LLAMACPP");
    fixture_open(&f);
    if (!llamacpp || !fixture_have(&f, "llamacpp")) {
        fixture_close(&f);
        return 77;
    }
    const char *vocabulary = hone_arena_printf(&f.a, "%s/share/llama.cpp/models/ggml-vocab-gpt-2.gguf", llamacpp);
    r = fixture_run(&f, "llamacpp", (hone_backend_open){ .path = vocabulary, .vocab_only = true }, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_chat_renders_as_jinja2_does),
        cmocka_unit_test(variables_are_those_of_transformers),
        cmocka_unit_test(a_refusal_is_the_templates_own_words),
        cmocka_unit_test(a_broken_template_is_an_error),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    hone_runner_stop(r);
    fixture_close(&f);
    return rc;
}
