#include "hw/profile.h"
#include "base/file.h"
#include "base/text.h"
#include "hw/tree.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum fact_type { TEXT, COUNT, REAL, WORDS, DEVICES } fact_type;

typedef struct fact {
    const char *key; /* "section.name"; "accelerators" alone is the list of devices */
    fact_type   type;
    bool        required;
    double      min, max;    /* COUNT, REAL */
    const char *choices;     /* TEXT: "a|b|c", or NULL */
} fact;

#define TB 1e12

/* Every fact a profile may state.  A new one is a row here and a line in docs/schema/profile.json. */
static const fact facts[] = {
    { "target.vendor", TEXT, true, 0, 0, "apple|intel|nvidia|arm|amd|qualcomm|google|browser|generic" },
    { "target.platform", TEXT, true, 0, 0, "intel|nvidia_gpu|apple_silicon|arm_mobile|edge_tpu|embedded_arm|browser|generic" },
    { "target.os", TEXT, true, 0, 0, NULL },
    { "cpu.arch", TEXT, true, 0, 0, "arm64|arm|x86_64|wasm32|riscv64" },
    { "cpu.model", TEXT, true, 0, 0, NULL },
    { "cpu.features", WORDS, true, 0, 0, NULL },
    { "cpu.cores", COUNT, true, 1, 4096, NULL },
    { "cpu.threads", COUNT, true, 1, 8192, NULL },
    { "cpu.performance_cores", COUNT, false, 1, 4096, NULL },
    { "cpu.max_mhz", COUNT, false, 1, 20000, NULL },
    { "cpu.l2_bytes", COUNT, false, 1024, 1e11, NULL },
    { "cpu.l3_bytes", COUNT, false, 1024, 1e11, NULL },
    { "memory.total_bytes", COUNT, true, 1e6, 100 * TB, NULL },
    { "memory.available_bytes", COUNT, true, 1e6, 100 * TB, NULL },
    { "memory.read_gb_s", REAL, false, 0.01, 100000, NULL },
    { "accelerators", DEVICES, true, 0, 0, NULL },
    { "storage.type", TEXT, false, 0, 0, "nvme|ssd|emmc|sd|ufs|flash|rotational|virtual|memory" },
    { "storage.free_bytes", COUNT, false, 1e6, 1000 * TB, NULL },
    { "power.source", TEXT, false, 0, 0, "battery|mains" },
    { "power.watts", REAL, false, 0.001, 100000, NULL },
    { "network.state", TEXT, false, 0, 0, "online|offline|intermittent" },
    { "policy.package_bytes", COUNT, false, 1e5, 100 * TB, NULL },
    { "policy.format", TEXT, true, 0, 0, "gguf|onnx|openvino|mlx" },
    { "policy.quantization", TEXT, true, 0, 0, NULL },
    { "policy.threads", COUNT, true, 1, 8192, NULL },
    { "policy.context", COUNT, true, 128, 1048576, NULL },
};

static const char *const sections[] = { "target", "cpu", "memory", "storage", "power", "network", "policy" };

/* Facts of a machine that a profile has no row for; its document says so, so that both read alike. */
static const char *const machine_only[] = { "cpu.packages",        "memory.limit_bytes",  "storage.total_bytes", "power.battery",
                                            "power.ac_online",     "power.thermal",       "power.governor",      "power.energy_counter",
                                            "network.interfaces",  "network.default_route" };

static bool one_of(const char *choices, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = choices; *p;) {
        size_t m = strcspn(p, "|");
        if (m == n && strncmp(p, word, n) == 0) return true;
        p += m;
        if (*p) p++;
    }
    return false;
}

static const char *nearest_key(const char *word)
{
    const char *best = facts[0].key;
    unsigned    least = 1000;
    for (size_t i = 0; i < HONE_COUNT(facts); i++) {
        unsigned d = hone_text_distance(word, facts[i].key);
        if (d < least) {
            least = d;
            best = facts[i].key;
        }
    }
    return best;
}

