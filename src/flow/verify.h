/* verify.h - is an artefact what its source and its recorded recipe give?  `hone verify`: the very conversion once more, with the bytes compared
 * instead of written.  Nothing is stored; memory is that of a conversion. */
#ifndef HONE_FLOW_VERIFY_H
#define HONE_FLOW_VERIFY_H
#include "base/json.h"
#include "flow/convert.h"

typedef struct hone_verify_options {
    const char *artefact; /* a .gguf file (of parts: any of them), the folder of an output, or a file in it */
    const char *source;   /* checkpoint, or what else hone converts from */
    const char *calibration; /* file of activation statistics that the recipe names by its sha256; NULL: none */
} hone_verify_options;

/* *doc: what docs/schema/verify.json says, less "schema" and "ok"; owned.  HONE_OK: identical.  HONE_ENO with *doc and *err: it is not; the cause
 * names the first difference in the order of files (by name) and bytes.  Otherwise *doc is left alone: HONE_EINPUT (no artefact, no source,
 * statistics that are needed), HONE_EUNSUPPORTED (nothing says how it was made), HONE_ERESOURCE. */
hone_code hone_verify(const hone_ctx *ctx, const hone_verify_options *opt, json_t **doc, hone_err *err);
#endif
