/* report.c - the page of hone optimize for a network: the choice, the gates, latency against accuracy, all candidates, the evidence. */
#include "flow/net/optimize.h"
#include "flow/optimize/state.h"
#include "flow/report/page.h"
#include <math.h>
#include <stdio.h>

static void head(hone_text *t, const json_t *doc)
{
    const json_t *row = hone_page_chosen(doc);
    bool          pass = json_is_true(json_object_get(doc, "gates_pass"));
    hone_text_add(t, "<p class=eyebrow>hone deployment report</p><h1>");
    hone_page_text(t, hone_page_str(json_object_get(doc, "source"), "path"));
    hone_text_add(t, " for ");
    hone_page_text(t, hone_page_str(json_object_get(doc, "target"), "name"));
    hone_text_addf(t, " <span class=\"badge %s\">%s</span></h1>", pass ? "pass" : "fail",
                   pass ? "all blocking gates pass" : row ? "not every blocking gate passes" : "no candidate meets the constraints");
    if (!row) return;
    const json_t *e = json_object_get(row, "eval"), *b = json_object_get(row, "bench");
    hone_text_add(t, "<h2>Chosen: ");
    hone_page_text(t, hone_page_str(row, "name"));
    hone_text_add(t, "</h2><div class=cards>");
    hone_page_card(t, "files", row, "bytes", NULL, 1, "");
    hone_page_card(t, "right answers", e, "accuracy", "%.2f", 100, "%");
    hone_page_card(t, "same answer as the float model", e, "top1", "%.2f", 100, "%");
    hone_page_card(t, "latency, p50", b, "latency_ms.p50", "%.3f", 1, "ms");
    hone_page_card(t, "latency, p95", b, "latency_ms.p95", "%.3f", 1, "ms");
    hone_page_card(t, "throughput", b, "samples_s", "%.0f", 1, "samples/s");
    hone_page_card(t, "load", b, "load_ms", "%.0f", 1, "ms");
    hone_page_card(t, "peak memory of the process", b, "peak_rss_bytes", NULL, 1, "");
    hone_text_add(t, "</div>");
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
        hone_page_text(t, hone_page_str(c, "name"));
        hone_text_add(t, "</title></circle>");
        if (win) {
            hone_text_addf(t, "<text class=win x=%.1f y=%.1f text-anchor=\"%s\">", x, y - r - 6, x > 400 ? "end" : x < 140 ? "start" : "middle");
            hone_page_text(t, hone_page_str(c, "name"));
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
        const char *excluded = hone_page_str(c, "excluded"), *failure = hone_page_str(c, "failure");
        bool        win = json_is_true(json_object_get(c, "chosen"));
        hone_text_addf(t, "<tr class=\"%s\"><td><b>", win ? "chosen" : excluded[0] || failure[0] ? "out" : "");
        hone_page_text(t, hone_page_str(c, "name"));
        hone_text_add(t, "</b></td><td>");
        hone_page_bytes(t, c, "bytes");
        for (size_t k = 0; k < sizeof cells / sizeof cells[0]; k++) {
            const json_t *from = cells[k].rec == 0 ? c : json_object_get(c, cells[k].rec == 1 ? "bench" : "eval");
            hone_text_add(t, "</td><td>");
            hone_page_num(t, from, cells[k].path, cells[k].fmt, cells[k].times);
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

static void evidence(hone_text *t, const json_t *doc)
{
    const json_t *cpu = json_object_get(json_object_get(doc, "machine"), "cpu"), *row = json_array_get(json_object_get(doc, "candidates"), 0);
    char          line[300];
    hone_text_add(t, "<h2>Evidence</h2><dl>");
    hone_page_pair(t, "command", hone_page_str(doc, "command"));
    (void)snprintf(line, sizeof line, "%s, %.0f cores; %.0f threads a runtime", hone_page_str(cpu, "model"), hone_doc_number(cpu, "cores", 0), hone_doc_number(doc, "threads", 1));
    hone_page_pair(t, "measured on", line);
    (void)snprintf(line, sizeof line, "%.0f labelled samples of %s", hone_doc_number(json_object_get(row, "eval"), "samples", 0), hone_page_str(doc, "data"));
    hone_page_pair(t, "accuracy on", line);
    hone_page_pair(t, "ranges from", hone_page_str(doc, "calibration"));
    hone_page_pair(t, "source digest", hone_page_str(json_object_get(doc, "source"), "sha256"));
    if (hone_page_chosen(doc)) hone_page_pair(t, "artefact", hone_page_str(hone_page_chosen(doc), "path"));
    if (hone_page_chosen(doc)) hone_page_pair(t, "artefact digest", hone_page_str(hone_page_chosen(doc), "sha256"));
    (void)snprintf(line, sizeof line, "hone %s; every record is a row of history.db beside this report", hone_page_str(doc, "hone"));
    hone_page_pair(t, "written by", line);
    hone_text_add(t, "</dl>");
}

hone_code hone_net_report_html(const json_t *doc, hone_text *out, hone_err *err)
{
    hone_page_open(out, hone_page_str(json_object_get(doc, "source"), "path"), " - hone report");
    head(out, doc);
    hone_page_gates(out, json_object_get(doc, "gates"));
    chart(out, doc);
    candidates(out, doc);
    evidence(out, doc);
    return hone_page_close(out, err);
}
