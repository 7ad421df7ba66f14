#include "formats/gguf/vocab.h"
#include "base/text.h"
#include "formats/hf/pretokenizer.h"
#include "formats/hf/reader.h"
#include <math.h>
#include <stdlib.h>
#include <strings.h>

static const char AGAIN[] = "fetch the file again, or convert the checkpoint that it was made from";

typedef struct reader {
    const hone_gguf *g;
    hone_arena      *a;
    hone_tokenizer   t;
    hone_hf_vocab    v; /* of a tokenizer with merges: to find tokens by their text */
    hone_err        *err;
    bool             failed; /* memory ran out for a text */
} reader;

static const hone_gguf_value *find(const reader *r, const char *key, hone_gguf_type type)
{
    const hone_gguf_value *v = hone_gguf_find(r->g, key);
    return v && v->type == type ? v : NULL;
}

static const char *text_of(reader *r, const char *key)
{
    const hone_gguf_value *v = find(r, key, HONE_GGUF_STRING);
    if (!v || memchr(v->as.s.ptr, 0, (size_t)v->as.s.len)) return NULL;
    const char *text = hone_arena_strndup(r->a, v->as.s.ptr, (size_t)v->as.s.len);
    r->failed = r->failed || !text;
    return text;
}

static bool flag_of(const reader *r, const char *key, bool otherwise)
{
    const hone_gguf_value *v = find(r, key, HONE_GGUF_BOOL);
    return v ? v->as.b : otherwise;
}

static int64_t id_of(const reader *r, const char *key)
{
    const hone_gguf_value *v = hone_gguf_find(r->g, key);
    bool                   whole = v && (v->type == HONE_GGUF_U32 || v->type == HONE_GGUF_U64 || v->type == HONE_GGUF_U16 || v->type == HONE_GGUF_U8);
    return whole && v->as.u < r->t.n_tokens ? (int64_t)v->as.u : -1;
}

/* ---- tokens ---- */

static bool is_pad(const hone_token *t, uint32_t id)
{
    char name[32];
    return t->type == HONE_TOKEN_UNUSED && t->len == (size_t)snprintf(name, sizeof name, "[PAD%u]", id) && memcmp(t->text, name, t->len) == 0;
}

/* Beginnings of words are marked in the file, continuations in vocab.txt. */
static hone_code plain_piece(reader *r, hone_token *t)
{
    if (t->type == HONE_TOKEN_CONTROL || t->type == HONE_TOKEN_UNUSED || t->type == HONE_TOKEN_UNKNOWN) return HONE_OK;
    if (t->len > 3 && memcmp(t->text, HONE_HF_SPACE, 3) == 0) {
        t->text += 3;
        t->len -= 3;
        return HONE_OK;
    }
    char *s = hone_arena_alloc(r->a, t->len + 3); /* NUL-terminated: arenas give zeros */
    if (!s) return HONE_NOMEM(r->err, "the vocabulary");
    memcpy(s, "##", 2);
    memcpy(s + 2, t->text, t->len);
    t->text = s;
    t->len += 2;
    return HONE_OK;
}

