#include "formats/gguf/config.h"
#include "base/text.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const char AGAIN[] = "fetch the file again, or convert the checkpoint that it was made from";

typedef struct maker {
    const hone_gguf        *g;
    const hone_gguf_family *f;
    json_t                 *out;
    hone_err               *err;
} maker;

/* ---- keys ---- */

static bool number_of(const hone_gguf_value *v, double *out)
{
    if (!v) return false;
    switch (v->type) {
    case HONE_GGUF_U8:
    case HONE_GGUF_U16:
    case HONE_GGUF_U32:
    case HONE_GGUF_U64: *out = (double)v->as.u; return true;
    case HONE_GGUF_I8:
    case HONE_GGUF_I16:
    case HONE_GGUF_I32:
    case HONE_GGUF_I64: *out = (double)v->as.i; return true;
    case HONE_GGUF_F32:
    case HONE_GGUF_F64: *out = v->as.f; return true;
    case HONE_GGUF_BOOL: *out = v->as.b; return true;
    case HONE_GGUF_STRING:
    case HONE_GGUF_ARRAY: return false;
    }
    return false;
}

static const hone_gguf_value *find(const hone_gguf *g, const char *arch, const char *tail)
{
    char key[192];
    int  n = snprintf(key, sizeof key, "%s.%s", arch, tail);
    return n > 0 && (size_t)n < sizeof key ? hone_gguf_find(g, key) : NULL;
}

bool hone_gguf_number(const hone_gguf *g, const char *arch, const char *tail, double *out) { return number_of(find(g, arch, tail), out); }

bool hone_gguf_architecture(const hone_gguf *g, char *buf, size_t cap)
{
    const hone_gguf_value *v = hone_gguf_find(g, "general.architecture");
    if (!v || v->type != HONE_GGUF_STRING || v->as.s.len >= cap) return false;
    memcpy(buf, v->as.s.ptr, (size_t)v->as.s.len);
    buf[v->as.s.len] = '\0';
    return true;
}

hone_pooling hone_gguf_pooling(const hone_gguf *g, const char *arch)
{
    double v = 0;
    if (!hone_gguf_number(g, arch, "pooling_type", &v)) return HONE_POOL_NONE;
    return v == 1 ? HONE_POOL_MEAN : v == 2 ? HONE_POOL_CLS : v == 3 ? HONE_POOL_LAST : HONE_POOL_NONE;
}

static bool get(const maker *m, const char *tail, double *out) { return hone_gguf_number(m->g, m->f->arch->name, tail, out); }
static bool has(const maker *m, const char *tensor) { return hone_source_find(m->g->source, tensor) != NULL; }

static bool wants(const maker *m, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = m->f->words; (p = strstr(p, word)); p += n)
        if ((p == m->f->words || p[-1] == ' ') && (p[n] == ' ' || p[n] == '\0')) return true;
    return false;
}

static hone_code put(maker *m, const char *word, json_t *value)
{
    return hone_json_put(m->out, word, value) ? HONE_OK : HONE_NOMEM(m->err, "config.json");
}

static bool is_whole(double v) { return v >= 0 && v < 4294967296.0; }
static json_t *whole(double v) { return is_whole(v) ? json_integer((json_int_t)v) : NULL; }

/* A float32 of the file in the fewest digits that mean it: 0.00001 was written, not 0.0000099999997. */
static json_t *shortest(double v)
{
    char text[40];
    for (int digits = 1; digits < 9; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, v);
        if ((float)strtod(text, NULL) == (float)v) return json_real(strtod(text, NULL));
    }
    return json_real(v);
}

/* A number that is NaN, infinite or beyond what a double counts has no place in a config.json. */
static hone_code check_numbers(const maker *m)
{
    const char *arch = m->f->arch->name;
    size_t      n = strlen(arch);
    for (size_t i = 0; i < m->g->n_kv; i++) {
        const hone_gguf_kv *kv = &m->g->kv[i];
        double              v = 0;
        char                shown[96];
        if (kv->key.len <= n || memcmp(kv->key.ptr, arch, n) != 0 || kv->key.ptr[n] != '.' || !number_of(&kv->value, &v) || fabs(v) <= 0x1p53) continue;
        return HONE_FAIL(m->err, HONE_EINPUT, AGAIN, "the key '%s' is %g, needs a number of at most 2^53", hone_text_show(kv->key.ptr, (size_t)kv->key.len, shown, sizeof shown), v);
    }
    return HONE_OK;
}

