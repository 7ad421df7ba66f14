/* rows.h - rows of numbers that encoders find easy, hard and impossible.  Made of integers and a few exact operations, so they
 * are the same on every machine. */
#ifndef HONE_TEST_QUANT_ROWS_H
#define HONE_TEST_QUANT_ROWS_H
#include "quant/codec.h"

/* X(enumerator, what the row is).  Those after ROW_LAST_USUAL make ggml convert floats out of the range of the integer. */
#define ROW_KINDS(X)                                                                                                   \
    X(NORMAL, "bell-shaped, spread 1")                                                                                 \
    X(WEIGHTS, "bell-shaped, spread 0.02")                                                                             \
    X(HEAVY, "heavy tails")                                                                                            \
    X(OUTLIERS, "one number in a thousand 100000 times the others")                                                    \
    X(ZERO, "zeros of both signs")                                                                                     \
    X(CONSTANT, "all equal")                                                                                           \
    X(SPARSE, "mostly zero")                                                                                           \
    X(POSITIVE, "above zero")                                                                                          \
    X(NEGATIVE, "just below -3")                                                                                       \
    X(INTEGERS, "small integers: ties everywhere")                                                                     \
    X(SMALL, "spread 1e-14, around the limit below which a block is zeros")                                            \
    X(DENORMAL, "below the smallest normal float")                                                                     \
    X(ANY, "any finite bits")                                                                                          \
    X(INFINITE, "bell-shaped with infinities")                                                                         \
    X(NOT_A_NUMBER, "bell-shaped with NaN")                                                                            \
    X(ALL_NAN, "nothing but NaN")

typedef enum row_kind {
#define X(e, what) ROW_##e,
    ROW_KINDS(X)
#undef X
        ROW_COUNT,
    ROW_LAST_USUAL = ROW_SMALL
} row_kind;

const char *row_kind_text(row_kind kind);

/* Fills x[n]; the same seed gives the same row. */
void rows_fill(row_kind kind, uint64_t seed, float *x, size_t n);

/* Importances as an imatrix has them: non-negative, a few large, some zero. */
void rows_importance(uint64_t seed, float *w, size_t n);

/* FNV-1a, 64 bits, over the encodings of the rows of kinds first..last in several widths.  encode writes one row and says how
 * many bytes. */
typedef size_t rows_encoder(void *ctx, const float *x, uint8_t *out, size_t n, const float *importance);
uint64_t rows_hash(rows_encoder *encode, void *ctx, bool with_importance, row_kind first, row_kind last);

/* The same over what a decoder makes of blocks of any bytes: every index of every table comes up.  NaN counts as one number. */
typedef void rows_decoder(void *ctx, const uint8_t *in, float *x, size_t n);
uint64_t rows_decoded_hash(rows_decoder *decode, void *ctx, size_t block_bytes, size_t block_elems);
#endif
