#include "base/file.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

static const char CHECK_PATH[] = "check the path";
static const char CHECK_DISK[] = "free disk space or choose another output folder";

hone_code hone_file_open(const char *path, hone_file *out, hone_err *err)
{
    int fd;
    do fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* O_NONBLOCK: a FIFO must not hang us */
    while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        int  e = errno;
        bool gone = e == ENOENT || e == ENOTDIR || e == ELOOP || e == ENAMETOOLONG;
        return HONE_FAIL(err, gone ? HONE_EINPUT : HONE_ERESOURCE, CHECK_PATH, "cannot open '%s': %s", path, strerror(e));
    }
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return HONE_FAIL(err, HONE_EINPUT, CHECK_PATH, "'%s' is not a regular file", path);
    }
    *out = (hone_file){ .fd = fd, .size = (uint64_t)st.st_size, .path = path };
    return HONE_OK;
}

hone_code hone_file_read(const hone_file *f, uint64_t off, void *buf, size_t n, hone_err *err)
{
    uint8_t *p = buf;
    size_t   left = n;
    if (off > INT64_MAX || n > INT64_MAX - off)
        return HONE_FAIL(err, HONE_EINPUT, "", "read of %zu bytes at %" PRIu64 " of '%s' is out of range", n, off, f->path);
    while (left) {
        ssize_t got = pread(f->fd, p, left, (off_t)(off + (n - left)));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0)
            return HONE_FAIL(err, HONE_ERESOURCE, "check the disk", "cannot read '%s' at byte %" PRIu64 ": %s", f->path,
                             off + (n - left), strerror(errno));
        if (got == 0)
            return HONE_FAIL(err, HONE_EINPUT, "do not change the file while it is read; fetch it again",
                             "'%s' ends at byte %" PRIu64 ", needed %" PRIu64, f->path, off + (n - left), off + n);
        p += got;
        left -= (size_t)got;
    }
    return HONE_OK;
}

/* True: the byte at off is in memory already. */
static bool in_memory(int fd, uint64_t off)
{
    char         byte;
    struct iovec at = { &byte, 1 };
    return preadv2(fd, &at, 1, (off_t)off, RWF_NOWAIT) == 1;
}

/* Asking for what is there already costs the system a look at every page; a piece whose two ends are there is taken to be whole. */
void hone_file_soon(const hone_file *f, uint64_t off, uint64_t n)
{
    if (f->fd < 0 || n == 0 || off > INT64_MAX || n > INT64_MAX - off) return;
    if (in_memory(f->fd, off + n - 1) && in_memory(f->fd, off)) return;
    (void)posix_fadvise(f->fd, (off_t)off, (off_t)n, POSIX_FADV_WILLNEED);
}

void hone_file_close(hone_file *f)
{
    if (f && f->path && f->fd >= 0) close(f->fd); /* a zeroed one has no path: its 0 is nobody's */
    if (f) *f = HONE_FILE_CLOSED;
}

hone_code hone_file_slurp(const char *path, uint64_t max, hone_arena *a, hone_bytes *out, hone_err *err)
{
    hone_file f = HONE_FILE_CLOSED;
    HONE_TRY(hone_file_open(path, &f, err));
    hone_code code = HONE_OK;
    uint8_t  *p = NULL;
    if (f.size > max)
        code = HONE_FAIL(err, HONE_EINPUT, "", "'%s' has %" PRIu64 " bytes, the limit is %" PRIu64, path, f.size, max);
    else if (!(p = hone_arena_alloc(a, (size_t)f.size + 1)))
        code = HONE_NOMEM(err, path);
    else
        code = hone_file_read(&f, 0, p, (size_t)f.size, err);
    if (code == HONE_OK) *out = (hone_bytes){ p, (size_t)f.size };
    hone_file_close(&f);
    return code;
}

bool hone_file_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

bool hone_dir_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

hone_code hone_dir_make(const char *path, hone_err *err)
{
    char   buf[4096];
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof buf)
        return HONE_FAIL(err, HONE_EUSAGE, "", "folder name has %zu bytes, 1..%zu fit", n, sizeof buf - 1);
    memcpy(buf, path, n + 1);
    for (size_t i = 1; i <= n; i++) {
        if (buf[i] != '/' && buf[i] != '\0') continue;
        char keep = buf[i];
        buf[i] = '\0';
        int e = mkdir(buf, 0777) == 0 ? 0 : errno;
        if (e && !hone_dir_exists(buf)) {
            if (e == EEXIST) return HONE_FAIL(err, HONE_ERESOURCE, "move it away or choose another output folder", "'%s' is no folder, a folder has to go there", buf);
            return HONE_FAIL(err, HONE_ERESOURCE, "choose another output folder", "cannot make folder '%s': %s", buf,
                             strerror(e));
        }
        buf[i] = keep;
    }
    return HONE_OK;
}

