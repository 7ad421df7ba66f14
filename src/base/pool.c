#include "base/pool.h"
#include "base/bytes.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

typedef struct run {
    const hone_ctx *ctx;
    size_t          n;
    hone_job        job;
    void           *user;
    atomic_size_t   next;
    atomic_bool     stop;
    pthread_mutex_t lock; /* guards the three below */
    size_t          failed_at;
    hone_code       code;
    hone_err        err;
} run;

typedef struct worker {
    run     *r;
    unsigned id;
} worker;

static void *work(void *arg)
{
    worker *w = arg;
    run    *r = w->r;
    while (!atomic_load(&r->stop)) {
        size_t i = atomic_fetch_add(&r->next, 1);
        if (i >= r->n) break;
        hone_err  err = { 0 };
        hone_code code =
            hone_ctx_cancelled(r->ctx) ? HONE_INTERRUPTED(&err) : r->job(r->user, i, w->id, &err);
        if (code == HONE_OK) continue;
        (void)pthread_mutex_lock(&r->lock);
        if (r->code == HONE_OK || i < r->failed_at) {
            r->code = code;
            r->failed_at = i;
            r->err = err;
        }
        (void)pthread_mutex_unlock(&r->lock);
        atomic_store(&r->stop, true);
    }
    return NULL;
}

hone_code hone_pool_run(const hone_ctx *ctx, size_t n, hone_job job, void *user, hone_err *err)
{
    run      r = { .ctx = ctx, .n = n, .job = job, .user = user };
    unsigned want = hone_ctx_threads(ctx);
    if (want > n) want = n ? (unsigned)n : 1;
    if (pthread_mutex_init(&r.lock, NULL) != 0) return HONE_FAIL(err, HONE_ERESOURCE, "", "cannot make a lock");
    pthread_t *threads = calloc(want, sizeof *threads);
    worker    *workers = calloc(want, sizeof *workers);
    unsigned   started = 0;
    if (!threads || !workers) {
        free(threads);
        free(workers);
        (void)pthread_mutex_destroy(&r.lock);
        return HONE_FAIL(err, HONE_ERESOURCE, "", "out of memory for %u threads", want);
    }
    for (unsigned i = 0; i < want; i++) workers[i] = (worker){ &r, i };
    /* The caller is worker 0; when the system refuses more threads we go on with those we have. */
    for (unsigned i = 1; i < want; i++, started++)
        if (pthread_create(&threads[i], NULL, work, &workers[i]) != 0) break;
    (void)work(&workers[0]);
    for (unsigned i = 1; i <= started; i++) (void)pthread_join(threads[i], NULL);
    (void)pthread_mutex_destroy(&r.lock);
    free(threads);
    free(workers);
    if (r.code != HONE_OK && err) *err = r.err;
    return r.code;
}
