/* test_tokenizer_files.c - what is read from a tokenizer's files, and how bad ones are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../scratch.h"
#include "base/file.h"
#include "formats/gguf.h"
#include "formats/hf.h"
#include "formats/hf/sentencepiece.h"

#define SEEDS "tests/golden/fuzz/tokenizer_json/"
#define BPE(added, pre, model) "{\"added_tokens\":" added ",\"pre_tokenizer\":" pre ",\"model\":{\"type\":\"BPE\"," model "}}"
#define GPT2                   "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}"
#define VOCAB                  "\"vocab\":{\"a\":0,\"b\":1,\"ab\":2}"
#define GOOD                   BPE("[]", GPT2, VOCAB ",\"merges\":[\"a b\"]")

typedef struct loaded {
    scratch        s;
    hone_arena     a;
    hone_tokenizer t;
    hone_err       err;
    hone_code      code;
} loaded;

/* name, text, name, text, ..., NULL: the files of a folder that is then read. */
static void load(loaded *l, uint32_t n_vocab, ...)
{
    va_list     ap;
    const char *name;
    *l = (loaded){ .t = { .n_tokens = 77 } };
    scratch_open(&l->s);
    va_start(ap, n_vocab);
    while ((name = va_arg(ap, const char *))) {
        const char *text = va_arg(ap, const char *);
        scratch_put(&l->s, name, text, strlen(text));
    }
    va_end(ap);
    l->code = hone_hf_tokenizer_load(l->s.dir, n_vocab, &l->a, &l->t, &l->err);
}

static void unload(loaded *l)
{
    hone_arena_release(&l->a);
    scratch_close(&l->s);
}

static void check(const loaded *l, hone_code code, const char *cause)
{
    size_t      skip = strlen(l->s.dir);
    const char *shown = strncmp(l->err.cause, l->s.dir, skip) == 0 ? l->err.cause + skip : l->err.cause;
    assert_string_equal(shown, cause);
    assert_int_equal(l->code, code);
    assert_int_equal(l->t.n_tokens, 77); /* untouched */
}

