#include "formats/gguf/meta.h"
#include <math.h>
#include <stdio.h>

#define QUANTIZATION_VERSION 2u /* GGML_QNT_VERSION */

static bool is_stacked(hone_role r) { return r == HONE_R_FFN_GATE_EXPS || r == HONE_R_FFN_UP_EXPS || r == HONE_R_FFN_DOWN_EXPS; }

const char *hone_gguf_size_label(const hone_weight *weights, size_t n, char *out, size_t cap)
{
    double   shared = 0, expert = 0, total = 0;
    uint64_t expert_sum = 0, stacked = 0;
    for (size_t i = 0; i < n; i++) {
        const hone_weight *w = &weights[i];
        double             elems = (double)hone_weight_elems(w);
        if (w->role == HONE_R_POOLER || w->role == HONE_R_IGNORED) continue; /* not in the file: gguf/names.c */
        total += elems;
        if (is_stacked(w->role) && w->dims[0]) {
            expert += elems / (double)w->dims[0];
            expert_sum += w->dims[0];
            stacked++;
        } else
            shared += elems;
    }
    uint64_t experts = stacked ? expert_sum / stacked : 0;
    double   v = experts ? shared + expert : total;
    char     unit = 'K';
    if (v > 1e12) v *= 1e-12, unit = 'T';
    else if (v > 1e9) v *= 1e-9, unit = 'B';
    else if (v > 1e6) v *= 1e-6, unit = 'M';
    else v *= 1e-3;
    /* At least two digits: those of the rounded number that a leading 0 leaves, the rest behind the point. */
    int decimals = rint(v) >= 10 ? 0 : rint(v) >= 1 ? 1 : 2;
    int len = experts ? snprintf(out, cap, "%llux%.*f%c", (unsigned long long)experts, decimals, v, unit) : snprintf(out, cap, "%.*f%c", decimals, v, unit);
    if (len < 0 && cap) out[0] = '\0';
    return out;
}

hone_code hone_gguf_put_general(hone_gguf_writer *w, const hone_model *m, const char *arch_name, uint32_t file_type, hone_err *err)
{
    char label[32];
    HONE_TRY(hone_gguf_put_str(w, "general.architecture", arch_name, err));
    HONE_TRY(hone_gguf_put_str(w, "general.type", "model", err));
    char name[256];
    if (m->facts.name && m->facts.name[0])
        HONE_TRY(hone_gguf_put_str(w, "general.name", hone_gguf_name_for(&m->tokenizer, m->facts.name, name, sizeof name), err));
    if (m->n_weights)
        HONE_TRY(hone_gguf_put_str(w, "general.size_label", hone_gguf_size_label(m->weights, m->n_weights, label, sizeof label), err));
    HONE_TRY(hone_gguf_put_u32(w, "general.file_type", file_type, err));
    return hone_gguf_put_u32(w, "general.quantization_version", QUANTIZATION_VERSION, err);
}

typedef struct keys { /* puts "<arch>.<tail>" */
    hone_gguf_writer *w;
    const char       *arch;
    hone_err         *err;
    hone_code         code; /* the first failure; later puts do nothing */
} keys;

static const char *key_of(keys *k, const char *tail, char buf[192])
{
    int n = snprintf(buf, 192, "%s.%s", k->arch, tail);
    if (n < 0 || n >= 192) k->code = HONE_FAIL(k->err, HONE_EBUG, "", "the GGUF key '%s.%s' is too long", k->arch, tail);
    return buf;
}

static void put_u32(keys *k, const char *tail, uint32_t v)
{
    char buf[192];
    if (k->code == HONE_OK) key_of(k, tail, buf);
    if (k->code == HONE_OK) k->code = hone_gguf_put_u32(k->w, buf, v, k->err);
}

static void put_f32(keys *k, const char *tail, double v)
{
    char buf[192];
    if (k->code == HONE_OK) key_of(k, tail, buf);
    if (k->code == HONE_OK) k->code = hone_gguf_put_f32(k->w, buf, (float)v, k->err);
}

