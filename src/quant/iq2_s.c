/* iq2_s.c - 256 numbers in 16 sub-blocks of 16, each two points of 1024 with 8 numbers: x = d * (S + 1/2) / 4 * +-V.  2.5625 bits per weight.
 *
 *   0    2          34         66         74         82
 *   +----+----------+----------+----------+----------+   d: binary16; of point p: bits 0-7 of its index in a byte of its own, bits 8-9 at
 *   | d  | 32 low   | 32 signs | 8 high   | 8 scales |   bit 2*(p%4) of byte p/4 of `high`; a byte of signs, bit j: element j is minus;
 *   +----+----------+----------+----------+----------+   S of sub-block j: nibble j of `scales`, the low half first
 * Source: ggml src/ggml-quants.c dequantize_row_iq2_s. */
#include "quant/codec.h"
#include "quant/grid_fit.h"

typedef struct block {
    uint8_t d[2], low[32], signs[32], high[8], scales[8];
} block;
_Static_assert(sizeof(block) == 82, "iq2_s block");

static const hone_grid_kind kind = HONE_GRID_IQ2(hone_grid_iq2_s, 1024, 16, false);

static void pack(const hone_grid_choice *c, void *out)
{
    block *restrict b = out;
    memcpy(b->signs, c->signs, sizeof b->signs);
    for (int p = 0; p < 32; p++) {
        b->low[p] = (uint8_t)c->point[0][p];
        b->high[p / 4] = (uint8_t)(b->high[p / 4] | c->point[0][p] >> 8 << 2 * (p % 4));
        b->scales[p / 4] = (uint8_t)(c->scale[p / 4 * 2] | c->scale[p / 4 * 2 + 1] << 4);
    }
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
        for (int p = 0; p < 32; p++, x += 8) {
            uint32_t index = b->low[p] | (b->high[p / 4] >> 2 * (p % 4) & 3u) << 8;
            float scale = d * (0.5f + (float)(b->scales[p / 4] >> 4 * (p / 2 % 2) & 15)) * 0.25f;
            hone_grid_decode8(hone_grid2_values(hone_grid_iq2_s[index]), b->signs[p], scale, x);
        }
    }
}

static const hone_codec codecs[] = { { HONE_DTYPE_IQ2_S, encode, decode, true, NULL } };
HONE_CODEC_FAMILY(iq2_s, codecs);
