/* lanes.h - four floats side by side; eight or sixteen in the twins of the codecs that CMakeLists.txt builds for x86.
 * A scale search tries many scales on one block and adds up each try's error in a fixed order.  Adding in another order would
 * change the bytes, so in a search a lane is one *candidate*, never a part of a sum: each lane does the plain sequence of
 * operations.  Where elements do not meet (rounding, packing) a lane is an element.
 * GCC and clang lower the 16-byte vectors to SSE2, NEON or plain code; the result does not depend on which, nor on the width. */
#ifndef HONE_QUANT_LANES_H
#define HONE_QUANT_LANES_H
#include "quant/round.h"
#ifndef HONE_LANES_WIDTH
#define HONE_LANES_WIDTH 4
#endif
#if HONE_LANES_WIDTH > 4
#include <immintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#define HONE_FIT_INLINE static inline __attribute__((always_inline))

enum { HONE_LANES = HONE_LANES_WIDTH, HONE_AHEAD = 6144 };
typedef float   hone_lanes __attribute__((vector_size(4 * HONE_LANES_WIDTH)));
typedef int32_t hone_ilanes __attribute__((vector_size(4 * HONE_LANES_WIDTH)));

HONE_FIT_INLINE hone_lanes hone_lanes_all(float f) { return f - (hone_lanes){ 0 }; }
HONE_FIT_INLINE hone_lanes hone_lanes_load(const float *p)
{
    hone_lanes v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Asks for the n numbers that lie HONE_AHEAD bytes behind x.  An encoder goes over a few KB twice: while it does so the second time, memory would
 * rest (one core, MLX int8 by 16 lanes: 11 GB/s without this, 15 with it).  Where nothing lies there, nothing happens. */
HONE_FIT_INLINE void hone_ahead(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i += 16) __builtin_prefetch((const void *)((uintptr_t)(x + i) + HONE_AHEAD), 0, 3);
}

/* yes where mask is set (all bits of the lane), else no. */
HONE_FIT_INLINE hone_lanes hone_lanes_pick(hone_ilanes mask, hone_lanes yes, hone_lanes no)
{
    return (hone_lanes)((mask & (hone_ilanes)yes) | (~mask & (hone_ilanes)no));
}

/* a < b ? a : b and a > b ? a : b.  Of zeros of two signs b, on NEON any; of NaN and a number b, on NEON the number. */
HONE_FIT_INLINE hone_lanes hone_lanes_min(hone_lanes a, hone_lanes b)
{
#if HONE_LANES_WIDTH == 16
    return (hone_lanes)_mm512_min_ps((__m512)a, (__m512)b);
#elif HONE_LANES_WIDTH == 8
    return (hone_lanes)_mm256_min_ps((__m256)a, (__m256)b);
#elif defined(__SSE2__)
    return (hone_lanes)_mm_min_ps((__m128)a, (__m128)b);
#elif defined(__ARM_NEON)
    return (hone_lanes)vminnmq_f32((float32x4_t)a, (float32x4_t)b);
#else
    return hone_lanes_pick((hone_ilanes)(a < b), a, b);
#endif
}
HONE_FIT_INLINE hone_lanes hone_lanes_max(hone_lanes a, hone_lanes b)
{
#if HONE_LANES_WIDTH == 16
    return (hone_lanes)_mm512_max_ps((__m512)a, (__m512)b);
#elif HONE_LANES_WIDTH == 8
    return (hone_lanes)_mm256_max_ps((__m256)a, (__m256)b);
#elif defined(__SSE2__)
    return (hone_lanes)_mm_max_ps((__m128)a, (__m128)b);
#elif defined(__ARM_NEON)
    return (hone_lanes)vmaxnmq_f32((float32x4_t)a, (float32x4_t)b);
#else
    return hone_lanes_pick((hone_ilanes)(a > b), a, b);
#endif
}

/* The smallest and the largest lane, none of them NaN; of zeros of two signs any. */
HONE_FIT_INLINE float hone_lanes_least(hone_lanes v)
{
#if HONE_LANES_WIDTH == 16
    return _mm512_reduce_min_ps((__m512)v);
#else
    float low = v[0];
    for (int k = 1; k < HONE_LANES; k++) low = v[k] < low ? v[k] : low;
    return low;
#endif
}
HONE_FIT_INLINE float hone_lanes_most(hone_lanes v)
{
#if HONE_LANES_WIDTH == 16
    return _mm512_reduce_max_ps((__m512)v);
#else
    float high = v[0];
    for (int k = 1; k < HONE_LANES; k++) high = v[k] > high ? v[k] : high;
    return high;
#endif
}

