/* report.c - the page of hone optimize for a network: the choice, the gates, latency against accuracy, all candidates, the evidence. */
#include "flow/net/optimize.h"
#include "flow/optimize/state.h"
#include "flow/report/page.h"
#include "flow/report/style.h"
#include <math.h>
#include <stdio.h>

static const char *str(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static const json_t *chosen_row(const json_t *doc)
{
    size_t  i;
    json_t *c;
    json_array_foreach(json_object_get(doc, "candidates"), i, c)
        if (json_is_true(json_object_get(c, "chosen"))) return c;
    return NULL;
}

static void card(hone_text *t, const char *label, const json_t *obj, const char *path, const char *fmt, double times, const char *unit)
{
    hone_text_add(t, "<div class=card><b>");
    if (fmt) hone_page_num(t, obj, path, fmt, times);
    else hone_page_bytes(t, obj, path);
    hone_text_addf(t, "%s%s%s</b><span>%s</span></div>", unit[0] ? " <small>" : "", unit, unit[0] ? "</small>" : "", label);
}

static void head(hone_text *t, const json_t *doc)
{
    const json_t *row = chosen_row(doc);
    bool          pass = json_is_true(json_object_get(doc, "gates_pass"));
    hone_text_add(t, "<p class=eyebrow>hone deployment report</p><h1>");
    hone_page_text(t, str(json_object_get(doc, "source"), "path"));
    hone_text_add(t, " for ");
    hone_page_text(t, str(json_object_get(doc, "target"), "name"));
    hone_text_addf(t, " <span class=\"badge %s\">%s</span></h1>", pass ? "pass" : "fail",
                   pass ? "all blocking gates pass" : row ? "not every blocking gate passes" : "no candidate meets the constraints");
    if (!row) return;
    const json_t *e = json_object_get(row, "eval"), *b = json_object_get(row, "bench");
    hone_text_add(t, "<h2>Chosen: ");
    hone_page_text(t, str(row, "name"));
    hone_text_add(t, "</h2><div class=cards>");
    card(t, "files", row, "bytes", NULL, 1, "");
    card(t, "right answers", e, "accuracy", "%.2f", 100, "%");
    card(t, "same answer as the float model", e, "top1", "%.2f", 100, "%");
    card(t, "latency, p50", b, "latency_ms.p50", "%.3f", 1, "ms");
    card(t, "latency, p95", b, "latency_ms.p95", "%.3f", 1, "ms");
    card(t, "throughput", b, "samples_s", "%.0f", 1, "samples/s");
    card(t, "load", b, "load_ms", "%.0f", 1, "ms");
    card(t, "peak memory of the process", b, "peak_rss_bytes", NULL, 1, "");
    hone_text_add(t, "</div>");
}

static void gates(hone_text *t, const json_t *doc)
{
    size_t  i;
    json_t *g;
    hone_text_add(t, "<h2>Gates</h2><div class=scroll><table><tr><th>gate</th><th>verdict</th><th>measured</th><th>needed</th><th class=left>on what</th></tr>");
    json_array_foreach(json_object_get(doc, "gates"), i, g) {
        const char *v = str(g, "verdict");
        hone_text_add(t, "<tr><td>");
        hone_page_text(t, str(g, "name"));
        hone_text_addf(t, "</td><td><span class=\"badge %s\">%s</span></td><td>", v, strcmp(v, "not_measured") == 0 ? "not measured" : v);
        hone_page_num(t, g, "value", "%.3f", 1);
        const json_t *ci = json_object_get(g, "ci");
        if (json_array_size(ci) == 2)
            hone_text_addf(t, " <small class=soft>[%.3f, %.3f]</small>", json_number_value(json_array_get(ci, 0)), json_number_value(json_array_get(ci, 1)));
        hone_text_addf(t, "</td><td>%s ", json_is_true(json_object_get(g, "at_most")) ? "&le;" : "&ge;");
        hone_page_num(t, g, "threshold", "%.2f", 1);
        hone_text_add(t, " <small class=soft>");
        hone_page_text(t, str(g, "unit"));
        hone_text_add(t, "</small></td><td class=words>");
        hone_page_text(t, str(g, "why"));
        hone_text_add(t, "</td></tr>");
    }
    hone_text_add(t, "</table></div><p class=\"soft small\">Brackets: 95 % interval. A gate whose interval holds the threshold is unresolved, not passed.</p>");
}

/* Latency against right answers; area of a point by its files' bytes. */
static void chart(hone_text *t, const json_t *doc)
{
    size_t  i;
    json_t *c;
    double  most_ms = 0, least = 1, most = 0, most_bytes = 1;
    json_array_foreach(json_object_get(doc, "candidates"), i, c) {
        double ms = hone_doc_number(json_object_get(c, "bench"), "latency_ms.p50", -1), a = hone_doc_number(json_object_get(c, "eval"), "accuracy", -1);
        if (ms < 0 || a < 0) continue;
        most_ms = fmax(most_ms, ms);
        least = fmin(least, a);
        most = fmax(most, a);
        most_bytes = fmax(most_bytes, hone_doc_number(c, "bytes", 0));
    }
    if (!(most_ms > 0)) return;
    double span = fmax(most - least, 0.02), top = fmin(most + span * .15, 1.0 + span * .15), bottom = least - span * .15;
    hone_text_add(t, "<h2>The trade</h2><figure><figcaption><b>Right answers</b> against latency; the larger the point, the larger the files</figcaption>"
                     "<svg viewBox=\"0 0 540 300\" role=img aria-label=\"accuracy against latency\">");
    for (int k = 0; k <= 4; k++) {
        double y = 20 + 230 * k / 4.0, a = top - (top - bottom) * k / 4.0, x = 60 + 450 * k / 4.0;
        hone_text_addf(t, "<line class=grid x1=60 x2=510 y1=%.1f y2=%.1f /><text x=52 y=%.1f text-anchor=end>%.1f</text>", y, y, y + 4, 100 * a);
        hone_text_addf(t, "<text x=%.1f y=268 text-anchor=middle>%.3g</text>", x, most_ms * 1.1 * k / 4.0);
    }
    hone_text_add(t, "<text x=285 y=290 text-anchor=middle>ms a run, p50</text><text x=14 y=14>%</text>");
    json_array_foreach(json_object_get(doc, "candidates"), i, c) {
        double ms = hone_doc_number(json_object_get(c, "bench"), "latency_ms.p50", -1), a = hone_doc_number(json_object_get(c, "eval"), "accuracy", -1);
        if (ms < 0 || a < 0) continue;
        bool   win = json_is_true(json_object_get(c, "chosen"));
        double x = 60 + 450 * ms / (most_ms * 1.1), y = 20 + 230 * (top - a) / (top - bottom), r = 4 + 8 * sqrt(hone_doc_number(c, "bytes", 0) / most_bytes);
        hone_text_addf(t, "<circle cx=%.1f cy=%.1f r=%.1f fill=\"var(--%s)\" fill-opacity=.55 stroke=\"var(--%s)\"><title>", x, y, r, win ? "accent" : "third", win ? "accent" : "third");
        hone_page_text(t, str(c, "name"));
        hone_text_add(t, "</title></circle>");
        if (win) {
            hone_text_addf(t, "<text class=win x=%.1f y=%.1f text-anchor=\"%s\">", x, y - r - 6, x > 400 ? "end" : x < 140 ? "start" : "middle");
            hone_page_text(t, str(c, "name"));
            hone_text_add(t, "</text>");
        }
    }
    hone_text_add(t, "</svg></figure>");
}

static void candidates(hone_text *t, const json_t *doc)
{
    static const struct { const char *path, *fmt; double times; int rec; } cells[] = {
        { "accuracy", "%.2f", 100, 2 }, { "top1", "%.2f", 100, 2 },        { "mean_abs", "%.4f", 1, 2 }, { "latency_ms.p50", "%.3f", 1, 1 }, { "latency_ms.p95", "%.3f", 1, 1 },
        { "samples_s", "%.0f", 1, 1 },  { "load_ms", "%.0f", 1, 1 },       { "peak_rss_bytes", NULL, 1, 1 }, { "score", "%.3f", 1, 0 },
    };
    size_t  i;
    json_t *c;
    hone_text_add(t, "<h2>Candidates</h2><div class=scroll><table><tr><th>artefact</th><th>files</th><th>right<small>%</small></th><th>same answer<small>%</small></th>"
                     "<th>mean error</th><th>p50<small>ms</small></th><th>p95<small>ms</small></th><th>throughput<small>samples/s</small></th><th>load<small>ms</small></th>"
                     "<th>memory</th><th>score</th><th class=left>note</th></tr>");
    json_array_foreach(json_object_get(doc, "candidates"), i, c) {
        const char *excluded = str(c, "excluded"), *failure = str(c, "failure");
        bool        win = json_is_true(json_object_get(c, "chosen"));
        hone_text_addf(t, "<tr class=\"%s\"><td><b>", win ? "chosen" : excluded[0] || failure[0] ? "out" : "");
        hone_page_text(t, str(c, "name"));
        hone_text_add(t, "</b></td><td>");
        hone_page_bytes(t, c, "bytes");
        for (size_t k = 0; k < sizeof cells / sizeof cells[0]; k++) {
            const json_t *from = cells[k].rec == 0 ? c : json_object_get(c, cells[k].rec == 1 ? "bench" : "eval");
            hone_text_add(t, "</td><td>");
            if (cells[k].fmt) hone_page_num(t, from, cells[k].path, cells[k].fmt, cells[k].times);
            else hone_page_bytes(t, from, cells[k].path);
        }
        hone_text_add(t, "</td><td class=words>");
        if (failure[0]) hone_page_text(t, failure);
        else if (win) hone_text_add(t, "<b>chosen</b>");
        else if (excluded[0]) hone_page_text(t, excluded);
        else if (i == 0) hone_text_add(t, "baseline");
        else if (json_is_true(json_object_get(c, "pareto"))) hone_text_add(t, "on the Pareto front");
        hone_text_add(t, "</td></tr>");
    }
    hone_text_add(t, "</table></div><p class=\"soft small\">Each in its own runtime, on the same samples; rounds in turns. A dash holds its reason as a tooltip.</p>");
}

static void pair(hone_text *t, const char *name, const char *value)
{
    hone_text_addf(t, "<dt>%s</dt><dd>", name);
    hone_page_text(t, value[0] ? value : "not known");
    hone_text_add(t, "</dd>");
}

static void evidence(hone_text *t, const json_t *doc)
{
    const json_t *cpu = json_object_get(json_object_get(doc, "machine"), "cpu"), *row = json_array_get(json_object_get(doc, "candidates"), 0);
    char          line[300];
    hone_text_add(t, "<h2>Evidence</h2><dl>");
    pair(t, "command", str(doc, "command"));
    (void)snprintf(line, sizeof line, "%s, %.0f cores; %.0f threads a runtime", str(cpu, "model"), hone_doc_number(cpu, "cores", 0), hone_doc_number(doc, "threads", 1));
    pair(t, "measured on", line);
    (void)snprintf(line, sizeof line, "%.0f labelled samples of %s", hone_doc_number(json_object_get(row, "eval"), "samples", 0), str(doc, "data"));
    pair(t, "accuracy on", line);
    pair(t, "ranges from", str(doc, "calibration"));
    pair(t, "source digest", str(json_object_get(doc, "source"), "sha256"));
    if (chosen_row(doc)) pair(t, "artefact digest", str(chosen_row(doc), "sha256"));
    (void)snprintf(line, sizeof line, "hone %s; every record is a row of history.db beside this report", str(doc, "hone"));
    pair(t, "written by", line);
    hone_text_add(t, "</dl>");
}

hone_code hone_net_report_html(const json_t *doc, hone_text *out, hone_err *err)
{
    hone_text_add(out, "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content=\"width=device-width,initial-scale=1\">"
                       "<meta name=color-scheme content=\"light dark\"><title>");
    hone_page_text(out, str(json_object_get(doc, "source"), "path"));
    hone_text_addf(out, " - hone report</title><style>%s</style></head><body><main>", REPORT_STYLE);
    head(out, doc);
    gates(out, doc);
    chart(out, doc);
    candidates(out, doc);
    evidence(out, doc);
    hone_text_add(out, "</main></body></html>\n");
    return out->failed ? HONE_NOMEM(err, "the report page") : HONE_OK;
}
