/* failing_memory.h - the allocation of one's choice fails: for test files with a line that says "ctest: wrap" and "-memory" in one word, which are linked
 * so that every allocation of ours comes by here.  Included once, by such a file only. */
#ifndef HONE_TEST_FAILING_MEMORY_H
#define HONE_TEST_FAILING_MEMORY_H
#include "base/arena.h"
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static bool     armed;   /* allocations are counted, and may fail, while this is true */
static unsigned count, fail_at; /* the allocation number fail_at fails */

static bool fails(void)
{
    if (!armed || ++count != fail_at) return false;
    errno = ENOMEM;
    return true;
}

#define WRAP(ret, name, params, args)                                                                                  \
    ret __real_##name params;                                                                                          \
    ret __wrap_##name params;                                                                                          \
    ret __wrap_##name params { return fails() ? NULL : __real_##name args; }
WRAP(void *, malloc, (size_t n), (n))
WRAP(void *, calloc, (size_t n, size_t size), (n, size))
WRAP(void *, realloc, (void *p, size_t n), (p, n))
WRAP(void *, hone_arena_alloc, (hone_arena *a, size_t n), (a, n))
WRAP(void *, hone_arena_calloc, (hone_arena *a, size_t n, size_t size), (a, n, size))
WRAP(char *, hone_arena_strdup, (hone_arena *a, const char *s), (a, s))
WRAP(char *, hone_arena_strndup, (hone_arena *a, const char *s, size_t n), (a, s, n))

char *__wrap_hone_arena_printf(hone_arena *a, const char *fmt, ...) HONE_PRINTF(2, 3);
char *__wrap_hone_arena_printf(hone_arena *a, const char *fmt, ...)
{
    char    buf[4096];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(buf, sizeof buf, fmt, ap);
    va_end(ap);
    return fails() ? NULL : __real_hone_arena_strdup(a, buf);
}
#endif
