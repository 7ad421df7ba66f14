/* test_facts.c - what config.json says, what it leaves out, and what it must not say. */
#include "arch/tiny.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static hone_code facts_of(const char *json, hone_arena *a, hone_facts *f, hone_err *err)
{
    json_error_t     e;
    json_t          *config = json_loads(json, 0, &e);
    const hone_arch *arch;
    assert_non_null(config);
    hone_code code = hone_arch_find(config, &arch, err);
    if (code == HONE_OK) code = hone_arch_facts(arch, config, a, f, err);
    json_decref(config);
    return code;
}

static void refused(const char *json, hone_code code, const char *cause)
{
    hone_arena a = { 0 };
    hone_facts f = { .n_layers = 77 };
    hone_err   err = { 0 };
    hone_code  got = facts_of(json, &a, &f, &err);
    if (got != code || strcmp(err.cause, cause) != 0) fail_msg("%s\ngives %d: %s\nnot   %d: %s", json, got, err.cause, code, cause);
    assert_int_equal(f.n_layers, 77); /* out is untouched on failure */
    hone_arena_release(&a);
}

#define FACTS(json)                                                                  \
    hone_arena a = { 0 };                                                            \
    hone_facts f;                                                                    \
    hone_err   err = { 0 };                                                          \
    (void)state;                                                                     \
    if (facts_of(json, &a, &f, &err) != HONE_OK) fail_msg("%s", err.cause)

/* ---- defaults: an empty config.json is that of transformers' configuration class ---- */

static void absent_keys_take_the_class_defaults(void **state)
{
    static const struct {
        const char *hf_class;
        uint32_t    layers, hidden, heads, kv_heads, head_dim, ffn, vocab, context;
        double      eps, theta;
        bool        tied;
    } rows[] = { /* transformers 4.57, configuration_<family>.py */
        { "LlamaForCausalLM", 32, 4096, 32, 32, 128, 11008, 32000, 2048, 1e-6, 1e4, false },
        { "MistralForCausalLM", 32, 4096, 32, 8, 128, 14336, 32000, 131072, 1e-6, 1e4, false },
        { "Qwen2ForCausalLM", 32, 4096, 32, 32, 128, 22016, 151936, 32768, 1e-6, 1e4, false },
        { "Qwen3ForCausalLM", 32, 4096, 32, 32, 128, 22016, 151936, 32768, 1e-6, 1e4, false },
        { "Phi3ForCausalLM", 32, 3072, 32, 32, 96, 8192, 32064, 4096, 1e-5, 1e4, false },
        { "Gemma2ForCausalLM", 26, 2304, 8, 4, 256, 9216, 256000, 8192, 1e-6, 1e4, true },
        { "Gemma3ForCausalLM", 26, 2304, 8, 4, 256, 9216, 262208, 131072, 1e-6, 1e6, true },
        { "SmolLM3ForCausalLM", 36, 2048, 16, 4, 128, 11008, 128256, 32768, 1e-6, 2e6, true },
        { "Olmo2ForCausalLM", 32, 4096, 32, 32, 128, 11008, 50304, 2048, 1e-5, 1e4, false },
        { "GraniteForCausalLM", 32, 4096, 32, 32, 128, 11008, 32000, 2048, 1e-6, 1e4, false },
        { "StableLmForCausalLM", 32, 2560, 32, 32, 80, 6912, 50304, 4096, 1e-5, 1e4, false },
        { "Starcoder2ForCausalLM", 30, 3072, 24, 2, 128, 12288, 49152, 4096, 1e-5, 1e4, true },
        { "GPT2LMHeadModel", 12, 768, 12, 12, 64, 3072, 50257, 1024, 1e-5, 0, true },
        { "GPTNeoXForCausalLM", 44, 6144, 64, 64, 96, 24576, 50432, 2048, 1e-5, 1e4, false },
        { "MixtralForCausalLM", 32, 4096, 32, 8, 128, 14336, 32000, 131072, 1e-5, 1e6, false },
        { "Qwen3MoeForCausalLM", 24, 2048, 32, 4, 64, 6144, 151936, 32768, 1e-6, 1e4, false },
        { "OlmoeForCausalLM", 16, 2048, 16, 16, 128, 2048, 50304, 4096, 1e-5, 1e4, false },
        { "BertModel", 12, 768, 12, 12, 64, 3072, 30522, 512, 1e-12, 0, false },
    };
    assert_int_equal(HONE_COUNT(rows), hone_arch_count);
    for (size_t i = 0; i < HONE_COUNT(rows); i++) {
        char json[128];
        snprintf(json, sizeof json, "{\"architectures\":[\"%s\"]}", rows[i].hf_class);
        FACTS(json);
        if (f.n_layers != rows[i].layers || f.hidden != rows[i].hidden || f.n_heads != rows[i].heads || f.n_kv_heads != rows[i].kv_heads ||
            f.head_dim != rows[i].head_dim || f.ffn != rows[i].ffn || f.vocab != rows[i].vocab || f.context != rows[i].context ||
            f.norm_eps != rows[i].eps || f.rope.base != rows[i].theta || f.tied != rows[i].tied)
            fail_msg("%s: %u %u %u %u %u %u %u %u %g %g %d", rows[i].hf_class, f.n_layers, f.hidden, f.n_heads, f.n_kv_heads, f.head_dim, f.ffn,
                     f.vocab, f.context, f.norm_eps, f.rope.base, f.tied);
        hone_arena_release(&a);
    }
}

