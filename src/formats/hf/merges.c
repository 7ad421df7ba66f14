/* merges.c - questions about the merges of a BPE that decide how it can be written down. */
#include "base/text.h"
#include "formats/hf/reader.h"
#include <stdlib.h>

typedef struct pair { /* what two neighbours become */
    uint32_t left, right; /* ids + 1; left 0: a free slot */
    uint32_t rank, whole;
} pair;

typedef struct ranks {
    pair  *slots;
    size_t mask;
} ranks;

static pair *slot(const ranks *r, uint32_t left, uint32_t right)
{
    uint64_t h = (((uint64_t)left << 32) | right) * 0x9e3779b97f4a7c15u;
    for (size_t i = (size_t)(h >> 20) & r->mask;; i = (i + 1) & r->mask)
        if (r->slots[i].left == 0 || (r->slots[i].left == left && r->slots[i].right == right)) return &r->slots[i];
}

static hone_code ranks_new(const hone_hf_reader *rd, ranks *out, hone_err *err)
{
    size_t n = 16;
    while (n < 2 * rd->t.n_merges) n *= 2;
    ranks r = { .slots = calloc(n, sizeof(pair)), .mask = n - 1 };
    if (!r.slots) return HONE_NOMEM(err, "the merges");
    for (size_t i = 0; i < rd->t.n_merges; i++) {
        const hone_merge *m = &rd->t.merges[i];
        int64_t           left = hone_hf_vocab_find(&rd->v, m->left, m->left_len) + 1, right = hone_hf_vocab_find(&rd->v, m->right, m->right_len) + 1;
        if (left == 0 || right == 0) continue; /* of a GGUF file, whose merges nobody has looked at */
        pair *p = slot(&r, (uint32_t)left, (uint32_t)right);
        if (p->left) continue; /* the first rank counts */
        size_t len = m->left_len + m->right_len;
        char  *text = malloc(len ? len : 1);
        if (!text) {
            free(r.slots);
            return HONE_NOMEM(err, "the merges");
        }
        memcpy(text, m->left, m->left_len);
        memcpy(text + m->left_len, m->right, m->right_len);
        int64_t id = hone_hf_vocab_find(&rd->v, text, len);
        free(text);
        if (id >= 0) *p = (pair){ (uint32_t)left, (uint32_t)right, (uint32_t)i, (uint32_t)id };
    }
    *out = r;
    return HONE_OK;
}

/* Merges the characters of one token by rank; true when it comes out whole. */
static bool comes_out(const hone_hf_reader *rd, const ranks *r, const hone_token *t, uint32_t *ids)
{
    size_t n = 0;
    for (size_t at = 0; at < t->len;) {
        uint32_t cp;
        size_t   step = hone_utf8_decode(t->text + at, t->len - at, &cp);
        int64_t  id = step ? hone_hf_vocab_find(&rd->v, t->text + at, step) : -1;
        if (id < 0) return false;
        ids[n++] = (uint32_t)id + 1;
        at += step;
    }
    while (n > 1) {
        size_t      best = 0;
        const pair *found = NULL;
        for (size_t i = 0; i + 1 < n; i++) {
            const pair *p = slot(r, ids[i], ids[i + 1]);
            if (p->left && (!found || p->rank < found->rank)) {
                found = p;
                best = i;
            }
        }
        if (!found) return false;
        ids[best] = found->whole + 1;
        memmove(&ids[best + 1], &ids[best + 2], (n - best - 2) * sizeof *ids);
        n--;
    }
    return true;
}

/* Asks of each token whether it comes out: the answer goes to unreached, or the first no ends the search. */
static hone_code walk(const hone_hf_reader *rd, bool mark, bool *out, hone_err *err)
{
    ranks     r;
    size_t    longest = 1;
    hone_code code = ranks_new(rd, &r, err);
    if (code != HONE_OK) return code;
    for (size_t i = 0; i < rd->v.n; i++)
        if (rd->v.tokens[i].len > longest) longest = rd->v.tokens[i].len;
    uint32_t *ids = calloc(longest, sizeof *ids);
    bool      all = true;
    if (!ids) code = HONE_NOMEM(err, "the merges");
    for (size_t i = 0; code == HONE_OK && (all || mark) && i < rd->v.n; i++) {
        hone_token *t = &rd->v.tokens[i];
        /* A token longer than this is a run of one character; walking it pair by pair would take minutes. */
        bool good = !t->text || t->type != HONE_TOKEN_NORMAL || (t->len <= 4096 && comes_out(rd, &r, t, ids));
        all = all && good;
        if (mark) t->unreached = !good;
    }
    free(ids);
    free(r.slots);
    if (code == HONE_OK) *out = all;
    return code;
}

hone_code hone_hf_merges_reach_all(const hone_hf_reader *rd, bool *out, hone_err *err) { return walk(rd, false, out, err); }

hone_code hone_hf_mark_unreached(hone_hf_reader *rd, hone_err *err)
{
    bool all = false;
    HONE_TRY(walk(rd, true, &all, err));
    rd->t.whole_words = !all;
    return HONE_OK;
}

