#!/usr/bin/env python3
"""plan_curve.py - does a plan have the KLD that was predicted?  Plans of several sizes in every format, their predictions, and what is measured.

Each size: `hone plan --target-bpw B` with the statistics of `hone calibrate --hessian`, sensitivity measured on the calibration text; `hone convert --plan`; `hone
eval` on the held-out text against the format's float32 artefact.  MLX is measured by its weights (docs/PLAN.md): the folder as a float32 GGUF file in llama.cpp.

Usage: tests/perf/plan_curve.py --hone BUILD/hone --stats FILE [--model DIR] [--folder DIR] [--sizes 3.4,4.6,...] [--tokens N] [--eval-tokens N]
What lies in --folder is not made again.  Prints the table of docs/PLAN.md and writes docs/quality/plan-<format>.svg."""

import argparse
import json
import os
import subprocess
import sys

import quality_plot

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
FORMATS = {"gguf": "GGUF", "onnx": "ONNX", "openvino": "OpenVINO IR", "mlx": "MLX"}
NARROWEST = {"onnx": 4.3, "openvino": 4.3}  # bits per weight, below which a format has no plan for this model


def run(a, *words):
    got = subprocess.run([a.hone, *words], capture_output=True, text=True, check=False)
    if got.returncode:
        sys.exit(f"plan_curve: hone {' '.join(words)}: exit {got.returncode}: {got.stderr.strip()[-300:]}")
    return got.stdout


def kept(path, make):
    """The JSON document at path, made now if it is not there."""
    if not os.path.exists(path):
        text = make()
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
    with open(path, encoding="utf-8") as f:
        return json.load(f)


def plan(a, bpw):
    """The plan's document, and its artefacts in DIR/<bpw>/out."""
    place = os.path.join(a.folder, f"{bpw:g}")
    os.makedirs(place, exist_ok=True)
    yaml, out = os.path.join(place, "plan.yaml"), os.path.join(place, "out")
    formats = ",".join(f for f in FORMATS if bpw >= NARROWEST.get(f, 0))
    doc = kept(os.path.join(place, "plan.json"), lambda: run(a, "plan", a.model, "--to", formats, "--calibration", a.stats, "--target-bpw", f"{bpw:g}", "--sensitivity", "measured",
                                                             "--tokens", str(a.tokens), "-o", yaml, "--json", "--quiet"))
    if not os.path.isdir(out):
        run(a, "convert", a.model, "--plan", yaml, "--calibration", a.stats, "--name", "p", "-o", out, "--quiet")
    return doc


def artefact(a, fmt, folder, name, source, *how):
    """What is run: the artefact of `folder` called name-...; made by a conversion when it is missing."""
    path = os.path.join(folder, f"{name}.gguf" if fmt == "gguf" else f"{name}-{fmt}")
    if not os.path.exists(path):
        run(a, "convert", source, "--to", fmt, *how, "-o", folder, "--quiet")
    return path


def measure(a, fmt, sizes):
    """hone eval of all sizes of a format: [{"kld", "ci", "tokens", "runtime"}]."""
    by = "gguf" if fmt == "mlx" else fmt
    reference = artefact(a, by, os.path.join(a.folder, "reference"), "r-f32", a.model, "--quant", "f32", "--name", "r")
    runs = []
    for b in sizes:
        out = os.path.join(a.folder, f"{b:g}", "out")
        made = artefact(a, fmt, out, "p-plan", "")
        runs.append(made if fmt != "mlx" else artefact(a, "gguf", os.path.join(a.folder, f"{b:g}", "mlx"), "p-f32", made, "--quant", "f32", "--name", "p"))
    doc = kept(os.path.join(a.folder, f"eval-{fmt}.json"), lambda: run(a, "eval", *runs, "--reference", reference, "--text", os.path.join(a.model, "eval", "heldout.txt"),
                                                                       "--max-tokens", str(a.eval_tokens), "--threads", "1", "--json", "--quiet"))
    return [{"kld": r["kld_mean"], "ci": r["ci"]["kld_mean"], "tokens": r["tokens"], "runtime": r["runtime"]} for r in doc["results"]]


def draw(fmt, rows, a):
    measured = [{"name": f"{b:g} bits", "bytes": f["bytes"], "kld": m["kld"], "lo": m["ci"][0], "hi": m["ci"][1]} for b, f, m in rows]
    said = [{"name": f"{b:g} bits, predicted", "bytes": f["bytes"], "kld": f["predicted_kld"]} for b, f, _ in rows]
    where = rows[0][2]["runtime"] + (", by its weights in float32" if fmt == "mlx" else "")
    note = f"in {where}, against float32; {rows[0][2]['tokens']} tokens of held-out text, lines: 95 %; sensitivity: {a.tokens} tokens"
    path = os.path.join(ROOT, "docs", "quality", f"plan-{fmt}.svg")
    with open(path, "w", encoding="utf-8") as f:
        f.write(quality_plot.plot(f"{os.path.basename(os.path.normpath(a.model))}: plans for {FORMATS[fmt]}, predicted and measured", note, [("measured", measured), ("predicted", said)],
                                  "bytes of all files, MB"))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--hone", required=True)
    p.add_argument("--stats", required=True)
    p.add_argument("--model", default=os.path.join(ROOT, "examples", "models", "tale-8m"))
    p.add_argument("--folder", default=os.path.join(ROOT, "out", "plan-curve"))
    p.add_argument("--sizes", type=lambda s: [float(x) for x in s.split(",")], default=[3.4, 4.6, 5.2, 6.0, 8.0])
    p.add_argument("--tokens", type=int, default=1024)
    p.add_argument("--eval-tokens", type=int, default=4088)
    a = p.parse_args()
    docs = {b: {f["format"]: f for f in plan(a, b)["formats"]} for b in a.sizes}
    print("| format | bits per weight | MB | predicted | measured (95 %) |\n|---|---|---|---|---|")
    for fmt, title in FORMATS.items():
        sizes = [b for b in a.sizes if fmt in docs[b]]
        rows = [(b, docs[b][fmt], m) for b, m in zip(sizes, measure(a, fmt, sizes))]
        for b, f, m in rows:
            print(f"| {title} | {f['bpw']:.2f} | {f['bytes'] / 1e6:.3f} | {1000 * f['predicted_kld']:.4f} | {1000 * m['kld']:.4f} ({1000 * m['ci'][0]:.4f} to {1000 * m['ci'][1]:.4f}) |")
        draw(fmt, rows, a)


if __name__ == "__main__":
    main()
