#include "hw/bandwidth.h"
#include "base/arena.h"
#include "base/pool.h"
#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

enum { ROUNDS = 3, MIB = 1 << 20 };

typedef struct slice {
    double   from_s, to_s;
    uint64_t sum; /* kept, so that the reads are not thrown away */
} slice;

typedef struct job {
    const uint64_t *words;
    size_t          n_words, n_slices;
    slice          *slices;
    uint64_t       *fill; /* non-NULL: write instead of read (first touch by the thread that reads later) */
} job;

static double now_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static hone_code pass(void *user, size_t index, unsigned worker, hone_err *err)
{
    job   *j = user;
    size_t per = j->n_words / j->n_slices / 8 * 8;
    size_t from = index * per, to = from + per;
    (void)worker;
    (void)err;
    if (j->fill) {
        for (size_t i = from; i < to; i++) j->fill[i] = i;
        return HONE_OK;
    }
    /* Eight independent sums keep enough loads in flight to be bound by memory, not by the adder. */
    uint64_t s[8] = { 0 };
    double   t0 = now_s();
    for (size_t i = from; i < to; i += 8)
        for (size_t k = 0; k < 8; k++) s[k] += j->words[i + k];
    j->slices[index].to_s = now_s();
    j->slices[index].from_s = t0;
    j->slices[index].sum = s[0] + s[1] + s[2] + s[3] + s[4] + s[5] + s[6] + s[7];
    return HONE_OK;
}

/* From the first slice's start to the last one's end: what all of them did together. */
static hone_code best_of(const hone_ctx *ctx, job *j, unsigned threads, double *gb_s, hone_err *err)
{
    hone_ctx mine = { .threads = threads, .cancel = ctx ? ctx->cancel : NULL };
    double   best = 0;
    j->n_slices = threads;
    for (int round = 0; round < ROUNDS; round++) {
        HONE_TRY(hone_pool_run(&mine, threads, pass, j, err));
        double from = j->slices[0].from_s, to = j->slices[0].to_s;
        for (unsigned i = 1; i < threads; i++) {
            if (j->slices[i].from_s < from) from = j->slices[i].from_s;
            if (j->slices[i].to_s > to) to = j->slices[i].to_s;
        }
        double bytes = (double)(j->n_words / threads / 8 * 8 * threads) * sizeof(uint64_t);
        if (to > from && bytes / (to - from) > best) best = bytes / (to - from);
    }
    if (!(best > 0)) return HONE_FAIL(err, HONE_ERESOURCE, "", "the clock did not move during the measurement");
    *gb_s = best / 1e9;
    return HONE_OK;
}

hone_code hone_bandwidth_measure(const hone_ctx *ctx, uint64_t llc_bytes, uint64_t room_bytes, unsigned threads, hone_bandwidth *out,
                                 hone_err *err)
{
    uint64_t llc = llc_bytes ? llc_bytes : (uint64_t)64 * MIB;
    uint64_t want = llc > HONE_BANDWIDTH_MAX / 5 ? HONE_BANDWIDTH_MAX : 5 * llc;
    if (want < (uint64_t)64 * MIB) want = (uint64_t)64 * MIB;
    if (threads == 0) threads = 1;
    if (want > room_bytes / 4)
        return HONE_FAIL(err, HONE_ERESOURCE, "free memory", "the buffer of %" PRIu64 " bytes is over a quarter of the %" PRIu64
                         " bytes available", want, room_bytes);
    slice *slices = calloc(threads, sizeof *slices);
    void  *buf = mmap(NULL, (size_t)want, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!slices || buf == MAP_FAILED) {
        free(slices);
        if (buf != MAP_FAILED) (void)munmap(buf, (size_t)want);
        return HONE_NOMEM(err, "the bandwidth measurement");
    }
    (void)madvise(buf, (size_t)want, MADV_HUGEPAGE); /* fewer page walks; fine when refused */
    job       j = { .words = buf, .n_words = (size_t)want / sizeof(uint64_t), .n_slices = threads, .slices = slices, .fill = buf };
    hone_ctx  mine = { .threads = threads, .cancel = ctx ? ctx->cancel : NULL };
    hone_code code = hone_pool_run(&mine, threads, pass, &j, err);
    j.fill = NULL;
    double one = 0, all = 0;
    if (code == HONE_OK) code = best_of(ctx, &j, 1, &one, err);
    if (code == HONE_OK && threads > 1) code = best_of(ctx, &j, threads, &all, err);
    if (code == HONE_OK)
        *out = (hone_bandwidth){ .one_gb_s = one,
                                 .all_gb_s = threads > 1 ? all : one,
                                 .threads = threads,
                                 .buffer_bytes = want,
                                 .beyond_cache = llc_bytes != 0 && want / 4 > llc_bytes };
    (void)munmap(buf, (size_t)want);
    free(slices);
    return code;
}
