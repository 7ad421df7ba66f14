/* gguf - any bytes as a .gguf file: refused with a cause, or every tensor lies inside the file, apart from the others; its metadata as a
 * config.json and a tokenizer, and that one as a tokenizer.json. */
#include "arch/arch.h"
#include "formats/gguf.h"
#include "formats/gguf/config.h"
#include "formats/gguf/read.h"
#include "formats/gguf/vocab.h"
#include "formats/hf/write.h"
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

static hone_code read_ones(const hone_source *s, const hone_tensor *t, uint64_t off, void *buf, size_t n, hone_err *err)
{
    (void)s, (void)err;
    if (off > t->bytes || n > t->bytes - off) abort();
    for (size_t i = 0; i < n; i++) ((uint8_t *)buf)[i] = i % 4 == 3 ? 0x3f : i % 4 == 2 ? 0x80 : 0; /* 1.0f */
    return HONE_OK;
}

static int by_name(const void *a, const void *b) { return strcmp(((const hone_tensor *)a)->name, ((const hone_tensor *)b)->name); }

/* As a source: what is made of the metadata is whole, or there is a cause. */
static void as_source(hone_gguf *g, hone_tensor *tensors, size_t n, hone_arena *a)
{
    hone_err       err = { 0 };
    hone_tokenizer t;
    hone_source    source = { .read = read_ones, .tensors = tensors, .n_tensors = n };
    char           name[64];
    json_t        *doc = NULL;
    if (n) qsort(tensors, n, sizeof *tensors, by_name);
    g->source = &source;
    bool named = hone_gguf_architecture(g, name, sizeof name);
    for (size_t i = 0; named && i < hone_arch_count; i++) {
        const hone_arch *arch = hone_arch_list[i];
        if (!arch->gguf.name || strcmp(arch->gguf.name, name) != 0) continue;
        hone_gguf_family family = { arch->hf_class, arch->name, arch->words, &arch->gguf };
        hone_facts       facts;
        hone_code        code = hone_gguf_config(g, &family, &doc, &err);
        if (code != HONE_OK && err.cause[0] == '\0') abort();
        if (code == HONE_OK) {
            (void)hone_arch_facts(arch, doc, a, &facts, &err);
            json_decref(doc);
        }
    }
    if (hone_gguf_tokenizer_read(g, 1u << 20, a, &t, &err) != HONE_OK || t.kind == HONE_TOK_NONE) return;
    if (hone_hf_tokenizer_json(&t, a, &doc, &err) == HONE_OK) json_decref(doc);
    if (hone_hf_tokenizer_config(&t, &doc, &err) == HONE_OK) json_decref(doc);
    if (hone_hf_generation_config(&t, &doc, &err) == HONE_OK) json_decref(doc);
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
        as_source(&g, t, n, &a);
    }
    hone_arena_release(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check(data, size, size);
    check(data, size, (uint64_t)size + 1000); /* only the first bytes of a longer file */
    return 0;
}
