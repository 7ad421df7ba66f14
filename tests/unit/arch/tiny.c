#include "arch/tiny.h"
#include "formats/hf.h"
#include "formats/safetensors.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

const char *const tiny_names[] = {
#define X(name) #name,
#include "arch/list.def"
#undef X
};
const size_t tiny_count = HONE_COUNT(tiny_names);

void tiny_open(tiny *t, const char *name)
{
    hone_err err = { 0 };
    char     path[512];
    *t = (tiny){ 0 };
    snprintf(path, sizeof path, "%s/tests/golden/tiny/%s", HONE_TEST_SOURCE_DIR, name);
    if (hone_hf_config_load(path, &t->config, &err) != HONE_OK || hone_safetensors_open(path, &t->m.arena, &t->m.source, &err) != HONE_OK)
        fail_msg("%s: %s", path, err.cause);
    assert_in_range(t->m.source->n_tensors, 1, HONE_COUNT(t->tensors) - 4);
    t->n_tensors = t->m.source->n_tensors;
    memcpy(t->tensors, t->m.source->tensors, t->n_tensors * sizeof t->tensors[0]);
    t->m.source->tensors = t->tensors;
}

void tiny_close(tiny *t)
{
    json_decref(t->config);
    hone_model_close(&t->m);
}

hone_code tiny_bind(tiny *t, hone_err *err)
{
    const hone_arch *arch = NULL;
    hone_code        code = hone_arch_find(t->config, &arch, err);
    return code == HONE_OK ? hone_arch_bind(arch, t->config, &t->m, err) : code;
}

void tiny_set(tiny *t, const char *key, const char *json)
{
    if (!json) json_object_del(t->config, key);
    else {
        json_error_t e;
        json_t      *v = json_loads(json, JSON_DECODE_ANY, &e);
        assert_non_null(v);
        assert_int_equal(json_object_set_new(t->config, key, v), 0);
    }
}

hone_tensor *tiny_tensor(tiny *t, const char *name)
{
    for (size_t i = 0; i < t->n_tensors; i++)
        if (strcmp(t->tensors[i].name, name) == 0) return &t->tensors[i];
    return NULL;
}

void tiny_remove(tiny *t, const char *name)
{
    hone_tensor *x = tiny_tensor(t, name);
    assert_non_null(x);
    memmove(x, x + 1, (size_t)(t->tensors + t->n_tensors - (x + 1)) * sizeof *x);
    t->m.source->n_tensors = --t->n_tensors;
}

void tiny_add(tiny *t, const char *name, uint32_t n_dims, const uint64_t *dims)
{
    hone_tensor x = { .name = name, .dtype = HONE_DTYPE_F32, .n_dims = n_dims };
    size_t      at = 0;
    assert_true(t->n_tensors < HONE_COUNT(t->tensors));
    for (uint32_t i = 0; i < n_dims; i++) x.dims[i] = dims[i];
    while (at < t->n_tensors && strcmp(t->tensors[at].name, name) < 0) at++;
    memmove(&t->tensors[at + 1], &t->tensors[at], (t->n_tensors - at) * sizeof x);
    t->tensors[at] = x;
    t->m.source->n_tensors = ++t->n_tensors;
}
