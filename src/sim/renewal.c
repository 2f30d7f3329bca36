/* SPDX-License-Identifier: Apache-2.0 */
/* renewal.c - after the end: one disk is recovered by hand, and those of the past come back.
 *
 * In some runs, when everything that was demanded is there, all nodes lose their power at once and
 * one disk that was never harmed goes on alone, by what `kelp recover` does (store/renew.c), cut
 * short now and then. Then it starts, and so do some of the others, with what their disks hold:
 *
 *   end of the run --> power gone --> renewed --> its node leads alone, its log as it was  (M05)
 *                          |                           ^  no frame of Raft passes          (M04)
 *                          `--> old epoch --> starts --'--> is told, faulted               (M05)
 *
 * They are two clusters from then on, so the checker, whose rules are about one, is told nothing
 * more: what is judged is judged here. A quorum of the past may be among those that come back; it
 * may go on until it reaches the one that was recovered, and then it must stop. */
#include <stdlib.h>

#include "base/hash.h"
#include "base/min.h"
#include "core/config.h"
#include "sim/trace.h"
#include "sim/world.h"
#include "store/renew.h"
#include "wire/entry.h"

#define MS       ((kelp_ns)1000000)
#define ONE_IN   8u
#define TIMEOUTS 40u /* of elections: dialling again and again included */

typedef unsigned long long ull;

/* From one draw behind all others: a seed runs as it would without this up to here. */
static uint64_t next(struct world *w)
{
    return prng_next(&w->renewal.random);
}

static uint64_t renewal_random(void *ctx)
{
    return next(ctx);
}

static struct store_options options_of(struct world *w)
{
    return (struct store_options){.segment_bytes = w->swarm.segment_bytes,
                                  .spares_max = w->swarm.spares,
                                  .zero_piece_bytes = w->swarm.zero_piece_bytes,
                                  .snapshots_kept = w->swarm.snapshots_kept,
                                  .random = renewal_random,
                                  .random_ctx = w};
}

static bool disk_whole(const struct node *n)
{
    return !n->harm.rotten && !n->wiped && !n->apart && n->disk != NULL && n->life > 0;
}

/* ---- everything stops ------------------------------------------------------------------------ */

static void power_goes(struct world *w)
{
    for (unsigned i = 0; i < w->node_count; i++) {
        struct node *n = &w->nodes[i];
        node_crash(n, SIM_CRASH_POWER, KELP_NEVER);
        n->state = NODE_DOWN; /* and most stay so */
        sim_disk_behave(n->disk);
        sim_disk_dies_at_sync(n->disk, 0);
        atlas_room_back(n);
    }
    while (w->heap.count > 0) {
        struct sim_event event = heap_pop(&w->heap);
        if (event.kind == EVENT_FRAME) net_packet_drop(w, event.item);
    }
    partition_mend(w);
    w->clients.stopped = true;
    trace_settle(w);
}

/* ---- what its log held ----------------------------------------------------------------------- */

static bool entry_sum(struct world *w, struct store *s, kelp_index index, uint64_t *out)
{
    uint8_t *bytes = NULL;
    size_t room = 0, len = 0;
    struct kelp_pos before;
    kelp_index last;
    struct kelp_fault fault = {.error = KELP_OK};
    bool read = store_read(s, index, 1, 0, &bytes, &room, &len, &before, &last, &fault) == KELP_OK;
    if (read) *out = wire_entry_checksum((struct kelp_bytes){bytes, len});
    if (!read)
        checker_fail(w->checker, RULE_M05, "entry %llu cannot be read: %s", (ull)index, fault.what);
    free(bytes);
    return read;
}

/* Of the entries from..to, one number for each: before and after. */
static bool sums_take(struct world *w, struct store *s, kelp_index from, kelp_index to)
{
    struct renewal *r = &w->renewal;
    r->from = from;
    r->sums = calloc((size_t)(to - from + 1) + 1, sizeof *r->sums);
    if (r->sums == NULL) {
        checker_fail(w->checker, RULE_W02, "no memory for the sums of a log");
        return false;
    }
    for (kelp_index i = from; i <= to; i++) {
        if (!entry_sum(w, s, i, &r->sums[i - from])) return false;
    }
    return true;
}

