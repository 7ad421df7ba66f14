/* files.h - a hone_source over open files: what safetensors and gguf share once the headers are read.
 * Knows offsets and names; knows no format. */
#ifndef HONE_FORMATS_FILES_H
#define HONE_FORMATS_FILES_H
#include "base/file.h"
#include "ir/model.h"

/* Opens all paths (copied into the arena) for reading.  *out has files and read and close, no tensors yet.
 * Errors: those of hone_file_open, HONE_ERESOURCE.  Nothing stays open on failure. */
hone_code hone_files_open(hone_arena *a, const char *const *paths, size_t n, hone_source **out, hone_err *err);
/* The open file number i < n_files; borrowed. */
const hone_file *hone_files_get(const hone_source *s, size_t i);
/* Takes the tensors (arena; their file numbers set), sorts them by name.  HONE_EINPUT when a name stands twice: names both files. */
hone_code hone_files_adopt(hone_source *s, hone_tensor *tensors, size_t n, hone_err *err);

/* A tensor or key name that came from a file, safe to show: fills and returns buf, cut at 96 bytes. */
#define HONE_SHOWN 96
const char *hone_shown(const char *name, size_t len, char buf[HONE_SHOWN]);
/* The part of a path behind the last '/', for messages. */
const char *hone_path_base(const char *path);
#endif
