#!/usr/bin/env python3
"""ov_folders.py HONE [--only FAMILY,... | --variants] MODELS...: OpenVINO and openvino-genai judge the folders that `hone convert --to openvino` writes.
Run by `make judges-all` over all families and by tests/cli/judge_openvino.sh over a few, in the environment "ovgenai" of tools/judge.

For every checkpoint folder in MODELS:
  logits    of the f32 and f16 models are those of reference*.safetensors: mean KLD at most 1e-5 and 1e-3, the same best token wherever the
            reference's two best are more than 0.01 and 0.03 apart; in one go, token by token behind the first part with the state, and as a
            batch of texts of different lengths, padded left, with one more step behind;
  fused     the CPU plug-in makes one operation of every norm, rotation and attention (but soft-capped ones) and, with experts, products with
            the chosen ones only;
  genai     openvino_genai.LLMPipeline loads every folder as it is.  In f32 it continues both rows of input_ids as reference.json does, with
            paged attention and without (where the gap of the best two is at most 0.03 it may differ and is given the reference's token), and
            gives the same for a text as for its ids; int8 and int4, symmetric and not, in groups and by rows, generate too;
  paged     the model becomes one of paged attention, with the windows of config.json; where it cannot, data/limits.json says so;
  BERT      last_hidden_state is the reference's, its embeddings too when pooled as rt_info says, and openvino_genai.TextEmbeddingPipeline embeds a text
            as the model does its ids.
With --variants every folder of tests/golden/variants gives its reference logits too, unless hone refuses it (exit 4).
Exit 0 when all holds."""

import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import openvino as ov
import openvino_genai as genai
from openvino._offline_transformations import paged_attention_transformation

ROOT = Path(__file__).resolve().parents[2]
GAP, KLD = {"f32": 0.01, "f16": 0.03}, {"f32": 1e-5, "f16": 1e-3}
EXACT = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32"}
# Families whose models cannot become ones of paged attention, by the limit that says why.
NOT_PAGED = {"gemma2": "soft-cap"}
core = ov.Core()
failed = 0


def fail(text):
    global failed
    failed += 1
    print("FAIL:", text, flush=True)


def hone(program, *arguments):
    r = subprocess.run([program, "convert", *map(str, arguments), "--json"], capture_output=True, text=True)
    doc = json.loads(r.stdout)
    if r.returncode:
        fail(f"hone convert {' '.join(map(str, arguments))} ends with {r.returncode}: {doc['error']['cause']}")
        return None
    return doc


def tensors(path):
    """A safetensors file of f32 and i64 tensors."""
    raw = path.read_bytes()
    n = int.from_bytes(raw[:8], "little")
    kinds = {"F32": np.float32, "I64": np.int64}
    return {k: np.frombuffer(raw[8 + n + t["data_offsets"][0]:8 + n + t["data_offsets"][1]], kinds[t["dtype"]]).reshape(t["shape"])
            for k, t in json.loads(raw[8:8 + n]).items() if k != "__metadata__"}


def log_softmax(x):
    x = x.astype(np.float64)
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def compare(what, quant, reference, got):
    p, q = log_softmax(reference), log_softmax(got)
    kld = float((np.exp(p) * (p - q)).sum(-1).mean())
    two = np.sort(reference, -1)[..., -2:]
    wrong = int(((reference.argmax(-1) != got.argmax(-1)) & (two[..., 1] - two[..., 0] > GAP[quant])).sum())
    if not kld <= KLD[quant] or wrong:
        fail(f"{what}: KLD {kld:.1e}, {wrong} other best tokens")
    return kld


def forward(request, ids, mask):
    n = ids.shape[1]
    positions = np.maximum(mask.cumsum(1) - 1, 0)[:, -n:]
    request.infer({"input_ids": ids, "attention_mask": mask, "position_ids": positions, "beam_idx": np.arange(len(ids), dtype=np.int32)})
    return request.get_tensor("logits").data.copy()


