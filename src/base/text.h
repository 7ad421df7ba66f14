/* text.h - growing strings, and names from files made safe to show. */
#ifndef HONE_BASE_TEXT_H
#define HONE_BASE_TEXT_H
#include "base/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct hone_text { /* zero-initialise; owned heap string, always NUL-terminated once anything was added */
    char  *ptr;
    size_t len, cap;
    bool   failed; /* memory ran out once: ptr is still valid, further adds do nothing */
} hone_text;

void hone_text_add(hone_text *t, const char *s);
void hone_text_add_bytes(hone_text *t, const void *p, size_t n);
void hone_text_addf(hone_text *t, const char *fmt, ...) HONE_PRINTF(2, 3);
void hone_text_clear(hone_text *t);   /* length 0, keeps the memory */
void hone_text_release(hone_text *t); /* NULL and zeroed are fine */

/* Writes s, which came from a file, into out so that it can be shown on a terminal: control bytes, DEL and invalid UTF-8 as \xNN;
 * cut with "..." when longer than cap.  Returns out. */
const char *hone_text_show(const char *s, size_t n, char *out, size_t cap);
/* "1.2 GB"-style decimal bytes (10^3 steps) into out[cap]; returns out. */
const char *hone_text_bytes(uint64_t bytes, char *out, size_t cap);
/* True when s[0..n) is well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms). */
bool hone_utf8_valid(const char *s, size_t n);
/* Decodes one code point at s (n > 0 bytes left): returns its length 1..4, or 0 when malformed. */
size_t hone_utf8_decode(const char *s, size_t n, uint32_t *cp);
/* Encodes cp into out[4]; returns the length 1..4 (0 for an invalid code point). */
size_t hone_utf8_encode(uint32_t cp, char *out);
/* Edit distance of short words, for "did you mean"; inputs longer than 63 bytes give a large number. */
unsigned hone_text_distance(const char *a, const char *b);
#endif
