/* exec.c - the operator graph, node by node, as operations of MLX. */
#include "backends/mlx/model.h"
#include <math.h>
#include <stdlib.h>

enum { CACHE_STEP = 256 /* tokens that a cache grows by, as in mlx_lm/models/cache.py */ };

typedef struct mask { /* bool [n, total - from]: what the n tokens see */
    uint32_t window;
    hone_mx  array;
} mask;

typedef struct run {
    hone_backend_model  *m;
    hone_mx_session     *s;
    const hone_mlx_pass *pass;
    hone_mx             *values; /* [n_nodes] */
    bool                *headed; /* [n_nodes] [1, heads, n, head_dim] instead of [1, n, heads * head_dim] */
    int                  n;
    uint32_t             pos, total;
    mask                 masks[2]; /* whole and windowed layers */
    size_t               n_masks;
    bool                 nomem;
} run;

static hone_mx_matrix *matrix(const run *r, const hone_weight *w) { return &r->m->weights[w - r->m->model.weights]; }

/* --- shapes --------------------------------------------------------------------------------------------------------- */
static hone_mx to_heads(run *r, hone_mx x, uint32_t heads, uint32_t dim)
{
    x = hone_mx_reshape(r->s, x, (const int[]){ 1, r->n, (int)heads, (int)dim }, 4);
    return hone_mx_transpose(r->s, x, (const int[]){ 0, 2, 1, 3 }, 4);
}

static hone_mx from_heads(run *r, hone_mx x, uint32_t heads, uint32_t dim)
{
    x = hone_mx_transpose(r->s, x, (const int[]){ 0, 2, 1, 3 }, 4);
    return hone_mx_reshape(r->s, x, (const int[]){ 1, r->n, (int)(heads * dim) }, 3);
}

static hone_mx heads_of(run *r, uint32_t node, uint32_t heads, uint32_t dim)
{
    return r->headed[node] ? r->values[node] : to_heads(r, r->values[node], heads, dim);
}

static hone_mx input(run *r, const hone_node *n, uint32_t i) { return r->values[n->in[i]]; }

/* --- elementary ------------------------------------------------------------------------------------------------------- */
static hone_mx activate(run *r, hone_mx x, hone_act act)
{
    hone_mx_session *s = r->s;
    hone_mx          f = hone_mx_cast(s, x, HONE_MX_F32), y = 0;
    switch (act) {
    case HONE_ACT_SILU: y = hone_mx_combine(s, HONE_MX_MUL, f, hone_mx_apply(s, HONE_MX_SIGMOID, f)); break;
    case HONE_ACT_GELU:
        y = hone_mx_offset(s, hone_mx_apply(s, HONE_MX_ERF, hone_mx_scale(s, f, sqrt(0.5))), 1);
        y = hone_mx_scale(s, hone_mx_combine(s, HONE_MX_MUL, f, y), 0.5);
        break;
    case HONE_ACT_GELU_TANH:
        y = hone_mx_combine(s, HONE_MX_MUL, f, hone_mx_combine(s, HONE_MX_MUL, f, f));
        y = hone_mx_combine(s, HONE_MX_ADD, f, hone_mx_scale(s, y, 0.044715));
        y = hone_mx_offset(s, hone_mx_apply(s, HONE_MX_TANH, hone_mx_scale(s, y, sqrt(2 / 3.14159265358979323846))), 1);
        y = hone_mx_scale(s, hone_mx_combine(s, HONE_MX_MUL, f, y), 0.5);
        break;
    case HONE_ACT_RELU: return hone_mx_apply(s, HONE_MX_RELU, x);
    }
    return hone_mx_like(s, y, x);
}

static hone_mx softcap(run *r, hone_mx x, double number)
{
    return hone_mx_scale(r->s, hone_mx_apply(r->s, HONE_MX_TANH, hone_mx_scale(r->s, x, 1 / number)), number);
}

static hone_mx linear(run *r, const hone_node *n)
{
    hone_mx y = hone_mx_linear(r->s, input(r, n, 0), matrix(r, n->weight));
    return n->bias ? hone_mx_combine(r->s, HONE_MX_ADD, y, matrix(r, n->bias)->w) : y;
}

