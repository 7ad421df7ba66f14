/* metric.h - one measured number, or the reason why there is none.  "not measured" is never a number. */
#ifndef HONE_MEASURE_METRIC_H
#define HONE_MEASURE_METRIC_H
#include "base/json.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum hone_metric_state { HONE_NOT_MEASURED = 0, HONE_MEASURED, HONE_UNRESOLVED } hone_metric_state;

typedef struct hone_metric { /* zeroed: not measured, no reason yet */
    hone_metric_state state;
    double            value, lo, hi; /* lo..hi: 95 % confidence interval; both equal value when there is none */
    uint64_t          n;             /* samples */
    char              why[120];      /* reason when not MEASURED */
} hone_metric;

/* A value that is not finite becomes "not measured: the result is not a finite number". */
hone_metric hone_metric_of(double value, uint64_t n);
hone_metric hone_metric_ci(double value, double lo, double hi, uint64_t n);
hone_metric hone_metric_none(const char *why);
hone_metric hone_metric_unresolved(uint64_t n, const char *why);
static inline bool hone_metric_known(const hone_metric *m) { return m->state == HONE_MEASURED; }
static inline bool hone_metric_has_ci(const hone_metric *m) { return m->state == HONE_MEASURED && m->lo < m->hi; }
/* {"state":"measured","value":..,"ci":[lo,hi],"n":..} or {"state":"not_measured","reason":..}; NULL when memory is gone. */
json_t *hone_metric_json(const hone_metric *m);
/* Puts m into a result object under path ("perplexity", "ttft_ms.p95": one dot makes an inner object), in the shape that all documents share:
 * the number itself, or null; beside the numbers of the same result object
 *   "ci":     {path: [lo, hi]}        where there is an interval
 *   "n":      {path: samples}
 *   "states": {path: {"state":"not_measured"|"unresolved","reason":..}}   for every null.
 * False when memory is gone. */
bool hone_metric_put(json_t *result, const char *path, const hone_metric *m);
/* Puts s, which may hold what a file or a cut left of UTF-8; "" becomes null. */
bool hone_metric_put_text(json_t *result, const char *key, const char *s);

/* Percentile p (0..1) of x[n] (copied, sorted; linear interpolation between closest ranks).  UNRESOLVED when n is too small for p:
 * MLPerf's rule of thumb n*(1-p) >= 5 observations beyond it (n >= 10 for p50, 100 for p95, 500 for p99).
 * The interval is that of the order statistics (binomial, normal approximation), valid for independent samples. */
hone_metric hone_metric_percentile(const double *x, size_t n, double p);
/* Mean with a 95 % Student-t interval (none under 2 samples). */
hone_metric hone_metric_mean(const double *x, size_t n);
/* Standard deviation / mean. UNRESOLVED under 3 samples. */
hone_metric hone_metric_cv(const double *x, size_t n);
/* k of n, Wilson 95 % interval. */
hone_metric hone_metric_share(uint64_t k, uint64_t n);
/* Sum(num) / sum(den) over n clusters (windows of a text), with a Student-t interval from the clusters' residuals:
 * the ratio estimator of cluster sampling (Cochran, Sampling Techniques, 6.13), so a shorter last window weighs less.
 * samples: what the result's n says (tokens, say). No interval under 2 clusters. */
hone_metric hone_metric_ratio(const double *num, const double *den, size_t n, uint64_t samples);

/* ---- bootstrap: deterministic, HONE_BOOTSTRAP_ROUNDS resamples from a generator of fixed seed ---- */
#define HONE_BOOTSTRAP_ROUNDS 2000
/* Mean over groups of each group's mean; items are drawn again inside their own group. sizes: [n_groups], items of group after group in x. */
hone_metric hone_metric_groups(const double *x, const size_t *sizes, size_t n_groups, uint64_t seed);
/* Mean of a[i]-b[i], pairs drawn together: is a better than b on the same items? */
hone_metric hone_metric_paired(const double *a, const double *b, size_t n, uint64_t seed);
/* Percentile p of all values of all blocks, whole blocks drawn again (tokens of one window are not independent).
 * Same resolution rule as hone_metric_percentile; no interval under 2 blocks. */
hone_metric hone_metric_block_percentile(const double *x, const size_t *sizes, size_t n_blocks, double p, uint64_t seed);

/* Student's t: the x with P(T <= x) = p for df degrees of freedom (0 < p < 1, df >= 1). */
double hone_student_quantile(double p, double df);
#endif
