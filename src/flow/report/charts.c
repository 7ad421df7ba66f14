/* charts.c - the pictures of the report, as inline SVG: no script, so that they print and open anywhere. */
#include "flow/optimize/state.h"
#include "flow/report/page.h"
#include <math.h>
#include <stdlib.h>

#define W 430.0
#define H 330.0
enum { LEFT = 50, RIGHT = 14, TOP = 22, BOTTOM = 42, MOST = 64 };

typedef struct dot {
    const char *name;
    double      x, y;   /* of the data */
    double      px, py; /* on the page */
    bool        pareto, chosen, baseline, out;
    char        tip[240];
} dot;

typedef struct axis {
    double lo, hi;
    bool   log;
} axis;

static double place(const axis *a, double v, double from, double to)
{
    double t = a->log ? (log10(v) - log10(a->lo)) / (log10(a->hi) - log10(a->lo)) : (v - a->lo) / (a->hi - a->lo);
    return from + t * (to - from);
}

/* A round step that gives four to eight marks. */
static double round_step(double span)
{
    double raw = span / 5, mag = pow(10, floor(log10(raw))), f = raw / mag;
    return mag * (f < 1.5 ? 1 : f < 3.5 ? 2 : f < 7.5 ? 5 : 10);
}

static axis axis_of(const dot *d, size_t n, bool use_y, bool log_scale)
{
    axis a = { INFINITY, -INFINITY, log_scale };
    for (size_t i = 0; i < n; i++) {
        double v = use_y ? d[i].y : d[i].x;
        a.lo = fmin(a.lo, v);
        a.hi = fmax(a.hi, v);
    }
    if (log_scale) {
        a.lo = pow(10, floor(log10(a.lo) * 2 - 0.1) / 2);
        a.hi = pow(10, ceil(log10(a.hi) * 2 + 0.1) / 2);
        if (a.hi <= a.lo) a.hi = a.lo * 10;
        return a;
    }
    double pad = (a.hi - a.lo) * 0.12;
    if (!(pad > 0)) pad = fabs(a.hi) * 0.1 + 1e-9;
    a.lo = fmax(0, a.lo - pad);
    a.hi += pad;
    return a;
}

static void tick_text(hone_text *t, double v, bool log_scale)
{
    if (log_scale && (v < 0.00099 || v > 9999)) hone_text_addf(t, "10<tspan dy=-4 font-size=9>%.0f</tspan>", round(log10(v)));
    else hone_text_addf(t, "%g", round(v * 1e4) / 1e4);
}

static void draw_axes(hone_text *t, const axis *x, const axis *y, const char *x_title, const char *y_title, double x_unit)
{
    double step = round_step((x->hi - x->lo) / x_unit) * x_unit;
    for (double v = ceil(x->lo / step) * step; v <= x->hi; v += step) {
        double px = place(x, v, LEFT, W - RIGHT);
        hone_text_addf(t, "<line class=grid x1=%.1f x2=%.1f y1=%d y2=%.1f /><text x=%.1f y=%.1f text-anchor=middle>%g</text>", px, px, TOP, H - BOTTOM, px,
                       H - BOTTOM + 15, round(v / x_unit * 1000) / 1000);
    }
    step = round_step(y->hi - y->lo);
    for (double v = y->log ? pow(10, ceil(log10(y->lo) - 1e-9)) : ceil(y->lo / step) * step; v <= y->hi * 1.0001; v = y->log ? v * 10 : v + step) {
        double py = place(y, v, H - BOTTOM, TOP);
        hone_text_addf(t, "<line class=grid x1=%d x2=%.1f y1=%.1f y2=%.1f /><text x=%d y=%.1f text-anchor=end>", LEFT, W - RIGHT, py, py, LEFT - 6, py + 4);
        tick_text(t, v, y->log);
        hone_text_add(t, "</text>");
    }
    hone_text_addf(t, "<text x=%.1f y=%.1f text-anchor=end>%s</text><text x=2 y=11>%s</text>", W - RIGHT, H - 7, x_title, y_title);
}

/* ---- labels: each takes the first free place around its dot, the near ones first ---- */

typedef struct box { double x, y, w, h; } box; /* top left */

static double overlap(const box *a, const box *b)
{
    double w = fmin(a->x + a->w, b->x + b->w) - fmax(a->x, b->x), h = fmin(a->y + a->h, b->y + b->h) - fmax(a->y, b->y);
    return w > 0 && h > 0 ? w * h : 0;
}

