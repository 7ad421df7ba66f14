/* treat.h - rows of a weight to bytes, given what is known of the numbers they will be multiplied with.  For every encoding; one entry.
 *
 *   rtn      the encoder as it is: of each number the nearest code (ggml's types: their own search, without weights)
 *   search   steps and offsets that leave the least error where it counts.  ggml's types that know importance: the bytes that
 *            llama-quantize --imatrix writes; all else: solve.h with the diagonal alone
 *   hqq      offsets by half-quadratic splitting, without data (Badri & Shaji 2023)
 *   scale    from the range on, codes and steps in turn by weighted least squares (NNCF's scale estimation)
 *   gptq     with the Hessian: errors handed on from column to column, then codes and steps in turn on the exact cost (solve.h)
 *
 * Without statistics for a weight, `search` and `scale` count every column alike, and `gptq` is what `search` is for grouped schemes.  No row gets worse than `rtn`
 * (with importance where the encoder takes it) by the measure that the method minimises: of the two the better is kept.
 * Same bytes for any number of rows at once and on every CPU. */
#ifndef HONE_QUANT_TREAT_H
#define HONE_QUANT_TREAT_H
#include "quant/treat/curve.h"
#include "quant/treat/layout.h"

typedef enum hone_method { HONE_METHOD_RTN, HONE_METHOD_SEARCH, HONE_METHOD_HQQ, HONE_METHOD_SCALE, HONE_METHOD_GPTQ, HONE_METHOD_COUNT } hone_method;

/* "rtn", ... */
const char *hone_method_name(hone_method m);
bool        hone_method_from_name(const char *name, hone_method *out);

typedef struct hone_treatment {
    hone_method       method;
    const float      *importance; /* [n_cols] of ggml's encoders: means of squares, or NULL */
    const hone_curve *curve;      /* of n_cols columns, or NULL: every column counts alike.  Needed by scale, gptq, search of grouped schemes, hqq (may be the diagonal of ones) */
} hone_treatment;

/* Whether `method` changes anything for this encoding; where it does not, rtn is what it means. */
bool hone_treat_applies(hone_method method, const hone_encoding *e, uint64_t n_cols);
/* The codec's own encoder does it, and needs no more than the importance: ggml's searches; and the points of iq2_* and iq3_*, which no method moves one by
 * one, so that scale and gptq mean search there. */
bool hone_treat_by_codec(hone_method method, const hone_encoding *e);
/* Bytes of scratch, a multiple of 64, which the scratch is aligned to.  Nothing wraps for n_cols below 2^31. */
size_t hone_treat_scratch(hone_method method, const hone_encoding *e, uint64_t n_cols);
/* Encodes n_rows rows of n_cols finite floats; out as hone_grouped_encode has it, for one stream out[0] rows side by side.
 * Pure: no allocation, no globals. */
void hone_treat_rows(const hone_encoding *e, const hone_treatment *t, const float *x, uint64_t n_rows, uint64_t n_cols, uint8_t *const out[HONE_STREAMS],
                     void *scratch);
/* The same at a given width of lanes of the solver, for tests; false: not here. */
bool hone_treat_rows_width(int width, const hone_encoding *e, const hone_treatment *t, const float *x, uint64_t n_rows, uint64_t n_cols,
                           uint8_t *const out[HONE_STREAMS], void *scratch);
#endif
