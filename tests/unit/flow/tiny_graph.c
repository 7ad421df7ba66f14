#include "flow/tiny_graph.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

void tiny_graph_open(tiny_graph *t, const char *family)
{
    char     path[1024];
    hone_err err = { 0 };
    hone_ctx ctx = { .data_dir = HONE_TEST_SOURCE_DIR };
    *t = (tiny_graph){ 0 };
    (void)snprintf(path, sizeof path, "%s/tests/golden/tiny/%s", HONE_TEST_SOURCE_DIR, family);
    if (hone_model_open(&ctx, path, &t->m, &err) != HONE_OK) fail_msg("%s: %s", family, err.cause);
    if (hone_graph_build(&t->m, &t->a, &t->g, &err) != HONE_OK) fail_msg("%s: %s", family, err.cause);
}

void tiny_graph_close(tiny_graph *t)
{
    hone_model_close(&t->m);
    hone_arena_release(&t->a);
}
