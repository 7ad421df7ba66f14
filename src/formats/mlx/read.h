/* read.h - a folder of mlx_lm, or one of ours, read as the checkpoint it was made from.  Knows no family.
 * Source: load_model of mlx_lm/utils.py of mlx-lm 0.32.2. */
#ifndef HONE_FORMATS_MLX_READ_H
#define HONE_FORMATS_MLX_READ_H
#include "base/json.h"
#include "ir/model.h"
#include "quant/grouped.h"

#define HONE_MLX_EXPERTS_MAX 65536 /* matrices in one stack */

typedef struct hone_mlx_part { /* how one tensor of a view lies in the folder */
    const hone_tensor *weight;         /* of the raw source: codes, or the tensor itself */
    const hone_tensor *scales, *biases; /* of the raw source; NULL: not quantised / a scheme without biases */
    hone_grouped       grouped;        /* scheme HONE_SCHEME_NONE when not quantised */
    uint64_t           row0;           /* first row in weight: experts are stacked there */
} hone_mlx_part;

/* True when config.json or the header of the first file say that mlx wrote the folder. */
bool hone_mlx_is(const hone_source *raw, const json_t *config);

/* The folder's tensors as a checkpoint has them: names of checkpoints (stacks of experts taken apart), quantised ones as F32, decoded when they
 * are read, a few rows at a time; matrices upright.  config: as in the folder ("quantization" with its overrides).  m: the family's row;
 * without a model name there names stay as they are.
 * raw is taken over on HONE_OK: closing *out closes it.  HONE_EINPUT names the module and the two values that disagree. */
hone_code hone_mlx_view(hone_source *raw, const json_t *config, const hone_mlx_arch *m, hone_arena *a, hone_source **out, hone_err *err);
/* t: a tensor of a view s; borrowed. */
const hone_mlx_part *hone_mlx_part_of(const hone_source *s, const hone_tensor *t);
/* The source that s is a view of; borrowed. */
const hone_source *hone_mlx_raw(const hone_source *s);
/* Takes what a view has undone out of config.json: "quantization" and its twin. */
void hone_mlx_config_plain(json_t *config);
#endif
