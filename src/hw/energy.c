#include "hw/energy.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DOMAINS_MAX = 16 };

typedef struct domain {
    char     folder[64]; /* below sys/class/powercap */
    uint64_t last_uj, range_uj;
} domain;

struct hone_energy {
    char   sys[1024];
    domain domains[DOMAINS_MAX];
    size_t n;
    double joules;
    char   what[256];
};

/* Top-level zones only ("intel-rapl:0"): their children (core, dram) are either inside the package's figure or a matter of the
 * platform.  AMD processors report through the same driver and the same names. */
static bool add_zones(hone_energy *e, hone_arena *a, const char *name_prefix, bool *denied)
{
    const char *const *zones;
    size_t             n = hone_tree_list(a, &zones, e->sys, "class/powercap", "");
    for (size_t i = 0; i < n && e->n < DOMAINS_MAX; i++) {
        const char *colon = strchr(zones[i], ':');
        char        name[64];
        if (!colon || strchr(colon + 1, ':') || strlen(zones[i]) >= sizeof e->domains[0].folder) continue;
        /* The mmio twin shows the same package a second time. */
        if (strncmp(zones[i], "intel-rapl-mmio", 15) == 0) continue;
        if (!hone_tree_text(name, sizeof name, e->sys, "class/powercap/%s/name", zones[i])) continue;
        if (strncmp(name, name_prefix, strlen(name_prefix)) != 0) continue;
        if (!hone_tree_exists(e->sys, "class/powercap/%s/energy_uj", zones[i])) continue;
        domain *d = &e->domains[e->n];
        *d = (domain){ 0 };
        (void)snprintf(d->folder, sizeof d->folder, "%s", zones[i]);
        if (!hone_tree_u64(&d->last_uj, e->sys, "class/powercap/%s/energy_uj", zones[i])) {
            *denied = true;
            continue;
        }
        if (!hone_tree_u64(&d->range_uj, e->sys, "class/powercap/%s/max_energy_range_uj", zones[i])) d->range_uj = 0;
        size_t at = strlen(e->what);
        (void)snprintf(e->what + at, sizeof e->what - at, "%s%s", e->n ? " + " : "", name);
        e->n++;
    }
    return e->n > 0;
}

hone_code hone_energy_open(const hone_hw_roots *roots, hone_energy **out, hone_err *err)
{
    static const char NONE[] = "measure energy on a machine whose kernel has powercap counters";
    if (!roots) roots = &hone_hw_machine;
    if (strlen(roots->sys) >= sizeof ((hone_energy *)0)->sys)
        return HONE_FAIL(err, HONE_EUSAGE, "", "the path of sysfs has %zu bytes", strlen(roots->sys));
    hone_energy *e = calloc(1, sizeof *e);
    if (!e) return HONE_NOMEM(err, "the energy counters");
    (void)snprintf(e->sys, sizeof e->sys, "%s", roots->sys);
    hone_arena a = { 0 };
    bool       denied = false;
    hone_code  code = HONE_OK;
    if (!hone_tree_exists(e->sys, "class/powercap"))
        code = HONE_FAIL(err, HONE_EUNSUPPORTED, NONE, "no energy counter: %s/class/powercap does not exist", e->sys);
    else if (!add_zones(e, &a, "package", &denied) && !add_zones(e, &a, "psys", &denied))
        code = denied ? HONE_FAIL(err, HONE_EUNSUPPORTED, "run as root, or let this user read energy_uj",
                                  "energy counters exist but may not be read by this user")
                      : HONE_FAIL(err, HONE_EUNSUPPORTED, NONE, "no energy counter: %s/class/powercap has no package zone", e->sys);
    hone_arena_release(&a);
    if (code != HONE_OK) {
        free(e);
        return code;
    }
    *out = e;
    return HONE_OK;
}

hone_code hone_energy_read(hone_energy *e, double *joules, hone_err *err)
{
    for (size_t i = 0; i < e->n; i++) {
        domain  *d = &e->domains[i];
        uint64_t now;
        if (!hone_tree_u64(&now, e->sys, "class/powercap/%s/energy_uj", d->folder))
            return HONE_FAIL(err, HONE_ERUNTIME, "", "energy counter '%s' can no longer be read", d->folder);
        if (now < d->last_uj && d->range_uj < d->last_uj)
            return HONE_FAIL(err, HONE_ERUNTIME, "", "energy counter '%s' went from %" PRIu64 " to %" PRIu64 " microjoules", d->folder,
                             d->last_uj, now);
        /* It counts 0..range, so a step back is one wrap. */
        uint64_t used = now >= d->last_uj ? now - d->last_uj : d->range_uj - d->last_uj + now;
        d->last_uj = now;
        e->joules += (double)used / 1e6;
    }
    *joules = e->joules;
    return HONE_OK;
}

const char *hone_energy_what(const hone_energy *e) { return e->what; }
void        hone_energy_close(hone_energy *e) { free(e); }
