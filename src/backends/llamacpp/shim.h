/* shim.h - what the llama.cpp plug-in needs from llama.cpp's C++ side, as C functions.  No exception leaves them. */
#ifndef HONE_BACKENDS_LLAMACPP_SHIM_H
#define HONE_BACKENDS_LLAMACPP_SHIM_H
#include "llama.h"
#ifdef __cplusplus
extern "C" {
#endif

typedef struct hone_llamacpp_memory { /* bytes, summed over all buffer types */
    uint64_t model, context, compute;
} hone_llamacpp_memory;

/* What the context holds, as llama.cpp itself counts it (src/llama-context.cpp, llama_context::memory_breakdown). */
hone_llamacpp_memory hone_llamacpp_memory_of(const struct llama_context *ctx);

#ifdef __cplusplus
}
#endif
#endif
