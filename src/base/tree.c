/* tree.c - one SHA-256 for a folder of files. */
#include "base/tree.h"
#include "base/arena.h"
#include "base/file.h"
#include "base/text.h"
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { DEEPEST = 16, MOST_FILES = 1 << 20 };

typedef struct listing {
    hone_arena   a;
    const char **name; /* [n] from the folder on */
    size_t       n, cap;
} listing;

static int in_byte_order(const void *x, const void *y) { return strcmp(*(const char *const *)x, *(const char *const *)y); }

static hone_code add_name(listing *l, const char *name, hone_err *err)
{
    if (l->n == MOST_FILES) return HONE_FAIL(err, HONE_EUNSUPPORTED, "name a smaller folder", "a folder has more than %d files", MOST_FILES);
    if (l->n == l->cap) {
        const char **more = HONE_ARENA_NEW(&l->a, const char *, l->cap ? 2 * l->cap : 64);
        if (!more) return HONE_NOMEM(err, "a list of files");
        if (l->n) memcpy(more, l->name, l->n * sizeof *more);
        l->name = more;
        l->cap = l->cap ? 2 * l->cap : 64;
    }
    l->name[l->n++] = name;
    return HONE_OK;
}

static hone_code list_below(listing *l, const char *root, const char *below, unsigned depth, hone_err *err)
{
    const char *dir = hone_arena_printf(&l->a, "%s/%s", root, below);
    DIR        *d = dir ? opendir(dir) : NULL;
    if (!d) return dir ? HONE_FAIL(err, HONE_ERESOURCE, "check its permissions", "cannot read folder '%s': %s", dir, strerror(errno)) : HONE_NOMEM(err, "a path");
    hone_code code = HONE_OK;
    for (const struct dirent *e; code == HONE_OK && (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        const char *name = hone_arena_printf(&l->a, "%s%s%s", below, *below ? "/" : "", e->d_name), *path = hone_arena_printf(&l->a, "%s/%s", dir, e->d_name);
        if (!name || !path) code = HONE_NOMEM(err, "a path");
        else if (hone_dir_exists(path) && depth < DEEPEST) code = list_below(l, root, name, depth + 1, err);
        else if (hone_file_exists(path)) code = add_name(l, name, err);
    }
    (void)closedir(d);
    return code;
}

static hone_code hash_listed(const listing *l, const char *root, char hex[65], hone_err *err)
{
    hone_text list = { 0 }, path = { 0 };
    char      one[65];
    hone_code code = HONE_OK;
    for (size_t i = 0; code == HONE_OK && i < l->n; i++) {
        hone_text_clear(&path);
        hone_text_addf(&path, "%s/%s", root, l->name[i]);
        code = path.failed ? HONE_NOMEM(err, "a path") : hone_sha256_file(path.ptr, one, err);
        hone_text_addf(&list, "%s  %s\n", one, l->name[i]);
    }
    if (code == HONE_OK && list.failed) code = HONE_NOMEM(err, "a digest");
    if (code == HONE_OK) code = hone_sha256((hone_bytes){ (const uint8_t *)(list.ptr ? list.ptr : ""), list.len }, hex, err);
    hone_text_release(&list);
    hone_text_release(&path);
    return code;
}

hone_code hone_sha256_tree(const char *path, char hex[65], hone_err *err)
{
    listing l = { 0 };
    if (!hone_dir_exists(path)) return hone_sha256_file(path, hex, err);
    hone_code code = list_below(&l, path, "", 0, err);
    if (code == HONE_OK && l.n) qsort(l.name, l.n, sizeof *l.name, in_byte_order);
    if (code == HONE_OK) code = hash_listed(&l, path, hex, err);
    hone_arena_release(&l.a);
    return code;
}
