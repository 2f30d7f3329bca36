/* SPDX-License-Identifier: Apache-2.0 */
/* checker.c - leaders, commits and positions, after every event.
 *
 * The first node to commit an index must lead the term of that entry, and a quorum must hold it
 * durably, the leader only if its own save was reported [§3.6.2]. Everybody later must commit the
 * same [§3.6.3]. A new leader holds all that terms before its own committed [§3.4]. */
#include "sim/checker.h"

#include <stddef.h>
#include <string.h>

#include "base/assert.h"
#include "base/min.h"
#include "sim/checker_room.h"

typedef unsigned long long ull;

kelp_index checker_commit(const struct checker *c)
{
    return c->commit_max;
}

uint64_t checker_commits_by_clients(const struct checker *c)
{
    return c->client_commits;
}

uint64_t checker_leaders(const struct checker *c)
{
    return c->leader_count;
}

uint64_t checker_highest_term(const struct checker *c)
{
    return c->leader_highest;
}

uint64_t checker_answers(const struct checker *c)
{
    return c->answers;
}

/* ---- leaders ---- */

static void leader_complete(struct checker *c, unsigned node, uint64_t term)
{
    const struct checked_node *n = &c->nodes[node];
    kelp_index committed = c->commit_max;
    /* A later leader may have been quicker: this one need not have what that one committed. */
    while (committed > 0 && c->commits[committed].by >= term)
        committed--;
    if (committed == 0) return;
    if (node_last(n) < committed || node_held(n, committed).chain != c->commits[committed].chain)
        checker_fail(c, RULE_I08, "node %u leads term %llu without %llu@%llu, which is committed",
                     node + 1, (ull)term, (ull)committed, (ull)c->commits[committed].term);
}

void checker_leads(struct checker *c, unsigned node, uint64_t term)
{
    if (!checker_term_reserve(c, term)) return;
    unsigned leader = c->leader_of[term];
    if (leader != 0)
        checker_fail(c, RULE_I01, "node %u becomes leader of term %llu; node %u was it", node + 1,
                     (ull)term, leader);
    c->leader_of[term] = node + 1;
    c->leader_count++;
    c->leader_highest = max_u64(c->leader_highest, term);
    checker_elected(c, node, term);
    leader_complete(c, node, term);
}

void checker_leased(struct checker *c, unsigned node, uint64_t term, kelp_index index)
{
    if (c->leader_highest > term)
        checker_fail(c, RULE_N10,
                     "node %u serves a read by its lease of term %llu; term %llu is led", node + 1,
                     (ull)term, (ull)c->leader_highest);
    else if (c->commit_max > index)
        checker_fail(c, RULE_N10, "node %u serves a read by its lease at %llu; committed is %llu",
                     node + 1, (ull)index, (ull)c->commit_max);
}

/* ---- commits ---- */

/* Indexes that nobody had committed before. */
static void commit_first(struct checker *c, unsigned node, kelp_index to)
{
    const struct checked_node *n = &c->nodes[node];
    uint64_t term = node_held(n, to).term;
    unsigned leader = term < c->leader_room ? c->leader_of[term] : 0;
    /* Entry 1 is the founder's: it is committed by definition on every node that was founded. */
    bool founding = to == 1 && term == 1;
    if (leader != node + 1 && !founding)
        checker_fail(c, RULE_I13,
                     "node %u commits %llu@%llu before any leader did; term %llu is of %u",
                     node + 1, (ull)to, (ull)term, (ull)term, leader);
    if (!checker_quorum_holds(c, node, to, node_held(n, to).chain) && !founding)
        checker_fail(c, RULE_I12, "node %u commits %llu@%llu; no quorum holds it durably", node + 1,
                     (ull)to, (ull)term);
    if (!checker_commit_reserve(c, to)) return;
    for (kelp_index i = c->commit_max + 1; i <= to; i++) {
        struct held held = node_held(n, i);
        const struct known_entry *entry = checker_known(c, i, held.term);
        c->commits[i] = (struct committed){.chain = held.chain,
                                           .term = held.term,
                                           .by = term,
                                           .value = entry != NULL ? entry->value : 0};
        c->commit_max = i;
        if (entry != NULL) c->commit_time = max_u64(c->commit_time, entry->time_ns);
        checker_time_passes(c, i);
        if (entry != NULL && entry->session) checker_session_committed(c, i);
        if (entry != NULL && entry->value != 0) checker_write_committed(c, i, entry);
    }
}

