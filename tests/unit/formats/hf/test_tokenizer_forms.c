/* test_tokenizer_forms.c - each split rule of pretokenizers.def, Unigram, and tokenizers saved in other files than tokenizer.json + tokenizer.model,
 * judged in llama.cpp.  Data: tests/golden/hf, made by tests/golden/make/forms.py with the tokenizers library. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <llama.h>
#include <stdio.h>
#include <string.h>

#include "../scratch.h"
#include "formats/hf/pretokenizer.h"
#include "judge.h"

#define PRE "tests/golden/hf/pre/"

static json_t *load(const char *path)
{
    json_t  *j = NULL;
    hone_err err = { 0 };
    if (hone_json_load(path, &j, &err) != HONE_OK) fail_msg("%s", err.cause);
    return j;
}

static void put_json(const scratch *s, const char *name, const json_t *j)
{
    char *text = json_dumps(j, JSON_ENCODE_ANY);
    assert_non_null(text);
    scratch_put(s, name, text, strlen(text));
    free(text);
}

static void copy(const scratch *s, const char *dir, const char *name)
{
    char       path[256];
    hone_arena a = { 0 };
    hone_bytes b = { 0 };
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(hone_file_slurp(path, 1u << 26, &a, &b, NULL), HONE_OK);
    scratch_put(s, name, b.ptr, b.len);
    hone_arena_release(&a);
}

/* Texts of cases whose ids differ; each must hold a code point of one of the ranges. */
static unsigned differing(const struct llama_vocab *v, const json_t *cases, const uint32_t ranges[][2])
{
    unsigned      n = 0;
    size_t        i;
    const json_t *one;
    json_array_foreach(cases, i, one) {
        const json_t *s = json_is_array(one) ? json_array_get(one, 0) : json_object_get(one, json_object_get(one, "text") ? "text" : "rendered");
        const json_t *want = json_is_array(one) ? json_array_get(one, 1) : json_object_get(one, "ids");
        if (!s) continue;
        const char *p = json_string_value(s);
        size_t      len = json_string_length(s);
        int         got = llama_tokenize(v, p, (int)len, ids, IDS_MAX, false, true);
        if (same_ids(want, got)) continue;
        bool explained = false;
        for (size_t k = 0; ranges[k][1]; k++) explained = explained || has_code_point(p, len, ranges[k][0], ranges[k][1]);
        char shown[120];
        if (!explained) print_error("ids of '%s' differ\n", hone_text_show(p, len, shown, sizeof shown));
        assert_true(explained);
        n++;
    }
    assert_true(i > 90);
    return n;
}

static const uint32_t nothing[][2] = { { 0, 0 } };
static const uint32_t marks_and_capitals[][2] = { { 0x300, 0x36f }, { 0x410, 0x42f }, { 0x610, 0x669 }, { 0x900, 0x97f }, { 0xe00, 0xe7f }, { 0x3099, 0x309a }, { 0, 0 } };
static const uint32_t wide_spaces[][2] = { { 0x2000, 0x200a }, { 0x3000, 0x3000 }, { 0, 0 } };

static bool limit_known(const char *feature)
{
    json_t *limits = load("data/limits.json"), *row;
    size_t  i;
    bool    found = false;
    char    condition[64];
    (void)snprintf(condition, sizeof condition, "tokenizer:%s", feature);
    json_array_foreach(limits, i, row) found = found || strcmp(json_string_value(json_object_get(row, "condition")), condition) == 0;
    json_decref(limits);
    return found;
}

