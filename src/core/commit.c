/* SPDX-License-Identifier: Apache-2.0 */
/* commit.c - what is committed, what follows from it, and what may be forgotten. [§3.6.2, §5.1]
 *
 * A leader commits only an entry of its own term that a quorum holds durably, itself counted by its
 * own reported saves; everything below comes with it. A follower commits up to the least of the
 * leader's commit index and what it has verified against that leader. A witness is counted only
 * while a voter is absent, see witness.c.
 *
 * A log is compacted below its own snapshot and the entries that are kept behind it anyway; and, as
 * long as that is not too much, not above what a member that is heard still needs: a snapshot would
 * cost it more than those entries. Leaders find that out and tell it (`everyone`), so that it is
 * there whoever leads next. Who is silent for long gets a snapshot when it comes back, and so does
 * who was added to a log that begins later.
 *
 * Invariants: commit only grows; commit <= last; applied <= commit. */
#include "core/core.h"

static kelp_index durable_at(const struct kelp_core *r, uint32_t slot)
{
    return slot == r->self_slot ? r->durable : r->peers[slot].progress.match;
}

/* Who still needs entries behind this? What a member is offered as a snapshot it does not need. */
static kelp_index needed_from(const struct kelp_core *r, uint32_t slot)
{
    const struct peer *peer = &r->peers[slot];
    if (slot == r->self_slot) return r->commit;
    kelp_ns patience = HELD_SILENT * r->options.election_max;
    if (peer->silent && r->now > add_sat(peer->contact, patience)) return r->commit;
    return max_u64(peer->progress.match, peer->offered.index);
}

/* Whom an uncommitted configuration leaves out may be a member again. */
static void everyone_advance(struct kelp_core *r)
{
    if (r->config.index > r->commit) return;
    kelp_index least = r->commit;
    for (uint32_t slot = 0; slot < r->config.count; slot++)
        least = min_u64(least, needed_from(r, slot));
    r->everyone = least;
}

/* Tell peers soon, but not at once: the next append or heartbeat usually carries it. */
static void commit_told_soon(struct kelp_core *r)
{
    kelp_ns soon = r->now + r->options.heartbeat / 16;
    for (uint32_t slot = 0; slot < r->config.count; slot++) {
        struct peer *peer = &r->peers[slot];
        if (slot == r->self_slot || peer->commit_at != KELP_NEVER) continue;
        peer->commit_at = soon;
    }
}

void commit_advance(struct kelp_core *r)
{
    if (r->role != KELP_LEADER) return;
    UNSET uint64_t values[KELP_MEMBERS_MAX]; /* by slot, below config.count */
    bool witness = witness_counts(r);
    for (uint32_t slot = 0; slot < r->config.count; slot++) {
        bool counts = witness || !config_witness(&r->config, slot);
        values[slot] = counts ? durable_at(r, slot) : 0;
    }
    kelp_index held = quorum_value(&r->config, values);
    if (held > r->commit) {
        if (log_term(&r->log, held).v == r->term.v) { /* commits only beneath ours [§3.6.2] */
            r->commit = held;
            r->dirty |= DIRTY_COMMIT;
            EVENT(r, COMMIT_ADVANCED, .pos = {.term = r->term, .index = held});
            commit_told_soon(r);
        } else if (r->held_back != held) {
            r->held_back = held;
            EVENT(r, COMMIT_HELD_BACK_OLD_TERM,
                  .pos = {.term = log_term(&r->log, held), .index = held});
        }
    }
    everyone_advance(r);
    ASSERT(r->commit <= r->log.last);
}

void commit_follow(struct kelp_core *r, kelp_index leader_commit, kelp_index everyone)
{
    kelp_index known = min_u64(leader_commit, r->verified);
    if (leader_commit > r->verified && r->verified > r->commit)
        EVENT(r, COMMIT_CAPPED_UNVERIFIED, .value = leader_commit);
    if (known > r->commit) {
        r->commit = known;
        r->dirty |= DIRTY_COMMIT;
        EVENT(r, COMMIT_FOLLOWED, .pos = {.term = log_term(&r->log, known), .index = known});
    }
    r->everyone = min_u64(everyone, r->commit);
    r->behind = leader_commit > r->log.last;
}

/* ---- what follows from a new commit index ---- */

/* Terms never fall along a log, and every later leader holds what is committed: with an entry of a
 * higher term committed before it, an entry is in no log that will ever win [§3.5, §3.6.3]. Without
 * this a proposal behind the end of the next leader's log would wait for that many new entries. */
bool commit_passes(const struct kelp_core *r, struct kelp_pos pos)
{
    ASSERT(pos.index > r->commit); /* below it one looks at what stands there */
    return log_term(&r->log, r->commit).v > pos.term.v;
}

static void settle_proposal(struct kelp_core *r, struct request *request)
{
    bool passed = request->pos.index > r->commit;
    kelp_term term = log_term(&r->log, request->pos.index);
    if (!passed && term.v == 0) { /* no longer known what stood there */
        EVENT(r, PROPOSAL_UNKNOWN, .pos = request->pos, .value = request->token);
        requests_resolve(&r->proposals, request, KELP_UNKNOWN, KELP_R_SNAPSHOT_PASSED);
    } else if (!passed && term.v == request->pos.term.v) {
        if (r->role == KELP_LEADER && r->term.v == term.v)
            EVENT(r, PROPOSAL_DONE, .pos = request->pos, .value = request->token);
        else
            EVENT(r, PROPOSAL_DONE_AFTER_DEPOSED, .pos = request->pos, .value = request->token);
        requests_resolve(&r->proposals, request, KELP_DONE, KELP_R_NONE);
    } else {
        EVENT(r, PROPOSAL_LOST, .pos = request->pos, .value = request->token);
        requests_resolve(&r->proposals, request, KELP_LOST, KELP_R_OVERWRITTEN);
    }
}

void commit_settle(struct kelp_core *r)
{
    for (uint32_t number = 0; r->proposals.open > 0 && number < r->proposals.count; number++) {
        struct request *request = requests_at(&r->proposals, number);
        if (request->outcome != 0) continue;
        if (request->pos.index > r->commit && !commit_passes(r, request->pos)) {
            if (r->proposals.sorted) break; /* those behind it are of no lower term */
            continue;
        }
        settle_proposal(r, request);
    }
    if (r->config_has_before && r->config.index <= r->commit) {
        if (r->role == KELP_LEADER) member_goodbye(r);
        r->config_has_before = false;
        EVENT(r, CONFIG_COMMITTED, .pos = kelp_pos_of(r->config.index, 0));
    }
}

/* ---- compaction ---- */

void commit_compact(struct kelp_core *r, struct kelp_save *save)
{
    kelp_index least = r->log.base.index + 1 + r->options.trailing_entries / 16;
    kelp_index may = min_u64(r->snapshot.index, sub_sat(r->applied, r->options.trailing_entries));
    if (may < least) return; /* nearly always */
    may = min_u64(may, min_u64(r->emitted_last, r->durable));
    may = min_u64(may, max_u64(r->everyone, log_floor(&r->log, r->options.hold_bytes)));
    if (may < least) return;
    save->flags |= KELP_SAVE_COMPACT;
    save->keep = may + 1;
    log_compact(&r->log, may + 1);
    EVENT(r, LOG_COMPACTED, .pos = r->log.base);
}