static void refuses_bad_files_with_their_cause(void **state)
{
    static const struct { hone_code code; const char *json, *cause; } bad[] = {
        { HONE_EINPUT, "[]", "/tokenizer.json: the document is no JSON object" },
        { HONE_EINPUT, "{}", "/tokenizer.json: the document has no \"model\"" },
        { HONE_EINPUT, "{\"model\":{\"type\":\"BPE\"}}", "/tokenizer.json: model.vocab is no object" },
        { HONE_EINPUT, "{\"model\":{\"type\":\"BPE\",\"vocab\":{}}}", "/tokenizer.json: model.vocab is empty" },
        { HONE_EINPUT, "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":\"0\"}}}", "/tokenizer.json: token 'a' has an id that is no number in 0..16777215" },
        { HONE_EINPUT, "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":-1}}}", "/tokenizer.json: token 'a' has an id that is no number in 0..16777215" },
        { HONE_EINPUT, "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":99999999999999999999}}}", "/tokenizer.json: token 'a' has an id that is no number in 0..16777215" },
        { HONE_EINPUT, "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":0}}}", "/tokenizer.json: id 0 is given to 'a' and to 'b'" },
        { HONE_EINPUT, "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":10}}}", "/tokenizer.json: tokenizer has 11 tokens, the embedding 8 rows" },
        { HONE_EINPUT, BPE("[{\"content\":\"x\"}]", GPT2, VOCAB), "/tokenizer.json: added token 0 has an id that is no number in 0..16777215" },
        { HONE_EINPUT, BPE("[{\"id\":3}]", GPT2, VOCAB), "/tokenizer.json: added token 3 has no content" },
        { HONE_EINPUT, BPE("[{\"id\":3,\"content\":\"a\"}]", GPT2, VOCAB), "/tokenizer.json: token 'a' has the ids 0 and 3" },
        { HONE_EINPUT, BPE("[{\"id\":3,\"content\":\"x\",\"rstrip\":1}]", GPT2, VOCAB), "/tokenizer.json: \"rstrip\" is an integer, needs true or false" },
        { HONE_EINPUT, BPE("{}", GPT2, VOCAB), "/tokenizer.json: added_tokens is no array" },
        { HONE_EINPUT, BPE("[]", GPT2, VOCAB), "/tokenizer.json: model.merges is no array" },
        { HONE_EINPUT, BPE("[]", GPT2, VOCAB ",\"merges\":[\"ab\"]"), "/tokenizer.json: merge 0 is 'ab', needs two words" },
        { HONE_EINPUT, BPE("[]", GPT2, VOCAB ",\"merges\":[\"a b c\"]"), "/tokenizer.json: merge 0 is 'a b c', needs two words" },
        { HONE_EINPUT, BPE("[]", GPT2, VOCAB ",\"merges\":[\"a b\",[\"a\"]]"), "/tokenizer.json: merge 1 is neither \"a b\" nor [\"a\", \"b\"]" },
        { HONE_EINPUT, BPE("[]", GPT2, VOCAB ",\"merges\":[[\"b\",\"a\"]]"), "/tokenizer.json: merge 0 joins 'b' and 'a', but 'ba' is not in the vocabulary" },
        { HONE_EINPUT, BPE("[]", GPT2, VOCAB ",\"merges\":[[\"a\",\"\\u001b\"]]"), "/tokenizer.json: merge 0 joins 'a' and '\\x1b', but '\\x1b' is not in the vocabulary" },
        { HONE_EUNSUPPORTED, "{\"model\":{\"type\":\"WordLevel\",\"vocab\":{}}}", "/tokenizer.json: tokenizer model 'WordLevel' is not known" },
        { HONE_EUNSUPPORTED, BPE("[]", "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\w+\"},\"behavior\":\"Isolated\",\"invert\":false}", VOCAB ",\"merges\":[]"),
          "/tokenizer.json: pre-tokenizer is not known: {\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\w+\"},\"behavior\":\"Isolated\",\"invert\":false}" },
        { HONE_EUNSUPPORTED, BPE("[]", "{\"type\":\"ByteLevel\",\"add_prefix_space\":true}", VOCAB ",\"merges\":[]"), "/tokenizer.json: pre-tokenizer is not known: {\"type\":\"ByteLevel\",\"add_prefix_space\":true}" },
        { HONE_EUNSUPPORTED, BPE("[]", "null", VOCAB ",\"merges\":[]"), "/tokenizer.json: pre-tokenizer is not known: null" },
        { HONE_EUNSUPPORTED, BPE("[]", GPT2, VOCAB ",\"merges\":[],\"end_of_word_suffix\":\"</w>\""), "/tokenizer.json: end_of_word_suffix is not known: \"</w>\"" },
        { HONE_EUNSUPPORTED, "{\"normalizer\":{\"type\":\"Lowercase\"},\"pre_tokenizer\":" GPT2 ",\"model\":{\"type\":\"BPE\"," VOCAB ",\"merges\":[]}}",
          "/tokenizer.json: normalizer of a byte-level BPE is not known: {\"type\":\"Lowercase\"}" },
        { HONE_EUNSUPPORTED, BPE("[]", GPT2, VOCAB ",\"merges\":[],\"ignore_merges\":true"),
          "/tokenizer.json: pre-tokenizer 'gpt-2' has ignore_merges false in llama.cpp, true in tokenizer.json, and some tokens need it" },
        { HONE_EUNSUPPORTED, "{\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"\xe2\x96\x81\",\"prepend_scheme\":\"always\",\"split\":false},\"model\":{\"type\":\"BPE\",\"byte_fallback\":true," VOCAB ",\"merges\":[]}}",
          "/tokenizer.json: byte_fallback needs the 256 tokens <0x00> to <0xFF>, the vocabulary has 0" },
        { HONE_EUNSUPPORTED, "{\"post_processor\":{\"type\":\"Other\"},\"pre_tokenizer\":" GPT2 ",\"model\":{\"type\":\"BPE\"," VOCAB ",\"merges\":[]}}", "/tokenizer.json: post_processor is not known: {\"type\":\"Other\"}" },
        { HONE_EUNSUPPORTED,
          "{\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"a\"}},{\"SpecialToken\":{\"id\":\"b\"}},{\"Sequence\":{\"id\":\"A\"}}]},\"pre_tokenizer\":" GPT2 ",\"model\":{\"type\":\"BPE\"," VOCAB ",\"merges\":[]}}",
          "/tokenizer.json: post_processor that puts more than one token before or after a text is not known: {\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"a\"}},{\"SpecialToken\":{\"id\":\"b\"}},{\"Sequence\":{\"id\":\"A\"}}]}" },
        { HONE_EINPUT, "{\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"[X]\"}},{\"Sequence\":{\"id\":\"A\"}}]},\"pre_tokenizer\":" GPT2 ",\"model\":{\"type\":\"BPE\"," VOCAB ",\"merges\":[]}}",
          "/tokenizer.json: post_processor puts '[X]', which is no token" },
        { HONE_EINPUT, "{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\"]]}}", "/tokenizer.json: piece 0 is no [piece, score]" },
        { HONE_EINPUT, "{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",0],[\"a\",1]]}}", "/tokenizer.json: token 'a' has the ids 0 and 1" },
        { HONE_EINPUT, "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"a\":1}}}", "/tokenizer.json: line 1, column 41: duplicate object key near '\"a\"'" },
    };
    (void)state;
    for (size_t i = 0; i < HONE_COUNT(bad); i++) {
        loaded l;
        load(&l, 8, "tokenizer.json", bad[i].json, NULL);
        check(&l, bad[i].code, bad[i].cause);
        if (bad[i].code == HONE_EUNSUPPORTED) assert_true(l.err.remedy[0]);
        unload(&l);
    }
}