static void put_bool(keys *k, const char *tail, bool v)
{
    char buf[192];
    if (k->code == HONE_OK) key_of(k, tail, buf);
    if (k->code == HONE_OK) k->code = hone_gguf_put_bool(k->w, buf, v, k->err);
}

static void put_str(keys *k, const char *tail, const char *v)
{
    char buf[192];
    if (k->code == HONE_OK) key_of(k, tail, buf);
    if (k->code == HONE_OK) k->code = hone_gguf_put_str(k->w, buf, v, k->err);
}

/* Longrope's own attention factor, arXiv:2402.13753; the same formula as conversion/phi.py. */
static double longrope_attention(const hone_facts *f)
{
    double original = f->rope.original_context, scale = original > 0 ? (double)f->context / original : 1;
    return scale > 1 && original > 1 ? sqrt(1 + log(scale) / log(original)) : 1;
}

static void put_rope(keys *k, const hone_facts *f, unsigned optional)
{
    const hone_rope *r = &f->rope;
    if (r->kind == HONE_ROPE_NONE) return;
    if ((optional & HONE_GGUF_KEY_ROPE_DIM) || r->dim != f->head_dim) put_u32(k, "rope.dimension_count", r->dim);
    if (!(optional & HONE_GGUF_KEY_NO_ROPE_BASE) || r->base != 10000.0) put_f32(k, "rope.freq_base", r->base);
    if (r->local_base != 0) put_f32(k, "rope.freq_base_swa", r->local_base);
    switch (r->scaling) {
    case HONE_ROPE_SCALE_LINEAR:
        put_str(k, "rope.scaling.type", "linear");
        put_f32(k, "rope.scaling.factor", r->factor);
        break;
    case HONE_ROPE_SCALE_YARN:
        put_str(k, "rope.scaling.type", "yarn");
        put_f32(k, "rope.scaling.factor", r->factor);
        put_u32(k, "rope.scaling.original_context_length", r->original_context);
        if (r->attn_factor != 0) {
            put_f32(k, "rope.scaling.yarn_attn_factor", r->attn_factor);
            /* Only grok reads that key.  For the others llama-context.cpp computes 0.1 ln(factor) + 1 by itself and multiplies
             * it with rope.scaling.attn_factor, so a checkpoint's own factor is told as the ratio. */
            double built_in = r->factor > 1 ? 0.1 * log(r->factor) + 1 : 1;
            if ((float)(r->attn_factor / built_in) != 1.0f) put_f32(k, "rope.scaling.attn_factor", r->attn_factor / built_in);
        }
        if (r->beta_fast != 0) put_f32(k, "rope.scaling.yarn_beta_fast", r->beta_fast);
        if (r->beta_slow != 0) put_f32(k, "rope.scaling.yarn_beta_slow", r->beta_slow);
        break;
    case HONE_ROPE_SCALE_LONGROPE:
        put_str(k, "rope.scaling.type", "longrope"); /* llama.cpp and granite.cpp load the factors only when told so */
        put_u32(k, "rope.scaling.original_context_length", r->original_context);
        put_f32(k, "rope.scaling.attn_factor", r->attn_factor != 0 ? r->attn_factor : longrope_attention(f));
        break;
    case HONE_ROPE_SCALE_NONE:
    case HONE_ROPE_SCALE_LLAMA3:  /* told by rope_freqs.weight */
    case HONE_ROPE_SCALE_DYNAMIC: /* changes nothing up to the trained context */ break;
    }
    if ((optional & HONE_GGUF_KEY_ORIG_CONTEXT) && r->scaling != HONE_ROPE_SCALE_YARN && r->scaling != HONE_ROPE_SCALE_LONGROPE)
        put_u32(k, "rope.scaling.original_context_length", r->original_context ? r->original_context : f->context);
}

/* Whether the layers with a window are those that llama.cpp assumes when no pattern is written. */
static bool is_assumed(const hone_facts *f)
{
    uint32_t step = f->gguf->window_step;
    for (uint32_t i = 0; i < f->n_layers; i++)
        if ((!f->windowed || f->windowed[i]) != (step == 0 || i % step < step - 1)) return false;
    return true;
}