static void commit_grows(struct checker *c, unsigned node, kelp_index to)
{
    const struct checked_node *n = &c->nodes[node];
    if (to > node_last(n)) {
        checker_fail(c, RULE_I11, "node %u commits %llu; its log ends at %llu", node + 1, (ull)to,
                     (ull)node_last(n));
        return;
    }
    kelp_index both = min_u64(to, c->commit_max);
    if (both > 0 && node_held(n, both).chain != c->commits[both].chain) {
        while (both > 1 && node_held(n, both - 1).chain != c->commits[both - 1].chain)
            both--;
        checker_fail(c, RULE_I09, "node %u commits %llu@%llu; %llu@%llu is committed there",
                     node + 1, (ull)both, (ull)node_held(n, both).term, (ull)both,
                     (ull)c->commits[both].term);
        return;
    }
    if (to > c->commit_max) commit_first(c, node, to);
}

/* ---- the state of one node ---- */

static void positions_ordered(struct checker *c, unsigned node, const struct kelp_view *v)
{
    const struct checked_node *n = &c->nodes[node];
    if (v->first == 0 || v->first - 1 > v->applied || v->applied > v->commit ||
        v->commit > v->last || v->durable > v->last)
        checker_fail(c, RULE_I11,
                     "node %u: first %llu, applied %llu, commit %llu, durable %llu, last %llu",
                     node + 1, (ull)v->first, (ull)v->applied, (ull)v->commit, (ull)v->durable,
                     (ull)v->last);
    if (v->last != node_last(n) || v->last_pos.term.v != node_held(n, v->last).term)
        checker_fail(c, RULE_I11, "node %u says its log ends at %llu@%llu; saved was %llu@%llu",
                     node + 1, (ull)v->last, (ull)v->last_pos.term.v, (ull)node_last(n),
                     (ull)node_held(n, node_last(n)).term);
    /* a log that a snapshot is about to replace is durable all the same */
    if (v->durable > max_u64(n->durable.last, checker_durable_last(c, n)))
        checker_fail(c, RULE_I11, "node %u believes %llu durable; %llu was reported", node + 1,
                     (ull)v->durable, (ull)checker_durable_last(c, n));
}

static void state_moves_on(struct checker *c, unsigned node, const struct kelp_view *v)
{
    const struct checked_node *n = &c->nodes[node];
    const struct kelp_view *before = &n->view;
    if (v->commit < before->commit || v->applied < before->applied)
        checker_fail(c, RULE_I10, "node %u: commit %llu after %llu, applied %llu after %llu",
                     node + 1, (ull)v->commit, (ull)before->commit, (ull)v->applied,
                     (ull)before->applied);
    if (v->term.v < before->term.v || v->term_saved.v < before->term_saved.v)
        checker_fail(c, RULE_I04, "node %u: term %llu after %llu", node + 1, (ull)v->term.v,
                     (ull)before->term.v);
    bool led_on =
        v->role == KELP_LEADER && before->role == KELP_LEADER && v->term.v == before->term.v;
    if (led_on && (v->revision != before->revision || v->last < before->last))
        checker_fail(c, RULE_I06, "node %u leads term %llu and cut its log from %llu to %llu",
                     node + 1, (ull)v->term.v, (ull)before->last, (ull)v->last);
    bool hands_on = v->transferring && before->transferring;
    hands_on = hands_on && v->transfer_until == before->transfer_until; /* the same transfer */
    if (led_on && hands_on && v->last != before->last)
        checker_fail(c, RULE_I35, "node %u hands over term %llu and took entry %llu", node + 1,
                     (ull)v->term.v, (ull)v->last);
}

static const struct kelp_peer_view *peer_before(const struct kelp_view *v, unsigned slot,
                                                kelp_id id)
{
    return slot < v->peer_count && v->peers[slot].id == id ? &v->peers[slot] : NULL;
}

