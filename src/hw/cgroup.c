#include "hw/cgroup.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FOLDER_CAP = 1024, WHERE_CAP = 512 };

/* Version 1 says "no limit" with the largest page-aligned number. */
#define NO_LIMIT ((uint64_t)1 << 62)

typedef struct place {
    int  version;           /* 0: not found */
    char mount[WHERE_CAP];  /* below the sys root: "fs/cgroup/memory" */
    char group[WHERE_CAP];  /* of this process, below the mount; begins with "/" or is "" */
} place;

/* Is word one of the comma-separated words of list? */
static bool has_word(const char *list, size_t n, const char *word)
{
    size_t len = strlen(word);
    for (size_t i = 0; i + len <= n;) {
        size_t m = 0;
        while (i + m < n && list[i + m] != ',') m++;
        if (m == len && strncmp(list + i, word, len) == 0) return true;
        i += m + 1;
    }
    return false;
}

/* Octal escapes of mountinfo ("\040") as bytes. */
static void unescape(char *s)
{
    char *o = s;
    for (; *s; s++) {
        if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' && s[3] >= '0' && s[3] <= '7') {
            *o++ = (char)(((s[1] - '0') << 6) | ((s[2] - '0') << 3) | (s[3] - '0'));
            s += 3;
        } else {
            *o++ = *s;
        }
    }
    *o = '\0';
}

/* The n-th space-separated word of a line; false when it has fewer or it does not fit. */
static bool nth_word(const char *line, const char *end, int n, char *out, size_t cap)
{
    for (const char *p = line; p < end; n--) {
        const char *q = memchr(p, ' ', (size_t)(end - p));
        if (!q) q = end;
        if (n == 0) {
            if ((size_t)(q - p) >= cap) return false;
            memcpy(out, p, (size_t)(q - p));
            out[q - p] = '\0';
            return true;
        }
        p = q + 1;
    }
    return false;
}

/* Where version `version`'s hierarchy (of controller, for 1) is mounted, and which part of it that mount shows:
 *   36 35 98:0 /root /sys/fs/cgroup/memory rw,... shared:1 - cgroup cgroup rw,memory */
static bool find_mount(const char *mounts, int version, const char *controller, char *at, char *root)
{
    for (const char *p = mounts; *p;) {
        const char *end = p + strcspn(p, "\n");
        const char *dash = strstr(p, " - ");
        char        type[32], options[512], where[WHERE_CAP], part[WHERE_CAP];
        if (dash && dash < end && nth_word(dash + 3, end, 0, type, sizeof type) &&
            nth_word(dash + 3, end, 2, options, sizeof options) && nth_word(p, end, 3, part, sizeof part) &&
            nth_word(p, end, 4, where, sizeof where) && strcmp(type, version == 2 ? "cgroup2" : "cgroup") == 0 &&
            (version == 2 || has_word(options, strlen(options), controller))) {
            unescape(where);
            unescape(part);
            if (strncmp(where, "/sys/", 5) == 0) {
                (void)snprintf(at, WHERE_CAP, "%s", where + 5);
                (void)snprintf(root, WHERE_CAP, "%s", part);
                return true;
            }
        }
        p = *end ? end + 1 : end;
    }
    return false;
}

/* The process's group in that hierarchy: "4:memory:/a/b" or, version 2, "0::/a/b". */
static bool find_group(const char *groups, int version, const char *controller, char *out)
{
    for (const char *p = groups; *p;) {
        const char *end = p + strcspn(p, "\n");
        const char *c1 = memchr(p, ':', (size_t)(end - p));
        const char *c2 = c1 ? memchr(c1 + 1, ':', (size_t)(end - c1 - 1)) : NULL;
        if (c2 && (version == 2 ? (c1 == p + 1 && *p == '0' && c2 == c1 + 1)
                                : has_word(c1 + 1, (size_t)(c2 - c1 - 1), controller))) {
            size_t n = (size_t)(end - c2 - 1);
            if (n >= WHERE_CAP) return false;
            memcpy(out, c2 + 1, n);
            out[n] = '\0';
            return true;
        }
        p = *end ? end + 1 : end;
    }
    return false;
}

static place find_place(const char *mounts, const char *groups, int version, const char *controller)
{
    place p = { 0 };
    char  root[WHERE_CAP], group[WHERE_CAP];
    if (!find_mount(mounts, version, controller, p.mount, root) || !find_group(groups, version, controller, group)) return p;
    /* In a container the mount often shows only our own group, while /proc/self/cgroup names it from the host's root. */
    size_t n = strcmp(root, "/") == 0 ? 0 : strlen(root);
    const char *rest = group;
    if (n && strncmp(group, root, n) == 0 && (group[n] == '/' || group[n] == '\0')) rest = group + n;
    else if (n) rest = "";
    if (strstr(rest, "/..")) rest = ""; /* outside of our cgroup namespace: the mount's top is the nearest we can see */
    (void)snprintf(p.group, sizeof p.group, "%s", strcmp(rest, "/") == 0 ? "" : rest);
    p.version = version;
    return p;
}

