/* layout.h - the encodings that can be written from chosen numbers: how a block's steps, offsets and codes make values, and where
 * they lie in bytes.  What every method of treat.h shares; knows no tensor name, no statistics.
 *
 * A block of `width` columns holds sub-blocks of `sub` columns; L is code - half, or table[code]:
 *   HONE_OFFSET_NONE   d * S * L                      q3_k q6_k iq4_xs q4_0 q5_0 q8_0 iq4_nl; ONNX and NNCF symmetric
 *   HONE_OFFSET_OWN    d * S * code - m * M           q2_k q4_k q5_k; q4_1 q5_1 and MLX's affine, where S = M = 1
 *   HONE_OFFSET_ZERO   d * (code - M)                 ONNX and NNCF with zero points
 * d, m: floats of type `d`, one pair a block; S, M: whole numbers, one pair a sub-block. */
#ifndef HONE_QUANT_TREAT_LAYOUT_H
#define HONE_QUANT_TREAT_LAYOUT_H
#include "quant/grouped.h"

typedef enum hone_offset { HONE_OFFSET_NONE, HONE_OFFSET_OWN, HONE_OFFSET_ZERO } hone_offset;

typedef struct hone_layout {
    uint32_t      width, sub;   /* columns; width a multiple of sub.  The last block of a row may be shorter (ONNX). */
    int32_t       top, half;    /* codes 0..top; half of HONE_OFFSET_NONE without a table */
    const int8_t *table;        /* [16] rising, or NULL */
    hone_offset   offset;
    int32_t       s_min, s_max; /* of S; both 1: it is not stored */
    int32_t       m_max;        /* of M, from 0; 0: M = 1 and m has either sign */
    hone_dtype    d;            /* F16, BF16, F32 */
} hone_layout;

/* One row's numbers: stride is the distance between neighbours of each array (rows side by side). */
typedef struct hone_numbers {
    const float   *d, *m; /* [blocks] */
    const float   *s, *z; /* [sub-blocks]: S and M, whole numbers */
    const uint8_t *code;  /* [columns] */
    size_t         stride;
} hone_numbers;

typedef struct hone_encoding { /* how rows become bytes: one stream of dtype, or the streams of a grouped scheme */
    hone_dtype   dtype; /* when grouped.scheme is HONE_SCHEME_NONE */
    hone_grouped grouped;
} hone_encoding;

/* False for encodings whose bytes are not made from such numbers: floats, mxfp4, nvfp4, mxfp8, tq1_0, tq2_0, q1_0, q2_0. */
bool hone_layout_of(const hone_encoding *e, uint64_t n_cols, hone_layout *out);
/* Writes row r of a run of rows; rows of a run are written upwards. */
void hone_layout_pack(const hone_encoding *e, const hone_layout *l, const hone_numbers *v, uint64_t r, uint64_t n_cols, uint8_t *const out[HONE_STREAMS]);
#endif
