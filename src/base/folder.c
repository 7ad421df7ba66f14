#include "base/folder.h"
#include "base/arena.h"
#include "base/file.h"
#include "base/text.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char ELSEWHERE[] = "choose another output folder";

/* A file that a killed run was writing has ".tmp" behind its name. */
static bool is_ours(const hone_folder *f, const char *name)
{
    char   stem[256];
    size_t n = strlen(name);
    if (f->owns(name)) return true;
    if (n <= 4 || n >= sizeof stem || strcmp(name + n - 4, ".tmp") != 0) return false;
    memcpy(stem, name, n - 4);
    stem[n - 4] = '\0';
    return f->owns(stem);
}

static hone_code check_contents(const hone_folder *f, const char *path, hone_err *err)
{
    DIR *d = opendir(path);
    if (!d) return errno == ENOENT ? HONE_OK : HONE_FAIL(err, HONE_ERESOURCE, ELSEWHERE, "cannot read folder '%s': %s", path, strerror(errno));
    hone_code code = HONE_OK;
    for (const struct dirent *e; code == HONE_OK && (e = readdir(d));) {
        char shown[80];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 || is_ours(f, e->d_name)) continue;
        code = HONE_FAIL(err, HONE_EUSAGE, "move it away, or choose another output folder", "'%s' holds '%s', which hone did not write: not replaced",
                         path, hone_text_show(e->d_name, strlen(e->d_name), shown, sizeof shown));
    }
    closedir(d);
    return code;
}

/* Files of ours only: a folder with anything else in it stays. */
static void empty(const hone_folder *f, const char *path)
{
    DIR *d = opendir(path);
    if (!d) return;
    for (const struct dirent *e; (e = readdir(d));)
        if (is_ours(f, e->d_name)) (void)unlinkat(dirfd(d), e->d_name, 0);
    closedir(d);
}

static hone_code lock(hone_folder *f, hone_err *err)
{
    struct stat mine, there;
    f->lock = open(f->tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (f->lock < 0) return HONE_FAIL(err, HONE_ERESOURCE, ELSEWHERE, "cannot open folder '%s': %s", f->tmp, strerror(errno));
    /* The other writer may have finished between our two calls: then what we hold is no longer path.tmp. */
    if (flock(f->lock, LOCK_EX | LOCK_NB) != 0 || fstat(f->lock, &mine) != 0 || stat(f->tmp, &there) != 0 || mine.st_ino != there.st_ino ||
        mine.st_dev != there.st_dev) {
        close(f->lock);
        f->lock = -1;
        return HONE_FAIL(err, HONE_ERESOURCE, "wait for the other run or use another folder", "'%s' is being written by another process", f->tmp);
    }
    return HONE_OK;
}

hone_code hone_folder_open(const char *path, bool (*owns)(const char *file), hone_folder *out, hone_err *err)
{
    size_t      n = strlen(path);
    hone_folder f = { .path = malloc(n + 1), .tmp = malloc(n + 5), .lock = -1, .owns = owns };
    hone_code   code = f.path && f.tmp ? HONE_OK : HONE_NOMEM(err, "an output path");
    if (code == HONE_OK) {
        memcpy(f.path, path, n + 1);
        memcpy(f.tmp, path, n);
        memcpy(f.tmp + n, ".tmp", 5);
        code = check_contents(&f, f.path, err);
    }
    if (code == HONE_OK) code = hone_dir_make(f.tmp, err);
    if (code == HONE_OK) code = lock(&f, err);
    if (code == HONE_OK) code = check_contents(&f, f.tmp, err);
    if (code != HONE_OK) {
        if (f.lock >= 0) close(f.lock);
        free(f.path);
        free(f.tmp);
        return code;
    }
    empty(&f, f.tmp);
    f.open = true;
    *out = f;
    return HONE_OK;
}

/* Both names in one step where the system can; else path is gone for the moment between two renames. */
static int exchange(const hone_folder *f)
{
#ifdef RENAME_EXCHANGE
    if (renameat2(AT_FDCWD, f->tmp, AT_FDCWD, f->path, RENAME_EXCHANGE) == 0) return 0;
    if (errno != EINVAL && errno != ENOSYS && errno != ENOTSUP) return -1;
#endif
    char old[4096];
    if ((size_t)snprintf(old, sizeof old, "%s.old", f->path) >= sizeof old) return -1;
    if (rename(f->path, old) != 0) return -1;
    if (rename(f->tmp, f->path) == 0) return rename(old, f->tmp);
    (void)rename(old, f->path);
    return -1;
}

hone_code hone_folder_commit(hone_folder *f, hone_err *err)
{
    hone_code code = check_contents(f, f->path, err);
    if (code == HONE_OK) {
        (void)fsync(f->lock);
        bool replaced = hone_dir_exists(f->path);
        if ((replaced ? exchange(f) : rename(f->tmp, f->path)) != 0)
            code = HONE_FAIL(err, HONE_ERESOURCE, "", "cannot rename '%s' to '%s': %s", f->tmp, f->path, strerror(errno));
        else if (!replaced) f->open = false; /* nothing is left under the temporary name */
    }
    hone_folder_discard(f);
    return code;
}

void hone_folder_discard(hone_folder *f)
{
    if (!f || !f->path) return;
    if (f->open) {
        empty(f, f->tmp);
        (void)rmdir(f->tmp);
    }
    if (f->lock >= 0) close(f->lock);
    free(f->path);
    free(f->tmp);
    *f = (hone_folder){ .lock = -1 };
}
