/* iq4_xs.c - 256 numbers in 8 sub-blocks of 32, 4-bit indexes of uneven levels: x = d * (S - 32) * V[q].  4.25 bits per weight.
 *
 *   0    2        4              8                     136
 *   +----+--------+--------------+---------------------+
 *   | d  | S high | S low        | 128 bytes, 2 q each |   d: binary16; S[j]: bits 0-3 in nibble j of `S low`,
 *   +----+--------+--------------+---------------------+   bits 4-5 at bit 2*j of the little-endian `S high`
 * In sub-block j byte l holds elements 32*j + l | 32*j + l + 16 << 4.  V: hone_iq4_values.
 * Source: ggml src/ggml-quants.c quantize_iq4_xs, dequantize_row_iq4_xs. */
#include "quant/codec.h"
#include "quant/iq4.h"

typedef struct block {
    uint8_t d[2], scales_high[2], scales_low[4], qs[128];
} block;
_Static_assert(sizeof(block) == 136, "iq4_xs block");

/* One block from the scales of its sub-blocks. */
static void encode_block(const float *restrict x, const float *restrict scale, block *restrict b)
{
    /* The indexes are chosen with d before it is rounded to binary16: ggml does. */
    float d = -hone_peak(8, scale) / 32, inverse = d != 0 ? 1 / d : 0;
    hone_f16_store(b->d, d);
    uint32_t high = 0;
    memset(b->scales_low, 0, sizeof b->scales_low);
    for (int j = 0; j < 8; j++) {
        int32_t s = hone_clamp(hone_nearest(inverse * scale[j]), -32, 31);
        float dl = d * (float)s, inverse_l = dl != 0 ? 1 / dl : 0;
        uint8_t level[32];
        for (int l = 0; l < 32; l++) level[l] = hone_iq4_index(inverse_l * x[32 * j + l]);
        hone_block32_pack(level, b->qs + 16 * j);
        uint32_t stored = (uint32_t)(s + 32);
        b->scales_low[j / 2] = (uint8_t)(b->scales_low[j / 2] | (stored & 15) << (4 * (j % 2)));
        high |= stored >> 4 << (2 * j);
    }
    hone_put_le16(b->scales_high, (uint16_t)high);
}

static void encode(const float *x, void *out, size_t n_cols, const float *importance)
{
    enum { MOST = HONE_LANES > 8 ? HONE_LANES / 8 : 1 }; /* blocks at once */
    block *restrict b = out;
    for (size_t i = 0; i < n_cols;) {
        float scale[8 * MOST], w[256 * MOST];
        int blocks = (n_cols - i) / 256 < (size_t)MOST ? (int)((n_cols - i) / 256) : MOST;
        for (int p = 0; p < blocks; p++) {
            const float *xp = x + 256 * p;
            float spread = hone_iq4_spread(256, xp);
            for (int j = 0; j < 8; j++)
                hone_iq4_weigh(xp + 32 * j, importance ? importance + i + 256 * p + 32 * j : NULL, spread, w + 256 * p + 32 * j);
        }
        hone_iq4_fits(8 * blocks, x, w, scale);
        for (int p = 0; p < blocks; p++, i += 256, b++, x += 256) encode_block(x, scale + 8 * p, b);
    }
}

static void decode(const void *in, float *x, size_t n_cols)
{
    const block *restrict b = in;
    for (size_t i = 0; i < n_cols; i += 256, b++, x += 256) {
        float d = hone_f16_load(b->d);
        uint32_t high = hone_le16(b->scales_high);
        for (int j = 0; j < 8; j++) {
            int s = (int)((b->scales_low[j / 2] >> (4 * (j % 2)) & 15) | (high >> (2 * j) & 3) << 4);
            float scale = d * (float)(s - 32);
            for (int l = 0; l < 16; l++) {
                x[32 * j + l] = scale * (float)hone_iq4_values[b->qs[16 * j + l] & 15];
                x[32 * j + l + 16] = scale * (float)hone_iq4_values[b->qs[16 * j + l] >> 4];
            }
        }
    }
}

static const hone_codec codecs[] = { { HONE_DTYPE_IQ4_XS, encode, decode, true, NULL } };
HONE_CODEC_FAMILY(iq4_xs, codecs);