static void deep_json_and_broken_utf8_are_refused(void **state)
{
    loaded l;
    char   deep[2100];
    (void)state;
    memset(deep, '[', sizeof deep);
    deep[sizeof deep - 1] = '\0';
    load(&l, 8, "tokenizer.json", deep, NULL);
    check(&l, HONE_EINPUT, "/tokenizer.json: JSON is nested more than 512 levels deep");
    unload(&l);
    load(&l, 8, "tokenizer.json", "{\"model\":\"\xff\xfe\"}", NULL);
    check(&l, HONE_EINPUT, "/tokenizer.json: line 1, column 10: unable to decode byte 0xff near '\"'");
    unload(&l);
}

static void a_file_cut_anywhere_is_refused(void **state)
{
    static const char *const seeds[] = { "bpe.json", "split.json", "unigram.json", "wordpiece.json" };
    (void)state;
    for (size_t k = 0; k < HONE_COUNT(seeds); k++) {
        char       path[128];
        hone_arena a = { 0 };
        hone_bytes b = { 0 };
        (void)snprintf(path, sizeof path, SEEDS "%s", seeds[k]);
        assert_int_equal(hone_file_slurp(path, 1u << 20, &a, &b, NULL), HONE_OK);
        scratch s;
        scratch_open(&s);
        for (size_t n = 0; n <= b.len; n++) {
            hone_arena     m = { 0 };
            hone_err       err = { 0 };
            hone_tokenizer t;
            scratch_put(&s, "tokenizer.json", b.ptr, n);
            assert_int_equal(hone_hf_tokenizer_load(s.dir, 8, &m, &t, &err), n < b.len ? HONE_EINPUT : HONE_OK);
            hone_arena_release(&m);
        }
        scratch_close(&s);
        hone_arena_release(&a);
    }
}

