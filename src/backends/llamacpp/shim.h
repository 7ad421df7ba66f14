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

/* Renders messages through the template with common/jinja, set up as transformers does it (apply_chat_template: messages, tools,
 * documents and add_generation_prompt are always defined).  options may be NULL; bos and eos are NULL when the model has none.
 * Returns the numbers of hone_backend.h; on 0 the text is written when *len <= cap.  why[cap] is filled on failure. */
int hone_llamacpp_render(const char *source, const char *messages, const char *options, const char *bos, const char *eos, char *text,
                         size_t cap, size_t *len, char *why, size_t why_cap);

#ifdef __cplusplus
}
#endif
#endif
