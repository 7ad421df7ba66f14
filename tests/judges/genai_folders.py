#!/usr/bin/env python3
"""genai_folders.py HONE [--variants] MODELS...: onnxruntime and onnxruntime-genai judge the folders that `hone convert --to onnx` writes.
Run by `make judges-all` over all families and by tests/cli/judge_genai.sh over a few, in the environment "genai" of tools/judge.

For every checkpoint folder in MODELS, with operators of com.microsoft and of the standard alone:
  logits    in f32 and f16, those of reference*.safetensors: mean KLD at most 1e-5 and 1e-3, the same best token wherever the reference's two
            best are more than 0.01 and 0.03 apart; in one go, token by token behind the first half with the cache, and as a batch of
            texts of different lengths, padded right, with one more step behind;
  genai     onnxruntime-genai loads the f32, f16, int8 and int4 folders as they are.  In f32 it continues both rows of input_ids as reference.json
            does; where the gap of its best two is too small it may differ once and is given the reference's token;
  tokens    onnxruntime-genai's tokenizer gives the ids of tokenizer_cases.json, or hone tells of the limit that makes the difference;
  quantised int8 and int4, symmetric and not, in every group size: the two sets of operators agree with each other on the logits;
  standard  onnx.checker accepts the model in full, no node is of another domain, no operator newer than opset 21; onnx's own reference
            evaluator (NumPy) computes the reference logits;
  BERT      last_hidden_state and sentence_embedding are the reference's.
With --variants every folder of tests/golden/variants gives its reference logits in f32 too, unless hone tells of a limit and they differ.
Exit 0 when all holds."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import onnxruntime_genai as og
from onnx.reference import ReferenceEvaluator
from safetensors import safe_open

ort.set_default_logger_severity(3)
GAP, KLD = {"f32": 0.01, "f16": 0.03}, {"f32": 1e-5, "f16": 1e-3}
failed = 0
told = {}  # by model: what hone says onnxruntime cannot do


def fail(text):
    global failed
    failed += 1
    print("FAIL:", text, flush=True)


def convert(program, source, out, *options):
    r = subprocess.run([program, "convert", source, "--to", "onnx", "--json", "--threads", "1", "-o", out, *options], capture_output=True, text=True)
    doc = json.loads(r.stdout)
    if r.returncode:
        raise SystemExit(f"FAIL: {source.name} {' '.join(options)}: exit {r.returncode}: {doc['error']['cause']}")
    told[source.name] = [w for w in doc["warnings"] if w.startswith("in onnxruntime")]
    return {o["quantization"]: Path(o["path"]) for o in doc["outputs"]}


def load(file):
    with safe_open(file, "numpy") as f:
        return {k: f.get_tensor(k) for k in f.keys()}


def log_softmax(x):
    x = x.astype(np.float64)
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def judge(reference, got, gap):
    p, q = log_softmax(reference), log_softmax(got)
    two = np.sort(reference, -1)[..., -2:]
    sure = two[..., 1] - two[..., 0] > gap
    return float((np.exp(p) * (p - q)).sum(-1).mean()), int((reference.argmax(-1) != got.argmax(-1))[sure].sum())


def most(reference, got):
    """The KLD that half of the tokens stay under: where a router's near tie goes the other way, all that follow differ."""
    p, q = log_softmax(reference), log_softmax(got)
    return float(np.quantile((np.exp(p) * (p - q)).sum(-1), 0.5))


class Decoder:
    """The graph of a folder in plain onnxruntime."""

    def __init__(self, folder):
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
        self.past = [i for i in self.session.get_inputs() if i.name.startswith("past")]
        self.outputs = [o.name for o in self.session.get_outputs()]

    def empty(self, batch):
        return {i.name: np.zeros((batch, i.shape[1], 0, i.shape[3]), np.float16 if "16" in i.type else np.float32) for i in self.past}

    def __call__(self, ids, mask, past=None):
        feed = {"input_ids": np.asarray(ids, np.int64), "attention_mask": np.asarray(mask, np.int64), **(past or self.empty(len(ids)))}
        r = dict(zip(self.outputs, self.session.run(None, feed)))
        return r["logits"].astype(np.float32), {k.replace("present", "past_key_values"): v for k, v in r.items() if k.startswith("present")}


def stepwise(model, ids, first):
    logits, past = model(ids[:, :first], np.ones((len(ids), first)))
    parts = [logits]
    for t in range(first, ids.shape[1]):
        logits, past = model(ids[:, t : t + 1], np.ones((len(ids), t + 1)), past)
        parts.append(logits)
    return np.concatenate(parts, 1)


def padded(model, ids, reference, gap):
    """Row 0 whole but for its last token, row 1 five tokens shorter, then one step for both."""
    n = ids.shape[1]
    c = n - 5
    mask, batch = np.ones((2, n - 1)), ids[:, : n - 1].copy()
    mask[1, c:] = batch[1, c:] = 0
    a, past = model(batch, mask)
    b, _ = model(np.array([[ids[0, n - 1]], [ids[1, c]]]), np.concatenate([mask, np.ones((2, 1))], 1), past)
    want = np.concatenate([reference[0, :n], reference[1, : c + 1]])
    return judge(want, np.concatenate([a[0], b[0], a[1, :c], b[1]]), gap)


