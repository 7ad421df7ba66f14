/* artefact.h - what an artefact is: which format lies at a path, which plug-in runs it, and which files belong to it. */
#ifndef HONE_MEASURE_ARTEFACT_H
#define HONE_MEASURE_ARTEFACT_H
#include "base/arena.h"
#include "base/err.h"
#include "ir/facts.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct hone_artefact { /* strings live in the arena given at opening, or are constants */
    const char *path;     /* as given */
    const char *format;   /* "gguf", "onnx", "openvino", "mlx" */
    const char *backend;  /* the plug-in: "llamacpp", "onnxruntime", "openvino", "mlx" */
    const char *consumer; /* whose rows of data/limits.json hold for the plug-in: "llama.cpp", "onnxruntime", "openvino", "mlx" */
    const char *deployed; /* what usually runs such a file where it is deployed, when its limits are others: "mlx_lm"; or NULL */
    const char *opened;   /* what the plug-in is given: of GGUF parts the first */
    const char *model;    /* the file with graph or weights that tells their types: model.onnx, openvino_model.xml, a .gguf */
    const char *folder;   /* where config.json and the tokenizer's files lie; NULL: all is inside the file (GGUF) */
    const char *const *files; /* [n_files] paths of everything that is deployed, names in byte order */
    size_t      n_files;
    uint64_t    bytes;    /* of files together */
} hone_artefact;

/* path: a .gguf (one file or a part of several), .onnx or .xml file, or a folder: with openvino_model.xml; with genai_config.json or one .onnx; with
 * config.json and safetensors written for MLX; with GGUF parts.
 * Errors: HONE_EINPUT when there is nothing; HONE_EUNSUPPORTED names what was found instead (a checkpoint, another ending). */
hone_code hone_artefact_open(const char *path, hone_arena *a, hone_artefact *out, hone_err *err);
/* One file: its SHA-256.  Several: that of the list of digests, as `sha256sum * | sha256sum` in their folder (hone convert gives the same). */
hone_code hone_artefact_digest(const hone_artefact *x, char hex[65], hone_err *err);
/* The roughest type among the weight matrices: "f32", "f16", "bf16" or "quantised".  Errors: those of the format's reader. */
hone_code hone_artefact_precision(const hone_artefact *x, char *out, size_t cap, hone_err *err);
/* What config.json in the artefact's folder says; *known is false for GGUF and for folders without it. */
hone_code hone_artefact_facts(const hone_artefact *x, hone_arena *a, hone_facts *out, bool *known, hone_err *err);
/* True when it gives embeddings and no logits.  False also when nothing says so. */
hone_code hone_artefact_encoder(const hone_artefact *x, bool *out, hone_err *err);
/* "tale-8m-q4_k_m" of "out/tale-8m-q4_k_m.gguf", "tale-8m-int4-onnx" of a folder; a model.onnx or openvino_model.xml is called as its folder. */
const char *hone_artefact_name(const char *path, char *out, size_t cap);
#endif
