/* reveal.h - more of a model.onnx's values among its outputs.  Works on the bytes of the file; knows no runtime.
 * Source of the field numbers: onnx/onnx.proto (ModelProto.graph 7; GraphProto.output 12; ValueInfoProto.name 1, type 2; TypeProto.tensor_type 1;
 * TypeProto.Tensor.elem_type 1). */
#ifndef HONE_FORMATS_ONNX_REVEAL_H
#define HONE_FORMATS_ONNX_REVEAL_H
#include "base/arena.h"

/* The same model with these values (of a TensorProto.DataType; 0: the runtime finds out) as outputs too: a second `graph` field behind the first, because fields
 * that are messages and come twice are merged (protobuf, "Encoding", "Last One Wins").  *out is in the arena. */
hone_code hone_onnx_reveal(hone_bytes file, const char *const *names, uint32_t n, int32_t type, hone_arena *a, hone_bytes *out, hone_err *err);
#endif
