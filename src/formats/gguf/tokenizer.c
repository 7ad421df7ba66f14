/* tokenizer.c - tokenizer.* keys.  Source: llama.cpp gguf-py/gguf/{constants,gguf_writer,vocab}.py, conversion/{base,bert,t5}.py, and
 * src/llama-vocab.cpp for what is read back. */
#include "base/arena.h"
#include "base/text.h"
#include "formats/gguf.h"
#include <stdlib.h>
#include <strings.h>

#define SPACE "\xe2\x96\x81"

typedef struct seen { /* texts so far, open addressing: llama.cpp aborts on two tokens of one text */
    uint32_t *slots; /* id + 1 */
    size_t    mask;
} seen;

static uint64_t hash(const char *s, uint64_t n)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (uint64_t i = 0; i < n; i++) h = (h ^ (uint8_t)s[i]) * 0x100000001b3u;
    return h ^ (h >> 29);
}

static hone_code check_new(seen *s, const hone_gguf_str *all, uint32_t id, hone_err *err)
{
    const hone_gguf_str *t = &all[id];
    char                 shown[80];
    size_t               i = (size_t)hash(t->ptr, t->len) & s->mask;
    for (; s->slots[i]; i = (i + 1) & s->mask) {
        const hone_gguf_str *o = &all[s->slots[i] - 1];
        if (o->len == t->len && memcmp(o->ptr, t->ptr, (size_t)t->len) == 0)
            return HONE_FAIL(err, HONE_EUNSUPPORTED, "llama.cpp needs a text of its own for each token; remove one from the checkpoint",
                             "tokens %u and %u are both '%s' in GGUF", s->slots[i] - 1, id, hone_text_show(t->ptr, (size_t)t->len, shown, sizeof shown));
    }
    s->slots[i] = id + 1;
    return HONE_OK;
}

/* s with every `from` replaced. */
static char *replaced(hone_arena *a, const char *s, size_t n, const char *from, const char *to, uint64_t *len)
{
    hone_text t = { 0 };
    size_t    k = strlen(from);
    for (size_t i = 0; i < n;) {
        if (n - i >= k && memcmp(s + i, from, k) == 0) {
            hone_text_add(&t, to);
            i += k;
        } else
            hone_text_add_bytes(&t, s + i++, 1);
    }
    char *out = t.failed ? NULL : hone_arena_strndup(a, t.ptr ? t.ptr : "", t.len);
    *len = t.len;
    hone_text_release(&t);
    return out;
}

/* The text as llama.cpp wants to see it. */
static hone_code token_text(const hone_tokenizer *t, const hone_token *tok, hone_arena *a, hone_gguf_str *out, hone_err *err)
{
    *out = (hone_gguf_str){ tok->text, tok->len };
    if (t->kind == HONE_TOK_WORDPIECE && tok->type != HONE_TOKEN_CONTROL && tok->type != HONE_TOKEN_UNUSED) {
        /* Beginnings of words are marked there, not continuations (conversion/bert.py "phantom space"). */
        if (tok->len > 2 && memcmp(tok->text, "##", 2) == 0) *out = (hone_gguf_str){ tok->text + 2, tok->len - 2 };
        else {
            char *s = hone_arena_printf(a, SPACE "%s", tok->text);
            if (!s) return HONE_NOMEM(err, "the vocabulary");
            *out = (hone_gguf_str){ s, strlen(s) };
        }
    } else if (tok->type == HONE_TOKEN_USER && t->kind != HONE_TOK_WORDPIECE && memmem(tok->text, tok->len, SPACE, 3)) {
        /* These are looked for in the raw text (conversion/base.py). */
        out->ptr = replaced(a, tok->text, tok->len, SPACE, " ", &out->len);
        if (!out->ptr) return HONE_NOMEM(err, "the vocabulary");
    }
    return HONE_OK;
}

