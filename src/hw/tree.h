/* tree.h - small reads below an injectable root of /proc, /sys and /dev, and the JSON object that a probe fills.
 * Knows files of a few kilobytes; knows no device.  Kernel text is copied with what cannot be shown escaped. */
#ifndef HONE_HW_TREE_H
#define HONE_HW_TREE_H
#include "base/arena.h"
#include "base/json.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where the kernel's files are.  Tests point these at fake trees. */
typedef struct hone_hw_roots {
    const char *proc, *sys, *dev; /* "/proc", "/sys", "/dev" */
    const char *topology;         /* NULL: ask this machine; else an hwloc XML file to read instead */
} hone_hw_roots;
extern const hone_hw_roots hone_hw_machine;
/* True when r is this machine and not a fake tree: only then may a probe ask the CPU, the C library or hwloc itself. */
bool hone_hw_is_real(const hone_hw_roots *r);

/* All paths are root + "/" + the formatted rest; one that does not fit in 4096 bytes does not exist. */

/* First cap-1 bytes of a file, white space at its ends removed.  false (out is "") when it cannot be read. */
bool hone_tree_text(char *out, size_t cap, const char *root, const char *fmt, ...) HONE_PRINTF(4, 5);
/* The whole file (at most 1 MiB) with a NUL behind it, in the arena; NULL when it cannot be read. */
char *hone_tree_slurp(hone_arena *a, const char *root, const char *fmt, ...) HONE_PRINTF(3, 4);
/* A decimal (or 0x) number; false when absent, no number, or out of range. */
bool hone_tree_u64(uint64_t *out, const char *root, const char *fmt, ...) HONE_PRINTF(3, 4);
bool hone_tree_i64(int64_t *out, const char *root, const char *fmt, ...) HONE_PRINTF(3, 4);
/* Last component of a symbolic link ("../../bus/pci/drivers/i915" -> "i915"). */
bool hone_tree_link(char *out, size_t cap, const char *root, const char *fmt, ...) HONE_PRINTF(4, 5);
bool hone_tree_exists(const char *root, const char *fmt, ...) HONE_PRINTF(2, 3);
/* May this process open it for reading and writing? */
bool hone_tree_usable(const char *root, const char *fmt, ...) HONE_PRINTF(2, 3);
/* Names in a folder that begin with prefix ("" for all), without dot files, in natural order (card2 before card10).
 * Returns the count, *names in the arena; 0 when the folder is absent. */
size_t hone_tree_list(hone_arena *a, const char *const **names, const char *root, const char *folder, const char *prefix);

/* "key : value" line of a /proc text (cpuinfo, meminfo, "key value" of memory.stat with sep ' '); out is "" when absent. */
bool hone_tree_field(const char *text, const char *key, char sep, char *out, size_t cap);

/* --- the object a probe fills: a value, or null with the reason under "not_measured" -------------------------- */
typedef struct hone_hw_out {
    json_t *obj;    /* owned until hone_hw_done */
    json_t *absent; /* key -> why; borrowed from obj's end */
    bool    broken; /* memory ran out */
} hone_hw_out;

void hone_hw_begin(hone_hw_out *o);
void hone_hw_put(hone_hw_out *o, const char *key, json_t *value); /* value stolen; NULL marks o broken */
void hone_hw_str(hone_hw_out *o, const char *key, const char *value);
void hone_hw_u64(hone_hw_out *o, const char *key, uint64_t value);
void hone_hw_real(hone_hw_out *o, const char *key, double value);
void hone_hw_bool(hone_hw_out *o, const char *key, bool value);
/* key: null, and not_measured[key]: why. */
void hone_hw_none(hone_hw_out *o, const char *key, const char *fmt, ...) HONE_PRINTF(3, 4);
/* Hands the object over, "not_measured" included.  HONE_ERESOURCE when memory ran out on the way. */
hone_code hone_hw_done(hone_hw_out *o, const char *what, json_t **out, hone_err *err);
#endif