/* ---- what is one key there and here ---- */

typedef enum kind { WHOLE, WHOLE_OR_NULL, REAL, FLAG } kind;

static const struct { const char *word, *tail; kind kind; bool needed; } rows[] = {
    { "hidden_size", "embedding_length", WHOLE, true },
    { "n_embd", "embedding_length", WHOLE, true },
    { "num_hidden_layers", "block_count", WHOLE, true },
    { "n_layer", "block_count", WHOLE, true },
    { "num_attention_heads", "attention.head_count", WHOLE, true },
    { "n_head", "attention.head_count", WHOLE, true },
    { "intermediate_size", "feed_forward_length", WHOLE, true },
    { "n_inner", "feed_forward_length", WHOLE, true },
    { "max_position_embeddings", "context_length", WHOLE, true },
    { "n_positions", "context_length", WHOLE, true },
    { "sliding_window", "attention.sliding_window", WHOLE_OR_NULL, false },
    { "original_max_position_embeddings", "rope.scaling.original_context_length", WHOLE, false },
    { "num_local_experts", "expert_count", WHOLE, true },
    { "num_experts", "expert_count", WHOLE, true },
    { "num_experts_per_tok", "expert_used_count", WHOLE, true },
    { "moe_intermediate_size", "expert_feed_forward_length", WHOLE, true },
    { "rms_norm_eps", "attention.layer_norm_rms_epsilon", REAL, true },
    { "layer_norm_eps", "attention.layer_norm_epsilon", REAL, true },
    { "layer_norm_epsilon", "attention.layer_norm_epsilon", REAL, true },
    { "norm_epsilon", "attention.layer_norm_epsilon", REAL, true },
    { "rope_theta", "rope.freq_base", REAL, false },
    { "rotary_emb_base", "rope.freq_base", REAL, false },
    { "rope_local_base_freq", "rope.freq_base_swa", REAL, false },
    { "attn_logit_softcapping", "attn_logit_softcapping", REAL, false },
    { "final_logit_softcapping", "final_logit_softcapping", REAL, false },
    { "attention_multiplier", "attention.scale", REAL, false },
    { "embedding_multiplier", "embedding_scale", REAL, false },
    { "residual_multiplier", "residual_scale", REAL, false },
    { "logits_scaling", "logit_scale", REAL, false },
    { "use_parallel_residual", "use_parallel_residual", FLAG, false },
};

static hone_code put_rows(maker *m)
{
    for (size_t i = 0; i < HONE_COUNT(rows); i++) {
        double  v = 0;
        json_t *value;
        if (!wants(m, rows[i].word)) continue;
        if (!get(m, rows[i].tail, &v)) {
            if (!rows[i].needed) continue;
            return HONE_FAIL(m->err, HONE_EINPUT, AGAIN, "the key '%s.%s' is missing or no number", m->f->arch->name, rows[i].tail);
        }
        if (rows[i].kind != REAL && !is_whole(v))
            return HONE_FAIL(m->err, HONE_EINPUT, AGAIN, "the key '%s.%s' is %g, needs 0..4294967295", m->f->arch->name, rows[i].tail, v);
        if (rows[i].kind == FLAG) value = json_boolean(v != 0);
        else if (rows[i].kind == REAL) value = shortest(v);
        else value = v == 0 && rows[i].kind == WHOLE_OR_NULL ? json_null() : whole(v);
        HONE_TRY(put(m, rows[i].word, value));
    }
    return HONE_OK;
}

/* ---- what llama.cpp's loader assumes, or the tensors tell ---- */

static hone_code put_heads(maker *m, double *head_dim)
{
    double heads = 0, kv, hidden = 0;
    if (!get(m, "attention.head_count", &heads) || !get(m, "embedding_length", &hidden) || heads < 1 || heads > hidden)
        return HONE_FAIL(m->err, HONE_EINPUT, AGAIN, "%g heads do not fit into %g elements", heads, hidden);
    if (!get(m, "attention.head_count_kv", &kv)) kv = heads;
    if (!(kv >= 1 && kv <= heads)) return HONE_FAIL(m->err, HONE_EINPUT, AGAIN, "%g heads cannot share %g key-value heads", heads, kv);
    *head_dim = floor(hidden / heads);
    (void)get(m, "attention.key_length", head_dim);
    if (!(*head_dim >= 1 && *head_dim < 16777216)) return HONE_FAIL(m->err, HONE_EINPUT, AGAIN, "a head has %g elements", *head_dim);
    if (wants(m, "num_key_value_heads")) HONE_TRY(put(m, "num_key_value_heads", whole(kv)));
    if (wants(m, "head_dim")) HONE_TRY(put(m, "head_dim", whole(*head_dim)));
    if (!wants(m, "query_pre_attn_scalar")) return HONE_OK;
    double layers = 0; /* the built-in scale: gemma2.cpp and gemma3.cpp, load_arch_hparams */
    bool   wide = m->f->arch->wide_scale_layers && get(m, "block_count", &layers) && layers == m->f->arch->wide_scale_layers;
    return put(m, "query_pre_attn_scalar", whole(wide ? floor(hidden / heads) : *head_dim));
}

