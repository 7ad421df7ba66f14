/* read.c - the text of a plan to lines, every key checked. */
#include "base/file.h"
#include "base/yaml.h"
#include "flow/convert/output.h"
#include "flow/plan.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_TEXT  (64u << 20)
#define MAX_LAYER 1000000

static const char SEE[] = "docs/PLAN.md describes the file";

typedef struct reader {
    const char *what;
    hone_arena *a;
    hone_plan  *out;
    hone_err   *err;
} reader;

#define BAD(r, at, remedy, ...) bad((r), (at), (remedy), __VA_ARGS__)
static hone_code bad(const reader *r, uint32_t at, const char *remedy, const char *fmt, ...) HONE_PRINTF(4, 5);
static hone_code bad(const reader *r, uint32_t at, const char *remedy, const char *fmt, ...)
{
    char    text[400];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (at) return HONE_FAIL(r->err, HONE_EINPUT, remedy, "%s: line %" PRIu32 ": %s", r->what, at, text);
    return HONE_FAIL(r->err, HONE_EINPUT, remedy, "%s: %s", r->what, text);
}

static uint32_t line_of(const json_t *o) { return (uint32_t)json_integer_value(json_object_get(o, HONE_YAML_LINE)); }

static int format_of(const char *key)
{
    for (size_t i = 0; hone_convert_format(i) && i < HONE_PLAN_FORMATS; i++)
        if (strcmp(hone_convert_format(i)->name, key) == 0) return (int)i;
    return -1;
}

/* ---- one line ---- */

static hone_code read_role(const reader *r, const json_t *v, hone_plan_line *l)
{
    const char *name = json_string_value(v);
    char        shown[64], near[120] = "";
    unsigned    best = 4;
    for (int i = 0; name && i < HONE_R_COUNT; i++)
        if (strcmp(hone_role_name((hone_role)i), name) == 0) {
            l->role = (hone_role)i;
            return HONE_OK;
        }
    for (int i = 0; name && i < HONE_R_COUNT; i++) {
        unsigned d = hone_text_distance(name, hone_role_name((hone_role)i));
        if (d >= best) continue;
        best = d;
        (void)snprintf(near, sizeof near, "did you mean %s?", hone_role_name((hone_role)i));
    }
    return BAD(r, l->at, near[0] ? near : SEE, "there is no role '%s'", name ? hone_text_show(name, strlen(name), shown, sizeof shown) : "?");
}

/* 3, "0-7" */
static hone_code read_layer(const reader *r, const json_t *v, hone_plan_line *l)
{
    const char *s = json_string_value(v);
    char       *end = NULL;
    long        first = json_is_integer(v) ? (long)json_integer_value(v) : -1, last = first;
    if (s && s[0] >= '0' && s[0] <= '9') {
        first = strtol(s, &end, 10);
        last = *end == '-' && end[1] >= '0' && end[1] <= '9' ? strtol(end + 1, &end, 10) : -1;
        if (*end) first = -1;
    }
    if (first < 0 || last < first || last > MAX_LAYER) return BAD(r, l->at, "as in layer: 3, or layer: 0-7", "'layer' is no layer and no range of layers");
    l->first = (int32_t)first;
    l->last = (int32_t)last;
    return HONE_OK;
}

static hone_code read_bits(const reader *r, const json_t *v, hone_plan_line *l)
{
    static const uint32_t widths[] = { 2, 3, 4, 5, 6, 8, 16, 32 };
    for (size_t i = 0; json_is_integer(v) && i < HONE_COUNT(widths); i++)
        if (json_integer_value(v) == (json_int_t)widths[i]) {
            l->bits = widths[i];
            return HONE_OK;
        }
    return BAD(r, l->at, "2, 3, 4, 5, 6, 8, 16 or 32", "'bits' is none of the widths that a plan knows");
}

static hone_code read_word(const reader *r, const char *key, const json_t *v, uint32_t at, const char **out)
{
    const char *s = json_string_value(v);
    if (!s || !*s || strlen(s) > 60) return BAD(r, at, "as in gguf: q4_k, mlx: int4 g64", "'%s' names no encoding", key);
    *out = hone_arena_strdup(r->a, s);
    return *out ? HONE_OK : HONE_NOMEM(r->err, "the plan");
}

