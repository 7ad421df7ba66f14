/* layers.c - where two runtimes part, as pictures: relative error behind each layer on a logarithmic scale, and a map of layers by positions. */
#include "flow/optimize/state.h" /* hone_doc_number */
#include "flow/report/page.h"
#include <math.h>

enum { LW = 560, LH = 300, LEFT = 52, RIGHT = 110, TOP = 22, BOTTOM = 40, LINES = 8 };
#define FLOOR 1e-8 /* smaller errors are drawn here: float32 has no more digits */

static const char *const colors[LINES] = { "var(--accent)", "var(--accent2)", "var(--third)", "var(--bad)", "var(--ok)", "var(--warn)", "var(--soft)", "var(--ink)" };

static double error_of(const json_t *layer) { return fmax(FLOOR, hone_doc_number(layer, "relative", INFINITY)); }

typedef struct frame { double lo, hi; size_t n; } frame; /* decades, layers */

static double px(const frame *f, size_t layer) { return f->n > 1 ? LEFT + (double)layer / (double)(f->n - 1) * (LW - LEFT - RIGHT) : LEFT + (LW - LEFT - RIGHT) / 2.0; }
static double py(const frame *f, double v)
{
    double t = (log10(fmin(v, pow(10, f->hi))) - f->lo) / (f->hi - f->lo);
    return LH - BOTTOM - t * (LH - TOP - BOTTOM);
}

static void axes(hone_text *t, const frame *f)
{
    for (double d = f->lo; d <= f->hi; d += f->hi - f->lo > 8 ? 2 : 1)
        hone_text_addf(t, "<line class=grid x1=%d x2=%d y1=%.1f y2=%.1f /><text x=%d y=%.1f text-anchor=end>10<tspan dy=-4 font-size=9>%.0f</tspan></text>", LEFT, LW - RIGHT,
                       py(f, pow(10, d)), py(f, pow(10, d)), LEFT - 6, py(f, pow(10, d)) + 4, d);
    size_t step = f->n > 16 ? (f->n + 15) / 16 : 1;
    for (size_t l = 0; l < f->n; l += step) hone_text_addf(t, "<text x=%.1f y=%d text-anchor=middle>%zu</text>", px(f, l), LH - BOTTOM + 15, l);
    hone_text_addf(t, "<text x=%d y=%d text-anchor=end>behind layer</text><text x=2 y=11>relative error</text>", LW - RIGHT, LH - 6);
}

static void lines(hone_text *t, const json_t *rows)
{
    frame   f = { .lo = 0, .hi = -7, .n = 1 };
    size_t  i, l, k = 0;
    json_t *row, *layer;
    double  bound = 0, last_y[LINES];
    json_array_foreach((json_t *)(uintptr_t)rows, i, row) {
        const json_t *x = json_object_get(row, "layers");
        bound = fmax(bound, hone_doc_number(x, "bound", 0));
        if (json_array_size(json_object_get(x, "layers")) > f.n) f.n = json_array_size(json_object_get(x, "layers"));
        json_array_foreach(json_object_get(x, "layers"), l, layer) {
            double v = error_of(layer);
            f.lo = fmin(f.lo, floor(log10(v)));
            f.hi = fmax(f.hi, ceil(log10(fmin(v, 10)) + 1e-9));
        }
    }
    if (bound > 0) f.hi = fmax(f.hi, ceil(log10(bound)));
    if (f.hi <= f.lo) f.hi = f.lo + 1;
    hone_text_addf(t, "<svg viewBox=\"0 0 %d %d\" role=img aria-label=\"relative error behind each layer\">", LW, LH);
    axes(t, &f);
    if (bound > 0)
        hone_text_addf(t, "<line x1=%d x2=%d y1=%.1f y2=%.1f stroke=\"var(--bad)\" stroke-dasharray=\"5 4\" stroke-opacity=.7 /><text x=%d y=%.1f text-anchor=end>rounding explains this</text>", LEFT,
                       LW - RIGHT, py(&f, bound), py(&f, bound), LW - RIGHT, py(&f, bound) - 4);
    json_array_foreach((json_t *)(uintptr_t)rows, i, row) {
        const json_t *list = json_object_get(json_object_get(row, "layers"), "layers");
        if (!list || k == LINES) continue;
        hone_text_addf(t, "<polyline fill=none stroke=\"%s\" stroke-width=2 points=\"", colors[k]);
        json_array_foreach((json_t *)(uintptr_t)list, l, layer) hone_text_addf(t, "%.1f,%.1f ", px(&f, l), py(&f, error_of(layer)));
        hone_text_add(t, "\"/>");
        json_array_foreach((json_t *)(uintptr_t)list, l, layer) {
            hone_text_addf(t, "<circle cx=%.1f cy=%.1f r=3 fill=\"%s\"><title>", px(&f, l), py(&f, error_of(layer)), colors[k]);
            hone_page_text(t, hone_page_str(row, "label"));
            hone_text_addf(t, ", layer %zu: relative %.2g, largest %.2g, cosine %.7f</title></circle>", l, hone_doc_number(layer, "relative", NAN),
                           hone_doc_number(layer, "max_abs", NAN), hone_doc_number(layer, "cosine", NAN));
        }
        double y = py(&f, error_of(json_array_get(list, json_array_size(list) - 1))) + 4;
        for (size_t tries = 0; tries < LINES; tries++) /* labels do not lie on each other */
            for (size_t j = 0; j < k; j++)
                if (fabs(y - last_y[j]) < 13) y = last_y[j] + 13;
        last_y[k] = y;
        hone_text_addf(t, "<text class=lab x=%d y=%.1f style=\"fill:%s\">", LW - RIGHT + 6, y, colors[k]);
        hone_page_text(t, hone_page_str(row, "label"));
        hone_text_add(t, "</text>");
        k++;
    }
    hone_text_add(t, "</svg>");
}

