/* tokenizer_json.c - tokenizer.json.  Its parts (normalizer, pre_tokenizer, model, post_processor) are recognised by what they
 * say; a part that says something without a name here is refused with its definition.
 * Sources: huggingface/tokenizers src/{models,normalizers,pre_tokenizers,processors}; llama.cpp conversion/base.py get_vocab_base,
 * _create_vocab_sentencepiece and gguf-py/gguf/vocab.py SpecialVocab for what becomes of it. */
#include "base/text.h"
#include "formats/hf/pretokenizer.h"
#include "formats/hf/reader.h"
#include <inttypes.h>
#include <openssl/evp.h>

static const char REPAIR[] = "download tokenizer.json again; if it was edited by hand, undo that";

const char *hone_hf_type(const json_t *obj)
{
    const char *s = json_string_value(json_object_get(obj, "type"));
    return s ? s : "";
}

bool hone_hf_is_byte_token(const char *s, size_t len)
{
    if (len != 6 || memcmp(s, "<0x", 3) != 0 || s[5] != '>') return false;
    for (int i = 3; i < 5; i++)
        if (!((s[i] >= '0' && s[i] <= '9') || (s[i] >= 'A' && s[i] <= 'F'))) return false;
    return true;
}

hone_code hone_hf_copy(hone_hf_reader *r, const json_t *string, const char **text, size_t *len, hone_err *err)
{
    char *s = hone_arena_strndup(r->a, json_string_value(string), json_string_length(string));
    if (!s) return HONE_NOMEM(err, "the vocabulary");
    *text = s;
    *len = json_string_length(string);
    return HONE_OK;
}