static void null_is_not_absent(void **state)
{
    FACTS("{\"architectures\":[\"MistralForCausalLM\"],\"sliding_window\":null,\"num_key_value_heads\":null}");
    assert_int_equal(f.window, 0);      /* absent: 4096 */
    assert_int_equal(f.n_kv_heads, 32); /* absent: 8 */
    hone_arena_release(&a);
}

static void the_tiny_llama_is_read_in_full(void **state)
{
    tiny     t;
    hone_err err = { 0 };
    (void)state;
    tiny_open(&t, "llama");
    assert_int_equal(tiny_bind(&t, &err), HONE_OK);
    const hone_facts *f = &t.m.facts;
    assert_string_equal(f->hf_class, "LlamaForCausalLM");
    assert_int_equal(f->kind, HONE_KIND_DECODER);
    assert_true(f->rope.base == 500000 && f->rope.factor == 8 && f->rope.low_freq == 1 && f->rope.high_freq == 4);
    assert_int_equal(f->rope.scaling, HONE_ROPE_SCALE_LLAMA3);
    assert_int_equal(f->rope.original_context, 256);
    assert_int_equal(f->rope.dim, 64);
    assert_int_equal(f->bos, 506);
    assert_int_equal(f->eos, 510);
    assert_int_equal(f->pad, 511);
    assert_true(f->attn_scale == 0.125 && f->ffn_gated && f->norm_pre && !f->norm_post && !f->bias_q && !f->tied);
    assert_int_equal(f->act, HONE_ACT_SILU);
    assert_string_equal(f->gguf->name, "llama");
    tiny_close(&t);
}

/* ---- rope ---- */

static void both_spellings_of_rope_say_the_same(void **state)
{
    static const char *const spelt[] = {
        "{\"architectures\":[\"LlamaForCausalLM\"],\"rope_theta\":500000,\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4,"
        "\"original_max_position_embeddings\":512}}",
        "{\"architectures\":[\"LlamaForCausalLM\"],\"rope_parameters\":{\"rope_theta\":500000.0,\"rope_type\":\"yarn\",\"factor\":4.0,"
        "\"original_max_position_embeddings\":512},\"rope_scaling\":null}",
    };
    for (size_t i = 0; i < 2; i++) {
        FACTS(spelt[i]);
        assert_true(f.rope.base == 500000 && f.rope.factor == 4 && f.rope.beta_fast == 32 && f.rope.beta_slow == 1 && f.rope.attn_factor == 0);
        assert_int_equal(f.rope.scaling, HONE_ROPE_SCALE_YARN);
        assert_int_equal(f.rope.original_context, 512);
        hone_arena_release(&a);
    }
}

static void rope_may_be_told_per_layer_type(void **state)
{
    FACTS("{\"architectures\":[\"Gemma3ForCausalLM\"],\"rope_parameters\":{\"full_attention\":{\"rope_type\":\"linear\",\"factor\":8,"
          "\"rope_theta\":1000000},\"sliding_attention\":{\"rope_type\":\"default\",\"rope_theta\":20000}}}");
    assert_true(f.rope.base == 1e6 && f.rope.local_base == 2e4 && f.rope.factor == 8);
    assert_int_equal(f.rope.scaling, HONE_ROPE_SCALE_LINEAR);
    hone_arena_release(&a);
}

