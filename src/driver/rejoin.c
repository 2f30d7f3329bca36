/* SPDX-License-Identifier: Apache-2.0 */
/* rejoin.c - a node in quarantine gives up its state for that of a healthy member.
 *
 *   NONE --an operator asks--> WAITS --may--> HOLDS --the machine is still--> ASKS <--failed--+
 *                              ^  it leads, another snapshot comes, nobody    |               |
 *                              |  healthy is connected                        |               |
 *                              +-------------- nobody has one ----------------+--> FETCHES ---+
 *                                                                 restored, installed: NONE
 *
 * The machine never goes back. It stands still at `above`, and what takes its place is a snapshot
 * that ends behind that: so it passes over entries as any snapshot does that comes from elsewhere
 * (fetch.c), and the core hears of nothing new. Vote, term and log stay, and entries go on being
 * stored and acknowledged meanwhile. Until the good one is durable under its name nothing of the
 * old state is touched; from then on it is what a start finds, and once it is restored, and so
 * known to be good, own snapshots from before go, which may show the wrong state. A crash before
 * that leaves a node that starts as without all this, and is found out again.
 *
 * A healthy member need not have such a snapshot: asked for one it takes one, as for an operator,
 * as soon as it has applied more than `above`; and so that there is more, in a cluster at rest too,
 * a barrier goes through the log. It answers at once how it stands, is asked again while it takes
 * its time, and left for the next one if it is silent or gives none. After a round in vain what
 * waits is applied, and it begins again, as long as nothing else ends the quarantine.
 *
 * Healthy is who has the marks of a majority (compare.c). An operator may force it, who knows more:
 * where members are split into equal parts, or before marks tell. Who is asked must be a member
 * that keeps the state, and says itself that it is not in quarantine.
 *
 * Invariants: nothing is applied from HOLDS on; what is fetched ends above what is applied; a
 * leader gives up nothing. */
#include "driver/rejoin.h"

#include <inttypes.h>

#include "driver/room.h"
#include "wire/fetch.h"

#define AFTER_VAIN    (1000 * MILLISECOND)
#define SILENT_TIMES  2u   /* the longest election timeout: no answer at all */
#define PATIENT_TIMES 200u /* .. an answer, but no snapshot */

/* ---- who gives ---- */

static const struct kelp_config *newest_config(const struct driver *d)
{
    return d->config_count > 0 ? &d->configs[d->config_count - 1].config : NULL;
}

static bool keeps_state(const struct kelp_config *config, const struct peer *p)
{
    for (size_t slot = 0; slot < config->count; slot++) {
        const struct kelp_member *m = &config->members[slot];
        if (m->id != p->id || m->incarnation != p->incarnation) continue;
        return m->role != KELP_WITNESS && m->role_old != KELP_WITNESS;
    }
    return false;
}

static bool may_give(const struct driver *d, const struct peer *p, kelp_id from, bool forced)
{
    const struct kelp_config *config = newest_config(d);
    if (config == NULL || p->connection[KELP_LANE_SNAPSHOT] == 0) return false;
    if ((from != 0 && p->id != from) || !keeps_state(config, p)) return false;
    return forced || compare_agrees(&d->quarantine.compare, config, p->id);
}

static size_t givers(const struct driver *d, kelp_id from, bool forced)
{
    size_t count = 0;
    for (size_t i = 0; i < d->peer_count; i++)
        count += may_give(d, d->peers[i], from, forced) ? 1 : 0;
    return count;
}

/* ---- asked by an operator ---- */

/* All members have the same machine: where this one takes no snapshots there are none. */
static bool is_able(const struct driver *d)
{
    const struct driver_machine_ops *m = d->ports.machine;
    if (m->has_snapshots != NULL && !m->has_snapshots(d->ports.machine_ctx)) return false;
    return d->ports.store->fetch != NULL && m->restore_begin != NULL && !read_hollow(d);
}

