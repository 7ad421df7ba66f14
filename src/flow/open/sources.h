/* sources.h - what can be converted besides a checkpoint folder.  Each opener fills m; the caller closes it, also after a failure. */
#ifndef HONE_FLOW_OPEN_SOURCES_H
#define HONE_FLOW_OPEN_SOURCES_H
#include "base/json.h"
#include "flow/convert.h"

/* A .gguf file, or the first of its parts: weights as a checkpoint has them (quantised ones are decoded when they are read), with the config.json and
 * the tokenizer files that its metadata stand for. */
hone_code hone_open_gguf(const char *path, hone_model *m, hone_err *err);

/* A folder that mlx_lm wrote, or one of ours (hone_mlx_is): m->source, its safetensors, becomes a view with a checkpoint's names and numbers, and
 * config loses what is undone.  family: the row's mlx column. */
hone_code hone_open_mlx(json_t *config, const hone_mlx_arch *family, hone_model *m, hone_err *err);

/* A folder with a model.onnx that hone wrote (config.json beside it): fills m->source, weights and facts. */
struct hone_arch;
hone_code hone_open_onnx(const char *dir, const json_t *config, const struct hone_arch *arch, hone_model *m, hone_err *err);
#endif
