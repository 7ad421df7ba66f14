/* grid_fit.h - the search for points, signs and scales of iq2_* and iq3_*: 256 numbers at a time, all of a grid's points looked at.
 * ggml rounds to the nearest levels and looks among neighbours of what is no point, with levels 1, 3, 5 where decoding gives 8, 25, 43; here errors are
 * those of the numbers that decoding gives, so they come out smaller, and bytes are not ggml's.  Weights are ggml's: importance * sqrt(mean square + x^2).
 * A lane is a unit of 8 neighbours, one point of iq2, two of iq3.  Errors of levels are added up to those of halves of a point, once for all points,
 * of which each is one sum then: 8 numbers, 1024 points, 1024 additions. */
#ifndef HONE_QUANT_GRID_FIT_H
#define HONE_QUANT_GRID_FIT_H
#include "quant/grid.h"
#include "quant/lanes.h"

enum { HONE_GRID_UNITS = 32, HONE_GRID_LADDER = 12 };

typedef struct hone_grid_kind {
    const uint16_t *points;
    int             n_points, elems; /* numbers of a point: 8 or 4 */
    int             subs;            /* sub-blocks of 256: 8 or 16 */
    bool            even;            /* an even number of minus signs in a unit */
    float           step;            /* a sub-block's scale: d * step * (2*S + 1) */
    float           least;           /* where the search begins: this times the weighted root mean square */
    float           value[8];        /* of level */
} hone_grid_kind;
#define HONE_GRID_IQ2(grid, n, n_subs, is_even) { grid, n, 8, n_subs, is_even, 0.125f, 0.022f, { 8, 25, 43 } }

/* What is chosen for 256 numbers. */
typedef struct hone_grid_choice {
    uint16_t point[2][HONE_GRID_UNITS]; /* indexes; iq2: the first only */
    uint8_t  signs[HONE_GRID_UNITS];
    uint8_t  scale[16];                 /* S */
    uint8_t  d[2];
} hone_grid_choice;

/* 256 numbers over their peak, without signs; and as lanes: [element][unit]. */
typedef struct hone_grid_block {
    float   x[256], w[256], xt[8][HONE_GRID_UNITS], wt[8][HONE_GRID_UNITS];
    int32_t odd[HONE_GRID_UNITS]; /* all bits: signs have to become even */
} hone_grid_block;

/* What is best at one scale: of each unit its points, the element whose sign is turned (-1: none) and the error. */
typedef struct hone_grid_hits {
    int32_t point[2][HONE_GRID_UNITS], turned[HONE_GRID_UNITS];
    float   error[HONE_GRID_UNITS];
} hone_grid_hits;

/* Errors of each level of 8 elements, after the cheapest sign was turned where the number of minus signs is odd: an element whose sign is wrong wants
 * the lowest level. */
HONE_FIT_INLINE hone_ilanes hone_grid_errors(const hone_grid_kind *k, int levels, const hone_grid_block *b, int u, hone_lanes s, hone_lanes error[8][8])
{
    hone_ilanes odd, turned = ~(hone_ilanes){ 0 };
    hone_lanes  least = hone_lanes_all(0x1.fffffep127f);
    memcpy(&odd, b->odd + u, sizeof odd);
    for (int i = 0; i < 8; i++) {
        hone_lanes x = hone_lanes_load(b->xt[i] + u), w = hone_lanes_load(b->wt[i] + u), lowest = least;
        for (int l = 0; l < levels; l++) {
            hone_lanes off = s * k->value[l] - x;
            error[i][l] = w * off * off;
            lowest = l == 0 ? error[i][0] : hone_lanes_min(error[i][l], lowest);
        }
        if (!k->even) continue;
        hone_lanes  off = s * k->value[0] + x, more = w * off * off - lowest;
        hone_ilanes hit = (hone_ilanes)(more < least) & odd;
        least = hone_lanes_pick(hit, more, least);
        turned = (turned & ~hit) | (hit & i);
    }
    for (int i = 0; i < 8 && k->even; i++) {
        hone_lanes  x = hone_lanes_load(b->xt[i] + u), w = hone_lanes_load(b->wt[i] + u);
        hone_ilanes here = (hone_ilanes)(turned == i);
        for (int l = 0; l < levels; l++) {
            hone_lanes off = s * k->value[l] + x;
            error[i][l] = hone_lanes_pick(here, w * off * off, error[i][l]);
        }
    }
    return turned;
}

