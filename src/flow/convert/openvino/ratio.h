/* ratio.h - which weights of an int4 OpenVINO model keep 8 bits when --ratio asks for fewer at 4. */
#ifndef HONE_FLOW_CONVERT_OPENVINO_RATIO_H
#define HONE_FLOW_CONVERT_OPENVINO_RATIO_H
#include "base/ctx.h"
#include "formats/openvino.h"

/* Of the slots that got 4 bits, those that suffer most from 8 bits keep them until `ratio` of all such weights have 4, the others get backup:
 * NNCF's criterion without data, 1 / (largest row mean of the squared error of int8_asym + eps), weights in rising order of it.  Reads every
 * such weight once, on the threads of ctx.
 * Source: nncf/quantization/algorithms/weight_compression/mixed_precision.py (WeightQuantizationErrorCriterion, MixedPrecisionCriterion). */
hone_code hone_ov_apply_ratio(const hone_ctx *ctx, const hone_model *m, hone_ov_slot *slots, size_t n, double ratio, const hone_grouped *backup,
                              hone_arena *a, hone_err *err);
#endif