static hone_code put_tokens(hone_gguf_writer *w, const hone_tokenizer *t, uint32_t n, hone_arena *a, hone_err *err)
{
    hone_gguf_str *texts = HONE_ARENA_NEW(a, hone_gguf_str, n);
    float         *scores = HONE_ARENA_NEW(a, float, n);
    int32_t       *types = HONE_ARENA_NEW(a, int32_t, n);
    size_t         n_slots = 16;
    while (n_slots < 2 * (size_t)n) n_slots *= 2;
    seen s = { HONE_ARENA_NEW(a, uint32_t, n_slots), n_slots - 1 };
    if (!texts || !scores || !types || !s.slots) return HONE_NOMEM(err, "the vocabulary");
    for (uint32_t i = 0; i < n; i++) {
        const hone_token *tok = i < t->n_tokens ? &t->tokens[i] : NULL;
        if (tok && tok->type != HONE_TOKEN_UNUSED) {
            HONE_TRY(token_text(t, tok, a, &texts[i], err));
            scores[i] = tok->score;
            types[i] = (int32_t)tok->type;
        } else {
            char *name = tok ? NULL : hone_arena_printf(a, "[PAD%u]", i);
            if (!tok && !name) return HONE_NOMEM(err, "the vocabulary");
            texts[i] = tok ? (hone_gguf_str){ tok->text, tok->len } : (hone_gguf_str){ name, strlen(name) };
            scores[i] = -10000.0f;
            types[i] = HONE_TOKEN_UNUSED;
        }
        HONE_TRY(check_new(&s, texts, i, err));
    }
    HONE_TRY(hone_gguf_put_array(w, "tokenizer.ggml.tokens", HONE_GGUF_STRING, texts, n, err));
    if (t->kind == HONE_TOK_SPM || t->kind == HONE_TOK_UNIGRAM)
        HONE_TRY(hone_gguf_put_array(w, "tokenizer.ggml.scores", HONE_GGUF_F32, scores, n, err));
    return hone_gguf_put_array(w, "tokenizer.ggml.token_type", HONE_GGUF_I32, types, n, err);
}

static hone_code put_merges(hone_gguf_writer *w, const hone_tokenizer *t, hone_arena *a, hone_err *err)
{
    hone_gguf_str *out = HONE_ARENA_NEW(a, hone_gguf_str, t->n_merges);
    if (!out) return HONE_NOMEM(err, "the merges");
    for (size_t i = 0; i < t->n_merges; i++) {
        const hone_merge *m = &t->merges[i];
        uint64_t          l = m->left_len, r = m->right_len;
        const char       *left = m->left, *right = m->right;
        /* A space parts the two there, so one inside is written as the byte alphabet spells it (gguf-py/gguf/vocab.py). */
        if (memchr(left, ' ', m->left_len)) left = replaced(a, left, m->left_len, " ", "\xc4\xa0", &l);
        if (memchr(right, ' ', m->right_len)) right = replaced(a, right, m->right_len, " ", "\xc4\xa0", &r);
        char *s = left && right ? hone_arena_alloc(a, (size_t)(l + r + 1)) : NULL;
        if (!s) return HONE_NOMEM(err, "the merges");
        memcpy(s, left, (size_t)l);
        s[l] = ' ';
        memcpy(s + l + 1, right, (size_t)r);
        out[i] = (hone_gguf_str){ s, l + r + 1 };
    }
    return hone_gguf_put_array(w, "tokenizer.ggml.merges", HONE_GGUF_STRING, out, t->n_merges, err);
}

static hone_code put_templates(hone_gguf_writer *w, const hone_tokenizer *t, hone_arena *a, hone_err *err)
{
    hone_gguf_str *names = HONE_ARENA_NEW(a, hone_gguf_str, t->n_templates);
    size_t         n = 0;
    if (!names) return HONE_NOMEM(err, "the chat templates");
    for (size_t i = 0; i < t->n_templates; i++) {
        const hone_chat_template *c = &t->templates[i];
        if (strcmp(c->name, "default") == 0) continue;
        char *name = hone_arena_strdup(a, c->name); /* letters and digits only, as in gguf_writer.py */
        if (!name) return HONE_NOMEM(err, "the chat templates");
        for (char *p = name; *p; p++)
            if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9'))) *p = '_';
        char *key = hone_arena_printf(a, "tokenizer.chat_template.%s", name);
        if (!key) return HONE_NOMEM(err, "the chat templates");
        HONE_TRY(hone_gguf_put_str(w, key, c->text, err));
        names[n++] = (hone_gguf_str){ name, strlen(name) };
    }
    if (n) HONE_TRY(hone_gguf_put_array(w, "tokenizer.chat_templates", HONE_GGUF_STRING, names, n, err));
    for (size_t i = 0; i < t->n_templates; i++)
        if (strcmp(t->templates[i].name, "default") == 0) HONE_TRY(hone_gguf_put_str(w, "tokenizer.chat_template", t->templates[i].text, err));
    return HONE_OK;
}

