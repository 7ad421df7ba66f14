/* nbits.c - the codes of ONNX Runtime's block-wise quantiser, for MatMulNBits and GatherBlockQuantized.
 * Source: onnxruntime 1.31, onnxruntime/core/mlas/lib/q4_dq.cpp, range2scale(), range2scalezp(), BlockwiseQuantizer; and
 * python/tools/quantization/matmul_nbits_quantizer.py, DefaultWeightOnlyQuantizer (bfloat16: quantised in float32, then the scales rounded).
 * Columns beyond the row's end have code 0, a zero point that fills the last byte is 8, as there. */
#include "quant/grouped/scheme.h"

enum { BLOCK_MAX = 256, AHEAD = HONE_LANES < 16 ? HONE_LANES : 0 }; /* blocks that are looked at before codes are made */

typedef struct fit { float scale, inverse, zero; } fit;
/* Of as many blocks as there are lanes.  near: no number divided by its scale comes near 2^31. */
typedef struct fits {
    float scale[HONE_LANES], inverse[HONE_LANES], zero[HONE_LANES];
    bool  near;
} fits;

/* hone_round of numbers from 0 to 2^23. */
HONE_FIT_INLINE hone_lanes round_up_from_0(hone_lanes v)
{
    return __builtin_convertvector(__builtin_convertvector(v + 0x1.fffffep-2f, hone_ilanes), hone_lanes);
}

/* Of a block of zeros, of two signs maybe, the first counts, as there.  x: blocks of n numbers. */
static hone_lanes first_of(const float *x, size_t n, size_t n_blocks)
{
    float first[HONE_LANES] = { 0 };
    for (size_t k = 0; k < n_blocks; k++) first[k] = x[k * n];
    return hone_lanes_load(first);
}

HONE_FIT_INLINE void fit_blocks(const hone_grouped *g, const float *x, size_t n, size_t n_blocks, fits *f)
{
    hone_lanes lo, hi;
    hone_ranges(x, n, n_blocks, &lo, &hi, NULL);
    hone_lanes  top = hone_lanes_all((float)((1u << g->bits) - 1)), half = hone_lanes_all((float)(1u << (g->bits - 1)));
    hone_lanes  none = hone_lanes_all(0), one = hone_lanes_all(1), scale, zero = half;
    hone_ilanes some;
    if (g->sym) {
        hone_lanes end = hone_lanes_pick((hone_ilanes)(hone_lanes_abs(hi) > hone_lanes_abs(lo)), hi, lo);
        some = (hone_ilanes)(end != 0);
        if (hone_lanes_any(~some)) end = hone_lanes_pick(some, end, first_of(x, n, n_blocks));
        scale = -end / half;
    }
    else {
        lo = hone_lanes_min(lo, none);
        hi = hone_lanes_max(hi, none);
        scale = (hi - lo) / top;
        some = (hone_ilanes)(scale != 0);
        zero = hone_lanes_pick(some, round_up_from_0(none - lo / hone_lanes_pick(some, scale, one)), none);
        zero = hone_lanes_min(zero, top);
    }
    float exact[HONE_LANES];
    memcpy(exact, &scale, sizeof scale);
    hone_scale_round(g->scale == HONE_DTYPE_F16 ? HONE_DTYPE_F16 : HONE_DTYPE_F32, exact, f->scale, HONE_LANES);
    scale = hone_lanes_load(f->scale);
    some = (hone_ilanes)(scale != 0);
    hone_lanes inverse = hone_lanes_pick(some, one / hone_lanes_pick(some, scale, one), none);
    f->near = !hone_lanes_any(some & (hone_ilanes)(hone_lanes_abs(scale) < 1e-30f));
    memcpy(f->inverse, &inverse, sizeof inverse);
    memcpy(f->zero, &zero, sizeof zero);
}

/* Halves away from zero, as hone_round does it.  The bounds are whole numbers, so it is the same to clamp before or, where numbers are near,
 * when bytes are made. */
