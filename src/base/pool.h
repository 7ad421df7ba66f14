/* pool.h - many like jobs on a few threads.  Results must not depend on which thread took which job. */
#ifndef HONE_BASE_POOL_H
#define HONE_BASE_POOL_H
#include "base/ctx.h"
#include <stddef.h>

/* One job.  index 0..n-1; worker 0..threads-1 (for per-thread scratch). */
typedef hone_code (*hone_job)(void *user, size_t index, unsigned worker, hone_err *err);

/* Runs n jobs on hone_ctx_threads(ctx) threads, handed out in order; returns when all ended.  After a failure or a
 * cancellation no new job starts; of several failures the one with the lowest index is reported.  threads = 1 runs in the caller. */
hone_code hone_pool_run(const hone_ctx *ctx, size_t n, hone_job job, void *user, hone_err *err);
#endif