static hone_code read_key(const reader *r, const char *key, const json_t *v, hone_plan_line *l)
{
    char shown[64];
    int  f = format_of(key);
    if (f >= 0) return read_word(r, key, v, l->at, &l->word[f]);
    if (strcmp(key, "role") == 0) return read_role(r, v, l);
    if (strcmp(key, "layer") == 0) return read_layer(r, v, l);
    if (strcmp(key, "bits") == 0) return read_bits(r, v, l);
    if (strcmp(key, "tensor") != 0)
        return BAD(r, l->at, "a line has tensor, or role and layer; and bits, or words for formats", "there is no key '%s'",
                   hone_text_show(key, strlen(key), shown, sizeof shown));
    const char *s = json_string_value(v);
    if (!s || !*s || strlen(s) > 250) return BAD(r, l->at, SEE, "'tensor' is no name");
    l->tensor = hone_arena_strdup(r->a, s);
    return l->tensor ? HONE_OK : HONE_NOMEM(r->err, "the plan");
}

static hone_code read_line(const reader *r, const json_t *o, uint32_t at, hone_plan_line *l)
{
    const char *key;
    json_t     *v;
    bool        says = false;
    *l = (hone_plan_line){ .role = HONE_R_COUNT, .first = -1, .last = -1, .at = json_is_object(o) ? line_of(o) : at };
    if (!json_is_object(o)) return BAD(r, at, SEE, "'weights' holds something that is no line of keys");
    json_object_foreach((json_t *)(uintptr_t)o, key, v) if (strcmp(key, HONE_YAML_LINE) != 0) HONE_TRY(read_key(r, key, v, l));
    for (size_t f = 0; f < HONE_PLAN_FORMATS; f++) says = says || l->word[f];
    if (l->tensor && (l->role != HONE_R_COUNT || l->first >= 0)) return BAD(r, l->at, "give either of them", "'tensor' stands beside 'role' or 'layer'");
    if (!says && !l->bits) return BAD(r, l->at, "add bits: 4, or gguf: q4_k", "it says which weights, and nothing about them");
    if (l->role != HONE_R_COUNT && l->first >= 0 && !hone_role_per_layer(l->role))
        return BAD(r, l->at, "leave 'layer' out", "%s is of no layer", hone_role_name(l->role));
    return HONE_OK;
}

static hone_code read_lines(const reader *r, const json_t *list, uint32_t at)
{
    size_t          n = json_array_size(list);
    hone_plan_line *lines = HONE_ARENA_NEW(r->a, hone_plan_line, n + 1);
    if (!json_is_array(list)) return BAD(r, at, SEE, "'weights' is no list");
    if (!lines) return HONE_NOMEM(r->err, "the plan");
    for (size_t i = 0; i < n; i++) HONE_TRY(read_line(r, json_array_get(list, i), at, &lines[i]));
    r->out->lines = lines;
    r->out->n_lines = n;
    return HONE_OK;
}

/* ---- the head ---- */

/* {gguf: {base: q4_k_m, ...}}: other keys are notes of who made it. */
static hone_code read_formats(const reader *r, const json_t *o, uint32_t at)
{
    const char *key;
    json_t     *v;
    char        shown[64];
    if (!json_is_object(o)) return BAD(r, at, SEE, "'formats' is no mapping");
    json_object_foreach((json_t *)(uintptr_t)o, key, v)
    {
        if (strcmp(key, HONE_YAML_LINE) == 0) continue;
        int f = format_of(key);
        if (f < 0) return BAD(r, line_of(o), "gguf, onnx, openvino, mlx", "hone writes no format '%s'", hone_text_show(key, strlen(key), shown, sizeof shown));
        r->out->named[f] = true;
        const json_t *base = json_object_get(v, "base");
        if (!json_is_object(v) && !json_is_null(v)) return BAD(r, line_of(o), "as in gguf: {base: q4_k_m}", "'%s' is no mapping", key);
        if (base) HONE_TRY(read_word(r, "base", base, line_of(v), &r->out->base[f]));
    }
    return HONE_OK;
}

