/* scorecard.c - the page of hone check, eval and bench: artefacts of all formats side by side, and where they part from their source. */
#include "flow/scorecard.h"
#include "flow/optimize/state.h" /* hone_doc_number */
#include "flow/report/page.h"
#include <math.h>

static bool has_part(const hone_scorecard *s, const char *part)
{
    size_t  i;
    json_t *row;
    json_array_foreach(s->rows, i, row)
        if (json_is_object(json_object_get(row, part))) return true;
    return false;
}

static bool by_peak(const hone_scorecard *s)
{
    size_t  i;
    json_t *row;
    json_array_foreach(s->rows, i, row)
        if (strcmp(hone_page_str(row, "memory_basis"), "peak_rss") == 0) return true;
    return false;
}

static const char *runtime_of(const json_t *row, const char *key)
{
    static const char *const parts[] = { "bench", "eval", "check", "layers" };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        const char *v = hone_page_str(json_object_get(row, parts[i]), key);
        if (v[0]) return v;
    }
    return "";
}

/* ---- head ---- */

static void card(hone_text *t, const char *what, const json_t *w)
{
    char        b[48];
    const char *unit = hone_page_str(w, "unit"), *label = hone_page_str(w, "label");
    double      v = hone_doc_number(w, "value", 0);
    if (!label[0]) {
        hone_text_addf(t, "<div class=card><span>%s</span><b>&ndash;</b><span>", what);
        hone_page_text(t, hone_page_str(w, "reason"));
        hone_text_add(t, "</span></div>");
        return;
    }
    if (strcmp(unit, "bytes") == 0) (void)hone_text_bytes((uint64_t)v, b, sizeof b);
    else if (strcmp(unit, "share of tasks") == 0) (void)snprintf(b, sizeof b, "%.1f %% of tasks", 100 * v);
    else if (strcmp(unit, "tokens/s") == 0) (void)snprintf(b, sizeof b, "%.0f tokens/s", v);
    else if (strcmp(unit, "nat per token") == 0) (void)snprintf(b, sizeof b, "KLD %.2g nat", v);
    else (void)snprintf(b, sizeof b, "%s %.3f", unit, v);
    hone_text_addf(t, "<div class=card><span>%s%s</span><b>", what, json_is_true(json_object_get(w, "clear")) ? "" : " (not clear)");
    hone_page_text(t, label);
    hone_text_add(t, "</b><span>");
    hone_page_text(t, b);
    hone_text_add(t, ": ");
    hone_page_text(t, hone_page_str(w, "why"));
    hone_text_add(t, "</span></div>");
}

static void head(hone_text *t, const hone_scorecard *s, const json_t *about)
{
    const json_t *cpu = json_object_get(json_object_get(about, "machine"), "cpu"), *w = s->winners, *weights = json_object_get(w, "weights");
    size_t        n = json_array_size(s->rows), bad = 0, i;
    json_t       *row;
    json_array_foreach(s->rows, i, row) bad += json_object_get(row, "failure") != NULL;
    hone_text_add(t, "<p class=eyebrow>hone scorecard</p><h1>");
    if (n == 1) hone_page_text(t, hone_page_str(json_array_get(s->rows, 0), "name"));
    else hone_text_addf(t, "%zu artefacts side by side", n);
    if (bad) hone_text_addf(t, " <span class=\"badge fail\">%zu without a result</span>", bad);
    hone_text_add(t, "</h1><p class=soft>measured on ");
    hone_page_text(t, hone_page_str(cpu, "model")[0] ? hone_page_str(cpu, "model") : "this machine");
    hone_text_addf(t, ", %.0f cores; every artefact in its real runtime, in a process of its own</p>", hone_doc_number(cpu, "cores", 0));
    if (!w || (!has_part(s, "bench") && !has_part(s, "eval"))) return;
    hone_text_add(t, "<h2>Winners on this machine</h2><div class=cards>");
    card(t, "fastest", json_object_get(w, "speed"));
    card(t, "most accurate", json_object_get(w, "accuracy"));
    card(t, "leanest", json_object_get(w, "memory"));
    card(t, "best balance", json_object_get(w, "balanced"));
    hone_text_addf(t, "</div><p class=\"soft small\">Balance weighs what each keeps of the best: speed %.2f, accuracy %.2f, memory %.2f. \"Not clear\" says that the lead is within "
                      "the uncertainty.</p>", hone_doc_number(weights, "speed", 0), hone_doc_number(weights, "accuracy", 0), hone_doc_number(weights, "memory", 0));
}

