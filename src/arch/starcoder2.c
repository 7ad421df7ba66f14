/* starcoder2.c - StarCoder 2: layer norms, biases everywhere, a plain feed-forward.
 * Defaults: transformers configuration_starcoder2.py. */
#include "arch/config.h"
#include "arch/rules.h"

static const hone_tensor_rule rules[] = {
    WEIGHT("model.embed_tokens.weight", TOK_EMBD, "[vocab, hidden]"),
    WEIGHT("model.norm.weight", OUTPUT_NORM, "[hidden]"),
    BIAS("model.norm.bias", OUTPUT_NORM, "[hidden]"),
    HEAD("lm_head.weight"),
    WEIGHT("model.layers.%.input_layernorm.weight", ATTN_NORM, "[hidden]"),
    BIAS("model.layers.%.input_layernorm.bias", ATTN_NORM, "[hidden]"),
    WEIGHT("model.layers.%.self_attn.q_proj.weight", ATTN_Q, "[heads*head_dim, hidden]"),
    BIAS("model.layers.%.self_attn.q_proj.bias", ATTN_Q, "[heads*head_dim]"),
    WEIGHT("model.layers.%.self_attn.k_proj.weight", ATTN_K, "[kv_heads*head_dim, hidden]"),
    BIAS("model.layers.%.self_attn.k_proj.bias", ATTN_K, "[kv_heads*head_dim]"),
    WEIGHT("model.layers.%.self_attn.v_proj.weight", ATTN_V, "[kv_heads*head_dim, hidden]"),
    BIAS("model.layers.%.self_attn.v_proj.bias", ATTN_V, "[kv_heads*head_dim]"),
    WEIGHT("model.layers.%.self_attn.o_proj.weight", ATTN_OUT, "[hidden, heads*head_dim]"),
    BIAS("model.layers.%.self_attn.o_proj.bias", ATTN_OUT, "[hidden]"),
    WEIGHT("model.layers.%.post_attention_layernorm.weight", FFN_NORM, "[hidden]"),
    BIAS("model.layers.%.post_attention_layernorm.bias", FFN_NORM, "[hidden]"),
    WEIGHT("model.layers.%.mlp.c_fc.weight", FFN_UP, "[ffn, hidden]"),
    BIAS("model.layers.%.mlp.c_fc.bias", FFN_UP, "[ffn]"),
    WEIGHT("model.layers.%.mlp.c_proj.weight", FFN_DOWN, "[hidden, ffn]"),
    BIAS("model.layers.%.mlp.c_proj.bias", FFN_DOWN, "[hidden]"),
    IGNORED("model.layers.%.self_attn.rotary_emb.inv_freq"),
};

static hone_code config(const json_t *c, hone_arena *a, hone_facts *f, hone_err *err)
{
    static const hone_config_defaults d = {
        .vocab = 49152, .hidden = 3072, .ffn = 12288, .layers = 30, .heads = 24, .kv_heads = 2, .context = 4096, .eps = 1e-5,
        .theta = 10000, .tied = true, .act = HONE_ACT_GELU_TANH, .eps_key = "norm_epsilon", .act_key = "hidden_act",
        .norm = HONE_NORM_LAYER, .rope_fraction = 1,
    };
    HONE_TRY(hone_config_decoder(c, &d, a, f, err));
    bool bias = true;
    HONE_TRY(hone_json_bool(c, "use_bias", &bias, err));
    f->bias_q = f->bias_k = f->bias_v = f->bias_o = f->bias_ffn = bias;
    f->bias_norm = true;
    f->ffn_gated = false;
    uint32_t window;
    HONE_TRY(hone_config_window(c, 0, &window, err));
    HONE_TRY(hone_config_windowed(c, window, NULL, 0, a, f, err));
    return HONE_OK;
}

const hone_arch hone_arch_starcoder2 = {
    .name = "starcoder2", .hf_class = "Starcoder2ForCausalLM", .source = "arXiv:2402.19173",
    .prefix = "model.", .rules = rules, .n_rules = HONE_COUNT(rules), .config = config,
    .words = HONE_WORDS_COMMON HONE_WORDS_ROPE "norm_epsilon use_bias sliding_window",
    .gguf = { .name = "starcoder2", .act = HONE_ACT_GELU_TANH,
              .flags = HONE_GGUF_BIAS_QKV | HONE_GGUF_BIAS_O | HONE_GGUF_BIAS_FFN | HONE_GGUF_BIAS_ALWAYS |
                       HONE_GGUF_KV_GROUPS | HONE_GGUF_ROPE_SCALED },
    .mlx = { .model = "starcoder2", .act = HONE_ACT_GELU,
             .flags = HONE_MLX_BIAS_QKV | HONE_MLX_BIAS_O | HONE_MLX_BIAS_FFN | HONE_MLX_BIAS_ALWAYS,
             .keys = "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size num_key_value_heads "
                     "rope_theta norm_epsilon tie_word_embeddings" },
};
