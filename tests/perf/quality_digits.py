"""quality_digits.py - a network that is no language model: int8 of digits-cnn by us and by the peers, from the same 200 images, and how many of 500
test images each gets right in ONNX Runtime and in OpenVINO, in both where it loads.  The same images are asked of all, so two models are compared
image by image."""

import json
import os
import re
import shutil
import time

TESTS = ("test", "test_noisy")
PEERS = [  # maker, name, environment, command of peers/digits.py, more words, ending
    ("onnxruntime.quantization", "per channel, min-max", "builder", "quantise-ort", ["minmax"], ".onnx"),
    ("onnxruntime.quantization", "per channel, min-max, 7-bit weights", "builder", "quantise-ort", ["minmax", "reduce-range"], ".onnx"),
    ("onnxruntime.quantization", "per tensor, min-max", "builder", "quantise-ort", ["minmax", "per-tensor"], ".onnx"),
    ("onnxruntime.quantization", "per channel, entropy", "builder", "quantise-ort", ["entropy"], ".onnx"),
    ("onnxruntime.quantization", "per channel, percentile", "builder", "quantise-ort", ["percentile"], ".onnx"),
    ("nncf.quantize", "fast bias correction, IR", "optimum", "quantise-nncf", [], ".xml"),
    ("nncf.quantize", "bias correction, IR", "optimum", "quantise-nncf", ["bias"], ".xml"),
    ("nncf.quantize", "fast bias correction, ONNX", "optimum", "quantise-nncf-onnx", ["PACKAGES"], ".onnx"),
    ("nncf.quantize", "bias correction, ONNX", "optimum", "quantise-nncf-onnx", ["PACKAGES", "bias"], ".onnx"),
]
OURS = [("onnx", "int8, ONNX", ("ort", "openvino")), ("openvino", "int8, IR", ("openvino",))]  # format, name, runtimes that it is made for
JUDGE = {"ort": "builder", "openvino": "optimum"}
NAMES = {"ort": "onnxruntime", "openvino": "openvino"}
MAKERS = ("onnxruntime.quantization", "nncf.quantize")


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
        self.rows, self.versions = [], q.tools.versions()
        os.makedirs(self.out, exist_ok=True)

    def file(self, name):
        return os.path.join(self.folder, name)

    def script(self, judge, *words):
        return self.t.run([self.t.judge(judge), os.path.join(self.t.here, "peers", "digits.py"), *words])

    def score(self, r, runtime, model):
        for test in TESTS:
            right = json.loads(self.script(JUDGE[runtime], f"score-{runtime}", model, self.file(test + ".safetensors")).strip().splitlines()[-1])["right"]
            r[test] = {"right": right, "accuracy": right.count("1") / len(right)}

    def rows_of(self, runtimes, who, maker, name, make):
        """One artefact, made once, and its row in each of the runtimes; what one of them refuses is a row with its words."""
        start, about = time.monotonic(), {"who": who, "maker": maker, "name": name}
        try:
            model = make()
            about["seconds"] = round(time.monotonic() - start, 2)
            weights = os.path.splitext(model)[0] + ".bin"
            about["bytes"] = os.path.getsize(model) + (os.path.getsize(weights) if os.path.exists(weights) else 0)
        except Exception as e:  # noqa: BLE001 - whatever a peer died of is its reason
            about["not_measured"] = str(e)
        for runtime in runtimes:
            r = {"runtime": runtime, **about}
            self.rows.append(r)
            try:
                if "not_measured" not in r:
                    self.score(r, runtime, model)
            except Exception as e:  # noqa: BLE001 - the same
                r["not_measured"] = self.refusal(runtime, model, str(e))
            if who == "ours" and "not_measured" in r:
                self.q.failed.append(f"digits-cnn {runtime} {name}: {r['not_measured']}")

    def refusal(self, runtime, model, words):
        """What a runtime said to a model: without the interpreter that ran it, and without the folder."""
        words = re.sub(r"^python ended with \d+: ", "", words).replace(os.path.relpath(model, self.t.root), os.path.basename(model)).replace(model, os.path.basename(model))
        return f"{NAMES[runtime]} {self.versions[NAMES[runtime]]} refuses it: {words}"

    def packages(self, judge):
        """Where an environment keeps its packages."""
        return self.t.run([self.t.judge(judge), "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"]).strip()

    def peer(self, maker, name, judge, command, more, end):
        path = os.path.join(self.out, f"{command}-{'-'.join(more) or 'plain'}{end}")

        def make():
            words = [self.packages(JUDGE["ort"]) if w == "PACKAGES" else w for w in more]
            self.script(judge, command, self.file("model.onnx"), self.file("calibration.safetensors"), path, *words)
            return path
        self.rows_of(JUDGE, "peer", maker, name, make)

    def ours(self, fmt, name, runtimes):
        folder = os.path.join(self.out, f"ours-{fmt}")

        def make():
            shutil.rmtree(folder, ignore_errors=True)
            self.t.run([self.t.hone, "convert", self.file("model.onnx"), "--to", fmt, "--quant", "int8", "--calibration", self.file("calibration.safetensors"), "-o", folder,
                        "--quiet"])
            return found_model(folder)
        self.rows_of(runtimes, "ours", "hone", name, make)


