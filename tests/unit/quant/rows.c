#include "quant/rows.h"
#include "quant/half.h"
#include <assert.h>
#include <stdlib.h>

const char *row_kind_text(row_kind kind)
{
    static const char *const text[] = {
#define X(e, what) what,
        ROW_KINDS(X)
#undef X
    };
    return text[kind];
}

/* Marsaglia's xorshift64*, mixed once by the seed. */
typedef struct dice {
    uint64_t s;
} dice;
static uint32_t roll(dice *d)
{
    d->s ^= d->s >> 12;
    d->s ^= d->s << 25;
    d->s ^= d->s >> 27;
    return (uint32_t)(d->s * 0x2545f4914f6cdd1du >> 32);
}
/* 0..1, 24 bits */
static float fraction(dice *d) { return (float)(roll(d) >> 8) * 0x1p-24f; }
/* The sum of twelve fractions less 6: spread 1 and nearly bell-shaped.  In integers, so exact. */
static float bell(dice *d)
{
    int32_t sum = -6 * 65536;
    for (int i = 0; i < 12; i++) sum += (int32_t)(roll(d) >> 16);
    return (float)sum * 0x1p-16f;
}

static float number(row_kind kind, dice *d, uint64_t seed)
{
    switch (kind) {
    case ROW_WEIGHTS: return 0.02f * bell(d);
    case ROW_HEAVY: {
        float f = fraction(d);
        return 0.02f * bell(d) / (f * f + 0.001f);
    }
    case ROW_OUTLIERS: return roll(d) % 1000 == 0 ? 1000 * bell(d) : 0.01f * bell(d);
    case ROW_ZERO: return roll(d) & 1 ? 0.0f : -0.0f;
    case ROW_CONSTANT: return (float)(seed % 7) - 3;
    case ROW_SPARSE: return roll(d) % 40 == 0 ? bell(d) : 0;
    case ROW_POSITIVE: return fraction(d);
    case ROW_NEGATIVE: return -3 - 0.001f * fraction(d);
    case ROW_INTEGERS: return (float)(roll(d) % 9) - 4;
    case ROW_SMALL: return 1e-14f * bell(d) * fraction(d);
    case ROW_DENORMAL: return hone_f32_of((roll(d) & 0x80000000u) | (roll(d) & 0x3fffu));
    case ROW_ANY: {
        uint32_t bits = roll(d);
        return (bits & 0x7f800000u) == 0x7f800000u ? 1 : hone_f32_of(bits);
    }
    case ROW_INFINITE: return roll(d) % 100 ? bell(d) : hone_f32_of(0x7f800000u | (roll(d) & 0x80000000u));
    case ROW_NOT_A_NUMBER: return roll(d) % 100 ? bell(d) : hone_f32_of(0x7fc00000u | (roll(d) & 0x80000000u));
    case ROW_ALL_NAN: return hone_f32_of(0x7fc00000u);
    case ROW_NORMAL:
    case ROW_COUNT: break;
    }
    return bell(d);
}

void rows_fill(row_kind kind, uint64_t seed, float *x, size_t n)
{
    dice d = { (seed * 64 + (uint64_t)kind + 1) * 0x9e3779b97f4a7c15u };
    for (size_t i = 0; i < n; i++) x[i] = number(kind, &d, seed);
}

void rows_importance(uint64_t seed, float *w, size_t n)
{
    dice d = { (seed * 64 + 63) * 0x9e3779b97f4a7c15u };
    for (size_t i = 0; i < n; i++) {
        float f = fraction(&d);
        w[i] = roll(&d) % 50 == 0 ? 0 : 10 * f * f * f;
    }
}

uint64_t rows_hash(rows_encoder *encode, void *ctx, bool with_importance, row_kind first, row_kind last)
{
    static const size_t widths[] = { 256, 512, 1280, 4096 };
    enum { MOST = 4096 };
    float *x = malloc(2 * MOST * sizeof *x), *w = x + MOST;
    uint8_t *out = malloc(4 * MOST);
    assert(x && out);
    uint64_t hash = 0xcbf29ce484222325u;
    for (int kind = (int)first; kind <= (int)last; kind++)
        for (uint64_t i = 0; i < sizeof widths / sizeof widths[0]; i++) {
            rows_fill((row_kind)kind, i, x, widths[i]);
            rows_importance(i, w, widths[i]);
            size_t n = encode(ctx, x, out, widths[i], with_importance ? w : NULL);
            for (size_t b = 0; b < n; b++) hash = (hash ^ out[b]) * 0x100000001b3u;
        }
    free(x);
    free(out);
    return hash;
}

uint64_t rows_decoded_hash(rows_decoder *decode, void *ctx, size_t block_bytes, size_t block_elems)
{
    enum { BLOCKS = 1024 };
    uint8_t *in = malloc(BLOCKS * block_bytes);
    float *x = malloc(BLOCKS * block_elems * sizeof *x);
    assert(in && x);
    dice d = { 4242 };
    for (size_t i = 0; i < BLOCKS * block_bytes; i++) in[i] = (uint8_t)(roll(&d) >> 24);
    decode(ctx, in, x, BLOCKS * block_elems);
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < BLOCKS * block_elems; i++) {
        uint32_t bits = x[i] == x[i] ? hone_f32_bits(x[i]) : 0x7fc00000u;
        for (int b = 0; b < 32; b += 8) hash = (hash ^ (bits >> b & 255)) * 0x100000001b3u;
    }
    free(in);
    free(x);
    return hash;
}
