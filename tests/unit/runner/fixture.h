/* fixture.h - artefacts for the tests of runtimes, made by our own convert in a folder that is gone afterwards. */
#ifndef HONE_TESTS_RUNNER_FIXTURE_H
#define HONE_TESTS_RUNNER_FIXTURE_H
#include "runner/runner.h"

typedef struct fixture {
    hone_ctx   ctx; /* libexec_dir: the build folder */
    hone_arena a;
    char       dir[4096];
} fixture;

/* Fails the program with a message when the environment is not that of ctest. */
void fixture_open(fixture *f);
void fixture_close(fixture *f);
/* Converts the checkpoint (a path from the root of the repository) with one encoding ("q8_0", "mlx=int4"); returns the artefact's path. */
const char *fixture_gguf(fixture *f, const char *checkpoint, const char *quant);
/* True when the plug-in is there (and then it starts, or the program fails); else prints why the tests are skipped. */
bool fixture_have(fixture *f, const char *backend);
/* A started runtime with path open; fails the test otherwise. */
hone_runner *fixture_run(fixture *f, const char *backend, hone_backend_open how, hone_backend_info *info);
/* A tensor of a safetensors file as it lies there (little-endian); n elements of size bytes are expected. */
const void *fixture_tensor(fixture *f, const char *file, const char *name, size_t n, size_t size);
#endif
