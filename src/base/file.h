/* file.h - reading files that may be huge, lying, or shrinking; writing files that appear whole or not at all.
 * Weights are read with pread, never mapped: peak RSS stays the tiles we hold, and a source that shrinks
 * while it is read is a short read (HONE_EINPUT), not a SIGBUS. */
#ifndef HONE_BASE_FILE_H
#define HONE_BASE_FILE_H
#include "base/arena.h"
#include "base/bytes.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/naming.h"
#include <stdatomic.h>

typedef struct hone_file { /* open for reading; fd -1 or zeroed-by-HONE_FILE_CLOSED means closed */
    int         fd;
    uint64_t    size; /* bytes, at the time of opening */
    const char *path; /* borrowed: must outlive the file */
} hone_file;
#define HONE_FILE_CLOSED ((hone_file){ .fd = -1 })

/* Opens a regular file.  Errors: HONE_EINPUT when it is missing or no regular file, HONE_ERESOURCE when it may not be read. */
hone_code hone_file_open(const char *path, hone_file *out, hone_err *err);
/* Reads exactly n bytes at off; thread-safe.  HONE_EINPUT when the file ends before (it shrank), HONE_ERESOURCE on an I/O error. */
hone_code hone_file_read(const hone_file *f, uint64_t off, void *buf, size_t n, hone_err *err);
/* These bytes will be read soon: the system may fetch them while the caller computes.  A hint; cannot fail. */
void      hone_file_soon(const hone_file *f, uint64_t off, uint64_t n);
void      hone_file_close(hone_file *f);

/* Reads a whole file of at most max bytes into the arena, with a NUL behind it (not counted). */
hone_code hone_file_slurp(const char *path, uint64_t max, hone_arena *a, hone_bytes *out, hone_err *err);
bool      hone_file_exists(const char *path);
bool      hone_dir_exists(const char *path);
/* mkdir -p.  HONE_ERESOURCE with the component that failed. */
hone_code hone_dir_make(const char *path, hone_err *err);
/* Bytes of the shortest beginning of path that is a folder's name and not there yet, which hone_dir_make would make; 0: all are there. */
size_t    hone_dir_missing(const char *path);
/* After a failure: path and the folders above it, up to the one of `from` (not 0) bytes, as long as they are empty. */
void      hone_dir_unmake(const char *path, size_t from);
/* "dir/name"; refuses (HONE_EINPUT) a name that is absolute or has "." or ".." components: names from files end here. */
hone_code hone_path_inside(hone_arena *a, const char *dir, const char *name, const char **out, hone_err *err);
/* Free bytes for this user on the filesystem that holds path (or its nearest existing parent). */
hone_code hone_disk_free(const char *path, uint64_t *out, hone_err *err);

/* --- atomic output: path.tmp -> sync -> check by an independent reader -> rename --------------------------- */
struct hone_out;
/* What a comparing output (hone_out_compare) tells of bytes that are not what would have been written: n bytes at off, of which the file
 * has only the first n_found when it is too short or missing.  Called from the thread that wrote. */
typedef struct hone_out_judge {
    void (*differs)(void *user, const struct hone_out *o, uint64_t off, const uint8_t *want, const uint8_t *found, size_t n, size_t n_found);
    void *user;
} hone_out_judge;

typedef struct hone_out {
    int   fd;
    char *path, *tmp; /* owned */
    hone_digest *digest; /* owned; NULL unless asked for */
    const hone_out_judge *judge; /* borrowed; not NULL: nothing is written, what is there is compared */
    hone_naming naming;
    atomic_bool entered; /* a thread is between hone_out_enter and hone_out_leave */
} hone_out;

/* Creates path.tmp (locked: a second writer of the same path is refused with HONE_ERESOURCE; a stale one left by a
 * killed run is taken over).  size > 0 reserves that many bytes on disk at once, so that a full disk fails here; on a filesystem in memory,
 * or one that cannot reserve, only the length is set, and a full one fails in hone_out_write. */
hone_code hone_out_open(const char *path, uint64_t size, hone_out *out, hone_err *err);
/* From here on o->digest follows what is written; size: bytes the file will have.  The caller announces them (base/digest.h) before it writes. */
hone_code hone_out_digest(hone_out *o, uint64_t size, hone_err *err);
/* Writes exactly n bytes at off; thread-safe. */
hone_code hone_out_write(hone_out *o, uint64_t off, const void *buf, size_t n, hone_err *err);
/* True: nobody else is between enter and leave, so what this thread writes need not wait for another thread (usual filesystems of Linux let one writer
 * at a time into a file, whatever the offsets).  A courtesy: hone_out_write works without, and then may wait.  A comparing output may always be entered. */
bool      hone_out_enter(hone_out *o);
void      hone_out_leave(hone_out *o);
/* fsync, then check(user, tmp_path) when given, then rename to path and sync the folder.  On failure the tmp is removed and the old path stays. */
hone_code hone_out_commit(hone_out *o, hone_code (*check)(void *user, const char *tmp_path, hone_err *err), void *user,
                          hone_err *err);
/* The same in parts, for several outputs that appear all or none: sync and check; tmp becomes path; which can be taken back until the discard. */
hone_code hone_out_seal(hone_out *o, hone_code (*check)(void *user, const char *tmp_path, hone_err *err), void *user, hone_err *err);
hone_code hone_out_name(hone_out *o, hone_err *err);
/* path is again what it was before hone_out_name.  False when it is not. */
bool      hone_out_take_back(hone_out *o);
/* An output whose writes are compared with the file at path, which is only read.  A file that is missing or no regular one differs in every byte.
 * To be discarded, never committed. */
hone_code hone_out_compare(const char *path, const hone_out_judge *judge, hone_out *out, hone_err *err);
/* Removes the tmp, or what path was before it was named; NULL, zeroed and committed ones are fine. */
void hone_out_discard(hone_out *o);
/* Names given in this folder will be there after a loss of power.  They are whole before; this only makes it sooner. */
void hone_dir_sync(const char *path);
/* HONE_OK when a file may be written there; else what hone_out_open would say, before the work that the file is about.  Leaves nothing. */
hone_code hone_out_try(const char *path, hone_err *err);
/* The small-file form of the above. */
hone_code hone_out_put(const char *path, const void *buf, size_t n, hone_err *err);
#endif
