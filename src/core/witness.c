/* SPDX-License-Identifier: Apache-2.0 */
/* witness.c - a member that votes and keeps positions, and never leads. [§11.7.2]
 *
 * A witness stores of each entry its index and term, and configurations whole. It answers appends,
 * votes, heartbeats and read rounds like any voter; only it never stands. Two nodes with the data
 * and a small third one so go on when any one of them is lost.
 *
 * Why it is safe. Let N be the voters and witnesses of a configuration (of each half of a joint
 * one). Every election, in or out, needs a majority of N, and every commit too: while the witness
 * is out its own match counts as nothing in that same majority, so a commit without it is one that
 * plain Raft would have made as well. Whether it is in is therefore no question of safety: any two
 * quorums, of whatever marks, are majorities of the same N and share a member, and where N itself
 * changes the rules of change.c hold as ever. What a member shared by a commit and a later election
 * must do is refuse a log behind what it acknowledged, and for that a position is enough: if the
 * two share only the witness, it refuses. So an elected leader has every committed position, and
 * having positions and no data it cannot be: only a witness has those, and it does not stand. Two
 * data nodes A and B and a witness W:
 *
 *    W out   commits {A,B}                      elections {A,B} {A,W} {B,W}: all share A or B
 *    W in    commits {A,B} {A,W}; B was absent  elections {A,B} {A,W} share A;
 *                                               {B,W}: W refuses B until B holds what W has seen
 *
 * The last line is where the one node that holds the tail is lost while the other is behind: nobody
 * can be elected until one is back. Unavailable, and never a loss.
 *
 * Why it is out while all voters are there. Then every commit is on a majority that has the data;
 * and W, which is sent nothing above the commit index, can never be ahead of that majority, so that
 * the loss of any one voter leaves somebody whom W elects.
 *
 * When it comes in. A voter silent for an election timeout, or one that says that its disk hangs or
 * is full, makes the leader count the witness, at once and by itself: the first entry of a leader
 * that was elected with the witness's vote must commit before the gate of change.c lets any
 * configuration through. As soon as it does, the leader appends the configuration that says so for
 * everybody: those voters are absent, the witnesses in. A voter is there again when it needed less
 * than an election timeout to get all that was in the log at the beginning of a look; when none is
 * absent another configuration takes the witnesses out. Until that one is committed, which needs
 * the voter that came back to have everything W ever got, W may be ahead of it.
 *
 * So every run of such a cluster is one of plain Raft in which that voter's timer never fires and
 * some commits come late; what is explored there (kelp sim explore) holds here.
 *
 * What is sent. In: every position, at once. Out: committed ones only, when a configuration is
 * among them, or a quarter of the trailing entries have gathered: a log is kept for the member that
 * has least, so a witness may not fall behind without bound, and what it lacks when it is needed is
 * soon there.
 *
 * Invariants: a witness neither stands nor leads; what it acknowledges it has stored; a voter that
 * is not the leader is marked absent only after it was silent or could not save. */
#include "core/core.h"

/* How many committed entries a witness may lack while it is out: no more than are kept anyway. */
static uint64_t lag_max(const struct kelp_core *r)
{
    return r->options.trailing_entries / 4;
}

static bool data_voter(const struct kelp_core *r, uint32_t slot)
{
    return slot != r->self_slot && config_leads(&r->config, slot);
}

static bool marked(const struct kelp_core *r, enum kelp_member_mark mark)
{
    for (uint32_t slot = 0; slot < r->config.count; slot++) {
        if ((r->config.members[slot].marks & (unsigned)mark) != 0) return true;
    }
    return false;
}

/* It says nothing, or says that its disk takes nothing: commits cannot count on it. */
static bool lost(const struct peer *peer)
{
    return peer->silent || peer->stalled || peer->space == KELP_SPACE_NONE;
}

static bool somebody_lost(const struct kelp_core *r)
{
    for (uint32_t slot = 0; slot < r->config.count; slot++) {
        if (data_voter(r, slot) && lost(&r->peers[slot])) return true;
    }
    return false;
}

/* Most clusters have none, and every take asks. */
void witness_seek(struct kelp_core *r)
{
    r->witnessed = false;
    for (uint32_t slot = 0; slot < r->config.count; slot++) {
        bool witness = config_witness(&r->config, slot);
        r->witnessed = r->witnessed || witness || r->config.members[slot].marks != 0;
    }
}

bool witness_counts(const struct kelp_core *r)
{
    if (!r->witnessed) return true; /* there is nobody who would not */
    return marked(r, KELP_MARK_IN) || somebody_lost(r);
}

kelp_index witness_reach(const struct kelp_core *r, const struct peer *peer)
{
    if (!r->witnessed) return r->log.last;
    uint32_t slot = (uint32_t)(peer - r->peers);
    if (!config_witness(&r->config, slot) || witness_counts(r)) return r->log.last;
    kelp_index next = peer->progress.next;
    bool config = r->config.index >= next && r->config.index <= r->commit;
    return config || r->commit > add_sat(next, lag_max(r)) ? r->commit : next - 1;
}

void witness_silent(struct kelp_core *r, uint32_t slot)
{
    r->dirty |= DIRTY_MATCH;
    for (uint32_t at = 0; at < r->config.count && data_voter(r, slot); at++) {
        if (!config_witness(&r->config, at) || marked(r, KELP_MARK_IN)) continue;
        EVENT(r, WITNESS_NEEDED, .peer = r->peers[slot].id);
        return;
    }
}

void witness_lead(struct kelp_core *r)
{
    for (uint32_t slot = 0; slot < r->config.count; slot++)
        r->peers[slot].catch_up = (struct catch_up){.target = 0};
}

/* A look at a voter that is marked absent and answers: has it all that was there when the look
 * began, and soon enough? */
static bool caught_up(struct kelp_core *r, struct peer *peer)
{
    struct catch_up *look = &peer->catch_up;
    bool there = look->target != 0 && peer->progress.match >= look->target;
    if (there && r->now - look->began < r->options.election_min) return true;
    if (look->target == 0 || there)
        *look = (struct catch_up){.target = r->log.last, .began = r->now};
    return false;
}

static bool absent(struct kelp_core *r, uint32_t slot)
{
    struct peer *peer = &r->peers[slot];
    if (slot == r->self_slot || !config_leads(&r->config, slot)) return false;
    if (lost(peer)) {
        peer->catch_up.target = 0;
        return true;
    }
    bool was = (r->config.members[slot].marks & KELP_MARK_ABSENT) != 0;
    return was && !caught_up(r, peer);
}

bool witness_marks(struct kelp_core *r, struct kelp_config *target)
{
    bool differs = false, any = false, witnesses = false;
    ASSERT(r->role == KELP_LEADER && !r->config.joint);
    *target = r->config;
    for (uint32_t slot = 0; slot < target->count; slot++) {
        bool is = absent(r, slot);
        target->members[slot].marks = is ? KELP_MARK_ABSENT : 0;
        any = any || is;
        witnesses = witnesses || config_witness(target, slot);
    }
    for (uint32_t slot = 0; slot < target->count; slot++) {
        struct kelp_member *member = &target->members[slot];
        if (!witnesses) member->marks = 0;
        if (any && member->role == KELP_WITNESS) member->marks = KELP_MARK_IN;
        differs = differs || member->marks != r->config.members[slot].marks;
    }
    return differs;
}

void witness_told(struct kelp_core *r)
{
    if (marked(r, KELP_MARK_IN))
        EVENT(r, WITNESS_IN, .pos = log_tail(&r->log));
    else
        EVENT(r, WITNESS_OUT, .pos = log_tail(&r->log));
}