#define CHUNK ((size_t)1 << 20)

/* llama.cpp insists on a head of its own for some families: a tied one stands in the file twice.  Two heads that differ do so soon. */
static hone_code is_tied(maker *m, bool *tied)
{
    const hone_source *s = m->g->source;
    const hone_tensor *a = hone_source_find(s, "token_embd.weight"), *b = hone_source_find(s, "output.weight");
    *tied = !b;
    if (!a || !b || !(m->f->arch->flags & HONE_GGUF_HEAD_APART) || a->dtype != b->dtype || a->bytes != b->bytes) return HONE_OK;
    uint8_t  *both = malloc(2 * CHUNK);
    hone_code code = both ? HONE_OK : HONE_NOMEM(m->err, "a comparison");
    bool      same = true;
    for (uint64_t at = 0; code == HONE_OK && same && at < a->bytes; at += CHUNK) {
        size_t n = a->bytes - at < CHUNK ? (size_t)(a->bytes - at) : CHUNK;
        code = s->read(s, a, at, both, n, m->err);
        if (code == HONE_OK) code = s->read(s, b, at, both + CHUNK, n, m->err);
        same = code == HONE_OK && memcmp(both, both + CHUNK, n) == 0;
    }
    free(both);
    if (code == HONE_OK) *tied = same;
    return code;
}

static hone_code put_tensors_told(maker *m)
{
    bool tied;
    HONE_TRY(is_tied(m, &tied));
    const struct { const char *word; bool value; } told[] = {
        { "tie_word_embeddings", tied },
        { "attention_bias", has(m, "blk.0.attn_q.bias") || has(m, "blk.0.attn_qkv.bias") },
        { "use_qkv_bias", has(m, "blk.0.attn_q.bias") },
        { "mlp_bias", has(m, "blk.0.ffn_up.bias") },
        { "use_bias", has(m, "blk.0.ffn_up.bias") },
        { "qk_layernorm", has(m, "blk.0.attn_q_norm.weight") },
        { "norm_topk_prob", (m->f->arch->flags & HONE_GGUF_NORM_TOPK) != 0 },
    };
    for (size_t i = 0; i < HONE_COUNT(told); i++)
        if (wants(m, told[i].word)) HONE_TRY(put(m, told[i].word, json_boolean(told[i].value)));
    /* StableLM: one norm before both halves of a layer means that they run in parallel. */
    if (wants(m, "use_parallel_residual") && !json_object_get(m->out, "use_parallel_residual"))
        HONE_TRY(put(m, "use_parallel_residual", json_boolean(!has(m, "blk.0.ffn_norm.weight"))));
    const hone_tensor *t = hone_source_find(m->g->source, "token_embd.weight"), *types = hone_source_find(m->g->source, "token_types.weight");
    if (!t || t->n_dims != 2) return HONE_FAIL(m->err, HONE_EINPUT, AGAIN, "the tensor 'token_embd.weight' is missing or no matrix");
    if (wants(m, "type_vocab_size") && types && types->n_dims == 2) HONE_TRY(put(m, "type_vocab_size", whole((double)types->dims[0])));
    return put(m, "vocab_size", whole((double)t->dims[0]));
}

static hone_code put_layer_types(maker *m)
{
    const hone_gguf_value *v = find(m->g, m->f->arch->name, "attention.sliding_window_pattern");
    double                 layers = 0;
    if (!wants(m, "layer_types") || !v || v->type != HONE_GGUF_ARRAY || v->elem != HONE_GGUF_BOOL) return HONE_OK;
    if (!get(m, "block_count", &layers) || (double)v->n != layers)
        return HONE_FAIL(m->err, HONE_EINPUT, AGAIN, "sliding_window_pattern tells of %llu layers, there are %g", (unsigned long long)v->n, layers);
    json_t *list = json_array();
    bool    good = list != NULL;
    for (uint64_t i = 0; good && i < v->n; i++)
        good = json_array_append_new(list, json_string(((const uint8_t *)v->as.array)[i] ? "sliding_attention" : "full_attention")) == 0;
    if (good) return put(m, "layer_types", list);
    json_decref(list);
    return HONE_NOMEM(m->err, "config.json");
}

