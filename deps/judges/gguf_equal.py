#!/usr/bin/env python3
"""gguf_equal.py OURS THEIRS: compares two GGUF files with llama.cpp's own reader, found through HONE_LLAMACPP.

Prints one line per difference and "tensors: N equal of M" last; exit 1 when a tensor differs in shape, type or bytes, or
when a metadata key that both have differs in value.  Keys of one side only are named and are no failure."""

import os
import sys

sys.path.insert(0, os.path.join(os.environ["HONE_LLAMACPP"], "share", "llama.cpp", "gguf-py"))
from gguf import GGUFReader  # noqa: E402

ours, theirs = (GGUFReader(p) for p in sys.argv[1:3])
bad = 0


def value(field):
    return [p.tolist() for p in (field.parts[i] for i in field.data)] if field.data else None


def short(v):
    text = repr(v)
    return text if len(text) < 80 else text[:77] + "..."


for key in sorted(set(ours.fields) | set(theirs.fields)):
    a, b = ours.fields.get(key), theirs.fields.get(key)
    if key.startswith("GGUF."):
        continue
    if a is None or b is None:
        print(f"key '{key}' only in {'theirs' if a is None else 'ours'}")
    elif a.types != b.types or value(a) != value(b):
        print(f"key '{key}': ours {a.types[0].name} {short(a.contents())}, theirs {b.types[0].name} {short(b.contents())}")
        bad += 1

a_of = {t.name: t for t in ours.tensors}
b_of = {t.name: t for t in theirs.tensors}
equal = 0
for name in sorted(set(a_of) | set(b_of)):
    a, b = a_of.get(name), b_of.get(name)
    if a is None or b is None:
        print(f"tensor '{name}' only in {'theirs' if a is None else 'ours'}")
    elif a.tensor_type != b.tensor_type or a.shape.tolist() != b.shape.tolist():
        print(f"tensor '{name}': ours {a.tensor_type.name} {a.shape.tolist()}, theirs {b.tensor_type.name} {b.shape.tolist()}")
    elif a.data.tobytes() != b.data.tobytes():
        x, y = a.data.reshape(-1).view("u1"), b.data.reshape(-1).view("u1")
        print(f"tensor '{name}': {int((x != y).sum())} of {x.size} bytes differ")
    else:
        equal += 1
total = len(set(a_of) | set(b_of))
print(f"tensors: {equal} equal of {total}")
sys.exit(1 if bad or equal != total else 0)
