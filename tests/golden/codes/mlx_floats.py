#!/usr/bin/env python3
"""mlx_floats.py: digests of what mx.quantize makes in its modes mxfp4, nvfp4 and mxfp8.  Runs in the judge environment "mlx"."""

import mlx.core as mx
from rows import ROWS, finish, line, rows

out = []
for mode, bits, group in (("mxfp4", 4, 32), ("nvfp4", 4, 16), ("mxfp8", 8, 32)):
    for name, dtype in (("F32", mx.float32), ("F16", mx.float16), ("BF16", mx.bfloat16)):
        made = mx.quantize(mx.array(rows(ROWS, 384)).astype(dtype), mode=mode)
        out.append(line(f"MLX_{mode.upper()}", bits, group, name, False, 384, [bytes(memoryview(mx.view(a, mx.uint8).flatten())) for a in made]))
finish("grouped_mlx", f"mx.quantize of mlx {mx.__version__} on the CPU", out)
