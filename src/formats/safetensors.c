#include "formats/safetensors.h"
#include "base/json.h"
#include "formats/files.h"
#include "formats/safetensors/head.h"
#include <inttypes.h>
#include <stdlib.h>

static const char ONE[] = "model.safetensors", INDEX[] = "model.safetensors.index.json";
static const char AGAIN[] = "download the checkpoint again from its publisher";

/* Reads and checks the header of file i; its tensors come in file order. */
static hone_code read_header(const hone_source *s, size_t i, hone_arena *a, hone_tensor **tensors, size_t *n, hone_err *err)
{
    const hone_file *f = hone_files_get(s, i);
    uint8_t          first[9] = { 0 };
    size_t           got = f->size < sizeof first ? (size_t)f->size : sizeof first;
    hone_st_head     h;
    uint8_t         *buf = NULL;
    hone_code        code = hone_file_read(f, 0, first, got, err);
    if (code == HONE_OK) code = hone_st_head_find((hone_bytes){ first, got }, f->size, &h, err);
    if (code == HONE_OK && !(buf = malloc((size_t)h.data_off))) code = HONE_NOMEM(err, "a safetensors header");
    if (code == HONE_OK) code = hone_file_read(f, 0, buf, (size_t)h.data_off, err);
    if (code == HONE_OK) code = hone_safetensors_parse((hone_bytes){ buf, (size_t)h.data_off }, f->size, a, tensors, n, err);
    free(buf);
    if (code != HONE_OK) return code == HONE_ERESOURCE ? code : (hone_err_wrap(err, "'%s'", f->path), code);
    for (size_t k = 0; k < *n; k++) (*tensors)[k].file = (uint32_t)i;
    return HONE_OK;
}

/* Every file's tensors in one list. */
static hone_code read_all(hone_source *s, hone_arena *a, hone_err *err)
{
    hone_tensor **part = HONE_ARENA_NEW(a, hone_tensor *, s->n_files);
    size_t       *count = HONE_ARENA_NEW(a, size_t, s->n_files);
    size_t        total = 0;
    if (!part || !count) return HONE_NOMEM(err, "the list of tensors");
    for (size_t i = 0; i < s->n_files; i++) {
        HONE_TRY(read_header(s, i, a, &part[i], &count[i], err));
        total += count[i];
    }
    hone_tensor *all = s->n_files == 1 ? part[0] : HONE_ARENA_NEW(a, hone_tensor, total);
    if (!all) return HONE_NOMEM(err, "the list of tensors");
    for (size_t i = 0, at = 0; s->n_files > 1 && i < s->n_files; at += count[i++])
        if (count[i]) memcpy(all + at, part[i], count[i] * sizeof *all);
    return hone_files_adopt(s, all, total, err);
}

typedef struct shard_map { /* of an index: which tensor the index promises in which file */
    const char **files; /* [n_files] names as the index spells them, sorted, unique; borrowed from the JSON */
    size_t       n_files;
    json_t      *map; /* borrowed */
} shard_map;

static int by_text(const void *x, const void *y) { return strcmp(*(const char *const *)x, *(const char *const *)y); }

static hone_code collect_shards(const json_t *index, hone_arena *a, shard_map *out, hone_err *err)
{
    json_t *map = json_object_get(index, "weight_map");
    if (!json_is_object(map)) return HONE_FAIL(err, HONE_EINPUT, AGAIN, "has no object \"weight_map\"");
    size_t       n = json_object_size(map), k = 0, kept = 0;
    const char **names = HONE_ARENA_NEW(a, const char *, n);
    if (!names) return HONE_NOMEM(err, "the list of shards");
    const char *key;
    json_t     *v;
    json_object_foreach(map, key, v)
    {
        char buf[HONE_SHOWN];
        if (!json_is_string(v) || strlen(json_string_value(v)) != json_string_length(v))
            return HONE_FAIL(err, HONE_EINPUT, AGAIN, "\"weight_map\" gives no file name for '%s'", hone_shown(key, strlen(key), buf));
        names[k++] = json_string_value(v);
    }
    if (n == 0) return HONE_FAIL(err, HONE_EINPUT, AGAIN, "\"weight_map\" is empty");
    qsort(names, n, sizeof *names, by_text);
    for (k = 0; k < n; k++)
        if (kept == 0 || strcmp(names[kept - 1], names[k]) != 0) names[kept++] = names[k];
    *out = (shard_map){ .files = names, .n_files = kept, .map = map };
    return HONE_OK;
}

