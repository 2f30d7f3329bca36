/* SPDX-License-Identifier: Apache-2.0 */
/* headway.c - who gets a snapshot says to everybody how far it is, as long as it gets further.
 *
 * A leader gives up a new member that stands still, and a large snapshot takes longer than that:
 * pieces may come from a node that does not lead, and when all are there the file is synced and the
 * machine restored. Nobody else knows of that; a joiner without a log has not even a core that
 * answers. So it is told to all who are connected: whoever leads counts it, whoever that is then.
 *
 * Only what was never reached before is getting further: who fetches the same snapshot again and
 * again, because it never fits the disk, is given up. Where nothing can be seen from outside, while
 * the file is synced and the machine takes it in, it counts as going on for STILL_MAX election
 * timeouts. Invariant: nothing is told by who gets nothing. */
#include "driver/room.h"
#include "wire/fetch.h"

#define STILL_MAX 100u

/* 0: nothing is under way. */
static unsigned stage_of(const struct driver *d)
{
    switch (d->fetching.phase) {
    case FETCH_NONE:
    case FETCH_CLEARS:
    case FETCH_DROPS: return 0;
    case FETCH_ASKS: return 1;
    case FETCH_NAMES: return 2;
    case FETCH_RESTORES: return 3;
    case FETCH_STARTS:
    case FETCH_INSTALLS: return 4;
    }
    return 0;
}

static bool works(const struct driver *d)
{
    bool runs = d->state == DRIVER_RUNNING || d->state == DRIVER_WAITING;
    return runs && !d->closing && !d->fault_due && stage_of(d) > 0;
}

static void look(struct driver *d)
{
    const struct fetching *f = &d->fetching;
    struct headway *h = &d->headway;
    unsigned stage = stage_of(d);
    uint64_t bytes = stage == 1 ? f->next : f->restored;
    if (f->pos.index > h->pos.index) *h = (struct headway){.pos = f->pos, .told_at = h->told_at};
    if (stage < h->stage || (stage == h->stage && bytes <= h->bytes)) return;
    h->stage = stage;
    h->bytes = bytes;
    h->moved = d->now;
    h->news = true;
}

/* It goes on where that cannot be seen. */
static bool goes_on(const struct driver *d)
{
    const struct headway *h = &d->headway;
    kelp_ns still = STILL_MAX * d->options.core.election_max;
    return stage_of(d) > 1 && stage_of(d) == h->stage && d->now - h->moved < still;
}

static void tell(struct driver *d, const struct peer *p)
{
    const struct headway *h = &d->headway;
    uint8_t *head = scratch_take(d, WIRE_FRAME_HEAD + WIRE_FETCH_MAX);
    struct kelp_bytes *parts = scratch_take(d, 2 * sizeof *parts);
    if (head == NULL || parts == NULL) return; /* the next one says as much */
    struct wire_fetch m = {.pos = h->pos, .offset = h->bytes, .ask = 1, .window = 0};
    uint8_t *fixed = head + WIRE_FRAME_HEAD;
    parts[0] = bytes_of(head, WIRE_FRAME_HEAD);
    parts[1] = bytes_of(fixed, wire_fetch_encode(&m, fixed));
    wire_frame_head(head, WIRE_FETCH, d->options.group, parts + 1, 1);
    (void)d->ports.peers->send(d->ports.peers_ctx, d->options.group, p->id, KELP_LANE_SNAPSHOT,
                               p->connection[KELP_LANE_SNAPSHOT], parts, 2);
}

void headway_run(struct driver *d)
{
    struct headway *h = &d->headway;
    if (!works(d)) return;
    look(d);
    if (d->now < add_sat(h->told_at, d->options.core.heartbeat) || (!h->news && !goes_on(d)))
        return;
    h->news = false;
    h->told_at = d->now;
    for (size_t i = 0; i < d->peer_count; i++)
        if (d->peers[i]->connection[KELP_LANE_SNAPSHOT] != 0) tell(d, d->peers[i]);
}

kelp_ns headway_next(const struct driver *d)
{
    if (!works(d) || (!d->headway.news && !goes_on(d))) return KELP_NEVER;
    return max_u64(d->now + 1, add_sat(d->headway.told_at, d->options.core.heartbeat));
}