static hone_mx norm(run *r, const hone_node *n)
{
    hone_mx_session *s = r->s;
    hone_mx          x = input(r, n, 0), w = matrix(r, n->weight)->w, b = n->bias ? matrix(r, n->bias)->w : 0;
    uint32_t         width = (uint32_t)n->dims[n->n_dims - 1], group = n->u.norm.group;
    bool             own = hone_weight_elems(n->weight) != group; /* each group has weights of its own */
    int              groups[] = { 1, r->n, (int)(width / group), (int)group }, whole[] = { 1, r->n, (int)width };
    if (group != width) x = hone_mx_reshape(s, x, groups, 4);
    if (n->u.norm.kind == HONE_NORM_RMS) x = hone_mx_rms_norm(s, x, own ? 0 : w, n->u.norm.eps);
    else x = hone_mx_layer_norm(s, x, own ? 0 : w, own ? 0 : b, n->u.norm.eps);
    if (own) x = hone_mx_combine(s, HONE_MX_MUL, x, hone_mx_reshape(s, w, groups + 2, 2));
    if (b && (own || n->u.norm.kind == HONE_NORM_RMS))
        x = hone_mx_combine(s, HONE_MX_ADD, x, own ? hone_mx_reshape(s, b, groups + 2, 2) : b);
    if (group != width) x = hone_mx_reshape(s, x, whole, 3);
    return hone_mx_cast(s, x, r->m->type);
}

static hone_mx rope(run *r, const hone_node *n)
{
    const hone_graph_rope *t = &n->u.rope;
    hone_mx_session       *s = r->s;
    bool                   longer = t->inv_freq_long && r->total > t->long_from;
    hone_mx                x = heads_of(r, n->in[0], t->heads, t->head_dim), rest = 0;
    if (t->dim != t->head_dim && t->scale != 1) {
        rest = hone_mx_slice(s, x, -1, (int)t->dim, (int)t->head_dim);
        x = hone_mx_slice(s, x, -1, 0, (int)t->dim);
    }
    if (t->scale != 1) x = hone_mx_scale(s, x, (double)t->scale);
    x = hone_mx_rope(s, x, (int)t->dim, (int)r->pos, r->m->periods[2 * t->id + longer]);
    return rest ? hone_mx_concat(s, (const hone_mx[]){ x, rest }, 2, 3) : x;
}

/* --- attention ---------------------------------------------------------------------------------------------------------- */
/* The cache of one layer, k or v, with the new tokens in it, [1, kv_heads, total, head_dim] from `from` on. */
static hone_mx remember(run *r, uint32_t at, hone_mx x, const hone_graph_attn *a, uint32_t from)
{
    hone_mx_session *s = r->s;
    hone_mx         *cache = &r->m->cache[at];
    uint32_t         room = (r->total + CACHE_STEP - 1) / CACHE_STEP * CACHE_STEP;
    int              dims[] = { 1, (int)a->kv_heads, (int)room, (int)a->head_dim };
    x = hone_mx_cast(s, x, r->m->type);
    if (!*cache) {
        *cache = hone_mx_keep(s, hone_mx_zeros(s, dims, 4, r->m->type));
    } else if (r->m->n_room < r->total) {
        dims[2] = (int)(room - r->pos);
        hone_mx old = hone_mx_slice(s, *cache, 2, 0, (int)r->pos);
        hone_mx_assign(s, *cache, hone_mx_concat(s, (const hone_mx[]){ old, hone_mx_zeros(s, dims, 4, r->m->type) }, 2, 2));
    }
    hone_mx now = hone_mx_put(s, *cache, x, 2, (int)r->pos);
    hone_mx_assign(s, *cache, now);
    hone_mx seen = hone_mx_slice(s, now, 2, (int)from, (int)r->total);
    hone_mx_drop(s, now); /* so that the next call may write into its memory */
    return seen;
}

/* What the tokens see of keys from `from` on, when that is less than all before them. */
static hone_mx mask_of(run *r, uint32_t window, uint32_t from)
{
    for (size_t i = 0; i < r->n_masks; i++)
        if (r->masks[i].window == window) return r->masks[i].array;
    size_t   n = (size_t)r->n, keys = r->total - from;
    uint8_t *sees = malloc(n * keys);
    if (!sees) {
        r->nomem = true;
        return 0;
    }
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < keys; j++) {
            uint64_t me = r->pos + i, key = from + j;
            sees[i * keys + j] = key <= me && (!window || me - key < window);
        }
    hone_mx array = hone_mx_bool(r->s, sees, (const int[]){ (int)n, (int)keys }, 2);
    free(sees);
    if (r->n_masks < HONE_COUNT(r->masks)) r->masks[r->n_masks++] = (mask){ window, array };
    return array;
}