def judge_logits(name, quant, request, ids, reference, first):
    total = ids.shape[1]
    ones = np.ones_like(ids)
    kld = [compare(f"{name} {quant} in one go", quant, reference, forward(request, ids, ones))]
    request.reset_state()
    steps = [forward(request, ids[:, :first], ones[:, :first])] + [forward(request, ids[:, i:i + 1], ones[:, :i + 1]) for i in range(first, total)]
    kld.append(compare(f"{name} {quant} step by step", quant, reference, np.concatenate(steps, 1)))
    # The second text is 5 tokens shorter: in front of it there is padding.
    request.reset_state()
    short, mask = ids[:, :-1].copy(), ones.copy()
    short[1] = np.concatenate([np.zeros(5, np.int64), ids[1, :total - 6]])
    mask[1, :5] = 0
    begin = forward(request, short, mask[:, :-1])
    last = forward(request, np.array([[ids[0, -1]], [ids[1, total - 6]]]), mask)
    kld.append(compare(f"{name} {quant} padded", quant, reference[0], np.concatenate([begin[0], last[0]])))
    kld.append(compare(f"{name} {quant} padded", quant, reference[1, :total - 5], np.concatenate([begin[1, 5:], last[1]])))
    request.reset_state()
    return max(kld)


def judge_fusions(name, model, compiled, layers):
    """Every norm, rotation and attention of the IR is one operation of the plug-in."""
    have = Counter(n.get_friendly_name().rsplit("/", 1)[-1] for n in model.get_ops())
    kinds = Counter(n.get_type_name() for n in model.get_ops())
    made = Counter(str(n.get_rt_info()["layerType"].value) for n in compiled.get_runtime_model().get_ops())
    # Two norms of the same row (GPT-NeoX) share what they compute.
    normalised = {n.input_value(0).get_node().get_friendly_name() for n in model.get_ops() if n.get_type_name() == "MVN"}
    wanted = {"ScaledDotProductAttention": kinds["ScaledDotProductAttention"], "RoPE": have["rotated"], "RMS": kinds["ReduceMean"], "MVN": len(normalised),
              "GatherMatmul": 3 * kinds["TopK"]}
    for kind, n in wanted.items():
        if made[kind] != n:
            fail(f"{name}: {made[kind]} of {n} {kind} are fused")
    if kinds["ScaledDotProductAttention"] != layers and name not in NOT_PAGED:
        fail(f"{name}: {kinds['ScaledDotProductAttention']} attentions in {layers} layers")


def number(node):
    """The value of a constant behind conversions, squeezing and one multiplication or subtraction."""
    kind = node.get_type_name()
    if kind == "Constant":
        return node.data.item()
    a = [number(i.get_node()) for i in node.input_values()]
    return {"Multiply": lambda: a[0] * a[1], "Subtract": lambda: a[0] - a[1]}.get(kind, lambda: a[0])()


def windows_of(config):
    n, window = config["num_hidden_layers"] if "num_hidden_layers" in config else config["n_layer"], config.get("sliding_window") or 0
    if not window or config.get("use_sliding_window") is False:
        return [0] * n
    if "layer_types" in config:
        return [window if t == "sliding_attention" else 0 for t in config["layer_types"]]
    pattern = config.get("sliding_window_pattern") or 0
    return [0 if pattern and (i + 1) % pattern == 0 else window for i in range(n)]


def judge_paged(name, xml, config, warnings):
    model = core.read_model(xml)
    told = [w for w in warnings if w.startswith("in openvino: ") and NOT_PAGED.get(name, "\0") in w]
    try:
        paged_attention_transformation(model)
    except RuntimeError as e:
        if not told:
            fail(f"{name}: no paged attention, and hone does not tell: {str(e)[:200]}")
        return "not paged"
    if name in NOT_PAGED:
        fail(f"{name}: the limit '{NOT_PAGED[name]}' is gone, its row in data/limits.json can go")
    got = [number(n.input_value(10).get_node()) for n in model.get_ordered_ops() if n.get_type_name() == "PagedAttentionExtension"]
    if got != windows_of(config):
        fail(f"{name}: paged attention has windows {got}, config.json {windows_of(config)}")
    return f"windows {sorted(set(got))}" if any(got) else "paged"


