#include "quant/range.h"
#include <float.h>
#include <math.h>
#include <string.h>

static const char *const names[HONE_RANGE_COUNT] = { "minmax", "average", "percentile", "entropy", "mse" };

const char *hone_range_name(hone_range_method m) { return names[m]; }

bool hone_range_find(const char *name, hone_range_method *out)
{
    for (int i = 0; i < HONE_RANGE_COUNT; i++)
        if (strcmp(name, names[i]) == 0) {
            *out = (hone_range_method)i;
            return true;
        }
    return false;
}

/* --- the two walks ------------------------------------------------------------------------------------------------- */
void hone_range_see(hone_range_seen *r, const float *x, size_t n)
{
    float  lo = INFINITY, hi = -INFINITY;
    size_t strange = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) {
            strange++;
            continue;
        }
        lo = x[i] < lo ? x[i] : lo;
        hi = x[i] > hi ? x[i] : hi;
    }
    r->strange += strange;
    if (strange == n) return;
    r->lo = r->n == 0 || lo < r->lo ? lo : r->lo;
    r->hi = r->n == 0 || hi > r->hi ? hi : r->hi;
    r->sum_lo += (double)lo;
    r->sum_hi += (double)hi;
    r->samples++;
    r->n += n - strange;
}

void hone_range_count(hone_range_seen *r, const float *x, size_t n)
{
    double width = (double)r->hi - (double)r->lo, per = width > 0 ? HONE_RANGE_BINS / width : 0;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) continue;
        double at = ((double)x[i] - (double)r->lo) * per;
        if (at < 0) at = 0; /* the second walk has a number that the first had not */
        size_t bin = at >= HONE_RANGE_BINS ? HONE_RANGE_BINS - 1 : (size_t)at;
        r->bins[bin]++;
    }
}

/* --- choices --------------------------------------------------------------------------------------------------------- */
static double centre(const hone_range_seen *r, size_t bin)
{
    return (double)r->lo + ((double)bin + 0.5) * ((double)r->hi - (double)r->lo) / HONE_RANGE_BINS;
}

static uint64_t counted(const hone_range_seen *r)
{
    uint64_t n = 0;
    for (size_t i = 0; i < HONE_RANGE_BINS; i++) n += r->bins[i];
    return n;
}

/* Half of what is left out at each end; all of it at the top where nothing is below zero. */
static void by_percentile(const hone_range_seen *r, double p, double *lo, double *hi)
{
    double   width = ((double)r->hi - (double)r->lo) / HONE_RANGE_BINS, n = (double)counted(r), out = (1 - p) * n;
    double   low_out = r->lo < 0 && r->hi > 0 ? out / 2 : r->hi > 0 ? 0 : out, high_out = out - low_out, seen = 0;
    size_t   a = 0, b = HONE_RANGE_BINS;
    while (a + 1 < b && seen + (double)r->bins[a] <= low_out) seen += (double)r->bins[a++];
    seen = 0;
    while (b > a + 1 && seen + (double)r->bins[b - 1] <= high_out) seen += (double)r->bins[--b];
    *lo = (double)r->lo + (double)a * width;
    *hi = b == HONE_RANGE_BINS ? (double)r->hi : (double)r->lo + (double)b * width;
}

/* Mean square of what a quantiser over lo..hi does: rounding inside (a twelfth of a step squared), clipping outside. */
static double square_error(const hone_range_seen *r, double lo, double hi, uint32_t levels)
{
    double step = (hi - lo) / (double)(levels - 1), sum = 0, rounding = step * step / 12;
    for (size_t i = 0; i < HONE_RANGE_BINS; i++) {
        if (r->bins[i] == 0) continue;
        double x = centre(r, i), d = x < lo ? lo - x : x > hi ? x - hi : 0;
        sum += (double)r->bins[i] * (d > 0 ? d * d : rounding);
    }
    return sum;
}

/* The histogram with zero's bin no higher than its neighbours: what a ReLU cuts off piles up there, and zero has a code of its own whatever the range
 * (NVIDIA's pytorch-quantization does the same, calib/histogram.py, `bins[0] = bins[1]`). */
static void without_zeros(const hone_range_seen *r, double *bins)
{
    size_t zero = HONE_RANGE_BINS;
    double width = ((double)r->hi - (double)r->lo) / HONE_RANGE_BINS;
    for (size_t i = 0; i < HONE_RANGE_BINS; i++) bins[i] = (double)r->bins[i];
    if (r->lo <= 0 && r->hi >= 0) zero = (size_t)fmin(-(double)r->lo / width, HONE_RANGE_BINS - 1);
    if (zero == HONE_RANGE_BINS) return;
    double below = zero > 0 ? bins[zero - 1] : 0, above = zero + 1 < HONE_RANGE_BINS ? bins[zero + 1] : 0;
    bins[zero] = fmin(bins[zero], fmax(below, above));
}

/* Kullback-Leibler divergence of the histogram, its outliers put into the outermost bins of lo..hi, from what `levels` codes keep of it: the
 * count of a code spread evenly over those of its bins that hold something.  What codes keep is a share of everything that was seen, not of what is
 * inside: else a range with next to nothing in it would look perfect. */
