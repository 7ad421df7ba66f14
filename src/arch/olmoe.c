/* olmoe.c - OLMoE: small experts in every layer, q and k normalised over all heads.
 * Defaults: transformers configuration_olmoe.py. */
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
    WEIGHT("model.layers.%.self_attn.q_norm.weight", ATTN_Q_NORM, "[heads*head_dim]"),
    WEIGHT("model.layers.%.self_attn.k_norm.weight", ATTN_K_NORM, "[kv_heads*head_dim]"),
    WEIGHT("model.layers.%.post_attention_layernorm.weight", FFN_NORM, "[hidden]"),
    WEIGHT("model.layers.%.mlp.gate.weight", FFN_ROUTER, "[experts, hidden]"),
    WEIGHT("model.layers.%.mlp.experts.%.gate_proj.weight", FFN_GATE_EXPS, "[expert_ffn, hidden]"),
    WEIGHT("model.layers.%.mlp.experts.%.up_proj.weight", FFN_UP_EXPS, "[expert_ffn, hidden]"),
    WEIGHT("model.layers.%.mlp.experts.%.down_proj.weight", FFN_DOWN_EXPS, "[hidden, expert_ffn]"),
    /* The same, stacked, as transformers 5 keeps them in memory and some write them. */
    PIECE("model.layers.%.mlp.experts.gate_up_proj", FFN_GATE_EXPS, "[experts, 2*expert_ffn, hidden]", 0, 2),
    PIECE("model.layers.%.mlp.experts.gate_up_proj", FFN_UP_EXPS, "[experts, 2*expert_ffn, hidden]", 1, 2),
    WEIGHT("model.layers.%.mlp.experts.down_proj", FFN_DOWN_EXPS, "[experts, hidden, expert_ffn]"),
    IGNORED("model.layers.%.self_attn.rotary_emb.inv_freq"),
};

static hone_code config(const json_t *c, hone_arena *a, hone_facts *f, hone_err *err)
{
    static const hone_config_defaults d = {
        .vocab = 50304, .hidden = 2048, .ffn = 2048, .layers = 16, .heads = 16, .context = 4096, .eps = 1e-5, .theta = 10000,
        .act = HONE_ACT_SILU, .eps_key = "rms_norm_eps", .act_key = "hidden_act", .norm = HONE_NORM_RMS, .rope_fraction = 1,
    };
    HONE_TRY(hone_config_decoder(c, &d, a, f, err));
    f->qk_norm = f->qk_norm_full = true;
    HONE_TRY(hone_json_bool(c, "attention_bias", &f->bias_q, err));
    f->bias_k = f->bias_v = f->bias_o = f->bias_q;
    f->n_experts = 64;
    f->n_experts_used = 8;
    f->expert_ffn = f->ffn;
    HONE_TRY(hone_json_u32(c, "num_experts", &f->n_experts, err));
    HONE_TRY(hone_json_u32(c, "num_experts_per_tok", &f->n_experts_used, err));
    HONE_TRY(hone_json_bool(c, "norm_topk_prob", &f->expert_norm_topk, err));
    if (hone_config_has(c, "clip_qkv"))
        return HONE_FAIL(err, HONE_EUNSUPPORTED, "", "\"clip_qkv\" is %g: clipped q, k and v are not supported",
                         json_number_value(json_object_get(c, "clip_qkv")));
    return HONE_OK;
}

const hone_arch hone_arch_olmoe = {
    .name = "olmoe", .hf_class = "OlmoeForCausalLM", .source = "arXiv:2409.02060",
    .prefix = "model.", .rules = rules, .n_rules = HONE_COUNT(rules), .config = config,
    .words = HONE_WORDS_COMMON HONE_WORDS_ROPE "rms_norm_eps attention_bias num_experts num_experts_per_tok norm_topk_prob",
    .gguf = { .name = "olmoe", .act = HONE_ACT_SILU,
              .flags = HONE_GGUF_HEAD_APART | HONE_GGUF_BIAS_QKV | HONE_GGUF_ROPE_SCALED },
    .mlx = { .model = "olmoe", .act = HONE_ACT_SILU,
             .flags = HONE_MLX_BIAS_QKV | HONE_MLX_BIAS_O | HONE_MLX_HEAD_DIM | HONE_MLX_QK_NORM | HONE_MLX_ROPE_SCALED,
             .renames = { { "experts.%.", "switch_mlp." } },
             .keys = "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size num_key_value_heads "
                     "max_position_embeddings num_experts num_experts_per_tok norm_topk_prob attention_bias rope_theta "
                     "tie_word_embeddings rms_norm_eps" },
};