/* ---- the table ---- */

static void verdict(hone_text *t, const json_t *check)
{
    const char *v = hone_page_str(check, "verdict");
    if (!v[0]) {
        hone_text_add(t, "<span class=soft title=\"not checked\">&ndash;</span>");
        return;
    }
    hone_text_addf(t, "<span class=\"badge %s\" title=\"", strcmp(v, "pass") == 0 ? "pass" : strcmp(v, "fail") == 0 ? "fail" : "not_measured");
    hone_page_text(t, strcmp(v, "pass") == 0 ? "token ids, chat template and logits agree" : hone_page_str(check, "why"));
    hone_text_addf(t, "\">%s</span>", strcmp(v, "pass") == 0 ? "same" : strcmp(v, "fail") == 0 ? "differs" : "unproven");
}

typedef struct column { const char *part, *path, *title, *unit, *fmt; double times; bool interval; } column; /* fmt NULL: bytes */

static const column columns[] = {
    { NULL, "bytes", "size", "", NULL, 1, false },
    { "bench", "load_ms", "load", "ms", "%.0f", 1, false },
    { NULL, "memory_bytes", "memory", "", NULL, 1, false },
    { "bench", "peak_rss_bytes", "peak RSS", "", NULL, 1, false },
    { "bench", "ttft_ms.p50", "first token", "p50 ms", "%.1f", 1, false },
    { "bench", "prefill_tok_s", "prefill", "tok/s", "%.0f", 1, false },
    { "bench", "decode_tok_s", "decode", "tok/s", "%.0f", 1, true },
    { "bench", "latency_ms.p95", "p95", "ms/token", "%.2f", 1, false },
    { "eval", "perplexity", "perplexity", "", "%.3f", 1, true },
    { "eval", "kld_mean", "KLD", "nat/1000", "%.2f", 1000, true },
    { "eval", "top1", "top-1", "%", "%.1f", 100, false },
    { "eval", "accuracy", "tasks", "%", "%.1f", 100, true },
};

static bool wins(const hone_scorecard *s, const json_t *row, const char *what)
{
    return strcmp(hone_page_str(json_object_get(s->winners, what), "path"), hone_page_str(row, "path")) == 0;
}

static void cell(hone_text *t, const hone_scorecard *s, const json_t *row, const column *c)
{
    const json_t *from = c->part ? json_object_get(row, c->part) : row;
    double        lo, hi;
    const char   *best = strcmp(c->path, "decode_tok_s") == 0 ? "speed" : strcmp(c->path, "memory_bytes") == 0 ? "memory" : NULL;
    if (strcmp(c->path, "accuracy") == 0 || (strcmp(c->path, "kld_mean") == 0 && strcmp(hone_page_str(json_object_get(s->winners, "accuracy"), "unit"), "share of tasks") != 0)) best = "accuracy";
    bool win = best && wins(s, row, best);
    hone_text_addf(t, "<td%s>", win ? " class=best" : "");
    hone_page_num(t, from, c->path, c->fmt, c->times);
    if (c->interval && hone_doc_interval(from, c->path, &lo, &hi)) {
        double half = fmax(hone_doc_number(from, c->path, 0) - lo, hi - hone_doc_number(from, c->path, 0)) * c->times;
        hone_text_addf(t, half >= 10 ? " <small class=soft>&plusmn;%.0f</small>" : half >= 0.1 ? " <small class=soft>&plusmn;%.1f</small>" : " <small class=soft>&plusmn;%.2g</small>", half);
    }
    hone_text_add(t, "</td>");
}

