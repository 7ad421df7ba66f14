/* golden.h - FNV-1a hashes of what ggml's encoders make of the rows of rows.h (rows_hash), for machines without llama.cpp.
 * Made by ggml_quantize_chunk of the libggml-base in llama-cpp-python 0.3.36 (llama.cpp 0c1e570), gcc 12.2, x86-64; test_ggml.c
 * makes them again wherever that library is. */
#ifndef HONE_TEST_QUANT_GOLDEN_H
#define HONE_TEST_QUANT_GOLDEN_H
#include <stdint.h>

typedef struct quant_golden {
    const char *name;
    uint64_t    without, with_importance;
} quant_golden;

static const quant_golden quant_goldens[] = {
    { "f32", 0x948b2463fc7d8d4d, 0x948b2463fc7d8d4d },
    { "f16", 0x081f32725c896b06, 0x081f32725c896b06 },
    { "bf16", 0x1d1126a8cfec43c1, 0x1d1126a8cfec43c1 },
    { "q4_0", 0xc6bd52835b54f394, 0xe08a18520931d8b8 },
    { "q4_1", 0x01bba5038d3b5911, 0xfe2b4d218132fcdb },
    { "q5_0", 0x8acefb172462c301, 0x963a3a2a2f5dd0a6 },
    { "q5_1", 0xcae35ea3be2f99bb, 0x3eab1cf9c0f7267a },
    { "q8_0", 0x85f23fc6d7721708, 0x85f23fc6d7721708 },
    { "q2_k", 0x75af8fc4b9e544e1, 0x108a9364769e1ed1 },
    { "q3_k", 0x5dbbf113cf8b9d07, 0xd66e26c4a5f32c97 },
    { "q4_k", 0x6053847ae29617fd, 0x8649b27a1a88d39e },
    { "q5_k", 0x4948373b55a32a84, 0x77aab8ecb0581223 },
    { "q6_k", 0x58a0abfee4dc2cf8, 0x5ac92f41b63eeaa9 },
    { "iq4_nl", 0xd723049bb11386f4, 0x1355ca794a520e52 },
    { "iq4_xs", 0x5915e155ba38db25, 0x221569f1fd6deee0 },
};
/* All of the above together, over the rows that make ggml convert out of range: our own bytes, the same from every compiler and
 * CPU.  Made by hone's codecs with gcc 12.2 and clang 14 on x86-64 and gcc 12.2 on aarch64. */
static const uint64_t quant_golden_odd = 0xf38b8e15be5c8159;

/* Of the encoders that are our own, whose bytes are not ggml's (quant/grid_fit.h): made as the above, over the usual rows, and over the odd ones. */
static const struct {
    const char *name;
    uint64_t    without, with_importance, odd;
} quant_own_goldens[] = {
    { "iq2_xxs", 0x0cd16d5ff83bf169, 0xc2d31252ce51acdf, 0xd449a77ad82d6c8b },
    { "iq2_xs", 0x18b3e38155c5120a, 0x8d862b9978f6a411, 0xcb9ab19516da86de },
    { "iq2_s", 0x894855f3afef9a0e, 0x3a4363c46eaaa2a3, 0xc25b497cab8748ca },
    { "iq3_xxs", 0xa2e68e182580aed5, 0xfd6037539bfe43fe, 0x627eaa2e82941c2d },
    { "iq3_s", 0xd6297ba74194166c, 0xde20ec9679df540b, 0x100a27410a932574 },
};

/* What ggml's decoders make of blocks of any bytes (rows_decoded_hash), of the types whose numbers stand in tables. */
static const struct {
    const char *name;
    uint64_t    hash;
} quant_decoded_goldens[] = {
    { "iq2_xxs", 0x71a99836d73521aa },
    { "iq2_xs", 0xb62d83354a9d6c82 },
    { "iq2_s", 0xb9daccc0a122319b },
    { "iq3_xxs", 0x0668190a4d04b291 },
    { "iq3_s", 0x6819aa7738abc6f1 },
};

enum { QUANT_GOLDEN_COUNT = sizeof quant_goldens / sizeof quant_goldens[0] };
#endif
