/* source.h - the weights of a model.onnx that this project wrote, as tensors: floats as they are, codes decoded when they are read.
 * Knows no family: who opens it says which initializers, or parts of them, are wanted under which names. */
#ifndef HONE_FORMATS_ONNX_SOURCE_H
#define HONE_FORMATS_ONNX_SOURCE_H
#include "formats/onnx.h"
#include "ir/model.h"

typedef struct hone_onnx_piece {
    const char *name;  /* of the tensor to be */
    const char *of;    /* the initializer: this name with floats or (operators of ai.onnx only) integers, or with ".codes" or ".rows" behind it */
    uint64_t    cols;  /* of a matrix; codes do not tell it */
    uint64_t    rows;  /* of each matrix: row0, row0 + step, ...; 0: all */
    uint64_t    row0, step;
} hone_onnx_piece;

/* True when f has an initializer for this name. */
bool hone_onnx_holds(const hone_onnx_file *f, const char *of);
/* *out reads from the file data (model.onnx.data); tensors and names live in the arena.  *quantized: bits of the codes of most weights, 0 when there
 * are none.  HONE_EINPUT names the initializer and the two values that disagree. */
hone_code hone_onnx_source(const hone_onnx_file *f, const char *data, const hone_onnx_piece *pieces, size_t n, hone_arena *a, hone_source **out,
                           uint32_t *quantized, hone_err *err);
#endif
