#include "formats/gguf/meta.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

typedef struct made {
    hone_arena arena;
    hone_gguf  g;
} made;

/* Writes the facts of an architecture "a" and reads them back. */
static made keys_of(const hone_facts *f)
{
    made              m = { 0 };
    hone_err          err = { 0 };
    hone_gguf_writer *w;
    hone_tensor      *t;
    hone_bytes        head;
    uint64_t          total;
    size_t            n;
    if (hone_gguf_writer_new(&m.arena, &w, &err) || hone_gguf_put_facts(w, f, "a", &err) || hone_gguf_layout(w, NULL, &total, &head, &err) ||
        hone_gguf_parse(head, total, &m.arena, &m.g, &t, &n, &err))
        fail_msg("%s", err.cause);
    return m;
}

static void is_u32(const made *m, const char *key, uint32_t want)
{
    const hone_gguf_value *v = hone_gguf_find(&m->g, key);
    if (!v) fail_msg("%s is not written", key);
    assert_int_equal(v->type, HONE_GGUF_U32);
    if (v->as.u != want) fail_msg("%s is %u, wanted %u", key, (unsigned)v->as.u, want);
}

static void is_f32(const made *m, const char *key, double want)
{
    const hone_gguf_value *v = hone_gguf_find(&m->g, key);
    if (!v) fail_msg("%s is not written", key);
    assert_int_equal(v->type, HONE_GGUF_F32);
    if ((float)v->as.f != (float)want) fail_msg("%s is %.9g, wanted %.9g", key, v->as.f, want);
}

static void is_text(const made *m, const char *key, const char *want)
{
    const hone_gguf_value *v = hone_gguf_find(&m->g, key);
    if (!v) fail_msg("%s is not written", key);
    assert_int_equal(v->type, HONE_GGUF_STRING);
    assert_int_equal(v->as.s.len, strlen(want));
    assert_memory_equal(v->as.s.ptr, want, strlen(want));
}

static void is_absent(const made *m, const char *key)
{
    if (hone_gguf_find(&m->g, key)) fail_msg("%s is written", key);
}

static hone_facts small(const hone_gguf_arch *row)
{
    return (hone_facts){ .gguf = row, .n_layers = 4, .hidden = 256, .n_heads = 4, .n_kv_heads = 2, .head_dim = 64, .ffn = 512, .vocab = 1000,
                         .context = 2048, .norm = HONE_NORM_RMS, .norm_eps = 1e-5,
                         .rope = { .kind = HONE_ROPE_HALVES, .dim = 64, .base = 10000, .factor = 1 },
                         .attn_scale = 0.125, .embedding_scale = 1, .residual_scale = 1, .logit_scale = 1, .bos = -1, .eos = -1, .pad = -1 };
}

static void every_file_has_the_keys_a_model_needs(void **state)
{
    hone_facts f = small(NULL);
    (void)state;
    made m = keys_of(&f);
    is_u32(&m, "a.block_count", 4);
    is_u32(&m, "a.context_length", 2048);
    is_u32(&m, "a.embedding_length", 256);
    is_u32(&m, "a.feed_forward_length", 512);
    is_u32(&m, "a.attention.head_count", 4);
    is_u32(&m, "a.attention.head_count_kv", 2);
    is_f32(&m, "a.attention.layer_norm_rms_epsilon", 1e-5);
    is_f32(&m, "a.rope.freq_base", 10000);
    assert_int_equal(m.g.n_kv, 8); /* and no other: TextModel.set_gguf_parameters of the converter */
    hone_arena_release(&m.arena);
}

static void optional_keys_come_with_the_families_that_have_them(void **state)
{
    const hone_gguf_arch row = { .keys = HONE_GGUF_KEY_VOCAB_SIZE | HONE_GGUF_KEY_ROPE_DIM | HONE_GGUF_KEY_HEAD_DIM };
    hone_facts           f = small(&row);
    (void)state;
    made m = keys_of(&f);
    is_u32(&m, "a.vocab_size", 1000);
    is_u32(&m, "a.rope.dimension_count", 64);
    is_u32(&m, "a.attention.key_length", 64);
    is_u32(&m, "a.attention.value_length", 64);
    assert_int_equal(m.g.n_kv, 12);
    hone_arena_release(&m.arena);
}

static void what_differs_from_the_runtimes_default_is_written_always(void **state)
{
    const hone_gguf_arch row = { .keys = HONE_GGUF_KEY_NO_KV_HEADS | HONE_GGUF_KEY_NO_ROPE_BASE };
    hone_facts           f = small(&row);
    (void)state;
    f.n_kv_heads = 4;
    made m = keys_of(&f);
    is_absent(&m, "a.attention.head_count_kv");
    is_absent(&m, "a.rope.freq_base");
    is_absent(&m, "a.rope.dimension_count");
    is_absent(&m, "a.attention.key_length");
    hone_arena_release(&m.arena);
    f.n_kv_heads = 1;
    f.rope.base = 50000;
    f.rope.dim = 16;
    f.head_dim = 96;
    m = keys_of(&f);
    is_u32(&m, "a.attention.head_count_kv", 1);
    is_f32(&m, "a.rope.freq_base", 50000);
    is_u32(&m, "a.rope.dimension_count", 16);
    is_u32(&m, "a.attention.key_length", 96);
    is_u32(&m, "a.attention.value_length", 96);
    hone_arena_release(&m.arena);
}

