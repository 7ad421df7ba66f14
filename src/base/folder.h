/* folder.h - a folder of files that appears whole or not at all: path.tmp is filled, then takes the place of path. */
#ifndef HONE_BASE_FOLDER_H
#define HONE_BASE_FOLDER_H
#include "base/err.h"
#include "base/naming.h"
#include <stdbool.h>

typedef struct hone_folder { /* zeroed: closed */
    char *path, *tmp; /* owned */
    int   lock;       /* on tmp */
    bool (*owns)(const char *file);
    bool  open;
    hone_naming naming;
} hone_folder;

/* Makes path.tmp and empties it of what a killed run left.  owns(name) tells the names of files such a folder may hold: an existing path
 * with anything else in it, or one that is a link, is refused (HONE_EUSAGE), so that nothing of the user's is ever removed.  A second writer is
 * refused with HONE_ERESOURCE. */
hone_code hone_folder_open(const char *path, bool (*owns)(const char *file), hone_folder *out, hone_err *err);
/* path.tmp becomes path in one step; what path was before is removed.  On failure path stays as it was. */
hone_code hone_folder_commit(hone_folder *f, hone_err *err);
/* The same in parts, for several outputs that appear all or none: path.tmp becomes path, which can be taken back until the discard. */
hone_code hone_folder_name(hone_folder *f, hone_err *err);
/* path is again what it was before hone_folder_name.  False when it is not. */
bool hone_folder_take_back(hone_folder *f);
/* Removes path.tmp, or what path was before it was named; NULL, zeroed and committed ones are fine. */
void hone_folder_discard(hone_folder *f);
#endif
