/* config.c - config.json in the spelling that mlx_lm reads.  What it reads and how: ModelArgs and initialize_rope of mlx_lm/models. */
#include "formats/mlx.h"
#include <math.h>

static bool missing(const json_t *config, const char *key)
{
    const json_t *v = json_object_get(config, key);
    return !v || json_is_null(v);
}

typedef enum kind { U32, F64, WHOLE_F64, FLAG, FRACTION, INV_SQUARE, ONE, NO_LIST, ROTATED } kind;

static const struct {
    const char *key;
    kind        kind;
    size_t      at;
} words[] = {
    { "vocab_size", U32, offsetof(hone_facts, vocab) },
    { "hidden_size", U32, offsetof(hone_facts, hidden) },
    { "n_embd", U32, offsetof(hone_facts, hidden) },
    { "num_hidden_layers", U32, offsetof(hone_facts, n_layers) },
    { "n_layer", U32, offsetof(hone_facts, n_layers) },
    { "num_attention_heads", U32, offsetof(hone_facts, n_heads) },
    { "n_head", U32, offsetof(hone_facts, n_heads) },
    { "num_key_value_heads", U32, offsetof(hone_facts, n_kv_heads) },
    { "head_dim", U32, offsetof(hone_facts, head_dim) },
    { "intermediate_size", U32, offsetof(hone_facts, ffn) },
    { "max_position_embeddings", U32, offsetof(hone_facts, context) },
    { "n_positions", U32, offsetof(hone_facts, context) },
    { "n_ctx", U32, offsetof(hone_facts, context) },
    { "original_max_position_embeddings", U32, offsetof(hone_facts, rope.original_context) },
    { "rms_norm_eps", F64, offsetof(hone_facts, norm_eps) },
    { "layer_norm_eps", F64, offsetof(hone_facts, norm_eps) },
    { "layer_norm_epsilon", F64, offsetof(hone_facts, norm_eps) },
    { "norm_epsilon", F64, offsetof(hone_facts, norm_eps) },
    { "rope_theta", F64, offsetof(hone_facts, rope.base) },
    { "rotary_emb_base", WHOLE_F64, offsetof(hone_facts, rope.base) },
    { "rope_local_base_freq", F64, offsetof(hone_facts, rope.local_base) },
    { "partial_rotary_factor", FRACTION, 0 },
    { "rotary_pct", FRACTION, 0 },
    { "tie_word_embeddings", FLAG, offsetof(hone_facts, tied) },
    { "attention_bias", FLAG, offsetof(hone_facts, bias_q) },
    { "use_qkv_bias", FLAG, offsetof(hone_facts, bias_q) },
    { "mlp_bias", FLAG, offsetof(hone_facts, bias_ffn) },
    { "use_parallel_residual", FLAG, offsetof(hone_facts, parallel_residual) },
    { "no_rope_layers", ROTATED, 0 },
    { "sliding_window", U32, offsetof(hone_facts, window) },
    { "sliding_window_pattern", U32, offsetof(hone_facts, window_pattern) },
    { "query_pre_attn_scalar", INV_SQUARE, offsetof(hone_facts, attn_scale) },
    { "attention_multiplier", F64, offsetof(hone_facts, attn_scale) },
    { "attn_logit_softcapping", F64, offsetof(hone_facts, attn_softcap) },
    { "final_logit_softcapping", F64, offsetof(hone_facts, logit_softcap) },
    { "embedding_multiplier", F64, offsetof(hone_facts, embedding_scale) },
    { "residual_multiplier", F64, offsetof(hone_facts, residual_scale) },
    { "logits_scaling", F64, offsetof(hone_facts, logit_scale) },
    { "num_experts", U32, offsetof(hone_facts, n_experts) },
    { "num_local_experts", U32, offsetof(hone_facts, n_experts) },
    { "num_experts_per_tok", U32, offsetof(hone_facts, n_experts_used) },
    { "moe_intermediate_size", U32, offsetof(hone_facts, expert_ffn) },
    { "norm_topk_prob", FLAG, offsetof(hone_facts, expert_norm_topk) },
    { "decoder_sparse_step", ONE, 0 },
    { "mlp_only_layers", NO_LIST, 0 },
};