static void ids_without_a_token_are_unused_and_added_ones_past_the_embedding_are_left_out(void **state)
{
    loaded l;
    (void)state;
    load(&l, 8, "tokenizer.json", BPE("[{\"id\":6,\"content\":\"<x>\",\"special\":true},{\"id\":8,\"content\":\"<y>\",\"special\":true}]", GPT2, VOCAB ",\"merges\":[\"a b\"]"), NULL);
    assert_int_equal(l.code, HONE_OK);
    assert_int_equal(l.t.n_tokens, 7);
    assert_int_equal(l.t.n_dropped, 1);
    assert_true(hone_tokenizer_needs(&l.t, "dropped"));
    assert_string_equal(l.t.tokens[4].text, "[PAD4]");
    assert_int_equal(l.t.tokens[4].type, HONE_TOKEN_UNUSED);
    assert_int_equal(l.t.tokens[6].type, HONE_TOKEN_CONTROL);
    assert_int_equal(l.t.tokens[0].type, HONE_TOKEN_NORMAL);
    assert_int_equal(l.t.n_merges, 1);
    assert_string_equal(l.t.pre, "gpt-2");
    unload(&l);
}

static void a_folder_without_tokenizer_files_has_none(void **state)
{
    loaded l;
    (void)state;
    load(&l, 8, "config.json", "{}", NULL);
    assert_int_equal(l.code, HONE_OK);
    assert_int_equal(l.t.kind, HONE_TOK_NONE);
    unload(&l);
}

static void special_tokens_come_from_the_nearest_file(void **state)
{
    loaded l;
    (void)state;
    load(&l, 8, "tokenizer.json", GOOD, "tokenizer_config.json", "{\"bos_token\":{\"content\":\"a\"},\"add_bos_token\":true}", "special_tokens_map.json",
         "{\"bos_token\":\"b\",\"eos_token\":\"b\"}", "config.json", "{\"eos_token_id\":0,\"pad_token_id\":[2,1],\"text_config\":{\"sep_token_id\":1}}", NULL);
    assert_int_equal(l.code, HONE_OK);
    assert_int_equal(l.t.bos, 0);
    assert_int_equal(l.t.eos, 1);
    assert_int_equal(l.t.pad, 2);
    assert_int_equal(l.t.sep, 1);
    assert_int_equal(l.t.unk, -1);
    assert_true(l.t.add_bos);
    assert_false(l.t.add_eos);
    unload(&l);
    /* The post-processor is what really puts tokens there. */
    load(&l, 8, "tokenizer.json", "{\"post_processor\":{\"type\":\"ByteLevel\"},\"pre_tokenizer\":" GPT2 ",\"model\":{\"type\":\"BPE\"," VOCAB ",\"merges\":[]}}", "tokenizer_config.json",
         "{\"bos_token\":\"a\",\"add_bos_token\":true}", NULL);
    assert_int_equal(l.code, HONE_OK);
    assert_false(l.t.add_bos);
    unload(&l);
    load(&l, 8, "tokenizer.json", GOOD, "tokenizer_config.json", "{\"add_bos_token\":\"yes\"}", NULL);
    check(&l, HONE_EINPUT, ": \"add_bos_token\" is a string, needs true or false");
    unload(&l);
}

static void every_end_of_generation_config_ends_a_text(void **state)
{
    loaded l;
    (void)state;
    load(&l, 16, "tokenizer.json", BPE("[{\"id\":3,\"content\":\"<|im_end|>\",\"special\":true},{\"id\":4,\"content\":\"<stop>\",\"special\":true}]", GPT2, VOCAB ",\"merges\":[]"),
         "tokenizer_config.json", "{\"eos_token\":\"a\"}", "generation_config.json", "{\"eos_token_id\":[0,3,4,99]}", NULL);
    assert_int_equal(l.code, HONE_OK);
    assert_int_equal(l.t.eos, 0);
    assert_int_equal(l.t.eot, 4); /* nobody knows this text; <|im_end|> is known by its own */
    assert_int_equal(l.t.eom, -1);
    unload(&l);
    load(&l, 16, "tokenizer.json", GOOD, "generation_config.json", "{\"eos_token_id\":1}", NULL);
    assert_int_equal(l.t.eos, 1);
    assert_int_equal(l.t.eot, -1);
    unload(&l);
}