/* One square for each layer and group of positions, the darker the further apart; green to red over what rounding explains. */
static void map(hone_text *t, const json_t *row)
{
    const json_t *x = json_object_get(row, "layers"), *list = json_object_get(x, "layers");
    size_t        n_ids = (size_t)hone_doc_number(x, "ids", 0), n = json_array_size(list), cols = n_ids < 64 ? n_ids : 64, l, c;
    double        left = 34, w = 506.0 / (double)(cols ? cols : 1), h = n > 16 ? 10 : 16;
    if (!n || !cols) return;
    hone_text_add(t, "<figure><figcaption><b>");
    hone_page_text(t, hone_page_str(row, "label"));
    hone_text_addf(t, "</b> against its reference, layer by position. ");
    const json_t *at = json_object_get(x, "parts_at"), *pos = json_object_get(x, "parts_at_position");
    if (json_is_integer(at) && hone_doc_number(x, "bound", 0) > 0) {
        hone_text_addf(t, "They part at layer %.0f", json_number_value(at));
        if (json_is_integer(pos)) hone_text_addf(t, ", position %.0f", json_number_value(pos));
        hone_text_add(t, ".");
    } else if (json_is_integer(at)) hone_text_addf(t, "Layer %.0f adds most.", json_number_value(at));
    else hone_text_add(t, "They part nowhere: rounding explains every difference.");
    hone_text_addf(t, "</figcaption><svg viewBox=\"0 0 546 %.0f\" role=img aria-label=\"relative error by layer and position\">", (double)n * h + 20);
    for (l = 0; l < n; l++) {
        const json_t *by = json_object_get(json_array_get(list, l), "by_position");
        if (n <= 40 || l % 4 == 0) hone_text_addf(t, "<text x=28 y=%.1f text-anchor=end>%zu</text>", (double)l * h + h - 3, l);
        for (c = 0; c < cols; c++) {
            size_t from = c * n_ids / cols, to = (c + 1) * n_ids / cols;
            double worst = 0;
            for (size_t i = from; i < to; i++) {
                const json_t *v = json_array_get(by, i);
                worst = fmax(worst, json_is_number(v) ? json_number_value(v) : 10);
            }
            double shade = fmin(1, fmax(0.06, (log10(fmax(worst, FLOOR)) + 8) / 8)), bound = hone_doc_number(x, "bound", 0);
            hone_text_addf(t, "<rect x=%.1f y=%.1f width=%.2f height=%.1f fill=\"%s\" fill-opacity=%.2f><title>layer %zu, position %zu%s: %.2g</title></rect>", left + (double)c * w,
                           (double)l * h, w + 0.2, h - 1, bound > 0 && worst > bound ? "var(--bad)" : "var(--accent)", shade, l, from, to - from > 1 ? " on" : "", worst);
        }
    }
    hone_text_addf(t, "<text x=%.0f y=%.1f>position 0</text><text x=540 y=%.1f text-anchor=end>%zu</text></svg></figure>", left, (double)n * h + 14, (double)n * h + 14, n_ids - 1);
}

void hone_chart_layers(hone_text *t, const json_t *rows)
{
    size_t        i, n = 0;
    json_t       *row;
    const char   *reference = "";
    json_array_foreach((json_t *)(uintptr_t)rows, i, row) {
        const json_t *x = json_object_get(row, "layers");
        if (!x) continue;
        n++;
        reference = hone_page_str(x, "reference");
    }
    if (n) {
        hone_text_add(t, "<h2>Layer by layer</h2><p>The hidden state behind every layer, each artefact in its own runtime, against ");
        hone_page_text(t, reference);
        hone_text_add(t, ".</p><div class=two><figure><figcaption><b>How far apart.</b> Norm of the difference over the norm of the reference, behind each layer.</figcaption>");
        lines(t, rows);
        hone_text_add(t, "</figure>");
        json_array_foreach((json_t *)(uintptr_t)rows, i, row)
            if (json_object_get(row, "layers")) map(t, row);
        hone_text_add(t, "</div>");
    }
    bool first = true;
    json_array_foreach((json_t *)(uintptr_t)rows, i, row) {
        const char *why = hone_page_str(row, "layers_missing");
        if (!why[0]) continue;
        hone_text_add(t, first && !n ? "<h2>Layer by layer</h2>" : "");
        first = false;
        hone_text_add(t, "<p class=small>");
        hone_page_text(t, hone_page_str(row, "label"));
        hone_text_add(t, ": not measured: ");
        hone_page_text(t, why);
        hone_text_add(t, "</p>");
    }
}
