#include "base/text.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool reserve(hone_text *t, size_t extra)
{
    if (t->failed || extra > SIZE_MAX - t->len - 1) return !(t->failed = true);
    size_t need = t->len + extra + 1;
    if (need <= t->cap) return true;
    size_t cap = t->cap ? t->cap : 64;
    while (cap < need) cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    char *p = realloc(t->ptr, cap);
    if (!p) return !(t->failed = true);
    t->ptr = p;
    t->cap = cap;
    return true;
}

void hone_text_add_bytes(hone_text *t, const void *p, size_t n)
{
    if (!reserve(t, n)) return;
    if (n) memcpy(t->ptr + t->len, p, n);
    t->len += n;
    t->ptr[t->len] = '\0';
}

void hone_text_add(hone_text *t, const char *s) { hone_text_add_bytes(t, s, strlen(s)); }

void hone_text_addf(hone_text *t, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    if (n >= 0 && reserve(t, (size_t)n)) {
        (void)vsnprintf(t->ptr + t->len, (size_t)n + 1, fmt, again);
        t->len += (size_t)n;
    }
    va_end(again);
    va_end(ap);
}

void hone_text_clear(hone_text *t)
{
    t->len = 0;
    if (t->ptr) t->ptr[0] = '\0';
}

void hone_text_release(hone_text *t)
{
    if (!t) return;
    free(t->ptr);
    *t = (hone_text){ 0 };
}

size_t hone_utf8_decode(const char *s, size_t n, uint32_t *cp)
{
    const uint8_t *b = (const uint8_t *)s;
    if (n == 0) return 0;
    if (b[0] < 0x80) {
        *cp = b[0];
        return 1;
    }
    size_t   len = b[0] >= 0xf0 ? 4 : b[0] >= 0xe0 ? 3 : 2;
    uint32_t low = len == 4 ? 0x10000 : len == 3 ? 0x800 : 0x80;
    if (b[0] < 0xc2 || b[0] > 0xf4 || n < len) return 0;
    uint32_t v = b[0] & (0xffu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if ((b[i] & 0xc0) != 0x80) return 0;
        v = (v << 6) | (b[i] & 0x3fu);
    }
    if (v < low || v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff)) return 0;
    *cp = v;
    return len;
}

size_t hone_utf8_encode(uint32_t cp, char *out)
{
    uint8_t *o = (uint8_t *)out;
    if (cp < 0x80) {
        o[0] = (uint8_t)cp;
        return 1;
    }
    if (cp < 0x800) {
        o[0] = (uint8_t)(0xc0 | (cp >> 6));
        o[1] = (uint8_t)(0x80 | (cp & 0x3f));
        return 2;
    }
    if (cp >= 0xd800 && cp <= 0xdfff) return 0;
    if (cp < 0x10000) {
        o[0] = (uint8_t)(0xe0 | (cp >> 12));
        o[1] = (uint8_t)(0x80 | ((cp >> 6) & 0x3f));
        o[2] = (uint8_t)(0x80 | (cp & 0x3f));
        return 3;
    }
    if (cp > 0x10ffff) return 0;
    o[0] = (uint8_t)(0xf0 | (cp >> 18));
    o[1] = (uint8_t)(0x80 | ((cp >> 12) & 0x3f));
    o[2] = (uint8_t)(0x80 | ((cp >> 6) & 0x3f));
    o[3] = (uint8_t)(0x80 | (cp & 0x3f));
    return 4;
}

bool hone_utf8_valid(const char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        size_t   k = hone_utf8_decode(s + i, n - i, &cp);
        if (k == 0) return false;
        i += k;
    }
    return true;
}

const char *hone_text_show(const char *s, size_t n, char *out, size_t cap)
{
    size_t o = 0;
    if (cap == 0) return out;
    for (size_t i = 0; i < n;) {
        uint32_t cp = 0;
        size_t   k = hone_utf8_decode(s + i, n - i, &cp);
        /* C1 controls and bidi overrides can rewrite a terminal line as well as ESC can. */
        bool plain = k && cp >= 0x20 && cp != 0x7f && !(cp >= 0x80 && cp < 0xa0) && !(cp >= 0x202a && cp <= 0x202e) &&
                     !(cp >= 0x2066 && cp <= 0x2069);
        size_t need = plain ? k : 4;
        if (o + need + 4 > cap) {
            if (o + 4 <= cap) {
                memcpy(out + o, "...", 3);
                o += 3;
            }
            break;
        }
        if (plain) {
            memcpy(out + o, s + i, k);
            o += k;
            i += k;
        } else {
            (void)snprintf(out + o, cap - o, "\\x%02x", (unsigned)(uint8_t)s[i]);
            o += 4;
            i++;
        }
    }
    out[o < cap ? o : cap - 1] = '\0';
    return out;
}

const char *hone_text_bytes(uint64_t bytes, char *out, size_t cap)
{
    static const char unit[][4] = { "B", "kB", "MB", "GB", "TB", "PB", "EB" };
    double            v = (double)bytes;
    size_t            u = 0;
    while (v >= 999.5 && u + 1 < sizeof unit / sizeof unit[0]) {
        v /= 1000;
        u++;
    }
    (void)snprintf(out, cap, u == 0 || v >= 99.95 ? "%.0f %s" : v >= 9.995 ? "%.1f %s" : "%.2f %s", v, unit[u]);
    return out;
}

unsigned hone_text_distance(const char *a, const char *b)
{
    size_t   n = strlen(a), m = strlen(b);
    unsigned row[64];
    if (n > 63 || m > 63) return 1000;
    for (size_t j = 0; j <= m; j++) row[j] = (unsigned)j;
    for (size_t i = 1; i <= n; i++) {
        unsigned diag = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= m; j++) {
            unsigned up = row[j];
            unsigned best = diag + (a[i - 1] != b[j - 1]);
            if (up + 1 < best) best = up + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            row[j] = best;
            diag = up;
        }
    }
    return row[m];
}
