#!/usr/bin/env python3
"""digits.py: static int8 of an ONNX image classifier by the peers, and how many images a model gets right in its runtime.

  quantise-ort MODEL.onnx CALIBRATION.safetensors OUT.onnx minmax|entropy|percentile [per-tensor] [reduce-range]    onnxruntime.quantization, QDQ
  quantise-nncf MODEL.onnx CALIBRATION.safetensors OUT.xml [bias]                        nncf.quantize on what OpenVINO reads
  quantise-nncf-onnx MODEL.onnx CALIBRATION.safetensors OUT.onnx PACKAGES [bias]         nncf.quantize on the ONNX model; PACKAGES: a folder with onnx
                                                                                       and onnxruntime, which it needs and its environment lacks
  score-ort MODEL.onnx TEST.safetensors                                                prints one line of JSON: {"right": "1101..."}
  score-openvino MODEL.onnx|.xml TEST.safetensors

Environments of tools/judge: "builder" for onnxruntime, "optimum" for OpenVINO and NNCF."""

import json
import sys

import numpy as np
from safetensors.numpy import load_file

IMAGES = ("images", "input", "inputs", "x")


def images(path):
    t = load_file(path)
    return next(t[k] for k in IMAGES if k in t), t.get("labels")


def quantise_ort(model, calibration, out, method, *more):
    import tempfile
    from pathlib import Path

    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process
    x, _ = images(calibration)

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.left = iter(x)

        def get_next(self):
            image = next(self.left, None)
            return None if image is None else {"input": image[None]}

    with tempfile.TemporaryDirectory() as tmp:
        ready = Path(tmp) / "ready.onnx"  # batch norms folded, shapes known: what onnxruntime tells its users to do first
        quant_pre_process(model, ready)
        quantize_static(ready, out, Reader(), quant_format=QuantFormat.QDQ, per_channel="per-tensor" not in more,
                        reduce_range="reduce-range" in more, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                        calibrate_method={"minmax": CalibrationMethod.MinMax, "entropy": CalibrationMethod.Entropy, "percentile": CalibrationMethod.Percentile}[method])


def quantise_nncf(model, calibration, out, *more):
    import nncf
    import openvino as ov
    x, _ = images(calibration)
    settings = {"fast_bias_correction": False} if more else {}
    ov.save_model(nncf.quantize(ov.Core().read_model(model), nncf.Dataset([i[None] for i in x]), subset_size=len(x), **settings), out, compress_to_fp16=False)


def quantise_nncf_onnx(model, calibration, out, packages, *more):
    sys.path.append(packages)  # behind our own, which stay as they are pinned
    import nncf
    import onnx
    x, _ = images(calibration)
    settings = {"fast_bias_correction": False} if more else {}
    net = onnx.load(model)
    name = net.graph.input[0].name
    onnx.save(nncf.quantize(net, nncf.Dataset([{name: i[None]} for i in x]), subset_size=len(x), **settings), out)


def tell(logits, labels):
    best = np.argmax(logits, -1)
    print(json.dumps({"right": "".join("1" if a == b else "0" for a, b in zip(best, labels)), "logits_sum": float(np.abs(logits).sum())}))


def score_ort(model, test):
    import onnxruntime as rt
    x, labels = images(test)
    session = rt.InferenceSession(model, providers=["CPUExecutionProvider"])
    tell(np.concatenate([session.run(None, {session.get_inputs()[0].name: x[i:i + 1]})[0] for i in range(len(x))]), labels)


def score_openvino(model, test):
    import openvino as ov
    x, labels = images(test)
    net = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    tell(np.concatenate([next(iter(net([x[i:i + 1]]).values())) for i in range(len(x))]), labels)


if __name__ == "__main__":
    {"quantise-ort": quantise_ort, "quantise-nncf": quantise_nncf, "quantise-nncf-onnx": quantise_nncf_onnx, "score-ort": score_ort,
     "score-openvino": score_openvino}[sys.argv[1]](*sys.argv[2:])