static void longrope_has_the_attention_factor_of_its_paper(void **state)
{
    FACTS("{\"architectures\":[\"Phi3ForCausalLM\"],\"hidden_size\":64,\"num_attention_heads\":16,\"max_position_embeddings\":131072,"
          "\"original_max_position_embeddings\":4096,\"rope_scaling\":{\"type\":\"su\",\"short_factor\":[1,1.5],\"long_factor\":[2,3]}}");
    assert_int_equal(f.rope.scaling, HONE_ROPE_SCALE_LONGROPE);
    assert_int_equal(f.rope.original_context, 4096);
    assert_true(fabs(f.rope.attn_factor - 1.1902380714238083) < 1e-15); /* sqrt(1 + ln 32 / ln 4096) */
    assert_true(f.rope.short_factors[1] == 1.5f && f.rope.long_factors[0] == 2.0f);
    hone_arena_release(&a);
}

static void yarn_mscale_becomes_one_factor(void **state)
{
    FACTS("{\"architectures\":[\"Qwen2ForCausalLM\"],\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":40,\"mscale\":1.0,\"mscale_all_dim\":0.5}}");
    double l = 0.1 * log(40);
    assert_true(fabs(f.rope.attn_factor - (l + 1) / (0.5 * l + 1)) < 1e-15);
    assert_int_equal(f.rope.original_context, 32768);
    hone_arena_release(&a);
}

static void half_a_head_may_be_rotated(void **state)
{
    FACTS("{\"architectures\":[\"GPTNeoXForCausalLM\"],\"rotary_pct\":0.25,\"rotary_emb_base\":20000}");
    assert_int_equal(f.rope.dim, 24);
    assert_true(f.rope.base == 20000);
    hone_arena_release(&a);
}

/* ---- windows ---- */

static void windows_follow_each_family_s_rule(void **state)
{
    {
        FACTS("{\"architectures\":[\"Gemma2ForCausalLM\"],\"num_hidden_layers\":4}");
        assert_int_equal(f.window, 4096);
        assert_int_equal(f.window_pattern, 2);
        assert_true(f.windowed[0] && !f.windowed[1] && f.windowed[2] && !f.windowed[3]);
        hone_arena_release(&a);
    }
    {
        FACTS("{\"architectures\":[\"Qwen2ForCausalLM\"],\"num_hidden_layers\":3,\"use_sliding_window\":true,\"sliding_window\":64,"
              "\"max_window_layers\":2}");
        assert_int_equal(f.window, 64);
        assert_true(!f.windowed[0] && !f.windowed[1] && f.windowed[2]);
        assert_int_equal(f.window_pattern, 0);
        hone_arena_release(&a);
    }
    {
        FACTS("{\"architectures\":[\"Qwen2ForCausalLM\"],\"sliding_window\":64}");
        assert_int_equal(f.window, 0); /* use_sliding_window is false */
        hone_arena_release(&a);
    }
    {
        FACTS("{\"architectures\":[\"Gemma3ForCausalLM\"],\"num_hidden_layers\":3,\"sliding_window\":16,"
              "\"layer_types\":[\"sliding_attention\",\"sliding_attention\",\"sliding_attention\"]}");
        assert_int_equal(f.window, 16);
        assert_null(f.windowed); /* all of them */
        hone_arena_release(&a);
    }
}

static void smollm3_leaves_every_fourth_layer_alone(void **state)
{
    FACTS("{\"architectures\":[\"SmolLM3ForCausalLM\"],\"num_hidden_layers\":8}");
    for (uint32_t i = 0; i < 8; i++) assert_int_equal(f.no_rope[i], i % 4 == 3);
    hone_arena_release(&a);
}

static void gemma_scales_are_its_own(void **state)
{
    FACTS("{\"architectures\":[\"Gemma2ForCausalLM\"],\"query_pre_attn_scalar\":144,\"final_logit_softcapping\":null}");
    assert_true(fabs(f.attn_scale - 1.0 / 12) < 1e-15 && f.attn_softcap == 50 && f.logit_softcap == 0 && f.embedding_scale == 48);
    assert_true(f.norm_plus_one && f.norm_post && f.norm_pre);
    assert_int_equal(f.act, HONE_ACT_GELU_TANH);
    hone_arena_release(&a);
}

