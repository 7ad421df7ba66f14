/* iq3_s.c - 256 numbers in 8 sub-blocks of 32, each eight points of 512 with 4 numbers: x = d * (2 * S + 1) * +-V.  3.4375 bits per weight.
 *
 *   0    2          66       74         106      110
 *   +----+----------+--------+----------+--------+   d: binary16; of point p: bits 0-7 of its index in a byte of its own, bit 8 at bit p%8 of
 *   | d  | 64 low   | 8 high | 32 signs | 4 S    |   byte p/8 of `high`; a bit of signs per element, 1: minus; S of sub-block j: nibble j
 *   +----+----------+--------+----------+--------+   of the last 4 bytes, the low half first
 * Source: ggml src/ggml-quants.c dequantize_row_iq3_s. */
#include "quant/codec.h"
#include "quant/grid_fit.h"

typedef struct block {
    uint8_t d[2], low[64], high[8], signs[32], scales[4];
} block;
_Static_assert(sizeof(block) == 110, "iq3_s block");

static uint32_t point_values(const block *b, int p)
{
    return hone_grid3s_values(hone_grid_iq3_s[b->low[p] | (b->high[p / 8] >> p % 8 & 1u) << 8]);
}

static const hone_grid_kind kind = { hone_grid_iq3_s, 512, 4, 8, false, 1, 0.12f, { 1, 3, 5, 7, 9, 11, 13, 15 } };

static void pack(const hone_grid_choice *c, void *out)
{
    block *restrict b = out;
    memcpy(b->signs, c->signs, sizeof b->signs);
    for (int p = 0; p < 64; p++) {
        b->low[p] = (uint8_t)c->point[p % 2][p / 2];
        b->high[p / 8] = (uint8_t)(b->high[p / 8] | c->point[p % 2][p / 2] >> 8 << p % 8);
    }
    for (int j = 0; j < 8; j += 2) b->scales[j / 2] = (uint8_t)(c->scale[j] | c->scale[j + 1] << 4);
}

static void encode(const float *x, void *out, size_t n_cols, const float *importance)
{
    hone_grid_encode(&kind, sizeof(block), pack, x, out, n_cols, importance);
}

static void decode(const void *in, float *x, size_t n_cols)
{
    const block *restrict b = in;
    for (size_t i = 0; i < n_cols; i += 256, b++) {
        float d = hone_f16_load(b->d);
        for (int l = 0; l < 32; l++, x += 8) {
            int stored = b->scales[l / 8] >> 4 * (l / 4 % 2) & 15;
            uint64_t high = point_values(b, 2 * l + 1);
            hone_grid_decode8(high << 32 | point_values(b, 2 * l), b->signs[l], d * (float)(1 + 2 * stored), x);
        }
    }
}

static const hone_codec codecs[] = { { HONE_DTYPE_IQ3_S, encode, decode, true, NULL } };
HONE_CODEC_FAMILY(iq3_s, codecs);
