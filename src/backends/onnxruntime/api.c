#include "backends/onnxruntime/api.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef void (*any_fn)(void);
typedef struct api_base { /* OrtApiBase */
    const any_fn *(*table)(uint32_t version);
    const char *(*version)(void);
} api_base;
extern const api_base *OrtGetApiBase(void); /* the one symbol of the library */

int hone_ort_fail(hone_backend_error *e, int code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(e->why, sizeof e->why, fmt, ap);
    va_end(ap);
    return code;
}

static int code_of(int status, const char *message)
{
    if (strstr(message, "Failed to allocate") || strstr(message, "bad_alloc") || strstr(message, "out of memory")) return HONE_ERESOURCE;
    if (status == ORT_NOT_IMPLEMENTED || strstr(message, "is not a registered function/op") || strstr(message, "Unsupported model IR version") ||
        strstr(message, "is under development and support for this is limited"))
        return HONE_EUNSUPPORTED;
    if (status == ORT_NO_SUCHFILE || status == ORT_NO_MODEL || status == ORT_INVALID_PROTOBUF || status == ORT_INVALID_GRAPH) return HONE_EINPUT;
    return HONE_ERUNTIME;
}

int hone_ort_check(const hone_ort *o, OrtStatus *s, hone_backend_error *e, const char *fmt, ...)
{
    if (!s) return HONE_OK;
    char    what[sizeof e->why];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    const char *message = o->GetErrorMessage(s);
    int         code = code_of(o->GetErrorCode(s), message);
    (void)hone_ort_fail(e, code, "%s: %.*s", what, (int)strcspn(message, "\n"), message);
    o->ReleaseStatus(s);
    return code;
}

int hone_ort_load(const hone_ort **out, hone_backend_error *e)
{
    static hone_ort o; /* one process is one runtime */
    if (o.cpu) {
        *out = &o;
        return HONE_OK;
    }
    const api_base *base = OrtGetApiBase();
    const any_fn   *table = base->table(ORT_TABLE_VERSION);
    if (!table) return hone_ort_fail(e, HONE_EUNSUPPORTED, "ONNX Runtime %s is too old: at least 1.%u is needed", base->version(), ORT_TABLE_VERSION);
    o.version = base->version();
#define HONE_X(place, result, name, arguments) o.name = (result(*) arguments)table[place];
    ORT_CALLS(HONE_X)
#undef HONE_X
    int rc = hone_ort_check(&o, o.CreateEnv(ORT_LOG_ERROR, "hone", &o.env), e, "ONNX Runtime cannot start");
    if (rc == HONE_OK) rc = hone_ort_check(&o, o.GetAllocatorWithDefaultOptions(&o.allocator), e, "ONNX Runtime cannot start");
    if (rc == HONE_OK) rc = hone_ort_check(&o, o.CreateCpuMemoryInfo(ORT_ALLOCATOR_DEVICE, ORT_MEM_DEFAULT, &o.cpu), e, "ONNX Runtime cannot start");
    if (rc == HONE_OK) *out = &o;
    return rc;
}
