/* SPDX-License-Identifier: Apache-2.0 */
/* world.c - the clock of the world and the one loop over what happens in it.
 *
 * First the cluster is hurt, then a core of it is healed, and demand.c says what that must do. */
#include "sim/world.h"
#include "sim/trace.h"

#include "base/assert.h"
#include "base/hash.h"
#include "base/min.h"

#define SAME_MOMENT_MAX 4000u /* events without time moving: somebody spins */
#define LOOK_EVERY      64u   /* events between two slow looks */

bool world_failed(const struct world *w)
{
    return checker_failed(w->checker);
}

void world_push(struct world *w, kelp_ns at, enum event_kind kind, unsigned node, uint64_t value,
                void *item)
{
    struct sim_event event = {
        .at = at, .kind = (uint8_t)kind, .node = (uint8_t)node, .value = value, .item = item};
    if (!heap_push(&w->heap, event)) checker_fail(w->checker, RULE_W02, "out of memory");
}

/* Every event goes into the hash: when, what, where, and what it carried. */
void world_trace(struct world *w, enum event_kind kind, unsigned node, uint64_t what)
{
    w->hash = hash_mix(w->hash, w->now ^ (uint64_t)kind << 56 ^ (uint64_t)node << 48);
    w->hash = hash_mix(w->hash, what);
    w->report->events++;
    trace_turn(w, kind, node, what);
}

/* ---- one event ---- */

static bool event_waits(struct world *w, const struct sim_event *event)
{
    const struct node *n = &w->nodes[event->node];
    switch ((enum event_kind)event->kind) {
    case EVENT_CLIENT: /* what it sends waits in the socket of a node that stands still */
        n = client_node(w, (uint32_t)event->value);
        return n != NULL && n->state != NODE_DOWN && node_paused(n);
    case EVENT_FRAME:
    case EVENT_CLOSED:
    case EVENT_DIAL:
    case EVENT_LOOK:
    case EVENT_DIAL_LATE: return n->state != NODE_DOWN && node_paused(n);
    case EVENT_START:
    case EVENT_FAULT:
    case EVENT_MEND:
    case EVENT_FLAP:
    case EVENT_HEAL:
    case EVENT_WAKE:
    case EVENT_SAVED:
    case EVENT_APPLIED: break;
    }
    return false;
}

static void world_heals(struct world *w)
{
    if (w->healing) return;
    world_trace(w, EVENT_HEAL, 0, 0);
    w->healing = true;
    demand_begin(w);
    mover_heals(w);
}

static void world_event(struct world *w, struct sim_event event)
{
    struct node *n = &w->nodes[event.node];
    if (event_waits(w, &event)) {
        if (event.kind == EVENT_CLIENT) n = client_node(w, (uint32_t)event.value);
        event.at = n->paused_until;
        if (event.kind == EVENT_CLIENT) w->clients.put_off = max_u64(w->clients.put_off, event.at);
        heap_push_again(&w->heap, event);
        return;
    }
    switch ((enum event_kind)event.kind) {
    case EVENT_FRAME: net_frame_arrives(w, event.item, event.value); return;
    case EVENT_DIAL: sim_net_dial(w, &w->net.links[event.value]); return;
    case EVENT_DIAL_LATE: net_dial_late(w, event.value); return;
    case EVENT_CLOSED: net_closed(n, event.value); return;
    case EVENT_START:
        world_trace(w, EVENT_START, event.node, n->life);
        node_start(n);
        return;
    case EVENT_CLIENT: client_wakes(w, (uint32_t)event.value); return;
    case EVENT_FAULT: nemesis_next(w); return;
    case EVENT_MEND: nemesis_mend(w, event.value, event.node); return;
    case EVENT_FLAP: partition_flap(w, event.value); return;
    case EVENT_HEAL: world_heals(w); return;
    case EVENT_LOOK: saver_looks(n, event.value); return;
    case EVENT_WAKE:
    case EVENT_SAVED:
    case EVENT_APPLIED: break; /* never in the heap */
    }
    UNREACHABLE();
}

