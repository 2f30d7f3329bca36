/* SPDX-License-Identifier: Apache-2.0 */
/* lead.c - who leads, as this node knows it: a level with a number, and the events between two of
 * them.
 *
 * The core's view is compared with what was told last, after every take that did something. Between
 * two looks much may have happened, but only one election can have been won, since its vote had to
 * be saved by a take in between; so ELECTED is never missed, and one that is over already is told
 * with its OVER behind it. READY is told once the machine has applied the empty entry of the term.
 *
 * Invariants: the number grows by one with each event; ELECTED and OVER alternate, with at most one
 * READY between them; what is told last is what the view says. */
#include "driver/room.h"

static void tell(struct driver *d, enum kelp_lead_event event)
{
    d->lead.sequence++;
    if (d->options.lead != NULL) d->options.lead(d->options.watch_ctx, event, &d->lead);
}

static void elected(struct driver *d, kelp_term term)
{
    d->lead_elected = term;
    d->lead.term = term;
    d->lead.leader = d->options.core.self;
    d->lead.leads = true;
    d->lead.ready = false;
    tell(d, KELP_LEAD_ELECTED);
}

static void over(struct driver *d, kelp_term term, kelp_id leader)
{
    d->lead.term = term;
    d->lead.leader = leader;
    d->lead.leads = d->lead.ready = false;
    tell(d, KELP_LEAD_OVER);
}

static void other(struct driver *d, kelp_term term, kelp_id leader)
{
    d->lead.term = term;
    d->lead.leader = leader;
    tell(d, KELP_LEAD_OTHER);
}

void lead_refresh(struct driver *d)
{
    bool running = d->state == DRIVER_RUNNING && d->core != NULL && !d->closing;
    const struct kelp_view *view = d->core != NULL ? driver_look(d) : NULL;
    kelp_term term = view != NULL ? view->term : kelp_term_of(0);
    kelp_term won = view != NULL ? view->elected : kelp_term_of(0);
    bool leads = running && view->role == KELP_LEADER;
    kelp_id leader = running ? view->leader : 0;
    ASSERT(!leads || won.v == term.v);
    if (d->lead.leads && (!leads || won.v != d->lead.term.v))
        over(d, term, leads ? 0 : leader); /* it may lead again, in a later term */
    if (won.v > d->lead_elected.v) {
        elected(d, won);
        if (!leads) over(d, term, leader);
    }
    if (!leads && leader != d->lead.leader) other(d, term, leader);
    if (!leads || d->lead.ready || d->led_term != term.v || d->applied < d->led_first) return;
    d->lead.ready = true;
    tell(d, KELP_LEAD_READY);
}

void driver_leadership(const struct driver *d, struct kelp_leadership *out)
{
    *out = d->lead;
}