def generate(pipeline, ids, n):
    t = np.asarray([ids], np.int64)
    config = genai.GenerationConfig(max_new_tokens=n, do_sample=False, ignore_eos=True)
    return list(pipeline.generate(genai.TokenizedInputs(ov.Tensor(t), ov.Tensor(np.ones_like(t))), config).tokens[0])


def judge_greedy(what, pipeline, ids, reference):
    for row, want, gaps in zip(ids.tolist(), reference["greedy"], reference["greedy_top2_gap"]):
        done = 0
        while done < len(want):
            got = generate(pipeline, row + want[:done], len(want) - done)
            same = next((i for i, (a, b) in enumerate(zip(got, want[done:])) if a != b), len(want) - done)
            done += same
            if done < len(want):
                if gaps[done] > 0.03:
                    fail(f"{what}: token {done} is {got[same]}, the reference's {want[done]} leads by {gaps[done]}")
                    return
                done += 1


def judge_genai(name, folders, ids, reference):
    for backend in ({} if name in NOT_PAGED else {"ATTENTION_BACKEND": "PA"}, {"ATTENTION_BACKEND": "SDPA"}):
        pipeline = genai.LLMPipeline(folders["f32"], "CPU", **backend, **EXACT)
        judge_greedy(f"{name} in openvino-genai {backend}", pipeline, ids, reference)
    tokenizer = pipeline.get_tokenizer()
    text = "One day, in summer, they went to the sea."
    config = genai.GenerationConfig(max_new_tokens=8, do_sample=False, ignore_eos=True, apply_chat_template=False)
    said = pipeline.generate(text, config)
    want = tokenizer.decode(generate(pipeline, tokenizer.encode(text).input_ids.data[0].tolist(), 8))
    if str(said) != want:
        fail(f"{name}: a text gives {str(said)!r}, its ids {want!r}")
    for quant, folder in folders.items():
        if quant != "f32":
            got = generate(genai.LLMPipeline(folder, "CPU"), ids[0].tolist(), 8)
            if len(got) != 8:
                fail(f"{name} {quant}: openvino-genai gives {len(got)} of 8 tokens")


def pooled(model, hidden, mask):
    if model.get_rt_info(["hone", "pooling"]).astype(str) != "mean" or model.get_rt_info(["hone", "normalize"]).astype(str) != "True":
        fail("bert pools otherwise than 1_Pooling/config.json says")
    seen = mask[..., None]
    mean = (hidden * seen).sum(1) / seen.sum(1)
    return mean / np.linalg.norm(mean, axis=-1, keepdims=True)