/* ---- rotation ---- */

/* n float32 numbers of a tensor; *out owned by the caller. */
static hone_code numbers(maker *m, const char *name, uint64_t n, float **out)
{
    const hone_tensor *t = hone_source_find(m->g->source, name);
    if (!t || t->dtype != HONE_DTYPE_F32 || t->n_dims != 1 || t->dims[0] != n)
        return HONE_FAIL(m->err, HONE_EINPUT, AGAIN, "the tensor '%s' is missing, or not %llu numbers of f32", name, (unsigned long long)n);
    uint8_t *raw = malloc((size_t)n * 4 + 1);
    float   *x = malloc((size_t)n * sizeof *x + 1);
    hone_code code = raw && x ? m->g->source->read(m->g->source, t, 0, raw, (size_t)n * 4, m->err) : HONE_NOMEM(m->err, "rope factors");
    for (uint64_t i = 0; code == HONE_OK && i < n; i++) {
        uint32_t w = hone_le32(raw + 4 * i);
        memcpy(&x[i], &w, 4);
        if (!(x[i] > 0 && x[i] < 1e6f)) code = HONE_FAIL(m->err, HONE_EINPUT, AGAIN, "'%s' holds %g, needs a positive number", name, (double)x[i]);
    }
    free(raw);
    if (code == HONE_OK) *out = x;
    else free(x);
    return code;
}