static const fact *find_fact(const char *key)
{
    for (size_t i = 0; i < HONE_COUNT(facts); i++)
        if (strcmp(facts[i].key, key) == 0) return &facts[i];
    return NULL;
}

/* Text from the file that people will see: short, one line, printable. */
static hone_code check_text(const char *key, const json_t *v, size_t max, hone_err *err)
{
    const char *s = json_string_value(v);
    size_t      n = json_string_length(v);
    if (!s || n == 0) return HONE_FAIL(err, HONE_EINPUT, "", "fact '%s' is not a text", key);
    if (n > max) return HONE_FAIL(err, HONE_EINPUT, "", "fact '%s' has %zu bytes, the limit is %zu", key, n, max);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
            return HONE_FAIL(err, HONE_EINPUT, "", "fact '%s' holds the control byte 0x%02x", key, (unsigned)(unsigned char)s[i]);
    return HONE_OK;
}

static hone_code check_number(const char *key, const json_t *v, double min, double max, bool whole, hone_err *err)
{
    if (whole ? !json_is_integer(v) : !json_is_number(v))
        return HONE_FAIL(err, HONE_EINPUT, "", "fact '%s' is not a %s", key, whole ? "whole number" : "number");
    double d = json_number_value(v);
    if (!(d >= min && d <= max)) return HONE_FAIL(err, HONE_EINPUT, "", "fact '%s' is %g, needs %g..%g", key, d, min, max);
    return HONE_OK;
}

static hone_code check_device(const json_t *d, size_t index, hone_err *err)
{
    static const char KINDS[] = "gpu|npu|tpu|vpu|dsp|other";
    const char       *key;
    json_t           *v;
    char              where[96];
    (void)snprintf(where, sizeof where, "accelerators[%zu]", index);
    if (!json_is_object(d)) return HONE_FAIL(err, HONE_EINPUT, "", "fact '%s' is not an object", where);
    if (!json_object_get(d, "kind") || !json_object_get(d, "name") || !json_object_get(d, "vendor"))
        return HONE_FAIL(err, HONE_EINPUT, "", "fact '%s' needs kind, vendor and name", where);
    json_object_foreach((json_t *)(uintptr_t)d, key, v) {
        char shown[64];
        (void)snprintf(where, sizeof where, "accelerators[%zu].%s", index, hone_text_show(key, strlen(key), shown, sizeof shown));
        if (strcmp(key, "kind") == 0 || strcmp(key, "vendor") == 0 || strcmp(key, "name") == 0 || strcmp(key, "note") == 0) {
            HONE_TRY(check_text(where, v, 300, err));
            if (strcmp(key, "kind") == 0 && !one_of(KINDS, json_string_value(v)))
                return HONE_FAIL(err, HONE_EINPUT, "", "fact '%s' is '%s', needs one of %s", where, json_string_value(v), KINDS);
        } else if (strcmp(key, "memory_bytes") == 0) {
            HONE_TRY(check_number(where, v, 1e5, 100 * TB, true, err));
        } else if (strcmp(key, "read_gb_s") == 0 || strcmp(key, "tops_int8") == 0) {
            HONE_TRY(check_number(where, v, 0.001, 1e6, false, err));
        } else if (strcmp(key, "shares_memory") == 0) {
            if (!json_is_boolean(v)) return HONE_FAIL(err, HONE_EINPUT, "", "fact '%s' is not true or false", where);
        } else {
            return HONE_FAIL(err, HONE_EINPUT, "known are kind, vendor, name, note, memory_bytes, read_gb_s, tops_int8, shares_memory",
                             "fact '%s' is not known", where);
        }
    }
    return HONE_OK;
}

