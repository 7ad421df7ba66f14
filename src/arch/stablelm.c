/* stablelm.c - StableLM 2 and StableLM 3B: layer norms, a quarter of each head rotated.
 * Defaults: transformers configuration_stablelm.py. */
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
    WEIGHT("model.layers.%.self_attn.q_layernorm.norms.%.weight", ATTN_Q_NORM, "[head_dim]"),
    WEIGHT("model.layers.%.self_attn.k_layernorm.norms.%.weight", ATTN_K_NORM, "[head_dim]"),
    WEIGHT("model.layers.%.post_attention_layernorm.weight", FFN_NORM, "[hidden]"),
    BIAS("model.layers.%.post_attention_layernorm.bias", FFN_NORM, "[hidden]"),
    WEIGHT("model.layers.%.mlp.gate_proj.weight", FFN_GATE, "[ffn, hidden]"),
    WEIGHT("model.layers.%.mlp.up_proj.weight", FFN_UP, "[ffn, hidden]"),
    WEIGHT("model.layers.%.mlp.down_proj.weight", FFN_DOWN, "[hidden, ffn]"),
    IGNORED("model.layers.%.self_attn.rotary_emb.inv_freq"),
};

static hone_code config(const json_t *c, hone_arena *a, hone_facts *f, hone_err *err)
{
    static const hone_config_defaults d = {
        .vocab = 50304, .hidden = 2560, .ffn = 6912, .layers = 32, .heads = 32, .kv_heads = 32, .context = 4096, .eps = 1e-5,
        .theta = 10000, .act = HONE_ACT_SILU, .eps_key = "layer_norm_eps", .act_key = "hidden_act", .norm = HONE_NORM_LAYER,
        .rope_fraction = 0.25,
    };
    HONE_TRY(hone_config_decoder(c, &d, a, f, err));
    f->bias_norm = true;
    HONE_TRY(hone_json_bool(c, "use_qkv_bias", &f->bias_q, err));
    f->bias_k = f->bias_v = f->bias_q;
    HONE_TRY(hone_json_bool(c, "qk_layernorm", &f->qk_norm, err));
    HONE_TRY(hone_json_bool(c, "use_parallel_residual", &f->parallel_residual, err));
    f->parallel_shared_norm = f->parallel_residual;
    return HONE_OK;
}

const hone_arch hone_arch_stablelm = {
    .name = "stablelm", .hf_class = "StableLmForCausalLM", .hf_also = "StableLMEpochForCausalLM", .source = "arXiv:2402.17834",
    .prefix = "model.", .rules = rules, .n_rules = HONE_COUNT(rules), .config = config,
    .words = HONE_WORDS_COMMON HONE_WORDS_ROPE "layer_norm_eps use_qkv_bias qk_layernorm use_parallel_residual",
    .gguf = { .name = "stablelm", .act = HONE_ACT_SILU,
              .keys = HONE_GGUF_KEY_ROPE_DIM | HONE_GGUF_KEY_NO_ROPE_BASE | HONE_GGUF_KEY_PARALLEL,
              .flags = HONE_GGUF_HEAD_APART | HONE_GGUF_ROPE_PARTIAL | HONE_GGUF_PARALLEL | HONE_GGUF_BIAS_QKV |
                       HONE_GGUF_KV_GROUPS | HONE_GGUF_ROPE_SCALED },
    .mlx = { .model = "stablelm", .act = HONE_ACT_SILU,
             .flags = HONE_MLX_BIAS_QKV | HONE_MLX_HEAD_APART | HONE_MLX_ROPE_PARTIAL | HONE_MLX_PARALLEL,
             .keys = "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size num_key_value_heads "
                     "rope_theta partial_rotary_factor layer_norm_eps use_qkv_bias use_parallel_residual" },
};
