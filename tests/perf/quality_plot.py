"""quality_plot.py - KLD against bytes as an SVG file: one point per artefact, its 95 % interval as a line, a name where there is room."""

import html
import math

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 960, 620, 78, 24, 92, 56
COLOURS = ("#b42318", "#1f5fa8", "#c77700", "#3c7d32", "#7a4fa3", "#5a6570", "#00838f")  # the first is ours
SHAPES = ("circle", "square", "diamond", "triangle", "cross", "square", "diamond")
FONT = "font-family='DejaVu Sans, Verdana, sans-serif'"


def mark(shape, x, y, colour, r=4.5):
    if shape == "circle":
        return f"<circle cx='{x:.1f}' cy='{y:.1f}' r='{r}' fill='{colour}'/>"
    if shape == "square":
        return f"<rect x='{x - r + .5:.1f}' y='{y - r + .5:.1f}' width='{2 * r - 1}' height='{2 * r - 1}' fill='{colour}'/>"
    if shape == "cross":
        return f"<path d='M{x - r:.1f} {y - r:.1f}l{2 * r} {2 * r}M{x - r:.1f} {y + r:.1f}l{2 * r} {-2 * r}' stroke='{colour}' stroke-width='2.5'/>"
    steps = {"diamond": ((0, -r - 1), (r + 1, 0), (0, r + 1), (-r - 1, 0)), "triangle": ((0, -r - 1), (r + 1, r), (-r - 1, r))}[shape]
    return "<polygon points='" + " ".join(f"{x + a:.1f},{y + b:.1f}" for a, b in steps) + f"' fill='{colour}'/>"


def ticks_linear(lo, hi):
    step = 10 ** math.floor(math.log10((hi - lo) / 4))
    step = next(step * k for k in (1, 2, 5, 10) if (hi - lo) / (step * k) <= 8)
    at = math.ceil(lo / step) * step
    while at <= hi:
        yield at
        at += step


def ticks_log(lo, hi):
    many = hi / lo > 50
    for e in range(math.floor(math.log10(lo)), math.ceil(math.log10(hi)) + 1):
        for k in (1, 3) if many else (1, 2, 5):
            if lo <= k * 10**e <= hi:
                yield k * 10**e


class Frame:
    def __init__(self, points):
        xs = [p["bytes"] / 1e6 for p in points]
        ys = [v for p in points for v in (p["kld"], p.get("lo"), p.get("hi")) if v]
        room = (max(xs) - min(xs)) * 0.06 or 0.1
        self.x0, self.x1 = min(xs) - room, max(xs) + room * 1.6
        self.y0, self.y1 = min(ys) / 1.2, max(ys) * 1.2

    def x(self, megabytes):
        return LEFT + (megabytes - self.x0) / (self.x1 - self.x0) * (WIDTH - LEFT - RIGHT)

    def y(self, kld):
        return HEIGHT - BOTTOM - math.log(kld / self.y0) / math.log(self.y1 / self.y0) * (HEIGHT - TOP - BOTTOM)


def axes(f, out, across):
    for v in ticks_linear(f.x0, f.x1):
        out.append(f"<line x1='{f.x(v):.1f}' x2='{f.x(v):.1f}' y1='{TOP}' y2='{HEIGHT - BOTTOM}' stroke='#e6e8eb'/>")
        out.append(f"<text x='{f.x(v):.1f}' y='{HEIGHT - BOTTOM + 19}' text-anchor='middle' font-size='13' fill='#333'>{v:g}</text>")
    for v in ticks_log(f.y0, f.y1):
        out.append(f"<line x1='{LEFT}' x2='{WIDTH - RIGHT}' y1='{f.y(v):.1f}' y2='{f.y(v):.1f}' stroke='#e6e8eb'/>")
        out.append(f"<text x='{LEFT - 8}' y='{f.y(v) + 4:.1f}' text-anchor='end' font-size='13' fill='#333'>{v:g}</text>")
    out.append(f"<rect x='{LEFT}' y='{TOP}' width='{WIDTH - LEFT - RIGHT}' height='{HEIGHT - TOP - BOTTOM}' fill='none' stroke='#8a929b'/>")
    out.append(f"<text x='{(LEFT + WIDTH - RIGHT) / 2}' y='{HEIGHT - 14}' text-anchor='middle' font-size='14' fill='#222'>{html.escape(across)}</text>")
    out.append(f"<text transform='translate(14 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)' text-anchor='middle' font-size='14' fill='#222'>mean KLD, nat (log)</text>")


