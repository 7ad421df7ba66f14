#!/usr/bin/env python3
"""mlx_folders.py HONE [--write] MODELS...: mlx_lm judges the folders that `hone convert --to mlx` writes.
Run by `make judges-all`, in the environment "mlx" of tools/judge.

For every causal checkpoint folder in MODELS:
  tensors   every tensor of int4, mxfp4, nvfp4, mxfp8 and f32 is, name for name and bit for bit, what mlx_lm.convert makes of the same checkpoint, and so
            are the quantization settings of config.json.  The digest of mlx_lm's tensors is the one in tests/golden/mlx/folders.json,
            by which tests/cli/convert_mlx.sh judges without mlx_lm (--write: the file is made anew);
  logits    mlx_lm loads the f32 folder, strictly, and its logits are those of reference.safetensors: mean KLD at most 1e-5, the same best
            token wherever the reference's two best are more than 0.01 apart; its generation gives the reference's greedy continuation.  Where a row of data/limits.json says that mlx_lm cannot
            express the model, the logits must differ, and hone must have told: when the row is no longer true it can go;
  int4      mlx_lm loads the quantised folder, its tokenizer too, and computes finite logits.
Every folder of tests/golden/variants, and every model with its rotation in the spelling of transformers 5 (rope_parameters), is converted
to f32 and must give its reference logits too, unless hone refuses it (exit 4) or tells of a limit.
Every bit width and group is compared with mx.quantize on the first model, and --keep with a quant_predicate that says the same.
Exit 0 when all holds."""

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"
import mlx.core as mx  # noqa: E402
import mlx_lm  # noqa: E402
import numpy as np  # noqa: E402
from mlx_peer import greedy  # noqa: E402
from mlx_lm.utils import load_model, load_tokenizer  # noqa: E402
from safetensors import safe_open  # noqa: E402

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "mlx" / "folders.json"
# References that mlx_lm cannot meet, by the limit that says why.
LIMITED = {
    ("mistral", "reference.safetensors"): "sliding window",
    ("gemma2", "reference.safetensors"): "sliding window",
    ("starcoder2", "reference.safetensors"): "sliding window",
    ("phi3", "reference.safetensors"): "longrope",
}
NAMES = {mx.uint32: "U32", mx.uint8: "U8", mx.float32: "F32", mx.bfloat16: "BF16", mx.float16: "F16"}
failed = 0
golden = {}


def fail(text):
    global failed
    failed += 1
    print("FAIL:", text)


def hone(program, *arguments):
    r = subprocess.run([program, "convert", *map(str, arguments), "--json"], capture_output=True, text=True)
    return r.returncode, json.loads(r.stdout)


def tensors(folder):
    out = {}
    for f in sorted(folder.glob("model*.safetensors")):
        out.update(mx.load(str(f)))
    return out


def bits(a):
    return bytes(memoryview(mx.view(a, mx.uint8).flatten())) if a.size else b""