/* ---- what is refused ---- */

#define LLAMA(keys) "{\"architectures\":[\"LlamaForCausalLM\"]," keys "}"

static void a_class_that_is_not_known_is_named(void **state)
{
    (void)state;
    refused("{}", HONE_EINPUT, "config.json has no \"architectures\"");
    refused("{\"architectures\":[7]}", HONE_EINPUT, "config.json has no \"architectures\"");
    refused("{\"architectures\":[\"Mamba2ForCausalLM\"]}", HONE_EUNSUPPORTED,
            "model class \"Mamba2ForCausalLM\" is not known; known are llama mistral qwen2 qwen3 phi3 gemma2 gemma3 smollm3 olmo2 granite stablelm "
            "starcoder2 gpt2 gpt_neox mixtral qwen3_moe olmoe bert");
}

static void nonsense_sizes_are_named(void **state)
{
    (void)state;
    refused(LLAMA("\"num_attention_heads\":0"), HONE_EINPUT, "config.json: \"num_attention_heads\" is 0");
    refused(LLAMA("\"num_attention_heads\":-4"), HONE_EINPUT, "config.json: \"num_attention_heads\" is -4, needs 0..4294967295");
    refused(LLAMA("\"num_attention_heads\":\"four\""), HONE_EINPUT, "config.json: \"num_attention_heads\" is a string, needs a whole number");
    refused(LLAMA("\"hidden_size\":100,\"num_attention_heads\":3"), HONE_EINPUT,
            "config.json: \"hidden_size\" 100 is no multiple of \"num_attention_heads\" 3");
    refused(LLAMA("\"num_key_value_heads\":5"), HONE_EINPUT, "config.json: 32 heads cannot share 5 key-value heads evenly");
    refused(LLAMA("\"num_key_value_heads\":64"), HONE_EINPUT, "config.json: the number of key-value heads is 64, needs 1..32");
    refused(LLAMA("\"num_hidden_layers\":0"), HONE_EINPUT, "config.json: the number of layers is 0, needs 1..10000");
    refused(LLAMA("\"num_hidden_layers\":4000000000"), HONE_EINPUT, "config.json: the number of layers is 4000000000, needs 1..10000");
    refused(LLAMA("\"hidden_size\":4294967295,\"num_attention_heads\":1"), HONE_EINPUT,
            "config.json: a head has 4294967295 elements, needs 1..16777216");
    refused(LLAMA("\"hidden_size\":4294967296"), HONE_EINPUT, "config.json: \"hidden_size\" is 4294967296, needs 0..4294967295");
    refused(LLAMA("\"hidden_size\":4096.5"), HONE_EINPUT, "config.json: \"hidden_size\" is 4096.5, needs a whole number 0..4294967295");
    refused(LLAMA("\"head_dim\":0"), HONE_EINPUT, "config.json: a head has 0 elements, needs 1..16777216");
    refused(LLAMA("\"head_dim\":7"), HONE_EINPUT, "config.json: 1 of a head of 7 elements is 7, rotary embedding needs an even number");
    refused(LLAMA("\"vocab_size\":0"), HONE_EINPUT, "config.json: the vocabulary is 0, needs 1..1073741824");
    refused(LLAMA("\"intermediate_size\":0"), HONE_EINPUT, "config.json: the feed-forward size is 0, needs 1..16777216");
    refused(LLAMA("\"max_position_embeddings\":0"), HONE_EINPUT, "config.json: the context length is 0, needs 1..1073741824");
    refused(LLAMA("\"rms_norm_eps\":0"), HONE_EINPUT, "config.json: the norm's epsilon is 0, needs more than 0");
    refused(LLAMA("\"rms_norm_eps\":-1e-6"), HONE_EINPUT, "config.json: \"rms_norm_eps\" is -1e-06, needs 0..1");
    refused(LLAMA("\"rms_norm_eps\":\"NaN\""), HONE_EINPUT, "config.json: \"rms_norm_eps\" is a string, needs a number");
    refused(LLAMA("\"rope_theta\":0"), HONE_EINPUT, "config.json: \"rope_theta\" is 0, needs 1..1e+15");
    refused(LLAMA("\"eos_token_id\":\"x\""), HONE_EINPUT, "config.json: \"eos_token_id\" is no token id");
    refused("{\"architectures\":[\"MixtralForCausalLM\"],\"num_experts_per_tok\":9}", HONE_EINPUT,
            "config.json: the number of experts used is 9, needs 1..8");
    refused("{\"architectures\":[\"MixtralForCausalLM\"],\"num_local_experts\":70000}", HONE_EINPUT,
            "config.json: the number of experts is 70000, needs 1..65536");
    refused("{\"architectures\":[\"GPT2LMHeadModel\"],\"n_embd\":4294967295,\"n_head\":1}", HONE_EINPUT,
            "config.json: the hidden size is 4294967295, needs 1..16777216");
}

