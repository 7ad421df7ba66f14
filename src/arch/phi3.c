/* phi3.c - Phi-3, Phi-3.5, Phi-4: q, k, v in one matrix, gate and up in one.
 * Defaults: transformers configuration_phi3.py. */
#include "arch/config.h"
#include "arch/rules.h"

static const hone_tensor_rule rules[] = {
    WEIGHT("model.embed_tokens.weight", TOK_EMBD, "[vocab, hidden]"),
    WEIGHT("model.norm.weight", OUTPUT_NORM, "[hidden]"),
    HEAD("lm_head.weight"),
    WEIGHT("model.layers.%.input_layernorm.weight", ATTN_NORM, "[hidden]"),
    WEIGHT("model.layers.%.self_attn.qkv_proj.weight", ATTN_QKV, "[(heads+2*kv_heads)*head_dim, hidden]"),
    WEIGHT("model.layers.%.self_attn.o_proj.weight", ATTN_OUT, "[hidden, heads*head_dim]"),
    WEIGHT("model.layers.%.post_attention_layernorm.weight", FFN_NORM, "[hidden]"),
    WEIGHT("model.layers.%.mlp.gate_up_proj.weight", FFN_GATE_UP, "[2*ffn, hidden]"),
    WEIGHT("model.layers.%.mlp.down_proj.weight", FFN_DOWN, "[hidden, ffn]"),
    IGNORED("model.layers.%.self_attn.rotary_emb.inv_freq"),
};

static hone_code config(const json_t *c, hone_arena *a, hone_facts *f, hone_err *err)
{
    static const hone_config_defaults d = {
        .vocab = 32064, .hidden = 3072, .ffn = 8192, .layers = 32, .heads = 32, .context = 4096, .eps = 1e-5, .theta = 10000,
        .act = HONE_ACT_SILU, .eps_key = "rms_norm_eps", .act_key = "hidden_act", .norm = HONE_NORM_RMS, .rope_fraction = 1,
    };
    HONE_TRY(hone_config_decoder(c, &d, a, f, err));
    uint32_t window;
    HONE_TRY(hone_config_window(c, 0, &window, err));
    HONE_TRY(hone_config_windowed(c, window, NULL, 0, a, f, err));
    return HONE_OK;
}

const hone_arch hone_arch_phi3 = {
    .name = "phi3", .hf_class = "Phi3ForCausalLM", .source = "arXiv:2404.14219",
    .prefix = "model.", .rules = rules, .n_rules = HONE_COUNT(rules), .config = config,
    .words = HONE_WORDS_COMMON HONE_WORDS_ROPE "rms_norm_eps sliding_window original_max_position_embeddings",
    .gguf = { .name = "phi3", .act = HONE_ACT_SILU,
              .keys = HONE_GGUF_KEY_ROPE_DIM | HONE_GGUF_KEY_WINDOW | HONE_GGUF_KEY_ORIG_CONTEXT,
              .flags = HONE_GGUF_ROPE_FACTORS | HONE_GGUF_ROPE_PARTIAL | HONE_GGUF_KV_GROUPS | HONE_GGUF_ROPE_SCALED },
    .mlx = { .model = "phi3", .act = HONE_ACT_SILU,
             .flags = HONE_MLX_ROPE_PARTIAL | HONE_MLX_ROPE_LONG,
             .keys = "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size num_key_value_heads "
                     "max_position_embeddings original_max_position_embeddings rope_theta partial_rotary_factor "
                     "tie_word_embeddings rms_norm_eps" },
};
