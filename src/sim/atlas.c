/* SPDX-License-Identifier: Apache-2.0 */
/* atlas.c - which disks may be harmed, how, and what a node may do that was.
 *
 * The atlas is drawn before the first event: a minority of nodes is frail. Only their disks rot,
 * lose writes, fail or fill up, so a quorum of whole ones is always left and everything that was
 * ever acknowledged stays recoverable. Until nodes repair themselves a node that meets harm stops:
 * it refuses to start, or faults, and says where. What it must never do is to go on as if nothing
 * had happened with less than it promised; the checker compares every recovered log, term and vote
 * with what was reported durable (I31, I32). Harm that a node must not mind, one of two copies or
 * bytes that mean nothing, comes to every disk; and every disk may be full for a while.
 *
 * In a run without the atlas every disk is frail. Nothing is demanded then but honesty. */
#include <stdio.h>
#include <string.h>

#include "base/min.h"
#include "sim/trace.h"
#include "sim/world.h"

#define MS ((kelp_ns)1000000)

#define SPARE_ROOM (64u * 1024) /* a shrunken disk has less than this left */

static bool frail(const struct node *n)
{
    const struct swarm *s = &n->world->swarm;
    return !s->atlas || (s->frail >> n->slot & 1) != 0;
}

/* Before the founding is over an emptied or harmed node leaves nothing to demand. */
static bool may_harm(const struct node *n)
{
    return frail(n) && (!n->world->swarm.atlas || checker_commit(n->world->checker) > 1) &&
           !n->wiped;
}

static bool runs(const struct node *n)
{
    return n->state == NODE_UP && driver_core(n->driver) != NULL;
}

bool atlas_harmless(const struct node *n)
{
    return !n->harm.rotten && !n->wiped;
}

/* ---- doing it -------------------------------------------------------------------------------- */

static struct sim_disk_aim aim_draw(struct world *w)
{
    /* Of sixteen: most go to the log. */
    static const uint8_t parts[16] = {
        [10] = SIM_PART_SNAPSHOT, SIM_PART_SNAPSHOT, SIM_PART_VOTE, SIM_PART_VOTE,
        SIM_PART_IDENTITY,        SIM_PART_VOTE};
    struct draw *draw = nemesis_draw(w);
    struct sim_disk_aim aim = {.part = parts[draw_bytes(draw, 1) >> 4]};
    aim.cached = draw_chance(draw, 1, 4);
    aim.file = (uint32_t)draw_bytes(draw, 1);
    aim.place = (uint32_t)draw_bytes(draw, 2);
    aim.bit = (uint32_t)draw_bytes(draw, 2);
    return aim;
}

static void harm_noted(struct node *n, const struct sim_disk_hit *hit)
{
    struct world *w = n->world;
    w->report->disk_harms++;
    char line[FILE_NAME_MAX + 64];
    (void)snprintf(line, sizeof line, "its disk is harmed: %s at %llu", hit->path,
                   (unsigned long long)hit->offset);
    trace_words(w, KELP_SIM_FAULT, n->slot, line);
}

/* The node itself, or the next one that may be harmed. */
static struct node *next_frail(struct node *n)
{
    struct world *w = n->world;
    for (unsigned i = 0; i < w->node_count; i++) {
        struct node *next = &w->nodes[(n->slot + i) % w->node_count];
        if (may_harm(next) && next->state != NODE_GONE) return next;
    }
    return n;
}

static void rot(struct world *w, bool mild)
{
    struct node *n = mild ? nemesis_node(w) : next_frail(nemesis_node(w));
    struct sim_disk_aim aim = aim_draw(w);
    struct sim_disk_hit hit;
    bool at_rest = draw_chance(nemesis_draw(w), 1, 2);
    aim.mild = mild;
    /* A cut may have torn one copy of a vote: the other must not rot before the next start. */
    bool twins = aim.part == SIM_PART_VOTE || aim.part == SIM_PART_IDENTITY;
    if (mild ? twins && n->state != NODE_UP : !may_harm(n)) return;
    if (at_rest && !mild) node_crash(n, SIM_CRASH_POWER, 500 * MS);
    if (!sim_disk_rot(n->disk, &aim, &hit)) return;
    n->harm.rotten = n->harm.rotten || !mild;
    harm_noted(n, &hit);
}

static void write_lost(struct world *w, bool stray)
{
    struct node *n = nemesis_node(w);
    struct sim_disk_aim from = aim_draw(w), to = aim_draw(w);
    struct sim_disk_hit hits[2];
    if (!may_harm(n) || !runs(n)) return;
    if (from.part != SIM_PART_VOTE) from.part = SIM_PART_LOG;
    if (!(stray ? sim_disk_stray(n->disk, &from, &to, hits)
                : sim_disk_lose(n->disk, &from, &hits[0])))
        return;
    n->harm.rotten = true;
    harm_noted(n, &hits[0]);
    if (stray) harm_noted(n, &hits[1]);
}