static json_t *list_of(const float *x, uint64_t n)
{
    json_t *list = json_array();
    for (uint64_t i = 0; list && i < n; i++)
        if (json_array_append_new(list, shortest((double)x[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static hone_code put_longrope(maker *m, json_t *rope, uint64_t n)
{
    static const struct { const char *tensor, *word; } both[] = { { "rope_factors_long.weight", "long_factor" }, { "rope_factors_short.weight", "short_factor" } };
    for (size_t i = 0; i < HONE_COUNT(both); i++) {
        float *x = NULL;
        HONE_TRY(numbers(m, both[i].tensor, n, &x));
        bool good = hone_json_put(rope, both[i].word, list_of(x, n));
        free(x);
        if (!good) return HONE_NOMEM(m->err, "config.json");
    }
    double context = 0, original = 0, factor = 1;
    (void)get(m, "context_length", &context);
    if (!get(m, "rope.scaling.original_context_length", &original)) original = context;
    if (!is_whole(original) || !hone_json_put(rope, "original_max_position_embeddings", whole(original)))
        return HONE_FAIL(m->err, HONE_EINPUT, AGAIN, "the original context of the rotation is %g tokens", original);
    if (!get(m, "rope.scaling.attn_factor", &factor)) return HONE_OK;
    double own = context > original && original > 1 ? sqrt(1 + log(context / original) / log(original)) : 1; /* arXiv:2402.13753 */
    if (fabs(factor - own) > 1e-6 && !hone_json_put(rope, "attention_factor", shortest(factor))) return HONE_NOMEM(m->err, "config.json");
    return HONE_OK;
}

/* The file holds divisors only: 1 for short waves, the factor for long ones, between them 1 / ((1 - s) / factor + s) with
 * s = (original / wave - low) / (high - low) (conversion/llama.py).  Two of those in between give original/(high-low) and low/(high-low); only
 * their ratios matter, so low is taken as 1 where that makes the original context a whole number, which it does for every model known. */
static hone_code put_llama3(maker *m, json_t *rope, uint64_t n, double base)
{
    float    *d = NULL;
    HONE_TRY(numbers(m, "rope_freqs.weight", n, &d));
    double factor = 1, sx = 0, sy = 0, sxx = 0, sxy = 0, count = 0, short_wave = 0, long_wave = 0;
    for (uint64_t i = 0; i < n; i++) factor = fmax(factor, (double)d[i]);
    for (uint64_t i = 0; i < n; i++) {
        double x = 1 / (6.283185307179586 * pow(base, (double)(2 * i) / (double)(2 * n))); /* 1 / wave */
        if (d[i] == 1) short_wave = 1 / x; /* the longest of them */
        else if ((double)d[i] >= factor) long_wave = long_wave > 0 ? long_wave : 1 / x;
        else {
            double s = (1 / (double)d[i] - 1 / factor) / (1 - 1 / factor);
            sx += x, sy += s, sxx += x * x, sxy += x * s, count++;
        }
    }
    free(d);
    if (factor == 1) return HONE_OK;
    double original, high;
    if (count >= 2) {
        double a = (count * sxy - sx * sy) / (count * sxx - sx * sx), low = -(sy - a * sx) / count; /* s = a x - low */
        original = a / low;
        high = (1 + low) / low;
        if (!(original >= 1 && is_whole(original) && high > 1 && high < 1e6))
            return HONE_FAIL(m->err, HONE_EUNSUPPORTED, "convert the checkpoint that the file was made from",
                             "the rotation's divisors in 'rope_freqs.weight' are not those of llama3 scaling");
    } else { /* anything between the last short and the first long wave says the same */
        original = sqrt(short_wave * (long_wave > 0 ? long_wave : 4 * short_wave));
        high = 4;
        if (!is_whole(original) || count == 1 || short_wave == 0 || original / high < short_wave || (long_wave > 0 && original > long_wave))
            return HONE_FAIL(m->err, HONE_EUNSUPPORTED, "convert the checkpoint that the file was made from",
                             "the rotation's divisors in 'rope_freqs.weight' are too few to tell the scaling");
    }
    bool good = hone_json_put(rope, "factor", shortest(factor)) && hone_json_put(rope, "low_freq_factor", json_real(1)) &&
                hone_json_put(rope, "high_freq_factor", json_real(rint(high * 1e4) / 1e4)) &&
                hone_json_put(rope, "original_max_position_embeddings", whole(rint(original)));
    return good ? HONE_OK : HONE_NOMEM(m->err, "config.json");
}

static hone_code put_yarn(maker *m, json_t *rope)
{
    double original = 0, factor = 1, told = 0, ratio = 1;
    bool   good = get(m, "rope.scaling.original_context_length", &original) && get(m, "rope.scaling.factor", &factor) && is_whole(original);
    if (!good) return HONE_FAIL(m->err, HONE_EINPUT, AGAIN, "rope scaling is yarn, its factor or original context is not told");
    good = hone_json_put(rope, "original_max_position_embeddings", whole(original));
    bool own = get(m, "rope.scaling.yarn_attn_factor", &told);
    if (!own && get(m, "rope.scaling.attn_factor", &ratio) && ratio != 1) told = ratio * (factor > 1 ? 0.1 * log(factor) + 1 : 1), own = true;
    if (own) good = good && hone_json_put(rope, "attention_factor", shortest(told));
    if (get(m, "rope.scaling.yarn_beta_fast", &told)) good = good && hone_json_put(rope, "beta_fast", shortest(told));
    if (get(m, "rope.scaling.yarn_beta_slow", &told)) good = good && hone_json_put(rope, "beta_slow", shortest(told));
    return good ? HONE_OK : HONE_NOMEM(m->err, "config.json");
}

static hone_code fill_scaling(maker *m, json_t *rope, const char *type, double head_dim)
{
    double dim = head_dim, base = 10000, factor = 0;
    (void)get(m, "rope.dimension_count", &dim);
    (void)get(m, "rope.freq_base", &base);
    uint64_t n = (uint64_t)(dim / 2);
    if (!hone_json_put(rope, "rope_type", json_string(type))) return HONE_NOMEM(m->err, "config.json");
    if (!hone_json_put(rope, "type", json_string(type))) return HONE_NOMEM(m->err, "config.json");
    if (strcmp(type, "llama3") == 0) return put_llama3(m, rope, n, base);
    if (strcmp(type, "longrope") == 0) return put_longrope(m, rope, n);
    if (!get(m, "rope.scaling.factor", &factor)) return HONE_FAIL(m->err, HONE_EINPUT, AGAIN, "rope scaling is %s, its factor is not told", type);
    if (!hone_json_put(rope, "factor", shortest(factor))) return HONE_NOMEM(m->err, "config.json");
    return strcmp(type, "yarn") == 0 ? put_yarn(m, rope) : HONE_OK;
}

static hone_code put_rotation(maker *m, double head_dim)
{
    double dim = head_dim;
    if (get(m, "rope.dimension_count", &dim) && !(dim >= 2 && dim <= head_dim))
        return HONE_FAIL(m->err, HONE_EINPUT, AGAIN, "%g of %g elements of a head are rotated", dim, head_dim);
    if (dim != head_dim) {
        const char *word = wants(m, "rotary_pct") ? "rotary_pct" : "partial_rotary_factor";
        if (wants(m, word)) HONE_TRY(put(m, word, json_real(dim / head_dim)));
    } else if (wants(m, "rotary_pct") || wants(m, "partial_rotary_factor"))
        HONE_TRY(put(m, wants(m, "rotary_pct") ? "rotary_pct" : "partial_rotary_factor", json_real(1)));
    /* llama.cpp's own default. */
    if (wants(m, "rope_theta") && !json_object_get(m->out, "rope_theta")) HONE_TRY(put(m, "rope_theta", json_real(10000)));
    if (wants(m, "rotary_emb_base") && !json_object_get(m->out, "rotary_emb_base")) HONE_TRY(put(m, "rotary_emb_base", json_real(10000)));
    if (!wants(m, "rope_scaling")) return HONE_OK;
    const hone_gguf_value *v = find(m->g, m->f->arch->name, "rope.scaling.type");
    char                   type[16] = "";
    if (v && v->type == HONE_GGUF_STRING && v->as.s.len < sizeof type) memcpy(type, v->as.s.ptr, (size_t)v->as.s.len);
    if (!type[0] && has(m, "rope_freqs.weight")) memcpy(type, "llama3", 7);
    if (!type[0] && has(m, "rope_factors_long.weight")) memcpy(type, "longrope", 9);
    if (!type[0] || strcmp(type, "none") == 0) return HONE_OK;
    static const char *const known[] = { "linear", "yarn", "longrope", "llama3" };
    for (size_t i = 0; i < HONE_COUNT(known); i++) {
        if (strcmp(type, known[i]) != 0) continue;
        json_t   *rope = json_object();
        hone_code code = rope ? fill_scaling(m, rope, known[i], head_dim) : HONE_NOMEM(m->err, "config.json");
        if (code == HONE_OK && json_object_get(rope, "factor") == NULL && strcmp(type, "llama3") == 0) { /* all divisors are 1 */
            json_decref(rope);
            return HONE_OK;
        }
        if (code == HONE_OK) return put(m, "rope_scaling", rope);
        json_decref(rope);
        return code;
    }
    return HONE_FAIL(m->err, HONE_EUNSUPPORTED, "known are linear, yarn and longrope", "rope scaling \"%s\" is not supported", type);
}

static hone_code put_ids(maker *m)
{
    static const struct { const char *word, *key; } ids[] = {
        { "bos_token_id", "tokenizer.ggml.bos_token_id" }, { "eos_token_id", "tokenizer.ggml.eos_token_id" }, { "pad_token_id", "tokenizer.ggml.padding_token_id" }
    };
    for (size_t i = 0; i < HONE_COUNT(ids); i++) {
        double v = 0;
        if (number_of(hone_gguf_find(m->g, ids[i].key), &v) && v >= 0 && v < 2147483648.0) HONE_TRY(put(m, ids[i].word, whole(v)));
    }
    return HONE_OK;
}

/* The type of most of the weights, if it is one that checkpoints have; a quantised file's numbers fit any. */
static const char *float_name(const hone_source *s)
{
    const hone_tensor *t = hone_source_find(s, "token_embd.weight");
    if (t && t->dtype == HONE_DTYPE_F32) return "float32";
    return t && t->dtype == HONE_DTYPE_F16 ? "float16" : "bfloat16";
}

static hone_code fill(maker *m)
{
    double  head_dim = 0;
    HONE_TRY(check_numbers(m));
    json_t *classes = json_pack("[s]", m->f->hf_class);
    HONE_TRY(put(m, "architectures", classes));
    HONE_TRY(put(m, "model_type", json_string(m->f->model_type)));
    HONE_TRY(put(m, "torch_dtype", json_string(float_name(m->g->source))));
    HONE_TRY(put_rows(m));
    HONE_TRY(put_heads(m, &head_dim));
    HONE_TRY(put_tensors_told(m));
    HONE_TRY(put_layer_types(m));
    HONE_TRY(put_rotation(m, head_dim));
    return put_ids(m);
}

hone_code hone_gguf_config(const hone_gguf *g, const hone_gguf_family *family, json_t **out, hone_err *err)
{
    maker m = { g, family, json_object(), err };
    if (!m.out) return HONE_NOMEM(err, "config.json");
    hone_code code = fill(&m);
    if (code == HONE_OK) *out = m.out;
    else json_decref(m.out);
    return code;
}
