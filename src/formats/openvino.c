#include "formats/openvino.h"

const hone_ov_quant hone_ov_quants[] = {
    { "int4", 4, HONE_DTYPE_COUNT },
    { "int8", 8, HONE_DTYPE_COUNT },
    { "f16", 0, HONE_DTYPE_F16 },
    { "f32", 0, HONE_DTYPE_F32 },
};
const size_t hone_ov_quant_count = HONE_COUNT(hone_ov_quants);

const char *const hone_ov_side_files[] = {
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "tokenizer.model", "vocab.json",  "vocab.txt",
    "merges.txt",     "chat_template.jinja",   "chat_template.json",      "generation_config.json", "config.json",
};
const size_t hone_ov_side_file_count = HONE_COUNT(hone_ov_side_files);

const hone_ov_quant *hone_ov_quant_find(const char *name)
{
    for (size_t i = 0; i < hone_ov_quant_count; i++)
        if (strcmp(name, hone_ov_quants[i].name) == 0) return &hone_ov_quants[i];
    return NULL;
}

bool hone_ov_owns(const char *file)
{
    static const char *const models[] = { "openvino_model", "openvino_tokenizer", "openvino_detokenizer" };
    if (strcmp(file, "hone.json") == 0) return true;
    for (size_t i = 0; i < hone_ov_side_file_count; i++)
        if (strcmp(file, hone_ov_side_files[i]) == 0) return true;
    for (size_t i = 0; i < HONE_COUNT(models); i++) {
        size_t n = strlen(models[i]);
        if (strncmp(file, models[i], n) == 0 && (strcmp(file + n, ".xml") == 0 || strcmp(file + n, ".bin") == 0)) return true;
    }
    return false;
}
