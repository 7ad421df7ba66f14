/* mlx_arch.h - what mlx_lm can be told about a family, as data: a column of the family's row that facts carry to whoever lowers to MLX.
 * Knows no file.  Source of every flag and name: mlx_lm/models/<model>.py of mlx-lm 0.32.2 (ModelArgs, the modules, sanitize, quant_predicate). */
#ifndef HONE_IR_MLX_ARCH_H
#define HONE_IR_MLX_ARCH_H
#include "ir/role.h"
#include <stddef.h>

typedef enum hone_mlx_arch_flags {
    HONE_MLX_BIAS_QKV = 1 << 0,       /* q, k and v may have biases */
    HONE_MLX_BIAS_O = 1 << 1,         /* so may the attention output */
    HONE_MLX_BIAS_FFN = 1 << 2,       /* and the feed-forward */
    HONE_MLX_BIAS_ALWAYS = 1 << 3,    /* the loader insists on every bias it knows */
    HONE_MLX_HEAD_APART = 1 << 4,     /* the head is always a module of its own: a tied one is written a second time */
    HONE_MLX_HEAD_TIED = 1 << 5,      /* there is no head */
    HONE_MLX_HEAD_DIM = 1 << 6,       /* head_dim may differ from hidden/heads */
    HONE_MLX_QK_NORM = 1 << 7,        /* q and k are normalised, always */
    HONE_MLX_ROPE_PARTIAL = 1 << 8,   /* fewer rotated elements than head_dim */
    HONE_MLX_ROPE_SCALED = 1 << 9,    /* goes through initialize_rope: linear, dynamic, llama3, yarn and longrope */
    HONE_MLX_ROPE_LONG = 1 << 10,     /* longrope and linear only */
    HONE_MLX_ATTN_SCALE = 1 << 11,    /* the scale of attention comes from config.json */
    HONE_MLX_SOFTCAPS = 1 << 12,      /* soft-caps attention and logits, always */
    HONE_MLX_PARALLEL = 1 << 13,      /* can run attention and feed-forward in parallel */
    HONE_MLX_NO_ROPE = 1 << 14,       /* layers without rotation, by no_rope_layers */
    HONE_MLX_FFN_4X = 1 << 15,        /* the feed-forward is four times the hidden size, fixed in the code */
    HONE_MLX_QKV_BY_HEAD = 1 << 16,   /* the fused q, k, v lie head by head, as in the checkpoint */
    HONE_MLX_WINDOW_PATTERN = 1 << 17, /* sliding-window layers by sliding_window_pattern */
    HONE_MLX_WINDOW_TYPES = 1 << 18   /* ... by layer_types, if at least one layer is global */
} hone_mlx_arch_flags;

typedef struct hone_mlx_rename { const char *from, *to; } hone_mlx_rename; /* in a checkpoint's tensor name; "%" stands for the expert */

typedef struct hone_mlx_arch {
    const char     *model; /* module of mlx_lm/models; NULL: none */
    unsigned        flags; /* hone_mlx_arch_flags */
    unsigned        act;   /* hone_act built into the module */
    hone_mlx_rename renames[4];
    hone_role       eight_bits[3]; /* kept at 8 bits, group 64, whatever the others get (quant_predicate) */
    size_t          n_eight_bits;
    const char     *keys; /* words of config.json that ModelArgs reads; missing ones are filled in from the facts */
} hone_mlx_arch;
#endif
