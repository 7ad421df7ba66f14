/* block.c - the two halves of a layer, decoder's and encoder's alike: attention and feed-forward. */
#include "ir/graph/build.h"
#include <string.h>

/* ---- rotation ---- */

static bool windowed(const hone_facts *f, uint32_t layer) { return f->window > 0 && (!f->windowed || f->windowed[layer]); }

/* The table of a kind is made when the first layer asks for it. */
static const hone_graph_rope *rope_table(hone_graph_builder *b, bool local)
{
    const hone_rope *r = &b->m->facts.rope;
    hone_graph_rope *t = &b->ropes[local];
    if (b->have_rope[local]) return t;
    float *shorter = HONE_ARENA_NEW(b->a, float, r->dim / 2 + 1), *longer = HONE_ARENA_NEW(b->a, float, r->dim / 2 + 1);
    bool   has_long;
    if (!shorter || !longer) {
        b->code = HONE_NOMEM(b->err, "the rope table");
        return t;
    }
    hone_rope_table(r, local, shorter, longer, &has_long, &t->scale);
    t->inv_freq = shorter;
    t->inv_freq_long = has_long ? longer : NULL;
    t->long_from = has_long ? r->original_context : 0;
    t->dim = r->dim;
    t->id = b->g->n_ropes++;
    b->have_rope[local] = true;
    return t;
}

static uint32_t rotate(hone_graph_builder *b, const char *name, uint32_t x, uint32_t heads)
{
    const hone_facts *f = &b->m->facts;
    uint32_t          layer = (uint32_t)b->layer;
    if (b->code != HONE_OK || f->rope.kind == HONE_ROPE_NONE || (f->no_rope && f->no_rope[layer])) return x;
    hone_graph_rope t = *rope_table(b, f->rope.local_base > 0 && windowed(f, layer));
    uint32_t        at = hone_graph_two(b, HONE_OP_ROPE, name, x, b->positions);
    if (b->code != HONE_OK) return 0;
    t.heads = heads;
    t.head_dim = f->head_dim;
    hone_graph_last(b)->u.rope = t;
    return at;
}

/* ---- attention ---- */

static uint32_t slice(hone_graph_builder *b, const char *name, uint32_t x, uint64_t first, uint64_t width)
{
    uint32_t at = hone_graph_add(b, HONE_OP_SLICE, name, width, &x, 1);
    if (b->code == HONE_OK) hone_graph_last(b)->u.first = (uint32_t)first;
    return at;
}

static void project(hone_graph_builder *b, uint32_t x, uint32_t qkv[3])
{
    const hone_facts *f = &b->m->facts;
    uint64_t          q = (uint64_t)f->n_heads * f->head_dim, kv = (uint64_t)f->n_kv_heads * f->head_dim;
    if (!hone_graph_weight(b, HONE_R_ATTN_QKV, HONE_PART_WEIGHT)) {
        qkv[0] = hone_graph_linear(b, "attn.q", HONE_R_ATTN_Q, x);
        qkv[1] = hone_graph_linear(b, "attn.k", HONE_R_ATTN_K, x);
        qkv[2] = hone_graph_linear(b, "attn.v", HONE_R_ATTN_V, x);
        return;
    }
    uint32_t all = hone_graph_linear(b, "attn.qkv", HONE_R_ATTN_QKV, x);
    qkv[0] = slice(b, "attn.q", all, 0, q);
    qkv[1] = slice(b, "attn.k", all, q, kv);
    qkv[2] = slice(b, "attn.v", all, q + kv, kv);
}

/* q and k are normalised head by head, or over all heads at once. */
static uint32_t head_norm(hone_graph_builder *b, const char *name, hone_role role, uint32_t x)
{
    const hone_facts *f = &b->m->facts;
    if (!f->qk_norm) return x;
    return hone_graph_norm(b, name, role, x, f->qk_norm_full ? 0 : f->head_dim);
}