/* Lane k: the smallest / the largest lane of v[k]. */
#if HONE_LANES_WIDTH == 16
/* Halves of two vectors fold into one, four times over: a quarter of the steps that 16 vectors would take one by one. */
#define HONE_FOLD(name, op)                                                                                                                     \
    HONE_FIT_INLINE __m512 name##_four(const hone_lanes *v)                                                                                     \
    {                                                                                                                                           \
        __m512 a = (__m512)v[0], b = (__m512)v[4], c = (__m512)v[8], d = (__m512)v[12];                                                         \
        __m512 ab = op(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));                                                     \
        __m512 cd = op(_mm512_shuffle_f32x4(c, d, 0x44), _mm512_shuffle_f32x4(c, d, 0xee));                                                     \
        return op(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));                                                      \
    }                                                                                                                                           \
    HONE_FIT_INLINE hone_lanes name(const hone_lanes v[HONE_LANES])                                                                             \
    {                                                                                                                                           \
        __m512 a = name##_four(v), b = name##_four(v + 1), c = name##_four(v + 2), d = name##_four(v + 3);                                      \
        __m512 ab = op(_mm512_shuffle_ps(a, b, 0x44), _mm512_shuffle_ps(a, b, 0xee)), cd = op(_mm512_shuffle_ps(c, d, 0x44), _mm512_shuffle_ps(c, d, 0xee)); \
        return (hone_lanes)op(_mm512_shuffle_ps(ab, cd, 0x88), _mm512_shuffle_ps(ab, cd, 0xdd));                                                \
    }
HONE_FOLD(hone_lanes_leasts, _mm512_min_ps)
HONE_FOLD(hone_lanes_mosts, _mm512_max_ps)
#else
HONE_FIT_INLINE hone_lanes hone_lanes_leasts(const hone_lanes v[HONE_LANES])
{
    hone_lanes least = { 0 };
    for (int k = 0; k < HONE_LANES; k++) least[k] = hone_lanes_least(v[k]);
    return least;
}
HONE_FIT_INLINE hone_lanes hone_lanes_mosts(const hone_lanes v[HONE_LANES])
{
    hone_lanes most = { 0 };
    for (int k = 0; k < HONE_LANES; k++) most[k] = hone_lanes_most(v[k]);
    return most;
}
#endif

HONE_FIT_INLINE hone_lanes hone_lanes_abs(hone_lanes v) { return (hone_lanes)((hone_ilanes)v & 0x7fffffff); }

