/* model.h - the model in memory: facts, source tensors (never copied), and logical weights computed from them lazily.
 * Knows no file format: bytes come through hone_source. */
#ifndef HONE_IR_MODEL_H
#define HONE_IR_MODEL_H
#include "base/arena.h"
#include "base/bytes.h"
#include "base/ctx.h"
#include "ir/dtype.h"
#include "ir/facts.h"
#include "ir/role.h"
#include "ir/tokenizer.h"

#define HONE_MAX_DIMS 8

typedef struct hone_tensor { /* as found in the source file; borrowed from the opener's arena */
    const char *name;
    hone_dtype  dtype;
    uint32_t    n_dims;
    uint64_t    dims[HONE_MAX_DIMS]; /* outermost first */
    uint32_t    file;                /* which file of the source */
    uint64_t    offset, bytes;       /* in that file */
} hone_tensor;

/* Where tensor bytes come from.  Formats fill it; everyone reads through it.  Thread-safe. */
typedef struct hone_source {
    /* Reads n bytes of tensor t, starting off bytes into it.  off + n <= t->bytes. */
    hone_code (*read)(const struct hone_source *s, const hone_tensor *t, uint64_t off, void *buf, size_t n, hone_err *err);
    /* (may be NULL) n bytes of t from off on will be read soon: a hint to fetch them meanwhile. */
    void (*soon)(const struct hone_source *s, const hone_tensor *t, uint64_t off, uint64_t n);
    /* Releases files; the struct itself belongs to the arena. */
    void (*close)(struct hone_source *s);
    const hone_tensor *tensors; /* [n_tensors], sorted by name (byte order), names unique */
    size_t             n_tensors;
    const char *const *files;   /* [n_files] paths, for provenance and hashes */
    size_t             n_files;
    bool               upright; /* matrices are [out, in] also where the family's checkpoints have [in, out] */
    void              *self;
} hone_source;

/* Binary search by name; NULL when absent. */
const hone_tensor *hone_source_find(const hone_source *s, const char *name);

/* A run of rows of one source tensor.  A "row" is one index of all dimensions but the last.
 * In a 1-D weight (a bias, a norm) the slices count elements instead: row0, n_rows and row_map are element numbers. */
typedef struct hone_slice {
    const hone_tensor *tensor;
    uint64_t           row0, n_rows; /* in rows of the tensor as stored, or of its transpose when transposed */
    bool               transposed;   /* the tensor is stored [in, out] (GPT-2 Conv1D); 2-D only */
    const uint32_t    *row_map;      /* [n_rows] stored row = row0 + row_map[i]; NULL: i.  Arena. */
} hone_slice;

/* One logical weight: slices one after another, then y = x * scale + add per element.  Dims outermost first; the last dim is the row length. */
typedef struct hone_weight {
    hone_role         role;
    hone_part         part;
    int32_t           layer; /* -1: not of a layer */
    uint32_t          n_dims;
    uint64_t          dims[4];
    const hone_slice *slices; /* [n_slices] */
    size_t            n_slices;
    const float      *values; /* instead of slices: computed constants (rope factors), [product of dims] */
    float             scale, add; /* 1 and 0 for an untouched weight */
    hone_dtype        dtype;  /* of the source (F32 for values) */
    float             most;   /* the largest magnitude that an f16 in its encoding leaves room for: what would become infinite is refused when it is read; 0: any */
} hone_weight;

static inline uint64_t hone_weight_cols(const hone_weight *w) { return w->dims[w->n_dims - 1]; }
/* Product of all dims but the last. */
uint64_t hone_weight_rows(const hone_weight *w);
uint64_t hone_weight_elems(const hone_weight *w);
static inline bool hone_weight_is_plain(const hone_weight *w) { return w->scale == 1.0f && w->add == 0.0f; }

/* A small file that stands in for one of a checkpoint folder. */
typedef struct hone_side_file { const char *name; hone_bytes bytes; } hone_side_file;

typedef struct hone_model {
    hone_arena     arena; /* owns everything below */
    hone_source   *source;
    hone_facts     facts;
    hone_weight   *weights; /* [n_weights]: globals, then layer by layer, in role order */
    size_t         n_weights;
    hone_tokenizer tokenizer;
    const char    *path; /* what the user named */
    const hone_side_file *sides; /* [n_sides] of a source that is no checkpoint folder: config.json, tokenizer.json ..., instead of those under path */
    size_t         n_sides;
    const char    *quantized; /* how the source's weights are quantised ("q4_k"); NULL: they are not */
    const struct hone_arch *arch; /* the family's row (arch/arch.h); opaque here */
} hone_model;

/* NULL when the model has no such weight.  layer -1 for globals. */
const hone_weight *hone_model_find(const hone_model *m, hone_role role, hone_part part, int32_t layer);
/* Closes the source, frees the arena.  NULL and zeroed are fine. */
void hone_model_close(hone_model *m);
#endif
