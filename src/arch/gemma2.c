/* gemma2.c - Gemma 2: norms on both sides, soft-caps, every second layer behind a window.
 * Defaults: transformers configuration_gemma2.py. */
#include "arch/config.h"
#include "arch/rules.h"
#include <math.h>

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
    WEIGHT("model.layers.%.post_attention_layernorm.weight", ATTN_POST_NORM, "[hidden]"),
    WEIGHT("model.layers.%.pre_feedforward_layernorm.weight", FFN_NORM, "[hidden]"),
    WEIGHT("model.layers.%.post_feedforward_layernorm.weight", FFN_POST_NORM, "[hidden]"),
    WEIGHT("model.layers.%.mlp.gate_proj.weight", FFN_GATE, "[ffn, hidden]"),
    WEIGHT("model.layers.%.mlp.up_proj.weight", FFN_UP, "[ffn, hidden]"),
    WEIGHT("model.layers.%.mlp.down_proj.weight", FFN_DOWN, "[hidden, ffn]"),
    IGNORED("model.layers.%.self_attn.rotary_emb.inv_freq"),
};

static hone_code config(const json_t *c, hone_arena *a, hone_facts *f, hone_err *err)
{
    static const hone_config_defaults d = {
        .vocab = 256000, .hidden = 2304, .ffn = 9216, .layers = 26, .heads = 8, .kv_heads = 4, .head_dim = 256,
        .context = 8192, .eps = 1e-6, .theta = 10000, .tied = true, .act = HONE_ACT_GELU_TANH, .eps_key = "rms_norm_eps",
        .act_key = "hidden_activation", .norm = HONE_NORM_RMS, .rope_fraction = 1,
    };
    HONE_TRY(hone_config_decoder(c, &d, a, f, err));
    f->norm_plus_one = f->norm_post = true;
    f->embedding_scale = sqrt(f->hidden); /* rounded to the model's dtype in transformers: 4 ulp of bf16 at most */
    double scalar = 256;
    HONE_TRY(hone_config_number(c, "query_pre_attn_scalar", 1e-3, 1e9, &scalar, err));
    f->attn_scale = 1 / sqrt(scalar);
    HONE_TRY(hone_json_bool(c, "attention_bias", &f->bias_q, err));
    f->bias_k = f->bias_v = f->bias_o = f->bias_q;
    HONE_TRY(hone_config_refuse(c, "use_bidirectional_attention", "that is an encoder", err));
    f->attn_softcap = json_object_get(c, "attn_logit_softcapping") ? 0 : 50;
    f->logit_softcap = json_object_get(c, "final_logit_softcapping") ? 0 : 30;
    HONE_TRY(hone_config_number(c, "attn_logit_softcapping", 0, 1e6, &f->attn_softcap, err));
    HONE_TRY(hone_config_number(c, "final_logit_softcapping", 0, 1e6, &f->logit_softcap, err));
    uint32_t window;
    HONE_TRY(hone_config_window(c, 4096, &window, err));
    HONE_TRY(hone_config_windowed(c, window, hone_window_pattern, 2, a, f, err));
    return HONE_OK;
}

const hone_arch hone_arch_gemma2 = {
    .name = "gemma2", .hf_class = "Gemma2ForCausalLM", .source = "arXiv:2408.00118",
    .prefix = "model.", .rules = rules, .n_rules = HONE_COUNT(rules), .config = config,
    .words = HONE_WORDS_COMMON HONE_WORDS_ROPE "rms_norm_eps query_pre_attn_scalar attention_bias attn_logit_softcapping final_logit_softcapping sliding_window layer_types",
    .gguf = { .name = "gemma2", .act = HONE_ACT_GELU_TANH, .wide_scale_layers = 46, .window_step = 2,
              .keys = HONE_GGUF_KEY_HEAD_DIM | HONE_GGUF_KEY_NO_ROPE_BASE,
              .flags = HONE_GGUF_HEAD_DIM | HONE_GGUF_HEAD_TIED | HONE_GGUF_WINDOW | HONE_GGUF_WINDOW_ALWAYS |
                       HONE_GGUF_SOFTCAPS | HONE_GGUF_BIAS_QKV | HONE_GGUF_KV_GROUPS | HONE_GGUF_ROPE_SCALED },
    .mlx = { .model = "gemma2", .act = HONE_ACT_GELU_TANH,
             .flags = HONE_MLX_HEAD_DIM | HONE_MLX_HEAD_TIED | HONE_MLX_ATTN_SCALE | HONE_MLX_SOFTCAPS,
             .keys = "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size head_dim "
                     "num_key_value_heads rope_theta rms_norm_eps query_pre_attn_scalar attn_logit_softcapping "
                     "final_logit_softcapping" },
};