def place(taken, x, y, text):
    """A free place for a name near its point: (x, y of the baseline, anchor), or None."""
    w, h = 6.4 * len(text), 12
    for gap in (8, 16):
        for dx, dy, anchor in ((gap, 4, "start"), (-gap, 4, "end"), (gap, -gap + 2, "start"), (-gap, -gap + 2, "end"), (gap, gap + 8, "start"), (-gap, gap + 8, "end"),
                               (0, -gap - 2, "middle"), (0, gap + 12, "middle")):
            left = x + dx - {"start": 0, "end": w, "middle": w / 2}[anchor]
            box = (left, y + dy - h + 2, left + w, y + dy + 2)
            if box[0] < LEFT + 2 or box[2] > WIDTH - RIGHT - 2 or box[1] < TOP or box[3] > HEIGHT - BOTTOM:
                continue
            if all(box[2] < t[0] or box[0] > t[2] or box[3] < t[1] or box[1] > t[3] for t in taken):
                taken.append(box)
                return x + dx, y + dy, anchor
    return None


def plot(title, note, series, across="file bytes of the weights, MB"):
    """The SVG's text.  series: [(name, [{"name", "bytes", "kld", "lo", "hi"}])], ours first."""
    series = [(name, sorted((p for p in points if p["kld"] > 0), key=lambda p: p["bytes"])) for name, points in series]
    series = [(name, points) for name, points in series if points]
    f = Frame([p for _, points in series for p in points])
    out = [f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' width='{WIDTH}' height='{HEIGHT}' {FONT}>",
           f"<rect width='{WIDTH}' height='{HEIGHT}' fill='#fff'/>", f"<text x='{LEFT}' y='28' font-size='18' fill='#111'>{html.escape(title)}</text>",
           f"<text x='{LEFT}' y='48' font-size='12.5' fill='#555'>{html.escape(note)}</text>"]
    axes(f, out, across)
    at, names, taken = LEFT, [], []
    narrow = min(1, (WIDTH - LEFT) / sum(36 + 7.6 * len(name) for name, _ in series))  # the legend is one line
    for i, (name, points) in enumerate(series):
        colour, shape = COLOURS[i % len(COLOURS)], SHAPES[i % len(SHAPES)]
        out.append(mark(shape, at + 6, 70, colour))
        out.append(f"<text x='{at + 17}' y='74.5' font-size='13' fill='#222'>{html.escape(name)}</text>")
        at += narrow * (36 + 7.6 * len(name))
        for p in points:
            x, y = f.x(p["bytes"] / 1e6), f.y(p["kld"])
            if p.get("lo") and p.get("hi"):
                out.append(f"<line x1='{x:.1f}' x2='{x:.1f}' y1='{f.y(p['lo']):.1f}' y2='{f.y(p['hi']):.1f}' stroke='{colour}' stroke-width='1.4' opacity='.65'/>")
            tip = f"{p['name']}: {p['bytes'] / 1e6:.3f} MB, KLD {p['kld']:.5f}"
            out.append(f"<g><title>{html.escape(tip)}</title>{mark(shape, x, y, colour)}</g>")
            taken.append((x - 5, y - 5, x + 5, y + 5))
            names.append((x, y, p["name"], colour))
    for x, y, name, colour in names:  # ours come first and find most room
        spot = place(taken, x, y, name)
        if spot:
            out.append(f"<text x='{spot[0]:.1f}' y='{spot[1]:.1f}' text-anchor='{spot[2]}' font-size='10.5' fill='{colour}'>{html.escape(name)}</text>")
    out.append("</svg>")
    return "\n".join(out) + "\n"
