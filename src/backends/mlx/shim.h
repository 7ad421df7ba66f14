/* shim.h - the operations of MLX that the plug-in uses, as C functions.  No exception leaves them.
 * An array is a number that a session gives; operations are recorded and computed when hone_mx_eval or hone_mx_read asks for a value.  The first
 * failure sticks: from then on every operation gives 0, and hone_mx_failure says what went wrong; so a chain of operations is checked once,
 * at its end.  One thread.  Source: mlx/ops.h, fast.h, io.h, memory.h of the pinned package (deps/mlx.sh). */
#ifndef HONE_BACKENDS_MLX_SHIM_H
#define HONE_BACKENDS_MLX_SHIM_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

typedef struct hone_mx_session hone_mx_session;
typedef uint32_t               hone_mx; /* an array; 0: none */

typedef enum hone_mx_type { HONE_MX_F32, HONE_MX_F16, HONE_MX_BF16, HONE_MX_I32, HONE_MX_BOOL } hone_mx_type;
typedef enum hone_mx_unary { HONE_MX_SIGMOID, HONE_MX_TANH, HONE_MX_ERF, HONE_MX_RELU, HONE_MX_SQRT } hone_mx_unary;
typedef enum hone_mx_binary { HONE_MX_ADD, HONE_MX_MUL, HONE_MX_DIV, HONE_MX_MAX } hone_mx_binary;

typedef struct hone_mx_matrix { /* a weight [..., rows, cols], as it lies in the folder */
    hone_mx     w, scales, biases; /* scales 0: not quantised; biases 0: a mode without */
    int         bits, group;
    const char *mode; /* "affine", "mxfp4", ...; static */
} hone_mx_matrix;

/* --- the session ---------------------------------------------------------------------------------------------- */
const char *hone_mx_version(void);
bool        hone_mx_gpu(char *name, size_t cap); /* whether this build drives a GPU that is here, and which */
/* NULL when memory is gone. */
hone_mx_session *hone_mx_open(bool gpu);
void             hone_mx_close(hone_mx_session *s);
/* NULL when all went well; *memory: it was for want of memory. */
const char *hone_mx_failure(const hone_mx_session *s, bool *memory);
void        hone_mx_forget_failure(hone_mx_session *s);
typedef struct hone_mx_memory { uint64_t active, peak; } hone_mx_memory; /* bytes, as MLX counts them */
hone_mx_memory hone_mx_memory_of(bool reset_peak);

/* --- life of arrays: what an operation gives lives until the sweep, unless it is kept ------------------------- */
hone_mx hone_mx_keep(hone_mx_session *s, hone_mx x);
/* kept becomes x and stays the same number; x may be 0 after a failure (then nothing changes). */
void    hone_mx_assign(hone_mx_session *s, hone_mx kept, hone_mx x);
void    hone_mx_drop(hone_mx_session *s, hone_mx x); /* its number stays taken until the sweep; a kept one's for good */
void    hone_mx_sweep(hone_mx_session *s);
void    hone_mx_eval(hone_mx_session *s, const hone_mx *x, size_t n);
/* Computes x as float32; the values stay valid until x is dropped.  NULL after a failure. */
const float   *hone_mx_read(hone_mx_session *s, hone_mx x);
const int32_t *hone_mx_read_i32(hone_mx_session *s, hone_mx x);

/* --- where arrays come from --------------------------------------------------------------------------------------- */
/* The tensors of a safetensors file can be had by name until the files are closed; they are read when they are computed. */
void    hone_mx_file_open(hone_mx_session *s, const char *path);
hone_mx hone_mx_file_tensor(hone_mx_session *s, const char *name);
void    hone_mx_files_close(hone_mx_session *s);
/* Copies of values [product of dims]. */
hone_mx hone_mx_f32(hone_mx_session *s, const float *values, const int *dims, size_t n_dims);
hone_mx hone_mx_i32(hone_mx_session *s, const int32_t *values, const int *dims, size_t n_dims);
hone_mx hone_mx_bool(hone_mx_session *s, const uint8_t *values, const int *dims, size_t n_dims);
hone_mx hone_mx_zeros(hone_mx_session *s, const int *dims, size_t n_dims, hone_mx_type t);