enum kelp_reason driver_rejoin(struct driver *d, kelp_ns now, kelp_id from, bool force)
{
    struct rejoin *j = &d->rejoin;
    d->now = max_u64(d->now, now);
    if (d->closing) return KELP_R_SHUTDOWN;
    if (d->state == DRIVER_FAULTED) return KELP_R_FAULTED;
    if (d->state != DRIVER_RUNNING) return KELP_R_NOT_STARTED;
    if (from == d->options.core.self) return KELP_R_SELF;
    if (!d->quarantine.apart && !force) return KELP_R_NOTHING_NEW;
    if (!d->quarantine.apart && driver_look(d)->role == KELP_LEADER) return KELP_R_LEADS;
    const struct peer *p = from != 0 ? peer_find(d, from) : NULL;
    if (from != 0 && (p == NULL || !keeps_state(newest_config(d), p))) return KELP_R_UNKNOWN_MEMBER;
    if (!is_able(d) || givers(d, from, force) == 0) return KELP_R_NO_HEALTHY;
    j->from = from;
    j->forced = force;
    if (j->phase == REJOIN_NONE) {
        j->phase = REJOIN_WAITS;
        j->why = REJOIN_SOON;
        j->at = 0;
    }
    return KELP_R_NONE;
}

/* ---- its way ---- */

static void ends(struct driver *d)
{
    struct rejoin *j = &d->rejoin;
    j->phase = REJOIN_NONE;
    j->asked = 0;
    j->found = kelp_pos_of(0, 0);
}

/* What waits is applied meanwhile. */
static void waits(struct driver *d, enum rejoin_why why, kelp_ns time)
{
    struct rejoin *j = &d->rejoin;
    if (why != j->why && why != REJOIN_SOON)
        driver_note(d, KELP_WARN, "does not rejoin yet: %s",
                    why == REJOIN_LEADS    ? "it leads"
                    : why == REJOIN_BUSY   ? "a snapshot comes already"
                    : why == REJOIN_NOBODY ? "no healthy member is connected"
                                           : "no healthy member gave a snapshot");
    ends(d);
    j->phase = REJOIN_WAITS;
    j->why = why;
    j->at = add_sat(d->now, time);
}

static bool leads(struct driver *d)
{
    return driver_look(d)->role == KELP_LEADER;
}

static void waits_run(struct driver *d)
{
    struct rejoin *j = &d->rejoin;
    kelp_ns soon = d->options.core.heartbeat;
    if (d->now < j->at) return;
    if (leads(d))
        waits(d, REJOIN_LEADS, soon);
    else if (d->fetching.phase != FETCH_NONE)
        waits(d, REJOIN_BUSY, soon);
    else if (givers(d, j->from, j->forced) == 0)
        waits(d, REJOIN_NOBODY, soon);
    else
        j->phase = REJOIN_HOLDS;
}

static bool machine_stands(const struct driver *d)
{
    return d->apply_open == 0 && !d->apply_reading && d->applied_reported <= d->applied;
}

static void holds_run(struct driver *d)
{
    struct rejoin *j = &d->rejoin;
    if (!machine_stands(d)) return;
    j->phase = REJOIN_ASKS;
    j->above = d->applied;
    j->asked = 0;
    j->tried = 0;
    j->barrier_done = false;
    j->barrier_at = 0;
}

/* ---- a barrier, so that there is something behind it ---- */

static void barrier_told(void *ctx, uint64_t token, const struct driver_outcome *outcome)
{
    struct driver *d = ctx;
    (void)token;
    d->rejoin.barrier_open = false;
    d->rejoin.barrier_done = d->rejoin.barrier_done || outcome->outcome == KELP_DONE;
}

static void barrier_run(struct driver *d)
{
    struct rejoin *j = &d->rejoin;
    if (j->barrier_done || j->barrier_open || d->now < j->barrier_at) return;
    if (driver_look(d)->commit > j->above) { /* others apply that, too */
        j->barrier_done = true;
        return;
    }
    j->barrier_at = add_sat(d->now, d->options.core.election_max); /* no leader, no memory: later */
    if (j->line == NULL) j->line = driver_line_open(d, barrier_told, d);
    if (j->line == NULL || d->route.node == 0) return;
    const struct driver_question barrier = {.bare = true,
                                            .how = {.level = KELP_READ_LOG},
                                            .deadline =
                                                add_sat(d->now, 4 * d->options.core.election_max),
                                            .forward = true};
    j->barrier_open = driver_read(d, d->now, j->line, 1, &barrier);
}

/* ---- asking ---- */

static void next_one(struct driver *d)
{
    struct rejoin *j = &d->rejoin;
    j->asked = 0;
    for (size_t i = 0; i < d->peer_count && j->tried < d->peer_count; i++) {
        const struct peer *p = d->peers[(j->turn + i) % d->peer_count];
        if (!may_give(d, p, j->from, j->forced)) continue;
        j->turn = (j->turn + i + 1) % d->peer_count;
        j->tried++;
        j->asked = p->id;
        j->connection = p->connection[KELP_LANE_SNAPSHOT];
        j->asked_since = j->heard = j->at = d->now;
        j->none = false;
        j->found = kelp_pos_of(0, 0);
        return;
    }
}

