/* test_vocab_files.c - vocab.txt, vocab.json with merges.txt, added_tokens.json: bad ones by exact cause. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "formats/hf.h"
#include "formats/scratch.h"
#include <string.h>

typedef struct file { const char *name, *text; } file;

/* Writes the files, up to the first without a name, and reads the tokenizer; cause NULL: it is good. */
static void load(const file *files, size_t n, hone_code code, const char *cause)
{
    scratch        s;
    hone_arena     a = { 0 };
    hone_err       err = { 0 };
    hone_tokenizer t = { .n_tokens = 77 };
    scratch_open(&s);
    for (size_t i = 0; i < n && files[i].name; i++) scratch_put(&s, files[i].name, files[i].text, strlen(files[i].text));
    hone_code got = hone_hf_tokenizer_load(s.dir, 8, &a, &t, &err);
    size_t    skip = strncmp(err.cause, s.dir, strlen(s.dir)) == 0 ? strlen(s.dir) : 0;
    if (cause) assert_string_equal(err.cause + skip, cause);
    else if (got != HONE_OK) fail_msg("%s", err.cause);
    assert_int_equal(got, code);
    if (code == HONE_OK) assert_int_not_equal(t.n_tokens, 77);
    else assert_int_equal(t.n_tokens, 77);
    hone_arena_release(&a);
    scratch_close(&s);
}

#define WORDS "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n"

static void a_bad_vocab_txt_is_named_by_its_line_or_word(void **state)
{
    static const struct { hone_code code; file files[2]; const char *cause; } tried[] = {
        { HONE_OK, { { "vocab.txt", WORDS "##b" } }, NULL },
        { HONE_OK, { { "vocab.txt", "[PAD]\r\n[UNK]\r\n[CLS]\r\n[SEP]\r\na\r\n" } }, NULL },
        { HONE_EINPUT, { { "vocab.txt", "" } }, ": vocab.txt is empty" },
        { HONE_EINPUT, { { "vocab.txt", WORDS "\xff\n" } }, ": line 6 of vocab.txt is no UTF-8" },
        { HONE_EINPUT, { { "vocab.txt", WORDS "a\n" } }, ": token 'a' has the ids 4 and 5" },
        { HONE_EINPUT, { { "vocab.txt", "a\nb\n" } }, ": vocab.txt has no [UNK]" },
        { HONE_EINPUT, { { "vocab.txt", "[UNK]\nb\n" } }, ": vocab.txt has no [SEP]" },
        { HONE_EINPUT, { { "vocab.txt", "[UNK]\n[SEP]\n" } }, ": vocab.txt has no [CLS]" },
        { HONE_EINPUT, { { "vocab.txt", WORDS "b\nc\nd\ne\n" } }, ": tokenizer has 9 tokens, the embedding 8 rows" },
        { HONE_EUNSUPPORTED, { { "vocab.txt", WORDS }, { "tokenizer_config.json", "{\"tokenize_chinese_chars\":false}" } },
          ": tokenizer_config.json leaves Chinese characters together; llama.cpp always takes them apart" },
        { HONE_EINPUT, { { "vocab.txt", WORDS }, { "tokenizer_config.json", "{\"do_lower_case\":3}" } },
          ": \"do_lower_case\" is an integer, needs true or false" },
        { HONE_EINPUT, { { "vocab.txt", WORDS }, { "tokenizer_config.json", "{\"added_tokens_decoder\":{\"-1\":{\"content\":\"x\"}}}" } },
          ": added_tokens_decoder has the id '-1'" },
        { HONE_EINPUT, { { "vocab.txt", WORDS }, { "tokenizer_config.json", "{\"added_tokens_decoder\":{\"99999999999999999999\":{\"content\":\"x\"}}}" } },
          ": added_tokens_decoder has the id '99999999999999999999'" },
    };
    (void)state;
    for (size_t i = 0; i < HONE_COUNT(tried); i++) load(tried[i].files, 2, tried[i].code, tried[i].cause);
}

#define GPT2 { "tokenizer_config.json", "{\"tokenizer_class\":\"GPT2Tokenizer\"}" }
#define GOOD { "vocab.json", "{\"a\":0,\"b\":1,\"ab\":2}" }

