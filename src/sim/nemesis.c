/* SPDX-License-Identifier: Apache-2.0 */
/* nemesis.c - the faults of a run: one after the other at drawn moments, until the cluster is
 * healed.
 *
 * One partition at a time: the next one takes its place. A node may be lost, for good (an emptied
 * directory) or until it is started again (a failed sync), but never so many that the others are no
 * quorum. */
#include "base/min.h"
#include "sim/trace.h"
#include "sim/world.h"

#define MS ((kelp_ns)1000000)

static struct draw *draw_of(struct world *w)
{
    return &w->fault;
}

static kelp_ns a_while(struct world *w)
{
    return draw_between(draw_of(w), 50, max_u64(51, w->swarm.fault_long / MS)) * MS;
}

static struct node *some_node(struct world *w)
{
    return &w->nodes[draw_below(draw_of(w), w->node_count)];
}

/* All there is to know of a fault is in one record: how long until it comes, which one it is and
 * whom it meets. Without another record there are no more faults. */
static void next_later(struct world *w)
{
    struct draw *faults = stream(w, STREAM_FAULT);
    if (!draw_more(faults)) {
        world_push(w, w->now, EVENT_HEAL, 0, 0, NULL);
        return;
    }
    w->fault = draw_record(faults, w->fault_record);
    kelp_ns after = draw_below(draw_of(w), 2 * w->swarm.fault_every) + 1;
    world_push(w, w->now + after, EVENT_FAULT, 0, 0, NULL);
}

void nemesis_start(struct world *w)
{
    world_push(w, w->options.hurt, EVENT_HEAL, 0, 0, NULL);
    next_later(w);
}

/* ---- the network ---- */

static void links_mend(struct world *w)
{
    for (unsigned a = 0; a < w->node_count; a++) {
        for (unsigned b = 0; b < w->node_count; b++)
            w->net.cut[a][b] = false;
    }
}

static void cut_both(struct world *w, unsigned a, unsigned b)
{
    w->net.cut[a][b] = w->net.cut[b][a] = true;
}

static void partition_begin(struct world *w)
{
    links_mend(w);
    w->net.partition++;
    w->net.flap_until = 0;
    w->report->cuts++;
    world_push(w, w->now + a_while(w), EVENT_MEND, 0, w->net.partition << 1, NULL);
}

/* Two parts; with a bridge one node stays in touch with both. */
static void partition_parts(struct world *w, bool bridge)
{
    uint64_t side = draw_bytes(draw_of(w), 1);
    unsigned middle = bridge ? (unsigned)draw_below(draw_of(w), w->node_count) : NODES_MAX;
    partition_begin(w);
    for (unsigned a = 0; a < w->node_count; a++) {
        for (unsigned b = 0; b < a; b++) {
            if (a != middle && b != middle && ((side >> a ^ side >> b) & 1) != 0) cut_both(w, a, b);
        }
    }
}

static void partition_isolate(struct world *w)
{
    unsigned alone = some_node(w)->slot;
    partition_begin(w);
    for (unsigned b = 0; b < w->node_count; b++) {
        if (b != alone) cut_both(w, alone, b);
    }
}

/* One node that is not heard, one that does not hear, or one direction of one pair. */
static void partition_one_way(struct world *w)
{
    unsigned a = some_node(w)->slot, b = some_node(w)->slot;
    uint64_t kind = draw_below(draw_of(w), 3);
    partition_begin(w);
    for (unsigned i = 0; i < w->node_count && kind < 2; i++) {
        if (i != a) w->net.cut[kind == 0 ? a : i][kind == 0 ? i : a] = true;
    }
    if (kind == 2 && a != b) w->net.cut[a][b] = true;
}

static void flap_begin(struct world *w)
{
    partition_begin(w);
    w->net.flap_a = some_node(w)->slot;
    w->net.flap_b = some_node(w)->slot;
    w->net.flap_until = w->now + a_while(w);
    world_push(w, w->now, EVENT_FLAP, 0, w->net.partition, NULL);
}

void nemesis_flap(struct world *w, uint64_t number)
{
    struct net *net = &w->net;
    if (number != net->partition || w->now >= net->flap_until) return;
    world_trace(w, EVENT_FLAP, net->flap_a, net->flap_b);
    bool cut = !net->cut[net->flap_a][net->flap_b];
    net->cut[net->flap_a][net->flap_b] = net->cut[net->flap_b][net->flap_a] = cut;
    kelp_ns after = draw_between(stream(w, STREAM_NET), 100, 1000) * MS;
    world_push(w, w->now + after, EVENT_FLAP, 0, number, NULL);
}

static void storm_begin(struct world *w)
{
    w->net.stormy = true;
    w->net.storm++;
    world_push(w, w->now + a_while(w), EVENT_MEND, 0, w->net.storm << 1 | 1, NULL);
}

void nemesis_mend(struct world *w, uint64_t number)
{
    bool storm = (number & 1) != 0;
    if (number >> 1 != (storm ? w->net.storm : w->net.partition)) return;
    world_trace(w, EVENT_MEND, 0, number);
    if (storm) {
        w->net.stormy = false;
        return;
    }
    w->net.flap_until = 0;
    links_mend(w);
}

