/* smollm3.c - SmolLM3: Llama in which every fourth layer is not rotated.
 * Defaults: transformers configuration_smollm3.py. */
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

/* no_rope_layers says 1 where a layer IS rotated (modeling_smollm3.py, self.use_rope). */
static hone_code no_rope(const json_t *c, hone_arena *a, hone_facts *f, hone_err *err)
{
    const json_t *list = json_object_get(c, "no_rope_layers");
    uint32_t      step = 4;
    bool          any = false;
    HONE_TRY(hone_json_u32(c, "no_rope_layer_interval", &step, err));
    if (f->n_layers == 0 || f->n_layers > 10000) return HONE_OK; /* hone_config_check says so */
    if (json_is_array(list) && json_array_size(list) != f->n_layers)
        return HONE_FAIL(err, HONE_EINPUT, "compare config.json with the publisher's",
                         "\"no_rope_layers\" has %zu entries, \"num_hidden_layers\" is %u", json_array_size(list), f->n_layers);
    bool *off = HONE_ARENA_NEW(a, bool, f->n_layers);
    if (!off) return HONE_NOMEM(err, "the layers without rotation");
    for (uint32_t i = 0; i < f->n_layers; i++) {
        if (json_is_array(list)) off[i] = json_integer_value(json_array_get(list, i)) == 0;
        else off[i] = step && (i + 1) % step == 0;
        any |= off[i];
    }
    f->no_rope = any ? off : NULL;
    return HONE_OK;
}

static hone_code config(const json_t *c, hone_arena *a, hone_facts *f, hone_err *err)
{
    static const hone_config_defaults d = {
        .vocab = 128256, .hidden = 2048, .ffn = 11008, .layers = 36, .heads = 16, .kv_heads = 4, .context = 32768,
        .eps = 1e-6, .theta = 2000000, .tied = true, .act = HONE_ACT_SILU, .eps_key = "rms_norm_eps", .act_key = "hidden_act",
        .norm = HONE_NORM_RMS, .rope_fraction = 1,
    };
    HONE_TRY(hone_config_decoder(c, &d, a, f, err));
    HONE_TRY(hone_json_bool(c, "attention_bias", &f->bias_q, err));
    f->bias_k = f->bias_v = f->bias_o = f->bias_q;
    HONE_TRY(hone_json_bool(c, "mlp_bias", &f->bias_ffn, err));
    HONE_TRY(no_rope(c, a, f, err));
    bool     windows = false;
    uint32_t window;
    HONE_TRY(hone_json_bool(c, "use_sliding_window", &windows, err));
    HONE_TRY(hone_config_window(c, 0, &window, err));
    if (!windows || window == 0 || hone_config_has(c, "layer_types")) {
        HONE_TRY(hone_config_windowed(c, windows ? window : 0, NULL, 0, a, f, err));
    } else { /* the layers without rotation get the window */
        f->window = window;
        f->windowed = f->no_rope;
    }
    return HONE_OK;
}

const hone_arch hone_arch_smollm3 = {
    .name = "smollm3", .hf_class = "SmolLM3ForCausalLM", .source = "https://huggingface.co/blog/smollm3",
    .prefix = "model.", .rules = rules, .n_rules = HONE_COUNT(rules), .config = config,
    .words = HONE_WORDS_COMMON HONE_WORDS_ROPE "rms_norm_eps attention_bias mlp_bias",
    .gguf = { .name = "smollm3", .act = HONE_ACT_SILU, .no_rope_step = 4,
              .keys = HONE_GGUF_KEY_VOCAB_SIZE | HONE_GGUF_KEY_ROPE_DIM,
              .flags = HONE_GGUF_QK_NEIGHBOURS | HONE_GGUF_HEAD_DIM | HONE_GGUF_BIAS_QKV | HONE_GGUF_KV_GROUPS |
                       HONE_GGUF_ROPE_SCALED },
    .mlx = { .model = "smollm3", .act = HONE_ACT_SILU,
             .flags = HONE_MLX_BIAS_QKV | HONE_MLX_BIAS_O | HONE_MLX_BIAS_FFN | HONE_MLX_HEAD_DIM | HONE_MLX_ROPE_SCALED |
                      HONE_MLX_WINDOW_TYPES | HONE_MLX_NO_ROPE,
             .keys = "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size head_dim "
                     "num_key_value_heads max_position_embeddings rope_theta tie_word_embeddings attention_bias mlp_bias "
                     "no_rope_layers" },
};
