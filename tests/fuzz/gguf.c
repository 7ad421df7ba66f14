/* gguf - any bytes as a .gguf file: refused with a cause, or every tensor lies inside the file, apart from the others. */
#include "formats/gguf.h"
#include "formats/gguf/read.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk(const hone_gguf *g)
{
    uint64_t sum = 0; /* touches every byte that a value promises, for the sanitizer */
    for (size_t i = 0; i < g->n_kv; i++) {
        const hone_gguf_value *v = &g->kv[i].value;
        if (v->type == HONE_GGUF_STRING)
            for (uint64_t k = 0; k < v->as.s.len; k++) sum += (uint8_t)v->as.s.ptr[k];
        if (v->type == HONE_GGUF_ARRAY && v->elem == HONE_GGUF_STRING)
            for (uint64_t k = 0; k < v->n; k++)
                for (uint64_t c = 0; c < ((const hone_gguf_str *)v->as.array)[k].len; c++) sum += (uint8_t)((const hone_gguf_str *)v->as.array)[k].ptr[c];
    }
    volatile uint64_t keep = sum;
    (void)keep;
}

static void check(const uint8_t *data, size_t size, uint64_t file_size)
{
    hone_arena   a = { 0 };
    hone_err     err = { 0 };
    hone_gguf    g = { 0 };
    hone_tensor *t = NULL;
    size_t       n = 0;
    uint64_t     len = 0, need = 0;
    hone_code    code = hone_gguf_parse((hone_bytes){ data, size }, file_size, &a, &g, &t, &n, &err);
    if (code != HONE_OK && (err.code != code || err.cause[0] == '\0')) abort();
    /* What parses can be measured; what can be measured as longer than given does not parse. */
    hone_code measured = hone_gguf_head_len((hone_bytes){ data, size }, file_size, &len, &need, &err);
    if (code == HONE_OK && (measured != HONE_OK || need != 0 || len > size)) abort();
    if (measured == HONE_OK && need != 0 && (need <= size || need > file_size || code == HONE_OK)) abort();
    if (code == HONE_OK) {
        walk(&g);
        for (size_t i = 0; i < n; i++)
            if (t[i].offset > file_size || t[i].bytes > file_size - t[i].offset || t[i].offset < len || !t[i].name) abort();
    }
    hone_arena_release(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check(data, size, size);
    check(data, size, (uint64_t)size + 1000); /* only the first bytes of a longer file */
    return 0;
}
