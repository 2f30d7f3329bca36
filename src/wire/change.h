/* SPDX-License-Identifier: Apache-2.0 */
/* change.h - a change of the membership with its addresses <-> bytes: what a follower forwards. */
#ifndef WIRE_CHANGE_H
#define WIRE_CHANGE_H

#include "kelp/change.h"
#include "wire/config.h"

#define WIRE_CHANGE_NUMBER_MAX (UINT64_C(1) << 62) /* of an id and of if_index; wire.h's */

struct wire_edit {
    kelp_id id;                  /* ADD: 0 is the next free one, for a node that waits for an id */
    uint8_t verb, role;          /* enum kelp_edit_verb, enum kelp_member_role */
    uint8_t priority;            /* PRIORITY only */
    struct wire_address address; /* "": none is named; ADD: that of the node which knocks */
};

struct wire_change {
    uint32_t flags; /* enum kelp_change_flag */
    uint32_t count;
    kelp_index if_index;
    struct wire_edit edits[KELP_MEMBERS_MAX];
};

#define WIRE_CHANGE_BYTES_MAX (18u + KELP_MEMBERS_MAX * (10u + WIRE_ADDRESS_MAX))

/* wire_change_sound - has it the form that may be encoded? */
bool wire_change_sound(const struct wire_change *c);

/* wire_change_encode - write at most WIRE_CHANGE_BYTES_MAX bytes; returns how many. */
size_t wire_change_encode(const struct wire_change *c, uint8_t *out);

/* wire_change_decode - read and check: count in range, verbs and flags known, an address where the
 * verb takes one and nowhere else. What it means is judged where it is carried out. */
enum kelp_error wire_change_decode(struct kelp_bytes in, struct wire_change *out,
                                   struct kelp_fault *fault);

#endif