static hone_code read_tokens(reader *r, uint32_t n_vocab)
{
    const hone_gguf_value *v = find(r, "tokenizer.ggml.tokens", HONE_GGUF_ARRAY), *types = find(r, "tokenizer.ggml.token_type", HONE_GGUF_ARRAY);
    const hone_gguf_value *scores = find(r, "tokenizer.ggml.scores", HONE_GGUF_ARRAY);
    if (!v || v->elem != HONE_GGUF_STRING || v->n == 0 || v->n > HONE_HF_TOKENS_MAX)
        return HONE_FAIL(r->err, HONE_EINPUT, AGAIN, "the key 'tokenizer.ggml.tokens' is missing or no list of texts");
    if (v->n > n_vocab)
        return HONE_FAIL(r->err, HONE_EINPUT, AGAIN, "the file has %llu tokens, its embedding %u rows", (unsigned long long)v->n, n_vocab);
    if ((types && (types->n != v->n || types->elem != HONE_GGUF_I32)) || (scores && (scores->n != v->n || scores->elem != HONE_GGUF_F32)))
        return HONE_FAIL(r->err, HONE_EINPUT, AGAIN, "types or scores of tokens are not as many as the %llu tokens", (unsigned long long)v->n);
    r->t.tokens = HONE_ARENA_NEW(r->a, hone_token, v->n);
    if (!r->t.tokens) return HONE_NOMEM(r->err, "the vocabulary");
    r->t.n_tokens = (size_t)v->n;
    for (size_t i = 0; i < r->t.n_tokens; i++) {
        const hone_gguf_str *s = &((const hone_gguf_str *)v->as.array)[i];
        hone_token          *t = &r->t.tokens[i];
        uint32_t             type = types ? hone_le32((const uint8_t *)types->as.array + 4 * i) : HONE_TOKEN_NORMAL;
        char                 shown[80];
        *t = (hone_token){ .text = hone_arena_strndup(r->a, s->ptr, (size_t)s->len), .len = (size_t)s->len, .type = HONE_TOKEN_NORMAL };
        if (!t->text) return HONE_NOMEM(r->err, "the vocabulary");
        if (!hone_utf8_valid(s->ptr, (size_t)s->len))
            return HONE_FAIL(r->err, HONE_EINPUT, AGAIN, "token %zu is no UTF-8 text: '%s'", i, hone_text_show(s->ptr, (size_t)s->len, shown, sizeof shown));
        if (type >= HONE_TOKEN_NORMAL && type <= HONE_TOKEN_BYTE) t->type = (hone_token_type)type;
        if (scores) {
            uint32_t bits = hone_le32((const uint8_t *)scores->as.array + 4 * i);
            memcpy(&t->score, &bits, 4);
            if (!isfinite(t->score)) return HONE_FAIL(r->err, HONE_EINPUT, AGAIN, "the score of token %zu is %g", i, (double)t->score);
        }
        t->special = t->type == HONE_TOKEN_CONTROL || t->type == HONE_TOKEN_UNKNOWN;
        t->normalized = !t->special && t->type != HONE_TOKEN_USER;
        if (r->t.kind == HONE_TOK_WORDPIECE) HONE_TRY(plain_piece(r, t));
    }
    while (r->t.n_tokens && is_pad(&r->t.tokens[r->t.n_tokens - 1], (uint32_t)r->t.n_tokens - 1)) r->t.n_tokens--;
    return HONE_OK;
}

/* A merge whose parts or whole are no tokens says nothing, and the readers of tokenizer.json refuse it (tokenizers' MergeTokenOutOfVocabulary). */
static hone_code joins_tokens(reader *r, const hone_merge *m, bool *out)
{
    size_t len = m->left_len + m->right_len;
    char  *whole = malloc(len);
    if (!whole) return HONE_NOMEM(r->err, "the merges");
    memcpy(whole, m->left, m->left_len);
    memcpy(whole + m->left_len, m->right, m->right_len);
    *out = hone_hf_vocab_find(&r->v, m->left, m->left_len) >= 0 && hone_hf_vocab_find(&r->v, m->right, m->right_len) >= 0 &&
           hone_hf_vocab_find(&r->v, whole, len) >= 0;
    free(whole);
    return HONE_OK;
}

static hone_code read_merges(reader *r)
{
    const hone_gguf_value *v = find(r, "tokenizer.ggml.merges", HONE_GGUF_ARRAY);
    if (!v || v->elem != HONE_GGUF_STRING) return HONE_FAIL(r->err, HONE_EINPUT, AGAIN, "the key 'tokenizer.ggml.merges' is missing or no list of texts");
    r->t.merges = HONE_ARENA_NEW(r->a, hone_merge, v->n);
    if (!r->t.merges) return HONE_NOMEM(r->err, "the merges");
    HONE_TRY(hone_hf_vocab_new(r->a, r->t.n_tokens, &r->v, r->err));
    for (size_t i = 0; i < r->t.n_tokens; i++) { /* of equal texts, which llama.cpp takes, the first is found */
        const hone_token *t = &r->t.tokens[i];
        if (hone_hf_vocab_find(&r->v, t->text, t->len) < 0) HONE_TRY(hone_hf_vocab_add(&r->v, (uint32_t)i, t->text, t->len, r->err));
        r->v.tokens[i] = *t;
    }
    for (uint64_t i = 0; i < v->n; i++) {
        const hone_gguf_str *s = &((const hone_gguf_str *)v->as.array)[i];
        const char          *gap = s->len > 2 ? memchr(s->ptr + 1, ' ', (size_t)s->len - 1) : NULL;
        char                 shown[80];
        if (!gap || gap + 1 == s->ptr + s->len || !hone_utf8_valid(s->ptr, (size_t)s->len))
            return HONE_FAIL(r->err, HONE_EINPUT, AGAIN, "merge %llu is '%s', needs two words in UTF-8", (unsigned long long)i,
                             hone_text_show(s->ptr, (size_t)s->len, shown, sizeof shown));
        hone_merge m = { .left = s->ptr, .left_len = (size_t)(gap - s->ptr), .right = gap + 1, .right_len = (size_t)(s->ptr + s->len - gap - 1) };
        bool       known = false;
        HONE_TRY(joins_tokens(r, &m, &known));
        if (known) r->t.merges[r->t.n_merges++] = m;
    }
    return HONE_OK;
}

