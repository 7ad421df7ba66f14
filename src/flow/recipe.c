/* recipe.c - options of a conversion to JSON and back.  The table is all there is to know about an option. */
#include "flow/recipe.h"
#include "base/text.h"
#include "flow/convert/output.h"
#include "ir/stats.h"
#include <stddef.h>
#include <stdlib.h>

typedef enum kind {
    FLAG,  /* bool: true, or left out */
    COUNT, /* uint32_t: 0 is left out */
    BYTES, /* uint64_t: 0 is left out */
    REAL,  /* double: 0 is left out */
    TEXT,  /* const char *: NULL is left out */
    KEEPS, /* keep and n_keep: ["GLOB=TYPE", ...] */
    STATS, /* const hone_stats *: the sha256 of its file */
    DOC,   /* const json_t *: a document as it is; NULL is left out */
} kind;

typedef struct row {
    const char *key;
    kind        kind;
    size_t      at;    /* in hone_convert_options */
    unsigned    takes; /* formats that take one of these have the row; 0: all */
} row;

#define AT(field) offsetof(hone_convert_options, field)
/* One option, one row.  A new one: a field of hone_convert_options, a row here, a property in docs/schema/recipe.json. */
static const row rows[] = {
    { "bias_correction", FLAG, AT(bias_correction), 0 },
    { "fold", TEXT, AT(fold), 0 },
    { "group", COUNT, AT(group), HONE_TAKES_GROUP },
    { "group_row", FLAG, AT(per_row), HONE_TAKES_ROW },
    { "keep", KEEPS, AT(keep), HONE_TAKES_KEEP },
    { "method", TEXT, AT(method), 0 },
    { "plan", DOC, AT(plan), 0 },
    { "prune", REAL, AT(prune), 0 },
    { "prune_method", TEXT, AT(prune_method), 0 },
    { "ratio", REAL, AT(ratio), HONE_TAKES_RATIO },
    { "split_bytes", BYTES, AT(split_bytes), HONE_TAKES_SPLIT },
    { "standard_ops", FLAG, AT(onnx_standard), HONE_TAKES_OPS },
    { "statistics", STATS, AT(stats), 0 },
    { "sym", FLAG, AT(sym), HONE_TAKES_SYM },
};

/* ---- to JSON ---- */

static json_t *keeps_of(const hone_convert_options *opt)
{
    json_t *list = json_array();
    bool    good = list != NULL;
    for (size_t i = 0; good && i < opt->n_keep; i++)
        if (!opt->keep[i].hits || *opt->keep[i].hits) good = json_array_append_new(list, json_sprintf("%s=%s", opt->keep[i].pattern, opt->keep[i].dtype)) == 0;
    if (good) return list;
    json_decref(list);
    return NULL;
}

/* *out NULL and true: the option has its usual value. */
static bool value_of(const hone_convert_options *opt, const row *r, json_t **out)
{
    const void *at = (const char *)opt + r->at;
    *out = NULL;
    switch (r->kind) {
    case FLAG:
        if (!*(const bool *)at) return true;
        *out = json_true();
        break;
    case COUNT:
        if (!*(const uint32_t *)at) return true;
        *out = json_integer((json_int_t)*(const uint32_t *)at);
        break;
    case BYTES:
        if (!*(const uint64_t *)at) return true;
        *out = json_integer((json_int_t)*(const uint64_t *)at);
        break;
    case REAL:
        if (*(const double *)at == 0) return true;
        *out = json_real(*(const double *)at);
        break;
    case TEXT:
        if (!*(const char *const *)at) return true;
        *out = json_string(*(const char *const *)at);
        break;
    case KEEPS:
        *out = keeps_of(opt);
        if (!*out || json_array_size(*out)) break;
        json_decref(*out);
        *out = NULL;
        return true;
    case STATS:
        if (!*(const hone_stats *const *)at) return true;
        *out = json_string((*(const hone_stats *const *)at)->sha256);
        break;
    case DOC:
        if (!*(const json_t *const *)at) return true;
        *out = json_deep_copy(*(const json_t *const *)at);
        break;
    }
    return *out != NULL;
}