/* The best point for the elements from `first` on, of equals the first one.  A point's halves are its low and its high 8 (iq3: 6) bits. */
HONE_FIT_INLINE hone_ilanes hone_grid_point(const hone_grid_kind *k, int first, hone_lanes error[8][8], hone_lanes *sum)
{
    hone_lanes low[256], high[256];
    if (k->elems == 8) {
        for (int p = 0; p < 81; p++) {
            int l[4] = { p % 3, p / 3 % 3, p / 9 % 3, p / 27 }, at = l[0] | l[1] << 2 | l[2] << 4 | l[3] << 6;
            low[at] = (error[0][l[0]] + error[1][l[1]]) + (error[2][l[2]] + error[3][l[3]]);
            high[at] = (error[4][l[0]] + error[5][l[1]]) + (error[6][l[2]] + error[7][l[3]]);
        }
    } else {
        for (int p = 0; p < 64; p++) {
            low[p] = error[first][p & 7] + error[first + 1][p >> 3];
            high[p] = error[first + 2][p & 7] + error[first + 3][p >> 3];
        }
    }
    const int   bits = k->elems == 8 ? 8 : 6;
    hone_lanes  best = hone_lanes_all(0x1.fffffep127f);
    hone_ilanes index = { 0 };
    for (int p = 0; p < k->n_points; p++) {
        hone_lanes  e = low[k->points[p] & ((1 << bits) - 1)] + high[k->points[p] >> bits];
        hone_ilanes hit = (hone_ilanes)(e < best);
        best = hone_lanes_min(e, best);
        index = (index & ~hit) | (hit & p);
    }
    *sum = best;
    return index;
}

/* scale: of each unit. */
HONE_FIT_INLINE void hone_grid_search(const hone_grid_kind *k, const hone_grid_block *b, const float *scale, hone_grid_hits *out)
{
    for (int u = 0; u < HONE_GRID_UNITS; u += HONE_LANES) {
        hone_lanes  error[8][8], sum, more = { 0 };
        hone_ilanes turned = hone_grid_errors(k, k->elems == 8 ? 3 : 8, b, u, hone_lanes_load(scale + u), error);
        hone_ilanes point = hone_grid_point(k, 0, error, &sum);
        memcpy(out->point[0] + u, &point, sizeof point);
        if (k->elems == 4) {
            point = hone_grid_point(k, 4, error, &more);
            memcpy(out->point[1] + u, &point, sizeof point);
        }
        sum += more;
        memcpy(out->turned + u, &turned, sizeof turned);
        memcpy(out->error + u, &sum, sizeof sum);
    }
}

