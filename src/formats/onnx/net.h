/* net.h - ir/net.h from and to a model.onnx: opset 7 to 22 of ai.onnx, other domains kept; constants inside the file or in files beside it.
 * Reads the wire format itself, as read.c does, and for its reasons; constants stay in the file until they are asked for. */
#ifndef HONE_FORMATS_ONNX_NET_H
#define HONE_FORMATS_ONNX_NET_H
#include "base/ctx.h"
#include "base/file.h"
#include "ir/net.h"

#define HONE_NET_OPSET_MIN 7
#define HONE_NET_OPSET_MAX 22

/* Opens a model; hone_net_close(out) after.  HONE_EINPUT: no ONNX model, broken, a constant whose bytes are not those of its shape, a value made twice or
 * read before it is made, external data that leaves the folder or lies past the end.  HONE_EUNSUPPORTED: opset outside 7..22. */
hone_code hone_onnx_net_open(const char *path, hone_net *out, hone_err *err);
/* The same from memory (borrowed); external data cannot be read then. */
hone_code hone_onnx_net_parse(hone_bytes file, hone_net *out, hone_err *err);

typedef struct hone_onnx_net_written { uint64_t bytes /* of all files */, data_bytes /* of the .data file */; bool external; /* it was needed */ } hone_onnx_net_written;
/* Writes dir/file and, when the constants have more than `inline_max` bytes together, the large ones into dir/file.data.  The folder exists.
 * What is written is not yet read back: hone_onnx_net_open does that. */
hone_code hone_onnx_net_write(const hone_ctx *ctx, const hone_net *net, const char *dir, const char *file, uint64_t inline_max, hone_onnx_net_written *out,
                              hone_err *err);

/* What it would write, without reading or writing a constant. */
hone_code hone_onnx_net_size(const hone_net *net, const char *file, uint64_t inline_max, hone_onnx_net_written *out, hone_err *err);

/* The same files compared with those in dir, which are only read: every difference goes to the judge, who finds here what lies there. */
typedef struct hone_onnx_net_check {
    hone_out_judge judge;     /* in: base/file.h */
    const char    *file;      /* name of the file, NUL-terminated, while the writer lives */
    size_t         constant;  /* index in net->constants of what is at hand; HONE_ONNX_NO_CONSTANT: the graph, or bytes between constants */
    uint64_t       begin;     /* where in the file its bytes begin */
} hone_onnx_net_check;
#define HONE_ONNX_NO_CONSTANT SIZE_MAX
hone_code hone_onnx_net_compare(const hone_ctx *ctx, const hone_net *net, const char *dir, const char *file, uint64_t inline_max, hone_onnx_net_check *check,
                                hone_onnx_net_written *out, hone_err *err);

/* The source's digest: one file: its SHA-256; with data beside it, that of the list of digests, as
 * `(sha256sum - <model.onnx; sha256sum DATA...) | sha256sum` prints it. */
hone_code hone_onnx_net_sha256(const hone_net *net, char hex[65], hone_err *err);
#define HONE_ONNX_INLINE_MAX (1ull << 30)

/* Who wrote a model: producer_name into out[cap], "" when it does not say.  Reads only what is before and behind the graph. */
hone_code hone_onnx_net_producer(const char *path, char *out, size_t cap, hone_err *err);
#endif
