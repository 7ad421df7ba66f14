/* test_tokenizer_parity.c - the GGUF we write makes llama.cpp give the ids of the original tokenizer, for all test models.
 * Judge: tokenizer_cases.json beside each model (the tokenizers library on tokenizer.json; tests/golden/make/README.md).
 * Where llama.cpp cannot, data/limits.json says so, the number of differing texts stands here, and each of them must be one that the limit
 * explains: a limit that disappears or grows fails this test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <llama.h>
#include <stdio.h>
#include <string.h>

#include "judge.h"

#define TEXT_MAX 200000

typedef struct expected {
    const char *dir, *pre, *limits;
    /* texts whose ids differ without and with special tokens; those with equal ids whose text differs when decoded (byte-level BPE: piece by
     * piece, others: llama_detokenize) */
    unsigned ids, with_special, decoded;
} expected;

static const expected models[] = {
    { "tests/golden/tiny/llama", "llama-bpe", "keeps_spaces", 0, 0, 0 },
    { "tests/golden/tiny/mistral", NULL, "prefix_once", 36, 24, 0 },
    { "tests/golden/tiny/qwen2", "qwen2", "nfc", 4, 4, 0 },
    { "tests/golden/tiny/qwen3", "qwen2", "nfc", 4, 4, 0 },
    { "tests/golden/tiny/phi3", NULL, "rstrip_unlike_phi3", 5, 5, 0 },
    { "tests/golden/tiny/gemma2", NULL, "", 0, 0, 0 },
    { "tests/golden/tiny/gemma3", NULL, "", 0, 0, 0 },
    { "tests/golden/tiny/smollm3", "llama-bpe", "keeps_spaces", 0, 0, 0 },
    { "tests/golden/tiny/olmo2", "llama-bpe", "keeps_spaces", 0, 0, 0 },
    { "tests/golden/tiny/granite", "smollm", "", 0, 0, 0 },
    { "tests/golden/tiny/stablelm", "gpt-2", "nfc keeps_spaces", 4, 4, 0 },
    { "tests/golden/tiny/starcoder2", "smollm", "", 0, 0, 0 },
    { "tests/golden/tiny/gpt2", "gpt-2", "keeps_spaces", 0, 0, 0 },
    { "tests/golden/tiny/gpt_neox", "gpt-2", "nfc keeps_spaces", 4, 4, 0 },
    { "tests/golden/tiny/mixtral", NULL, "", 0, 0, 0 },
    { "tests/golden/tiny/qwen3_moe", "qwen2", "nfc", 4, 4, 0 },
    { "tests/golden/tiny/olmoe", "gpt-2", "nfc keeps_spaces", 4, 4, 0 },
    { "tests/golden/tiny/bert", NULL, "strip_accents max_word wordpiece", 5, 5, 89 },
    { "examples/models/tale-8m", "llama-bpe", "keeps_spaces", 0, 0, 0 },
    { "tests/golden/tale-moe", "llama-bpe", "keeps_spaces", 0, 0, 0 },
};

static json_t     *limits;
static char        text[TEXT_MAX];

/* A special token in s, and, when behind is given, one of those characters right after it. */
static bool has_special(const hone_tokenizer *t, const char *s, size_t n, const char *behind)
{
    for (size_t i = 0; i < t->n_tokens; i++) {
        const hone_token *k = &t->tokens[i];
        if (k->type != HONE_TOKEN_CONTROL) continue;
        for (const char *p = s; (p = memmem(p, (size_t)(s + n - p), k->text, k->len)); p++)
            if (!behind || (p + k->len < s + n && strchr(behind, p[k->len]))) return true;
    }
    return false;
}

/* Whether the limit says that this text may get other ids. */
static bool explains(const char *limit, const hone_tokenizer *t, const char *s, size_t n)
{
    if (strcmp(limit, "nfc") == 0) return has_code_point(s, n, 0x300, 0x36f) || has_code_point(s, n, 0x3099, 0x3099) || has_code_point(s, n, 0x1100, 0x11ff);
    if (strcmp(limit, "prefix_once") == 0) return s[0] == ' ' || memcmp(s, "\xe2\x96\x81", 3) == 0 || has_special(t, s, n, NULL);
    if (strcmp(limit, "rstrip_unlike_phi3") == 0) return has_special(t, s, n, " \n");
    if (strcmp(limit, "strip_accents") == 0) return has_code_point(s, n, 0xac00, 0xd7a3) || has_code_point(s, n, 0x900, 0x97f);
    if (strcmp(limit, "wordpiece") == 0) return has_code_point(s, n, 0x85, 0x85);
    if (strcmp(limit, "max_word") == 0) return n > 100 && !memchr(s, ' ', 100);
    return false;
}

