/* SPDX-License-Identifier: Apache-2.0 */
/* restore.h - a snapshot's file takes the place of the state of a whole cluster, through its log.
 *
 * Two phases, so that no crash leaves a cluster in two states. First the file is staged: BEGIN,
 * then its objects one by one, each an entry of the log, each put aside by every member beside the
 * state that goes on serving. Then COMMIT, one more entry: at its index every member takes what it
 * has staged for its state, or, where that is not what BEGIN promised, none does.
 *
 *   BEGIN id -> PART id 0, PART id 1, .. -> COMMIT id     ABORT id at any moment before
 *
 * Steps are repeated freely: a BEGIN of the restore that is staged and a PART that is there already
 * are DONE and change nothing. What is staged ends by itself with the entry that lies 10 minutes of
 * cluster time or 2^20 entries behind its last BEGIN or new PART. While something is staged no
 * member takes a snapshot, so the log is not shortened: a restart stages it again from there.
 *
 * The cluster keeps its members, its log and its clock. Deadlines keep the time that they had left
 * when the file was made, counted from BEGIN on. Sessions are not taken from the file, and those of
 * the cluster end with COMMIT: what they ask for after it is refused UNKNOWN_SESSION.
 *
 * A step that is answered REFUSED was of no effect, because of
 *   STAGED         BEGIN: another restore is staged, and FORCE was not said
 *   NOT_STAGED     the restore that is named is not staged; it was never begun, or has ended
 *   PART_MISSING   PART: not the next number and not there already; COMMIT: not all are there
 *   NOT_TAKEN      the state machine does not take it: nothing is staged any more, the state is as
 *                  it was. COMMIT: what was staged is not what BEGIN promised
 *   NOT_KNOWN_YET  a member has not shown that its version knows restores, or has shown that not
 *   PENDING        BEGIN, COMMIT: a change of the members is pending
 *   NO_SPACE       BEGIN: the leader's disk has no room for the file and the snapshot after it
 * or for any reason that a command can be refused for. */
#ifndef KELP_RESTORE_H
#define KELP_RESTORE_H

#include "kelp/lead.h"
#include "kelp/types.h"

struct kelp_node;
struct kelp_result;

enum kelp_restore_kind {
    KELP_RESTORE_BEGIN = 1,
    KELP_RESTORE_PART = 2,
    KELP_RESTORE_COMMIT = 3,
    KELP_RESTORE_ABORT = 4,
};

enum kelp_restore_flag {
    /* BEGIN: in the place of another one that is staged; members that were not seen since the
     * leader's process began count as if they knew restores */
    KELP_RESTORE_FORCE = 1,
};

#define KELP_RESTORE_OBJECT_MAX   65536u              /* bytes of a PART */
#define KELP_RESTORE_ENTRIES_MAX  (UINT64_C(1) << 20) /* without a new part, and it ends .. */
#define KELP_RESTORE_QUIET_MAX_NS (UINT64_C(600) * 1000 * 1000 * 1000) /* .. or so long */

/* One step; fields of other kinds are 0. */
struct kelp_restore_step {
    enum kelp_restore_kind kind;
    uint32_t flags;  /* enum kelp_restore_flag */
    uint64_t id;     /* 64 random bits, not 0: which restore */
    uint64_t number; /* PART: 0, 1, .. */
    /* BEGIN: how many PARTs will come, of how many bytes together */
    uint64_t objects, object_bytes;
    uint64_t time_ns;      /* BEGIN: the cluster clock when the file was made; 0: not known */
    uint64_t wall_unix_ms; /* BEGIN: the time of day now; only told, it decides nothing */
    /* BEGIN: the state machine's own bytes, of the file's head; PART: the object */
    struct kelp_bytes bytes;
};

enum kelp_restore_end {
    KELP_RESTORE_NONE = 0, /* none has ended since this process began, as far as it applied */
    KELP_RESTORE_COMMITTED = 1,
    KELP_RESTORE_ABORTED = 2,  /* by ABORT, or for another one that was begun with FORCE */
    KELP_RESTORE_LAPSED = 3,   /* no part came for too long */
    KELP_RESTORE_UNTAKEN = 4,  /* the state machine did not take it */
    KELP_RESTORE_REPLACED = 5, /* this member installed a snapshot of a later state */
};

/* kelp_restore_end_name - none, committed, aborted, lapsed, not-taken or replaced.
 * takes    end     any value; an unknown one gets "unknown"
 * returns  static text, never NULL
 * thread   any   cost  O(1)   source  - */
KELP_API const char *kelp_restore_end_name(enum kelp_restore_end end);

/* What a member has staged, and how the last one ended that it applied. A member that is behind
 * knows less. */
struct kelp_restore_status {
    uint64_t id;                                 /* 0: none is staged */
    uint64_t next, objects, bytes, object_bytes; /* next: the number of the PART that comes next */
    kelp_index index;                            /* of its BEGIN */
    uint64_t ended_id;                           /* 0: none has */
    enum kelp_restore_end end;
    kelp_index ended_at; /* by this entry */
};

/* kelp_restore - ask for one step. Several may be under way: they take effect in the order in which
 * they were asked for, but those that are refused.
 * takes    node    not NULL
 *          step    its bytes are copied; one that has no form is REFUSED NOT_TAKEN
 *          token, done, ctx   as kelp_propose
 * thread   any   cost  O(bytes), one entry in the log   source  - */
KELP_API void kelp_restore(struct kelp_node *node, const struct kelp_restore_step *step,
                           uint64_t token, kelp_done_fn done, void *ctx);

/* kelp_restore_call - kelp_restore that waits; as kelp_call.
 * thread   any but the node's own   cost  waits up to the request timeout   source  - */
KELP_API enum kelp_error kelp_restore_call(struct kelp_node *node,
                                           const struct kelp_restore_step *step,
                                           struct kelp_result *result);

/* kelp_restore_look - what is staged on this node, as far as it has applied.
 * errors   KELP_OK; KELP_E_BUSY: it stops, or has no memory
 * thread   any but the node's own   cost  a turn of its loop   source  - */
KELP_API enum kelp_error kelp_restore_look(struct kelp_node *node, struct kelp_restore_status *out);

#endif
