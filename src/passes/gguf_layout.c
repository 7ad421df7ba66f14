#include "passes/gguf_layout.h"
#include <math.h>

static bool has(const hone_facts *f, unsigned flag) { return f->gguf && (f->gguf->flags & flag); }

/* ---- what llama.cpp can run ---- */

#define LLAMA_MAX_LAYERS  512u  /* src/llama-hparams.h */
#define LLAMA_MAX_EXPERTS 1024u

static bool act_fits(unsigned built_in, hone_act act)
{
    /* ggml has one GELU, the tanh form; the erf form differs by less than 5e-4 and f16 tables anyway (ggml-cpu/vec.h, ggml_vec_gelu_f32). */
    bool gelu = built_in == HONE_ACT_GELU || built_in == HONE_ACT_GELU_TANH;
    return gelu ? act == HONE_ACT_GELU || act == HONE_ACT_GELU_TANH : built_in == act;
}

static const char *act_name(hone_act act)
{
    switch (act) {
    case HONE_ACT_SILU: return "silu";
    case HONE_ACT_GELU: return "gelu";
    case HONE_ACT_GELU_TANH: return "gelu_tanh";
    case HONE_ACT_RELU: return "relu";
    }
    return "?";
}

#define CANNOT(...) HONE_FAIL(err, HONE_EUNSUPPORTED, "choose another format for this model", __VA_ARGS__)

