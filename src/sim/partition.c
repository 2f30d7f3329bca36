/* SPDX-License-Identifier: Apache-2.0 */
/* partition.c - what happens to the network: who hears whom, which links stand still.
 *
 * One partition at a time: the next one takes its place. A cut frame is gone; what meets a clog
 * waits behind it and then comes all at once.
 * Source: partial partitions that stop some Raft implementations for good, from Ng, Haridi and
 * Carbone, "Omni-Paxos", EuroSys 2023; links stopped one by one and restarted in another order:
 * Zhou et al., "FoundationDB", SIGMOD 2021. */
#include "base/assert.h"
#include "sim/world.h"

#define MS ((kelp_ns)1000000)

void partition_cut(struct world *w, unsigned from, unsigned to)
{
    w->net.cut[from][to] = true;
}

static void cut_both(struct world *w, unsigned a, unsigned b)
{
    w->net.cut[a][b] = w->net.cut[b][a] = true;
}

void partition_mend(struct world *w)
{
    w->net.flap_until = 0;
    for (unsigned a = 0; a < w->node_count; a++) {
        for (unsigned b = 0; b < w->node_count; b++)
            w->net.cut[a][b] = false;
    }
}

static void partition_begin(struct world *w)
{
    partition_mend(w);
    w->net.partition++;
    w->report->cuts++;
    nemesis_mend_later(w, w->now + nemesis_while(w), MEND_PARTITION, 0, w->net.partition);
}

/* Two or three parts; with a bridge one node stays in touch with all. */
static void parts(struct world *w, bool bridge, unsigned count)
{
    uint64_t sides = draw_bytes(nemesis_draw(w), 2);
    unsigned middle = bridge ? nemesis_node(w)->slot : NODES_MAX;
    partition_begin(w);
    for (unsigned a = 0; a < w->node_count; a++) {
        for (unsigned b = 0; b < a; b++) {
            bool together = (sides >> 2 * a & 3) % count == (sides >> 2 * b & 3) % count;
            if (a != middle && b != middle && !together) cut_both(w, a, b);
        }
    }
}

static void isolate(struct world *w)
{
    unsigned alone = nemesis_node(w)->slot;
    partition_begin(w);
    for (unsigned b = 0; b < w->node_count; b++) {
        if (b != alone) cut_both(w, alone, b);
    }
}

/* One node that is not heard, one that does not hear, or one direction of one pair. */
static void one_way(struct world *w)
{
    unsigned a = nemesis_node(w)->slot, b = nemesis_node(w)->slot;
    uint64_t kind = draw_below(nemesis_draw(w), 3);
    partition_begin(w);
    for (unsigned i = 0; i < w->node_count && kind < 2; i++) {
        if (i != a) w->net.cut[kind == 0 ? a : i][kind == 0 ? i : a] = true;
    }
    if (kind == 2 && a != b) w->net.cut[a][b] = true;
}

/* Nodes in a circle or a row, in a drawn order; each stays in touch with `reach` on either side. */
static void row(struct world *w, bool closed, unsigned reach)
{
    unsigned count = w->node_count, order[NODES_MAX];
    for (unsigned i = 0; i < count; i++)
        order[i] = i;
    for (unsigned i = count - 1; i > 0; i--) {
        unsigned other = (unsigned)(draw_bytes(nemesis_draw(w), 1) * (i + 1) >> 8);
        unsigned slot = order[i];
        order[i] = order[i - other];
        order[i - other] = slot;
    }
    partition_begin(w);
    for (unsigned a = 0; a < count; a++) {
        for (unsigned b = 0; b < a; b++) {
            unsigned apart = a - b;
            if (closed && count - apart < apart) apart = count - apart;
            if (apart > reach) cut_both(w, order[a], order[b]);
        }
    }
}

static void star(struct world *w)
{
    unsigned middle = nemesis_node(w)->slot;
    partition_begin(w);
    for (unsigned a = 0; a < w->node_count; a++) {
        for (unsigned b = 0; b < a; b++) {
            if (a != middle && b != middle) cut_both(w, a, b);
        }
    }
}

static void flap_begin(struct world *w)
{
    partition_begin(w);
    w->net.flap_a = nemesis_node(w)->slot;
    w->net.flap_b = nemesis_node(w)->slot;
    w->net.flap_until = w->now + nemesis_while(w);
    world_push(w, w->now, EVENT_FLAP, 0, w->net.partition, NULL);
}

void partition_flap(struct world *w, uint64_t number)
{
    struct net *net = &w->net;
    if (number != net->partition || w->now >= net->flap_until) return;
    world_trace(w, EVENT_FLAP, net->flap_a, net->flap_b);
    bool cut = !net->cut[net->flap_a][net->flap_b];
    net->cut[net->flap_a][net->flap_b] = net->cut[net->flap_b][net->flap_a] = cut;
    kelp_ns after = draw_between(stream(w, STREAM_NET), 100, 1000) * MS;
    world_push(w, w->now + after, EVENT_FLAP, 0, number, NULL);
}

static void clog_one(struct world *w)
{
    unsigned a = nemesis_node(w)->slot, b = nemesis_node(w)->slot;
    w->net.clogs[a][b] = (struct clog){w->now, w->now + nemesis_while(w)};
    w->report->clogs++;
}

/* Each drawn node's links stand still from a moment of the first half on until one of the second
 * half, each by itself. */
static void swizzle(struct world *w)
{
    struct draw *draw = nemesis_draw(w);
    kelp_ns half = nemesis_while(w);
    uint64_t who = draw_bytes(draw, 1);
    for (unsigned a = 0; a < w->node_count; a++) {
        kelp_ns from = w->now + half * draw_bytes(draw, 1) / 256;
        kelp_ns until = w->now + half + half * draw_bytes(draw, 1) / 256;
        if ((who >> a & 1) == 0) continue;
        for (unsigned b = 0; b < w->node_count; b++)
            w->net.clogs[a][b] = w->net.clogs[b][a] = (struct clog){from, until};
    }
    w->report->clogs++;
}

static void storm_begin(struct world *w)
{
    w->net.stormy = true;
    w->net.storm++;
    nemesis_mend_later(w, w->now + nemesis_while(w), MEND_STORM, 0, w->net.storm);
}

static void halves(struct world *w)
{
    parts(w, false, 2);
}

static void three(struct world *w)
{
    parts(w, false, 3);
}

static void bridge(struct world *w)
{
    parts(w, true, 2);
}

/* On either side a quarter of the others: together with itself a majority. */
static void ring(struct world *w)
{
    row(w, true, (w->node_count + 2) / 4);
}

static void chain(struct world *w)
{
    row(w, false, 1);
}

static void cut_connections(struct world *w)
{
    net_cut_connections(w, nemesis_node(w)->slot);
}

void partition_happens(struct world *w, enum sim_fault fault)
{
    static void (*const kinds[FAULT_COUNT])(struct world *) = {
        [FAULT_HALVES] = halves,       [FAULT_THREE] = three,
        [FAULT_BRIDGE] = bridge,       [FAULT_ISOLATE] = isolate,
        [FAULT_ONE_WAY] = one_way,     [FAULT_RING] = ring,
        [FAULT_CHAIN] = chain,         [FAULT_STAR] = star,
        [FAULT_FLAP] = flap_begin,     [FAULT_CLOG] = clog_one,
        [FAULT_SWIZZLE] = swizzle,     [FAULT_STORM] = storm_begin,
        [FAULT_CUT] = cut_connections, [FAULT_STRANGER] = knock_stranger,
    };
    ASSERT(kinds[fault] != NULL);
    kinds[fault](w);
}
