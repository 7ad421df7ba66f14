/* cpu.h - what other probes ask about the processor. */
#ifndef HONE_HW_CPU_H
#define HONE_HW_CPU_H
#include "hw/tree.h"

/* CPUs this process can keep busy: the smallest of machine, affinity mask (cpusets included) and CPU quota, rounded up; at least 1. */
unsigned hone_cpu_effective(const hone_hw_roots *roots);
/* Sum of the last-level caches, 0 when unknown. */
uint64_t hone_cpu_llc_bytes(const hone_hw_roots *roots);
/* Features as hone names them, from the words of /proc/cpuinfo ("flags" on x86, "Features" on Arm), space separated.
 * Returns an owned JSON array in a fixed order; NULL when memory is gone. */
json_t *hone_cpu_features_named(const char *words, bool arm);
#endif
