/* SPDX-License-Identifier: Apache-2.0 */
/* progress.h - what a leader knows of one peer's log, and what is on its way there. [§3.5]
 *
 * PROBE   one small append at a time, until one is accepted
 * STREAM  appends follow each other without waiting, up to the window
 * NEEDS_SNAPSHOT  the peer needs what is compacted here
 *
 *             accepted [progress_accepted]
 *      PROBE ------------------------------> STREAM
 *        ^  <-------------------------------   |
 *        |   refused, window lost, new link    |
 *        `--- NEEDS_SNAPSHOT <-----------------'   gone [progress_gone]
 *
 * Only this file writes flow, match, next and the window. Invariants: match < next; the window
 * holds appends of the current attempt only, ascending; PROBE and NEEDS_SNAPSHOT have an empty
 * window. */
#ifndef CORE_PROGRESS_H
#define CORE_PROGRESS_H

#include "kelp/core.h"

struct inflight {
    kelp_index last;
    uint64_t bytes;
};

struct progress {
    enum kelp_flow flow;
    kelp_index match;        /* durable there and equal to ours; only grows within a term */
    kelp_index next;         /* the next entry to send */
    uint64_t attempt;        /* raised by every turn to PROBE; echoed in answers */
    bool probe_out;          /* a probe of this attempt was sent and is not answered */
    struct inflight *window; /* ring of window_max */
    uint32_t window_max, window_head, window_count;
    uint64_t window_bytes;
};

void progress_init(struct progress *p, struct inflight *window, uint32_t window_max);

/* progress_reset - a new term of leadership, or a new member: probe at next, nothing matched. */
void progress_reset(struct progress *p, kelp_index next);

/* progress_probe - back to probing at next, clamped to match + 1..; a new attempt, an empty window.
 */
void progress_probe(struct progress *p, kelp_index next);

/* progress_accepted - an append of this attempt was accepted: stream. Does nothing in STREAM. */
void progress_accepted(struct progress *p);

/* progress_matched - the peer vouches for match. Returns true if that is news; frees the window up
 * to there. */
bool progress_matched(struct progress *p, kelp_index match);

/* progress_gone - what it needs is compacted. */
void progress_gone(struct progress *p);

/* progress_room - the window has room for a message; one always goes when it is empty. */
bool progress_room(const struct progress *p, uint64_t bytes_max);

/* progress_sent - an append up to last with so many entry bytes goes out now. */
void progress_sent(struct progress *p, kelp_index last, uint64_t bytes);

#endif
