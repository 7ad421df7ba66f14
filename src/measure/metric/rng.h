/* rng.h - a small generator with a fixed sequence for a seed, the same on every machine: xoshiro256** seeded by splitmix64.
 * Source: D. Blackman, S. Vigna, "Scrambled linear pseudorandom number generators", arXiv:1805.01407. */
#ifndef HONE_MEASURE_METRIC_RNG_H
#define HONE_MEASURE_METRIC_RNG_H
#include <stdint.h>

typedef struct hone_rng {
    uint64_t s[4];
} hone_rng;

static inline uint64_t hone_splitmix64(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline hone_rng hone_rng_seeded(uint64_t seed)
{
    hone_rng r;
    for (int i = 0; i < 4; i++) r.s[i] = hone_splitmix64(&seed);
    return r;
}

static inline uint64_t hone_rng_next(hone_rng *r)
{
    uint64_t x = r->s[1] * 5, out = ((x << 7) | (x >> 57)) * 9, t = r->s[1] << 17;
    r->s[2] ^= r->s[0];
    r->s[3] ^= r->s[1];
    r->s[1] ^= r->s[2];
    r->s[0] ^= r->s[3];
    r->s[2] ^= t;
    r->s[3] = (r->s[3] << 45) | (r->s[3] >> 19);
    return out;
}

/* Uniform in 0..n-1 (n > 0), without bias: draws from the incomplete last stretch of the range are thrown away. */
static inline uint64_t hone_rng_below(hone_rng *r, uint64_t n)
{
    uint64_t reject = (0 - n) % n; /* 2^64 mod n */
    for (;;) {
        uint64_t x = hone_rng_next(r);
        if (x >= reject) return x % n;
    }
}
#endif
