/* SPDX-License-Identifier: Apache-2.0 */
/* demand.c - what a cluster must do again once it is no longer hurt, and while it is hardly hurt.
 *
 * When the faults end a core is drawn: a quorum of nodes or more, of whole disks. Inside it links
 * are healed, nodes restarted and woken, disks go on. Everything outside stays as broken as it is,
 * for ever. With T the longest election timeout, the core must then
 *
 *   L01 have a leader within 10 T          L02 commit a new write 2 T later
 *   L03 be equal in what it applied        L04 answer every request by its own deadline
 *   L05 begin few terms, with all protections on, and none in the last half
 *   L09 have let go of what everybody has  L06 all of it with some links inside it still cut, if
 *                                              one node sees a quorum and its log is electable
 *   L10 if nothing is demanded: no quorum of whole disks is left, which only a run without the
 *       atlas can bring about
 *   L17 let go of what is due: see lapse.c
 *
 * Where the membership changes, everybody is healed, only members must be equal, and
 *
 *   L12 every change that was asked for comes to its end, nothing is staging or joint, and
 *       whoever was removed knows it
 *   L14 whoever is preferred leads within 20 T, or 10 stall limits and 10 T
 *
 * At last, in some runs, the state of one node is made another, and it rejoins: apart.c, L15, L16.
 *
 * Starvation (L11): with one kind of fault, seldom, something commits every 20 T. */
#include "base/min.h"
#include "core/config.h"
#include "core/look.h"
#include "sim/world.h"

#define MS              ((kelp_ns)1000000)
#define LEADER_TIMEOUTS 10u
#define SOON_TIMEOUTS   3u
#define FED_TIMEOUTS    20u
#define FED_REQUESTS    20u /* so many were made and nothing committed */
#define UNDER_WAY       64u
#define BLOCK           4096u
#define SEGMENTS_OPEN   3u
/* Split votes alone begin a second term in one run of 25, each further one in one of 13: more than
 * three in one of 4000. */
#define TERMS_MAX         6u
#define TERMS_MOVED       4u /* more, where leadership goes to whom is preferred */
#define MOVED_TIMEOUTS    20u
#define STEADY_LIMITS     10u         /* for so many limits a disk that stalled is not preferred */
#define STALL_MIN         (1000 * MS) /* the limit is that, or an election timeout */
#define SLOW_TIMES        5u          /* the time to heal, while a slow path brings a snapshot */
#define HOPELESS_TIMEOUTS 5u          /* so long those that are left are watched */

static bool churns(const struct world *w)
{
    return w->swarm.weights[FAULT_CHANGE] > 0;
}

static bool in_core(const struct node *n)
{
    return !n->outside;
}

/* ---- the core -------------------------------------------------------------------------------- */

/* May this node be demanded anything of? Nobody can promise for one whose disk was harmed. */
static bool can_live(const struct node *n)
{
    return n->state != NODE_GONE && atlas_harmless(n);
}

static void core_draw(struct world *w)
{
    struct draw *draw = stream(w, STREAM_NODE);
    struct demand *d = &w->demand;
    unsigned able[NODES_MAX], count = 0, quorum = w->node_count / 2 + 1;
    for (unsigned i = 0; i < w->node_count; i++) {
        w->nodes[i].outside = true;
        if (can_live(&w->nodes[i])) able[count++] = i;
    }
    d->hopeless = count < quorum;
    /* A founding needs everybody: until it is over, nobody may be left out. */
    bool founded = checker_commit(w->checker) > 1;
    if (!founded && count < w->node_count) d->hopeless = true;
    if (churns(w)) d->hopeless = false; /* disks are whole; who is gone was removed */
    if (d->hopeless && w->swarm.atlas)
        checker_fail(w->checker, RULE_L10, "only %u of %u nodes are whole", count, w->node_count);
    unsigned size = count;
    if (!d->hopeless && founded && draw_chance(draw, 1, 2) && !churns(w))
        size = quorum + (unsigned)draw_below(draw, count - quorum + 1);
    for (unsigned left = count; left > 0 && size > 0; left--) {
        unsigned pick = (unsigned)draw_below(draw, left);
        w->nodes[able[pick]].outside = false;
        able[pick] = able[left - 1];
        size--;
        d->core++;
    }
}

