/* SPDX-License-Identifier: Apache-2.0 */
/* swarm.c - drawing a world from a seed. */
#include "sim/swarm.h"

#define MS  ((kelp_ns)1000000)
#define KIB ((uint64_t)1024)

static void draw_timers(struct swarm *s, struct draw *draw)
{
    static const uint32_t heartbeats_ms[] = {100, 100, 100, 50, 150, 200};
    s->heartbeat = heartbeats_ms[draw_below(draw, 6)] * MS;
    s->election_min = s->heartbeat * draw_between(draw, 6, 12);
    s->election_max = s->election_min + s->election_min * draw_between(draw, 5, 10) / 10;
    s->clock_drift = draw_chance(draw, 1, 2) ? (uint32_t)draw_below(draw, 50) : 0;
    if (draw_chance(draw, 1, 16)) s->clock_drift = (uint32_t)draw_below(draw, 300);
    if (draw_chance(draw, 1, 3)) s->slow_start_max = draw_between(draw, 1, 6000) * MS;
    if (draw_chance(draw, 1, 8)) s->off |= KELP_CHECK_QUORUM;
    if (draw_chance(draw, 1, 16)) s->off |= KELP_PRE_VOTE;
    if (draw_chance(draw, 1, 16)) s->off |= KELP_STICKINESS;
    s->apply_durable_only = draw_chance(draw, 1, 4);
    if (draw_chance(draw, 1, 3)) s->apply_range = draw_between(draw, 1, 50) * MS;
}

/* Small, so that edges are the common case. */
static void draw_limits(struct swarm *s, struct draw *draw)
{
    bool tiny = draw_chance(draw, 1, 4);
    s->limits = kelp_limits_small();
    s->limits.members_max = KELP_SIM_NODES_MAX;
    s->limits.proposals_max = (uint32_t)draw_between(draw, tiny ? 4 : 32, tiny ? 16 : 256);
    s->limits.reads_max = (uint32_t)draw_between(draw, tiny ? 4 : 32, tiny ? 16 : 256);
    s->limits.tail_entries_max = (uint32_t)draw_between(draw, tiny ? 8 : 64, tiny ? 32 : 512);
    s->limits.runs_max = (uint32_t)draw_between(draw, 4, tiny ? 8 : 64);
    s->limits.window_messages_max = (uint32_t)draw_between(draw, 1, tiny ? 2 : 32);
    s->limits.strangers_max = (uint32_t)draw_between(draw, 1, 16);
    s->limits.answers_max = (uint32_t)draw_between(draw, tiny ? 1 : 16, 64);
    s->limits.events_max = 64;
    s->limits.message_entries_max = (uint32_t)draw_between(draw, 1, tiny ? 4 : 64);
    s->limits.message_bytes_max = draw_between(draw, tiny ? 64 : 1024, tiny ? 1024 : 64 * KIB);
    s->limits.window_bytes_max = s->limits.message_bytes_max * draw_between(draw, 1, 8);
    s->limits.uncommitted_bytes_max = draw_between(draw, tiny ? 4 * KIB : 64 * KIB, 512 * KIB);
    s->limits.unapplied_bytes_max = draw_between(draw, tiny ? 4 * KIB : 64 * KIB, 512 * KIB);
    s->limits.entry_bytes_max = 16 * KIB;
    s->trailing_entries = draw_chance(draw, 1, 3) ? 0 : draw_below(draw, 17);
    s->snapshot_every = draw_between(draw, 4, 64);
    s->segment_bytes = 4 * KIB * draw_between(draw, 4, 12);
    s->zero_piece_bytes = draw_chance(draw, 3, 4) ? 64 * KIB : 4 * KIB * draw_between(draw, 1, 4);
    s->spares = (uint32_t)draw_between(draw, 1, 4);
}

static uint32_t rate(struct draw *draw, uint32_t most)
{
    return draw_chance(draw, 1, 3) ? 0 : (uint32_t)draw_below(draw, most + 1);
}

