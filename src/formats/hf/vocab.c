#include "formats/hf/vocab.h"
#include "base/text.h"

static const char REPAIR[] = "download the tokenizer files again; if they were edited by hand, give each id one text";

/* FNV-1a, 64 bits. */
static uint64_t hash(const char *s, size_t n)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++) h = (h ^ (uint8_t)s[i]) * 0x100000001b3u;
    return h ^ (h >> 29);
}

hone_code hone_hf_vocab_new(hone_arena *a, size_t n, hone_hf_vocab *out, hone_err *err)
{
    if (n > HONE_HF_TOKENS_MAX)
        return HONE_FAIL(err, HONE_EINPUT, REPAIR, "the largest token id is %zu, the limit is %u", n - 1, HONE_HF_TOKENS_MAX - 1);
    size_t n_slots = 16;
    while (n_slots < 2 * n) n_slots *= 2;
    hone_hf_vocab v = { .n = n, .n_slots = n_slots };
    v.tokens = HONE_ARENA_NEW(a, hone_token, n);
    v.slots = HONE_ARENA_NEW(a, uint32_t, n_slots);
    if (!v.tokens || !v.slots) return HONE_NOMEM(err, "the vocabulary");
    *out = v;
    return HONE_OK;
}

/* The slot that holds text, or the free one where it belongs; at least half of the slots are free. */
static size_t slot_of(const hone_hf_vocab *v, const char *text, size_t len)
{
    size_t mask = v->n_slots - 1, i = (size_t)hash(text, len) & mask;
    for (;; i = (i + 1) & mask) {
        if (v->slots[i] == 0) return i;
        const hone_token *t = &v->tokens[v->slots[i] - 1];
        if (t->text && t->len == len && memcmp(t->text, text, len) == 0) return i;
    }
}

int64_t hone_hf_vocab_find(const hone_hf_vocab *v, const char *text, size_t len)
{
    if (v->n_slots == 0) return -1;
    size_t i = slot_of(v, text, len);
    return v->slots[i] ? (int64_t)v->slots[i] - 1 : -1;
}

hone_code hone_hf_vocab_add(hone_hf_vocab *v, uint32_t id, const char *text, size_t len, hone_err *err)
{
    hone_token *t = &v->tokens[id];
    char        a[80], b[80];
    if (t->text && t->len == len && memcmp(t->text, text, len) == 0) return HONE_OK;
    if (t->text)
        return HONE_FAIL(err, HONE_EINPUT, REPAIR, "id %u is given to '%s' and to '%s'", id, hone_text_show(t->text, t->len, a, sizeof a),
                         hone_text_show(text, len, b, sizeof b));
    size_t i = slot_of(v, text, len);
    if (v->slots[i])
        return HONE_FAIL(err, HONE_EINPUT, REPAIR, "token '%s' has the ids %u and %u", hone_text_show(text, len, a, sizeof a),
                         v->slots[i] - 1, id);
    v->slots[i] = id + 1;
    t->text = text;
    t->len = len;
    if (t->type == 0) t->type = HONE_TOKEN_NORMAL;
    return HONE_OK;
}

hone_code hone_hf_vocab_set(hone_hf_vocab *v, uint32_t id, const char *text, size_t len, hone_err *err)
{
    hone_token *t = &v->tokens[id];
    if (t->text && (t->len != len || memcmp(t->text, text, len) != 0)) {
        /* Take the old text out and put back what may have been probed past it. */
        size_t mask = v->n_slots - 1, i = slot_of(v, t->text, t->len);
        v->slots[i] = 0;
        t->text = NULL;
        for (i = (i + 1) & mask; v->slots[i]; i = (i + 1) & mask) {
            uint32_t moved = v->slots[i];
            v->slots[i] = 0;
            v->slots[slot_of(v, v->tokens[moved - 1].text, v->tokens[moved - 1].len)] = moved;
        }
    }
    return hone_hf_vocab_add(v, id, text, len, err);
}

hone_code hone_hf_vocab_fill(hone_hf_vocab *v, hone_arena *a, hone_err *err)
{
    for (size_t i = 0; i < v->n; i++) {
        hone_token *t = &v->tokens[i];
        if (t->text) continue;
        char *name = hone_arena_printf(a, "[PAD%zu]", i);
        if (!name) return HONE_NOMEM(err, "the vocabulary");
        HONE_TRY(hone_hf_vocab_add(v, (uint32_t)i, name, strlen(name), err));
        t->type = HONE_TOKEN_UNUSED;
    }
    return HONE_OK;
}
