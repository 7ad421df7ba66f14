#include "quant/treat/layout.h"
#include "quant/grouped/scheme.h"
#include "quant/iq4.h"
#include "quant/superblock.h"

/* Layouts of one stream.  Sizes and orders of the fields: the codecs' own files. */
static bool layout_of_dtype(hone_dtype t, hone_layout *out)
{
    const hone_layout symmetric = { .width = 32, .sub = 32, .offset = HONE_OFFSET_NONE, .s_min = 1, .s_max = 1, .d = HONE_DTYPE_F16 };
    hone_layout       l = symmetric;
    switch (t) {
    case HONE_DTYPE_Q4_0: l.top = 15; l.half = 8; break;
    case HONE_DTYPE_Q5_0: l.top = 31; l.half = 16; break;
    case HONE_DTYPE_Q8_0: l.top = 255; l.half = 128; break;
    case HONE_DTYPE_IQ4_NL: l.top = 15; l.table = hone_iq4_values; break;
    case HONE_DTYPE_Q4_1: l.top = 15; l.offset = HONE_OFFSET_OWN; break;
    case HONE_DTYPE_Q5_1: l.top = 31; l.offset = HONE_OFFSET_OWN; break;
    case HONE_DTYPE_Q2_K: l.width = 256; l.sub = 16; l.top = 3; l.offset = HONE_OFFSET_OWN; l.s_min = 0; l.s_max = l.m_max = 15; break;
    case HONE_DTYPE_Q4_K: l.width = 256; l.top = 15; l.offset = HONE_OFFSET_OWN; l.s_min = 0; l.s_max = l.m_max = 63; break;
    case HONE_DTYPE_Q5_K: l.width = 256; l.top = 31; l.offset = HONE_OFFSET_OWN; l.s_min = 0; l.s_max = l.m_max = 63; break;
    case HONE_DTYPE_Q3_K: l.width = 256; l.sub = 16; l.top = 7; l.half = 4; l.s_min = -32; l.s_max = 31; break;
    case HONE_DTYPE_Q6_K: l.width = 256; l.sub = 16; l.top = 63; l.half = 32; l.s_min = -128; l.s_max = 127; break;
    case HONE_DTYPE_IQ4_XS: l.width = 256; l.top = 15; l.table = hone_iq4_values; l.s_min = -32; l.s_max = 31; break;
    default: return false;
    }
    *out = l;
    return true;
}

bool hone_layout_of(const hone_encoding *e, uint64_t n_cols, hone_layout *out)
{
    const hone_grouped *g = &e->grouped;
    if (g->scheme == HONE_SCHEME_NONE) return layout_of_dtype(e->dtype, out) && n_cols % out->width == 0;
    if (g->scheme != HONE_SCHEME_MLX_AFFINE && g->scheme != HONE_SCHEME_ONNX && g->scheme != HONE_SCHEME_NNCF) return false;
    uint64_t width = g->group ? g->group : n_cols;
    if (!hone_grouped_fits(g, n_cols) || width > 1u << 30) return false;
    hone_layout l = { .width = (uint32_t)width, .sub = (uint32_t)width, .top = (1 << g->bits) - 1, .s_min = 1, .s_max = 1, .d = g->scale };
    if (g->scheme == HONE_SCHEME_MLX_AFFINE) l.offset = HONE_OFFSET_OWN;
    else if (!g->sym) {
        l.offset = HONE_OFFSET_ZERO;
        l.m_max = l.top;
    } else l.half = 1 << (g->bits - 1);
    *out = l;
    return true;
}

/* ---- bytes ---- */

static void pack_super(hone_dtype t, const hone_numbers *v, size_t sub0, float d, float m, uint8_t *restrict level, uint8_t *restrict b)
{
    uint8_t s[16], z[16];
    int     n = t == HONE_DTYPE_Q2_K || t == HONE_DTYPE_Q3_K || t == HONE_DTYPE_Q6_K ? 16 : 8;
    for (int j = 0; j < n; j++) {
        int32_t scale = (int32_t)v->s[(sub0 + (size_t)j) * v->stride];
        s[j] = (uint8_t)(t == HONE_DTYPE_Q3_K || t == HONE_DTYPE_IQ4_XS ? scale + 32 : scale);
        z[j] = (uint8_t)v->z[(sub0 + (size_t)j) * v->stride];
    }
    switch (t) {
    case HONE_DTYPE_Q2_K:
        for (int j = 0; j < 16; j++) b[j] = (uint8_t)(s[j] | z[j] << 4);
        hone_super_pack2(level, b + 16);
        hone_f16_store(b + 80, d);
        hone_f16_store(b + 82, m);
        break;
    case HONE_DTYPE_Q3_K:
        hone_super_pack_bit(level, 2, b);
        for (int l = 0; l < HONE_SUPER; l++) level[l] &= 3;
        hone_super_pack2(level, b + 32);
        hone_scales3_pack(s, b + 96);
        hone_f16_store(b + 108, d);
        break;
    case HONE_DTYPE_Q6_K:
        hone_super_pack6(level, b, b + 128);
        memcpy(b + 192, s, 16);
        hone_f16_store(b + 208, d);
        break;
    case HONE_DTYPE_IQ4_XS: {
        uint32_t high = 0;
        hone_f16_store(b, d);
        memset(b + 4, 0, 4);
        for (int j = 0; j < 8; j++) {
            b[4 + j / 2] = (uint8_t)(b[4 + j / 2] | (s[j] & 15) << (4 * (j % 2)));
            high |= (uint32_t)(s[j] >> 4) << (2 * j);
            hone_block32_pack(level + 32 * j, b + 8 + 16 * j);
        }
        hone_put_le16(b + 2, (uint16_t)high);
        break;
    }
    default: /* q4_k, q5_k */
        hone_f16_store(b, d);
        hone_f16_store(b + 2, m);
        hone_scales6_pack(s, z, b + 4);
        if (t == HONE_DTYPE_Q5_K) hone_super_pack_bit(level, 4, b + 16);
        hone_super_pack4(level, b + (t == HONE_DTYPE_Q5_K ? 48 : 16));
        break;
    }
}

