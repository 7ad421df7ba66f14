#include "flow/net/recipe.h"
#include "base/text.h"
#include "flow/recipe.h"

static const char NEWER[] = "verify with the hone that made it, or a newer one";

/* ---- to JSON ---- */

static json_t *strings(const char *const *v, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < n; i++)
        if (json_array_append_new(list, json_string(v[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static bool put_options(json_t *doc, const hone_net_recipe *r)
{
    const hone_net_convert_options *o = &r->options;
    hone_net_quant                  q = r->target.quant;
    bool                            onnx = strcmp(r->target.format, "onnx") == 0, good = true;
    if (o->no_fold) good = hone_json_put(doc, "no_fold", json_true());
    if (good && o->keep_io && q == HONE_NETQ_F16 && onnx) good = hone_json_put(doc, "keep_io", json_true());
    if (good && q == HONE_NETQ_F16 && onnx && json_array_size(o->wide)) good = hone_json_put(doc, "wide", json_deep_copy(o->wide));
    if (good && q == HONE_NETQ_INT8_DYNAMIC && o->factors) good = hone_json_put(doc, "smooth", json_deep_copy(o->factors));
    if (good && o->standard && q == HONE_NETQ_INT4_WEIGHTS && onnx) good = hone_json_put(doc, "standard_ops", json_true());
    if (good && o->group && q == HONE_NETQ_INT4_WEIGHTS) good = hone_json_put(doc, "group", json_integer((json_int_t)o->group));
    if (good && o->n_keep && q != HONE_NETQ_F32 && q != HONE_NETQ_INT8) good = hone_json_put(doc, "exclude", strings(o->keep, o->n_keep));
    return good;
}

hone_code hone_net_recipe_text(const hone_net_recipe *r, hone_arena *a, hone_bytes *out, hone_err *err)
{
    json_t *doc = json_object();
    bool    good = doc && hone_json_put(doc, "schema", json_string(HONE_NET_RECIPE_SCHEMA)) && hone_json_put(doc, "hone", json_string(r->made_by)) &&
                hone_json_put(doc, "format", json_string(r->target.format)) && hone_json_put(doc, "quantization", json_string(hone_net_quant_name(r->target.quant))) &&
                hone_json_put(doc, "source", json_string(r->source)) && put_options(doc, r);
    if (good && r->runtime) good = hone_json_put(doc, "runtime", json_string(r->runtime));
    if (good && r->known) good = hone_json_put(doc, "static", json_deep_copy(r->known));
    hone_code code = good ? hone_recipe_seal(doc, false, a, out, err) : HONE_NOMEM(err, "a recipe");
    json_decref(doc);
    return code;
}

/* ---- and back ---- */

bool hone_net_recipe_is(hone_bytes text)
{
    json_t     *doc = NULL;
    const char *schema = NULL;
    if (text.len && hone_json_parse(text, "recipe", &doc, NULL) == HONE_OK) schema = json_string_value(json_object_get(doc, "schema"));
    bool is = schema && strncmp(schema, "hone.recipe.network/", strlen("hone.recipe.network/")) == 0;
    json_decref(doc);
    return is;
}

static hone_code read_exclude(const json_t *doc, hone_arena *a, hone_net_convert_options *o, hone_err *err)
{
    const json_t *list = json_object_get(doc, "exclude");
    size_t        n = json_array_size(list);
    const char  **keep = HONE_ARENA_NEW(a, const char *, n + 1);
    if (!keep) return HONE_NOMEM(err, "a recipe");
    if (list && !json_is_array(list)) return HONE_FAIL(err, HONE_EINPUT, "", "the recipe's \"exclude\" is no list");
    for (size_t i = 0; i < n; i++)
        if (!(keep[i] = json_string_value(json_array_get(list, i)))) return HONE_FAIL(err, HONE_EINPUT, "", "the recipe's \"exclude\" holds what is no text");
    o->keep = keep;
    o->n_keep = n;
    return HONE_OK;
}

static hone_code read_target(const json_t *doc, hone_net_recipe *r, hone_err *err)
{
    const char *format = NULL, *quant = NULL;
    HONE_TRY(hone_json_str(doc, "format", &format, err));
    HONE_TRY(hone_json_str(doc, "quantization", &quant, err));
    if (!format || !quant) return HONE_FAIL(err, HONE_EINPUT, "", "the recipe has no \"format\" or \"quantization\"");
    r->target.format = strcmp(format, "onnx") == 0 ? "onnx" : strcmp(format, "openvino") == 0 ? "openvino" : NULL;
    if (r->target.format && hone_net_quant_find(quant, &r->target.quant)) return HONE_OK;
    char one[40], two[40];
    return HONE_FAIL(err, HONE_EUNSUPPORTED, NEWER, "the recipe is of %s as %s, which this hone does not write of networks", hone_text_show(quant, strlen(quant), one, sizeof one),
                     hone_text_show(format, strlen(format), two, sizeof two));
}

static hone_code read_keys(const json_t *doc, hone_arena *a, hone_net_recipe *r, hone_err *err)
{
    hone_net_convert_options *o = &r->options;
    HONE_TRY(read_target(doc, r, err));
    HONE_TRY(hone_json_str(doc, "hone", &r->made_by, err));
    HONE_TRY(hone_json_str(doc, "source", &r->source, err));
    HONE_TRY(hone_json_str(doc, "runtime", &r->runtime, err));
    if (!r->made_by || !r->source) return HONE_FAIL(err, HONE_EINPUT, "", "the recipe has no \"hone\" or \"source\"");
    HONE_TRY(hone_json_bool(doc, "no_fold", &o->no_fold, err));
    HONE_TRY(hone_json_bool(doc, "keep_io", &o->keep_io, err));
    HONE_TRY(hone_json_bool(doc, "standard_ops", &o->standard, err));
    HONE_TRY(hone_json_u32(doc, "group", &o->group, err));
    if (o->group && (o->group < 16 || o->group > 256 || (o->group & (o->group - 1)))) return HONE_FAIL(err, HONE_EINPUT, "", "the recipe's \"group\" is %u", o->group);
    o->wide = json_object_get(doc, "wide");
    if (o->wide && !json_is_array(o->wide)) return HONE_FAIL(err, HONE_EINPUT, "", "the recipe's \"wide\" is no list");
    for (size_t i = 0; i < json_array_size(o->wide); i++)
        if (!json_is_string(json_array_get(o->wide, i))) return HONE_FAIL(err, HONE_EINPUT, "", "the recipe's \"wide\" holds what is no text");
    o->factors = json_object_get(doc, "smooth");
    if (o->factors && (!json_is_array(o->factors) || r->target.quant != HONE_NETQ_INT8_DYNAMIC))
        return HONE_FAIL(err, HONE_EINPUT, "", json_is_array(o->factors) ? "the recipe has factors of channels, and no use for them" : "the recipe's \"smooth\" is no list");
    r->known = json_object_get(doc, "static");
    if ((r->target.quant == HONE_NETQ_INT8) != json_is_object(r->known))
        return HONE_FAIL(err, HONE_EINPUT, "", r->known ? "the recipe has ranges of activations, and no use for them" : "the recipe has no ranges of activations");
    return read_exclude(doc, a, o, err);
}

static hone_code read_doc(hone_arena *a, hone_net_recipe *r, hone_err *err)
{
    static const char *const known[] = { "digest", "exclude", "format", "group", "hone", "keep_io", "no_fold", "quantization", "runtime", "schema", "smooth", "source", "standard_ops", "static", "wide" };
    const char   *key, *schema = json_string_value(json_object_get(r->doc, "schema"));
    const json_t *v;
    char          shown[64];
    HONE_TRY(hone_recipe_check(r->doc, err));
    if (!schema || strcmp(schema, HONE_NET_RECIPE_SCHEMA) != 0)
        return HONE_FAIL(err, HONE_EUNSUPPORTED, NEWER, "the recipe is of another schema, this hone knows " HONE_NET_RECIPE_SCHEMA);
    json_object_foreach(r->doc, key, v) {
        size_t i = 0;
        while (i < HONE_COUNT(known) && strcmp(known[i], key) != 0) i++;
        if (i == HONE_COUNT(known))
            return HONE_FAIL(err, HONE_EUNSUPPORTED, NEWER, "the recipe says \"%s\", which this hone does not know", hone_text_show(key, strlen(key), shown, sizeof shown));
    }
    return read_keys(r->doc, a, r, err);
}

hone_code hone_net_recipe_read(hone_bytes text, hone_arena *a, hone_net_recipe *out, hone_err *err)
{
    hone_net_recipe r = { 0 };
    HONE_TRY(hone_json_parse(text, "recipe", &r.doc, err));
    hone_code code = read_doc(a, &r, err);
    if (code == HONE_OK) *out = r;
    else hone_net_recipe_release(&r);
    return code;
}

void hone_net_recipe_release(hone_net_recipe *r)
{
    if (r) json_decref(r->doc);
    if (r) *r = (hone_net_recipe){ 0 };
}
