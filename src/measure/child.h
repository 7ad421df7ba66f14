/* child.h - a runtime in a child process with one artefact open, ready to be measured. */
#ifndef HONE_MEASURE_CHILD_H
#define HONE_MEASURE_CHILD_H
#include "runner/runner.h"

typedef struct hone_child { /* zero-initialise; hone_child_close is always safe */
    hone_runner      *runner;
    hone_backend_info info;
    double            load_ms;
} hone_child;

/* Which plug-in opens this file: "llamacpp" for .gguf.  HONE_EUNSUPPORTED names the ending. */
hone_code hone_child_backend(const char *path, const char **out, hone_err *err);
/* Starts a child and opens how->path in it.  backend NULL: by file type. */
hone_code hone_child_open(const hone_ctx *ctx, const char *backend, const hone_backend_open *how, hone_child *out, hone_err *err);
void      hone_child_close(hone_child *c);
#endif
