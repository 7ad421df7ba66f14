/* fp4.h - E2M1 values doubled, as mxfp4 and nvfp4 of ggml use them (their scales are halved to match).
 * Source: OCP Microscaling Formats 1.0 table 5; ggml src/ggml-common.h kvalues_fp4.  Code 8 is -0 in the OCP table, 0 there. */
#ifndef HONE_QUANT_FP4_H
#define HONE_QUANT_FP4_H
#include <stdint.h>

static const int8_t hone_fp4_doubled[16] = { 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12 };
#endif