static hone_code check_value(const fact *f, const json_t *v, hone_err *err)
{
    size_t  i;
    json_t *e;
    switch (f->type) {
    case TEXT:
        HONE_TRY(check_text(f->key, v, 200, err));
        if (f->choices && !one_of(f->choices, json_string_value(v)))
            return HONE_FAIL(err, HONE_EINPUT, "", "fact '%s' is '%s', needs one of %s", f->key, json_string_value(v), f->choices);
        return HONE_OK;
    case COUNT: return check_number(f->key, v, f->min, f->max, true, err);
    case REAL: return check_number(f->key, v, f->min, f->max, false, err);
    case WORDS:
        if (!json_is_array(v) || json_array_size(v) > 64)
            return HONE_FAIL(err, HONE_EINPUT, "", "fact '%s' is not a list of at most 64 words", f->key);
        json_array_foreach((json_t *)(uintptr_t)v, i, e) HONE_TRY(check_text(f->key, e, 32, err));
        return HONE_OK;
    case DEVICES:
        if (!json_is_array(v) || json_array_size(v) > 16)
            return HONE_FAIL(err, HONE_EINPUT, "", "fact '%s' is not a list of at most 16 devices", f->key);
        json_array_foreach((json_t *)(uintptr_t)v, i, e) HONE_TRY(check_device(e, i, err));
        return HONE_OK;
    }
    return HONE_FAIL(err, HONE_EBUG, "", "fact '%s' has no type", f->key);
}

/* {"value": .., "basis": "nominal|typical|policy", "source": "..."} */
static hone_code check_fact(const fact *f, const json_t *o, hone_err *err)
{
    static const char BASIS[] = "nominal|typical|policy";
    const char       *key;
    json_t           *v;
    if (!json_is_object(o)) return HONE_FAIL(err, HONE_EINPUT, "", "fact '%s' is not {value, basis, source}", f->key);
    json_object_foreach((json_t *)(uintptr_t)o, key, v) {
        char shown[64];
        if (strcmp(key, "value") != 0 && strcmp(key, "basis") != 0 && strcmp(key, "source") != 0)
            return HONE_FAIL(err, HONE_EINPUT, "known are value, basis, source", "fact '%s' has the unknown key '%s'", f->key,
                             hone_text_show(key, strlen(key), shown, sizeof shown));
    }
    const char *basis = json_string_value(json_object_get(o, "basis")), *source = json_string_value(json_object_get(o, "source"));
    if (!json_object_get(o, "value")) return HONE_FAIL(err, HONE_EINPUT, "", "fact '%s' has no value", f->key);
    if (!source || !*source)
        return HONE_FAIL(err, HONE_EINPUT, "name the datasheet or page that says so", "fact '%s' has no source", f->key);
    HONE_TRY(check_text(f->key, json_object_get(o, "source"), 400, err));
    if (!basis || !one_of(BASIS, basis)) return HONE_FAIL(err, HONE_EINPUT, "", "fact '%s' has no basis of %s", f->key, BASIS);
    return check_value(f, json_object_get(o, "value"), err);
}

