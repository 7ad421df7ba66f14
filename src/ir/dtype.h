/* dtype.h - every element type hone reads or writes, with its block geometry.  Knows no file.
 * Sources: safetensors README (plain types); ggml src/ggml-common.h (block types, GGUF type ids in docs/gguf.md). */
#ifndef HONE_IR_DTYPE_H
#define HONE_IR_DTYPE_H
#include <stdbool.h>
#include <stdint.h>

/* X(enumerator, name shown to people and accepted by --quant/--keep, elements per block, bytes per block, GGUF type id or -1)
 * 4- and 6-bit safetensors floats pack several elements a byte, hence blocks of 2 and 4. */
#define HONE_DTYPES(X)                                                                                                 \
    X(F32, "f32", 1, 4, 0)                                                                                             \
    X(F16, "f16", 1, 2, 1)                                                                                             \
    X(BF16, "bf16", 1, 2, 30)                                                                                          \
    X(F64, "f64", 1, 8, 28)                                                                                            \
    X(I8, "i8", 1, 1, 24)                                                                                              \
    X(I16, "i16", 1, 2, 25)                                                                                            \
    X(I32, "i32", 1, 4, 26)                                                                                            \
    X(I64, "i64", 1, 8, 27)                                                                                            \
    X(U8, "u8", 1, 1, -1)                                                                                              \
    X(U16, "u16", 1, 2, -1)                                                                                            \
    X(U32, "u32", 1, 4, -1)                                                                                            \
    X(U64, "u64", 1, 8, -1)                                                                                            \
    X(BOOL, "bool", 1, 1, -1)                                                                                          \
    X(C64, "c64", 1, 8, -1)                                                                                            \
    X(F8_E4M3, "f8_e4m3", 1, 1, -1)                                                                                    \
    X(F8_E5M2, "f8_e5m2", 1, 1, -1)                                                                                    \
    X(F8_E8M0, "f8_e8m0", 1, 1, -1)                                                                                    \
    X(F8_E4M3FNUZ, "f8_e4m3fnuz", 1, 1, -1)                                                                            \
    X(F8_E5M2FNUZ, "f8_e5m2fnuz", 1, 1, -1)                                                                            \
    X(F4, "f4", 2, 1, -1)                                                                                              \
    X(F6_E2M3, "f6_e2m3", 4, 3, -1)                                                                                    \
    X(F6_E3M2, "f6_e3m2", 4, 3, -1)                                                                                    \
    X(Q4_0, "q4_0", 32, 18, 2)                                                                                         \
    X(Q4_1, "q4_1", 32, 20, 3)                                                                                         \
    X(Q5_0, "q5_0", 32, 22, 6)                                                                                         \
    X(Q5_1, "q5_1", 32, 24, 7)                                                                                         \
    X(Q8_0, "q8_0", 32, 34, 8)                                                                                         \
    X(Q2_K, "q2_k", 256, 84, 10)                                                                                       \
    X(Q3_K, "q3_k", 256, 110, 11)                                                                                      \
    X(Q4_K, "q4_k", 256, 144, 12)                                                                                      \
    X(Q5_K, "q5_k", 256, 176, 13)                                                                                      \
    X(Q6_K, "q6_k", 256, 210, 14)                                                                                      \
    X(IQ2_XXS, "iq2_xxs", 256, 66, 16)                                                                                 \
    X(IQ2_XS, "iq2_xs", 256, 74, 17)                                                                                   \
    X(IQ3_XXS, "iq3_xxs", 256, 98, 18)                                                                                 \
    X(IQ1_S, "iq1_s", 256, 50, 19)                                                                                     \
    X(IQ4_NL, "iq4_nl", 32, 18, 20)                                                                                    \
    X(IQ3_S, "iq3_s", 256, 110, 21)                                                                                    \
    X(IQ2_S, "iq2_s", 256, 82, 22)                                                                                     \
    X(IQ4_XS, "iq4_xs", 256, 136, 23)                                                                                  \
    X(IQ1_M, "iq1_m", 256, 56, 29)                                                                                     \
    X(TQ1_0, "tq1_0", 256, 54, 34)                                                                                     \
    X(TQ2_0, "tq2_0", 256, 66, 35)                                                                                     \
    X(MXFP4, "mxfp4", 32, 17, 39)                                                                                      \
    X(NVFP4, "nvfp4", 64, 36, 40)                                                                                      \
    X(Q1_0, "q1_0", 128, 18, 41)                                                                                       \
    X(Q2_0, "q2_0", 64, 18, 42)

typedef enum hone_dtype {
#define HONE_X(e, name, block, bytes, gguf) HONE_DTYPE_##e,
    HONE_DTYPES(HONE_X)
#undef HONE_X
        HONE_DTYPE_COUNT
} hone_dtype;

typedef struct hone_dtype_info {
    const char *name;
    uint32_t    block_elems; /* elements per block; rows must hold a whole number of blocks */
    uint32_t    block_bytes;
    int         gguf_id; /* -1: GGUF has no such type */
} hone_dtype_info;

/* Never NULL for a valid enumerator. */
const hone_dtype_info *hone_dtype_get(hone_dtype t);
static inline const char *hone_dtype_name(hone_dtype t) { return hone_dtype_get(t)->name; }

/* false when no type has that name / GGUF id. */
bool hone_dtype_from_name(const char *name, hone_dtype *out);
bool hone_dtype_from_gguf(uint32_t gguf_id, hone_dtype *out);

/* Bytes of n elements; false when n is no multiple of the block or the product does not fit. */
bool hone_dtype_bytes(hone_dtype t, uint64_t n, uint64_t *bytes);

/* True for types whose numbers are the weights themselves.  Integers, truth values and 4- to 6-bit floats are parts of a quantised
 * weight: they mean nothing without scales that stand elsewhere. */
bool hone_dtype_is_float(hone_dtype t);
#endif
