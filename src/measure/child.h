/* child.h - a runtime in a child process with one artefact open, ready to be measured; and a tokenizer for it, its own or another's. */
#ifndef HONE_MEASURE_CHILD_H
#define HONE_MEASURE_CHILD_H
#include "measure/artefact.h"
#include "runner/runner.h"

typedef struct hone_child { /* zero-initialise; hone_child_close is always safe */
    hone_runner      *runner;
    hone_backend_info info;
    double            load_ms;
    hone_runner      *words;       /* asked for token ids and templates: runner itself, or a child of its own; NULL until hone_child_words */
    const char       *words_by;    /* who that is: "llama.cpp", "openvino_tokenizers"; the consumer in data/limits.json */
    const char       *words_from;  /* what it reads: "the artefact" or "tokenizer.json of the artefact's folder" */
    char              fallback[160]; /* why the device is another than was asked for, or "" */
} hone_child;

/* Starts a child and opens how->path in it.  backend NULL: by what lies there.  A device that is not there becomes "cpu" with the reason in
 * out->fallback, unless how->device is "cpu" already. */
hone_code hone_child_open(const hone_ctx *ctx, const char *backend, const hone_backend_open *how, hone_child *out, hone_err *err);
/* Makes c->words answer tokenize, detokenize and render for the artefact at path: the runtime's own tokenizer, or, where it has none, libllama in a
 * second child on a GGUF without weights, written from the tokenizer files beside the artefact (a private temporary file that is gone once it was
 * read).  bos, eos and eot of c->info are then what that tokenizer says.
 * HONE_EUNSUPPORTED when there are no such files, or no plug-in for llama.cpp. */
hone_code hone_child_words(const hone_ctx *ctx, const char *path, hone_child *c, hone_err *err);
/* Ends the second child, if there is one: its memory is not needed while the model computes. */
void      hone_child_words_close(hone_child *c);
void      hone_child_close(hone_child *c);
#endif
