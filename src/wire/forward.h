/* SPDX-License-Identifier: Apache-2.0 */
/* forward.h - a request sent on from a follower to its leader, and the leader's answer. */
#ifndef WIRE_FORWARD_H
#define WIRE_FORWARD_H

#include "kelp/types.h"

enum wire_forward_kind {
    WIRE_FORWARD_WRITE = 1,
    WIRE_FORWARD_READ = 2,
    WIRE_FORWARD_TRANSFER = 3, /* command: the target's id, 8 bytes; 0: the best */
    WIRE_FORWARD_CHANGE = 4,   /* of the membership; its command is a wire_change */
    WIRE_FORWARD_PLAN = 5,     /* of a change; its command is one, its result a wire_plan */
    /* which index must be applied before a read may be answered? Without a command */
    WIRE_FORWARD_INDEX = 6,
    WIRE_FORWARD_ONCE = 7, /* a write that is executed once, or about a session: see once */
    /* a step of a restore, which is its command; only to who has WIRE_FEATURE_RESTORE */
    WIRE_FORWARD_RESTORE = 8,
};

enum wire_once {
    WIRE_ONCE_COMMAND = 1, /* the entry's session fields */
    WIRE_ONCE_SESSION = 2, /* one begins: all 0, no command */
    WIRE_ONCE_END = 3,     /* the session that is named ends: no command */
};

struct wire_forward {
    uint8_t kind;
    kelp_term term;       /* of the leader, as the sender knows it */
    uint64_t incarnation; /* the sender's */
    uint64_t start_count; /* the sender's, from its vote file */
    uint64_t number;      /* ascending per incarnation and start */
    uint64_t timeout_ns;  /* how long the sender will wait */
    uint8_t level;        /* READ, INDEX: enum kelp_read_level; not STALE, not ANY */
    bool may_round;       /* .. LEASE: without one ask a quorum */
    uint8_t once;         /* ONCE: enum wire_once */
    uint64_t session, sequence, acknowledged; /* .. as in the entry */
    struct kelp_bytes user;      /* whose rights count, at most 255 bytes, may be empty */
    struct kelp_bytes extension; /* for writes: travels into the entry */
    struct kelp_bytes command;
};

struct wire_forward_answer {
    uint64_t number;
    uint8_t outcome; /* enum kelp_outcome */
    uint16_t reason; /* enum kelp_reason */
    kelp_id leader;  /* a hint, with NOT_LEADER */
    struct kelp_pos pos;
    kelp_id member;           /* a change refused for a member: which */
    struct kelp_bytes result; /* DONE: the state machine's reply; INDEX: the leader's clock */
};

#define WIRE_FORWARD_TRANSFER_BYTES 8u   /* the command of a transfer */
#define WIRE_FORWARD_HEAD_MAX       128u /* of either, without the byte strings */

/* The fixed part; user, extension and command (or result) follow as further parts in this order.
 * Returns its length. */
size_t wire_forward_encode(const struct wire_forward *f, uint8_t *out);
enum kelp_error wire_forward_decode(struct kelp_bytes in, struct wire_forward *out,
                                    struct kelp_fault *fault);
size_t wire_forward_answer_encode(const struct wire_forward_answer *a, uint8_t *out);
enum kelp_error wire_forward_answer_decode(struct kelp_bytes in, struct wire_forward_answer *out,
                                           struct kelp_fault *fault);

#endif
