/* sides.c - the small files of a source: copied from its folder, or taken from what stands in for them. */
#include "flow/convert/output.h"
#include "flow/recipe.h"

static const hone_side_file *find(const hone_model *m, const char *name)
{
    for (size_t i = 0; i < m->n_sides; i++)
        if (strcmp(m->sides[i].name, name) == 0) return &m->sides[i];
    return NULL;
}

/* A file of the source's folder; *out NULL when there is none. */
static hone_code path_of(const hone_model *m, const char *name, hone_arena *a, const char **out, hone_err *err)
{
    *out = hone_arena_printf(a, "%s/%s", m->path, name);
    if (!*out) return HONE_NOMEM(err, "a path");
    if (!hone_file_exists(*out)) *out = NULL;
    return HONE_OK;
}

hone_planned_file *hone_plan_bytes(hone_output *o, const char *name, hone_bytes bytes)
{
    hone_planned_file *f = &o->files[o->n_files++];
    *f = (hone_planned_file){ .name = name, .head = bytes, .total = bytes.len };
    return f;
}

hone_code hone_plan_sides(const hone_model *m, const char *const *names, size_t n, hone_arena *a, hone_output *o, hone_err *err)
{
    for (size_t i = 0; i < n; i++) {
        const hone_side_file *made = find(m, names[i]);
        const char           *path = NULL;
        hone_file             file = HONE_FILE_CLOSED;
        if (made) {
            (void)hone_plan_bytes(o, names[i], made->bytes);
            continue;
        }
        HONE_TRY(path_of(m, names[i], a, &path, err));
        if (!path) continue;
        HONE_TRY(hone_file_open(path, &file, err));
        o->files[o->n_files++] = (hone_planned_file){ .name = names[i], .copy = path, .total = file.size };
        hone_file_close(&file);
    }
    return HONE_OK;
}

hone_code hone_plan_recipe(const hone_model *m, const hone_convert_options *opt, hone_arena *a, hone_output *o, hone_err *err)
{
    hone_bytes text;
    HONE_TRY(hone_recipe_text(m, opt, o->format, o->quant, false, a, &text, err));
    (void)hone_plan_bytes(o, HONE_RECIPE_FILE, text);
    return HONE_OK;
}

hone_code hone_source_document(const hone_model *m, const char *name, json_t **out, hone_err *err)
{
    const hone_side_file *made = find(m, name);
    hone_arena            a = { 0 };
    const char           *path = NULL;
    if (made) return hone_json_parse(made->bytes, name, out, err);
    hone_code code = path_of(m, name, &a, &path, err);
    if (code == HONE_OK && path) code = hone_json_load(path, out, err);
    hone_arena_release(&a);
    return code;
}