HONE_FIT_INLINE hone_ilanes codes_of_lanes(const float *x, fit f, bool near, float top)
{
    hone_lanes v = hone_lanes_load(x) * f.inverse + f.zero;
    if (!near) v = hone_lanes_min(hone_lanes_max(v, hone_lanes_all(0)), hone_lanes_all(top));
    return hone_lanes_trunc(v + 0x1.fffffep-2f);
}
/* sign: q - half, in two's complement. */
static uint8_t code_of(float x, fit f, float top, uint8_t sign)
{
    float v = x * f.inverse + f.zero;
    v = v > 0.0f ? v : 0.0f;
    v = v < top ? v : top;
    return (uint8_t)(hone_round(v) ^ sign);
}

/* n codes, and code 0 for the columns from there to `whole`, at place `at`. */
static void put_block(const float *x, size_t n, size_t whole, fit f, uint32_t bits, uint8_t sign, uint8_t *out, uint64_t at)
{
    uint8_t q[BLOCK_MAX];
    for (size_t i = 0; i < n; i++) q[i] = code_of(x[i], f, (float)((1u << bits) - 1), sign);
    memset(q + n, 0, whole - n);
    hone_codes_put(out, at, q, whole, bits);
}

/* Whole blocks of 32, as most are, from a whole byte on: their steps are known to the compiler.  MANY blocks fill four vectors. */
HONE_FIT_INLINE void put_32s(const float *x, size_t n_blocks, const fits *f, bool near, uint32_t bits, uint8_t sign, uint8_t *to)
{
    enum { IN_BLOCK = 32 / HONE_LANES, MANY = IN_BLOCK < 4 ? 4 / IN_BLOCK : 1 };
    const uint8_t top = (uint8_t)((1u << bits) - 1);
    hone_ilanes   q[IN_BLOCK * MANY];
    size_t        k = 0;
    for (; k + MANY <= n_blocks; k += MANY) {
        hone_ahead(x + (k + AHEAD) * 32, MANY * 32);
        for (size_t b = 0; b < MANY; b++) {
            fit one = { f->scale[k + b], f->inverse[k + b], f->zero[k + b] };
            for (size_t i = 0; i < IN_BLOCK; i++) q[b * IN_BLOCK + i] = codes_of_lanes(x + (k + b) * 32 + i * HONE_LANES, one, near, top);
        }
        for (size_t i = 0; i < IN_BLOCK * MANY; i += 4) hone_codes_put_clamped(to, k * 32 + i * HONE_LANES, q + i, top, sign, bits);
    }
    if (k < n_blocks) put_block(x + k * 32, 32, 32, (fit){ f->scale[k], f->inverse[k], f->zero[k] }, bits, sign, to, k * 32);
}

/* Blocks of a row side by side, 1..HONE_LANES of them, and what was fitted to them. */
typedef struct blocks {
    const float *x;
    uint64_t     first;
    fits         f;
    float        seen[HONE_LANES * BLOCK_MAX];
} blocks;

HONE_FIT_INLINE void look(const hone_grouped *g, const float *x, size_t n, size_t n_blocks, uint64_t first, blocks *b)
{
    b->x = x;
    b->first = first;
    if (g->scale == HONE_DTYPE_F16) {
        b->seen[0] = x[0]; /* gcc does not see that a block has columns */
        hone_scale_round(HONE_DTYPE_F16, x, b->seen, n * n_blocks);
        b->x = b->seen;
    }
    fit_blocks(g, b->x, n, n_blocks, &b->f);
}

