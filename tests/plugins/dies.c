/* dies.c - the real llama.cpp plug-in until the deed is due: HONE_TEST_DEED is "<op>:<part of a path>", op one of open, forward.  An
 * artefact whose path has that part then takes the runtime down.  HONE_TEST_REAL is the real plug-in's file. */
#include "hone/backend.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const hone_backend *real;
static bool                doomed; /* the model that is open now */

static bool due(const char *op, const char *path)
{
    const char *deed = getenv("HONE_TEST_DEED"), *colon = deed ? strchr(deed, ':') : NULL;
    return colon && strlen(op) == (size_t)(colon - deed) && memcmp(deed, op, strlen(op)) == 0 && strstr(path, colon + 1);
}

static int open_model(const hone_backend_open *how, hone_backend_model **out, hone_backend_info *info, hone_backend_error *e)
{
    if (due("open", how->path)) {
        (void)fputs("dies.c: the roof is on fire\n", stderr);
        abort();
    }
    doomed = due("forward", how->path);
    return real->open(how, out, info, e);
}

static int forward(hone_backend_model *m, const int32_t *ids, size_t n, uint32_t pos, const uint8_t *want,
                   void (*row)(void *, size_t, const float *, size_t), void *user, hone_backend_error *e)
{
    if (doomed && n > 8) abort(); /* the host's own first call, while it opens the model, is shorter */
    return real->forward(m, ids, n, pos, want, row, user, e);
}

__attribute__((visibility("default"))) const hone_backend *hone_backend_entry(void)
{
    static hone_backend table;
    const char         *path = getenv("HONE_TEST_REAL");
    void               *lib = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    if (!lib) {
        (void)fprintf(stderr, "dies.c: %s\n", path ? dlerror() : "HONE_TEST_REAL is not set");
        return NULL;
    }
    hone_backend_entry_fn entry;
    *(void **)&entry = dlsym(lib, "hone_backend_entry");
    real = entry ? entry() : NULL;
    if (!real) return NULL;
    table = *real;
    table.open = open_model;
    table.forward = forward;
    return &table;
}