/* Where the name that begins at or behind `at` ends. */
static size_t name_end(const char *path, size_t at)
{
    at += strspn(path + at, "/");
    return at + strcspn(path + at, "/");
}

size_t hone_dir_missing(const char *path)
{
    char   buf[4096];
    size_t n = strlen(path);
    if (n >= sizeof buf) return 0;
    for (size_t end = 0; path[end + strspn(path + end, "/")] != '\0';) {
        end = name_end(path, end);
        memcpy(buf, path, end);
        buf[end] = '\0';
        if (!hone_dir_exists(buf)) return end;
    }
    return 0;
}

void hone_dir_unmake(const char *path, size_t from)
{
    char   buf[4096];
    size_t n = strlen(path);
    if (from == 0 || n >= sizeof buf) return;
    memcpy(buf, path, n + 1);
    while (n >= from) {
        while (n > from && buf[n - 1] == '/') n--;
        buf[n] = '\0';
        if (rmdir(buf) != 0) return;
        while (n > 0 && buf[n - 1] != '/') n--;
    }
}

hone_code hone_path_inside(hone_arena *a, const char *dir, const char *name, const char **out, hone_err *err)
{
    bool bad = name[0] == '/' || name[0] == '\0' || strchr(name, '\\') != NULL;
    for (const char *p = name; !bad && *p;) {
        size_t n = strcspn(p, "/");
        bad = n == 0 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.');
        p += n;
        if (*p == '/') p++;
    }
    if (bad)
        return HONE_FAIL(err, HONE_EINPUT, "do not trust this checkpoint; get it from its publisher",
                         "file name '%.200s' points outside its folder", name);
    const char *s = hone_arena_printf(a, "%s/%s", dir, name);
    if (!s) return HONE_NOMEM(err, "a path");
    *out = s;
    return HONE_OK;
}

hone_code hone_disk_free(const char *path, uint64_t *out, hone_err *err)
{
    char   buf[4096];
    size_t n = strlen(path);
    if (n >= sizeof buf) return HONE_FAIL(err, HONE_EUSAGE, "", "path has %zu bytes, %zu fit", n, sizeof buf - 1);
    memcpy(buf, path, n + 1);
    struct statvfs sv;
    while (statvfs(n ? buf : ".", &sv) != 0) {
        if (n == 0) return HONE_FAIL(err, HONE_ERESOURCE, "", "cannot ask for free space at '%s': %s", path, strerror(errno));
        while (n && buf[n - 1] == '/') n--;
        while (n && buf[n - 1] != '/') n--;
        buf[n] = '\0';
    }
    *out = (uint64_t)sv.f_bavail * (uint64_t)sv.f_frsize;
    return HONE_OK;
}

/* Locks what fd is open on.  HONE_ENO: it has another name by now, or none: a writer that ends between our open and our lock has renamed
 * or removed it, and emptying it would empty a finished artefact. */
static hone_code lock_named(int fd, const char *tmp, hone_err *err)
{
    struct stat mine, there;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int e = errno;
        if (e == EINTR) return HONE_ENO;
        if (e == EWOULDBLOCK)
            return HONE_FAIL(err, HONE_ERESOURCE, "wait for the other run or use another folder", "'%s' is being written by another process", tmp);
        return HONE_FAIL(err, HONE_ERESOURCE, "choose an output folder on another filesystem", "cannot lock '%s': %s", tmp, strerror(e));
    }
    if (fstat(fd, &mine) != 0 || lstat(tmp, &there) != 0 || mine.st_dev != there.st_dev || mine.st_ino != there.st_ino) return HONE_ENO;
    return S_ISREG(mine.st_mode) ? HONE_OK : HONE_FAIL(err, HONE_ERESOURCE, "move it away", "'%s' is not a regular file", tmp);
}