static hone_code read_pre(reader *r)
{
    const char                 *pre = text_of(r, "tokenizer.ggml.pre");
    const hone_hf_pretokenizer *row = hone_hf_pretokenizer_named(pre ? pre : "gpt-2");
    char                        shown[64];
    if (r->failed) return HONE_NOMEM(r->err, "the pre-tokenizer");
    if (pre && strcmp(pre, HONE_HF_PLAIN_BPE) == 0) { /* merges over plain text, no splitting */
        r->t.pre = HONE_HF_PLAIN_BPE;
        return HONE_OK;
    }
    if (!row)
        return HONE_FAIL(r->err, HONE_EUNSUPPORTED, "add a row to src/formats/hf/pretokenizers.def, or convert the checkpoint that the file was made from",
                         "hone does not know how the pre-tokenizer '%s' splits text", hone_text_show(pre, strlen(pre), shown, sizeof shown));
    r->t.pre = row->name;
    r->t.pre_cleans = row->clean_spaces;
    if (!row->ignore_merges) return HONE_OK;
    hone_hf_reader h;
    bool           all = false;
    hone_hf_reader_init(&h, r->a, 0);
    h.v = r->v;
    h.t.merges = r->t.merges;
    h.t.n_merges = r->t.n_merges;
    HONE_TRY(hone_hf_merges_reach_all(&h, &all, r->err));
    r->t.whole_words = !all;
    return HONE_OK;
}

/* ---- the rest ---- */

static hone_code read_templates(reader *r)
{
    static const char     PREFIX[] = "tokenizer.chat_template";
    const hone_gguf_value *names = find(r, "tokenizer.chat_templates", HONE_GGUF_ARRAY);
    uint64_t               n = names && names->elem == HONE_GGUF_STRING && names->n < 64 ? names->n : 0;
    hone_chat_template    *out = HONE_ARENA_NEW(r->a, hone_chat_template, n + 1);
    const char            *text = text_of(r, PREFIX);
    if (!out) return HONE_NOMEM(r->err, "the chat templates");
    r->t.templates = out;
    if (text && hone_utf8_valid(text, strlen(text))) out[r->t.n_templates++] = (hone_chat_template){ "default", text };
    for (uint64_t i = 0; i < n; i++) {
        const hone_gguf_str *s = &((const hone_gguf_str *)names->as.array)[i];
        char                *name = hone_arena_strndup(r->a, s->ptr, (size_t)s->len), *key = name ? hone_arena_printf(r->a, "%s.%s", PREFIX, name) : NULL;
        if (!key) return HONE_NOMEM(r->err, "the chat templates");
        text = text_of(r, key);
        if (text && hone_utf8_valid(text, strlen(text))) out[r->t.n_templates++] = (hone_chat_template){ name, text };
    }
    return HONE_OK;
}

/* llama.cpp gives added tokens of models that are named so the white space behind them (src/llama-vocab.cpp:3118). */
static void swallow_like_phi3(reader *r)
{
    static const char *const not_these[] = { "<unk>", "<s>", "<|endoftext|>" };
    const char              *name = text_of(r, "general.name");
    bool                     phi3 = false;
    for (const char *p = name; p && *p && !phi3; p++) phi3 = strncasecmp(p, "phi-3", 5) == 0 || strncasecmp(p, "phi3", 4) == 0;
    for (size_t i = 0; phi3 && i < r->t.n_tokens; i++) {
        hone_token *t = &r->t.tokens[i];
        if (t->type != HONE_TOKEN_CONTROL && t->type != HONE_TOKEN_UNKNOWN) continue;
        t->rstrip = true;
        for (size_t k = 0; k < HONE_COUNT(not_these); k++)
            if (t->len == strlen(not_these[k]) && memcmp(t->text, not_these[k], t->len) == 0) t->rstrip = false;
    }
}

