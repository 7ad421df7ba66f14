#include "passes/mlx_layout.h"
#include <math.h>

static bool has(const hone_facts *f, unsigned flag) { return f->mlx && (f->mlx->flags & flag); }

#define CANNOT(...) HONE_FAIL(err, HONE_EUNSUPPORTED, "choose another format for this model", __VA_ARGS__)

static bool act_fits(unsigned built_in, hone_act act)
{
    /* One GELU for the other changes results a little: a row of data/limits.json (facts:mlx_gelu), no refusal. */
    bool gelu = built_in == HONE_ACT_GELU || built_in == HONE_ACT_GELU_TANH;
    return gelu ? act == HONE_ACT_GELU || act == HONE_ACT_GELU_TANH : built_in == act;
}

static hone_code can_rotate(const hone_facts *f, hone_err *err)
{
    const char *model = f->mlx->model;
    if (f->rope.kind != HONE_ROPE_NONE && f->rope.dim != f->head_dim && !has(f, HONE_MLX_ROPE_PARTIAL))
        return CANNOT("%u of %u elements of a head are rotated, mlx_lm's '%s' rotates all", f->rope.dim, f->head_dim, model);
    bool linear = f->rope.scaling == HONE_ROPE_SCALE_LINEAR, longrope = f->rope.scaling == HONE_ROPE_SCALE_LONGROPE;
    bool scaled = f->rope.scaling != HONE_ROPE_SCALE_NONE;
    if (scaled && !has(f, HONE_MLX_ROPE_SCALED) && !(has(f, HONE_MLX_ROPE_LONG) && (linear || longrope)))
        return CANNOT("the rotation is scaled (\"rope_scaling\"), mlx_lm's '%s' does not scale it that way", model);
    double own = f->rope.original_context > 1 ? sqrt(1 + fmax(0, log((double)f->context / f->rope.original_context)) / log(f->rope.original_context)) : 1;
    if (longrope && f->rope.attn_factor > 0 && fabs(f->rope.attn_factor - own) > 1e-6)
        return CANNOT("the rotation is multiplied by %g, mlx_lm's '%s' computes %g itself", f->rope.attn_factor, model, own);
    for (uint32_t i = 0; f->no_rope && i < f->n_layers; i++)
        if (f->no_rope[i] && !has(f, HONE_MLX_NO_ROPE)) return CANNOT("layer %u is not rotated, mlx_lm's '%s' rotates all", i, model);
    return HONE_OK;
}

hone_code hone_mlx_can(const hone_facts *f, hone_err *err)
{
    if (!f->mlx || !f->mlx->model) return CANNOT("mlx_lm does not know the family %s", f->family);
    const char *model = f->mlx->model;
    bool        qkv = f->bias_q || f->bias_k || f->bias_v;
    if (!act_fits(f->mlx->act, f->act)) return CANNOT("the activation is not the one that mlx_lm's '%s' has built in", model);
    if (qkv && !has(f, HONE_MLX_BIAS_QKV)) return CANNOT("q, k or v have a bias, mlx_lm's '%s' has none", model);
    if (qkv && !(f->bias_q && f->bias_k && f->bias_v)) return CANNOT("only some of q, k and v have a bias, mlx_lm's '%s' wants all or none", model);
    if (f->bias_o && !has(f, HONE_MLX_BIAS_O)) return CANNOT("the attention output has a bias, mlx_lm's '%s' has none", model);
    if (has(f, HONE_MLX_BIAS_O) && f->bias_o != qkv)
        return CANNOT("the attention output has %s bias, q, k and v have %s: mlx_lm's '%s' wants all or none", f->bias_o ? "a" : "no",
                      qkv ? "one" : "none", model);
    if (f->bias_ffn && !has(f, HONE_MLX_BIAS_FFN)) return CANNOT("the feed-forward has biases, mlx_lm's '%s' has none", model);
    if (has(f, HONE_MLX_BIAS_ALWAYS) && ((has(f, HONE_MLX_BIAS_QKV) && !qkv) || (has(f, HONE_MLX_BIAS_FFN) && !f->bias_ffn)))
        return CANNOT("a projection has no bias, mlx_lm's '%s' insists on all of them", model);
    if ((uint64_t)f->n_heads * f->head_dim != f->hidden && !has(f, HONE_MLX_HEAD_DIM))
        return CANNOT("%u heads of %u elements are not the hidden size %u, mlx_lm's '%s' takes that for granted", f->n_heads, f->head_dim,
                      f->hidden, model);
    if (!f->tied && has(f, HONE_MLX_HEAD_TIED))
        return CANNOT("the output head is not tied to the embedding, mlx_lm's '%s' always ties it", model);
    if (f->qk_norm != has(f, HONE_MLX_QK_NORM))
        return CANNOT("q and k are%s normalised, mlx_lm's '%s' does otherwise", f->qk_norm ? "" : " not", model);
    if (has(f, HONE_MLX_FFN_4X) && f->ffn != 4ull * f->hidden)
        return CANNOT("the feed-forward is %u wide, mlx_lm's '%s' takes 4 times %u for granted", f->ffn, model, f->hidden);
    if (!has(f, HONE_MLX_ATTN_SCALE) && fabs(f->attn_scale * sqrt(f->head_dim) - 1) > 1e-6)
        return CANNOT("attention is scaled by %g, mlx_lm's '%s' has 1/sqrt(%u) built in", f->attn_scale, model, f->head_dim);
    if ((f->attn_softcap > 0) != has(f, HONE_MLX_SOFTCAPS) || (f->logit_softcap > 0) != has(f, HONE_MLX_SOFTCAPS))
        return CANNOT("attention or logits are%s soft-capped, mlx_lm's '%s' does otherwise", has(f, HONE_MLX_SOFTCAPS) ? " not" : "", model);
    if (f->parallel_residual && !has(f, HONE_MLX_PARALLEL))
        return CANNOT("attention and feed-forward run in parallel, mlx_lm's '%s' runs one after the other", model);
    return can_rotate(f, err);
}

