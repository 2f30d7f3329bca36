/* SPDX-License-Identifier: Apache-2.0 */
/* hist.c - bucket arithmetic: the top bit picks the power of two, the next six bits the bucket in
 * it. */
#include "base/hist.h"

#include "base/assert.h"
#include "base/min.h"

static uint32_t bucket_of(uint64_t value)
{
    if (value < HIST_SUB) return (uint32_t)value;
    uint32_t top = 63u - (uint32_t)__builtin_clzll(value);
    uint32_t shift = top - HIST_SUB_BITS;
    return (shift + 1) * HIST_SUB + (uint32_t)((value >> shift) - HIST_SUB);
}

/* The largest value that falls into a bucket. */
static uint64_t bucket_end(uint32_t bucket)
{
    if (bucket < HIST_SUB) return bucket;
    uint32_t shift = bucket / HIST_SUB - 1;
    uint64_t begin = (uint64_t)(HIST_SUB + bucket % HIST_SUB) << shift;
    return begin + (((uint64_t)1 << shift) - 1);
}

void hist_add(struct hist *h, uint64_t value)
{
    uint32_t bucket = bucket_of(value);
    ASSERT(bucket < HIST_BUCKETS);
    h->buckets[bucket]++;
    h->count++;
    h->sum += value;
    h->max = max_u64(h->max, value);
}

void hist_merge(struct hist *h, const struct hist *other)
{
    for (uint32_t i = 0; i < HIST_BUCKETS; i++)
        h->buckets[i] += other->buckets[i];
    h->count += other->count;
    h->sum += other->sum;
    h->max = max_u64(h->max, other->max);
}

uint64_t hist_percentile(const struct hist *h, uint32_t per_million)
{
    ASSERT(per_million <= 1000000);
    if (h->count == 0) return 0;
    uint64_t wanted =
        (uint64_t)((__extension__(unsigned __int128) h->count * per_million + 999999) / 1000000);
    uint64_t seen = 0;
    for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen >= max_u64(wanted, 1)) return min_u64(bucket_end(i), h->max);
    }
    return h->max;
}

uint64_t hist_at_most(const struct hist *h, uint64_t limit)
{
    uint64_t seen = 0;
    for (uint32_t i = 0; i < HIST_BUCKETS && bucket_end(i) <= limit; i++)
        seen += h->buckets[i];
    return seen;
}
