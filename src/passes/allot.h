/* allot.h - one option for each item, so that all together cost least and take no more than a budget: the multiple-choice knapsack.
 * Knows no model.  Source: Kellerer, Pferschy, Pisinger, Knapsack Problems (2004), 11.5 (dynamic programming by capacity). */
#ifndef HONE_PASSES_ALLOT_H
#define HONE_PASSES_ALLOT_H
#include "base/err.h"
#include <stddef.h>
#include <stdint.h>

typedef struct hone_allot_option { uint64_t bytes; double cost; } hone_allot_option; /* cost: finite, >= 0 */
typedef struct hone_allot_item { const hone_allot_option *options; size_t n; } hone_allot_item; /* n: 1..255 */

/* chosen[i] is the option of item i (of equal ones the first).  Exact when the budget above the smallest choice has at most HONE_ALLOT_STEPS
 * multiples of what all differences of bytes have in common; else sizes are rounded up to a step of that many, and what is left is spent one by one.
 * HONE_ENO: even the smallest options take more than the budget; HONE_ERESOURCE: no memory. */
#define HONE_ALLOT_STEPS 65536u
hone_code hone_allot(const hone_allot_item *items, size_t n, uint64_t budget, uint32_t *chosen, hone_err *err);
/* The fewest bytes whose cost is `most` or less.  HONE_ENO: the cheapest options cost more. */
hone_code hone_allot_cost(const hone_allot_item *items, size_t n, double most, uint32_t *chosen, hone_err *err);
#endif