static hone_code put_all(hone_gguf_writer *w, const hone_tokenizer *t, uint32_t n, hone_arena *a, hone_err *err)
{
    HONE_TRY(hone_gguf_put_str(w, "tokenizer.ggml.model", t->gguf_model, err));
    HONE_TRY(hone_gguf_put_str(w, "tokenizer.ggml.pre", t->pre ? t->pre : "default", err));
    HONE_TRY(put_tokens(w, t, n, a, err));
    if (t->kind == HONE_TOK_BPE) HONE_TRY(put_merges(w, t, a, err));
    if (t->n_token_types) HONE_TRY(hone_gguf_put_u32(w, "tokenizer.ggml.token_type_count", t->n_token_types, err));
    /* "seperator" is how the key is spelt. */
    const struct { const char *key; int64_t id; } ids[] = {
        { "tokenizer.ggml.bos_token_id", t->bos },     { "tokenizer.ggml.eos_token_id", t->eos },
        { "tokenizer.ggml.unknown_token_id", t->unk }, { "tokenizer.ggml.seperator_token_id", t->sep },
        { "tokenizer.ggml.padding_token_id", t->pad }, { "tokenizer.ggml.mask_token_id", t->mask },
        { "tokenizer.ggml.eot_token_id", t->eot },     { "tokenizer.ggml.eom_token_id", t->eom },
    };
    for (size_t i = 0; i < HONE_COUNT(ids); i++)
        if (ids[i].id >= 0 && ids[i].id < (int64_t)n) HONE_TRY(hone_gguf_put_u32(w, ids[i].key, (uint32_t)ids[i].id, err));
    HONE_TRY(hone_gguf_put_bool(w, "tokenizer.ggml.add_bos_token", t->add_bos, err));
    HONE_TRY(hone_gguf_put_bool(w, "tokenizer.ggml.add_eos_token", t->add_eos, err));
    HONE_TRY(hone_gguf_put_bool(w, "tokenizer.ggml.add_sep_token", t->add_sep, err));
    if (t->kind == HONE_TOK_SPM || t->kind == HONE_TOK_UNIGRAM)
        HONE_TRY(hone_gguf_put_bool(w, "tokenizer.ggml.add_space_prefix", t->add_space_prefix, err));
    if (t->kind == HONE_TOK_UNIGRAM) {
        HONE_TRY(hone_gguf_put_bool(w, "tokenizer.ggml.remove_extra_whitespaces", t->remove_extra_whitespaces, err));
        if (t->charsmap_len) HONE_TRY(hone_gguf_put_array(w, "tokenizer.ggml.precompiled_charsmap", HONE_GGUF_U8, t->charsmap, t->charsmap_len, err));
    }
    if (t->lowercase >= 0) HONE_TRY(hone_gguf_put_bool(w, "tokenizer.ggml.normalizer.lowercase", t->lowercase != 0, err));
    if (t->strip_accents >= 0) HONE_TRY(hone_gguf_put_bool(w, "tokenizer.ggml.normalizer.strip_accents", t->strip_accents != 0, err));
    return put_templates(w, t, a, err);
}

/* Source: src/llama-vocab.cpp:3095-3136, "set attributes by model/tokenizer/architecture name". */
const char *hone_gguf_name_for(const hone_tokenizer *t, const char *name, char *buf, size_t cap)
{
    bool   has = false, need = t && hone_tokenizer_like_phi3(t, &has) > 0 && has, named = false;
    size_t n = 0;
    for (const char *p = name; *p && n + 2 < cap;) {
        size_t word = strncasecmp(p, "phi3", 4) == 0 ? 3 : strncasecmp(p, "phi-3", 5) == 0 ? 4 : 0;
        if (!word) {
            buf[n++] = *p++;
            continue;
        }
        named = true;
        if (n + 5 >= cap) break;
        memcpy(buf + n, p, 3);
        buf[n + 3] = ' ';
        n += 4;
        p += word; /* the 3 follows by itself */
    }
    buf[n] = '\0';
    if (need == named) return name;
    if (need) (void)snprintf(buf, cap, "%s (phi3)", name);
    return buf;
}

hone_code hone_gguf_put_tokenizer(hone_gguf_writer *w, const hone_tokenizer *t, uint32_t n_vocab, hone_err *err)
{
    if (t->kind == HONE_TOK_NONE) return hone_gguf_put_str(w, "tokenizer.ggml.model", "none", err);
    if (n_vocab < t->n_tokens)
        return HONE_FAIL(err, HONE_EINPUT, "the tokenizer files must be those of this checkpoint", "tokenizer has %zu tokens, the embedding %u rows", t->n_tokens, n_vocab);
    hone_arena a = { 0 };
    hone_code  code = put_all(w, t, n_vocab, &a, err);
    hone_arena_release(&a);
    return code;
}
