#include "flow/report.h"
#include "flow/optimize/state.h"
#include "flow/report/page.h"
#include <math.h>

static void head(hone_text *t, const json_t *doc)
{
    const json_t *src = json_object_get(doc, "source"), *chosen = json_object_get(doc, "chosen"), *row = hone_page_chosen(doc);
    const char   *target = hone_page_str(json_object_get(doc, "target"), "name");
    bool          pass = json_is_true(json_object_get(doc, "gates_pass"));
    hone_text_add(t, "<p class=eyebrow>hone deployment report</p><h1>");
    hone_page_text(t, hone_page_str(src, "name"));
    hone_text_add(t, " for ");
    hone_page_text(t, target[0] ? target : "this machine");
    hone_text_addf(t, " <span class=\"badge %s\">%s</span></h1><p class=soft>", pass ? "pass" : "fail",
                   pass ? "all blocking gates pass" : row ? "not every blocking gate passes" : "no candidate meets the constraints");
    hone_page_text(t, hone_page_str(src, "architecture"));
    hone_text_addf(t, ", %.3g million parameters, %.0f layers, ", hone_doc_number(src, "parameters", 0) / 1e6, hone_doc_number(src, "layers", 0));
    hone_page_text(t, hone_page_str(src, "dtype"));
    hone_text_add(t, ", ");
    hone_page_bytes(t, src, "bytes");
    hone_text_add(t, "</p>");
    if (!row) return;
    const json_t *fin = json_object_get(json_object_get(json_array_get(json_object_get(doc, "stages"), 4), "detail"), "chosen");
    const json_t *eval = json_object_get(row, "eval");
    hone_text_add(t, "<h2>Chosen: ");
    hone_page_text(t, hone_page_str(chosen, "quantization"));
    hone_text_addf(t, " on %.0f thread%s</h2><div class=cards>", hone_doc_number(chosen, "threads", 0), hone_doc_number(chosen, "threads", 0) > 1 ? "s" : "");
    hone_page_card(t, "file", row, "bytes", NULL, 1, "");
    hone_page_card(t, "bits per weight", row, "bpw", "%.2f", 1, "");
    hone_page_card(t, strcmp(hone_page_str(doc, "memory_basis"), "peak_rss") == 0 ? "memory at its peak" : "weights + KV + buffers", row, "ram_bytes", NULL, 1, "");
    hone_page_card(t, "decode", fin, "decode_tok_s", "%.0f", 1, "tok/s");
    hone_page_card(t, "prefill", fin, "prefill_tok_s", "%.0f", 1, "tok/s");
    hone_page_card(t, "time to first token, p50", fin, "ttft_ms.p50", "%.1f", 1, "ms");
    hone_page_card(t, "load", fin, "load_ms", "%.0f", 1, "ms");
    hone_page_card(t, "perplexity", eval, "perplexity", "%.3f", 1, "");
    hone_page_card(t, "mean KL divergence", eval, "kld_mean", "%.2f", 1000, "nat/1000");
    hone_page_card(t, "task accuracy", eval, "accuracy", "%.1f", 100, "%");
    hone_text_add(t, "</div><ul>");
    size_t  i;
    json_t *b;
    json_array_foreach(json_object_get(chosen, "because"), i, b) {
        hone_text_add(t, "<li>");
        hone_page_text(t, json_string_value(b));
        hone_text_add(t, "</li>");
    }
    hone_text_add(t, "</ul>");
}

/* One mark for each gate of a candidate, its verdict in words as the tooltip. */
static void marks(hone_text *t, const json_t *gates)
{
    const char   *name;
    const json_t *v;
    if (!json_is_object(gates)) {
        hone_text_add(t, "<span class=soft title=\"the baseline: every ratio is against it\">&ndash;</span>");
        return;
    }
    json_object_foreach((json_t *)(uintptr_t)gates, name, v) {
        const char *verdict = json_string_value(v) ? json_string_value(v) : "";
        bool        pass = strcmp(verdict, "pass") == 0, fail = strcmp(verdict, "fail") == 0;
        hone_text_addf(t, "<span class=\"mark %s\" title=\"", pass ? "pass" : fail ? "fail" : "unresolved");
        hone_page_text(t, name);
        hone_text_add(t, ": ");
        hone_page_text(t, strcmp(verdict, "not_measured") == 0 ? "not measured" : verdict);
        hone_text_addf(t, "\">%s</span>", pass ? "&#10003;" : fail ? "&#10007;" : "?");
    }
}

