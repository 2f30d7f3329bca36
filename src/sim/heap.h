/* SPDX-License-Identifier: Apache-2.0 */
/* heap.h - what will happen in the world, by time.
 *
 * Events of one moment come out in the order they were put in: the sequence number decides, so the
 * order never depends on how the heap happens to be laid out. Four children a slot: the heap of a
 * world is small and lives in a few cache lines. */
#ifndef SIM_HEAP_H
#define SIM_HEAP_H

#include "kelp/types.h"

struct sim_event {
    kelp_ns at;
    uint64_t sequence; /* set by heap_push */
    uint64_t value;    /* what the kind needs: a connection, a generation, a token */
    void *item;        /* a packet, or NULL */
    uint8_t kind;      /* the world's word */
    uint8_t node;      /* slot of the node concerned */
    uint8_t other;     /* slot of the other one, or what the kind needs */
};

struct sim_heap {
    struct sim_event *events;
    size_t count, room;
    uint64_t sequence;
};

/* heap_push - put an event in; false: out of memory. */
bool heap_push(struct sim_heap *h, struct sim_event event);

/* heap_push_again - put an event that came out back in at another time; it keeps its sequence
 * number, so what was deferred together keeps its order. Never fails: its room is still there. */
void heap_push_again(struct sim_heap *h, struct sim_event event);

/* heap_pop - take out the first event; the heap must not be empty. */
struct sim_event heap_pop(struct sim_heap *h);

void heap_free(struct sim_heap *h);

static inline kelp_ns heap_next(const struct sim_heap *h)
{
    return h->count > 0 ? h->events[0].at : KELP_NEVER;
}

#endif
