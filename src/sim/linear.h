/* SPDX-License-Identifier: Apache-2.0 */
/* linear.h - is the history of one register with unique values linearizable?
 *
 * The interval test: all operations on one value (its write and the reads that returned it) form a
 * zone from the first return to the last call. Zones whose first return comes before their last
 * call must not overlap, and no other zone may lie wholly inside one. O(n log n), exact for
 * registers whose written values are all different. Source: Gibbons and Korach, "Testing shared
 * memories", 1997. */
#ifndef SIM_LINEAR_H
#define SIM_LINEAR_H

#include "kelp/types.h"

struct linear_operation {
    kelp_ns call, back; /* back KELP_NEVER: the outcome is not known */
    uint64_t value;     /* written or returned; 0: the value before any write */
    bool read;
};

enum linear_verdict {
    LINEAR_GOOD = 0,
    LINEAR_READ_OF_NOTHING = 1,   /* a read returned what nobody wrote */
    LINEAR_READ_BEFORE_WRITE = 2, /* a read returned before its write was called */
    LINEAR_ZONES_OVERLAP = 3,     /* two values were each seen before and after the other */
    LINEAR_ZONE_INSIDE = 4,       /* a value came and went while another one stayed */
    LINEAR_WRITTEN_TWICE = 5,     /* the recorder is broken: values are not unique */
    LINEAR_BACKWARDS = 6,         /* the recorder is broken: an operation returns before its call */
    LINEAR_NO_MEMORY = 7,
};

/* linear_check - judge the history of one register. Reads of unknown outcome must be left out; the
 * array is reordered. values: set to the one or two values concerned, 0 if none. */
enum linear_verdict linear_check(struct linear_operation *operations, size_t count,
                                 uint64_t values[2]);

/* linear_words - the verdict as a clause for people. */
const char *linear_words(enum linear_verdict verdict);

#endif
