/* SPDX-License-Identifier: Apache-2.0 */
/* nemesis.c - the faults of a run: one after the other at drawn moments, until the cluster is
 * healed; here those of processes and clocks, in partition.c those of the network, in atlas.c those
 * of disks. */
#include "base/min.h"
#include "sim/trace.h"
#include "sim/world.h"

#define MS   ((kelp_ns)1000000)
#define HOUR (3600 * 1000 * MS)

#define FIRST_SYNC_OF_A_START 4u /* the earlier ones are met by chance, as in any recovery */
#define LAST_SYNC_OF_A_START  10u

struct draw *nemesis_draw(struct world *w)
{
    return &w->fault;
}

kelp_ns nemesis_while(struct world *w)
{
    return draw_between(nemesis_draw(w), 50, max_u64(51, w->swarm.fault_long / MS)) * MS;
}

struct node *nemesis_node(struct world *w)
{
    return &w->nodes[draw_below(nemesis_draw(w), w->node_count)];
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
    kelp_ns after = draw_below(nemesis_draw(w), 2 * w->swarm.fault_every) + 1;
    world_push(w, w->now + after, EVENT_FAULT, 0, 0, NULL);
}

void nemesis_start(struct world *w)
{
    world_push(w, w->options.hurt, EVENT_HEAL, 0, 0, NULL);
    next_later(w);
}

void nemesis_mend_later(struct world *w, kelp_ns at, enum mend what, unsigned node, uint64_t number)
{
    world_push(w, at, EVENT_MEND, node, number << MEND_BITS | what, NULL);
}

/* ---- processes ---- */

static void crash(struct world *w, struct node *n, enum sim_disk_crash kind)
{
    if (n->state != NODE_UP && n->state != NODE_FAULTED && !n->opening) return;
    w->report->crashes++;
    w->report->power_cuts += kind == SIM_CRASH_POWER;
    bool long_gone = draw_chance(nemesis_draw(w), 1, 6);
    kelp_ns back = long_gone ? nemesis_while(w) * 2 : draw_between(nemesis_draw(w), 1, 1000) * MS;
    node_crash(n, kind, back);
}

static void power_all(struct world *w)
{
    for (unsigned i = 0; i < w->node_count; i++)
        crash(w, &w->nodes[i], SIM_CRASH_POWER);
}

static void pause_node(struct world *w, struct node *n)
{
    if (n->state != NODE_UP) return;
    node_pause(n, nemesis_while(w));
    w->report->pauses++;
}

static void pause_inside(struct world *w, struct node *n)
{
    if (n->state != NODE_UP) return;
    n->pause_inside = nemesis_while(w);
    w->report->pauses++;
}

/* A power cut soon after a start, or within it, finds what the dead process had written and not
 * synced. */
static void crash_inside(struct world *w, struct node *n)
{
    struct draw *draw = nemesis_draw(w);
    struct death death = {.wanted = true};
    death.power = draw_chance(draw, 1, 2);
    death.voting = draw_chance(draw, 1, 2);
    death.back = draw_between(draw, 1, 1000) * MS;
    if (draw_chance(draw, 1, 2))
        death.cut_after = draw_between(draw, 1, 100) * MS;
    else
        death.again = (uint32_t)draw_between(draw, FIRST_SYNC_OF_A_START, LAST_SYNC_OF_A_START);
    if (n->state == NODE_UP) n->death = death;
}

void nemesis_dies_inside(struct node *n)
{
    struct world *w = n->world;
    n->death.wanted = false;
    w->report->crashes++;
    w->report->save_crashes++;
    w->report->power_cuts += n->death.power;
    node_crash(n, n->death.power ? SIM_CRASH_POWER : SIM_CRASH_PROCESS, n->death.back);
}

void nemesis_node_started(struct node *n)
{
    kelp_ns after = n->death.wanted ? 0 : n->death.cut_after;
    n->death = (struct death){.back = n->death.back};
    if (after != 0)
        nemesis_mend_later(n->world, n->world->now + after, MEND_POWER, n->slot, n->life);
}

static void power_goes(struct node *n)
{
    struct world *w = n->world;
    w->report->crashes++;
    w->report->power_cuts++;
    node_crash(n, SIM_CRASH_POWER, n->death.back);
}

static void stop_node(struct world *w)
{
    struct node *n = nemesis_node(w);
    kelp_ns away = draw_between(nemesis_draw(w), 1, 800) * MS;
    if (draw_chance(nemesis_draw(w), 1, 2))
        mover_retires(w, n);
    else
        sim_node_stop(n, away);
}

/* ---- clocks ---- */

/* Most jumps are short; the longest is an hour. */
static void clock_jumps(struct world *w, struct node *n)
{
    kelp_ns ahead = draw_below(nemesis_draw(w), 4096) * MS;
    if (draw_chance(nemesis_draw(w), 1, 4))
        ahead = draw_between(nemesis_draw(w), 1, HOUR / MS) * MS;
    if (n->state != NODE_UP && n->state != NODE_FAULTED) return;
    node_clock_set(n, ahead, n->frozen_until == 0 ? n->clock_rate : 0);
    w->report->clock_faults++;
}

static void clock_stops(struct world *w, struct node *n)
{
    if (n->state != NODE_UP || n->frozen_until != 0) return;
    n->frozen_until = w->now + nemesis_while(w);
    node_clock_set(n, 0, 0);
    nemesis_mend_later(w, n->frozen_until, MEND_CLOCK, n->slot, n->life);
    w->report->clock_faults++;
}

/* ---- disks that are only slow ---- */

