"""quality_ours.py - what hone is asked for, by what this build's `hone convert --help` offers, and the targets that it is judged by."""

import re

from quality_peers import ALONE, MLX_SAMPLES

# format -> [(name, --quant, options)]: the encodings by themselves
PLAIN = {
    "gguf": [(t, t, []) for t in ("q2_k", "q3_k_s", "q3_k_m", "q4_k_m")],
    "openvino": [(f"int4 {s} g{g}", "int4", ["--group", g] + (["--sym"] if s == "sym" else [])) for s in ("asym", "sym") for g in ("64", "128")],
    "onnx": [(f"int4 {s} b{g}", "int4", ["--group", g] + (["--sym"] if s == "sym" else [])) for s in ("asym", "sym") for g in ("32", "128")],
    "mlx": [(f"int{b} g64", f"int{b}", ["--group", "64"]) for b in (2, 3, 4)],
}
# Those that calibrated methods are tried on, and the methods, where this build has them.
TREATED = {
    "gguf": ("q2_k", "q3_k_s", "q3_k_m", "q4_k_m"), "openvino": ("int4 asym g64", "int4 sym g64", "int4 asym g128", "int4 sym g128"),
    "onnx": ("int4 asym b32", "int4 sym b32", "int4 asym b128"), "mlx": ("int2 g64", "int3 g64", "int4 g64"),
}
METHODS = {"gguf": ("search", "gptq", "awq,gptq"), "openvino": ("scale", "gptq", "awq,gptq"), "onnx": ("hqq", "gptq", "awq,gptq"), "mlx": ("scale", "gptq", "awq,gptq")}
# int8 to the nearest beside the same bytes after SmoothQuant, where the runtime quantises activations too; rtn on both sides, so that one thing differs.
SMOOTHED = {"openvino": [("int8 asym", "int8", []), ("int8 sym", "int8", ["--sym"])], "onnx": [(f"int8 {s} b32", "int8", ["--sym"] if s == "sym" else []) for s in ("asym", "sym")]}

# Types whose codes are points of a grid, which no plan of ours takes: by themselves, as llama-quantize has them, with what calibration saw.
GRIDS = {"gguf": ("iq2_xs", "iq2_m", "iq3_xxs", "iq3_s", "iq3_m")}

# Ids of the calibration text that ours may see where the peers of a format see less than all of it: chunks of 511 ids after BOS.
CALIBRATED_ON = {"mlx": MLX_SAMPLES * 511}

# (format, the peer's row, how much lower ours must be, in words)
TARGETS = [
    ("gguf", "q4_k_m imatrix", 1, "llama.cpp's q4_k_m with its own imatrix"),
    ("gguf", "q3_k_m imatrix", 1, "llama.cpp's q3_k_m with its own imatrix"),
    ("gguf", "q3_k_m imatrix", .75, "the same, 25 % lower at 3 bits"),
    ("gguf", "q3_k_s imatrix", .75, "llama.cpp's q3_k_s with imatrix, 25 % lower at 3 bits"),
    ("gguf", "q2_k imatrix", .75, "llama.cpp's q2_k with imatrix, 25 % lower at 2 bits"),
    ("openvino", "int4 asym g64 SE+AWQ", 1, "NNCF int4 asym g64 with scale estimation and AWQ"),
    ("openvino", "int4 sym g64 SE+AWQ", 1, "NNCF int4 sym g64 with scale estimation and AWQ"),
    ("openvino", "int4 asym g128 SE+AWQ", 1, "NNCF int4 asym g128 with scale estimation and AWQ"),
    ("openvino", "int4 sym g128 SE+AWQ", 1, "NNCF int4 sym g128 with scale estimation and AWQ"),
    ("onnx", "int4 rtn b32", 1, "the genai builder's RTN, blocks of 32"),
    ("onnx", "int4 k_quant b32", 1, "the genai builder's k_quant, blocks of 32"),
    ("onnx", "int4 rtn b128", 1, "the genai builder's RTN, blocks of 128"),
    ("onnx", "int4 k_quant b128", 1, "the genai builder's k_quant, blocks of 128"),
    ("onnx", "int4 k_quant_mixed b32", 1, "the genai builder's k_quant_mixed"),
    ("mlx", "awq int4 g64", 1, "mlx_lm AWQ, 4 bits"),
    ("mlx", "dynamic 4/5 5.0 bpw", 1, "mlx_lm dynamic_quant 4/5 bits, 5.0 per weight"),
    ("mlx", "dynamic 3/5 4.0 bpw", 1, "mlx_lm dynamic_quant 3/5 bits, 4.0 per weight"),
    ("mlx", "awq int3 g64", .75, "mlx_lm AWQ, 25 % lower at 3 bits"),
    ("mlx", "awq int2 g64", .75, "mlx_lm AWQ, 25 % lower at 2 bits"),
    ("mlx", "dynamic 2/4 3.2 bpw", .75, "mlx_lm dynamic_quant 2/4 bits, 25 % lower"),
]

