/* precision.h - how much the weight matrices of an artefact lost: one look at the types in its header, no weight is read. */
#ifndef HONE_MEASURE_ARTEFACT_PRECISION_H
#define HONE_MEASURE_ARTEFACT_PRECISION_H
#include "base/bytes.h"
#include "base/err.h"

typedef enum hone_loss { HONE_LOSS_NONE, HONE_LOSS_F16, HONE_LOSS_BF16, HONE_LOSS_QUANTISED } hone_loss; /* a larger one is the rougher */
const char *hone_loss_name(hone_loss l); /* "f32", "f16", "bf16", "quantised" */

/* The roughest among tensors of two dimensions or more.  *out is only raised. */
hone_code hone_loss_gguf(const char *path, hone_loss *out, hone_err *err);
hone_code hone_loss_mlx(const char *folder, hone_loss *out, hone_err *err);
hone_code hone_loss_onnx(const char *path, hone_loss *out, hone_err *err);
hone_code hone_loss_openvino(const char *path, hone_loss *out, hone_err *err);

/* The same from bytes in memory, for the fuzz target.  model: a whole .onnx (ModelProto); HONE_EINPUT when a length runs past its end.
 * Source: onnx/onnx.proto (ModelProto.graph 7, GraphProto.initializer 5, TensorProto.dims 1 and data_type 2). */
hone_code hone_loss_onnx_of(hone_bytes model, hone_loss *out, hone_err *err);
/* xml: an openvino_model.xml.  Source: OpenVINO "OpenVINO IR format": <layer type="Const"><data element_type= shape=>. */
hone_code hone_loss_openvino_of(hone_bytes xml, hone_loss *out, hone_err *err);
#endif
