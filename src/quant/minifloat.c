/* minifloat.c - floats of 8 and 4 bits that stand alone, as safetensors stores them.  Decode only.
 *
 *   type       bits            bias  not a number        infinity
 *   E4M3 (FN)  s eeee mmm        7   s.1111.111          none
 *   E5M2       s eeeee mm       15   s.11111.(not 00)    s.11111.00
 *   E4M3FNUZ   s eeee mmm        8   1.0000.000 only     none
 *   E5M2FNUZ   s eeeee mm       16   1.00000.00 only     none
 *   E8M0       eeeeeeee        127   255                 none; 2^(e-127), no sign, no zero
 *   F4 (E2M1)  s ee m            1   none                none; two per byte, the first in the low half
 *
 * Source: OCP 8-bit Floating Point Specification 1.0 table 1; OCP Microscaling Formats 1.0 5.3-5.4; ml_dtypes for FNUZ;
 * torch float4_e2m1fn_x2 for the order in a byte. */
#include "quant/codec.h"
#include "quant/half.h"
#include <math.h>

typedef enum specials { SPECIALS_FN, SPECIALS_IEEE, SPECIALS_UZ } specials;

/* One value of up to 8 bits: sign, n_exp exponent bits, n_man mantissa bits. */
static float value(uint32_t code, int n_exp, int n_man, int bias, specials kind)
{
    uint32_t sign = code >> (n_exp + n_man) & 1u, exp = code >> n_man & ((1u << n_exp) - 1u), man = code & ((1u << n_man) - 1u);
    uint32_t top_exp = (1u << n_exp) - 1u, top_man = (1u << n_man) - 1u;
    bool nan = kind == SPECIALS_FN     ? exp == top_exp && man == top_man
               : kind == SPECIALS_IEEE ? exp == top_exp && man != 0
                                       : sign && exp == 0 && man == 0;
    if (nan) return hone_f32_of(sign << 31 | 0x7fc00000u);
    if (kind == SPECIALS_IEEE && exp == top_exp) return sign ? -INFINITY : INFINITY;
    float size = exp ? ldexpf((float)((1u << n_man) + man), (int)exp - bias - n_man) : ldexpf((float)man, 1 - bias - n_man);
    return sign ? -size : size;
}

static void decode_by_table(const uint8_t *restrict from, float *restrict to, size_t n, int n_exp, int n_man, int bias,
                            specials kind)
{
    float table[256];
    for (uint32_t code = 0; code < 256; code++) table[code] = value(code, n_exp, n_man, bias, kind);
    for (size_t i = 0; i < n; i++) to[i] = table[from[i]];
}

static void decode_e4m3(const void *in, float *x, size_t n) { decode_by_table(in, x, n, 4, 3, 7, SPECIALS_FN); }
static void decode_e5m2(const void *in, float *x, size_t n) { decode_by_table(in, x, n, 5, 2, 15, SPECIALS_IEEE); }
static void decode_e4m3fnuz(const void *in, float *x, size_t n) { decode_by_table(in, x, n, 4, 3, 8, SPECIALS_UZ); }
static void decode_e5m2fnuz(const void *in, float *x, size_t n) { decode_by_table(in, x, n, 5, 2, 16, SPECIALS_UZ); }

static void decode_e8m0(const void *in, float *x, size_t n)
{
    const uint8_t *restrict from = in;
    for (size_t i = 0; i < n; i++)
        x[i] = hone_f32_of(from[i] == 255 ? 0x7fc00000u : from[i] == 0 ? 0x00400000u : (uint32_t)from[i] << 23);
}

static void decode_e2m1(const void *in, float *x, size_t n)
{
    static const float table[16] = { 0, 0.5f, 1, 1.5f, 2, 3, 4, 6, -0.0f, -0.5f, -1, -1.5f, -2, -3, -4, -6 };
    const uint8_t *restrict from = in;
    for (size_t i = 0; i < n / 2; i++) {
        x[2 * i] = table[from[i] & 15];
        x[2 * i + 1] = table[from[i] >> 4];
    }
}

static const hone_codec codecs[] = {
    { HONE_DTYPE_F8_E4M3, NULL, decode_e4m3, false, NULL },
    { HONE_DTYPE_F8_E5M2, NULL, decode_e5m2, false, NULL },
    { HONE_DTYPE_F8_E4M3FNUZ, NULL, decode_e4m3fnuz, false, NULL },
    { HONE_DTYPE_F8_E5M2FNUZ, NULL, decode_e5m2fnuz, false, NULL },
    { HONE_DTYPE_F8_E8M0, NULL, decode_e8m0, false, NULL },
    { HONE_DTYPE_F4, NULL, decode_e2m1, false, NULL },
};
HONE_CODEC_FAMILY(minifloat, codecs);