/* How much of a label at b would lie over other labels, dots or outside of the drawing. */
static double cost_of(const box *b, const box *taken, size_t n_taken, const dot *d, size_t n)
{
    double out = fmax(0, LEFT + 2 - b->x) + fmax(0, b->x + b->w - (W - 1)) + fmax(0, TOP - 12 - b->y) + fmax(0, b->y + b->h - (H - BOTTOM)), sum = out * 40;
    for (size_t i = 0; i < n_taken; i++) sum += overlap(b, &taken[i]);
    for (size_t i = 0; i < n; i++) sum += overlap(b, &(box){ d[i].px - 6, d[i].py - 6, 12, 12 });
    return sum;
}

static box find_place(const dot *e, double w, const box *taken, size_t n_taken, const dot *d, size_t n)
{
    static const double angle[] = { 0, 180, -45, 45, 225, 135, -90, 90, -20, 20, 200, 160 };
    box    best = { 0 };
    double least = INFINITY;
    for (int ring = 0; ring < 5; ring++)
        for (size_t k = 0; k < sizeof angle / sizeof angle[0]; k++) {
            double a = angle[k] * 3.14159265358979 / 180, far = 10 + 13 * ring, cx = e->px + cos(a) * far, cy = e->py + sin(a) * far;
            box    b = { cos(a) > 0.1 ? cx : cos(a) < -0.1 ? cx - w : cx - w / 2, cy - 7, w, 14 };
            double c = cost_of(&b, taken, n_taken, d, n) + 3 * ring + 0.05 * (double)k;
            if (c < least) {
                least = c;
                best = b;
            }
        }
    return best;
}

static void draw_dots(hone_text *t, const dot *d, size_t n)
{
    box taken[MOST];
    for (size_t i = 0; i < n; i++) {
        const dot *e = &d[i];
        double     w = 6.4 * (double)strlen(e->name) + 4;
        box        b = taken[i] = find_place(e, w, taken, i, d, n);
        double     lx = fmin(fmax(e->px, b.x), b.x + b.w), ly = fmin(fmax(e->py, b.y + 3), b.y + b.h - 3);
        if (hypot(lx - e->px, ly - e->py) > 14)
            hone_text_addf(t, "<line x1=%.1f y1=%.1f x2=%.1f y2=%.1f stroke=\"var(--soft)\" stroke-opacity=.5 />", e->px, e->py, lx, ly);
    }
    for (size_t i = n; i-- > 0;) { /* the chosen one comes last, on top */
        const dot  *e = &d[i];
        const char *stroke = e->chosen ? "var(--accent)" : e->pareto ? "var(--accent2)" : "var(--soft)";
        const char *fill = e->chosen ? "var(--accent)" : e->pareto ? "var(--accent2)" : "var(--card)";
        hone_text_addf(t, "<g%s><title>", e->out ? " opacity=.55" : "");
        hone_page_text(t, e->tip);
        hone_text_addf(t, "</title><circle cx=%.1f cy=%.1f r=%s fill=\"%s\" stroke=\"%s\" stroke-width=2%s /><text class=\"lab%s\" x=%.1f y=%.1f>", e->px, e->py,
                       e->chosen ? "6.5" : "4.5", fill, stroke, e->baseline ? " stroke-dasharray=\"3 2\"" : "", e->chosen ? " win" : "", taken[i].x + 2, taken[i].y + 11);
        hone_page_text(t, e->name);
        hone_text_add(t, "</text></g>");
    }
}

/* ---- scatter plots ---- */

static void describe(dot *d, const json_t *c)
{
    char         a[32], b[32];
    const char  *out = json_string_value(json_object_get(c, "excluded"));
    const json_t *e = json_object_get(c, "eval");
    double       acc = hone_doc_number(e, "accuracy", -1), kld = hone_doc_number(e, "kld_mean", -1);
    int          at = snprintf(d->tip, sizeof d->tip, "%s: file %s, memory %s, %.0f tokens/s", d->name,
                               hone_text_bytes((uint64_t)fmax(0, hone_doc_number(c, "bytes", 0)), a, sizeof a),
                               hone_text_bytes((uint64_t)fmax(0, hone_doc_number(c, "ram_bytes", 0)), b, sizeof b),
                               hone_doc_number(json_object_get(c, "bench"), "decode_tok_s", 0));
    if (at > 0 && (size_t)at < sizeof d->tip && acc >= 0) at += snprintf(d->tip + at, sizeof d->tip - (size_t)at, ", accuracy %.1f %%", 100 * acc);
    if (at > 0 && (size_t)at < sizeof d->tip && kld >= 0) at += snprintf(d->tip + at, sizeof d->tip - (size_t)at, ", KLD %.4f", kld);
    if (at > 0 && (size_t)at < sizeof d->tip && out) (void)snprintf(d->tip + at, sizeof d->tip - (size_t)at, "; out: %.100s", out);
}

