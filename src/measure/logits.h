/* logits.h - what is computed from one row of logits, in double and without overflow.  Knows no runtime. */
#ifndef HONE_MEASURE_LOGITS_H
#define HONE_MEASURE_LOGITS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct hone_row { /* facts of one row */
    double lse;           /* ln of the sum of e^x: -ln p(i) is lse - x[i] */
    size_t best;          /* first index of the largest value */
    double gap;           /* largest minus second largest; infinity for one value */
    bool   finite;        /* no NaN, no +Inf, at least one finite value (-Inf is a token that cannot come) */
} hone_row;
hone_row hone_row_scan(const float *x, size_t n);

typedef struct hone_row_diff {
    double kld;     /* sum p ln(p/q), p from ref, q from ours; >= 0, infinity where q is 0 and p is not */
    double max_abs; /* largest |ref - ours| */
} hone_row_diff;
/* r, o: the rows' own facts, both finite. */
hone_row_diff hone_row_compare(const float *ref, const hone_row *r, const float *ours, const hone_row *o, size_t n);
#endif