static void table(hone_text *t, const hone_scorecard *s)
{
    size_t  i;
    json_t *row;
    bool    check = has_part(s, "check"), bench = has_part(s, "bench"), eval = has_part(s, "eval"), score = false;
    json_array_foreach(s->rows, i, row) score = score || json_object_get(row, "score");
    hone_text_add(t, "<h2>Scorecard</h2><div class=scroll><table><tr><th>artefact</th><th class=left>runtime</th>");
    if (check) hone_text_add(t, "<th class=mid>proof</th>");
    for (size_t k = 0; k < sizeof columns / sizeof columns[0]; k++) {
        const column *c = &columns[k];
        if (c->part ? !has_part(s, c->part) : !bench && strcmp(c->path, "bytes") != 0) continue;
        hone_text_addf(t, "<th>%s%s%s%s</th>", c->title, c->unit[0] ? "<small>" : "", c->unit, c->unit[0] ? "</small>" : "");
    }
    if (score) hone_text_add(t, "<th>score</th>");
    hone_text_add(t, "</tr>");
    json_array_foreach(s->rows, i, row) {
        const json_t *f = json_object_get(row, "failure");
        hone_text_addf(t, "<tr class=\"%s\"><td><b title=\"", f ? "out" : wins(s, row, "balanced") && score ? "chosen" : "");
        hone_page_text(t, hone_page_str(row, "path"));
        hone_text_add(t, "\">");
        hone_page_text(t, hone_page_str(row, "label"));
        hone_text_add(t, "</b> <small class=soft>");
        hone_page_text(t, hone_page_str(row, "format"));
        hone_text_add(t, " ");
        hone_page_text(t, hone_page_str(row, "precision"));
        hone_text_add(t, "</small></td><td class=left>");
        hone_page_text(t, runtime_of(row, "runtime")[0] ? runtime_of(row, "runtime") : hone_page_str(row, "backend"));
        hone_text_add(t, " <small class=soft>");
        hone_page_text(t, runtime_of(row, "device"));
        hone_text_add(t, "</small></td>");
        if (f) {
            hone_text_add(t, "<td class=words colspan=16>");
            hone_page_text(t, hone_page_str(f, "cause"));
            if (hone_page_str(f, "remedy")[0]) {
                hone_text_add(t, " <small>(");
                hone_page_text(t, hone_page_str(f, "remedy"));
                hone_text_add(t, ")</small>");
            }
            hone_text_add(t, "</td></tr>");
            continue;
        }
        if (check) {
            hone_text_add(t, "<td class=mid>");
            verdict(t, json_object_get(row, "check"));
            hone_text_add(t, "</td>");
        }
        for (size_t k = 0; k < sizeof columns / sizeof columns[0]; k++)
            if (columns[k].part ? has_part(s, columns[k].part) : bench || strcmp(columns[k].path, "bytes") == 0) cell(t, s, row, &columns[k]);
        if (score) {
            hone_text_add(t, "<td>");
            hone_page_num(t, row, "score", "%.3f", 1);
            hone_text_add(t, "</td>");
        }
        hone_text_add(t, "</tr>");
    }
    hone_text_add(t, "</table></div><p class=\"soft small\">");
    if (bench) hone_text_add(t, "The same token ids for all, rounds interleaved. ");
    if (eval || bench) hone_text_add(t, "&plusmn;: half of the 95 % interval. ");
    if (bench) hone_text_addf(t, "Memory: %s. ", by_peak(s) ? "peak resident memory of the process, because not every runtime reports its buffers" : "weights, KV cache and compute buffers as the runtimes report them");
    hone_text_add(t, "A dash holds its reason as a tooltip.</p>");
    bool first = true;
    json_array_foreach(s->rows, i, row) {
        const char *why = runtime_of(row, "fallback");
        if (!why[0]) continue;
        hone_text_add(t, first ? "<ul class=small>" : "");
        first = false;
        hone_text_add(t, "<li>");
        hone_page_text(t, hone_page_str(row, "label"));
        hone_text_add(t, " ran on another device than asked for: ");
        hone_page_text(t, why);
        hone_text_add(t, "</li>");
    }
    if (!first) hone_text_add(t, "</ul>");
}

/* ---- pictures of the trade: the report's own, fed with rows ---- */

