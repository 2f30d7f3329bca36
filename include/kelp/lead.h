/* SPDX-License-Identifier: Apache-2.0 */
/* lead.h - who leads: what a node knows of it, as a state and as events; waiting for it; moving it.
 *
 * The state is a level: read it whenever you like, from any thread. Its sequence number grows by
 * one with every event, and every event is told exactly once, in order, to options.lead. So whoever
 * acts on events and whoever looks now and then can be compared: the same number, the same state.
 *
 *   ELECTED   this node won the election of a term. Others may have committed more than it has
 *             applied: do not read your state machine as the newest yet
 *   READY     it has applied an entry of that term, and so everything that was committed before:
 *             from here to OVER its state machine is the newest there is
 *   OVER      it leads no more. Another node may have led for a while: where it matters, a
 *             linearizable read (kelp_read) asks a quorum, this does not
 *   OTHER     another node is known to lead, or none is any more
 *
 *   no leader --OTHER--> follows 2 --OTHER--> no leader --ELECTED--> leads --READY--> leads, ready
 *        ^                                        ^                    |                  |
 *        `----------------------------------------`------- OVER -------+------------------' */
#ifndef KELP_LEAD_H
#define KELP_LEAD_H

#include "kelp/types.h"

struct kelp_node;
struct kelp_result;

enum kelp_lead_event {
    KELP_LEAD_ELECTED = 1,
    KELP_LEAD_READY = 2,
    KELP_LEAD_OVER = 3,
    KELP_LEAD_OTHER = 4,
};

struct kelp_leadership {
    uint64_t sequence; /* of the last event; 0: there was none yet */
    kelp_term term;    /* the node's, at that event; that of ELECTED until OVER */
    kelp_id leader;    /* 0: none is known */
    bool leads;        /* this node, in term */
    bool ready;        /* .. and READY was told */
};

/* Called by one of the node's threads, once per event; must not block and must not wait for the
 * node. What it submits is taken up afterwards. */
typedef void (*kelp_lead_fn)(void *ctx, enum kelp_lead_event event,
                             const struct kelp_leadership *now);

enum kelp_await {
    KELP_AWAIT_LEADER = 1, /* some node is known to lead */
    KELP_AWAIT_READY = 2,  /* this node leads and is ready */
    KELP_AWAIT_NEWS = 3,   /* the sequence number is above the one named */
};

/* Called once per request, by the node's thread that owns the state machine; must not block. */
typedef void (*kelp_done_fn)(void *ctx, uint64_t token, const struct kelp_result *result);

/* kelp_leadership - what this node knows now of who leads.
 * takes    node    not NULL
 *          out     filled
 * thread   any, callbacks too   cost  O(1), never waits for the node   source  [§6.3] */
KELP_API void kelp_leadership(struct kelp_node *node, struct kelp_leadership *out);

/* kelp_await - be told when it is so, at the latest when the time is over.
 * takes    node     not NULL
 *          what     enum kelp_await; sequence is looked at for NEWS only
 *          timeout  from now on; 0: only what is so already
 *          token, done, ctx   as kelp_propose
 * outcome  once: DONE with leader, and pos.term its term; REFUSED with TIMEOUT, with NO_LEADER if
 *          none is known by then, with REMOVED (not of NEWS), with SHUTDOWN
 * thread   any   cost  O(waiting)   source  - */
KELP_API void kelp_await(struct kelp_node *node, enum kelp_await what, uint64_t sequence,
                         kelp_ns timeout, uint64_t token, kelp_done_fn done, void *ctx);

/* kelp_await_call - kelp_await that waits.
 * takes    node, what, sequence, timeout   as kelp_await
 *          out     what is known afterwards, also on error
 * errors   KELP_E_BUSY when it was not so in time
 * thread   any but the node's own   cost  waits up to timeout   source  - */
KELP_API enum kelp_error kelp_await_call(struct kelp_node *node, enum kelp_await what,
                                         uint64_t sequence, kelp_ns timeout,
                                         struct kelp_leadership *out);

/* kelp_transfer - hand leadership over, whoever leads now.
 * takes    node    not NULL; asks the leader if it does not lead
 *          target  a voter, 0: the best one
 *          token, done, ctx   as kelp_propose; token not 0
 * outcome  once: DONE, a leader of a later term was seen, result->leader names it, and it may be
 *          another than the target; REFUSED, nobody was told to stand; UNKNOWN, who was told may
 *          still win. An election timeout after it began at the latest, or at the request timeout
 * thread   any   cost  O(1)   source  [§3.10] */
KELP_API void kelp_transfer(struct kelp_node *node, kelp_id target, uint64_t token,
                            kelp_done_fn done, void *ctx);

/* kelp_transfer_cancel - end the open transfers with this token that were asked for here: REFUSED
 * CANCELLED if nobody was told to stand, else UNKNOWN CANCELLED. Without one nothing happens.
 * takes    node    not NULL
 *          token   of kelp_transfer; those of kelp_transfer_call have none and are never meant
 * thread   any   cost  O(open transfers)   source  [§3.10] */
KELP_API void kelp_transfer_cancel(struct kelp_node *node, uint64_t token);

/* kelp_transfer_call - kelp_transfer that waits.
 * takes    node, target   as kelp_transfer
 *          result  filled
 * errors   KELP_OK exactly when the outcome is DONE; KELP_E_BUSY otherwise
 * thread   any but the node's own   cost  waits up to the request timeout   source  [§3.10] */
KELP_API enum kelp_error kelp_transfer_call(struct kelp_node *node, kelp_id target,
                                            struct kelp_result *result);

#endif
