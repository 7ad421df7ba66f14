#include "quant/grouped.h"
#include "quant/affine.h"
#include "quant/codec.h"
#include "quant/grouped/scheme.h"

static bool is_float(hone_dtype t) { return t == HONE_DTYPE_F32 || t == HONE_DTYPE_F16 || t == HONE_DTYPE_BF16; }

static hone_affine affine_of(const hone_grouped *g) { return (hone_affine){ .bits = g->bits, .group = g->group, .dtype = g->scale }; }

bool hone_grouped_valid(const hone_grouped *g)
{
    hone_affine a = affine_of(g);
    bool        bits = g->bits == 4 || g->bits == 8;
    if (!is_float(g->scale) || (g->flat && g->scheme != HONE_SCHEME_ONNX)) return false;
    switch (g->scheme) {
    case HONE_SCHEME_NONE: return false;
    case HONE_SCHEME_MLX_AFFINE: return !g->sym && hone_affine_valid(&a);
    case HONE_SCHEME_MLX_MXFP4: return !g->sym && g->bits == 4 && g->group == 32;
    case HONE_SCHEME_MLX_NVFP4: return !g->sym && g->bits == 4 && g->group == 16;
    case HONE_SCHEME_MLX_MXFP8: return !g->sym && g->bits == 8 && g->group == 32;
    case HONE_SCHEME_ONNX: return bits && g->group >= 16 && g->group <= 256 && (g->group & (g->group - 1)) == 0;
    case HONE_SCHEME_NNCF: return bits && g->group != 1 && g->group <= 65536;
    }
    return false;
}

bool hone_grouped_fits(const hone_grouped *g, uint64_t n_cols)
{
    if (n_cols == 0) return false;
    return g->scheme == HONE_SCHEME_ONNX || g->group == 0 || n_cols % g->group == 0;
}

uint32_t hone_grouped_streams(const hone_grouped *g)
{
    if (g->scheme == HONE_SCHEME_MLX_AFFINE) return 3;
    return (g->scheme == HONE_SCHEME_ONNX || g->scheme == HONE_SCHEME_NNCF) && !g->sym ? 3 : 2;
}

uint64_t hone_grouped_row_bits(const hone_grouped *g, uint32_t stream, uint64_t n_cols)
{
    uint64_t groups = hone_grouped_groups(g, n_cols);
    bool     padded = g->scheme == HONE_SCHEME_ONNX && !g->flat, small = g->scheme >= HONE_SCHEME_MLX_MXFP4 && g->scheme <= HONE_SCHEME_MLX_MXFP8;
    uint64_t scales = groups * (small ? 8u : 8u * hone_dtype_get(g->scale)->block_bytes);
    if (stream == HONE_STREAM_CODES) return (padded ? groups * g->group : n_cols) * g->bits;
    if (stream == HONE_STREAM_SCALES || g->scheme == HONE_SCHEME_MLX_AFFINE) return scales;
    return padded ? (groups * g->bits + 7) / 8 * 8 : groups * g->bits;
}

uint64_t hone_grouped_align(const hone_grouped *g, uint64_t n_cols)
{
    for (uint32_t s = 0; s < hone_grouped_streams(g); s++)
        if (hone_grouped_row_bits(g, s, n_cols) % 8) return 2; /* whole nibbles */
    return 1;
}

static void decode_affine(const hone_grouped *g, const uint8_t *const in[HONE_STREAMS], uint64_t r, uint64_t n_cols, float *x)
{
    hone_affine a = affine_of(g);
    size_t      codes = hone_affine_code_bytes(&a, (size_t)n_cols), scales = hone_affine_scale_bytes(&a, (size_t)n_cols);
    hone_affine_decode_row(&a, in[0] + r * codes, in[1] + r * scales, in[2] + r * scales, x, (size_t)n_cols);
}