/* By hand where scores are capped.  Query heads that share a k are a dimension of their own. */
static hone_mx capped_attention(run *r, const hone_graph_attn *a, hone_mx q, hone_mx k, hone_mx v, hone_mx seen)
{
    hone_mx_session *s = r->s;
    int              share = (int)(a->heads / a->kv_heads), dim = (int)a->head_dim, kv = (int)a->kv_heads;
    q = hone_mx_reshape(s, hone_mx_scale(s, q, a->scale), (const int[]){ 1, kv, share * r->n, dim }, 4);
    hone_mx p = hone_mx_cast(s, hone_mx_matmul(s, q, hone_mx_transpose(s, k, (const int[]){ 0, 1, 3, 2 }, 4)), HONE_MX_F32);
    p = hone_mx_reshape(s, softcap(r, p, a->softcap), (const int[]){ 1, kv, share, r->n, -1 }, 5);
    if (seen) p = hone_mx_where(s, seen, p, -INFINITY);
    p = hone_mx_like(s, hone_mx_softmax(s, p), v);
    p = hone_mx_reshape(s, p, (const int[]){ 1, kv, share * r->n, -1 }, 4);
    return hone_mx_reshape(s, hone_mx_matmul(s, p, v), (const int[]){ 1, (int)a->heads, r->n, dim }, 4);
}

static hone_mx attention(run *r, const hone_node *n)
{
    const hone_graph_attn *a = &n->u.attn;
    hone_mx                q = heads_of(r, n->in[0], a->heads, a->head_dim);
    hone_mx                k = heads_of(r, n->in[1], a->kv_heads, a->head_dim), v = heads_of(r, n->in[2], a->kv_heads, a->head_dim), out, seen = 0;
    bool                   plain = false; /* each token sees all before it */
    if (a->causal) {
        /* Keys that lie behind the window of the first token are behind that of all. */
        uint32_t from = a->window && r->pos + 1 > a->window ? r->pos + 1 - a->window : 0;
        bool     windows = a->window && r->total - from > a->window;
        k = remember(r, 2 * a->slot, k, a, from);
        v = remember(r, 2 * a->slot + 1, v, a, from);
        plain = r->n > 1 && !windows && a->softcap == 0;
        if (r->n > 1 && !plain) seen = mask_of(r, windows ? a->window : 0, from);
    }
    if (a->softcap > 0) out = capped_attention(r, a, q, k, v, seen);
    else out = hone_mx_attention(r->s, q, k, v, a->scale, seen, plain);
    return from_heads(r, out, a->heads, a->head_dim);
}

/* --- experts -------------------------------------------------------------------------------------------------------------- */
static hone_mx expert_linear(run *r, const hone_weight *w, uint32_t e, hone_mx x)
{
    hone_mx_matrix m = *matrix(r, w);
    hone_mx       *part[] = { &m.w, &m.scales, &m.biases };
    for (size_t i = 0; i < HONE_COUNT(part); i++) {
        if (!*part[i]) continue;
        *part[i] = hone_mx_slice(r->s, *part[i], 0, (int)e, (int)e + 1);
        *part[i] = hone_mx_reshape(r->s, *part[i], (const int[]){ (int)w->dims[1], -1 }, 2);
    }
    return hone_mx_linear(r->s, x, &m);
}

/* Expert by expert: the tokens that chose it in one matrix.  Needs the choice at once, so what comes before is computed here. */
static hone_mx experts_apart(run *r, const hone_graph_moe *moe, hone_mx x, hone_mx which, int width)
{
    hone_mx_session *s = r->s;
    size_t           n = (size_t)r->n * moe->used, done = 0, parts = 0;
    const int32_t   *chosen = hone_mx_read_i32(s, which);
    int32_t         *token = malloc(n * sizeof *token), *place = malloc(n * sizeof *place);
    hone_mx         *part = malloc(moe->experts * sizeof *part), out = 0;
    if (!token || !place || !part) r->nomem = true;
    for (uint32_t e = 0; chosen && !r->nomem && e < moe->experts; e++) {
        size_t begin = done;
        for (size_t i = 0; i < n; i++)
            if (chosen[i] == (int32_t)e) {
                token[done] = (int32_t)(i / moe->used);
                place[i] = (int32_t)done++;
            }
        if (done == begin) continue;
        hone_mx mine = hone_mx_take(s, x, hone_mx_i32(s, token + begin, (const int[]){ (int)(done - begin) }, 1), 0);
        hone_mx gate = activate(r, expert_linear(r, moe->gate, e, mine), moe->act);
        part[parts++] = expert_linear(r, moe->down, e, hone_mx_combine(s, HONE_MX_MUL, gate, expert_linear(r, moe->up, e, mine)));
    }
    if (done == n && parts && !r->nomem) {
        out = hone_mx_take(s, hone_mx_concat(s, part, parts, 0), hone_mx_i32(s, place, (const int[]){ (int)n }, 1), 0);
        out = hone_mx_reshape(s, out, (const int[]){ r->n, (int)moe->used, width }, 3);
    }
    free(token);
    free(place);
    free(part);
    return out;
}