static void sums_compare(struct world *w, struct node *n)
{
    const struct renewal *r = &w->renewal;
    uint64_t sum = 0;
    const struct store_found *f = store_found(n->store);
    kelp_index first = max_u64(r->from, max_u64(f->base.index, f->snapshot.pos.index) + 1);
    for (kelp_index i = first; i <= r->kept.index; i++) {
        if (!entry_sum(w, n->store, i, &sum)) return;
        if (sum == r->sums[i - r->from]) continue;
        checker_fail(w->checker, RULE_M05, "node %u was recovered with %llu entries; %llu differs",
                     n->slot + 1u, (ull)r->kept.index, (ull)i);
        return;
    }
}

/* ---- the recovery ---------------------------------------------------------------------------- */

/* It dies in the middle, is looked after, and the same is done again until it is done. */
static enum kelp_error renew(struct world *w, struct node *n, struct renew_report *out,
                             struct kelp_fault *fault)
{
    struct renew_member self = {.id = n->id, .role = KELP_VOTER};
    struct renew_ask ask = {.members = &self, .count = 1};
    struct store_options options = options_of(w);
    for (unsigned i = 0; i < 3 && next(w) % 2 == 0; i++) {
        sim_disk_budget(n->disk, 1 + next(w) % 40);
        (void)renew_run(sim_disk_port(n->disk), &options, &ask, out, fault);
        sim_disk_crash(n->disk, SIM_CRASH_POWER);
    }
    sim_disk_budget(n->disk, UINT64_MAX);
    *fault = (struct kelp_fault){.error = KELP_OK};
    return renew_run(sim_disk_port(n->disk), &options, &ask, out, fault);
}

/* What its log holds, and whether it is one that can be recovered: who is one member among
 * others, and no witness. */
static bool survives(struct world *w, struct node *n)
{
    struct store_options options = options_of(w);
    struct kelp_fault fault = {.error = KELP_OK};
    struct store *s = NULL;
    options.node = n->id;
    if (store_open(sim_disk_port(n->disk), &options, &s, &fault) != KELP_OK) {
        checker_fail(w->checker, RULE_M05, "node %u, whose disk is whole: %s", n->slot + 1u,
                     fault.what);
        return false;
    }
    const struct store_found *f = store_found(s);
    const struct kelp_config *c = &f->config.config;
    uint32_t slot = config_slot(c, n->id);
    bool good = f->last > 0 && slot != CONFIG_NO_SLOT && !f->snapshot.hollow &&
                c->members[slot].role != KELP_WITNESS && c->members[slot].role_old != KELP_WITNESS;
    if (good) {
        w->renewal.commit = f->commit;
        good = sums_take(w, s, f->base.index + 1, f->last);
    }
    store_close(s);
    return good && !world_failed(w);
}

static struct node *choose(struct world *w)
{
    unsigned from = (unsigned)(next(w) % w->node_count);
    for (unsigned i = 0; i < w->node_count; i++) {
        struct node *n = &w->nodes[(from + i) % w->node_count];
        if (disk_whole(n) && survives(w, n)) return n;
        if (world_failed(w)) return NULL;
    }
    return NULL;
}

/* ---- what is judged -------------------------------------------------------------------------- */

static uint64_t epoch_of(const struct node *n)
{
    return n->store != NULL ? store_found(n->store)->identity.epoch : 0;
}

void renewal_passed(struct world *w, unsigned from, unsigned to, uint8_t kind)
{
    const struct node *a = &w->nodes[from], *b = &w->nodes[to];
    if (!w->renewal.on || kind == WIRE_FOUND || epoch_of(a) == epoch_of(b)) return;
    checker_fail(w->checker, RULE_M04, "node %u, of epoch %llx, takes a frame of node %u, of %llx",
                 to + 1, (ull)epoch_of(b), from + 1, (ull)epoch_of(a));
}

