#include "measure/eval/tasks.h"
#include "base/text.h"
#include <stdio.h>
#include <string.h>

static const char REMEDY[] = "each line must be {\"id\": ..., \"task\": ..., \"context\": ..., \"choices\": [...], \"answer\": N}";

typedef struct reader {
    const char     *what;
    size_t          line, max_names;
    hone_arena     *a;
    hone_task_item *items; size_t n_items;
    const char    **names; size_t n_names;
} reader;

static hone_code copy(const reader *r, const json_t *v, hone_task_text *out, hone_err *err)
{
    char *s = hone_arena_strndup(r->a, json_string_value(v), json_string_length(v));
    if (!s) return HONE_NOMEM(err, "the tasks");
    *out = (hone_task_text){ s, json_string_length(v) };
    return HONE_OK;
}

static hone_code need_text(const reader *r, const json_t *o, const char *key, const json_t **out, hone_err *err)
{
    *out = json_object_get(o, key);
    if (json_is_string(*out)) return HONE_OK;
    return HONE_FAIL(err, HONE_EINPUT, REMEDY, "%s: line %zu: \"%s\" %s", r->what, r->line, key, *out ? "is no string" : "is missing");
}

static hone_code task_index(reader *r, const json_t *v, size_t *out, hone_err *err)
{
    const char *s = json_string_value(v);
    size_t      n = json_string_length(v);
    char        shown[80];
    if (n == 0 || n >= HONE_TASK_NAME || memchr(s, 0, n))
        return HONE_FAIL(err, HONE_EINPUT, REMEDY, "%s: line %zu: \"task\" has %zu bytes, needs 1..%d", r->what, r->line, n, HONE_TASK_NAME - 1);
    for (size_t i = 0; i < r->n_names; i++)
        if (strcmp(r->names[i], s) == 0) {
            *out = i;
            return HONE_OK;
        }
    if (r->n_names == r->max_names)
        return HONE_FAIL(err, HONE_EINPUT, "split the file", "%s: line %zu: task '%s' is number %zu, at most %zu", r->what, r->line,
                         hone_text_show(s, n, shown, sizeof shown), r->n_names + 1, r->max_names);
    hone_task_text name;
    HONE_TRY(copy(r, v, &name, err));
    r->names[r->n_names] = name.ptr;
    *out = r->n_names++;
    return HONE_OK;
}

static hone_code one_item(reader *r, const json_t *o, hone_err *err)
{
    hone_task_item *it = &r->items[r->n_items];
    const json_t   *v;
    it->line = r->line;
    if (!json_is_object(o)) return HONE_FAIL(err, HONE_EINPUT, REMEDY, "%s: line %zu is no object", r->what, r->line);
    HONE_TRY(need_text(r, o, "context", &v, err));
    HONE_TRY(copy(r, v, &it->context, err));
    const json_t *list = json_object_get(o, "choices");
    if (!json_is_array(list))
        return HONE_FAIL(err, HONE_EINPUT, REMEDY, "%s: line %zu: \"choices\" %s", r->what, r->line, list ? "is no array" : "is missing");
    it->n_choices = json_array_size(list);
    if (it->n_choices < 2 || it->n_choices > HONE_TASK_MAX_CHOICES)
        return HONE_FAIL(err, HONE_EINPUT, REMEDY, "%s: line %zu: %zu choices, needs 2..%d", r->what, r->line, it->n_choices, HONE_TASK_MAX_CHOICES);
    hone_task_text *choices = HONE_ARENA_NEW(r->a, hone_task_text, it->n_choices);
    if (!choices) return HONE_NOMEM(err, "the tasks");
    for (size_t i = 0; i < it->n_choices; i++) {
        const json_t *c = json_array_get(list, i);
        if (!json_is_string(c) || json_string_length(c) == 0)
            return HONE_FAIL(err, HONE_EINPUT, REMEDY, "%s: line %zu: choice %zu is no text", r->what, r->line, i);
        HONE_TRY(copy(r, c, &choices[i], err));
    }
    it->choices = choices;
    v = json_object_get(o, "answer");
    if (!json_is_integer(v))
        return HONE_FAIL(err, HONE_EINPUT, REMEDY, "%s: line %zu: \"answer\" %s", r->what, r->line, v ? "is no whole number" : "is missing");
    if (json_integer_value(v) < 0 || (uint64_t)json_integer_value(v) >= it->n_choices)
        return HONE_FAIL(err, HONE_EINPUT, REMEDY, "%s: line %zu: \"answer\" is %lld, there are %zu choices", r->what, r->line,
                         (long long)json_integer_value(v), it->n_choices);
    it->answer = (size_t)json_integer_value(v);
    HONE_TRY(need_text(r, o, "task", &v, err));
    HONE_TRY(task_index(r, v, &it->task, err));
    r->n_items++;
    return HONE_OK;
}

static bool blank(hone_bytes b)
{
    for (size_t i = 0; i < b.len; i++)
        if (!memchr(" \t\r", b.ptr[i], 3)) return false;
    return true;
}

hone_code hone_tasks_parse(hone_bytes text, const char *what, size_t max_names, hone_arena *a, hone_tasks *out, hone_err *err)
{
    size_t lines = 1;
    for (size_t i = 0; i < text.len; i++) lines += text.ptr[i] == '\n';
    reader r = { .what = what, .max_names = max_names, .a = a };
    r.items = HONE_ARENA_NEW(a, hone_task_item, lines);
    r.names = HONE_ARENA_NEW(a, const char *, max_names);
    if (!r.items || !r.names) return HONE_NOMEM(err, "the tasks");
    for (size_t at = 0; at < text.len;) {
        const uint8_t *end = memchr(text.ptr + at, '\n', text.len - at);
        hone_bytes     line = { text.ptr + at, end ? (size_t)(end - text.ptr) - at : text.len - at };
        at += line.len + 1;
        r.line++;
        if (blank(line)) continue;
        char    name[300];
        json_t *o;
        (void)snprintf(name, sizeof name, "%s: line %zu", what, r.line);
        HONE_TRY(hone_json_parse(line, name, &o, err));
        hone_code code = one_item(&r, o, err);
        json_decref(o);
        if (code != HONE_OK) return code;
    }
    if (r.n_items == 0) return HONE_FAIL(err, HONE_EINPUT, REMEDY, "%s holds no items", what);
    *out = (hone_tasks){ r.items, r.n_items, r.names, r.n_names };
    return HONE_OK;
}
