#include "base/arena.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define BLOCK_BYTES 65536u

struct hone_arena_block {
    hone_arena_block    *next;
    _Alignas(16) uint8_t bytes[];
};

void *hone_arena_alloc(hone_arena *a, size_t n)
{
    if (n > SIZE_MAX - 64) return NULL;
    size_t want = (n + 15u) & ~(size_t)15u;
    if (want == 0) want = 16;
    if (!a->head || want > a->cap - a->used) {
        size_t            cap = want > BLOCK_BYTES ? want : BLOCK_BYTES;
        hone_arena_block *b = calloc(1, sizeof *b + cap);
        if (!b) return NULL;
        a->total += cap;
        if (a->head && want > BLOCK_BYTES) {
            /* A big thing gets a block of its own behind the head, so that the head's free room is not lost. */
            b->next = a->head->next;
            a->head->next = b;
            return b->bytes;
        }
        b->next = a->head;
        a->head = b;
        a->cap = cap;
        a->used = 0;
    }
    void *p = a->head->bytes + a->used;
    a->used += want;
    return p;
}

void *hone_arena_calloc(hone_arena *a, size_t count, size_t size)
{
    if (size && count > SIZE_MAX / size) return NULL;
    return hone_arena_alloc(a, count * size);
}

char *hone_arena_strndup(hone_arena *a, const char *s, size_t n)
{
    char *p = n < SIZE_MAX ? hone_arena_alloc(a, n + 1) : NULL;
    if (!p) return NULL;
    memcpy(p, s, n);
    p[n] = '\0';
    return p;
}

char *hone_arena_strdup(hone_arena *a, const char *s) { return hone_arena_strndup(a, s, strlen(s)); }

char *hone_arena_printf(hone_arena *a, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int   n = vsnprintf(NULL, 0, fmt, ap);
    char *p = n < 0 ? NULL : hone_arena_alloc(a, (size_t)n + 1);
    if (p) (void)vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    va_end(ap);
    return p;
}

void hone_arena_release(hone_arena *a)
{
    if (!a) return;
    for (hone_arena_block *b = a->head; b;) {
        hone_arena_block *next = b->next;
        free(b);
        b = next;
    }
    *a = (hone_arena){ 0 };
}