static void a_template_file_wins_over_tokenizer_config(void **state)
{
    loaded l;
    (void)state;
    load(&l, 8, "tokenizer.json", GOOD, "tokenizer_config.json", "{\"chat_template\":\"old\"}", "chat_template.jinja", "new", "additional_chat_templates/tool_use.jinja", "tools",
         "additional_chat_templates/rag.jinja", "rag", NULL);
    assert_int_equal(l.code, HONE_OK);
    assert_int_equal(l.t.n_templates, 3);
    assert_string_equal(l.t.templates[0].name, "default");
    assert_string_equal(l.t.templates[0].text, "new");
    assert_string_equal(l.t.templates[1].name, "rag");
    assert_string_equal(l.t.templates[2].name, "tool_use");
    unload(&l);
    load(&l, 8, "tokenizer.json", GOOD, "tokenizer_config.json", "{\"chat_template\":[{\"name\":\"tool_use\",\"template\":\"t\"},{\"name\":\"default\",\"template\":\"d\"}]}", NULL);
    assert_int_equal(l.t.n_templates, 2);
    assert_string_equal(l.t.templates[0].name, "default");
    assert_string_equal(l.t.templates[1].text, "t");
    unload(&l);
    load(&l, 8, "tokenizer.json", GOOD, "chat_template.json", "{\"chat_template\":\"legacy\"}", NULL);
    assert_int_equal(l.t.n_templates, 1);
    assert_string_equal(l.t.templates[0].text, "legacy");
    unload(&l);
    load(&l, 8, "tokenizer.json", GOOD, "tokenizer_config.json", "{\"chat_template\":7}", NULL);
    check(&l, HONE_EINPUT, ": tokenizer_config.json: chat_template is neither a string nor a list");
    unload(&l);
    load(&l, 8, "tokenizer.json", GOOD, "tokenizer_config.json", "{\"chat_template\":[{\"name\":\"a\",\"template\":\"t\"},{\"name\":\"a\",\"template\":\"d\"}]}", NULL);
    check(&l, HONE_EINPUT, ": two chat templates have the name 'a'");
    unload(&l);
    load(&l, 8, "tokenizer.json", GOOD, "chat_template.jinja", "\xff", NULL);
    assert_int_equal(l.code, HONE_EINPUT);
    assert_non_null(strstr(l.err.cause, "the chat template is no UTF-8 text"));
    unload(&l);
}

static void named_templates_get_keys_of_their_own(void **state)
{
    loaded            l;
    hone_gguf_writer *w = NULL;
    hone_err          err = { 0 };
    uint64_t          none = 0, total = 0;
    hone_bytes        head;
    char              path[256];
    hone_gguf         g;
    (void)state;
    load(&l, 8, "tokenizer.json", GOOD, "chat_template.jinja", "new", "additional_chat_templates/tool-use.jinja", "tools", NULL);
    assert_int_equal(hone_gguf_writer_new(&l.a, &w, &err), HONE_OK);
    assert_int_equal(hone_gguf_put_str(w, "general.architecture", "llama", &err), HONE_OK);
    assert_int_equal(hone_gguf_put_tokenizer(w, &l.t, 8, &err), HONE_OK);
    assert_int_equal(hone_gguf_layout(w, &none, &total, &head, &err), HONE_OK);
    assert_int_equal(hone_out_put(scratch_path(&l.s, "t.gguf", path), head.ptr, head.len, &err), HONE_OK);
    assert_int_equal(hone_gguf_open(path, &l.a, &g, &err), HONE_OK);
    const hone_gguf_value *v = hone_gguf_find(&g, "tokenizer.chat_template.tool_use");
    assert_non_null(v);
    assert_memory_equal(v->as.s.ptr, "tools", 5);
    v = hone_gguf_find(&g, "tokenizer.chat_templates");
    assert_non_null(v);
    assert_int_equal(v->n, 1);
    v = hone_gguf_find(&g, "tokenizer.chat_template");
    assert_memory_equal(v->as.s.ptr, "new", 3);
    v = hone_gguf_find(&g, "tokenizer.ggml.tokens");
    assert_int_equal(v->n, 8);
    const hone_gguf_str *texts = v->as.array;
    assert_memory_equal(texts[7].ptr, "[PAD7]", 6);
    g.source->close(g.source);
    unload(&l);
}