/* A sub-block's points as least squares see them: the best scale for them is wxv / wv2. */
typedef struct hone_grid_sums {
    float wxv, wv2;
} hone_grid_sums;
HONE_FIT_INLINE hone_grid_sums hone_grid_solve(const hone_grid_kind *k, const hone_grid_block *b, const hone_grid_hits *h, int sub)
{
    hone_grid_sums sum = { 0, 0 };
    const int      units = HONE_GRID_UNITS / k->subs;
    for (int u = units * sub; u < units * (sub + 1); u++)
        for (int i = 0; i < 8; i++) {
            int   level = k->elems == 8 ? k->points[h->point[0][u]] >> 2 * i & 3 : k->points[h->point[i / 4][u]] >> 3 * (i % 4) & 7;
            float v = k->value[level], wv = b->w[8 * u + i] * v, x = b->x[8 * u + i];
            sum.wxv += wv * (h->turned[u] == i ? -x : x);
            sum.wv2 += wv * v;
        }
    return sum;
}
HONE_FIT_INLINE float hone_grid_error(const hone_grid_kind *k, const hone_grid_hits *h, int sub)
{
    float     sum = 0;
    const int units = HONE_GRID_UNITS / k->subs;
    for (int u = units * sub; u < units * (sub + 1); u++) sum += h->error[u];
    return sum;
}
HONE_FIT_INLINE void hone_grid_take(const hone_grid_kind *k, const hone_grid_hits *from, int sub, hone_grid_hits *to)
{
    const int units = HONE_GRID_UNITS / k->subs;
    for (int u = units * sub; u < units * (sub + 1); u++) {
        to->point[0][u] = from->point[0][u];
        to->point[1][u] = from->point[1][u];
        to->turned[u] = from->turned[u];
        to->error[u] = from->error[u];
    }
}
HONE_FIT_INLINE void hone_grid_spread(const hone_grid_kind *k, const float *of_sub, float *of_unit)
{
    for (int u = 0; u < HONE_GRID_UNITS; u++) of_unit[u] = of_sub[u / (HONE_GRID_UNITS / k->subs)];
}

/* Numbers over their peak, and weights; what is no weight counts as 0, and none is nothing at all: such a column may yet be asked for. */
HONE_FIT_INLINE void hone_grid_weigh(const float *restrict x, const float *restrict importance, float peak, bool even, hone_grid_block *restrict b,
                                     uint8_t *restrict signs)
{
    float most = 0, mean_square = 0;
    for (int i = 0; i < 256; i++) {
        b->x[i] = fabsf(x[i] / peak);
        mean_square += b->x[i] * b->x[i];
        b->w[i] = importance && importance[i] > 0 && importance[i] <= 0x1.fffffep127f ? importance[i] : 0;
        if (b->w[i] > most) most = b->w[i];
    }
    mean_square /= 256;
    for (int i = 0; i < 256; i++) {
        float share = most > 0 ? b->w[i] / most : 1;
        b->w[i] = (share > 0x1p-20f ? share : 0x1p-20f) * sqrtf(mean_square + b->x[i] * b->x[i]);
    }
    for (int u = 0; u < HONE_GRID_UNITS; u++) {
        uint32_t minus = 0, n = 0;
        for (int i = 0; i < 8; i++) {
            b->xt[i][u] = b->x[8 * u + i];
            b->wt[i][u] = b->w[8 * u + i];
            minus |= (uint32_t)(x[8 * u + i] < 0) << i;
            n += x[8 * u + i] < 0;
        }
        signs[u] = (uint8_t)minus;
        b->odd[u] = even && n % 2 ? -1 : 0;
    }
}

/* Of each sub-block the scale that suits it best, and what a step away from it costs: scales between one that clips what is far out and one that holds
 * the peak, and the one at which the lowest level is the mean (numbers that are equal); then least squares, twice. */
HONE_FIT_INLINE void hone_grid_scales(const hone_grid_kind *k, const hone_grid_block *b, float *scale, float *cost)
{
    const int      n = 256 / k->subs;
    float          lo[16], hi[16], mean[16], of_sub[16], of_unit[HONE_GRID_UNITS], best[16];
    hone_grid_hits hits, kept;
    for (int j = 0; j < k->subs; j++) {
        float most = 0, sum_w = 0, sum = 0, square = 0;
        for (int i = n * j; i < n * (j + 1); i++) {
            if (b->x[i] > most) most = b->x[i];
            sum_w += b->w[i];
            sum += b->w[i] * b->x[i];
            square += b->w[i] * b->x[i] * b->x[i];
        }
        mean[j] = sum_w > 0 ? sum / (sum_w * k->value[0]) : 0;
        hi[j] = 1.5f * most / k->value[k->elems == 8 ? 2 : 7];
        lo[j] = sum_w > 0 ? k->least * sqrtf(square / sum_w) : 0;
        if (!(lo[j] < 0.7f * hi[j])) lo[j] = 0.7f * hi[j];
    }
    for (int t = 0; t <= HONE_GRID_LADDER; t++) {
        float part = (float)t / (HONE_GRID_LADDER - 1);
        part = 0.5f * (part + part * part);
        for (int j = 0; j < k->subs; j++) of_sub[j] = t < HONE_GRID_LADDER ? lo[j] + (hi[j] - lo[j]) * part : mean[j];
        hone_grid_spread(k, of_sub, of_unit);
        hone_grid_search(k, b, of_unit, &hits);
        for (int j = 0; j < k->subs; j++) {
            float error = hone_grid_error(k, &hits, j);
            if (t > 0 && !(error < best[j])) continue;
            best[j] = error;
            hone_grid_take(k, &hits, j, &kept);
        }
    }
    for (int again = 0; again < 2; again++) {
        for (int j = 0; j < k->subs; j++) {
            hone_grid_sums sum = hone_grid_solve(k, b, &kept, j);
            scale[j] = sum.wv2 > 0 && sum.wxv > 0 ? sum.wxv / sum.wv2 : 0;
            cost[j] = sum.wv2;
        }
        if (again) break;
        hone_grid_spread(k, scale, of_unit);
        hone_grid_search(k, b, of_unit, &kept);
    }
}

