/* SPDX-License-Identifier: Apache-2.0 */
/* promise.c - what leaves a node, what it was told is durable, and what it finds after a crash.
 *
 * A node's durable image is kept here from its saves: a save counts once it was reported. A vote, a
 * term or an acknowledgement that leaves must be covered by it [§3.6.2, §3.8], and a restart must
 * find all of it: exactly what was reported, or that and some first part of the saves that were
 * still open, in order. */
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/min.h"
#include "sim/checker_room.h"

#define WITNESS_WHOLE_MAX 64u

typedef unsigned long long ull;

/* A position stands for the entry that some log had there in its term. */
static uint64_t chain_on(struct checker *c, unsigned node, struct held before, kelp_index index,
                         const struct checker_entry *entry)
{
    uint64_t checksum = entry->checksum;
    if (entry->position) {
        const struct known_entry *known = checker_known(c, index, entry->term);
        c->nodes[node].positions = true;
        if (known == NULL || known->chain == 0)
            checker_fail(c, RULE_I07, "node %u holds position %llu@%llu, which no leader wrote",
                         node + 1, (ull)index, (ull)entry->term);
        else if (known->config)
            checker_fail(c, RULE_M03, "node %u keeps of configuration %llu@%llu the position only",
                         node + 1, (ull)index, (ull)entry->term);
        else
            checksum = known->checksum;
    }
    return hash_mix(hash_mix(before.chain, checksum), entry->term);
}

void checker_log_truncate(struct held_log *log, kelp_index last)
{
    log->last = min_u64(log->last, last);
}

static void log_put(struct held_log *log, kelp_index index, struct held held)
{
    log->held[index] = held;
    log->last = index;
}

/* ---- saves ---- */

/* One entry enters a node's log: the same position must hold the same bytes everywhere. */
static void entry_known(struct checker *c, unsigned node, kelp_index index,
                        const struct checker_entry *entry, uint64_t chain)
{
    struct known_entry *known = checker_know(c, index, entry->term);
    if (known == NULL) return;
    if (known->chain == 0) {
        known->chain = chain;
        known->checksum = entry->checksum;
        known->time_ns = entry->time_ns;
        known->config = entry->config;
        known->value = entry->value;
        known->name = entry->name;
        known->more = entry->more;
        known->once = entry->once;
        known->session = entry->session;
        return;
    }
    if (known->chain != chain)
        checker_fail(c, RULE_I07,
                     "node %u holds %llu@%llu with chain %016llx; elsewhere it is %016llx",
                     node + 1, (ull)index, (ull)entry->term, (ull)chain, (ull)known->chain);
}

/* What a later term committed a leader of an earlier one need not have: who still follows it may be
 * told to cut that off. [§3.6.3] */
static void save_truncates(struct checker *c, unsigned node, kelp_index last, uint64_t term)
{
    struct checked_node *n = &c->nodes[node];
    if (last < n->memory.last && last < c->commit_max && c->commits[last + 1].by <= term &&
        n->memory.held[last + 1].chain == c->commits[last + 1].chain)
        checker_fail(c, RULE_I16, "node %u cuts its log to %llu; %llu@%llu is committed", node + 1,
                     (ull)last, (ull)last + 1, (ull)c->commits[last + 1].term);
    checker_log_truncate(&n->memory, last);
}

/* A leader sends whole entries until it knows that who is a witness stays one: few. */
static void witness_keeps(struct checker *c, unsigned node, const struct checker_entry *entry)
{
    struct checked_node *n = &c->nodes[node];
    n->stripped += entry->position;
    n->whole += entry->value != 0;
    if (n->whole > n->stripped + WITNESS_WHOLE_MAX)
        checker_fail(c, RULE_M03,
                     "node %u is a witness and keeps the data of %llu entries, not %llu", node + 1,
                     (ull)n->whole, (ull)n->stripped);
}

