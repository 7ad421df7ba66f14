#include "formats/mlx.h"
#include <stdio.h>
#include <stdlib.h>

const hone_mlx_quant hone_mlx_quants[] = {
    { "int4", HONE_SCHEME_MLX_AFFINE, 4, HONE_DTYPE_COUNT, 0, "affine" },
    { "int8", HONE_SCHEME_MLX_AFFINE, 8, HONE_DTYPE_COUNT, 0, "affine" },
    { "int6", HONE_SCHEME_MLX_AFFINE, 6, HONE_DTYPE_COUNT, 0, "affine" },
    { "int5", HONE_SCHEME_MLX_AFFINE, 5, HONE_DTYPE_COUNT, 0, "affine" },
    { "int3", HONE_SCHEME_MLX_AFFINE, 3, HONE_DTYPE_COUNT, 0, "affine" },
    { "int2", HONE_SCHEME_MLX_AFFINE, 2, HONE_DTYPE_COUNT, 0, "affine" },
    { "mxfp4", HONE_SCHEME_MLX_MXFP4, 4, HONE_DTYPE_COUNT, 32, "mxfp4" },
    { "nvfp4", HONE_SCHEME_MLX_NVFP4, 4, HONE_DTYPE_COUNT, 16, "nvfp4" },
    { "mxfp8", HONE_SCHEME_MLX_MXFP8, 8, HONE_DTYPE_COUNT, 32, "mxfp8" },
    { "bf16", HONE_SCHEME_NONE, 0, HONE_DTYPE_BF16, 0, NULL },
    { "f16", HONE_SCHEME_NONE, 0, HONE_DTYPE_F16, 0, NULL },
    { "f32", HONE_SCHEME_NONE, 0, HONE_DTYPE_F32, 0, NULL },
};
const size_t hone_mlx_quant_count = HONE_COUNT(hone_mlx_quants);

const char *const hone_mlx_side_files[] = {
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "tokenizer.model", "vocab.json", "vocab.txt",
    "merges.txt", "chat_template.jinja", "chat_template.json", "generation_config.json",
};
const size_t hone_mlx_side_file_count = HONE_COUNT(hone_mlx_side_files);

const hone_mlx_quant *hone_mlx_quant_find(const char *name)
{
    for (size_t i = 0; i < hone_mlx_quant_count; i++)
        if (strcmp(name, hone_mlx_quants[i].name) == 0) return &hone_mlx_quants[i];
    return NULL;
}

hone_code hone_mlx_name(const hone_mlx_arch *m, const char *checkpoint, char *out, size_t size, hone_err *err)
{
    const char *at = NULL, *to = "", *rest = checkpoint;
    for (size_t i = 0; !at && i < HONE_COUNT(m->renames) && m->renames[i].from; i++) {
        at = strstr(checkpoint, m->renames[i].from);
        if (!at) continue;
        to = m->renames[i].to;
        rest = at + strlen(m->renames[i].from);
    }
    int n = snprintf(out, size, "%.*s%s%s", at ? (int)(at - checkpoint) : 0, checkpoint, to, rest);
    if (n < 0 || (size_t)n >= size) return HONE_FAIL(err, HONE_EBUG, "", "the name of '%s' in MLX has %d bytes, %zu fit", checkpoint, n, size - 1);
    return HONE_OK;
}

size_t hone_mlx_shards(const uint64_t *bytes, size_t n, uint64_t limit, uint32_t *shard)
{
    uint64_t size = 0;
    size_t   count = 0;
    for (size_t i = 0; i < n; i++) {
        if (count == 0 || bytes[i] > limit || size > limit - bytes[i]) {
            count++;
            size = 0;
        }
        shard[i] = (uint32_t)(count - 1);
        size += bytes[i];
    }
    return count;
}

const char *hone_mlx_shard_name(hone_arena *a, size_t shard, size_t n_shards)
{
    if (n_shards <= 1) return hone_arena_strdup(a, "model.safetensors");
    return hone_arena_printf(a, "model-%05zu-of-%05zu.safetensors", shard + 1, n_shards);
}

bool hone_mlx_owns(const char *file)
{
    static const char *const ours[] = { "config.json", "model.safetensors", "model.safetensors.index.json", "hone.json" };
    for (size_t i = 0; i < HONE_COUNT(ours); i++)
        if (strcmp(file, ours[i]) == 0) return true;
    for (size_t i = 0; i < hone_mlx_side_file_count; i++)
        if (strcmp(file, hone_mlx_side_files[i]) == 0) return true;
    unsigned k, n;
    char     end;
    return sscanf(file, "model-%5u-of-%5u.safetensor%c", &k, &n, &end) == 3 && end == 's' && strlen(file) == strlen("model-00001-of-00001.safetensors");
}

hone_code hone_mlx_dump(const json_t *doc, bool sorted, hone_arena *a, hone_bytes *out, hone_err *err)
{
    size_t flags = JSON_INDENT(4) | JSON_ENSURE_ASCII | (sorted ? JSON_SORT_KEYS : 0);
    for (size_t digits = 15; digits <= 17; digits++) {
        char *text = json_dumps(doc, flags | JSON_REAL_PRECISION(digits));
        if (!text) return HONE_NOMEM(err, "a JSON document");
        json_t *back = json_loads(text, JSON_ALLOW_NUL, NULL);
        bool    same = back && json_equal(back, doc);
        json_decref(back);
        char *kept = same ? hone_arena_printf(a, "%s\n", text) : NULL;
        free(text);
        if (!same) continue;
        if (!kept) return HONE_NOMEM(err, "a JSON document");
        *out = (hone_bytes){ (const uint8_t *)kept, strlen(kept) };
        return HONE_OK;
    }
    return HONE_FAIL(err, HONE_EBUG, "", "a JSON document does not read back as it was written");
}
