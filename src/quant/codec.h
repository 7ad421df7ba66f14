/* codec.h - one row of numbers in float32 <-> the bytes of one encoding.  Knows no tensor name, no file.
 * The plain codecs here are the judge of every faster twin: same bytes on every CPU, any thread count
 * (compiled with -ffp-contract=off, no FMA).  Source: ggml src/ggml-quants.c, the *_ref and quantize_* functions. */
#ifndef HONE_QUANT_CODEC_H
#define HONE_QUANT_CODEC_H
#include "ir/dtype.h"
#include <stddef.h>

typedef struct hone_codec {
    hone_dtype dtype;
    /* Encodes one row.  x: [n_cols] float32, n_cols a multiple of the block; out: n_cols/block_elems*block_bytes bytes.
     * importance: [n_cols] non-negative weights (imatrix), or NULL.  NULL slot: hone cannot encode this type.
     * Pure: no allocation, no globals; safe from many threads.  x and out do not overlap.
     * The bytes are those of ggml_quantize_chunk, infinities and NaN included (as ggml behaves on x86; it converts such values
     * out of range, which C leaves undefined), except that a scale which is NaN is always 0x7e00, never 0xfe00: see half.h; and except
     * for iq2_* and iq3_*, whose search is our own (grid_fit.h).
     * What hone does with a row that holds such values is for the caller to decide. */
    void (*encode_row)(const float *x, void *out, size_t n_cols, const float *importance);
    /* Decodes one row.  Every byte pattern is defined.  NULL slot: hone cannot decode this type. */
    void (*decode_row)(const void *in, float *x, size_t n_cols);
    bool wants_importance; /* the bytes change when importance is given */
    /* The largest magnitude among what decode_row gives, as the bits of a float32 without its sign; NaN is larger than infinity, that larger than
     * any number.  It is found in the stored row, in a part of the time that looking at the numbers takes.  NULL slot: look at the numbers. */
    uint32_t (*largest)(const void *in, size_t n_cols);
} hone_codec;

/* NULL when hone has no code for this type at all: C64; F6_*, whose packing no specification fixes; IQ1_*. */
const hone_codec *hone_codec_find(hone_dtype t);
/* The same at a given width of lanes: 4 is the plain codec, 8 its twin for AVX2, 16 for AVX-512 (wide.def).  NULL also when there
 * is no twin of that width in this build or this CPU cannot run it.  hone_codec_find gives the widest. */
const hone_codec *hone_codec_find_width(hone_dtype t, int width);

/* What a file of this room exports: `const hone_codec_family hone_codecs_<file>`; list.def names the files. */
typedef struct hone_codec_family {
    const hone_codec *codecs;
    size_t            n;
} hone_codec_family;
#if !defined(HONE_LANES_WIDTH) || HONE_LANES_WIDTH == 4
#define HONE_CODECS(file) hone_codecs_##file
#elif HONE_LANES_WIDTH == 8
#define HONE_CODECS(file) hone_codecs_##file##_x8
#else
#define HONE_CODECS(file) hone_codecs_##file##_x16
#endif
#define HONE_CODEC_FAMILY(file, rows) const hone_codec_family HONE_CODECS(file) = { rows, sizeof(rows) / sizeof((rows)[0]) }

#define X(file) extern const hone_codec_family hone_codecs_##file;
#include "quant/list.def"
#undef X
#define X(file) extern const hone_codec_family hone_codecs_##file##_x8, hone_codecs_##file##_x16;
#include "quant/wide.def"
#undef X
#endif
