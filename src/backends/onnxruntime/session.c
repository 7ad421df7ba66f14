#include "backends/onnxruntime/session.h"
#include <stdio.h>
#include <string.h>

/* Providers by the device they stand for, the one to be preferred first.  `generic`: its name in SessionOptionsAppendExecutionProvider; NULL:
 * CUDA, which has a function of its own.  memory: where its tensors live, NULL: processor memory is as good. */
static const struct provider { const char *device, *name, *generic, *memory; } providers[] = {
    { "gpu", "CUDAExecutionProvider", NULL, "Cuda" },
    { "gpu", "CoreMLExecutionProvider", "CoreML", NULL },
    { "npu", "QNNExecutionProvider", "QNN", NULL },
    { "npu", "VitisAIExecutionProvider", "VitisAI", NULL },
};

size_t hone_ort_size(int type)
{
    switch (type) {
    case ORT_F32:
    case ORT_I32: return 4;
    case ORT_I64: return 8;
    case ORT_F16:
    case ORT_BF16: return 2;
    default: return 0;
    }
}

const hone_ort_port *hone_ort_find(const hone_ort_port *ports, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(ports[i].name, name) == 0) return &ports[i];
    return NULL;
}

/* --- devices ----------------------------------------------------------------------------------------------------------- */
static bool is_available(const hone_ort *o, const char *name)
{
    char              **list = NULL;
    int                 n = 0;
    bool                found = false;
    hone_backend_error  e;
    if (hone_ort_check(o, o->GetAvailableProviders(&list, &n), &e, "providers") != HONE_OK) return false;
    for (int i = 0; i < n; i++) found |= strcmp(list[i], name) == 0;
    (void)hone_ort_check(o, o->ReleaseAvailableProviders(list, n), &e, "providers");
    return found;
}

static const struct provider *provider_of(const hone_ort *o, const char *device)
{
    for (size_t i = 0; i < HONE_COUNT(providers); i++)
        if ((strcmp(device, "auto") == 0 || strcmp(device, providers[i].device) == 0) && is_available(o, providers[i].name)) return &providers[i];
    return NULL;
}

int hone_ort_devices(const hone_ort *o, char *out, size_t cap, hone_backend_error *e)
{
    (void)e;
    int at = snprintf(out, cap, "cpu: CPUExecutionProvider");
    for (size_t i = 0; i < HONE_COUNT(providers); i++)
        if (at > 0 && (size_t)at < cap && is_available(o, providers[i].name))
            at += snprintf(out + at, cap - (size_t)at, "; %s: %s", providers[i].device, providers[i].name);
    return HONE_OK;
}

static int append(const hone_ort *o, OrtSessionOptions *options, const struct provider *p, hone_backend_error *e)
{
    if (p->generic)
        return hone_ort_check(o, o->SessionOptionsAppendExecutionProvider(options, p->generic, NULL, NULL, 0), e, "%s", p->name);
    OrtCUDAProviderOptionsV2 *cuda = NULL;
    int                       rc = hone_ort_check(o, o->CreateCUDAProviderOptions(&cuda), e, "%s", p->name);
    if (rc == HONE_OK) rc = hone_ort_check(o, o->SessionOptionsAppendExecutionProvider_CUDA_V2(options, cuda), e, "%s", p->name);
    if (cuda) o->ReleaseCUDAProviderOptions(cuda);
    return rc;
}