static void ask(struct driver *d)
{
    struct rejoin *j = &d->rejoin;
    uint8_t *head = scratch_take(d, WIRE_FRAME_HEAD + WIRE_FETCH_MAX);
    struct kelp_bytes *parts = scratch_take(d, 2 * sizeof *parts);
    j->at = add_sat(d->now, d->options.core.heartbeat);
    if (head == NULL || parts == NULL) return; /* asked again */
    struct wire_fetch m = {.pos = kelp_pos_of(max_u64(j->above, 1), driver_look(d)->term.v),
                           .ask = WIRE_FETCH_NEWER};
    uint8_t *fixed = head + WIRE_FRAME_HEAD;
    parts[0] = bytes_of(head, WIRE_FRAME_HEAD);
    parts[1] = bytes_of(fixed, wire_fetch_encode(&m, fixed));
    wire_frame_head(head, WIRE_FETCH, d->options.group, parts + 1, 1);
    (void)d->ports.peers->send(d->ports.peers_ctx, d->options.group, j->asked, KELP_LANE_SNAPSHOT,
                               j->connection, parts, 2);
}

/* It is silent, gone, gives none, or takes longer than any snapshot does. */
static bool in_vain(struct driver *d)
{
    const struct rejoin *j = &d->rejoin;
    const struct peer *p = peer_find(d, j->asked);
    kelp_ns timeout = d->options.core.election_max;
    return j->none || p == NULL || p->connection[KELP_LANE_SNAPSHOT] != j->connection ||
           d->now - j->heard > SILENT_TIMES * timeout ||
           d->now - j->asked_since > PATIENT_TIMES * timeout;
}

static void asks_run(struct driver *d)
{
    struct rejoin *j = &d->rejoin;
    if (d->fetching.phase != FETCH_NONE) { /* of another's: as good, if it gets there */
        j->at = add_sat(d->now, d->options.core.heartbeat);
        return;
    }
    barrier_run(d);
    if (j->asked == 0 || (j->found.index == 0 && in_vain(d))) next_one(d);
    if (j->asked == 0) {
        waits(d, REJOIN_IN_VAIN, AFTER_VAIN);
        return;
    }
    if (j->found.index > 0) {
        if (fetch_take(d, j->asked, j->found)) j->phase = REJOIN_FETCHES;
        return;
    }
    if (d->now >= j->at) ask(d);
}

bool rejoin_answered(struct driver *d, kelp_id from, uint64_t connection,
                     const struct wire_piece *m)
{
    struct rejoin *j = &d->rejoin;
    if (m->ask != WIRE_FETCH_NEWER || m->state == WIRE_PIECE_BYTES) return false;
    bool ours = j->phase == REJOIN_ASKS && from == j->asked && connection == j->connection;
    if (!ours || m->pos.index != max_u64(j->above, 1)) return false;
    j->heard = d->now;
    if (m->state != WIRE_PIECE_GONE) return true;
    if (m->newest.index > j->above)
        j->found = m->newest;
    else
        j->none = true;
    return true;
}

/* ---- the other side ---- */

/* One that is not here yet is owed from now on; false: there will be none. */
static bool takes_one(struct driver *d, kelp_index above)
{
    const struct taking *t = &d->taking;
    bool under_way = t->phase != TAKING_NONE && t->phase != TAKING_DROPS && t->pos.index > above;
    if (under_way || t->asked || d->applied <= above) return true;
    struct kelp_pos pos;
    enum kelp_error error = driver_snapshot_now(d, &pos);
    return error == KELP_OK || error == KELP_E_BUSY;
}

static void answer(struct driver *d, struct peer *p)
{
    kelp_index above = p->newer.above.index;
    struct wire_piece m = {.state = WIRE_PIECE_GONE,
                           .pos = p->newer.above,
                           .ask = WIRE_FETCH_NEWER,
                           .term = driver_look(d)->term};
    bool gives = d->ports.store->fetch != NULL && !read_hollow(d) && !d->quarantine.apart &&
                 d->rejoin.phase == REJOIN_NONE && serve_member(d, p);
    bool is_there = d->taking.last.index > above && !snapshot_lost(d);
    if (gives && is_there)
        m.newest = d->taking.last;
    else if (gives && takes_one(d, above))
        m.state = WIRE_PIECE_WAITS;
    (void)serve_send(d, p, p->newer.connection, &m); /* lost: it is asked again */
    p->newer.connection = 0;
}