/* --- operations ------------------------------------------------------------------------------------------------------ */
hone_mx hone_mx_cast(hone_mx_session *s, hone_mx x, hone_mx_type t);
hone_mx hone_mx_like(hone_mx_session *s, hone_mx x, hone_mx model); /* x in the type of model */
hone_mx hone_mx_reshape(hone_mx_session *s, hone_mx x, const int *dims, size_t n_dims);
hone_mx hone_mx_transpose(hone_mx_session *s, hone_mx x, const int *axes, size_t n_axes);
hone_mx hone_mx_slice(hone_mx_session *s, hone_mx x, int axis, int from, int to); /* axis < 0: from the end */
hone_mx hone_mx_put(hone_mx_session *s, hone_mx x, hone_mx part, int axis, int from); /* x with part written over its place */
hone_mx hone_mx_concat(hone_mx_session *s, const hone_mx *x, size_t n, int axis);
hone_mx hone_mx_take(hone_mx_session *s, hone_mx x, hone_mx indices, int axis);
hone_mx hone_mx_take_along(hone_mx_session *s, hone_mx x, hone_mx indices, int axis);
hone_mx hone_mx_apply(hone_mx_session *s, hone_mx_unary op, hone_mx x);
hone_mx hone_mx_combine(hone_mx_session *s, hone_mx_binary op, hone_mx x, hone_mx y);
hone_mx hone_mx_scale(hone_mx_session *s, hone_mx x, double number); /* in x's type */
hone_mx hone_mx_offset(hone_mx_session *s, hone_mx x, double number);
hone_mx hone_mx_where(hone_mx_session *s, hone_mx mask, hone_mx x, double otherwise);
hone_mx hone_mx_sum(hone_mx_session *s, hone_mx x, int axis, bool keep);
hone_mx hone_mx_softmax(hone_mx_session *s, hone_mx x); /* last axis, sums in float32 */
hone_mx hone_mx_descending(hone_mx_session *s, hone_mx x); /* indices that sort the last axis, the first among equals first */
hone_mx hone_mx_matmul(hone_mx_session *s, hone_mx x, hone_mx y);
/* x . m^T, quantised or not; and the same with matrix which[i] of a stack for each row of x. */
hone_mx hone_mx_linear(hone_mx_session *s, hone_mx x, const hone_mx_matrix *m);
hone_mx hone_mx_gather(hone_mx_session *s, hone_mx x, const hone_mx_matrix *m, hone_mx which);
/* Rows of m by index, decoded, in type t. */
hone_mx hone_mx_rows(hone_mx_session *s, const hone_mx_matrix *m, hone_mx indices, hone_mx_type t);
hone_mx hone_mx_rms_norm(hone_mx_session *s, hone_mx x, hone_mx weight, double eps); /* weight 0: none */
hone_mx hone_mx_layer_norm(hone_mx_session *s, hone_mx x, hone_mx weight, hone_mx bias, double eps);
/* x [batch, heads, seq, head_dim]; pairs (i, i + dim/2) turn by (position / period[i]), positions from `first` on. */
hone_mx hone_mx_rope(hone_mx_session *s, hone_mx x, int dim, int first, hone_mx period);
/* q [batch, heads, seq, d], k and v [batch, kv_heads, total, d]; mask [seq, total] of bool, or 0; causal: mask 0, the last q sees all of k. */
hone_mx hone_mx_attention(hone_mx_session *s, hone_mx q, hone_mx k, hone_mx v, double scale, hone_mx mask, bool causal);

#ifdef __cplusplus
}
#endif
#endif