/* rintf: to nearest, ties to even, whatever the magnitude. */
HONE_FIT_INLINE hone_lanes hone_lanes_rint(hone_lanes v)
{
#if HONE_LANES_WIDTH == 16
    return (hone_lanes)_mm512_roundscale_ps((__m512)v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#elif HONE_LANES_WIDTH == 8
    return (hone_lanes)_mm256_round_ps((__m256)v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
    for (int k = 0; k < HONE_LANES; k++) v[k] = rintf(v[k]);
    return v;
#endif
}

/* hone_clamp(hone_nearest(v), lo, hi), as integers and as floats; any v. */
HONE_FIT_INLINE hone_ilanes hone_ilanes_level(hone_lanes v, int32_t lo, int32_t hi)
{
    hone_ilanes i = ((hone_ilanes)(v + 12582912.0f) & 0x7fffff) - 0x400000;
    i &= (hone_ilanes)(v == v);
    hone_ilanes over = i > hi, under = i < lo;
    i = (over & hi) | (~over & i);
    return (under & lo) | (~under & i);
}
HONE_FIT_INLINE hone_lanes hone_lanes_level(hone_lanes v, int32_t lo, int32_t hi)
{
    return __builtin_convertvector(hone_ilanes_level(v, lo, hi), hone_lanes);
}
/* The same for |v| < 2^22, in half the instructions. */
HONE_FIT_INLINE hone_lanes hone_lanes_level_near(hone_lanes v, int32_t lo, int32_t hi)
{
    hone_lanes whole = (v + 12582912.0f) - 12582912.0f;
    return hone_lanes_min(hone_lanes_max(whole, hone_lanes_all((float)lo)), hone_lanes_all((float)hi));
}

/* Without what is behind the point; what no int32 holds becomes INT32_MIN by 8 and 16 lanes, and may not be given to four. */
HONE_FIT_INLINE hone_ilanes hone_lanes_trunc(hone_lanes v)
{
#if HONE_LANES_WIDTH == 16
    return (hone_ilanes)_mm512_cvttps_epi32((__m512)v);
#elif HONE_LANES_WIDTH == 8
    return (hone_ilanes)_mm256_cvttps_epi32((__m256)v);
#else
    return __builtin_convertvector(v, hone_ilanes);
#endif
}

/* rintf as an integer, |v| < 2^22. */
HONE_FIT_INLINE hone_ilanes hone_lanes_whole(hone_lanes v)
{
#if HONE_LANES_WIDTH == 16
    return (hone_ilanes)_mm512_cvtps_epi32((__m512)v);
#elif HONE_LANES_WIDTH == 8
    return (hone_ilanes)_mm256_cvtps_epi32((__m256)v);
#else
    return ((hone_ilanes)(v + 12582912.0f) & 0x7fffff) - 0x400000;
#endif
}

#if HONE_LANES_WIDTH == 16
/* The low bits, those of mask, of every lane of n vectors, 2 or 4, as bytes in their order; n 2: in the lower half.  Lanes hold -32768..32767. */
HONE_FIT_INLINE __m512i hone_ilanes_narrow(int n, const hone_ilanes *v, int mask)
{
    __m512i low = _mm512_set1_epi16((short)mask), ab = _mm512_and_si512(_mm512_packs_epi32((__m512i)v[0], (__m512i)v[1]), low);
    __m512i cd = n == 4 ? _mm512_and_si512(_mm512_packs_epi32((__m512i)v[2], (__m512i)v[3]), low) : ab;
    return _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), _mm512_packus_epi16(ab, cd));
}
#elif HONE_LANES_WIDTH == 8
HONE_FIT_INLINE __m256i hone_ilanes_narrow(int n, const hone_ilanes *v, int mask)
{
    __m256i low = _mm256_set1_epi16((short)mask), ab = _mm256_and_si256(_mm256_packs_epi32((__m256i)v[0], (__m256i)v[1]), low);
    __m256i cd = n == 4 ? _mm256_and_si256(_mm256_packs_epi32((__m256i)v[2], (__m256i)v[3]), low) : ab;
    return _mm256_permutevar8x32_epi32(_mm256_packus_epi16(ab, cd), _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}
#endif

/* The low byte of every lane of n vectors, 1, 2 or 4.  Lanes hold -32768..32767. */
HONE_FIT_INLINE void hone_ilanes_bytes(int n, const hone_ilanes *v, uint8_t *to)
{
#if HONE_LANES_WIDTH == 16
    if (n == 1) _mm_storeu_si128((__m128i *)(void *)to, _mm512_cvtepi32_epi8((__m512i)v[0]));
    else if (n == 2) _mm256_storeu_si256((__m256i *)(void *)to, _mm512_castsi512_si256(hone_ilanes_narrow(2, v, 255)));
    else _mm512_storeu_si512((void *)to, hone_ilanes_narrow(4, v, 255));
#elif HONE_LANES_WIDTH == 8
    if (n == 1) {
        __m256i low = _mm256_shuffle_epi8((__m256i)v[0], _mm256_set1_epi32(0x0c080400)); /* four bytes at the bottom of either half */
        _mm_storel_epi64((__m128i *)(void *)to, _mm_unpacklo_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1)));
    } else if (n == 2) {
        _mm_storeu_si128((__m128i *)(void *)to, _mm256_castsi256_si128(hone_ilanes_narrow(2, v, 255)));
    } else {
        _mm256_storeu_si256((__m256i *)(void *)to, hone_ilanes_narrow(4, v, 255));
    }
#else
    for (int k = 0; k < n * HONE_LANES; k++) to[k] = (uint8_t)v[k / HONE_LANES][k % HONE_LANES];
