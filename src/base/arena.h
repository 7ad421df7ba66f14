/* arena.h - memory of one operation: many small things, freed in one call.  Not thread-safe: one arena, one thread at a time. */
#ifndef HONE_BASE_ARENA_H
#define HONE_BASE_ARENA_H
#include "base/bytes.h"
#include "base/err.h"

typedef struct hone_arena_block hone_arena_block;
typedef struct hone_arena { /* zero-initialise, then use; hone_arena_release frees everything */
    hone_arena_block *head;
    size_t            used, cap; /* bytes in the head block */
    size_t            total;     /* bytes asked from the system so far */
} hone_arena;

/* n zeroed bytes aligned to 16, or NULL when memory is gone.  n = 0 gives a valid unique pointer. */
void *hone_arena_alloc(hone_arena *a, size_t n);
/* count * size zeroed bytes; NULL when the product wraps or memory is gone. */
void *hone_arena_calloc(hone_arena *a, size_t count, size_t size);
/* NUL-terminated copies; NULL when memory is gone. */
char *hone_arena_strdup(hone_arena *a, const char *s);
char *hone_arena_strndup(hone_arena *a, const char *s, size_t n);
char *hone_arena_printf(hone_arena *a, const char *fmt, ...) HONE_PRINTF(2, 3);
/* Frees all blocks; NULL and zeroed arenas are fine.  The arena is zeroed again and reusable. */
void hone_arena_release(hone_arena *a);

#define HONE_ARENA_NEW(a, type, count) ((type *)hone_arena_calloc((a), (count), sizeof(type)))
/* The one way to report that memory is gone. */
#define HONE_NOMEM(err, what) HONE_FAIL((err), HONE_ERESOURCE, "free memory or use a smaller model", "out of memory for %s", (what))
#endif
