/* SPDX-License-Identifier: Apache-2.0 */
/* mover.c - somebody who moves the leadership while everything else goes on. [§3.10]
 *
 * One request at a time, on a line of its own, through any node, to any node or to the best, or to
 * one that does not exist. What must hold: one answer, in time; "done" names a node that led; and
 * no leader hands over longer than an election timeout, for it takes no writes meanwhile (L07, with
 * I35 in checker.c and promise.c). A node may also be asked to retire, as a server does before it
 * ends; it is stopped when its time for that is over, or the faults are, retired or not. Or it is
 * drained for a while: done means that it is, and does not lead. */
#include "base/min.h"
#include "sim/trace.h"
#include "sim/world.h"

#define MS       ((kelp_ns)1000000)
#define LATE_MAX (250 * MS) /* an answer may come so long after its deadline */
/* Transfers may follow each other at once, unseen in between; so many are not likely. */
#define IN_A_ROW 3u

static void drain_told(struct world *w, const struct driver_outcome *o)
{
    const struct node *n = &w->nodes[w->mover.node];
    struct kelp_view view;
    kelp_view(driver_core(n->driver), &view);
    bool leads = view.drained && view.role == KELP_LEADER; /* it may be undrained again */
    if (o->outcome == KELP_LOST || (o->outcome == KELP_DONE && leads))
        checker_fail(w->checker, RULE_I25, "a drain is %s, and its node %s",
                     kelp_outcome_name(o->outcome), leads ? "leads" : "does not lead");
    w->report->drains += o->outcome == KELP_DONE;
}

static void told(void *ctx, uint64_t token, const struct driver_outcome *o)
{
    struct world *w = ctx;
    struct mover *m = &w->mover;
    if (m->line == NULL || token != m->token) {
        checker_fail(w->checker, RULE_S01, "a transfer is answered twice");
        return;
    }
    bool done = o->outcome == KELP_DONE && !m->drains;
    bool leads = o->leader >= 1 && o->leader <= w->node_count &&
                 checker_led(w->checker, (unsigned)o->leader - 1);
    if (m->drains && driver_core(w->nodes[m->node].driver) != NULL) drain_told(w, o);
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
    bool forward = draw_chance(draw, 7, 8), drains = draw_chance(draw, 1, 4);
    forget_the_dead(w);
    if (m->line != NULL || n->state != NODE_UP || n->closed || node_paused(n)) return;
    m->line = driver_line_open(n->driver, told, w);
    if (m->line == NULL) return;
    m->node = n->slot;
    m->life = n->life;
    m->token++;
    m->deadline = node_clock(n) + within;
    m->drains = drains;
    if (drains) nemesis_mend_later(w, w->now + nemesis_while(w), MEND_DRAINED, n->slot, n->life);
    if (drains
            ? !driver_drain(n->driver, node_clock(n), m->line, m->token, DRIVER_DRAIN, m->deadline)
            : !driver_transfer(n->driver, node_clock(n), m->line, m->token, target,
                               (struct kelp_bytes){NULL, 0}, m->deadline, forward))
        checker_fail(w->checker, RULE_W02, "no memory for a transfer");
    node_run(n);
}

static void nobody_listens(void *ctx, uint64_t token, const struct driver_outcome *o)
{
    (void)ctx;
    (void)token;
    (void)o;
}

void mover_undrains(struct node *n)
{
    if (n->state != NODE_UP || n->closed || driver_core(n->driver) == NULL) return;
    struct driver_line *line = driver_line_open(n->driver, nobody_listens, n);
    if (line == NULL) return;
    if (!driver_drain(n->driver, node_clock(n), line, 1, DRIVER_UNDRAIN, KELP_NEVER))
        checker_fail(n->world->checker, RULE_W02, "no memory for the end of a drain");
    driver_line_close(n->driver, line);
    if (!node_paused(n)) node_run(n);
}

void mover_heals(struct world *w)
{
    for (unsigned i = 0; i < w->node_count; i++)
        mover_undrains(&w->nodes[i]);
}

void mover_retires(struct world *w, struct node *n)
{
    if (n->state != NODE_UP || node_paused(n)) return;
    driver_retire(n->driver, node_clock(n));
    n->retires = n->life;
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