uint32_t hone_graph_attention(hone_graph_builder *b, uint32_t x)
{
    const hone_facts *f = &b->m->facts;
    uint32_t          in[4];
    project(b, x, in);
    in[0] = rotate(b, "attn.q_rope", head_norm(b, "attn.q_norm", HONE_R_ATTN_Q_NORM, in[0]), f->n_heads);
    in[1] = rotate(b, "attn.k_rope", head_norm(b, "attn.k_norm", HONE_R_ATTN_K_NORM, in[1]), f->n_kv_heads);
    in[3] = b->mask;
    uint32_t mixed = hone_graph_add(b, HONE_OP_ATTENTION, "attn.core", 0, in, 4);
    if (b->code != HONE_OK) return 0;
    hone_graph_last(b)->u.attn = (hone_graph_attn){ .heads = f->n_heads, .kv_heads = f->n_kv_heads, .head_dim = f->head_dim, .scale = f->attn_scale,
                                                    .softcap = f->attn_softcap, .window = windowed(f, (uint32_t)b->layer) ? f->window : 0,
                                                    .causal = f->kind == HONE_KIND_DECODER, .slot = b->g->n_caches };
    if (f->kind == HONE_KIND_DECODER) b->g->n_caches++;
    return hone_graph_linear(b, "attn.out", HONE_R_ATTN_OUT, mixed);
}

/* ---- feed-forward ---- */

static uint32_t activate(hone_graph_builder *b, uint32_t x)
{
    uint32_t at = hone_graph_add(b, HONE_OP_ACT, "ffn.act", 0, &x, 1);
    if (b->code == HONE_OK) hone_graph_last(b)->u.act = b->m->facts.act;
    return at;
}

static uint32_t experts(hone_graph_builder *b, const hone_weight *router, uint32_t x)
{
    const hone_facts *f = &b->m->facts;
    hone_graph_moe    moe = { .experts = f->n_experts, .used = f->n_experts_used, .width = f->expert_ffn, .norm_topk = f->expert_norm_topk,
                              .act = f->act, .gate = hone_graph_weight(b, HONE_R_FFN_GATE_EXPS, HONE_PART_WEIGHT),
                              .up = hone_graph_weight(b, HONE_R_FFN_UP_EXPS, HONE_PART_WEIGHT),
                              .down = hone_graph_weight(b, HONE_R_FFN_DOWN_EXPS, HONE_PART_WEIGHT) };
    uint32_t at = hone_graph_add(b, HONE_OP_EXPERTS, "ffn.experts", 0, &x, 1);
    if (b->code != HONE_OK) return 0;
    if (!moe.gate || !moe.up || !moe.down) {
        b->code = HONE_FAIL(b->err, HONE_EBUG, "", "the model lacks the experts of layer %d", (int)b->layer);
        return 0;
    }
    hone_graph_last(b)->weight = router;
    hone_graph_last(b)->u.moe = moe;
    return at;
}

uint32_t hone_graph_ffn(hone_graph_builder *b, uint32_t x)
{
    const hone_weight *router = hone_graph_weight(b, HONE_R_FFN_ROUTER, HONE_PART_WEIGHT);
    if (router) return experts(b, router, x);
    if (!b->m->facts.ffn_gated) return hone_graph_linear(b, "ffn.down", HONE_R_FFN_DOWN, activate(b, hone_graph_linear(b, "ffn.up", HONE_R_FFN_UP, x)));
    uint32_t gate, up;
    if (hone_graph_weight(b, HONE_R_FFN_GATE_UP, HONE_PART_WEIGHT)) {
        uint32_t both = hone_graph_linear(b, "ffn.gate_up", HONE_R_FFN_GATE_UP, x);
        gate = slice(b, "ffn.gate", both, 0, b->m->facts.ffn);
        up = slice(b, "ffn.up", both, b->m->facts.ffn, b->m->facts.ffn);
    } else {
        gate = hone_graph_linear(b, "ffn.gate", HONE_R_FFN_GATE, x);
        up = hone_graph_linear(b, "ffn.up", HONE_R_FFN_UP, x);
    }
    return hone_graph_linear(b, "ffn.down", HONE_R_FFN_DOWN, hone_graph_two(b, HONE_OP_MUL, "ffn.mul", activate(b, gate), up));
}
