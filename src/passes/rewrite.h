/* rewrite.h - a model's weights computed from another model's while they are read: rows and columns left out, factors along both, small
 * weights made zero.  Everything downstream reads the new source as it would read any other.  Knows no family and no file. */
#ifndef HONE_PASSES_REWRITE_H
#define HONE_PASSES_REWRITE_H
#include "ir/model.h"
#include "ir/stats.h"

typedef enum hone_mask {
    HONE_MASK_NONE,
    HONE_MASK_ROW, /* the `share` of each row that matters least is zero */
    HONE_MASK_2_4  /* two of every four columns are zero, those that matter least; columns after the last whole four stay */
} hone_mask;

/* What becomes of one weight.  A one-dimensional weight is one row.  Order: mask, selection, factors. */
typedef struct hone_change {
    const hone_weight *from; /* of the model below */
    int32_t            layer; /* the new one */
    uint64_t           dims[4]; /* new; as many as from has */
    hone_mask          mask;
    double             share;      /* HONE_MASK_ROW: 0..1 */
    const float       *importance; /* [matrices, columns] of `from`: a weight matters |w| * importance; NULL: |w|.  Finite, not negative. */
    const uint32_t    *rows, *cols; /* [new rows], [new columns]: which of from's stay, ascending; NULL: all */
    const float       *row_factor;  /* [new rows] or NULL */
    const float       *col_factor;  /* [new matrices, new columns] or NULL; a weight of three dimensions is dims[0] matrices */
    bool               shared_factor; /* col_factor is [new columns], for all matrices */
    bool               plus_one;    /* factors act on the weight plus one (norms stored minus one) */
} hone_change;

/* A change that changes nothing. */
hone_change hone_change_none(const hone_weight *from);
/* False when the weight is the same as below but for its layer's number. */
bool hone_change_values(const hone_change *c);

/* A source with one float32 tensor, upright, for each change, called role.layer.part; tensors that stay what they are keep type and bytes.
 * m is borrowed and stays open as long as the source; list and what it points to live as long.  closing the source closes nothing. */
hone_code hone_rewrite_source(const hone_model *m, const hone_change *list, size_t n, hone_arena *a, hone_source **out, hone_err *err);
#define HONE_REWRITE_NAME 64
const char *hone_rewrite_name(hone_role role, hone_part part, int32_t layer, char buf[HONE_REWRITE_NAME]);

/* Rows of the new weight, row0 .. row0+n, into out [n, new columns]: what the source's read does. */
hone_code hone_change_read(const hone_source *base, const hone_change *c, uint64_t row0, uint64_t n, float *out, hone_err *err);

/* What the same calibration would have seen of the new model: inputs selected and divided by the factors of their columns.
 * in and list live as long as out. */
hone_code hone_rewrite_stats(const hone_stats *in, const hone_change *list, size_t n, hone_arena *a, hone_stats *out, hone_err *err);
#endif