static void save_appends(struct checker *c, unsigned node, const struct kelp_save *save,
                         const struct checker_entry *entries)
{
    struct checked_node *n = &c->nodes[node];
    if (save->first != n->memory.last + 1 || save->last < save->first) {
        checker_fail(c, RULE_I11, "node %u appends %llu..%llu to a log that ends at %llu", node + 1,
                     (ull)save->first, (ull)save->last, (ull)n->memory.last);
        return;
    }
    if (!checker_log_reserve(c, &n->memory, save->last)) return;
    for (kelp_index i = save->first; i <= save->last; i++) {
        const struct checker_entry *entry = &entries[i - save->first];
        if (entry->term < n->memory.held[i - 1].term)
            checker_fail(c, RULE_I11, "node %u has %llu@%llu behind an entry of term %llu",
                         node + 1, (ull)i, (ull)entry->term, (ull)n->memory.held[i - 1].term);
        struct held held = {chain_on(c, node, n->memory.held[i - 1], i, entry), entry->term};
        log_put(&n->memory, i, held);
        entry_known(c, node, i, entry, held.chain);
        if (checker_knows_witness(c, node)) witness_keeps(c, node, entry);
        if (checker_failed(c)) return;
        n->entries[n->entry_count++] = held;
    }
}

struct kelp_pos checker_log_end(const struct checker *c, unsigned node)
{
    const struct checked_node *n = &c->nodes[node];
    return kelp_pos_of(n->memory.last, n->memory.held[n->memory.last].term);
}

uint64_t checker_saved_term(const struct checker *c, unsigned node, kelp_index index)
{
    const struct held_log *log = &c->nodes[node].memory;
    return index <= log->last ? log->held[index].term : 0;
}

void checker_ahead(struct checker *c, unsigned node, kelp_index first,
                   const struct checker_entry *entries, size_t count)
{
    struct checked_node *n = &c->nodes[node];
    n->ahead_first = 0;
    if (count == 0) return;
    if (first == 0 || first > n->memory.last + 1) {
        checker_fail(c, RULE_I11, "node %u holds %llu and saved only up to %llu", node + 1,
                     (ull)first, (ull)n->memory.last);
        return;
    }
    if (!checker_log_reserve(c, &n->ahead, first + count - 1)) return;
    for (size_t i = 0; i < count; i++) {
        kelp_index index = first + i;
        struct held before = i > 0 ? n->ahead.held[index - 1] : n->memory.held[index - 1];
        uint64_t chain = chain_on(c, node, before, index, &entries[i]);
        log_put(&n->ahead, index, (struct held){chain, entries[i].term});
        entry_known(c, node, index, &entries[i], n->ahead.held[index].chain);
    }
    n->ahead_first = first;
}

/* What the own snapshot has, and nothing beyond, may go. */
static void save_compacts(struct checker *c, unsigned node, const struct kelp_save *save)
{
    struct checked_node *n = &c->nodes[node];
    kelp_index gone = sub_sat(save->keep, 1);
    if (gone > n->snapshot || gone > c->commit_max)
        checker_fail(c, RULE_I16, "node %u drops entries up to %llu; snapshot %llu, committed %llu",
                     node + 1, (ull)gone, (ull)n->snapshot, (ull)c->commit_max);
    if (gone <= c->commit_max && n->memory.held[gone].chain != c->commits[gone].chain)
        checker_fail(c, RULE_I16,
                     "node %u drops entries up to %llu that are not the committed ones", node + 1,
                     (ull)gone);
    n->base = max_u64(n->base, gone);
}

/* Everything up to index is what was committed. */
static bool log_committed(struct checker *c, struct held_log *log, kelp_index last)
{
    if (!checker_log_reserve(c, log, last)) return false;
    for (kelp_index i = 1; i <= last; i++)
        log->held[i] = (struct held){c->commits[i].chain, c->commits[i].term};
    log->last = last;
    return true;
}

