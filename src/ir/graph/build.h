/* build.h - what the decoder's and the encoder's builder share: nodes are added one by one, and the first failure sticks. */
#ifndef HONE_IR_GRAPH_BUILD_H
#define HONE_IR_GRAPH_BUILD_H
#include "ir/graph.h"

typedef struct hone_graph_builder {
    const hone_model *m;
    hone_arena       *a;
    hone_graph       *g;
    size_t            room;   /* nodes that fit */
    int32_t           layer;  /* of the nodes that are added now */
    hone_graph_rope   ropes[2]; /* [0]: of the model, [1]: of sliding-window layers with a base of their own */
    bool              have_rope[2];
    uint32_t          ids, mask, positions; /* input nodes */
    hone_code         code;   /* of the first failure; err is its */
    hone_err         *err;
} hone_graph_builder;

/* An input of shape [batch, last]. */
uint32_t hone_graph_input(hone_graph_builder *b, hone_op op, int64_t last);
/* A node with the shape of its first input, but width elements last (0: as many).  in[] is what it reads.  Returns its number; after a
 * failure all numbers are 0 and nothing is added. */
uint32_t hone_graph_add(hone_graph_builder *b, hone_op op, const char *name, uint64_t width, const uint32_t *in, uint32_t n_in);
/* The node just added, to fill in the rest; a place to write into after a failure, too. */
hone_node *hone_graph_last(hone_graph_builder *b);
/* The weight of a role in the current layer (global roles: everywhere); NULL when there is none. */
const hone_weight *hone_graph_weight(const hone_graph_builder *b, hone_role role, hone_part part);

uint32_t hone_graph_embed(hone_graph_builder *b, const char *name, hone_role role, uint32_t index);
uint32_t hone_graph_linear(hone_graph_builder *b, const char *name, hone_role role, uint32_t x);
/* group 0: the whole row is one group. */
uint32_t hone_graph_norm(hone_graph_builder *b, const char *name, hone_role role, uint32_t x, uint32_t group);
uint32_t hone_graph_two(hone_graph_builder *b, hone_op op, const char *name, uint32_t x, uint32_t y);
/* x * number; x itself when number is 1. */
uint32_t hone_graph_scale(hone_graph_builder *b, const char *name, uint32_t x, double number);
uint32_t hone_graph_softcap(hone_graph_builder *b, const char *name, uint32_t x, double number);

/* Projections, norms of q and k, rotation, attention, output projection. */
uint32_t hone_graph_attention(hone_graph_builder *b, uint32_t x);
/* Dense or experts, as the layer's weights say. */
uint32_t hone_graph_ffn(hone_graph_builder *b, uint32_t x);

void hone_graph_decoder(hone_graph_builder *b);
void hone_graph_encoder(hone_graph_builder *b);
#endif
