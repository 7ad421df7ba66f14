"""quality_report.py - the tables and verdicts of tests/perf/quality, for a terminal and for docs/QUALITY.md, and its plots."""

import os

import quality_digits
import quality_numbers as numbers
import quality_plot
from quality_ours import TARGETS, peer_of

TITLES = {"gguf": "GGUF in llama.cpp", "openvino": "OpenVINO IR in OpenVINO", "onnx": "ONNX in ONNX Runtime", "mlx": "MLX"}


def verdicts(rows, models, formats):
    """One entry for each model and target: what the peer's row is, which of ours stands against it, and the verdict."""
    out = []
    for model in models:
        for fmt, name, factor, words in TARGETS:
            if fmt not in formats:
                continue
            mine = [r for r in rows if r["model"] == model and r["format"] == fmt and r["who"] == "ours" and ("windows" in r or r.get("not_measured"))]
            theirs = [r for r in rows if r["model"] == model and r["format"] == fmt and r["who"] == "peer"]
            peer = peer_of(theirs, name)
            ours = numbers.best(mine, peer["bytes"]) if peer and not peer.get("not_measured") else None
            v = numbers.judge(ours, peer, factor) if peer else {"verdict": "not measured", "why": "the peer's row is missing"}
            if peer and peer.get("not_measured"):
                v = {"verdict": "not measured", "why": f"the peer: {peer['not_measured']}"}
            out.append({"model": model, "format": fmt, "peer": peer["name"] if peer else name, "factor": factor, "words": words + instead(theirs, peer, name), "ours": ours["name"] if ours else None, **v})
    return out


def instead(theirs, peer, name):
    """Words on a target whose own peer gave no row, and another stands for it."""
    if peer is None or peer["name"] == name:
        return ""
    asked = next((r for r in theirs if r["name"] == name), {})
    return f" (it gave none: {asked.get('not_measured', 'no row')}; instead: {peer['maker']}, {peer['name']})"


def interval(k, digits=5):
    return f"{k['kld']:.{digits}f}" + (f" ({k['lo']:.{digits}f} to {k['hi']:.{digits}f})" if k.get("hi") is not None else "")


def verdict_line(v):
    head = f"{v['verdict']:12} {v['model']:9} {v['format']:9} {v['words']}"
    if "ours_kld" not in v:
        return f"{head}: {v['why']}"
    pair = v["paired"]
    pairs = f"; paired difference {pair['difference']:+.5f} ({pair['lo']:+.5f} to {pair['hi']:+.5f})" if pair and pair["lo"] is not None else ""
    return (f"{head}: ours ({v['ours']}) {interval(v['ours_kld'])}, the peer's {interval(v['peer_kld'])}, ratio {v['ratio']:.3f}, bytes {v['bytes_ratio']:.3f}{pairs}"
            + (f"; {v['why']}" if v["why"] else ""))


def row_cells(r):
    if r.get("not_measured"):
        return [r["maker"], r["name"], f"{r['bytes'] / 1e6:.3f}" if "bytes" in r else "", f"not measured: {r['not_measured']}", "", ""]
    return [r["maker"], r["name"], f"{r['bytes'] / 1e6:.3f}", interval(r), f"{100 * r['top1']:.2f}", f"{r['perplexity']:.4f}"]


def target_cells(v):
    pair = v.get("paired")
    cells = [("**red**" if v["verdict"] == "red" else v["verdict"]) + (f": {v['why']}" if v["why"] else ""), v["model"], v["format"], v["words"], v["ours"] or ""]
    if "ours_kld" in v:
        cells += [interval(v["ours_kld"]), interval(v["peer_kld"]), f"{v['ratio']:.3f}", f"{pair['lo']:+.5f} to {pair['hi']:+.5f}" if pair and pair["lo"] is not None else ""]
    else:
        cells += ["", "", "", ""]
    return "| " + " | ".join(c.replace("|", "/") for c in cells) + " |"


def exchange_digits(page, found, digits):
    """What stands between the marks, with the verdicts and the table of digits-cnn in place of those that it has; language models stay as they were measured."""
    lines = page.split("### digits-cnn:")[0].rstrip("\n").split("\n")
    at = next(i for i, line in enumerate(lines) if " | digits-cnn | " in line)
    kept = [line for line in lines if " | digits-cnn | " not in line]
    return "\n".join(kept[:at] + [target_cells(v) for v in found] + kept[at:] + quality_digits.markdown(digits)) + "\n"


def self_test():
    """Of a page, the digits' lines change and no other does."""
    found, digits = quality_digits.self_test()
    language = {"model": "tale", "format": "gguf", "words": "x", "ours": None, "verdict": "met", "why": ""}
    page = markdown([], [language, {**language, "model": "digits-cnn", "words": "old"}], [{**d, "maker": "old"} for d in digits], [], [])
    assert exchange_digits(page, found, digits) == markdown([], [language] + found, digits, [], [])


def markdown(rows, found, digits, models, formats):
    """What stands between the marks of docs/QUALITY.md."""
    out = ["### Targets", "", "| verdict | model | format | lower than | ours | KLD, ours | KLD, the peer's | ratio | paired difference |", "|---|---|---|---|---|---|---|---|---|"]
    out += [target_cells(v) for v in found]
    for model in models:
        for fmt in formats:
            mine = sorted((r for r in rows if r["model"] == model and r["format"] == fmt), key=lambda r: (r.get("bytes", 0), r["maker"]))
            if not mine:
                continue
            out += ["", f"### {model}: {TITLES[fmt]}", "", f"![KLD against bytes](quality/{model}-{fmt}.svg)", "",
                    "| maker | name | MB | KLD (95 % interval), nat | top-1, % | perplexity |", "|---|---|---|---|---|---|"]
            out += ["| " + " | ".join(c.replace("|", "/") for c in row_cells(r)) + " |" for r in mine]
    return "\n".join(out + quality_digits.markdown(digits)) + "\n"


def plots(rows, models, formats, folder):
    os.makedirs(folder, exist_ok=True)
    for model in models:
        for fmt in formats:
            mine = [r for r in rows if r["model"] == model and r["format"] == fmt and "kld" in r]
            if not mine:
                continue
            makers = sorted({r["maker"] for r in mine}, key=lambda m: (not m.startswith("hone"), m))
            series = [(m, [r for r in mine if r["maker"] == m]) for m in makers]
            tokens = sorted({r["tokens"] for r in mine})
            text = f"{tokens[0]} held-out ids" + (f" (targets: {tokens[-1]})" if tokens[1:] else "")
            note = f"against the unquantised model in the same runtime ({mine[0]['runtime']} {mine[0]['version']}); {text}; lines: 95 %"
            with open(os.path.join(folder, f"{model}-{fmt}.svg"), "w", encoding="utf-8") as f:
                f.write(quality_plot.plot(f"{model}: {TITLES[fmt]}", note, series))
