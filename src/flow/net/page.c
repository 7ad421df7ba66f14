#include "flow/net/page.h"
#include "base/file.h"
#include "flow/optimize/state.h" /* hone_doc_number */
#include "flow/probe.h"
#include "flow/report/page.h"
#include "measure/artefact.h"
#include <math.h>

typedef struct column { const char *path, *title, *unit, *fmt; double times; } column; /* fmt NULL: bytes */

static const column of_eval[] = {
    { "bytes", "size", "", NULL, 1 },           { "accuracy", "right", "%", "%.2f", 100 },       { "top1", "same", "answer, %", "%.2f", 100 },
    { "max_abs", "largest", "error", "%.4f", 1 }, { "mean_abs", "mean", "error", "%.4f", 1 }, { "cosine_mean", "mean", "cosine", "%.4f", 1 },
    { "cosine_min", "least", "cosine", "%.4f", 1 },
};
static const column of_bench[] = {
    { "file_bytes", "size", "", NULL, 1 },      { "latency_ms.p50", "p50", "ms", "%.3f", 1 },    { "latency_ms.p95", "p95", "ms", "%.3f", 1 },
    { "latency_ms.p99", "p99", "ms", "%.3f", 1 }, { "samples_s", "throughput", "samples/s", "%.0f", 1 }, { "cv", "variation", "", "%.3f", 1 },
    { "first_ms", "first run", "ms", "%.2f", 1 }, { "load_ms", "load", "ms", "%.1f", 1 },          { "peak_rss_bytes", "memory", "", NULL, 1 },
};

static bool is_bench(const hone_net_page_about *about) { return strcmp(about->verb, "bench") == 0; }

static const char *name_of(const json_t *row, char out[160]) { return hone_artefact_name(hone_page_str(row, "path"), out, 160); }

/* ---- head ---- */

static void head(hone_text *t, const json_t *doc, const hone_net_page_about *about)
{
    const json_t *results = json_object_get(doc, "results"), *first = json_array_get(results, 0), *cpu = json_object_get(json_object_get(about->machine, "cpu"), "model");
    bool          check = strcmp(about->verb, "check") == 0;
    char          name[160];
    hone_text_add(t, "<p class=eyebrow>hone ");
    hone_page_text(t, about->verb);
    hone_text_add(t, " of networks</p><h1>");
    if (json_array_size(results) == 1) hone_page_text(t, name_of(first, name));
    else hone_text_addf(t, "%zu artefacts side by side", json_array_size(results));
    if (check) hone_text_addf(t, " <span class=\"badge %s\">%s</span>", about->answer ? "fail" : "pass", about->answer ? "not the same" : "within the bounds");
    hone_text_add(t, "</h1><p class=soft>measured on ");
    hone_page_text(t, json_string_value(cpu) ? json_string_value(cpu) : "this machine");
    if (is_bench(about)) hone_text_add(t, "; every artefact in its real runtime, in a process of its own, in turns</p>");
    else {
        hone_text_addf(t, "; %.0f samples of ", hone_doc_number(first, "samples", 0));
        hone_page_text(t, hone_page_str(doc, "data"));
        hone_text_add(t, "</p>");
    }
    if (!about->answer) return;
    hone_text_add(t, "<p>");
    hone_page_text(t, about->answer);
    hone_text_add(t, "</p>");
}

/* ---- the table ---- */

static void failed_cells(hone_text *t, const json_t *r, size_t n)
{
    hone_text_addf(t, "<td class=words colspan=%zu>", n);
    hone_page_text(t, hone_page_str(r, "failure"));
    if (hone_page_str(r, "remedy")[0]) {
        hone_text_add(t, " <small>(");
        hone_page_text(t, hone_page_str(r, "remedy"));
        hone_text_add(t, ")</small>");
    }
    hone_text_add(t, "</td>");
}

static void cells(hone_text *t, const json_t *r, const column *c, size_t n)
{
    for (size_t k = 0; k < n; k++) {
        double lo, hi, v = hone_doc_number(r, c[k].path, NAN);
        hone_text_add(t, "<td>");
        hone_page_num(t, r, c[k].path, c[k].fmt, c[k].times);
        if (c[k].times == 100 && !isnan(v) && hone_doc_interval(r, c[k].path, &lo, &hi)) hone_text_addf(t, " <small class=soft>[%.1f, %.1f]</small>", 100 * lo, 100 * hi);
        hone_text_add(t, "</td>");
    }
}