static void call_fails(struct world *w, enum sim_fault fault)
{
    struct node *n = nemesis_node(w);
    uint64_t how = draw_below(nemesis_draw(w), 3);
    bool reads = fault == FAULT_READ_FAILS || fault == FAULT_STRAY_READ;
    if (!may_harm(n) || n->state == NODE_GONE || (!reads && !runs(n))) return;
    n->harm.failing = true;
    w->report->disk_harms++;
    if (fault == FAULT_SYNC_FAILS) sim_disk_fail_sync(n->disk, (enum sim_disk_failure)how);
    if (fault == FAULT_WRITE_FAILS) sim_disk_fail_write(n->disk);
    if (fault == FAULT_READ_FAILS) sim_disk_fail_read(n->disk);
    if (fault == FAULT_STRAY_READ) sim_disk_misread(n->disk);
}

static void disk_fills(struct world *w)
{
    struct node *n = nemesis_node(w);
    bool last = draw_chance(nemesis_draw(w), 1, 2); /* not enough for another segment */
    uint64_t left = draw_below(nemesis_draw(w), last ? w->swarm.segment_bytes / 4 : SPARE_ROOM);
    kelp_ns until = w->now + nemesis_while(w) * (last ? 2 : 1);
    if (!runs(n)) return;
    n->harm.full = true;
    w->report->disk_harms++;
    sim_disk_room(n->disk, sim_disk_used(n->disk) + left);
    nemesis_mend_later(w, until, MEND_ROOM, n->slot, 0);
}

void atlas_room_back(struct node *n)
{
    sim_disk_room(n->disk, NODE_DISK_BYTES);
    n->harm.full = false;
}

static void wipe(struct world *w)
{
    struct node *n = nemesis_node(w);
    if ((w->swarm.frail >> n->slot & 1) == 0 || !may_harm(n) || !runs(n)) return;
    w->report->disk_harms++;
    node_lose(n);
}

void atlas_happens(struct world *w, enum sim_fault fault)
{
    if (fault == FAULT_ROT || fault == FAULT_ROT_MILD) {
        rot(w, fault == FAULT_ROT_MILD);
    } else if (fault == FAULT_LOST_WRITE || fault == FAULT_STRAY_WRITE) {
        write_lost(w, fault == FAULT_STRAY_WRITE);
    } else if (fault == FAULT_FULL) {
        disk_fills(w);
    } else if (fault == FAULT_WIPE) {
        wipe(w);
    } else {
        call_fails(w, fault);
    }
}

/* ---- what follows from it -------------------------------------------------------------------- */

/* A full disk stops nobody who runs: writes are refused in time, and saves wait for room. Whoever
 * starts on one may say that it cannot, and try again later. */
static bool explained(const struct node *n, enum kelp_error error)
{
    if (error == KELP_E_NO_SPACE) return n->harm.full && n->state == NODE_DOWN;
    return n->harm.rotten || n->harm.failing;
}

/* Whoever stops must say where, or nobody can repair it. */
static void words_judge(struct node *n, const struct kelp_fault *fault)
{
    bool place = fault->where[0] != '\0' && fault->what[0] != '\0';
    /* A place in a segment is one in the log, but for the head that would have told which. */
    bool index = fault->index > 0 || fault->offset == 0 || strncmp(fault->where, "log/", 4) != 0;
    if (!place || !index)
        checker_fail(n->world->checker, RULE_N05,
                     "node %u: %s: where \"%s\", index %llu, what \"%s\"", n->slot + 1u,
                     kelp_strerror(fault->error), fault->where, (unsigned long long)fault->index,
                     fault->what);
}

bool atlas_refuses(struct node *n, const struct kelp_fault *fault)
{
    struct world *w = n->world;
    if (!explained(n, fault->error)) return false;
    words_judge(n, fault);
    w->report->halts++;
    bool transient = n->harm.failing || n->harm.full;
    n->harm.failing = false;
    n->state = NODE_DOWN;
    if (transient)
        world_push(w, w->now + draw_between(stream(w, STREAM_DISK), 100, 2000) * MS, EVENT_START,
                   n->slot, 0, NULL);
    else
        n->state = NODE_GONE;
    return true;
}

void atlas_faults(struct node *n, const struct kelp_fault *fault)
{
    if (!explained(n, fault->error))
        checker_fail(n->world->checker, RULE_N02, "node %u: %s: %s (%s)", n->slot + 1u,
                     kelp_strerror(fault->error), fault->what, fault->where);
    else
        words_judge(n, fault);
}
