#include "base/temp.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RANDOM = 6 /* what mkdtemp puts in */, TRIES = 100, DEPTH = 1 };

/* Removes what is in the folder that fd is open on; fd stays open.  Links are removed, not followed.  A run puts files in its folder, and folders
 * of files (flow/plan/trial.h); what has folders in those is none of ours, and stays. */
static void empty(int fd, int depth)
{
    int  own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = own >= 0 ? fdopendir(own) : NULL;
    if (!d) {
        if (own >= 0) close(own);
        return;
    }
    for (const struct dirent *e; (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 || unlinkat(fd, e->d_name, 0) == 0 || depth == 0) continue;
        int inner = openat(fd, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (inner < 0) continue;
        empty(inner, depth - 1);
        close(inner);
        (void)unlinkat(fd, e->d_name, AT_REMOVEDIR);
    }
    closedir(d);
}

static bool is_random(const char *name, const char *prefix)
{
    size_t n = strlen(prefix);
    if (strncmp(name, prefix, n) != 0 || strlen(name + n) != RANDOM) return false;
    for (size_t i = 0; i < RANDOM; i++)
        if (!isalnum((unsigned char)name[n + i])) return false;
    return true;
}

/* In /tmp anybody may make a folder of any name: only what is ours is touched. */
static void remove_stale(int parent, const char *name)
{
    struct stat s;
    int         fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return;
    if (fstat(fd, &s) == 0 && s.st_uid == geteuid() && flock(fd, LOCK_EX | LOCK_NB) == 0) {
        empty(fd, DEPTH);
        (void)unlinkat(parent, name, AT_REMOVEDIR);
    }
    close(fd);
}

static void clean(const char *dir, const char *prefix)
{
    DIR *d = opendir(dir);
    if (!d) return;
    for (const struct dirent *e; (e = readdir(d));)
        if (is_random(e->d_name, prefix)) remove_stale(dirfd(d), e->d_name);
    closedir(d);
}

/* True: path is ours, and nobody cleans it away.  Between mkdtemp and here another run may have taken it for a stale one. */
static bool hold(hone_temp *t)
{
    struct stat mine, there;
    t->lock = open(t->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (t->lock < 0) return false;
    if (flock(t->lock, LOCK_EX | LOCK_NB) != 0) {
        int why = errno;
        close(t->lock);
        t->lock = -1;
        return why != EWOULDBLOCK && why != EINTR; /* no locks here: nobody can clean either */
    }
    if (fstat(t->lock, &mine) == 0 && lstat(t->path, &there) == 0 && mine.st_ino == there.st_ino && mine.st_dev == there.st_dev) return true;
    close(t->lock);
    t->lock = -1;
    return false;
}

hone_code hone_temp_open(const char *dir, const char *prefix, hone_temp *out, hone_err *err)
{
    const char *set = getenv("TMPDIR"), *in = dir ? dir : set && set[0] ? set : "/tmp";
    const char *remedy = dir ? "choose a folder that exists and that you may write to" : "set TMPDIR to a folder that you may write to";
    hone_temp   t = { .lock = -1 };
    clean(in, prefix);
    for (int i = 0; i < TRIES; i++) {
        if ((size_t)snprintf(t.path, sizeof t.path, "%s/%sXXXXXX", in, prefix) >= sizeof t.path)
            return HONE_FAIL(err, HONE_ERESOURCE, remedy, "the path of a temporary folder in '%s' is too long", in);
        if (!mkdtemp(t.path)) return HONE_FAIL(err, HONE_ERESOURCE, remedy, "cannot make a folder in '%s': %s", in, strerror(errno));
        if (!hold(&t)) continue;
        *out = t;
        return HONE_OK;
    }
    return HONE_FAIL(err, HONE_ERESOURCE, "let other runs in this folder end first", "every new folder in '%s' is taken away at once", in);
}

void hone_temp_close(hone_temp *t)
{
    if (!t || !t->path[0]) return;
    int fd = t->lock >= 0 ? t->lock : open(t->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0) empty(fd, DEPTH);
    (void)rmdir(t->path);
    if (fd >= 0) close(fd);
    *t = (hone_temp){ .lock = -1 };
}
