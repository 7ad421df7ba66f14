/* cgroup.h - what the control groups that this process is in leave to it: memory, CPU time, CPUs.
 * The tightest of the own group and all groups above it counts.  Versions 1 and 2, and both at once (hybrid).
 * Source: Linux Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst, scheduler/sched-bwc.rst. */
#ifndef HONE_HW_CGROUP_H
#define HONE_HW_CGROUP_H
#include "hw/tree.h"

typedef struct hone_cgroup {
    int      memory_version, cpu_version; /* 1, 2, or 0: no controller found */
    bool     memory_limited;
    uint64_t memory_limit; /* bytes; the smallest of all levels */
    uint64_t memory_room;  /* bytes until the first level is full: limit - (usage - reclaimable file cache) */
    bool     cpu_limited;
    double   cpu_cores; /* quota / period */
    char     memory_at[256], cpu_at[256]; /* the group that sets the limit */
} hone_cgroup;

/* Never fails: without control groups nothing is limited. */
void hone_cgroup_read(const hone_hw_roots *roots, hone_cgroup *out);
#endif
