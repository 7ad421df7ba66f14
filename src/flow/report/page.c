/* page.c - what every page is made of: its frame, words from outside, figures with the reason where there is none, cards, gates, pairs. */
#include "flow/report/page.h"
#include "flow/optimize/state.h" /* hone_doc_number */
#include "flow/report/style.h"
#include <math.h>

/* ---- frame ---- */

void hone_page_open(hone_text *t, const char *title, const char *kind)
{
    hone_text_add(t, "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content=\"width=device-width,initial-scale=1\">"
                     "<meta name=color-scheme content=\"light dark\"><title>");
    hone_page_text(t, title);
    hone_text_addf(t, "%s</title><style>%s</style></head><body><main>", kind, REPORT_STYLE);
}

hone_code hone_page_close(hone_text *t, hone_err *err)
{
    hone_text_add(t, "</main></body></html>\n");
    return t->failed ? HONE_NOMEM(err, "the page") : HONE_OK;
}

/* ---- words and figures ---- */

void hone_page_text(hone_text *t, const char *s)
{
    for (const char *p = s ? s : ""; *p;) {
        size_t n = strcspn(p, "&<>\"'");
        hone_text_add_bytes(t, p, n);
        p += n;
        if (!*p) break;
        hone_text_add(t, *p == '&' ? "&amp;" : *p == '<' ? "&lt;" : *p == '>' ? "&gt;" : *p == '"' ? "&quot;" : "&#39;");
        p++;
    }
}

const char *hone_page_str(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

/* A dash that says why: "states": {path: {state, reason}} beside the figures. */
static void dash(hone_text *t, const json_t *obj, const char *path)
{
    const json_t *st = json_object_get(json_object_get(obj, "states"), path);
    const char   *state = json_string_value(json_object_get(st, "state")), *reason = json_string_value(json_object_get(st, "reason"));
    hone_text_add(t, "<span class=soft title=\"");
    hone_page_text(t, reason ? reason : "not measured");
    hone_text_addf(t, "\">%s</span>", state && strcmp(state, "unresolved") == 0 ? "unresolved" : "&ndash;");
}

void hone_page_bytes(hone_text *t, const json_t *obj, const char *path)
{
    char   b[32];
    double v = hone_doc_number(obj, path, NAN);
    if (isnan(v)) dash(t, obj, path);
    else hone_text_add(t, hone_text_bytes((uint64_t)v, b, sizeof b));
}

void hone_page_num(hone_text *t, const json_t *obj, const char *path, const char *fmt, double times)
{
    char   b[64];
    double v = hone_doc_number(obj, path, NAN);
    if (!fmt) {
        hone_page_bytes(t, obj, path);
        return;
    }
    if (isnan(v)) {
        dash(t, obj, path);
        return;
    }
    /* The formats are this file's own constants; the switch keeps them literal for the compiler's check. */
    if (strcmp(fmt, "%.0f") == 0) (void)snprintf(b, sizeof b, "%.0f", v * times);
    else if (strcmp(fmt, "%.1f") == 0) (void)snprintf(b, sizeof b, "%.1f", v * times);
    else if (strcmp(fmt, "%.2f") == 0) (void)snprintf(b, sizeof b, "%.2f", v * times);
    else if (strcmp(fmt, "%.3f") == 0) (void)snprintf(b, sizeof b, "%.3f", v * times);
    else (void)snprintf(b, sizeof b, "%.4f", v * times);
    hone_text_add(t, b);
}

/* ---- sections ---- */

void hone_page_card(hone_text *t, const char *label, const json_t *obj, const char *path, const char *fmt, double times, const char *unit)
{
    hone_text_add(t, "<div class=card><b>");
    hone_page_num(t, obj, path, fmt, times);
    hone_text_addf(t, "%s%s%s</b><span>%s</span></div>", unit[0] ? " <small>" : "", unit, unit[0] ? "</small>" : "", label);
}

const json_t *hone_page_chosen(const json_t *doc)
{
    size_t  i;
    json_t *c;
    json_array_foreach(json_object_get(doc, "candidates"), i, c)
        if (json_is_true(json_object_get(c, "chosen"))) return c;
    return NULL;
}

void hone_page_gates(hone_text *t, const json_t *gates)
{
    size_t  i;
    json_t *g;
    hone_text_add(t, "<h2>Gates</h2>");
    if (json_array_size(gates) == 0) {
        hone_text_add(t, "<p>No candidate met the constraints, so no gate was applied.</p>");
        return;
    }
    hone_text_add(t, "<div class=scroll><table><tr><th>gate</th><th>verdict</th><th>measured</th><th>needed</th><th class=left>on what</th></tr>");
    json_array_foreach(gates, i, g) {
        char        words[16];
        const char *verdict = hone_page_str(g, "verdict");
        (void)snprintf(words, sizeof words, "%s", strcmp(verdict, "not_measured") == 0 ? "not measured" : verdict);
        bool count = strcmp(hone_page_str(g, "unit"), "mismatches") == 0;
        hone_text_add(t, "<tr><td>");
        hone_page_text(t, hone_page_str(g, "name"));
        if (!json_is_true(json_object_get(g, "blocking"))) hone_text_add(t, " <small class=soft>(not blocking)</small>");
        hone_text_add(t, "</td><td><span class=\"badge ");
        hone_page_text(t, verdict);
        hone_text_add(t, "\">");
        hone_page_text(t, words);
        hone_text_add(t, "</span></td><td>");
        hone_page_num(t, g, "value", count ? "%.0f" : "%.3f", 1);
        const json_t *ci = json_object_get(g, "ci");
        if (json_array_size(ci) == 2)
            hone_text_addf(t, " <small class=soft>[%.3f, %.3f]</small>", json_number_value(json_array_get(ci, 0)), json_number_value(json_array_get(ci, 1)));
        hone_text_addf(t, "</td><td>%s ", json_is_true(json_object_get(g, "at_most")) ? "&le;" : "&ge;");
        hone_page_num(t, g, "threshold", count ? "%.0f" : "%.2f", 1);
        hone_text_add(t, " <small class=soft>");
        hone_page_text(t, hone_page_str(g, "unit"));
        hone_text_add(t, "</small></td><td class=words>");
        hone_page_text(t, hone_page_str(g, "why"));
        hone_text_add(t, "</td></tr>");
    }
    hone_text_add(t, "</table></div><p class=\"soft small\">Brackets: 95 % interval. A gate whose interval holds the threshold is unresolved, not passed.</p>");
}

void hone_page_pair(hone_text *t, const char *name, const char *value)
{
    hone_text_addf(t, "<dt>%s</dt><dd>", name);
    hone_page_text(t, value[0] ? value : "not known");
    hone_text_add(t, "</dd>");
}

