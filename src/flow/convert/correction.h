/* correction.h - biases that take up what rounding their matrices does to the mean output: b' = b + (W - Q(W)) mean(x), with Q(W) as decoded from the very
 * bytes that an output gets, in its own codec and method.  The sum over a row runs in the order of its columns, in double: any number of threads
 * gives the same bytes.  Source: Nagel et al., arXiv:1906.04721, 4.2; mean(x) is what calibration saw (ir/stats.h). */
#ifndef HONE_FLOW_CONVERT_CORRECTION_H
#define HONE_FLOW_CONVERT_CORRECTION_H
#include "flow/convert/output.h"
#include "ir/stats.h"

struct hone_conversion;

typedef struct hone_correction { /* of one bias in one output */
    const float *mean;   /* [cols] of the matrix's input */
    double      *change; /* [rows], of the output's rows: what is added to the bias, once all of them are encoded */
} hone_correction;

/* Every bias of a matrix, in all outputs, gets its correction; nothing happens where opt does not ask for it.  Items are known, tiles are not.
 * Errors: HONE_EUSAGE without statistics; HONE_EUNSUPPORTED for a model whose matrices have no biases; HONE_EINPUT for statistics without means. */
hone_code hone_corrections_plan(struct hone_conversion *j, const hone_convert_options *opt, hone_err *err);
/* Bytes of n_rows rows, back as numbers.  in: rows that begin at whole bytes. */
void hone_planned_decode(const hone_planned *p, const uint8_t *const in[HONE_STREAMS], uint64_t n_rows, uint64_t cols, float *x);
/* Rows row0 .. of the item (row r is row to[r] of the weight; NULL: r), as they were wanted and as they are stored. */
void hone_correction_see(hone_correction *c, const float *x, const float *stored, uint64_t row0, const uint32_t *to, uint64_t n_rows, uint64_t cols);
/* The bias w with its correction, which is stored as `as`.  HONE_EINPUT: it has no room for that, as no honest mean asks of it. */
hone_code hone_correction_add(const hone_correction *c, const hone_weight *w, hone_dtype as, const float *bias, uint64_t n, float *out, hone_err *err);
#endif
