/* safetensors - any bytes as a .safetensors file: refused with a cause, or every tensor lies inside the file. */
#include "formats/safetensors.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const uint8_t *data, size_t size, uint64_t file_size)
{
    hone_arena   a = { 0 };
    hone_err     err = { 0 };
    hone_tensor *t = NULL;
    size_t       n = 0;
    if (hone_safetensors_parse((hone_bytes){ data, size }, file_size, &a, &t, &n, &err) == HONE_OK) {
        for (size_t i = 0; i < n; i++) {
            uint64_t elems = 1, bytes = 0;
            bool     empty = false;
            for (uint32_t d = 0; d < t[i].n_dims; d++) empty = empty || t[i].dims[d] == 0;
            for (uint32_t d = 0; d < t[i].n_dims && !empty; d++) elems *= t[i].dims[d];
            if (!hone_dtype_bytes(t[i].dtype, empty ? 0 : elems, &bytes) || bytes != t[i].bytes) abort();
            if (t[i].offset > file_size || t[i].bytes > file_size - t[i].offset || !t[i].name) abort();
        }
    } else if (err.code == HONE_OK || err.cause[0] == '\0')
        abort();
    hone_arena_release(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check(data, size, size);
    check(data, size, (uint64_t)size + 1000); /* only the first bytes of a longer file */
    return 0;
}