static hone_code read_document(const reader *r, const json_t *doc)
{
    static const char *const notes[] = { "made_by", "source", "target", "sensitivity", HONE_YAML_LINE };
    const char *schema = json_string_value(json_object_get(doc, "schema")), *key;
    json_t     *v;
    char        shown[64];
    if (!json_is_object(doc)) return BAD(r, 0, SEE, "this is no plan: it is no mapping");
    if (!schema || strcmp(schema, HONE_PLAN_SCHEMA) != 0)
        return BAD(r, line_of(doc), "a plan begins with schema: " HONE_PLAN_SCHEMA, "'schema' is '%s', wanted is '%s'",
                   schema ? hone_text_show(schema, strlen(schema), shown, sizeof shown) : "", HONE_PLAN_SCHEMA);
    if (!json_object_get(doc, "weights")) return BAD(r, 0, SEE, "there are no 'weights'");
    json_object_foreach((json_t *)(uintptr_t)doc, key, v)
    {
        bool note = strcmp(key, "schema") == 0;
        for (size_t i = 0; i < HONE_COUNT(notes); i++) note = note || strcmp(key, notes[i]) == 0;
        if (strcmp(key, "weights") == 0) HONE_TRY(read_lines(r, v, line_of(doc)));
        else if (strcmp(key, "formats") == 0) HONE_TRY(read_formats(r, v, line_of(doc)));
        else if (!note) return BAD(r, line_of(doc), SEE, "there is no key '%s'", hone_text_show(key, strlen(key), shown, sizeof shown));
    }
    return HONE_OK;
}

hone_code hone_plan_parse(hone_bytes text, const char *what, hone_arena *a, hone_plan *out, hone_err *err)
{
    hone_plan p = { 0 };
    reader    r = { what, a, &p, err };
    json_t   *doc = NULL;
    HONE_TRY(hone_yaml_parse(text, what, &doc, err));
    hone_code code = read_document(&r, doc);
    json_decref(doc);
    if (code == HONE_OK) *out = p;
    return code;
}

hone_code hone_plan_load(const char *path, hone_arena *a, hone_plan *out, hone_err *err)
{
    hone_bytes text;
    hone_arena own = { 0 };
    hone_plan  p;
    hone_code  code = hone_file_slurp(path, MAX_TEXT, &own, &text, err);
    if (code == HONE_OK) code = hone_plan_parse(text, path, a, &p, err);
    hone_arena_release(&own);
    HONE_TRY(code);
    p.path = hone_arena_strdup(a, path);
    if (!p.path) return HONE_NOMEM(err, "the plan");
    *out = p;
    return HONE_OK;
}

/* ---- the part that decides bytes ---- */

static json_t *line_document(const hone_plan_line *l, size_t format)
{
    json_t *o = json_object();
    bool    good = o != NULL;
    if (l->tensor) good = good && hone_json_put(o, "tensor", json_string(l->tensor));
    if (l->role != HONE_R_COUNT) good = good && hone_json_put(o, "role", json_string(hone_role_name(l->role)));
    if (l->first >= 0 && l->first == l->last) good = good && hone_json_put(o, "layer", json_integer(l->first));
    else if (l->first >= 0) good = good && hone_json_put(o, "layer", json_sprintf("%d-%d", (int)l->first, (int)l->last));
    if (l->word[format]) good = good && hone_json_put(o, hone_convert_format(format)->name, json_string(l->word[format]));
    else good = good && hone_json_put(o, "bits", json_integer((json_int_t)l->bits));
    if (good) return o;
    json_decref(o);
    return NULL;
}

hone_code hone_plan_document(const hone_plan *p, size_t format, json_t **out, hone_err *err)
{
    json_t *list = json_array(), *doc = NULL;
    bool    good = list != NULL;
    for (size_t i = 0; good && i < p->n_lines; i++)
        if (p->lines[i].word[format] || p->lines[i].bits) good = json_array_append_new(list, line_document(&p->lines[i], format)) == 0;
    if (good) doc = json_pack("{s:O}", "weights", list);
    json_decref(list);
    if (!doc) return HONE_NOMEM(err, "the plan");
    *out = doc;
    return HONE_OK;
}

hone_code hone_plan_from_document(const json_t *doc, hone_arena *a, hone_plan *out, hone_err *err)
{
    hone_plan p = { 0 };
    reader    r = { "the plan of the recipe", a, &p, err };
    HONE_TRY(read_lines(&r, json_object_get(doc, "weights"), 0));
    *out = p;
    return HONE_OK;
}
