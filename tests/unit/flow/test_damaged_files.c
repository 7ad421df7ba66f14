/* test_damaged_files.c - every small file that hone reads, cut at every length, nested too deep, with a key twice, with bytes that are no text:
 * refused as bad input with a cause, whatever reads it, and nothing is taken from it.
 * The large ones have such tests of their own: safetensors, GGUF, tokenizer.json, tokenizer.model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/file.h"
#include "flow/assess/decide.h"
#include "formats/hf.h"
#include "formats/safetensors.h"
#include "formats/scratch.h"
#include "hw/profile.h"
#include "measure/check/cases.h"
#include "measure/check/reference.h"
#include "measure/eval/protocol.h"
#include "measure/eval/tasks.h"
#include "passes/limits.h"
#include <stdlib.h>
#include <string.h>

static scratch s;

/* --- who reads what: each is given the folder and must leave nothing behind ------------------------------------------ */

static hone_code config(const char *dir, hone_err *err)
{
    json_t   *o = NULL;
    hone_code code = hone_hf_config_load(dir, &o, err);
    assert_true((code == HONE_OK) == (o != NULL));
    json_decref(o);
    return code;
}

static hone_code tokenizer(const char *dir, hone_err *err)
{
    hone_arena     a = { 0 };
    hone_tokenizer t = { .n_tokens = 77 };
    hone_code      code = hone_hf_tokenizer_load(dir, 8, &a, &t, err);
    if (code != HONE_OK) assert_int_equal(t.n_tokens, 77);
    hone_arena_release(&a);
    return code;
}

static hone_code checkpoint_index(const char *dir, hone_err *err)
{
    hone_arena   a = { 0 };
    hone_source *src = NULL;
    hone_code    code = hone_safetensors_open(dir, &a, &src, err);
    assert_true((code == HONE_OK) == (src != NULL));
    if (src) src->close(src);
    hone_arena_release(&a);
    return code;
}

static hone_code token_cases(const char *dir, hone_err *err)
{
    char       path[256];
    hone_arena a = { 0 };
    hone_cases c = { .n_tokens = 77 };
    (void)dir;
    hone_code code = hone_cases_load(scratch_path(&s, "tokenizer_cases.json", path), &a, &c, err);
    if (code != HONE_OK) assert_int_equal(c.n_tokens, 77);
    hone_arena_release(&a);
    return code;
}

static hone_code reference(const char *dir, hone_err *err)
{
    char           path[256];
    hone_arena     a = { 0 };
    hone_reference r = { .rows = 77 };
    (void)dir;
    hone_code code = hone_reference_open(scratch_path(&s, "reference.safetensors", path), &a, &r, err);
    if (code == HONE_OK) hone_reference_close(&r);
    else assert_int_equal(r.rows, 77);
    hone_arena_release(&a);
    return code;
}

static hone_code stated_protocol(const char *dir, hone_err *err)
{
    char          path[256];
    hone_protocol p;
    (void)dir;
    return hone_protocol_find(NULL, scratch_path(&s, "heldout.txt", path), 0, 0, &p, err);
}

static hone_code task_items(const char *dir, hone_err *err)
{
    char       path[256];
    hone_arena a = { 0 };
    hone_bytes b;
    hone_tasks t = { .n_items = 77 };
    (void)dir;
    assert_int_equal(hone_file_slurp(scratch_path(&s, "tasks.jsonl", path), 1 << 20, &a, &b, NULL), HONE_OK);
    hone_code code = hone_tasks_parse(b, "tasks.jsonl", 8, &a, &t, err);
    if (code != HONE_OK) assert_int_equal(t.n_items, 77);
    hone_arena_release(&a);
    return code;
}

static hone_code profile(const char *dir, hone_err *err)
{
    hone_ctx  ctx = { .data_dir = dir };
    json_t   *o = NULL;
    hone_code code = hone_profile_load(&ctx, "raspberry-pi-5", &o, err);
    assert_true((code == HONE_OK) == (o != NULL));
    json_decref(o);
    return code;
}

