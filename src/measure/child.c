#include "measure/child.h"
#include "base/file.h"
#include "base/temp.h"
#include "base/text.h"
#include "measure/child/vocab.h"
#include <stdio.h>
#include <string.h>

static hone_code open_in(hone_child *c, const hone_backend_open *how, hone_err *err)
{
    hone_err  why = { 0 };
    hone_code code = hone_runner_open(c->runner, how, &c->info, &c->load_ms, &why);
    if (err && code != HONE_OK) *err = why;
    if (code != HONE_EUNSUPPORTED || !how->device || strcmp(how->device, "cpu") == 0) {
        if (code == HONE_OK) (void)snprintf(c->fallback, sizeof c->fallback, "%s", c->info.fallback);
        return code;
    }
    /* Perhaps only the device is missing: what runs on the CPU says so. */
    hone_backend_open on_cpu = *how;
    on_cpu.device = "cpu";
    if (hone_runner_open(c->runner, &on_cpu, &c->info, &c->load_ms, err) != HONE_OK) {
        if (err) *err = why; /* the first answer is the one about what was asked for */
        return code;
    }
    (void)snprintf(c->fallback, sizeof c->fallback, "%.*s", (int)sizeof c->fallback - 1, why.cause);
    return HONE_OK;
}

hone_code hone_child_open(const hone_ctx *ctx, const char *backend, const hone_backend_open *how, hone_child *out, hone_err *err)
{
    hone_child        c = { 0 };
    hone_arena        a = { 0 };
    hone_artefact     x = { 0 };
    hone_backend_open real = *how;
    hone_code         code = HONE_OK;
    if (!backend) {
        code = hone_artefact_open(how->path, &a, &x, err);
        backend = x.backend;
        real.path = x.opened;
    }
    if (code == HONE_OK) code = hone_runner_start(ctx, &(hone_runner_options){ .backend = backend }, &c.runner, err);
    if (code == HONE_OK) {
        code = open_in(&c, &real, err);
        if (code != HONE_OK) {
            char shown[200];
            hone_runner_stop(c.runner);
            (void)hone_err_wrap(err, "'%s'", hone_text_show(how->path, strlen(how->path), shown, sizeof shown));
        }
    }
    hone_arena_release(&a);
    if (code == HONE_OK) *out = c;
    return code;
}

/* ---- another's tokenizer ---- */

static hone_code borrow_words(const hone_ctx *ctx, const hone_artefact *x, hone_child *c, hone_err *err)
{
    hone_arena        a = { 0 };
    hone_bytes        gguf;
    hone_runner      *r = NULL;
    hone_backend_info info;
    double            ms;
    hone_temp         folder = { 0 };
    char              path[1100];
    hone_code         code = hone_vocab_gguf(x, c->info.n_vocab, &a, &gguf, err);
    if (code == HONE_OK) code = hone_runner_start(ctx, &(hone_runner_options){ .backend = "llamacpp" }, &r, err);
    if (code == HONE_OK) code = hone_temp_open(NULL, "hone-vocab-", &folder, err);
    if (code == HONE_OK) {
        (void)snprintf(path, sizeof path, "%s/vocab.gguf", folder.path); /* named for the runtime's benefit */
        code = hone_out_put(path, gguf.ptr, gguf.len, err);
    }
    if (code == HONE_OK)
        code = hone_runner_open(r, &(hone_backend_open){ .path = path, .device = "cpu", .threads = 1, .vocab_only = true }, &info, &ms, err);
    hone_temp_close(&folder);
    hone_arena_release(&a);
    if (code != HONE_OK) {
        hone_runner_stop(r);
        return hone_err_wrap(err, "%s has no tokenizer of its own, and llama.cpp cannot stand in", c->info.runtime);
    }
    c->words = r;
    c->words_by = "llama.cpp";
    c->words_from = "tokenizer files of the artefact's folder";
    c->info.bos = info.bos;
    c->info.eos = info.eos;
    c->info.eot = info.eot;
    c->info.add_bos = info.add_bos;
    c->info.add_eos = info.add_eos;
    return HONE_OK;
}

hone_code hone_child_words(const hone_ctx *ctx, const char *path, hone_child *c, hone_err *err)
{
    hone_arena    a = { 0 };
    hone_artefact x;
    if (c->words) return HONE_OK;
    HONE_TRY(hone_artefact_open(path, &a, &x, err));
    hone_code code = HONE_OK;
    if (c->info.text) {
        c->words = c->runner;
        c->words_by = strcmp(x.backend, "openvino") == 0 ? "openvino_tokenizers" : x.consumer;
        c->words_from = "the artefact";
    } else if (!x.folder) code = HONE_FAIL(err, HONE_EUNSUPPORTED, "name the folder that holds its tokenizer files, or convert the checkpoint to gguf", "%s has no tokenizer for it", c->info.runtime);
    else code = borrow_words(ctx, &x, c, err);
    hone_arena_release(&a);
    return code;
}

void hone_child_words_close(hone_child *c)
{
    if (c->words && c->words != c->runner) hone_runner_stop(c->words);
    c->words = NULL;
}

void hone_child_close(hone_child *c)
{
    if (!c) return;
    hone_child_words_close(c);
    hone_runner_stop(c->runner);
    *c = (hone_child){ 0 };
}