hone_code hone_gguf_can(const hone_facts *f, hone_err *err)
{
    const hone_gguf_arch *g = f->gguf;
    if (!g) return CANNOT("llama.cpp does not know the family %s", f->family);
    if (f->n_layers > LLAMA_MAX_LAYERS) return CANNOT("the model has %u layers, llama.cpp holds up to %u", f->n_layers, LLAMA_MAX_LAYERS);
    if (f->n_experts > LLAMA_MAX_EXPERTS) return CANNOT("the model has %u experts, llama.cpp holds up to %u", f->n_experts, LLAMA_MAX_EXPERTS);
    if (!act_fits(g->act, f->act))
        return CANNOT("the activation is %s, llama.cpp's '%s' has %s built in", act_name(f->act), g->name, act_name((hone_act)g->act));
    if ((f->bias_q || f->bias_k || f->bias_v) && !has(f, HONE_GGUF_BIAS_QKV))
        return CANNOT("q, k or v have a bias, llama.cpp's '%s' loads none", g->name);
    if (f->bias_o && !has(f, HONE_GGUF_BIAS_O)) return CANNOT("the attention output has a bias, llama.cpp's '%s' loads none", g->name);
    if (f->bias_ffn && !has(f, HONE_GGUF_BIAS_FFN)) return CANNOT("the feed-forward has biases, llama.cpp's '%s' loads none", g->name);
    if (has(f, HONE_GGUF_BIAS_ALWAYS) && !(f->bias_q && f->bias_k && f->bias_v && f->bias_o && f->bias_ffn))
        return CANNOT("a projection has no bias, llama.cpp's '%s' insists on all of them", g->name);
    if ((uint64_t)f->n_heads * f->head_dim != f->hidden && !has(f, HONE_GGUF_HEAD_DIM))
        return CANNOT("%u heads of %u elements are not the hidden size %u, llama.cpp's '%s' takes that for granted", f->n_heads, f->head_dim,
                      f->hidden, g->name);
    if (f->n_kv_heads != f->n_heads && !has(f, HONE_GGUF_KV_GROUPS))
        return CANNOT("%u heads share %u key-value heads, llama.cpp's '%s' wants one each", f->n_heads, f->n_kv_heads, g->name);
    if (!f->tied && has(f, HONE_GGUF_HEAD_TIED))
        return CANNOT("the output head is not tied to the embedding, llama.cpp's '%s' always ties it", g->name);
    if (f->rope.kind != HONE_ROPE_NONE && f->rope.dim != f->head_dim && !has(f, HONE_GGUF_ROPE_PARTIAL))
        return CANNOT("%u of %u elements of a head are rotated, llama.cpp's '%s' rotates all", f->rope.dim, f->head_dim, g->name);
    if (f->rope.scaling == HONE_ROPE_SCALE_LLAMA3 && !has(f, HONE_GGUF_ROPE_FREQS))
        return CANNOT("rope scaling is llama3, llama.cpp's '%s' does not load rope_freqs.weight", g->name);
    if (f->rope.scaling == HONE_ROPE_SCALE_LONGROPE && !has(f, HONE_GGUF_ROPE_FACTORS))
        return CANNOT("rope scaling is longrope, llama.cpp's '%s' does not load rope_factors_long.weight", g->name);
    if ((f->rope.scaling == HONE_ROPE_SCALE_LINEAR || f->rope.scaling == HONE_ROPE_SCALE_YARN) && !has(f, HONE_GGUF_ROPE_SCALED))
        return CANNOT("rope scaling is linear or yarn, llama.cpp's '%s' does not scale its rope that way", g->name);
    if (f->rope.scaling == HONE_ROPE_SCALE_YARN && (f->rope.beta_fast != 32 || f->rope.beta_slow != 1))
        return CANNOT("yarn has beta_fast %g and beta_slow %g, llama.cpp's '%s' has 32 and 1 built in", f->rope.beta_fast, f->rope.beta_slow,
                      g->name);
    for (uint32_t i = 0; i < f->n_layers; i++) {
        bool built_in = g->no_rope_step && (i + 1) % g->no_rope_step == 0;
        bool wanted = f->no_rope && f->no_rope[i];
        if (f->rope.kind != HONE_ROPE_NONE && built_in != wanted)
            return CANNOT("layer %u is%s rotated, llama.cpp's '%s' decides otherwise (every %u-th layer is not)", i, wanted ? " not" : "",
                          g->name, g->no_rope_step);
    }
    if (f->n_experts && f->expert_norm_topk != has(f, HONE_GGUF_NORM_TOPK))
        return CANNOT("the chosen experts' weights are%s renormalised, llama.cpp's '%s' does otherwise", f->expert_norm_topk ? "" : " not",
                      g->name);
    if (f->parallel_residual && !has(f, HONE_GGUF_PARALLEL))
        return CANNOT("attention and feed-forward run in parallel, llama.cpp's '%s' runs one after the other", g->name);
    if ((f->attn_softcap > 0) != has(f, HONE_GGUF_SOFTCAPS))
        return CANNOT("attention is%s soft-capped, llama.cpp's '%s' does otherwise", f->attn_softcap > 0 ? "" : " not", g->name);
    if (f->logit_softcap > 0 ? !has(f, HONE_GGUF_SOFTCAPS | HONE_GGUF_LOGIT_SOFTCAP) : has(f, HONE_GGUF_SOFTCAPS))
        return CANNOT("logits are%s soft-capped, llama.cpp's '%s' does otherwise", f->logit_softcap > 0 ? "" : " not", g->name);
    if (f->window == 0 && has(f, HONE_GGUF_WINDOW_ALWAYS))
        return CANNOT("no layer has a sliding window, llama.cpp's '%s' gives every second one a window of its own", g->name);
    return HONE_OK;
}

/* ---- rewrites ---- */

double hone_gguf_query_scale(const hone_facts *f)
{
    if (has(f, HONE_GGUF_ATTN_SCALE)) return 1;
    /* gemma2.cpp and gemma3.cpp, load_arch_hparams: the 27B sizes are told by their number of layers. */
    bool   wide = f->gguf->wide_scale_layers && f->gguf->wide_scale_layers == f->n_layers;
    double built_in = 1 / sqrt(wide ? f->hidden / f->n_heads : f->head_dim);
    double scale = f->attn_scale / built_in;
    return fabs(scale - 1) < 1e-6 ? 1 : scale;
}

