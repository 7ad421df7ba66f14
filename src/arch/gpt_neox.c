/* gpt_neox.c - GPT-NeoX, Pythia: attention and feed-forward in parallel, q, k, v interleaved head by head.
 * Defaults: transformers configuration_gpt_neox.py. */
#include "arch/config.h"
#include "arch/rules.h"

static const hone_tensor_rule rules[] = {
    WEIGHT("gpt_neox.embed_in.weight", TOK_EMBD, "[vocab, hidden]"),
    WEIGHT("gpt_neox.final_layer_norm.weight", OUTPUT_NORM, "[hidden]"),
    BIAS("gpt_neox.final_layer_norm.bias", OUTPUT_NORM, "[hidden]"),
    HEAD("embed_out.weight"),
    WEIGHT("gpt_neox.layers.%.input_layernorm.weight", ATTN_NORM, "[hidden]"),
    BIAS("gpt_neox.layers.%.input_layernorm.bias", ATTN_NORM, "[hidden]"),
    WEIGHT("gpt_neox.layers.%.attention.query_key_value.weight", ATTN_QKV, "[3*hidden, hidden]"),
    BIAS("gpt_neox.layers.%.attention.query_key_value.bias", ATTN_QKV, "[3*hidden]"),
    WEIGHT("gpt_neox.layers.%.attention.dense.weight", ATTN_OUT, "[hidden, hidden]"),
    BIAS("gpt_neox.layers.%.attention.dense.bias", ATTN_OUT, "[hidden]"),
    WEIGHT("gpt_neox.layers.%.post_attention_layernorm.weight", FFN_NORM, "[hidden]"),
    BIAS("gpt_neox.layers.%.post_attention_layernorm.bias", FFN_NORM, "[hidden]"),
    WEIGHT("gpt_neox.layers.%.mlp.dense_h_to_4h.weight", FFN_UP, "[ffn, hidden]"),
    BIAS("gpt_neox.layers.%.mlp.dense_h_to_4h.bias", FFN_UP, "[ffn]"),
    WEIGHT("gpt_neox.layers.%.mlp.dense_4h_to_h.weight", FFN_DOWN, "[hidden, ffn]"),
    BIAS("gpt_neox.layers.%.mlp.dense_4h_to_h.bias", FFN_DOWN, "[hidden]"),
    IGNORED("gpt_neox.layers.%.attention.rotary_emb.inv_freq"),
    IGNORED("gpt_neox.layers.%.attention.bias"),
    IGNORED("gpt_neox.layers.%.attention.masked_bias"),
};

/* Stored [heads, 3, head_dim, hidden] (modeling_gpt_neox.py); the role wants [3, heads, head_dim, hidden]. */
static hone_code finish(hone_model *m, hone_err *err)
{
    uint64_t  heads = m->facts.n_heads, dim = m->facts.head_dim, at = 0;
    uint32_t *map = HONE_ARENA_NEW(&m->arena, uint32_t, 3 * heads * dim);
    if (!map) return HONE_NOMEM(err, "the order of q, k and v");
    for (uint64_t part = 0; part < 3; part++)
        for (uint64_t h = 0; h < heads; h++)
            for (uint64_t i = 0; i < dim; i++) map[at++] = (uint32_t)((h * 3 + part) * dim + i);
    for (size_t i = 0; i < m->n_weights; i++) {
        hone_weight *w = &m->weights[i];
        if (w->role != HONE_R_ATTN_QKV) continue;
        hone_slice *s = HONE_ARENA_NEW(&m->arena, hone_slice, 1);
        if (!s) return HONE_NOMEM(err, "the order of q, k and v");
        *s = w->slices[0];
        s->row_map = map;
        w->slices = s;
    }
    return HONE_OK;
}

static hone_code config(const json_t *c, hone_arena *a, hone_facts *f, hone_err *err)
{
    static const hone_config_defaults d = {
        .vocab = 50432, .hidden = 6144, .ffn = 24576, .layers = 44, .heads = 64, .context = 2048, .eps = 1e-5,
        .act = HONE_ACT_GELU, .eps_key = "layer_norm_eps", .act_key = "hidden_act", .norm = HONE_NORM_LAYER,
    };
    HONE_TRY(hone_config_decoder(c, &d, a, f, err));
    double theta = 10000, fraction = 0.25;
    HONE_TRY(hone_config_number(c, "rotary_emb_base", 1, 1e15, &theta, err));
    HONE_TRY(hone_config_number(c, "rotary_pct", 0, 1, &fraction, err));
    HONE_TRY(hone_config_rope(c, theta, fraction, a, f, err));
    bool bias = true;
    HONE_TRY(hone_json_bool(c, "attention_bias", &bias, err));
    f->bias_q = f->bias_k = f->bias_v = f->bias_o = bias;
    f->bias_ffn = f->bias_norm = true;
    f->ffn_gated = false;
    f->n_kv_heads = f->n_heads;
    f->parallel_residual = true;
    HONE_TRY(hone_json_bool(c, "use_parallel_residual", &f->parallel_residual, err));
    return HONE_OK;
}

const hone_arch hone_arch_gpt_neox = {
    .name = "gpt_neox", .hf_class = "GPTNeoXForCausalLM", .source = "arXiv:2204.06745, arXiv:2304.01373",
    .prefix = "gpt_neox.", .rules = rules, .n_rules = HONE_COUNT(rules), .config = config, .finish = finish,
    .words = "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size max_position_embeddings tie_word_embeddings rope_scaling "
             "rotary_emb_base rotary_pct layer_norm_eps attention_bias use_parallel_residual",
    .gguf = { .name = "gptneox", .act = HONE_ACT_GELU,
              .keys = HONE_GGUF_KEY_NO_KV_HEADS | HONE_GGUF_KEY_ROPE_DIM | HONE_GGUF_KEY_NO_ROPE_BASE | HONE_GGUF_KEY_PARALLEL,
              .flags = HONE_GGUF_HEAD_APART | HONE_GGUF_ROPE_PARTIAL | HONE_GGUF_PARALLEL | HONE_GGUF_BIAS_QKV |
                       HONE_GGUF_BIAS_O | HONE_GGUF_BIAS_FFN | HONE_GGUF_BIAS_ALWAYS | HONE_GGUF_ROPE_SCALED },
    .mlx = { .model = "gpt_neox", .act = HONE_ACT_GELU_TANH,
             .flags = HONE_MLX_BIAS_QKV | HONE_MLX_BIAS_O | HONE_MLX_BIAS_FFN | HONE_MLX_BIAS_ALWAYS | HONE_MLX_HEAD_APART |
                      HONE_MLX_ROPE_PARTIAL | HONE_MLX_PARALLEL | HONE_MLX_FFN_4X | HONE_MLX_QKV_BY_HEAD,
             .renames = { { "gpt_neox.layers.", "model.h." }, { "gpt_neox.", "model." }, { "embed_out.", "model.embed_out." } },
             .keys = "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size max_position_embeddings "
                     "layer_norm_eps rotary_emb_base rotary_pct use_parallel_residual" },
};
