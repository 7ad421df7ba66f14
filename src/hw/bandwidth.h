/* bandwidth.h - how fast this machine reads memory: what bounds the decoding of a language model. */
#ifndef HONE_HW_BANDWIDTH_H
#define HONE_HW_BANDWIDTH_H
#include "base/ctx.h"
#include <stdint.h>

#define HONE_BANDWIDTH_MAX ((uint64_t)512 << 20) /* bytes; the buffer never is larger */

typedef struct hone_bandwidth {
    double   one_gb_s, all_gb_s; /* 10^9 bytes per second, best of three */
    unsigned threads;            /* of all_gb_s */
    uint64_t buffer_bytes;
    bool     beyond_cache;       /* the buffer is more than four times the last-level cache */
} hone_bandwidth;

/* Reads a buffer of 5 x llc_bytes (64 MiB..HONE_BANDWIDTH_MAX) three times with one and three times with `threads` threads.
 * llc_bytes 0: unknown, 64 MiB is assumed.  Takes well under a second on a machine of today.
 * HONE_ERESOURCE when the buffer would take more than a quarter of room_bytes, or memory is gone. */
hone_code hone_bandwidth_measure(const hone_ctx *ctx, uint64_t llc_bytes, uint64_t room_bytes, unsigned threads, hone_bandwidth *out,
                                 hone_err *err);
#endif
