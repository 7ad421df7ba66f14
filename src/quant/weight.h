/* weight.h - compute rows of a logical weight in float32: read, gather, transpose, decode, scale.  Knows no tensor name. */
#ifndef HONE_QUANT_WEIGHT_H
#define HONE_QUANT_WEIGHT_H
#include "ir/model.h"

/* Bytes of scratch that reading n_rows rows of w needs at most.  12 * n_rows * cols must not wrap: for the caller to see to. */
size_t hone_weight_scratch(const hone_weight *w, uint64_t n_rows);
/* Rows row0 .. row0+n_rows of w into out [n_rows, cols].  scratch: hone_weight_scratch bytes.  Thread-safe.
 * HONE_EINPUT with tensor name and position when the source holds NaN or Inf (a converted model must not carry them silently). */
hone_code hone_weight_read(const hone_source *s, const hone_weight *w, uint64_t row0, uint64_t n_rows, float *out, void *scratch,
                           hone_err *err);
/* These rows will be read soon: a hint to the source, which may fetch what lies together in them meanwhile.  Thread-safe; cannot fail. */
void hone_weight_soon(const hone_source *s, const hone_weight *w, uint64_t row0, uint64_t n_rows);
/* y = x * scale + add, what hone_weight_read does last; for those who share one reading between forms of a weight.  x may be y. */
void hone_weight_finish(const hone_weight *w, const float *x, float *y, size_t n);
#endif
