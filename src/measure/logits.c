#include "measure/logits.h"
#include <math.h>

hone_row hone_row_scan(const float *x, size_t n)
{
    hone_row r = { .lse = -INFINITY, .gap = INFINITY };
    float    first = -INFINITY, second = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        if (isnan(x[i]) || x[i] == INFINITY) return r;
        if (x[i] > first) {
            second = first;
            first = x[i];
            r.best = i;
        } else if (x[i] > second) second = x[i];
    }
    if (first == -INFINITY) return r;
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += exp((double)x[i] - (double)first);
    r.lse = (double)first + log(sum);
    r.gap = (double)first - (double)second;
    r.finite = true;
    return r;
}

hone_row_diff hone_row_compare(const float *ref, const hone_row *r, const float *ours, const hone_row *o, size_t n)
{
    hone_row_diff d = { 0 };
    double        kld = 0;
    for (size_t i = 0; i < n; i++) {
        if (ref[i] == ours[i] && r->lse == o->lse) continue; /* adds nothing; also keeps -Inf - -Inf out */
        double a = fabs((double)ref[i] - (double)ours[i]);
        if (a > d.max_abs) d.max_abs = a;
        if (ref[i] == -INFINITY) continue; /* p = 0 */
        double lp = (double)ref[i] - r->lse, lq = (double)ours[i] - o->lse;
        kld += exp(lp) * (lp - lq);
    }
    d.kld = kld > 0 ? kld : 0; /* rounding may leave -1e-17 for equal rows */
    return d;
}