HONE_FIT_INLINE void put(const hone_grouped *g, const blocks *b, size_t n, size_t n_blocks, uint64_t r, uint64_t n_cols, uint8_t *const out[HONE_STREAMS])
{
    uint64_t    groups = hone_grouped_groups(g, n_cols), row = hone_grouped_row_bits(g, HONE_STREAM_CODES, n_cols) / g->bits;
    size_t      whole = g->flat ? n : g->group;
    uint8_t     sign = (uint8_t)(g->sym && g->flat ? 1u << (g->bits - 1) : 0), *codes = out[HONE_STREAM_CODES], zero[HONE_LANES];
    const fits *f = &b->f;
    uint64_t    at = r * row + b->first * g->group;
    bool        of_32 = n == 32 && whole == 32;
    bool        near = f->near && HONE_LANES > 4;
    if (of_32 && near && at % 2 == 0 && g->bits == 4) put_32s(b->x, n_blocks, f, true, 4, sign, codes + at / 2);
    else if (of_32 && near && g->bits == 8) put_32s(b->x, n_blocks, f, true, 8, sign, codes + at);
    else if (of_32 && at % 2 == 0 && g->bits == 4) put_32s(b->x, n_blocks, f, false, 4, sign, codes + at / 2);
    else if (of_32 && g->bits == 8) put_32s(b->x, n_blocks, f, false, 8, sign, codes + at);
    else
        for (size_t k = 0; k < n_blocks; k++)
            put_block(b->x + k * n, n, whole, (fit){ f->scale[k], f->inverse[k], f->zero[k] }, g->bits, sign, codes, at + k * g->group);
    hone_scales_store(g->scale, out[HONE_STREAM_SCALES], r * groups + b->first, f->scale, n_blocks);
    for (size_t k = 0; k < HONE_LANES; k++) zero[k] = (uint8_t)f->zero[k];
    if (!g->sym)
        hone_codes_put(out[HONE_STREAM_ZEROS], r * (hone_grouped_row_bits(g, HONE_STREAM_ZEROS, n_cols) / g->bits) + b->first, zero, n_blocks, g->bits);
}

/* The first `whole` blocks of a row, of n numbers each.  A fit is a chain of divisions: while it waits, the codes of the blocks before it are
 * made; with 16 lanes memory is what is waited for. */
HONE_FIT_INLINE void encode_whole(const hone_grouped *g, size_t n, const float *x, uint64_t whole, uint64_t r, uint64_t n_cols, uint8_t *const out[HONE_STREAMS])
{
    blocks   b[2];
    unsigned now = 0;
    for (uint64_t k = 0; k < whole; k += HONE_LANES, now = AHEAD ? !now : now) {
        look(g, x + k * n, n, whole - k < HONE_LANES ? (size_t)(whole - k) : HONE_LANES, k, &b[now]);
        if (AHEAD == 0) put(g, &b[now], n, whole - k < HONE_LANES ? (size_t)(whole - k) : HONE_LANES, r, n_cols, out);
        else if (k > 0) put(g, &b[!now], n, HONE_LANES, r, n_cols, out);
    }
    if (AHEAD > 0 && whole > 0) put(g, &b[!now], n, (whole - 1) % HONE_LANES + 1, r, n_cols, out);
}

void HONE_LANED(hone_nbits_encode)(const hone_grouped *g, const float *x, uint64_t r, uint64_t n_cols, uint8_t *const out[HONE_STREAMS])
{
    uint64_t groups = hone_grouped_groups(g, n_cols), whole = n_cols / g->group, zeros = g->sym ? 0 : hone_grouped_row_bits(g, HONE_STREAM_ZEROS, n_cols) / g->bits;
    uint8_t  unused = 8;
    if (g->group == 32) encode_whole(g, 32, x, whole, r, n_cols, out);
    else encode_whole(g, g->group, x, whole, r, n_cols, out);
    if (whole < groups) {
        blocks last;
        size_t n = (size_t)(n_cols - whole * g->group);
        look(g, x + whole * g->group, n, 1, whole, &last);
        put(g, &last, n, 1, r, n_cols, out);
    }
    if (zeros > groups) hone_codes_put(out[HONE_STREAM_ZEROS], r * zeros + groups, &unused, 1, g->bits);
}
