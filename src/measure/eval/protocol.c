#include "measure/eval/protocol.h"
#include "base/file.h"
#include <stdio.h>
#include <string.h>

bool hone_protocol_from(const json_t *reference, hone_protocol *out)
{
    const char   *says = json_string_value(json_object_get(reference, "perplexity_protocol"));
    const json_t *context = json_object_get(reference, "context");
    if (!says || !json_is_integer(context)) return false;
    json_int_t n = json_integer_value(context);
    /* The words of our own example models' files: windows of ctx-1 ids without overlap behind one BOS. */
    if (n < 2 || n > INT32_MAX || !strstr(says, "windows of ctx-1") || !strstr(says, "without overlap") || !strstr(says, "[BOS] + window"))
        return false;
    *out = (hone_protocol){ .window = (uint32_t)(n - 1), .stride = (uint32_t)(n - 1), .stated = true };
    return true;
}

hone_code hone_protocol_find(const hone_ctx *ctx, const char *text_path, uint32_t window, uint32_t stride, hone_protocol *out, hone_err *err)
{
    if (window || stride) {
        uint32_t w = window ? window : HONE_WINDOW_DEFAULT;
        if (stride > w)
            return HONE_FAIL(err, HONE_EUSAGE, "give a stride that is no longer than the window", "stride %u is longer than the window of %u ids",
                             stride, w);
        *out = (hone_protocol){ .window = w, .stride = stride ? stride : w };
        return HONE_OK;
    }
    *out = (hone_protocol){ .window = HONE_WINDOW_DEFAULT, .stride = HONE_STRIDE_DEFAULT };
    const char *slash = strrchr(text_path, '/');
    hone_arena  a = { 0 };
    char       *beside = hone_arena_printf(&a, "%.*sreference.json", slash ? (int)(slash + 1 - text_path) : 0, text_path);
    hone_code   code = beside ? HONE_OK : HONE_NOMEM(err, "a path");
    json_t     *root = NULL;
    if (code == HONE_OK && hone_file_exists(beside)) code = hone_json_load(beside, &root, err);
    if (root && json_object_get(root, "perplexity_protocol") && !hone_protocol_from(root, out))
        hone_event_warn(ctx, "compare only perplexities that were measured by the same protocol",
                        "%s states a perplexity protocol that hone does not know; windows of %u ids with stride %u are used", beside, out->window,
                        out->stride);
    json_decref(root);
    hone_arena_release(&a);
    return code;
}

void hone_protocol_words(const hone_protocol *p, bool bos, uint32_t max_tokens, char *out, size_t cap)
{
    char scored[80], cut[60] = "";
    if (p->stride == p->window) (void)snprintf(scored, sizeof scored, "without overlap, every id%s scored", bos ? "" : " but the first of each");
    else (void)snprintf(scored, sizeof scored, "stride %u, each id scored once, in the first window that holds it", p->stride);
    if (max_tokens) (void)snprintf(cut, sizeof cut, "; the first %u ids of the text", max_tokens);
    (void)snprintf(out, cap, "windows of %u ids%s, %s%s%s", p->window, bos ? " behind BOS" : "", scored, cut,
                   p->stated ? " (as reference.json states)" : "");
}

hone_code hone_protocol_windows(const hone_protocol *p, size_t n, bool bos, hone_arena *a, hone_window **out, size_t *count, hone_err *err)
{
    size_t       most = (n - 1) / p->stride + 1, k = 0, scored_to = 0;
    hone_window *w = HONE_ARENA_NEW(a, hone_window, most);
    if (!w) return HONE_NOMEM(err, "the windows of the text");
    for (size_t start = 0; scored_to < n && start < n; start += p->stride) {
        size_t end = n - start < p->window ? n : start + p->window;
        size_t skip = scored_to - start;
        if (!bos && skip == 0) skip = 1; /* nothing stands before it in its own window */
        scored_to = end;
        if (end - start > skip) w[k++] = (hone_window){ .start = start, .len = end - start, .skip = skip };
    }
    *out = w;
    *count = k;
    return HONE_OK;
}
