#include "flow/net.h"
#include "base/file.h"
#include "formats/onnx/net.h"
#include "passes/net_fold.h"
#include <dirent.h>
#include <stdio.h>

static const char *const quants[HONE_NETQ_COUNT] = { "f32", "f16", "int8", "int8-dynamic", "int8-weights", "int4-weights" };

const char *hone_net_quant_name(hone_net_quant q) { return quants[q]; }

bool hone_net_quant_find(const char *name, hone_net_quant *out)
{
    for (int i = 0; i < HONE_NETQ_COUNT; i++)
        if (strcmp(quants[i], name) == 0) {
            *out = (hone_net_quant)i;
            return true;
        }
    return false;
}

static bool ends_in_onnx(const char *s)
{
    size_t n = strlen(s);
    return n > 5 && strcmp(s + n - 5, ".onnx") == 0;
}

/* The only .onnx file of a folder, or its model.onnx. */
static hone_code in_folder(const char *dir, hone_arena *a, const char **out, hone_err *err)
{
    const char    *found = NULL, *model = hone_arena_printf(a, "%s/model.onnx", dir);
    size_t         n = 0;
    struct dirent *e;
    if (!model) return HONE_NOMEM(err, "a path");
    if (hone_file_exists(model)) {
        *out = model;
        return HONE_OK;
    }
    DIR *d = opendir(dir);
    while (d && (e = readdir(d)))
        if (ends_in_onnx(e->d_name) && n++ == 0 && !(found = hone_arena_printf(a, "%s/%s", dir, e->d_name))) n = 2;
    if (d) (void)closedir(d);
    if (n != 1) return HONE_FAIL(err, HONE_EINPUT, "name the .onnx file itself", "'%s' holds %s .onnx file", dir, n ? "more than one" : "no");
    *out = found;
    return HONE_OK;
}

hone_code hone_net_path(const char *path, hone_arena *a, const char **out, hone_err *err)
{
    char *own = hone_arena_strdup(a, path);
    if (!own) return HONE_NOMEM(err, "a path");
    *out = own;
    if (!hone_dir_exists(path)) return HONE_OK;
    for (size_t n = strlen(own); n > 1 && own[n - 1] == '/'; n--) own[n - 1] = '\0';
    return in_folder(own, a, out, err);
}

/* A checkpoint, or what hone writes of one: config.json lies beside it, and the operators are hone's. */
static bool is_language_model(const char *file)
{
    static const char *const weights[] = { "model.safetensors", "model.safetensors.index.json" };
    char        beside[4200], producer[64] = "";
    const char *slash = strrchr(file, '/');
    int         dir = slash ? (int)(slash - file) : 1;
    (void)snprintf(beside, sizeof beside, "%.*s/config.json", dir, slash ? file : ".");
    if (!hone_file_exists(beside)) return false;
    for (size_t i = 0; i < HONE_COUNT(weights); i++) {
        (void)snprintf(beside, sizeof beside, "%.*s/%s", dir, slash ? file : ".", weights[i]);
        if (hone_file_exists(beside)) return true;
    }
    return hone_onnx_net_producer(file, producer, sizeof producer, NULL) == HONE_OK && strcmp(producer, "hone") == 0;
}

bool hone_net_is(const char *path)
{
    hone_arena  a = { 0 };
    const char *file = NULL;
    bool        is = (ends_in_onnx(path) || hone_dir_exists(path)) && hone_net_path(path, &a, &file, NULL) == HONE_OK && hone_file_exists(file) && !is_language_model(file);
    hone_arena_release(&a);
    return is;
}

hone_code hone_net_load(const hone_ctx *ctx, const char *path, hone_net *out, hone_err *err)
{
    hone_arena  a = { 0 };
    const char *file;
    (void)ctx;
    hone_code code = hone_net_path(path, &a, &file, err);
    if (code == HONE_OK) code = hone_onnx_net_open(file, out, err);
    hone_arena_release(&a);
    if (code != HONE_OK) return code;
    (void)hone_net_demote_inputs(out);
    code = hone_net_infer(out, err);
    if (code != HONE_OK) hone_net_close(out);
    return code;
}
