/* SPDX-License-Identifier: Apache-2.0 */
/* lapse.c - what a cluster owes to deadlines: nobody is told what is gone, and it goes.
 *
 *   N12  a read that may miss nothing returns no value whose deadline the clock of whoever led had
 *        passed when it was asked, if that one leads the same term when it is answered. It may
 *        where there was no disk room for the entry that would have said so.
 *   L17  in a healed cluster that nobody uses, what is due by its leader's clock is gone within
 *        200 ms and what links, disks and machines take; and a run waits for what ends soon. It
 *        begins when no connection is left that ended while there were faults and says nothing. */
#include "base/min.h"
#include "core/look.h"
#include "sim/world.h"

#define MS          ((kelp_ns)1000000)
#define LATE_MAX    (200 * MS)
#define SOON        (4000 * MS)
#define SILENT_OVER ((NET_SILENT_MS + 1000) * MS) /* told at last, and dialled anew */
#define ROUND_TRIPS 8u /* that an entry may take: tiny windows, a save that waits for another */

/* Who leads the newest term that anybody leads here, and has committed in it; NULL: nobody. */
static const struct node *leader_of(const struct world *w, uint64_t *term)
{
    const struct node *leader = NULL;
    *term = 0;
    for (unsigned i = 0; i < w->node_count; i++) {
        const struct node *n = &w->nodes[i];
        const struct kelp_core *core = n->state == NODE_UP ? driver_core(n->driver) : NULL;
        uint64_t led = core != NULL ? core_led_term(core, true) : 0;
        if (led <= *term) continue;
        leader = n;
        *term = led;
    }
    return leader;
}

static uint64_t rooms_refused(const struct world *w)
{
    return w->report->marks[KELP_EV_PROPOSE_NO_SPACE];
}

void lapse_asked(const struct world *w, struct request *q)
{
    q->cluster_clock = 0;
    if (!q->read || w->options.workload != NULL) return;
    const struct node *leader = leader_of(w, &q->clock_term);
    if (leader == NULL || q->clock_term != checker_highest_term(w->checker)) return;
    q->cluster_clock = driver_cluster_clock(leader->driver, node_clock(leader));
    q->rooms_refused = rooms_refused(w);
}

uint64_t lapse_known(const struct world *w, const struct request *q)
{
    uint64_t term;
    if (q->cluster_clock == 0 || leader_of(w, &term) == NULL || term != q->clock_term) return 0;
    if (term != checker_highest_term(w->checker)) return 0;
    return rooms_refused(w) == q->rooms_refused ? q->cluster_clock : 0;
}

static kelp_ns late_max(const struct world *w)
{
    const struct swarm *s = &w->swarm;
    kelp_ns trip = s->delay_min + s->delay_range + s->save_min + s->save_range + s->apply_range;
    return LATE_MAX * 1000 / (1000 - s->clock_drift) + ROUND_TRIPS * trip;
}

bool lapse_look(struct world *w)
{
    struct demand *d = &w->demand;
    uint64_t term;
    const struct node *leader = leader_of(w, &term);
    uint64_t due = leader != NULL ? rsm_deadline(leader->rsm) : KELP_FSM_NO_DEADLINE;
    uint64_t clock = leader != NULL ? driver_cluster_clock(leader->driver, node_clock(leader)) : 0;
    bool passed = due != KELP_FSM_NO_DEADLINE && due <= clock && !node_paused(leader);
    bool silent = w->now < d->at + SILENT_OVER;
    if (!passed || silent || term != d->due_term) d->due_since = 0;
    d->due_term = term;
    if (passed && !silent && d->due_since == 0) d->due_since = w->now;
    if (d->due_since != 0 && w->now > d->due_since + late_max(w))
        checker_fail(w->checker, RULE_L17,
                     "node %u leads and its clock is %llu; what was due at %llu is there after "
                     "%llu ms",
                     leader->slot + 1u, (unsigned long long)clock, (unsigned long long)due,
                     (unsigned long long)((w->now - d->due_since) / MS));
    return due > clock + SOON;
}