static json_t *as_candidates(const hone_scorecard *s)
{
    json_t *list = json_array(), *doc = json_object(), *row;
    size_t  i;
    bool    good = list && doc;
    json_array_foreach(s->rows, i, row) {
        if (json_object_get(row, "failure")) continue;
        json_t *c = json_pack("{s:s,s:s,s:b}", "quantization", hone_page_str(row, "label"), "role", "candidate", "chosen", wins(s, row, "balanced"));
        if (json_is_true(json_object_get(row, "pareto")) && good && c) good = json_object_set_new(c, "pareto", json_true()) == 0;
        static const struct { const char *from, *to; } same[] = { { "bytes", "bytes" }, { "memory_bytes", "ram_bytes" }, { "bench", "bench" }, { "eval", "eval" } };
        for (size_t k = 0; good && c && k < 4; k++)
            if (json_object_get(row, same[k].from)) good = json_object_set(c, same[k].to, json_object_get(row, same[k].from)) == 0;
        if (json_array_append_new(list, c) != 0) good = false;
    }
    good = good && json_object_set(doc, "candidates", list) == 0 && hone_json_put(doc, "memory_basis", json_string(by_peak(s) ? "peak_rss" : "reported"));
    json_decref(list);
    if (good) return doc;
    json_decref(doc);
    return NULL;
}

/* ---- proof ---- */

static void agree(hone_text *t, const json_t *o)
{
    double n = hone_doc_number(o, "cases", 0), wrong = hone_doc_number(o, "mismatches", 0), excused = hone_doc_number(o, "excused", 0);
    if (n <= 0) hone_text_add(t, "<span class=soft>no cases</span>");
    else if (wrong > 0) {
        hone_text_add(t, "<span class=\"badge fail\" title=\"");
        hone_page_text(t, hone_page_str(o, "first"));
        hone_text_addf(t, "\">%.0f of %.0f differ</span>", wrong, n);
    } else if (excused > 0) hone_text_addf(t, "%.0f of %.0f <small class=soft title=\"a known limit explains the others\">+%.0f explained</small>", n - excused, n, excused);
    else hone_text_addf(t, "%.0f of %.0f", n, n);
}

static void proof(hone_text *t, const hone_scorecard *s)
{
    size_t  i;
    json_t *row;
    if (!has_part(s, "check")) return;
    hone_text_add(t, "<h2>Proof against the source</h2><div class=scroll><table><tr><th>artefact</th><th class=mid>verdict</th><th>token ids</th><th class=left>judged tokenizer</th>"
                     "<th>chats</th><th>mean KLD<small>bound</small></th><th>largest error</th><th>best token<small>wrong/decided</small></th><th>greedy<small>wrong/decided</small>"
                     "</th><th>behind limits<small>mean KLD</small></th></tr>");
    json_array_foreach(s->rows, i, row) {
        const json_t *c = json_object_get(row, "check"), *lg = json_object_get(c, "logits"), *tok = json_object_get(c, "tokenizer"), *be = json_object_get(c, "beyond");
        if (!c) continue;
        bool encoder = hone_doc_number(lg, "cosine", -2) > -2;
        hone_text_add(t, "<tr><td><b>");
        hone_page_text(t, hone_page_str(row, "label"));
        hone_text_add(t, "</b></td><td class=mid>");
        verdict(t, c);
        hone_text_add(t, "</td><td>");
        agree(t, tok);
        hone_text_add(t, "</td><td class=left>");
        hone_page_text(t, hone_page_str(tok, "by")[0] ? hone_page_str(tok, "by") : "none");
        hone_text_add(t, " <small class=soft>");
        hone_page_text(t, hone_page_str(tok, "from"));
        hone_text_add(t, "</small></td><td>");
        agree(t, json_object_get(c, "template"));
        hone_text_add(t, "</td><td>");
        if (encoder) hone_text_addf(t, "%.2g <small class=soft>1 - cosine</small>", 1 - hone_doc_number(lg, "cosine", 0));
        else if (hone_doc_number(lg, "kld_mean", -1) >= 0) hone_text_addf(t, "%.2g", hone_doc_number(lg, "kld_mean", 0));
        else hone_page_num(t, lg, "kld_mean", "%.4f", 1);
        if (hone_doc_number(lg, "max_kld", 0) > 0) hone_text_addf(t, " <small class=soft>&le; %.0e</small>", hone_doc_number(lg, "max_kld", 0));
        hone_text_add(t, "</td><td>");
        if (hone_doc_number(lg, "max_abs", -1) >= 0) hone_text_addf(t, "%.2g", hone_doc_number(lg, "max_abs", 0));
        else hone_page_num(t, lg, "max_abs", "%.4f", 1);
        hone_text_addf(t, "</td><td>%.0f / %.0f</td><td>%.0f / %.0f</td><td>", hone_doc_number(lg, "top1_wrong", 0), hone_doc_number(lg, "top1_decided", 0),
                       hone_doc_number(lg, "greedy_wrong", 0), hone_doc_number(lg, "greedy_decided", 0));
        if (hone_doc_number(be, "kld_mean", -1) >= 0)
            hone_text_addf(t, "<span class=\"badge %s\">%.2g</span>", json_is_true(json_object_get(be, "differs")) ? "fail" : "pass", hone_doc_number(be, "kld_mean", 0));
        else hone_page_num(t, be, "kld_mean", "%.4f", 1);
        hone_text_add(t, "</td></tr>");
    }
    hone_text_add(t, "</table></div><ul class=small>");
    json_array_foreach(s->rows, i, row) {
        const char *why = hone_page_str(json_object_get(row, "check"), "why");
        if (!why[0]) continue;
        hone_text_add(t, "<li><b>");
        hone_page_text(t, hone_page_str(row, "label"));
        hone_text_add(t, "</b>: ");
        hone_page_text(t, why);
        hone_text_add(t, "</li>");
    }
    hone_text_add(t, "</ul>");
}