static hone_code decision(const char *dir, hone_err *err)
{
    hone_ctx  ctx = { .data_dir = dir };
    json_t   *o = NULL;
    hone_code code = hone_decision_load(&ctx, &o, err);
    assert_true((code == HONE_OK) == (o != NULL));
    json_decref(o);
    return code;
}

static hone_code limits(const char *dir, hone_err *err)
{
    hone_arena        a = { 0 };
    hone_facts        f = { 0 };
    const hone_limit *l = NULL;
    size_t            n = 77;
    hone_code         code = hone_limits_for(dir, "llama.cpp", &f, NULL, &a, &l, &n, err);
    if (code != HONE_OK) assert_int_equal(n, 77);
    hone_arena_release(&a);
    return code;
}

/* --- the files ------------------------------------------------------------------------------------------------------- */

typedef struct damaged {
    const char *name;   /* in the folder */
    const char *whole;  /* a good one; "@path": copied from this repository */
    hone_code (*read)(const char *dir, hone_err *err);
    bool        lines;  /* JSON by the line: cut between two lines it is a good file */
} damaged;

#define TASK "{\"task\":\"t\",\"context\":\"caf\\u00e9 \xc3\xa9\",\"choices\":[\"x\",\"y\"],\"answer\":1}"
static const damaged files[] = {
    { "config.json", "{\"architectures\":[\"LlamaForCausalLM\"],\"hidden_size\":64}", config, false },
    { "generation_config.json", "{\"eos_token_id\":[1,2],\"note\":\"\xc3\xa9\"}", tokenizer, false },
    { "tokenizer_config.json", "{\"chat_template\":[{\"name\":\"default\",\"template\":\"{{ x }}\"}],\"bos_token\":null}", tokenizer, false },
    { "special_tokens_map.json", "{\"eos_token\":{\"content\":\"b\",\"lstrip\":false}}", tokenizer, false },
    { "model.safetensors.index.json", "{\"metadata\":{\"total_size\":4},\"weight_map\":{\"w\":\"one.safetensors\"}}", checkpoint_index, false },
    { "tokenizer_cases.json", "{\"cases\":[{\"text\":\"a\\u0000b\",\"ids\":[0,1],\"decoded\":\"ab\"}],\"chat\":[]}", token_cases, false },
    { "reference.json", "{\"greedy\":[[1,2]],\"greedy_top2_gap\":[[0.5,1e-3]],\"perplexity_protocol\":\"other\"}", reference, false },
    { "reference.json", "{\"context\":512,\"perplexity_protocol\":\"windows\"}", stated_protocol, false },
    { "tasks.jsonl", TASK "\n" TASK, task_items, true },
    { "profiles/raspberry-pi-5.json", "@profiles/raspberry-pi-5.json", profile, false },
    { "data/decision.json", "@data/decision.json", decision, false },
    { "data/limits.json", "[{\"consumer\":\"llama.cpp\",\"version\":\"v\",\"condition\":\"facts:window\",\"feature\":\"f {window}\",\"cause\":\"c\","
                          "\"consequence\":\"q\",\"test\":\"t\",\"harmless\":true}]", limits, false },
};

#define TOKENIZER                                                                                                                             \
    "{\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true},"                        \
    "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1},\"merges\":[]}}"

/* A folder in which everything but the file in question is as it should be. */
static void folder_without(const char *name)
{
    static const char ids[] = "{\"input_ids\":{\"dtype\":\"I32\",\"shape\":[1,1],\"data_offsets\":[0,4]},"
                              "\"logits\":{\"dtype\":\"F32\",\"shape\":[1,1,1],\"data_offsets\":[4,8]}}";
    static const char one[] = "{\"w\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}";
    size_t   n;
    uint8_t *bytes = scratch_safetensors(ids, 8, &n);
    memset(bytes + n - 8, 0, 8);
    scratch_put(&s, "reference.safetensors", bytes, n);
    free(bytes);
    bytes = scratch_safetensors(one, 4, &n);
    scratch_put(&s, "one.safetensors", bytes, n);
    free(bytes);
    if (strcmp(name, "tokenizer.json") != 0) scratch_put(&s, "tokenizer.json", TOKENIZER, strlen(TOKENIZER));
}

