#include "passes/mix.h"
#include <stdlib.h>
#include <string.h>

/* file_type: enum llama_ftype of llama.cpp include/llama.h.  base: llama_ftype_get_default_type. */
const hone_mix hone_mix_list[] = {
    { "f32", 0, HONE_DTYPE_F32, "every tensor in 32-bit floats: the reference, four bytes a weight" },
    { "f16", 1, HONE_DTYPE_F16, "half precision; values over 65504 are refused" },
    { "bf16", 32, HONE_DTYPE_BF16, "bfloat16: exact for checkpoints stored so" },
    { "q8_0", 7, HONE_DTYPE_Q8_0, "8 bits, blocks of 32: hardly distinguishable from the source" },
    { "q6_k", 18, HONE_DTYPE_Q6_K, "6 bits, k-quants throughout" },
    { "q5_k_m", 17, HONE_DTYPE_Q5_K, "5 bits, half of attn_v and ffn_down in 6" },
    { "q5_k_s", 16, HONE_DTYPE_Q5_K, "5 bits, k-quants throughout" },
    { "q5_1", 9, HONE_DTYPE_Q5_1, "5 bits with an offset, blocks of 32" },
    { "q5_0", 8, HONE_DTYPE_Q5_0, "5 bits, blocks of 32" },
    { "q4_k_m", 15, HONE_DTYPE_Q4_K, "4 bits, half of attn_v and ffn_down in 6: the usual choice" },
    { "q4_k_s", 14, HONE_DTYPE_Q4_K, "4 bits, the first layers in 5" },
    { "q4_1", 3, HONE_DTYPE_Q4_1, "4 bits with an offset, blocks of 32" },
    { "q4_0", 2, HONE_DTYPE_Q4_0, "4 bits, blocks of 32: the simplest and the fastest on many phones" },
    { "iq4_nl", 25, HONE_DTYPE_IQ4_NL, "4 bits on a curved scale, blocks of 32" },
    { "iq4_xs", 30, HONE_DTYPE_IQ4_XS, "4.25 bits on a curved scale" },
    { "q3_k_l", 13, HONE_DTYPE_Q3_K, "3 bits, attn_v, attn_output and ffn_down in 5" },
    { "q3_k_m", 12, HONE_DTYPE_Q3_K, "3 bits, attn_v, attn_output and ffn_down in 4" },
    { "q3_k_s", 11, HONE_DTYPE_Q3_K, "3 bits throughout" },
    { "q2_k", 10, HONE_DTYPE_Q2_K, "2 bits, attn_v, attn_output and ffn_down in 3" },
    { "q2_k_s", 21, HONE_DTYPE_Q2_K, "2 bits throughout: needs an importance matrix" },
    { "iq3_m", 27, HONE_DTYPE_IQ3_S, "3.4 bits on a grid, attn_v and attn_output in 4; statistics help much" },
    { "iq3_s", 26, HONE_DTYPE_IQ3_S, "3.4 bits on a grid; statistics help much" },
    { "iq3_xs", 22, HONE_DTYPE_IQ3_S, "3.3 bits on a grid, half of the layers in 3.1; statistics help much" },
    { "iq3_xxs", 23, HONE_DTYPE_IQ3_XXS, "3.1 bits on a grid, attn_q and attn_k in 2.6; statistics help much" },
    { "iq2_m", 29, HONE_DTYPE_IQ2_S, "2.6 bits on a grid, attn_v, attn_output and the embedding in 3.4; statistics help much" },
    { "iq2_s", 28, HONE_DTYPE_IQ2_XS, "2.3 bits on a grid, attn_v, attn_output and the embedding in 3.4; statistics help much" },
    { "iq2_xs", 20, HONE_DTYPE_IQ2_XS, "2.3 bits on a grid; statistics help much" },
    { "iq2_xxs", 19, HONE_DTYPE_IQ2_XXS, "2.1 bits on a grid; statistics help much" },
};
const size_t hone_mix_count = HONE_COUNT(hone_mix_list);

const hone_mix *hone_mix_find(const char *name)
{
    for (size_t i = 0; i < hone_mix_count; i++)
        if (strcmp(hone_mix_list[i].name, name) == 0) return &hone_mix_list[i];
    return NULL;
}

/* tensor_get_category of llama-quant.cpp, by role instead of by name. */
typedef enum category { C_OTHER, C_EMBEDDING, C_OUTPUT, C_Q, C_K, C_V, C_QKV, C_ATTN_OUT, C_UP, C_GATE, C_DOWN } category;