/* Who of the rows has the same limit; the first of them says it for all. */
static bool share_limit(hone_text *t, const hone_scorecard *s, size_t first, const json_t *limit)
{
    size_t        i, k;
    json_t       *row, *l;
    bool          said = false;
    json_array_foreach(s->rows, i, row) json_array_foreach(json_object_get(json_object_get(row, "check"), "limits"), k, l) {
        if (strcmp(hone_page_str(l, "consumer"), hone_page_str(limit, "consumer")) != 0 || strcmp(hone_page_str(l, "consequence"), hone_page_str(limit, "consequence")) != 0) continue;
        if (i < first) return false;
        hone_text_add(t, said ? ", " : "<li><b>");
        hone_page_text(t, hone_page_str(row, "label"));
        said = true;
    }
    return said;
}

static void limits(hone_text *t, const hone_scorecard *s)
{
    size_t  i, k;
    json_t *row, *l;
    bool    any = false;
    json_array_foreach(s->rows, i, row) json_array_foreach(json_object_get(json_object_get(row, "check"), "limits"), k, l) {
        if (!any) hone_text_add(t, "<h2>Known limits of the runtimes for this model</h2><ul class=small>");
        any = true;
        if (!share_limit(t, s, i, l)) continue;
        hone_text_add(t, "</b> in ");
        hone_page_text(t, hone_page_str(l, "consumer"));
        hone_text_add(t, ": ");
        hone_page_text(t, hone_page_str(l, "consequence"));
        hone_text_add(t, " <small class=soft>(");
        hone_page_text(t, hone_page_str(l, "cause"));
        hone_text_add(t, ")</small></li>");
    }
    if (any) hone_text_add(t, "</ul>");
}

