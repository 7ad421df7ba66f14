/* metric.h - one measured number, or the reason why there is none.  "not measured" is never a number. */
#ifndef HONE_MEASURE_METRIC_H
#define HONE_MEASURE_METRIC_H
#include "base/json.h"
#include <stdbool.h>
#include <stdint.h>

typedef enum hone_metric_state { HONE_NOT_MEASURED = 0, HONE_MEASURED, HONE_UNRESOLVED } hone_metric_state;

typedef struct hone_metric { /* zeroed: not measured, no reason yet */
    hone_metric_state state;
    double            value, lo, hi; /* lo..hi: 95 % confidence interval; both equal value when there is none */
    uint64_t          n;             /* samples */
    char              why[120];      /* reason when not MEASURED */
} hone_metric;

hone_metric hone_metric_of(double value, uint64_t n);
hone_metric hone_metric_ci(double value, double lo, double hi, uint64_t n);
hone_metric hone_metric_none(const char *why);
hone_metric hone_metric_unresolved(uint64_t n, const char *why);
/* {"state":"measured","value":..,"ci":[lo,hi],"n":..} or {"state":"not_measured","reason":..}; NULL when memory is gone. */
json_t *hone_metric_json(const hone_metric *m);

/* Percentile p (0..1) of x[n] (copied, sorted; linear interpolation between closest ranks).  UNRESOLVED when n is too small for p:
 * MLPerf's rule of thumb n*(1-p) >= 5 observations beyond it (n >= 10 for p50, 100 for p95, 500 for p99). */
hone_metric hone_metric_percentile(const double *x, size_t n, double p);
/* Mean with a 95 % Student-t interval. */
hone_metric hone_metric_mean(const double *x, size_t n);
/* Standard deviation / mean. UNRESOLVED under 3 samples. */
hone_metric hone_metric_cv(const double *x, size_t n);
/* k of n, Wilson 95 % interval. */
hone_metric hone_metric_share(uint64_t k, uint64_t n);
#endif