def digest(t):
    """Of lines "name DTYPE shape sha256", sorted by name; tests/cli/convert_mlx.sh does the same."""
    lines = [f"{k} {NAMES[v.dtype]} {list(v.shape)} {hashlib.sha256(bits(v)).hexdigest()}\n" for k, v in sorted(t.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def loadable(source, tmp):
    """mlx_lm loads GPT-2 only from a checkpoint of the base model, whose names lack "transformer."."""
    if json.loads((source / "config.json").read_text())["model_type"] != "gpt2":
        return source
    bare = tmp / "bare-gpt2"
    if not bare.exists():
        shutil.copytree(source, bare)
        t = {k.removeprefix("transformer."): v for k, v in mx.load(str(source / "model.safetensors")).items()}
        mx.save_safetensors(str(bare / "model.safetensors"), t, {"format": "pt"})
    return bare


def compare_tensors(name, quant, ours, theirs):
    a, b = tensors(ours), tensors(theirs)
    golden.setdefault(name, {})[quant] = digest(b)
    name = f"{name} {quant}"
    if a.keys() != b.keys():
        fail(f"{name}: only hone has {sorted(a.keys() - b.keys())[:3]}, only mlx_lm has {sorted(b.keys() - a.keys())[:3]}")
    for k in sorted(a.keys() & b.keys()):
        if a[k].dtype != b[k].dtype or a[k].shape != b[k].shape or bits(a[k]) != bits(b[k]):
            fail(f"{name}: tensor {k} differs: {a[k].dtype}{a[k].shape} and {b[k].dtype}{b[k].shape}")
    ours, theirs = (json.loads((d / "config.json").read_text()) for d in (ours, theirs))
    for k in ("quantization", "quantization_config"):
        if ours.get(k) != theirs.get(k):
            fail(f"{name}: config.json says {k} {ours.get(k)}, mlx_lm {theirs.get(k)}")
    return len(a)


def log_softmax(x):
    x = x.astype(np.float64)
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def logits_of(folder, ids):
    model, _ = load_model(folder, strict=True)
    return np.array(model(mx.array(ids)).astype(mx.float32))


def judge(reference, got, gap):
    p, q = log_softmax(reference), log_softmax(got)
    kld = float((np.exp(p) * (p - q)).sum(-1).mean())
    two = np.sort(reference, -1)[..., -2:]
    sure = two[..., 1] - two[..., 0] > gap
    return kld, int((reference.argmax(-1) != got.argmax(-1))[sure].sum())


def one_model(program, source, tmp):
    name = source.name
    modes = {"int4": {"quantize": True}, "f32": {"dtype": "float32"}}
    modes.update({m: {"quantize": True, "q_mode": m, "q_group_size": None, "q_bits": None} for m in ("mxfp4", "nvfp4", "mxfp8")})
    code, doc = hone(program, source, "--to", "mlx", "--quant", ",".join(modes), "-o", tmp)
    if code:
        return fail(f"{name}: hone convert ends with {code}: {doc['error']['cause']}")
    ours = {o["quantization"]: Path(o["path"]) for o in doc["outputs"]}
    compared = []
    for quant, options in modes.items():
        theirs = tmp / f"{name}-{quant}-theirs"
        mlx_lm.convert(str(loadable(source, tmp)), str(theirs), **options)
        compared.append(f"{quant}: {compare_tensors(name, quant, ours[quant], theirs)} tensors equal")
    judged = []
    for file in ("reference.safetensors", "reference_long.safetensors"):
        if not (source / file).exists():
            continue
        with safe_open(source / file, "numpy") as f:
            ids, reference = f.get_tensor("input_ids"), f.get_tensor("logits")
        kld, wrong = judge(reference, logits_of(ours["f32"], ids), 0.01)
        judged.append(f"{file}: KLD {kld:.1e}, {wrong} other best tokens")
        limit = LIMITED.get((name, file))
        if not limit and (kld > 1e-5 or wrong):
            fail(f"{name}: {judged[-1]}")
        if not limit and (source / file).with_suffix(".json").exists():
            same, near, wrong = greedy(load_model(ours["f32"], strict=True)[0], source / file)
            judged[-1] += f", {same} greedy steps, {near} near ties"
            if wrong or not same:
                fail(f"{name}: {judged[-1]}: {wrong}")
        if limit and kld <= 1e-5:
            fail(f"{name}: {judged[-1]}: the limit '{limit}' is gone, its row in data/limits.json can go")
        if limit and not any(w.startswith("in mlx_lm: ") and limit in w for w in doc["warnings"]):
            fail(f"{name}: hone does not tell of '{limit}'")
        judged[-1] += f" (limit: {limit})" if limit else ""
        for quant in modes:
            if not np.isfinite(logits_of(ours[quant], ids)).all():
                fail(f"{name}: {quant} gives logits that are not finite")
    load_tokenizer(ours["int4"])
    print(f"{name}: {'; '.join(compared)}; {'; '.join(judged)}")


def every_width(program, source, tmp):
    weights = tensors(source)
    n = 0
    for group in (32, 64, 128):
        for width in (2, 3, 4, 5, 6, 8):
            code, doc = hone(program, source, "--to", "mlx", "--quant", f"int{width}", "--group", group, "-o", tmp / f"w{width}-{group}")
            if code:
                return fail(f"int{width} group {group}: {doc['error']['cause']}")
            ours = tensors(Path(doc["outputs"][0]["path"]))
            for k, w in weights.items():
                if w.ndim != 2 or w.shape[-1] % group:
                    continue
                q, s, b = mx.quantize(w, group_size=group, bits=width)
                stem = k[: -len("weight")]
                for have, want in ((ours[k], q), (ours[stem + "scales"], s), (ours[stem + "biases"], b)):
                    n += 1
                    if bits(have) != bits(want):
                        fail(f"int{width} group {group}: {k} differs from mx.quantize")
    print(f"{source.name}: {n} tensors of 18 encodings are those of mx.quantize")


def kept(program, source, tmp):
    """Modules that --keep gives other types, over a quantised and over an unquantised model."""
    down, embed = {"group_size": 64, "bits": 8, "mode": "affine"}, {"group_size": 32, "bits": 4, "mode": "mxfp4"}

    def predicate(path, module):
        return down if path.endswith("down_proj") else embed if path.endswith("embed_tokens") else "o_proj" not in path

    code, doc = hone(program, source, "--to", "mlx", "--quant", "int4,bf16", "-o", tmp / "kept", "--keep", "*.down_proj.weight=int8", "--keep",
                     "*embed_tokens.weight=mxfp4", "--keep", "*.o_proj.weight=bf16")
    if code:
        return fail(f"--keep: {doc['error']['cause']}")
    ours = {o["quantization"]: Path(o["path"]) for o in doc["outputs"]}
    mlx_lm.convert(str(source), str(tmp / "kept-theirs"), quantize=True, quant_predicate=predicate, dtype="bfloat16")
    n = compare_tensors("kept", "int4", ours["int4"], tmp / "kept-theirs")
    del golden["kept"]
    for path in ours.values():
        if not np.isfinite(logits_of(path, [[1, 2, 3]])).all():
            fail(f"--keep: {path.name} gives logits that are not finite")
    print(f"{source.name} with --keep: {n} tensors equal, also loaded over bf16")


def links(base, to, skip=()):
    to.mkdir()
    for f in base.resolve().iterdir():
        if f.name not in skip and f.is_file():
            (to / f.name).symlink_to(f)


def respelled(config):
    """The rotation as transformers 5 writes it."""
    c = dict(config)
    rope = dict(c.pop("rope_scaling", None) or {"rope_type": "default"})
    rope.setdefault("rope_type", rope.pop("type", None))
    for old, new in (("rope_theta", "rope_theta"), ("rotary_emb_base", "rope_theta"), ("partial_rotary_factor",) * 2, ("rotary_pct", "partial_rotary_factor")):
        if c.get(old) is not None:
            rope[new] = c.pop(old)
    if "rope_local_base_freq" in c:
        rope = {"full_attention": rope, "sliding_attention": {"rope_type": "default", "rope_theta": c.pop("rope_local_base_freq")}}
        pattern = c.pop("sliding_window_pattern")
        c["layer_types"] = [("full" if (i + 1) % pattern == 0 else "sliding") + "_attention" for i in range(c["num_hidden_layers"])]
    c["rope_parameters"] = rope
    return c


def one_config(program, name, folder, file, tmp):
    code, doc = hone(program, folder, "--to", "mlx", "--quant", "f32", "-o", tmp)
    if code == 4:
        return print(f"{name}: refused: {doc['error']['cause']}")
    if code:
        return fail(f"{name}: hone convert ends with {code}: {doc['error']['cause']}")
    with safe_open(file, "numpy") as f:
        ids, reference = f.get_tensor("input_ids"), f.get_tensor("logits")
    try:
        kld, wrong = judge(reference, logits_of(Path(doc["outputs"][0]["path"]), ids), 0.01)
    except (ValueError, TypeError, KeyError) as e:
        return fail(f"{name}: mlx_lm cannot load the folder: {str(e)[:200]}")
    told = [w for w in doc["warnings"] if w.startswith("in mlx_lm: ")]
    print(f"{name}: KLD {kld:.1e}, {wrong} other best tokens{' (limit: ' + told[0][11:60] + '...)' if told else ''}")
    if not told and (kld > 1e-5 or wrong):
        fail(f"{name}: KLD {kld:.1e}, and hone tells of no limit")


def other_configs(program, sources, tmp):
    root = Path(__file__).resolve().parents[2]
    for variant in sorted((root / "tests" / "golden" / "variants").iterdir()):
        about, to = json.loads((variant / "variant.json").read_text()), tmp / f"variant-{variant.name}"
        base = root / about["base"]
        links(base, to, ("config.json",) + (("model.safetensors",) if about["own_weights"] else ()))
        if about["own_weights"]:
            (to / "model.safetensors").symlink_to(variant.resolve() / "model.safetensors")
        (to / "config.json").write_text(json.dumps({**json.loads((base / "config.json").read_text()), **about["config"]}))
        one_config(program, variant.name, to, variant / "reference.safetensors", tmp)
    for source in sources:
        to, config = tmp / f"respelled-{source.name}", json.loads((source / "config.json").read_text())
        if "rope_theta" not in config and "rotary_emb_base" not in config:
            continue
        links(source, to, ("config.json",))
        (to / "config.json").write_text(json.dumps(respelled(config)))
        one_config(program, f"{source.name} with rope_parameters", to, source / "reference.safetensors", tmp)


def experts_in_bf16(program, source, tmp):
    code, doc = hone(program, source, "--to", "mlx", "--quant", "bf16", "-o", tmp / "experts")
    if code:
        return fail(f"{source.name} bf16: {doc['error']['cause']}")
    try:
        logits_of(Path(doc["outputs"][0]["path"]), [[1, 2, 3]])
    except (RuntimeError, ValueError) as e:
        return print(f"{source.name} in bf16: {str(e).splitlines()[0]}")
    fail("experts in bf16 run on this processor: the row facts:mlx_experts of data/limits.json can go")


def refused(program, source, tmp):
    """An encoder: hone writes no folder of it for as long as mlx_lm has no module that could load one."""
    code, _ = hone(program, source, "--to", "mlx", "--quant", "f32", "-o", tmp / "refused")
    if code != 4:
        fail(f"{source.name}: hone convert --to mlx is exit {code}, needs 4")
    if importlib.util.find_spec("mlx_lm.models.bert"):
        fail(f"{source.name}: mlx_lm has models/bert.py now; the row facts:encoder of data/limits.json can go")


def main():
    arguments = sys.argv[1:]
    write = "--write" in arguments
    program, *sources = [a for a in arguments if a != "--write"]
    sources = [Path(p) for p in sources]
    print(f"mlx {mx.__version__}, mlx_lm {mlx_lm.__version__}")
    with tempfile.TemporaryDirectory() as tmp:
        encoders = [s for s in sources if json.loads((s / "config.json").read_text())["model_type"] == "bert"]
        sources = [s for s in sources if s not in encoders]
        for source in encoders:
            refused(program, source, Path(tmp))
        for source in sources:
            one_model(program, source, Path(tmp))
        other_configs(program, sources, Path(tmp))
        every_width(program, sources[0], Path(tmp))
        kept(program, sources[0], Path(tmp))
        for source in [s for s in sources if s.name == "mixtral"]:
            experts_in_bf16(program, source, Path(tmp))
    made = {"made_by": f"mlx_lm.convert of mlx-lm {mlx_lm.__version__}, mlx {mx.__version__} on the CPU: tests/judges/mlx_folders.py --write", "models": golden}
    if write:
        GOLDEN.parent.mkdir(parents=True, exist_ok=True)
        GOLDEN.write_text(json.dumps(made, indent=1, sort_keys=True) + "\n")
    stored = json.loads(GOLDEN.read_text())["models"]
    for name, digests in golden.items():
        if stored.get(name) != digests:
            fail(f"{name}: tests/golden/mlx/folders.json has other digests")
    print(f"{failed} failed" if failed else "all hold")
    return 1 if failed else 0


sys.exit(main())
