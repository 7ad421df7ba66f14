/* temp.h - a folder for what lives only as long as a run.  It is locked as long as it is open: one that nobody holds was left by a run that
 * was killed, and the next run in the same place removes it. */
#ifndef HONE_BASE_TEMP_H
#define HONE_BASE_TEMP_H
#include "base/err.h"

typedef struct hone_temp { /* zeroed: closed */
    char path[1024]; /* "": closed */
    int  lock;       /* on path; -1: this file system has no locks */
} hone_temp;

/* Makes the folder <dir>/<prefix>XXXXXX, X any letter or digit, which only this user may enter; dir NULL: $TMPDIR, or /tmp.  Folders of such a
 * name in dir that belong to this user and are locked by nobody are removed with the files in them, and with the folders of
 * files; one with a folder deeper down stays.  HONE_ERESOURCE. */
hone_code hone_temp_open(const char *dir, const char *prefix, hone_temp *out, hone_err *err);
/* Removes the folder with the files and the folders of files in it; NULL and closed ones are fine. */
void      hone_temp_close(hone_temp *t);
#endif
