/* vocab.c - the vocabulary as the extension's layers want it.
 *
 * BPETokenizer (src/bpe_tokenizer.cpp) looks for the longest token that no merge makes, then merges.  That is BPE as long as
 *   - tokens are bytes, not letters of GPT-2's byte alphabet;
 *   - nothing else is found: a token of several characters that no merge makes (Hugging Face never reaches it), the text "<0x0A>" of a
 *     byte token.  Such tokens get a text that occurs in no text (HIDDEN); byte tokens get their byte, so that a character without a
 *     token of its own becomes its bytes, as with byte_fallback.
 * VocabDecoder puts the decoded texts together. */
#include "formats/hf/reader.h"
#include "formats/openvino/pieces.h"
#include <stdlib.h>
#include <string.h>

#define HIDDEN "\xff\xfe%zu" /* bytes that UTF-8 does not have */

bool hone_ov_is_added(const hone_token *t) { return t->type == HONE_TOKEN_CONTROL || t->type == HONE_TOKEN_USER; }

/* The bytes behind GPT-2's letters: printable Latin-1 stands for itself, the other 68 bytes in order for U+0100 and up.
 * Source: transformers models/gpt2/tokenization_gpt2.py bytes_to_unicode.  -1: no letter. */
static int byte_of(uint32_t cp)
{
    static const struct { uint32_t from, to, first; } gaps[] = { { 0x100, 0x120, 0 }, { 0x121, 0x142, 0x7f }, { 0x143, 0x143, 0xad } };
    if ((cp >= 0x21 && cp <= 0x7e) || (cp >= 0xa1 && cp <= 0xac) || (cp >= 0xae && cp <= 0xff)) return (int)cp;
    for (size_t i = 0; i < HONE_COUNT(gaps); i++)
        if (cp >= gaps[i].from && cp <= gaps[i].to) return (int)(gaps[i].first + cp - gaps[i].from);
    return -1;
}

static hone_code copy(hone_arena *a, const char *s, size_t n, hone_bytes *out, hone_err *err)
{
    char *c = hone_arena_strndup(a, s, n);
    if (!c) return HONE_NOMEM(err, "the vocabulary");
    *out = (hone_bytes){ (const uint8_t *)c, n };
    return HONE_OK;
}

/* Letters to bytes; a text with another character in it stays as it is (ModernBERT has such tokens), as decoding has it. */
static hone_code letters_to_bytes(hone_arena *a, const char *s, size_t n, hone_bytes *out, hone_err *err)
{
    char  *b = hone_arena_alloc(a, n);
    size_t len = 0;
    if (!b) return HONE_NOMEM(err, "the vocabulary");
    for (size_t at = 0; at < n;) {
        uint32_t cp = 0;
        size_t   step = hone_utf8_decode(s + at, n - at, &cp);
        int      byte = step ? byte_of(cp) : -1;
        if (byte < 0) return copy(a, s, n, out, err);
        b[len++] = (char)byte;
        at += step;
    }
    *out = (hone_bytes){ (const uint8_t *)b, len };
    return HONE_OK;
}

static hone_code spaces_for_marks(hone_arena *a, const char *s, size_t n, hone_bytes *out, hone_err *err)
{
    char  *b = hone_arena_alloc(a, n);
    size_t len = 0;
    if (!b) return HONE_NOMEM(err, "the vocabulary");
    for (size_t at = 0; at < n;)
        if (n - at >= 3 && memcmp(s + at, HONE_HF_SPACE, 3) == 0) {
            b[len++] = ' ';
            at += 3;
        } else
            b[len++] = s[at++];
    *out = (hone_bytes){ (const uint8_t *)b, len };
    return HONE_OK;
}

static uint8_t hex(char c) { return (uint8_t)(c <= '9' ? c - '0' : (c | 32) - 'a' + 10); }

static hone_code byte_token(hone_arena *a, const hone_token *k, hone_bytes *out, hone_err *err)
{
    char byte = (char)(hex(k->text[3]) << 4 | hex(k->text[4])); /* <0xAB>, checked by hone_hf_is_byte_token */
    return copy(a, &byte, 1, out, err);
}

static bool is_byte(const hone_token *k) { return k->type == HONE_TOKEN_BYTE && hone_hf_is_byte_token(k->text, k->len); }

/* Pieces of SentencePiece and byte-level BPE have their own alphabets; WordPiece and added tokens are plain text. */
static hone_code plain(const hone_tokenizer *t, const hone_token *k, hone_arena *a, hone_bytes *out, hone_err *err)
{
    if (is_byte(k)) return byte_token(a, k, out, err);
    if (t->kind == HONE_TOK_BPE && !t->escape_whitespaces && !hone_ov_is_added(k)) return letters_to_bytes(a, k->text, k->len, out, err);
    return copy(a, k->text, k->len, out, err);
}