/* What a leader believes of its followers, when the belief is new. */
static void matches_sound(struct checker *c, unsigned node, const struct kelp_view *v)
{
    const struct checked_node *n = &c->nodes[node];
    bool led_on = n->view.role == KELP_LEADER && n->view.term.v == v->term.v;
    for (unsigned i = 0; i < v->peer_count; i++) {
        const struct kelp_peer_view *p = &v->peers[i];
        if (p->id == v->self || p->id == 0 || p->id > c->node_count) continue;
        const struct kelp_peer_view *before = led_on ? peer_before(&n->view, i, p->id) : NULL;
        if (p->next <= p->match || (before != NULL && p->match < before->match))
            checker_fail(c, RULE_I17, "leader %u: peer %llu next %llu match %llu, match was %llu",
                         node + 1, (ull)p->id, (ull)p->next, (ull)p->match,
                         (ull)(before != NULL ? before->match : 0));
        if (p->match == 0 || (before != NULL && before->match == p->match)) continue;
        const struct checked_node *peer = &c->nodes[p->id - 1];
        /* A peer that went on to a higher term may have lost it again to that leader. */
        if (peer->term > v->term.v) continue;
        if (p->match > checker_durable_last(c, peer) || p->match > node_last(n) ||
            checker_durable(c, peer, p->match).chain != node_held(n, p->match).chain)
            checker_fail(c, RULE_I17,
                         "leader %u of term %llu: peer %llu match %llu, durable is %llu", node + 1,
                         (ull)v->term.v, (ull)p->id, (ull)p->match,
                         (ull)checker_durable_last(c, peer));
    }
}

/* What is behind its peers was never set. */
static void view_keep(struct checked_node *n, const struct kelp_view *view)
{
    ASSERT(view->peer_count <= COUNT_OF(view->peers));
    memcpy(&n->view, view, offsetof(struct kelp_view, peers));
    memcpy(n->view.peers, view->peers, view->peer_count * sizeof view->peers[0]);
}

void checker_views(struct checker *c, unsigned node, const struct kelp_view *view)
{
    struct checked_node *n = &c->nodes[node];
    if (n->running) {
        state_moves_on(c, node, view);
    } else if (view->commit < n->commit_floor && view->commit < n->memory.last) {
        checker_fail(c, RULE_I10, "node %u starts with commit %llu; %llu was reported durable",
                     node + 1, (ull)view->commit, (ull)n->commit_floor);
    }
    positions_ordered(c, node, view);
    if (checker_failed(c)) return;
    if (view->commit > n->view.commit) commit_grows(c, node, view->commit);
    if (view->role == KELP_LEADER) matches_sound(c, node, view);
    view_keep(n, view);
    n->running = true;
}

void checker_keeps(struct checker *c, unsigned node, kelp_index index)
{
    kelp_index durable = checker_durable_last(c, &c->nodes[node]);
    if (index > durable)
        checker_fail(c, RULE_N08, "node %u applied %llu to what it keeps; durable is %llu",
                     node + 1, (ull)index, (ull)durable);
}

void checker_applied(struct checker *c, unsigned node, kelp_index index, uint64_t chain,
                     uint64_t state)
{
    if (index == 0) return;
    if (index > c->commit_max) {
        checker_fail(c, RULE_I11, "node %u applied %llu; committed is %llu", node + 1, (ull)index,
                     (ull)c->commit_max);
        return;
    }
    struct committed *committed = &c->commits[index];
    if (!committed->applied) {
        committed->applied = true;
        committed->applied_chain = chain;
        committed->state = state;
        return;
    }
    if (committed->applied_chain != chain || committed->state != state)
        checker_fail(c, RULE_I28,
                     "node %u at %llu: chain %016llx state %016llx; elsewhere %016llx and %016llx",
                     node + 1, (ull)index, (ull)chain, (ull)state, (ull)committed->applied_chain,
                     (ull)committed->state);
}

bool checker_led(const struct checker *c, unsigned node)
{
    for (size_t term = 0; term < c->leader_room; term++) {
        if (c->leader_of[term] == node + 1) return true;
    }
    return false;
}
