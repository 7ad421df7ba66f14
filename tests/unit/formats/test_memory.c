/* Every allocation fails in turn, the first, the second, the third...: the answer is HONE_ERESOURCE, nothing crashes,
 * nothing leaks, no file stays open.   ctest: wrap-memory */
#include "flow/convert.h"
#include "formats/gguf/imatrix.h"
#include "formats/gguf/meta.h"
#include "formats/onnx.h"
#include "formats/openvino/tokenizer.h"
#include "formats/safetensors.h"
#include "formats/scratch.h"
#include "failing_memory.h"
#include <dirent.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

/* jansson lives in a library of its own, where --wrap does not reach. */
static void *json_malloc(size_t n) { return fails() ? NULL : __real_malloc(n); }

static unsigned open_files(void)
{
    unsigned n = 0;
    DIR     *d = opendir("/proc/self/fd");
    while (d && readdir(d)) n++;
    if (d) closedir(d);
    return n;
}

typedef hone_code (*operation)(const scratch *s, hone_arena *a, hone_err *err);

static void sweep(const scratch *s, operation run, unsigned at_least)
{
    unsigned before = open_files();
    for (fail_at = 1;; fail_at++) {
        hone_arena a = { 0 };
        hone_err   err = { 0 };
        count = 0;
        armed = true;
        hone_code code = run(s, &a, &err);
        armed = false;
        hone_arena_release(&a);
        assert_int_equal(open_files(), before);
        if (count < fail_at) { /* nothing failed this time */
            if (code != HONE_OK) fail_msg("without a failure: %s", err.cause);
            break;
        }
        if (code != HONE_ERESOURCE) fail_msg("allocation %u: code %d, cause '%s'", fail_at, code, err.cause);
        assert_int_equal(err.code, HONE_ERESOURCE);
        assert_true(strncmp(err.cause, "out of memory for ", 18) == 0);
    }
    if (fail_at < at_least) fail_msg("only %u allocations were seen", fail_at);
}

static hone_code open_shards(const scratch *s, hone_arena *a, hone_err *err)
{
    hone_source *src = NULL;
    hone_code    code = hone_safetensors_open(s->dir, a, &src, err);
    if (code == HONE_OK) src->close(src);
    return code;
}

static hone_code open_splits(const scratch *s, hone_arena *a, hone_err *err)
{
    char      path[256];
    hone_gguf g;
    hone_code code = hone_gguf_open(scratch_path(s, "m-00002-of-00002.gguf", path), a, &g, err);
    if (code == HONE_OK) g.source->close(g.source);
    return code;
}

static hone_code build(const scratch *s, hone_arena *a, hone_err *err)
{
    static const float   list[] = { 1, 2 };
    const hone_gguf_arch row = { .keys = ~0u };
    const hone_model     m = { .facts = { .gguf = &row, .n_layers = 2, .hidden = 64, .n_heads = 2, .n_kv_heads = 1, .head_dim = 32, .name = "x",
                                          .rope = { .kind = HONE_ROPE_HALVES, .dim = 16, .base = 1e6, .scaling = HONE_ROPE_SCALE_YARN, .factor = 4, .attn_factor = 2 },
                                          .n_experts = 2, .n_experts_used = 1, .n_token_types = 2, .pooling = HONE_POOL_CLS } };
    hone_gguf_writer *w;
    uint64_t          offsets[200], total;
    hone_bytes        head;
    hone_gguf_str     strings[] = { { "a", 1 } };
    (void)s;
    HONE_TRY(hone_gguf_writer_new(a, &w, err));
    HONE_TRY(hone_gguf_put_general(w, &m, "llama", 15, err));
    HONE_TRY(hone_gguf_put_facts(w, &m.facts, "llama", err));
    HONE_TRY(hone_gguf_put_array(w, "f", HONE_GGUF_F32, list, 2, err));
    HONE_TRY(hone_gguf_put_array(w, "s", HONE_GGUF_STRING, strings, 1, err));
    for (int i = 0; i < 200; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "blk.%d.w", i);
        HONE_TRY(hone_gguf_put_tensor(w, name, HONE_DTYPE_F32, 1, (uint64_t[]){ 4 }, err));
    }
    return hone_gguf_layout(w, offsets, &total, &head, err);
}

