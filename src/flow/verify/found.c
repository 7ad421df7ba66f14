/* found.c - what lies where an artefact is said to be: its files, its format, its recipe. */
#include "flow/verify/parts.h"
#include "base/text.h"
#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>

#define RECIPE_MAX (1u << 26) /* bytes; a plan of every tensor stands in it */
#define SCANNED    (1u << 20) /* bytes of a damaged GGUF file: the recipe follows the general keys */

static const char AN_ARTEFACT[] = "name a .gguf file or the folder that hone convert wrote";

static bool ends_in(const char *s, const char *tail)
{
    size_t n = strlen(s), k = strlen(tail);
    return n >= k && strcmp(s + n - k, tail) == 0;
}

static int by_name(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

/* Length of what stands before -00001-of-00003.gguf; 0: the name is not that of a part. */
static size_t prefix_of(const char *name)
{
    const size_t tail = strlen("-00001-of-00003.gguf");
    if (fnmatch("?*-[0-9][0-9][0-9][0-9][0-9]-of-[0-9][0-9][0-9][0-9][0-9].gguf", name, 0) != 0) return 0;
    return strlen(name) - tail;
}

static hone_code list_folder(const char *dir, hone_arena *a, hone_found *out, hone_err *err)
{
    size_t       n = 0, cap = 32;
    const char **names = HONE_ARENA_NEW(a, const char *, cap);
    DIR         *d = opendir(dir);
    if (!d) return HONE_FAIL(err, HONE_ERESOURCE, "check the path", "cannot read folder '%s': %s", dir, strerror(errno));
    for (const struct dirent *e; names && (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        if (n == cap) {
            const char **more = HONE_ARENA_NEW(a, const char *, 2 * cap);
            if (more) memcpy(more, names, n * sizeof *more);
            names = more;
            cap *= 2;
        }
        if (names && !(names[n++] = hone_arena_strdup(a, e->d_name))) names = NULL;
    }
    (void)closedir(d);
    if (!names) return HONE_NOMEM(err, "a list of files");
    qsort(names, n, sizeof *names, by_name);
    out->names = names;
    out->n_names = n;
    return HONE_OK;
}

static bool holds(const hone_found *f, const char *name)
{
    for (size_t i = 0; i < f->n_names; i++)
        if (strcmp(f->names[i], name) == 0) return true;
    return false;
}

/* Of the parts in a folder those with this prefix; all are listed already. */
static hone_code keep_parts(hone_found *f, size_t prefix, const char *name, hone_arena *a, hone_err *err)
{
    size_t       n = 0;
    const char **names = HONE_ARENA_NEW(a, const char *, f->n_names + 1);
    f->prefix = hone_arena_strndup(a, name, prefix);
    if (!names || !f->prefix) return HONE_NOMEM(err, "a list of files");
    for (size_t i = 0; i < f->n_names; i++)
        if (f->whole_dir || (prefix_of(f->names[i]) == prefix && strncmp(f->names[i], name, prefix) == 0)) names[n++] = f->names[i];
    f->names = names;
    f->n_names = n;
    f->gguf = true;
    return HONE_OK;
}

/* ---- the recipe ---- */

/* The recipe inside a GGUF header that is damaged, or whose key is: it is text that begins as ours does. */
static hone_code scan(const char *path, hone_arena *a, hone_bytes *out, hone_err *err)
{
    static const char BEGIN[] = "{\"digest\":\"";
    hone_file         file = HONE_FILE_CLOSED;
    json_error_t      je;
    HONE_TRY(hone_file_open(path, &file, err));
    size_t    n = file.size < SCANNED ? (size_t)file.size : SCANNED;
    uint8_t  *head = hone_arena_alloc(a, n + 1);
    hone_code code = head ? hone_file_read(&file, 0, head, n, err) : HONE_NOMEM(err, "a GGUF header");
    hone_file_close(&file);
    HONE_TRY(code);
    const uint8_t *at = memmem(head, n, BEGIN, sizeof BEGIN - 1);
    if (!at) return HONE_OK;
    json_t     *doc = json_loadb((const char *)at, n - (size_t)(at - head), JSON_DISABLE_EOF_CHECK, &je);
    const char *schema = json_string_value(json_object_get(doc, "schema"));
    if (schema && strcmp(schema, HONE_RECIPE_SCHEMA) == 0 && je.position > 0) *out = (hone_bytes){ at, (size_t)je.position };
    json_decref(doc);
    return HONE_OK;
}

static hone_code gguf_recipe(const char *path, hone_arena *a, hone_found *f, hone_err *err)
{
    hone_gguf g;
    hone_err  e = { 0 };
    if (hone_gguf_open(path, a, &g, &e) != HONE_OK) {
        if (e.code != HONE_EINPUT && e.code != HONE_EUNSUPPORTED) {
            if (err) *err = e;
            return e.code;
        }
        HONE_TRY(scan(path, a, &f->recipe, err));
        if (f->recipe.len) return HONE_OK;
        if (err) *err = e;
        return e.code;
    }
    const hone_gguf_value *v = hone_gguf_find(&g, HONE_RECIPE_KEY);
    if (v && v->type == HONE_GGUF_STRING) f->recipe = (hone_bytes){ (const uint8_t *)v->as.s.ptr, (size_t)v->as.s.len };
    g.source->close(g.source);
    return f->recipe.len ? HONE_OK : scan(path, a, &f->recipe, err);
}

static hone_code first_part(const hone_found *f, hone_arena *a, const char **path, hone_err *err)
{
    size_t n = strlen(f->prefix);
    for (size_t i = 0; i < f->n_names; i++) {
        if (prefix_of(f->names[i]) != n || strncmp(f->names[i], f->prefix, n) != 0 || strncmp(f->names[i] + n, "-00001-of-", 10) != 0) continue;
        *path = hone_arena_printf(a, "%s/%s", f->dir, f->names[i]);
        return *path ? HONE_OK : HONE_NOMEM(err, "a path");
    }
    return HONE_FAIL(err, HONE_EINPUT, "get all parts", "the first part of '%s/%s-...gguf' is missing", f->dir, f->prefix);
}

static hone_code open_parts(hone_found *f, const char *name, hone_arena *a, hone_err *err)
{
    const char *first = NULL;
    HONE_TRY(keep_parts(f, prefix_of(name), name, a, err));
    HONE_TRY(first_part(f, a, &first, err));
    return gguf_recipe(first, a, f, err);
}

/* A folder with hone.json, or one of GGUF parts; anything else has no recipe. */
static hone_code open_folder(hone_found *f, hone_arena *a, hone_err *err)
{
    HONE_TRY(list_folder(f->dir, a, f, err));
    if (holds(f, HONE_RECIPE_FILE)) {
        const char *path = hone_arena_printf(a, "%s/%s", f->dir, HONE_RECIPE_FILE);
        return path ? hone_file_slurp(path, RECIPE_MAX, a, &f->recipe, err) : HONE_NOMEM(err, "a path");
    }
    for (size_t i = 0; i < f->n_names; i++)
        if (prefix_of(f->names[i])) return open_parts(f, f->names[i], a, err);
    return HONE_OK;
}

hone_code hone_found_open(const char *path, hone_arena *a, hone_found *out, hone_err *err)
{
    hone_found f = { .path = path };
    char      *dir = hone_arena_strdup(a, path);
    if (!dir) return HONE_NOMEM(err, "a path");
    size_t n = strlen(dir);
    while (n > 1 && dir[n - 1] == '/') dir[--n] = '\0';
    if (hone_dir_exists(dir)) {
        f.dir = dir;
        f.whole_dir = true;
        HONE_TRY(open_folder(&f, a, err));
        *out = f;
        return HONE_OK;
    }
    if (!hone_file_exists(dir)) return HONE_FAIL(err, HONE_EINPUT, AN_ARTEFACT, "there is no '%s'", path);
    char       *slash = strrchr(dir, '/');
    const char *name = slash ? slash + 1 : dir;
    f.dir = slash == dir ? "/" : slash ? hone_arena_strndup(a, dir, (size_t)(slash - dir)) : ".";
    if (!f.dir) return HONE_NOMEM(err, "a path");
    if (!ends_in(name, ".gguf")) {
        f.whole_dir = true;
        HONE_TRY(open_folder(&f, a, err));
    } else if (prefix_of(name)) {
        HONE_TRY(list_folder(f.dir, a, &f, err));
        HONE_TRY(open_parts(&f, name, a, err));
    } else {
        const char **one = HONE_ARENA_NEW(a, const char *, 1);
        if (!one) return HONE_NOMEM(err, "a path");
        one[0] = path;
        f.dir = NULL;
        f.names = one;
        f.n_names = 1;
        f.gguf = true;
        HONE_TRY(gguf_recipe(path, a, &f, err));
    }
    *out = f;
    return HONE_OK;
}
