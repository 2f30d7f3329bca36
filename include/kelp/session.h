/* SPDX-License-Identifier: Apache-2.0 */
/* session.h - exactly once: a command that is asked for again takes no effect a second time. [§6.3]
 *
 * A client whose attempt ended UNKNOWN does not know whether its command was executed. In a session
 * it may ask again, at any node and as often as it likes: the cluster keeps, as part of what it
 * replicates, which sequences of the session were executed and with what result, and answers a
 * repeated one with that result.
 *
 *   open a session -> id      propose 1, 2, 3 .. in it, several at a time if that is wanted
 *                             ask again for the same number while its outcome is not known
 *                             say which numbers one has the answers to: these are forgotten
 *
 * Sequences begin at 1 and ascend; gaps are fine, and so is any order in which they arrive. A
 * session may also be replaced by a key: 128 bits that the client made for one command.
 *
 * What an attempt is answered, beside DONE with the result of the one execution:
 *   REFUSED UNKNOWN_SESSION  not executed, now: the session was never opened or has ended. Of
 *                            earlier attempts nothing is known any more
 *   REFUSED SEQUENCE_OVER    not executed now, but before, or given up: at or below what was
 *                            acknowledged, or so old or large that its result is not kept
 *   REFUSED ONCE_MISUSED     not executed: the number or key is that of another command
 *   any other                speaks of this attempt only: an earlier one may have been executed
 *
 * Limits, equal on all members since they decide what is executed: 10,000 sessions, of which the
 * one used longest ago ends for a new one; an hour of cluster time without use; 256 results a
 * session, 65,536 results and 32 MiB of them in all sessions, and once more as much of keys; the
 * oldest goes first, and with it every number of its session below it. A result above 32 KiB is
 * not kept. A key that was forgotten is new. */
#ifndef KELP_SESSION_H
#define KELP_SESSION_H

#include "kelp/lead.h"
#include "kelp/types.h"

struct kelp_node;
struct kelp_result;

/* Which command of a session it is; or, with session 0, both halves of a key. */
struct kelp_once {
    uint64_t session;      /* 0: a key */
    uint64_t sequence;     /* 1..; a key's first half */
    uint64_t acknowledged; /* it has the answers up to here, 0: none; a key's second half */
};

/* kelp_once_key - a key made of bytes of any length: their 128-bit hash.
 * takes    key     what the client chose for one command, random or unique in another way
 * returns  what kelp_propose_once takes
 * thread   any   cost  O(bytes)   source  - */
KELP_API struct kelp_once kelp_once_key(struct kelp_bytes key);

/* kelp_session_open - open a session.
 * takes    node    not NULL
 *          token, done, ctx   as kelp_propose; DONE: result->pos.index is the session's id. Asked
 *                   again after UNKNOWN it opens another one, and the first ends by itself
 * thread   any   cost  one entry in the log   source  [§6.3] */
KELP_API void kelp_session_open(struct kelp_node *node, uint64_t token, kelp_done_fn done,
                                void *ctx);

/* kelp_session_end - end a session at once: its numbers are forgotten. Of no effect if it is not
 * there.
 * takes    session its id; 0 is none: REFUSED UNKNOWN_SESSION
 *          node, token, done, ctx   as kelp_propose
 * thread   any   cost  one entry in the log   source  [§6.3] */
KELP_API void kelp_session_end(struct kelp_node *node, uint64_t session, uint64_t token,
                               kelp_done_fn done, void *ctx);

/* kelp_propose_once - kelp_propose of a command that is executed once however often it is asked
 * for under the same number or key.
 * takes    node, command  as kelp_propose
 *          once    borrowed; acknowledged may only cover numbers that are not asked for again
 *          token, done, ctx   as kelp_propose; see above for what REFUSED says
 * thread   any   cost  O(bytes)   source  [§6.3] */
KELP_API void kelp_propose_once(struct kelp_node *node, struct kelp_bytes command,
                                const struct kelp_once *once, uint64_t token, kelp_done_fn done,
                                void *ctx);

/* kelp_session_open_call - kelp_session_open that waits.
 * takes    session set on KELP_OK
 *          result  filled
 * errors   KELP_OK exactly when the outcome is DONE; KELP_E_BUSY otherwise
 * thread   any but the node's own   cost  waits up to the request timeout   source  [§6.3] */
KELP_API enum kelp_error kelp_session_open_call(struct kelp_node *node, uint64_t *session,
                                                struct kelp_result *result);

/* kelp_call_once - kelp_propose_once that waits; as kelp_call.
 * thread   any but the node's own   cost  waits up to the request timeout   source  [§6.3] */
KELP_API enum kelp_error kelp_call_once(struct kelp_node *node, struct kelp_bytes command,
                                        const struct kelp_once *once, uint8_t *out, size_t out_size,
                                        struct kelp_result *result);

#endif
