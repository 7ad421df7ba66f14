#include "formats/files.h"
#include "base/text.h"
#include <assert.h>
#include <stdlib.h>

typedef struct file_set {
    hone_file *files;
    size_t     n;
} file_set;

const char *hone_shown(const char *name, size_t len, char buf[HONE_SHOWN]) { return hone_text_show(name, len, buf, HONE_SHOWN); }

const char *hone_path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static hone_code files_read(const hone_source *s, const hone_tensor *t, uint64_t off, void *buf, size_t n, hone_err *err)
{
    const file_set *set = s->self;
    assert(t->file < set->n && off <= t->bytes && n <= t->bytes - off);
    return hone_file_read(&set->files[t->file], t->offset + off, buf, n, err);
}

static void files_soon(const hone_source *s, const hone_tensor *t, uint64_t off, uint64_t n)
{
    const file_set *set = s->self;
    assert(t->file < set->n && off <= t->bytes && n <= t->bytes - off);
    hone_file_soon(&set->files[t->file], t->offset + off, n);
}

static void files_close(hone_source *s)
{
    file_set *set = s->self;
    for (size_t i = 0; i < set->n; i++) hone_file_close(&set->files[i]);
    set->n = 0;
}

hone_code hone_files_open(hone_arena *a, const char *const *paths, size_t n, hone_source **out, hone_err *err)
{
    hone_source *s = HONE_ARENA_NEW(a, hone_source, 1);
    file_set    *set = HONE_ARENA_NEW(a, file_set, 1);
    const char **names = HONE_ARENA_NEW(a, const char *, n);
    hone_file   *files = HONE_ARENA_NEW(a, hone_file, n);
    if (!s || !set || !names || !files) return HONE_NOMEM(err, "the list of files");
    *set = (file_set){ .files = files, .n = 0 };
    *s = (hone_source){ .read = files_read, .soon = files_soon, .close = files_close, .files = names, .n_files = n, .self = set };
    for (size_t i = 0; i < n; i++) {
        hone_code code;
        names[i] = hone_arena_strdup(a, paths[i]);
        if (!names[i]) code = HONE_NOMEM(err, "the list of files");
        else code = hone_file_open(names[i], &files[i], err);
        if (code != HONE_OK) {
            files_close(s);
            return code;
        }
        set->n++;
    }
    *out = s;
    return HONE_OK;
}

const hone_file *hone_files_get(const hone_source *s, size_t i)
{
    const file_set *set = s->self;
    assert(i < set->n);
    return &set->files[i];
}

static int by_name(const void *x, const void *y)
{
    const hone_tensor *a = x, *b = y;
    int                c = strcmp(a->name, b->name);
    return c ? c : (a->file > b->file) - (a->file < b->file); /* so that a message about twins is the same every time */
}

hone_code hone_files_adopt(hone_source *s, hone_tensor *tensors, size_t n, hone_err *err)
{
    if (n) qsort(tensors, n, sizeof *tensors, by_name);
    for (size_t i = 1; i < n; i++) {
        if (strcmp(tensors[i - 1].name, tensors[i].name) != 0) continue;
        char shown[HONE_SHOWN];
        return HONE_FAIL(err, HONE_EINPUT, "get the checkpoint again from its publisher", "tensor '%s' stands in '%s' and in '%s'",
                         hone_shown(tensors[i].name, strlen(tensors[i].name), shown),
                         hone_path_base(s->files[tensors[i - 1].file]), hone_path_base(s->files[tensors[i].file]));
    }
    s->tensors = tensors;
    s->n_tensors = n;
    return HONE_OK;
}
