"""rows.py: the rows of tests/unit/quant/hash_row.h, and the files of digests that the programs beside this one make of them."""

import hashlib
import sys
from pathlib import Path

import numpy as np

ROWS = 32  # NNCF takes another way below 10000 numbers


def rows(n_rows, n_cols):
    r, c = np.arange(n_rows, dtype=np.uint32)[:, None], np.arange(n_cols, dtype=np.uint32)[None, :]
    h = ((r * np.uint32(n_cols) + c + np.uint32(1)) * np.uint32(2654435761)).astype(np.uint32)
    x = ((h >> np.uint32(19)).astype(np.int32) - 4096).astype(np.float32) / np.float32(4096) * (1 << (r % 5)).astype(np.float32)
    x[1], x[2], x[3], x[4], x[5] = 0, 0.75, -0.75, np.abs(x[4]), -np.abs(x[5])
    x[6, np.arange(n_cols) % 64 != 7] = 0
    x[7] *= np.float32(2.0**-20)
    x[8] *= np.float32(2.0**-30)
    x[9, np.arange(n_cols) % 50 == 0] *= 64
    return x


def flat_nibbles(codes):
    """Codes of 4 bits in one stream, low nibble first."""
    c = np.concatenate([codes.ravel().astype(np.uint8) & 15, np.zeros(codes.size % 2, np.uint8)])
    return (c[0::2] | c[1::2] << 4).tobytes()


def line(scheme, bits, group, scale, sym, n_cols, streams):
    digest = hashlib.sha256(b"".join(streams)).hexdigest()
    return f'    {{ {{ HONE_SCHEME_{scheme}, {bits}, {group}, HONE_DTYPE_{scale}, {str(sym).lower()}, false }}, {n_cols}, "{digest}" }},\n'


def finish(name, who, lines):
    """Writes tests/unit/quant/<name>.inc; --check: compares instead."""
    inc = Path(__file__).resolve().parents[2] / "unit" / "quant" / f"{name}.inc"
    text = f"/* Made by tests/golden/codes/{Path(sys.argv[0]).name}: {who}. */\n" + "".join(lines)
    if "--check" in sys.argv:
        sys.exit(0 if inc.read_text() == text else f"{inc.name}: {who} makes other bytes today")
    inc.write_text(text)
