#include "measure/artefact.h"
#include "arch/arch.h"
#include "base/file.h"
#include "base/text.h"
#include "formats/gguf.h"
#include "formats/hf.h"
#include "formats/mlx/read.h"
#include "formats/safetensors.h"
#include "measure/artefact/precision.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One row per format: who runs it. */
static const struct { const char *format, *backend, *consumer, *deployed; } runs[] = {
    { "gguf", "llamacpp", "llama.cpp", NULL },
    { "onnx", "onnxruntime", "onnxruntime", "onnxruntime-genai" },
    { "openvino", "openvino", "openvino", "openvino-genai" },
    { "mlx", "mlx", "mlx", "mlx_lm" },
};

static const char KNOWN[] = "give a .gguf file, or a folder (or .onnx, .xml file) for ONNX Runtime, OpenVINO or MLX, as `hone convert` writes them";

static void set_format(hone_artefact *x, const char *format)
{
    for (size_t i = 0; i < HONE_COUNT(runs); i++)
        if (strcmp(runs[i].format, format) == 0) {
            x->format = runs[i].format;
            x->backend = runs[i].backend;
            x->consumer = runs[i].consumer;
            x->deployed = runs[i].deployed;
        }
}

static bool ends(const char *s, const char *ending)
{
    size_t n = strlen(s), k = strlen(ending);
    return n > k && strcmp(s + n - k, ending) == 0;
}

/* "-00002-of-00005.gguf" */
static bool part_of(const char *path, unsigned *no, unsigned *count)
{
    static const char like[] = "-00001-of-00002.gguf";
    size_t            n = strlen(path), k = sizeof like - 1;
    char              end = 0;
    return n > k && sscanf(path + n - k, "-%5u-of-%5u.ggu%c", no, count, &end) == 3 && end == 'f' && *no >= 1 && *count >= *no;
}

/* ---- files ---- */

typedef struct listing {
    const char **name;
    size_t       n;
} listing;

static int by_bytes(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

#define MOST_FILES 4096u

/* Names of the plain files in a folder, in byte order. */
static hone_code list_folder(const char *dir, hone_arena *a, listing *out, hone_err *err)
{
    DIR        *d = opendir(dir);
    char        shown[200];
    hone_code   code = HONE_OK;
    const char *path;
    *out = (listing){ .name = HONE_ARENA_NEW(a, const char *, MOST_FILES) };
    if (!d) return HONE_FAIL(err, HONE_ERESOURCE, "check its permissions", "cannot open folder '%s': %s", hone_text_show(dir, strlen(dir), shown, sizeof shown), strerror(errno));
    if (!out->name) code = HONE_NOMEM(err, "a folder");
    for (struct dirent *e; code == HONE_OK && (e = readdir(d));) {
        if (e->d_name[0] == '.') continue;
        if (!(path = hone_arena_printf(a, "%s/%s", dir, e->d_name))) code = HONE_NOMEM(err, "a path");
        else if (!hone_file_exists(path)) continue;
        else if (out->n == MOST_FILES) code = HONE_FAIL(err, HONE_EUNSUPPORTED, KNOWN, "folder '%s' has more than %u files", hone_text_show(dir, strlen(dir), shown, sizeof shown), MOST_FILES);
        else if (!(out->name[out->n++] = hone_arena_strdup(a, e->d_name))) code = HONE_NOMEM(err, "a path");
    }
    (void)closedir(d);
    if (code == HONE_OK && out->n) qsort(out->name, out->n, sizeof *out->name, by_bytes);
    return code;
}

static const char *find(const listing *l, const char *name)
{
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->name[i], name) == 0) return l->name[i];
    return NULL;
}

static const char *find_ending(const listing *l, const char *ending, size_t *n)
{
    const char *first = NULL;
    *n = 0;
    for (size_t i = 0; i < l->n; i++)
        if (ends(l->name[i], ending) && (*n)++ == 0) first = l->name[i];
    return first;
}

static hone_code take_files(hone_artefact *x, const char *dir, const listing *l, hone_arena *a, hone_err *err)
{
    const char **files = HONE_ARENA_NEW(a, const char *, l->n + 1);
    if (!files) return HONE_NOMEM(err, "a folder");
    for (size_t i = 0; i < l->n; i++) {
        hone_file f;
        files[i] = dir ? hone_arena_printf(a, "%s/%s", dir, l->name[i]) : l->name[i];
        if (!files[i]) return HONE_NOMEM(err, "a path");
        HONE_TRY(hone_file_open(files[i], &f, err));
        x->bytes += f.size;
        hone_file_close(&f);
    }
    x->files = files;
    x->n_files = l->n;
    return HONE_OK;
}