/* Makes tmp and locks it.  One that a killed run left is removed, not written over: it may be what that run replaced, with other names elsewhere. */
static hone_code open_locked(const char *tmp, int *out, hone_err *err)
{
    for (int tries = 0; tries < 100; tries++) {
        int  fd = open(tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        bool stale = fd < 0 && errno == EEXIST;
        if (stale) fd = open(tmp, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK); /* NFS locks only what may be written */
        if (stale && fd < 0 && errno == EACCES) fd = open(tmp, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0 && stale && errno == ENOENT) continue;
        if (fd < 0) {
            const char *remedy = errno == ENAMETOOLONG ? "use a shorter name" : "choose an output folder you may write to";
            return HONE_FAIL(err, HONE_ERESOURCE, remedy, "cannot create '%s': %s", tmp, strerror(errno));
        }
        hone_code code = lock_named(fd, tmp, err);
        if (code == HONE_OK && !stale) {
            *out = fd;
            return HONE_OK;
        }
        int gone = code == HONE_OK ? unlink(tmp) : 0;
        if (gone != 0) code = HONE_FAIL(err, HONE_ERESOURCE, "move it away", "cannot remove '%s': %s", tmp, strerror(errno));
        close(fd);
        if (code != HONE_OK && code != HONE_ENO) return code;
    }
    return HONE_FAIL(err, HONE_ERESOURCE, "wait for the other run or use another folder", "'%s' is being written by another process", tmp);
}

/* A filesystem in memory reserves by taking every page at once, which is as much work as writing them, and one thread's while the others wait. */
static bool lies_in_memory(int fd)
{
    struct statfs fs;
    return fstatfs(fd, &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}

static hone_code reserve(int fd, const char *path, const char *tmp, uint64_t size, hone_err *err)
{
    if (ftruncate(fd, 0) != 0)
        return HONE_FAIL(err, HONE_ERESOURCE, CHECK_DISK, "cannot empty '%s': %s", tmp, strerror(errno));
    if (size == 0) return HONE_OK;
    int e = size > INT64_MAX ? EFBIG : lies_in_memory(fd) ? EOPNOTSUPP : posix_fallocate(fd, 0, (off_t)size);
    /* Some filesystems cannot reserve, or not cheaply; the length is set all the same, so that gaps never written read as zero. */
    if (e == EOPNOTSUPP || e == EINVAL) e = ftruncate(fd, (off_t)size) == 0 ? 0 : errno;
    if (e == 0) return HONE_OK;
    return HONE_FAIL(err, HONE_ERESOURCE, CHECK_DISK, "cannot reserve %" PRIu64 " bytes for '%s': %s", size, path, strerror(e));
}

hone_code hone_out_open(const char *path, uint64_t size, hone_out *out, hone_err *err)
{
    if (hone_dir_exists(path)) /* said now, and not when all has been written */
        return HONE_FAIL(err, HONE_ERESOURCE, "move it away or choose another name", "'%s' is a folder, a file has to go there", path);
    size_t n = strlen(path);
    char  *p = malloc(n + 1), *tmp = malloc(n + 5);
    if (!p || !tmp) {
        free(p);
        free(tmp);
        return HONE_NOMEM(err, "an output path");
    }
    memcpy(p, path, n + 1);
    memcpy(tmp, path, n);
    memcpy(tmp + n, ".tmp", 5);
    int       fd = -1;
    hone_code code = open_locked(tmp, &fd, err);
    if (code == HONE_OK) code = reserve(fd, path, tmp, size, err);
    if (code != HONE_OK) {
        if (fd >= 0) {
            (void)unlink(tmp);
            close(fd);
        }
        free(p);
        free(tmp);
        return code;
    }
    *out = (hone_out){ .fd = fd, .path = p, .tmp = tmp };
    return HONE_OK;
}

hone_code hone_out_compare(const char *path, const hone_out_judge *judge, hone_out *out, hone_err *err)
{
    size_t    n = strlen(path);
    char     *p = malloc(n + 1);
    hone_file f = HONE_FILE_CLOSED;
    if (!p) return HONE_NOMEM(err, "a path");
    memcpy(p, path, n + 1);
    if (hone_file_exists(path)) {
        hone_code code = hone_file_open(path, &f, err);
        if (code != HONE_OK) {
            free(p);
            return code;
        }
    }
    *out = (hone_out){ .fd = f.fd, .path = p, .judge = judge };
    return HONE_OK;
}

/* What there is of n bytes at off. */
static hone_code read_some(const hone_out *o, uint64_t off, uint8_t *buf, size_t n, size_t *got, hone_err *err)
{
    for (*got = 0; *got < n && o->fd >= 0;) {
        ssize_t k = pread(o->fd, buf + *got, n - *got, (off_t)(off + *got));
        if (k < 0 && errno == EINTR) continue;
        if (k < 0)
            return HONE_FAIL(err, HONE_ERESOURCE, "check the disk", "cannot read '%s' at byte %" PRIu64 ": %s", o->path, off + *got, strerror(errno));
        if (k == 0) break;
        *got += (size_t)k;
    }
    return HONE_OK;
}

/* Most of the time all is equal, and no memory is needed: the judge gets a write whole, so only one that differs is read whole. */
static hone_code compare(const hone_out *o, uint64_t off, const uint8_t *want, size_t n, hone_err *err)
{
    uint8_t chunk[32768];
    size_t  at = 0, got;
    while (at < n) {
        size_t part = n - at < sizeof chunk ? n - at : sizeof chunk;
        HONE_TRY(read_some(o, off + at, chunk, part, &got, err));
        if (got < part || memcmp(chunk, want + at, part) != 0) break;
        at += part;
    }
    if (at == n) return HONE_OK;
    uint8_t *found = malloc(n);
    if (!found) return HONE_NOMEM(err, "a comparison");
    hone_code code = read_some(o, off, found, n, &got, err);
    if (code == HONE_OK) o->judge->differs(o->judge->user, o, off, want, found, n, got);
    free(found);
    return code;
}

hone_code hone_out_digest(hone_out *o, uint64_t size, hone_err *err) { return hone_digest_new(o->fd, size, &o->digest, err); }

hone_code hone_out_write(hone_out *o, uint64_t off, const void *buf, size_t n, hone_err *err)
{
    const uint8_t *p = buf;
    uint64_t       first = off;
    if (o->judge) return compare(o, off, p, n, err);
    while (n) {
        ssize_t put = pwrite(o->fd, p, n, (off_t)off);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0)
            return HONE_FAIL(err, HONE_ERESOURCE, CHECK_DISK, "cannot write '%s' at byte %" PRIu64 ": %s", o->tmp, off,
                             put < 0 ? strerror(errno) : "nothing written");
        p += put;
        off += (uint64_t)put;
        n -= (size_t)put;
    }
    if (o->digest) hone_digest_wrote(o->digest, first, off - first);
    return HONE_OK;
}

bool hone_out_enter(hone_out *o) { return o->judge || !atomic_exchange_explicit(&o->entered, true, memory_order_relaxed); }

void hone_out_leave(hone_out *o) { atomic_store_explicit(&o->entered, false, memory_order_relaxed); }

void hone_dir_sync(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    (void)fsync(fd);
    close(fd);
}

static void sync_folder_of(const char *path)
{
    char        dir[4096];
    const char *slash = strrchr(path, '/');
    size_t      n = slash ? (size_t)(slash - path) : 0;
    if (n >= sizeof dir) return;
    memcpy(dir, path, n);
    dir[n] = '\0';
    hone_dir_sync(slash ? (n ? dir : "/") : ".");
}

hone_code hone_out_seal(hone_out *o, hone_code (*check)(void *, const char *, hone_err *), void *user, hone_err *err)
{
    if (fsync(o->fd) != 0) return HONE_FAIL(err, HONE_ERESOURCE, CHECK_DISK, "cannot sync '%s': %s", o->tmp, strerror(errno));
    return check ? check(user, o->tmp, err) : HONE_OK;
}

hone_code hone_out_name(hone_out *o, hone_err *err) { return hone_naming_give(&o->naming, false, o->tmp, o->path, err); }

bool hone_out_take_back(hone_out *o) { return hone_naming_take_back(&o->naming, false, o->tmp, o->path); }

hone_code hone_out_commit(hone_out *o, hone_code (*check)(void *, const char *, hone_err *), void *user, hone_err *err)
{
    hone_code code = hone_out_seal(o, check, user, err);
    if (code == HONE_OK) code = hone_out_name(o, err);
    if (code == HONE_OK) sync_folder_of(o->path);
    hone_out_discard(o);
    return code;
}

void hone_out_discard(hone_out *o)
{
    if (!o || !o->path) return;
    if (o->tmp && hone_naming_leaves(&o->naming)) (void)unlink(o->tmp);
    hone_naming_settle(&o->naming);
    if (o->fd >= 0) close(o->fd);
    free(o->path);
    free(o->tmp);
    hone_digest_free(o->digest);
    *o = (hone_out){ .fd = -1 };
}

hone_code hone_out_try(const char *path, hone_err *err)
{
    hone_out o = { .fd = -1 };
    HONE_TRY(hone_out_open(path, 0, &o, err));
    hone_out_discard(&o);
    return HONE_OK;
}

hone_code hone_out_put(const char *path, const void *buf, size_t n, hone_err *err)
{
    hone_out o = { .fd = -1 };
    HONE_TRY(hone_out_open(path, 0, &o, err));
    hone_code code = hone_out_write(&o, 0, buf, n, err);
    if (code == HONE_OK) return hone_out_commit(&o, NULL, NULL, err);
    hone_out_discard(&o);
    return code;
}
