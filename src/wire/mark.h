/* SPDX-License-Identifier: Apache-2.0 */
/* mark.h - what a node's state was at an index at which all nodes say so.
 *
 * The indexes are the multiples of WIRE_MARK_EVERY, so they follow from the log alone: nobody
 * agrees on them, and a leader that goes changes nothing. Members that applied the same log have
 * the same mark. */
#ifndef WIRE_MARK_H
#define WIRE_MARK_H

#include "kelp/types.h"

#define WIRE_MARK_EVERY 256u
#define WIRE_MARK_KEPT  16u /* the newest ones, of each node */

struct wire_mark {
    kelp_index index; /* 0: none */
    uint64_t chain;   /* of all entries up to it */
    uint64_t state;   /* of the machine right behind it */
};

/* wire_mark_slot - where the mark of an index stands among WIRE_MARK_KEPT. */
static inline size_t wire_mark_slot(kelp_index index)
{
    return (size_t)(index / WIRE_MARK_EVERY % WIRE_MARK_KEPT);
}

static inline bool wire_mark_due(kelp_index index)
{
    return index != 0 && index % WIRE_MARK_EVERY == 0;
}

#define WIRE_MARKS_MAX (3u + WIRE_MARK_KEPT * 24u)

/* wire_marks_encode - count of them, ascending, into WIRE_MARKS_MAX bytes; how many it takes.
 * wire_marks_decode - KELP_E_MALFORMED: damaged; *count is 0 then. */
size_t wire_marks_encode(const struct wire_mark *marks, size_t count, uint8_t *out);
enum kelp_error wire_marks_decode(struct kelp_bytes in, struct wire_mark out[WIRE_MARK_KEPT],
                                  size_t *count, struct kelp_fault *fault);

#endif
