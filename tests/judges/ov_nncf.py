#!/usr/bin/env python3
"""ov_nncf.py HONE MODELS...: NNCF judges the compressed weights of `hone convert --to openvino`.  Run by `make judges-all`, in the environment
"optimum" of tools/judge.

The f32 model of each checkpoint folder is given to nncf.compress_weights, without data, in every mode that hone has (int8 and int4, with zero points and
without, groups of 32 and 64, whole rows, a ratio of 0.6).  Every code, zero point and scale must be, name for name and shape for shape, what hone
writes at the same settings: so which weights get 4 bits is judged too.  Where rows are no multiple of the group NNCF refuses; those families
are compared in the other modes.  Exit 0 when at least 99.99 % of all values of each mode are equal."""

import logging
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import nncf
import openvino as ov

nncf.set_log_level(logging.ERROR)
MODE = nncf.CompressWeightsMode
MODES = [
    ("int8", [], MODE.INT8_ASYM, {}),
    ("int8", ["--sym"], MODE.INT8_SYM, {}),
    ("int4", ["--group", "32"], MODE.INT4_ASYM, {"group_size": 32, "ratio": 1.0}),
    ("int4", ["--group", "64", "--sym"], MODE.INT4_SYM, {"group_size": 64, "ratio": 1.0}),
    ("int4", ["--group", "row"], MODE.INT4_ASYM, {"group_size": -1, "ratio": 1.0}),
    ("int4", ["--group", "32", "--ratio", "0.6"], MODE.INT4_ASYM, {"group_size": 32, "ratio": 0.6}),
]
core = ov.Core()


def convert(program, source, out, quant, *options):
    subprocess.run([program, "convert", source, "--to", "openvino", "--quant", quant, *options, "-o", out, "--quiet"], check=True, stdout=subprocess.DEVNULL)
    return core.read_model(out / f"{source.name}-{quant}-openvino" / "openvino_model.xml")


def constants(model):
    """Compressed weights, their zero points and scales: {name: (type, shape, values)}."""
    out = {}
    for n in model.get_ops():
        if n.get_type_name() == "Constant":
            kind = n.get_element_type().get_type_name()
            if kind in ("u4", "i4", "u8", "i8") or n.get_friendly_name().endswith("/scale"):
                out[n.get_friendly_name()] = (kind, tuple(n.get_output_shape(0)), np.asarray(n.data).reshape(-1))
    return out


def one(program, source, tmp):
    wrong = []
    for i, (quant, options, mode, settings) in enumerate(MODES):
        what = f"{source.name} {quant} {' '.join(options)}".strip()
        plain = convert(program, source, tmp / "plain", "f32")
        try:
            theirs = constants(nncf.compress_weights(plain, mode=mode, **settings))
        except nncf.errors.UnsupportedModelError as e:
            print(f"{what}: NNCF refuses: {str(e).splitlines()[0][:90]}")
            continue
        ours = constants(convert(program, source, tmp / str(i), quant, *options))
        if ours.keys() != theirs.keys() or any(ours[k][:2] != theirs[k][:2] for k in ours):
            odd = sorted(k for k in ours.keys() | theirs.keys() if ours.get(k, (0, 0))[:2] != theirs.get(k, (0, 0))[:2])
            wrong.append(f"{what}: other constants: {odd[:3]}")
            continue
        total, same = (sum(int(f(ours[k][2], theirs[k][2])) for k in ours) for f in (lambda a, b: a.size, lambda a, b: (a == b).sum()))
        print(f"{what}: {same} of {total} values in {len(ours)} constants are NNCF's", flush=True)
        if same < 0.9999 * total:
            wrong.append(f"{what}: {same} of {total}")
    return wrong


def main():
    wrong = []
    print(f"nncf {nncf.__version__}, openvino {ov.get_version()}")
    for source in map(Path, sys.argv[2:]):
        with tempfile.TemporaryDirectory() as tmp:
            wrong += one(sys.argv[1], source, Path(tmp))
    for line in wrong:
        print("FAIL:", line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
