/* SPDX-License-Identifier: Apache-2.0 */
/* min.h - min, max and saturating arithmetic on unsigned numbers. */
#ifndef BASE_MIN_H
#define BASE_MIN_H

#include <stdint.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* add_sat - a + b, or the largest value; deadlines made of KELP_NEVER stay there. */
static inline uint64_t add_sat(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* sub_sat - a - b, or 0. */
static inline uint64_t sub_sat(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

#endif
