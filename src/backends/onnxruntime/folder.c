#include "backends/onnxruntime/folder.h"
#include "backends/onnxruntime/api.h"
#include "base/file.h"
#include "base/json.h"
#include "formats/onnx.h"
#include <stdio.h>
#include <string.h>

static int failed(hone_backend_error *e, const char *path, const hone_err *err)
{
    return hone_ort_fail(e, (int)err->code, "'%s': %s", path, err->cause);
}

const char *hone_ort_name(hone_arena *a, const char *pattern, uint32_t layer)
{
    const char *at = strstr(pattern, "%d");
    if (!at) return pattern;
    return hone_arena_printf(a, "%.*s%u%s", (int)(at - pattern), pattern, layer, at + 2);
}

/* The file name of path goes into name, what is before it into dir. */
static bool split(const char *path, hone_arena *a, const char **dir, const char **name)
{
    const char *slash = strrchr(path, '/');
    *name = slash ? slash + 1 : path;
    *dir = !slash ? "." : slash == path ? "/" : hone_arena_strndup(a, path, (size_t)(slash - path));
    return *dir != NULL;
}

/* NULL and HONE_OK when there is no such file. */
static int load(const hone_ort_folder *f, const char *name, hone_arena *a, json_t **out, hone_backend_error *e)
{
    hone_err    err = { 0 };
    const char *path = hone_arena_printf(a, "%s/%s", f->dir, name);
    *out = NULL;
    if (!path) return hone_ort_fail(e, HONE_ERESOURCE, "out of memory");
    if (!hone_file_exists(path)) return HONE_OK;
    /* Its errors name the file. */
    return hone_json_load(path, out, &err) == HONE_OK ? HONE_OK : hone_ort_fail(e, (int)err.code, "%s", err.cause);
}

/* A token id, or a list of them (the first is *eos, the second *eot). */
static void token(const json_t *obj, const char *key, int32_t *first, int32_t *second)
{
    const json_t *v = json_object_get(obj, key), *one = json_is_array(v) ? json_array_get(v, 0) : v, *two = json_array_get(v, 1);
    if (json_is_integer(one) && json_integer_value(one) >= 0 && json_integer_value(one) <= INT32_MAX) *first = (int32_t)json_integer_value(one);
    if (second && json_is_integer(two) && json_integer_value(two) >= 0 && json_integer_value(two) <= INT32_MAX)
        *second = (int32_t)json_integer_value(two);
}

/* A copy of the string under key where there is one. */
static hone_code text(const json_t *obj, const char *key, hone_arena *a, const char **out, hone_err *err)
{
    const char *s = NULL;
    HONE_TRY(hone_json_str(obj, key, &s, err));
    if (!s) return HONE_OK;
    if (!(s = hone_arena_strdup(a, s))) return HONE_NOMEM(err, "names");
    *out = s;
    return HONE_OK;
}

static hone_code read_genai(const json_t *doc, hone_arena *a, hone_ort_folder *f, const char **file, hone_err *err)
{
    const json_t *model = json_object_get(doc, "model"), *decoder = json_object_get(model, "decoder");
    const json_t *in = json_object_get(decoder, "inputs"), *out = json_object_get(decoder, "outputs");
    if (!json_is_object(decoder)) return HONE_FAIL(err, HONE_EINPUT, "", "no model.decoder: only decoders have a genai_config.json");
    HONE_TRY(text(decoder, "filename", a, file, err));
    HONE_TRY(hone_json_u32(model, "vocab_size", &f->vocab, err));
    HONE_TRY(hone_json_u32(model, "context_length", &f->context, err));
    HONE_TRY(hone_json_u32(decoder, "hidden_size", &f->width, err));
    HONE_TRY(hone_json_u32(decoder, "num_key_value_heads", &f->kv_heads, err));
    HONE_TRY(hone_json_u32(decoder, "head_size", &f->head_dim, err));
    const struct { const json_t *obj; const char *key, **to; } names[] = {
        { in, "input_ids", &f->ids },           { in, "attention_mask", &f->mask },          { in, "position_ids", &f->positions },
        { in, "past_key_names", &f->past_key }, { in, "past_value_names", &f->past_value },  { out, "logits", &f->logits },
        { out, "present_key_names", &f->present_key }, { out, "present_value_names", &f->present_value },
    };
    for (size_t i = 0; i < HONE_COUNT(names); i++)
        if (names[i].obj) HONE_TRY(text(names[i].obj, names[i].key, a, names[i].to, err));
    token(model, "bos_token_id", &f->bos, NULL);
    token(model, "eos_token_id", &f->eos, &f->eot);
    return hone_json_bool(json_object_get(doc, "search"), "past_present_share_buffer", &f->shared, err);
}

