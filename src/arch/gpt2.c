/* gpt2.c - GPT-2: learned positions, matrices stored [in, out].
 * Defaults: transformers configuration_gpt2.py. */
#include "arch/config.h"
#include "arch/rules.h"
#include <math.h>

static const hone_tensor_rule rules[] = {
    WEIGHT("transformer.wte.weight", TOK_EMBD, "[vocab, hidden]"),
    WEIGHT("transformer.wpe.weight", POS_EMBD, "[context, hidden]"),
    WEIGHT("transformer.ln_f.weight", OUTPUT_NORM, "[hidden]"),
    BIAS("transformer.ln_f.bias", OUTPUT_NORM, "[hidden]"),
    HEAD("lm_head.weight"),
    WEIGHT("transformer.h.%.ln_1.weight", ATTN_NORM, "[hidden]"),
    BIAS("transformer.h.%.ln_1.bias", ATTN_NORM, "[hidden]"),
    TURNED("transformer.h.%.attn.c_attn.weight", ATTN_QKV, "[3*hidden, hidden]"),
    BIAS("transformer.h.%.attn.c_attn.bias", ATTN_QKV, "[3*hidden]"),
    TURNED("transformer.h.%.attn.c_proj.weight", ATTN_OUT, "[hidden, hidden]"),
    BIAS("transformer.h.%.attn.c_proj.bias", ATTN_OUT, "[hidden]"),
    WEIGHT("transformer.h.%.ln_2.weight", FFN_NORM, "[hidden]"),
    BIAS("transformer.h.%.ln_2.bias", FFN_NORM, "[hidden]"),
    TURNED("transformer.h.%.mlp.c_fc.weight", FFN_UP, "[ffn, hidden]"),
    BIAS("transformer.h.%.mlp.c_fc.bias", FFN_UP, "[ffn]"),
    TURNED("transformer.h.%.mlp.c_proj.weight", FFN_DOWN, "[hidden, ffn]"),
    BIAS("transformer.h.%.mlp.c_proj.bias", FFN_DOWN, "[hidden]"),
    IGNORED("transformer.h.%.attn.bias"),
    IGNORED("transformer.h.%.attn.masked_bias"),
};

static hone_code config(const json_t *c, hone_arena *a, hone_facts *f, hone_err *err)
{
    (void)a;
    f->vocab = 50257;
    f->context = 1024;
    f->hidden = 768;
    f->n_layers = f->n_heads = 12;
    f->norm = HONE_NORM_LAYER;
    f->norm_eps = 1e-5;
    f->norm_pre = f->bias_norm = f->tied = true;
    f->bias_q = f->bias_k = f->bias_v = f->bias_o = f->bias_ffn = true;
    f->act = HONE_ACT_GELU_TANH;
    f->bos = f->eos = 50256;
    HONE_TRY(hone_json_u32(c, "vocab_size", &f->vocab, err));
    HONE_TRY(hone_json_u32(c, "n_positions", &f->context, err));
    HONE_TRY(hone_json_u32(c, "n_embd", &f->hidden, err));
    HONE_TRY(hone_json_u32(c, "n_layer", &f->n_layers, err));
    HONE_TRY(hone_json_u32(c, "n_head", &f->n_heads, err));
    HONE_TRY(hone_json_bool(c, "tie_word_embeddings", &f->tied, err));
    HONE_TRY(hone_config_number(c, "layer_norm_epsilon", 0, 1, &f->norm_eps, err));
    HONE_TRY(hone_config_act(c, "activation_function", &f->act, err));
    HONE_TRY(hone_config_refuse(c, "scale_attn_by_inverse_layer_idx", "attention scaled by layer is not supported", err));
    HONE_TRY(hone_config_refuse(c, "add_cross_attention", "cross attention is not supported", err));
    HONE_TRY(hone_config_token(c, "bos_token_id", &f->bos, err));
    HONE_TRY(hone_config_token(c, "eos_token_id", &f->eos, err));
    HONE_TRY(hone_config_token(c, "pad_token_id", &f->pad, err));
    bool scaled = true;
    HONE_TRY(hone_json_bool(c, "scale_attn_weights", &scaled, err));
    if (f->n_heads == 0 || f->hidden % f->n_heads)
        return HONE_FAIL(err, HONE_EINPUT, "compare config.json with the publisher's", "\"n_embd\" %u is no multiple of \"n_head\" %u",
                         f->hidden, f->n_heads);
    f->n_kv_heads = f->n_heads;
    f->head_dim = f->hidden / f->n_heads;
    f->attn_scale = scaled ? 1 / sqrt(f->head_dim) : 1;
    f->ffn = f->hidden <= UINT32_MAX / 4 ? 4 * f->hidden : 0;
    HONE_TRY(hone_json_u32(c, "n_inner", &f->ffn, err));
    return HONE_OK;
}

const hone_arch hone_arch_gpt2 = {
    .name = "gpt2", .hf_class = "GPT2LMHeadModel", .source = "https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf",
    .prefix = "transformer.", .rules = rules, .n_rules = HONE_COUNT(rules), .config = config,
    .words = "vocab_size n_positions n_embd n_layer n_head n_inner layer_norm_epsilon tie_word_embeddings",
    .gguf = { .name = "gpt2", .act = HONE_ACT_GELU_TANH,
              .keys = HONE_GGUF_KEY_NO_KV_HEADS,
              .flags = HONE_GGUF_BIAS_QKV | HONE_GGUF_BIAS_O | HONE_GGUF_BIAS_FFN | HONE_GGUF_BIAS_ALWAYS },
    .mlx = { .model = "gpt2", .act = HONE_ACT_GELU_TANH,
             .flags = HONE_MLX_BIAS_QKV | HONE_MLX_BIAS_O | HONE_MLX_BIAS_FFN | HONE_MLX_BIAS_ALWAYS | HONE_MLX_HEAD_TIED |
                      HONE_MLX_FFN_4X,
             .renames = { { "transformer.", "model." } },
             .keys = "n_ctx n_embd n_head n_layer n_positions layer_norm_epsilon" },
};
