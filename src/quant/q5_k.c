/* q5_k.c - 256 numbers in 8 sub-blocks of 32, 5 bits each: x = d * S * q - dmin * M.  5.5 bits per weight.
 *
 *   0    2      4                 16                    48                    176
 *   +----+------+-----------------+---------------------+---------------------+
 *   | d  | dmin | 8 x S(6), M(6)  | 32 bytes: fifth bit | 128 bytes, 2 q each |   d, dmin: binary16; S, M: hone_scales6_pack
 *   +----+------+-----------------+---------------------+---------------------+   low bits: hone_super_pack4
 * Fifth bits: bit j of byte l belongs to element 32*j + l.
 * Source: ggml src/ggml-quants.c quantize_row_q5_K_ref, quantize_row_q5_K_impl, dequantize_row_q5_K. */
#include "quant/codec.h"
#include "quant/superblock.h"

typedef struct block {
    uint8_t d[2], dmin[2], scales[12], high[32], qs[128];
} block;
_Static_assert(sizeof(block) == 176, "q5_k block");

static void encode(const float *x, void *out, size_t n_cols, const float *importance)
{
    block *restrict b = out;
    for (size_t i = 0; i < n_cols;) {
        hone_super_fit fit;
        hone_super_offset_search(n_cols - i, x, importance ? importance + i : NULL, 31, -0.5f, 0.1f, 15, &fit);
        for (int p = 0; p < fit.supers; p++, i += HONE_SUPER, b++, x += HONE_SUPER) {
            uint8_t level[HONE_SUPER];
            hone_super_offset_encode(&fit, p, x, 31, b->d, b->dmin, b->scales, level);
            hone_super_pack_bit(level, 4, b->high);
            hone_super_pack4(level, b->qs);
        }
    }
}

static void decode(const void *in, float *x, size_t n_cols)
{
    const block *restrict b = in;
    for (size_t i = 0; i < n_cols; i += HONE_SUPER, b++, x += HONE_SUPER) {
        float d = hone_f16_load(b->d), dmin = hone_f16_load(b->dmin);
        uint8_t s[8], m[8];
        hone_scales6_unpack(b->scales, s, m);
        for (int j = 0; j < 8; j++) {
            const uint8_t *q = b->qs + 32 * (j / 2);
            float scale = d * (float)s[j], minus = dmin * (float)m[j];
            for (int l = 0; l < 32; l++)
                x[32 * j + l] = scale * (float)((q[l] >> (4 * (j % 2)) & 15) + 16 * (b->high[l] >> j & 1)) - minus;
        }
    }
}

static const hone_codec codecs[] = { { HONE_DTYPE_Q5_K, encode, decode, true, NULL } };
HONE_CODEC_FAMILY(q5_k, codecs);
