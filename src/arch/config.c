#include "arch/config.h"
#include "base/text.h"
#include <math.h>

/* Bounds of sense: far above any model, low enough that no product of two overflows and no loop over layers runs away. */
#define MAX_LAYERS  10000u
#define MAX_WIDTH   (1u << 24)
#define MAX_EXPERTS 65536u

static const char CONFIG[] = "compare config.json with the publisher's";

bool hone_config_has(const json_t *c, const char *key)
{
    const json_t *v = json_object_get(c, key);
    return v && !json_is_null(v);
}

hone_code hone_config_number(const json_t *c, const char *key, double lo, double hi, double *out, hone_err *err)
{
    double v = *out;
    HONE_TRY(hone_json_f64(c, key, &v, err));
    if (hone_config_has(c, key) && !(v >= lo && v <= hi))
        return HONE_FAIL(err, HONE_EINPUT, CONFIG, "\"%s\" is %g, needs %g..%g", key, v, lo, hi);
    *out = v;
    return HONE_OK;
}

hone_code hone_config_refuse(const json_t *c, const char *key, const char *why, hone_err *err)
{
    bool on = false;
    HONE_TRY(hone_json_bool(c, key, &on, err));
    if (on) return HONE_FAIL(err, HONE_EUNSUPPORTED, "", "\"%s\" is true: %s", key, why);
    return HONE_OK;
}

/* transformers/activations.py, ACT2FN: names of one function share a row. */
static const struct {
    const char *name;
    hone_act    act;
} acts[] = {
    { "silu", HONE_ACT_SILU },           { "swish", HONE_ACT_SILU },
    { "gelu", HONE_ACT_GELU },           { "gelu_python", HONE_ACT_GELU },
    { "gelu_new", HONE_ACT_GELU_TANH },  { "gelu_pytorch_tanh", HONE_ACT_GELU_TANH },
    { "gelu_fast", HONE_ACT_GELU_TANH }, { "gelu_accurate", HONE_ACT_GELU_TANH },
    { "relu", HONE_ACT_RELU },
};

hone_code hone_config_act(const json_t *c, const char *key, hone_act *out, hone_err *err)
{
    const char *name = NULL;
    char        shown[64];
    HONE_TRY(hone_json_str(c, key, &name, err));
    if (!name) return HONE_OK;
    for (size_t i = 0; i < HONE_COUNT(acts); i++)
        if (strcmp(acts[i].name, name) == 0) {
            *out = acts[i].act;
            return HONE_OK;
        }
    return HONE_FAIL(err, HONE_EUNSUPPORTED, "known are silu, gelu, gelu_new, gelu_pytorch_tanh and relu: add it to src/arch/config.c",
                     "\"%s\" is \"%s\", which hone does not know", key, hone_text_show(name, strlen(name), shown, sizeof shown));
}

/* ---- rope ---- */

static hone_code factors(const json_t *rope, const char *key, uint32_t n, hone_arena *a, const float **out, hone_err *err)
{
    const json_t *v = json_object_get(rope, key);
    if (!json_is_array(v)) return HONE_FAIL(err, HONE_EINPUT, CONFIG, "rope scaling \"longrope\" needs \"%s\", a list of numbers", key);
    if (json_array_size(v) != n)
        return HONE_FAIL(err, HONE_EINPUT, CONFIG, "\"%s\" has %zu numbers, needs %u (half of the rotated elements of a head)", key,
                         json_array_size(v), n);
    float *f = HONE_ARENA_NEW(a, float, n);
    if (!f) return HONE_NOMEM(err, "rope factors");
    for (uint32_t i = 0; i < n; i++) {
        const json_t *x = json_array_get(v, i);
        double        d = json_is_number(x) ? json_number_value(x) : -1;
        if (!(d > 0 && d < 1e6)) return HONE_FAIL(err, HONE_EINPUT, CONFIG, "\"%s\"[%u] is no positive number", key, i);
        f[i] = (float)d;
    }
    *out = f;
    return HONE_OK;
}