/* ---- nodes ---- */

static void crash(struct world *w, struct node *n, enum sim_disk_crash kind)
{
    if (n->state != NODE_UP && n->state != NODE_FAULTED) return;
    w->report->crashes++;
    w->report->power_cuts += kind == SIM_CRASH_POWER;
    bool long_gone = draw_chance(draw_of(w), 1, 6);
    kelp_ns back = long_gone ? a_while(w) * 2 : draw_between(draw_of(w), 1, 1000) * MS;
    node_crash(n, kind, back);
}

static void power_all(struct world *w)
{
    for (unsigned i = 0; i < w->node_count; i++)
        crash(w, &w->nodes[i], SIM_CRASH_POWER);
}

static void pause_node(struct world *w)
{
    struct node *n = some_node(w);
    if (n->state != NODE_UP) return;
    n->paused_until = w->now + a_while(w);
    w->report->pauses++;
}

static bool may_lose(const struct world *w)
{
    return w->lost_nodes < (w->node_count - 1) / 2 && checker_commit(w->checker) > 1;
}

static void sync_fails(struct world *w)
{
    struct node *n = some_node(w);
    if (!may_lose(w) || n->state != NODE_UP || driver_core(n->driver) == NULL) return;
    w->lost_nodes++;
    n->sync_fault = true;
    sim_disk_fail_sync(n->disk, SIM_FAILS_KEEPING);
}

static void wipe(struct world *w)
{
    struct node *n = some_node(w);
    if (!may_lose(w) || n->state != NODE_UP || driver_core(n->driver) == NULL) return;
    w->lost_nodes++;
    node_lose(n);
}

/* Draws are taken one after the other: the order in which C evaluates operands is the
 * compiler's. */
static void stall_disk(struct world *w)
{
    struct node *n = some_node(w);
    n->stall = draw_below(draw_of(w), w->swarm.stall_max);
    w->report->stalls++;
}

static void stop_node(struct world *w)
{
    struct node *n = some_node(w);
    sim_node_stop(n, draw_between(draw_of(w), 1, 800) * MS);
}

static void fault_happens(struct world *w, enum sim_fault fault)
{
    switch (fault) {
    case FAULT_NONE: return;
    case FAULT_KILL: crash(w, some_node(w), SIM_CRASH_PROCESS); return;
    case FAULT_POWER: crash(w, some_node(w), SIM_CRASH_POWER); return;
    case FAULT_POWER_ALL: power_all(w); return;
    case FAULT_PAUSE: pause_node(w); return;
    case FAULT_HALVES: partition_parts(w, false); return;
    case FAULT_ISOLATE: partition_isolate(w); return;
    case FAULT_ONE_WAY: partition_one_way(w); return;
    case FAULT_BRIDGE: partition_parts(w, true); return;
    case FAULT_FLAP: flap_begin(w); return;
    case FAULT_CUT: net_cut_connections(w, some_node(w)->slot); return;
    case FAULT_STALL: stall_disk(w); return;
    case FAULT_STORM: storm_begin(w); return;
    case FAULT_STRANGER: knock_stranger(w); return;
    case FAULT_STOP: stop_node(w); return;
    case FAULT_SYNC_FAILS: sync_fails(w); return;
    case FAULT_WIPE: wipe(w); return;
    case FAULT_COUNT: break;
    }
}

void nemesis_next(struct world *w)
{
    if (w->swarm.weight_sum == 0) return;
    uint64_t pick = draw_below(draw_of(w), w->swarm.weight_sum);
    unsigned fault = 0;
    while (pick >= w->swarm.weights[fault])
        pick -= w->swarm.weights[fault++];
    world_trace(w, EVENT_FAULT, 0, fault);
    if (fault != FAULT_NONE)
        trace_words(w, KELP_SIM_FAULT, NODES_MAX, sim_fault_name((enum sim_fault)fault));
    w->report->faults += fault != FAULT_NONE;
    fault_happens(w, (enum sim_fault)fault);
    next_later(w);
}

void nemesis_heal(struct world *w)
{
    swarm_calm(&w->swarm);
    links_mend(w);
    w->net.partition++;
    w->net.storm++;
    w->net.stormy = false;
    w->net.flap_until = 0;
    for (unsigned i = 0; i < w->node_count; i++) {
        struct node *n = &w->nodes[i];
        n->paused_until = 0;
        n->stall = 0;
        if (n->job_end != KELP_NEVER) n->job_end = min_u64(n->job_end, w->now + 10 * MS);
        if (n->state == NODE_FAULTED && draw_chance(stream(w, STREAM_NODE), 1, 2))
            node_crash(n, SIM_CRASH_PROCESS, 10 * MS);
        if (n->state == NODE_DOWN) node_start(n);
        /* A sync that has not failed by now never will. */
        if (n->sync_fault && n->state == NODE_UP) sim_disk_behave(n->disk);
    }
}
