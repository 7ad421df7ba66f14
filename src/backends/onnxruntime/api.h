/* api.h - the part of ONNX Runtime's C interface that the plug-in calls; its package has no header.
 * The interface is a table of functions that only ever grows at its end (onnxruntime_c_api.h, "struct OrtApi": "this struct is
 * versioned and members may only be added at the end"), so a function is a place in the table; the places were taken from the
 * header of version 24 with offsetof.  All of them are there since version 12 (ONNX Runtime 1.12). */
#ifndef HONE_BACKENDS_ONNXRUNTIME_API_H
#define HONE_BACKENDS_ONNXRUNTIME_API_H
#include "base/err.h"
#include "hone/backend.h"

#define ORT_TABLE_VERSION 12u

typedef struct OrtStatus                 OrtStatus; /* NULL: it went well */
typedef struct OrtEnv                    OrtEnv;
typedef struct OrtSession                OrtSession;
typedef struct OrtSessionOptions         OrtSessionOptions;
typedef struct OrtRunOptions             OrtRunOptions;
typedef struct OrtValue                  OrtValue;
typedef struct OrtTypeInfo               OrtTypeInfo;
typedef struct OrtTensorTypeAndShapeInfo OrtTensorTypeAndShapeInfo;
typedef struct OrtMemoryInfo             OrtMemoryInfo;
typedef struct OrtAllocator              OrtAllocator;
typedef struct OrtIoBinding              OrtIoBinding;
typedef struct OrtCUDAProviderOptionsV2  OrtCUDAProviderOptionsV2;

enum { /* OrtErrorCode */
    ORT_FAIL = 1, ORT_INVALID_ARGUMENT, ORT_NO_SUCHFILE, ORT_NO_MODEL, ORT_ENGINE_ERROR, ORT_RUNTIME_EXCEPTION, ORT_INVALID_PROTOBUF,
    ORT_MODEL_LOADED, ORT_NOT_IMPLEMENTED, ORT_INVALID_GRAPH
};
enum { /* ONNXTensorElementDataType */ ORT_F32 = 1, ORT_I32 = 6, ORT_I64 = 7, ORT_F16 = 10, ORT_BF16 = 16 };
enum { ORT_LOG_ERROR = 3, ORT_OPTIMIZE_ALL = 99, ORT_ALLOCATOR_DEVICE = 0, ORT_ALLOCATOR_ARENA = 1, ORT_MEM_DEFAULT = 0 };