static hone_code need(const json_t *rope, const char *type, const char *key, double lo, double hi, double *out, hone_err *err)
{
    if (!hone_config_has(rope, key)) return HONE_FAIL(err, HONE_EINPUT, CONFIG, "rope scaling \"%s\" needs \"%s\"", type, key);
    return hone_config_number(rope, key, lo, hi, out, err);
}

/* The formulas of transformers/modeling_rope_utils.py; only their inputs are kept here. */
static hone_code scaling(const json_t *c, const json_t *rope, hone_arena *a, hone_facts *f, hone_err *err)
{
    hone_rope  *r = &f->rope;
    const char *type = NULL;
    char        shown[64];
    HONE_TRY(hone_json_str(rope, "rope_type", &type, err));
    if (!type) HONE_TRY(hone_json_str(rope, "type", &type, err));
    if (!type || strcmp(type, "default") == 0) return HONE_OK;

    r->original_context = f->context;
    HONE_TRY(hone_json_u32(c, "original_max_position_embeddings", &r->original_context, err));
    HONE_TRY(hone_json_u32(rope, "original_max_position_embeddings", &r->original_context, err));
    if (r->original_context == 0) return HONE_FAIL(err, HONE_EINPUT, CONFIG, "\"original_max_position_embeddings\" is 0");

    if (strcmp(type, "linear") == 0 || strcmp(type, "dynamic") == 0) {
        r->scaling = type[0] == 'l' ? HONE_ROPE_SCALE_LINEAR : HONE_ROPE_SCALE_DYNAMIC;
        return need(rope, type, "factor", 1, 1e6, &r->factor, err);
    }
    if (strcmp(type, "llama3") == 0) {
        r->scaling = HONE_ROPE_SCALE_LLAMA3;
        HONE_TRY(need(rope, type, "factor", 1, 1e6, &r->factor, err));
        HONE_TRY(need(rope, type, "low_freq_factor", 1e-6, 1e6, &r->low_freq, err));
        HONE_TRY(need(rope, type, "high_freq_factor", 1e-6, 1e6, &r->high_freq, err));
        if (!(r->high_freq > r->low_freq))
            return HONE_FAIL(err, HONE_EINPUT, CONFIG, "\"high_freq_factor\" is %g, needs more than \"low_freq_factor\" %g", r->high_freq,
                             r->low_freq);
        return HONE_OK;
    }
    if (strcmp(type, "yarn") == 0 && !hone_config_has(rope, "long_factor")) {
        bool truncate = true;
        r->scaling = HONE_ROPE_SCALE_YARN;
        r->beta_fast = 32;
        r->beta_slow = 1;
        HONE_TRY(need(rope, type, "factor", 1, 1e6, &r->factor, err));
        HONE_TRY(hone_config_number(rope, "beta_fast", 1e-6, 1e6, &r->beta_fast, err));
        HONE_TRY(hone_config_number(rope, "beta_slow", 1e-6, 1e6, &r->beta_slow, err));
        /* MLX's folders say a factor below 1 by a negative mscale (formats/mlx/config.c). */
        HONE_TRY(hone_config_number(rope, "mscale", -1e3, 1e3, &r->mscale, err));
        HONE_TRY(hone_config_number(rope, "mscale_all_dim", 0, 1e3, &r->mscale_all_dim, err));
        HONE_TRY(hone_config_number(rope, "attention_factor", 1e-6, 1e3, &r->attn_factor, err));
        HONE_TRY(hone_json_bool(rope, "truncate", &truncate, err));
        if (!truncate) return HONE_FAIL(err, HONE_EUNSUPPORTED, "", "rope scaling \"yarn\" with \"truncate\" false is not supported");
        if (r->attn_factor == 0 && r->mscale > 0 && r->mscale_all_dim > 0) {
            double l = r->factor > 1 ? 0.1 * log(r->factor) : 0;
            r->attn_factor = (r->mscale * l + 1) / (r->mscale_all_dim * l + 1);
        }
        return HONE_OK;
    }
    /* Phi-3 called it "su" and "yarn" before it was named (configuration_phi3.py, _rope_scaling_adjustment). */
    if (strcmp(type, "longrope") == 0 || strcmp(type, "su") == 0 || strcmp(type, "yarn") == 0) {
        r->scaling = HONE_ROPE_SCALE_LONGROPE;
        HONE_TRY(factors(rope, "long_factor", r->dim / 2, a, &r->long_factors, err));
        HONE_TRY(factors(rope, "short_factor", r->dim / 2, a, &r->short_factors, err));
        double factor = 0;
        HONE_TRY(hone_config_number(rope, "factor", 1, 1e6, &factor, err));
        HONE_TRY(hone_config_number(rope, "attention_factor", 1e-6, 1e3, &r->attn_factor, err));
        if (r->original_context != f->context || factor == 0) factor = (double)f->context / r->original_context;
        if (r->attn_factor == 0)
            r->attn_factor = factor > 1 && r->original_context > 1 ? sqrt(1 + log(factor) / log(r->original_context)) : 1;
        return HONE_OK;
    }
    return HONE_FAIL(err, HONE_EUNSUPPORTED, "known are default, linear, dynamic, llama3, yarn and longrope",
                     "rope type \"%s\" is not supported", hone_text_show(type, strlen(type), shown, sizeof shown));
}