/* HF stores the halves of a head apart, llama.cpp's neighbour rotation wants element i and i + dim/2 side by side:
 * reshape(heads, 2, dim/2).swapaxes(1, 2) of conversion/llama.py, permute. */
static hone_code neighbours(hone_weight *w, uint32_t heads, hone_arena *a, hone_err *err)
{
    uint64_t    rows = w->n_dims == 1 ? w->dims[0] : hone_weight_rows(w), dim = rows / heads, at = 0;
    hone_slice *s = HONE_ARENA_NEW(a, hone_slice, w->n_slices);
    if (!s) return HONE_NOMEM(err, "a row order");
    if (w->n_slices != 1 || w->slices[0].transposed || rows % heads || dim % 2)
        return HONE_FAIL(err, HONE_EBUG, "", "%s of layer %d cannot be put in neighbour order", hone_role_name(w->role), (int)w->layer);
    *s = w->slices[0];
    uint32_t *map = HONE_ARENA_NEW(a, uint32_t, rows);
    if (!map) return HONE_NOMEM(err, "a row order");
    for (uint64_t h = 0; h < heads; h++)
        for (uint64_t i = 0; i < dim / 2; i++)
            for (uint64_t half = 0; half < 2; half++) {
                uint64_t from = h * dim + half * (dim / 2) + i;
                map[at++] = s->row_map ? s->row_map[from] : (uint32_t)from;
            }
    s->row_map = map;
    w->slices = s;
    return HONE_OK;
}

static hone_code rewrite(hone_weight *w, const hone_facts *f, hone_arena *a, hone_err *err)
{
    if (has(f, HONE_GGUF_QK_NEIGHBOURS) && f->rope.kind == HONE_ROPE_HALVES) {
        if (w->role == HONE_R_ATTN_Q) HONE_TRY(neighbours(w, f->n_heads, a, err));
        if (w->role == HONE_R_ATTN_K) HONE_TRY(neighbours(w, f->n_kv_heads, a, err));
    }
    if (f->norm_plus_one && hone_role_is_norm(w->role) && w->part == HONE_PART_WEIGHT) w->add += 1;
    /* The scale goes where it survives: into the norm of q when there is one, else into q itself.  Both come before a soft-cap. */
    double scale = hone_gguf_query_scale(f);
    if (scale != 1 && ((f->qk_norm && w->role == HONE_R_ATTN_Q_NORM) || (!f->qk_norm && w->role == HONE_R_ATTN_Q))) {
        w->scale = (float)(w->scale * scale);
        w->add = (float)(w->add * scale);
    }
    return HONE_OK;
}

/* The divisors of conversion/llama.py, generate_extra_tensors, step by step in float32 as torch takes them: number / tensor is the tensor's
 * reciprocal times the number.  The power is rounded once, so that it is the same everywhere. */
void hone_gguf_llama3_divisors(const hone_rope *r, float *out)
{
    const float pi2 = 6.283185307179586f;
    float       low = (float)(r->original_context / r->low_freq), high = (float)(r->original_context / r->high_freq);
    for (uint32_t i = 0; i < r->dim / 2; i++) {
        float freq = 1.0f / (float)pow(r->base, (double)((float)(2 * i) / (float)r->dim));
        float wave = (1.0f / freq) * pi2;
        if (wave < high) out[i] = 1;
        else if (wave > low) out[i] = (float)r->factor;
        else {
            float smooth = ((1.0f / wave) * (float)r->original_context - (float)r->low_freq) / (float)(r->high_freq - r->low_freq);
            out[i] = 1.0f / ((1.0f - smooth) / (float)r->factor + smooth);
        }
    }
}

static hone_weight constant(hone_role role, const float *values, uint32_t n)
{
    return (hone_weight){ .role = role, .layer = -1, .n_dims = 1, .dims = { n }, .values = values, .scale = 1, .dtype = HONE_DTYPE_F32 };
}

