#!/usr/bin/env python3
"""mlx_quantise.py MODEL TEXT JOB.json: mlx_lm's own quantisers, with our calibration text in place of the one that mlx_lm downloads.
JOB.json: {"out": folder, "method": "convert"|"awq"|"gptq"|"dynamic_quant"|"dwq", "bits": 4, "group_size": 64, and for some methods "recipe",
"target_bpw", "low_bits", "high_bits", "samples", "rate"}.  The calibrated methods compute in float32, which this CPU has a matrix product for; what is
stored is in the checkpoint's own type, as mlx_lm stores it.  MLX's product with quantised weights is a plain loop on a CPU (nine tenths of the time of AWQ):
here such a layer is unpacked by mx.dequantize and multiplied by the float32 product, the same numbers up to the order of the sums.
Environment "mlx" of tools/judge."""

import copy
import json
import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"
import mlx.core as mx  # noqa: E402
import mlx.nn as nn  # noqa: E402
import mlx.optimizers as optimizers  # noqa: E402
import numpy as np  # noqa: E402
from mlx_lm.quant import awq, dwq, dynamic_quant, gptq  # noqa: E402
from mlx_lm.utils import load, quantize_model, save  # noqa: E402

from chunks import calibration_chunks  # noqa: E402

SEED = 123  # mlx_lm's own default


def unpacked_product(layer, x):
    w = mx.dequantize(layer["weight"], layer["scales"], layer.get("biases"), group_size=layer.group_size, bits=layer.bits, mode=layer.mode)
    y = x @ w.T
    return y + layer["bias"] if "bias" in layer else y


def opened(model):
    net, words, config = load(str(model), return_config=True)
    kind = getattr(mx, config.get("torch_dtype") or "float32")
    net.set_dtype(mx.float32)
    return net, words, config, kind


def by_awq(job, net, config, data):
    awq.awq_quantize(net, data, awq.AWQ_MODEL_CONFIGS[config["model_type"]], bits=job["bits"], group_size=job["group_size"],
                     embed_bits=job.get("embed_bits", 4), embed_group_size=job.get("embed_group_size", 32))
    return net, awq.update_config(net, config)


def by_gptq(job, net, config, data):
    net, config["quantization"] = gptq.gptq_quantize(net, data, job["bits"], job["group_size"], 6, 64)
    return net, config


def by_dynamic_quant(job, net, config, data):
    low, high, group = job["low_bits"], job["high_bits"], job["group_size"]
    found = dict(dynamic_quant.estimate_sensitivities(net, data, low, group, high, group))
    threshold = dynamic_quant.estimate_threshold(net, found, job["target_bpw"], low, group, high, group)

    def predicate(path, module):
        if not hasattr(module, "to_quantized"):
            return False
        return {"bits": high, "group_size": group} if found[path] > threshold else True

    return quantize_model(net, config, group, low, quant_predicate=predicate)


def by_dwq(job, net, config, data):
    student = copy.deepcopy(net)
    student, config = quantize_model(student, config, job["group_size"], job["bits"])
    rows = [(row.tolist(), 0) for row in np.array(data)]
    train, valid = rows[:-8], rows[-8:]
    dwq.dwq_quantize(student, lambda batch, i, split: net(batch), optimizers.Adam(learning_rate=job.get("rate", 1e-6), bias_correction=True), train, valid,
                     batch_size=job.get("batch", 4), max_seq_length=len(rows[0][0]), seed=SEED, dtype=mx.float32)
    return student, config


def main():
    model, text = map(Path, sys.argv[1:3])
    job = json.loads(Path(sys.argv[3]).read_text())
    mx.random.seed(SEED)
    np.random.seed(SEED)
    if job["method"] == "convert":
        from mlx_lm.convert import convert
        convert(str(model), job["out"], quantize=True, q_bits=job.get("bits"), q_group_size=job["group_size"], quant_predicate=job.get("recipe"))
        return
    if job["method"] == "awq" and json.loads((model / "config.json").read_text())["model_type"] not in awq.AWQ_MODEL_CONFIGS:
        sys.argv[1:] = ["--model", str(model), "--mlx-path", job["out"]]
        return awq.main()  # its own command refuses the family in its own words, before it wants any data
    nn.QuantizedLinear.__call__ = unpacked_product
    net, words, config, kind = opened(model)
    data = mx.array(calibration_chunks(model, text, job.get("samples", 0)))
    how = {"awq": by_awq, "gptq": by_gptq, "dynamic_quant": by_dynamic_quant, "dwq": by_dwq}[job["method"]]
    net, config = how(job, net, config, data)
    net.set_dtype(kind)
    save(job["out"], str(model), net, words, config)


if __name__ == "__main__":
    main()
