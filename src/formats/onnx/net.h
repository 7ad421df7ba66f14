/* net.h - ir/net.h from and to a model.onnx: opset 7 to 22 of ai.onnx, other domains kept; constants inside the file or in files beside it.
 * Reads the wire format itself, as read.c does, and for its reasons; constants stay in the file until they are asked for. */
#ifndef HONE_FORMATS_ONNX_NET_H
#define HONE_FORMATS_ONNX_NET_H
#include "base/ctx.h"
#include "ir/net.h"

#define HONE_NET_OPSET_MIN 7
#define HONE_NET_OPSET_MAX 22

/* Opens a model; hone_net_close(out) after.  HONE_EINPUT: no ONNX model, broken, a constant whose bytes are not those of its shape, a value made twice or
 * read before it is made, external data that leaves the folder or lies past the end.  HONE_EUNSUPPORTED: opset outside 7..22. */
hone_code hone_onnx_net_open(const char *path, hone_net *out, hone_err *err);
/* The same from memory (borrowed); external data cannot be read then. */
hone_code hone_onnx_net_parse(hone_bytes file, hone_net *out, hone_err *err);

typedef struct hone_onnx_net_written { uint64_t bytes; bool external; } hone_onnx_net_written; /* of all files; a .data file was needed */
/* Writes dir/file and, when the constants have more than `inline_max` bytes together, the large ones into dir/file.data.  The folder exists.
 * What is written is not yet read back: hone_onnx_net_open does that. */
hone_code hone_onnx_net_write(const hone_ctx *ctx, const hone_net *net, const char *dir, const char *file, uint64_t inline_max, hone_onnx_net_written *out,
                              hone_err *err);
#define HONE_ONNX_INLINE_MAX (1ull << 30)

/* Who wrote a model: producer_name into out[cap], "" when it does not say.  Reads only what is before and behind the graph. */
hone_code hone_onnx_net_producer(const char *path, char *out, size_t cap, hone_err *err);
#endif
