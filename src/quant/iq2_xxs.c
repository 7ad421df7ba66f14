/* iq2_xxs.c - 256 numbers in 8 sub-blocks of 32, each four points of 256 with 8 numbers: x = d * (S + 1/2) / 4 * +-V.  2.0625 bits per weight.
 *
 *   0    2                           66
 *   +----+---------------------------+   d: binary16; of a sub-block: an index of each point, a byte each, then a little-endian word:
 *   | d  | 8 x (4 indexes, u32)      |   signs of point l at bits 7*l .. 7*l + 6, an even number of them minus; S: bits 28-31
 *   +----+---------------------------+
 * Source: ggml src/ggml-quants.c dequantize_row_iq2_xxs. */
#include "quant/codec.h"
#include "quant/grid_fit.h"

typedef struct block {
    uint8_t d[2], sub[8][8];
} block;
_Static_assert(sizeof(block) == 66, "iq2_xxs block");

static const hone_grid_kind kind = HONE_GRID_IQ2(hone_grid_iq2_xxs, 256, 8, true);

static void pack(const hone_grid_choice *c, void *out)
{
    block *restrict b = out;
    for (int j = 0; j < 8; j++) {
        uint32_t word = (uint32_t)c->scale[j] << 28;
        for (int l = 0; l < 4; l++) {
            b->sub[j][l] = (uint8_t)c->point[0][4 * j + l];
            word |= (c->signs[4 * j + l] & 127u) << 7 * l;
        }
        hone_put_le32(b->sub[j] + 4, word);
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
        for (int j = 0; j < 8; j++) {
            uint32_t word = hone_le32(b->sub[j] + 4);
            float scale = d * (0.5f + (float)(word >> 28)) * 0.25f;
            for (int l = 0; l < 4; l++, x += 8)
                hone_grid_decode8(hone_grid2_values(hone_grid_iq2_xxs[b->sub[j][l]]), hone_grid_signs7(word >> 7 * l), scale, x);
        }
    }
}

static const hone_codec codecs[] = { { HONE_DTYPE_IQ2_XXS, encode, decode, true, NULL } };
HONE_CODEC_FAMILY(iq2_xxs, codecs);