static void what_is_not_supported_names_key_and_value(void **state)
{
    (void)state;
    refused(LLAMA("\"hidden_act\":\"xielu\""), HONE_EUNSUPPORTED, "config.json: \"hidden_act\" is \"xielu\", which hone does not know");
    refused(LLAMA("\"quantization_config\":{\"quant_method\":\"gptq\"}"), HONE_EUNSUPPORTED,
            "config.json: \"quantization_config\" says the weights are quantised by gptq");
    refused(LLAMA("\"rope_scaling\":{\"type\":\"mrope\"}"), HONE_EUNSUPPORTED, "config.json: rope type \"mrope\" is not supported");
    refused("{\"architectures\":[\"Qwen3MoeForCausalLM\"],\"decoder_sparse_step\":2}", HONE_EUNSUPPORTED,
            "config.json: \"decoder_sparse_step\" is 2: layers without experts are not supported");
    refused("{\"architectures\":[\"Qwen3MoeForCausalLM\"],\"mlp_only_layers\":[0,3]}", HONE_EUNSUPPORTED,
            "config.json: \"mlp_only_layers\" names 2 layers: layers without experts are not supported");
    refused("{\"architectures\":[\"OlmoeForCausalLM\"],\"clip_qkv\":8.0}", HONE_EUNSUPPORTED,
            "config.json: \"clip_qkv\" is 8: clipped q, k and v are not supported");
    refused("{\"architectures\":[\"GPT2LMHeadModel\"],\"scale_attn_by_inverse_layer_idx\":true}", HONE_EUNSUPPORTED,
            "config.json: \"scale_attn_by_inverse_layer_idx\" is true: attention scaled by layer is not supported");
    refused("{\"architectures\":[\"BertModel\"],\"position_embedding_type\":\"relative_key\"}", HONE_EUNSUPPORTED,
            "config.json: \"position_embedding_type\" is \"relative_key\", supported is \"absolute\"");
    refused("{\"architectures\":[\"BertModel\"],\"is_decoder\":true}", HONE_EUNSUPPORTED,
            "config.json: \"is_decoder\" is true: BERT is supported as an encoder");
    refused("{\"architectures\":[\"Gemma3ForCausalLM\"],\"num_hidden_layers\":1,\"layer_types\":[\"chunked_attention\"]}", HONE_EUNSUPPORTED,
            "config.json: \"layer_types\"[0] is \"chunked_attention\"");
    refused(LLAMA("\"rope_scaling\":{\"type\":\"yarn\",\"factor\":2,\"truncate\":false}"), HONE_EUNSUPPORTED,
            "config.json: rope scaling \"yarn\" with \"truncate\" false is not supported");
}

static void bad_rope_scalings_are_named(void **state)
{
    (void)state;
    refused(LLAMA("\"rope_scaling\":[1]"), HONE_EINPUT, "config.json: \"rope_scaling\" or \"rope_parameters\" is no object");
    refused(LLAMA("\"rope_scaling\":{\"type\":\"linear\"}"), HONE_EINPUT, "config.json: rope scaling \"linear\" needs \"factor\"");
    refused(LLAMA("\"rope_scaling\":{\"type\":\"linear\",\"factor\":0}"), HONE_EINPUT, "config.json: \"factor\" is 0, needs 1..1e+06");
    refused(LLAMA("\"rope_scaling\":{\"type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,\"high_freq_factor\":4}"), HONE_EINPUT,
            "config.json: \"high_freq_factor\" is 4, needs more than \"low_freq_factor\" 4");
    refused(LLAMA("\"rope_scaling\":{\"type\":\"longrope\",\"long_factor\":[1],\"short_factor\":[1]}"), HONE_EINPUT,
            "config.json: \"long_factor\" has 1 numbers, needs 64 (half of the rotated elements of a head)");
    refused(LLAMA("\"rope_scaling\":{\"type\":\"longrope\"}"), HONE_EINPUT, "config.json: rope scaling \"longrope\" needs \"long_factor\", a list of numbers");
    refused(LLAMA("\"head_dim\":2,\"rope_scaling\":{\"type\":\"longrope\",\"long_factor\":[-1],\"short_factor\":[1]}"), HONE_EINPUT,
            "config.json: \"long_factor\"[0] is no positive number");
    refused("{\"architectures\":[\"SmolLM3ForCausalLM\"],\"no_rope_layers\":[1,0]}", HONE_EINPUT,
            "config.json: \"no_rope_layers\" has 2 entries, \"num_hidden_layers\" is 36");
    refused("{\"architectures\":[\"Gemma2ForCausalLM\"],\"layer_types\":[\"full_attention\"]}", HONE_EINPUT,
            "config.json: \"layer_types\" has 1 entries, \"num_hidden_layers\" is 26");
}

