/* q4_k.c - 256 numbers in 8 sub-blocks of 32, 4 bits each: x = d * S * q - dmin * M.  4.5 bits per weight.
 *
 *   0    2      4                 16                    144
 *   +----+------+-----------------+---------------------+
 *   | d  | dmin | 8 x S(6), M(6)  | 128 bytes, 2 q each |   d, dmin: binary16; S, M: hone_scales6_pack
 *   +----+------+-----------------+---------------------+   order of the q: hone_super_pack4
 * Source: ggml src/ggml-quants.c quantize_row_q4_K_ref, quantize_row_q4_K_impl, dequantize_row_q4_K. */
#include "quant/codec.h"
#include "quant/superblock.h"

typedef struct block {
    uint8_t d[2], dmin[2], scales[12], qs[128];
} block;
_Static_assert(sizeof(block) == 144, "q4_k block");

static void encode(const float *x, void *out, size_t n_cols, const float *importance)
{
    block *restrict b = out;
    for (size_t i = 0; i < n_cols;) {
        hone_super_fit fit;
        hone_super_offset_search(n_cols - i, x, importance ? importance + i : NULL, 15, -1.0f, 0.1f, 20, &fit);
        for (int p = 0; p < fit.supers; p++, i += HONE_SUPER, b++, x += HONE_SUPER) {
            uint8_t level[HONE_SUPER];
            hone_super_offset_encode(&fit, p, x, 15, b->d, b->dmin, b->scales, level);
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
            for (int l = 0; l < 32; l++) x[32 * j + l] = scale * (float)(q[l] >> (4 * (j % 2)) & 15) - minus;
        }
    }
}

static const hone_codec codecs[] = { { HONE_DTYPE_Q4_K, encode, decode, true, NULL } };
HONE_CODEC_FAMILY(q4_k, codecs);
