#include "flow/assess/decide.h"
#include "base/file.h"
#include "base/text.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { DATA_MAX = 1 << 20 };

/* The lists of rules; each must end with an entry that always holds. */
static const char *const lists[] = { "strategy", "tree", "quantization" };
static const char *const words_conditions[] = { "vendor", "platform", "kind", "workflow", "strategy", "framework" };

/* What the conditions of an entry are compared with: the case, and what was decided before it. */
typedef struct context {
    const hone_case *c;
    const char      *strategy, *framework;
} context;

static const char *word_of(const context *x, const char *condition)
{
    const char *v = strcmp(condition, "vendor") == 0     ? x->c->vendor
                    : strcmp(condition, "platform") == 0 ? x->c->platform
                    : strcmp(condition, "kind") == 0     ? x->c->kind
                    : strcmp(condition, "workflow") == 0 ? x->c->workflow
                    : strcmp(condition, "strategy") == 0 ? x->strategy
                                                         : x->framework;
    return v ? v : "";
}

static bool known_condition(const char *key)
{
    for (size_t i = 0; i < HONE_COUNT(words_conditions); i++)
        if (strcmp(key, words_conditions[i]) == 0) return true;
    return strcmp(key, "parameters_over") == 0;
}

static const json_t *framework_of(const json_t *data, const char *name)
{
    size_t  i;
    json_t *f;
    json_array_foreach(json_object_get(data, "frameworks"), i, f)
        if (strcmp(json_string_value(json_object_get(f, "name")), name) == 0) return f;
    return NULL;
}

/* A text of the file that is shown to people: one printable line. */
static bool plain_text(const json_t *v)
{
    const char *s = json_string_value(v);
    if (!s || !*s || json_string_length(v) > 400) return false;
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f) return false;
    return true;
}

static hone_code check_framework(const json_t *data, const json_t *v, const char *where, hone_err *err)
{
    if (!plain_text(v)) return HONE_FAIL(err, HONE_EINPUT, "", "%s names no framework", where);
    if (!framework_of(data, json_string_value(v)))
        return HONE_FAIL(err, HONE_EINPUT, "", "%s names the framework '%s', which \"frameworks\" does not have", where, json_string_value(v));
    return HONE_OK;
}

static hone_code check_rule(const json_t *data, const char *list, size_t at, const json_t *r, bool last, hone_err *err)
{
    char        where[96], shown[64];
    const char *key;
    json_t     *v, *w;
    size_t      i;
    (void)snprintf(where, sizeof where, "%s[%zu]", list, at);
    const json_t *when = json_object_get(r, "when");
    if (!plain_text(json_object_get(r, "id"))) return HONE_FAIL(err, HONE_EINPUT, "", "%s has no id", where);
    if (!plain_text(json_object_get(r, "because"))) return HONE_FAIL(err, HONE_EINPUT, "", "%s has no \"because\"", where);
    if (!json_is_object(when)) return HONE_FAIL(err, HONE_EINPUT, "", "%s has no \"when\"", where);
    if (last && json_object_size(when) != 0)
        return HONE_FAIL(err, HONE_EINPUT, "end the list with an entry whose \"when\" is {}", "%s is the last entry and does not always hold", where);
    json_object_foreach((json_t *)(uintptr_t)when, key, v) {
        if (!known_condition(key))
            return HONE_FAIL(err, HONE_EINPUT, "known are vendor, platform, kind, workflow, strategy, framework, parameters_over",
                             "%s has the unknown condition '%s'", where, hone_text_show(key, strlen(key), shown, sizeof shown));
        if (strcmp(key, "parameters_over") == 0) {
            if (!json_is_integer(v) || json_integer_value(v) < 0)
                return HONE_FAIL(err, HONE_EINPUT, "", "%s: parameters_over is not a whole number", where);
            continue;
        }
        if (!json_is_array(v) || json_array_size(v) == 0)
            return HONE_FAIL(err, HONE_EINPUT, "", "%s: condition '%s' is not a list of words", where, key);
        json_array_foreach(v, i, w)
            if (!plain_text(w)) return HONE_FAIL(err, HONE_EINPUT, "", "%s: condition '%s' is not a list of words", where, key);
    }
    if (strcmp(list, "quantization") == 0) {
        uint32_t group = 0;
        if (!plain_text(json_object_get(r, "quantization"))) return HONE_FAIL(err, HONE_EINPUT, "", "%s has no quantization", where);
        return hone_json_u32(r, "group", &group, err);
    }
    HONE_TRY(check_framework(data, json_object_get(r, "framework"), where, err));
    const json_t *compare = json_object_get(r, "compare");
    if (compare && (!json_is_array(compare) || json_array_size(compare) > HONE_COUNT(((hone_decision *)0)->compare)))
        return HONE_FAIL(err, HONE_EINPUT, "", "%s: \"compare\" is not a list of at most four frameworks", where);
    json_array_foreach((json_t *)(uintptr_t)compare, i, v) HONE_TRY(check_framework(data, v, where, err));
    return HONE_OK;
}

