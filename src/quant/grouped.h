/* grouped.h - one interface for every encoding that turns rows into several streams: codes, scales, and zero points or biases.
 * Groups of consecutive columns share a scale.  Knows no tensor name, no file.  Codecs of one stream are in codec.h.
 *
 *   scheme       bits         group            streams                                   w =
 *   MLX_AFFINE   2-6 8        32 64 128        codes, scales, biases (both `scale`)      q * scale + bias
 *   MLX_MXFP4    4            32               e2m1 codes, e8m0 scales                   e2m1 * 2^(s-127)
 *   MLX_NVFP4    4            16               e2m1 codes, e4m3 scales                   e2m1 * e4m3
 *   MLX_MXFP8    8            32               e4m3 codes, e8m0 scales                   e4m3 * 2^(s-127)
 *   ONNX         4 8          16..256, 2^n     codes, scales, zero points (not if sym)   (q - zero) * scale   sym: zero = 2^(bits-1)
 *   NNCF sym     4 8          2..65536, 0      signed codes, scales                      q * scale
 *   NNCF         4 8          the same         codes, scales, zero points                (q - zero) * scale
 *
 * Codes of less than 8 bits are packed low bits first.  Most rows begin at a byte: a row that ends inside one is padded (ONNX pads codes to
 * whole groups too).  NNCF's streams, and all of ONNX's with `flat`, run on over the ends of rows, as u4 and i4 tensors do:
 * a place in them is told in bits, and a run of rows begins at a multiple of hone_grouped_align() rows. */
#ifndef HONE_QUANT_GROUPED_H
#define HONE_QUANT_GROUPED_H
#include "ir/dtype.h"
#include <stddef.h>

#define HONE_STREAMS 3
enum { HONE_STREAM_CODES, HONE_STREAM_SCALES, HONE_STREAM_ZEROS /* MLX: biases */ };

typedef enum hone_scheme {
    HONE_SCHEME_NONE, /* not grouped: an element type of codec.h */
    HONE_SCHEME_MLX_AFFINE,
    HONE_SCHEME_MLX_MXFP4,
    HONE_SCHEME_MLX_NVFP4,
    HONE_SCHEME_MLX_MXFP8,
    HONE_SCHEME_ONNX, /* MatMulNBits, GatherBlockQuantized; flat and sym: DequantizeLinear over int4, int8 */
    HONE_SCHEME_NNCF, /* OpenVINO's compressed weights */
} hone_scheme;

typedef struct hone_grouped {
    hone_scheme scheme;
    uint32_t    bits;
    uint32_t    group; /* columns that share a scale; 0: the whole row */
    hone_dtype  scale; /* of scales (and biases): F32, F16 or BF16.  The row is rounded to it first where the peer sees it so (MLX). */
    bool        sym;   /* no zero points */
    bool        flat;  /* ONNX: u4 tensors [rows, cols] and [rows, groups] as ONNX's own element types are stored, columns not padded */
} hone_grouped;

/* True for the combinations of the table. */
bool hone_grouped_valid(const hone_grouped *g);
/* True when rows of n_cols can be encoded: whole groups, but for ONNX's, which are padded. */
bool hone_grouped_fits(const hone_grouped *g, uint64_t n_cols);

/* 2 or 3. */
uint32_t hone_grouped_streams(const hone_grouped *g);
/* Scales of a row. */
static inline uint64_t hone_grouped_groups(const hone_grouped *g, uint64_t n_cols)
{
    return g->group ? (n_cols + g->group - 1) / g->group : 1;
}
/* From one row to the next in a stream, in bits; and bytes of n_rows rows, the last bits padded. */
uint64_t               hone_grouped_row_bits(const hone_grouped *g, uint32_t stream, uint64_t n_cols);
static inline uint64_t hone_grouped_bytes(const hone_grouped *g, uint32_t stream, uint64_t n_rows, uint64_t n_cols)
{
    return (n_rows * hone_grouped_row_bits(g, stream, n_cols) + 7) / 8;
}
/* Runs of rows begin at multiples of this: there every stream is at a whole byte.  1 or 2. */
uint64_t hone_grouped_align(const hone_grouped *g, uint64_t n_cols);

/* Encodes n_rows rows of n_cols finite floats; out[s]: hone_grouped_bytes(g, s, n_rows, n_cols) bytes, all written.
 * Same bytes on every CPU.  Pure: no allocation, no globals; safe from many threads. */
void hone_grouped_encode(const hone_grouped *g, const float *x, uint64_t n_rows, uint64_t n_cols, uint8_t *const out[HONE_STREAMS]);
/* The same at a given width of lanes (hone_codec_find_width); false, and nothing is written, where there is none. */
bool hone_grouped_encode_width(int width, const hone_grouped *g, const float *x, uint64_t n_rows, uint64_t n_cols, uint8_t *const out[HONE_STREAMS]);
/* The same for row r alone (x: that row) of a run that out is the beginning of; rows of a run are written upwards. */
void hone_grouped_encode_row(const hone_grouped *g, const float *x, uint64_t r, uint64_t n_cols, uint8_t *const out[HONE_STREAMS]);
/* The way back, in float32 from the stored scales.  Every byte pattern is defined. */
void hone_grouped_decode(const hone_grouped *g, const uint8_t *const in[HONE_STREAMS], uint64_t n_rows, uint64_t n_cols, float *x);
#endif
