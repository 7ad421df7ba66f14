#!/usr/bin/env python3
"""peer.py [--check] [NAME...]: writes tests/golden/peer/<name>.json: what llama.cpp's own tools make of a checkpoint.

With --check nothing is written: what the tools make today is compared with the files there; exit 1 when one differs.

For each model: convert_hf_to_gguf.py --outtype f32, then llama-quantize for every mix asked for, and convert_hf_to_gguf.py --outtype f16.
A golden file holds the metadata keys that matter (arrays as count and sha256 of their packed values) and every tensor's type, shape
(outermost first) and the sha256 of its bytes.  tests/unit/flow/test_peer.c compares ours.

mix.json holds what llama-quantize --dry-run chooses for shapes that no small checkpoint has: 80 layers, eight experts, odd widths.

Runs in the judge environment "convert": HONE_LLAMACPP=$(deps/llamacpp.sh --prefix) $(tools/judge convert) tests/judges/peer.py"""

import difflib
import hashlib
import json
import os
import re
import struct
import subprocess
import sys
import tempfile

import numpy as np

root = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
prefix = os.environ["HONE_LLAMACPP"]
sys.path.insert(0, os.path.join(prefix, "share", "llama.cpp", "gguf-py"))
import gguf  # noqa: E402
import transformers  # noqa: E402

QUANTIZE = os.path.join(os.environ.get("HONE_LLAMACPP_TOOLS", prefix), "bin", "llama-quantize")
UNKNOWN_PRE = "unknown-to-the-converter"
# Names and labels for people, guessed from the folder's name.
SKIP = ("GGUF.", "general.name", "general.basename", "general.size_label", "general.finetune", "general.version")

TINY = ["llama", "mistral", "qwen2", "qwen3", "phi3", "gemma2", "gemma3", "smollm3", "olmo2", "granite", "stablelm", "starcoder2", "gpt2",
        "gpt_neox", "mixtral", "qwen3_moe", "olmoe", "bert"]
ALL = ["q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q2_k", "q3_k_s", "q3_k_m", "q3_k_l", "q4_k_s", "q4_k_m", "q5_k_s", "q5_k_m", "q6_k", "iq4_nl",
       "iq4_xs"]
GRIDS = ["iq2_xxs", "iq2_xs", "iq2_s", "iq2_m", "iq3_xxs", "iq3_xs", "iq3_s", "iq3_m"]
MODELS = {n: ("tests/golden/tiny/" + n, ["q4_k_m"]) for n in TINY}
MODELS["qwen3_moe"] = (MODELS["qwen3_moe"][0], ["q4_k_m", "q3_k_m", "iq4_xs"])  # eight experts
MODELS["tale-8m"] = ("examples/models/tale-8m", ALL)
MODELS["tale-moe"] = ("tests/golden/tale-moe", ["q4_k_m", "q5_k_m", "q3_k_l"])

# Where ours differs, and why that is right.  The test insists that each of these does differ.
SPACES = "the runs of spaces are added tokens that transformers matches before it normalises: they never meet a space; the converter spells them as spaces"
ON_PURPOSE = {
    "gemma2": {"tokenizer.ggml.tokens": SPACES, "tokenizer.ggml.scores": SPACES, "tokenizer.ggml.token_type": SPACES,
               "blk.0.attn_q.weight": "query_pre_attn_scalar is folded into q: llama.cpp ignores it (src/models/gemma2.cpp:25)",
               "blk.1.attn_q.weight": "query_pre_attn_scalar is folded into q: llama.cpp ignores it (src/models/gemma2.cpp:25)"},
    "gemma3": {"tokenizer.ggml.tokens": SPACES, "tokenizer.ggml.scores": SPACES, "tokenizer.ggml.token_type": SPACES},
}
# The converter refuses granite's tokenizer (an added token without a row in the embedding): converted without one.
NO_VOCAB = ("granite",)


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ, PYTHONWARNINGS="ignore"))
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return done.stdout + done.stderr