static void member_heals(struct world *w, struct node *n)
{
    n->paused_until = n->pause_inside = 0;
    n->stall = n->slow_until = 0;
    if (n->job_end != KELP_NEVER) n->job_end = min_u64(n->job_end, w->now + 10 * MS);
    if (n->frozen_until != 0) {
        n->frozen_until = 0;
        node_clock_set(n, 0, n->clock_goes);
    }
    sim_disk_behave(n->disk);
    atlas_room_back(n);
    if (n->state == NODE_FAULTED) node_crash(n, SIM_CRASH_PROCESS, 10 * MS);
    /* Who retires ends: else it said for ever that it is leaving, and nobody handed over to it. */
    if (n->retires == n->life) sim_node_stop(n, 10 * MS);
    if (n->opening) n->opens_at = w->now;
    if (n->state == NODE_DOWN) node_start(n);
}

/* A node outside and the core: cut off, or heard by it, or hearing it. */
static void outsider_cut(struct world *w, unsigned slot)
{
    /* Without these protections somebody who only speaks may disturb for ever. */
    uint64_t ways = draw_below(stream(w, STREAM_NODE), w->swarm.off == 0 ? 3 : 2);
    for (unsigned i = 0; i < w->node_count; i++) {
        if (i == slot) continue;
        if (ways != 1) partition_cut(w, i, slot);
        if (ways != 2) partition_cut(w, slot, i);
    }
}

static const struct kelp_core *core_of(const struct node *n)
{
    return n->state == NODE_UP ? driver_core(n->driver) : NULL;
}

/* The node of the core whose log nobody can refuse, now or later: with the newest end, a leader
 * before others, since only that one can make its own longer. NODES_MAX: it is not known. */
static unsigned electable(const struct world *w)
{
    unsigned best = NODES_MAX;
    struct kelp_pos end = {0};
    for (unsigned i = 0; i < w->node_count; i++) {
        if (w->nodes[i].outside) continue;
        /* What it will find may be longer than what was reported. */
        if (core_of(&w->nodes[i]) == NULL) return NODES_MAX;
        struct kelp_view v;
        kelp_view(core_of(&w->nodes[i]), &v);
        bool longer = kelp_pos_less(end, v.last_pos);
        bool leads = kelp_pos_equal(end, v.last_pos) && v.role == KELP_LEADER;
        if (best != NODES_MAX && !longer && !leads) continue;
        best = i;
        end = v.last_pos;
    }
    return best;
}

/* L06: only links to one node of the core stay. What is on its way on the others is lost. */
static void core_thinned(struct world *w)
{
    unsigned hub = electable(w);
    if (hub == NODES_MAX) return;
    for (unsigned a = 0; a < w->node_count; a++) {
        for (unsigned b = 0; b < w->node_count; b++) {
            bool outside = w->nodes[a].outside || w->nodes[b].outside;
            if (a != b && (outside || (a != hub && b != hub))) partition_cut(w, a, b);
        }
    }
    for (unsigned i = 0; i < w->node_count; i++) {
        if (i != hub) clients_leave(&w->nodes[i]); /* the others may not see whoever leads */
    }
    w->report->thinned = true;
}

static void network_heals(struct world *w)
{
    if (w->options.broken == KELP_SIM_BREAK_HEAL) return;
    partition_mend(w);
    w->net.partition++;
    w->net.storm++;
    w->net.stormy = false;
    for (unsigned a = 0; a < w->node_count; a++) {
        for (unsigned b = 0; b < w->node_count; b++)
            w->net.clogs[a][b].until = min_u64(w->net.clogs[a][b].until, w->now);
    }
    /* What was late or met a clog still comes late; nothing waits behind it any more. */
    for (unsigned i = 0; i < LINKS_MAX; i++)
        w->net.links[i].last_arrival[0] = w->net.links[i].last_arrival[1] = 0;
    for (unsigned i = 0; i < w->node_count; i++) {
        if (w->nodes[i].outside) outsider_cut(w, i);
    }
}

