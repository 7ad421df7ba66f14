"""quality_digits.py - a network that is no language model: int8 of digits-cnn by us and by the peers, from the same 200 images, and how many of 500
test images each gets right in ONNX Runtime and in OpenVINO.  The same images are asked of all, so two models are compared image by image."""

import json
import os
import shutil
import time

TESTS = ("test", "test_noisy")
PEERS = [  # runtime, maker, name, environment, command of peers/digits.py, more words, ending
    ("ort", "onnxruntime.quantization", "per channel, min-max", "builder", "quantise-ort", ["minmax"], ".onnx"),
    ("ort", "onnxruntime.quantization", "per channel, min-max, 7-bit weights", "builder", "quantise-ort", ["minmax", "reduce-range"], ".onnx"),
    ("ort", "onnxruntime.quantization", "per tensor, min-max", "builder", "quantise-ort", ["minmax", "per-tensor"], ".onnx"),
    ("ort", "onnxruntime.quantization", "per channel, entropy", "builder", "quantise-ort", ["entropy"], ".onnx"),
    ("ort", "onnxruntime.quantization", "per channel, percentile", "builder", "quantise-ort", ["percentile"], ".onnx"),
    ("openvino", "nncf.quantize", "fast bias correction", "optimum", "quantise-nncf", [], ".xml"),
    ("openvino", "nncf.quantize", "bias correction", "optimum", "quantise-nncf", ["bias"], ".xml"),
]
OURS = [("ort", "onnx"), ("openvino", "openvino")]
JUDGE = {"ort": "builder", "openvino": "optimum"}


def pairs(a, b):
    """Images that only a gets right, and that only b does."""
    return sum(x > y for x, y in zip(a, b)), sum(x < y for x, y in zip(a, b))


def found_model(folder):
    """What a conversion left: the .onnx or .xml that a runtime opens."""
    found = sorted(os.path.join(d, f) for d, _, files in os.walk(folder) for f in files if f.endswith((".onnx", ".xml")))
    return found[0] if found else None


class Digits:
    def __init__(self, q, a):
        self.q, self.t, self.folder = q, q.tools, a.digits
        self.out = os.path.join(a.folder, "digits")
        self.rows = []
        os.makedirs(self.out, exist_ok=True)

    def file(self, name):
        return os.path.join(self.folder, name)

    def script(self, judge, *words):
        return self.t.run([self.t.judge(judge), os.path.join(self.t.here, "peers", "digits.py"), *words])

    def score(self, r, runtime, model):
        for test in TESTS:
            right = json.loads(self.script(JUDGE[runtime], f"score-{runtime}", model, self.file(test + ".safetensors")).strip().splitlines()[-1])["right"]
            r[test] = {"right": right, "accuracy": right.count("1") / len(right)}

    def row(self, runtime, who, maker, name, make):
        r = {"runtime": runtime, "who": who, "maker": maker, "name": name}
        self.rows.append(r)
        try:
            start = time.monotonic()
            model = make()
            r["seconds"] = round(time.monotonic() - start, 2)
            weights = os.path.splitext(model)[0] + ".bin"
            r["bytes"] = os.path.getsize(model) + (os.path.getsize(weights) if os.path.exists(weights) else 0)
            self.score(r, runtime, model)
        except Exception as e:  # noqa: BLE001 - whatever a peer died of is its reason
            r["not_measured"] = str(e)
            if who == "ours":
                self.q.failed.append(f"digits-cnn {runtime} {name}: {e}")
        return r

    def peer(self, runtime, maker, name, judge, command, more, end):
        path = os.path.join(self.out, f"{command}-{'-'.join(more) or 'plain'}{end}")

        def make():
            self.script(judge, command, self.file("model.onnx"), self.file("calibration.safetensors"), path, *more)
            return path
        return self.row(runtime, "peer", maker, name, make)

    def ours(self, runtime, fmt):
        folder = os.path.join(self.out, f"ours-{fmt}")

        def make():
            shutil.rmtree(folder, ignore_errors=True)
            self.t.run([self.t.hone, "convert", self.file("model.onnx"), "--to", fmt, "--quant", "int8", "--calibration", self.file("calibration.safetensors"), "-o", folder,
                        "--quiet"])
            return found_model(folder)
        return self.row(runtime, "ours", "hone", "int8", make)


def verdicts(rows):
    """Ours against every row of a peer in the same runtime, on the test images: at least as many right."""
    out = []
    for runtime in JUDGE:
        ours = next((r for r in rows if r["runtime"] == runtime and r["who"] == "ours"), None)
        peers = [r for r in rows if r["runtime"] == runtime and r["who"] == "peer" and "test" in r and not r.get("not_measured")]
        words = f"int8 of digits-cnn, right at least as often as every row of {'onnxruntime.quantization' if runtime == 'ort' else 'nncf.quantize'}"
        v = {"model": "digits-cnn", "format": runtime, "words": words, "ours": "int8"}
        if not peers or ours is None or ours.get("not_measured"):
            out.append({**v, "verdict": "not measured", "why": ours.get("not_measured", "no row of a peer") if ours else "ours: nothing"})
            continue
        most = max(peers, key=lambda r: r["test"]["accuracy"])
        mine, theirs = ours["test"], most["test"]
        only, lost = pairs(mine["right"], theirs["right"])
        said = (f"{mine['right'].count('1')} of {len(mine['right'])} right, the best peer ({most['name']}) {theirs['right'].count('1')}; only we {only}, only they {lost}; "
                f"with noise {ours['test_noisy']['right'].count('1')} and {most['test_noisy']['right'].count('1')}")
        out.append({**v, "verdict": "met" if mine["accuracy"] >= theirs["accuracy"] else "red", "why": said})
    return out


def markdown(rows):
    if not rows:
        return []
    tested = next((len(r["test"]["right"]) for r in rows if "test" in r), 0)
    out = ["", f"### digits-cnn: static int8, 200 images of calibration, {tested} of test", "", "| runtime | maker | how | bytes | right, % | with noise, % |", "|---|---|---|---|---|---|"]
    for r in rows:
        if r.get("not_measured"):
            cells = [r["runtime"], r["maker"], r["name"], "", f"not measured: {r['not_measured']}", ""]
        else:
            cells = [r["runtime"], r["maker"], r["name"], str(r.get("bytes", "")), *(f"{100 * r[t]['accuracy']:.1f}" for t in TESTS)]
        out.append("| " + " | ".join(c.replace("|", "/") for c in cells) + " |")
    return out


def run(q, a):
    """{"rows", "verdicts"}; empty with a line that says why where the model is not here."""
    d = Digits(q, a)
    if not all(os.path.isfile(d.file(f)) for f in ("model.onnx", "calibration.safetensors", "test.safetensors", "test_noisy.safetensors")):
        print(f"not measured: no digits-cnn in {a.digits}")
        return {"rows": [], "verdicts": []}
    for runtime in JUDGE:
        d.row(runtime, "float", "float32", "as it is", lambda: d.file("model.onnx"))
    for p in PEERS:
        d.peer(*p)
    if a.only != "peers":
        for o in OURS:
            d.ours(*o)
    return {"rows": d.rows, "verdicts": verdicts(d.rows)}
