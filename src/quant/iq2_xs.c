/* iq2_xs.c - 256 numbers in 16 sub-blocks of 16, each two points of 512 with 8 numbers: x = d * (S + 1/2) / 4 * +-V.  2.3125 bits per weight.
 *
 *   0    2              66         74
 *   +----+--------------+----------+   d: binary16; a little-endian u16 per point: index in bits 0-8, signs in bits 9-15, an even
 *   | d  | 32 x u16     | 8 bytes  |   number of them minus; S of sub-block j: nibble j of the last 8 bytes, the low half first
 *   +----+--------------+----------+
 * Source: ggml src/ggml-quants.c dequantize_row_iq2_xs. */
#include "quant/codec.h"
#include "quant/grid_fit.h"

typedef struct block {
    uint8_t d[2], points[32][2], scales[8];
} block;
_Static_assert(sizeof(block) == 74, "iq2_xs block");

static const hone_grid_kind kind = HONE_GRID_IQ2(hone_grid_iq2_xs, 512, 16, true);

static void pack(const hone_grid_choice *c, void *out)
{
    block *restrict b = out;
    for (int p = 0; p < 32; p++) {
        hone_put_le16(b->points[p], (uint16_t)(c->point[0][p] | (c->signs[p] & 127u) << 9));
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
            uint32_t point = hone_le16(b->points[p]);
            float scale = d * (0.5f + (float)(b->scales[p / 4] >> 4 * (p / 2 % 2) & 15)) * 0.25f;
            hone_grid_decode8(hone_grid2_values(hone_grid_iq2_xs[point & 511]), hone_grid_signs7(point >> 9), scale, x);
        }
    }
}

static const hone_codec codecs[] = { { HONE_DTYPE_IQ2_XS, encode, decode, true, NULL } };
HONE_CODEC_FAMILY(iq2_xs, codecs);