/* Blocks of 32 with d, perhaps m, perhaps fifth bits, then nibbles; q8_0: d and bytes. */
static void pack_32(hone_dtype t, float d, float m, const uint8_t *restrict level, uint8_t *restrict b)
{
    hone_f16_store(b, d);
    b += 2;
    if (t == HONE_DTYPE_Q8_0) {
        for (int j = 0; j < 32; j++) b[j] = (uint8_t)(level[j] - 128);
        return;
    }
    if (t == HONE_DTYPE_Q4_1 || t == HONE_DTYPE_Q5_1) {
        hone_f16_store(b, 0 - m); /* no -0 */
        b += 2;
    }
    if (t == HONE_DTYPE_Q5_0 || t == HONE_DTYPE_Q5_1) {
        hone_block32_pack_high(level, b);
        b += 4;
    }
    hone_block32_pack(level, b);
}

static void pack_dtype(hone_dtype t, const hone_layout *l, const hone_numbers *v, uint64_t n_cols, uint8_t *out)
{
    uint32_t bytes = hone_dtype_get(t)->block_bytes;
    uint8_t  level[HONE_SUPER];
    for (size_t b = 0; b < n_cols / l->width; b++, out += bytes) {
        for (size_t i = 0; i < l->width; i++) level[i] = v->code[(b * l->width + i) * v->stride];
        float d = v->d[b * v->stride], m = v->m[b * v->stride];
        if (l->width == HONE_SUPER) pack_super(t, v, b * (l->width / l->sub), d, m, level, out);
        else pack_32(t, d, m, level, out);
    }
}

/* n codes of `bits` bits from bit place `at` on, low bits first; a byte's upper bits are cleared with its first. */
static void put_bits(uint8_t *out, uint64_t at, uint32_t bits, const uint8_t *code, size_t stride, size_t n, uint8_t flip)
{
    uint64_t bit = at * bits;
    for (size_t i = 0; i < n; i++, bit += bits) {
        uint32_t v = (uint32_t)(code[i * stride] ^ flip) << (bit % 8);
        uint8_t *p = out + bit / 8;
        *p = (uint8_t)((*p & ((1u << (bit % 8)) - 1)) | v);
        if (bit % 8 + bits > 8) p[1] = (uint8_t)(v >> 8);
    }
}

static void pack_grouped(const hone_grouped *g, const hone_layout *l, const hone_numbers *v, uint64_t r, uint64_t n_cols, uint8_t *const out[HONE_STREAMS])
{
    uint64_t groups = hone_grouped_groups(g, n_cols), row = hone_grouped_row_bits(g, HONE_STREAM_CODES, n_cols) / g->bits;
    uint64_t zeros = l->offset == HONE_OFFSET_ZERO ? hone_grouped_row_bits(g, HONE_STREAM_ZEROS, n_cols) / g->bits : 0;
    uint8_t  nought = 0, unused = 8, flip = 0; /* what fills up rows and bytes: nbits.c */
    if (g->sym && (g->scheme == HONE_SCHEME_NNCF || g->flat)) flip = (uint8_t)(1u << (g->bits - 1)); /* code - half, in two's complement */
    put_bits(out[HONE_STREAM_CODES], r * row, g->bits, v->code, v->stride, (size_t)n_cols, flip);
    if (row > n_cols) put_bits(out[HONE_STREAM_CODES], r * row + n_cols, g->bits, &nought, 0, (size_t)(row - n_cols), 0);
    for (uint64_t k = 0; k < groups; k++) {
        hone_scale_store(g->scale, out[HONE_STREAM_SCALES], r * groups + k, v->d[k * v->stride]);
        if (l->offset == HONE_OFFSET_OWN) hone_scale_store(g->scale, out[HONE_STREAM_ZEROS], r * groups + k, 0 - v->m[k * v->stride]);
        uint8_t zero = (uint8_t)v->z[k * v->stride];
        if (l->offset == HONE_OFFSET_ZERO) hone_codes_put(out[HONE_STREAM_ZEROS], r * zeros + k, &zero, 1, g->bits);
    }
    if (zeros > groups) hone_codes_put(out[HONE_STREAM_ZEROS], r * zeros + groups, &unused, 1, g->bits);
}

void hone_layout_pack(const hone_encoding *e, const hone_layout *l, const hone_numbers *v, uint64_t r, uint64_t n_cols, uint8_t *const out[HONE_STREAMS])
{
    if (e->grouped.scheme == HONE_SCHEME_NONE)
        pack_dtype(e->dtype, l, v, n_cols, out[0] + r * (n_cols / l->width) * hone_dtype_get(e->dtype)->block_bytes);
    else pack_grouped(&e->grouped, l, v, r, n_cols, out);
}
