/* energy.h - joules that the processor packages used, from the kernel's powercap (RAPL) counters.
 * Source: Linux Documentation/power/powercap/powercap.rst; Documentation/ABI/testing/sysfs-class-powercap.
 * The counter covers the whole package: other programs' work is in it. */
#ifndef HONE_HW_ENERGY_H
#define HONE_HW_ENERGY_H
#include "hw/tree.h"

typedef struct hone_energy hone_energy; /* one thread at a time */

/* Opens every package counter (or, where there is none, the platform's).  roots NULL: this machine.
 * Errors: HONE_EUNSUPPORTED, whose cause is the reason to show: no counter, or one that this user may not read. */
hone_code hone_energy_open(const hone_hw_roots *roots, hone_energy **out, hone_err *err);
/* Joules since open.  The counters wrap (at 200 W after about 20 minutes): one wrap between two reads is put right, so read at
 * least every few minutes.  HONE_ERUNTIME when a counter vanished. */
hone_code hone_energy_read(hone_energy *e, double *joules, hone_err *err);
/* "package-0 + package-1": what is counted. */
const char *hone_energy_what(const hone_energy *e);
void        hone_energy_close(hone_energy *e); /* NULL is fine */
#endif
