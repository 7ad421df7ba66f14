#include "passes/allot.h"
#include "base/arena.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#define MAX_PICKS ((size_t)256 << 20) /* bytes of the table of picks */

typedef struct table {
    const hone_allot_item *items;
    size_t                 n;
    uint64_t               least, unit; /* bytes of the smallest choice; of a step */
    size_t                 steps;       /* of the budget above it */
    double                *best;        /* [steps + 1] the least cost within so many steps */
    uint8_t               *picks;       /* [n][steps + 1] */
} table;

static uint64_t smallest(const hone_allot_item *it)
{
    uint64_t b = it->options[0].bytes;
    for (size_t k = 1; k < it->n; k++) b = it->options[k].bytes < b ? it->options[k].bytes : b;
    return b;
}

static uint64_t largest(const hone_allot_item *it)
{
    uint64_t b = it->options[0].bytes;
    for (size_t k = 1; k < it->n; k++) b = it->options[k].bytes > b ? it->options[k].bytes : b;
    return b;
}

static uint64_t gcd(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t t = a % b;
        a = b;
        b = t;
    }
    return a;
}

/* Steps of option k above the smallest of its item, rounded up. */
static size_t steps_of(const table *t, size_t i, size_t k)
{
    uint64_t more = t->items[i].options[k].bytes - smallest(&t->items[i]);
    return (size_t)(more / t->unit + (more % t->unit != 0));
}

static hone_code table_new(table *t, const hone_allot_item *items, size_t n, uint64_t budget, hone_err *err)
{
    uint64_t most = 0, common = 0, cap = HONE_ALLOT_STEPS;
    *t = (table){ .items = items, .n = n };
    for (size_t i = 0; i < n; i++) {
        uint64_t low = smallest(&items[i]);
        t->least += low;
        most += largest(&items[i]);
        for (size_t k = 0; k < items[i].n; k++) common = gcd(common, items[i].options[k].bytes - low);
    }
    if (t->least > budget)
        return HONE_FAIL(err, HONE_ENO, "allow more", "the narrowest encodings take %" PRIu64 " bytes, %" PRIu64 " are allowed", t->least, budget);
    uint64_t slack = (budget < most ? budget : most) - t->least;
    if (n && cap > MAX_PICKS / n) cap = MAX_PICKS / n;
    t->unit = common ? common : 1;
    if (slack / t->unit > cap) t->unit = slack / cap + 1;
    t->steps = (size_t)(slack / t->unit);
    t->best = calloc(t->steps + 1, sizeof *t->best);
    t->picks = calloc(n * (t->steps + 1) + 1, 1);
    return t->best && t->picks ? HONE_OK : HONE_NOMEM(err, "the choice of encodings");
}

static void table_release(table *t)
{
    free(t->best);
    free(t->picks);
}

/* After item i best[w] is the least cost of items 0..i within w steps; from the far end on, so that what it is made from is still of item i - 1. */
static void fill(table *t)
{
    for (size_t i = 0; i < t->n; i++) {
        const hone_allot_item *it = &t->items[i];
        uint8_t               *pick = t->picks + i * (t->steps + 1);
        size_t                 needs[256];
        for (size_t k = 0; k < it->n; k++) needs[k] = steps_of(t, i, k);
        for (size_t w = t->steps + 1; w-- > 0;) {
            double  best = INFINITY;
            uint8_t at = 0;
            for (size_t k = 0; k < it->n; k++) {
                if (needs[k] > w || !(t->best[w - needs[k]] + it->options[k].cost < best)) continue;
                best = t->best[w - needs[k]] + it->options[k].cost;
                at = (uint8_t)k;
            }
            t->best[w] = best;
            pick[w] = at;
        }
    }
}

static void trace(const table *t, size_t w, uint32_t *chosen)
{
    for (size_t i = t->n; i-- > 0;) {
        chosen[i] = t->picks[i * (t->steps + 1) + w];
        w -= steps_of(t, i, chosen[i]);
    }
}

static uint64_t bytes_of(const table *t, const uint32_t *chosen)
{
    uint64_t b = 0;
    for (size_t i = 0; i < t->n; i++) b += t->items[i].options[chosen[i]].bytes;
    return b;
}

/* Rounding up has left something: the change that helps most and fits, until there is none. */
static void spend(const table *t, uint64_t budget, uint32_t *chosen)
{
    uint64_t used = bytes_of(t, chosen);
    for (;;) {
        double gain = 0;
        size_t item = 0;
        uint32_t option = 0;
        for (size_t i = 0; i < t->n; i++) {
            const hone_allot_option *o = t->items[i].options, *now = &o[chosen[i]];
            for (size_t k = 0; k < t->items[i].n; k++) {
                if (used - now->bytes + o[k].bytes > budget || !(now->cost - o[k].cost > gain)) continue;
                gain = now->cost - o[k].cost;
                item = i;
                option = (uint32_t)k;
            }
        }
        if (!(gain > 0)) return;
        used = used - t->items[item].options[chosen[item]].bytes + t->items[item].options[option].bytes;
        chosen[item] = option;
    }
}

hone_code hone_allot(const hone_allot_item *items, size_t n, uint64_t budget, uint32_t *chosen, hone_err *err)
{
    table     t;
    hone_code code = table_new(&t, items, n, budget, err);
    if (code == HONE_OK) {
        fill(&t);
        trace(&t, t.steps, chosen);
        spend(&t, budget, chosen);
    }
    table_release(&t);
    return code;
}

hone_code hone_allot_cost(const hone_allot_item *items, size_t n, double most, uint32_t *chosen, hone_err *err)
{
    table     t;
    size_t    w = 0;
    hone_code code = table_new(&t, items, n, UINT64_MAX, err);
    if (code == HONE_OK) {
        fill(&t);
        while (w < t.steps && t.best[w] > most) w++;
        if (t.best[w] > most)
            code = HONE_FAIL(err, HONE_ENO, "allow more", "the widest encodings cost %.3g, %.3g is allowed", t.best[w], most);
    }
    if (code == HONE_OK) trace(&t, w, chosen);
    table_release(&t);
    return code;
}
