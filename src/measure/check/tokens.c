/* tokens.c - does the runtime cut text into the ids the model was trained with, and render its chats? */
#include "base/text.h"
#include "measure/check/parts.h"
#include <stdio.h>
#include <string.h>

static void show(hone_str s, char *out, size_t cap) { (void)hone_text_show(s.ptr, s.len, out, cap); }

/* One comparison of ids; the first difference goes into the result's words. */
static void compare_ids(const hone_check_limit *limit, hone_check_result *res, const char *what, size_t index, hone_str text, const char *mode,
                        hone_ids want, const int32_t *got, size_t n)
{
    char   shown[80];
    size_t k = 0;
    res->tok_cases++;
    while (k < n && k < want.n && got[k] == want.ptr[k]) k++;
    if (k == n && k == want.n) return;
    if (hone_check_explains(limit, text)) {
        res->tok_excused++;
        return;
    }
    if (res->tok_mismatches++) return;
    show(text, shown, sizeof shown);
    if (k < n && k < want.n)
        (void)snprintf(res->tok_first, sizeof res->tok_first, "%s %zu '%s' (%s): id %zu is %d in the runtime, %d in the reference", what, index,
                       shown, mode, k, got[k], want.ptr[k]);
    else
        (void)snprintf(res->tok_first, sizeof res->tok_first, "%s %zu '%s' (%s): %zu ids in the runtime, %zu in the reference", what, index, shown,
                       mode, n, want.n);
}

static void compare_text(uint64_t *count, uint64_t *wrong, char *first, size_t cap, const char *what, size_t index, hone_str want, const char *got,
                         size_t len)
{
    char   a[120], b[120];
    size_t k = 0;
    ++*count;
    while (k < len && k < want.len && got[k] == want.ptr[k]) k++;
    if (k == len && k == want.len) return;
    if ((*wrong)++) return;
    (void)hone_text_show(got + k, len - k, a, sizeof a);
    (void)hone_text_show(want.ptr + k, want.len - k, b, sizeof b);
    (void)snprintf(first, cap, "%s %zu: from byte %zu on '%s' in the runtime, '%s' in the reference", what, index, k, a, b);
}

static hone_code ids_of(hone_runner *r, hone_str text, bool add, hone_arena *a, int32_t **ids, size_t *n, hone_err *err)
{
    return hone_runner_tokenize(r, text.ptr, text.len, add, true, a, ids, n, err);
}

static hone_code decode(hone_runner *r, hone_ids ids, bool skip, hone_str want, const char *what, size_t index, hone_arena *a,
                        hone_check_result *res, hone_err *err)
{
    char  *text;
    size_t len;
    if (!want.ptr) return HONE_OK;
    HONE_TRY(hone_runner_detokenize(r, ids.ptr, ids.n, skip, !skip, a, &text, &len, err));
    compare_text(&res->decode_cases, &res->decode_mismatches, res->decode_first, sizeof res->decode_first, what, index, want, text, len);
    return HONE_OK;
}

static hone_code one_text(hone_runner *r, const hone_token_case *t, size_t index, const hone_check_limit *limit, hone_arena *a,
                          hone_check_result *res, hone_err *err)
{
    int32_t *ids;
    size_t   n;
    HONE_TRY(ids_of(r, t->text, false, a, &ids, &n, err));
    compare_ids(limit, res, "case", index, t->text, "none added", t->ids, ids, n);
    HONE_TRY(decode(r, t->ids, false, t->decoded, "decoding case", index, a, res, err));
    if (!t->with_special.ptr) return HONE_OK;
    HONE_TRY(ids_of(r, t->text, true, a, &ids, &n, err));
    compare_ids(limit, res, "case", index, t->text, "special added", t->with_special, ids, n);
    return decode(r, t->with_special, true, t->decoded_skip, "decoding case", index, a, res, err);
}

static hone_code one_chat(hone_runner *r, const hone_chat_case *c, size_t index, const hone_check_limit *limit, hone_arena *a,
                          hone_check_result *res, hone_err *err)
{
    hone_err why = { 0 };
    char    *text = NULL, want[120], got[200];
    size_t   len = 0, n;
    int32_t *ids;

    hone_code code = hone_runner_render(r, c->messages, c->options, a, &text, &len, &why);
    if (code == HONE_ERUNTIME || code == HONE_ERESOURCE) {
        if (err) *err = why;
        return code;
    }
    if (code != HONE_OK) { /* the template refused, or the runtime cannot run it */
        bool expected = c->error.ptr && code == HONE_ENO && strstr(why.cause, c->error.ptr);
        res->tpl_cases++;
        if (expected) return HONE_OK;
        if (res->tpl_mismatches++ == 0) {
            (void)hone_text_show(why.cause, strlen(why.cause), got, sizeof got);
            if (c->error.ptr) show(c->error, want, sizeof want);
            (void)snprintf(res->tpl_first, sizeof res->tpl_first, "chat %zu: the runtime says '%s', the reference %s%s%s", index, got,
                           c->error.ptr ? "'" : "renders it", c->error.ptr ? want : "", c->error.ptr ? "'" : "");
        }
        return HONE_OK;
    }
    if (c->error.ptr) {
        res->tpl_cases++;
        if (res->tpl_mismatches++ == 0) {
            show(c->error, want, sizeof want);
            (void)snprintf(res->tpl_first, sizeof res->tpl_first, "chat %zu: the runtime renders it, the reference refuses with '%s'", index, want);
        }
        return HONE_OK;
    }
    compare_text(&res->tpl_cases, &res->tpl_mismatches, res->tpl_first, sizeof res->tpl_first, "chat", index, c->rendered, text, len);
    if (!c->ids.ptr) return HONE_OK;
    HONE_TRY(ids_of(r, c->rendered, false, a, &ids, &n, err));
    compare_ids(limit, res, "chat", index, c->rendered, "none added", c->ids, ids, n);
    return HONE_OK;
}

hone_code hone_check_tokens(const hone_ctx *ctx, hone_runner *r, const hone_cases *cases, const hone_check_limit *limit,
                            hone_check_result *res, hone_err *err)
{
    hone_arena a = { 0 };
    hone_code  code = HONE_OK;
    hone_event_step(ctx, "comparing %zu strings and %zu chats", cases->n_tokens, cases->n_chats);
    for (size_t i = 0; code == HONE_OK && i < cases->n_tokens + cases->n_chats; i++) {
        if (hone_ctx_cancelled(ctx)) code = HONE_INTERRUPTED(err);
        else if (i < cases->n_tokens) code = one_text(r, &cases->tokens[i], i, limit, &a, res, err);
        else code = one_chat(r, &cases->chats[i - cases->n_tokens], i - cases->n_tokens, limit, &a, res, err);
        hone_arena_release(&a);
    }
    (void)snprintf(res->tokenizer_source, sizeof res->tokenizer_source, "cases");
    return code;
}
