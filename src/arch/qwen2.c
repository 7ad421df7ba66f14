/* qwen2.c - Qwen 2 and 2.5: Llama with biases on q, k and v.
 * Defaults: transformers configuration_qwen2.py. */
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
    WEIGHT("model.layers.%.post_attention_layernorm.weight", FFN_NORM, "[hidden]"),
    WEIGHT("model.layers.%.mlp.gate_proj.weight", FFN_GATE, "[ffn, hidden]"),
    WEIGHT("model.layers.%.mlp.up_proj.weight", FFN_UP, "[ffn, hidden]"),
    WEIGHT("model.layers.%.mlp.down_proj.weight", FFN_DOWN, "[hidden, ffn]"),
    IGNORED("model.layers.%.self_attn.rotary_emb.inv_freq"),
};

static hone_code config(const json_t *c, hone_arena *a, hone_facts *f, hone_err *err)
{
    static const hone_config_defaults d = {
        .vocab = 151936, .hidden = 4096, .ffn = 22016, .layers = 32, .heads = 32, .kv_heads = 32, .context = 32768,
        .eps = 1e-6, .theta = 10000, .act = HONE_ACT_SILU, .eps_key = "rms_norm_eps", .act_key = "hidden_act",
        .norm = HONE_NORM_RMS, .rope_fraction = 1,
    };
    HONE_TRY(hone_config_decoder(c, &d, a, f, err));
    f->bias_q = f->bias_k = f->bias_v = true;
    bool     windows = false;
    uint32_t window, from = 28;
    HONE_TRY(hone_json_bool(c, "use_sliding_window", &windows, err));
    HONE_TRY(hone_config_window(c, 4096, &window, err));
    HONE_TRY(hone_json_u32(c, "max_window_layers", &from, err));
    HONE_TRY(hone_config_windowed(c, windows ? window : 0, hone_window_from, from, a, f, err));
    return HONE_OK;
}

const hone_arch hone_arch_qwen2 = {
    .name = "qwen2", .hf_class = "Qwen2ForCausalLM", .source = "arXiv:2407.10671, arXiv:2412.15115",
    .prefix = "model.", .rules = rules, .n_rules = HONE_COUNT(rules), .config = config,
    .words = HONE_WORDS_COMMON HONE_WORDS_ROPE "rms_norm_eps",
    .gguf = { .name = "qwen2", .act = HONE_ACT_SILU, .big_layers = 80,
              .flags = HONE_GGUF_BIAS_QKV | HONE_GGUF_KV_GROUPS | HONE_GGUF_ROPE_SCALED },
    .mlx = { .model = "qwen2", .act = HONE_ACT_SILU,
             .flags = HONE_MLX_BIAS_QKV | HONE_MLX_BIAS_ALWAYS | HONE_MLX_ROPE_SCALED,
             .keys = "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size num_key_value_heads "
                     "max_position_embeddings rope_theta tie_word_embeddings rms_norm_eps" },
};
