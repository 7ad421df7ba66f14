/* net_scaled.h - a constant times one factor per channel, made when its bytes are asked for: what folding and smoothing leave of weights. */
#ifndef HONE_PASSES_NET_SCALED_H
#define HONE_PASSES_NET_SCALED_H
#include "ir/net.h"

typedef struct hone_net_scaled { /* element [o, c, i] of outer x channels x inner times a[(o / period) * channels + c] */
    const hone_net_tensor *of;   /* f32 */
    const double          *a;    /* in the net's arena */
    uint64_t               outer, channels, inner;
    uint64_t               period; /* 0: the outer ones share the factors, else this many do: a group of a convolution has its own channels */
} hone_net_scaled;

/* A constant of a fresh name with that content, `of`'s type and shape; NULL: memory is gone. */
hone_net_value *hone_net_scaled_new(hone_net *net, const char *stem, const hone_net_scaled *how);
#endif
