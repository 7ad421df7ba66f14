/* gram.h - sums of x x^T over many rows x: the Hessian of a linear layer's squared error, up to a factor (Frantar, Alistarh: Optimal Brain
 * Compression, arXiv:2208.11580, section 3).  The same bits for any number of threads, any CPU, and however the rows are handed over. */
#ifndef HONE_QUANT_GRAM_H
#define HONE_QUANT_GRAM_H
#include "base/ctx.h"
#include <stddef.h>

typedef struct hone_gram { /* zeroed: released */
    uint32_t n;      /* columns */
    uint64_t rows;   /* in the sum, and waiting */
    uint32_t held;   /* rows that wait in block */
    float   *block;  /* HONE_GRAM_ROWS rows in panels of HONE_GRAM_COLS columns */
    double  *sum;    /* the lower triangle, row after row: n(n+1)/2 */
} hone_gram;

enum { HONE_GRAM_ROWS = 256, HONE_GRAM_COLS = 16 };

/* Bytes that one of n columns holds. */
uint64_t  hone_gram_bytes(uint32_t n);
hone_code hone_gram_init(hone_gram *g, uint32_t n, hone_err *err);
void      hone_gram_release(hone_gram *g); /* NULL and zeroed are fine */
/* Adds row [n].  HONE_ERESOURCE when cancelled. */
hone_code hone_gram_add(hone_gram *g, const hone_ctx *ctx, const float *row, hone_err *err);
/* out: [n, n], symmetric.  Rows may be added afterwards, but the sum then has another order and other last bits. */
hone_code hone_gram_take(hone_gram *g, const hone_ctx *ctx, float *out, hone_err *err);
#endif
