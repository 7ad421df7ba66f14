/* slow.c - tokenizers without a tokenizer.json: tokenizer.model, vocab.txt, vocab.json + merges.txt.
 * Sources: transformers tokenization_{llama,t5,bert,gpt2,qwen2}.py; llama.cpp conversion/base.py _create_vocab_sentencepiece, conversion/t5.py. */
#include "base/text.h"
#include "formats/hf/reader.h"
#include <stdlib.h>

static const char REPAIR[] = "download the tokenizer files again; if they were edited by hand, undo that";

static bool key_to_id(const char *key, uint32_t *out)
{
    char *end;
    if (*key < '0' || *key > '9') return false;
    unsigned long v = strtoul(key, &end, 10);
    if (*end || v >= HONE_HF_TOKENS_MAX) return false;
    *out = (uint32_t)v;
    return true;
}

static const json_t *decoder_tokens(const hone_hf_reader *r) { return json_object_get(r->config, "added_tokens_decoder"); }

/* The largest id that the small files add. */
static hone_code last_id(const hone_hf_reader *r, const json_t *added, size_t *rows, hone_err *err)
{
    const char *key;
    json_t     *v;
    uint32_t    id = 0;
    char        shown[80];
    json_object_foreach((json_t *)(uintptr_t)decoder_tokens(r), key, v) {
        if (!key_to_id(key, &id))
            return HONE_FAIL(err, HONE_EINPUT, REPAIR, "added_tokens_decoder has the id '%s'", hone_text_show(key, strlen(key), shown, sizeof shown));
        if (id >= *rows && (!r->n_vocab || id < r->n_vocab)) *rows = (size_t)id + 1;
    }
    json_object_foreach((json_t *)(uintptr_t)added, key, v) {
        HONE_TRY(hone_json_need_u32(added, key, &id, err));
        if (id >= HONE_HF_TOKENS_MAX) return HONE_FAIL(err, HONE_EINPUT, REPAIR, "added_tokens.json has the id %u", id);
        if (id >= *rows && (!r->n_vocab || id < r->n_vocab)) *rows = (size_t)id + 1;
    }
    return HONE_OK;
}

hone_code hone_hf_read_decoder_tokens(hone_hf_reader *r, hone_err *err)
{
    const char *key;
    json_t     *v;
    uint32_t    id = 0;
    json_object_foreach((json_t *)(uintptr_t)decoder_tokens(r), key, v)
        if (key_to_id(key, &id)) HONE_TRY(hone_hf_add_token(r, id, v, err));
    return HONE_OK;
}

static hone_code read_added_json(hone_hf_reader *r, const json_t *added, hone_err *err)
{
    const char *key;
    json_t     *v;
    json_object_foreach((json_t *)(uintptr_t)added, key, v) {
        uint32_t id = 0;
        json_t  *text = json_string(key);
        HONE_TRY(hone_json_need_u32(added, key, &id, err));
        hone_code code = text ? hone_hf_add_token(r, id, text, err) : HONE_NOMEM(err, "the added tokens");
        json_decref(text);
        if (code != HONE_OK) return code;
    }
    return HONE_OK;
}

static hone_code past_the_rows(const hone_hf_reader *r, size_t n, hone_err *err)
{
    return HONE_FAIL(err, HONE_EINPUT, "the tokenizer files must be those of this checkpoint", "tokenizer has %zu tokens, the embedding %u rows", n, r->n_vocab);
}

