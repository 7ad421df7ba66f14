#!/usr/bin/env python3
"""ranges.py - ranges of quantisers by numpy, for tests/unit/quant/test_range.c: ranges.py > tests/unit/quant/range_golden.inc (numpy 2).

The numbers are made by the test in the same way: x[i] from i in whole numbers, then one division.  Three shapes: a bell with long tails, a ReLU's output
(half of it zero), and a narrow bell far from zero with an outlier.  Percentiles are of the sorted numbers themselves, errors of real rounding; entropy is
of a histogram of 2048 bins, as src/quant/range.c has it.
"""
import numpy as np

N, BINS, LEVELS, STEPS = 20000, 2048, 256, 100


def numbers(shape):
    i = np.arange(N, dtype=np.int64)
    u = ((i * 7919 + 13) % 10007 + (i * 104729 + 7) % 10009 + (i * 1299709 + 5) % 10037 - 15026) / 5000.0
    if shape == 0:
        return (u * u * u / 4 + u).astype(np.float32)
    if shape == 1:
        return np.maximum((u * u * u).astype(np.float32), np.float32(0))
    x = (u / 8 + 3).astype(np.float32)
    x[N // 2] = -9.5
    return x


def entropy(x):
    lo, hi = float(x.min()), float(x.max())
    bins = np.minimum(np.floor((x.astype(float) - lo) * (BINS / (hi - lo))), BINS - 1).astype(int)
    h = np.bincount(bins, minlength=BINS).astype(float)
    if lo <= 0 <= hi:
        z = min(int(-lo / ((hi - lo) / BINS)), BINS - 1)
        h[z] = min(h[z], max(h[z - 1] if z else 0, h[z + 1] if z + 1 < BINS else 0))
    centre = lo + (np.arange(BINS) + 0.5) * (hi - lo) / BINS
    best, answer = np.inf, None
    for k in range(STEPS, 0, -1):
        if k * BINS < STEPS * LEVELS:
            break
        a, b = min(lo, 0) * (k / STEPS), max(hi, 0) * (k / STEPS)
        inside = np.flatnonzero((centre >= a) & (centre <= b))
        if len(inside) == 0:
            continue
        f, l = inside[0], inside[-1]
        p = h[f : l + 1].copy()
        p[0] += h[:f].sum()
        p[-1] += h[l + 1 :].sum()
        raw, n, q = h[f : l + 1], l - f + 1, np.zeros(l - f + 1)
        for c in range(LEVELS):
            s = slice(n * c // LEVELS, n * (c + 1) // LEVELS)
            full = (p[s] > 0).sum()
            if full:
                q[s] = np.where(p[s] > 0, raw[s].sum() / full, 0)
        total = h.sum()
        use = p > 0
        pi, qi = p[use] / total, np.where(q[use] > 0, q[use] / total, 1e-9 / total)
        d = (pi * np.log(pi / qi)).sum()
        if d < best:
            best, answer = d, (a, b)
    return answer


def least_square(x):
    """The least mean square that any clipping on a grid of 41 x 60 reaches, with real rounding to 256 codes."""
    x = x.astype(float)
    lo, hi, best = min(x.min(), 0), max(x.max(), 0), np.inf
    for a in np.linspace(0, lo, 41):
        for b in np.linspace(hi / 60, hi, 60):
            s = (b - a) / (LEVELS - 1)
            z = np.rint(-a / s)
            q = np.clip(np.rint(x / s) + z, 0, LEVELS - 1)
            best = min(best, (((q - z) * s - x) ** 2).mean())
    return best


print("/* Made by tests/golden/ranges.py with numpy", np.__version__, "*/")
print("static const golden goldens[] = {")
for shape in range(3):
    x = numbers(shape)
    s = np.sort(x.astype(float))
    if s[0] < 0 < s[-1]:
        low, high = s[int(N * 0.001 / 2)], s[N - 1 - int(N * 0.001 / 2)]
    else:
        low, high = 0.0, s[N - 1 - int(N * 0.001)]
    parts = x.reshape(100, -1).astype(float)
    e = entropy(x)
    print(f"    {{ {float(x.min())!r}, {float(x.max())!r}, {float(parts.min(1).mean())!r}, {float(parts.max(1).mean())!r}, {float(low)!r}, {float(high)!r}, {e[0]!r}, {e[1]!r}, {float(least_square(x))!r} }},")
print("};")