static hone_code check_all(const json_t *j, const char **name, const char **title, hone_err *err)
{
    static const char KNOWN[] = "schema|name|title|aliases|about|facts";
    const char       *key, *schema = NULL;
    json_t           *v;
    size_t            i;
    char              shown[64];
    if (!json_is_object(j)) return HONE_FAIL(err, HONE_EINPUT, "", "it is not a JSON object");
    json_object_foreach((json_t *)(uintptr_t)j, key, v)
        if (!one_of(KNOWN, key))
            return HONE_FAIL(err, HONE_EINPUT, "", "unknown key '%s', known are %s", hone_text_show(key, strlen(key), shown, sizeof shown), KNOWN);
    HONE_TRY(hone_json_str(j, "schema", &schema, err));
    if (!schema || strcmp(schema, "hone.profile/1") != 0)
        return HONE_FAIL(err, HONE_EINPUT, "", "\"schema\" is '%.40s', needs 'hone.profile/1'", schema ? schema : "");
    HONE_TRY(check_text("name", json_object_get(j, "name"), 64, err));
    HONE_TRY(check_text("title", json_object_get(j, "title"), 120, err));
    if (json_object_get(j, "about")) HONE_TRY(check_text("about", json_object_get(j, "about"), 600, err));
    *name = json_string_value(json_object_get(j, "name"));
    *title = json_string_value(json_object_get(j, "title"));
    if (strspn(*name, "abcdefghijklmnopqrstuvwxyz0123456789-") != strlen(*name))
        return HONE_FAIL(err, HONE_EINPUT, "", "the name '%s' may hold a-z, 0-9 and - only", *name);
    const json_t *aliases = json_object_get(j, "aliases");
    if (aliases && (!json_is_array(aliases) || json_array_size(aliases) > 16))
        return HONE_FAIL(err, HONE_EINPUT, "", "\"aliases\" is not a list of at most 16 names");
    json_array_foreach((json_t *)(uintptr_t)aliases, i, v) HONE_TRY(check_text("aliases", v, 64, err));
    const json_t *given = json_object_get(j, "facts");
    if (!json_is_object(given)) return HONE_FAIL(err, HONE_EINPUT, "", "\"facts\" is missing");
    json_object_foreach((json_t *)(uintptr_t)given, key, v) {
        const fact *f = find_fact(key);
        char        remedy[96];
        (void)snprintf(remedy, sizeof remedy, "did you mean '%s'?", nearest_key(key));
        if (!f) return HONE_FAIL(err, HONE_EINPUT, remedy, "fact '%s' is not known", hone_text_show(key, strlen(key), shown, sizeof shown));
        HONE_TRY(check_fact(f, v, err));
    }
    for (i = 0; i < HONE_COUNT(facts); i++)
        if (facts[i].required && !json_object_get(given, facts[i].key))
            return HONE_FAIL(err, HONE_EINPUT, "add it with its basis and source", "fact '%s' is missing", facts[i].key);
    double total = json_number_value(json_object_get(json_object_get(given, "memory.total_bytes"), "value"));
    double avail = json_number_value(json_object_get(json_object_get(given, "memory.available_bytes"), "value"));
    if (avail > total)
        return HONE_FAIL(err, HONE_EINPUT, "", "memory.available_bytes is %.0f, over memory.total_bytes, %.0f", avail, total);
    return HONE_OK;
}

/* "cpu.cores" -> section "cpu", rest "cores". */
static bool split(const char *key, const char *section, const char **rest)
{
    size_t n = strlen(section);
    if (strncmp(key, section, n) != 0 || key[n] != '.') return false;
    *rest = key + n + 1;
    return true;
}

static json_t *section_of(const json_t *given, const char *section, const char *name, const char *title, const json_t *aliases, const json_t *about)
{
    hone_hw_out o;
    json_t     *out = NULL;
    const char *rest;
    hone_hw_begin(&o);
    if (strcmp(section, "target") == 0) {
        hone_hw_str(&o, "name", name);
        hone_hw_str(&o, "title", title);
        hone_hw_str(&o, "kind", "profile");
        hone_hw_put(&o, "aliases", aliases ? json_incref((json_t *)(uintptr_t)aliases) : json_array());
        if (about) hone_hw_put(&o, "about", json_incref((json_t *)(uintptr_t)about));
    }
    for (size_t i = 0; i < HONE_COUNT(facts); i++) {
        if (!split(facts[i].key, section, &rest)) continue;
        const json_t *v = json_object_get(json_object_get(given, facts[i].key), "value");
        if (v) hone_hw_put(&o, rest, json_incref((json_t *)(uintptr_t)v));
        else hone_hw_none(&o, rest, "the profile does not say");
    }
    for (size_t i = 0; i < HONE_COUNT(machine_only); i++)
        if (split(machine_only[i], section, &rest)) hone_hw_none(&o, rest, "a named profile is not a machine");
    if (strcmp(section, "cpu") == 0) {
        static const struct { const char *key; int level; } levels[] = { { "cpu.l2_bytes", 2 }, { "cpu.l3_bytes", 3 } };
        json_t *caches = json_array();
        for (size_t i = 0; i < HONE_COUNT(levels); i++) {
            const json_t *v = json_object_get(json_object_get(given, levels[i].key), "value");
            if (v && json_array_append_new(caches, json_pack("{s:i, s:s, s:I, s:i}", "level", levels[i].level, "type", "unified", "bytes",
                                                             json_integer_value(v), "count", 1)) != 0)
                o.broken = true;
        }
        hone_hw_put(&o, "caches", caches);
    }
    return hone_hw_done(&o, "a profile", &out, NULL) == HONE_OK ? out : NULL;
}