static void rope_scaling_is_told_by_kind(void **state)
{
    hone_facts f = small(NULL);
    (void)state;
    f.rope.scaling = HONE_ROPE_SCALE_LINEAR;
    f.rope.factor = 8;
    made m = keys_of(&f);
    is_text(&m, "a.rope.scaling.type", "linear");
    is_f32(&m, "a.rope.scaling.factor", 8);
    hone_arena_release(&m.arena);

    f.rope.scaling = HONE_ROPE_SCALE_YARN;
    f.rope.factor = 4;
    f.rope.original_context = 512;
    m = keys_of(&f);
    is_text(&m, "a.rope.scaling.type", "yarn");
    is_u32(&m, "a.rope.scaling.original_context_length", 512);
    is_absent(&m, "a.rope.scaling.attn_factor"); /* llama.cpp's own formula */
    hone_arena_release(&m.arena);
    f.rope.attn_factor = 1.5;
    m = keys_of(&f);
    is_f32(&m, "a.rope.scaling.yarn_attn_factor", 1.5);
    is_f32(&m, "a.rope.scaling.attn_factor", 1.5 / (0.1 * log(4) + 1));
    hone_arena_release(&m.arena);

    f.rope.scaling = HONE_ROPE_SCALE_LONGROPE;
    f.rope.attn_factor = 0;
    m = keys_of(&f);
    is_u32(&m, "a.rope.scaling.original_context_length", 512);
    is_f32(&m, "a.rope.scaling.attn_factor", sqrt(1 + log(4) / log(512))); /* 2048 / 512 = 4 */
    hone_arena_release(&m.arena);

    f.rope.scaling = HONE_ROPE_SCALE_LLAMA3;
    m = keys_of(&f);
    is_absent(&m, "a.rope.scaling.type");
    is_absent(&m, "a.rope.scaling.factor");
    hone_arena_release(&m.arena);

    f.rope.kind = HONE_ROPE_NONE;
    f.rope.dim = 0;
    m = keys_of(&f);
    is_absent(&m, "a.rope.freq_base");
    is_absent(&m, "a.rope.dimension_count");
    hone_arena_release(&m.arena);
}

static void a_window_is_told_where_the_graph_has_one(void **state)
{
    static const bool    second[] = { true, false, true, false }, other[] = { true, true, true, false };
    const hone_gguf_arch none = { .flags = 0 }, pairs = { .flags = HONE_GGUF_WINDOW, .window_step = 2 }, phi = { .keys = HONE_GGUF_KEY_WINDOW };
    hone_facts           f = small(&none);
    (void)state;
    f.window = 16;
    made m = keys_of(&f);
    is_absent(&m, "a.attention.sliding_window");
    hone_arena_release(&m.arena);

    f.gguf = &pairs;
    f.windowed = second;
    f.window_pattern = 2;
    m = keys_of(&f);
    is_u32(&m, "a.attention.sliding_window", 16);
    is_absent(&m, "a.attention.sliding_window_pattern");
    hone_arena_release(&m.arena);
    f.windowed = other;
    m = keys_of(&f);
    const hone_gguf_value *v = hone_gguf_find(&m.g, "a.attention.sliding_window_pattern");
    assert_non_null(v);
    assert_int_equal(v->elem, HONE_GGUF_BOOL);
    assert_int_equal(v->n, 4);
    assert_memory_equal(v->as.array, ((const uint8_t[]){ 1, 1, 1, 0 }), 4);
    hone_arena_release(&m.arena);

    f = small(&phi);
    m = keys_of(&f);
    is_u32(&m, "a.attention.sliding_window", 0);
    hone_arena_release(&m.arena);
}

static void special_facts_have_their_keys(void **state)
{
    const hone_gguf_arch row = { .keys = HONE_GGUF_KEY_SCALES | HONE_GGUF_KEY_PARALLEL | HONE_GGUF_KEY_EXPERT_FFN };
    hone_facts           f = small(&row);
    (void)state;
    f.embedding_scale = 12;
    f.residual_scale = 0.22;
    f.logit_scale = 8;
    f.attn_scale = 0.015625;
    f.attn_softcap = 50;
    f.logit_softcap = 30;
    f.rope.local_base = 10000;
    f.n_experts = 8;
    f.n_experts_used = 2;
    f.expert_ffn = 64;
    f.parallel_residual = true;
    made m = keys_of(&f);
    is_f32(&m, "a.embedding_scale", 12);
    is_f32(&m, "a.residual_scale", 0.22);
    is_f32(&m, "a.logit_scale", 8);
    is_f32(&m, "a.attention.scale", 0.015625);
    is_f32(&m, "a.attn_logit_softcapping", 50);
    is_f32(&m, "a.final_logit_softcapping", 30);
    is_f32(&m, "a.rope.freq_base_swa", 10000);
    is_u32(&m, "a.expert_count", 8);
    is_u32(&m, "a.expert_used_count", 2);
    is_u32(&m, "a.expert_feed_forward_length", 64);
    assert_true(hone_gguf_find(&m.g, "a.use_parallel_residual")->as.b);
    hone_arena_release(&m.arena);
}