static void bad_vocab_json_and_merges_are_named_by_word(void **state)
{
    static const struct { hone_code code; file files[4]; const char *cause; } tried[] = {
        { HONE_OK, { GPT2, GOOD, { "merges.txt", "#version: 0.2\na b\n" } }, NULL },
        { HONE_EUNSUPPORTED, { GOOD, { "merges.txt", "a b\n" } }, ": vocab.json and merges.txt do not say how '' splits text" },
        { HONE_EUNSUPPORTED, { { "tokenizer_config.json", "{\"tokenizer_class\":\"My\\u001bOwn\"}" }, GOOD, { "merges.txt", "a b\n" } },
          ": vocab.json and merges.txt do not say how 'My\\x1bOwn' splits text" },
        { HONE_EINPUT, { GPT2, { "vocab.json", "[]" }, { "merges.txt", "" } }, "/vocab.json: the document is no JSON object" },
        { HONE_EINPUT, { GPT2, { "vocab.json", "{}" }, { "merges.txt", "" } }, ": vocab.json is no object" },
        { HONE_EINPUT, { GPT2, { "vocab.json", "{\"a\":" }, { "merges.txt", "" } }, "/vocab.json: line 1, column 5: unexpected token near end of file" },
        { HONE_EINPUT, { GPT2, { "vocab.json", "{\"a\":0,\"a\":1}" }, { "merges.txt", "" } }, "/vocab.json: line 1, column 10: duplicate object key near '\"a\"'" },
        { HONE_EINPUT, { GPT2, { "vocab.json", "{\"a\":-1}" }, { "merges.txt", "" } }, ": token 'a' has an id that is no number in 0..16777215" },
        { HONE_EINPUT, { GPT2, { "vocab.json", "{\"a\":0,\"b\":0}" }, { "merges.txt", "" } }, ": id 0 is given to 'a' and to 'b'" },
        { HONE_EINPUT, { GPT2, { "vocab.json", "{\"a\":0,\"b\":8}" }, { "merges.txt", "" } }, ": tokenizer has 9 tokens, the embedding 8 rows" },
        { HONE_EINPUT, { GPT2, GOOD, { "merges.txt", "a\n" } }, ": merge 0 is 'a', needs two words" },
        { HONE_EINPUT, { GPT2, GOOD, { "merges.txt", "a b c\n" } }, ": merge 0 is 'a b c', needs two words" },
        { HONE_EINPUT, { GPT2, GOOD, { "merges.txt", "a b\nb a\n" } }, ": merge 1 joins 'b' and 'a', but 'ba' is not in the vocabulary" },
        { HONE_EINPUT, { GPT2, GOOD, { "merges.txt", "a \xff\n" } }, ": merges.txt is no UTF-8" },
        { HONE_EINPUT, { GPT2, GOOD, { "merges.txt", "" }, { "added_tokens.json", "{\"x\":\"3\"}" } }, ": \"x\" is a string, needs a whole number" },
        { HONE_EINPUT, { GPT2, GOOD, { "merges.txt", "" }, { "added_tokens.json", "{\"x\":16777216}" } }, ": added_tokens.json has the id 16777216" },
        { HONE_EINPUT, { GPT2, GOOD, { "merges.txt", "" }, { "added_tokens.json", "{\"a\":1}" } }, ": token 'a' has the ids 0 and 1" },
    };
    (void)state;
    for (size_t i = 0; i < HONE_COUNT(tried); i++) load(tried[i].files, 4, tried[i].code, tried[i].cause);
}

static void files_cut_at_every_length_never_make_half_a_vocabulary(void **state)
{
    static const char txt[] = WORDS "##b\ncaf\xc3\xa9\n", vocab[] = "{\"a\":0,\"b\":1,\"ab\":2}", merges[] = "#version: 0.2\na b\n";
    static const struct { const char *name, *text; size_t n, good_from; } tried[] = {
        { "vocab.txt", txt, sizeof txt - 1, 23 /* all four special words are there */ }, { "vocab.json", vocab, sizeof vocab - 1, SIZE_MAX },
    };
    (void)state;
    for (size_t i = 0; i < HONE_COUNT(tried); i++) {
        scratch s;
        scratch_open(&s);
        if (i) {
            scratch_put(&s, "merges.txt", merges, sizeof merges - 1);
            scratch_put(&s, "tokenizer_config.json", "{\"tokenizer_class\":\"GPT2Tokenizer\"}", 35);
        }
        for (size_t cut = 0; cut < tried[i].n; cut++) {
            hone_arena     a = { 0 };
            hone_err       err = { 0 };
            hone_tokenizer t = { .n_tokens = 77 };
            scratch_put(&s, tried[i].name, tried[i].text, cut);
            hone_code code = hone_hf_tokenizer_load(s.dir, 0, &a, &t, &err);
            bool      mid_letter = i == 0 && cut == sizeof txt - 3;
            if (cut >= tried[i].good_from && !mid_letter) {
                if (code != HONE_OK) fail_msg("%zu bytes of %s: %s", cut, tried[i].name, err.cause);
            } else if (code != HONE_EINPUT || t.n_tokens != 77 || !err.cause[0]) fail_msg("%zu bytes of %s give %d", cut, tried[i].name, code);
            hone_arena_release(&a);
        }
        scratch_close(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bad_vocab_txt_is_named_by_its_line_or_word),
        cmocka_unit_test(bad_vocab_json_and_merges_are_named_by_word),
        cmocka_unit_test(files_cut_at_every_length_never_make_half_a_vocabulary),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
