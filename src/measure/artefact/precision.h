/* precision.h - how much the weight matrices of an artefact lost: one look at the types in its header, no weight is read. */
#ifndef HONE_MEASURE_ARTEFACT_PRECISION_H
#define HONE_MEASURE_ARTEFACT_PRECISION_H
#include "base/err.h"

typedef enum hone_loss { HONE_LOSS_NONE, HONE_LOSS_F16, HONE_LOSS_BF16, HONE_LOSS_QUANTISED } hone_loss; /* a larger one is the rougher */
const char *hone_loss_name(hone_loss l); /* "f32", "f16", "bf16", "quantised" */

/* The roughest among tensors of two dimensions or more.  *out is only raised. */
hone_code hone_loss_gguf(const char *path, hone_loss *out, hone_err *err);
hone_code hone_loss_mlx(const char *folder, hone_loss *out, hone_err *err);
hone_code hone_loss_onnx(const char *path, hone_loss *out, hone_err *err);
hone_code hone_loss_openvino(const char *path, hone_loss *out, hone_err *err);
#endif
