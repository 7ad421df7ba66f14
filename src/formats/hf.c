#include "formats/hf.h"
#include "base/file.h"

hone_code hone_hf_config_load(const char *dir, json_t **out, hone_err *err)
{
    hone_arena  a = { 0 };
    const char *path = hone_arena_printf(&a, "%s/config.json", dir);
    json_t     *j = NULL;
    hone_code   code = HONE_OK;
    if (!path) code = HONE_NOMEM(err, "a path");
    else if (!hone_dir_exists(dir))
        code = HONE_FAIL(err, HONE_EINPUT, "give the folder that holds config.json and the weights", "'%s' is no folder", dir);
    else if (!hone_file_exists(path))
        code = HONE_FAIL(err, HONE_EINPUT, "give a Hugging Face checkpoint folder: config.json, weights, tokenizer", "'%s' has no config.json", dir);
    else code = hone_json_load(path, &j, err);
    if (code == HONE_OK && !json_is_object(j))
        code = HONE_FAIL(err, HONE_EINPUT, "download the file again", "%s: the document is no JSON object", path);
    if (code == HONE_OK) *out = j;
    else json_decref(j);
    hone_arena_release(&a);
    return code;
}
