/* mistral.c - Mistral 7B, Nemo and their kin: Llama with a sliding window.
 * Defaults: transformers configuration_mistral.py. */
#include "arch/config.h"
#include "arch/rules.h"

static const hone_tensor_rule rules[] = {
    WEIGHT("model.embed_tokens.weight", TOK_EMBD, "[vocab, hidden]"),
    WEIGHT("model.norm.weight", OUTPUT_NORM, "[hidden]"),
    HEAD("lm_head.weight"),
    WEIGHT("model.layers.%.input_layernorm.weight", ATTN_NORM, "[hidden]"),
    WEIGHT("model.layers.%.self_attn.q_proj.weight", ATTN_Q, "[heads*head_dim, hidden]"),
    WEIGHT("model.layers.%.self_attn.k_proj.weight", ATTN_K, "[kv_heads*head_dim, hidden]"),
    WEIGHT("model.layers.%.self_attn.v_proj.weight", ATTN_V, "[kv_heads*head_dim, hidden]"),
    WEIGHT("model.layers.%.self_attn.o_proj.weight", ATTN_OUT, "[hidden, heads*head_dim]"),
    WEIGHT("model.layers.%.post_attention_layernorm.weight", FFN_NORM, "[hidden]"),
    WEIGHT("model.layers.%.mlp.gate_proj.weight", FFN_GATE, "[ffn, hidden]"),
    WEIGHT("model.layers.%.mlp.up_proj.weight", FFN_UP, "[ffn, hidden]"),
    WEIGHT("model.layers.%.mlp.down_proj.weight", FFN_DOWN, "[hidden, ffn]"),
    IGNORED("model.layers.%.self_attn.rotary_emb.inv_freq"),
};

static hone_code config(const json_t *c, hone_arena *a, hone_facts *f, hone_err *err)
{
    static const hone_config_defaults d = {
        .vocab = 32000, .hidden = 4096, .ffn = 14336, .layers = 32, .heads = 32, .kv_heads = 8, .context = 4096 * 32,
        .eps = 1e-6, .theta = 10000, .act = HONE_ACT_SILU, .eps_key = "rms_norm_eps", .act_key = "hidden_act",
        .norm = HONE_NORM_RMS, .rope_fraction = 1,
    };
    HONE_TRY(hone_config_decoder(c, &d, a, f, err));
    uint32_t window;
    HONE_TRY(hone_config_window(c, 4096, &window, err));
    HONE_TRY(hone_config_windowed(c, window, NULL, 0, a, f, err));
    return HONE_OK;
}

const hone_arch hone_arch_mistral = {
    .name = "mistral", .hf_class = "MistralForCausalLM", .source = "arXiv:2310.06825",
    .prefix = "model.", .rules = rules, .n_rules = HONE_COUNT(rules), .config = config,
    .words = HONE_WORDS_COMMON HONE_WORDS_ROPE "rms_norm_eps sliding_window",
    .gguf = { .name = "llama", .act = HONE_ACT_SILU, .big_layers = 80, .big_needs_groups = true,
              .keys = HONE_GGUF_KEY_VOCAB_SIZE | HONE_GGUF_KEY_ROPE_DIM,
              .flags = HONE_GGUF_QK_NEIGHBOURS | HONE_GGUF_ROPE_FREQS | HONE_GGUF_ROPE_FACTORS | HONE_GGUF_HEAD_DIM |
                       HONE_GGUF_BIAS_QKV | HONE_GGUF_BIAS_O | HONE_GGUF_BIAS_FFN | HONE_GGUF_KV_GROUPS |
                       HONE_GGUF_ROPE_SCALED },
    .mlx = { .model = "llama", .act = HONE_ACT_SILU,
             .flags = HONE_MLX_BIAS_QKV | HONE_MLX_BIAS_O | HONE_MLX_BIAS_FFN | HONE_MLX_HEAD_DIM | HONE_MLX_ROPE_SCALED |
                      HONE_MLX_WINDOW_TYPES,
             .keys = "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size head_dim "
                     "num_key_value_heads max_position_embeddings rope_theta tie_word_embeddings attention_bias mlp_bias" },
};