/* ---- what lies there ---- */

static hone_code is_mlx(const char *dir, const listing *l, hone_arena *a, bool *out, hone_err *err)
{
    json_t      *config = NULL;
    hone_source *s = NULL;
    size_t       n;
    *out = false;
    if (!find_ending(l, ".safetensors", &n) || !find(l, "config.json")) return HONE_OK;
    HONE_TRY(hone_hf_config_load(dir, &config, err));
    hone_code code = hone_safetensors_open(dir, a, &s, err);
    if (code == HONE_OK) {
        *out = hone_mlx_is(s, config);
        s->close(s);
    }
    json_decref(config);
    return code;
}

static hone_code open_gguf(const char *path, hone_arena *a, hone_artefact *x, hone_err *err)
{
    unsigned no = 1, count = 1;
    bool     parts = part_of(path, &no, &count);
    listing  l = { .name = HONE_ARENA_NEW(a, const char *, count) };
    if (!l.name) return HONE_NOMEM(err, "the parts");
    for (unsigned i = 1; i <= count; i++) {
        const char *name = parts ? hone_arena_printf(a, "%.*s-%05u-of-%05u.gguf", (int)(strlen(path) - 20), path, i, count) : hone_arena_strdup(a, path);
        if (!name) return HONE_NOMEM(err, "a path");
        l.name[l.n++] = name;
    }
    set_format(x, "gguf");
    x->opened = x->model = l.name[0];
    return take_files(x, NULL, &l, a, err);
}

/* A lone model file: it and the files that hold its weights beside it. */
static hone_code open_graph_file(const char *path, bool onnx, hone_arena *a, hone_artefact *x, hone_err *err)
{
    const char *slash = strrchr(path, '/');
    size_t      stem = strlen(path) - (onnx ? 5 : 4);
    const char *beside[] = { onnx ? hone_arena_printf(a, "%s.data", path) : hone_arena_printf(a, "%.*s.bin", (int)stem, path),
                             onnx ? hone_arena_printf(a, "%s_data", path) : "" };
    listing     l = { .name = HONE_ARENA_NEW(a, const char *, 3) };
    x->folder = slash ? hone_arena_strndup(a, path, (size_t)(slash - path)) : ".";
    if (!l.name || !x->folder || !beside[0] || !beside[1]) return HONE_NOMEM(err, "a path");
    set_format(x, onnx ? "onnx" : "openvino");
    l.name[l.n++] = x->opened = x->model = x->path;
    for (size_t i = 0; i < HONE_COUNT(beside); i++)
        if (hone_file_exists(beside[i])) l.name[l.n++] = beside[i];
    qsort(l.name, l.n, sizeof *l.name, by_bytes);
    return take_files(x, NULL, &l, a, err);
}

/* The .onnx that genai_config.json names, else model.onnx, else the only one. */
static hone_code find_onnx(const char *dir, const listing *l, hone_arena *a, const char **out, hone_err *err)
{
    size_t      n;
    const char *name = find(l, "model.onnx"), *first = find_ending(l, ".onnx", &n), *path = hone_arena_printf(a, "%s/genai_config.json", dir);
    json_t     *config = NULL;
    char        shown[200];
    if (!path) return HONE_NOMEM(err, "a path");
    if (find(l, "genai_config.json")) {
        HONE_TRY(hone_json_load(path, &config, err));
        const char *said = json_string_value(json_object_get(json_object_get(json_object_get(config, "model"), "decoder"), "filename"));
        const char *there = said ? find(l, said) : NULL;
        if (there) name = there;
        json_decref(config);
    }
    if (!name && n == 1) name = first;
    if (!name)
        return HONE_FAIL(err, HONE_EINPUT, "name the .onnx file", n ? "folder '%s' holds %zu .onnx files" : "folder '%s' holds %zu .onnx file, and genai_config.json names none that is there",
                         hone_text_show(dir, strlen(dir), shown, sizeof shown), n);
    *out = hone_arena_printf(a, "%s/%s", dir, name);
    return *out ? HONE_OK : HONE_NOMEM(err, "a path");
}