/* The node whose own moment is the earliest, if before *at, and which of its moments it is. */
static struct node *node_due(struct world *w, kelp_ns *at, enum event_kind *kind)
{
    struct node *due = NULL;
    for (unsigned i = 0; i < w->node_count; i++) {
        struct node *n = &w->nodes[i];
        kelp_ns moment = min_u64(min_u64(n->wake, n->job_end), n->apply_end);
        if (moment >= *at) continue;
        enum event_kind which = moment == n->job_end     ? EVENT_SAVED
                                : moment == n->apply_end ? EVENT_APPLIED
                                                         : EVENT_WAKE;
        moment = max_u64(max_u64(moment, n->paused_until), w->now);
        if (moment >= *at) continue;
        due = n;
        *at = moment;
        *kind = which;
    }
    return due;
}

static void node_moment(struct node *n, enum event_kind kind)
{
    struct world *w = n->world;
    uint64_t doing = kind == EVENT_SAVED ? saver_doing(n) : 0;
    world_trace(w, kind, n->slot, doing << 32 | n->life);
    if (kind == EVENT_SAVED) {
        saver_job_ends(n);
    } else if (kind == EVENT_APPLIED) {
        node_apply_ends(n);
    } else {
        n->wake = KELP_NEVER;
        node_run(n);
    }
}

static void time_moves(struct world *w, kelp_ns to)
{
    ASSERT(to >= w->now);
    if (to > w->now) {
        w->same_moment = 0;
    } else if (++w->same_moment > SAME_MOMENT_MAX) {
        checker_fail(w->checker, RULE_I38, "%u events at %llu ns", SAME_MOMENT_MAX,
                     (unsigned long long)w->now);
    }
    w->now = to;
}

static void world_step(struct world *w)
{
    kelp_ns next = heap_next(&w->heap), at = next;
    enum event_kind kind = EVENT_WAKE;
    struct node *due = node_due(w, &at, &kind);
    ASSERT(next != KELP_NEVER || due != NULL); /* clients and faults never end before we do */
    if (due == NULL) {
        time_moves(w, next);
        world_event(w, heap_pop(&w->heap));
    } else {
        time_moves(w, at);
        node_moment(due, kind);
    }
    clients_judge(w);
    churn_judge(w);
    heir_look(w);
    trace_settle(w);
}

/* The options may ask to stop after so many events. */
static bool world_stops(const struct world *w)
{
    return w->options.until != 0 && w->report->events >= w->options.until;
}

/* Nothing is to happen any more: a cluster of one that nobody asks waits for nothing. */
static bool world_rests(struct world *w)
{
    kelp_ns at = heap_next(&w->heap);
    enum event_kind kind = EVENT_WAKE;
    return at == KELP_NEVER && node_due(w, &at, &kind) == NULL;
}

/* Of two clusters from here on: renewal.c. */
static bool world_afterwards(struct world *w)
{
    uint64_t step = 0;
    while (w->now < w->renewal.until && !world_failed(w) && !world_stops(w)) {
        if (world_rests(w)) {
            w->now = w->renewal.until;
            break;
        }
        world_step(w);
        for (unsigned i = 0; ++step % LOOK_EVERY == 0 && i < w->node_count; i++)
            node_watch_status(&w->nodes[i]);
    }
    w->report->simulated = w->now;
    w->report->stopped = w->now < w->renewal.until && !world_failed(w);
    if (!w->report->stopped && !world_failed(w)) renewal_judge(w);
    return !world_failed(w);
}

bool world_run(struct world *w)
{
    for (uint64_t step = 1; !w->ended && !world_failed(w) && !world_stops(w); step++) {
        world_step(w);
        if (w->healing) demand_look(w);
        if (step % LOOK_EVERY == 0) {
            clients_judge_late(w);
            mover_look(w);
            restorer_look(w);
            demand_starve(w);
            for (unsigned i = 0; i < w->node_count; i++)
                node_watch_status(&w->nodes[i]);
        }
    }
    w->report->simulated = w->now;
    w->report->stopped = !w->ended && !world_failed(w);
    if (w->report->stopped) return true;
    if (world_failed(w)) return false;
    clients_end(w);
    if (!record_judge(w) || world_failed(w)) return false;
    return renewal_begins(w) ? world_afterwards(w) : !world_failed(w);
}
