#include "backends/onnxruntime/network.h"
#include "backends/onnxruntime/folder.h"
#include "backends/onnxruntime/session.h"
#include "base/file.h"
#include "formats/onnx.h"
#include "formats/onnx/reveal.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct hone_ort_network {
    hone_arena         a;
    const hone_ort    *o;
    hone_ort_session   s;
    hone_backend_port *in, *out; /* [s.n_in], [n_out] */
    size_t             n_out;
    const char       **in_names, **out_names;
    OrtValue         **given, **got; /* [s.n_in], [n_out] */
};

static int no_memory(hone_backend_error *e, const char *what) { return hone_ort_fail(e, HONE_ERESOURCE, "out of memory for %s", what); }

/* The .onnx file that path means, and the folder it lies in. */
static int locate(const char *path, hone_arena *a, const char **file, const char **dir, hone_backend_error *e)
{
    *file = hone_dir_exists(path) ? hone_arena_printf(a, "%s/model.onnx", path) : hone_arena_strdup(a, path);
    if (!*file) return no_memory(e, "a path");
    const char *slash = strrchr(*file, '/');
    *dir = !slash ? "." : slash == *file ? "/" : hone_arena_strndup(a, *file, (size_t)(slash - *file));
    if (!*dir) return no_memory(e, "a path");
    return hone_file_exists(*file) ? HONE_OK : hone_ort_fail(e, HONE_EINPUT, "there is no '%s'", *file);
}

/* The file's own words on how many bytes its constants have; 0 where it has forms that our reader does not count. */
static uint64_t constant_bytes(hone_bytes file)
{
    hone_arena     a = { 0 };
    hone_err       err = { 0 };
    hone_onnx_file f;
    uint64_t       sum = 0;
    if (hone_onnx_read(file, &a, &f, &err) == HONE_OK)
        for (size_t i = 0; i < f.n_tensors; i++) sum += f.tensors[i].location ? f.tensors[i].length : f.tensors[i].data.len;
    hone_arena_release(&a);
    return sum;
}

static int open_session(hone_ort_network *n, const hone_backend_open *how, hone_backend_info *info, hone_backend_error *e)
{
    hone_arena  a = { 0 };
    hone_err    err = { 0 };
    hone_bytes  bytes = { 0 }, open = { 0 };
    const char *file = NULL, *dir = NULL;
    int         rc = locate(how->path, &a, &file, &dir, e);
    if (rc == HONE_OK && hone_file_slurp(file, ORT_MODEL_FILE_MAX, &a, &bytes, &err) != HONE_OK) rc = hone_ort_fail(e, (int)err.code, "%s", err.cause);
    if (rc == HONE_OK) info->weights_bytes = constant_bytes(bytes);
    if (rc == HONE_OK && how->n_outputs == 0) {
        rc = hone_ort_session_open(n->o, file, how->device, how->threads, &n->a, &n->s, info->fallback, sizeof info->fallback, e);
    } else if (rc == HONE_OK) {
        if (hone_onnx_reveal(bytes, how->outputs, (uint32_t)how->n_outputs, 0, &a, &open, &err) != HONE_OK)
            rc = hone_ort_fail(e, (int)err.code, "'%s': %s", file, err.cause);
        else
            rc = hone_ort_session_open_bytes(n->o, open, dir, file, how->threads, &n->a, &n->s, e);
    }
    hone_arena_release(&a);
    return rc;
}

static hone_backend_port port_of(const hone_ort_port *p)
{
    hone_backend_port to = { .name = p->name, .type = p->type, .rank = (uint32_t)p->rank };
    for (size_t i = 0; i < p->rank; i++) {
        to.dims[i] = p->dims[i];
        to.symbols[i] = p->symbols[i];
    }
    return to;
}

static int make_ports(hone_ort_network *n, hone_backend_error *e)
{
    const hone_ort_session *s = &n->s;
    n->n_out = s->n_out;
    n->in = HONE_ARENA_NEW(&n->a, hone_backend_port, s->n_in + 1);
    n->out = HONE_ARENA_NEW(&n->a, hone_backend_port, s->n_out + 1);
    n->in_names = HONE_ARENA_NEW(&n->a, const char *, s->n_in + 1);
    n->out_names = HONE_ARENA_NEW(&n->a, const char *, s->n_out + 1);
    n->given = HONE_ARENA_NEW(&n->a, OrtValue *, s->n_in + 1);
    n->got = HONE_ARENA_NEW(&n->a, OrtValue *, s->n_out + 1);
    if (!n->in || !n->out || !n->in_names || !n->out_names || !n->given || !n->got) return no_memory(e, "names");
    for (size_t i = 0; i < s->n_in; i++) n->in_names[i] = (n->in[i] = port_of(&s->in[i])).name;
    for (size_t i = 0; i < s->n_out; i++) n->out_names[i] = (n->out[i] = port_of(&s->out[i])).name;
    return HONE_OK;
}

int hone_ort_network_open(const hone_backend_open *how, hone_ort_network **out, hone_backend_info *info, hone_backend_error *e)
{
    hone_ort_network *n = calloc(1, sizeof *n);
    if (!n) return no_memory(e, "a network");
    int rc = hone_ort_load(&n->o, e);
    if (rc == HONE_OK) rc = open_session(n, how, info, e);
    if (rc == HONE_OK) rc = make_ports(n, e);
    if (rc != HONE_OK) {
        hone_ort_network_close(n);
        return rc;
    }
    (void)snprintf(info->runtime, sizeof info->runtime, "ONNX Runtime");
    (void)snprintf(info->version, sizeof info->version, "%s", n->o->version);
    (void)snprintf(info->device, sizeof info->device, "%s", n->s.device);
    (void)snprintf(info->description, sizeof info->description, "%s", n->s.provider);
    *out = n;
    return HONE_OK;
}