hone_code hone_hf_read_sentencepiece(hone_hf_reader *r, const hone_sp *sp, const json_t *added, hone_err *err)
{
    hone_tokenizer *t = &r->t;
    size_t          rows = sp->n;
    if (sp->model != HONE_SP_BPE && sp->model != HONE_SP_UNIGRAM)
        return HONE_FAIL(err, HONE_EUNSUPPORTED, "hone knows SentencePiece BPE and Unigram", "model type %d of tokenizer.model is not known", (int)sp->model);
    if (sp->whitespace_suffix) return HONE_FAIL(err, HONE_EUNSUPPORTED, "", "tokenizer.model puts spaces behind words (treat_whitespace_as_suffix)");
    if (sp->model == HONE_SP_BPE && sp->charsmap.len) {
        char shown[80];
        return HONE_FAIL(err, HONE_EUNSUPPORTED, "no runtime here normalises text for a SentencePiece BPE", "tokenizer.model normalises text with '%s'",
                         hone_text_show((const char *)sp->normalizer.ptr, sp->normalizer.len, shown, sizeof shown));
    }
    if (r->n_vocab && sp->n > r->n_vocab) return past_the_rows(r, sp->n, err);
    HONE_TRY(last_id(r, added, &rows, err));
    HONE_TRY(hone_hf_vocab_new(r->a, rows, &r->v, err));
    for (size_t i = 0; i < sp->n; i++) {
        const hone_sp_piece *p = &sp->pieces[i];
        char                *text = hone_arena_strndup(r->a, p->text, p->len);
        if (!text) return HONE_NOMEM(err, "the vocabulary");
        HONE_TRY(hone_hf_vocab_add(&r->v, (uint32_t)i, text, p->len, err));
        r->v.tokens[i].score = p->score;
        r->v.tokens[i].type = p->type;
        r->v.tokens[i].special = p->type == HONE_TOKEN_CONTROL || p->type == HONE_TOKEN_UNKNOWN;
    }
    HONE_TRY(read_added_json(r, added, err));
    HONE_TRY(hone_hf_read_decoder_tokens(r, err));
    for (size_t i = 0; i < r->v.n; i++) {
        hone_token *k = &r->v.tokens[i];
        if (k->text && i < sp->n && hone_hf_is_space_run(k)) k->type = HONE_TOKEN_NORMAL;
        else if (i >= sp->n || k->type != sp->pieces[i].type) k->score = -1000.0f;
    }
    t->unk = sp->unk;
    t->bos = sp->bos;
    t->eos = sp->eos;
    t->pad = sp->pad;
    t->escape_whitespaces = sp->escape_whitespaces;
    t->add_space_prefix = sp->add_dummy_prefix;
    t->remove_extra_whitespaces = sp->remove_extra_whitespaces;
    if (sp->model == HONE_SP_BPE) {
        t->kind = HONE_TOK_SPM;
        t->gguf_model = "llama";
        t->add_bos = true; /* LlamaTokenizer's own default; tokenizer_config.json may say otherwise */
        return HONE_OK;
    }
    t->kind = HONE_TOK_UNIGRAM;
    t->gguf_model = "t5";
    t->add_eos = true; /* T5Tokenizer */
    if (sp->charsmap.len) {
        char *copy = hone_arena_strndup(r->a, (const char *)sp->charsmap.ptr, sp->charsmap.len);
        if (!copy) return HONE_NOMEM(err, "the normaliser");
        if (sp->charsmap.len < 5 || hone_le32(copy) >= sp->charsmap.len - 4 || copy[sp->charsmap.len - 1] != 0)
            return HONE_FAIL(err, HONE_EINPUT, REPAIR, "precompiled_charsmap of %zu bytes is cut off", sp->charsmap.len);
        t->charsmap = (const uint8_t *)copy;
        t->charsmap_len = sp->charsmap.len;
    }
    return HONE_OK;
}

hone_code hone_hf_read_vocab_txt(hone_hf_reader *r, hone_bytes text, hone_err *err)
{
    const char *p = (const char *)text.ptr, *end = p + text.len;
    size_t      n = 0;
    for (const char *q = p; q < end; n++) {
        const char *nl = memchr(q, '\n', (size_t)(end - q));
        q = nl ? nl + 1 : end;
    }
    if (n == 0) return HONE_FAIL(err, HONE_EINPUT, REPAIR, "vocab.txt is empty");
    if (r->n_vocab && n > r->n_vocab) return past_the_rows(r, n, err);
    HONE_TRY(last_id(r, NULL, &n, err));
    HONE_TRY(hone_hf_vocab_new(r->a, n, &r->v, err));
    for (uint32_t id = 0; p < end; id++) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        size_t      len = (size_t)((nl ? nl : end) - p);
        if (len && p[len - 1] == '\r') len--;
        if (!hone_utf8_valid(p, len)) return HONE_FAIL(err, HONE_EINPUT, REPAIR, "line %u of vocab.txt is no UTF-8", id + 1);
        char *copy = hone_arena_strndup(r->a, p, len);
        if (!copy) return HONE_NOMEM(err, "the vocabulary");
        if (len) HONE_TRY(hone_hf_vocab_add(&r->v, id, copy, len, err));
        p = nl ? nl + 1 : end;
    }
    HONE_TRY(hone_hf_read_decoder_tokens(r, err));
    static const struct { const char *key, *usual; } specials[] = { { "unk_token", "[UNK]" }, { "sep_token", "[SEP]" }, { "pad_token", "[PAD]" },
                                                                    { "cls_token", "[CLS]" }, { "mask_token", "[MASK]" } };
    int64_t ids[HONE_COUNT(specials)];
    for (size_t i = 0; i < HONE_COUNT(specials); i++) {
        const char *name = specials[i].usual;
        if (json_is_string(json_object_get(r->config, specials[i].key))) name = json_string_value(json_object_get(r->config, specials[i].key));
        ids[i] = hone_hf_vocab_find(&r->v, name, strlen(name));
        if (ids[i] < 0) continue;
        r->v.tokens[ids[i]].type = HONE_TOKEN_CONTROL;
        r->v.tokens[ids[i]].special = true;
    }
    if (ids[0] < 0 || ids[1] < 0 || ids[3] < 0)
        return HONE_FAIL(err, HONE_EINPUT, "check that this vocab.txt belongs to a BERT", "vocab.txt has no %s", ids[0] < 0 ? "[UNK]" : ids[1] < 0 ? "[SEP]" : "[CLS]");
    r->t.unk = ids[0];
    r->t.sep = ids[1];
    r->t.pad = ids[2];
    r->t.cls = ids[3];
    r->t.mask = ids[4];
    r->have_post = true;
    r->first = ids[3];
    r->last = ids[1];
    bool lower = true, chinese = true;
    if (r->config) {
        HONE_TRY(hone_json_bool(r->config, "do_lower_case", &lower, err));
        HONE_TRY(hone_json_bool(r->config, "tokenize_chinese_chars", &chinese, err));
    }
    if (!chinese) return HONE_FAIL(err, HONE_EUNSUPPORTED, "", "tokenizer_config.json leaves Chinese characters together; llama.cpp always takes them apart");
    const json_t *accents = json_object_get(r->config, "strip_accents");
    r->t.lowercase = lower;
    r->t.strip_accents = json_is_boolean(accents) ? json_is_true(accents) : -1;
    r->t.max_word = 100;
    r->t.kind = HONE_TOK_WORDPIECE;
    r->t.gguf_model = "bert";
    return HONE_OK;
}

