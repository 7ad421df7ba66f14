/* hash_row.h - rows of numbers that any program can make (tests/golden/codes/rows.py does): a multiplicative hash, whole multiples of 2^-12,
 * scaled by powers of two; some rows are special. */
#ifndef HONE_TEST_QUANT_HASH_ROW_H
#define HONE_TEST_QUANT_HASH_ROW_H
#include <math.h>
#include <stdint.h>

static inline void hash_row(uint32_t r, uint32_t n_cols, float *x)
{
    for (uint32_t c = 0; c < n_cols; c++) {
        uint32_t h = (r * n_cols + c + 1) * 2654435761u;
        float    v = (float)((int32_t)(h >> 19) - 4096) / 4096.0f * (float)(1u << (r % 5));
        if (r == 1) v = 0;
        if (r == 2) v = 0.75f;
        if (r == 3) v = -0.75f;
        if (r == 4) v = fabsf(v);
        if (r == 5) v = -fabsf(v);
        if (r == 6 && c % 64 != 7) v = 0;
        if (r == 7) v *= 0x1p-20f;
        if (r == 8) v *= 0x1p-30f;
        if (r == 9 && c % 50 == 0) v *= 64;
        x[c] = v;
    }
}
#endif