static json_t *to_json(const hone_model *m, const hone_convert_options *opt, const hone_format *f, const char *quant)
{
    json_t *doc = json_object();
    bool    good = doc && hone_json_put(doc, "schema", json_string(HONE_RECIPE_SCHEMA)) &&
                hone_json_put(doc, "hone", json_string(opt->made_by ? opt->made_by : HONE_VERSION)) && hone_json_put(doc, "format", json_string(f->name)) &&
                hone_json_put(doc, "quantization", json_string(quant));
    /* Only GGUF holds the model's name. */
    if (good && f == &hone_format_gguf && m->facts.name) good = hone_json_put(doc, "model", json_string(m->facts.name));
    for (size_t i = 0; good && i < HONE_COUNT(rows); i++) {
        json_t *v;
        if (rows[i].takes && !(rows[i].takes & f->takes)) continue;
        good = value_of(opt, &rows[i], &v) && (!v || hone_json_put(doc, rows[i].key, v));
    }
    if (good) return doc;
    json_decref(doc);
    return NULL;
}

/* The sha256 of doc's compact text. */
static hone_code digest_of(const json_t *doc, char hex[65], hone_err *err)
{
    char *text = json_dumps(doc, JSON_SORT_KEYS | JSON_COMPACT);
    if (!text) return HONE_NOMEM(err, "a recipe");
    hone_code code = hone_sha256((hone_bytes){ (const uint8_t *)text, strlen(text) }, hex, err);
    free(text);
    return code;
}

hone_code hone_recipe_seal(json_t *doc, bool compact, hone_arena *a, hone_bytes *out, hone_err *err)
{
    char hex[65];
    HONE_TRY(digest_of(doc, hex, err));
    if (!hone_json_put(doc, "digest", json_string(hex))) return HONE_NOMEM(err, "a recipe");
    char *text = json_dumps(doc, JSON_SORT_KEYS | (compact ? JSON_COMPACT : JSON_INDENT(2)));
    char *kept = text ? hone_arena_printf(a, compact ? "%s" : "%s\n", text) : NULL;
    free(text);
    if (!kept) return HONE_NOMEM(err, "a recipe");
    *out = (hone_bytes){ (const uint8_t *)kept, strlen(kept) };
    return HONE_OK;
}

hone_code hone_recipe_text(const hone_model *m, const hone_convert_options *opt, const hone_format *f, const char *quant, bool compact, hone_arena *a,
                           hone_bytes *out, hone_err *err)
{
    json_t   *doc = to_json(m, opt, f, quant);
    hone_code code = doc ? hone_recipe_seal(doc, compact, a, out, err) : HONE_NOMEM(err, "a recipe");
    json_decref(doc);
    return code;
}

/* ---- and back ---- */

static const char NEWER[] = "verify with the hone that made it, or a newer one";

static hone_code read_keeps(const json_t *list, hone_arena *a, hone_convert_options *opt, hone_err *err)
{
    size_t     n = json_array_size(list);
    hone_keep *keep = HONE_ARENA_NEW(a, hone_keep, n + 1);
    if (!keep) return HONE_NOMEM(err, "a recipe");
    for (size_t i = 0; i < n; i++) {
        const char *text = json_string_value(json_array_get(list, i)), *eq = text ? strrchr(text, '=') : NULL;
        if (!eq || eq == text || !eq[1]) return HONE_FAIL(err, HONE_EINPUT, "", "the recipe's \"keep\" holds what is not GLOB=TYPE");
        keep[i].dtype = hone_arena_strdup(a, eq + 1);
        keep[i].pattern = hone_arena_strndup(a, text, (size_t)(eq - text));
        if (!keep[i].pattern || !keep[i].dtype) return HONE_NOMEM(err, "a recipe");
    }
    opt->keep = keep;
    opt->n_keep = n;
    return HONE_OK;
}

static hone_code read_row(const json_t *doc, const row *r, hone_arena *a, hone_recipe *out, hone_err *err)
{
    void         *at = (char *)&out->options + r->at;
    const json_t *v = json_object_get(doc, r->key);
    if (!v) return HONE_OK;
    switch (r->kind) {
    case FLAG: return hone_json_bool(doc, r->key, at, err);
    case COUNT: return hone_json_u32(doc, r->key, at, err);
    case REAL: return hone_json_f64(doc, r->key, at, err);
    case TEXT: return hone_json_str(doc, r->key, at, err);
    case STATS: return hone_json_str(doc, r->key, &out->statistics, err);
    case BYTES:
        if (!json_is_integer(v) || json_integer_value(v) < 0)
            return HONE_FAIL(err, HONE_EINPUT, "", "the recipe's \"%s\" is no number of bytes", r->key);
        *(uint64_t *)at = (uint64_t)json_integer_value(v);
        return HONE_OK;
    case KEEPS:
        if (!json_is_array(v)) return HONE_FAIL(err, HONE_EINPUT, "", "the recipe's \"%s\" is no list", r->key);
        return read_keeps(v, a, &out->options, err);
    case DOC: *(const json_t **)at = v; return HONE_OK;
    }
    return HONE_OK;
}

