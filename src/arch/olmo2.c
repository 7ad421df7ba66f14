/* olmo2.c - OLMo 2: norms after attention and feed-forward only, q and k normalised over all heads.
 * Defaults: transformers configuration_olmo2.py. */
#include "arch/config.h"
#include "arch/rules.h"

static const hone_tensor_rule rules[] = {
    WEIGHT("model.embed_tokens.weight", TOK_EMBD, "[vocab, hidden]"),
    WEIGHT("model.norm.weight", OUTPUT_NORM, "[hidden]"),
    HEAD("lm_head.weight"),
    WEIGHT("model.layers.%.self_attn.q_proj.weight", ATTN_Q, "[heads*head_dim, hidden]"),
    BIAS("model.layers.%.self_attn.q_proj.bias", ATTN_Q, "[heads*head_dim]"),
    WEIGHT("model.layers.%.self_attn.k_proj.weight", ATTN_K, "[kv_heads*head_dim, hidden]"),
    BIAS("model.layers.%.self_attn.k_proj.bias", ATTN_K, "[kv_heads*head_dim]"),
    WEIGHT("model.layers.%.self_attn.v_proj.weight", ATTN_V, "[kv_heads*head_dim, hidden]"),
    BIAS("model.layers.%.self_attn.v_proj.bias", ATTN_V, "[kv_heads*head_dim]"),
    WEIGHT("model.layers.%.self_attn.o_proj.weight", ATTN_OUT, "[hidden, heads*head_dim]"),
    BIAS("model.layers.%.self_attn.o_proj.bias", ATTN_OUT, "[hidden]"),
    WEIGHT("model.layers.%.self_attn.q_norm.weight", ATTN_Q_NORM, "[heads*head_dim]"),
    WEIGHT("model.layers.%.self_attn.k_norm.weight", ATTN_K_NORM, "[kv_heads*head_dim]"),
    WEIGHT("model.layers.%.post_attention_layernorm.weight", ATTN_POST_NORM, "[hidden]"),
    WEIGHT("model.layers.%.mlp.gate_proj.weight", FFN_GATE, "[ffn, hidden]"),
    WEIGHT("model.layers.%.mlp.up_proj.weight", FFN_UP, "[ffn, hidden]"),
    WEIGHT("model.layers.%.mlp.down_proj.weight", FFN_DOWN, "[hidden, ffn]"),
    WEIGHT("model.layers.%.post_feedforward_layernorm.weight", FFN_POST_NORM, "[hidden]"),
    IGNORED("model.layers.%.self_attn.rotary_emb.inv_freq"),
};

static hone_code config(const json_t *c, hone_arena *a, hone_facts *f, hone_err *err)
{
    static const hone_config_defaults d = {
        .vocab = 50304, .hidden = 4096, .ffn = 11008, .layers = 32, .heads = 32, .context = 2048, .eps = 1e-5, .theta = 10000,
        .act = HONE_ACT_SILU, .eps_key = "rms_norm_eps", .act_key = "hidden_act", .norm = HONE_NORM_RMS, .rope_fraction = 1,
    };
    HONE_TRY(hone_config_decoder(c, &d, a, f, err));
    f->norm_pre = false;
    f->norm_post = f->qk_norm = f->qk_norm_full = true;
    HONE_TRY(hone_json_bool(c, "attention_bias", &f->bias_q, err));
    f->bias_k = f->bias_v = f->bias_o = f->bias_q;
    return HONE_OK;
}

const hone_arch hone_arch_olmo2 = {
    .name = "olmo2", .hf_class = "Olmo2ForCausalLM", .source = "arXiv:2501.00656",
    .prefix = "model.", .rules = rules, .n_rules = HONE_COUNT(rules), .config = config,
    .words = HONE_WORDS_COMMON HONE_WORDS_ROPE "rms_norm_eps attention_bias",
    .gguf = { .name = "olmo2", .act = HONE_ACT_SILU,
              .flags = HONE_GGUF_HEAD_APART | HONE_GGUF_BIAS_QKV | HONE_GGUF_KV_GROUPS | HONE_GGUF_ROPE_SCALED },
    .mlx = { .model = "olmo2", .act = HONE_ACT_SILU,
             .flags = HONE_MLX_BIAS_QKV | HONE_MLX_BIAS_O | HONE_MLX_HEAD_DIM | HONE_MLX_QK_NORM | HONE_MLX_ROPE_SCALED,
             .keys = "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size head_dim "
                     "num_key_value_heads max_position_embeddings rope_theta tie_word_embeddings attention_bias rms_norm_eps" },
};
