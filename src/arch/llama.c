/* llama.c - Llama 2, 3, 3.1, 3.2 and the many models saved in their shape.
 * Defaults: transformers configuration_llama.py. */
#include "arch/config.h"
#include "arch/rules.h"

static const hone_tensor_rule rules[] = {
    WEIGHT("model.embed_tokens.weight", TOK_EMBD, "[vocab, hidden]"),
    WEIGHT("model.norm.weight", OUTPUT_NORM, "[hidden]"),
    HEAD("lm_head.weight"),
    WEIGHT("model.layers.%.input_layernorm.weight", ATTN_NORM, "[hidden]"),
    WEIGHT("model.layers.%.self_attn.q_proj.weight", ATTN_Q, "[heads*head_dim, hidden]"),
    BIAS("model.layers.%.self_attn.q_proj.bias", ATTN_Q, "[heads*head_dim]"),
    WEIGHT("model.layers.%.self_attn.k_proj.weight", ATTN_K, "[kv_heads*head_dim, hidden]"),
    BIAS("model.layers.%.self_attn.k_proj.bias", ATTN_K, "[kv_heads*head_dim]"),
    WEIGHT("model.layers.%.self_attn.v_proj.weight", ATTN_V, "[kv_heads*head_dim, hidden]"),
    BIAS("model.layers.%.self_attn.v_proj.bias", ATTN_V, "[kv_heads*head_dim]"),
    WEIGHT("model.layers.%.self_attn.o_proj.weight", ATTN_OUT, "[hidden, heads*head_dim]"),
    BIAS("model.layers.%.self_attn.o_proj.bias", ATTN_OUT, "[hidden]"),
    WEIGHT("model.layers.%.post_attention_layernorm.weight", FFN_NORM, "[hidden]"),
    WEIGHT("model.layers.%.mlp.gate_proj.weight", FFN_GATE, "[ffn, hidden]"),
    BIAS("model.layers.%.mlp.gate_proj.bias", FFN_GATE, "[ffn]"),
    WEIGHT("model.layers.%.mlp.up_proj.weight", FFN_UP, "[ffn, hidden]"),
    BIAS("model.layers.%.mlp.up_proj.bias", FFN_UP, "[ffn]"),
    WEIGHT("model.layers.%.mlp.down_proj.weight", FFN_DOWN, "[hidden, ffn]"),
    BIAS("model.layers.%.mlp.down_proj.bias", FFN_DOWN, "[hidden]"),
    IGNORED("model.layers.%.self_attn.rotary_emb.inv_freq"),
};

static hone_code config(const json_t *c, hone_arena *a, hone_facts *f, hone_err *err)
{
    static const hone_config_defaults d = {
        .vocab = 32000, .hidden = 4096, .ffn = 11008, .layers = 32, .heads = 32, .context = 2048, .eps = 1e-6, .theta = 10000,
        .act = HONE_ACT_SILU, .eps_key = "rms_norm_eps", .act_key = "hidden_act", .norm = HONE_NORM_RMS, .rope_fraction = 1,
    };
    HONE_TRY(hone_config_decoder(c, &d, a, f, err));
    bool attention = false;
    HONE_TRY(hone_json_bool(c, "attention_bias", &attention, err));
    HONE_TRY(hone_json_bool(c, "mlp_bias", &f->bias_ffn, err));
    f->bias_q = f->bias_k = f->bias_v = f->bias_o = attention;
    return HONE_OK;
}

const hone_arch hone_arch_llama = {
    .name = "llama", .hf_class = "LlamaForCausalLM", .hf_also = "LLaMAForCausalLM", .source = "arXiv:2307.09288, arXiv:2407.21783",
    .prefix = "model.", .rules = rules, .n_rules = HONE_COUNT(rules), .config = config,
    .words = HONE_WORDS_COMMON HONE_WORDS_ROPE "rms_norm_eps attention_bias mlp_bias",
    .gguf = { .name = "llama", .act = HONE_ACT_SILU, .big_layers = 80, .big_needs_groups = true,
              .keys = HONE_GGUF_KEY_VOCAB_SIZE | HONE_GGUF_KEY_ROPE_DIM | HONE_GGUF_KEY_HEAD_DIM,
              .flags = HONE_GGUF_QK_NEIGHBOURS | HONE_GGUF_ROPE_FREQS | HONE_GGUF_ROPE_FACTORS | HONE_GGUF_HEAD_DIM |
                       HONE_GGUF_BIAS_QKV | HONE_GGUF_BIAS_O | HONE_GGUF_BIAS_FFN | HONE_GGUF_KV_GROUPS |
                       HONE_GGUF_ROPE_SCALED },
    .mlx = { .model = "llama", .act = HONE_ACT_SILU,
             .flags = HONE_MLX_BIAS_QKV | HONE_MLX_BIAS_O | HONE_MLX_BIAS_FFN | HONE_MLX_HEAD_DIM | HONE_MLX_ROPE_SCALED |
                      HONE_MLX_WINDOW_TYPES,
             .keys = "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size head_dim "
                     "num_key_value_heads max_position_embeddings rope_theta tie_word_embeddings attention_bias mlp_bias" },
};