static hone_code read_rest(reader *r)
{
    hone_tokenizer *t = &r->t;
    bool            pieces = t->kind == HONE_TOK_SPM || t->kind == HONE_TOK_UNIGRAM, words = t->kind == HONE_TOK_WORDPIECE;
    t->bos = id_of(r, "tokenizer.ggml.bos_token_id");
    t->eos = id_of(r, "tokenizer.ggml.eos_token_id");
    t->unk = id_of(r, "tokenizer.ggml.unknown_token_id");
    t->sep = id_of(r, "tokenizer.ggml.seperator_token_id");
    t->pad = id_of(r, "tokenizer.ggml.padding_token_id");
    t->mask = id_of(r, "tokenizer.ggml.mask_token_id");
    t->eot = id_of(r, "tokenizer.ggml.eot_token_id");
    t->eom = id_of(r, "tokenizer.ggml.eom_token_id");
    if (words && t->bos >= 0) t->cls = t->bos;
    t->add_bos = t->bos >= 0 && flag_of(r, "tokenizer.ggml.add_bos_token", t->kind == HONE_TOK_SPM || words);
    t->add_eos = t->eos >= 0 && flag_of(r, "tokenizer.ggml.add_eos_token", words || t->kind == HONE_TOK_UNIGRAM);
    t->add_sep = flag_of(r, "tokenizer.ggml.add_sep_token", words);
    t->add_space_prefix = pieces && flag_of(r, "tokenizer.ggml.add_space_prefix", true);
    t->escape_whitespaces = pieces;
    t->remove_extra_whitespaces = t->kind == HONE_TOK_UNIGRAM && flag_of(r, "tokenizer.ggml.remove_extra_whitespaces", false);
    const hone_gguf_value *map = find(r, "tokenizer.ggml.precompiled_charsmap", HONE_GGUF_ARRAY);
    if (map && (map->elem == HONE_GGUF_U8 || map->elem == HONE_GGUF_I8)) {
        t->charsmap = map->as.array;
        t->charsmap_len = (size_t)map->n;
    }
    if (words) { /* llama.cpp's own defaults, src/llama-vocab.cpp */
        t->lowercase = flag_of(r, "tokenizer.ggml.normalizer.lowercase", true);
        t->strip_accents = find(r, "tokenizer.ggml.normalizer.strip_accents", HONE_GGUF_BOOL) ? flag_of(r, "tokenizer.ggml.normalizer.strip_accents", true) : -1;
    }
    const hone_gguf_value *types = find(r, "tokenizer.ggml.token_type_count", HONE_GGUF_U32);
    t->n_token_types = types ? (uint32_t)types->as.u : 0;
    swallow_like_phi3(r);
    return read_templates(r);
}

static const struct { const char *name; hone_tok_kind kind; } kinds[] = {
    { "gpt2", HONE_TOK_BPE }, { "llama", HONE_TOK_SPM }, { "t5", HONE_TOK_UNIGRAM }, { "bert", HONE_TOK_WORDPIECE }
};

hone_code hone_gguf_tokenizer_read(const hone_gguf *g, uint32_t n_vocab, hone_arena *a, hone_tokenizer *out, hone_err *err)
{
    reader r = { .g = g, .a = a, .err = err };
    r.t = (hone_tokenizer){ .bos = -1, .eos = -1, .unk = -1, .sep = -1, .pad = -1, .cls = -1, .mask = -1, .eot = -1, .eom = -1,
                            .lowercase = -1, .strip_accents = -1, .clean_spaces = -1 };
    const char *model = text_of(&r, "tokenizer.ggml.model");
    char        shown[64];
    if (r.failed) return HONE_NOMEM(err, "the vocabulary");
    if (!model || strcmp(model, "none") == 0 || strcmp(model, "no_vocab") == 0) {
        *out = r.t;
        return HONE_OK;
    }
    for (size_t i = 0; i < HONE_COUNT(kinds); i++)
        if (strcmp(model, kinds[i].name) == 0) {
            r.t.kind = kinds[i].kind;
            r.t.gguf_model = kinds[i].name;
        }
    if (r.t.kind == HONE_TOK_NONE)
        return HONE_FAIL(err, HONE_EUNSUPPORTED, "known are gpt2, llama, t5 and bert", "the kind of tokenizer \"%s\" is not known",
                         hone_text_show(model, strlen(model), shown, sizeof shown));
    HONE_TRY(read_tokens(&r, n_vocab));
    if (r.t.kind == HONE_TOK_BPE) {
        HONE_TRY(read_merges(&r));
        HONE_TRY(read_pre(&r));
    }
    HONE_TRY(read_rest(&r));
    if (r.failed) return HONE_NOMEM(err, "the vocabulary");
    *out = r.t;
    return HONE_OK;
}
