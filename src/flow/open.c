/* open.c - a checkpoint folder, or another source, becomes a model: config, family, tensors with roles, tokenizer. */
#include "arch/arch.h"
#include "base/file.h"
#include "base/text.h"
#include "flow/open/sources.h"
#include "formats/hf.h"
#include "formats/mlx/read.h"
#include "formats/safetensors.h"
#include <stdlib.h>

static bool ends_in(const char *s, const char *tail)
{
    size_t n = strlen(s), k = strlen(tail);
    return n >= k && strcmp(s + n - k, tail) == 0;
}

/* The folder and its name: "a/b/", "a/b/model.safetensors", "a/b/config.json" and "." all name a model. */
static hone_code find_folder(hone_model *m, const char *path, const char **dir, const char **name, hone_err *err)
{
    static const char NOT_A_MODEL[] = "name the folder that holds config.json and model.safetensors";
    char             *d = hone_arena_strdup(&m->arena, path);
    if (!d) return HONE_NOMEM(err, "a path");
    size_t n = strlen(d);
    while (n > 1 && d[n - 1] == '/') d[--n] = '\0';
    if (!hone_dir_exists(d)) {
        if (!hone_file_exists(d)) return HONE_FAIL(err, HONE_EINPUT, NOT_A_MODEL, "there is no '%s'", path);
        if (!ends_in(d, ".safetensors") && !ends_in(d, ".json") && !ends_in(d, ".onnx") && !ends_in(d, "openvino_model.xml"))
            return HONE_FAIL(err, HONE_EUNSUPPORTED, NOT_A_MODEL, "'%s' is no checkpoint folder, no .safetensors and no .gguf file", path);
        char *slash = strrchr(d, '/');
        if (slash) slash[slash == d] = '\0'; /* "/x" lies in "/" */
        else d = hone_arena_strdup(&m->arena, ".");
        if (!d) return HONE_NOMEM(err, "a path");
    }
    const char *slash = strrchr(d, '/');
    *dir = d;
    *name = slash ? slash + 1 : d;
    if (strcmp(*name, ".") == 0 || strcmp(*name, "..") == 0) {
        char *real = realpath(d, NULL);
        slash = real ? strrchr(real, '/') : NULL;
        *name = hone_arena_strdup(&m->arena, slash ? slash + 1 : "");
        free(real);
        if (!*name) return HONE_NOMEM(err, "a path");
    }
    if (!**name || !hone_utf8_valid(*name, strlen(*name))) *name = "model"; /* the name goes into files that hold UTF-8 */
    return HONE_OK;
}

/* A packed weight without its scales would convert without complaint, into nonsense. */
static hone_code check_dtypes(const hone_model *m, hone_err *err)
{
    for (size_t i = 0; i < m->n_weights; i++)
        for (size_t k = 0; k < m->weights[i].n_slices; k++) {
            const hone_tensor *t = m->weights[i].slices[k].tensor;
            char               shown[96];
            if (!hone_dtype_is_float(t->dtype))
                return HONE_FAIL(err, HONE_EUNSUPPORTED, "take the checkpoint that this one was made from: its weights are bf16, f16 or f32",
                                 "tensor '%s' is stored as %s, which is no weight without scales", hone_text_show(t->name, strlen(t->name), shown, sizeof shown),
                                 hone_dtype_name(t->dtype));
        }
    return HONE_OK;
}

/* The folder holds `file`, and none of a checkpoint's weights. */
static bool holds_only(const char *dir, const char *file)
{
    static const char *const weights[] = { "model.safetensors", "model.safetensors.index.json" };
    char                     name[4200];
    for (size_t i = 0; i < HONE_COUNT(weights); i++)
        if ((size_t)snprintf(name, sizeof name, "%s/%s", dir, weights[i]) >= sizeof name || hone_file_exists(name)) return false;
    return (size_t)snprintf(name, sizeof name, "%s/%s", dir, file) < sizeof name && hone_file_exists(name);
}

/* A folder of ours for ONNX Runtime: it has the checkpoint's config.json, and no weights but model.onnx's. */
static bool is_onnx(const char *path, const char *dir) { return ends_in(path, ".onnx") || holds_only(dir, "model.onnx"); }

/* OpenVINO's files are told apart so that the refusal names the reason, not a file that such a folder never has. */
static hone_code refuse_openvino(const char *dir, hone_err *err)
{
    if (!holds_only(dir, "openvino_model.xml")) return HONE_OK;
    return HONE_FAIL(err, HONE_EUNSUPPORTED, "convert the checkpoint that it was made from, or a GGUF, MLX or ONNX artefact of it",
                     "'%s' is a folder for OpenVINO, which hone writes but does not read back", dir);
}

/* What m->source holds becomes the model; a cause does not name the folder yet. */
static hone_code bind(hone_model *m, json_t *config, const hone_arch *arch, hone_err *err)
{
    if (hone_mlx_is(m->source, config)) HONE_TRY(hone_open_mlx(config, &arch->mlx, m, err));
    HONE_TRY(hone_arch_bind(arch, config, m, err));
    return check_dtypes(m, err);
}

static hone_code bind_checkpoint(hone_model *m, const char *path, const char *dir, json_t *config, const hone_arch *arch, hone_err *err)
{
    /* Weights or their index were named: read those; else let the opener find single file or index. */
    const char *weights = ends_in(path, ".safetensors") || ends_in(path, ".index.json") ? path : dir;
    if (!hone_file_exists(weights)) weights = dir;
    HONE_TRY(hone_safetensors_open(weights, &m->arena, &m->source, err));
    return bind(m, config, arch, err) == HONE_OK ? HONE_OK : hone_err_wrap(err, "'%s'", dir);
}

static hone_code open_in(hone_model *m, const char *path, json_t **config, hone_err *err)
{
    const char      *dir = NULL, *name = NULL;
    const hone_arch *arch;
    if (ends_in(path, ".gguf") && hone_file_exists(path)) return hone_open_gguf(path, m, err);
    HONE_TRY(find_folder(m, path, &dir, &name, err));
    HONE_TRY(refuse_openvino(dir, err));
    HONE_TRY(hone_hf_config_load(dir, config, err));
    if (hone_arch_find(*config, &arch, err) != HONE_OK) return hone_err_wrap(err, "'%s/config.json'", dir);
    if (!is_onnx(path, dir)) HONE_TRY(bind_checkpoint(m, path, dir, *config, arch, err));
    else if (hone_open_onnx(dir, *config, arch, m, err) != HONE_OK) return hone_err_wrap(err, "'%s'", dir);
    m->facts.name = name;
    m->path = dir;
    if (m->facts.kind == HONE_KIND_ENCODER) HONE_TRY(hone_hf_pooling_load(dir, hone_arch_pooling, &m->facts, err));
    return hone_hf_tokenizer_load(dir, m->facts.vocab, &m->arena, &m->tokenizer, err);
}

hone_code hone_model_open(const hone_ctx *ctx, const char *path, hone_model *m, hone_err *err)
{
    json_t *config = NULL;
    (void)ctx;
    *m = (hone_model){ 0 };
    hone_code code = open_in(m, path, &config, err);
    json_decref(config);
    if (code != HONE_OK) hone_model_close(m);
    return code;
}