static void opening_shards_survives_every_failed_allocation(void **state)
{
    scratch s;
    size_t  n;
    (void)state;
    scratch_open(&s);
    for (int i = 1; i <= 2; i++) {
        uint8_t *f = i == 1 ? scratch_safetensors("{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"I8\",\"shape\":[],\"data_offsets\":[4,5]}}", 5, &n)
                            : scratch_safetensors("{\"__metadata__\":{\"format\":\"pt\"},\"c\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4, &n);
        scratch_put(&s, i == 1 ? "1.safetensors" : "2.safetensors", f, n);
        free(f);
    }
    static const char index[] = "{\"weight_map\":{\"a\":\"1.safetensors\",\"b\":\"1.safetensors\",\"c\":\"2.safetensors\"}}";
    scratch_put(&s, "model.safetensors.index.json", index, sizeof index - 1);
    sweep(&s, open_shards, 60);
    scratch_close(&s);
}

static void opening_splits_survives_every_failed_allocation(void **state)
{
    scratch s;
    (void)state;
    scratch_open(&s);
    for (uint32_t no = 0; no < 2; no++) {
        blob b = { 0 };
        blob_bytes(&b, "GGUF", 4);
        blob_u32(&b, 3);
        blob_u64(&b, 1);
        blob_u64(&b, 3);
        blob_str(&b, "split.count");
        blob_u32(&b, 4);
        blob_u32(&b, 2);
        blob_str(&b, "split.no");
        blob_u32(&b, 4);
        blob_u32(&b, no);
        blob_str(&b, "list");
        blob_u32(&b, 9);
        blob_u32(&b, 8);
        blob_u64(&b, 1);
        blob_str(&b, "x");
        blob_str(&b, no ? "v" : "w");
        blob_u32(&b, 1);
        blob_u64(&b, 8);
        blob_u32(&b, 0);
        blob_u64(&b, 0);
        blob_align(&b, 32);
        blob_zeros(&b, 32);
        scratch_put(&s, no ? "m-00002-of-00002.gguf" : "m-00001-of-00002.gguf", b.ptr, b.len);
        free(b.ptr);
    }
    sweep(&s, open_splits, 30);
    scratch_close(&s);
}

static void building_a_header_survives_every_failed_allocation(void **state)
{
    (void)state;
    sweep(NULL, build, 250);
}

/* One tokenizer of each kind, small but with all that its kind may have. */
#define TOKEN(s, points, kind_, flag) { .text = s, .len = sizeof s - 1, .score = points, .type = HONE_TOKEN_##kind_, .flag = true }
static hone_token tokens[] = {
    TOKEN("<s>", 0, CONTROL, special),           TOKEN("</s>", 0, CONTROL, rstrip),        TOKEN("a", -1, NORMAL, normalized),
    TOKEN("b", -2, NORMAL, normalized),          TOKEN("ab", -3, NORMAL, unreached),       TOKEN("<0x0A>", 0, BYTE, normalized),
    TOKEN("\xe2\x96\x81", -4, NORMAL, normalized), TOKEN("[PAD7]", 0, UNUSED, normalized), TOKEN("<unk>", 0, UNKNOWN, normalized),
};
static const hone_chat_template chat[] = { { "default", "a\n  {{ x }}" } };
static hone_merge               merges[] = { { "a", "b", 1, 1 } };
static const hone_tokenizer     kinds[] = {
    { .kind = HONE_TOK_BPE, .pre = "llama-bpe", .tokens = tokens, .n_tokens = HONE_COUNT(tokens), .merges = merges, .n_merges = 1, .bos = 0, .eos = 1, .unk = 8,
      .sep = -1, .pad = 7, .add_bos = true, .nfc = true, .whole_words = true, .templates = chat, .n_templates = 1 },
    { .kind = HONE_TOK_SPM, .tokens = tokens, .n_tokens = HONE_COUNT(tokens), .bos = 0, .eos = 1, .unk = 8, .sep = -1, .pad = -1, .add_bos = true,
      .escape_whitespaces = true, .add_space_prefix = true, .prefix_once = true },
    { .kind = HONE_TOK_UNIGRAM, .tokens = tokens, .n_tokens = HONE_COUNT(tokens), .bos = 0, .eos = 1, .unk = 8, .sep = -1, .pad = -1, .add_eos = true,
      .escape_whitespaces = true, .add_space_prefix = true, .remove_extra_whitespaces = true, .charsmap = (const uint8_t *)"abcde", .charsmap_len = 5 },
    { .kind = HONE_TOK_WORDPIECE, .tokens = tokens, .n_tokens = HONE_COUNT(tokens), .bos = 0, .eos = 1, .unk = 8, .sep = 1, .pad = -1, .add_bos = true, .add_eos = true,
      .lowercase = 1, .strip_accents = -1, .max_word = 100, .clean_spaces = 1 },
};
static size_t kind;

static hone_code tokenizer_model(const scratch *s, hone_arena *a, hone_err *err)
{
    const hone_facts        f = { .context = 64 };
    hone_ov_tokenizer_files files;
    (void)s;
    return hone_ov_tokenizer(&kinds[kind], &f, a, &files, err);
}

static void making_a_tokenizer_model_survives_every_failed_allocation(void **state)
{
    (void)state;
    for (kind = 0; kind < HONE_COUNT(kinds); kind++) sweep(NULL, tokenizer_model, 250);
}

/* What the sweep lowers: a model that is open already. */
static hone_model        onnx_model;
static hone_onnx_options onnx_options;

static hone_code lower_and_read(const scratch *s, hone_arena *a, hone_err *err)
{
    hone_graph      g;
    hone_onnx_model m;
    hone_onnx_file  f;
    (void)s;
    HONE_TRY(hone_graph_build(&onnx_model, a, &g, err));
    HONE_TRY(hone_onnx_lower(&g, &onnx_options, a, &m, err));
    return hone_onnx_read(m.topology, a, &f, err);
}

/* An encoder in operators of the standard; experts, packed q, k and v and a rotation in those of com.microsoft. */
static void an_onnx_graph_survives_every_failed_allocation(void **state)
{
    static const struct { const char *family, *quant; bool standard; } cases[] = { { "bert", "f32", true }, { "mixtral", "int4", false } };
    (void)state;
    for (size_t i = 0; i < HONE_COUNT(cases); i++) {
        char     path[256];
        hone_ctx ctx = { 0 };
        hone_err err = { 0 };
        (void)snprintf(path, sizeof path, HONE_TEST_SOURCE_DIR "/tests/golden/tiny/%s", cases[i].family);
        assert_int_equal(hone_model_open(&ctx, path, &onnx_model, &err), HONE_OK);
        onnx_options = (hone_onnx_options){ .quant = hone_onnx_quant_find(cases[i].quant), .group = 32, .standard = cases[i].standard };
        sweep(NULL, lower_and_read, 300);
        hone_model_close(&onnx_model);
    }
}

static const char *stats_file;

/* Opened, and written again. */
static hone_code copy_stats(const scratch *s, hone_arena *a, hone_err *err)
{
    char       path[256];
    hone_stats stats = { 0 };
    HONE_TRY(hone_stats_open(stats_file, a, &stats, err));
    hone_code code = hone_stats_write(scratch_path(s, "copy.gguf", path), &stats, hone_stats_origin_of(&stats), err);
    hone_stats_close(&stats);
    return code;
}

static void copying_statistics_survives_every_failed_allocation(void **state)
{
    static const char *const files[] = { "hone", "old" };
    scratch                  s;
    (void)state;
    scratch_open(&s);
    for (size_t i = 0; i < HONE_COUNT(files); i++) {
        char path[256];
        (void)snprintf(path, sizeof path, HONE_TEST_SOURCE_DIR "/tests/golden/fuzz/imatrix/%s", files[i]);
        stats_file = path;
        sweep(&s, copy_stats, 60);
    }
    scratch_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening_shards_survives_every_failed_allocation),
        cmocka_unit_test(opening_splits_survives_every_failed_allocation),
        cmocka_unit_test(building_a_header_survives_every_failed_allocation),
        cmocka_unit_test(copying_statistics_survives_every_failed_allocation),
        cmocka_unit_test(making_a_tokenizer_model_survives_every_failed_allocation),
        cmocka_unit_test(an_onnx_graph_survives_every_failed_allocation),
    };
    json_set_alloc_funcs(json_malloc, free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