/* [3, heads, head_dim] becomes [heads, 3, head_dim], as gpt_neox.py splits it. */
static hone_code by_head(hone_weight *w, const hone_facts *f, hone_arena *a, hone_err *err)
{
    uint64_t    dim = f->head_dim, heads = f->n_heads, rows = 3 * heads * dim, at = 0;
    hone_slice *s = HONE_ARENA_NEW(a, hone_slice, 1);
    uint32_t   *map = HONE_ARENA_NEW(a, uint32_t, rows);
    if (!s || !map) return HONE_NOMEM(err, "the order of q, k and v");
    if (w->n_slices != 1 || w->slices[0].transposed || w->slices[0].n_rows != rows)
        return HONE_FAIL(err, HONE_EBUG, "", "%s of layer %d cannot be put in order by head", hone_role_name(w->role), (int)w->layer);
    *s = w->slices[0];
    for (uint64_t h = 0; h < heads; h++)
        for (uint64_t part = 0; part < 3; part++)
            for (uint64_t i = 0; i < dim; i++) {
                uint64_t from = (part * heads + h) * dim + i;
                map[at++] = s->row_map ? s->row_map[from] : (uint32_t)from;
            }
    s->row_map = map;
    w->slices = s;
    return HONE_OK;
}

hone_code hone_mlx_rewrite(const hone_model *m, hone_arena *a, hone_weight **out, size_t *n, hone_err *err)
{
    const hone_facts *f = &m->facts;
    HONE_TRY(hone_mlx_can(f, err));
    hone_weight *w = HONE_ARENA_NEW(a, hone_weight, m->n_weights + 1);
    size_t       count = 0;
    if (!w) return HONE_NOMEM(err, "the weight list");
    for (size_t i = 0; i < m->n_weights; i++) {
        w[count] = m->weights[i];
        if (w[count].role == HONE_R_ATTN_QKV && has(f, HONE_MLX_QKV_BY_HEAD)) HONE_TRY(by_head(&w[count], f, a, err));
        count++;
        if (m->weights[i].role == HONE_R_TOK_EMBD && f->tied && has(f, HONE_MLX_HEAD_APART)) {
            w[count] = m->weights[i];
            w[count++].role = HONE_R_OUTPUT;
        }
    }
    *out = w;
    *n = count;
    return HONE_OK;
}

bool hone_mlx_is_module(const hone_weight *w)
{
    return w->part == HONE_PART_WEIGHT && w->n_dims >= 2 && w->role != HONE_R_ATTN_Q_NORM && w->role != HONE_R_ATTN_K_NORM;
}

bool hone_mlx_wants_eight_bits(const hone_facts *f, hone_role role)
{
    for (size_t i = 0; i < f->mlx->n_eight_bits; i++)
        if (f->mlx->eight_bits[i] == role) return true;
    return false;
}
