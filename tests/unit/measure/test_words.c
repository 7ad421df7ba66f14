/* The tokenizer of a folder, written as a GGUF without weights, gives llama.cpp the ids and the chats of every test model; and the hidden states of
 * two artefacts are told apart layer by layer.
 * ctest: timeout 600 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/file.h"
#include "measure/check/parts.h"
#include "measure/child/vocab.h"
#include "measure/layers.h"
#include "runner/fixture.h"
#include <stdio.h>
#include <string.h>

static fixture f;

static const char *const models[] = { "llama", "mistral", "qwen2", "qwen3", "phi3", "gemma2", "gemma3", "smollm3", "olmo2", "granite", "stablelm", "starcoder2", "gpt2", "gpt_neox",
                                      "mixtral", "qwen3_moe", "olmoe", "bert" };

static void a_folder_of_tokenizer_files_is_enough(void **state)
{
    const char       *name = *state;
    hone_arena        a = { 0 };
    hone_err          err = { 0 };
    hone_bytes        gguf;
    hone_check_limit  limit = { 0 };
    hone_check_result res = { 0 };
    hone_cases        cases;
    hone_artefact     x = { .folder = hone_arena_printf(&a, HONE_TEST_SOURCE_DIR "/tests/golden/tiny/%s", name), .consumer = "nobody" };
    const char       *path = hone_arena_printf(&a, "%s/%s.gguf", f.dir, name), *cases_path = hone_arena_printf(&a, "%s/tokenizer_cases.json", x.folder);
    x.path = x.folder;
    if (hone_vocab_gguf(&x, 0, &a, &gguf, &err) != HONE_OK) fail_msg("%s: %s", name, err.cause);
    assert_int_equal(hone_out_put(path, gguf.ptr, gguf.len, &err), HONE_OK);
    hone_backend_info info;
    hone_runner      *r = fixture_run(&f, "llamacpp", (hone_backend_open){ .path = path, .vocab_only = true }, &info);
    assert_int_equal(hone_check_limits(&f.ctx, x.folder, &x, &a, &limit, &res, &err), HONE_OK);
    assert_int_equal(hone_check_word_limits(&f.ctx, "llama.cpp", &a, &limit, &res, &err), HONE_OK);
    assert_int_equal(hone_cases_load(cases_path, &a, &cases, &err), HONE_OK);
    if (hone_check_tokens(&f.ctx, r, &cases, &limit, &res, &err) != HONE_OK) fail_msg("%s: %s", name, err.cause);
    if (res.tok_mismatches || res.tpl_mismatches) fail_msg("%s: %s %s", name, res.tok_first, res.tpl_first);
    assert_in_range(res.tok_cases, 200, 400);
    assert_int_equal(info.n_vocab, limit.facts.vocab);
    hone_runner_stop(r);
    hone_arena_release(&a);
}

static void layers_that_differ_are_named(void **state)
{
    hone_layers_result r;
    hone_err           err = { 0 };
    (void)state;
    const char *f32 = fixture_gguf(&f, "tests/golden/tiny/llama", "f32"), *bf16 = fixture_gguf(&f, "tests/golden/tiny/llama", "bf16");
    const char *q4 = fixture_gguf(&f, "tests/golden/tiny/llama", "q4_0"), *other = fixture_gguf(&f, "tests/golden/tiny/smollm3", "f32");
    if (hone_layers(&f.ctx, &(hone_layers_options){ .artefact = f32, .reference = f32 }, &f.a, &r, &err) != HONE_OK) fail_msg("%s", err.cause);
    assert_true(r.n_layers == 2 && r.n_ids == 64 && r.parts_at == -1 && r.parts_at_position == -1 && r.bound == 1e-3);
    for (uint32_t l = 0; l < r.n_layers; l++) assert_true(r.layers[l].max_abs == 0 && r.layers[l].relative == 0 && r.layers[l].cosine > 1 - 1e-12);
    assert_int_equal(hone_layers(&f.ctx, &(hone_layers_options){ .artefact = bf16, .reference = f32, .n_ids = 16 }, &f.a, &r, &err), HONE_OK);
    assert_true(r.n_ids == 16 && r.parts_at == -1 && r.layers[0].relative > 0 && r.layers[1].relative < r.bound);
    assert_int_equal(hone_layers(&f.ctx, &(hone_layers_options){ .artefact = q4, .reference = f32 }, &f.a, &r, &err), HONE_OK);
    assert_true(r.bound == 0 && r.parts_at >= 0 && r.layers[0].relative > 1e-3 && r.layers[0].cosine < 1);
    json_t *doc = hone_layers_json(&r);
    assert_int_equal(json_array_size(json_object_get(doc, "layers")), 2);
    assert_int_equal(json_array_size(json_object_get(json_array_get(json_object_get(doc, "layers"), 1), "by_position")), 64);
    json_decref(doc);
    r.n_ids = 77;
    assert_int_equal(hone_layers(&f.ctx, &(hone_layers_options){ .artefact = f32, .reference = other, .n_ids = 8 }, &f.a, &r, &err), HONE_EINPUT);
    if (!strstr(err.cause, "the artefact shows 2 layers")) fail_msg("%s", err.cause);
    assert_int_equal(r.n_ids, 77); /* out is untouched on failure */
}

int main(void)
{
    enum { N = HONE_COUNT(models) };
    struct CMUnitTest tests[N + 1];
    fixture_open(&f);
    f.ctx.data_dir = HONE_TEST_SOURCE_DIR;
    int rc = 77;
    if (fixture_have(&f, "llamacpp")) {
        for (size_t i = 0; i < N; i++)
            tests[i] = (struct CMUnitTest){ .name = models[i], .test_func = a_folder_of_tokenizer_files_is_enough, .initial_state = (void *)(uintptr_t)models[i] };
        tests[N] = (struct CMUnitTest)cmocka_unit_test(layers_that_differ_are_named);
        rc = _cmocka_run_group_tests("words", tests, N + 1, NULL, NULL);
    }
    fixture_close(&f);
    return rc;
}
