/* faults.c - to be preloaded: lets the n-th call that changes a file system fail, or ends the process there (tests/cli/convert_finish.sh).
 * HONE_FAULT "fail:N", "term:N", "int:N" or "kill:N" (before the call is made); "fail" leaves the calls that remove something alone.
 * HONE_FAULT_HIT  a file that is made when it happens; its text is the call's name.  HONE_FAULT_PLAIN: set, names cannot be exchanged here.
 * HONE_FAULT_SLOW  milliseconds that each pwrite takes. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static long            seen;

static void note(const char *call)
{
    const char *path = getenv("HONE_FAULT_HIT");
    int         fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, 0666) : -1;
    if (fd < 0) return;
    (void)syscall(SYS_write, fd, call, strlen(call));
    (void)syscall(SYS_close, fd);
}

/* True: the call fails.  It may not return at all. */
static bool hit(const char *call, bool removes)
{
    const char *what = getenv("HONE_FAULT"), *colon = what ? strchr(what, ':') : NULL;
    bool        fails = colon && strncmp(what, "fail", 4) == 0;
    if (!colon || (fails && removes)) return false;
    (void)pthread_mutex_lock(&turn);
    bool now = ++seen == strtol(colon + 1, NULL, 10);
    (void)pthread_mutex_unlock(&turn);
    if (!now) return false;
    note(call);
    if (!fails) (void)kill(getpid(), what[0] == 't' ? SIGTERM : what[0] == 'i' ? SIGINT : SIGKILL);
    return fails;
}

#define FAULT(name, removes, error)                                                                                    \
    if (hit(name, removes)) {                                                                                          \
        errno = error;                                                                                                 \
        return -1;                                                                                                     \
    }

int fsync(int fd) /* no test loses power: nothing waits for a disk */
{
    (void)fd;
    FAULT("fsync", false, EIO)
    return 0;
}

ssize_t pwrite64(int fd, const void *buf, size_t n, off64_t off)
{
    const char *slow = getenv("HONE_FAULT_SLOW");
    if (slow) (void)usleep((useconds_t)strtoul(slow, NULL, 10) * 1000);
    FAULT("pwrite", false, ENOSPC)
    return (ssize_t)syscall(SYS_pwrite64, fd, buf, n, off);
}

ssize_t pwrite(int fd, const void *buf, size_t n, off_t off) { return pwrite64(fd, buf, n, off); }

int posix_fallocate64(int fd, off64_t off, off64_t n)
{
    if (hit("posix_fallocate", false)) return ENOSPC;
    return syscall(SYS_fallocate, fd, 0, off, n) == 0 ? 0 : errno;
}

int posix_fallocate(int fd, off_t off, off_t n) { return posix_fallocate64(fd, off, n); }

int rename(const char *from, const char *to)
{
    FAULT("rename", false, EIO)
    return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
    if (getenv("HONE_FAULT_PLAIN")) {
        errno = EINVAL;
        return -1;
    }
    FAULT("renameat2", false, EIO)
    return (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
}

int mkdir(const char *path, mode_t mode)
{
    FAULT("mkdir", false, ENOSPC)
    return (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}

int unlink(const char *path)
{
    FAULT("unlink", true, EIO)
    return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

int unlinkat(int fd, const char *path, int flags)
{
    FAULT("unlinkat", true, EIO)
    return (int)syscall(SYS_unlinkat, fd, path, flags);
}

int rmdir(const char *path)
{
    FAULT("rmdir", true, EIO)
    return (int)syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
}
