#include "base/err.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

hone_code hone_err_raise(hone_err *err, const char *file, int line, hone_code code, const char *remedy, const char *fmt,
                         ...)
{
    if (!err) return code;
    va_list ap;
    err->code = code;
    err->file = file;
    err->line = line;
    va_start(ap, fmt);
    (void)vsnprintf(err->cause, sizeof err->cause, fmt, ap);
    va_end(ap);
    (void)snprintf(err->remedy, sizeof err->remedy, "%s", remedy ? remedy : "");
    return code;
}

hone_code hone_err_wrap(hone_err *err, const char *fmt, ...)
{
    if (!err) return HONE_EBUG;
    char    before[sizeof err->cause];
    char    old[sizeof err->cause];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(before, sizeof before, fmt, ap);
    va_end(ap);
    memcpy(old, err->cause, sizeof old);
    size_t n = strlen(before);
    /* A context longer than the buffer must not swallow the cause: keep room for half of each. */
    if (n > sizeof before / 2) before[sizeof before / 2] = '\0';
    int w = snprintf(err->cause, sizeof err->cause, "%s: ", before);
    if (w > 0) (void)snprintf(err->cause + w, sizeof err->cause - (size_t)w, "%s", old);
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
