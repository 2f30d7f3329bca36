/* SPDX-License-Identifier: Apache-2.0 */
/* mover.c - somebody who moves the leadership while everything else goes on. [§3.10]
 *
 * One request at a time, on a line of its own, through any node, to any node or to the best, or to
 * one that does not exist. What must hold: one answer, in time; "done" names a node that led; and
 * no leader hands over longer than an election timeout, for it takes no writes meanwhile (L07, with
 * I35 in checker.c and promise.c). A node may also be asked to retire, as a server does before it
 * ends; it is stopped when its time for that is over, retired or not. */
#include "base/min.h"
#include "sim/trace.h"
#include "sim/world.h"

#define MS       ((kelp_ns)1000000)
#define LATE_MAX (250 * MS) /* an answer may come so long after its deadline */
/* Transfers may follow each other at once, unseen in between; so many are not likely. */
#define IN_A_ROW 3u

static void told(void *ctx, uint64_t token, const struct driver_outcome *o)
{
    struct world *w = ctx;
    struct mover *m = &w->mover;
    if (m->line == NULL || token != m->token) {
        checker_fail(w->checker, RULE_S01, "a transfer is answered twice");
        return;
    }
    bool done = o->outcome == KELP_DONE;
    bool leads = o->leader >= 1 && o->leader <= w->node_count &&
                 checker_led(w->checker, (unsigned)o->leader - 1);
    if (o->outcome == KELP_LOST || (done && !leads))
        checker_fail(w->checker, RULE_I25, "a transfer is %s with leader %llu, who led nothing",
                     kelp_outcome_name(o->outcome), (unsigned long long)o->leader);
    driver_line_close(w->nodes[m->node].driver, m->line);
    m->line = NULL;
}

/* Its node died or began anew: there is nobody who could answer. */
static void forget_the_dead(struct world *w)
{
    struct mover *m = &w->mover;
    if (m->line == NULL) return;
    const struct node *n = &w->nodes[m->node];
    bool there = n->life == m->life && (n->state == NODE_UP || n->state == NODE_FAULTED);
    if (!there) m->line = NULL; /* it went with the driver */
}

void mover_asks(struct world *w)
{
    struct draw *draw = nemesis_draw(w);
    struct mover *m = &w->mover;
    struct node *n = nemesis_node(w);
    kelp_id target = draw_below(draw, w->node_count + 2); /* 0: the best; the last: nobody */
    kelp_ns within = draw_between(draw, 1, max_u64(2, 2 * w->swarm.election_max / MS)) * MS;
    bool forward = draw_chance(draw, 7, 8);
    forget_the_dead(w);
    if (m->line != NULL || n->state != NODE_UP || n->closed || node_paused(n)) return;
    m->line = driver_line_open(n->driver, told, w);
    if (m->line == NULL) return;
    m->node = n->slot;
    m->life = n->life;
    m->token++;
    m->deadline = node_clock(n) + within;
    if (!driver_transfer(n->driver, node_clock(n), m->line, m->token, target,
                         (struct kelp_bytes){NULL, 0}, m->deadline, forward))
        checker_fail(w->checker, RULE_W02, "no memory for a transfer");
    node_run(n);
}

void mover_retires(struct world *w, struct node *n)
{
    if (n->state != NODE_UP || node_paused(n)) return;
    driver_retire(n->driver, node_clock(n));
    nemesis_mend_later(w, w->now + w->swarm.election_min + 2 * w->swarm.heartbeat, MEND_RETIRED,
                       n->slot, n->life);
    node_run(n);
}

void mover_look(struct world *w)
{
    struct mover *m = &w->mover;
    forget_the_dead(w);
    for (unsigned i = 0; i < w->node_count; i++) {
        const struct node *n = &w->nodes[i];
        if (n->state != NODE_UP || node_paused(n) || n->handing_since == 0) continue;
        if (min_u64(n->wake, n->apply_end) <= w->now) continue; /* no turn yet */
        kelp_ns most = IN_A_ROW * w->swarm.election_min + LATE_MAX;
        if (node_clock(n) > n->handing_since + most)
            checker_fail(w->checker, RULE_L07, "node %u hands over for %llu ms", i + 1u,
                         (unsigned long long)((node_clock(n) - n->handing_since) / MS));
    }
    if (m->line == NULL) return;
    const struct node *n = &w->nodes[m->node];
    if (n->state != NODE_UP || node_paused(n)) return;
    if (min_u64(n->wake, n->apply_end) <= w->now) return;
    if (node_clock(n) > m->deadline + LATE_MAX)
        checker_fail(w->checker, RULE_L04, "node %u has not answered a transfer in time",
                     m->node + 1u);
}

/* Its timers will not fire: nobody mends what is outside the core. */
static bool stands_still(const struct node *n)
{
    return node_paused(n) || n->frozen_until != 0;
}

bool mover_idle(struct world *w)
{
    forget_the_dead(w);
    for (unsigned i = 0; i < w->node_count; i++) {
        const struct node *n = &w->nodes[i];
        if (n->state == NODE_UP && !stands_still(n) && n->handing_since != 0) return false;
    }
    return w->mover.line == NULL || stands_still(&w->nodes[w->mover.node]);
}