static char *whole_of(const damaged *d, hone_arena *a)
{
    char       path[512];
    hone_bytes b;
    if (d->whole[0] != '@') return hone_arena_strndup(a, d->whole, strlen(d->whole));
    (void)snprintf(path, sizeof path, "%s/%s", HONE_TEST_SOURCE_DIR, d->whole + 1);
    assert_int_equal(hone_file_slurp(path, 1 << 20, a, &b, NULL), HONE_OK);
    while (b.len && strchr("\r\n ", b.ptr[b.len - 1])) b.len--;
    return hone_arena_strndup(a, (const char *)b.ptr, b.len);
}

static void refused(const damaged *d, const char *text, size_t n, const char *part)
{
    hone_err err = { 0 };
    scratch_put(&s, d->name, text, n);
    hone_code code = d->read(s.dir, &err);
    if (code != HONE_EINPUT) fail_msg("%s: '%.*s' gives %d, '%s'", d->name, n > 200 ? 200 : (int)n, text, code, err.cause);
    if (!strstr(err.cause, part)) fail_msg("%s: the cause of '%.60s' is '%s', lacks '%s'", d->name, text, err.cause, part);
}

static void every_file_is_good_when_whole_and_bad_when_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < HONE_COUNT(files); i++) {
        const damaged *d = &files[i];
        hone_arena     a = { 0 };
        hone_err       err = { 0 };
        char          *whole = whole_of(d, &a);
        size_t         n = strlen(whole);
        scratch_open(&s);
        folder_without(d->name);
        scratch_put(&s, d->name, whole, n);
        if (d->read(s.dir, &err) != HONE_OK) fail_msg("%s: %s", d->name, err.cause);
        for (size_t cut = 0; cut < n; cut += 1 + n / 1000) {
            const char *line = d->lines ? memrchr(whole, '\n', cut) : NULL;
            if (d->lines && ((line && line == whole + cut - 1) || (whole[cut] == '\n' && cut))) continue;
            refused(d, whole, cut, cut ? "line " : "");
        }
        scratch_close(&s);
        hone_arena_release(&a);
    }
}

static void every_file_has_a_limit_of_depth_unique_keys_and_text(void **state)
{
    enum { DEEP = 100000 };
    char *deep = malloc(DEEP);
    (void)state;
    assert_non_null(deep);
    for (size_t i = 0; i < HONE_COUNT(files); i++) {
        scratch_open(&s);
        folder_without(files[i].name);
        memset(deep, '[', DEEP);
        refused(&files[i], deep, DEEP, "JSON is nested more than 512 levels deep");
        for (size_t k = 0; k + 5 <= DEEP; k += 5) memcpy(deep + k, "{\"a\":", 5);
        refused(&files[i], deep, DEEP, "JSON is nested more than 512 levels deep");
        refused(&files[i], "{\"a\":1,\"b\":{\"c\":2,\"c\":3}}", 25, "duplicate object key");
        refused(&files[i], "{\"a\":\"\xff\"}", 9, "unable to decode byte 0xff");
        refused(&files[i], "{\"a\":\0}", 7, "line 1");
        refused(&files[i], "{\"a\":NaN}", 9, "line 1");
        refused(&files[i], "PK\3\4", 4, "line 1");
        scratch_close(&s);
    }
    free(deep);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_file_is_good_when_whole_and_bad_when_cut),
        cmocka_unit_test(every_file_has_a_limit_of_depth_unique_keys_and_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
