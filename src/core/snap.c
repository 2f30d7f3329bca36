/* SPDX-License-Identifier: Apache-2.0 */
/* snap.c - snapshots that travel: both sides of the conversation, and what becomes of the log of
 * who got one. [§5, §5.1.3]
 *
 * The leader. A peer that needs what is compacted here is told, every heartbeat, where a snapshot
 * ends. The bytes are not the core's: who needs them fetches them, from whoever has that snapshot.
 * What was offered first stands until it is there, and the log behind it is kept meanwhile, within
 * hold_bytes (commit.c); only if that was not enough another one is offered.
 *
 * The follower.
 *   offered, below commit ---------> answers where it is
 *   offered, in its log, same term -> committed so far: nothing need travel
 *   offered, else -----------------> fetch; ... durable under its name, machine restored: INSTALLED
 *   INSTALLED, the log ends before it or has another entry there -> the log is reset: empty, begins
 *                                                                   behind it
 *   INSTALLED, else ---------------> the log stays: what it holds was acknowledged
 *   the term there is not known ----> looked up, and INSTALLED is told again
 *
 * Why it is safe. A snapshot shows what is committed, so whoever leads from then on has it: its end
 * counts as committed and as verified against any leader of the current term, as everything below
 * our own commit index does. A log with another entry at its end holds, from there on, what was
 * never committed; a log with the same entry there equals the leader's up to it, and what follows
 * may have been counted for a commit: it is never given up. It is durable when it is INSTALLED,
 * since a start that finds a snapshot beyond its log begins behind it.
 *
 * Invariants: base <= snapshot once a snapshot is there; nothing verified, committed or matching is
 * reset; a leader resets nothing. */
#include "core/core.h"

/* ---- the leader ---- */

bool snap_owed(struct kelp_core *r, struct peer *peer, struct kelp_message *out)
{
    ASSERT(peer->progress.flow == KELP_NEEDS_SNAPSHOT);
    if (r->snapshot.index < r->log.base.index || r->snapshot.index == 0) return false;
    if (r->now < peer->offer_at) return false;
    if (peer->offered.index == 0 || peer->offered.index < r->log.base.index) {
        peer->offered = r->snapshot;
        EVENT(r, SNAPSHOT_OFFERED, .peer = peer->id, .pos = r->snapshot);
    }
    *out = (struct kelp_message){.type = KELP_MSG_SNAPSHOT, .round = r->round};
    out->snapshot.pos = peer->offered;
    peer->offer_at = r->now + r->options.heartbeat;
    return true;
}

void snap_taken(struct kelp_core *r, struct kelp_pos pos)
{
    if (pos.index > r->snapshot.index && pos.index <= r->applied) r->snapshot = pos;
}

/* Large ones take long: who fetches makes progress. */
void snap_sending(struct kelp_core *r, kelp_id id)
{
    struct peer *peer = peer_of(r, id);
    if (peer == NULL || r->role != KELP_LEADER) return;
    peer->catch_up.moved = r->now;
    /* a probe that is out may be lost, and is repeated in its time */
    if (peer->progress.flow == KELP_NEEDS_SNAPSHOT) peer->probe_at = r->now;
}

/* ---- the follower ---- */

/* As entry_check, of an entry that need not be in the log: then CHECK_DIFFERS. */
static enum check place_check(const struct kelp_core *r, struct kelp_pos pos)
{
    return pos.index > r->log.last ? CHECK_DIFFERS : entry_check(r, pos.index, pos.term);
}

/* It ends in our log, which is therefore the leader's up to there, and committed. */
static void commit_up_to(struct kelp_core *r, struct kelp_pos pos)
{
    r->verified = max_u64(r->verified, pos.index);
    if (pos.index <= r->commit) return;
    r->commit = pos.index;
    r->dirty |= DIRTY_COMMIT;
}

