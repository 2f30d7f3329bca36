/* SPDX-License-Identifier: Apache-2.0 */
/* heap.c - a four-way heap of events, by time and then by order of arrival. */
#include "sim/heap.h"

#include <stdlib.h>

#include "base/assert.h"

#define HEAP_WAYS 4u

static bool event_before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at != b->at ? a->at < b->at : a->sequence < b->sequence;
}

static void heap_place(struct sim_heap *h, struct sim_event event)
{
    size_t slot = h->count++;
    while (slot > 0) {
        size_t parent = (slot - 1) / HEAP_WAYS;
        if (!event_before(&event, &h->events[parent])) break;
        h->events[slot] = h->events[parent];
        slot = parent;
    }
    h->events[slot] = event;
}

bool heap_push(struct sim_heap *h, struct sim_event event)
{
    if (h->count == h->room) {
        size_t room = h->room > 0 ? h->room * 2 : 256;
        struct sim_event *events = realloc(h->events, room * sizeof *events);
        if (events == NULL) return false;
        h->events = events;
        h->room = room;
    }
    event.sequence = ++h->sequence;
    heap_place(h, event);
    return true;
}

void heap_push_again(struct sim_heap *h, struct sim_event event)
{
    ASSERT(h->count < h->room);
    ASSERT(event.sequence != 0);
    heap_place(h, event);
}

struct sim_event heap_pop(struct sim_heap *h)
{
    ASSERT(h->count > 0);
    struct sim_event first = h->events[0];
    struct sim_event last = h->events[--h->count];
    size_t slot = 0;
    for (;;) {
        size_t child = slot * HEAP_WAYS + 1;
        if (child >= h->count) break;
        size_t end = child + HEAP_WAYS < h->count ? child + HEAP_WAYS : h->count;
        size_t least = child;
        for (size_t i = child + 1; i < end; i++) {
            if (event_before(&h->events[i], &h->events[least])) least = i;
        }
        if (!event_before(&h->events[least], &last)) break;
        h->events[slot] = h->events[least];
        slot = least;
    }
    if (h->count > 0) h->events[slot] = last;
    return first;
}

void heap_free(struct sim_heap *h)
{
    free(h->events);
    *h = (struct sim_heap){0};
}
