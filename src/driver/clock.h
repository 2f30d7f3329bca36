/* SPDX-License-Identifier: Apache-2.0 */
/* clock.h - what passes by itself: clock entries, and the reads that wait for one. For this room,
 * included by room.h. */
#ifndef DRIVER_CLOCK_H
#define DRIVER_CLOCK_H

#include <sys/queue.h>

#include "kelp/core.h"
#include "kelp/fsm.h"
#include "wire/entry.h"

struct driver;
struct request;
TAILQ_HEAD(request_list, request);

struct ticking {
    uint64_t due;              /* the machine's earliest deadline .. */
    kelp_index due_at;         /* .. when so much was applied; UINT64_MAX: it was not asked yet */
    bool open;                 /* a clock entry is proposed and not applied .. */
    kelp_index index;          /* .. which is this one */
    kelp_ns after;             /* none before */
    kelp_index last;           /* the log's end as last seen .. */
    kelp_ns quiet;             /* .. and since when */
    struct request_list waits; /* reads that wait for one, by asker_link */
    uint64_t told;             /* clock entries proposed */
};

/* Nothing has a deadline, as far as all is applied: the common case, looked for on every run. */
static inline bool ticking_idle(const struct ticking *t, kelp_index applied)
{
    return t->due == KELP_FSM_NO_DEADLINE && t->due_at == applied && !t->open &&
           TAILQ_EMPTY(&t->waits);
}

void clock_init(struct driver *d);
bool clock_run(struct driver *d); /* true: something was done */
kelp_ns clock_next(struct driver *d);
bool clock_answered(struct driver *d, const struct kelp_answer *answer);
/* A read of index and above is answered by what is due now. */
void clock_mark(struct driver *d, struct request *r, kelp_index index);
bool clock_holds(struct driver *d, struct request *r); /* true: it went elsewhere */
void clock_let_go(struct driver *d, struct request *r);
void clock_show(struct driver *d); /* to the machine, in front of a question */
uint8_t *clock_room(struct driver *d, const struct wire_entry *e); /* for an entry to be proposed */
void clock_extend(struct driver *d, struct wire_entry *e, uint8_t *room, uint8_t *extension);

/* perform.c */
uint64_t clock_running(struct driver *d); /* on a leader */
uint64_t clock_stamp(struct driver *d);   /* the same, for an entry */
void clock_adopt(struct driver *d, struct kelp_bytes encoded);
void clock_at_least(struct driver *d, uint64_t time_ns);

#endif