/* Who is of the past may stop for that, and for nothing else. */
void renewal_faults(struct node *n, const struct kelp_fault *fault)
{
    struct world *w = n->world;
    if (n->slot != w->renewal.node && fault->error == KELP_E_FOREIGN) {
        w->report->outdated++;
        return;
    }
    checker_fail(w->checker, RULE_M05, "node %u stops after a recovery: %s: %s", n->slot + 1u,
                 kelp_strerror(fault->error), fault->what);
}

static void survivor_judge(struct world *w)
{
    struct node *n = &w->nodes[w->renewal.node];
    const struct kelp_core *core = n->state == NODE_UP ? driver_core(n->driver) : NULL;
    if (core == NULL) {
        checker_fail(w->checker, RULE_M05, "node %u was recovered and does not run", n->slot + 1u);
        return;
    }
    struct kelp_view view;
    kelp_view(core, &view);
    kelp_index kept = w->renewal.kept.index;
    if (view.role != KELP_LEADER || view.commit <= kept || rsm_applied(n->rsm).index < kept)
        checker_fail(w->checker, RULE_M05,
                     "node %u was recovered behind %llu: it %s, commit %llu, applied %llu",
                     n->slot + 1u, (ull)kept, view.role == KELP_LEADER ? "leads" : "does not lead",
                     (ull)view.commit, (ull)rsm_applied(n->rsm).index);
    if (view.commit < w->renewal.commit)
        checker_fail(w->checker, RULE_M05, "node %u: commit %llu was %llu before its recovery",
                     n->slot + 1u, (ull)view.commit, (ull)w->renewal.commit);
    if (!world_failed(w)) sums_compare(w, n);
}

/* Whoever knows the one that was recovered has been told by it. */
static void past_judge(struct world *w)
{
    for (unsigned i = 0; i < w->node_count; i++) {
        struct node *n = &w->nodes[i];
        const struct kelp_core *core = n->state == NODE_UP ? driver_core(n->driver) : NULL;
        if (i == w->renewal.node || core == NULL) continue;
        struct kelp_config latest, committed;
        kelp_core_config(core, &latest, &committed);
        if (config_slot(&latest, w->renewal.node + 1) != CONFIG_NO_SLOT)
            checker_fail(w->checker, RULE_M05, "node %u is of before the recovery and goes on",
                         i + 1);
    }
}

/* ---- the rest of the run --------------------------------------------------------------------- */

bool renewal_begins(struct world *w)
{
    struct renewal *r = &w->renewal;
    struct draw *draw = stream(w, STREAM_NODE);
    bool own = w->options.machine != NULL || w->options.kills > 0 ||
               w->options.broken != KELP_SIM_BREAK_NOTHING;
    if (own || !draw_chance(draw, 1, ONE_IN)) return false;
    r->random = (struct prng){draw_bytes(draw, 8)};
    power_goes(w);
    r->on = true;
    struct renew_report *report = calloc(1, sizeof *report);
    struct kelp_fault fault = {.error = KELP_OK};
    struct node *n = report != NULL ? choose(w) : NULL;
    if (n != NULL && renew(w, n, report, &fault) != KELP_OK)
        checker_fail(w->checker, RULE_M05, "node %u cannot be recovered: %s (%s)", n->slot + 1u,
                     fault.what, fault.where);
    if (n != NULL && !world_failed(w)) {
        r->node = n->slot;
        r->kept = report->token.recovery.kept;
        w->report->renewals++;
        world_push(w, w->now + MS, EVENT_START, n->slot, 0, NULL);
        for (unsigned i = 0; i < w->node_count; i++) {
            struct node *old = &w->nodes[i];
            if (old == n || !disk_whole(old) || next(w) % 4 == 0) continue;
            world_push(w, w->now + next(w) % (2 * w->swarm.election_max), EVENT_START, i, 0, NULL);
        }
        r->until = w->now + TIMEOUTS * w->swarm.election_max;
    }
    free(report);
    return n != NULL && !world_failed(w);
}

void renewal_judge(struct world *w)
{
    survivor_judge(w);
    if (!world_failed(w)) past_judge(w);
}