hone_code hone_config_rope(const json_t *c, double theta, double fraction, hone_arena *a, hone_facts *f, hone_err *err)
{
    hone_rope    *r = &f->rope;
    const json_t *rope = json_object_get(c, "rope_parameters"), *local = NULL; /* transformers 5 */
    if (!rope || json_is_null(rope)) rope = json_object_get(c, "rope_scaling");
    if (rope && !json_is_null(rope) && !json_is_object(rope))
        return HONE_FAIL(err, HONE_EINPUT, CONFIG, "\"rope_scaling\" or \"rope_parameters\" is no object");
    if (json_is_object(json_object_get(rope, "full_attention"))) { /* one object per layer type */
        local = json_object_get(rope, "sliding_attention");
        rope = json_object_get(rope, "full_attention");
    }
    r->kind = HONE_ROPE_HALVES;
    r->factor = 1;
    r->base = theta;
    HONE_TRY(hone_config_number(c, "rope_theta", 1, 1e15, &r->base, err));
    HONE_TRY(hone_config_number(rope, "rope_theta", 1, 1e15, &r->base, err));
    HONE_TRY(hone_config_number(local, "rope_theta", 1, 1e15, &r->local_base, err));
    HONE_TRY(hone_config_number(c, "partial_rotary_factor", 0, 1, &fraction, err));
    HONE_TRY(hone_config_number(rope, "partial_rotary_factor", 0, 1, &fraction, err));
    r->dim = (uint32_t)(f->head_dim * fraction); /* int() of transformers */
    if (r->dim == 0 || r->dim % 2)
        return HONE_FAIL(err, HONE_EINPUT, CONFIG, "%g of a head of %u elements is %u, rotary embedding needs an even number", fraction,
                         f->head_dim, r->dim);
    return json_is_object(rope) ? scaling(c, rope, a, f, err) : HONE_OK;
}

/* ---- windows ---- */

bool hone_window_pattern(uint32_t layer, uint32_t arg) { return arg != 0 && (layer + 1) % arg != 0; }
bool hone_window_from(uint32_t layer, uint32_t arg) { return layer >= arg; }

hone_code hone_config_window(const json_t *c, uint32_t fallback, uint32_t *out, hone_err *err)
{
    uint32_t w = json_object_get(c, "sliding_window") ? 0 : fallback;
    HONE_TRY(hone_json_u32(c, "sliding_window", &w, err));
    *out = w;
    return HONE_OK;
}