/* How long a request may stay open, on the slowest clock. */
static kelp_ns clients_deadline(const struct swarm *s)
{
    return s->deadline * 1000 / (1000 - s->clock_drift);
}

void demand_begin(struct world *w)
{
    struct demand *d = &w->demand;
    const struct swarm *s = &w->swarm;
    *d = (struct demand){.at = w->now,
                         .leader_at = KELP_NEVER,
                         .write_at = KELP_NEVER,
                         .equal_at = KELP_NEVER,
                         .term_at = w->now,
                         .leader_late = w->now,
                         .timeout = s->election_max * 1000 / (1000 - s->clock_drift)};
    kelp_ns think = s->think;
    swarm_calm(&w->swarm);
    w->swarm.think = min_u64(think, s->election_max / 4);
    /* A client may first have to wait for a node that stood still, for its own turn, and for what
     * it asked before. */
    d->write_late = max_u64(w->now, w->clients.put_off);
    for (unsigned i = 0; i < w->node_count; i++)
        d->write_late = max_u64(d->write_late, w->nodes[i].paused_until);
    d->write_late += 2 * think + clients_deadline(s);
    core_draw(w);
    network_heals(w);
    for (unsigned i = 0; i < w->node_count; i++)
        d->term_before = max_u64(d->term_before, checker_known_term(w->checker, i));
    d->term = d->term_before;
    d->handed_before = w->report->marks[KELP_EV_TRANSFER_FOR_CHANGE];
    for (unsigned i = 0; i < w->node_count && !world_failed(w); i++) {
        if (in_core(&w->nodes[i]))
            member_heals(w, &w->nodes[i]);
        else
            clients_leave(&w->nodes[i]);
    }
    bool thin = draw_chance(stream(w, STREAM_NODE), 1, 4);
    if (thin && !churns(w) && w->swarm.off == 0 && d->core >= 3 && !d->hopeless &&
        checker_commit(w->checker) > 1 && w->options.broken != KELP_SIM_BREAK_HEAL)
        core_thinned(w);
    /* So that time moves on even if nothing is left that does anything. */
    world_push(w, w->now + (d->hopeless ? HOPELESS_TIMEOUTS * d->timeout : w->options.heal) + MS,
               EVENT_HEAL, 0, 0, NULL);
    w->report->core = d->hopeless ? 0 : d->core;
    w->report->leader_after = KELP_NEVER;
}

/* ---- looking --------------------------------------------------------------------------------- */

/* The node of the core that leads and has committed in its own term, NULL: none. */
static const struct node *leader_of(const struct world *w)
{
    const struct node *leader = NULL;
    uint64_t term = 0;
    for (unsigned i = 0; i < w->node_count; i++) {
        const struct kelp_core *core = in_core(&w->nodes[i]) ? core_of(&w->nodes[i]) : NULL;
        if (core == NULL) continue;
        uint64_t led = core_led_term(core, true);
        if (led <= term) continue;
        leader = &w->nodes[i];
        term = led;
    }
    return leader;
}

static bool hears(const struct world *w, const struct node *a, const struct node *b)
{
    return !w->net.cut[a->slot][b->slot] && !w->net.cut[b->slot][a->slot];
}

/* A witness may lack what is committed, also one that fetched a whole snapshot before it knew. */
static bool witnesses(const struct world *w, const struct node *leader, const struct node *n)
{
    const struct kelp_config *latest = core_configs(core_of(leader)).latest;
    uint32_t slot = config_slot(latest, n->id);
    return checker_witness(w->checker, n->slot) ||
           (slot != CONFIG_NO_SLOT && latest->members[slot].role == KELP_WITNESS);
}

/* What both noted of their states on the way is equal: they may have differed where a later command
 * hid it. */
