/* SPDX-License-Identifier: Apache-2.0 */
/* heir.c - two nodes with the data and a witness, whose leader is killed again and again. [§11.7.2]
 *
 * Two nodes found a cluster and a witness is added; then, under load, whoever leads is killed, by a
 * crash or a power cut, whenever the cluster is whole: all three are up, and the witness is out by
 * a committed configuration. (Before that the leader may be the only one that holds what it
 * committed with the witness, and nobody may take its place: tests/scenario/witness.) Within three
 * election timeouts somebody must lead (L13); that nothing is lost is what all the other rules say.
 * The run ends after so many kills. */
#include "base/min.h"
#include "core/config.h"
#include "sim/trace.h"
#include "sim/world.h"

#define MS          ((kelp_ns)1000000)
#define SECOND      (1000 * MS)
#define WITNESS     3u /* the slot behind the founders' is its id */
#define TIMEOUTS    3u
#define KILL_AT_ALL (60 * SECOND) /* so long a kill and what follows may take */

void heir_swarm(struct world *w)
{
    struct swarm *s = &w->swarm;
    swarm_calm(s);
    s->nodes = WITNESS;
    s->founders = WITNESS - 1;
    s->witness = true;
    s->off = 0;
    s->clock_drift = 0;
    s->lent_share = 0;
    s->snapshot_every = 0; /* until snapshots travel, who joins late must find all entries */
    for (unsigned i = 0; i < FAULT_COUNT; i++)
        s->weights[i] = i == FAULT_NONE;
    s->weight_sum = 1;
    s->weights[FAULT_CHANGE] = 1; /* beyond the sum: the membership changes, by us alone */
    s->atlas = true;
    s->mild = false;
    w->options.hurt = w->options.kills * KILL_AT_ALL;
}

static const struct kelp_core *core_of(const struct node *n)
{
    return n->state == NODE_UP ? driver_core(n->driver) : NULL;
}

/* Who leads, in a term above the one given. */
static struct node *leader_above(struct world *w, uint64_t term, struct kelp_view *view)
{
    for (unsigned i = 0; i < w->node_count; i++) {
        const struct kelp_core *core = core_of(&w->nodes[i]);
        if (core == NULL) continue;
        kelp_view(core, view);
        if (view->role == KELP_LEADER && view->term.v > term) return &w->nodes[i];
    }
    return NULL;
}

static bool whole(const struct world *w, const struct node *leader)
{
    struct kelp_config latest, committed;
    kelp_core_config(core_of(leader), &latest, &committed);
    if (latest.index != committed.index || latest.joint || latest.count != WITNESS) return false;
    for (uint32_t slot = 0; slot < latest.count; slot++) {
        if (latest.members[slot].marks != 0) return false;
    }
    for (unsigned i = 0; i < w->node_count; i++) {
        if (core_of(&w->nodes[i]) == NULL) return false;
    }
    return config_witness(&latest, WITNESS - 1);
}

static void kill(struct world *w, struct node *n, uint64_t term)
{
    struct heir *h = &w->heir;
    struct draw *draw = stream(w, STREAM_NODE);
    enum sim_disk_crash kind = draw_chance(draw, 1, 2) ? SIM_CRASH_POWER : SIM_CRASH_PROCESS;
    kelp_ns back = draw_between(draw, 1, 4 * w->swarm.election_max / MS) * MS;
    h->killed_at = w->now;
    h->term = term;
    h->kill_at = 0;
    w->report->crashes++;
    w->report->power_cuts += kind == SIM_CRASH_POWER;
    node_crash(n, kind, back);
}

static void succeeded(struct world *w)
{
    struct heir *h = &w->heir;
    kelp_ns took = w->now - h->killed_at;
    w->report->heir_worst = max_u64(w->report->heir_worst, took);
    w->report->kills++;
    h->killed_at = 0;
    if (w->report->kills == w->options.kills) world_push(w, w->now, EVENT_HEAL, 0, 0, NULL);
}

static void leader_look(struct world *w)
{
    struct heir *h = &w->heir;
    struct kelp_view view;
    if (w->healing) {
        if (w->report->kills < w->options.kills)
            checker_fail(w->checker, RULE_L13, "only %u of %u kills were possible",
                         w->report->kills, w->options.kills);
        return;
    }
    struct node *leader = leader_above(w, h->killed_at != 0 ? h->term : 0, &view);
    if (h->killed_at != 0) {
        if (leader != NULL)
            succeeded(w);
        else if (w->now > h->killed_at + TIMEOUTS * w->swarm.election_max)
            checker_fail(w->checker, RULE_L13, "nobody leads %llu ms after the leader was killed",
                         (unsigned long long)((w->now - h->killed_at) / MS));
        return;
    }
    if (leader == NULL || !view.committed_own_term) return;
    if (config_slot(&w->churn.config, WITNESS) == CONFIG_NO_SLOT) {
        if (churn_idle(w)) churn_adds_witness(leader, WITNESS);
    } else if (!whole(w, leader)) {
        h->kill_at = 0;
    } else if (h->kill_at == 0) {
        h->kill_at = w->now + draw_below(stream(w, STREAM_NODE), w->swarm.election_max / MS) * MS;
    } else if (w->now >= h->kill_at) {
        kill(w, leader, view.term.v);
    }
}

void heir_look(struct world *w)
{
    if (w->options.kills > 0) leader_look(w);
}