static const json_t *row_of(const char *limit)
{
    size_t        i;
    const json_t *row;
    char          condition[64];
    (void)snprintf(condition, sizeof condition, "tokenizer:%s", limit);
    json_array_foreach(limits, i, row) {
        const char *c = json_string_value(json_object_get(row, "condition"));
        if (c && strcmp(c, condition) == 0) return row;
    }
    return NULL;
}

typedef struct counts { unsigned ids, with_special, decoded, seen[8]; } counts;

static void compare(const expected *e, const struct llama_vocab *v, const hone_tokenizer *t, const json_t *one, char words[8][32], size_t n_words, counts *c)
{
    bool          chat = json_object_get(one, "rendered") != NULL;
    const json_t *s = json_object_get(one, chat ? "rendered" : "text"), *want = json_object_get(one, "decoded");
    if (!s) return; /* a chat that its template refuses */
    const char *p = json_string_value(s);
    size_t      len = json_string_length(s);
    char        shown[200];
    hone_text_show(p, len, shown, sizeof shown);
    int  n = llama_tokenize(v, p, (int)len, ids, IDS_MAX, false, true);
    bool same = same_ids(json_object_get(one, "ids"), n);
    if (!same) {
        bool explained = false;
        for (size_t i = 0; i < n_words; i++)
            if (explains(words[i], t, p, len)) {
                explained = true;
                c->seen[i]++;
            }
        if (!explained) print_error("%s: ids of '%s' differ\n", e->dir, shown);
        assert_true(explained);
        c->ids++;
    }
    if (chat) return;
    if (same) {
        size_t at = 0;
        if (t->kind == HONE_TOK_BPE)
            for (int i = 0; i < n; i++) at += (size_t)llama_token_to_piece(v, ids[i], text + at, TEXT_MAX - (int)at, 0, true);
        else at = (size_t)llama_detokenize(v, ids, n, text, TEXT_MAX, false, true);
        if (at != json_string_length(want) || memcmp(text, json_string_value(want), at) != 0) c->decoded++;
    }
    n = llama_tokenize(v, p, (int)len, ids, IDS_MAX, true, true);
    if (!same_ids(json_object_get(one, "ids_with_special"), n)) {
        if (same) print_error("%s: ids of '%s' differ with special tokens only\n", e->dir, shown);
        assert_false(same);
        c->with_special++;
    }
}