static bool marks_equal(const struct rsm *a, const struct rsm *b)
{
    struct wire_mark of_a[WIRE_MARK_KEPT], of_b[WIRE_MARK_KEPT];
    size_t count_a = rsm_marks(a, 0, of_a), count_b = rsm_marks(b, 0, of_b);
    for (size_t i = 0, k = 0; i < count_a && k < count_b;) {
        if (of_a[i].index != of_b[k].index) {
            if (of_a[i].index < of_b[k].index)
                i++;
            else
                k++;
            continue;
        }
        if (of_a[i].chain != of_b[k].chain || of_a[i].state != of_b[k].state) return false;
        i++;
        k++;
    }
    return true;
}

/* Every node of the core is there, and all that the leader reaches have applied the same. */
static bool all_equal(const struct world *w)
{
    const struct node *leader = leader_of(w);
    if (leader == NULL || !restorer_over(leader)) return false;
    if (churns(w) && !(churn_settled(w, leader) && churn_idle(w))) return false;
    for (unsigned i = 0; i < w->node_count; i++) {
        const struct node *n = &w->nodes[i];
        if (!in_core(n) || !churn_member(w, n)) continue;
        if (core_of(n) == NULL) return false;
        if (!hears(w, leader, n) || witnesses(w, leader, n)) continue;
        struct kelp_pos a = rsm_applied(leader->rsm), b = rsm_applied(n->rsm);
        if (!kelp_pos_equal(a, b) || b.index != checker_commit(w->checker)) return false;
        if (rsm_state_hash(leader->rsm) != rsm_state_hash(n->rsm)) return false;
        if (rsm_chain_hash(leader->rsm) != rsm_chain_hash(n->rsm)) return false;
        if (!marks_equal(leader->rsm, n->rsm)) return false;
    }
    return true;
}

/* Somebody is preferred to somebody else. */
static bool prefers(const struct world *w)
{
    if (!churns(w)) return false;
    const struct node *leader = leader_of(w);
    if (leader == NULL) return true;
    return config_tiers_above(core_configs(core_of(leader)).latest, 0) != 1;
}

/* Nobody is preferred to whoever leads. */
static bool preferred_leads(const struct world *w)
{
    const struct node *leader = leader_of(w);
    if (leader == NULL) return false;
    const struct kelp_config *latest = core_configs(core_of(leader)).latest;
    uint32_t slot = config_slot(latest, leader->id);
    return slot != CONFIG_NO_SLOT &&
           config_tiers_above(latest, kelp_priority_of(&latest->members[slot])) == 0;
}

/* Is the run to go on, because leadership must still move? */
static bool moves(struct world *w)
{
    const struct demand *d = &w->demand;
    kelp_ns after = w->now - d->at;
    if (!churns(w) || preferred_leads(w)) return false;
    kelp_ns steady = STEADY_LIMITS * max_u64(STALL_MIN, d->timeout);
    if (after > max_u64(MOVED_TIMEOUTS * d->timeout, steady + LEADER_TIMEOUTS * d->timeout))
        checker_fail(w->checker, RULE_L14,
                     "whoever is preferred does not lead %llu ms after healing",
                     (unsigned long long)(after / MS));
    return after + LEADER_TIMEOUTS * d->timeout < w->options.heal;
}

static void terms_count(struct world *w)
{
    struct demand *d = &w->demand;
    for (unsigned i = 0; i < w->node_count; i++) {
        uint64_t term = in_core(&w->nodes[i]) ? checker_known_term(w->checker, i) : 0;
        if (term <= d->term) continue;
        d->term = term;
        d->term_at = w->now;
        w->report->terms_after_heal = (uint32_t)(term - d->term_before);
    }
    if (w->report->terms_after_heal <= TERMS_MAX) return;
    uint32_t most = prefers(w) ? TERMS_MAX + TERMS_MOVED : TERMS_MAX;
    /* two that are asked to remove themselves may hand over to each other for a while */
    most += (uint32_t)(w->report->marks[KELP_EV_TRANSFER_FOR_CHANGE] - d->handed_before);
    if (w->report->terms_after_heal > most && w->swarm.off == 0)
        checker_fail(w->checker, RULE_L05, "%u terms began after healing",
                     w->report->terms_after_heal);
}