def convert(folder, out, kind, no_vocab):
    command = [sys.executable, os.path.join(root, "deps/judges/convert_hf.py"), "--pre", UNKNOWN_PRE]
    if no_vocab:
        command.append("--no-vocab")
    run(*command, "--outtype", kind, "--outfile", out, os.path.join(root, folder))


PACK = {gguf.GGUFValueType.UINT8: "<B", gguf.GGUFValueType.INT8: "<b", gguf.GGUFValueType.UINT16: "<H", gguf.GGUFValueType.INT16: "<h",
        gguf.GGUFValueType.UINT32: "<I", gguf.GGUFValueType.INT32: "<i", gguf.GGUFValueType.FLOAT32: "<f", gguf.GGUFValueType.BOOL: "<B",
        gguf.GGUFValueType.UINT64: "<Q", gguf.GGUFValueType.INT64: "<q", gguf.GGUFValueType.FLOAT64: "<d"}


def meta_value(field):
    kind = field.types[0]
    if kind != gguf.GGUFValueType.ARRAY:
        return field.contents()
    h = hashlib.sha256()
    for i in field.data:
        raw = bytes(field.parts[i])
        if field.types[-1] == gguf.GGUFValueType.STRING:
            h.update(struct.pack("<Q", len(raw)))
        h.update(raw)
    return {"n": len(field.data), "sha256": h.hexdigest()}


def describe(path, no_vocab):
    r = gguf.GGUFReader(path)
    meta = {}
    for key, field in r.fields.items():
        if key.startswith(SKIP + (("tokenizer.",) if no_vocab else ())) or (key == "tokenizer.ggml.pre" and field.contents() == UNKNOWN_PRE):
            continue
        meta[key] = meta_value(field)
    tensors = {t.name: [t.tensor_type.name.lower(), [int(d) for d in reversed(t.shape)], hashlib.sha256(t.data.tobytes()).hexdigest()]
               for t in r.tensors}
    return {"metadata": meta, "tensors": tensors}


def version():
    text = open(os.path.join(prefix, "VERSION"), encoding="utf-8").read()
    return re.search(r"package +(.*)", text).group(1)


def pretty(doc, depth=0):
    """JSON with one line per innermost object or list, so that a change shows as few lines."""
    if isinstance(doc, dict) and any(isinstance(v, (dict, list)) for v in doc.values()):
        pad = " " * (depth + 1)
        rows = (f"{pad}{json.dumps(k, ensure_ascii=False)}: {pretty(v, depth + 1)}" for k, v in doc.items())
        return "{\n" + ",\n".join(rows) + "\n" + " " * depth + "}"
    if isinstance(doc, list) and any(isinstance(v, dict) for v in doc):
        pad = " " * (depth + 1)
        return "[\n" + ",\n".join(pad + pretty(v, depth + 1) for v in doc) + "\n" + " " * depth + "]"
    return json.dumps(doc, ensure_ascii=False)


CHECK = "--check" in sys.argv[1:]
bad = []


def write(name, doc):
    path, text = os.path.join(root, "tests/golden/peer", name + ".json"), pretty(doc) + "\n"
    if not CHECK:
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        print(name, flush=True)
        return
    was = open(path, encoding="utf-8").read() if os.path.exists(path) else ""
    if was == text:
        print(f"{name}: as it was", flush=True)
        return
    bad.append(name)
    changed = [line for line in difflib.unified_diff(was.splitlines(), text.splitlines(), "committed", "made now", lineterm="", n=0)]
    print(f"{name}: DIFFERS\n" + "\n".join(line[:200] for line in changed[:12]), flush=True)