/* --- sessions ------------------------------------------------------------------------------------------------------------ */
/* Spinning threads are for machines that do nothing else; ours measures beside other work, and every runtime in the same way. */
static int make_options(const hone_ort *o, uint32_t threads, const char *dir, OrtSessionOptions **out, hone_backend_error *e)
{
    static const char *const config[][2] = { { "session.intra_op.allow_spinning", "0" }, { "session.inter_op.allow_spinning", "0" } };
    static const char        what[] = "ONNX Runtime's options";
    OrtSessionOptions       *s = NULL;
    int                      n = threads > 0 && threads < 4096 ? (int)threads : 1;
    int                      rc = hone_ort_check(o, o->CreateSessionOptions(&s), e, what);
    if (rc == HONE_OK) rc = hone_ort_check(o, o->SetSessionLogSeverityLevel(s, ORT_LOG_ERROR), e, what);
    if (rc == HONE_OK) rc = hone_ort_check(o, o->SetSessionGraphOptimizationLevel(s, ORT_OPTIMIZE_ALL), e, what);
    if (rc == HONE_OK) rc = hone_ort_check(o, o->SetIntraOpNumThreads(s, n), e, what);
    if (rc == HONE_OK) rc = hone_ort_check(o, o->SetInterOpNumThreads(s, 1), e, what);
    for (size_t i = 0; rc == HONE_OK && i < HONE_COUNT(config); i++)
        rc = hone_ort_check(o, o->AddSessionConfigEntry(s, config[i][0], config[i][1]), e, what);
    if (rc == HONE_OK && dir) /* where the weights lie, when the model itself comes from memory */
        rc = hone_ort_check(o, o->AddSessionConfigEntry(s, "session.model_external_initializers_file_folder_path", dir), e, what);
    if (rc == HONE_OK) *out = s;
    else if (s) o->ReleaseSessionOptions(s);
    return rc;
}

/* Failures while a model is read are its own, unless ONNX Runtime says otherwise. */
static int loaded(const hone_ort *o, OrtStatus *status, const char *path, hone_backend_error *e)
{
    int rc = hone_ort_check(o, status, e, "ONNX Runtime cannot load '%s'", path);
    return rc == HONE_ERUNTIME ? HONE_EINPUT : rc;
}

static int describe_one(const hone_ort_session *s, bool output, size_t i, hone_arena *a, hone_ort_port *p, hone_backend_error *e)
{
    static const char                what[] = "the inputs and outputs of the model";
    const hone_ort                  *o = s->o;
    char                            *name = NULL;
    OrtTypeInfo                     *info = NULL;
    const OrtTensorTypeAndShapeInfo *shape = NULL;
    OrtStatus *named = output ? o->SessionGetOutputName(s->s, i, o->allocator, &name) : o->SessionGetInputName(s->s, i, o->allocator, &name);
    int        rc = hone_ort_check(o, named, e, what);
    if (rc == HONE_OK) {
        OrtStatus *typed = output ? o->SessionGetOutputTypeInfo(s->s, i, &info) : o->SessionGetInputTypeInfo(s->s, i, &info);
        rc = hone_ort_check(o, typed, e, what);
    }
    if (rc == HONE_OK) rc = hone_ort_check(o, o->CastTypeInfoToTensorInfo(info, &shape), e, what);
    if (rc == HONE_OK && !shape) rc = hone_ort_fail(e, HONE_EUNSUPPORTED, "'%s' is not a tensor", name);
    if (rc == HONE_OK) rc = hone_ort_check(o, o->GetTensorElementType(shape, &p->type), e, what);
    if (rc == HONE_OK) rc = hone_ort_check(o, o->GetDimensionsCount(shape, &p->rank), e, what);
    if (rc == HONE_OK && p->rank > ORT_RANK_MAX)
        rc = hone_ort_fail(e, HONE_EUNSUPPORTED, "'%s' has %zu dimensions, at most %d are known", name, p->rank, ORT_RANK_MAX);
    if (rc == HONE_OK) rc = hone_ort_check(o, o->GetDimensions(shape, p->dims, p->rank), e, what);
    const char *symbols[ORT_RANK_MAX] = { NULL };
    if (rc == HONE_OK) rc = hone_ort_check(o, o->GetSymbolicDimensions(shape, symbols, p->rank), e, what);
    for (size_t k = 0; rc == HONE_OK && k < p->rank; k++)
        if (!(p->symbols[k] = hone_arena_strdup(a, symbols[k] ? symbols[k] : ""))) rc = hone_ort_fail(e, HONE_ERESOURCE, "out of memory for names");
    if (rc == HONE_OK && !(p->name = hone_arena_strdup(a, name))) rc = hone_ort_fail(e, HONE_ERESOURCE, "out of memory for names");
    if (info) o->ReleaseTypeInfo(info);
    if (name) {
        hone_backend_error none;
        (void)hone_ort_check(o, o->AllocatorFree(o->allocator, name), &none, what);
    }
    return rc;
}