def verdict(mine, theirs, runtime, maker):
    """One of our rows against all of one peer's in the same runtime, on the test images: at least as many right."""
    v = {"model": "digits-cnn", "format": runtime, "words": f"int8 of digits-cnn, right at least as often as every row of {maker} in this runtime", "ours": mine["name"]}
    peers = [r for r in theirs if "test_noisy" in r]
    if "test_noisy" not in mine or not peers:
        return {**v, "verdict": "not measured", "why": mine.get("not_measured") or f"the peer: {next((r['not_measured'] for r in theirs if r.get('not_measured')), 'no row')}"}
    most = max(peers, key=lambda r: r["test"]["accuracy"])
    only, lost = pairs(mine["test"]["right"], most["test"]["right"])
    right = [r[t]["right"].count("1") for t in TESTS for r in (mine, most)]
    said = (f"{right[0]} of {len(mine['test']['right'])} right, the best peer ({most['name']}) {right[1]}; only we {only}, only they {lost}; "
            f"with noise {right[2]} and {right[3]}")
    return {**v, "verdict": "met" if mine["test"]["accuracy"] >= most["test"]["accuracy"] else "red", "why": said}


def verdicts(rows):
    """Each of our rows against each peer."""
    return [verdict(o, [r for r in rows if r["who"] == "peer" and (r["runtime"], r["maker"]) == (o["runtime"], maker)], o["runtime"], maker)
            for o in rows if o["who"] == "ours" for maker in MAKERS]


def self_test():
    """Verdicts by hand: more right is met, fewer is red, and a peer that gave nothing is not beaten."""
    def row(runtime, who, maker, right):
        r = {"runtime": runtime, "who": who, "maker": maker, "name": maker}
        return {**r, **{t: {"right": right, "accuracy": right.count("1") / len(right)} for t in TESTS}} if right else {**r, "not_measured": "it died"}
    ort, nncf = MAKERS
    rows = [row("ort", "ours", "hone", "1101"), row("ort", "peer", ort, "1001"), row("ort", "peer", ort, "0111"), row("ort", "peer", nncf, ""),
            row("openvino", "ours", "hone", "1101"), row("openvino", "peer", ort, "1111"), row("openvino", "peer", nncf, "0001"), row("openvino", "peer", nncf, "")]
    found = [(v["format"], v["verdict"], v["why"]) for v in verdicts(rows)]
    assert [(f, v) for f, v, _ in found] == [("ort", "met"), ("ort", "not measured"), ("openvino", "red"), ("openvino", "met")], found
    assert "only we 1, only they 1" in found[0][2] and found[1][2] == "the peer: it died" and "only we 2, only they 0" in found[3][2], found
    return verdicts(rows), rows


def markdown(rows):
    if not rows:
        return []
    rows = sorted(rows, key=lambda r: list(JUDGE).index(r["runtime"]))
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
    d.rows_of(JUDGE, "float", "float32", "as it is", lambda: d.file("model.onnx"))
    for p in PEERS:
        d.peer(*p)
    if a.only != "peers":
        for o in OURS:
            d.ours(*o)
    return {"rows": d.rows, "verdicts": verdicts(d.rows)}