/* The checkpoint's own config.json, for what is not said elsewhere. */
static hone_code read_config(const json_t *doc, hone_ort_folder *f, hone_err *err)
{
    static const char *const keys[][2] = { { "vocab_size", "vocab_size" }, { "max_position_embeddings", "n_positions" },
                                           { "hidden_size", "n_embd" } };
    uint32_t *const to[] = { &f->vocab, &f->context, &f->width };
    for (size_t i = 0; i < HONE_COUNT(to); i++)
        for (size_t k = 0; k < 2 && *to[i] == 0; k++) HONE_TRY(hone_json_u32(doc, keys[i][k], to[i], err));
    if (f->bos < 0) token(doc, "bos_token_id", &f->bos, NULL);
    if (f->eos < 0) token(doc, "eos_token_id", &f->eos, &f->eot);
    return HONE_OK;
}

static int read_configs(hone_arena *a, hone_ort_folder *f, const char **file, hone_backend_error *e)
{
    json_t *doc = NULL;
    hone_err err = { 0 };
    int rc = load(f, "genai_config.json", a, &doc, e);
    if (rc == HONE_OK && doc && read_genai(doc, a, f, file, &err) != HONE_OK)
        rc = failed(e, hone_arena_printf(a, "%s/genai_config.json", f->dir), &err);
    json_decref(doc);
    doc = NULL;
    if (rc == HONE_OK) rc = load(f, "config.json", a, &doc, e);
    if (rc == HONE_OK && doc && read_config(doc, f, &err) != HONE_OK) rc = failed(e, hone_arena_printf(a, "%s/config.json", f->dir), &err);
    json_decref(doc);
    return rc;
}

typedef struct data_file { /* one that initializers lie in */
    const char *name;
    uint64_t    size;
} data_file;

/* Every initializer must lie in a file of this folder that is long enough: ONNX Runtime's own words for the contrary name neither. */
static int check_data(const hone_ort_folder *f, const hone_onnx_file *model, hone_arena *a, uint64_t *bytes, hone_backend_error *e)
{
    hone_err  err = { 0 };
    data_file last = { NULL, 0 };
    for (size_t i = 0; i < model->n_tensors; i++) {
        const hone_onnx_tensor *t = &model->tensors[i];
        *bytes += t->location ? t->length : t->data.len;
        if (!t->location) continue;
        if (!last.name || strcmp(last.name, t->location) != 0) {
            const char *path = NULL;
            hone_file   in = HONE_FILE_CLOSED;
            if (hone_path_inside(a, f->dir, t->location, &path, &err) != HONE_OK || hone_file_open(path, &in, &err) != HONE_OK)
                return failed(e, f->model, &err);
            last = (data_file){ t->location, in.size };
            hone_file_close(&in);
        }
        if (t->offset > last.size || t->length > last.size - t->offset)
            return hone_ort_fail(e, HONE_EINPUT, "'%s/%s' has %llu bytes, tensor '%s' ends at %llu", f->dir, t->location, (unsigned long long)last.size,
                                 t->name, (unsigned long long)(t->offset + t->length));
    }
    return HONE_OK;
}

static int read_model(hone_ort_folder *f, hone_backend_error *e)
{
    hone_arena     a = { 0 };
    hone_err       err = { 0 };
    hone_bytes     bytes;
    hone_onnx_file model;
    int            rc = HONE_OK;
    if (hone_file_slurp(f->model, ORT_MODEL_FILE_MAX, &a, &bytes, &err) != HONE_OK || hone_onnx_read(bytes, &a, &model, &err) != HONE_OK)
        rc = failed(e, f->model, &err);
    if (rc == HONE_OK) rc = check_data(f, &model, &a, &f->weights_bytes, e);
    if (rc == HONE_OK) f->n_stream = model.n_stream;
    hone_arena_release(&a);
    return rc;
}

int hone_ort_folder_read(const char *path, hone_arena *a, hone_ort_folder *out, hone_backend_error *e)
{
    hone_ort_folder f = { .dir = hone_arena_strdup(a, path), .ids = "input_ids", .mask = "attention_mask", .positions = "position_ids", .types = "token_type_ids",
                          .logits = "logits", .hidden = "last_hidden_state", .past_key = "past_key_values.%d.key",
                          .past_value = "past_key_values.%d.value", .present_key = "present.%d.key", .present_value = "present.%d.value",
                          .bos = -1, .eos = -1, .eot = -1 };
    hone_err        err = { 0 };
    const char     *named = NULL, *file = "model.onnx";
    if (!f.dir || (!hone_dir_exists(path) && !split(f.dir, a, &f.dir, &named))) return hone_ort_fail(e, HONE_ERESOURCE, "out of memory");
    if (named && !hone_file_exists(path)) return hone_ort_fail(e, HONE_EINPUT, "there is no '%s'", path);
    int rc = read_configs(a, &f, &file, e);
    if (rc != HONE_OK) return rc;
    if (named) file = named;
    if (hone_path_inside(a, f.dir, file, &f.model, &err) != HONE_OK) return failed(e, path, &err);
    if (!hone_file_exists(f.model)) return hone_ort_fail(e, HONE_EINPUT, "there is no '%s'", f.model);
    rc = read_model(&f, e);
    if (rc == HONE_OK) *out = f;
    return rc;
}
