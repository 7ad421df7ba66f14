/* folder.h - a model folder as ONNX Runtime's users know it: genai_config.json with what it names, or model.onnx alone with the names that
 * exporters agree on.  Source of the keys: onnxruntime-genai, src/config.cpp. */
#ifndef HONE_BACKENDS_ONNXRUNTIME_FOLDER_H
#define HONE_BACKENDS_ONNXRUNTIME_FOLDER_H
#include "base/arena.h"
#include "hone/backend.h"

#define ORT_MODEL_FILE_MAX (2ull << 30) /* protobuf's own limit */

typedef struct hone_ort_folder { /* strings are in the arena; 0: not said */
    const char *dir, *model; /* paths of the folder and of the .onnx file */
    const char *ids, *mask, *positions, *types, *logits, *hidden;
    const char *past_key, *past_value, *present_key, *present_value; /* with "%d" for the layer */
    uint32_t    vocab, context, width /* hidden size */, kv_heads, head_dim;
    int32_t     bos, eos, eot; /* -1: none */
    bool        shared; /* past and present of a layer may be one buffer */
    uint64_t    weights_bytes; /* of all initializers */
    uint32_t    n_stream;      /* layers whose residual stream the model names (formats/onnx.h) */
} hone_ort_folder;

/* path: the folder, or the .onnx file in it.  3 when something is missing, cut or malformed: the cause names the file. */
int hone_ort_folder_read(const char *path, hone_arena *a, hone_ort_folder *out, hone_backend_error *e);

/* The template with the layer's number for "%d"; NULL when memory is gone. */
const char *hone_ort_name(hone_arena *a, const char *pattern, uint32_t layer);
#endif
