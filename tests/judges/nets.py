"""nets.py HONE GOLDEN TMP - onnx's checker and ONNX Runtime judge what `hone convert` makes of models that are no language models: every model of
GOLDEN/net and GOLDEN/digits in every encoding.  An unfolded f32 output is the model that was read, message for message.  Dynamic int8 of digits-cnn is
compared with onnxruntime.quantization.quantize_dynamic.  Prints one line per output; exit 1 when one fails."""
import os, subprocess, sys, warnings
import numpy as np
import onnx
import onnxruntime as ort
from safetensors.numpy import load_file

warnings.simplefilter("ignore")
ort.set_default_logger_severity(3)
hone, golden, tmp = sys.argv[1:4]
failed = 0
# largest difference from the float model, as a share of its largest number
BOUNDS = {"f32": 2e-6, "f16": 4e-3, "int8-dynamic": 0.05, "int8-weights": 0.03, "int4-weights": 0.35}
# its large channels cost what is rounded to 8 bits, activations by us or by ONNX Runtime's MatMulNBits, more: tests/cli/net_smooth.sh
LOOSER = {("outlier", "int8-dynamic"): 0.1, ("outlier", "int8-weights"): 0.1}
SHAPES = {"old7": (2, 3, 8, 8), "old9": (2, 3, 8, 8), "control": (2, 3, 8, 8), "mlp": (4, 32), "recurrent": (5, 2, 12), "upconv": (2, 8, 6, 6), "block": (2, 7),
          "odd": (4, 40), "wide": (2, 3, 8, 8), "outlier": (2, 8, 8, 8)}
REFUSED = {("control", "int4-weights", "standard"): "subgraphs", ("wide", "int4-weights", "standard"): "subgraphs", ("odd", "int4-weights", "standard"): "functions"}


def fail(what):
    global failed
    failed = 1
    print("FAIL:", what)


def convert(src, quant, *more):
    p = subprocess.run([hone, "convert", src, "--quant", quant, "-o", tmp, "--quiet", *more], capture_output=True, text=True)
    return p.returncode, p.stderr


def run(path, feeds):
    return ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, feeds)[0].astype(np.float32)


def feed(name, session):
    rng = np.random.default_rng(1)
    x = session.get_inputs()[0]
    return {x.name: rng.integers(0, 100, SHAPES[name]) if "int64" in x.type else rng.standard_normal(SHAPES[name]).astype(np.float32)}


def same_model(name, src, path):
    a, b = onnx.load(src), onnx.load(path)
    if a.ir_version < 4:  # constants are no inputs any more
        return
    if name == "mlp":  # external data is inline now
        for t in a.graph.initializer:
            del t.external_data[:]
            t.ClearField("data_location")
    outputs = {v.name for v in a.graph.output}  # what value_info says of them again is left out
    told = [v for v in a.graph.value_info if v.name not in outputs]
    del a.graph.value_info[:]
    a.graph.value_info.extend(told)
    if a.SerializeToString(deterministic=True) != b.SerializeToString(deterministic=True):
        fail(f"{name}: what was read is not what was written")


def one(name, src):
    session = ort.InferenceSession(src)
    x = feed(name, session)
    ref = session.run(None, x)[0]
    top = np.abs(ref).max()
    code, err = convert(src, "f32", "--no-fold", "--name", name + "-plain")
    if code:
        return fail(f"{name} --no-fold: {err}")
    path = f"{tmp}/{name}-plain-f32-onnx/model.onnx"
    same_model(name, src, path)
    if np.abs(run(path, x) - ref).max() != 0:
        fail(f"{name}: an unedited model computes something else")
    for quant, bound in BOUNDS.items():
        for ops in ("genai", "standard") if quant == "int4-weights" else ("genai",):
            code, err = convert(src, quant, *(("--onnx-ops", ops) if quant == "int4-weights" else ()))
            why = REFUSED.get((name, quant)) or REFUSED.get((name, quant, ops))
            if why:
                if code != 4 or why not in err:
                    fail(f"{name} {quant}: exit {code}: {err}")
                continue
            if code:
                fail(f"{name} {quant}: exit {code}: {err}")
                continue
            path, bound = f"{tmp}/{name}-{quant}-onnx/model.onnx", LOOSER.get((name, quant), bound)
            if (name, quant) == ("wide", "f16"):  # what becomes of its values is up to where they are computed: tests/cli/net_int8.sh has it with samples
                continue
            onnx.checker.check_model(path, full_check=quant != "int4-weights")  # its shape inference knows no MatMulNBits
            if ops == "standard" and any(n.domain for n in onnx.load(path).graph.node):
                fail(f"{name} {quant}: operators of other domains")
            worst = np.abs(run(path, x) - ref).max() / top
            print(f"{name:10} {quant:13} {ops:9} {worst:.2e} of {bound:.0e}  {os.path.getsize(path)} bytes")
            if not worst <= bound:
                fail(f"{name} {quant} {ops}: differs by {worst:.3g} of the largest number, at most {bound} is right")


def digits():
    from onnxruntime.quantization import QuantType, quantize_dynamic
    src, data = f"{golden}/digits/model.onnx", load_file(f"{golden}/digits/test.safetensors")
    x, labels = {"input": data["inputs"]}, data["labels"]
    ref = run(src, x)

    def score(path):
        y = run(path, x)
        return (y.argmax(1) == labels).mean(), np.abs(y - ref).mean(), np.abs(y - ref).max()

    scores = {"float": score(src)}
    for quant in BOUNDS:
        code, err = convert(src, quant)
        if code:
            fail(f"digits {quant}: {err}")
        scores[quant] = score(f"{tmp}/digits-{quant}-onnx/model.onnx")
    for name, kind in (("i8", QuantType.QInt8), ("u8", QuantType.QUInt8)):
        quantize_dynamic(src, f"{tmp}/peer.onnx", per_channel=True, weight_type=kind)
        scores["peer " + name] = score(f"{tmp}/peer.onnx")
    for name, (right, mean, worst) in scores.items():
        print(f"digits     {name:13} accuracy {right:.3f}, logits off by {mean:.4f} on the mean, {worst:.4f} at most")
    if scores["f32"][2] > 1e-4:
        fail("digits: folding moves logits by more than 1e-4")
    for name in ("f32", "f16", "int8-weights", "int8-dynamic"):
        if scores[name][0] < scores["float"][0] - 0.0051:
            fail(f"digits {name}: accuracy {scores[name][0]}, float {scores['float'][0]}")
    best = max(scores["peer i8"][0], scores["peer u8"][0])
    if scores["int8-dynamic"][0] < best or scores["int8-dynamic"][1] > min(scores["peer i8"][1], scores["peer u8"][1]):
        fail("digits: quantize_dynamic is nearer to the float model")
    if onnx.load(f"{tmp}/digits-f32-onnx/model.onnx").graph.node[1].op_type == "BatchNormalization":
        fail("digits: a BatchNormalization is left")


for name in SHAPES:
    one(name, f"{golden}/net/{name}.onnx")
digits()
sys.exit(failed)
