/* mlx.h - a model folder as mlx_lm writes and loads it: names of modules, config.json, shards and their index.  Knows no family: what is
 * particular to one comes as data in hone_facts.mlx.  Source: mlx_lm/utils.py of mlx-lm 0.32.2 (load_model, save_model, save_config). */
#ifndef HONE_FORMATS_MLX_H
#define HONE_FORMATS_MLX_H
#include "base/json.h"
#include "ir/model.h"
#include "quant/grouped.h"

#define HONE_MLX_SHARD_BYTES (5ull << 30) /* MAX_FILE_SIZE_GB of mlx_lm/utils.py */

typedef struct hone_mlx_quant { /* what --quant can ask for */
    const char *name;
    hone_scheme scheme; /* HONE_SCHEME_NONE: not quantised ... */
    uint32_t    bits;
    hone_dtype  dtype; /* ... but all floats as this type */
    uint32_t    group; /* 0: the user's choice of 32, 64, 128 */
    const char *mode;  /* as config.json and mx.quantize call it */
} hone_mlx_quant;
extern const hone_mlx_quant hone_mlx_quants[];
extern const size_t         hone_mlx_quant_count;
const hone_mlx_quant       *hone_mlx_quant_find(const char *name); /* NULL: MLX has no such encoding */

/* The parameter's name in mlx_lm's module, from its name in checkpoints.  HONE_EBUG when out is too short. */
hone_code hone_mlx_name(const hone_mlx_arch *m, const char *checkpoint, char *out, size_t size, hone_err *err);

/* Which shard each of n tensors goes to, as make_shards does: in order, a new shard when the next one would pass limit.  Returns their number. */
size_t hone_mlx_shards(const uint64_t *bytes, size_t n, uint64_t limit, uint32_t *shard);
/* "model.safetensors", or "model-00002-of-00005.safetensors" for shard 1 of 5; in the arena, NULL when memory is gone. */
const char *hone_mlx_shard_name(hone_arena *a, size_t shard, size_t n_shards);

/* config, read from the source, becomes what mlx_lm understands: flat rope_theta and rope_scaling beside rope_parameters, words that ModelArgs
 * needs and the file leaves out, layer types where those tell of windows.  What it says already stays. */
hone_code hone_mlx_config(json_t *config, const hone_facts *f, hone_err *err);
/* Notes that modules are quantised: "quantization" and the same as "quantization_config", with overrides {path: {group_size, bits, mode}} (may be empty). */
hone_code hone_mlx_config_quantized(json_t *config, const hone_mlx_quant *q, uint32_t group, json_t *overrides, hone_err *err);
/* The dtype that config.json gives the weights ("torch_dtype" or "dtype": mlx_lm.convert casts to the former only); false: none of f32 f16 bf16. */
bool hone_mlx_config_dtype(const json_t *config, hone_dtype *out);
hone_code hone_mlx_config_set_dtype(json_t *config, hone_dtype t, hone_err *err);

/* A document as Python's json.dump(indent=4) lays it out, every number with the fewest digits that read back the same; in the arena. */
hone_code hone_mlx_dump(const json_t *doc, bool sorted, hone_arena *a, hone_bytes *out, hone_err *err);

/* Files beside the weights that are copied as they are: tokenizer, chat template, generation defaults. */
extern const char *const hone_mlx_side_files[];
extern const size_t      hone_mlx_side_file_count;
/* True for the names of files in such a folder, so that a folder may be replaced when it holds nothing else. */
bool hone_mlx_owns(const char *file);
#endif