#endif
}

/* The low four bits of every lane of n vectors, 1, 2 or 4, two to a byte.  Lanes hold -32768..32767. */
HONE_FIT_INLINE void hone_ilanes_nibbles(int n, const hone_ilanes *v, uint8_t *to)
{
#if HONE_LANES_WIDTH == 16
    if (n == 1) {
        hone_ilanes q = v[0] & 15;
        __m512i     pairs = _mm512_or_si512((__m512i)q, _mm512_srli_epi64((__m512i)q, 28));
        _mm_storel_epi64((__m128i *)(void *)to, _mm512_cvtepi64_epi8(pairs));
        return;
    }
    __m256i pairs = _mm512_cvtepi16_epi8(_mm512_maddubs_epi16(hone_ilanes_narrow(n, v, 15), _mm512_set1_epi16(0x1001))); /* q[0] + 16 q[1] */
    if (n == 2) _mm_storeu_si128((__m128i *)(void *)to, _mm256_castsi256_si128(pairs));
    else _mm256_storeu_si256((__m256i *)(void *)to, pairs);
#elif HONE_LANES_WIDTH == 8
    if (n == 1) {
        hone_ilanes q = v[0] & 15;
        __m256i     pairs = _mm256_or_si256((__m256i)q, _mm256_srli_epi64((__m256i)q, 28));
        __m256i     low = _mm256_shuffle_epi8(pairs, _mm256_set1_epi32(0x0800));
        int32_t     four = _mm_cvtsi128_si32(_mm_unpacklo_epi16(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1)));
        memcpy(to, &four, sizeof four);
        return;
    }
    __m256i words = _mm256_maddubs_epi16(hone_ilanes_narrow(n, v, 15), _mm256_set1_epi16(0x1001)); /* q[0] + 16 q[1] */
    __m128i pairs = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    if (n == 2) _mm_storel_epi64((__m128i *)(void *)to, pairs);
    else _mm_storeu_si128((__m128i *)(void *)to, pairs);
#else
    for (int k = 0; k < n * HONE_LANES; k += 2)
        to[k / 2] = (uint8_t)((v[k / HONE_LANES][k % HONE_LANES] & 15) | (v[k / HONE_LANES][k % HONE_LANES + 1] & 15) << 4);
#endif
}

/* Every lane of four vectors clamped to 0..top, then xor flip, as bytes; and two to a byte, top 15. */
HONE_FIT_INLINE void hone_ilanes_clamped_bytes(const hone_ilanes *v, uint8_t top, uint8_t flip, uint8_t *to)
{
#if HONE_LANES_WIDTH == 16
    __m512i q = _mm512_packus_epi16(_mm512_packs_epi32((__m512i)v[0], (__m512i)v[1]), _mm512_packs_epi32((__m512i)v[2], (__m512i)v[3]));
    q = _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), q);
    _mm512_storeu_si512((void *)to, _mm512_xor_si512(_mm512_min_epu8(q, _mm512_set1_epi8((char)top)), _mm512_set1_epi8((char)flip)));
