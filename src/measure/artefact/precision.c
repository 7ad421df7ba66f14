#include "measure/artefact/precision.h"
#include "base/arena.h"
#include "base/file.h"
#include "formats/gguf.h"
#include "formats/onnx.h"
#include "formats/openvino.h"
#include "formats/safetensors.h"
#include <string.h>

const char *hone_loss_name(hone_loss l)
{
    static const char *const names[] = { "f32", "f16", "bf16", "quantised" };
    return names[l];
}

static void raise_to(hone_loss *out, hone_loss l)
{
    if (l > *out) *out = l;
}

static void of_tensors(const hone_source *s, hone_loss *out)
{
    for (size_t i = 0; i < s->n_tensors; i++) {
        const hone_tensor *t = &s->tensors[i];
        if (t->n_dims < 2) continue;
        raise_to(out, t->dtype == HONE_DTYPE_F32 || t->dtype == HONE_DTYPE_F64 ? HONE_LOSS_NONE
                      : t->dtype == HONE_DTYPE_F16                             ? HONE_LOSS_F16
                      : t->dtype == HONE_DTYPE_BF16                            ? HONE_LOSS_BF16
                                                                               : HONE_LOSS_QUANTISED);
    }
}

hone_code hone_loss_gguf(const char *path, hone_loss *out, hone_err *err)
{
    hone_arena a = { 0 };
    hone_gguf  g;
    hone_code  code = hone_gguf_open(path, &a, &g, err);
    if (code == HONE_OK) {
        of_tensors(g.source, out);
        g.source->close(g.source);
    }
    hone_arena_release(&a);
    return code;
}

hone_code hone_loss_mlx(const char *folder, hone_loss *out, hone_err *err)
{
    hone_arena   a = { 0 };
    hone_source *s;
    hone_code    code = hone_safetensors_open(folder, &a, &s, err);
    if (code == HONE_OK) {
        of_tensors(s, out); /* codes are packed into u32, so a quantised matrix is neither of the floats */
        s->close(s);
    }
    hone_arena_release(&a);
    return code;
}

/* TensorProto.data_type, onnx.proto: 1 float, 2 uint8, 3 int8, 10 float16, 11 double, 16 bfloat16, 17..20 float8, 21 uint4, 22 int4, 23 float4. */
static hone_loss of_onnx_type(int32_t type)
{
    if (type == 10) return HONE_LOSS_F16;
    if (type == 16) return HONE_LOSS_BF16;
    return type == 2 || type == 3 || (type >= 17 && type <= 23) ? HONE_LOSS_QUANTISED : HONE_LOSS_NONE; /* floats; whole numbers are no weights */
}

static hone_code of_onnx(hone_bytes model, hone_arena *a, hone_loss *out, hone_err *err)
{
    hone_onnx_file f;
    HONE_TRY(hone_onnx_read(model, a, &f, err));
    for (size_t i = 0; i < f.n_tensors; i++)
        if (f.tensors[i].n_dims >= 2) raise_to(out, of_onnx_type(f.tensors[i].type));
    return HONE_OK;
}

static hone_loss of_ir_type(const char *type)
{
    static const char *const whole[] = { "i32", "i64", "u32", "u64", "i16", "u16", "boolean", "string", "f32", "f64" };
    if (strcmp(type, "f16") == 0) return HONE_LOSS_F16;
    if (strcmp(type, "bf16") == 0) return HONE_LOSS_BF16;
    for (size_t i = 0; i < HONE_COUNT(whole); i++)
        if (strcmp(type, whole[i]) == 0) return HONE_LOSS_NONE;
    return HONE_LOSS_QUANTISED;
}

static hone_code of_openvino(hone_bytes xml, hone_arena *a, hone_loss *out, hone_err *err)
{
    hone_ov_found *consts = NULL;
    size_t         n = 0;
    HONE_TRY(hone_ov_read_consts(xml, a, &consts, &n, err));
    for (size_t i = 0; i < n; i++)
        if (strchr(consts[i].shape, ',')) raise_to(out, of_ir_type(consts[i].type));
    return HONE_OK;
}

typedef hone_code (*look)(hone_bytes, hone_arena *, hone_loss *, hone_err *);

static hone_code of_file(const char *path, look f, hone_loss *out, hone_err *err)
{
    hone_arena a = { 0 };
    hone_bytes b;
    hone_code  code = hone_file_slurp(path, 0x80000000u, &a, &b, err); /* protobuf's own limit is 2 GiB */
    if (code == HONE_OK) {
        code = f(b, &a, out, err);
        if (code != HONE_OK) (void)hone_err_wrap(err, "'%s'", path);
    }
    hone_arena_release(&a);
    return code;
}

hone_code hone_loss_onnx(const char *path, hone_loss *out, hone_err *err) { return of_file(path, of_onnx, out, err); }
hone_code hone_loss_openvino(const char *path, hone_loss *out, hone_err *err) { return of_file(path, of_openvino, out, err); }