static size_t gather(const json_t *doc, const char *x_path, const char *y_path, const char *y_rec, dot *d)
{
    size_t  i, n = 0;
    json_t *c;
    json_array_foreach(json_object_get(doc, "candidates"), i, c) {
        double      x = hone_doc_number(c, x_path, -1), y = hone_doc_number(json_object_get(c, y_rec), y_path, -1);
        const char *name = json_string_value(json_object_get(c, "quantization")), *role = json_string_value(json_object_get(c, "role"));
        if (n == MOST || !(x > 0) || !(y > 0) || !name || !role) continue;
        d[n] = (dot){ .name = name, .x = x, .y = y, .pareto = json_is_true(json_object_get(c, "pareto")),
                      .chosen = json_is_true(json_object_get(c, "chosen")), .baseline = strcmp(role, "baseline") == 0,
                      .out = json_is_string(json_object_get(c, "excluded")) };
        describe(&d[n++], c);
    }
    return n;
}

/* The chosen one's label first, then from the left: who comes first gets the near place. */
static int by_importance(const void *a, const void *b)
{
    const dot *x = a, *y = b;
    if (x->chosen != y->chosen) return x->chosen ? -1 : 1;
    return (x->px > y->px) - (x->px < y->px);
}

static int by_memory(const void *a, const void *b)
{
    const dot *x = a, *y = b;
    return (x->x > y->x) - (x->x < y->x);
}

/* The front of this plane alone: for each amount of memory the fastest that fits into it. */
static void draw_front(hone_text *t, const dot *d, size_t n)
{
    double best = -1, py = 0;
    bool   open = false;
    for (size_t i = 0; i < n; i++) {
        if (d[i].y <= best) continue;
        best = d[i].y;
        if (!open) hone_text_add(t, "<polyline fill=none stroke=\"var(--accent2)\" stroke-opacity=.5 stroke-width=1.5 stroke-dasharray=\"5 4\" points=\"");
        if (open) hone_text_addf(t, "%.1f,%.1f ", d[i].px, py);
        hone_text_addf(t, "%.1f,%.1f ", d[i].px, d[i].py);
        py = d[i].py;
        open = true;
    }
    if (open) hone_text_addf(t, "%.1f,%.1f\"/>", W - RIGHT, py);
}

static void scatter(hone_text *t, dot *d, size_t n, bool log_y, const char *label, const char *x_title, const char *y_title)
{
    if (n == 0) {
        hone_text_add(t, "<p>not measured</p></figure>");
        return;
    }
    axis ax = axis_of(d, n, false, false), ay = axis_of(d, n, true, log_y);
    hone_text_addf(t, "<svg viewBox=\"0 0 %.0f %.0f\" role=img aria-label=\"%s\">", W, H, label);
    draw_axes(t, &ax, &ay, x_title, y_title, 1e6);
    for (size_t i = 0; i < n; i++) {
        d[i].px = place(&ax, d[i].x, LEFT, W - RIGHT);
        d[i].py = place(&ay, d[i].y, H - BOTTOM, TOP);
    }
    if (!log_y) {
        qsort(d, n, sizeof d[0], by_memory);
        draw_front(t, d, n);
    }
    qsort(d, n, sizeof d[0], by_importance);
    draw_dots(t, d, n);
    hone_text_add(t, "</svg></figure>");
}

void hone_chart_pareto(hone_text *t, const json_t *doc)
{
    dot    d[MOST];
    size_t n = gather(doc, "ram_bytes", "decode_tok_s", "bench", d);
    hone_text_add(t, "<figure><figcaption><b>Speed against memory.</b> Up and to the left is better; the dashed line is the front of these two. Filled dots are on "
                     "the Pareto front of speed, accuracy and memory.</figcaption>");
    bool peak = strcmp(json_string_value(json_object_get(doc, "memory_basis")) ? json_string_value(json_object_get(doc, "memory_basis")) : "", "peak_rss") == 0;
    scatter(t, d, n, false, "decode speed against memory of every candidate", peak ? "peak memory of the process, MB" : "weights + KV cache + buffers, MB", "decode, tokens/s");
}