static int describe(hone_ort_session *s, hone_arena *a, hone_backend_error *e)
{
    int rc = hone_ort_check(s->o, s->o->SessionGetInputCount(s->s, &s->n_in), e, "inputs");
    if (rc == HONE_OK) rc = hone_ort_check(s->o, s->o->SessionGetOutputCount(s->s, &s->n_out), e, "outputs");
    if (rc != HONE_OK) return rc;
    s->in = HONE_ARENA_NEW(a, hone_ort_port, s->n_in + 1);
    s->out = HONE_ARENA_NEW(a, hone_ort_port, s->n_out + 1);
    if (!s->in || !s->out) return hone_ort_fail(e, HONE_ERESOURCE, "out of memory for names");
    for (size_t i = 0; rc == HONE_OK && i < s->n_in; i++) rc = describe_one(s, false, i, a, &s->in[i], e);
    for (size_t i = 0; rc == HONE_OK && i < s->n_out; i++) rc = describe_one(s, true, i, a, &s->out[i], e);
    return rc;
}

static int open_on(const hone_ort *o, const char *path, const struct provider *p, uint32_t threads, hone_arena *a, hone_ort_session *out,
                   hone_backend_error *e)
{
    OrtSessionOptions *options = NULL;
    hone_ort_session   s = { .o = o };
    int                rc = make_options(o, threads, NULL, &options, e);
    if (rc != HONE_OK) return rc;
    if (p) rc = append(o, options, p, e);
    if (rc == HONE_OK) rc = loaded(o, o->CreateSession(o->env, path, options, &s.s), path, e);
    o->ReleaseSessionOptions(options);
    if (rc == HONE_OK && p && p->memory)
        rc = hone_ort_check(o, o->CreateMemoryInfo(p->memory, ORT_ALLOCATOR_DEVICE, 0, ORT_MEM_DEFAULT, &s.memory), e, "%s", p->name);
    if (rc == HONE_OK) rc = describe(&s, a, e);
    (void)snprintf(s.device, sizeof s.device, "%s", p ? p->device : "cpu");
    (void)snprintf(s.provider, sizeof s.provider, "%s", p ? p->name : "CPUExecutionProvider");
    if (rc == HONE_OK) *out = s;
    else hone_ort_session_close(&s);
    return rc;
}

int hone_ort_session_open(const hone_ort *o, const char *path, const char *device, uint32_t threads, hone_arena *a, hone_ort_session *out,
                          char *fallback, size_t fallback_cap, hone_backend_error *e)
{
    bool any = strcmp(device, "auto") == 0, cpu = strcmp(device, "cpu") == 0;
    fallback[0] = '\0';
    if (!any && !cpu && strcmp(device, "gpu") != 0 && strcmp(device, "npu") != 0)
        return hone_ort_fail(e, HONE_EUNSUPPORTED, "ONNX Runtime has no device '%s': known are cpu, gpu, npu and auto", device);
    const struct provider *p = cpu ? NULL : provider_of(o, device);
    if (!p && !cpu && !any) (void)snprintf(fallback, fallback_cap, "this build of ONNX Runtime has no provider for a device '%s'", device);
    if (p) {
        hone_backend_error why;
        if (open_on(o, path, p, threads, a, out, &why) == HONE_OK) return HONE_OK;
        (void)snprintf(fallback, fallback_cap, "%s", why.why);
    }
    return open_on(o, path, NULL, threads, a, out, e);
}

int hone_ort_session_open_bytes(const hone_ort *o, hone_bytes model, const char *dir, const char *path, uint32_t threads, hone_arena *a,
                                hone_ort_session *out, hone_backend_error *e)
{
    OrtSessionOptions *options = NULL;
    hone_ort_session   s = { .o = o, .device = "cpu", .provider = "CPUExecutionProvider" };
    int                rc = make_options(o, threads, dir, &options, e);
    if (rc != HONE_OK) return rc;
    rc = loaded(o, o->CreateSessionFromArray(o->env, model.ptr, model.len, options, &s.s), path, e);
    o->ReleaseSessionOptions(options);
    if (rc == HONE_OK) rc = describe(&s, a, e);
    if (rc == HONE_OK) *out = s;
    else hone_ort_session_close(&s);
    return rc;
}

void hone_ort_session_close(hone_ort_session *s)
{
    if (!s || !s->o) return;
    if (s->s) s->o->ReleaseSession(s->s);
    if (s->memory) s->o->ReleaseMemoryInfo(s->memory);
    *s = (hone_ort_session){ 0 };
}
