/* naming.h - the final name for a file or folder that was written under a temporary one: given in one step, and taken back as long as it is not
 * settled, so that several outputs appear all or none. */
#ifndef HONE_BASE_NAMING_H
#define HONE_BASE_NAMING_H
#include "base/err.h"
#include <stdbool.h>
#include <stddef.h>

typedef struct hone_naming { /* zeroed: tmp is the new one, path what it was before */
    bool given;              /* path is the new one */
    bool holds_old;          /* and tmp is what path was, under a lock: no other run takes it for one of a killed run */
    bool lost_old;           /* and what path was is gone: this file system cannot exchange two names */
    int  lock;               /* while holds_old; -1: it cannot be locked */
} hone_naming;

/* Gives tmp the name path; both are folders, or neither is.  What was at path is at tmp then, the caller's to remove.
 * On failure both are as they were.  HONE_ERESOURCE when the system refuses, or a folder is where a file has to go or the other way round. */
hone_code hone_naming_give(hone_naming *n, bool folder, const char *tmp, const char *path, hone_err *err);
/* Undoes the above, if it was done.  False when path keeps the new one. */
bool      hone_naming_take_back(hone_naming *n, bool folder, const char *tmp, const char *path);
/* True when something that is ours lies at tmp: the new one that has no name yet, or the old one. */
bool      hone_naming_leaves(const hone_naming *n);
/* Lets go of the old one, which the caller has removed. */
void      hone_naming_settle(hone_naming *n);
/* path, when a run was killed between the two steps that replace a folder where the system has no single one: tmp is that run's.  The old one
 * is at path again, or *old (cap bytes) names it when path is there; else *old is "". */
void      hone_naming_recover(const char *tmp, const char *path, char *old, size_t cap);
#endif
