/* lower.h - what the files that turn ir/graph.h into ONNX's operators share.  lower.c walks the graph; plain.c has every operator in terms of
 * ai.onnx; fused.c those that com.microsoft does in one; experts.c both for mixtures of experts; regions.c says where weights lie. */
#ifndef HONE_FORMATS_ONNX_LOWER_H
#define HONE_FORMATS_ONNX_LOWER_H
#include "formats/onnx.h"
#include "formats/onnx/write.h"

#define HONE_ONNX_MAX_WINDOWS 4 /* different windows in one model; more are computed again */

/* Rows [rows, cols] that lie together in model.onnx.data: one weight, or several that one operator reads as one. */
typedef struct hone_onnx_region {
    const char  *name;
    hone_dtype   dtype;   /* of the elements when grouped.scheme is HONE_SCHEME_NONE */
    hone_grouped grouped;
    uint32_t     n_streams;
    uint64_t     rows, cols;
    uint64_t     row_bits[HONE_STREAMS], offset[HONE_STREAMS]; /* offset: when all regions are known */
    hone_onnx_list views; /* of it as a whole, which may be asked for again */
} hone_onnx_region;

typedef struct hone_onnx_kept { /* row r of w is row row0 + r * step of the region */
    const hone_weight *source;
    hone_weight        w;
    hone_onnx_region  *region;
    uint64_t           row0;
    uint32_t           step;
} hone_onnx_kept;

typedef struct hone_onnx_view { /* an initializer: rows of a stream of a region */
    Onnx__TensorProto      *tensor;
    const hone_onnx_region *region;
    uint32_t                stream;
    uint64_t                row0, n_rows;
} hone_onnx_view;

typedef struct hone_onnx_lowering {
    hone_onnx_writer         w;
    const hone_graph        *g;
    const hone_onnx_options *opt;
    const char             **value;  /* [n_nodes] what stands for the node's result; NULL: not computed yet, or never */
    uint32_t                *readers; /* [n_nodes] how many nodes read it */
    bool                    *skip;   /* [n_nodes] a later node takes care of it */
    hone_onnx_list           regions, kept, views;
    size_t                   fallbacks;
    bool                     shared_buffer;
    /* computed once, when first asked for; NULL before */
    const char *positions, *all_positions, *positions_f32, *seqlens, *total, *total1, *mask_bool, *gqa_positions, *padding_bias, *mask_i32;
    const char *cos[2], *sin[2], *cos_table[2], *sin_table[2];
    struct { uint32_t window; const char *bias; } causal[HONE_ONNX_MAX_WINDOWS];
    size_t      n_causal;
} hone_onnx_lowering;

#define HONE_ONNX_IDS "input_ids"
#define HONE_ONNX_MASK "attention_mask"
#define HONE_ONNX_TYPES "token_type_ids"

/* ---- regions.c ---- */

typedef enum hone_onnx_use { HONE_ONNX_MATRIX, HONE_ONNX_EMBEDDING, HONE_ONNX_PLAIN /* never quantised */ } hone_onnx_use;

/* The encoding that the options give to rows of weight w in such a use; false: floats, because they are not to be quantised or cannot be cut in groups. */
bool hone_onnx_choose(hone_onnx_lowering *l, const hone_weight *w, hone_onnx_use use, uint64_t rows, uint64_t cols, hone_grouped *out);
/* A region of rows in that encoding (of several weights, that of w).  NULL after a failure. */
hone_onnx_region *hone_onnx_region_new(hone_onnx_lowering *l, const char *name, const hone_weight *w, hone_onnx_use use, uint64_t rows, uint64_t cols);
/* Puts weight src, `add` added to each number, into rows row0, row0 + step, ... of the region (NULL: after a failure). */
void hone_onnx_keep(hone_onnx_lowering *l, hone_onnx_region *r, const hone_weight *src, float add, uint64_t row0, uint32_t step);
/* The region that holds exactly this weight already (a tied head), or NULL. */
hone_onnx_region *hone_onnx_region_find(const hone_onnx_lowering *l, const hone_weight *src);
/* An initializer over rows of a stream, of this shape and type. */
const char *hone_onnx_view_new(hone_onnx_lowering *l, const char *name, hone_onnx_region *r, uint32_t stream, uint64_t row0, uint64_t n_rows,
                               int32_t type, const uint64_t *dims, size_t n_dims);
/* A weight in a region of its own, never quantised, as one list of numbers: a norm, a bias.  add: to each of them. */
const char *hone_onnx_vector(hone_onnx_lowering *l, const char *name, const hone_weight *src, float add);
/* Places all regions and tells the views. */
hone_code hone_onnx_regions_place(hone_onnx_lowering *l, hone_onnx_model *out);

/* ---- values that many nodes need ---- */

const char *hone_onnx_positions(hone_onnx_lowering *l); /* i64 [batch, seq] */
const char *hone_onnx_last_dim1(hone_onnx_lowering *l); /* i64 [1]: total */

/* ---- plain.c ---- */

/* Rows row0 .. row0 + n of the region as a matrix, times x. */
const char *hone_onnx_linear(hone_onnx_lowering *l, const char *out, const char *x, hone_onnx_region *r, const char *name, uint64_t row0,
                             uint64_t n, const char *bias);
const char *hone_onnx_embed(hone_onnx_lowering *l, const char *out, const char *index, hone_onnx_region *r);
const char *hone_onnx_norm(hone_onnx_lowering *l, const char *out, const char *x, const hone_node *n);
const char *hone_onnx_rope(hone_onnx_lowering *l, const char *out, const char *x, const hone_graph_rope *r);
const char *hone_onnx_attention(hone_onnx_lowering *l, const char *out, const hone_node *n);
const char *hone_onnx_act(hone_onnx_lowering *l, const char *out, const char *x, hone_act act);
/* Norm's weight and bias as initializers; bias NULL: none. */
void hone_onnx_norm_weights(hone_onnx_lowering *l, const hone_node *n, const char **weight, const char **bias);

/* ---- fused.c: false when com.microsoft's operator cannot do it; then plain.c does ---- */

/* Marks what later nodes take care of, before the walk. */
void hone_onnx_fuse(hone_onnx_lowering *l);
bool hone_onnx_fused_linear(hone_onnx_lowering *l, const char *out, const char *x, hone_onnx_region *r, const char *name, uint64_t row0,
                            uint64_t n, const char *bias);
bool hone_onnx_fused_embed(hone_onnx_lowering *l, const char *out, const char *index, hone_onnx_region *r);
bool hone_onnx_fused_norm(hone_onnx_lowering *l, const char *out, const char *x, const hone_node *n);
/* The sum and the norm behind it in one. */
bool hone_onnx_fused_add(hone_onnx_lowering *l, uint32_t index);
bool hone_onnx_fused_attention(hone_onnx_lowering *l, const char *out, const hone_node *n);

/* ---- experts.c ---- */
const char *hone_onnx_experts(hone_onnx_lowering *l, const char *out, const hone_node *n);

/* What a node of the graph is called, and the value of its input. */
static inline const char *hone_onnx_in(const hone_onnx_lowering *l, const hone_node *n, uint32_t i) { return l->value[n->in[i]]; }
static inline uint64_t hone_onnx_width(const hone_graph *g, uint32_t node) { return (uint64_t)g->nodes[node].dims[g->nodes[node].n_dims - 1]; }
#endif
