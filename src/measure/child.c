#include "measure/child.h"
#include "base/file.h"
#include "base/text.h"
#include <string.h>

hone_code hone_child_backend(const char *path, const char **out, hone_err *err)
{
    static const struct { const char *ending, *backend; } known[] = { { ".gguf", "llamacpp" } };
    size_t len = strlen(path);
    char   shown[200];
    if (!hone_file_exists(path))
        return HONE_FAIL(err, HONE_EINPUT, "check the path", hone_dir_exists(path) ? "'%s' is a folder, not an artefact" : "there is no '%s'",
                         hone_text_show(path, len, shown, sizeof shown));
    for (size_t i = 0; i < HONE_COUNT(known); i++) {
        size_t n = strlen(known[i].ending);
        if (len > n && strcmp(path + len - n, known[i].ending) == 0) {
            *out = known[i].backend;
            return HONE_OK;
        }
    }
    return HONE_FAIL(err, HONE_EUNSUPPORTED, "give a .gguf file, as `hone convert` writes it", "no runtime opens '%s'",
                     hone_text_show(path, len, shown, sizeof shown));
}

hone_code hone_child_open(const hone_ctx *ctx, const char *backend, const hone_backend_open *how, hone_child *out, hone_err *err)
{
    hone_child c = { 0 };
    if (!backend) HONE_TRY(hone_child_backend(how->path, &backend, err));
    HONE_TRY(hone_runner_start(ctx, &(hone_runner_options){ .backend = backend }, &c.runner, err));
    hone_code code = hone_runner_open(c.runner, how, &c.info, &c.load_ms, err);
    if (code != HONE_OK) {
        char shown[200];
        hone_runner_stop(c.runner);
        (void)hone_err_wrap(err, "'%s'", hone_text_show(how->path, strlen(how->path), shown, sizeof shown));
        return code;
    }
    *out = c;
    return HONE_OK;
}

void hone_child_close(hone_child *c)
{
    if (!c) return;
    hone_runner_stop(c->runner);
    *c = (hone_child){ 0 };
}
