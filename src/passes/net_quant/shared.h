/* shared.h - what the quantising passes of a network share. */
#ifndef HONE_PASSES_NET_QUANT_SHARED_H
#define HONE_PASSES_NET_QUANT_SHARED_H
#include "passes/net_quant.h"
#include <stdarg.h>
#include <stdio.h>

#define HONE_NET_CONV_DIMS 8

typedef enum hone_net_weight_kind { HONE_NETW_CONV, HONE_NETW_DECONV, HONE_NETW_GEMM, HONE_NETW_MATMUL, HONE_NETW_TABLE, HONE_NETW_RECURRENT } hone_net_weight_kind;
typedef struct hone_net_weight { /* a constant of f32 that a node multiplies with, or takes rows of: outer x channels x inner elements */
    hone_net_node         *node;
    uint32_t               slot, axis; /* axis: of the channels that have a scale each */
    hone_net_value        *value;
    const hone_net_tensor *t;
    hone_net_weight_kind   kind;
    uint64_t               outer, channels, inner;
} hone_net_weight;

/* False: that input is no such weight. */
bool            hone_net_weight_of(hone_net_node *n, uint32_t slot, hone_net_weight *w);
/* *out: largest magnitude of each channel / 127, in the arena; NULL when a number is not finite. */
hone_code       hone_net_channel_scales(hone_net *net, const hone_net_weight *w, float **out, hone_err *err);
/* round(w / scale) as i8, or + 128 as u8; in the weight's shape. */
hone_net_value *hone_net_codes8(hone_net *net, const hone_net_weight *w, const float *scale, int32_t type);
hone_net_value *hone_net_floats_new(hone_net *net, const char *stem, const uint64_t *dims, uint32_t n_dims, const float *x);
/* Adds a note unless it is there already. */
void            hone_net_note(hone_net *net, hone_net_quanted *q, const char *fmt, ...) HONE_PRINTF(3, 4);
const char     *hone_net_called(const hone_net_node *n);
#endif