def check_logits(name, quant, folder, source):
    model = Decoder(folder)
    for file in ("reference.safetensors", "reference_long.safetensors"):
        if not (source / file).exists():
            continue
        r = load(source / file)
        ids, want, n = r["input_ids"], r["logits"], r["input_ids"].shape[1]
        # Behind the last token that is rotated by the short factors, as transformers' own cache would be.
        first = n // 2 if file == "reference.safetensors" else n - 8
        found = {
            "in one go": judge(want, model(ids, np.ones_like(ids))[0], GAP[quant]),
            "step by step": judge(want, stepwise(model, ids, first), GAP[quant]),
            "padded": padded(model, ids, want, GAP[quant]),
        }
        # A router's near ties go one way or the other in f16, and then it is another expert: only whole texts average that out.
        for how, (kld, wrong) in found.items():
            limit = KLD[quant] * (10 if quant == "f16" and how == "padded" else 1)
            if not kld <= limit or wrong:
                fail(f"{name} {quant} {file} {how}: KLD {kld:.1e}, {wrong} other best tokens")
    return max(k for k, _ in found.values())


def check_genai(name, quant, folder, source):
    model = og.Model(str(folder))
    og.Tokenizer(model)
    told = json.loads((source / "reference.json").read_text())
    rows = load(source / "reference.safetensors")["input_ids"]
    exact = given = 0
    for row, want, gaps in zip(rows, told["greedy"], told["greedy_top2_gap"]):
        params = og.GeneratorParams(model)
        params.set_search_options(max_length=len(row) + len(want) + 1, do_sample=False)
        generator = og.Generator(model, params)
        generator.append_tokens(row[None].astype(np.int32))
        for i, (token, gap) in enumerate(zip(want, gaps)):
            if generator.is_done():
                break
            generator.generate_next_token()
            got = int(generator.get_next_tokens()[0])
            if not 0 <= got < model_vocab(source):
                fail(f"{name} {quant}: token {got} is outside the vocabulary")
            if quant not in GAP:
                continue
            exact += got == token
            if got == token:
                continue
            if gap > GAP[quant]:
                fail(f"{name} {quant}: step {i} gives {got}, the reference {token} with a gap of {gap}")
                break
            generator.rewind_to(len(row) + i)
            generator.append_tokens(np.array([[token]], np.int32))
            given += 1
    return exact, given


def check_tokens(name, folder, source):
    """The ids of tokenizer_cases.json, but for texts that no C string holds or that spell SentencePiece's own space."""
    tokenizer = og.Tokenizer(og.Model(str(folder)))
    cases = json.loads((source / "tokenizer_cases.json").read_text())["cases"]
    cases = [c for c in cases if "ids_with_special" in c and c["text"] and "\0" not in c["text"] and "\u2581" not in c["text"]]
    wrong = [c["text"] for c in cases if tokenizer.encode(c["text"]).tolist() not in (c["ids"], c["ids_with_special"])]
    limits = [w for w in told[name] if w.startswith("in onnxruntime-genai: ")]
    if wrong and not limits:
        fail(f"{name}: {len(wrong)} of {len(cases)} texts get other token ids, as {wrong[0]!r}, and hone tells of no limit")
    if limits and not wrong:
        fail(f"{name}: all texts get the right token ids: the row of data/limits.json can go: {limits[0]}")
    return f"{len(cases) - len(wrong)} of {len(cases)} texts tokenised the same"


def model_vocab(source):
    return json.loads((source / "config.json").read_text())["vocab_size"]


def check_standard(name, folder):
    path = str(folder / "model.onnx")
    onnx.checker.check_model(path, full_check=True)
    m = onnx.load(path, load_external_data=False)
    foreign = {n.domain for n in m.graph.node if n.domain not in ("", "ai.onnx")}
    opset = [o.version for o in m.opset_import if o.domain in ("", "ai.onnx")]
    if foreign or opset != [21] or len(m.opset_import) != 1:
        fail(f"{name}: standard operators only: domains {foreign}, opsets {opset}")
    for op in {n.op_type for n in m.graph.node}:
        onnx.defs.get_schema(op, max_inclusive_version=21)


def check_bert(name, quant, folder, source):
    r = load(source / "reference.safetensors")
    session = ort.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    ids, mask = r["input_ids"], r["attention_mask"]
    names = [o.name for o in session.get_outputs()]
    out = dict(zip(names, session.run(None, {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)})))
    tolerance = {"f32": 1e-4, "f16": 2e-2}[quant]
    hidden = np.abs(out["last_hidden_state"].astype(np.float32) - r["last_hidden_state"])[mask.astype(bool)].max()
    pooled = np.abs(out["sentence_embedding"].astype(np.float32) - r["embeddings"]).max()
    if hidden > tolerance or pooled > tolerance / 10:
        fail(f"{name} {quant}: last_hidden_state differs by {hidden:.1e}, sentence_embedding by {pooled:.1e}")
    return hidden