/* The time since healing lasts until its last half was quiet; it must not last for ever. */
static void quiet_judge(struct world *w)
{
    const struct demand *d = &w->demand;
    if (sub_sat(d->leader_at, d->leader_late) > LEADER_TIMEOUTS * d->timeout && !prefers(w))
        checker_fail(w->checker, RULE_L05, "term %llu began %llu ms after healing",
                     (unsigned long long)d->term, (unsigned long long)((d->term_at - d->at) / MS));
}

/* As far as a quorum of the core has the log. */
static kelp_index quorum_end(const struct world *w)
{
    kelp_index ends[NODES_MAX] = {0}; /* descending */
    for (unsigned i = 0; i < w->node_count; i++) {
        if (!in_core(&w->nodes[i])) continue;
        kelp_index end = checker_log_end(w->checker, i).index;
        unsigned at = i;
        for (; at > 0 && ends[at - 1] < end; at--)
            ends[at] = ends[at - 1];
        ends[at] = end;
    }
    return ends[w->node_count / 2];
}

/* A snapshot comes on a path, or from one that sends no faster, that takes seconds for a piece. */
static bool fetching_slowly(const struct world *w)
{
    if (w->swarm.lane_rate == 0 && w->swarm.send_rate == 0) return false;
    for (unsigned i = 0; i < w->node_count; i++) {
        const struct node *n = &w->nodes[i];
        if (in_core(n) && n->driver != NULL && driver_fetches(n->driver)) return true;
    }
    return false;
}

/* Somebody leads, committed or not. */
static bool led(const struct world *w)
{
    for (unsigned i = 0; i < w->node_count; i++) {
        const struct kelp_core *core = in_core(&w->nodes[i]) ? core_of(&w->nodes[i]) : NULL;
        if (core != NULL && core_led_term(core, false) != 0) return true;
    }
    return false;
}

/* Who is far behind, with a window of two small messages, takes its time to come level; a write
 * that needs it, a leader's first one too, is late only once it stops doing so. */
static void catching_up(struct world *w)
{
    struct demand *d = &w->demand;
    if (fetching_slowly(w)) d->slow_at = w->now;
    bool slowly = d->write_at == KELP_NEVER && d->slow_at == w->now;
    if (slowly) d->write_late = max_u64(d->write_late, w->now);
    if (slowly && led(w)) d->leader_late = w->now;
    kelp_index end = d->write_at == KELP_NEVER ? quorum_end(w) : 0;
    if (end <= d->quorum_end) return;
    d->quorum_end = end;
    d->write_late = max_u64(d->write_late, w->now);
}

/* A slow path brought a snapshot not long ago: what follows it has to be caught up with. */
static bool slowed(const struct world *w)
{
    const struct demand *d = &w->demand;
    return d->slow_at != 0 && w->now <= d->slow_at + LEADER_TIMEOUTS * d->timeout;
}

/* Where links do not keep order a forward that was overtaken is dropped without an answer, as a
 * copy would be: its line waits for the deadline before it writes again. */
static kelp_ns overtaken(const struct world *w)
{
    return w->swarm.ordered ? 0 : clients_deadline(&w->swarm);
}

static void too_late(struct world *w)
{
    const struct demand *d = &w->demand;
    kelp_ns after = w->now - d->at;
    unsigned long long ms = after / 1000000;
    if (d->leader_at == KELP_NEVER && w->now - d->leader_late > LEADER_TIMEOUTS * d->timeout)
        checker_fail(w->checker, d->write_at == KELP_NEVER ? RULE_L01 : RULE_L05,
                     "no leader %llu ms after healing", ms);
    if (d->leader_at != KELP_NEVER && d->write_at == KELP_NEVER &&
        w->now > max_u64(d->write_late, d->leader_at) + 2 * d->timeout + overtaken(w))
        checker_fail(w->checker, RULE_L02, "no write committed %llu ms after healing", ms);
    if (after <= w->options.heal || (slowed(w) && after <= w->options.heal * SLOW_TIMES)) return;
    if (d->write_at == KELP_NEVER)
        checker_fail(w->checker, RULE_L02, "no write committed %llu ms after healing", ms);
    if (!clients_idle(w))
        checker_fail(w->checker, RULE_L04, "requests are still open %llu ms after healing", ms);
    const struct node *leader = leader_of(w);
    if (churns(w) && (leader == NULL || !churn_settled(w, leader) || !churn_idle(w)))
        checker_fail(w->checker, RULE_L12, "a change is not through %llu ms after healing", ms);
    if (!mover_idle(w))
        checker_fail(w->checker, RULE_L07, "leadership is still handed over %llu ms after healing",
                     ms);
    checker_fail(w->checker, RULE_L03, "the nodes are not equal %llu ms after healing", ms);
}

