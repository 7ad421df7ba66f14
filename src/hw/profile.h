/* profile.h - named targets: profiles/NAME.json, one file each.  Every fact in it carries its value, its basis and its source;
 * nothing of it was measured.  docs/schema/profile.json has the form, README in profiles/ says how to add one. */
#ifndef HONE_HW_PROFILE_H
#define HONE_HW_PROFILE_H
#include "base/ctx.h"
#include "base/json.h"

#define HONE_PROFILE_MAX_BYTES (1u << 20)

/* One profile from text; what names it in errors.  *out is owned, in the shape that `hone probe` prints for a machine:
 *   target{name,title,kind:"profile",vendor,platform,os,aliases[]}, cpu{}, memory{}, accelerators[], storage{}, power{}, network{},
 *   policy{package_bytes,format,quantization,threads,context}, basis{"memory.read_gb_s":"nominal"}, sources{"memory.read_gb_s":"..."}
 * A fact the profile leaves out is null, with the reason under not_measured.
 * Errors: HONE_EINPUT naming the fact: unknown (with the nearest known one), missing, of a wrong type or range, without source or basis. */
hone_code hone_profile_parse(hone_bytes text, const char *what, json_t **out, hone_err *err);

/* By name or alias from ctx->data_dir/profiles, or, when name ends in ".json", from that file.
 * Errors: HONE_EUSAGE for an unknown name, with the nearest one and where to see all. */
hone_code hone_profile_load(const hone_ctx *ctx, const char *name, json_t **out, hone_err *err);

/* [{"name","title","aliases":[]}] of all profiles, by name; owned. */
hone_code hone_profile_list(const hone_ctx *ctx, json_t **out, hone_err *err);
#endif