static double divergence(const hone_range_seen *r, const double *bins, double lo, double hi, uint32_t levels)
{
    double p[HONE_RANGE_BINS] = { 0 }, q[HONE_RANGE_BINS] = { 0 }, total = 0, sum = 0;
    size_t first = HONE_RANGE_BINS, last = 0;
    for (size_t i = 0; i < HONE_RANGE_BINS; i++) {
        double x = centre(r, i);
        if (x < lo || x > hi) continue;
        if (i < first) first = i;
        last = i;
    }
    if (first > last) return INFINITY;
    for (size_t i = 0; i < HONE_RANGE_BINS; i++) {
        p[i < first ? first : i > last ? last : i] += bins[i];
        total += bins[i];
    }
    size_t n = last - first + 1;
    for (uint32_t c = 0; c < levels; c++) { /* bins of one code */
        size_t a = first + n * c / levels, b = first + n * (c + 1) / levels, full = 0;
        double mass = 0;
        for (size_t i = a; i < b; i++) {
            mass += bins[i]; /* without the outliers: they are what clipping loses */
            full += p[i] > 0;
        }
        for (size_t i = a; i < b; i++)
            if (p[i] > 0) q[i] = mass / (double)full;
    }
    if (total <= 0) return INFINITY;
    for (size_t i = first; i <= last; i++) {
        if (p[i] <= 0) continue;
        double pi = p[i] / total, qi = q[i] > 0 ? q[i] / total : 1e-9 / total; /* a bin of outliers alone: as good as lost */
        sum += pi * log(pi / qi);
    }
    return sum;
}

enum { STEPS = 100 };

/* Both ends drawn in by the same share, so that zero keeps its place: the least divergence, the widest among equals. */
static void by_entropy(const hone_range_seen *r, uint32_t levels, double *lo, double *hi)
{
    double best = INFINITY, from_lo = fmin((double)r->lo, 0), from_hi = fmax((double)r->hi, 0), bins[HONE_RANGE_BINS];
    without_zeros(r, bins);
    for (uint32_t k = STEPS; k * HONE_RANGE_BINS >= STEPS * levels; k--) { /* never fewer bins than codes */
        double part = (double)k / STEPS, a = from_lo * part, b = from_hi * part, d = divergence(r, bins, a, b, levels);
        if (d >= best) continue;
        best = d;
        *lo = a;
        *hi = b;
    }
}

/* Each end by itself, in turns: the error has one valley along each of them. */
static void by_square(const hone_range_seen *r, uint32_t levels, double *lo, double *hi)
{
    double from_lo = fmin((double)r->lo, 0), from_hi = fmax((double)r->hi, 0), a = from_lo, b = from_hi, best = square_error(r, a, b, levels);
    for (int turn = 0; turn < 3; turn++) {
        double start = best;
        for (int k = STEPS; k > 0; k--) {
            double high = from_hi * k / STEPS, low = from_lo * k / STEPS, e;
            if (from_hi > 0 && (e = square_error(r, a, high, levels)) < best) best = e, b = high;
            if (from_lo < 0 && (e = square_error(r, low, b, levels)) < best) best = e, a = low;
        }
        if (best >= start) break;
    }
    *lo = a;
    *hi = b;
}

void hone_range_choose(const hone_range_seen *r, hone_range_method m, double p, uint32_t levels, float *lo, float *hi)
{
    double a = (double)r->lo, b = (double)r->hi;
    *lo = *hi = 0;
    if (r->n == 0) return;
    if (m == HONE_RANGE_AVERAGE) {
        a = r->sum_lo / (double)r->samples;
        b = r->sum_hi / (double)r->samples;
    }
    if (b > a) { /* else one number: there is nothing to choose */
        if (m == HONE_RANGE_PERCENTILE) by_percentile(r, p, &a, &b);
        if (m == HONE_RANGE_ENTROPY) by_entropy(r, levels, &a, &b);
        if (m == HONE_RANGE_MSE) by_square(r, levels, &a, &b);
    }
    *lo = (float)fmin(a, 0);
    *hi = (float)fmax(b, 0);
}

void hone_range_codes(float lo, float hi, int32_t qmin, int32_t qmax, bool symmetric, float *scale, int32_t *zero)
{
    double steps = (double)qmax - (double)qmin, s;
    if (symmetric) {
        int32_t middle = (int32_t)(((int64_t)qmax + qmin + 1) / 2);
        double  half = fmax(fabs((double)lo), fabs((double)hi));
        s = half / ((double)qmax - (double)middle);
        *scale = (float)s;
        *zero = middle;
    } else {
        s = ((double)hi - (double)lo) / steps;
        *scale = (float)s;
        double z = s > 0 ? (double)qmin - (double)lo / s : (double)qmin;
        *zero = (int32_t)fmin(fmax(nearbyint(z), (double)qmin), (double)qmax);
    }
    if (!(*scale >= FLT_MIN)) {
        *scale = lo < 0 || hi > 0 ? FLT_MIN : 1.0f;
        if (!(lo < 0 || hi > 0)) *zero = symmetric ? *zero : qmin;
    }
}