static void candidates(hone_text *t, const json_t *doc)
{
    size_t  i;
    json_t *c;
    hone_text_add(t, "<h2>Candidates</h2><div class=scroll><table><tr><th>encoding</th><th class=mid>gates<small>acc speed mem cv</small></th><th>file</th>"
                     "<th>bits<small>/weight</small></th><th>memory</th><th>peak RSS</th><th>load<small>ms</small></th><th>TTFT<small>p50 ms</small></th><th>prefill<small>tok/s</small></th>"
                     "<th>decode<small>tok/s</small></th><th>p95<small>ms/token</small></th><th>perplexity</th><th>KLD<small>nat/1000</small></th><th>top-1<small>%"
                     "</small></th><th>accuracy<small>%</small></th><th>score</th><th class=left>note</th></tr>");
    json_array_foreach(json_object_get(doc, "candidates"), i, c) {
        const json_t *b = json_object_get(c, "bench"), *e = json_object_get(c, "eval");
        const char   *excluded = hone_page_str(c, "excluded"), *role = hone_page_str(c, "role");
        bool          win = json_is_true(json_object_get(c, "chosen"));
        hone_text_addf(t, "<tr class=\"%s\"><td><b>", win ? "chosen" : excluded[0] ? "out" : "");
        hone_page_text(t, hone_page_str(c, "quantization"));
        hone_text_add(t, "</b></td><td class=mid>");
        marks(t, json_object_get(c, "gates"));
        hone_text_add(t, "</td><td>");
        hone_page_bytes(t, c, "bytes");
        static const struct { const char *path, *fmt; double times; int rec; } cells[] = {
            { "bpw", "%.2f", 1, 0 }, { "ram_bytes", NULL, 1, 0 }, { "peak_rss_bytes", NULL, 1, 1 }, { "load_ms", "%.0f", 1, 1 },
            { "ttft_ms.p50", "%.1f", 1, 1 }, { "prefill_tok_s", "%.0f", 1, 1 }, { "decode_tok_s", "%.0f", 1, 1 }, { "latency_ms.p95", "%.2f", 1, 1 },
            { "perplexity", "%.3f", 1, 2 }, { "kld_mean", "%.2f", 1000, 2 }, { "top1", "%.1f", 100, 2 }, { "accuracy", "%.1f", 100, 2 }, { "score", "%.3f", 1, 0 },
        };
        for (size_t k = 0; k < sizeof cells / sizeof cells[0]; k++) {
            const json_t *from = cells[k].rec == 0 ? c : cells[k].rec == 1 ? b : e;
            hone_text_add(t, "</td><td>");
            if (cells[k].rec == 2 && strcmp(role, "baseline") == 0 && (strcmp(cells[k].path, "kld_mean") == 0 || strcmp(cells[k].path, "top1") == 0))
                hone_text_add(t, "<span class=soft title=\"the reference itself\">ref</span>");
            else if (cells[k].rec == 2 && strcmp(cells[k].path, "perplexity") == 0 && hone_doc_number(c, "brief_tokens", 0) > 0)
                hone_text_addf(t, "<span class=soft title=\"only %.0f tokens of the text were read: not comparable\">&ndash;</span>", hone_doc_number(c, "brief_tokens", 0));
            else hone_page_num(t, from, cells[k].path, cells[k].fmt, cells[k].times);
        }
        hone_text_add(t, "</td><td class=words>");
        if (win) hone_text_add(t, "<b>chosen</b>");
        else if (strcmp(role, "runtime_baseline") == 0 && !excluded[0]) hone_text_add(t, "baseline of its runtime");
        else if (excluded[0]) hone_page_text(t, excluded);
        else if (strcmp(role, "baseline") == 0) hone_text_add(t, "baseline");
        else if (json_is_true(json_object_get(c, "pareto"))) hone_text_add(t, "on the Pareto front");
        hone_text_add(t, "</td></tr>");
    }
    hone_text_add(t, "</table></div><p class=\"soft small\">One thread, the same token ids, rounds interleaved. A dash holds its reason as a tooltip; so does each mark.</p>");
}