static void table(hone_text *t, const json_t *results, const column *c, size_t n)
{
    size_t  i;
    json_t *r;
    hone_text_add(t, "<h2>Results</h2><div class=scroll><table><tr><th>artefact</th><th class=left>runtime</th>");
    for (size_t k = 0; k < n; k++) hone_text_addf(t, "<th>%s%s%s%s</th>", c[k].title, c[k].unit[0] ? "<small>" : "", c[k].unit, c[k].unit[0] ? "</small>" : "");
    hone_text_add(t, "</tr>");
    json_array_foreach(results, i, r) {
        bool bad = json_is_true(json_object_get(r, "failed"));
        char name[160];
        hone_text_addf(t, "<tr class=\"%s\"><td><b title=\"", bad ? "out" : "");
        hone_page_text(t, hone_page_str(r, "path"));
        hone_text_add(t, "\">");
        hone_page_text(t, name_of(r, name));
        hone_text_add(t, "</b></td><td class=left>");
        hone_page_text(t, hone_page_str(r, "runtime"));
        hone_text_add(t, " <small class=soft>");
        hone_page_text(t, hone_page_str(r, "device"));
        hone_text_add(t, "</small></td>");
        if (bad) failed_cells(t, r, n);
        else cells(t, r, c, n);
        hone_text_add(t, "</tr>");
    }
    hone_text_add(t, "</table></div><p class=\"soft small\">Brackets: 95 % interval. What is not measured holds its reason as a tooltip.</p>");
}

/* ---- charts: one bar for each artefact, and a whisker ---- */

typedef struct bars { const char *title, *path, *to /* where the whisker ends; NULL: the interval of path; "": none */, *unit; double times; int digits; } bars;

static bool span_of(const json_t *r, const bars *b, double *lo, double *hi)
{
    if (b->to && !b->to[0]) return false;
    if (!b->to) return hone_doc_interval(r, b->path, lo, hi);
    *lo = hone_doc_number(r, b->path, NAN);
    *hi = hone_doc_number(r, b->to, NAN);
    return !isnan(*lo) && !isnan(*hi);
}

static double widest(const json_t *results, const bars *b)
{
    size_t  i;
    json_t *r;
    double  most = 0, lo, hi;
    json_array_foreach(results, i, r) {
        most = fmax(most, hone_doc_number(r, b->path, 0));
        if (span_of(r, b, &lo, &hi)) most = fmax(most, hi);
    }
    return most;
}

static void chart(hone_text *t, const json_t *results, const bars *b)
{
    enum { WIDE = 540, LEFT = 4, ROOM = 430, ROW = 40 };
    size_t  n = json_array_size(results), i;
    json_t *r;
    double  most = widest(results, b), lo, hi;
    if (!(most > 0)) return;
    hone_text_addf(t, "<figure><figcaption><b>%s</b>%s%s</figcaption><svg viewBox=\"0 0 %d %zu\" role=img aria-label=\"%s\">", b->title, b->unit[0] ? ", " : "", b->unit, WIDE,
                   n * ROW + 6, b->title);
    json_array_foreach(results, i, r) {
        double v = hone_doc_number(r, b->path, NAN), y = (double)(i * ROW), x = isnan(v) ? 0 : v / most * ROOM;
        char   name[160];
        hone_text_addf(t, "<text class=lab x=%d y=%.0f>", LEFT, y + 14);
        hone_page_text(t, name_of(r, name));
        hone_text_add(t, " <tspan fill-opacity=.6>");
        hone_page_text(t, hone_page_str(r, "runtime"));
        hone_text_add(t, "</tspan></text>");
        if (isnan(v)) {
            hone_text_addf(t, "<text x=%d y=%.0f>not measured</text>", LEFT, y + 32);
            continue;
        }
        hone_text_addf(t, "<rect x=%d y=%.0f width=%.1f height=12 rx=2 fill=\"var(--accent)\" fill-opacity=.75 />", LEFT, y + 21, fmax(x, 1));
        double end = x;
        if (span_of(r, b, &lo, &hi)) {
            double x1 = LEFT + lo / most * ROOM, x2 = LEFT + hi / most * ROOM;
            hone_text_addf(t, "<line x1=%.1f x2=%.1f y1=%.0f y2=%.0f stroke=\"var(--accent2)\" stroke-width=2 /><line x1=%.1f x2=%.1f y1=%.0f y2=%.0f stroke=\"var(--accent2)\" "
                              "stroke-width=2 />", x1, x2, y + 27, y + 27, x2, x2, y + 22, y + 32);
            end = fmax(end, x2 - LEFT);
        }
        hone_text_addf(t, "<text x=%.1f y=%.0f>%.*f</text>", LEFT + end + 8, y + 31, b->digits, v * b->times);
    }
    hone_text_add(t, "</svg></figure>");
}