/* A snapshot takes the log's place. What was acknowledged may have been counted: a log that has the
 * entry at its end keeps what follows. */
static void log_resets(struct checker *c, unsigned node, struct kelp_pos end)
{
    struct checked_node *n = &c->nodes[node];
    if (end.index > n->snapshot || end.index > c->commit_max ||
        c->commits[end.index].term != end.term.v) {
        checker_fail(c, RULE_I16,
                     "node %u resets its log to %llu@%llu; its snapshot ends at %llu, committed is "
                     "%llu",
                     node + 1, (ull)end.index, (ull)end.term.v, (ull)n->snapshot,
                     (ull)c->commit_max);
        return;
    }
    if (n->memory.last >= end.index &&
        n->memory.held[end.index].chain == c->commits[end.index].chain)
        checker_fail(c, RULE_I16, "node %u resets a log that holds %llu@%llu, and ends at %llu",
                     node + 1, (ull)end.index, (ull)end.term.v, (ull)n->memory.last);
    if (!log_committed(c, &n->memory, end.index)) return;
    n->base = max_u64(n->base, end.index);
}

void checker_resets(struct checker *c, unsigned node, struct kelp_pos pos)
{
    struct checked_node *n = &c->nodes[node];
    if (pos.index == 0 || kelp_pos_equal(pos, n->reset_to)) return;
    n->reset_to = pos;
    log_resets(c, node, pos);
}

static void save_resets(struct checker *c, unsigned node, const struct kelp_save *save)
{
    struct checked_node *n = &c->nodes[node];
    if (!kelp_pos_equal(save->end, n->reset_to)) log_resets(c, node, save->end);
    n->reset_to = kelp_pos_of(0, 0);
}

void checker_saves(struct checker *c, unsigned node, const struct kelp_save *save,
                   const struct checker_entry *entries)
{
    struct checked_node *n = &c->nodes[node];
    bool appends = (save->flags & KELP_SAVE_APPEND) != 0;
    size_t count = appends ? (size_t)(save->last - save->first + 1) : 0;
    if (!checker_pending_reserve(c, n, count)) return;
    struct pending_save *pending = &n->saves[n->save_count];
    *pending = (struct pending_save){.save = *save, .entries_begin = n->entry_count};
    if ((save->flags & KELP_SAVE_TRUNCATE) != 0)
        save_truncates(c, node, save->end.index, save->term.v);
    if (appends) save_appends(c, node, save, entries);
    if ((save->flags & KELP_SAVE_RESET) != 0) save_resets(c, node, save);
    if ((save->flags & KELP_SAVE_COMPACT) != 0) save_compacts(c, node, save);
    if (!checker_failed(c)) n->save_count++;
}

/* The log part of the oldest open save becomes durable. */
static bool pending_log_done(struct checker *c, struct checked_node *n,
                             const struct pending_save *p)
{
    const struct kelp_save *save = &p->save;
    if ((save->flags & KELP_SAVE_TRUNCATE) != 0) checker_log_truncate(&n->durable, save->end.index);
    if ((save->flags & KELP_SAVE_APPEND) != 0) {
        if (!checker_log_reserve(c, &n->durable, save->last)) return false;
        for (kelp_index i = save->first; i <= save->last; i++)
            log_put(&n->durable, i, n->entries[p->entries_begin + (i - save->first)]);
    }
    if ((save->flags & KELP_SAVE_RESET) != 0) return log_committed(c, &n->durable, save->end.index);
    return true;
}

static void pending_drop(struct checked_node *n, size_t count)
{
    size_t entries = count < n->save_count ? n->saves[count].entries_begin : n->entry_count;
    n->entry_count -= entries;
    memmove(n->entries, n->entries + entries, n->entry_count * sizeof *n->entries);
    n->save_count -= count;
    memmove(n->saves, n->saves + count, n->save_count * sizeof *n->saves);
    for (size_t i = 0; i < n->save_count; i++)
        n->saves[i].entries_begin -= entries;
}