static hone_code not_supported(const char *what, const json_t *part, const char *remedy, hone_err *err)
{
    char *dump = part ? json_dumps(part, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    char  shown[400];
    hone_text_show(dump ? dump : "null", strlen(dump ? dump : "null"), shown, sizeof shown);
    free(dump);
    return HONE_FAIL(err, HONE_EUNSUPPORTED, remedy, "%s is not known: %s", what, shown);
}
static const char ADD_HERE[] = "teach src/formats/hf/tokenizer_json.c what it does, if the runtimes can do it";

/* ---- the vocabulary ------------------------------------------------------------------------------------------------ */

static hone_code id_of(const json_t *v, const char *what, uint32_t *out, hone_err *err)
{
    json_int_t i = json_is_real(v) ? (json_int_t)(json_real_value(v) >= 0 && json_real_value(v) < 1e15 ? json_real_value(v) : -1) : json_integer_value(v);
    if (!json_is_number(v) || i < 0 || i >= HONE_HF_TOKENS_MAX)
        return HONE_FAIL(err, HONE_EINPUT, REPAIR, "%s has an id that is no number in 0..%u", what, HONE_HF_TOKENS_MAX - 1);
    *out = (uint32_t)i;
    return HONE_OK;
}

static hone_code past_the_rows(const hone_hf_reader *r, size_t n, hone_err *err)
{
    return HONE_FAIL(err, HONE_EINPUT, "the tokenizer files must be those of this checkpoint", "tokenizer has %zu tokens, the embedding %u rows", n, r->n_vocab);
}

static hone_code read_vocab_map(hone_hf_reader *r, const json_t *vocab, const json_t *added, hone_err *err)
{
    if (!json_is_object(vocab)) return HONE_FAIL(err, HONE_EINPUT, REPAIR, "model.vocab is no object");
    uint32_t    max = 0, id = 0;
    size_t      n = 0;
    const char *key;
    json_t     *v;
    char        shown[80], what[128];
    /* Iterating over a const object writes nothing; jansson only has the non-const form. */
    json_t *obj = (json_t *)(uintptr_t)vocab;
    json_object_foreach(obj, key, v) {
        (void)snprintf(what, sizeof what, "token '%s'", hone_text_show(key, strlen(key), shown, sizeof shown));
        HONE_TRY(id_of(v, what, &id, err));
        if (id > max) max = id;
        n++;
    }
    if (n == 0) return HONE_FAIL(err, HONE_EINPUT, REPAIR, "model.vocab is empty");
    if (r->n_vocab && max >= r->n_vocab) return past_the_rows(r, (size_t)max + 1, err);
    size_t i;
    json_array_foreach(added, i, v) {
        (void)snprintf(what, sizeof what, "added token %zu", i);
        HONE_TRY(id_of(json_object_get(v, "id"), what, &id, err));
        if (id > max && (!r->n_vocab || id < r->n_vocab)) max = id;
    }
    HONE_TRY(hone_hf_vocab_new(r->a, (size_t)max + 1, &r->v, err));
    for (void *it = json_object_iter(obj); it; it = json_object_iter_next(obj, it)) {
        size_t len = json_object_iter_key_len(it);
        char  *text = hone_arena_strndup(r->a, json_object_iter_key(it), len);
        if (!text) return HONE_NOMEM(err, "the vocabulary");
        HONE_TRY(id_of(json_object_iter_value(it), "token", &id, err));
        HONE_TRY(hone_hf_vocab_add(&r->v, id, text, len, err));
    }
    return HONE_OK;
}

/* Tokens that checkpoints forget to call special.  Source: conversion/base.py does_token_look_special. */
static bool looks_special(const char *s, size_t n)
{
    static const char *const names[] = { "<pad>", "<mask>", "<2mass>", "[@BOS@]" };
    for (size_t i = 0; i < HONE_COUNT(names); i++)
        if (n == strlen(names[i]) && memcmp(s, names[i], n) == 0) return true;
    if (n >= 4 && memcmp(s, "<|", 2) == 0 && memcmp(s + n - 2, "|>", 2) == 0) return true;
    if (n >= 8 && memcmp(s, "<\xef\xbd\x9c", 4) == 0 && memcmp(s + n - 4, "\xef\xbd\x9c>", 4) == 0) return true;
    return n >= 8 && memcmp(s, "<unused", 7) == 0 && s[n - 1] == '>';
}

hone_code hone_hf_add_token(hone_hf_reader *r, uint32_t id, const json_t *token, hone_err *err)
{
    const json_t *content = json_is_string(token) ? token : json_object_get(token, "content");
    if (!json_is_string(content) || json_string_length(content) == 0)
        return HONE_FAIL(err, HONE_EINPUT, REPAIR, "added token %u has no content", id);
    if (id >= r->v.n) {
        r->t.n_dropped++;
        return HONE_OK;
    }
    const char *text;
    size_t      len;
    HONE_TRY(hone_hf_copy(r, content, &text, &len, err));
    HONE_TRY(hone_hf_vocab_set(&r->v, id, text, len, err));
    hone_token *t = &r->v.tokens[id];
    bool        special = false;
    t->normalized = true; /* the format's own default for tokens that are not special */
    if (json_is_object(token)) {
        HONE_TRY(hone_json_bool(token, "special", &special, err));
        t->normalized = !special;
        HONE_TRY(hone_json_bool(token, "lstrip", &t->lstrip, err));
        HONE_TRY(hone_json_bool(token, "rstrip", &t->rstrip, err));
        HONE_TRY(hone_json_bool(token, "normalized", &t->normalized, err));
    }
    t->special = special;
    t->type = special || looks_special(text, len) ? HONE_TOKEN_CONTROL : HONE_TOKEN_USER;
    return HONE_OK;
}

static hone_code read_added(hone_hf_reader *r, const json_t *added, hone_err *err)
{
    size_t        i;
    const json_t *v;
    if (added && !json_is_array(added) && !json_is_null(added)) return HONE_FAIL(err, HONE_EINPUT, REPAIR, "added_tokens is no array");
    json_array_foreach(added, i, v) {
        uint32_t id = 0;
        HONE_TRY(id_of(json_object_get(v, "id"), "an added token", &id, err));
        HONE_TRY(hone_hf_add_token(r, id, v, err));
    }
    return HONE_OK;
}

static int64_t find_string(const hone_hf_reader *r, const json_t *s)
{
    return json_is_string(s) ? hone_hf_vocab_find(&r->v, json_string_value(s), json_string_length(s)) : -1;
}

/* ---- merges -------------------------------------------------------------------------------------------------------- */

hone_code hone_hf_read_merges(hone_hf_reader *r, const json_t *list, hone_err *err)
{
    if (!json_is_array(list)) return HONE_FAIL(err, HONE_EINPUT, REPAIR, "model.merges is no array");
    size_t      n = json_array_size(list);
    hone_merge *out = HONE_ARENA_NEW(r->a, hone_merge, n);
    if (!out) return HONE_NOMEM(err, "the merges");
    hone_text both = { 0 };
    hone_code code = HONE_OK;
    for (size_t i = 0; i < n && code == HONE_OK; i++) {
        const json_t *m = json_array_get(list, i), *l = json_array_get(m, 0), *rr = json_array_get(m, 1);
        hone_merge   *o = &out[i];
        if (json_is_array(m) && json_array_size(m) == 2 && json_is_string(l) && json_is_string(rr)) {
            code = hone_hf_copy(r, l, &o->left, &o->left_len, err);
            if (code == HONE_OK) code = hone_hf_copy(r, rr, &o->right, &o->right_len, err);
        } else if (json_is_string(m)) {
            const char *s, *gap;
            size_t      len;
            code = hone_hf_copy(r, m, &s, &len, err);
            if (code != HONE_OK) break;
            gap = len ? memchr(s, ' ', len) : NULL;
            if (!gap || gap == s || gap + 1 == s + len || memchr(gap + 1, ' ', (size_t)(s + len - gap - 1))) {
                char shown[80];
                code = HONE_FAIL(err, HONE_EINPUT, REPAIR, "merge %zu is '%s', needs two words", i, hone_text_show(s, len, shown, sizeof shown));
                break;
            }
            *o = (hone_merge){ .left = s, .left_len = (size_t)(gap - s), .right = gap + 1, .right_len = (size_t)(s + len - gap - 1) };
        } else
            code = HONE_FAIL(err, HONE_EINPUT, REPAIR, "merge %zu is neither \"a b\" nor [\"a\", \"b\"]", i);
        if (code != HONE_OK) break;
        hone_text_clear(&both);
        hone_text_add_bytes(&both, o->left, o->left_len);
        hone_text_add_bytes(&both, o->right, o->right_len);
        if (both.failed) {
            code = HONE_NOMEM(err, "the merges");
            break;
        }
        const char *missing = NULL;
        size_t      missing_len = 0;
        if (hone_hf_vocab_find(&r->v, o->left, o->left_len) < 0) missing = o->left, missing_len = o->left_len;
        else if (hone_hf_vocab_find(&r->v, o->right, o->right_len) < 0) missing = o->right, missing_len = o->right_len;
        else if (hone_hf_vocab_find(&r->v, both.ptr, both.len) < 0) missing = both.ptr, missing_len = both.len;
        if (missing) {
            char a[64], b[64], c[96];
            code = HONE_FAIL(err, HONE_EINPUT, REPAIR, "merge %zu joins '%s' and '%s', but '%s' is not in the vocabulary", i,
                             hone_text_show(o->left, o->left_len, a, sizeof a), hone_text_show(o->right, o->right_len, b, sizeof b),
                             hone_text_show(missing, missing_len, c, sizeof c));
        }
    }
    hone_text_release(&both);
    if (code != HONE_OK) return code;
    r->t.merges = out;
    r->t.n_merges = n;
    return HONE_OK;
}

/* ---- normalizer and pre_tokenizer ---------------------------------------------------------------------------------- */

/* The steps of a part that may be one thing or a Sequence of them under key. */
static size_t steps(const json_t *part, const char *key, const json_t **out, size_t max)
{
    if (!part || json_is_null(part)) return 0;
    const json_t *list = strcmp(hone_hf_type(part), "Sequence") == 0 ? json_object_get(part, key) : NULL;
    if (!list) {
        out[0] = part;
        return 1;
    }
    size_t        i, n = 0;
    const json_t *v;
    json_array_foreach(list, i, v) {
        if (n == max) return max + 1;
        out[n++] = v;
    }
    return n;
}
#define STEPS_MAX 12

static bool is_replace(const json_t *step, const char *kind, const char *from, const char *to)
{
    const char *pattern = json_string_value(json_object_get(json_object_get(step, "pattern"), kind));
    const char *content = json_string_value(json_object_get(step, "content"));
    return strcmp(hone_hf_type(step), "Replace") == 0 && pattern && content && strcmp(pattern, from) == 0 && strcmp(content, to) == 0;
}

static bool string_is(const json_t *obj, const char *key, const char *want)
{
    const char *s = json_string_value(json_object_get(obj, key));
    return s && strcmp(s, want) == 0;
}

typedef enum prefix { PREFIX_NONE, PREFIX_ALWAYS, PREFIX_FIRST } prefix;

/* Metaspace: U+2581 for spaces and maybe one in front.  false when it replaces with something else. */
static bool read_metaspace(const json_t *step, prefix *p, bool *split)
{
    const char *scheme = json_string_value(json_object_get(step, "prepend_scheme"));
    if (strcmp(hone_hf_type(step), "Metaspace") != 0 || !string_is(step, "replacement", HONE_HF_SPACE)) return false;
    if (!scheme) *p = json_is_false(json_object_get(step, "add_prefix_space")) ? PREFIX_NONE : PREFIX_ALWAYS;
    else if (strcmp(scheme, "always") == 0) *p = PREFIX_ALWAYS;
    else if (strcmp(scheme, "first") == 0) *p = PREFIX_FIRST;
    else if (strcmp(scheme, "never") == 0) *p = PREFIX_NONE;
    else return false;
    *split = !json_is_false(json_object_get(step, "split"));
    return true;
}

static void set_prefix(hone_hf_reader *r, prefix p, bool metaspace)
{
    r->t.add_space_prefix = p != PREFIX_NONE;
    r->t.prefix_once = p == PREFIX_FIRST;
    r->t.prefix_not_double = p == PREFIX_ALWAYS && metaspace;
}

/* ---- byte-level BPE ------------------------------------------------------------------------------------------------ */

hone_code hone_hf_choose_pretokenizer(hone_hf_reader *r, const char *definition, bool ignore_merges, const json_t *shown, hone_err *err)
{
    bool                        exact = false;
    const json_t               *clean = json_object_get(r->config, "clean_up_tokenization_spaces");
    int                         clean_spaces = json_is_boolean(clean) ? json_is_true(clean) : -1;
    const hone_hf_pretokenizer *row = hone_hf_pretokenizer_find(definition, ignore_merges, clean_spaces, &exact);
    if (!row) return hone_hf_pretokenizer_unknown(shown, err);
    if (!exact) { /* it makes no difference when every token is what the merges make of it */
        bool all = false;
        HONE_TRY(hone_hf_merges_reach_all(r, &all, err));
        if (!all)
            return HONE_FAIL(err, HONE_EUNSUPPORTED, "add a row to src/formats/hf/pretokenizers.def with this ignore_merges",
                             "pre-tokenizer '%s' has ignore_merges %s in llama.cpp, %s in tokenizer.json, and some tokens need it", row->name,
                             row->ignore_merges ? "true" : "false", ignore_merges ? "true" : "false");
    }
    r->t.pre = row->name;
    r->t.pre_cleans = row->clean_spaces;
    return ignore_merges ? hone_hf_mark_unreached(r, err) : HONE_OK;
}

static hone_code read_byte_bpe(hone_hf_reader *r, const json_t *root, const json_t *model, hone_err *err)
{
    const json_t *norm = json_object_get(root, "normalizer"), *pre = json_object_get(root, "pre_tokenizer");
    const json_t *s[STEPS_MAX + 1];
    size_t        n = steps(norm, "normalizers", s, STEPS_MAX);
    for (size_t i = 0; i < n; i++) {
        if (i == STEPS_MAX || strcmp(hone_hf_type(s[i]), "NFC") != 0) return not_supported("normalizer of a byte-level BPE", norm, ADD_HERE, err);
        r->t.nfc = true;
    }
    const char *definition = "";
    bool        bytes = false, ignore_merges = false;
    HONE_TRY(hone_hf_pretokenizer_spell(pre, r->a, &definition, &bytes, err));
    if (!bytes) return hone_hf_pretokenizer_unknown(pre, err);
    HONE_TRY(hone_json_bool(model, "ignore_merges", &ignore_merges, err));
    HONE_TRY(hone_hf_read_merges(r, json_object_get(model, "merges"), err));
    HONE_TRY(hone_hf_choose_pretokenizer(r, definition, ignore_merges, pre, err));
    r->t.kind = HONE_TOK_BPE;
    r->t.gguf_model = "gpt2";
    return HONE_OK;
}

/* ---- SentencePiece BPE --------------------------------------------------------------------------------------------- */

/* Whether some token has a space anywhere but in front: then splitting at spaces and not splitting give different tokens. */
static bool has_inner_space(const hone_hf_vocab *v)
{
    for (size_t i = 0; i < v->n; i++) {
        const hone_token *t = &v->tokens[i];
        if (!t->text || t->type != HONE_TOKEN_NORMAL || t->len <= 3) continue;
        if (memmem(t->text + 1, t->len - 1, HONE_HF_SPACE, 3)) return true;
    }
    return false;
}

static hone_code mark_bytes(hone_hf_reader *r, hone_err *err)
{
    size_t n = 0;
    for (size_t i = 0; i < r->v.n; i++) {
        hone_token *t = &r->v.tokens[i];
        if (!t->text || !hone_hf_is_byte_token(t->text, t->len)) continue;
        if (t->type == HONE_TOKEN_NORMAL) t->type = HONE_TOKEN_BYTE;
        n += t->type == HONE_TOKEN_BYTE;
    }
    if (n != 256)
        return HONE_FAIL(err, HONE_EUNSUPPORTED, ADD_HERE, "byte_fallback needs the 256 tokens <0x00> to <0xFF>, the vocabulary has %zu", n);
    return HONE_OK;
}

/* Gemma's runs of spaces: an added token that is looked for before spaces are spelt U+2581 never matches a space.  Spaces come
 * together by merging, like other pieces. */
bool hone_hf_is_space_run(const hone_token *t)
{
    if (t->type != HONE_TOKEN_USER || t->normalized) return false;
    for (size_t i = 0; i < t->len; i += 3)
        if (t->len - i < 3 || memcmp(t->text + i, HONE_HF_SPACE, 3) != 0) return false;
    return t->len > 3;
}

/* Scores and types of the base vocabulary from tokenizer.model. */
static hone_code take_pieces(hone_hf_reader *r, const hone_sp *sp, hone_err *err)
{
    char a[80], b[80];
    for (size_t i = 0; i < sp->n; i++) {
        const hone_sp_piece *p = &sp->pieces[i];
        hone_token          *t = i < r->v.n ? &r->v.tokens[i] : NULL;
        if (!t || !t->text) {
            if (p->type == HONE_TOKEN_UNUSED || !t) continue;
            HONE_TRY(hone_hf_vocab_add(&r->v, (uint32_t)i, p->text, p->len, err));
            t = &r->v.tokens[i];
        }
        if (hone_hf_is_space_run(t) && t->len == p->len && memcmp(t->text, p->text, p->len) == 0) {
            t->type = HONE_TOKEN_NORMAL;
            t->score = p->score; /* says how early they come together */
            continue;
        }
        if (t->type == HONE_TOKEN_CONTROL || t->type == HONE_TOKEN_USER) continue; /* its score is set below */
        if (t->len != p->len || memcmp(t->text, p->text, p->len) != 0)
            return HONE_FAIL(err, HONE_EINPUT, "take tokenizer.json and tokenizer.model from one revision of the checkpoint",
                             "token %zu is '%s' in tokenizer.json and '%s' in tokenizer.model", i, hone_text_show(t->text, t->len, a, sizeof a),
                             hone_text_show(p->text, p->len, b, sizeof b));
        t->score = p->score;
        /* User-defined pieces that tokenizer.json does not list as added are matched like others by it. */
        t->type = p->type == HONE_TOKEN_USER ? HONE_TOKEN_NORMAL : p->type;
    }
    return HONE_OK;
}

static hone_code read_sp_bpe(hone_hf_reader *r, const json_t *root, const json_t *model, const hone_sp *sp, hone_err *err)
{
    const json_t *norm = json_object_get(root, "normalizer"), *pre = json_object_get(root, "pre_tokenizer");
    const json_t *s[STEPS_MAX + 1];
    size_t        n = steps(norm, "normalizers", s, STEPS_MAX);
    prefix        p = PREFIX_NONE, p2 = PREFIX_NONE;
    bool          spaces = false, split = false, metaspace = false;
    for (size_t i = 0; i < n; i++) {
        if (i < STEPS_MAX && is_replace(s[i], "String", " ", HONE_HF_SPACE)) spaces = true;
        else if (i < STEPS_MAX && strcmp(hone_hf_type(s[i]), "Prepend") == 0 && string_is(s[i], "prepend", HONE_HF_SPACE)) p = PREFIX_ALWAYS;
        else return not_supported("normalizer of a SentencePiece BPE", norm, ADD_HERE, err);
    }
    n = steps(pre, "pretokenizers", s, STEPS_MAX);
    if (n == 1 && read_metaspace(s[0], &p2, &split)) {
        metaspace = p == PREFIX_NONE;
        if (metaspace) p = p2;
        spaces = true;
    } else if (n == 1 && spaces && strcmp(hone_hf_type(s[0]), "Split") == 0 && string_is(json_object_get(s[0], "pattern"), "String", " ")) {
        /* No space is left when this is asked (Gemma). */
    } else if (n != 0)
        return not_supported("pre-tokenizer of a SentencePiece BPE", pre, ADD_HERE, err);
    if (!spaces) return not_supported("a BPE that is neither byte-level nor SentencePiece: pre-tokenizer", pre, ADD_HERE, err);
    if (split && has_inner_space(&r->v)) return not_supported("splitting at spaces with tokens that hold spaces: pre-tokenizer", pre, ADD_HERE, err);
    set_prefix(r, p, metaspace);
    r->t.kind = HONE_TOK_SPM;
    r->t.gguf_model = "llama";
    r->t.escape_whitespaces = true;
    if (sp && sp->model != HONE_SP_BPE)
        return HONE_FAIL(err, HONE_EINPUT, "take tokenizer.json and tokenizer.model from one revision of the checkpoint",
                         "tokenizer.json is a BPE, tokenizer.model has model type %d", (int)sp->model);
    if (sp) HONE_TRY(take_pieces(r, sp, err));
    HONE_TRY(mark_bytes(r, err));
    if (!sp) {
        bool ok = false;
        for (size_t i = 0; i < r->v.n; i++)
            if (r->v.tokens[i].text && hone_hf_is_space_run(&r->v.tokens[i])) r->v.tokens[i].type = HONE_TOKEN_NORMAL;
        HONE_TRY(hone_hf_read_merges(r, json_object_get(model, "merges"), err));
        HONE_TRY(hone_hf_scores_from_merges(r, &ok, err));
        if (ok) {
            r->t.n_merges = 0; /* the scores say it all */
            r->t.merges = NULL;
        } else if (p == PREFIX_NONE) {
            /* llama.cpp can also merge by rank on plain UTF-8: "gemma4" puts bos in front always, "sarvam-moe" when asked. */
            r->t.kind = HONE_TOK_BPE;
            r->t.gguf_model = "gpt2";
            r->t.pre = "sarvam-moe";
        } else
            return HONE_FAIL(err, HONE_EUNSUPPORTED, "put the checkpoint's tokenizer.model beside tokenizer.json",
                             "the order of the merges cannot be said with one score for each token");
    }
    int64_t unk = find_string(r, json_object_get(model, "unk_token"));
    if (unk >= 0 && r->v.tokens[unk].type == HONE_TOKEN_NORMAL) r->v.tokens[unk].type = HONE_TOKEN_UNKNOWN;
    r->t.unk = unk;
    for (size_t i = 0; i < r->v.n; i++) /* conversion/base.py _create_vocab_sentencepiece */
        if (r->v.tokens[i].type == HONE_TOKEN_CONTROL || r->v.tokens[i].type == HONE_TOKEN_USER) r->v.tokens[i].score = -1000.0f;
    return HONE_OK;
}

/* ---- Unigram ------------------------------------------------------------------------------------------------------- */

static hone_code read_charsmap(hone_hf_reader *r, const json_t *step, hone_err *err)
{
    const json_t *s = json_object_get(step, "precompiled_charsmap");
    if (!s || json_is_null(s)) return HONE_OK;
    size_t   n = json_string_length(s);
    uint8_t *out = json_is_string(s) && n % 4 == 0 && n <= INT32_MAX ? hone_arena_alloc(r->a, n / 4 * 3 + 1) : NULL;
    int      got = out ? EVP_DecodeBlock(out, (const unsigned char *)json_string_value(s), (int)n) : -1;
    if (got < 0) return HONE_FAIL(err, HONE_EINPUT, REPAIR, "precompiled_charsmap is no base64");
    const char *text = json_string_value(s);
    size_t      pad = n && text[n - 1] == '=' ? (text[n - 2] == '=' ? 2 : 1) : 0;
    r->t.charsmap = out;
    r->t.charsmap_len = (size_t)got - pad;
    return HONE_OK;
}

/* What llama.cpp checks when it loads (llama_vocab::impl::load) and what its walk then trusts. */
static hone_code check_charsmap(const hone_tokenizer *t, hone_err *err)
{
    if (t->charsmap_len == 0) return HONE_OK;
    if (t->charsmap_len < 5 || hone_le32(t->charsmap) >= t->charsmap_len - 4 || t->charsmap[t->charsmap_len - 1] != 0)
        return HONE_FAIL(err, HONE_EINPUT, REPAIR, "precompiled_charsmap of %zu bytes is cut off", t->charsmap_len);
    return HONE_OK;
}

static hone_code read_unigram(hone_hf_reader *r, const json_t *root, const json_t *model, hone_err *err)
{
    const json_t *vocab = json_object_get(model, "vocab"), *added = json_object_get(root, "added_tokens"), *v;
    size_t        i, n = json_array_size(vocab), rows = n;
    if (!json_is_array(vocab) || n == 0) return HONE_FAIL(err, HONE_EINPUT, REPAIR, "model.vocab is no list of [piece, score]");
    if (r->n_vocab && n > r->n_vocab) return past_the_rows(r, n, err);
    json_array_foreach(added, i, v) {
        uint32_t id = 0;
        HONE_TRY(id_of(json_object_get(v, "id"), "an added token", &id, err));
        if (id >= rows && (!r->n_vocab || id < r->n_vocab)) rows = (size_t)id + 1;
    }
    HONE_TRY(hone_hf_vocab_new(r->a, rows, &r->v, err));
    json_array_foreach(vocab, i, v) {
        const json_t *piece = json_array_get(v, 0), *score = json_array_get(v, 1);
        if (!json_is_string(piece) || !json_is_number(score)) return HONE_FAIL(err, HONE_EINPUT, REPAIR, "piece %zu is no [piece, score]", i);
        const char *text;
        size_t      len;
        HONE_TRY(hone_hf_copy(r, piece, &text, &len, err));
        HONE_TRY(hone_hf_vocab_add(&r->v, (uint32_t)i, text, len, err));
        r->v.tokens[i].score = (float)json_number_value(score);
    }
    HONE_TRY(read_added(r, added, err));

    const json_t *norm = json_object_get(root, "normalizer"), *pre = json_object_get(root, "pre_tokenizer");
    const json_t *s[STEPS_MAX + 1];
    size_t        n_steps = steps(norm, "normalizers", s, STEPS_MAX);
    bool          merge_spaces = false, split = false, strips = false;
    prefix        p = PREFIX_NONE;
    for (i = 0; i < n_steps; i++) {
        if (i < STEPS_MAX && strcmp(hone_hf_type(s[i]), "Precompiled") == 0) HONE_TRY(read_charsmap(r, s[i], err));
        else if (i < STEPS_MAX && (is_replace(s[i], "Regex", " {2,}", " ") || is_replace(s[i], "Regex", " {2,}", HONE_HF_SPACE))) merge_spaces = true;
        else if (i < STEPS_MAX && strcmp(hone_hf_type(s[i]), "Strip") == 0) strips = true; /* spaces at the ends: llama.cpp drops them when it merges spaces */
        else return not_supported("normalizer of a Unigram model", norm, ADD_HERE, err);
    }
    n_steps = steps(pre, "pretokenizers", s, STEPS_MAX);
    bool words = n_steps == 2 && (strcmp(hone_hf_type(s[0]), "WhitespaceSplit") == 0);
    if (!(n_steps == 1 || words) || !read_metaspace(s[n_steps - 1], &p, &split)) return not_supported("pre-tokenizer of a Unigram model", pre, ADD_HERE, err);
    HONE_TRY(check_charsmap(&r->t, err));
    set_prefix(r, p, true);
    r->t.remove_extra_whitespaces = merge_spaces || words;
    r->t.keeps_end_space = merge_spaces && !words && !strips;
    r->t.escape_whitespaces = true;
    r->t.kind = HONE_TOK_UNIGRAM;
    r->t.gguf_model = "t5";
    if (json_is_true(json_object_get(model, "byte_fallback"))) HONE_TRY(mark_bytes(r, err));
    uint32_t unk = 0;
    if (json_is_integer(json_object_get(model, "unk_id"))) {
        HONE_TRY(hone_json_u32(model, "unk_id", &unk, err));
        if (unk >= n) return HONE_FAIL(err, HONE_EINPUT, REPAIR, "unk_id is %u, the vocabulary has %zu pieces", unk, n);
        r->v.tokens[unk].type = HONE_TOKEN_UNKNOWN;
        r->t.unk = unk;
    }
    return HONE_OK;
}

/* ---- WordPiece ----------------------------------------------------------------------------------------------------- */

static hone_code read_wordpiece(hone_hf_reader *r, const json_t *root, const json_t *model, hone_err *err)
{
    const json_t *norm = json_object_get(root, "normalizer"), *pre = json_object_get(root, "pre_tokenizer");
    const char   *hashes = "##";
    HONE_TRY(hone_json_str(model, "continuing_subword_prefix", &hashes, err));
    if (strcmp(hashes, "##") != 0) return not_supported("continuing_subword_prefix", json_object_get(model, "continuing_subword_prefix"), ADD_HERE, err);
    if (strcmp(hone_hf_type(pre), "BertPreTokenizer") != 0) return not_supported("pre-tokenizer of a WordPiece model", pre, ADD_HERE, err);
    r->t.lowercase = 0;
    r->t.strip_accents = 0;
    if (norm && !json_is_null(norm)) {
        bool lower = true, clean = true, chinese = true;
        if (strcmp(hone_hf_type(norm), "BertNormalizer") != 0) return not_supported("normalizer of a WordPiece model", norm, ADD_HERE, err);
        HONE_TRY(hone_json_bool(norm, "lowercase", &lower, err));
        HONE_TRY(hone_json_bool(norm, "clean_text", &clean, err));
        HONE_TRY(hone_json_bool(norm, "handle_chinese_chars", &chinese, err));
        if (!clean || !chinese) return not_supported("normalizer of a WordPiece model", norm, ADD_HERE, err); /* llama.cpp always does both */
        const json_t *accents = json_object_get(norm, "strip_accents");
        r->t.lowercase = lower;
        r->t.strip_accents = json_is_boolean(accents) ? json_is_true(accents) : -1; /* not said: as lowercase */
    }
    r->t.max_word = 100;
    HONE_TRY(hone_json_u32(model, "max_input_chars_per_word", &r->t.max_word, err));
    r->t.unk = find_string(r, json_object_get(model, "unk_token"));
    r->t.kind = HONE_TOK_WORDPIECE;
    r->t.gguf_model = "bert";
    return HONE_OK;
}

/* ---- post_processor ------------------------------------------------------------------------------------------------ */

static hone_code template_token(const hone_hf_reader *r, const json_t *processor, const json_t *item, int64_t *id, hone_err *err)
{
    const json_t *special = json_object_get(item, "SpecialToken"), *name = json_object_get(special, "id");
    const char   *key = json_string_value(name);
    const json_t *ids = key ? json_object_get(json_object_get(json_object_get(processor, "special_tokens"), key), "ids") : NULL;
    int64_t       found = key ? find_string(r, name) : -1;
    if (json_array_size(ids) == 1 && json_is_integer(json_array_get(ids, 0))) found = json_integer_value(json_array_get(ids, 0));
    if (found < 0 || found >= (int64_t)r->v.n) {
        char shown[80];
        return HONE_FAIL(err, HONE_EINPUT, REPAIR, "post_processor puts '%s', which is no token", hone_text_show(key ? key : "", strlen(key ? key : ""), shown, sizeof shown));
    }
    *id = found;
    return HONE_OK;
}

static hone_code read_template(hone_hf_reader *r, const json_t *processor, const json_t *root, hone_err *err)
{
    const json_t *single = json_object_get(processor, "single"), *pair = json_object_get(processor, "pair"), *v;
    size_t        i, before = 0, after = 0;
    bool          seen = false;
    int64_t       first = -1, last = -1;
    json_array_foreach(single, i, v) {
        if (json_object_get(v, "Sequence")) seen = true;
        else {
            HONE_TRY(template_token(r, processor, v, seen ? &last : &first, err));
            if (seen) after++;
            else before++;
        }
    }
    if (before > 1 || after > 1)
        return not_supported("post_processor that puts more than one token before or after a text", json_object_get(root, "post_processor"),
                             "llama.cpp can put one; convert a checkpoint whose chat template writes the others", err);
    r->first = first;
    r->last = last;
    /* gguf-py/gguf/vocab.py SpecialVocab: a separator of its own between two texts. */
    size_t between = 0;
    seen = false;
    int64_t one = -1;
    json_array_foreach(pair, i, v) {
        const char *seq = json_string_value(json_object_get(json_object_get(v, "Sequence"), "id"));
        if (seq && strcmp(seq, "A") == 0) seen = true;
        else if (seq) break;
        else if (seen) {
            between++;
            HONE_TRY(template_token(r, processor, v, &one, err));
        }
    }
    r->pair_sep = between == 2 || (between == 1 && after == 0 && one != first);
    return HONE_OK;
}

static hone_code read_post(hone_hf_reader *r, const json_t *root, hone_err *err)
{
    const json_t *post = json_object_get(root, "post_processor");
    const json_t *s[STEPS_MAX + 1];
    size_t        n = steps(post, "processors", s, STEPS_MAX);
    for (size_t i = 0; i < n; i++) {
        const char *type = i < STEPS_MAX ? hone_hf_type(s[i]) : "";
        if (strcmp(type, "ByteLevel") == 0) r->have_post = true; /* offsets only */
        else if (strcmp(type, "TemplateProcessing") == 0) {
            HONE_TRY(read_template(r, s[i], root, err));
            r->have_post = true;
        } else if (strcmp(type, "BertProcessing") == 0 || strcmp(type, "RobertaProcessing") == 0) {
            const json_t *cls = json_array_get(json_object_get(s[i], "cls"), 1), *sep = json_array_get(json_object_get(s[i], "sep"), 1);
            if (!json_is_integer(cls) || !json_is_integer(sep) || json_integer_value(cls) < 0 || json_integer_value(sep) < 0 ||
                json_integer_value(cls) >= (json_int_t)r->v.n || json_integer_value(sep) >= (json_int_t)r->v.n)
                return HONE_FAIL(err, HONE_EINPUT, REPAIR, "post_processor names tokens that are not in the vocabulary");
            r->first = json_integer_value(cls);
            r->last = json_integer_value(sep);
            r->pair_sep = type[0] == 'R';
            r->have_post = true;
        } else
            return not_supported("post_processor", post, ADD_HERE, err);
    }
    return HONE_OK;
}

/* ---- the whole ----------------------------------------------------------------------------------------------------- */

/* Files of old releases do not name the model's type. */
static const char *model_type(const json_t *model)
{
    const char *type = hone_hf_type(model);
    if (*type) return type;
    if (json_object_get(model, "merges")) return "BPE";
    if (json_is_array(json_object_get(model, "vocab"))) return "Unigram";
    if (json_object_get(model, "max_input_chars_per_word")) return "WordPiece";
    return "";
}

static bool has_byte_level(const json_t *part, const char *key)
{
    const json_t *s[STEPS_MAX + 1];
    size_t        n = steps(part, key, s, STEPS_MAX);
    for (size_t i = 0; i < n && i < STEPS_MAX; i++)
        if (strcmp(hone_hf_type(s[i]), "ByteLevel") == 0) return true;
    return false;
}

/* A string that must be absent or empty. */
static hone_code must_be_empty(const json_t *model, const char *key, hone_err *err)
{
    const char *s = "";
    HONE_TRY(hone_json_str(model, key, &s, err));
    return *s ? not_supported(key, json_object_get(model, key), ADD_HERE, err) : HONE_OK;
}

hone_code hone_hf_read_json(hone_hf_reader *r, const json_t *root, const hone_sp *sp, hone_err *err)
{
    const json_t *model = json_object_get(root, "model"), *added = json_object_get(root, "added_tokens");
    if (!json_is_object(model)) return HONE_FAIL(err, HONE_EINPUT, REPAIR, "the document has no \"model\"");
    const char *type = model_type(model);
    if (strcmp(type, "Unigram") == 0) {
        HONE_TRY(read_unigram(r, root, model, err));
        return read_post(r, root, err);
    }
    bool bpe = strcmp(type, "BPE") == 0;
    if (!bpe && strcmp(type, "WordPiece") != 0) {
        char shown[80];
        return HONE_FAIL(err, HONE_EUNSUPPORTED, "hone knows BPE, Unigram and WordPiece", "tokenizer model '%s' is not known",
                         hone_text_show(type, strlen(type), shown, sizeof shown));
    }
    HONE_TRY(read_vocab_map(r, json_object_get(model, "vocab"), added, err));
    HONE_TRY(read_added(r, added, err));
    if (!bpe) HONE_TRY(read_wordpiece(r, root, model, err));
    else {
        HONE_TRY(must_be_empty(model, "continuing_subword_prefix", err));
        HONE_TRY(must_be_empty(model, "end_of_word_suffix", err));
        if (has_byte_level(json_object_get(root, "pre_tokenizer"), "pretokenizers")) HONE_TRY(read_byte_bpe(r, root, model, err));
        else if (json_is_true(json_object_get(model, "byte_fallback"))) HONE_TRY(read_sp_bpe(r, root, model, sp, err));
        else return hone_hf_pretokenizer_unknown(json_object_get(root, "pre_tokenizer"), err);
    }
    return read_post(r, root, err);
}