static void charts(hone_text *t, const json_t *results, bool bench)
{
    static const bars of[2][3] = {
        { { "Right answers with their 95 % interval", "accuracy", NULL, "%", 100, 2 }, { "Mean error against the float model", "mean_abs", "", "", 1, 4 }, { "Size of the files", "bytes", "", "MB", 1e-6, 3 } },
        { { "Latency of a run, p50; the line ends at p95", "latency_ms.p50", "latency_ms.p95", "ms", 1, 3 }, { "Memory of the process at its peak", "peak_rss_bytes", "", "MB", 1e-6, 1 },
          { "Size of the files", "file_bytes", "", "MB", 1e-6, 3 } },
    };
    if (json_array_size(results) < 2) return;
    hone_text_add(t, "<h2>Side by side</h2><div class=two>");
    for (size_t k = 0; k < 3; k++) chart(t, results, &of[bench][k]);
    hone_text_add(t, "</div>");
}

/* ---- evidence ---- */

static bool told_before(const json_t *results, size_t n)
{
    const json_t *r = json_array_get(results, n);
    for (size_t i = 0; i < n; i++) {
        const json_t *other = json_array_get(results, i);
        if (strcmp(hone_page_str(r, "runtime"), hone_page_str(other, "runtime")) == 0 && strcmp(hone_page_str(r, "version"), hone_page_str(other, "version")) == 0) return true;
    }
    return !hone_page_str(r, "runtime")[0];
}

static void runtimes(hone_text *t, const json_t *results)
{
    hone_text list = { 0 };
    for (size_t i = 0; i < json_array_size(results); i++)
        if (!told_before(results, i))
            hone_text_addf(&list, "%s%s %s", list.len ? "; " : "", hone_page_str(json_array_get(results, i), "runtime"), hone_page_str(json_array_get(results, i), "version"));
    hone_page_pair(t, "runtimes", list.ptr ? list.ptr : "");
    t->failed = t->failed || list.failed;
    hone_text_release(&list);
}

static void evidence(hone_text *t, const json_t *doc, const hone_net_page_about *about)
{
    const json_t *run = json_object_get(json_array_get(json_object_get(doc, "results"), 0), "run"), *cpu = json_object_get(about->machine, "cpu");
    char          line[300];
    hone_text_add(t, "<h2>Evidence</h2><dl>");
    hone_page_pair(t, "command", about->command);
    if (cpu) {
        (void)snprintf(line, sizeof line, "%s, %.0f cores", hone_page_str(cpu, "model"), hone_doc_number(cpu, "cores", 0));
        hone_page_pair(t, "measured on", line);
    }
    runtimes(t, json_object_get(doc, "results"));
    hone_page_pair(t, "samples", hone_page_str(doc, "data")[0] ? hone_page_str(doc, "data") : is_bench(about) ? "random numbers in the shapes that each network says" : "");
    if (hone_page_str(doc, "reference")[0]) hone_page_pair(t, "errors against", hone_page_str(doc, "reference"));
    if (run) {
        (void)snprintf(line, sizeof line, "batch %.0f, %.0f threads, %.0f rounds in turns", hone_doc_number(run, "batch", 1), hone_doc_number(run, "threads", 1), hone_doc_number(run, "rounds", 0));
        hone_page_pair(t, "protocol", line);
    }
    if (json_object_get(doc, "min_same")) {
        (void)snprintf(line, sizeof line, "the same answer to %.2f %% of the samples, a mean cosine of %.4f, no number that is not finite", 100 * hone_doc_number(doc, "min_same", 0),
                       hone_doc_number(doc, "min_cosine", 0));
        hone_page_pair(t, "bounds", line);
    }
    hone_page_pair(t, "written by", "hone " HONE_VERSION);
    hone_text_add(t, "</dl>");
}

hone_code hone_net_page_html(const json_t *doc, const hone_net_page_about *about, hone_text *out, hone_err *err)
{
    const json_t *results = json_object_get(doc, "results");
    bool          bench = is_bench(about);
    hone_page_open(out, "hone ", about->verb);
    head(out, doc, about);
    table(out, results, bench ? of_bench : of_eval, bench ? HONE_COUNT(of_bench) : HONE_COUNT(of_eval));
    charts(out, results, bench);
    evidence(out, doc, about);
    return hone_page_close(out, err);
}

hone_code hone_net_page_write(const hone_ctx *ctx, const json_t *doc, const hone_net_page_about *about, const char *path, hone_err *err)
{
    json_t             *machine = NULL;
    hone_net_page_about with = *about;
    hone_text           page = { 0 };
    HONE_TRY(hone_probe_facts(ctx, NULL, NULL, 0, &machine, err));
    with.machine = machine;
    hone_code code = hone_net_page_html(doc, &with, &page, err);
    if (code == HONE_OK) code = hone_out_put(path, page.ptr, page.len, err);
    hone_text_release(&page);
    json_decref(machine);
    return code;
}