static void draw_network(struct swarm *s, struct draw *draw)
{
    s->delay_min = draw_between(draw, 50, 2000) * 1000;
    s->delay_range = draw_between(draw, 100, draw_chance(draw, 1, 8) ? 60000 : 4000) * 1000;
    s->delay_late = draw_between(draw, 10, 2000) * MS;
    s->late = rate(draw, 1300);
    s->lost = rate(draw, draw_chance(draw, 1, 8) ? 26000 : 1300);
    s->repeated = rate(draw, 1300);
    s->replayed = rate(draw, draw_chance(draw, 1, 16) ? 20000 : 650);
    s->damaged = rate(draw, 130);
    s->capacity = (uint32_t)draw_between(draw, draw_chance(draw, 1, 4) ? 2 : 16, 128);
    s->ordered = draw_chance(draw, 1, 2);
    s->pieces = draw_chance(draw, 1, 2);
}

static void draw_disk(struct swarm *s, struct draw *draw)
{
    s->save_min = draw_between(draw, 20, 500) * 1000;
    s->save_range = draw_between(draw, 50, draw_chance(draw, 1, 6) ? 40000 : 3000) * 1000;
    s->stall_max = draw_between(draw, 100, 6000) * MS;
    s->tear_bytes = draw_chance(draw, 1, 2) ? 512 : 4096;
    s->crash_in_recovery = draw_chance(draw, 1, 2);
    s->garbled = draw_chance(draw, 1, 3);
    s->names_loose = draw_chance(draw, 1, 3);
    s->atlas = !draw_chance(draw, 1, 24);
    uint64_t first = draw_below(draw, s->nodes);
    for (uint64_t i = 0; i < (s->nodes - 1) / 2; i++)
        s->frail |= 1u << (first + i) % s->nodes;
}

/* With the usual share of reads the second line is 45 % read, 35 % write, 15 % compare-and-set and
 * 5 % INCR. */
static void draw_mix(struct swarm *s, struct draw *draw)
{
    static const uint8_t mixes[16][MACHINE_SEVERAL + 1] = {
        /* registers, swaps, counters, lists, several */
        {100, 0, 0, 0, 0},  {57, 34, 9, 0, 0},  {57, 34, 9, 0, 0},  {57, 34, 9, 0, 0},
        {57, 34, 9, 0, 0},  {57, 34, 9, 0, 0},  {57, 34, 9, 0, 0},  {45, 25, 5, 25, 0},
        {25, 10, 5, 60, 0}, {45, 25, 5, 0, 25}, {25, 10, 5, 0, 60}, {40, 20, 10, 15, 15},
        {0, 100, 0, 0, 0},  {0, 0, 100, 0, 0},  {0, 0, 0, 100, 0},  {0, 0, 0, 0, 100},
    };
    const uint8_t *mix = mixes[draw_below(draw, 16)];
    for (unsigned kind = 0; kind <= MACHINE_SEVERAL; kind++)
        s->shares[kind] = mix[kind];
}

static void draw_clients(struct swarm *s, struct draw *draw)
{
    s->clients = (uint32_t)draw_between(draw, 3, 6);
    s->pipeline = (uint32_t)draw_between(draw, 1, 16);
    s->registers = (uint32_t)draw_between(draw, 5, 20);
    s->read_percent = (uint32_t)draw_between(draw, 30, 60);
    s->local_percent = draw_chance(draw, 1, 3) ? (uint32_t)draw_below(draw, 50) : 0;
    s->filling = draw_chance(draw, 1, 3) ? (uint32_t)draw_below(draw, 2000) : 0;
    /* A burst is half the pipeline on average; together about 60 a second while every client's node
     * is up, which is 21 over a run of the default mix. */
    s->think = s->clients * (s->pipeline + 1) * 1000 * MS / 2 / draw_between(draw, 54, 66);
    s->deadline = draw_between(draw, 1000, 6000) * MS;
}

/* The one kind of fault of a mild run, and what it may do then. All of them leave a majority that
 * can go on. */
