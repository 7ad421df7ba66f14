/* gguf_arch.h - what llama.cpp can be told about a family, as data: a column of the family's row that facts carry to whoever lowers
 * to GGUF.  Knows no file.  Source of every flag: src/models/<name>.cpp of the pinned llama.cpp (load_arch_tensors, the graph). */
#ifndef HONE_IR_GGUF_ARCH_H
#define HONE_IR_GGUF_ARCH_H
#include <stdbool.h>
#include <stdint.h>

typedef enum hone_gguf_arch_flags {
    HONE_GGUF_QK_NEIGHBOURS = 1 << 0,  /* rotates (2i, 2i+1): LLAMA_ROPE_TYPE_NORM; q and k rows are permuted */
    HONE_GGUF_ROPE_FREQS = 1 << 1,     /* loads rope_freqs.weight: llama3 scaling works */
    HONE_GGUF_ROPE_FACTORS = 1 << 2,   /* loads rope_factors_{long,short}.weight: longrope works */
    HONE_GGUF_WINDOW = 1 << 3,         /* the graph has sliding-window layers, told by sliding_window(_pattern) */
    HONE_GGUF_ATTN_SCALE = 1 << 4,     /* reads attention.scale; otherwise 1/sqrt(head_dim) is built in */
    HONE_GGUF_HEAD_APART = 1 << 5,     /* output.weight is required: a tied head is written a second time */
    HONE_GGUF_HEAD_TIED = 1 << 6,      /* output.weight is never loaded */
    HONE_GGUF_HEAD_DIM = 1 << 7,       /* head_dim may differ from hidden/heads */
    HONE_GGUF_BIAS_O = 1 << 8,         /* attn_output.bias */
    HONE_GGUF_BIAS_FFN = 1 << 9,       /* ffn_*.bias */
    HONE_GGUF_BIAS_QKV = 1 << 10,      /* attn_{q,k,v,qkv}.bias */
    HONE_GGUF_ROPE_PARTIAL = 1 << 11,  /* fewer rotated elements than head_dim */
    HONE_GGUF_NORM_TOPK = 1 << 12,     /* renormalises the chosen experts' weights; without: leaves them as they are */
    HONE_GGUF_PARALLEL = 1 << 13,      /* can run attention and feed-forward in parallel */
    HONE_GGUF_KV_GROUPS = 1 << 14,     /* fewer key-value heads than heads */
    HONE_GGUF_ROPE_SCALED = 1 << 15,   /* linear and yarn scaling reach every rope of the graph */
    HONE_GGUF_BIAS_ALWAYS = 1 << 16,   /* the loader insists on every bias it knows */
    HONE_GGUF_SOFTCAPS = 1 << 17,      /* soft-caps attention and logits, always */
    HONE_GGUF_LOGIT_SOFTCAP = 1 << 18, /* soft-caps logits when told to */
    HONE_GGUF_WINDOW_ALWAYS = 1 << 19  /* has a window of its own when told of none */
} hone_gguf_arch_flags;

/* Which metadata keys a family's file carries beyond those that every file needs, so that our keys are those of llama.cpp's own
 * converter.  0 is right for a family that keeps to TextModel.set_gguf_parameters; every key that the model cannot do without is
 * written anyway (formats/gguf/meta.c).  Source: conversion/<family>.py of the pinned llama.cpp. */
typedef enum hone_gguf_arch_keys {
    HONE_GGUF_KEY_VOCAB_SIZE = 1 << 0,   /* <arch>.vocab_size */
    HONE_GGUF_KEY_ROPE_DIM = 1 << 1,     /* rope.dimension_count also where whole heads are rotated */
    HONE_GGUF_KEY_HEAD_DIM = 1 << 2,     /* attention.key_length, value_length also where they are hidden/heads */
    HONE_GGUF_KEY_NO_KV_HEADS = 1 << 3,  /* no attention.head_count_kv where it equals head_count */
    HONE_GGUF_KEY_NO_ROPE_BASE = 1 << 4, /* no rope.freq_base where it is llama.cpp's default of 10000 */
    HONE_GGUF_KEY_SCALES = 1 << 5,       /* attention.scale, embedding_scale, residual_scale, logit_scale (Granite) */
    HONE_GGUF_KEY_PARALLEL = 1 << 6,     /* use_parallel_residual */
    HONE_GGUF_KEY_WINDOW = 1 << 7,       /* attention.sliding_window even where there is none: 0 (Phi-3) */
    HONE_GGUF_KEY_ORIG_CONTEXT = 1 << 8, /* rope.scaling.original_context_length even where nothing is scaled (Phi-3) */
    HONE_GGUF_KEY_EXPERT_FFN = 1 << 9    /* expert_feed_forward_length (Qwen3-MoE; elsewhere feed_forward_length is the experts') */
} hone_gguf_arch_keys;

typedef struct hone_gguf_arch {
    const char *name;  /* general.architecture */
    unsigned    flags; /* hone_gguf_arch_flags */
    unsigned    keys;  /* hone_gguf_arch_keys */
    unsigned    act;   /* hone_act built into the graph; GELU and GELU_TANH count as one: ggml has the tanh form only */
    uint32_t    no_rope_step; /* every n-th layer is not rotated, fixed in the code; 0: all layers are rotated */
    uint32_t    window_step; /* every n-th layer is global when no sliding_window_pattern is written; 0: no windows */
    uint32_t    wide_scale_layers; /* with this many layers the built-in scale is 1/sqrt(hidden/heads) (Gemma 27B), 0: never */
    uint32_t    big_layers; /* with this many layers llama-quant calls the model "70B" ... */
    bool        big_needs_groups; /* ... if it has fewer key-value heads than heads */
} hone_gguf_arch;
#endif