static hone_code check_matrices(const json_t *data, hone_err *err)
{
    const json_t *m = json_object_get(data, "requirement_matrix"), *columns = json_object_get(m, "columns");
    size_t        i, k;
    json_t       *r, *v;
    char          where[96];
    json_array_foreach((json_t *)(uintptr_t)columns, i, v) HONE_TRY(check_framework(data, v, "requirement_matrix.columns", err));
    json_array_foreach(json_object_get(m, "rows"), i, r) {
        (void)snprintf(where, sizeof where, "requirement_matrix.rows[%zu]", i);
        const json_t *ratings = json_object_get(r, "ratings");
        if (!plain_text(json_object_get(r, "requirement"))) return HONE_FAIL(err, HONE_EINPUT, "", "%s has no requirement", where);
        if (json_array_size(ratings) != json_array_size(columns))
            return HONE_FAIL(err, HONE_EINPUT, "", "%s has %zu ratings, the matrix has %zu columns", where, json_array_size(ratings),
                             json_array_size(columns));
        json_array_foreach((json_t *)(uintptr_t)ratings, k, v)
            if (!plain_text(v)) return HONE_FAIL(err, HONE_EINPUT, "", "%s has a rating that is no text", where);
    }
    json_array_foreach(json_object_get(data, "platform_matrix"), i, r) {
        (void)snprintf(where, sizeof where, "platform_matrix[%zu]", i);
        if (!plain_text(json_object_get(r, "platform")) || !plain_text(json_object_get(r, "title")))
            return HONE_FAIL(err, HONE_EINPUT, "", "%s has no platform or no title", where);
        HONE_TRY(check_framework(data, json_object_get(r, "primary"), where, err));
        HONE_TRY(check_framework(data, json_object_get(r, "secondary"), where, err));
    }
    json_array_foreach(json_object_get(data, "workflows"), i, r) {
        (void)snprintf(where, sizeof where, "workflows[%zu]", i);
        if (!plain_text(json_object_get(r, "workflow")) || !plain_text(json_object_get(r, "title")) ||
            json_array_size(json_object_get(r, "ranking")) == 0)
            return HONE_FAIL(err, HONE_EINPUT, "", "%s has no workflow, no title or no ranking", where);
        json_array_foreach(json_object_get(r, "ranking"), k, v) HONE_TRY(check_framework(data, v, where, err));
    }
    return HONE_OK;
}

static hone_code check_estimates(const json_t *data, hone_err *err)
{
    static const struct { const char *key; double max; } rows[] = {
        { "share_of_measured_bandwidth", 1 }, { "share_of_nominal_bandwidth", 1 }, { "layer_overhead_us", 1e6 }
    };
    const json_t *e = json_object_get(data, "estimates");
    for (size_t i = 0; i < HONE_COUNT(rows); i++) {
        const json_t *v = json_object_get(e, rows[i].key);
        if (!json_is_number(v) || !(json_number_value(v) > 0 && json_number_value(v) <= rows[i].max))
            return HONE_FAIL(err, HONE_EINPUT, "", "estimates.%s is no number above 0 and up to %g", rows[i].key, rows[i].max);
    }
    return HONE_OK;
}

