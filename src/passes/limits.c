#include "passes/limits.h"
#include "base/text.h"

static bool mlx_lacks_window(const hone_facts *f)
{
    unsigned flags = f->mlx ? f->mlx->flags : 0;
    bool     some_global = false;
    for (uint32_t i = 0; f->windowed && i < f->n_layers; i++) some_global = some_global || !f->windowed[i];
    if (f->window == 0) return false;
    return !((flags & HONE_MLX_WINDOW_PATTERN) && f->window_pattern) && !((flags & HONE_MLX_WINDOW_TYPES) && some_global);
}

bool hone_facts_need(const hone_facts *f, const char *feature, bool *known)
{
    *known = true;
    if (strcmp(feature, "window") == 0) return f->window > 0 && f->gguf && !(f->gguf->flags & HONE_GGUF_WINDOW);
    if (strcmp(feature, "longrope") == 0) return f->rope.scaling == HONE_ROPE_SCALE_LONGROPE;
    if (strcmp(feature, "dynamic") == 0) return f->rope.scaling == HONE_ROPE_SCALE_DYNAMIC;
    if (strcmp(feature, "mlx_window") == 0) return mlx_lacks_window(f);
    if (strcmp(feature, "mlx_longrope") == 0) return f->rope.scaling == HONE_ROPE_SCALE_LONGROPE;
    if (strcmp(feature, "mlx_gelu") == 0) return (f->act == HONE_ACT_GELU || f->act == HONE_ACT_GELU_TANH) && f->mlx && f->mlx->act != (unsigned)f->act;
    if (strcmp(feature, "mlx_experts") == 0) return f->n_experts > 0;
    if (strcmp(feature, "encoder") == 0) return f->kind == HONE_KIND_ENCODER;
    if (strcmp(feature, "attn_softcap") == 0) return f->attn_softcap > 0;
    *known = false;
    return false;
}

/* {window}, {context} and {original_context} become the model's numbers. */
static const char *fill(const char *text, const hone_facts *f, hone_arena *a)
{
    const struct {
        const char *word;
        uint32_t    value;
    } words[] = { { "{window}", f->window }, { "{context}", f->context }, { "{original_context}", f->rope.original_context } };
    hone_text t = { 0 };
    while (*text) {
        size_t i = 0;
        while (i < HONE_COUNT(words) && strncmp(text, words[i].word, strlen(words[i].word)) != 0) i++;
        if (i < HONE_COUNT(words)) {
            hone_text_addf(&t, "%u", words[i].value);
            text += strlen(words[i].word);
        } else hone_text_add_bytes(&t, text++, 1);
    }
    const char *out = t.failed ? NULL : hone_arena_strndup(a, t.ptr ? t.ptr : "", t.len);
    hone_text_release(&t);
    return out;
}

static hone_code applies(const char *condition, const hone_facts *f, const hone_tokenizer *tokenizer, bool *out, hone_err *err)
{
    bool known = false;
    if (strncmp(condition, "tokenizer:", 10) == 0) {
        *out = tokenizer && hone_tokenizer_needs(tokenizer, condition + 10);
        return HONE_OK;
    }
    if (strncmp(condition, "facts:", 6) == 0) *out = hone_facts_need(f, condition + 6, &known);
    if (!known) {
        char shown[64];
        return HONE_FAIL(err, HONE_EINPUT, "conditions are listed in src/passes/limits.h", "condition \"%s\" is not known",
                         hone_text_show(condition, strlen(condition), shown, sizeof shown));
    }
    return HONE_OK;
}

static hone_code read_row(const json_t *row, const hone_facts *f, hone_arena *a, hone_limit *out, hone_err *err)
{
    const struct {
        const char  *key;
        const char **field;
    } fields[] = {
        { "consumer", &out->consumer }, { "version", &out->version },         { "condition", &out->condition }, { "feature", &out->feature },
        { "cause", &out->cause },       { "consequence", &out->consequence }, { "test", &out->test },
    };
    for (size_t i = 0; i < HONE_COUNT(fields); i++) {
        const char *v = NULL;
        HONE_TRY(hone_json_str(row, fields[i].key, &v, err));
        if (!v) return HONE_FAIL(err, HONE_EINPUT, "", "\"%s\" is missing", fields[i].key);
        *fields[i].field = fill(v, f, a);
        if (!*fields[i].field) return HONE_NOMEM(err, "the limits");
    }
    out->harmless = false;
    return hone_json_bool(row, "harmless", &out->harmless, err);
}

hone_code hone_limits_of(const json_t *doc, const char *consumer, const hone_facts *f, const hone_tokenizer *tokenizer, hone_arena *a,
                         const hone_limit **out, size_t *n, hone_err *err)
{
    if (!json_is_array(doc)) return HONE_FAIL(err, HONE_EINPUT, "", "the document is no array");
    hone_limit *list = HONE_ARENA_NEW(a, hone_limit, json_array_size(doc));
    size_t      count = 0;
    if (!list) return HONE_NOMEM(err, "the limits");
    for (size_t i = 0; i < json_array_size(doc); i++) {
        hone_limit row;
        bool       on = false;
        hone_code  code = read_row(json_array_get(doc, i), f, a, &row, err);
        if (code == HONE_OK) code = applies(row.condition, f, tokenizer, &on, err);
        if (code != HONE_OK) return hone_err_wrap(err, "row %zu", i);
        if (on && strcmp(row.consumer, consumer) == 0) list[count++] = row;
    }
    *out = list;
    *n = count;
    return HONE_OK;
}

hone_code hone_limits_for(const char *data_dir, const char *consumer, const hone_facts *f, const hone_tokenizer *tokenizer, hone_arena *a,
                          const hone_limit **out, size_t *n, hone_err *err)
{
    const char *path = hone_arena_printf(a, "%s/data/limits.json", data_dir ? data_dir : ".");
    json_t     *doc = NULL;
    if (!path) return HONE_NOMEM(err, "a path");
    HONE_TRY(hone_json_load(path, &doc, err));
    hone_code code = hone_limits_of(doc, consumer, f, tokenizer, a, out, n, err);
    json_decref(doc);
    if (code != HONE_OK) hone_err_wrap(err, "'%s'", path);
    return code;
}
