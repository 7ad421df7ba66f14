"""quality_pruning.py - what pruning costs: every method of `hone convert --prune` at its shares, by itself (f16) and together with a quantisation, as GGUF
in llama.cpp against the unquantised whole model.  A cut must make the file smaller, the more the larger its share; loss has no goal, it is a row.

docs/PRUNING.md gets the tables.  Speed is `make bench`'s."""

import json
import os
import re
import shutil

import quality_numbers as numbers

FMT = "gguf"
CUTS = ("ffn", "heads", "layers", "experts")  # whole parts leave: new shapes, smaller files
# (method, with statistics, shares); of four key-value heads a tenth is none
DENSE = [("magnitude", False, ("0.1", "0.2", "0.5")), ("wanda", True, ("0.1", "0.2", "0.5")), ("2:4", False, ("0.5",)), ("2:4", True, ("0.5",)),
         ("ffn", False, ("0.1", "0.2", "0.5")), ("ffn", True, ("0.1", "0.2", "0.5")), ("heads", False, ("0.2", "0.5")), ("heads", True, ("0.2", "0.5")),
         ("layers", False, ("0.1", "0.2", "0.5")), ("layers", True, ("0.1", "0.2", "0.5"))]
EXPERTS = [("experts", False, ("0.25", "0.5", "0.75")), ("experts", True, ("0.25", "0.5", "0.75"))]
TOGETHER = [("q8_0", "0.1"), ("q4_k_m", "0.2")]  # --quant with --prune, by wanda and by ffn: those that hone optimize tries


def has_experts(folder):
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
        config = json.load(f)
    return any(config.get(k) for k in ("num_experts", "num_local_experts"))


def wanted(experts):
    """[(quant, method or None, with statistics, share or None)] of a model."""
    out = [("f16", None, False, None)] + [("f16", m, stats, s) for m, stats, shares in (EXPERTS if experts else DENSE) for s in shares]
    for quant, share in TOGETHER if not experts else []:
        out += [(quant, None, False, None), (quant, "wanda", True, share), (quant, "ffn", True, share)]
    return out


def name_of(quant, method, stats, share):
    return quant if method is None else f"{quant} {method} {share}{' with statistics' if stats and method != 'wanda' else ''}"


def make(q, model, quant, method, stats, share):
    """One row, its artefact converted anew: it takes a second."""
    r = {"model": model.name, "format": FMT, "who": "ours", "maker": "hone prune", "name": name_of(quant, method, stats, share), "quant": quant, "method": method,
         "statistics": stats, "share": share}
    out = os.path.join(q.a.folder, "pruning", model.name, re.sub(r"[^a-z0-9_.]+", "-", r["name"]))
    more = ["--prune", share, "--prune-method", method] if method else []
    try:
        more += ["--calibration", model.stats(FMT)] if stats else []
        shutil.rmtree(out, ignore_errors=True)
        doc = json.loads(q.tools.run([q.tools.hone, "convert", model.folder, "--to", FMT, "--quant", quant, *more, "-o", out, "--json", "--quiet"]))
        r["command"] = f"hone convert --to {FMT} --quant {quant} {' '.join(os.path.basename(m) for m in more)}".strip()
        change = next(iter(doc.get("rewrites", [])), {})
        r.update({k: change[k] for k in ("was", "is") if k in change})
        q.describe(r, os.path.join(out, next(n for n in os.listdir(out) if n.endswith(".gguf"))))
    except Exception as e:  # noqa: BLE001 - whatever it died of is the row's reason, and the run's exit
        r["not_measured"] = str(e)
        q.failed.append(f"{model.name} pruning {r['name']}: {e}")
    return r


def run(q, a):
    """{"rows", "verdicts"}"""
    rows = []
    for model in q.models:
        mine = [make(q, model, *w) for w in wanted(has_experts(model.folder))]
        q.measure(model, FMT, mine, a.tokens)
        rows += mine
    return {"rows": rows, "verdicts": verdicts(rows)}


def verdicts(rows):
    """For each way to cut, in each quantisation: are the files smaller than the whole model's, and the larger share's smaller than the other's?"""
    out = []
    for model, quant, method, stats in dict.fromkeys((r["model"], r["quant"], r["method"], r["statistics"]) for r in rows if r["method"] in CUTS):
        whole = next((r for r in rows if (r["model"], r["quant"], r["method"]) == (model, quant, None)), {"not_measured": "no row"})
        mine = sorted((r for r in rows if (r["model"], r["quant"], r["method"], r["statistics"]) == (model, quant, method, stats)), key=lambda r: float(r["share"]))
        v = {"model": model, "format": FMT, "words": f"{quant}, {method}{' with statistics' if stats else ''}: a larger cut is a smaller file", "ours": mine[0]["name"]}
        lost = next((r for r in [whole] + mine if r.get("not_measured")), None)
        if lost:
            out.append({**v, "verdict": "not measured", "why": f"{lost.get('name', 'the whole model')}: {lost['not_measured']}"})
            continue
        sizes = [r["bytes"] for r in [whole] + mine]
        why = f"{' > '.join(f'{s / 1e6:.2f}' for s in sizes)} MB"
        out.append({**v, "verdict": "met" if all(a > b for a, b in zip(sizes, sizes[1:])) else "red", "why": why})
    return out