hone_code hone_hf_read_vocab_json(hone_hf_reader *r, const json_t *vocab, hone_bytes merges, const json_t *added, hone_err *err)
{
    static const struct { const char *class_name, *definition; bool nfc; } classes[] = {
        { "GPT2Tokenizer", "gpt2", false },
        { "GPT2TokenizerFast", "gpt2", false },
        { "Qwen2Tokenizer", "split (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+", true },
    };
    const json_t *class_name = json_object_get(r->config, "tokenizer_class");
    const char   *name = json_is_string(class_name) ? json_string_value(class_name) : "";
    size_t        c = 0, rows = 0;
    char          shown[80];
    while (c < HONE_COUNT(classes) && strcmp(classes[c].class_name, name) != 0) c++;
    if (c == HONE_COUNT(classes))
        return HONE_FAIL(err, HONE_EUNSUPPORTED, "save the tokenizer once with transformers: that writes tokenizer.json", "vocab.json and merges.txt do not say how '%s' splits text",
                         hone_text_show(name, strlen(name), shown, sizeof shown));
    if (!json_is_object(vocab) || json_object_size(vocab) == 0) return HONE_FAIL(err, HONE_EINPUT, REPAIR, "vocab.json is no object");
    const char *key;
    json_t     *v, *obj = (json_t *)(uintptr_t)vocab;
    uint32_t    id = 0;
    json_object_foreach(obj, key, v) {
        if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) >= HONE_HF_TOKENS_MAX)
            return HONE_FAIL(err, HONE_EINPUT, REPAIR, "token '%s' has an id that is no number in 0..%u", hone_text_show(key, strlen(key), shown, sizeof shown), HONE_HF_TOKENS_MAX - 1);
        if ((size_t)json_integer_value(v) >= rows) rows = (size_t)json_integer_value(v) + 1;
    }
    if (r->n_vocab && rows > r->n_vocab) return past_the_rows(r, rows, err);
    HONE_TRY(last_id(r, added, &rows, err));
    HONE_TRY(hone_hf_vocab_new(r->a, rows, &r->v, err));
    for (void *it = json_object_iter(obj); it; it = json_object_iter_next(obj, it)) {
        size_t len = json_object_iter_key_len(it);
        char  *text = hone_arena_strndup(r->a, json_object_iter_key(it), len);
        if (!text) return HONE_NOMEM(err, "the vocabulary");
        id = (uint32_t)json_integer_value(json_object_iter_value(it));
        HONE_TRY(hone_hf_vocab_add(&r->v, id, text, len, err));
    }
    HONE_TRY(read_added_json(r, added, err));
    HONE_TRY(hone_hf_read_decoder_tokens(r, err));
    if (!decoder_tokens(r)) { /* old releases: the one special token of GPT-2 is nowhere called special */
        int64_t end = hone_hf_vocab_find(&r->v, "<|endoftext|>", 13);
        if (end >= 0) {
            r->v.tokens[end].type = HONE_TOKEN_CONTROL;
            r->v.tokens[end].special = true;
        }
    }
    json_t   *list = json_array();
    hone_code code = list ? HONE_OK : HONE_NOMEM(err, "the merges");
    for (const char *p = (const char *)merges.ptr, *end = p + merges.len; code == HONE_OK && p < end;) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        size_t      len = (size_t)((nl ? nl : end) - p);
        bool        version = p == (const char *)merges.ptr && len && p[0] == '#' && len > 8 && memcmp(p, "#version", 8) == 0;
        if (len && p[len - 1] == '\r') len--;
        if (len && !version && json_array_append_new(list, json_stringn(p, len)) != 0)
            code = HONE_FAIL(err, HONE_EINPUT, REPAIR, "merges.txt is no UTF-8");
        p = nl ? nl + 1 : end;
    }
    if (code == HONE_OK) code = hone_hf_read_merges(r, list, err);
    json_decref(list);
    if (code != HONE_OK) return code;
    r->t.nfc = classes[c].nfc;
    r->t.kind = HONE_TOK_BPE;
    r->t.gguf_model = "gpt2";
    return hone_hf_choose_pretokenizer(r, classes[c].definition, false, class_name, err);
}