void hone_chart_quality(hone_text *t, const json_t *doc)
{
    dot    d[MOST];
    size_t n = gather(doc, "bytes", "kld_mean", "eval", d);
    hone_text_add(t, "<figure><figcaption><b>What each byte buys.</b> KL divergence from the baseline on held-out text, on a logarithmic scale; down and to the left is "
                     "better.</figcaption>");
    scatter(t, d, n, true, "KL divergence against file size of every candidate", "file, MB", "mean KLD, nats/token");
}

/* ---- bars ---- */

typedef struct bar { const char *name; double v; char shown[40]; bool mark; } bar;

/* One bar for each row; the text to the right of a bar is its value. */
static void bars(hone_text *t, const char *title, const bar *b, size_t n)
{
    double most = 0, row = 24, h = row * (double)n + 4, left = 20;
    for (size_t i = 0; i < n; i++) {
        most = fmax(most, b[i].v);
        left = fmax(left, 6.3 * (double)strlen(b[i].name) + 10);
    }
    hone_text_addf(t, "<figure><figcaption><b>%s</b></figcaption><svg viewBox=\"0 0 360 %.0f\" role=img aria-label=\"%s\">", title, h, title);
    for (size_t i = 0; i < n; i++) {
        double y = row * (double)i + 3, w = most > 0 && b[i].v > 0 ? b[i].v / most * (360 - left - 84) : 0;
        hone_text_add(t, "<g><title>");
        hone_page_text(t, b[i].name);
        hone_text_add(t, ": ");
        hone_page_text(t, b[i].shown);
        hone_text_addf(t, "</title><text class=lab x=0 y=%.1f>", y + 13);
        hone_page_text(t, b[i].name);
        hone_text_addf(t, "</text><rect x=%.1f y=%.1f width=%.1f height=15 rx=3 fill=\"%s\"/><text class=lab x=%.1f y=%.1f>", left, y + 1, fmax(w, b[i].v >= 0 ? 1.5 : 0),
                       b[i].mark ? "var(--accent)" : "var(--accent2)", left + w + 6, y + 13);
        hone_page_text(t, b[i].shown);
        hone_text_add(t, "</text></g>");
    }
    hone_text_add(t, "</svg></figure>");
}

void hone_chart_stages(hone_text *t, const json_t *doc)
{
    static const struct { const char *path, *title; int kind; } rows[] = { /* 0 bytes, 1 tokens/s, 2 KLD, 3 percent */
        { "bytes", "File size", 0 }, { "ram_bytes", "Memory: weights + KV cache + buffers", 0 }, { "decode_tok_s", "Decode speed, tokens/s", 1 },
        { "prefill_tok_s", "Prefill speed, tokens/s", 1 }, { "kld_mean", "KL divergence from the baseline", 2 }, { "accuracy", "Task accuracy", 3 },
    };
    const json_t *stages = json_object_get(doc, "stages");
    hone_text_add(t, "<div class=three>");
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        bar     b[8];
        size_t  n = 0, i;
        json_t *s;
        json_array_foreach(stages, i, s) {
            const json_t *f = json_object_get(s, "figures");
            const char   *name = json_string_value(json_object_get(s, "name"));
            if (n == 8 || !name) continue;
            bar *k = &b[n++];
            *k = (bar){ .name = name, .v = hone_doc_number(f, rows[r].path, -1), .mark = i + 1 == json_array_size(stages) };
            bool base = i == 0 && rows[r].kind == 2;
            if (base) k->v = 0;
            if (k->v < 0) (void)snprintf(k->shown, sizeof k->shown, "not measured");
            else if (base) (void)snprintf(k->shown, sizeof k->shown, "0, reference");
            else if (rows[r].kind == 0) (void)hone_text_bytes((uint64_t)k->v, k->shown, sizeof k->shown);
            else if (rows[r].kind == 1) (void)snprintf(k->shown, sizeof k->shown, "%.0f", k->v);
            else if (rows[r].kind == 2) (void)snprintf(k->shown, sizeof k->shown, "%.2g", k->v);
            else (void)snprintf(k->shown, sizeof k->shown, "%.1f %%", 100 * k->v);
        }
        bars(t, rows[r].title, b, n);
    }
    hone_text_add(t, "</div>");
}