/* The last leader counts: one that was there when the faults ended may be about to step down. */
static void leader_look(struct world *w)
{
    struct demand *d = &w->demand;
    bool new_term = d->leader_at != KELP_NEVER && d->term_at > d->leader_at;
    if (d->leader_at != KELP_NEVER && !new_term && d->write_at != KELP_NEVER) return;
    bool there = leader_of(w) != NULL;
    if (!there || new_term) d->leader_at = KELP_NEVER;
    if (!there || d->leader_at != KELP_NEVER) return;
    d->leader_at = w->now;
    w->report->leader_after = w->now - d->at;
    w->report->leader_soon = w->now - d->at <= SOON_TIMEOUTS * d->timeout;
}

/* ---- at the end ------------------------------------------------------------------------------ */

/* Has everybody in the core done what was to be done in its log? */
static bool housekept(const struct world *w)
{
    for (unsigned i = 0; i < w->node_count; i++) {
        const struct node *n = &w->nodes[i];
        if (in_core(n) && (n->work_due || n->job_end != KELP_NEVER)) return false;
    }
    return true;
}

/* Where the oldest snapshot ends that is kept to be started from. */
static kelp_index oldest_kept(const struct world *w, const struct store_stats *stats)
{
    kelp_index oldest = 0;
    uint32_t left = w->swarm.snapshots_kept;
    for (uint32_t i = 0; i < stats->snapshot_count && left > 0; i++) {
        if (stats->snapshots[i].damaged) continue;
        oldest = stats->snapshots[i].pos.index;
        left--;
    }
    return oldest;
}

/* Everybody is there and has everything: each log may keep what it was told to keep, what came
 * since the last snapshot, and what was under way when that was taken. On disk it stays down to the
 * oldest snapshot that is kept; an entry takes two blocks at most there, so do the first save of a
 * term and a segment's head; a start ends a segment, and only whole ones go. */
static bool log_small(struct world *w, const struct node *n)
{
    const struct swarm *s = &w->swarm;
    uint64_t most = s->trailing_entries + 2 * s->snapshot_every + UNDER_WAY;
    /* A write that fits no segment has one of its own. */
    uint64_t large = max_u64(s->limits.uncommitted_bytes_max, s->limits.window_bytes_max);
    struct kelp_view v;
    struct store_stats stats;
    kelp_view(core_of(n), &v);
    store_stats(n->store, &stats);
    uint64_t kept = v.last - v.first + 1;
    uint64_t stored = max_u64(kept, v.last - oldest_kept(w, &stats));
    uint64_t blocks = 2 * (stored + v.term.v);
    uint64_t segments = blocks / (s->segment_bytes / BLOCK - 2) + n->life + SEGMENTS_OPEN;
    w->report->entries_kept = max_u64(w->report->entries_kept, kept);
    bool bytes = stats.log_bytes <= segments * s->segment_bytes + large;
    if (w->options.restores)
        bytes = true; /* a BEGIN has as many blocks as the machine's own bytes */
    return kept <= most && bytes && stats.spares <= s->spares;
}

/* Somebody whose log is larger than it need be, NULL: nobody. A machine without snapshots keeps
 * all, and so do all as long as somebody outside the core may still want it. */
static const struct node *log_large(struct world *w)
{
    if (w->machine.ops->snapshot_begin == NULL || w->report->thinned || churns(w)) return NULL;
    for (unsigned i = 0; i < w->node_count && w->demand.core == w->node_count; i++) {
        if (!log_small(w, &w->nodes[i])) return &w->nodes[i];
    }
    return NULL;
}

