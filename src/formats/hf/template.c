/* template.c - chat templates.  chat_template.jinja wins over tokenizer_config.json, as in transformers (utils/hub.py
 * CHAT_TEMPLATE_FILE, tokenization_utils_base.py _from_pretrained); named ones lie in additional_chat_templates/. */
#include "base/file.h"
#include "base/text.h"
#include "formats/hf/reader.h"
#include <dirent.h>
#include <stdlib.h>

#define TEMPLATE_MAX (16u << 20)
#define TEMPLATES_MAX 64

typedef struct list {
    hone_chat_template items[TEMPLATES_MAX];
    size_t             n;
} list;

static hone_code add(list *l, hone_arena *a, const char *name, const char *text, hone_err *err)
{
    char shown[80];
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->items[i].name, name) == 0)
            return HONE_FAIL(err, HONE_EINPUT, "keep one of them", "two chat templates have the name '%s'", hone_text_show(name, strlen(name), shown, sizeof shown));
    if (l->n == TEMPLATES_MAX) return HONE_FAIL(err, HONE_EINPUT, "keep those that are used", "there are more than %d chat templates", TEMPLATES_MAX);
    hone_chat_template t = { hone_arena_strdup(a, name), text };
    if (!t.name || !t.text) return HONE_NOMEM(err, "the chat templates");
    l->items[l->n++] = t;
    return HONE_OK;
}

static hone_code read_file(list *l, hone_arena *a, const char *name, const char *path, hone_err *err)
{
    hone_bytes b = { 0 };
    HONE_TRY(hone_file_slurp(path, TEMPLATE_MAX, a, &b, err));
    if (memchr(b.ptr, 0, b.len) || !hone_utf8_valid((const char *)b.ptr, b.len))
        return HONE_FAIL(err, HONE_EINPUT, "download the file again", "%s: the chat template is no UTF-8 text", path);
    return add(l, a, name, (const char *)b.ptr, err);
}

static int is_jinja(const struct dirent *e)
{
    size_t n = strlen(e->d_name);
    return n > 6 && e->d_name[0] != '.' && strcmp(e->d_name + n - 6, ".jinja") == 0;
}

static hone_code read_folder(list *l, hone_arena *a, const char *dir, hone_err *err)
{
    struct dirent **names = NULL;
    int             n = scandir(dir, &names, is_jinja, alphasort);
    hone_code       code = HONE_OK;
    for (int i = 0; i < n; i++) {
        if (code == HONE_OK) {
            char *path = hone_arena_printf(a, "%s/%s", dir, names[i]->d_name);
            char *name = hone_arena_strndup(a, names[i]->d_name, strlen(names[i]->d_name) - 6);
            code = path && name ? read_file(l, a, name, path, err) : HONE_NOMEM(err, "the chat templates");
        }
        free(names[i]);
    }
    free(names);
    return code;
}

/* A string, or [{ "name", "template" }]. */
static hone_code read_json(list *l, hone_arena *a, const json_t *v, const char *file, hone_err *err)
{
    if (!v || json_is_null(v)) return HONE_OK;
    if (json_is_string(v)) {
        if (strlen(json_string_value(v)) != json_string_length(v)) return HONE_FAIL(err, HONE_EINPUT, "", "%s: the chat template holds a NUL", file);
        return add(l, a, "default", hone_arena_strdup(a, json_string_value(v)), err);
    }
    size_t        i;
    const json_t *item;
    if (!json_is_array(v)) return HONE_FAIL(err, HONE_EINPUT, "", "%s: chat_template is neither a string nor a list", file);
    json_array_foreach(v, i, item) {
        const char *name = json_string_value(json_object_get(item, "name")), *text = json_string_value(json_object_get(item, "template"));
        if (!name || !*name || !text) return HONE_FAIL(err, HONE_EINPUT, "", "%s: chat template %zu has no name or no template", file, i);
        HONE_TRY(add(l, a, name, hone_arena_strdup(a, text), err));
    }
    return HONE_OK;
}

hone_code hone_hf_read_templates(hone_hf_reader *r, const char *dir, hone_err *err)
{
    list *l = HONE_ARENA_NEW(r->a, list, 1);
    char *file = hone_arena_printf(r->a, "%s/chat_template.jinja", dir);
    char *legacy = hone_arena_printf(r->a, "%s/chat_template.json", dir);
    char *more = hone_arena_printf(r->a, "%s/additional_chat_templates", dir);
    char *more2 = hone_arena_printf(r->a, "%s/chat_templates", dir);
    if (!l || !file || !legacy || !more || !more2) return HONE_NOMEM(err, "the chat templates");
    if (hone_file_exists(file)) {
        HONE_TRY(read_file(l, r->a, "default", file, err));
        HONE_TRY(read_folder(l, r->a, more, err));
        HONE_TRY(read_folder(l, r->a, more2, err));
    } else if (json_object_get(r->config, "chat_template")) {
        HONE_TRY(read_json(l, r->a, json_object_get(r->config, "chat_template"), "tokenizer_config.json", err));
    } else if (hone_file_exists(legacy)) {
        json_t *j = NULL;
        HONE_TRY(hone_json_load(legacy, &j, err));
        hone_code code = read_json(l, r->a, json_object_get(j, "chat_template"), "chat_template.json", err);
        json_decref(j);
        if (code != HONE_OK) return code;
    }
    for (size_t i = 1; i < l->n; i++) /* the default one first, the others in order */
        if (strcmp(l->items[i].name, "default") == 0) {
            hone_chat_template d = l->items[i];
            memmove(&l->items[1], &l->items[0], i * sizeof d);
            l->items[0] = d;
        }
    r->t.templates = l->items;
    r->t.n_templates = l->n;
    return HONE_OK;
}