void checker_saved(struct checker *c, unsigned node, uint64_t number)
{
    struct checked_node *n = &c->nodes[node];
    size_t count = 0;
    for (; count < n->save_count && n->saves[count].save.number <= number; count++) {
        const struct kelp_save *save = &n->saves[count].save;
        if ((save->flags & KELP_SAVE_VOTE) != 0) {
            if (save->term.v < n->term)
                checker_fail(c, RULE_I04, "node %u saves term %llu after %llu", node + 1,
                             (ull)save->term.v, (ull)n->term);
            n->term = save->term.v;
            n->vote = save->vote;
        }
        if (!pending_log_done(c, n, &n->saves[count])) return;
        /* Only a save that writes to the log takes the commit index along. */
        if ((save->flags & (KELP_SAVE_APPEND | KELP_SAVE_TRUNCATE | KELP_SAVE_RESET)) != 0)
            n->commit_floor = max_u64(n->commit_floor, save->commit);
        if (n->durable.held[n->durable.last].term > n->term)
            checker_fail(c, RULE_I05, "node %u holds %llu@%llu durably, its durable term is %llu",
                         node + 1, (ull)n->durable.last, (ull)n->durable.held[n->durable.last].term,
                         (ull)n->term);
    }
    pending_drop(n, count);
}

void checker_hollow(struct checker *c, unsigned node)
{
    c->nodes[node].positions = true;
}

void checker_snapshot(struct checker *c, unsigned node, struct kelp_pos pos, bool fetched)
{
    struct checked_node *n = &c->nodes[node];
    kelp_index durable = checker_durable_last(c, n);
    if (pos.index > c->commit_max || (!fetched && pos.index > durable))
        checker_fail(c, RULE_I11, "node %u has a snapshot at %llu; committed %llu, durable %llu",
                     node + 1, (ull)pos.index, (ull)c->commit_max, (ull)durable);
    else if (c->commits[pos.index].term != pos.term.v)
        checker_fail(c, RULE_I11, "node %u has a snapshot at %llu@%llu; committed is term %llu",
                     node + 1, (ull)pos.index, (ull)pos.term.v, (ull)c->commits[pos.index].term);
    n->snapshot = max_u64(n->snapshot, pos.index);
}

/* ---- messages ---- */

static void vote_leaves(struct checker *c, unsigned node, uint64_t term, kelp_id candidate)
{
    struct checked_node *n = &c->nodes[node];
    if (n->term != term || n->vote != candidate)
        checker_fail(c, RULE_I03,
                     "node %u gives its vote in term %llu to %llu; durable is term %llu, vote %llu",
                     node + 1, (ull)term, (ull)candidate, (ull)n->term, (ull)n->vote);
    if (!checker_vote_reserve(c, n, term)) return;
    if (n->votes[term] != 0 && n->votes[term] != candidate)
        checker_fail(c, RULE_I02, "node %u gives its vote in term %llu to %llu; %llu had it",
                     node + 1, (ull)term, (ull)candidate, (ull)n->votes[term]);
    n->votes[term] = candidate;
}

void checker_own_vote(struct checker *c, unsigned node, uint64_t term)
{
    vote_leaves(c, node, term, node + 1);
}

static void acknowledgement_leaves(struct checker *c, unsigned node,
                                   const struct checker_sent *sent)
{
    const struct checked_node *n = &c->nodes[node];
    if (sent->match == 0) return;
    if (sent->match > checker_durable_last(c, n)) {
        checker_fail(c, RULE_I14, "node %u acknowledges %llu in term %llu; durable is %llu",
                     node + 1, (ull)sent->match, (ull)sent->term, (ull)checker_durable_last(c, n));
        return;
    }
    struct held held = checker_durable(c, n, sent->match);
    const struct checked_node *leader = &c->nodes[sent->to];
    bool leads =
        leader->running && leader->view.role == KELP_LEADER && leader->view.term.v == sent->term;
    if (leads &&
        (sent->match > node_last(leader) || node_held(leader, sent->match).chain != held.chain))
        checker_fail(c, RULE_I14, "node %u acknowledges %llu@%llu to leader %u, which has another",
                     node + 1, (ull)sent->match, (ull)held.term, sent->to + 1);
}

