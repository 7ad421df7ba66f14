#include "cli/measured.h"
#include "base/text.h"
#include "measure/artefact.h"
#include <math.h>
#include <string.h>

bool hone_measured(const json_t *result, const char *path, double *value)
{
    const char   *dot = strchr(path, '.');
    const json_t *home = result;
    if (dot) {
        char first[64];
        (void)snprintf(first, sizeof first, "%.*s", (int)(dot - path), path);
        home = json_object_get(result, first);
        path = dot + 1;
    }
    const json_t *v = json_object_get(home, path);
    if (!json_is_number(v)) return false;
    *value = json_number_value(v);
    return true;
}

void hone_measured_cell(hone_table *t, size_t row, size_t col, const json_t *result, const char *path, double scale, int digits, bool with_ci)
{
    double v;
    if (!hone_measured(result, path, &v)) {
        const char *state = hone_doc_str(json_object_get(json_object_get(result, "states"), path), "state", "");
        hone_table_cell(t, row, col, HONE_DIM, "%s", strcmp(state, "unresolved") == 0 ? "few" : "-");
        return;
    }
    const json_t *ci = json_object_get(json_object_get(result, "ci"), path);
    if (!with_ci || json_array_size(ci) != 2) {
        hone_table_cell(t, row, col, HONE_PLAIN, "%.*f", digits, v * scale);
        return;
    }
    /* An interval need not be symmetric: the wider half is shown. */
    double half = fmax(v - json_number_value(json_array_get(ci, 0)), json_number_value(json_array_get(ci, 1)) - v);
    hone_table_cell(t, row, col, HONE_PLAIN, "%.*f ±%.*f", digits, v * scale, digits, half * fabs(scale));
}

static bool listed(const char *words, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = words; (p = strstr(p, word)) != NULL; p += n)
        if ((p == words || p[-1] == ' ') && (p[n] == ' ' || p[n] == '\0')) return true;
    return false;
}

void hone_measured_reasons(hone_cli *c, const json_t *results, const char *skip)
{
    size_t      i;
    json_t     *r, *v;
    const char *path;
    json_t     *told = json_object(); /* reason -> the fields it holds for, in order of appearance */
    if (!told) return;
    json_array_foreach(results, i, r) {
        if (json_is_true(json_object_get(r, "failed"))) continue; /* nothing of it was measured: that is said once */
        json_object_foreach(json_object_get(r, "states"), path, v) {
            const char *why = hone_doc_str(v, "reason", "");
            if (listed(skip, path)) continue;
            const char *before = json_string_value(json_object_get(told, why));
            if (before && listed(before, path)) continue;
            char *fields = hone_arena_printf(&c->arena, "%s%s%s", before ? before : "", before ? " " : "", path);
            if (fields) (void)json_object_set_new(told, why, json_string(fields));
        }
    }
    json_object_foreach(told, path, v) {
        char line[600], why[300];
        (void)snprintf(line, sizeof line, "%s: %s", json_string_value(v), hone_text_show(path, strlen(path), why, sizeof why));
        hone_say_wrapped(c, 2, line);
    }
    json_decref(told);
}

const char *hone_measured_name(const json_t *result, char *out, size_t cap) { return hone_artefact_name(hone_doc_str(result, "path", "?"), out, cap); }
