#define _GNU_SOURCE
#include "hw/tree.h"
#include "base/text.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_CAP = 4096, SLURP_MAX = 1 << 20, NAMES_MAX = 1024 };

const hone_hw_roots hone_hw_machine = { .proc = "/proc", .sys = "/sys", .dev = "/dev", .topology = NULL };

bool hone_hw_is_real(const hone_hw_roots *r)
{
    return strcmp(r->proc, "/proc") == 0 && strcmp(r->sys, "/sys") == 0 && strcmp(r->dev, "/dev") == 0 && !r->topology;
}

static bool join(char path[PATH_CAP], const char *root, const char *fmt, va_list ap)
{
    size_t n = strlen(root);
    if (n + 2 > PATH_CAP) return false;
    memcpy(path, root, n);
    path[n] = '/';
    int m = vsnprintf(path + n + 1, PATH_CAP - n - 1, fmt, ap);
    return m >= 0 && (size_t)m < PATH_CAP - n - 1;
}

#define JOIN(path, root, fmt, ok)                                                                                      \
    do {                                                                                                               \
        va_list ap_;                                                                                                   \
        va_start(ap_, fmt);                                                                                            \
        (ok) = join((path), (root), (fmt), ap_);                                                                       \
        va_end(ap_);                                                                                                   \
    } while (0)

/* At most cap bytes; -1 when the file cannot be read.  Sysfs files may fail in read() as well as in open(). */
static ssize_t read_some(const char *path, char *out, size_t cap)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return -1;
    size_t  n = 0;
    ssize_t got = 0;
    while (n < cap) {
        got = read(fd, out + n, cap - n);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        n += (size_t)got;
    }
    (void)close(fd);
    return got < 0 ? -1 : (ssize_t)n;
}

static bool read_text(char *out, size_t cap, const char *path)
{
    char    raw[PATH_CAP];
    ssize_t n = read_some(path, raw, cap < sizeof raw ? cap - 1 : sizeof raw - 1);
    out[0] = '\0';
    if (n < 0) return false;
    size_t from = 0, to = (size_t)n;
    while (to > from && (isspace((unsigned char)raw[to - 1]) || raw[to - 1] == '\0')) to--;
    while (from < to && isspace((unsigned char)raw[from])) from++;
    (void)hone_text_show(raw + from, to - from, out, cap);
    return true;
}

bool hone_tree_text(char *out, size_t cap, const char *root, const char *fmt, ...)
{
    char path[PATH_CAP];
    bool ok;
    out[0] = '\0';
    JOIN(path, root, fmt, ok);
    return ok && read_text(out, cap, path);
}

char *hone_tree_slurp(hone_arena *a, const char *root, const char *fmt, ...)
{
    char path[PATH_CAP];
    bool ok;
    JOIN(path, root, fmt, ok);
    /* Files of /proc say that they have 0 bytes: read until the end instead of asking. */
    char   *buf = ok ? malloc(SLURP_MAX) : NULL;
    char   *out = NULL;
    ssize_t n = buf ? read_some(path, buf, SLURP_MAX) : -1;
    if (n >= 0) out = hone_arena_strndup(a, buf, (size_t)n);
    free(buf);
    return out;
}

static bool whole_number(const char *s, uint64_t *u, int64_t *i)
{
    char *end = NULL;
    errno = 0;
    if (!*s || isspace((unsigned char)*s)) return false;
    if (u) {
        if (*s == '-' || *s == '+') return false;
        *u = strtoull(s, &end, s[0] == '0' && (s[1] == 'x' || s[1] == 'X') ? 16 : 10);
    } else {
        *i = strtoll(s, &end, 10);
    }
    return errno == 0 && end != s && *end == '\0';
}

bool hone_tree_u64(uint64_t *out, const char *root, const char *fmt, ...)
{
    char     path[PATH_CAP], text[64];
    uint64_t v;
    bool     ok;
    JOIN(path, root, fmt, ok);
    if (!ok || !read_text(text, sizeof text, path) || !whole_number(text, &v, NULL)) return false;
    *out = v;
    return true;
}

bool hone_tree_i64(int64_t *out, const char *root, const char *fmt, ...)
{
    char    path[PATH_CAP], text[64];
    int64_t v;
    bool    ok;
    JOIN(path, root, fmt, ok);
    if (!ok || !read_text(text, sizeof text, path) || !whole_number(text, NULL, &v)) return false;
    *out = v;
    return true;
}