static void an_encoder_is_told_apart(void **state)
{
    hone_facts f = small(NULL);
    (void)state;
    f.kind = HONE_KIND_ENCODER;
    f.norm = HONE_NORM_LAYER;
    f.norm_eps = 1e-12;
    f.rope = (hone_rope){ .kind = HONE_ROPE_NONE };
    f.pooling = HONE_POOL_MEAN;
    f.n_token_types = 2;
    made m = keys_of(&f);
    is_f32(&m, "a.attention.layer_norm_epsilon", 1e-12);
    is_absent(&m, "a.attention.layer_norm_rms_epsilon");
    assert_false(hone_gguf_find(&m.g, "a.attention.causal")->as.b);
    is_u32(&m, "a.pooling_type", 1);
    is_u32(&m, "tokenizer.ggml.token_type_count", 2);
    hone_arena_release(&m.arena);
}

/* Values of gguf-py 0.18 utility.size_label. */
static void sizes_are_labelled_like_the_converter_does(void **state)
{
    static const struct {
        uint64_t    rows;
        const char *want;
    } sizes[] = { { 1, "1.0K" }, { 7300, "7.3M" }, { 1100, "1.1M" }, { 12, "12K" }, { 124000, "124M" }, { 7240000, "7.2B" }, { 9960, "10M" }, { 1000, "1000K" } };
    char label[32];
    (void)state;
    for (size_t i = 0; i < HONE_COUNT(sizes); i++) {
        hone_weight w = { .role = HONE_R_TOK_EMBD, .n_dims = 2, .dims = { sizes[i].rows, 1000 } };
        assert_string_equal(hone_gguf_size_label(&w, 1, label, sizeof label), sizes[i].want);
    }
    hone_weight tiny = { .role = HONE_R_TOK_EMBD, .n_dims = 1, .dims = { 300 } };
    assert_string_equal(hone_gguf_size_label(&tiny, 1, label, sizeof label), "0.30K");
    /* Mixtral: 8 experts of 5.6B and 1.6B shared make "8x7.2B"; the pooler is not in the file. */
    const hone_weight moe[] = {
        { .role = HONE_R_TOK_EMBD, .n_dims = 2, .dims = { 1600000, 1000 } },
        { .role = HONE_R_FFN_UP_EXPS, .n_dims = 3, .dims = { 8, 5600000, 1000 } },
        { .role = HONE_R_POOLER, .n_dims = 2, .dims = { 5000000, 1000 } },
    };
    assert_string_equal(hone_gguf_size_label(moe, HONE_COUNT(moe), label, sizeof label), "8x7.2B");
}

static void general_keys_name_the_file(void **state)
{
    made              m = { 0 };
    hone_err          err = { 0 };
    hone_gguf_writer *w;
    hone_tensor      *t;
    hone_bytes        head;
    uint64_t          total;
    size_t            n;
    hone_weight       weight = { .role = HONE_R_TOK_EMBD, .n_dims = 2, .dims = { 7300, 1000 } };
    const hone_model  model = { .facts = { .name = "tale" }, .weights = &weight, .n_weights = 1 };
    (void)state;
    assert_int_equal(hone_gguf_writer_new(&m.arena, &w, &err), HONE_OK);
    assert_int_equal(hone_gguf_put_general(w, &model, "llama", 15, &err), HONE_OK);
    assert_int_equal(hone_gguf_layout(w, NULL, &total, &head, &err), HONE_OK);
    assert_int_equal(hone_gguf_parse(head, total, &m.arena, &m.g, &t, &n, &err), HONE_OK);
    assert_int_equal(m.g.kv[0].key.len, strlen("general.architecture")); /* first: readers look at it before anything else */
    is_text(&m, "general.architecture", "llama");
    is_text(&m, "general.type", "model");
    is_text(&m, "general.name", "tale");
    is_text(&m, "general.size_label", "7.3M");
    is_u32(&m, "general.file_type", 15);
    is_u32(&m, "general.quantization_version", 2);
    hone_arena_release(&m.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_file_has_the_keys_a_model_needs),
        cmocka_unit_test(optional_keys_come_with_the_families_that_have_them),
        cmocka_unit_test(what_differs_from_the_runtimes_default_is_written_always),
        cmocka_unit_test(rope_scaling_is_told_by_kind),
        cmocka_unit_test(a_window_is_told_where_the_graph_has_one),
        cmocka_unit_test(special_facts_have_their_keys),
        cmocka_unit_test(an_encoder_is_told_apart),
        cmocka_unit_test(sizes_are_labelled_like_the_converter_does),
        cmocka_unit_test(general_keys_name_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
