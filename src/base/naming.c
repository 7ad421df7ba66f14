#include "base/naming.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* What renameat2 says where the system or the file system has no such step. */
static bool has_no_such_step(int e) { return e == EINVAL || e == ENOSYS || e == ENOTSUP; }

static hone_code refused(const char *tmp, const char *path, int e, hone_err *err)
{
    return HONE_FAIL(err, HONE_ERESOURCE, "leave the folder alone while hone writes to it", "cannot rename '%s' to '%s': %s", tmp, path, strerror(e));
}

static bool parked_name(const char *tmp, char *out, size_t cap) { return (size_t)snprintf(out, cap, "%s.old", tmp) < cap; }

/* Two names change places; where no single step does it, a folder is nowhere for the moment between two, and parked for that of three. */
static bool exchange(bool folder, const char *a, const char *b, const char *parked_by)
{
    char parked[4096];
    if (renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE) == 0) return true;
    if (!folder || !has_no_such_step(errno)) return false;
    if (!parked_name(parked_by, parked, sizeof parked)) {
        errno = ENAMETOOLONG;
        return false;
    }
    if (rename(b, parked) != 0) return false;
    if (rename(a, b) == 0) {
        if (rename(parked, a) == 0) return true;
        int why = errno;
        (void)rename(b, a);
        errno = why;
    }
    int why = errno;
    (void)rename(parked, b);
    errno = why;
    return false;
}

static void unlock(hone_naming *n)
{
    if (n->lock >= 0) close(n->lock);
    n->lock = -1;
}

/* Before it becomes tmp: else the next run would take it over, and we would remove what that run writes. */
static hone_code lock_old(hone_naming *n, const char *path, hone_err *err)
{
    n->lock = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (n->lock < 0 || flock(n->lock, LOCK_EX | LOCK_NB) == 0) return HONE_OK;
    int why = errno;
    unlock(n);
    if (why != EWOULDBLOCK) return HONE_OK;
    return HONE_FAIL(err, HONE_ERESOURCE, "wait for the other run or use another folder", "'%s' is being written by another process", path);
}

static hone_code replace(hone_naming *n, bool folder, const char *tmp, const char *path, hone_err *err)
{
    struct stat st;
    if (lstat(path, &st) != 0) return refused(tmp, path, errno, err);
    if (S_ISDIR(st.st_mode) != folder) return refused(tmp, path, folder ? ENOTDIR : EISDIR, err);
    HONE_TRY(lock_old(n, path, err));
    if (exchange(folder, tmp, path, tmp)) {
        n->given = n->holds_old = true;
        return HONE_OK;
    }
    int why = errno;
    unlock(n);
    if (folder || !has_no_such_step(why)) return refused(tmp, path, why, err);
    if (rename(tmp, path) != 0) return refused(tmp, path, errno, err);
    n->given = n->lost_old = true;
    return HONE_OK;
}

hone_code hone_naming_give(hone_naming *n, bool folder, const char *tmp, const char *path, hone_err *err)
{
    struct stat st;
    *n = (hone_naming){ .lock = -1 };
    if (renameat2(AT_FDCWD, tmp, AT_FDCWD, path, RENAME_NOREPLACE) != 0) {
        if (errno == EEXIST) return replace(n, folder, tmp, path, err);
        if (!has_no_such_step(errno)) return refused(tmp, path, errno, err);
        if (lstat(path, &st) == 0) return replace(n, folder, tmp, path, err);
        if (rename(tmp, path) != 0) return refused(tmp, path, errno, err);
    }
    n->given = true;
    return HONE_OK;
}

bool hone_naming_take_back(hone_naming *n, bool folder, const char *tmp, const char *path)
{
    if (!n->given) return true;
    if (n->lost_old) return false;
    if (n->holds_old ? !exchange(folder, path, tmp, tmp) : rename(path, tmp) != 0) return false;
    if (n->holds_old) unlock(n);
    *n = (hone_naming){ .lock = -1 };
    return true;
}

bool hone_naming_leaves(const hone_naming *n) { return !n->given || n->holds_old; }

void hone_naming_settle(hone_naming *n)
{
    if (n->holds_old) unlock(n);
    *n = (hone_naming){ .lock = -1 };
}

void hone_naming_recover(const char *tmp, const char *path, char *old, size_t cap)
{
    struct stat st;
    old[0] = '\0';
    if (!parked_name(tmp, old, cap) || lstat(old, &st) != 0 || !S_ISDIR(st.st_mode) || (lstat(path, &st) != 0 && rename(old, path) == 0)) old[0] = '\0';
}
