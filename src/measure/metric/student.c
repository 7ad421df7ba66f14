/* student.c - quantiles of Student's t distribution, from the regularised incomplete beta function.
 * Sources: NIST DLMF 8.17.22 (the continued fraction), 26.5 (the t distribution through it); evaluated by Lentz's method. */
#include "measure/metric.h"
#include <assert.h>
#include <math.h>

static double apart_from_zero(double x) { return fabs(x) < 1e-300 ? 1e-300 : x; }

/* The continued fraction of I_x(a, b); converges fast for x < (a+1)/(a+b+2). */
static double beta_fraction(double a, double b, double x)
{
    double c = 1, d = 1 / apart_from_zero(1 - (a + b) * x / (a + 1)), f = d;
    for (int m = 1; m <= 500; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        d = 1 / apart_from_zero(1 + even * d);
        c = apart_from_zero(1 + even / c);
        f *= d * c;
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        d = 1 / apart_from_zero(1 + odd * d);
        c = apart_from_zero(1 + odd / c);
        f *= d * c;
        if (fabs(d * c - 1) < 1e-15) break;
    }
    return f;
}

/* lgamma() writes the global signgam; candidates are summed up on several threads. */
static double ln_gamma(double x)
{
    int sign;
    return lgamma_r(x, &sign);
}

static double beta_share(double a, double b, double x)
{
    if (x <= 0) return 0;
    if (x >= 1) return 1;
    double front = exp(ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * log(x) + b * log1p(-x));
    return x < (a + 1) / (a + b + 2) ? front * beta_fraction(a, b, x) / a : 1 - front * beta_fraction(b, a, 1 - x) / b;
}

/* P(T > x) for x >= 0. */
static double upper_tail(double x, double df) { return 0.5 * beta_share(df / 2, 0.5, df / (df + x * x)); }

double hone_student_quantile(double p, double df)
{
    assert(p > 0 && p < 1 && df >= 1);
    if (p == 0.5) return 0;
    double tail = p > 0.5 ? 1 - p : p, lo = 0, hi = 1;
    while (upper_tail(hi, df) > tail && hi < 1e300) hi *= 2;
    for (int i = 0; i < 200 && hi - lo > 1e-14 * hi; i++) {
        double mid = 0.5 * (lo + hi);
        if (upper_tail(mid, df) > tail) lo = mid;
        else hi = mid;
    }
    double x = 0.5 * (lo + hi);
    return p > 0.5 ? x : -x;
}