static void llama_cpp_gives_the_ids_of_the_original_tokenizer(void **state)
{
    const expected *e = *state;
    hone_arena      a = { 0 };
    hone_err        err = { 0 };
    hone_tokenizer  t;
    json_t         *cases = NULL;
    char            file[256], words[8][32];
    size_t          n_words = 0;
    counts          c = { 0 };
    struct llama_model *m = load_vocab(e->dir, &a, &t);
    assert_non_null(m);
    if (e->pre) assert_string_equal(t.pre, e->pre);
    else assert_null(t.pre);

    for (const char *p = e->limits; *p; n_words++) {
        size_t n = strcspn(p, " ");
        (void)snprintf(words[n_words], sizeof words[0], "%.*s", (int)n, p);
        assert_true(hone_tokenizer_needs(&t, words[n_words]));
        assert_non_null(row_of(words[n_words]));
        p += n + (p[n] == ' ');
    }
    size_t        i;
    const json_t *row, *one;
    json_array_foreach(limits, i, row) { /* and no other limit speaks of this tokenizer */
        const char *condition = json_string_value(json_object_get(row, "condition")), *consumer = json_string_value(json_object_get(row, "consumer"));
        if (!condition || strncmp(condition, "tokenizer:", 10) != 0 || strcmp(consumer, "llama.cpp") != 0) continue;
        bool listed = false;
        for (size_t k = 0; k < n_words; k++) listed = listed || strcmp(words[k], condition + 10) == 0;
        if (hone_tokenizer_needs(&t, condition + 10) != listed) print_error("%s: limit '%s'\n", e->dir, condition);
        assert_true(hone_tokenizer_needs(&t, condition + 10) == listed);
    }

    const struct llama_vocab *v = llama_model_get_vocab(m);
    assert_int_equal(llama_vocab_get_add_bos(v), t.add_bos);
    if (t.bos >= 0) assert_int_equal(llama_vocab_bos(v), t.bos);
    if (t.eos >= 0) assert_int_equal(llama_vocab_eos(v), t.eos);
    if (t.eot >= 0) assert_true(llama_vocab_is_eog(v, (llama_token)t.eot));
    const char *chat = llama_model_chat_template(m, NULL);
    assert_int_equal(chat != NULL, t.n_templates > 0);
    if (chat) assert_string_equal(chat, t.templates[0].text);

    (void)snprintf(file, sizeof file, "%s/tokenizer_cases.json", e->dir);
    assert_int_equal(hone_json_load(file, &cases, &err), HONE_OK);
    json_array_foreach(json_object_get(cases, "cases"), i, one) compare(e, v, &t, one, words, n_words, &c);
    assert_in_range(i, 100, 200);
    json_array_foreach(json_object_get(cases, "chat"), i, one) compare(e, v, &t, one, words, n_words, &c);

    if (c.ids != e->ids || c.with_special != e->with_special || c.decoded != e->decoded)
        print_error("%s: %u, %u, %u texts differ\n", e->dir, c.ids, c.with_special, c.decoded);
    assert_int_equal(c.ids, e->ids);
    assert_int_equal(c.with_special, e->with_special);
    assert_int_equal(c.decoded, e->decoded);
    for (size_t k = 0; k < n_words; k++) /* each limit is still there */
        if (strcmp(words[k], "keeps_spaces") != 0) assert_true(c.seen[k] > 0);
    if (t.kind == HONE_TOK_BPE) {
        static const char spaced[] = "so , no .", cleaned[] = "so, no.";
        int               n = llama_tokenize(v, spaced, (int)sizeof spaced - 1, ids, IDS_MAX, false, true);
        int               got = llama_detokenize(v, ids, n, text, TEXT_MAX - 1, false, true);
        assert_true(got > 0);
        text[got] = '\0';
        assert_string_equal(text, t.pre_cleans ? cleaned : spaced);
    }

    json_decref(cases);
    llama_model_free(m);
    hone_arena_release(&a);
}

static void a_name_turns_on_what_phi3_needs_and_nothing_else_does(void **state)
{
    hone_arena     a = { 0 };
    hone_err       err = { 0 };
    hone_tokenizer phi, other;
    char           buf[64];
    (void)state;
    assert_int_equal(hone_hf_tokenizer_load("tests/golden/tiny/phi3", 584, &a, &phi, &err), HONE_OK);
    assert_int_equal(hone_hf_tokenizer_load("tests/golden/tiny/mixtral", 576, &a, &other, &err), HONE_OK);
    assert_string_equal(hone_gguf_name_for(&phi, "my model", buf, sizeof buf), "my model (phi3)");
    assert_string_equal(hone_gguf_name_for(&phi, "Phi-3-mini", buf, sizeof buf), "Phi-3-mini");
    assert_string_equal(hone_gguf_name_for(&other, "mixtral", buf, sizeof buf), "mixtral");
    assert_string_equal(hone_gguf_name_for(&other, "like Phi-3 and phi3", buf, sizeof buf), "like Phi 3 and phi 3");
    hone_arena_release(&a);
}

int main(void)
{
    struct CMUnitTest tests[HONE_COUNT(models) + 1];
    hone_err          err = { 0 };
    llama_log_set(quiet, NULL);
    llama_backend_init();
    if (hone_json_load("data/limits.json", &limits, &err) != HONE_OK) {
        (void)fprintf(stderr, "%s\n", err.cause);
        return 1;
    }
    for (size_t i = 0; i < HONE_COUNT(models); i++)
        tests[i] = (struct CMUnitTest){ .name = models[i].dir, .test_func = llama_cpp_gives_the_ids_of_the_original_tokenizer, .initial_state = (void *)(uintptr_t)&models[i] };
    tests[HONE_COUNT(models)] = (struct CMUnitTest)cmocka_unit_test(a_name_turns_on_what_phi3_needs_and_nothing_else_does);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    json_decref(limits);
    llama_backend_free();
    return failed;
}