hone_code hone_config_windowed(const json_t *c, uint32_t window, bool (*rule)(uint32_t, uint32_t), uint32_t arg, hone_arena *a,
                               hone_facts *f, hone_err *err)
{
    const json_t *types = json_object_get(c, "layer_types");
    uint32_t      n = f->n_layers, count = 0;
    bool         *on = HONE_ARENA_NEW(a, bool, n);
    if (!on) return HONE_NOMEM(err, "layer types");
    if (types && !json_is_null(types)) {
        if (!json_is_array(types) || json_array_size(types) != n)
            return HONE_FAIL(err, HONE_EINPUT, CONFIG, "\"layer_types\" has %zu entries, \"num_hidden_layers\" is %u",
                             json_array_size(types), n);
        for (uint32_t i = 0; i < n; i++) {
            const char *t = json_string_value(json_array_get(types, i));
            if (t && strcmp(t, "sliding_attention") == 0) on[i] = true;
            else if (!t || strcmp(t, "full_attention") != 0) {
                char shown[64];
                if (!t) t = "(no string)";
                return HONE_FAIL(err, HONE_EUNSUPPORTED, "known are full_attention and sliding_attention",
                                 "\"layer_types\"[%u] is \"%s\"", i, hone_text_show(t, strlen(t), shown, sizeof shown));
            }
        }
    } else
        for (uint32_t i = 0; i < n; i++) on[i] = !rule || rule(i, arg);
    for (uint32_t i = 0; i < n; i++) count += on[i];
    if (window == 0 && count && types && !json_is_null(types))
        return HONE_FAIL(err, HONE_EINPUT, CONFIG, "\"layer_types\" has %u sliding_attention layers, \"sliding_window\" names no window", count);
    f->window = count ? window : 0;
    f->windowed = NULL;
    f->window_pattern = 0;
    if (f->window == 0 || count == n) return HONE_OK;
    f->windowed = on;
    for (uint32_t p = 2; p <= n && !f->window_pattern; p++) {
        uint32_t i = 0;
        while (i < n && on[i] == hone_window_pattern(i, p)) i++;
        if (i == n) f->window_pattern = p;
    }
    return HONE_OK;
}

/* ---- the common decoder ---- */

hone_code hone_config_token(const json_t *c, const char *key, int64_t *out, hone_err *err)
{
    const json_t *v = json_object_get(c, key);
    if (json_is_array(v)) v = json_array_get(v, 0); /* several end tokens: the first is the one people mean */
    if (!v || json_is_null(v)) return HONE_OK;
    if (!json_is_integer(v) || json_integer_value(v) < -1 || json_integer_value(v) > INT32_MAX)
        return HONE_FAIL(err, HONE_EINPUT, CONFIG, "\"%s\" is no token id", key);
    *out = json_integer_value(v);
    return HONE_OK;
}