/* mlx_lm truncates head_dim * fraction, so the fraction must not fall short of the whole number. */
static double rotated_fraction(const hone_facts *f)
{
    double v = (double)f->rope.dim / f->head_dim;
    while (v * f->head_dim < f->rope.dim) v = nextafter(v, 2);
    return v;
}

static json_t *rotated_layers(const hone_facts *f)
{
    json_t *list = json_array();
    for (uint32_t i = 0; list && i < f->n_layers; i++)
        if (json_array_append_new(list, json_integer(!(f->no_rope && f->no_rope[i]))) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static json_t *value_of(const hone_facts *f, size_t i)
{
    const char *p = (const char *)f + words[i].at;
    uint32_t    u;
    double      d;
    bool        b;
    switch (words[i].kind) {
    case U32: memcpy(&u, p, sizeof u); return u ? json_integer(u) : json_null();
    case F64: memcpy(&d, p, sizeof d); return d != 0 ? json_real(d) : json_null();
    case WHOLE_F64: memcpy(&d, p, sizeof d); return floor(d) == d && d < 1e15 ? json_integer((json_int_t)d) : json_real(d);
    case INV_SQUARE: memcpy(&d, p, sizeof d); return json_real(1 / (d * d));
    case FLAG: memcpy(&b, p, sizeof b); return json_boolean(b);
    case FRACTION: return json_real(rotated_fraction(f));
    case ONE: return json_integer(1);
    case NO_LIST: return json_array();
    case ROTATED: return rotated_layers(f);
    }
    return NULL;
}

/* Words that ModelArgs reads and the file leaves to transformers' defaults, which mlx_lm does not share. */
static hone_code put_words(json_t *config, const hone_facts *f, hone_err *err)
{
    for (const char *w = f->mlx->keys; *w;) {
        size_t n = strcspn(w, " "), i = 0;
        while (i < HONE_COUNT(words) && !(strlen(words[i].key) == n && memcmp(words[i].key, w, n) == 0)) i++;
        if (i == HONE_COUNT(words)) return HONE_FAIL(err, HONE_EBUG, "", "there is no fact for \"%.*s\"", (int)n, w);
        if (missing(config, words[i].key)) {
            json_t *v = value_of(f, i);
            if (!v) return HONE_NOMEM(err, "config.json");
            if (json_is_null(v)) json_decref(v);
            else if (!hone_json_put(config, words[i].key, v)) return HONE_NOMEM(err, "config.json");
        }
        w += n + strspn(w + n, " ");
    }
    return HONE_OK;
}

/* transformers 5 keeps everything about the rotation in rope_parameters (by layer type for Gemma 3); mlx_lm reads rope_scaling, with "type". */
static hone_code put_rope(json_t *config, const hone_facts *f, hone_err *err)
{
    if (f->rope.scaling == HONE_ROPE_SCALE_NONE) return HONE_OK;
    json_t *old = json_object_get(config, "rope_scaling"), *all = json_object_get(config, "rope_parameters");
    json_t *global = json_object_get(all, "full_attention");
    json_t *scaling = json_copy(json_is_object(old) ? old : json_is_object(global) ? global : all);
    if (!json_is_object(scaling)) {
        json_decref(scaling);
        return HONE_FAIL(err, HONE_EBUG, "", "the rotation is scaled, but config.json does not say how");
    }
    (void)json_object_del(scaling, "rope_theta");
    (void)json_object_del(scaling, "partial_rotary_factor");
    bool good = true;
    if (missing(scaling, "type") && !missing(scaling, "rope_type"))
        good = hone_json_put(scaling, "type", json_incref(json_object_get(scaling, "rope_type")));
    if (good && f->rope.original_context && missing(scaling, "original_max_position_embeddings"))
        good = hone_json_put(scaling, "original_max_position_embeddings", json_integer(f->rope.original_context));
    /* YarnRoPE has no attention_factor; 0.1 * mscale * ln(factor) + 1 is the same.  Who reads the words as transformers does needs both. */
    if (good && f->rope.scaling == HONE_ROPE_SCALE_YARN && f->rope.attn_factor > 0 && f->rope.factor > 1)
        good = hone_json_put(scaling, "mscale", json_real((f->rope.attn_factor - 1) / (0.1 * log(f->rope.factor)))) &&
               hone_json_put(scaling, "mscale_all_dim", json_integer(0)) && hone_json_put(scaling, "attention_factor", json_real(f->rope.attn_factor));
    good = good && hone_json_put(config, "rope_scaling", json_incref(scaling));
    json_decref(scaling);
    return good ? HONE_OK : HONE_NOMEM(err, "config.json");
}

/* llama.py looks for the first global layer and fails when there is none: then no layer may be called windowed. */
static hone_code put_windows(json_t *config, const hone_facts *f, hone_err *err)
{
    if (!(f->mlx->flags & HONE_MLX_WINDOW_TYPES)) return HONE_OK;
    uint32_t global = 0;
    for (uint32_t i = 0; f->window && f->windowed && i < f->n_layers; i++) global += !f->windowed[i];
    (void)json_object_del(config, "layer_types");
    if (global == 0 || global == f->n_layers) return HONE_OK;
    json_t *types = json_array();
    bool    good = types != NULL;
    for (uint32_t i = 0; good && i < f->n_layers; i++)
        good = json_array_append_new(types, json_string(f->windowed[i] ? "sliding_attention" : "full_attention")) == 0;
    good = good && hone_json_put(config, "layer_types", json_incref(types)) && hone_json_put(config, "sliding_window", json_integer(f->window));
    json_decref(types);
    return good ? HONE_OK : HONE_NOMEM(err, "config.json");
}

hone_code hone_mlx_config(json_t *config, const hone_facts *f, hone_err *err)
{
    HONE_TRY(put_words(config, f, err));
    HONE_TRY(put_rope(config, f, err));
    HONE_TRY(put_windows(config, f, err));
    if (missing(config, "model_type") && !hone_json_put(config, "model_type", json_string(f->mlx->model))) return HONE_NOMEM(err, "config.json");
    /* save_config of mlx_lm drops it: a path on the publisher's machine. */
    (void)json_object_del(config, "_name_or_path");
    return HONE_OK;
}

hone_code hone_mlx_config_quantized(json_t *config, const hone_mlx_quant *quant, uint32_t group, json_t *overrides, hone_err *err)
{
    json_t *q = json_pack("{s:i,s:i,s:s}", "group_size", (int)group, "bits", (int)quant->bits, "mode", quant->mode);
    bool    good = q && json_object_update(q, overrides) == 0 && hone_json_put(config, "quantization", json_incref(q)) &&
                hone_json_put(config, "quantization_config", json_incref(q));
    json_decref(q);
    return good ? HONE_OK : HONE_NOMEM(err, "config.json");
}

static const struct {
    const char *name;
    hone_dtype  dtype;
} dtypes[] = { { "float32", HONE_DTYPE_F32 }, { "float16", HONE_DTYPE_F16 }, { "bfloat16", HONE_DTYPE_BF16 } };

bool hone_mlx_config_dtype(const json_t *config, hone_dtype *out)
{
    const char *name = json_string_value(json_object_get(config, "torch_dtype"));
    for (size_t i = 0; name && i < HONE_COUNT(dtypes); i++)
        if (strcmp(name, dtypes[i].name) == 0) {
            *out = dtypes[i].dtype;
            return true;
        }
    return false;
}

hone_code hone_mlx_config_set_dtype(json_t *config, hone_dtype t, hone_err *err)
{
    static const char *const keys[] = { "torch_dtype", "dtype" };
    for (size_t i = 0; i < HONE_COUNT(dtypes); i++)
        for (size_t k = 0; dtypes[i].dtype == t && k < HONE_COUNT(keys); k++)
            if (!missing(config, keys[k]) && !hone_json_put(config, keys[k], json_string(dtypes[i].name))) return HONE_NOMEM(err, "config.json");
    return HONE_OK;
}