static hone_code open_folder(const char *path, hone_arena *a, hone_artefact *x, hone_err *err)
{
    listing l;
    size_t  n = 0, len = strlen(path);
    bool    mlx = false;
    char    shown[200];
    while (len > 1 && path[len - 1] == '/') len--;
    const char *dir = hone_arena_strndup(a, path, len);
    if (!dir) return HONE_NOMEM(err, "a path");
    HONE_TRY(list_folder(dir, a, &l, err));
    x->opened = x->folder = dir;
    (void)hone_text_show(dir, len, shown, sizeof shown);
    if (find(&l, "openvino_model.xml")) {
        set_format(x, "openvino");
        x->model = hone_arena_printf(a, "%s/openvino_model.xml", dir);
        return x->model ? take_files(x, dir, &l, a, err) : HONE_NOMEM(err, "a path");
    }
    if (find(&l, "genai_config.json") || find_ending(&l, ".onnx", &n)) {
        set_format(x, "onnx");
        HONE_TRY(find_onnx(dir, &l, a, &x->model, err));
        return take_files(x, dir, &l, a, err);
    }
    const char *gguf = find_ending(&l, ".gguf", &n);
    unsigned    no, count;
    if (gguf && (n == 1 || (part_of(gguf, &no, &count) && count == n))) {
        const char *file = hone_arena_printf(a, "%s/%s", dir, gguf);
        x->folder = NULL;
        return file ? open_gguf(file, a, x, err) : HONE_NOMEM(err, "a path");
    }
    if (gguf) return HONE_FAIL(err, HONE_EINPUT, "name one of them", "folder '%s' holds %zu .gguf files", shown, n);
    HONE_TRY(is_mlx(dir, &l, a, &mlx, err));
    if (mlx) {
        set_format(x, "mlx");
        x->model = dir;
        return take_files(x, dir, &l, a, err);
    }
    if (find(&l, "config.json") && find_ending(&l, ".safetensors", &n))
        return HONE_FAIL(err, HONE_EUNSUPPORTED, "make an artefact of it with `hone convert`", "'%s' is a checkpoint, not an artefact", shown);
    return HONE_FAIL(err, HONE_EUNSUPPORTED, KNOWN, "'%s' is a folder, not an artefact: it holds no model that a runtime here opens", shown);
}

hone_code hone_artefact_open(const char *path, hone_arena *a, hone_artefact *out, hone_err *err)
{
    hone_artefact x = { 0 };
    char          shown[200];
    if (!(x.path = hone_arena_strdup(a, path))) return HONE_NOMEM(err, "a path");
    if (hone_dir_exists(path)) HONE_TRY(open_folder(path, a, &x, err));
    else if (!hone_file_exists(path)) return HONE_FAIL(err, HONE_EINPUT, "check the path", "there is no '%s'", hone_text_show(path, strlen(path), shown, sizeof shown));
    else if (ends(path, ".gguf")) HONE_TRY(open_gguf(path, a, &x, err));
    else if (ends(path, ".onnx")) HONE_TRY(open_graph_file(path, true, a, &x, err));
    else if (ends(path, ".xml")) HONE_TRY(open_graph_file(path, false, a, &x, err));
    else return HONE_FAIL(err, HONE_EUNSUPPORTED, KNOWN, "no runtime opens '%s'", hone_text_show(path, strlen(path), shown, sizeof shown));
    *out = x;
    return HONE_OK;
}

hone_code hone_artefact_digest(const hone_artefact *x, char hex[65], hone_err *err)
{
    hone_text list = { 0 };
    char      one[65];
    hone_code code = HONE_OK;
    if (x->n_files == 1) return hone_sha256_file(x->files[0], hex, err);
    for (size_t i = 0; code == HONE_OK && i < x->n_files; i++) {
        const char *slash = strrchr(x->files[i], '/');
        code = hone_sha256_file(x->files[i], one, err);
        hone_text_addf(&list, "%s  %s\n", one, slash ? slash + 1 : x->files[i]);
    }
    if (code == HONE_OK && (list.failed || !list.ptr)) code = HONE_NOMEM(err, "a digest");
    if (code == HONE_OK) code = hone_sha256((hone_bytes){ (const uint8_t *)list.ptr, list.len }, hex, err);
    hone_text_release(&list);
    return code;
}

