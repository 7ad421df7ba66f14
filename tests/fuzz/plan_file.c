/* A plan file from anywhere: what is read says what it may, and reads back from what is written. */
#include "flow/plan.h"
#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hone_arena a = { 0 };
    hone_plan  p = { 0 }, q = { 0 };
    hone_err   err = { 0 };
    hone_text  t = { 0 };
    if (hone_plan_parse((hone_bytes){ data, size }, "fuzz", &a, &p, &err) != HONE_OK) {
        assert(err.code != HONE_OK && err.cause[0]);
        hone_arena_release(&a);
        return 0;
    }
    assert(hone_plan_write(&p, NULL, &t, &err) == HONE_OK);
    assert(hone_plan_parse((hone_bytes){ (const uint8_t *)t.ptr, t.len }, "written", &a, &q, &err) == HONE_OK);
    assert(p.n_lines == q.n_lines);
    for (size_t i = 0; i < p.n_lines; i++) {
        const hone_plan_line *x = &p.lines[i], *y = &q.lines[i];
        assert(x->bits == y->bits && x->role == y->role && x->first == y->first && x->last == y->last && !x->tensor == !y->tensor);
        assert(!x->tensor || strcmp(x->tensor, y->tensor) == 0);
        for (size_t f = 0; f < HONE_PLAN_FORMATS; f++) assert(!x->word[f] == !y->word[f] && (!x->word[f] || strcmp(x->word[f], y->word[f]) == 0));
    }
    hone_text_release(&t);
    hone_arena_release(&a);
    return 0;
}
