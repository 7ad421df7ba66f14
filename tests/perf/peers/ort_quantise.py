#!/usr/bin/env python3
"""ort_quantise.py BUILT JOB.json: onnxruntime's MatMulNBitsQuantizer on the float32 folder of onnxruntime-genai's model builder.
JOB.json: {"out": folder, "method": "hqq", "block": 32}.  Environment "builder" of tools/judge."""

import json
import shutil
import sys
from pathlib import Path

import onnx
from onnxruntime.quantization.matmul_nbits_quantizer import HQQWeightOnlyQuantConfig, MatMulNBitsQuantizer


def main():
    built = Path(sys.argv[1])
    job = json.loads(Path(sys.argv[2]).read_text())
    out = Path(job["out"])
    config = HQQWeightOnlyQuantConfig(block_size=job["block"], bits=4, axis=1, op_types_to_quantize=("MatMul",))
    quantiser = MatMulNBitsQuantizer(onnx.load(built / "model.onnx"), algo_config=config)
    quantiser.process()
    shutil.copytree(built, out, ignore=shutil.ignore_patterns("model.onnx*"))
    quantiser.model.save_model_to_file(str(out / "model.onnx"), use_external_data_format=True)


if __name__ == "__main__":
    main()
