#include "measure/metric.h"
#include "base/text.h"
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define Z95 1.959963984540054 /* 0.975 quantile of the normal distribution */

hone_metric hone_metric_none(const char *why)
{
    hone_metric m = { .state = HONE_NOT_MEASURED };
    (void)snprintf(m.why, sizeof m.why, "%s", why);
    return m;
}

hone_metric hone_metric_unresolved(uint64_t n, const char *why)
{
    hone_metric m = hone_metric_none(why);
    m.state = HONE_UNRESOLVED;
    m.n = n;
    return m;
}

hone_metric hone_metric_ci(double value, double lo, double hi, uint64_t n)
{
    if (!isfinite(value)) return hone_metric_none("the result is not a finite number");
    bool good = isfinite(lo) && isfinite(hi) && lo <= value && value <= hi;
    return (hone_metric){
        .state = HONE_MEASURED, .value = value, .lo = good ? lo : value, .hi = good ? hi : value, .n = n
    };
}

hone_metric hone_metric_of(double value, uint64_t n) { return hone_metric_ci(value, value, value, n); }

static const char *state_name(hone_metric_state s)
{
    return s == HONE_MEASURED ? "measured" : s == HONE_UNRESOLVED ? "unresolved" : "not_measured";
}

/* A reason may come from a runtime, and was cut to fit: its UTF-8 may be broken. */
static json_t *reason(const hone_metric *m)
{
    char   shown[4 * sizeof m->why];
    size_t n = strlen(m->why);
    if (n == 0) return json_string("no reason given");
    return json_string(hone_utf8_valid(m->why, n) ? m->why : hone_text_show(m->why, n, shown, sizeof shown));
}

static json_t *interval(const hone_metric *m) { return json_pack("[f,f]", m->lo, m->hi); }

json_t *hone_metric_json(const hone_metric *m)
{
    if (m->state != HONE_MEASURED) return json_pack("{s:s,s:o,s:I}", "state", state_name(m->state), "reason", reason(m), "n", (json_int_t)m->n);
    json_t *j = json_pack("{s:s,s:f,s:I}", "state", "measured", "value", m->value, "n", (json_int_t)m->n);
    if (j && hone_metric_has_ci(m) && !hone_json_put(j, "ci", interval(m))) {
        json_decref(j);
        return NULL;
    }
    return j;
}

/* The object under key, made when it is not there. */
static json_t *inner(json_t *obj, const char *key)
{
    json_t *in = json_object_get(obj, key);
    if (in) return in;
    in = json_object();
    return in && json_object_set_new(obj, key, in) == 0 ? in : NULL;
}

bool hone_metric_put(json_t *result, const char *path, const hone_metric *m)
{
    const char *dot = strchr(path, '.'), *leaf = path;
    json_t     *home = result;
    if (dot) {
        char   first[64];
        size_t len = (size_t)(dot - path);
        assert(len < sizeof first);
        memcpy(first, path, len);
        first[len] = 0;
        home = inner(result, first);
        leaf = dot + 1;
    }
    bool    known = hone_metric_known(m);
    json_t *side;
    if (!home || !hone_json_put(home, leaf, known ? hone_json_real(m->value) : json_null())) return false;
    if (!known)
        return (side = inner(result, "states")) &&
               hone_json_put(side, path, json_pack("{s:s,s:o}", "state", state_name(m->state), "reason", reason(m)));
    if (!(side = inner(result, "n")) || !hone_json_put(side, path, json_integer((json_int_t)m->n))) return false;
    return !hone_metric_has_ci(m) || ((side = inner(result, "ci")) && hone_json_put(side, path, interval(m)));
}

bool hone_metric_put_text(json_t *result, const char *key, const char *s)
{
    size_t n = strlen(s);
    char   shown[2048];
    if (n == 0) return hone_json_put(result, key, json_null());
    return hone_json_put(result, key, json_string(hone_utf8_valid(s, n) ? s : hone_text_show(s, n, shown, sizeof shown)));
}

/* ---- plain statistics ---- */

