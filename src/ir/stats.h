/* stats.h - what was seen at the inputs of weight matrices while calibration text ran: importance, ranges, Hessians.
 * A linear layer y = W x sees rows x; in a matrix of experts each expert sees its own.  Knows no file: formats/gguf/imatrix.h reads and writes them. */
#ifndef HONE_IR_STATS_H
#define HONE_IR_STATS_H
#include "base/err.h"
#include "ir/role.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct hone_input_stats {
    hone_role       role; /* of the weight: ATTN_Q, FFN_DOWN_EXPS, OUTPUT (also when it is tied to TOK_EMBD), ... */
    int32_t         layer; /* -1: not of a layer */
    uint32_t        n_mats, n_cols; /* n_mats: experts, else 1 */
    const float    *sum_sq;  /* [n_mats, n_cols] sums of squares over all rows x */
    const float    *sum_abs; /* [n_mats, n_cols] sums of magnitudes, or NULL: not collected (llama-imatrix does not) */
    const float    *max_abs; /* [n_mats, n_cols], or NULL */
    const float    *sum;     /* [n_mats, n_cols] sums with their signs, or NULL: not collected (llama-imatrix, and hone before it corrected biases) */
    const uint64_t *counts;  /* [n_mats] rows seen; 0: a cold expert, whose statistics mean nothing */
    bool            hessian; /* sums of x x^T can be read */
} hone_input_stats;

typedef struct hone_stats {
    const hone_input_stats *inputs; /* [n_inputs] */
    size_t                  n_inputs;
    const char             *path;       /* where they were read from, or NULL */
    char                    sha256[65]; /* of that file, or "" */
    /* out: [n_cols, n_cols] sums of x x^T of matrix mat, symmetric.  Thread-safe.  NULL when no input has .hessian. */
    hone_code (*hessian)(const struct hone_stats *s, const hone_input_stats *in, uint32_t mat, float *out, hone_err *err);
    void                   *self;
} hone_stats;

/* Statistics of the input of a weight; NULL when there are none.  Weights that multiply the same input stand in for each other: Q, K, V and QKV;
 * GATE, UP and GATE_UP; the same of experts. */
const hone_input_stats *hone_stats_find(const hone_stats *s, hone_role role, int32_t layer);
/* Whether the weights of two roles in one layer multiply the same input. */
bool hone_role_shares_input(hone_role a, hone_role b);
/* Whether s was seen in m: m has every weight that s knows, in the same shape.
 * HONE_EINPUT names the first that disagrees. */
struct hone_model;
hone_code hone_stats_check(const hone_stats *s, const struct hone_model *m, hone_err *err);
/* out: [n_cols] mean squares of one matrix's input, sum_sq / counts.  A cold expert gets those of all rows that the layer's other experts saw, and 1
 * everywhere when nobody saw any. */
void hone_stats_mean_sq(const hone_input_stats *in, uint32_t mat, float *out);
#endif