static category category_of(const hone_weight *w)
{
    switch (w->role) {
    case HONE_R_TOK_EMBD: return C_EMBEDDING;
    case HONE_R_OUTPUT: return C_OUTPUT;
    case HONE_R_ATTN_Q: return C_Q;
    case HONE_R_ATTN_K: return C_K;
    case HONE_R_ATTN_V: return C_V;
    case HONE_R_ATTN_QKV: return C_QKV;
    case HONE_R_ATTN_OUT: return C_ATTN_OUT;
    case HONE_R_FFN_UP:
    case HONE_R_FFN_GATE_UP: /* llama.cpp calls the fused tensor ffn_up */
    case HONE_R_FFN_UP_EXPS: return C_UP;
    case HONE_R_FFN_GATE:
    case HONE_R_FFN_GATE_EXPS: return C_GATE;
    case HONE_R_FFN_DOWN:
    case HONE_R_FFN_DOWN_EXPS: return C_DOWN;
    default: return C_OTHER;
    }
}

/* tensor_allows_quantization: matrices that end in ".weight" and are no norm, no router, no position or token-type table. */
bool hone_mix_may_quantize(const hone_weight *w)
{
    uint32_t n = w->n_dims; /* ggml_n_dims: leading ones do not count */
    for (uint32_t i = 0; i < w->n_dims && w->dims[i] == 1; i++) n--;
    if (w->part != HONE_PART_WEIGHT || n < 2) return false;
    switch (w->role) {
    case HONE_R_POS_EMBD:
    case HONE_R_TOKEN_TYPES:
    case HONE_R_FFN_ROUTER: return false;
    default: return !hone_role_is_norm(w->role);
    }
}

typedef struct visit { /* quantize_state_impl */
    const hone_mix   *mix;
    const hone_facts *f;
    bool              has_imatrix, tied;
    int               n_layers; /* also n_ffn_down: init_quantize_state_counters sets it to n_layer_all */
    int               n_v, i_v, i_down, i_gate, i_up;
} visit;

static bool is(const visit *v, const char *a) { return strcmp(v->mix->name, a) == 0; }
static bool in_iq2(const visit *v) { return strncmp(v->mix->name, "iq2_", 4) == 0; }

static bool use_more_bits(int i, int n) { return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2; }

static int n_gqa(const hone_facts *f) { return (int)(f->n_heads / f->n_kv_heads); }

static bool is_70b(const hone_facts *f)
{
    return f->gguf && f->gguf->big_layers && f->gguf->big_layers == f->n_layers &&
           (!f->gguf->big_needs_groups || (f->n_heads != f->n_kv_heads && f->n_experts != 8));
}

static hone_dtype for_output(const visit *v, const hone_weight *w, hone_dtype t)
{
    if (hone_weight_cols(w) % hone_dtype_get(t)->block_elems) return HONE_DTYPE_Q8_0;
    if (in_iq2(v) || is(v, "iq3_xxs")) return HONE_DTYPE_Q5_K;
    return t == HONE_DTYPE_Q8_0 ? t : HONE_DTYPE_Q6_K;
}

static hone_dtype for_v(visit *v, hone_dtype t)
{
    int gqa = n_gqa(v->f);
    if (is(v, "q2_k")) t = gqa >= 4 ? HONE_DTYPE_Q4_K : HONE_DTYPE_Q3_K;
    else if (is(v, "q2_k_s") && gqa >= 4) t = HONE_DTYPE_Q4_K;
    else if (is(v, "iq3_xxs")) t = gqa >= 4 ? HONE_DTYPE_Q4_K : v->has_imatrix ? t : HONE_DTYPE_IQ3_S;
    else if (is(v, "iq3_m") || ((is(v, "iq3_xs") || is(v, "iq3_s")) && gqa >= 4)) t = HONE_DTYPE_Q4_K;
    else if (is(v, "q3_k_m")) t = v->i_v < 2 ? HONE_DTYPE_Q5_K : HONE_DTYPE_Q4_K;
    else if (is(v, "q3_k_l")) t = HONE_DTYPE_Q5_K;
    else if ((is(v, "iq4_nl") || is(v, "iq4_xs")) && gqa >= 4) t = HONE_DTYPE_Q5_K;
    else if ((is(v, "q4_k_m") || is(v, "q5_k_m")) && use_more_bits(v->i_v, v->n_v)) t = HONE_DTYPE_Q6_K;
    else if (is(v, "q4_k_s") && v->i_v < 4) t = HONE_DTYPE_Q5_K;
    if (is_70b(v->f) && (t == HONE_DTYPE_Q3_K || t == HONE_DTYPE_Q4_K)) t = HONE_DTYPE_Q5_K;
    if (v->f->n_experts == 8) t = HONE_DTYPE_Q8_0;
    v->i_v++;
    return t;
}

