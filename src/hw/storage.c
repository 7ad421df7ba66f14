/* storage.c - the disk that results will be written to: room, kind, and how fast it is read. */
#define _GNU_SOURCE
#include "base/file.h"
#include "hw/hw.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

enum { SAMPLE = 64 << 20, CHUNK = 4 << 20, ALIGN = 4096 };

/* The nearest folder of path that exists. */
static void nearest(const char *path, char *out, size_t cap)
{
    (void)snprintf(out, cap, "%s", path && *path ? path : ".");
    while (!hone_dir_exists(out)) {
        char *slash = strrchr(out, '/');
        if (!slash) {
            (void)snprintf(out, cap, ".");
            return;
        }
        slash[slash == out] = '\0';
        if (strcmp(out, "/") == 0) return;
    }
}

/* Type of the file system that st_dev belongs to, from mountinfo: "36 35 98:0 / /mnt rw - ext4 /dev/sda1 rw". */
static bool filesystem_of(const hone_hw_roots *roots, unsigned maj, unsigned min, char *out, size_t cap)
{
    hone_arena  a = { 0 };
    char        want[32];
    bool        found = false;
    const char *mounts = hone_tree_slurp(&a, roots->proc, "self/mountinfo");
    (void)snprintf(want, sizeof want, "%u:%u", maj, min);
    for (const char *p = mounts; p && *p && !found;) {
        const char *end = p + strcspn(p, "\n");
        const char *s1 = memchr(p, ' ', (size_t)(end - p)), *s2 = s1 ? memchr(s1 + 1, ' ', (size_t)(end - s1 - 1)) : NULL;
        const char *dash = strstr(p, " - ");
        if (s2 && dash && dash < end && strncmp(s2 + 1, want, strlen(want)) == 0 && s2[1 + strlen(want)] == ' ') {
            size_t n = strcspn(dash + 3, " \n");
            if (n < cap) {
                memcpy(out, dash + 3, n);
                out[n] = '\0';
                found = true;
            }
        }
        p = *end ? end + 1 : end;
    }
    hone_arena_release(&a);
    return found;
}

/* Kind of a block device from its sysfs folder (a link of dev/block/M:m; of a partition, the disk is the folder above). */
static void put_device(const hone_hw_roots *roots, unsigned maj, unsigned min, const char *fs, hone_hw_out *o)
{
    char     name[64], disk[160], model[64];
    uint64_t rotational;
    if (fs && (strcmp(fs, "tmpfs") == 0 || strcmp(fs, "ramfs") == 0)) {
        hone_hw_str(o, "type", "memory");
        hone_hw_none(o, "device", "%s keeps files in memory", fs);
        return;
    }
    if (fs && (strncmp(fs, "nfs", 3) == 0 || strcmp(fs, "cifs") == 0 || strcmp(fs, "smb3") == 0 || strncmp(fs, "fuse", 4) == 0 ||
               strcmp(fs, "9p") == 0 || strcmp(fs, "virtiofs") == 0)) {
        hone_hw_str(o, "type", "remote");
        hone_hw_none(o, "device", "%s is not a disk of this machine", fs);
        return;
    }
    if (!hone_tree_link(name, sizeof name, roots->sys, "dev/block/%u:%u", maj, min)) {
        hone_hw_none(o, "type", "device %u:%u%s%s has no entry in sysfs", maj, min, fs ? " of " : "", fs ? fs : "");
        hone_hw_none(o, "device", "device %u:%u has no entry in sysfs", maj, min);
        return;
    }
    bool part = hone_tree_exists(roots->sys, "dev/block/%u:%u/partition", maj, min);
    (void)snprintf(disk, sizeof disk, "dev/block/%u:%u%s", maj, min, part ? "/.." : "");
    hone_hw_str(o, "device", name);
    bool known = hone_tree_u64(&rotational, roots->sys, "%s/queue/rotational", disk);
    if (strncmp(name, "nvme", 4) == 0) hone_hw_str(o, "type", "nvme");
    else if (strncmp(name, "mmcblk", 6) == 0) {
        char kind[16];
        (void)hone_tree_text(kind, sizeof kind, roots->sys, "%s/device/type", disk);
        hone_hw_str(o, "type", strcmp(kind, "SD") == 0 ? "sd" : "emmc");
    } else if (strncmp(name, "vd", 2) == 0 || strncmp(name, "xvd", 3) == 0) {
        hone_hw_str(o, "type", "virtual"); /* what is below it only the host knows */
    } else if (strncmp(name, "zram", 4) == 0 || strncmp(name, "ram", 3) == 0) {
        hone_hw_str(o, "type", "memory");
    } else if (known) {
        hone_hw_str(o, "type", rotational ? "rotational" : "ssd");
    } else {
        hone_hw_none(o, "type", "%s has no queue/rotational", name);
    }
    if (hone_tree_text(model, sizeof model, roots->sys, "%s/device/model", disk) && model[0]) hone_hw_str(o, "model", model);
    else hone_hw_none(o, "model", "the device does not give a model name");
}

