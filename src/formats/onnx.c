#include "formats/onnx.h"

/* bf16: no operator of the CPU provider takes it. */
const hone_onnx_quant hone_onnx_quants[] = {
    { "int4", 4, HONE_DTYPE_F32 },
    { "int8", 8, HONE_DTYPE_F32 },
    { "f16", 0, HONE_DTYPE_F16 },
    { "f32", 0, HONE_DTYPE_F32 },
};
const size_t hone_onnx_quant_count = HONE_COUNT(hone_onnx_quants);

const char *const hone_onnx_side_files[] = {
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "tokenizer.model", "vocab.json", "vocab.txt",
    "merges.txt", "chat_template.jinja", "chat_template.json", "generation_config.json", "config.json",
};
const size_t hone_onnx_side_file_count = HONE_COUNT(hone_onnx_side_files);

const hone_onnx_quant *hone_onnx_quant_find(const char *name)
{
    for (size_t i = 0; i < hone_onnx_quant_count; i++)
        if (strcmp(name, hone_onnx_quants[i].name) == 0) return &hone_onnx_quants[i];
    return NULL;
}

bool hone_onnx_owns(const char *file)
{
    static const char *const ours[] = { HONE_ONNX_MODEL, HONE_ONNX_DATA, HONE_ONNX_GENAI, "hone.json" };
    for (size_t i = 0; i < HONE_COUNT(ours); i++)
        if (strcmp(file, ours[i]) == 0) return true;
    for (size_t i = 0; i < hone_onnx_side_file_count; i++)
        if (strcmp(file, hone_onnx_side_files[i]) == 0) return true;
    return false;
}