static hone_mx experts_at_once(run *r, const hone_graph_moe *moe, hone_mx x, hone_mx which, int width)
{
    hone_mx_session *s = r->s;
    x = hone_mx_reshape(s, x, (const int[]){ r->n, 1, 1, width }, 4);
    hone_mx gate = activate(r, hone_mx_gather(s, x, matrix(r, moe->gate), which), moe->act);
    hone_mx up = hone_mx_gather(s, x, matrix(r, moe->up), which);
    hone_mx y = hone_mx_gather(s, hone_mx_combine(s, HONE_MX_MUL, gate, up), matrix(r, moe->down), which);
    return hone_mx_reshape(s, y, (const int[]){ r->n, (int)moe->used, width }, 3);
}

static hone_mx experts(run *r, const hone_node *n)
{
    const hone_graph_moe *moe = &n->u.moe;
    hone_mx_session      *s = r->s;
    int                   width = (int)n->dims[n->n_dims - 1];
    hone_mx               x = hone_mx_reshape(s, input(r, n, 0), (const int[]){ r->n, width }, 2);
    /* In float32 whatever the folder's type: two experts that are nearly equal must not change places. */
    hone_mx p = hone_mx_softmax(s, hone_mx_linear(s, hone_mx_cast(s, x, HONE_MX_F32), matrix(r, n->weight)));
    hone_mx which = hone_mx_slice(s, hone_mx_descending(s, p), -1, 0, (int)moe->used);
    hone_mx share = hone_mx_take_along(s, p, which, -1);
    if (moe->norm_topk) share = hone_mx_combine(s, HONE_MX_DIV, share, hone_mx_sum(s, share, -1, true));
    /* MLX has no gather_mm of f16 and bf16 on the CPU. */
    bool    at_once = r->m->gather || matrix(r, moe->gate)->scales;
    hone_mx y = at_once ? experts_at_once(r, moe, x, which, width) : experts_apart(r, moe, x, which, width);
    share = hone_mx_reshape(s, hone_mx_like(s, share, y), (const int[]){ r->n, (int)moe->used, 1 }, 3);
    y = hone_mx_sum(s, hone_mx_combine(s, HONE_MX_MUL, y, share), 1, false);
    return hone_mx_reshape(s, y, (const int[]){ 1, r->n, width }, 3);
}

/* --- the end of an encoder ------------------------------------------------------------------------------------------------- */
static hone_mx pool(run *r, const hone_node *n)
{
    hone_mx x = hone_mx_cast(r->s, input(r, n, 0), HONE_MX_F32);
    int     from = n->u.pool == HONE_POOL_LAST ? r->n - 1 : 0;
    if (n->u.pool == HONE_POOL_MEAN) return hone_mx_scale(r->s, hone_mx_sum(r->s, x, 1, false), 1.0 / r->n);
    return hone_mx_sum(r->s, hone_mx_slice(r->s, x, 1, from, from + 1), 1, false);
}

static hone_mx unit(run *r, const hone_node *n)
{
    hone_mx x = input(r, n, 0);
    hone_mx norm2 = hone_mx_sum(r->s, hone_mx_combine(r->s, HONE_MX_MUL, x, x), -1, true);
    hone_mx least = hone_mx_f32(r->s, (const float[]){ 1e-12f }, (const int[]){ 1 }, 1);
    return hone_mx_combine(r->s, HONE_MX_DIV, x, hone_mx_combine(r->s, HONE_MX_MAX, hone_mx_apply(r->s, HONE_MX_SQRT, norm2), least));
}

