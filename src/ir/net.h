/* net.h - any ONNX model as a graph of operators that can be edited: nodes, values, constants.  Language models have ir/graph.h instead.
 * What an edit does not understand (subgraphs, functions, sparse tensors, fields of later versions) is kept as the bytes it was and written
 * back unchanged; values that a subgraph reads from outside are known by name and every edit keeps those names.
 * Knows no file: bytes of constants come through hone_net.read.  Everything lives in hone_net.arena; one thread at a time.
 * Source of all meanings: onnx/onnx.proto and docs/IR.md of onnx. */
#ifndef HONE_IR_NET_H
#define HONE_IR_NET_H
#include "base/arena.h"
#include "base/bytes.h"
#include "ir/dtype.h"

/* Element types, by their numbers in ONNX (TensorProto.DataType); 0: not known.  X(number, enumerator, name) */
#define HONE_NET_TYPES(X)                                                                                                               \
    X(1, F32, "f32") X(2, U8, "u8") X(3, I8, "i8") X(4, U16, "u16") X(5, I16, "i16") X(6, I32, "i32") X(7, I64, "i64") X(8, STRING, "string")  \
    X(9, BOOL, "bool") X(10, F16, "f16") X(11, F64, "f64") X(12, U32, "u32") X(13, U64, "u64") X(14, C64, "c64") X(15, C128, "c128")          \
    X(16, BF16, "bf16") X(17, F8_E4M3, "f8_e4m3") X(18, F8_E4M3FNUZ, "f8_e4m3fnuz") X(19, F8_E5M2, "f8_e5m2")                                \
    X(20, F8_E5M2FNUZ, "f8_e5m2fnuz") X(21, U4, "u4") X(22, I4, "i4") X(23, F4, "f4")
enum {
    HONE_NET_UNKNOWN = 0,
#define HONE_X(n, e, name) HONE_NET_##e = n,
    HONE_NET_TYPES(HONE_X)
#undef HONE_X
};
const char *hone_net_type_name(int32_t type); /* "f32"; "unknown" */
uint32_t    hone_net_type_bits(int32_t type); /* of an element; 0: unknown, or of no fixed size (strings) */

typedef struct hone_net       hone_net;
typedef struct hone_net_node  hone_net_node;
typedef struct hone_net_value hone_net_value;

/* A constant: elements in C order, little-endian; 4-bit ones two a byte, low bits first.  Its bytes are in memory, in a file, or made when they are asked for. */
typedef struct hone_net_tensor {
    int32_t         type;
    uint32_t        n_dims;
    const uint64_t *dims;  /* [n_dims], outermost first; n_dims 0: a scalar */
    uint64_t        n;     /* elements */
    uint64_t        bytes; /* 0 and `kept` set: strings */
    const uint8_t  *data;  /* NULL: not in memory */
    bool            in_file; /* at `offset` of file number `file` of hone_net.read */
    uint32_t        file;
    uint64_t        offset;
    /* Makes all bytes at once; must give the same every time.  from: whatever it needs, in the arena. */
    hone_code (*make)(const hone_net *net, const struct hone_net_tensor *t, uint8_t *out, hone_err *err);
    const void *from;
    hone_bytes  kept; /* further fields of the TensorProto, as they were (doc_string, string_data, ...) */
} hone_net_tensor;

typedef enum hone_net_kind { HONE_NET_ATTR_KEPT, HONE_NET_ATTR_INT, HONE_NET_ATTR_FLOAT, HONE_NET_ATTR_STRING, HONE_NET_ATTR_TENSOR, HONE_NET_ATTR_INTS,
                             HONE_NET_ATTR_FLOATS, HONE_NET_ATTR_STRINGS } hone_net_kind;
typedef struct hone_net_attr {
    const char      *name;
    hone_net_kind    kind;
    int64_t          i;
    float            f;
    hone_net_tensor *t;
    size_t           n;       /* of the lists; bytes of a string are s[0].len */
    const int64_t   *ints;
    const float     *floats;
    const hone_bytes *strings; /* [n]; a single string is strings[0] */
    hone_bytes       raw;     /* the AttributeProto as it was read: what is written.  Empty for one that we made. */
} hone_net_attr;

typedef struct hone_net_dim { int64_t n; const char *name; } hone_net_dim; /* n < 0: unknown; name: of a symbolic dimension, or NULL */

typedef struct hone_net_use { hone_net_node *node; uint32_t slot; } hone_net_use;
#define HONE_NET_ANY INT64_MIN
#define HONE_NET_CAPTURE UINT32_MAX /* slot of a use from inside a subgraph of the node */