void rejoin_asked(struct driver *d, struct peer *p, uint64_t connection, const struct wire_fetch *m)
{
    p->newer = (struct rejoin_ask){.above = m->pos, .connection = connection};
    d->rejoin.answers = true;
}

static void answers_run(struct driver *d)
{
    if (!d->rejoin.answers) return;
    d->rejoin.answers = false;
    for (size_t i = 0; i < d->peer_count; i++)
        if (d->peers[i]->newer.connection != 0) answer(d, d->peers[i]);
}

/* ---- the driver's part ---- */

static bool works(const struct driver *d)
{
    return d->state == DRIVER_RUNNING && !d->closing && !d->fault_due;
}

bool rejoin_holds_apply(const struct driver *d)
{
    return d->rejoin.phase >= REJOIN_HOLDS;
}

static void over_if_replaced(struct driver *d)
{
    struct rejoin *j = &d->rejoin;
    if (j->phase > REJOIN_HOLDS && d->applied > j->above) {
        j->done++;
        j->forgets = true;
        driver_note(d, KELP_INFO, "has rejoined: its state is that of another member, at %" PRIu64,
                    d->applied);
        ends(d);
    } else if (j->phase == REJOIN_WAITS && !d->quarantine.apart && !j->forced) {
        ends(d); /* by a snapshot that the leader gave it */
    }
}

void rejoin_forgets(struct driver *d)
{
    d->rejoin.forgets = true;
}

/* The newest one is the other's now, restored from beginning to end. */
static void forgets_run(struct driver *d)
{
    struct rejoin *j = &d->rejoin;
    bool still = d->fetching.phase == FETCH_NONE && d->taking.phase == TAKING_NONE;
    if (!j->forgets || !still || j->phase != REJOIN_NONE) return;
    j->forgets = false;
    if (d->ports.store->forget == NULL || snapshot_lost(d)) return;
    d->ports.store->forget(d->ports.store_ctx, d->options.group, d->taking.last);
}

void rejoin_run(struct driver *d)
{
    struct rejoin *j = &d->rejoin;
    if (!works(d)) return;
    answers_run(d);
    forgets_run(d);
    if (j->phase == REJOIN_NONE) return;
    over_if_replaced(d);
    bool asks = j->phase == REJOIN_HOLDS || j->phase == REJOIN_ASKS;
    if (asks && leads(d)) waits(d, REJOIN_LEADS, d->options.core.heartbeat);
    if (j->phase == REJOIN_FETCHES && d->fetching.phase == FETCH_NONE) { /* it failed */
        j->phase = REJOIN_ASKS;
        j->asked = 0;
    }
    if (j->phase == REJOIN_WAITS) waits_run(d);
    if (j->phase == REJOIN_HOLDS) holds_run(d);
    if (j->phase == REJOIN_ASKS) asks_run(d);
}

kelp_ns rejoin_next(const struct driver *d)
{
    const struct rejoin *j = &d->rejoin;
    if (!works(d)) return KELP_NEVER;
    bool still = d->fetching.phase == FETCH_NONE && d->taking.phase == TAKING_NONE;
    if (j->forgets && still && j->phase == REJOIN_NONE) return d->now;
    if (j->phase == REJOIN_FETCHES && d->fetching.phase == FETCH_NONE) return d->now;
    if (j->phase == REJOIN_HOLDS) return machine_stands(d) ? d->now : KELP_NEVER;
    if (j->phase != REJOIN_WAITS && j->phase != REJOIN_ASKS) return KELP_NEVER;
    /* found, and no fetch may begin yet */
    if (j->phase == REJOIN_ASKS && j->found.index > 0)
        return max_u64(d->fetching.after, d->now + 1);
    return max_u64(j->at, d->now + 1);
}

const char *rejoin_words(const struct driver *d)
{
    static const char *const waits_for[] = {[REJOIN_SOON] = "begins",
                                            [REJOIN_LEADS] = "waits while it leads",
                                            [REJOIN_BUSY] = "waits for a snapshot that comes",
                                            [REJOIN_NOBODY] = "waits for a healthy member",
                                            [REJOIN_IN_VAIN] = "waits, since nobody gave one"};
    switch (d->rejoin.phase) {
    case REJOIN_NONE: return NULL;
    case REJOIN_WAITS: return waits_for[d->rejoin.why];
    case REJOIN_HOLDS: return "begins";
    case REJOIN_ASKS: return "asks for a snapshot";
    case REJOIN_FETCHES: return "fetches a snapshot";
    }
    return NULL;
}