static void draw_mild(struct swarm *s, struct draw *draw)
{
    static const enum sim_fault kinds[] = {
        FAULT_NONE,       FAULT_KILL,        FAULT_POWER,       FAULT_PAUSE,      FAULT_ISOLATE,
        FAULT_BRIDGE,     FAULT_FLAP,        FAULT_CUT,         FAULT_STALL,      FAULT_STOP,
        FAULT_CHAIN,      FAULT_CLOG,        FAULT_CLOCK_JUMP,  FAULT_SUSPEND,    FAULT_CLOCK_STOP,
        FAULT_SLOW,       FAULT_HANG,        FAULT_ROT,         FAULT_ROT_MILD,   FAULT_SYNC_FAILS,
        FAULT_FULL,       FAULT_WIPE,        FAULT_WRITE_FAILS, FAULT_READ_FAILS, FAULT_STRANGER,
        FAULT_LOST_WRITE, FAULT_STRAY_WRITE, FAULT_STRAY_READ,  FAULT_TRANSFER,
    };
    const struct swarm all = *s;
    enum sim_fault kind = kinds[draw_below(draw, sizeof kinds / sizeof kinds[0])];
    swarm_calm(s);
    /* With no kind of its own the network is what is wrong, in one way. */
    switch (draw_below(draw, 4)) {
    case 0: s->late = kind == FAULT_NONE ? all.late : 0; break;
    case 1: s->lost = kind == FAULT_NONE ? (uint32_t)draw_below(draw, 6500) : 0; break;
    case 2: s->repeated = kind == FAULT_NONE ? all.repeated : 0; break;
    case 3: s->replayed = kind == FAULT_NONE ? all.replayed : 0; break;
    }
    s->mild = s->atlas = true;
    s->off = 0;
    s->slow_start_max = 0;
    for (unsigned i = 0; i < FAULT_COUNT; i++)
        s->weights[i] = i == kind;
    s->weight_sum = 1;
    s->fault_every = 4 * s->election_max;
    s->fault_long = s->stall_max = 2 * s->election_max;
}

static void weights_sum(struct swarm *s)
{
    s->weight_sum = 0;
    for (unsigned i = 0; i < FAULT_COUNT; i++)
        s->weight_sum += s->weights[i];
    if (s->weight_sum > s->weights[FAULT_NONE]) return;
    s->weights[FAULT_KILL] = 1; /* a run has some fault */
    s->weight_sum++;
}

static void draw_faults(struct swarm *s, struct draw *draw)
{
    static const uint32_t weights[FAULT_COUNT] = {
        [FAULT_NONE] = 1,         [FAULT_KILL] = 10,        [FAULT_POWER] = 10,
        [FAULT_POWER_ALL] = 1,    [FAULT_PAUSE] = 8,        [FAULT_HALVES] = 5,
        [FAULT_ISOLATE] = 6,      [FAULT_ONE_WAY] = 6,      [FAULT_BRIDGE] = 3,
        [FAULT_FLAP] = 3,         [FAULT_CUT] = 6,          [FAULT_STALL] = 6,
        [FAULT_STORM] = 4,        [FAULT_STRANGER] = 3,     [FAULT_STOP] = 3,
        [FAULT_THREE] = 2,        [FAULT_RING] = 2,         [FAULT_CHAIN] = 2,
        [FAULT_STAR] = 2,         [FAULT_CLOG] = 5,         [FAULT_SWIZZLE] = 3,
        [FAULT_SUSPEND] = 2,      [FAULT_PAUSE_INSIDE] = 4, [FAULT_CLOCK_JUMP] = 2,
        [FAULT_SLOW] = 2,         [FAULT_CLOCK_STOP] = 2,   [FAULT_ROT_MILD] = 4,
        [FAULT_CRASH_INSIDE] = 8, [FAULT_TRANSFER] = 8,
    };
    /* These may take a node away, so few runs have them: in how many of 16, and how often. */
    static const uint8_t grave[][3] = {
        {FAULT_HANG, 2, 1},       {FAULT_SYNC_FAILS, 4, 2},  {FAULT_WRITE_FAILS, 2, 1},
        {FAULT_READ_FAILS, 2, 1}, {FAULT_FULL, 5, 5},        {FAULT_ROT, 5, 3},
        {FAULT_LOST_WRITE, 3, 1}, {FAULT_STRAY_WRITE, 3, 1}, {FAULT_STRAY_READ, 2, 1},
        {FAULT_WIPE, 2, 1},
    };
    s->fault_every = draw_between(draw, 500, 900) * MS;
    s->fault_long = draw_between(draw, 500, 8000) * MS;
    for (unsigned i = 0; i < FAULT_COUNT; i++)
        s->weights[i] = i == FAULT_NONE || draw_chance(draw, 2, 3) ? weights[i] : 0;
    for (unsigned i = 0; i < sizeof grave / sizeof grave[0]; i++)
        s->weights[grave[i][0]] = draw_chance(draw, grave[i][1], 16) ? grave[i][2] : 0;
    weights_sum(s);
    if (draw_chance(draw, 1, 12) && s->nodes >= 3) draw_mild(s, draw);
}

