/* tokenizer_cases.json and the greedy part of reference.json from anywhere. */
#include "measure/check/cases.h"
#include "measure/check/reference.h"
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
    json_decref(root);
    hone_arena_release(&a);
    return 0;
}