static void round_leaves(struct checker *c, unsigned node, const struct checker_sent *sent)
{
    struct asked *asked = &c->nodes[node].asked[sent->to];
    if (sent->term > asked->term) *asked = (struct asked){.term = sent->term};
    if (sent->term == asked->term) asked->round = max_u64(asked->round, sent->round);
}

/* Whoever answers the leader of its term follows it now, and repeats no round it was not asked
 * for: one of an earlier leadership would confirm reads before they were made. [§6.4] */
static void answer_leaves(struct checker *c, unsigned node, const struct checker_sent *sent)
{
    const struct asked *asked = &c->nodes[sent->to].asked[node];
    c->answers++;
    if (sent->term >= c->leader_room || c->leader_of[sent->term] != sent->to + 1) return;
    c->nodes[node].followed[sent->to] = c->answers;
    uint64_t round = sent->term > asked->term ? 0 : asked->round;
    if (sent->term >= asked->term && sent->round > round)
        checker_fail(c, RULE_N07,
                     "node %u repeats round %llu to the leader of term %llu, node %u, "
                     "which asked for %llu",
                     node + 1, (ull)sent->round, (ull)sent->term, sent->to + 1, (ull)round);
}

/* Whoever is told to stand holds what the leader holds, on its disk. */
static void order_leaves(struct checker *c, unsigned node, const struct checker_sent *sent)
{
    const struct checked_node *leader = &c->nodes[node], *target = &c->nodes[sent->to];
    kelp_index required = sent->match;
    bool whole = (sent->flags & KELP_MF_FINAL) != 0 || required == node_last(leader);
    if (!whole || required > node_last(leader))
        checker_fail(c, RULE_I35, "node %u hands over at %llu, its log ends at %llu", node + 1,
                     (ull)required, (ull)node_last(leader));
    else if (target->term > sent->term) /* it went on, and may have lost it to a later leader */
        return;
    else if (required > checker_durable_last(c, target) ||
             node_held(leader, required).chain != checker_durable(c, target, required).chain)
        checker_fail(c, RULE_I35, "node %u hands over to node %u, which holds %llu, not %llu",
                     node + 1, sent->to + 1, (ull)checker_durable_last(c, target), (ull)required);
}

void checker_sends(struct checker *c, unsigned node, const struct checker_sent *sent)
{
    const struct checked_node *n = &c->nodes[node];
    if (sent->term > n->term)
        checker_fail(c, RULE_I04, "node %u sends a message of term %llu; durable is %llu", node + 1,
                     (ull)sent->term, (ull)n->term);
    switch ((enum kelp_message_type)sent->type) {
    case KELP_MSG_VOTE_ANSWER:
        if ((sent->flags & KELP_MF_GRANTED) != 0 && (sent->flags & KELP_MF_PRE_VOTE) == 0)
            vote_leaves(c, node, sent->vote_term, sent->to + 1);
        if ((sent->flags & KELP_MF_GRANTED) == 0) checker_refuses(c, node, sent->to);
        break;
    case KELP_MSG_ANSWER:
        answer_leaves(c, node, sent);
        acknowledgement_leaves(c, node, sent);
        break;
    case KELP_MSG_APPEND:
    case KELP_MSG_SNAPSHOT:
    case KELP_MSG_HEARTBEAT: round_leaves(c, node, sent); break;
    case KELP_MSG_VOTE: break;
    case KELP_MSG_TIMEOUT_NOW: order_leaves(c, node, sent); break;
    }
}