struct hone_net_value { /* one per name */
    const char      *name;
    hone_net_node   *from; /* the node that makes it, as output number from_slot; NULL: graph input, constant, or nobody */
    uint32_t         from_slot;
    hone_net_tensor *tensor; /* an initializer; NULL: none.  With `input` too it is only a default that a caller may replace */
    hone_net_use    *uses;   /* [n_uses], in no order that means anything */
    size_t           n_uses, cap_uses, n_captures /* how many of them have slot HONE_NET_CAPTURE */;
    bool             input, output; /* of the graph */
    bool             sparse; /* an initializer among hone_net.graph_kept */
    bool             inner;  /* a name from inside a subgraph: taken, but no value of this graph */
    int32_t          type;   /* elements; 0: unknown */
    int32_t          n_dims; /* -1: unknown rank */
    const hone_net_dim *dims;
    const int64_t   *known;  /* [n_known] the elements themselves, when hone_net_infer found a small tensor of integers; HONE_NET_ANY: not known.  NULL: not found */
    uint32_t         n_known;
    bool             told;   /* the file has a ValueInfoProto for it: `info`, written back unless type or shape were changed by an edit */
    hone_bytes       info;
};

struct hone_net_node {
    hone_net_node   *prev, *next; /* in the order of execution */
    const char      *op, *domain /* "" for ai.onnx */, *name /* "" when it has none */;
    uint32_t         n_in, n_out, n_attrs;
    hone_net_value **in, **out;   /* NULL: left out.  Change them through the functions below only */
    hone_net_attr   *attrs;
    hone_net_value **captures;    /* [n_captures] values that its subgraphs read from this graph */
    size_t           n_captures;
    bool             subgraphs;   /* it has some */
    hone_bytes       kept;        /* further fields (doc_string, overload, metadata) as they were */
};

typedef struct hone_net_opset { const char *domain /* "" for ai.onnx */; int64_t version; } hone_net_opset;

struct hone_net {
    hone_arena       arena;
    hone_net_node   *first, *last;
    size_t           n_nodes;
    hone_net_value **inputs, **outputs; /* in order; inputs that are constants with a default (before ir_version 4) are among them */
    size_t           n_inputs, n_outputs;
    hone_net_value **constants; /* [n_constants] initializers, in the order of the file; NULL entries: removed */
    size_t           n_constants, cap_constants;
    hone_net_opset  *opsets;
    size_t           n_opsets;
    int64_t          ir_version;
    const char      *name;       /* of the graph */
    const char      *producer, *path; /* path: what was opened, for messages */
    hone_bytes       model_kept, graph_kept; /* all other fields: metadata, functions, training info, sparse initializers, ... */
    struct { hone_net_value **at; size_t n, cap; } values; /* by name: open addressing */
    uint32_t         serial; /* for fresh names */
    bool             functions; /* model_kept has some: their bodies are of the opsets that they name, and of no other */
    bool             elsewhere; /* what is kept as bytes (subgraphs, lists of constants) has constants in other files: it is right only where it was read */
    /* Reads from file number `file`; closes them.  Filled by who opened the net. */
    hone_code (*read)(void *self, uint32_t file, uint64_t off, void *buf, size_t n, hone_err *err);
    void (*close)(void *self);
    void *self;
};

/* Closes the files, frees the arena.  NULL and zeroed are fine. */
void hone_net_close(hone_net *net);

/* ---- looking ---- */
hone_net_value      *hone_net_find(const hone_net *net, const char *name); /* NULL: no value of this graph has that name */
int64_t              hone_net_opset_of(const hone_net *net, const char *domain); /* "" for ai.onnx; 0: not imported */
const hone_net_attr *hone_net_attr_find(const hone_net_node *n, const char *name); /* NULL: not given */
int64_t              hone_net_attr_int(const hone_net_node *n, const char *name, int64_t otherwise);
double               hone_net_attr_float(const hone_net_node *n, const char *name, double otherwise);
/* The only string, NUL-terminated in the arena when the file was read; `otherwise` when not given. */
const char          *hone_net_attr_str(const hone_net_node *n, const char *name, const char *otherwise);
/* True for an operator of ai.onnx of this name. */
bool                 hone_net_is_op(const hone_net_node *n, const char *op);
static inline hone_net_value *hone_net_in(const hone_net_node *n, uint32_t i) { return i < n->n_in ? n->in[i] : NULL; }
static inline hone_net_value *hone_net_out(const hone_net_node *n, uint32_t i) { return i < n->n_out ? n->out[i] : NULL; }
/* What v is when the model is opened and can never change: an initializer that is no input, or the value of a Constant node; else NULL. */
hone_net_tensor     *hone_net_constant(const hone_net_value *v);
/* The only node that reads v, when v is read by nothing else, no subgraph and no output of the graph; else NULL. */
hone_net_node       *hone_net_only_reader(const hone_net_value *v);

