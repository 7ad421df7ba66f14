/* mlx_layout.h - rewrite a model's weights into the form that mlx_lm's modules hold.
 * Source: mlx_lm/models/<model>.py of mlx-lm 0.32.2 (the modules and sanitize). */
#ifndef HONE_PASSES_MLX_LAYOUT_H
#define HONE_PASSES_MLX_LAYOUT_H
#include "ir/model.h"

/* HONE_OK when mlx_lm can run a model with these facts; else HONE_EUNSUPPORTED naming the fact and what mlx_lm does instead. */
hone_code hone_mlx_can(const hone_facts *f, hone_err *err);

/* The weights of the modules, in the arena, in the model's order: experts stacked, fused q, k, v head by head where the module has them so,
 * a tied head written twice where there always is one.  Weights are copies: m is not changed.  Calls hone_mlx_can first. */
hone_code hone_mlx_rewrite(const hone_model *m, hone_arena *a, hone_weight **out, size_t *n, hone_err *err);

/* True for the weight of a linear or embedding module: what nn.quantize quantises when its rows are whole groups. */
bool hone_mlx_is_module(const hone_weight *w);
/* True when quant_predicate keeps the role at 8 bits in groups of 64. */
bool hone_mlx_wants_eight_bits(const hone_facts *f, hone_role role);
#endif