static hone_code build(const json_t *j, const char *name, const char *title, json_t **out, hone_err *err)
{
    const json_t *given = json_object_get(j, "facts");
    json_t       *doc = json_object(), *sources = json_object(), *basis = json_object();
    const char   *key;
    json_t       *v;
    bool          ok = doc && sources && basis;
    for (size_t i = 0; ok && i < HONE_COUNT(sections); i++) {
        ok = hone_json_put(doc, sections[i],
                           section_of(given, sections[i], name, title, json_object_get(j, "aliases"), json_object_get(j, "about")));
        if (ok && strcmp(sections[i], "memory") == 0)
            ok = hone_json_put(doc, "accelerators", json_incref(json_object_get(json_object_get(given, "accelerators"), "value")));
    }
    json_object_foreach((json_t *)(uintptr_t)given, key, v)
        ok = ok && json_object_set(sources, key, json_object_get(v, "source")) == 0 && json_object_set(basis, key, json_object_get(v, "basis")) == 0;
    ok = ok && json_object_set(doc, "basis", basis) == 0 && json_object_set(doc, "sources", sources) == 0;
    json_decref(sources);
    json_decref(basis);
    if (!ok) {
        json_decref(doc);
        return HONE_NOMEM(err, "a profile");
    }
    *out = doc;
    return HONE_OK;
}

hone_code hone_profile_parse(hone_bytes text, const char *what, json_t **out, hone_err *err)
{
    json_t     *j = NULL;
    const char *name = NULL, *title = NULL;
    if (text.len > HONE_PROFILE_MAX_BYTES)
        return HONE_FAIL(err, HONE_EINPUT, "", "profile '%s' has %zu bytes, the limit is %u", what, text.len, HONE_PROFILE_MAX_BYTES);
    HONE_TRY(hone_json_parse(text, what, &j, err));
    hone_code code = check_all(j, &name, &title, err);
    if (code == HONE_OK) code = build(j, name, title, out, err);
    else (void)hone_err_wrap(err, "profile '%s'", what);
    json_decref(j);
    return code;
}

static hone_code load_file(const char *path, const char *what, json_t **out, hone_err *err)
{
    hone_arena a = { 0 };
    hone_bytes b;
    hone_code  code = hone_file_slurp(path, HONE_PROFILE_MAX_BYTES, &a, &b, err);
    if (code == HONE_OK) code = hone_profile_parse(b, what, out, err);
    hone_arena_release(&a);
    return code;
}

/* Names of the files in profiles/ without ".json"; 0 when there is no such folder. */
static size_t all_names(const hone_ctx *ctx, hone_arena *a, const char ***out)
{
    const char *const *files;
    size_t             n = ctx->data_dir ? hone_tree_list(a, &files, ctx->data_dir, "profiles", "") : 0, k = 0;
    const char       **names = HONE_ARENA_NEW(a, const char *, n + 1);
    for (size_t i = 0; names && i < n; i++) {
        size_t len = strlen(files[i]);
        if (len <= 5 || strcmp(files[i] + len - 5, ".json") != 0) continue;
        if (!(names[k] = hone_arena_strndup(a, files[i], len - 5))) break;
        k++;
    }
    *out = names;
    return k;
}

