#!/usr/bin/env python3
"""affine.py: writes tests/unit/quant/affine_golden.inc, what mx.quantize makes of the rows of tests/unit/quant/test_affine.c:
sha256 of all codes, then all scales, then all biases.  Runs in the judge environment "mlx" (--check: compares instead)."""

import hashlib
import sys
from pathlib import Path

import mlx.core as mx
import numpy as np

ROWS, COLS = 24, 384
INC = Path(__file__).resolve().parents[2] / "unit" / "quant" / "affine_golden.inc"


def rows():
    r, c = np.arange(ROWS, dtype=np.uint32)[:, None], np.arange(COLS, dtype=np.uint32)[None, :]
    h = ((r * np.uint32(COLS) + c + np.uint32(1)) * np.uint32(2654435761)).astype(np.uint32)
    x = ((h >> np.uint32(19)).astype(np.int32) - 4096).astype(np.float32) / np.float32(4096) * (1 << (r % 5)).astype(np.float32)
    x[1], x[2], x[3], x[4], x[5] = 0, 0.75, -0.75, np.abs(x[4]), -np.abs(x[5])
    x[6, np.arange(COLS) % 64 != 7] = 0
    x[7] *= np.float32(2.0**-20)
    x[8] *= np.float32(2.0**-30)
    x[9, np.arange(COLS) % 50 == 0] *= 64
    return mx.array(x)


lines = []
for name, dtype in (("F32", mx.float32), ("F16", mx.float16), ("BF16", mx.bfloat16)):
    for group in (32, 64, 128):
        for bits in (2, 3, 4, 5, 6, 8):
            made = mx.quantize(rows().astype(dtype), group_size=group, bits=bits)
            h = hashlib.sha256(b"".join(bytes(memoryview(mx.view(a, mx.uint8).flatten())) for a in made)).hexdigest()
            lines.append(f'    {{ {bits}, {group}, HONE_DTYPE_{name}, "{h}" }},\n')
text = f"/* Made by tests/golden/mlx/affine.py: mx.quantize of mlx {mx.__version__} on the CPU. */\n" + "".join(lines)
if "--check" in sys.argv:
    sys.exit(0 if INC.read_text() == text else "affine_golden.inc: mlx makes other bytes today")
INC.write_text(text)