static hone_dtype for_down(visit *v, const hone_weight *w, hone_dtype t)
{
    int i = v->f->n_experts > 1 ? w->layer : v->i_down, n = v->n_layers;
    if (is(v, "q2_k")) t = HONE_DTYPE_Q3_K;
    else if (is(v, "q2_k_s")) t = i < n / 8 ? HONE_DTYPE_Q4_K : t;
    else if (is(v, "iq3_xxs") && !v->has_imatrix) t = i < n / 8 ? HONE_DTYPE_Q4_K : HONE_DTYPE_Q3_K;
    else if (is(v, "iq3_m")) t = i < n / 8 || (v->f->n_experts == 8 && use_more_bits(i, n)) ? HONE_DTYPE_Q4_K : t;
    else if (is(v, "q3_k_m")) t = i < n / 16 ? HONE_DTYPE_Q5_K : HONE_DTYPE_Q4_K;
    else if (is(v, "q3_k_l")) t = HONE_DTYPE_Q5_K;
    else if (is(v, "q4_k_m")) t = use_more_bits(i, n) ? HONE_DTYPE_Q6_K : t;
    else if ((is(v, "iq4_nl") || is(v, "iq4_xs")) && i < n / 8 && !v->has_imatrix) t = HONE_DTYPE_Q5_K;
    else if (is(v, "q5_k_m") && use_more_bits(i, n)) t = HONE_DTYPE_Q6_K;
    else if (is(v, "q4_k_s") && i < n / 8) t = HONE_DTYPE_Q5_K;
    else if (v->has_imatrix && i < n / 8 && is(v, "q4_0")) t = HONE_DTYPE_Q4_1;
    else if (v->has_imatrix && i < n / 8 && is(v, "q5_0")) t = HONE_DTYPE_Q5_1;
    v->i_down++;
    return t;
}

static hone_dtype for_attn_out(const visit *v, hone_dtype t)
{
    static const char *const eight[] = { "q2_k", "q3_k_s", "q3_k_m", "iq4_nl", "q4_k_s", "q4_k_m", "iq4_xs", "iq3_xxs", "iq3_xs", "iq3_s", "iq3_m" };
    if (v->f->n_experts == 8) {
        for (size_t i = 0; i < HONE_COUNT(eight); i++)
            if (is(v, eight[i])) return HONE_DTYPE_Q5_K;
        return t;
    }
    if (is(v, "q2_k")) return HONE_DTYPE_Q3_K;
    if (is(v, "q3_k_m") || is(v, "iq3_m")) return HONE_DTYPE_Q4_K;
    if (is(v, "q3_k_l")) return HONE_DTYPE_Q5_K;
    return is(v, "iq3_xxs") ? HONE_DTYPE_IQ3_S : t;
}

/* Gate and up; i: how many there were. */
static hone_dtype for_wide(const visit *v, const hone_weight *w, int i, hone_dtype t)
{
    int at = v->f->n_experts > 1 ? w->layer : i, n = v->n_layers;
    return is(v, "iq3_xs") && at >= n / 8 && at < 7 * n / 8 ? HONE_DTYPE_IQ3_XXS : t;
}

/* The mixes of 2 bits have rules of their own. */
static hone_dtype choose_iq2(visit *v, category c, hone_dtype t)
{
    const bool       larger = is(v, "iq2_s") || is(v, "iq2_m");
    const hone_dtype more = larger ? HONE_DTYPE_IQ3_S : HONE_DTYPE_Q2_K;
    switch (c) {
    case C_EMBEDDING: return more;
    case C_V:
    case C_QKV: return n_gqa(v->f) >= 4 || v->f->n_experts >= 4 ? HONE_DTYPE_Q4_K : more;
    case C_K: return v->f->n_experts == 8 ? HONE_DTYPE_Q4_K : t;
    case C_DOWN: return v->i_down++ < v->n_layers / 8 ? more : t;
    case C_ATTN_OUT: return v->f->n_experts == 8 ? HONE_DTYPE_Q5_K : larger ? more : t;
    default: return t;
    }
}