void snap_offered(struct kelp_core *r, const struct kelp_message *m)
{
    struct kelp_pos pos = m->snapshot.pos;
    if (pos.index == 0 || pos.term.v == 0 || pos.term.v > m->term.v) {
        EVENT(r, MESSAGE_MALFORMED, .peer = m->from);
        return;
    }
    if (!leader_heard(r, m)) return;
    r->round_seen = max_u64(r->round_seen, m->round);
    leader_owed(r, m);
    switch (place_check(r, pos)) {
    case CHECK_CONTRADICTS: contradiction(r, m->from, pos); return;
    case CHECK_NOT_KNOWN:
        EVENT(r, SNAPSHOT_LOOKED_UP, .peer = m->from, .pos = pos);
        entry_look_up(r, pos.index);
        return;
    case CHECK_SAME:
        if (pos.index <= r->commit)
            EVENT(r, SNAPSHOT_PASSED, .peer = m->from, .pos = pos);
        else
            EVENT(r, SNAPSHOT_HELD, .peer = m->from, .pos = pos);
        commit_up_to(r, pos);
        r->verified = max_u64(r->verified, r->commit);
        return;
    case CHECK_DIFFERS: break;
    }
    EVENT(r, SNAPSHOT_WANTED, .peer = m->from, .pos = pos);
    r->behind = true;
    r->fetch = pos;
    r->fetch_from = m->from;
}

/* ---- it is here ---- */

/* Who stands was given its ballots for another log; and what is committed now may say that it may
 * not stand at all. */
static void stands_no_more(struct kelp_core *r)
{
    if (r->role == KELP_PRE_CANDIDATE || r->role == KELP_CANDIDATE) role_step_down(r);
}

static void reset(struct kelp_core *r, struct kelp_pos pos, const struct kelp_config *config)
{
    change_truncated(r, r->commit);
    log_reset(&r->log, pos);
    save_reset(r, pos);
    r->own_look.state = LOOK_NONE;
    r->everyone = min_u64(r->everyone, pos.index);
    member_restored(r, config);
    stands_no_more(r);
    commit_up_to(r, pos);
    EVENT(r, SNAPSHOT_INSTALLED, .pos = pos);
}

static bool installs(struct kelp_core *r, struct kelp_pos pos, const struct kelp_config *config)
{
    switch (place_check(r, pos)) {
    case CHECK_CONTRADICTS: contradiction(r, 0, pos); return false;
    case CHECK_NOT_KNOWN:
        EVENT(r, SNAPSHOT_LOOKED_UP, .pos = pos);
        entry_look_up(r, pos.index);
        return false;
    case CHECK_SAME:
        commit_up_to(r, pos);
        if (!member_may_stand(r)) stands_no_more(r);
        EVENT(r, SNAPSHOT_KEPT_LOG, .pos = pos);
        return true;
    case CHECK_DIFFERS: break;
    }
    if (r->role == KELP_LEADER) {
        contradiction(r, 0, pos);
        return false;
    }
    if (!config_valid(config, r->options.limits.members_max) || config->index > pos.index) {
        core_fault(r, KELP_E_NOT_SUPPORTED, "a snapshot's configuration this node cannot use",
                   kelp_pos_of(config->index, 0), pos);
        return false;
    }
    reset(r, pos, config);
    return true;
}

/* committed_in: what is committed in a term may differ from what a leader of an earlier one says;
 * whoever knows the first must not listen to the second. */
void snap_installed(struct kelp_core *r, struct kelp_pos pos, kelp_term committed_in,
                    const struct kelp_config *config)
{
    if (core_silent(r)) return;
    ASSERT(pos.index > r->applied);
    if (pos.term.v > committed_in.v) committed_in = pos.term; /* somebody leads, or led, in it */
    if (committed_in.v > r->term.v) role_adopt(r, committed_in);
    if (!installs(r, pos, config)) return;
    r->applied = pos.index;
    r->apply_given = max_u64(r->apply_given, pos.index);
    ASSERT(r->snapshot.index < pos.index); /* it shows what was applied */
    r->snapshot = pos;
    r->dirty |= DIRTY_COMMIT | DIRTY_READ | DIRTY_MATCH;
    struct debt *debt =
        r->leader != 0 && r->leader != r->options.self ? debt_of(r, r->leader) : NULL;
    if (debt != NULL) debt->answer = true; /* the leader waits for this match */
}