def model(name, folder, mixes, tmp):
    source, files = os.path.join(tmp, "source.gguf"), {}
    convert(folder, source, "f32", name in NO_VOCAB)
    for mix in mixes:
        out = os.path.join(tmp, "out.gguf")
        run(QUANTIZE, source, out, mix, "1")
        files[mix] = describe(out, name in NO_VOCAB)
    convert(folder, source, "f16", name in NO_VOCAB)
    files["f16"] = describe(source, name in NO_VOCAB)
    write(name, {"made_by": {"llama.cpp": version(), "transformers": transformers.__version__,
                             "commands": ["convert_hf_to_gguf.py --outtype f32", "llama-quantize IN OUT <mix>", "convert_hf_to_gguf.py --outtype f16"]},
                 "source": folder, "different_on_purpose": ON_PURPOSE.get(name, {}), "files": files})


# ---- mixes for shapes without a checkpoint ----

# name: architecture, layers, heads, kv heads, width, feed-forward, experts, fused qkv, own head
CASES = {
    "llama 80 layers, 8 heads share 1": ("llama", 80, 8, 1, 256, 256, 0, True),
    "llama 80 layers, no sharing": ("llama", 80, 4, 4, 256, 256, 0, True),
    "qwen2 80 layers": ("qwen2", 80, 4, 4, 256, 256, 0, True),
    "llama 22 layers, 4 heads share 1, tied": ("llama", 22, 8, 2, 256, 512, 0, False),
    "llama 33 layers": ("llama", 33, 4, 2, 256, 256, 0, True),
    "llama 9 layers, 8 experts": ("llama", 9, 4, 2, 256, 256, 8, True),
    "llama 16 layers, 4 experts": ("llama", 16, 4, 2, 256, 256, 4, True),
    "llama 8 layers, odd widths": ("llama", 8, 4, 4, 288, 416, 0, True),
    "llama 8 layers, odd widths, tied": ("llama", 8, 4, 4, 288, 416, 0, False),
    "llama 2 layers, very odd widths": ("llama", 2, 2, 2, 40, 72, 0, True),
    "phi3 20 layers": ("phi3", 20, 4, 4, 256, 256, 0, True),
    "gpt2 24 layers": ("gpt2", 24, 4, 4, 256, 512, 0, False),
}


def shapes(arch, layers, heads, kv, width, ffn, experts, head):
    dim, vocab = width // heads, 64
    t = {"token_embd.weight": [vocab, width], "output_norm.weight": [width]}
    if head:
        t["output.weight"] = [vocab, width]
    if arch == "gpt2":
        t["position_embd.weight"] = [512, width]
    for i in range(layers):
        b = f"blk.{i}."
        t[b + "attn_norm.weight"] = t[b + "ffn_norm.weight"] = [width]
        if arch in ("phi3", "gpt2"):
            t[b + "attn_qkv.weight"] = [width + 2 * kv * dim, width]
        else:
            t[b + "attn_q.weight"] = [width, width]
            t[b + "attn_k.weight"] = t[b + "attn_v.weight"] = [kv * dim, width]
        t[b + "attn_output.weight"] = [width, width]
        if experts:
            t[b + "ffn_gate_inp.weight"] = [experts, width]
            t[b + "ffn_gate_exps.weight"] = t[b + "ffn_up_exps.weight"] = [experts, ffn, width]
            t[b + "ffn_down_exps.weight"] = [experts, width, ffn]
        else:
            if arch == "llama" or arch == "qwen2":
                t[b + "ffn_gate.weight"] = [ffn, width]
            t[b + "ffn_up.weight"] = [(2 if arch == "phi3" else 1) * ffn, width]
            t[b + "ffn_down.weight"] = [width, ffn]
    return t


