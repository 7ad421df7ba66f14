#!/usr/bin/env python3
"""mlx_sums.py: what docs/PLAN.md says of MLX on a processor is still so; in the environment "mlx" of tools/judge, seconds.

MLX's quantized_matmul on the CPU keeps its sum in the type of its input where it has no SIMD (mlx/backend/cpu/quantized.cpp, _qmm_t: `T sum = 0`, all of
x86-64).  Here the product is computed a second time, one column after the other with the sum rounded to that type at each, and both must be equal in every
bit; and the same operands in float32 must give less than a tenth of the error.  Exit 1 when either no longer holds: then the page, and the way in which
plans for MLX are measured (src/flow/plan/whole.h), want another look."""

import sys

import mlx.core as mx
import numpy as np


def one(t, bits, group):
    rng = np.random.default_rng(7)
    x = mx.array(rng.standard_normal((8, 256), np.float32)).astype(t)
    w, scales, biases = mx.quantize(mx.array(rng.standard_normal((512, 256), np.float32)).astype(t), group, bits)
    got = mx.quantized_matmul(x, w, scales, biases, True, group, bits)
    numbers = mx.dequantize(w, scales, biases, group, bits)
    sums = mx.zeros(got.shape, t)
    for k in range(x.shape[1]):
        sums = sums + x[:, k:k + 1] * numbers[:, k][None, :]
    wide = mx.quantized_matmul(*(v.astype(mx.float32) if v.dtype == t else v for v in (x, w, scales, biases)), True, group, bits)
    exact = np.array(x.astype(mx.float32)).astype(np.float64) @ np.array(mx.dequantize(w, *(v.astype(mx.float32) for v in (scales, biases)), group, bits)).astype(np.float64).T
    off = [float(np.sqrt(np.mean((np.array(v.astype(mx.float32)) - exact) ** 2))) for v in (got, wide)]
    same = float(mx.mean((sums == got).astype(mx.float32)))
    print(f"{t}, int{bits} g{group}: {100 * same:.2f} % equal to a sum that is rounded at each step; error {off[0]:.2g}, in float32 {off[1]:.2g}")
    return same == 1 and off[1] < off[0] / 10


if __name__ == "__main__":
    mx.set_default_device(mx.cpu)
    sys.exit(0 if all([one(t, bits, 64) for t in (mx.bfloat16, mx.float16) for bits in (4, 8)]) else 1)
