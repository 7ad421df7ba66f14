#include "base/json.h"
#include "base/file.h"
#include "base/text.h"
#include <errno.h>
#include <limits.h>
#include <math.h>

#define MAX_DEPTH 512
#define MAX_FILE  (256u << 20)

/* jansson's own limit is 2048 levels of C recursion; ours is checked before it starts, on the bytes. */
static bool too_deep(hone_bytes t)
{
    size_t depth = 0;
    bool   in_string = false;
    for (size_t i = 0; i < t.len; i++) {
        uint8_t c = t.ptr[i];
        if (in_string) {
            if (c == '\\') i++;
            else if (c == '"') in_string = false;
        } else if (c == '"') in_string = true;
        else if (c == '[' || c == '{') {
            if (++depth > MAX_DEPTH) return true;
        } else if ((c == ']' || c == '}') && depth) depth--;
    }
    return false;
}

hone_code hone_json_parse(hone_bytes text, const char *what, json_t **out, hone_err *err)
{
    static const char AGAIN[] = "download the file again or repair the JSON";
    if (too_deep(text))
        return HONE_FAIL(err, HONE_EINPUT, AGAIN, "%s: JSON is nested more than %d levels deep", what, MAX_DEPTH);
    json_error_t je = { .line = -1 }; /* jansson leaves it alone when memory runs out, and its last byte would be read as a code */
    size_t       flags = JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL;
    errno = 0; /* jansson reports some failed allocations as bad tokens; malloc tells them apart */
    json_t      *j = json_loadb((const char *)text.ptr, text.len, flags, &je);
    if (!j && json_error_code(&je) == json_error_numeric_overflow)
        j = json_loadb((const char *)text.ptr, text.len, flags | JSON_DECODE_INT_AS_REAL, &je);
    if (!j && errno == ENOMEM) return HONE_NOMEM(err, what);
    if (!j) {
        char shown[sizeof je.text];
        return HONE_FAIL(err, HONE_EINPUT, AGAIN, "%s: line %d, column %d: %s", what, je.line, je.column,
                         hone_text_show(je.text, strlen(je.text), shown, sizeof shown));
    }
    *out = j;
    return HONE_OK;
}

hone_code hone_json_load(const char *path, json_t **out, hone_err *err)
{
    hone_arena a = { 0 };
    hone_bytes b;
    hone_code  code = hone_file_slurp(path, MAX_FILE, &a, &b, err);
    if (code == HONE_OK) code = hone_json_parse(b, path, out, err);
    hone_arena_release(&a);
    return code;
}

static const json_t *find(const json_t *obj, const char *key)
{
    const json_t *v = json_object_get(obj, key);
    return json_is_null(v) ? NULL : v;
}

static const char *type_name(const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "an array";
    case JSON_STRING: return "a string";
    case JSON_INTEGER: return "an integer";
    case JSON_REAL: return "a real";
    case JSON_TRUE:
    case JSON_FALSE: return "a boolean";
    case JSON_NULL: return "null";
    }
    return "unknown";
}

hone_code hone_json_u32(const json_t *obj, const char *key, uint32_t *out, hone_err *err)
{
    const json_t *v = find(obj, key);
    if (!v) return HONE_OK;
    json_int_t i;
    if (json_is_integer(v)) i = json_integer_value(v);
    else if (json_is_real(v)) { /* the whole file was read with integers as reals, or a writer wrote 4096.0 */
        double d = json_real_value(v);
        if (!(d >= 0 && d <= (double)UINT32_MAX && floor(d) == d))
            return HONE_FAIL(err, HONE_EINPUT, "", "\"%s\" is %g, needs a whole number 0..%u", key, d, UINT32_MAX);
        i = (json_int_t)d;
    } else
        return HONE_FAIL(err, HONE_EINPUT, "", "\"%s\" is %s, needs a whole number", key, type_name(v));
    if (i < 0 || i > (json_int_t)UINT32_MAX)
        return HONE_FAIL(err, HONE_EINPUT, "", "\"%s\" is %lld, needs 0..%u", key, (long long)i, UINT32_MAX);
    *out = (uint32_t)i;
    return HONE_OK;
}

hone_code hone_json_need_u32(const json_t *obj, const char *key, uint32_t *out, hone_err *err)
{
    if (!find(obj, key)) return HONE_FAIL(err, HONE_EINPUT, "", "\"%s\" is missing", key);
    return hone_json_u32(obj, key, out, err);
}

hone_code hone_json_f64(const json_t *obj, const char *key, double *out, hone_err *err)
{
    const json_t *v = find(obj, key);
    if (!v) return HONE_OK;
    if (!json_is_number(v)) return HONE_FAIL(err, HONE_EINPUT, "", "\"%s\" is %s, needs a number", key, type_name(v));
    *out = json_number_value(v);
    return HONE_OK;
}

hone_code hone_json_bool(const json_t *obj, const char *key, bool *out, hone_err *err)
{
    const json_t *v = find(obj, key);
    if (!v) return HONE_OK;
    if (!json_is_boolean(v)) return HONE_FAIL(err, HONE_EINPUT, "", "\"%s\" is %s, needs true or false", key, type_name(v));
    *out = json_is_true(v);
    return HONE_OK;
}

hone_code hone_json_str(const json_t *obj, const char *key, const char **out, hone_err *err)
{
    const json_t *v = find(obj, key);
    if (!v) return HONE_OK;
    if (!json_is_string(v)) return HONE_FAIL(err, HONE_EINPUT, "", "\"%s\" is %s, needs a string", key, type_name(v));
    *out = json_string_value(v);
    return HONE_OK;
}

json_t *hone_json_real(double v) { return isfinite(v) ? json_real(v) : json_null(); }

bool hone_json_put(json_t *obj, const char *key, json_t *v) { return json_object_set_new(obj, key, v) == 0; }