static void put_window(keys *k, const hone_facts *f, unsigned flags, unsigned optional)
{
    bool told = f->window > 0 && (flags & HONE_GGUF_WINDOW);
    if (told || (optional & HONE_GGUF_KEY_WINDOW)) put_u32(k, "attention.sliding_window", f->window);
    if (!told || is_assumed(f) || k->code != HONE_OK) return;
    char buf[192];
    key_of(k, "attention.sliding_window_pattern", buf);
    uint8_t one[512];
    if (f->n_layers > sizeof one) {
        k->code = HONE_FAIL(k->err, HONE_EUNSUPPORTED, "", "the model has %u layers, llama.cpp holds up to %zu", f->n_layers, sizeof one);
        return;
    }
    for (uint32_t i = 0; i < f->n_layers; i++) one[i] = !f->windowed || f->windowed[i] ? 1 : 0;
    if (k->code == HONE_OK) k->code = hone_gguf_put_array(k->w, buf, HONE_GGUF_BOOL, one, f->n_layers, k->err);
}

static uint32_t pooling_id(hone_pooling p) /* enum llama_pooling_type of llama.h */
{
    switch (p) {
    case HONE_POOL_MEAN: return 1;
    case HONE_POOL_CLS: return 2;
    case HONE_POOL_LAST: return 3;
    case HONE_POOL_NONE: break;
    }
    return 0;
}

hone_code hone_gguf_put_facts(hone_gguf_writer *w, const hone_facts *f, const char *arch_name, hone_err *err)
{
    keys     k = { w, arch_name, err, HONE_OK };
    unsigned optional = f->gguf ? f->gguf->keys : 0, flags = f->gguf ? f->gguf->flags : 0;
    if (optional & HONE_GGUF_KEY_VOCAB_SIZE) put_u32(&k, "vocab_size", f->vocab);
    put_u32(&k, "block_count", f->n_layers);
    put_u32(&k, "context_length", f->context);
    put_u32(&k, "embedding_length", f->hidden);
    put_u32(&k, "feed_forward_length", f->ffn ? f->ffn : f->expert_ffn);
    put_u32(&k, "attention.head_count", f->n_heads);
    if (!(optional & HONE_GGUF_KEY_NO_KV_HEADS) || f->n_kv_heads != f->n_heads) put_u32(&k, "attention.head_count_kv", f->n_kv_heads);
    if ((optional & HONE_GGUF_KEY_HEAD_DIM) || (uint64_t)f->head_dim * f->n_heads != f->hidden) {
        put_u32(&k, "attention.key_length", f->head_dim);
        put_u32(&k, "attention.value_length", f->head_dim);
    }
    put_f32(&k, f->norm == HONE_NORM_RMS ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon", f->norm_eps);
    put_rope(&k, f, optional);
    put_window(&k, f, flags, optional);
    if (f->attn_softcap != 0) put_f32(&k, "attn_logit_softcapping", f->attn_softcap);
    if (f->logit_softcap != 0) put_f32(&k, "final_logit_softcapping", f->logit_softcap);
    if (optional & HONE_GGUF_KEY_SCALES) {
        put_f32(&k, "attention.scale", f->attn_scale);
        put_f32(&k, "embedding_scale", f->embedding_scale);
        put_f32(&k, "residual_scale", f->residual_scale);
        put_f32(&k, "logit_scale", f->logit_scale);
    }
    if (optional & HONE_GGUF_KEY_PARALLEL) put_bool(&k, "use_parallel_residual", f->parallel_residual);
    if (f->n_experts) {
        put_u32(&k, "expert_count", f->n_experts);
        put_u32(&k, "expert_used_count", f->n_experts_used);
        if (optional & HONE_GGUF_KEY_EXPERT_FFN) put_u32(&k, "expert_feed_forward_length", f->expert_ffn);
    }
    if (f->kind == HONE_KIND_ENCODER) put_bool(&k, "attention.causal", false);
    if (f->pooling != HONE_POOL_NONE) put_u32(&k, "pooling_type", pooling_id(f->pooling));
    if (f->n_token_types && k.code == HONE_OK) k.code = hone_gguf_put_u32(w, "tokenizer.ggml.token_type_count", f->n_token_types, err);
    return k.code;
}
