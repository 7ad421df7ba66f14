/* write.h - a graph of ONNX operators under construction: nodes are added one by one, the first failure sticks and everything after it does
 * nothing.  Values are their names; all of it lives in one arena.  Knows no model. */
#ifndef HONE_FORMATS_ONNX_WRITE_H
#define HONE_FORMATS_ONNX_WRITE_H
#include "base/arena.h"
#include "ir/dtype.h"
#include "onnx.pb-c.h"

/* TensorProto.DataType; int4 came with onnx 1.16, after the onnx.proto that is compiled in. */
enum { HONE_ONNX_F32 = 1, HONE_ONNX_U8 = 2, HONE_ONNX_I8 = 3, HONE_ONNX_I32 = 6, HONE_ONNX_I64 = 7, HONE_ONNX_BOOL = 9, HONE_ONNX_F16 = 10,
       HONE_ONNX_U4 = 21, HONE_ONNX_I4 = 22 };

typedef struct hone_onnx_list { /* of pointers, grown in the arena */
    void **at;
    size_t n, cap;
} hone_onnx_list;

typedef struct hone_onnx_writer {
    hone_arena    *a;
    hone_err      *err;
    hone_code      code;   /* of the first failure */
    hone_onnx_list nodes, tensors, constants /* those of tensors that are found again by name */, inputs, outputs;
    const char    *prefix; /* names of values are prefix/Operator.serial */
    uint32_t       serial;
    int32_t        type; /* of activations: HONE_ONNX_F32 or HONE_ONNX_F16 */
} hone_onnx_writer;

void *hone_onnx_push(hone_onnx_writer *w, hone_onnx_list *l, void *item); /* item; NULL after a failure */
void  hone_onnx_nomem(hone_onnx_writer *w);
/* A name in the arena; "" when memory is gone. */
const char *hone_onnx_name(hone_onnx_writer *w, const char *fmt, ...) HONE_PRINTF(2, 3);

/* Adds a node that gives out (NULL: a name is made) and returns that name.  in: names, "" for an input that is left out. */
const char *hone_onnx_op(hone_onnx_writer *w, const char *op, const char *out, const char *const *in, size_t n_in);
#define OP(w, op, out, ...)                                                                                                                \
    hone_onnx_op(w, op, out, (const char *const[]){ __VA_ARGS__ }, sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(const char *))
/* About the node added last: operators of com.microsoft, more results ("" for one that is left out), attributes. */
void        hone_onnx_ms(hone_onnx_writer *w);
const char *hone_onnx_result(hone_onnx_writer *w, const char *out);
void        hone_onnx_attr_i(hone_onnx_writer *w, const char *name, int64_t v);
void        hone_onnx_attr_f(hone_onnx_writer *w, const char *name, double v);
void        hone_onnx_attr_s(hone_onnx_writer *w, const char *name, const char *v);
void        hone_onnx_attr_is(hone_onnx_writer *w, const char *name, const int64_t *v, size_t n);

/* Constants inside model.onnx: one i64, a list of them, one number of a float type, a list of f32.  Equal ones are one. */
const char *hone_onnx_i64(hone_onnx_writer *w, int64_t v);
const char *hone_onnx_i64s(hone_onnx_writer *w, const int64_t *v, size_t n);
#define INTS(w, ...) hone_onnx_i64s(w, (const int64_t[]){ __VA_ARGS__ }, sizeof((const int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t))
const char *hone_onnx_number(hone_onnx_writer *w, int32_t type, double v);
const char *hone_onnx_floats(hone_onnx_writer *w, const char *name, const float *v, size_t n);
/* n times the same number of the activations' type. */
const char *hone_onnx_filled(hone_onnx_writer *w, double v, size_t n);

const char *hone_onnx_cast(hone_onnx_writer *w, const char *x, int32_t type);
const char *hone_onnx_reshape(hone_onnx_writer *w, const char *out, const char *x, const int64_t *dims, size_t n);
#define RESHAPE(w, out, x, ...)                                                                                                            \
    hone_onnx_reshape(w, out, x, (const int64_t[]){ __VA_ARGS__ }, sizeof((const int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t))
const char *hone_onnx_transpose(hone_onnx_writer *w, const char *x, const int64_t *perm, size_t n);
#define TRANSPOSE(w, x, ...)                                                                                                               \
    hone_onnx_transpose(w, x, (const int64_t[]){ __VA_ARGS__ }, sizeof((const int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t))
const char *hone_onnx_unsqueeze(hone_onnx_writer *w, const char *x, int64_t axis);

/* Inputs and outputs of the model; dims: names, or numbers as text. */
const char *hone_onnx_port(hone_onnx_writer *w, bool input, const char *name, int32_t type, const char *const *dims, size_t n);
#define INPUT(w, name, type, ...)                                                                                                          \
    hone_onnx_port(w, true, name, type, (const char *const[]){ __VA_ARGS__ }, sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(const char *))
#define OUTPUT(w, name, type, ...)                                                                                                         \
    hone_onnx_port(w, false, name, type, (const char *const[]){ __VA_ARGS__ }, sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(const char *))

/* A tensor whose data is in another file; where, is told later.  NULL after a failure. */
Onnx__TensorProto *hone_onnx_external(hone_onnx_writer *w, const char *name, int32_t type, const uint64_t *dims, size_t n);
void               hone_onnx_place(hone_onnx_writer *w, Onnx__TensorProto *t, const char *file, uint64_t offset, uint64_t length);

/* The whole as a ModelProto of opset 21 (and com.microsoft 1 when a node needs it), ir_version 10. */
hone_code hone_onnx_pack(hone_onnx_writer *w, const char *graph_name, hone_bytes *out);
#endif
