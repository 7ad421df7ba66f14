#!/usr/bin/env python3
"""digits_peers.py - what the peers reach on digits-cnn with static int8: onnxruntime.quantization and nncf.quantize on the same 200 images.

  digits_peers.py ort  DIR OUT.json    in the environment of deps/judges/genai.txt
  digits_peers.py nncf DIR OUT.json    in the environment of deps/judges/optimum.txt
  digits_peers.py ort|nncf --check     the same from tests/golden/digits, which holds the first 100 test images: exit 1 where its peers.json says otherwise

DIR: model.onnx, calibration.safetensors, test.safetensors, test_noisy.safetensors.  OUT.json gets, for each peer's own settings, the
number of right answers among all test images, and among the first N of them for each N in SLICES; the peers' rows that are there already stay.
Every model is run on the CPU with floats in float32, ORT's by onnxruntime, NNCF's by OpenVINO.
"""
import json
import os
import platform
import sys
import tempfile

import numpy as np
from safetensors.numpy import load_file

SLICES = (100, 200, 500)
BATCH = 25


def rights(run, data):
    """Right answers among the first N images, as {N: right}."""
    logits = np.concatenate([run(data["inputs"][i : i + BATCH]) for i in range(0, len(data["inputs"]), BATCH)])
    good = logits.argmax(1) == data["labels"]
    return {str(n): int(good[:n].sum()) for n in SLICES}


def row(run, tests):
    return {name: rights(run, data) for name, data in tests.items()}


def by_ort(model, calibration, tests):
    import onnxruntime as ort
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.left = iter(calibration["inputs"][i : i + 1] for i in range(len(calibration["inputs"])))

        def get_next(self):
            x = next(self.left, None)
            return None if x is None else {"input": x}

    def runner(path):
        session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
        return lambda x: session.run(None, {"input": x})[0]

    rows = {"float": row(runner(model), tests)}
    with tempfile.TemporaryDirectory() as tmp:
        prepared = os.path.join(tmp, "prepared.onnx")
        quant_pre_process(model, prepared, skip_symbolic_shape=True)
        for method in ("MinMax", "Entropy", "Percentile"):
            for per_channel in (False, True):
                out = os.path.join(tmp, "int8.onnx")
                quantize_static(prepared, out, Reader(), quant_format=QuantFormat.QDQ, per_channel=per_channel, activation_type=QuantType.QUInt8,
                                weight_type=QuantType.QInt8, calibrate_method=getattr(CalibrationMethod, method))
                name = f"onnxruntime {method.lower()} per_{'channel' if per_channel else 'tensor'}"
                rows[name] = row(runner(out), tests)
    return rows, {"onnxruntime": ort.__version__}


def by_nncf(model, calibration, tests):
    import nncf
    import openvino as ov

    def runner(m):
        compiled = ov.Core().compile_model(m, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        return lambda x: compiled({0: x})[0]

    def rows_of(preset, fast):
        data = nncf.Dataset([calibration["inputs"][i : i + 1] for i in range(len(calibration["inputs"]))])
        return row(runner(nncf.quantize(ov.Core().read_model(model), data, preset=preset, subset_size=len(calibration["inputs"]), fast_bias_correction=fast)), tests)

    rows = {"openvino float": row(runner(ov.Core().read_model(model)), tests)}
    for preset in (nncf.QuantizationPreset.PERFORMANCE, nncf.QuantizationPreset.MIXED):
        for fast in (True, False):
            rows[f"nncf {preset.value} {'fast' if fast else 'full'}_bias_correction"] = rows_of(preset, fast)
    return rows, {"nncf": nncf.__version__, "openvino": ov.__version__}


def check(peer):
    """Do today's peers answer the first 100 images as the golden file says?  One image of slack: processors round in their own ways."""
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "digits")
    golden = json.load(open(os.path.join(folder, "peers.json")))["right"]
    differs = 0
    for name, now in run(peer, folder)[0].items():
        for data, right in now.items():
            if abs(right["100"] - golden[name][data]["100"]) > 1:
                print(f"{name}, {data}: {right['100']} of 100 right, the golden file says {golden[name][data]['100']}", file=sys.stderr)
                differs += 1
    return differs


def run(peer, folder):
    files = {name: os.path.join(folder, name) for name in ("model.onnx", "calibration.safetensors", "test.safetensors", "test_noisy.safetensors")}
    tests = {"test": load_file(files["test.safetensors"]), "test_noisy": load_file(files["test_noisy.safetensors"])}
    return {"ort": by_ort, "nncf": by_nncf}[peer](files["model.onnx"], load_file(files["calibration.safetensors"]), tests)


def main():
    if sys.argv[2:] == ["--check"]:
        sys.exit(1 if check(sys.argv[1]) else 0)
    peer, folder, out = sys.argv[1:4]
    rows, versions = run(peer, folder)
    doc = json.load(open(out)) if os.path.exists(out) else {"made_by": "tests/judges/digits_peers.py", "versions": {}, "processor": platform.machine(), "right": {}}
    doc["versions"].update(versions)
    doc["right"].update(rows)
    with open(out, "w") as f:
        json.dump(doc, f, indent=1, sort_keys=True)
        f.write("\n")


if __name__ == "__main__":
    main()