hone_code hone_config_decoder(const json_t *c, const hone_config_defaults *d, hone_arena *a, hone_facts *f, hone_err *err)
{
    f->n_layers = d->layers;
    f->hidden = d->hidden;
    f->n_heads = d->heads;
    f->ffn = d->ffn;
    f->vocab = d->vocab;
    f->context = d->context;
    f->norm = d->norm;
    f->norm_eps = d->eps;
    f->norm_pre = true;
    f->act = d->act;
    f->ffn_gated = true;
    f->tied = d->tied;
    HONE_TRY(hone_json_u32(c, "num_hidden_layers", &f->n_layers, err));
    HONE_TRY(hone_json_u32(c, "hidden_size", &f->hidden, err));
    HONE_TRY(hone_json_u32(c, "num_attention_heads", &f->n_heads, err));
    HONE_TRY(hone_json_u32(c, "intermediate_size", &f->ffn, err));
    HONE_TRY(hone_json_u32(c, "vocab_size", &f->vocab, err));
    HONE_TRY(hone_json_u32(c, "max_position_embeddings", &f->context, err));
    HONE_TRY(hone_json_bool(c, "tie_word_embeddings", &f->tied, err));
    HONE_TRY(hone_config_number(c, d->eps_key, 0, 1, &f->norm_eps, err));
    HONE_TRY(hone_config_act(c, d->act_key, &f->act, err));

    f->n_kv_heads = !json_object_get(c, "num_key_value_heads") && d->kv_heads ? d->kv_heads : f->n_heads;
    HONE_TRY(hone_json_u32(c, "num_key_value_heads", &f->n_kv_heads, err));
    if (f->n_heads == 0) return HONE_FAIL(err, HONE_EINPUT, CONFIG, "\"num_attention_heads\" is 0");
    if (!json_object_get(c, "head_dim") && d->head_dim) f->head_dim = d->head_dim;
    else if (!hone_config_has(c, "head_dim")) {
        if (f->hidden % f->n_heads)
            return HONE_FAIL(err, HONE_EINPUT, CONFIG, "\"hidden_size\" %u is no multiple of \"num_attention_heads\" %u", f->hidden,
                             f->n_heads);
        f->head_dim = f->hidden / f->n_heads;
    }
    HONE_TRY(hone_json_u32(c, "head_dim", &f->head_dim, err));
    if (f->head_dim == 0 || f->head_dim > MAX_WIDTH)
        return HONE_FAIL(err, HONE_EINPUT, CONFIG, "a head has %u elements, needs 1..%u", f->head_dim, MAX_WIDTH);
    f->attn_scale = 1 / sqrt(f->head_dim);

    HONE_TRY(hone_config_token(c, "bos_token_id", &f->bos, err));
    HONE_TRY(hone_config_token(c, "eos_token_id", &f->eos, err));
    HONE_TRY(hone_config_token(c, "pad_token_id", &f->pad, err));
    if (d->theta > 0) HONE_TRY(hone_config_rope(c, d->theta, d->rope_fraction, a, f, err));
    return HONE_OK;
}

static hone_code range(const char *what, uint32_t v, uint32_t hi, hone_err *err)
{
    if (v == 0 || v > hi) return HONE_FAIL(err, HONE_EINPUT, CONFIG, "%s is %u, needs 1..%u", what, v, hi);
    return HONE_OK;
}

hone_code hone_config_check(const hone_facts *f, hone_err *err)
{
    HONE_TRY(range("the number of layers", f->n_layers, MAX_LAYERS, err));
    HONE_TRY(range("the hidden size", f->hidden, MAX_WIDTH, err));
    HONE_TRY(range("the number of heads", f->n_heads, MAX_WIDTH, err));
    HONE_TRY(range("the number of key-value heads", f->n_kv_heads, f->n_heads, err));
    HONE_TRY(range("the size of a head", f->head_dim, MAX_WIDTH, err));
    HONE_TRY(range("the vocabulary", f->vocab, 1u << 30, err));
    HONE_TRY(range("the context length", f->context, 1u << 30, err));
    HONE_TRY(range("the feed-forward size", f->ffn, MAX_WIDTH, err));
    if (f->n_heads % f->n_kv_heads)
        return HONE_FAIL(err, HONE_EINPUT, CONFIG, "%u heads cannot share %u key-value heads evenly", f->n_heads, f->n_kv_heads);
    if (!(f->norm_eps > 0)) return HONE_FAIL(err, HONE_EINPUT, CONFIG, "the norm's epsilon is %g, needs more than 0", f->norm_eps);
    if (f->n_experts) {
        HONE_TRY(range("the number of experts", f->n_experts, MAX_EXPERTS, err));
        HONE_TRY(range("the number of experts used", f->n_experts_used, f->n_experts, err));
        HONE_TRY(range("the experts' feed-forward size", f->expert_ffn, MAX_WIDTH, err));
    }
    return HONE_OK;
}