/* A WordPiece that begins a word brings its space along; the marks of sentences stand without one (tokenizers/src/decoders/wordpiece.rs cleanup). */
static hone_code decoded(const hone_tokenizer *t, const hone_token *k, hone_bytes encode, hone_arena *a, hone_bytes *out, hone_err *err)
{
    if (t->kind == HONE_TOK_WORDPIECE) {
        if (k->len > 2 && memcmp(k->text, "##", 2) == 0) return copy(a, k->text + 2, k->len - 2, out, err);
        if (k->len == 1 && strchr(".,!?", k->text[0])) return copy(a, k->text, 1, out, err);
        char *s = hone_arena_alloc(a, k->len + 1);
        if (!s) return HONE_NOMEM(err, "the vocabulary");
        s[0] = ' ';
        memcpy(s + 1, k->text, k->len);
        *out = (hone_bytes){ (const uint8_t *)s, k->len + 1 };
        return HONE_OK;
    }
    if (t->escape_whitespaces && !is_byte(k)) return spaces_for_marks(a, k->text, k->len, out, err);
    *out = encode;
    return HONE_OK;
}

static hone_code hide(hone_arena *a, size_t id, hone_bytes *out, hone_err *err)
{
    char *s = hone_arena_printf(a, HIDDEN, id);
    if (!s) return HONE_NOMEM(err, "the vocabulary");
    *out = (hone_bytes){ (const uint8_t *)s, strlen(s) };
    return HONE_OK;
}

/* ---- merges -------------------------------------------------------------------------------------------------------- */

typedef struct join { uint32_t left, right, whole; } join;

typedef struct joins {
    join  *list;
    size_t n, cap;
} joins;

static hone_code add_join(joins *j, join one, hone_err *err)
{
    if (j->n == j->cap) {
        size_t cap = j->cap ? 2 * j->cap : 4096;
        join  *more = realloc(j->list, cap * sizeof *more);
        if (!more) return HONE_NOMEM(err, "the merges");
        j->list = more;
        j->cap = cap;
    }
    j->list[j->n++] = one;
    return HONE_OK;
}

static uint32_t chars_of(const char *s, size_t n)
{
    uint32_t c = 0;
    for (size_t i = 0; i < n; i++) c += ((unsigned char)s[i] & 0xc0) != 0x80;
    return c;
}

/* SentencePiece joins whatever two pieces make the piece with the highest score. */
static hone_code joins_from_scores(const hone_hf_vocab *v, joins *out, hone_err *err)
{
    hone_hf_way *ways = NULL;
    size_t       n = 0;
    HONE_TRY(hone_hf_ways(v, &ways, &n, err));
    hone_code code = HONE_OK;
    for (size_t i = 0; code == HONE_OK && i < n; i++) code = add_join(out, (join){ ways[i].left, ways[i].right, ways[i].whole }, err);
    free(ways);
    return code;
}

static hone_code joins_from_merges(const hone_tokenizer *t, const hone_hf_vocab *v, joins *out, hone_err *err)
{
    hone_text both = { 0 };
    hone_code code = HONE_OK;
    for (size_t i = 0; code == HONE_OK && i < t->n_merges; i++) {
        const hone_merge *m = &t->merges[i];
        hone_text_clear(&both);
        hone_text_add_bytes(&both, m->left, m->left_len);
        hone_text_add_bytes(&both, m->right, m->right_len);
        int64_t l = hone_hf_vocab_find(v, m->left, m->left_len), r = hone_hf_vocab_find(v, m->right, m->right_len);
        int64_t w = both.failed ? -1 : hone_hf_vocab_find(v, both.ptr ? both.ptr : "", both.len);
        if (both.failed) code = HONE_NOMEM(err, "the merges");
        else if (l < 0 || r < 0 || w < 0) code = HONE_FAIL(err, HONE_EINPUT, "", "merge %zu is about a token that is not in the vocabulary", i);
        else code = add_join(out, (join){ .left = (uint32_t)l, .right = (uint32_t)r, .whole = (uint32_t)w }, err);
    }
    hone_text_release(&both);
    return code;
}

/* Takes from sight what BPE cannot reach: pieces of several characters that nothing joins. */
static hone_code hide_unreached(const hone_tokenizer *t, const joins *j, hone_arena *a, hone_ov_vocab *v, hone_err *err)
{
    bool *reached = calloc(v->n ? v->n : 1, sizeof *reached);
    if (!reached) return HONE_NOMEM(err, "the vocabulary");
    for (size_t i = 0; i < j->n; i++) reached[j->list[i].left] = reached[j->list[i].right] = reached[j->list[i].whole] = true;
    hone_code code = HONE_OK;
    for (size_t i = 0; code == HONE_OK && i < v->n; i++) {
        const hone_token *k = &t->tokens[i];
        bool              one = chars_of(k->text, k->len) <= 1;
        if (k->type == HONE_TOKEN_NORMAL && !one && !reached[i]) code = hide(a, i, &v->encode[i], err);
    }
    free(reached);
    return code;
}

/* The tokens that a word is only as a whole: a pattern that finds such words, and the name they then get.  A piece is whole characters, so
 * that tokens which are not are never one. */