static hone_code no_data(hone_err *err)
{
    return HONE_FAIL(err, HONE_EUNSUPPORTED, "run hone where it was installed or built, or set HONE_DATA_DIR to its data folder",
                     "the folder of target profiles is not known");
}

hone_code hone_profile_list(const hone_ctx *ctx, json_t **out, hone_err *err)
{
    hone_arena   a = { 0 };
    const char **names;
    if (!ctx->data_dir) return no_data(err);
    size_t    n = all_names(ctx, &a, &names);
    json_t   *list = json_array();
    hone_code code = list ? HONE_OK : HONE_NOMEM(err, "the profiles");
    for (size_t i = 0; code == HONE_OK && i < n; i++) {
        json_t     *doc = NULL;
        const char *path = hone_arena_printf(&a, "%s/profiles/%s.json", ctx->data_dir, names[i]);
        code = path ? load_file(path, names[i], &doc, err) : HONE_NOMEM(err, "a path");
        if (code != HONE_OK) break;
        const json_t *t = json_object_get(doc, "target");
        if (json_array_append_new(list, json_pack("{s:O, s:O, s:O}", "name", json_object_get(t, "name"), "title", json_object_get(t, "title"),
                                                  "aliases", json_object_get(t, "aliases"))) != 0)
            code = HONE_NOMEM(err, "the profiles");
        json_decref(doc);
    }
    if (code == HONE_OK) *out = list;
    else json_decref(list);
    hone_arena_release(&a);
    return code;
}

static bool has_alias(const json_t *list, size_t at, const char *name)
{
    size_t        i;
    const json_t *p = json_array_get(list, at);
    json_t       *v;
    json_array_foreach(json_object_get(p, "aliases"), i, v)
        if (strcmp(json_string_value(v), name) == 0) return true;
    return false;
}

static hone_code unknown(const json_t *list, const char *name, hone_err *err)
{
    char        remedy[192], shown[80];
    const char *best = NULL;
    unsigned    least = 5;
    size_t      i;
    json_t     *p;
    json_array_foreach((json_t *)(uintptr_t)list, i, p) {
        const char *known = json_string_value(json_object_get(p, "name"));
        unsigned    d = hone_text_distance(name, known);
        if (d < least) {
            least = d;
            best = known;
        }
    }
    if (best) (void)snprintf(remedy, sizeof remedy, "did you mean '%s'? hone probe --list shows all; host is this machine", best);
    else (void)snprintf(remedy, sizeof remedy, "hone probe --list shows all; host is this machine; a file of your own ends in .json");
    return HONE_FAIL(err, HONE_EUSAGE, remedy, "there is no target '%s'", hone_text_show(name, strlen(name), shown, sizeof shown));
}

hone_code hone_profile_load(const hone_ctx *ctx, const char *name, json_t **out, hone_err *err)
{
    hone_arena a = { 0 };
    json_t    *list = NULL;
    size_t     len = strlen(name);
    if (len > 5 && strcmp(name + len - 5, ".json") == 0) return load_file(name, name, out, err);
    if (!ctx->data_dir) return no_data(err);
    HONE_TRY(hone_profile_list(ctx, &list, err));
    hone_code code = HONE_OK;
    bool      found = false;
    for (size_t i = 0; !found && i < json_array_size(list); i++) {
        const char *known = json_string_value(json_object_get(json_array_get(list, i), "name"));
        if (strcmp(known, name) != 0 && !has_alias(list, i, name)) continue;
        found = true;
        const char *path = hone_arena_printf(&a, "%s/profiles/%s.json", ctx->data_dir, known);
        code = path ? load_file(path, known, out, err) : HONE_NOMEM(err, "a path");
    }
    if (!found) code = unknown(list, name, err);
    json_decref(list);
    hone_arena_release(&a);
    return code;
}
