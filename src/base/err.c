#include "base/err.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LONGEST_PATH 4096 /* PATH_MAX of Linux; a cause names two paths at most */

/* Copies text into out[cap].  What does not fit loses its middle: the object stands at the front, the reason at the end. */
static void put_fitting(char *out, size_t cap, const char *text)
{
    size_t n = strlen(text);
    if (n < cap) {
        memcpy(out, text, n + 1);
        return;
    }
    size_t head = (cap - sizeof "...") / 2, tail = n - (cap - sizeof "..." - head);
    while (head > 0 && ((unsigned char)text[head] & 0xc0) == 0x80) head--; /* not inside a character */
    while (((unsigned char)text[tail] & 0xc0) == 0x80) tail++;
    memcpy(out, text, head);
    memcpy(out + head, "...", 3);
    memcpy(out + head + 3, text + tail, n - tail + 1);
}

hone_code hone_err_raise(hone_err *err, const char *file, int line, hone_code code, const char *remedy, const char *fmt,
                         ...)
{
    if (!err) return code;
    char    whole[2 * LONGEST_PATH];
    va_list ap;
    err->code = code;
    err->file = file;
    err->line = line;
    va_start(ap, fmt);
    (void)vsnprintf(whole, sizeof whole, fmt, ap);
    va_end(ap);
    put_fitting(err->cause, sizeof err->cause, whole);
    (void)snprintf(err->remedy, sizeof err->remedy, "%s", remedy ? remedy : "");
    return code;
}

hone_code hone_err_wrap(hone_err *err, const char *fmt, ...)
{
    if (!err) return HONE_EBUG;
    char    before[LONGEST_PATH], whole[sizeof before + sizeof err->cause];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(before, sizeof before, fmt, ap);
    va_end(ap);
    /* A context longer than the buffer must not swallow the cause: it gets at most half the room. */
    if (strlen(before) + 2 + strlen(err->cause) >= sizeof err->cause) {
        char shorter[sizeof err->cause / 2];
        put_fitting(shorter, sizeof shorter, before);
        memcpy(before, shorter, strlen(shorter) + 1);
    }
    (void)snprintf(whole, sizeof whole, "%s: %s", before, err->cause);
    put_fitting(err->cause, sizeof err->cause, whole);
    return err->code;
}

void hone_err_set_remedy(hone_err *err, const char *remedy)
{
    if (err) (void)snprintf(err->remedy, sizeof err->remedy, "%s", remedy ? remedy : "");
}

const char *hone_code_name(hone_code code)
{
    switch (code) {
    case HONE_OK: return "ok";
    case HONE_ENO: return "no";
    case HONE_EUSAGE: return "usage";
    case HONE_EINPUT: return "bad_input";
    case HONE_EUNSUPPORTED: return "unsupported";
    case HONE_ERUNTIME: return "runtime_failed";
    case HONE_ERESOURCE: return "resources";
    case HONE_EBUG: return "bug";
    }
    return "bug";
}
