/* round.h - float32 -> integer, defined for every input.
 * The encoders of ggml convert without a check: out of range that is undefined in C and, in the library everybody runs,
 * whatever x86's cvttss2si gives.  Here that answer (INT32_MIN, so a low byte of 0) is written down, and holds on every CPU. */
#ifndef HONE_QUANT_ROUND_H
#define HONE_QUANT_ROUND_H
#include "quant/half.h"
#include <math.h>

/* Towards zero.  NaN and what int32 cannot hold: INT32_MIN. */
static inline int32_t hone_trunc(float v) { return (int32_t)(fabsf(v) < 2147483648.0f ? v : -2147483648.0f); }

/* To nearest, halves away from zero: roundf, then hone_trunc.  0x1.fffffep-2 is the float below 0.5: adding 0.5 itself would
 * round 0.49999997 up.  Exact below 2^23; from there to 2^24 the sum may tie upwards, where no encoder goes. */
static inline int32_t hone_round(float v) { return hone_trunc(v + copysignf(0x1.fffffep-2f, v)); }

/* To nearest, ties to even, for |v| < 2^22: adding 1.5 * 2^23 leaves the integer in the low mantissa bits (ggml nearest_int).
 * Beyond that range the wrapped bits are kept, since ggml's own release build keeps them.  NaN: 0, which is what ggml makes
 * of the usual NaN; it makes others depend on their payload and on which operand the compiler put first. */
static inline int32_t hone_nearest(float v)
{
    int32_t i = (int32_t)(hone_f32_bits(v + 12582912.0f) & 0x7fffffu) - 0x400000;
    return v == v ? i : 0;
}

static inline int32_t hone_clamp(int32_t v, int32_t lo, int32_t hi) { return v < lo ? lo : v > hi ? hi : v; }
#endif
