/* grid.h - what iq2_* and iq3_* have in common: 8 or 4 neighbours are no numbers of their own but a point of a grid, magnitudes that are told by
 * one index; the signs stand beside it.  256 numbers share a binary16 scale d, each 32 or 16 of them a small odd multiple of it.
 * A point, as the tables hold it: of element i a level, iq2 at bits 2*i (8 elements, 3 levels), iq3 at bits 3*i (4 elements, 8 levels).
 * Source: ggml src/ggml-common.h, src/ggml-quants.c dequantize_row_iq2_*, dequantize_row_iq3_*. */
#ifndef HONE_QUANT_GRID_H
#define HONE_QUANT_GRID_H
#include "quant/half.h"

extern const uint16_t hone_grid_iq2_xxs[256], hone_grid_iq2_xs[512], hone_grid_iq2_s[1024], hone_grid_iq3_xxs[256], hone_grid_iq3_s[512];

/* The levels of a point, one to a byte, element 0 in the lowest. */
static inline uint64_t hone_grid2_levels(uint16_t point)
{
    uint64_t v = point;
    v = (v | v << 24) & 0x000000ff000000ffu;
    v = (v | v << 12) & 0x000f000f000f000fu;
    return (v | v << 6) & 0x0303030303030303u;
}
static inline uint32_t hone_grid3_levels(uint16_t point)
{
    uint32_t v = point;
    v = (v | v << 10) & 0x003f003fu;
    return (v | v << 5) & 0x07070707u;
}
/* The magnitudes of a point, one to a byte.  iq2: 8, 25, 43; iq3_s: 1, 3 .. 15; iq3_xxs: 4, 12 .. 52 and 62. */
static inline uint64_t hone_grid2_values(uint16_t point)
{
    uint64_t l = hone_grid2_levels(point);
    return 0x0808080808080808u + 17 * l + (l >> 1 & 0x0101010101010101u);
}
static inline uint32_t hone_grid3s_values(uint16_t point) { return 0x01010101u + 2 * hone_grid3_levels(point); }
static inline uint32_t hone_grid3x_values(uint16_t point)
{
    uint32_t l = hone_grid3_levels(point);
    return 0x04040404u + 8 * l + 2 * (l & l >> 1 & l >> 2 & 0x01010101u);
}

/* Seven bits of signs stand for eight: the number of minus signs is even. */
static inline uint8_t hone_grid_signs7(uint32_t seven)
{
    uint32_t odd = seven & 127;
    odd ^= odd >> 4;
    odd ^= odd >> 2;
    odd ^= odd >> 1;
    return (uint8_t)((seven & 127) | (odd & 1) << 7);
}

/* Eight numbers: scale times value, minus where bit j of signs is set. */
static inline void hone_grid_decode8(uint64_t values, uint8_t signs, float scale, float *restrict x)
{
    for (int j = 0; j < 8; j++) x[j] = scale * (float)(values >> 8 * j & 255) * (signs >> j & 1 ? -1.0f : 1.0f);
}
#endif
