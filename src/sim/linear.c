/* SPDX-License-Identifier: Apache-2.0 */
/* linear.c - the interval test of linear.h. */
#include "sim/linear.h"

#include <stdlib.h>

#include "base/min.h"

struct zone {
    uint64_t value;
    kelp_ns first_back, last_call; /* forward zone: first_back < last_call */
};

static int by_value_writes_first(const void *a, const void *b)
{
    const struct linear_operation *x = a, *y = b;
    if (x->value != y->value) return x->value < y->value ? -1 : 1;
    if (x->read != y->read) return x->read ? 1 : -1;
    return 0;
}

static int by_start(const void *a, const void *b)
{
    const struct zone *x = a, *y = b;
    if (x->first_back != y->first_back) return x->first_back < y->first_back ? -1 : 1;
    if (x->last_call != y->last_call) return x->last_call < y->last_call ? -1 : 1;
    return 0;
}

static bool zone_forward(const struct zone *z)
{
    return z->first_back < z->last_call;
}

/* One zone per value that was seen; a write of unknown outcome that nobody read did not happen as
 * far as anybody can tell, so it makes none. */
static enum linear_verdict zones_make(const struct linear_operation *operations, size_t count,
                                      struct zone *zones, size_t *zone_count, uint64_t *wrong)
{
    *zone_count = 0;
    for (size_t i = 0, end; i < count; i = end) {
        uint64_t value = operations[i].value;
        *wrong = value;
        /* The value before any write was written before everything. */
        struct zone zone = {value, value == 0 ? 0 : KELP_NEVER, 0};
        kelp_ns write_call = 0;
        end = i;
        if (value != 0) {
            if (operations[i].read) return LINEAR_READ_OF_NOTHING;
            write_call = operations[i].call;
        }
        for (; end < count && operations[end].value == value; end++) {
            const struct linear_operation *o = &operations[end];
            if (o->back < o->call) return LINEAR_BACKWARDS;
            if (!o->read && (end > i || value == 0)) return LINEAR_WRITTEN_TWICE;
            if (o->read && o->back < write_call) return LINEAR_READ_BEFORE_WRITE;
            zone.first_back = min_u64(zone.first_back, o->back);
            zone.last_call = max_u64(zone.last_call, o->call);
        }
        if (zone.first_back != KELP_NEVER) zones[(*zone_count)++] = zone;
    }
    *wrong = 0;
    return LINEAR_GOOD;
}

/* Forward zones first, by start. */
static size_t zones_sort(struct zone *zones, size_t count)
{
    size_t forward = 0;
    for (size_t i = 0; i < count; i++) {
        if (!zone_forward(&zones[i])) continue;
        struct zone swap = zones[forward];
        zones[forward++] = zones[i];
        zones[i] = swap;
    }
    qsort(zones, forward, sizeof *zones, by_start);
    return forward;
}

static enum linear_verdict zones_judge(const struct zone *zones, size_t forward, size_t count,
                                       uint64_t values[2])
{
    for (size_t i = 1; i < forward; i++) {
        if (zones[i].first_back < zones[i - 1].last_call) {
            values[0] = zones[i - 1].value;
            values[1] = zones[i].value;
            return LINEAR_ZONES_OVERLAP;
        }
    }
    for (size_t i = forward; i < count; i++) {
        /* The only forward zone that can hold it is the last one that starts before it. */
        size_t low = 0, high = forward;
        while (low < high) {
            size_t middle = (low + high) / 2;
            if (zones[middle].first_back < zones[i].last_call)
                low = middle + 1;
            else
                high = middle;
        }
        if (low > 0 && zones[i].first_back < zones[low - 1].last_call) {
            values[0] = zones[low - 1].value;
            values[1] = zones[i].value;
            return LINEAR_ZONE_INSIDE;
        }
    }
    return LINEAR_GOOD;
}

enum linear_verdict linear_check(struct linear_operation *operations, size_t count,
                                 uint64_t values[2])
{
    values[0] = values[1] = 0;
    if (count == 0) return LINEAR_GOOD;
    struct zone *zones = malloc(count * sizeof *zones);
    if (zones == NULL) return LINEAR_NO_MEMORY;
    qsort(operations, count, sizeof *operations, by_value_writes_first);
    size_t zone_count;
    enum linear_verdict verdict = zones_make(operations, count, zones, &zone_count, &values[0]);
    if (verdict == LINEAR_GOOD) {
        size_t forward = zones_sort(zones, zone_count);
        verdict = zones_judge(zones, forward, zone_count, values);
    }
    free(zones);
    return verdict;
}

const char *linear_words(enum linear_verdict verdict)
{
    switch (verdict) {
    case LINEAR_GOOD: return "linearizable";
    case LINEAR_READ_OF_NOTHING: return "a read returned what nobody wrote";
    case LINEAR_READ_BEFORE_WRITE: return "a read returned a value before its write was called";
    case LINEAR_ZONES_OVERLAP: return "two values were each seen before and after the other";
    case LINEAR_ZONE_INSIDE: return "a value came and went while another one stayed";
    case LINEAR_WRITTEN_TWICE: return "a value was written twice";
    case LINEAR_BACKWARDS: return "an operation returned before its call";
    case LINEAR_NO_MEMORY: return "out of memory";
    }
    return "unknown verdict";
}