/* The odd multiple of d nearest to scale. */
HONE_FIT_INLINE int hone_grid_multiple(float scale, float d)
{
    float v = scale / d;
    return v < 31 ? hone_clamp(hone_nearest(0.5f * (v - 1)), 0, 15) : 15;
}

/* Points at the scales d * (2*S + 1); S: one step up and down is tried too.  Returns the error. */
HONE_FIT_INLINE float hone_grid_settle(const hone_grid_kind *k, const hone_grid_block *b, float d, int first, int last, int *stored, hone_grid_hits *kept)
{
    int            start[16];
    float          of_sub[16], of_unit[HONE_GRID_UNITS], best[16], sum = 0;
    hone_grid_hits hits;
    memcpy(start, stored, sizeof start);
    for (int by = first; by <= last; by++) {
        for (int j = 0; j < k->subs; j++) of_sub[j] = d * (float)(2 * hone_clamp(start[j] + by, 0, 15) + 1);
        hone_grid_spread(k, of_sub, of_unit);
        hone_grid_search(k, b, of_unit, &hits);
        for (int j = 0; j < k->subs; j++) {
            float error = hone_grid_error(k, &hits, j);
            if (by > first && !(error < best[j])) continue;
            best[j] = error;
            stored[j] = hone_clamp(start[j] + by, 0, 15);
            hone_grid_take(k, &hits, j, kept);
        }
    }
    for (int j = 0; j < k->subs; j++) sum += best[j];
    return sum;
}

/* d for these scales: the largest at a multiple of 22 to 34, wherever the sum of what all miss costs least. */
HONE_FIT_INLINE float hone_grid_base(const hone_grid_kind *k, const float *scale, const float *cost)
{
    float most = 0, best = 0, base = 0;
    for (int j = 0; j < k->subs; j++)
        if (scale[j] > most) most = scale[j];
    for (int t = 0; t <= 24 && most > 0; t++) {
        float d = most / (22 + 0.5f * (float)t), sum = 0;
        for (int j = 0; j < k->subs; j++) {
            float miss = scale[j] - d * (float)(2 * hone_grid_multiple(scale[j], d) + 1);
            sum += cost[j] * miss * miss;
        }
        if (t > 0 && !(sum < best)) continue;
        best = sum;
        base = d;
    }
    return base;
}

/* Points of least error point where the numbers do but are too short, by the share of the error: 8 % at 2.3 bits.  What is lost so adds up over a row and
 * over layers, where other errors cancel, so d is lengthened until the points reach as far along the numbers as these do; beyond an eighth less and less of
 * it, since a block that loses a quarter is a few outliers, whose errors would grow.  KLD of tale-8m: iq2_xs 0.034 to 0.028, iq2_m 0.0092 to 0.0083, iq3_s 0.0049 to 0.0048. */
