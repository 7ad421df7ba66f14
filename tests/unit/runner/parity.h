/* parity.h - does a runtime give the logits of transformers on what hone wrote for it? */
#ifndef HONE_TESTS_RUNNER_PARITY_H
#define HONE_TESTS_RUNNER_PARITY_H
#include "runner/fixture.h"

typedef struct parity_model { /* paths from the root of the repository */
    const char *dir;
    const char *reference; /* a file of dir: input_ids [rows, n], logits [rows, n, vocab] by transformers in float32 */
} parity_model;

/* All decoders that there are references of: the tiny one of each family, and two that have learnt something. */
extern const parity_model parity_models[];
extern const size_t       parity_n_models;

typedef struct parity_verdict {
    size_t n;          /* positions that were compared */
    double kld, worst; /* mean and largest divergence */
    size_t wrong;      /* other best tokens where the reference's two best are more than the gap apart */
} parity_verdict;

/* What hone convert makes of the checkpoint (from the root, or absolute), in a folder of its own that is gone with the fixture. */
const char *parity_convert(fixture *f, const char *checkpoint, const char *format, const char *quant);
/* Opens the artefact in r as how says (path, device and threads aside) and evaluates every row of the reference (a path from the root). */
parity_verdict parity_judge(hone_runner *r, const char *artefact, const char *reference, double gap, hone_backend_open how, hone_backend_info *info);
/* All parity_models: prints a line each and returns how many are not within the bounds. */
int parity_judge_all(fixture *f, hone_runner *r, const char *format, const char *quant, double kld, double gap, bool exact);
#endif
