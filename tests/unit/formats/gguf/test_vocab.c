/* The tokenizer of a GGUF file whose merges nobody has looked at. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "formats/gguf.h"
#include "formats/gguf/vocab.h"
#include <string.h>

#define S(text) { text, sizeof(text) - 1 }

static hone_code read_with(const hone_gguf_str *merges, size_t n, hone_arena *a, hone_tokenizer *t, hone_err *err)
{
    static const hone_gguf_str tokens[] = { S("a"), S("b"), S("c"), S("ab"), S("abc"), S("ab") /* twice, as llama.cpp lets it be */ };
    hone_gguf_writer          *w;
    hone_gguf                  g;
    hone_bytes                 head;
    hone_tensor               *tensors;
    uint64_t                   total;
    size_t                     n_tensors;
    assert_int_equal(hone_gguf_writer_new(a, &w, err), HONE_OK);
    assert_int_equal(hone_gguf_put_str(w, "tokenizer.ggml.model", "gpt2", err), HONE_OK);
    assert_int_equal(hone_gguf_put_str(w, "tokenizer.ggml.pre", "gpt-2", err), HONE_OK);
    assert_int_equal(hone_gguf_put_array(w, "tokenizer.ggml.tokens", HONE_GGUF_STRING, tokens, HONE_COUNT(tokens), err), HONE_OK);
    assert_int_equal(hone_gguf_put_array(w, "tokenizer.ggml.merges", HONE_GGUF_STRING, merges, n, err), HONE_OK);
    assert_int_equal(hone_gguf_layout(w, NULL, &total, &head, err), HONE_OK);
    assert_int_equal(hone_gguf_parse(head, total, a, &g, &tensors, &n_tensors, err), HONE_OK);
    return hone_gguf_tokenizer_read(&g, 8, a, t, err);
}

static void merges_that_join_no_tokens_are_left_out(void **state)
{
    static const hone_gguf_str merges[] = { S("x b"), S("a x"), S("a b"), S("b c"), S("ab c") };
    hone_arena     a = { 0 };
    hone_err       err = { 0 };
    hone_tokenizer t;
    (void)state;
    assert_int_equal(read_with(merges, HONE_COUNT(merges), &a, &t, &err), HONE_OK);
    assert_int_equal(t.n_tokens, 6);
    assert_int_equal(t.n_merges, 2);
    assert_int_equal(t.merges[0].left_len, 1);
    assert_memory_equal(t.merges[0].left, "a", 1);
    assert_int_equal(t.merges[1].left_len, 2);
    assert_memory_equal(t.merges[1].left, "ab", 2);
    hone_arena_release(&a);
}

static void merges_that_are_no_two_words_are_refused(void **state)
{
    static const hone_gguf_str bad[] = { S("ab"), S("a "), S(" b"), S("a \xff") };
    (void)state;
    for (size_t i = 0; i < HONE_COUNT(bad); i++) {
        hone_arena     a = { 0 };
        hone_err       err = { 0 };
        hone_tokenizer t;
        assert_int_equal(read_with(&bad[i], 1, &a, &t, &err), HONE_EINPUT);
        assert_non_null(strstr(err.cause, "merge 0 is '"));
        assert_true(err.remedy[0] != 0);
        hone_arena_release(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merges_that_join_no_tokens_are_left_out),
        cmocka_unit_test(merges_that_are_no_two_words_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