# Where the builder refuses a family, the quantiser that it would have called stands for it, on a graph that it can read.
INSTEAD = {t[1]: t[1] + ALONE for t in TARGETS if t[0] == "onnx"}


def peer_of(rows, name):
    """The peer's row of that name; where it is not measured, the row that stands for it, if that is; None where there is neither."""
    named = {r["name"]: r for r in rows if r["who"] == "peer"}
    first, second = named.get(name), named.get(INSTEAD.get(name))
    return second if second and not second.get("not_measured") and (first is None or first.get("not_measured")) else first


class Offer:
    """What this build of hone has, in its own words."""

    def __init__(self, convert_help, verbs):
        self.help, self.verbs = convert_help, verbs
        about = re.search(r"--method\b.*?(?=\n\s+-)", convert_help, re.S)
        self.methods = set(re.findall(r"\b(rtn|search|hqq|scale|gptq|awq|smooth)\b", about.group(0))) if about else set()

    def has(self, option):
        return re.search(rf"--{option}\b", self.help) is not None

    def verb(self, name):
        return re.search(rf"^\s*{name}\b", self.verbs, re.M) is not None


def rows(fmt, offer, stats, aims):
    """[(name, maker, --quant, options, why not)] of one format.  stats: the file of hone calibrate, or None; aims: [(name of the peer's row, bytes)]."""
    out = [(name, "hone", quant, options, None) for name, quant, options in PLAIN[fmt]]
    plain = {name: (quant, options) for name, quant, options in PLAIN[fmt]}
    ready = offer.has("calibration") and stats
    for name in TREATED[fmt]:
        quant, options = plain[name]
        for method in METHODS[fmt]:
            if not set(method.split(",")) <= offer.methods:
                continue
            more = ["--method", method] + (["--calibration", stats] if ready and method != "hqq" else [])
            out.append((f"{name} {method.replace(',', '+')}", "hone calibrated", quant, options + more, None if ready else "this build has no calibrated conversion"))
    for name, quant, options in SMOOTHED.get(fmt, []) if "smooth" in offer.methods else []:
        out.append((name, "hone", quant, options + ["--method", "rtn"], None))
        out.append((f"{name} smooth", "hone calibrated", quant, options + ["--method", "smooth,rtn", "--calibration", stats],
                    None if ready else "this build has no calibrated conversion"))
    for name in GRIDS.get(fmt, ()) if "search" in offer.methods else ():
        out.append((f"{name} search", "hone calibrated", name, ["--method", "search", "--calibration", stats], None if ready else "this build has no calibrated conversion"))
    for name, size in aims if fmt != "openvino" else []:  # a plan counts an IR's graph too, the peers' bytes here are those of the .bin
        why = None if offer.verb("plan") and offer.has("plan") and ready else "this build has no plans"
        out.append((f"plan for {name}", "hone plan", None, [str(size), "--method", "gptq", "--calibration", stats], why))
    return out