def synthetic(path, case, tensors):
    arch, layers, heads, kv, width, ffn, experts, _ = case
    w = gguf.GGUFWriter(path, arch)
    w.add_block_count(layers)
    w.add_context_length(512)
    w.add_embedding_length(width)
    w.add_feed_forward_length(ffn)
    w.add_head_count(heads)
    w.add_head_count_kv(kv)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_layer_norm_eps(1e-5)
    w.add_vocab_size(64)
    if experts:
        w.add_expert_count(experts)
        w.add_expert_used_count(2)
    for name, dims in tensors.items():
        w.add_tensor(name, np.zeros(dims, dtype=np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def imatrix(path, tensors):
    w = gguf.GGUFWriter(path, "imatrix")
    w.add_type("imatrix")
    w.add_array("imatrix.datasets", ["none"])
    w.add_uint32("imatrix.chunk_count", 1)
    w.add_uint32("imatrix.chunk_size", 512)
    for name, dims in tensors.items():
        n = dims[0] if len(dims) == 3 else 1
        if len(dims) > 1:
            w.add_tensor(name + ".in_sum2", np.ones((n, dims[-1]), dtype=np.float32))
            w.add_tensor(name + ".counts", np.ones((n, 1), dtype=np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def chosen(text, tensors):
    types = {}
    for line in text.splitlines():
        m = re.match(r"\[ *\d+/ *\d+\] +(\S+) +- .*type = +(\w+), size = .*?(?:\((\w+)\))?\s*$", line)
        if m:
            types[m.group(1)] = (m.group(3) or m.group(2)).lower()
    assert set(types) == set(tensors), (sorted(set(tensors) - set(types))[:5], text[-800:])
    return types


def compact(types):
    """Per tensor name without its layer: one type, or where layers differ the types of layers 0, 1, 2, ... as runs: "q6_k*2 q4_k q6_k"."""
    rows = {}
    for name, t in types.items():
        m = re.match(r"blk\.(\d+)\.(.*)", name)
        rows.setdefault(m.group(2) if m else name, {})[int(m.group(1)) if m else -1] = t
    out = {}
    for name, by_layer in sorted(rows.items()):
        runs = []
        for i in sorted(by_layer):
            if runs and runs[-1][0] == by_layer[i]:
                runs[-1][1] += 1
            else:
                runs.append([by_layer[i], 1])
        out[name] = runs[0][0] if len(runs) == 1 else " ".join(t if n == 1 else f"{t}*{n}" for t, n in runs)
    return out


def mixes(tmp):
    cases = []
    for name, case in CASES.items():
        tensors = shapes(*case)
        source, im = os.path.join(tmp, "mix.gguf"), os.path.join(tmp, "imatrix.gguf")
        synthetic(source, case, tensors)
        imatrix(im, tensors)
        row = {"name": name, "arch": case[0], "layers": case[1], "heads": case[2], "kv_heads": case[3], "experts": case[6],
               "tensors": {}, "mixes": {}, "mixes_with_imatrix": {}}
        row["tensors"] = {n: d for n, d in tensors.items() if not re.match(r"blk\.([1-9]|\d\d)", n)}  # layer 0 stands for all
        for mix in ALL + GRIDS:
            row["mixes"][mix] = compact(chosen(run(QUANTIZE, "--dry-run", source, mix, "1"), tensors))
        for mix in ("q4_0", "q5_0", "iq4_nl", "iq4_xs", "q2_k_s", "q4_k_m", *GRIDS):
            row["mixes_with_imatrix"][mix] = compact(chosen(run(QUANTIZE, "--imatrix", im, "--dry-run", source, mix, "1"), tensors))
        cases.append(row)
        print(name)
    write("mix", {"made_by": {"llama.cpp": version(), "command": "llama-quantize [--imatrix F] --dry-run IN <mix>"}, "cases": cases})


with tempfile.TemporaryDirectory() as folder:
    wanted = [a for a in sys.argv[1:] if a != "--check"]
    if not wanted:
        wanted = list(MODELS) + ["mix"]
        for file in sorted(os.listdir(os.path.join(root, "tests/golden/peer"))):
            if file.removesuffix(".json") not in wanted:
                bad.append(file)
                print(f"{file}: nothing here writes it")
    for entry in wanted:
        if entry == "mix":
            mixes(folder)
        else:
            model(entry, *MODELS[entry], folder)
if CHECK and bad:
    sys.exit(f"{len(bad)} differ: {' '.join(bad)}")