hone_code hone_gguf_rewrite(const hone_model *m, hone_arena *a, hone_weight **out, size_t *n, hone_err *err)
{
    const hone_facts *f = &m->facts;
    HONE_TRY(hone_gguf_can(f, err));
    hone_weight *w = HONE_ARENA_NEW(a, hone_weight, m->n_weights + 3);
    size_t       count = 0;
    if (!w) return HONE_NOMEM(err, "the weight list");
    if (f->rope.scaling == HONE_ROPE_SCALE_LLAMA3) {
        float *v = HONE_ARENA_NEW(a, float, f->rope.dim / 2);
        if (!v) return HONE_NOMEM(err, "rope divisors");
        hone_gguf_llama3_divisors(&f->rope, v);
        w[count++] = constant(HONE_R_ROPE_FREQS, v, f->rope.dim / 2);
    }
    if (f->rope.scaling == HONE_ROPE_SCALE_LONGROPE) {
        w[count++] = constant(HONE_R_ROPE_FACTORS_LONG, f->rope.long_factors, f->rope.dim / 2);
        w[count++] = constant(HONE_R_ROPE_FACTORS_SHORT, f->rope.short_factors, f->rope.dim / 2);
    }
    for (size_t i = 0; i < m->n_weights; i++) {
        const hone_weight *from = &m->weights[i];
        if (from->role == HONE_R_POOLER || from->role == HONE_R_IGNORED) continue;
        w[count] = *from;
        HONE_TRY(rewrite(&w[count], f, a, err));
        count++;
        if (from->role == HONE_R_TOK_EMBD && f->tied && has(f, HONE_GGUF_HEAD_APART)) {
            w[count] = *from;
            w[count++].role = HONE_R_OUTPUT;
        }
    }
    *out = w;
    *n = count;
    return HONE_OK;
}

/* Stored row 2i + half of a head is row half * dim/2 + i of the checkpoint's. */
static hone_code halves(hone_weight *w, uint32_t heads, hone_arena *a, hone_err *err)
{
    hone_slice *s = HONE_ARENA_NEW(a, hone_slice, 1);
    uint64_t    rows = w->slices[0].n_rows, dim = rows / heads, at = 0;
    uint32_t   *map = HONE_ARENA_NEW(a, uint32_t, rows);
    if (!s || !map) return HONE_NOMEM(err, "a row order");
    for (uint64_t h = 0; h < heads; h++)
        for (uint64_t half = 0; half < 2; half++)
            for (uint64_t i = 0; i < dim / 2; i++) map[at++] = (uint32_t)(h * dim + 2 * i + half);
    *s = w->slices[0];
    s->row_map = map;
    w->slices = s;
    return HONE_OK;
}

void hone_norms_without_one(hone_model *m)
{
    for (size_t i = 0; i < m->n_weights; i++)
        if (m->facts.norm_plus_one && hone_role_is_norm(m->weights[i].role) && m->weights[i].part == HONE_PART_WEIGHT) m->weights[i].add = -1;
}

hone_code hone_gguf_restore(hone_model *m, hone_err *err)
{
    const hone_facts *f = &m->facts;
    bool              permuted = has(f, HONE_GGUF_QK_NEIGHBOURS) && f->rope.kind == HONE_ROPE_HALVES;
    for (size_t i = 0; i < m->n_weights; i++) {
        hone_weight *w = &m->weights[i];
        if (permuted && (w->role == HONE_R_ATTN_Q || w->role == HONE_R_ATTN_K)) {
            uint32_t heads = w->role == HONE_R_ATTN_Q ? f->n_heads : f->n_kv_heads;
            if (f->head_dim % 2 || w->slices[0].n_rows != (uint64_t)heads * f->head_dim)
                return HONE_FAIL(err, HONE_EINPUT, "fetch the file again", "%s of layer %d cannot be put in the order of checkpoints", hone_role_name(w->role),
                                 (int)w->layer);
            HONE_TRY(halves(w, heads, &m->arena, err));
        }
    }
    hone_norms_without_one(m);
    return HONE_OK;
}