void hone_ort_network_close(hone_ort_network *n)
{
    if (!n) return;
    hone_ort_session_close(&n->s);
    hone_arena_release(&n->a);
    free(n);
}

void hone_ort_network_signature(const hone_ort_network *n, const hone_backend_port **in, size_t *n_in, const hone_backend_port **out, size_t *n_out)
{
    *in = n->in;
    *n_in = n->s.n_in;
    *out = n->out;
    *n_out = n->n_out;
}

/* Values over the caller's memory, each input found by its name. */
static int give(hone_ort_network *n, const hone_backend_value *in, size_t n_in, hone_backend_error *e)
{
    for (size_t i = 0; i < n->s.n_in; i++) {
        const hone_backend_port  *p = &n->in[i];
        const hone_backend_value *v = NULL;
        for (size_t k = 0; k < n_in; k++)
            if (strcmp(in[k].name, p->name) == 0) v = &in[k];
        if (!v) return hone_ort_fail(e, HONE_EINPUT, "nothing is given for the input '%s'", p->name);
        if (v->type != p->type || v->rank != p->rank)
            return hone_ort_fail(e, HONE_EINPUT, "input '%s' is given with %u dimensions of type %d, the network wants %u of type %d", p->name, v->rank,
                                 v->type, p->rank, p->type);
        uint64_t bytes = hone_backend_type_size(v->type);
        for (uint32_t k = 0; k < v->rank; k++)
            if (v->dims[k] < 0 || !hone_size_mul(bytes, (uint64_t)v->dims[k], &bytes)) bytes = 0;
        if (bytes != v->bytes) return hone_ort_fail(e, HONE_EINPUT, "input '%s' is given with %zu bytes, its shape needs another number", p->name, v->bytes);
        /* The interface knows no const: inputs are not written to. */
        int rc = hone_ort_check(n->o, n->o->CreateTensorWithDataAsOrtValue(n->o->cpu, (void *)(uintptr_t)v->data, v->bytes, v->dims, v->rank, v->type, &n->given[i]),
                                e, "input '%s'", p->name);
        if (rc != HONE_OK) return rc;
    }
    return HONE_OK;
}

static int show(hone_ort_network *n, size_t i, void (*sink)(void *user, const hone_backend_value *value), void *user, hone_backend_error *e)
{
    const hone_ort            *o = n->o;
    const char                *name = n->out_names[i];
    OrtTensorTypeAndShapeInfo *shape = NULL;
    hone_backend_value         v = { .name = name };
    size_t                     rank = 0;
    void                      *data = NULL;
    int                        rc = hone_ort_check(o, o->GetTensorTypeAndShape(n->got[i], &shape), e, "output '%s'", name);
    if (rc == HONE_OK) rc = hone_ort_check(o, o->GetDimensionsCount(shape, &rank), e, "output '%s'", name);
    if (rc == HONE_OK && rank > HONE_BACKEND_RANK_MAX) rc = hone_ort_fail(e, HONE_EUNSUPPORTED, "output '%s' has %zu dimensions", name, rank);
    if (rc == HONE_OK) rc = hone_ort_check(o, o->GetDimensions(shape, v.dims, rank), e, "output '%s'", name);
    if (rc == HONE_OK) rc = hone_ort_check(o, o->GetTensorElementType(shape, &v.type), e, "output '%s'", name);
    if (rc == HONE_OK) rc = hone_ort_check(o, o->GetTensorMutableData(n->got[i], &data), e, "output '%s'", name);
    if (shape) o->ReleaseTensorTypeAndShapeInfo(shape);
    if (rc != HONE_OK) return rc;
    v.rank = (uint32_t)rank;
    v.data = data;
    v.bytes = hone_backend_type_size(v.type);
    if (v.bytes == 0) return hone_ort_fail(e, HONE_EUNSUPPORTED, "output '%s' is of type %d, which is not known", name, v.type);
    for (size_t k = 0; k < rank; k++) v.bytes *= (size_t)v.dims[k];
    sink(user, &v);
    return HONE_OK;
}

int hone_ort_network_infer(hone_ort_network *n, const hone_backend_value *in, size_t n_in, void (*sink)(void *user, const hone_backend_value *value),
                           void *user, hone_backend_error *e)
{
    int rc = give(n, in, n_in, e);
    if (rc == HONE_OK)
        rc = hone_ort_check(n->o, n->o->Run(n->s.s, NULL, n->in_names, (const OrtValue *const *)n->given, n->s.n_in, n->out_names, n->n_out, n->got), e,
                            "ONNX Runtime cannot run the network");
    for (size_t i = 0; rc == HONE_OK && i < n->n_out; i++) rc = show(n, i, sink, user, e);
    for (size_t i = 0; i < n->s.n_in; i++) {
        if (n->given[i]) n->o->ReleaseValue(n->given[i]);
        n->given[i] = NULL;
    }
    for (size_t i = 0; i < n->n_out; i++) {
        if (n->got[i]) n->o->ReleaseValue(n->got[i]);
        n->got[i] = NULL;
    }
    return rc;
}
