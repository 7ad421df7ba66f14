#include "base/folder.h"
#include "base/arena.h"
#include "base/file.h"
#include "base/text.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
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
    struct stat st;
    if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode)) /* what it leads to would be emptied, and is not where the result would lie */
        return HONE_FAIL(err, HONE_EUSAGE, "move it away, or choose another output folder", "'%s' is a link: not replaced", path);
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

/* A run that was killed while it replaced a folder in several steps. */
static void finish_replacing(const hone_folder *f)
{
    char old[4096];
    hone_naming_recover(f->tmp, f->path, old, sizeof old);
    if (!old[0] || check_contents(f, old, NULL) != HONE_OK) return;
    empty(f, old);
    (void)rmdir(old);
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
    finish_replacing(&f);
    f.open = true;
    *out = f;
    return HONE_OK;
}

hone_code hone_folder_name(hone_folder *f, hone_err *err)
{
    HONE_TRY(check_contents(f, f->path, err));
    if (fsync(f->lock) != 0 && errno != EINVAL) /* some file systems have no sync of folders */
        return HONE_FAIL(err, HONE_ERESOURCE, "free disk space or choose another output folder", "cannot sync '%s': %s", f->tmp, strerror(errno));
    return hone_naming_give(&f->naming, true, f->tmp, f->path, err);
}

bool hone_folder_take_back(hone_folder *f) { return hone_naming_take_back(&f->naming, true, f->tmp, f->path); }

hone_code hone_folder_commit(hone_folder *f, hone_err *err)
{
    hone_code code = hone_folder_name(f, err);
    hone_folder_discard(f);
    return code;
}

void hone_folder_discard(hone_folder *f)
{
    if (!f || !f->path) return;
    if (f->open && hone_naming_leaves(&f->naming)) {
        empty(f, f->tmp);
        (void)rmdir(f->tmp);
    }
    hone_naming_settle(&f->naming);
    if (f->lock >= 0) close(f->lock);
    free(f->path);
    free(f->tmp);
    *f = (hone_folder){ .lock = -1 };
}
