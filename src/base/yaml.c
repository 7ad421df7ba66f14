#include "base/yaml.h"
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <yaml.h>

#define MAX_DEPTH 64

static const char REPAIR[] = "repair the file; docs/PLAN.md shows one";

typedef struct reader {
    yaml_parser_t parser;
    const char   *what;
    hone_err     *err;
} reader;

#define BAD(r, e, ...) HONE_FAIL((r)->err, HONE_EINPUT, REPAIR, __VA_ARGS__)
#define LINE(e) ((e)->start_mark.line + 1)

static hone_code next(reader *r, yaml_event_t *e)
{
    if (yaml_parser_parse(&r->parser, e)) return HONE_OK;
    if (r->parser.error == YAML_MEMORY_ERROR) return HONE_NOMEM(r->err, r->what);
    bool   at = r->parser.error == YAML_SCANNER_ERROR || r->parser.error == YAML_PARSER_ERROR;
    size_t line = at ? r->parser.problem_mark.line + 1 : r->parser.mark.line + 1;
    return BAD(r, e, "%s: line %zu: %s", r->what, line, r->parser.problem ? r->parser.problem : "this is no YAML");
}

/* ---- scalars ---- */

static bool one_of(const char *s, const char *const *words)
{
    for (; *words; words++)
        if (strcmp(s, *words) == 0) return true;
    return false;
}

/* [-+]?digits: what fits becomes an integer, the others reals. */
static bool integer(const char *s, json_t **out)
{
    const char *p = s + (*s == '-' || *s == '+');
    char       *end;
    if (!*p) return false;
    for (const char *q = p; *q; q++)
        if (!isdigit((unsigned char)*q)) return false;
    errno = 0;
    long long v = strtoll(s, &end, 10);
    *out = errno == ERANGE ? hone_json_real(strtod(s, NULL)) : json_integer(v);
    return true;
}

/* [-+]?(.digits|digits[.digits])([eE][-+]?digits)? */
static bool real(const char *s, json_t **out)
{
    const char *p = s + (*s == '-' || *s == '+');
    size_t      digits = 0;
    for (; isdigit((unsigned char)*p); p++) digits++;
    if (*p == '.')
        for (p++; isdigit((unsigned char)*p); p++) digits++;
    if (digits == 0) return false;
    if (*p == 'e' || *p == 'E') {
        p += p[1] == '-' || p[1] == '+' ? 2 : 1;
        if (!isdigit((unsigned char)*p)) return false;
        while (isdigit((unsigned char)*p)) p++;
    }
    if (*p) return false;
    *out = hone_json_real(strtod(s, NULL)); /* one that is too large is null: no number that can be used */
    return true;
}

/* What a plain scalar means (10.3.2); false: it is a string. */
static bool plain(const char *s, json_t **out)
{
    static const char *const nulls[] = { "", "~", "null", "Null", "NULL", NULL }, *const yes[] = { "true", "True", "TRUE", NULL },
                             *const no[] = { "false", "False", "FALSE", NULL };
    if (one_of(s, nulls)) *out = json_null();
    else if (one_of(s, yes)) *out = json_true();
    else if (one_of(s, no)) *out = json_false();
    else return integer(s, out) || real(s, out);
    return true;
}

static hone_code scalar(reader *r, const yaml_event_t *e, json_t **out)
{
    const char *s = (const char *)e->data.scalar.value;
    size_t      n = e->data.scalar.length;
    if (e->data.scalar.anchor || e->data.scalar.tag) return BAD(r, e, "%s: line %zu: anchors and tags are not taken", r->what, LINE(e));
    if (strlen(s) != n || !hone_utf8_valid(s, n)) return BAD(r, e, "%s: line %zu: a text holds NUL or is no UTF-8", r->what, LINE(e));
    *out = NULL;
    if (e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE || !plain(s, out)) *out = json_stringn(s, n);
    return *out ? HONE_OK : HONE_NOMEM(r->err, r->what);
}

/* ---- collections ---- */

static hone_code value(reader *r, yaml_event_t *e, unsigned depth, json_t **out);

static hone_code sequence(reader *r, unsigned depth, json_t *list)
{
    for (;;) {
        yaml_event_t e;
        json_t      *item = NULL;
        HONE_TRY(next(r, &e));
        bool      last = e.type == YAML_SEQUENCE_END_EVENT;
        hone_code code = last ? HONE_OK : value(r, &e, depth + 1, &item);
        yaml_event_delete(&e);
        if (code != HONE_OK || last) return code;
        if (json_array_append_new(list, item) != 0) return HONE_NOMEM(r->err, r->what);
    }
}

static hone_code member(reader *r, const yaml_event_t *key, unsigned depth, json_t *map)
{
    char         shown[64];
    yaml_event_t e;
    json_t      *v = NULL;
    const char  *name = key->type == YAML_SCALAR_EVENT ? (const char *)key->data.scalar.value : "";
    size_t       n = key->type == YAML_SCALAR_EVENT ? key->data.scalar.length : 0;
    if (n == 0 || strlen(name) != n || !hone_utf8_valid(name, n) || strcmp(name, HONE_YAML_LINE) == 0 || key->data.scalar.anchor || key->data.scalar.tag)
        return BAD(r, key, "%s: line %zu: a key is no plain word", r->what, LINE(key));
    if (json_object_get(map, name))
        return BAD(r, key, "%s: line %zu: '%s' stands twice", r->what, LINE(key), hone_text_show(name, n, shown, sizeof shown));
    HONE_TRY(next(r, &e));
    hone_code code = value(r, &e, depth + 1, &v);
    yaml_event_delete(&e);
    if (code != HONE_OK) return code;
    return json_object_set_new(map, name, v) == 0 ? HONE_OK : HONE_NOMEM(r->err, r->what);
}

