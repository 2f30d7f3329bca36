/* SPDX-License-Identifier: Apache-2.0 */
/* swarm.c - drawing a world from a seed. */
#include "sim/swarm.h"

#define MS  ((kelp_ns)1000000)
#define KIB ((uint64_t)1024)

static void draw_timers(struct swarm *s, struct prng *prng)
{
    static const uint32_t heartbeats_ms[] = {100, 100, 100, 50, 150, 200};
    s->heartbeat = heartbeats_ms[prng_below(prng, 6)] * MS;
    s->election_min = s->heartbeat * prng_between(prng, 6, 12);
    s->election_max = s->election_min + s->election_min * prng_between(prng, 5, 10) / 10;
    s->clock_drift = prng_chance(prng, 1, 2) ? (uint32_t)prng_below(prng, 50) : 0;
    if (prng_chance(prng, 1, 8)) s->off |= KELP_CHECK_QUORUM;
    if (prng_chance(prng, 1, 16)) s->off |= KELP_PRE_VOTE;
    if (prng_chance(prng, 1, 16)) s->off |= KELP_STICKINESS;
    if (prng_chance(prng, 1, 3)) s->apply_range = prng_between(prng, 1, 50) * MS;
}

/* Small, so that edges are the common case. */
static void draw_limits(struct swarm *s, struct prng *prng)
{
    bool tiny = prng_chance(prng, 1, 4);
    s->limits = kelp_limits_small();
    s->limits.members_max = KELP_SIM_NODES_MAX;
    s->limits.proposals_max = (uint32_t)prng_between(prng, tiny ? 4 : 32, tiny ? 16 : 256);
    s->limits.reads_max = (uint32_t)prng_between(prng, tiny ? 4 : 32, tiny ? 16 : 256);
    s->limits.tail_entries_max = (uint32_t)prng_between(prng, tiny ? 8 : 64, tiny ? 32 : 512);
    s->limits.runs_max = (uint32_t)prng_between(prng, 4, tiny ? 8 : 64);
    s->limits.window_messages_max = (uint32_t)prng_between(prng, 1, tiny ? 2 : 32);
    s->limits.strangers_max = (uint32_t)prng_between(prng, 1, 16);
    s->limits.answers_max = (uint32_t)prng_between(prng, tiny ? 1 : 16, 64);
    s->limits.events_max = 64;
    s->limits.message_entries_max = (uint32_t)prng_between(prng, 1, tiny ? 4 : 64);
    s->limits.message_bytes_max = prng_between(prng, tiny ? 64 : 1024, tiny ? 1024 : 64 * KIB);
    s->limits.window_bytes_max = s->limits.message_bytes_max * prng_between(prng, 1, 8);
    s->limits.uncommitted_bytes_max = prng_between(prng, tiny ? 4 * KIB : 64 * KIB, 512 * KIB);
    s->limits.unapplied_bytes_max = prng_between(prng, tiny ? 4 * KIB : 64 * KIB, 512 * KIB);
    s->limits.entry_bytes_max = 16 * KIB;
    s->trailing_entries = prng_chance(prng, 1, 3) ? 0 : prng_below(prng, 17);
    s->snapshot_every = prng_between(prng, 4, 64);
    s->segment_bytes = 4 * KIB * prng_between(prng, 4, 12);
    s->zero_piece_bytes = prng_chance(prng, 3, 4) ? 64 * KIB : 4 * KIB * prng_between(prng, 1, 4);
    s->spares = (uint32_t)prng_between(prng, 1, 4);
}

static uint32_t rate(struct prng *prng, uint32_t most)
{
    return prng_chance(prng, 1, 3) ? 0 : (uint32_t)prng_below(prng, most + 1);
}

static void draw_network(struct swarm *s, struct prng *prng)
{
    s->delay_min = prng_between(prng, 50, 2000) * 1000;
    s->delay_range = prng_between(prng, 100, prng_chance(prng, 1, 8) ? 60000 : 4000) * 1000;
    s->delay_late = prng_between(prng, 10, 2000) * MS;
    s->late = rate(prng, 1300);
    s->lost = rate(prng, prng_chance(prng, 1, 8) ? 6500 : 1300);
    s->repeated = rate(prng, 1300);
    s->replayed = rate(prng, 650);
    s->damaged = rate(prng, 130);
    s->capacity = (uint32_t)prng_between(prng, prng_chance(prng, 1, 4) ? 2 : 16, 128);
    s->ordered = prng_chance(prng, 1, 2);
}