static void tasks(hone_text *t, const hone_scorecard *s)
{
    const json_t *first = NULL, *task;
    const char   *name;
    size_t        i;
    json_t       *row;
    json_array_foreach(s->rows, i, row)
        if (!first && json_object_size(json_object_get(json_object_get(row, "eval"), "tasks"))) first = json_object_get(json_object_get(row, "eval"), "tasks");
    if (!first) return;
    hone_text_add(t, "<h2>Tasks</h2><div class=scroll><table><tr><th>task</th><th>items</th>");
    json_array_foreach(s->rows, i, row) {
        if (!json_object_get(row, "eval")) continue;
        hone_text_add(t, "<th>");
        hone_page_text(t, hone_page_str(row, "label"));
        hone_text_add(t, "<small>%</small></th>");
    }
    hone_text_add(t, "</tr>");
    json_object_foreach((json_t *)(uintptr_t)first, name, task) {
        hone_text_add(t, "<tr><td>");
        hone_page_text(t, name);
        hone_text_addf(t, "</td><td>%.0f</td>", hone_doc_number(task, "n", 0));
        json_array_foreach(s->rows, i, row) {
            const json_t *e = json_object_get(row, "eval");
            if (!e) continue;
            hone_text_add(t, "<td>");
            hone_page_num(t, json_object_get(json_object_get(e, "tasks"), name), "accuracy", "%.1f", 100);
            hone_text_add(t, "</td>");
        }
        hone_text_add(t, "</tr>");
    }
    hone_text_add(t, "</table></div>");
}

static void evidence(hone_text *t, const hone_scorecard *s, const json_t *about)
{
    const json_t *any = NULL, *e = NULL;
    size_t        i;
    json_t       *row;
    json_array_foreach(s->rows, i, row) {
        if (!any) any = json_object_get(row, "bench");
        if (!e) e = json_object_get(row, "eval");
    }
    const json_t *run = json_object_get(any, "run");
    hone_text_add(t, "<h2>Evidence</h2><dl><dt>command</dt><dd><code>");
    hone_page_text(t, hone_page_str(about, "command"));
    hone_text_add(t, "</code></dd><dt>runtimes</dt><dd>");
    json_array_foreach(s->rows, i, row) {
        hone_text_add(t, i ? "; " : "");
        hone_page_text(t, hone_page_str(row, "label"));
        hone_text_add(t, ": ");
        hone_page_text(t, runtime_of(row, "runtime")[0] ? runtime_of(row, "runtime") : "did not run");
        hone_text_add(t, " ");
        hone_page_text(t, runtime_of(row, "version"));
    }
    hone_text_add(t, "</dd>");
    if (run)
        hone_text_addf(t, "<dt>speed protocol</dt><dd>prompt %.0f tokens, %.0f generated, %.0f rounds after a warm-up, interleaved, %.0f thread(s), context %.0f%s</dd>",
                       hone_doc_number(run, "prompt", 0), hone_doc_number(run, "gen", 0), hone_doc_number(run, "rounds", 0), hone_doc_number(run, "threads", 0),
                       hone_doc_number(run, "context", 0), json_is_true(json_object_get(run, "reopened")) ? ", each opened anew in each round" : "");
    if (e) {
        hone_text_add(t, "<dt>quality protocol</dt><dd>");
        hone_page_text(t, hone_page_str(e, "protocol"));
        if (hone_page_str(e, "reference_path")[0]) {
            hone_text_add(t, "; distance from ");
            hone_page_text(t, hone_page_str(e, "reference_path"));
        }
        hone_text_add(t, "</dd>");
    }
    hone_text_add(t, "<dt>written by</dt><dd>hone ");
    hone_page_text(t, hone_page_str(about, "hone"));
    hone_text_add(t, "</dd></dl>");
}

hone_code hone_scorecard_html(const hone_scorecard *s, const json_t *about, hone_text *out, hone_err *err)
{
    json_t *doc = as_candidates(s);
    if (!doc) return HONE_NOMEM(err, "the page");
    hone_page_open(out, "hone scorecard", "");
    head(out, s, about);
    table(out, s);
    if (has_part(s, "bench") && json_array_size(s->rows) > 1) {
        hone_text_add(out, "<h2>The trade</h2><div class=two>");
        hone_chart_pareto(out, doc);
        if (has_part(s, "eval")) hone_chart_quality(out, doc);
        hone_text_add(out, "</div>");
    }
    proof(out, s);
    limits(out, s);
    hone_chart_layers(out, s->rows);
    tasks(out, s);
    evidence(out, s, about);
    json_decref(doc);
    return hone_page_close(out, err);
}
