#!/usr/bin/env python3
"""nncf_weights.py: digests of what NNCF's data-free weight compression makes.  Runs in the judge environment "optimum"."""

import nncf
import numpy as np
from nncf.quantization.algorithms.weight_compression.config import WeightCompressionConfig
from nncf.quantization.algorithms.weight_compression.weight_lowering import do_integer_quantization
from nncf.tensor import Tensor
from rows import ROWS, finish, flat_nibbles, line, rows

out = []
for n_cols in (384, 480):  # 480: 15 groups of 32, whose zero points share bytes over the ends of rows
    for mode, bits, sym in (("INT8_ASYM", 8, False), ("INT8_SYM", 8, True), ("INT4_ASYM", 4, False), ("INT4_SYM", 4, True)):
        for group in (0,) if bits == 8 else (0, 32) if n_cols % 128 else (0, 32, 64, 128):
            made = do_integer_quantization(Tensor(rows(ROWS, n_cols)), WeightCompressionConfig(nncf.CompressWeightsMode[mode], group_size=group or -1), (1,))
            packed = (lambda a: a.astype(np.uint8).tobytes()) if bits == 8 else flat_nibbles
            streams = [packed(made.tensor.data), made.scale.data.astype(np.float16).tobytes()]
            out.append(line("NNCF", bits, group, "F16", sym, n_cols, streams + ([] if sym else [packed(made.zero_point.data)])))
finish("grouped_nncf", f"nncf {nncf.__version__} without data", out)