/* ---- bytes of constants ---- */
/* n bytes from off on, into buf; off + n <= t->bytes. */
hone_code hone_net_tensor_read(const hone_net *net, const hone_net_tensor *t, uint64_t off, void *buf, size_t n, hone_err *err);
/* All elements as float32 (any float or integer type), in malloc'd memory: free(*out).  HONE_EUNSUPPORTED for other types. */
hone_code hone_net_tensor_floats(const hone_net *net, const hone_net_tensor *t, float **out, hone_err *err);
/* At most max elements of an integer type as int64 into out[max]; *n how many there are.  False: not integers, more than max, or unreadable. */
bool      hone_net_tensor_ints(const hone_net *net, const hone_net_tensor *t, int64_t *out, size_t max, size_t *n);

/* ---- editing: NULL or false when memory is gone ---- */
/* A value of that name; made when missing. */
hone_net_value  *hone_net_value_get(hone_net *net, const char *name);
/* "stem", or "stem.N" when that is taken by anything in the file, subgraphs included. */
const char      *hone_net_fresh(hone_net *net, const char *stem);
hone_net_value  *hone_net_value_new(hone_net *net, const char *stem, int32_t type); /* of a fresh name */
/* A new node before `before` (NULL: last), with a fresh name.  in, out: entries may be NULL.  An `out` must have no maker yet. */
hone_net_node   *hone_net_node_new(hone_net *net, hone_net_node *before, const char *op, const char *domain, hone_net_value *const *in, size_t n_in,
                                   hone_net_value *const *out, size_t n_out);
/* Unlinks it: its inputs lose a use, its outputs their maker.  Constants that nobody reads any more stay until hone_net_sweep. */
void             hone_net_node_remove(hone_net *net, hone_net_node *n);
bool             hone_net_set_in(hone_net *net, hone_net_node *n, uint32_t slot, hone_net_value *v);  /* slot may be n_in: one more */
bool             hone_net_set_out(hone_net *net, hone_net_node *n, uint32_t slot, hone_net_value *v); /* v (may be NULL) must have no maker; slot may be n_out */
/* Inputs that are left out at the end are gone, which says the same.  Nodes with subgraphs stay as they are. */
void             hone_net_trim(hone_net *net);
/* All nodes that read v read w instead.  Captures and outputs of the graph stay with v: false, and nothing is done, when v has some. */
bool             hone_net_redirect(hone_net *net, hone_net_value *v, hone_net_value *w);
/* Adds or replaces an attribute. */
bool             hone_net_attr_set_int(hone_net *net, hone_net_node *n, const char *name, int64_t v);
bool             hone_net_attr_set_float(hone_net *net, hone_net_node *n, const char *name, float v);
bool             hone_net_attr_set_str(hone_net *net, hone_net_node *n, const char *name, const char *v);
bool             hone_net_attr_set_ints(hone_net *net, hone_net_node *n, const char *name, const int64_t *v, size_t count);
bool             hone_net_attr_remove(hone_net_node *n, const char *name); /* false: it had none */
/* A constant of a fresh name.  data: copied when not NULL; NULL: the caller sets data, or make and from. */
hone_net_value  *hone_net_constant_new(hone_net *net, const char *stem, int32_t type, const uint64_t *dims, uint32_t n_dims, const void *data);
/* The constant of exactly that name when it is in memory and the same, bit for bit (a weight that several nodes read becomes the same codes each time); else
 * a new one. */
hone_net_value  *hone_net_constant_same(hone_net *net, const char *stem, int32_t type, const uint64_t *dims, uint32_t n_dims, const void *data);
/* Type and shape of v are these from now on; what the file said of it is forgotten. */
bool             hone_net_value_shape(hone_net *net, hone_net_value *v, int32_t type, const hone_net_dim *dims, int32_t n_dims);
/* The import of a domain; made when missing. */
bool             hone_net_opset_set(hone_net *net, const char *domain, int64_t version);
/* Removes nodes and constants that nothing reads. */
void             hone_net_sweep(hone_net *net);

/* ---- what it computes ---- */
/* Types and shapes of values, as far as operators tell them (ir/net/shapes.c); what is unknown stays unknown, and what the file tells
 * of a value is believed.  HONE_ERESOURCE only. */
hone_code hone_net_infer(hone_net *net, hone_err *err);
/* Elements of a value, unknown dimensions counted as `unknown`; 0 when the rank is unknown. */
uint64_t  hone_net_elems(const hone_net_value *v, uint64_t unknown);
/* Multiply-accumulates of a node (0 for an operator that has none), unknown dimensions counted as 1; false: its shapes are not known, or the operator is not. */
bool      hone_net_macs(const hone_net_node *n, uint64_t *macs);
#endif