/* A score belongs to the merged token, a rank to a pair.  They say the same when the merges are those that a SentencePiece
 * model gives: all pairs of one token stand together, and every pair of tokens that makes a token is among them. */
hone_code hone_hf_scores_from_merges(hone_hf_reader *rd, bool *ok, hone_err *err)
{
    ranks     r;
    hone_code code = ranks_new(rd, &r, err);
    if (code != HONE_OK) return code;
    bool    *scored = calloc(rd->v.n ? rd->v.n : 1, sizeof *scored);
    bool     good = scored != NULL;
    uint32_t previous = UINT32_MAX;
    if (!scored) code = HONE_NOMEM(err, "the merges");
    for (size_t i = 0; good && i < rd->t.n_merges; i++) {
        const hone_merge *m = &rd->t.merges[i];
        const pair       *p = slot(&r, (uint32_t)hone_hf_vocab_find(&rd->v, m->left, m->left_len) + 1,
                                   (uint32_t)hone_hf_vocab_find(&rd->v, m->right, m->right_len) + 1);
        if (p->whole != previous) {
            if (scored[p->whole]) good = false; /* another token's merges stand in between */
            scored[p->whole] = true;
            rd->v.tokens[p->whole].score = -(float)(i + 1);
            previous = p->whole;
        }
    }
    for (size_t i = 0; good && i < rd->v.n; i++) {
        const hone_token *t = &rd->v.tokens[i];
        if (!t->text || t->type != HONE_TOKEN_NORMAL) continue;
        for (size_t at = 1; good && at < t->len; at++) {
            if (((uint8_t)t->text[at] & 0xc0) == 0x80) continue;
            int64_t left = hone_hf_vocab_find(&rd->v, t->text, at), right = hone_hf_vocab_find(&rd->v, t->text + at, t->len - at);
            if (left < 0 || right < 0) continue;
            /* Only pieces of the base vocabulary can meet: added tokens are cut out before. */
            if (rd->v.tokens[left].type != HONE_TOKEN_NORMAL || rd->v.tokens[right].type != HONE_TOKEN_NORMAL) continue;
            good = slot(&r, (uint32_t)left + 1, (uint32_t)right + 1)->left != 0;
        }
    }
    free(scored);
    free(r.slots);
    if (code == HONE_OK) *ok = good && rd->t.n_merges < (1u << 24); /* beyond that a float cannot count */
    return code;
}

/* ---- the merges that scores stand for ---- */

static int64_t piece(const hone_hf_vocab *v, const char *s, size_t n)
{
    int64_t id = hone_hf_vocab_find(v, s, n);
    return id >= 0 && v->tokens[id].type == HONE_TOKEN_NORMAL ? id : -1;
}

static uint32_t chars_of(const char *s, size_t n)
{
    uint32_t c = 0;
    for (size_t i = 0; i < n; i++) c += ((uint8_t)s[i] & 0xc0) != 0x80;
    return c;
}

typedef struct ways {
    hone_hf_way *list;
    size_t       n, cap;
} ways;

/* The two parts of one token, wherever it can be cut. */
static hone_code cut(const hone_hf_vocab *v, uint32_t id, ways *w, hone_err *err)
{
    const hone_token *k = &v->tokens[id];
    for (size_t at = 1; at < k->len; at++) {
        if (((uint8_t)k->text[at] & 0xc0) == 0x80) continue;
        int64_t l = piece(v, k->text, at), r = piece(v, k->text + at, k->len - at);
        if (l < 0 || r < 0) continue;
        if (w->n == w->cap) {
            size_t       cap = w->cap ? 2 * w->cap : 4096;
            hone_hf_way *more = realloc(w->list, cap * sizeof *more);
            if (!more) return HONE_NOMEM(err, "the merges");
            w->list = more;
            w->cap = cap;
        }
        w->list[w->n] = (hone_hf_way){ .left = (uint32_t)l, .right = (uint32_t)r, .whole = id, .left_chars = chars_of(k->text, at),
                                       .right_chars = chars_of(k->text + at, k->len - at), .seq = (uint32_t)w->n, .score = k->score };
        w->n++;
    }
    return HONE_OK;
}

static int by_score(const void *x, const void *y)
{
    const hone_hf_way *a = x, *b = y;
    if (a->score > b->score || a->score < b->score) return a->score > b->score ? -1 : 1;
    if (a->left_chars != b->left_chars) return a->left_chars > b->left_chars ? -1 : 1;
    if (a->right_chars != b->right_chars) return a->right_chars > b->right_chars ? -1 : 1;
    return a->seq < b->seq ? -1 : a->seq > b->seq;
}

hone_code hone_hf_ways(const hone_hf_vocab *v, hone_hf_way **out, size_t *n, hone_err *err)
{
    ways      w = { 0 };
    hone_code code = HONE_OK;
    for (size_t i = 0; code == HONE_OK && i < v->n; i++)
        if (v->tokens[i].text && v->tokens[i].type == HONE_TOKEN_NORMAL) code = cut(v, (uint32_t)i, &w, err);
    if (code != HONE_OK) {
        free(w.list);
        return code;
    }
    if (w.n) qsort(w.list, w.n, sizeof *w.list, by_score);
    *out = w.list;
    *n = w.n;
    return HONE_OK;
}