/* In some runs the membership changes all the time. Disks are whole then. Who joins late finds all
 * entries, or a snapshot with whatever configuration was committed when it was taken. */
static void draw_churn(struct swarm *s, struct draw *draw)
{
    bool changes = draw_chance(draw, 1, 4);
    uint32_t founders = (uint32_t)draw_between(draw, 1, s->nodes);
    s->founders = s->nodes;
    if (!changes || s->mild || s->nodes < 3) return;
    s->founders = founders;
    s->atlas = true;
    for (unsigned i = FAULT_SYNC_FAILS; i <= FAULT_WIPE; i++)
        s->weights[i] = 0;
    s->weights[FAULT_HANG] = 0;
    s->weights[FAULT_CHANGE] = 20;
    if (draw_chance(draw, 1, 3)) s->remove_unseen = draw_between(draw, 2, 8) * s->election_max;
    s->remove_voters_min = (uint32_t)draw_between(draw, 1, 3);
    if (draw_chance(draw, 1, 3)) s->join_healthy = draw_between(draw, 100, 3000) * MS;
    s->witness = draw_chance(draw, 1, 3);
    if (s->witness) {
        s->founders = (uint32_t)draw_between(draw, 2, s->nodes - 1);
        s->weights[FAULT_CHANGE] = 6;
    }
    weights_sum(s);
}

/* Whoever is quick to stand leads most, and its lease is over early: the slowest must be made to
 * lead, and then be out of reach. */
static void lead_and_vanish(struct swarm *s)
{
    s->weights[FAULT_TRANSFER] = 30;
    s->weights[FAULT_ISOLATE] = 30;
}

/* A lease believes that no two clocks drift further apart than a bound: the fastest and the slowest
 * of this run, or a little more. Clocks that jump or stand still keep no bound. */
static void draw_lease(struct swarm *s, struct draw *draw)
{
    bool leases = draw_chance(draw, 1, 2), longest = draw_chance(draw, 1, 2);
    bool split = draw_chance(draw, 1, 2);
    uint64_t more = draw_below(draw, 1000), share = draw_between(draw, 20, 100);
    uint64_t drift = s->clock_drift;
    uint32_t readers = (uint32_t)draw_below(draw, 2);
    s->drift_ppm = (uint32_t)(2 * drift * 1000000 / (1000 - drift) + 1 + more);
    if (!leases || (s->off & KELP_STICKINESS) != 0) return;
    kelp_ns most = kelp_lease_max(s->election_min, s->drift_ppm);
    s->lease = longest ? most : most * share / 100;
    s->readers = readers;
    if (s->mild) {
        bool clock = s->weights[FAULT_SUSPEND] + s->weights[FAULT_CLOCK_JUMP] +
                         s->weights[FAULT_CLOCK_STOP] >
                     0;
        if (clock) s->lease = 0;
        return;
    }
    s->weights[FAULT_SUSPEND] = s->weights[FAULT_CLOCK_JUMP] = s->weights[FAULT_CLOCK_STOP] = 0;
    s->clock_split = split;
    if (split) lead_and_vanish(s);
    weights_sum(s);
}

void swarm_drift(struct swarm *s)
{
    s->off = 0;
    s->clock_drift = 400;
    s->clock_split = true;
    s->drift_ppm = 0;
    s->lease = s->election_min;
    s->election_max = s->election_min + s->election_min / 8; /* somebody stands early */
    s->readers = 2;
    s->mild = false;
    s->founders = s->nodes;
    for (unsigned i = 0; i < FAULT_COUNT; i++)
        s->weights[i] = 0;
    lead_and_vanish(s);
    weights_sum(s);
}

/* How snapshots are taken besides every so many entries; drawn last, so that all else of a seed is
 * as it was before there were such. */
