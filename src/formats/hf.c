#include "formats/hf.h"
#include "base/file.h"
#include "formats/hf/reader.h"

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

/* A small file of the folder that may be absent: *out stays NULL then. */
static hone_code load_if(hone_arena *a, const char *dir, const char *name, json_t **out, hone_err *err)
{
    const char *path = hone_arena_printf(a, "%s/%s", dir, name);
    if (!path) return HONE_NOMEM(err, "a path");
    if (!hone_file_exists(path)) return HONE_OK;
    HONE_TRY(hone_json_load(path, out, err));
    if (json_is_object(*out)) return HONE_OK;
    return HONE_FAIL(err, HONE_EINPUT, "download the file again", "%s: the document is no JSON object", path);
}

hone_code hone_hf_pooling_load(const char *dir, hone_code (*read)(const json_t *pooling, const json_t *modules, hone_facts *facts, hone_err *err),
                               hone_facts *facts, hone_err *err)
{
    static const char *const names[2] = { "1_Pooling/config.json", "modules.json" };
    hone_arena a = { 0 };
    json_t    *doc[2] = { NULL, NULL };
    hone_code  code = HONE_OK;
    for (int i = 0; code == HONE_OK && i < 2; i++) {
        const char *path = hone_arena_printf(&a, "%s/%s", dir, names[i]);
        if (!path) code = HONE_NOMEM(err, "a path");
        else if (hone_file_exists(path)) code = hone_json_load(path, &doc[i], err);
    }
    hone_arena_release(&a);
    if (code == HONE_OK) code = read(doc[0], doc[1], facts, err);
    json_decref(doc[0]);
    json_decref(doc[1]);
    return code;
}

#define TOKENIZER_MAX (256u << 20)

typedef struct folder { /* everything that has a word in it */
    json_t *tokenizer, *config, *map, *generation, *model, *added, *vocab;
} folder;

static hone_code slurp_if(hone_arena *a, const char *dir, const char *name, hone_bytes *out, hone_err *err)
{
    const char *path = hone_arena_printf(a, "%s/%s", dir, name);
    if (!path) return HONE_NOMEM(err, "a path");
    return hone_file_exists(path) ? hone_file_slurp(path, TOKENIZER_MAX, a, out, err) : HONE_OK;
}

/* files: an arena for what is only needed here. */
static hone_code read_folder(hone_hf_reader *r, const char *dir, folder *f, hone_arena *files, hone_err *err)
{
    hone_bytes model = { 0 }, txt = { 0 }, merges = { 0 };
    hone_sp    sp;
    HONE_TRY(load_if(files, dir, "tokenizer_config.json", &f->config, err));
    HONE_TRY(load_if(files, dir, "special_tokens_map.json", &f->map, err));
    HONE_TRY(load_if(files, dir, "generation_config.json", &f->generation, err));
    HONE_TRY(load_if(files, dir, "config.json", &f->model, err));
    HONE_TRY(load_if(files, dir, "added_tokens.json", &f->added, err));
    HONE_TRY(load_if(files, dir, "tokenizer.json", &f->tokenizer, err));
    HONE_TRY(slurp_if(files, dir, "tokenizer.model", &model, err));
    if (!model.ptr) HONE_TRY(slurp_if(files, dir, "spiece.model", &model, err));
    r->config = f->config;
    bool wants_pieces = model.ptr && (!f->tokenizer || json_is_true(json_object_get(json_object_get(f->tokenizer, "model"), "byte_fallback")));
    if (wants_pieces && hone_sp_parse(model, files, &sp, err) != HONE_OK) return hone_err_wrap(err, "%s/tokenizer.model", dir);
    hone_code code = HONE_OK;
    if (f->tokenizer) {
        code = hone_hf_read_json(r, f->tokenizer, wants_pieces && sp.model == HONE_SP_BPE ? &sp : NULL, err);
        if (code != HONE_OK) return hone_err_wrap(err, "%s/tokenizer.json", dir);
    } else if (wants_pieces) {
        code = hone_hf_read_sentencepiece(r, &sp, f->added, err);
        if (code != HONE_OK) return hone_err_wrap(err, "%s/tokenizer.model", dir);
    } else {
        HONE_TRY(load_if(files, dir, "vocab.json", &f->vocab, err));
        HONE_TRY(slurp_if(files, dir, "merges.txt", &merges, err));
        HONE_TRY(slurp_if(files, dir, "vocab.txt", &txt, err));
        if (f->vocab && merges.ptr) code = hone_hf_read_vocab_json(r, f->vocab, merges, f->added, err);
        else if (txt.ptr) code = hone_hf_read_vocab_txt(r, txt, err);
        else return HONE_OK; /* no tokenizer at all */
        if (code != HONE_OK) return hone_err_wrap(err, "%s", dir);
    }
    HONE_TRY(hone_hf_vocab_fill(&r->v, r->a, err));
    code = hone_hf_read_special(r, f->map, f->generation, f->model, err);
    if (code == HONE_OK) code = hone_hf_read_templates(r, dir, err);
    return code == HONE_OK ? code : hone_err_wrap(err, "%s", dir);
}

void hone_hf_reader_init(hone_hf_reader *r, hone_arena *a, uint32_t n_vocab)
{
    *r = (hone_hf_reader){ .a = a, .n_vocab = n_vocab, .first = -1, .last = -1 };
    r->t = (hone_tokenizer){ .bos = -1, .eos = -1, .unk = -1, .sep = -1, .pad = -1, .cls = -1, .mask = -1, .eot = -1, .eom = -1,
                             .lowercase = -1, .strip_accents = -1, .clean_spaces = -1 };
}

void hone_hf_reader_done(const hone_hf_reader *r, hone_tokenizer *out)
{
    *out = r->t;
    out->tokens = r->v.tokens;
    out->n_tokens = r->v.n;
}

hone_code hone_hf_tokenizer_load(const char *dir, uint32_t n_vocab, hone_arena *a, hone_tokenizer *out, hone_err *err)
{
    hone_hf_reader r;
    folder         f = { 0 };
    hone_arena     files = { 0 };
    hone_hf_reader_init(&r, a, n_vocab);
    hone_code code = read_folder(&r, dir, &f, &files, err);
    if (code == HONE_OK) hone_hf_reader_done(&r, out);
    json_decref(f.tokenizer);
    json_decref(f.config);
    json_decref(f.map);
    json_decref(f.generation);
    json_decref(f.model);
    json_decref(f.added);
    json_decref(f.vocab);
    hone_arena_release(&files);
    return code;
}