def judge_bert(name, source, folders):
    r = tensors(source / "reference.safetensors")
    for quant, limit in (("f32", 1e-4), ("f16", 1e-2)):
        model = core.read_model(Path(folders[quant]) / "openvino_model.xml")
        compiled = core.compile_model(model, "CPU", EXACT)

        def hidden(ids, mask):
            return compiled({"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)})["last_hidden_state"]

        got, mask = hidden(r["input_ids"], r["attention_mask"]), r["attention_mask"]
        worst = max(float(np.abs((got - r["last_hidden_state"]) * mask[..., None]).max()), float(np.abs(pooled(model, got, mask) - r["embeddings"]).max()))
        if not worst <= limit:
            fail(f"{name} {quant}: differs from the reference by {worst:.1e}")
        text, kinds = "One day, in summer, they went to the sea.", genai.TextEmbeddingPipeline
        pipeline = kinds(folders[quant], "CPU", kinds.Config(pooling_type=kinds.PoolingType.MEAN, normalize=True), INFERENCE_PRECISION_HINT="f32")
        t = genai.Tokenizer(folders[quant]).encode(text)
        want = pooled(model, hidden(t.input_ids.data, t.attention_mask.data), t.attention_mask.data)[0]
        apart = float(np.abs(np.array(pipeline.embed_query(text)) - want).max())
        if not apart <= 1e-5:
            fail(f"{name} {quant}: openvino-genai's embedding of a text differs by {apart:.1e}")
        print(f"{name} {quant}: differs by {worst:.1e} at most, in openvino-genai by {apart:.1e}", flush=True)


def one_model(program, source, tmp):
    name = source.name
    doc = hone(program, source, "--to", "openvino", "--quant", "f32,f16,int8,int4", "--group", "32", "-o", tmp / "a")
    more = hone(program, source, "--to", "openvino", "--quant", "int8,int4", "--group", "row", "--sym", "-o", tmp / "b")
    if not doc or not more:
        return
    folders = {o["quantization"]: o["path"] for o in doc["outputs"]}
    if name == "bert":
        return judge_bert(name, source, folders)
    folders.update({f"{o['quantization']} sym": o["path"] for o in more["outputs"]})
    config = json.loads((source / "config.json").read_text())
    kld = {}
    for quant in ("f32", "f16"):
        model = core.read_model(Path(folders[quant]) / "openvino_model.xml")
        compiled = core.compile_model(model, "CPU", EXACT)
        judge_fusions(name, model, compiled, len(windows_of(config)))
        for file in ("reference.safetensors", "reference_long.safetensors"):
            if (source / file).exists():
                r = tensors(source / file)
                # Long rope factors are used from the first call on that needs them: that has to be the first one.
                first = config["original_max_position_embeddings"] + 1 if "long" in file else 7
                got = judge_logits(f"{name} {file}", quant, compiled.create_infer_request(), r["input_ids"], r["logits"], first)
                kld[quant] = max(kld.get(quant, 0), got)
    paged = judge_paged(name, Path(folders["f32"]) / "openvino_model.xml", config, doc["warnings"])
    judge_genai(name, folders, tensors(source / "reference.safetensors")["input_ids"], json.loads((source / "reference.json").read_text()))
    print(f"{name}: KLD f32 {kld['f32']:.1e}, f16 {kld['f16']:.1e}; {paged}; continues as the reference", flush=True)


def variant(program, folder, tmp):
    """Another config.json over the same weights, or weights of its own: the reference logits too, unless hone refuses it or tells of a limit."""
    about, to = json.loads((folder / "variant.json").read_text()), tmp / folder.name
    base, own = ROOT / about["base"], ("config.json",) + (("model.safetensors",) if about["own_weights"] else ())
    to.mkdir()
    for f in [f for f in base.iterdir() if f.is_file() and f.name not in own] + [f for f in folder.iterdir() if f.name in own]:
        (to / f.name).symlink_to(f.resolve())
    (to / "config.json").unlink(missing_ok=True)
    (to / "config.json").write_text(json.dumps({**json.loads((base / "config.json").read_text()), **about["config"]}))
    r = subprocess.run([program, "convert", to, "--to", "openvino", "--quant", "f32", "-o", tmp, "--json"], capture_output=True, text=True)
    doc = json.loads(r.stdout)
    if r.returncode == 4:
        return print(f"variant {folder.name}: refused: {doc['error']['cause']}", flush=True)
    if r.returncode:
        return fail(f"variant {folder.name}: hone convert ends with {r.returncode}: {doc['error']['cause']}")
    request = core.compile_model(Path(doc["outputs"][0]["path"]) / "openvino_model.xml", "CPU", EXACT).create_infer_request()
    t = tensors(folder / "reference.safetensors")
    kld = compare(f"variant {folder.name}", "f32", t["logits"], forward(request, t["input_ids"], np.ones_like(t["input_ids"])))
    print(f"variant {folder.name}: KLD {kld:.1e}", flush=True)


def main():
    program, *rest = sys.argv[1:]
    only = rest[1].split(",") if rest[:1] == ["--only"] else None
    sources = [Path(p) for p in (rest[2:] if only else rest) if p != "--variants"]
    print(f"openvino {ov.get_version()}, openvino-genai {genai.get_version()}")
    for source in sources:
        if not only or source.name in only:
            with tempfile.TemporaryDirectory() as tmp:
                one_model(program, source, Path(tmp))
    if rest[:1] == ["--variants"]:
        with tempfile.TemporaryDirectory() as tmp:
            for folder in sorted((ROOT / "tests" / "golden" / "variants").iterdir()):
                variant(program, folder, Path(tmp))
    print("openvino folders:", "all as expected" if not failed else f"{failed} NOT as expected")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
