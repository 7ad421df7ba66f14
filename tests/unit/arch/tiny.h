/* tiny.h - the tiny checkpoints of tests/golden/tiny, opened far enough to bind. */
#ifndef HONE_TEST_ARCH_TINY_H
#define HONE_TEST_ARCH_TINY_H
#include "arch/arch.h"

extern const char *const tiny_names[]; /* of all families, as src/arch/list.def */
extern const size_t      tiny_count;

typedef struct tiny {
    hone_model  m; /* source is open; weights after tiny_bind */
    json_t     *config;
    hone_tensor tensors[512]; /* a copy that a test may change; m.source reads through it */
    size_t      n_tensors;
} tiny;

/* Opens tests/golden/tiny/<name>; a failure is a failed test. */
void tiny_open(tiny *t, const char *name);
void tiny_close(tiny *t);
/* Binds with the class that config.json names. */
hone_code tiny_bind(tiny *t, hone_err *err);
/* config.json's key becomes the JSON text (NULL: goes away). */
void tiny_set(tiny *t, const char *key, const char *json);
/* The copy of a tensor by name; NULL when absent. */
hone_tensor *tiny_tensor(tiny *t, const char *name);
/* Takes a tensor out, or puts one in (f32, borrowed name). */
void tiny_remove(tiny *t, const char *name);
void tiny_add(tiny *t, const char *name, uint32_t n_dims, const uint64_t *dims);
#endif