static bool is_known(const char *key)
{
    static const char *const others[] = { "digest", "format", "hone", "model", "quantization", "schema" };
    for (size_t i = 0; i < HONE_COUNT(others); i++)
        if (strcmp(key, others[i]) == 0) return true;
    for (size_t i = 0; i < HONE_COUNT(rows); i++)
        if (strcmp(key, rows[i].key) == 0) return true;
    return false;
}

hone_code hone_recipe_check(const json_t *doc, hone_err *err)
{
    const char *said = json_string_value(json_object_get(doc, "digest"));
    char        hex[65];
    json_t     *bare = json_copy((json_t *)(uintptr_t)doc);
    if (!bare) return HONE_NOMEM(err, "a recipe");
    (void)json_object_del(bare, "digest");
    hone_code code = digest_of(bare, hex, err);
    json_decref(bare);
    HONE_TRY(code);
    if (said && strcmp(said, hex) == 0) return HONE_OK;
    return HONE_FAIL(err, HONE_ENO, "", "the recipe is damaged: its digest is %.64s, that of its text is %s", said ? said : "missing", hex);
}

static hone_code read_fixed(const json_t *doc, hone_recipe *out, hone_err *err)
{
    const char *format = NULL;
    HONE_TRY(hone_json_str(doc, "format", &format, err));
    HONE_TRY(hone_json_str(doc, "quantization", &out->quant, err));
    HONE_TRY(hone_json_str(doc, "hone", &out->made_by, err));
    HONE_TRY(hone_json_str(doc, "model", &out->model, err));
    if (!format || !out->quant || !out->made_by) return HONE_FAIL(err, HONE_EINPUT, "", "the recipe has no \"format\", \"quantization\" or \"hone\"");
    out->options.made_by = out->made_by;
    out->format = hone_convert_format_find(format, strlen(format));
    if (!out->format || !hone_format_knows(out->format, out->quant)) {
        char one[40], two[40];
        return HONE_FAIL(err, HONE_EUNSUPPORTED, NEWER, "the recipe is of %s as %s, which this hone does not write", hone_text_show(out->quant, strlen(out->quant), one, sizeof one),
                         hone_text_show(format, strlen(format), two, sizeof two));
    }
    return HONE_OK;
}

static hone_code read_doc(json_t *doc, hone_arena *a, hone_recipe *out, hone_err *err)
{
    const char   *schema = json_string_value(json_object_get(doc, "schema")), *key;
    const json_t *v;
    char          shown[64];
    if (!schema && !json_object_get(doc, "digest")) return HONE_FAIL(err, HONE_EINPUT, "", "it is no recipe of hone: it names no schema");
    HONE_TRY(hone_recipe_check(doc, err));
    if (!schema) return HONE_FAIL(err, HONE_EINPUT, "", "it is no recipe of hone: it names no schema");
    if (strcmp(schema, HONE_RECIPE_SCHEMA) != 0)
        return HONE_FAIL(err, HONE_EUNSUPPORTED, NEWER, "the recipe is of schema '%s', this hone knows " HONE_RECIPE_SCHEMA,
                         hone_text_show(schema, strlen(schema), shown, sizeof shown));
    json_object_foreach(doc, key, v)
        if (!is_known(key))
            return HONE_FAIL(err, HONE_EUNSUPPORTED, NEWER, "the recipe says \"%s\", which this hone does not know", hone_text_show(key, strlen(key), shown, sizeof shown));
    HONE_TRY(read_fixed(doc, out, err));
    for (size_t i = 0; i < HONE_COUNT(rows); i++) HONE_TRY(read_row(doc, &rows[i], a, out, err));
    return HONE_OK;
}

hone_code hone_recipe_read(hone_bytes text, hone_arena *a, hone_recipe *out, hone_err *err)
{
    hone_recipe r = { 0 };
    hone_err    e = { 0 };
    if (hone_json_parse(text, "recipe", &r.doc, &e) != HONE_OK) {
        if (e.code == HONE_EINPUT) return HONE_FAIL(err, HONE_ENO, "", "the recipe is damaged: %s", e.cause);
        if (err) *err = e;
        return e.code;
    }
    hone_code code = json_is_object(r.doc) ? read_doc(r.doc, a, &r, err) : HONE_FAIL(err, HONE_EINPUT, "", "it is no recipe of hone: no JSON object");
    if (code == HONE_OK) *out = r;
    else hone_recipe_release(&r);
    return code;
}

void hone_recipe_release(hone_recipe *r)
{
    if (r) json_decref(r->doc);
    if (r) *r = (hone_recipe){ 0 };
}
