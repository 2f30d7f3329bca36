/* SPDX-License-Identifier: Apache-2.0 */
/* moving.c - a node whose address changed asks for it: a MOVE of itself, from whoever leads.
 *
 *   committed: another address than the own --> asked --DONE--> never again in this life
 *                       ^--------- a while later <--'refused, not known
 *
 * Only a node that was told to (driver_options.moves) does so, and once: what somebody moves while
 * it runs stays where it was put. It asks on a line of its own, like any client. Where the address
 * is still another member's, which shows itself elsewhere, it asks for both at once: members that
 * change places could not do so one after the other. */
#include <string.h>

#include "driver/room.h"

static void told(void *ctx, uint64_t token, const struct driver_outcome *outcome)
{
    struct driver *d = ctx;
    (void)token;
    d->move_open = false;
    if (outcome->outcome == KELP_DONE) {
        d->options.moves = false;
        driver_note(d, KELP_INFO, "moved to %s", d->options.peer.text);
        return;
    }
    if (d->move_reason != outcome->reason) /* once: it is asked again and again */
        driver_note(d, KELP_INFO, "its move to %s: %s", d->options.peer.text,
                    kelp_reason_words(outcome->reason));
    d->move_reason = outcome->reason;
    d->move_at = add_sat(d->now, d->options.core.election_max);
}

/* Where this node stands by the committed configuration; NULL: not as a member, or not known. */
static const struct wire_address *own_address(const struct driver *d)
{
    const struct wire_config *c = &d->configs[0];
    for (size_t slot = 0; d->config_committed && slot < c->config.count; slot++) {
        if (c->config.members[slot].id == d->options.core.self) return &c->peer[slot];
    }
    return NULL;
}

/* Who stands at an address and is not on its way from there; 0: nobody. */
static kelp_id stands_at(const struct driver *d, const struct wire_change *change,
                         const struct wire_address *address)
{
    const struct wire_config *c = &d->configs[0];
    for (size_t slot = 0; slot < c->config.count; slot++) {
        kelp_id id = c->config.members[slot].id;
        bool goes = false;
        for (uint32_t i = 0; i < change->count; i++)
            goes = goes || change->edits[i].id == id;
        if (!goes && strcmp(c->peer[slot].text, address->text) == 0) return id;
    }
    return 0;
}

/* This node, and whoever is in its way, each to where it shows itself; this node alone if that is
 * not known of one of them. The leader refuses what would put two in one place. */
static void moves_gather(struct driver *d, struct wire_change *change)
{
    *change = (struct wire_change){.count = 1};
    change->edits[0] = (struct wire_edit){
        .id = d->options.core.self, .verb = KELP_EDIT_MOVE, .address = d->options.peer};
    kelp_id other;
    while ((other = stands_at(d, change, &change->edits[change->count - 1].address)) != 0) {
        const struct peer *p = peer_find(d, other);
        bool shown = p != NULL && p->connection[KELP_LANE_CONTROL] != 0;
        if (!shown || p->address.text[0] == '\0') {
            change->count = 1;
            return;
        }
        change->edits[change->count++] =
            (struct wire_edit){.id = other, .verb = KELP_EDIT_MOVE, .address = p->address};
    }
}

static void move_ask(struct driver *d)
{
    struct wire_change change;
    moves_gather(d, &change);
    kelp_ns patience = 4 * d->options.core.election_max;
    if (d->move_line == NULL) d->move_line = driver_line_open(d, told, d);
    d->move_at = add_sat(d->now, d->options.core.election_max); /* without memory: later */
    if (d->move_line == NULL) return;
    d->move_open = driver_change(d, d->now, d->move_line, 1, &change, bytes_of(NULL, 0),
                                 add_sat(d->now, patience), true);
}

void moving_run(struct driver *d)
{
    if (!d->options.moves || d->move_open || d->closing || d->state != DRIVER_RUNNING) return;
    const struct wire_address *there = own_address(d);
    if (there == NULL || d->now < d->move_at) return;
    if (strcmp(there->text, d->options.peer.text) == 0)
        d->options.moves = false;
    else if (d->route.node != 0)
        move_ask(d);
}

kelp_ns moving_next(const struct driver *d)
{
    bool waits = d->options.moves && !d->move_open && d->state == DRIVER_RUNNING;
    return waits && d->move_at > d->now ? d->move_at : KELP_NEVER;
}