static hone_code check(const json_t *data, hone_err *err)
{
    size_t  i, n;
    json_t *f, *r;
    char    where[64];
    if (!json_is_object(data)) return HONE_FAIL(err, HONE_EINPUT, "", "it is not a JSON object");
    const char *schema = json_string_value(json_object_get(data, "schema"));
    if (!schema || strcmp(schema, "hone.decision/1") != 0)
        return HONE_FAIL(err, HONE_EINPUT, "", "\"schema\" is '%.40s', needs 'hone.decision/1'", schema ? schema : "");
    json_array_foreach(json_object_get(data, "frameworks"), i, f) {
        (void)snprintf(where, sizeof where, "frameworks[%zu]", i);
        if (!plain_text(json_object_get(f, "name")) || !plain_text(json_object_get(f, "title")) || !plain_text(json_object_get(f, "format")))
            return HONE_FAIL(err, HONE_EINPUT, "", "%s needs name, title and format", where);
    }
    for (size_t l = 0; l < HONE_COUNT(lists); l++) {
        const json_t *list = json_object_get(data, lists[l]);
        if (!json_is_array(list) || (n = json_array_size(list)) == 0) return HONE_FAIL(err, HONE_EINPUT, "", "\"%s\" is no list of rules", lists[l]);
        json_array_foreach((json_t *)(uintptr_t)list, i, r) HONE_TRY(check_rule(data, lists[l], i, r, i + 1 == n, err));
    }
    HONE_TRY(check_estimates(data, err));
    return check_matrices(data, err);
}

void hone_decision_estimates(const json_t *data, hone_estimates *out)
{
    const json_t *e = json_object_get(data, "estimates");
    out->share_measured = json_number_value(json_object_get(e, "share_of_measured_bandwidth"));
    out->share_nominal = json_number_value(json_object_get(e, "share_of_nominal_bandwidth"));
    out->layer_overhead_us = json_number_value(json_object_get(e, "layer_overhead_us"));
}

hone_code hone_decision_parse(hone_bytes text, const char *what, json_t **out, hone_err *err)
{
    json_t *data = NULL;
    if (text.len > DATA_MAX) return HONE_FAIL(err, HONE_EINPUT, "", "'%s' has %zu bytes, the limit is %d", what, text.len, DATA_MAX);
    HONE_TRY(hone_json_parse(text, what, &data, err));
    hone_code code = check(data, err);
    if (code != HONE_OK) {
        (void)hone_err_wrap(err, "'%s'", what);
        json_decref(data);
        return code;
    }
    *out = data;
    return HONE_OK;
}

hone_code hone_decision_load(const hone_ctx *ctx, json_t **out, hone_err *err)
{
    if (!ctx->data_dir)
        return HONE_FAIL(err, HONE_EUNSUPPORTED, "run hone where it was installed or built, or set HONE_DATA_DIR to its data folder",
                         "the folder with data/decision.json is not known");
    hone_arena  a = { 0 };
    hone_bytes  b;
    const char *path = hone_arena_printf(&a, "%s/data/decision.json", ctx->data_dir);
    hone_code   code = path ? hone_file_slurp(path, DATA_MAX, &a, &b, err) : HONE_NOMEM(err, "a path");
    if (code == HONE_OK) code = hone_decision_parse(b, path, out, err);
    hone_arena_release(&a);
    return code;
}

static bool holds(const context *x, const json_t *rule)
{
    const char *key;
    json_t     *v, *w;
    size_t      i;
    json_object_foreach(json_object_get(rule, "when"), key, v) {
        bool any = false;
        if (strcmp(key, "parameters_over") == 0) any = x->c->parameters > (uint64_t)json_integer_value(v);
        json_array_foreach(v, i, w) any = any || strcmp(word_of(x, key), json_string_value(w)) == 0;
        if (!any) return false;
    }
    return true;
}

static const json_t *first(const context *x, const json_t *data, const char *list)
{
    size_t  i;
    json_t *r;
    json_array_foreach(json_object_get(data, list), i, r)
        if (holds(x, r)) return r;
    return NULL; /* the last entry always holds: check() saw to it */
}

static const char *text_of(const json_t *r, const char *key) { return json_string_value(json_object_get(r, key)); }