/* Writes a nameless file of 64 MiB into folder and reads it back past the page cache.  false: why says why not. */
static bool read_speed(const char *folder, double *mb_s, char *why, size_t cap)
{
    char  path[64];
    void *buf = NULL;
    bool  ok = false;
    int   fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), direct = -1;
    if (fd < 0) {
        (void)snprintf(why, cap, "cannot make a nameless file in the folder: %s", strerror(errno));
        return false;
    }
    if (posix_memalign(&buf, ALIGN, CHUNK) != 0) buf = NULL;
    if (!buf) {
        (void)snprintf(why, cap, "out of memory");
        goto out;
    }
    /* Bytes that a compressing file system cannot make smaller. */
    uint64_t x = 88172645463325252u;
    for (size_t i = 0; i < CHUNK / sizeof x; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        memcpy((uint8_t *)buf + i * sizeof x, &x, sizeof x);
    }
    for (off_t at = 0; at < SAMPLE; at += CHUNK)
        if (pwrite(fd, buf, CHUNK, at) != CHUNK) {
            (void)snprintf(why, cap, "cannot write the sample: %s", strerror(errno));
            goto out;
        }
    if (fsync(fd) != 0) {
        (void)snprintf(why, cap, "cannot sync the sample: %s", strerror(errno));
        goto out;
    }
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    direct = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
    if (direct < 0) {
        (void)snprintf(why, cap, "the file system cannot be read past its cache: %s", strerror(errno));
        goto out;
    }
    struct timespec t0, t1;
    (void)clock_gettime(CLOCK_MONOTONIC, &t0);
    for (off_t at = 0; at < SAMPLE; at += CHUNK)
        if (pread(direct, buf, CHUNK, at) != CHUNK) {
            (void)snprintf(why, cap, "cannot read the sample: %s", strerror(errno));
            goto out;
        }
    (void)clock_gettime(CLOCK_MONOTONIC, &t1);
    double s = (double)(t1.tv_sec - t0.tv_sec) + (double)(t1.tv_nsec - t0.tv_nsec) * 1e-9;
    if (s > 0) {
        *mb_s = SAMPLE / s / 1e6;
        ok = true;
    } else {
        (void)snprintf(why, cap, "the clock did not move");
    }
out:
    free(buf);
    if (direct >= 0) (void)close(direct);
    (void)close(fd);
    return ok;
}

static void put_speed(const hone_hw_query *q, const char *folder, uint64_t free_bytes, hone_hw_out *o)
{
    char   why[256] = "not asked to measure";
    double mb_s = 0;
    bool   ok = false;
    bool   asked = (q->measure & HONE_HW_DISK_SPEED) != 0;
    if (asked && !hone_hw_is_real(q->roots)) (void)snprintf(why, sizeof why, "this is not the machine that was read");
    else if (asked && free_bytes < 4u * SAMPLE) (void)snprintf(why, sizeof why, "less than %d MiB are free", 4 * (SAMPLE >> 20));
    else if (asked) {
        hone_event_step(q->ctx, "measuring how fast the disk is read");
        ok = read_speed(folder, &mb_s, why, sizeof why);
    }
    if (!ok) {
        hone_hw_none(o, "read_mb_s", "%s", why);
        return;
    }
    hone_hw_real(o, "read_mb_s", mb_s);
    hone_hw_u64(o, "read_sample_bytes", SAMPLE); /* small: a device with a cache of its own may look faster than it is */
}

hone_code hone_hw_storage(const hone_hw_query *q, json_t **out, hone_err *err)
{
    hone_hw_out    o;
    char           folder[4096], fs[64];
    struct statvfs v;
    struct stat    st;
    hone_hw_begin(&o);
    nearest(q->folder, folder, sizeof folder);
    hone_hw_str(&o, "folder", folder);
    uint64_t free_bytes = 0;
    if (statvfs(folder, &v) == 0) {
        free_bytes = (uint64_t)v.f_bavail * v.f_frsize;
        hone_hw_u64(&o, "free_bytes", free_bytes);
        hone_hw_u64(&o, "total_bytes", (uint64_t)v.f_blocks * v.f_frsize);
    } else {
        hone_hw_none(&o, "free_bytes", "cannot ask the file system: %s", strerror(errno));
        hone_hw_none(&o, "total_bytes", "cannot ask the file system: %s", strerror(errno));
    }
    if (stat(folder, &st) == 0) {
        unsigned maj = major(st.st_dev), min = minor(st.st_dev);
        bool     has = filesystem_of(q->roots, maj, min, fs, sizeof fs);
        if (has) hone_hw_str(&o, "filesystem", fs);
        else hone_hw_none(&o, "filesystem", "device %u:%u is not in %s/self/mountinfo", maj, min, q->roots->proc);
        put_device(q->roots, maj, min, has ? fs : NULL, &o);
    } else {
        hone_hw_none(&o, "type", "cannot ask for the folder's device: %s", strerror(errno));
    }
    put_speed(q, folder, free_bytes, &o);
    return hone_hw_done(&o, "storage facts", out, err);
}
