/* limits.c - what the runtime is known to do differently for this model (data/limits.json), turned into what may be compared:
 * positions that count, and texts whose ids may differ.  A difference that no row explains stays a difference. */
#include "arch/arch.h"
#include "base/file.h"
#include "base/text.h"
#include "formats/hf.h"
#include "measure/check/parts.h"
#include <stdio.h>
#include <string.h>

static void note(hone_check_result *res, const hone_limit *l)
{
    if (res->n_limits == HONE_COUNT(res->limits)) return;
    for (size_t i = 0; i < res->n_limits; i++) /* two rows of one condition: the first speaks */
        if (strcmp(res->limits[i].condition, l->condition) == 0 && strcmp(res->limits[i].consumer, l->consumer) == 0) return;
    hone_check_note *n = &res->limits[res->n_limits++];
    (void)snprintf(n->consumer, sizeof n->consumer, "%s", l->consumer);
    (void)snprintf(n->condition, sizeof n->condition, "%s", l->condition);
    (void)snprintf(n->consequence, sizeof n->consequence, "%s: %s", l->feature, l->consequence);
    (void)snprintf(n->cause, sizeof n->cause, "%s", l->cause);
}

static bool about(const hone_limit *l, const char *what)
{
    size_t n = strlen(l->condition), k = strlen(what);
    return n >= k && strcmp(l->condition + n - k, what) == 0;
}

/* Texts of up to how many tokens a row leaves right; 0: it does not depend on the length.  llama.cpp chooses rope factors by its context, so there
 * it is the longer ones that stay right. */
static uint32_t right_up_to(const hone_limit *l, const hone_facts *f)
{
    if (about(l, "window")) return f->window;
    if (about(l, "dynamic")) return f->context;
    if (about(l, "longrope")) return f->rope.original_context;
    return 0;
}

static void lower(uint32_t *to, uint32_t n)
{
    if (n && (*to == 0 || n < *to)) *to = n;
}

static void apply(hone_check_limit *out, const hone_limit *l)
{
    uint32_t n = right_up_to(l, &out->facts);
    if (strcmp(l->condition, "facts:longrope") == 0) {
        out->long_from = n;
        (void)snprintf(out->long_why, sizeof out->long_why, "%s: %s", l->condition, l->feature);
    } else if (n && (out->positions == 0 || n < out->positions)) {
        out->positions = n;
        (void)snprintf(out->why, sizeof out->why, "%s: %s", l->condition, l->feature);
    }
}

static hone_code rows_of(const hone_ctx *ctx, const char *consumer, const hone_check_limit *limit, hone_arena *a, const hone_limit **rows, size_t *n,
                         hone_err *err)
{
    return hone_limits_for(ctx ? ctx->data_dir : NULL, consumer, &limit->facts, &limit->tokenizer, a, rows, n, err);
}

hone_code hone_check_limits(const hone_ctx *ctx, const char *source, const hone_artefact *x, hone_arena *a, hone_check_limit *out,
                            hone_check_result *res, hone_err *err)
{
    json_t           *config = NULL;
    const hone_arch  *arch;
    const hone_limit *rows;
    size_t            n;
    const char       *path = source ? hone_arena_printf(a, "%s/config.json", source) : NULL;
    uint32_t          context = out->context;
    *out = (hone_check_limit){ .context = context };
    if (source && !path) return HONE_NOMEM(err, "a path");
    if (!path || !hone_file_exists(path)) return HONE_OK; /* only files to compare with: nothing is excused */
    HONE_TRY(hone_hf_config_load(source, &config, err));
    hone_code code = hone_arch_find(config, &arch, err);
    if (code == HONE_OK) code = hone_arch_facts(arch, config, a, &out->facts, err);
    json_decref(config);
    if (code != HONE_OK) return hone_err_wrap(err, "'%s'", source);
    out->known = true;
    out->encoder = out->facts.kind == HONE_KIND_ENCODER;
    HONE_TRY(hone_hf_tokenizer_load(source, out->facts.vocab, a, &out->tokenizer, err));
    HONE_TRY(rows_of(ctx, x->consumer, out, a, &rows, &n, err));
    for (size_t i = 0; i < n; i++) {
        if (strncmp(rows[i].condition, "facts:", 6) != 0) continue;
        note(res, &rows[i]);
        if (rows[i].harmless) continue;
        apply(out, &rows[i]);
        lower(&res->up_to, right_up_to(&rows[i], &out->facts));
    }
    res->deployed_up_to = res->up_to;
    if (!x->deployed) return HONE_OK;
    HONE_TRY(rows_of(ctx, x->deployed, out, a, &rows, &n, err));
    for (size_t i = 0; i < n; i++) {
        note(res, &rows[i]);
        if (rows[i].harmless || strncmp(rows[i].condition, "facts:", 6) != 0) continue;
        lower(&res->deployed_up_to, right_up_to(&rows[i], &out->facts));
    }
    return HONE_OK;
}

hone_code hone_check_word_limits(const hone_ctx *ctx, const char *words_by, hone_arena *a, hone_check_limit *limit, hone_check_result *res, hone_err *err)
{
    if (!limit->known) return HONE_OK;
    HONE_TRY(rows_of(ctx, words_by, limit, a, &limit->rows, &limit->n_rows, err));
    for (size_t i = 0; i < limit->n_rows; i++)
        if (strncmp(limit->rows[i].condition, "tokenizer:", 10) == 0) note(res, &limit->rows[i]);
    return HONE_OK;
}

