#!/usr/bin/env python3
"""ort_quantise.py SOURCE JOB.json: onnxruntime's MatMulNBitsQuantizer on a float32 folder: of onnxruntime-genai's model builder, or, with "plain", of hone.
JOB.json: {"out": folder, "method": "hqq"|"rtn"|"k_quant"|"default"|"none", "block": 32, and any of "plain", "mixed", "embeddings"}.  "mixed" is the placement of
the builder's k_quant_mixed: the head, and in some layers qkv (one product in a Llama) and down, in 8 bits.  Symmetry is the builder's: on for RTN and default, off for k_quant, which
has no other.  Environment "builder" of tools/judge."""

import json
import re
import shutil
import sys
from pathlib import Path

import onnx
from onnxruntime.quantization import matmul_nbits_quantizer as nbits

from onnx_plain import plain


def mixed(model):
    """As make_matmul_mixed_precision of the builder (onnxruntime_genai/models/builders/base.py) for k_quant_mixed."""
    names = [n.name for n in model.graph.node if n.op_type == "MatMul"]
    layers = 1 + max(int(m.group(1)) for m in (re.match(r"layers\.(\d+)\.", n) for n in names) if m)
    more = {i for i in range(layers) if i < layers / 8 or i >= 7 * layers / 8 or (i - round(layers / 8)) % 3 == 2}
    chosen = [n for n in names if (m := re.match(r"layers\.(\d+)\..*\b(qkv|q|k|v|down)$", n)) and int(m.group(1)) in more]
    return {n: {"bits": 8} for n in chosen + [names[-1]]}


def quantiser(model, job):
    kinds = ("MatMul", "Gather") if job.get("embeddings") else ("MatMul",)
    custom = mixed(model) if job.get("mixed") else {}
    config = {"hqq": lambda: nbits.HQQWeightOnlyQuantConfig(block_size=job["block"], bits=4, axis=1, op_types_to_quantize=("MatMul",)),
              "rtn": lambda: nbits.RTNWeightOnlyQuantConfig(customized_weight_config=custom),
              "k_quant": lambda: nbits.KQuantWeightOnlyQuantConfig(customized_weight_config=custom),
              "default": lambda: None}[job["method"]]()
    return nbits.MatMulNBitsQuantizer(model, block_size=job["block"], is_symmetric=job["method"] in ("rtn", "default"), op_types_to_quantize=kinds, algo_config=config)


def main():
    source = Path(sys.argv[1])
    job = json.loads(Path(sys.argv[2]).read_text())
    out = Path(job["out"])
    model = onnx.load(source / "model.onnx")
    if job.get("plain"):
        model = plain(model)
    shutil.copytree(source, out, ignore=shutil.ignore_patterns("model.onnx*", "hone.json"))
    if job["method"] == "none":
        return onnx.save_model(model, out / "model.onnx", save_as_external_data=True, location="model.onnx.data")
    q = quantiser(model, job)
    q.process()
    q.model.save_model_to_file(str(out / "model.onnx"), use_external_data_format=True)


if __name__ == "__main__":
    main()
