/* judge.h - loads a tokenizer's GGUF in llama.cpp and compares ids.  For tests that include llama.h. */
#ifndef HONE_TEST_FORMATS_HF_JUDGE_H
#define HONE_TEST_FORMATS_HF_JUDGE_H
#include "base/file.h"
#include "base/text.h"
#include "formats/gguf.h"
#include "formats/hf.h"
#include <stdlib.h>
#include <unistd.h>

#define IDS_MAX 20000
static llama_token ids[IDS_MAX];

static void quiet(enum ggml_log_level level, const char *line, void *user)
{
    (void)level;
    (void)line;
    (void)user;
}

static hone_code write_vocab(const char *dir, const char *path, hone_arena *a, hone_tokenizer *t, hone_err *err)
{
    json_t           *config = NULL;
    uint32_t          vocab = 0;
    hone_gguf_writer *w = NULL;
    uint64_t          total = 0, none = 0;
    hone_bytes        head;
    char              name[128];
    HONE_TRY(hone_hf_config_load(dir, &config, err));
    hone_code code = hone_json_need_u32(config, "vocab_size", &vocab, err);
    json_decref(config);
    if (code != HONE_OK) return code;
    HONE_TRY(hone_hf_tokenizer_load(dir, vocab, a, t, err));
    HONE_TRY(hone_gguf_writer_new(a, &w, err));
    HONE_TRY(hone_gguf_put_str(w, "general.architecture", t->kind == HONE_TOK_WORDPIECE ? "bert" : "llama", err));
    HONE_TRY(hone_gguf_put_str(w, "general.name", hone_gguf_name_for(t, "a model", name, sizeof name), err));
    HONE_TRY(hone_gguf_put_tokenizer(w, t, vocab, err));
    HONE_TRY(hone_gguf_layout(w, &none, &total, &head, err));
    return hone_out_put(path, head.ptr, head.len, err);
}

/* The tokenizer of dir, as read and as llama.cpp has it.  Prints why when it cannot. */
static struct llama_model *load_vocab(const char *dir, hone_arena *a, hone_tokenizer *t)
{
    char     path[256];
    hone_err err = { 0 };
    (void)snprintf(path, sizeof path, "%s/hone-vocab-%ld.gguf", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", (long)getpid());
    if (write_vocab(dir, path, a, t, &err) != HONE_OK) {
        print_error("%s: %s\n", dir, err.cause);
        return NULL;
    }
    struct llama_model_params mp = llama_model_default_params();
    mp.vocab_only = true;
    struct llama_model *m = llama_model_load_from_file(path, mp);
    (void)unlink(path);
    return m;
}

static bool same_ids(const json_t *want, int n)
{
    if (n < 0 || (size_t)n != json_array_size(want)) return false;
    for (int i = 0; i < n; i++)
        if (json_integer_value(json_array_get(want, (size_t)i)) != ids[i]) return false;
    return true;
}

static bool has_code_point(const char *s, size_t n, uint32_t low, uint32_t high)
{
    for (size_t i = 0, step; i < n; i += step) {
        uint32_t cp = 0;
        step = hone_utf8_decode(s + i, n - i, &cp);
        if (step == 0) return false;
        if (cp >= low && cp <= high) return true;
    }
    return false;
}
#endif