def check_quantised(program, source, tmp, ids):
    """The operators of com.microsoft read the same codes as DequantizeLinear does."""
    worst = 0
    for group, sym in ((16, False), (32, True), (64, False), (128, True), (256, False)):
        options = ["--quant", "int8,int4", "--group", str(group)] + (["--sym"] if sym else [])
        ours = convert(program, source, tmp / f"g{group}", *options)
        plain = convert(program, source, tmp / f"g{group}s", *options, "--onnx-ops", "standard")
        for quant, folder in ours.items():
            mask = np.ones_like(ids)
            kld = most(Decoder(plain[quant])(ids, mask)[0], Decoder(folder)(ids, mask)[0])
            worst = max(worst, kld)
            if not kld < 2e-2:  # activations are rounded to eight bits on one side
                fail(f"{source.name} {quant} g{group}{' sym' if sym else ''}: the two sets of operators are {kld:.1e} apart")
    return worst


def check_evaluator(name, folder, source):
    r = load(source / "reference.safetensors")
    ids = r["input_ids"][:1]
    session = ReferenceEvaluator(str(folder / "model.onnx"))
    past = Decoder(folder).empty(1)
    out = dict(zip(session.output_names, session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids), **past})))
    kld, wrong = judge(r["logits"][:1], out["logits"], 0.01)
    if not kld <= 1e-5 or wrong:
        fail(f"{name}: onnx's reference evaluator: KLD {kld:.1e}, {wrong} other best tokens")
    return kld


def one_model(program, source, tmp):
    name = source.name
    ours = convert(program, source, tmp, "--quant", "f32,f16,int8,int4")
    plain = convert(program, source, tmp, "--quant", "f32,f16,int8,int4", "--onnx-ops", "standard")
    for folder in plain.values():
        check_standard(name, folder)
    if "bert" in json.loads((source / "config.json").read_text())["model_type"]:
        worst = [check_bert(name, q, f[q], source) for f in (ours, plain) for q in GAP]
        return print(f"{name}: hidden states within {max(worst):.1e}", flush=True)
    worst = {q: max(check_logits(name, q, f[q], source) for f in (ours, plain)) for q in GAP}
    exact, given = check_genai(name, "f32", ours["f32"], source)
    for q in ("f16", "int8", "int4"):
        check_genai(name, q, ours[q], source)
    check_genai(name, "f32", plain["f32"], source)
    tokens = check_tokens(name, ours["f32"], source)
    apart = check_quantised(program, source, tmp, load(source / "reference.safetensors")["input_ids"])
    numpy = check_evaluator(name, plain["f32"], source)
    print(
        f"{name}: KLD {worst['f32']:.1e} f32, {worst['f16']:.1e} f16; genai: {exact} tokens equal, {given} given, {tokens}; quantised {apart:.1e} apart; reference evaluator {numpy:.1e}",
        flush=True,
    )


def variants(program, tmp):
    root = Path(__file__).resolve().parents[2]
    for variant in sorted((root / "tests" / "golden" / "variants").iterdir()):
        about, to = json.loads((variant / "variant.json").read_text()), tmp / variant.name
        base, skip = root / about["base"], {"config.json"} | ({"model.safetensors"} if about["own_weights"] else set())
        to.mkdir()
        for f in base.resolve().iterdir():
            if f.is_file() and f.name not in skip:
                (to / f.name).symlink_to(f)
        if about["own_weights"]:
            (to / "model.safetensors").symlink_to(variant.resolve() / "model.safetensors")
        (to / "config.json").write_text(json.dumps({**json.loads((base / "config.json").read_text()), **about["config"]}))
        r = load(variant / "reference.safetensors")
        worst = (0.0, 0)
        for ops in ("genai", "standard"):
            folder = convert(program, to, tmp / "out", "--quant", "f32", "--onnx-ops", ops)["f32"]
            worst = max(worst, judge(r["logits"], Decoder(folder)(r["input_ids"], np.ones_like(r["input_ids"]))[0], 0.01))
        same = worst[0] <= 1e-5 and not worst[1]
        limits = [w for w in told[variant.name] if "dynamic NTK" in w] if variant.name.startswith("beyond-") else []
        if same == bool(limits):
            fail(f"{variant.name}: KLD {worst[0]:.1e}, {worst[1]} other best tokens, limits told: {limits}")
        print(f"{variant.name}: KLD {worst[0]:.1e}{' (limit)' if limits else ''}", flush=True)


def main():
    program, *sources = sys.argv[1:]
    also = sources[:1] == ["--variants"]
    sources = [Path(s) for s in sources[also:]]
    print(f"onnxruntime {ort.__version__}, onnxruntime-genai {og.__version__}, onnx {onnx.__version__}", flush=True)
    for source in sources:
        with tempfile.TemporaryDirectory() as tmp:
            one_model(program, source, Path(tmp))
    if also:
        with tempfile.TemporaryDirectory() as tmp:
            variants(program, Path(tmp))
    print(f"{failed} failed" if failed else f"{len(sources)} models: all hold")
    return 1 if failed or not sources else 0


sys.exit(main())