/* llama_tensor_get_type_impl.  Its branch for ATTENTION_QKV is never reached: the branch for attn_v takes fused tensors first. */
static hone_dtype choose(visit *v, const hone_weight *w)
{
    hone_dtype t = v->mix->base;
    category   c = category_of(w);
    if (c == C_OUTPUT || (c == C_EMBEDDING && v->tied)) return for_output(v, w, t);
    if (in_iq2(v)) return choose_iq2(v, c, t);
    switch (c) {
    case C_EMBEDDING: return is(v, "iq3_xxs") ? HONE_DTYPE_IQ3_S : t;
    case C_V:
    case C_QKV: return for_v(v, t);
    case C_K:
        if (v->f->n_experts == 8) return HONE_DTYPE_Q8_0;
        /* fall through */
    case C_Q: return is(v, "iq3_xs") ? HONE_DTYPE_IQ3_XXS : is(v, "iq3_xxs") ? HONE_DTYPE_IQ2_S : t;
    case C_GATE: return for_wide(v, w, v->i_gate++, t);
    case C_UP: return for_wide(v, w, v->i_up++, t);
    case C_DOWN: return for_down(v, w, t);
    case C_ATTN_OUT: return for_attn_out(v, t);
    default: return t;
    }
}

/* tensor_type_fallback: rows that hold no whole number of blocks. */
static hone_dtype fallback(uint64_t cols, hone_dtype t, size_t *count)
{
    if (cols % hone_dtype_get(t)->block_elems == 0) return t;
    ++*count;
    switch (t) {
    case HONE_DTYPE_IQ2_XXS:
    case HONE_DTYPE_IQ2_XS:
    case HONE_DTYPE_IQ2_S:
    case HONE_DTYPE_IQ3_XXS:
    case HONE_DTYPE_IQ3_S:
    case HONE_DTYPE_IQ4_XS: t = HONE_DTYPE_IQ4_NL; break;
    case HONE_DTYPE_Q2_K:
    case HONE_DTYPE_Q3_K: t = HONE_DTYPE_Q4_0; break;
    case HONE_DTYPE_Q4_K: t = HONE_DTYPE_Q5_0; break;
    case HONE_DTYPE_Q5_K: t = HONE_DTYPE_Q5_1; break;
    case HONE_DTYPE_Q6_K: t = HONE_DTYPE_Q8_0; break;
    default: break;
    }
    return cols % hone_dtype_get(t)->block_elems ? HONE_DTYPE_F16 : t;
}

hone_code hone_mix_assign(const hone_mix *mix, const hone_facts *f, const hone_weight *const *weights, size_t n, bool has_imatrix,
                          hone_dtype *types, size_t *fallbacks, hone_err *err)
{
    visit  v = { .mix = mix, .f = f, .has_imatrix = has_imatrix, .tied = true, .n_layers = (int)f->n_layers };
    size_t count = 0;
    bool   quantized = hone_dtype_get(mix->base)->block_elems > 1;
    if (is(&v, "q2_k_s") && !has_imatrix) /* tensor_requires_imatrix */
        return HONE_FAIL(err, HONE_EUNSUPPORTED, "make one and pass it with --imatrix, or take q2_k", "q2_k_s needs an importance matrix");
    for (size_t i = 0; i < n; i++) {
        category c = category_of(weights[i]);
        if (weights[i]->part != HONE_PART_WEIGHT) continue;
        if (c == C_V || c == C_QKV) v.n_v++;
        if (c == C_OUTPUT) v.tied = false;
    }
    /* llama.cpp visits by layer, globals first (weight_name_comparer); inside a layer every count moves at most once. */
    for (int32_t layer = -1; layer < (int32_t)f->n_layers; layer++)
        for (size_t i = 0; i < n; i++) {
            const hone_weight *w = weights[i];
            if (w->layer != layer) continue;
            if (!hone_mix_may_quantize(w)) types[i] = HONE_DTYPE_F32;
            else if (!quantized) types[i] = mix->base;
            else types[i] = fallback(hone_weight_cols(w), choose(&v, w), &count);
        }
    *fallbacks = count;
    return HONE_OK;
}