/* Both ways: each promise is kept by the named shard, and no shard holds what the index does not name. */
static hone_code check_agreement(const hone_source *s, const shard_map *shards, hone_err *err)
{
    const char *key;
    json_t     *v;
    char        buf[HONE_SHOWN], file[HONE_SHOWN];
    json_object_foreach(shards->map, key, v)
    {
        const hone_tensor *t = hone_source_find(s, key);
        const char        *promised = json_string_value(v);
        if (!t || strcmp(shards->files[t->file], promised) != 0)
            return HONE_FAIL(err, HONE_EINPUT, AGAIN, "\"weight_map\" puts tensor '%s' into '%s', which lacks it", hone_shown(key, strlen(key), buf),
                             hone_shown(promised, strlen(promised), file));
    }
    for (size_t i = 0; i < s->n_tensors; i++)
        if (!json_object_get(shards->map, s->tensors[i].name))
            return HONE_FAIL(err, HONE_EINPUT, AGAIN, "'%s' holds tensor '%s', which \"weight_map\" does not name",
                             hone_shown(shards->files[s->tensors[i].file], strlen(shards->files[s->tensors[i].file]), file),
                             hone_shown(s->tensors[i].name, strlen(s->tensors[i].name), buf));
    return HONE_OK;
}

static hone_code open_files(const char *const *paths, size_t n, const shard_map *shards, hone_arena *a, hone_source **out, hone_err *err)
{
    hone_source *s = NULL;
    HONE_TRY(hone_files_open(a, paths, n, &s, err));
    hone_code code = read_all(s, a, err);
    if (code == HONE_OK && shards) code = check_agreement(s, shards, err);
    if (code != HONE_OK) {
        s->close(s);
        return code;
    }
    *out = s;
    return HONE_OK;
}

static hone_code open_index(const char *path, hone_arena *a, hone_source **out, hone_err *err)
{
    json_t *index = NULL;
    HONE_TRY(hone_json_load(path, &index, err));
    const char  *base = hone_path_base(path);
    size_t       dir_len = (size_t)(base - path);
    const char  *dir = dir_len > 1 ? hone_arena_strndup(a, path, dir_len - 1) : dir_len == 1 ? "/" : ".";
    shard_map    shards = { 0 };
    const char **paths = NULL;
    hone_code    code = dir ? collect_shards(index, a, &shards, err) : HONE_NOMEM(err, "a path");
    if (code == HONE_OK && !(paths = HONE_ARENA_NEW(a, const char *, shards.n_files))) code = HONE_NOMEM(err, "the list of shards");
    for (size_t i = 0; code == HONE_OK && i < shards.n_files; i++) {
        char shown[HONE_SHOWN];
        code = hone_path_inside(a, dir, shards.files[i], &paths[i], err);
        if (code == HONE_OK && !hone_file_exists(paths[i]))
            code = HONE_FAIL(err, HONE_EINPUT, AGAIN, "shard '%s' is missing",
                             hone_shown(shards.files[i], strlen(shards.files[i]), shown));
    }
    if (code != HONE_OK && code != HONE_ERESOURCE) hone_err_wrap(err, "'%s'", path);
    if (code == HONE_OK) code = open_files(paths, shards.n_files, &shards, a, out, err);
    json_decref(index);
    return code;
}

static hone_code open_dir(const char *dir, hone_arena *a, hone_source **out, hone_err *err)
{
    static const char *const pickles[] = { "pytorch_model.bin", "pytorch_model.bin.index.json", "model.pt", "consolidated.00.pth" };
    const char *one = hone_arena_printf(a, "%s/%s", dir, ONE), *index = hone_arena_printf(a, "%s/%s", dir, INDEX);
    if (!one || !index) return HONE_NOMEM(err, "a path");
    /* The same order as transformers: the whole file wins over the index. */
    if (hone_file_exists(one)) return open_files(&one, 1, NULL, a, out, err);
    if (hone_file_exists(index)) return open_index(index, a, out, err);
    for (size_t i = 0; i < HONE_COUNT(pickles); i++) {
        const char *p = hone_arena_printf(a, "%s/%s", dir, pickles[i]);
        if (!p) return HONE_NOMEM(err, "a path");
        if (hone_file_exists(p))
            return HONE_FAIL(err, HONE_EUNSUPPORTED, "get the safetensors form of this checkpoint: pickle files can run code when they are read",
                             "folder '%s' has '%s' and no %s", dir, pickles[i], ONE);
    }
    return HONE_FAIL(err, HONE_EINPUT, "name the folder that holds the checkpoint, or the .safetensors file", "folder '%s' has neither %s nor %s", dir,
                     ONE, INDEX);
}

hone_code hone_safetensors_open(const char *path, hone_arena *a, hone_source **out, hone_err *err)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    const char *clean = hone_arena_strndup(a, path, n);
    if (!clean) return HONE_NOMEM(err, "a path");
    if (hone_dir_exists(clean)) return open_dir(clean, a, out, err);
    if (n > 5 && strcmp(clean + n - 5, ".json") == 0) return open_index(clean, a, out, err);
    return open_files(&clean, 1, NULL, a, out, err);
}
