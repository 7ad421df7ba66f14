/* tree.h - the digest of what lies at a path, be it a file or a folder of samples. */
#ifndef HONE_BASE_TREE_H
#define HONE_BASE_TREE_H
#include "base/err.h"

/* Lower-case hex SHA-256.  A file: its own.  A folder: that of the list "digest  name" of all plain files in it and below, names from the folder on, in
 * byte order, as `find * -type f | LC_ALL=C sort | xargs sha256sum | sha256sum` prints it there.  HONE_EINPUT, HONE_ERESOURCE as base/file.h. */
hone_code hone_sha256_tree(const char *path, char hex[65], hone_err *err);
#endif