static void two_tokens_of_one_text_are_refused_for_gguf(void **state)
{
    loaded            l;
    hone_gguf_writer *w = NULL;
    hone_err          err = { 0 };
    (void)state;
    load(&l, 8, "tokenizer.json", BPE("[{\"id\":3,\"content\":\"[PAD5]\",\"special\":true}]", GPT2, VOCAB ",\"merges\":[\"a b\"]"), NULL);
    assert_int_equal(l.code, HONE_OK);
    assert_int_equal(hone_gguf_writer_new(&l.a, &w, &err), HONE_OK);
    assert_int_equal(hone_gguf_put_tokenizer(w, &l.t, 8, &err), HONE_EUNSUPPORTED);
    assert_string_equal(err.cause, "tokens 3 and 5 are both '[PAD5]' in GGUF");
    assert_int_equal(hone_gguf_put_tokenizer(w, &l.t, 2, &err), HONE_EINPUT);
    assert_string_equal(err.cause, "tokenizer has 4 tokens, the embedding 2 rows");
    unload(&l);
}

static void sentencepiece_says_where_it_breaks(void **state)
{
    static const struct { const char *bytes; size_t n; const char *cause; } bad[] = {
        { "", 0, "file of 0 bytes has no pieces" },
        { "\x0a", 1, "byte 1: a number runs past the end of its message" },
        { "\x0a\x05" "abc", 5, "byte 2: field 1 has 5 bytes, its message only 3" },
        { "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 11, "byte 11: a number is longer than 64 bits" },
        { "\x08\x01", 2, "byte 2: field 1 has wire type 0" },
        { "\x0b", 1, "byte 1: field 1 has wire type 3" },
        { "\x02", 1, "byte 1: a field has no valid number" },
        { "\x0a\x00", 2, "piece 0 is empty" },
        { "\x0a\x03\x0a\x01\xff", 5, "piece 0 '\\xff' is no UTF-8" },
        { "\x0a\x05\x0a\x01" "a\x18\x07", 7, "piece 0 has type 7, known are 1..6" },
        { "\x0a\x08\x0a\x01" "a\x15\x00\x00\xc0\x7f", 10, "piece 0 'a' has the score nan" },
        { "\x0a\x03\x0a\x01" "a\x12\x02\x18\x09", 9, "model type is 9, known are 1..4" },
        { "\x0a\x03\x0a\x01" "a\x12\x03\xc0\x02\x05", 10, "unk_id is piece 5 of 1" },
    };
    (void)state;
    for (size_t i = 0; i < HONE_COUNT(bad); i++) {
        hone_arena a = { 0 };
        hone_err   err = { 0 };
        hone_sp    sp = { .n = 77 };
        assert_int_equal(hone_sp_parse((hone_bytes){ (const uint8_t *)bad[i].bytes, bad[i].n }, &a, &sp, &err), HONE_EINPUT);
        assert_string_equal(err.cause, bad[i].cause);
        assert_int_equal(sp.n, 77);
        hone_arena_release(&a);
    }
}

static void a_sentencepiece_model_cut_anywhere_never_crashes(void **state)
{
    hone_arena a = { 0 };
    hone_bytes b = { 0 };
    unsigned   refused = 0;
    (void)state;
    assert_int_equal(hone_file_slurp("tests/golden/fuzz/sentencepiece/bpe.model", 1u << 20, &a, &b, NULL), HONE_OK);
    for (size_t n = 0; n < b.len; n++) {
        hone_arena m = { 0 };
        hone_err   err = { 0 };
        hone_sp    sp;
        uint8_t   *copy = malloc(n ? n : 1); /* exact, so that a sanitizer sees the first byte past the end */
        assert_non_null(copy);
        memcpy(copy, b.ptr, n);
        hone_code code = hone_sp_parse((hone_bytes){ copy, n }, &m, &sp, &err);
        assert_true(code == HONE_OK || code == HONE_EINPUT); /* a cut between two fields is a shorter message */
        refused += code != HONE_OK;
        free(copy);
        hone_arena_release(&m);
    }
    assert_true(refused > b.len * 3 / 4);
    hone_arena_release(&a);
}

static void tokenizer_json_and_tokenizer_model_must_agree(void **state)
{
    hone_arena a = { 0 };
    hone_bytes model = { 0 };
    loaded     l;
    scratch    s;
    (void)state;
    assert_int_equal(hone_file_slurp("tests/golden/fuzz/sentencepiece/bpe.model", 1u << 20, &a, &model, NULL), HONE_OK);
    hone_bytes json = { 0 };
    assert_int_equal(hone_file_slurp(SEEDS "spm.json", 1u << 20, &a, &json, NULL), HONE_OK);
    scratch_open(&s);
    scratch_put(&s, "tokenizer.json", json.ptr, json.len);
    scratch_put(&s, "tokenizer.model", model.ptr, model.len);
    l = (loaded){ .s = s, .t = { .n_tokens = 77 } };
    l.code = hone_hf_tokenizer_load(s.dir, 512, &l.a, &l.t, &l.err);
    check(&l, HONE_EINPUT, "/tokenizer.json: token 1 is 'a' in tokenizer.json and '<s>' in tokenizer.model");
    unload(&l);
    hone_arena_release(&a);
}

static void config_json_is_needed_and_an_object(void **state)
{
    scratch  s;
    hone_err err = { 0 };
    json_t  *j = NULL;
    char     want[256];
    (void)state;
    scratch_open(&s);
    assert_int_equal(hone_hf_config_load(s.dir, &j, &err), HONE_EINPUT);
    (void)snprintf(want, sizeof want, "'%s' has no config.json", s.dir);
    assert_string_equal(err.cause, want);
    scratch_put(&s, "config.json", "[1]", 3);
    assert_int_equal(hone_hf_config_load(s.dir, &j, &err), HONE_EINPUT);
    (void)snprintf(want, sizeof want, "%s/config.json: the document is no JSON object", s.dir);
    assert_string_equal(err.cause, want);
    assert_null(j);
    scratch_put(&s, "config.json", "{\"a\":1}", 7);
    assert_int_equal(hone_hf_config_load(s.dir, &j, &err), HONE_OK);
    assert_int_equal(json_integer_value(json_object_get(j, "a")), 1);
    json_decref(j);
    scratch_close(&s);
    assert_int_equal(hone_hf_config_load("/nowhere/at/all", &j, &err), HONE_EINPUT);
    assert_string_equal(err.cause, "'/nowhere/at/all' is no folder");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_bad_files_with_their_cause),
        cmocka_unit_test(deep_json_and_broken_utf8_are_refused),
        cmocka_unit_test(a_file_cut_anywhere_is_refused),
        cmocka_unit_test(ids_without_a_token_are_unused_and_added_ones_past_the_embedding_are_left_out),
        cmocka_unit_test(a_folder_without_tokenizer_files_has_none),
        cmocka_unit_test(special_tokens_come_from_the_nearest_file),
        cmocka_unit_test(every_end_of_generation_config_ends_a_text),
        cmocka_unit_test(a_template_file_wins_over_tokenizer_config),
        cmocka_unit_test(named_templates_get_keys_of_their_own),
        cmocka_unit_test(two_tokens_of_one_text_are_refused_for_gguf),
        cmocka_unit_test(sentencepiece_says_where_it_breaks),
        cmocka_unit_test(a_sentencepiece_model_cut_anywhere_never_crashes),
        cmocka_unit_test(tokenizer_json_and_tokenizer_model_must_agree),
        cmocka_unit_test(config_json_is_needed_and_an_object),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
