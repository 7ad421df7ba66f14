/* affine.h - MLX's affine encoding: groups of a row become codes of 2..8 bits with a scale and a bias each, w = q * scale + bias.
 * Three outputs, so not a hone_codec.  Knows no tensor name, no file.
 * Source: mlx 0.32.4, mlx/backend/cpu/quantized.cpp, quantize(); same bits as mx.quantize on the CPU. */
#ifndef HONE_QUANT_AFFINE_H
#define HONE_QUANT_AFFINE_H
#include "ir/dtype.h"
#include <stddef.h>

typedef struct hone_affine {
    uint32_t   bits;  /* 2 3 4 5 6 8; 0: not affine */
    uint32_t   group; /* 32 64 128 columns share a scale and a bias */
    hone_dtype dtype; /* of scales and biases: F32, F16 or BF16.  The row is rounded to it first, as mlx sees it. */
} hone_affine;

/* True for the bits, groups and types that mlx has. */
bool hone_affine_valid(const hone_affine *a);
/* Bytes of one row's codes, and of its scales (the biases are as many).  n_cols is a multiple of the group. */
static inline size_t hone_affine_code_bytes(const hone_affine *a, size_t n_cols) { return n_cols / 8 * a->bits; }
static inline size_t hone_affine_scale_bytes(const hone_affine *a, size_t n_cols)
{
    return n_cols / a->group * hone_dtype_get(a->dtype)->block_bytes;
}

/* One row of codes, LSB first, one bit stream without gaps (for 2, 4 and 8 bits that is mlx's little-endian u32), back into float32 from the
 * stored scales and biases (little-endian).  hone_grouped_encode (grouped.h) makes them. */
void hone_affine_decode_row(const hone_affine *a, const uint8_t *codes, const uint8_t *scales, const uint8_t *biases, float *x, size_t n_cols);
#endif