static void percent(hone_text *t, const json_t *task)
{
    const json_t *ci = json_object_get(task, "ci");
    hone_page_num(t, task, "accuracy", "%.1f", 100);
    if (json_array_size(ci) == 2)
        hone_text_addf(t, " <small class=soft>[%.1f, %.1f]</small>", 100 * json_number_value(json_array_get(ci, 0)), 100 * json_number_value(json_array_get(ci, 1)));
}

/* Where accuracy went: each task, the baseline beside the chosen one. */
static void tasks(hone_text *t, const json_t *doc)
{
    const json_t *row = hone_page_chosen(doc), *base = json_object_get(json_object_get(json_array_get(json_object_get(doc, "candidates"), 0), "eval"), "tasks");
    const json_t *ours = json_object_get(json_object_get(row, "eval"), "tasks"), *task;
    const char   *name;
    if (json_object_size(ours) == 0) return;
    hone_text_add(t, "<h2>Tasks</h2><div class=scroll><table><tr><th>task</th><th>items</th><th>baseline<small>%</small></th><th>");
    hone_page_text(t, hone_page_str(row, "quantization"));
    hone_text_add(t, "<small>%</small></th><th>change<small>points</small></th></tr>");
    json_object_foreach((json_t *)(uintptr_t)ours, name, task) {
        const json_t *b = json_object_get(base, name);
        double        x = hone_doc_number(task, "accuracy", NAN), y = hone_doc_number(b, "accuracy", NAN);
        hone_text_add(t, "<tr><td>");
        hone_page_text(t, name);
        hone_text_add(t, "</td><td>");
        hone_page_num(t, task, "n", "%.0f", 1);
        hone_text_add(t, "</td><td>");
        percent(t, b);
        hone_text_add(t, "</td><td>");
        percent(t, task);
        if (isnan(x) || isnan(y)) hone_text_add(t, "</td><td>&ndash;</td></tr>");
        else if (x == y) hone_text_add(t, "</td><td class=soft>0</td></tr>");
        else hone_text_addf(t, "</td><td>%+.1f</td></tr>", 100 * (x - y));
    }
    hone_text_add(t, "</table></div><p class=\"soft small\">Multiple choice by likelihood; brackets: 95 % interval of each on its own. The accuracy gate compares item by "
                     "item.</p>");
}

static void guidance(hone_text *t, const json_t *doc)
{
    size_t  i;
    json_t *g;
    hone_text_add(t, "<h2>Deployment guidance</h2><ul>");
    json_array_foreach(json_object_get(doc, "guidance"), i, g) {
        hone_text_add(t, "<li>");
        hone_page_text(t, json_string_value(g));
        hone_text_add(t, "</li>");
    }
    hone_text_add(t, "</ul><h2>Monitoring requirements</h2>");
    if (json_array_size(json_object_get(doc, "monitoring")) == 0) {
        hone_text_add(t, "<p>Nothing is deployed, so there is nothing to watch.</p>");
        return;
    }
    hone_text_add(t, "<div class=scroll><table><tr><th>metric</th><th>alert when</th><th class=left>from</th></tr>");
    json_array_foreach(json_object_get(doc, "monitoring"), i, g) {
        double v = hone_doc_number(g, "threshold", 0);
        char   b[32];
        hone_text_add(t, "<tr><td>");
        hone_page_text(t, hone_page_str(g, "metric"));
        hone_text_add(t, "</td><td>");
        hone_page_text(t, hone_page_str(g, "rule"));
        if (strcmp(hone_page_str(g, "unit"), "bytes") == 0) hone_text_addf(t, " %s", hone_text_bytes((uint64_t)v, b, sizeof b));
        else {
            hone_text_addf(t, " %.4g ", v);
            hone_page_text(t, hone_page_str(g, "unit"));
        }
        hone_text_add(t, "</td><td class=words>");
        hone_page_text(t, hone_page_str(g, "why"));
        hone_text_add(t, "</td></tr>");
    }
    hone_text_add(t, "</table></div>");
}

