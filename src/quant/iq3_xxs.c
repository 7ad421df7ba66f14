/* iq3_xxs.c - 256 numbers in 8 sub-blocks of 32, each eight points of 256 with 4 numbers: x = d * (S + 1/2) / 2 * +-V.  3.0625 bits per weight.
 *
 *   0    2              66         98
 *   +----+--------------+----------+   d: binary16; an index of each point, a byte each; then a little-endian word per sub-block: signs of
 *   | d  | 64 indexes   | 8 x u32  |   points 2*l and 2*l + 1 at bits 7*l .. 7*l + 6, an even number of the eight minus; S: bits 28-31
 *   +----+--------------+----------+
 * Source: ggml src/ggml-quants.c dequantize_row_iq3_xxs. */
#include "quant/codec.h"
#include "quant/grid_fit.h"

typedef struct block {
    uint8_t d[2], points[64], words[8][4];
} block;
_Static_assert(sizeof(block) == 98, "iq3_xxs block");

static const hone_grid_kind kind = { hone_grid_iq3_xxs, 256, 4, 8, true, 0.25f, 0.03f, { 4, 12, 20, 28, 36, 44, 52, 62 } };

static void pack(const hone_grid_choice *c, void *out)
{
    block *restrict b = out;
    for (int p = 0; p < 64; p++) b->points[p] = (uint8_t)c->point[p % 2][p / 2];
    for (int j = 0; j < 8; j++) {
        uint32_t word = (uint32_t)c->scale[j] << 28;
        for (int l = 0; l < 4; l++) word |= (c->signs[4 * j + l] & 127u) << 7 * l;
        hone_put_le32(b->words[j], word);
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
        for (int l = 0; l < 32; l++, x += 8) {
            uint32_t word = hone_le32(b->words[l / 4]);
            float scale = d * (0.5f + (float)(word >> 28)) * 0.5f;
            uint64_t values = hone_grid3x_values(hone_grid_iq3_xxs[b->points[2 * l + 1]]);
            values = values << 32 | hone_grid3x_values(hone_grid_iq3_xxs[b->points[2 * l]]);
            hone_grid_decode8(values, hone_grid_signs7(word >> 7 * (l % 4)), scale, x);
        }
    }
}

static const hone_codec codecs[] = { { HONE_DTYPE_IQ3_XXS, encode, decode, true, NULL } };
HONE_CODEC_FAMILY(iq3_xxs, codecs);