static hone_code make_aliases(const hone_tokenizer *t, hone_arena *a, hone_ov_vocab *v, hone_err *err)
{
    hone_text pattern = { 0 };
    v->alias = HONE_ARENA_NEW(a, hone_bytes, v->n);
    v->alias_ids = HONE_ARENA_NEW(a, int32_t, v->n);
    if (!v->alias || !v->alias_ids) return HONE_NOMEM(err, "the vocabulary");
    hone_text_add(&pattern, "^(");
    for (size_t i = 0; i < v->n; i++) {
        hone_bytes word;
        if (!t->tokens[i].unreached) continue;
        char *name = hone_arena_alloc(a, t->tokens[i].len + 4);
        if (!name || letters_to_bytes(a, t->tokens[i].text, t->tokens[i].len, &word, err) != HONE_OK) pattern.failed = true;
        if (pattern.failed || !hone_utf8_valid((const char *)word.ptr, word.len)) continue;
        memcpy(name, HONE_OV_WHOLE, 4);
        memcpy(name + 4, word.ptr, word.len);
        hone_text_add(&pattern, v->n_alias ? "|" : "");
        hone_ov_quote(&pattern, (const char *)word.ptr, word.len);
        v->alias_ids[v->n_alias] = (int32_t)i;
        v->alias[v->n_alias++] = (hone_bytes){ (const uint8_t *)name, word.len + 4 };
    }
    hone_text_add(&pattern, ")\\z");
    bool failed = pattern.failed;
    if (!failed && v->n_alias) failed = !(v->words = hone_arena_strndup(a, pattern.ptr, pattern.len));
    hone_text_release(&pattern);
    return failed ? HONE_NOMEM(err, "the vocabulary") : HONE_OK;
}

static hone_code make_merges(const hone_tokenizer *t, const hone_hf_vocab *texts, hone_arena *a, hone_ov_vocab *v, hone_err *err)
{
    joins     j = { 0 };
    hone_code code = t->kind == HONE_TOK_SPM ? joins_from_scores(texts, &j, err) : joins_from_merges(t, texts, &j, err);
    if (code == HONE_OK) code = hide_unreached(t, &j, a, v, err);
    if (code == HONE_OK && t->whole_words) code = make_aliases(t, a, v, err);
    v->left = HONE_ARENA_NEW(a, hone_bytes, j.n);
    v->right = HONE_ARENA_NEW(a, hone_bytes, j.n);
    if (code == HONE_OK && (!v->left || !v->right)) code = HONE_NOMEM(err, "the merges");
    for (size_t i = 0; code == HONE_OK && i < j.n; i++) {
        v->left[i] = v->encode[j.list[i].left];
        v->right[i] = v->encode[j.list[i].right];
    }
    v->n_merges = j.n;
    free(j.list);
    return code;
}

/* ---- all of it ----------------------------------------------------------------------------------------------------- */

/* Whether text may be cut into this token at all.  UnigramTokenizer ends texts at a zero byte and goes from character to character, so
 * that it has no use for parts of one. */
static bool is_sought(const hone_tokenizer *t, const hone_hf_vocab *texts, const hone_token *k, hone_bytes encode)
{
    if (k->type == HONE_TOKEN_UNUSED) return false;
    if (k->type == HONE_TOKEN_UNKNOWN) return t->kind == HONE_TOK_WORDPIECE; /* its name in a text is not it */
    if (t->kind == HONE_TOK_UNIGRAM && memchr(encode.ptr, 0, encode.len)) return false;
    if (!is_byte(k)) return true;
    if (t->kind == HONE_TOK_UNIGRAM && encode.ptr[0] >= 0x80) return false;
    return hone_hf_vocab_find(texts, (const char *)encode.ptr, 1) < 0; /* the character may have a token of its own */
}

hone_code hone_ov_vocab_make(const hone_tokenizer *t, hone_arena *a, hone_ov_vocab *out, hone_err *err)
{
    hone_ov_vocab v = { .encode = HONE_ARENA_NEW(a, hone_bytes, t->n_tokens), .decode = HONE_ARENA_NEW(a, hone_bytes, t->n_tokens), .n = t->n_tokens };
    hone_hf_vocab texts;
    if (!v.encode || !v.decode) return HONE_NOMEM(err, "the vocabulary");
    HONE_TRY(hone_hf_vocab_new(a, t->n_tokens, &texts, err));
    for (size_t i = 0; i < t->n_tokens; i++) {
        HONE_TRY(hone_hf_vocab_add(&texts, (uint32_t)i, t->tokens[i].text, t->tokens[i].len, err));
        texts.tokens[i].type = t->tokens[i].type;
        texts.tokens[i].score = t->tokens[i].score;
    }
    for (size_t i = 0; i < t->n_tokens; i++) {
        const hone_token *k = &t->tokens[i];
        HONE_TRY(plain(t, k, a, &v.encode[i], err));
        if (k->type != HONE_TOKEN_UNUSED) HONE_TRY(decoded(t, k, v.encode[i], a, &v.decode[i], err)); /* the others decode to nothing */
        if (!is_sought(t, &texts, k, v.encode[i])) HONE_TRY(hide(a, i, &v.encode[i], err));
    }
    if (t->kind == HONE_TOK_BPE || t->kind == HONE_TOK_SPM) HONE_TRY(make_merges(t, &texts, a, &v, err));
    *out = v;
    return HONE_OK;
}
