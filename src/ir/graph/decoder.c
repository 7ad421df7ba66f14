/* decoder.c - every causal family, from its facts: norms before or behind the halves of a layer, one after another or side by side. */
#include "ir/graph/build.h"

static uint32_t before(hone_graph_builder *b, const char *name, hone_role role, uint32_t x)
{
    return b->m->facts.norm_pre ? hone_graph_norm(b, name, role, x, 0) : x;
}

static uint32_t behind(hone_graph_builder *b, const char *norm, hone_role role, const char *scale, uint32_t x)
{
    if (b->m->facts.norm_post) x = hone_graph_norm(b, norm, role, x, 0);
    return hone_graph_scale(b, scale, x, b->m->facts.residual_scale);
}

/* x + attention(norm(x)) + ffn(norm'(x)); the norms may be one. */
static uint32_t side_by_side(hone_graph_builder *b, uint32_t x)
{
    uint32_t seen = before(b, "attn.norm", HONE_R_ATTN_NORM, x);
    uint32_t a = hone_graph_attention(b, seen);
    uint32_t read = b->m->facts.parallel_shared_norm ? seen : before(b, "ffn.norm", HONE_R_FFN_NORM, x);
    uint32_t y = hone_graph_ffn(b, read);
    return hone_graph_two(b, HONE_OP_ADD, "residual", hone_graph_two(b, HONE_OP_ADD, "halves", a, y), x);
}

static uint32_t one_by_one(hone_graph_builder *b, uint32_t x)
{
    uint32_t a = hone_graph_attention(b, before(b, "attn.norm", HONE_R_ATTN_NORM, x));
    a = behind(b, "attn.post_norm", HONE_R_ATTN_POST_NORM, "attn.scale", a);
    x = hone_graph_two(b, HONE_OP_ADD, "attn.residual", x, a);
    uint32_t y = hone_graph_ffn(b, before(b, "ffn.norm", HONE_R_FFN_NORM, x));
    y = behind(b, "ffn.post_norm", HONE_R_FFN_POST_NORM, "ffn.scale", y);
    return hone_graph_two(b, HONE_OP_ADD, "residual", x, y);
}

static uint32_t embed(hone_graph_builder *b)
{
    uint32_t x = hone_graph_scale(b, "embed.scale", hone_graph_embed(b, "embed", HONE_R_TOK_EMBD, b->ids), b->m->facts.embedding_scale);
    if (!hone_graph_weight(b, HONE_R_POS_EMBD, HONE_PART_WEIGHT)) return x;
    return hone_graph_two(b, HONE_OP_ADD, "embed.sum", x, hone_graph_embed(b, "embed.positions", HONE_R_POS_EMBD, b->positions));
}

void hone_graph_decoder(hone_graph_builder *b)
{
    const hone_facts *f = &b->m->facts;
    b->ids = hone_graph_input(b, HONE_OP_IDS, HONE_DIM_SEQ);
    b->mask = hone_graph_input(b, HONE_OP_MASK, HONE_DIM_TOTAL);
    b->positions = hone_graph_input(b, HONE_OP_POSITIONS, HONE_DIM_SEQ);
    uint32_t x = embed(b);
    for (uint32_t i = 0; i < f->n_layers && b->code == HONE_OK; i++) {
        b->layer = (int32_t)i;
        x = b->g->layers[i] = f->parallel_residual ? side_by_side(b, x) : one_by_one(b, x);
    }
    b->layer = -1;
    x = hone_graph_norm(b, "norm", HONE_R_OUTPUT_NORM, x, 0);
    x = hone_graph_linear(b, "logits", f->tied ? HONE_R_TOK_EMBD : HONE_R_OUTPUT, x);
    x = hone_graph_scale(b, "logits.scale", x, 1 / f->logit_scale);
    b->g->output = b->g->pooled = hone_graph_softcap(b, "logits.softcap", x, f->logit_softcap);
}
