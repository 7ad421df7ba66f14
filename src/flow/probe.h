/* probe.h - this machine, or a named target: `hone probe`. */
#ifndef HONE_FLOW_PROBE_H
#define HONE_FLOW_PROBE_H
#include "base/ctx.h"
#include "base/json.h"

/* target: NULL or "host" for this machine, else a profile's name, alias or .json file (hw/profile.h).
 * folder: whose disk is looked at; NULL: the current one.
 * measure: also run the short bandwidth measurements (memory and disk, about two seconds); profiles are never measured.
 * *out (owned) has target{}, cpu{}, memory{}, accelerators[], storage{}, power{}, network{}, policy{}, runtimes[]; what could not be
 * found is null, with the reason under not_measured of its section.
 * Errors: those of hone_profile_load; HONE_ERESOURCE when memory is gone. */
hone_code hone_probe_in(const hone_ctx *ctx, const char *target, const char *folder, bool measure, json_t **out, hone_err *err);
hone_code hone_probe(const hone_ctx *ctx, const char *target, bool measure, json_t **out, hone_err *err);

/* The same without runtimes[]; measure: hone_hw_measure flags (hw/hw.h). */
hone_code hone_probe_facts(const hone_ctx *ctx, const char *target, const char *folder, unsigned measure, json_t **out, hone_err *err);

/* The runtimes that hone has or will have plug-ins for: [{name,version,available,devices[],reason}]; owned.
 * Each installed plug-in is started in its own child process and asked. */
hone_code hone_probe_runtimes(const hone_ctx *ctx, json_t **out, hone_err *err);
#endif