/* ONNX and NNCF: (q - zero) * scale. */
static void decode_integer(const hone_grouped *g, const uint8_t *const in[HONE_STREAMS], uint64_t r, uint64_t n_cols, float *x)
{
    uint64_t groups = hone_grouped_groups(g, n_cols), row = hone_grouped_row_bits(g, HONE_STREAM_CODES, n_cols) / g->bits;
    uint64_t zeros = g->sym ? 0 : hone_grouped_row_bits(g, HONE_STREAM_ZEROS, n_cols) / g->bits;
    bool     is_signed = g->sym && (g->scheme == HONE_SCHEME_NNCF || g->flat);
    int32_t  half = (int32_t)(1u << (g->bits - 1));
    for (uint64_t i = 0; i < n_cols; i++) {
        uint64_t k = g->group ? i / g->group : 0;
        int32_t  q = (int32_t)hone_code_get(in[HONE_STREAM_CODES], r * row + i, g->bits);
        int32_t  zero = g->sym ? half : (int32_t)hone_code_get(in[HONE_STREAM_ZEROS], r * zeros + k, g->bits);
        if (is_signed) q ^= half;
        x[i] = (float)(q - zero) * hone_scale_load(g->scale, in[HONE_STREAM_SCALES], r * groups + k);
    }
}

/* The encoders of rows with lanes of this width; NULL: this build or this CPU has none. */
static const hone_grouped_rows *rows_of(int width)
{
#ifdef HONE_WIDE_CODECS
    if (width == 16 && hone_codec_find_width(HONE_DTYPE_F32, 16)) return &hone_grouped_rows_plain_x16;
    if (width == 8 && hone_codec_find_width(HONE_DTYPE_F32, 8)) return &hone_grouped_rows_plain_x8;
#endif
    return width == 4 ? &hone_grouped_rows_plain : NULL;
}

static hone_encode_grouped_row *encoder_of(const hone_grouped_rows *rows, const hone_grouped *g)
{
    switch (g->scheme) {
    case HONE_SCHEME_NONE: break;
    case HONE_SCHEME_MLX_AFFINE: return rows->affine;
    case HONE_SCHEME_MLX_MXFP4:
    case HONE_SCHEME_MLX_NVFP4:
    case HONE_SCHEME_MLX_MXFP8: return rows->mlx_float;
    case HONE_SCHEME_ONNX: return rows->nbits;
    case HONE_SCHEME_NNCF: return rows->nncf;
    }
    return NULL;
}

bool hone_grouped_encode_width(int width, const hone_grouped *g, const float *x, uint64_t n_rows, uint64_t n_cols, uint8_t *const out[HONE_STREAMS])
{
    const hone_grouped_rows *rows = rows_of(width);
    hone_encode_grouped_row *encode = rows ? encoder_of(rows, g) : NULL;
    for (uint64_t r = 0; encode && r < n_rows; r++) encode(g, x + r * n_cols, r, n_cols, out);
    return rows;
}

void hone_grouped_encode_row(const hone_grouped *g, const float *x, uint64_t r, uint64_t n_cols, uint8_t *const out[HONE_STREAMS])
{
    const hone_grouped_rows *rows = rows_of(16);
    if (!rows) rows = rows_of(8);
    hone_encode_grouped_row *encode = encoder_of(rows ? rows : rows_of(4), g);
    if (encode) encode(g, x, r, n_cols, out);
}

void hone_grouped_encode(const hone_grouped *g, const float *x, uint64_t n_rows, uint64_t n_cols, uint8_t *const out[HONE_STREAMS])
{
    for (int width = 16; !hone_grouped_encode_width(width, g, x, n_rows, n_cols, out);) width /= 2; /* there is one of 4 */
}

void hone_grouped_decode(const hone_grouped *g, const uint8_t *const in[HONE_STREAMS], uint64_t n_rows, uint64_t n_cols, float *x)
{
    for (uint64_t r = 0; r < n_rows; r++) {
        float *row = x + r * n_cols;
        switch (g->scheme) {
        case HONE_SCHEME_NONE: break;
        case HONE_SCHEME_MLX_AFFINE: decode_affine(g, in, r, n_cols, row); break;
        case HONE_SCHEME_MLX_MXFP4:
        case HONE_SCHEME_MLX_NVFP4:
        case HONE_SCHEME_MLX_MXFP8: hone_mlx_float_decode(g, in, r, n_cols, row); break;
        case HONE_SCHEME_ONNX:
        case HONE_SCHEME_NNCF: decode_integer(g, in, r, n_cols, row); break;
        }
    }
}