/* --- the walk ----------------------------------------------------------------------------------------------------------------- */
static hone_mx numbers(run *r, hone_op op)
{
    int32_t *v = malloc((size_t)r->n * sizeof *v);
    if (!v) {
        r->nomem = true;
        return 0;
    }
    for (int i = 0; i < r->n; i++) v[i] = op == HONE_OP_IDS ? r->pass->ids[i] : op == HONE_OP_POSITIONS ? (int32_t)r->pos + i : 0;
    hone_mx x = hone_mx_i32(r->s, v, (const int[]){ 1, r->n }, 2);
    free(v);
    return x;
}

static hone_mx compute(run *r, const hone_node *n)
{
    switch (n->op) {
    case HONE_OP_IDS:
    case HONE_OP_POSITIONS:
    case HONE_OP_TYPES: return numbers(r, n->op);
    case HONE_OP_MASK: return 0; /* one text, no padding */
    case HONE_OP_EMBED: return hone_mx_rows(r->s, matrix(r, n->weight), input(r, n, 0), r->m->type);
    case HONE_OP_LINEAR: return linear(r, n);
    case HONE_OP_NORM: return norm(r, n);
    case HONE_OP_ADD: return hone_mx_combine(r->s, HONE_MX_ADD, input(r, n, 0), input(r, n, 1));
    case HONE_OP_MUL: return hone_mx_combine(r->s, HONE_MX_MUL, input(r, n, 0), input(r, n, 1));
    case HONE_OP_SCALE: return hone_mx_scale(r->s, input(r, n, 0), n->u.number);
    case HONE_OP_ACT: return activate(r, input(r, n, 0), n->u.act);
    case HONE_OP_SOFTCAP: return softcap(r, input(r, n, 0), n->u.number);
    case HONE_OP_SLICE: return hone_mx_slice(r->s, input(r, n, 0), -1, (int)n->u.first, (int)n->u.first + (int)n->dims[n->n_dims - 1]);
    case HONE_OP_ROPE: return rope(r, n);
    case HONE_OP_ATTENTION: return attention(r, n);
    case HONE_OP_EXPERTS: return experts(r, n);
    case HONE_OP_POOL: return pool(r, n);
    case HONE_OP_UNIT: return unit(r, n);
    case HONE_OP_COUNT: break;
    }
    return 0;
}

/* Behind the last layer rows are computed that are wanted, and no others. */
static void keep_wanted_rows(run *r, uint32_t node)
{
    const hone_mlx_pass *p = r->pass;
    const hone_graph    *g = &r->m->graph;
    if (!p->rows || node != g->layers[r->m->model.facts.n_layers - 1]) return;
    hone_mx rows = hone_mx_i32(r->s, p->rows, (const int[]){ (int)p->n_rows }, 1);
    r->values[node] = hone_mx_take(r->s, r->values[node], rows, 1);
}

static void walk(run *r)
{
    const hone_graph *g = &r->m->graph;
    for (uint32_t i = 0, layer = 0; i <= r->pass->target; i++) {
        const hone_node *n = &g->nodes[i];
        r->values[i] = compute(r, n);
        r->headed[i] = n->op == HONE_OP_ROPE;
        if (r->pass->layers && layer < r->m->model.facts.n_layers && g->layers[layer] == i) r->pass->layers[layer++] = r->values[i];
        keep_wanted_rows(r, i);
        /* Handles go as soon as nobody asks for them, so that MLX can use their memory again while it computes. */
        for (uint32_t k = 0; k < n->n_in && !r->pass->layers; k++)
            if (r->m->last_use[n->in[k]] == i) {
                hone_mx_drop(r->s, r->values[n->in[k]]);
                r->values[n->in[k]] = 0;
            }
    }
}

hone_mx hone_mlx_run(hone_backend_model *m, const hone_mlx_pass *pass)
{
    size_t  n = m->graph.n_nodes;
    run     r = { .m = m, .s = m->s, .pass = pass, .n = (int)pass->n, .pos = m->n_past, .total = m->n_past + pass->n };
    hone_mx out = 0;
    r.values = calloc(n, sizeof *r.values);
    r.headed = calloc(n, sizeof *r.headed);
    if (r.values && r.headed) {
        walk(&r);
        out = r.nomem ? 0 : r.values[pass->target];
        if (m->n_room < r.total && m->graph.n_caches) m->n_room = (r.total + CACHE_STEP - 1) / CACHE_STEP * CACHE_STEP;
    }
    free(r.values);
    free(r.headed);
    return out;
}