/* X(place, result, name, arguments) */
#define ORT_CALLS(X)                                                                                                                    \
    X(1, int, GetErrorCode, (const OrtStatus *))                                                                                        \
    X(2, const char *, GetErrorMessage, (const OrtStatus *))                                                                            \
    X(3, OrtStatus *, CreateEnv, (int log_level, const char *id, OrtEnv **))                                                            \
    X(7, OrtStatus *, CreateSession, (const OrtEnv *, const char *path, const OrtSessionOptions *, OrtSession **))                      \
    X(8, OrtStatus *, CreateSessionFromArray, (const OrtEnv *, const void *, size_t, const OrtSessionOptions *, OrtSession **))         \
    X(9, OrtStatus *, Run, (OrtSession *, const OrtRunOptions *, const char *const *, const OrtValue *const *, size_t n_in,             \
                            const char *const *, size_t n_out, OrtValue **))                                                           \
    X(10, OrtStatus *, CreateSessionOptions, (OrtSessionOptions **))                                                                    \
    X(22, OrtStatus *, SetSessionLogSeverityLevel, (OrtSessionOptions *, int level))                                                    \
    X(23, OrtStatus *, SetSessionGraphOptimizationLevel, (OrtSessionOptions *, int level))                                              \
    X(24, OrtStatus *, SetIntraOpNumThreads, (OrtSessionOptions *, int))                                                                \
    X(25, OrtStatus *, SetInterOpNumThreads, (OrtSessionOptions *, int))                                                                \
    X(30, OrtStatus *, SessionGetInputCount, (const OrtSession *, size_t *))                                                            \
    X(31, OrtStatus *, SessionGetOutputCount, (const OrtSession *, size_t *))                                                           \
    X(33, OrtStatus *, SessionGetInputTypeInfo, (const OrtSession *, size_t, OrtTypeInfo **))                                           \
    X(34, OrtStatus *, SessionGetOutputTypeInfo, (const OrtSession *, size_t, OrtTypeInfo **))                                          \
    X(36, OrtStatus *, SessionGetInputName, (const OrtSession *, size_t, OrtAllocator *, char **))                                      \
    X(37, OrtStatus *, SessionGetOutputName, (const OrtSession *, size_t, OrtAllocator *, char **))                                     \
    X(48, OrtStatus *, CreateTensorAsOrtValue, (OrtAllocator *, const int64_t *, size_t rank, int type, OrtValue **))                   \
    X(49, OrtStatus *, CreateTensorWithDataAsOrtValue,                                                                                  \
      (const OrtMemoryInfo *, void *, size_t bytes, const int64_t *, size_t rank, int type, OrtValue **))                               \
    X(51, OrtStatus *, GetTensorMutableData, (OrtValue *, void **))                                                                     \
    X(55, OrtStatus *, CastTypeInfoToTensorInfo, (const OrtTypeInfo *, const OrtTensorTypeAndShapeInfo **))                             \
    X(60, OrtStatus *, GetTensorElementType, (const OrtTensorTypeAndShapeInfo *, int *))                                                \
    X(61, OrtStatus *, GetDimensionsCount, (const OrtTensorTypeAndShapeInfo *, size_t *))                                               \
    X(62, OrtStatus *, GetDimensions, (const OrtTensorTypeAndShapeInfo *, int64_t *, size_t rank))                                      \
    X(63, OrtStatus *, GetSymbolicDimensions, (const OrtTensorTypeAndShapeInfo *, const char **, size_t rank))                         \
    X(65, OrtStatus *, GetTensorTypeAndShape, (const OrtValue *, OrtTensorTypeAndShapeInfo **))                                         \
    X(68, OrtStatus *, CreateMemoryInfo, (const char *name, int allocator, int id, int mem_type, OrtMemoryInfo **))                     \
    X(69, OrtStatus *, CreateCpuMemoryInfo, (int allocator, int mem_type, OrtMemoryInfo **))                                            \
    X(76, OrtStatus *, AllocatorFree, (OrtAllocator *, void *))                                                                         \
    X(78, OrtStatus *, GetAllocatorWithDefaultOptions, (OrtAllocator **))                                                               \
    X(92, void, ReleaseEnv, (OrtEnv *))                                                                                                 \
    X(93, void, ReleaseStatus, (OrtStatus *))                                                                                           \
    X(94, void, ReleaseMemoryInfo, (OrtMemoryInfo *))                                                                                   \
    X(95, void, ReleaseSession, (OrtSession *))                                                                                         \
    X(96, void, ReleaseValue, (OrtValue *))                                                                                             \
    X(98, void, ReleaseTypeInfo, (OrtTypeInfo *))                                                                                       \
    X(99, void, ReleaseTensorTypeAndShapeInfo, (OrtTensorTypeAndShapeInfo *))                                                           \
    X(100, void, ReleaseSessionOptions, (OrtSessionOptions *))                                                                          \
    X(125, OrtStatus *, GetAvailableProviders, (char ***, int *))                                                                       \
    X(126, OrtStatus *, ReleaseAvailableProviders, (char **, int))                                                                      \
    X(130, OrtStatus *, AddSessionConfigEntry, (OrtSessionOptions *, const char *key, const char *value))                               \
    X(131, OrtStatus *, CreateAllocator, (const OrtSession *, const OrtMemoryInfo *, OrtAllocator **))                                  \
    X(132, void, ReleaseAllocator, (OrtAllocator *))                                                                                    \
    X(133, OrtStatus *, RunWithBinding, (OrtSession *, const OrtRunOptions *, const OrtIoBinding *))                                    \
    X(134, OrtStatus *, CreateIoBinding, (OrtSession *, OrtIoBinding **))                                                               \
    X(135, void, ReleaseIoBinding, (OrtIoBinding *))                                                                                    \
    X(136, OrtStatus *, BindInput, (OrtIoBinding *, const char *, const OrtValue *))                                                    \
    X(137, OrtStatus *, BindOutput, (OrtIoBinding *, const char *, const OrtValue *))                                                   \
    X(204, OrtStatus *, SessionOptionsAppendExecutionProvider_CUDA_V2, (OrtSessionOptions *, const OrtCUDAProviderOptionsV2 *))         \
    X(205, OrtStatus *, CreateCUDAProviderOptions, (OrtCUDAProviderOptionsV2 **))                                                       \
    X(208, void, ReleaseCUDAProviderOptions, (OrtCUDAProviderOptionsV2 *))                                                              \
    X(216, OrtStatus *, SessionOptionsAppendExecutionProvider,                                                                          \
      (OrtSessionOptions *, const char *provider, const char *const *keys, const char *const *values, size_t n))

typedef struct hone_ort { /* the library, started once for the life of the process */
#define HONE_X(place, result, name, arguments) result (*name) arguments;
    ORT_CALLS(HONE_X)
#undef HONE_X
    const char    *version;
    OrtEnv        *env;
    OrtAllocator  *allocator; /* of names and processor memory */
    OrtMemoryInfo *cpu;       /* where tensors of our own memory are */
} hone_ort;

/* Fills e->why and returns code. */
int hone_ort_fail(hone_backend_error *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Starts the library.  4 when it is older than version 1.12. */
int hone_ort_load(const hone_ort **out, hone_backend_error *e);

/* 0 when s is NULL; else releases it, and fills e with "<what>: <its message>".  The code is 3, 4 or 6 where ONNX Runtime's own words say
 * so, and otherwise 5. */
int hone_ort_check(const hone_ort *o, OrtStatus *s, hone_backend_error *e, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
#endif