/* ---- texts ---- */

typedef struct range { uint32_t low, high; } range;

static bool has_any(hone_str s, const range *r, size_t n)
{
    for (size_t i = 0, step; i < s.len; i += step) {
        uint32_t cp = 0;
        step = hone_utf8_decode(s.ptr + i, s.len - i, &cp);
        if (step == 0) return false;
        for (size_t k = 0; k < n; k++)
            if (cp >= r[k].low && cp <= r[k].high) return true;
    }
    return false;
}

static bool blank(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

/* An added token in s with white space on the side that is asked for: 'l' before, 'r' behind, 0: either way, none needed. */
static bool has_added(const hone_tokenizer *t, hone_str s, char side)
{
    const char *end = s.ptr + s.len;
    for (size_t i = 0; i < t->n_tokens; i++) {
        const hone_token *k = &t->tokens[i];
        if ((k->type != HONE_TOKEN_CONTROL && k->type != HONE_TOKEN_USER) || k->len == 0) continue;
        for (const char *p = s.ptr; p < end && (p = memmem(p, (size_t)(end - p), k->text, k->len)); p++)
            if (!side || (side == 'l' && p > s.ptr && blank(p[-1])) || (side == 'r' && p + k->len < end && blank(p[k->len]))) return true;
    }
    return false;
}

static bool has_long_word(hone_str s, size_t longest)
{
    size_t run = 0; /* bytes bound characters from above: a shorter run holds no longer word */
    for (size_t i = 0; i < s.len; i++) {
        run = blank(s.ptr[i]) ? 0 : run + 1;
        if (run > longest) return true;
    }
    return false;
}

static bool explains(const char *feature, const hone_tokenizer *t, hone_str s)
{
    /* Marks that compose with the letter before them, and conjoining jamo: without one of these, NFC changes nothing that the cases hold. */
    static const range marks[] = { { 0x300, 0x36f }, { 0x3099, 0x309a }, { 0x1100, 0x11ff }, { 0x93c, 0x93c }, { 0x9be, 0x9d7 } };
    /* Hangul syllables, and the scripts with spacing vowel signs (Devanagari to Sinhala, Thai to Myanmar). */
    static const range accents[] = { { 0xac00, 0xd7a3 }, { 0x900, 0xdff }, { 0xe00, 0x109f } };
    static const range breaks[] = { { 0x85, 0x85 }, { 0x0b, 0x0c }, { 0x1c, 0x1f } };
    /* Letters that fold to other letters than their lower case, and marks that not everybody's Unicode has. */
    static const range folds[] = { { 0xb5, 0xb5 }, { 0x17f, 0x17f }, { 0x345, 0x345 }, { 0x3d0, 0x3f5 }, { 0x7fd, 0x8ff }, { 0x1ab0, 0x1aff }, { 0x1c80, 0x1c88 },
                                   { 0x1e9b, 0x1e9e }, { 0x1f80, 0x1ffc }, { 0x10000, 0x10ffff } };
    static const range hangul[] = { { 0xac00, 0xd7a3 } }, beyond_ascii[] = { { 0x80, 0x10ffff } };
    static const char  underline[] = "\xe2\x96\x81"; /* SentencePiece's own space */
    if (strcmp(feature, "nfc") == 0) return has_any(s, marks, HONE_COUNT(marks));
    if (strcmp(feature, "strip_accents") == 0) return has_any(s, accents, HONE_COUNT(accents));
    if (strcmp(feature, "wordpiece") == 0) return has_any(s, breaks, HONE_COUNT(breaks));
    if (strcmp(feature, "max_word") == 0) return has_long_word(s, t->max_word);
    if (strcmp(feature, "lowercase") == 0) return has_any(s, folds, HONE_COUNT(folds));
    if (strcmp(feature, "charsmap") == 0) return has_any(s, marks, HONE_COUNT(marks)) || has_any(s, hangul, HONE_COUNT(hangul));
    if (strcmp(feature, "unigram_bytes") == 0) return has_any(s, beyond_ascii, HONE_COUNT(beyond_ascii));
    if (strcmp(feature, "lstrip") == 0) return has_added(t, s, 'l');
    if (strcmp(feature, "rstrip_unlike_phi3") == 0) return has_added(t, s, 'r');
    if (strcmp(feature, "prefix_once") == 0)
        return (s.len && s.ptr[0] == ' ') || (s.len >= 3 && memcmp(s.ptr, underline, 3) == 0) || has_added(t, s, 0);
    return false;
}

bool hone_check_explains(const hone_check_limit *limit, hone_str text)
{
    for (size_t i = 0; i < limit->n_rows; i++)
        if (strncmp(limit->rows[i].condition, "tokenizer:", 10) == 0 && explains(limit->rows[i].condition + 10, &limit->tokenizer, text)) return true;
    return false;
}

size_t hone_check_comparable(const hone_check_limit *limit, size_t n, uint32_t n_ctx, const char **why)
{
    /* transformers takes the long factors for texts over long_from, the runtime for contexts over it. */
    if (limit->long_from && (n > limit->long_from) != (n_ctx > limit->long_from)) {
        *why = limit->long_why;
        return 0;
    }
    if (!limit->positions || limit->positions >= n) return n;
    *why = limit->why;
    return limit->positions;
}
