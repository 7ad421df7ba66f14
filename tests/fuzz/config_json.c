/* config_json.c - any JSON as config.json: find the family, read the facts as every family would, ask what llama.cpp can run, and bind
 * against a source without tensors. */
#include "arch/arch.h"
#include "passes/gguf_layout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static hone_code no_bytes(const hone_source *s, const hone_tensor *t, uint64_t off, void *buf, size_t n, hone_err *err)
{
    (void)s, (void)t, (void)off, (void)buf, (void)n;
    return HONE_FAIL(err, HONE_EBUG, "", "there are no bytes");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hone_err err = { 0 };
    json_t  *config = NULL;
    if (hone_json_parse((hone_bytes){ data, size }, "input", &config, &err) != HONE_OK) return 0;
    const hone_arch *arch = NULL;
    if (hone_arch_find(config, &arch, &err) == HONE_OK && !arch) __builtin_trap();
    for (size_t i = 0; i < hone_arch_count; i++) {
        hone_source source = { .read = no_bytes };
        hone_model  m = { .source = &source };
        hone_facts  f;
        if (hone_arch_facts(hone_arch_list[i], config, &m.arena, &f, &err) == HONE_OK) (void)hone_gguf_can(&f, &err);
        if (hone_arch_bind(hone_arch_list[i], config, &m, &err) == HONE_OK) __builtin_trap(); /* every family has tensors */
        hone_arena_release(&m.arena);
    }
    hone_facts f = { 0 };
    (void)hone_arch_pooling(config, json_object_get(config, "modules"), &f, &err);
    json_decref(config);
    return 0;
}
