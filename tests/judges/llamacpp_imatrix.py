#!/usr/bin/env python3
"""llama-imatrix and llama-quantize judge `hone calibrate`: the same sums and counts, files that each side reads of the other, and the same bytes of
a model that was quantised with them; and of files of iq2_* and iq3_*, which llama-quantize makes with such a matrix only, the same numbers out of either.

Usage: llamacpp_imatrix.py HONE BIN TEXT MODEL...    exit 0 when all agree"""

import array
import math
import os
import struct
import subprocess
import sys
import tempfile

CONTEXT, CHUNKS = 128, 3
TOLERANCE = 1e-4  # llama-imatrix adds up in float32, hone in float64


def read_gguf(path):
    """{key: value}, {tensor: (dims, floats)}: f32 tensors only, others as None."""
    data, at = open(path, "rb").read(), 4

    def take(fmt):
        nonlocal at
        v = struct.unpack_from("<" + fmt, data, at)[0]
        at += struct.calcsize("<" + fmt)
        return v

    def text():
        nonlocal at
        n = take("Q")
        at += n
        return data[at - n : at].decode("utf-8", "replace")

    scalar = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
    assert data[:4] == b"GGUF"
    take("I")
    n_tensors, n_keys, keys, infos, tensors = take("Q"), take("Q"), {}, [], {}
    for _ in range(n_keys):
        key, kind = text(), take("I")
        if kind == 8:
            keys[key] = text()
        elif kind == 9:
            elem, n = take("I"), take("Q")
            keys[key] = [text() if elem == 8 else take(scalar[elem]) for _ in range(n)]
        else:
            keys[key] = take(scalar[kind])
    for _ in range(n_tensors):
        name = text()
        dims = [take("Q") for _ in range(take("I"))]
        infos.append((name, dims, take("I"), take("Q")))
    base = (at + 31) // 32 * 32
    offsets = sorted([i[3] for i in infos] + [len(data) - base])
    for name, dims, kind, off in infos:
        raw = data[base + off : base + offsets[offsets.index(off) + 1]]
        tensors[name] = (dims, raw, array.array("f", raw[: 4 * math.prod(dims)]) if kind == 0 else None)
    return keys, tensors


def run(*words):
    p = subprocess.run(words, capture_output=True, text=True, errors="replace")
    if p.returncode != 0:
        sys.exit(f"FAIL: {' '.join(words)}: exit {p.returncode}: {p.stderr[-800:]}")
    return p


def compare_sums(name, theirs, ours):
    (_, a), (_, b) = read_gguf(theirs), read_gguf(ours)
    worst, bad = 0.0, 0
    for tensor, (_, _, x) in a.items():
        if tensor not in b:
            print(f"FAIL: {name}: llama-imatrix has '{tensor}', hone has not")
            bad += 1
            continue
        y = b[tensor][2]
        if len(x) != len(y) or (tensor.endswith(".counts") and x != y):
            print(f"FAIL: {name}: '{tensor}' has other counts")
            bad += 1
        elif tensor.endswith(".in_sum2"):
            top = max(x)
            worst = max(worst, max(abs(p - q) / (p + 1e-6 * top + 1e-30) for p, q in zip(x, y)))
    if worst > TOLERANCE:
        print(f"FAIL: {name}: sums differ by {worst:.2e}, more than {TOLERANCE}")
        bad += 1
    print(f"{name}: {len(a)} tensors of llama-imatrix, largest relative difference of sums {worst:.1e}, of counts 0")
    return bad


def compare_models(name, quant, theirs, ours):
    """The bytes of every tensor."""
    (_, a), (_, b) = read_gguf(theirs), read_gguf(ours)
    wrong = [t for t in a if t not in b or a[t][1].rstrip(b"\0") != b[t][1].rstrip(b"\0")] + [t for t in b if t not in a]
    if wrong:
        print(f"FAIL: {name} {quant}: {len(wrong)} of {len(a)} tensors have other bytes than llama-quantize gives them: {wrong[:4]}")
    else:
        print(f"{name} {quant}: {len(a)} tensors byte by byte as llama-quantize gives them")
    return bool(wrong)


def judge_tables(hone, tools, name, plain, matrix, tmp):
    """These three mixes hold all five types of iq2_* and iq3_*: decoded to f32 by hone and by llama-quantize, every bit agrees."""
    bad, peer, theirs = 0, f"{tmp}/peer.gguf", f"{tmp}/peer-f32.gguf"
    for quant in ("iq2_xxs", "iq2_s", "iq3_xxs"):
        run(f"{tools}/llama-quantize", "--imatrix", matrix, plain, peer, quant, "1")
        run(f"{tools}/llama-quantize", "--allow-requantize", peer, theirs, "f32", "1")
        run(hone, "convert", peer, "--quant", "f32", "-o", tmp, "--name", "back", "-q")
        bad += compare_models(f"{name}, back from {quant},", "f32", theirs, f"{tmp}/back-f32.gguf")
    return bad


def judge(hone, tools, text, model, tmp):
    name, bad = os.path.basename(model), 0
    run(hone, "convert", model, "--quant", "bf16", "-o", tmp, "--name", name, "-q")
    plain, theirs, ours = f"{tmp}/{name}-bf16.gguf", f"{tmp}/{name}-theirs.gguf", f"{tmp}/{name}-ours.gguf"
    run(f"{tools}/llama-imatrix", "-m", plain, "-f", text, "-o", theirs, "-c", str(CONTEXT), "-b", str(CONTEXT), "--chunks", str(CHUNKS), "-t", "1", "--no-ppl")
    run(hone, "calibrate", model, "--data", text, "--context", str(CONTEXT), "--max-tokens", str(CONTEXT * CHUNKS), "--hessian", "-o", ours, "-t", "1", "-q")
    bad += compare_sums(name, theirs, ours)
    for kind, matrix, quant in (("hone's", ours, "q3_k_m"), ("llama-imatrix's", theirs, "q4_k_m")):
        peer = f"{tmp}/peer.gguf"
        p = run(f"{tools}/llama-quantize", "--imatrix", matrix, plain, peer, quant, "1")
        if "importance matrix entries" not in p.stdout + p.stderr:
            print(f"FAIL: llama-quantize does not say that it read {matrix}")
            bad += 1
        run(hone, "convert", model, "--quant", quant, "--imatrix", matrix, "-o", tmp, "--name", "own", "-q")
        bad += compare_models(f"{name} with {kind} matrix", quant, peer, f"{tmp}/own-{quant}.gguf")
    if name == "tale-8m":
        bad += judge_tables(hone, tools, name, plain, ours, tmp)
    return bad


def main():
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    hone, tools, text = sys.argv[1:4]
    with tempfile.TemporaryDirectory() as tmp:
        return sum(judge(hone, tools, text, m, tmp) for m in sys.argv[4:])


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
