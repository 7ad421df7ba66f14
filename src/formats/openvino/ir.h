/* ir.h - a graph of OpenVINO IR v11 while it is built: layers, ports, constants; then its XML and the front of its .bin.
 * Knows no model.  Adding never fails where it stands: the first trouble stays in the graph and hone_ov_finish reports it; until then
 * every port is valid to pass on.
 * Source: openvino docs/articles_en/documentation/openvino-ir-format.rst and the IR frontend (src/frontends/ir/src/ir_deserializer.cpp),
 * which infers shapes again: types and dimensions given here are for the tensors' names and for people, and must be right for people. */
#ifndef HONE_FORMATS_OPENVINO_IR_H
#define HONE_FORMATS_OPENVINO_IR_H
#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"

#define HONE_OV_MAX_DIMS 6
#define HONE_OV_DYN (-1) /* a dimension known at run time only */

/* X(enumerator, element_type as attributes spell it, precision as ports spell it, bits) */
#define HONE_OV_TYPES(X)                                                                                                                   \
    X(F32, "f32", "FP32", 32)                                                                                                              \
    X(F16, "f16", "FP16", 16)                                                                                                              \
    X(BF16, "bf16", "BF16", 16)                                                                                                            \
    X(I64, "i64", "I64", 64)                                                                                                               \
    X(I32, "i32", "I32", 32)                                                                                                               \
    X(I8, "i8", "I8", 8)                                                                                                                   \
    X(U8, "u8", "U8", 8)                                                                                                                   \
    X(I4, "i4", "I4", 4)                                                                                                                   \
    X(U4, "u4", "U4", 4)                                                                                                                   \
    X(BOOL, "boolean", "BOOL", 8)                                                                                                          \
    X(STRING, "string", "STRING", 0)

typedef enum hone_ov_type {
#define HONE_X(e, attribute, precision, bits) HONE_OV_##e,
    HONE_OV_TYPES(HONE_X)
#undef HONE_X
        HONE_OV_TYPE_COUNT
} hone_ov_type;

const char *hone_ov_type_name(hone_ov_type t); /* "f32" */

typedef struct hone_ov_shape {
    hone_ov_type type;
    uint32_t     n_dims; /* 0: a scalar */
    int64_t      dims[HONE_OV_MAX_DIMS]; /* outermost first */
    const char  *names;  /* of the tensor, comma-separated; NULL: none.  Copied. */
} hone_ov_shape;

typedef struct hone_ov_port { uint32_t layer, output; } hone_ov_port; /* an output of a layer */

typedef struct hone_ov_attr { const char *key, *value; } hone_ov_attr;

typedef struct hone_ov_layer { /* what hone_ov_add copies */
    const char          *name;    /* unique; NULL: "<type>_<number in the file>" */
    const char          *type;    /* "MatMul" */
    const char          *version; /* "opset1", or "extension" */
    const hone_ov_attr  *attrs; size_t n_attrs;
    const hone_ov_port  *in;    size_t n_in;
    const hone_ov_shape *out;   size_t n_out;
    const hone_ov_attr  *info;  size_t n_info; /* rt_info: attributes {name, value} of version "0"; value NULL: a mark without one */
} hone_ov_layer;

typedef struct hone_ov_ir hone_ov_ir;

/* NULL when memory is gone.  Everything lives in the arena, which must outlive it.  name: of the net. */
hone_ov_ir *hone_ov_new(hone_arena *a, const char *name);
/* Whether XML 1.0 (2.2) can hold the text: UTF-8 without control bytes other than tab, line feed and carriage return. */
bool hone_ov_spells(const char *s);
/* The layer's number; its outputs are {number, 0}, {number, 1} ... */
uint32_t hone_ov_add(hone_ov_ir *ir, const hone_ov_layer *l);
/* The type and shape of an output, as it was given. */
const hone_ov_shape *hone_ov_shape_of(const hone_ov_ir *ir, hone_ov_port p);

/* Names the tensor of an output that has none yet. */
void hone_ov_set_names(hone_ov_ir *ir, hone_ov_port p, const char *names);

/* Short forms.  name NULL as above; one output. */
hone_ov_port hone_ov_parameter(hone_ov_ir *ir, const char *name, const hone_ov_shape *shape); /* the tensor is called like the layer unless shape->names */
uint32_t     hone_ov_result(hone_ov_ir *ir, const char *name, hone_ov_port p);
/* Any layer with one output; attrs: key, value, key, value ... NULL. */
hone_ov_port hone_ov_op(hone_ov_ir *ir, const char *name, const char *type, const char *version, const hone_ov_port *in, size_t n_in,
                        const hone_ov_shape *out, ...);
/* A constant whose bytes (row-major, 4-bit values low nibble first) are known now: copied. */
hone_ov_port hone_ov_const(hone_ov_ir *ir, const char *name, const hone_ov_shape *shape, const void *bytes, size_t n);
hone_ov_port hone_ov_i64(hone_ov_ir *ir, const int64_t *values, size_t n); /* a vector [n] */
hone_ov_port hone_ov_scalar_i64(hone_ov_ir *ir, int64_t v);
hone_ov_port hone_ov_scalar_i32(hone_ov_ir *ir, int32_t v);
hone_ov_port hone_ov_scalar_f32(hone_ov_ir *ir, float v);
/* A constant whose bytes are written later, behind those that are known: dims all known, size by type and dims. */
hone_ov_port hone_ov_weight(hone_ov_ir *ir, const char *name, const hone_ov_shape *shape);

/* Information of the whole model: path "nncf/weight_compression/mode" nests elements; the last one gets value="...".  In order of first mention. */
void hone_ov_info(hone_ov_ir *ir, const char *path, const char *value);

/* Numbers the layers, lays the .bin out and writes the XML (both in the arena).  The file has the parameters as they came, then what results and
 * assignments need, inputs first: the same bytes in whatever order a compiler evaluates arguments.  What nothing needs is left out.  bin: the constants known now, what the file begins with; bin_total: bytes of the
 * whole file with those that follow (= bin.len when there are none).  To be called once, last.
 * Errors: HONE_ERESOURCE when memory ran out at any time before, HONE_EUNSUPPORTED when the weights do not fit 64 bits, HONE_EBUG when a
 * name was given twice, a layer was given a port that is not there yet or a constant had another size than its shape. */
hone_code hone_ov_finish(hone_ov_ir *ir, hone_bytes *xml, hone_bytes *bin, uint64_t *bin_total, hone_err *err);
/* After that: where in the .bin a weight's or constant's bytes go, and how many. */
uint64_t hone_ov_const_offset(const hone_ov_ir *ir, hone_ov_port p);
uint64_t hone_ov_const_bytes(const hone_ov_ir *ir, hone_ov_port p);
#endif