uint64_t checker_known_term(const struct checker *c, unsigned node)
{
    const struct checked_node *n = &c->nodes[node];
    uint64_t term = max_u64(n->term, n->view.term.v);
    for (size_t i = 0; i < n->save_count; i++)
        term = max_u64(term, n->saves[i].save.term.v);
    return term;
}

/* ---- crash and recovery ---- */

void checker_crashed(struct checker *c, unsigned node)
{
    struct checked_node *n = &c->nodes[node];
    n->running = false;
    n->refused = false;
    n->ahead_first = 0;
    n->reset_to = kelp_pos_of(0, 0);
    memset(&n->view, 0, sizeof n->view);
}

/* Term and vote: what was reported, or what an open save carries, at or after save number
 * `from`. */
static bool vote_explained(const struct checker *c, const struct checked_node *n,
                           const struct checker_recovered *found, size_t from)
{
    /* a snapshot that was installed before its term was saved */
    uint64_t shown = n->snapshot > 0 ? c->commits[n->snapshot].term : 0;
    uint64_t term = n->term;
    kelp_id vote = n->vote;
    for (size_t i = 0; i <= n->save_count; i++) {
        if (i >= from && found->term == term && found->vote == vote) return true;
        if (i >= from && term < shown && found->term == shown && found->vote == 0) return true;
        if (i < n->save_count && (n->saves[i].save.flags & KELP_SAVE_VOTE) != 0) {
            term = n->saves[i].save.term.v;
            vote = n->saves[i].save.vote;
        }
    }
    return false;
}

/* Is the found log the durable one, or that one with only a first part of save p's entries? */
static bool log_equal(const struct checker *c, const struct checked_node *n,
                      const struct held_log *found)
{
    kelp_index last = checker_durable_last(c, n);
    return found->last == last && found->held[last].chain == checker_durable(c, n, last).chain;
}

static bool log_cut_short(const struct held_log *durable, const struct held_log *found,
                          const struct kelp_save *save)
{
    return (save->flags & KELP_SAVE_APPEND) != 0 && found->last + 1 >= save->first &&
           found->last < save->last &&
           found->held[found->last].chain == durable->held[found->last].chain;
}

/* Apply open saves to the durable log until it is what was found; the number applied, or -1. */
static int log_explained(struct checker *c, struct checked_node *n, const struct held_log *found)
{
    if (log_equal(c, n, found)) return 0;
    for (size_t i = 0; i < n->save_count; i++) {
        if (!pending_log_done(c, n, &n->saves[i])) return -1;
        if (log_cut_short(&n->durable, found, &n->saves[i].save)) {
            checker_log_truncate(&n->durable, found->last);
            return (int)i + 1;
        }
        if (log_equal(c, n, found)) return (int)i + 1;
    }
    return -1;
}

static void recovered_positions(struct checker *c, unsigned node,
                                const struct checker_recovered *found)
{
    struct checked_node *n = &c->nodes[node];
    kelp_index committed =
        max_u64(c->commit_max, 1); /* entry 1 is, once it is written [founding] */
    /* A rotten snapshot may have been the only one to know how far was committed. */
    if (found->rotten && found->snapshot < n->snapshot) n->commit_floor = found->commit;
    if (found->commit > committed || found->commit > found->last ||
        found->commit < min_u64(n->commit_floor, found->last) || found->commit < found->snapshot)
        checker_fail(c, RULE_I10,
                     "node %u recovers commit %llu; last %llu, reported %llu, snapshot %llu, "
                     "committed anywhere %llu",
                     node + 1, (ull)found->commit, (ull)found->last, (ull)n->commit_floor,
                     (ull)found->snapshot, (ull)c->commit_max);
    /* A rotten snapshot may be left out, if the log still reaches back behind the one before. */
    if (found->snapshot < n->snapshot && !found->rotten)
        checker_fail(c, RULE_I31, "node %u recovers snapshot %llu; %llu was reported durable",
                     node + 1, (ull)found->snapshot, (ull)n->snapshot);
    if (found->base.index > max_u64(n->base, found->snapshot))
        checker_fail(c, RULE_I31, "node %u recovers a log from %llu; only up to %llu was dropped",
                     node + 1, (ull)found->base.index + 1, (ull)n->base);
}