/* ---- what it is ---- */

hone_code hone_artefact_facts(const hone_artefact *x, hone_arena *a, hone_facts *out, bool *known, hone_err *err)
{
    json_t          *config = NULL;
    const hone_arch *arch;
    const char      *path = x->folder ? hone_arena_printf(a, "%s/config.json", x->folder) : NULL;
    *known = false;
    if (x->folder && !path) return HONE_NOMEM(err, "a path");
    if (!path || !hone_file_exists(path)) return HONE_OK;
    HONE_TRY(hone_hf_config_load(x->folder, &config, err));
    /* How the weights are held is the runtime's affair here; as a checkpoint such a folder is refused. */
    (void)json_object_del(config, "quantization_config");
    (void)json_object_del(config, "quantization");
    hone_code code = hone_arch_find(config, &arch, err);
    if (code == HONE_OK) code = hone_arch_facts(arch, config, a, out, err);
    json_decref(config);
    *known = code == HONE_OK;
    return code == HONE_OK ? code : hone_err_wrap(err, "'%s'", x->path);
}

static hone_code gguf_encoder(const char *path, bool *out, hone_err *err)
{
    hone_arena a = { 0 };
    hone_gguf  g;
    hone_code  code = hone_gguf_open(path, &a, &g, err);
    if (code == HONE_OK) {
        const hone_gguf_value *arch = hone_gguf_find(&g, "general.architecture");
        char                   key[128];
        if (arch && arch->type == HONE_GGUF_STRING && arch->as.s.len < 64) {
            (void)snprintf(key, sizeof key, "%.*s.attention.causal", (int)arch->as.s.len, arch->as.s.ptr);
            const hone_gguf_value *causal = hone_gguf_find(&g, key);
            *out = causal && causal->type == HONE_GGUF_BOOL && !causal->as.b;
        }
        g.source->close(g.source);
    }
    hone_arena_release(&a);
    return code;
}

hone_code hone_artefact_encoder(const hone_artefact *x, bool *out, hone_err *err)
{
    hone_arena a = { 0 };
    hone_facts f;
    bool       known;
    *out = false;
    if (!x->folder) return gguf_encoder(x->model, out, err);
    /* A family that is not ours is no reason to refuse what its runtime may run. */
    hone_err  why = { 0 };
    hone_code code = hone_artefact_facts(x, &a, &f, &known, &why);
    if (code == HONE_OK && known) *out = f.kind == HONE_KIND_ENCODER;
    hone_arena_release(&a);
    if (code == HONE_OK || code == HONE_EUNSUPPORTED) return HONE_OK;
    if (err) *err = why;
    return code;
}

hone_code hone_artefact_precision(const hone_artefact *x, char *out, size_t cap, hone_err *err)
{
    hone_loss worst = HONE_LOSS_NONE;
    if (strcmp(x->format, "gguf") == 0) HONE_TRY(hone_loss_gguf(x->model, &worst, err));
    else if (strcmp(x->format, "mlx") == 0) HONE_TRY(hone_loss_mlx(x->folder, &worst, err));
    else if (strcmp(x->format, "onnx") == 0) HONE_TRY(hone_loss_onnx(x->model, &worst, err));
    else HONE_TRY(hone_loss_openvino(x->model, &worst, err));
    (void)snprintf(out, cap, "%s", hone_loss_name(worst));
    return HONE_OK;
}

const char *hone_artefact_name(const char *path, char *out, size_t cap)
{
    static const char *const plain[] = { "model.onnx", "openvino_model.xml" };
    size_t                   n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    for (int up = 0; up < 2; up++) {
        size_t at = n;
        while (at > 0 && path[at - 1] != '/') at--;
        bool dull = false;
        for (size_t i = 0; i < HONE_COUNT(plain); i++) dull = dull || (n - at == strlen(plain[i]) && memcmp(path + at, plain[i], n - at) == 0);
        if (dull && at > 1 && up == 0) {
            n = at - 1;
            continue;
        }
        if (n - at > 5 && memcmp(path + n - 5, ".gguf", 5) == 0) n -= 5;
        else if (n - at > 5 && memcmp(path + n - 5, ".onnx", 5) == 0) n -= 5;
        return hone_text_show(path + at, n - at, out, cap);
    }
    return hone_text_show(path, n, out, cap);
}