static void every_rule_of_the_table_splits_in_llama_cpp_as_it_says(void **state)
{
    static const struct { const char *name; unsigned differ; const uint32_t (*ranges)[2]; } limited[] = {
        { "gpt-4o", 8, marks_and_capitals }, { "tekken", 8, marks_and_capitals }, { "deepseek-coder", 1, wide_spaces } };
    json_t *base = load(PRE "tokenizer.json");
    (void)state;
    for (size_t i = 0; i < hone_hf_n_pretokenizers; i++) {
        const hone_hf_pretokenizer *row = &hone_hf_pretokenizers[i];
        char                        path[128];
        unsigned                    nth = 1, want = 0;
        const uint32_t(*ranges)[2] = nothing;
        for (size_t k = 0; k < i; k++) nth += strcmp(hone_hf_pretokenizers[k].name, row->name) == 0;
        if (nth == 1) (void)snprintf(path, sizeof path, PRE "%s.case.json", row->name);
        else (void)snprintf(path, sizeof path, PRE "%s-%u.case.json", row->name, nth);
        json_t *c = load(path), *config = json_pack("{s:i}", "vocab_size", 1400), *tc = json_object();
        json_object_set(base, "pre_tokenizer", json_object_get(c, "pre_tokenizer"));
        json_object_set(json_object_get(base, "model"), "ignore_merges", json_object_get(c, "ignore_merges"));
        json_object_set(tc, "clean_up_tokenization_spaces", json_object_get(c, "clean_up_tokenization_spaces"));
        scratch s;
        scratch_open(&s);
        put_json(&s, "tokenizer.json", base);
        put_json(&s, "config.json", config);
        put_json(&s, "tokenizer_config.json", tc);

        hone_arena          a = { 0 };
        hone_tokenizer      t;
        struct llama_model *m = load_vocab(s.dir, &a, &t);
        assert_non_null(m);
        assert_string_equal(t.pre, row->name);
        for (size_t k = 0; k < HONE_COUNT(limited); k++)
            if (strcmp(limited[k].name, row->name) == 0) {
                char feature[40];
                want = limited[k].differ;
                ranges = limited[k].ranges;
                (void)snprintf(feature, sizeof feature, "pre=%s", row->name);
                assert_true(hone_tokenizer_needs(&t, feature));
                assert_true(limit_known(feature));
            }
        unsigned got = differing(llama_model_get_vocab(m), json_object_get(c, "cases"), ranges);
        if (got != want) print_error("%s: %u texts differ\n", path, got);
        assert_int_equal(got, want);
        llama_model_free(m);
        hone_arena_release(&a);
        scratch_close(&s);
        json_decref(c);
        json_decref(config);
        json_decref(tc);
    }
    json_decref(base);
}

typedef struct form {
    const char *dir;      /* where the files are */
    const char *files;    /* those that are copied, config.json and tokenizer_config.json apart */
    const char *pre;
    hone_tok_kind kind;
    unsigned    differ;   /* as for the whole checkpoint, see test_tokenizer_parity.c */
} form;

static const form forms[] = {
    { "tests/golden/tiny/gemma3", "tokenizer.json", NULL, HONE_TOK_SPM, 0 },
    { "tests/golden/tiny/gemma3", "tokenizer.model", NULL, HONE_TOK_SPM, 0 },
    { "tests/golden/tiny/mixtral", "tokenizer.json", NULL, HONE_TOK_SPM, 0 },
    { "tests/golden/tiny/mixtral", "tokenizer.model", NULL, HONE_TOK_SPM, 0 },
    { "tests/golden/tiny/mistral", "tokenizer.json", NULL, HONE_TOK_SPM, 36 },
    { "tests/golden/tiny/phi3", "tokenizer.json", NULL, HONE_TOK_SPM, 5 },
    { "tests/golden/tiny/phi3", "tokenizer.model", NULL, HONE_TOK_SPM, 5 },
    { "tests/golden/tiny/bert", "vocab.txt", NULL, HONE_TOK_WORDPIECE, 5 },
    { "tests/golden/hf/bpe-plain", "tokenizer.json", "sarvam-moe", HONE_TOK_BPE, 0 },
    { "tests/golden/hf/unigram-t5", "tokenizer.json", NULL, HONE_TOK_UNIGRAM, 4 },
    { "tests/golden/hf/unigram-t5", "spiece.model", NULL, HONE_TOK_UNIGRAM, 4 },
    { "tests/golden/hf/unigram-xlmr", "tokenizer.json", NULL, HONE_TOK_UNIGRAM, 34 },
};
static const uint32_t anything[][2] = { { 0, 0x10ffff }, { 0, 0 } };