/* Calls visit for the own group and each above it, up to the mount. */
static void walk(const place *p, void (*visit)(const char *sys, const char *folder, int version, hone_cgroup *out), const char *sys,
                 hone_cgroup *out)
{
    char folder[FOLDER_CAP];
    int  n = snprintf(folder, sizeof folder, "%s%s", p->mount, p->group);
    if (n < 0 || (size_t)n >= sizeof folder) return;
    size_t top = strlen(p->mount);
    for (;;) {
        visit(sys, folder, p->version, out);
        if (strlen(folder) <= top) return;
        *strrchr(folder, '/') = '\0';
    }
}

static uint64_t file_cache(const char *sys, const char *folder, int version)
{
    hone_arena a = { 0 };
    char       text[32];
    uint64_t   v = 0;
    char      *stat = hone_tree_slurp(&a, sys, "%s/memory.stat", folder);
    if (stat && hone_tree_field(stat, version == 2 ? "inactive_file" : "total_inactive_file", ' ', text, sizeof text))
        v = strtoull(text, NULL, 10);
    hone_arena_release(&a);
    return v;
}

static void see_memory(const char *sys, const char *folder, int version, hone_cgroup *out)
{
    uint64_t limit, used;
    if (!hone_tree_u64(&limit, sys, version == 2 ? "%s/memory.max" : "%s/memory.limit_in_bytes", folder) || limit >= NO_LIMIT)
        return; /* "max" is no number */
    uint64_t room = limit;
    if (hone_tree_u64(&used, sys, version == 2 ? "%s/memory.current" : "%s/memory.usage_in_bytes", folder)) {
        uint64_t cache = file_cache(sys, folder, version);
        uint64_t held = used > cache ? used - cache : 0;
        room = limit > held ? limit - held : 0;
    }
    if (!out->memory_limited || limit < out->memory_limit) {
        out->memory_limit = limit;
        (void)snprintf(out->memory_at, sizeof out->memory_at, "/sys/%.240s", folder);
    }
    if (!out->memory_limited || room < out->memory_room) out->memory_room = room;
    out->memory_limited = true;
}

static void see_cpu(const char *sys, const char *folder, int version, hone_cgroup *out)
{
    double quota, period;
    if (version == 2) {
        char text[64], *end;
        if (!hone_tree_text(text, sizeof text, sys, "%s/cpu.max", folder)) return;
        errno = 0;
        quota = strtod(text, &end);
        if (end == text || errno) return; /* "max 100000" */
        period = strtod(end, NULL);
    } else {
        int64_t q;
        uint64_t p;
        if (!hone_tree_i64(&q, sys, "%s/cpu.cfs_quota_us", folder) || q <= 0 ||
            !hone_tree_u64(&p, sys, "%s/cpu.cfs_period_us", folder))
            return;
        quota = (double)q;
        period = (double)p;
    }
    if (!(quota > 0 && period > 0)) return;
    if (!out->cpu_limited || quota / period < out->cpu_cores) {
        out->cpu_cores = quota / period;
        (void)snprintf(out->cpu_at, sizeof out->cpu_at, "/sys/%.240s", folder);
    }
    out->cpu_limited = true;
}

void hone_cgroup_read(const hone_hw_roots *roots, hone_cgroup *out)
{
    hone_arena a = { 0 };
    *out = (hone_cgroup){ 0 };
    const char *mounts = hone_tree_slurp(&a, roots->proc, "self/mountinfo");
    const char *groups = hone_tree_slurp(&a, roots->proc, "self/cgroup");
    if (mounts && groups) {
        /* On a hybrid system a controller sits in one of the two: version 1 names it when it is there. */
        place m1 = find_place(mounts, groups, 1, "memory"), c1 = find_place(mounts, groups, 1, "cpu");
        place two = find_place(mounts, groups, 2, "");
        const place *mem = m1.version ? &m1 : &two, *cpu = c1.version ? &c1 : &two;
        out->memory_version = mem->version;
        out->cpu_version = cpu->version;
        if (mem->version) walk(mem, see_memory, roots->sys, out);
        if (cpu->version) walk(cpu, see_cpu, roots->sys, out);
    }
    hone_arena_release(&a);
}
