/* range.h - from which numbers to which a tensor is quantised: what a calibration has seen of it, and the choice of the range.
 * Two walks over the same data: the first finds extremes, the second fills a histogram between them; memory is the histogram's, whatever the data.
 * Sources: min-max, averages and percentiles as in Krishnamoorthi, arXiv:1806.08342, 3.1; entropy: Migacz, "8-bit inference with TensorRT" (2017), widened to
 * ranges with two ends; mse: the clipping that costs least, Banner et al., arXiv:1810.05723, with the measured distribution for the assumed one.
 * Knows no tensor name. */
#ifndef HONE_QUANT_RANGE_H
#define HONE_QUANT_RANGE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HONE_RANGE_BINS 2048u

typedef enum hone_range_method {
    HONE_RANGE_MINMAX,     /* all that was seen */
    HONE_RANGE_AVERAGE,    /* the mean of every sample's extremes */
    HONE_RANGE_PERCENTILE, /* all but the share `1 - p` that lies outermost */
    HONE_RANGE_ENTROPY,    /* the least divergence between what was seen and what 256 codes keep of it */
    HONE_RANGE_MSE,        /* the least mean square of rounding and clipping */
    HONE_RANGE_COUNT
} hone_range_method;
const char *hone_range_name(hone_range_method m); /* minmax average percentile entropy mse */
bool        hone_range_find(const char *name, hone_range_method *out);
/* A method that needs the second walk. */
static inline bool hone_range_needs_histogram(hone_range_method m) { return m >= HONE_RANGE_PERCENTILE; }

typedef struct hone_range_seen { /* zero-initialise */
    uint64_t n, samples; /* numbers; calls of hone_range_see */
    uint64_t strange;    /* NaN and Inf: left out of everything */
    float    lo, hi;     /* extremes; only with n > 0 */
    double   sum_lo, sum_hi; /* of every sample's extremes */
    uint64_t bins[HONE_RANGE_BINS]; /* of equal width between lo and hi */
} hone_range_seen;

/* First walk: the numbers of one sample. */
void hone_range_see(hone_range_seen *r, const float *x, size_t n);
/* Second walk, over the same numbers. */
void hone_range_count(hone_range_seen *r, const float *x, size_t n);
/* The range, which always has 0 in it, as quantisers need it.  p: of HONE_RANGE_PERCENTILE, in (0.5, 1].  levels: codes (256).  Nothing seen: 0..0. */
void hone_range_choose(const hone_range_seen *r, hone_range_method m, double p, uint32_t levels, float *lo, float *hi);

/* Scale and zero point of codes qmin..qmax for a range that has 0 in it.  symmetric: the zero point is the middle of the codes.
 * lo = hi = 0 gives scale 1.  The scale is never 0 or below the least normal float. */
void hone_range_codes(float lo, float hi, int32_t qmin, int32_t qmax, bool symmetric, float *scale, int32_t *zero);
#endif