static void other_files_of_a_tokenizer_give_the_same_ids(void **state)
{
    (void)state;
    for (size_t i = 0; i < HONE_COUNT(forms); i++) {
        const form *f = &forms[i];
        scratch     s;
        char        path[256];
        scratch_open(&s);
        copy(&s, f->dir, "config.json");
        copy(&s, f->dir, "tokenizer_config.json");
        copy(&s, f->dir, f->files);
        hone_arena          a = { 0 };
        hone_tokenizer      t;
        struct llama_model *m = load_vocab(s.dir, &a, &t);
        assert_non_null(m);
        assert_int_equal(t.kind, f->kind);
        if (f->pre) assert_string_equal(t.pre, f->pre);
        (void)snprintf(path, sizeof path, "%s/tokenizer_cases.json", f->dir);
        json_t  *cases = load(path);
        unsigned n = differing(llama_model_get_vocab(m), json_object_get(cases, "cases"), f->differ ? anything : nothing);
        if (json_array_size(json_object_get(cases, "chat"))) {
            const json_t *one;
            size_t        k;
            json_array_foreach(json_object_get(cases, "chat"), k, one) {
                const json_t *r = json_object_get(one, "rendered");
                if (r && !same_ids(json_object_get(one, "ids"), llama_tokenize(llama_model_get_vocab(m), json_string_value(r), (int)json_string_length(r), ids, IDS_MAX, false, true))) n++;
            }
        }
        if (n != f->differ) print_error("%s from %s: %u texts differ\n", f->dir, f->files, n);
        assert_int_equal(n, f->differ);
        json_decref(cases);
        llama_model_free(m);
        hone_arena_release(&a);
        scratch_close(&s);
    }
    assert_true(limit_known("unigram"));
    assert_true(limit_known("unigram_spaces"));
}

static void vocab_json_and_merges_txt_are_read_like_tokenizer_json(void **state)
{
    static const char *const dirs[][2] = { { "tests/golden/tiny/gpt2", "gpt-2" }, { "tests/golden/tiny/qwen2", "qwen2" } };
    (void)state;
    for (size_t i = 0; i < HONE_COUNT(dirs); i++) {
        char    path[256];
        scratch s;
        scratch_open(&s);
        (void)snprintf(path, sizeof path, "%s/tokenizer.json", dirs[i][0]);
        json_t       *whole = load(path);
        const json_t *model = json_object_get(whole, "model"), *m;
        hone_text     merges = { 0 };
        size_t        k;
        hone_text_add(&merges, "#version: 0.2\n");
        json_array_foreach(json_object_get(model, "merges"), k, m)
            hone_text_addf(&merges, "%s %s\n", json_string_value(json_array_get(m, 0)), json_string_value(json_array_get(m, 1)));
        scratch_put(&s, "merges.txt", merges.ptr, merges.len);
        hone_text_release(&merges);
        put_json(&s, "vocab.json", json_object_get(model, "vocab"));
        copy(&s, dirs[i][0], "config.json");
        copy(&s, dirs[i][0], "tokenizer_config.json");
        hone_arena     a = { 0 }, b = { 0 };
        hone_tokenizer slow, fast;
        hone_err       err = { 0 };
        uint32_t       rows = i == 0 ? 512 : 704;
        assert_int_equal(hone_hf_tokenizer_load(s.dir, rows, &a, &slow, &err), HONE_OK);
        assert_int_equal(hone_hf_tokenizer_load(dirs[i][0], rows, &b, &fast, &err), HONE_OK);
        assert_string_equal(slow.pre, dirs[i][1]);
        assert_int_equal(slow.nfc, fast.nfc);
        assert_int_equal(slow.n_tokens, fast.n_tokens);
        for (k = 0; k < slow.n_tokens; k++) {
            assert_string_equal(slow.tokens[k].text, fast.tokens[k].text);
            assert_int_equal(slow.tokens[k].type, fast.tokens[k].type);
        }
        assert_int_equal(slow.n_merges, fast.n_merges);
        assert_int_equal(slow.eos, fast.eos);
        hone_arena_release(&a);
        hone_arena_release(&b);
        json_decref(whole);
        scratch_close(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rule_of_the_table_splits_in_llama_cpp_as_it_says),
        cmocka_unit_test(other_files_of_a_tokenizer_give_the_same_ids),
        cmocka_unit_test(vocab_json_and_merges_txt_are_read_like_tokenizer_json),
    };
    llama_log_set(quiet, NULL);
    llama_backend_init();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    llama_backend_free();
    return failed;
}
