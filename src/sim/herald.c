/* SPDX-License-Identifier: Apache-2.0 */
/* herald.c - what a node tells of the leadership is judged like what it tells of writes.
 *
 * Each event has the next number. ELECTED is told once for each election that the core won, OVER
 * once behind it, READY between the two and not before the machine has applied an entry of that
 * term; what is told last is what the core says, whenever the node has come to rest (N09). */
#include "base/min.h"
#include "sim/world.h"

static void wrong(struct node *n, enum kelp_lead_event event, const struct kelp_leadership *now,
                  const char *why)
{
    checker_fail(n->world->checker, RULE_N09, "node %u tells event %d, number %llu, term %llu: %s",
                 n->slot + 1u, (int)event, (unsigned long long)now->sequence,
                 (unsigned long long)now->term.v, why);
}

static const char *event_wrong(const struct node *n, enum kelp_lead_event event,
                               const struct kelp_leadership *now)
{
    const struct kelp_leadership *was = &n->told;
    struct kelp_view view;
    if (now->sequence != was->sequence + 1) return "a number was left out, or told twice";
    switch (event) {
    case KELP_LEAD_ELECTED:
        kelp_view(driver_core(n->driver), &view);
        if (was->leads) return "it leads already";
        if (now->term.v <= n->elected_told.v) return "that term was told before";
        if (!now->leads || now->ready || now->leader != n->id) return "the state says otherwise";
        return view.elected.v == now->term.v ? NULL : "it did not win that term";
    case KELP_LEAD_READY:
        if (!was->leads || was->ready) return "it does not lead, or was ready";
        if (!now->ready || now->term.v != was->term.v) return "the state says otherwise";
        return rsm_applied(n->rsm).term.v == now->term.v ? NULL : "nothing of its term is applied";
    case KELP_LEAD_OVER: return was->leads && !now->leads ? NULL : "it did not lead";
    case KELP_LEAD_OTHER:
        return !now->leads && now->leader != was->leader ? NULL : "nobody else leads";
    }
    return "it is not known";
}

void herald_told(void *ctx, enum kelp_lead_event event, const struct kelp_leadership *now)
{
    struct node *n = ctx;
    const char *why = event_wrong(n, event, now);
    if (why != NULL) wrong(n, event, now, why);
    if (event == KELP_LEAD_ELECTED) n->elected_told = now->term;
    n->told = *now;
}

void herald_begins(struct node *n)
{
    n->told = (struct kelp_leadership){.sequence = 0};
    n->elected_told = kelp_term_of(0);
}

void herald_look(struct node *n, const struct kelp_view *view)
{
    struct kelp_leadership now;
    if (n->state != NODE_UP || min_u64(n->wake, n->apply_end) <= n->world->now) return;
    driver_leadership(n->driver, &now);
    bool leads = view->role == KELP_LEADER;
    bool applied = leads && rsm_applied(n->rsm).term.v == view->term.v;
    bool same = now.sequence == n->told.sequence && now.leads == leads &&
                now.leader == view->leader && (!leads || now.term.v == view->term.v);
    if (!same || (applied && !now.ready))
        checker_fail(n->world->checker, RULE_N09, "node %u was told leader %llu%s, and has %llu",
                     n->slot + 1u, (unsigned long long)now.leader, now.ready ? ", ready" : "",
                     (unsigned long long)view->leader);
}