void hone_chart_threads(hone_text *t, const json_t *doc)
{
    const json_t *detail = json_object_get(json_array_get(json_object_get(doc, "stages"), 3), "detail");
    char          label[16][24];
    bar           b[16];
    size_t        i, n = 0;
    json_t       *row;
    json_array_foreach(json_object_get(detail, "sweep"), i, row) {
        if (n == 16) break;
        int k = (int)hone_doc_number(row, "threads", 0);
        (void)snprintf(label[n], sizeof label[n], "%d thread%s", k, k == 1 ? "" : "s");
        b[n] = (bar){ .name = label[n], .v = hone_doc_number(json_object_get(row, "bench"), "decode_tok_s", -1), .mark = k == (int)hone_doc_number(detail, "threads", -1) };
        if (b[n].v < 0) (void)snprintf(b[n].shown, sizeof b[n].shown, "not measured");
        else (void)snprintf(b[n].shown, sizeof b[n].shown, "%.0f", b[n].v);
        n++;
    }
    if (n) bars(t, "Decode tokens/s by threads (stage 4)", b, n);
}

/* ---- what each score is made of ---- */

typedef struct scored { const char *name; double part[3], sum; bool chosen, out; } scored;

static int by_score(const void *a, const void *b)
{
    const scored *x = a, *y = b;
    return (x->sum < y->sum) - (x->sum > y->sum);
}

void hone_chart_scores(hone_text *t, const json_t *doc)
{
    static const char *const name[] = { "speed", "accuracy", "memory" }, *const color[] = { "var(--accent)", "var(--accent2)", "var(--third)" };
    const json_t *prefer = json_object_get(doc, "preferences");
    scored        s[MOST];
    double        fastest = 0, leanest = INFINITY, row = 23, label = 64;
    size_t        n = 0, i;
    json_t       *c;
    json_array_foreach(json_object_get(doc, "candidates"), i, c) {
        double v = hone_doc_number(json_object_get(c, "bench"), "decode_tok_s", 0), m = hone_doc_number(c, "ram_bytes", INFINITY);
        if (hone_doc_number(c, "score", 0) > 0) {
            fastest = fmax(fastest, v);
            leanest = fmin(leanest, m);
        }
    }
    json_array_foreach(json_object_get(doc, "candidates"), i, c) {
        const char *q = json_string_value(json_object_get(c, "quantization"));
        double      sum = hone_doc_number(c, "score", 0);
        if (n == MOST || !q || !(sum > 0) || !(fastest > 0)) continue;
        scored *k = &s[n++];
        label = fmax(label, 7.0 * (double)strlen(q) + 6);
        *k = (scored){ .name = q, .sum = sum, .chosen = json_is_true(json_object_get(c, "chosen")), .out = json_is_string(json_object_get(c, "excluded")) };
        k->part[0] = hone_doc_number(prefer, "speed", 0) * hone_doc_number(json_object_get(c, "bench"), "decode_tok_s", 0) / fastest;
        k->part[2] = hone_doc_number(prefer, "memory", 0) * leanest / hone_doc_number(c, "ram_bytes", INFINITY);
        k->part[1] = fmax(0, sum - k->part[0] - k->part[2]);
    }
    if (n == 0) return;
    qsort(s, n, sizeof s[0], by_score);
    hone_text_add(t, "<figure><figcaption><b>What the scores are made of.</b> Weights times what each keeps of the best: ");
    for (size_t p = 0; p < 3; p++)
        hone_text_addf(t, "%s<i class=key style=\"background:%s\"></i>%s %.2f", p ? ", " : "", color[p], name[p], hone_doc_number(prefer, name[p], 0));
    hone_text_addf(t, ". Faded: outside the limits.</figcaption><svg viewBox=\"0 0 %.0f %.0f\" role=img aria-label=\"score of every candidate by its parts\">", W,
                   row * (double)n + 4);
    for (size_t k = 0; k < n; k++) {
        double y = row * (double)k + 3, x = label;
        hone_text_addf(t, "<g%s><title>", s[k].out ? " opacity=.45" : "");
        hone_page_text(t, s[k].name);
        hone_text_addf(t, ": speed %.3f, accuracy %.3f, memory %.3f</title><text class=\"lab%s\" x=0 y=%.1f>", s[k].part[0], s[k].part[1], s[k].part[2],
                       s[k].chosen ? " win" : "", y + 13);
        hone_page_text(t, s[k].name);
        hone_text_add(t, "</text>");
        for (size_t p = 0; p < 3; p++) {
            double w = s[k].part[p] * (W - label - 48);
            hone_text_addf(t, "<rect x=%.1f y=%.1f width=%.1f height=15 fill=\"%s\"/>", x, y + 1, w, color[p]);
            x += w;
        }
        hone_text_addf(t, "<text class=lab x=%.1f y=%.1f>%.3f</text></g>", x + 6, y + 13, s[k].sum);
    }
    hone_text_add(t, "</svg></figure>");
}
