/* bootstrap.c - percentile bootstrap intervals (B. Efron, Annals of Statistics 7 (1979)), drawn from a fixed sequence. */
#include "measure/metric.h"
#include "measure/metric/rng.h"
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char NO_MEMORY[] = "out of memory for the bootstrap";

static int ascending(const void *a, const void *b)
{
    double x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

/* The middle 95 % of the replicates, widened to hold the estimate itself. */
static hone_metric from_replicates(double value, double *rep, uint64_t n)
{
    qsort(rep, HONE_BOOTSTRAP_ROUNDS, sizeof *rep, ascending);
    double lo = rep[(size_t)(0.025 * HONE_BOOTSTRAP_ROUNDS)], hi = rep[(size_t)(0.975 * HONE_BOOTSTRAP_ROUNDS) - 1];
    return hone_metric_ci(value, fmin(lo, value), fmax(hi, value), n);
}

static double plain_mean(const double *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += x[i];
    return sum / (double)n;
}

static double drawn_mean(hone_rng *rng, const double *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += x[hone_rng_below(rng, n)];
    return sum / (double)n;
}

hone_metric hone_metric_groups(const double *x, const size_t *sizes, size_t n_groups, uint64_t seed)
{
    size_t total = 0, groups = 0;
    double value = 0;
    for (size_t g = 0; g < n_groups; g++) {
        if (sizes[g] == 0) continue;
        value += plain_mean(x + total, sizes[g]);
        total += sizes[g];
        groups++;
    }
    if (groups == 0) return hone_metric_none("no samples");
    value /= (double)groups;
    double *rep = malloc(HONE_BOOTSTRAP_ROUNDS * sizeof *rep);
    if (!rep) return hone_metric_none(NO_MEMORY);
    hone_rng rng = hone_rng_seeded(seed);
    for (size_t b = 0; b < HONE_BOOTSTRAP_ROUNDS; b++) {
        size_t at = 0;
        rep[b] = 0;
        for (size_t g = 0; g < n_groups; g++) {
            if (sizes[g]) rep[b] += drawn_mean(&rng, x + at, sizes[g]) / (double)groups;
            at += sizes[g];
        }
    }
    hone_metric m = from_replicates(value, rep, total);
    free(rep);
    return m;
}

hone_metric hone_metric_paired(const double *a, const double *b, size_t n, uint64_t seed)
{
    if (n == 0) return hone_metric_none("no samples");
    double *diff = malloc(n * sizeof *diff), *rep = malloc(HONE_BOOTSTRAP_ROUNDS * sizeof *rep);
    if (!diff || !rep) {
        free(diff);
        free(rep);
        return hone_metric_none(NO_MEMORY);
    }
    for (size_t i = 0; i < n; i++) diff[i] = a[i] - b[i];
    hone_rng rng = hone_rng_seeded(seed);
    for (size_t i = 0; i < HONE_BOOTSTRAP_ROUNDS; i++) rep[i] = drawn_mean(&rng, diff, n);
    hone_metric m = from_replicates(plain_mean(diff, n), rep, n);
    free(diff);
    free(rep);
    return m;
}

typedef struct placed {
    double value;
    size_t block;
} placed;

static int descending(const void *a, const void *b)
{
    const placed *x = a, *y = b;
    if (x->value != y->value) return x->value < y->value ? 1 : -1;
    return (x->block > y->block) - (x->block < y->block);
}

hone_metric hone_metric_block_percentile(const double *x, const size_t *sizes, size_t n_blocks, double p, uint64_t seed)
{
    size_t n = 0;
    for (size_t i = 0; i < n_blocks; i++) n += sizes[i];
    hone_metric plain = hone_metric_percentile(x, n, p);
    if (!hone_metric_known(&plain)) return plain;
    if (n_blocks < 2) return hone_metric_of(plain.value, n);

    placed   *all = malloc(n * sizeof *all);
    double   *rep = malloc(HONE_BOOTSTRAP_ROUNDS * sizeof *rep);
    uint32_t *times = malloc(n_blocks * sizeof *times);
    if (!all || !rep || !times) {
        plain = hone_metric_none(NO_MEMORY);
        goto out;
    }
    for (size_t b = 0, i = 0; b < n_blocks; b++)
        for (size_t k = 0; k < sizes[b]; k++, i++) all[i] = (placed){ x[i], b };
    qsort(all, n, sizeof *all, descending);
    hone_rng rng = hone_rng_seeded(seed);
    for (size_t r = 0; r < HONE_BOOTSTRAP_ROUNDS; r++) {
        /* Sorted once; a resample only says how often each block counts, so its percentile is a short walk from the top. */
        size_t drawn = 0;
        memset(times, 0, n_blocks * sizeof *times);
        for (size_t i = 0; i < n_blocks; i++) {
            size_t b = (size_t)hone_rng_below(&rng, n_blocks);
            times[b]++;
            drawn += sizes[b];
        }
        double beyond = (1 - p) * (double)drawn, seen = 0;
        size_t i = 0;
        while (i + 1 < n && (seen += times[all[i].block]) <= beyond) i++;
        rep[r] = all[i].value;
    }
    plain = from_replicates(plain.value, rep, n);
out:
    free(all);
    free(rep);
    free(times);
    return plain;
}
