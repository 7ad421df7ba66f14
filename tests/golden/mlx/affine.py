#!/usr/bin/env python3
"""affine.py: writes tests/unit/quant/affine_golden.inc, what mx.quantize makes of the rows of tests/unit/quant/hash_row.h:
sha256 of all codes, then all scales, then all biases.  Runs in the judge environment "mlx" (--check: compares instead)."""

import hashlib
import sys
from pathlib import Path

import mlx.core as mx

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "codes"))
from rows import rows  # noqa: E402

ROWS, COLS = 24, 384
INC = Path(__file__).resolve().parents[2] / "unit" / "quant" / "affine_golden.inc"


lines = []
for name, dtype in (("F32", mx.float32), ("F16", mx.float16), ("BF16", mx.bfloat16)):
    for group in (32, 64, 128):
        for bits in (2, 3, 4, 5, 6, 8):
            made = mx.quantize(mx.array(rows(ROWS, COLS)).astype(dtype), group_size=group, bits=bits)
            h = hashlib.sha256(b"".join(bytes(memoryview(mx.view(a, mx.uint8).flatten())) for a in made)).hexdigest()
            lines.append(f'    {{ {bits}, {group}, HONE_DTYPE_{name}, "{h}" }},\n')
text = f"/* Made by tests/golden/mlx/affine.py: mx.quantize of mlx {mx.__version__} on the CPU. */\n" + "".join(lines)
if "--check" in sys.argv:
    sys.exit(0 if INC.read_text() == text else "affine_golden.inc: mlx makes other bytes today")
INC.write_text(text)
