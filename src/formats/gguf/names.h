/* names.h - what llama.cpp calls the tensor that plays a role.  Source: llama.cpp src/llama-arch.cpp, LLM_TENSOR_NAMES. */
#ifndef HONE_FORMATS_GGUF_NAMES_H
#define HONE_FORMATS_GGUF_NAMES_H
#include "base/err.h"
#include "ir/role.h"
#include <stddef.h>
#include <stdint.h>

#define HONE_GGUF_NAME 64 /* room for every name and its NUL (GGML_MAX_NAME) */

/* Writes the NUL-terminated name into out[cap].  layer: -1 for roles that are not of a layer.
 * Errors: HONE_EBUG for a role GGUF has no place for (pooler, ignored), a layer where none belongs or the other way round, or cap too small. */
hone_code hone_gguf_tensor_name(hone_role role, hone_part part, int32_t layer, char *out, size_t cap, hone_err *err);
/* The other way: "blk.3.ffn_up.weight" is FFN_UP of layer 3.  "ffn_up" is always FFN_UP, never FFN_GATE_UP.  False for every other name. */
bool hone_gguf_tensor_role(const char *name, hone_role *role, hone_part *part, int32_t *layer);
#endif
