"""quality_numbers.py - intervals and verdicts of tests/perf/quality; knows no program and no file.

A mean KLD comes with one value per window of the text (as hone eval gives them: ids scored and mean KLD of each).  Tokens of one window are not
independent, so windows are the samples: the ratio estimator of cluster sampling (Cochran, Sampling Techniques, 6.13) with Student's t, as in hone eval."""

import math

EQUAL = 0.01  # artefacts of equal size: bytes that differ by no more than this part


def t95(df):
    """The 97.5 % quantile of Student's t (the expansion of Abramowitz and Stegun, 26.7.5); within 0.2 % from df 4 on."""
    z = 1.959963984540054
    g = ((z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96, (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
         (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160)
    return z + sum(c / df ** (i + 1) for i, c in enumerate(g))


def ratio_interval(num, den):
    """(value, lo, hi) of sum(num) / sum(den) over windows; lo and hi are None where there is no interval."""
    total = sum(den)
    value = sum(num) / total
    n = len(num)
    if n < 5:
        return value, None, None
    spread = math.sqrt(n / (n - 1) * sum((a - value * b) ** 2 for a, b in zip(num, den))) / total
    half = t95(n - 1) * spread
    return value, value - half, value + half


def mean_kld(windows):
    value, lo, hi = ratio_interval([i * k for i, k in zip(windows["ids"], windows["kld"])], windows["ids"])
    return {"kld": value, "lo": None if lo is None else max(0.0, lo), "hi": hi}


def common(a, b):
    """The windows that both have (one may have been cut shorter), or None when they are not of the same text."""
    n = min(len(a["ids"]), len(b["ids"]))
    if a["ids"][:n] != b["ids"][:n]:
        n -= 1  # the shorter text's last window may be a piece
    if n < 1 or a["ids"][:n] != b["ids"][:n]:
        return None
    return {k: a[k][:n] for k in ("ids", "kld")}, {k: b[k][:n] for k in ("ids", "kld")}


def paired(ours, peer):
    """Ours minus the peer's, window by window: {"difference", "lo", "hi", "windows"}; what is hard in the text is hard for both, and cancels."""
    both = common(ours, peer)
    if both is None:
        return None
    a, b = both
    value, lo, hi = ratio_interval([i * (x - y) for i, x, y in zip(a["ids"], a["kld"], b["kld"])], a["ids"])
    return {"difference": value, "lo": lo, "hi": hi, "windows": len(a["ids"])}


def fits(ours_bytes, peer_bytes):
    """Not larger than the peer by more than EQUAL."""
    return ours_bytes <= peer_bytes * (1 + EQUAL)


def judge(ours, peer, factor=1.0):
    """Is ours lower than factor * the peer's KLD, with intervals apart, in no more bytes?  ours and peer: rows with "bytes", "windows", or "not_measured".
    {"verdict": "met" | "red" | "not measured", "why", "ratio", "paired"}"""
    for who, row in (("ours", ours), ("the peer", peer)):
        if row is None or row.get("not_measured"):
            return {"verdict": "not measured", "why": f"{who}: {row['not_measured'] if row else 'nothing of that size'}"}
    both = common(ours["windows"], peer["windows"])
    if both is None:
        return {"verdict": "not measured", "why": "not measured on the same text"}
    a, b = mean_kld(both[0]), mean_kld(both[1])
    got = {"ours_kld": a, "peer_kld": b, "ratio": a["kld"] / b["kld"], "bytes_ratio": ours["bytes"] / peer["bytes"], "paired": paired(ours["windows"], peer["windows"])}
    if a["hi"] is None:
        return {**got, "verdict": "not measured", "why": f"{len(both[0]['ids'])} windows are too few for an interval"}
    if not fits(ours["bytes"], peer["bytes"]):
        return {**got, "verdict": "red", "why": f"{100 * (got['bytes_ratio'] - 1):.1f} % more bytes"}
    if got["ratio"] > factor:
        return {**got, "verdict": "red", "why": f"{got['ratio']:.3f} of the peer's, wanted {factor:g}" if factor < 1 else f"{got['ratio']:.3f} of the peer's"}
    if a["hi"] >= b["lo"]:
        return {**got, "verdict": "red", "why": "lower, but the intervals overlap"}
    return {**got, "verdict": "met", "why": ""}


def best(rows, peer_bytes):
    """Of rows that fit into the peer's bytes the one with the lowest KLD, of those that were measured on most of the text; None when there is none."""
    could = [r for r in rows if not r.get("not_measured") and fits(r["bytes"], peer_bytes)]
    most = max((sum(r["windows"]["ids"]) for r in could), default=0)
    return min((r for r in could if sum(r["windows"]["ids"]) == most), key=lambda r: mean_kld(r["windows"])["kld"], default=None)


def front(rows):
    """The rows that no other beats in both bytes and KLD, by bytes."""
    out = []
    for r in sorted(rows, key=lambda r: (r["bytes"], r["kld"])):
        if not out or r["kld"] < out[-1]["kld"]:
            out.append(r)
    return out


def self_test():
    """Synthetic numbers through every verdict; an AssertionError is the answer."""
    assert abs(t95(30) - 2.0423) < 1e-3 and abs(t95(4) - 2.7764) < 1e-2 and abs(t95(1e9) - 1.95996) < 1e-4
    ids = [511] * 20 + [100]
    base = [0.10 + 0.01 * (i % 5) for i in range(21)]
    row = lambda scale, size: {"bytes": size, "windows": {"ids": ids, "kld": [scale * k for k in base]}}
    peer = row(1.0, 1000)
    m = mean_kld(peer["windows"])
    assert m["lo"] < m["kld"] < m["hi"] and 0.115 < m["kld"] < 0.125, m
    assert judge(row(0.5, 1000), peer)["verdict"] == "met"
    assert judge(row(0.5, 1009), peer)["verdict"] == "met" and judge(row(0.5, 1011), peer)["why"] == "1.1 % more bytes"
    assert judge(row(0.99, 1000), peer)["why"] == "lower, but the intervals overlap"
    close = judge(row(0.99, 1000), peer)["paired"]
    assert close["hi"] < 0 and close["windows"] == 21, "pairs see what intervals do not"
    assert judge(row(1.2, 1000), peer)["verdict"] == "red" and judge(row(0.8, 1000), peer, 0.75)["why"] == "0.800 of the peer's, wanted 0.75"
    assert judge(row(0.7, 1000), peer, 0.75)["verdict"] == "met"
    assert judge(None, peer) == {"verdict": "not measured", "why": "ours: nothing of that size"}
    assert judge({"not_measured": "no runtime"}, peer)["why"] == "ours: no runtime"
    short = {"bytes": 1000, "windows": {"ids": ids[:3] + [7], "kld": [0.05] * 4}}
    assert judge(short, peer)["verdict"] == "not measured" and len(common(short["windows"], peer["windows"])[0]["ids"]) == 3
    other = {"bytes": 1000, "windows": {"ids": [64] * 21, "kld": base}}
    assert judge(other, peer)["why"] == "not measured on the same text"
    flat = {"ids": [10] * 5, "kld": [0.0] * 5}
    assert mean_kld(flat) == {"kld": 0.0, "lo": 0.0, "hi": 0.0}
    small, large = row(0.5, 900), row(0.4, 1200)
    assert best([small, large, {"not_measured": "x"}], 1000) is small and best([large], 1000) is None
    longer = {"bytes": 900, "windows": {"ids": ids + ids, "kld": base + base}}
    assert best([small, longer], 1000) is longer
    points = [{"bytes": b, "kld": k} for b, k in ((3, 1), (1, 5), (2, 6), (3, 2), (4, 0.5))]
    assert [p["bytes"] for p in front(points)] == [1, 3, 4]
