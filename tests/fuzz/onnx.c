/* onnx - any bytes as a model.onnx: refused with a cause, or every tensor has the bytes of its shape and every name is text; its initializers as
 * weights of a source: refused with a cause, or every number can be read. */
#include "formats/onnx/source.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_tensor(const hone_onnx_tensor *t, const uint8_t *data, size_t size)
{
    uint64_t n = 1, bits = hone_onnx_type_bits(t->type);
    if (!t->name || !*t->name || t->n_dims > HONE_MAX_DIMS) abort();
    for (uint32_t d = 0; d < t->n_dims; d++) n *= t->dims[d]; /* fits, or it was refused */
    if (t->location && bits && t->length != (n * bits + 7) / 8) abort();
    if (t->data.len && (t->data.ptr < data || t->data.ptr + t->data.len > data + size)) abort();
}

#define DATA_BYTES 65536

/* A model.onnx.data for all inputs; it goes with the process. */
static const char *data_file(void)
{
    static char path[64];
    if (path[0]) return path;
    (void)snprintf(path, sizeof path, "/tmp/hone-fuzz-onnx-XXXXXX");
    int fd = mkstemp(path);
    if (fd < 0 || ftruncate(fd, DATA_BYTES) != 0) abort();
    close(fd);
    return path;
}

static void remove_data(void) { (void)unlink(data_file()); }

static void as_source(const hone_onnx_file *f, hone_arena *a)
{
    static bool registered;
    if (!registered) registered = atexit(remove_data) == 0;
    for (size_t i = 0; i < f->n_tensors && i < 64; i++) {
        /* "a.codes" and "a" are asked for as "a". */
        char        *of = hone_arena_strdup(a, f->tensors[i].name), *dot = of ? strrchr(of, '.') : NULL;
        hone_source *s = NULL;
        hone_err     err = { 0 };
        uint32_t     bits = 0;
        if (!of) return;
        if (dot && (strcmp(dot, ".codes") == 0 || strcmp(dot, ".rows") == 0)) *dot = '\0';
        const hone_onnx_piece piece = { .name = "it", .of = of, .cols = 16 + i % 48, .rows = i % 3, .row0 = i % 2, .step = 1 + i % 2 };
        if (hone_onnx_source(f, data_file(), &piece, 1, a, &s, &bits, &err) != HONE_OK) {
            if (err.cause[0] == '\0') abort();
            continue;
        }
        uint64_t bytes = s->tensors[0].bytes;
        uint8_t *all = bytes < 1u << 20 ? malloc((size_t)bytes + 1) : NULL;
        if (all && s->read(s, &s->tensors[0], 0, all, (size_t)bytes, &err) != HONE_OK) abort(); /* it lies inside the file */
        free(all);
        s->close(s);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hone_arena     a = { 0 };
    hone_err       err = { 0 };
    hone_onnx_file f;
    if (hone_onnx_read((hone_bytes){ data, size }, &a, &f, &err) == HONE_OK) {
        for (size_t i = 0; i < f.n_tensors; i++) check_tensor(&f.tensors[i], data, size);
        for (size_t i = 0; i < f.n_inputs; i++)
            if (!f.inputs[i]) abort();
        for (size_t i = 0; i < f.n_outputs; i++)
            if (!f.outputs[i]) abort();
        if (f.n_foreign > f.n_nodes) abort();
        as_source(&f, &a);
    } else if (err.code == HONE_OK || err.cause[0] == '\0')
        abort();
    hone_arena_release(&a);
    return 0;
}
