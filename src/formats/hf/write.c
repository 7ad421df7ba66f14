#include "formats/hf/write.h"
#include "formats/hf/pretokenizer.h"
#include "formats/hf/reader.h"
#include <openssl/evp.h>
#include <stdlib.h>

typedef struct writer {
    const hone_tokenizer *t;
    hone_arena           *a;
    hone_err             *err;
} writer;

static json_t *text_of(const hone_token *t) { return json_stringn(t->text, t->len); }
static json_t *id_text(const hone_tokenizer *t, int64_t id) { return id >= 0 ? text_of(&t->tokens[id]) : json_null(); }

/* SentencePiece pieces, whether they are merged by score or by rank. */
static bool is_pieces(const hone_tokenizer *t)
{
    return t->kind == HONE_TOK_SPM || (t->kind == HONE_TOK_BPE && t->pre && strcmp(t->pre, HONE_HF_PLAIN_BPE) == 0);
}

/* Found in the text before anything else is done with it. */
static bool is_added(const hone_token *t) { return t->type == HONE_TOKEN_CONTROL || t->type == HONE_TOKEN_USER || t->type == HONE_TOKEN_UNKNOWN; }

static json_t *added_tokens(const hone_tokenizer *t)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < t->n_tokens; i++) {
        const hone_token *k = &t->tokens[i];
        if (!is_added(k)) continue;
        json_t *one = json_pack("{s:i,s:o,s:b,s:b,s:b,s:b,s:b}", "id", (int)i, "content", text_of(k), "single_word", 0, "lstrip", k->lstrip, "rstrip",
                                k->rstrip, "normalized", k->normalized, "special", k->special);
        if (!one || json_array_append_new(list, one) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *vocab_map(const hone_tokenizer *t)
{
    json_t *map = json_object();
    for (size_t i = 0; map && i < t->n_tokens; i++)
        if (json_object_setn_new_nocheck(map, t->tokens[i].text, t->tokens[i].len, json_integer((json_int_t)i)) != 0) {
            json_decref(map);
            return NULL;
        }
    return map;
}

static json_t *merge_list(const hone_merge *m, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < n; i++) {
        json_t *pair = json_pack("[o,o]", json_stringn(m[i].left, m[i].left_len), json_stringn(m[i].right, m[i].right_len));
        if (!pair || json_array_append_new(list, pair) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

/* ---- byte-level BPE ------------------------------------------------------------------------------------------------ */

static json_t *byte_level(bool use_regex)
{
    return json_pack("{s:s,s:b,s:b,s:b}", "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets", 1, "use_regex", use_regex);
}

static json_t *split_step(const char *regex, size_t n)
{
    return json_pack("{s:s,s:{s:o},s:s,s:b}", "type", "Split", "pattern", "Regex", json_stringn(regex, n), "behavior", "Isolated", "invert", 0);
}

/* The steps of a row of pretokenizers.def, one to a line; letters for bytes come last. */
static json_t *pre_tokenizer(const char *definition)
{
    json_t *steps = json_array();
    bool    bytes = false, good = steps != NULL;
    for (const char *line = definition; good && *line;) {
        size_t  n = strcspn(line, "\n");
        bool    last = line[n] == '\0';
        json_t *step;
        if (n == 4 && memcmp(line, "gpt2", 4) == 0) {
            step = last ? byte_level(true) : split_step(HONE_HF_GPT2_RULE, strlen(HONE_HF_GPT2_RULE));
            bytes = last;
        } else if (n > 6 && memcmp(line, "split ", 6) == 0) step = split_step(line + 6, n - 6);
        else step = json_pack("{s:s,s:b}", "type", "Digits", "individual_digits", n == 6); /* "digits", "numbers" */
        good = step && json_array_append_new(steps, step) == 0;
        line += n + (last ? 0 : 1);
    }
    if (good && !bytes) good = json_array_append_new(steps, byte_level(false)) == 0;
    json_t *out = good ? json_array_size(steps) == 1 ? json_incref(json_array_get(steps, 0)) : json_pack("{s:s,s:O}", "type", "Sequence", "pretokenizers", steps)
                       : NULL;
    json_decref(steps);
    return out;
}

static hone_code put_byte_bpe(const writer *w, json_t *root)
{
    const hone_tokenizer       *t = w->t;
    const hone_hf_pretokenizer *row = hone_hf_pretokenizer_named(t->pre ? t->pre : "gpt-2");
    if (!row)
        return HONE_FAIL(w->err, HONE_EUNSUPPORTED, "add a row to src/formats/hf/pretokenizers.def", "hone does not know how the pre-tokenizer '%s' splits text", t->pre);
    json_t *model = json_pack("{s:s,s:n,s:n,s:n,s:n,s:b,s:b,s:b,s:o,s:o}", "type", "BPE", "dropout", "unk_token", "continuing_subword_prefix",
                              "end_of_word_suffix", "fuse_unk", 0, "byte_fallback", 0, "ignore_merges", row->ignore_merges, "vocab", vocab_map(t), "merges",
                              merge_list(t->merges, t->n_merges));
    bool good = hone_json_put(root, "normalizer", t->nfc ? json_pack("{s:s}", "type", "NFC") : json_null()) &&
                hone_json_put(root, "pre_tokenizer", pre_tokenizer(row->definition)) && hone_json_put(root, "decoder", byte_level(true)) &&
                hone_json_put(root, "model", model);
    return good ? HONE_OK : HONE_NOMEM(w->err, "tokenizer.json");
}

/* ---- SentencePiece BPE --------------------------------------------------------------------------------------------- */

/* All ways to put a piece together from two others. */
static hone_code merges_from_scores(const writer *w, json_t **out)
{
    const hone_tokenizer *t = w->t;
    hone_hf_vocab         v;
    hone_hf_way          *ways = NULL;
    size_t                n = 0;
    HONE_TRY(hone_hf_vocab_new(w->a, t->n_tokens, &v, w->err));
    for (size_t i = 0; i < t->n_tokens; i++) {
        if (t->tokens[i].type != HONE_TOKEN_NORMAL) continue;
        HONE_TRY(hone_hf_vocab_add(&v, (uint32_t)i, t->tokens[i].text, t->tokens[i].len, w->err));
        v.tokens[i].type = HONE_TOKEN_NORMAL;
        v.tokens[i].score = t->tokens[i].score;
    }
    HONE_TRY(hone_hf_ways(&v, &ways, &n, w->err));
    hone_merge *m = malloc((n + 1) * sizeof *m);
    for (size_t i = 0; m && i < n; i++) {
        const hone_token *l = &t->tokens[ways[i].left], *r = &t->tokens[ways[i].right];
        m[i] = (hone_merge){ .left = l->text, .left_len = l->len, .right = r->text, .right_len = r->len };
    }
    *out = m ? merge_list(m, n) : NULL;
    free(ways);
    free(m);
    return *out ? HONE_OK : HONE_NOMEM(w->err, "the merges");
}

static hone_code put_pieces(const writer *w, json_t *root)
{
    const hone_tokenizer *t = w->t;
    json_t               *merges = NULL;
    if (t->kind == HONE_TOK_SPM) HONE_TRY(merges_from_scores(w, &merges));
    else merges = merge_list(t->merges, t->n_merges);
    json_t *replace = json_pack("{s:s,s:{s:s},s:s}", "type", "Replace", "pattern", "String", " ", "content", HONE_HF_SPACE);
    json_t *normalizer = t->add_space_prefix ? json_pack("{s:s,s:[{s:s,s:s},o]}", "type", "Sequence", "normalizers", "type", "Prepend", "prepend", HONE_HF_SPACE, replace)
                                             : replace;
    json_t *decoder = json_pack("{s:s,s:[{s:s,s:{s:s},s:s},{s:s},{s:s}]}", "type", "Sequence", "decoders", "type", "Replace", "pattern", "String", HONE_HF_SPACE,
                                "content", " ", "type", "ByteFallback", "type", "Fuse");
    if (t->add_space_prefix && decoder &&
        json_array_append_new(json_object_get(decoder, "decoders"), json_pack("{s:s,s:s,s:i,s:i}", "type", "Strip", "content", " ", "start", 1, "stop", 0)) != 0) {
        json_decref(decoder);
        decoder = NULL;
    }
    json_t *model = json_pack("{s:s,s:n,s:o,s:n,s:n,s:b,s:b,s:b,s:o,s:o}", "type", "BPE", "dropout", "unk_token", id_text(t, t->unk), "continuing_subword_prefix",
                              "end_of_word_suffix", "fuse_unk", 1, "byte_fallback", 1, "ignore_merges", 0, "vocab", vocab_map(t), "merges", merges);
    bool good = hone_json_put(root, "normalizer", normalizer) && hone_json_put(root, "pre_tokenizer", json_null()) && hone_json_put(root, "decoder", decoder);
    good = hone_json_put(root, "model", model) && good;
    return good ? HONE_OK : HONE_NOMEM(w->err, "tokenizer.json");
}

/* ---- Unigram ------------------------------------------------------------------------------------------------------- */

static json_t *charsmap(const hone_tokenizer *t, hone_arena *a)
{
    unsigned char *text = hone_arena_alloc(a, (t->charsmap_len + 2) / 3 * 4 + 1);
    int            n = text ? EVP_EncodeBlock(text, t->charsmap, (int)t->charsmap_len) : -1;
    return n < 0 ? NULL : json_stringn((const char *)text, (size_t)n);
}

static json_t *scored_pieces(const hone_tokenizer *t)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < t->n_tokens; i++) {
        json_t *one = json_pack("[o,f]", text_of(&t->tokens[i]), (double)t->tokens[i].score);
        if (!one || json_array_append_new(list, one) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static hone_code put_unigram(const writer *w, json_t *root)
{
    const hone_tokenizer *t = w->t;
    json_t               *steps = json_array();
    bool                  bytes = false, good = steps != NULL;
    for (size_t i = 0; i < t->n_tokens && !bytes; i++) bytes = t->tokens[i].type == HONE_TOKEN_BYTE;
    if (t->charsmap_len) good = good && json_array_append_new(steps, json_pack("{s:s,s:o}", "type", "Precompiled", "precompiled_charsmap", charsmap(t, w->a))) == 0;
    if (t->remove_extra_whitespaces && !t->keeps_end_space)
        good = good && json_array_append_new(steps, json_pack("{s:s,s:b,s:b}", "type", "Strip", "strip_left", 0, "strip_right", 1)) == 0;
    if (t->remove_extra_whitespaces)
        good = good && json_array_append_new(steps, json_pack("{s:s,s:{s:s},s:s}", "type", "Replace", "pattern", "Regex", " {2,}", "content", " ")) == 0;
    json_t *normalizer = good && json_array_size(steps) ? json_pack("{s:s,s:O}", "type", "Sequence", "normalizers", steps) : json_null();
    json_decref(steps);
    const char *scheme = t->add_space_prefix ? "always" : "never";
    json_t *model = json_pack("{s:s,s:o,s:o,s:b}", "type", "Unigram", "unk_id", t->unk >= 0 ? json_integer((json_int_t)t->unk) : json_null(), "vocab", scored_pieces(t),
                              "byte_fallback", bytes);
    good = good && hone_json_put(root, "normalizer", normalizer);
    for (int i = 0; good && i < 2; i++)
        good = hone_json_put(root, i ? "decoder" : "pre_tokenizer",
                             json_pack("{s:s,s:s,s:s,s:b}", "type", "Metaspace", "replacement", HONE_HF_SPACE, "prepend_scheme", scheme, "split", 1));
    good = hone_json_put(root, "model", model) && good;
    return good ? HONE_OK : HONE_NOMEM(w->err, "tokenizer.json");
}

/* ---- WordPiece ----------------------------------------------------------------------------------------------------- */

static hone_code put_wordpiece(const writer *w, json_t *root)
{
    const hone_tokenizer *t = w->t;
    json_t *accents = t->strip_accents < 0 ? json_null() : json_boolean(t->strip_accents);
    json_t *model = json_pack("{s:s,s:o,s:s,s:i,s:o}", "type", "WordPiece", "unk_token", id_text(t, t->unk), "continuing_subword_prefix", "##",
                              "max_input_chars_per_word", t->max_word ? (int)t->max_word : 100, "vocab", vocab_map(t));
    bool good = hone_json_put(root, "normalizer", json_pack("{s:s,s:b,s:b,s:o,s:b}", "type", "BertNormalizer", "clean_text", 1, "handle_chinese_chars", 1,
                                                            "strip_accents", accents, "lowercase", t->lowercase != 0)) &&
                hone_json_put(root, "pre_tokenizer", json_pack("{s:s}", "type", "BertPreTokenizer")) &&
                hone_json_put(root, "decoder", json_pack("{s:s,s:s,s:b}", "type", "WordPiece", "prefix", "##", "cleanup", 1));
    good = hone_json_put(root, "model", model) && good;
    return good ? HONE_OK : HONE_NOMEM(w->err, "tokenizer.json");
}

/* ---- what is put around a text ------------------------------------------------------------------------------------- */

static bool add_special(const hone_tokenizer *t, int64_t id, int type, json_t *list, json_t *special)
{
    const hone_token *k = &t->tokens[id];
    json_t           *item = json_pack("{s:{s:o,s:i}}", "SpecialToken", "id", text_of(k), "type_id", type);
    json_t           *row = json_pack("{s:o,s:[I],s:[o]}", "id", text_of(k), "ids", (json_int_t)id, "tokens", text_of(k));
    bool listed = item && json_array_append_new(list, item) == 0, named = row && json_object_setn_new_nocheck(special, k->text, k->len, row) == 0;
    return listed && named;
}

static bool add_text(const char *name, int type, json_t *list)
{
    return json_array_append_new(list, json_pack("{s:{s:s,s:i}}", "Sequence", "id", name, "type_id", type)) == 0;
}

static json_t *post_processor(const hone_tokenizer *t)
{
    bool    words = t->kind == HONE_TOK_WORDPIECE;
    int     second = words ? 1 : 0;
    int64_t last = words && t->sep >= 0 ? t->sep : t->eos;
    json_t *single = json_array(), *pair = json_array(), *special = json_object();
    bool    good = single && pair && special;
    for (int k = 0; good && k < 2; k++) {
        json_t *list = k ? pair : single;
        if (t->add_bos) good = good && add_special(t, t->bos, 0, list, special);
        good = good && add_text("A", 0, list);
        if (k && t->add_sep && last >= 0) good = good && add_special(t, last, 0, list, special);
        if (k && t->add_bos && !t->add_sep) good = good && add_special(t, t->bos, second, list, special);
        if (k) good = good && add_text("B", second, list);
        if (t->add_eos) good = good && add_special(t, last, k ? second : 0, list, special);
    }
    json_t *out = good ? json_pack("{s:s,s:O,s:O,s:O}", "type", "TemplateProcessing", "single", single, "pair", pair, "special_tokens", special) : NULL;
    json_decref(single);
    json_decref(pair);
    json_decref(special);
    return out;
}

hone_code hone_hf_tokenizer_json(const hone_tokenizer *t, hone_arena *a, json_t **out, hone_err *err)
{
    writer  w = { t, a, err };
    json_t *root = json_pack("{s:s,s:n,s:n,s:o}", "version", "1.0", "truncation", "padding", "added_tokens", added_tokens(t));
    hone_code code = root ? HONE_OK : HONE_NOMEM(err, "tokenizer.json");
    if (code == HONE_OK) {
        if (is_pieces(t)) code = put_pieces(&w, root);
        else if (t->kind == HONE_TOK_BPE) code = put_byte_bpe(&w, root);
        else if (t->kind == HONE_TOK_UNIGRAM) code = put_unigram(&w, root);
        else code = put_wordpiece(&w, root);
    }
    bool plain = t->kind == HONE_TOK_BPE && !is_pieces(t) && !t->add_bos && !t->add_eos;
    if (code == HONE_OK && !hone_json_put(root, "post_processor", plain ? byte_level(true) : post_processor(t))) code = HONE_NOMEM(err, "tokenizer.json");
    if (code == HONE_OK) *out = root;
    else json_decref(root);
    return code;
}

static json_t *templates(const hone_tokenizer *t)
{
    if (t->n_templates == 1 && strcmp(t->templates[0].name, "default") == 0) return json_string(t->templates[0].text);
    json_t *list = json_array();
    for (size_t i = 0; list && i < t->n_templates; i++)
        if (json_array_append_new(list, json_pack("{s:s,s:s}", "name", t->templates[i].name, "template", t->templates[i].text)) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

hone_code hone_hf_tokenizer_config(const hone_tokenizer *t, json_t **out, hone_err *err)
{
    const struct { const char *word; int64_t id; } ids[] = { { "bos_token", t->bos }, { "eos_token", t->eos }, { "unk_token", t->unk }, { "sep_token", t->sep },
                                                             { "pad_token", t->pad }, { "cls_token", t->cls }, { "mask_token", t->mask } };
    json_t *root = json_pack("{s:s,s:b,s:b,s:b}", "tokenizer_class", "PreTrainedTokenizerFast", "add_bos_token", t->add_bos, "add_eos_token", t->add_eos,
                             "clean_up_tokenization_spaces", t->clean_spaces > 0 || (t->clean_spaces < 0 && t->pre_cleans));
    bool    good = root != NULL;
    for (size_t i = 0; i < HONE_COUNT(ids); i++)
        if (ids[i].id >= 0) good = good && hone_json_put(root, ids[i].word, text_of(&t->tokens[ids[i].id]));
    if (t->max_length) good = good && hone_json_put(root, "model_max_length", json_integer((json_int_t)t->max_length));
    if (t->n_templates) good = good && hone_json_put(root, "chat_template", templates(t));
    if (good) *out = root;
    else json_decref(root);
    return good ? HONE_OK : HONE_NOMEM(err, "tokenizer_config.json");
}

hone_code hone_hf_generation_config(const hone_tokenizer *t, json_t **out, hone_err *err)
{
    const int64_t ends[] = { t->eos, t->eot, t->eom };
    json_t       *root = json_object(), *list = json_array();
    bool          good = root && list;
    for (size_t i = 0; i < HONE_COUNT(ends); i++)
        if (ends[i] >= 0) good = good && json_array_append_new(list, json_integer((json_int_t)ends[i])) == 0;
    if (t->bos >= 0) good = good && hone_json_put(root, "bos_token_id", json_integer((json_int_t)t->bos));
    if (t->pad >= 0) good = good && hone_json_put(root, "pad_token_id", json_integer((json_int_t)t->pad));
    if (json_array_size(list) == 1) good = good && hone_json_put(root, "eos_token_id", json_integer((json_int_t)t->eos));
    if (json_array_size(list) > 1) good = good && hone_json_put(root, "eos_token_id", json_incref(list));
    json_decref(list);
    if (good) *out = root;
    else json_decref(root);
    return good ? HONE_OK : HONE_NOMEM(err, "generation_config.json");
}
