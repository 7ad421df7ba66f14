/* tasks.jsonl from anywhere: parsed items keep their promises. */
#include "measure/eval/tasks.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hone_arena a = { 0 };
    hone_tasks t = { 0 };
    hone_err   err = { 0 };
    if (hone_tasks_parse((hone_bytes){ data, size }, "fuzz", 32, &a, &t, &err) == HONE_OK) {
        assert(t.n_items > 0 && t.n_names > 0 && t.n_names <= 32);
        for (size_t i = 0; i < t.n_items; i++) {
            assert(t.items[i].task < t.n_names && t.items[i].answer < t.items[i].n_choices);
            for (size_t k = 0; k < t.items[i].n_choices; k++) assert(t.items[i].choices[k].len > 0);
        }
    } else
        assert(err.code != HONE_OK && err.cause[0]);
    hone_arena_release(&a);
    return 0;
}