HONE_FIT_INLINE float hone_grid_longer(const hone_grid_kind *k, const hone_grid_block *b, const hone_grid_hits *h, const int *stored, float d)
{
    float wanted = 0, reached = 0;
    for (int i = 0; i < 256; i++) wanted += b->w[i] * b->x[i] * b->x[i];
    for (int j = 0; j < k->subs; j++) reached += d * (float)(2 * stored[j] + 1) * hone_grid_solve(k, b, h, j).wxv;
    if (!(reached < wanted) || wanted >= 1.25f * reached) return 1;
    float share = wanted / reached - 1;
    return share <= 0.125f ? 1 + share : 1.25f - share;
}

/* Chooses for x[256].  NaN or an infinity among them: d is NaN. */
HONE_FIT_INLINE void hone_grid_fit(const hone_grid_kind *k, const float *restrict x, const float *restrict importance, hone_grid_choice *restrict c)
{
    float           peak = fabsf(hone_peak(256, x)), scale[16], cost[16];
    hone_grid_block b;
    hone_grid_hits  kept, hits;
    memset(c, 0, sizeof *c);
    if (!hone_all_finite(256, x)) {
        hone_put_le16(c->d, 0x7e00);
        return;
    }
    if (!(peak > 0)) return;
    hone_grid_weigh(x, importance, peak, k->even, &b, c->signs);
    hone_grid_scales(k, &b, scale, cost);
    int   stored[16] = { 0 };
    float base = hone_grid_base(k, scale, cost), error = 0, used = 0;
    for (int round = 0; round < 2; round++) {
        uint8_t d[2];
        hone_f16_store(d, base * peak / k->step);
        float as_stored = hone_f16_load(d) / peak * k->step;
        if (!(as_stored > 0 && as_stored <= 0x1.fffffep127f)) as_stored = base;
        int   tried[16] = { 0 };
        for (int j = 0; j < k->subs; j++) tried[j] = round == 0 ? hone_grid_multiple(scale[j], as_stored) : stored[j];
        float now = round == 0 ? hone_grid_settle(k, &b, as_stored, -1, 1, tried, &hits) : hone_grid_settle(k, &b, as_stored, 0, 0, tried, &hits);
        if (round > 0 && !(now < error)) break;
        error = now;
        used = as_stored;
        kept = hits;
        memcpy(stored, tried, sizeof stored);
        float up = 0, down = 0;
        for (int j = 0; j < k->subs; j++) {
            hone_grid_sums sum = hone_grid_solve(k, &b, &kept, j);
            float          m = (float)(2 * stored[j] + 1);
            up += m * sum.wxv;
            down += m * m * sum.wv2;
        }
        if (!(up > 0 && down > 0)) break;
        base = up / down;
    }
    hone_f16_store(c->d, used * hone_grid_longer(k, &b, &kept, stored, used) * peak / k->step);
    for (int j = 0; j < k->subs; j++) c->scale[j] = (uint8_t)stored[j];
    for (int u = 0; u < HONE_GRID_UNITS; u++) {
        c->point[0][u] = (uint16_t)kept.point[0][u];
        if (k->elems == 4) c->point[1][u] = (uint16_t)kept.point[1][u];
        if (kept.turned[u] >= 0) c->signs[u] = (uint8_t)(c->signs[u] ^ 1u << kept.turned[u]);
    }
}

/* All blocks of a row.  pack writes a choice's points, signs and S into a block of zeros, behind d, which stands first in every type. */
HONE_FIT_INLINE void hone_grid_encode(const hone_grid_kind *k, size_t block_bytes, void (*pack)(const hone_grid_choice *c, void *block), const float *x, void *out, size_t n_cols,
                                      const float *importance)
{
    uint8_t *block = out;
    for (size_t i = 0; i < n_cols; i += 256, block += block_bytes) {
        hone_grid_choice c;
        hone_grid_fit(k, x + i, importance ? importance + i : NULL, &c);
        memset(block, 0, block_bytes);
        memcpy(block, c.d, sizeof c.d);
        pack(&c, block);
    }
}
#endif
