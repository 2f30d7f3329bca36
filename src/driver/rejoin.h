/* SPDX-License-Identifier: Apache-2.0 */
/* rejoin.h - a node gives up its state for that of a healthy member. See rejoin.c */
#ifndef DRIVER_REJOIN_H
#define DRIVER_REJOIN_H

#include "kelp/types.h"

struct driver;
struct driver_line;
struct peer;
struct wire_fetch;
struct wire_piece;

enum rejoin_phase {
    REJOIN_NONE = 0,
    REJOIN_WAITS, /* for what `why` says */
    REJOIN_HOLDS, /* from here on nothing is applied; what the machine has must end first */
    REJOIN_ASKS,
    REJOIN_FETCHES, /* fetch.c is at it */
};

enum rejoin_why { REJOIN_SOON = 0, REJOIN_LEADS, REJOIN_BUSY, REJOIN_NOBODY, REJOIN_IN_VAIN };

struct rejoin {
    enum rejoin_phase phase;
    enum rejoin_why why;
    bool forced;      /* nobody's marks are asked: an operator knows better */
    kelp_id from;     /* of this one alone; 0: of any */
    kelp_index above; /* the machine is there and stays there */
    kelp_ns at;       /* WAITS: look again; ASKS: ask again */
    kelp_id asked;    /* 0: nobody yet */
    uint64_t connection;
    kelp_ns asked_since, heard;
    bool none;             /* it gives none */
    struct kelp_pos found; /* it has this one; 0@0: none yet */
    size_t turn, tried;
    struct driver_line *line; /* for a barrier; NULL: none yet */
    bool barrier_open, barrier_done;
    kelp_ns barrier_at;
    uint64_t done;
    bool forgets; /* own snapshots of the state that was given up, once the new one stands */
    bool answers; /* a peer has asked for a newer one */
};

struct rejoin_ask { /* of a peer, for a snapshot above some place */
    struct kelp_pos above;
    uint64_t connection; /* 0: it has not asked, or is answered */
};

/* rejoin_idle - then neither of the two has anything to do. */
static inline bool rejoin_idle(const struct rejoin *j)
{
    return j->phase == REJOIN_NONE && !j->forgets && !j->answers;
}
/* rejoin_run - both sides; before the rounds of a run. rejoin_next: when to look again. */
void rejoin_run(struct driver *d);
kelp_ns rejoin_next(const struct driver *d);
/* rejoin_forgets - the state is replaced: what was kept of the old one goes. */
void rejoin_forgets(struct driver *d);
bool rejoin_holds_apply(const struct driver *d);
/* rejoin_asked - a peer asks; answered in the next run. */
void rejoin_asked(struct driver *d, struct peer *p, uint64_t connection,
                  const struct wire_fetch *m);
/* rejoin_answered - true: it was an answer to such a question. */
bool rejoin_answered(struct driver *d, kelp_id from, uint64_t connection,
                     const struct wire_piece *m);
/* rejoin_words - what it does, for people; NULL: nothing. */
const char *rejoin_words(const struct driver *d);

#endif
