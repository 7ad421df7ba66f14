/* session.h - an ONNX Runtime session on a device, and what goes in and comes out of it. */
#ifndef HONE_BACKENDS_ONNXRUNTIME_SESSION_H
#define HONE_BACKENDS_ONNXRUNTIME_SESSION_H
#include "backends/onnxruntime/api.h"
#include "base/arena.h"

enum { ORT_RANK_MAX = 8 };

typedef struct hone_ort_port {
    const char *name;
    int         type; /* ORT_F32, ... */
    size_t      rank;
    int64_t     dims[ORT_RANK_MAX]; /* -1: any */
    const char *symbols[ORT_RANK_MAX]; /* "" where a dimension has no name */
} hone_ort_port;

typedef struct hone_ort_session {
    const hone_ort *o;
    OrtSession     *s;
    OrtMemoryInfo  *memory; /* where the device computes; NULL: processor memory */
    hone_ort_port  *in, *out; /* [n_in], [n_out]; in the arena */
    size_t          n_in, n_out;
    char            device[16]; /* "cpu", "gpu", "npu" */
    char            provider[64]; /* "CPUExecutionProvider" */
} hone_ort_session;

/* "cpu: CPUExecutionProvider; gpu: CUDAExecutionProvider": what this library was built with and has found. */
int hone_ort_devices(const hone_ort *o, char *out, size_t cap, hone_backend_error *e);

/* Opens the model at path on device ("cpu", "gpu", "npu", "auto"); where that cannot be, on the processor, with the reason in fallback ("" if
 * there is none).  4 for a device that is no such word.  Names are in the arena. */
int hone_ort_session_open(const hone_ort *o, const char *path, const char *device, uint32_t threads, hone_arena *a, hone_ort_session *out,
                          char *fallback, size_t fallback_cap, hone_backend_error *e);
/* The same from the bytes of a model whose other files lie in dir; on the processor. */
int hone_ort_session_open_bytes(const hone_ort *o, hone_bytes model, const char *dir, const char *path, uint32_t threads, hone_arena *a,
                                hone_ort_session *out, hone_backend_error *e);
void hone_ort_session_close(hone_ort_session *s); /* NULL and zeroed are fine */

/* NULL when there is none of that name. */
const hone_ort_port *hone_ort_find(const hone_ort_port *ports, size_t n, const char *name);
/* Bytes of an element; 0 for types that are not in the enum of api.h. */
size_t hone_ort_size(int type);
#endif
