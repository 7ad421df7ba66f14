#include "measure/check/cases.h"
#include <stdlib.h>

static const char REMEDY[] = "write the file again from the checkpoint's own tokenizer";

typedef struct at { const char *what, *list; size_t i; } at; /* where we are, for errors */

static hone_code bad(const at *w, const char *key, const char *problem, hone_err *err)
{
    return HONE_FAIL(err, HONE_EINPUT, REMEDY, "%s: %s %zu: \"%s\" %s", w->what, w->list, w->i, key, problem);
}

static hone_code copy_text(const json_t *obj, const char *key, const at *w, hone_arena *a, hone_str *out, hone_err *err)
{
    const json_t *v = json_object_get(obj, key);
    if (!v || json_is_null(v)) return HONE_OK;
    if (!json_is_string(v)) return bad(w, key, "is no string", err);
    char *s = hone_arena_strndup(a, json_string_value(v), json_string_length(v));
    if (!s) return HONE_NOMEM(err, "the tokenizer cases");
    *out = (hone_str){ s, json_string_length(v) };
    return HONE_OK;
}

static hone_code copy_ids(const json_t *obj, const char *key, const at *w, hone_arena *a, hone_ids *out, hone_err *err)
{
    const json_t *v = json_object_get(obj, key);
    if (!v || json_is_null(v)) return HONE_OK;
    if (!json_is_array(v)) return bad(w, key, "is no array of token ids", err);
    size_t   n = json_array_size(v);
    int32_t *ids = HONE_ARENA_NEW(a, int32_t, n);
    if (!ids) return HONE_NOMEM(err, "the tokenizer cases");
    for (size_t i = 0; i < n; i++) {
        const json_t *id = json_array_get(v, i);
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) > INT32_MAX)
            return bad(w, key, "holds something that is no token id", err);
        ids[i] = (int32_t)json_integer_value(id);
    }
    *out = (hone_ids){ ids, n };
    return HONE_OK;
}

static hone_code token_case(const json_t *v, const at *w, hone_arena *a, hone_token_case *c, hone_err *err)
{
    if (!json_is_object(v)) return HONE_FAIL(err, HONE_EINPUT, REMEDY, "%s: %s %zu is no object", w->what, w->list, w->i);
    HONE_TRY(copy_text(v, "text", w, a, &c->text, err));
    HONE_TRY(copy_ids(v, "ids", w, a, &c->ids, err));
    HONE_TRY(copy_ids(v, "ids_with_special", w, a, &c->with_special, err));
    HONE_TRY(copy_text(v, "decoded", w, a, &c->decoded, err));
    HONE_TRY(copy_text(v, "decoded_skip_special", w, a, &c->decoded_skip, err));
    if (!c->text.ptr) return bad(w, "text", "is missing", err);
    if (!c->ids.ptr) return bad(w, "ids", "is missing", err);
    return HONE_OK;
}

static hone_code dump(const json_t *v, hone_arena *a, const char **out, hone_err *err)
{
    char *heap = json_dumps(v, JSON_COMPACT);
    char *s = heap ? hone_arena_strdup(a, heap) : NULL;
    free(heap);
    if (!s) return HONE_NOMEM(err, "the chat cases");
    *out = s;
    return HONE_OK;
}

static hone_code chat_case(const json_t *v, const at *w, hone_arena *a, hone_chat_case *c, hone_err *err)
{
    static const char *const results[] = { "messages", "rendered", "ids", "error" };
    if (!json_is_object(v)) return HONE_FAIL(err, HONE_EINPUT, REMEDY, "%s: %s %zu is no object", w->what, w->list, w->i);
    const json_t *messages = json_object_get(v, "messages");
    if (!json_is_array(messages)) return bad(w, "messages", messages ? "is no array" : "is missing", err);
    HONE_TRY(copy_text(v, "rendered", w, a, &c->rendered, err));
    HONE_TRY(copy_text(v, "error", w, a, &c->error, err));
    HONE_TRY(copy_ids(v, "ids", w, a, &c->ids, err));
    if (!c->rendered.ptr == !c->error.ptr)
        return bad(w, "rendered", c->error.ptr ? "and \"error\" are both given" : "is missing, and so is \"error\"", err);
    HONE_TRY(dump(messages, a, &c->messages, err));
    json_t *options = json_copy((json_t *)(uintptr_t)v); /* shallow: the values stay the caller's; jansson wants it non-const */
    if (!options) return HONE_NOMEM(err, "the chat cases");
    for (size_t i = 0; i < HONE_COUNT(results); i++) (void)json_object_del(options, results[i]);
    hone_code code = dump(options, a, &c->options, err);
    json_decref(options);
    return code;
}

hone_code hone_cases_parse(const json_t *root, const char *what, hone_arena *a, hone_cases *out, hone_err *err)
{
    const json_t *tokens = json_object_get(root, "cases"), *chats = json_object_get(root, "chat");
    if (!json_is_array(tokens))
        return HONE_FAIL(err, HONE_EINPUT, REMEDY, "%s: \"cases\" %s", what, tokens ? "is no array" : "is missing");
    if (chats && !json_is_array(chats)) return HONE_FAIL(err, HONE_EINPUT, REMEDY, "%s: \"chat\" is no array", what);
    size_t           n = json_array_size(tokens), m = json_array_size(chats);
    hone_token_case *t = HONE_ARENA_NEW(a, hone_token_case, n);
    hone_chat_case  *c = HONE_ARENA_NEW(a, hone_chat_case, m);
    if (!t || !c) return HONE_NOMEM(err, "the tokenizer cases");
    for (size_t i = 0; i < n; i++) HONE_TRY(token_case(json_array_get(tokens, i), &(at){ what, "case", i }, a, &t[i], err));
    for (size_t i = 0; i < m; i++) HONE_TRY(chat_case(json_array_get(chats, i), &(at){ what, "chat", i }, a, &c[i], err));
    *out = (hone_cases){ t, n, c, m };
    return HONE_OK;
}

hone_code hone_cases_load(const char *path, hone_arena *a, hone_cases *out, hone_err *err)
{
    json_t *root;
    HONE_TRY(hone_json_load(path, &root, err));
    hone_code code = hone_cases_parse(root, path, a, out, err);
    json_decref(root);
    return code;
}