# ---- docs/PRUNING.md ----

def loss(r):
    """KLD with its interval, and perplexity."""
    if r is None:
        return "—"
    if r.get("not_measured"):
        return f"not measured: {r['not_measured']}".replace("|", "/")
    between = f" ({r['lo']:#.2g}–{r['hi']:#.2g})" if r.get("hi") is not None else ""
    return f"{r['kld']:#.2g}{between}, {r['perplexity']:.2f}"


def kept(r):
    if r is None or r.get("not_measured"):
        return "—"
    return f"{r['is']} of {r['was']}, {r['bytes'] / 1e6:.2f} MB"


def find(rows, quant, method, stats, share):
    return next((r for r in rows if (r["quant"], r["method"], r["statistics"], r["share"]) == (quant, method, stats, share)), None)


def table(head, lines):
    return ["", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)] + ["| " + " | ".join(cells) + " |" for cells in lines]


def of_model(rows, name):
    """The tables of one model."""
    ways = EXPERTS if any(r["method"] == "experts" for r in rows) else DENSE
    shares = ways[0][2]
    whole = find(rows, "f16", None, False, None)
    seen = next((r for r in rows if "tokens" in r), None)
    out = ["", f"### {name}"]
    if seen and not whole.get("not_measured"):
        out += ["", f"f16 GGUF in {seen['runtime']} {seen['version']}, first {seen['tokens']} ids of `eval/heldout.txt`. Whole: {loss(whole)}, {whole['bytes'] / 1e6:.2f} MB."]
    word = {("2:4", False): "2:4, by magnitude", ("2:4", True): "2:4, by wanda's scores"}
    plain = {m for m, stats, _ in ways if not stats}
    lines = []
    for method, stats, _ in ways:
        called = word.get((method, stats), method if stats or method not in CUTS else f"{method}, without statistics")
        lines.append([called] + [loss(find(rows, "f16", method, stats, s)) for s in shares])
    out += table(["method: KLD (95 % interval), perplexity", *shares], lines)
    cuts = [m for m in CUTS if m in plain]
    out += table(["kept, file", *shares], [[m] + [kept(find(rows, "f16", m, True, s)) for s in shares] for m in cuts])
    together = [(quant, share) for quant, share in TOGETHER if find(rows, quant, None, False, None)]
    if together:
        lines = []
        for quant, share in together:
            cells = [find(rows, quant, None, False, None)] + [find(rows, quant, m, True, share) for m in ("wanda", "ffn")]
            lines.append([f"{quant}, `--prune {share}`"] + [loss(r) + (f", {r['bytes'] / 1e6:.2f} MB" if r and not r.get("not_measured") else "") for r in cells])
        out += table(["together with `--quant`", "not pruned", "wanda", "ffn"], lines)
    return out


def markdown(rows):
    return "\n".join([line for model in dict.fromkeys(r["model"] for r in rows) for line in of_model([r for r in rows if r["model"] == model], model)] + ["", ""])


def self_test():
    """Synthetic rows through the verdict and the tables; an AssertionError is the answer."""
    windows = {"ids": [511] * 8, "kld": [0.01] * 8}
    said = {"tokens": 4088, "runtime": "llama.cpp", "version": "b1", "perplexity": 3.2, "windows": windows, **numbers.mean_kld(windows)}
    row = lambda size, share, **more: {"model": "m", "format": FMT, "who": "ours", "maker": "hone prune", "name": str(share), "quant": "f16", "method": "ffn" if share else None,
                                       "statistics": bool(share), "share": share, "was": 8, "is": 4, "bytes": size, **said, **more}
    good = [row(1000, None), row(500, "0.5"), row(900, "0.1"), row(800, "0.2")]
    assert [v["verdict"] for v in verdicts(good)] == ["met"], verdicts(good)
    assert verdicts(good[:1]) == [], "zeros in place of cuts are not judged by size"
    assert [v["verdict"] for v in verdicts([row(1000, None), row(1000, "0.1")])] == ["red"]
    assert [v["verdict"] for v in verdicts([row(1000, None), row(900, "0.1"), row(900, "0.2")])] == ["red"]
    assert verdicts([row(1000, None), row(1, "0.1", not_measured="died")])[0]["why"] == "0.1: died"
    assert verdicts(good[1:])[0]["verdict"] == "not measured"
    page = markdown(good)
    assert "| ffn | 0.010 (0.010–0.010), 3.20 |" in page and "| ffn | 4 of 8, 0.00 MB |" in page and "| heads | — | — | — |" in page, page
