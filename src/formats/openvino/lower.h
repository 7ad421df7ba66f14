/* lower.h - what the parts of the lowering share: the graph on one side, the IR on the other, and what was lowered already. */
#ifndef HONE_FORMATS_OPENVINO_LOWER_H
#define HONE_FORMATS_OPENVINO_LOWER_H
#include "formats/openvino.h"

/* What a node gave.  Rows may be asked for flat or head by head; each form is made when it is first asked for. */
typedef struct hone_ov_value {
    hone_ov_port flat, split, turned; /* [b, s, h*d], [b, s, h, d], [b, h, s, d] */
    bool         has_flat, has_split, has_turned;
    uint32_t     heads, head_dim; /* of split and turned */
} hone_ov_value;

typedef struct hone_ov_lowering {
    const hone_graph *g;
    hone_ov_ir       *ir;
    hone_arena       *a;
    hone_ov_slot     *slots;
    size_t            n_slots;
    hone_ov_port     *weights;     /* [n_slots] as f32 */
    bool             *has_weight;  /* [n_slots] */
    hone_ov_port    (*streams)[HONE_STREAMS]; /* [n_slots] constants */
    hone_ov_value    *values;      /* [g->n_nodes] */
    hone_ov_port      ids, mask, positions, types, beam; /* inputs */
    hone_ov_port      batch, seq, total; /* i64 [1] each */
    struct { bool made; uint32_t window; hone_ov_port port; } masks[2]; /* of the layers without and with a window */
    hone_ov_port     *cos, *sin;   /* [n_ropes] [b, 1, s, dim] */
    bool             *has_rope;    /* [n_ropes] */
    uint32_t         *assigns;     /* [2 * n_caches] */
    hone_code         code;
    hone_err         *err;
} hone_ov_lowering;

/* A name under a node's: "layers.3.attn.q/matmul"; never NULL (the IR reports memory that is gone). */
const char *hone_ov_name(hone_ov_lowering *l, const hone_node *n, const char *what);
/* Arguments that are arrays: a shape by its dimensions, what goes into a layer and how many, a vector of i64. */
#define HONE_OV_SHAPE(t, ...)  ((hone_ov_shape){ .type = (t), .n_dims = sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t), .dims = { __VA_ARGS__ } })
#define HONE_OV_IN(...)        (const hone_ov_port[]){ __VA_ARGS__ }, sizeof((const hone_ov_port[]){ __VA_ARGS__ }) / sizeof(hone_ov_port)
#define HONE_OV_VECTOR(l, ...) hone_ov_i64((l)->ir, (const int64_t[]){ __VA_ARGS__ }, sizeof((const int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t))

/* Elementary operations in f32 unless said otherwise; name NULL: numbered. */
hone_ov_port hone_ov_unary(hone_ov_lowering *l, const char *name, const char *type, const char *version, hone_ov_port x);
hone_ov_port hone_ov_binary(hone_ov_lowering *l, const char *name, const char *type, hone_ov_port x, hone_ov_port y);
hone_ov_port hone_ov_convert(hone_ov_lowering *l, const char *name, hone_ov_port x, hone_ov_type to);
hone_ov_port hone_ov_reshape(hone_ov_lowering *l, const char *name, hone_ov_port x, hone_ov_port target, const hone_ov_shape *out); /* special_zero */
hone_ov_port hone_ov_transpose(hone_ov_lowering *l, const char *name, hone_ov_port x, const int64_t *order, uint32_t n); /* order: [n] */
hone_ov_port hone_ov_concat(hone_ov_lowering *l, const char *name, const hone_ov_port *in, size_t n, int axis, const hone_ov_shape *out);
hone_ov_port hone_ov_unsqueeze(hone_ov_lowering *l, hone_ov_port x, int64_t axis);
hone_ov_port hone_ov_reduce(hone_ov_lowering *l, const char *type, hone_ov_port x, int64_t axis, bool keep);
hone_ov_port hone_ov_matmul(hone_ov_lowering *l, const char *name, hone_ov_port x, hone_ov_port y, bool transpose_y);
hone_ov_port hone_ov_slice_last(hone_ov_lowering *l, const char *name, hone_ov_port x, int64_t first, int64_t end);
hone_ov_port hone_ov_number(hone_ov_lowering *l, double v, uint32_t n_dims); /* f32 constant of shape [1, 1, ...] */
hone_ov_port hone_ov_activate(hone_ov_lowering *l, const char *name, hone_act act, hone_ov_port x);

/* The forms of a value. */
hone_ov_port hone_ov_flat(hone_ov_lowering *l, uint32_t node);
hone_ov_port hone_ov_heads(hone_ov_lowering *l, uint32_t node, uint32_t heads, uint32_t head_dim);
hone_ov_port hone_ov_turned(hone_ov_lowering *l, uint32_t node, uint32_t heads, uint32_t head_dim);

/* weights.c: a weight as f32, dequantised in the graph; the shape of a plain one is [1, 1, ..., n] of n_dims (0: as it is). */
hone_ov_port hone_ov_weight_f32(hone_ov_lowering *l, const hone_weight *w, bool plus_one, uint32_t n_dims);
/* attention.c */
void hone_ov_lower_rope(hone_ov_lowering *l, uint32_t at);
void hone_ov_lower_attention(hone_ov_lowering *l, uint32_t at);
/* experts.c */
void hone_ov_lower_experts(hone_ov_lowering *l, uint32_t at);
#endif
