/* mix.h - which encoding each weight gets under a quantisation name ("q4_k_m").  The rules of llama.cpp, so that files agree.
 * Source: llama.cpp src/llama-quant.cpp, llama_tensor_get_type_impl and its callers. */
#ifndef HONE_PASSES_MIX_H
#define HONE_PASSES_MIX_H
#include "ir/model.h"

typedef struct hone_mix { const char *name; uint32_t file_type; hone_dtype base; const char *about; } hone_mix; /* file_type: general.file_type */
extern const hone_mix hone_mix_list[];
extern const size_t   hone_mix_count;
const hone_mix *hone_mix_find(const char *name); /* NULL when unknown */

/* types[i] = encoding of weights[i] as output tensors (already in output form: fused/stacked as the GGUF will hold them), in the order llama.cpp visits
 * them (its rules count visits).  has_imatrix changes some rules.  *fallbacks: how many tensors had to take a fallback because of their width. */
hone_code hone_mix_assign(const hone_mix *mix, const hone_facts *f, const hone_weight *const *weights, size_t n, bool has_imatrix,
                          hone_dtype *types, size_t *fallbacks, hone_err *err);
/* Whether llama.cpp quantises this tensor under any mix: matrices that are no norm, no router, no table of positions or token types.  What it
 * does not quantise its graphs add or multiply element by element, and there it takes no other type than f32. */
bool hone_mix_may_quantize(const hone_weight *w);
#endif