/* "vendor is intel", "parameters are 8030261248, over 7000000000" */
static const char *facts_of(const context *x, const json_t *rule, hone_arena *a)
{
    char        text[512] = "";
    size_t      at = 0;
    const char *key;
    json_t     *v;
    json_object_foreach(json_object_get(rule, "when"), key, v) {
        const char *sep = at ? ", " : "";
        int         n = strcmp(key, "parameters_over") == 0
                            ? snprintf(text + at, sizeof text - at, "%sparameters are %" PRIu64 ", over %lld", sep, x->c->parameters,
                                       (long long)json_integer_value(v))
                            : snprintf(text + at, sizeof text - at, "%s%s is %.60s", sep, key, word_of(x, key));
        if (n < 0 || (size_t)n >= sizeof text - at) break;
        at += (size_t)n;
    }
    return hone_arena_strdup(a, text);
}

hone_code hone_decide(const json_t *data, const hone_case *c, hone_arena *a, hone_decision *out, hone_err *err)
{
    context       x = { .c = c };
    hone_decision d = { 0 };
    size_t        i;
    json_t       *r;
    const json_t *s = first(&x, data, "strategy");
    d.strategy = x.strategy = text_of(s, "id");
    d.strategy_framework = text_of(s, "framework");
    d.strategy_because = text_of(s, "because");
    const json_t *t = first(&x, data, "tree");
    d.rule = text_of(t, "id");
    d.framework = x.framework = text_of(t, "framework");
    d.format = text_of(framework_of(data, d.framework), "format");
    d.because = text_of(t, "because");
    d.facts = facts_of(&x, t, a);
    json_array_foreach(json_object_get(t, "compare"), i, r) d.compare[d.n_compare++] = json_string_value(r);
    const json_t *q = first(&x, data, "quantization");
    d.quantization = text_of(q, "quantization");
    d.quantization_because = text_of(q, "because");
    d.group = (uint32_t)json_integer_value(json_object_get(q, "group"));
    context       here = { .c = c, .strategy = d.strategy, .framework = "llama.cpp" };
    const json_t *g = first(&here, data, "quantization");
    d.gguf_quantization = text_of(g, "quantization");
    d.gguf_because = text_of(g, "because");
    json_array_foreach(json_object_get(data, "platform_matrix"), i, r)
        if (strcmp(text_of(r, "platform"), c->platform) == 0) {
            d.platform_title = text_of(r, "title");
            d.primary = text_of(r, "primary");
            d.secondary = text_of(r, "secondary");
        }
    json_array_foreach(json_object_get(data, "workflows"), i, r)
        if (c->workflow && strcmp(text_of(r, "workflow"), c->workflow) == 0)
            d.workflow_first = json_string_value(json_array_get(json_object_get(r, "ranking"), 0));
    if (!d.facts) return HONE_NOMEM(err, "the decision");
    *out = d;
    return HONE_OK;
}

static json_t *rules_shown(const context *x, const json_t *data, const char *list)
{
    json_t *out = json_array();
    bool    taken = false, ok = out != NULL;
    size_t  i;
    json_t *r;
    json_array_foreach(json_object_get(data, list), i, r) {
        json_t *one = ok ? json_copy(r) : NULL;
        bool    yes = holds(x, r);
        ok = one && hone_json_put(one, "holds", json_boolean(yes)) && hone_json_put(one, "taken", json_boolean(yes && !taken));
        if (ok) ok = json_array_append_new(out, one) == 0;
        else json_decref(one);
        taken = taken || yes;
    }
    if (ok) return out;
    json_decref(out);
    return NULL;
}

hone_code hone_decision_explain(const json_t *data, const hone_case *c, const hone_decision *d, json_t **out, hone_err *err)
{
    static const char *const as_is[] = { "about", "frameworks", "requirement_matrix", "platform_matrix", "workflows", "estimates" };
    context                  x = { .c = c, .strategy = d->strategy, .framework = d->framework };
    json_t                  *doc = json_object();
    bool                     ok = doc != NULL;
    for (size_t i = 0; ok && i < HONE_COUNT(lists); i++) ok = hone_json_put(doc, lists[i], rules_shown(&x, data, lists[i]));
    for (size_t i = 0; ok && i < HONE_COUNT(as_is); i++) {
        json_t *v = json_object_get(data, as_is[i]);
        if (v) ok = json_object_set(doc, as_is[i], v) == 0;
    }
    if (!ok) {
        json_decref(doc);
        return HONE_NOMEM(err, "the explanation");
    }
    *out = doc;
    return HONE_OK;
}
