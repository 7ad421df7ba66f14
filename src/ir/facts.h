/* facts.h - everything about a model but its weights: one struct of facts that all families fill and all outputs read.
 * A family's special ways are columns here, never an `if (family == ...)` elsewhere. */
#ifndef HONE_IR_FACTS_H
#define HONE_IR_FACTS_H
#include "ir/gguf_arch.h"
#include "ir/mlx_arch.h"
#include <stdbool.h>
#include <stdint.h>

typedef enum hone_kind { HONE_KIND_DECODER, HONE_KIND_ENCODER } hone_kind;
typedef enum hone_norm_kind { HONE_NORM_RMS, HONE_NORM_LAYER } hone_norm_kind;
typedef enum hone_act { HONE_ACT_SILU, HONE_ACT_GELU, HONE_ACT_GELU_TANH, HONE_ACT_RELU } hone_act; /* GELU is the erf form */
typedef enum hone_rope_kind { HONE_ROPE_NONE, HONE_ROPE_HALVES } hone_rope_kind; /* HALVES: pairs (i, i+dim/2), as all HF decoders here store q and k */
typedef enum hone_rope_scaling {
    HONE_ROPE_SCALE_NONE, HONE_ROPE_SCALE_LINEAR, HONE_ROPE_SCALE_LLAMA3, HONE_ROPE_SCALE_YARN,
    HONE_ROPE_SCALE_LONGROPE, HONE_ROPE_SCALE_DYNAMIC
} hone_rope_scaling;
typedef enum hone_pooling { HONE_POOL_NONE, HONE_POOL_MEAN, HONE_POOL_CLS, HONE_POOL_LAST } hone_pooling;

typedef struct hone_rope {
    hone_rope_kind    kind;
    uint32_t          dim;  /* rotated elements of each head, even, <= head_dim */
    double            base; /* theta */
    double            local_base; /* theta of sliding-window layers when it differs (Gemma 3), else 0 */
    hone_rope_scaling scaling;
    double            factor;       /* 1 when unscaled */
    double            low_freq, high_freq; /* llama3 */
    uint32_t          original_context;    /* llama3, yarn, longrope */
    double            attn_factor;         /* yarn, longrope: multiplies cos and sin; 0: the kind's own formula */
    double            beta_fast, beta_slow, mscale, mscale_all_dim; /* yarn */
    const float      *long_factors, *short_factors; /* [dim/2] or NULL, owned by the model's arena */
} hone_rope;

typedef struct hone_facts {
    const char *family;       /* hone's name: "llama", "qwen3_moe" (the arch row's name) */
    const char *hf_class;     /* architectures[0] */
    const char *name;         /* model name for people, or "" */
    const hone_gguf_arch *gguf; /* how llama.cpp runs the family: borrowed from the arch row; NULL when it does not */
    const hone_mlx_arch  *mlx;  /* the same for mlx_lm; NULL or without a model name when it does not */
    hone_kind   kind;
    uint32_t    n_layers, hidden, n_heads, n_kv_heads, head_dim, ffn, vocab, context;

    hone_norm_kind norm;
    double         norm_eps;
    bool           norm_plus_one;      /* RMS weight is stored minus one (Gemma) */
    bool           norm_pre, norm_post; /* which block norms exist: ATTN_NORM/FFN_NORM, ATTN_POST_NORM/FFN_POST_NORM */
    bool           parallel_residual;  /* attention and feed-forward read the same input, one add */
    bool           parallel_shared_norm; /* ... and the same norm */
    bool           qk_norm;            /* ATTN_Q_NORM, ATTN_K_NORM exist */
    bool           qk_norm_full;       /* ... over all heads at once, before the split into heads */
    bool           bias_q, bias_k, bias_v, bias_o, bias_ffn, bias_norm;
    hone_act       act;
    bool           ffn_gated;          /* down(act(gate) * up) rather than down(act(up)) */
    bool           tied;               /* the head is TOK_EMBD */

    hone_rope       rope;
    const bool     *no_rope;   /* [n_layers] true: no rotation in this layer (SmolLM3), or NULL */
    uint32_t        window;    /* sliding window in tokens (keys j with i-j < window are seen), 0: none */
    const bool     *windowed;  /* [n_layers] which layers have the window; NULL: all of them when window > 0 */
    uint32_t        window_pattern; /* p: every p-th layer is global (Gemma 2: 2, Gemma 3: 6), 0: no regular pattern */

    double attn_scale;      /* multiplies q.k; 1/sqrt(head_dim) unless the family says otherwise */
    double attn_softcap, logit_softcap; /* 0: none */
    double embedding_scale; /* 1: none (Gemma sqrt(hidden), Granite embedding_multiplier) */
    double residual_scale;  /* 1: none (Granite residual_multiplier) */
    double logit_scale;     /* logits are DIVIDED by this; 1: none (Granite logits_scaling) */

    uint32_t n_experts, n_experts_used, expert_ffn; /* 0: dense */
    bool     expert_norm_topk; /* the chosen experts' weights are renormalised to sum 1 */

    uint32_t     n_token_types; /* encoder */
    hone_pooling pooling;
    bool         normalize_embedding; /* sentence-transformers "Normalize" module */

    int64_t  bos, eos, pad; /* token ids from config.json, -1: none (the tokenizer's own word wins) */
} hone_facts;
#endif
