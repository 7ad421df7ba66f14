/* role.h - what a tensor is for.  Families name the same thing differently; roles are our one vocabulary. */
#ifndef HONE_IR_ROLE_H
#define HONE_IR_ROLE_H
#include <stdbool.h>

/* X(enumerator, name, per layer?)  Shapes are logical, outermost first; a linear layer is [out, in]. */
#define HONE_ROLES(X)                                                                                                  \
    X(TOK_EMBD, "tok_embd", 0)             /* [vocab, hidden] */                                                       \
    X(POS_EMBD, "pos_embd", 0)             /* [positions, hidden], learned */                                          \
    X(TOKEN_TYPES, "token_types", 0)       /* [types, hidden] (BERT) */                                                \
    X(TOK_EMBD_NORM, "tok_embd_norm", 0)   /* [hidden] (BERT) */                                                       \
    X(OUTPUT_NORM, "output_norm", 0)       /* [hidden] */                                                              \
    X(OUTPUT, "output", 0)                 /* [vocab, hidden]; absent when tied to TOK_EMBD */                         \
    X(ROPE_FREQS, "rope_freqs", 0)         /* [head_dim/2] divisors, computed from llama3 scaling */                   \
    X(ROPE_FACTORS_LONG, "rope_factors_long", 0)   /* [rope_dim/2] */                                                  \
    X(ROPE_FACTORS_SHORT, "rope_factors_short", 0) /* [rope_dim/2] */                                                  \
    X(ATTN_NORM, "attn_norm", 1)           /* [hidden] before attention */                                             \
    X(ATTN_Q, "attn_q", 1)                 /* [heads*head_dim, hidden] */                                              \
    X(ATTN_K, "attn_k", 1)                 /* [kv_heads*head_dim, hidden] */                                           \
    X(ATTN_V, "attn_v", 1)                 /* [kv_heads*head_dim, hidden] */                                           \
    X(ATTN_QKV, "attn_qkv", 1)             /* [(heads+2*kv_heads)*head_dim, hidden]: all q, then k, then v */          \
    X(ATTN_OUT, "attn_out", 1)             /* [hidden, heads*head_dim] */                                              \
    X(ATTN_Q_NORM, "attn_q_norm", 1)       /* [head_dim] or [heads*head_dim] */                                        \
    X(ATTN_K_NORM, "attn_k_norm", 1)       /* [head_dim] or [kv_heads*head_dim] */                                     \
    X(ATTN_POST_NORM, "attn_post_norm", 1) /* [hidden] on the attention output, before the residual add */             \
    X(ATTN_OUT_NORM, "attn_out_norm", 1)   /* [hidden] after the residual add (BERT) */                                \
    X(FFN_NORM, "ffn_norm", 1)             /* [hidden] before the feed-forward */                                      \
    X(FFN_POST_NORM, "ffn_post_norm", 1)   /* [hidden] on the feed-forward output, before the residual add */          \
    X(LAYER_OUT_NORM, "layer_out_norm", 1) /* [hidden] after the residual add (BERT) */                                \
    X(FFN_GATE, "ffn_gate", 1)             /* [ffn, hidden] */                                                         \
    X(FFN_UP, "ffn_up", 1)                 /* [ffn, hidden] */                                                         \
    X(FFN_GATE_UP, "ffn_gate_up", 1)       /* [2*ffn, hidden]: gate, then up */                                        \
    X(FFN_DOWN, "ffn_down", 1)             /* [hidden, ffn] */                                                         \
    X(FFN_ROUTER, "ffn_router", 1)         /* [experts, hidden] */                                                     \
    X(FFN_GATE_EXPS, "ffn_gate_exps", 1)   /* [experts, expert_ffn, hidden] */                                         \
    X(FFN_UP_EXPS, "ffn_up_exps", 1)       /* [experts, expert_ffn, hidden] */                                         \
    X(FFN_DOWN_EXPS, "ffn_down_exps", 1)   /* [experts, hidden, expert_ffn] */                                         \
    X(POOLER, "pooler", 0)                 /* [hidden, hidden] (BERT; unused by mean pooling) */                       \
    X(IGNORED, "ignored", 0)               /* known, carries no information (rotary inv_freq, attention masks) */

typedef enum hone_role {
#define HONE_X(e, name, per_layer) HONE_R_##e,
    HONE_ROLES(HONE_X)
#undef HONE_X
        HONE_R_COUNT
} hone_role;

typedef enum hone_part { HONE_PART_WEIGHT, HONE_PART_BIAS } hone_part;

const char *hone_role_name(hone_role r);
bool        hone_role_per_layer(hone_role r);
/* The weight or bias of a normalisation. */
bool        hone_role_is_norm(hone_role r);
#endif