static void draw_disk(struct swarm *s, struct prng *prng)
{
    s->save_min = prng_between(prng, 20, 500) * 1000;
    s->save_range = prng_between(prng, 50, prng_chance(prng, 1, 6) ? 40000 : 3000) * 1000;
    s->stall_max = prng_between(prng, 100, 6000) * MS;
    s->tear_bytes = prng_chance(prng, 1, 2) ? 512 : 4096;
    s->crash_in_recovery = prng_chance(prng, 1, 2);
}

static void draw_clients(struct swarm *s, struct prng *prng)
{
    s->clients = (uint32_t)prng_between(prng, 3, 6);
    s->pipeline = (uint32_t)prng_between(prng, 1, 16);
    s->registers = (uint32_t)prng_between(prng, 5, 20);
    s->read_percent = (uint32_t)prng_between(prng, 30, 60);
    s->local_percent = prng_chance(prng, 1, 3) ? (uint32_t)prng_below(prng, 50) : 0;
    s->filling = prng_chance(prng, 1, 3) ? (uint32_t)prng_below(prng, 2000) : 0;
    /* A burst is half the pipeline on average; together at least 24 requests a second. */
    s->think = s->clients * (s->pipeline + 1) * 1000 * MS / 2 / prng_between(prng, 24, 32);
    s->deadline = prng_between(prng, 1000, 6000) * MS;
}

static void draw_faults(struct swarm *s, struct prng *prng)
{
    static const uint32_t weights[FAULT_COUNT] = {
        [FAULT_KILL] = 10,    [FAULT_POWER] = 10,  [FAULT_POWER_ALL] = 1, [FAULT_PAUSE] = 8,
        [FAULT_HALVES] = 5,   [FAULT_ISOLATE] = 6, [FAULT_ONE_WAY] = 6,   [FAULT_BRIDGE] = 3,
        [FAULT_FLAP] = 3,     [FAULT_CUT] = 6,     [FAULT_STALL] = 6,     [FAULT_STORM] = 4,
        [FAULT_STRANGER] = 3, [FAULT_STOP] = 3,
    };
    s->fault_every = prng_between(prng, 500, 900) * MS;
    s->fault_long = prng_between(prng, 500, 8000) * MS;
    s->weight_sum = 0;
    for (unsigned i = 0; i < FAULT_COUNT; i++) {
        s->weights[i] = prng_chance(prng, 2, 3) ? weights[i] : 0;
        s->weight_sum += s->weights[i];
    }
    /* These take a node away, so few runs have them. */
    if (prng_chance(prng, 1, 4)) s->weights[FAULT_SYNC_FAILS] = 2;
    if (prng_chance(prng, 1, 8)) s->weights[FAULT_WIPE] = 1;
    if (s->weight_sum == 0) s->weights[FAULT_KILL] = 1;
    s->weight_sum = 0;
    for (unsigned i = 0; i < FAULT_COUNT; i++)
        s->weight_sum += s->weights[i];
}

void swarm_draw(struct swarm *s, struct prng *prng, uint32_t nodes)
{
    static const uint32_t sizes[] = {5, 5, 5, 5, 5, 5, 5, 5, 5, 3, 3, 3, 7, 4, 2, 1};
    *s = (struct swarm){0};
    uint32_t drawn = sizes[prng_below(prng, 16)];
    s->nodes = nodes != 0 ? nodes : drawn;
    draw_timers(s, prng);
    draw_limits(s, prng);
    draw_network(s, prng);
    draw_disk(s, prng);
    draw_clients(s, prng);
    draw_faults(s, prng);
}

void swarm_calm(struct swarm *s)
{
    s->lost = s->repeated = s->replayed = s->damaged = s->late = 0;
    s->delay_range = s->delay_range < 4 * MS ? s->delay_range : 4 * MS;
    s->save_range = s->save_range < 4 * MS ? s->save_range : 4 * MS;
    s->apply_range = s->apply_range < 4 * MS ? s->apply_range : 4 * MS;
    s->capacity = 1024;
    s->crash_in_recovery = false;
    s->weight_sum = 0;
}

const char *sim_fault_name(enum sim_fault fault)
{
    static const char *const names[FAULT_COUNT] = {
        "kill", "power", "power-all", "pause", "halves",   "isolate", "one-way",    "bridge",
        "flap", "cut",   "stall",     "storm", "stranger", "stop",    "sync-fails", "wipe",
    };
    return fault < FAULT_COUNT ? names[fault] : "?";
}
