/* encoder.c - BERT: three embeddings, norms behind the residual sums, every token sees all, pooling at the end. */
#include "ir/graph/build.h"

static uint32_t embed(hone_graph_builder *b, uint32_t types)
{
    uint32_t x = hone_graph_embed(b, "embed", HONE_R_TOK_EMBD, b->ids);
    if (hone_graph_weight(b, HONE_R_TOKEN_TYPES, HONE_PART_WEIGHT))
        x = hone_graph_two(b, HONE_OP_ADD, "embed.typed", x, hone_graph_embed(b, "embed.types", HONE_R_TOKEN_TYPES, types));
    if (hone_graph_weight(b, HONE_R_POS_EMBD, HONE_PART_WEIGHT))
        x = hone_graph_two(b, HONE_OP_ADD, "embed.sum", x, hone_graph_embed(b, "embed.positions", HONE_R_POS_EMBD, b->positions));
    return hone_graph_norm(b, "embed.norm", HONE_R_TOK_EMBD_NORM, x, 0);
}

static uint32_t layer(hone_graph_builder *b, uint32_t x)
{
    x = hone_graph_two(b, HONE_OP_ADD, "attn.residual", hone_graph_attention(b, x), x);
    x = hone_graph_norm(b, "attn.norm", HONE_R_ATTN_OUT_NORM, x, 0);
    x = hone_graph_two(b, HONE_OP_ADD, "ffn.residual", hone_graph_ffn(b, x), x);
    return hone_graph_norm(b, "residual", HONE_R_LAYER_OUT_NORM, x, 0);
}

static uint32_t pool(hone_graph_builder *b, uint32_t x)
{
    const hone_facts *f = &b->m->facts;
    if (f->pooling == HONE_POOL_NONE) return x;
    uint32_t at = hone_graph_two(b, HONE_OP_POOL, "embedding.pool", x, b->mask);
    if (b->code != HONE_OK) return 0;
    hone_node *n = hone_graph_last(b);
    n->dims[1] = n->dims[2];
    n->n_dims = 2;
    n->u.pool = f->pooling;
    return f->normalize_embedding ? hone_graph_add(b, HONE_OP_UNIT, "embedding.unit", 0, &at, 1) : at;
}

void hone_graph_encoder(hone_graph_builder *b)
{
    const hone_facts *f = &b->m->facts;
    b->ids = hone_graph_input(b, HONE_OP_IDS, HONE_DIM_SEQ);
    b->mask = hone_graph_input(b, HONE_OP_MASK, HONE_DIM_SEQ);
    b->positions = hone_graph_input(b, HONE_OP_POSITIONS, HONE_DIM_SEQ);
    uint32_t x = embed(b, hone_graph_input(b, HONE_OP_TYPES, HONE_DIM_SEQ));
    for (uint32_t i = 0; i < f->n_layers && b->code == HONE_OK; i++) {
        b->layer = (int32_t)i;
        x = b->g->layers[i] = layer(b, x);
    }
    b->layer = -1;
    b->g->output = x;
    b->g->pooled = pool(b, x);
}