static void draw_snapshots(struct swarm *s, struct draw *draw)
{
    s->snapshot_objects = draw_chance(draw, 2, 3);
    s->snapshot_chunk = draw_between(draw, 1, 1500);
    s->snapshots_kept = (uint32_t)draw_between(draw, 1, 3);
    if (s->snapshot_every == 0) return;
    if (draw_chance(draw, 1, 4)) s->snapshot_log_bytes = draw_between(draw, 1, 64) * 4096;
    s->snapshot_ratio = (uint32_t)draw_below(draw, 5);
    if (draw_chance(draw, 1, 3)) s->snapshot_asked = draw_between(draw, 50, 2000);
    if (draw_chance(draw, 1, 4)) s->snapshot_interval = draw_between(draw, 100, 5000) * MS;
    s->hold_bytes = draw_chance(draw, 1, 2) ? draw_below(draw, 64) * 1024 : 0;
    if (draw_chance(draw, 1, 4)) s->send_rate = draw_between(draw, 1, 64) * 1024;
    /* a piece of 10 KiB takes no longer than is waited for one */
    if (draw_chance(draw, 1, 6)) s->lane_rate = draw_between(draw, 2048, 16384);
}

void swarm_draw(struct swarm *s, struct draw *draw, uint32_t nodes)
{
    static const uint32_t sizes[] = {5, 5, 5, 5, 5, 5, 5, 5, 5, 3, 3, 3, 7, 4, 2, 1};
    *s = (struct swarm){0};
    uint32_t drawn = sizes[draw_below(draw, 16)];
    s->nodes = nodes != 0 ? nodes : drawn;
    draw_timers(s, draw);
    draw_limits(s, draw);
    draw_network(s, draw);
    draw_disk(s, draw);
    draw_clients(s, draw);
    draw_mix(s, draw);
    draw_faults(s, draw);
    draw_churn(s, draw);
    s->level_percent = draw_chance(draw, 3, 4) ? (uint32_t)draw_between(draw, 10, 70) : 0;
    s->elsewhere = draw_chance(draw, 1, 6) ? (uint32_t)draw_below(draw, 1u << s->nodes) : 0;
    draw_lease(s, draw);
    draw_snapshots(s, draw);
    if (draw_chance(draw, 1, 3)) s->once = (uint32_t)draw_between(draw, 1, s->clients);
    if (draw_chance(draw, 1, 3)) s->lent_share = (uint32_t)draw_between(draw, 10, 60);
    s->shares[MACHINE_LEND] = s->lent_share;
}

void swarm_together(struct swarm *s)
{
    if (s->once == 0) s->once = 1 + s->clients / 2;
    if (s->lent_share == 0) s->lent_share = s->shares[MACHINE_LEND] = 30;
    s->snapshot_every = s->snapshot_every < 16 ? s->snapshot_every : 16;
}

void swarm_calm(struct swarm *s)
{
    s->lost = s->repeated = s->replayed = s->damaged = s->late = 0;
    s->delay_range = s->delay_range < 4 * MS ? s->delay_range : 4 * MS;
    s->save_range = s->save_range < 4 * MS ? s->save_range : 4 * MS;
    s->apply_range = s->apply_range < 4 * MS ? s->apply_range : 4 * MS;
    s->capacity = 1024;
    s->pieces = false;
    s->slow_start_max = 0;
    s->crash_in_recovery = false;
    s->weight_sum = 0;
}

const char *sim_fault_name(enum sim_fault fault)
{
    static const char *const names[FAULT_COUNT] = {
        "none",        "kill",        "power",      "power-all",    "pause",    "halves",
        "isolate",     "one-way",     "bridge",     "flap",         "cut",      "stall",
        "storm",       "stranger",    "stop",       "three",        "ring",     "chain",
        "star",        "clog",        "swizzle",    "pause-inside", "suspend",  "clock-jump",
        "clock-stop",  "slow",        "hang",       "crash-inside", "transfer", "rot-mild",
        "sync-fails",  "write-fails", "read-fails", "full",         "rot",      "lost-write",
        "stray-write", "stray-read",  "wipe",       "change",
    };
    return fault < FAULT_COUNT ? names[fault] : "?";
}
