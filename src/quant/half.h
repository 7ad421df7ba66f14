/* half.h - float32 <-> the 16-bit floats, exact and without a branch, so that a loop over a row vectorises.
 * Rounding is to nearest, ties to even, whatever the CPU offers (F16C, NEON and this agree on every input).
 * Source: IEEE 754-2019 3.4; the subnormal step is the "let the adder round" method of ggml_compute_fp32_to_fp16 and of
 * Maratyszcza/FP16.  NaN: quiet; binary16 drops the payload, bfloat16 keeps its upper bits (ggml src/ggml-impl.h). */
#ifndef HONE_QUANT_HALF_H
#define HONE_QUANT_HALF_H
#include "base/bytes.h"

static inline float hone_f32_of(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}
static inline uint32_t hone_f32_bits(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

/*  binary16   s eeeee mmmmmmmmmm        bias 15        subnormal unit 2^-24
 *  binary32   s eeeeeeee mmmmmmmmmm...  bias 127       the same 10 bits, 13 more below them */
static inline uint16_t hone_f16_from_f32(float f)
{
    uint32_t w = hone_f32_bits(f), sign = (w >> 16) & 0x8000u, a = w & 0x7fffffffu;
    /* 0.5 + |f| has an ulp of 2^-24: the addition itself rounds to the subnormal grid. */
    uint32_t small = hone_f32_bits(hone_f32_of(a) + 0.5f) - 0x3f000000u;
    uint32_t usual = (a - 0x38000000u + 0xfffu + ((a >> 13) & 1u)) >> 13;
    uint32_t h = a < 0x38800000u ? small : usual; /* 2^-14, the smallest normal */
    h = a >= 0x47800000u ? 0x7c00u : h;           /* 2^16 and above; 65520..65535 carry into infinity by themselves */
    h = a > 0x7f800000u ? 0x7e00u : h;
    return (uint16_t)(sign | h);
}
static inline float hone_f32_from_f16(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, em = h & 0x7fffu;
    uint32_t usual = (em << 13) + 0x38000000u;
    uint32_t huge = ((em << 13) + 0x70000000u) | (em > 0x7c00u ? 0x400000u : 0u);
    uint32_t small = hone_f32_bits((float)(int32_t)em * 0x1p-24f);
    uint32_t a = em < 0x400u ? small : usual;
    a = em >= 0x7c00u ? huge : a;
    return hone_f32_of(sign | a);
}

/* bfloat16 is the upper half of binary32. */
static inline uint16_t hone_bf16_from_f32(float f)
{
    uint32_t w = hone_f32_bits(f);
    uint32_t rounded = (w + 0x7fffu + ((w >> 16) & 1u)) >> 16, quiet = (w >> 16) | 0x40u;
    return (uint16_t)((w & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
}
static inline float hone_f32_from_bf16(uint16_t h) { return hone_f32_of((uint32_t)h << 16); }

/* NaN becomes the plain positive one: whether a computed NaN is negative depends on the CPU (x86 makes negative ones, Arm positive) and on
 * the compiler's order of operands. */
static inline float hone_one_nan(float f) { return f == f ? f : hone_f32_of(0x7fc00000u); }

/* A scale, to and from the little-endian bytes of a block.  NaN is stored as 0x7e00. */
static inline float hone_f16_load(const uint8_t p[2]) { return hone_f32_from_f16(hone_le16(p)); }
static inline void hone_f16_store(uint8_t p[2], float f) { hone_put_le16(p, f == f ? hone_f16_from_f32(f) : 0x7e00u); }
#endif
