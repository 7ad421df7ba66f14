/* iq4.h - the 16 uneven levels of iq4_nl and iq4_xs, and the search for their scale.
 * Source: ggml src/ggml-common.h kvalues_iq4nl; src/ggml-quants.c quantize_row_iq4_nl_impl, best_index_int8. */
#ifndef HONE_QUANT_IQ4_H
#define HONE_QUANT_IQ4_H
#include "quant/block32.h"

static const int8_t hone_iq4_values[16] = { -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113 };

/* Nearest level, the upper one on a tie; NaN: 15.  Counting the midpoints at or below v gives the index that ggml finds by
 * halving, for every float: around a midpoint the two distances it compares are exact. */
#define HONE_IQ4_BOUNDS(X)                                                                                             \
    X(-115.5f, 23) X(-93.5f, 21) X(-74, 18) X(-57, 16) X(-42, 14) X(-28.5f, 13) X(-16, 12) X(-4.5f, 11)                \
    X(7, 12) X(19, 12) X(31.5f, 13) X(45.5f, 15) X(61, 16) X(79, 20) X(101, 24) /* midpoint, step to the next level */

static inline uint8_t hone_iq4_index(float v)
{
    int n = 0;
#define HONE_X(midpoint, step) n += !(v < midpoint);
    HONE_IQ4_BOUNDS(HONE_X)
#undef HONE_X
    return (uint8_t)n;
}
#if HONE_LANES_WIDTH > 4
/* table[index], index 0..7 */
HONE_FIT_INLINE hone_lanes hone_iq4_pick8(const float table[8], hone_ilanes index)
{
    __m256 eight = _mm256_loadu_ps(table);
#if HONE_LANES_WIDTH == 16
    return (hone_lanes)_mm512_permutexvar_ps((__m512i)index, _mm512_castps256_ps512(eight));
#else
    return (hone_lanes)_mm256_permutevar8x32_ps(eight, (__m256i)index);
#endif
}
/* The level itself, by halving: the midpoints of each of the four steps, then the levels. */
HONE_FIT_INLINE hone_lanes hone_iq4_level(hone_lanes v)
{
    static const float second[8] = { -57, 45.5f }, third[8] = { -93.5f, -28.5f, 19, 79 },
                       fourth[8] = { -115.5f, -74, -42, -16, 7, 31.5f, 61, 101 };
    static const float lower[8] = { -127, -104, -83, -65, -49, -35, -22, -10 }, upper[8] = { 1, 13, 25, 38, 53, 69, 89, 113 };
    hone_ilanes high = ~(hone_ilanes)(v < -4.5f), index = -high;
    index = index + index - ~(hone_ilanes)(v < hone_iq4_pick8(second, index));
    index = index + index - ~(hone_ilanes)(v < hone_iq4_pick8(third, index));
    index = (index + index - ~(hone_ilanes)(v < hone_iq4_pick8(fourth, index))) & 7;
    return hone_lanes_pick(high, hone_iq4_pick8(upper, index), hone_iq4_pick8(lower, index));
}
#else
/* The level itself.  Sums of small integers: exact. */
static inline hone_lanes hone_iq4_level(hone_lanes v)
{
    hone_lanes level = hone_lanes_all(-127);
#define HONE_X(midpoint, step) level += (hone_lanes)(~(hone_ilanes)(v < (float)(midpoint)) & (hone_ilanes)hone_lanes_all(step));
    HONE_IQ4_BOUNDS(HONE_X)
#undef HONE_X
    return level;
}
#endif

/* Scales of count blocks of 32: each the peak's at first, then 15 more around peak/-127; each refined by least squares.
 * Four lanes: a lane is a candidate.  Wider: a block (see fits.h). */
#if HONE_LANES_WIDTH == 4
HONE_FIT_INLINE float hone_iq4_fit(const float *restrict x, const float *restrict w)
{
    float peak = hone_peak(32, x);
    if (fabsf(peak) < HONE_FIT_EPS) return 0;
    float scale = 0, best = 0;
    /* Lane 0 of the first group is the start, 1 / (peak/127); the others are (try - 127) / peak for try = -7..7. */
    for (int group = 0; group < 4; group++) {
        float t = (float)(4 * group - 8);
        hone_lanes inverse = (hone_lanes){ t, t + 1, t + 2, t + 3 } - 127.0f;
        inverse /= peak;
        if (group == 0) inverse[0] = 1 / (-peak / -127.0f);
        hone_lanes sum_qx = { 0 }, sum_q2 = { 0 };
        for (int i = 0; i < 32; i++) {
            hone_lanes q = hone_iq4_level(inverse * x[i]), wq = w[i] * q;
            sum_qx += wq * x[i];
            sum_q2 += wq * q;
        }
        for (int k = 0; k < HONE_LANES; k++) {
            if (group == 0 && k == 0) {
                scale = sum_q2[0] > 0 ? sum_qx[0] / sum_q2[0] : 0.0f;
                best = scale * sum_qx[0];
            } else if (sum_q2[k] > 0 && sum_qx[k] * sum_qx[k] > best * sum_q2[k]) {
                scale = sum_qx[k] / sum_q2[k];
                best = scale * sum_qx[k];
            }
        }
    }
    return scale;
}
HONE_FIT_INLINE void hone_iq4_fits(int count, const float *restrict x, const float *restrict w, float *restrict scale)
{
    for (int b = 0; b < count; b++) scale[b] = hone_iq4_fit(x + 32 * b, w + 32 * b);
}
#else
HONE_FIT_INLINE void hone_iq4_fits(int count, const float *restrict x, const float *restrict weights, float *restrict scale_out)
{
    hone_lanes xt[32], w[32], scale = { 0 }, best = { 0 };
    bool finite;
    hone_lanes_turn(32, count, 1, x, xt);
    hone_lanes_turn(32, count, 1, weights, w);
    hone_lanes peak = hone_lanes_peak(32, xt, &finite);
    for (int t = -8; t <= 7; t++) {
        hone_lanes inverse = t == -8 ? 1 / (-peak / -127.0f) : ((float)t - 127.0f) / peak, qx = { 0 }, q2 = { 0 };
        for (int i = 0; i < 32; i++) {
            hone_lanes q = hone_iq4_level(inverse * xt[i]), wq = w[i] * q;
            qx += wq * xt[i];
            q2 += wq * q;
        }
        hone_lanes sc = qx / q2;
        hone_ilanes hit = (hone_ilanes)(q2 > 0.0f);
        if (t > -8) hit &= (hone_ilanes)(qx * qx > best * q2);
        scale = hone_lanes_pick(hit, sc, scale);
        /* the start without a scale: 0 times its sum, which may be infinite */
        best = t == -8 ? scale * qx : hone_lanes_pick(hit, sc * qx, best);
    }
    for (int b = 0; b < count; b++) scale_out[b] = fabsf(peak[b]) < HONE_FIT_EPS ? 0 : scale[b];
}
#endif

/* Weights of one block: importance * sqrt(mean square + x^2), or x^2. */
static inline void hone_iq4_weigh(const float *restrict x, const float *restrict importance, float mean_square,
                                  float *restrict w)
{
    if (importance) hone_weigh(32, x, importance, mean_square, w);
    else
        for (int j = 0; j < 32; j++) w[j] = x[j] * x[j];
}
/* Twice the mean square of n elements, in ggml's order of operations. */
static inline float hone_iq4_spread(int n, const float *x)
{
    float sum = 0;
    for (int j = 0; j < n; j++) sum += x[j] * x[j];
    return sum * (2.0f / (float)n);
}
#endif
