/* SPDX-License-Identifier: Apache-2.0 */
/* hist.h - a log-linear histogram of 64-bit values: fixed size, mergeable, 1.6 % error.
 *
 * Each power of two is cut into 64 equal buckets; values below 64 are exact. HdrHistogram is not in
 * Debian 12, which is
 * why this one is ours. */
#ifndef BASE_HIST_H
#define BASE_HIST_H

#include <stdint.h>

#define HIST_SUB_BITS 6u
#define HIST_SUB      (1u << HIST_SUB_BITS)
#define HIST_BUCKETS  ((64u - HIST_SUB_BITS + 1u) * HIST_SUB)

struct hist {
    uint64_t count, sum, max;
    uint64_t buckets[HIST_BUCKETS];
};

void hist_add(struct hist *h, uint64_t value);

/* hist_merge - add everything of another one. */
void hist_merge(struct hist *h, const struct hist *other);

/* hist_percentile - a value such that per_million of the values are at or below it (its bucket's
 * upper end, at most
 * max); 0 when empty. */
uint64_t hist_percentile(const struct hist *h, uint32_t per_million);

/* hist_at_most - how many values are at or below limit, exact at bucket ends; for cumulative
 * exports. */
uint64_t hist_at_most(const struct hist *h, uint64_t limit);

#endif
