#include "backends/llamacpp/shim.h"

#include <exception>
#include <map>

/* Declared in llama.cpp's src/llama-ext.h, which is not installed; exported by libllama.so.  The pinned package is the only one
 * we build with, and the name with its types is checked by the linker. */
struct llama_memory_breakdown_data {
    size_t model = 0, context = 0, compute = 0;
    size_t total() const { return model + context + compute; }
};
std::map<ggml_backend_buffer_type_t, llama_memory_breakdown_data> llama_get_memory_breakdown(const struct llama_context *ctx);

hone_llamacpp_memory hone_llamacpp_memory_of(const struct llama_context *ctx)
{
    hone_llamacpp_memory sum = { 0, 0, 0 };
    try {
        for (const auto &entry : llama_get_memory_breakdown(ctx)) {
            sum.model += entry.second.model;
            sum.context += entry.second.context;
            sum.compute += entry.second.compute;
        }
    } catch (const std::exception &) {
        sum = { 0, 0, 0 };
    }
    return sum;
}