/* ---- pooling ---- */

static void pooling_of(const char *pooling, const char *modules, hone_code code, hone_pooling mode, bool normalize, const char *cause)
{
    json_error_t e;
    json_t      *p = pooling ? json_loads(pooling, 0, &e) : NULL, *m = modules ? json_loads(modules, 0, &e) : NULL;
    hone_facts   f = { .pooling = HONE_POOL_MEAN };
    hone_err     err = { 0 };
    assert_int_equal(hone_arch_pooling(p, m, &f, &err), code);
    assert_int_equal(f.pooling, mode);
    assert_int_equal(f.normalize_embedding, normalize);
    assert_string_equal(err.cause, cause);
    json_decref(p);
    json_decref(m);
}

static void pooling_is_that_of_sentence_transformers(void **state)
{
    (void)state;
    pooling_of(NULL, NULL, HONE_OK, HONE_POOL_MEAN, false, "");
    pooling_of("{\"pooling_mode_cls_token\":true,\"pooling_mode_mean_tokens\":false}",
               "[{\"type\":\"sentence_transformers.models.Transformer\"},{\"type\":\"sentence_transformers.models.Pooling\"},"
               "{\"type\":\"sentence_transformers.models.Normalize\"}]",
               HONE_OK, HONE_POOL_CLS, true, "");
    pooling_of("{\"pooling_mode\":\"lasttoken\"}", NULL, HONE_OK, HONE_POOL_LAST, false, "");
    pooling_of("{\"pooling_mode_max_tokens\":true}", NULL, HONE_EUNSUPPORTED, HONE_POOL_MEAN, false,
               "1_Pooling/config.json: \"pooling_mode_max_tokens\" is not supported");
    pooling_of("{\"pooling_mode_cls_token\":true,\"pooling_mode_mean_tokens\":true}", NULL, HONE_EUNSUPPORTED, HONE_POOL_MEAN, false,
               "1_Pooling/config.json asks for two poolings side by side, \"pooling_mode_mean_tokens\" is the second");
    pooling_of(NULL, "[{\"type\":\"sentence_transformers.models.Dense\"}]", HONE_EUNSUPPORTED, HONE_POOL_MEAN, false,
               "modules.json: module 0 is \"sentence_transformers.models.Dense\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(absent_keys_take_the_class_defaults),
        cmocka_unit_test(null_is_not_absent),
        cmocka_unit_test(the_tiny_llama_is_read_in_full),
        cmocka_unit_test(both_spellings_of_rope_say_the_same),
        cmocka_unit_test(rope_may_be_told_per_layer_type),
        cmocka_unit_test(longrope_has_the_attention_factor_of_its_paper),
        cmocka_unit_test(yarn_mscale_becomes_one_factor),
        cmocka_unit_test(half_a_head_may_be_rotated),
        cmocka_unit_test(windows_follow_each_family_s_rule),
        cmocka_unit_test(smollm3_leaves_every_fourth_layer_alone),
        cmocka_unit_test(gemma_scales_are_its_own),
        cmocka_unit_test(a_class_that_is_not_known_is_named),
        cmocka_unit_test(nonsense_sizes_are_named),
        cmocka_unit_test(what_is_not_supported_names_key_and_value),
        cmocka_unit_test(bad_rope_scalings_are_named),
        cmocka_unit_test(pooling_is_that_of_sentence_transformers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
