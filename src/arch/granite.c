/* granite.c - Granite 3: Llama with four multipliers.
 * Defaults: transformers configuration_granite.py. */
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
    HONE_TRY(hone_json_bool(c, "attention_bias", &f->bias_q, err));
    f->bias_k = f->bias_v = f->bias_o = f->bias_q;
    HONE_TRY(hone_json_bool(c, "mlp_bias", &f->bias_ffn, err));
    f->attn_scale = 1;
    HONE_TRY(hone_config_number(c, "attention_multiplier", 1e-6, 1e6, &f->attn_scale, err));
    HONE_TRY(hone_config_number(c, "embedding_multiplier", 1e-6, 1e6, &f->embedding_scale, err));
    HONE_TRY(hone_config_number(c, "residual_multiplier", 1e-6, 1e6, &f->residual_scale, err));
    HONE_TRY(hone_config_number(c, "logits_scaling", 1e-6, 1e6, &f->logit_scale, err));
    return HONE_OK;
}

const hone_arch hone_arch_granite = {
    .name = "granite", .hf_class = "GraniteForCausalLM", .source = "https://huggingface.co/ibm-granite/granite-3.3-2b-instruct",
    .prefix = "model.", .rules = rules, .n_rules = HONE_COUNT(rules), .config = config,
    .words = HONE_WORDS_COMMON HONE_WORDS_ROPE "rms_norm_eps attention_bias mlp_bias attention_multiplier embedding_multiplier residual_multiplier logits_scaling",
    .gguf = { .name = "granite", .act = HONE_ACT_SILU,
              .keys = HONE_GGUF_KEY_VOCAB_SIZE | HONE_GGUF_KEY_ROPE_DIM | HONE_GGUF_KEY_SCALES,
              .flags = HONE_GGUF_QK_NEIGHBOURS | HONE_GGUF_ROPE_FREQS | HONE_GGUF_ROPE_FACTORS | HONE_GGUF_HEAD_DIM |
                       HONE_GGUF_BIAS_QKV | HONE_GGUF_BIAS_O | HONE_GGUF_BIAS_FFN | HONE_GGUF_KV_GROUPS |
                       HONE_GGUF_ROPE_SCALED | HONE_GGUF_ATTN_SCALE },
    .mlx = { .model = "granite", .act = HONE_ACT_SILU,
             .flags = HONE_MLX_BIAS_QKV | HONE_MLX_BIAS_O | HONE_MLX_BIAS_FFN | HONE_MLX_ATTN_SCALE | HONE_MLX_ROPE_SCALED,
             .eight_bits = { HONE_R_ATTN_OUT, HONE_R_FFN_DOWN, HONE_R_OUTPUT }, .n_eight_bits = 3,
             .keys = "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size num_key_value_heads "
                     "max_position_embeddings rope_theta tie_word_embeddings attention_bias mlp_bias rms_norm_eps logits_scaling "
                     "attention_multiplier embedding_multiplier residual_multiplier" },
};