bool hone_tree_link(char *out, size_t cap, const char *root, const char *fmt, ...)
{
    char path[PATH_CAP], to[PATH_CAP];
    bool ok;
    out[0] = '\0';
    JOIN(path, root, fmt, ok);
    ssize_t n = ok ? readlink(path, to, sizeof to - 1) : -1;
    if (n < 0) return false;
    to[n] = '\0';
    const char *slash = strrchr(to, '/');
    const char *name = slash ? slash + 1 : to;
    (void)hone_text_show(name, strlen(name), out, cap);
    return true;
}

bool hone_tree_exists(const char *root, const char *fmt, ...)
{
    char path[PATH_CAP];
    bool ok;
    JOIN(path, root, fmt, ok);
    return ok && access(path, F_OK) == 0;
}

bool hone_tree_usable(const char *root, const char *fmt, ...)
{
    char path[PATH_CAP];
    bool ok;
    JOIN(path, root, fmt, ok);
    return ok && access(path, R_OK | W_OK) == 0;
}

static int natural(const void *pa, const void *pb)
{
    const char *a = *(const char *const *)pa, *b = *(const char *const *)pb;
    return strverscmp(a, b);
}

size_t hone_tree_list(hone_arena *a, const char *const **names, const char *root, const char *folder, const char *prefix)
{
    char path[PATH_CAP];
    int  m = snprintf(path, sizeof path, "%s/%s", root, folder);
    *names = NULL;
    DIR *d = m > 0 && (size_t)m < sizeof path ? opendir(path) : NULL;
    if (!d) return 0;
    const char   **list = HONE_ARENA_NEW(a, const char *, NAMES_MAX);
    size_t         n = 0, len = strlen(prefix);
    struct dirent *e;
    while (list && n < NAMES_MAX && (e = readdir(d)) != NULL) {
        if (e->d_name[0] == '.' || strncmp(e->d_name, prefix, len) != 0) continue;
        if (!(list[n] = hone_arena_strdup(a, e->d_name))) break;
        n++;
    }
    (void)closedir(d);
    if (n) qsort(list, n, sizeof *list, natural);
    *names = list;
    return n;
}

bool hone_tree_field(const char *text, const char *key, char sep, char *out, size_t cap)
{
    size_t len = strlen(key);
    out[0] = '\0';
    for (const char *p = text; p && *p;) {
        const char *end = p + strcspn(p, "\n");
        if (strncmp(p, key, len) == 0) {
            const char *v = p + len;
            while (v < end && (*v == ' ' || *v == '\t')) v++;
            if (sep == ' ' ? v > p + len : v < end && *v == sep) {
                if (sep != ' ') v++;
                while (v < end && isspace((unsigned char)*v)) v++;
                const char *to = end;
                while (to > v && isspace((unsigned char)to[-1])) to--;
                (void)hone_text_show(v, (size_t)(to - v), out, cap);
                return true;
            }
        }
        p = *end ? end + 1 : end;
    }
    return false;
}

void hone_hw_begin(hone_hw_out *o)
{
    *o = (hone_hw_out){ .obj = json_object(), .absent = json_object() };
    if (!o->obj || !o->absent) o->broken = true;
}

void hone_hw_put(hone_hw_out *o, const char *key, json_t *value)
{
    if (!o->obj) json_decref(value);
    else if (json_object_set_new(o->obj, key, value) != 0) o->broken = true;
}

void hone_hw_str(hone_hw_out *o, const char *key, const char *value) { hone_hw_put(o, key, json_string(value)); }
void hone_hw_u64(hone_hw_out *o, const char *key, uint64_t value)
{
    hone_hw_put(o, key, json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value));
}
void hone_hw_real(hone_hw_out *o, const char *key, double value) { hone_hw_put(o, key, hone_json_real(value)); }
void hone_hw_bool(hone_hw_out *o, const char *key, bool value) { hone_hw_put(o, key, json_boolean(value)); }

void hone_hw_none(hone_hw_out *o, const char *key, const char *fmt, ...)
{
    char    why[512];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    hone_hw_put(o, key, json_null());
    if (o->absent && json_object_set_new(o->absent, key, json_string(why)) != 0) o->broken = true;
}

hone_code hone_hw_done(hone_hw_out *o, const char *what, json_t **out, hone_err *err)
{
    if (o->obj && o->absent && json_object_set(o->obj, "not_measured", o->absent) != 0) o->broken = true;
    json_decref(o->absent);
    if (o->broken) {
        json_decref(o->obj);
        *o = (hone_hw_out){ 0 };
        return HONE_NOMEM(err, what);
    }
    *out = o->obj;
    *o = (hone_hw_out){ 0 };
    return HONE_OK;
}
