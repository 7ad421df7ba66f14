/* clock.h - seconds of a clock that never jumps: for differences only. */
#ifndef HONE_BASE_CLOCK_H
#define HONE_BASE_CLOCK_H
#include <time.h>

static inline double hone_now_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail: the clock exists since Linux 2.6 */
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
#endif
