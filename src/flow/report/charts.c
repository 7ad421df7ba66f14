/* charts.c - the pictures of the report, as inline SVG: no script, so that they print and open anywhere. */
#include "flow/optimize/state.h"
#include "flow/report/page.h"
#include <math.h>
#include <stdlib.h>

#define W 520.0
#define H 340.0
enum { LEFT = 56, RIGHT = 18, TOP = 16, BOTTOM = 44 };

typedef struct dot {
    const char *name;
    double      x, y;
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

static void draw_axes(hone_text *t, const axis *x, const axis *y, const char *x_title, const char *y_title, double x_unit)
{
    double step = round_step((x->hi - x->lo) / x_unit) * x_unit;
    for (double v = ceil(x->lo / step) * step; v <= x->hi; v += step) {
        double px = place(x, v, LEFT, W - RIGHT);
        hone_text_addf(t, "<line class=grid x1=%.1f x2=%.1f y1=%d y2=%.1f />", px, px, TOP, H - BOTTOM);
        hone_text_addf(t, "<text x=%.1f y=%.1f text-anchor=middle>%g</text>", px, H - BOTTOM + 16, round(v / x_unit * 1000) / 1000);
    }
    if (y->log) {
        for (double v = pow(10, ceil(log10(y->lo) - 1e-9)); v <= y->hi * 1.0001; v *= 10) {
            double py = place(y, v, H - BOTTOM, TOP);
            hone_text_addf(t, "<line class=grid x1=%d x2=%.1f y1=%.1f y2=%.1f /><text x=%d y=%.1f text-anchor=end>%g</text>", LEFT, W - RIGHT, py, py,
                           LEFT - 6, py + 4, v);
        }
    } else {
        step = round_step(y->hi - y->lo);
        for (double v = ceil(y->lo / step) * step; v <= y->hi; v += step) {
            double py = place(y, v, H - BOTTOM, TOP);
            hone_text_addf(t, "<line class=grid x1=%d x2=%.1f y1=%.1f y2=%.1f /><text x=%d y=%.1f text-anchor=end>%g</text>", LEFT, W - RIGHT, py, py,
                           LEFT - 6, py + 4, round(v * 1000) / 1000);
        }
    }
    hone_text_addf(t, "<text x=%.1f y=%.1f text-anchor=end>%s</text>", W - RIGHT, H - 8, x_title);
    hone_text_addf(t, "<text x=4 y=11>%s</text>", y_title);
}

static int by_y(const void *a, const void *b)
{
    const double x = ((const double *)a)[1], y = ((const double *)b)[1];
    return (x > y) - (x < y);
}

/* Labels go to the right of their dot; those that would overlap are moved down, and a thin line leads back. */
static void draw_dots(hone_text *t, const dot *d, size_t n, const axis *ax, const axis *ay)
{
    double pos[64][2]; /* index, y */
    double taken[64][3];
    size_t k = 0;
    for (size_t i = 0; i < n && i < 64; i++) {
        pos[i][0] = (double)i;
        pos[i][1] = place(ay, d[i].y, H - BOTTOM, TOP);
    }
    qsort(pos, n < 64 ? n : 64, sizeof pos[0], by_y);
    for (size_t p = 0; p < n && p < 64; p++) {
        const dot  *e = &d[(size_t)pos[p][0]];
        double      px = place(ax, e->x, LEFT, W - RIGHT), py = pos[p][1], w = 7.2 * (double)strlen(e->name) + 6;
        bool        leftward = px + 10 + w > W;
        double      lx = leftward ? px - 9 - w : px + 9, ly = py + 4;
        for (size_t q = 0; q < k; q++)
            if (lx < taken[q][0] + taken[q][2] && taken[q][0] < lx + w && fabs(ly - taken[q][1]) < 13.5) {
                ly = taken[q][1] + 13.5;
                q = (size_t)-1; /* look at all again: the new place may be taken as well */
            }
        taken[k][0] = lx;
        taken[k][1] = ly;
        taken[k++][2] = w;
        const char *fill = e->chosen ? "var(--accent)" : e->pareto ? "var(--accent2)" : "none";
        const char *stroke = e->chosen ? "var(--accent)" : e->pareto ? "var(--accent2)" : "var(--soft)";
        if (fabs(ly - 4 - py) > 6)
            hone_text_addf(t, "<line x1=%.1f y1=%.1f x2=%.1f y2=%.1f stroke=\"var(--line)\"/>", px, py, leftward ? lx + w - 4 : lx - 1, ly - 4);
        hone_text_addf(t, "<g><title>");
        hone_page_text(t, e->tip);
        hone_text_addf(t, "</title><circle cx=%.1f cy=%.1f r=%d fill=\"%s\" stroke=\"%s\" stroke-width=2%s />", px, py, e->chosen ? 7 : 5, fill, stroke,
                       e->baseline ? " stroke-dasharray=\"3 2\"" : "");
        hone_text_addf(t, "<text class=\"lab%s\" x=%.1f y=%.1f%s>", e->chosen ? " win" : "", lx, ly, e->out ? " opacity=.6" : "");
        hone_page_text(t, e->name);
        hone_text_add(t, "</text></g>");
    }
}

static size_t gather(const json_t *doc, const char *x_path, const char *x_rec, const char *y_path, const char *y_rec, bool y_positive, dot *d, size_t cap)
{
    size_t  i, n = 0;
    json_t *c;
    json_array_foreach(json_object_get(doc, "candidates"), i, c) {
        const json_t *xr = x_rec ? json_object_get(c, x_rec) : c, *yr = y_rec ? json_object_get(c, y_rec) : c;
        double        x = hone_doc_number(xr, x_path, -1), y = hone_doc_number(yr, y_path, -1);
        const char   *name = json_string_value(json_object_get(c, "quantization")), *role = json_string_value(json_object_get(c, "role"));
        char          a[32], b[32];
        if (n == cap || !(x > 0) || !(y_positive ? y > 0 : y >= 0) || !name || !role) continue;
        d[n] = (dot){ .name = name, .x = x, .y = y, .pareto = json_is_true(json_object_get(c, "pareto")),
                      .chosen = json_is_true(json_object_get(c, "chosen")), .baseline = strcmp(role, "baseline") == 0,
                      .out = json_is_string(json_object_get(c, "excluded")) };
        double acc = hone_doc_number(json_object_get(c, "eval"), "accuracy", -1), kld = hone_doc_number(json_object_get(c, "eval"), "kld_mean", -1);
        int    at = snprintf(d[n].tip, sizeof d[n].tip, "%s: file %s, memory %s, %.0f tokens/s", name,
                             hone_text_bytes((uint64_t)hone_doc_number(c, "bytes", 0), a, sizeof a),
                             hone_text_bytes((uint64_t)fmax(0, hone_doc_number(c, "ram_bytes", 0)), b, sizeof b),
                             hone_doc_number(json_object_get(c, "bench"), "decode_tok_s", 0));
        if (at > 0 && acc >= 0) at += snprintf(d[n].tip + at, sizeof d[n].tip - (size_t)at, ", accuracy %.1f %%", 100 * acc);
        if (at > 0 && kld >= 0) (void)snprintf(d[n].tip + at, sizeof d[n].tip - (size_t)at, ", KLD %.4f", kld);
        n++;
    }
    return n;
}

static void begin_svg(hone_text *t, const char *label)
{
    hone_text_addf(t, "<svg viewBox=\"0 0 %.0f %.0f\" role=img aria-label=\"%s\">", W, H, label);
}

static int by_x(const void *a, const void *b)
{
    double x = ((const dot *)a)->x, y = ((const dot *)b)->x;
    return (x > y) - (x < y);
}

void hone_chart_pareto(hone_text *t, const json_t *doc)
{
    dot    d[64];
    size_t n = gather(doc, "ram_bytes", NULL, "decode_tok_s", "bench", true, d, 64);
    hone_text_add(t, "<figure><figcaption><b>Speed against memory.</b> Up and to the left is better. Filled: on the Pareto front of speed, accuracy and "
                     "memory; dashed ring: the baseline.</figcaption>");
    if (n == 0) {
        hone_text_add(t, "<p>not measured</p></figure>");
        return;
    }
    axis ax = axis_of(d, n, false, false), ay = axis_of(d, n, true, false);
    begin_svg(t, "decode speed against memory of every candidate");
    draw_axes(t, &ax, &ay, "weights + KV cache + buffers, MB", "decode, tokens/s", 1e6);
    qsort(d, n, sizeof d[0], by_x);
    bool first = true;
    for (size_t i = 0; i < n; i++)
        if (d[i].pareto) {
            if (first) hone_text_add(t, "<polyline fill=none stroke=\"var(--accent2)\" stroke-opacity=.45 stroke-width=2 points=\"");
            hone_text_addf(t, "%.1f,%.1f ", place(&ax, d[i].x, LEFT, W - RIGHT), place(&ay, d[i].y, H - BOTTOM, TOP));
            first = false;
        }
    if (!first) hone_text_add(t, "\"/>");
    draw_dots(t, d, n, &ax, &ay);
    hone_text_add(t, "</svg></figure>");
}

void hone_chart_quality(hone_text *t, const json_t *doc)
{
    dot    d[64];
    size_t n = gather(doc, "bytes", NULL, "kld_mean", "eval", true, d, 64);
    hone_text_add(t, "<figure><figcaption><b>What each byte buys.</b> KL divergence from the baseline on held-out text; lower is closer to the source. "
                     "Logarithmic.</figcaption>");
    if (n == 0) {
        hone_text_add(t, "<p>not measured</p></figure>");
        return;
    }
    axis ax = axis_of(d, n, false, false), ay = axis_of(d, n, true, true);
    begin_svg(t, "KL divergence against file size of every candidate");
    draw_axes(t, &ax, &ay, "file, MB", "mean KLD, nats/token", 1e6);
    draw_dots(t, d, n, &ax, &ay);
    hone_text_add(t, "</svg></figure>");
}

/* One bar for each row; the text to the right of a bar is its value. */
static void bars(hone_text *t, const char *title, const char *const *names, const double *v, const char (*shown)[40], size_t n, size_t mark)
{
    double most = 0, row = 26, h = row * (double)n + 10;
    for (size_t i = 0; i < n; i++)
        if (v[i] > most) most = v[i];
    hone_text_addf(t, "<figure><figcaption><b>%s</b></figcaption><svg viewBox=\"0 0 420 %.0f\" role=img aria-label=\"%s\">", title, h, title);
    for (size_t i = 0; i < n; i++) {
        double y = row * (double)i + 6, w = most > 0 && v[i] > 0 ? v[i] / most * 180 : 0;
        hone_text_addf(t, "<text class=lab x=0 y=%.1f>", y + 13);
        hone_page_text(t, names[i]);
        hone_text_addf(t, "</text><rect x=150 y=%.1f width=%.1f height=15 rx=3 fill=\"%s\"/>", y + 1, w, i == mark ? "var(--accent)" : "var(--accent2)");
        hone_text_addf(t, "<text class=lab x=%.1f y=%.1f>", 156 + w, y + 13);
        hone_page_text(t, shown[i]);
        hone_text_add(t, "</text>");
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
    hone_text_add(t, "<div class=two>");
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        const char *names[8];
        double      v[8];
        char        shown[8][40];
        size_t      n = 0, i;
        json_t     *s;
        json_array_foreach(stages, i, s) {
            const json_t *f = json_object_get(s, "figures");
            const char   *name = json_string_value(json_object_get(s, "name"));
            if (n == 8 || !name) continue;
            names[n] = name;
            v[n] = hone_doc_number(f, rows[r].path, -1);
            bool base = i == 0 && rows[r].kind == 2;
            if (base) v[n] = 0;
            if (v[n] < 0) (void)snprintf(shown[n], sizeof shown[n], "not measured");
            else if (base) (void)snprintf(shown[n], sizeof shown[n], "0, the reference");
            else if (rows[r].kind == 0) (void)hone_text_bytes((uint64_t)v[n], shown[n], sizeof shown[n]);
            else if (rows[r].kind == 1) (void)snprintf(shown[n], sizeof shown[n], "%.0f", v[n]);
            else if (rows[r].kind == 2) (void)snprintf(shown[n], sizeof shown[n], "%.2g", v[n]);
            else (void)snprintf(shown[n], sizeof shown[n], "%.1f %%", 100 * v[n]);
            n++;
        }
        bars(t, rows[r].title, names, v, (const char(*)[40])shown, n, n ? n - 1 : 0);
    }
    hone_text_add(t, "</div>");
}

void hone_chart_threads(hone_text *t, const json_t *doc)
{
    const json_t *stage = json_array_get(json_object_get(doc, "stages"), 3);
    const json_t *detail = json_object_get(stage, "detail");
    char          label[16][24], shown[16][40];
    const char   *names[16];
    double        v[16];
    size_t        i, n = 0, mark = 0;
    json_t       *row;
    json_array_foreach(json_object_get(detail, "sweep"), i, row) {
        if (n == 16) break;
        int k = (int)hone_doc_number(row, "threads", 0);
        (void)snprintf(label[n], sizeof label[n], "%d thread%s", k, k == 1 ? "" : "s");
        names[n] = label[n];
        v[n] = hone_doc_number(json_object_get(row, "bench"), "decode_tok_s", -1);
        if (v[n] < 0) (void)snprintf(shown[n], sizeof shown[n], "not measured");
        else (void)snprintf(shown[n], sizeof shown[n], "%.0f", v[n]);
        if (k == (int)hone_doc_number(detail, "threads", -1)) mark = n;
        n++;
    }
    if (n) bars(t, "Hardware acceleration: decode tokens/s by threads", names, v, (const char(*)[40])shown, n, mark);
}