static int ascending(const void *a, const void *b)
{
    double x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

static double between_ranks(const double *sorted, size_t n, double p)
{
    double at = p * (double)(n - 1), floor_at = floor(at);
    size_t i = (size_t)floor_at;
    return i + 1 >= n ? sorted[n - 1] : sorted[i] + (at - floor_at) * (sorted[i + 1] - sorted[i]);
}

hone_metric hone_metric_percentile(const double *x, size_t n, double p)
{
    char why[120];
    assert(p >= 0 && p < 1);
    if (n == 0) return hone_metric_none("no samples");
    if ((double)n * (1 - p) < 5 - 1e-9) {
        (void)snprintf(why, sizeof why, "%zu samples, p%g needs %.0f", n, p * 100, ceil(5 / (1 - p) - 1e-9));
        return hone_metric_unresolved(n, why);
    }
    double *s = malloc(n * sizeof *s);
    if (!s) return hone_metric_none("out of memory for sorting the samples");
    memcpy(s, x, n * sizeof *s);
    qsort(s, n, sizeof *s, ascending);
    /* Ranks np +- z sqrt(np(1-p)) cover the true percentile with 95 %. */
    double      half = Z95 * sqrt((double)n * p * (1 - p)), at = p * (double)(n - 1);
    double      low = floor(at - half), high = ceil(at + half);
    size_t      i = low < 0 ? 0 : (size_t)low, j = high > (double)(n - 1) ? n - 1 : (size_t)high;
    hone_metric m = hone_metric_ci(between_ranks(s, n, p), s[i], s[j], n);
    free(s);
    return m;
}

static double sum_of(const double *x, size_t n)
{
    double sum = 0, rest = 0; /* Neumaier: what the addition lost is kept apart */
    for (size_t i = 0; i < n; i++) {
        double t = sum + x[i];
        rest += fabs(sum) >= fabs(x[i]) ? (sum - t) + x[i] : (x[i] - t) + sum;
        sum = t;
    }
    return sum + rest;
}

static double mean_of(const double *x, size_t n) { return sum_of(x, n) / (double)n; }

static double deviation_of(const double *x, size_t n, double mean)
{
    double q = 0;
    for (size_t i = 0; i < n; i++) q += (x[i] - mean) * (x[i] - mean);
    return sqrt(q / (double)(n - 1));
}

hone_metric hone_metric_mean(const double *x, size_t n)
{
    if (n == 0) return hone_metric_none("no samples");
    double mean = mean_of(x, n);
    if (n < 2) return hone_metric_of(mean, n);
    double half = hone_student_quantile(0.975, (double)(n - 1)) * deviation_of(x, n, mean) / sqrt((double)n);
    return hone_metric_ci(mean, mean - half, mean + half, n);
}

hone_metric hone_metric_cv(const double *x, size_t n)
{
    char why[120];
    if (n == 0) return hone_metric_none("no samples");
    if (n < 3) {
        (void)snprintf(why, sizeof why, "%zu samples, a variation needs 3", n);
        return hone_metric_unresolved(n, why);
    }
    double mean = mean_of(x, n);
    if (mean == 0) return hone_metric_none("the mean is zero");
    return hone_metric_of(deviation_of(x, n, mean) / fabs(mean), n);
}

/* E. B. Wilson, JASA 22 (1927) 209-212. */
hone_metric hone_metric_share(uint64_t k, uint64_t n)
{
    assert(k <= n);
    if (n == 0) return hone_metric_none("no samples");
    double N = (double)n, p = (double)k / N, z2 = Z95 * Z95;
    double mid = (p + z2 / (2 * N)) / (1 + z2 / N);
    double half = Z95 / (1 + z2 / N) * sqrt(p * (1 - p) / N + z2 / (4 * N * N));
    return hone_metric_ci(p, k == 0 ? 0 : mid - half, k == n ? 1 : mid + half, n);
}

hone_metric hone_metric_ratio(const double *num, const double *den, size_t n, uint64_t samples)
{
    if (n == 0) return hone_metric_none("no samples");
    double all = sum_of(den, n);
    if (!(all > 0)) return hone_metric_none("no samples");
    double r = sum_of(num, n) / all;
    if (n < 2) return hone_metric_of(r, samples);
    double q = 0;
    for (size_t i = 0; i < n; i++) {
        double e = num[i] - r * den[i];
        q += e * e;
    }
    double N = (double)n, half = hone_student_quantile(0.975, N - 1) * sqrt(N / (N - 1) * q) / all;
    return hone_metric_ci(r, r - half, r + half, samples);
}
