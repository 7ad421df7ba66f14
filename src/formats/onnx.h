/* onnx.h - a model folder for ONNX Runtime: model.onnx (operators only), model.onnx.data (weights, at offsets that are known before
 * anything is encoded), genai_config.json.  Knows no family: the operators come from ir/graph.h.
 * Sources: onnx/onnx.proto and docs/ExternalData.md of onnx; docs/ContribOperators.md of onnxruntime; src/python/py/models/builders/base.py of
 * onnxruntime-genai 0.18, whose layout (opset 21, ir_version 10, names of inputs and outputs) this is. */
#ifndef HONE_FORMATS_ONNX_H
#define HONE_FORMATS_ONNX_H
#include "base/json.h"
#include "ir/graph.h"
#include "quant/grouped.h"

#define HONE_ONNX_MODEL "model.onnx"
#define HONE_ONNX_DATA "model.onnx.data"
#define HONE_ONNX_GENAI "genai_config.json"

typedef struct hone_onnx_quant { /* what --quant can ask for */
    const char *name;
    uint32_t    bits;  /* of the codes of matrices; 0: not quantised ... */
    hone_dtype  dtype; /* ... but as this type, which activations have too */
} hone_onnx_quant;
extern const hone_onnx_quant hone_onnx_quants[];
extern const size_t          hone_onnx_quant_count;
const hone_onnx_quant       *hone_onnx_quant_find(const char *name); /* NULL: ONNX has no such encoding */

typedef struct hone_onnx_options {
    const hone_onnx_quant *quant;
    uint32_t               group;    /* columns that share a scale: 16..256, a power of two */
    bool                   sym;      /* no zero points */
    bool                   standard; /* operators of ai.onnx only, else those of com.microsoft too */
    /* What a single weight gets instead: *given false leaves it to the above; scheme NONE: not quantised.  NULL: all is left to it. */
    hone_code            (*choose)(void *self, const hone_weight *w, bool *given, hone_grouped *out, hone_err *err);
    void                  *self;
} hone_onnx_options;

/* Where the rows of one weight go in model.onnx.data: row r of stream s to bit (r * step * row_bits[s]) behind byte offset[s]. */
typedef struct hone_onnx_stored {
    hone_weight  w;    /* as the operators want it */
    const char  *name; /* of the initializer that holds it */
    hone_dtype   dtype;   /* of the elements when grouped.scheme is HONE_SCHEME_NONE */
    hone_grouped grouped;
    uint32_t     n_streams, step;
    uint64_t     offset[HONE_STREAMS], row_bits[HONE_STREAMS];
} hone_onnx_stored;

typedef struct hone_onnx_model {
    hone_bytes        topology; /* model.onnx */
    hone_onnx_stored *stored;   /* [n_stored] in the order in which the operators ask for them, the same at every precision */
    size_t            n_stored;
    uint64_t          data_bytes;    /* model.onnx.data */
    size_t            fallbacks;     /* matrices kept as floats because their rows cannot be cut in groups */
    bool              shared_buffer; /* past and present of the cache may be one buffer */
} hone_onnx_model;

/* The graph in ONNX's operators, and the plan of its weights.  Lives in the arena; weights' slices are borrowed from the model. */
hone_code hone_onnx_lower(const hone_graph *g, const hone_onnx_options *opt, hone_arena *a, hone_onnx_model *out, hone_err *err);

/* What onnxruntime-genai reads beside a decoder: facts, token ids (generation: generation_config.json or NULL; config: config.json).  *out owned. */
hone_code hone_onnx_genai(const hone_model *m, const hone_onnx_model *lowered, const json_t *config, const json_t *generation, json_t **out, hone_err *err);

/* --- reading, by code that shares nothing with the writer ------------------------------------------------------ */

typedef struct hone_onnx_tensor { /* an initializer; strings are in the arena */
    const char *name, *location; /* location: the file that holds the data; NULL: data is here */
    int32_t     type;            /* TensorProto.DataType */
    uint32_t    n_dims;
    uint64_t    dims[HONE_MAX_DIMS], offset, length; /* bytes in that file */
    hone_bytes  data;                                /* borrowed from the bytes that were read */
} hone_onnx_tensor;

typedef struct hone_onnx_file {
    int64_t           ir_version, opset, opset_ms; /* of ai.onnx and com.microsoft; 0: not imported */
    hone_onnx_tensor *tensors; /* [n_tensors] in the order of the file */
    size_t            n_tensors, n_nodes, n_foreign; /* nodes; those of other domains than ai.onnx */
    const char      **inputs, **outputs;
    size_t            n_inputs, n_outputs;
    uint32_t          n_stream; /* layers, from 0 on, whose residual stream is a value of the name that ir/graph.h gives it */
} hone_onnx_file;

/* Reads a serialised ModelProto: its initializers and what is checked of its nodes (every value that a node reads is an input, an
 * initializer, or made by an earlier node).  Does not descend into subgraphs, so nesting costs nothing.
 * HONE_EINPUT: not a ModelProto, a length past the end, a tensor whose length is not that of its shape. */
hone_code hone_onnx_read(hone_bytes file, hone_arena *a, hone_onnx_file *out, hone_err *err);
/* Name of the value behind layer i, as this project writes it. */
#define HONE_ONNX_STREAM "layers.%u.residual"
/* Bits of an element of a TensorProto.DataType; 0: unknown or of no fixed size. */
uint32_t hone_onnx_type_bits(int32_t type);

/* Files beside the weights that are copied as they are. */
extern const char *const hone_onnx_side_files[];
extern const size_t      hone_onnx_side_file_count;
/* True for the names of files in such a folder, so that a folder may be replaced when it holds nothing else. */
bool hone_onnx_owns(const char *file);
#endif