#elif HONE_LANES_WIDTH == 8
    __m256i q = _mm256_packus_epi16(_mm256_packs_epi32((__m256i)v[0], (__m256i)v[1]), _mm256_packs_epi32((__m256i)v[2], (__m256i)v[3]));
    q = _mm256_permutevar8x32_epi32(q, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    _mm256_storeu_si256((__m256i *)(void *)to, _mm256_xor_si256(_mm256_min_epu8(q, _mm256_set1_epi8((char)top)), _mm256_set1_epi8((char)flip)));
#else
    for (int k = 0; k < 4 * HONE_LANES; k++) {
        int32_t q = v[k / HONE_LANES][k % HONE_LANES];
        q = q < 0 ? 0 : q > top ? top : q;
        to[k] = (uint8_t)(q ^ flip);
    }
#endif
}
HONE_FIT_INLINE void hone_ilanes_clamped_nibbles(const hone_ilanes *v, uint8_t top, uint8_t flip, uint8_t *to)
{
    uint8_t q[4 * HONE_LANES];
    hone_ilanes_clamped_bytes(v, top, flip, q);
#if HONE_LANES_WIDTH == 16
    _mm256_storeu_si256((__m256i *)(void *)to, _mm512_cvtepi16_epi8(_mm512_maddubs_epi16(_mm512_loadu_si512((const void *)q), _mm512_set1_epi16(0x1001)))); /* q[0] + 16 q[1] */
#elif HONE_LANES_WIDTH == 8
    __m256i words = _mm256_maddubs_epi16(_mm256_loadu_si256((const __m256i *)(const void *)q), _mm256_set1_epi16(0x1001)); /* q[0] + 16 q[1] */
    _mm_storeu_si128((__m128i *)(void *)to, _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
#else
    for (int k = 0; k < 4 * HONE_LANES; k += 2) to[k / 2] = (uint8_t)((q[k] & 15) | (q[k + 1] & 15) << 4);
#endif
}

/* Whether any bit of any lane is set. */
HONE_FIT_INLINE bool hone_lanes_any(hone_ilanes mask)
{
#if HONE_LANES_WIDTH == 16
    return _mm512_test_epi32_mask((__m512i)mask, (__m512i)mask) != 0;
#elif HONE_LANES_WIDTH == 8
    return !_mm256_testz_si256((__m256i)mask, (__m256i)mask);
#else
    return mask[0] | mask[1] | mask[2] | mask[3];
#endif
}

/* level[i] = clamp(nearest((x[i] + add) * times), lo, hi) - lo; with `divide`, / times.  n: a multiple of HONE_LANES, at most 32. */
HONE_FIT_INLINE void hone_levels(int n, const float *restrict x, float add, float times, bool divide, int32_t lo, int32_t hi,
                                 uint8_t *restrict level)
{
    hone_lanes  v[32 / HONE_LANES];
    hone_ilanes l[32 / HONE_LANES], near = ~(hone_ilanes){ 0 };
    for (int i = 0; i < n / HONE_LANES; i++) {
        v[i] = hone_lanes_load(x + HONE_LANES * i) + add;
        v[i] = divide ? v[i] / times : v[i] * times;
        near &= (hone_ilanes)(hone_lanes_abs(v[i]) < 4e6f);
    }
    if (!hone_lanes_any(~near))
        for (int i = 0; i < n / HONE_LANES; i++)
            l[i] = hone_lanes_whole(hone_lanes_min(hone_lanes_max(v[i], hone_lanes_all((float)lo)), hone_lanes_all((float)hi))) - lo;
    else
        for (int i = 0; i < n / HONE_LANES; i++) l[i] = hone_ilanes_level(v[i], lo, hi) - lo;
    for (int i = 0; i < n / HONE_LANES; i += 4) hone_ilanes_bytes(n / HONE_LANES < 4 ? n / HONE_LANES : 4, l + i, level + HONE_LANES * i);
}

/* False when an element is infinite or NaN. */
HONE_FIT_INLINE bool hone_all_finite(int n, const float *x)
{
    hone_ilanes odd = { 0 };
    for (int i = 0; i < n; i += HONE_LANES)
        odd |= ((hone_ilanes)hone_lanes_load(x + i) & 0x7f800000) == 0x7f800000;
    return !hone_lanes_any(odd);
}

/* The element of largest magnitude, sign kept, the first of equals; NaN does not count.  0 when there is none. */
HONE_FIT_INLINE float hone_peak(int n, const float *x)
{
    hone_lanes most = { 0 }, least = { 0 };
    if (n < HONE_LANES) {
        float peak = 0;
        for (int i = 0; i < n; i++)
            if (fabsf(x[i]) > fabsf(peak)) peak = x[i];
        return peak;
    }
    for (int i = 0; i < n; i += HONE_LANES) {
        hone_lanes v = hone_lanes_load(x + i);
        v = hone_lanes_pick((hone_ilanes)(v == v), v, hone_lanes_all(0));
        most = hone_lanes_max(v, most);
        least = hone_lanes_min(v, least);
    }
    float hi = 0, lo = 0;
    for (int k = 0; k < HONE_LANES; k++) {
        if (most[k] > hi) hi = most[k];
        if (least[k] < lo) lo = least[k];
    }
    if (hi != -lo) return hi > -lo ? hi : lo;
    for (int i = 0; i < n && hi != 0; i++)
        if (fabsf(x[i]) == hi) return x[i];
    return 0;
}
#endif