static void evidence(hone_text *t, const json_t *doc)
{
    const json_t *m = json_object_get(doc, "machine"), *set = json_object_get(doc, "settings"), *cpu = json_object_get(m, "cpu");
    const json_t *base = json_array_get(json_object_get(doc, "candidates"), 0), *bench = json_object_get(base, "bench");
    char          line[300];
    hone_text_add(t, "<h2>Evidence</h2><dl>");
    hone_page_pair(t, "command", hone_page_str(doc, "command"));
    (void)snprintf(line, sizeof line, "%s, %.0f cores, %.0f threads, %s", hone_page_str(cpu, "model"), hone_doc_number(cpu, "cores", 0),
                   hone_doc_number(cpu, "threads", 0), hone_page_str(cpu, "arch"));
    hone_page_pair(t, "measured on", line);
    (void)snprintf(line, sizeof line, "%s %s", hone_page_str(bench, "runtime"), hone_page_str(bench, "version"));
    hone_page_pair(t, "runtime", line);
    hone_page_pair(t, "memory", strcmp(hone_page_str(doc, "memory_basis"), "peak_rss") == 0 ? "peak resident memory of each process: not every runtime reports its buffers"
                                                                        : "weights, KV cache and compute buffers as the runtime reports them");
    (void)snprintf(line, sizeof line, "prompt %.0f tokens, %.0f generated, %.0f rounds after a warm-up, KV cache of %.0f tokens, seed %.0f",
                   hone_doc_number(set, "prompt", 0), hone_doc_number(set, "gen", 0), hone_doc_number(set, "repeat", 0), hone_doc_number(set, "context", 0),
                   hone_doc_number(set, "seed", 0));
    hone_page_pair(t, "speed protocol", line);
    hone_page_pair(t, "quality protocol", hone_page_str(json_object_get(base, "eval"), "protocol"));
    hone_page_pair(t, "source digest", hone_page_str(json_object_get(doc, "source"), "sha256"));
    if (hone_page_chosen(doc)) hone_page_pair(t, "artefact digest", hone_page_str(json_object_get(doc, "chosen"), "sha256"));
    hone_page_pair(t, "energy", hone_doc_number(bench, "energy_j_per_token", -1) > 0 ? "measured" : hone_page_str(json_object_get(json_object_get(bench, "states"), "energy_j_per_token"), "reason"));
    (void)snprintf(line, sizeof line, "hone %s; every record is a row of history.db beside this report", hone_page_str(doc, "hone"));
    hone_page_pair(t, "written by", line);
    hone_text_add(t, "</dl>");
}

hone_code hone_report_html(const json_t *doc, hone_text *out, hone_err *err)
{
    static const char *const needed[] = { "source", "candidates", "stages", "gates", "guidance", "monitoring", "settings" };
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++)
        if (!json_object_get(doc, needed[i])) return HONE_FAIL(err, HONE_EBUG, "", "the report document has no \"%s\"", needed[i]);
    hone_page_open(out, hone_page_str(json_object_get(doc, "source"), "name"), " - hone report");
    head(out, doc);
    hone_page_gates(out, json_object_get(doc, "gates"));
    hone_text_add(out, "<h2>The trade</h2><div class=two>");
    hone_chart_pareto(out, doc);
    hone_chart_quality(out, doc);
    hone_chart_scores(out, doc);
    hone_chart_threads(out, doc);
    hone_text_add(out, "</div><h2>Five stages</h2><ol class=small>");
    size_t  i;
    json_t *s;
    json_array_foreach(json_object_get(doc, "stages"), i, s) {
        hone_text_add(out, "<li><b>");
        hone_page_text(out, hone_page_str(s, "name"));
        hone_text_add(out, "</b>: ");
        hone_page_text(out, hone_page_str(s, "what"));
        hone_text_addf(out, " <span class=soft>(%.1f s)</span></li>", hone_doc_number(s, "seconds", 0));
    }
    hone_text_add(out, "</ol>");
    hone_chart_stages(out, doc);
    candidates(out, doc);
    tasks(out, doc);
    guidance(out, doc);
    evidence(out, doc);
    return hone_page_close(out, err);
}
