#include "ir/tokenizer.h"
#include <string.h>

static bool is(const hone_token *t, const char *s) { return t->len == strlen(s) && memcmp(t->text, s, t->len) == 0; }

long hone_tokenizer_like_phi3(const hone_tokenizer *t, bool *has)
{
    bool end = false, unk = false, begin = false, over = false;
    long right = 0;
    for (size_t i = 0; i < t->n_tokens; i++) {
        const hone_token *k = &t->tokens[i];
        bool              keeps = is(k, "<unk>") || is(k, "<s>") || is(k, "<|endoftext|>");
        end = end || is(k, "</s>");
        unk = unk || is(k, "<unk>");
        begin = begin || is(k, "<s>");
        over = over || is(k, "<|endoftext|>");
        if (k->type != HONE_TOKEN_CONTROL && k->type != HONE_TOKEN_USER) continue;
        if (!keeps) right += k->rstrip ? 1 : -1;
    }
    *has = end && unk && begin && over;
    return right;
}

static bool rstrip_unlike_phi3(const hone_tokenizer *t)
{
    bool has = false, any = false;
    bool like = hone_tokenizer_like_phi3(t, &has) > 0 && has;
    for (size_t i = 0; i < t->n_tokens; i++) {
        const hone_token *k = &t->tokens[i];
        if (k->type != HONE_TOKEN_CONTROL && k->type != HONE_TOKEN_USER) continue;
        bool rule = like && !is(k, "<unk>") && !is(k, "<s>") && !is(k, "<|endoftext|>");
        any = any || k->rstrip != rule;
    }
    return any;
}

bool hone_tokenizer_needs(const hone_tokenizer *t, const char *feature)
{
    if (strcmp(feature, "nfc") == 0) return t->nfc;
    if (strcmp(feature, "prefix_once") == 0) return t->prefix_once;
    if (strcmp(feature, "dropped") == 0) return t->n_dropped > 0;
    if (strncmp(feature, "pre=", 4) == 0) return t->pre && strcmp(t->pre, feature + 4) == 0;
    if (strcmp(feature, "unigram") == 0) return t->kind == HONE_TOK_UNIGRAM;
    if (strcmp(feature, "unigram_spaces") == 0) return t->kind == HONE_TOK_UNIGRAM && t->keeps_end_space;
    if (strcmp(feature, "charsmap") == 0) return t->charsmap_len > 0;
    if (strcmp(feature, "lowercase") == 0) return t->kind == HONE_TOK_WORDPIECE && t->lowercase == 1;
    if (strcmp(feature, "unigram_bytes") == 0) {
        bool bytes = false;
        for (size_t i = 0; i < t->n_tokens && !bytes; i++) bytes = t->tokens[i].type == HONE_TOKEN_BYTE;
        return t->kind == HONE_TOK_UNIGRAM && bytes;
    }
    if (strcmp(feature, "keeps_spaces") == 0) return t->clean_spaces == 0 && t->pre_cleans;
    if (strcmp(feature, "wordpiece") == 0) return t->kind == HONE_TOK_WORDPIECE;
    if (strcmp(feature, "max_word") == 0) return t->kind == HONE_TOK_WORDPIECE && t->max_word > 0;
    if (strcmp(feature, "strip_accents") == 0)
        return t->kind == HONE_TOK_WORDPIECE && (t->strip_accents == 1 || (t->strip_accents < 0 && t->lowercase == 1));
    if (strcmp(feature, "rstrip_unlike_phi3") == 0) return rstrip_unlike_phi3(t);
    bool left = strcmp(feature, "lstrip") == 0, right = strcmp(feature, "rstrip") == 0;
    if (!left && !right) return false;
    for (size_t i = 0; i < t->n_tokens; i++)
        if ((left && t->tokens[i].lstrip) || (right && t->tokens[i].rstrip)) return true;
    return false;
}
