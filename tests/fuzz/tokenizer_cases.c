/* tokenizer_cases.json, and reference.json with its greedy part and the protocol of perplexity, from anywhere. */
#include "measure/check/cases.h"
#include "measure/check/reference.h"
#include "measure/eval/protocol.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hone_arena     a = { 0 };
    hone_cases     c = { 0 };
    hone_reference r = { .rows = 2, .cols = 4 };
    hone_err       err = { 0 };
    json_t        *root;
    if (hone_json_parse((hone_bytes){ data, size }, "fuzz", &root, NULL) != HONE_OK) return 0;
    if (hone_cases_parse(root, "fuzz", &a, &c, &err) == HONE_OK) {
        for (size_t i = 0; i < c.n_tokens; i++) assert(c.tokens[i].text.ptr && c.tokens[i].ids.ptr);
        for (size_t i = 0; i < c.n_chats; i++) assert(!c.chats[i].rendered.ptr != !c.chats[i].error.ptr && c.chats[i].messages);
    } else
        assert(err.cause[0]);
    if (hone_reference_greedy(root, "fuzz", &a, &r, &err) == HONE_OK && r.greedy_n) assert(r.greedy && r.gaps);
    hone_protocol p = { .window = 5, .stride = 3 };
    bool          known = hone_protocol_from(root, &p);
    hone_window  *w = NULL;
    size_t        n = 0, ids = size + 1;
    assert(p.window > 0 && p.stride > 0 && p.stride <= p.window && (known || p.window == 5));
    if (hone_protocol_windows(&p, ids, size % 2, &a, &w, &n, &err) == HONE_OK)
        for (size_t i = 0; i < n; i++) assert(w[i].len > w[i].skip && w[i].len <= p.window && w[i].start + w[i].len <= ids);
    json_decref(root);
    hone_arena_release(&a);
    return 0;
}
