#include "cli/scored.h"
#include "base/text.h"
#include "cli/measured.h"
#include <string.h>

hone_code hone_scored_finish(hone_cli *c, hone_scorecard *s, const char *part, json_t *doc, hone_code code, hone_err *err)
{
    const char *html = hone_cli_text(c, "html", NULL);
    hone_text   command = { 0 };
    hone_code   done = code == HONE_OK || code == HONE_ENO ? HONE_OK : code;
    if (done == HONE_OK && !hone_json_put(doc, "results", hone_scorecard_results(s, part))) done = HONE_NOMEM(err, "the result");
    if (done == HONE_OK && s->winners && json_object_set(doc, "winners", s->winners) != 0) done = HONE_NOMEM(err, "the result");
    if (done == HONE_OK && html) {
        hone_err why = { 0 }; /* err keeps the answer "no" */
        done = hone_cli_command(c, &command, &why);
        if (done == HONE_OK) done = hone_scorecard_write(&c->ctx, s, c->cmd->name, command.ptr, html, &why);
        if (done == HONE_OK && !hone_json_put(doc, "html", json_string(html))) done = HONE_NOMEM(&why, "the result");
        if (done != HONE_OK && err) *err = why;
    }
    hone_text_release(&command);
    hone_scorecard_release(s);
    return done == HONE_OK ? code : done;
}

void hone_scored_failures(hone_cli *c, const json_t *results)
{
    size_t        i;
    const json_t *r;
    bool          first = true;
    json_array_foreach(results, i, r) {
        char line[900], cause[600];
        if (!json_is_true(json_object_get(r, "failed"))) continue;
        if (first) hone_say(c, HONE_PLAIN, "\n");
        first = false;
        const char *why = hone_doc_str(r, "failure", ""), *remedy = hone_doc_str(r, "remedy", "");
        (void)snprintf(line, sizeof line, "%s: no result: %s%s%s", hone_doc_str(r, "label", hone_doc_str(r, "path", "?")), hone_text_show(why, strlen(why), cause, sizeof cause),
                       remedy[0] ? "; " : "", remedy);
        hone_say_wrapped(c, 2, line);
    }
}

void hone_scored_devices(hone_cli *c, const json_t *results)
{
    size_t        i;
    const json_t *r;
    json_array_foreach(results, i, r) {
        char        line[400];
        const char *why = hone_doc_str(r, "fallback", "");
        if (!why[0]) continue;
        (void)snprintf(line, sizeof line, "%s ran on %s: %s", hone_doc_str(r, "label", "?"), hone_doc_str(r, "device", "another device"), why);
        hone_say_wrapped(c, 2, line);
    }
}

static void one_winner(hone_cli *c, const char *what, const json_t *w)
{
    char        b[48], line[600];
    const char *unit = hone_doc_str(w, "unit", ""), *label = hone_doc_str(w, "label", "");
    double      v = hone_doc_num(w, "value", 0);
    if (!label[0]) {
        hone_say_field(c, what, "- (%s)", hone_doc_str(w, "reason", "not measured"));
        return;
    }
    if (strcmp(unit, "bytes") == 0) (void)hone_text_bytes((uint64_t)v, b, sizeof b);
    else if (strcmp(unit, "share of tasks") == 0) (void)snprintf(b, sizeof b, "%.1f %% of tasks", 100 * v);
    else if (strcmp(unit, "score") == 0) (void)snprintf(b, sizeof b, "score %.3f", v);
    else (void)snprintf(b, sizeof b, "%.4g %s", v, unit);
    (void)snprintf(line, sizeof line, "%s  (%s; %s)", label, b, hone_doc_str(w, "why", ""));
    hone_say_field(c, what, "%s", line);
}

void hone_scored_winners(hone_cli *c, const json_t *winners)
{
    if (!winners) return;
    hone_say_head(c, "Winners on this machine");
    one_winner(c, "fastest", json_object_get(winners, "speed"));
    one_winner(c, "most accurate", json_object_get(winners, "accuracy"));
    one_winner(c, "leanest", json_object_get(winners, "memory"));
    one_winner(c, "best balance", json_object_get(winners, "balanced"));
}

static void layer_table(hone_cli *c, const json_t *x)
{
    const json_t *list = json_object_get(x, "layers"), *l;
    size_t        n = json_array_size(list), step = n > 16 ? (n + 15) / 16 : 1, i, row = 0;
    hone_table   *t = hone_table_new(c, 5);
    static const char *const titles[] = { "layer", "relative error", "largest", "cosine", "worst at" };
    for (size_t k = 0; k < 5; k++) hone_table_col(t, k, titles[k], "", true);
    json_array_foreach(list, i, l) {
        bool here = json_is_integer(json_object_get(x, "parts_at")) && (size_t)json_integer_value(json_object_get(x, "parts_at")) == i;
        if (i % step != 0 && i + 1 != n && !here) continue;
        hone_style s = here ? HONE_YELLOW : HONE_PLAIN;
        hone_table_cell(t, row, 0, s, "%zu", i);
        hone_table_cell(t, row, 1, s, "%.2e", hone_doc_num(l, "relative", 0));
        hone_table_cell(t, row, 2, s, "%.2e", hone_doc_num(l, "max_abs", 0));
        hone_table_cell(t, row, 3, s, "%.8f", hone_doc_num(l, "cosine", 0));
        hone_table_cell(t, row++, 4, s, "%.0f", hone_doc_num(l, "worst_position", 0));
    }
    hone_table_print(c, t);
}

void hone_scored_layers(hone_cli *c, const json_t *results)
{
    size_t        i;
    const json_t *r;
    json_array_foreach(results, i, r) {
        const json_t *x = json_object_get(r, "layers"), *at = json_object_get(x, "parts_at"), *pos = json_object_get(x, "parts_at_position");
        const char   *missing = hone_doc_str(r, "layers_missing", "");
        if (missing[0]) {
            hone_say_head(c, "%s: layers not measured: %s", hone_doc_str(r, "label", "?"), missing);
            continue;
        }
        if (!x) continue;
        hone_say_head(c, "%s in %s, layer by layer against %s in %s", hone_doc_str(r, "label", "?"), hone_doc_str(x, "runtime", ""), hone_doc_str(x, "reference", ""),
                      hone_doc_str(x, "reference_runtime", ""));
        layer_table(c, x);
        if (!hone_doc_has_num(x, "bound")) hone_say(c, HONE_PLAIN, "  quantised: layer %.0f adds most\n", hone_doc_num(x, "parts_at", 0));
        else if (json_is_integer(at)) {
            hone_say(c, HONE_YELLOW, "  they part at layer %.0f", json_number_value(at));
            if (json_is_integer(pos)) hone_say(c, HONE_YELLOW, ", position %.0f", json_number_value(pos));
            hone_say(c, HONE_PLAIN, " (rounding explains up to %.0e)\n", hone_doc_num(x, "bound", 0));
        } else hone_say(c, HONE_GREEN, "  they part nowhere: rounding explains every difference (up to %.0e)\n", hone_doc_num(x, "bound", 0));
    }
}
