#!/usr/bin/env python3
"""onnx_blocks.py: digests of what the default algorithm of MatMulNBitsQuantizer makes.  Runs in the judge environment "builder"."""

import numpy as np
import onnxruntime
from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, DefaultWeightOnlyQuantizer
from rows import ROWS, finish, line, rows

out = []
for n_cols in (384, 376):  # 376: the last block of a row is not full
    for bits in (4, 8):
        for sym in (True, False):
            for group in (16, 32, 64, 128, 256):
                for name, dtype in (("F32", np.float32), ("F16", np.float16)):
                    config = DefaultWeightOnlyQuantConfig(block_size=group, is_symmetric=sym, bits=bits)
                    w = np.ascontiguousarray(rows(ROWS, n_cols).astype(dtype).T)
                    codes, scales, zeros = DefaultWeightOnlyQuantizer(config).qbits_block_quant(w)
                    out.append(line("ONNX", bits, group, name, sym, n_cols, [codes.tobytes(), scales.tobytes()] + ([] if sym else [zeros.tobytes()])))
finish("grouped_onnx", f"MatMulNBitsQuantizer of onnxruntime {onnxruntime.__version__}", out)