static hone_code mapping(reader *r, unsigned depth, json_t *map)
{
    for (;;) {
        yaml_event_t e;
        HONE_TRY(next(r, &e));
        bool      last = e.type == YAML_MAPPING_END_EVENT;
        hone_code code = last ? HONE_OK : member(r, &e, depth, map);
        yaml_event_delete(&e);
        if (code != HONE_OK || last) return code;
    }
}

static hone_code value(reader *r, yaml_event_t *e, unsigned depth, json_t **out)
{
    json_t   *v = NULL;
    hone_code code;
    if (depth > MAX_DEPTH) return BAD(r, e, "%s: line %zu: nested more than %d levels deep", r->what, LINE(e), MAX_DEPTH);
    switch (e->type) {
    case YAML_SCALAR_EVENT: return scalar(r, e, out);
    case YAML_SEQUENCE_START_EVENT:
        if (e->data.sequence_start.anchor || e->data.sequence_start.tag) break;
        v = json_array();
        code = v ? sequence(r, depth, v) : HONE_NOMEM(r->err, r->what);
        if (code == HONE_OK) *out = v;
        else json_decref(v);
        return code;
    case YAML_MAPPING_START_EVENT:
        if (e->data.mapping_start.anchor || e->data.mapping_start.tag) break;
        v = json_object();
        code = v ? mapping(r, depth, v) : HONE_NOMEM(r->err, r->what);
        if (code == HONE_OK && !hone_json_put(v, HONE_YAML_LINE, json_integer((json_int_t)LINE(e)))) code = HONE_NOMEM(r->err, r->what);
        if (code == HONE_OK) *out = v;
        else json_decref(v);
        return code;
    default: break;
    }
    return BAD(r, e, "%s: line %zu: anchors, aliases and tags are not taken", r->what, LINE(e));
}

/* The stream: one document and nothing else. */
static hone_code document(reader *r, json_t **out)
{
    json_t   *doc = NULL;
    hone_code code = HONE_OK;
    for (bool end = false; !end && code == HONE_OK;) {
        yaml_event_t e;
        code = next(r, &e);
        if (code != HONE_OK) break;
        if (e.type == YAML_DOCUMENT_START_EVENT && doc) code = BAD(r, &e, "%s: line %zu: a second document begins", r->what, LINE(&e));
        else if (e.type == YAML_STREAM_END_EVENT) end = true;
        else if (e.type != YAML_STREAM_START_EVENT && e.type != YAML_DOCUMENT_START_EVENT && e.type != YAML_DOCUMENT_END_EVENT)
            code = value(r, &e, 0, &doc);
        yaml_event_delete(&e);
    }
    if (code == HONE_OK && !doc) code = BAD(r, NULL, "%s: the file is empty", r->what);
    if (code == HONE_OK) *out = doc;
    else json_decref(doc);
    return code;
}

hone_code hone_yaml_parse(hone_bytes text, const char *what, json_t **out, hone_err *err)
{
    reader r = { .what = what, .err = err };
    if (!yaml_parser_initialize(&r.parser)) return HONE_NOMEM(err, what);
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, text.len ? text.ptr : (const uint8_t *)"", text.len);
    hone_code code = document(&r, out);
    yaml_parser_delete(&r.parser);
    return code;
}

/* ---- writing ---- */

/* Letters, digits and a few marks that mean nothing to YAML; not what would read as another type. */
static bool is_plain(const char *s)
{
    json_t *v = NULL;
    if (!isalpha((unsigned char)*s) || s[strlen(s) - 1] == ' ') return false;
    for (const char *p = s; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("_.-/ ", *p)) return false;
    bool other = plain(s, &v);
    json_decref(v);
    return !other;
}

/* What may not stand as it is among UTF-8: C1 controls with NEL, the separators that YAML 1.1 takes for ends of lines, and U+FEFF, U+FFFE, U+FFFF (YAML 1.1,
 * 5.1 and 5.4).  Returns its length in bytes and its number, or 0. */
static int needs_number(const unsigned char *p, unsigned *number)
{
    if (p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0) {
        *number = p[1];
        return 2;
    }
    if ((p[0] & 0xf0) != 0xe0 || (p[1] & 0xc0) != 0x80 || (p[2] & 0xc0) != 0x80) return 0;
    *number = (p[0] & 15u) << 12 | (p[1] & 63u) << 6 | (p[2] & 63u);
    return *number == 0x2028 || *number == 0x2029 || *number == 0xfeff || *number == 0xfffe || *number == 0xffff ? 3 : 0;
}

void hone_yaml_put(hone_text *t, const char *s)
{
    if (is_plain(s)) {
        hone_text_add(t, s);
        return;
    }
    hone_text_add(t, "\"");
    for (const char *p = s; *p; p++) {
        unsigned char c = (unsigned char)*p;
        unsigned      number;
        int           n = needs_number((const unsigned char *)p, &number);
        if (n) {
            hone_text_addf(t, "\\u%04x", number);
            p += n - 1;
        }
        else if (c == '"' || c == '\\') hone_text_addf(t, "\\%c", c);
        else if (c < 0x20 || c == 0x7f) hone_text_addf(t, "\\x%02x", c);
        else hone_text_add_bytes(t, p, 1);
    }
    hone_text_add(t, "\"");
}
