/* onnx - any bytes as a model.onnx: refused with a cause, or every tensor has the bytes of its shape and every name is text. */
#include "formats/onnx.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_tensor(const hone_onnx_tensor *t, const uint8_t *data, size_t size)
{
    uint64_t n = 1, bits = hone_onnx_type_bits(t->type);
    if (!t->name || !*t->name || t->n_dims > HONE_MAX_DIMS) abort();
    for (uint32_t d = 0; d < t->n_dims; d++) n *= t->dims[d]; /* fits, or it was refused */
    if (t->location && bits && t->length != (n * bits + 7) / 8) abort();
    if (t->data.len && (t->data.ptr < data || t->data.ptr + t->data.len > data + size)) abort();
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
    } else if (err.code == HONE_OK || err.cause[0] == '\0')
        abort();
    hone_arena_release(&a);
    return 0;
}