/* A founder that died before its entry 1 was durable writes another one: it told nobody of the
 * first. Any other entry belongs to one leader of one term, which is not led again. */
static void founding_forgotten(struct checker *c, unsigned node)
{
    struct known_entry *known = checker_known(c, 1, 1);
    for (unsigned i = 0; i < c->node_count; i++) {
        if (i != node && (c->nodes[i].memory.last > 0 || c->nodes[i].durable.last > 0)) return;
    }
    if (known != NULL) known->chain = 0;
}

void checker_recovers(struct checker *c, unsigned node, const struct checker_recovered *found)
{
    struct checked_node *n = &c->nodes[node];
    /* One that was being written may be there: whole, since it was restored. */
    if (found->snapshot > n->snapshot && found->snapshot <= c->commit_max)
        n->snapshot = found->snapshot;
    kelp_index base = found->base.index, durable_last = checker_durable_last(c, n);
    uint64_t durable_term = n->term;
    kelp_id durable_vote = n->vote;
    if (base > durable_last || checker_durable(c, n, base).term != found->base.term.v) {
        checker_fail(c, RULE_I31,
                     "node %u recovers a log that starts after %llu@%llu; durable %llu", node + 1,
                     (ull)base, (ull)found->base.term.v, (ull)durable_last);
        return;
    }
    struct held_log *log = &n->memory; /* what was in memory is gone: read the found log into it */
    if (!checker_log_reserve(c, log, found->last)) return;
    log->held[base] = checker_durable(c, n, base);
    log->last = base;
    for (kelp_index i = base + 1; i <= found->last; i++) {
        const struct checker_entry *entry = &found->entries[i - base - 1];
        uint64_t chain = chain_on(c, node, log->held[i - 1], i, entry);
        log_put(log, i, (struct held){chain, entry->term});
    }
    int saves = log_explained(c, n, log);
    if (saves < 0)
        checker_fail(
            c, found->rotten ? RULE_I32 : RULE_I15,
            "node %u recovers a log that ends at %llu@%llu; durable was %llu, %zu saves open",
            node + 1, (ull)log->last, (ull)log->held[log->last].term, (ull)durable_last,
            n->save_count);
    else if (!vote_explained(c, n, found, (size_t)saves))
        checker_fail(c, found->term < durable_term && !found->rotten ? RULE_I04 : RULE_I31,
                     "node %u recovers term %llu vote %llu; durable was term %llu vote %llu, "
                     "%d of %zu open saves are in its log",
                     node + 1, (ull)found->term, (ull)found->vote, (ull)durable_term,
                     (ull)durable_vote, saves, n->save_count);
    if (log->held[log->last].term > found->term)
        checker_fail(c, RULE_I05, "node %u recovers %llu@%llu with term %llu", node + 1,
                     (ull)log->last, (ull)log->held[log->last].term, (ull)found->term);
    /* Forwards of two starts under one count could not be told apart. */
    if (found->start_count <= n->start_count && !found->rotten)
        checker_fail(c, RULE_I33, "node %u starts with start count %llu; it had %llu before",
                     node + 1, (ull)found->start_count, (ull)n->start_count);
    n->start_count = found->start_count;
    recovered_positions(c, node, found);
    n->term = found->term;
    n->vote = found->vote;
    n->snapshot = found->snapshot;
    n->commit_floor = max_u64(found->commit, min_u64(n->commit_floor, found->last));
    if (checker_fitted(c, n) && !log_committed(c, &n->durable, n->snapshot)) return;
    n->save_count = n->entry_count = 0;
    if (found->last == 0) founding_forgotten(c, node);
}
