/* lanes.h - four candidates of a search side by side.
 * A scale search tries many scales on one block and adds up each try's error in a fixed order.  Adding in another order would
 * change the bytes, so a lane is one *candidate*, never a part of a sum: each lane does the plain sequence of operations.
 * GCC and clang lower these 16-byte vectors to SSE2, NEON or plain code; the result does not depend on which. */
#ifndef HONE_QUANT_LANES_H
#define HONE_QUANT_LANES_H
#include "quant/round.h"

enum { HONE_LANES = 4 };
typedef float   hone_lanes __attribute__((vector_size(16)));
typedef int32_t hone_ilanes __attribute__((vector_size(16)));

static inline hone_lanes hone_lanes_all(float f) { return (hone_lanes){ f, f, f, f }; }

/* yes where mask is set (all bits of the lane), else no. */
static inline hone_lanes hone_lanes_pick(hone_ilanes mask, hone_lanes yes, hone_lanes no)
{
    return (hone_lanes)((mask & (hone_ilanes)yes) | (~mask & (hone_ilanes)no));
}

/* hone_clamp(hone_nearest(v), lo, hi), as floats. */
static inline hone_lanes hone_lanes_level(hone_lanes v, int32_t lo, int32_t hi)
{
    hone_ilanes i = ((hone_ilanes)(v + 12582912.0f) & 0x7fffff) - 0x400000;
    i &= (hone_ilanes)(v == v);
    hone_ilanes over = i > hi, under = i < lo;
    i = (over & hi) | (~over & i);
    i = (under & lo) | (~under & i);
    return __builtin_convertvector(i, hone_lanes);
}
#endif
