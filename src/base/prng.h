/* SPDX-License-Identifier: Apache-2.0 */
/* prng.h - a small seeded generator (SplitMix64) for timers and simulations; never for secrets or
 * ids.
 *
 * One 64-bit state, every seed is good, the sequence is part of the simulator's replay contract:
 * changing it
 * changes what every recorded seed means. Source: Steele, Lea, Flood, "Fast splittable pseudorandom
 * number
 * generators", 2014. */
#ifndef BASE_PRNG_H
#define BASE_PRNG_H

#include <stdbool.h>
#include <stdint.h>

struct prng {
    uint64_t state;
};

static inline uint64_t prng_next(struct prng *p)
{
    uint64_t z = (p->state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* prng_below - uniform in 0..n-1, n > 0; multiply-shift, bias below 2^-32 for n < 2^32. */
static inline uint64_t prng_below(struct prng *p, uint64_t n)
{
    if (n <= UINT32_MAX) return ((prng_next(p) >> 32) * n) >> 32;
    return prng_next(p) % n;
}

/* prng_between - uniform in low..high, both included. */
static inline uint64_t prng_between(struct prng *p, uint64_t low, uint64_t high)
{
    return low + prng_below(p, high - low + 1);
}

/* prng_chance - true once in `in` times `times`. */
static inline bool prng_chance(struct prng *p, uint64_t times, uint64_t in)
{
    return prng_below(p, in) < times;
}

#endif