/* Draws are taken one after the other: the order in which C evaluates operands is the
 * compiler's. */
static void stall_disk(struct world *w)
{
    struct node *n = nemesis_node(w);
    n->stall = draw_below(nemesis_draw(w), w->swarm.stall_max);
    w->report->stalls++;
}

static void slow_disk(struct world *w)
{
    struct node *n = nemesis_node(w);
    n->slow_until = w->now + nemesis_while(w);
    n->slow_by = draw_below(nemesis_draw(w), 200) * MS;
    w->report->stalls++;
}

/* A job that never returns; a crash of the process ends it. */
#define JOB_HANGS (KELP_NEVER - 1)

/* Nothing ends it in a mild run: there a majority is spared. */
static bool may_hang(const struct world *w)
{
    unsigned hanging = 0;
    for (unsigned i = 0; i < w->node_count; i++)
        hanging += w->nodes[i].job_end == JOB_HANGS;
    return !w->swarm.mild || hanging < (w->node_count - 1) / 2;
}

static void hang_disk(struct world *w)
{
    struct node *n = nemesis_node(w);
    if (n->state != NODE_UP || n->job_end == KELP_NEVER || !may_hang(w)) return;
    n->job_end = JOB_HANGS;
    w->report->stalls++;
}

/* ---- which, and when it ends ---- */

static void fault_happens(struct world *w, enum sim_fault fault)
{
    switch (fault) {
    case FAULT_NONE: return;
    case FAULT_KILL: crash(w, nemesis_node(w), SIM_CRASH_PROCESS); return;
    case FAULT_POWER: crash(w, nemesis_node(w), SIM_CRASH_POWER); return;
    case FAULT_POWER_ALL: power_all(w); return;
    case FAULT_PAUSE: pause_node(w, nemesis_node(w)); return;
    case FAULT_PAUSE_INSIDE: pause_inside(w, nemesis_node(w)); return;
    case FAULT_CRASH_INSIDE: crash_inside(w, nemesis_node(w)); return;
    case FAULT_STOP: stop_node(w); return;
    case FAULT_SUSPEND: {
        struct node *n = nemesis_node(w);
        pause_node(w, n);
        clock_jumps(w, n);
        return;
    }
    case FAULT_CLOCK_JUMP: clock_jumps(w, nemesis_node(w)); return;
    case FAULT_CLOCK_STOP: clock_stops(w, nemesis_node(w)); return;
    case FAULT_STALL: stall_disk(w); return;
    case FAULT_SLOW: slow_disk(w); return;
    case FAULT_HANG: hang_disk(w); return;
    case FAULT_TRANSFER: mover_asks(w); return;
    case FAULT_HALVES:
    case FAULT_ISOLATE:
    case FAULT_ONE_WAY:
    case FAULT_BRIDGE:
    case FAULT_FLAP:
    case FAULT_CUT:
    case FAULT_STORM:
    case FAULT_STRANGER:
    case FAULT_THREE:
    case FAULT_RING:
    case FAULT_CHAIN:
    case FAULT_STAR:
    case FAULT_CLOG:
    case FAULT_SWIZZLE: partition_happens(w, fault); return;
    case FAULT_ROT_MILD:
    case FAULT_SYNC_FAILS:
    case FAULT_WRITE_FAILS:
    case FAULT_READ_FAILS:
    case FAULT_FULL:
    case FAULT_ROT:
    case FAULT_LOST_WRITE:
    case FAULT_STRAY_WRITE:
    case FAULT_STRAY_READ:
    case FAULT_WIPE: atlas_happens(w, fault); return;
    case FAULT_CHANGE: churn_happens(w); return;
    case FAULT_COUNT: break;
    }
}

void nemesis_next(struct world *w)
{
    if (w->healing || w->swarm.weight_sum == 0) return;
    uint64_t pick = draw_below(nemesis_draw(w), w->swarm.weight_sum);
    unsigned fault = 0;
    while (pick >= w->swarm.weights[fault])
        pick -= w->swarm.weights[fault++];
    world_trace(w, EVENT_FAULT, 0, fault);
    if (fault != FAULT_NONE)
        trace_words(w, KELP_SIM_FAULT, NODES_MAX, sim_fault_name((enum sim_fault)fault));
    w->report->faults += fault != FAULT_NONE;
    w->report->fault_kinds[fault]++;
    fault_happens(w, (enum sim_fault)fault);
    next_later(w);
}

void nemesis_mend(struct world *w, uint64_t what, unsigned node)
{
    struct node *n = &w->nodes[node];
    uint64_t number = what >> MEND_BITS;
    if (w->healing) return; /* what is in the core was mended, the rest stays as it is */
    switch ((enum mend)(what & ((1u << MEND_BITS) - 1))) {
    case MEND_PARTITION:
        if (number == w->net.partition) partition_mend(w);
        break;
    case MEND_STORM:
        if (number == w->net.storm) w->net.stormy = false;
        break;
    case MEND_CLOCK:
        if (number != n->life || n->frozen_until == 0) return;
        n->frozen_until = 0;
        node_clock_set(n, 0, n->clock_goes);
        n->frozen_last = w->now;
        break;
    case MEND_ROOM: atlas_room_back(n); break;
    case MEND_POWER:
        if (number != n->life) return;
        power_goes(n);
        break;
    case MEND_RETIRED:
        if (number == n->life) sim_node_stop(n, 300 * MS);
        break;
    case MEND_DRAINED:
        if (number == n->life) mover_undrains(n);
        break;
    }
    world_trace(w, EVENT_MEND, node, what);
}