static void log_judge(struct world *w, const struct node *n)
{
    struct kelp_view v;
    struct store_stats stats;
    kelp_view(core_of(n), &v);
    store_stats(n->store, &stats);
    checker_fail(w->checker, RULE_L09,
                 "node %u keeps entries %llu..%llu in %llu bytes, and %llu spare segments",
                 n->slot + 1u, (unsigned long long)v.first, (unsigned long long)v.last,
                 (unsigned long long)stats.log_bytes, (unsigned long long)stats.spares);
}

/* The last half of the time since healing has to be quiet: so long it lasts at least. */
static kelp_ns quiet_until(const struct world *w)
{
    const struct demand *d = &w->demand;
    kelp_ns noisy = prefers(w) ? 0 : d->leader_at - d->at;
    return d->leader_at + noisy + 2 * d->timeout;
}

/* KELP_SIM_BREAK_CHURN: whoever leads stands still for longer than anybody waits. */
static void churn(struct world *w)
{
    for (unsigned i = 0; i < w->node_count; i++) {
        const struct kelp_core *core = core_of(&w->nodes[i]);
        if (core == NULL || node_paused(&w->nodes[i])) continue;
        struct kelp_view v;
        kelp_view(core, &v);
        if (v.role == KELP_LEADER) node_pause(&w->nodes[i], 3 * w->demand.timeout);
    }
}

/* Nobody is served by a node that is no member. */
static void clients_gather(struct world *w)
{
    for (unsigned i = 0; i < w->node_count && churns(w); i++) {
        struct node *n = &w->nodes[i];
        if (!n->closed && n->state == NODE_UP && !churn_member(w, n)) clients_leave(n);
    }
}

/* What healing demands, in order; ends the run when all is there. */
void demand_look(struct world *w)
{
    struct demand *d = &w->demand;
    if (w->apart.state != APART_NOT) {
        w->ended = apart_over(w);
        return;
    }
    if (d->hopeless) {
        w->ended = w->now > d->at + HOPELESS_TIMEOUTS * d->timeout;
        return;
    }
    clients_gather(w);
    terms_count(w);
    leader_look(w);
    if (d->leader_at != KELP_NEVER && d->write_at == KELP_NEVER && w->clients.done_after_heal > 0) {
        d->write_at = w->now;
        w->clients.stopped = true;
    }
    if (w->options.broken == KELP_SIM_BREAK_CHURN && d->write_at != KELP_NEVER) churn(w);
    if (d->write_at == KELP_NEVER || !clients_idle(w) || !mover_idle(w) || !all_equal(w)) {
        if (d->equal_at != KELP_NEVER) (void)lapse_look(w); /* an entry is under way */
        catching_up(w);
        too_late(w);
        return;
    }
    if (d->equal_at == KELP_NEVER) d->equal_at = w->now;
    bool lent = !lapse_look(w);
    if (d->leader_at == KELP_NEVER || w->now < quiet_until(w)) return;
    if (moves(w) || lent) return;
    /* What everybody has is learnt with the next heartbeat, and then cut off in its turn. */
    const struct node *large = log_large(w);
    if ((!housekept(w) || large != NULL) && w->now <= d->at + w->options.heal) return;
    quiet_judge(w);
    if (large != NULL) log_judge(w, large);
    w->ended = !apart_begins(w);
}

/* ---- starvation ------------------------------------------------------------------------------ */

void demand_starve(struct world *w)
{
    kelp_index commit = checker_commit(w->checker);
    if (!w->swarm.mild || w->healing) return;
    if (commit > w->fed_commit) {
        w->fed_commit = commit;
        w->fed_at = w->now;
        w->fed_requests = w->report->requests;
        return;
    }
    kelp_ns since = w->now - w->fed_at;
    kelp_ns most = FED_TIMEOUTS * w->swarm.election_max * 1000 / (1000 - w->swarm.clock_drift);
    if (since > most && w->report->requests >= w->fed_requests + FED_REQUESTS)
        checker_fail(w->checker, RULE_L11, "nothing committed for %llu ms, with %llu requests",
                     (unsigned long long)(since / MS),
                     (unsigned long long)(w->report->requests - w->fed_requests));
}
